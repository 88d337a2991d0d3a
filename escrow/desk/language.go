package desk

import (
	"cmp"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/languages"
	"github.com/penname/penname/verifier/opening"
)

// A desk speaks the language that its person chose on it, else the one that it was started in, else
// the one that their browser asks for, else English. What is signed, and what comes from elsewhere,
// stays in English and says so (lang="en"): no translation of it counts.

// Text is a text of a page: its English, which the files of the languages name it by, and its
// arguments: strings, numbers and other texts. Which language it is said in is known where the
// page is written. One that no file knows is English that comes from elsewhere.
type Text struct {
	English string
	Args    []any

	sentence bool // it begins with a capital letter and ends with a full stop
}

// Say is a text of ours. A test finds those that a language lacks by the name of this function.
func Say(english string, args ...any) Text { return Text{English: english, Args: args} }

// elsewhere is a text that comes from elsewhere, or from a closed list of ours.
func elsewhere(english string) Text { return Text{English: english} }

// LanguageOf is the language of ours that the surroundings of a program ask for, by LC_ALL,
// LC_MESSAGES or LANG (POSIX, 8.2: cy_GB.UTF-8); nil: they ask for none.
func LanguageOf(getenv func(string) string) *languages.Language {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if asked := getenv(name); asked != "" { // which goes before the others
			end := strings.IndexAny(asked, "_.@")
			if end < 0 {
				end = len(asked)
			}
			return languages.Ours.Tagged(asked[:end])
		}
	}
	return nil
}

// speaks is the language in which a request is answered.
func (d *Desk) speaks(r *http.Request) *languages.Language {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.language != nil {
		return d.language
	}
	return d.Languages.Accepted(r.Header.Get("Accept-Language"))
}

// speak takes the language that was chosen, and leads back to the page where it was, with what was
// typed there.
func (d *Desk) speak(w http.ResponseWriter, r *http.Request) {
	l := d.Languages.Tagged(r.PathValue("tag"))
	if l == nil || r.Method == http.MethodHead {
		d.missing(w, r)
		return
	}
	if r.Method == http.MethodPost {
		d.typing(r)
	}
	d.mu.Lock()
	d.language = l
	d.mu.Unlock()
	d.redirect(w, r, d.place(r.URL.Query().Get("to")))
}

// other is a further language, and where the page is shown in it.
type other struct{ To, Tag, Name string }

// others are the languages beside the one of a page, to which what is typed into a form goes along,
// and the address that shows the page again as it is.
func (d *Desk) others(l *languages.Language, r *http.Request, form string) (all []other, same string) {
	to := "/"
	if r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, "/enter/") {
		to = strings.TrimPrefix(r.URL.RequestURI(), d.prefix)
	}
	query := url.Values{"to": {to}}
	if form != "" {
		query.Set("form", form)
	}
	in := func(tag string) string { return d.prefix + "/language/" + tag + "?" + query.Encode() }
	for _, o := range d.Languages.Each() {
		if o.Tag != l.Tag {
			all = append(all, other{in(o.Tag), o.Tag, o.Name})
		}
	}
	return all, in(l.Tag)
}

// spoken are the templates of the pages by the tags of their languages.
func spoken(all *languages.All) map[string]*template.Template {
	in := make(map[string]*template.Template)
	for _, l := range all.Each() {
		in[l.Tag] = template.Must(template.New("").Funcs(functions).Funcs(speaker{l}.functions()).ParseFS(files, "pages/*.html"))
	}
	return in
}

// speaker says texts in a language.
type speaker struct{ *languages.Language }

