package command

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

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
		"nothing was answered before something is signed: answer at a terminal what it asks, or say with --yes that it is meant; approve needs a file of --answers too; nothing was signed")
	errNotSent = refusal.New(refusal.Conflict, "custodian.not_confirmed",
		"it was not confirmed: nothing was kept, signed or sent")
)

const answersHelp = `Shows each target, asks what there is to ask about it and last whether you approve it, shows what
will be signed, and signs and sends it when you confirm.

--answers takes the answers from a file instead: CSV with the columns target (number or pen name),
platform, answers (yes or no to each question, separated by spaces) and reason, or a JSON list:

  target,answers,reason                      [{"target": 1, "answers": ["yes"]},
  1,yes,                                      {"target": 2, "answers": ["no"], "reason": "press_freedom"},
  2,no,press_freedom                          {"target": 3, "answers": ["yes"], "reason": "disproportionate"}]
  3,yes,disproportionate

A target with a reason is declined, also where every answer is yes; a no needs a reason.`

func custodianApprove(h *home) *cobra.Command {
	var file, folder, text string
	var sure bool
	c := leaf("approve CASE", "Answer what is asked about each target of a case that you reviewed, and release a share for each that you approve",
		"escrow custodian approve CASE", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			answers, err := h.answersIn(file)
			if err != nil {
				return err
			}
			if err := h.outside(folder); err != nil {
				return err
			}
			if err := h.canConfirm(sure); err != nil {
				return err
			}
			return h.answer(ctx, args[0], opening.Approve, "", text, answers, func(c seat, r *custodian.Review) (string, error) {
				if err := r.Approvable(h.Now()); err != nil {
					return "", err
				}
				if file == "" {
					if answers, err = h.asked(ctx, c, r, folder); err != nil {
						return "", err
					}
				}
				before := ""
				if file != "" { // nothing was shown yet
					before = r.Summary()
				}
				if _, _, err := r.Answered(answers); err != nil {
					return "", shell.InFile(file, 0, err)
				}
				return c.approve(r, answers, text, h.Now(), func(shown string) error { return h.confirm(ctx, sure, before+shown) })
			})
		})
	c.Long = answersHelp
	c.Flags().StringVar(&file, "answers", "", "file with the answers, - for the standard input, instead of the questions: see above")
	addYes(c, &sure)
	addText(c, &text)
	addExhibitsTo(c, &folder)
	return c
}

