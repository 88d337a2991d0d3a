package disclose

import (
	"errors"
	"slices"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// State is where a case stands. [Life] says how it gets from one to another.
type State string

// The states of a case: these words stand in the database, in answers and in
// what people read.
const (
	Recorded   State = "recorded"   // the warrant is on file and its leaf is in the log
	Authorised State = "authorised" // a quorum of custodians approved targets that are not released yet
	Released   State = "released"   // a package exists, encrypted to the requester; other targets may still wait
	Noticed    State = "noticed"    // secrecy ended and the persons concerned were told
	Declined   State = "declined"   // so many custodians declined that no quorum can be reached
	Withdrawn  State = "withdrawn"  // its court took it back before it was released
	Stopped    State = "stopped"    // a superior court annulled it before it was released
	Lapsed     State = "lapsed"     // nobody validated an emergency in time, and nothing was released
	Expired    State = "expired"    // the warrant ran out before it was released, or the hold is over
	Lost       State = "lost"       // the log says that more became of it than a restored backup knows
)

// States are all states.
var States = []State{Recorded, Authorised, Released, Noticed, Declined, Withdrawn, Stopped, Lapsed, Expired, Lost}

// TargetState is where one target of a case stands. [TargetLife] says how it gets from
// one to another.
type TargetState string

// The states of a target. A target of a preservation waits for as long as it is held.
const (
	TargetWaiting    TargetState = "waiting"
	TargetAuthorised TargetState = "authorised"
	TargetReleased   TargetState = "released"
	TargetRefused    TargetState = "refused" // when it was filed, or its record broke since: [CaseTarget].Code says why
	TargetDeclined   TargetState = "declined"
	TargetWithdrawn  TargetState = "withdrawn"
	TargetStopped    TargetState = "stopped"
	TargetLapsed     TargetState = "lapsed"
	TargetExpired    TargetState = "expired"
)

// TargetStates are all states of a target.
var TargetStates = []TargetState{TargetWaiting, TargetAuthorised, TargetReleased, TargetRefused, TargetDeclined, TargetWithdrawn,
	TargetStopped, TargetLapsed, TargetExpired}

// Event is what happens to a case.
type Event string

// The events of a case.
const (
	Show         Event = "show"          // notices are put on the pages of the persons, before custodians decide
	Tell         Event = "tell"          // they were told of them, or were not reached
	Object       Event = "object"        // one of them objected in time
	Approve      Event = "approve"       // a custodian agrees to targets
	Decline      Event = "decline"       // a custodian agrees to none
	Authorise    Event = "authorise"     // targets reach the quorum: a round
	Fail         Event = "fail"          // targets can reach no quorum any more
	Withdraw     Event = "withdraw"      // the court takes the warrant back, for all targets or for some
	Annul        Event = "annul"         // a superior court annuls it, likewise: what was released may not be used
	Validate     Event = "validate"      // an emergency is validated
	Lapse        Event = "lapse"         // nobody validated it in time: what was released may not be used
	Extend       Event = "extend"        // a hold is prolonged
	ChangeSecret Event = "change_secret" // its secrecy ends later, or now
	Rule         Event = "rule"          // a court answers a question, or dismisses an objection; one that is upheld annuls
	Release      Event = "release"       // the package of a round is made
	Break        Event = "break"         // a record of a round that is released cannot be opened: that target is refused
	Delete       Event = "delete"        // the requester states that what was delivered is deleted
	Expire       Event = "expire"        // the warrant runs out before anything was released
	Close        Event = "close"         // it runs out after that: what still waits ends
	Notify       Event = "notify"        // the persons concerned are told
	Lose         Event = "lose"          // a leaf comes back from the public log to a backup that lacks its row
)

// Transition is what one event does to a case.
type Transition struct {
	Event Event
	From  []State
	To    State              // where the case gets when no target keeps it elsewhere ([Case.After]); empty: it stays where it is
	Leaf  []proof.Kind       // one of these is appended in the same transaction; "": none of this case's own
	Index func(*Case) *int64 // where the case keeps the index of that leaf; nil: in a round, in the approval, or nowhere
	Else  map[State]error    // what is answered in another state; that of "" where none is given
}

// Before format 5 of the bundle a case has leaves of other kinds: each decision tells who
// decided and how, and all targets are decided together.
var (
	decision = []proof.Kind{proof.KindApproved, proof.KindDecision}
	refusing = []proof.Kind{proof.KindDeclined, proof.KindDecision}
	round    = []proof.Kind{proof.KindAuthorised, proof.KindDecided}
	none     = []proof.Kind{""}
)

// Life is the life of a case, whole: a case begins as [Recorded] and moves by
// these rows only, here, in the database (trigger case_moves) and when a backup
// is restored. The tests of package postgres hold the database to it.
var Life = []Transition{
	// Where persons are told first, nothing else but a refusal happens before.
	{Event: Show, From: []State{Recorded}, Leaf: none, Else: map[State]error{"": ErrCaseClosed}},
	{Event: Tell, From: []State{Recorded}, Leaf: []proof.Kind{proof.KindTold}, Index: func(c *Case) *int64 { return &c.First.Leaf }, Else: map[State]error{"": ErrCaseClosed}},
	{Event: Object, From: []State{Recorded}, Leaf: []proof.Kind{proof.KindObjected}, Else: map[State]error{"": ErrCaseClosed}},
	// A custodian who decides late may still step in for one whose share is wrong.
	{Event: Approve, From: []State{Recorded, Authorised, Released}, Leaf: decision, Else: notOpen},
	{Event: Decline, From: []State{Recorded, Authorised, Released}, Leaf: refusing, Else: notOpen},
	{Event: Authorise, From: []State{Recorded, Authorised, Released}, To: Authorised, Leaf: round, Else: notOpen},
	{Event: Fail, From: []State{Recorded, Authorised, Released}, To: Declined, Leaf: []proof.Kind{"", proof.KindDecided},
		Index: func(c *Case) *int64 { return &c.DeclinedLeaf }, Else: notOpen},
	// Only what is not released can be stopped, and what is stopped is never
	// released (I17). The leaf is that of the later warrant, which is a case too.
	{Event: Withdraw, From: []State{Recorded, Authorised, Released, Noticed}, To: Withdrawn, Leaf: none, Else: map[State]error{"": ErrTooLate}},
	{Event: Annul, From: []State{Recorded, Authorised, Released, Noticed}, To: Stopped, Leaf: none, Else: map[State]error{"": ErrTooLate}},
	{Event: Validate, From: []State{Recorded, Authorised, Released, Noticed}, Leaf: none, Else: map[State]error{Lapsed: ErrLapsed, "": ErrOver}},
	{Event: Rule, From: []State{Recorded, Authorised, Released, Noticed}, Leaf: none, Else: map[State]error{"": ErrOver}},
	{Event: Lapse, From: []State{Recorded, Authorised, Released, Noticed}, To: Lapsed, Leaf: []proof.Kind{proof.KindLapsed},
		Index: func(c *Case) *int64 { return &c.LapsedLeaf }, Else: map[State]error{"": ErrCaseClosed}},
	{Event: Extend, From: []State{Recorded}, Leaf: none, Else: map[State]error{"": ErrOver}},
	{Event: ChangeSecret, From: []State{Recorded, Authorised, Released}, Leaf: none, Else: map[State]error{"": ErrOver}},
	{Event: Release, From: []State{Authorised}, To: Released, Leaf: []proof.Kind{proof.KindReleased},
		Else: map[State]error{Recorded: ErrQuorumNotMet, Declined: ErrDeclined, Withdrawn: ErrWithdrawn, Stopped: ErrAnnulled, Lapsed: ErrLapsed,
			Expired: policy.ErrExpired, Lost: ErrLost, "": ErrCaseClosed}},
	{Event: Break, From: []State{Authorised}, Leaf: none, Else: map[State]error{"": ErrCaseClosed}},
	{Event: Delete, From: []State{Authorised, Released, Noticed}, Leaf: []proof.Kind{proof.KindDeleted}, Else: map[State]error{"": ErrNothingDelivered}},
	// A case that was lost expires only by a leaf that says so.
	{Event: Expire, From: []State{Recorded, Authorised, Lost}, To: Expired, Leaf: []proof.Kind{proof.KindExpired},
		Index: func(c *Case) *int64 { return &c.ExpiredLeaf }, Else: map[State]error{"": ErrCaseClosed}},
	{Event: Close, From: []State{Authorised, Released}, To: Expired, Leaf: none, Else: map[State]error{"": ErrCaseClosed}},
	// A case that was lost owes the notice if it was released.
	{Event: Notify, From: []State{Authorised, Released, Lost}, To: Noticed, Leaf: []proof.Kind{proof.KindNoticed},
		Index: func(c *Case) *int64 { return &c.NoticedLeaf }, Else: map[State]error{"": ErrCaseClosed}},
	// Of a released case nothing is lost but what it still waits for.
	{Event: Lose, From: []State{Recorded, Authorised, Released, Lost}, To: Lost, Else: map[State]error{"": ErrCaseClosed}},
}

// notOpen is what a custodian is told who decides too late.
var notOpen = map[State]error{Withdrawn: ErrWithdrawn, Stopped: ErrAnnulled, Lapsed: ErrLapsed, Expired: policy.ErrExpired, Lost: ErrLost, "": ErrCaseClosed}

// May returns the row of [Life] by which the event happens to a case in that
// state, or the refusal that it gives.
func (s State) May(e Event) (Transition, error) {
	row := Life[slices.IndexFunc(Life, func(t Transition) bool { return t.Event == e })]
	if slices.Contains(row.From, s) {
		return row, nil
	}
	if refused, ok := row.Else[s]; ok {
		return row, refused
	}
	return row, row.Else[""]
}

// TargetTransition is what one event does to a target.
type TargetTransition struct {
	Event Event
	From  []TargetState
	To    TargetState
}

var open = []TargetState{TargetWaiting, TargetAuthorised}

// TargetLife is the life of a target, whole: it begins as [TargetWaiting] or as
// [TargetRefused] and moves by these rows only, here and in the database (trigger
// target_moves).
var TargetLife = []TargetTransition{
	{Authorise, []TargetState{TargetWaiting}, TargetAuthorised},
	{Fail, []TargetState{TargetWaiting}, TargetDeclined},
	{Release, []TargetState{TargetAuthorised}, TargetReleased},
	{Break, []TargetState{TargetAuthorised}, TargetRefused},
	{Withdraw, open, TargetWithdrawn},
	{Annul, open, TargetStopped},
	{Lapse, open, TargetLapsed},
	{Expire, open, TargetExpired},
	{Close, open, TargetExpired},
	{Notify, open, TargetExpired},
	{Lose, open, TargetReleased}, // by a released leaf alone, which says of which targets
}

// move does to a target what the event does, and reports whether it does anything.
func (s *TargetState) move(e Event) bool {
	i := slices.IndexFunc(TargetLife, func(t TargetTransition) bool { return t.Event == e && slices.Contains(t.From, *s) })
	if i >= 0 {
		*s = TargetLife[i].To
	}
	return i >= 0
}

// Change is what becomes of a case in one transaction: steps by [Life], and what
// they bring.
type Change struct {
	InForce  string // hash of the bundle under which this was decided; empty: it depends on none
	Steps    []Step
	Approval *Approval // of [Approve] and [Decline]; its Leaf is set when it is appended
	Package  []byte    // of [Release]
	Round    int       // of [Release]: which of Case.Rounds it packs
	Notice   *Notice   // of [Notify] and [Show]
	Deletion *Deletion // of [Delete]; its Leaf is set when it is appended
	Later    *Later    // of [Withdraw], [Annul], [Validate], [Rule], [Extend] and [ChangeSecret]
	Duties   []Duty    // to write to people: [Registrar.Duties]
}

// Later is what a later warrant about a case says.
type Later struct {
	Leaf int64     // its recorded leaf
	Ends time.Time // of [Extend]: of the hold; of [ChangeSecret]: of secrecy

	// Ruling is what a ruling rules on, and Grounds what it says; nil of any other kind.
	Ruling  *policy.RulingOn
	Grounds string
}

// Step is one event with the leaf that is appended for it; a leaf without a kind
// is none.
type Step struct {
	Event Event
	Leaf  proof.Leaf
	Which []int  // the targets that it moves, as places in the warrant; nil: all that it can
	Code  string // of [Break]: why
}

// justNow stands in a deciding leaf for the decision leaf that is appended before it, in
// the same transaction.
const justNow = -1

// Append appends the leaves of a change in their order, each by next, which returns where,
// and returns those places, for [Case.After].
func (ch *Change) Append(next func(proof.Leaf) (int64, error)) (indices []int64, err error) {
	for i := range ch.Steps {
		leaf := &ch.Steps[i].Leaf
		if leaf.Kind == "" {
			continue
		}
		leaf.Opened = slices.Clone(leaf.Opened)
		for n := range leaf.Opened {
			if leaf.Opened[n].Leaf == justNow && len(indices) > 0 {
				leaf.Opened[n].Leaf = indices[len(indices)-1]
			}
		}
		index, err := next(*leaf)
		if err != nil {
			return nil, err
		}
		indices = append(indices, index)
	}
	return indices, nil
}

var errStep = errors.New("a step without its leaf, or with another one")

// After returns the case as a change leaves it. indices says where the leaves of
// its steps were appended, in their order. The error is that of [State.May].
//
// The case is where its targets are: authorised while one is, else released if one is,
// else where it was while one waits; and only then where [Life] leads.
func (c Case) After(ch Change, indices ...int64) (Case, error) {
	c.Targets, c.Rounds = slices.Clone(c.Targets), slices.Clone(c.Rounds)
	for _, s := range ch.Steps {
		row, err := c.State.May(s.Event)
		if err != nil {
			return c, err
		}
		if s.Event != Lose && !slices.Contains(row.Leaf, s.Leaf.Kind) || s.Leaf.Kind != "" && len(indices) == 0 {
			return c, errStep
		}
		index := int64(0)
		if s.Leaf.Kind != "" {
			index, indices = indices[0], indices[1:]
		}
		if err := c.happens(row, s, ch, index); err != nil {
			return c, err
		}
		c.State = c.settled(row.To)
	}
	return c, nil
}

// settled is where the case stands once an event that leads to a state has moved its targets.
func (c *Case) settled(to State) State {
	switch {
	case to == "":
		return c.State
	case c.State == Noticed: // what is suspended can be taken back after that
		return Noticed
	case to == Lost || to == Noticed || len(c.Targets) == 0:
		return to
	case c.count(TargetAuthorised) > 0, c.State == Authorised && c.suspended():
		return Authorised
	case c.count(TargetReleased) > 0:
		return Released
	case c.count(TargetWaiting) > 0:
		return c.State
	}
	return to
}

// happens moves the targets and writes down what a step brings.
func (c *Case) happens(row Transition, s Step, ch Change, index int64) error {
	if s.Event == Authorise || s.Event == Release {
		if err := c.personsFirst(); err != nil {
			return err
		}
	}
	switch s.Event {
	case Approve, Decline:
		if a := ch.Approval; a != nil {
			stored := *a
			stored.Leaf = index
			c.Approvals = append(slices.Clip(c.Approvals), stored)
		}
	case Show:
		c.First.Shown = true
	case Tell:
		if err := c.told(s.Leaf, index); err != nil {
			return err
		}
	case Object:
		i := slices.IndexFunc(c.Objections, Objection.unlogged)
		if i < 0 {
			return errStep
		}
		c.Objections = slices.Clone(c.Objections)
		c.Objections[i].Leaf = index
	case Authorise:
		c.Rounds = append(c.Rounds, Round{AuthorisedLeaf: index})
	case Release:
		if ch.Round >= len(c.Rounds) {
			return errStep
		}
		c.Rounds[ch.Round].ReleasedLeaf = index
		if s.Which == nil && len(c.Targets) > 0 { // of the round, and no other
			s.Which = c.of(ch.Round)
		}
	case Delete:
		d := *ch.Deletion
		d.Leaf = index
		c.Deletion = &d
	case Validate:
		c.ValidatedLeaf = ch.Later.Leaf
	case Extend:
		c.Expires = ch.Later.Ends
	case ChangeSecret:
		c.SecrecyEnds = ch.Later.Ends
	case Lose:
		if c.State == Released && !c.isOpen() {
			return row.Else[""]
		}
		c.lose(s.Leaf, index)
		return nil
	}
	if s.Event == Rule || s.Event == Annul {
		if err := c.ruled(ch.Later); err != nil {
			return err
		}
	}
	if row.Index != nil && s.Leaf.Kind != "" {
		*row.Index(c) = index
	}
	return c.move(row, s, ch)
}

// moving are events that happen only if they move a target, or bar the use of one.
var moving = []Event{Authorise, Fail, Release, Break, Withdraw, Annul, Close}

// move moves the targets of a step. It is errStep for a target that the step names and
// cannot move, and as [State.May] refuses where nothing is left to move.
func (c *Case) move(row Transition, s Step, ch Change) error {
	moves := slices.ContainsFunc(TargetLife, func(t TargetTransition) bool { return t.Event == s.Event })
	barred := map[Event]string{Annul: ErrAnnulled.Code, Lapse: ErrLapsed.Code}[s.Event]
	moved, bars := 0, false
	for i := range c.Targets {
		t := &c.Targets[i]
		switch named := slices.Contains(s.Which, i); {
		case s.Which != nil && !named:
		case barred != "" && t.State == TargetReleased:
			if t.Code == "" || s.Event == Lapse {
				t.Code = barred
			}
			bars = true
		case t.State.move(s.Event):
			moved++
			switch s.Event {
			case Authorise:
				t.Round = len(c.Rounds)
			case Break:
				t.Code = s.Code
			}
		case named && moves:
			return errStep
		}
	}
	if bars && s.Event == Annul {
		c.Annulments = append(slices.Clip(c.Annulments), ch.Later.Leaf)
	}
	if moved == 0 && !bars && len(c.Targets) > 0 && slices.Contains(moving, s.Event) {
		return row.Else[""]
	}
	return nil
}

// lose writes down what a leaf says whose row a backup lacks.
func (c *Case) lose(leaf proof.Leaf, index int64) {
	last := len(c.Rounds) - 1
	switch leaf.Kind {
	case proof.KindAuthorised, proof.KindDecided:
		if last < 0 && (leaf.Kind == proof.KindAuthorised || leaf.Which.Count() > 0) {
			c.Rounds = append(c.Rounds, Round{AuthorisedLeaf: index})
		}
	case proof.KindReleased:
		switch {
		case last < 0:
			return // nothing authorised it
		case last == 0 && c.Rounds[0].ReleasedLeaf == 0:
			c.Rounds[0].ReleasedLeaf = index
		}
		for i, at := range c.places() {
			if leaf.Which == nil || leaf.Which.Has(at) {
				c.Targets[i].State.move(Lose)
			}
		}
	}
}
