package service

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/penname/penname/verifier/refusal"
)

// nameService answers every question for MX records on loopback, and returns how to ask it.
func nameService(t *testing.T, code dnsmessage.RCode, records ...dnsmessage.MXResource) func(context.Context, string) ([]*net.MX, error) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		packet := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(packet)
			var m dnsmessage.Message
			if err != nil || m.Unpack(packet[:n]) != nil {
				return
			}
			m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RCode: code}
			m.Additionals = nil
			for _, r := range records {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET}, Body: &r})
			}
			answer, err := m.Pack()
			if err != nil {
				return
			}
			conn.WriteTo(answer, from) //nolint:errcheck // who asked is gone
		}
	}()
	return (&net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}).LookupMX
}

// A domain for addresses is good only if it says that it takes no mail; what is wrong is
// said with the record that mends it.
func TestEmailDomainTakesNoMail(t *testing.T) {
	mx := func(host string, pref uint16) dnsmessage.MXResource {
		return dnsmessage.MXResource{Pref: pref, MX: dnsmessage.MustNewName(host)}
	}
	const mend = "it should be: users.penname.example. IN MX 0 ."
	for name, c := range map[string]struct {
		ask  func(context.Context, string) ([]*net.MX, error)
		want *refusal.Error
		says string
	}{
		"a null MX":            {nameService(t, dnsmessage.RCodeSuccess, mx(".", 0)), nil, ""},
		"a mail server":        {nameService(t, dnsmessage.RCodeSuccess, mx("mail.example.", 10)), errTakesMail, "it has MX 10 mail.example.; " + mend},
		"both":                 {nameService(t, dnsmessage.RCodeSuccess, mx(".", 0), mx("mail.example.", 10)), errTakesMail, "it has MX 0 . and MX 10 mail.example.; " + mend},
		"a null MX, not first": {nameService(t, dnsmessage.RCodeSuccess, mx(".", 10)), errTakesMail, "it has MX 10 .; " + mend},
		"no MX":                {nameService(t, dnsmessage.RCodeSuccess), errTakesMail, "it has no MX record, so mail goes to its own address; " + mend},
		"no such domain":       {nameService(t, dnsmessage.RCodeNameError), errTakesMail, "it has no MX record, so mail goes to its own address; " + mend},
		"no answer": {func(context.Context, string) ([]*net.MX, error) {
			return nil, &net.DNSError{Err: "timeout", IsTimeout: true}
		}, errMailUnknown, "timeout"},
	} {
		o := &opening{Parts: Parts{config: &Config{Issue: &issueConfig{EmailDomain: "users.penname.example"}}}, lookUpMX: c.ask}
		err := o.tryEmailDomain(t.Context())
		if c.want == nil {
			if err != nil {
				t.Errorf("%s: %v", name, errors.Unwrap(err))
			}
			continue
		}
		if f := found("issue.email_domain", err); f.Code != c.want.Code || f.Mark != Fault || f.Setting != "issue.email_domain" || !strings.Contains(f.Cause, c.says) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// It is tried where it is set, and where it is nobody's there is nothing to try.
func TestEmailDomainIsTriedWhereItIsSet(t *testing.T) {
	for domain, want := range map[string]bool{"": false, "names.invalid": false, "users.penname.example": true} {
		c := &Config{Issue: &issueConfig{EmailDomain: domain}}
		tried := false
		for _, p := range c.opening(nil).trials() {
			tried = tried || p.name == "issue.email_domain"
		}
		if tried != want {
			t.Errorf("%q: %v", domain, tried)
		}
	}
}