// approve signs the answers about the targets of a case, once confirm agrees to what is shown
// of it.
func (s seat) approve(r *custodian.Review, answers []custodian.Answer, text string, now time.Time, confirm func(shown string) error) (signed string, err error) {
	if err := r.Approvable(now); err != nil {
		return "", err
	}
	questions, votes, err := r.Answered(answers)
	if err != nil {
		return "", err
	}
	if err := confirm(outcome(r, questions, votes) + lastWords(text)); err != nil {
		return "", err
	}
	return s.Approve(r, answers, now)
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
	fresh, err := c.read(ctx, h, r, folder)
	if fresh != "" {
		defer h.remove(fresh)
	}
	if err != nil {
		return nil, err
	}
	if err := r.NonePasses(); err != nil {
		return nil, err
	}
	said := r.Summary()
	for i, t := range r.Targets {
		said += "\n" + r.Target(i)
		if !t.Waits() {
			continue
		}
		a := custodian.Answer{Target: strconv.Itoa(i + 1)}
		declined := t.Wrong != ""
		if !declined {
			if a.Says, err = h.yesOrNo(ctx, said, t.Questions...); err != nil {
				return nil, err
			}
			if declined = slices.Contains(a.Says, opening.No); !declined {
				approved, err := h.yesOrNo(ctx, "", approves(r.Warrant.Kind))
				if err != nil {
					return nil, err
				}
				declined = approved[0] == opening.No
			}
			said = ""
		}
		if declined {
			if a.Reason, err = h.reason(ctx, said+"It is declined.\n"); err != nil {
				return nil, err
			}
			said = ""
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// remove drops the folder that approve made itself, whatever was answered.
func (h *home) remove(dir string) {
	said := "what was published is removed again: "
	if err := os.RemoveAll(dir); err != nil {
		said = "what was published could not be removed, remove it yourself: "
	}
	if !h.json {
		fmt.Fprintln(h.Stderr, said+document.Printable(dir))
	}
}

// approves is the last question about a target: who sees the offence can decline all the same.
func approves(kind string) string {
	return cmp.Or(approveWords[kind], approveWords[""])
}

// approveWords are what a custodian is asked at last, by kinds of warrants.
var approveWords = map[string]string{
	"":                "Do you approve opening this pen name?",
	policy.Suspension: "Do you approve suspending this pen name?",
	policy.Link:       "Do you approve naming all pen names of this person?",
}

// outcome is what is signed of the answers, for the last look at it: all of it, each question
// with what was said to it.
func outcome(r *custodian.Review, questions []string, votes []opening.Answer) string {
	s := "\nThis is signed and sent for case " + r.Case + ":\n" + about(r)
	for _, v := range votes {
		t := r.Targets[v.Target]
		s += fmt.Sprintf("  pen name %d, %s on %s: %s", v.Target+1, t.PenName, t.Platform, v.Vote)
		if v.Reason != "" {
			s += ", " + v.Reason + " (" + reasonWords[v.Reason] + ")"
		}
		s += "\n"
		for i, said := range v.Says {
			if said != opening.NotAsked {
				s += "    " + questions[i] + " " + said + "\n"
			}
		}
		if v.Vote == opening.Approve && t.Opens() != "" {
			s += "    " + t.Opens() + "\n"
		}
	}
	return document.Printable(s)
}

// about says what a decision is about, and for whom it is given.
func about(r *custodian.Review) string {
	s := "  " + r.About() + "\n"
	if r.StandsIn != "" {
		s += "  " + r.StandsIn + "\n"
	}
	return s
}

// declined is what is signed of a refusal of a whole case, for the last look at it.
func declined(r *custodian.Review, reason string) string {
	return document.Printable(fmt.Sprintf("\nThis is signed and sent for case %s:\n%s  all its pen names, %d: decline, %s (%s)\n", r.Case, about(r), len(r.Targets), reason, reasonWords[reason]))
}

// lastWords stand below whatever is signed in a case, with the words that go with it.
func lastWords(text string) string {
	s := "Reasons of the list are published in the public log. "
	if text != "" {
		s = "  your words, which the court and custodians alone read:\n" + custodian.Quoted(document.Visible(text)) + s
	}
	return s + "It is final: what you signed cannot be changed or taken back.\n"
}

// canConfirm refuses, before anybody types a passphrase, what nobody could be asked about.
func (h *home) canConfirm(sure bool) error {
	if !sure && h.Ask == nil {
		return errNoAnswers
	}
	return nil
}

// confirm asks a person whether what is shown is what they want to sign, unless they said so.
func (h *home) confirm(ctx context.Context, sure bool, shown string) error {
	if sure {
		return nil
	}
	if err := h.canConfirm(sure); err != nil {
		return err
	}
	said, err := h.yesOrNo(ctx, shown, "Do you sign this?")
	if err == nil && said[0] != opening.Yes {
		err = errNotSent
	}
	return err
}

func addYes(c *cobra.Command, sure *bool) {
	c.Flags().BoolVar(sure, "yes", false, "say that it is meant, and are not to be asked before it is signed: for scripts")
}

// yesOrNo asks questions, the first one below what is shown.
func (h *home) yesOrNo(ctx context.Context, shown string, questions ...string) (says []string, err error) {
	for _, q := range questions {
		answer, err := h.oneOf(ctx, shown+q+" (yes/no)", []string{opening.Yes, opening.No})
		if err != nil {
			return nil, err
		}
		shown, says = "", append(says, answer)
	}
	return says, nil
}

// reasonWords say what the reasons of the list mean.
var reasonWords = map[string]string{
	"incomplete":               "something that the order needs is missing",
	"manifest_errors":          "the order contradicts itself, its evidence or its target",
	"insufficient_information": "it does not say enough to decide on it",
	"disproportionate":         "it asks for more than the offence justifies",
	"immunity_or_privilege":    "the account is of somebody whom an immunity or a privilege protects",
	"press_freedom":            "it is about journalism, or would show a source",
	"fundamental_rights":       "it would breach another fundamental right",
	"conflict_of_law":          "the law of another place forbids it",
}

// reason asks for one of the list, by its name or its number.
func (h *home) reason(ctx context.Context, shown string) (string, error) {
	var numbers []string
	reasons := custodian.Reasons()
	for i, reason := range reasons {
		numbers = append(numbers, strconv.Itoa(i+1))
		shown += fmt.Sprintf("  %d  %-24s  %s\n", i+1, reason, reasonWords[reason])
	}
	answer, err := h.oneOf(ctx, shown+"Reason, by name or number", slices.Concat(reasons, numbers))
	if i := slices.Index(numbers, answer); i >= 0 {
		answer = reasons[i]
	}
	return answer, err
}

// oneOf asks until one of these is answered. Who is interrupted reads that nothing was signed.
func (h *home) oneOf(ctx context.Context, question string, these []string) (string, error) {
	for {
		answer, err := h.Ask(ctx, question)
		if err = cmp.Or(ctx.Err(), err); err != nil {
			if ctx.Err() != nil && !h.json {
				fmt.Fprintln(h.Stderr, "\nnothing was kept, signed or sent")
			}
			return "", err
		}
		if answer = strings.ToLower(strings.TrimSpace(answer)); slices.Contains(these, answer) {
			return answer, nil
		}
		question = "One of " + strings.Join(these, ", ")
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
