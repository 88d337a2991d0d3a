package command

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
)

// say signs what a custodian says in a case beside a decision, and stores it with the case.
func (s seat) say(ctx context.Context, now func() time.Time, id, kind, text string) (digest string, err error) {
	f, since, err := s.fetch(ctx, id)
	if err != nil {
		return "", err
	}
	return s.sayOf(ctx, now, id, f, since, kind, text)
}

// sayOf is say, of a case that was fetched.
func (s seat) sayOf(ctx context.Context, now func() time.Time, id string, f opening.CaseFile, since []*policy.Bundle, kind, text string) (digest string, err error) {
	signed, err := s.State(id, f, since, kind, text, now())
	if err != nil {
		return "", err
	}
	return opening.StatementDigest(signed), s.client.State(ctx, s.Key(), signed)
}

// errLost is why nobody knows whether the registrar has a statement that was signed and sent.
type errLost struct{ error }

func (e errLost) Unwrap() error { return e.error }

// mayHaveArrived is what a person is told of it.
const mayHaveArrived = "what you said was signed, and may have arrived: look first whether it is in the case, once you check that again, or among your absences; said a second time, it stands there twice"

// unanswered is err of sending a statement, which says so where the answer was lost.
func unanswered(err error) error {
	var said *registrar.Problem
	if errors.Is(err, registrar.ErrUnreachable) || errors.As(err, &said) && said.Status >= 500 {
		return errLost{err}
	}
	return err
}

func custodianAsk(h *home) *cobra.Command {
	var text string
	var sure bool
	c := leaf("ask CASE", "Ask the court of a case a question, which it and the custodians alone can read",
		"escrow custodian ask CASE --text 'Which of the two posts is meant?'", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			return h.says(ctx, args[0], opening.Question, text, sure)
		})
	c.Flags().StringVar(&text, "text", "", "the question, at most 2,000 characters")
	addYes(c, &sure)
	return c
}

func custodianRecuse(h *home) *cobra.Command {
	var reason string
	var sure bool
	c := leaf("recuse CASE", "Say, once for all, that you do not judge a case: no refusal, and an alternate of yours may answer it",
		"escrow custodian recuse CASE --reason 'I know the complainant.'", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			return h.says(ctx, args[0], opening.Recusal, reason, sure)
		})
	c.Long = "Signs that you do not judge a case, because you know the parties or have an interest. It is final, and\n" +
		"counts neither for the opening nor against it. Your alternate, who holds your share, may answer instead\n" +
		"(escrow custodian deputise); without one the others decide alone, and as many of them must approve as before.\n" +
		"The reason is shown to the court and to custodians, and to nobody else."
	c.Flags().StringVar(&reason, "reason", "", "why, at most 2,000 characters")
	addYes(c, &sure)
	return c
}

// standIns says who answers for a custodian who does not.
func standIns(c seat) string {
	var all []string
	for _, a := range c.Alternates(c.inForce) {
		all = append(all, a.ID)
	}
	if len(all) == 0 {
		return "The rules in force name no alternate of yours: nobody answers for you, and as many of the others must approve as before.\n"
	}
	return "By the rules in force " + strings.Join(all, " or ") + " may answer for you, and counts as you, once your share is handed over (escrow custodian deputise).\n"
}

// says is what asking and recusing have in common.
func (h *home) says(ctx context.Context, id, kind, text string, sure bool) error {
	text, err := words(text)
	if err == nil && text == "" {
		err = shell.UsageError("say it, with --text or --reason: it cannot be empty")
	}
	if err == nil { // before anybody types a passphrase
		err = h.canConfirm(sure)
	}
	if err != nil {
		return err
	}
	c, err := h.seat(ctx)
	if err != nil {
		return err
	}
	digest, said, err := c.tell(ctx, h.Now, id, kind, text, func(shown string) error { return h.confirm(ctx, sure, shown) })
	if err != nil {
		if errors.As(err, &errLost{}) && !h.json {
			fmt.Fprintln(h.Stderr, mayHaveArrived)
		}
		return err
	}
	return h.print(map[string]string{"case": id, "kind": kind, "digest": digest}, said)
}

