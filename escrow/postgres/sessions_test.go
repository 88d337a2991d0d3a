package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
)

func somebody() issue.Person { return enrolment().Person }

func began(t *testing.T, s *Issuing, p issue.Person, word string) issue.Session {
	t.Helper()
	session, err := s.BeginSession(t.Context(), p, issue.NewSession(word, day))
	if err != nil {
		t.Fatal(err, cause(err))
	}
	return session
}

func words(t *testing.T, s *Issuing, p issue.Person, today time.Time) string {
	t.Helper()
	sessions, err := s.Sessions(t.Context(), p, today)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	var all []string
	for _, one := range sessions {
		all = append(all, one.Word)
	}
	return strings.Join(all, " ")
}

// D1: what ends a session on one replica has ended it on all when it returns, and
// nobody else's.
func TestFoundD1SessionsEndOnAllReplicas(t *testing.T) {
	admin, ctx := database(t), t.Context()
	one, other := issuing(t, admin, Options{}), issuing(t, admin, Options{})
	jo, neighbour := somebody(), somebody()
	phone, laptop, theirs := began(t, one, jo, "phone"), began(t, other, jo, "laptop"), began(t, one, neighbour, "tablet")
	live := func(what string, p issue.Person, session issue.Session, want bool) {
		t.Helper()
		for name, s := range map[string]*Issuing{"one": one, "other": other} {
			if got, _, err := s.Live(ctx, p, session); err != nil || got != want {
				t.Errorf("%s, %s: live %v, %v", what, name, got, err)
			}
		}
	}
	live("phone", jo, phone, true)
	if got := words(t, other, jo, day); got != "phone laptop" {
		t.Errorf("devices %q", got)
	}
	for range 2 { // again is no error
		if err := one.EndSession(ctx, phone); err != nil {
			t.Fatal(err)
		}
	}
	live("phone, signed out", jo, phone, false)
	live("laptop", jo, laptop, true)
	if got := words(t, other, jo, day); got != "laptop" {
		t.Errorf("devices %q", got)
	}
	for n := range 5 { // more generations than are asked for at once
		last := began(t, one, jo, "again")
		if err := other.EndSessions(ctx, jo); err != nil {
			t.Fatal(err)
		}
		live(fmt.Sprint("signed out everywhere ", n), jo, last, false)
		live("laptop", jo, laptop, false)
		if got := words(t, one, jo, day); got != "" {
			t.Errorf("devices %q", got)
		}
	}
	live("the neighbour's", neighbour, theirs, true)
	now := began(t, other, jo, "new phone")
	live("afterwards", jo, now, true)
}

// D1: a session that is being begun while all end either ended, or began afterwards.
func TestFoundD1NoSessionSlipsThrough(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	for range 10 {
		jo := somebody()
		before := began(t, s, jo, "before")
		var wg sync.WaitGroup
		racing := make([]issue.Session, 8)
		for i := range racing {
			wg.Go(func() {
				var err error
				if racing[i], err = s.BeginSession(context.WithoutCancel(ctx), jo, issue.NewSession("racing", day)); err != nil {
					t.Error(err)
				}
			})
		}
		if err := s.EndSessions(ctx, jo); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		for _, session := range append(racing, before) {
			live, _, err := s.Live(ctx, jo, session)
			if err != nil || live != (session.Generation > before.Generation) {
				t.Errorf("generation %d: live %v, %v", session.Generation, live, err)
			}
		}
	}
}

