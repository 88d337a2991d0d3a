package robustness

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Holder is a person at a platform.
type Holder struct{ Person, Platform string }

// CaseAtEnd is a case as the database and the log have it at the end.
type CaseAtEnd struct {
	Warrant   string
	State     string
	Leaf      int64            // of the order
	Decisions map[string]int64 // by custodian, their leaves
	Decided   []int64          // leaves that say that a quorum was reached
	Released  []int64          // leaves that say that a package was made
}

// End is what is there when the faults are over.
type End struct {
	Enrolled map[string]int    // rows of each person who was ever mentioned: 0 or 1
	PenNames map[Holder]string // what they are called when they sign in again
	Cases    map[string]CaseAtEnd
	Kinds    []string                           // of the leaves of the log, by their index
	Root     func(size int64) ([32]byte, error) // of the log when it had that size
	Numbers  map[Act]int64                      // what rotations and resharings came to
	Quorum   int
	Erasing  time.Duration // how long an erasure may take that was promised
}

// Violation is a promise that was broken.
type Violation struct {
	Rule string `json:"rule"`
	Says string `json:"says"`
}

// rule is one thing that must hold: it says what does not, a line each.
type rule struct {
	name  string
	check func(h []Operation, end End, broken func(format string, args ...any))
}

var rules = []rule{
	{"who enrolled is there, once", peopleAreThere},
	{"one person has one pen name on a platform, for ever", penNamesStay},
	{"two people never have one pen name", penNamesDiffer},
	{"what was filed is there, at its place in the log", casesAreThere},
	{"one order is one case", ordersAreOneCase},
	{"what a custodian decided is there, once, and they decided it", decisionsAreThere},
	{"what was refused did nothing", refusedDidNothing},
	{"nothing is opened before the log says so for good", openedIsLogged},
	{"a case is released once", releasedOnce},
	{"what was stopped before it was released is never opened", stoppedStaysShut},
	{"who was erased is never opened afterwards", erasedStaysShut},
	{"the log only grows, and has one past", logOnlyGrows},
	{"keys and shares only move on", numbersOnlyGrow},
}

// Check compares what clients saw with what is there at the end. It finds nothing
// that neither shows: a fault that nobody saw and that left no trace.
func Check(h []Operation, end End) (found []Violation) {
	for _, r := range rules {
		r.check(h, end, func(format string, args ...any) {
			found = append(found, Violation{r.name, fmt.Sprintf(format, args...)})
		})
	}
	return found
}

// of returns the operations of an act with that outcome.
func of(h []Operation, act Act, outcomes ...Outcome) (found []Operation) {
	for _, op := range h {
		if op.Act == act && slices.Contains(outcomes, op.Outcome) {
			found = append(found, op)
		}
	}
	return found
}

func peopleAreThere(h []Operation, end End, broken func(string, ...any)) {
	left, came := map[string]time.Time{}, map[string]time.Time{} // when the last who may have been could have been
	for _, op := range h {
		at := op.Returned
		if op.Outcome == Unknown {
			at = forever // it may still come
		}
		switch {
		case op.Outcome == Refused:
		case op.Act == Erase:
			left[op.Person] = latest(left[op.Person], at)
		case op.Act == Enrol || op.Act == SignIn: // who signs in is enrolled
			came[op.Person] = latest(came[op.Person], at)
		}
	}
	for _, op := range h {
		rows := end.Enrolled[op.Person]
		switch {
		case op.Outcome != OK:
		case op.Act == Erase && rows > 0 && came[op.Person].Before(op.Invoked):
			broken("%s was erased at %s and is there", op.Person, clock(op.Returned))
		case (op.Act == Enrol || op.Act == SignIn) && rows == 0 && left[op.Person].Before(op.Invoked):
			broken("%s enrolled at %s and is not there", op.Person, clock(op.Returned))
		}
	}
	for person, rows := range end.Enrolled {
		if rows > 1 {
			broken("%s is there %d times", person, rows)
		}
		if rows > 0 && came[person].IsZero() {
			broken("%s was only ever refused, and is there", person)
		}
	}
}

var forever = time.Unix(1<<40, 0)

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func penNamesStay(h []Operation, end End, broken func(string, ...any)) {
	first := maps.Clone(end.PenNames)
	if first == nil {
		first = map[Holder]string{}
	}
	for _, op := range of(h, SignIn, OK) {
		who := Holder{op.Person, op.Platform}
		if name, known := first[who]; !known {
			first[who] = op.PenName
		} else if name != op.PenName {
			broken("%s on %s was %s at %s, and %s at another time", who.Person, who.Platform, op.PenName, clock(op.Returned), name)
		}
	}
}

