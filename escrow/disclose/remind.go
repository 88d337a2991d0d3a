package disclose

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Role is what a party of the bundle is reminded of.
type Role string

// The roles that are reminded, each by itself.
const (
	RoleCustodian Role = "custodian" // cases that they did not decide
	RoleAuthority Role = "authority" // emergencies of theirs that nobody validated, objections
	RoleAsked     Role = "asked"     // questions of custodians to an authority
	RoleRequester Role = "requester" // releases that can be opened
)

// Roles are those by which whoever has one of them is reminded.
func (r Role) Roles() []Role {
	if r == RoleAuthority {
		return []Role{RoleAuthority, RoleAsked}
	}
	return []Role{r}
}

// Party is whom a reminder is to: a role, and an id of the bundle; of a requester, that of
// the organisation.
type Party struct {
	Role Role
	ID   string
}

// String is "custodian/alba".
func (p Party) String() string { return string(p.Role) + "/" + p.ID }

// ParseParty is the inverse of String.
func ParseParty(text string) (Party, bool) {
	role, id, ok := strings.Cut(text, "/")
	return Party{Role(role), id}, ok && id != ""
}

// Waits is what waits for a party.
type Waits struct {
	Newest int64     // what came last, by a number that is higher for what comes later: its leaf, where it has one; 0: nothing waits
	Begun  time.Time // since when the last of them waits
	Due    time.Time // the first time limit that is not over; zero: there is none
}

// Reminded is how a party was reminded before.
type Reminded struct {
	Leaf    int64     // up to which
	At      time.Time // when last; zero: never
	Waiting bool      // the last reminder is still in the outbox: one is enough
	Day     int       // of the last 24 hours
}

// Bounds of reminders to one party.
const (
	remindersADay  = 6
	betweenThem    = 15 * time.Minute
	beforeLong     = 24 * time.Hour // before a time limit that is further away than a day
	beforeAnything = 2 * time.Hour
)

// due reports whether a party is to be reminded now: something came since, or a time limit is
// near and they were not reminded since it is.
func (w Waits) due(r Reminded, now time.Time) bool {
	if w.Newest == 0 || r.Waiting || r.Day >= remindersADay || now.Sub(r.At) < betweenThem {
		return false
	}
	near := false
	for _, before := range []time.Duration{beforeLong, beforeAnything} {
		from := w.Due.Add(-before)
		near = near || !w.Due.IsZero() && !now.Before(from) && r.At.Before(from)
	}
	return w.Newest > r.Leaf || w.Begun.After(r.At) || near
}

// Reminders puts reminders into the outbox. What waits is read from the cases each time, so
// that nothing is lost between them and the outbox. All fields are required.
type Reminders struct {
	Parties []Party // with an address
	// Waits returns what waits for a party at now, and how it was reminded before.
	Waits func(ctx context.Context, p Party, now time.Time) (Waits, Reminded, error)
	// Put puts a reminder up to that leaf into the outbox. Two for one leaf and hour are one.
	Put func(ctx context.Context, p Party, leaf int64, now time.Time) error
	Now func() time.Time
}

// Work reminds each party for whom something waits: of everything at once, a few times a day
// at most. One that fails does not keep the others from their turn.
func (r *Reminders) Work(ctx context.Context) (failed error) {
	for _, p := range r.Parties {
		now := r.Now()
		waits, before, err := r.Waits(ctx, p, now)
		if err == nil && waits.due(before, now) {
			err = r.Put(ctx, p, waits.Newest, now)
		}
		failed = errors.Join(failed, err)
	}
	return failed
}
