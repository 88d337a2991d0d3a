package disclose_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
)

// rig is a registrar in memory whose rules name one court, with that court's keys.
type rig struct {
	*disclose.Registrar
	store  *disclosetest.Memory
	bundle *policy.Bundle
	court  jose.JSONWebKey // ES256: its signatures can be varied
	ended  jose.JSONWebKey // the court's too, until last year
	filed  map[string]int  // codes of the filings that left nothing
}

var today = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func newRig(t *testing.T) *rig {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{store: new(disclosetest.Memory), filed: make(map[string]int),
		court: jose.JSONWebKey{Key: k, KeyID: "court", Algorithm: string(jose.ES256), Use: "sig"}}
	if r.ended, err = document.NewKey(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("../../verifier/opening/testdata/bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	var draft policy.Bundle
	if err := json.Unmarshal(raw, &draft); err != nil {
		t.Fatal(err)
	}
	court := &draft.Authorities[0]
	court.Keys = nil
	for key, until := range map[*jose.JSONWebKey]time.Time{&r.court: today.AddDate(1, 0, 0), &r.ended: today.AddDate(-1, 0, 0)} {
		public, err := key.Public().MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		court.Keys = append(court.Keys, policy.Key{JWK: public, From: today.AddDate(-2, 0, 0), Until: until})
	}
	if raw, err = draft.Marshal(); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	if r.bundle, err = policy.ParseBundle(raw); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time { return today }
	r.Registrar = &disclose.Registrar{Cases: r.store, Log: r.store, Now: now, Rules: &disclose.Rules{Bundles: r.store, Now: now,
		Logged: func(context.Context, string) (*policy.Bundle, error) { return r.bundle, nil }},
		Unrecorded: func(code string) { r.filed[code]++ }}
	if err := r.store.Install(t.Context(), raw, nil, proof.BundleLeaf(today, r.bundle.Hash()), ""); err != nil {
		t.Fatal(err)
	}
	return r
}

// warrant is one that the court signs and that is refused: it gives no reasons.
func (r *rig) warrant(t *testing.T, key jose.JSONWebKey, id string) string {
	t.Helper()
	signed, err := policy.SignWarrant(key, policy.Warrant{
		ID: id, Kind: policy.Production, Authority: r.bundle.Authorities[0].ID, Jurisdiction: "GB", Bundle: r.bundle.Hash(), Audience: r.bundle.Registrar,
		OffenceClass: "threats-to-life", Deadline: policy.TenDays, Grounds: "secret grounds", IssuedAt: today.Add(-time.Hour), Expiry: today.AddDate(0, 0, 7),
	})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// size is how many leaves there are beside that of the rules.
func (r *rig) size(t *testing.T) int64 {
	t.Helper()
	n, err := r.store.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n - 1
}

// variant is another signature of the same bytes by the same key, which anybody
// can make of an ES256 one: (r, n-s) for (r, s).
func variant(t *testing.T, signed string) string {
	t.Helper()
	at := strings.LastIndex(signed, ".") + 1
	sig, err := base64.RawURLEncoding.DecodeString(signed[at:])
	if err != nil || len(sig) != 64 {
		t.Fatal(err)
	}
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(sig[32:])
	return signed[:at] + base64.RawURLEncoding.EncodeToString(sig)
}

// What strangers file is refused as ever, counted, and leaves nothing in the log:
// each left a leaf for ever, and entered the statistics.
func TestFoundK1StrangersWriteNoLeaf(t *testing.T) {
	r := newRig(t)
	stranger, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	named := stranger
	named.KeyID = r.court.KeyID
	signed := r.warrant(t, r.court, "1")
	parts := strings.Split(signed, ".")
	want := map[string]int{}
	for name, c := range map[string]struct {
		warrant string
		code    error
	}{
		"junk":                                {"please", policy.ErrUnsigned},
		"nothing":                             {"", policy.ErrUnsigned},
		"a warrant without its signature":     {parts[0] + "." + parts[1] + ".", policy.ErrUnsigned},
		"self-made, in the court's name":      {r.warrant(t, stranger, "1"), policy.ErrSignerKey},
		"self-made, under the court's key id": {r.warrant(t, named, "1"), nil},
		"another signature on it":             {parts[0] + "." + parts[1] + "." + strings.Split(r.warrant(t, r.court, "2"), ".")[2], policy.ErrBadSignature},
		"signed with a key that has ended":    {r.warrant(t, r.ended, "1"), policy.ErrSignerKey},
	} {
		_, d, err := r.File(t.Context(), policy.Submission{Warrant: c.warrant})
		if d.Refusal == nil || !errors.Is(err, d.Refusal) || c.code != nil && !errors.Is(err, c.code) || d.Warrant != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want[d.Refusal.Code]++; r.size(t) != 0 {
			t.Fatalf("%s left a leaf", name)
		}
	}
	if !maps.Equal(r.filed, want) {
		t.Errorf("counted %v, not %v", r.filed, want)
	}
}

// A delivery is one ciphertext to the requester's key, for that case. It used to be
// JSON, in clear to whoever knew the id.
func TestFoundK2ADeliveryIsOneCiphertext(t *testing.T) {
	key, err := seal.GenerateDeliveryKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := seal.GenerateDeliveryKey()
	if err != nil {
		t.Fatal(err)
	}
	store := new(disclosetest.Memory)
	r := &disclose.Registrar{Cases: store, Log: store, Now: func() time.Time { return disclosetest.Day }}
	filed, leaf := disclosetest.NewCase(policy.Production)
	filed.Warrant = warrantOf(filed, key)
	if _, err := store.File(t.Context(), filed, leaf); err != nil {
		t.Fatal(err)
	}
	apply := func(change func(disclose.Case) (disclose.Change, error)) {
		t.Helper()
		if _, err := store.Apply(t.Context(), filed.ID, change); err != nil {
			t.Fatal(err)
		}
	}
	deliver := func() []byte {
		t.Helper()
		sealed, err := r.Deliver(t.Context(), filed.ID)
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	apply(disclosetest.Approve)
	apply(disclosetest.Release)
	before := deliver()
	for _, text := range []string{filed.ID, "approvals", "signed", "package", "DS R. Amari", "secret grounds"} {
		if bytes.Contains(before, []byte(text)) {
			t.Errorf("%q is in clear", text)
		}
	}
	if _, err := other.Open(seal.DeliveryInfo(filed.ID), before); err == nil {
		t.Error("another key opens it")
	}
	if _, err := key.Open(seal.DeliveryInfo("another case"), before); err == nil {
		t.Error("it opens as that of another case")
	}

	// Who approves after the release is in the next delivery. The package, whose
	// hash the log holds, stays as it was, and the length says nothing.
	apply(func(c disclose.Case) (disclose.Change, error) {
		signed := strings.Repeat("late", 100)
		return disclose.Change{Approval: &disclose.Approval{Custodian: "press", Approved: true, Signed: signed},
			Steps: []disclose.Step{{Event: disclose.Approve, Leaf: proof.ApprovalLeaf(disclosetest.Day, c.RecordedLeaf, "press", "", c.Salt, []byte(signed))}}}, nil
	})
	after := deliver()
	first, second := unsealed(t, key, filed.ID, before), unsealed(t, key, filed.ID, after)
	if len(first.Approvals) != 1 || len(second.Approvals) != 2 || !bytes.Equal(first.Package, second.Package) || len(before) != len(after) {
		t.Errorf("%d and %d approvals, %d and %d bytes", len(first.Approvals), len(second.Approvals), len(before), len(after))
	}
	released, err := proof.ParseLeaf(second.Released.Bytes)
	if sum := sha256.Sum256(second.Package); err != nil || released.Package != hex.EncodeToString(sum[:]) {
		t.Error("the log does not hold the package as it was handed over:", err)
	}
}

// swapped is a store whose rows name another requester, or hold another package.
type swapped struct {
	*disclosetest.Memory
	warrant *policy.Warrant
	pack    []byte
}

func (s swapped) Case(ctx context.Context, id string) (disclose.Case, error) {
	c, err := s.Memory.Case(ctx, id)
	c.Warrant = s.warrant
	return c, err
}

func (s swapped) Package(context.Context, string, int) ([]byte, error) { return s.pack, nil }

// To whom a delivery is sealed, and what, the log says and not the row.
func TestFoundK2ARowDoesNotSayToWhom(t *testing.T) {
	key, err := seal.GenerateDeliveryKey()
	if err != nil {
		t.Fatal(err)
	}
	store := new(disclosetest.Memory)
	filed, leaf := disclosetest.NewCase(policy.Production)
	filed.Warrant = warrantOf(filed, key)
	if _, err := store.File(t.Context(), filed, leaf); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(disclose.Case) (disclose.Change, error){disclosetest.Approve, disclosetest.Release} {
		if _, err := store.Apply(t.Context(), filed.ID, change); err != nil {
			t.Fatal(err)
		}
	}
	mine := *filed.Warrant
	mine.Jurisdiction = "FR"
	for name, s := range map[string]swapped{
		"another warrant": {store, &mine, []byte("package of " + filed.ID)},
		"no warrant":      {store, nil, []byte("package of " + filed.ID)},
		"another package": {store, filed.Warrant, []byte("package of another")},
	} {
		r := &disclose.Registrar{Cases: s, Log: store, Now: func() time.Time { return disclosetest.Day }}
		if sealed, err := r.Deliver(t.Context(), filed.ID); !errors.Is(err, disclose.ErrNotAsLogged) || sealed != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the court signed leaves one leaf for each warrant and code, however often,
// by whomever and under whichever signature it is filed again.
func TestFoundK1OneLeafForAWarrantAndCode(t *testing.T) {
	r := newRig(t)
	signed := r.warrant(t, r.court, "1")
	for _, filed := range []struct {
		warrant string
		leaves  int64
	}{{signed, 1}, {signed, 1}, {variant(t, signed), 1}, {r.warrant(t, r.court, "1"), 1}, {r.warrant(t, r.court, "2"), 2}} {
		_, d, err := r.File(t.Context(), policy.Submission{Warrant: filed.warrant})
		if d.Warrant == nil || !errors.Is(err, policy.ErrReasons) {
			t.Fatal(err)
		}
		if n := r.size(t); n != filed.leaves {
			t.Fatalf("%d leaves, not %d", n, filed.leaves)
		}
	}
	if len(r.filed) != 0 {
		t.Errorf("counted %v", r.filed)
	}
}

// BenchmarkDeliver seals a package of the size that 600 targets with 5,000 posts in
// evidence have, 20 MB.
func BenchmarkDeliver(b *testing.B) {
	key, err := seal.GenerateDeliveryKey()
	if err != nil {
		b.Fatal(err)
	}
	store := new(disclosetest.Memory)
	filed, leaf := disclosetest.NewCase(policy.Production)
	filed.Warrant = warrantOf(filed, key)
	if _, err := store.File(b.Context(), filed, leaf); err != nil {
		b.Fatal(err)
	}
	pack := bytes.Repeat([]byte("x"), 20<<20)
	release := func(c disclose.Case) (disclose.Change, error) {
		return disclose.Change{Package: pack, Steps: []disclose.Step{
			{Event: disclose.Release, Leaf: proof.ReleasedLeaf(disclosetest.Day, c.RecordedLeaf, sha256.Sum256(pack), nil)}}}, nil
	}
	for _, change := range []func(disclose.Case) (disclose.Change, error){disclosetest.Approve, release} {
		if _, err := store.Apply(b.Context(), filed.ID, change); err != nil {
			b.Fatal(err)
		}
	}
	r := &disclose.Registrar{Cases: store, Log: store, Now: func() time.Time { return disclosetest.Day }}
	for b.Loop() {
		if _, err := r.Deliver(b.Context(), filed.ID); err != nil {
			b.Fatal(err)
		}
	}
}
