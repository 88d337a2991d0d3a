package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// house is a database with its three sides, and a key service.
type house struct {
	group int // into which people come
	admin string
	s     *Issuing
	d     *Disclosing
	k     *Keeping
	wrap  *sandbox.IssuingKeyring
	open  *sandbox.DisclosingKeyring
	keys  *sandbox.KeepingKeyring
	halfs map[string][]byte // what was wrapped, by label
	conn  *pgx.Conn         // the administrator's
}

func keeping(t testing.TB, admin string, o Options) *Keeping {
	t.Helper()
	k, err := OpenKeeping(t.Context(), as(t, admin, "penname_keeping"), o)
	if err != nil {
		t.Fatalf("%v: %v", err, cause(err))
	}
	t.Cleanup(k.Close)
	return k
}

func newHouse(t testing.TB, n int) *house {
	t.Helper()
	h := houseOn(t, database(t))
	for range n {
		h.enrol(t)
	}
	return h
}

// houseOn is a house on a database that was migrated.
func houseOn(t testing.TB, admin string) *house {
	t.Helper()
	h := &house{admin: admin, halfs: map[string][]byte{}}
	h.conn = connect(t, h.admin)
	if _, err := h.conn.Exec(t.Context(), `SET search_path = penname`); err != nil {
		t.Fatal(err)
	}
	h.s, h.d, h.k = issuing(t, h.admin, Options{}), disclosing(t, h.admin, Options{}), keeping(t, h.admin, Options{})
	h.wrap, h.open, h.keys = sandbox.NewKeyring([32]byte(random(32)))
	return h
}

func (h *house) enrol(t testing.TB) issue.Enrolment {
	t.Helper()
	e := enrolment()
	half := random(32)
	var err error
	if e.Record.FirstHalf, err = h.wrap.WrapHalfIn(t.Context(), h.group, e.Person.Label, half); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.s.Enrol(t.Context(), e); err != nil {
		t.Fatal(err, cause(err))
	}
	h.halfs[e.Person.Label] = half
	return e
}

