package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
)

// buildOf is a program of this source with other migrations: of those files, and those
// of this program up to a version.
func buildOf(t testing.TB, upTo int64, more map[string]string) *build {
	t.Helper()
	b := &build{migrations: fstest.MapFS{}, guards: guards, grants: grants}
	steps, err := own.steps(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if s.Version <= upTo {
			b.migrations.(fstest.MapFS)[s.Name] = &fstest.MapFile{Data: []byte(s.text)}
		}
	}
	for name, text := range more {
		b.migrations.(fstest.MapFS)[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return b
}

// migrateTo brings a database to a version, without grants.
func migrateTo(t testing.TB, admin string, version int64) {
	t.Helper()
	b := buildOf(t, version, nil)
	b.grants = ""
	if err := (&Migration{build: b}).Run(t.Context(), admin); err != nil {
		t.Fatal(err, cause(err))
	}
}

// A newer schema is worked with if each migration after this program's says that it may be,
// and only with the guards and grants that those say.
func TestNewerSchemaSaysWhoMayRunOnIt(t *testing.T) {
	admin := database(t)
	mine, err := own.version()
	if err != nil {
		t.Fatal(err)
	}
	s := issuing(t, admin, Options{})
	const role = "penname_issuing"
	start := func() error {
		s, err := OpenIssuing(t.Context(), as(t, admin, role), Options{RowKey: rowKeyOfTests})
		if err == nil {
			s.Close()
		}
		return err
	}
	serving := func() error {
		s.looked.Store(new(time.Time)) // long ago
		return s.Ready(t.Context())
	}
	says := func(version, since int64, changes string) {
		t.Helper()
		sql(t, admin, fmt.Sprintf(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, true)`, version))
		if since > 0 {
			sql(t, admin, fmt.Sprintf(`INSERT INTO side_by_side VALUES (%d, %d, '{%s}')`, version, since, changes))
		}
	}
	refused := func(what string, want error, why string) {
		t.Helper()
		for when, err := range map[string]error{"at the start": start(), "while serving": serving()} {
			if want == ErrSchemaNewer || when == "at the start" {
				wantErr(t, what+" "+when, err, want)
				if !strings.Contains(cause(err), why) {
					t.Errorf("%s %s: the cause is %q, not %q", what, when, cause(err), why)
				}
			} else if err != nil {
				t.Errorf("%s %s: %v", what, when, err)
			}
		}
	}
	goesOn := func(what string) {
		t.Helper()
		if err := errors.Join(start(), serving()); err != nil {
			t.Errorf("%s: %v: %s", what, err, cause(err))
		}
	}
	mayRun := func(schema int64) error { return MayRun(t.Context(), as(t, admin, role), schema) }
	goesOn("its own schema")
	wantErr(t, "a later program is about to come", mayRun(mine+1), ErrSchemaOlder)

	says(mine+1, mine, "")
	goesOn("a schema that says so")
	if err := errors.Join(mayRun(mine), mayRun(mine+1)); err != nil {
		t.Errorf("programs of before, and of that schema: %v", err)
	}
	wantErr(t, "a program of long before is about to come", mayRun(mine-1), ErrSchemaNewer)
	says(mine+2, 0, "")
	refused("one after it that says nothing", ErrSchemaNewer, fmt.Sprintf("schema %d does not say", mine+2))
	wantErr(t, "the same of a program that is about to come", mayRun(mine), ErrSchemaNewer)
	sql(t, admin, fmt.Sprintf(`INSERT INTO side_by_side VALUES (%d, %d)`, mine+2, mine+1))
	refused("one for later programs", ErrSchemaNewer, fmt.Sprintf("is for programs of schema %d and later", mine+1))
	sql(t, admin, fmt.Sprintf(`UPDATE side_by_side SET since = %d, changes = '{~ index x}' WHERE version = %d`, mine, mine+2))
	refused("one that says it in other words", ErrSchemaNewer, "do not understand")
	sql(t, admin, fmt.Sprintf(`UPDATE side_by_side SET changes = '{+ index addresses_by_day}' WHERE version = %d`, mine+2))
	refused("a guard of the newer schema is missing", ErrSchemaIncomplete, "index addresses_by_day")
	sql(t, admin, fmt.Sprintf(`CREATE INDEX addresses_by_day ON addresses (day); DROP INDEX cases_of_authority; UPDATE side_by_side SET changes = '{}' WHERE version = %d`, mine+2))
	refused("a guard of this program is missing", ErrSchemaIncomplete, "index cases_of_authority")
	sql(t, admin, fmt.Sprintf(`UPDATE side_by_side SET changes = '{- index cases_of_authority}' WHERE version = %d`, mine+2))
	goesOn("a guard is taken away, and the migration says so")

	sql(t, admin, `GRANT UPDATE (day) ON pseudonyms TO penname_issuing`)
	refused("a grant that no migration says", ErrRole, "too much: pseudonyms.day UPDATE")
	says(mine+3, mine, "+ penname_disclosing pseudonyms.day UPDATE")
	refused("a grant that is another role's", ErrRole, "too much: pseudonyms.day UPDATE")
	sql(t, admin, fmt.Sprintf(`UPDATE side_by_side SET changes = '{+ penname_issuing pseudonyms.day UPDATE}' WHERE version = %d`, mine+3))
	goesOn("a grant that a migration gives")
	sql(t, admin, `REVOKE DELETE ON sessions FROM penname_issuing`)
	refused("a grant that is gone", ErrRole, "missing: sessions DELETE")
	says(mine+4, mine, "- penname_issuing sessions DELETE")
	goesOn("a grant that a migration takes away")
	says(mine+5, mine, "- penname_issuing pseudonyms.day UPDATE")
	refused("one that a later migration takes away again", ErrRole, "too much: pseudonyms.day UPDATE")

	// To migrate says the same of a schema as to run: nothing is to do where it may.
	var m Migration
	if err := m.Run(t.Context(), admin); err != nil || m.From != mine+5 || m.To != mine+5 {
		t.Errorf("an older program, which may run, migrates: %v, %+v", err, m)
	}
	refused("a grant that is as it was, so nothing was changed", ErrRole, "too much: pseudonyms.day UPDATE")
	if p, err := m.Plan(t.Context(), admin); err != nil || p.From != mine+5 || p.To != mine+5 || len(p.Steps) != 0 {
		t.Errorf("it plans: %v, %+v", err, p)
	}
	says(mine+6, 0, "")
	wantErr(t, "an older program, which may not, migrates", m.Run(t.Context(), admin), ErrSchemaNewer)
	if _, err := m.Plan(t.Context(), admin); !errors.Is(err, ErrSchemaNewer) {
		t.Errorf("it plans: %v", err)
	}
}

// A COMMIT whose answer was lost is an unknown, also if the schema changed since: it was
// perhaps stored.
func TestUnknownSchemaAfterALostCommit(t *testing.T) {
	s := issuing(t, database(t), Options{})
	n := 0
	err := s.settle(t.Context(), func(context.Context, bool) error {
		if n++; n == 1 {
			return ErrUnavailable.Because(&serverError{unknown: true})
		}
		return notMine(ErrSchemaNewer, "it is newer")
	})
	wantErr(t, "after a lost COMMIT", err, ErrUnknown)
	if n != 2 {
		t.Errorf("%d attempts", n)
	}
	err = s.settle(t.Context(), func(context.Context, bool) error { return notMine(ErrSchemaNewer, "it is newer") })
	wantErr(t, "at once", err, ErrSchemaNewer)
}

// TestMigrationsDeclareWhatTheyChange holds what side_by_side says against what is there: a
// program of the schema that side_by_side began with knows today's guards and grants by it.
// With -update it writes that beginning, until another schema follows.
func TestMigrationsDeclareWhatTheyChange(t *testing.T) {
	const began, file = 31, "testdata/schema-31.txt"
	lines := func(b *build, changes []string) string {
		all := b.guarded(changes)
		for _, role := range []string{"penname_issuing", "penname_disclosing", "penname_keeping"} {
			may, err := b.granted(role, changes)
			if err != nil {
				t.Fatal(err)
			}
			for grant := range may {
				all[role+" "+grant] = true
			}
		}
		return strings.Join(slices.Sorted(maps.Keys(all)), "\n") + "\n"
	}
	today, err := own.version()
	if err != nil {
		t.Fatal(err)
	}
	if *update && today == began {
		if err := os.WriteFile(file, []byte(lines(own, nil)), 0o644); err != nil { //nolint:gosec // a source file
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, database(t))
	rows, err := c.Query(t.Context(), `SELECT coalesce(changes, '{"- says nothing"}') FROM penname.goose_db_version LEFT JOIN penname.side_by_side ON version = version_id WHERE version_id > $1 ORDER BY version_id`, began)
	if err != nil {
		t.Fatal(err)
	}
	declared, err := pgx.CollectRows(rows, pgx.RowTo[[]string])
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	for line := range strings.Lines(string(raw)) {
		known[strings.TrimSpace(line)] = true
	}
	for _, changes := range declared {
		for _, c := range changes {
			if line, is := strings.CutPrefix(c, "+ "); is {
				known[line] = true
			} else if line := strings.TrimPrefix(c, "- "); known[line] {
				delete(known, line)
			} else {
				t.Errorf("%s: it was not there", c)
			}
		}
	}
	if want := strings.Join(slices.Sorted(maps.Keys(known)), "\n") + "\n"; want != lines(own, nil) {
		t.Errorf("%s and the changes that migrations declare are not guards.txt and grants.sql: declare them, or at schema %d: go test ./escrow/postgres -run TestMigrationsDeclareWhatTheyChange -update", file, began)
	}
}
