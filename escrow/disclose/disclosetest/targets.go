package disclosetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

// Order is a warrant of that kind with n targets that can be read again, for a quorum of one,
// and its leaf.
func Order(t testing.TB, kind string, n int, edits ...func(*policy.Warrant)) (disclose.Case, proof.Leaf) {
	t.Helper()
	c, _ := NewCase(kind)
	key, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	key.KeyID = "court"
	w := policy.Warrant{ID: c.WarrantID, Authority: c.Authority, Kind: kind, Jurisdiction: "GB", OffenceClass: "threats-to-kill", Fields: []string{"name"},
		IssuedAt: Day, Expiry: c.Expires, Secrecy: policy.Secrecy{Ends: c.SecrecyEnds}}
	for i := range n {
		name, err := token.NewPseudonym([]byte(fmt.Sprintf("%s%02d", c.WarrantID[:14], i)))
		if err != nil {
			t.Fatal(err)
		}
		w.Targets = append(w.Targets, policy.Target{Pseudonym: name, Platform: "town-square"})
	}
	for _, edit := range edits {
		edit(&w)
	}
	if c.Submission.Warrant, err = policy.SignWarrant(key, w); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	if c.Warrant, err = policy.ParseUnverified(c.Submission.Warrant); err != nil {
		t.Fatal(err)
	}
	c.WarrantHash, c.Authority, c.Secret = policy.Hash(c.Submission.Warrant), w.Authority, [32]byte{7}
	c.Expires, c.SecrecyEnds, c.Targets = w.Expiry, w.Secrecy.Ends, nil
	if k := policy.KindOf(kind); k.Evidence {
		c.Targets = slices.Repeat([]disclose.CaseTarget{{State: disclose.TargetWaiting}}, n)
	}
	return c, policy.RecordedLeaf(c.Submission.Warrant, c.Warrant, c.Salt, c.Bundle, c.Quorum, policy.KindOf(kind).When(Day))
}

// About is a warrant of that kind about an earlier case, against those of its targets, or
// against all without any.
func About(t testing.TB, kind string, earlier disclose.Case, authority string, which ...int) (disclose.Case, proof.Leaf) {
	t.Helper()
	c, leaf := Order(t, kind, 0, func(w *policy.Warrant) {
		w.Authority = authority
		for _, i := range which {
			w.Targets = append(w.Targets, earlier.Warrant.Targets[i])
		}
	})
	c.Earlier = &earlier.WarrantHash
	return c, leaf
}

// Votes is one custodian's decision, who agrees to those targets: it is the quorum for them.
func Votes(custodian string, which ...int) func(disclose.Case) (disclose.Change, error) {
	return func(c disclose.Case) (disclose.Change, error) {
		votes := proof.NewMarks(len(c.Targets))
		for _, i := range which {
			votes.Set(i)
		}
		a := opening.Approval{Case: c.ID, Custodian: custodian, WarrantHash: strings.Repeat("0", 64), Bundle: c.Bundle, LeafIndex: c.RecordedLeaf,
			CheckpointSize: c.RecordedLeaf + 1, Decision: opening.Approve, At: Day, Questions: []string{"Does this post show this offence?"}}
		for _, i := range which {
			a.Answers = append(a.Answers, opening.Answer{Target: i, Says: []string{opening.Yes}, Vote: opening.Approve})
		}
		key, err := document.NewKey()
		if err != nil {
			return disclose.Change{}, err
		}
		key.KeyID = custodian
		signed, err := opening.SignApproval(key, a)
		if err != nil {
			return disclose.Change{}, errors.Join(err, errors.Unwrap(err))
		}
		stored := disclose.Approval{Custodian: custodian, Approved: len(which) > 0, Signed: signed, Bundle: c.Bundle, Votes: votes}
		leaf, err := c.DecisionLeaf(stored)
		if err != nil {
			return disclose.Change{}, err
		}
		return disclose.Change{Approval: &stored, Steps: []disclose.Step{
			{Event: disclose.Approve, Leaf: leaf.On(proof.Day(Day))},
			{Event: disclose.Authorise, Leaf: c.DecidedLeaf(Day, which, stored), Which: which},
		}}, nil
	}
}

