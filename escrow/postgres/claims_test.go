package postgres

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
)

// People renew and delete their claims at once, each in several browsers, at two replicas:
// every combination counts exactly those who have it in the end.
func TestClaimCountsAreThoseWhoHaveThem(t *testing.T) {
	admin, ctx := database(t), t.Context()
	replicas := []*Issuing{issuing(t, admin, Options{}), issuing(t, admin, Options{})}
	combinations := make([][]byte, 6)
	for i := range combinations {
		combinations[i] = random(32)
	}
	people := make([]issue.Person, 5)
	for i := range people {
		people[i] = enrolment().Person
	}
	until := time.Now().UTC().Truncate(24*time.Hour).AddDate(1, 0, 0)
	var has sync.Map // what sealed claims count in
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			s, dice := replicas[w%2], rand.New(rand.NewPCG(uint64(w), 20))
			for range 25 {
				p := people[dice.IntN(len(people))]
				was, err := s.Claims(ctx, p)
				if err != nil {
					t.Error(cause(err))
					return
				}
				taken := issue.Taken{Was: was, Until: until}
				if before, ok := has.Load(string(was)); ok {
					taken.Down = before.([][]byte)
				}
				if dice.IntN(3) > 0 {
					taken.Now = random(100)
					for _, at := range dice.Perm(len(combinations))[:3] {
						taken.Up = append(taken.Up, combinations[at])
					}
					has.Store(string(taken.Now), taken.Up)
				}
				if _, err := s.TakeClaims(ctx, p, taken); err != nil {
					t.Error(cause(err))
				}
			}
		})
	}
	wg.Wait()
	want := map[string]int64{}
	for _, p := range people {
		sealed, err := replicas[0].Claims(ctx, p)
		if err != nil {
			t.Fatal(cause(err))
		}
		if up, ok := has.Load(string(sealed)); ok && sealed != nil {
			for _, id := range up.([][]byte) {
				want[string(id)]++
			}
		}
	}
	for i, id := range combinations {
		if n, err := replicas[1].Sharing(ctx, id); err != nil || n != want[string(id)] {
			t.Errorf("combination %d: %d people, and %d have it: %v", i, n, want[string(id)], cause(err))
		}
	}
}

// A lost answer is asked again, and counts once; who comes too late is told so.
func TestClaimsAreTakenOnce(t *testing.T) {
	s, ctx := issuing(t, database(t), Options{}), t.Context()
	p, id := enrolment().Person, random(32)
	taken := issue.Taken{Now: random(100), Until: day.AddDate(20, 0, 0), Up: [][]byte{id}}
	for range 2 {
		if done, err := s.TakeClaims(ctx, p, taken); err != nil || !done {
			t.Fatal(done, cause(err))
		}
	}
	if n, err := s.Sharing(ctx, id); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if done, err := s.TakeClaims(ctx, p, issue.Taken{Was: random(100), Now: random(100), Until: taken.Until}); err != nil || done {
		t.Errorf("claims that are not there were replaced: %v %v", done, err)
	}
	gone := issue.Taken{Was: taken.Now, Down: taken.Up}
	for range 2 {
		if done, err := s.TakeClaims(ctx, p, gone); err != nil || !done {
			t.Fatal(done, cause(err))
		}
	}
	if n, err := s.Sharing(ctx, id); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	// They are forgotten when they end.
	if done, err := s.TakeClaims(ctx, p, taken); err != nil || !done {
		t.Fatal(done, cause(err))
	}
	for _, c := range []struct {
		now  time.Time
		want int64
	}{{taken.Until, 1}, {taken.Until.AddDate(0, 0, 1), 0}} {
		if err := s.DeleteExpired(ctx, c.now); err != nil {
			t.Fatal(cause(err))
		}
		if n, err := s.Sharing(ctx, id); n != c.want || err != nil {
			t.Errorf("at %s: %d, %v", c.now, n, err)
		}
	}
}
