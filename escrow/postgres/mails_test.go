package postgres

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/mail"
	"github.com/penname/penname/escrow/mail/mailtest"
	"github.com/penname/penname/policy"
)

// entered fails unless the contact replaces the other.
func entered(t *testing.T, s *Issuing, p issue.Person, was, now issue.Contact, told ...issue.Told) {
	t.Helper()
	done, err := s.SetContact(t.Context(), p, was, now, mailtest.Noon, told...)
	if err != nil || !done {
		t.Fatalf("%v %v: %s", done, err, cause(err))
	}
}

func TestMailsConform(t *testing.T) {
	t.Run("people", func(t *testing.T) {
		mailtest.TestOutbox(t, func(t *testing.T) mailtest.Opened {
			s := issuing(t, database(t), Options{})
			last, p := issue.Contact{}, enrolment().Person
			return mailtest.Opened{Outbox: s.Outbox(), Put: func(t *testing.T, now time.Time) {
				next := last
				next.Pending, next.Code, next.Sent = "jo@example.org", "12345678", last.Sent+1
				if done, err := s.SetContact(t.Context(), p, last, next, now, issue.Told{Kind: mail.Confirm}); err != nil || !done {
					t.Fatal(done, err)
				}
				last = next
			}}
		})
	})
	t.Run("people of cases", func(t *testing.T) {
		mailtest.TestOutbox(t, func(t *testing.T) mailtest.Opened {
			admin := database(t)
			s, d := issuing(t, admin, Options{}), disclosing(t, admin, Options{})
			c, target := caseTold(t, d, disclose.LetterNotice), 0
			return mailtest.Opened{Outbox: s.Outbox(), Put: func(t *testing.T, now time.Time) {
				target++
				err := d.transact(t.Context(), func(ctx context.Context, tx pgx.Tx, _ bool) error {
					return pledge(ctx, tx, s.rows, c, []disclose.Duty{{Letter: disclose.LetterNotice, Target: target, Since: now}})
				})
				if err != nil {
					t.Fatal(err, cause(err))
				}
			}}
		})
	})
	t.Run("parties", func(t *testing.T) {
		mailtest.TestOutbox(t, func(t *testing.T) mailtest.Opened {
			admin := database(t)
			issuing(t, admin, Options{})
			r, leaf := disclosing(t, admin, Options{}).Reminders, int64(0)
			return mailtest.Opened{Outbox: r.Outbox(), Put: func(t *testing.T, now time.Time) {
				leaf++
				if err := r.Put(t.Context(), disclose.Party{Role: disclose.RoleCustodian, ID: "alba"}, leaf, now); err != nil {
					t.Fatal(err, cause(err))
				}
			}}
		})
	})
}

// owing is a change that owes a letter to the persons of two records, by the first of
// which the second target has no more.
func owing(change func(disclose.Case) (disclose.Change, error), letter disclose.Letter, labels ...[]string) func(disclose.Case) (disclose.Change, error) {
	return func(c disclose.Case) (disclose.Change, error) {
		ch, err := change(c)
		for i, of := range labels {
			ch.Duties = append(ch.Duties, disclose.Duty{Letter: letter, Target: i, Labels: of, Since: mailtest.Noon})
		}
		return ch, err
	}
}

// caseTold is a case of which the persons are told.
func caseTold(t *testing.T, d *Disclosing, letter disclose.Letter, labels ...[]string) disclose.Case {
	t.Helper()
	c, leaf := disclosetest.NewCase(policy.Production)
	underCurrent(t, d, &c, &leaf)
	c, err := d.Cases.File(t.Context(), c, leaf)
	for _, change := range []func(disclose.Case) (disclose.Change, error){disclosetest.Approve, disclosetest.Release, owing(disclosetest.Notify, letter, labels...)} {
		if err == nil {
			c, err = d.Cases.Apply(t.Context(), c.ID, change)
		}
	}
	if err != nil {
		t.Fatal(err, cause(err))
	}
	return c
}

