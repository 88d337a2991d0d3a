package record

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// perPage is how many entries a list shows at once.
const perPage = 30

// facet is something by which entries are found.
type facet struct {
	heading, title, intro string
	lists                 func(*index) map[string][]uint32
	means                 map[string]string // what its words mean, where they are the log's own
}

// facets are by their folder.
var facets = map[string]facet{
	"kinds":         {"Entries of the kind", "Kinds of entries", "What an entry records.", func(x *index) map[string][]uint32 { return x.kinds }, kindWords},
	"warrants":      {"Orders of the kind", "Kinds of orders", "What was ordered, of the orders that were recorded.", func(x *index) map[string][]uint32 { return x.warrants }, orderWords},
	"jurisdictions": {"Orders of the jurisdiction", "Jurisdictions", "Whose courts or other authorities ordered it, by ISO 3166.", func(x *index) map[string][]uint32 { return x.jurisdictions }, nil},
	"classes":       {"Orders about the offence class", "Offence classes", "What an order was about, in the words of the rules.", func(x *index) map[string][]uint32 { return x.classes }, nil},
}

// item is an entry in a list.
type item struct {
	N              int64
	Day, Words, Of string // Of: jurisdiction and class of an order
	Code           string // that the words mean, or ""
	Case           string // address of its case, or ""
}

func (x *index) item(n int64) item {
	l := x.said(n)
	i := item{N: n, Day: l.Day}
	if l.Kind == unreadable {
		i.Words = x.say("This program cannot read this entry.")
		return i
	}
	m := x.records(l)
	i.Words, i.Code = cut(m.Words, 200), m.Code
	if l.Jurisdiction != "" {
		i.Of = strings.TrimSuffix(l.Jurisdiction+", "+l.OffenceClass, ", ")
	}
	switch {
	case l.Kind == "recorded":
		i.Case = strconv.FormatInt(n, 10)
	case l.Case != nil && *l.Case < n && x.cases[*l.Case] != nil:
		i.Case = strconv.FormatInt(*l.Case, 10)
	}
	return i
}

// cut is a text of at most so many bytes, which says that it was longer.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// link leads somewhere.
type link struct {
	Href, Text string
	Count      int
	Means      string // what the text means, or ""
	Code       string // that the text translates, or ""
}

// listing is a list of entries, or a part of it.
type listing struct {
	frame
	Intro        string
	Count        int64 // of the whole list, which only its newest part says
	First, Last  int64 // of the part, from 1 on
	Items        []item
	Newer, Older string // addresses of the parts beside it
	Jump         []link // to parts far away
}

// listPage shows a part of a list, the newest entry first. Parts are fixed ranges, counted from
// the oldest on from 1; the newest part has the address of the list itself.
func (x *index) listPage(path, title, intro string, entries []uint32, part int) (Page, error) {
	return x.list(path, title, intro, int64(len(entries)), part, func(i int64) int64 { return int64(entries[i]) })
}

func (x *index) list(path, title, intro string, count int64, part int, entry func(i int64) int64) (Page, error) {
	parts := int((count + perPage - 1) / perPage)
	if parts == 0 && path != "entries" || part >= max(parts, 1) {
		return Page{}, ErrNoPage
	}
	if part == 0 {
		part = parts
	}
	_, name, ok := strings.Cut(path, "/")
	if !ok {
		name = path
	}
	address := func(part int) string {
		if part == parts {
			return name + ".html"
		}
		return fmt.Sprintf("%s~%d.html", name, part)
	}
	l := listing{frame: x.frame(path+".html", title), Intro: intro, Count: count,
		First: int64(part-1)*perPage + 1, Last: int64(part) * perPage}
	if part < parts {
		l.part(x, part)
		l.Newer = address(part + 1)
	}
	if part > 1 {
		l.Older = address(part - 1)
	}
	for i := min(int64(part)*perPage, count) - 1; i >= int64(part-1)*perPage && i >= 0; i-- {
		l.Items = append(l.Items, x.item(entry(i)))
	}
	// By steps of ten, a hundred and so on, every part is a few links away.
	for step := 10; step < parts; step *= 10 {
		for _, to := range []int{part - step, part + step} {
			if to >= 1 && to <= parts {
				l.Jump = append(l.Jump, link{Href: address(to), Text: x.say("part %s", strconv.Itoa(to))})
			}
		}
	}
	if parts > 2 {
		l.Jump = append(l.Jump, link{Href: address(1), Text: x.say("the oldest")}, link{Href: address(parts), Text: x.say("the newest")})
	}
	return x.render("list", l)
}

// directory is a list of links.
type directory struct {
	frame
	Intro        string
	Links        []link
	Newer, Older string
}

// perDirectory is how many links a page has.
const perDirectory = 60

