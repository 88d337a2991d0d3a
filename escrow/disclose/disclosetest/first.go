package disclosetest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// FirstOrder is an order of so many targets whose persons have ten days to object.
func FirstOrder(t *testing.T, targets int) (disclose.Case, proof.Leaf) {
	t.Helper()
	c, leaf := Order(t, policy.Production, targets)
	c.First = disclose.First{Days: 10, TellBy: Day.AddDate(0, 0, 3)}
	leaf.NoticeDays = 10
	return c, leaf
}

// Shows puts the notices on the pages.
func Shows(c disclose.Case) (disclose.Change, error) {
	n := disclose.Notice{First: true, Authority: "court", FileNumber: "1", LegalBasis: "1", Requester: "police", Fields: []string{"name"}, Leaf: c.RecordedLeaf, Day: Day}
	for i, t := range c.Warrant.Targets {
		n.To, n.Which = append(n.To, t), append(n.Which, i)
	}
	return disclose.Change{Notice: &n, Steps: []disclose.Step{{Event: disclose.Show}}}, nil
}

// Tells says that they were told, or not reached.
func Tells(reached bool) func(disclose.Case) (disclose.Change, error) {
	return func(c disclose.Case) (disclose.Change, error) {
		ch := disclose.Change{Steps: []disclose.Step{{Event: disclose.Tell, Leaf: proof.ToldLeaf(Day, c.RecordedLeaf, reached)}}}
		for _, o := range c.Objections {
			if o.Suspends && o.Leaf == 0 {
				ch.Steps = append(ch.Steps, disclose.Step{Event: disclose.Object, Leaf: proof.ObjectedLeaf(Day, c.RecordedLeaf)})
			}
		}
		return ch, nil
	}
}

// waitsFor reports whether a case is in a queue at a time.
func waitsFor(t *testing.T, s Store, q disclose.Queue, c disclose.Case, now time.Time) bool {
	t.Helper()
	page := must[[]disclose.Summary](t)(s.List(t.Context(), q, now, disclose.Cursor{}, 100))
	return slices.ContainsFunc(page, func(s disclose.Summary) bool { return s.ID == c.ID })
}

// stand is where the bar stands in a case.
func stand(t *testing.T, s Store, c disclose.Case) disclose.Stand {
	t.Helper()
	return must[map[string]disclose.Stand](t)(s.Stands(t.Context(), []string{c.ID}, "bar"))[c.ID]
}

// toldFirst: the days begin with the leaf, an objection in time stops the case until a court
// has ruled, and one that is upheld ends what it is about.
func toldFirst(t *testing.T, s Store) {
	ctx := t.Context()
	c, leaf := FirstOrder(t, 2)
	c = file(t, s, c, leaf)
	if !waitsFor(t, s, disclose.ForTelling, c, Day) || !waitsFor(t, s, disclose.ForCustodians, c, Day.AddDate(0, 0, 9)) || stand(t, s, c) != (disclose.Stand{First: true}) {
		t.Error("nobody was told, and custodians do not see it as such")
	}
	if err := s.ObjectFor(ctx, c, 0, []byte("early"), Day); !errors.Is(err, policy.ErrNoNotice) {
		t.Errorf("objected to what nobody was told: %v", err)
	}
	c = must[disclose.Case](t)(s.Apply(ctx, c.ID, Shows))
	if !c.First.Shown || !waitsFor(t, s, disclose.ForTelling, c, Day) {
		t.Errorf("on the page: %+v", c.First)
	}
	for _, words := range []string{"I did not write this.", "I did not write this."} { // the answer was lost
		must[struct{}](t)(struct{}{}, s.ObjectFor(ctx, c, 0, []byte(words), Day))
	}
	if _, err := s.Apply(ctx, c.ID, Votes("bar", 0)); err == nil {
		t.Error("authorised before anybody was told")
	}
	c = must[disclose.Case](t)(s.Apply(ctx, c.ID, Tells(false)))
	if c.First.Leaf == 0 || c.First.Reached || !c.ApproveFrom.Equal(Day.AddDate(0, 0, 11)) || waitsFor(t, s, disclose.ForTelling, c, Day) {
		t.Errorf("not reached: %+v from %s", c.First, c.ApproveFrom)
	}
	if o := c.Objections; len(o) != 1 || !o[0].Suspends || o[0].Leaf != c.First.Leaf+1 || o[0].Digest != sha256.Sum256([]byte("I did not write this.")) || !c.UnderObjection() {
		t.Errorf("objections: %+v", o)
	}
	if got := must[disclose.Case](t)(s.Case(ctx, c.ID)); !slices.Equal(got.Objections, c.Objections) || got.First != c.First || !got.ApproveFrom.Equal(c.ApproveFrom) {
		t.Errorf("read as %+v %+v", got.First, got.Objections)
	}
	if got := must[[]disclose.Objected](t)(s.Objections(ctx, c.ID)); len(got) != 1 || string(got[0].Sealed) != "I did not write this." || got[0].Objection != c.Objections[0] {
		t.Errorf("read: %+v", got)
	}
	if asked := must[map[string]disclose.Asked](t)(s.Asked(ctx, []string{c.ID}))[c.ID]; asked.Objections != 1 || asked.Questions != 0 || !asked.First || !asked.From.Equal(c.ApproveFrom) {
		t.Errorf("asked: %+v", asked)
	}
	if is := stand(t, s, c); !waitsFor(t, s, disclose.ForCustodians, c, Day.AddDate(0, 0, 9)) || !is.First || !is.Objected || !is.From.Equal(c.ApproveFrom) {
		t.Errorf("to custodians: %+v", is)
	}
	lawyers(t, s, c)
	rulings(t, s, must[disclose.Case](t)(s.Case(ctx, c.ID)))
}