// openGroups makes so many groups, which are open since before everybody came.
func (h *house) openGroups(t testing.TB, n int) {
	t.Helper()
	for group := range n {
		if err := h.keys.Open(t.Context(), group+1); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.k.AddGroups(t.Context(), 1, n, day.AddDate(0, 0, -7)); err != nil {
		t.Fatal(err, cause(err))
	}
}

func (h *house) keeper() *keep.Keeper {
	return &keep.Keeper{Keys: h.keys, Past: h.k, Rotations: h.k, Erasures: h.k, Now: func() time.Time { return day }, Batch: 4}
}

// ask is a person's request.
func (h *house) ask(t testing.TB, label string) issue.Receipt {
	t.Helper()
	r, err := h.s.Ask(t.Context(), issue.Receipt{Label: label, Salt: [32]byte(random(32)), Day: day})
	if err != nil {
		t.Fatal(err, cause(err))
	}
	return r
}

func (h *house) clear(t testing.TB, label string) {
	t.Helper()
	newest, err := h.d.Erasures.Newest(t.Context())
	if err == nil {
		err = h.d.Erasures.Clear(t.Context(), []string{label}, newest)
	}
	if err != nil {
		t.Fatal(err, cause(err))
	}
}

// one reads one value on a connection that stays.
func one[T any](t testing.TB, c *pgx.Conn, query string, args ...any) (v T) {
	t.Helper()
	if err := c.QueryRow(t.Context(), query, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (h *house) rows(t testing.TB) map[string]string {
	t.Helper()
	rows, err := h.conn.Query(t.Context(), `SELECT label, first_half FROM records`)
	if err != nil {
		t.Fatal(err)
	}
	halves, err := pgx.CollectRows(rows, pgx.RowToStructByPos[keep.Half])
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, x := range halves {
		all[x.Label] = x.Wrapped
	}
	return all
}

// whole checks that every record that was not erased opens, as itself.
func (h *house) whole(t testing.TB) {
	t.Helper()
	rows := h.rows(t)
	for label, want := range h.halfs {
		if rows[label] == "" {
			continue // erased
		}
		if got, err := escrowtest.UnwrapHalf(t.Context(), h.open, label, rows[label]); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("a record was lost: %v", err)
		}
	}
	if n := one[int](t, h.conn, `SELECT coalesce(max(n), 0) FROM (SELECT count(*) n FROM rotations WHERE state <> 'done' GROUP BY key_group) r`); n > 1 {
		t.Fatalf("%d active rotations", n)
	}
}

func (h *house) rotated(t testing.TB) {
	t.Helper()
	r, err := h.keeper().RotateGroup(t.Context(), h.group)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	oldest, newest, err := h.keys.Versions(t.Context(), h.group)
	if err != nil || oldest != newest || newest != r.Version {
		t.Fatalf("versions %d to %d after the rotation to %d, %v", oldest, newest, r.Version, err)
	}
	h.whole(t)
}

// faulty dies at one of the calls that a keeper makes, before or after it.
type faulty struct {
	keep.Keys
	keep.Rotations
	mu    sync.Mutex // a batch is stored while the next is read and rewrapped
	calls int
	dieAt int
	after bool
}

var errKilled = refusal.New(refusal.Unavailable, "test.killed", "killed")

func (f *faulty) step(call func() error) error {
	f.mu.Lock()
	f.calls++
	dies := f.calls == f.dieAt
	f.mu.Unlock()
	if dies && !f.after {
		return errKilled
	}
	err := call()
	if dies {
		return errKilled
	}
	return err
}

type faultyKeys struct{ *faulty }

func (f faultyKeys) Versions(ctx context.Context, g int) (o, n int, err error) {
	err = f.step(func() (err error) { o, n, err = f.Keys.Versions(ctx, g); return err })
	return o, n, err
}
func (f faultyKeys) Rotate(ctx context.Context, g int) error {
	return f.step(func() error { return f.Keys.Rotate(ctx, g) })
}
func (f faultyKeys) Rewrap(ctx context.Context, g int, h []keep.Half) (out []string, err error) {
	err = f.step(func() (err error) { out, err = f.Keys.Rewrap(ctx, g, h); return err })
	return out, err
}
func (f faultyKeys) Retire(ctx context.Context, g, oldest int) error {
	return f.step(func() error { return f.Keys.Retire(ctx, g, oldest) })
}

type faultyRotations struct{ *faulty }

func (f faultyRotations) Begin(ctx context.Context, g, v int) (r keep.Rotation, release func(), err error) {
	err = f.step(func() (err error) { r, release, err = f.Rotations.Begin(ctx, g, v); return err })
	if err != nil && release != nil {
		release() // the connection of the dead holds nothing
	}
	return r, release, err
}
func (f faultyRotations) Older(ctx context.Context, r keep.Rotation, oldest, n int) (h []keep.Half, err error) {
	err = f.step(func() (err error) { h, err = f.Rotations.Older(ctx, r, oldest, n); return err })
	return h, err
}
func (f faultyRotations) Move(ctx context.Context, r keep.Rotation, from []keep.Half, to []string) (out keep.Rotation, err error) {
	err = f.step(func() (err error) { out, err = f.Rotations.Move(ctx, r, from, to); return err })
	return out, err
}
func (f faultyRotations) Shut(ctx context.Context, r keep.Rotation) (out keep.Rotation, err error) {
	err = f.step(func() (err error) { out, err = f.Rotations.Shut(ctx, r); return err })
	return out, err
}
func (f faultyRotations) Finish(ctx context.Context, r keep.Rotation, oldest int) (out keep.Rotation, err error) {
	err = f.step(func() (err error) { out, err = f.Rotations.Finish(ctx, r, oldest); return err })
	return out, err
}

// F37: killed at every step of a rotation, before it was taken and after: every
// record opens at that moment, one rotation is active, and the next run ends it.
func TestF37KilledAtEveryStepOfARotation(t *testing.T) {
	h := newHouse(t, 1)
	h.openGroups(t, 2)
	h.group = 2
	for range 10 {
		h.enrol(t)
	}
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			f := &faulty{Keys: h.keys, Rotations: h.k, dieAt: n, after: after}
			k := h.keeper()
			k.Keys, k.Rotations = faultyKeys{f}, faultyRotations{f}
			_, err := k.RotateGroup(t.Context(), h.group)
			h.whole(t)
			if err == nil {
				if n < 15 {
					t.Fatalf("only %d steps", n)
				}
				break
			}
			if !errors.Is(err, errKilled) {
				t.Fatalf("step %d: %v: %v", n, err, cause(err))
			}
			if n%8 == 0 {
				h.enrol(t) // while it stands still
			}
			h.rotated(t)
		}
	}
	if left := one[int](t, h.conn, `SELECT count(*) FROM rotations WHERE state <> 'done'`); left != 0 {
		t.Errorf("%d rotations are not done", left)
	}
}

// F37 again, with the connection to the database lost at every message.
func TestF37ConnectionLostAtEveryMessageOfARotation(t *testing.T) {
	h := newHouse(t, 6)
	n := new(network)
	k := keeping(t, h.admin, Options{Dial: n.dial, MaxConns: 2})
	for _, after := range []bool{false, true} {
		for skip := 0; ; skip++ {
			broken := h.keeper()
			broken.Rotations = k
			n.arm(skip, after, false)
			_, err := broken.RotateGroup(t.Context(), h.group)
			hit := n.mend()
			h.whole(t)
			if err != nil {
				if r := refusal.Of(err); r == nil || r.Kind != refusal.Unavailable {
					t.Fatalf("message %d, after=%v: %v: %v", skip, after, err, cause(err))
				}
				for err != nil { // the server may not have noticed yet
					if _, err = h.keeper().RotateGroup(t.Context(), h.group); err != nil && !errors.Is(err, keep.ErrRunning) {
						t.Fatal(err, cause(err))
					}
				}
				h.whole(t)
			}
			if !hit {
				if skip < 10 {
					t.Fatalf("only %d messages", skip)
				}
				break
			}
		}
	}
}

