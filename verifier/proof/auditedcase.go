package proof

import (
	"slices"
	"time"
)

// auditedCase is what an auditor keeps of a case.
type auditedCase struct {
	index                              int64 // of its recorded leaf
	kind                               WarrantKind
	rules                              *Rules // of the bundle that it was recorded under
	recorded, day, at                  string // when, as the leaf says it; its day; the last second that a leaf of it says
	secrecyEnds, holdEnds, salt, bound string // bound: the last day that secrecy may end
	data                               string
	quorum                             int // 0: not judged
	noticeDays                         int
	told                               string // the day from which they count
	objected                           int    // objections without an answer
	required                           []Required
	targets                            int
	closed                             []closedDecision
	held                               map[string]heldDecision // the last one of each custodian
	authorised, released               Marks
	withdrawn, annulled                Marks
	deleted, packages                  int // leaves
	listed                             int // the last year whose statistics have it
	hours                              float64

	declined, noticed, validated, ended, expired, lapsed bool
}

// closedDecision is a decision that no leaf has opened yet.
type closedDecision struct {
	leaf       int64
	commitment string
	rules      *Rules // of the bundle in force then
}

// heldDecision is what a custodian is held to.
type heldDecision struct {
	leaf  int64
	votes Marks
	key   string // the threshold key in force then
	seat  Seat
}

// known reports whether the rules of the case could be had.
func (c *auditedCase) known() bool { return c.rules.Threshold > 0 }

// all are the targets of the case.
func (c *auditedCase) all() Marks { return AllMarks(c.targets) }

// tookEffect reports whether something was delivered, or pen names were suspended.
func (c *auditedCase) tookEffect() bool {
	return c.packages > 0 || c.kind.Name == Suspension && c.authorised.Count() > 0
}

// over reports whether nothing more can be opened in the case, whatever was.
func (c *auditedCase) over() bool {
	if c.ended || c.expired || c.lapsed {
		return true
	}
	gone := c.withdrawn.Or(c.annulled)
	if c.declined { // but for what was authorised before
		gone = gone.Or(c.all().Without(c.authorised))
	}
	return c.targets > 0 && gone.Count() == c.targets
}

// open reports whether the case waits for its first release.
func (c *auditedCase) open() bool { return c.kind.Decided && !c.tookEffect() && !c.over() }

// validBy is when an emergency lapses that nobody validated, or zero.
func (c *auditedCase) validBy() time.Time {
	t, err := time.Parse(secondLayout, c.recorded)
	if err != nil || c.kind.Name != Emergency || c.rules.ValidationHours == 0 {
		return time.Time{}
	}
	return t.Add(time.Duration(c.rules.ValidationHours) * time.Hour)
}

// late reports whether a second, as a leaf has it, is after the case's validity
// without a judge ran out.
func (c *auditedCase) late(at string) bool {
	by := c.validBy()
	return !by.IsZero() && at > Second(by)
}

func (a *auditor) addRecorded(l Leaf) {
	c := &auditedCase{index: a.index, kind: WarrantKindOf(l.WarrantKind), rules: new(Rules), recorded: l.When(), day: l.Day, at: l.At,
		secrecyEnds: l.SecrecyEnds, holdEnds: l.HoldEnds, salt: l.SaltCommitment, data: l.Data, validated: l.Validated, quorum: max(1, l.Quorum), targets: l.Targets, noticeDays: l.NoticeDays}
	if l.Bundle != a.bundle {
		// "A custodian refuses a warrant under any other bundle."
		a.found(FindingBundle)
	} else if a.rules.Threshold > 0 {
		c.rules = a.rules
		a.judgeRecorded(c, l)
	}
	a.stats.Jurisdictions[l.Jurisdiction]++
	a.stats.Offences[l.OffenceClass]++
	a.stats.Warrants[l.WarrantKind]++
	if c.kind.As == "" { // else they were counted when they were ordered
		a.stats.Targets += int64(l.Targets)
	}
	if l.Case != nil {
		if earlier := a.cases[*l.Case]; earlier != nil {
			a.annual.touch(earlier)
			a.changes(earlier, c, l)
		} else {
			a.found(FindingCase)
		}
	}
	a.cases[a.index] = c
	a.order = append(a.order, c)
	a.annual.touch(c)
}

