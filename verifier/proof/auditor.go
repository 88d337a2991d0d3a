package proof

import (
	"slices"
	"time"
)

// auditor replays the leaves. It holds one small value per case.
type auditor struct {
	o        AuditOptions
	stats    Statistics
	findings []Finding
	cases    map[int64]*auditedCase
	order    []*auditedCase
	index    int64           // of the leaf being replayed
	bundle   string          // in force
	rules    *Rules          // of it; empty if it could not be had
	bundles  map[string]bool // that are or were in force
	day      string          // of the leaf before
	days     []float64
	erased   map[string]bool // commitments
	annual   annual

	ceremonies map[string]bool // hashes of their transcripts
	platforms  map[string]bool // digests of their records
	reviews    map[string]bool // commitments, by outcome
}

func newAuditor(o AuditOptions) *auditor {
	return &auditor{o: o, rules: new(Rules), cases: map[int64]*auditedCase{}, erased: map[string]bool{}, ceremonies: map[string]bool{}, platforms: map[string]bool{}, bundles: map[string]bool{}, reviews: map[string]bool{}, stats: Statistics{
		Reviews: map[string]int64{}, ByKind: map[Kind]int64{}, Refusals: map[string]int64{}, Declines: map[string]int64{},
		Jurisdictions: map[string]int64{}, Offences: map[string]int64{}, Warrants: map[string]int64{},
	}}
}

// replay judges one authenticated leaf.
func (a *auditor) replay(index int64, e entry) {
	a.index = index
	if e.err != nil {
		code := FindingMalformed
		if e.newer {
			code = FindingNewer
		}
		a.found(code)
		return
	}
	l := e.Leaf
	if l.Day < a.day {
		a.found(FindingDay)
	}
	a.day = l.Day
	a.annual.reach(l.Day)
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
		c := a.cases[*l.Case]
		a.dated(c, l)
		a.annual.touch(c)
		replay(a, c, l)
	}
}

// before5 and since5 replay a leaf as [ofCase] does, if the case is under a bundle of
// that format.
func before5(replay func(*auditor, *auditedCase, Leaf)) func(*auditor, Leaf) {
	return ofFormat(false, replay)
}

func since5(replay func(*auditor, *auditedCase, Leaf)) func(*auditor, Leaf) {
	return ofFormat(true, replay)
}

func ofFormat(rounds bool, replay func(*auditor, *auditedCase, Leaf)) func(*auditor, Leaf) {
	return ofCase(func(a *auditor, c *auditedCase, l Leaf) {
		if c.known() && c.rules.Rounds != rounds {
			a.found(FindingFormat)
			return
		}
		replay(a, c, l)
	})
}

// dated: what an emergency's clock counts says the second, and nothing else does.
func (a *auditor) dated(c *auditedCase, l Leaf) {
	counted := l.Kind == KindLapsed || c.kind.Timed && (l.Kind == KindDecided || l.Kind == KindReleased)
	switch {
	case (l.At != "") != counted:
		a.found(FindingTime)
	case before(l.At, c.at):
		a.found(FindingDay)
	default:
		c.at = max(c.at, l.At)
	}
}

// before reports whether a second is so long before an earlier leaf's that no two right
// clocks say both. What decides, as the hours of an emergency, is not forgiven that.
func before(at, earlier string) bool {
	a, err1 := time.Parse(secondLayout, at)
	b, err2 := time.Parse(secondLayout, earlier)
	return err1 == nil && err2 == nil && a.Before(b.Add(-MaxSkew))
}

// addBundle: rules cannot return, and come into force only after those they name,
// endorsed by the custodians of those.
func (a *auditor) addBundle(l Leaf) {
	previous := a.bundle
	rules, ok := a.o.Rules(l.Bundle)
	a.bundle, a.rules = l.Bundle, &rules
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
			a.annual.touch(c)
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

func (a *auditor) addRefused(l Leaf) {
	a.stats.Refusals[l.Code]++
	a.annual.refused(l)
}

func (a *auditor) addErased(l Leaf) {
	if a.erased[l.Commitment] {
		a.found(FindingErased)
	}
	a.erased[l.Commitment] = true
	a.stats.Erased++
}

// report says what was found until now. More leaves can be replayed behind it.
func (a *auditor) report(r *Report) {
	a.stats.Unnoticed, a.stats.Open = 0, 0
	for _, c := range a.order {
		if c.tookEffect() && !c.noticed {
			a.stats.Unnoticed++
		}
		if c.open() {
			a.stats.Open++
		}
		for _, d := range c.deadlines() {
			if d.overdue(a.o.At) {
				r.Deadlines = append(r.Deadlines, d)
			}
		}
	}
	a.stats.Overdue = int64(len(r.Overdue()))
	if n := len(a.days); n > 0 {
		slices.Sort(a.days)
		a.stats.MedianDays = (a.days[(n-1)/2] + a.days[n/2]) / 2
	}
	r.Findings, r.Statistics = slices.Clip(a.findings), a.stats.clone()
	r.Years = a.annual.years(a.o.At, a.rules.SmallCount)
}

// hoursBetween counts the hours between two leaves, dated as [Leaf.On] takes it: to
// the second where both say it, else by their days.
func hoursBetween(from, to string) float64 {
	layout := secondLayout
	if len(from) != len(to) || len(from) == len(dayLayout) {
		layout, from, to = dayLayout, from[:len(dayLayout)], to[:len(dayLayout)]
	}
	a, err1 := time.Parse(layout, from)
	b, err2 := time.Parse(layout, to)
	if err1 != nil || err2 != nil {
		return 0
	}
	return b.Sub(a).Hours()
}

// daysAfter is the day so many days after another, as a leaf has it.
func daysAfter(day string, days int) string {
	t, err := time.Parse(dayLayout, day)
	if err != nil {
		return ""
	}
	return Day(t.AddDate(0, 0, days))
}
