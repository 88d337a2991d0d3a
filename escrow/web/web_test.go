package web

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/registrar"
)

func newEdge(t *testing.T, log *strings.Builder) *Server {
	t.Helper()
	s, err := New(Config{Origin: "https://penname.example", Log: slog.New(slog.NewTextHandler(log, nil)), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(s *Server, method, path, accept string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// TestASideThatIsNotMountedIsNotThere: an edge alone serves its own four
// addresses, and says of any other that there is nothing.
func TestASideThatIsNotMountedIsNotThere(t *testing.T) {
	s := newEdge(t, &strings.Builder{})
	for _, path := range []string{"/", "/me", "/enrol/callback/x", "/authorize", "/jwks", registrar.PathBundle, registrar.PathCases, registrar.PathLog + "/checkpoint"} {
		var p registrar.Problem
		w := ask(s, "GET", path, "application/json")
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != http.StatusNotFound || p.Code != errNoRoute.Code || p.Type != registrar.ProblemType(p.Code) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if w := ask(s, "GET", "/healthz", ""); w.Code != http.StatusNoContent {
		t.Errorf("/healthz: %d", w.Code)
	}
	if w := ask(s, "GET", "/", "text/html"); !strings.Contains(w.Body.String(), `href="/">To the first page`) {
		t.Errorf("the page of a refusal: %s", w.Body)
	}
}

// TestH17OnlyConstantsLeave: what a handler fails with is for the log; the path's
// parts reach the handler, and neither the log nor the client.
func TestH17OnlyConstantsLeave(t *testing.T) {
	var log strings.Builder
	s := newEdge(t, &log)
	got := ""
	s.Handle("GET", "/v1/things/:thing", NoBody, Rate{}, func(_ http.ResponseWriter, r *http.Request) error {
		got = r.PathValue("thing")
		return errors.New("table things is broken")
	})
	for _, accept := range []string{"text/html", "application/json"} {
		w := ask(s, "GET", "/v1/things/Jo", accept)
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "table") || !strings.Contains(w.Body.String(), errInternal.Code) {
			t.Errorf("%s: %d %s", accept, w.Code, w.Body)
		}
	}
	if got != "Jo" || strings.Contains(log.String(), "Jo") || !strings.Contains(log.String(), "table things is broken") || !strings.Contains(log.String(), "/v1/things/:thing") {
		t.Errorf("%q; the log says %s", got, log.String())
	}
}

// TestPopupsAndScripts: a platform's window keeps its tie to a sign-in and to no other
// page; scripts of any site reach only what reads no cookie.
func TestPopupsAndScripts(t *testing.T) {
	s, err := New(Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ok := func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusNoContent); return nil }
	for _, path := range []string{"/mine", "/sign-in/:id", "/token"} {
		s.Handle(http.MethodPost, path, Form, Rate{}, ok)
	}
	s.InPopups("/sign-in/:id")
	s.OtherSitesPost("/token")
	for path, want := range map[string]struct {
		status int
		opener string
	}{"/mine": {http.StatusForbidden, "same-origin"}, "/sign-in/7": {http.StatusForbidden, ""}, "/token": {http.StatusNoContent, "same-origin"}} {
		r := httptest.NewRequest(http.MethodPost, path, nil)
		r.Header.Set("Origin", "https://platform.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if opener := w.Header().Get("Cross-Origin-Opener-Policy"); w.Code != want.status || opener != want.opener {
			t.Errorf("%s: %d %q", path, w.Code, opener)
		}
	}
}
