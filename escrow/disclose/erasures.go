package disclose

import (
	"context"
	"slices"
)

// How many cases that hold records are read at a time, and how many requests.
const (
	holdersAtOnce = 50
	pendingAtOnce = 1000
)

// Clear looks at every request to be deleted and clears those that no case
// stands against: no preservation order that has not expired, and no production
// case that is open. It returns how many it cleared. What is cleared is erased by
// package keep, unless another case was recorded meanwhile: then it is looked
// at again.
//
// A request that is held is left as it is, without a trace: nobody is tipped off.
// It is looked at again at every call, and so carried out when the last hold
// ends. A link that does not open holds everything: in doubt nothing is erased.
func (r *Registrar) Clear(ctx context.Context) (cleared int, err error) {
	page, err := r.Erasures.Pending(ctx, "", pendingAtOnce)
	if err != nil || len(page) == 0 {
		return 0, err
	}
	// First: a case that comes from now on is looked at, and not counted.
	newest, err := r.Erasures.Newest(ctx)
	if err != nil {
		return 0, err
	}
	held, err := r.held(ctx)
	for err == nil && len(page) > 0 {
		last := page[len(page)-1]
		if free := slices.DeleteFunc(page, func(label string) bool { return held[label] }); len(free) > 0 {
			if err := r.Erasures.Clear(ctx, free, newest); err != nil {
				return cleared, err
			}
			cleared += len(free)
		}
		page, err = r.Erasures.Pending(ctx, last, pendingAtOnce)
	}
	return cleared, err
}

// held returns the labels of all records that a case holds now.
func (r *Registrar) held(ctx context.Context) (map[string]bool, error) {
	held := make(map[string]bool)
	for after := int64(-1); ; {
		cases, err := r.Erasures.Holding(ctx, r.Now(), after, holdersAtOnce)
		if err != nil || len(cases) == 0 {
			return held, err
		}
		var targets []Target
		for _, c := range cases {
			of, err := c.targets(c.whose(func(t CaseTarget) bool { return t.holds() || c.State == Lost && t.Code == ErrLost.Code }))
			if err != nil {
				return nil, err
			}
			targets = append(targets, of...)
		}
		links, err := r.openLinks(ctx, targets, nil)
		if err != nil {
			return nil, err
		}
		for _, l := range links {
			if l.Err != nil {
				return nil, l.Err
			}
			held[l.Value.label] = true
		}
		after = cases[len(cases)-1].RecordedLeaf
	}
}