// judgeRecorded holds a recorded leaf to the rules that it was recorded under.
func (a *auditor) judgeRecorded(c *auditedCase, l Leaf) {
	rules := c.rules
	unknown := func(vocabulary []string, word string) bool {
		return word != "" && vocabulary != nil && !slices.Contains(vocabulary, word)
	}
	if unknown(rules.OffenceClasses, l.OffenceClass) || unknown(rules.Offences, l.Offence) {
		a.found(FindingWord)
	}
	if slices.ContainsFunc(l.Facets(), func(f string) bool { return !slices.Contains(rules.Facets, f) }) {
		a.found(FindingFacet)
	}
	c.quorum = max(c.quorum, rules.Threshold)
	for _, r := range rules.Required {
		if r.of(l) {
			c.required = append(c.required, r)
		}
	}
	if c.kind.Decided && l.Quorum < rules.Threshold && (l.Quorum > 0 || rules.SaysQuorum) {
		a.found(FindingQuorum)
	}
	if c.kind.Decided && l.NoticeDays < rules.NoticeDays && slices.Contains(rules.NoticeClasses, l.OffenceClass) {
		a.found(FindingNotice)
	}
	if rules.MaxSecrecyDays > 0 && !c.kind.Earlier {
		if c.bound = daysAfter(l.Day, rules.MaxSecrecyDays); l.SecrecyEnds > c.bound {
			a.found(FindingSecrecy)
		}
	}
	if rules.HoldDays > 0 && c.kind.Holds && !c.kind.Earlier && (l.HoldEnds == "" || l.HoldEnds > daysAfter(l.Day, rules.HoldDays)) {
		a.found(FindingHold)
	}
}

// changes is what a recorded warrant does to the case of the earlier one. Before
// format 5 of the bundle an extension kept a record longer and showed no day. It
// moves no end of secrecy, or a case could be extended for ever and its notice never
// be overdue.
func (a *auditor) changes(earlier, c *auditedCase, l Leaf) {
	which := earlier.all()
	if len(l.Which) > 0 {
		if !l.Which.Of(earlier.targets) {
			a.found(FindingMarks)
			return
		}
		which = l.Which
	}
	switch c.kind.Name {
	case Annulment, Ruling:
		if c.kind.Name == Ruling { // an answer to a question looks the same, as far as the log can say
			earlier.objected = max(0, earlier.objected-1)
		}
		if l.Annuls() {
			earlier.annulled = earlier.annulled.Or(which)
		}
	case Withdrawal:
		earlier.withdrawn = earlier.withdrawn.Or(which)
	case Validation:
		a.validates(earlier, l)
	case SecrecyChange:
		earlier.secrecyEnds = max(l.SecrecyEnds, l.Day)
		if earlier.bound != "" && earlier.secrecyEnds > earlier.bound {
			a.found(FindingSecrecy)
		}
	case Extension:
		if c.rules.ExtensionDays == 0 || earlier.holdEnds == "" {
			return
		}
		if l.HoldEnds == "" || l.HoldEnds > daysAfter(earlier.holdEnds, c.rules.ExtensionDays) || earlier.holdEnds < l.Day || earlier.expired {
			a.found(FindingHold)
		}
		earlier.holdEnds = max(earlier.holdEnds, l.HoldEnds)
	}
}

// validates: in time, to the second, and of what has not lapsed.
func (a *auditor) validates(earlier *auditedCase, l Leaf) {
	switch {
	case earlier.kind.Name != Emergency:
		return
	case before(l.At, earlier.at):
		a.found(FindingDay)
	case earlier.lapsed:
		a.found(FindingLapsed)
	case earlier.late(l.At):
		a.found(FindingLate)
	default:
		earlier.validated = true
	}
}