// Two rotations at once are one; and people enrol all the while.
func TestRotationWhileServing(t *testing.T) {
	h := newHouse(t, 20)
	pk, _, err := escrowtest.ThresholdKey(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	issuer := &issue.Issuer{Keys: h.wrap, Store: h.s, Custodians: func() (seal.Custodians, error) { return seal.Custodians{Key: pk}, nil }, Now: func() time.Time { return day }}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				id := identity.Identity{Issuer: "https://idp.example", Subject: identity.Private(fmt.Sprint(i, "-", n)),
					Name: identity.Private(fmt.Sprint("Jo ", i, " ", n)), Birthdate: "1980-01-01"}
				if _, first, err := issuer.Enrol(t.Context(), id); err != nil || !first {
					t.Errorf("an enrolment failed: %v %v", err, cause(err))
				}
			}
		})
	}
	for range 3 {
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if _, err := h.keeper().RotateGroup(t.Context(), h.group); err != nil && !errors.Is(err, keep.ErrRunning) {
					t.Error(err, cause(err))
				}
			})
		}
		both.Wait()
	}
	stop()
	wg.Wait()
	h.whole(t)
	for label, half := range h.rows(t) {
		if got, err := escrowtest.UnwrapHalf(t.Context(), h.open, label, half); err != nil || len(got) != 32 {
			t.Fatalf("who enrolled during a rotation is lost: %v", err)
		}
	}
	if n := one[int](t, h.conn, `SELECT count(*) FROM rotations`); n < 3 {
		t.Errorf("%d rotations", n)
	}
}

// A half that was wrapped before a rotation and arrives after it would be lost.
func TestARetiredHalfIsNotLetIn(t *testing.T) {
	h := newHouse(t, 1)
	late := enrolment()
	var err error
	if late.Record.FirstHalf, err = h.wrap.WrapHalf(t.Context(), late.Person.Label, random(32)); err != nil {
		t.Fatal(err)
	}
	h.rotated(t)
	_, _, err = h.s.Enrol(t.Context(), late)
	wantErr(t, "a retired half", err, issue.ErrOlderKey)
	if n := one[int](t, h.conn, `SELECT count(*) FROM persons`); n != 1 {
		t.Errorf("%d persons", n)
	}
}

// The groups of others are nothing to an erasure: their records and keys stay as they are,
// and a copy of the database from before it opens for all of them. Of the group of who was
// erased no copy from before opens, for nobody's sake, and today's rows do.
func TestI28AnErasureIsOfItsGroupAlone(t *testing.T) {
	h := newHouse(t, 0)
	h.openGroups(t, 3)
	of := map[string]int{}
	for i := range 16 {
		h.group = i % 4 // 0 is one, too
		of[h.enrol(t).Person.Label] = h.group
	}
	h.group = 2
	victim := h.enrol(t).Person.Label
	of[victim] = h.group
	backup := h.rows(t)
	h.ask(t, victim)
	h.clear(t, victim)
	if n, err := h.keeper().Work(t.Context()); n != 1 || err != nil {
		t.Fatal(n, err, cause(err))
	}
	h.whole(t)
	rows := h.rows(t)
	for label, group := range of {
		_, err := escrowtest.UnwrapHalf(t.Context(), h.open, label, backup[label])
		switch {
		case group == 2 && !errors.Is(err, keep.ErrArchived):
			t.Errorf("a copy of the group of who was erased: %v", err)
		case group != 2 && (err != nil || rows[label] != backup[label]):
			t.Errorf("a record of group %d: %v, moved: %v", group, err, rows[label] != backup[label])
		}
	}
	for group, want := range [][2]int{{1, 1}, {1, 1}, {2, 2}, {1, 1}} {
		if o, n, err := h.keys.Versions(t.Context(), group); err != nil || [2]int{o, n} != want {
			t.Errorf("group %d has the versions %d to %d, %v", group, o, n, err)
		}
	}
	if done := one[string](t, h.conn, `SELECT string_agg(key_group || ' ' || version || ' ' || state || ' ' || records, ', ') FROM rotations`); done != "2 2 done 4" {
		t.Errorf("rotations %s", done)
	}
	if erasure := one[string](t, h.conn, `SELECT key_group || ' ' || version FROM erasures`); erasure != "2 1" {
		t.Errorf("erasure %s", erasure)
	}
	consistent(t, h.d)
}

