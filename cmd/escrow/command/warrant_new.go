package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errUnanswered = refusal.New(refusal.Invalid, "draft.answers_missing",
		"questions are left and nobody answers: what was answered is saved in the file named here, and the same command goes on from there, at a terminal or with the rest written into that file (--answers)")
	errAnswersFile = refusal.New(refusal.Invalid, "draft.answers_file",
		`a file of answers is a JSON object of texts: {"kind": "production", "offence": "threats-to-kill", …}`)
)

// maxTyped is what a terminal hands over of a line, in bytes: it drops the rest.
const maxTyped = 4095

// maxWrong is how many wrong answers to one question end the dialogue: whoever gives so many
// is a program, or needs help.
const maxWrong = 20

// interview is a dialogue at the terminal.
type interview struct {
	*program
	policy.Interview
	folder, bundle, template, answers string
	again                             []string
	out                               shell.Out
}

// saved is the file with the answers so far.
func (d *interview) saved() string {
	if d.answers != "" {
		return d.answers
	}
	return d.out.File + ".answers"
}

// deliveryKey is the public key in a requester's file: of the key itself, or of what keygen printed.
func deliveryKey(name string) (string, error) {
	if raw, err := shell.ReadFile(name); err == nil && document.CheckDeliveryKey(string(document.Typed(raw))) == nil {
		return string(document.Typed(raw)), nil
	}
	k, err := requester.ReadKey(name)
	if err != nil {
		return "", err
	}
	return k.Public(), nil
}

// begin reads folder, bundle, unless it is read already, and the answers that are saved.
func (d *interview) begin() (err error) {
	if d.Bundle == nil {
		if d.Bundle, err = d.readBundle(d.bundle); err != nil {
			return err
		}
	}
	if d.Pieces, err = d.evidence([]string{d.folder}); err != nil {
		return err
	}
	d.Now, d.Read = d.program.Now(), d.readFile
	d.DeliveryKey = deliveryKey
	answers := make(map[string]string)
	raw, err := shell.ReadFile(d.saved())
	switch {
	case errors.Is(err, os.ErrNotExist) && d.answers == "":
	case err != nil:
		return err
	case json.Unmarshal(raw, &answers) != nil:
		return shell.InFile(d.saved(), 0, errAnswersFile)
	}
	if kind, offence, _ := strings.Cut(d.template, ":"); d.template != "" {
		answers["kind"] = kind
		if offence != "" {
			answers["offence"] = offence
		}
	}
	if err := d.Begin(answers); err != nil {
		return shell.InFile(d.folder, 0, err)
	}
	for _, name := range d.again {
		if err := d.Forget(name); err != nil {
			return err
		}
	}
	return nil
}

// ask asks until all is answered. Each answer is saved before the next question.
func (d *interview) ask(ctx context.Context) error {
	before := strings.Join(d.Evidence(), "\n") + "\n"
	if n := d.Answered(); n > 0 {
		before += fmt.Sprintf("Answers that are there already: %d. ", n)
	}
	before += "Ctrl-C keeps what was answered, in " + d.saved() + "\n"
	for tries := 1; ; tries++ {
		q, wrong := d.Next()
		if q == nil {
			return nil
		}
		if wrong != nil {
			before += "\n" + notTaken(wrong) + "\n"
		}
		if d.Ask == nil || tries > maxWrong {
			return d.unanswered(ctx, q, wrong, nil)
		}
		answer, err := d.Ask(ctx, before+"\n"+inWords(q))
		if err != nil {
			return d.unanswered(ctx, q, wrong, err)
		}
		answer = strings.TrimRight(answer, "\r\n")
		switch err := d.Answer(q, answer); {
		case slices.ContainsFunc(strings.Split(answer, "\n"), func(line string) bool { return len(line) >= maxTyped }):
			before = "\nA terminal takes no more than that in one line: write the text into a file, and answer @FILE\n"
		case errors.Is(err, policy.ErrAnswer):
			before = "\n" + notTaken(err) + "\nYou typed: " + document.Visible(answer) + "\n"
		case err != nil:
			return err
		default:
			before, tries = taken(q, answer), 0
			if err := d.save(); err != nil {
				return err
			}
		}
	}
}

func (d *interview) save() error {
	raw, err := json.MarshalIndent(d.Answers(), "", "  ")
	if err != nil {
		return err
	}
	return shell.WritePrivate(d.saved(), append(raw, '\n'))
}

// unanswered ends the dialogue where nobody answers any more.
func (d *interview) unanswered(ctx context.Context, q *policy.Question, wrong, err error) error {
	if serr := d.save(); serr != nil {
		return serr
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintf(d.Stderr, "\nwhat was answered is saved in %s: the same command goes on from there\n", d.saved())
		return ctx.Err()
	case wrong != nil:
		return shell.InFile(d.saved(), 0, wrong)
	}
	why := fmt.Sprintf("%s; the next question is %s, for example: %s", d.saved(), q.Name, q.Example)
	if err != nil {
		why += "; " + shell.ProblemOf(err).Code
	}
	return errUnanswered.Because(errors.New(why))
}

// notTaken is what is wrong with an answer, for a person.
func notTaken(err error) string { return "That is no answer. " + shell.ProblemOf(err).Cause }

