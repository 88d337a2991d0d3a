package languages

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
)

const made = `{"name": "Esperanto", "months": ["januaro", "februaro", "marto", "aprilo", "majo", "junio", "julio", "auxgusto", "septembro", "oktobro", "novembro", "decembro"],
 "day": "la 2-a de January 2006", "month": "January 2006", "moment": "la 2-a de January 2006, 15:04 MST",
 "texts": {"My pen names": "Miaj plumnomoj", "%s takes over from %s": "De %[2]s transprenas %[1]s"},
 "counts": {"you have %d days": {"one": "vi havas unu tagon", "other": "vi havas %d tagojn"}}}`

func english(t *testing.T) *fstest.MapFile {
	t.Helper()
	b, err := files.ReadFile("en.json")
	if err != nil {
		t.Fatal(err)
	}
	return &fstest.MapFile{Data: b}
}

// A further language is one file more.
func TestAThirdLanguageIsOneFile(t *testing.T) {
	all, err := Read(fstest.MapFS{"en.json": english(t), "eo.json": {Data: []byte(made)}})
	if err != nil {
		t.Fatal(err)
	}
	l := all.Accepted("eo, en;q=0.5")
	day := time.Date(2026, 1, 1, 23, 59, 0, 0, time.FixedZone("", 3600))
	for _, c := range [][2]string{
		{l.Tag, "eo"}, {l.Text("My pen names"), "Miaj plumnomoj"}, {l.Text("not there"), "not there"}, {l.Text("100 % of it"), "100 % of it"},
		{l.Text("%s takes over from %s", "A", "B"), "De B transprenas A"}, {l.Text("not there: %s", "x"), "not there: x"},
		{l.Text("you have %d days", 1), "vi havas unu tagon"}, {l.Text("you have %d days", 7), "vi havas 7 tagojn"},
		{l.OfDay(day), "la 1-a de januaro 2026"}, {l.OfMonth(day), "januaro 2026"}, {l.OfMoment(day, time.UTC), "la 1-a de januaro 2026, 22:59 UTC"},
		{string(l.HTML("<b>%s</b> takes", `<a href="x">&`)), "<b>&lt;a href=&#34;x&#34;&gt;&amp;</b> takes"},
		{string(l.HTML("%s takes over from %s", l.HTML("<b>A</b>"), "<")), "De &lt; transprenas <b>A</b>"},
		{all.Accepted("fr").Tag, English}, {all.Tagged("eo").Name, "Esperanto"},
	} {
		if c[0] != c[1] {
			t.Errorf("%q, not %q", c[0], c[1])
		}
	}
	if all.Tagged("fr") != nil || all.Tagged("") != nil || len(all.Each()) != 2 || all.Each()[0].Tag != English {
		t.Error("languages that nobody has a file of")
	}
}

// What of a file cannot be used is said, with its name.
func TestAWrongFileIsNamed(t *testing.T) {
	for name, c := range map[string][2]string{
		"no JSON":               {"eo.json", "{"},
		"a field too much":      {"eo.json", strings.Replace(made, `"name"`, `"nome": "", "name"`, 1)},
		"no name":               {"eo.json", strings.Replace(made, "Esperanto", "", 1)},
		"eleven months":         {"eo.json", strings.Replace(made, `"januaro", `, "", 1)},
		"a layout without":      {"eo.json", strings.Replace(made, "de January", "de Januaro", 1)},
		"a time of nowhere":     {"eo.json", strings.Replace(made, " MST", "", 1)},
		"no language":           {"a language.json", made},
		"no form for the rest":  {"eo.json", strings.Replace(made, `"other"`, `"one"`, 1)},
		"a form of others":      {"eo.json", strings.Replace(made, `"one"`, `"few"`, 1)},
		"a count of no number":  {"eo.json", strings.Replace(made, `"you have %d days"`, `"you have %s days"`, 1)},
		"a selector of no form": {"cy.json", strings.Replace(made, `"texts"`, `"text"`, 1)},
	} {
		if all, err := Read(fstest.MapFS{"en.json": english(t), c[0]: {Data: []byte(c[1])}}); err == nil || !strings.Contains(err.Error(), c[0]) {
			t.Errorf("%s: %v %v", name, all, err)
		}
	}
	if _, err := Read(fstest.MapFS{"eo.json": {Data: []byte(made)}}); err == nil {
		t.Error("without English")
	}
}

// TestAMomentIsWrittenAsClocksShowIt: with the name that people there give to their time, in summer
// and in winter, and by its distance where it has no name; a day stays the day that it is in UTC.
func TestAMomentIsWrittenAsClocksShowIt(t *testing.T) {
	winter, summer := time.Date(2026, 11, 30, 23, 30, 0, 0, time.UTC), time.Date(2026, 6, 30, 23, 30, 0, 0, time.UTC)
	for _, c := range []struct {
		zone, tag string
		at        time.Time
		want      string
	}{
		{"Europe/London", "en", winter, "30 November 2026 at 23:30 GMT"}, {"Europe/London", "en", summer, "1 July 2026 at 00:30 BST"},
		{"Europe/London", "cy", summer, "1 Gorffennaf 2026 am 00:30 BST"}, {"Europe/Paris", "en", summer, "1 July 2026 at 01:30 CEST"},
		{"UTC", "en", summer, "30 June 2026 at 23:30 UTC"}, {"America/Sao_Paulo", "en", winter, "30 November 2026 at 20:30 UTC-03:00"}, {"Asia/Kathmandu", "en", winter, "1 December 2026 at 05:15 UTC+05:45"},
	} {
		in, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		if got := Ours.Tagged(c.tag).OfMoment(c.at, in); got != c.want {
			t.Errorf("%s: %q, not %q", c.zone, got, c.want)
		}
	}
	if got := Ours.Tagged("en").OfDay(summer); got != "30 June 2026" {
		t.Error(got)
	}
}

// Welsh counts by its own forms, and writes days as it does.
func TestWelsh(t *testing.T) {
	l := Ours.Tagged("cy")
	if got := l.OfDay(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)); got != "1 Ionawr 2026" {
		t.Error(got)
	}
	const left = "%d objections are left for this pen name and this order, yours and a lawyer&rsquo;s together."
	for n, want := range map[int]string{0: "Nid oes gwrthwynebiad ", 1: "Mae un gwrthwynebiad ", 2: "Mae dau wrthwynebiad ", 3: "Mae tri gwrthwynebiad ", 6: "Mae 6 gwrthwynebiad ", 12: "Mae 12 gwrthwynebiad "} {
		if got := l.Text(left, n); !strings.HasPrefix(got, want) {
			t.Errorf("%d: %s", n, got)
		}
	}
	if got := Ours.Tagged(English).Text(left, 1); !strings.HasPrefix(got, "One objection is") {
		t.Error(got)
	}
	if got := l.Text("of %d", 8000); got != "of 8,000" {
		t.Error(got)
	}
}

// Requests say texts at the same time.
func TestTextsAtOnce(t *testing.T) {
	l := Ours.Tagged("cy")
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			name := fmt.Sprint("Platform ", i)
			for range 100 {
				if got := l.Text("Sign in to %s", name); got != "Mewngofnodi i "+name {
					t.Error(got)
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkText(b *testing.B) {
	l := Ours.Tagged("cy")
	for b.Loop() {
		l.HTML("Sign in to %s", "Town Square")
	}
}

func BenchmarkAccepted(b *testing.B) {
	for b.Loop() {
		Ours.Accepted("cy-GB,cy;q=0.9,en-GB;q=0.8,en;q=0.7")
	}
}
