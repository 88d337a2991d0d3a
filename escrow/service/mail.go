package service

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/mail"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errConfigMail = refusal.New(refusal.Invalid, "config.bad_mail",
		"[mail] needs server as host:port, from as an address, tls as starttls, implicit or, for a server on this machine, off, and user and password_file together or not at all")
	errConfigReminder = refusal.New(refusal.Invalid, "config.bad_reminder",
		"[[mail.reminders]] needs one of custodian, authority and requester, an id that no other has, and an address")
)

type mailConfig struct {
	Server       string           `toml:"server"` // host:port
	TLS          string           `toml:"tls"`    // mail.TLS
	User         string           `toml:"user"`
	PasswordFile string           `toml:"password_file"`
	From         string           `toml:"from"`
	Reminders    []reminderConfig `toml:"reminders"`
}

// reminderConfig is where a party of the bundle wants to be reminded: one of the first three.
type reminderConfig struct {
	Custodian string `toml:"custodian"`
	Authority string `toml:"authority"`
	Requester string `toml:"requester"` // id of the organisation
	Address   string `toml:"address"`
}

// party is whom a reminder is to.
func (r reminderConfig) party() (p disclose.Party, ok bool) {
	for role, id := range map[disclose.Role]string{disclose.RoleCustodian: r.Custodian, disclose.RoleAuthority: r.Authority, disclose.RoleRequester: r.Requester} {
		if id != "" {
			p, ok = disclose.Party{Role: role, ID: id}, !ok
			if !ok {
				return p, false
			}
		}
	}
	return p, ok
}

func (c *mailConfig) check(f *mistakes) {
	f.require("mail.server", c.Server)
	f.require("mail.from", c.From)
	if _, _, err := net.SplitHostPort(c.Server); c.Server != "" && err != nil {
		f.add("mail.server", errConfigMail)
	}
	if c.TLS != "" && !slices.Contains([]mail.TLS{mail.StartTLS, mail.Implicit, mail.Off}, mail.TLS(c.TLS)) || mail.TLS(c.TLS) == mail.Off && !mail.Loopback(c.Server) {
		f.add("mail.tls", errConfigMail)
	}
	if (c.User == "") != (c.PasswordFile == "") {
		f.add("mail.user", errConfigMail)
	}
	if _, err := mail.ParseAddress(c.From); c.From != "" && err != nil {
		f.add("mail.from", err)
	}
	seen := map[disclose.Party]bool{}
	for n, r := range c.Reminders {
		section := fmt.Sprintf("mail.reminders[%d]", n)
		p, ok := r.party()
		if !ok || seen[p] {
			f.add(section, errConfigReminder)
		}
		seen[p] = true
		if _, err := mail.ParseAddress(r.Address); err != nil {
			f.add(section+".address", err)
		}
	}
}

// Mail is how this process writes to people and to parties of the bundle.
type Mail struct {
	Server  mail.Server
	Parties map[string]mail.Address // whom reminders go to: disclose.Party, as text
}

// open reads the settings; they were checked.
func (c *mailConfig) open(ctx context.Context, o *opening) error {
	from, err := mail.ParseAddress(c.From)
	if err != nil {
		return of("mail.from", err)
	}
	origin, err := url.Parse(o.Origin)
	if err != nil {
		return errConfigOrigin
	}
	m := &Mail{Server: mail.Server{Address: c.Server, TLS: mail.TLS(c.TLS), Roots: o.Authorities, User: c.User, From: from, Host: origin.Hostname()},
		Parties: map[string]mail.Address{}}
	if c.PasswordFile != "" {
		if m.Server.Password, err = secretfile.ReadText(c.PasswordFile); err != nil {
			return of("mail.password_file", err)
		}
	}
	for n, r := range c.Reminders {
		p, _ := r.party()
		address, err := mail.ParseAddress(r.Address)
		if err != nil {
			return of(fmt.Sprintf("mail.reminders[%d].address", n), err)
		}
		for _, role := range p.Role.Roles() {
			m.Parties[disclose.Party{Role: role, ID: p.ID}.String()] = address
		}
	}
	o.Mail = m
	if o.checking {
		return of("mail.server", m.Server.Check(ctx))
	}
	return nil
}

