package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penname/penname/verifier/proof"
)

// newest is how many entries the first page shows, and the feed.
const (
	newestShown = 8
	newestFed   = 20  // at least, and all of the two newest days,
	mostFed     = 500 // but no more than these
)

// figure is a number with what it counts, and where it is told apart.
type figure struct {
	Name, Value, Href string
}

// overview is the first page.
type overview struct {
	frame
	Items           []item
	Figures         []figure
	Size            int64
	At              time.Time
	Wrong, Unjudged int
}

func (x *index) firstPage() (Page, error) {
	o := overview{frame: x.frame("index.html", x.say("The public record")), Size: x.N, At: x.at}
	o.Wrong, o.Unjudged = x.wrong()
	for n := x.N - 1; n >= max(0, x.N-newestShown); n-- {
		o.Items = append(o.Items, x.item(n))
	}
	s := x.report.Statistics
	number := func(name string, n int64, href string) {
		o.Figures = append(o.Figures, figure{name, strconv.FormatInt(n, 10), href})
	}
	number(x.say("Entries"), x.N, "entries.html")
	number(x.say("Orders recorded"), s.ByKind[proof.KindRecorded], "cases.html")
	number(x.say("Of these, that can open names"), opening(s.Warrants), "warrants.html")
	number(x.say("Orders refused"), s.ByKind[proof.KindRefused], kindHref(x, proof.KindRefused))
	number(x.say("Pen names that orders named"), s.Targets, "statistics.html")
	number(x.say("Deliveries of what an order opens"), s.ByKind[proof.KindReleased], kindHref(x, proof.KindReleased))
	number(x.say("Cases whose persons were told afterwards"), s.ByKind[proof.KindNoticed], kindHref(x, proof.KindNoticed))
	number(x.say("Cases whose persons are still to be told, and late"), s.Overdue, "findings.html")
	number(x.say("Records deleted on the wish of their person"), s.Erased, kindHref(x, proof.KindErased))
	return x.render("first", o)
}

// kindHref leads to the entries of a kind, or to all kinds where there is none.
func kindHref(x *index, k proof.Kind) string {
	if len(x.kinds[string(k)]) == 0 {
		return "kinds.html"
	}
	return "kinds/" + string(k) + ".html"
}

// searching is the page that leads to all lists.
type searching struct {
	frame
	Groups []group
}

type group struct {
	Title, Intro, All string
	Links             []link
}

// fewLinks is how many of a facet the search page names itself.
const fewLinks = 20

func (x *index) searchPage() (Page, error) {
	s := searching{frame: x.frame("search.html", x.say("Search"))}
	s.Groups = append(s.Groups, group{x.say("By day"), x.say("Choose a year, then a month and a day. Days are those of UTC."), "days.html", few(x.spans("", 4))})
	for _, dir := range []string{"kinds", "warrants", "jurisdictions", "classes"} {
		s.Groups = append(s.Groups, group{x.say(facets[dir].title), x.say(facets[dir].intro), dir + ".html", few(x.links(dir))})
	}
	return x.render("search", s)
}

func few(all []link) []link { return all[:min(fewLinks, len(all))] }

// checking is the page that says how to check it all.
type checking struct {
	frame
	Registrar, Bundle string
	Size              int64
	Entry             int64 // one to try
	Proof             string
	Witnessed         []string // addresses at which witnesses show what they signed last
}

// mostShown are named of the witnesses' addresses.
const mostShown = 8

func (x *index) checkPage() (Page, error) {
	c := checking{frame: x.frame("check.html", x.say("Check it yourself")), Registrar: x.registrar(), Size: x.N, Entry: max(0, x.N-1)}
	if full := x.ranges.Full(); full > 0 {
		c.Entry = full*proof.RangeWidth - 1 // its first part stays
	}
	c.Proof = proofAddress(c.Entry)
	if b := x.inForce(); b != nil {
		c.Bundle = b.Hash()
		// C2SP tlog-witness, "Monitor Retrieval Mechanism".
		origin := sha256.Sum256([]byte(x.Origin))
		for _, w := range b.Log.Witnesses {
			if w.URL != "" && len(c.Witnessed) < mostShown {
				c.Witnessed = append(c.Witnessed, strings.TrimRight(w.URL, "/")+"/"+hex.EncodeToString(origin[:])+"/checkpoint")
			}
		}
	}
	return x.render("check", c)
}

