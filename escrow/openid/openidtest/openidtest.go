// Package openidtest holds every [openid.Store] to its contract, and brings the
// one in memory that tests and benchmarks use.
package openidtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/token"
)

// TestStore runs the conformance suite. Open is called once per subtest and may
// return the same store every time: every key is random.
func TestStore(t *testing.T, open func(t *testing.T) openid.Store) {
	for name, test := range map[string]func(*testing.T, openid.Store){
		"a new row is inserted once":                          insertOnce,
		"a row is replaced only from the version read":        compareAndSwap,
		"an ended row stays ended":                            endedStays,
		"a row can be ended before it is stored":              endUnstored,
		"kinds do not share ids":                              kindsApart,
		"a holder's grants end, and nobody else's":            endAll,
		"of a holder's grants some end, and are told of":      endSome,
		"grants end at their moment":                          endAt,
		"a grant that ended is told of until it was":          logouts,
		"an event comes at its moment, unless they came back": events,
		"of many who claim a logout one has it":               raceClaim,
		"of many writers of one version one wins":             raceReplace,
		"of many callers one ends a row":                      raceEnd,
		"of many users of a key one is first":                 raceUse,
		"of many allocations of an entry one is granted":      raceAllocate,
		"a session and its grant are stored together":         answers,
		"of many who answer a session one does":               raceAnswer,
		"ending a grant revokes exactly its entries":          revokeEntries,
		"a cancelled request is an error, not an answer":      cancelled,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

const racers = 16

// key returns a random id.
func key() (k [32]byte) {
	rand.Read(k[:]) // never fails, crypto/rand
	return k
}

// expiry is far enough away not to matter.
func expiry() time.Time { return time.Now().UTC().Add(48 * time.Hour).Truncate(time.Hour) }

func row(kind openid.Kind, id [32]byte, body string) openid.Row {
	return openid.Row{Kind: kind, ID: id, Body: []byte(body), Expires: expiry()}
}

func put(t *testing.T, s openid.Store, r openid.Row) {
	t.Helper()
	if err := s.Put(t.Context(), r); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

func get(t *testing.T, s openid.Store, kind openid.Kind, id [32]byte) openid.Row {
	t.Helper()
	r, err := s.Get(t.Context(), kind, id)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return r
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: got %v, want %v", what, err, want)
	}
}

// race runs f at the same moment in many goroutines and counts who won.
func race(t *testing.T, f func() (won bool, err error)) int {
	t.Helper()
	var wins atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range racers {
		wg.Go(func() {
			<-start
			won, err := f()
			if err != nil {
				t.Errorf("race: %v", err)
			}
			if won {
				wins.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(wins.Load())
}

// putRace is one racing Put. It is not an error to lose.
func putRace(ctx context.Context, s openid.Store, r openid.Row) (bool, error) {
	err := s.Put(ctx, r)
	if errors.Is(err, openid.ErrStale) {
		return false, nil
	}
	return err == nil, err
}

func insertOnce(t *testing.T, s openid.Store) {
	id := key()
	_, err := s.Get(t.Context(), openid.KindSession, id)
	wantErr(t, "Get before Put", err, openid.ErrNotFound)

	put(t, s, row(openid.KindSession, id, `{"a":1}`))
	r := get(t, s, openid.KindSession, id)
	if r.Kind != openid.KindSession || r.ID != id || r.Version != 1 || string(r.Body) != `{"a":1}` || r.Ended || !r.Expires.Equal(expiry()) {
		t.Fatalf("stored row differs: %+v", r)
	}
	wantErr(t, "second insert", s.Put(t.Context(), row(openid.KindSession, id, `{"a":2}`)), openid.ErrStale)
	if r := get(t, s, openid.KindSession, id); string(r.Body) != `{"a":1}` {
		t.Fatalf("the losing insert changed the row: %s", r.Body)
	}
}

func compareAndSwap(t *testing.T, s openid.Store) {
	id := key()
	put(t, s, row(openid.KindGrant, id, `{"n":1}`))
	old := get(t, s, openid.KindGrant, id)

	next := old
	next.Body, next.Expires = []byte(`{"n":2}`), expiry().Add(time.Hour)
	put(t, s, next)
	r := get(t, s, openid.KindGrant, id)
	if r.Version != old.Version+1 || string(r.Body) != `{"n":2}` || !r.Expires.Equal(next.Expires) {
		t.Fatalf("not replaced: %+v", r)
	}
	wantErr(t, "Put from an old version", s.Put(t.Context(), next), openid.ErrStale)

	future := r
	future.Version += 5
	wantErr(t, "Put from a version that never was", s.Put(t.Context(), future), openid.ErrStale)
	absent := row(openid.KindGrant, key(), `{}`)
	absent.Version = 3
	wantErr(t, "Put of a version of nothing", s.Put(t.Context(), absent), openid.ErrStale)
	_, err := s.Get(t.Context(), openid.KindGrant, absent.ID)
	wantErr(t, "Get after it", err, openid.ErrNotFound)
}

func endedStays(t *testing.T, s openid.Store) {
	id := key()
	put(t, s, row(openid.KindGrant, id, `{"n":1}`))
	read := get(t, s, openid.KindGrant, id)
	read.Body = []byte(`{"n":2}`)
	put(t, s, read)

	// Ended from an old version: revocation never loses to a concurrent writer.
	end := openid.Row{Kind: openid.KindGrant, ID: id, Version: 1, Ended: true, Body: []byte("x"), Expires: expiry().Add(-24 * time.Hour)}
	put(t, s, end)
	r := get(t, s, openid.KindGrant, id)
	if !r.Ended || len(r.Body) != 0 || !r.Expires.Equal(expiry()) {
		t.Fatalf("ended row: %+v", r)
	}
	wantErr(t, "ending again", s.Put(t.Context(), end), openid.ErrStale)
	for _, v := range []int64{0, 1, 2, r.Version} {
		again := row(openid.KindGrant, id, `{"n":3}`)
		again.Version = v
		wantErr(t, "Put after the end", s.Put(t.Context(), again), openid.ErrStale)
	}
	if r := get(t, s, openid.KindGrant, id); !r.Ended || len(r.Body) != 0 {
		t.Fatalf("the end was taken back: %+v", r)
	}
}

func endUnstored(t *testing.T, s openid.Store) {
	id := key()
	end := openid.Row{Kind: openid.KindSession, ID: id, Ended: true, Expires: expiry()}
	put(t, s, end)
	wantErr(t, "ending again", s.Put(t.Context(), end), openid.ErrStale)
	wantErr(t, "insert after the end", s.Put(t.Context(), row(openid.KindSession, id, `{}`)), openid.ErrStale)
	if r := get(t, s, openid.KindSession, id); !r.Ended {
		t.Fatalf("not ended: %+v", r)
	}
}

func kindsApart(t *testing.T, s openid.Store) {
	id := key()
	put(t, s, row(openid.KindSession, id, `{}`))
	_, err := s.Get(t.Context(), openid.KindGrant, id)
	wantErr(t, "Get as another kind", err, openid.ErrNotFound)
	put(t, s, row(openid.KindGrant, id, `{}`))
	put(t, s, openid.Row{Kind: openid.KindGrant, ID: id, Ended: true, Expires: expiry()})
	if r := get(t, s, openid.KindSession, id); r.Ended {
		t.Fatal("ending the grant ended the session")
	}
}

func endAll(t *testing.T, s openid.Store) {
	k, k2 := key(), key()
	mine, err := token.NewPseudonym(k[:16])
	if err != nil {
		t.Fatal(err)
	}
	other, err := token.NewPseudonym(k2[:16])
	if err != nil {
		t.Fatal(err)
	}
	held := func(holder token.Pseudonym) openid.Row {
		r := row(openid.KindGrant, key(), `{"n":1}`)
		r.Holder = holder
		put(t, s, r)
		return get(t, s, r.Kind, r.ID)
	}
	first, used, theirs, nobodys := held(mine), held(mine), held(other), held("")
	used.Body = []byte(`{"n":2}`)
	put(t, s, used)
	if got := get(t, s, openid.KindGrant, used.ID); got.Holder != mine || first.Holder != mine || theirs.Holder != other {
		t.Fatal("a grant lost its holder")
	}
	l := list()
	if ok, err := Allocate(t.Context(), s, l, 9, used.ID, expiry()); !ok || err != nil {
		t.Fatalf("Allocate: %v, %v", ok, err)
	}
	for range 2 { // ending twice is not an error
		if err := s.EndAll(t.Context(), mine, nil, expiry()); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range [][32]byte{first.ID, used.ID} {
		if got := get(t, s, openid.KindGrant, id); !got.Ended || len(got.Body) != 0 || got.Holder != "" || !got.Expires.Equal(expiry()) {
			t.Fatalf("after the end: %+v", got)
		}
	}
	again := get(t, s, openid.KindGrant, used.ID)
	again.Ended, again.Body = false, []byte(`{"n":3}`)
	wantErr(t, "Put after the end", s.Put(t.Context(), again), openid.ErrStale)
	if got, err := s.Revoked(t.Context(), time.Now()); err != nil || !slices.Equal(got[l], []int{9}) {
		t.Fatalf("revoked: %v, %v", got, err)
	}
	if err := s.EndAll(t.Context(), "", nil, expiry()); err != nil {
		t.Fatal(err)
	}
	for _, r := range []openid.Row{theirs, nobodys} {
		if got := get(t, s, openid.KindGrant, r.ID); got.Ended {
			t.Fatal("somebody else's grant ended")
		}
	}
}

// endSome: the grants that are picked by their bodies end, and of those alone there is
// something to tell.
func endSome(t *testing.T, s openid.Store) {
	k := key()
	mine, err := token.NewPseudonym(k[:16])
	if err != nil {
		t.Fatal(err)
	}
	var here, there []openid.Row
	for _, body := range []string{`{"at":"here"}`, `{"at":"there"}`, `{"at":"here"}`} {
		r := row(openid.KindGrant, key(), body)
		r.Holder, r.Tell = mine, true
		put(t, s, r)
		if body == `{"at":"here"}` {
			here = append(here, r)
		} else {
			there = append(there, r)
		}
	}
	for range 2 {
		if err := s.EndAll(t.Context(), mine, func(body []byte) bool { return string(body) == `{"at":"here"}` }, expiry()); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range here {
		if got := get(t, s, r.Kind, r.ID); !got.Ended || got.Holder != "" {
			t.Errorf("picked: %+v", got)
		}
	}
	for _, r := range there {
		if got := get(t, s, r.Kind, r.ID); got.Ended || got.Holder != mine || string(got.Body) != `{"at":"there"}` {
			t.Errorf("not picked: %+v", got)
		}
	}
	all, err := s.Logouts(t.Context(), nil, expiry(), expiry())
	if err != nil {
		t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(r openid.Row) bool { return r.Holder != mine })
	if len(all) != 2 || string(all[0].Body) != `{"at":"here"}` || string(all[1].Body) != `{"at":"here"}` {
		t.Errorf("told of: %+v", all)
	}
}

// endAt: a grant that is to end keeps working, and being written, until its moment;
// one that comes afterwards is left alone, and so is a moment that was set before.
func endAt(t *testing.T, s openid.Store) {
	k := key()
	mine, err := token.NewPseudonym(k[:16])
	if err != nil {
		t.Fatal(err)
	}
	held := func() openid.Row {
		r := row(openid.KindGrant, key(), `{"n":1}`)
		r.Holder = mine
		put(t, s, r)
		return get(t, s, r.Kind, r.ID)
	}
	first, l, at := held(), list(), time.Now().UTC().Truncate(time.Second)
	if ok, err := Allocate(t.Context(), s, l, 9, first.ID, expiry()); !ok || err != nil {
		t.Fatalf("Allocate: %v, %v", ok, err)
	}
	first = get(t, s, first.Kind, first.ID)
	for _, moment := range []time.Time{at, at.Add(time.Hour)} {
		if err := s.EndAt(t.Context(), map[token.Pseudonym]time.Time{mine: moment}, nil, expiry()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.EndAt(t.Context(), map[token.Pseudonym]time.Time{"": at}, nil, expiry()); err != nil {
		t.Fatal(err)
	}
	second := held()
	first.Body = []byte(`{"n":2}`)
	put(t, s, first)
	if got := get(t, s, first.Kind, first.ID); got.Ended || !got.Ends.Equal(at) || got.Holder != mine || string(got.Body) != `{"n":2}` {
		t.Fatalf("to end: %+v", got)
	}
	if got := get(t, s, second.Kind, second.ID); !got.Ends.IsZero() {
		t.Fatalf("came afterwards: %+v", got)
	}
	revoked := func(when string, want int) {
		t.Helper()
		for _, now := range []time.Time{at.Add(-time.Second), at} {
			if got, err := s.Revoked(t.Context(), now); err != nil || len(got[l]) != want {
				t.Fatalf("%s: revoked at %v: %v, %v", when, now, got, err)
			}
		}
	}
	revoked("to end", 0)
	if err := s.EndAll(t.Context(), mine, nil, expiry()); err != nil {
		t.Fatal(err)
	}
	revoked("ended", 1)
	if got := get(t, s, first.Kind, first.ID); !got.Ended {
		t.Fatalf("after the end: %+v", got)
	}
}

// logouts: a grant that ended by EndAll is among them at once, one that is to end from
// its moment on, and one that was never told to end not at all; each as it was, once.
func logouts(t *testing.T, s openid.Store) {
	var names []token.Pseudonym
	for range 3 {
		k := key()
		name, err := token.NewPseudonym(k[:16])
		if err != nil {
			t.Fatal(err)
		}
		r := row(openid.KindGrant, key(), `{"of":"`+string(name)+`"}`)
		r.Holder, r.Tell = name, true
		put(t, s, r)
		r = row(openid.KindGrant, key(), `{}`) // whose platform is not to be told
		r.Holder = name
		put(t, s, r)
		names = append(names, name)
	}
	at, until := time.Now().UTC().Truncate(time.Second), expiry().Add(24*time.Hour)
	var open map[token.Pseudonym]openid.Row
	told := func(when string, due func(time.Time) bool, since time.Time, want ...token.Pseudonym) {
		t.Helper()
		all, err := s.Logouts(t.Context(), due, since, expiry())
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		open = map[token.Pseudonym]openid.Row{}
		for i, r := range all {
			if i > 0 && bytes.Compare(all[i-1].ID[:], r.ID[:]) >= 0 {
				t.Errorf("%s: in no order", when)
			}
			if !slices.Contains(names, r.Holder) {
				continue // another test's
			}
			if _, twice := open[r.Holder]; twice || r.Kind != openid.KindLogout || r.Ended || !r.Expires.Equal(expiry()) {
				t.Errorf("%s: %+v", when, r)
			}
			open[r.Holder] = r
		}
		for _, name := range want {
			if _, ok := open[name]; !ok {
				t.Errorf("%s: %s is not told of", when, name)
			}
		}
		if len(open) != len(want) {
			t.Errorf("%s: %d, want %d", when, len(open), len(want))
		}
	}
	always, never := func(ends time.Time) bool { return ends.Equal(at) }, func(time.Time) bool { return false }
	told("before", always, at, nil...)
	if err := s.EndAt(t.Context(), map[token.Pseudonym]time.Time{names[1]: at}, nil, until); err != nil {
		t.Fatal(err)
	}
	if err := s.EndAll(t.Context(), names[0], nil, expiry()); err != nil {
		t.Fatal(err)
	}
	told("before its moment", never, at, names[0])
	told("nobody asks", nil, at, names[0])
	told("at its moment", always, at, names[0], names[1])
	told("again", always, at, names[0], names[1])
	if r := open[names[0]]; string(r.Body) != `{"of":"`+string(names[0])+`"}` {
		t.Errorf("not as the grant was: %s", r.Body)
	}

	claimed, stale := open[names[1]], open[names[1]]
	claimed.Body = []byte(`{"tries":1}`)
	put(t, s, claimed)
	wantErr(t, "a claim of what is claimed", s.Put(t.Context(), stale), openid.ErrStale)
	told("claimed", always, at, names[0], names[1])
	if r := open[names[1]]; string(r.Body) != `{"tries":1}` || r.Holder != names[1] {
		t.Errorf("claimed: %+v", r)
	}
	for _, r := range open {
		r.Ended = true
		put(t, s, r)
	}
	for range 2 {
		told("told", always, at, nil...)
		if err := s.EndAll(t.Context(), names[1], nil, expiry()); err != nil { // they leave once more
			t.Fatal(err)
		}
	}
}

// events are made once at the moment of their holder, as they were given; that of somebody
// who has a grant again then is over.
func events(t *testing.T, s openid.Store) {
	at, until := time.Now().UTC().Truncate(time.Second), expiry().Add(24*time.Hour)
	var rows []openid.Row
	moments, back := map[token.Pseudonym]time.Time{}, token.Pseudonym("")
	for range 3 {
		k := key()
		name, err := token.NewPseudonym(k[:16])
		if err != nil {
			t.Fatal(err)
		}
		r := row(openid.KindGrant, key(), `{}`)
		r.Holder = name // who leaves that too
		put(t, s, r)
		moments[name], back = at, name
		rows = append(rows, openid.Row{Kind: openid.KindLogout, ID: key(), Holder: name, Body: []byte(`{"of":"` + string(name) + `"}`)})
	}
	for range 2 {
		if err := s.EndAt(t.Context(), moments, rows, until); err != nil {
			t.Fatal(err)
		}
	}
	r := row(openid.KindGrant, key(), `{}`)
	r.Holder = back
	put(t, s, r)
	told := func(due func(time.Time) bool) (found int) {
		t.Helper()
		all, err := s.Logouts(t.Context(), due, at, expiry())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			if _, mine := moments[r.Holder]; !mine {
				continue
			}
			if found++; r.Holder == back || string(r.Body) != `{"of":"`+string(r.Holder)+`"}` || r.Kind != openid.KindLogout || !r.Expires.Equal(expiry()) {
				t.Errorf("%+v", r)
			}
		}
		return found
	}
	always, never := func(ends time.Time) bool { return ends.Equal(at) }, func(time.Time) bool { return false }
	if n := told(never); n != 0 {
		t.Errorf("%d before their moment", n)
	}
	for range 2 {
		if n := told(always); n != 2 {
			t.Errorf("%d at their moment, want 2", n)
		}
	}
	if err := s.EndAll(t.Context(), back, nil, expiry()); err != nil {
		t.Fatal(err)
	}
	if n := told(always); n != 2 {
		t.Errorf("%d, after who came back left", n)
	}
	one := openid.Row{Kind: openid.KindLogout, ID: key(), Holder: rows[0].Holder, Body: []byte(`{"of":"` + string(rows[0].Holder) + `"}`), Expires: expiry()}
	put(t, s, one)
	if n := told(nil); n != 3 {
		t.Errorf("%d, with one at once", n)
	}
}

// raceClaim: of many who claim the rows of one event one gets all of them, in whatever order
// they come, and nobody ever sees some claimed and some not.
func raceClaim(t *testing.T, s openid.Store) {
	k := key()
	mine, err := token.NewPseudonym(k[:16])
	if err != nil {
		t.Fatal(err)
	}
	const devices = 3
	for range devices {
		r := row(openid.KindGrant, key(), `{}`)
		r.Holder, r.Tell = mine, true
		put(t, s, r)
	}
	if err := s.EndAll(t.Context(), mine, nil, expiry()); err != nil {
		t.Fatal(err)
	}
	claimed := func() (rows []openid.Row, n int) {
		t.Helper()
		all, err := s.Logouts(t.Context(), nil, expiry(), expiry())
		if err != nil {
			t.Error(err)
		}
		for _, r := range all {
			if r.Holder == mine {
				if rows = append(rows, r); r.Version > 1 {
					n++
				}
			}
		}
		return rows, n
	}
	rows, n := claimed()
	if len(rows) != devices || n != 0 {
		t.Fatalf("%d rows, %d claimed", len(rows), n)
	}
	one := rows[1]
	one.Body, one.Version = []byte(`{"a":2}`), one.Version+1
	wantErr(t, "one of them was never of that version", s.Claim(t.Context(), []openid.Row{rows[0], one, rows[2]}), openid.ErrStale)
	if _, n := claimed(); n != 0 {
		t.Fatalf("%d were claimed nevertheless", n)
	}
	var turn atomic.Int64
	won := race(t, func() (bool, error) {
		mine := slices.Clone(rows)
		turn := int(turn.Add(1))
		for i := range mine {
			mine[i] = rows[(i+turn)%devices]
			mine[i].Body = fmt.Appendf(nil, `{"by":%d}`, turn)
		}
		err := s.Claim(t.Context(), mine)
		if _, n := claimed(); n != 0 && n != devices {
			t.Errorf("%d of %d claimed", n, devices)
		}
		if errors.Is(err, openid.ErrStale) {
			return false, nil
		}
		return err == nil, err
	})
	if won != 1 {
		t.Fatalf("%d of %d have it", won, racers)
	}
	after, n := claimed()
	if len(after) != devices || n != devices || !bytes.Equal(after[0].Body, after[1].Body) || !bytes.Equal(after[1].Body, after[2].Body) {
		t.Fatalf("after the race: %d claimed of %+v", n, after)
	}
	end := after[0]
	end.Ended = true
	put(t, s, end)
	wantErr(t, "one of them has ended", s.Claim(t.Context(), after), openid.ErrStale)
}

func raceReplace(t *testing.T, s openid.Store) {
	id := key()
	if n := race(t, func() (bool, error) { return putRace(t.Context(), s, row(openid.KindGrant, id, `{}`)) }); n != 1 {
		t.Fatalf("%d of %d inserted", n, racers)
	}
	read := get(t, s, openid.KindGrant, id)
	if n := race(t, func() (bool, error) { return putRace(t.Context(), s, read) }); n != 1 {
		t.Fatalf("%d of %d replaced", n, racers)
	}
}

func raceEnd(t *testing.T, s openid.Store) {
	id := key()
	put(t, s, row(openid.KindSession, id, `{}`))
	end := openid.Row{Kind: openid.KindSession, ID: id, Version: 1, Ended: true, Expires: expiry()}
	if n := race(t, func() (bool, error) { return putRace(t.Context(), s, end) }); n != 1 {
		t.Fatalf("%d of %d ended the row", n, racers)
	}
}

func raceUse(t *testing.T, s openid.Store) {
	k := key()
	if n := race(t, func() (bool, error) { return s.Use(t.Context(), k, expiry()) }); n != 1 {
		t.Fatalf("%d of %d were first", n, racers)
	}
	if first, err := s.Use(t.Context(), k, expiry()); first || err != nil {
		t.Fatalf("used again: %v, %v", first, err)
	}
	if first, err := s.Use(t.Context(), key(), expiry()); !first || err != nil {
		t.Fatalf("another key: %v, %v", first, err)
	}
}

// list picks a status list of its own for a test, so that stores may be shared.
func list() int {
	k := key()
	return 1_000_000 + int(k[0])<<16 | int(k[1])<<8 | int(k[2])
}

// Allocate gives an entry to a grant, which it stores if there is none. It reports false if the
// entry is taken.
func Allocate(ctx context.Context, s openid.Store, list, index int, grant [32]byte, expires time.Time) (bool, error) {
	for {
		r, err := s.Get(ctx, openid.KindGrant, grant)
		if errors.Is(err, openid.ErrNotFound) {
			r, err = openid.Row{Kind: openid.KindGrant, ID: grant, Body: []byte(`{}`), Expires: expires}, nil
		}
		if err != nil {
			return false, err
		}
		r.Entries = []openid.Entry{{List: list, Index: index, Expires: expires}}
		if err = s.Put(ctx, r); errors.Is(err, openid.ErrTaken) {
			return false, nil
		}
		if !errors.Is(err, openid.ErrStale) {
			return err == nil, err
		}
	}
}

// answers: a session and its grant are stored together, or neither is.
func answers(t *testing.T, s openid.Store) {
	session, grant, other := key(), key(), key()
	put(t, s, row(openid.KindSession, session, `{}`))
	old := get(t, s, openid.KindSession, session)
	old.Body = []byte(`{"answer":1}`)
	of := row(openid.KindGrant, grant, `{"grant":1}`)
	of.Holder = "pen1x"
	if err := s.Answer(t.Context(), old, of); err != nil {
		t.Fatal(err)
	}
	if r := get(t, s, openid.KindSession, session); r.Version != 2 || string(r.Body) != `{"answer":1}` {
		t.Fatalf("the session: %+v", r)
	}
	if r := get(t, s, openid.KindGrant, grant); r.Version != 1 || string(r.Body) != `{"grant":1}` || r.Holder != "pen1x" {
		t.Fatalf("the grant: %+v", r)
	}
	wantErr(t, "an answer from an old version", s.Answer(t.Context(), old, row(openid.KindGrant, other, `{}`)), openid.ErrStale)
	_, err := s.Get(t.Context(), openid.KindGrant, other)
	wantErr(t, "the grant of an answer that was not stored", err, openid.ErrNotFound)

	unstored := row(openid.KindSession, key(), `{"answer":2}`) // nobody was asked
	if err := s.Answer(t.Context(), unstored, row(openid.KindGrant, other, `{}`)); err != nil {
		t.Fatal(err)
	}
	get(t, s, openid.KindSession, unstored.ID)
	get(t, s, openid.KindGrant, other)
}

func raceAnswer(t *testing.T, s openid.Store) {
	id := key()
	put(t, s, row(openid.KindSession, id, `{}`))
	session := get(t, s, openid.KindSession, id)
	if n := race(t, func() (bool, error) {
		err := s.Answer(t.Context(), session, row(openid.KindGrant, key(), `{}`))
		if errors.Is(err, openid.ErrStale) {
			return false, nil
		}
		return err == nil, err
	}); n != 1 {
		t.Fatalf("%d of %d answered", n, racers)
	}
}

func raceAllocate(t *testing.T, s openid.Store) {
	l := list()
	if n := race(t, func() (bool, error) { return Allocate(t.Context(), s, l, 7, key(), expiry()) }); n != 1 {
		t.Fatalf("T52: %d of %d got the entry", n, racers)
	}
	if ok, err := Allocate(t.Context(), s, l, 8, key(), expiry()); !ok || err != nil {
		t.Fatalf("another index: %v, %v", ok, err)
	}
	if ok, err := Allocate(t.Context(), s, l+1<<26, 7, key(), expiry()); !ok || err != nil {
		t.Fatalf("another list: %v, %v", ok, err)
	}
}

func revokeEntries(t *testing.T, s openid.Store) {
	l, mine, other := list(), key(), key()
	put(t, s, row(openid.KindGrant, mine, `{}`))
	put(t, s, row(openid.KindGrant, other, `{}`))
	for index, grant := range map[int][32]byte{1 << 19: mine, 3: mine, 5: other, 0: mine} {
		if ok, err := Allocate(t.Context(), s, l, index, grant, expiry()); !ok || err != nil {
			t.Fatalf("Allocate: %v, %v", ok, err)
		}
	}
	revoked := func() []int {
		t.Helper()
		got, err := s.Revoked(t.Context(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return got[l]
	}
	if got := revoked(); len(got) != 0 {
		t.Fatalf("revoked before the end: %v", got)
	}
	// A session of the same id is not the grant.
	put(t, s, openid.Row{Kind: openid.KindSession, ID: other, Ended: true, Expires: expiry()})
	put(t, s, openid.Row{Kind: openid.KindGrant, ID: mine, Ended: true, Expires: expiry()})
	if got, want := revoked(), []int{0, 3, 1 << 19}; !slices.Equal(got, want) {
		t.Fatalf("revoked: %v, want %v", got, want)
	}
	if ok, err := Allocate(t.Context(), s, l, 3, other, expiry()); ok || err != nil {
		t.Fatalf("T52: a revoked entry was given again: %v, %v", ok, err)
	}
}

func cancelled(t *testing.T, s openid.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	id := key()
	if err := s.Put(ctx, row(openid.KindGrant, id, `{}`)); err == nil || errors.Is(err, openid.ErrStale) {
		t.Errorf("Put: %v", err)
	}
	if _, err := s.Get(ctx, openid.KindGrant, id); err == nil || errors.Is(err, openid.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	if err := s.EndAll(ctx, "pen1x", nil, expiry()); err == nil {
		t.Error("EndAll: no error")
	}
	if _, err := s.Logouts(ctx, nil, expiry(), expiry()); err == nil {
		t.Error("Logouts: no error")
	}
	if first, err := s.Use(ctx, id, expiry()); first || err == nil {
		t.Errorf("Use: %v, %v", first, err)
	}
	if ok, err := Allocate(ctx, s, list(), 1, id, expiry()); ok || err == nil {
		t.Errorf("Allocate: %v, %v", ok, err)
	}
	if _, err := s.Revoked(ctx, time.Now()); err == nil {
		t.Error("Revoked: no error")
	}
}

// Memory is a [openid.Store] for tests. It forgets nothing and loses everything.
type Memory struct {
	mu      sync.Mutex
	rows    map[rowKey]openid.Row
	used    map[[32]byte]bool
	entries map[entry]allocated
	events  map[[32]byte]openid.Row // that EndAt stored, with their moments
}

type rowKey struct {
	kind openid.Kind
	id   [32]byte
}

type entry struct{ list, index int }

type allocated struct {
	grant   [32]byte
	expires time.Time
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{rows: map[rowKey]openid.Row{}, used: map[[32]byte]bool{}, entries: map[entry]allocated{}, events: map[[32]byte]openid.Row{}}
}

// Put implements [openid.Store].
func (m *Memory) Put(ctx context.Context, r openid.Row) error { return m.put(ctx, r) }

// Claim implements [openid.Store].
func (m *Memory) Claim(ctx context.Context, rows []openid.Row) error { return m.put(ctx, rows...) }

// Answer implements [openid.Store].
func (m *Memory) Answer(ctx context.Context, session, grant openid.Row) error {
	return m.put(ctx, session, grant)
}

// put stores all of the rows or none.
func (m *Memory) put(ctx context.Context, rows ...openid.Row) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range rows {
		if old := m.rows[rowKey{r.Kind, r.ID}]; old.Ended || !r.Ended && old.Version != r.Version {
			return openid.ErrStale
		}
		for _, e := range r.Entries {
			if _, taken := m.entries[entry{e.List, e.Index}]; taken {
				return openid.ErrTaken
			}
		}
	}
	for _, r := range rows {
		k := rowKey{r.Kind, r.ID}
		old, ok := m.rows[k]
		if r.Ended && ok {
			r.Expires = old.Expires
		}
		switch {
		case r.Ended:
			r.Body, r.Holder = nil, ""
		case ok:
			r.Holder, r.Ends = old.Holder, old.Ends
		}
		for _, e := range r.Entries {
			m.entries[entry{e.List, e.Index}] = allocated{r.ID, e.Expires}
		}
		r.Version, r.Body, r.Entries = old.Version+1, bytes.Clone(r.Body), nil
		m.rows[k] = r
	}
	return nil
}

// Get implements [openid.Store].
func (m *Memory) Get(ctx context.Context, kind openid.Kind, id [32]byte) (openid.Row, error) {
	if err := ctx.Err(); err != nil {
		return openid.Row{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rows[rowKey{kind, id}]
	if !ok {
		return openid.Row{}, openid.ErrNotFound
	}
	r.Body = bytes.Clone(r.Body)
	return r, nil
}

// EndAll implements [openid.Store].
func (m *Memory) EndAll(ctx context.Context, holder token.Pseudonym, theirs func(body []byte) bool, expires time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, r := range m.rows {
		if k.kind == openid.KindGrant && r.Holder == holder && holder != "" && (theirs == nil || theirs(r.Body)) {
			m.makeLogout(r, expires)
			r.Version, r.Body, r.Holder, r.Ended = r.Version+1, nil, "", true
			m.rows[k] = r
		}
	}
	return nil
}

// EndAt implements [openid.Store].
func (m *Memory) EndAt(ctx context.Context, holders map[token.Pseudonym]time.Time, events []openid.Row, _ time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, r := range m.rows {
		if at, ends := holders[r.Holder]; ends && k.kind == openid.KindGrant && r.Holder != "" && r.Ends.IsZero() {
			r.Ends = at.UTC()
			m.rows[k] = r
		}
	}
	for _, e := range events {
		if _, there := m.events[e.ID]; !there {
			e.Ends = holders[e.Holder].UTC()
			m.events[e.ID] = e
		}
	}
	return nil
}

// makeEvent makes the row of an event, once, which is over if its holder came back.
func (m *Memory) makeEvent(e openid.Row, expires time.Time) {
	e.Kind, e.ID, e.Ends = openid.KindLogout, sha256.Sum256(append([]byte("event"), e.ID[:]...)), time.Time{}
	k := rowKey{e.Kind, e.ID}
	if _, made := m.rows[k]; made {
		return
	}
	for grant, r := range m.rows {
		e.Ended = e.Ended || grant.kind == openid.KindGrant && r.Holder == e.Holder && r.Ends.IsZero()
	}
	e.Version, e.Expires = 1, expires
	m.rows[k] = e
}

// makeLogout makes the row that a grant's platform is told from, once.
func (m *Memory) makeLogout(grant openid.Row, expires time.Time) {
	id := sha256.Sum256(append([]byte("logout"), grant.ID[:]...))
	k := rowKey{openid.KindLogout, id}
	if _, made := m.rows[k]; !made && grant.Tell {
		m.rows[k] = openid.Row{Kind: k.kind, ID: id, Holder: grant.Holder, Body: grant.Body, Version: 1, Expires: expires}
	}
}

// Logouts implements [openid.Store]. It looks at every moment.
func (m *Memory) Logouts(ctx context.Context, due func(time.Time) bool, _, expires time.Time) (all []openid.Row, _ error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range slices.Collect(maps.Values(m.rows)) {
		if due != nil && !r.Ends.IsZero() && !r.Ended && due(r.Ends) {
			m.makeLogout(r, expires)
		}
	}
	for _, e := range m.events {
		if due != nil && due(e.Ends) {
			m.makeEvent(e, expires)
		}
	}
	for k, r := range m.rows {
		if k.kind == openid.KindLogout && !r.Ended {
			r.Body = bytes.Clone(r.Body)
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b openid.Row) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return all, nil
}

// Use implements [openid.Store].
func (m *Memory) Use(ctx context.Context, key [32]byte, _ time.Time) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	first := !m.used[key]
	m.used[key] = true
	return first, nil
}

// Revoked implements [openid.Store].
func (m *Memory) Revoked(ctx context.Context, now time.Time) (map[int][]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	lists := map[int][]int{}
	for e, a := range m.entries {
		r := m.rows[rowKey{openid.KindGrant, a.grant}]
		if now.Before(a.expires) && r.Ended {
			lists[e.list] = append(lists[e.list], e.index)
		}
	}
	for _, indexes := range lists {
		slices.Sort(indexes)
	}
	return lists, nil
}

// Dump returns what is stored, a line for each row and key (keys in hex), for
// tests that search for what must not be there.
func (m *Memory) Dump() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b bytes.Buffer
	for k, r := range m.rows {
		fmt.Fprintf(&b, "%s %x %v %s%s\n", k.kind, k.id, r.Expires, r.Holder, r.Body)
	}
	for k := range m.used {
		fmt.Fprintf(&b, "%x\n", k)
	}
	return b.Bytes()
}
