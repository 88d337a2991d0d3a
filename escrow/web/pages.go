package web

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penname/penname/verifier/languages"
	"github.com/penname/penname/verifier/refusal"
)

// ErrContact is returned for a contact that no page can show.
var ErrContact = refusal.New(refusal.Invalid, "config.bad_contact",
	"contact must be mailto: with an address, an https:// address, or one line of text of up to 200 bytes")

//go:embed pages
var pageFiles embed.FS

// Language is one that people are spoken to in.
type Language = languages.Language

// pages are the templates, once in each language: the frame ("head" and "foot"), the page of
// a refusal, and what the sides add. Until a side does, there is English alone.
type pages struct {
	languages *languages.All
	templates map[string]*template.Template // by the tag of the language
	many      bool                          // people may choose
}

// newPages parses the frame. In each language its functions say what people read:
//
//	t       {{t "Sign in to %s" .Platform}}: a text, of which the arguments are no HTML
//	said    {{said .Title}}: one of the texts that stand in Go, without tags
//	day     {{day .Since}} of a time; likewise month, and date of 2006-01-02
//	moment  {{moment .Began}}: day and minute, by the clocks of the service's time zone
//	en      {{en}} in a tag: what stands in it is English, as it was delivered
//	delivered  {{delivered .Authority}}: the same of a few words in a text
func newPages(c Contact, all *languages.All, zone *time.Location) (pages, error) {
	p := pages{languages: all, templates: map[string]*template.Template{}}
	for _, l := range all.Each() {
		t, err := template.New("").Funcs(functionsOf(l, zone)).Funcs(template.FuncMap{
			"words": wordsOf,
			"contact": func() *Contact {
				if c.Text == "" {
					return nil
				}
				return &c
			},
		}).ParseFS(pageFiles, "pages/*.html")
		if err != nil {
			return p, err
		}
		p.templates[l.Tag] = t
	}
	return p, nil
}

func functionsOf(l *languages.Language, zone *time.Location) template.FuncMap {
	return template.FuncMap{
		"t":    l.HTML,
		"said": func(s string) string { return l.Text(s) },
		"day":  l.OfDay,
		"date": func(iso string) string {
			day, err := time.Parse(time.DateOnly, iso)
			if err != nil {
				return iso
			}
			return l.OfDay(day)
		},
		"month":    l.OfMonth,
		"moment":   func(t time.Time) string { return l.OfMoment(t, zone) },
		"sentence": sentence,
		"language": func() *languages.Language { return l },
		"switch":   func() template.HTML { return switchMark },
		"delivered": func(s string) template.HTML {
			if l.Tag == languages.English {
				return template.HTML(template.HTMLEscapeString(s)) //nolint:gosec // it is escaped
			}
			return template.HTML(`<span lang="en">` + template.HTMLEscapeString(s) + `</span>`) //nolint:gosec // likewise
		},
		"en": func() template.HTMLAttr {
			if l.Tag == languages.English {
				return ""
			}
			return ` lang="en"`
		},
	}
}

// sentence is a clause as a sentence.
func sentence(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + strings.TrimSuffix(s[n:], ".") + "."
}

// Contact is where people reach the operator, as their pages say it.
type Contact struct {
	Text string // one line; "": nobody is told
	Link string // mailto: or https:, or ""
}

// ParseContact reads a mailto: or https: address, or one line of text. It fails with
// ErrContact.
func ParseContact(s string) (Contact, error) {
	if strings.ContainsFunc(s, unicode.IsControl) || len(s) > 200 {
		return Contact{}, ErrContact
	}
	u, err := url.Parse(s)
	switch {
	case err == nil && u.Scheme == "mailto" && strings.Contains(u.Opaque, "@"):
		return Contact{u.Opaque, s}, nil
	case err == nil && u.Scheme == "https" && u.Host != "":
		return Contact{s, s}, nil
	case strings.HasPrefix(s, "mailto:"), strings.HasPrefix(s, "http"):
		return Contact{}, ErrContact
	}
	return Contact{Text: strings.TrimSpace(s)}, nil
}

// AddPages adds the templates of a side, pages/*.html, with functions of theirs, and lets
// people choose in which language they are shown. They may define "mend" anew: what the page
// of a refusal offers to do next.
func (s *Server) AddPages(files fs.FS, functions func(*Language) template.FuncMap) error {
	for _, l := range s.pages.languages.Each() {
		if _, err := s.pages.templates[l.Tag].Funcs(functions(l)).ParseFS(files, "pages/*.html"); err != nil {
			return err
		}
	}
	s.pages.many = true
	return nil
}

// Render writes a whole page or nothing: half a page is never sent. It is in the language that
// the person chose, or that their browser asks for. What answers a GET can be had in another
// one at the same address; anything else leads to the first page in another one.
func (s *Server) Render(w http.ResponseWriter, r *http.Request, status int, name string, data any) error {
	again := "/"
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		again = r.URL.RequestURI()
	}
	return s.RenderAgain(w, r, again, status, name, data)
}

// RenderAgain is Render of a page that a GET of another address shows in another language.
// Where it is "", nothing does: what is shown once is not left by a link.
func (s *Server) RenderAgain(w http.ResponseWriter, r *http.Request, again string, status int, name string, data any) error {
	l := s.speak(w, r, again)
	t := s.pages.templates[l.Tag]
	var b, others bytes.Buffer
	if err := t.ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	if s.pages.many {
		if err := t.ExecuteTemplate(&others, "languages", s.switchOf(l, b.Bytes(), again)); err != nil {
			return err
		}
	}
	if bytes.Contains(b.Bytes(), []byte(scriptTag)) {
		allowScript(w)
	}
	return write(w, status, "text/html; charset=utf-8", bytes.Replace(b.Bytes(), []byte(switchMark), others.Bytes(), 1))
}

// scriptTag is in the pages that have the one script of ours, which passkeys need. Nothing that
// a page escapes can be it.
const scriptTag = `<script src="/passkey.js" defer></script>`

// ServeScript serves it.
func (s *Server) ServeScript() {
	s.unqueued["/passkey.js"] = true
	s.Handle(http.MethodGet, "/passkey.js", NoBody, Rate{}, asset("text/javascript; charset=utf-8"))
}

// allowScript lets this page, and no other, load that script, which asks nobody but us.
func allowScript(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", "script-src 'self'; connect-src 'self'; "+h.Get("Content-Security-Policy"))
}

// asset serves the file of the pages that has the address's name.
func asset(mediaType string) Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		b, err := pageFiles.ReadFile("pages" + r.URL.Path)
		if err != nil {
			return err
		}
		w.Header().Set("Cache-Control", "public, max-age=3600")
		return write(w, http.StatusOK, mediaType, b)
	}
}