// lawyers: a code is good once, and what comes too late stops nothing.
func lawyers(t *testing.T, s Store, c disclose.Case) {
	ctx, late := t.Context(), c.ApproveFrom
	code, unknown := sha256.Sum256([]byte("code "+c.ID)), sha256.Sum256([]byte("no code "+c.ID))
	if _, err := s.Coded(ctx, code, late); !errors.Is(err, policy.ErrNoNotice) {
		t.Errorf("a code that was not made: %v", err)
	}
	must[struct{}](t)(struct{}{}, s.CodeFor(ctx, c, 1, code, late))
	if told := must[policy.Coded](t)(s.Coded(ctx, code, late)); told.FileNumber != "1" || told.LegalBasis == "" || told.State != "waiting" || told.Days != c.First.Days || !told.Until.Equal(c.ApproveFrom) || told.Suspends(late) || !told.Suspends(Day) {
		t.Errorf("told by a code: %+v", told)
	}
	must[struct{}](t)(struct{}{}, s.Object(ctx, code, []byte("by a lawyer"), late))
	for name, hash := range map[string][32]byte{"used": code, "unknown": unknown} {
		if err := s.Object(ctx, hash, []byte("again"), late); !errors.Is(err, policy.ErrNoNotice) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if told := must[policy.Coded](t)(s.Coded(ctx, code, late)); told.FileNumber != "1" {
		t.Errorf("told by a used code: %+v", told)
	}
	for _, words := range []string{"two", "three"} {
		must[struct{}](t)(struct{}{}, s.ObjectFor(ctx, c, 1, []byte(words), late))
	}
	if err := s.ObjectFor(ctx, c, 1, []byte("four"), late); !errors.Is(err, policy.ErrObjections) {
		t.Errorf("a fourth: %v", err)
	}
	got := must[disclose.Case](t)(s.Case(ctx, c.ID))
	if len(got.Objections) != 4 || !got.Objections[1].Lawyer || got.Objections[1].Suspends || got.Objections[3].N != 3 {
		t.Errorf("objections: %+v", got.Objections)
	}
	if waitsFor(t, s, disclose.ForTelling, c, Day) {
		t.Error("what came too late waits for a leaf")
	}
}

// rulings end what suspends, and the texts go when the exhibits go.
func rulings(t *testing.T, s Store, c disclose.Case) {
	ctx := t.Context()
	rules := func(digest [32]byte, outcome string, which ...int) error {
		w, leaf := About(t, policy.Ruling, c, c.Authority, which...)
		w.Warrant.Ruling = &policy.RulingOn{Digest: hex.EncodeToString(digest[:]), Outcome: outcome}
		_, err := s.File(ctx, w, leaf)
		return err
	}
	if err := rules([32]byte{1}, policy.Dismissed); !errors.Is(err, disclose.ErrNoObjection) {
		t.Errorf("a ruling on nothing: %v", err)
	}
	must[struct{}](t)(struct{}{}, rules(c.Objections[0].Digest, policy.Dismissed))
	got := must[disclose.Case](t)(s.Case(ctx, c.ID))
	if got.UnderObjection() || got.Objections[0].Outcome != policy.Dismissed || got.Objections[0].Ruling == 0 || got.State != disclose.Recorded {
		t.Errorf("dismissed: %s %+v", got.State, got.Objections[0])
	}
	if o := must[[]disclose.Objected](t)(s.Objections(ctx, c.ID)); o[0].Ruled == nil || o[0].Ruled.Warrant == "" || o[0].RuledOn != proof.Day(Day) || o[1].Ruled != nil || o[1].RuledOn != "" {
		t.Errorf("the ruling: %+v", o)
	}
	if err := rules(got.Objections[1].Digest, policy.Upheld, 0); !errors.Is(err, disclose.ErrOtherPerson) {
		t.Errorf("upheld for another person: %v", err)
	}
	must[struct{}](t)(struct{}{}, rules(got.Objections[1].Digest, policy.Upheld, 1))
	got = must[disclose.Case](t)(s.Case(ctx, c.ID))
	if got.Targets[0].State != disclose.TargetWaiting || got.Targets[1].State != disclose.TargetStopped || got.Objections[1].Outcome != policy.Upheld {
		t.Errorf("upheld for one: %+v %+v", got.Targets, got.Objections[1])
	}
	must[disclose.Case](t)(s.Apply(ctx, c.ID, Expire))
	for _, at := range []struct {
		now  time.Time
		gone int
	}{{Day, 0}, {Day.AddDate(1, 0, 0), 1}} {
		if n := must[int](t)(s.DropExhibits(ctx, at.now)); n != at.gone {
			t.Errorf("dropped of %d cases, want %d", n, at.gone)
		}
	}
	for _, o := range must[[]disclose.Objected](t)(s.Objections(ctx, c.ID)) {
		if o.Sealed != nil {
			t.Errorf("a text is kept: %+v", o)
		}
	}
}
