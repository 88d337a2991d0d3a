package custodian

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/opening/openingtest"
	"github.com/penname/penname/verifier/proof"
)

// A registrar that wants a name early cannot tell a custodian that the persons had their days:
// the public log says when they were told, of this case and no other.
func TestCustodiansHoldTheDaysToObject(t *testing.T) {
	v, w := seated(t, nil)
	unsecret := func(w *policy.Warrant) { w.Secrecy = policy.Secrecy{Ends: w.IssuedAt} }
	c, other := w.File(1, 1, unsecret), w.File(1, 1, unsecret)
	told := func(recorded int64, daysAgo int, reached bool) *opening.LoggedLeaf {
		l := c.Prove(c.Append(proof.ToldLeaf(openingtest.Now.AddDate(0, 0, -daysAgo), recorded, reached)))
		return &l
	}
	unread := func(f *opening.CaseFile, suspends bool, outcome string, words string) {
		sealed, err := exhibit.SealText(w.Bundle.Recipients(), words)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(sealed)
		f.Objections = append(f.Objections, opening.Objection{Day: "2026-03-03", Suspends: suspends, Outcome: outcome, Digest: hex.EncodeToString(sum[:]), Sealed: sealed})
	}
	for name, row := range map[string]struct {
		edit  func(*opening.CaseFile)
		says  string
		fails error // of the review
		first error // of an approval
	}{
		"nobody was told":      {func(*opening.CaseFile) {}, "were not yet: they will have 10 days", nil, policy.ErrNoticePeriod},
		"on the last day":      {func(f *opening.CaseFile) { f.Told = told(c.Recorded, 10, true) }, "the persons were told on", nil, policy.ErrNoticePeriod},
		"when they are over":   {func(f *opening.CaseFile) { f.Told = told(c.Recorded, 11, true) }, "the persons were told on", nil, nil},
		"not reached":          {func(f *opening.CaseFile) { f.Told = told(c.Recorded, 11, false) }, "NOT REACHED", nil, nil},
		"of another case":      {func(f *opening.CaseFile) { f.Told = told(other.Recorded, 11, true) }, "", ErrCaseMismatch, nil},
		"a leaf of other kind": {func(f *opening.CaseFile) { l := c.Prove(c.Append(proof.ObjectedLeaf(openingtest.Now, c.Recorded))); f.Told = &l }, "", ErrCaseMismatch, nil},
		"under an objection": {func(f *opening.CaseFile) {
			f.Told = told(c.Recorded, 11, true)
			unread(f, true, "", "It is true.")
		}, "It is true.", nil, policy.ErrObjection},
		"a late one": {func(f *opening.CaseFile) {
			f.Told = told(c.Recorded, 11, true)
			unread(f, false, "", "Too late.")
		}, "Too late.", nil, nil},
		"one that was dismissed": {func(f *opening.CaseFile) {
			f.Told = told(c.Recorded, 11, true)
			unread(f, true, policy.Dismissed, "Not true.")
		}, "a court has ruled: dismissed", nil, nil},
		"words of another": {func(f *opening.CaseFile) {
			f.Told = told(c.Recorded, 11, true)
			unread(f, false, "", "Mine.")
			f.Objections[0].Sealed[0] ^= 1
		}, "its text cannot be read", nil, nil},
	} {
		f := c.CaseFile()
		row.edit(&f)
		r, err := v.open("alba").Review(f.Case, f, v.since, openingtest.Now)
		if !errors.Is(err, row.fails) || r == nil {
			t.Errorf("%s: %v because %v", name, err, errors.Unwrap(err))
			continue
		}
		if !strings.Contains(r.String(), row.says) || row.fails == nil && !errors.Is(r.first, row.first) {
			t.Errorf("%s: %v\n%s", name, r.first, r)
		}
		if row.first != nil && !errors.Is(r.Approvable(openingtest.Now), row.first) {
			t.Errorf("%s can be approved: %v", name, r.Approvable(openingtest.Now))
		}
	}
}

// Nor can it leave the days out of the leaf.
func TestALeafSaysTheDaysToObject(t *testing.T) {
	v, w := seated(t, nil)
	c := w.File(1, 1, func(w *policy.Warrant) { w.Secrecy = policy.Secrecy{Ends: w.IssuedAt} })
	f := c.CaseFile()
	leaf, err := proof.ParseLeaf(f.Leaf.Bytes)
	if err != nil || leaf.NoticeDays != 10 {
		t.Fatal(leaf, err)
	}
	leaf.NoticeDays = 0
	f.Leaf = c.Prove(c.Append(leaf))
	if _, err := v.open("alba").Review(f.Case, f, v.since, openingtest.Now); !errors.Is(err, ErrCaseMismatch) {
		t.Error(err)
	}
}
