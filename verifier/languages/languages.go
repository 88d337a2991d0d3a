// Package languages says texts to people in a language that they read.
//
// A text is named by its English, which stands in the source where it is said. A file for
// each language, cy.json, says what stands in its place, and how days are written. A text may
// have arguments (%s, %d; a translation may order them, %[2]s), and a count in it chooses
// among forms: of English there is a file for those alone. What a file does not have is said
// in English. A further language is one file more, and nothing else.
package languages

import (
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/feature/plural"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"golang.org/x/text/message/catalog"
)

//go:embed *.json
var files embed.FS

// Ours are the languages of the service.
var Ours = func() *All {
	all, err := Read(files)
	if err != nil {
		panic(err) // a file that was built in: no test passes either
	}
	return all
}()

// EnglishFile is the file of English, to make others beside it.
func EnglishFile() []byte {
	b, err := files.ReadFile(English + ".json")
	if err != nil {
		panic(err) // see above
	}
	return b
}

// English is what the texts in the source are written in, and what governs.
const English = "en"

// File is the file of one language, TAG.json.
type File struct {
	Name     string   `json:"name"`     // in itself: Cymraeg
	Reviewed bool     `json:"reviewed"` // somebody who speaks it has read the texts; else the pages say so
	Months   []string `json:"months"`   // twelve
	Day      string   `json:"day"`      // how package time writes its reference day: 2 January 2006
	Month    string   `json:"month"`    // likewise: January 2006
	Moment   string   `json:"moment"`   // likewise: 2 January 2006 at 15:04 MST

	// Texts are translations by the English.
	Texts map[string]string `json:"texts"`
	// Counts are texts in which the first number among the arguments chooses the form: by zero,
	// one, two, few, many and other, of which each language has its own, and "other" always.
	Counts map[string]map[string]string `json:"counts"`
}

// Language is one that people are spoken to in.
type Language struct {
	Tag string // BCP 47
	File

	printer *message.Printer
}

// All are languages to choose from.
type All struct {
	all     []*Language // English first
	matcher language.Matcher
}

// forms are the selectors of a count, in the order in which they are tried.
var forms = []string{"zero", "one", "two", "few", "many", "other"}

