package robustness

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Holder is a person at a platform.
type Holder struct{ Person, Platform string }

// Vote is what a custodian decides once: when their share moved, they answer again.
type Vote struct{ Custodian, Rules string }

// MarshalText implements encoding.TextMarshaler.
func (v Vote) MarshalText() ([]byte, error) { return []byte(v.Custodian + " under " + v.Rules), nil }

// CaseAtEnd is a case as the database and the log have it at the end.
type CaseAtEnd struct {
	Warrant   string
	State     string
	Leaf      int64            // of the order
	Decisions map[Vote]int64   // their leaves
	Decided   []int64          // leaves that say that a quorum was reached
	Released  []int64          // leaves that say that a package was made
	Opened    map[string]int64 // records that a package opens, with the leaf that released it
	Objected  []int64          // leaves that say that somebody objected, on which no court ruled; -1: not logged yet
}

// ErasedAtEnd is a request to be erased.
type ErasedAtEnd struct {
	Leaf       int64  // that says it was carried out; -1: it was not, yet
	Commitment string // in that leaf
}

// End is what is there when the faults are over.
type End struct {
	Enrolled map[string]int    // rows of each person who was ever mentioned: 0 or 1
	PenNames map[Holder]string // what they are called when they sign in again
	Cases    map[string]CaseAtEnd
	Kinds    []string                           // of the leaves of the log, by their index
	Root     func(size int64) ([32]byte, error) // of the log when it had that size
	Erasures map[string]ErasedAtEnd             // by the label of the record
	Versions map[Act]map[int]int64              // what rotations (by group) and resharings came to
	Quorum   int
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
	{"nothing goes on after an objection before a court ruled on it", objectedStaysShut},
	{ErasuresAreKept, erasuresAreKept},
	{"what was erased is never opened afterwards, and nothing is erased that a case holds", erasedStaysShut},
	{"the log only grows, and has one past", logOnlyGrows},
	{"keys and shares only move on", versionsOnlyGrow},
}

// ErasuresAreKept is the rule that takes its time: the erasures are a job of every hour.
const ErasuresAreKept = "an erasure that was promised is carried out, or a case holds the record"

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
	type whose struct{ id, custodian string }
	asked, there := map[whose]int{}, map[whose]int{}
	leaves := map[int64]bool{}
	for id, c := range end.Cases {
		for vote, leaf := range c.Decisions {
			there[whose{id, vote.Custodian}]++
			if leaves[leaf] || end.kind(leaf) != "decision" {
				broken("entry %d is not the decision of %s in case %s alone", leaf, vote.Custodian, id)
			}
			leaves[leaf] = true
		}
	}
	for _, op := range of(h, Decide, OK, Unknown) {
		by := whose{op.Case, op.Custodian}
		asked[by]++
		if there[by] == 0 && op.Outcome == OK {
			broken("%s decided case %s at %s, and that is not there", op.Custodian, op.Case, clock(op.Returned))
		}
	}
	for by, n := range there {
		if n > asked[by] {
			broken("%s decided case %s %d times, and it says %d times", by.custodian, by.id, asked[by], n)
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

func objectedStaysShut(h []Operation, end End, broken func(string, ...any)) {
	for _, op := range of(h, Object, OK) {
		if len(end.Cases[op.Case].Objected) == 0 {
			broken("%s objected in case %s at %s, and that is not there", op.Person, op.Case, clock(op.Returned))
		}
	}
	logged := 0
	for id, c := range end.Cases {
		for _, objected := range c.Objected {
			if objected < 0 {
				continue
			}
			logged++
			if kind := end.kind(objected); kind != "objected" {
				broken("entry %d is %q and no objection, as case %s says", objected, kind, id)
			}
			for _, leaf := range slices.Concat(c.Decided, c.Released) {
				if leaf > objected {
					broken("somebody objected in case %s with entry %d, and it went on with entry %d", id, objected, leaf)
				}
			}
		}
	}
	if n := count(end.Kinds, "objected"); n < logged {
		broken("the log has %d objections, and there are %d in the cases", n, logged)
	}
}

// erasuresAreKept: who was told that their erasure will be complete has it in the log, as
// their receipt says, or a case about them is open.
func erasuresAreKept(h []Operation, end End, broken func(string, ...any)) {
	held := map[string]bool{}
	for _, op := range of(h, File, OK) {
		if state := end.Cases[op.Case].State; state == "recorded" || state == "authorised" || state == "released" {
			held[op.Person] = true
		}
	}
	for _, op := range of(h, Erase, OK) {
		switch e, ok := end.Erasures[op.Record]; {
		case !ok:
			broken("the erasure of %s was promised at %s, and is not there", op.Person, clock(op.Returned))
		case e.Leaf < 0 && !held[op.Person]:
			broken("the erasure of %s was promised at %s, no case holds the record, and it was not carried out", op.Person, clock(op.Returned))
		case e.Leaf >= 0 && e.Commitment != op.Receipt:
			broken("the receipt of %s is not of entry %d", op.Person, e.Leaf)
		}
	}
	carried := 0
	for _, e := range end.Erasures {
		if e.Leaf < 0 {
			continue
		}
		carried++
		if kind := end.kind(e.Leaf); kind != "erased" {
			broken("entry %d is %q and no erasure, as a record says", e.Leaf, kind)
		}
	}
	if n := count(end.Kinds, "erased"); n != carried {
		broken("the log has %d erasures, and %d records are erased", n, carried)
	}
}

// erasedStaysShut goes by the order of entries. A request holds up no case: a case that is
// recorded before it is carried out holds the record until its persons were told.
func erasedStaysShut(_ []Operation, end End, broken func(string, ...any)) {
	for id, c := range end.Cases {
		for label, released := range c.Opened {
			switch e, ok := end.Erasures[label]; {
			case !ok || e.Leaf < 0:
			case e.Leaf < released:
				broken("entry %d erased what case %s opened with entry %d", e.Leaf, id, released)
			case e.Leaf > c.Leaf && c.State == "released":
				broken("entry %d erased what case %s holds since entry %d", e.Leaf, id, c.Leaf)
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

// versionsOnlyGrow: what somebody was told that it came to is where it is or behind that,
// and what was begun afterwards came further.
func versionsOnlyGrow(h []Operation, end End, broken func(string, ...any)) {
	for _, act := range []Act{Rotate, Reshare} {
		done := of(h, act, OK)
		for i, op := range done {
			for group, version := range op.Versions {
				if now, ok := end.Versions[act][group]; ok && version > now { // else nothing is left of that group
					broken("%s of %d came to %d at %s and is at %d", act, group, version, clock(op.Returned), now)
				}
				for _, later := range done[i+1:] {
					if next, ok := later.Versions[group]; ok && later.Invoked.After(op.Returned) && next <= version {
						broken("%s of %d came to %d at %s and to %d at %s", act, group, version, clock(op.Returned), next, clock(later.Returned))
					}
				}
			}
		}
	}
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }
