package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
)

// TestMigratePlan: what `escrowd migrate --plan` says before the schema is made, when nothing
// is to do and when something is, to people and to programs; and that it does nothing.
func TestMigratePlan(t *testing.T) {
	pg, err := sandbox.StartPostgres(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	dsn := filepath.Join(t.TempDir(), "owner.dsn")
	if err := os.WriteFile(dsn, []byte(pg.DSN), 0o600); err != nil {
		t.Fatal(err)
	}
	migrate := func(flags ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := Run(t.Context(), append([]string{"migrate", "--database-file", dsn}, flags...), &out, &errs); code != 0 {
			t.Fatalf("%v: %d, %s", flags, code, errs.String())
		}
		return strings.TrimSpace(out.String())
	}
	plan := func(text string) (p postgres.Plan) {
		t.Helper()
		if said := migrate("--plan"); !strings.Contains(said, text) {
			t.Errorf("it says %q, not %q", said, text)
		}
		if said := migrate("--plan", "--json"); json.Unmarshal([]byte(said), &p) != nil {
			t.Errorf("no JSON: %s", said)
		}
		return p
	}
	conn, err := pgx.Connect(t.Context(), pg.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // it said what it had to
	tables := func() (n int) {
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}

	first := plan("the schema is made, and nobody uses it")
	if first.From != 0 || first.To == 0 || len(first.Steps) == 0 || tables() != 0 {
		t.Errorf("%+v, and %d tables", first, tables())
	}
	if said := migrate("--wait", "1m"); !strings.Contains(said, fmt.Sprintf("made, version %d", first.To)) {
		t.Error(said)
	}
	if p := plan(fmt.Sprintf("nothing to do: the schema is version %d", first.To)); p.From != first.To || len(p.Steps) != 0 {
		t.Errorf("%+v", p)
	}
	// Later programs migrated it, and this one may go on or not.
	for since, says := range map[string]string{fmt.Sprint(first.To): fmt.Sprintf("nothing to do: the schema is version %d, of a later program; this one, of schema %d, may run on it", first.To+1, first.To), fmt.Sprint(first.To + 1): ""} {
		if _, err := conn.Exec(t.Context(), fmt.Sprintf(`INSERT INTO penname.goose_db_version (version_id, is_applied) VALUES (%d, true);
			INSERT INTO penname.side_by_side (version, since) VALUES (%[1]d, %s)`, first.To+1, since)); err != nil {
			t.Fatal(err)
		}
		if says != "" {
			plan(says)
		} else {
			var out, errs bytes.Buffer
			if code := Run(t.Context(), []string{"migrate", "--database-file", dsn, "--plan"}, &out, &errs); code == 0 || !strings.Contains(errs.String(), "database.schema_newer") {
				t.Error(code, out.String(), errs.String())
			}
		}
		if _, err := conn.Exec(t.Context(), fmt.Sprintf(`DELETE FROM penname.side_by_side WHERE version = %d; DELETE FROM penname.goose_db_version WHERE version_id = %[1]d`, first.To+1)); err != nil {
			t.Fatal(err)
		}
	}
	// The last step counts as not done.
	if _, err := conn.Exec(t.Context(), `DELETE FROM penname.goose_db_version WHERE version_id = $1`, first.To); err != nil {
		t.Fatal(err)
	}
	last, says := first.Steps[len(first.Steps)-1], "may go on: migrate, then restart one process after the other"
	if last.Since == first.To {
		says = fmt.Sprintf("stop programs of a schema before %d first", first.To)
	}
	if p := plan(last.Name + ": waits for a lock for " + last.Lock + " at most, again and again\n"); p.Since != last.Since {
		t.Errorf("%+v, not %+v", p, last)
	}
	if p := plan(says); p.From >= p.To || p.To != first.To || len(p.Steps) != 1 || p.Steps[0] != last {
		t.Errorf("%+v, not %+v", p, last)
	}
}