// Read reads languages from files. It says what of a file cannot be used.
func Read(files fs.FS) (*All, error) {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, err
	}
	all, texts := &All{}, catalog.NewBuilder(catalog.Fallback(language.English))
	var tags []language.Tag
	slices.Sort(names)
	if i := slices.Index(names, English+".json"); i > 0 { // is spoken to whoever reads none of them
		names = slices.Insert(slices.Delete(names, i, i+1), 0, English+".json")
	}
	for _, name := range names {
		tag, err := language.Parse(strings.TrimSuffix(path.Base(name), ".json"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		l := &Language{Tag: tag.String()}
		if err = l.read(files, name); err == nil {
			err = l.add(texts, tag)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		l.printer = message.NewPrinter(tag, message.Catalog(texts))
		all.all, tags = append(all.all, l), append(tags, tag)
	}
	if len(tags) == 0 || tags[0] != language.English {
		return nil, fmt.Errorf("no %s.json", English)
	}
	all.matcher = language.NewMatcher(tags)
	return all, nil
}

func (l *Language) read(files fs.FS, name string) error {
	b, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&l.File); err != nil {
		return err
	}
	for _, layout := range []string{l.Day, l.Month, l.Moment} {
		if !strings.Contains(layout, "January") {
			return fmt.Errorf("%q is no layout with January", layout)
		}
	}
	if !strings.Contains(l.Moment, zoneName) {
		return fmt.Errorf("%q has a time, and no %s", l.Moment, zoneName)
	}
	if l.Name == "" || len(l.Months) != 12 {
		return fmt.Errorf("no name, or %d months", len(l.Months))
	}
	return nil
}

// add puts the texts of a language into a catalogue.
func (l *Language) add(texts *catalog.Builder, tag language.Tag) error {
	for english, text := range l.Texts {
		if err := texts.SetString(tag, english, text); err != nil {
			return fmt.Errorf("%.40q: %w", english, err)
		}
	}
	for english, by := range l.Counts {
		var cases []any
		for _, form := range forms {
			if text, ok := by[form]; ok {
				cases = append(cases, form, text)
			}
		}
		at := countAt(english)
		if at == 0 || by["other"] == "" {
			return fmt.Errorf("%.40q: no %%d in it, or no form \"other\"", english)
		}
		if err := texts.Set(tag, english, plural.Selectf(at, "%d", cases...)); err != nil {
			return fmt.Errorf("%.40q: %w", english, err)
		}
	}
	return nil
}

// countAt is which argument of a text is its first number, from 1; 0: none.
func countAt(english string) int {
	at := 0
	for i := 0; i+1 < len(english); i++ {
		if english[i] != '%' {
			continue
		}
		i++
		switch english[i] {
		case 'd':
			return at + 1
		case 's':
			at++
		}
	}
	return 0
}

// Tagged is the language with that tag, or nil.
func (a *All) Tagged(tag string) *Language {
	i := slices.IndexFunc(a.all, func(l *Language) bool { return l.Tag == tag })
	if i < 0 {
		return nil
	}
	return a.all[i]
}

// Each is every language, English first.
func (a *All) Each() []*Language { return slices.Clone(a.all) }

// longestAccept is of how long an Accept-Language header one looks at.
const longestAccept = 500

// Accepted is the language that suits an Accept-Language header best (RFC 9110, 12.5.4), or
// English.
func (a *All) Accepted(header string) *Language {
	if len(header) > longestAccept {
		return a.all[0]
	}
	type wish struct {
		tag language.Tag
		q   float32
	}
	var wishes []wish
	for one := range strings.SplitSeq(header, ",") { // one by one: what cannot be read spoils no other
		tags, qs, err := language.ParseAcceptLanguage(one)
		if err == nil && len(tags) == 1 {
			wishes = append(wishes, wish{tags[0], qs[0]})
		}
	}
	slices.SortStableFunc(wishes, func(a, b wish) int { return cmp.Compare(b.q, a.q) })
	var tags []language.Tag
	for _, w := range wishes {
		tags = append(tags, w.tag)
	}
	_, i, _ := a.matcher.Match(tags...)
	return a.all[i]
}

// Text says a text. Arguments are strings and numbers, which are written as the language does.
// Without arguments "%" is itself.
func (l *Language) Text(english string, args ...any) string {
	if len(args) == 0 {
		return cmp.Or(l.Texts[english], english)
	}
	return l.printer.Sprintf(english, args...)
}

// HTML says a text that may have tags, as our sources and files have them. Arguments that are
// not HTML themselves are no tags.
func (l *Language) HTML(english string, args ...any) template.HTML {
	safe := make([]any, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case template.HTML:
			safe[i] = string(arg)
		case int, int64, uint64:
			safe[i] = arg
		default:
			safe[i] = template.HTMLEscapeString(fmt.Sprint(arg))
		}
	}
	return template.HTML(l.Text(english, safe...)) //nolint:gosec // see above
}

// OfDay writes a day, in UTC: 2 January 2006.
func (l *Language) OfDay(t time.Time) string { return l.write(t.UTC(), l.Day) }

// OfMonth writes a month, in UTC: January 2006.
func (l *Language) OfMonth(t time.Time) string { return l.write(t.UTC(), l.Month) }

// zoneName is how package time writes the name of a time zone in its reference time.
const zoneName = "MST"

// OfMoment writes a minute as the clocks of a place show it, with the name of their time: 2 January
// 2006 at 15:04 GMT, or UTC+03:00 where that time has no name.
func (l *Language) OfMoment(t time.Time, in *time.Location) string {
	t, layout := t.In(in), l.Moment
	if name := t.Format(zoneName); !unicode.IsLetter(rune(name[0])) {
		layout = strings.Replace(layout, zoneName, "UTC-07:00", 1)
	}
	return l.write(t, layout)
}

func (l *Language) write(t time.Time, layout string) string {
	before, after, _ := strings.Cut(layout, "January")
	return t.Format(before) + l.Months[t.Month()-1] + t.Format(after)
}
