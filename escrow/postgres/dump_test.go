package postgres

import (
	"errors"
	"flag"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/postgres/postgrestest"
	"github.com/penname/penname/escrow/sandbox"
)

var update = flag.Bool("update", false, "write what TestFoundN2GuardsAreListed compares")

// filled is a house with rows in every state that a trigger would not let in as it is.
func filled(t *testing.T) *house {
	h := newHouse(t, 5)
	gone, asked := h.enrol(t).Person.Label, h.enrol(t).Person.Label
	h.ask(t, asked)
	h.ask(t, gone)
	h.clear(t, gone)
	if _, err := h.keeper().Work(t.Context()); err != nil { // erases, and rotates
		t.Fatal(err, cause(err))
	}
	a := assignment(t)
	if _, err := h.s.Assign(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	open, declined, told := file(t, h.d, 2), file(t, h.d, 1), file(t, h.d, 1)
	apply(t, h.d, open.ID, approve("bar"))
	apply(t, h.d, declined.ID, decline("bar"))
	for _, step := range []func(disclose.Case) (disclose.Change, error){approve("bar"), release, notice(a.Pseudonym)} {
		apply(t, h.d, told.ID, step)
	}
	if err := install(t.Context(), h.d, []byte("{}"), nil); err != nil {
		t.Fatal(err, cause(err))
	}
	later := futureOf(t, h.d)
	later.add(t, approvedLeaf(&open, "press"))
	later.restore(t, nil)
	consistent(t, h.d)
	return h
}

// movedTo is the same house on another database, with its keys.
func (h *house) movedTo(t *testing.T, admin string) *house {
	t.Helper()
	moved := houseOn(t, admin)
	moved.wrap, moved.open, moved.keys, moved.halfs = h.wrap, h.open, h.keys, maps.Clone(h.halfs)
	return moved
}

// contents is every row of every table.
func contents(t *testing.T, admin string) map[string]string {
	t.Helper()
	c, all := connect(t, admin), map[string]string{}
	for _, table := range names(t, c) {
		all[table] = one[string](t, c, `SELECT coalesce(string_agg(r::text, E'\n' ORDER BY r::text), '') FROM penname.`+table+` r`)
	}
	delete(all, "goose_db_version") // says when
	return all
}

func names(t *testing.T, c *pgx.Conn) []string {
	t.Helper()
	rows, err := c.Query(t.Context(), `SELECT relname FROM pg_class WHERE relnamespace = 'penname'::regnamespace AND relkind = 'r'`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// command runs one of PostgreSQL's programs, with settings of its session.
func command(t testing.TB, options, name string, args ...string) ([]byte, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "PGOPTIONS="+options)
	return cmd.CombinedOutput()
}

// must is command, which has to succeed.
func must(t testing.TB, options, name string, args ...string) {
	t.Helper()
	if out, err := command(t, options, name, args...); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// A newServer is another PostgreSQL, which has no role of Penname.
func newServer(t *testing.T) *sandbox.Postgres {
	t.Helper()
	pg, err := sandbox.StartPostgres(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pg.Stop() })
	return pg
}

// on is an empty database of that name on another server.
func on(t *testing.T, pg *sandbox.Postgres, name string) string {
	t.Helper()
	sql(t, pg.DSN, `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`)
	sql(t, pg.DSN, `CREATE DATABASE `+name)
	u, err := url.Parse(pg.DSN)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

const (
	// replica lets no trigger fire. Only a superuser may set it.
	replica = "-c session_replication_role=replica"
	// seeds are rows that a migration writes, and a dump has too.
	seeds = "TRUNCATE penname.goose_db_version, penname.side_by_side, penname.log_lock"
)

// restores is how a dump is brought back before `escrowd migrate`, by the name of its
// file.
var restores = map[string]struct {
	dump    []string // arguments of pg_dump
	restore func(t *testing.T, file, admin string)
}{
	"custom": {[]string{"--format=custom"}, func(t *testing.T, file, admin string) {
		must(t, "", "pg_restore", "--no-owner", "--no-acl", "--exit-on-error", "--single-transaction", "--dbname", admin, file)
	}},
	"custom, with its owners": {[]string{"--format=custom"}, func(t *testing.T, file, admin string) {
		command(t, "", "pg_restore", "--dbname", admin, file) // a new server does not have them, and it says so
	}},
	"custom, over an empty schema": {[]string{"--format=custom"}, func(t *testing.T, file, admin string) {
		migrated(t, admin)
		must(t, "", "pg_restore", "--clean", "--if-exists", "--exit-on-error", "--single-transaction", "--dbname", admin, file)
	}},
	"plain": {[]string{"--no-owner", "--no-acl"}, func(t *testing.T, file, admin string) {
		must(t, "", "psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--single-transaction", "--dbname", admin, "--file", file)
	}},
	"plain, with its owners": {nil, func(t *testing.T, file, admin string) {
		command(t, "", "psql", "--no-psqlrc", "--quiet", "--dbname", admin, "--file", file)
	}},
	"data only": {[]string{"--data-only", "--format=custom"}, func(t *testing.T, file, admin string) {
		migrated(t, admin)
		must(t, replica, "psql", "--no-psqlrc", "--quiet", "--dbname", admin, "--command", seeds)
		must(t, replica, "pg_restore", "--data-only", "--exit-on-error", "--single-transaction", "--dbname", admin, file)
	}},
	"data only, plain": {[]string{"--data-only"}, func(t *testing.T, file, admin string) {
		migrated(t, admin)
		must(t, replica, "psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--single-transaction", "--dbname", admin, "--command", seeds, "--file", file)
	}},
}

func migrated(t *testing.T, admin string) {
	t.Helper()
	if err := Migrate(t.Context(), admin); err != nil {
		t.Fatal(err, cause(err))
	}
}

// N2: a dump was restored into a new database, and `escrowd migrate` called it up to
// date, while no side would start on it: the database was open to everybody, functions
// that run as their owner ran as a superuser, and on a new server nothing had an owner
// at all. Every kind of dump, under another name and on another server, is whole after
// a migration, and its triggers are on guard.
func TestFoundN2EveryKindOfDumpIsRestored(t *testing.T) {
	h := filled(t)
	want, dir, other := contents(t, h.admin), t.TempDir(), newServer(t)
	for name, way := range restores {
		dump := filepath.Join(dir, name)
		must(t, "", "pg_dump", append(way.dump, "--schema=penname", "--dbname", h.admin, "--file", dump)...)
		for place, admin := range map[string]string{"another name": emptyDatabase(t), "another server": on(t, other, strings.TrimPrefix(pathOf(h.admin), "/"))} {
			t.Run(name+", "+place, func(t *testing.T) {
				way.restore(t, dump, admin)
				migrated(t, admin)
				have := contents(t, admin)
				for table, rows := range want {
					if have[table] != rows {
						t.Errorf("%s: %q\nwant %q", table, have[table], rows)
					}
				}
				if owned := value[string](t, admin, `SELECT string_agg(DISTINCT o::regrole::text, ' ') FROM (
					SELECT relowner o FROM pg_class WHERE relnamespace = 'penname'::regnamespace UNION SELECT proowner FROM pg_proc WHERE pronamespace = 'penname'::regnamespace
					UNION SELECT nspowner FROM pg_namespace WHERE nspname = 'penname') all_of_them`); owned != "penname_owner" {
					t.Errorf("owned by %s", owned)
				}
				r := h.movedTo(t, admin)
				consistent(t, r.d)
				file(t, r.d, 1)
				r.enrol(t)
				if state, guard := sqlState(try(t, admin, `UPDATE log_leaves SET leaf = 'x'`)); guard != "append_only" {
					t.Errorf("no trigger is on guard: %s %s", state, guard)
				}
			})
		}
	}
}

// What guards the rows is compared with a list, because a restore that stopped half way,
// or that disabled triggers and stopped, leaves a database on which everything works
// and nothing is guarded.
func TestFoundN2AHalfRestoredDatabaseIsRefused(t *testing.T) {
	h := filled(t)
	dump := filepath.Join(t.TempDir(), "dump")
	must(t, "", "pg_dump", "--format=custom", "--schema=penname", "--dbname", h.admin, "--file", dump)
	open := func(admin string) error {
		t.Helper()
		migrated(t, admin)
		d, err := OpenDisclosing(t.Context(), as(t, admin, "penname_disclosing"), Options{})
		if err == nil {
			d.Close()
		}
		return err
	}
	half := emptyDatabase(t)
	must(t, "", "pg_restore", "--section=pre-data", "--section=data", "--dbname", half, dump)
	wantErr(t, "no triggers", open(half), ErrSchemaIncomplete)

	whole := emptyDatabase(t)
	must(t, "", "pg_restore", "--exit-on-error", "--single-transaction", "--dbname", whole, dump)
	if err := open(whole); err != nil {
		t.Fatal(err, cause(err))
	}
	for what, break_ := range map[string][2]string{
		"a trigger":     {`ALTER TABLE cases DISABLE TRIGGER moves`, `ALTER TABLE cases ENABLE TRIGGER moves`},
		"all triggers":  {`ALTER TABLE approvals DISABLE TRIGGER ALL`, `ALTER TABLE approvals ENABLE TRIGGER ALL`},
		"a foreign key": {`ALTER TABLE notices DROP CONSTRAINT notices_leaf_fkey`, `ALTER TABLE notices ADD FOREIGN KEY (leaf) REFERENCES log_leaves`},
		"an index":      {`DROP INDEX persons_likeness`, `CREATE UNIQUE INDEX persons_likeness ON persons (likeness) WHERE reviewed IS NULL`},
	} {
		sql(t, whole, break_[0])
		wantErr(t, what, open(whole), ErrSchemaIncomplete)
		sql(t, whole, break_[1])
	}
	// How somebody restores data only, and forgets to take it back.
	name := strings.TrimPrefix(pathOf(whole), "/")
	sql(t, whole, `ALTER DATABASE `+name+` SET session_replication_role = replica`)
	wantErr(t, "no trigger fires", open(whole), ErrSettings)
	sql(t, whole, `ALTER DATABASE `+name+` RESET session_replication_role`)
	if err := open(whole); err != nil {
		t.Fatal(err, cause(err))
	}
}

// TestFoundN2GuardsAreListed compares guards.txt with what the migrations make; with
// -update it writes it.
func TestFoundN2GuardsAreListed(t *testing.T) {
	c := connect(t, database(t))
	rows, err := c.Query(t.Context(), guardsThere)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	have := strings.Join(all, "\n") + "\n"
	if *update {
		if err := os.WriteFile("guards.txt", []byte(have), 0o644); err != nil { //nolint:gosec // a source file
			t.Fatal(err)
		}
	} else if have != guards {
		t.Error("guards.txt is not what the migrations make: go test ./escrow/postgres -run TestFoundN2GuardsAreListed -update")
	}
}

// A dump of an older version of the schema is brought to this one, on a server that
// never saw Penname.
func TestFoundN2ADumpOfAnOlderSchemaIsBroughtUpToDate(t *testing.T) {
	admin := database(t)
	older := emptyDatabase(t)
	migrateTo(t, older, 8) // pen names have their names in it
	sql(t, older, `INSERT INTO pseudonyms VALUES ('pen1`+strings.Repeat("q", 38)+`', 'town-square', 'vault:v1:link', sha256('x'), '2026-01-01')`)
	dump := filepath.Join(t.TempDir(), "dump")
	must(t, "", "pg_dump", "--format=custom", "--schema=penname", "--dbname", older, "--file", dump)
	restored := on(t, newServer(t), "restored")
	must(t, "", "pg_restore", "--no-owner", "--no-acl", "--exit-on-error", "--single-transaction", "--dbname", restored, dump)
	migrated(t, restored)
	if have, want := value[int64](t, restored, `SELECT max(version_id) FROM goose_db_version`), value[int64](t, admin, `SELECT max(version_id) FROM goose_db_version`); have != want {
		t.Errorf("version %d, not %d", have, want)
	}
	issuing(t, restored, Options{}) // hides them
	if n := value[int](t, restored, `SELECT count(*) FROM pseudonyms`); n != 1 {
		t.Errorf("%d pen names", n)
	}
}

// N2, N08: a database from before the last rotations, with the key service of today. What
// is sealed in it stays shut, as it must. It used to stop every rotation from then on,
// and so every erasure: the key service refuses to move what it cannot open.
func TestFoundN2AnOlderDatabaseWithTheKeysOfToday(t *testing.T) {
	h := newHouse(t, 3)
	victim := h.enrol(t).Person.Label
	receipt := h.ask(t, victim)
	dump := filepath.Join(t.TempDir(), "dump")
	must(t, "", "pg_dump", "--format=custom", "--schema=penname", "--dbname", h.admin, "--file", dump)
	h.clear(t, victim)
	later := h.enrol(t)
	if _, err := h.keeper().Work(t.Context()); err != nil {
		t.Fatal(err, cause(err))
	}
	size, err := h.d.Log.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	published, err := h.d.Log.Leaves(t.Context(), 0, size)
	if err != nil {
		t.Fatal(err)
	}

	admin := emptyDatabase(t)
	must(t, "", "pg_restore", "--exit-on-error", "--single-transaction", "--dbname", admin, dump)
	migrated(t, admin)
	r := h.movedTo(t, admin)
	r.halfs = map[string][]byte{} // they do not open any more
	had, err := r.d.Log.Size(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.d.Restore(t.Context(), had, published[had:], func(string) ([]byte, []string) { return nil, nil }); err != nil {
		t.Fatal(err, cause(err))
	}
	consistent(t, r.d)
	for label, half := range r.rows(t) {
		if _, err := escrowtest.UnwrapHalf(t.Context(), h.open, label, half); !errors.Is(err, keep.ErrArchived) {
			t.Errorf("%s: %v", label, err)
		}
	}
	_, lost := keep.Openable(t.Context(), r.keys, r.k.Groups, r.k.Below, 0)
	if !errors.Is(lost, keep.ErrUnopenable) || cause(lost) != "4 records are below the oldest version of their key, or have none" {
		t.Errorf("%v: %s", lost, cause(lost))
	}
	fresh := r.enrol(t).Person.Label
	// Whoever enrolled after the dump is unknown: they enrol again, as somebody else.
	again := enrolmentLike(later)
	again.Record.FirstHalf, err = h.wrap.WrapHalf(t.Context(), again.Person.Label, random(32))
	if err != nil {
		t.Fatal(err)
	}
	if p, first, err := r.s.Enrol(t.Context(), again); err != nil || !first || p.ID == later.Person.ID {
		t.Errorf("first %v, %v", first, err)
	}
	if n, err := r.keeper().Erase(t.Context()); n != 1 || err != nil { // under the leaf that is public
		t.Errorf("%d, %v", n, err)
	}
	if _, err := r.keeper().Work(t.Context()); err != nil {
		t.Fatal(err, cause(err))
	}
	if waiting, err := r.k.Waiting(t.Context(), -1, 1); err != nil || len(waiting) > 0 {
		t.Errorf("an erasure waits for a rotation: %v", err)
	}
	r.whole(t)
	if rows := r.rows(t); rows[victim] != "" || rows[fresh] == "" {
		t.Errorf("erased %v, and lost %v", rows[victim] == "", rows[fresh] == "")
	}
	if now, err := r.d.Log.Size(t.Context()); err != nil || now != size {
		t.Errorf("%d leaves, not %d, %v: %x was erased twice", now, size, err, receipt.Salt)
	}
	consistent(t, r.d)
}

// A base backup and the archive of the write-ahead log lose nothing: what was
// acknowledged after the backup is there, erasures and rotations too.
func TestFoundN2ABaseBackupAndItsArchiveLoseNothing(t *testing.T) {
	ctx := t.Context()
	dir, err := os.MkdirTemp("", "penname-backup-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	archive := filepath.Join(dir, "archive")
	if err := errors.Join(os.Chmod(dir, 0o711), os.Mkdir(archive, 0o700), os.Mkdir(filepath.Join(dir, "second"), 0o711)); err != nil { //nolint:gosec // the server passes through
		t.Fatal(err)
	}
	pg, err := sandbox.StartPostgres(ctx, filepath.Join(dir, "first"), "archive_mode=on", "archive_command=cp %p "+archive+"/%f.new && mv "+archive+"/%f.new "+archive+"/%f")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pg.Stop() })
	info, err := os.Stat(filepath.Join(pg.Dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	give := func(dir string) {
		t.Helper()
		err := filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(name, int(owner.Uid), int(owner.Gid)))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	give(archive)
	give(filepath.Join(pg.Dir, "data")) // with the file that the sandbox keeps there
	migrated(t, pg.DSN)
	h := houseOn(t, pg.DSN)
	victim, kept := h.enrol(t).Person.Label, h.enrol(t).Person.Label
	second := filepath.Join(dir, "second", "data")
	must(t, "", "pg_basebackup", "--dbname", pg.DSN, "--pgdata", second, "--checkpoint=fast", "--wal-method=none")

	file(t, h.d, 1)
	h.ask(t, victim)
	h.clear(t, victim)
	if _, err := h.keeper().Work(ctx); err != nil {
		t.Fatal(err, cause(err))
	}
	want := contents(t, pg.DSN)
	last := value[string](t, pg.DSN, `SELECT pg_walfile_name(pg_switch_wal())`)
	for every, n := time.NewTicker(20*time.Millisecond), 0; ; <-every.C {
		if _, err := os.Stat(filepath.Join(archive, last)); err == nil {
			break
		} else if n++; n > 1500 {
			t.Fatal(err)
		}
	}
	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(filepath.Join(second, "recovery.signal"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	give(second)
	began := time.Now()
	restored, err := sandbox.StartPostgres(ctx, filepath.Dir(second), "restore_command=cp "+archive+"/%f %p")
	if err != nil {
		t.Fatal(err, cause(err))
	}
	t.Cleanup(func() { restored.Stop() })
	t.Logf("it takes writes %s after its start", time.Since(began).Round(time.Millisecond))
	for table, rows := range contents(t, restored.DSN) {
		if rows != want[table] {
			t.Errorf("%s: %q\nwant %q", table, rows, want[table])
		}
	}
	r := h.movedTo(t, restored.DSN)
	consistent(t, r.d)
	r.whole(t)
	if rows := r.rows(t); rows[victim] != "" || rows[kept] == "" {
		t.Error("an erasure was lost, or a record")
	}
}

// BenchmarkDump dumps a database of 100,000 people and restores it into an empty one,
// migration and check of the log included.
func BenchmarkDump(b *testing.B) {
	const people = 100_000
	admin := database(b)
	if err := postgrestest.Fill(b.Context(), admin, as(b, admin, "penname_issuing"), postgrestest.Options{People: people, Day: day}); err != nil {
		b.Fatal(err)
	}
	dump := filepath.Join(b.TempDir(), "dump")
	var dumped, restored time.Duration
	for b.Loop() {
		began := time.Now()
		must(b, "", "pg_dump", "--format=custom", "--schema=penname", "--dbname", admin, "--file", dump)
		dumped += time.Since(began)
		into := emptyDatabase(b)
		began = time.Now()
		must(b, "", "pg_restore", "--no-owner", "--no-acl", "--exit-on-error", "--single-transaction", "--dbname", into, dump)
		if err := Migrate(b.Context(), into); err != nil {
			b.Fatal(err, cause(err))
		}
		if err := disclosing(b, into, Options{}).Check(b.Context()); err != nil {
			b.Fatal(err, cause(err))
		}
		restored += time.Since(began)
	}
	b.ReportMetric(dumped.Seconds()/float64(b.N), "s/dump")
	b.ReportMetric(restored.Seconds()/float64(b.N), "s/restore")
}
