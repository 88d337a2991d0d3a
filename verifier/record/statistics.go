package record

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penname/penname/verifier/proof"
)

// periodRow is a period in the table of a page.
type periodRow struct {
	Name, Href                                                             string
	Entries, Recorded, Opening, Refused, PenNames, Delivered, Lapsed, Told int64
}

func rowOf(p proof.Period) periodRow {
	return periodRow{Name: p.Name, Entries: p.Entries, Recorded: p.ByKind[proof.KindRecorded], Opening: opening(p.Warrants), Refused: p.ByKind[proof.KindRefused], PenNames: p.Targets,
		Delivered: p.ByKind[proof.KindReleased], Lapsed: p.ByKind[proof.KindLapsed], Told: p.ByKind[proof.KindNoticed]}
}

// opening is how many of the orders by their kinds are of one that can open names.
func opening(warrants map[string]int64) (n int64) {
	for kind, of := range warrants {
		if proof.WarrantKindOf(kind).Opens {
			n += of
		}
	}
	return n
}

// counted is the page of statistics, of all years or of one.
type counted struct {
	frame
	Intro  string
	Charts []chart
	Rows   []periodRow
	Hidden int // rows of before that the page has no place for
	Tables []table
	Files  []link
	Yearly bool

	// What an audit finds escrow log statistics says, and prints numbers beside it if it judged all.
	Found    bool
	Unjudged bool // there is only what this program could not judge
}

// table is a small table of names and numbers.
type table struct {
	Title  string
	Rows   []tableRow
	Hidden int
}

type tableRow struct {
	meaning
	Number string
}

// How many rows are in the table of periods of a page, and in another, and bars in a chart.
const (
	mostRows    = 18
	mostInTable = 12
	mostBars    = 12
)

func (x *index) statisticsPage() (Page, error) {
	c := counted{frame: x.frame("statistics.html", x.say("Statistics")), Yearly: true, Found: x.verdict != nil,
		Intro: x.say("Counted from the entries, one by one. In the files by year and month no number is left out or rounded, and anybody who counts again comes to the same. This page shows the newest %s years, and the %s largest numbers of each table.", strconv.Itoa(mostRows), strconv.Itoa(mostInTable))}
	c.Unjudged = errors.Is(x.verdict, proof.ErrNewer) || errors.Is(x.verdict, proof.ErrIncomplete)
	rows := make([]periodRow, 0, len(x.years))
	for _, p := range x.years {
		r := rowOf(p)
		r.Name = x.name(p.Name)
		if p.Name != "unknown" {
			r.Href = "statistics/" + p.Name + ".html"
		}
		rows = append(rows, r)
	}
	c.count(x, rows, x.say("Orders that can open names, by year"), x.say("Deliveries of what an order opens, by year"))
	s := x.report.Statistics
	c.Tables = x.tables(s.Warrants, s.Jurisdictions, s.Offences, s.Refusals)
	c.Files = []link{
		{Href: x.base(0) + "statistics/years.csv", Text: x.say("by year, CSV")}, {Href: x.base(0) + "statistics/years.json", Text: x.say("by year, JSON")}, {Href: x.base(0) + "statistics/months.csv", Text: x.say("by month, CSV")}, {Href: x.base(0) + "statistics/months.json", Text: x.say("by month, JSON")},
		{Href: x.base(0) + "statistics/orders.csv", Text: x.say("what became of the orders of each year, as Regulation (EU) 2023/1543, Art. 28, wants it, CSV")}, {Href: x.base(0) + "statistics/orders.json", Text: x.say("the same, JSON")},
	}
	return x.render("statistics", c)
}

// count puts rows onto the page, newest last in the charts and first in the table.
func (c *counted) count(x *index, rows []periodRow, orders, deliveries string) {
	c.Hidden = max(0, len(rows)-mostRows)
	rows = rows[c.Hidden:]
	drawn := rows[max(0, len(rows)-mostBars):]
	opening, delivered := make([]bar, 0, len(drawn)), make([]bar, 0, len(drawn))
	for _, r := range drawn {
		opening, delivered = append(opening, bar{Name: r.Name, Count: r.Opening}), append(delivered, bar{Name: r.Name, Count: r.Delivered})
	}
	c.Charts = []chart{x.draw("opening", orders, opening), x.draw("delivered", deliveries, delivered)}
	c.Rows = slices.Clone(rows)
	slices.Reverse(c.Rows)
}

