package web

import (
	"html/template"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/penname/penname/verifier/languages"
)

// spoken is a server with one page, /hello, that a form of its own posts to.
func spoken(t *testing.T, all *languages.All) *Server {
	t.Helper()
	s, err := New(Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now, Languages: all})
	if err != nil {
		t.Fatal(err)
	}
	page := fstest.MapFS{"pages/hello.html": {Data: []byte(`{{define "hello.html"}}{{template "head" (t "My pen names")}}<h1>{{t "My pen names"}}</h1><p>{{.}}</p>{{template "foot"}}{{end}}`)}}
	if err := s.AddPages(page, func(*Language) template.FuncMap { return nil }); err != nil {
		t.Fatal(err)
	}
	hello := func(w http.ResponseWriter, r *http.Request) error {
		return s.Render(w, r, http.StatusOK, "hello.html", r.URL.Query().Get("say"))
	}
	s.Handle(http.MethodGet, "/hello", NoBody, Rate{}, hello)
	s.Handle(http.MethodPost, "/hello", Form, Rate{}, hello)
	return s
}

// TestWhichLanguage: what a person chose by a link counts, then their browser's wish, then
// English; a link of a stranger, or a cookie that nobody here set, changes nothing but that.
func TestWhichLanguage(t *testing.T) {
	s := spoken(t, nil)
	for name, c := range map[string]struct {
		method, address, cookie, accepts string
		want, sets                       string
	}{
		"nothing":                {"GET", "/hello", "", "", "en", ""},
		"Welsh":                  {"GET", "/hello", "", "cy", "cy", ""},
		"of Wales":               {"GET", "/hello", "", "cy-GB,en;q=0.5", "cy", ""},
		"English rather":         {"GET", "/hello", "", "cy;q=0.4, en-GB;q=0.9", "en", ""},
		"not Welsh":              {"GET", "/hello", "", "cy;q=0", "en", ""},
		"French, else Welsh":     {"GET", "/hello", "", "fr, cy;q=0.3", "cy", ""},
		"unknown":                {"GET", "/hello", "", "tlh", "en", ""},
		"anything":               {"GET", "/hello", "", "*", "en", ""},
		"nonsense before":        {"GET", "/hello", "", "!!, cy;q=1", "cy", ""},
		"nonsense":               {"GET", "/hello", "", ";;q=x,,", "en", ""},
		"too long":               {"GET", "/hello", "", strings.Repeat("cy-", 400) + ",cy", "en", ""},
		"a link":                 {"GET", "/hello?lang=cy", "", "en", "cy", "cy"},
		"a link against":         {"GET", "/hello?lang=en", "cy", "cy", "en", "en"},
		"a cookie":               {"GET", "/hello", "cy", "en", "cy", ""},
		"a cookie of nobody":     {"GET", "/hello", "../../etc/passwd", "cy", "cy", ""},
		"a link of a stranger":   {"GET", "/hello?lang=%0d%0aSet-Cookie:a=b", "", "", "en", ""},
		"a link to another case": {"GET", "/hello?lang=CY", "", "", "en", ""},
		"a link to nothing":      {"GET", "/hello?lang=", "cy", "", "cy", ""},
		"a form":                 {"POST", "/hello?lang=cy", "", "", "en", ""},
		"a refusal":              {"GET", "/none?lang=cy", "", "", "en", ""},
		"a refusal in Welsh":     {"GET", "/none", "cy", "", "cy", ""},
	} {
		r := httptest.NewRequest(c.method, c.address, nil)
		r.Header.Set("Accept", "text/html")
		if c.accepts != "" {
			r.Header.Set("Accept-Language", c.accepts)
		}
		if c.cookie != "" {
			r.Header.Set("Cookie", "language="+c.cookie)
		}
		if c.method == "POST" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		body := w.Body.String()
		if got := w.Header().Get("Content-Language"); got != c.want || !strings.Contains(body, `<html lang="`+c.want+`">`) || w.Header().Get("Vary") != "Accept-Language, Cookie" {
			t.Errorf("%s: %s, %s", name, got, body)
		}
		want := ""
		if c.sets != "" {
			want = "language=" + c.sets + "; Path=/; Max-Age=31536000; HttpOnly; Secure; SameSite=Lax"
		}
		if got := strings.Join(w.Header().Values("Set-Cookie"), "; "); got != want {
			t.Errorf("%s: sets %s", name, got)
		}
	}
}

// TestTheSwitchKeepsWhatWasAsked: it leads to the same page, with what else its address says,
// and a name that is made like its mark changes nothing.
func TestTheSwitchKeepsWhatWasAsked(t *testing.T) {
	s := spoken(t, nil)
	get := func(address string) string {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", address, nil))
		return w.Body.String()
	}
	page := get("/hello?say=%3C!--languages--%3E&a=%22%3E&lang=en")
	for _, want := range []string{`<a href="/hello?a=%22%3E&amp;lang=cy&amp;say=%3C%21--languages--%3E" lang="cy" hreflang="cy">Cymraeg</a>`, `<p>&lt;!--languages--&gt;</p>`} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in %s", want, page)
		}
	}
	if strings.Contains(page, "<!--") {
		t.Error(page)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/hello?say=x", strings.NewReader(""))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	s.ServeHTTP(w, r)
	if !strings.Contains(w.Body.String(), `<a href="/?lang=cy"`) {
		t.Errorf("after a form: %s", w.Body)
	}
}

// TestNoPagesNoLanguages: courts and their programs are answered in English, whatever their
// browser asks for.
func TestNoPagesNoLanguages(t *testing.T) {
	s, err := New(Config{Origin: "https://court.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/none?lang=cy", nil)
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Accept-Language", "cy")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if body := w.Body.String(); !strings.Contains(body, `<html lang="en">`) || strings.Contains(body, "Cymraeg") || len(w.Header().Values("Set-Cookie")) > 0 {
		t.Error(body)
	}
}