// Packs makes the package of a round.
func Packs(round int) func(disclose.Case) (disclose.Change, error) {
	return func(c disclose.Case) (disclose.Change, error) {
		pack := []byte(fmt.Sprint("package ", round, " of ", c.ID))
		after, err := c.After(disclose.Change{Round: round, Steps: []disclose.Step{{Event: disclose.Release, Leaf: proof.Leaf{Kind: proof.KindReleased}}}}, 1)
		if err != nil {
			return disclose.Change{}, err
		}
		leaf := after.ReleasedLeaf(round, sha256.Sum256(pack), true)
		return disclose.Change{Package: pack, Round: round, Steps: []disclose.Step{{Event: disclose.Release, Leaf: leaf.On(policy.KindOf(c.Kind).When(Day))}}}, nil
	}
}

// states are those of the targets, in the order of the warrant.
func states(c disclose.Case) (all []disclose.TargetState) {
	for _, t := range c.Targets {
		all = append(all, t.State)
	}
	return all
}

// stands checks where a case and its targets stand, and that it is read as it was returned.
func stands(t *testing.T, s Store, what string, c disclose.Case, state disclose.State, targets ...disclose.TargetState) disclose.Case {
	t.Helper()
	read := must[disclose.Case](t)(s.Case(t.Context(), c.ID))
	if read.State != state || !slices.Equal(states(read), targets) {
		t.Errorf("%s: %s with %v, want %s with %v", what, read.State, states(read), state, targets)
	}
	if sum := must[disclose.Summary](t)(s.Summary(t.Context(), c.ID)); sum != read.Summary() {
		t.Errorf("%s: the summary is\n%+v, not\n%+v", what, sum, read.Summary())
	}
	return read
}

func (s steps) apply(what string, change func(disclose.Case) (disclose.Change, error), state disclose.State, targets ...disclose.TargetState) {
	s.t.Helper()
	after, err := s.store.Apply(s.t.Context(), s.c.ID, change)
	if err != nil {
		s.t.Fatalf("%s: %v, %v", what, err, errors.Unwrap(err))
	}
	if read := stands(s.t, s.store, what, *s.c, state, targets...); !reflect.DeepEqual(read, after) {
		s.t.Errorf("%s: read as\n%+v, returned as\n%+v", what, read, after)
	}
	*s.c = after
}

// refuses checks that a change is refused and changes nothing.
func (s steps) refuses(what string, change func(disclose.Case) (disclose.Change, error), want error) {
	s.t.Helper()
	size := must[int64](s.t)(s.store.Size(s.t.Context()))
	if _, err := s.store.Apply(s.t.Context(), s.c.ID, change); err == nil || want != nil && !errors.Is(err, want) {
		s.t.Errorf("%s: %v", what, err)
	}
	if got := must[disclose.Case](s.t)(s.store.Case(s.t.Context(), s.c.ID)); !reflect.DeepEqual(got, *s.c) || must[int64](s.t)(s.store.Size(s.t.Context())) != size {
		s.t.Errorf("%s: %+v", what, got)
	}
}

type steps struct {
	t     *testing.T
	store Store
	c     *disclose.Case
}

const (
	waiting  = disclose.TargetWaiting
	authd    = disclose.TargetAuthorised
	out      = disclose.TargetReleased
	expired  = disclose.TargetExpired
	takenOff = disclose.TargetWithdrawn
	annulled = disclose.TargetStopped
	lapsed   = disclose.TargetLapsed
)

// rounds: what reaches its quorum is released, and what waits goes on.
func rounds(t *testing.T, s Store) {
	c, leaf := Order(t, policy.Production, 3)
	c = file(t, s, c, leaf)
	does := steps{t, s, &c}
	does.refuses("released before the quorum", Packs(0), nil)
	does.apply("the first reaches it", Votes("bar", 0), disclose.Authorised, authd, waiting, waiting)
	raw := must[[][]byte](t)(s.Leaves(t.Context(), c.Rounds[0].AuthorisedLeaf, c.Rounds[0].AuthorisedLeaf+1))
	if l := must[proof.Leaf](t)(proof.ParseLeaf(raw[0])); len(l.Opened) != 1 || l.Opened[0].Leaf != c.Approvals[0].Leaf || l.Which.Count() != 1 {
		t.Errorf("the leaf that decides opens %+v", l.Opened)
	}
	does.apply("released", Packs(0), disclose.Released, out, waiting, waiting)
	does.refuses("released twice", Packs(0), nil)
	does.refuses("authorised twice", Votes("late", 0), nil)
	does.apply("the second", Votes("press", 1), disclose.Authorised, out, authd, waiting)
	does.apply("the third, before the second is released", Votes("ombudsman", 2), disclose.Authorised, out, authd, authd)
	does.apply("the third is released first", Packs(2), disclose.Authorised, out, authd, out)
	does.apply("and the second", Packs(1), disclose.Released, out, out, out)
	for n := range 3 {
		if pack := must[[]byte](t)(s.Package(t.Context(), c.ID, n)); string(pack) != fmt.Sprint("package ", n, " of ", c.ID) {
			t.Errorf("round %d: %q", n, pack)
		}
	}
	if len(c.Rounds) != 3 || c.Rounds[2].ReleasedLeaf > c.Rounds[1].ReleasedLeaf {
		t.Errorf("%+v", c.Rounds)
	}
	does.apply("told", Notify, disclose.Noticed, out, out, out)
}

