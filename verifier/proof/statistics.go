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
	Open          int64            `json:"open"`            // production cases neither released nor withdrawn
	Unnoticed     int64            `json:"unnoticed"`       // released cases whose persons were not told yet
	Overdue       int64            `json:"overdue"`         // of those, past the end of secrecy
	Erased        int64            `json:"erased"`          // records that persons deleted
	Ceremonies    int64            `json:"ceremonies"`      // transcripts of key ceremonies
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
	fmt.Fprintf(&b, "%-12s%d records, on the wish of the person\n", "erased", s.Erased)
	fmt.Fprintf(&b, "%-12s%d of the custodians' key\n", "ceremonies", s.Ceremonies)
	fmt.Fprintf(&b, "%-12s%d targets, %d open, %d unnoticed, %d overdue, median %.1f days\n",
		"cases", s.Targets, s.Open, s.Unnoticed, s.Overdue, s.MedianDays)
	return b.String()
}

// auditor replays the leaves. It holds one small value per case.
type auditor struct {
	o        AuditOptions
	stats    Statistics
	findings []Finding
	cases    map[int64]*auditedCase
	order    []int64 // indexes of the cases
	bundle   string  // in force
	day      string  // of the leaf before
	days     []float64
	erased   map[string]bool // commitments

	ceremonies map[string]bool // hashes of their transcripts
}

type auditedCase struct {
	warrantKind, day, secrecyEnds, salt    string
	rules                                  Rules
	approved                               map[string]bool
	authorised, released, noticed, stopped bool
}

func newAuditor(o AuditOptions) *auditor {
	return &auditor{o: o, cases: map[int64]*auditedCase{}, erased: map[string]bool{}, ceremonies: map[string]bool{}, stats: Statistics{
		ByKind: map[Kind]int64{}, Refusals: map[string]int64{}, Declines: map[string]int64{},
		Jurisdictions: map[string]int64{}, Offences: map[string]int64{}, Warrants: map[string]int64{},
	}}
}

// add replays one authenticated leaf.
func (a *auditor) add(index int64, b []byte) {
	found := func(code string) { a.findings = append(a.findings, Finding{index, code}) }
	l, err := ParseLeaf(b)
	if err != nil {
		found(FindingMalformed)
		return
	}
	if l.Day < a.day {
		found(FindingDay)
	}
	a.day = l.Day
	a.stats.ByKind[l.Kind]++
	switch l.Kind {
	case KindBundle:
		a.bundle = l.Bundle
		// Whose key a bundle names was public before the bundle.
		if rules, ok := a.o.Rules(l.Bundle); ok && rules.Ceremony != "" && !a.ceremonies[rules.Ceremony] {
			found(FindingCeremony)
		}
	case KindCeremony:
		a.ceremonies[l.Package] = true
		a.stats.Ceremonies++
	case KindRefused:
		a.stats.Refusals[l.Code]++
	case KindErased:
		if a.erased[l.Commitment] {
			found(FindingErased)
		}
		a.erased[l.Commitment] = true
		a.stats.Erased++
	case KindRecorded:
		a.record(index, l, found)
	default:
		c := a.cases[*l.Case] // the linter saw to it that there is one
		if c == nil {
			found(FindingCase)
			return
		}
		a.replay(c, l, found)
	}
}

func (a *auditor) record(index int64, l Leaf, found func(string)) {
	rules, ok := a.o.Rules(l.Bundle)
	if !ok || rules.Threshold < 1 || l.Bundle != a.bundle {
		// "A custodian refuses a warrant under any other bundle."
		found(FindingBundle)
	}
	if rules.OffenceClasses != nil && !slices.Contains(rules.OffenceClasses, l.OffenceClass) {
		found(FindingWord)
	}
	a.stats.Jurisdictions[l.Jurisdiction]++
	a.stats.Offences[l.OffenceClass]++
	a.stats.Warrants[l.WarrantKind]++
	a.stats.Targets += int64(l.Targets)
	a.cases[index] = &auditedCase{warrantKind: l.WarrantKind, day: l.Day, secrecyEnds: l.SecrecyEnds, salt: l.SaltCommitment,
		rules: rules, approved: map[string]bool{}}
	a.order = append(a.order, index)
	if l.Case == nil {
		return
	}
	earlier := a.cases[*l.Case]
	switch {
	case earlier == nil || *l.Case == index:
		found(FindingCase)
	case l.WarrantKind == "withdrawal":
		earlier.stopped = true
		// An extension keeps a record longer. It moves no end of secrecy, or a case
		// could be extended for ever and its notice never be overdue.
	}
}

// replay applies a leaf to its case. A custodian counts once, by the last
// decision before the authorisation.
func (a *auditor) replay(c *auditedCase, l Leaf, found func(string)) {
	if c.warrantKind != "production" && (l.Kind == KindAuthorised || l.Kind == KindReleased) {
		found(FindingSuperfluous)
	}
	if c.stopped && (l.Kind == KindAuthorised || l.Kind == KindReleased) {
		found(FindingWithdrawn)
	}
	switch l.Kind {
	case KindApproved, KindDeclined:
		if c.rules.Custodians != nil && !slices.Contains(c.rules.Custodians, l.Custodian) {
			found(FindingWord)
			return
		}
		if l.Kind == KindApproved {
			c.approved[l.Custodian] = true
		} else {
			delete(c.approved, l.Custodian)
			a.stats.Declines[l.Code]++
		}
	case KindAuthorised:
		if c.authorised {
			found(FindingReopened)
		}
		if len(c.approved) < max(1, c.rules.Threshold) {
			found(FindingQuorum)
		}
		c.authorised = true
	case KindReleased:
		if !c.authorised || c.released {
			found(FindingOrder)
		}
		c.released = true
		a.days = append(a.days, daysBetween(c.day, l.Day))
	case KindNoticed:
		if !c.released || c.noticed {
			found(FindingOrder)
		}
		if !commitsTo(c.salt, l.Salt) {
			found(FindingSalt)
		}
		c.noticed = true
	}
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
		case c.warrantKind == "production" && !c.released && !c.stopped:
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
