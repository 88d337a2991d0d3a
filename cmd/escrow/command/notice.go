package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/custodian"
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
		"escrow notice show --code - --server https://penname.example", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			code, err := p.oneTimeCode(code)
			if err != nil {
				return err
			}
			_, told, err := p.coded(ctx, code)
			if err != nil {
				return err
			}
			return p.print(told, toldText(told, p.Now()))
		})
	c.Flags().StringVar(&code, "code", "", "one-time code, which the person made on their page at the notice; - asks for it, and it is in no history")
	return c
}

func noticeObject(p *program) *cobra.Command {
	var code, text string
	c := leaf("object", "Object to the order of a notice with its one-time code, for the person whom it is about",
		"escrow notice object --code - --text objection.txt --server https://penname.example", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			if err := require([2]string{"text", text}); err != nil {
				return err
			}
			if code == "-" && text == "-" {
				return shell.UsageError("the standard input can be the code or the text, not both: give one of them otherwise")
			}
			code, err := p.oneTimeCode(code)
			if err != nil {
				return err
			}
			words, err := p.readFile(text)
			if err != nil {
				return err
			}
			said := strings.TrimSpace(string(document.Typed(words)))
			if !utf8.ValidString(said) {
				return &registrar.Problem{Code: policy.ErrObjectionText.Code, Title: policy.ErrObjectionText.Mend, Cause: "the text is not UTF-8: save the file in that encoding"}
			}
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
			what := "it came when the days to object were over, or after the opening, so it stops nothing; the custodians can read it, and so can " + told.Requester + ", who has to show it to the court. It is no appeal to the court itself"
			suspends := told.Suspends(p.Now())
			if suspends {
				what = "nothing is opened before a court has ruled on it"
			}
			return p.print(map[string]any{"digest": digest, "suspends": suspends},
				fmt.Sprintf("stored: your objection to the order of %s, file %s, as %s\n%s. The person sees on their page what becomes of it.", told.Authority, told.FileNumber, digest, what))
		})
	c.Long = "Objects to the order of a notice, for the person whom it is about.\n\n" +
		"The person makes the code on their own page, at the notice, and gives it to their\n" +
		"lawyer: it is good for one objection and for 30 days. FILE is a text of 1 to 8,000\n" +
		"characters; - is standard input. It is encrypted here, to the custodians and to the\n" +
		"requester for the court: the registrar cannot read it. Nobody is asked who you are."
	c.Flags().StringVar(&code, "code", "", "one-time code, which the person made on their page at the notice; - asks for it, and it is in no history")
	c.Flags().StringVar(&text, "text", "", "file with the text of the objection, or -")
	return c
}

// oneTimeCode is the code, or for "-" the next line of the standard input.
func (p *program) oneTimeCode(code string) (string, error) {
	if code != "-" {
		return code, nil
	}
	if p.Terminal {
		fmt.Fprint(p.Stderr, "One-time code: ")
	}
	line, err := bufio.NewReader(io.LimitReader(p.Stdin, 1<<10)).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.TrimSpace(line), err
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

// became is what became of an order for a pen name, by its state in the case.
var became = map[string]string{"waiting": "nothing is done yet: custodians decide", "authorised": "the custodians have agreed", "released": "it was carried out",
	"declined": "it was not done: the custodians did not agree", "withdrawn": "the court took the order back", "stopped": "a court stopped the order", "expired": "the order has ended, and nothing was done", "lapsed": "no court confirmed this emergency order in time: what was learned must not be used"}

// toldText is a notice for a person at a terminal.
func toldText(c policy.Coded, now time.Time) string {
	var s strings.Builder
	line := func(format string, args ...any) {
		s.WriteString(document.Printable(fmt.Sprintf(format, args...)) + "\n")
	}
	line("order of %s, file %s, issued %s", c.Authority, c.FileNumber, c.Told.Issued.Format(time.DateOnly))
	line("kind: %s; pen name %s on %s", c.Kind, c.PenName, c.Platform)
	line("offence: %s (%s)", c.Told.Offence, c.Told.Statute)
	line("legal basis: %s", c.LegalBasis)
	line("asked for by: %s", c.Requester)
	if len(c.Fields) > 0 {
		line("what they learn: %s", strings.Join(c.Fields, ", "))
	}
	for _, post := range c.Told.Posts {
		line("post of %s: %s", post.At.Format(time.DateOnly), post.URL)
	}
	if said := became[c.State]; said != "" {
		line("state: %s", said)
	}
	if !c.Told.Opened.IsZero() {
		line("opened on %s", c.Told.Opened.Format(time.DateOnly))
	}
	for _, a := range c.Told.Agreed {
		line("agreed: %s%s", a.Name, map[bool]string{true: " (in the place of another)"}[a.Alternate])
	}
	if c.Told.Secrecy != "" {
		line("secret until %s: %s", c.Told.SecretUntil.Format(time.DateOnly), c.Told.Secrecy)
	}
	if o := c.Told.Order; o != nil {
		line("grounds: %s", o.Grounds)
		line("necessity: %s", o.Necessity)
		line("proportionality: %s", o.Proportionality)
		line("signed order: SHA-256 %s", o.SHA256)
	}
	switch {
	case c.Days > 0 && c.Until.IsZero():
		line("an objection suspends it: the %d days to object have not begun", c.Days)
	case c.Suspends(now):
		line("last day to object: %s; an objection before %s suspends it", c.Until.UTC().Add(-time.Nanosecond).Format(time.DateOnly), c.Until.UTC().Format(time.RFC3339))
	case c.Days > 0:
		line("the last day to object was %s: an objection is still taken, but it suspends nothing, and is no appeal: the time limits of the remedies go on running", c.Until.UTC().Add(-time.Nanosecond).Format(time.DateOnly))
	default:
		line("an objection suspends nothing, and is no appeal: the time limits of the remedies go on running")
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
	by, what, next := "the person", "no court has ruled on it yet", "rule on it with --objection"
	if o.Lawyer {
		by = "a lawyer"
	}
	switch {
	case o.Outcome != "":
		what, next = o.Outcome, "its digest is"
	case o.Suspends:
		what += ": nothing goes on before"
	}
	line := document.Printable(fmt.Sprintf("objection of %s, target %d, %s: %s; %s %s", by, o.Target+1, o.Day, what, next, o.Digest))
	if o.unread != "" {
		line += "\n  " + o.unread
	}
	if o.Text != "" {
		line += "\n" + strings.TrimSuffix(custodian.Quoted(document.Visible(o.Text)), "\n")
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
