package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// next is a migration of a build after this one, and that build.
func next(t *testing.T, text string) *build {
	t.Helper()
	mine, err := own.version()
	if err != nil {
		t.Fatal(err)
	}
	return buildOf(t, mine, map[string]string{fmt.Sprintf("%05d_next.sql", mine+1): text})
}

const inOneTransaction = "-- +goose Up\nALTER TABLE notes ADD COLUMN x int;\n"

// A migration that does not get its lock leaves the queue for it again and again, so that
// whoever comes behind it goes on; it says for whom it waits, and gives up in the end.
func TestMigrationInsistsOnAShortLock(t *testing.T) {
	for name, text := range map[string]string{"one transaction": inOneTransaction, "statements alone": "-- +goose NO TRANSACTION\n" + inOneTransaction} {
		t.Run(name, func(t *testing.T) {
			admin := database(t)
			reader := connect(t, admin)
			if _, err := reader.Exec(t.Context(), `SET application_name = 'a backup'; BEGIN; LOCK TABLE penname.notes IN ACCESS SHARE MODE`); err != nil {
				t.Fatal(err)
			}
			var said []string
			m := Migration{build: next(t, text), Wait: time.Second, Say: func(line string) { said = append(said, line) }}
			stop := useAll(t, admin)
			err := m.Run(t.Context(), admin)
			stop()
			wantErr(t, "a lock that is not given back", err, ErrMigrateWaited)
			for _, want := range []string{"_next.sql", " attempts; the oldest transactions of others: process ", "(idle in transaction)"} {
				if !strings.Contains(cause(err), want) {
					t.Errorf("the cause is %q, without %q", cause(err), want)
				}
			}
			if !slices.ContainsFunc(said, func(line string) bool { return strings.Contains(line, "waits for a lock; the oldest") }) {
				t.Errorf("said %q", said)
			}
			// A connection that was closed ends a moment later.
			for tries, held := 0, 1; held > 0; tries++ {
				if held = value[int](t, admin, `SELECT count(*) FROM pg_locks WHERE pid IN (SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database())`, migrating); held > 0 && tries == 500 {
					t.Fatalf("it holds %d locks", held)
				}
			}
			issuing(t, admin, Options{}) // the schema is as before
			m.Wait, m.Say = 0, func(line string) {
				if strings.Contains(line, "waits for a lock") {
					go reader.Exec(context.Background(), `COMMIT`) //nolint:errcheck // the migration ends, or not
				}
			}
			if err := m.Run(t.Context(), admin); err != nil || m.From+1 != m.To {
				t.Error(m.From, m.To, err, cause(err))
			}
		})
	}
}

// An index that was half made when the migration was killed is made anew, and rows that
// were half moved are moved on; what it says on the way is told.
func TestMigrationGoesOnAfterAKill(t *testing.T) {
	const text = `-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE handles ADD COLUMN IF NOT EXISTS x int;
-- +goose StatementBegin
DO $$
DECLARE n bigint; done bigint := 0;
BEGIN
  LOOP
    UPDATE notes SET day = '2026-01-02' WHERE place IN (SELECT place FROM notes WHERE day = '2026-01-01' LIMIT 100);
    GET DIAGNOSTICS n = ROW_COUNT;
    EXIT WHEN n = 0;
    COMMIT;
    done := done + n;
    RAISE NOTICE 'moved % notes', done;
  END LOOP;
END $$;
-- +goose StatementEnd
CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON notes (day);
`
	admin := database(t)
	sql(t, admin, `INSERT INTO notes (place, hidden, day) SELECT substr(sha256(n::text::bytea), 1, 16), decode(repeat('00', 156), 'hex'), '2026-01-01' FROM generate_series(1, 1000) n`)
	kill := func(while string) error {
		return try(t, admin, `DO $$ BEGIN
			FOR n IN 1..1000 LOOP
				PERFORM pg_stat_clear_snapshot();
				IF (SELECT bool_or(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '`+migrating+`' AND datname = current_database() AND `+while+`) THEN RETURN; END IF;
				PERFORM pg_sleep(0.01);
			END LOOP;
			RAISE 'it does not run';
		END $$`)
	}
	var mu sync.Mutex
	var said []string
	m := Migration{build: next(t, text), Say: func(line string) {
		mu.Lock()
		defer mu.Unlock()
		if said = append(said, line); line == "moved 300 notes" {
			if err := kill("query LIKE 'DO %'"); err != nil {
				t.Error(err)
			}
		}
	}}
	last := connect(t, admin) // whose row it cannot move
	if _, err := last.Exec(t.Context(), `BEGIN; SELECT FROM penname.notes WHERE place = substr(sha256('1000'::bytea), 1, 16) FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "killed while it moves rows", m.Run(t.Context(), admin), ErrMigrate)
	if n := value[int](t, admin, `SELECT count(*) FROM notes WHERE day = '2026-01-02'`); n < 300 || n == 1000 {
		t.Errorf("%d rows were moved", n)
	}
	if _, err := last.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}

	reader := connect(t, admin) // for whose snapshot the index waits
	if _, err := reader.Exec(t.Context(), `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM penname.sessions`); err != nil {
		t.Fatal(err)
	}
	killed := make(chan error, 1)
	go func() { killed <- kill("query LIKE 'CREATE INDEX %' AND wait_event = 'virtualxid'") }()
	m.Say = nil
	wantErr(t, "killed while it makes an index", m.Run(t.Context(), admin), ErrMigrate)
	if err := <-killed; err != nil {
		t.Error(err)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('penname.i') AND NOT indisvalid`); n != 1 {
		t.Fatalf("%d indexes are half made", n)
	}
	issuing(t, admin, Options{}) // goes on
	if _, err := reader.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context(), admin); err != nil {
		t.Fatal(err, cause(err))
	}
	if n := value[int](t, admin, `SELECT count(*) FROM notes WHERE day = '2026-01-02'`); n != 1000 {
		t.Errorf("%d rows were moved", n)
	}
	if !value[bool](t, admin, `SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('penname.i')`) {
		t.Error("the index is not valid")
	}
	if !slices.Contains(said, "moved 100 notes") || !slices.Contains(said, "moved 300 notes") {
		t.Errorf("said %q", said)
	}
}

