package proof

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SmallCount is the number under which the statistics of a year tell no count, where
// the bundle says none: few cases of a kind are known by whoever has to do with one.
const SmallCount = 5

// Year are the statistics of one calendar year (UTC), as Regulation (EU) 2023/1543,
// Art. 28(2), wants them: orders by data, situation and what became of them, refusals
// by their ground, the time that it took. Its addressee is one for each log: the
// service that keeps it. What the Regulation counts between states (notifications,
// enforcement) and the costs are not in a log.
//
// No row is of fewer than Under orders, refusals or decisions. Smaller ones are one row
// "other" together, with the next larger one if that is still too small, so that no
// difference between two rows, or a row and the total, is of fewer. A year that is over
// never changes: what happens to an order later is of the later year. Of one that is
// not over, two tables can be subtracted: publish the others. Lapses are told in full, as
// their leaves tell them: names were opened that no judge allowed.
type Year struct {
	Year   int         `json:"year"`
	SoFar  bool        `json:"so_far,omitempty"` // the year was not over at the time of the audit
	Under  int64       `json:"under"`
	Orders []AnnualRow `json:"orders"` // what was recorded in the year, was open when it began, or lapsed or was annulled or deleted in it
	// Refused are warrants that were not accepted, by code and rule; Declined the
	// grounds that custodians gave, once for each decision and ground.
	Refused  []AnnualRow `json:"refused"`
	Declined []AnnualRow `json:"declined"`
	Lapses   []Lapse     `json:"lapses,omitempty"`
}

// Lapse is an emergency that nobody validated in time, and what was delivered until then.
type Lapse struct {
	Case    int64    `json:"case"`             // index of its recorded leaf
	At      string   `json:"at"`               // RFC 3339, UTC
	Fields  []string `json:"fields,omitempty"` // their names, sorted
	Targets int      `json:"targets"`
}

// AnnualRow is one number of a year.
type AnnualRow struct {
	Kind    string `json:"kind,omitempty"`    // of the order: an emergency is a kind; [AnnualOther]
	Data    string `json:"data,omitempty"`    // what it asked for, where the log says it
	Carried bool   `json:"carried,omitempty"` // it was recorded in an earlier year
	Outcome string `json:"outcome,omitempty"` // what became of it by the end of the year; of a refusal its code and rules, or the ground
	Deleted bool   `json:"deleted,omitempty"` // the requester stated that what was delivered is deleted

	Count int64 `json:"count"` // 0: there are some, and fewer than the year's Under
	// Hours are the average from recorded to released, of orders that were complied
	// with: to the second for emergencies, by the day for others.
	Hours float64 `json:"hours,omitempty"`
}

// AnnualOther is the kind or outcome of what is too little to be told apart.
const AnnualOther = "other"

// What became of an order. Nothing else is a word of [AnnualRow].Outcome of one.
const (
	outcomeOpen      = "open"
	outcomeComplied  = "complied"        // all was delivered, suspended or kept
	outcomePartly    = "complied_partly" // of some targets
	outcomeDeclined  = "declined"
	outcomeWithdrawn = "withdrawn"
	outcomeAnnulled  = "annulled"
	outcomeStopped   = "stopped" // by newer rules
	outcomeExpired   = "expired"
	outcomeLapsed    = "lapsed"
	afterDelivery    = "_after_delivery" // of annulled and lapsed
)

// outcome is what became of the case until now.
func (c *auditedCase) outcome() string {
	annulled := c.annulled.Count() > 0
	if c.tookEffect() {
		delivered := c.released.Or(c.authorised)
		switch {
		case c.lapsed:
			return outcomeLapsed + afterDelivery
		case c.annulled.And(delivered).Count() > 0:
			return outcomeAnnulled + afterDelivery
		case delivered.Count() < c.targets:
			return outcomePartly
		}
		return outcomeComplied
	}
	switch {
	case c.lapsed:
		return outcomeLapsed
	case c.ended:
		return outcomeStopped
	case c.over() && annulled:
		return outcomeAnnulled
	case c.targets > 0 && c.withdrawn.Count() == c.targets:
		return outcomeWithdrawn
	case c.declined:
		return outcomeDeclined
	case !c.kind.Decided:
		return outcomeComplied // it took effect when it was recorded
	case c.expired:
		return outcomeExpired
	}
	return outcomeOpen
}

