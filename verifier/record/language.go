package record

import (
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/verifier/languages"
)

// The pages are made in each language, at addresses of their own: of English from the root of the
// record on, of another below its tag, "cy/". So nobody is asked what they read, and a folder does
// as well as a server. What programs read is there once: files of numbers, rules and proofs, and
// the feed, which is in English.

// spoken is a language that pages are made in.
type spoken struct {
	*languages.Language
	dir       string // of its pages, within the record: "" or "cy/"
	templates *template.Template
}

// Speak has the pages made in English and in these further languages, instead of in all that there
// are. It is called before anything is followed.
func (r *Record) Speak(further ...*languages.Language) {
	r.speaks = nil
	for _, l := range append([]*languages.Language{languages.Ours.Tagged(languages.English)}, further...) {
		s := &spoken{Language: l, dir: l.Tag + "/"}
		if l.Tag == languages.English {
			s.dir = ""
		}
		if slices.ContainsFunc(r.speaks, func(other *spoken) bool { return other.Tag == l.Tag }) {
			continue
		}
		s.templates = template.Must(template.New("").Funcs(s.functions()).ParseFS(files, "pages/*.html"))
		r.speaks = append(r.speaks, s)
	}
}

// functions say in templates what people read:
//
//	t     {{t "All entries"}}: a text, of which the arguments are no HTML
//	utc   {{utc .At}}: a second
//	en    {{en}} in a tag: what stands in it is English
func (s *spoken) functions() template.FuncMap {
	return template.FuncMap{
		"t":        s.HTML,
		"utc":      func(t time.Time) string { return s.OfDay(t) + t.UTC().Format(", 15:04:05") + " UTC" },
		"language": func() *languages.Language { return s.Language },
		"en": func() template.HTMLAttr {
			if s.Tag == languages.English {
				return ""
			}
			return ` lang="en"`
		},
	}
}

// in is the index as its pages are made in a language.
func (x *index) in(s *spoken) *index {
	y := *x
	y.to = s
	return &y
}

// say is a text in the language of the pages.
func (x *index) say(english string, args ...any) string { return x.to.Text(english, args...) }

// english reports whether that is English.
func (x *index) english() bool { return x.to.Tag == languages.English }

// name is a word by which the log, or the statistics, call something, as people read it.
func (x *index) name(word string) string {
	if slices.Contains(words, word) {
		return x.say(word)
	}
	return word
}

// words are those: kinds of entries, of orders and of authorities, and what became of orders.
var words = []string{
	unreadable, "bundle", "recorded", "refused", "told", "objected", "approved", "declined", "authorised", "decision", "decided", "released", "lapsed", "deleted", "noticed", "expired", "erased", "ceremony", "platform", "reviewed",
	"production", "emergency", "preservation", "extension", "secrecy", "withdrawal", "annulment", "validation", "suspension", "ruling", "link", "redelivery",
	"court", "judge", "investigating judge", "public prosecutor", "police",
	"open", "complied", "complied partly", "withdrawn", "annulled", "stopped", "annulled after delivery", "lapsed after delivery", "other", "unknown",
}

// base is the relative address of the record, from a folder of that depth of the pages in a
// language.
func (x *index) base(depth int) string {
	return strings.Repeat("../", depth+strings.Count(x.to.dir, "/"))
}

// elsewhere is a page in another language.
type elsewhere struct{ Tag, Name, To string }

// others are those of the page at an address, which is relative to its language.
func (x *index) others(base, path string) (all []elsewhere) {
	for _, s := range x.speaks {
		if s != x.to {
			all = append(all, elsewhere{s.Tag, s.Name, base + s.dir + path})
		}
	}
	return all
}

// part makes it the page of a part of what has its address.
func (f *frame) part(x *index, n int) {
	f.Title = x.say("%s, part %s", f.Title, fmt.Sprint(n))
	at := func(to, ending string) string { return strings.TrimSuffix(to, ending) + fmt.Sprintf("~%d", n) + ending }
	if f.Canonical != "" {
		f.Canonical = at(f.Canonical, "")
	}
	for i := range f.Others {
		f.Others[i].To = at(f.Others[i].To, ".html")
	}
}
