package web

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

//go:embed pages
var pageFiles embed.FS

type pages struct{ templates *template.Template }

func newPages() (pages, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"day": func(t time.Time) string { return t.UTC().Format("2 January 2006") },
		"sentence": func(s string) string {
			s = strings.TrimSuffix(s, ".")
			return strings.ToUpper(s[:1]) + s[1:] + "."
		},
		"startsWith": strings.HasPrefix,
	}).ParseFS(pageFiles, "pages/*.html")
	return pages{t}, err
}

// render writes a whole page or nothing: half a page is never sent.
func (p pages) render(w http.ResponseWriter, status int, name string, data any) error {
	var b bytes.Buffer
	if err := p.templates.ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	return err
}

// asset serves the file of the pages that has the route's name.
func asset(mediaType string) echo.HandlerFunc {
	return func(c echo.Context) error {
		b, err := pageFiles.ReadFile("pages" + c.Path())
		if err != nil {
			return err
		}
		c.Response().Header().Set("Cache-Control", "public, max-age=3600")
		return c.Blob(http.StatusOK, mediaType, b)
	}
}
