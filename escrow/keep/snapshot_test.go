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
	down := errors.New("down")
	for name, test := range map[string]struct {
		newest  keep.Snapshot
		missing time.Time
		err     error
		want    error
	}{
		"of today":                      {newest: keep.Snapshot{Day: day(20)}},
		"of last week":                  {newest: keep.Snapshot{Day: day(13)}},
		"of the week before":            {newest: keep.Snapshot{Day: day(11)}, want: keep.ErrNoSnapshot},
		"a key of today is missing":     {newest: keep.Snapshot{Day: day(20)}, missing: day(20)},
		"a key of yesterday is missing": {newest: keep.Snapshot{Day: day(18)}, missing: day(19)},
		"a key of before is missing":    {newest: keep.Snapshot{Day: day(20)}, missing: day(18), want: keep.ErrNoSnapshot},
		"a key of tomorrow is missing":  {newest: keep.Snapshot{Day: day(20)}, missing: day(21)},
		"none":                          {want: keep.ErrNoSnapshot},
		"nobody knows":                  {err: down, want: down},
	} {
		err := keep.SnapshotFresh(t.Context(), func(context.Context) (keep.Snapshot, time.Time, error) { return test.newest, test.missing, test.err }, now)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}
