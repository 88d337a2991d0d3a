package disclose_test

import (
	"slices"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/disclose/disclosetest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// What the list of an authority says is due is what the case itself says, at every step of
// its life.
func TestDueIsTheFirstDeadline(t *testing.T) {
	for _, kind := range []string{policy.Production, policy.Emergency, policy.Preservation, policy.Suspension, policy.Link} {
		c, leaf := disclosetest.Order(t, kind, 2, func(w *policy.Warrant) {
			if w.Deadline = policy.TenDays; kind == policy.Emergency {
				w.Deadline = policy.EightHours
			}
		})
		c.Expires = disclosetest.Day.AddDate(0, 0, 20)
		if kind == policy.Emergency {
			c.ValidateBy = disclosetest.Day.Add(48 * time.Hour)
		}
		m := new(disclosetest.Memory)
		if _, err := m.File(t.Context(), c, leaf); err != nil {
			t.Fatal(err)
		}
		steps := []func(disclose.Case) (disclose.Change, error){nil, disclosetest.Votes("bar", 0), disclosetest.Packs(0), disclosetest.Votes("bar", 1), disclosetest.Packs(1), disclosetest.Notify}
		if !policy.KindOf(kind).Decided {
			steps = steps[:1]
		} else if kind != policy.Production && kind != policy.Emergency {
			steps = steps[:2]
		}
		for n, step := range steps {
			if step != nil {
				if _, err := m.Apply(t.Context(), c.ID, step); err != nil {
					continue // of a custodian who decided about both at once
				}
			}
			now, err := m.Case(t.Context(), c.ID)
			if err != nil {
				t.Fatal(err)
			}
			all := slices.DeleteFunc(now.Deadlines(), func(d opening.Deadline) bool { return d.Met })
			due, in := now.Summary().Due()
			if in != (len(all) > 0) || in && (due.At != all[0].At || due.What != all[0].What) {
				t.Errorf("%s, step %d, %s: %v %v, not %v", kind, n, now.State, due, in, all)
			}
		}
	}
}

// Where the persons are told first nothing is secret, and custodians answer behind the days to
// object; before the persons were told nothing is due of them.
func TestDueWhereThePersonsAreToldFirst(t *testing.T) {
	day, from := disclosetest.Day, disclosetest.Day.AddDate(0, 0, 11)
	s := disclose.Summary{Kind: policy.Production, State: disclose.Recorded, Waiting: 1, ApproveFrom: day, SecrecyEnds: day, Expires: day.AddDate(0, 0, 30)}
	for name, x := range map[string]struct {
		asked disclose.Asked
		what  string
		at    time.Time
	}{
		"secret":   {disclose.Asked{}, opening.DeadlineSecrecy, day},
		"told":     {disclose.Asked{First: true, From: from}, opening.DeadlineAnswer, from.AddDate(0, 0, 10)},
		"not told": {disclose.Asked{First: true}, opening.DeadlineExpiry, s.Expires},
	} {
		if due, in := (disclose.Own{Summary: s, Asked: x.asked}).Due(); !in || due.What != x.what || !due.At.Equal(x.at) {
			t.Errorf("%s: %v %v", name, due, in)
		}
	}
}
