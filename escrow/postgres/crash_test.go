package postgres

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/verifier/refusal"
)

// ownServer starts a server of the test's own, in a directory that outlives it.
func ownServer(t *testing.T) (dir string, pg *sandbox.Postgres) {
	t.Helper()
	if os.Getenv("DATABASE_URL") != "" {
		t.Skip("the server is not ours to kill")
	}
	dir, err := os.MkdirTemp("", "penname-crash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { // the server runs as another user if we are root
		t.Fatal(err)
	}
	pg, err = sandbox.StartPostgres(t.Context(), dir)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	t.Cleanup(func() { pg.Stop() })
	if err := Migrate(t.Context(), pg.DSN); err != nil {
		t.Fatal(err, cause(err))
	}
	return dir, pg
}

// postmaster is the lines of the server's pid file: [0] pid, [3] port, [7] status.
func postmaster(dir string) []string {
	text, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		return make([]string, 8)
	}
	return append(strings.Split(string(text), "\n"), make([]string, 8)...)
}

// F06 and promise 9: the server is killed in the middle of the work. Whatever
// was acknowledged is there when it is back, and the log agrees with its rows.
func TestF06KilledServer(t *testing.T) {
	dir, pg := ownServer(t)
	s, d := issuing(t, pg.DSN, Options{Wait: time.Second}), disclosing(t, pg.DSN, Options{Wait: time.Second})
	var mu sync.Mutex
	var people []issue.Enrolment
	var cases []string
	enough := make(chan struct{})
	var once, wg = sync.Once{}, sync.WaitGroup{}
	for range 4 {
		wg.Go(func() {
			for {
				e := enrolment()
				_, first, err := s.Enrol(t.Context(), e)
				if err == nil && first {
					mu.Lock()
					people = append(people, e)
					mu.Unlock()
				}
				c, leaf := newCase(1)
				_, err2 := d.Cases.File(t.Context(), c, leaf)
				if err2 == nil {
					mu.Lock()
					if cases = append(cases, c.ID); len(cases) == 50 {
						once.Do(func() { close(enough) })
					}
					mu.Unlock()
				}
				if err := errors.Join(err, err2); err != nil {
					if r := refusal.Of(err); r == nil || r.Kind != refusal.Unavailable {
						t.Errorf("%v: %v", err, cause(err))
					}
					return
				}
			}
		})
	}
	<-enough
	pid, err := strconv.Atoi(postmaster(dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil { // immediate shutdown: no checkpoint, recovery from the WAL
		t.Fatal(err)
	}
	wg.Wait()
	pg.Stop()

	again, err := sandbox.StartPostgres(t.Context(), dir)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	defer again.Stop()
	s, d = issuing(t, again.DSN, Options{}), disclosing(t, again.DSN, Options{})
	for _, e := range people {
		if p, err := s.Person(t.Context(), e.Fingerprint, e.Birth); err != nil || p != e.Person {
			t.Errorf("an acknowledged person is lost: %v", err)
		}
		if _, err := oneRecord(t.Context(), d, e.Person.Label); err != nil {
			t.Errorf("an acknowledged record is lost: %v", err)
		}
	}
	for _, id := range cases {
		if _, err := d.Cases.Case(t.Context(), id); err != nil {
			t.Errorf("an acknowledged case is lost: %v", err)
		}
	}
	consistent(t, d)
	t.Logf("%d people and %d cases were acknowledged", len(people), len(cases))
}

// F06: a backend that is killed, as the OOM killer does, takes no other
// client's work with it for longer than the restart.
func TestF06KilledBackends(t *testing.T) {
	admin := database(t)
	s, d := issuing(t, admin, Options{}), disclosing(t, admin, Options{})
	c := file(t, d, 100)
	terminate := connect(t, admin)
	stop, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for stop.Err() == nil {
			terminate.Exec(context.Background(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'penname_%' AND random() < 0.2 AND datname = current_database()`)
		}
	})
	for i := range 25 {
		e := enrolment()
		if _, first, err := s.Enrol(t.Context(), e); err != nil && refusal.Of(err).Kind != refusal.Unavailable || err == nil && !first {
			t.Errorf("enrol: %v, %v: %v", first, err, cause(err))
		}
		if _, err := d.Cases.Apply(t.Context(), c.ID, approve("custodian-"+strconv.Itoa(i))); err != nil && refusal.Of(err).Kind != refusal.Unavailable {
			t.Errorf("apply: %v: %v", err, cause(err))
		}
	}
	cancel()
	wg.Wait()
	got, err := d.Cases.Case(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := d.Log.Size(t.Context()); err != nil || int(n) != 1+len(got.Approvals) {
		t.Errorf("%d leaves, %d approvals, %v", n, len(got.Approvals), err)
	}
	consistent(t, d)
}

// D16 and F10: a real standby answers, and is refused.
func TestD16RealStandby(t *testing.T) {
	dir, pg := ownServer(t)
	dsn := as(t, pg.DSN, "penname_disclosing")
	disclosing(t, pg.DSN, Options{}).Close()
	pg.Stop()
	if err := os.WriteFile(filepath.Join(dir, "data", "standby.signal"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	done := make(chan struct{})
	go func() { // it waits for a server that takes writes, in vain
		defer close(done)
		if pg, err := sandbox.StartPostgres(ctx, dir); err == nil {
			pg.Stop()
		}
	}()
	defer func() { cancel(); <-done }()
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		if strings.TrimSpace(postmaster(dir)[7]) == "ready" { // for readers
			break
		}
		if ctx.Err() != nil {
			t.Fatal("no standby")
		}
	}
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = net.JoinHostPort("127.0.0.1", postmaster(dir)[3])
	conn := connect(t, u.String())
	var recovering bool
	if err := conn.QueryRow(ctx, `SELECT pg_is_in_recovery()`).Scan(&recovering); err != nil || !recovering {
		t.Fatalf("control: %v, %v", recovering, err)
	}
	_, err = OpenDisclosing(ctx, u.String(), Options{})
	wantErr(t, "standby", err, ErrStandby)
}
