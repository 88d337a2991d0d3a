package web

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errInternal = refusal.New(refusal.Unavailable, "server.internal",
		"something failed on our side: try again, and tell the operator if it stays")
	errTooMany = refusal.New(refusal.NotYet, "server.too_many_requests",
		"too many requests from this address: wait a second and try again")
	errNoRoute = refusal.New(refusal.NotFound, "server.no_such_page",
		"there is nothing at this address: check it for a typing mistake")
	errCrossSite = refusal.New(refusal.Denied, "server.cross_site",
		"another site sent this request, so nothing was done: open the page here and press the button yourself; if that does not help, the operator sets origin in the configuration to the address that the browser shows")
	errTooSlow = refusal.New(refusal.Unavailable, "server.too_slow",
		"the request came too slowly, 8 KiB a second at least and no pause over ten seconds, and nothing of it was stored: send it again over a faster line")
	errTimedOut = refusal.New(refusal.Unavailable, "server.timed_out",
		"something that this needs gave no answer in time: try again in a minute")
	errMethod = refusal.New(refusal.Invalid, "server.method_not_allowed",
		"this address does not take that method")
	errBody = refusal.New(refusal.Invalid, "server.malformed_body",
		"the body is not the JSON object that this address takes: no unknown or repeated field, nothing after it")
	errTooLarge = refusal.New(refusal.Invalid, "server.body_too_large",
		"the body is larger or has more parts than this address takes: send less, and a warrant with many targets as several")
	errParameters = refusal.New(refusal.Invalid, "server.too_many_parameters",
		"the address or the form has more parameters than anything here takes: leave out what is not asked for")
	errBusy = refusal.New(refusal.Unavailable, "server.busy",
		"too much is asked for at the moment, and nothing of this request was stored: try again in a second")
	errMediaType = refusal.New(refusal.Invalid, "server.unsupported_media_type",
		"send the body as application/json")
)

// Watched are the codes of faults of the edge itself that alarms are about: what nobody foresaw,
// and what was too much.
func Watched() []string { return []string{errInternal.Code, errBusy.Code} }

