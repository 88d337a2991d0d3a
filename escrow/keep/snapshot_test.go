package keep_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/penname/penname/escrow/keep"
)

func TestSnapshotFresh(t *testing.T) {
	now := time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC)
	day := func(d int) time.Time { return time.Date(2026, 3, d, 0, 0, 0, 0, time.UTC) }
	w := newWorld(0)
	w.newest = 3
	down := errors.New("down")
	for name, test := range map[string]struct {
		newest keep.Snapshot
		err    error
		want   error
	}{
		"of today":                 {newest: keep.Snapshot{Day: day(20), Version: 3}},
		"of last week":             {newest: keep.Snapshot{Day: day(13), Version: 3}},
		"of the week before":       {newest: keep.Snapshot{Day: day(11), Version: 3}, want: keep.ErrNoSnapshot},
		"before the last rotation": {newest: keep.Snapshot{Day: day(20), Version: 2}, want: keep.ErrNoSnapshot},
		"none":                     {want: keep.ErrNoSnapshot},
		"nobody knows":             {err: down, want: down},
	} {
		err := keep.SnapshotFresh(t.Context(), w, func(context.Context) (keep.Snapshot, error) { return test.newest, test.err }, now)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}
