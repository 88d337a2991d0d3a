package record

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/penname/penname/escrow/web/pages"
	"github.com/penname/penname/verifier/proof"
)

// Page is what an address of the record answers.
type Page struct {
	Type  string // media type
	Body  []byte
	Lasts Lasts
}

// Lasts is for how long a copy of a page is good.
type Lasts int

// For how long.
const (
	Short   Lasts = iota // till the log has another checkpoint
	Long                 // it changes only if something new is found, or the service moves
	Forever              // it never changes
	Newest               // it goes with another page that changes with the next entry
)

// The media types of pages.
const (
	typeHTML = "text/html; charset=utf-8"
	typeText = "text/plain; charset=utf-8"
	typeJSON = "application/json"
	typeCSV  = "text/csv; charset=utf-8; header=present"
	typeAtom = "application/atom+xml; charset=utf-8"
)

// MaxPage is the size in bytes that no page of HTML exceeds.
const MaxPage = 15_000

//go:embed pages
var files embed.FS

// frame is what every page has.
type frame struct {
	Title     string
	Root      string // relative address of the pages in its language: "", or "../"
	Base      string // of the record
	Canonical string // the page's address at the service, or ""
	Others    []elsewhere
}

// frame begins the page at an address, which is relative to the pages of its language.
func (x *index) frame(path, title string) frame {
	depth := strings.Count(path, "/")
	f := frame{Title: title, Root: strings.Repeat("../", depth), Base: x.base(depth)}
	if from := x.registrar(); from != "" {
		f.Canonical = from + "/record/" + x.to.dir + strings.TrimSuffix(strings.TrimSuffix(path, "index.html"), ".html")
	}
	f.Others = x.others(f.Base, path)
	return f
}

// render makes a page of a template. What a reader could not see, or would see in another
// order than it is written, is shown by its number: the text comes from whoever wrote the log.
func (x *index) render(name string, data any) (Page, error) {
	var b bytes.Buffer
	if err := x.to.templates.ExecuteTemplate(&b, name, data); err != nil {
		return Page{}, err
	}
	return Page{Type: typeHTML, Body: visible(b.Bytes())}, nil
}

// visible replaces what is no visible character by its number, in brackets.
func visible(b []byte) []byte {
	if !bytes.ContainsFunc(b, hidden) && utf8.Valid(b) {
		return b
	}
	var out bytes.Buffer
	for len(b) > 0 {
		c, size := utf8.DecodeRune(b)
		switch {
		case c == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, "[0x%02X]", b[0])
		case hidden(c):
			fmt.Fprintf(&out, "[U+%04X]", c)
		default:
			out.Write(b[:size])
		}
		b = b[size:]
	}
	return out.Bytes()
}

// hidden are controls, formats (by which text changes its direction) and what has no meaning.
func hidden(c rune) bool {
	if ' ' <= c && c <= '~' {
		return false
	}
	return c != '\n' && (unicode.In(c, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, c))
}

// Page returns the page at an address, which is relative to the record: "" or "index.html" is
// the first, "cy/" or "cy/index.html" the first in Welsh. It is [ErrNoPage] or [ErrNotYet], and of the page of an entry [proof.ErrFetch] or
// [proof.ErrTile], too.
func (r *Record) Page(ctx context.Context, path string) (Page, error) {
	r.mu.RLock()
	if r.index == nil {
		r.mu.RUnlock()
		return Page{}, ErrNotYet
	}
	// What is read besides is read without the lock: of this, nothing changes.
	seen, path := r.index.spoken(path)
	if path == "" {
		path = "index.html"
	}
	if !seen.english() && !strings.HasSuffix(path, ".html") {
		r.mu.RUnlock()
		return Page{}, ErrNoPage
	}
	if read := seen.reads(path); read != nil {
		r.mu.RUnlock()
		return read(ctx)
	}
	defer r.mu.RUnlock()
	return seen.page(path)
}

// spoken is the index in the language of an address, and the rest of that address.
func (x *index) spoken(path string) (*index, string) {
	for _, s := range x.speaks {
		if rest, ok := strings.CutPrefix(path, s.dir); ok && s.dir != "" {
			return x.in(s), rest
		}
	}
	return x.in(x.speaks[0]), path
}

