package custodian

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// Target is what a review found about one target of the warrant.
type Target struct {
	PenName  string `json:"pen_name"`
	Platform string `json:"platform"`
	Role     string `json:"role,omitempty"` // policy.RoleWitness …; "": a suspect

	// By the registrar's word: where it stands, and why it is refused. It takes no answer
	// unless it Waits.
	State string `json:"state,omitempty"`
	Code  string `json:"code,omitempty"`

	Wrong     string    `json:"wrong,omitempty"`     // code: by this folder's own checks it cannot be approved
	Posts     []Post    `json:"posts"`               // what its evidence is about
	Before    []Earlier `json:"before,omitempty"`    // cases with the same target that this folder has reviewed
	Questions []string  `json:"questions,omitempty"` // what is asked before it is approved; none if it does not wait

	wrong *refusal.Error
	posts []policy.Post
	opens string // which compartments a share opens, for a person
}

// judgeTargets holds each target that the rules allow against what its token committed to
// when it was issued. What is wrong with one does not hold up the others; where nothing is
// left, or the rules of the case know one vote for all, it is the case's refusal.
func (r *Review) judgeTargets(d policy.Decision) error {
	f := r.file
	if len(f.Targets) != len(r.Targets) || len(f.States) > 0 && len(f.States) != len(r.Targets) {
		return ErrCaseMismatch
	}
	r.exhibits = len(d.Exhibits) > 0
	var first *refusal.Error
	right := 0
	for i := range r.Targets {
		t, want := &r.Targets[i], d.Warrant.Targets[i]
		if len(f.States) > 0 {
			t.State, t.Code = f.States[i].State, f.States[i].Code
		}
		t.showPosts(d.Targets[i].Posts, d.Targets[i].Registered)
		if !t.Waits() {
			continue
		}
		t.Questions = t.questions(d.Warrant, r.Offence)
		t.opens = opens(f.Targets[i], d.Warrant)
		switch refused := d.Targets[i].Refusal; {
		case refused != nil:
			t.refuse(refused, refused.Code)
		case f.Targets[i].Pseudonym != want.Pseudonym || f.Targets[i].Platform != want.Platform || !opening.Commits(f.Targets[i], nil, d.Targets[i].Token.Commitment):
			t.refuse(opening.ErrRecordMismatch, opening.ErrRecordMismatch.Code)
		}
		switch {
		case t.wrong == nil:
			right++
		case first == nil:
			first = t.wrong
		}
	}
	if first != nil && (right == 0 || r.since[0].Version < perTarget) {
		return first
	}
	return nil
}

// perTarget is the first format of a bundle under which each target is decided for itself.
const perTarget = 5

// Waits reports whether a custodian is asked about the target: not about one that is refused,
// nor about one whose use is forbidden.
func (t Target) Waits() bool {
	return t.Code == "" && slices.Contains([]string{"", "waiting", "authorised", "released"}, t.State)
}

// refuse notes the first check of the folder's own that the target did not pass.
func (t *Target) refuse(why *refusal.Error, code string) {
	if t.wrong == nil {
		t.wrong, t.Wrong = why, code
	}
}

// Earlier is a case with the same target that this folder has reviewed before.
type Earlier struct {
	Case     string    `json:"case"`
	Leaf     int64     `json:"leaf"`           // of its recorded warrant in the public log
	Reviewed time.Time `json:"reviewed"`       // by this folder
	Vote     string    `json:"vote,omitempty"` // opening.Approve or opening.Decline, about this target; "": it has signed no answer
}

// String is a sentence for a person.
func (e Earlier) String() string {
	vote := map[string]string{opening.Approve: "approved it", opening.Decline: "declined it"}[e.Vote]
	if vote == "" {
		vote = "signed no answer in it"
	}
	return fmt.Sprintf("another case about it, %s, entry %d of the public log: this folder, which knows only what it reviewed itself, reviewed it on %s and %s", e.Case, e.Leaf, e.Reviewed.UTC().Format(time.DateOnly), vote)
}

// name identifies a target among the cases that the folder keeps.
func (t Target) name() string { return digest([]byte(t.PenName + "\x00" + t.Platform)) }

// recall notes what the folder keeps of other cases: those about the same targets, and how
// many targets it has reviewed itself of the same authority and requester.
func (c *Custodian) recall(r *Review, before []brief) error {
	index := make(map[string]int, len(r.Targets))
	for i := range r.Targets {
		index[r.Targets[i].name()] = i
		r.Targets[i].Before = nil
	}
	month := r.recorded.AddDate(0, 0, -30)
	r.ownAuthority, r.ownRequester = 0, 0
	for _, k := range before {
		if k.Case == r.Case {
			continue
		}
		if !k.Repeats && k.LeafIndex < r.file.Leaf.Index && k.Recorded.After(month) {
			if k.Authority == r.Warrant.Authority {
				r.ownAuthority += len(k.Names)
			}
			if k.Requester == r.Warrant.Requester.OrganisationID {
				r.ownRequester += len(k.Names)
			}
		}
		for i, name := range k.Names {
			mine, same := index[name]
			if !same {
				continue
			}
			vote, err := c.voteIn(k.Case, i, len(k.Names))
			if err != nil {
				return err
			}
			t := &r.Targets[mine]
			t.Before = append(t.Before, Earlier{k.Case, k.LeafIndex, k.At, vote})
		}
	}
	r.counts()
	return nil
}

