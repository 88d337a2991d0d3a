package policy

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

func reviewers(t testing.TB, names ...string) func(*Bundle) {
	return func(b *Bundle) {
		b.Succeed(nil)
		withRecipients(t, b)
		for _, name := range names {
			b.Reviewers = append(b.Reviewers, Reviewer{ID: name, Name: "Reviewer " + name, Key: public(t, key(name))})
		}
	}
}

// Two people, by name and by key, and nobody who has another say.
func TestReviewersAreDifferentPeople(t *testing.T) {
	with := func(change func(*Bundle)) func(*Bundle) {
		return func(b *Bundle) { reviewers(t, "rita", "sami")(b); change(b) }
	}
	for name, tc := range map[string]struct {
		change func(*Bundle)
		want   *refusal.Error
	}{
		"pass two":           {with(func(*Bundle) {}), nil},
		"pass none":          {reviewers(t), nil},
		"one":                {reviewers(t, "rita"), ErrBundleReviewers},
		"one twice":          {reviewers(t, "rita", "rita"), ErrBundleNames},
		"one name twice":     {with(func(b *Bundle) { b.Reviewers[1].Name = "REVIEWER  rita" }), ErrBundleReviewers},
		"one key twice":      {with(func(b *Bundle) { b.Reviewers[1].Key = b.Reviewers[0].Key }), ErrBundleSharedKey},
		"a custodian's key":  {with(func(b *Bundle) { b.Reviewers[1].Key = b.Custodians[0].Key }), ErrBundleSharedKey},
		"a custodian's name": {with(func(b *Bundle) { b.Reviewers[1].Name = b.Custodians[0].Name }), ErrBundleReviewers},
		"no key":             {with(func(b *Bundle) { b.Reviewers[1].Key = json.RawMessage(`{}`) }), ErrBundleKey},
		"no name":            {with(func(b *Bundle) { b.Reviewers[1].Name = " " }), ErrBundleNames},
		"in version 1":       {with(func(b *Bundle) { b.Version, b.Number = 1, 0 }), ErrBundleMalformed},
	} {
		b := newWorld(t).draft(t)
		tc.change(b)
		if _, err := b.Marshal(); (tc.want == nil) != (err == nil) || tc.want != nil && !tc.want.Is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReviewDecisions(t *testing.T) {
	b := newWorld(t, reviewers(t, "rita", "sami")).bundle
	good := ReviewDecision{At: now, Bundle: b.Hash(), Outcome: proof.Separated, Review: "abcdefghijkl", Reviewer: "rita"}
	sign := func(signer string, change func(*ReviewDecision)) string {
		d := good
		change(&d)
		raw, err := SignReviewDecision(key(signer), d)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	raw := sign("rita", func(*ReviewDecision) {})
	if d, err := b.VerifyReviewDecision(raw); err != nil || *d != good {
		t.Fatalf("%v: %+v", err, d)
	}
	parts := strings.Split(raw, ".")
	spaced := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{ "at":1}`)) + "." + parts[2]
	for name, tc := range map[string]struct {
		raw  string
		want *refusal.Error
	}{
		"somebody else's key":  {sign("sami", func(*ReviewDecision) {}), ErrUnknownReviewer},
		"nobody of the bundle": {sign("rita", func(d *ReviewDecision) { d.Reviewer = "rika" }), ErrUnknownReviewer},
		"another bundle":       {sign("rita", func(d *ReviewDecision) { d.Bundle = strings.Repeat("0", 64) }), ErrUnknownReviewer},
		"an outcome of nobody": {sign("rita", func(d *ReviewDecision) { d.Outcome = proof.Objected }), ErrReview},
		"no reference":         {sign("rita", func(d *ReviewDecision) { d.Review = "A' OR 1=1" }), ErrReview},
		"without a day":        {sign("rita", func(d *ReviewDecision) { d.At = d.At.AddDate(-2000, 0, 0) }), ErrReview},
		"a changed signature":  {raw[:len(raw)-6] + "AAAAAA", ErrUnknownReviewer},
		"another spelling":     {spaced, ErrReview},
		"an endorsement":       {mustEndorse(t, b), ErrReview},
		"nothing":              {"", ErrReview},
	} {
		if _, err := b.VerifyReviewDecision(tc.raw); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func mustEndorse(t *testing.T, b *Bundle) string {
	t.Helper()
	raw, err := SignEndorsement(key("rita"), "rita", b.Hash(), now)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
