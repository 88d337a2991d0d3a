package postgres

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

// reviewed is what migrations do that requests wait for, and why they wait for a moment
// only: the runner waits 50 ms for the lock, and what follows is short.
var reviewed = []review{
	{regexp.MustCompile(`^00028_key_groups.sql: (locks (rotations|snapshots|erasures) by |locks 3 relations |reads all of (rotations|snapshots) )`), "rotations and snapshots have one row for each of what they are named after; of erasures it is a column with a constant"},
	{regexp.MustCompile(`^00028_key_groups.sql: locks records by ShareRowExclusiveLock$`), "a trigger, in the catalogue alone"},
	{regexp.MustCompile(`^00028_key_groups.sql: locks records by AccessExclusiveLock$`), "a column with a constant, in the catalogue alone"},
	{regexp.MustCompile(`^00029_hour.sql: locks [a-z_]+ by AccessExclusiveLock$`), "a column that is NULL in every row, and settings of vacuum: each of one table, in the catalogue alone"},
	{regexp.MustCompile(`^00029_hour.sql: locks [a-z_]+ by ShareRowExclusiveLock$`), "triggers, each of one table: in the catalogue alone"},
}

type review struct {
	finding *regexp.Regexp // with the name of the file
	why     string
}

// TestMigrationsAreOnline looks at what each statement of the migrations after the last
// release locks, reads and rewrites.
func TestMigrationsAreOnline(t *testing.T) {
	const released = 27
	admin := emptyDatabase(t)
	migrateTo(t, admin, released)
	steps, err := own.steps(released)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		for _, finding := range lookAt(t, admin, s, own) {
			if !slices.ContainsFunc(reviewed, func(r review) bool { return r.why != "" && r.finding.MatchString(finding) }) {
				t.Error(finding)
			}
		}
	}
}

// Migrations that are not online are found, each for its own reason.
func TestMigrationsThatAreNotOnlineAreFound(t *testing.T) {
	admin := database(t)
	sql(t, admin, `INSERT INTO notes (place, hidden, day) SELECT substr(sha256(n::text::bytea), 1, 16), decode(repeat('00', 156), 'hex'), '2026-01-01' FROM generate_series(1, 9) n`)
	newest, err := own.version()
	if err != nil {
		t.Fatal(err)
	}
	const apart = "-- +goose NO TRANSACTION\n"
	for text, want := range map[string]string{
		`CREATE INDEX i ON notes (day);`:                                            "ShareLock",
		`ALTER TABLE notes ADD COLUMN x text DEFAULT gen_random_uuid()::text;`:      "rewrites notes",
		`ALTER TABLE notes ADD CHECK (day > '1999-01-01');`:                         "reads all of notes",
		`ALTER TABLE notes ADD COLUMN x int; ALTER TABLE records ADD COLUMN x int;`: "locks 2 relations",
		`ALTER TABLE notes ADD COLUMN x int;`:                                       "locks notes by AccessExclusiveLock",
		apart + `ALTER TABLE notes ADD COLUMN x int;`:                               "locks notes by AccessExclusiveLock",
		`CREATE TABLE x (leaf bigint REFERENCES log_leaves);`:                       "locks log_leaves by ShareRowExclusiveLock",
		`UPDATE notes SET day = '2026-01-02';`:                                      "writes rows of notes in one transaction",
		`DROP VIEW notices_now;`:                                                    "locks notices_now by AccessExclusiveLock",
		apart + `CREATE INDEX CONCURRENTLY i ON notes (day);`:                       "cannot be repeated",
		`ALTER TABLE notes ADD CONSTRAINT x CHECK (day > '1999-01-01') NOT VALID; ALTER TABLE notes VALIDATE CONSTRAINT x;`: "reads all of notes",

		`CREATE TABLE x (n int); CREATE INDEX y ON x (n); CREATE OR REPLACE FUNCTION z() RETURNS int LANGUAGE sql AS 'SELECT 1';`: "",
		apart + `CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON notes (day);`:                                                       "",
	} {
		lines := strings.ReplaceAll(text, "; ", ";\n")
		lines, is := strings.CutPrefix(lines, apart)
		name := fmt.Sprintf("%05d_x.sql", newest+1)
		file := "-- +goose Up\n" + lines
		if is {
			file = apart + file
		}
		b := buildOf(t, newest, map[string]string{name: file})
		steps, err := b.steps(newest)
		if err != nil {
			t.Fatal(err)
		}
		found := strings.Join(lookAt(t, admin, steps[0], b), "\n")
		if !strings.Contains(found, want) || (want == "") != (found == "") {
			t.Errorf("%s: found %q, want %q", text, found, want)
		}
		sql(t, admin, fmt.Sprintf(`DELETE FROM goose_db_version WHERE version_id = %d; DROP TABLE IF EXISTS x; DROP INDEX IF EXISTS i; DROP FUNCTION IF EXISTS z;
			ALTER TABLE notes DROP COLUMN IF EXISTS x, DROP CONSTRAINT IF EXISTS x, DROP CONSTRAINT IF EXISTS notes_day_check1; ALTER TABLE records DROP COLUMN IF EXISTS x`, newest+1))
	}
}

