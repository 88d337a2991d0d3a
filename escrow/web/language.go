package web

import (
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/penname/penname/verifier/languages"
)

// A person reads pages in the language that they chose by a link (?lang=cy), which a cookie
// remembers that says nothing else, and so tells nobody apart. Who chose none is asked for by
// their browser (Accept-Language, RFC 9110, 12.5.4), and else reads English.

const (
	languageCookie = "language"
	languageParam  = "lang"
	languageLife   = 365 * 24 * time.Hour
)

// Language is the tag of that in which pages are shown to whoever asks.
func (s *Server) Language(r *http.Request) string { return s.reads(r).Tag }

// Text is an English text in that language, with its tag.
func (s *Server) Text(r *http.Request, english string) (text, tag string) {
	l := s.reads(r)
	return l.Text(english), l.Tag
}

// Speaks are the tags of the languages in which there are pages, English first.
func (s *Server) Speaks() (tags []string) {
	for _, l := range s.pages.languages.Each() {
		tags = append(tags, l.Tag)
	}
	return tags
}

// Wishes is r of a person for whom somebody else wishes a language, above what their browser
// asks for and below what they chose; "": nobody does.
func Wishes(r *http.Request, tag string) *http.Request {
	if tag == "" {
		return r
	}
	r = r.Clone(r.Context())
	r.Header.Set("Accept-Language", tag)
	return r
}

// reads is the language that a person chose before, or that their browser asks for.
func (s *Server) reads(r *http.Request) *languages.Language {
	all := s.pages.languages
	if c, err := r.Cookie(languageCookie); err == nil {
		if chosen := all.Tagged(c.Value); chosen != nil {
			return chosen
		}
	}
	return all.Accepted(r.Header.Get("Accept-Language"))
}

// speak chooses the language of a page, says it in the header, and remembers what was chosen by
// a link. A link counts at the address that shows the page again and at no other: so no
// platform chooses by what it asks for at an endpoint of a protocol.
func (s *Server) speak(w http.ResponseWriter, r *http.Request, again string) *languages.Language {
	all := s.pages.languages
	if !s.pages.many {
		return all.Tagged(languages.English)
	}
	h := w.Header()
	h.Set("Vary", "Accept-Language, Cookie")
	l := s.reads(r)
	to, err := url.Parse(again)
	if err == nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) && to.Path == r.URL.Path {
		if chosen := all.Tagged(r.URL.Query().Get(languageParam)); chosen != nil {
			l = chosen
			s.chose(w, l)
		}
	}
	h.Set("Content-Language", l.Tag)
	return l
}

// chose remembers which language somebody chose.
func (s *Server) chose(w http.ResponseWriter, l *languages.Language) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure wherever there is TLS
		Name: languageCookie, Value: l.Tag, Path: "/", MaxAge: int(languageLife / time.Second),
		Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// Switches reports whether a form was sent only to be shown in another language, by a button
// that stands where else the links are (see typing). What answers r is in that language, as is
// its refusal, and that it was chosen is remembered. The form does nothing then: whoever serves
// it shows its page again, with what was typed into it.
func (s *Server) Switches(w http.ResponseWriter, r *http.Request) bool {
	l := s.pages.languages.Tagged(r.PostFormValue(languageParam))
	if l == nil || !s.pages.many {
		return false
	}
	s.chose(w, l)
	all := r.Cookies()
	r.Header.Del("Cookie")
	r.AddCookie(&http.Cookie{Name: languageCookie, Value: l.Tag}) //nolint:gosec // of a request: it has no attributes
	for _, c := range all {
		if c.Name != languageCookie {
			r.AddCookie(c)
		}
	}
	return true
}

// typing matches the start of the one form of a page, up to its first button, of which what is
// typed outlasts a change of the language: the switch is then a button of that form. Whoever
// presses Enter in a field presses the first button of the form (HTML, 4.10.21.2), which the
// switch would be: so another one stands before it, that is the form's own first.
var typing = regexp.MustCompile(`(?s)<form [^>]* id="typing"[^>]*>.*?<button(?: class="[a-z]+")?((?: (?:name|value)="[^"]*")*)>`)

// switchMark stands in a page where it leads to the other languages. Nothing that a page
// escapes can be it.
const switchMark template.HTML = "<!--languages-->"

// otherLanguage is one that a page can be had in: by a link, or if To is "" by the form.
type otherLanguage struct{ Tag, Name, To string }

// languageSwitch leads to the other languages of a page.
type languageSwitch struct {
	Others []otherLanguage
	First  template.HTMLAttr // of the form, if it is one: what its own first button sends
}

// switchOf is the switch of a page in language l, which a GET of an address shows; "": none does.
func (s *Server) switchOf(l *languages.Language, page []byte, again string) (sw languageSwitch) {
	if form := typing.FindSubmatch(page); form != nil {
		sw.First = template.HTMLAttr(form[1]) //nolint:gosec // it stands so in the page
		for _, other := range s.pages.languages.Each() {
			if other.Tag != l.Tag {
				sw.Others = append(sw.Others, otherLanguage{Tag: other.Tag, Name: other.Name})
			}
		}
		return sw
	}
	to, err := url.Parse(again)
	if again == "" || err != nil {
		return sw
	}
	for _, other := range s.pages.languages.Each() {
		if other.Tag == l.Tag {
			continue
		}
		query := to.Query()
		query.Set(languageParam, other.Tag)
		sw.Others = append(sw.Others, otherLanguage{other.Tag, other.Name, to.EscapedPath() + "?" + query.Encode()})
	}
	return sw
}
