package web

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/refusal"
)

// TestNoLineTellsWhenAPersonCame: of requests by people there is no line. What failed
// on our side is written when it is asked for, with how often, and why at first.
func TestNoLineTellsWhenAPersonCame(t *testing.T) {
	var log strings.Builder
	s := newEdge(t, &log)
	down := refusal.New(refusal.Unavailable, "test.down", "wait")
	fails := func(http.ResponseWriter, *http.Request) error { return down.Because(errors.New("the line is cut")) }
	s.Handle("GET", "/me", NoBody, Rate{}, fails)
	s.Handle("GET", registrar.PathCases, NoBody, Rate{}, fails)
	for _, path := range []string{"/", "/me", "/me", "/style.css", "/none"} {
		ask(s, "GET", path, "text/html")
	}
	if log.Len() > 0 {
		t.Errorf("at once: %s", log.String())
	}
	for _, want := range []int{1, 0} {
		s.LogFaults(t.Context())
		if n := strings.Count(log.String(), "\n"); n != want {
			t.Errorf("%d lines, want %d: %s", n, want, log.String())
		}
		for _, part := range []string{"level=ERROR", "code=test.down", `route="GET /me"`, "times=2", `cause="the line is cut"`} {
			if want > 0 && !strings.Contains(log.String(), part) {
				t.Errorf("no %s: %s", part, log.String())
			}
		}
		log.Reset()
	}
	ask(s, "GET", registrar.PathCases, "application/json")
	ask(s, "HEAD", "/healthz", "")
	for _, part := range []string{`msg=refused code=test.down route="GET /v1/cases"`, `msg=request route="GET /v1/cases" status=503 took=`} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("no %s: %s", part, log.String())
		}
	}
	if strings.Contains(log.String(), "healthz") {
		t.Error("a line of a probe:", log.String())
	}
}

// TestProbesAreWrittenWhenTheAnswerChanges: load balancers ask every few seconds, and the
// log has a line when they are told something else than before.
func TestProbesAreWrittenWhenTheAnswerChanges(t *testing.T) {
	var log strings.Builder
	s := newEdge(t, &log)
	down := refusal.New(refusal.Unavailable, "test.down", "wait")
	for i, c := range []struct {
		found error
		line  string
	}{{nil, ""}, {down, "level=WARN msg=\"readiness changed\" ready=false in_doubt=map[rules:test.down]\n"}, {down, ""}, {nil, "level=WARN msg=\"readiness changed\" ready=true in_doubt=map[]\n"}, {nil, ""}} {
		s.Ready, s.parts.looked = func(context.Context) map[string]error { return map[string]error{"rules": c.found} }, time.Time{}
		ask(s, "GET", "/readyz", "")
		ask(s, "GET", "/readyz", "")
		ask(s, "GET", "/healthz", "")
		if said := log.String(); !strings.HasSuffix(said, c.line) || strings.Count(said, "\n") != min(len(c.line), 1) {
			t.Errorf("%d: %q, want %q", i, said, c.line)
		}
		log.Reset()
	}
}

// What stands behind a refusal, joined or as its cause, is counted with it: an alarm may rest on it.
func TestWhatIsBehindARefusalIsCounted(t *testing.T) {
	s := newEdge(t, &strings.Builder{})
	denied, down, gone := refusal.New(refusal.Denied, "test.denied", ""), refusal.New(refusal.Unavailable, "test.down", ""), refusal.New(refusal.Unavailable, "test.gone", "")
	var codes [][]string
	var faults []bool
	s.Refused = func(_ string, c []string, fault bool) { codes, faults = append(codes, c), append(faults, fault) }
	for path, err := range map[string]error{"/a": WithFacts{Err: denied}, "/b": errors.Join(errors.New("first"), down.Because(gone), denied), "/c": errors.New("nobody foresaw it")} {
		s.Handle("GET", path, NoBody, Rate{}, func(http.ResponseWriter, *http.Request) error { return err })
	}
	for _, path := range []string{"/a", "/b", "/c"} {
		ask(s, "GET", path, "")
	}
	if want := [][]string{{"test.denied"}, {"test.down", "test.gone", "test.denied"}, {errInternal.Code}}; !reflect.DeepEqual(codes, want) || !slices.Equal(faults, []bool{false, true, true}) {
		t.Errorf("%q, %v", codes, faults)
	}
}

// TestRoutesAreThoseThatWereRegistered: whatever a request asks for, its route is one of
// ours, and refusals come with their code.
func TestRoutesAreThoseThatWereRegistered(t *testing.T) {
	s := newEdge(t, &strings.Builder{})
	var routes, refused []string
	s.Answered = func(route string, took time.Duration) {
		if took < 0 {
			t.Error(took)
		}
		routes = append(routes, route)
	}
	s.Refused = func(route string, codes []string, fault bool) {
		if fault || len(codes) != 1 {
			t.Error(codes)
		}
		refused = append(refused, route+" "+codes[0])
	}
	s.Mount("/any/*", NoBody, Rate{}, http.NotFoundHandler())
	for _, r := range [][2]string{{"GET", "/healthz"}, {"HEAD", "/healthz"}, {"POST", "/any/thing"}, {"PURGE", "/any/thing"}, {"PURGE", "/healthz"}, {"GET", "/x%0ay"}} {
		ask(s, r[0], r[1], "")
	}
	if want := []string{"GET /healthz", "GET /healthz", "* /any/*", "* /any/*", none, none}; !slices.Equal(routes, want) {
		t.Errorf("%q, want %q", routes, want)
	}
	if want := []string{"* /any/* " + errMethod.Code, none + " " + errMethod.Code, none + " " + errNoRoute.Code}; !slices.Equal(refused, want) {
		t.Errorf("%q, want %q", refused, want)
	}
	for _, route := range routes {
		if !slices.Contains(s.Routes(), route) {
			t.Errorf("%s is not one of Routes", route)
		}
	}
}
