package proof

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/verifier/refusal"
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
	Kept  string // file with the checkpoint that was shown, if that is evidence and all of it is there

	// Unkept is why the evidence could not be written; nil if it was, or there is none.
	Unkept error

	// Divergence is the rest of the evidence of a split view between trees of two
	// sizes; nil if the two checkpoints are all of it.
	Divergence *Divergence
}

// Divergence shows that the larger of two trees does not contain the smaller: its
// first leaves, as many as those of the smaller tree, have another root.
type Divergence struct {
	Root tlog.Hash      `json:"root"` // of those leaves
	Path tlog.TreeProof `json:"path"` // consistency proof from there to the larger tree, RFC 6962, 2.1.2
}

// Verify returns nil if two checkpoints with d convict the log: both are signed by
// its key, and the larger tree does not contain the smaller. Otherwise it is
// [ErrBadProof], or as [OpenUncosigned] refuses.
func (d Divergence) Verify(origin, logVKey string, first, second []byte) error {
	a, err := OpenUncosigned(origin, logVKey, first)
	if err != nil {
		return err
	}
	b, err := OpenUncosigned(origin, logVKey, second)
	if err != nil {
		return err
	}
	if a.N > b.N {
		a, b = b, a
	}
	if a.N == b.N || a.Hash == d.Root || tlog.CheckTree(d.Path, b.N, b.Hash, a.N, d.Root) != nil {
		return ErrBadProof
	}
	return nil
}

// diverges returns the divergence of the larger tree, whose tiles are given, from
// the smaller.
func diverges(ctx context.Context, tiles torchwood.TileReader, smaller, larger tlog.Tree) (*Divergence, error) {
	hashes := torchwood.TileHashReaderWithContext(ctx, larger, tiles)
	root, err := tlog.TreeHash(smaller.N, hashes)
	if err != nil {
		return nil, err
	}
	path, err := tlog.ProveTree(larger.N, smaller.N, hashes)
	return &Divergence{root, path}, err
}

// Keep writes a checkpoint that is evidence, and what belongs to it beside it, by
// write, and says where, or why it is not there.
func (e *SeenError) Keep(file string, signed []byte, write func(name string, b []byte) error) {
	err := write(file, signed)
	if e.Divergence != nil {
		b, merr := json.Marshal(e.Divergence)
		err = errors.Join(err, merr, write(file+".divergence", append(b, '\n')))
	}
	if e.Kept, e.Unkept = file, err; err != nil {
		e.Kept = ""
	}
}

func (e *SeenError) Error() string {
	text := "shown are " + e.Shown.String()
	if e.Known != nil {
		text += "; known are " + e.Known.String()
	}
	if e.Unkept != nil {
		why := e.Unkept
		if r := refusal.Of(why); r != nil && r.Unwrap() != nil {
			why = r.Unwrap() // says which file, and what was wrong
		}
		text += "; evidence could not be written: " + why.Error()
	}
	return text
}

// compared is a checkpoint with the times of its cosignatures, zero if none counts.
type compared struct {
	torchwood.Checkpoint
	first, last time.Time // when a quorum had cosigned it, and since when none has again
}

func (c compared) seen() Seen { return Seen{c.N, c.last} }

// goesBack reports whether a quorum cosigned c after one had cosigned a larger tree, by more than
// clocks may differ.
func (c compared) goesBack(larger compared) bool {
	return c.N < larger.N && !larger.first.IsZero() && c.last.After(larger.first.Add(2*MaxSkew))
}

// VerifyRollback checks evidence against a log and its witnesses: of two checkpoints that it signed,
// in any order, a quorum cosigned the smaller after one had cosigned the larger, by more than
// clocks may differ. It returns nil if they convict them; else it is [ErrBadProof], also where
// witnesses of an earlier policy cosigned, or as [Log.OpenCheckpoint] refuses.
func (l *Log) VerifyRollback(first, second []byte) error {
	smaller, err := l.openKept(first)
	if err != nil {
		return err
	}
	larger, err := l.openKept(second)
	if err != nil {
		return err
	}
	if !smaller.goesBack(larger) && !larger.goesBack(smaller) {
		return ErrBadProof
	}
	return nil
}

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
	err = Extends(ctx, tiles, k.Checkpoint, s.Checkpoint)
	before := k.seen()
	seen := &SeenError{Shown: s.seen(), Known: &before}
	switch {
	case errors.Is(err, ErrOlder) && s.goesBack(k):
		return ErrRollback.Because(seen)
	case errors.Is(err, ErrOlder):
		return ErrOlder.Because(seen)
	case errors.Is(err, ErrSplitView) && k.N < s.N:
		var derr error
		if seen.Divergence, derr = diverges(ctx, tiles, k.Tree, s.Tree); derr != nil {
			return ErrFetch.Because(derr) // and say nothing without the evidence
		}
		return ErrSplitView.Because(seen)
	case errors.Is(err, ErrSplitView):
		return ErrSplitView.Because(seen)
	}
	return err
}
