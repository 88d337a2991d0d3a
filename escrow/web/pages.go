package web

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"time"
)

//go:embed pages
var pageFiles embed.FS

// pages are the templates: the frame ("head" and "foot"), the page of a refusal,
// and what the sides add.
type pages struct{ templates *template.Template }

func newPages() (pages, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"day": func(t time.Time) string { return t.UTC().Format("2 January 2006") },
		"sentence": func(s string) string {
			s = strings.TrimSuffix(s, ".")
			return strings.ToUpper(s[:1]) + s[1:] + "."
		},
		"words": wordsOf,
	}).ParseFS(pageFiles, "pages/*.html")
	return pages{t}, err
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
