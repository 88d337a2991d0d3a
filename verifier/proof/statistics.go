package proof

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Statistics are recomputed from the leaves by everybody who audits, so the
// operator cannot publish better ones. All counts are of leaves or cases.
type Statistics struct {
	ByKind        map[Kind]int64   `json:"by_kind"`
	Refusals      map[string]int64 `json:"refusals"`        // by code
	Declines      map[string]int64 `json:"declines"`        // by code
	Jurisdictions map[string]int64 `json:"jurisdictions"`   // of recorded warrants
	Offences      map[string]int64 `json:"offence_classes"` // of recorded warrants
	Warrants      map[string]int64 `json:"warrant_kinds"`   // of recorded warrants
	Targets       int64            `json:"targets"`         // pseudonyms named in recorded warrants
	Open          int64            `json:"open"`            // cases that may be opened and are neither released, withdrawn nor expired
	Expired       int64            `json:"expired"`         // cases whose warrant ran out before anything was released
	Unnoticed     int64            `json:"unnoticed"`       // released cases whose persons were not told yet
	Overdue       int64            `json:"overdue"`         // of those, past the end of secrecy
	Erased        int64            `json:"erased"`          // records that persons deleted
	Ceremonies    int64            `json:"ceremonies"`      // transcripts of key ceremonies
	Platforms     int64            `json:"platforms"`       // records of platforms, all versions
	Reviews       map[string]int64 `json:"reviews"`         // of enrolments that were held, by outcome
	MedianDays    float64          `json:"median_days"`     // from recorded to released; 0 if nothing was released
}

// String returns the statistics in a few lines for a terminal, in a fixed order.
func (s Statistics) String() string {
	var b bytes.Buffer
	line := func(name string, counts map[string]int64) {
		fmt.Fprintf(&b, "%-12s", name)
		for _, k := range slices.Sorted(maps.Keys(counts)) {
			fmt.Fprintf(&b, "%s %d  ", k, counts[k])
		}
		b.WriteByte('\n')
	}
	kinds := map[string]int64{}
	for k, n := range s.ByKind {
		kinds[string(k)] = n
	}
	line("leaves", kinds)
	line("refused", s.Refusals)
	line("declined", s.Declines)
	line("places", s.Jurisdictions)
	line("offences", s.Offences)
	line("warrants", s.Warrants)
	line("reviews", s.Reviews)
	fmt.Fprintf(&b, "%-12s%d records, on the wish of the person\n", "erased", s.Erased)
	fmt.Fprintf(&b, "%-12s%d of the custodians' key\n", "ceremonies", s.Ceremonies)
	fmt.Fprintf(&b, "%-12s%d records in the registry\n", "platforms", s.Platforms)
	fmt.Fprintf(&b, "%-12s%d targets, %d open, %d expired, %d unnoticed, %d overdue, median %.1f days\n",
		"cases", s.Targets, s.Open, s.Expired, s.Unnoticed, s.Overdue, s.MedianDays)
	return b.String()
}

// auditor replays the leaves. It holds one small value per case.
type auditor struct {
	o        AuditOptions
	stats    Statistics
	findings []Finding
	cases    map[int64]*auditedCase
	order    []int64         // indexes of the cases
	index    int64           // of the leaf being replayed
	bundle   string          // in force
	rules    Rules           // of it; none if it could not be had
	bundles  map[string]bool // that are or were in force
	day      string          // of the leaf before
	days     []float64
	erased   map[string]bool // commitments

	ceremonies map[string]bool // hashes of their transcripts
	platforms  map[string]bool // digests of their records
	reviews    map[string]bool // commitments, by outcome
}

type auditedCase struct {
	kind                                                           WarrantKind
	day, secrecyEnds, salt                                         string
	quorum                                                         int               // 0: not judged
	approved                                                       map[string]string // by custodian, under which threshold key
	closed                                                         map[int64]string  // commitments of decisions that no leaf opened
	authorised, released, noticed, stopped, ended, expired, lapsed bool
}

func newAuditor(o AuditOptions) *auditor {
	return &auditor{o: o, cases: map[int64]*auditedCase{}, erased: map[string]bool{}, ceremonies: map[string]bool{}, platforms: map[string]bool{}, bundles: map[string]bool{}, reviews: map[string]bool{}, stats: Statistics{
		Reviews: map[string]int64{}, ByKind: map[Kind]int64{}, Refusals: map[string]int64{}, Declines: map[string]int64{},
		Jurisdictions: map[string]int64{}, Offences: map[string]int64{}, Warrants: map[string]int64{},
	}}
}

