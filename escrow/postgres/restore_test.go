package postgres

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/translog/translogtest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// future is the public log after a backup was taken: it begins with what the
// backup has.
type future struct {
	d    *Disclosing
	from int64
	log  *translogtest.Memory
}

func futureOf(t testing.TB, d *Disclosing) *future {
	t.Helper()
	size, err := d.Log.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := &future{d: d, from: size, log: new(translogtest.Memory)}
	have, err := d.Log.Leaves(t.Context(), 0, size)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range have {
		leaf, err := proof.ParseLeaf(raw)
		if err != nil {
			t.Fatal(err)
		}
		f.add(t, leaf)
	}
	return f
}

func (f *future) add(t testing.TB, leaf proof.Leaf) (index int64) {
	t.Helper()
	err := f.log.Update(t.Context(), func(tx translog.Tx) (err error) {
		index, err = translog.Sequence(t.Context(), tx, leaf)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func (f *future) leaves(t testing.TB, from int64) [][]byte {
	t.Helper()
	size, _ := f.log.Size(t.Context())
	leaves, err := f.log.Leaves(t.Context(), from, size)
	if err != nil {
		t.Fatal(err)
	}
	return leaves
}

func (f *future) restore(t testing.TB, bundles map[string][]byte) {
	t.Helper()
	if err := f.d.Restore(t.Context(), f.from, f.leaves(t, f.from), func(hash string) ([]byte, []string) { return bundles[hash], []string{"of " + hash} }); err != nil {
		t.Fatal(err, cause(err))
	}
}

func approvedLeaf(c *disclose.Case, custodian string) proof.Leaf {
	l := leafOf(c, proof.KindApproved)
	l.Custodian, l.Commitment = custodian, hex.EncodeToString(random(32))
	return l
}

func releasedLeaf(c *disclose.Case) proof.Leaf {
	l := leafOf(c, proof.KindReleased)
	l.Package = hex.EncodeToString(random(32))
	return l
}

func noticedLeaf(c *disclose.Case) proof.Leaf {
	l := leafOf(c, proof.KindNoticed)
	l.Salt = hex.EncodeToString(c.Salt[:])
	return l
}

// readable files a case whose warrant can be read again.
func readable(t testing.TB, d *Disclosing, quorum int) disclose.Case {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, leaf := newCase(quorum)
	digest := strings.Repeat("ab", 32)
	c.Submission.Warrant, err = policy.SignWarrant(jose.JSONWebKey{Key: key, KeyID: "court", Algorithm: "EdDSA"}, policy.Warrant{
		ID: "w", Kind: policy.Production, Authority: "court", Jurisdiction: "GB", FileNumber: "7 O 1/26", LegalBasis: "§ 1",
		OffenceClass: "threats-to-kill", Offence: "a threat", MaxPenaltyMonths: 60, Grounds: "g", Necessity: "n", Proportionality: "p",
		Targets:   []policy.Target{{Pseudonym: assignment(t).Pseudonym, Platform: "town-square", Evidence: digest}},
		Requester: policy.Requester{Name: "n", Organisation: "police", DeliveryKey: "pendk1.AAAA"}, Fields: []string{"name"},
		Deadline: policy.TenDays, Secrecy: policy.Secrecy{Ends: day, Reason: "r"}, Bundle: digest, Audience: "https://penname.example",
		IssuedAt: day, Expiry: day.AddDate(0, 1, 0),
	})
	if err != nil {
		t.Fatal(err, cause(err))
	}
	c.WarrantHash = sha256.Sum256([]byte(c.Submission.Warrant))
	leaf.Commitment = proof.Commit(c.Salt, "warrant", []byte(c.Submission.Warrant))
	if c, err = d.Cases.File(t.Context(), c, leaf); err != nil {
		t.Fatal(err, cause(err))
	}
	return c
}

// A withdrawal that a backup lost still counts: the case it ended is not open
// again.
func TestL16WithdrawalThatABackupLost(t *testing.T) {
	d := disclosing(t, database(t), Options{})
	c := file(t, d, 2)
	f := futureOf(t, d)
	_, leaf := withdrawalOf(t, d, c)
	leaf.Case = &c.RecordedLeaf
	f.add(t, leaf)
	f.restore(t, nil)
	if got, err := d.Cases.Case(t.Context(), c.ID); err != nil || got.State != disclose.Lost {
		t.Errorf("%s, %v", got.State, err)
	}
	consistent(t, d)
}

// I7: after a restored backup was brought back to the public log, every leaf has
// its row or is named as lost, and a case that moved on in the lost part does
// not move again.
func TestI7WhatABackupLostIsNamed(t *testing.T) {
	admin := database(t)
	d := disclosing(t, admin, Options{})
	ctx := t.Context()
	if err := install(ctx, d, []byte("{}"), nil); err != nil {
		t.Fatal(err)
	}
	untouched, approved, opened, authorised, released := file(t, d, 2), file(t, d, 2), readable(t, d, 1), file(t, d, 1), readable(t, d, 1)
	told, unreadable := readable(t, d, 1), file(t, d, 1)
	apply(t, d, authorised.ID, approve("bar"))
	for _, c := range []disclose.Case{released, unreadable} {
		apply(t, d, c.ID, approve("bar"))
		apply(t, d, c.ID, release)
	}
	consistent(t, d)

	f := futureOf(t, d)
	old, rules := []byte(`{"a":1}`), []byte(`{"a":2}`)
	f.add(t, bundleLeaf(old))
	f.add(t, bundleLeaf(rules))
	f.add(t, approvedLeaf(&approved, "bar"))
	for _, c := range []disclose.Case{opened, told} {
		f.add(t, approvedLeaf(&c, "bar"))
		f.add(t, leafOf(&c, proof.KindAuthorised))
		f.add(t, releasedLeaf(&c))
	}
	f.add(t, noticedLeaf(&told))
	f.add(t, releasedLeaf(&authorised))
	f.add(t, approvedLeaf(&released, "late"))
	f.add(t, noticedLeaf(&released))
	f.add(t, noticedLeaf(&unreadable))
	f.add(t, proof.Leaf{Version: 1, Kind: proof.KindRefused, Day: "2026-11-21", Code: "warrant.expired"})
	gone, leaf := newCase(1)
	gone.RecordedLeaf = f.add(t, leaf)
	f.add(t, approvedLeaf(&gone, "bar"))
	f.restore(t, map[string][]byte{hashOf(rules): rules})
	consistent(t, d)
	if size, _ := f.log.Size(ctx); value[int64](t, admin, `SELECT count(*) FROM log_leaves`) != size {
		t.Error("not all leaves are back")
	}
	if now, by, err := d.Bundles.Current(ctx); err != nil || string(now) != string(rules) || len(by) != 1 {
		t.Errorf("the rules in force are %q, endorsed by %v, %v", now, by, err)
	}

	for name, w := range map[string]struct {
		c       disclose.Case
		state   disclose.State
		notices int
	}{
		"untouched": {untouched, disclose.Recorded, 0}, "approved": {approved, disclose.Lost, 0}, "opened": {opened, disclose.Lost, 0},
		"authorised": {authorised, disclose.Lost, 0}, "released": {released, disclose.Noticed, 1}, "told": {told, disclose.Noticed, 1},
		"unreadable": {unreadable, disclose.Released, 0},
	} {
		got, err := d.Cases.Case(ctx, w.c.ID)
		if err != nil || got.State != w.state || notices(t, admin, got) != w.notices {
			t.Errorf("%s: %s with %d notices, %v", name, got.State, notices(t, admin, got), err)
		}
	}
	if cases, err := d.Erasures.Holding(ctx, day, -1, 100); err != nil || len(cases) != 5 { // all but the two that were noticed
		t.Errorf("%d cases hold their targets, %v", len(cases), err)
	}
	named := map[string]int{}
	lost, err := d.Lost(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lost {
		named[fmt.Sprint(l.Kind, " ", l.Case, l.CaseState)]++
	}
	for want, n := range map[string]int{
		"bundle ": 1, "refused ": 1, "recorded ": 1, "approved ": 1,
		"approved " + approved.ID + "lost": 1, "approved " + opened.ID + "lost": 1, "authorised " + opened.ID + "lost": 1, "released " + opened.ID + "lost": 1,
		"released " + authorised.ID + "lost": 1, "approved " + released.ID + "noticed": 1, "noticed " + unreadable.ID + "released": 1,
		"approved " + told.ID + "noticed": 1, "authorised " + told.ID + "noticed": 1, "released " + told.ID + "noticed": 1,
	} {
		if named[want] != n {
			t.Errorf("%q is named %d times", want, named[want])
		}
		delete(named, want)
	}
	if len(named) > 0 {
		t.Errorf("named as well: %v", named)
	}
	refuseTheOldState(t, admin, d, approved, opened, untouched)
}

// refuseTheOldState tries what would open a case twice, past the registrar.
func refuseTheOldState(t *testing.T, admin string, d *Disclosing, approved, opened, untouched disclose.Case) {
	t.Helper()
	for _, c := range []disclose.Case{approved, opened} {
		for _, change := range []func(disclose.Case) (disclose.Change, error){approve("bar"), approve("ombudsman"), release} {
			if _, err := d.Cases.Apply(t.Context(), c.ID, change); err == nil {
				t.Errorf("a case moved on from its old state")
			}
		}
	}
	dsn := as(t, admin, "penname_disclosing")
	for statement, want := range map[string]string{
		`INSERT INTO lost_leaves (leaf) VALUES (` + fmt.Sprint(untouched.RecordedLeaf) + `)`:              "lost_leaves_later",
		`UPDATE cases SET state = 'lost' WHERE id = '` + untouched.ID + `'`:                               "cases_lost",
		`UPDATE cases SET state = 'recorded' WHERE id = '` + approved.ID + `'`:                            "cases_transition",
		`UPDATE cases SET state = 'authorised', authorised_leaf = 1 WHERE id = '` + approved.ID + `'`:     "cases_transition",
		`UPDATE cases SET released_leaf = NULL WHERE id = '` + opened.ID + `'`:                            "cases_fixed",
		`UPDATE cases SET state = 'noticed', noticed_leaf = 1 WHERE id = '` + approved.ID + `'`:           "cases_state_has_leaf",
		`INSERT INTO approvals VALUES ('` + opened.ID + `', 'ombudsman', true, 's', 1)`:                   "approvals_case_state",
		`UPDATE cases SET package = 'x' WHERE id = '` + opened.ID + `'`:                                   "cases_state_has_leaf",
		`UPDATE cases SET state = 'noticed', noticed_leaf = released_leaf WHERE id = '` + opened.ID + `'`: "cases_leaf_order",
		`UPDATE cases SET state = 'released', package = 'x' WHERE id = '` + opened.ID + `'`:               "cases_transition",
		`UPDATE cases SET authorised_leaf = 1, released_leaf = 2 WHERE id = '` + opened.ID + `'`:          "cases_fixed",
		`UPDATE cases SET state = 'declined', authorised_leaf = NULL WHERE id = '` + opened.ID + `'`:      "cases_fixed",
		`UPDATE cases SET state = 'declined' WHERE id = '` + approved.ID + `'`:                            "cases_transition",
	} {
		if state, name := sqlState(try(t, dsn, statement)); state != "23514" || name != want {
			t.Errorf("%s: %s %s, want %s", statement, state, name, want)
		}
	}
	for _, statement := range []string{`DELETE FROM lost_leaves`, `UPDATE lost_leaves SET leaf = 0`, `TRUNCATE lost_leaves`} {
		if state, _ := sqlState(try(t, dsn, statement)); state != "42501" {
			t.Errorf("%s: %s", statement, state)
		}
		if state, name := sqlState(try(t, admin, statement)); state != "23514" || name != "append_only" {
			t.Errorf("%s as its owner: %s %s", statement, state, name)
		}
	}
	// The notice is still owed, and served once.
	c := apply(t, d, opened.ID, notice("pen1qqqqqqqqqqqqqqqqqqqqqqqqqq"))
	if pack, err := d.Cases.Package(t.Context(), c.ID, 0); c.State != disclose.Noticed || notices(t, admin, c) != 1 || pack != nil || err != nil {
		t.Errorf("%s, %d notices, %v", c.State, notices(t, admin, c), err)
	}
	consistent(t, d)
}

// Leaves that are there are not appended again, and others in their place are a
// fork.
func TestRestoreTwice(t *testing.T) {
	admin := database(t)
	d := disclosing(t, admin, Options{})
	c := file(t, d, 2)
	f := futureOf(t, d)
	f.add(t, approvedLeaf(&c, "bar"))
	f.add(t, approvedLeaf(&c, "ombudsman"))
	for range 2 {
		f.restore(t, nil)
	}
	consistent(t, d)
	other := f.leaves(t, f.from)[1:]
	wantErr(t, "other leaves", d.Restore(t.Context(), f.from, other, nil), translog.ErrFork)
	wantErr(t, "beyond the end", d.Restore(t.Context(), f.from+7, other, nil), translog.ErrFork)
	wantErr(t, "no leaf", d.Restore(t.Context(), f.from+2, [][]byte{[]byte("{}")}, nil), proof.ErrLeaf)
	if n := value[int](t, admin, `SELECT count(*) FROM lost_leaves`); n != 2 {
		t.Errorf("%d leaves are lost", n)
	}
}

// A record that was erased after the backup, and came back with it, is erased
// again by the next round of the keeping side, under the leaf that is public.
func TestD08ErasedAfterTheBackup(t *testing.T) {
	h := newHouse(t, 2)
	label, other, unasked := h.enrol(t).Person.Label, h.enrol(t).Person.Label, h.enrol(t).Person.Label
	receipt, pending := h.ask(t, label), h.ask(t, other)
	f := futureOf(t, h.d)
	c, recorded := newCase(1)
	c.RecordedLeaf = f.add(t, recorded)
	index := f.add(t, proof.Leaf{Version: 1, Kind: proof.KindErased, Day: "2026-11-21", Commitment: proof.Commit(receipt.Salt, "erasure", []byte(label))})
	f.add(t, proof.Leaf{Version: 1, Kind: proof.KindErased, Day: "2026-11-21", Commitment: proof.Commit([32]byte(random(32)), "erasure", []byte(unasked))})
	f.restore(t, nil)
	consistent(t, h.d)
	if h.rows(t)[label] == "" {
		t.Fatal("control: it is not back")
	}
	var k keep.Erasures = h.k
	if cleared, err := k.Cleared(t.Context(), "", 10); err != nil || len(cleared) != 1 || cleared[0].Label != label {
		t.Fatalf("cleared: %d, %v", len(cleared), err)
	}
	for want := 1; want >= 0; want-- {
		if n, err := h.keeper().Erase(t.Context()); n != want || err != nil {
			t.Fatalf("%d, %v, %s", n, err, cause(err))
		}
	}
	if rows := h.rows(t); rows[label] != "" || rows[other] == "" || rows[unasked] == "" {
		t.Error("the wrong records were erased")
	}
	if got := value[int64](t, h.admin, `SELECT leaf FROM erasures WHERE label = $1`, label); got != index {
		t.Errorf("erased under leaf %d, not %d", got, index)
	}
	if size, _ := h.d.Log.Size(t.Context()); size != f.from+3 {
		t.Errorf("%d leaves: one record is erased twice in the log", size)
	}
	// Who was not erased is erased by a leaf of their own.
	h.clear(t, pending.Label)
	if n, err := h.keeper().Erase(t.Context()); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	consistent(t, h.d)
	if _, err := h.keeper().Work(context.Background()); err != nil {
		t.Fatal(err, cause(err))
	}
}

func hashOf(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// A case that expired in what a backup lost is expired again, with its leaf; it
// is not lost, and it does not expire twice.
func TestExpiredInWhatABackupLost(t *testing.T) {
	admin := database(t)
	d := disclosing(t, admin, Options{})
	recorded, authorised, approved := file(t, d, 1), file(t, d, 1), file(t, d, 1)
	apply(t, d, authorised.ID, approve("bar"))
	f := futureOf(t, d)
	f.add(t, approvedLeaf(&approved, "bar"))
	f.add(t, leafOf(&approved, proof.KindAuthorised))
	at := map[string]int64{}
	for _, c := range []disclose.Case{recorded, authorised, approved} {
		at[c.ID] = f.add(t, proof.ExpiredLeaf(day, c.RecordedLeaf))
	}
	f.restore(t, nil)
	consistent(t, d)
	for id, leaf := range at {
		if got, err := d.Cases.Case(t.Context(), id); err != nil || got.State != disclose.Expired || got.ExpiredLeaf != leaf {
			t.Errorf("%s with leaf %d, want %d, %v", got.State, got.ExpiredLeaf, leaf, err)
		}
	}
	if lost, err := d.Lost(t.Context()); err != nil || len(lost) != 2 || lost[0].CaseState != disclose.Expired {
		t.Errorf("lost %+v, %v", lost, err)
	}
	r := &disclose.Registrar{Cases: d.Cases, Now: func() time.Time { return day.AddDate(1, 0, 0) }}
	if n, err := r.Expire(t.Context()); n != 0 || err != nil {
		t.Errorf("%d expired twice, %v", n, err)
	}
	last := file(t, d, 1)
	if n, err := r.Expire(t.Context()); n != 1 || err != nil {
		t.Errorf("%d expired, %v", n, err)
	}
	if got, err := d.Cases.Case(t.Context(), last.ID); err != nil || got.State != disclose.Expired {
		t.Errorf("%s, %v", got.State, err)
	}
	consistent(t, d)
}

// What a backup lost of a case that is decided target by target keeps what the log says: the
// use of what was annulled or lapsed stays forbidden, ends stay put off, and nothing is
// released that the log may have released already.
func TestWhatABackupLostOfTargetsIsInTheLog(t *testing.T) {
	admin := database(t)
	house := disclosing(t, admin, Options{})
	ctx := t.Context()
	file := func(d *Disclosing, c disclose.Case, leaf proof.Leaf, changes ...func(disclose.Case) (disclose.Change, error)) disclose.Case {
		t.Helper()
		c, err := d.Cases.File(ctx, c, leaf)
		if err != nil {
			t.Fatal(err, cause(err))
		}
		for _, change := range changes {
			c = apply(t, d, c.ID, change)
		}
		return c
	}
	order := func(kind string, changes ...func(disclose.Case) (disclose.Change, error)) disclose.Case {
		t.Helper()
		c, leaf := disclosetest.Order(t, kind, 2)
		if kind == policy.Emergency {
			c.ValidateBy = day.Add(48 * time.Hour)
		}
		return file(house, c, leaf, changes...)
	}
	votes, packs := disclosetest.Votes, disclosetest.Packs
	whole := order(policy.Production, votes("bar", 0), packs(0), votes("press", 1), packs(1))
	later := order(policy.Production, votes("bar", 0), packs(0))
	annulled, partly := order(policy.Production, votes("bar", 0), packs(0)), order(policy.Production, votes("bar", 0, 1), packs(0))
	held, secret := order(policy.Preservation), order(policy.Production, votes("bar", 0), packs(0))
	lapsed, undelivered, validated := order(policy.Emergency, votes("bar", 0), packs(0)), order(policy.Emergency), order(policy.Emergency)
	all := []disclose.Case{whole, later, annulled, partly, held, secret, lapsed, undelivered, validated}
	backup, size, house := backupOf(t, admin, house)

	apply(t, house, later.ID, votes("press", 1))
	apply(t, house, later.ID, packs(1))
	about := func(kind string, earlier disclose.Case, edit func(*disclose.Case, *proof.Leaf), which ...int) {
		t.Helper()
		c, leaf := disclosetest.About(t, kind, earlier, cmp.Or(map[string]string{policy.Annulment: "superior", policy.Validation: "judge"}[kind], earlier.Authority), which...)
		if edit != nil {
			edit(&c, &leaf)
		}
		file(house, c, leaf)
	}
	about(policy.Annulment, annulled, nil)
	about(policy.Annulment, partly, nil, 1)
	about(policy.Validation, validated, nil)
	about(policy.Extension, held, func(c *disclose.Case, leaf *proof.Leaf) {
		c.Expires = held.Expires.AddDate(0, 0, 30)
		leaf.HoldEnds = c.Expires.Format(time.DateOnly)
	}, 0, 1)
	about(policy.SecrecyChange, secret, func(c *disclose.Case, leaf *proof.Leaf) {
		c.SecrecyEnds = secret.SecrecyEnds.Truncate(24*time.Hour).AddDate(0, 1, 0)
		leaf.SecrecyEnds = c.SecrecyEnds.Format(time.DateOnly)
	})
	for _, c := range []disclose.Case{lapsed, undelivered} {
		apply(t, house, c.ID, func(c disclose.Case) (disclose.Change, error) { return c.Lapse(day.Add(48 * time.Hour)) })
	}
	d := backupUpTo(t, house, backup, size)
	for _, c := range all {
		want, err := house.Cases.Case(ctx, c.ID)
		if err != nil {
			t.Fatal(err)
		}
		switch c.ID {
		case later.ID: // its second round is in no package
			want.State, want.Rounds, want.Approvals = disclose.Lost, want.Rounds[:1], want.Approvals[:1]
			want.Targets[1].Round = 0
		case held.ID: // the leaf tells the day
			want.Expires = want.Expires.Truncate(24*time.Hour).AddDate(0, 0, 1)
		}
		if have, err := d.Cases.Case(ctx, c.ID); err != nil || !reflect.DeepEqual(have, want) {
			t.Errorf("%s, %v: %s %+v %+v %s %s %q\nwant %s %+v %+v %s %s %q", c.Kind, err, have.State, have.Targets, have.Rounds, have.Expires, have.SecrecyEnds, have.Barred(),
				want.State, want.Targets, want.Rounds, want.Expires, want.SecrecyEnds, want.Barred())
		}
	}
	if _, err := d.Cases.Apply(ctx, later.ID, packs(1)); err == nil {
		t.Error("a round is released again")
	}
	for _, c := range []disclose.Case{later, annulled} {
		c = apply(t, d, c.ID, func(c disclose.Case) (disclose.Change, error) {
			told, err := notice(pseudonym(t))(c)
			told.Steps[0].Leaf = told.Steps[0].Leaf.On(proof.Day(day.AddDate(0, 0, 2)))
			return told, err
		})
		if c.State != disclose.Noticed {
			t.Errorf("%s", c.State)
		}
	}
	consistent(t, d)
}

// A decision that a backup lacks wholly, or of which it has but the first part, has its row.
func TestWhatABackupLostOfADecisionIsInTheLog(t *testing.T) {
	admin := database(t)
	house := disclosing(t, admin, Options{})
	var filed, decided disclose.Case
	for _, c := range []*disclose.Case{&filed, &decided} {
		order, leaf := disclosetest.Order(t, policy.Production, 2)
		var err error
		if *c, err = house.Cases.File(t.Context(), order, leaf); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	votes, packs := disclosetest.Votes, disclosetest.Packs
	apply(t, house, decided.ID, votes("bar", 0))
	backup, size, house := backupOf(t, admin, house)
	for _, change := range []func(disclose.Case) (disclose.Change, error){votes("bar", 0), packs(0), votes("press", 1), packs(1)} {
		apply(t, house, filed.ID, change)
	}
	apply(t, house, decided.ID, packs(0))
	d := backupUpTo(t, house, backup, size)
	for _, c := range []disclose.Case{filed, decided} {
		got, err := d.Cases.Case(t.Context(), c.ID)
		if err != nil || got.State != disclose.Lost || got.Targets[0].State != disclose.TargetReleased {
			t.Errorf("%s %+v, %v", got.State, got.Targets, err)
		}
	}
}

// backupOf is a backup of a house as it is now, of so many leaves. The house goes on, as it is returned.
func backupOf(t *testing.T, admin string, house *Disclosing) (backup string, size int64, goesOn *Disclosing) {
	t.Helper()
	size, err := house.Log.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	house.Close()
	backup = emptyDatabase(t, `TEMPLATE `+pathOf(admin)[1:])
	if err := Migrate(t.Context(), backup); err != nil { // grants on the database are no part of it
		t.Fatal(err, cause(err))
	}
	return backup, size, disclosing(t, admin, Options{})
}

// backupUpTo is a backup of the first size leaves of a house, with what the log says since.
func backupUpTo(t *testing.T, house *Disclosing, backup string, size int64) *Disclosing {
	t.Helper()
	end, err := house.Log.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := house.Log.Leaves(t.Context(), size, end)
	if err != nil {
		t.Fatal(err)
	}
	d := disclosing(t, backup, Options{})
	if err := d.Restore(t.Context(), size, leaves, func(string) ([]byte, []string) { return nil, nil }); err != nil {
		t.Fatal(err, cause(err))
	}
	consistent(t, d)
	return d
}
