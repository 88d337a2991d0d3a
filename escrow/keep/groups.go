package keep

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// A group is the records that one key wraps, about GroupSize of them. An erasure
// rotates the key of its group, and costs what that many records cost, however many
// people there are.
//
// Which group a record is in tells a day, which stands beside it anyway, and nothing
// finer: the groups that are open are the same from midnight to midnight (UTC), and each
// enrolment takes one of them by chance. So they are decided on the day before.
//
// Group 0 is what was wrapped before there were groups, or while none was open.
const (
	GroupSize  = 256
	openGroups = 32               // at least: the more, the longer each is open
	lateToPlan = 10 * time.Minute // before midnight: what is decided then could come after it
)

// Group is one of the groups that are open on a day or on the next.
type Group struct {
	Number  int
	Opened  time.Time // the first day, UTC
	Closing bool      // this day is its last
	Records int64
}

// grouped is how a half names its group, in one spelling. Without a name it is of group 0.
var grouped = regexp.MustCompile(`^g([1-9][0-9]{0,8}):`)

// InGroup is a half, as the key service wrapped it, with the name of its group.
func InGroup(group int, wrapped string) string {
	if group == 0 {
		return wrapped
	}
	return "g" + strconv.Itoa(group) + ":" + wrapped
}

// GroupOf takes the name of its group off a half.
func GroupOf(half string) (group int, wrapped string) {
	name := grouped.FindStringSubmatch(half)
	if name == nil {
		return 0, half
	}
	group, _ = strconv.Atoi(name[1]) // nine digits
	return group, half[len(name[0]):]
}

// AnyOf returns one of the groups, by chance, or 0 if there is none.
func AnyOf(groups []int) (int, error) {
	if len(groups) == 0 {
		return 0, nil
	}
	n, err := rand.Int(rand.Reader, big.NewInt(int64(len(groups))))
	if err != nil {
		return 0, ErrUnavailable.Because(err)
	}
	return groups[n.Int64()], nil
}

// OpenGroups decides which groups are open from tomorrow on. Those that are full close,
// if they were open for a whole day by then; in the place of each come as many as it
// filled. If there was never a group and nobody is enrolled, the first are open at once.
//
// If it does not run, the groups that are open stay open: they only grow.
func (k *Keeper) OpenGroups(ctx context.Context) error {
	now := k.Now().UTC()
	today := now.Truncate(24 * time.Hour)
	tomorrow := today.AddDate(0, 0, 1)
	open, last, first, err := k.Rotations.OpenGroups(ctx, today)
	if err != nil || tomorrow.Sub(now) < lateToPlan && !first {
		return err
	}
	from := tomorrow
	if first {
		from = today
	}
	var full []int
	stay, planned, follow := 0, 0, 0
	for _, g := range open {
		switch {
		case g.Opened.After(today):
			planned++
		case !g.Closing && g.Records < GroupSize:
			stay++
		default:
			follow += int(g.Records / GroupSize)
			if !g.Closing {
				full = append(full, g.Number)
			}
		}
	}
	missing := max(0, max(openGroups-stay, follow)-planned)
	for n := range missing { // the key first: a group that is known has one
		if err := k.Keys.Open(ctx, last+1+n); err != nil {
			return err
		}
	}
	if !k.Now().UTC().Before(tomorrow) { // it took until then: the next hour decides anew
		return nil
	}
	if missing > 0 {
		if err := k.Rotations.AddGroups(ctx, last+1, last+missing, from); err != nil {
			return err
		}
	}
	return k.Rotations.CloseGroups(ctx, full, tomorrow)
}

// Rotated is what a rotation of everybody's records did.
type Rotated struct {
	Groups  int   `json:"groups"`
	Records int64 `json:"records"`
	Running int   `json:"running"` // groups that another process is moving at this moment
}

// Rotate moves all records, group after group, and destroys all older versions. It first
// writes down a rotation of each group, so that whoever comes next ends what was
// interrupted: another call of Resume, or Work. What another process moves at this
// moment is left to it.
func (k *Keeper) Rotate(ctx context.Context) (all Rotated, err error) {
	if err := Current(ctx, k.Keys, k.Past); err != nil {
		return all, err
	}
	for page := []int{0}; len(page) > 0; {
		for _, group := range page {
			_, newest, err := k.Keys.Versions(ctx, group)
			if err != nil {
				return all, err
			}
			_, release, err := k.Rotations.Begin(ctx, group, newest+1)
			if err != nil {
				return all, err
			}
			release()
		}
		if page, err = k.Rotations.Groups(ctx, page[len(page)-1], groupsAtOnce); err != nil {
			return all, err
		}
	}
	return k.Resume(ctx)
}

// Resume ends the rotations that are written down.
func (k *Keeper) Resume(ctx context.Context) (Rotated, error) {
	under, err := k.Rotations.Under(ctx)
	if err != nil {
		return Rotated{}, err
	}
	return k.rotateGroups(ctx, under)
}

// groupsAtOnce is how many groups are read, or looked at, at a time.
const groupsAtOnce = 256

// Openable fails with [ErrUnopenable] if records are under versions of the keys that no
// longer exist, or under keys that do not. It looks at so many groups as one call may cost, those behind after, and
// returns the last of them; 0 when it is through. below is how many records of a group are under
// a version below one.
func Openable(ctx context.Context, keys Versions, groups func(ctx context.Context, after, n int) ([]int, error), below func(ctx context.Context, group, version int) (int64, error), after int) (last int, err error) {
	page, err := groups(ctx, after, groupsAtOnce)
	if err != nil {
		return after, err
	}
	if len(page) == groupsAtOnce {
		last = page[len(page)-1]
	}
	if after == 0 {
		page = slices.Insert(page, 0, 0)
	}
	lost := int64(0)
	for _, group := range page {
		oldest, newest, err := keys.Versions(ctx, group)
		if err != nil {
			return after, err
		}
		if newest == 0 { // it has no key
			oldest = math.MaxInt32
		}
		n := int64(0)
		if oldest > 1 {
			n, err = below(ctx, group, oldest)
		}
		if err != nil {
			return after, err
		}
		lost += n
	}
	if lost > 0 {
		return last, ErrUnopenable.Because(fmt.Errorf("%d records are below the oldest version of their key, or have none", lost))
	}
	return last, nil
}
