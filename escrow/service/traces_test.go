package service

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/spans"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/court"
)

// TestEachRouteOfCasesIsTracedOrSaysWhyNot: whoever adds a route decides.
func TestEachRouteOfCasesIsTracedOrSaysWhyNot(t *testing.T) {
	edge, err := web.New(web.Config{Origin: "https://penname.example"})
	if err != nil {
		t.Fatal(err)
	}
	court.Mount(edge, court.Config{})
	untraced := []string{
		"POST " + registrar.PathNotices, "POST " + registrar.PathObject, // a person's lawyer comes there for them
		"GET /healthz", "GET /readyz", // probes
	}
	traced := 0
	for _, route := range edge.Routes() {
		_, is := spans.OfRoute(route)
		if is {
			traced++
		}
		if is == (web.OfPeople(route) || slices.Contains(untraced, route)) {
			t.Errorf("%s: traced %v", route, is)
		}
	}
	if traced < 25 {
		t.Errorf("%d routes are traced", traced)
	}
}

// TestTracedIsToldOfNoPerson: the edge begins no trace of people or probes, and hands on the
// context of those that it begins.
func TestTracedIsToldOfNoPerson(t *testing.T) {
	type key struct{}
	var told []string
	edge, err := web.New(web.Config{Origin: "https://penname.example", Log: NewLog(io.Discard, nil), Now: time.Now,
		Traced: func(ctx context.Context, route string) (context.Context, func(int)) {
			return context.WithValue(ctx, key{}, route), func(status int) { told = append(told, route+" "+http.StatusText(status)) }
		}})
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"/me", "/authorize", "/v1/cases/:case"} {
		edge.Handle(http.MethodGet, pattern, web.NoBody, web.Rate{}, func(w http.ResponseWriter, r *http.Request) error {
			if traced := r.Context().Value(key{}) != nil; traced != strings.HasPrefix(pattern, "/v1/") || traced && r.PathValue("case") != "c1" {
				t.Errorf("%s: traced %v", pattern, traced)
			}
			w.WriteHeader(http.StatusNoContent)
			return nil
		})
	}
	for _, path := range []string{"/me", "/authorize", "/healthz", "/style.css", "/nowhere", "/v1/cases/c1", "/v1/nowhere"} {
		edge.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	}
	if got := strings.Join(told, ", "); got != "GET /v1/cases/:case No Content" {
		t.Error(got)
	}
}

// TestTracesFromTheConfiguration: a check sends none and warns if nobody listens, and a service whose collector is away
// says so in its log.
func TestTracesFromTheConfiguration(t *testing.T) {
	away := httptest.NewServer(http.NotFoundHandler())
	away.Close()
	var log strings.Builder
	o := (&Config{TracesTo: away.URL + "/v1/traces"}).opening(NewLog(&log, nil))
	o.checking = true
	if f := found("traces", o.openTraces(t.Context())); f.Mark != Warning || f.Code != errTracesAway.Code || o.Traces != nil {
		t.Error(f, o.Traces)
	}
	there := httptest.NewServer(http.NotFoundHandler())
	defer there.Close()
	o.config.TracesTo = there.URL + "/v1/traces"
	if err := o.openTraces(t.Context()); err != nil || o.Traces != nil {
		t.Error(err, o.Traces)
	}
	o.config.TracesTo = away.URL + "/v1/traces"
	o.checking = false
	if err := o.openTraces(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, ended := (&Service{Parts: o.Parts}).traced(t.Context(), "GET "+registrar.PathBundle)
		ended(http.StatusOK)
	}
	o.Close()
	if strings.Count(log.String(), "traces are lost") != 1 {
		t.Error(log.String())
	}
}
