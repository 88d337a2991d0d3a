package proof

import (
	"errors"
	"maps"
	"slices"
	"strconv"
)

// Period is what the leaves of one month or year (UTC) say, counted. Unlike a [Year] it hides
// no small number: it says no more than the leaves do, one by one. It counts each leaf where
// it stands, by nothing but the leaf, so that anybody can count again by hand.
type Period struct {
	Name    string `json:"period"`  // "2026-11", or "2026"
	Entries int64  `json:"entries"` // all leaves, also those that this program cannot read

	ByKind        map[Kind]int64   `json:"by_kind"`
	Warrants      map[string]int64 `json:"warrant_kinds"`   // of recorded warrants
	Jurisdictions map[string]int64 `json:"jurisdictions"`   // of recorded warrants
	Offences      map[string]int64 `json:"offence_classes"` // of recorded warrants
	Targets       int64            `json:"targets"`         // pseudonyms named in recorded warrants, once where an order is delivered again
	Refusals      map[string]int64 `json:"refusals"`        // by code
	Declines      map[string]int64 `json:"declines"`        // by code or ground, once for each decision and ground
	Reviews       map[string]int64 `json:"reviews"`         // by outcome
	NotReached    int64            `json:"not_reached"`     // cases whose persons were to be told first, and nobody can say that they were
}

func newPeriod(name string) *Period {
	return &Period{Name: name, ByKind: map[Kind]int64{}, Warrants: map[string]int64{}, Jurisdictions: map[string]int64{}, Offences: map[string]int64{},
		Refusals: map[string]int64{}, Declines: map[string]int64{}, Reviews: map[string]int64{}}
}

// Periods counts leaves by month, in their order.
type Periods struct {
	months []*Period
	day    string // of the last leaf that could be read
}

// Add counts the next leaf. One that could not be read (nil) counts as an entry of the month
// of the one before it.
func (p *Periods) Add(l *Leaf) {
	month := "unknown" // before the first that can be read
	if l != nil {
		p.day = l.Day
	}
	if len(p.day) == len(dayLayout) {
		month = p.day[:len("2006-01")]
	}
	if n := len(p.months); n == 0 || p.months[n-1].Name != month {
		i := slices.IndexFunc(p.months, func(m *Period) bool { return m.Name == month })
		if i < 0 { // else the log goes back, which an audit finds
			p.months = append(p.months, newPeriod(month))
		} else {
			m := p.months[i]
			p.months = append(slices.Delete(p.months, i, i+1), m)
		}
	}
	m := p.months[len(p.months)-1]
	m.Entries++
	if l != nil {
		m.add(*l)
	}
}

func (p *Periods) count(e entry) {
	if e.err != nil {
		p.Add(nil)
		return
	}
	p.Add(&e.Leaf)
}

func (m *Period) add(l Leaf) {
	m.ByKind[l.Kind]++
	switch l.Kind {
	case KindRecorded:
		m.Warrants[l.WarrantKind]++
		m.Jurisdictions[l.Jurisdiction]++
		m.Offences[l.OffenceClass]++
		if WarrantKindOf(l.WarrantKind).As == "" { // else they were counted when they were ordered
			m.Targets += int64(l.Targets)
		}
	case KindRefused:
		m.Refusals[l.Code]++
	case KindDeclined:
		m.Declines[l.Code]++
	case KindDecided:
		for _, o := range l.Opened {
			for _, ground := range o.Grounds {
				m.Declines["declined."+ground]++
			}
		}
	case KindReviewed:
		m.Reviews[l.Code]++
	case KindTold:
		if l.Code == NotReached {
			m.NotReached++
		}
	}
}

// Months are the periods by month, rising. A month in which there was nothing is not there.
func (p *Periods) Months() []Period { return p.by(len("2006-01")) }

// Years are the periods by year, rising.
func (p *Periods) Years() []Period { return p.by(len("2006")) }

func (p *Periods) by(length int) []Period {
	sums := map[string]*Period{}
	for _, m := range p.months {
		name := m.Name[:min(length, len(m.Name))]
		if m.Name == "unknown" {
			name = m.Name
		}
		if sums[name] == nil {
			sums[name] = newPeriod(name)
		}
		sums[name].plus(m)
	}
	all := []Period{}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		all = append(all, *sums[name])
	}
	return all
}

func (m *Period) plus(o *Period) {
	m.Entries, m.Targets, m.NotReached = m.Entries+o.Entries, m.Targets+o.Targets, m.NotReached+o.NotReached
	addCounts(m.ByKind, o.ByKind)
	for _, c := range []struct{ to, from map[string]int64 }{
		{m.Warrants, o.Warrants}, {m.Jurisdictions, o.Jurisdictions}, {m.Offences, o.Offences},
		{m.Refusals, o.Refusals}, {m.Declines, o.Declines}, {m.Reviews, o.Reviews},
	} {
		addCounts(c.to, c.from)
	}
}

func addCounts[K comparable](to, from map[K]int64) {
	for k, n := range from {
		to[k] += n
	}
}

// AddUp checks that periods come to what an audit counted of all leaves at once, case by
// case: it is [ErrSums], whose cause names the first number that differs.
func (r *Report) AddUp(periods []Period) error {
	sum := newPeriod("")
	for _, p := range periods {
		sum.plus(&p)
	}
	for _, c := range []struct {
		name  string
		equal bool
	}{
		{"entries", sum.Entries == r.Leaves && r.Leaves == r.Checkpoint.N},
		{"kinds", maps.Equal(sum.ByKind, r.Statistics.ByKind)},
		{"warrants", maps.Equal(sum.Warrants, r.Statistics.Warrants)},
		{"jurisdictions", maps.Equal(sum.Jurisdictions, r.Statistics.Jurisdictions)},
		{"offence classes", maps.Equal(sum.Offences, r.Statistics.Offences)},
		{"pen names", sum.Targets == r.Statistics.Targets},
		{"refusals", maps.Equal(sum.Refusals, r.Statistics.Refusals)},
		{"declines", maps.Equal(sum.Declines, r.Statistics.Declines)},
		{"reviews", maps.Equal(sum.Reviews, r.Statistics.Reviews)},
		{"not reached", sum.NotReached == r.Statistics.NotReached},
	} {
		if !c.equal {
			return ErrSums.Because(errors.New(c.name))
		}
	}
	return nil
}

// PeriodHeader are the columns of [Period.Records].
var PeriodHeader = []string{"period", "table", "name", "count"}

// Records returns the period as rows of a table, under [PeriodHeader], in a fixed order.
func (m Period) Records() (records [][]string) {
	row := func(table, name string, n int64) {
		records = append(records, []string{m.Name, table, name, strconv.FormatInt(n, 10)})
	}
	row("entries", "", m.Entries)
	for _, t := range m.tables() {
		for _, name := range slices.Sorted(maps.Keys(t.counts)) {
			row(t.name, name, t.counts[name])
		}
	}
	row("pen names", "", m.Targets)
	row("not reached", "", m.NotReached)
	return records
}

type periodTable struct {
	name   string
	counts map[string]int64
}

func (m Period) tables() []periodTable {
	kinds := map[string]int64{}
	for k, n := range m.ByKind {
		kinds[string(k)] = n
	}
	return []periodTable{{"entries by kind", kinds}, {"warrants", m.Warrants}, {"jurisdictions", m.Jurisdictions}, {"offence classes", m.Offences},
		{"refused", m.Refusals}, {"declined", m.Declines}, {"reviews", m.Reviews}}
}
