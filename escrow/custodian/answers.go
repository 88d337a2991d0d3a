package custodian

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// Why answers are not taken. In all of these cases nothing was signed or sent.
var (
	ErrAnswersForm = refusal.New(refusal.Invalid, "custodian.bad_answers",
		"the file of answers is neither CSV with the columns target, platform, answers and reason, nor a JSON list of objects with these members: nothing was signed; a target is its number or its pen name, and the answers are yes or no, one to each question that is asked about it")
	ErrAnswersTarget = refusal.New(refusal.Invalid, "custodian.unknown_target",
		"an answer is about no target of this case that waits for one, or about one that has an answer: nothing was signed; take numbers and pen names from escrow custodian review CASE")
	ErrAnswersMissing = refusal.New(refusal.Invalid, "custodian.answer_missing",
		"not every target that waits has an answer to each of its questions: nothing was signed; escrow custodian review CASE shows what is asked")
	ErrAnswersReason = refusal.New(refusal.Invalid, "custodian.answer_reason",
		"a target that is not approved needs a reason, one of: "+strings.Join(Reasons(), ", ")+"; nothing was signed")
)

// Answer is what a custodian says about one target of a case that they reviewed.
type Answer struct {
	Target   string   `json:"target"`             // its number, from 1, or its pen name
	Platform string   `json:"platform,omitempty"` // of the pen name; needed where the case has it twice
	Says     []string `json:"answers"`            // opening.Yes or opening.No to each of Target.Questions, in their order
	Reason   string   `json:"reason,omitempty"`   // one of Reasons: the target is declined, as with any no

	Line int `json:"-"` // in the file of answers; 0: from no file

	number int // of the target, once it is found; 0: not yet
}

// maxAnswers is more than a warrant has targets.
const maxAnswers = 1000

// ParseAnswers reads a file of answers: CSV whose first line names the columns target,
// platform, answers (separated by spaces) and reason, or a JSON list of [Answer]. What is
// neither is [ErrAnswersForm], with the line in its cause where there is one.
func ParseAnswers(raw []byte) (answers []Answer, err error) {
	raw = document.Decoded(raw)
	if bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("[")) {
		answers, err = answersOfJSON(raw)
	} else {
		answers, err = answersOfCSV(raw)
	}
	switch {
	case err != nil:
		return nil, ErrAnswersForm.Because(err)
	case len(answers) == 0 || len(answers) > maxAnswers:
		return nil, ErrAnswersForm.Because(fmt.Errorf("it has %d answers", len(answers)))
	}
	return answers, nil
}

func answersOfJSON(raw []byte) (answers []Answer, err error) {
	if err := document.CheckJSON(bytes.Join([][]byte{[]byte(`{"all":`), raw, []byte("}")}, nil)); err != nil { // no member twice
		return nil, errors.New("no JSON")
	}
	read := json.NewDecoder(bytes.NewReader(raw))
	read.DisallowUnknownFields()
	line := func() int { return 1 + bytes.Count(raw[:min(int(read.InputOffset()), len(raw))], []byte("\n")) }
	if _, err := read.Token(); err != nil {
		return nil, errors.New("no list")
	}
	for read.More() {
		var a struct {
			Answer
			Target json.RawMessage `json:"target"` // a number is one with and without quotes
		}
		if err := read.Decode(&a); err != nil { // its text can quote the file
			return nil, fmt.Errorf("line %d: not an answer", line())
		}
		if a.Answer.Target = string(a.Target); strings.HasPrefix(a.Answer.Target, `"`) {
			if err := json.Unmarshal(a.Target, &a.Answer.Target); err != nil {
				return nil, fmt.Errorf("line %d: not a target", line())
			}
		}
		if a.Line = line(); len(answers) == maxAnswers {
			return nil, fmt.Errorf("line %d: too many answers", a.Line)
		}
		answers = append(answers, a.Answer)
	}
	return answers, nil
}

