package command

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
)

// say signs what a custodian says in a case beside a decision, and stores it with the case.
func (s seat) say(ctx context.Context, h *home, id, kind, text string) (digest string, err error) {
	f, since, err := s.fetch(ctx, id)
	if err != nil {
		return "", err
	}
	signed, err := s.State(id, f, since, kind, text, h.Now())
	if err != nil {
		return "", err
	}
	return opening.StatementDigest(signed), s.client.State(ctx, s.Key(), signed)
}

func custodianAsk(h *home) *cobra.Command {
	var text string
	c := leaf("ask CASE", "Ask the court of a case a question, which it and the custodians alone can read",
		"escrow custodian ask CASE --text 'Which of the two posts is meant?'", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			return h.says(ctx, args[0], opening.Question, text,
				"asked: question %[2]s of case %[1]s\nThe court reads it with escrow warrant status; its answer is in escrow custodian review %[1]s.")
		})
	c.Flags().StringVar(&text, "text", "", "the question, at most 2,000 characters")
	return c
}

func custodianRecuse(h *home) *cobra.Command {
	var reason string
	c := leaf("recuse CASE", "Say that you do not judge a case: no refusal, and an alternate of yours may answer it",
		"escrow custodian recuse CASE --reason 'I know the complainant.'", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			return h.says(ctx, args[0], opening.Recusal, reason,
				"recused in case %[1]s\nYou do not decide it any more. An alternate of yours does, if the rules name one; it counts once.")
		})
	c.Long = "Signs that you do not judge a case, because you know the parties or have an interest. It counts\n" +
		"neither for the opening nor against it. Your alternate, who holds your share, may answer instead\n" +
		"(escrow custodian deputise). The reason is shown to the court and to custodians, and to nobody else."
	c.Flags().StringVar(&reason, "reason", "", "why, at most 2,000 characters")
	return c
}

// says is what asking and recusing have in common. done takes case and digest.
func (h *home) says(ctx context.Context, id, kind, text, done string) error {
	if strings.TrimSpace(text) == "" {
		return shell.UsageError("say it, with --text or --reason: it cannot be empty")
	}
	c, err := h.seat(ctx)
	if err != nil {
		return err
	}
	digest, err := c.say(ctx, h, id, kind, text)
	if err != nil {
		return err
	}
	return h.print(map[string]string{"case": id, "kind": kind, "digest": digest}, document.Printable(fmt.Sprintf(done, id, digest)))
}

func custodianAway(h *home) *cobra.Command {
	var from, until string
	c := leaf("away", "Announce that you are away: meanwhile an alternate of yours may answer",
		"escrow custodian away --from 2027-08-02 --until 2027-08-23", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			var days [2]time.Time
			for i, given := range []string{from, until} {
				var err error
				if days[i], err = time.Parse(time.DateOnly, given); err != nil {
					return shell.UsageError("--from and --until take a day each, for example 2027-08-02")
				}
			}
			if !days[0].Before(days[1]) || days[1].Sub(days[0]) > opening.MaxAbsence {
				return shell.UsageError("--until is a day after --from, by at most 184 days: on it you are back")
			}
			c, err := h.seat(ctx)
			if err != nil {
				return err
			}
			signed, err := c.Away(c.inForce, days[0], days[1], h.Now())
			if err != nil {
				return err
			}
			if err := c.client.State(ctx, c.Key(), signed); err != nil {
				return err
			}
			return h.print(map[string]string{"from": from, "until": until, "digest": opening.StatementDigest(signed)},
				fmt.Sprintf("announced: away from %s, back on %s. Courts, custodians and the operator see it; you may answer all the same.", from, until))
		})
	c.Flags().StringVar(&from, "from", "", "first day away, YYYY-MM-DD (UTC)")
	c.Flags().StringVar(&until, "until", "", "day on which you are back, YYYY-MM-DD (UTC)")
	return c
}

func custodianDeputise(h *home) *cobra.Command {
	var out shell.Out
	c := leaf("deputise ALTERNATE", "Hand your share over to an alternate whom the rules in force name, encrypted to their key",
		"escrow custodian deputise aldo --out aldo.share", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			c, err := h.seat(ctx)
			if err != nil {
				return err
			}
			sealed, err := c.Deputise(c.inForce, args[0])
			if err != nil {
				return err
			}
			if err := out.WritePrivate(sealed); err != nil {
				return err
			}
			return h.print(map[string]string{"file": out.File, "alternate": args[0]},
				fmt.Sprintf("written: %s, for %s alone. They run: escrow custodian receive %[1]s", out.File, args[0]))
		})
	c.Long = "Encrypts your share of the custodians' key to an alternate's key. Whichever of you answers a case, it\n" +
		"is one answer. Hand it over anew after every resharing: the older share opens nothing then."
	out.Flags(c, "handover.share", "file to write it to")
	return c
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
			if bundle != "" {
				b, err := h.readBundle(bundle)
				if err != nil {
					return err
				}
				if err := c.Begin(b); err != nil {
					return err
				}
			}
			_, inForce, err := h.inForce(ctx, c)
			if err != nil {
				return err
			}
			if err := c.Receive(inForce, sealed); err != nil {
				return err
			}
			return h.print(map[string]string{"custodian": inForce.Seated(c.ID).ID, "alternate": c.ID},
				fmt.Sprintf("kept: the share of %s, checked against the custodians' public key. Remove %s.", inForce.Seated(c.ID).ID, args[0]))
		})
	c.Flags().StringVar(&bundle, "bundle", "", "bundle to begin with, handed over by a person you trust: for a folder that has seen no rules yet")
	return c
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
