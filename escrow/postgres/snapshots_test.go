package postgres

import (
	"testing"
	"time"

	"github.com/penname/penname/escrow/keep"
)

// The newest snapshot is the latest of those with the newest key; what is stored twice
// is there once.
func TestSnapshots(t *testing.T) {
	k := keeping(t, database(t), Options{})
	day := func(d int) time.Time { return time.Date(2026, 3, d, 0, 0, 0, 0, time.UTC) }
	newest := func(want keep.Snapshot) {
		t.Helper()
		if s, err := k.NewestSnapshot(t.Context()); err != nil || !s.Day.Equal(want.Day) || s.Version != want.Version {
			t.Errorf("%v, %v; want %v", s, err, want)
		}
	}
	newest(keep.Snapshot{})
	for _, s := range []keep.Snapshot{{Day: day(1), Version: 1}, {Day: day(1), Version: 1}, {Day: day(3), Version: 1}} {
		if err := k.AddSnapshot(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	newest(keep.Snapshot{Day: day(3), Version: 1})
	if err := k.AddSnapshot(t.Context(), keep.Snapshot{Day: day(2), Version: 2}); err != nil {
		t.Fatal(err)
	}
	newest(keep.Snapshot{Day: day(2), Version: 2})
}
