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

	"github.com/penname/penname/verifier/refusal"
)

// ErrContact is returned for a contact that no page can show.
var ErrContact = refusal.New(refusal.Invalid, "config.bad_contact",
	"contact must be mailto: with an address, an https:// address, or one line of text of up to 200 bytes")

//go:embed pages
var pageFiles embed.FS

// pages are the templates: the frame ("head" and "foot"), the page of a refusal,
// and what the sides add.
type pages struct{ templates *template.Template }

func newPages(c Contact) (pages, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"day": func(t time.Time) string { return t.UTC().Format("2 January 2006") },
		"sentence": func(s string) string {
			s = strings.TrimSuffix(s, ".")
			return strings.ToUpper(s[:1]) + s[1:] + "."
		},
		"words": wordsOf,
		"contact": func() *Contact {
			if c.Text == "" {
				return nil
			}
			return &c
		},
	}).ParseFS(pageFiles, "pages/*.html")
	return pages{t}, err
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

// AddPages adds the templates of a side, pages/*.html, with functions of theirs.
// They may define "mend" anew: what the page of a refusal offers to do next.
func (s *Server) AddPages(files fs.FS, functions template.FuncMap) error {
	_, err := s.pages.templates.Funcs(functions).ParseFS(files, "pages/*.html")
	return err
}

// Render writes a whole page or nothing: half a page is never sent.
func (s *Server) Render(w http.ResponseWriter, status int, name string, data any) error {
	var b bytes.Buffer
	if err := s.pages.templates.ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	return write(w, status, "text/html; charset=utf-8", b.Bytes())
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