// tell asks the court of a case something or says that the custodian does not judge it, once
// confirm agrees to what is shown of it. It returns the digest of what was signed, and what a
// person reads then.
func (s seat) tell(ctx context.Context, now func() time.Time, id, kind, text string, confirm func(shown string) error) (digest, said string, err error) {
	if kind == opening.Recusal { // which comes too late for who has answered
		switch answered, _, _, err := s.LastAnswer(id); {
		case err != nil:
			return "", "", err
		case answered != nil:
			return "", "", custodian.ErrYouAnswered
		}
	}
	f, since, err := s.fetch(ctx, id)
	if err != nil {
		return "", "", err
	}
	w, err := policy.ParseUnverified(f.Submission.Warrant)
	if err != nil {
		return "", "", err
	}
	order := document.Printable(fmt.Sprintf("It is about %s; sha256 of the order %x.\n", custodian.OrderOf(since[0], w), policy.Hash(f.Submission.Warrant)))
	shown := fmt.Sprintf("This question is signed and sent in case %s, and cannot be taken back:\n", id)
	if kind == opening.Recusal {
		shown = fmt.Sprintf("You do not judge case %s. This is final: you never answer it, and cannot take it back.\n", id) + standIns(s) +
			"It is signed and sent, with the reason, which the court and custodians alone read:\n"
	}
	if err := confirm(document.Printable(shown) + custodian.Quoted(document.Visible(text)) + order); err != nil {
		return "", "", err
	}
	if digest, err = s.sayOf(ctx, now, id, f, since, kind, text); err != nil {
		return "", "", unanswered(err)
	}
	said = fmt.Sprintf("asked: question %[2]s of case %[1]s\nThe court reads it with escrow warrant status; its answer is in escrow custodian review %[1]s.", id, digest)
	if kind == opening.Recusal {
		said = fmt.Sprintf("recused in case %s, which is final: you do not decide it any more, and are counted neither for it nor against it.\n", id) +
			strings.TrimSuffix(standIns(s), "\n")
	}
	return digest, document.Printable(said), nil
}

func custodianAway(h *home) *cobra.Command {
	var from, until string
	var sure bool
	c := leaf("away", "Announce that you are away: meanwhile an alternate of yours may answer",
		"escrow custodian away --from 2027-08-02 --until 2027-08-23", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			if from == "" && until == "" {
				return h.announced(ctx)
			}
			var days [2]time.Time
			for i, given := range []string{from, until} {
				var err error
				if days[i], err = time.Parse(time.DateOnly, given); err != nil {
					return shell.UsageError("--from and --until take a day each, for example 2027-08-02")
				}
			}
			switch err := custodian.CheckAway(days[0], days[1], h.Now()); { // before anybody types a passphrase
			case errors.Is(err, custodian.ErrAwayDays):
				return shell.UsageError("--until is a day after --from, by at most 184 days: on it you are back")
			case err != nil:
				return err
			}
			if err := h.canConfirm(sure); err != nil {
				return err
			}
			c, err := h.seat(ctx)
			if err != nil {
				return err
			}
			digest, said, err := c.away(ctx, h.Now, days[0], days[1], func(shown string) error { return h.confirm(ctx, sure, shown) })
			if err != nil {
				if errors.As(err, &errLost{}) && !h.json {
					fmt.Fprintln(h.Stderr, mayHaveArrived)
				}
				return err
			}
			return h.print(map[string]string{"from": from, "until": until, "digest": digest}, said)
		})
	c.Long = "Announces that you are away between two days, of which the first is today or later. Without days it lists\n" +
		"what you have announced that is not over."
	c.Flags().StringVar(&from, "from", "", "first day away, YYYY-MM-DD (UTC)")
	c.Flags().StringVar(&until, "until", "", "day on which you are back, YYYY-MM-DD (UTC)")
	addYes(c, &sure)
	return c
}

