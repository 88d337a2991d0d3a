package custodian

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// ErrReason is the refusal of a reason that is not on the list.
var ErrReason = refusal.New(refusal.Invalid, "custodian.reason_needed",
	"declining needs --reason, one of: "+strings.Join(Reasons(), ", "))

// Reasons are those of [policy.DeclineReasons] for which a custodian declines. A recusal is none
// any more, and what was signed with it stays readable.
func Reasons() []string {
	return slices.DeleteFunc(slices.Clone(policy.DeclineReasons), func(reason string) bool { return reason == recused })
}

const recused = "recused"

// ErrYouRecused is the refusal of an answer by who said that they do not judge the case.
var ErrYouRecused = refusal.New(refusal.Conflict, "custodian.you_recused",
	"you recused yourself in this case, which is final: nothing was signed or sent; an alternate of yours answers it, if the rules name one")

// ErrYouAnswered is the refusal of an answer, or of a recusal, by who has answered the case.
var ErrYouAnswered = refusal.New(refusal.Conflict, "custodian.you_answered",
	"you have answered this case already, and an answer is final: nothing more was signed or sent")

// ErrUseRecuse is the refusal of a recusal as a reason of declining.
var ErrUseRecuse = refusal.New(refusal.Invalid, "custodian.recusal_declines_nothing",
	"who does not judge a case does not decline it: nothing was signed; say so with escrow custodian recuse CASE --reason, and an alternate of yours may answer it")

// ErrOneVote is of a case under rules that know one vote for all of its targets.
var ErrOneVote = refusal.New(refusal.Conflict, "custodian.one_vote",
	"under the rules of this case one decision counts for all its targets, and not all of them are approved: nothing was signed; refuse the case")

// ErrNothingWaits is of a case of which no target can be approved.
var ErrNothingWaits = refusal.New(refusal.Conflict, "custodian.nothing_waits",
	"no pen name of this case can be approved, each for the reason that is named: nothing was signed; review the case again later, or decline it with escrow custodian refuse")

// Approve signs what the custodian answered about the targets of a case that they reviewed,
// with one share for each target that is approved and each compartment of it that is to be
// opened, encrypted to the requester. Where no target is approved it is a refusal. It is the
// refusal of the first check that the case did not pass, [ErrUnread] unless the folder has read what was published,
// [ErrNotAsReviewed] if the case was another when it was reviewed, before the notice
// period is over [policy.ErrNoticePeriod], one of [Review.Answered], without a share [ErrNoShare], and for somebody who is not a
// custodian of the bundle in force [ErrNotInForce].
func (c *Custodian) Approve(r *Review, answers []Answer, at time.Time) (signed string, err error) {
	if err := r.Approvable(at); err != nil {
		return "", err
	}
	a := opening.Approval{Decision: opening.Decline, At: at}
	if a.Questions, a.Answers, err = r.Answered(answers); err != nil {
		return "", err
	}
	approved := make(map[int]bool)
	for _, said := range a.Answers {
		if said.Vote == opening.Approve {
			a.Decision, approved[said.Target] = opening.Approve, true
		}
	}
	switch {
	case r.since[0].Version < perTarget && len(approved) < len(r.Targets):
		return "", ErrOneVote
	case a.Decision == opening.Decline:
		a.Reason = a.Answers[0].Reason
	default:
		if a.Shares, err = c.shares(r, approved); err != nil {
			return "", err
		}
	}
	return c.sign(r, a)
}

// Approvable is why nothing of the case can be approved, whatever is answered, or nil: see
// [Custodian.Approve].
func (r *Review) Approvable(at time.Time) error {
	switch {
	case r.kept == nil:
		return ErrNotReviewed
	case r.failed != nil:
		return r.failed
	case r.kept.Failed != "":
		return ErrNotAsReviewed
	case r.first != nil:
		return r.first
	case !slices.ContainsFunc(r.Targets, Target.Waits):
		var why []string
		for i, t := range r.Targets {
			why = append(why, fmt.Sprintf("target %d: %s%s", i+1, t.State, after(", ", t.Code)))
		}
		return ErrNothingWaits.Because(errors.New(strings.Join(why, "; ")))
	case r.exhibits && !r.Read:
		return ErrUnread
	}
	return nil
}

// CheckReason is [ErrReason] or [ErrUseRecuse] for what is no reason to decline a case.
func CheckReason(reason string) error {
	switch {
	case reason == recused:
		return ErrUseRecuse
	case !slices.Contains(Reasons(), reason):
		return ErrReason
	}
	return nil
}

// Decline signs the custodian's refusal of a case that they reviewed, whether it
// passed or not. The reason goes into the public log: one of
// [Reasons], else it is [ErrReason] or [ErrUseRecuse]. For somebody who is not a
// custodian of the bundle in force it is [ErrNotInForce].
func (c *Custodian) Decline(r *Review, reason string, at time.Time) (signed string, err error) {
	if err := CheckReason(reason); err != nil {
		return "", err
	}
	if r.kept == nil {
		return "", ErrNotReviewed
	}
	return c.sign(r, opening.Approval{Decision: opening.Decline, Reason: reason, At: at})
}

