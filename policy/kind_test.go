package policy

import (
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
	if len(kinds) == 0 || len(words().Actions) != len(kinds)+1 {
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
		action, ok := words().Actions[cedar.NewEntityUID("Action", cedar.String(k.Name))]
		if !ok || action.Entity.Parents.Contains(order) != (k.Clock != ClockNone) {
			t.Errorf("%s: the rules that forbid an order are to hold for whatever has a clock, and for nothing else", k.Name)
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
	if ErrUnknownKind.Mend != "The kind must be production, emergency, preservation, extension, secrecy, withdrawal, annulment, validation, suspension or link." {
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
		if k := KindOf(name); k.Opens || k.Served {
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
		b, err := RecordedLeaf("raw", &v, [32]byte{1}, w.bundle.Hash(), 2, k.When(now), proof.FacetOffence, proof.FacetData, proof.FacetHoldEnds).Marshal()
		if err != nil {
			t.Fatalf("%s: %v", k.Name, err)
		}
		l, err := proof.ParseLeaf(b)
		if err != nil || l.WarrantKind != k.Name || (l.Targets > 0) != k.Targets || (l.SecrecyEnds != "") != (k.Clock != ClockNone || k.Name == SecrecyChange) {
			t.Errorf("%s: %s, %v", k.Name, b, err)
		}
		if (l.Offence != "") != (k.Clock != ClockNone) || (l.Data == proof.DataSubscriber) != (k.Opens || k.Holds) || (l.HoldEnds != "") != k.Holds {
			t.Errorf("%s: %s", k.Name, b)
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
