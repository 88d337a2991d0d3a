package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	escrowd "github.com/penname/penname/cmd/escrowd/command"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
)

// BenchmarkReshare moves the custodians' key to new shares, whole: cards, plan,
// the ceremony of three programs over HTTP and PostgreSQL, the bundle, its
// endorsement and its installation, beside a database with so many records. No
// recordWord is an input of it, and afterwards every row lies where it lay. What is
// left out is scrypt's second for each command of a custodian.
func BenchmarkReshare(b *testing.B) {
	var few float64
	for _, records := range []int{10, 1_000_000} {
		b.Run(fmt.Sprintf("%d-records", records), func(b *testing.B) {
			tb, err := world.Start(b.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: io.Discard, Progress: io.Discard})
			if err != nil {
				b.Fatal(err)
			}
			defer tb.Close()
			psql(b, tb, fmt.Sprintf(`INSERT INTO penname.records (label, first_half, second_half, sealed, day)
				SELECT lpad(translate(n::text, '0123456789', 'abcdefghij'), 26, 'z'), 'local:v1:x', decode(repeat('ab', 230), 'hex'), decode('046e616d655c' || repeat('cd', 92), 'hex'), '2026-01-01'
				FROM generate_series(1, %d) n`, records))
			const where = `SELECT count(*), min(xmin::text::bigint), max(xmin::text::bigint), sum(hashtext(ctid::text || label)::bigint) FROM penname.records`
			before := psql(b, tb, where)
			if !strings.HasPrefix(before, fmt.Sprint(records, "|")) {
				b.Fatal("the records are not there: ", before)
			}
			for b.Loop() {
				if err := reshare(b.Context(), tb); err != nil {
					b.Fatal(err)
				}
			}
			if after := psql(b, tb, where); after != before {
				b.Fatalf("a record was touched: %s, then %s", before, after)
			}
			each := b.Elapsed().Seconds() / float64(b.N)
			b.ReportMetric(each, "s")
			b.ReportMetric(0, "ns/op") // the same, in another unit
			if few == 0 {
				few = each
				return
			}
			b.ReportMetric(each/few, "ratio")
			b.ReportMetric(1.2, "aim-max")
			b.ReportMetric(few, "~s-for-10")
		})
	}
}

// TestReshareThreeTimes: the same custodians renew their shares three times in a row, and
// nobody does anything in between. What was filed before opens with the newest.
func TestReshareThreeTimes(t *testing.T) {
	t.Parallel()
	tb := startForTest(t)
	st := filedCase(t, tb)
	st.Author = sandbox.People()[1]
	for i := range 3 {
		if err := reshare(t.Context(), tb); err != nil {
			t.Fatalf("time %d: %v", i+1, err)
		}
	}
	for _, c := range []string{"alba", "chidi"} {
		if err := st.Approve(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		// The older shares are destroyed.
		if left, err := filepath.Glob(tb.Path("custodians", c, "share.key*")); err != nil || len(left) != 1 {
			t.Errorf("%s keeps %v: %v", c, left, err)
		}
	}
	if err := st.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func psql(b *testing.B, tb *world.World, sql string) string {
	b.Helper()
	out, err := exec.Command("psql", "-qAtX", "-v", "ON_ERROR_STOP=1", tb.Postgres.DSN, "-c", sql).CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// reshare moves the key from alba and bruno to all three, and ends when the public log shows
// the new rules.
func reshare(ctx context.Context, t *world.World) error {
	operator := func(args ...string) (string, error) {
		var out strings.Builder
		if escrowd.Run(ctx, args, &out, &out) != 0 {
			return "", errors.New(out.String())
		}
		return strings.TrimSpace(out.String()), nil
	}
	// The file that the service is started with is never one that is not in force.
	next, endorsed := t.Path("next.json"), t.Path("next.endorsed")
	inForce := func() error { return os.Rename(next, t.Path("bundle.json")) }
	// An earlier one that was interrupted is in force, or everybody first goes back to the rules
	// that are.
	if _, err := os.Stat(next); err == nil && shown(ctx, t, next) == nil {
		if err := inForce(); err != nil {
			return err
		}
	} else if err == nil {
		for _, c := range world.Custodians {
			if said, code := t.Escrow(ctx, t.AsCustodian(c.ID, "endorse", t.Path("bundle.json"), "--yes")...); code != 0 {
				return errors.New(said)
			}
		}
		if err := os.Remove(next); err != nil {
			return err
		}
	}
	plan := []string{"ceremony", "plan", "--threshold", "2", "--bundle", t.Path("bundle.json"), "--out", t.Path("plan.json"), "--force"}
	for i, c := range world.Custodians {
		card, code := t.Escrow(ctx, t.AsCustodian(c.ID, "card")...)
		if code != 0 {
			return errors.New(card)
		}
		name := t.Path(c.ID + ".card.json")
		if err := os.WriteFile(name, []byte(card), 0o600); err != nil {
			return err
		}
		plan = append(plan, "--seat", name)
		if i < world.Quorum {
			plan = append(plan, "--dealer", name)
		}
	}
	said, err := operator(plan...)
	if err != nil {
		return err
	}
	hash := strings.TrimPrefix(said, "plan ")
	if _, err := operator("ceremony", "open", t.Path("plan.json"), "--database-file", t.Path("disclosing.dsn")); err != nil {
		return err
	}
	for range 4 {
		for _, c := range []string{"chidi", "bruno", "alba"} {
			if said, code := t.Escrow(ctx, t.AsCustodian(c, "ceremony", t.Path("plan.json"), "--agree", hash, "--once")...); code != 0 {
				return errors.New(said)
			}
		}
	}
	if _, err := operator("ceremony", "publish", hash, "--database-file", t.Path("disclosing.dsn"), "--out", t.Path("transcript.json"), "--force"); err != nil {
		return err
	}
	if _, err := operator("ceremony", "bundle", t.Path("transcript.json"), "--from", t.Path("bundle.json"), "--out", next, "--force"); err != nil {
		return err
	}
	var endorsements []string
	for _, c := range world.Custodians {
		said, code := t.Escrow(ctx, t.AsCustodian(c.ID, "endorse", next, "--yes")...)
		if code != 0 {
			return errors.New(said)
		}
		endorsements = append(endorsements, said)
	}
	if err := os.WriteFile(endorsed, []byte(strings.Join(endorsements, "\n")), 0o600); err != nil {
		return err
	}
	for range 60 { // again, until it is known to be installed
		if _, err = operator("bundle", "install", next, endorsed, "--database-file", t.Path("disclosing.dsn")); err == nil {
			break
		}
		if !strings.Contains(err.Error(), "database.") {
			return err
		}
		time.Sleep(time.Second)
	}
	if err == nil && t.Service != nil {
		err = t.Service.Publish(ctx)
	}
	if err != nil {
		return err
	}
	for range 100 { // processes publish by themselves within a minute
		if err = shown(ctx, t, next); err == nil {
			return inForce()
		}
		time.Sleep(time.Second)
	}
	return err
}

// shown is nil if the public log shows a bundle.
func shown(ctx context.Context, t *world.World, bundle string) error {
	if said, code := t.Escrow(ctx, "log", "audit", "--bundle", bundle, "--server", t.Origin); code != 0 {
		return errors.New(said)
	}
	return nil
}
