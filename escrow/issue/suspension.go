package issue

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// A court can have a pen name suspended at a platform, which opens nothing: nobody signs in
// there by it until the order has run out or was taken back. The disclosing side, which this
// side does not call, leaves a row for each when it is authorised; this side reads them:
//
//	sign-in    a page says so, and the platform hears access_denied
//	Confirm    once more when the grant is stored, so that a sign-in that was under way
//	           either finds the order or is found by the next
//	Suspend    a job: what is signed in there ends, and the platform is told, once
//
// So it holds for the pen name that the order names, at the platform that it names, and
// nothing is written about any other: whose other pen names there are nobody looks for. The
// person learns at once that it is so, and by which court and until when once the notice of
// the case is served, on which the disclosing side decides.

// ErrSuspended is of a sign-in that was under way.
var ErrSuspended = refusal.New(refusal.Denied, "persona.suspended",
	"a court has suspended this pen name at this platform: nobody was signed in, and your other pen names stay as they are; your own page says more")

// Suspension is an order by which nobody signs in by a pen name at a platform.
type Suspension struct {
	Name     token.Pseudonym `json:"-"`
	Platform string          `json:"platform"`         // its id: not the sector
	Notice   *Notice         `json:"notice,omitempty"` // set by Suspensions of an [Issuer]; nil: the person may not be told yet by whom, and until when

	Leaf    int64     `json:"-"` // of the recorded warrant in the public log
	InForce int64     `json:"-"` // and of what put it in force
	Day     time.Time `json:"-"` // UTC, of that
}

// suspendedToldFor is how long after it came into force a platform is told of a suspension
// by a process that begins: later, whether it was told is forgotten.
const suspendedToldFor = 7

// Suspensions adds to pen names by which orders they are suspended, and what their person
// may be told of each.
func (s *Issuer) Suspensions(ctx context.Context, names []PenName) error {
	all, err := s.Store.Suspensions(ctx, s.Now(), Pseudonyms(names)...)
	if err != nil {
		return err
	}
	return s.addSuspensions(ctx, names, all)
}

func (s *Issuer) addSuspensions(ctx context.Context, names []PenName, all []Suspension) error {
	if len(all) == 0 {
		return nil
	}
	notices, err := s.Store.Notices(ctx, Pseudonyms(names))
	for _, one := range all {
		at := slices.IndexFunc(notices, func(n Notice) bool {
			return n.Leaf == one.Leaf && n.Pseudonym == one.Name && n.Platform == one.Platform
		})
		if at >= 0 {
			one.Notice = &notices[at]
		}
		for i := range names {
			if names[i].Pseudonym == one.Name {
				names[i].Suspended = append(names[i].Suspended, one)
			}
		}
	}
	return err
}

// At are the orders by which the pen name is suspended at one platform.
func (n PenName) At(platform string) (orders []Suspension) {
	for _, one := range n.Suspended {
		if one.Platform == platform {
			orders = append(orders, one)
		}
	}
	return orders
}

// SuspendedAt is [ErrSuspended] for a pen name that is suspended at a platform.
func (s *Issuer) SuspendedAt(ctx context.Context, name token.Pseudonym, platform string) error {
	all, err := s.Store.Suspensions(ctx, s.Now(), name)
	if err != nil {
		return err
	}
	return suspended(all, platform)
}

// suspended is [ErrSuspended] if one of the orders about a pen name is for that platform.
func suspended(all []Suspension, platform string) error {
	if slices.ContainsFunc(all, func(one Suspension) bool { return one.Platform == platform }) {
		return ErrSuspended
	}
	return nil
}

// Suspend carries out what came into force by a leaf behind after: end is called for each
// order, with whether its platform is still to be told. One that fails holds up no other. It
// returns the last leaf up to which all is done, and why the others are not. Twice does no harm: each process that serves people begins at the beginning, 0.
func (s *Issuer) Suspend(ctx context.Context, after int64, end func(ctx context.Context, one Suspension, tell bool) error) (int64, error) {
	now := s.Now()
	all, err := s.Store.SuspendedAfter(ctx, now, after)
	if err != nil {
		return after, err
	}
	for _, one := range all {
		failed := end(ctx, one, one.Day.AddDate(0, 0, suspendedToldFor).After(now))
		switch {
		case err == nil && failed != nil:
			after = one.InForce - 1 // from there again: twice does no harm
		case err == nil:
			after = one.InForce
		}
		err = errors.Join(err, failed)
	}
	return after, err
}