// sign completes a decision with what the folder kept, and keeps it before anybody
// gets it: a case is answered once while a bundle is in force. Two programs that answer at once give the
// answer of the first.
func (c *Custodian) sign(r *Review, a opening.Approval) (string, error) {
	shown := r.kept.Shown
	a.Case, a.WarrantHash, a.Bundle = shown.Case, shown.Warrant, shown.Bundle
	instead, err := c.MayAnswer(r, a.At)
	if err != nil {
		return "", err
	}
	if a.Custodian, a.Alternate = c.seat(r.inForce()); instead != nil {
		a.Instead = instead.Digest
	}
	a.LeafIndex, a.CheckpointSize = shown.LeafIndex, r.kept.Tree.Size
	inForce := r.inForce().Hash()
	if inForce != a.Bundle {
		a.InForce = inForce
	}
	if signed, err := c.decision(r.Case, &a, r.inForce()); err != nil || signed != "" {
		return signed, err
	}
	signed, err := opening.SignApproval(c.key, a)
	if err != nil {
		return "", err
	}
	if err := c.folder.create(decisionFile(r.Case, inForce), []byte(signed)); err != nil && !errors.Is(err, secretfile.ErrExists) {
		return "", err
	}
	signed, err = c.decision(r.Case, &a, r.inForce())
	if err == nil && signed == "" { // another program is writing its own
		err = secretfile.ErrUnwritable
	}
	return signed, err
}

// MayAnswer is why the folder signs no answer in the case, whatever it is, or nil: it is
// [ErrNotInForce] for who has no seat in the rules in force, [ErrYouRecused], and
// [ErrNotStandingIn] for an alternate whose custodian is there. For an alternate it returns what
// their custodian said, for which they answer.
func (c *Custodian) MayAnswer(r *Review, at time.Time) (instead *Said, err error) {
	id, alternate := c.seat(r.inForce())
	switch {
	case id == "":
		return nil, ErrNotInForce
	case alternate != "":
		return r.standsIn(id, at)
	case slices.ContainsFunc(r.Said, func(s Said) bool { return s.Kind == opening.Recusal && s.By == id }):
		return nil, ErrYouRecused
	}
	return nil, nil
}

// standing says for whom the folder answers in the case, if not simply for itself, or why it
// signs no answer.
func (c *Custodian) standing(r *Review, at time.Time) string {
	switch instead, err := c.MayAnswer(r, at); {
	case errors.Is(err, ErrYouRecused):
		return "you recused yourself in this case, and sign no answer in it"
	case errors.Is(err, ErrNotStandingIn):
		id, _ := c.seat(r.inForce())
		return "you step in for " + id + ", who is there and has not recused themselves: you sign no answer now; if you have an interest in the case tell them, and answer nothing in it later"
	case instead == nil:
		return ""
	case instead.Kind == opening.Recusal:
		return "you step in for " + instead.By + ", who recused themselves: your answer counts as theirs; if you have an interest in the case tell them, and do not answer"
	default:
		return "you step in for " + instead.By + ", who is away until " + instead.Until.UTC().Format(time.DateOnly) + ": your answer counts as theirs; if you have an interest in the case tell them, and do not answer"
	}
}

// inForce is the bundle whose custodian signs.
func (r *Review) inForce() *policy.Bundle { return r.since[len(r.since)-1] }

// shares makes one share for each approved target and each compartment that holds a field
// which the warrant names, and no other: readable by the requester alone and bound
// to this warrant, record, compartment and custodian. They are of the key in force:
// a resharing may have moved it since the record was sealed, and it opens all the
// same.
func (c *Custodian) shares(r *Review, approved map[int]bool) ([]opening.EncryptedShare, error) {
	pk, err := threshold.ParsePublicKey(r.inForce().ThresholdKey)
	if err != nil {
		return nil, err
	}
	ks, err := c.folder.share(pk)
	if err != nil {
		return nil, err
	}
	custodian, _ := c.seat(r.inForce())
	warrantHash := policy.Hash(r.file.Submission.Warrant)
	var out []opening.EncryptedShare
	for i, t := range r.file.Targets {
		if !approved[i] {
			continue
		}
		for _, compartment := range t.Needed(r.Warrant.Fields) {
			share, err := t.DecryptShare(t.Label, compartment, pk, ks)
			if err != nil {
				return nil, err
			}
			clearShare, err := share.MarshalBinary()
			if err != nil {
				return nil, err
			}
			sealed, err := t.SealShare(r.Warrant.Requester.DeliveryKey, warrantHash, compartment, custodian, clearShare)
			clear(clearShare)
			if err != nil {
				return nil, err
			}
			out = append(out, opening.EncryptedShare{Target: i, Compartment: compartment, Ciphertext: sealed})
		}
	}
	return out, nil
}
