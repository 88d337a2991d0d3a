package keep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// ErrNoSnapshot says that if the key service were lost now, pen names and records were
// lost with it.
var ErrNoSnapshot = refusal.New(refusal.NotYet, "keys.no_fresh_snapshot",
	"no fresh snapshot of the key service is known, and if it were lost now, pen names and records were lost for good: take one with escrowd vault snapshot, each week and after each rotation")

// Snapshot is one of the key service that somebody took and checked.
type Snapshot struct {
	Day     time.Time // UTC; zero: there is none
	Version int       // of the record key: at least this one is in it
}

// SnapshotMaxAge is how old the newest snapshot may be before that is said.
const SnapshotMaxAge = 8 * 24 * time.Hour

// SnapshotFresh fails with [ErrNoSnapshot] unless the newest snapshot that is known is
// fresh, and was taken after the last rotation.
func SnapshotFresh(ctx context.Context, keys Versions, newest func(context.Context) (Snapshot, error), now time.Time) error {
	s, err := newest(ctx)
	if err != nil {
		return err
	}
	_, version, err := keys.Versions(ctx)
	switch {
	case err != nil:
		return err
	case s.Day.IsZero():
		return ErrNoSnapshot.Because(errors.New("there is none"))
	case now.Sub(s.Day) > SnapshotMaxAge:
		return ErrNoSnapshot.Because(errors.New("the newest is of " + s.Day.Format(time.DateOnly)))
	case s.Version < version:
		return ErrNoSnapshot.Because(fmt.Errorf("the newest has version %d of the record key, which is at %d", s.Version, version))
	}
	return nil
}
