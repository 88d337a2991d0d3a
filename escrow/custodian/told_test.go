package custodian

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

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
	told := func(recorded int64, on time.Time, reached bool) *opening.LoggedLeaf {
		l := c.Prove(c.Append(proof.ToldLeaf(on, recorded, reached)))
		return &l
	}
	at := openingtest.Now
	last, over := at.AddDate(0, 0, 10), at.AddDate(0, 0, 11)
	objected := func(f *opening.CaseFile, day time.Time, suspends bool, words string) *opening.Objection {
		sealed, err := exhibit.SealText(w.Bundle.Recipients(), words)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(sealed)
		f.Told = told(c.Recorded, at, true)
		f.Objections = append(f.Objections, opening.Objection{Day: proof.Day(day), Suspends: suspends, Digest: hex.EncodeToString(sum[:]), Sealed: sealed})
		return &f.Objections[0]
	}
	ruled := func(f *opening.CaseFile, about opening.CaseFile, key, outcome string) *opening.Objection {
		o := objected(f, at, true, "Not true.")
		o.Outcome, o.RuledOn = outcome, proof.Day(at)
		o.Ruling = rules(t, w, about, key, o.Digest, policy.Dismissed, "The post is a threat.")
		return o
	}
	for name, row := range map[string]struct {
		at    time.Time
		edit  func(*opening.CaseFile)
		says  string
		fails error // of the review
		first error // of an approval
	}{
		"nobody was told":          {over, func(*opening.CaseFile) {}, "were not yet: they will have 10 days", nil, policy.ErrNoticePeriod},
		"on the last day":          {last, func(f *opening.CaseFile) { f.Told = told(c.Recorded, at, true) }, "the persons were told on", nil, policy.ErrNoticePeriod},
		"when they are over":       {over, func(f *opening.CaseFile) { f.Told = told(c.Recorded, at, true) }, "the persons were told on", nil, nil},
		"not reached":              {over, func(f *opening.CaseFile) { f.Told = told(c.Recorded, at, false) }, "NOT REACHED", nil, nil},
		"of another case":          {over, func(f *opening.CaseFile) { f.Told = told(other.Recorded, at, true) }, "", ErrCaseMismatch, nil},
		"before it was recorded":   {over, func(f *opening.CaseFile) { f.Told = told(c.Recorded, at.AddDate(0, 0, -1), true) }, "", ErrCaseMismatch, nil},
		"long before, to be early": {at, func(f *opening.CaseFile) { f.Told = told(c.Recorded, at.AddDate(0, 0, -11), true) }, "", ErrCaseMismatch, nil},
		"a leaf of other kind": {over, func(f *opening.CaseFile) {
			l := c.Prove(c.Append(proof.ObjectedLeaf(at, c.Recorded)))
			f.Told = &l
		}, "", ErrCaseMismatch, nil},
		"under an objection":          {over, func(f *opening.CaseFile) { objected(f, at, true, "It is true.") }, "It is true.", nil, policy.ErrObjection},
		"in time, and said to be not": {over, func(f *opening.CaseFile) { objected(f, last, false, "In time.") }, "nothing goes on before", nil, policy.ErrObjection},
		"a late one":                  {over, func(f *opening.CaseFile) { objected(f, over, false, "Too late.") }, "Too late.", nil, nil},
		"dismissed":                   {over, func(f *opening.CaseFile) { ruled(f, *f, "court", policy.Dismissed) }, "The post is a threat.", nil, nil},
		"dismissed, the service says": {over, func(f *opening.CaseFile) { ruled(f, *f, "court", policy.Dismissed).Ruling = "" }, "shows no ruling", nil, policy.ErrObjection},
		"dismissed, by nobody's key":  {over, func(f *opening.CaseFile) { ruled(f, *f, "alba", policy.Dismissed) }, "shows no ruling", nil, policy.ErrObjection},
		"dismissed in another case":   {over, func(f *opening.CaseFile) { ruled(f, other.CaseFile(), "court", policy.Dismissed) }, "shows no ruling", nil, policy.ErrObjection},
		"not as the court ruled":      {over, func(f *opening.CaseFile) { ruled(f, *f, "court", policy.Upheld) }, "shows no ruling", nil, policy.ErrObjection},
		"a ruling on another": {over, func(f *opening.CaseFile) {
			o := ruled(f, *f, "court", policy.Dismissed)
			*o = opening.Objection{Day: o.Day, Suspends: true, Outcome: o.Outcome, Ruling: o.Ruling, RuledOn: o.RuledOn, Digest: strings.Repeat("ab", 32)}
		}, "shows no ruling", nil, policy.ErrObjection},
		"words of another": {over, func(f *opening.CaseFile) { objected(f, over, false, "Mine.").Sealed[0] ^= 1 }, "its text cannot be read", nil, nil},
	} {
		f := c.CaseFile()
		row.edit(&f)
		r, err := v.open("alba").Review(f.Case, f, v.since, row.at)
		if !errors.Is(err, row.fails) || r == nil {
			t.Errorf("%s: %v because %v", name, err, errors.Unwrap(err))
			continue
		}
		if !strings.Contains(r.String(), row.says) || row.fails == nil && !errors.Is(r.first, row.first) {
			t.Errorf("%s: %v\n%s", name, r.first, r)
		}
		if row.first != nil && !errors.Is(r.Approvable(row.at), row.first) {
			t.Errorf("%s can be approved: %v", name, r.Approvable(row.at))
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