// missingPage is shown where there is no page, at any address: its links are from the root.
func (x *index) missingPage() (Page, error) {
	f := x.frame("404.html", x.say("There is no such page"))
	f.Root, f.Base, f.Canonical, f.Others = "/record/"+x.to.dir, "/record/", "", x.others("/record/", "404.html")
	return x.render("missing", struct {
		frame
		Size int64
		Last int64
		Days []link
	}{f, x.N, x.N - 1, few(x.spans("", 4))})
}

// watched is the page about the checkpoint and who cosigned it.
type watched struct {
	frame
	Origin, Hash, Text string
	Size               int64
	At                 time.Time
	Quorum             int
	By                 []proof.Cosigned
	More               int
}

// mostWitnesses are named; a checkpoint that a page can hold has no more.
const mostWitnesses = 20

func (x *index) checkpointPage() (Page, error) {
	w := watched{frame: x.frame("checkpoint.html", x.say("Witnesses and checkpoint")), Origin: x.Origin, Hash: x.Hash.String(), Size: x.N, At: x.at, Quorum: x.log.Quorum, By: x.by}
	if len(x.signed) <= maxSigned {
		w.Text = string(x.signed)
	}
	if len(w.By) > mostWitnesses {
		w.By, w.More = w.By[:mostWitnesses], len(w.By)-mostWitnesses
	}
	return x.render("checkpoint", w)
}

func (x *index) checkpointText() (p Page, err error) {
	return Page{Type: typeText, Body: x.signed}, err
}

// feed is the newest entries as Atom (RFC 4287).
func (x *index) feed() (Page, error) {
	type atomLink struct {
		Rel  string `xml:"rel,attr,omitempty"`
		Href string `xml:"href,attr"`
	}
	type atomEntry struct {
		ID      string   `xml:"id"`
		Title   string   `xml:"title"`
		Updated string   `xml:"updated"`
		Link    atomLink `xml:"link"`
		Summary string   `xml:"summary"`
	}
	at := x.registrar() + "/record/"
	var f struct {
		XMLName xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
		ID      string      `xml:"id"`
		Title   string      `xml:"title"`
		Updated string      `xml:"updated"`
		Author  string      `xml:"author>name"`
		Links   []atomLink  `xml:"link"`
		Entries []atomEntry `xml:"entry"`
	}
	// RFC 4287, 4.2.6: an id "MUST NOT change", also when the service moves. So ids are addresses
	// under the rules with which the log began.
	f.ID, f.Title, f.Author = "/record/", "Penname: the public record", x.Origin
	if len(x.bundles) > 0 {
		f.ID = x.bundles[0].Registrar + f.ID
	}
	f.Links = []atomLink{{"self", at + "feed.atom"}, {"alternate", at}}
	from := x.fedFrom()
	day := x.dayBefore(from)
	for n := from; n < x.N; n++ {
		i := x.item(n)
		if i.Day != "" {
			day = i.Day // of an entry that the program cannot read it is not known: it came after the one before
		}
		f.Entries = append(f.Entries, atomEntry{fmt.Sprintf("%sentries/%d", f.ID, n), fmt.Sprintf("Entry %d: %s", n, i.Words), atomTime(day), atomLink{Href: fmt.Sprintf("%sentries/%d", at, n)}, i.Words + " " + i.Of})
	}
	f.Updated = atomTime(day)
	slices.Reverse(f.Entries)
	var b bytes.Buffer
	b.WriteString(xml.Header)
	e := xml.NewEncoder(&b)
	e.Indent("", " ")
	if err := e.Encode(f); err != nil {
		return Page{}, err
	}
	b.WriteByte('\n')
	return Page{Type: typeAtom, Body: visible(b.Bytes())}, nil
}

// atomTime is the beginning of a day: more is not known of most entries.
func atomTime(day string) string { return day + "T00:00:00Z" }

// fedFrom is the first entry of the feed.
func (x *index) fedFrom() int64 {
	days := map[uint32]bool{}
	n := x.N
	for ; n > max(0, x.N-mostFed); n-- {
		if day := x.rows[n-1].day; day != 0 { // else it came after the one before
			days[day] = true
		}
		if len(days) > 2 && n <= x.N-newestFed {
			break
		}
	}
	return n
}

// dayBefore is that of the last entry before one that the program can read, or of the checkpoint.
func (x *index) dayBefore(n int64) string {
	for n--; n >= 0; n-- {
		if day := x.words[x.rows[n].day]; day != "" {
			return day
		}
	}
	return proof.Day(x.at)
}
