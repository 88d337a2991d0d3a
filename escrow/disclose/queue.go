package disclose

import (
	"fmt"
	"slices"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// Queue is what cases wait for. Each is in the order in which they are due, so
// that what cannot wait never stands behind what can.
type Queue int

// The queues.
const (
	ForCustodians Queue = iota // to be decided, now or when persons had their days: due when the warrant expires
	ForNotice                  // secrecy is over: due since then
	ForExpiry                  // the warrant has run out, or a hold is over: due since then
	ForTelling                 // persons are to be told before custodians decide, or objected: due when the warrant expires
	ForValidation              // nobody validated an emergency in time: due since then
)

// Queues are all of them.
var Queues = []Queue{ForCustodians, ForNotice, ForExpiry, ForTelling, ForValidation}

// Due reports whether a case is in the queue at now, and what puts it in its
// place there. What has no clock does not run out: it was carried out when it came.
func (q Queue) Due(c Case, now time.Time) (due time.Time, in bool) {
	kind := policy.KindOf(c.Kind)
	waits := c.count(TargetWaiting) > 0
	is := func(states ...State) bool { return slices.Contains(states, c.State) }
	switch q {
	case ForCustodians:
		return c.Expires, is(Recorded, Authorised, Released) && waits && kind.Decided && now.Before(c.Expires)
	case ForNotice:
		told := is(Authorised, Released, Lost) && c.count(TargetReleased) > 0 || is(Authorised) && suspends(kind)
		return c.SecrecyEnds, told && !now.Before(c.SecrecyEnds)
	case ForExpiry:
		return c.Expires, (is(Recorded, Authorised) && !c.suspended() || is(Released) && waits) && runsOut(kind) && !now.Before(c.Expires)
	case ForTelling:
		return c.Expires, c.toTell() && now.Before(c.Expires)
	case ForValidation:
		return c.ValidateBy, is(Recorded, Authorised, Released, Noticed) && c.LapsedLeaf == 0 && c.lapsed(now)
	}
	return time.Time{}, false
}

// suspends reports whether custodians decide on a kind to which no answer goes: it is in
// force while it is authorised, and the persons are told of it meanwhile.
func suspends(k policy.Kind) bool { return k.Decided && !k.Answered }

// suspended reports whether the case is or was in force as a suspension. It stays authorised,
// also when it has run out or was taken back, until the persons are told: that is its end.
func (c *Case) suspended() bool { return suspends(policy.KindOf(c.Kind)) && len(c.Rounds) > 0 }

// SuspendedUntil is when the suspension that is in force ends; zero: none is.
func (c *Case) SuspendedUntil() time.Time {
	if c.suspended() && c.count(TargetAuthorised) > 0 {
		return c.Expires
	}
	return time.Time{}
}

// runsOut reports whether time ends a case of that kind. What is about an earlier warrant
// took effect when it came.
func runsOut(k policy.Kind) bool { return k.Clock != policy.ClockNone && !k.Earlier }

// Holds reports whether a case keeps the records of its targets from erasure at
// now ([Erasures]).
func (c *Case) Holds(now time.Time) bool {
	switch c.State {
	case Recorded, Authorised, Lost:
		return now.Before(c.Expires) && !policy.KindOf(c.Kind).Earlier || c.State == Authorised && c.count(TargetReleased) > 0
	}
	return c.State == Released
}

// holds reports whether a case that holds records holds that of a target.
func (t CaseTarget) holds() bool {
	return t.State == TargetWaiting || t.State == TargetAuthorised || t.State == TargetReleased
}

// Summary is what a list says of a case: no target, and nothing that is large.
type Summary struct {
	ID                 string
	Kind               string // of the warrant
	State              State
	Quorum             int
	Approved, Declined int    // distinct custodians who agreed to some target, and to none, as leaves have opened it
	Untold             int    // and those whose decision no leaf has opened yet
	Targets            int    // of the warrant
	Waiting, Released  int    // of those
	Barred             string // [Case.Barred]
	Leaf               int64  // of the recorded warrant
	Bundle             string // hash of the bundle it was decided under
	SecrecyEnds        time.Time
	Expires            time.Time
	ValidateBy         time.Time
	Validated          bool
	Authority          string
	ApproveFrom        time.Time
	Warrant            [32]byte // policy.Hash
}

// Decided counts the custodians who decided, whether or not it is told how.
func (s Summary) Decided() int { return s.Approved + s.Declined + s.Untold }

// Summary returns the summary of a case.
func (c *Case) Summary() Summary {
	yes, no, untold := c.Votes()
	return Summary{
		ID: c.ID, Kind: c.Kind, State: c.State, Quorum: c.Quorum, Approved: yes, Declined: no, Untold: untold,
		Targets: len(c.Targets), Waiting: c.count(TargetWaiting), Released: c.count(TargetReleased), Barred: c.Barred(), Leaf: c.RecordedLeaf,
		Bundle: c.Bundle, SecrecyEnds: c.SecrecyEnds, Expires: c.Expires, ValidateBy: c.ValidateBy,
		Validated: c.ValidatedLeaf != 0, Authority: c.Authority, ApproveFrom: c.ApproveFrom,
		Warrant: c.WarrantHash,
	}
}

// Due is the first date of the case that is not met yet, and what happens then, as far as a
// summary tells; none of a case that has ended, or that took effect when it came.
func (s Summary) Due() (due opening.Deadline, in bool) {
	kind := policy.KindOf(s.Kind)
	is := func(states ...State) bool { return slices.Contains(states, s.State) }
	goesOn := is(Recorded, Authorised, Released)
	first := func(what string, at time.Time, is bool) {
		if at = at.UTC().Truncate(time.Second); is && (!in || at.Before(due.At)) {
			due, in = opening.Deadline{What: what, At: at}, true
		}
	}
	first(opening.DeadlineAnswer, s.answerBy(), goesOn && s.Waiting > 0 && kind.Decided)
	first(opening.DeadlineValidation, s.ValidateBy, (goesOn || is(Noticed)) && !s.ValidateBy.IsZero() && !s.Validated && s.Barred != "lapsed")
	ends := opening.DeadlineExpiry
	switch {
	case kind.Clock == policy.ClockHold:
		ends = opening.DeadlineHold
	case suspends(kind) && is(Authorised):
		ends = opening.DeadlineSuspension
	}
	first(ends, s.Expires, runsOut(kind) && (is(Recorded, Authorised) || is(Released) && s.Waiting > 0))
	first(opening.DeadlineSecrecy, s.SecrecyEnds, kind.Opens && !s.SecrecyEnds.IsZero() && (goesOn || is(Lost)))
	return due, in
}

// answerBy is when custodians are to have answered.
func (s Summary) answerBy() time.Time {
	within := answerWithin[policy.TenDays]
	if s.Kind == policy.Emergency { // since format 5 of the bundle it alone has the shorter one
		within = answerWithin[policy.EightHours]
	}
	return s.ApproveFrom.Add(within)
}

// AfterDue is the place behind a case in the order of what is due.
func AfterDue(s Summary) Cursor {
	due, _ := s.Due()
	return Cursor{due.At, s.Leaf}
}

// Cursor is a place in a queue: behind the case that is due then, with that
// recorded leaf. The zero Cursor is the beginning.
type Cursor struct {
	Due  time.Time
	Leaf int64
}

// After is the place behind a case.
func (q Queue) After(s Summary) Cursor {
	switch q {
	case ForNotice:
		return Cursor{s.SecrecyEnds, s.Leaf}
	case ForValidation:
		return Cursor{s.ValidateBy, s.Leaf}
	}
	return Cursor{s.Expires, s.Leaf}
}

// String is "1790000000.17": the second (Unix time) and the leaf; the beginning is
// empty.
func (c Cursor) String() string {
	if c == (Cursor{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d", c.Due.Unix(), c.Leaf)
}

// UnmarshalText accepts exactly what String returns, or is ErrCursor.
func (c *Cursor) UnmarshalText(text []byte) error {
	*c = Cursor{}
	if len(text) == 0 {
		return nil
	}
	var unix, leaf int64
	if _, err := fmt.Sscanf(string(text), "%d.%d", &unix, &leaf); err != nil || fmt.Sprintf("%d.%d", unix, leaf) != string(text) {
		return ErrCursor
	}
	*c = Cursor{time.Unix(unix, 0).UTC(), leaf}
	return nil
}
