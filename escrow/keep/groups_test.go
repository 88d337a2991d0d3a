package keep_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/keep"
)

// groups is which groups are open, in memory.
type groups struct {
	made   []int // keys, in order
	rows   []keep.Group
	closed map[int]time.Time
	people bool   // somebody is enrolled
	broken bool   // no key can be made
	slow   func() // called when one is made
}

func (g *groups) Open(_ context.Context, group int) error {
	if g.broken {
		return keep.ErrUnavailable
	}
	g.made = append(g.made, group)
	if g.slow != nil {
		g.slow()
	}
	return nil
}

func (g *groups) Groups(_ context.Context, after, n int) (page []int, err error) {
	for _, row := range g.rows {
		if row.Number > after && len(page) < n {
			page = append(page, row.Number)
		}
	}
	return page, nil
}

func (g *groups) OpenGroups(_ context.Context, day time.Time) (open []keep.Group, last int, first bool, err error) {
	for _, row := range g.rows {
		end, closing := g.closed[row.Number]
		row.Closing = closing
		if !closing || end.After(day) {
			open = append(open, row)
		}
	}
	return open, len(g.rows), len(g.rows) == 0 && !g.people, nil
}

func (g *groups) AddGroups(_ context.Context, first, last int, from time.Time) error {
	for n := first; n <= last; n++ {
		if !slices.Contains(g.made, n) {
			return fmt.Errorf("group %d has no key", n)
		}
		g.rows = append(g.rows, keep.Group{Number: n, Opened: from})
	}
	return nil
}

func (g *groups) CloseGroups(_ context.Context, closed []int, from time.Time) error {
	for _, n := range closed {
		g.closed[n] = from
	}
	return nil
}

// open are the groups of a day.
func (g *groups) open(day time.Time) (open []int) {
	for _, row := range g.rows {
		if end, closing := g.closed[row.Number]; !row.Opened.After(day) && (!closing || end.After(day)) {
			open = append(open, row.Number)
		}
	}
	return open
}

