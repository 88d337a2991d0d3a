package postgres

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/verifier/refusal"
)

// freezer is a network between us and the server that can stop: connections stay,
// and nothing comes, as of a server that was sent SIGSTOP.
type freezer struct {
	mu      sync.Mutex
	stopped chan struct{} // nil: it flows
	rewrite func([]byte)  // of what the server sends
}

func (f *freezer) freeze() { f.mu.Lock(); f.stopped = make(chan struct{}); f.mu.Unlock() }

func (f *freezer) thaw() { f.mu.Lock(); close(f.stopped); f.stopped = nil; f.mu.Unlock() }

func (f *freezer) wait() {
	f.mu.Lock()
	stopped := f.stopped
	f.mu.Unlock()
	if stopped != nil {
		<-stopped
	}
}

// dial connects through the freezer: what comes is passed on by a goroutine, so that
// the deadlines of the connection keep their meaning.
func (f *freezer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	server, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	near, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	pass := func(to, from net.Conn, rewrite func([]byte)) {
		defer to.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := from.Read(b)
			if f.wait(); err != nil {
				return
			}
			if rewrite != nil {
				rewrite(b[:n])
			}
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
	}
	go pass(near, server, f.rewrite)
	go pass(server, near, nil)
	return client, nil
}

// G3: a frozen database is a refusal within seconds, whatever was asked of it, and
// the service works again when it is back.
func TestFoundG3FrozenDatabase(t *testing.T) {
	f := &freezer{}
	limit := time.Second
	d := disclosing(t, database(t), Options{Dial: f.dial, Answer: limit, Wait: limit, Commit: limit})
	c := file(t, d, 2)
	for name, ask := range map[string]func() error{
		"a read":   func() error { _, err := d.Cases.Case(t.Context(), c.ID); return err },
		"a write":  func() error { _, err := d.Cases.Apply(t.Context(), c.ID, approve("bar")); return err },
		"one row":  func() error { _, err := d.Use(t.Context(), [32]byte{1}, time.Now().Add(time.Hour)); return err },
		"the log":  func() error { _, err := d.Log.Size(t.Context()); return err },
		"at ready": func() error { return d.Ready(t.Context()) },
	} {
		if err := d.Ready(t.Context()); err != nil { // so that there is a connection, and it was good
			t.Fatal(name, err)
		}
		f.freeze()
		began := time.Now()
		err := ask()
		took := time.Since(began)
		f.thaw()
		if e := refusal.Of(err); e == nil || e.Kind != refusal.Unavailable || took > 2*limit {
			t.Errorf("%s: %v after %v", name, err, took)
		}
		t.Logf("%s: %v after %v", name, err, took)
	}
	if _, err := d.Cases.Apply(t.Context(), c.ID, approve("ombudsman")); err != nil {
		t.Error("the database is back: ", err)
	}
}

// G3: what takes as long as there are rows is not cut off.
func TestFoundG3LengthyWorkIsNotCutOff(t *testing.T) {
	d := disclosing(t, database(t), Options{Answer: 100 * time.Millisecond})
	slow := func(ctx context.Context) error {
		return d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
			_, err := c.Exec(ctx, `SELECT pg_sleep(0.3)`)
			return err
		})
	}
	wantErr(t, "a request", slow(t.Context()), ErrUnavailable)
	wantErr(t, "a job", slow(atLength(t.Context())), nil)
}

