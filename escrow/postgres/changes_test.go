package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/mail/mailtest"
)

func enrolled(t *testing.T, s *Issuing) issue.Enrolment {
	t.Helper()
	e := enrolment()
	if _, _, err := s.Enrol(t.Context(), e); err != nil {
		t.Fatal(err, cause(err))
	}
	return e
}

func changed(t *testing.T, s *Issuing, p issue.Person, on time.Time, kind issue.ChangeKind, detail string) {
	t.Helper()
	if err := s.Change(t.Context(), p, issue.Change{Day: on, Kind: kind, Detail: detail}); err != nil {
		t.Fatal(err, cause(err))
	}
}

// said is what changed, in a line.
func said(t *testing.T, s *Issuing, p issue.Person, today time.Time) string {
	t.Helper()
	all, err := s.Changes(t.Context(), p, today)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	var words []string
	for _, c := range all {
		words = append(words, strings.TrimSpace(c.Day.Format("02 ")+string(c.Kind)+" "+c.Detail))
	}
	return strings.Join(words, ", ")
}

// What is noted of a person is found again, by day and in the order of a day; of somebody else
// nothing is.
func TestChangesAreKeptByDay(t *testing.T) {
	s, ctx := issuing(t, database(t), Options{}), t.Context()
	jo, neighbour := enrolled(t, s), enrolled(t, s)
	before := enrolment().Person // enrolled before there was such a list
	changed(t, s, jo.Person, day, issue.ChangePasskeyAdded, "phone")
	changed(t, s, jo.Person, day.AddDate(0, 0, 3), issue.ChangeDeviceOut, "")
	changed(t, s, jo.Person, day.AddDate(0, 0, 3), issue.ChangeDeviceOut, "laptop")
	changed(t, s, jo.Person, day.AddDate(0, 0, 3), issue.ChangeClaims, "")
	changed(t, s, before, day, issue.ChangeClaims, "")
	if err := s.EndSessions(ctx, jo.Person, issue.Change{Day: day.AddDate(0, 0, 4), Kind: issue.ChangeAllOut}); err != nil {
		t.Fatal(err)
	}
	today := day.AddDate(0, 0, 5)
	d := func(n int) string { return day.AddDate(0, 0, n).Format("02 ") }
	for who, c := range map[string]struct {
		p    issue.Person
		want string
	}{
		"jo":        {jo.Person, d(0) + "enrolled, " + d(0) + "passkey_added phone, " + d(3) + "device_signed_out, " + d(3) + "device_signed_out laptop, " + d(3) + "claims_taken_anew, " + d(4) + "signed_out_everywhere"},
		"neighbour": {neighbour.Person, d(0) + "enrolled"}, "from before": {before, d(0) + "claims_taken_anew"}, "nobody": {enrolment().Person, ""},
	} {
		if got := said(t, s, c.p, today); got != c.want {
			t.Errorf("%s: %q, want %q", who, got, c.want)
		}
	}
	// The last day on which the first is kept; the day of the enrolment stays.
	last := day.AddDate(0, 0, issue.ChangeDays-1)
	if got := said(t, s, jo.Person, last); !strings.Contains(got, "phone") {
		t.Errorf("on the last day: %q", got)
	}
	if err := s.DeleteExpired(ctx, day.AddDate(0, 0, issue.ChangeDays).Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := said(t, s, jo.Person, last); strings.Contains(got, "phone") || !strings.Contains(got, "enrolled") || !strings.Contains(got, "laptop") {
		t.Errorf("after it: %q", got)
	}
	if err := s.Change(ctx, jo.Person, issue.Change{Day: day, Kind: issue.ChangeDeviceOut, Detail: strings.Repeat("x", issue.MaxWord+1)}); err == nil {
		t.Error("a detail that is too long was stored")
	}
}

// A change of an address is noted with it; what changes nothing is not.
func TestChangesOfAnAddress(t *testing.T) {
	s := issuing(t, database(t), Options{})
	p := enrolled(t, s).Person
	given := issue.Contact{Pending: "jo@example.org", Code: "12345678", Until: mailtest.Noon, Day: mailtest.Noon.Truncate(24 * time.Hour), Sent: 1}
	wrong, confirmed := given, issue.Contact{Confirmed: "jo@example.org", Sent: 1}
	wrong.Wrong = 1
	entered(t, s, p, issue.Contact{}, given)
	entered(t, s, p, given, wrong)
	entered(t, s, p, wrong, confirmed)
	entered(t, s, p, confirmed, issue.Contact{Sent: 1})
	if got := said(t, s, p, mailtest.Noon.Truncate(24*time.Hour)); strings.Count(got, "address_") != 3 || !strings.Contains(got, "address_given, ") ||
		strings.Index(got, "address_confirmed") > strings.Index(got, "address_removed") {
		t.Errorf("%q", got)
	}
}

// A day has a bound, and says that there was more.
func TestChangesOfADayAreBounded(t *testing.T) {
	admin := database(t)
	s, other := issuing(t, admin, Options{}), issuing(t, admin, Options{})
	p := enrolled(t, s).Person
	var wg sync.WaitGroup
	for n := range issue.ChangesADay + 4 {
		wg.Go(func() {
			if err := []*Issuing{s, other}[n%2].Change(t.Context(), p, issue.Change{Day: day, Kind: issue.ChangeDeviceOut, Detail: fmt.Sprint(n)}); err != nil {
				t.Error(err, cause(err))
			}
		})
	}
	wg.Wait()
	got := said(t, s, p, day)
	if n := strings.Count(got, "device_signed_out"); n != issue.ChangesADay-1 || !strings.HasSuffix(got, " more") {
		t.Errorf("%d: %q", n, got)
	}
}

// No number of other changes hides one that lets somebody in.
func TestChangesThatLetSomebodyInAreNotHidden(t *testing.T) {
	s := issuing(t, database(t), Options{})
	p := enrolled(t, s).Person
	for n := range issue.ChangesADay + 2 {
		changed(t, s, p, day, issue.ChangePasskeyRenamed, fmt.Sprint(n))
	}
	changed(t, s, p, day, issue.ChangeRecovered, "")
	changed(t, s, p, day, issue.ChangePasskeyRenamed, "y")
	changed(t, s, p, day, issue.ChangePasskeyAdded, "thief")
	if got := said(t, s, p, day); !strings.Contains(got, "recovered") || !strings.Contains(got, "passkey_added") || strings.Count(got, "passkey_renamed") != issue.ChangesADay-1 || strings.Count(got, "more") != 1 {
		t.Errorf("%q", got)
	}
}

// They go with a deletion, and whoever comes back begins anew. What comes after the wish is
// noted nowhere.
func TestChangesGoWithADeletion(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	e := enrolled(t, s)
	changed(t, s, e.Person, day, issue.ChangeClaims, "")
	var wg sync.WaitGroup
	for range 8 { // also while they are made
		wg.Go(func() {
			if err := s.Change(context.WithoutCancel(ctx), e.Person, issue.Change{Day: day, Kind: issue.ChangeDeviceOut}); err != nil {
				t.Error(err, cause(err))
			}
		})
	}
	wg.Go(func() {
		if _, err := s.Ask(ctx, issue.Receipt{Label: e.Person.Label, Day: day}); err != nil {
			t.Error(err, cause(err))
		}
	})
	wg.Wait()
	changed(t, s, e.Person, day, issue.ChangeClaims, "")
	if got := said(t, s, e.Person, day); got != "" {
		t.Errorf("after the wish: %q", got)
	}
	again := enrolment()
	again.Fingerprint, again.Birth, again.Likeness = e.Fingerprint, e.Birth, e.Likeness
	p, _, err := s.Enrol(ctx, again)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	if got := said(t, s, p, day); got != day.Format("02 ")+"sealed_anew" {
		t.Errorf("who is back: %q", got)
	}
}

// What is noted of a pen name stays with it, once a day, the last ones.
func TestChangesOfNames(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	mine, other := pseudonym(t), pseudonym(t)
	for n := range 40 {
		for range 2 {
			if err := s.ChangeName(ctx, mine, issue.ChangeRenamed, day.AddDate(0, 0, n)); err != nil {
				t.Fatal(err, cause(err))
			}
		}
	}
	for _, kind := range []issue.ChangeKind{issue.ChangeLeft, issue.ChangeWithdrawn, issue.ChangeLeft} {
		if err := s.ChangeName(ctx, other, kind, day); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.ChangeName(ctx, other, issue.ChangeClaims, day); err == nil {
		t.Error("a change of the person was noted with a pen name")
	}
	all, err := s.ChangesOfNames(ctx, mine, pseudonym(t), other)
	if err != nil || len(all) != 3 || len(all[0]) != pastMost || len(all[1]) != 0 || len(all[2]) != 2 {
		t.Fatal(all, err)
	}
	if last := all[0][pastMost-1]; last.Kind != issue.ChangeRenamed || !last.Day.Equal(day.AddDate(0, 0, 39)) {
		t.Errorf("%+v", last)
	}
	if all[2][0].Kind != issue.ChangeLeft || all[2][1].Kind != issue.ChangeWithdrawn {
		t.Errorf("%+v", all[2])
	}
	if n := value[int](t, admin, `SELECT count(DISTINCT octet_length(hidden)) FROM notes`); n != 1 {
		t.Errorf("%d lengths", n)
	}
}

// rowsOf is every row of every table, as whoever copied the database has them: by table and
// contents without what says when a row was written.
func rowsOf(t *testing.T, admin string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for _, table := range []string{"sessions", "notes", "addresses", "mails", "persons", "records", "erasures", "pseudonyms"} {
		for _, row := range value[[]string](t, admin, `SELECT coalesce(array_agg((to_jsonb(x) - 'fresh')::text), '{}') FROM `+table+` x`) {
			all[table+" "+row] = true
		}
	}
	return all
}

// N01: somebody has a copy of the database from before and after each event, and two
// platforms tell them when A and B signed out everywhere. Each time rows come, and no row
// that is there changes or goes: what came at one time has nothing in common with what came
// at another. So they see who was written of at no two times, also after a deletion.
func TestSnapshotsLinkNoChanges(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	e, other := enrolled(t, s), enrolled(t, s)
	a, b := pseudonym(t), pseudonym(t) // of e, at two platforms
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err, cause(err))
		}
	}
	copies := []map[string]bool{rowsOf(t, admin)}
	at := func(event func()) {
		event()
		copies = append(copies, rowsOf(t, admin))
	}
	at(func() { changed(t, s, e.Person, day, issue.ChangeDeviceOut, "phone") })
	for n := range 3 {
		at(func() {
			must(s.EndSessions(ctx, e.Person, issue.Change{Day: day.AddDate(0, 0, n), Kind: issue.ChangeAllOut}))
		})
		at(func() { changed(t, s, other.Person, day.AddDate(0, 0, n), issue.ChangeClaims, "") })
	}
	for n := 1; n < len(copies); n++ {
		for row := range copies[n-1] {
			if !copies[n][row] {
				t.Errorf("at %d a row that was there changed or went: %s", n, row[:min(60, len(row))])
			}
		}
		if len(copies[n]) == len(copies[n-1]) {
			t.Errorf("at %d nothing was written: this test would see nothing", n)
		}
	}
	// What is of one pen name: one row, and it is not that of the other, or of the person.
	before := rowsOf(t, admin)
	must(s.ChangeName(ctx, a, issue.ChangeLeft, day))
	must(s.ChangeName(ctx, b, issue.ChangeLeft, day))
	middle := rowsOf(t, admin)
	must(s.ChangeName(ctx, a, issue.ChangeLeft, day.AddDate(0, 0, 1)))
	must(s.ChangeName(ctx, a, issue.ChangeRenamed, day.AddDate(0, 0, 1))) // which no platform knows, in a row of its own
	after, gone := rowsOf(t, admin), 0
	for row := range middle {
		if !after[row] {
			gone++
		}
	}
	if len(middle) != len(before)+2 || gone != 1 {
		t.Errorf("%d rows came of two pen names, %d changed of one", len(middle)-len(before), gone)
	}
	// A deletion takes one row, which never stood beside a change but the first: all of its
	// changes would show whose they were.
	before = rowsOf(t, admin)
	_, err := s.Ask(ctx, issue.Receipt{Label: e.Person.Label, Day: day})
	must(err)
	after, gone = rowsOf(t, admin), 0
	for row := range before {
		if !after[row] {
			gone++
			if !copies[0][row] || !strings.HasPrefix(row, "sessions ") {
				t.Errorf("a deletion takes %s", row)
			}
		}
	}
	if gone != 1 {
		t.Errorf("a deletion takes %d rows", gone)
	}
}

