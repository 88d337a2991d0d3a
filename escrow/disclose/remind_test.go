package disclose

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// A party is reminded of what came and of a time limit that is near, of everything at once,
// and six times a day at most; while a reminder waits, there is no other.
func TestReminders(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	hours := func(n float64) time.Time { return at.Add(time.Duration(n * float64(time.Hour))) }
	for name, c := range map[string]struct {
		waits  Waits
		before Reminded
		want   bool
	}{
		"nothing waits":                 {Waits{}, Reminded{}, false},
		"the first":                     {Waits{Newest: 4, Due: hours(200)}, Reminded{}, true},
		"the same":                      {Waits{Newest: 4, Begun: hours(-3), Due: hours(200)}, Reminded{Leaf: 4, At: hours(-2), Day: 1}, false},
		"another":                       {Waits{Newest: 5, Due: hours(200)}, Reminded{Leaf: 4, At: hours(-2), Day: 1}, true},
		"another, at once":              {Waits{Newest: 5, Due: hours(200)}, Reminded{Leaf: 4, At: hours(-0.2), Day: 1}, false},
		"another, not sent yet":         {Waits{Newest: 5, Due: hours(200)}, Reminded{Leaf: 4, At: hours(-2), Waiting: true, Day: 1}, false},
		"another, of many":              {Waits{Newest: 5, Due: hours(200)}, Reminded{Leaf: 4, At: hours(-2), Day: 6}, false},
		"an older one begins":           {Waits{Newest: 4, Begun: hours(-1), Due: hours(200)}, Reminded{Leaf: 9, At: hours(-2), Day: 1}, true},
		"a day is left":                 {Waits{Newest: 4, Due: hours(24)}, Reminded{Leaf: 4, At: hours(-2), Day: 1}, true},
		"a day is left, said":           {Waits{Newest: 4, Due: hours(20)}, Reminded{Leaf: 4, At: hours(-2), Day: 1}, false},
		"two hours are left":            {Waits{Newest: 4, Due: hours(2)}, Reminded{Leaf: 4, At: hours(-5), Day: 2}, true},
		"two hours are left, said":      {Waits{Newest: 4, Due: hours(1.5)}, Reminded{Leaf: 4, At: hours(-0.4), Day: 2}, false},
		"no time limit, said":           {Waits{Newest: 4}, Reminded{Leaf: 4, At: hours(-300)}, false},
		"eight hours, at the beginning": {Waits{Newest: 4, Begun: at, Due: hours(8)}, Reminded{Leaf: 3, At: hours(-1), Day: 1}, true},
	} {
		if got := c.waits.due(c.before, at); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// One party whose cases cannot be read keeps no other from being reminded.
func TestRemindersGoOn(t *testing.T) {
	broken := errors.New("broken")
	var put []string
	r := Reminders{Parties: []Party{{RoleCustodian, "alba"}, {RoleAuthority, "county-court"}, {RoleRequester, "police"}}, Now: time.Now,
		Waits: func(_ context.Context, p Party, _ time.Time) (Waits, Reminded, error) {
			if p.ID == "alba" {
				return Waits{}, Reminded{}, broken
			}
			return Waits{Newest: 3}, Reminded{}, nil
		},
		Put: func(_ context.Context, p Party, leaf int64, _ time.Time) error {
			if leaf != 3 {
				t.Errorf("up to %d", leaf)
			}
			put = append(put, p.String())
			return nil
		}}
	if err := r.Work(t.Context()); !errors.Is(err, broken) || !slices.Equal(put, []string{"authority/county-court", "requester/police"}) {
		t.Errorf("%v, %v", err, put)
	}
	for _, p := range r.Parties {
		if back, ok := ParseParty(p.String()); !ok || back != p {
			t.Errorf("%v", back)
		}
	}
	for _, bad := range []string{"", "custodian", "custodian/"} {
		if _, ok := ParseParty(bad); ok {
			t.Errorf("%q is a party", bad)
		}
	}
}
