package escrowtest_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/escrowtest"
)

func TestPostgresGivesEachTestItsOwnDatabaseAndDropsIt(t *testing.T) {
	connect := func(t *testing.T, dsn string) (*pgx.Conn, error) {
		conn, err := pgx.Connect(t.Context(), dsn)
		if err == nil {
			t.Cleanup(func() { conn.Close(context.Background()) })
		}
		return conn, err
	}
	var inner string
	t.Run("inner", func(t *testing.T) {
		a, b := escrowtest.Postgres(t), escrowtest.Postgres(t)
		inner = a
		conn, err := connect(t, a)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "CREATE TABLE only_in_a ()"); err != nil {
			t.Fatal(err)
		}
		conn, err = connect(t, b)
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE tablename = 'only_in_a'").Scan(&n); err != nil || n != 0 {
			t.Errorf("%d tables of another test, %v", n, err)
		}
	})
	if _, err := connect(t, inner); inner != "" && err == nil {
		t.Error("the database outlived its test")
	}
}