// parted is the part of so many that an address names, and how many parts there are; false if it
// has no such part. The first has the address of the whole.
func parted[T any](all []T, per, part int) (of []T, at, parts int, ok bool) {
	parts = max(1, (len(all)+per-1)/per)
	if part == 1 || part > parts {
		return nil, 0, 0, false
	}
	at = max(1, part)
	return all[min((at-1)*per, len(all)):min(at*per, len(all))], at, parts, true
}

// partAddress is that of a part, within its folder.
func partAddress(path string, part int) string {
	name := path[strings.LastIndex(path, "/")+1:]
	if part > 1 {
		return fmt.Sprintf("%s~%d.html", name, part)
	}
	return name + ".html"
}

// around are the addresses of the parts before and after one, or "".
func around(path string, at, parts int) (before, after string) {
	if at > 1 {
		before = partAddress(path, at-1)
	}
	if at < parts {
		after = partAddress(path, at+1)
	}
	return before, after
}

func (x *index) directoryPage(path, title, intro string, links []link, part int) (Page, error) {
	some, at, parts, ok := parted(links, perDirectory, part)
	if !ok {
		return Page{}, ErrNoPage
	}
	d := directory{frame: x.frame(strings.TrimSuffix(path, ".html")+".html", title), Intro: intro, Links: some}
	d.Newer, d.Older = around(path, at, parts)
	if at > 1 {
		d.part(x, at)
	}
	return x.render("directory", d)
}

// means is what a word of a facet means, or "".
func (x *index) means(of facet, word string) string {
	if english := of.means[word]; english != "" {
		return x.say(english)
	}
	return ""
}

// links are those to the lists of a facet.
func (x *index) links(dir string) (all []link) {
	of := facets[dir]
	lists := of.lists(x)
	for _, name := range under(lists, "") {
		l := link{Href: dir + "/" + name + ".html", Text: x.name(name), Count: len(lists[name]), Means: x.means(of, name)}
		if l.Text != name {
			l.Code = name
		}
		all = append(all, l)
	}
	return all
}

// topPage are the pages with parts that stand in no folder.
func (x *index) topPage(name string, part int) (Page, error) {
	switch name {
	case "entries":
		return x.list("entries", x.say("All entries"), x.say("Everything that the public log holds, the newest first."), x.N, part, func(i int64) int64 { return i })
	case "cases":
		return x.listPageWith("cases", x.say("All cases"), x.say("Every order that was recorded began a case. Follow its number to see what became of it."), x.kinds["recorded"], part)
	case "days":
		return x.directoryPage("days", x.say("Entries by day"), x.say("Choose a year, then a month and a day. Days are those of UTC."), x.spans("", 4), part)
	case "rules":
		return x.rulesList(part)
	case "custodians":
		return x.custodiansPage(part)
	case "courts":
		return x.courtsPage(part)
	case "platforms":
		return x.platformsPage(part)
	case "findings":
		return x.findingsPage(part)
	}
	if f, ok := facets[name]; ok {
		return x.directoryPage(name, x.say(f.title), x.say(f.intro), x.links(name), part)
	}
	return Page{}, ErrNoPage
}

func (x *index) listPageWith(path, title, intro string, entries []uint32, part int) (Page, error) {
	if len(entries) == 0 && part == 0 {
		return x.directoryPage(path, title, x.say("There is none yet."), nil, 0)
	}
	return x.list(path, title, intro, int64(len(entries)), part, func(i int64) int64 { return int64(entries[i]) })
}

// spans are the years ("", 4), or the months of a year ("2026-", 7), or the days of a month
// ("2026-11-", 10) in which there are entries, newest first, as links from the folder above.
func (x *index) spans(within string, length int) (all []link) {
	counts := map[string]int{}
	for _, day := range under(x.days, within) {
		counts[day[:length]] += len(x.days[day])
	}
	for _, name := range sortedDown(counts) {
		all = append(all, link{Href: "days/" + name + ".html", Text: name, Count: counts[name]})
	}
	return all
}

// dayPage is that of a year, a month or a day.
func (x *index) dayPage(name string, part int) (Page, error) {
	for _, span := range []struct {
		layout, inner string
		shown         func(time.Time) string
		length        int
	}{{"2006", x.say("The months in which there are entries."), func(t time.Time) string { return t.Format("2006") }, 7},
		{"2006-01", x.say("The days in which there are entries."), x.to.OfMonth, 10}, {time.DateOnly, "", x.to.OfDay, 0}} {
		t, err := time.Parse(span.layout, name)
		if err != nil {
			continue
		}
		title := x.say("Entries of %s", span.shown(t))
		if span.inner == "" {
			return x.listPage("days/"+name, title, "", x.days[name], part)
		}
		links := x.spans(name+"-", span.length)
		if len(links) == 0 {
			return Page{}, ErrNoPage
		}
		for i := range links {
			links[i].Href = strings.TrimPrefix(links[i].Href, "days/")
		}
		return x.directoryPage("days/"+name, title, span.inner, links, part)
	}
	return Page{}, ErrNoPage
}