// annual counts years. The cases that a year lists are counted when it ends.
type annual struct {
	year   int
	listed []*auditedCase
	counts map[int]*annualCounts
}

type annualCounts struct {
	orders            map[AnnualRow]tally // by all but the numbers
	refused, declined map[AnnualRow]tally
	lapses            []Lapse
}

type tally struct {
	count int64
	hours float64
}

// reach ends the years before that of a leaf.
func (a *annual) reach(day string) {
	year, err := strconv.Atoi(day[:4])
	if err != nil || year <= a.year {
		return
	}
	for a.year != 0 && a.year < year && len(a.listed) > 0 {
		a.end()
	}
	a.year = year
}

// end counts the cases that the year lists; those that are open are of the next, too.
func (a *annual) end() {
	listed := a.listed
	a.listed = nil
	year := a.year
	a.year++
	for _, c := range listed {
		row := c.row(year)
		a.of(year).orders[row] = a.of(year).orders[row].plus(c.hours)
		if row.Outcome == outcomeOpen {
			a.touch(c)
		}
	}
}

// row is where a year counts the case, as it stands.
func (c *auditedCase) row(year int) AnnualRow {
	return AnnualRow{Kind: c.kind.Name, Data: c.data, Outcome: c.outcome(), Deleted: c.deleted > 0, Carried: c.day[:4] != strconv.Itoa(year)}
}

// until is the counts as if each year up to the last had ended.
func (a *annual) until(last int) map[int]*annualCounts {
	all := make(map[int]*annualCounts)
	for year, counts := range a.counts {
		all[year] = &annualCounts{maps.Clone(counts.orders), counts.refused, counts.declined, slices.Clip(counts.lapses)}
	}
	listed := a.listed
	for year := a.year; len(listed) > 0 && year <= last; year++ {
		if all[year] == nil {
			all[year] = &annualCounts{orders: map[AnnualRow]tally{}}
		}
		var open []*auditedCase
		for _, c := range listed {
			row := c.row(year)
			all[year].orders[row] = all[year].orders[row].plus(c.hours)
			if row.Outcome == outcomeOpen {
				open = append(open, c)
			}
		}
		listed = open
	}
	return all
}

// touch lists a case in the year.
func (a *annual) touch(c *auditedCase) {
	if c.listed != a.year {
		c.listed = a.year
		a.listed = append(a.listed, c)
	}
}

func (a *annual) of(year int) *annualCounts {
	if a.counts == nil {
		a.counts = make(map[int]*annualCounts)
	}
	if a.counts[year] == nil {
		a.counts[year] = &annualCounts{map[AnnualRow]tally{}, map[AnnualRow]tally{}, map[AnnualRow]tally{}, nil}
	}
	return a.counts[year]
}

func (a *annual) refused(l Leaf) {
	counts := a.of(a.year).refused
	why := l.Code
	for _, rule := range l.Rules {
		why += " " + rule
	}
	row := AnnualRow{Outcome: why}
	counts[row] = counts[row].plus(0)
}

func (a *annual) declined(ground string) {
	counts, row := a.of(a.year).declined, AnnualRow{Outcome: ground}
	counts[row] = counts[row].plus(0)
}

func (a *annual) lapsed(l Leaf) {
	counts := a.of(a.year)
	counts.lapses = append(counts.lapses, Lapse{*l.Case, l.At, l.Fields, l.Targets})
}

func (t tally) plus(hours float64) tally { return tally{t.count + 1, t.hours + hours} }

// years are those until a time in which there was something, rising. It changes nothing: more
// leaves can come.
func (a *annual) years(at time.Time, under int) []Year {
	ended := a.until(at.UTC().Year())
	small := int64(cmp.Or(under, SmallCount))
	var all []Year
	for year, counts := range ended {
		all = append(all, Year{Year: year, SoFar: year >= at.UTC().Year(), Under: small, Orders: coarse(counts.orders, small),
			Refused: coarse(counts.refused, small), Declined: coarse(counts.declined, small), Lapses: counts.lapses})
	}
	slices.SortFunc(all, func(a, b Year) int { return cmp.Compare(a.Year, b.Year) })
	return all
}

