package policy

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Why an interview does not begin, or an answer does not do.
var (
	ErrAnswer      = refusal.New(refusal.Invalid, "draft.answer", "This is no answer to the question: all other answers are kept, so give this one anew.")
	ErrNoQuestion  = refusal.New(refusal.Invalid, "draft.unknown_answer", "The answers have one to a question that nobody asks: leave it out, or correct its name.")
	ErrNoCatalogue = refusal.New(refusal.Invalid, "draft.old_bundle", "The bundle is of a format before 5, without a catalogue of offences: write the draft by hand, as `escrow warrant sign --help` shows.")
	ErrOtherPieces = refusal.New(refusal.Conflict, "draft.other_evidence", "The answers that were saved are about other evidence, and nothing of them was taken: name another file with --out or --answers, or remove the saved ones.")
	ErrNoPieces    = refusal.New(refusal.Invalid, "draft.no_evidence", "There is no evidence to make a draft of: name the folder with the platform's files, each piece a compact JWS as the platform gave it.")
)

// Interview makes the draft of an order. What the bundle and the evidence say is filled in,
// and what neither can say is asked, one [Question] after the other. A draft that was made so
// is judged by [Bundle.Check], as any other.
type Interview struct {
	Bundle *Bundle
	Pieces []string // of evidence, each a compact JWS
	Now    time.Time
	// Read returns what is in a file that an answer names; DeliveryKey the public key of a
	// requester, whose file it is.
	Read        func(name string) ([]byte, error)
	DeliveryKey func(name string) (string, error)

	answers map[string]string
	about   []piece
	w       Warrant // what the answers up to the question say
	unusual []string
}

// piece is a piece of evidence as it is shown. Nothing of it is verified.
type piece struct {
	digest   string
	penName  token.Pseudonym
	platform string
	post     token.Post
}

// Question is one thing that is asked.
type Question struct {
	Name    string // of the answer
	About   []string
	Text    string
	Typed   string // how it is answered in a line, behind Text
	Example string // of an answer
	Default string // what an empty answer stands for; "": it needs one
	Choices []Choice
	Several bool // of the choices
	Most    int  // characters of a text; 0: it is none. One that has more than 200 may be in a file: @FILE; @@ begins one that begins with an @
	File    bool // an answer names a file

	take func(answer string) error
}

// Choice is one of several answers, given by its number, from 1, or its id.
type Choice struct{ ID, Title string }

// Begin reads the evidence and takes answers that were given before, which nobody has to be
// right: [Interview.Next] asks again for those that are wrong.
func (i *Interview) Begin(answers map[string]string) error {
	if i.Bundle.Version < 5 {
		return ErrNoCatalogue
	}
	seen := make(map[string]bool)
	for n, raw := range i.Pieces {
		e, err := token.ParseUnverifiedEvidence(raw)
		var claims struct {
			Subject token.Pseudonym `json:"sub"`
		}
		if err != nil || !document.ReadUnverified(e.Token, &claims) {
			return ErrBadEvidence.Because(fmt.Errorf("piece %d cannot be read", n+1))
		}
		if digest := hexHash(raw); !seen[digest] {
			seen[digest] = true
			i.about = append(i.about, piece{digest, claims.Subject, e.Platform, e.Post})
		}
	}
	if len(i.about) == 0 {
		return ErrNoPieces
	}
	slices.SortStableFunc(i.about, func(a, b piece) int { return a.post.At.Compare(b.post.At) })
	i.answers = map[string]string{ofEvidence: i.evidence()}
	if of, saved := answers[ofEvidence]; saved && of != i.answers[ofEvidence] {
		return ErrOtherPieces
	}
	for name, answer := range answers {
		if name != ofEvidence && !slices.Contains(questionNames, name) && !i.isDescription(name) {
			return ErrNoQuestion.Because(fmt.Errorf("%q; the names are %s", document.Visible(name), strings.Join(questionNames, ", ")))
		}
		i.answers[name] = answer
	}
	return nil
}

func hexHash(raw string) string {
	hash := Hash(raw)
	return hex.EncodeToString(hash[:])
}

func (i *Interview) isDescription(name string) bool {
	digest, ok := strings.CutPrefix(name, describes)
	return ok && slices.ContainsFunc(i.about, func(p piece) bool { return p.digest == digest })
}

// ofEvidence is the name of what is no answer, but says of which evidence all are.
const ofEvidence = "evidence"

func (i *Interview) evidence() string {
	var digests []string
	for _, p := range i.about {
		digests = append(digests, p.digest)
	}
	slices.Sort(digests)
	return hexHash(strings.Join(digests, " "))
}

