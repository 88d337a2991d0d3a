package disclose

import (
	"context"

	"github.com/penname/penname/policy"
)

// opens reports whether the case is of a kind that opens names.
func (c *Case) opens() bool {
	w, err := policy.ParseUnverified(c.Submission.Warrant) // it was verified when filed
	return err == nil && w.Kind == policy.Production
}

// Clear looks at every wish to be deleted and clears those that no case stands
// against: no preservation order that has not expired, and no production case
// that is open. It returns how many it cleared. What is cleared is erased by
// package keep, unless another case was recorded meanwhile: then it is looked
// at again.
//
// A wish that is held is left as it is, without a trace: nobody is tipped off.
// It is looked at again at every call, and so carried out when the last hold
// ends. A link that does not open holds everything: in doubt nothing is erased.
func (r *Registrar) Clear(ctx context.Context) (cleared int, err error) {
	pending, err := r.Erasures.Pending(ctx)
	if err != nil || len(pending) == 0 {
		return 0, err
	}
	cases, newest, err := r.Erasures.Holding(ctx, r.Now())
	if err != nil {
		return 0, err
	}
	held := make(map[string]bool)
	for _, c := range cases {
		w, commitments, err := c.opened()
		if err != nil {
			return 0, err
		}
		for i, t := range w.Targets {
			_, _, label, err := r.openLink(ctx, t, commitments[i])
			if err != nil {
				return 0, err
			}
			held[label] = true
		}
	}
	var free []string
	for _, label := range pending {
		if !held[label] {
			free = append(free, label)
		}
	}
	if len(free) == 0 {
		return 0, nil
	}
	return len(free), r.Erasures.Clear(ctx, free, newest)
}