// From the last release's schema, killed at its first, its last and other commands and run
// again, two at once: it ends as if it had run once. Meanwhile every table is written to as services do.
func TestMigrationFromTheLastRelease(t *testing.T) {
	const released = 27
	template := emptyDatabase(t)
	migrateTo(t, template, released)
	copied := func() string { return emptyDatabase(t, "TEMPLATE", strings.TrimPrefix(pathOf(template), "/")) }

	// killedAt is a database in which the migration's nth command kills it; 0: none does.
	killedAt := func(n int64) string {
		admin := copied()
		sql(t, admin, fmt.Sprintf(`CREATE SEQUENCE public.commands; GRANT ALL ON public.commands TO PUBLIC; GRANT ALL ON SCHEMA public TO PUBLIC;
			CREATE FUNCTION public.kill() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
				IF tg_tag NOT IN ('GRANT', 'REVOKE') AND nextval('public.commands') = %d THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
			END $$;
			CREATE EVENT TRIGGER kill ON ddl_command_end EXECUTE FUNCTION public.kill()`, n))
		return admin
	}
	once := killedAt(0)
	stop := useAll(t, once)
	if err := Migrate(t.Context(), once); err != nil {
		t.Fatal(err, cause(err))
	}
	stop()
	issuing(t, once, Options{})
	want, commands := schemaOf(t, once), value[int64](t, once, `SELECT last_value FROM public.commands`)
	const kills = 4
	for i := range int64(kills) {
		n := 1 + i*(commands-1)/(kills-1)
		admin := killedAt(n)
		wantErr(t, fmt.Sprintf("killed at command %d", n), Migrate(t.Context(), admin), ErrMigrate)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if err := Migrate(t.Context(), admin); err != nil {
					t.Error(err, cause(err))
				}
			})
		}
		wg.Wait()
		if have := schemaOf(t, admin); have != want {
			t.Errorf("killed at command %d of %d, it made another schema:\n%s", n, commands, have)
		}
	}
}

// schemaOf is what a schema is made of, and what was applied.
func schemaOf(t *testing.T, admin string) string {
	t.Helper()
	return value[string](t, admin, `SELECT string_agg(l, E'\n' ORDER BY l) FROM (
		SELECT 'version ' || version_id l FROM goose_db_version
		UNION ALL SELECT 'beside ' || s::text FROM side_by_side s
		UNION ALL SELECT format('%s.%s %s %s %s %s', relname, attname, atttypid::regtype, attnotnull, atthasdef, attacl) FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
		  WHERE relnamespace = 'penname'::regnamespace AND attnum > 0
		UNION ALL SELECT format('%s %s %s', relname, relacl, reloptions) FROM pg_class WHERE relnamespace = 'penname'::regnamespace
		UNION ALL SELECT pg_get_indexdef(indexrelid) || indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace = 'penname'::regnamespace
		UNION ALL SELECT conrelid::regclass || pg_get_constraintdef(oid) || convalidated FROM pg_constraint WHERE connamespace = 'penname'::regnamespace
		UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
		UNION ALL SELECT pg_get_functiondef(oid) || proacl::text FROM pg_proc WHERE pronamespace = 'penname'::regnamespace) a`)
}

// useAll takes the locks of who reads and writes on every table, until the function that it
// returns is called. None of them may wait as long as services do.
func useAll(t *testing.T, admin string) (stop func()) {
	t.Helper()
	tables := names(t, connect(t, admin))
	end := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		c, err := pgx.Connect(t.Context(), admin)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer c.Close(context.Background())
			_, err := c.Exec(context.Background(), `SET lock_timeout = '`+lockTimeout+`'`)
			for n := 0; err == nil; n++ {
				_, err = c.Exec(context.Background(), `BEGIN; LOCK TABLE penname.`+tables[n%len(tables)]+` IN ROW EXCLUSIVE MODE; COMMIT`)
				select {
				case <-end:
					return
				default:
				}
			}
			t.Error(err)
		})
	}
	return func() { close(end); wg.Wait() }
}
