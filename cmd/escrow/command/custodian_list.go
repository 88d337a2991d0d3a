package command

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
)

// waiting is a case that waits for custodians: the registrar's list, what the order in it
// says, and what this folder did about it.
type waiting struct {
	registrar.CaseStatus
	Kind      string    `json:"kind,omitempty"` // of the warrant, as the next three; absent: the registrar does not show it
	Authority string    `json:"authority,omitempty"`
	Offence   string    `json:"offence,omitempty"`   // its id, or that of its class
	PenNames  int       `json:"pen_names,omitempty"` // that it is about
	Due       time.Time `json:"due"`                 // the first date that is not met yet: until when the custodians answer
	What      string    `json:"what,omitempty"`      // happens then
	Reviewed  time.Time `json:"reviewed,omitzero"`   // by this folder
	Answered  time.Time `json:"answered,omitzero"`   // by this folder
}

func (w waiting) String() string {
	s := w.Case + "\n  "
	if w.Kind == policy.Emergency {
		s += "EMERGENCY, "
	} else if w.Kind != "" {
		s += w.Kind + ", "
	}
	s += fmt.Sprintf("due %s UTC%s; %s", w.Due.UTC().Format("2006-01-02 15:04"), said(" (", w.What, ")"), w.Custodians())
	switch {
	case !w.Answered.IsZero():
		s += "; you answered on " + w.Answered.Format(time.DateOnly)
	case !w.Reviewed.IsZero():
		s += "; you reviewed it on " + w.Reviewed.Format(time.DateOnly)
	}
	if w.Authority != "" {
		s += fmt.Sprintf("\n  %s; %s; pen names: %d", w.Authority, w.Offence, w.PenNames)
	}
	return s + "\n"
}

func said(before, text, behind string) string {
	if text == "" {
		return ""
	}
	return before + text + behind
}

// waits adds to an entry of the list what the case says. A case that cannot be fetched keeps
// its place in the list: reviewing it says why.
func waits(ctx context.Context, c *custodian.Custodian, r *registrar.Client, listed registrar.CaseStatus) (w waiting, err error) {
	w = waiting{CaseStatus: listed, Due: listed.Expires, What: opening.DeadlineExpiry}
	if w.Reviewed, w.Answered, err = c.Did(listed.Case); err != nil {
		return w, err
	}
	f, err := r.CaseFile(ctx, c.Key(), listed.Case)
	if err != nil {
		return w, ctx.Err()
	}
	order, err := policy.ParseUnverified(f.Submission.Warrant)
	if err != nil {
		return w, err
	}
	w.Kind, w.Authority, w.Offence, w.PenNames = order.Kind, order.Authority, cmp.Or(order.OffenceID, order.OffenceClass), len(order.Targets)
	for _, d := range f.Deadlines {
		if !d.Met && d.At.Before(w.Due) {
			w.Due, w.What = d.At, d.What
		}
	}
	return w, nil
}

// byUrgency has emergencies in front, and then what is due first.
func byUrgency(a, b waiting) int {
	calm := func(w waiting) int {
		if w.Kind == policy.Emergency {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(calm(a), calm(b)), a.Due.Compare(b.Due))
}

func custodianList(h *home) *cobra.Command {
	var from string
	cmd := leaf("list", "List the cases that wait for custodians, emergencies in front, then the one whose answer is due first", "escrow custodian list", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			c, err := h.open(ctx)
			if err != nil {
				return err
			}
			r, err := h.registrar()
			if err != nil {
				return err
			}
			page, err := r.Cases(ctx, c.Key(), from)
			if err != nil {
				return err
			}
			out := struct {
				Cases []waiting `json:"cases"`
				Next  string    `json:"next,omitempty"` // where the next page begins
			}{[]waiting{}, page.Next}
			for _, listed := range page.Cases {
				w, err := waits(ctx, c, r, listed)
				if err != nil {
					return err
				}
				out.Cases = append(out.Cases, w)
			}
			slices.SortStableFunc(out.Cases, byUrgency)
			var text strings.Builder
			for _, w := range out.Cases {
				text.WriteString(w.String())
			}
			if len(out.Cases) == 0 {
				text.WriteString("nothing waits for you")
			}
			if out.Next != "" {
				fmt.Fprintf(&text, "more wait: escrow custodian list --from %s\n", out.Next)
			}
			return h.print(out, document.Printable(text.String()))
		})
	cmd.Flags().StringVar(&from, "from", "", "go on where the page before ended, which named the place")
	return cmd
}
