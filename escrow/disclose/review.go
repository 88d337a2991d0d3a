package disclose

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// The refusals of reviews. Stores return them too.
var (
	ErrNoReview = refusal.New(refusal.NotFound, "review.none",
		"no enrolment is held under that reference: compare it with what the person was shown, and with escrowd review list")
	ErrReviewDecided = refusal.New(refusal.Conflict, "review.decided",
		"this review does not wait for that decision: escrowd review show says where it stands")
	ErrReviewAmbiguous = refusal.New(refusal.Denied, "review.ambiguous",
		"several people are enrolled who look alike, and nothing here tells which of them this is: an acceptance could give somebody another person's pen names; only separate can be decided")
)

// AcceptanceWaits is how long the person who is enrolled can object to an
// acceptance: seven days, counted from the end of the day of the decision.
const AcceptanceWaits = 7 * 24 * time.Hour

// ReviewState is where a review stands.
type ReviewState string

// The states of a review.
const (
	ReviewHeld      ReviewState = "held"      // nobody, or one reviewer, has decided
	ReviewWaiting   ReviewState = "waiting"   // accepted: the person who is enrolled can object
	ReviewAccepted  ReviewState = "accepted"  // nobody objected: the next proof of identity is that person's
	ReviewObjected  ReviewState = "objected"  // the person objected: only separate is left
	ReviewSeparated ReviewState = "separated" // the next proof of identity makes another person
	ReviewDone      ReviewState = "done"      // the person came; whom it concerned is forgotten
)

// ReviewLife is where each state can lead. The trigger of the database is compared
// with it by a test.
var ReviewLife = map[ReviewState][]ReviewState{
	ReviewHeld:      {ReviewWaiting, ReviewSeparated},
	ReviewWaiting:   {ReviewAccepted, ReviewObjected},
	ReviewObjected:  {ReviewSeparated},
	ReviewAccepted:  {ReviewDone},
	ReviewSeparated: {ReviewDone},
	ReviewDone:      {},
}

// Review is an enrolment that is held because somebody like it is enrolled: an
// account that is known under another birth date, or a name and birth date that are
// known under another account. Nothing of the identity is stored. Whoever was
// held proves their identity again after the decision, and is recognised by a value
// that is keyed with it.
type Review struct {
	ID    string // its reference, which the person was shown
	State ReviewState
	Day   time.Time // UTC midnight of the day it was held

	SameAccount bool // the account is known, under another birth date
	Several     bool // more than one person is enrolled who is like it

	// Which marks agree; nil: not known, of who enrolled before marks were kept.
	Name, Year, Birthdate, Provider *bool

	Due       time.Time     // when an acceptance takes effect; zero: there is none
	Objected  bool          // the person who is enrolled objects
	Decisions []ReviewEntry // the last word of each reviewer
	Accepted  struct {      // what was logged of the acceptance
		Salt   [32]byte
		Signed []string
	}
}

// ReviewEntry is one reviewer's word.
type ReviewEntry struct {
	Reviewer, Outcome string
	Signed            string // policy.SignReviewDecision
}

// ReviewChange is what a decision changes.
type ReviewChange struct {
	Entry *ReviewEntry // a reviewer's word, in place of that reviewer's before
	State ReviewState  // empty: as it is
	Due   time.Time    // with ReviewWaiting

	// Outcome, if there is one, goes into the log with the state: who signed it, and
	// the salt of the commitment to that. An objection repeats those of the acceptance.
	Outcome string
	Salt    [32]byte
	Signed  []string
}

// Reviews is the work on enrolments that are held. List and Apply are the store's,
// postgres.Reviews.
type Reviews struct {
	// List returns the reviews in those states, in the order of their days, at most n.
	List func(ctx context.Context, states []ReviewState, n int) ([]Review, error)
	// Apply locks the review with that reference, or is ErrNoReview, and stores what
	// change returns, with the leaf of an outcome, in one transaction.
	Apply func(ctx context.Context, reference string, change func(Review) (ReviewChange, error), leaf func(ReviewChange) proof.Leaf) (Review, error)

	// InForce returns the bundle whose reviewers decide.
	InForce func(ctx context.Context) (*policy.Bundle, error)
	Now     func() time.Time
}

// Decide takes one reviewer's signed decision. The second of two different reviewers
// who say the same, under the rules in force, decides. An acceptance waits for an
// objection; a separation is in force at once.
func (s *Reviews) Decide(ctx context.Context, signed string) (Review, error) {
	b, err := s.InForce(ctx)
	if err != nil {
		return Review{}, err
	}
	d, err := b.VerifyReviewDecision(signed)
	if err != nil {
		return Review{}, err
	}
	return s.apply(ctx, d.Review, func(r Review) (ReviewChange, error) {
		to := ReviewSeparated
		if d.Outcome == proof.Accepted {
			to = ReviewWaiting
		}
		switch {
		case !slices.Contains(ReviewLife[r.State], to):
			return ReviewChange{}, ErrReviewDecided
		case d.Outcome == proof.Accepted && r.Several:
			return ReviewChange{}, ErrReviewAmbiguous
		}
		change := ReviewChange{Entry: &ReviewEntry{Reviewer: d.Reviewer, Outcome: d.Outcome, Signed: signed}}
		for _, e := range r.Decisions {
			other, err := b.VerifyReviewDecision(e.Signed) // under other rules it no longer counts
			if err == nil && other.Reviewer != d.Reviewer && other.Outcome == d.Outcome && other.Review == d.Review {
				change.Signed = []string{e.Signed, signed}
			}
		}
		if len(change.Signed) < policy.ReviewsNeeded {
			return change, nil
		}
		change.State, change.Outcome = to, d.Outcome
		rand.Read(change.Salt[:]) // never fails (crypto/rand)
		if to == ReviewWaiting {
			change.Due = s.Now().UTC().Truncate(24 * time.Hour).Add(24*time.Hour + AcceptanceWaits)
		}
		return change, nil
	})
}

// Review returns the one with that reference, or ErrNoReview.
func (s *Reviews) Review(ctx context.Context, reference string) (Review, error) {
	return s.apply(ctx, reference, func(Review) (ReviewChange, error) { return ReviewChange{}, nil })
}

// CarryOut ends the acceptances that were objected to, and lets those take effect
// whose time is over. It returns how many it moved.
func (s *Reviews) CarryOut(ctx context.Context) (moved int, err error) {
	const atOnce = 1000
	waiting, err := s.List(ctx, []ReviewState{ReviewWaiting}, atOnce)
	for _, w := range waiting {
		if !w.Objected && s.Now().Before(w.Due) {
			continue
		}
		if _, err := s.apply(ctx, w.ID, s.carryOut); err != nil {
			return moved, err
		}
		moved++
	}
	return moved, err
}

// carryOut is decided again under the lock: somebody may have objected meanwhile.
func (s *Reviews) carryOut(r Review) (ReviewChange, error) {
	switch {
	case r.State != ReviewWaiting:
		return ReviewChange{}, nil
	case r.Objected:
		return ReviewChange{State: ReviewObjected, Outcome: proof.Objected, Salt: r.Accepted.Salt, Signed: r.Accepted.Signed}, nil
	case s.Now().Before(r.Due):
		return ReviewChange{}, nil
	}
	return ReviewChange{State: ReviewAccepted}, nil
}

func (s *Reviews) apply(ctx context.Context, reference string, change func(Review) (ReviewChange, error)) (Review, error) {
	return s.Apply(ctx, reference, change, func(c ReviewChange) proof.Leaf {
		return proof.ReviewedLeaf(s.Now(), c.Outcome, c.Salt, c.Signed)
	})
}
