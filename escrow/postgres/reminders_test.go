package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/escrow/mail"
	"github.com/penname/penname/escrow/mail/mailtest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// Each party hears of what waits for it and of nothing else, once, until something new
// comes; what the mail server refuses for good is counted.
func TestPartiesAreReminded(t *testing.T) {
	admin := database(t)
	issuing(t, admin, Options{})
	d, ctx := disclosing(t, admin, Options{}), t.Context()
	now := disclosetest.Day.Add(12 * time.Hour)
	server := &mailtest.Server{}
	server.Start(t)
	client := mail.Server{Address: server.Address(), TLS: mail.Off, From: "penname@penname.example"}
	parties := map[string]mail.Address{"custodian/bar": "bar@example.org", "custodian/press": "press@example.org", "authority/court": "court@example.org", "asked/court": "court@example.org", "authority/other": "other@example.org",
		"requester/police": "police@example.org", "requester/other": "others@nowhere.example"}
	reminders := disclose.Reminders{Waits: d.Reminders.Waits, Put: d.Reminders.Put, Now: func() time.Time { return now }}
	for text := range parties {
		p, _ := disclose.ParseParty(text)
		reminders.Parties = append(reminders.Parties, p)
	}
	sender := mail.Sender{Outbox: d.Reminders.Outbox(), Send: client.Send, From: client.From, Origin: "https://penname.example", Now: func() time.Time { return now },
		Party: func(p string) mail.Address { return parties[p] }}
	seen := 0
	hears := func(what string, who ...string) {
		t.Helper()
		for range 2 { // the second time there is nothing new
			for _, work := range []func(context.Context) error{reminders.Work, sender.Work} {
				if err := work(ctx); err != nil {
					t.Fatal(err, cause(err))
				}
			}
		}
		all, want := server.Delivered(), map[string]bool{}
		for _, one := range who {
			want[one+"@example.org"] = true
		}
		for _, one := range all[seen:] {
			if !want[one.To] {
				t.Errorf("%s: %s hears of it", what, one.To)
			}
			delete(want, one.To)
		}
		if len(want) > 0 {
			t.Errorf("%s: %v hear nothing", what, want)
		}
		seen, now = len(all), now.Add(30*time.Minute)
	}
	file := func(kind string, edit func(*disclose.Case)) disclose.Case {
		t.Helper()
		c, leaf := disclosetest.NewCase(kind)
		edit(&c)
		c, err := d.Cases.File(ctx, c, leaf)
		if err != nil {
			t.Fatal(err, cause(err))
		}
		return c
	}
	apply := func(c disclose.Case, change func(disclose.Case) (disclose.Change, error)) {
		t.Helper()
		if _, err := d.Cases.Apply(ctx, c.ID, change); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	hears("nothing is filed")
	file(policy.Preservation, func(*disclose.Case) {}) // leaf 0, which in a log is of a bundle
	first := file(policy.Production, func(c *disclose.Case) { c.Requester = "police" })
	hears("a case", "bar", "press")
	file(policy.Preservation, func(*disclose.Case) {})
	hears("what nobody decides")
	later := file(policy.Production, func(c *disclose.Case) { c.ApproveFrom = now.Add(time.Hour) })
	hears("before the time to object is over")
	now = now.Add(time.Hour)
	hears("after it", "bar", "press")
	apply(first, disclosetest.Approve)
	apply(first, disclosetest.Release)
	hears("a release", "police")
	say := func(kind, custodian string) {
		t.Helper()
		s := disclose.Statement{Digest: policy.Hash(kind + custodian), Signed: kind, Kind: kind, Custodian: custodian, Case: later.ID, KeepDays: 30}
		if err := d.Cases.Say(ctx, s, func(disclose.Case, []disclose.Statement) error { return nil }); err != nil {
			t.Fatal(err, cause(err))
		}
	}
	say(opening.Question, "press")
	hears("a question", "court")
	say(opening.Recusal, "press")
	hears("a recusal")
	emergency := file(policy.Emergency, func(c *disclose.Case) { c.ValidateBy = now.Add(48 * time.Hour) })
	hears("an emergency", "bar", "press", "court")
	now = emergency.ValidateBy.Add(-23 * time.Hour)
	hears("before the time to validate it is over", "court")
	now = later.Expires.Add(-24 * time.Hour)
	hears("before the warrants run out, of which there is one for press", "bar", "press")
	refused := file(policy.Production, func(c *disclose.Case) { c.Requester = "other" })
	apply(refused, disclosetest.Approve)
	apply(refused, disclosetest.Release)
	hears("a requester that has no such address")
	if w, err := d.Reminders.Outbox().Waiting(ctx, now); err != nil || w.Refused != 1 || w.Mails != 0 {
		t.Errorf("%+v, %v", w, err)
	}
}
