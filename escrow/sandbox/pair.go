package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// Pair is a PostgreSQL server and its synchronous standby: a COMMIT on the
// primary waits until the standby has it on disk. Between the two runs a link
// that can be cut.
type Pair struct {
	Primary *Postgres
	Standby *Postgres // takes no writes before Promote

	link    *link
	promote func(context.Context) error
}

// StartPair starts two servers as [StartPostgres] does, in temporary
// directories and never on the server of DATABASE_URL. settings are for the
// primary.
func StartPair(ctx context.Context, settings ...string) (_ *Pair, err error) {
	bin, err := PostgresBinaries(ctx)
	if err != nil {
		return nil, ErrPostgres.Because(err)
	}
	// PostgreSQL, runtime-config-replication: synchronous_standby_names names the
	// standby by the application_name of its connection.
	first := &cluster{bin: bin, settings: append([]string{"synchronous_standby_names=standby", "synchronous_commit=on"}, settings...), accepts: "connections"}
	second := &cluster{bin: bin, settings: []string{"wal_retrieve_retry_interval=50ms"}, accepts: "read-only connections"}
	var password string
	for _, c := range []*cluster{first, second} {
		if err := c.place(""); err != nil {
			return nil, ErrPostgres.Because(err)
		}
	}
	if password, err = first.initialise(ctx); err == nil {
		err = second.copyOf(ctx, first) // before its first start: the same cluster, without a base backup
	}
	if err != nil {
		first.discard()
		second.discard()
		return nil, ErrPostgres.Because(err)
	}
	p := &Pair{promote: second.promote}
	if p.Primary, err = first.serve(ctx, password); err != nil {
		second.discard()
		return nil, err
	}
	primary, err := url.Parse(p.Primary.DSN)
	if err == nil {
		p.link, err = newLink(primary.Host)
	}
	if err == nil {
		err = second.follow(p.link.ln.Addr().String(), password)
	}
	if err != nil {
		second.discard()
		return nil, errors.Join(ErrPostgres.Because(err), p.Primary.Stop())
	}
	if p.Standby, err = second.serve(ctx, password); err != nil {
		return nil, errors.Join(err, p.link.Close(), p.Primary.Stop())
	}
	return p, nil
}

// Cut takes the standby away: nothing reaches it any more, and every COMMIT on
// the primary waits.
func (p *Pair) Cut() { p.link.cut() }

// Mend ends a Cut: the standby connects again within moments, and the next COMMIT
// on the primary waits until it holds everything.
func (p *Pair) Mend() { p.link.mend() }

// Promote makes the standby a server that takes writes, with what it has, and
// returns when it does. The primary goes on, cut off: kill it to have it gone.
func (p *Pair) Promote(ctx context.Context) error {
	p.link.cut()
	return p.promote(ctx)
}

// Stop is [Postgres.Stop] for both.
func (p *Pair) Stop() error {
	return errors.Join(p.link.Close(), p.Primary.Stop(), p.Standby.Stop())
}

// copyOf copies the files of a cluster that does not run.
func (c *cluster) copyOf(ctx context.Context, from *cluster) error {
	data := filepath.Join(c.dir, "data")
	copied := exec.CommandContext(ctx, "cp", "-Rp", filepath.Join(from.dir, "data")+"/.", data) // with its owners
	if out, err := copied.CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, lastLine(out))
	}
	return nil
}

// promote ends the standby's following.
func (c *cluster) promote(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "pg_ctl"), "promote", "--wait", "--pgdata", filepath.Join(c.dir, "data"))
	cmd.Dir, cmd.Env = "/", postgresEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return ErrPostgres.Because(fmt.Errorf("pg_ctl: %w: %s", err, lastLine(out)))
	}
	return nil
}

// follow makes the cluster a standby of the server at that address.
func (c *cluster) follow(address, password string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	data := filepath.Join(c.dir, "data")
	for name, text := range map[string]string{
		"standby.signal": "",
		"postgresql.auto.conf": fmt.Sprintf("primary_conninfo = 'host=%s port=%s user=postgres password=%s application_name=standby sslmode=disable'\n",
			host, port, password),
	} {
		file := filepath.Join(data, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
		if c.as != nil {
			if err := os.Chown(file, int(c.as.Uid), int(c.as.Gid)); err != nil {
				return err
			}
		}
	}
	return nil
}

// link carries connections to one address, until it is cut.
type link struct {
	ln net.Listener
	to string

	mu    sync.Mutex
	down  bool
	conns map[net.Conn]bool
}

func newLink(to string) (*link, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{ln: ln, to: to, conns: make(map[net.Conn]bool)}
	go l.accept()
	return l, nil
}

func (l *link) accept() {
	for {
		in, err := l.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", l.to)
		if err != nil || !l.hold(in, out) {
			in.Close()
			continue
		}
		for from, to := range map[net.Conn]net.Conn{in: out, out: in} {
			go func() {
				io.Copy(to, from) //nolint:errcheck // it was cut, or one side went
				to.Close()
				from.Close()
			}()
		}
	}
}

// hold keeps the connections to be cut, unless the link is down.
func (l *link) hold(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		if l.down {
			c.Close()
			continue
		}
		l.conns[c] = true
	}
	return !l.down
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for c := range l.conns {
		c.Close()
	}
	clear(l.conns)
}

func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

// Close cuts the link for good.
func (l *link) Close() error {
	l.cut()
	return l.ln.Close()
}
