package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
)

// registry is a world whose first bundle names a registry key, and the records of two
// platforms: number 1 and 2 of town-square, and one of market.
type registry struct {
	*world
	key     jose.JSONWebKey
	bundle  *policy.Bundle
	records []policy.LoggedPlatform
}

func newRegistry(t testing.TB) *registry {
	t.Helper()
	r := &registry{world: newWorld(t)}
	var err error
	r.key, err = document.NewKey()
	check(t, err)
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{r.key.Public()}})
	check(t, err)
	r.bundle = r.world.bundle(nil, func(b *policy.Bundle) { b.Platforms, b.Registry = nil, &policy.Registry{Keys: public, WaitingDays: 7} })
	r.log(r.bundle)
	square := r.register(r.key, r.platform("town-square"))
	r.register(r.key, r.platform("market"))
	next := square.Successor()
	next.Name = "The Square"
	r.register(r.key, next)
	return r
}

func (r *registry) platform(id string) policy.PlatformRecord {
	return policy.PlatformRecord{Version: 1, ID: id, Number: 1, Name: "The " + id, Client: policy.ClientHash(nil)}
}

// register logs a record, whoever signed it.
func (r *registry) register(key jose.JSONWebKey, p policy.PlatformRecord) *policy.PlatformRecord {
	r.t.Helper()
	signed, err := policy.SignPlatform(key, p)
	check(r.t, err)
	r.records = append(r.records, policy.LoggedPlatform{Signed: signed, Leaf: int64(len(r.leaves)), Day: proof.Day(noon)})
	r.leaf(proof.PlatformLeaf(noon, signed, nil))
	parsed, err := policy.ParsePlatform(signed)
	check(r.t, err)
	return parsed
}

// pages serves the registry, two records at a time.
func (r *registry) pages(_ context.Context, after int64) ([]policy.LoggedPlatform, bool, error) {
	rest := slices.DeleteFunc(slices.Clone(r.records), func(p policy.LoggedPlatform) bool { return p.Leaf <= after })
	return rest[:min(2, len(rest))], len(rest) > 2, nil
}

func thief(t testing.TB) jose.JSONWebKey {
	k, err := document.NewKey()
	check(t, err)
	return k
}

// What an operator, or who writes into the database, does to the registry is found by
// whoever audits the log; what is only withheld accuses nobody.
func TestAnAuditJudgesTheRegistry(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *registry)
		code   string
		want   error
	}{
		"all is well":          {func(*registry) {}, "", nil},
		"an invented platform": {func(r *registry) { r.register(thief(r.t), r.platform("invented")) }, proof.FindingPlatform, proof.ErrAudit},
		"a swapped key":        {func(r *registry) { r.register(thief(r.t), r.next("town-square")) }, proof.FindingPlatform, proof.ErrAudit},
		"a second record of one number": {func(r *registry) {
			p := r.next("market")
			p.Number, p.Previous, p.Name = 1, "", "Another"
			r.register(r.key, p)
		}, proof.FindingPlatform, proof.ErrAudit},
		"a sector grab":              {func(r *registry) { p := r.platform("grab"); p.Sector = "town-square"; r.register(r.key, p) }, proof.FindingPlatform, proof.ErrAudit},
		"one record in two leaves":   {func(r *registry) { r.leaf(proof.PlatformLeaf(noon, r.records[0].Signed, nil)) }, proof.FindingOrder, proof.ErrAudit},
		"a leaf without its record":  {func(r *registry) { r.leaf(proof.PlatformLeaf(noon, "nobody's", nil)) }, proof.FindingRecord, proof.ErrIncomplete},
		"a countersignature added":   {func(r *registry) { r.records[1].Countersigned = []string{"a thief's"} }, proof.FindingRecord, proof.ErrIncomplete},
		"a leaf with another record": {func(r *registry) { r.records[1].Signed = r.records[0].Signed }, proof.FindingRecord, proof.ErrIncomplete},
		"a first record withheld":    {func(r *registry) { r.records = r.records[1:] }, proof.FindingRecord, proof.ErrIncomplete},
		"nothing is served":          {func(r *registry) { r.records = nil }, proof.FindingRecord, proof.ErrIncomplete},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t)
			c.change(r)
			log, err := r.bundle.TrustedLog()
			check(t, err)
			report, err := log.Audit(t.Context(), r, proof.AuditOptions{At: noon,
				Rules: NewBundles(r.fetch, r.bundle).WithPlatforms(RecordsOf(r.pages)).Audit(t.Context())})
			if !errors.Is(err, c.want) {
				t.Fatal(err, report)
			}
			if c.code != "" && !strings.Contains(fmt.Sprint(report.Findings), c.code) {
				t.Error(report.Findings)
			}
			if report.Statistics.Platforms < 3 || !strings.Contains(report.String(), "records in the registry") {
				t.Error(report)
			}
		})
	}
}

