package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/keep"
)

// restored is a key service with the versions of one key that an old snapshot had.
type restored struct {
	keep.Keys
	group, oldest, newest int
}

func (r restored) Versions(ctx context.Context, group int) (oldest, newest int, err error) {
	if group == r.group {
		return r.oldest, r.newest, nil
	}
	return r.Keys.Versions(ctx, group)
}

// F15: after each step of a rotation, every key service that is older than the
// step is refused, on every side and before a rotation, and nothing changes.
func TestF15OlderKeyService(t *testing.T) {
	type versions struct{ oldest, newest int }
	for name, step := range map[string]struct {
		prepare func(t *testing.T, h *house)
		seen    versions // by the issuing and the disclosing side
		keeps   versions // by the keeping side
	}{
		"nothing was rotated": {func(*testing.T, *house) {}, versions{1, 1}, versions{1, 1}},
		"a rotation is written down and no version made": {func(t *testing.T, h *house) {
			begin(t, h)
		}, versions{1, 1}, versions{1, 1}},
		"the version is made and a record came in under it": {func(t *testing.T, h *house) {
			begin(t, h)
			if err := h.keys.Rotate(t.Context(), h.group); err != nil {
				t.Fatal(err)
			}
			h.enrol(t)
		}, versions{1, 1}, versions{1, 2}},
		"records were moved": {func(t *testing.T, h *house) {
			h.stop(t, 1)
		}, versions{1, 2}, versions{1, 2}},
		"one rotation is done":   {func(t *testing.T, h *house) { h.rotate(t) }, versions{2, 2}, versions{2, 2}},
		"two rotations are done": {func(t *testing.T, h *house) { h.rotate(t); h.rotate(t) }, versions{3, 3}, versions{3, 3}},
		"the second one is under way": {func(t *testing.T, h *house) {
			h.rotate(t)
			h.stop(t, 1)
		}, versions{2, 3}, versions{2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, 0)
			h.openGroups(t, 3)
			h.enrol(t)
			h.group = 2
			for range 6 {
				h.enrol(t)
			}
			step.prepare(t, h)
			for _, side := range []struct {
				past keep.Past
				seen versions
			}{{h.s, step.seen}, {h.d, step.seen}, {h.k, step.keeps}} {
				var have versions
				used, err := side.past.UsedVersions(t.Context(), h.group, 999)
				for _, u := range used {
					if u.Group == h.group {
						have = versions{u.Oldest, u.Newest}
					}
				}
				if err != nil || have != side.seen || len(used) > 3 {
					t.Errorf("%T saw %v, %v; want %v", side.past, used, err, side.seen)
				}
				if err := keep.Current(t.Context(), h.keys, side.past, h.group); err != nil {
					t.Errorf("%T refuses the key service as it is: %v %v", side.past, err, cause(err))
				}
				for _, old := range []versions{{side.seen.oldest - 1, side.seen.newest}, {side.seen.oldest, side.seen.newest - 1}, {1, 1}, {0, 0}} {
					if old == side.seen {
						continue
					}
					err := keep.Current(t.Context(), restored{h.keys, h.group, old.oldest, old.newest}, side.past, h.group)
					if !errors.Is(err, keep.ErrRollback) {
						t.Errorf("%T with %v: %v", side.past, old, err)
					}
					// What changed last is asked for by whoever asks.
					err = keep.Current(t.Context(), restored{h.keys, h.group, old.oldest, old.newest}, side.past)
					if side.seen != (versions{1, 1}) && side.seen == step.seen && !errors.Is(err, keep.ErrRollback) {
						t.Errorf("%T with %v, who uses another group: %v", side.past, old, err)
					}
				}
			}
			if step.keeps == (versions{1, 1}) {
				return
			}
			before, rotations := h.rows(t), one[string](t, h.conn, `SELECT string_agg(rotations::text, ' ' ORDER BY version) FROM rotations`)
			k := h.keeper()
			k.Keys = restored{h.keys, h.group, 1, 1}
			if _, err := k.RotateGroup(t.Context(), h.group); !errors.Is(err, keep.ErrRollback) {
				t.Errorf("it rotated an older key service: %v", err)
			}
			if !maps.Equal(before, h.rows(t)) || rotations != one[string](t, h.conn, `SELECT string_agg(rotations::text, ' ' ORDER BY version) FROM rotations`) {
				t.Error("the refused rotation changed something")
			}
			h.rotate(t) // with the newest snapshot it goes on
			for label, wrapped := range h.rows(t) {
				if half, err := escrowtest.UnwrapHalf(t.Context(), h.open, label, wrapped); err != nil || string(half) != string(h.halfs[label]) {
					t.Errorf("a record does not open: %v", err)
				}
			}
		})
	}
}

func begin(t *testing.T, h *house) {
	t.Helper()
	_, release, err := h.k.Begin(t.Context(), h.group, 2)
	if err != nil {
		t.Fatal(err, cause(err))
	}
	release()
}

func (h *house) rotate(t *testing.T) {
	t.Helper()
	if _, err := h.keeper().RotateGroup(t.Context(), h.group); err != nil {
		t.Fatal(err, cause(err))
	}
}

// stop rotates until so many batches were moved, and then the process dies.
func (h *house) stop(t *testing.T, batches int) {
	t.Helper()
	ctx, die := context.WithCancel(t.Context())
	defer die()
	k := h.keeper()
	k.Progress = func(r keep.Rotation, step string) {
		if step == "records moved" {
			if batches--; batches == 0 {
				die()
			}
		}
	}
	if _, err := k.RotateGroup(ctx, h.group); err == nil {
		t.Fatal("the rotation was not stopped")
	}
}

// A snapshot of the key service from before a group was made lacks its key: nobody goes on
// with it, and nobody is wrapped under a key that is not there.
func TestF15KeyServiceOfBeforeAGroup(t *testing.T) {
	h := newHouse(t, 1)
	h.openGroups(t, 2)
	for _, past := range []keep.Past{h.s, h.d, h.k} {
		if err := keep.Current(t.Context(), restored{h.keys, 2, 0, 0}, past); !errors.Is(err, keep.ErrRollback) {
			t.Errorf("%T: %v", past, err)
		}
	}
	if _, err := h.wrap.WrapHalfIn(t.Context(), 3, "label", random(32)); !errors.Is(err, keep.ErrRollback) {
		t.Error(err)
	}
}

// An older key service is found by what changed last, whichever group it was of, and however
// many there are: nothing else is asked for.
func TestWhatChangedLastIsAskedFor(t *testing.T) {
	h := newHouse(t, 0)
	h.openGroups(t, 9)
	for _, h.group = range []int{3, 5, 1, 7, 4, 6, 5, 2} {
		h.rotate(t)
	}
	h.group = 8
	h.enrol(t)
	h.enrol(t)
	h.stop(t, 1)
	for _, past := range []keep.Past{h.s, h.d, h.k} {
		used, err := past.UsedVersions(t.Context(), 3, 999)
		if want := "[{0 1 1} {2 2 2} {3 2 2} {4 2 2} {5 3 3} {6 2 2} {8 1 2} {9 1 1}]"; err != nil || fmt.Sprint(used) != want {
			t.Errorf("%T: %v, %v; want %v", past, used, err, want)
		}
	}
}