// G3: a connection whose server became read-only is not used for ever.
func TestFoundG3ReadOnlyConnectionIsDropped(t *testing.T) {
	d := disclosing(t, database(t), Options{MaxConns: 1})
	c := file(t, d, 2)
	pid := func() (pid uint32) {
		conn, err := d.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		return conn.Conn().PgConn().PID()
	}
	become := func(setting string) uint32 {
		conn, err := d.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
		if _, err := conn.Exec(t.Context(), setting); err != nil {
			t.Fatal(err)
		}
		return conn.Conn().PgConn().PID()
	}
	for name, ask := range map[string]func() error{
		"a read":  func() error { _, err := d.Cases.Case(t.Context(), c.ID); return err },
		"a write": func() error { _, err := d.Cases.Apply(t.Context(), c.ID, approve("bar")); return err },
	} {
		old := become(`SET default_transaction_read_only = on`)
		if err := ask(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if pid() == old {
			t.Errorf("%s: the connection is used on", name)
		}
	}
	// While it is asked: the answer may be old already.
	old := pid()
	found := 0
	err := d.glance(t.Context(), func(ctx context.Context, c *pgxpool.Conn) error {
		if found++; found > 1 {
			return nil
		}
		_, err := c.Exec(ctx, `SET default_transaction_read_only = on`)
		return err
	})
	if err != nil || found != 2 || pid() == old {
		t.Errorf("%d attempts, %v", found, err)
	}
}

// L1: each cause has its own code, and its own way to mend it.
func TestFoundL1EachCauseHasItsCode(t *testing.T) {
	admin := database(t)
	good, err := url.Parse(as(t, admin, "penname_disclosing"))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(u *url.URL)) string {
		u := *good
		change(&u)
		return u.String()
	}
	for name, c := range map[string]struct {
		dsn  string
		o    Options
		want *refusal.Error
	}{
		"an empty file":                     {"", Options{}, ErrNoDSN},
		"no address":                        {"postgres://%", Options{}, ErrDSN},
		"another database":                  {with(func(u *url.URL) { u.Path = "/nowhere" }), Options{}, ErrNoDatabase},
		"an unknown host":                   {"postgres://penname_disclosing@penname.invalid/penname?sslmode=verify-full", Options{}, ErrHost},
		"nobody listens":                    {"postgres://penname_disclosing@127.0.0.1:1/penname", Options{}, ErrUnavailable},
		"no file of the authority":          {with(func(u *url.URL) { u.RawQuery = "sslmode=verify-full&sslrootcert=/nowhere" }), Options{}, ErrCA},
		"another authority":                 {fakeTLS(t, "127.0.0.1", true), Options{}, ErrCA},
		"another name":                      {fakeTLS(t, "localhost", false), Options{}, ErrHostname},
		"a pooler without the settings":     {fakeRefusal(t, "08P01"), Options{}, ErrPooler},
		"a pooler of transactions":          {fakeRefusal(t, "42P05"), Options{}, ErrPooler},
		"a wrong password":                  {fakeRefusal(t, "28P01"), Options{}, ErrPassword},
		"a pooler that looks like a server": {good.String(), Options{Dial: (&freezer{rewrite: otherPID}).dial}, ErrPooler},
	} {
		_, err := OpenDisclosing(t.Context(), c.dsn, c.o)
		wantErr(t, name, err, c.want)
		for e := err; e != nil; {
			if text := fmt.Sprint(e); strings.Contains(text, "127.0.0.1") || strings.Contains(text, "invalid/") {
				t.Errorf("%s: the error quotes the address: %s", name, text)
			}
			u, ok := e.(interface{ Unwrap() error })
			if !ok {
				break
			}
			e = u.Unwrap()
		}
	}
	// In service it is the operator's matter alone: only the log has the cause.
	inService := new(db).unconnected(t.Context(), t.Context(), &pgconn.PgError{Code: "28P01"})
	wantErr(t, "in service", inService, ErrUnavailable)
	if !errors.Is(errors.Unwrap(inService), ErrPassword) {
		t.Errorf("in service: the cause is %v", errors.Unwrap(inService))
	}
	wantErr(t, "at the start", atStart(inService), ErrPassword)
	wantErr(t, "at the start, without a cause", atStart(ErrUnavailable), ErrUnavailable)
}

// otherPID changes the number of the session that a server tells (BackendKeyData), as
// a pooler does.
func otherPID(b []byte) {
	if at := bytes.Index(b, []byte("K\x00\x00\x00\x0c")); at >= 0 {
		b[at+8]++
	}
}

// fakeTLS is a server with a certificate for 127.0.0.1, and an address at which the
// client trusts that, or another authority.
func fakeTLS(t *testing.T, host string, otherAuthority bool) string {
	t.Helper()
	web := httptest.NewTLSServer(nil)
	t.Cleanup(web.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if otherAuthority {
		ca = []byte(anotherAuthority)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	port := fake(t, func(c net.Conn) {
		if _, err := io.ReadFull(c, make([]byte, 8)); err != nil { // SSLRequest
			return
		}
		c.Write([]byte("S"))                                                       //nolint:errcheck // the client says it
		tls.Server(c, &tls.Config{Certificates: web.TLS.Certificates}).Handshake() //nolint:errcheck,gosec // likewise
	})
	return fmt.Sprintf("postgres://penname_disclosing@%s:%s/penname?sslmode=verify-full&sslrootcert=%s", host, port, file)
}

// fakeRefusal is a server that refuses the start of a session.
func fakeRefusal(t *testing.T, state string) string {
	t.Helper()
	port := fake(t, func(c net.Conn) {
		if _, err := c.Read(make([]byte, 1024)); err != nil {
			return
		}
		fields := "SFATAL\x00VFATAL\x00C" + state + "\x00Mno\x00\x00"
		c.Write(append([]byte{'E', 0, 0, 0, byte(4 + len(fields))}, fields...)) //nolint:errcheck // likewise
	})
	return "postgres://penname_disclosing@127.0.0.1:" + port + "/penname?sslmode=disable"
}

func fake(t *testing.T, serve func(net.Conn)) (port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	_, port, _ = net.SplitHostPort(ln.Addr().String()) //nolint:errcheck // it is one
	return port
}

// anotherAuthority is a self-signed certificate whose key nobody has.
const anotherAuthority = `-----BEGIN CERTIFICATE-----
MIIBejCCASGgAwIBAgIUa+TX2pSWt94SDVpUTvCOe6gJoIkwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHQW5vdGhlcjAgFw0yNjExMjgxNzQ0MDZaGA8yMTI2MTEwNDE3NDQwNlowEjEQMA4GA1UEAwwHQW5vdGhlcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABB8p+Q2GK42/LEOxiAQAv9FuIF5wwigAGVfOK4pcIc/YLPBXDm2p6+T4Ji0EKAqLL8HqhyhpKOUy3VHF8OrV1dCjUzBRMB0GA1UdDgQWBBSxLTP51pnDV8uq3/PDWJxKnAdVlDAfBgNVHSMEGDAWgBSxLTP51pnDV8uq3/PDWJxKnAdVlDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0cAMEQCICbuXoqSIBXHkVfuMy1+VMe0nBhQHAZhdqbUBttCeEdJAiBlNmh1MN5ZjRtXyq4aDWYr3tmHxVqwUTTim6sE/FCZLQ==
-----END CERTIFICATE-----
`
