package disclose

import (
	"slices"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
)

// later says what a warrant of a kind does to the case of the earlier one that it is about,
// and whether the same authority must have issued that: else [policy.Decide] has seen to it.
var later = map[string]struct {
	event Event
	same  bool
}{
	policy.Withdrawal:    {Withdraw, true},
	policy.Extension:     {Extend, true},
	policy.SecrecyChange: {ChangeSecret, true},
	policy.Annulment:     {Annul, false},
	policy.Validation:    {Validate, false},
	policy.Ruling:        {Rule, false},
}

// Later returns what a later warrant about this case, which is filed as by with that leaf,
// does to it, and the leaf as it concerns this case: all that is left is the index of the leaf
// ([Later].Leaf). It is ErrNoEarlier for another authority's case, ErrOtherTargets, ErrTooLate
// where nothing is left to stop, or as [State.May] says.
func (c Case) Later(by Case, leaf proof.Leaf) (Change, proof.Leaf, error) {
	does, ok := later[by.Kind]
	switch {
	case !ok, does.same && c.Authority != by.Authority:
		return Change{}, leaf, ErrNoEarlier
	case policy.KindOf(c.Kind).Clock == policy.ClockNone:
		return Change{}, leaf, ErrTooLate
	}
	if by.Warrant != nil && by.Warrant.Ruling != nil && by.Warrant.Ruling.Outcome == policy.Upheld {
		does.event = Annul
	}
	if _, err := c.State.May(does.event); err != nil {
		return Change{}, leaf, err
	}
	step := Step{Event: does.event}
	stops := does.event == Withdraw || does.event == Annul
	if stops {
		which, err := c.whichOf(by.named())
		if err != nil {
			return Change{}, leaf, err
		}
		if !c.frees(by, which) {
			return Change{}, leaf, ErrOtherPerson
		}
		if len(by.named()) > 0 && policy.KindOf(by.Kind).Part || by.Kind == policy.Ruling {
			leaf.Which = c.marks(func(i int) bool { return slices.Contains(which, i) })
		}
		step.Which = slices.DeleteFunc(which, func(i int) bool {
			s := c.Targets[i].State
			return s != TargetWaiting && s != TargetAuthorised && (does.event == Withdraw || s != TargetReleased)
		})
		if len(step.Which) == 0 {
			return Change{}, leaf, ErrTooLate
		}
		if !c.leaves(step.Which) && by.Kind != policy.Ruling {
			leaf.Which = nil // or the log would not tell that the case is over
		}
	}
	leaf.Case = &c.RecordedLeaf
	ch := Change{Steps: []Step{step}, Later: &Later{}}
	if by.Kind == policy.Ruling && by.Warrant != nil {
		ch.Later.Ruling, ch.Later.Grounds = by.Warrant.Ruling, by.Warrant.Grounds
	}
	switch does.event {
	case Extend:
		if ch.Later.Ends = by.Expires; !by.Expires.After(c.Expires) {
			return Change{}, leaf, ErrShorter
		}
	case ChangeSecret:
		ch.Later.Ends = by.SecrecyEnds
		if day, err := time.Parse(time.DateOnly, leaf.Day); err != nil || !day.Before(c.SecrecyEnds) { // the persons are being told
			return Change{}, leaf, ErrOver
		}
	case Validate:
		at, err := time.Parse(time.RFC3339, leaf.At)
		switch {
		case c.ValidateBy.IsZero() || c.ValidatedLeaf != 0:
			return Change{}, leaf, ErrValidated
		case err != nil || c.LapsedLeaf != 0 || !at.Before(c.ValidateBy): // the job comes every minute
			return Change{}, leaf, ErrLapsed
		}
		if at, err := time.Parse(time.RFC3339, leaf.At); err != nil || c.lapsed(at) { // and nobody has said so yet
			return Change{}, leaf, ErrLapsed
		}
	}
	return ch, leaf, nil
}

// frees reports whether by, if it upholds an objection in this case, ends the target of who
// objected: it is among which.
func (c *Case) frees(by Case, which []int) bool {
	if by.Warrant == nil || by.Warrant.Ruling == nil {
		return true
	}
	return !slices.ContainsFunc(c.Objections, func(o Objection) bool {
		return hexDigest(o.Digest) == by.Warrant.Ruling.Digest && !slices.Contains(which, o.Target)
	})
}

// leaves reports whether something of the case is left, or was delivered, besides those
// targets: those that were refused, or that custodians declined one by one, have no leaf.
func (c *Case) leaves(which []int) bool {
	for i, t := range c.Targets {
		if !slices.Contains(which, i) && slices.Contains([]TargetState{TargetWaiting, TargetAuthorised, TargetReleased}, t.State) {
			return true
		}
	}
	return false
}