// addTold: once, where there is something to object to.
func (a *auditor) addTold(c *auditedCase, l Leaf) {
	if c.noticeDays == 0 || c.told != "" {
		a.found(FindingNotice)
		return
	}
	c.told = l.Day
	if l.Code == NotReached {
		a.stats.NotReached++
	}
}

// addObjected: nobody objects to what they were not told of.
func (a *auditor) addObjected(c *auditedCase, _ Leaf) {
	if c.told == "" {
		a.found(FindingOrder)
	}
	c.objected++
}

// addApproved and addDeclined: a custodian of the bundle in force counts once, by
// the last decision before the authorisation.
func (a *auditor) addApproved(c *auditedCase, l Leaf) {
	a.hold(c, l.Custodian, a.index, c.all(), a.rules)
}

func (a *auditor) addDeclined(c *auditedCase, l Leaf) {
	if a.hold(c, l.Custodian, a.index, NewMarks(c.targets), a.rules) {
		a.stats.Declines[l.Code]++
		a.annual.declined(l.Code)
	}
}

// hold holds a custodian of the rules of that moment to the last that they decided, and
// reports whether those know the custodian.
func (a *auditor) hold(c *auditedCase, custodian string, leaf int64, votes Marks, rules *Rules) bool {
	if rules.Custodians != nil && !slices.Contains(rules.Custodians, custodian) {
		a.found(FindingWord)
		return false
	}
	if c.held == nil {
		c.held = make(map[string]heldDecision)
	}
	if leaf >= c.held[custodian].leaf {
		c.held[custodian] = heldDecision{leaf, votes, rules.Key, rules.Seats[custodian]}
	}
	return true
}

func (a *auditor) addAuthorised(c *auditedCase, _ Leaf) {
	if c.authorised.Count() > 0 {
		a.found(FindingReopened)
		return
	}
	a.authorise(c, c.all(), "")
}

// addDecision notes a decision that is closed still.
func (a *auditor) addDecision(c *auditedCase, l Leaf) {
	c.closed = append(c.closed, closedDecision{a.index, l.Commitment, a.rules})
}

// addDecided opens the decisions and counts them for each target.
func (a *auditor) addDecided(c *auditedCase, l Leaf) {
	if !l.Which.Of(c.targets) {
		a.found(FindingMarks)
		return
	}
	for _, o := range l.Opened {
		a.open(c, o)
	}
	if len(c.closed) > 0 { // a vote that was left out could have been against
		a.found(FindingClosed)
		c.closed = nil
	}
	if l.Which.And(c.authorised).Count() > 0 || c.declined {
		a.found(FindingReopened)
		return
	}
	if c.declined = l.Which.Count() == 0; !c.declined {
		a.authorise(c, l.Which, l.At)
	}
}

// open holds a custodian to a decision whose leaf says that it is theirs.
func (a *auditor) open(c *auditedCase, o Opened) {
	i := slices.IndexFunc(c.closed, func(d closedDecision) bool { return d.leaf == o.Leaf })
	if i < 0 {
		a.found(FindingOpening)
		return
	}
	d := c.closed[i]
	c.closed = slices.Delete(c.closed, i, i+1)
	if d.commitment != o.commitment() || !o.Votes.Of(c.targets) {
		a.found(FindingOpening)
		return
	}
	if a.hold(c, o.Custodian, o.Leaf, o.Votes, d.rules) {
		for _, ground := range o.Grounds {
			a.stats.Declines["declined."+ground]++
			a.annual.declined("declined." + ground)
		}
	}
}

