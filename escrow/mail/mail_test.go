package mail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crypto/tls"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	. "github.com/penname/penname/escrow/mail"
	"github.com/penname/penname/escrow/mail/mailtest"
)

const origin = "https://penname.example"

func TestAddresses(t *testing.T) {
	for _, good := range []string{"jo@example.org", " jo.o'hara+x_y-z@mail.example.co.uk\n", "J&J@EXAMPLE.org", "1@2.example", strings.Repeat("a", 64) + "@" + strings.Repeat("b", 63) + ".example"} {
		a, err := ParseAddress(good)
		name, domain, _ := strings.Cut(strings.TrimSpace(good), "@")
		if err != nil || a.Reveal() != name+"@"+strings.ToLower(domain) {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "@", "jo", "jo@", "@example.org", "jo@example", "jo@@example.org", "jo@example.org@example.org", "j o@example.org", "jo@exam ple.org", ".jo@example.org", "jo.@example.org",
		"j..o@example.org", "jo@.example.org", "jo@example..org", "jo@example.org.", "jo@-example.org", "jo@example-.org", `"jo"@example.org`, "jo@[127.0.0.1]", "Jo <jo@example.org>", "<jo@example.org>",
		"jo@example.org, jo@example.com", "jo@example.org;x", "jö@example.org", "jo@exämple.org", "jo@example.org\r\nRCPT TO:<x@example.org>", "jo\r\n@example.org", "jo@example.org\nBcc: x@example.org", "jo\x00@example.org",
		strings.Repeat("a", 65) + "@example.org", "jo@" + strings.Repeat("a", 64) + ".example", "jo@" + strings.Repeat("a.", 130) + "example"} {
		if a, err := ParseAddress(bad); !errors.Is(err, ErrAddress) || a != "" {
			t.Errorf("%q is an address: %v", bad, err)
		}
	}
}

// Whatever is an address fits into one line of SMTP and of a header, and means itself there.
func FuzzAddress(f *testing.F) {
	for _, seed := range []string{"jo@example.org", "jo@example.org\r\nDATA", "a+b@c.d", "\"x\"@y.z", "é@é.é"} {
		f.Add(seed)
	}
	fuzzing.Run(f, func(t *testing.T, text string) {
		a, err := ParseAddress(text)
		if err != nil {
			return
		}
		if len(a) > Longest || strings.ContainsAny(a.Reveal(), "\r\n\x00 <>,;:\"()[]\\") || !isASCII(a.Reveal()) {
			t.Fatalf("%q", a.Reveal())
		}
		if again, err := ParseAddress(a.Reveal()); err != nil || again != a {
			t.Fatalf("%q is %q the second time", a.Reveal(), again.Reveal())
		}
		m, err := mail.ReadMessage(bytes.NewReader(Message(Letter{Kind: Notice, To: a}, "penname@penname.example", origin, time.Unix(0, 0))))
		if err != nil || len(m.Header) != 8 || m.Header.Get("To") != "<"+a.Reveal()+">" {
			t.Fatalf("%q: %v %v", a.Reveal(), err, m.Header)
		}
	})
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > 126 })
}

// An address prints itself to nobody.
func TestAddressesAreRedacted(t *testing.T) {
	a := Address("jo@example.org")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("a", a), slog.Any("l", Letter{To: a}))
	text, err := a.MarshalText()
	all := []string{a.String(), a.GoString(), fmt.Sprintf("%s %v %q %x %+v %#v %v %+v", a, a, a, a, a, a, Letter{To: a}, &Letter{To: a}), log.String(), string(text)}
	for _, said := range all {
		if err != nil || strings.Contains(said, "jo@") || strings.Contains(said, "6a6f") {
			t.Errorf("%q", said)
		}
	}
}

