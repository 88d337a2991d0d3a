package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/mail"
)

func passkeyOf(word string) issue.Passkey {
	return issue.Passkey{ID: random(32), Word: word, Day: day, User: random(32), Key: random(77), Counter: 0, Backup: true, ACR: "high"}
}

// telling is that of something that is done at a moment, of which nobody is told by mail.
func telling(at time.Time) issue.Telling {
	return issue.Telling{At: at, Change: issue.Change{Day: at, Kind: issue.ChangeRecovered}}
}

// adds is AddPasskey on a day.
func adds(s *Issuing, p issue.Person, k issue.Passkey) (bool, error) {
	added, _, err := s.AddPasskey(context.Background(), p, k, telling(day))
	return added, err
}

func person() issue.Person {
	return issue.Person{ID: [16]byte(random(16)), Label: enrolment().Person.Label, Digest: [32]byte(random(32))}
}

func TestPasskeysAreKept(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	p, other := person(), person()
	var all []issue.Passkey
	for n := range issue.MaxPasskeys {
		k := passkeyOf(fmt.Sprint("phone ", n))
		if added, err := adds(s, p, k); !added || err != nil {
			t.Fatal(added, err, cause(err))
		}
		all = append(all, k)
	}
	if _, err := adds(s, p, passkeyOf("")); !errors.Is(err, issue.ErrPasskeys) {
		t.Errorf("the ninth: %v", err)
	}
	for _, whose := range []issue.Person{p, other} { // W12
		if added, err := adds(s, whose, all[3]); added || err != nil {
			t.Errorf("one that is there: %v, %v", added, err)
		}
	}
	got, err := s.Passkeys(ctx, p)
	if err != nil || len(got) != len(all) {
		t.Fatal(len(got), err)
	}
	for n, k := range got {
		if !bytes.Equal(k.ID, all[n].ID) || k.Word != all[n].Word || !k.Day.Equal(day) || k.Key != nil {
			t.Errorf("%d: %+v", n, k)
		}
		whose, judged, there, err := s.PasskeyOf(ctx, k.ID)
		if want := all[n]; err != nil || !there || whose != p || !bytes.Equal(judged.Key, want.Key) || !bytes.Equal(judged.User, want.User) || !judged.Backup || judged.ACR != "high" {
			t.Errorf("%d: %+v of %v, %v", n, judged, whose, err)
		}
	}
	if err := s.RenamePasskey(ctx, p, all[2].ID, "laptop", telling(day)); err != nil {
		t.Error(err)
	}
	for _, err := range []error{s.RenamePasskey(ctx, other, all[2].ID, "x", telling(day)), s.RenamePasskey(ctx, p, random(32), "x", telling(day))} {
		if !errors.Is(err, issue.ErrNoPasskey) {
			t.Errorf("what is not theirs: %v", err)
		}
	}
	if err := s.RemovePasskey(ctx, other, all[0].ID, telling(day)); err != nil {
		t.Error(err)
	}
	for range 2 { // again is no error
		if err := s.RemovePasskey(ctx, p, all[0].ID, telling(day)); err != nil {
			t.Error(err)
		}
	}
	if _, _, there, err := s.PasskeyOf(ctx, all[0].ID); there || err != nil {
		t.Error("it is still there", err)
	}
	if got, _ = s.Passkeys(ctx, p); len(got) != 7 || got[1].Word != "laptop" {
		t.Errorf("%+v", got)
	}
	if added, err := adds(s, p, all[0]); !added || err != nil { // at the place that is free
		t.Error(added, err)
	}
	if err := s.RemovePasskeys(ctx, p); err != nil {
		t.Error(err)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM passkeys`); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// Whoever asks to be deleted has none afterwards: also of one that is added at that moment.
func TestPasskeysGoWithTheDeletion(t *testing.T) {
	s, ctx := issuing(t, database(t), Options{}), t.Context()
	e := enrolment()
	p := e.Person
	if _, _, err := s.Enrol(ctx, e); err != nil {
		t.Fatal(err)
	}
	if _, err := adds(s, p, passkeyOf("phone")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ask(ctx, issue.Receipt{Label: p.Label, Salt: [32]byte(random(32)), Day: day}); err != nil {
		t.Fatal(err, cause(err))
	}
	if added, err := adds(s, p, passkeyOf("late")); added || !errors.Is(err, issue.ErrErased) {
		t.Error(added, err)
	}
	again := p
	again.Label = enrolment().Person.Label
	if got, err := s.Passkeys(ctx, again); len(got) != 0 || err != nil {
		t.Errorf("%d passkeys of before: %v", len(got), err)
	}
}

// Of several who add at once each gets a place, and one passkey has one person.
func TestPasskeysAtOnce(t *testing.T) {
	s, ctx := issuing(t, database(t), Options{}), t.Context()
	p, k := person(), passkeyOf("phone")
	var wg sync.WaitGroup
	var mu sync.Mutex
	added := 0
	for n := range 8 {
		wg.Go(func() {
			whose := p
			if n%2 == 0 {
				whose = person()
			}
			ok, err := adds(s, whose, k)
			if err != nil {
				t.Error(err, cause(err))
			}
			mu.Lock()
			defer mu.Unlock()
			if ok {
				added++
			}
		})
		if n > 0 {
			wg.Go(func() {
				if _, err := adds(s, p, passkeyOf("another")); err != nil && !errors.Is(err, issue.ErrPasskeys) {
					t.Error(err, cause(err))
				}
			})
		}
	}
	wg.Wait()
	if got, err := s.Passkeys(ctx, p); err != nil || added != 1 || len(got) < 7 {
		t.Errorf("%d were added of one; %d of the person, %v", added, len(got), err)
	}
}

func TestW09CountersOnlyRise(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	id := random(32)
	use := func(want bool, since, now uint32, at time.Time) {
		t.Helper()
		if rises, err := s.CountPasskey(ctx, id, since, now, at); err != nil || rises != want {
			t.Errorf("%d: %v, %v", now, rises, err)
		}
	}
	use(true, 0, 0, day)
	if n := value[int](t, admin, `SELECT count(*) FROM sessions`); n != 0 {
		t.Errorf("one that does not count left %d rows", n)
	}
	use(false, 5, 5, day)
	use(true, 5, 6, day)
	use(false, 5, 6, day)
	use(false, 5, 0, day)
	for n := range uint32(70) { // beyond what one step of the search sees
		use(true, 5, 10+3*n, day)
		use(false, 5, 9+3*n, day)
	}
	use(false, 5, 200, day.AddDate(1, 0, 0))
	use(true, 5, 500, day.AddDate(1, 0, 0))
	use(true, 5, 501, day.AddDate(1, 0, 0))
	use(false, 5, 501, day.AddDate(2, 0, 0))
	var wg sync.WaitGroup
	var mu sync.Mutex
	passed := 0
	for range 8 { // a copy and its original at one moment
		wg.Go(func() {
			rises, err := s.CountPasskey(ctx, id, 5, 900, day.AddDate(1, 0, 0))
			if err != nil {
				t.Error(err, cause(err))
			}
			mu.Lock()
			defer mu.Unlock()
			if rises {
				passed++
			}
		})
	}
	wg.Wait()
	if passed != 1 {
		t.Errorf("%d passed with one counter", passed)
	}
}

// TestACountIsFoundInFewSteps: what a sign-in reads of the uses before it is bounded, whatever their
// number; of a passkey that does not count it is one question, after two rows.
func TestACountIsFoundInFewSteps(t *testing.T) {
	admin := database(t)
	var sent atomic.Int64
	s, ctx := issuing(t, admin, Options{MaxConns: 1, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return &sending{c, &sent}, err
	}}), t.Context()
	use := func(id []byte, counter uint32, at time.Time) int64 {
		t.Helper()
		before := sent.Load()
		if rises, err := s.CountPasskey(ctx, id, 0, counter, at); err != nil || !rises {
			t.Fatal(counter, rises, err, cause(err))
		}
		return sent.Load() - before
	}
	none, counts, most := random(32), random(32), int64(0)
	use(none, 0, day) // prepares what is asked
	use(random(32), 1, day)
	for range 3 {
		if n := use(none, 0, day); n != 1 {
			t.Errorf("one that does not count: %d messages", n)
		}
	}
	for n := range uint32(300) {
		most = max(most, use(counts, n+1, day))
	}
	if next := use(counts, 301, day.AddDate(1, 0, 0)); most > 5 || next > 6 {
		t.Errorf("one that counts: %d messages, and %d in another year", most, next)
	}
}

// sending counts what a client sends.
type sending struct {
	net.Conn
	n *atomic.Int64
}

func (c *sending) Write(b []byte) (int, error) {
	c.n.Add(1)
	return c.Conn.Write(b)
}

// A recovery stands as its second says, begins once, and tells once.
func TestRecoveryIsKept(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	p, at := person(), day.Add(13*time.Hour+5*time.Second+time.Nanosecond)
	is := func(want issue.Recovery) {
		t.Helper()
		if r, err := s.Recovery(ctx, p); r != want || err != nil {
			t.Errorf("%+v, not %+v: %v", r, want, err)
		}
	}
	is(issue.Recovery{})
	begin := func(now time.Time) issue.Recovery {
		t.Helper()
		begins := telling(now)
		begins.Mail, begins.To = mail.Recovery, issue.Contact{Confirmed: "jo@example.org", Language: "cy"}
		r, err := s.BeginRecovery(ctx, p, begins)
		if err != nil {
			t.Fatal(err, cause(err))
		}
		return r
	}
	first := begin(at)
	if !first.Began.Equal(at.Truncate(time.Second)) {
		t.Error(first)
	}
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			if got := begin(at.Add(time.Duration(n) * 60 * time.Hour)); got != first {
				t.Errorf("it began anew: %v", got)
			}
		})
	}
	wg.Wait()
	is(first)
	if st, err := s.Standing(ctx, at, issue.Question{Person: p}); st.Recovery != first || err != nil {
		t.Error(st.Recovery, err)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM mails WHERE kind = 'changed'`); n != 1 { // the row does not say of what
		t.Errorf("%d mails", n)
	}
	l, ok, err := s.Outbox().Take(ctx, at.Add(time.Hour), at.Add(2*time.Hour))
	if err != nil || !ok || l.Kind != mail.Recovery || l.To != "jo@example.org" || l.Language != "cy" {
		t.Errorf("%+v %v %v", l, ok, err)
	}
	if lapsed := begin(first.Until()); lapsed != (issue.Recovery{Began: first.Until()}) {
		t.Errorf("%v stands after %v", lapsed, first.Until())
	}
	lately, mine, other := first.Until().Add(issue.RecoveryWait), issue.Browser{1}, issue.Browser{2}
	for _, row := range []struct {
		at   time.Time
		in   []issue.Browser
		used bool
	}{
		{first.Until(), []issue.Browser{mine}, false}, {lately, []issue.Browser{mine}, true}, {lately, []issue.Browser{other}, false},
		{lately.Add(issue.RecoveryAgain - time.Second), []issue.Browser{other, mine}, true}, {lately.Add(issue.RecoveryAgain), []issue.Browser{mine}, false},
	} {
		if when, used, err := s.UseRecovery(ctx, p, telling(row.at), row.in...); used != row.used || err != nil || used && !when.Equal(lately) {
			t.Errorf("at %v used: %v %v %v", row.at, when, used, err)
		}
	}
	used := issue.Recovery{Began: first.Until(), Used: lately, By: mine}
	is(used)
	if r := used; !r.Over() || r.Stands(lately) || r.Open(lately) || !r.UsedLately(lately) || r.UsedLately(lately.Add(issue.RecoveryIn)) || r.Again(lately, other, issue.Browser{}) {
		t.Error(r)
	}
	if added, err := adds(s, p, passkeyOf("new")); !added || err != nil {
		t.Error(added, err)
	}
	is(used) // that it was used still shows
	if again := begin(lately); again != (issue.Recovery{Began: lately, Used: lately, By: mine}) || again.Over() || !again.Stands(lately) || !again.UsedLately(lately) {
		t.Errorf("%+v", again) // also where another one begins
	}
	next := telling(lately)
	if added, _, err := s.AddPasskey(ctx, p, passkeyOf("another"), next); !added || err != nil { // which ends the one that waits
		t.Error(added, err)
	}
	is(issue.Recovery{Began: lately.Add(-issue.RecoveryWait), Used: lately, By: mine})
	if late := begin(lately.Add(issue.RecoveryIn)); late != (issue.Recovery{Began: lately.Add(issue.RecoveryIn)}) { // nobody is in by the other any more
		t.Errorf("%+v", late)
	}
	for n := range 2 {
		if r, err := s.EndRecovery(ctx, p, next); err != nil || r.Began.IsZero() != (n == 1) {
			t.Error(r, err)
		}
	}
	is(issue.Recovery{})
	begin(at)
	if err := s.RemovePasskeys(ctx, p); err != nil { // with the last passkey there is nothing to recover
		t.Error(err)
	}
	is(issue.Recovery{})
	begin(at)
	if err := s.DeleteExpired(ctx, first.Until().AddDate(0, 0, 2)); err != nil {
		t.Error(err)
	}
	is(issue.Recovery{})
}

