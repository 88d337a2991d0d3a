package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
)

func notice(p *program) *cobra.Command {
	return group("notice", "Read and answer a notice with its one-time code, for the person whom it is about", noticeShow(p), noticeObject(p))
}

func noticeShow(p *program) *cobra.Command {
	var code string
	c := leaf("show", "Say what the notice of a one-time code says: court, file number, offence, posts, remedies",
		"escrow notice show --code k3v5qa-… --server https://penname.example", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			_, told, err := p.coded(ctx, code)
			if err != nil {
				return err
			}
			return p.print(told, toldText(told))
		})
	c.Flags().StringVar(&code, "code", "", "one-time code, which the person made on their page at the notice")
	return c
}

func noticeObject(p *program) *cobra.Command {
	var code, text string
	c := leaf("object", "Object to the order of a notice with its one-time code, for the person whom it is about",
		"escrow notice object --code k3v5qa-… --text objection.txt --server https://penname.example", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			if err := require([2]string{"text", text}); err != nil {
				return err
			}
			words, err := p.readFile(text)
			if err != nil {
				return err
			}
			said := strings.TrimSpace(string(document.Typed(words)))
			if err := policy.CheckObjection(said); err != nil {
				return err
			}
			r, told, err := p.coded(ctx, code)
			if err != nil {
				return err
			}
			sealed, err := exhibit.SealText(told.Told.Objection.Recipients, said)
			if err != nil {
				return err
			}
			digest, err := r.Object(ctx, code, sealed)
			if err != nil {
				return err
			}
			what := "it came when the days to object were over, or after the opening, so it stops nothing; custodians and the court read it"
			if told.Until.After(p.Now()) {
				what = "nothing is opened before a court has ruled on it"
			}
			return p.print(map[string]any{"digest": digest, "suspends": told.Until.After(p.Now())},
				fmt.Sprintf("stored: your objection to the order of %s, file %s, as %s\n%s. The person sees on their page what becomes of it.", told.Authority, told.FileNumber, digest, what))
		})
	c.Long = "Objects to the order of a notice, for the person whom it is about.\n\n" +
		"The person makes the code on their own page, at the notice, and gives it to their\n" +
		"lawyer: it is good for one objection and for 30 days. FILE is a text of 1 to 8,000\n" +
		"characters; - is standard input. It is encrypted here, to the custodians and to the\n" +
		"requester for the court: the registrar cannot read it. Nobody is asked who you are."
	c.Flags().StringVar(&code, "code", "", "one-time code, which the person made on their page at the notice")
	c.Flags().StringVar(&text, "text", "", "file with the text of the objection, or -")
	return c
}

// coded asks what the notice of a code says.
func (p *program) coded(ctx context.Context, code string) (*registrar.Client, policy.Coded, error) {
	if err := require([2]string{"code", code}); err != nil {
		return nil, policy.Coded{}, err
	}
	r, err := p.registrar()
	if err != nil {
		return nil, policy.Coded{}, err
	}
	told, err := r.Coded(ctx, code)
	return r, told, err
}

// toldText is a notice for a person at a terminal.
func toldText(c policy.Coded) string {
	var s strings.Builder
	line := func(format string, args ...any) {
		s.WriteString(document.Printable(fmt.Sprintf(format, args...)) + "\n")
	}
	line("order of %s, file %s, issued %s", c.Authority, c.FileNumber, c.Told.Issued.Format(time.DateOnly))
	line("offence: %s (%s)", c.Told.Offence, c.Told.Statute)
	for _, post := range c.Told.Posts {
		line("post of %s: %s", post.At.Format(time.DateOnly), post.URL)
	}
	if !c.Until.IsZero() {
		line("an objection before %s suspends it", c.Until.Format(time.RFC3339))
	}
	for _, r := range c.Told.Remedies {
		line("remedy: %s, to %s%s%s", r.What, r.To, map[bool]string{true: fmt.Sprintf(", within %d days", r.Days)}[r.Days > 0], map[bool]string{true: ", " + r.Address}[r.Address != ""])
	}
	return strings.TrimSuffix(s.String(), "\n")
}

// objection is one as the requester reads it.
type objection struct {
	opening.Objection
	Text string `json:"text,omitempty"` // with --key; empty: it was dropped, or is encrypted to another key

	unread string // why it has no text, and who has the text
}

// objections are those of a case, read with the requester's identity if there is one.
func objections(ctx context.Context, r *registrar.Client, id, identity string) (all []objection, err error) {
	stored, err := r.Objections(ctx, id)
	for _, o := range stored {
		said := objection{Objection: o}
		if identity != "" {
			said.Text = exhibit.OpenText(o.Sealed, identity)
		}
		switch {
		case len(o.Sealed) == 0:
			said.unread = "the words were dropped, as all that is sealed of a case is in the end"
		case identity == "":
			said.unread = "the words are sealed: the requester opens them with --key, the delivery key of the warrant, and custodians read them in their review"
		case said.Text == "":
			said.unread = "the words could not be opened: this is not the delivery key of the warrant; custodians read them in their review"
		}
		said.Sealed = nil
		all = append(all, said)
	}
	return all, err
}

// String is for a person at a terminal.
func (o objection) String() string {
	by, what := "the person", "no court has ruled on it yet"
	if o.Lawyer {
		by = "a lawyer"
	}
	switch {
	case o.Outcome != "":
		what = o.Outcome
	case o.Suspends:
		what += ": nothing goes on before"
	}
	line := document.Printable(fmt.Sprintf("objection of %s, target %d, %s: %s; rule on it with --objection %s", by, o.Target+1, o.Day, what, o.Digest))
	if o.unread != "" {
		line += "\n  " + o.unread
	}
	if o.Text != "" {
		line += "\n  " + strings.ReplaceAll(document.Visible(o.Text), "\n", "\n  ")
	}
	return line
}

func warrantObjections(p *program) *cobra.Command {
	var key string
	c := leaf("objections CASE", "Say what was objected to a warrant by the persons whom it is about, and what a court ruled",
		"escrow warrant objections CASE --key requester.key --server https://penname.example", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			identity := ""
			if key != "" {
				private, err := requester.ReadKey(key)
				if err != nil {
					return err
				}
				if identity, err = private.Reveal(); err != nil {
					return err
				}
			}
			r, err := p.registrar()
			if err != nil {
				return err
			}
			all, err := objections(ctx, r, args[0], identity)
			if err != nil {
				return err
			}
			lines := []string{"nothing was objected"}
			for i, o := range all {
				lines = append(lines[:i], o.String())
			}
			return p.print(map[string]any{"objections": append([]objection{}, all...)}, strings.Join(lines, "\n"))
		})
	c.Long = "Says when the persons of a case objected, or lawyers for them, and what a court ruled. The texts are\n" +
		"encrypted to the custodians and to the requester, who shows them to the court: they are shown with\n" +
		"the requester's delivery key. The court rules with escrow warrant rule, by the digest."
	c.Flags().StringVar(&key, "key", "", "file with the requester's secret delivery key (mode 0600): shows the texts")
	return c
}
