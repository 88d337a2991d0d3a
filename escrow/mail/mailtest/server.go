// Package mailtest is a mail server that fails as it is told, an outbox in memory, and the
// suites that every mail server and every outbox pass.
package mailtest

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Fault is what a [Server] does instead of its work.
type Fault string

// The faults.
const (
	None           Fault = ""
	Refuses        Fault = "554 at the greeting"
	Busy           Fault = "421 at the greeting"
	HangsUp        Fault = "hangs up when somebody connects"
	Silent         Fault = "never greets"
	SilentAtMail   Fault = "never answers MAIL"
	SilentAtData   Fault = "never answers DATA"
	SilentAtEnd    Fault = "takes the mail and never answers"
	NoSender       Fault = "550 to MAIL"
	NoSuchAddress  Fault = "550 to RCPT"
	NoRelay        Fault = "550 5.7.1 to RCPT"
	LaterAddress   Fault = "450 to RCPT"
	NoMail         Fault = "554 to the mail"
	LaterMail      Fault = "451 to the mail"
	DropsInData    Fault = "hangs up in the middle of the mail"
	LosesTheAnswer Fault = "takes the mail and hangs up"
)

// Delivered is a mail that a server took.
type Delivered struct{ From, To, Text string }

// Server is a mail server on this machine. The zero value has no TLS and wants no login.
type Server struct {
	Certificate *tls.Certificate // offers STARTTLS, and takes nothing without it
	User        string           // "": anybody may send
	Password    string

	listener  net.Listener
	mu        sync.Mutex
	fault     Fault
	delivered []Delivered
	tries     int
}

// Start listens, until the test is over.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.listener.Close() })
	go func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
}

// Address is host:port.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Fail has it fail from the next connection on.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Delivered are the mails that it took, also those whose answer it lost.
func (s *Server) Delivered() []Delivered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.delivered)
}

// Tries counts the connections.
func (s *Server) Tries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

// talk is one connection.
type talk struct {
	*Server
	conn    net.Conn
	in      *bufio.Reader
	fault   Fault
	secured bool
	login   bool
	mail    Delivered
}

func (s *Server) serve(conn net.Conn) {
	defer conn.Close()
	s.mu.Lock()
	s.tries++
	t := &talk{Server: s, conn: conn, in: bufio.NewReader(conn), fault: s.fault}
	s.mu.Unlock()
	switch t.fault {
	case HangsUp:
		return
	case Silent:
		t.wait()
		return
	case Refuses:
		t.say("554 no")
		return
	case Busy:
		t.say("421 busy")
		return
	}
	t.say("220 mailtest ESMTP")
	for {
		line, err := t.in.ReadString('\n')
		if err != nil || !t.answer(strings.TrimRight(line, "\r\n")) {
			return
		}
	}
}

func (t *talk) say(line string) { t.conn.Write([]byte(line + "\r\n")) } //nolint:errcheck // who left, left

// wait waits until the client has gone.
func (t *talk) wait() {
	for {
		if _, err := t.in.ReadByte(); err != nil {
			return
		}
	}
}

// answer answers a command, and reports whether the connection goes on.
func (t *talk) answer(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb = strings.ToUpper(verb); verb {
	case "EHLO", "HELO":
		t.hello()
	case "STARTTLS":
		return t.secure()
	case "AUTH":
		t.authenticate(rest)
	case "MAIL":
		return t.from(rest)
	case "RCPT":
		t.to(rest)
	case "DATA":
		return t.data()
	case "QUIT":
		t.say("221 bye")
		return false
	case "RSET", "NOOP":
		t.say("250 ok")
	default:
		t.say("502 no such command")
	}
	return true
}

func (t *talk) hello() {
	offers := []string{"mailtest"}
	if t.Certificate != nil && !t.secured {
		offers = append(offers, "STARTTLS")
	}
	if t.User != "" && (t.secured || t.Certificate == nil) {
		offers = append(offers, "AUTH PLAIN")
	}
	for i, offer := range offers {
		sep := "-"
		if i == len(offers)-1 {
			sep = " "
		}
		t.say("250" + sep + offer)
	}
}

func (t *talk) secure() bool {
	if t.Certificate == nil || t.secured {
		t.say("503 not now")
		return true
	}
	t.say("220 go on")
	secured := tls.Server(t.conn, &tls.Config{Certificates: []tls.Certificate{*t.Certificate}, MinVersion: tls.VersionTLS12})
	if err := secured.Handshake(); err != nil {
		return false
	}
	t.conn, t.in, t.secured = secured, bufio.NewReader(secured), true
	return true
}

func (t *talk) authenticate(rest string) {
	mechanism, initial, _ := strings.Cut(rest, " ")
	said, err := base64.StdEncoding.DecodeString(initial)
	if err == nil && strings.EqualFold(mechanism, "PLAIN") && string(said) == "\x00"+t.User+"\x00"+t.Password {
		t.login = true
		t.say("235 welcome")
		return
	}
	t.say("535 5.7.8 no")
}

func (t *talk) from(rest string) bool {
	switch {
	case t.fault == SilentAtMail:
		t.wait()
		return false
	case t.Certificate != nil && !t.secured:
		t.say("530 5.7.0 STARTTLS first")
	case t.User != "" && !t.login:
		t.say("530 5.7.0 log in first")
	case t.fault == NoSender:
		t.say("550 not from you")
	default:
		t.mail = Delivered{From: bracketed(rest)}
		t.say("250 ok")
	}
	return true
}

func (t *talk) to(rest string) {
	switch {
	case t.mail.From == "":
		t.say("503 MAIL first")
	case t.fault == NoSuchAddress, strings.HasSuffix(bracketed(rest), "@nowhere.example"):
		t.say("550 5.1.1 " + bracketed(rest) + " is nobody here")
	case t.fault == NoRelay:
		t.say("550 5.7.1 no relay")
	case t.fault == LaterAddress:
		t.say("450 later")
	default:
		t.mail.To = bracketed(rest)
		t.say("250 ok")
	}
}

func bracketed(rest string) string {
	_, rest, _ = strings.Cut(rest, "<")
	inside, _, _ := strings.Cut(rest, ">")
	return inside
}

func (t *talk) data() bool {
	if t.mail.To == "" {
		t.say("503 RCPT first")
		return true
	}
	if t.fault == SilentAtData {
		t.wait()
		return false
	}
	t.say("354 go on")
	var text strings.Builder
	for {
		line, err := t.in.ReadString('\n')
		if err != nil {
			return false
		}
		if t.fault == DropsInData {
			return false
		}
		if line == ".\r\n" {
			break
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
	switch t.fault {
	case NoMail:
		t.say("554 5.6.0 not this")
		return true
	case LaterMail:
		t.say("451 later")
		return true
	}
	t.mail.Text = text.String()
	t.mu.Lock()
	t.delivered = append(t.delivered, t.mail)
	t.mu.Unlock()
	t.mail = Delivered{}
	switch t.fault {
	case SilentAtEnd:
		t.wait()
		return false
	case LosesTheAnswer:
		return false
	}
	t.say("250 mine")
	return true
}