// OfPieces reports whether an answer of that name is about pieces of evidence or their pen names:
// about other evidence it says nothing.
func OfPieces(name string) bool {
	return name == ofEvidence || name == isRole || strings.HasPrefix(name, describes)
}

// Answers are those that were given, right or wrong, and of which evidence they are.
func (i *Interview) Answers() map[string]string { return maps.Clone(i.answers) }

// Forget takes an answer back, so that it is asked for again, or is [ErrNoQuestion].
func (i *Interview) Forget(name string) error {
	if _, given := i.answers[name]; !given || name == ofEvidence {
		return ErrNoQuestion.Because(fmt.Errorf("%q has no answer yet", document.Visible(name)))
	}
	delete(i.answers, name)
	return nil
}

// Answered counts them.
func (i *Interview) Answered() int { return len(i.answers) - 1 }

// QuestionOf is the name of the question whose answer a fault is about; "": of none.
func QuestionOf(f Fault) string {
	for _, q := range [][2]string{{"/kind", "kind"}, {"/deadline", "kind"}, {"/authority", "authority"}, {"/jurisdiction", "authority"}, {"/offence", "offence"}, {"/max_penalty_months", "offence"},
		{"/fields", "fields"}, {"/secrecy/reason", "secrecy_reason"}, {"/secrecy", "secrecy"}, {"/flags", "unusual"}, {"/requester/name", "contact"}, {"/requester/delivery_key", "delivery_key"},
		{"/requester", "organisation"}, {"/jointly", "jointly"}, {"/recognises", "recognises"}, {"/earlier", "earlier"}, {"/issued_at", "issued_at"}, {"/expiry", "issued_at"}, {"/dated_back", "dated_back"}} {
		if strings.HasPrefix(f.At, q[0]) {
			return q[1]
		}
	}
	return ""
}

// Step is a group of questions. They stand on the answers of the steps before, and none on
// another of its step.
type Step struct {
	Questions []*Question
	Wrong     map[string]error // what is wrong with an answer that was given, by the name of its question
	Answered  bool             // all of it is, rightly
}

// Steps returns the steps up to the first that is not answered; if all are, all.
func (i *Interview) Steps() (steps []Step) {
	i.w, i.unusual = Warrant{Audience: i.Bundle.Registrar, Deadline: TenDays, Targets: i.targets()}, nil
	for _, ask := range asked {
		s := Step{Questions: ask(i), Wrong: make(map[string]error), Answered: true}
		for _, q := range s.Questions {
			answer, given := i.answers[q.Name]
			if given {
				if err := q.answer(answer); err != nil {
					s.Wrong[q.Name] = err
				}
			}
			s.Answered = s.Answered && given && s.Wrong[q.Name] == nil
		}
		if len(s.Questions) > 0 {
			steps = append(steps, s)
		}
		if !s.Answered {
			return steps
		}
	}
	return steps
}

// Next returns the first question that has no answer, or a wrong one, which is said; nil: there
// is none.
func (i *Interview) Next() (*Question, error) {
	steps := i.Steps()
	for _, q := range steps[len(steps)-1].Questions {
		if _, given := i.answers[q.Name]; !given || steps[len(steps)-1].Wrong[q.Name] != nil {
			return q, steps[len(steps)-1].Wrong[q.Name]
		}
	}
	return nil, nil
}

// Answer takes the answer to a question of [Interview.Next]: it is kept if it is right, else
// the error says what is wrong with it.
func (i *Interview) Answer(q *Question, answer string) error {
	if err := q.answer(answer); err != nil {
		return err
	}
	i.answers[q.Name] = strings.TrimSpace(answer)
	return nil
}

// Draft returns the draft once all is answered.
func (i *Interview) Draft() Warrant { return i.w }

// targets are the pen names of the evidence, each with its pieces.
func (i *Interview) targets() (all []Target) {
	for _, p := range i.about {
		n := slices.IndexFunc(all, func(t Target) bool { return t.Pseudonym == p.penName && t.Platform == p.platform })
		if n < 0 {
			all = append(all, Target{Pseudonym: p.penName, Platform: p.platform, Evidence: p.digest})
		} else {
			all[n].Further = append(all[n].Further, p.digest)
		}
	}
	return all
}

