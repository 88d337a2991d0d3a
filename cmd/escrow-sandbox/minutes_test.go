package main

import (
	"context"
	"flag"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/penname/penname/escrow/sandbox/world"
)

var minutes = flag.Int("minutes", 0, "how long BenchmarkMinutes signs people in, at full load")

// BenchmarkMinutes signs people in for as many minutes as -minutes says, sixteen at a time,
// and says of each minute how many, how long it took, how many rows and how large a database
// there were. The hour's work is done four times within it, beside them. The ratio is of the p99 of the
// last minute to that of the first.
//
//	go test ./cmd/escrow-sandbox -run xxx -bench BenchmarkMinutes -benchtime 1x -timeout 2h -minutes 60
func BenchmarkMinutes(b *testing.B) {
	if *minutes < 2 {
		b.Skip("without -minutes there is nothing to compare")
	}
	w, err := world.Start(b.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: io.Discard, Progress: io.Discard, People: crowd(), PerSender: 10_000})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	const callers = 16
	browsers := signedUp(b, &world.Case{World: w}, callers)
	ctx, cancel := context.WithTimeout(b.Context(), time.Duration(*minutes)*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	for range callers {
		wg.Go(func() {
			for who := <-browsers; ctx.Err() == nil && !b.Failed(); {
				began := time.Now()
				if err := signInAgain(w, who); err != nil {
					b.Error(err)
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	wg.Go(func() {
		for each := time.NewTicker(time.Duration(*minutes) * time.Minute / 5); ; {
			select {
			case <-ctx.Done():
				each.Stop()
				return
			case <-each.C:
				if err := w.Service.ShuffleRows(ctx); err != nil && ctx.Err() == nil {
					b.Error(err)
				}
			}
		}
	})
	var p99 []time.Duration
	for n := range *minutes {
		time.Sleep(time.Minute)
		mu.Lock()
		now := took
		took = nil
		mu.Unlock()
		if len(now) == 0 {
			b.Fatal("nobody was signed in for a minute")
		}
		slices.Sort(now)
		p99 = append(p99, now[len(now)*99/100])
		rows, bytes := sizes(b, w.Postgres.DSN)
		b.Logf("minute %d: %.0f sign-ins/s, p50 %v, p99 %v, longest %v, %d rows of sign-ins, %d MB", n+1, float64(len(now))/60, now[len(now)/2].Round(time.Millisecond),
			p99[n].Round(time.Millisecond), now[len(now)-1].Round(time.Millisecond), rows, bytes>>20)
	}
	cancel()
	wg.Wait()
	for b.Loop() { // the minutes are the measurement
	}
	b.ReportMetric(float64(p99[0].Milliseconds()), "first-p99-ms")
	b.ReportMetric(float64(p99[len(p99)-1].Milliseconds()), "last-p99-ms")
	b.ReportMetric(float64(p99[len(p99)-1])/float64(p99[0]), "ratio")
}

func sizes(b *testing.B, dsn string) (rows, bytes int64) {
	c, err := pgx.Connect(b.Context(), dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(b.Context())
	if err := c.QueryRow(b.Context(), `SELECT (SELECT count(*) FROM penname.openid_rows) + (SELECT count(*) FROM penname.openid_used) + (SELECT count(*) FROM penname.openid_entries),
		pg_database_size(current_database())`).Scan(&rows, &bytes); err != nil {
		b.Fatal(err)
	}
	return rows, bytes
}
