package policy

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"

	cedar "github.com/cedar-policy/cedar-go"
	"pgregory.net/rapid"

	"github.com/penname/penname/verifier/proof"
)

// Each row is whole and fits what the log knows of the kind and what the rules
// call it.
func TestEveryKindOfWarrantIsOneWholeRow(t *testing.T) {
	order := cedar.NewEntityUID("Action", "order")
	if len(kinds) == 0 || len(words().Actions) != len(KindNames(func(k Kind) bool { return k.As == "" }))+1 {
		t.Errorf("%d kinds, %d actions in the vocabulary, order among them", len(kinds), len(words().Actions))
	}
	for i, k := range kinds {
		if k.Name == "" || k.WarrantKind != proof.WarrantKindOf(k.Name) {
			t.Errorf("row %d: the log does not know the kind", i)
			continue
		}
		if KindOf(k.Name).Name != k.Name || slices.ContainsFunc(kinds[:i], func(o Kind) bool { return o.Name == k.Name }) {
			t.Errorf("%s: two rows", k.Name)
		}
		action, ok := words().Actions[cedar.NewEntityUID("Action", cedar.String(cmp.Or(k.As, k.Name)))]
		if !ok || action.Entity.Parents.Contains(order) != (k.Clock != ClockNone) {
			t.Errorf("%s: the rules that forbid an order are to hold for whatever has a clock, and for nothing else", k.Name)
		}
		if as := KindOf(k.As); k.As != "" && (as.As != "" || as.Opens != k.Opens || as.Decided != k.Decided || !k.Follows || !slices.Equal(k.Earliers, []string{k.As})) {
			t.Errorf("%s: it does not repeat an order of kind %s", k.Name, k.As)
		}
		if k.reasons == nil {
			t.Errorf("%s: no reasons have to be stated", k.Name)
		}
		if k.Decided != (k.Clock == ClockOpen) || k.Opens && !k.Decided {
			t.Errorf("%s: opens %v, is decided %v, and its clock is %v", k.Name, k.Opens, k.Decided, k.Clock)
		}
		if k.Opens && !k.Answered || k.Answered && !k.Decided || k.Evidence != (k.Targets && !k.Earlier) || k.Part && (k.Targets || !k.Stops) || k.One && !k.Targets {
			t.Errorf("%s: %+v", k.Name, k)
		}
		if (k.Earlier || k.Follows) != (len(k.Earliers) > 0) || k.Since < 1 || k.Since > CurrentVersion {
			t.Errorf("%s: %+v", k.Name, k)
		}
		for _, of := range k.Earliers {
			if KindOf(of).Clock == ClockNone {
				t.Errorf("%s is about a %s, which is over when it is recorded", k.Name, of)
			}
		}
		if k.Opens && !k.Targets || k.Stops && !k.Earlier || k.Stops && k.Opens || k.Earlier && k.Follows {
			t.Errorf("%s: %+v", k.Name, k)
		}
		if !strings.Contains(ErrUnknownKind.Mend, k.Name) {
			t.Errorf("%s: the refusal of an unknown kind does not name it", k.Name)
		}
	}
	if ErrUnknownKind.Mend != "The kind must be production, emergency, preservation, extension, secrecy, withdrawal, annulment, validation, ruling, suspension, link or redelivery." {
		t.Errorf("%s", ErrUnknownKind.Mend)
	}
}

// What is not a row opens nothing, whatever else it says.
func TestAnUnknownKindOfWarrantIsRefusedAndNeverPanics(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.StringMatching(`[a-z]{0,20}`).Filter(func(s string) bool { return KindOf(s).Name == "" }).Draw(rt, "kind")
		wantRefused(t, w.decide(t, func(v *Warrant) { v.Kind = name }), ErrUnknownKind)
		v, _ := w.production(t)
		v.Kind = name
		if b, err := RecordedLeaf("raw", &v, [32]byte{1}, w.bundle.Hash(), 2, "2026-11-21").Marshal(); err == nil {
			rt.Fatalf("the log holds %s", b)
		}
		if k := KindOf(name); k.Opens || k.Decided {
			rt.Fatalf("%+v", k)
		}
	})
}

