package disclose_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
)

// registering is a registry in memory under a bundle that names its key.
type registering struct {
	*disclosetest.Memory
	disclose.Registry
	key jose.JSONWebKey
}

func jwksOf(t *testing.T, keys ...jose.JSONWebKey) json.RawMessage {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, k := range keys {
		set.Keys = append(set.Keys, k.Public())
	}
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func newKey(t *testing.T) jose.JSONWebKey {
	t.Helper()
	k, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRegistering(t *testing.T) *registering {
	t.Helper()
	r := &registering{Memory: new(disclosetest.Memory), key: newKey(t)}
	r.Registry = r.Memory.Registry()
	r.Now = func() time.Time { return disclosetest.Day }
	r.Rules = &disclose.Rules{Bundles: r.Memory, Now: r.Now}
	r.install(t, jwksOf(t, r.key))
	return r
}

// savedDraft is the bundle of the saved opening, as a draft.
func savedDraft(t *testing.T) *policy.Bundle {
	t.Helper()
	raw, err := os.ReadFile("../../verifier/opening/testdata/bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	draft := new(policy.Bundle)
	if err := json.Unmarshal(raw, draft); err != nil {
		t.Fatal(err)
	}
	return draft
}

// install puts the bundle of the saved opening in force, with registry keys.
func (r *registering) install(t *testing.T, keys json.RawMessage) {
	t.Helper()
	draft := savedDraft(t)
	before, err := r.Rules.Current(t.Context())
	if err != nil && !errors.Is(err, disclose.ErrNoBundle) {
		t.Fatal(err)
	}
	exhibittest.Name(draft)
	draft.Succeed(before)
	draft.Registry = &policy.Registry{Keys: keys, WaitingDays: 7}
	raw, err := draft.Marshal()
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	sum := sha256.Sum256(raw)
	if err := r.Install(t.Context(), raw, nil, proof.BundleLeaf(disclosetest.Day, hex.EncodeToString(sum[:])), draft.Predecessor); err != nil {
		t.Fatal(err)
	}
}

func (r *registering) entry(t *testing.T, key jose.JSONWebKey, id string, edit ...func(*policy.PlatformRecord)) disclose.PlatformEntry {
	return disclosetest.NewPlatform(t, func(p policy.PlatformRecord) (string, error) { return policy.SignPlatform(key, p) }, id, edit...)
}

// A record comes into the registry once, with its leaf, or not at all.
func TestRecordAPlatform(t *testing.T) {
	r := newRegistering(t)
	ctx := t.Context()
	evidence := newKey(t)
	square := r.entry(t, r.key, "square", func(p *policy.PlatformRecord) { p.Keys = jwksOf(t, evidence) })
	first, err := r.Record(ctx, square.Signed, nil, square.Client)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	if again, err := r.Record(ctx, square.Signed, nil, square.Client); err != nil || again.Leaf != first.Leaf {
		t.Error("the same again:", again, err)
	}
	size := int64(2)
	thief := newKey(t)
	grab := r.entry(t, r.key, "grab", func(p *policy.PlatformRecord) { p.Sector = "square" })
	good := r.entry(t, r.key, "market")
	for name, c := range map[string]struct {
		e    disclose.PlatformEntry
		want error
	}{
		"an invented platform":   {r.entry(t, thief, "invented"), policy.ErrPlatformSignature},
		"a swapped key":          {r.entry(t, thief, "square", func(p *policy.PlatformRecord) { *p = square.Record.Successor(); p.Keys = jwksOf(t, thief) }), policy.ErrPlatformSignature},
		"a sector grab":          {grab, policy.ErrSectorTaken},
		"the same number":        {r.entry(t, r.key, "square", func(p *policy.PlatformRecord) { p.Name = "Another" }), policy.ErrPlatformNotNext},
		"other settings":         {disclose.PlatformEntry{Signed: good.Signed, Client: []byte("a swapped redirect address")}, disclose.ErrClientSettings},
		"no settings":            {disclose.PlatformEntry{Signed: good.Signed}, disclose.ErrClientSettings},
		"by nobody who may join": {disclose.PlatformEntry{Signed: grab.Signed, Client: grab.Client, Countersigned: []string{countersigned(t, thief, grab.Signed)}}, policy.ErrCountersignature},
	} {
		if _, err := r.Record(ctx, c.e.Signed, c.e.Countersigned, c.e.Client); !errors.Is(err, c.want) {
			t.Error(name, err)
		}
		if n, err := r.Size(ctx); err != nil || n != size {
			t.Fatalf("%s: %d leaves, %v", name, n, err)
		}
	}
	joined, err := r.Record(ctx, grab.Signed, []string{countersigned(t, evidence, grab.Signed)}, grab.Client)
	if err != nil || joined.Leaf != size || len(joined.Countersigned) != 1 {
		t.Error("with a member's word:", joined, err)
	}
}

func countersigned(t *testing.T, key jose.JSONWebKey, signed string) string {
	t.Helper()
	c, err := policy.CountersignPlatform(key, signed)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Of two who take one sector at the same moment the first wins: the other is judged
// anew.
func TestTwoTakeOneSector(t *testing.T) {
	r := newRegistering(t)
	rival := r.entry(t, r.key, "rival", func(p *policy.PlatformRecord) { p.Sector = "shops.example" })
	late := r.entry(t, r.key, "late", func(p *policy.PlatformRecord) { p.Sector = "shops.example" })
	store, meanwhile := r.Append, true
	r.Append = func(ctx context.Context, e disclose.PlatformEntry, leaf proof.Leaf, after int64) (policy.LoggedPlatform, error) {
		if meanwhile {
			meanwhile = false
			if _, err := r.Record(ctx, rival.Signed, nil, rival.Client); err != nil {
				t.Error(err)
			}
		}
		return store(ctx, e, leaf, after)
	}
	if _, err := r.Record(t.Context(), late.Signed, nil, late.Client); !errors.Is(err, policy.ErrSectorTaken) {
		t.Error(err)
	}
}

// The registry's key can be replaced: records under the old one stand, new ones take the
// new one.
func TestTheRegistryKeyIsReplaced(t *testing.T) {
	r := newRegistering(t)
	square := r.entry(t, r.key, "square")
	if _, err := r.Record(t.Context(), square.Signed, nil, square.Client); err != nil {
		t.Fatal(err)
	}
	next := newKey(t)
	r.install(t, jwksOf(t, next))
	old := r.entry(t, r.key, "market")
	if _, err := r.Record(t.Context(), old.Signed, nil, old.Client); !errors.Is(err, policy.ErrPlatformSignature) {
		t.Error("by the old key:", err)
	}
	anew := r.entry(t, next, "square", func(p *policy.PlatformRecord) { *p = square.Record.Successor() })
	if _, err := r.Record(t.Context(), anew.Signed, nil, square.Client); err != nil {
		t.Error("signed anew:", err)
	}
}

// One damaged row does not hide which platform it is of.
func TestADamagedRowIsNamed(t *testing.T) {
	r := newRegistering(t)
	for _, id := range []string{"forum", "square"} {
		e := r.entry(t, r.key, id)
		if _, err := r.Record(t.Context(), e.Signed, nil, e.Client); err != nil {
			t.Fatal(err)
		}
	}
	of := r.Of
	r.Of = func(ctx context.Context, ids ...string) ([]policy.LoggedPlatform, error) {
		all, err := of(ctx, ids...)
		for i := range all {
			if p, perr := policy.ParsePlatform(all[i].Signed); perr == nil && p.ID == "square" {
				body, signature, _ := strings.Cut(all[i].Signed, ".")
				payload, signature, _ := strings.Cut(signature, ".")
				all[i].Signed = body + "." + payload + "." + "AAAA" + signature[4:]
			}
		}
		return all, err
	}
	late := r.entry(t, r.key, "late")
	_, err := r.Record(t.Context(), late.Signed, nil, late.Client)
	if !errors.Is(err, disclose.ErrRegistryDamaged) || !strings.Contains(err.Error(), "escrowd log check") || !strings.Contains(errors.Unwrap(err).Error()+fmt.Sprint(errors.Unwrap(errors.Unwrap(err))), `platform "square"`) {
		t.Error(err, errors.Unwrap(err))
	}
}