// partly: a court takes back some targets, and only those (L16).
func partly(t *testing.T, s Store) {
	c, leaf := Order(t, policy.Production, 3)
	c = file(t, s, c, leaf)
	later := func(what string, want error, authority string, which ...int) disclose.Case {
		t.Helper()
		w, leaf := About(t, policy.Withdrawal, c, authority, which...)
		filed, err := s.File(t.Context(), w, leaf)
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
		return filed
	}
	filed := later("of one target", nil, c.Authority, 1)
	c = stands(t, s, "of one target", c, disclose.Recorded, waiting, takenOff, waiting)
	raw := must[[][]byte](t)(s.Leaves(t.Context(), filed.RecordedLeaf, filed.RecordedLeaf+1))
	recorded := must[[][]byte](t)(s.Leaves(t.Context(), c.RecordedLeaf, c.RecordedLeaf+1))
	of := must[proof.Leaf](t)(proof.ParseLeaf(recorded[0]))
	mark, all := proof.MarksOf(of, c.Salt, proof.Target{Pseudonym: string(c.Warrant.Targets[1].Pseudonym), Platform: "town-square"})
	if l := must[proof.Leaf](t)(proof.ParseLeaf(raw[0])); !all || !reflect.DeepEqual(l.Which, mark) || l.Targets != 0 {
		t.Errorf("the leaf is about %x, not %x", l.Which, mark)
	}
	later("of that target again", disclose.ErrTooLate, c.Authority, 1)
	later("by another court", disclose.ErrNoEarlier, "other", 0)
	stranger, _ := Order(t, policy.Production, 1)
	w, leaf := About(t, policy.Withdrawal, stranger, c.Authority, 0)
	w.Earlier = &c.WarrantHash
	if _, err := s.File(t.Context(), w, leaf); !errors.Is(err, disclose.ErrOtherTargets) {
		t.Errorf("of a target that it does not name: %v", err)
	}
	does := steps{t, s, &c}
	does.refuses("authorised though it was taken back", Votes("bar", 0, 1), nil)
	does.apply("one of the others", Votes("bar", 0), disclose.Authorised, authd, takenOff, waiting)
	later("of what is authorised", nil, c.Authority, 0)
	c = stands(t, s, "of what is authorised", c, disclose.Authorised, takenOff, takenOff, waiting)
	does.refuses("released though it was taken back (I17)", Packs(0), nil)
	does.apply("the last one", Votes("press", 2), disclose.Authorised, takenOff, takenOff, authd)
	does.apply("is released", Packs(1), disclose.Released, takenOff, takenOff, out)
	later("of all, after that", disclose.ErrTooLate, c.Authority)
	does.apply("is told", Notify, disclose.Noticed, takenOff, takenOff, out)
}