// away announces that the custodian is away between two days, once confirm agrees to what is shown
// of it. It returns the digest of what was signed, and what a person reads then.
func (s seat) away(ctx context.Context, now func() time.Time, from, until time.Time, confirm func(shown string) error) (digest, said string, err error) {
	if err := custodian.CheckAway(from, until, now()); err != nil {
		return "", "", err
	}
	first, back := from.Format(time.DateOnly), until.Format(time.DateOnly)
	before, err := s.absences(ctx)
	if err != nil {
		return "", "", err
	}
	overlap := ""
	for _, a := range before {
		if a.Kind == opening.Absence && a.From.Before(until) && from.Before(a.Until) {
			overlap += fmt.Sprintf("You have announced days of these already: away from %s, back on %s. That stays as it is, and this is added to it.\n", a.From.UTC().Format(time.DateOnly), a.Until.UTC().Format(time.DateOnly))
		}
	}
	if err := confirm(fmt.Sprintf("You are away from %s, and back on %s. This is signed and cannot be taken back; courts, custodians and the operator see it, and you may answer all the same.\n%s%s", first, back, overlap, document.Printable(standIns(s)))); err != nil {
		return "", "", err
	}
	signed, err := s.Away(s.inForce, from, until, now())
	if err != nil {
		return "", "", err
	}
	return opening.StatementDigest(signed), fmt.Sprintf("announced: away from %s, back on %s. Courts, custodians and the operator see it; you may answer all the same.", first, back),
		unanswered(s.client.State(ctx, s.Key(), signed))
}

// absences are those of the folder's own seat that are not over.
func (s seat) absences(ctx context.Context) ([]custodian.Said, error) {
	all, err := s.client.Absences(ctx)
	if err != nil {
		return nil, err
	}
	return s.Absences(all, s.inForce), nil
}

// announced prints the absences of the folder's own seat that are not over.
func (h *home) announced(ctx context.Context) error {
	c, err := h.seat(ctx)
	if err != nil {
		return err
	}
	mine, err := c.absences(ctx)
	if err != nil {
		return err
	}
	text := ""
	for _, a := range mine {
		text += a.String()
	}
	if len(mine) == 0 {
		text = "you have announced no absence that is not over"
	}
	return h.print(map[string]any{"absences": mine}, strings.TrimSuffix(text, "\n"))
}

func custodianDeputise(h *home) *cobra.Command {
	var out shell.Out
	c := leaf("deputise ALTERNATE", "Hand your share over to an alternate whom the rules in force name, encrypted to their key",
		"escrow custodian deputise aldo --out aldo.share", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			c, err := h.seat(ctx)
			if err != nil {
				return err
			}
			sealed, err := c.deputise(args[0], meant)
			if err != nil {
				return err
			}
			if err := out.WritePrivate(sealed); err != nil {
				return err
			}
			return h.print(map[string]string{"file": out.File, "alternate": args[0]},
				fmt.Sprintf("written: %s, for %s alone. They run: escrow custodian receive %[1]s\nIn a folder that has seen no rules yet they begin with --bundle FILE, the bundle in force, which somebody they trust gives them.", out.File, args[0]))
		})
	c.Long = "Encrypts your share of the custodians' key to an alternate's key. Whichever of you answers a case, it\n" +
		"is one answer. Hand it over anew after every resharing: the older share opens nothing then."
	out.Flags(c, "handover.share", "file to write it to")
	return c
}

// meant agrees to whatever is shown, where a command says what it does.
func meant(string) error { return nil }

// deputise encrypts the custodian's share to an alternate of theirs, once confirm agrees to what
// is shown of it.
func (s seat) deputise(id string, confirm func(shown string) error) (sealed []byte, err error) {
	for _, a := range s.Alternates(s.inForce) {
		if a.ID != id {
			continue
		}
		if err := confirm(document.Printable(fmt.Sprintf("Your share of the custodians' key is encrypted to %s: %s, %s, whom the rules in force name as your alternate, to the key %s.\n"+
			"Nobody else opens the file. With it they answer for you where you recused yourself or announced that you are away: whichever of you answers a case, it is one answer. It cannot be taken back while this key is in force.\n",
			a.ID, a.Name, a.Organisation, a.Recipient))); err != nil {
			return nil, err
		}
	}
	return s.Deputise(s.inForce, id)
}

