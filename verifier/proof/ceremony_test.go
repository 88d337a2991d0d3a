package proof_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/penname/penname/verifier/proof"
)

func ceremonyLeaf() proof.Leaf {
	return proof.Leaf{Version: 1, Kind: proof.KindCeremony, Day: "2026-02-05", Package: hexB}
}

// A ceremony is the hash of its transcript and a day, and nothing else fits.
func TestCeremonyLeafHoldsAHashAndNothingElse(t *testing.T) {
	b, err := ceremonyLeaf().Marshal()
	if err != nil || string(b) != `{"v":1,"kind":"ceremony","day":"2026-02-05","package":"`+hexB+`"}` {
		t.Fatalf("%s, %v", b, err)
	}
	if back, err := proof.ParseLeaf(b); err != nil || back.Package != hexB {
		t.Fatal(err)
	}
	for name, f := range map[string]func(*proof.Leaf){
		"no hash":              func(l *proof.Leaf) { l.Package = "" },
		"a short hash":         func(l *proof.Leaf) { l.Package = hexB[:62] },
		"M31 text as hash":     func(l *proof.Leaf) { l.Package = strings.Repeat("jo ", 21) + "x" },
		"M31 a case":           func(l *proof.Leaf) { l.Case = ref(2) },
		"M31 who was at fault": func(l *proof.Leaf) { l.Custodian = "bar-council" },
		"M31 why it failed":    func(l *proof.Leaf) { l.Code = "custodian.bad_deal" },
		"a bundle":             func(l *proof.Leaf) { l.Bundle = hexA },
		"a time":               func(l *proof.Leaf) { l.Day = "2026-02-05T10:00:00Z" },
	} {
		l := ceremonyLeaf()
		f(&l)
		if _, err := l.Marshal(); !errors.Is(err, proof.ErrLeaf) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAuditCountsCeremoniesAndFindsABundleWhoseOwnIsNotThereFirst(t *testing.T) {
	o := options()
	o.Rules = func(bundle string) (proof.Rules, bool) {
		r, ok := rules(bundle)
		if bundle == hexC {
			r.Ceremony = hexB
		}
		return r, ok
	}
	first, second := examples()[0], examples()[0]
	first.Day, second.Day, second.Bundle = "2026-02-05", "2026-02-05", hexC
	w := newWorld(t)
	w.add(first, ceremonyLeaf(), second)
	r, err := w.log.Audit(t.Context(), w.tiles(w.files()), o)
	if err != nil || r.Statistics.Ceremonies != 1 || r.Statistics.ByKind[proof.KindCeremony] != 1 || !strings.Contains(r.String(), "1 of the custodians' key") {
		t.Fatalf("%v\n%s", err, r)
	}
	w = newWorld(t)
	w.add(first, second, ceremonyLeaf())
	r, err = w.log.Audit(t.Context(), w.tiles(w.files()), o)
	if !errors.Is(err, proof.ErrAudit) || len(r.Findings) != 1 || r.Findings[0] != (proof.Finding{Index: 1, Code: proof.FindingCeremony}) {
		t.Fatalf("%v\n%s", err, r)
	}
}
