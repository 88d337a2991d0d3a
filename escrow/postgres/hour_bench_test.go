package postgres

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/openid/openidtest"
)

var hourRows = flag.Int("hour-rows", 2_000, "new rows in each table of the benchmarks of the hour")

// BenchmarkHour is what a sign-in writes (a grant, two entries of a status list, a used key),
// by four callers, alone and beside a pass over new rows in each of the tables, and what that
// pass costs. The ratio is of the p99. The longest wait for a table is what is seen of it every
// two milliseconds.
func BenchmarkHour(b *testing.B) {
	admin := database(b)
	s := issuing(b, admin, Options{})
	fillHour(b, admin, *hourRows)
	for b.Loop() { // one pass is one measurement
	}
	p99 := map[bool]time.Duration{}
	for _, beside := range []bool{false, true} {
		ctx, cancel := context.WithCancel(b.Context())
		var wg sync.WaitGroup
		var mu sync.Mutex
		var took []time.Duration
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					began := time.Now()
					signIn(b, s)
					mu.Lock()
					took = append(took, time.Since(began))
					mu.Unlock()
				}
			})
		}
		began := time.Now()
		name := "alone"
		if beside {
			name = "beside"
			wal := value[int](b, admin, `SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint`)
			longest := watchLocks(b, admin)
			if err := s.Shuffle(b.Context()); err != nil {
				b.Fatal(err, cause(err))
			}
			b.ReportMetric(longest(), "longest-lock-wait-ms")
			b.ReportMetric(float64(time.Since(began).Seconds()), "s/pass")
			b.ReportMetric(float64(value[int](b, admin, `SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint`)-wal)/1e6, "WAL-MB")
		} else {
			time.Sleep(20 * time.Second)
		}
		each := time.Since(began)
		cancel()
		wg.Wait()
		slices.Sort(took)
		ms := func(part float64) float64 {
			return float64(took[min(len(took)-1, int(part*float64(len(took))))].Microseconds()) / 1000
		}
		p99[beside] = took[len(took)*99/100]
		for at, part := range map[string]float64{"p50": 0.5, "p99": 0.99, "max": 1} {
			b.ReportMetric(ms(part), name+"-"+at+"-ms")
		}
		b.ReportMetric(float64(len(took))/each.Seconds(), name+"-sign-ins/s")
	}
	b.ReportMetric(float64(p99[true])/float64(p99[false]), "ratio")
}

// watchLocks looks at who waits for a table, until longest is called, which returns the longest
// wait that was seen but for those of the pass itself, in ms.
func watchLocks(b *testing.B, admin string) (longest func() float64) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), admin)
	if err != nil {
		b.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan float64)
	go func() {
		most := 0.0
		for every := time.NewTicker(2 * time.Millisecond); ; <-every.C {
			var now float64
			if err := conn.QueryRow(context.WithoutCancel(b.Context()), `SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0) * 1000
				FROM pg_locks WHERE NOT granted AND locktype = 'relation' AND mode <> 'ExclusiveLock'`).Scan(&now); err != nil {
				b.Error(err)
			}
			most = max(most, now)
			select {
			case <-stop:
				done <- most
				return
			default:
			}
		}
	}()
	return func() float64 {
		close(stop)
		most := <-done
		if err := conn.Close(b.Context()); err != nil {
			b.Error(err)
		}
		return most
	}
}

// BenchmarkPass is a pass with nobody beside it and without its rests: what it costs.
func BenchmarkPass(b *testing.B) {
	admin := database(b)
	s := issuing(b, admin, Options{})
	s.rests = 0
	fillHour(b, admin, *hourRows)
	for b.Loop() {
		wal := value[int](b, admin, `SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint`)
		began := time.Now()
		if err := s.Shuffle(b.Context()); err != nil {
			b.Fatal(err, cause(err))
		}
		rows := float64(5 * *hourRows)
		b.ReportMetric(float64(time.Since(began).Microseconds())/rows, "µs/row")
		b.ReportMetric(float64(value[int](b, admin, `SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint`)-wal)/rows, "WAL-B/row")
	}
}