// The leaf of each kind of warrant passes the linter, and shows secrecy and
// targets as its row says.
func TestRecordedLeafOfEveryKind(t *testing.T) {
	w := fifth(t)
	for _, k := range kinds {
		v, _ := w.production(t)
		v.Kind = k.Name
		if !k.Targets {
			v.Targets = nil
		}
		b, err := RecordedLeaf("raw", &v, [32]byte{1}, w.bundle.Hash(), 2, k.When(now), proof.FacetOffence, proof.FacetData, proof.FacetValidated, proof.FacetHoldEnds).Marshal()
		if err != nil {
			t.Fatalf("%s: %v", k.Name, err)
		}
		l, err := proof.ParseLeaf(b)
		if err != nil || l.WarrantKind != k.Name || (l.Targets > 0) != k.Targets || (l.SecrecyEnds != "") != (k.Clock != ClockNone || k.Name == SecrecyChange) {
			t.Errorf("%s: %s, %v", k.Name, b, err)
		}
		if l.Offence != v.OffenceID || (l.Data == proof.DataSubscriber) != (k.Opens || k.Holds) ||
			(l.Data == proof.DataIdentifying) != (k.Name == Link) || (l.HoldEnds != "") != k.Holds || l.Validated != (k.Name == Emergency) {
			t.Errorf("%s: %s", k.Name, b)
		}
		if plain := RecordedLeaf("raw", &v, [32]byte{1}, w.bundle.Hash(), 2, k.When(now)); len(plain.Facets()) > 0 || plain.Commitment != l.Commitment {
			t.Errorf("%s says what it need not: %v", k.Name, plain.Facets())
		}
	}
}

// A bundle says how much the log and its statistics tell, and only what a leaf takes.
func TestFacetsOfABundle(t *testing.T) {
	w := fifth(t)
	for name, tc := range map[string]struct {
		change func(*Bundle)
		want   error
	}{
		"none":                          {func(*Bundle) {}, nil},
		"all":                           {func(b *Bundle) { b.LeafFacets, b.SmallCount = []string{proof.FacetOffence, proof.FacetData}, 10 }, nil},
		"one twice":                     {func(b *Bundle) { b.LeafFacets = []string{proof.FacetData, proof.FacetData} }, ErrBundleMalformed},
		"one that is none":              {func(b *Bundle) { b.LeafFacets = []string{"platform"} }, ErrBundleMalformed},
		"an offence that no leaf takes": {func(b *Bundle) { b.LeafFacets, b.Offences[0].ID = []string{proof.FacetOffence}, "act-1997" }, ErrBundleMalformed},
		"statistics of one":             {func(b *Bundle) { b.SmallCount = 1 }, ErrBundleLimits},
		"statistics that tell nothing":  {func(b *Bundle) { b.SmallCount = 101 }, ErrBundleLimits},
	} {
		b := *w.bundle
		b.raw = nil
		b.Offences = slices.Clone(b.Offences)
		tc.change(&b)
		raw, err := b.Marshal()
		var parsed *Bundle
		if err == nil {
			parsed, err = ParseBundle(raw)
		}
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && tc.want == nil {
			r := parsed.AuditRules()
			if !r.Rounds || r.SmallCount != b.SmallCount || !slices.Equal(r.Facets, append([]string{proof.FacetHoldEnds, proof.FacetValidated}, b.LeafFacets...)) || !slices.Equal(r.Fields, b.Fields) ||
				len(r.Offences) != len(b.Offences) || r.MaxSecrecyDays != b.MaxSecrecyDays || r.HoldDays != b.HoldDays || r.ExtensionDays != b.ExtensionDays || r.ValidationHours != b.ValidationHours {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
	before := newWorld(t).bundle
	if r := before.AuditRules(); r.Rounds || r.Facets != nil || r.HoldDays != 0 {
		t.Errorf("rules of version %d are those of version 5: %+v", before.Version, r)
	}
	for _, change := range []func(*Bundle){func(b *Bundle) { b.SmallCount = 10 }, func(b *Bundle) { b.LeafFacets = []string{proof.FacetData} }} {
		b := *before
		b.raw = nil
		change(&b)
		if _, err := b.Marshal(); !errors.Is(err, ErrBundleMalformed) {
			t.Errorf("version %d says what only version 5 does: %v", b.Version, err)
		}
	}
}

func TestAuditRulesAreThoseOfTheBundle(t *testing.T) {
	w := newWorld(t)
	r := w.bundle.AuditRules()
	if r.Threshold != w.bundle.Threshold || r.Ceremony != w.bundle.Ceremony ||
		len(r.Custodians) != len(w.bundle.Custodians) || len(r.OffenceClasses) != len(w.bundle.OffenceClasses) {
		t.Fatalf("%+v", r)
	}
	for i, c := range w.bundle.Custodians {
		if r.Custodians[i] != c.ID {
			t.Errorf("%q, want %q", r.Custodians[i], c.ID)
		}
	}
	for i, o := range w.bundle.OffenceClasses {
		if r.OffenceClasses[i] != o.ID {
			t.Errorf("%q, want %q", r.OffenceClasses[i], o.ID)
		}
	}
}