// Evidence says in lines what the evidence is about.
func (i *Interview) Evidence() (lines []string) {
	targets := i.targets()
	lines = []string{fmt.Sprintf("The evidence is of %s by %s.", counted(len(i.about), "post"), counted(len(targets), "pen name"))}
	for n, t := range targets {
		if n == 10 {
			return append(lines, fmt.Sprintf("  … and %d more pen names", len(targets)-n))
		}
		first := i.about[slices.IndexFunc(i.about, func(p piece) bool { return p.digest == t.Evidence })].post
		lines = append(lines, fmt.Sprintf("  %d  %s on %s: %s, the first on %s at %s", n+1, t.Pseudonym, t.Platform, counted(1+len(t.Further), "post"),
			first.At.UTC().Format("2006-01-02 15:04 UTC"), document.Visible(first.URL)))
	}
	return lines
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// wrong says what is wrong with an answer, and shows a right one. It holds nothing of the answer.
func (q *Question) wrong(why string) error {
	said := q.Name + ": " + why
	if q.Example != "" {
		said += "; for example: " + q.Example
	}
	return ErrAnswer.Because(errors.New(said))
}

func (q *Question) answer(answer string) error {
	answer = strings.TrimSpace(string(document.Typed([]byte(answer))))
	if answer == "" {
		answer = q.Default
	}
	if answer == "" {
		return q.wrong("it needs an answer")
	}
	if err := q.take(answer); err != nil {
		return err
	}
	return nil
}

// Literal is the answer that stands for a text as it is, also if it begins with an @.
func (q *Question) Literal(text string) string {
	if q.Most > 200 && strings.HasPrefix(strings.TrimSpace(text), "@") {
		return "@" + strings.TrimSpace(text)
	}
	return text
}

// Shown is an answer as the text that it stands for, unless it names a file.
func (q *Question) Shown(answer string) string {
	if q.Most > 200 && strings.HasPrefix(answer, "@@") {
		return answer[1:]
	}
	return answer
}

// chosen makes it a question with choices; take is given the id of each that is chosen.
func (q *Question) chosen(take func(ids []string) error) *Question {
	q.take = func(answer string) error {
		ids, err := q.Chosen(answer)
		if err != nil {
			return err
		}
		return take(ids)
	}
	if q.Example == "" && len(q.Choices) > 0 {
		q.Example = "1, or " + q.Choices[0].ID
	}
	return q
}

// Chosen are the ids of the choices that an answer stands for.
func (q *Question) Chosen(answer string) (ids []string, err error) {
	parts := []string{answer}
	if q.Several {
		parts = strings.FieldsFunc(answer, func(r rune) bool { return r == ',' || r == ' ' })
	}
	for _, part := range parts {
		id, err := q.choice(part)
		if err != nil {
			return nil, err
		}
		if slices.Contains(ids, id) {
			return nil, q.wrong("one of them is named twice")
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// choice is the id that an answer stands for: a number, the id, or words that only one has.
func (q *Question) choice(answer string) (string, error) {
	if n, err := strconv.Atoi(answer); err == nil {
		if n < 1 || n > len(q.Choices) {
			return "", q.wrong(fmt.Sprintf("the numbers are 1 to %d", len(q.Choices)))
		}
		return q.Choices[n-1].ID, nil
	}
	var like []string
	for n, c := range q.Choices {
		if c.ID == answer {
			return c.ID, nil
		}
		if strings.Contains(document.Fold(c.ID+" "+c.Title), document.Fold(answer)) {
			like = append(like, fmt.Sprintf("%d %s", n+1, c.ID))
		}
	}
	switch len(like) {
	case 0:
		return "", q.wrong("no choice has these words")
	case 1:
		n, _, _ := strings.Cut(like[0], " ")
		return q.choice(n)
	}
	return "", q.wrong("several have these words: " + strings.Join(like, ", "))
}

// unreadable is why a file cannot be read, without its name.
func unreadable(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is none of that name"
	case errors.Is(err, fs.ErrPermission):
		return "you may not read it"
	}
	return "it is no file, or too large"
}

// text is a question that is answered in words: typed, or @FILE.
func (i *Interview) text(name, text, example string, max int, into *string) *Question {
	q := &Question{Name: name, Text: text, Example: example, Most: max}
	q.take = func(answer string) error {
		if text, ok := strings.CutPrefix(answer, "@@"); ok && max > 200 {
			answer = "@" + text
		} else if file, ok := strings.CutPrefix(answer, "@"); ok && max > 200 {
			raw, err := i.Read(file)
			if err != nil {
				return q.wrong("the file cannot be read: " + unreadable(err))
			}
			answer = strings.TrimSpace(strings.ReplaceAll(string(document.Typed(raw)), "\r\n", "\n"))
		}
		switch err := Undisplayable("the text", answer, max); {
		case err != nil:
			return q.wrong(err.Error())
		case document.Blank(answer):
			return q.wrong("nothing can be read in it")
		case max <= 200 && strings.Contains(answer, "\n"):
			return q.wrong("it is one line")
		}
		*into = answer
		return nil
	}
	return q
}
