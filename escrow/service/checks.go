package service

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/translog"
)

// refuseOlderLog publishes once before the service serves. If no quorum cosigns
// because witnesses have seen a larger log, or another one, the database is an
// older backup or a forgery: the start is refused, and nothing acknowledged is
// denied. Witnesses that are merely down refuse nothing: without them nothing
// opens.
func (s *Service) refuseOlderLog(ctx context.Context) error {
	var mu sync.Mutex
	var alarm error
	tell := s.publisher.OnWitness
	s.publisher.OnWitness = func(witness string, err error) {
		if errors.Is(err, translog.ErrRollback) || errors.Is(err, translog.ErrFork) {
			mu.Lock()
			defer mu.Unlock()
			alarm = err
		}
		tell(witness, err)
	}
	defer func() { s.publisher.OnWitness = tell }()
	_, err := s.publisher.Publish(ctx)
	switch {
	case errors.Is(err, translog.ErrRollback) || errors.Is(err, translog.ErrFork):
		return err
	case err != nil:
		return alarm // nil if they are down
	}
	return nil
}

// refuseOlderKeys refuses to start with a key service that was taken back behind
// what the database saw, as a restored snapshot is.
func (p *Parts) refuseOlderKeys(ctx context.Context) error {
	var err error
	if i := p.Issuing; i != nil {
		err = keep.Current(ctx, i.Keys, i.Store)
	}
	if d := p.Disclosing; d != nil && err == nil {
		err = keep.Current(ctx, d.Keys, d.Store)
	}
	if k := p.Keeping; k != nil && err == nil {
		err = keep.Current(ctx, k.Keys, k.Store)
	}
	return err
}

// rollbackCheckedKeys hands out no first half that a key service opened which
// was taken back while the service ran. It asks afterwards: what was asked
// before could be taken back in between.
type rollbackCheckedKeys struct {
	disclose.Keys
	versions keep.Versions
	past     keep.Past
}

// UnwrapHalves implements disclose.Keys.
func (k rollbackCheckedKeys) UnwrapHalves(ctx context.Context, wrapped []disclose.Wrapped) ([][]byte, error) {
	halves, err := k.Keys.UnwrapHalves(ctx, wrapped)
	if errors.Is(err, keep.ErrUnavailable) {
		return nil, err // it opened none, and would not say this either
	}
	used := make(map[int]bool)
	for _, w := range wrapped {
		group, _ := keep.GroupOf(w.Text)
		used[group] = true
	}
	older := keep.Current(ctx, k.versions, k.past, slices.Collect(maps.Keys(used))...)
	if older == nil || err != nil && !errors.Is(older, keep.ErrRollback) {
		return halves, err
	}
	for _, half := range halves {
		clear(half)
	}
	return nil, older
}

// groupedKeys wraps each first half with the key of one of the groups that are open, by
// chance. So its group tells nothing but the day.
type groupedKeys struct {
	issue.Keys
	of  *Issuing
	now func() time.Time
}

// WrapHalf implements issue.Keys.
func (k groupedKeys) WrapHalf(ctx context.Context, label string, k1 []byte) (string, error) {
	open, err := k.of.Store.OpenGroups(ctx, k.now())
	if err != nil {
		return "", err
	}
	group, err := keep.AnyOf(open)
	if err != nil {
		return "", err
	}
	return k.of.Keys.WrapHalfIn(ctx, group, label, k1)
}