func signIn(b *testing.B, s *Issuing) {
	ctx := context.Background()
	id := [32]byte(random(32))
	if err := s.Put(ctx, openid.Row{Kind: openid.KindGrant, ID: id, Body: []byte("{}"), Expires: day.AddDate(1, 0, 0)}); err != nil {
		b.Error(err, cause(err))
	}
	for n := range 2 {
		if _, err := openidtest.Allocate(ctx, s, n, int(id[0])<<32|int(id[1])<<24|int(id[2])<<16|int(id[3])<<8|int(id[4]), id, day.AddDate(1, 0, 0)); err != nil {
			b.Error(err, cause(err))
		}
	}
	if _, err := s.Use(ctx, id, day.AddDate(1, 0, 0)); err != nil {
		b.Error(err, cause(err))
	}
}

// fillHour stores new rows in the tables of enrolments and sign-ins, past the stores.
func fillHour(b *testing.B, admin string, rows int) {
	b.Helper()
	for _, sqlText := range []string{
		`records (label, first_half, second_half, sealed, day) SELECT translate(substr(md5(i::text), 1, 26), '0189', 'wxyz'), 'vault:v1:' || repeat('A', 100), decode(repeat(md5(i::text), 15), 'hex'), decode(repeat(md5(i::text), 30), 'hex'), '2026-11-21'`,
		`pseudonyms (handle, link, hidden, day) SELECT decode(md5(i::text), 'hex'), repeat('A', 140), decode(repeat(md5(i::text), 6), 'hex'), '2026-11-21'`,
		`openid_rows (kind, id, version, body, expires, ended, writer) SELECT 'grant', sha256(i::text::bytea), 1, decode(repeat(md5(i::text), 64), 'hex'), '2027-11-21 10:00Z', false, decode(md5(i::text), 'hex')`,
		`openid_entries (slot, place, grant_id, expires) SELECT sha256(i::text::bytea), substr(sha512(i::text::bytea), 1, 48), sha256(i::text::bytea), '2027-11-21 10:00Z'`,
		`openid_used (key, expires, writer) SELECT sha256(i::text::bytea), '2027-11-21 10:00Z', decode(md5(i::text), 'hex')`,
	} {
		sql(b, admin, fmt.Sprintf(`INSERT INTO %s FROM generate_series(1, %d) i`, sqlText, rows))
	}
	for _, statement := range []string{`VACUUM ANALYZE`, `CHECKPOINT`} {
		sql(b, admin, statement)
	}
}

// BenchmarkStatusLists is the answer of which all status lists are made, beside as many live
// entries as -hour-rows says, of whose grants one in a thousand ended; and an allocation
// beside them.
func BenchmarkStatusLists(b *testing.B) {
	admin := database(b)
	s, ctx := issuing(b, admin, Options{}), b.Context()
	sql(b, admin, fmt.Sprintf(`INSERT INTO openid_rows (kind, id, version, body, expires, ended, writer) SELECT 'grant', sha256(i::text::bytea), 1, 'x', '2027-11-21 10:00Z', false, decode(md5(i::text), 'hex') FROM generate_series(1, %d) i`, *hourRows))
	sql(b, admin, fmt.Sprintf(`INSERT INTO openid_entries (slot, place, grant_id, expires) SELECT sha256(i::text::bytea), substr(sha512(i::text::bytea), 1, 48), sha256(i::text::bytea), '2027-11-21 10:00Z' FROM generate_series(1, %d) i`, *hourRows))
	ended := *hourRows / 1000
	for n := range ended {
		row := openid.Row{Kind: openid.KindGrant, ID: [32]byte(random(32)), Ended: true, Expires: day.AddDate(1, 0, 0)}
		if _, err := openidtest.Allocate(ctx, s, n%8, n, row.ID, row.Expires); err != nil {
			b.Fatal(err)
		}
		if err := s.Put(ctx, row); err != nil {
			b.Fatal(err)
		}
	}
	sql(b, admin, `VACUUM ANALYZE`)
	b.Run("publish", func(b *testing.B) {
		for b.Loop() {
			lists, err := s.Revoked(ctx, day)
			if err != nil || len(lists) != min(8, ended) {
				b.Fatal(len(lists), err)
			}
		}
	})
	b.Run("allocate", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			if _, err := openidtest.Allocate(ctx, s, 9, n+int(time.Now().UnixNano()), [32]byte{1}, day.AddDate(1, 0, 0)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