// D1: a copy of the database tells neither whose a row is, nor what it is, nor which
// two are of one person, nor when in the day.
func TestFoundD1RowsOfSessionsNameNobody(t *testing.T) {
	admin, ctx := database(t), t.Context()
	s := issuing(t, admin, Options{})
	jo := somebody()
	first, second := began(t, s, jo, "Jo's phone"), began(t, s, jo, strings.Repeat("x", issue.MaxWord))
	if err := s.EndSession(ctx, first); err != nil {
		t.Fatal(err)
	}
	if err := s.EndSessions(ctx, jo); err != nil {
		t.Fatal(err)
	}
	rows := value[[]string](t, admin, `SELECT array_agg(s::text) FROM sessions s`)
	if len(rows) != 4 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		for _, secret := range []string{fmt.Sprintf("%x", jo.ID), jo.Label, fmt.Sprintf("%x", first.ID), fmt.Sprintf("%x", second.ID), fmt.Sprintf("%x", "phone"), "phone"} {
			if strings.Contains(row, secret) {
				t.Errorf("a row holds %q", secret)
			}
		}
	}
	for what, query := range map[string]string{
		"handles":         `SELECT count(DISTINCT handle) FROM sessions`,
		"what they hide":  `SELECT count(DISTINCT hidden) FROM sessions`,
		"rows not shared": `SELECT count(*) FROM sessions WHERE octet_length(hidden) = 124 AND (expires = '9999-01-01T00:00:00Z' OR expires = '2026-11-23T00:00:00Z')`,
	} {
		if n := value[int](t, admin, query); n != 4 {
			t.Errorf("%s: %d of 4", what, n)
		}
	}
}

// Rows of a day are kept until nobody can be signed in by them; generations for ever.
func TestSessionsAreForgottenTogether(t *testing.T) {
	admin, ctx := database(t), t.Context()
	s := issuing(t, admin, Options{})
	jo := somebody()
	var many []string
	for n := range 2*sessionsAtOnce + 1 {
		many = append(many, fmt.Sprint(n))
		began(t, s, jo, many[n])
	}
	ended := began(t, s, somebody(), "")
	if err := s.EndSession(ctx, ended); err != nil {
		t.Fatal(err)
	}
	if err := s.EndSessions(ctx, somebody()); err != nil {
		t.Fatal(err)
	}
	tomorrow := day.AddDate(0, 0, 1)
	if err := s.DeleteExpired(ctx, tomorrow.Add(24*time.Hour-time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := words(t, s, jo, tomorrow); got != strings.Join(many, " ") {
		t.Errorf("the next day: %q", got)
	}
	if got := words(t, s, jo, tomorrow.AddDate(0, 0, 1)); got != "" {
		t.Errorf("two days later: %q", got)
	}
	if err := s.DeleteExpired(ctx, tomorrow.Add(24*time.Hour+time.Second)); err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM sessions`); n != 1 {
		t.Errorf("%d rows are left, want the generation", n)
	}
}

// What somebody agreed to counts no more on any replica once they withdrew it, and what
// others agreed to, or they elsewhere, does. The rows look like those of sessions.
func TestWithdrawnEverywhere(t *testing.T) {
	admin := database(t)
	s, other := issuing(t, admin, Options{}), issuing(t, admin, Options{})
	jo, sam := somebody(), somebody()
	began(t, s, sam, "laptop")
	for n := range 2 * sessionsAtOnce {
		at := day.Add(time.Duration(n) * time.Minute)
		if err := s.Withdraw(t.Context(), jo, "here", at.Add(999*time.Millisecond)); err != nil {
			t.Fatal(err, cause(err))
		}
		for _, c := range []struct {
			p        issue.Person
			platform string
			today    time.Time
			want     time.Time
		}{{jo, "here", day, at}, {jo, "here", day.AddDate(0, 0, 1), at}, {jo, "there", day, time.Time{}}, {sam, "here", day, time.Time{}}, {jo, "here", day.AddDate(0, 0, 2), time.Time{}}} {
			if got, err := other.Withdrawn(t.Context(), c.p, c.platform, c.today); err != nil || !got.Equal(c.want) {
				t.Fatalf("%s on %s: %s, want %s, %v", c.platform, c.today, got, c.want, cause(err))
			}
		}
	}
	if got := value[string](t, admin, `SELECT format('%s %s', count(DISTINCT octet_length(hidden)), count(DISTINCT expires)) FROM sessions`); got != "1 1" {
		t.Errorf("lengths, expiries: %s", got)
	}
}
