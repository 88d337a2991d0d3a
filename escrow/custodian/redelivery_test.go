package custodian

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/opening/openingtest"
	"github.com/penname/penname/verifier/refusal"
)

// Whoever holds the registrar alone, its database and its log, cannot turn a delivery to
// another key: a custodian makes shares for the key that the court signed, and no other.
func TestARegistrarCannotTurnADelivery(t *testing.T) {
	v, w := seated(t, nil)
	c := w.File(1, 1, nil)
	attacker, err := seal.GenerateDeliveryKey()
	if err != nil {
		t.Fatal(err)
	}
	n := byte(0)
	redelivered := func(signer string, change func(*policy.Warrant)) opening.CaseFile {
		again, err := policy.Redeliver(c.Submission.Warrant, attacker.Public(), "", "The disk broke.")
		if err != nil {
			t.Fatal(err)
		}
		n++
		again.Complete(w.Bundle, [16]byte{n}, openingtest.Now)
		if change != nil {
			change(again)
		}
		key := w.Key(signer)
		key.KeyID = w.Key("court").KeyID // it says that the court signed
		signed, err := policy.SignWarrant(key, *again)
		if err != nil {
			t.Fatal(err)
		}
		f := c.CaseFile()
		f.Submission.Warrant = signed
		f.Earlier = &opening.EarlierWarrant{Warrant: c.Submission.Warrant, Salt: c.Salt[:], Leaf: c.Prove(c.Recorded)}
		leaf := policy.RecordedLeaf(signed, again, c.Salt, w.Bundle.Hash(), 2, policy.KindOf(again.Kind).When(openingtest.Now))
		f.Leaf = c.Prove(c.Append(leaf)) // the log takes whatever the registrar appends
		f.Case = fmt.Sprint("again-", f.Leaf.Index)
		return f
	}
	for name, row := range map[string]struct {
		file func() opening.CaseFile
		want string
	}{
		"the order, to another key": {func() opening.CaseFile {
			f := c.CaseFile()
			changed := c.Warrant
			changed.Requester.DeliveryKey = attacker.Public()
			signed, err := policy.SignWarrant(w.Key("square"), changed)
			if err != nil {
				t.Fatal(err)
			}
			f.Submission.Warrant = signed
			return f
		}, "custodian.case_mismatch"},
		"a redelivery that nobody signed": {func() opening.CaseFile { return redelivered("square", nil) }, "warrant.bad_signature"},
		"one that the court signed, with an order that is not in the log": {func() opening.CaseFile {
			f := redelivered("court", nil)
			f.Earlier = nil
			return f
		}, "warrant.earlier_unknown"},
		"one that the court signed, of a field more": {func() opening.CaseFile {
			return redelivered("court", func(w *policy.Warrant) { w.Fields = append(w.Fields, "birthdate") })
		}, "warrant.redelivery"},
		"the court's own": {func() opening.CaseFile { return redelivered("court", nil) }, ""},
	} {
		f := row.file()
		r, err := v.open("alba").Review(f.Case, f, v.since, openingtest.Now)
		if row.want != "" {
			if e := refusal.Of(err); e == nil || e.Code != row.want {
				t.Errorf("%s: %v because %v", name, err, errors.Unwrap(err))
			}
			continue
		}
		if err != nil || !strings.Contains(r.String(), "! it repeats the order of 2026-03-02, entry 1 of the public log, word for word") {
			t.Errorf("%s: %v because %v\n%s", name, err, errors.Unwrap(err), r)
		}
	}
}
