package custodian

import (
	"fmt"
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
		t.Questions = questions(d.Warrant, r.Offence)
		t.opens = opens(f.Targets[i], d.Warrant.Fields)
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

// Waits reports whether a custodian is asked about the target.
func (t Target) Waits() bool {
	return slices.Contains([]string{"", "waiting", "authorised", "released"}, t.State)
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
	Leaf     int64     `json:"leaf"`     // of its recorded warrant in the public log
	Reviewed time.Time `json:"reviewed"` // by this folder
}

// question are those about a target, in the order in which they are asked. Each is put so
// that yes speaks for the opening.
func questions(w *policy.Warrant, offence string) []string {
	all := []string{fmt.Sprintf("Does each of these posts show this offence, %s?", offence)}
	for _, flag := range w.Flags {
		if q, ok := suggestions[flag]; ok {
			all = append(all, fmt.Sprintf(q, "The court says"))
		}
	}
	return all
}

// suggestions are the questions about what an account is said to be.
var suggestions = map[string]string{
	policy.FlagJournalist: "%s that this is a journalist's account: is the opening compatible with press freedom?",
	policy.FlagPrivileged: "%s that this is the account of somebody with a privilege or immunity, such as a lawyer, a doctor, a cleric or a member of parliament: is the opening compatible with that?",
}

// Target is what the review found about the target with that index, for a person at a terminal.
func (r *Review) Target(i int) string {
	t, s := r.Targets[i], new(strings.Builder)
	s.WriteString(document.Printable(fmt.Sprintf("target %d of %d: %s on %s\n", i+1, len(r.Targets), t.PenName, t.Platform)))
	if t.State != "" && t.State != "waiting" {
		said := "  the registrar says: " + t.State
		if t.Code != "" {
			said += ", " + t.Code
		}
		s.WriteString(document.Printable(said + "\n"))
	}
	for _, e := range t.Before {
		s.WriteString(document.Printable(fmt.Sprintf("  this folder reviewed case %s about it on %s, entry %d of the public log\n", e.Case, e.Reviewed.UTC().Format(time.DateOnly), e.Leaf)))
	}
	for _, p := range t.Posts {
		s.WriteString(r.post(p))
	}
	if t.Wrong != "" {
		s.WriteString("  ✗ " + exhibit.Explain(t.Wrong) + "\n")
	}
	s.WriteString(document.Printable(t.opens))
	return s.String()
}

// asks is what is asked about that target, once it can be answered.
func (r *Review) asks(i int) string {
	t, s := r.Targets[i], ""
	if t.Waits() && t.wrong == nil && (r.Read || !r.exhibits) {
		for _, q := range t.Questions {
			s += "  question: " + document.Printable(q) + "\n"
		}
	}
	return s
}

// opens says which compartments of a record a custodian's shares open, and for
// which fields of the warrant; "" for a record of version 1, which has none.
func opens(t opening.OpenedTarget, fields []string) string {
	if t.Version == 0 {
		return ""
	}
	var parts []string
	for _, compartment := range t.Needed(fields) {
		var asked []string
		for _, field := range fields {
			if t.Compartments[field] == compartment {
				asked = append(asked, field)
			}
		}
		parts = append(parts, fmt.Sprintf("the compartment %s, for %s", compartment, strings.Join(asked, ", ")))
	}
	if len(parts) == 0 {
		parts = []string{"nothing: the record holds none of these fields"}
	}
	return "  opens: " + strings.Join(parts, "; ") + "\n"
}
