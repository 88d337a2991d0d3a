package web

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/refusal"
)

// A person is promised that no time of day is kept of what they do. A log that is
// written when something happens tells when it happened, whatever time its line names,
// because who keeps it stamps each line. So of requests by people, and by platforms
// for them, no line is written:
//
//   - what was answered or refused is counted, by Config.Answered and Config.Refused,
//     which hold back what they are told of people;
//   - what failed on our side is written by [Server.LogFaults], which is called once
//     a minute: how often, and why it was the first time.

// none is the route of a request for what is not there.
const none = "none"

// route is the request's route by the names of Limits: there are as many as were
// registered, whatever a request asks for.
func (s *Server) route(method, pattern string) string {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, name := range []string{method + " " + pattern, "* " + pattern} {
		if _, ok := s.limits[name]; ok {
			return name
		}
	}
	return none
}

// Routes are all names of routes that Config.Answered can be told.
func (s *Server) Routes() []string {
	all := []string{none}
	for name := range s.limits {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// OfPeople tells whether people, or platforms for them, come by a route: any but those
// of courts, requesters, custodians, auditors and probes.
func OfPeople(route string) bool {
	_, pattern, _ := strings.Cut(route, " ")
	return !isProbe(route) && !strings.HasPrefix(pattern, "/v1/") && !strings.HasPrefix(pattern, registrar.PathLog+"/")
}

// isProbe tells whether load balancers come by a route, every few seconds: what they are
// told is written when it changes, see [Server.readyz].
func isProbe(route string) bool { return route == "GET /healthz" || route == "GET /readyz" }

// record counts each request and, unless it is of people or a probe, writes one line: route with
// its method, status, time. Never the address, the query or a path parameter: they can name
// a person or a case.
func (s *Server) record(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start, route := time.Now(), s.route(c.Request().Method, c.Path())
		unseen := OfPeople(route) || isProbe(route)
		ended := func(int) {}
		if s.Traced != nil && !unseen {
			var ctx context.Context
			ctx, ended = s.Traced(c.Request().Context(), route)
			c.SetRequest(c.Request().WithContext(ctx))
		}
		err := next(c)
		if err != nil {
			c.Error(err)
		}
		ended(c.Response().Status)
		took := time.Since(start)
		if s.Answered != nil {
			s.Answered(route, took)
		}
		if !unseen {
			s.Log.LogAttrs(c.Request().Context(), slog.LevelInfo, "request",
				slog.String("route", route), slog.Int("status", c.Response().Status), slog.Duration("took", took))
		}
		return nil
	}
}

// NoteRefusal counts a refusal at a route, and has it written to the log: at once, or,
// of people, with the next [Server.LogFaults] and only if the fault is ours. Code is a
// constant, cause what it was refused for, if that is known: its codes are counted, too.
// Nothing of the request is in attrs.
func (s *Server) NoteRefusal(ctx context.Context, route, code string, fault bool, cause error, attrs ...slog.Attr) {
	if s.Refused != nil {
		inner := slices.DeleteFunc(refusal.Codes(cause), func(c string) bool { return c == code })
		s.Refused(route, append([]string{code}, inner...), fault)
	}
	attrs = append([]slog.Attr{slog.String("code", code), slog.String("route", route)}, attrs...)
	switch {
	case !OfPeople(route) && fault:
		s.Log.LogAttrs(ctx, slog.LevelError, "refused", attrs...)
	case !OfPeople(route):
		s.Log.LogAttrs(ctx, slog.LevelWarn, "refused", attrs...)
	case fault:
		s.faults.add(route+" "+code, attrs)
	}
}

// noted is what the log has of a refusal beside its code and route.
func noted(e *refusal.Error) []slog.Attr {
	attrs := []slog.Attr{slog.String("kind", e.Kind.String())}
	if cause := e.Unwrap(); cause != nil {
		attrs = append(attrs, slog.Any("cause", cause))
	}
	return attrs
}

// faults are what failed at routes of people since it was last written down.
type faults struct {
	mu    sync.Mutex
	found map[string]*fault // by route and code
}

type fault struct {
	times int
	first []slog.Attr
}

func (f *faults) add(key string, attrs []slog.Attr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.found == nil {
		f.found = map[string]*fault{}
	}
	if f.found[key] == nil {
		f.found[key] = &fault{first: attrs}
	}
	f.found[key].times++
}

// LogFaults writes what failed on our side at routes of people since it was last
// called: one line for each route and code.
func (s *Server) LogFaults(ctx context.Context) {
	s.faults.mu.Lock()
	found := s.faults.found
	s.faults.found = nil
	s.faults.mu.Unlock()
	for _, f := range found {
		s.Log.LogAttrs(ctx, slog.LevelError, "failed for people", append(f.first, slog.Int("times", f.times))...)
	}
}