// add replays one authenticated leaf.
func (a *auditor) add(index int64, b []byte) {
	a.index = index
	l, err := ParseLeaf(b)
	if err != nil {
		code := FindingMalformed
		if newer(b) {
			code = FindingNewer
		}
		a.found(code)
		return
	}
	if l.Day < a.day {
		a.found(FindingDay)
	}
	a.day = l.Day
	a.stats.ByKind[l.Kind]++
	kinds[l.Kind].replay(a, l) // the linter saw to it that there is a row
}

func (a *auditor) found(code string) { a.findings = append(a.findings, Finding{a.index, code}) }

// ofCase replays a leaf of a kind that must name a recorded case.
func ofCase(replay func(*auditor, *auditedCase, Leaf)) func(*auditor, Leaf) {
	return func(a *auditor, l Leaf) {
		if l.Case == nil || a.cases[*l.Case] == nil {
			a.found(FindingCase)
			return
		}
		replay(a, a.cases[*l.Case], l)
	}
}

// addBundle: rules cannot return, and come into force only after those they name,
// endorsed by the custodians of those.
func (a *auditor) addBundle(l Leaf) {
	previous := a.bundle
	rules, ok := a.o.Rules(l.Bundle)
	a.bundle, a.rules = l.Bundle, rules
	switch {
	case a.bundles[l.Bundle]:
		a.found(FindingRepeated)
	case !ok:
		a.found(FindingUnavailable)
	case rules.Follows != nil:
		if code := rules.Follows(previous); code != "" {
			a.found(code)
		}
	}
	a.bundles[l.Bundle] = true
	// Whose key a bundle names was public before the bundle.
	if rules.Ceremony != "" && !a.ceremonies[rules.Ceremony] {
		a.found(FindingCeremony)
	}
	for _, index := range rules.Stops {
		if c := a.cases[index]; c != nil {
			c.ended = true
		}
	}
}

func (a *auditor) addCeremony(l Leaf) {
	a.ceremonies[l.Package] = true
	a.stats.Ceremonies++
}

// addPlatform: each version has one leaf, and is what the rules of its day allow.
func (a *auditor) addPlatform(l Leaf) {
	a.stats.Platforms++
	switch {
	case a.platforms[l.Package]:
		a.found(FindingOrder)
	case a.rules.Platform != nil:
		if code := a.rules.Platform(a.index, l); code != "" {
			a.found(code)
		}
	}
	a.platforms[l.Package] = true
}

// addReviewed: nothing is decided twice, and an objection is to what was accepted.
func (a *auditor) addReviewed(l Leaf) {
	if a.reviews[l.Code+l.Commitment] || l.Code == Objected && !a.reviews[Accepted+l.Commitment] {
		a.found(FindingOrder)
	}
	a.reviews[l.Code+l.Commitment] = true
	a.stats.Reviews[l.Code]++
}

func (a *auditor) addRefused(l Leaf) { a.stats.Refusals[l.Code]++ }

func (a *auditor) addErased(l Leaf) {
	if a.erased[l.Commitment] {
		a.found(FindingErased)
	}
	a.erased[l.Commitment] = true
	a.stats.Erased++
}

func (a *auditor) addRecorded(l Leaf) {
	c := &auditedCase{kind: WarrantKindOf(l.WarrantKind), day: l.Day, secrecyEnds: l.SecrecyEnds, salt: l.SaltCommitment,
		quorum: max(1, l.Quorum), approved: map[string]string{}, closed: map[int64]string{}}
	if l.Bundle != a.bundle {
		// "A custodian refuses a warrant under any other bundle."
		a.found(FindingBundle)
	} else if rules := a.rules; rules.Threshold > 0 {
		if rules.OffenceClasses != nil && !slices.Contains(rules.OffenceClasses, l.OffenceClass) {
			a.found(FindingWord)
		}
		c.quorum = max(c.quorum, rules.Threshold)
		if c.kind.Opens && l.Quorum < rules.Threshold && (l.Quorum > 0 || rules.SaysQuorum) {
			a.found(FindingQuorum)
		}
	}
	a.stats.Jurisdictions[l.Jurisdiction]++
	a.stats.Offences[l.OffenceClass]++
	a.stats.Warrants[l.WarrantKind]++
	a.stats.Targets += int64(l.Targets)
	if l.Case != nil {
		switch earlier := a.cases[*l.Case]; {
		case earlier == nil:
			a.found(FindingCase)
		case c.kind.Stops:
			earlier.stopped = true
			// An extension keeps a record longer. It moves no end of secrecy, or a case
			// could be extended for ever and its notice never be overdue.
		}
	}
	a.cases[a.index] = c
	a.order = append(a.order, a.index)
}

