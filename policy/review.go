package policy

import (
	"errors"
	"regexp"
	"slices"
	"time"

	"encoding/json"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
)

// Reviewer decides, with a second one, about an enrolment that is held because
// somebody like it is enrolled.
type Reviewer struct {
	ID   string          `json:"id"`
	Name string          `json:"name"` // of the human being
	Key  json.RawMessage `json:"key"`  // public JWK
}

// ReviewsNeeded is how many reviewers must say the same.
const ReviewsNeeded = 2

// ReviewDecision is what one reviewer says: JWS typ "penname-review+jwt". It holds
// nothing about whom it concerns: the documents were looked at elsewhere.
type ReviewDecision struct {
	At       time.Time `json:"at"`
	Bundle   string    `json:"bundle"`   // hex hash of the bundle in force
	Outcome  string    `json:"outcome"`  // proof.Accepted or proof.Separated
	Review   string    `json:"review"`   // its reference
	Reviewer string    `json:"reviewer"` // id in the bundle
}

func (d *ReviewDecision) normalise() { d.At = seconds(d.At) }

// ReviewReference is the form of the reference of a review: 60 random bits.
var ReviewReference = regexp.MustCompile(`^[a-z2-7]{12}$`)

// SignReviewDecision returns the compact JWS of d.
func SignReviewDecision(key jose.JSONWebKey, d ReviewDecision) (string, error) {
	payload, err := marshal(d)
	if err != nil {
		return "", ErrReview.Because(errors.New("cannot be encoded"))
	}
	return reviewFormat.Sign(key, payload)
}

// VerifyReviewDecision checks that raw is a decision under b by one of its reviewers.
func (b *Bundle) VerifyReviewDecision(raw string) (*ReviewDecision, error) {
	signed, d, err := open[ReviewDecision](reviewFormat, raw)
	if err != nil {
		return nil, err
	}
	key, ok := b.reviewers[d.Reviewer]
	if !ok || key.KeyID != signed.KeyID || d.Bundle != b.hash {
		return nil, ErrUnknownReviewer
	}
	if err := signed.Verify(key.Public); err != nil {
		return nil, err
	}
	if !ReviewReference.MatchString(d.Review) || !slices.Contains([]string{proof.Accepted, proof.Separated}, d.Outcome) || !plausible(d.At) {
		return nil, ErrReview
	}
	return d, nil
}

// compileReviewers: two names are two people, with keys that nobody else has.
func (b *Bundle) compileReviewers(owners keyOwners) error {
	if len(b.Reviewers) == 0 {
		return nil
	}
	b.reviewers = make(map[string]*document.Key)
	var people []string
	for _, c := range b.Custodians {
		people = append(people, document.Fold(c.Name), document.Fold(c.Organisation))
	}
	for _, r := range b.Reviewers {
		if _, dup := b.reviewers[r.ID]; dup || !named(r.ID, r.Name) {
			return about("reviewer", r.ID, ErrBundleNames)
		}
		if slices.Contains(people, document.Fold(r.Name)) {
			return about("reviewer", r.ID, ErrBundleReviewers)
		}
		people = append(people, document.Fold(r.Name))
		key, err := document.ParseSigner(r.Key)
		if err != nil {
			return about("reviewer", r.ID, ErrBundleKey.Because(err))
		}
		if err := owners.add(key, ""); err != nil {
			return about("reviewer", r.ID, err)
		}
		b.reviewers[r.ID] = key
	}
	if len(b.reviewers) < ReviewsNeeded {
		return ErrBundleReviewers
	}
	return nil
}