// What lets somebody in, or no more, ends the sessions of before it in its own transaction, and
// tells; what does nothing neither ends one nor tells.
func TestSessionsEndWithWhatLetThemIn(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	p, one, two := person(), passkeyOf("one"), passkeyOf("two")
	did := telling(day)
	did.Mail, did.To = mail.Keys, issue.Contact{Confirmed: "jo@example.org"}
	for _, row := range []struct {
		name string
		do   func() error
		ends bool
		told int
	}{
		{"the first passkey", func() error { _, _, err := s.AddPasskey(ctx, p, one, did); return err }, true, 1},
		{"the same once more", func() error { _, _, err := s.AddPasskey(ctx, p, one, did); return err }, false, 0},
		{"the second", func() error { _, _, err := s.AddPasskey(ctx, p, two, did); return err }, false, 1},
		{"a recovery that there is not", func() error { _, err := s.EndRecovery(ctx, p, did); return err }, false, 0},
		{"a recovery that waits", func() error {
			if _, err := s.BeginRecovery(ctx, p, telling(day)); err != nil {
				return err
			}
			_, err := s.EndRecovery(ctx, p, did)
			return err
		}, true, 1},
		{"one is removed", func() error { return s.RemovePasskey(ctx, p, one.ID, did) }, true, 1},
		{"once more", func() error { return s.RemovePasskey(ctx, p, one.ID, did) }, false, 0},
		{"the last is removed", func() error { return s.RemovePasskey(ctx, p, two.ID, did) }, true, 1},
	} {
		before := value[int](t, admin, `SELECT count(*) FROM mails`)
		session, err := s.BeginSession(ctx, p, issue.NewSession("", day))
		if err == nil {
			err = row.do()
		}
		if err != nil {
			t.Fatal(row.name, err, cause(err))
		}
		if live, _, err := s.Live(ctx, p, session); err != nil || live == row.ends {
			t.Errorf("%s: the session lives: %v %v", row.name, live, err)
		}
		if n := value[int](t, admin, `SELECT count(*) FROM mails`) - before; n != row.told {
			t.Errorf("%s: %d mails", row.name, n)
		}
	}
}

