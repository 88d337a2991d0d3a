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
		if added, err := s.AddPasskey(ctx, p, k); !added || err != nil {
			t.Fatal(added, err, cause(err))
		}
		all = append(all, k)
	}
	if _, err := s.AddPasskey(ctx, p, passkeyOf("")); !errors.Is(err, issue.ErrPasskeys) {
		t.Errorf("the ninth: %v", err)
	}
	for _, whose := range []issue.Person{p, other} { // W12
		if added, err := s.AddPasskey(ctx, whose, all[3]); added || err != nil {
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
	if err := s.RenamePasskey(ctx, p, all[2].ID, "laptop"); err != nil {
		t.Error(err)
	}
	for _, err := range []error{s.RenamePasskey(ctx, other, all[2].ID, "x"), s.RenamePasskey(ctx, p, random(32), "x")} {
		if !errors.Is(err, issue.ErrNoPasskey) {
			t.Errorf("what is not theirs: %v", err)
		}
	}
	if err := s.RemovePasskeys(ctx, other, all[0].ID); err != nil {
		t.Error(err)
	}
	for range 2 { // again is no error
		if err := s.RemovePasskeys(ctx, p, all[0].ID); err != nil {
			t.Error(err)
		}
	}
	if _, _, there, err := s.PasskeyOf(ctx, all[0].ID); there || err != nil {
		t.Error("it is still there", err)
	}
	if got, _ = s.Passkeys(ctx, p); len(got) != 7 || got[1].Word != "laptop" {
		t.Errorf("%+v", got)
	}
	if added, err := s.AddPasskey(ctx, p, all[0]); !added || err != nil { // at the place that is free
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
	if _, err := s.AddPasskey(ctx, p, passkeyOf("phone")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ask(ctx, issue.Receipt{Label: p.Label, Salt: [32]byte(random(32)), Day: day}); err != nil {
		t.Fatal(err, cause(err))
	}
	if added, err := s.AddPasskey(ctx, p, passkeyOf("late")); added || !errors.Is(err, issue.ErrErased) {
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
			ok, err := s.AddPasskey(ctx, whose, k)
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
				if _, err := s.AddPasskey(ctx, p, passkeyOf("another")); err != nil && !errors.Is(err, issue.ErrPasskeys) {
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
	contact := issue.Contact{Confirmed: "jo@example.org", Language: "cy"}
	if r, err := s.Recovery(ctx, p); r != (issue.Recovery{}) || err != nil {
		t.Error(r, err)
	}
	begin := func(now time.Time) issue.Recovery {
		t.Helper()
		r, err := s.BeginRecovery(ctx, p, now, contact)
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
	st, err := s.Standing(ctx, at, issue.Question{Person: p})
	if r, err2 := s.Recovery(ctx, p); r != first || st.Recovery != first || err != nil || err2 != nil {
		t.Error(r, st.Recovery, err, err2)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM mails WHERE kind = 'changed'`); n != 1 { // the row does not say of what
		t.Errorf("%d mails", n)
	}
	l, ok, err := s.Outbox().Take(ctx, at.Add(time.Hour), at.Add(2*time.Hour))
	if err != nil || !ok || l.Kind != mail.Recovery || l.To != "jo@example.org" || l.Language != "cy" {
		t.Errorf("%+v %v %v", l, ok, err)
	}
	if lapsed := begin(first.Until()); !lapsed.Began.Equal(first.Until()) {
		t.Errorf("%v stands after %v", lapsed, first.Until())
	}
	if st, err := s.Recovery(ctx, p); err != nil || !st.Used.IsZero() {
		t.Error(st, err)
	}
	for _, row := range []struct {
		at   time.Time
		used bool
	}{{first.Until(), false}, {first.Until().Add(issue.RecoveryWait), true}, {first.Until().Add(issue.RecoveryWait), false}} {
		if used, err := s.UseRecovery(ctx, p, row.at); used != row.used || err != nil {
			t.Errorf("at %v used: %v %v", row.at, used, err)
		}
	}
	lately := first.Until().Add(issue.RecoveryWait)
	if r, err := s.Recovery(ctx, p); err != nil || !r.Used.Equal(lately) || r.Stands(lately) || r.Open(lately) || !r.UsedLately(lately) || r.UsedLately(lately.Add(issue.RecoveryIn)) {
		t.Error(r, err)
	}
	if added, err := s.AddPasskey(ctx, p, passkeyOf("new")); !added || err != nil {
		t.Error(added, err)
	}
	if r, err := s.Recovery(ctx, p); err != nil || r.Used.IsZero() { // that it was used still shows
		t.Error(r, err)
	}
	if again := begin(lately); !again.Began.Equal(lately) || !again.Used.IsZero() {
		t.Error(again)
	}
	if added, err := s.AddPasskey(ctx, p, passkeyOf("another")); !added || err != nil { // which ends one that waits
		t.Error(added, err)
	}
	if r, err := s.Recovery(ctx, p); err != nil || r != (issue.Recovery{}) {
		t.Error(r, err)
	}
	begin(lately)
	for range 2 {
		if err := s.EndRecovery(ctx, p); err != nil {
			t.Error(err)
		}
	}
	if n := value[int](t, admin, `SELECT count(*) FROM sessions`); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	begin(at)
	if err := s.RemovePasskeys(ctx, p); err != nil { // with the last passkey there is nothing to recover
		t.Error(err)
	}
	if r, err := s.Recovery(ctx, p); r != (issue.Recovery{}) || err != nil {
		t.Error(r, err)
	}
	begin(at)
	if err := s.DeleteExpired(ctx, first.Until().AddDate(0, 0, 2)); err != nil {
		t.Error(err)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM sessions`); n != 0 {
		t.Errorf("%d rows are left of a recovery that lapsed", n)
	}
}

// Without the key rows tell nothing of whose they are, of how many passkeys somebody has, or
// of what they are: they have one length, and random places.
func TestRowsOfPasskeysLookAlike(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	many, one := person(), person()
	long := passkeyOf(strings.Repeat("w", issue.MaxWord))
	long.ID, long.Key, long.ACR = random(1023), random(600), strings.Repeat("https://assurance.example/", 4)
	for _, k := range []issue.Passkey{passkeyOf(""), passkeyOf("phone"), long} {
		if added, err := s.AddPasskey(ctx, many, k); !added || err != nil {
			t.Fatal(added, err, cause(err))
		}
	}
	if _, err := s.AddPasskey(ctx, one, passkeyOf("phone")); err != nil {
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
	if _, err := s.AddPasskey(ctx, p, k); err != nil {
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
	if err := s.RemovePasskeys(ctx, p, k.ID); err != nil { // which must not show together what it was used for
		t.Fatal(err)
	}
	after := copyOf()
	for _, row := range before {
		if strings.HasPrefix(row, "sessions") && !slices.Contains(after, row) {
			t.Errorf("with the passkey went %.60s", row)
		}
	}
}