// A spy looks after each statement of a migration at what its session holds.
type spy struct {
	step     Step
	apart    bool             // NO TRANSACTION: each statement is one
	before   map[uint32]there // by oid
	began    bool             // a transaction of the spy's own
	locked   map[string]bool
	seen     map[uint32]there
	findings []string
}

type there struct {
	name           string
	file           uint32
	scans, written int64
}

// lookAt applies a migration and says what of it is not online.
func lookAt(t *testing.T, admin string, step Step, b *build) []string {
	t.Helper()
	cfg, err := pgx.ParseConfig(admin)
	if err != nil {
		t.Fatal(err)
	}
	s := &spy{step: step, apart: strings.Contains(step.text, "+goose NO TRANSACTION"), locked: map[string]bool{}}
	cfg.RuntimeParams["role"], cfg.RuntimeParams["search_path"] = "penname_owner", schema
	if s.before, err = relations(t.Context(), connect(t, admin)); err != nil {
		t.Fatal(err)
	}
	cfg.Tracer = s
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	db.SetMaxOpenConns(1)
	p, err := goose.NewProvider(goose.DialectPostgres, db, b.migrations)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), step.Version); err != nil {
		t.Fatalf("%s: %v", step.Name, err)
	}
	s.ended()
	slices.Sort(s.findings)
	return slices.Compact(s.findings)
}

// ended is at the end of a transaction: who waits for the second lock holds the first.
func (s *spy) ended() {
	if len(s.locked) > 1 {
		s.find("locks %d relations in one transaction: %q", len(s.locked), slices.Sorted(maps.Keys(s.locked)))
	}
	clear(s.locked)
}

func relations(ctx context.Context, c *pgx.Conn) (map[uint32]there, error) {
	rows, err := c.Query(ctx, `SELECT c.oid, relname, relfilenode, pg_stat_get_xact_numscans(c.oid),
		pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid)
		FROM pg_class c WHERE relnamespace = 'penname'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')`)
	if err != nil {
		return nil, err
	}
	all := map[uint32]there{}
	var oid uint32
	var r there
	_, err = pgx.ForEachRow(rows, []any{&oid, &r.name, &r.file, &r.scans, &r.written}, func() error { all[oid] = r; return nil })
	return all, err
}

func (s *spy) find(format string, args ...any) {
	s.findings = append(s.findings, s.step.Name+": "+fmt.Sprintf(format, args...))
}

type asideKey struct{} // of the spy's own statements

func (s *spy) of(ctx context.Context, statement string) bool {
	first, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(statement)), " ")
	return ctx.Value(asideKey{}) == nil && !strings.Contains(statement, "goose_db_version") && !slices.Contains([]string{"begin", "commit", "rollback", "set", "reset", "select"}, first)
}

// TraceQueryStart implements pgx.QueryTracer.
func (s *spy) TraceQueryStart(ctx context.Context, c *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if !s.of(ctx, data.SQL) {
		return ctx
	}
	own := context.WithValue(ctx, asideKey{}, true)
	if aside.MatchString(data.SQL) {
		_, name, _ := strings.Cut(data.SQL, " CONCURRENTLY ")
		index, _, _ := strings.Cut(name, " ")
		if index != "IF" && !strings.Contains(s.step.text, "DROP INDEX CONCURRENTLY IF EXISTS "+index+";") {
			s.find("%s: cannot be repeated", data.SQL)
		}
		return own
	}
	if s.apart && strings.HasPrefix(strings.TrimSpace(data.SQL), "DO ") { // which commits
		return own
	}
	var err error
	if s.began = c.PgConn().TxStatus() == 'I'; s.began {
		_, err = c.Exec(own, `BEGIN`)
	}
	if err == nil {
		s.seen, err = relations(own, c)
	}
	if err != nil {
		s.find("%v", err)
	}
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (s *spy) TraceQueryEnd(ctx context.Context, c *pgx.Conn, data pgx.TraceQueryEndData) {
	if ctx.Value(asideKey{}) != nil || s.seen == nil || data.Err != nil {
		return
	}
	before := s.seen
	s.seen = nil
	ctx = context.WithValue(ctx, asideKey{}, true)
	if err := s.look(ctx, c, before); err != nil {
		s.find("%v", err)
	}
	if s.began {
		if _, err := c.Exec(ctx, `COMMIT`); err != nil {
			s.find("%v", err)
		}
		s.ended()
	}
}

// look compares with what there was before the statement.
func (s *spy) look(ctx context.Context, c *pgx.Conn, before map[uint32]there) error {
	rows, err := c.Query(ctx, `SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted
		AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') ORDER BY 1, 2`)
	if err != nil {
		return err
	}
	var oid uint32
	var mode string
	blocks := false
	_, err = pgx.ForEachRow(rows, []any{&oid, &mode}, func() error {
		if old, is := s.before[oid]; is {
			blocks, s.locked[old.name] = true, true
			s.find("locks %s by %s", old.name, mode)
		}
		return nil
	})
	if err != nil {
		return err
	}
	now, err := relations(ctx, c)
	for oid, old := range s.before {
		r, is := now[oid]
		switch was := before[oid]; {
		case !is:
		case r.file != old.file:
			s.find("rewrites %s", old.name)
		case r.written > was.written:
			s.find("writes rows of %s in one transaction", old.name)
		case r.scans > was.scans && blocks:
			s.find("reads all of %s while requests wait", old.name)
		}
	}
	return err
}
