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
	"no fresh snapshot of the key service is known, and if it were lost now, pen names or records were lost for good: take one with escrowd vault snapshot, each day")

// Snapshot is one of the key service that somebody took and checked. It has at least the
// groups up to that one, and what the rotations up to that step made.
type Snapshot struct {
	Day   time.Time // UTC; zero: there is none
	Group int
	Step  int64
}

// SnapshotMaxAge is how old the newest snapshot may be before that is said.
const SnapshotMaxAge = 8 * 24 * time.Hour

// snapshotLag is how long a key may be in no snapshot, from the beginning of the day on
// which it was made or first used.
const snapshotLag = 48 * time.Hour

// SnapshotFresh fails with [ErrNoSnapshot] unless the newest snapshot that is known is
// fresh, and no key has been missing in it for long. newest returns it, and the first day
// of what is not in it; zero if all is.
func SnapshotFresh(ctx context.Context, newest func(context.Context) (s Snapshot, missing time.Time, err error), now time.Time) error {
	s, missing, err := newest(ctx)
	switch {
	case err != nil:
		return err
	case s.Day.IsZero():
		return ErrNoSnapshot.Because(errors.New("there is none"))
	case now.Sub(s.Day) > SnapshotMaxAge:
		return ErrNoSnapshot.Because(errors.New("the newest is of " + s.Day.Format(time.DateOnly)))
	case !missing.IsZero() && now.Sub(missing) > snapshotLag:
		return ErrNoSnapshot.Because(fmt.Errorf("the newest is of %s and lacks keys of %s", s.Day.Format(time.DateOnly), missing.Format(time.DateOnly)))
	}
	return nil
}