func penNamesDiffer(h []Operation, end End, broken func(string, ...any)) {
	holders := map[string]Holder{}
	for who, name := range end.PenNames {
		if other, taken := holders[name]; taken {
			broken("%s is %v and %v", name, who, other)
		}
		holders[name] = who
	}
	for _, op := range of(h, SignIn, OK) {
		who := Holder{op.Person, op.Platform}
		if other, taken := holders[op.PenName]; taken && other != who {
			broken("%s is %v and %v", op.PenName, who, other)
		}
		holders[op.PenName] = who
	}
}

func casesAreThere(h []Operation, end End, broken func(string, ...any)) {
	for _, op := range of(h, File, OK) {
		c, ok := end.Cases[op.Case]
		switch {
		case !ok:
			broken("case %s of order %s was filed at %s and is not there", op.Case, op.Warrant, clock(op.Returned))
		case c.Leaf != op.Leaf:
			broken("case %s was entry %d of the log and is entry %d", op.Case, op.Leaf, c.Leaf)
		}
	}
	for id, c := range end.Cases {
		if kind := end.kind(c.Leaf); kind != "recorded" {
			broken("entry %d is %s and no order, as case %s says", c.Leaf, kind, id)
		}
	}
}

// kind is that of a leaf; empty if there is none at that index.
func (e End) kind(leaf int64) string {
	if leaf < 0 || leaf >= int64(len(e.Kinds)) {
		return ""
	}
	return e.Kinds[leaf]
}

func ordersAreOneCase(h []Operation, end End, broken func(string, ...any)) {
	cases := map[string]string{}
	see := func(warrant, id string) {
		if other, ok := cases[warrant]; ok && other != id {
			broken("order %s is case %s and case %s", warrant, other, id)
		}
		cases[warrant] = id
	}
	for _, op := range of(h, File, OK) {
		see(op.Warrant, op.Case)
	}
	leaves := map[int64]string{}
	for id, c := range end.Cases {
		see(c.Warrant, id)
		if other, ok := leaves[c.Leaf]; ok {
			broken("entry %d is of case %s and of case %s", c.Leaf, other, id)
		}
		leaves[c.Leaf] = id
	}
	recorded := 0
	for _, kind := range end.Kinds {
		if kind == "recorded" {
			recorded++
		}
	}
	if recorded != len(end.Cases) {
		broken("the log has %d orders, and there are %d cases", recorded, len(end.Cases))
	}
}

func decisionsAreThere(h []Operation, end End, broken func(string, ...any)) {
	type vote struct{ id, custodian string }
	asked := map[vote]bool{}
	for _, op := range of(h, Decide, OK, Unknown) {
		asked[vote{op.Case, op.Custodian}] = true
		if _, ok := end.Cases[op.Case].Decisions[op.Custodian]; !ok && op.Outcome == OK {
			broken("%s decided case %s at %s, and that is not there", op.Custodian, op.Case, clock(op.Returned))
		}
	}
	leaves := map[int64]bool{}
	for id, c := range end.Cases {
		for custodian, leaf := range c.Decisions {
			switch {
			case !asked[vote{id, custodian}]:
				broken("%s did not decide case %s, and it says so", custodian, id)
			case leaves[leaf], end.kind(leaf) != "decision":
				broken("entry %d is not the decision of %s in case %s alone", leaf, custodian, id)
			}
			leaves[leaf] = true
		}
	}
	if n := count(end.Kinds, "decision"); n != len(leaves) {
		broken("the log has %d decisions, and there are %d in the cases", n, len(leaves))
	}
}

func count(kinds []string, kind string) (n int) {
	for _, k := range kinds {
		if k == kind {
			n++
		}
	}
	return n
}

func refusedDidNothing(h []Operation, end End, broken func(string, ...any)) {
	perhaps := map[string]bool{}
	for _, op := range of(h, File, OK, Unknown) {
		perhaps[op.Warrant] = true
	}
	known := map[string]bool{}
	for _, op := range h {
		known[op.Warrant] = true
	}
	for id, c := range end.Cases {
		if known[c.Warrant] && !perhaps[c.Warrant] {
			broken("order %s was only ever refused, and is case %s", c.Warrant, id)
		}
	}
}

func openedIsLogged(h []Operation, end End, broken func(string, ...any)) {
	for _, op := range of(h, Open, OK) {
		c, ok := end.Cases[op.Case]
		if !ok || len(c.Released) == 0 || len(c.Decided) == 0 {
			broken("case %s was opened at %s, and no entry of the log says so", op.Case, clock(op.Returned))
			continue
		}
		if !(c.Leaf < c.Decided[0] && c.Decided[0] < c.Released[0]) || end.kind(c.Decided[0]) != "decided" || end.kind(c.Released[0]) != "released" {
			broken("case %s was opened, and its entries are %d, %d and %d", op.Case, c.Leaf, c.Decided[0], c.Released[0])
		}
		if n := len(decidedBefore(h, op.Case, op.Returned)); n < end.Quorum {
			broken("case %s was opened at %s, when %d custodians had decided", op.Case, clock(op.Returned), n)
		}
	}
}