// next is the record after the newest of a platform.
func (r *registry) next(id string) policy.PlatformRecord {
	var newest *policy.PlatformRecord
	for _, l := range r.records {
		if p, err := policy.ParsePlatform(l.Signed); err == nil && p.ID == id {
			newest = p
		}
	}
	return newest.Successor()
}

// A liar who always has one page more does not keep anybody for ever.
func TestPagesThatNeverEnd(t *testing.T) {
	r := newRegistry(t)
	asked := 0
	records := RecordsOf(func(context.Context, int64) ([]policy.LoggedPlatform, bool, error) {
		asked++
		return r.records[:1], true, nil
	})
	if _, _, err := records(t.Context(), "nothing"); !errors.Is(err, ErrUnavailable) || asked > 2 {
		t.Error(err, "after", asked)
	}
	records = RecordsOf(func(context.Context, int64) ([]policy.LoggedPlatform, bool, error) {
		return nil, false, errors.New("down")
	})
	if _, _, err := records(t.Context(), "nothing"); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}

// Who follows the log knows which record is at which leaf.
func TestFollowNotesRecords(t *testing.T) {
	r := newRegistry(t)
	h := r.history(r.bundle)
	if _, err := h.Follow(t.Context(), noon, maxAge); err != nil {
		t.Fatal(err)
	}
	r.register(r.key, r.next("market"))
	if h.HoldsRecord(r.records[3].Leaf, proof.PlatformDigest(r.records[3].Signed, nil)) {
		t.Error("held before it was followed")
	}
	if _, err := h.Follow(t.Context(), noon, maxAge); err != nil {
		t.Fatal(err)
	}
	for i, p := range r.records {
		if digest := proof.PlatformDigest(p.Signed, nil); !h.HoldsRecord(p.Leaf, digest) || h.HoldsRecord(p.Leaf+1, digest) {
			t.Error(i)
		}
	}
	if h.HoldsRecord(0, r.bundle.Hash()) {
		t.Error("a bundle is no record")
	}
}

// Whoever follows the log from the newest rules on knows by which ones a record of before
// was logged.
func TestRulesUntilALeaf(t *testing.T) {
	r := newRegistry(t)
	next := r.world.bundle(r.bundle, func(b *policy.Bundle) { b.Registry = r.bundle.Registry })
	r.log(next)
	late := int64(len(r.leaves))
	r.register(r.key, r.next("market"))
	h := r.history(next)
	if _, err := h.Until(t.Context(), late); !errors.Is(err, ErrNotInLog) {
		t.Error("followed nothing:", err)
	}
	if _, err := h.Follow(t.Context(), noon, maxAge); err != nil {
		t.Fatal(err)
	}
	for leaf, want := range map[int64]string{0: r.bundle.Hash(), r.records[2].Leaf: r.bundle.Hash(), late: next.Hash()} {
		if all, err := h.Until(t.Context(), leaf); err != nil || all[len(all)-1].Hash() != want {
			t.Errorf("%d: %d bundles, %v", leaf, len(all), err)
		}
	}
}

// prove makes a c2sp.org/tlog-proof of a leaf.
func (w *world) prove(index int64) opening.LoggedLeaf {
	w.t.Helper()
	path, err := tlog.ProveRecord(int64(len(w.leaves)), index, w)
	check(w.t, err)
	signed, err := w.served().ReadEndpoint(w.t.Context(), "checkpoint")
	check(w.t, err)
	return opening.LoggedLeaf{Index: index, Bytes: w.leaves[index], Proof: torchwood.FormatProof(index, path, signed)}
}