// Who enrols comes into a group that is open on their day, or is refused as with a key that
// is retired: else the group would tell when on that day.
func TestAGroupIsOpenByTheDay(t *testing.T) {
	h, ctx := newHouse(t, 0), t.Context()
	tomorrow := day.AddDate(0, 0, 1)
	h.openGroups(t, 2)
	if err := h.keys.Open(ctx, 3); err != nil {
		t.Fatal(err)
	}
	for range 2 { // two keepers at once
		if err := errors.Join(h.k.AddGroups(ctx, 3, 3, tomorrow), h.k.CloseGroups(ctx, []int{1}, tomorrow)); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	enrol := func(group int, on time.Time) error {
		e := enrolment()
		e.Day = on
		e.Record.FirstHalf = keep.InGroup(group, "vault:v1:AAAA")
		_, _, err := h.s.Enrol(ctx, e)
		return err
	}
	for _, c := range []struct {
		group int
		on    time.Time
		want  error
	}{
		{1, day, nil}, {2, day, nil}, {3, day, issue.ErrOlderKey}, {4, day, issue.ErrOlderKey},
		{1, tomorrow, issue.ErrOlderKey}, {2, tomorrow, nil}, {3, tomorrow, nil}, {1, day.AddDate(0, 0, -8), issue.ErrOlderKey},
		{0, day, nil}, // as before there were groups, for who comes from an older program
	} {
		if err := enrol(c.group, c.on); !errors.Is(err, c.want) {
			t.Errorf("group %d on %s: %v", c.group, c.on.Format(time.DateOnly), err)
		}
	}
	for on, want := range map[time.Time][]int{day.AddDate(0, 0, -8): nil, day.Add(23 * time.Hour): {1, 2}, tomorrow: {2, 3}} {
		open, err := h.s.OpenGroups(ctx, on)
		if slices.Sort(open); err != nil || !slices.Equal(open, want) {
			t.Errorf("on %s %v are open, %v; want %v", on, open, err, want)
		}
	}
	have, last, first, err := h.k.OpenGroups(ctx, day)
	want := []keep.Group{{Number: 1, Opened: day.AddDate(0, 0, -7), Closing: true, Records: 1}, {Number: 2, Opened: day.AddDate(0, 0, -7), Records: 2}, {Number: 3, Opened: tomorrow, Records: 1}}
	if err != nil || last != 3 || first || !slices.EqualFunc(have, want, func(a, b keep.Group) bool {
		return a.Opened.Equal(b.Opened) && a.Number == b.Number && a.Closing == b.Closing && a.Records == b.Records
	}) {
		t.Errorf("%v, %d, %v, %v; want %v", have, last, first, err, want)
	}
	if page, err := h.k.Groups(ctx, 1, 1); err != nil || !slices.Equal(page, []int{2}) {
		t.Errorf("%v, %v", page, err)
	}
	// The whole way: the groups are made and people come into them.
	fresh := newHouse(t, 0)
	for range 2 {
		if err := fresh.keeper().OpenGroups(ctx); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	open, err := fresh.s.OpenGroups(ctx, day)
	if err != nil || len(open) != 32 {
		t.Fatalf("%d groups are open, %v", len(open), err)
	}
	if fresh.group, err = keep.AnyOf(open); err != nil {
		t.Fatal(err)
	}
	fresh.enrol(t)
	fresh.whole(t)
}

// An operator rotates all groups: interrupted, the hour ends it.
func TestRotateEveryGroup(t *testing.T) {
	h := newHouse(t, 3)
	h.openGroups(t, 3)
	for h.group = range 4 {
		h.enrol(t)
		h.enrol(t)
	}
	ctx, die := context.WithCancel(t.Context())
	defer die()
	k := h.keeper()
	k.Progress = func(r keep.Rotation, _ string) {
		if r.Group == 2 && r.Records > 0 {
			die()
		}
	}
	if all, err := k.Rotate(ctx); err == nil || all.Groups != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	h.whole(t)
	under, err := h.k.Under(t.Context())
	if err != nil || !slices.Equal(under, []int{2, 3}) {
		t.Fatalf("under way: %v, %v", under, err)
	}
	h.group = 3
	h.enrol(t) // while it stands still
	if _, err := h.keeper().Work(t.Context()); err != nil {
		t.Fatal(err, cause(err))
	}
	h.whole(t)
	for group := range 4 {
		if o, n, err := h.keys.Versions(t.Context(), group); err != nil || o != 2 || n != 2 {
			t.Errorf("group %d has the versions %d to %d, %v", group, o, n, err)
		}
	}
	if all, err := h.keeper().Rotate(t.Context()); err != nil || all != (keep.Rotated{Groups: 4, Records: 12}) {
		t.Errorf("%+v, %v", all, err)
	}
	h.whole(t)
}

// I28, N08: every copy of an erased record that there ever was stays shut, with
// today's keys and whatever the custodians have: nobody gets the first half.
func TestI28NoCopyOfAnErasedRecordOpens(t *testing.T) {
	h := newHouse(t, 9)
	victim := h.enrol(t).Person.Label
	backups := []string{h.rows(t)[victim]}
	h.rotated(t)
	backups = append(backups, h.rows(t)[victim])

	receipt := h.ask(t, victim)
	h.clear(t, victim)
	// Erased in the middle of a rotation that has rewrapped it: that one does not count.
	k := h.keeper()
	k.Progress = func(r keep.Rotation, _ string) {
		if half := h.rows(t)[victim]; half != "" {
			backups = append(backups, half)
		}
		if r.State == keep.Closed {
			if _, err := h.keeper().Erase(t.Context()); err != nil {
				t.Error(err, cause(err))
			}
		}
	}
	if _, err := k.RotateGroup(t.Context(), h.group); err != nil {
		t.Fatal(err, cause(err))
	}
	if h.rows(t)[victim] != "" {
		t.Fatal("the row is still there")
	}
	if waiting, err := h.k.Waiting(t.Context(), -1, 100); err != nil || !slices.Equal(waiting, []int{h.group}) {
		t.Fatalf("the copy of the rotation is forgotten: %v", err)
	}
	if _, err := h.keeper().Work(t.Context()); err != nil {
		t.Fatal(err, cause(err))
	}
	if waiting, err := h.k.Waiting(t.Context(), -1, 100); err != nil || len(waiting) > 0 {
		t.Fatalf("still waiting: %v", err)
	}
	versions := map[string]bool{}
	for _, half := range backups {
		versions[half[:11]] = true
		if got, err := escrowtest.UnwrapHalf(t.Context(), h.open, victim, half); err == nil {
			t.Errorf("a copy opens: %x", got)
		}
	}
	if len(versions) != 3 {
		t.Fatalf("copies under %v: the test shows too little", versions)
	}
	h.whole(t)
	want := proof.Leaf{Version: 1, Kind: proof.KindErased, Day: "2026-11-21", Commitment: receipt.Commitment()}
	size, err := h.d.Log.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := h.d.Log.Leaves(t.Context(), size-1, size)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := proof.ParseLeaf(leaves[0]); err != nil || got.Kind != want.Kind || got.Commitment != want.Commitment {
		t.Errorf("leaf %s, %v", leaves[0], err)
	}
	consistent(t, h.d)
}

// F38: the connection is lost at every message of an erasure. It is erased with
// its leaf, or neither; and the next run makes it whole.
func TestF38KilledAtEveryMessageOfAnErasure(t *testing.T) {
	h := newHouse(t, 0)
	n := new(network)
	k := keeping(t, h.admin, Options{Dial: n.dial, MaxConns: 2})
	half := func(label string) bool {
		gone := one[bool](t, h.conn, `SELECT erased IS NOT NULL AND sealed = '' AND first_half = '' AND second_half = '' FROM records WHERE label = $1`, label)
		logged := one[bool](t, h.conn, `SELECT leaf IS NOT NULL FROM erasures WHERE label = $1`, label)
		if gone != logged {
			t.Fatalf("half an erasure: gone %v, logged %v", gone, logged)
		}
		return gone
	}
	for _, stay := range []bool{false, true} {
		for _, after := range []bool{false, true} {
			for skip := 0; ; skip++ {
				label := h.enrol(t).Person.Label
				h.ask(t, label)
				h.clear(t, label)
				broken := h.keeper()
				broken.Erasures = k
				n.arm(skip, after, stay)
				_, err := broken.Erase(t.Context())
				hit := n.mend()
				if done := half(label); err == nil && !done && hit {
					t.Fatalf("message %d: no error and nothing erased", skip)
				}
				if _, err := h.keeper().Erase(t.Context()); err != nil {
					t.Fatal(err, cause(err))
				}
				if !half(label) {
					t.Fatalf("message %d: not erased in the end", skip)
				}
				if !hit {
					if skip < 4 {
						t.Fatalf("only %d messages", skip)
					}
					break
				}
			}
		}
	}
	consistent(t, h.d)
}

// A case that is recorded between the clearing and the erasure may hold the
// record: it is looked at again. Nobody may skip the question.
func TestAHoldThatComesAtTheLastMoment(t *testing.T) {
	h := newHouse(t, 1)
	label := h.enrol(t).Person.Label
	h.ask(t, label)
	if n, err := h.keeper().Erase(t.Context()); n != 0 || err != nil {
		t.Fatalf("erased without a clearing: %d, %v", n, err)
	}
	h.clear(t, label)
	file(t, h.d, 1)
	if n, err := h.keeper().Erase(t.Context()); n != 0 || err != nil {
		t.Fatalf("erased in the face of a new case: %d, %v", n, err)
	}
	if pending, err := h.d.Erasures.Pending(t.Context(), "", 100); err != nil || len(pending) != 1 {
		t.Fatalf("pending %v, %v", pending, err)
	}
	if cases, err := h.d.Erasures.Holding(t.Context(), day, -1, 100); err != nil || len(cases) != 1 {
		t.Fatalf("holding %d, %v", len(cases), err)
	}
	blank := `UPDATE records SET first_half = '', second_half = '', sealed = '', erased = '2026-11-21' WHERE label = '` + label + `'`
	for _, dsn := range []string{h.admin, as(t, h.admin, "penname_keeping")} {
		if state, name := sqlState(try(t, dsn, blank)); state != "23514" || name != "records_held" {
			t.Errorf("blanked without a leaf: %s %s", state, name)
		}
	}
	// The keeping side names a leaf that no case lies in front of.
	earlier := `UPDATE erasures SET leaf = 0, version = 1 WHERE label = '` + label + `'; ` + blank
	if state, name := sqlState(try(t, as(t, h.admin, "penname_keeping"), earlier)); state != "23514" || name != "erasures_leaf" {
		t.Errorf("blanked with an earlier leaf: %s %s", state, name)
	}
	h.clear(t, label)
	if n, err := h.keeper().Erase(t.Context()); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	file(t, h.d, 1) // a later case does not bring it back
	consistent(t, h.d)
}

// D08: a row that a backup brings back is noticed, and blanked again.
func TestD08ErasedRowComesBack(t *testing.T) {
	h := newHouse(t, 2)
	label := h.enrol(t).Person.Label
	sql(t, h.admin, `CREATE TABLE saved AS SELECT * FROM records WHERE label = '`+label+`'`)
	h.ask(t, label)
	h.clear(t, label)
	if _, err := h.keeper().Work(t.Context()); err != nil {
		t.Fatal(err, cause(err))
	}
	file(t, h.d, 1)
	sql(t, h.admin, `ALTER TABLE records DISABLE TRIGGER no_change;
		UPDATE records r SET first_half = s.first_half, second_half = s.second_half, sealed = s.sealed, erased = NULL FROM saved s WHERE r.label = s.label;
		ALTER TABLE records ENABLE TRIGGER no_change; DROP TABLE saved`)
	wantErr(t, "an erased row is back", h.d.Check(t.Context()), ErrDamaged)
	if _, err := escrowtest.UnwrapHalf(t.Context(), h.open, label, h.rows(t)[label]); err == nil {
		t.Fatal("it opens")
	}
	if _, err := h.keeper().RotateGroup(t.Context(), h.group); err != nil { // it does not stand in the way
		t.Fatal(err, cause(err))
	}
	if _, err := h.keeper().Work(t.Context()); err != nil {
		t.Fatal(err, cause(err))
	}
	if h.rows(t)[label] != "" {
		t.Error("it was not blanked again")
	}
	consistent(t, h.d)
}

// Each hour's work looks at a page at a time, and comes through all of them.
func TestErasuresArePaged(t *testing.T) {
	h, ctx := newHouse(t, 0), t.Context()
	h.openGroups(t, 5)
	var all []string
	for h.group = range 6 {
		label := h.enrol(t).Person.Label
		h.ask(t, label)
		all = append(all, label)
	}
	slices.Sort(all)
	pages := func(what string, page func(after string) ([]string, error)) {
		t.Helper()
		var got []string
		for after := ""; len(got) < 9; after = got[len(got)-1] {
			labels, err := page(after)
			if err != nil || len(labels) > 2 {
				t.Fatal(what, len(labels), err, cause(err))
			}
			if len(labels) == 0 {
				break
			}
			got = append(got, labels...)
		}
		if !slices.Equal(got, all) {
			t.Errorf("%s: %d of %d", what, len(got), len(all))
		}
	}
	pages("pending", func(after string) ([]string, error) { return h.d.Erasures.Pending(ctx, after, 2) })
	for _, label := range all {
		h.clear(t, label)
	}
	if n, err := h.keeper().Erase(ctx); err != nil || n != len(all) {
		t.Fatal(n, err, cause(err))
	}
	var waiting []int
	for page := []int{-1}; len(page) > 0 && len(waiting) < 9; waiting = append(waiting, page...) {
		var err error
		if page, err = h.k.Waiting(ctx, page[len(page)-1], 2); err != nil || len(page) > 2 {
			t.Fatal(page, err, cause(err))
		}
	}
	if !slices.Equal(waiting, []int{0, 1, 2, 3, 4, 5}) {
		t.Errorf("waiting are %v", waiting)
	}
	sql(t, h.admin, `ALTER TABLE records DISABLE TRIGGER USER; UPDATE records SET first_half = 'vault:v1:x', second_half = 'x', sealed = 'x', erased = NULL; ALTER TABLE records ENABLE TRIGGER USER`)
	pages("again", func(after string) ([]string, error) {
		last, err := h.k.Again(ctx, after, 2)
		if err != nil || last == "" {
			return nil, err
		}
		blank := one[int](t, h.conn, `SELECT count(*) FROM records WHERE erased IS NOT NULL`)
		return all[blank-2 : blank], nil
	})
	if _, err := h.keeper().Work(ctx); err != nil {
		t.Fatal(err, cause(err))
	}
	if waiting, err := h.k.Waiting(ctx, -1, 100); err != nil || len(waiting) > 0 {
		t.Errorf("waiting are %v, %v", waiting, err)
	}
}

// Somebody who deletes themself and comes back is the same person, so that a ban holds.
func TestWhoComesBackIsTheSamePerson(t *testing.T) {
	h, ctx := newHouse(t, 0), t.Context()
	e := h.enrol(t)
	a := assignment(t)
	if _, err := h.s.Assign(ctx, a); err != nil {
		t.Fatal(err)
	}
	receipt := h.ask(t, e.Person.Label)
	if again := h.ask(t, e.Person.Label); again != receipt {
		t.Error("a second request has another receipt")
	}
	back := enrolment()
	back.Fingerprint, back.Likeness, back.Birth = e.Fingerprint, e.Likeness, e.Birth
	p, first, err := h.s.Enrol(ctx, back)
	if err != nil || first || p.ID != e.Person.ID || p.Label != back.Person.Label || p.Digest != back.Person.Digest {
		t.Fatalf("%+v, %v, %v %v", p, first, err, cause(err))
	}
	if again, _, err := h.s.Enrol(ctx, enrolmentLike(back)); err != nil || again != p {
		t.Fatalf("without a request the record stays: %v", err)
	}
	b := a
	b.Commitment, b.Link = [32]byte(random(32)), "vault:v1:second"
	if got, err := h.s.Assign(ctx, b); err != nil || got != b.Commitment {
		t.Fatal(err)
	}
	links, err := h.d.Records.Links(ctx, []disclose.Target{{Pseudonym: a.Pseudonym, Platform: a.Platform}})
	if err != nil || len(links) != 1 || !slices.Equal(links[0].Value, []string{a.Link, b.Link}) {
		t.Errorf("links of the two records: %q, %v", links, err)
	}
	give := func(label string) (state, name string) {
		return sqlState(try(t, as(t, h.admin, "penname_issuing"), `UPDATE persons SET label = '`+label+`' WHERE label = '`+back.Person.Label+`'`))
	}
	if state, name := give("aaaaaaaaaaaaaaaaaaaaaaaaaa"); state != "23514" || name != "append_only" {
		t.Errorf("a person was given another record without a request: %s %s", state, name)
	}
	h.ask(t, back.Person.Label)
	if state, name := give(h.enrol(t).Person.Label); state != "23514" || name != "append_only" {
		t.Errorf("a person was given somebody else's record: %s %s", state, name)
	}
}

func enrolmentLike(e issue.Enrolment) issue.Enrolment {
	n := enrolment()
	n.Fingerprint, n.Likeness, n.Birth = e.Fingerprint, e.Likeness, e.Birth
	return n
}

// D04: the keeping side reads nothing that is sealed, nobody's row and no case.
func TestD04KeepingSide(t *testing.T) {
	h := newHouse(t, 1)
	dsn := as(t, h.admin, "penname_keeping")
	for _, statement := range []string{
		`SELECT sealed FROM records`, `SELECT second_half FROM records`, `SELECT day FROM records`, `TABLE records`,
		`SELECT 1 FROM persons`, `SELECT 1 FROM pseudonyms`, `SELECT 1 FROM cases`, `SELECT 1 FROM approvals`, `SELECT 1 FROM notices`,
		`SELECT 1 FROM openid_rows`, `SELECT 1 FROM bundles`, `DELETE FROM records`, `INSERT INTO records (label) VALUES ('x')`,
		`UPDATE records SET label = 'x'`, `UPDATE erasures SET cleared = 1`, `INSERT INTO erasures (label) VALUES ('x')`, `DELETE FROM erasures`,
		`UPDATE rotations SET version = 9`, `UPDATE rotations SET key_group = 9`, `UPDATE rotations SET step = 9`, `DELETE FROM rotations`,
		`UPDATE key_groups SET opened = '2026-11-21'`, `UPDATE key_groups SET number = 9`, `INSERT INTO key_groups (number, opened, closed) VALUES (1, '2026-11-21', '2026-11-22')`, `DELETE FROM key_groups`, `DELETE FROM log_leaves`, `SELECT mix_some('records', NULL, 5, now(), 5)`, `SET ROLE penname_owner`,
		`CREATE TEMP TABLE x ()`, `INSERT INTO log_checkpoints (n, size) VALUES (1, 1)`,
	} {
		if state, _ := sqlState(try(t, dsn, statement)); state != "42501" {
			t.Errorf("%s: %q", statement, state)
		}
	}
	for statement, name := range map[string]string{
		`INSERT INTO log_leaves (index, leaf) VALUES (0, '{"v":1,"kind":"approved","day":"2026-11-21"}')`:                                                    "log_leaves_keeping",
		`UPDATE records SET first_half = 'vault:v1:AAAA'`:                                                                                                    "append_only",
		`UPDATE records SET first_half = 'vault:v2:AAAA', sealed = 'abcd'`:                                                                                   "append_only",
		`UPDATE records SET erased = '2026-11-21'`:                                                                                                           "records_held",
		`INSERT INTO rotations (version, state, day) VALUES (2, 'done', '2026-11-21')`:                                                                       "rotations_transition",
		`INSERT INTO rotations (key_group, version, state, day) VALUES (9, 2, 'moving', '2026-11-21')`:                                                       "rotations_transition",
		`UPDATE records SET first_half = 'g1:vault:v2:AAAA'`:                                                                                                 "append_only",
		`INSERT INTO key_groups (number, opened) VALUES (9, '2026-11-21')`:                                                                                   "key_groups_transition",
		`INSERT INTO key_groups (number, opened) VALUES (1, '2026-11-21'), (2, '2026-11-20')`:                                                                "key_groups_transition",
		`INSERT INTO key_groups (number, opened) VALUES (1, '2026-11-21'); UPDATE key_groups SET closed = '2026-11-22'; UPDATE key_groups SET closed = NULL`: "key_groups_transition",
		`INSERT INTO key_groups (number, opened) VALUES (1, '2026-11-21'); UPDATE key_groups SET closed = '2026-11-21'`:                                      "key_groups_check",
	} {
		if state, have := sqlState(try(t, dsn, statement)); state != "23514" || have != name {
			t.Errorf("%s: %s %s", statement, state, have)
		}
	}
	for _, role := range []string{"penname_issuing", "penname_disclosing"} {
		for _, statement := range []string{`UPDATE records SET first_half = 'vault:v2:AAAA'`, `UPDATE key_groups SET closed = '2026-11-22'`, `SELECT close_rotation(2, 0)`, `SELECT position FROM rotations`, `UPDATE rotations SET records = 0`, `UPDATE erasures SET leaf = 1`} {
			if state, _ := sqlState(try(t, as(t, h.admin, role), statement)); state != "42501" {
				t.Errorf("%s as %s: %q", statement, role, state)
			}
		}
	}
}

// countedKeys counts the calls of the key service.
type countedKeys struct {
	keep.Keys
	versions, rewraps, others atomic.Int64
}

func (c *countedKeys) Versions(ctx context.Context, g int) (o, n int, err error) {
	c.versions.Add(1)
	return c.Keys.Versions(ctx, g)
}

func (c *countedKeys) Rotate(ctx context.Context, g int) error {
	c.others.Add(1)
	return c.Keys.Rotate(ctx, g)
}

func (c *countedKeys) Rewrap(ctx context.Context, g int, h []keep.Half) ([]string, error) {
	c.rewraps.Add(1)
	return c.Keys.Rewrap(ctx, g, h)
}

func (c *countedKeys) Retire(ctx context.Context, g, oldest int) error {
	c.others.Add(1)
	return c.Keys.Retire(ctx, g, oldest)
}

// What a rotation asks of the database and of the key service, besides what each batch does.
func TestRotationTakesAHandfulOfRoundTrips(t *testing.T) {
	const (
		each    = 2 + 3 // Older and its barrier; BEGIN, both tables, the barrier and COMMIT
		besides = 20    // the versions that were seen, the lock, its beginning, what ends each of two passes, Shut, the last look, Finish
	)
	h := newHouse(t, 8)
	db := new(trips)
	k := h.keeper()
	kept := keeping(t, h.admin, Options{Dial: db.dial, MaxConns: 2}) // one of them holds the rotation
	later := time.Now().Add(time.Hour)
	kept.looked.Store(&later) // which schema there is, is no part of it
	k.Past, k.Rotations = kept, kept
	for round, batches := range []int{2, 2, 4, 8} {
		for len(h.halfs) < 4*batches {
			h.enrol(t)
		}
		keys := &countedKeys{Keys: h.keys}
		k.Keys = keys
		before := db.count()
		if _, err := k.RotateGroup(t.Context(), 0); err != nil {
			t.Fatal(err, cause(err))
		}
		n := db.count() - before
		if round > 0 && n != besides+each*batches { // the first prepares the statements
			t.Errorf("%d round trips for %d batches", n, batches)
		}
		if keys.versions.Load() != 3 || keys.rewraps.Load() != int64(batches) || keys.others.Load() != 2 {
			t.Errorf("%d versions, %d rewraps of %d batches, %d others", keys.versions.Load(), keys.rewraps.Load(), batches, keys.others.Load())
		}
	}
}
