package proof

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// year returns the statistics of one year of a history, or fails.
func (h *history) year(at time.Time, year int) Year {
	h.t.Helper()
	r := h.audit(at)
	if len(r.Findings) > 0 {
		h.t.Fatal(r.Findings)
	}
	i := slices.IndexFunc(r.Years, func(y Year) bool { return y.Year == year })
	if i < 0 {
		h.t.Fatalf("nothing of %d in %+v", year, r.Years)
	}
	return r.Years[i]
}

func day(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 10, 0, 0, 0, time.UTC)
}

// What a year tells: by kind, data and what became of it until its end, with the hours.
// A row of fewer than five is merged with others until it is of more.
func TestStatisticsOfAYear(t *testing.T) {
	rules := rules5()
	rules.Facets = append(rules.Facets, FacetData)
	h := newHistory(t, rules)
	subscriber := func(l *Leaf) { l.Data = DataSubscriber }
	for range 5 {
		c := h.warrant(Production, 1, subscriber)
		h.later(24*time.Hour).opened(c, 1)
	}
	for i := range 6 {
		c := h.warrant(Emergency, 1, subscriber)
		h.later(time.Duration(i)*time.Hour).opened(c, 1)
		h.warrant(Validation, 0, about(c))
	}
	for range 7 {
		h.add(RefusedLeaf(h.now, "warrant.refused_by_rule", "press-freedom"))
	}
	for range 5 {
		c := h.warrant(Production, 1, subscriber)
		h.vote(c, "bar", 0, "disproportionate", "press_freedom")
		h.vote(c, "press", 0, "press_freedom")
		h.decide(c, 0)
	}
	h.now = day(2026, 12, 30)
	for range 5 {
		h.warrant(Production, 1, subscriber)
	}
	lapsed := h.warrant(Emergency, 1, subscriber)
	h.opened(lapsed, 1)
	h.later(48 * time.Hour) // in the next year
	h.add(LapsedLeaf(h.now, lapsed, []string{"name"}, 1))
	h.add(DeletedLeaf(h.now, lapsed))

	of2026 := Year{Year: 2026, Under: 5,
		Orders: []AnnualRow{
			{Kind: Emergency, Data: DataSubscriber, Outcome: "complied", Count: 7, Hours: 15.0 / 7},
			{Kind: Validation, Outcome: "complied", Count: 6},
			{Kind: Production, Data: DataSubscriber, Outcome: "open", Count: 5},
			{Kind: Production, Data: DataSubscriber, Outcome: "declined", Count: 5},
			{Kind: Production, Data: DataSubscriber, Outcome: "complied", Count: 5, Hours: 24},
		},
		Refused:  []AnnualRow{{Outcome: "warrant.refused_by_rule press-freedom", Count: 7}},
		Declined: []AnnualRow{{Outcome: "declined.press_freedom", Count: 10}, {Outcome: "declined.disproportionate", Count: 5}},
	}
	same := func(a, b Year) bool {
		return a.Year == b.Year && a.SoFar == b.SoFar && a.Under == b.Under && slices.Equal(a.Orders, b.Orders) &&
			slices.Equal(a.Refused, b.Refused) && slices.Equal(a.Declined, b.Declined) &&
			slices.EqualFunc(a.Lapses, b.Lapses, func(a, b Lapse) bool { return reflect.DeepEqual(a, b) })
	}
	if got := h.year(day(2027, 2, 1), 2026); !same(got, of2026) {
		t.Errorf("%+v\nwant %+v", got, of2026)
	}
	// What was open is of the next year, too, and so is what lapsed or was deleted in it.
	of2027 := Year{Year: 2027, SoFar: true, Under: 5, Orders: []AnnualRow{{Outcome: AnnualOther, Count: 6}},
		Lapses: []Lapse{{lapsed, Second(h.now), []string{"name"}, 1}}}
	if got := h.year(day(2027, 2, 1), 2027); !same(got, of2027) {
		t.Errorf("%+v\nwant %+v", got, of2027)
	}
	if got := h.year(day(2028, 2, 1), 2026); !same(got, of2026) {
		t.Errorf("a year that was over changed: %+v", got)
	}
	text := of2026.String() + of2027.String()
	for _, want := range []string{"year        2026\n", "orders         7  emergency subscriber complied, in 2.1 hours on average\n", "year        2027, so far\n", "refused        7  warrant.refused_by_rule press-freedom\n",
		fmt.Sprintf("lapsed         1  targets of case %d delivered before it lapsed at %s: name\n", lapsed, Second(h.now))} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	records := of2026.Records()
	if len(records) != 8 || len(records[0]) != len(AnnualHeader) || strings.Join(records[0], ",") != "2026,false,orders,emergency,subscriber,false,complied,false,7,2.1" {
		t.Error(records)
	}
	lapse := of2027.Records()[1]
	if want := "2027,true,lapsed,emergency,name,," + Second(h.now) + ",,1,"; strings.Join(lapse, ",") != want || len(lapse) != len(AnnualHeader) {
		t.Error(lapse)
	}
}