// postbag is what a process sends.
type postbag struct {
	people, parties *mail.Sender // nil: this process has not that side
	reminders       *disclose.Reminders

	mu      sync.Mutex
	damaged map[[16]byte]time.Time // that cannot be read: when they were tried last
}

// wireMail makes the senders of the sides that this process has. Without a mail server they
// end the duties to people who have no address, and the others wait.
func (s *Service) wireMail() {
	m := s.Mail
	if m == nil {
		m = &Mail{}
	}
	sender := func(out mail.Outbox) *mail.Sender {
		one := &mail.Sender{Outbox: out, From: m.Server.From, Origin: s.Origin, Now: s.Now, Damaged: s.mailDamaged}
		if s.Mail != nil {
			one.Send = m.Server.Send
		}
		return one
	}
	if s.Issuing != nil {
		s.post.people = sender(s.Issuing.Store.Outbox())
	}
	if d := s.Disclosing; d != nil {
		s.post.parties = sender(d.Store.Reminders.Outbox())
		s.post.parties.Party = func(party string) mail.Address { return m.Parties[party] }
		s.post.parties.Refused = func(l mail.Letter, refused error) {
			s.Log.Error("the mail server refuses a reminder for good", append([]any{slog.String("party", l.Party), mailID(l)}, why(refused)...)...)
		}
		s.post.reminders = &disclose.Reminders{Waits: d.Store.Reminders.Waits, Put: d.Store.Reminders.Put, Now: s.Now}
		for text := range m.Parties {
			if p, ok := disclose.ParseParty(text); ok {
				s.post.reminders.Parties = append(s.post.reminders.Parties, p)
			}
		}
	}
}

func mailID(l mail.Letter) slog.Attr { return slog.String("mail", hex.EncodeToString(l.ID[:])) }

func (s *Service) mailDamaged(l mail.Letter) {
	s.Log.Error("a row of the outbox cannot be read, and its mail waits", mailID(l))
	s.post.mu.Lock()
	defer s.post.mu.Unlock()
	if s.post.damaged == nil {
		s.post.damaged = map[[16]byte]time.Time{}
	}
	s.post.damaged[l.ID] = s.Now()
}

// damagedMails counts those that were tried in the last two hours: they are tried each hour.
func (s *Service) damagedMails() (n int) {
	s.post.mu.Lock()
	defer s.post.mu.Unlock()
	for id, at := range s.post.damaged {
		if n++; s.Now().Sub(at) > 2*time.Hour {
			delete(s.post.damaged, id)
			n--
		}
	}
	return n
}

// SendMails carries out the duties to write that are due.
func (s *Service) SendMails(ctx context.Context) error {
	var err error
	for _, sender := range []*mail.Sender{s.post.people, s.post.parties} {
		if sender != nil {
			err = errors.Join(err, sender.Work(ctx))
		}
	}
	return err
}

func (s *Service) mailWanted() <-chan struct{} {
	if s.live.issuing == nil {
		return nil
	}
	return s.live.issuing.Wrote()
}

// Remind puts reminders into the outbox.
func (s *Service) Remind(ctx context.Context) error {
	if s.post.reminders == nil {
		return nil
	}
	return s.post.reminders.Work(ctx)
}

// seeMails counts what waits in the outbox.
func (s *Service) seeMails(ctx context.Context) func(*sighting) {
	found := map[string]mail.Waiting{}
	for side, sender := range map[string]*mail.Sender{sideIssue: s.post.people, sideDisclose: s.post.parties} {
		if sender == nil {
			continue
		}
		waiting, err := sender.Outbox.Waiting(ctx, s.Now())
		if err != nil {
			return nothing // the part says that it is in doubt
		}
		found[side] = waiting
	}
	return func(seen *sighting) { seen.mails = found }
}
