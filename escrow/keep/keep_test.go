package keep_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// world is a key service and a database in memory, of one group. A half is its label and
// the version that it is under.
type world struct {
	groups                        // of which it has no records
	oldest, newest int            // versions that exist
	used           [2]int         // that the database knows of
	rotation       *keep.Rotation // under way
	halves         map[string]int // version, by label
	log            []string       // what was done to the keys
	locked         bool
	sync.Mutex     // a batch is stored while the next is read and rewrapped
}

func newWorld(records int) *world {
	w := &world{oldest: 1, newest: 1, used: [2]int{1, 1}, halves: map[string]int{}}
	for i := range records {
		w.halves[fmt.Sprintf("record-%02d", i)] = 1
	}
	return w
}

func (w *world) Versions(context.Context, int) (oldest, newest int, err error) {
	return w.oldest, w.newest, nil
}

func (w *world) UsedVersions(context.Context, ...int) ([]keep.Used, error) {
	return []keep.Used{{Oldest: w.used[0], Newest: w.used[1]}}, nil
}

func (w *world) Under(context.Context) ([]int, error) {
	if w.rotation == nil {
		return nil, nil
	}
	return []int{0}, nil
}

func (w *world) Rotate(context.Context, int) error {
	w.newest++
	w.log = append(w.log, fmt.Sprint("rotate to ", w.newest))
	return nil
}

func (w *world) Rewrap(_ context.Context, _ int, halves []keep.Half) (out []string, err error) {
	w.Lock()
	defer w.Unlock()
	for _, h := range halves {
		if w.halves[h.Label] < w.oldest {
			return nil, keep.ErrArchived
		}
		out = append(out, fmt.Sprint("v", w.newest))
	}
	return out, nil
}

func (w *world) Retire(_ context.Context, _, oldest int) error {
	for label, v := range w.halves {
		if v >= w.oldest && v < oldest {
			return fmt.Errorf("%s was lost", label)
		}
	}
	w.oldest = oldest
	w.log = append(w.log, fmt.Sprint("retire below ", oldest))
	return nil
}

func (w *world) Begin(_ context.Context, _, version int) (keep.Rotation, func(), error) {
	if w.locked {
		return keep.Rotation{}, nil, keep.ErrRunning
	}
	if w.rotation == nil {
		w.rotation = &keep.Rotation{Version: version, State: keep.Moving}
	}
	w.locked = true
	return *w.rotation, func() { w.locked = false }, nil
}

func (w *world) Older(_ context.Context, r keep.Rotation, oldest, n int) (halves []keep.Half, err error) {
	w.Lock()
	defer w.Unlock()
	for label, v := range w.halves {
		if v >= oldest && v < r.Version && label > r.Position {
			halves = append(halves, keep.Half{Label: label, Wrapped: fmt.Sprint("v", v)})
		}
	}
	slices.SortFunc(halves, func(a, b keep.Half) int { return strings.Compare(a.Label, b.Label) })
	return halves[:min(n, len(halves))], nil
}

func (w *world) Move(_ context.Context, r keep.Rotation, from []keep.Half, _ []string) (keep.Rotation, error) {
	w.Lock()
	defer w.Unlock()
	for _, h := range from {
		w.halves[h.Label] = r.Version
	}
	r.Position, r.Records = from[len(from)-1].Label, r.Records+int64(len(from))
	*w.rotation = r
	w.used[1] = r.Version
	return r, nil
}

func (w *world) Shut(_ context.Context, r keep.Rotation) (keep.Rotation, error) {
	r.State, r.Position = keep.Closed, ""
	*w.rotation = r
	w.used[1] = r.Version
	return r, nil
}

func (w *world) Finish(_ context.Context, r keep.Rotation, _ int) (keep.Rotation, error) {
	r.State = keep.Done
	w.rotation = nil
	w.used = [2]int{r.Version, r.Version}
	return r, nil
}