// TestOpenGroups plays months of enrolment, few people a day, then very many: the groups
// that are open never change within a day, no group is much larger than what is asked for
// but those of a day that nobody foresaw, and a keeper that is down closes none.
func TestOpenGroups(t *testing.T) {
	w := newWorld(0)
	w.closed = map[int]time.Time{}
	k := w.keeper()
	day := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	k.Now = func() time.Time { return day }
	work := func(hour int) {
		t.Helper()
		k.Now = func() time.Time { return day.Add(time.Duration(hour) * time.Hour) }
		if err := k.OpenGroups(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	work(9)
	if len(w.open(day)) != 32 {
		t.Fatalf("%d groups are open at once", len(w.open(day)))
	}
	enrol := func(people int) {
		open := w.open(day)
		for i := range people {
			w.rows[open[i%len(open)]-1].Records++
		}
	}
	largest := func(from int) (most int64) {
		for _, row := range w.rows[from:] {
			most = max(most, row.Records)
		}
		return most
	}
	play := func(days, people int, down bool) {
		t.Helper()
		for range days {
			today := w.open(day)
			for hour := range 24 {
				if enrol(people / 24); !down {
					work(hour)
				}
			}
			if !slices.Equal(today, w.open(day)) {
				t.Fatalf("other groups are open on %s than when it began", day.Format(time.DateOnly))
			}
			day = day.AddDate(0, 0, 1)
		}
	}
	play(60, 2400, false)
	if n := largest(0); n > 2*keep.GroupSize || len(w.rows) < 400 || len(w.open(day)) != 32 {
		t.Errorf("the largest of %d groups has %d records, %d are open", len(w.rows), n, len(w.open(day)))
	}
	before := w.open(day)
	play(3, 2400, true)
	if !slices.Equal(before, w.open(day)) {
		t.Error("groups closed or opened while the keeper was down")
	}
	play(1, 240_000, false)
	wave := len(w.rows)
	play(10, 240_000, false)
	if n := largest(wave); n > 3*keep.GroupSize {
		t.Errorf("a group opened after the first day of the wave has %d records", n)
	}
}

// The first groups are open at once only if nobody is enrolled: else one's group would
// tell whether one came before them on that day. And none is decided at the last moment.
func TestOpenGroupsWhenItBegins(t *testing.T) {
	today := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		people, broken bool
		at             time.Duration
		today, after   int
	}{
		"nobody is enrolled":            {false, false, 9 * time.Hour, 32, 32},
		"nobody, just before midnight":  {false, false, 24*time.Hour - time.Second, 32, 32},
		"people are":                    {true, false, 9 * time.Hour, 0, 32},
		"people, just before midnight":  {true, false, 24*time.Hour - time.Second, 0, 0},
		"the key service makes no keys": {false, true, 9 * time.Hour, 0, 0},
	} {
		w := newWorld(0)
		w.people, w.broken, w.closed = c.people, c.broken, map[int]time.Time{}
		k := w.keeper()
		k.Now = func() time.Time { return today.Add(c.at) }
		for range 2 { // the second time it changes nothing
			if err := k.OpenGroups(t.Context()); (err != nil) != c.broken {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n, then := len(w.open(today)), len(w.open(today.AddDate(0, 0, 1))); n != c.today || then != c.after {
			t.Errorf("%s: %d groups are open, and %d tomorrow", name, n, then)
		}
	}
}

// What was decided for tomorrow, and is there only when that has begun, is not done: who came
// first on that day would be told from who came later.
func TestOpenGroupsAcrossMidnight(t *testing.T) {
	w, now := newWorld(0), time.Date(2026, 11, 21, 23, 45, 0, 0, time.UTC)
	w.people, w.closed = true, map[int]time.Time{}
	w.rows = []keep.Group{{Number: 1, Opened: now.AddDate(0, 0, -3).Truncate(24 * time.Hour), Records: keep.GroupSize}}
	w.slow = func() { now = now.Add(time.Minute) }
	k := w.keeper()
	k.Now = func() time.Time { return now }
	for _, want := range []int{1, 33} {
		if err := k.OpenGroups(t.Context()); err != nil || len(w.rows) != want || len(w.closed) != want/33 {
			t.Errorf("%d groups, %d of them closed: %v", len(w.rows), len(w.closed), err)
		}
		w.slow = nil
	}
}

// Records of a group that has no key any more are lost, and are told of.
func TestOpenableWithoutAKey(t *testing.T) {
	w := newWorld(0)
	w.oldest, w.newest = 0, 0
	below := func(_ context.Context, _, version int) (int64, error) { return int64(min(version, 3)), nil }
	if _, err := keep.Openable(t.Context(), w, w.Groups, below, 0); !errors.Is(err, keep.ErrUnopenable) {
		t.Error(err)
	}
	w.oldest, w.newest = 1, 1
	if _, err := keep.Openable(t.Context(), w, w.Groups, below, 0); err != nil {
		t.Error(err)
	}
}

func TestGroupOf(t *testing.T) {
	for text, want := range map[string]int{
		"vault:v1:AAAA": 0, "g17:vault:v1:AAAA": 17, "g999999999:x": 999999999, "g1:": 1,
		"g0:vault:v1:AAAA": 0, "g017:x": 0, "g-1:x": 0, "g1x:x": 0, "g1000000000:x": 0, " g1:x": 0, "G1:x": 0, "g١:x": 0, "": 0,
	} {
		group, wrapped := keep.GroupOf(text)
		if group != want || keep.InGroup(group, wrapped) != text {
			t.Errorf("%q is of group %d, and reads %q", text, group, keep.InGroup(group, wrapped))
		}
	}
}

// A rotation of everything is written down before it begins, and ended by whoever comes next.
func TestRotateEverything(t *testing.T) {
	w := newWorld(8)
	k := w.keeper()
	ctx, die := context.WithCancel(t.Context())
	k.Progress = func(r keep.Rotation, _ string) {
		if r.Records > 0 {
			die()
		}
	}
	k.Rotations = dies{w}
	if all, err := k.Rotate(ctx); err == nil || all.Groups != 0 || w.oldest != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	k.Progress = nil
	if all, err := k.Resume(t.Context()); err != nil || all != (keep.Rotated{Groups: 1, Records: 8}) || w.oldest != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err := k.Resume(t.Context()); err != nil || all != (keep.Rotated{}) || strings.Join(w.log, ", ") != "rotate to 2, retire below 2" {
		t.Errorf("%+v, %v, keys %q", all, err, w.log)
	}
}

// dies is a database whose client may be gone.
type dies struct{ *world }

func (d dies) Move(ctx context.Context, r keep.Rotation, from []keep.Half, to []string) (keep.Rotation, error) {
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	return d.world.Move(ctx, r, from, to)
}