// stopped: a superior court stops what is not released, and bars the use of what is.
func stopped(t *testing.T, s Store) {
	before, leaf := Order(t, policy.Production, 2)
	before = file(t, s, before, leaf)
	w, leaf := About(t, policy.Annulment, before, "superior")
	file(t, s, w, leaf)
	stands(t, s, "before it is released", before, disclose.Stopped, annulled, annulled)

	c, leaf := Order(t, policy.Production, 2)
	c = file(t, s, c, leaf, Votes("bar", 0), Packs(0))
	w, leaf = About(t, policy.Annulment, c, "superior", 0)
	w = file(t, s, w, leaf)
	c = stands(t, s, "after it is released", c, disclose.Released, out, waiting)
	if c.Targets[0].Code != disclose.ErrAnnulled.Code || c.Barred() != "annulled" || !slices.Equal(c.Annulments, []int64{w.RecordedLeaf}) {
		t.Errorf("%+v, annulled by %v", c.Targets, c.Annulments)
	}
	w, leaf = About(t, policy.Annulment, c, "superior")
	file(t, s, w, leaf)
	c = stands(t, s, "the rest", c, disclose.Released, out, annulled)

	mac := opening.DeletionMAC(c.DeletionReceipt(), "deleted on 21 November")
	does := steps{t, s, &c}
	states := func(said string, mac [32]byte) func(disclose.Case) (disclose.Change, error) {
		return func(c disclose.Case) (disclose.Change, error) { return c.StateDeletion(said, mac, Day) }
	}
	does.refuses("a statement that the receipt does not prove", states("deleted", mac), disclose.ErrReceipt)
	does.apply("the requester's statement", states("deleted on 21 November", mac), disclose.Released, out, annulled)
	if d := c.Deletion; d == nil || d.Said != "deleted on 21 November" || d.Leaf == 0 {
		t.Errorf("%+v", d)
	}
	size := must[int64](t)(s.Size(t.Context()))
	does.apply("the same again", states("deleted on 21 November", mac), disclose.Released, out, annulled)
	if must[int64](t)(s.Size(t.Context())) != size {
		t.Error("it is logged twice")
	}
	does.refuses("in a case of which nothing was delivered", func(disclose.Case) (disclose.Change, error) { return before.StateDeletion("x", [32]byte{}, Day) }, nil)
}

// ruled: what is answered or dismissed moves nothing; what is upheld falls, and its leaf marks it.
func ruled(t *testing.T, s Store) {
	order := func() disclose.Case {
		c, leaf := FirstOrder(t, 3)
		return file(t, s, c, leaf, Shows, Tells(true))
	}
	c, other := order(), order()
	is := func(what string, state disclose.State, targets ...disclose.TargetState) {
		t.Helper()
		if c = must[disclose.Case](t)(s.Case(t.Context(), c.ID)); c.State != state || !slices.Equal(states(c), targets) {
			t.Errorf("%s: %s with %v", what, c.State, states(c))
		}
	}
	objects := func(c disclose.Case, words string) [32]byte {
		t.Helper()
		must[struct{}](t)(struct{}{}, s.ObjectFor(t.Context(), c, 0, []byte(words), c.ApproveFrom))
		return sha256.Sum256([]byte(words))
	}
	ruling := func(about disclose.Case, digest [32]byte, outcome, authority string, which ...int) (disclose.Case, proof.Leaf) {
		w, leaf := About(t, policy.Ruling, about, authority, which...)
		w.Warrant.Ruling = &policy.RulingOn{Digest: hex.EncodeToString(digest[:]), Outcome: outcome}
		return w, leaf
	}
	rules := func(outcome, authority string, which ...int) proof.Leaf {
		t.Helper()
		w, leaf := ruling(c, objects(c, outcome+fmt.Sprint(which)), outcome, authority, which...)
		w = file(t, s, w, leaf)
		return must[proof.Leaf](t)(proof.ParseLeaf(must[[][]byte](t)(s.Leaves(t.Context(), w.RecordedLeaf, w.RecordedLeaf+1))[0]))
	}
	elsewhere := objects(other, "of another case")
	nothing := func(name string, digest [32]byte) {
		t.Helper()
		size := must[int64](t)(s.Size(t.Context()))
		for _, outcome := range []string{policy.Upheld, policy.Dismissed} {
			w, leaf := ruling(c, digest, outcome, c.Authority)
			if _, err := s.File(t.Context(), w, leaf); !errors.Is(err, disclose.ErrNoObjection) {
				t.Errorf("%s, %s: %v", name, outcome, err)
			}
		}
		if n := must[int64](t)(s.Size(t.Context())); n != size {
			t.Errorf("%s: a ruling on nothing is in the log", name)
		}
		is(name, disclose.Recorded, waiting, waiting, waiting)
	}
	nothing("nobody objected", [32]byte{0xab})
	nothing("an objection of another case", elsewhere)
	if l := rules(policy.Dismissed, "superior"); l.Which != nil || l.Annuls() || *l.Case != c.RecordedLeaf {
		t.Errorf("dismissed: %+v", l)
	}
	is("dismissed", disclose.Recorded, waiting, waiting, waiting)
	nothing("ruled on already", sha256.Sum256([]byte(policy.Dismissed+"[]")))
	if l := rules(policy.Upheld, c.Authority, 0, 1); l.Which.Count() != 2 || !l.Annuls() {
		t.Errorf("upheld for two: %+v", l)
	}
	is("upheld for two", disclose.Recorded, annulled, annulled, waiting)
	if l := rules(policy.Upheld, c.Authority); l.Which.Count() != 3 {
		t.Errorf("upheld for all: %+v", l)
	}
	is("upheld for the rest", disclose.Stopped, annulled, annulled, annulled)
}

