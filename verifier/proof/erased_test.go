package proof_test

import (
	"errors"
	"testing"

	"github.com/penname/penname/verifier/proof"
)

func erasedLeaf() proof.Leaf {
	return proof.Leaf{Version: 1, Kind: proof.KindErased, Day: "2026-02-05", Commitment: hexB}
}

// An erasure is a commitment and a day, and nothing else fits beside them.
func TestErasedLeafHoldsACommitmentAndNothingElse(t *testing.T) {
	b, err := erasedLeaf().Marshal()
	if err != nil || string(b) != `{"v":1,"kind":"erased","day":"2026-02-05","commitment":"`+hexB+`"}` {
		t.Fatalf("%s, %v", b, err)
	}
	if back, err := proof.ParseLeaf(b); err != nil || back.Commitment != hexB {
		t.Fatal(err)
	}
	for name, f := range map[string]func(*proof.Leaf){
		"no commitment":               func(l *proof.Leaf) { l.Commitment = "" },
		"M31 a label as commitment":   func(l *proof.Leaf) { l.Commitment = "mfrggzdfmztwq2lknnwg23tpob" },
		"M31 a case":                  func(l *proof.Leaf) { l.Case = ref(2) },
		"M31 the salt":                func(l *proof.Leaf) { l.Salt = hexC },
		"M31 the jurisdiction":        func(l *proof.Leaf) { l.Jurisdiction = "GB" },
		"M31 who decided":             func(l *proof.Leaf) { l.Custodian = "bar-council" },
		"M31 the reason":              func(l *proof.Leaf) { l.Code = "erasure.moved_away" },
		"M31 what pen names it had":   func(l *proof.Leaf) { l.TargetCommitments = []string{hexA} },
		"M31 how many pen names":      func(l *proof.Leaf) { l.Targets = 1 },
		"a time finer than a day":     func(l *proof.Leaf) { l.Day = "2026-02-05T10:00:00Z" },
		"a commitment in other cases": func(l *proof.Leaf) { l.Commitment = "A1" + hexA[2:] },
	} {
		l := erasedLeaf()
		f(&l)
		if _, err := l.Marshal(); !errors.Is(err, proof.ErrLeaf) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if proof.Commit([32]byte{1}, "erasure", []byte("x")) == proof.Commit([32]byte{1}, "warrant", []byte("x")) {
		t.Error("an erasure opens as a warrant")
	}
}

func TestAuditCountsErasuresAndFindsOneThatIsThereTwice(t *testing.T) {
	w := newWorld(t)
	w.add(examples()...)
	w.add(erasedLeaf())
	other := erasedLeaf()
	other.Commitment = hexC
	w.add(other)
	r, err := w.log.Audit(t.Context(), w.tiles(w.files()), options())
	if err != nil || r.Statistics.Erased != 2 || r.Statistics.ByKind[proof.KindErased] != 2 {
		t.Fatalf("%v\n%s", err, r)
	}
	w.add(other)
	r, err = w.log.Audit(t.Context(), w.tiles(w.files()), options())
	if !errors.Is(err, proof.ErrAudit) || len(r.Findings) != 1 || r.Findings[0].Code != proof.FindingErased {
		t.Fatalf("%v\n%s", err, r)
	}
}