// tables are those of what orders were.
func (x *index) tables(warrants, jurisdictions, offences, refusals map[string]int64) []table {
	named := make(map[string]int64, len(warrants))
	for kind, n := range warrants {
		named[x.name(kind)] += n
	}
	return []table{tableOf(x.say("Kinds of orders"), named), tableOf(x.say("Jurisdictions"), jurisdictions), tableOf(x.say("Offence classes"), offences), x.ofRefusals(refusals)}
}

// ofRefusals is why orders were refused.
func (x *index) ofRefusals(counts map[string]int64) table {
	t := tableOf(x.say("Why orders were refused"), counts)
	for i := range t.Rows {
		if why := refusalWords[t.Rows[i].Words]; why != "" {
			t.Rows[i].meaning = meaning{Words: x.say(why), Code: t.Rows[i].Words}
		}
	}
	return t
}

// orderWord is a word of what became of orders.
func (x *index) orderWord(word string) string {
	if said := x.name(word); said != word {
		return said
	}
	return x.name(strings.ReplaceAll(word, "_", " "))
}

// tableOf is the largest numbers first.
func tableOf(title string, counts map[string]int64) table {
	t := table{Title: title}
	names := make([]string, 0, len(counts))
	for name := range counts {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := counts[b] - counts[a]; d != 0 {
			return int(d)
		}
		return strings.Compare(a, b)
	})
	for _, name := range names[:min(len(names), mostInTable)] {
		t.Rows = append(t.Rows, tableRow{meaning{Words: name}, strconv.FormatInt(counts[name], 10)})
	}
	t.Hidden = max(0, len(names)-mostInTable)
	return t
}

// yearPage is the months of a year.
func (x *index) yearPage(name string, part int) (Page, error) {
	at := slices.IndexFunc(x.years, func(p proof.Period) bool { return p.Name == name })
	if at < 0 || name == "unknown" || part > 0 {
		return Page{}, ErrNoPage
	}
	c := counted{frame: x.frame("statistics/"+name+".html", x.say("Statistics of %s", name)),
		Intro: x.say("Counted from the entries, one by one, by month (UTC). A month without an entry is not there.")}
	var rows []periodRow
	for _, p := range x.months {
		if strings.HasPrefix(p.Name, name+"-") {
			r := rowOf(p)
			if len(x.spans(p.Name+"-", 10)) > 0 {
				r.Href = "../days/" + p.Name + ".html"
			}
			rows = append(rows, r)
		}
	}
	c.count(x, rows, x.say("Orders that can open names, by month"), x.say("Deliveries of what an order opens, by month"))
	p := x.years[at]
	c.Tables = x.tables(p.Warrants, p.Jurisdictions, p.Offences, p.Refusals)
	for _, y := range x.report.Years {
		if strconv.Itoa(y.Year) == name {
			c.Tables = append(c.Tables, x.ofOrders(y))
		}
	}
	return x.render("statistics", c)
}

// ofOrders is what became of the orders of a year.
func (x *index) ofOrders(y proof.Year) table {
	t := table{Title: x.say("What became of the orders (no number under %s is told)", strconv.FormatInt(y.Under, 10))}
	if y.SoFar {
		t.Title = x.say("%s, so far", t.Title)
	}
	for _, r := range y.Records() {
		if r[2] != "orders" {
			continue
		}
		if len(t.Rows) == mostInTable {
			t.Hidden++
			continue
		}
		var what []string
		for _, word := range []string{r[3], r[4], r[6]} {
			if word != "" {
				what = append(what, x.orderWord(word))
			}
		}
		if r[5] == "true" {
			what = append(what, x.say("from an earlier year"))
		}
		if r[7] == "true" {
			what = append(what, x.say("stated to be deleted"))
		}
		t.Rows = append(t.Rows, tableRow{meaning{Words: strings.Join(what, ", ")}, r[8]})
	}
	return t
}