// voteIn is what the folder has signed about one target of a case.
func (c *Custodian) voteIn(id string, target, n int) (string, error) {
	signed, err := c.signedIn(id)
	if err != nil {
		return "", err
	}
	for _, raw := range signed {
		a, err := opening.ParseApprovalUnverified(raw)
		if err != nil {
			return "", ErrSecret
		}
		votes, err := a.Votes(n)
		if err != nil {
			return "", ErrSecret
		}
		return votes[target], nil
	}
	return "", nil
}

// questions are those about a target, in the order in which they are asked. Each is put so
// that yes speaks for the opening.
func (t Target) questions(w *policy.Warrant, offence string) []string {
	all := []string{fmt.Sprintf("Does each of these posts show this offence, %s?", offence)}
	if t.Role == policy.RoleWitness || t.Role == policy.RoleVictim { // their posts need not show it
		all[0] = fmt.Sprintf("Is opening the name of this %s necessary to prove this offence, %s?", t.Role, offence)
	}
	for _, s := range suggestions {
		switch {
		case slices.Contains(w.Flags, s.word):
			all = append(all, "The court says"+s.question)
		case slices.ContainsFunc(t.posts, func(p policy.Post) bool { return slices.Contains(p.AuthorSuggests, s.word) }):
			all = append(all, "The platform suggests"+s.question)
		}
	}
	if q, ok := roleQuestions[t.Role]; ok {
		all = append(all, q)
	}
	if w.Kind == policy.Link {
		all = append(all, "The requester learns all pen names of this person: is that necessary and proportionate?")
	}
	return all
}

// suggestions are the questions about what an account is said to be.
var suggestions = []struct{ word, question string }{
	{policy.FlagJournalist, " that this is a journalist's account: is the opening compatible with press freedom?"},
	{policy.FlagPrivileged, " that this is the account of somebody with a privilege or an immunity, such as a lawyer, a doctor, a cleric or a member of parliament: is the opening compatible with that?"},
}

// roleQuestions are those about people who are suspected of nothing, or are children.
var roleQuestions = map[string]string{
	policy.RoleWitness: "The court names this person as a witness, who is suspected of nothing: is it proportionate to open their name?",
	policy.RoleVictim:  "The court names this person as a victim, who is suspected of nothing: is it proportionate to open their name?",
	policy.RoleChild:   "The court names this person as a child: is it necessary and proportionate to open their name, and compatible with the child's best interests?",
}

// Target is what the review found about the target with that index, for a person at a terminal.
func (r *Review) Target(i int) string {
	t, s := r.Targets[i], new(strings.Builder)
	s.WriteString(document.Printable(fmt.Sprintf("target %d of %d: %s on %s%s\n", i+1, len(r.Targets), t.PenName, t.Platform, after(", a ", t.Role))))
	if t.State != "" && t.State != "waiting" {
		s.WriteString(document.Printable("  the registrar says: " + t.State + after(", ", t.Code) + "\n"))
	}
	for _, e := range t.Before {
		s.WriteString(document.Printable("  " + e.String() + "\n"))
	}
	for _, p := range t.Posts {
		s.WriteString(r.post(p))
	}
	if t.Wrong != "" {
		s.WriteString("  ✗ " + exhibit.Explain(t.Wrong) + "\n")
	}
	if t.opens != "" {
		s.WriteString(document.Printable("  " + t.opens + "\n"))
	}
	return s.String()
}

// Explained is why the target cannot be approved, with its code; "" if it can.
func (t Target) Explained() string {
	if t.Wrong == "" {
		return ""
	}
	return exhibit.Explain(t.Wrong)
}

// Opens says what an approval of the target does; "": nobody knows, or none is asked for.
func (t Target) Opens() string { return t.opens }

// Answerable reports whether something is asked about that target, and can be answered.
func (r *Review) Answerable(i int) bool {
	t := r.Targets[i]
	return t.Waits() && t.wrong == nil && (r.Read || !r.exhibits)
}

// asks is what is asked about that target, once it can be answered.
func (r *Review) asks(i int) (s string) {
	if r.Answerable(i) {
		for _, q := range r.Targets[i].Questions {
			s += "  question: " + document.Printable(q) + "\n"
		}
	}
	return s
}

// opens says what an approval does: which compartments of a record a custodian's shares
// open, and for which fields of the warrant; "" for a record of version 1, which has none.
func opens(t opening.OpenedTarget, w *policy.Warrant) string {
	switch {
	case w.Kind == policy.Suspension:
		return fmt.Sprintf("suspends: this pen name at %s until %s; opens no name", t.Platform, w.Expiry.UTC().Format(time.DateOnly))
	case w.Kind == policy.Link:
		return "opens: all pen names of this person at all platforms, to the requester; no name"
	case t.Version == 0:
		return ""
	}
	fields := w.Fields
	var parts []string
	for _, compartment := range t.Needed(fields) {
		var asked, beside []string
		for _, field := range slices.Sorted(maps.Keys(t.Compartments)) {
			switch {
			case t.Compartments[field] != compartment:
			case slices.Contains(fields, field):
				asked = append(asked, field)
			default:
				beside = append(beside, field)
			}
		}
		covers := fmt.Sprintf("from the compartment %s, which holds nothing else", compartment)
		if len(beside) > 0 {
			covers = fmt.Sprintf("your share opens the whole compartment %s, which also holds: %s", compartment, strings.Join(beside, ", "))
		}
		parts = append(parts, strings.Join(asked, ", ")+" ("+covers+")")
	}
	if len(parts) == 0 {
		parts = []string{"nothing: the record holds none of these fields"}
	}
	return "opens: " + strings.Join(parts, "; ")
}

// after is a text behind a few words, or nothing where there is none.
func after(words, text string) string {
	if text == "" {
		return ""
	}
	return words + text
}
