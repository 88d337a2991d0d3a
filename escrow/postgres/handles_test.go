package postgres

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/token"
)

// alike returns n pen names that begin with the same characters, more than are in a handle
// of the least length.
func alike(t *testing.T, n int) []token.Pseudonym {
	t.Helper()
	begin, names := random(9), make([]token.Pseudonym, n)
	for i := range names {
		var err error
		if names[i], err = token.NewPseudonym(slices.Concat(begin, []byte{byte(i)}, random(6))); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// A handle is the shortest that nobody else has at that platform, and for ever the same.
func TestHandleIsTheShortestThatIsFree(t *testing.T) {
	s, ctx := issuing(t, database(t), Options{}), t.Context()
	names := alike(t, 3)
	reserve := func(platform string, name token.Pseudonym, n int) {
		t.Helper()
		if h, err := s.Reserve(ctx, platform, name, day); err != nil || h != name.Handle(n) {
			t.Errorf("%s at %s: %s, %v", name, platform, h, err)
		}
	}
	for range 2 {
		reserve("town-square", names[0], 10)
		reserve("town-square", names[1], 11)
		reserve("town-square", names[2], 12)
		reserve("school-forum", names[2], 10) // what is taken elsewhere is free here
	}
	asked := []issue.PenName{
		{Pseudonym: names[2], Platform: "town-square"}, {Pseudonym: pseudonym(t), Platform: "town-square"},
		{Pseudonym: names[2], Platform: "school-forum"}, {Pseudonym: names[0], Platform: "school-forum"},
	}
	got, err := s.Reserved(ctx, asked)
	if want := []token.Handle{names[2].Handle(12), "", names[2].Handle(10), ""}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, want %q: %v", got, want, err)
	}
}

// People whose pen names begin alike come at once, each several times, to two replicas:
// each gets one handle, and no two the same.
func TestHandlesOfManyAtOnce(t *testing.T) {
	admin := database(t)
	replicas := []*Issuing{issuing(t, admin, Options{}), issuing(t, admin, Options{})}
	names := alike(t, 6)
	var mu sync.Mutex
	got := map[token.Pseudonym]map[token.Handle]bool{}
	var wg sync.WaitGroup
	for n := range 48 {
		wg.Go(func() {
			name := names[n%len(names)]
			h, err := replicas[n%2].Reserve(t.Context(), "town-square", name, day)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || !name.Has(h) {
				t.Errorf("%s, %v", h, err)
			}
			if got[name] == nil {
				got[name] = map[token.Handle]bool{}
			}
			got[name][h] = true
		})
	}
	wg.Wait()
	lengths := map[int]bool{}
	for name, handles := range got {
		for h := range handles {
			lengths[len(h)] = true
		}
		if len(handles) != 1 {
			t.Errorf("%s has %v", name, handles)
		}
	}
	for n := range len(names) {
		if !lengths[token.MinHandle+1+n] {
			t.Errorf("nobody has a handle of %d characters, though it was free: %v", token.MinHandle+1+n, got)
		}
	}
	if rows := value[int](t, admin, `SELECT count(*) FROM handles`); rows != len(names) {
		t.Errorf("%d rows", rows)
	}
}

// A copy of the rows names no pen name, no handle and no platform, and has no value twice,
// also of one name at two platforms.
func TestRowsOfHandlesSayNothing(t *testing.T) {
	admin := database(t)
	s, ctx := issuing(t, admin, Options{}), t.Context()
	name := pseudonym(t)
	for _, platform := range []string{"town-square", "school-forum"} {
		if _, err := s.Reserve(ctx, platform, name, day); err != nil {
			t.Fatal(err)
		}
	}
	rows := value[[]string](t, admin, `SELECT array_agg(encode(v, 'escape') || ' ' || encode(v, 'hex')) FROM (SELECT place v FROM handles UNION ALL SELECT owner FROM handles) x`)
	if len(rows) != 4 || len(slices.Compact(slices.Sorted(slices.Values(rows)))) != 4 {
		t.Errorf("values: %q", rows)
	}
	for _, said := range []string{string(name)[4:14], string(name.Handle(10)), "town", "forum", fmt.Sprintf("%x", string(name)[4:14])} {
		if strings.Contains(strings.Join(rows, "\n"), said) {
			t.Errorf("%q is in a row", said)
		}
	}
}
