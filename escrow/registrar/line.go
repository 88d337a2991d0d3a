package registrar

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// idle is how long a line to a registrar may be silent, in either direction. A
// transfer may take as long as it moves: one of 8 MB over a slow line takes minutes.
const idle = time.Minute

// ErrAuthorities is the refusal of a file without certificate authorities.
var ErrAuthorities = refusal.New(refusal.Invalid, "file.no_authorities",
	"the file should hold certificate authorities in PEM: name one that this program may read, and that does")

// Authorities returns those of this machine and, beside them, those of a PEM file; nil,
// which means those of this machine, if no file is named. It fails with [ErrAuthorities].
func Authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, ErrAuthorities.Because(err)
	}
	all, err := x509.SystemCertPool()
	if err != nil {
		return nil, ErrAuthorities.Because(err)
	}
	if !all.AppendCertsFromPEM(pem) {
		return nil, ErrAuthorities.Because(errors.New(file))
	}
	return all, nil
}

// atOnce is how many requests are under way at a time, for tiles of the log among others.
const atOnce = 8

// NewHTTP returns what a [Client] speaks through: it gives up a line that is silent
// for a minute, and never one that is merely slow. It follows no redirect. roots are as
// [Authorities] returns them.
func NewHTTP(roots *x509.CertPool) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if roots != nil {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	transport.MaxIdleConnsPerHost, transport.MaxConnsPerHost = atOnce, atOnce
	dialer := net.Dialer{Timeout: 10 * time.Second}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return line{conn, idle}, nil
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a registrar that redirects is not followed anywhere
	}}
}

// line is a connection with a deadline that moves on with every byte. What is read is
// waited for while something is sent, so both move together.
type line struct {
	net.Conn
	idle time.Duration
}

func (l line) moved() error { return l.SetDeadline(time.Now().Add(l.idle)) }

// Read implements net.Conn.
func (l line) Read(b []byte) (int, error) {
	if err := l.moved(); err != nil {
		return 0, err
	}
	return l.Conn.Read(b)
}

// Write implements net.Conn.
func (l line) Write(b []byte) (int, error) {
	if err := l.moved(); err != nil {
		return 0, err
	}
	return l.Conn.Write(b)
}

// counted is a body that tells how much of it was sent.
type counted struct {
	io.Reader
	sent, total int64
	tell        func(sent, total int64)
}

// Read implements io.Reader.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.sent += int64(n)
	c.tell(c.sent, c.total)
	return n, err
}
