package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/verifier/token"
)

// nextMigration is what the next release might have: it adds a table and a column, takes an
// index away, and says that programs of before may go on.
const nextMigration = `-- +goose Up
CREATE TABLE greetings (n bigint PRIMARY KEY);
ALTER TABLE sessions ADD COLUMN greeted boolean NOT NULL DEFAULT false;
DROP INDEX cases_of_authority;
INSERT INTO side_by_side (version, since, changes) VALUES (%d, %d, '{- index cases_of_authority, + constraint greetings_pkey of greetings, + penname_issuing greetings.n SELECT, + penname_issuing sessions.greeted SELECT}');
`

// Old and new programs serve on one database, while its schema goes forward under them,
// and after the new one is taken back. What was begun at one goes on at the other, and
// nothing that was acknowledged is lost. On a schema that says nothing of them they disclose
// nothing, and say so; once it is gone they go on.
func TestOldAndNewSideBySide(t *testing.T) {
	var direct string
	front := &front{}
	server := httptest.NewServer(front)
	defer server.Close()
	w, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Keep: keepDir(t), Vault: true, PerSender: 10_000, Log: &syncBuffer{}, Progress: os.Stderr,
		Front: func(origin string) string { direct = origin; front.to(origin); return server.URL }})
	if err != nil {
		t.Fatal(err)
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	defer func() { do(w.Close()) }()
	old, next := buildReplicas(t)
	here := newReplica(t, w, old)
	front.to(here.origin)
	author := sandbox.People()[1]
	browser := world.NewBrowser()
	do(browser.Visit(t.Context(), w.Town, author.Name))
	file := func() *world.Case {
		t.Helper()
		c := &world.Case{World: w, Author: author}
		c.Post, err = browser.Say(t.Context(), w.Town, "I will come for you.")
		do(err)
		c.Evidence, err = w.SaveEvidence("threat.jws", c.Post)
		do(err)
		do(c.File(t.Context()))
		return c
	}
	first := file()
	do(first.Approve(t.Context(), "alba"))

	signIns := signInAll(t, w)
	said := replicaProgram(t, w, next, "migrate")
	if out, err := said.CombinedOutput(); err != nil || !strings.Contains(string(out), "_next.sql: done in ") {
		t.Fatalf("%v: %s", err, out)
	}
	there := newReplica(t, w, next)
	front.to(here.origin, there.origin)
	do(first.Approve(t.Context(), "bruno"))
	do(first.Open(t.Context()))
	second := file()
	do(second.Approve(t.Context(), "chidi"))

	front.to(here.origin)
	there.stop()
	do(second.Approve(t.Context(), "alba"))
	do(second.Open(t.Context()))
	again := newReplica(t, w, old) // it starts on the newer schema
	front.to(again.origin)
	here.stop()
	third := file()
	do(third.Approve(t.Context(), "alba"))
	signIns()
	if third.Post.Author != first.Post.Author {
		t.Error("another pen name than before")
	}

	unknownSchema(t, w, old, again, third)
	do(third.Approve(t.Context(), "bruno"))
	do(third.Open(t.Context()))
	again.stop()
	front.to(direct)
	if out, code := w.Escrow(t.Context(), "log", "audit", "--bundle", w.Path("bundle.json"), "--server", w.Origin); code != 0 {
		t.Error(out)
	}
	var out bytes.Buffer
	if code := programs.Escrowd(t.Context(), []string{"log", "check", "--database-file", w.Path("disclosing.dsn"), "--vault-audit", w.Vault.Audit}, &out, &out); code != 0 {
		t.Error(out.String())
	}
}

// unknownSchema has a migration come that says nothing of programs of before.
func unknownSchema(t *testing.T, w *world.World, program string, serving *replica, c *world.Case) {
	t.Helper()
	statement(t, w.Postgres.DSN, `INSERT INTO penname.goose_db_version (version_id, is_applied) VALUES (99999, true)`)
	const code = "database.schema_newer"
	serving.ready(t, http.StatusServiceUnavailable, `"disclose.database":"`+code+`","disclose.keys":"ok","issue.database":"`+code+`"`)
	if err := c.Approve(t.Context(), "bruno"); err == nil || !strings.Contains(err.Error(), "rules.unknown") { // the log is not served either
		t.Errorf("a decision: %v", err)
	}
	if err := w.Refused(t.Context(), code, "warrant", "status", c.ID, "--server", w.Origin); err != nil {
		t.Error(err)
	}
	cmd := replicaProgram(t, w, program)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), code+": ") || !strings.Contains(string(out), "schema 99999 does not say which programs may run on it") {
		t.Errorf("it started: %s", out)
	}
	statement(t, w.Postgres.DSN, `DELETE FROM penname.goose_db_version WHERE version_id = 99999`)
	serving.ready(t, http.StatusOK, `"ready":true`)
}

