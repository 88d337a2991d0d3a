package opening_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/opening/openingtest"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// twoRounds is a case of three targets: the first is approved by two custodians and released,
// the second reaches its quorum later, and the third is declined.
func twoRounds(t *testing.T) (c *openingtest.Case, first, second opening.Round) {
	t.Helper()
	c = openingtest.New(t, nil).File(3, 2, nil)
	c.Decide(c.Answer("alba", 0, 1))
	c.Decide(c.Answer("bruno", 0))
	c.Authorise(0)
	first = c.Release(c.Package(0), 0)
	c.Decide(c.Answer("chidi", 0, 1))
	c.Authorise(1)
	return c, first, c.Release(c.Package(1), 1)
}

func code(err error) string {
	if e := refusal.Of(err); e != nil {
		return e.Code
	}
	return ""
}

// Each round is verified with the quorum of its targets, and the certificate says of each who
// approved it and when; a target that was declined has none.
func TestRoundsOfACase(t *testing.T) {
	c, first, second := twoRounds(t)
	d := c.Deliver(first, second)
	d.States = []opening.TargetState{{State: "released"}, {State: "released"}, {State: "declined", Code: "press_freedom"}}
	o, err := opening.Verify(d, c.Bundle)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	said := o.Certificate.Targets
	if o.Targets[0].Sealed == nil || o.Targets[1].Sealed == nil || o.Targets[2].Sealed != nil {
		t.Fatal("other targets are released")
	}
	if !slices.Equal(said[0].Custodians, []string{"alba", "bruno", "chidi"}) || !slices.Equal(said[1].Custodians, []string{"alba", "chidi"}) || said[2].Custodians != nil {
		t.Errorf("approved by %v, %v and %v", said[0].Custodians, said[1].Custodians, said[2].Custodians)
	}
	if said[0].Released != first.Released.Index || said[1].Released != second.Released.Index || said[0].Authorised >= said[0].Released || said[0].Package == said[1].Package {
		t.Errorf("%+v", said)
	}
	if said[2].State != "declined" || said[2].Refused != "press_freedom" || len(said[2].Posts) != 2 {
		t.Errorf("%+v", said[2])
	}
	// The first round alone is a delivery as well.
	if o, err = opening.Verify(c.Deliver(first), c.Bundle); err != nil || o.Targets[1].Sealed != nil {
		t.Error(err)
	}
}

// What is wrong in any round is found, whatever the log holds of it.
func TestRoundsThatAreNotLawful(t *testing.T) {
	for name, row := range map[string]struct {
		deliver func(c *openingtest.Case, first, second opening.Round) opening.Delivery
		want    error
	}{
		"the declined target released": {func(c *openingtest.Case, first, _ opening.Round) opening.Delivery {
			return c.Deliver(first, c.Release(c.Package(2), 2))
		}, opening.ErrNotLogged},
		"authorised without a quorum": {func(c *openingtest.Case, first, _ opening.Round) opening.Delivery {
			c.Authorise(2)
			return c.Deliver(first, c.Release(c.Package(2), 2))
		}, opening.ErrNotLogged},
		"a target more than the leaf says": {func(c *openingtest.Case, first, _ opening.Round) opening.Delivery {
			return c.Deliver(first, c.Release(c.Package(1, 2), 1))
		}, opening.ErrPackage},
		"another target than the leaf says": {func(c *openingtest.Case, first, _ opening.Round) opening.Delivery {
			return c.Deliver(first, c.Release(c.Package(2), 1))
		}, opening.ErrNotLogged},
		"one target twice": {func(c *openingtest.Case, first, second opening.Round) opening.Delivery {
			return c.Deliver(first, second, c.Release(c.Package(1), 1))
		}, opening.ErrPackage},
		"rounds in another order": {func(c *openingtest.Case, first, second opening.Round) opening.Delivery {
			return c.Deliver(second, first)
		}, opening.ErrPackage},
		"a round of another case": {func(c *openingtest.Case, first, _ opening.Round) opening.Delivery {
			return c.Deliver(first, otherRound(c))
		}, opening.ErrPackage},
		"no rounds": {func(c *openingtest.Case, _, _ opening.Round) opening.Delivery { return c.Deliver() }, opening.ErrPackage},
		"one byte of the second": {func(c *openingtest.Case, first, second opening.Round) opening.Delivery {
			second.Package[99] ^= 1
			return c.Deliver(first, second)
		}, opening.ErrPackage},
		"without the leaf that decides": {func(c *openingtest.Case, first, _ opening.Round) opening.Delivery {
			p := c.Package(1)
			p.Decided = p.Decided[:1]
			return c.Deliver(first, c.Release(p, 1))
		}, opening.ErrNotLogged},
		"under the old leaf": {func(c *openingtest.Case, _, _ opening.Round) opening.Delivery {
			c.Decide(c.Answer("bruno", 0, 1, 2))
			c.Decide(c.Answer("alba", 0, 1, 2))
			c.Authorise(0, 1, 2)
			p := c.Package(0, 1, 2)
			p.Decided, p.Authorised = nil, c.Prove(c.Append(proof.AuthorisedLeaf(openingtest.Now, c.Recorded)))
			return c.Deliver(c.Release(p, 0, 1, 2))
		}, opening.ErrPackage},
		"without an approval that was opened": {func(c *openingtest.Case, first, second opening.Round) opening.Delivery {
			d := c.Deliver(first, second)
			d.Approvals = d.Approvals[:2]
			return d
		}, opening.ErrNotLogged},
		"states of other targets": {func(c *openingtest.Case, first, second opening.Round) opening.Delivery {
			d := c.Deliver(first, second)
			d.States = make([]opening.TargetState, 2)
			return d
		}, opening.ErrPackage},
	} {
		t.Run(name, func(t *testing.T) {
			c, first, second := twoRounds(t)
			if _, err := opening.Verify(row.deliver(c, first, second), c.Bundle); code(err) != code(row.want) {
				t.Errorf("%v (%v), not %v", err, errors.Unwrap(err), row.want)
			}
		})
	}
}

