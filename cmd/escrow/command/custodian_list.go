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
)

// waiting is a case that waits for custodians, as the registrar lists it, and what this folder
// did about it.
type waiting struct {
	registrar.CaseStatus
	Due      time.Time `json:"due"`               // the first date that is not met yet
	What     string    `json:"what,omitempty"`    // happens then
	Reviewed time.Time `json:"reviewed,omitzero"` // by this folder
	Answered time.Time `json:"answered,omitzero"` // by this folder
}

// waitsWords say what a case that does not wait for who asks is to them.
var waitsWords = map[string]string{
	"answered": "you, or who shares your seat, answered it", "recused": "you recused yourself", "stopped": "newer rules stop it",
	"objected": "under objection: no court has answered it yet, and nothing is approved before",
	"early":    "the persons are told first",
	"standby":  "it waits for the custodian for whom you step in",
}

// at is for a person at a terminal, with the time that is left at now.
func (w waiting) at(now time.Time) string {
	s := w.Case + "\n  "
	if w.Kind == policy.Emergency {
		s += "EMERGENCY, "
	} else if w.Kind != "" {
		s += w.Kind + ", "
	}
	s += w.due(now) + "; " + w.Custodians() + said("; ", w.did(), "") + said("\n  ", w.says(), "")
	if w.Authority != "" {
		s += fmt.Sprintf("\n  %s; pen names: %d", w.Authority, w.PenNames)
	}
	return s + "\n"
}

// due says when something has to happen, and what.
func (w waiting) due(now time.Time) string {
	return fmt.Sprintf("due %s UTC%s%s", w.Due.UTC().Format("2006-01-02 15:04"), left(w.Due.Sub(now)), said(": ", w.What, ""))
}

// did says what this folder did about it; "": nothing.
func (w waiting) did() string {
	switch {
	case !w.Answered.IsZero():
		return "you answered on " + w.Answered.Format(time.DateOnly)
	case !w.Reviewed.IsZero():
		return "you reviewed it on " + w.Reviewed.Format(time.DateOnly)
	}
	return ""
}

// says is why it does not wait for who asks, or not yet; "": it waits.
func (w waiting) says() string {
	s := waitsWords[w.Waits]
	switch {
	case !w.ApproveFrom.IsZero():
		s += ": approve from " + w.ApproveFrom.UTC().Format(time.DateOnly)
	case w.Waits == "early":
		s += ", and were not told yet: approve when they had their days"
	}
	return s
}

// left is how much time is left.
func left(d time.Duration) string {
	switch {
	case d <= 0:
		return ", which is past"
	case d < 72*time.Hour:
		return fmt.Sprintf(", %d hours left", int(d.Hours()))
	}
	return fmt.Sprintf(", %d days left", int(d.Hours()/24))
}

func said(before, text, behind string) string {
	if text == "" {
		return ""
	}
	return before + text + behind
}

// waits adds to an entry of the list what this folder did.
func waits(c *custodian.Custodian, listed registrar.CaseStatus) (w waiting, err error) {
	w = waiting{CaseStatus: listed, Due: listed.Expires}
	if listed.Next != nil {
		w.Due, w.What = listed.Next.At, listed.Next.What
	}
	w.Reviewed, w.Answered, err = c.Did(listed.Case)
	return w, err
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

// list is a page of the cases that wait for custodians.
type list struct {
	Cases  []waiting `json:"cases"`
	Others int       `json:"others,omitempty"` // on this page, that do not wait for you
	Next   string    `json:"next,omitempty"`   // where the next page begins
}

// waitingFor asks the registrar for a page of the cases, by urgency; every: also for those that do
// not wait for who asks.
func waitingFor(ctx context.Context, r *registrar.Client, c *custodian.Custodian, from string, every bool) (list, error) {
	page, err := r.Cases(ctx, c.Key(), from)
	if err != nil {
		return list{}, err
	}
	out := list{Cases: []waiting{}, Next: page.Next}
	if from == "" { // the registrar has what runs out first in front, which an emergency need not be
		urgent, err := emergenciesBehind(ctx, r, c, page.Next)
		if err != nil {
			return list{}, err
		}
		page.Cases = append(page.Cases, urgent...)
	}
	for _, listed := range page.Cases {
		if waitsWords[listed.Waits] != "" && !every {
			out.Others++
			continue
		}
		w, err := waits(c, listed)
		if err != nil {
			return list{}, err
		}
		out.Cases = append(out.Cases, w)
	}
	slices.SortStableFunc(out.Cases, byUrgency)
	return out, nil
}

// pagesBehind is how many pages are looked through for emergencies.
const pagesBehind = 10

// emergenciesBehind are those of the pages that begin there. They stand on their own pages as well.
func emergenciesBehind(ctx context.Context, r *registrar.Client, c *custodian.Custodian, from string) (all []registrar.CaseStatus, err error) {
	for n := 0; from != "" && n < pagesBehind; n++ {
		page, err := r.Cases(ctx, c.Key(), from)
		if err != nil {
			return nil, err
		}
		for _, listed := range page.Cases {
			if listed.Kind == policy.Emergency && waitsWords[listed.Waits] == "" {
				all = append(all, listed)
			}
		}
		from = page.Next
	}
	return all, nil
}

func custodianList(h *home) *cobra.Command {
	var from string
	var every bool
	cmd := leaf("list", "List the cases that wait for you, emergencies in front, then the one that is due first", "escrow custodian list", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			c, err := h.open(ctx)
			if err != nil {
				return err
			}
			r, err := h.registrar()
			if err != nil {
				return err
			}
			out, err := waitingFor(ctx, r, c, from, every)
			if err != nil {
				return err
			}
			var text strings.Builder
			for _, w := range out.Cases {
				text.WriteString(w.at(h.Now()))
			}
			switch {
			case len(out.Cases) > 0:
			case out.Next != "":
				text.WriteString("nothing on this page waits for you\n")
			default:
				text.WriteString("nothing waits for you\n")
			}
			if out.Others > 0 {
				fmt.Fprintf(&text, "not for you now: %d, shown with --all\n", out.Others)
			}
			if out.Next != "" {
				fmt.Fprintf(&text, "more wait: escrow custodian list --from %s\n", out.Next)
			}
			return h.print(out, document.Printable(strings.TrimSuffix(text.String(), "\n")))
		})
	cmd.Long = "The registrar says what a case is to you; a case that it leaves out, or invents, is found in the review and\n" +
		"in the public log. With --all it lists those too that you have answered or recused yourself in, that newer\n" +
		"rules stop, in which persons are told first or object, and, for an alternate, those whose custodian is there."
	cmd.Flags().StringVar(&from, "from", "", "go on where the page before ended, which named the place")
	cmd.Flags().BoolVar(&every, "all", false, "also those that do not wait for you now")
	return cmd
}