// All mails of a kind are equal, but for the address, the Message-ID and a code. None says
// more than that something waits, and none leads anywhere but to the origin.
func TestMailsSayNothing(t *testing.T) {
	at := time.Unix(1_790_000_000, 0)
	for _, kind := range []Kind{Notice, NoticeFirst, Confirm, Changed, Recovery, Keys, Reminder} {
		body := func(l Letter) (subject, text string) {
			m, err := mail.ReadMessage(bytes.NewReader(Message(l, "penname@penname.example", origin, at)))
			if err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(m.Body)
			if err != nil || !isASCII(string(raw)) || m.Header.Get("Auto-Submitted") != "auto-generated" {
				t.Fatalf("%s: %v %v", kind, err, m.Header)
			}
			return m.Header.Get("Subject"), string(raw)
		}
		subject, text := body(Letter{ID: [16]byte{1}, Kind: kind, To: "jo@example.org", Party: "custodian/alba", Code: "12345678"})
		other, more := body(Letter{ID: [16]byte{2}, Kind: kind, To: "somebody.else@example.com", Party: "authority/county-court", Code: "87654321", Tries: 7})
		if subject == "" || subject != other || strings.ReplaceAll(text, "12345678", "") != strings.ReplaceAll(more, "87654321", "") {
			t.Errorf("%s says different things to different people", kind)
		}
		if hasCode := strings.Contains(text, "12345678"); hasCode != (kind == Confirm) {
			t.Errorf("%s: a code %v", kind, hasCode)
		}
		for _, word := range []string{"alba", "county", "jo@", "court", "warrant", "police", "offence", "pen1", "%!", "custodian", "opened", "suspend"} {
			if strings.Contains(strings.ToLower(subject+text), word) {
				t.Errorf("%s says %q", kind, word)
			}
		}
		if links := strings.Count(text, "://"); links != strings.Count(text, origin) || links == 0 {
			t.Errorf("%s leads elsewhere", kind)
		}
		for line := range strings.SplitSeq(text, "\r\n") {
			if len(line) > 100 || strings.ContainsAny(line, "\r\n") {
				t.Errorf("%s: %q", kind, line)
			}
		}
	}
	if texts := func(k Kind) string {
		return string(Message(Letter{Kind: k, To: "jo@example.org"}, "penname@penname.example", origin, at))
	}; texts(Notice) != texts(NoticeFirst) {
		t.Error("a mail tells whether something was done or will be")
	}
}

// Whoever reads Welsh is written to in Welsh, alike, with the same code and addresses; what
// nobody has checked has the English below. A language that is not known is English.
func TestMailsInWelsh(t *testing.T) {
	at := time.Unix(1_790_000_000, 0)
	read := func(l Letter) (subject, text string) {
		t.Helper()
		raw := Message(l, "penname@penname.example", origin, at)
		if !isASCII(strings.ReplaceAll(string(raw), "\r\n", "")) {
			t.Errorf("%s is not ASCII", raw)
		}
		for line := range strings.SplitSeq(string(raw), "\r\n") {
			if len(line) > 100 || strings.ContainsAny(line, "\r\n") {
				t.Errorf("%s: %q", l.Kind, line)
			}
		}
		m, err := mail.ReadMessage(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
		if err != nil {
			t.Fatal(err)
		}
		body := m.Body
		if m.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(body)
		}
		b, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		return subject, strings.ReplaceAll(string(b), "\r\n", "\n")
	}
	for _, kind := range []Kind{Notice, NoticeFirst, Confirm, Changed, Reminder} {
		l := Letter{Kind: kind, To: "jo@example.org", Code: "12345678"}
		plain, english := read(l)
		l.Language = "xx"
		if s, b := read(l); s != plain || b != english {
			t.Errorf("%s in a language that is not known: %s %s", kind, s, b)
		}
		l.Language = "cy"
		subject, welsh := read(l)
		if kind == Reminder {
			if subject != plain || welsh != english {
				t.Errorf("parties read English: %s", welsh)
			}
			continue
		}
		own, ok := strings.CutSuffix(welsh, "\n"+english)
		if subject == plain || !ok || !strings.Contains(own, "Saesneg") || strings.Contains(own, "12345678") != (kind == Confirm) || !strings.Contains(own, origin) || strings.Contains(own, "%!") {
			t.Errorf("%s: %s\n%s", kind, subject, welsh)
		}
	}
}

// independent is a mail server by other people.
type independent struct {
	mu   sync.Mutex
	took []mailtest.Delivered
}

func (i *independent) Delivered() []mailtest.Delivered {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.took)
}

type session struct {
	*independent
	login bool
	mail  mailtest.Delivered
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if s.login = user == "penname" && password == "secret"; !s.login {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if !s.login {
		return smtp.ErrAuthRequired
	}
	s.mail.From = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasSuffix(to, "@nowhere.example") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "nobody"}
	}
	s.mail.To = to
	return nil
}

