package record_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"html"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/verifier/languages"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/record"
	"github.com/penname/penname/verifier/record/recordtest"
	"github.com/penname/penname/verifier/rules"
)

const origin = "https://penname.example"

// none is where nothing can be had: a mirror has all.
func none(context.Context, string) ([]byte, []string, error) { return nil, nil, rules.ErrUnavailable }

func noRecords(context.Context, string) (string, []string, error) {
	return "", nil, rules.ErrUnavailable
}

// told is a log with a story in it, of so many entries.
func told(t testing.TB, entries int64) *recordtest.World {
	t.Helper()
	w := recordtest.New(t, origin)
	w.Story()
	w.Grow(entries, 200)
	w.Publish(recordtest.Noon)
	return w
}

func followed(t testing.TB, w *recordtest.World) *record.Record {
	t.Helper()
	r := record.New(w, w.Fetch, w.Records)
	if err := r.Follow(t.Context(), w.Log(), nil); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return r
}

// mirrored is the record as it is made of a mirror alone.
func mirrored(t testing.TB, w *recordtest.World) *record.Record {
	t.Helper()
	return mirroredIn(t, w, languages.Ours.Each()...)
}

func mirroredIn(t testing.TB, w *recordtest.World, further ...*languages.Language) *record.Record {
	t.Helper()
	dir := t.TempDir()
	w.Mirror(dir)
	tiles, err := proof.Directory(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := record.New(tiles, rules.FromMirror(dir, none), rules.RecordsFromMirror(dir, noRecords))
	r.Speak(further...)
	if err := r.Follow(t.Context(), w.Log(), nil); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return r
}

// all are all pages by their addresses.
func all(t testing.TB, r *record.Record) map[string]record.Page {
	t.Helper()
	pages := map[string]record.Page{}
	var mu sync.Mutex
	if err := r.Each(t.Context(), func(path string, p record.Page) error {
		mu.Lock()
		defer mu.Unlock()
		if _, twice := pages[path]; twice {
			t.Errorf("%s comes twice", path)
		}
		pages[path] = p
		return nil
	}); err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return pages
}

var hrefs = regexp.MustCompile(`(?:href|src)="([^"]*)"`)

// leads are the addresses within the record to which a page leads.
func leads(t testing.TB, from string, p record.Page) (to []string) {
	t.Helper()
	if !strings.HasPrefix(p.Type, "text/html") {
		return nil
	}
	at, err := url.Parse(origin + "/record/" + from)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range hrefs.FindAllSubmatch(p.Body, -1) {
		link := html.UnescapeString(string(m[1]))
		u, err := at.Parse(link)
		if err != nil {
			t.Errorf("%s: %q: %v", from, link, err)
			continue
		}
		if strings.HasPrefix(link, origin) || strings.HasPrefix(link, "#") {
			continue // the canonical address
		}
		path, ok := strings.CutPrefix(u.Path, "/record/")
		if !ok || u.Host != at.Host || u.RawQuery != "" {
			t.Errorf("%s leads to %s", from, u)
		}
		to = append(to, path)
	}
	return to
}

// TestTheRecordFromAMirrorIsTheSame: byte for byte, all pages, and they are those to which
// links lead.
func TestTheRecordFromAMirrorIsTheSame(t *testing.T) {
	w := told(t, 700)
	live, copied := followed(t, w), mirrored(t, w)
	pages, others := all(t, live), all(t, copied)
	if !slices.Equal(slices.Sorted(maps.Keys(pages)), slices.Sorted(maps.Keys(others))) {
		t.Error("other pages")
	}
	for path, p := range pages {
		if o := others[path]; !bytes.Equal(o.Body, p.Body) || o.Type != p.Type {
			t.Errorf("%s is another:\n%s\nfrom a mirror:\n%s", path, p.Body, o.Body)
		}
		if one, err := copied.Page(t.Context(), path); err != nil || !bytes.Equal(one.Body, p.Body) {
			t.Errorf("%s, asked for by itself: %v", path, err)
		}
	}
	// Each is reached by links alone, and each link leads to a page.
	reached, next := map[string]bool{"index.html": true}, []string{"index.html", "404.html"}
	for len(next) > 0 {
		from := next[0]
		next = next[1:]
		for _, to := range leads(t, from, pages[from]) {
			if _, ok := pages[to]; !ok {
				t.Errorf("%s leads to %s, which is not there", from, to)
			}
			if !reached[to] {
				reached[to] = true
				next = append(next, to)
			}
		}
	}
	for path := range pages {
		if !reached[path] && path != "404.html" {
			t.Errorf("no link leads to %s", path)
		}
	}
	if len(pages) < 1_500 {
		t.Errorf("%d pages", len(pages))
	}
}

// TestPagesOfTheRecord: each is small, says no more than it may, and shows harmlessly what a
// log holds.
func TestPagesOfTheRecord(t *testing.T) {
	w := told(t, 400)
	largest, of := 0, ""
	for path, p := range all(t, followed(t, w)) {
		if !strings.HasPrefix(p.Type, "text/html") {
			continue
		}
		if n := len(p.Body); n > largest {
			largest, of = n, path
		}
		if len(p.Body) > record.MaxPage {
			t.Errorf("%s has %d bytes", path, len(p.Body))
		}
		text := string(p.Body)
		for _, never := range []string{"<script", "style=", "<form", "<i>", "<b>", "onclick", "ZgotmplZ", "%!"} {
			if strings.Contains(text, never) {
				t.Errorf("%s has %s", path, never)
			}
		}
		if i := strings.IndexFunc(text, func(c rune) bool {
			return c != '\n' && (unicode.IsControl(c) || unicode.Is(unicode.Cf, c)) || c == unicode.ReplacementChar
		}); i >= 0 {
			t.Errorf("%s has an invisible character in %q", path, text[max(0, i-40):min(len(text), i+40)])
		}
		in := "en"
		if strings.HasPrefix(path, "cy/") {
			in = "cy"
		}
		if !strings.HasPrefix(text, "<!doctype html>\n<html lang=\""+in+"\">") || strings.Count(text, "<h1>") != 1 || strings.Count(text, "</html>") != 1 {
			t.Errorf("%s is no page: %s", path, text)
		}
	}
	t.Logf("the largest page is %s, %d bytes", of, largest)
}

// TestAnEntryIsProvenByItsText: what a page offers is what the command checks, whatever the
// entry is, and a changed one is refused.
func TestAnEntryIsProvenByItsText(t *testing.T) {
	w := told(t, 300)
	r := followed(t, w)
	for n := range w.Size() {
		page, rest := entryParts(t, r, n)
		if p, err := record.ParseEntryText(page.Body); !errors.Is(err, record.ErrEntryFile) {
			t.Errorf("half a proof: %+v, %v", p, err)
		}
		page.Body = append(bytes.Clone(page.Body), rest.Body...)
		p, err := record.ParseEntryText(page.Body)
		if err != nil {
			t.Fatal(n, err)
		}
		if at, _, err := w.Log().VerifyProof(p.Leaf, p.Proof); err != nil || at != n {
			t.Errorf("entry %d is proven as %d: %v", n, at, err)
		}
		if n%37 == 0 {
			other := bytes.Clone(page.Body)
			other[5] ^= 1
			if p, err := record.ParseEntryText(other); err == nil {
				if _, _, err := w.Log().VerifyProof(p.Leaf, p.Proof); err == nil {
					t.Errorf("entry %d is proven with another byte", n)
				}
			}
		}
	}
	for _, wrong := range []string{"", "\n\n", "{}", "base64:!\n\nproof", "base64:e30\n\nproof", "x\n\ny"} {
		if p, err := record.ParseEntryText([]byte(wrong)); !errors.Is(err, record.ErrEntryFile) {
			t.Errorf("%q: %+v, %v", wrong, p, err)
		}
	}
}

// entryParts are the two parts of what proves an entry.
func entryParts(t *testing.T, r *record.Record, n int64) (text, rest record.Page) {
	t.Helper()
	text, err := r.Page(t.Context(), entryText(n))
	if err == nil {
		rest, err = r.Page(t.Context(), "proofs/"+itoa(n/256)+".txt")
	}
	if err != nil {
		t.Fatal(n, err)
	}
	return text, rest
}

// TestPagesOfEntriesStay: once its range is full, what is said of an entry is the same bytes, and
// what began its proof then ends in any later checkpoint.
func TestPagesOfEntriesStay(t *testing.T) {
	w := told(t, 520)
	before := all(t, followed(t, w))
	w.Grow(1500, 200)
	w.NextRules()
	w.Platform("third", nil)
	w.Publish(recordtest.Noon.Add(time.Hour))
	r := followed(t, w)
	kept, others := map[record.Lasts]int{}, 0
	for path, now := range all(t, r) {
		if was, ok := before[path]; ok && was.Lasts != record.Short {
			if was.Lasts == record.Newest {
				continue
			}
			if kept[was.Lasts]++; !bytes.Equal(was.Body, now.Body) || was.Lasts != now.Lasts {
				t.Errorf("%s was\n%s\nand is\n%s", path, was.Body, now.Body)
			}
		} else if ok && strings.HasPrefix(path, "entries~") && !bytes.Equal(was.Body, now.Body) {
			others++
		}
	}
	if kept[record.Forever] != 512 || kept[record.Long] != 2*512 {
		t.Errorf("%v stay", kept)
	}
	if others > 11 { // those of which the part ten further was not there yet
		t.Errorf("%d parts of the list changed", others)
	}
	for _, n := range []int64{0, 4, 255, 256, 511} {
		_, rest := entryParts(t, r, n)
		p, err := record.ParseEntryText(append(bytes.Clone(before[entryText(n)].Body), rest.Body...))
		if err != nil {
			t.Fatal(n, err)
		}
		if at, c, err := w.Log().VerifyProof(p.Leaf, p.Proof); err != nil || at != n || c.N != w.Size() {
			t.Errorf("entry %d: %d under %d, %v", n, at, c.N, err)
		}
	}
}

func entryText(n int64) string { return strings.Replace(entryPage(n), ".html", ".txt", 1) }

func entryPage(n int64) string { return "entries/" + json.Number(itoa(n)).String() + ".html" }

func itoa(n int64) string { b, _ := json.Marshal(n); return string(b) }

// TestTheRecordGrows: what was followed in steps is what is read at once, and a log that takes
// something back is not followed.
func TestTheRecordGrows(t *testing.T) {
	w := recordtest.New(t, origin)
	w.Publish(recordtest.Noon)
	r := followed(t, w)
	for _, step := range []func(){func() {}, w.Story, w.NextRules, func() { w.Grow(w.Size()+300, 20) }, func() { w.Platform("third", nil) }} {
		step()
		w.Publish(recordtest.Noon.Add(time.Duration(w.Size()) * time.Second))
		if err := r.Follow(t.Context(), w.Log(), nil); err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
		one, other := all(t, r), all(t, followed(t, w))
		if !slices.Equal(slices.Sorted(maps.Keys(one)), slices.Sorted(maps.Keys(other))) {
			t.Fatal("other pages")
		}
		for path, p := range one {
			if !bytes.Equal(p.Body, other[path].Body) {
				t.Fatalf("%s:\n%s\nat once:\n%s", path, p.Body, other[path].Body)
			}
		}
	}
	before, err := r.Page(t.Context(), "index.html")
	if err != nil {
		t.Fatal(err)
	}
	another := recordtest.New(t, origin)
	another.Publish(recordtest.Noon)
	if err := r.Follow(t.Context(), another.Log(), nil); err != nil {
		t.Log("another log's checkpoint is not read by this record: it has a reader of its own")
	}
	w.Bundles = nil // nothing can be had any more
	w.Add(proof.BundleLeaf(w.Now, strings.Repeat("ab", 32)))
	w.Publish(recordtest.Noon.Add(24 * time.Hour))
	if err := r.Follow(t.Context(), w.Log(), nil); !errors.Is(err, rules.ErrUnavailable) {
		t.Errorf("rules that cannot be had: %v", err)
	}
	if after, err := r.Page(t.Context(), "index.html"); err != nil || !bytes.Equal(after.Body, before.Body) {
		t.Errorf("what was read before is shown on: %v", err)
	}
}

// TestWrongAddresses: whatever is asked for, there is a page or [record.ErrNoPage].
func TestWrongAddresses(t *testing.T) {
	w := told(t, 300)
	r := followed(t, w)
	for _, path := range []string{
		"nosuch", "nosuch.html", "entries", "entries/", "entries/300.html", "entries/-1.html", "entries/01.html", "entries/+1.html", "entries/1e2.html", "entries/99999999999999999999.html",
		"entries/1", "entries/1.json", "entries/1.txt.txt", "entries/x.html", "entries/1/2.html", "entries~0.html", "entries~99.html", "entries~01.html", "entries~-1.html", "entries~.html", "entries~1~1.html",
		"cases/0.html", "cases/9999.html", "cases/x.html", "cases/4~1.html", "cases/4~2.html", "days/2026-13.html", "days/2019.html", "days/1.html", "days/2026-11-31.html", "days/.html",
		"kinds/nosuch.html", "kinds/.html", "kinds/recorded~999.html", "classes/../index.html", "jurisdictions/gb-eng.html", "statistics/1999.html", "statistics/unknown.html", "statistics/2026~2.html",
		"rules/0.html", "rules/3.html", "rules/1-changes.html", "rules/9.json", "rules/x.json", "rules/1.json.html", "platforms/0.html", "platforms/x.html", "custodians~1.html", "custodians~9.html", "findings~77.html",
		"../index.html", "/index.html", "/cases.html", "//cases.html", "proofs", "proofs.html", "proofs/2.txt", "proofs/0.html", "proofs/00.txt", "proofs/-1.txt", "proofs/x.txt", "proofs/.txt", "proofs/9223372036854775807.txt", "index.html/", "INDEX.html", "%00", "\x00", "entries/\u202e.html", strings.Repeat("a", 100_000), "bundle.json/x", "404", "feed",
	} {
		if p, err := r.Page(t.Context(), path); !errors.Is(err, record.ErrNoPage) {
			t.Errorf("%q: %v %.300s", path, err, p.Body)
		}
	}
	if _, err := record.New(w, w.Fetch, w.Records).Page(t.Context(), "index.html"); !errors.Is(err, record.ErrNotYet) {
		t.Error("before the log was read: ", err)
	}
}

func FuzzPage(f *testing.F) {
	w := told(f, 120)
	r := followed(f, w)
	for _, seed := range []string{"", "index.html", "entries/7.html", "entries~2.html", "cases/4.html", "days/2026-11.html", "rules/2-changes.html", "kinds/recorded~1.html", "statistics/2025.html"} {
		f.Add(seed)
	}
	fuzzing.Run(f, func(t *testing.T, path string) {
		p, err := r.Page(t.Context(), path)
		if err != nil && !errors.Is(err, record.ErrNoPage) {
			t.Errorf("%q: %v", path, err)
		}
		if strings.HasPrefix(p.Type, "text/html") && len(p.Body) > record.MaxPage {
			t.Errorf("%q: %d bytes", path, len(p.Body))
		}
	})
}

// TestFilesOfTheRecord: the numbers as a spreadsheet and a program read them, the rules as the
// commands take them, and the feed.
func TestFilesOfTheRecord(t *testing.T) {
	w := told(t, 500)
	pages := all(t, followed(t, w))
	for _, by := range []string{"years", "months"} {
		rows, err := csv.NewReader(bytes.NewReader(pages["statistics/"+by+".csv"].Body)).ReadAll()
		if err != nil || len(rows) < 10 {
			t.Fatal(rows, err)
		}
		var said struct{ Periods []proof.Period }
		if err := json.Unmarshal(pages["statistics/"+by+".json"].Body, &said); err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		for _, p := range said.Periods {
			sum += p.Entries
		}
		if sum != w.Size() {
			t.Errorf("%s: %d entries of %d", by, sum, w.Size())
		}
	}
	raw, err := w.Bundle.Marshal()
	if err != nil || !bytes.Equal(pages["bundle.json"].Body, raw) || !bytes.Equal(pages["rules/2.json"].Body, raw) || bytes.Equal(pages["rules/1.json"].Body, raw) {
		t.Errorf("the rules are others: %v", err)
	}
	var feed struct {
		Entries []struct {
			ID      string `xml:"id"`
			Updated string `xml:"updated"`
			Title   string `xml:"title"`
		} `xml:"entry"`
	}
	if err := xml.Unmarshal(pages["feed.atom"].Body, &feed); err != nil || len(feed.Entries) < 20 || feed.Entries[0].ID != origin+"/record/entries/"+itoa(w.Size()-1) {
		t.Errorf("%+v, %v", feed, err)
	}
	for path, want := range map[string][]string{
		"index.html":            {"28 November 2026, 12:00:00 UTC", "things that are wrong or late"},
		"findings.html":         {"Something else has to come before it, or it came once already. <code class=\"hint\">out_of_order</code>", "The persons were to be told by", "<h2>What this program could not judge</h2>", ">leaf_not_understood<"},
		"kinds.html":            {"A person deleted a sealed record. Only they know which.", ">recorded</a>"},
		"warrants.html":         {"Keeps the records of pen names. Nothing is opened."},
		"kinds/refused.html":    {"An order was refused: a rule forbids it. <code class=\"hint\">warrant.refused_by_rule</code>"},
		"rules.html":            {"Rules 2, in force since 2025-12-09: 2 of 5", "Rules 1, in force from 2024-11-04 to 2025-12-09: 2 of 5"},
		"rules/2-changes.html":  {"falls from 600 to 599"},
		"rules/1.html":          {"custodian alba"},
		"platforms.html":        {"Market &lt;i&gt;&amp; Fair&lt;/i&gt;", "The Square", "record 2 of town-square"},
		"courts.html":           {"The County Court at &lt;b&gt;Thornley&lt;/b&gt;", "GB-ENG"},
		"custodians.html":       {"Custodian alba", "Of these 5, 2 must agree"},
		"checkpoint.html":       {"The alder society", "did not sign this one", w.Bundle.Log.Origin},
		"check.html":            {"escrow record build site --mirror mirror --bundle bundle.json", w.Bundle.Hash()},
		"kinds/unreadable.html": {"This program cannot read this entry."},
		"statistics.html":       {"<svg ", "<title id=", "<caption>Statistics</caption>", `href="statistics/2025.html"`},
		"statistics/2025.html":  {"What became of the orders", `href="../days/2025-`},
	} {
		for _, words := range want {
			if !bytes.Contains(pages[path].Body, []byte(words)) {
				t.Errorf("%s does not say %q:\n%s", path, words, pages[path].Body)
			}
		}
	}
}

// TestTheFeedStays: an entry has one id and one day, whoever serves the log later, and one that
// cannot be read has the day before it.
func TestTheFeedStays(t *testing.T) {
	type fed struct {
		ID      string `xml:"id"`
		Updated string `xml:"updated"`
		Link    struct {
			Href string `xml:"href,attr"`
		} `xml:"link"`
	}
	feed := func(w *recordtest.World) (id string, by map[string]fed) {
		w.Publish(recordtest.Noon)
		p, err := followed(t, w).Page(t.Context(), "feed.atom")
		if err != nil {
			t.Fatal(err)
		}
		var f struct {
			ID      string `xml:"id"`
			Entries []fed  `xml:"entry"`
		}
		if err := xml.Unmarshal(p.Body, &f); err != nil {
			t.Fatal(err)
		}
		by = map[string]fed{}
		for _, e := range f.Entries {
			by[e.ID] = e
		}
		return f.ID, by
	}
	w := recordtest.New(t, origin)
	w.AddRaw([]byte(recordtest.Hostile))
	id, before := feed(w)
	if e := before[origin+"/record/entries/1"]; id != origin+"/record/" || e.Updated != proof.Day(w.Now)+"T00:00:00Z" {
		t.Errorf("%s %+v", id, before)
	}
	w.Later(3)
	w.Moves("https://elsewhere.example")
	for range 25 {
		w.AddRaw([]byte(recordtest.Hostile))
	}
	day := proof.Day(w.Now)
	moved, after := feed(w)
	if e := after[origin+"/record/entries/27"]; moved != id || e.Updated != day+"T00:00:00Z" || e.Link.Href != "https://elsewhere.example/record/entries/27" || len(after) != 28 {
		t.Errorf("%s %+v", moved, after)
	}
}

// TestTheFeedHasTheNewestDays: all of the newest two, within a bound, and it is as old as its newest
// entry: a checkpoint alone changes nothing.
func TestTheFeedHasTheNewestDays(t *testing.T) {
	var feed struct {
		Updated string `xml:"updated"`
		Entries []struct {
			Updated string `xml:"updated"`
		} `xml:"entry"`
	}
	fed := func(w *recordtest.World, at time.Time) []byte {
		w.Publish(at)
		p, err := followed(t, w).Page(t.Context(), "feed.atom")
		if err == nil {
			feed.Entries = nil
			err = xml.Unmarshal(p.Body, &feed)
		}
		if err != nil {
			t.Fatal(err)
		}
		return p.Body
	}
	w := recordtest.New(t, origin)
	refused := func(n int) {
		w.Later(1)
		for range n {
			w.Add(proof.RefusedLeaf(w.Now, "warrant.expired"))
		}
	}
	for _, c := range []struct{ refused, fed int }{{40, 41}, {30, 70}, {3, 33}, {1, 20}, {600, 500}} { // of two days 4 would do: it has 20
		refused(c.refused)
		before := fed(w, recordtest.Noon)
		if len(feed.Entries) != c.fed || feed.Updated != proof.Day(w.Now)+"T00:00:00Z" || feed.Entries[0].Updated != feed.Updated {
			t.Errorf("after %d on %s: %d, %s", c.refused, proof.Day(w.Now), len(feed.Entries), feed.Updated)
		}
		if after := fed(w, recordtest.Noon.Add(time.Hour)); !bytes.Equal(after, before) {
			t.Errorf("another checkpoint changes it to %s", after)
		}
	}
}

// newer is an entry of a version to come.
const newer = `{"v":2,"kind":"later","day":"2099-01-01"}`

// TestTheVerdictIsThatOfTheFindings: the first page counts what the page of findings tells, and the
// page of statistics does not promise what the command then refuses. What accuses nobody is told
// apart, everywhere.
func TestTheVerdictIsThatOfTheFindings(t *testing.T) {
	const fine, wrong, unjudged = `<a href="findings.html">finds nothing wrong</a>`, `<a href="findings.html">1 thing that is wrong or late</a>`, `<a href="findings.html">1 thing that this program could not judge</a>`
	grown := func(raw ...string) *recordtest.World {
		w := recordtest.New(t, origin)
		w.Platform("town-square", nil)
		for _, raw := range raw {
			w.AddRaw([]byte(raw))
		}
		return w
	}
	for name, c := range map[string]struct {
		w          *recordtest.World
		first, not []string
		statistics string
		found      [2]int
	}{
		"nothing":  {grown(), []string{fine}, []string{unjudged, "wrong or late"}, "prints, byte for byte", [2]int{0, 0}},
		"a breach": {grown(recordtest.Hostile), []string{wrong}, []string{fine, unjudged}, "an entry that breaks a rule stays in the log", [2]int{1, 0}},
		"unjudged": {grown(newer), []string{fine, unjudged}, []string{"wrong or late"}, "could not judge", [2]int{0, 1}},
		"both":     {grown(newer, recordtest.Hostile), []string{wrong, unjudged}, []string{fine}, "an entry that breaks a rule stays in the log", [2]int{1, 1}},
		"a story":  {told(t, 300), []string{"things that are wrong or late</a>", unjudged}, []string{fine}, "an entry that breaks a rule stays in the log", [2]int{}},
	} {
		c.w.Publish(recordtest.Noon)
		r := followed(t, c.w)
		pages := all(t, r)
		first, statistics, findings := string(pages["index.html"].Body), string(pages["statistics.html"].Body), string(pages["findings.html"].Body)
		for _, says := range c.first {
			if !strings.Contains(first, says) {
				t.Errorf("%s: it does not say %q: %s", name, says, first)
			}
		}
		for _, says := range c.not {
			if strings.Contains(first, says) {
				t.Errorf("%s: it says %q: %s", name, says, first)
			}
		}
		if !strings.Contains(statistics, c.statistics) || !strings.Contains(statistics, "tell no number under 5") {
			t.Errorf("%s: %s", name, statistics)
		}
		is, not := r.Wrong()
		if _, verdict := r.Audit(); name != "a story" && [2]int{is, not} != c.found || (verdict == nil) != strings.Contains(statistics, "prints, byte for byte") {
			t.Errorf("%s: %d and %d, not %v: %v", name, is, not, c.found, verdict)
		}
		broken, rest, apart := strings.Cut(findings, "<h2>What this program could not judge</h2>")
		if apart != (not > 0) || strings.Contains(broken, "leaf_not_understood") || apart && (!strings.Contains(rest, "leaf_not_understood") || strings.Contains(rest, "malformed")) {
			t.Errorf("%s: %s", name, findings)
		}
		for path, p := range pages {
			if strings.HasPrefix(p.Type, "text/html") && !bytes.Contains(p.Body, []byte("can see whether the case was about it")) && !bytes.Contains(p.Body, []byte("weld a oedd yr achos yn ymwneud ag ef")) {
				t.Errorf("%s does not say what a notice opens", path)
			}
			if path, ok := strings.CutPrefix(path, "entries/"); ok && strings.HasSuffix(path, ".html") {
				accused, doubted := bytes.Contains(p.Body, []byte("An audit finds:")), bytes.Contains(p.Body, []byte("What this program could not judge:"))
				if unknown := bytes.Contains(p.Body, []byte(`<code class="hint">leaf_not_understood</code>`)); doubted != unknown || accused && unknown {
					t.Errorf("%s: entry %s: %s", name, path, p.Body)
				}
			}
		}
	}
}

// TestWhomACaseIsAbout: that is said of a case that names somebody, and of no other.
func TestWhomACaseIsAbout(t *testing.T) {
	w := recordtest.New(t, origin)
	first := w.Warrant(proof.Production, 2, w.Salt(), nil)
	back := w.Warrant(proof.Withdrawal, 0, w.Salt(), func(l *proof.Leaf) { l.Case = &first })
	w.Publish(recordtest.Noon)
	r := followed(t, w)
	for of, want := range map[int64]bool{first: true, back: false} {
		p, err := r.Page(t.Context(), "cases/"+itoa(of)+".html")
		if err != nil || bytes.Contains(p.Body, []byte("Whom it is about")) != want {
			t.Errorf("case %d: %v %s", of, err, p.Body)
		}
	}
}

// TestOrdersThatOpenAreToldApart: from those that take back, annul or answer, in the chart and its
// table, whose sum stays what the log shows.
func TestOrdersThatOpenAreToldApart(t *testing.T) {
	w := recordtest.New(t, origin)
	first := w.Warrant(proof.Production, 2, w.Salt(), nil)
	w.Warrant(proof.Emergency, 1, w.Salt(), nil)
	w.Warrant(proof.Preservation, 1, w.Salt(), nil)
	w.Warrant(proof.Withdrawal, 0, w.Salt(), func(l *proof.Leaf) { l.Case = &first })
	w.Publish(recordtest.Noon)
	r := followed(t, w)
	for path, want := range map[string][]string{
		"statistics.html": {`>2024</a></th><td>5</td><td>4</td><td>2</td><td>0</td>`, `<desc id="opening-desc">2024: 2.</desc>`},
		"index.html":      {`Orders recorded</a></dt><dd>4</dd>`, `Of these, that can open names</a></dt><dd>2</dd>`},
	} {
		p, err := r.Page(t.Context(), path)
		for _, says := range want {
			if err != nil || !bytes.Contains(p.Body, []byte(says)) {
				t.Errorf("%s does not say %s: %v %s", path, says, err, p.Body)
			}
		}
	}
}

// TestStatisticsOfALongTime: of many years in which there was everything, and much of it, no page is
// too long.
func TestStatisticsOfALongTime(t *testing.T) {
	w := recordtest.New(t, origin)
	w.Now = time.Date(2024, 11, 5, 0, 0, 0, 0, time.UTC)
	kinds := []string{proof.Production, proof.Emergency, proof.Preservation, proof.Withdrawal, proof.Annulment, proof.Validation, proof.Ruling, proof.Suspension, proof.Link, proof.Redelivery, proof.SecrecyChange, proof.Extension}
	codes := strings.Fields("bad_signature expires_before_objection signing_time validity_too_long reasons_missing offence_authority too_many_targets earlier_authority evidence_mismatch custodian_asks certificate_not_registered platform_key_too_new secrecy")
	var first *int64
	for range 26 * 12 {
		w.Now = w.Now.AddDate(0, 1, 0)
		for i, kind := range kinds {
			k := proof.WarrantKindOf(kind)
			targets := 0
			if k.Targets {
				targets = 1
			}
			n := w.Warrant(kind, targets, w.Salt(), func(l *proof.Leaf) {
				l.Jurisdiction, l.OffenceClass = fmt.Sprintf("GB-E%c%c", 'A'+i, 'A'+i), strings.Repeat(string(rune('a'+i)), 30)
				if k.Earlier {
					l.Case = first
				}
			})
			if first == nil {
				first = &n
			}
		}
		for _, code := range codes {
			w.Add(proof.RefusedLeaf(w.Now, "warrant."+code))
		}
	}
	w.Publish(w.Now.Add(time.Hour))
	r := followed(t, w)
	for _, path := range []string{"statistics.html", "statistics/2030.html", "kinds.html", "warrants.html", "findings.html", "search.html", "check.html", "index.html", "kinds/refused.html"} {
		for _, in := range []string{"", "cy/"} {
			p, err := r.Page(t.Context(), in+path)
			if err != nil || len(p.Body) > record.MaxPage {
				t.Errorf("%s%s: %d bytes, %v", in, path, len(p.Body), err)
			}
		}
	}
}

// TestTheEntryToTryStays: the page that says how to check shows an entry whose proof begins for ever,
// as soon as there is one.
func TestTheEntryToTryStays(t *testing.T) {
	for size, want := range map[int64]string{100: "entries/99.txt", 300: "entries/255.txt", 600: "entries/511.txt"} {
		w := recordtest.New(t, origin)
		w.Grow(size, 200)
		w.Publish(recordtest.Noon)
		p, err := followed(t, w).Page(t.Context(), "check.html")
		if err != nil || !bytes.Contains(p.Body, []byte(want)) {
			t.Errorf("of %d not %s: %v %s", w.Size(), want, err, p.Body)
		}
	}
}

// TestBuild: the folder holds every page, a second build writes nothing, and one of a log that has
// grown what is new.
func TestBuild(t *testing.T) {
	w := told(t, 300)
	dir := t.TempDir()
	b, err := mirrored(t, w).Build(t.Context(), filepath.Join(dir, "site"), record.Building{Program: "this"})
	if err != nil || b.Written != b.Files || b.Entries != w.Size() {
		t.Fatalf("%+v, %v", b, err)
	}
	pages := all(t, followed(t, w))
	found := 0
	if err := fs.WalkDir(os.DirFS(filepath.Join(dir, "site")), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		found++
		if path == ".penname-built" {
			found--
			return nil
		}
		b, err := os.ReadFile(filepath.Join(dir, "site", path))
		if !bytes.Equal(b, pages[path].Body) {
			t.Errorf("%s is another", path)
		}
		return err
	}); err != nil || found != len(pages) {
		t.Errorf("%d files, %d pages, %v", found, len(pages), err)
	}
	if b, err = mirrored(t, w).Build(t.Context(), filepath.Join(dir, "site"), record.Building{Program: "this"}); err != nil || b.Written != 0 {
		t.Errorf("again: %+v, %v", b, err)
	}
	w.Grow(310, 5)
	w.Publish(recordtest.Noon.Add(time.Hour))
	if b, err = mirrored(t, w).Build(t.Context(), filepath.Join(dir, "site"), record.Building{Program: "this"}); err != nil || b.Written < 20 || b.Entries != 310 {
		t.Errorf("after it has grown: %+v, %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mirrored(t, w).Build(t.Context(), filepath.Join(dir, "file"), record.Building{Program: "this"}); !errors.Is(err, record.ErrFolder) {
		t.Errorf("into a file: %v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := mirrored(t, w).Build(stopped, filepath.Join(dir, "stopped"), record.Building{}); err == nil {
		t.Error("it was stopped and says that all is well")
	}
}

// holds is an error if a folder has other pages than these, beside what is mine, or not as many as a
// build said.
func holds(t *testing.T, dir string, pages map[string]record.Page, b record.Built) {
	t.Helper()
	have := map[string]bool{}
	size := int64(0)
	if err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path == ".penname-built" || strings.HasPrefix(path, "mine/") || path == "entries/mine.txt" {
			return err
		}
		got, err := os.ReadFile(filepath.Join(dir, path))
		if p, ok := pages[path]; !ok || !bytes.Equal(p.Body, got) {
			t.Errorf("%s is another, or is left over", path)
		}
		have[path], size = true, size+int64(len(got))
		return err
	}); err != nil || len(have) != len(pages) || int64(len(have)) != b.Files || size != b.Bytes {
		t.Errorf("%d files of %d bytes, %d pages, %+v, %v", len(have), size, len(pages), b, err)
	}
}