func answersOfCSV(raw []byte) (answers []Answer, err error) {
	read := csv.NewReader(bytes.NewReader(raw))
	read.FieldsPerRecord, read.TrimLeadingSpace = -1, true
	columns := []string{"target", "platform", "answers", "reason"}
	var order []string
	for {
		row, err := read.Read()
		if errors.Is(err, io.EOF) {
			return answers, nil
		}
		var at *csv.ParseError
		if errors.As(err, &at) {
			return nil, fmt.Errorf("line %d: %w", at.Line, at.Err)
		}
		line, _ := read.FieldPos(0)
		if order == nil {
			order = row
			for _, name := range order {
				if name = strings.TrimSpace(name); !slices.Contains(columns, name) {
					return nil, fmt.Errorf("line %d: the first line names columns, each once: %s", line, strings.Join(columns, ", "))
				}
			}
			if len(order) > len(columns) {
				return nil, fmt.Errorf("line %d: a column twice", line)
			}
			continue
		}
		if len(row) > len(order) || len(answers) == maxAnswers {
			return nil, fmt.Errorf("line %d: more fields than columns, or too many answers", line)
		}
		a := Answer{Line: line}
		for i, field := range row {
			switch field = strings.TrimSpace(field); strings.TrimSpace(order[i]) {
			case "target":
				a.Target = field
			case "platform":
				a.Platform = field
			case "answers":
				a.Says = strings.Fields(field)
			case "reason":
				a.Reason = field
			}
		}
		answers = append(answers, a)
	}
}

// about says in a cause which answer is meant.
func (a Answer) about(said string) error {
	if a.number > 0 {
		said = fmt.Sprintf("target %d: %s", a.number, said)
	}
	if a.Line == 0 {
		return errors.New(said)
	}
	return fmt.Errorf("line %d: %s", a.Line, said)
}

// find returns the index of the target that an answer is about, or -1.
func (r *Review) find(a Answer) int {
	if n, err := strconv.Atoi(a.Target); err == nil {
		if n < 1 || n > len(r.Targets) || a.Platform != "" && r.Targets[n-1].Platform != a.Platform {
			return -1
		}
		return n - 1
	}
	found := -1
	for i, t := range r.Targets {
		if t.PenName == a.Target && (a.Platform == "" || t.Platform == a.Platform) {
			if found >= 0 {
				return -1 // on two platforms
			}
			found = i
		}
	}
	return found
}

// NonePasses is why the first target that waits for an answer cannot be approved, if none of
// them can: there is nothing to ask then. Else nil.
func (r *Review) NonePasses() error {
	var first error
	for i, t := range r.Targets {
		switch {
		case !t.Waits():
		case t.wrong == nil:
			return nil
		case first == nil:
			first = t.wrong.Because(Answer{number: i + 1}.about(t.Wrong))
		}
	}
	return first
}

// Answered makes what is signed of the answers about the targets: the questions as they were
// asked, and an answer for each target that waits for one. The refusals are [ErrAnswersTarget],
// [ErrAnswersMissing], [ErrAnswersReason], and why a target cannot be approved, each with the
// line or the number of the target in its cause.
func (r *Review) Answered(answers []Answer) (questions []string, all []opening.Answer, err error) {
	seen := make(map[int]bool)
	for _, t := range r.Targets {
		for _, q := range t.Questions {
			if !slices.Contains(questions, q) {
				questions = append(questions, q)
			}
		}
	}
	for _, a := range answers {
		i := r.find(a)
		a.number = i + 1
		switch {
		case i < 0:
			return nil, nil, ErrAnswersTarget.Because(a.about("no such target"))
		case seen[i]:
			return nil, nil, ErrAnswersTarget.Because(a.about("it has two answers"))
		case !r.Targets[i].Waits():
			return nil, nil, ErrAnswersTarget.Because(a.about("it waits for no answer"))
		}
		seen[i] = true
		said, err := r.Targets[i].answered(a, questions)
		if err != nil {
			return nil, nil, err
		}
		said.Target = i
		all = append(all, said)
	}
	for i, t := range r.Targets {
		if t.Waits() && !seen[i] {
			return nil, nil, ErrAnswersMissing.Because(fmt.Errorf("target %d", i+1))
		}
	}
	slices.SortFunc(all, func(a, b opening.Answer) int { return cmp.Compare(a.Target, b.Target) })
	return questions, all, nil
}