// otherRound is a released round of another case in the same log.
func otherRound(c *openingtest.Case) opening.Round {
	other := c.File(1, 1, func(w *policy.Warrant) { w.ID = "another" })
	other.Decide(other.Answer("alba", 0))
	other.Decide(other.Answer("bruno", 0))
	other.Authorise(0)
	return other.Release(other.Package(0), 0)
}

// The log opens what custodians signed: a vote that was changed on its way there is found.
func TestLogOpensWhatWasSigned(t *testing.T) {
	c := openingtest.New(t, nil).File(2, 1, nil)
	for _, id := range []string{"alba", "bruno"} {
		signed, err := opening.SignApproval(c.Key(id), c.Answer(id, 0))
		if err != nil {
			t.Fatal(err)
		}
		c.Forge(signed, proof.Decision{Custodian: id, Votes: c.Marks(0, 1), Signed: []byte(signed)})
	}
	c.Authorise(0, 1)
	for _, targets := range [][]int{{0}, {0, 1}} {
		if _, err := opening.Verify(c.Deliver(c.Release(c.Package(targets...), targets...)), c.Bundle); !errors.Is(err, opening.ErrNotLogged) {
			t.Error(targets, err)
		}
	}
}

// An approval that answers for no target opens nothing where each is asked about; one that
// answers for others than the warrant has counts for none.
func TestApprovalOfOtherTargets(t *testing.T) {
	for name, row := range map[string]struct {
		change func(a *opening.Approval)
		want   error
	}{
		"none":         {func(a *opening.Approval) { a.Questions, a.Answers = nil, nil }, opening.ErrApprovalUnanswered},
		"one too many": {func(a *opening.Approval) { x := a.Answers[0]; x.Target = 7; a.Answers = append(a.Answers, x) }, opening.ErrApprovalTargets},
		"of its own":   {func(*opening.Approval) {}, nil},
	} {
		c := openingtest.New(t, nil).File(1, 1, nil)
		c.Decide(c.Answer("alba", 0))
		a := c.Answer("bruno", 0)
		row.change(&a)
		signed, err := opening.SignApproval(c.Key("bruno"), a)
		if err != nil {
			t.Fatal(name, err)
		}
		c.Forge(signed, proof.Decision{Custodian: "bruno", Votes: c.Marks(0), Signed: []byte(signed)})
		c.Authorise(0)
		if _, err := opening.Verify(c.Deliver(c.Release(c.Package(0), 0)), c.Bundle); code(err) != code(row.want) {
			t.Error(name, err)
		}
	}
}

