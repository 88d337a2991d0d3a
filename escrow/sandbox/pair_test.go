package sandbox_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/sandbox"
)

// A COMMIT waits for the standby; one that is given up while it waits is visible
// on the primary and is not on the standby, which is what the kit is for.
func TestPairLosesWhatNoStandbyHolds(t *testing.T) {
	p, err := sandbox.StartPair(t.Context())
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	defer p.Stop() //nolint:errcheck // the test is over
	write := func(ctx context.Context, dsn, sql string) error {
		c, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return err
		}
		defer c.Close(context.WithoutCancel(ctx))
		_, err = c.Exec(ctx, sql)
		return err
	}
	if err := write(t.Context(), p.Primary.DSN, `CREATE TABLE held AS SELECT 1 AS n`); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	giveUp, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := write(giveUp, p.Primary.DSN, `INSERT INTO held VALUES (2)`); err == nil {
		t.Fatal("a COMMIT did not wait for the standby")
	}
	// Whoever gets the lock comes after the end of what was given up.
	if err := write(t.Context(), p.Primary.DSN, `BEGIN; LOCK TABLE held; ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	const count = `SELECT count(*)::text FROM held`
	if n := query(t, p.Primary.DSN, count); n != "2" {
		t.Errorf("the primary shows %s rows, want 2", n)
	}
	p.Mend()
	if err := write(t.Context(), p.Primary.DSN, `INSERT INTO held VALUES (3)`); err != nil {
		t.Fatal(err)
	}
	p.Cut()
	if n := query(t, p.Standby.DSN, count); n != "3" {
		t.Errorf("the standby that came back shows %s rows, want 3", n)
	}
	if err := p.Promote(t.Context()); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	if err := write(t.Context(), p.Standby.DSN, `INSERT INTO held VALUES (4)`); err != nil {
		t.Errorf("the promoted standby takes no writes: %v", err)
	}
}