// emergencies: validated in time, or lapsed in public (L26).
func emergencies(t *testing.T, s Store) {
	order := func() (disclose.Case, proof.Leaf) {
		c, leaf := Order(t, policy.Emergency, 2)
		c.ValidateBy = Day.Add(48 * time.Hour)
		return c, leaf
	}
	late := Day.Add(48 * time.Hour)
	lapse := func(c disclose.Case) (disclose.Change, error) { return c.Lapse(late) }
	c, leaf := order()
	valid := file(t, s, c, leaf, Votes("bar", 0), Packs(0))
	w, leaf := About(t, policy.Validation, valid, "judge")
	w = file(t, s, w, leaf)
	valid = stands(t, s, "validated", valid, disclose.Released, out, waiting)
	if valid.ValidatedLeaf != w.RecordedLeaf {
		t.Errorf("validated by %d, not %d", valid.ValidatedLeaf, w.RecordedLeaf)
	}
	w, leaf = About(t, policy.Validation, valid, "judge")
	if _, err := s.File(t.Context(), w, leaf); !errors.Is(err, disclose.ErrValidated) {
		t.Errorf("validated twice: %v", err)
	}
	does := steps{t, s, &valid}
	does.refuses("lapses though it was validated", lapse, disclose.ErrCaseClosed)

	undelivered, leaf := order()
	undelivered = file(t, s, undelivered, leaf)
	c, leaf = order()
	c = file(t, s, c, leaf, Votes("bar", 0), Packs(0))
	does = steps{t, s, &c}
	does.refuses("a second before", func(c disclose.Case) (disclose.Change, error) { return c.Lapse(late.Add(-time.Second)) }, disclose.ErrCaseClosed)
	does.apply("nobody validated it, and a name was delivered", lapse, disclose.Released, out, lapsed)
	raw := must[[][]byte](t)(s.Leaves(t.Context(), c.LapsedLeaf, c.LapsedLeaf+1))
	l := must[proof.Leaf](t)(proof.ParseLeaf(raw[0]))
	if l.Targets != 1 || !slices.Equal(l.Fields, []string{"name"}) || l.At != proof.Second(late) || c.Barred() != "lapsed" || c.Targets[0].Code != disclose.ErrLapsed.Code {
		t.Errorf("%+v, %+v", l, c.Targets)
	}
	does.refuses("lapses twice", lapse, disclose.ErrCaseClosed)
	c = undelivered
	does.apply("nothing was delivered", lapse, disclose.Lapsed, lapsed, lapsed)
	w, leaf = About(t, policy.Validation, c, "judge")
	if _, err := s.File(t.Context(), w, leaf); !errors.Is(err, disclose.ErrLapsed) {
		t.Errorf("validated too late: %v", err)
	}
}

// prolonged: holds and secrecy end when a later warrant says so (M5).
func prolonged(t *testing.T, s Store) {
	c, leaf := Order(t, policy.Preservation, 1)
	c = file(t, s, c, leaf)
	until := c.Expires.AddDate(0, 0, 30)
	extension := func(ends time.Time) (disclose.Case, proof.Leaf) {
		w, leaf := Order(t, policy.Extension, 0, func(w *policy.Warrant) { w.Expiry, w.Targets = ends, c.Warrant.Targets })
		w.Earlier = &c.WarrantHash
		return w, leaf
	}
	w, leaf := extension(until)
	file(t, s, w, leaf)
	if c = stands(t, s, "extended", c, disclose.Recorded, waiting); !c.Expires.Equal(until) {
		t.Errorf("held until %s, want %s", c.Expires, until)
	}
	w, leaf = extension(until)
	if _, err := s.File(t.Context(), w, leaf); !errors.Is(err, disclose.ErrShorter) {
		t.Errorf("extended to no longer: %v", err)
	}
	c, leaf = Order(t, policy.Production, 1)
	c = file(t, s, c, leaf, Votes("bar", 0), Packs(0))
	for _, change := range []struct {
		what string
		ends time.Time
		want error
	}{{"extended", c.SecrecyEnds.AddDate(0, 1, 0), nil}, {"lifted", Day, nil}, {"extended after it ended", Day.AddDate(0, 1, 0), disclose.ErrOver}} {
		what, ends := change.what, change.ends
		w, leaf := Order(t, policy.SecrecyChange, 0, func(w *policy.Warrant) { w.Secrecy.Ends = ends })
		w.Earlier, w.SecrecyEnds = &c.WarrantHash, ends
		if _, err := s.File(t.Context(), w, leaf); !errors.Is(err, change.want) {
			t.Errorf("%s: %v", what, err)
		} else if err != nil {
			ends = c.SecrecyEnds
		}
		if c = stands(t, s, what, c, disclose.Released, out); !c.SecrecyEnds.Equal(ends) {
			t.Errorf("%s: secret until %s, want %s", what, c.SecrecyEnds, ends)
		}
	}
}

