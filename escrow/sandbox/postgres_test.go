package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/sandbox"
)

func query(t *testing.T, dsn, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var s string
	if err := conn.QueryRow(t.Context(), sql).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPostgresStartsSafeAndLeavesNothing(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	pg, err := sandbox.StartPostgres(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for setting, want := range map[string]string{"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
		"listen_addresses": "127.0.0.1", "password_encryption": "scram-sha-256"} {
		if got := query(t, pg.DSN, "SELECT current_setting('"+setting+"')"); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	if err := pg.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(pg.Dir); !os.IsNotExist(err) {
		t.Errorf("the data directory is still there: %v", err)
	}
}

func TestPostgresKeepsItsDirectory(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	dir, err := os.MkdirTemp("", "penname-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o711)
	for _, want := range []string{"false", "true"} {
		pg, err := sandbox.StartPostgres(t.Context(), filepath.Join(dir, "pg"), "fsync=off")
		if err != nil {
			t.Fatal(err)
		}
		if got := query(t, pg.DSN, "SELECT (count(*) = 1)::text FROM pg_tables WHERE tablename = 'kept'"); got != want {
			t.Errorf("table kept from the last start: %s, want %s", got, want)
		}
		if got := query(t, pg.DSN, "SELECT current_setting('fsync')"); got != "off" {
			t.Errorf("setting not applied: fsync is %s", got)
		}
		query(t, pg.DSN, "WITH x AS (SELECT 1) SELECT 'ok' FROM x")
		conn, err := pgx.Connect(t.Context(), pg.DSN)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS kept ()"); err != nil {
			t.Fatal(err)
		}
		conn.Close(t.Context())
		if err := pg.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPostgresOfDATABASE_URLIsUsedAndLeftAlone(t *testing.T) {
	t.Setenv("DATABASE_URL", "postgres://admin@db.example/postgres")
	pg, err := sandbox.StartPostgres(t.Context(), "")
	if err != nil || pg.DSN != "postgres://admin@db.example/postgres" {
		t.Fatalf("got %v, %v", pg, err)
	}
	if err := pg.Stop(); err != nil {
		t.Fatal(err)
	}
}