// taken repeats an answer of several lines, of which a terminal shows no end.
func taken(q *policy.Question, answer string) string {
	lines := strings.Count(answer, "\n") + 1
	if lines == 1 {
		return ""
	}
	return fmt.Sprintf("\n%s: all %d lines were taken:\n%s\n", q.Name, lines, document.Visible(answer))
}

// inWords is a question as a person reads it.
func inWords(q *policy.Question) string {
	var b strings.Builder
	for _, line := range q.About {
		b.WriteString(line + "\n")
	}
	b.WriteString(q.Text + q.Typed)
	for i, c := range q.Choices {
		fmt.Fprintf(&b, "\n%4d  %s", i+1, c.ID)
		if c.Title != "" {
			b.WriteString("  " + c.Title)
		}
	}
	if q.Example != "" {
		b.WriteString("\n(for example: " + q.Example + ")")
	}
	b.WriteString("\n" + q.Name)
	if q.Default != "" {
		b.WriteString(" [" + q.Default + "]")
	}
	return document.Printable(b.String())
}

// run makes the draft, checks it and says what comes next.
func (d *interview) run(ctx context.Context) error {
	if err := d.begin(); err != nil {
		return err
	}
	if err := d.ask(ctx); err != nil {
		return err
	}
	text, err := policy.MarshalDraft(d.Draft())
	if err != nil {
		return err
	}
	v, err := d.check(ctx, d.out.File, text, checkable{bundle: d.Bundle, evidence: []string{d.folder}, exhibits: d.folder, earlier: d.earlier(), online: d.server != ""})
	if err != nil {
		return err
	}
	if err := d.out.WritePrivate(text); err != nil {
		return err
	}
	said := "draft: " + v.String()
	if len(v.Faults) == 0 {
		said += "\nNext: read it, and have it signed: escrow warrant sign " + d.out.File + " --key … --bundle " + d.bundle + " --out warrant.jws"
		if d.Draft().Earlier != "" {
			said += " --earlier " + d.earlier()
		}
		said += "\nThen: escrow warrant file warrant.jws --evidence " + d.folder + " --server …"
		said += "\nTo answer a question anew: the same command with --force --ask and its name; the answers are kept in " + d.saved()
	}
	if err := d.save(); err != nil {
		return err
	}
	if len(v.Faults) == 0 {
		return d.print(v, said)
	}
	for _, f := range v.Faults {
		if name := policy.QuestionOf(policy.Fault{At: f.Field}); name != "" {
			said += "\nTo answer anew: the same command with --force --ask " + name
		}
	}
	if err := d.print(v, said); err != nil {
		return err
	}
	return errFaults
}

// earlier is the file of the warrant that this one follows; "": it follows none.
func (d *interview) earlier() string {
	if d.Draft().Earlier == "" {
		return ""
	}
	return d.Answers()["earlier"]
}

func warrantNew(p *program) *cobra.Command {
	d := &interview{program: p}
	c := leaf("new", "Make the draft of a warrant from a folder of evidence: asks only what neither the folder nor the rules say",
		"escrow warrant new --dir case118 --bundle bundle.json --out draft.json", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if err := require([2]string{"bundle", d.bundle}, [2]string{"out", d.out.File}); err != nil {
				return err
			}
			if info, err := os.Stat(d.folder); err != nil || !info.IsDir() {
				return secretfile.ErrUnreadable.Because(errors.New(filepath.Clean(d.folder) + " is no folder"))
			}
			if err := d.out.Free(); err != nil {
				return err
			}
			return d.run(ctx)
		})
	c.Long = "Asks, one question after the other, what makes a draft: pen names, platforms, digests and times are\n" +
		"read from the evidence in the folder (*.jws, with the platform's files beside it), and what follows\n" +
		"from the offence is taken from the bundle and shown. A list is answered by number, by id or by words\n" +
		"that only one has; a long text is pasted, all its lines, or taken from a file with @FILE\n" +
		"(a text that begins with an @ begins with @@). A wrong answer is said, with an\n" +
		"example, and the others stay. Every answer is saved at once in OUT.answers, which its owner alone\n" +
		"reads: after Ctrl-C the same command goes on from there. At the end the draft is checked as by escrow\n" +
		"warrant check, and the answers stay: with --force --ask NAME one is given anew, and the draft is made\n" +
		"again. Remove them once the warrant is filed.\n\n" +
		"--answers takes and keeps the answers in a file of your own, for a program or another case:\n\n" +
		`  {"kind": "production", "authority": "county-court", "offence": "threats-to-kill", "file_number": "TC 118 of 2026", …}`
	c.Flags().StringVar(&d.folder, "dir", ".", "folder with the evidence and the exhibits")
	c.Flags().StringVar(&d.bundle, "bundle", "", "bundle of rules that the warrant is made under")
	c.Flags().StringVar(&d.template, "template", "", "KIND or KIND:OFFENCE, which are not asked then: production:threats-to-kill")
	c.Flags().StringVar(&d.answers, "answers", "", "file with answers, JSON; what is asked is added to it")
	c.Flags().StringArrayVar(&d.again, "ask", nil, "ask this question again, though it is answered; can be given again")
	d.out.Flags(c, "", "file to write the draft to, which its owner alone reads")
	return c
}