// A duty finds the address that its person has when it is sent, under whichever record, and
// what came of it is read by case and target. Which is which shows in no column.
func TestADutyFindsItsPerson(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	reached, other, refused := enrolment().Person, enrolment().Person, enrolment().Person
	entered(t, s, reached, issue.Contact{}, issue.Contact{Confirmed: "jo@example.org"})
	entered(t, s, other, issue.Contact{}, issue.Contact{Pending: "not.confirmed@example.org", Code: "12345678"})
	entered(t, s, refused, issue.Contact{}, issue.Contact{Confirmed: "gone@nowhere.example"})
	c := caseTold(t, d, disclose.LetterFirst, []string{"a record of before", reached.Label}, []string{other.Label}, nil, []string{refused.Label})
	server := &mailtest.Server{}
	server.Start(t)
	client := mail.Server{Address: server.Address(), TLS: mail.Off, From: "penname@penname.example"}
	sender := mail.Sender{Outbox: s.Outbox(), Send: client.Send, From: client.From, Origin: "https://penname.example", Now: func() time.Time { return mailtest.Noon.Add(30 * time.Second) }}
	shape := `SELECT count(DISTINCT (kind, since, due, tries, done, refused, day, octet_length(hidden))) FROM mails`
	if n := value[int](t, admin, shape); n != 1 {
		t.Errorf("duties differ in %d ways before they are sent", n)
	}
	if err := sender.Work(ctx); err != nil {
		t.Fatal(err, cause(err))
	}
	got := server.Delivered()
	if len(got) != 1 || got[0].To != "jo@example.org" {
		t.Fatalf("delivered %v", got)
	}
	for _, not := range []string{c.ID, c.Authority, c.WarrantID, reached.Label, "pen1", "town-square", "police"} { // of the notice
		if strings.Contains(got[0].Text, not) {
			t.Errorf("a mail says %q", not)
		}
	}
	if n := value[int](t, admin, shape); n != 1 {
		t.Errorf("duties differ in %d ways afterwards", n)
	}
	at := mailtest.Noon.Add(time.Minute)
	mailed, err := d.Cases.Mailed(ctx, c.ID, disclose.LetterFirst)
	want := map[int]disclose.Mailed{0: {Outcome: disclose.MailAccepted, At: at}, 1: {Outcome: disclose.MailNoAddress, At: at}, 2: {Outcome: disclose.MailNoAddress, At: at}, 3: {Outcome: disclose.MailRefused, At: at}}
	for i := range 4 {
		if err != nil || mailed[i] != want[i] {
			t.Errorf("target %d: %+v, %v", i, mailed[i], err)
		}
	}
	for p, is := range map[issue.Person]bool{reached: false, other: false, refused: true} {
		if c, err := s.Contact(ctx, p); err != nil || c.Refused != is {
			t.Errorf("%+v, %v", c.Refused, err)
		}
	}
	if w, err := s.Outbox().Waiting(ctx, mailtest.Noon.Add(24*time.Hour)); err != nil || w.Mails != 0 {
		t.Errorf("%+v, %v", w, err)
	}
}

