package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/mail"
	"github.com/penname/penname/escrow/mail/mailtest"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
)

// mailed is a service of both sides that writes, with its database.
func mailed(t *testing.T, m *Mail, log *bytes.Buffer) (s *Service, admin string) {
	t.Helper()
	admin = escrowtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	issuing, disclosing, _ := sandbox.NewKeyring(sandbox.NewSecret())
	s = &Service{Parts: Parts{Log: slog.New(slog.NewJSONHandler(log, nil)), Now: func() time.Time { return mailtest.Noon }, Origin: "https://penname.example", Mail: m,
		Issuing: &Issuing{Keys: issuing}, Disclosing: &Disclosing{Keys: disclosing}}}
	t.Cleanup(s.Close)
	for role, open := range map[string]func(context.Context, string, postgres.Options) error{"penname_issuing": s.Issuing.OpenStore, "penname_disclosing": s.Disclosing.OpenStore} {
		dsn, err := postgres.Login(t.Context(), admin, role)
		if err == nil {
			err = open(t.Context(), dsn, postgres.Options{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.wireMail()
	return s, admin
}

// gauges are what the metrics say of mails.
func (s *Service) gauges(t *testing.T) string {
	t.Helper()
	seen := sighting{}
	s.seeMails(t.Context())(&seen)
	all := make(chan prometheus.Metric, 100)
	seen.collect(all, s.Now())
	sink(all).gauge(mailsDamaged, float64(s.damagedMails()))
	close(all)
	var text []string
	for m := range all {
		var is dto.Metric
		if err := m.Write(&is); err != nil {
			t.Fatal(err)
		}
		name := regexp.MustCompile(`fqName: "penname_([a-z_]+)"`).FindStringSubmatch(m.Desc().String())[1]
		for _, l := range is.GetLabel() {
			name += " " + l.GetValue()
		}
		text = append(text, fmt.Sprintf("%s %g", name, is.GetGauge().GetValue()))
	}
	return strings.Join(text, "\n")
}

// F39: what waits, what cannot be read and what was refused is seen by the operator, in
// metrics and log, which name nobody. Each side sends its own part, and when the mail server is
// back all is sent.
func TestMailsOfAService(t *testing.T) {
	server := &mailtest.Server{}
	server.Start(t)
	server.Fail(mailtest.Refuses)
	var log bytes.Buffer
	s, admin := mailed(t, &Mail{Server: mail.Server{Address: server.Address(), TLS: mail.Off, From: "penname@penname.example"},
		Parties: map[string]mail.Address{"custodian/alba": "alba@example.org", "custodian/bruno": "bruno@nowhere.example"}}, &log)
	now, ctx := mailtest.Noon, t.Context()
	s.Now = func() time.Time { return now }
	s.wireMail()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
	}
	person := issue.Person{Label: "a-record"}
	done, err := s.Issuing.Store.SetContact(ctx, person, issue.Contact{}, issue.Contact{Pending: "jo@example.org", Code: "12345678"}, now, issue.Told{Kind: mail.Confirm})
	if ok(err); !done {
		t.Fatal("not stored")
	}
	remind := func(id string) {
		ok(s.Disclosing.Store.Reminders.Put(ctx, disclose.Party{Role: disclose.RoleCustodian, ID: id}, 7, now))
	}
	remind("alba")
	remind("bruno")
	says := func(want ...string) {
		t.Helper()
		got := s.gauges(t)
		for _, line := range want {
			if !strings.Contains("\n"+got+"\n", "\n"+line+"\n") {
				t.Errorf("no %q in\n%s", line, got)
			}
		}
	}
	if err := s.SendMails(ctx); !errors.Is(err, mail.ErrServer) {
		t.Errorf("a run says %v", err)
	}
	says("mails_waiting issue 0", "mails_oldest_age_seconds issue 0", "mails_waiting disclose 0", "mails_damaged 0") // of this hour nothing shows
	now = now.Add(2 * time.Hour)
	says("mails_waiting issue 1", "mails_oldest_age_seconds issue 7500", "mails_waiting disclose 2")
	remind("chidi") // who has no address any more

	sql(t, admin, `UPDATE penname.mails SET hidden = set_byte(hidden, 100, 255 - get_byte(hidden, 100)) WHERE kind = 'confirm'`)
	server.Fail(mailtest.None)
	ok(s.SendMails(ctx))
	says("mails_waiting issue 1", "mails_damaged 1", "mails_waiting disclose 0", "reminders_refused 1")
	if got := server.Delivered(); len(got) != 1 || got[0].To != "alba@example.org" {
		t.Errorf("delivered %v", got)
	}
	sql(t, admin, `UPDATE penname.mails SET hidden = set_byte(hidden, 100, 255 - get_byte(hidden, 100)) WHERE kind = 'confirm'`)
	now = now.Add(4 * time.Hour)
	ok(s.SendMails(ctx))
	says("mails_waiting issue 0", "mails_oldest_age_seconds issue 0", "mails_damaged 0")
	if got := server.Delivered(); len(got) != 2 || got[1].To != "jo@example.org" || !strings.Contains(got[1].Text, "12345678") {
		t.Errorf("delivered %v", got)
	}
	for _, want := range []string{`"msg":"a row of the outbox cannot be read, and its mail waits","mail":"`, `"msg":"the mail server refuses a reminder for good","party":"custodian/bruno","mail":"`, `"code":"mail.refused"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	for _, not := range []string{"example.org", "nowhere.example", "12345678", "a-record"} {
		if strings.Contains(log.String(), not) {
			t.Errorf("the log has %s", not)
		}
	}
}

// Without a mail server nobody is written to: whoever has no address waits for nothing, and a
// duty to somebody who gave one while there was a server waits for one.
func TestMailsWithoutAServer(t *testing.T) {
	var log bytes.Buffer
	s, _ := mailed(t, nil, &log)
	ctx := t.Context()
	if err := errors.Join(s.SendMails(ctx), s.Remind(ctx)); err != nil {
		t.Errorf("nothing is due: %v", err)
	}
	if _, err := s.Issuing.Store.SetContact(ctx, issue.Person{Label: "a-record"}, issue.Contact{}, issue.Contact{Confirmed: "jo@example.org"}, mailtest.Noon, issue.Told{Kind: mail.Changed, To: "jo@example.com"}); err != nil {
		t.Fatal(err)
	}
	if err := s.SendMails(ctx); !errors.Is(err, mail.ErrServer) {
		t.Errorf("it is due: %v", err)
	}
}

// escrowd serve --check tries the mail server, and says which setting is to be mended.
func TestFoundL3CheckTriesTheMailServer(t *testing.T) {
	certificate, roots := mailtest.Certificate(t)
	server := &mailtest.Server{Certificate: certificate, User: "penname", Password: "secret"}
	server.Start(t)
	good := mailConfig{Server: server.Address(), User: "penname", PasswordFile: write(t, "mail.password", "secret\n", 0o600), From: "penname@penname.example"}
	for name, c := range map[string]struct {
		edit func(*mailConfig)
		want error
	}{
		"all is well":          {func(*mailConfig) {}, nil},
		"a wrong password":     {func(c *mailConfig) { c.PasswordFile = write(t, "mail.password", "wrong\n", 0o600) }, mail.ErrLogin},
		"nobody listens there": {func(c *mailConfig) { c.Server = "127.0.0.1:1" }, mail.ErrServer},
		"the wrong way":        {func(c *mailConfig) { c.TLS = "implicit" }, mail.ErrNoTLS},
	} {
		config := good
		c.edit(&config)
		o := &opening{Parts: Parts{Origin: "https://penname.example", Authorities: roots}, checking: true}
		err := config.open(t.Context(), o)
		if !errors.Is(err, c.want) || c.want == nil && (err != nil || o.Mail.Server.Password != "secret") {
			t.Errorf("%s: %v", name, err)
		}
		if f := found("mail", err); c.want != nil && (f.Mark != Fault || f.Setting != "mail.server") {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if n := len(server.Delivered()); n != 0 {
		t.Errorf("a check sent %d mails", n)
	}
}

// sql runs a statement as the owner of the database.
func sql(t *testing.T, admin, statement string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), admin)
	if err == nil {
		_, err = c.Exec(t.Context(), statement)
		c.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // the statement counts
	}
	if err != nil {
		t.Fatal(err)
	}
}