// decidedBefore are the custodians who may have decided a case by then.
func decidedBefore(h []Operation, id string, at time.Time) map[string]bool {
	who := map[string]bool{}
	for _, op := range of(h, Decide, OK, Unknown) {
		if op.Case == id && op.Invoked.Before(at) {
			who[op.Custodian] = true
		}
	}
	return who
}

func releasedOnce(h []Operation, end End, broken func(string, ...any)) {
	released := 0
	for id, c := range end.Cases {
		released += len(c.Released)
		if len(c.Released) > 1 || len(c.Decided) > 1 {
			broken("case %s was decided %d times and released %d times", id, len(c.Decided), len(c.Released))
		}
	}
	if n := count(end.Kinds, "released"); n != released {
		broken("the log has %d releases, and there are %d in the cases", n, released)
	}
}

func stoppedStaysShut(h []Operation, end End, broken func(string, ...any)) {
	for _, stop := range of(h, Withdraw, OK) { // one that came too late was refused
		if c := end.Cases[stop.Case]; len(c.Released) > 0 || c.State != "withdrawn" {
			broken("case %s was stopped at %s, and is %s with %d releases", stop.Case, clock(stop.Returned), c.State, len(c.Released))
		}
		for _, op := range of(h, Open, OK) {
			if op.Case == stop.Case {
				broken("case %s was stopped at %s and opened at %s", stop.Case, clock(stop.Returned), clock(op.Returned))
			}
		}
	}
}

func erasedStaysShut(h []Operation, end End, broken func(string, ...any)) {
	filed := map[string]Operation{}
	for _, op := range of(h, File, OK) {
		filed[op.Case] = op
	}
	for _, gone := range of(h, Erase, OK) {
		for _, op := range of(h, Open, OK) {
			// What was filed before it was carried out may have been released before that.
			if f := filed[op.Case]; f.Person == gone.Person && f.Invoked.After(gone.Returned.Add(end.Erasing)) {
				broken("%s was erased at %s, and case %s was filed at %s and opened", gone.Person, clock(gone.Returned), op.Case, clock(f.Invoked))
			}
		}
	}
}

func logOnlyGrows(h []Operation, end End, broken func(string, ...any)) {
	looks := of(h, Look, OK)
	for _, op := range looks {
		switch root, err := end.Root(op.Checkpoint.Size); {
		case op.Checkpoint.Size > int64(len(end.Kinds)):
			broken("the log had %d entries at %s and has %d", op.Checkpoint.Size, clock(op.Returned), len(end.Kinds))
		case err != nil:
			broken("the log cannot be read back to %d entries: %v", op.Checkpoint.Size, err)
		case root != op.Checkpoint.Root:
			broken("the log of %d entries at %s is not the one of now", op.Checkpoint.Size, clock(op.Returned))
		}
	}
	slices.SortFunc(looks, func(a, b Operation) int { return a.Returned.Compare(b.Returned) })
	var largest Checkpoint // of those that had returned when this one began
	next := looks
	for _, op := range slices.SortedFunc(slices.Values(looks), func(a, b Operation) int { return a.Invoked.Compare(b.Invoked) }) {
		for len(next) > 0 && next[0].Returned.Before(op.Invoked) {
			if next[0].Checkpoint.Size > largest.Size {
				largest = next[0].Checkpoint
			}
			next = next[1:]
		}
		if op.Checkpoint.Size < largest.Size {
			broken("somebody saw %d entries at %s after another saw %d", op.Checkpoint.Size, clock(op.Returned), largest.Size)
		}
	}
}

func numbersOnlyGrow(h []Operation, end End, broken func(string, ...any)) {
	for _, act := range []Act{Rotate, Reshare} {
		seen := map[int64]Operation{}
		for _, op := range of(h, act, OK) {
			if op.Number == 0 { // it tells none
				continue
			}
			if op.Number > end.Numbers[act] {
				broken("%s came to %d at %s and is at %d", act, op.Number, clock(op.Returned), end.Numbers[act])
			}
			if other, twice := seen[op.Number]; twice {
				broken("%s came to %d at %s and at %s", act, op.Number, clock(other.Returned), clock(op.Returned))
			}
			seen[op.Number] = op
		}
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
