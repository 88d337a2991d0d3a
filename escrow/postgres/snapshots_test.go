package postgres

import (
	"errors"
	"testing"
	"time"

	"github.com/penname/penname/escrow/keep"
)

// The newest snapshot is the latest of those with the newest keys; what is stored twice
// is there once. What it lacks is said by the day.
func TestSnapshots(t *testing.T) {
	h := newHouse(t, 1)
	on := func(d int) time.Time { return time.Date(2026, 3, d, 0, 0, 0, 0, time.UTC) }
	newest := func(want keep.Snapshot, lacks time.Time) {
		t.Helper()
		if s, missing, err := h.k.NewestSnapshot(t.Context()); err != nil || !s.Day.Equal(want.Day) || s.Group != want.Group || s.Step != want.Step || !missing.Equal(lacks) {
			t.Errorf("%v lacks what is of %s, %v; want %v, %s", s, missing, err, want, lacks)
		}
	}
	take := func(d int) keep.Snapshot {
		t.Helper()
		s, err := h.k.NextSnapshot(t.Context(), on(d).Add(9*time.Hour))
		for range 2 {
			if err == nil {
				err = h.k.AddSnapshot(t.Context(), s)
			}
		}
		if err != nil || !s.Day.Equal(on(d)) {
			t.Fatal(s, err)
		}
		return s
	}
	var none time.Time
	newest(keep.Snapshot{}, none)
	take(1)
	newest(take(3), none)
	before := take(2)
	newest(keep.Snapshot{Day: on(3)}, none)
	if err := errors.Join(h.keys.Open(t.Context(), 1), h.keys.Open(t.Context(), 2), h.k.AddGroups(t.Context(), 1, 2, on(9))); err != nil {
		t.Fatal(err)
	}
	newest(keep.Snapshot{Day: on(3)}, on(9))
	after := take(2) // an earlier day, and more in it
	if before.Group != 0 || after.Group != 2 {
		t.Errorf("%v, %v", before, after)
	}
	newest(after, none)
	if _, err := h.keeper().RotateGroup(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	newest(after, time.Now().UTC().Truncate(24*time.Hour))
	newest(take(4), none)
}