// A copy of the rows tells none apart: neither by length nor by what stands in them.
func TestRowsOfChangesSayNothing(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	e := enrolled(t, s)
	changed(t, s, e.Person, day, issue.ChangePasskeyAdded, "grandmother")
	changed(t, s, e.Person, day, issue.ChangePasskeyAdded, "grandmother")
	changed(t, s, e.Person, day, issue.ChangeClaims, "")
	if _, err := s.BeginSession(ctx, e.Person, issue.NewSession("grandmother", day)); err != nil {
		t.Fatal(err)
	}
	all := value[[]string](t, admin, `SELECT array_agg(encode(v, 'escape')) FROM (SELECT handle v FROM sessions UNION ALL SELECT hidden FROM sessions) x`)
	if joined := strings.Join(all, "\n"); strings.Contains(joined, "grandmother") || strings.Contains(joined, "passkey") || strings.Contains(joined, "enrolled") || strings.Contains(joined, e.Person.Label) {
		t.Error("a row says what it is")
	}
	seen := map[string]bool{}
	for _, v := range all {
		if seen[v] {
			t.Error("a value is there twice")
		}
		seen[v] = true
	}
	if n := value[int](t, admin, `SELECT count(DISTINCT octet_length(hidden)) FROM sessions`); n != 1 {
		t.Errorf("%d lengths", n)
	}
}