// whichOf returns the places of those targets in this warrant; of all without any.
func (c *Case) whichOf(named []policy.Target) (which []int, err error) {
	if len(named) == 0 {
		for i := range c.Targets {
			which = append(which, i)
		}
		return which, nil
	}
	at := make(map[proof.Target]int)
	for i, t := range c.named() {
		at[proof.Target{Pseudonym: string(t.Pseudonym), Platform: t.Platform}] = i
	}
	for _, t := range named {
		i, ok := at[proof.Target{Pseudonym: string(t.Pseudonym), Platform: t.Platform}]
		if !ok {
			return nil, ErrOtherTargets
		}
		which = append(which, i)
	}
	slices.Sort(which)
	return slices.Compact(which), nil
}

// lapsed reports whether an emergency had to be validated by now, and was not.
func (c *Case) lapsed(now time.Time) bool {
	return !c.ValidateBy.IsZero() && c.ValidatedLeaf == 0 && !now.Before(c.ValidateBy)
}

// expire is what the end of the warrant does.
func (c Case) expire(now time.Time) (Change, error) {
	if _, due := ForExpiry.Due(c, now); !due {
		return Change{}, ErrCaseClosed
	}
	if c.count(TargetReleased) > 0 { // the log holds that; the notice ends the case
		return Change{Steps: []Step{{Event: Close}}}, nil
	}
	return Change{Steps: []Step{{Event: Expire, Leaf: proof.ExpiredLeaf(now, c.RecordedLeaf)}}}, nil
}

// Lapse is what the end of the time for validation does: in public, with the names of the
// fields and the number of targets that were delivered.
func (c Case) Lapse(now time.Time) (Change, error) {
	if _, due := ForValidation.Due(c, now); !due {
		return Change{}, ErrCaseClosed
	}
	w, err := c.warrant()
	if err != nil {
		return Change{}, err
	}
	delivered := c.count(TargetReleased)
	fields := w.Fields
	if delivered == 0 {
		fields = nil
	}
	return Change{Steps: []Step{{Event: Lapse, Leaf: proof.LapsedLeaf(now, c.RecordedLeaf, fields, delivered)}}}, nil
}

// notify is what the end of secrecy does.
func (c Case) notify(now time.Time) (Change, error) {
	if _, due := ForNotice.Due(c, now); !due {
		return Change{}, ErrCaseClosed
	}
	w, err := c.warrant()
	if err != nil {
		return Change{}, err
	}
	return c.serve(w, now.UTC().Truncate(24*time.Hour), proof.NoticedLeaf(now, c.RecordedLeaf, c.Salt)), nil
}

// serve tells the persons whose names were opened, or are suspended, on that day.
func (c Case) serve(w *policy.Warrant, day time.Time, leaf proof.Leaf) Change {
	var which []int
	step := Step{Event: Notify, Leaf: leaf}
	if c.suspended() { // which goes on
		step.Which = []int{}
	}
	for i := range w.Targets {
		switch {
		case i >= len(c.Targets):
		case c.Targets[i].State == TargetReleased, c.suspended() && c.Targets[i].Round != 0:
			which = append(which, i)
		case c.Targets[i].State == TargetWaiting && step.Which != nil:
			step.Which = append(step.Which, i)
		}
	}
	n := c.notice(w, which, day)
	return Change{Steps: []Step{step}, Notice: &n}
}

// Restore returns what a leaf does, with that index, that the public log has and a restored
// backup lacks. What follows from the warrant happens again: the person goes on being told,
// the case goes on being over, and what a later warrant forbids stays forbidden. Anything else
// is lost, whole says, and the case with it if something could still come of it.
func (c Case) Restore(leaf proof.Leaf, index int64) (ch Change, whole bool) {
	day, err := time.Parse(time.DateOnly, leaf.Day)
	if err != nil {
		return Change{}, false
	}
	released := c.count(TargetReleased)
	switch leaf.Kind {
	case proof.KindNoticed:
		if _, refused := c.State.May(Notify); refused == nil && released > 0 && c.Warrant != nil {
			return c.serve(c.Warrant, day, leaf), true
		}
	case proof.KindTold: // the days that the log gives count
		if _, refused := c.State.May(Tell); refused == nil && c.First.Days > 0 && c.First.Leaf == 0 {
			return Change{Steps: []Step{{Event: Tell, Leaf: leaf}}}, true
		}
	case proof.KindExpired:
		if _, refused := c.State.May(Expire); refused == nil && released == 0 {
			return Change{Steps: []Step{{Event: Expire, Leaf: leaf}}}, true
		}
	case proof.KindLapsed:
		if _, refused := c.State.May(Lapse); refused == nil && released == leaf.Targets && !c.ValidateBy.IsZero() {
			return Change{Steps: []Step{{Event: Lapse, Leaf: leaf}}}, true
		}
	case proof.KindDeleted:
		return Change{}, false // who stated it is asked again
	case proof.KindRecorded:
		if leaf.WarrantKind == policy.Ruling && !leaf.Annuls() {
			return Change{}, false // it ended nothing; who asked asks again, and what was objected still holds
		}
		if ch, ok := c.restoreLater(leaf, index); ok {
			return ch, false
		}
	}
	if _, refused := c.State.May(Lose); refused != nil || c.State == Released && !c.isOpen() {
		return Change{}, false
	}
	return Change{Steps: []Step{{Event: Lose, Leaf: leaf}}}, false
}

