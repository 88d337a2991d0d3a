package robustness

import (
	"crypto/sha256"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"
)

// run is a history without a fault, with its end: two people on two platforms, one
// case that is opened, one that is stopped, somebody who leaves and somebody of whom
// nothing is known.
type run struct {
	h   []Operation
	end End
}

var alba, bruno = Vote{"alba", "rules"}, Vote{"bruno", "rules"}

func root(size int64) ([32]byte, error) { return sha256.Sum256([]byte(strconv.Itoa(int(size)))), nil }

func faultless() run {
	at := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	var h []Operation
	add := func(op Operation) {
		op.Invoked, op.Returned = at, at.Add(100*time.Millisecond)
		if op.Outcome == "" {
			op.Outcome = OK
		}
		at = at.Add(time.Second)
		h = append(h, op)
	}
	look := func(size int64) Operation {
		r, _ := root(size)
		return Operation{Act: Look, Checkpoint: Checkpoint{size, r}}
	}
	add(Operation{Act: Enrol, Person: "jo"})                                                // 0
	add(Operation{Act: Enrol, Person: "kim", Outcome: Unknown})                             // 1
	add(Operation{Act: SignIn, Person: "jo", Platform: "town", PenName: "pen1a"})           // 2
	add(Operation{Act: SignIn, Person: "jo", Platform: "school", PenName: "pen1b"})         // 3
	add(Operation{Act: SignIn, Person: "troll", Platform: "town", PenName: "pen1c"})        // 4
	add(look(1))                                                                            // 5
	add(Operation{Act: File, Warrant: "w1", Outcome: Unknown, Person: "max"})               // 6
	add(Operation{Act: File, Warrant: "w1", Case: "c1", Leaf: 1, Person: "max"})            // 7
	add(Operation{Act: File, Warrant: "w2", Case: "c2", Leaf: 2, Person: "jo"})             // 8
	add(Operation{Act: File, Warrant: "w3", Outcome: Refused, Code: "warrant.unknown_key"}) // 9
	add(Operation{Act: Decide, Case: "c1", Custodian: "alba"})                              // 10
	add(Operation{Act: Decide, Case: "c1", Custodian: "bruno"})                             // 11
	add(Operation{Act: Decide, Case: "c2", Custodian: "alba", Outcome: Unknown})            // 12
	add(Operation{Act: Withdraw, Case: "c2", Warrant: "w2"})                                // 13
	add(Operation{Act: Open, Case: "c1"})                                                   // 14
	add(Operation{Act: Open, Case: "c2", Outcome: Refused, Code: "warrant.withdrawn"})      // 15
	add(Operation{Act: Erase, Person: "jo", Record: "record-jo", Receipt: "hash-jo"})       // 16
	add(Operation{Act: Rotate, Versions: map[int]int64{0: 2, 7: 5}})                        // 17
	add(look(6))                                                                            // 18
	add(Operation{Act: Erase, Person: "max", Record: "record-max", Receipt: "hash"})        // 19: a case holds it
	add(Operation{Act: File, Warrant: "w4", Case: "c4", Leaf: 9, Person: "troll"})          // 20
	add(Operation{Act: Object, Case: "c4", Person: "troll"})                                // 21
	return run{h, End{
		Enrolled: map[string]int{"troll": 1, "kim": 1},
		PenNames: map[Holder]string{{"troll", "town"}: "pen1c"},
		Cases: map[string]CaseAtEnd{
			"c1": {Warrant: "w1", State: "released", Leaf: 1, Decisions: map[Vote]int64{alba: 3, bruno: 4}, Decided: []int64{5}, Released: []int64{6}, Opened: map[string]int64{"record-max": 6}},
			"c2": {Warrant: "w2", State: "withdrawn", Leaf: 2, Decisions: map[Vote]int64{alba: 7}},
			"c4": {Warrant: "w4", State: "recorded", Leaf: 9, Objected: []int64{10}},
		},
		Kinds:    []string{"bundle", "recorded", "recorded", "decision", "decision", "decided", "released", "decision", "erased", "recorded", "objected"},
		Root:     root,
		Erasures: map[string]ErasedAtEnd{"record-jo": {8, "hash-jo"}, "record-max": {-1, ""}},
		Versions: map[Act]map[int]int64{Rotate: {0: 2, 7: 5}},
		Quorum:   2,
	}}
}