// bar is one of a chart, with its place in it.
type bar struct {
	Name, Label             string
	Count                   int64
	X, Y, Width, Height, At int
}

// chart is a drawing of bars. Its numbers stand in the table beside it.
type chart struct {
	ID, Title, Text string
	Bars            []bar
	Top             int64 // what the highest line stands for
	Width           int
}

// The drawing: units of SVG.
const (
	chartHeight = 120
	chartStep   = 36
)

func (x *index) draw(id, title string, bars []bar) chart {
	c := chart{ID: id, Title: title, Bars: bars, Top: 1, Width: 24 + chartStep*max(6, len(bars))}
	for _, b := range bars {
		c.Top = max(c.Top, b.Count)
	}
	for i := range bars {
		b := &bars[i]
		b.Height = int(b.Count * chartHeight / c.Top)
		b.X, b.Y, b.Width = 12+chartStep*i, 20+chartHeight-b.Height, chartStep-10
		b.At, b.Label = b.X+b.Width/2, b.Name
		if t, err := time.Parse("2006-01", b.Name); err == nil {
			b.Label = x.say(months[t.Month()-1]) // of a month its name alone
		}
	}
	switch n := len(bars); n {
	case 0:
		c.Text = x.say("There is nothing to draw yet.")
	case 1:
		c.Text = fmt.Sprintf("%s: %d.", bars[0].Name, bars[0].Count)
	default:
		number := func(b bar) string { return strconv.FormatInt(b.Count, 10) }
		highest := slices.MaxFunc(bars, func(a, b bar) int { return int(a.Count - b.Count) })
		c.Text = x.say("From %s, %s, to %s, %s. The most were in %s, %s. The table below has all numbers.", bars[0].Name, number(bars[0]), bars[n-1].Name, number(bars[n-1]), highest.Name, number(highest))
	}
	return c
}

// months are how they are called under a bar.
var months = []string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}

// Names are above the bars.
func (b bar) Above() int { return b.Y - 5 }

// The files are those of escrow log statistics, byte for byte.

func (x *index) yearsCSV() (Page, error)  { return x.periodsCSV(x.years) }
func (x *index) monthsCSV() (Page, error) { return x.periodsCSV(x.months) }

func (x *index) periodsCSV(periods []proof.Period) (Page, error) {
	var rows [][]string
	for _, p := range periods {
		rows = append(rows, p.Records()...)
	}
	return x.csv(proof.PeriodHeader, rows)
}

func (x *index) ordersCSV() (Page, error) {
	var rows [][]string
	for _, y := range x.report.Years {
		rows = append(rows, y.Records()...)
	}
	return x.csv(proof.AnnualHeader, rows)
}

func (x *index) csv(header []string, rows [][]string) (Page, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	err := w.Write(append([]string{"addressee"}, header...))
	for _, row := range rows {
		err = errors.Join(err, w.Write(append([]string{x.Origin}, row...)))
	}
	w.Flush()
	return Page{Type: typeCSV, Body: b.Bytes()}, errors.Join(err, w.Error())
}

func (x *index) yearsJSON() (Page, error)  { return x.periodsJSON("year", x.years) }
func (x *index) monthsJSON() (Page, error) { return x.periodsJSON("month", x.months) }

func (x *index) periodsJSON(by string, periods []proof.Period) (Page, error) {
	return asJSON(struct {
		Addressee string         `json:"addressee"`
		Size      int64          `json:"size"`
		By        string         `json:"by"`
		Periods   []proof.Period `json:"periods"`
	}{x.Origin, x.N, by, append([]proof.Period{}, periods...)})
}

func (x *index) ordersJSON() (Page, error) {
	return asJSON(struct {
		Addressee string       `json:"addressee"`
		Years     []proof.Year `json:"years"`
	}{x.Origin, append([]proof.Year{}, x.report.Years...)})
}

func asJSON(v any) (Page, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return Page{Type: typeJSON, Body: append(b, '\n')}, err
}
