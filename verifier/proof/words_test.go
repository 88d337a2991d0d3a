package proof

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
)

// Every kind of leaf, and every kind of warrant, has words of its own; they and the facts hold
// everything that the leaf says, and nothing else.
func TestWordsSayWhatTheLeafSays(t *testing.T) {
	said := map[string]Kind{}
	for _, l := range constructed() {
		words := l.Words()
		if words == "" || !strings.HasSuffix(words, ".") || strings.Contains(words, "does not know") || strings.ContainsAny(words, "%!{") {
			t.Errorf("%s: %q", l.Kind, words)
		}
		if other, ok := said[words]; ok && other != l.Kind {
			t.Errorf("%s says what %s says: %q", l.Kind, other, words)
		}
		said[words] = l.Kind
		text := words
		for _, f := range l.Facts() {
			text += "\n" + f.Name + ": " + f.Text
		}
		for name, value := range topOf(t, l) {
			if name == "kind" || name == "day" || name == "code" && l.Kind == KindReviewed || name == "v" {
				continue
			}
			if value != "" && !strings.Contains(text, value) {
				t.Errorf("%s: neither words nor facts say %s = %s:\n%s", l.Kind, name, value, text)
			}
		}
	}
	for _, k := range warrantKinds {
		l := Leaf{Kind: KindRecorded, WarrantKind: k.Name}
		if k.Targets {
			l.Targets = 1
		}
		words := l.Words()
		if _, twice := said[words]; twice || len(words) < 20 || strings.Contains(words, "%!") || k.Targets != strings.Contains(words, "1 pen name") {
			t.Errorf("%s: %q", k.Name, words)
		}
		said[words] = KindRecorded
	}
	if len(whatWarrantsDo) != len(warrantKinds) {
		t.Error("a kind of warrant without words, or words without one")
	}
	if w := (Leaf{Kind: "tomorrow"}).Words(); !strings.Contains(w, "does not know") {
		t.Error(w)
	}
}

// topOf are the texts and numbers at the top of a leaf's JSON.
func topOf(t *testing.T, l Leaf) map[string]string {
	t.Helper()
	b, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for name, v := range all {
		switch v := v.(type) {
		case string:
			texts[name] = v
		case json.Number:
			texts[name] = v.String()
		}
	}
	delete(texts, "which") // said by its places
	return texts
}

// Periods count each leaf once, where it stands; months come to years, and both to the whole.
func TestPeriodsAddUp(t *testing.T) {
	var p Periods
	days := []string{"2025-12-31", "2026-01-01", "2026-01-31", "2026-03-05"}
	var total int64
	for _, day := range days {
		for _, l := range constructed() {
			l = l.On(day)
			p.Add(&l)
			total++
		}
	}
	p.Add(nil) // what cannot be read stands in the month before it
	total++
	months, years := p.Months(), p.Years()
	if len(months) != 3 || len(years) != 2 || months[0].Name != "2025-12" || months[2].Name != "2026-03" || years[1].Name != "2026" ||
		years[0].Entries+years[1].Entries != total || months[1].Entries+months[2].Entries != years[1].Entries || months[2].Entries != years[0].Entries+1 {
		t.Fatalf("%+v", months)
	}
	r := &Report{Leaves: total, Statistics: newAuditor(AuditOptions{}).stats}
	r.Checkpoint.N = total
	r.Statistics.ByKind = map[Kind]int64{}
	for _, y := range years {
		addCounts(r.Statistics.ByKind, y.ByKind)
		addCounts(r.Statistics.Warrants, y.Warrants)
		addCounts(r.Statistics.Jurisdictions, y.Jurisdictions)
		addCounts(r.Statistics.Offences, y.Offences)
		addCounts(r.Statistics.Refusals, y.Refusals)
		addCounts(r.Statistics.Declines, y.Declines)
		addCounts(r.Statistics.Reviews, y.Reviews)
		r.Statistics.Targets += y.Targets
		r.Statistics.NotReached += y.NotReached
	}
	if err := r.AddUp(months); err != nil || len(r.Statistics.Declines) == 0 || r.Statistics.Targets == 0 {
		t.Fatal(err, errors.Unwrap(err))
	}
	for name, change := range map[string]func(*Period){
		"entries":         func(m *Period) { m.Entries++ },
		"kinds":           func(m *Period) { m.ByKind[KindErased]++ },
		"warrants":        func(m *Period) { m.Warrants[Production]-- },
		"jurisdictions":   func(m *Period) { m.Jurisdictions["FR"]++ },
		"offence classes": func(m *Period) { m.Offences["x"]++ },
		"pen names":       func(m *Period) { m.Targets-- },
		"refusals":        func(m *Period) { m.Refusals["x"]++ },
		"declines":        func(m *Period) { m.Declines["x"]++ },
		"reviews":         func(m *Period) { m.Reviews[Accepted]++ },
		"not reached":     func(m *Period) { m.NotReached++ },
	} {
		wrong := p.Months()
		change(&wrong[0])
		if err := r.AddUp(wrong); !errors.Is(err, ErrSums) || errors.Unwrap(err).Error() != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	rows := months[2].Records()
	if rows[0][0] != "2026-03" || len(rows[0]) != len(PeriodHeader) {
		t.Error(rows[0])
	}
	var sum int64
	for kind, n := range months[0].ByKind {
		sum += n
		if kind == "" {
			t.Error("no kind")
		}
	}
	if sum != months[0].Entries || !maps.Equal(months[0].ByKind, years[0].ByKind) {
		t.Error(sum, months[0].Entries)
	}
}
