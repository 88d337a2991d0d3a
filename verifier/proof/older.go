package proof

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// Seen is a tree that the log has signed.
type Seen struct {
	Size int64
	At   time.Time // when a quorum had cosigned it last; zero if witnesses of an earlier policy did
}

func (s Seen) String() string {
	text := fmt.Sprintf("%d leaves", s.Size)
	if !s.At.IsZero() {
		text += ", cosigned " + s.At.UTC().Format(time.RFC3339)
	}
	return text
}

// SeenError says what was shown and what was known before. It is the cause of
// [ErrOlder], [ErrStale], [ErrRollback] and [ErrSplitView] where a log is compared
// with an earlier state of it.
type SeenError struct {
	Shown Seen
	Known *Seen  // nil: nothing
	Kept  string // file with the checkpoint that was shown, if that is evidence
}

func (e *SeenError) Error() string {
	text := "shown are " + e.Shown.String()
	if e.Known != nil {
		text += "; known are " + e.Known.String()
	}
	return text
}

// compared is a checkpoint with the times of its cosignatures, zero if none counts.
type compared struct {
	torchwood.Checkpoint
	first, last time.Time // when a quorum had cosigned it, and since when none has again
}

func (c compared) seen() Seen { return Seen{c.N, c.last} }

// openKept opens a checkpoint that was good when somebody kept it. The witnesses
// may have changed since: then the log's own signature binds it still.
func (l *Log) openKept(signed []byte) (compared, error) {
	c, n, err := l.open(signed, true)
	if errors.Is(err, ErrQuorum) {
		c, n, err = l.open(signed, false)
	}
	if err != nil {
		return compared{}, err
	}
	first, last := l.cosigned(n.Sigs)
	return compared{c, first, last}, nil
}

// cosigned returns the earliest time at which a quorum had cosigned, and the latest
// since when a quorum has; zero if there is none.
func (l *Log) cosigned(sigs []note.Signature) (first, last time.Time) {
	var times []int64
	for _, v := range l.witnesses {
		for _, s := range sigs {
			if t, err := torchwood.CosignatureTimestamp(s); s.Name == v.Name() && s.Hash == v.KeyHash() && err == nil {
				times = append(times, t)
			}
		}
	}
	if len(times) < l.Quorum {
		return first, last
	}
	slices.Sort(times)
	return time.Unix(times[l.Quorum-1], 0), time.Unix(times[len(times)-l.Quorum], 0)
}

// follows checks that the log whose tiles are given, under the checkpoint shown,
// adds to the one that was known. What is merely older, as a mirror is that nobody
// brought up to date, or an answer from a cache, is [ErrOlder] and accuses nobody.
// The evidence for [ErrRollback] is that a quorum cosigned the smaller tree after
// one had cosigned the larger, by more than clocks may differ.
func (l *Log) follows(ctx context.Context, tiles torchwood.TileReader, known, shown []byte) error {
	k, err := l.openKept(known)
	if err != nil {
		return err
	}
	s, err := l.openKept(shown)
	if err != nil {
		return err
	}
	err = contains(ctx, tiles, s.Checkpoint, k.Checkpoint)
	before := k.seen()
	seen := &SeenError{Shown: s.seen(), Known: &before}
	switch {
	case errors.Is(err, ErrOlder) && !k.first.IsZero() && s.last.After(k.first.Add(2*MaxSkew)):
		return ErrRollback.Because(seen)
	case errors.Is(err, ErrOlder):
		return ErrOlder.Because(seen)
	case errors.Is(err, ErrSplitView):
		return ErrSplitView.Because(seen)
	}
	return err
}