func custodianReceive(h *home) *cobra.Command {
	var bundle string
	c := leaf("receive FILE", "Take the share that a custodian handed over to you, their alternate, once it is proven to be theirs",
		"escrow custodian receive aldo.share --bundle bundle.json", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			sealed, err := h.readFile(args[0])
			if err != nil {
				return err
			}
			c, err := h.open(ctx)
			if err != nil {
				return err
			}
			var first *policy.Bundle
			if bundle != "" {
				if first, err = h.readBundle(bundle); err != nil {
					return err
				}
			}
			of, err := h.receive(ctx, c, sealed, first, meant)
			if errors.As(err, &errBegun{}) && !h.json {
				fmt.Fprintln(h.Stderr, hasBegun)
			}
			if err != nil {
				return err
			}
			return h.print(map[string]string{"custodian": of, "alternate": c.ID},
				fmt.Sprintf("kept: the share of %s, checked against the custodians' public key. Remove %s.", of, args[0]))
		})
	c.Flags().StringVar(&bundle, "bundle", "", "bundle to begin with, handed over by a person you trust: for a folder that has seen no rules yet")
	return c
}

// errBegun is why a share was not taken by a folder that has begun with the rules that came with it.
type errBegun struct{ error }

func (e errBegun) Unwrap() error { return e.error }

// hasBegun is what a person is told of it.
const hasBegun = "the folder has begun with the rules that you agreed to, and goes on with them: the next time, give the share alone"

// receive takes the share that a custodian handed over, and returns whose it is. A folder that has
// seen no rules begins with first, once confirm agrees to what is shown of it.
func (h *home) receive(ctx context.Context, c *custodian.Custodian, sealed []byte, first *policy.Bundle, confirm func(shown string) error) (of string, err error) {
	begun := false
	if first != nil && c.Bundle == "" {
		if err := confirm("This folder has seen no rules yet, and begins with these. Are they those that somebody you trust gave you? Compare the hash with them: " + first.Hash() + "\n\n" +
			strings.Join(first.Lines(), "\n") + "\n"); err != nil {
			return "", err
		}
		if err := c.Begin(first); err != nil {
			return "", err
		}
		begun = true
	}
	_, inForce, err := h.inForce(ctx, c)
	if err == nil {
		err = c.Receive(inForce, sealed)
	}
	if err != nil && begun {
		err = errBegun{err}
	}
	if err != nil {
		return "", err
	}
	return inForce.Seated(c.ID).ID, nil
}

// statementsFor shows the court of a case what custodians say to it.
func (p *program) statementsFor(ctx context.Context, id string, by signer, revocation []string) ([]custodian.Said, error) {
	if err := by.needed("key"); err != nil {
		return nil, err
	}
	lists, err := p.revocationLists(revocation)
	if err != nil {
		return nil, err
	}
	k, done, err := by.open(ctx, p)
	if err != nil {
		return nil, err
	}
	defer done()
	return p.saidTo(ctx, id, k, lists)
}

// saidTo is what custodians say in a case to the court whose key it is. lists are those of revoked
// certificates, if it has one.
func (p *program) saidTo(ctx context.Context, id string, k jose.JSONWebKey, lists []string) ([]custodian.Said, error) {
	r, err := p.registrar()
	if err != nil {
		return nil, err
	}
	b, err := p.namedRules(ctx, "")
	if err != nil {
		return nil, err
	}
	a, err := b.Signer(k)
	if err != nil {
		return nil, err
	}
	inquiry, err := policy.SignInquiry(k, policy.Inquiry{At: p.Now(), Audience: b.Registrar, Authority: a.ID, Case: id, ID: rand.Text(), Revocation: lists})
	if err != nil {
		return nil, err
	}
	said, err := r.Said(ctx, id, inquiry)
	if err != nil {
		return nil, err
	}
	return custodian.StatementsTo(a, id, said.Said, said.Absences, b), nil
}

// addText lets a decision come with reasons in words.
func addText(c *cobra.Command, text *string) {
	c.Flags().StringVar(text, "text", "", "reasons in words, at most 2,000 characters, which the court and custodians alone can read")
}