// N01, promise 1: neither columns nor transactions tell a duty that ended at once from one that a
// mail server puts off for ever or refused, nor which address a refused one was of.
func TestNoRowTellsWhoHasAnAddress(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	labels := [][]string{nil}
	for _, to := range []mail.Address{"jo@example.org", "full@example.org", "gone@example.org", "gone2@example.org"} {
		p := enrolment().Person
		entered(t, s, p, issue.Contact{}, issue.Contact{Confirmed: to})
		labels = append(labels, []string{p.Label})
	}
	c := caseTold(t, d, disclose.LetterNotice, labels...)
	now, tries := mailtest.Noon, 0
	sender := mail.Sender{Outbox: s.Outbox(), From: "penname@penname.example", Now: func() time.Time { return now }, Send: func(_ context.Context, to mail.Address, _ []byte) error {
		switch to {
		case "full@example.org":
			tries++
			return mail.ErrLater
		case "gone@example.org", "gone2@example.org":
			return mail.ErrRefused
		}
		return nil
	}}
	const shape, written = `SELECT count(DISTINCT (kind, since, due, tries, done, refused, day, octet_length(hidden))) FROM mails`, `SELECT count(DISTINCT xmin::text) FROM mails`
	same := func(when string) {
		t.Helper()
		if n := value[int](t, admin, shape); n != 1 {
			t.Errorf("%s: duties differ in %d ways", when, n)
		}
		if n := value[int](t, admin, `SELECT count(*) FROM addresses a JOIN mails m ON a.xmin = m.xmin`); n != 0 {
			t.Errorf("%s: %d addresses share a transaction with a duty", when, n)
		}
	}
	same("before")
	for i, after := range []time.Duration{0, time.Minute, time.Hour, 24 * time.Hour, 40 * 24 * time.Hour} {
		now = mailtest.Noon.Add(after)
		if err := sender.Work(ctx); err != nil {
			t.Fatal(err, cause(err))
		}
		same(after.String())
		if n := value[int](t, admin, written); i > 0 && i < 4 && n != 1 {
			t.Errorf("%s: duties were written by %d transactions", after, n)
		}
		if i < 4 && tries != i+1 {
			t.Errorf("%s: %d tries", after, tries)
		}
	}
	for range 24 { // an old one has its hour
		now = now.Add(time.Hour)
		if err := sender.Work(ctx); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	if tries < 5 {
		t.Errorf("given up after %d tries", tries)
	}
	if mailed, err := d.Cases.Mailed(ctx, c.ID, disclose.LetterNotice); err != nil || mailed[0].Outcome != disclose.MailNoAddress || mailed[1].Outcome != disclose.MailAccepted || mailed[2].Outcome != disclose.MailWaiting || mailed[3].Outcome != disclose.MailRefused {
		t.Errorf("%+v, %v", mailed, err)
	}
}

// N01: that a mail server refused an address is in no row of an address, so that none tells whose
// duty it was. The person reads it all the same, of every process and after a restart, until they
// confirm an address again.
func TestARefusalIsInNoRowOfAnAddress(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	people := map[mail.Address]issue.Person{"jo@example.org": enrolment().Person, "gone@example.org": enrolment().Person, "moved@example.org": enrolment().Person}
	for to, p := range people {
		entered(t, s, p, issue.Contact{}, issue.Contact{Confirmed: to})
	}
	const rows = `SELECT string_agg(xmin || ' ' || a, ' ' ORDER BY place) FROM addresses a`
	was := value[string](t, admin, rows)
	caseTold(t, d, disclose.LetterNotice, []string{people["gone@example.org"].Label}, []string{people["moved@example.org"].Label})
	now := mailtest.Noon
	work := func(s *Issuing) {
		t.Helper()
		sender := mail.Sender{Outbox: s.Outbox(), Now: func() time.Time { return now }, Send: func(context.Context, mail.Address, []byte) error { return mail.ErrRefused }}
		if err := sender.Work(ctx); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	says := func(when string, s *Issuing, refused ...mail.Address) {
		t.Helper()
		for to, p := range people {
			if c, err := s.Contact(ctx, p); err != nil || c.Refused != slices.Contains(refused, to) {
				t.Errorf("%s: %s: %v, %v", when, to.Reveal(), c.Refused, err)
			}
		}
	}
	another := issuing(t, admin, Options{})
	work(another)
	work(s)
	says("sent", another, "gone@example.org", "moved@example.org")
	says("by another", s, "gone@example.org", "moved@example.org")
	if is := value[string](t, admin, rows); is != was {
		t.Errorf("rows of addresses: %s, and before %s", is, was)
	}
	entered(t, s, people["moved@example.org"], issue.Contact{Confirmed: "moved@example.org", Refused: true}, issue.Contact{Confirmed: "new@example.org"})
	says("with a new address", another, "gone@example.org")
	now = now.Add(24 * time.Hour)
	later := issuing(t, admin, Options{})
	work(later)
	says("after a restart", later, "gone@example.org")
	entered(t, later, people["gone@example.org"], issue.Contact{Confirmed: "gone@example.org", Refused: true}, issue.Contact{Confirmed: "gone@example.org"}) // confirmed again
	for _, of := range []*Issuing{s, another, later} {
		says("confirmed again", of)
	}
}

// A later try seals its duty among a hundred others of the same time, and not all there are;
// which it is among, does not depend on the try.
func TestALaterTryIsHiddenInItsBlock(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	p := enrolment().Person
	entered(t, s, p, issue.Contact{}, issue.Contact{Confirmed: "full@example.org"})
	c := caseTold(t, d, disclose.LetterNotice, []string{p.Label})
	owed := func(n int, since time.Time) {
		t.Helper()
		duties, last := make([]disclose.Duty, n), value[int](t, admin, `SELECT max(target) FROM mails`)
		for i := range duties {
			duties[i] = disclose.Duty{Letter: disclose.LetterNotice, Target: last + 1 + i, Since: since}
		}
		if err := d.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error { return pledge(ctx, tx, s.rows, c, duties) }); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	now := mailtest.Noon
	sender := mail.Sender{Outbox: s.Outbox(), Now: func() time.Time { return now }, Send: func(context.Context, mail.Address, []byte) error { return mail.ErrLater }}
	was, known := map[string]bool{}, map[string]string{}
	for i, more := range []struct {
		n    int
		days int // before
	}{{60, 0}, {300, 10}, {80, 1}, {900, 0}} {
		owed(more.n, mailtest.Noon.AddDate(0, 0, -more.days))
		now = now.Add(time.Hour)
		for range 3 { // first tries
			if err := sender.Work(ctx); err != nil {
				t.Fatal(err, cause(err))
			}
		}
		now = now.Add(5 * time.Hour)
		before := value[map[string]string](t, admin, `SELECT json_object_agg(encode(id, 'hex'), xmin::text) FROM mails`)
		if err := sender.Work(ctx); err != nil {
			t.Fatal(err, cause(err))
		}
		after := value[map[string]string](t, admin, `SELECT json_object_agg(encode(id, 'hex'), xmin::text) FROM mails`)
		sealed := map[string]bool{}
		for id, xmin := range after {
			if xmin != before[id] {
				sealed[id] = true
			}
		}
		if n := len(sealed); i == 0 && n != len(after) || i > 0 && (n < blockRows || n >= 5*blockRows) {
			t.Errorf("%d rows of %d were sealed again", n, len(after))
		}
		for id := range sealed { // several tries tell no more than one
			if known[id] != "" && !was[id] {
				t.Error("a row that was not sealed with it before")
			}
		}
		was, known = sealed, after
	}
}

// A change of an address happens with its mails or not at all, once, and not for somebody
// who asked to be deleted. A copy of the database has rows of one length, and no address.
func TestContactsAreStored(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	e := enrolment()
	p, _, err := s.Enrol(ctx, e)
	if err != nil {
		t.Fatal(err)
	}
	first := issue.Contact{Pending: "jo@example.org", Code: "12345678", Until: mailtest.Noon.Add(time.Hour), Wrong: 3, Day: day, Sent: 2}
	entered(t, s, p, issue.Contact{}, first, issue.Told{Kind: mail.Confirm})
	if got, err := s.Contact(ctx, p); err != nil || got != first {
		t.Errorf("%+v, %v", got, err)
	}
	if done, err := s.SetContact(ctx, p, issue.Contact{}, issue.Contact{Confirmed: "x@example.org"}, mailtest.Noon, issue.Told{Kind: mail.Confirm}); done || err != nil {
		t.Errorf("a change of what was before: %v, %v", done, err)
	}
	long := mail.Address(strings.Repeat("&", 64) + "@" + strings.Repeat("a.", 90) + "example")
	second := issue.Contact{Confirmed: long, Pending: long, Code: "12345678", Until: mailtest.Noon, Day: day, Sent: 3, Refused: true}
	entered(t, s, p, first, second, issue.Told{Kind: mail.Changed, To: long})
	l, ok, err := s.Outbox().Take(ctx, mailtest.Noon, mailtest.Noon.Add(time.Minute))
	for ok && err == nil && l.Kind != mail.Changed {
		l, ok, err = s.Outbox().Take(ctx, mailtest.Noon, mailtest.Noon.Add(time.Minute))
	}
	if err != nil || l.To != long {
		t.Errorf("%v %v", ok, err)
	}
	for _, table := range []string{"addresses", "mails"} {
		if n := value[int](t, admin, `SELECT count(DISTINCT octet_length(hidden)) FROM `+table); n != 1 {
			t.Errorf("%s: %d lengths", table, n)
		}
		if b := value[[]byte](t, admin, `SELECT convert_to(string_agg(x::text, ' '), 'UTF8') FROM `+table+` x`); bytes.Contains(b, []byte("example")) || bytes.Contains(b, []byte(p.Label)) {
			t.Errorf("%s: %s", table, b)
		}
	}
	if _, err := s.Ask(ctx, issue.Receipt{Label: p.Label, Day: day}); err != nil {
		t.Fatal(err)
	}
	if done, err := s.SetContact(ctx, p, second, first, mailtest.Noon); done || err != nil {
		t.Errorf("after a wish to be deleted: %v, %v", done, err)
	}
	entered(t, s, p, second, issue.Contact{})
	if n := value[int](t, admin, `SELECT count(*) FROM addresses`); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// A row that somebody damaged is handed out as such: it is not skipped, and stays.
func TestADamagedMailIsNamed(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	p := enrolment().Person
	entered(t, s, p, issue.Contact{}, issue.Contact{Confirmed: "jo@example.org"})
	c := caseTold(t, d, disclose.LetterNotice, []string{p.Label})
	for what, damage := range map[string]string{
		"duty":    `UPDATE mails SET hidden = set_byte(hidden, 100, 255 - get_byte(hidden, 100))`,
		"address": `UPDATE addresses SET hidden = set_byte(hidden, 100, 255 - get_byte(hidden, 100))`,
	} {
		sql(t, admin, damage)
		l, ok, err := s.Outbox().Take(ctx, mailtest.Noon, mailtest.Noon.Add(time.Minute))
		if err != nil || !ok || !l.Damaged || l.To != "" {
			t.Errorf("%s: %v %v %+v", what, ok, err, l)
		}
		if err := s.Outbox().Postpone(ctx, l, mailtest.Noon); err != nil {
			t.Fatal(err)
		}
		if mailed, err := d.Cases.Mailed(ctx, c.ID, disclose.LetterNotice); err != nil || mailed[0].Outcome != disclose.MailWaiting {
			t.Errorf("%s: %v, %v", what, mailed, err)
		}
		sql(t, admin, damage) // and back
	}
}

// What waits cannot be deleted, and what came of it cannot be changed, by whomever; the sides
// see of each other's part what they need.
func TestD03DutiesStay(t *testing.T) {
	admin := database(t)
	s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
	caseTold(t, d, disclose.LetterNotice, nil)
	if err := d.Reminders.Put(ctx, disclose.Party{Role: disclose.RoleCustodian, ID: "alba"}, 1, mailtest.Noon); err != nil {
		t.Fatal(err)
	}
	never := func(statement, state string) {
		t.Helper()
		if got, _ := sqlState(try(t, admin, statement)); got != state {
			t.Errorf("%s: %s", statement, got)
		}
	}
	never(`DELETE FROM mails`, "23514")
	never(`DELETE FROM mails WHERE kind = 'reminder'`, "23514")
	never(`TRUNCATE mails`, "23514")
	never(`TRUNCATE addresses`, "23514")
	never(`UPDATE mails SET done = due`, "23514")
	sender := mail.Sender{Outbox: s.Outbox(), Now: func() time.Time { return mailtest.Noon }}
	if err := sender.Work(ctx); err != nil {
		t.Fatal(err)
	}
	never(`UPDATE mails SET done = now(), since = NULL, due = NULL WHERE kind = 'notice'`, "23514")
	never(`UPDATE mails SET tries = 1 WHERE kind = 'notice'`, "23514")
	never(`DELETE FROM mails WHERE kind = 'notice'`, "23514")
	sql(t, admin, `SELECT mix_some('mails', NULL, 1000, now(), 40)`) // writes rows again as they are
	for _, statement := range []string{`SELECT place FROM addresses`, `INSERT INTO addresses DEFAULT VALUES`, `UPDATE mails SET hidden = hidden`, `DELETE FROM addresses`} {
		if state, _ := sqlState(try(t, as(t, admin, "penname_disclosing"), statement)); state != "42501" {
			t.Errorf("disclosing: %s: %s", statement, state)
		}
	}
	for _, statement := range []string{`SELECT case_id FROM mails`, `SELECT party FROM mails`, `INSERT INTO mails (id, kind, party) VALUES ('\x00', 'reminder', 'x')`, `UPDATE mails SET refused = true`} {
		if state, _ := sqlState(try(t, as(t, admin, "penname_issuing"), statement)); state != "42501" {
			t.Errorf("issuing: %s: %s", statement, state)
		}
	}
}

// F39: while the mail server is down, in whatever way, a case goes its way to its end, the
// duty waits where the operator sees it, and when the server is back it is carried out once, or
// twice where the server took the mail and its answer was lost.
func TestF39MailIsDown(t *testing.T) {
	for fault, most := range map[mailtest.Fault]int{mailtest.Refuses: 1, mailtest.Silent: 1, mailtest.DropsInData: 1, mailtest.LosesTheAnswer: 2} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			admin := database(t)
			s, d, ctx := issuing(t, admin, Options{}), disclosing(t, admin, Options{}), t.Context()
			server := &mailtest.Server{}
			server.Start(t)
			server.Fail(fault)
			client := mail.Server{Address: server.Address(), TLS: mail.Off, From: "penname@penname.example"}
			now := mailtest.Noon
			sender := mail.Sender{Outbox: s.Outbox(), Send: client.Send, From: client.From, Origin: "https://penname.example", Now: func() time.Time { return now }}
			p := enrolment().Person
			entered(t, s, p, issue.Contact{}, issue.Contact{Confirmed: "jo@example.org"})
			c, leaf := disclosetest.NewCase(policy.Production)
			c, err := d.Cases.File(ctx, c, leaf)
			if err == nil {
				c, err = d.Cases.Apply(ctx, c.ID, owing(disclosetest.Approve, disclose.LetterFirst, []string{p.Label}))
			}
			if err != nil {
				t.Fatal(err)
			}
			ended, stop := make(chan error), context.CancelFunc(nil)
			run, stop := context.WithCancel(ctx)
			defer stop()
			go func() { ended <- sender.Work(run) }() // it may hang meanwhile
			for _, change := range []func(disclose.Case) (disclose.Change, error){disclosetest.Release, owing(disclosetest.Notify, disclose.LetterNotice, []string{p.Label})} {
				if c, err = d.Cases.Apply(ctx, c.ID, change); err != nil {
					t.Fatal(err)
				}
			}
			if c.State != disclose.Noticed {
				t.Errorf("the case is %s", c.State)
			}
			if fault == mailtest.Silent {
				for server.Tries() == 0 { // it hangs in the greeting
					time.Sleep(time.Millisecond)
				}
				stop() // as at a shutdown
			}
			if err := <-ended; !errors.Is(err, mail.ErrServer) && !errors.Is(err, mail.ErrUnknown) {
				t.Errorf("a run says %v", err)
			}
			for _, letter := range []disclose.Letter{disclose.LetterFirst, disclose.LetterNotice} {
				if mailed, err := d.Cases.Mailed(ctx, c.ID, letter); err != nil || mailed[0].Outcome != disclose.MailWaiting {
					t.Errorf("%s: %+v, %v", letter, mailed, err)
				}
			}
			if w, err := s.Outbox().Waiting(ctx, now.Add(time.Hour)); err != nil || w.Mails != 2 || !w.Oldest.Equal(now.Truncate(time.Hour)) {
				t.Errorf("%+v, %v", w, err)
			}
			server.Fail(mailtest.None)
			for range 3 {
				now = now.Add(time.Hour)
				if err := sender.Work(ctx); err != nil {
					t.Error(err)
				}
			}
			for _, letter := range []disclose.Letter{disclose.LetterFirst, disclose.LetterNotice} {
				if mailed, err := d.Cases.Mailed(ctx, c.ID, letter); err != nil || mailed[0].Outcome != disclose.MailAccepted {
					t.Errorf("%s: %+v, %v", letter, mailed, err)
				}
			}
			if n := len(server.Delivered()); n < 2 || n > 1+most {
				t.Errorf("%d mails for two duties", n)
			}
		})
	}
}
