package postgres

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/verifier/record"
	"github.com/penname/penname/verifier/record/recordtest"
)

// BenchmarkRecordEntry is how long the page of an entry takes, which alone reads the database: of
// a log of -log-leaves entries, all over it.
func BenchmarkRecordEntry(b *testing.B) {
	admin := database(b)
	store := disclosing(b, admin, Options{}).Log
	w := recordtest.New(b, "https://penname.example")
	w.Grow(int64(*logLeaves), 1000)
	w.Publish(recordtest.Noon)
	leaves, hashes := w.Stored()
	l := largeLog{leaves: leaves, hashes: hashes}
	l.store(b, admin)
	signed, err := w.ReadEndpoint(b.Context(), "checkpoint")
	if err != nil {
		b.Fatal(err)
	}
	if err := store.SaveCheckpoint(b.Context(), w.Size(), signed); err != nil {
		b.Fatal(err)
	}
	held := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := held()
	r := record.New(translog.Tiles(store), w.Fetch, w.Records)
	began := time.Now()
	if err := r.Follow(b.Context(), w.Log(), nil); err != nil {
		b.Fatal(err)
	}
	follow, most := time.Since(began).Seconds(), held()-before
	var took []time.Duration
	for i := int64(0); b.Loop(); i++ {
		began := time.Now()
		if _, err := r.Page(context.Background(), fmt.Sprintf("entries/%d.html", i*7919%w.Size())); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	at := took[len(took)*99/100]
	b.ReportMetric(float64(at.Microseconds())/1000, "ms-p99")
	b.ReportMetric(float64(at)/float64(20*time.Millisecond), "ratio")
	b.ReportMetric(1, "aim-max")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "~ms-median")
	b.ReportMetric(follow, "~s-to-follow")
	b.ReportMetric(float64(most)/(1<<20), "~MiB-held")
}