// TestCheckFindsEveryViolation breaks the end, or what a client saw, once for each way
// in which a promise can be broken: the rule that names it finds it, and without a
// fault none finds anything.
func TestCheckFindsEveryViolation(t *testing.T) {
	if found := Check(faultless().h, faultless().end); len(found) > 0 {
		t.Fatalf("control: %v", found)
	}
	change := func(r *run, id string, f func(*CaseAtEnd)) {
		c := r.end.Cases[id]
		c.Decisions = maps.Clone(c.Decisions)
		f(&c)
		r.end.Cases[id] = c
	}
	tested := map[string]bool{}
	for name, c := range map[string]struct {
		rule   string
		breaks func(*run)
	}{
		"a person is lost":          {peopleRule, func(r *run) { delete(r.end.Enrolled, "troll") }},
		"a person is there twice":   {peopleRule, func(r *run) { r.end.Enrolled["kim"] = 2 }},
		"an erased person is back":  {peopleRule, func(r *run) { r.end.Enrolled["jo"] = 1 }},
		"a refused person is there": {peopleRule, func(r *run) { r.h[1].Outcome = Refused }},
		"who came back is lost":     {peopleRule, func(r *run) { r.h = append(r.h, r.after(Operation{Act: Enrol, Person: "jo"})) }},
		"a pen name changed":        {"one person has one pen name on a platform, for ever", func(r *run) { r.h[4].PenName = "pen1d" }},
		"it changed between two sign-ins": {"one person has one pen name on a platform, for ever", func(r *run) {
			r.h = append(r.h, r.after(Operation{Act: SignIn, Person: "jo", Platform: "town", PenName: "pen1z"}))
			r.end.Enrolled["jo"] = 1
		}},
		"two people share a pen name":        {"two people never have one pen name", func(r *run) { r.h[2].PenName = "pen1c" }},
		"one person has it on two platforms": {"two people never have one pen name", func(r *run) { r.h[3].PenName = "pen1a" }},
		"a case is lost":                     {"what was filed is there, at its place in the log", func(r *run) { delete(r.end.Cases, "c2") }},
		"a case is at another entry":         {"what was filed is there, at its place in the log", func(r *run) { r.h[7].Leaf = 2 }},
		"an entry is of another kind":        {"what was filed is there, at its place in the log", func(r *run) { r.end.Kinds[2] = "decision" }},
		"an order is two cases": {"one order is one case", func(r *run) {
			r.end.Cases["c3"] = CaseAtEnd{Warrant: "w1", State: "recorded", Leaf: 11}
			r.end.Kinds = append(r.end.Kinds, "recorded")
		}},
		"an order was answered with two cases": {"one order is one case", func(r *run) { r.h[6].Outcome, r.h[6].Case = OK, "c9" }},
		"an entry of no case":                  {"one order is one case", func(r *run) { r.end.Kinds = append(r.end.Kinds, "recorded") }},
		"a decision is lost":                   {decisionRule, func(r *run) { change(r, "c1", func(c *CaseAtEnd) { delete(c.Decisions, bruno) }) }},
		"a decision nobody made":               {decisionRule, func(r *run) { change(r, "c2", func(c *CaseAtEnd) { c.Decisions[Vote{Custodian: "chidi"}] = 7 }) }},
		"decided twice, under other rules": {decisionRule, func(r *run) {
			change(r, "c2", func(c *CaseAtEnd) { c.Decisions[Vote{"alba", "newer"}] = 11 })
			r.end.Kinds = append(r.end.Kinds, "decision")
		}},
		"a refused decision is there": {decisionRule, func(r *run) { r.h[12].Outcome = Refused }},
		"a decision is there twice":   {decisionRule, func(r *run) { r.end.Kinds = append(r.end.Kinds, "decision") }},
		"a refused order is a case": {"what was refused did nothing", func(r *run) {
			r.end.Cases["c3"] = CaseAtEnd{Warrant: "w3", State: "recorded", Leaf: 11}
			r.end.Kinds = append(r.end.Kinds, "recorded")
		}},
		"opened, and the release is gone": {openedRule, func(r *run) { change(r, "c1", func(c *CaseAtEnd) { c.Released = nil }) }},
		"opened in the wrong order":       {openedRule, func(r *run) { change(r, "c1", func(c *CaseAtEnd) { c.Decided = []int64{6}; c.Released = []int64{5} }) }},
		"opened with one custodian":       {openedRule, func(r *run) { r.h[11].Invoked = r.h[14].Returned.Add(time.Second) }},
		"released twice": {"a case is released once", func(r *run) {
			change(r, "c1", func(c *CaseAtEnd) { c.Released = []int64{6, 11} })
			r.end.Kinds = append(r.end.Kinds, "released")
		}},
		"released for no case":  {"a case is released once", func(r *run) { r.end.Kinds = append(r.end.Kinds, "released") }},
		"stopped, and released": {stoppedRule, func(r *run) { change(r, "c2", func(c *CaseAtEnd) { c.State = "released" }) }},
		"stopped, and opened":   {stoppedRule, func(r *run) { r.h[15].Outcome = OK }},
		"erased, and opened afterwards": {erasedRule, func(r *run) {
			r.end.Kinds[2], r.end.Kinds[8] = "erased", "recorded"
			change(r, "c2", func(c *CaseAtEnd) { c.Leaf = 8 })
			r.h[8].Leaf = 8
			r.end.Erasures = map[string]ErasedAtEnd{"record-jo": {8, "hash-jo"}, "record-max": {2, "hash"}}
		}},
		"erased, and a case holds it":     {erasedRule, func(r *run) { r.end.Erasures["record-max"] = ErasedAtEnd{11, "hash"} }},
		"an objection is lost":            {objectionRule, func(r *run) { change(r, "c4", func(c *CaseAtEnd) { c.Objected = nil }) }},
		"objected, and released":          {objectionRule, func(r *run) { change(r, "c4", func(c *CaseAtEnd) { c.Released = []int64{11} }) }},
		"an objection is of another kind": {objectionRule, func(r *run) { r.end.Kinds[10] = "decision" }},
		"an erasure is lost":              {erasureRule, func(r *run) { delete(r.end.Erasures, "record-jo") }},
		"an erasure is not carried out": {erasureRule, func(r *run) {
			r.end.Erasures["record-jo"] = ErasedAtEnd{-1, ""}
			r.end.Kinds[8] = "decision"
		}},
		"a case that was stopped holds no record": {erasureRule, func(r *run) { change(r, "c1", func(c *CaseAtEnd) { c.State = "withdrawn" }) }},
		"an erasure of another record":            {erasureRule, func(r *run) { r.end.Erasures["record-jo"] = ErasedAtEnd{8, "hash"} }},
		"an erasure of no record":                 {erasureRule, func(r *run) { r.end.Kinds = append(r.end.Kinds, "erased") }},
		"an erasure without its entry":            {erasureRule, func(r *run) { r.end.Kinds[8] = "decision" }},
		"the log shrank":                          {logRule, func(r *run) { r.end.Kinds = r.end.Kinds[:5] }},
		"the log forked":                          {logRule, func(r *run) { r.h[5].Checkpoint.Root[0] ^= 1 }},
		"a shorter log was seen":                  {logRule, func(r *run) { r.h = append(r.h, r.after(r.h[5])) }},
		"a rotation is lost":                      {versionRule, func(r *run) { r.end.Versions[Rotate][0] = 1 }},
		"one of a group is lost":                  {versionRule, func(r *run) { r.end.Versions[Rotate][7] = 4 }},
		"two rotations are one":                   {versionRule, func(r *run) { r.h = append(r.h, r.after(r.h[17])) }},
		"one goes back":                           {versionRule, func(r *run) { r.h = append(r.h, r.after(Operation{Act: Rotate, Versions: map[int]int64{7: 4}})) }},
	} {
		r := faultless()
		c.breaks(&r)
		found := Check(r.h, r.end)
		if !slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == c.rule }) {
			t.Errorf("%s: %q found nothing: %v", name, c.rule, found)
		}
		tested[c.rule] = true
	}
	for _, r := range rules {
		if !tested[r.name] {
			t.Errorf("no case breaks %q", r.name)
		}
	}
}