// addApproved and addDeclined: a custodian of the bundle in force counts once, by
// the last decision before the authorisation.
func (a *auditor) addApproved(c *auditedCase, l Leaf) {
	if a.knows(l.Custodian) {
		c.approved[l.Custodian] = a.rules.Key
	}
}

func (a *auditor) addDeclined(c *auditedCase, l Leaf) {
	if a.knows(l.Custodian) {
		delete(c.approved, l.Custodian)
		a.stats.Declines[l.Code]++
	}
}

func (a *auditor) knows(custodian string) bool {
	known := a.rules.Custodians == nil || slices.Contains(a.rules.Custodians, custodian)
	if !known {
		a.found(FindingWord)
	}
	return known
}

func (a *auditor) addAuthorised(c *auditedCase, _ Leaf) {
	a.mayOpen(c)
	if c.authorised {
		a.found(FindingReopened)
	}
	// Shares of a key that was moved since open nothing with those of the key now.
	together := 0
	for _, key := range c.approved {
		if key == a.rules.Key || key == "" || a.rules.Key == "" { // rules that could not be had prove nothing
			together++
		}
	}
	if together < c.quorum {
		a.found(FindingQuorum)
	}
	c.authorised = true
}

func (a *auditor) addReleased(c *auditedCase, l Leaf) {
	a.mayOpen(c)
	if !c.authorised || c.released {
		a.found(FindingOrder)
	}
	c.released = true
	a.days = append(a.days, daysBetween(c.day, l.Day))
}

// mayOpen finds what stands against authorising or releasing a case at all.
func (a *auditor) mayOpen(c *auditedCase) {
	if !c.kind.Opens {
		a.found(FindingSuperfluous)
	}
	if c.stopped {
		a.found(FindingWithdrawn)
	}
	if c.ended {
		a.found(FindingStopped)
	}
	if c.expired {
		a.found(FindingExpired)
	}
}

func (a *auditor) addNoticed(c *auditedCase, l Leaf) {
	if !c.released || c.noticed {
		a.found(FindingOrder)
	}
	if !commitsTo(c.salt, l.Salt) {
		a.found(FindingSalt)
	}
	c.noticed = true
}

// addExpired: what was released never expires, and nothing expires twice.
func (a *auditor) addExpired(c *auditedCase, _ Leaf) {
	if c.released || c.expired {
		a.found(FindingOrder)
		return
	}
	c.expired = true
	a.stats.Expired++
}

func (a *auditor) report(r *Report) {
	today := Day(a.o.At)
	for _, index := range a.order {
		switch c := a.cases[index]; {
		case c.released && !c.noticed:
			a.stats.Unnoticed++
			if max(c.secrecyEnds, c.day) < today {
				a.stats.Overdue++
				r.Overdue = append(r.Overdue, index)
			}
		case c.kind.Opens && !c.released && !c.stopped && !c.ended && !c.expired:
			a.stats.Open++
		}
	}
	if n := len(a.days); n > 0 {
		slices.Sort(a.days)
		a.stats.MedianDays = (a.days[(n-1)/2] + a.days[n/2]) / 2
	}
	r.Findings, r.Statistics = a.findings, a.stats
}

// daysBetween counts days of two well-formed leaves.
func daysBetween(from, to string) float64 {
	a, err1 := time.Parse(dayLayout, from)
	b, err2 := time.Parse(dayLayout, to)
	if err1 != nil || err2 != nil {
		return 0
	}
	return b.Sub(a).Hours() / 24
}

// addDecision notes a decision that is still closed.
func (a *auditor) addDecision(c *auditedCase, l Leaf) { c.closed[a.index] = l.Commitment }

func (a *auditor) addDecided(c *auditedCase, l Leaf) {
	a.mayOpen(c)
	for _, o := range l.Opened {
		if c.closed[o.Leaf] != o.commitment() {
			a.found(FindingOpening)
		}
		delete(c.closed, o.Leaf)
	}
	c.authorised = c.authorised || l.Which.Count() > 0
}

func (a *auditor) addLapsed(c *auditedCase, _ Leaf) { c.lapsed = true }

func (a *auditor) addDeleted(c *auditedCase, _ Leaf) {
	if !c.released {
		a.found(FindingOrder)
	}
}