func (w *world) keeper() *keep.Keeper {
	return &keep.Keeper{Keys: w, Past: w, Rotations: w, Now: func() time.Time { return time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC) }, Batch: 3}
}

// TestRotateFromEveryState: wherever a rotation was left, with the key service
// before the step or after it, the next run ends it; and a key service that does
// not fit the database is refused and destroys nothing.
func TestRotateFromEveryState(t *testing.T) {
	const records = 8
	for name, c := range map[string]struct {
		left   func(*world) // how the last run left it
		want   error
		keys   []string // what happens to the keys
		halves int64    // rewrapped, all runs together
	}{
		"none":                         {func(*world) {}, nil, []string{"rotate to 2", "retire below 2"}, records},
		"moving, no version yet":       {func(w *world) { w.at(keep.Moving, 0) }, nil, []string{"rotate to 2", "retire below 2"}, records},
		"moving, the version was made": {func(w *world) { w.at(keep.Moving, 0); w.newest = 2 }, nil, []string{"retire below 2"}, records},
		"moving, in the middle":        {func(w *world) { w.at(keep.Moving, 4); w.newest = 2 }, nil, []string{"retire below 2"}, records},
		"moving, all moved":            {func(w *world) { w.at(keep.Moving, records); w.newest = 2 }, nil, []string{"retire below 2"}, records},
		"closed":                       {func(w *world) { w.at(keep.Closed, 0); w.newest = 2 }, nil, []string{"retire below 2"}, records},
		"closed, retired already":      {func(w *world) { w.at(keep.Closed, records); w.oldest, w.newest = 2, 2 }, nil, []string{"retire below 2"}, records},
		"another process is at it":     {func(w *world) { w.locked = true }, keep.ErrRunning, nil, 0},
		"moving, the version is gone":  {func(w *world) { w.at(keep.Moving, 4) }, keep.ErrRollback, nil, 4},
		"closed, the version is gone":  {func(w *world) { w.at(keep.Closed, 4) }, keep.ErrRollback, nil, 4},
		"a destroyed version is back":  {func(w *world) { w.used = [2]int{2, 2}; w.newest = 2 }, keep.ErrRollback, nil, 0},
		"two versions behind":          {func(w *world) { w.rotation = &keep.Rotation{Version: 3, State: keep.Moving} }, keep.ErrVersion, nil, 0},
		"moved on without its version": {func(w *world) { w.rotation = &keep.Rotation{Version: 2, State: keep.Moving, Position: "record-03"} }, keep.ErrVersion, nil, 0},
		"closed without its version":   {func(w *world) { w.rotation = &keep.Rotation{Version: 2, State: keep.Closed} }, keep.ErrVersion, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(records)
			c.left(w)
			oldest := w.oldest
			r, err := w.keeper().RotateGroup(t.Context(), 0)
			if !errors.Is(err, c.want) || !slices.Equal(w.log, c.keys) {
				t.Fatalf("%v, keys %q; want %v, %q", err, w.log, c.want, c.keys)
			}
			if err != nil {
				if w.oldest != oldest {
					t.Error("a version was destroyed")
				}
				return
			}
			if r.State != keep.Done || r.Version != 2 || r.Records != c.halves || w.rotation != nil || w.locked || w.oldest != 2 {
				t.Errorf("%+v, oldest %d", r, w.oldest)
			}
		})
	}
}

// at leaves a rotation to version 2 in a state, with so many records moved.
func (w *world) at(s keep.State, moved int) {
	r := keep.Rotation{Version: 2, State: s, Records: int64(moved)}
	for i := range moved {
		label := fmt.Sprintf("record-%02d", i)
		if w.halves[label], w.used[1] = 2, 2; s == keep.Moving {
			r.Position = label
		}
	}
	if s == keep.Closed {
		w.used[1] = 2
	}
	w.rotation = &r
}