// functions say in templates what people read:
//
//	t       {{t "Cases: %d" .N}}: a text that stands here; its arguments are no HTML
//	say     a [Text], or a string of a closed list; what no language knows is English and says so
//	lines   the same of several lines
//	plain   the same without tags, for titles and attributes
//	en      {{en}} in a tag: what stands in it is English
//	time    a time by UTC, and by the clock of this machine
func (s speaker) functions() template.FuncMap {
	return template.FuncMap{
		"t":   s.HTML,
		"say": func(x any) template.HTML { return s.say(textOf(x), document.Printable) },
		"stateOf": func(state string) template.HTML {
			return s.say(elsewhere(cmp.Or(targetWords[state], state)), document.Printable)
		},
		"lines": func(x any) template.HTML { return s.say(textOf(x), strings.TrimSpace) },
		"plain": func(x any) string { return s.plain(textOf(x)) },
		"time":  func(t time.Time) string { return s.local(t.UTC().Format(onThePage)) },
		"local": s.local,
		"localHTML": func(x template.HTML) template.HTML {
			return template.HTML(s.local(string(x))) //nolint:gosec // it was HTML, and times are none
		},
		"language": func() *languages.Language { return s.Language },
		"foreign":  func() bool { return s.Tag != languages.English },
		"en": func() template.HTMLAttr {
			if s.Tag == languages.English {
				return ""
			}
			return ` lang="en"`
		},
	}
}

// textOf is what templates say as a text.
func textOf(x any) Text {
	switch x := x.(type) {
	case Text:
		return x
	case *Text:
		if x != nil {
			return *x
		}
		return Text{}
	case error:
		return elsewhere(x.Error())
	}
	return elsewhere(fmt.Sprint(x))
}

// knows reports whether a text is one of the language.
func (s speaker) knows(english string) bool {
	return s.Tag == languages.English || s.Texts[english] != "" || s.Counts[english] != nil || !strings.ContainsFunc(strings.ReplaceAll(english, "%s", ""), unicode.IsLetter)
}

// say says a text as HTML. shown is how one that comes from elsewhere is shown.
func (s speaker) say(x Text, shown func(string) string) template.HTML {
	if x.English == "" {
		return ""
	}
	if len(x.Args) == 0 {
		return s.marked(x, template.HTML(template.HTMLEscapeString(x.whole(shown(s.Text(x.English)))))) //nolint:gosec // it is escaped
	}
	args := make([]any, len(x.Args))
	for i, arg := range x.Args {
		switch arg := arg.(type) {
		case Text:
			args[i] = s.say(arg, shown)
		case string:
			args[i] = template.HTML(template.HTMLEscapeString(shown(arg))) //nolint:gosec // it is escaped
		default:
			args[i] = arg
		}
	}
	return s.marked(x, template.HTML(x.whole(string(s.HTML(x.English, args...))))) //nolint:gosec // see HTML
}

// marked says of a text that no language knows that it is English.
func (s speaker) marked(x Text, said template.HTML) template.HTML {
	if s.knows(x.English) {
		return said
	}
	return `<span lang="en">` + said + `</span>`
}

// plain says a text without tags.
func (s speaker) plain(x Text) string {
	args := make([]any, len(x.Args))
	for i, arg := range x.Args {
		if args[i] = arg; isText(arg) {
			args[i] = s.plain(textOf(arg))
		}
	}
	return document.Printable(x.whole(s.Text(x.English, args...)))
}

func isText(x any) bool { _, ok := x.(Text); return ok }

// whole is what was said of a text, as a sentence if it is one.
func (x Text) whole(said string) string {
	if x.sentence {
		return sentence(said)
	}
	return said
}

// sentence begins with a capital letter and ends with a full stop, as on a page.
func sentence(s string) string {
	if r, n := utf8.DecodeRuneInString(s); n > 0 {
		s = string(unicode.ToUpper(r)) + s[n:]
	}
	if s != "" && !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// local adds to each time of a text what clocks of this machine show.
func (s speaker) local(text string) string {
	return inZone(text, time.Local, func(there, here string) string { return s.Text("%s (%s here)", there, here) })
}

// lasts is a time in the largest unit of which there are some.
func lasts(d time.Duration) Text {
	switch {
	case d < 2*time.Minute:
		return Say("%d seconds", int(d.Seconds()))
	case d < 2*time.Hour:
		return Say("%d minutes", int(d.Minutes()))
	case d < 72*time.Hour:
		return Say("%d hours", int(d.Hours()))
	}
	return Say("%d days", int(d.Hours()/24))
}

// due says in words when something is to be done: how long that is, and what.
func due(next opening.Deadline, now time.Time) Text {
	left := next.At.Sub(now)
	if left <= 0 {
		return Say("Overdue since %s: %s", lasts(-left), elsewhere(next.What))
	}
	return Say("In %s: %s", lasts(left), elsewhere(next.What))
}
