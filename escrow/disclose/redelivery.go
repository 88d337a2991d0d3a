package disclose

import (
	"context"
	"encoding/hex"

	"github.com/penname/penname/policy"
)

// stands says of each target of a redelivery whether the order that it repeats still stands
// for it: it waits, was authorised or was released there, and its use is not forbidden. The
// warrants name the same targets in the same order ([policy.Decide]).
func (r *Registrar) stands(ctx context.Context, w *policy.Warrant) ([]bool, error) {
	hash, err := hex.DecodeString(w.Earlier)
	if err != nil || len(hash) != 32 {
		return nil, ErrNotAsLogged
	}
	c, err := r.Cases.Earlier(ctx, [32]byte(hash))
	if err != nil {
		return nil, err
	}
	stands := make([]bool, len(w.Targets))
	for i, t := range c.Targets {
		if i < len(stands) && r.Now().Before(c.Expires) {
			stands[i] = t.State == TargetWaiting || t.State == TargetAuthorised || t.State == TargetReleased && t.Code == ""
		}
	}
	return stands, nil
}

// fileRepeated refuses those targets of a redelivery for which the order that it repeats does
// not stand, so that nobody decides a second time about what was declined or forbidden. It is
// ErrOrderOver if none is left.
func (r *Registrar) fileRepeated(ctx context.Context, d policy.Decision, targets []CaseTarget) error {
	stands, err := r.stands(ctx, d.Warrant)
	if err != nil {
		return err
	}
	left := 0
	for i := range targets {
		switch {
		case targets[i].State != TargetWaiting:
		case !stands[i]:
			targets[i] = CaseTarget{State: TargetRefused, Code: ErrOrderOver.Code}
			d.Targets[i] = policy.TargetDecision{Refusal: ErrOrderOver}
		default:
			left++
		}
	}
	if left == 0 {
		return ErrOrderOver
	}
	return nil
}

// brokenOff are those targets of a round of a redelivery for which the order that it repeats
// does not stand any more: nothing of them is released. It is ErrOrderOver if that is all.
func (r *Registrar) brokenOff(ctx context.Context, c Case, which []int) (left []int, over map[int]error, err error) {
	over = make(map[int]error)
	if policy.KindOf(c.Kind).As == "" {
		return which, over, nil
	}
	stands, err := r.stands(ctx, c.Warrant)
	if err != nil {
		return nil, nil, err
	}
	for _, i := range which {
		if stands[i] {
			left = append(left, i)
		} else {
			over[i] = ErrOrderOver
		}
	}
	if len(left) == 0 {
		return nil, nil, ErrOrderOver
	}
	return left, over, nil
}