func statement(t *testing.T, dsn, statement string) {
	t.Helper()
	if out, err := exec.Command("psql", "-qX", "--set", "ON_ERROR_STOP=1", "--dbname", dsn, "-c", statement).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// buildReplicas builds the program of this source, and that of this source with one
// more migration.
func buildReplicas(t *testing.T) (old, next string) {
	t.Helper()
	own, err := postgres.SchemaVersion()
	if err != nil {
		t.Fatal(err)
	}
	const folder = "../../escrow/postgres/"
	abs, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	guards := strings.Replace(read(t, folder+"guards.txt"), "index cases_of_authority\n", "constraint greetings_pkey of greetings\n", 1)
	overlay := marshal(t, map[string]any{"Replace": map[string]string{
		filepath.Join(abs, "migrations", fmt.Sprintf("%05d_next.sql", own+1)): write(t, "next.sql", fmt.Sprintf(nextMigration, own+1, own), 0o600),
		filepath.Join(abs, "guards.txt"):                                      write(t, "guards.txt", guards, 0o600),
		filepath.Join(abs, "grants.sql"): write(t, "grants.sql", read(t, folder+"grants.sql")+
			"GRANT SELECT (n) ON greetings TO penname_issuing;\nGRANT SELECT (greeted) ON sessions TO penname_issuing;\n", 0o600),
	}})
	dir := t.TempDir()
	old, next = filepath.Join(dir, "old"), filepath.Join(dir, "next")
	for program, more := range map[string][]string{old: nil, next: {"-overlay", write(t, "overlay.json", string(overlay), 0o600)}} {
		buildReplica(t, program, more...)
	}
	return old, next
}

func buildReplica(t *testing.T, program string, more ...string) {
	t.Helper()
	args := append(append([]string{"build", "-o", program}, more...), "./testdata/replica")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// A replica is a process that serves a world, with all sides.
type replica struct {
	pid    int
	origin string
	stop   func() // as an operator does; it has to end well
}

// replicaProgram is a replica's program, with what it reads.
func replicaProgram(t *testing.T, w *world.World, program string, args ...string) *exec.Cmd {
	t.Helper()
	c := map[string]any{"Dir": w.Dir, "Origin": w.Origin, "Admin": w.Postgres.DSN, "Identity": w.Identity, "Vault": w.Vault.Address}
	databases, roles, secrets := map[vault.Side]string{}, map[vault.Side]string{}, map[vault.Side]string{}
	for side, role := range map[vault.Side]string{vault.SideIssuing: "penname_issuing", vault.SideDisclosing: "penname_disclosing", vault.SideKeeping: "penname_keeping"} {
		login := sideConfig(t, w, side)
		dsn, err := postgres.Login(t.Context(), w.Postgres.DSN, role)
		if err != nil {
			t.Fatal(err)
		}
		databases[side], roles[side], secrets[side] = dsn, login.RoleID, login.SecretIDFile
	}
	c["Databases"], c["Roles"], c["Secrets"] = databases, roles, secrets
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(marshal(t, c))
	return cmd
}

// newReplica starts a process and returns when it serves.
func newReplica(t *testing.T, w *world.World, program string) *replica {
	t.Helper()
	cmd := replicaProgram(t, w, program)
	errs, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	lines := bufio.NewScanner(io.TeeReader(errs, &said))
	r := &replica{pid: cmd.Process.Pid}
	for r.origin == "" && lines.Scan() {
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			r.origin = "http://" + line.Address
		}
	}
	read := make(chan struct{})
	go func() { io.Copy(&said, errs); close(read) }() //nolint:errcheck // ends with the process
	r.stop = sync.OnceFunc(func() {
		cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // Wait says it
		<-read
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(said.String())
		}
	})
	t.Cleanup(r.stop)
	if r.origin == "" {
		t.Fatal(said.String())
	}
	return r
}

// ready waits until /readyz answers so: it looks anew each second.
func (r *replica) ready(t *testing.T, status int, says string) {
	t.Helper()
	var said string
	for range 100 {
		res, err := http.Get(r.origin + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if said = string(body); err == nil && res.StatusCode == status && strings.Contains(said, says) {
			return
		}
		<-time.After(100 * time.Millisecond)
	}
	t.Errorf("/readyz: %s", said)
}

// front passes requests on to the processes that serve, in turn.
type front struct {
	all  atomic.Pointer[[]string]
	next atomic.Int64
}

func (f *front) to(origins ...string) { f.all.Store(&origins) }

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	all := *f.all.Load()
	target, err := url.Parse(all[int(f.next.Add(1))%len(all)])
	if err != nil {
		panic(err) // which the test wrote
	}
	proxy := httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }}
	proxy.ServeHTTP(w, r)
}

// signInAll signs people in again and again, each in a new browser, until the function that
// it returns is called: at least once after that, and each always as who they were.
func signInAll(t *testing.T, w *world.World) (finish func()) {
	t.Helper()
	names := map[string]token.Pseudonym{}
	once := func() error {
		for _, who := range sandbox.People()[:3] {
			b := world.NewBrowser()
			if err := b.Visit(t.Context(), w.School, who.Name); err != nil {
				return err
			}
			post, err := b.Say(t.Context(), w.School, "Good morning.")
			if err != nil {
				return err
			}
			if before, is := names[who.Name]; is && before != post.Author {
				return fmt.Errorf("%s is another one than before", who.Role)
			}
			names[who.Name] = post.Author
		}
		return nil
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for last := false; ; {
			if err := once(); err != nil {
				t.Errorf("a sign-in: %v", err)
				return
			}
			if last {
				return
			}
			select {
			case <-end:
				last = true
			default:
			}
		}
	}()
	return func() { close(end); <-ended }
}