// races: of a withdrawal and a release at the same moment one is first (F28, I17), and of two
// last decisions one authorises (F27).
func races(t *testing.T, s Store) {
	ctx := context.WithoutCancel(t.Context())
	for range 8 {
		c, leaf := Order(t, policy.Production, 1)
		c = file(t, s, c, leaf)
		var wg sync.WaitGroup
		authorised := make([]error, 3)
		for i := range authorised {
			wg.Go(func() { _, authorised[i] = s.Apply(ctx, c.ID, Votes(fmt.Sprint("custodian-", i), 0)) })
		}
		wg.Wait()
		if n := len(slices.DeleteFunc(authorised, func(err error) bool { return err != nil })); n != 1 {
			t.Fatalf("authorised %d times", n)
		}
		w, leaf := About(t, policy.Withdrawal, c, c.Authority)
		var withdrawn, released error
		wg.Go(func() { _, withdrawn = s.File(ctx, w, leaf) })
		wg.Go(func() { _, released = s.Apply(ctx, c.ID, Packs(0)) })
		wg.Wait()
		got := must[disclose.Case](t)(s.Case(ctx, c.ID))
		switch {
		case withdrawn == nil && released != nil && got.State == disclose.Withdrawn && got.Targets[0].State == takenOff:
		case released == nil && errors.Is(withdrawn, disclose.ErrTooLate) && got.State == disclose.Released && got.Targets[0].State == out:
		default:
			t.Fatalf("%s, withdrawn %v, released %v", got.State, withdrawn, released)
		}
	}
}

// filedCounts: what was filed counts by the day of its leaf, for authority and requester.
func filedCounts(t *testing.T, s Store) {
	counts := func(what, requester string, day time.Time, want policy.Filed) {
		t.Helper()
		if got := must[policy.Filed](t)(s.Filed(t.Context(), "court", requester, day, math.MaxInt64)); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
		if got := must[policy.Filed](t)(s.Filed(t.Context(), "court", requester, day, 0)); got != (policy.Filed{}) {
			t.Errorf("%s, before any leaf: %+v", what, got)
		}
	}
	for _, x := range []struct {
		kind, authority, requester string
		targets                    int
	}{{policy.Production, "court", "police", 3}, {policy.Preservation, "court", "police", 2}, {policy.Emergency, "court", "press", 1}, {policy.Production, "other", "police", 5},
		{policy.Redelivery, "court", "police", 3}} { // whose targets were counted with the order that it repeats
		c, leaf := Order(t, x.kind, x.targets, func(w *policy.Warrant) { w.Authority = x.authority })
		c.Requester = x.requester
		file(t, s, c, leaf)
	}
	counts("on that day", "police", Day.Add(time.Hour), policy.Filed{Today: 4, Authority30: 4, Requester30: 8})
	counts("30 days later", "police", Day.AddDate(0, 0, 30), policy.Filed{Authority30: 4, Requester30: 8})
	counts("31 days later", "police", Day.AddDate(0, 0, 31), policy.Filed{})
	counts("nobody", "", Day, policy.Filed{Today: 4, Authority30: 4})
	c, leaf := Order(t, policy.Production, 1)
	c.Filed = &policy.Filed{Today: 2, Authority30: 4}
	if _, err := s.File(t.Context(), c, leaf); !errors.Is(err, disclose.ErrFiledMeanwhile) {
		t.Errorf("another was filed meanwhile: %v", err)
	}
	c.Filed.Today = 4
	file(t, s, c, leaf)
}