// N2: halves that an older copy of the database brought back, whose version was
// destroyed since, used to stop every rotation after it, and so every erasure.
func TestFoundN2HalvesThatNobodyOpensStopNoRotation(t *testing.T) {
	w := newWorld(3)
	w.oldest, w.newest = 7, 7
	w.halves["record-01"] = 7 // sealed since
	if r, err := w.keeper().RotateGroup(t.Context(), 0); err != nil || r.Records != 1 || !slices.Equal(w.log, []string{"rotate to 8", "retire below 8"}) {
		t.Errorf("%+v, %v, keys %q", r, err, w.log)
	}
	if w.halves["record-00"] != 1 || w.halves["record-01"] != 8 {
		t.Errorf("%v", w.halves)
	}
}

// What is left behind is never destroyed.
func TestNothingIsLeftBehind(t *testing.T) {
	w := newWorld(2)
	k := w.keeper()
	k.Rotations = leavesBehind{w}
	if _, err := k.RotateGroup(t.Context(), 0); !errors.Is(err, keep.ErrLeftBehind) || w.oldest != 1 {
		t.Errorf("%v, oldest %d", err, w.oldest)
	}
}

// leavesBehind lets a record in behind the last pass.
type leavesBehind struct{ *world }

func (l leavesBehind) Older(ctx context.Context, r keep.Rotation, oldest, n int) ([]keep.Half, error) {
	if r.State == "" { // the question before the end
		l.halves["record-99"] = 1
	}
	return l.world.Older(ctx, r, oldest, n)
}

// requests is a list of requests to be deleted, of which some fail and some are
// held.
type requests struct {
	cleared []string
	failing map[string]error
	held    string
	leaves  map[string]proof.Leaf
	waiting []int
}

var (
	errBroken = refusal.New(refusal.Unavailable, "test.broken", "broken")
	errLater  = refusal.New(refusal.Unavailable, "test.broken_too", "broken")
)

func (r *requests) Cleared(_ context.Context, after string, n int) (page []keep.Erasure, err error) {
	for _, label := range r.cleared {
		if _, done := r.leaves[label]; label > after && !done && len(page) < n {
			page = append(page, keep.Erasure{Label: label, Salt: [32]byte{1}})
		}
	}
	return page, nil
}

func (r *requests) Erase(_ context.Context, e keep.Erasure, leaf proof.Leaf) (bool, error) {
	if err := r.failing[e.Label]; err != nil || e.Label == r.held {
		return false, err
	}
	r.leaves[e.Label] = leaf
	return true, nil
}

func (r *requests) Again(context.Context, string, int) (string, error) { return "", nil }

func (r *requests) Waiting(_ context.Context, after, n int) (page []int, err error) {
	for _, group := range r.waiting {
		if group > after && len(page) < n {
			page = append(page, group)
		}
	}
	return page, nil
}

// Requests that fail or are held again do not stand in the way of those behind
// them, however many there are, and why each failed is said.
func TestEraseServesEverybody(t *testing.T) {
	const n = 2500
	r := &requests{leaves: map[string]proof.Leaf{}}
	for i := range n {
		r.cleared = append(r.cleared, fmt.Sprintf("label-%04d", i))
	}
	r.failing, r.held = map[string]error{r.cleared[0]: errBroken, r.cleared[n-1]: errLater}, r.cleared[1]
	w := newWorld(0)
	k := w.keeper()
	k.Erasures = r
	erased, err := k.Erase(t.Context())
	if erased != n-3 || !errors.Is(err, errBroken) || !errors.Is(err, errLater) || r.leaves[r.cleared[n-2]].Kind != proof.KindErased {
		t.Fatalf("%d erased, %v", erased, err)
	}
	r.failing, r.held = nil, ""
	if erased, err := k.Work(t.Context()); erased != 3 || err != nil || len(w.log) != 0 {
		t.Errorf("%d erased, %v, keys %q", erased, err, w.log)
	}
	r.waiting = []int{0}
	if _, err := k.Work(t.Context()); err != nil || !slices.Equal(w.log, []string{"rotate to 2", "retire below 2"}) {
		t.Errorf("%v, keys %q", err, w.log)
	}
}
