package registrar

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// idle is how long a line to a registrar may be silent, in either direction. A
// transfer may take as long as it moves: one of 8 MB over a slow line takes minutes.
const idle = time.Minute

// NewHTTP returns what a [Client] speaks through: it gives up a line that is silent
// for a minute, and never one that is merely slow. It follows no redirect.
func NewHTTP() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
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