// What is damaged is not shown as if nothing had changed.
func TestADamagedChangeIsNamed(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	e := enrolled(t, s)
	changed(t, s, e.Person, day, issue.ChangeClaims, "")
	damage := func(where string) {
		sql(t, admin, `SET session_replication_role = replica; UPDATE penname.sessions SET hidden = set_byte(hidden, 50, 255 - get_byte(hidden, 50)) WHERE `+where)
	}
	damage(`expires < '9999-01-01'`)
	_, err := s.Changes(ctx, e.Person, day)
	wantErr(t, "a change", err, ErrDamaged)
	damage(`expires < '9999-01-01'`)
	damage(`expires = '9999-01-01'`)
	_, err = s.Changes(ctx, e.Person, day)
	wantErr(t, "the secret", err, ErrDamaged)
	wantErr(t, "one more", s.Change(ctx, e.Person, issue.Change{Day: day, Kind: issue.ChangeClaims}), ErrDamaged)
	name := pseudonym(t)
	if err := s.ChangeName(ctx, name, issue.ChangeLeft, day); err != nil {
		t.Fatal(err)
	}
	sql(t, admin, `UPDATE notes SET hidden = set_byte(hidden, 50, 255 - get_byte(hidden, 50))`)
	_, err = s.ChangesOfNames(ctx, name)
	wantErr(t, "a pen name", err, ErrDamaged)
	wantErr(t, "one more of it", s.ChangeName(ctx, name, issue.ChangeLeft, day.AddDate(0, 0, 1)), ErrDamaged)
}
