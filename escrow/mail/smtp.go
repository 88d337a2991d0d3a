package mail

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// What a mail server may answer. None has its words: they may quote the address.
var (
	// ErrServer is returned when the server cannot be reached, does not answer in time or
	// hangs up: then nobody's mail goes, and every one stays in the outbox.
	ErrServer = refusal.New(refusal.Unavailable, "mail.server",
		"the mail server cannot be reached, or broke off: the mails wait and are tried again; see whether mail.server is right and answers")
	// ErrNoTLS is returned when it could be somebody else, or anybody could read along.
	ErrNoTLS = refusal.New(refusal.Unavailable, "mail.no_tls",
		"the mail server offers no TLS, or shows a certificate that is not its own: the mails wait; have it offer STARTTLS, or set mail.tls = \"implicit\" for port 465, and name a private authority in ca_file")
	// ErrLogin is returned when it does not know the user.
	ErrLogin = refusal.New(refusal.Unavailable, "mail.login",
		"the mail server does not take this user and password: the mails wait; correct mail.user and the file that mail.password_file names")
	// ErrSender is returned when it takes no mail from us.
	ErrSender = refusal.New(refusal.Unavailable, "mail.sender_refused",
		"the mail server takes no mail from the address in mail.from, or not from this machine: the mails wait; let it, or correct mail.from")
	// ErrLater is returned when it wants to be asked again about this mail.
	ErrLater = refusal.New(refusal.Unavailable, "mail.later",
		"the mail server cannot take a mail now: it waits and is tried again")
	// ErrUnknown is returned when it was sent the whole mail and its answer was lost.
	ErrUnknown = refusal.New(refusal.Unavailable, "mail.outcome_unknown",
		"the mail server broke off when it had the whole mail: it may have taken it; it is sent again")
	// ErrRefused is returned when it will never take mail to this address.
	ErrRefused = refusal.New(refusal.Invalid, "mail.refused",
		"the mail server refuses mail to an address for good: see whether the address is right")
)

// TLS is how the way to the mail server is protected.
type TLS string

// The ways. Without TLS it must be this machine.
const (
	StartTLS TLS = "starttls" // RFC 3207: required, and not given up if the server does not offer it
	Implicit TLS = "implicit" // RFC 8314, 3.3
	Off      TLS = "off"
)

// Patience is how long a server may take for one mail, from the connection on.
const Patience = 30 * time.Second

// Server is a mail server as a client has it.
type Server struct {
	Address  string // host:port
	TLS      TLS    // "": StartTLS
	Roots    *x509.CertPool
	User     string // "": no login
	Password string
	From     Address
	Host     string        // by which we name ourselves
	Patience time.Duration // 0: Patience
}

// Send hands one mail over. nil: the server has accepted it, and answers for it from now on.
func (s *Server) Send(ctx context.Context, to Address, message []byte) error {
	c, done, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := c.Mail(s.From.Reveal()); err != nil {
		return s.failed("MAIL", err, ErrSender)
	}
	if err := c.Rcpt(to.Reveal()); err != nil {
		return s.failed("RCPT", err, ErrRefused)
	}
	w, err := c.Data()
	if err != nil {
		return s.failed("DATA", err, ErrRefused)
	}
	if _, err := w.Write(message); err != nil {
		return s.failed("DATA", err, ErrServer)
	}
	if err := w.Close(); err != nil {
		var said *textproto.Error
		if !errors.As(err, &said) {
			return ErrUnknown.Because(errors.New("no answer after the end of the mail"))
		}
		return s.failed("the end of DATA", err, ErrRefused)
	}
	c.Quit() //nolint:errcheck // the mail is theirs
	return nil
}

// Check opens a connection as Send does, and sends nothing.
func (s *Server) Check(ctx context.Context) error {
	c, done, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	if err := c.Mail(s.From.Reveal()); err != nil {
		return s.failed("MAIL", err, ErrSender)
	}
	c.Quit() //nolint:errcheck // nothing was sent
	return nil
}

// open connects, protects the connection and logs in. done closes it.
func (s *Server) open(ctx context.Context) (c *smtp.Client, done func(), err error) {
	host, _, err := net.SplitHostPort(s.Address)
	if err != nil {
		return nil, nil, ErrServer.Because(errors.New("mail.server is no host:port"))
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(s.Patience, Patience))
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.Address)
	if err != nil {
		cancel()
		return nil, nil, ErrServer.Because(errors.New("no connection"))
	}
	if s.TLS == Off && !loopback(conn.RemoteAddr()) {
		conn.Close()
		cancel()
		return nil, nil, ErrNoTLS.Because(errors.New("tls = \"off\" is for a server on this machine"))
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline) //nolint:errcheck // a connection that takes none fails below
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	done = func() { stop(); conn.Close(); cancel() }
	if c, err = s.greeted(conn, host); err != nil {
		done()
		return nil, nil, err
	}
	return c, done, nil
}

func (s *Server) greeted(conn net.Conn, host string) (*smtp.Client, error) {
	as := &tls.Config{ServerName: host, RootCAs: s.Roots, MinVersion: tls.VersionTLS12}
	if s.TLS == Implicit {
		secured := tls.Client(conn, as)
		if err := secured.Handshake(); err != nil {
			return nil, ErrNoTLS.Because(errors.New("the handshake failed"))
		}
		conn = secured
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return nil, s.failed("the greeting", err, ErrServer)
	}
	if err := c.Hello(cmp.Or(s.Host, "localhost")); err != nil {
		return nil, s.failed("EHLO", err, ErrServer)
	}
	if cmp.Or(s.TLS, StartTLS) == StartTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok { // or somebody in between took it out
			return nil, ErrNoTLS.Because(errors.New("STARTTLS is not offered"))
		}
		if err := c.StartTLS(as); err != nil {
			return nil, ErrNoTLS.Because(errors.New("STARTTLS failed"))
		}
	}
	if s.User != "" {
		if ok, _ := c.Extension("AUTH"); !ok {
			return nil, ErrLogin.Because(errors.New("AUTH is not offered"))
		}
		if err := c.Auth(smtp.PlainAuth("", s.User, s.Password, host)); err != nil {
			return nil, s.failed("AUTH", err, ErrLogin)
		}
	}
	return c, nil
}

// failed is what went wrong at a step. An answer of 5xx is final, and means what that step says;
// 4xx is for later; 421 and silence are about the server, whoever the mail is to.
func (s *Server) failed(step string, err error, final *refusal.Error) error {
	var said *textproto.Error
	switch {
	case !errors.As(err, &said):
		return ErrServer.Because(errors.New("it broke off at " + step))
	case said.Code == 421:
		return ErrServer.Because(fmt.Errorf("%s: 421", step))
	case final == ErrRefused && (said.Code == 530 || strings.HasPrefix(said.Msg, "5.7.")): // RFC 3463, 3.8: not for whom the mail is, but whose
		return ErrSender.Because(fmt.Errorf("%s: %d", step, said.Code))
	case said.Code >= 500 && said.Code < 600:
		return final.Because(fmt.Errorf("%s: %d", step, said.Code))
	case final == ErrRefused:
		return ErrLater.Because(fmt.Errorf("%s: %d", step, said.Code))
	}
	return ErrServer.Because(fmt.Errorf("%s: %d", step, said.Code))
}

func loopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Loopback reports whether a server is on this machine by its name.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback())
}