func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mail.Text = string(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, s.mail)
	return nil
}

func (*session) Reset()        {}
func (*session) Logout() error { return nil }

// The server of the tests behaves as one that other people wrote.
func TestMailServersConform(t *testing.T) {
	t.Run("ours", func(t *testing.T) {
		mailtest.TestServer(t, func(t *testing.T, c *tls.Certificate) mailtest.Started {
			s := &mailtest.Server{Certificate: c, User: "penname", Password: "secret"}
			s.Start(t)
			return mailtest.Started{Address: s.Address(), Delivered: s.Delivered}
		})
	})
	t.Run("go-smtp", func(t *testing.T) {
		mailtest.TestServer(t, func(t *testing.T, c *tls.Certificate) mailtest.Started {
			i := &independent{}
			s := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &session{independent: i}, nil }))
			s.Domain, s.TLSConfig = "localhost", &tls.Config{Certificates: []tls.Certificate{*c}, MinVersion: tls.VersionTLS12}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go s.Serve(ln) //nolint:errcheck // ends with the test
			t.Cleanup(func() { s.Close() })
			return mailtest.Started{Address: ln.Addr().String(), Delivered: i.Delivered}
		})
	})
}

// Without TLS only a server on this machine is spoken to.
func TestMailNeedsTLS(t *testing.T) {
	s := &mailtest.Server{}
	s.Start(t)
	client := Server{Address: s.Address(), From: "penname@penname.example"}
	if err := client.Send(t.Context(), "jo@example.org", []byte("x\r\n")); !errors.Is(err, ErrNoTLS) || len(s.Delivered()) != 0 {
		t.Errorf("a server without STARTTLS: %v", err)
	}
	client.TLS = Off
	if err := client.Send(t.Context(), "jo@example.org", []byte("x\r\n")); err != nil || len(s.Delivered()) != 1 {
		t.Errorf("on this machine: %v", err)
	}
	for address, local := range map[string]bool{"127.0.0.1:25": true, "[::1]:25": true, "localhost:25": true, "mail.example:25": false, "192.0.2.1:25": false, "127.0.0.1": false, "127.0.0.1.example:25": false} {
		if Loopback(address) != local {
			t.Errorf("%s: %v", address, !local)
		}
	}
}

func TestOutboxConforms(t *testing.T) {
	mailtest.TestOutbox(t, func(*testing.T) mailtest.Opened {
		m := &mailtest.Memory{}
		return mailtest.Opened{Outbox: m.Outbox(), Put: func(_ *testing.T, now time.Time) { m.Put(Letter{Kind: Notice, To: "jo@example.org"}, now) }}
	})
}