// Without the key rows tell nothing of whose they are, of how many passkeys somebody has, or
// of what they are: they have one length, and random places.
func TestRowsOfPasskeysLookAlike(t *testing.T) {
	admin := database(t)
	s := issuing(t, admin, Options{})
	many, one := person(), person()
	long := passkeyOf(strings.Repeat("w", issue.MaxWord))
	long.ID, long.Key, long.ACR = random(1023), random(600), strings.Repeat("https://assurance.example/", 4)
	for _, k := range []issue.Passkey{passkeyOf(""), passkeyOf("phone"), long} {
		if added, err := adds(s, many, k); !added || err != nil {
			t.Fatal(added, err, cause(err))
		}
	}
	if _, err := adds(s, one, passkeyOf("phone")); err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, admin, `SELECT count(DISTINCT length(hidden)) FROM passkeys`); n != 1 {
		t.Errorf("rows of %d lengths", n)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM passkeys`); n != 8 {
		t.Errorf("%d rows", n)
	}
	dump := value[string](t, admin, `SELECT string_agg(encode(place, 'hex') || encode(hidden, 'hex'), ' ') FROM passkeys`)
	for _, secret := range [][]byte{many.ID[:], one.ID[:], long.ID, long.Key, []byte(many.Label), []byte("phone")} {
		if strings.Contains(dump, fmt.Sprintf("%x", secret)) {
			t.Errorf("%x stands there", secret)
		}
	}
}

// Promise 1: whoever has two copies of the database, and knows when a platform saw somebody sign
// in, does not see whose passkey it was. A use changes no row that was there, of any table; what
// it adds is of a random place, and two uses of one passkey look as those of two do.
func TestTwoCopiesDoNotTellWhoUsedAPasskey(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	p, k := person(), passkeyOf("phone")
	if _, err := adds(s, p, k); err != nil {
		t.Fatal(err)
	}
	copyOf := func() (rows []string) {
		for _, table := range mixedTables {
			rows = append(rows, strings.Fields(value[string](t, admin, `SELECT coalesce(string_agg(replace('`+table+`' || x.xmin || ':' || x::text, ' ', '_'), ' '), '') FROM `+table+` x`))...)
		}
		return rows
	}
	use := func(counter uint32) {
		t.Helper()
		whose, found, there, err := s.PasskeyOf(ctx, k.ID)
		if err != nil || !there {
			t.Fatal(there, err)
		}
		if rises, err := s.CountPasskey(ctx, k.ID, found.Counter, counter, day); err != nil || !rises {
			t.Fatal(rises, err)
		}
		if _, err := s.BeginSession(ctx, whose, issue.NewSession("", day)); err != nil {
			t.Fatal(err)
		}
	}
	var added [][]string
	before := copyOf()
	for counter := range uint32(3) {
		use(counter)
		after := copyOf()
		for _, row := range before {
			if !slices.Contains(after, row) {
				t.Fatalf("a use changed what was there: %.60s", row)
			}
		}
		added = append(added, slices.DeleteFunc(slices.Clone(after), func(row string) bool { return slices.Contains(before, row) }))
		before = after
	}
	if len(added[0]) != 1 || len(added[1]) != 2 || len(added[2]) != 2 {
		t.Errorf("uses added %d, %d and %d rows", len(added[0]), len(added[1]), len(added[2]))
	}
	for _, rows := range added {
		for _, row := range rows {
			if !strings.HasPrefix(row, "sessions") {
				t.Errorf("a use wrote %.60s", row)
			}
		}
	}
	if n := value[int](t, admin, `SELECT count(DISTINCT length(hidden)) FROM sessions`); n != 1 {
		t.Errorf("rows of %d lengths", n)
	}
	if err := s.RemovePasskey(ctx, p, k.ID, telling(day)); err != nil { // which must not show together what it was used for
		t.Fatal(err)
	}
	after := copyOf()
	for _, row := range before {
		if strings.HasPrefix(row, "sessions") && !slices.Contains(after, row) {
			t.Errorf("with the passkey went %.60s", row)
		}
	}
}
