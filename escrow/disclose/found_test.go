package disclose_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
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
	r.Registrar = &disclose.Registrar{Cases: r.store, Log: r.store, Now: now, Rules: &disclose.Rules{Bundles: r.store, Now: now},
		Unrecorded: func(code string) { r.filed[code]++ }}
	if err := r.store.Install(t.Context(), raw, nil, proof.BundleLeaf(today, r.bundle.Hash())); err != nil {
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
