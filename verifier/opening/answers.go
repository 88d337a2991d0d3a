package opening

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Why a signed decision does not count in a case, by the answers in it.
var (
	ErrApprovalUnanswered = refusal.New(refusal.Denied, "custodian.unanswered",
		"under the rules of this case a custodian answers for each target, and this approval answers for none, or not for one that waits: review the case again and approve it with `escrow custodian approve`.")
	ErrApprovalTargets = refusal.New(refusal.Denied, "custodian.other_targets",
		"the decision answers for a target that the warrant of this case does not have: nothing of it counts; review the case again.")
)

// What a custodian says to a question about a target.
const (
	Yes      = "yes"
	No       = "no"
	NotAsked = "" // the question is about other targets
)

// perTarget is the first format of a bundle under which each target is decided for itself.
const perTarget = 5

// Bounds of what is asked and signed.
const (
	maxQuestions = 8
	maxQuestion  = 1000 // characters
)

// Answer is what a custodian says about one target of the warrant. Each question is put so
// that yes speaks for the opening: with one no the target is declined. A custodian can
// decline a target for another reason as well; where their own checks found it wrong, they
// were asked nothing about it.
type Answer struct {
	Target int      `json:"target"` // index into the warrant's targets
	Says   []string `json:"says"`   // to each of Approval.Questions, in their order: Yes, No or NotAsked
	Vote   string   `json:"vote"`   // Approve or Decline
	Reason string   `json:"reason"` // one of policy.DeclineReasons when declining, else ""
}

func (a Answer) wellFormed(questions int) error {
	asked := 0
	for _, said := range a.Says {
		switch said {
		case Yes, No:
			asked++
		case NotAsked:
		default:
			return errors.New("an answer is neither yes nor no")
		}
	}
	switch {
	case len(a.Says) != questions, a.Vote == Approve && asked == 0:
		return errors.New("an answer is not to the questions")
	case a.Vote == Approve && (a.Reason != "" || slices.Contains(a.Says, No)):
		return errors.New("a target is approved in spite of a no, or with a reason")
	case a.Vote == Decline && !slices.Contains(policy.DeclineReasons, a.Reason):
		return errors.New("a target is declined without a listed reason")
	case a.Vote != Approve && a.Vote != Decline:
		return errors.New("a target is neither approved nor declined")
	}
	return nil
}

// answered checks questions and answers, and that the decision is what they come to:
// approve where any target is approved, else decline, for the reason of the first answer.
func (a *Approval) answered() error {
	if len(a.Questions) == 0 || len(a.Questions) > maxQuestions {
		return errors.New("answers without questions, or too many of them")
	}
	for _, q := range a.Questions {
		if !utf8.ValidString(q) || document.Blank(q) || !document.Displayable(q, maxQuestion) {
			return errors.New("a question cannot be displayed")
		}
	}
	decision, reason, approved := Decline, a.Answers[0].Reason, make(map[int]bool)
	for i, x := range a.Answers {
		if x.Target < 0 || i > 0 && a.Answers[i-1].Target >= x.Target {
			return errors.New("answers are not one for each target, in their order")
		}
		if err := x.wellFormed(len(a.Questions)); err != nil {
			return err
		}
		if x.Vote == Approve {
			decision, reason = Approve, ""
			approved[x.Target] = true
		}
	}
	if a.Decision != decision || a.Reason != reason {
		return errors.New("the decision is not what the answers come to")
	}
	for _, s := range a.Shares {
		if !approved[s.Target] {
			return errors.New("a share for a target that was not approved")
		}
	}
	return nil
}

// Votes returns what the custodian decided for each of n targets, in the order of the
// warrant: Approve, Decline or "" where it says nothing. A decision without answers is one
// vote for all: a refusal of the whole case, or an approval of before there were answers.
// A share or an answer for another target is [ErrApprovalTargets].
func (a *Approval) Votes(n int) ([]string, error) {
	votes := make([]string, n)
	for _, s := range a.Shares {
		if s.Target >= n {
			return nil, ErrApprovalTargets.Because(fmt.Errorf("share for target %d of %d", s.Target+1, n))
		}
	}
	if len(a.Answers) == 0 {
		for i := range votes {
			votes[i] = a.Decision
		}
		return votes, nil
	}
	for _, x := range a.Answers {
		if x.Target >= n {
			return nil, ErrApprovalTargets.Because(fmt.Errorf("answer for target %d of %d", x.Target+1, n))
		}
		votes[x.Target] = x.Vote
	}
	return votes, nil
}