// A refusal is no approval, however many there are of them.
func TestRefusalsOpenNothing(t *testing.T) {
	c := openingtest.New(t, nil).File(1, 1, nil)
	c.Decide(c.Answer("alba"))
	c.Decide(c.Answer("bruno"))
	c.Authorise(0)
	if _, err := opening.Verify(c.Deliver(c.Release(c.Package(0), 0)), c.Bundle); !errors.Is(err, opening.ErrNotLogged) {
		t.Error(err)
	}
}

// After an annulment nothing of what it is about may be used, and after a lapse nothing at
// all; both are believed only if the log holds them, and about this case.
func TestBarredUse(t *testing.T) {
	c, first, second := twoRounds(t)
	annulled := func(marks proof.Marks, of int64, kind string) opening.LoggedLeaf {
		l := proof.RecordedLeaf(openingtest.Now, proof.Facets{Jurisdiction: "GB", OffenceClass: "threat_to_life", WarrantKind: kind,
			Bundle: c.Bundle.Hash(), Salt: [32]byte{1}, Warrant: "w"})
		l.Case, l.Which = &of, marks
		return c.Prove(c.Append(l))
	}
	all := annulled(nil, c.Recorded, policy.Annulment)
	one := annulled(c.Marks(1), c.Recorded, policy.Annulment)
	lapsed := c.Prove(c.Append(proof.LapsedLeaf(openingtest.Now, c.Recorded, []string{"name"}, 2)))
	elsewhere := annulled(nil, c.Recorded-1, policy.Annulment)
	forged := all
	forged.Proof = first.Released.Proof
	for name, row := range map[string]struct {
		bar  opening.LoggedLeaf
		want error
	}{
		"all annulled": {all, opening.ErrAnnulled}, "lapsed": {lapsed, opening.ErrLapsed}, "one annulled": {one, nil},
		"of another case": {elsewhere, opening.ErrNotLogged}, "without a proof": {forged, opening.ErrNotLogged}, "a release": {first.Released, opening.ErrNotLogged},
	} {
		d := c.Deliver(first, second)
		d.Bars = []opening.LoggedLeaf{row.bar}
		o, err := opening.Verify(d, c.Bundle)
		if code(err) != code(row.want) {
			t.Error(name, err)
		}
		if name == "one annulled" && (o.Targets[0].Barred != nil || !errors.Is(o.Targets[1].Barred, opening.ErrAnnulled) || o.Certificate.Targets[1].Refused != opening.ErrAnnulled.Code) {
			t.Errorf("%+v", o.Certificate.Targets)
		}
	}
}

// Where nothing may be used nothing is handed over, and the requester learns why, and can
// still state that what they had is deleted.
func TestNothingOfABarredCaseIsHandedOver(t *testing.T) {
	c, first, second := twoRounds(t)
	lapsed := c.Prove(c.Append(proof.LapsedLeaf(openingtest.Now, c.Recorded, []string{"name"}, 2)))
	recorded := c.Package(0).Recorded
	barred := func(bars ...opening.LoggedLeaf) opening.Delivery {
		return opening.Delivery{Bars: bars, Barred: &opening.Barred{Recorded: recorded, Receipt: make([]byte, 32)}}
	}
	if hash, err := opening.CaseBundle(barred(lapsed)); err != nil || hash != c.Bundle.Hash() {
		t.Error(hash, err)
	}
	if _, err := barred(lapsed).Receipt(); err != nil {
		t.Error(err)
	}
	with := c.Deliver(first, second)
	with.Barred = barred().Barred
	for name, row := range map[string]struct {
		d    opening.Delivery
		want error
	}{
		"lapsed": {barred(lapsed), opening.ErrLapsed}, "without a reason": {barred(), opening.ErrPackage},
		"for another reason": {barred(first.Released), opening.ErrNotLogged}, "with packages": {with, opening.ErrPackage},
	} {
		if o, err := opening.Verify(row.d, c.Bundle); o != nil || code(err) != code(row.want) {
			t.Error(name, err)
		}
	}
}

// A delivery is saved for decades: what is written is what is read.
func TestDeliveryIsSaved(t *testing.T) {
	c, first, second := twoRounds(t)
	raw, err := json.Marshal(c.Deliver(first, second))
	if err != nil {
		t.Fatal(err)
	}
	var saved opening.Delivery
	if err := json.Unmarshal(raw, &saved); err != nil {
		t.Fatal(err)
	}
	if _, err := opening.Verify(saved, c.Bundle); err != nil {
		t.Error(err)
	}
	if hash, err := opening.CaseBundle(saved); err != nil || hash != c.Bundle.Hash() {
		t.Error(hash, err)
	}
}