// TestAnInterruptedBuildLeavesNothing: what it wrote is removed by the next that comes to its end, also
// if there were two; and nothing else is, whatever its file says.
func TestAnInterruptedBuildLeavesNothing(t *testing.T) {
	w := told(t, 300)
	small := mirroredIn(t, w)
	w.Grow(540, 200)
	w.Publish(recordtest.Noon.Add(time.Hour))
	large := mirroredIn(t, w)
	dir, this := t.TempDir(), record.Building{Program: "this"}
	at := func(name string) string { return filepath.Join(dir, name) }
	pages := all(t, small)
	more := int64(len(all(t, large)) - len(pages))
	for _, last := range []*record.Record{large, small} {
		if err := os.Mkdir(at("index.html"), 0o755); err != nil { // what comes last cannot be written
			t.Fatal(err)
		}
		for _, r := range []*record.Record{large, last} {
			if b, err := r.Build(t.Context(), dir, this); !errors.Is(err, record.ErrFolder) {
				t.Errorf("%+v, %v", b, err)
			}
		}
		if err := os.Remove(at("index.html")); err != nil {
			t.Fatal(err)
		}
		b, err := small.Build(t.Context(), dir, this)
		if err != nil || b.Removed != more {
			t.Errorf("%+v, not %d were removed: %v", b, more, err)
		}
		if holds(t, dir, pages, b); last == large {
			for _, name := range []string{"mine/letter.html", "entries/mine.txt"} {
				if err := errors.Join(os.MkdirAll(filepath.Dir(at(name)), 0o755), os.WriteFile(at(name), []byte("mine"), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(os.Remove(at("index.html")), os.WriteFile(at(".penname-building"), []byte("../outside.html\n/etc/hostname\nmine\n\n.penname-built\n{\nentries/mine.txt"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range []string{"mine/letter.html", "entries/mine.txt", ".penname-built"} {
		if b, err := os.ReadFile(at(name)); err != nil || name != ".penname-built" && string(b) != "mine" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// TestBuildKeepsWhatStays: pages of settled entries are not made again, unless something is not as it
// was; what a build wrote and nothing leads to any more is removed, and nothing else.
func TestBuildKeepsWhatStays(t *testing.T) {
	w := told(t, 300)
	small := mirroredIn(t, w) // in one language: see TestBuildInOtherLanguages
	w.Grow(540, 200)
	w.Publish(recordtest.Noon.Add(time.Hour))
	large := mirroredIn(t, w)
	dir := t.TempDir()
	pagesOf := map[*record.Record]map[string]record.Page{small: all(t, small), large: all(t, large)}
	build := func(r *record.Record, how record.Building) record.Built {
		t.Helper()
		b, err := r.Build(t.Context(), dir, how)
		if err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
		holds(t, dir, pagesOf[r], b)
		return b
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(at(name)), 0o755), os.WriteFile(at(name), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	this := record.Building{Program: "this"}
	first := build(small, this)
	put("mine/letter.html", "mine")
	put("entries/mine.txt", "mine")
	date := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(at("entries/17.html"), date, date); err != nil {
		t.Fatal(err)
	}
	second := build(large, this)
	if is, err := os.Stat(at("entries/17.html")); err != nil || !is.ModTime().Equal(date) || second.Removed != 0 || second.Written > 2*(540-256)+450 {
		t.Errorf("%+v after %+v; %v %v", second, first, is, err)
	}
	// What is wrong on the disk is found by its size, and with -every by its bytes.
	put("entries/17.html", "")
	if err := os.Remove(at("entries/200.txt")); err != nil {
		t.Fatal(err)
	}
	if b := build(large, this); b.Written != 2 {
		t.Errorf("%d files were wrong", b.Written)
	}
	whole, err := os.ReadFile(at("entries/17.html"))
	if err != nil {
		t.Fatal(err)
	}
	put("entries/17.html", strings.Repeat("x", len(whole)))
	if b := build(large, record.Building{Program: "this", Every: true}); b.Written != 1 {
		t.Errorf("%d files were wrong", b.Written)
	}
	// Another program reads all.
	put("entries/17.html", strings.Repeat("x", len(whole)))
	if b := build(large, record.Building{Program: "that"}); b.Written != 1 {
		t.Errorf("%d files were wrong", b.Written)
	}
	// A mirror that is older takes away what it does not have, and a new one gives it back.
	if b := build(small, record.Building{Program: "that"}); b.Removed != second.Files-first.Files {
		t.Errorf("%d files were removed, not %d", b.Removed, second.Files-first.Files)
	}
	build(large, record.Building{Program: "that"})
	for _, name := range []string{"mine/letter.html", "entries/mine.txt"} {
		if b, err := os.ReadFile(at(name)); err != nil || string(b) != "mine" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	// Whatever the file of a former build says, nothing is removed that no build writes.
	kept, err := os.ReadFile(at(".penname-built"))
	if err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(filepath.Dir(dir), "outside.html")
	put("../outside.html", "mine")
	put(".penname-built", strings.Replace(string(kept), `"files":[`, `"files":["../outside.html","/etc/hostname","mine/../../outside.html",".","..","mine",".penname-built","","\u0000",`, 1))
	build(large, record.Building{Program: "that"})
	for _, broken := range []string{"", "x", `{"version":2}`} {
		put(".penname-built", broken)
		build(large, record.Building{Program: "that"})
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
}

var buildOf = flag.Int64("build", 20_000, "how many entries the log of BenchmarkBuild has; a million take some 12 GB and minutes")

var buildInEnglish = flag.Bool("english", false, "whether BenchmarkBuild makes pages in English alone")

// BenchmarkBuild makes the record of a mirror anew: following and auditing it, and writing all
// pages.
func BenchmarkBuild(b *testing.B) {
	w := told(b, *buildOf)
	dir := b.TempDir()
	w.Mirror(filepath.Join(dir, "mirror"))
	tiles, err := proof.Directory(filepath.Join(dir, "mirror"))
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		r := record.New(tiles, rules.FromMirror(filepath.Join(dir, "mirror"), none), rules.RecordsFromMirror(filepath.Join(dir, "mirror"), noRecords))
		if *buildInEnglish {
			r.Speak()
		}
		began := time.Now()
		if err := r.Follow(b.Context(), w.Log(), nil); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "~s-to-follow")
		site := filepath.Join(dir, itoa(int64(i)))
		built, err := r.Build(b.Context(), site, record.Building{Program: "this"})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(built.Entries)/time.Since(began).Seconds(), "entries/s")
		b.ReportMetric(time.Since(began).Seconds(), "~s-to-build")
		w.Grow(w.Size()+1000, 200)
		w.Publish(recordtest.Noon.Add(time.Duration(i+1) * time.Hour))
		w.Mirror(filepath.Join(dir, "mirror"))
		if err := r.Follow(b.Context(), w.Log(), nil); err != nil {
			b.Fatal(err)
		}
		began = time.Now()
		again, err := r.Build(b.Context(), site, record.Building{Program: "this"})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "~s-to-build-again")
		b.ReportMetric(float64(again.Written), "~files-again")
		b.ReportMetric(float64(built.Bytes)/1e6, "~MB")
		b.ReportMetric(float64(built.Files), "~files")
		if err := os.RemoveAll(site); err != nil {
			b.Fatal(err)
		}
	}
}