// status is the one table from a refusal to HTTP.
func status(e *refusal.Error) int {
	switch e.Code {
	case errTooMany.Code:
		return http.StatusTooManyRequests
	case errTooSlow.Code:
		return http.StatusRequestTimeout
	case errMethod.Code:
		return http.StatusMethodNotAllowed
	case errTooLarge.Code:
		return http.StatusRequestEntityTooLarge
	case errMediaType.Code:
		return http.StatusUnsupportedMediaType
	case errInternal.Code:
		return http.StatusInternalServerError
	}
	area, _, _ := strings.Cut(e.Code, ".")
	switch e.Kind {
	case refusal.Invalid, refusal.Denied:
		switch {
		case area == "warrant", area == "custodian", area == "evidence":
			return http.StatusUnprocessableEntity
		case e.Kind == refusal.Denied:
			return http.StatusForbidden
		}
		return http.StatusBadRequest
	case refusal.Unauthenticated:
		if area == "warrant" || area == "proofing_failed" { // the document is at fault, not the caller's credentials
			return http.StatusUnprocessableEntity
		}
		return http.StatusUnauthorized
	case refusal.NotFound:
		return http.StatusNotFound
	case refusal.Conflict, refusal.NotYet:
		return http.StatusConflict
	case refusal.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// WithFacts is a refusal with the public facts of a case, or with what the person
// needs to know of a review or to go on.
type WithFacts struct {
	Err             error    // the refusal
	Rules           []string // ids of the policies that refused
	Decided, Quorum *int     // where a quorum is being collected

	Grounds []registrar.Ground       // of the policies in Rules
	Targets []registrar.TargetStatus // of the warrant, where each is refused

	Back      string    // the sign-in at a platform, on the way of which it was refused: its address here
	Undone    string    // what has not happened, where more is known than [Server.Undone] says
	Unsaved   string    // what the person typed, which nobody has now but they
	Reference string    // of the review of an enrolment
	From      time.Time // UTC day from which it is not held; zero: not decided
}

// Error is the refusal's.
func (w WithFacts) Error() string { return w.Err.Error() }

// Unwrap returns the refusal.
func (w WithFacts) Unwrap() error { return w.Err }

// problem is what a client is told of a refusal. Every text in it is a constant.
func problem(e *refusal.Error) registrar.Problem {
	return registrar.Problem{Type: registrar.ProblemType(e.Code), Title: e.Mend, Status: status(e), Code: e.Code}
}

// ShowRefusal writes the page of a refusal of r. It does not log it.
func (s *Server) ShowRefusal(w http.ResponseWriter, r *http.Request, e *refusal.Error) {
	p := problem(e)
	path := r.URL.Path
	if strings.HasPrefix(path, "/authorize/") {
		if area, _, _ := strings.Cut(e.Code, "."); area == "persona" { // the page still waits, and shows what there is to choose from
			p.Back = path
		}
		path = "/authorize/*"
	}
	p.Detail = s.detailOf(r.Method, path, e)
	s.showProblem(w, r, path, p)
}

// showProblem writes the page of a refusal at a route. In another language the same address
// shows it, if a GET of it does no more than to show a page.
func (s *Server) showProblem(w http.ResponseWriter, r *http.Request, route string, p registrar.Problem) {
	again := "/"
	if _, shows := s.limits["GET "+route]; shows && !strings.Contains(route, ":") || strings.HasSuffix(route, "/*") {
		again = r.URL.Path
	}
	if r.Method != http.MethodGet {
		again = "/"
	}
	// What was typed is nowhere else, nor is a reference, or a way back from what a GET does not show again.
	if p.Unsaved != "" || again == "/" && (p.Back != "" || p.Reference != "") {
		again = ""
	}
	if err := s.RenderAgain(w, r, again, p.Status, "refused.html", p); err != nil {
		s.Log.Error("could not write a refusal", slog.Any("cause", err))
	}
}

// refuse is the one error handler. The cause goes to the log, a constant to the
// client.
func (s *Server) refuse(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	e := asRefusal(err)
	p := problem(e)
	p.Detail = s.detailOf(c.Request().Method, c.Path(), e)
	s.NoteRefusal(c.Request().Context(), s.route(c.Request().Method, c.Path()), e.Code, p.Status >= http.StatusInternalServerError, err, noted(e)...)
	var facts WithFacts
	if errors.As(err, &facts) {
		p.Rules, p.Decided, p.Quorum, p.Reference, p.Back, p.Unsaved = facts.Rules, facts.Decided, facts.Quorum, facts.Reference, facts.Back, facts.Unsaved
		p.Detail = cmp.Or(facts.Undone, p.Detail)
		p.Grounds, p.Targets = facts.Grounds, facts.Targets
		if !facts.From.IsZero() {
			p.From = facts.From.UTC().Format(time.DateOnly)
		}
	}
	w := c.Response()
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	switch {
	case Accepts(c.Request().Header.Get("Accept"), "text/html"):
		s.showProblem(w, c.Request(), c.Path(), p)
	default:
		if err := writeJSON(w, p.Status, registrar.ProblemMediaType, p); err != nil {
			s.Log.Error("could not write a refusal", slog.Any("cause", err))
		}
	}
}

func asRefusal(err error) *refusal.Error {
	if e := refusal.Of(err); e != nil {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return errTimedOut.Because(err)
	}
	var he *echo.HTTPError
	if errors.As(err, &he) {
		switch he.Code {
		case http.StatusNotFound:
			return errNoRoute
		case http.StatusMethodNotAllowed:
			return errMethod
		case http.StatusRequestEntityTooLarge:
			return errTooLarge
		}
	}
	return errInternal.Because(err)
}