// after is op, done after all others.
func (r *run) after(op Operation) Operation {
	op.Outcome, op.Invoked = OK, r.h[len(r.h)-1].Returned.Add(time.Second)
	op.Returned = op.Invoked.Add(time.Second)
	return op
}

const (
	peopleRule    = "who enrolled is there, once"
	decisionRule  = "what a custodian decided is there, once, and they decided it"
	openedRule    = "nothing is opened before the log says so for good"
	stoppedRule   = "what was stopped before it was released is never opened"
	objectionRule = "nothing goes on after an objection before a court ruled on it"
	erasedRule    = "what was erased is never opened afterwards, and nothing is erased that a case holds"
	erasureRule   = ErasuresAreKept
	versionRule   = "keys and shares only move on"
	logRule       = "the log only grows, and has one past"
)

// TestCheckAllowsWhatIsUnknown: of an act whose answer was lost both ends are right.
func TestCheckAllowsWhatIsUnknown(t *testing.T) {
	for name, change := range map[string]func(*run){
		"an enrolment that did not happen": func(r *run) { delete(r.end.Enrolled, "kim") },
		"a decision again, under other rules": func(r *run) {
			r.h = append(r.h, r.after(Operation{Act: Decide, Case: "c2", Custodian: "alba"}))
			r.end.Cases["c2"].Decisions[Vote{"alba", "newer"}] = 11
			r.end.Kinds = append(r.end.Kinds, "decision")
		},
		"an erasure that happened":      func(r *run) { r.h[16].Outcome = Unknown },
		"an erasure that did not":       func(r *run) { r.h[16].Outcome = Unknown; r.end.Enrolled["jo"] = 1 },
		"an order that never got there": func(r *run) { r.h = append(r.h, Operation{Act: File, Warrant: "w9", Outcome: Unknown}) },
		"a decision that did not happen": func(r *run) {
			c := r.end.Cases["c2"]
			c.Decisions = nil
			r.end.Cases["c2"] = c
			r.end.Kinds[7] = "notice"
		},
		"a rotation beyond the last answer": func(r *run) { r.end.Versions[Rotate][7] = 6 },
		"an objection that is not logged yet": func(r *run) {
			c := r.end.Cases["c4"]
			c.Objected = []int64{-1}
			r.end.Cases["c4"] = c
		},
		"a person who came back": func(r *run) {
			r.h = append(r.h, r.after(Operation{Act: Enrol, Person: "jo"}))
			r.end.Enrolled["jo"] = 1
		},
	} {
		r := faultless()
		change(&r)
		if found := Check(r.h, r.end); len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
	}
}

// TestHistory: an act that never returned is in it, and not known.
func TestHistory(t *testing.T) {
	now := time.Unix(0, 0)
	h := NewHistory(func() time.Time { now = now.Add(time.Second); return now })
	h.Run(Operation{Act: Enrol, Person: "jo"}, func(op *Operation) {
		if ops := h.Operations(); len(ops) != 1 || ops[0].Outcome != Unknown || !ops[0].Returned.IsZero() {
			t.Errorf("while it runs: %+v", ops)
		}
		op.Outcome = OK
	})
	if ops := h.Operations(); ops[0].Outcome != OK || ops[0].Returned.Sub(ops[0].Invoked) != time.Second {
		t.Errorf("%+v", ops)
	}
}