// F39: the mail server is down, in every way that one can be: the duty waits, or ends as the
// server said, and the mail goes when it can. Nobody gets it twice but where the server took it
// and its answer was lost, and then both are one mail by their Message-ID.
func TestF39EveryFaultOfAMailServer(t *testing.T) {
	type want struct {
		err         error // of a run; nil: the fault is about this mail alone
		ended       Outcome
		least, most int // mails in the end
	}
	for fault, w := range map[mailtest.Fault]want{
		mailtest.None: {ended: Accepted, least: 1, most: 1}, mailtest.Refuses: {ErrServer, "", 1, 1}, mailtest.Busy: {ErrServer, "", 1, 1}, mailtest.HangsUp: {ErrServer, "", 1, 1},
		mailtest.Silent: {ErrServer, "", 1, 1}, mailtest.SilentAtMail: {ErrServer, "", 1, 1}, mailtest.SilentAtData: {ErrServer, "", 1, 1}, mailtest.DropsInData: {ErrUnknown, "", 1, 1},
		mailtest.SilentAtEnd: {ErrUnknown, "", 2, 2}, mailtest.LosesTheAnswer: {ErrUnknown, "", 2, 2}, mailtest.NoSender: {ErrSender, "", 1, 1}, mailtest.NoRelay: {ErrSender, "", 1, 1},
		mailtest.NoSuchAddress: {nil, Refused, 0, 0}, mailtest.NoMail: {nil, Refused, 0, 0}, mailtest.LaterAddress: {nil, "", 1, 1}, mailtest.LaterMail: {nil, "", 1, 1},
	} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			s := &mailtest.Server{}
			s.Start(t)
			s.Fail(fault)
			now := mailtest.Noon
			var out mailtest.Memory
			out.Put(Letter{Kind: Notice, To: "jo@example.org"}, now)
			client := Server{Address: s.Address(), TLS: Off, From: "penname@penname.example"}
			if strings.Contains(string(fault), "never") {
				client.Patience = 2 * time.Second // else every answer is waited for
			}
			sender := Sender{Outbox: out.Outbox(), Send: client.Send, From: client.From, Origin: origin, Now: func() time.Time { return now }}
			if err := sender.Work(t.Context()); !errors.Is(err, w.err) || w.err == nil && err != nil {
				t.Errorf("a run says %v", err)
			}
			if w.ended != "" && out.Ended[w.ended] != 1 || w.ended == "" && len(out.Ended) != 0 {
				t.Errorf("ended as %v", out.Ended)
			}
			if waiting, _ := out.Outbox().Waiting(t.Context(), now.Add(time.Hour)); (waiting.Mails == 1) != (w.ended == "") {
				t.Errorf("%d wait", waiting.Mails)
			}
			s.Fail(mailtest.None)
			client.Patience = 0
			for range 3 {
				now = now.Add(time.Hour)
				if err := sender.Work(t.Context()); err != nil {
					t.Error(err)
				}
			}
			got := s.Delivered()
			if len(got) < w.least || len(got) > w.most {
				t.Fatalf("%d mails", len(got))
			}
			ids := map[string]bool{}
			for _, one := range got {
				m, err := mail.ReadMessage(strings.NewReader(one.Text))
				if err != nil {
					t.Fatal(err)
				}
				ids[m.Header.Get("Message-ID")] = true
			}
			if len(ids) > 1 {
				t.Errorf("one mail by %d names", len(ids))
			}
		})
	}
}

// A duty is never given up: it is tried after a minute, two, four, and so on, in the end
// every four hours, for as long as it takes. A row that cannot be read is told of at each try.
func TestNoDutyIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var out mailtest.Memory
		out.Put(Letter{Kind: Notice, To: "jo@example.org"}, begin)
		out.Put(Letter{Kind: Notice, Damaged: true}, begin)
		var tries []time.Duration
		damaged := 0
		sender := Sender{Outbox: out.Outbox(), Origin: origin, Now: time.Now, Damaged: func(Letter) { damaged++ }, Send: func(context.Context, Address, []byte) error {
			tries = append(tries, time.Since(begin).Round(time.Minute))
			return ErrServer
		}}
		for time.Since(begin) < 30*24*time.Hour {
			sender.Work(t.Context()) //nolint:errcheck // counted by Send
			time.Sleep(30 * time.Second)
		}
		if !slices.Equal(tries[:9], []time.Duration{0, time.Minute, 3 * time.Minute, 7 * time.Minute, 15 * time.Minute, 31 * time.Minute, 63 * time.Minute, 127 * time.Minute, 255 * time.Minute}) || len(tries) < 170 || len(tries) > 190 {
			t.Errorf("%d tries, first at %v", len(tries), tries[:9])
		}
		if damaged < 700 || len(out.Ended) != 0 {
			t.Errorf("damaged: told of %d times, ended %v", damaged, out.Ended)
		}
	})
}

// Whoever has no address is written to by nobody, and a reminder goes where the party is.
func TestWhomAMailIsTo(t *testing.T) {
	var out mailtest.Memory
	for _, l := range []Letter{{Kind: Notice}, {Kind: Reminder, Party: "custodian/alba"}, {Kind: Reminder, Party: "custodian/gone"}, {Kind: Confirm, To: "jo@example.org", Code: "00000001"}} {
		out.Put(l, mailtest.Noon)
	}
	var to []string
	sender := Sender{Outbox: out.Outbox(), Origin: origin, Now: func() time.Time { return mailtest.Noon },
		Party: func(party string) Address { return map[string]Address{"custodian/alba": "alba@example.org"}[party] },
		Send: func(_ context.Context, a Address, _ []byte) error {
			to = append(to, a.Reveal())
			return nil
		}}
	if err := sender.Work(t.Context()); err != nil || !slices.Equal(to, []string{"alba@example.org", "jo@example.org"}) || out.Ended[NoAddress] != 2 || out.Ended[Accepted] != 2 {
		t.Errorf("%v: to %v, %v", err, to, out.Ended)
	}
}