// authorise: each target by a quorum of distinct custodians, whose shares open
// together.
func (a *auditor) authorise(c *auditedCase, which Marks, at string) {
	if c.noticeDays > 0 && (c.told == "" || a.day < DecideFrom(c.told, c.noticeDays)) {
		a.found(FindingNotice)
	}
	a.mayOpen(c, which, at)
	// Shares of a key that was moved since open nothing with those of the key now.
	var together []heldDecision
	for _, h := range c.held {
		if h.key == a.rules.Key || h.key == "" || a.rules.Key == "" { // rules that could not be had prove nothing
			together = append(together, h)
		}
	}
	for i := range c.targets {
		var seats []Seat
		for _, h := range together {
			if h.votes.Has(i) {
				seats = append(seats, h.seat)
			}
		}
		unmet := slices.ContainsFunc(c.required, func(r Required) bool { return !r.metBy(seats) })
		if which.Has(i) && (len(seats) < c.quorum || unmet) {
			a.found(FindingQuorum)
			break
		}
	}
	c.authorised = c.authorised.Or(which)
}

func (a *auditor) addReleased(c *auditedCase, l Leaf) {
	which := l.Which
	if len(which) == 0 {
		which = c.all()
	}
	switch {
	case c.known() && c.rules.Rounds != (len(l.Which) > 0):
		a.found(FindingFormat)
		return
	case !which.Of(c.targets) && c.targets > 0:
		a.found(FindingMarks)
		return
	}
	a.mayOpen(c, which, l.At)
	if which.Without(c.authorised).Count() > 0 || which.And(c.released).Count() > 0 {
		a.found(FindingOrder)
	}
	c.hours = hoursBetween(c.recorded, l.When())
	c.released = c.released.Or(which)
	c.packages++
	a.days = append(a.days, hoursBetween(c.day, l.Day)/24)
}

// mayOpen finds what stands against authorising or releasing targets of a case.
func (a *auditor) mayOpen(c *auditedCase, which Marks, at string) {
	for _, f := range [...]struct {
		is   bool
		code string
	}{
		{!c.kind.Decided, FindingSuperfluous},
		{which.And(c.withdrawn).Count() > 0, FindingWithdrawn},
		{which.And(c.annulled).Count() > 0, FindingAnnulled},
		{c.objected > 0, FindingObjection},
		{c.ended, FindingStopped},
		{c.expired, FindingExpired},
		{c.lapsed || !c.validated && c.late(at), FindingLapsed},
	} {
		if f.is {
			a.found(f.code)
		}
	}
}

func (a *auditor) addNoticed(c *auditedCase, l Leaf) {
	if !c.tookEffect() || c.noticed {
		a.found(FindingOrder)
	}
	if !commitsTo(c.salt, l.Salt) {
		a.found(FindingSalt)
	}
	c.noticed = true
}

// addExpired: what was released never expires, but the targets that still waited
// may; and nothing expires twice.
func (a *auditor) addExpired(c *auditedCase, _ Leaf) {
	if c.expired || c.packages > 0 && c.released.Count() == c.targets {
		a.found(FindingOrder)
		return
	}
	c.expired = true
	a.stats.Expired++
}

// addLapsed: what nobody validated, when its hours are over and not before, and what
// was delivered until then is told in full.
func (a *auditor) addLapsed(c *auditedCase, l Leaf) {
	switch {
	case c.kind.Name != Emergency || c.lapsed || c.validated || !c.validBy().IsZero() && l.At < Second(c.validBy()):
		a.found(FindingOrder)
	case l.Targets != c.released.Count():
		a.found(FindingLapseTold)
	}
	if c.rules.Fields != nil && slices.ContainsFunc(l.Fields, func(f string) bool { return !slices.Contains(c.rules.Fields, f) }) {
		a.found(FindingWord)
	}
	c.lapsed = true
	a.annual.lapsed(l)
}

// addDeleted: nobody states that they deleted what they were not given.
func (a *auditor) addDeleted(c *auditedCase, _ Leaf) {
	if c.deleted++; c.deleted > c.packages {
		a.found(FindingOrder)
	}
}