// What became of an order, in the words of the statistics.
func TestOutcomesOfAYear(t *testing.T) {
	for want, tell := range map[string]func(h *history) int64{
		"open":              func(h *history) int64 { return h.warrant(Production, 2) },
		"complied":          func(h *history) int64 { c := h.warrant(Production, 2); h.opened(c, 0b11); return c },
		"complied_partly":   func(h *history) int64 { c := h.warrant(Production, 2); h.opened(c, 0b01); return c },
		"withdrawn":         func(h *history) int64 { c := h.warrant(Production, 2); h.warrant(Withdrawal, 0, about(c)); return c },
		"annulled":          func(h *history) int64 { c := h.warrant(Production, 2); h.warrant(Annulment, 0, about(c)); return c },
		"expired":           func(h *history) int64 { c := h.warrant(Production, 2); h.add(ExpiredLeaf(h.now, c)); return c },
		"complied of hold":  func(h *history) int64 { c := h.warrant(Preservation, 2); h.add(ExpiredLeaf(h.now, c)); return c },
		"withdrawn of hold": func(h *history) int64 { c := h.warrant(Preservation, 2); h.warrant(Withdrawal, 0, about(c)); return c },
		"annulled_after_delivery": func(h *history) int64 {
			c := h.warrant(Production, 2)
			h.opened(c, 0b11)
			h.warrant(Annulment, 0, about(c, 0b01))
			return c
		},
		"lapsed": func(h *history) int64 {
			c := h.warrant(Emergency, 2)
			h.add(LapsedLeaf(h.later(48*time.Hour).now, c, nil, 0))
			return c
		},
		"lapsed_after_delivery": func(h *history) int64 {
			c := h.warrant(Emergency, 2)
			h.opened(c, 0b11)
			h.add(LapsedLeaf(h.later(48*time.Hour).now, c, []string{"name"}, 2))
			return c
		},
		"stopped": func(h *history) int64 {
			c := h.warrant(Production, 2)
			h.rules[bundle6] = Rules{Threshold: 2, Stops: []int64{c}}
			h.add(BundleLeaf(h.now, bundle6))
			return c
		},
		"declined": func(h *history) int64 {
			c := h.warrant(Production, 2)
			h.vote(c, "bar", 0, "recused")
			h.vote(c, "press", 0, "recused")
			h.decide(c, 0)
			return c
		},
		"complied of suspension": func(h *history) int64 {
			c := h.warrant(Suspension, 2)
			h.vote(c, "bar", 0b11)
			h.vote(c, "press", 0b11)
			h.decide(c, 0b11)
			return c
		},
	} {
		rules := rules5()
		rules.SmallCount = 1
		h := newHistory(t, rules)
		c := tell(h)
		if h.rules[bundle6].Threshold > 0 {
			r := h.rules[bundle6]
			r.SmallCount = 1
			h.rules[bundle6] = r
		}
		kind := h.leaves[c].WarrantKind
		rows := h.year(h.now, 2026).Orders
		want, _, _ = strings.Cut(want, " ")
		if !slices.ContainsFunc(rows, func(r AnnualRow) bool { return r.Kind == kind && r.Outcome == want && r.Count == 1 }) {
			t.Errorf("%s: %+v", want, rows)
		}
	}
}

// N12: a small number names a case to whoever has to do with one. No row of a year, no
// difference between rows, and no difference to the total is of fewer than five.
func TestN12SmallNumbersNameNoCase(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		counts, total := make(map[AnnualRow]tally), int64(0)
		for i := range rapid.IntRange(0, 12).Draw(t, "rows") {
			n := rapid.Int64Range(1, 12).Draw(t, "count")
			counts[AnnualRow{Kind: string(rune('a' + i)), Outcome: outcomeComplied}] = tally{n, float64(n) * 3}
			total += n
		}
		rows := coarse(maps.Clone(counts), 5)
		shown := int64(0)
		for i, r := range rows {
			shown += r.Count
			switch merged := r.Outcome == AnnualOther; {
			case r.Count == 0 && (!merged || len(rows) != 1 || total >= 5 || total == 0):
				t.Fatalf("%+v is told apart, of %d", rows, total)
			case r.Count != 0 && r.Count < 5:
				t.Fatalf("%+v tells of %d", rows, r.Count)
			case merged && (i != len(rows)-1 || r.Hours != 0):
				t.Fatalf("%+v", rows)
			case !merged && counts[AnnualRow{Kind: r.Kind, Outcome: r.Outcome}].count != r.Count:
				t.Fatalf("%+v is not what was counted", r)
			}
		}
		if total >= 5 && shown != total {
			t.Fatalf("%d of %d", shown, total)
		}
	})
	// Nor does the leaf of a case say more of it than its bundle lets.
	h := newHistory(t)
	h.warrant(Emergency, 1, func(l *Leaf) { l.Data = DataSubscriber })
	h.want("a facet that the bundle does not let", FindingFacet)
	h = newHistory(t)
	c := h.warrant(Emergency, 1)
	h.opened(c, 1)
	if y := h.year(h.now, 2026); len(y.Orders) != 1 || y.Orders[0] != (AnnualRow{Outcome: AnnualOther}) || !strings.Contains(y.String(), "<5  other\n") {
		t.Errorf("%v", y)
	}
}