// reads returns what makes a page for which the log is read, or nil.
func (x *index) reads(path string) func(ctx context.Context) (Page, error) {
	name, ofEntry := strings.CutPrefix(path, "entries/")
	if !ofEntry {
		return nil
	}
	page := x.entryPage
	number, html := strings.CutSuffix(name, ".html")
	if !html {
		var text bool
		if number, text = strings.CutSuffix(name, ".txt"); !text {
			return nil
		}
		page = x.entryText
	}
	n, ok := ordinal(number)
	if !ok || n >= x.N {
		return nil
	}
	return func(ctx context.Context) (Page, error) {
		of, err := x.ranges.Read(ctx, x.tiles, n/proof.RangeWidth)
		if err != nil {
			return Page{}, err
		}
		p, err := of.Entry(n)
		if err != nil {
			return Page{}, err
		}
		return page(n, p)
	}
}

// ordinal reads a number as addresses have it: in one way.
func ordinal(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == s
}

// page makes any other page.
func (x *index) page(path string) (Page, error) {
	if page, ok := single[path]; ok {
		return page(x)
	}
	dir, name, folder := strings.Cut(path, "/")
	if !folder {
		dir, name = "", path
	} else if dir == "" {
		return Page{}, ErrNoPage
	}
	base, html := strings.CutSuffix(name, ".html")
	if dir == "rules" && strings.HasSuffix(name, ".json") {
		return x.bundleFile(strings.TrimSuffix(name, ".json"))
	}
	if number, text := strings.CutSuffix(name, ".txt"); text && dir == "proofs" {
		return x.proofPage(number)
	}
	if !html || strings.Contains(base, "/") {
		return Page{}, ErrNoPage
	}
	part := 0 // none is named
	base, number, parted := strings.Cut(base, "~")
	if parted {
		n, ok := ordinal(number)
		if !ok || n < 1 || n > max(x.N, maxParts)+1 { // a document of rules has several from the first entry on
			return Page{}, ErrNoPage
		}
		part = int(n)
	}
	if page, ok := inDir[dir]; ok {
		return page(x, base, part)
	}
	return Page{}, ErrNoPage
}

// maxParts is more than any document has.
const maxParts = 1000

// single are the pages that are one.
var single map[string]func(*index) (Page, error)

// inDir makes pages that can have parts, by the folder of their address. part is 0 where the
// address names none.
var inDir map[string]func(x *index, name string, part int) (Page, error)

func init() { //nolint:gochecknoinits // they refer to what refers to them
	asset := func(mediaType string, b []byte) func(*index) (Page, error) {
		return func(*index) (Page, error) { return Page{Type: mediaType, Body: b}, nil }
	}
	single = map[string]func(*index) (Page, error){
		"index.html": (*index).firstPage, "search.html": (*index).searchPage, "check.html": (*index).checkPage, "404.html": (*index).missingPage,
		"checkpoint.html": (*index).checkpointPage, "statistics.html": (*index).statisticsPage,
		"checkpoint.txt": (*index).checkpointText, "style.css": asset("text/css; charset=utf-8", style()), "icon.svg": asset("image/svg+xml", pages.Icon),
		"feed.atom": (*index).feed, "bundle.json": (*index).bundleInForce,
		"statistics/years.csv": (*index).yearsCSV, "statistics/months.csv": (*index).monthsCSV, "statistics/orders.csv": (*index).ordersCSV,
		"statistics/years.json": (*index).yearsJSON, "statistics/months.json": (*index).monthsJSON, "statistics/orders.json": (*index).ordersJSON,
	}
	inDir = map[string]func(*index, string, int) (Page, error){
		"": (*index).topPage, "cases": (*index).casePage, "days": (*index).dayPage, "statistics": (*index).yearPage, "rules": (*index).rulesPage, "platforms": (*index).platformPage,
	}
	for dir, of := range facets {
		inDir[dir] = func(x *index, name string, part int) (Page, error) {
			return x.listPage(dir+"/"+name, x.say(of.heading)+": "+x.name(name), x.means(of, name), of.lists(x)[name], part)
		}
	}
}

func style() []byte {
	own, err := files.ReadFile("pages/record.css")
	if err != nil {
		panic(err) // it is in the program
	}
	return append(bytes.Clone(pages.Style), own...)
}
