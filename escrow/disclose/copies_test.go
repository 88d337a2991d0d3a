package disclose_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// seated is the bundle that follows before, whose first custodian is alba or whoever id is.
func seated(t *testing.T, before *policy.Bundle, id string, key jose.JSONWebKey) *policy.Bundle {
	t.Helper()
	draft := savedDraft(t)
	c := &draft.Custodians[0]
	if c.ID = id; before == nil {
		c.ID = "alba"
	}
	var err error
	if c.Key, err = key.Public().MarshalJSON(); err != nil {
		t.Fatal(err)
	}
	exhibittest.Name(draft)
	draft.Succeed(before)
	raw, err := draft.Marshal()
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	b, err := policy.ParseBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The registrar stores a copy of an exhibit only if a custodian in force signed it, for that
// place and to a custodian in force.
func TestCopiesAreOfCustodiansInForce(t *testing.T) {
	r := newRig(t)
	alba, dora := newKey(t), newKey(t)
	before := seated(t, nil, "alba", alba)
	now := seated(t, before, "dora", dora)
	r.Rules.Logged = func(context.Context, string) (*policy.Bundle, error) { return now, nil }
	const words = "I will come for you tonight."
	x, err := token.NewExhibit("text/plain", strings.NewReader(words))
	if err != nil {
		t.Fatal(err)
	}
	c, leaf := disclosetest.NewCase("production")
	c.Bundle, c.KeepDays = r.bundle.Hash(), 30
	c.Exhibits = []disclose.SealedExhibit{{Digest: x.Digest, Length: exhibit.SealedSize(x.Length, 4)}}
	if _, err := r.store.File(t.Context(), c, leaf.On(proof.Day(today))); err != nil {
		t.Fatal(err)
	}
	bruno := now.Custodian("bruno").Recipient
	honest := exhibit.Copy{Bundle: now.Hash(), Case: c.ID, Custodian: "dora", Exhibit: x.Name(), Recipient: bruno}
	for _, c := range []struct {
		name   string
		key    jose.JSONWebKey
		change func(*exhibit.Copy)
		want   error
	}{
		{"signed by who is not in force any more", alba, func(c *exhibit.Copy) { c.Custodian, c.Bundle = "alba", before.Hash() }, exhibit.ErrCopy},
		{"in the name of who is not", alba, func(c *exhibit.Copy) { c.Custodian = "alba" }, exhibit.ErrCopy},
		{"signed by a stranger", newKey(t), func(*exhibit.Copy) {}, exhibit.ErrCopy},
		{"under older rules", dora, func(c *exhibit.Copy) { c.Bundle = before.Hash() }, exhibit.ErrCopy},
		{"of another case", dora, func(c *exhibit.Copy) { c.Case = "another" }, exhibit.ErrCopy},
		{"of another exhibit", dora, func(c *exhibit.Copy) { c.Exhibit = strings.Repeat("0", 64) }, exhibit.ErrCopy},
		{"to who is not in force", dora, func(c *exhibit.Copy) { c.Recipient = before.Custodian("alba").Recipient }, exhibit.ErrCopy},
		{"to a custodian in force", dora, func(*exhibit.Copy) {}, nil},
		{"once more, encrypted anew", dora, func(*exhibit.Copy) {}, disclose.ErrExhibitStored},
	} {
		about := honest
		c.change(&about)
		copied, err := exhibit.Reseal(c.key, about, []byte(words))
		if err != nil {
			t.Fatal(err)
		}
		to := sha256.Sum256([]byte(about.Recipient))
		if err := r.PutCopy(t.Context(), honest.Case, x.Digest, to, copied); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if stored, err := r.store.Copy(t.Context(), honest.Case, x.Digest, to); c.want == exhibit.ErrCopy && err == nil {
			t.Errorf("%s: stored %d bytes", c.name, len(stored))
		}
	}
	copied, err := exhibit.Reseal(dora, honest, []byte(words))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.PutCopy(t.Context(), c.ID, x.Digest, sha256.Sum256([]byte(now.Custodian("chidi").Recipient)), copied); refusal.Of(err) == nil || !errors.Is(err, exhibit.ErrCopy) {
		t.Error("in another's place:", err)
	}
}