// restoreLater is what a later warrant did of which a backup has the leaf alone. An end that
// the leaf tells is that of its day.
func (c Case) restoreLater(leaf proof.Leaf, index int64) (Change, bool) {
	event := later[leaf.WarrantKind].event
	if leaf.Annuls() {
		event = Annul
	}
	if _, refused := c.State.May(event); event == "" || event == Withdraw || event == Rule || refused != nil {
		return Change{}, false
	}
	step, ch := Step{Event: event}, Change{Later: &Later{Leaf: index}}
	switch event {
	case Annul:
		for i, at := range c.places() {
			if (leaf.Which == nil || leaf.Which.Has(at)) && slices.Contains([]TargetState{TargetWaiting, TargetAuthorised, TargetReleased}, c.Targets[i].State) {
				step.Which = append(step.Which, i)
			}
		}
		if len(step.Which) == 0 {
			return Change{}, false
		}
	case Extend:
		day, err := time.Parse(time.DateOnly, leaf.HoldEnds)
		if ch.Later.Ends = day.AddDate(0, 0, 1); err != nil || !ch.Later.Ends.After(c.Expires) {
			return Change{}, false
		}
	case ChangeSecret:
		day, err := time.Parse(time.DateOnly, leaf.SecrecyEnds)
		if ch.Later.Ends = day; err != nil {
			return Change{}, false
		}
	case Validate:
		if c.ValidateBy.IsZero() || c.ValidatedLeaf != 0 {
			return Change{}, false
		}
	}
	ch.Steps = []Step{step}
	return ch, true
}

// How long custodians have to answer, from when they may (Regulation (EU) 2023/1543,
// Art. 10(2) and (4)).
var answerWithin = map[string]time.Duration{policy.TenDays: 10 * 24 * time.Hour, policy.EightHours: 8 * time.Hour}

// Deadlines are the dates of a case, the earliest first: what is shown of it wherever it is
// shown. Each is met by people or carried out by [Registrar.Expire], [Registrar.Lapse] and
// [Registrar.Notify]; one that the end of the case left without an object is none.
func (c *Case) Deadlines() (all []opening.Deadline) {
	kind := policy.KindOf(c.Kind)
	add := func(what string, at time.Time, met bool) {
		if !at.IsZero() {
			all = append(all, opening.Deadline{What: what, At: at.UTC(), Met: met})
		}
	}
	goesOn := c.State == Recorded || c.State == Authorised || c.State == Released
	waits, undecided := goesOn && c.isOpen(), goesOn && c.count(TargetWaiting) > 0
	switch kind.Clock {
	case policy.ClockNone:
		return nil
	case policy.ClockHold:
		add(opening.DeadlineHold, c.Expires, c.State != Recorded)
		return all
	}
	if c.First.Days > 0 {
		add(opening.DeadlineTold, c.First.TellBy, c.First.Leaf != 0)
		if c.First.Leaf != 0 {
			add(opening.DeadlineObject, c.ApproveFrom, len(c.Rounds) > 0 || !undecided)
		}
		if c.UnderObjection() && goesOn {
			add(opening.DeadlineRuling, c.Expires, false)
		}
	}
	if undecided || len(c.Rounds) > 0 || c.DeclinedLeaf != 0 {
		add(opening.DeadlineAnswer, c.AnswerBy(), !undecided)
	}
	switch {
	case c.ValidatedLeaf != 0:
		add(opening.DeadlineValidated, c.ValidateBy, true)
	case c.LapsedLeaf != 0:
		add(opening.DeadlineLapsed, c.ValidateBy, true)
	case goesOn || c.State == Noticed:
		add(opening.DeadlineValidation, c.ValidateBy, false)
	}
	switch {
	case c.suspended() && c.count(TargetAuthorised) > 0:
		add(opening.DeadlineSuspension, c.Expires, false)
	case !c.suspended() && (goesOn || c.State == Noticed || c.State == Expired):
		add(opening.DeadlineExpiry, c.Expires, !waits)
	}
	if kind.Opens && (c.First.Days == 0 || c.NoticedLeaf != 0) && (goesOn || c.State == Noticed || c.State == Lost) {
		add(opening.DeadlineSecrecy, c.SecrecyEnds, c.NoticedLeaf != 0)
	}
	slices.SortStableFunc(all, func(a, b opening.Deadline) int { return a.At.Compare(b.At) })
	return all
}

// AnswerBy is until when custodians have to answer, from the warrant; zero: no answer is
// waited for.
func (c *Case) AnswerBy() time.Time {
	if within := answerWithin[c.deadline()]; within > 0 && policy.KindOf(c.Kind).Decided {
		return c.ApproveFrom.Add(within).UTC()
	}
	return time.Time{}
}

// deadline is what the warrant says of how fast an answer is wanted.
func (c *Case) deadline() string {
	if c.Warrant == nil {
		return ""
	}
	return c.Warrant.Deadline
}