// coarse makes rows of at least small each: the small ones are one, and as long as that
// is still small, the next larger one with them.
func coarse(counts map[AnnualRow]tally, small int64) []AnnualRow {
	rows := []AnnualRow{}
	for row, t := range counts {
		row.Count = t.count
		if row.Outcome == outcomeComplied {
			row.Hours = t.hours / float64(t.count)
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b AnnualRow) int {
		return cmp.Or(cmp.Compare(a.Count, b.Count), cmp.Compare(a.key(), b.key()))
	})
	var other int64
	for len(rows) > 0 && (rows[0].Count < small || other > 0 && other < small) {
		other += rows[0].Count
		rows = rows[1:]
	}
	slices.Reverse(rows)
	if other > 0 {
		rest := AnnualRow{Outcome: AnnualOther}
		if other >= small {
			rest.Count = other
		}
		rows = append(rows, rest)
	}
	return rows
}

// key tells rows of one table apart, for people too.
func (r AnnualRow) key() string {
	parts := []string{r.Kind, r.Data, r.Outcome}
	if r.Carried {
		parts = append(parts, "carried")
	}
	if r.Deleted {
		parts = append(parts, "deleted")
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

// number is the row's count for people.
func (r AnnualRow) number(under int64) string {
	if r.Count == 0 {
		return "<" + strconv.FormatInt(under, 10)
	}
	return strconv.FormatInt(r.Count, 10)
}

// String returns the year in a few lines for a terminal.
func (y Year) String() string {
	var b bytes.Buffer
	soFar := ""
	if y.SoFar {
		soFar = ", so far"
	}
	fmt.Fprintf(&b, "year        %d%s\n", y.Year, soFar)
	for _, table := range y.tables() {
		for _, r := range table.rows {
			fmt.Fprintf(&b, "  %-10s%6s  %s", table.name, r.number(y.Under), r.key())
			if r.Hours > 0 {
				fmt.Fprintf(&b, ", in %.1f hours on average", r.Hours)
			}
			b.WriteByte('\n')
		}
	}
	for _, l := range y.Lapses {
		fmt.Fprintf(&b, "  %-10s%6d  targets of case %d delivered before it lapsed at %s: %s\n", "lapsed", l.Targets, l.Case, l.At,
			cmp.Or(strings.Join(l.Fields, ", "), "nothing"))
	}
	return b.String()
}

type annualTable struct {
	name string
	rows []AnnualRow
}

func (y Year) tables() []annualTable {
	return []annualTable{{"orders", y.Orders}, {"refused", y.Refused}, {"declined", y.Declined}}
}

// AnnualHeader are the columns of [Year.Records].
var AnnualHeader = []string{"year", "so_far", "table", "kind", "data", "carried", "outcome", "deleted", "count", "average_hours"}

// Records returns the year as rows of a table, under [AnnualHeader]. A count that is too
// small is "<5". A lapse has the fields as its data, its time as outcome and the targets as count.
func (y Year) Records() (records [][]string) {
	for _, table := range y.tables() {
		for _, r := range table.rows {
			hours := ""
			if r.Hours > 0 {
				hours = strconv.FormatFloat(r.Hours, 'f', 1, 64)
			}
			records = append(records, []string{strconv.Itoa(y.Year), strconv.FormatBool(y.SoFar), table.name, r.Kind, r.Data,
				strconv.FormatBool(r.Carried), r.Outcome, strconv.FormatBool(r.Deleted), r.number(y.Under), hours})
		}
	}
	for _, l := range y.Lapses {
		records = append(records, []string{strconv.Itoa(y.Year), strconv.FormatBool(y.SoFar), "lapsed", Emergency, strings.Join(l.Fields, " "),
			"", l.At, "", strconv.Itoa(l.Targets), ""})
	}
	return records
}
