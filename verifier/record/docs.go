package record

import (
	"fmt"
	"html"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// part is a piece of a page that can be long.
type part struct {
	Heading string
	Link    link // behind the heading
	Lines   []string
	Of      string // the code whose meaning each line is
	English bool   // the lines are, in any language
	Code    string
}

// document is a page of parts.
type document struct {
	frame
	Intro         string
	Links         []link
	Parts         []part
	Before, After string
}

// weight is about how many bytes a part takes on a page.
func (p part) weight() int {
	n := 60 + len(p.Heading) + len(p.Link.Text) + len(html.EscapeString(p.Code))
	if p.Of != "" {
		n += 40 + len(p.Of)
	}
	for _, l := range p.Lines {
		n += 12 + len(html.EscapeString(string(visible([]byte(l)))))
	}
	return n
}

// longest is how many bytes of one text a page shows at once.
const longest = 4_000

// pieces cuts parts so that each fits on a page.
func pieces(parts []part) (all []part) {
	for _, p := range parts {
		piece := part{Heading: p.Heading, Link: p.Link, Of: p.Of, English: p.English}
		flush := func() { all, piece = append(all, piece), part{Of: p.Of, English: p.English} }
		add := func(size int, to func()) {
			if piece.weight()+size > longest && len(piece.Lines)+len(piece.Code) > 0 {
				flush()
			}
			to()
		}
		for _, l := range p.Lines {
			for _, l := range split(l) {
				add(len(l), func() { piece.Lines = append(piece.Lines, l) })
			}
		}
		for _, l := range codeLines(p.Code) {
			for _, l := range split(l) {
				add(len(html.EscapeString(l)), func() { piece.Code += l + "\n" })
			}
		}
		piece.Code = strings.TrimSuffix(piece.Code, "\n")
		flush()
	}
	return all
}

// codeLines are those of a text, none of an empty one.
func codeLines(text string) []string {
	if text = strings.Trim(text, "\n"); text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// split cuts a line that is too long for a page.
func split(l string) (all []string) {
	for len(l) > longest/2 {
		at := longest / 2
		for at > longest/2-4 && l[at]&0xC0 == 0x80 { // within a character
			at--
		}
		all, l = append(all, l[:at]), l[at:]
	}
	return append(all, l)
}

// sheets puts pieces onto pages.
func sheets(parts []part) (all [][]part) {
	weight := 0
	for _, p := range pieces(parts) {
		if w := p.weight(); len(all) == 0 || weight+w > maxRecords {
			all, weight = append(all, nil), 0
		}
		weight += p.weight()
		all[len(all)-1] = append(all[len(all)-1], p)
	}
	if len(all) == 0 {
		all = [][]part{nil}
	}
	return all
}

func (x *index) document(path, title, intro string, links []link, all [][]part, number int) (Page, error) {
	some, at, n, ok := parted(all, 1, number)
	if !ok {
		return Page{}, ErrNoPage
	}
	d := document{frame: x.frame(path+".html", title), Intro: intro, Links: links, Parts: some[0]}
	if d.Before, d.After = around(path, at, n); at > 1 {
		whole := slices.Clone(d.Others)
		d.part(x, at)
		d.Others = whole // their texts are as long as they are: other things are on their parts
	}
	return x.render("document", d)
}

// entryLink leads to the page of an entry, from a folder of that depth.
func (x *index) entryLink(root string, n int64) link {
	return link{Href: fmt.Sprintf("%sentries/%d.html", root, n), Text: x.say("entry %s", strconv.FormatInt(n, 10))}
}

// rulesList shows which rules were in force, and when.
func (x *index) rulesList(part int) (Page, error) {
	var all []link
	for i, b := range slices.Backward(x.bundles) {
		number, threshold, of := strconv.Itoa(i+1), strconv.Itoa(b.Threshold), strconv.Itoa(len(b.Custodians))
		text := x.say("Rules %s, in force since %s: %s of %s custodians open together", number, b.day, threshold, of)
		if i+1 < len(x.bundles) {
			text = x.say("Rules %s, in force from %s to %s: %s of %s custodians opened together", number, b.day, x.bundles[i+1].day, threshold, of)
		}
		all = append(all, link{Href: "rules/" + number + ".html", Text: text})
	}
	return x.directoryPage("rules", x.say("Rules"), x.say("Under which rules names are opened, and who agreed to them. The newest are in force. Each version is endorsed by custodians of the version before, or nobody follows it."), all, part)
}

// rulesPage says what a version of the rules says, "3", or what it changed, "3-changes".
func (x *index) rulesPage(name string, number int) (Page, error) {
	of, changes := strings.CutSuffix(name, "-changes")
	n, ok := ordinal(of)
	if !ok || n < 1 || n > int64(len(x.bundles)) {
		return Page{}, ErrNoPage
	}
	b := x.bundles[n-1]
	links := []link{x.entryLink("../", b.leaf), {Href: x.base(1) + "rules/" + of + ".json", Text: x.say("the file, as the commands take it")}}
	title := x.say("Rules %s, of %s", of, b.day)
	if changes {
		if n == 1 {
			return Page{}, ErrNoPage
		}
		links = append(links, link{Href: of + ".html", Text: x.say("all that they say")}, link{Href: fmt.Sprintf("%d.html", n-1), Text: x.say("the rules before")})
		return x.document("rules/"+name, x.say("%s: what changed", title), x.inEnglish(x.say("What these rules change of the ones before, in sentences.")), links, b.changed[x.to.Tag], number)
	}
	if n > 1 {
		links = append(links, link{Href: of + "-changes.html", Text: x.say("what changed")})
	}
	return x.document("rules/"+name, title, x.inEnglish(x.say("One line for each thing that the rules say, and then each rule file word for word. SHA-256 %s.", b.Hash())), links, b.says[x.to.Tag], number)
}

// inEnglish says on a page in another language why rules are shown in English.
func (x *index) inEnglish(intro string) string {
	if x.english() {
		return intro
	}
	return intro + " " + x.say("They are shown in English, in the words that custodians read before they endorsed them.")
}

// saying is what rules say, and what they change of those before, if there are any.
func (x *index) saying(b, before *policy.Bundle) (says, changed [][]part) {
	parts := []part{{Heading: x.say("What they say"), Lines: b.Lines(), English: true}}
	for _, file := range slices.Sorted(maps.Keys(b.Policies)) {
		parts = append(parts, part{Heading: x.say("Rule file %s", file), Code: b.Policies[file]})
	}
	if before == nil {
		return sheets(parts), nil
	}
	change := part{Lines: b.Changes(before), English: true}
	if len(change.Lines) == 0 {
		change = part{Lines: []string{x.say("Nothing changes.")}}
	}
	return sheets(parts), sheets([]part{change})
}

// bundleFile is a bundle byte for byte, by its number or its hash.
func (x *index) bundleFile(name string) (Page, error) {
	n, ok := ordinal(name)
	if !ok || n < 1 || n > int64(len(x.bundles)) {
		return Page{}, ErrNoPage
	}
	return bundlePage(x.bundles[n-1].Bundle)
}

func (x *index) bundleInForce() (Page, error) {
	b := x.inForce()
	if b == nil {
		return Page{}, ErrNoPage
	}
	return bundlePage(b)
}

func bundlePage(b *policy.Bundle) (Page, error) {
	raw, err := b.Marshal()
	return Page{Type: typeJSON, Body: raw}, err
}

// ofRules begins the pages about what the rules in force name.
func (x *index) ofRules() (links []link) {
	if n := len(x.bundles); n > 0 {
		links = append(links, link{Href: fmt.Sprintf("rules/%d.html", n), Text: x.say("rules %s, which name them", strconv.Itoa(n))})
	}
	return links
}

// custodiansPage is what the rules in force say of custodians.
func (x *index) custodiansPage(number int) (Page, error) {
	var parts []part
	b := x.inForce()
	if b == nil {
		b = new(policy.Bundle)
	}
	for _, c := range b.Custodians {
		p := part{Heading: c.Name, Lines: []string{c.Organisation + "."}}
		if c.Role != "" {
			p.Lines = append(p.Lines, x.say("Role: %s.", c.Role))
		}
		for _, a := range c.Alternates {
			p.Lines = append(p.Lines, x.say("Stands in: %s, %s.", a.Name, a.Organisation))
		}
		p.Lines = append(p.Lines, x.say("Known in entries as %s; holds share %s of the key.", c.ID, strconv.Itoa(c.Index)))
		parts = append(parts, p)
	}
	return x.document("custodians", x.say("Custodians"), x.say("Independent bodies who check every order for themselves. Of these %s, %s must agree, or nothing opens; the rules can want more for some offences.", strconv.Itoa(len(b.Custodians)), strconv.Itoa(b.Threshold)), x.ofRules(), sheets(parts), number)
}

// courtsPage is what they say of those who may order.
func (x *index) courtsPage(number int) (Page, error) {
	var parts []part
	b := x.inForce()
	if b == nil {
		b = new(policy.Bundle)
	}
	for _, a := range b.Authorities {
		p := part{Heading: a.Name, Lines: []string{x.name(strings.ReplaceAll(a.Kind, "_", " ")) + ", " + a.Jurisdiction + "."}}
		if len(a.OffenceClasses) > 0 {
			p.Lines = append(p.Lines, x.say("Orders about: %s.", strings.Join(a.OffenceClasses, ", ")))
		}
		if len(a.Over) > 0 {
			p.Lines = append(p.Lines, x.say("May annul the orders of: %s.", strings.Join(a.Over, ", ")))
		}
		if len(a.ValidatedBy) > 0 {
			p.Lines = append(p.Lines, x.say("Its orders need the confirmation of one of: %s.", strings.Join(a.ValidatedBy, ", ")))
		}
		if a.DailyWarrants > 0 {
			p.Lines = append(p.Lines, x.say("At most %s orders a day.", strconv.Itoa(a.DailyWarrants)))
		}
		p.Lines = append(p.Lines, x.say("Known in the rules as %s.", a.ID))
		parts = append(parts, p)
	}
	return x.document("courts", x.say("Courts and other authorities"), x.say("Who may order that a name is opened, and about what. An order of anybody else is refused."), x.ofRules(), sheets(parts), number)
}

func (x *index) platformsPage(number int) (Page, error) {
	var parts []part
	for _, id := range slices.Sorted(maps.Keys(x.newest)) {
		p := x.newest[id]
		now := part{Heading: p.Name, Link: link{Href: fmt.Sprintf("platforms/%d.html", p.leaf), Text: x.say("record %s of %s", strconv.Itoa(p.Number), id)}}
		if len(p.Origins) > 0 {
			now.Lines = append(now.Lines, x.say("At %s.", strings.Join(p.Origins, ", ")))
		}
		if p.Retired {
			now.Lines = append(now.Lines, x.say("It has retired."))
		}
		now.Lines = append(now.Lines, x.say("This record is of %s.", p.day))
		parts = append(parts, now)
	}
	if b := x.inForce(); b != nil {
		for _, p := range b.Platforms {
			if x.newest[p.ID] == nil {
				parts = append(parts, part{Heading: p.Name, Lines: []string{x.say("Named by the rules themselves, as %s.", p.ID)}})
			}
		}
	}
	intro := x.say("Where people can speak under a pen name of this service. An entry of the log never says which platform an order is about.")
	if len(parts) == 0 {
		intro += " " + x.say("None is registered yet.")
	}
	return x.document("platforms", x.say("Platforms"), intro, nil, sheets(parts), number)
}

// platformPage is that of one record, by its entry.
func (x *index) platformPage(name string, number int) (Page, error) {
	leaf, ok := ordinal(name)
	at, found := x.platform(leaf)
	if !ok || !found {
		return Page{}, ErrNoPage
	}
	p := x.platforms[at]
	links := []link{x.entryLink("../", p.leaf)}
	for _, other := range x.platforms {
		if other.ID == p.ID && (other.Number == p.Number-1 || other.Number == p.Number+1) && len(links) < 8 {
			links = append(links, link{Href: fmt.Sprintf("%d.html", other.leaf), Text: x.say("record %s", strconv.Itoa(other.Number))})
		}
	}
	parts := []part{{Heading: x.say("What it says"), Lines: p.LinesIn(x.say)}}
	if p.before != nil {
		parts = append(parts, part{Heading: x.say("What changed"), Lines: p.ChangesIn(x.say, p.before)})
	}
	return x.document("platforms/"+name, x.say("%s: record %s", p.Name, strconv.Itoa(p.Number)), x.say("What the public registry says of this platform since %s.", p.day), links, sheets(parts), number)
}

// found are findings of one sort.
type found struct {
	heading string
	count   int
	parts   []part // of the first of them
}

func (f *found) add(at link, m meaning) {
	if f.count++; f.count <= mostFindings {
		f.parts = append(f.parts, part{Link: at, Lines: []string{m.Words}, Of: m.Code})
	}
}

// findingsPage is what an audit of everything finds.
func (x *index) findingsPage(number int) (Page, error) {
	broken, missed := found{heading: x.say("Rules that were broken")}, found{heading: x.say("Dates that were missed")}
	unjudged, over := found{heading: x.say("What this program could not judge")}, found{heading: x.say("Days that are over, which accuse nobody")}
	for _, f := range x.report.Findings {
		if m := x.finding(f.Code); m.Unjudged {
			unjudged.add(x.entryLink("", f.Index), m)
		} else {
			broken.add(x.entryLink("", f.Index), m)
		}
	}
	for _, d := range x.report.Deadlines {
		of := &missed
		if !accuses(d) {
			of = &over
		}
		of.add(link{Href: fmt.Sprintf("cases/%d.html", d.Case), Text: x.say("case %s", strconv.FormatInt(d.Case, 10))}, meaning{Words: x.missedWords(d)})
	}
	var parts []part
	for i, f := range []found{broken, missed, unjudged, over} {
		heading := part{Heading: f.heading}
		if f.count == 0 {
			heading.Lines = []string{x.say("None.")}
		}
		if f.count > 0 || i < 2 {
			parts = append(append(parts, heading), f.parts...)
		}
	}
	intro := x.say("What an audit of all entries finds, judged at the time of the newest checkpoint. Breaches of rules: %s. Missed dates: %s. The first %s of each are named here. Do it yourself with escrow log audit.", strconv.Itoa(broken.count), strconv.Itoa(missed.count), strconv.Itoa(mostFindings))
	if unjudged.count > 0 {
		intro += " " + x.say("Beside them are things that this program could not judge, which accuse nobody: %s. A newer program may know them, or what was lacking may be had later.", strconv.Itoa(unjudged.count))
	}
	if x.unsound() {
		intro += " " + x.say("It did not come to an end: numbers do not add up.")
	}
	return x.document("findings", x.say("What an audit finds"), intro, []link{{Href: "check.html", Text: x.say("check it yourself")}}, sheets(parts), number)
}

// unsound reports whether the numbers of the log do not add up: that is beside its findings.
func (s *state) unsound() bool { return s.verdict != nil && len(s.report.Findings) == 0 }

// accuses reports whether a deadline was somebody's to meet. The end of a preservation is only a
// day that passed.
func accuses(d proof.Deadline) bool { return d.What != proof.DeadlineExpiry }

// wrong is how many things are wrong or late that the page of findings tells, and of how many
// this program could not judge whether they are.
func (s *state) wrong() (wrong, unjudged int) {
	for _, f := range s.report.Findings {
		if f.Accuses() {
			wrong++
		} else {
			unjudged++
		}
	}
	for _, d := range s.report.Deadlines {
		if accuses(d) {
			wrong++
		}
	}
	if s.unsound() {
		wrong++
	}
	return wrong, unjudged
}

// mostFindings are named.
const mostFindings = 500

// sortedDown are the keys, falling.
func sortedDown(counts map[string]int) []string {
	names := slices.Sorted(maps.Keys(counts))
	slices.Reverse(names)
	return names
}