// Wrong are the refusals of answers that [Review.Answered] would not take, by the index of their
// target: all of them, where it stops at the first. Targets are named by their numbers.
func (r *Review) Wrong(answers []Answer) map[int]error {
	wrong, asked := make(map[int]error), make(map[int]bool)
	for _, a := range answers {
		i := r.find(a)
		if i < 0 {
			continue
		}
		asked[i] = true
		if _, err := r.Targets[i].answered(a, r.Targets[i].Questions); err != nil {
			wrong[i] = err
		}
	}
	for i, t := range r.Targets {
		if t.Waits() && !asked[i] {
			wrong[i] = ErrAnswersMissing
		}
	}
	return wrong
}

// answered is one answer, to those of all questions that are about the target.
func (t Target) answered(a Answer, questions []string) (said opening.Answer, err error) {
	said = opening.Answer{Vote: opening.Approve, Reason: a.Reason, Says: make([]string, len(questions))}
	if len(a.Says) != len(t.Questions) && !(t.wrong != nil && len(a.Says) == 0) {
		return said, ErrAnswersMissing.Because(a.about(fmt.Sprintf("%d answers to %d questions", len(a.Says), len(t.Questions))))
	}
	for i, answer := range a.Says {
		if answer != opening.Yes && answer != opening.No {
			return said, ErrAnswersForm.Because(a.about("an answer is yes or no"))
		}
		said.Says[slices.Index(questions, t.Questions[i])] = answer
	}
	declined := slices.Contains(a.Says, opening.No) || a.Reason != ""
	switch {
	case a.Reason == recused:
		return said, ErrUseRecuse.Because(a.about("a recusal declines nothing"))
	case declined && !slices.Contains(Reasons(), a.Reason):
		return said, ErrAnswersReason.Because(a.about("a no without a listed reason"))
	case declined:
		said.Vote = opening.Decline
	case t.wrong != nil:
		return said, t.wrong.Because(a.about(t.Wrong))
	}
	return said, nil
}

// Same is [ErrSignedOtherwise], with the day of the signed decision in its cause, unless these
// answers say the same as it about the targets of the case f.
func Same(signed string, f opening.CaseFile, answers []Answer) error {
	a, err := opening.ParseApprovalUnverified(signed)
	if err != nil {
		return err
	}
	w, err := policy.ParseUnverified(f.Submission.Warrant)
	if err != nil {
		return err
	}
	r, was := &Review{}, make(map[int]opening.Answer)
	for _, t := range w.Targets {
		r.Targets = append(r.Targets, Target{PenName: string(t.Pseudonym), Platform: t.Platform})
	}
	for _, x := range a.Answers {
		x.Says = slices.DeleteFunc(slices.Clone(x.Says), func(said string) bool { return said == opening.NotAsked })
		was[x.Target] = x
	}
	all := len(was) == 0 // of before there were answers: one approval for all
	same := all || len(answers) == len(was)
	for _, is := range answers {
		i := r.find(is)
		x, there := was[i]
		delete(was, i)
		same = same && i >= 0 && is.Reason == x.Reason && (there && slices.Equal(is.Says, x.Says) || all && !slices.Contains(is.Says, opening.No))
	}
	if !same {
		return ErrSignedOtherwise.Because(errors.New("you answered on " + a.At.Format(time.DateTime) + " UTC"))
	}
	return nil
}

// Says is what a custodian's own signed decision says, for a person at a terminal. It checks
// no signature.
func Says(signed string) (string, error) {
	a, err := opening.ParseApprovalUnverified(signed)
	if err != nil {
		return "", err
	}
	var s strings.Builder
	for _, x := range a.Answers {
		fmt.Fprintf(&s, "pen name %d: %s", x.Target+1, x.Vote)
		for i, said := range x.Says {
			if said != opening.NotAsked {
				fmt.Fprintf(&s, "; %s %s", a.Questions[i], said)
			}
		}
		if x.Reason != "" {
			fmt.Fprintf(&s, "; %s", x.Reason)
		}
		s.WriteString("\n")
	}
	return document.Printable(s.String()), nil
}
