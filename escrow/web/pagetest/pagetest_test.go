package pagetest

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// TestAWrongPageIsFound: what Look and Keys say of a page that holds nothing.
func TestAWrongPageIsFound(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "script-src 'none'")
		w.Write([]byte(`<!doctype html><title>x</title><style>@media (prefers-color-scheme: dark) { p { background: #999 } }</style><main><h1>x</h1><p style="width: 400px; color: #bbb">too pale<img src="/x.png"></p><a href="/one">one</a><button style="outline: none">two</button></main>`))
	}))
	t.Cleanup(server.Close)
	b := Open(t)
	for _, c := range []struct {
		view  View
		wider bool
	}{{Views[0], false}, {Views[1], true}, {Views[2], true}} {
		s, err := b.Look(server.URL+"/", c.view)
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range []string{"html-has-lang", "color-contrast", "image-alt"} {
			if !slices.ContainsFunc(s.Violations, func(v string) bool { return strings.HasPrefix(v, rule+": ") }) {
				t.Errorf("%s: %s is not found: %s", c.view.Name, rule, s.Violations)
			}
		}
		if s.Wider > 0 != c.wider || !slices.Contains(s.Loaded, server.URL+"/x.png") {
			t.Errorf("%s: %+v", c.view.Name, s)
		}
	}
	for _, want := range []string{"a one", "button two, which nothing marks"} {
		if at, err := b.Tab(); err != nil || at != want {
			t.Errorf("%q %v", at, err)
		}
	}
	if err := b.Press("three", "anything"); err == nil {
		t.Error("what is not there was pressed")
	}
	if picture, err := b.Picture(); err != nil || len(picture) < 1000 {
		t.Errorf("%d bytes, %v", len(picture), err)
	}
}
