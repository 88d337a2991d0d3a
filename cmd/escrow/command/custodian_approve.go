package command

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errNoAnswers = refusal.New(refusal.Invalid, "custodian.no_answers",
		"each target is asked about before anything is signed: run the command at a terminal, or name a file with --answers; nothing was signed")
	errNotSent = refusal.New(refusal.Conflict, "custodian.not_confirmed",
		"the answers were not confirmed: nothing was kept, signed or sent")
)

func custodianApprove(h *home) *cobra.Command {
	var file, folder string
	c := leaf("approve CASE", "Answer what is asked about each target of a case that you reviewed, and release a share for each that you approve",
		"escrow custodian approve CASE", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			answers, err := h.answersIn(file)
			if err != nil {
				return err
			}
			if err := h.outside(folder); err != nil {
				return err
			}
			return h.answer(ctx, args[0], opening.Approve, "", func(c seat, r *custodian.Review) (string, error) {
				if err := r.Approvable(h.Now()); err != nil {
					return "", err
				}
				if file == "" {
					if answers, err = h.asked(ctx, c, r, folder); err != nil {
						return "", err
					}
				}
				signed, err := c.Approve(r, answers, h.Now())
				return signed, shell.InFile(file, 0, err)
			})
		})
	c.Flags().StringVar(&file, "answers", "", "file with the answers, - for the standard input: CSV with the columns target (number or pen name), platform, answers (yes or no to each question, separated by spaces) and reason (of a no), or a JSON list of objects with these members; without it each question is asked at the terminal")
	addExhibitsTo(c, &folder)
	return c
}

// answersIn reads a file of answers, before anybody types a passphrase.
func (h *home) answersIn(file string) ([]custodian.Answer, error) {
	if file == "" {
		if h.Ask == nil {
			return nil, errNoAnswers
		}
		return nil, nil
	}
	raw, err := h.readFile(file)
	if err != nil {
		return nil, err
	}
	answers, err := custodian.ParseAnswers(raw)
	return answers, shell.InFile(file, 0, err)
}

// asked shows the case and each of its targets at the terminal, what was published with
// them, and asks what there is to ask. What was answered is kept nowhere before all of it is.
func (h *home) asked(ctx context.Context, c seat, r *custodian.Review, folder string) (answers []custodian.Answer, err error) {
	if err := c.read(ctx, h, r, folder); err != nil {
		return nil, err
	}
	said, list := r.Summary(), ""
	for i, t := range r.Targets {
		said += "\n" + r.Target(i)
		if !t.Waits() {
			continue
		}
		a := custodian.Answer{Target: strconv.Itoa(i + 1)}
		if t.Wrong == "" {
			if a.Says, err = h.yesOrNo(ctx, said, t.Questions); err != nil {
				return nil, err
			}
			said = ""
		}
		if t.Wrong != "" || slices.Contains(a.Says, opening.No) {
			reason := said + "It is declined. Reason, one of " + strings.Join(policy.DeclineReasons, ", ")
			if a.Reason, err = h.oneOf(ctx, reason, policy.DeclineReasons); err != nil {
				return nil, err
			}
			said = ""
			list += fmt.Sprintf("  target %d, %s on %s: declined, %s\n", i+1, t.PenName, t.Platform, a.Reason)
		} else {
			list += fmt.Sprintf("  target %d, %s on %s: approved\n", i+1, t.PenName, t.Platform)
		}
		answers = append(answers, a)
	}
	said += "\nYour answers, which count once and cannot be changed:\n" + document.Printable(list) + "Is this signed and sent?"
	sure, err := h.yesOrNo(ctx, "", []string{said})
	if err == nil && sure[0] != opening.Yes {
		err = errNotSent
	}
	return answers, err
}

// yesOrNo asks questions, the first one below what is shown.
func (h *home) yesOrNo(ctx context.Context, shown string, questions []string) (says []string, err error) {
	for _, q := range questions {
		answer, err := h.oneOf(ctx, shown+q+" (yes/no)", []string{opening.Yes, opening.No})
		if err != nil {
			return nil, err
		}
		shown, says = "", append(says, answer)
	}
	return says, nil
}

// oneOf asks until one of these is answered.
func (h *home) oneOf(ctx context.Context, question string, these []string) (string, error) {
	for {
		answer, err := h.Ask(ctx, question)
		if err != nil {
			return "", err
		}
		if answer = strings.ToLower(strings.TrimSpace(answer)); slices.Contains(these, answer) {
			return answer, nil
		}
		question = "One of " + strings.Join(these, ", ")
		if err := ctx.Err(); err != nil {
			return "", err
		}
	}
}

// outside refuses to put what was published into the custodian's folder.
func (h *home) outside(folder string) error {
	if folder != "" && within(folder, h.dir) {
		return shell.UsageError("--exhibits-to is in the custodian's folder, of which there are backups: name another one")
	}
	return nil
}

func addExhibitsTo(c *cobra.Command, folder *string) {
	c.Flags().StringVar(folder, "exhibits-to", "", "folder for what was published, outside the custodian's own, which is made if there is none (a new one for each review, of mode 0700, among the files of this machine that pass)")
}