// A record counts that is in the public log, as a whole, and in no other way: for a
// custodian as for the court.
func TestWhatTheLogSaysOfPlatforms(t *testing.T) {
	r := newRegistry(t)
	warrant, salt := "the earlier warrant", [32]byte{3}
	recorded := int64(len(r.leaves))
	r.leaf(proof.RecordedLeaf(noon, proof.Facets{Jurisdiction: "GB", OffenceClass: "stalking", WarrantKind: proof.Preservation, Bundle: r.bundle.Hash(),
		Salt: salt, Warrant: warrant, Targets: []proof.Target{{Pseudonym: "p", Platform: "q"}}}))
	other := newWorld(t)
	other.log(r.bundle)
	known := func() (k opening.Known) {
		for _, p := range r.records {
			k.Platforms = append(k.Platforms, opening.LoggedPlatform{Signed: p.Signed, Leaf: r.prove(p.Leaf)})
		}
		k.Earlier = &opening.EarlierWarrant{Warrant: warrant, Salt: salt[:], Leaf: r.prove(recorded)}
		return k
	}
	logs, err := opening.Logs(r.bundle)
	check(t, err)
	for name, c := range map[string]struct {
		change func(k *opening.Known)
		want   error
	}{
		"all of it":                {func(*opening.Known) {}, nil},
		"a record with no leaf":    {func(k *opening.Known) { k.Platforms[1].Leaf = opening.LoggedLeaf{} }, proof.ErrLeaf},
		"a leaf of another record": {func(k *opening.Known) { k.Platforms[1].Leaf = k.Platforms[2].Leaf }, opening.ErrNotLogged},
		"a countersignature added": {func(k *opening.Known) { k.Platforms[0].Countersigned = []string{"a thief's"} }, opening.ErrNotLogged},
		"a leaf of another kind":   {func(k *opening.Known) { k.Platforms[1].Leaf = r.prove(0) }, opening.ErrNotLogged},
		"a leaf at another place":  {func(k *opening.Known) { k.Platforms[1].Leaf.Index++ }, opening.ErrNotLogged},
		"a leaf of another log":    {func(k *opening.Known) { k.Platforms[1].Leaf.Proof = other.prove(0).Proof }, opening.ErrNotLogged},
		"a leaf that was changed": {func(k *opening.Known) {
			k.Platforms[1].Leaf.Bytes = []byte(strings.Replace(string(k.Platforms[1].Leaf.Bytes), "2026", "2025", 1))
		}, opening.ErrNotLogged},
		"the middle left out":         {func(k *opening.Known) { k.Platforms = slices.Delete(k.Platforms, 0, 1) }, policy.ErrPlatformNotNext},
		"another earlier warrant":     {func(k *opening.Known) { k.Earlier.Warrant += "x" }, opening.ErrNotLogged},
		"an earlier warrant unsalted": {func(k *opening.Known) { k.Earlier.Salt = nil }, opening.ErrNotLogged},
		"an earlier one never logged": {func(k *opening.Known) { k.Earlier.Leaf = k.Platforms[0].Leaf }, opening.ErrNotLogged},
	} {
		k := known()
		c.change(&k)
		facts, err := k.Facts(logs, r.bundle)
		if !errors.Is(err, c.want) {
			t.Error(name, err, errors.Unwrap(err))
		}
		if c.want != nil {
			continue
		}
		if newest, at := facts.Platforms.Newest("town-square"); newest.Name != "The Square" || at.Leaf != 3 || facts.Earlier.Leaf != recorded {
			t.Errorf("%s: %+v at %+v, %+v", name, newest, at, facts.Earlier)
		}
	}
	// Who writes into the database has no registry key.
	r.register(thief(t), r.next("market"))
	if _, err := known().Facts(logs, r.bundle); !errors.Is(err, policy.ErrPlatformSignature) {
		t.Error(err)
	}
}
