// Package web is the edge: pages for the person, the JSON API for courts and
// custodians, and the one table from refusals to HTTP. No Echo type leaves it.
//
//	person     GET /  POST /enrol  GET /enrol/callback  GET /me  GET, POST /me/delete
//	           POST /me/sign-out-everywhere  POST /sign-out
//	platform   the OpenID provider (package openid), consent page included
//	court      POST /v1/warrants  GET /v1/warrants/{case}  GET /v1/warrants/{case}/package
//	custodian  GET /v1/cases  GET /v1/cases/{case}  POST /v1/cases/{case}/decisions
//	           GET and POST /v1/ceremonies/{plan}/messages
//	anyone     GET /v1/bundle  GET /v1/ceremonies/{plan}/transcript  GET /log/checkpoint  GET /log/tile/…  GET /healthz
package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"golang.org/x/time/rate"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/identity"
)

// maxBody is what the largest request needs that Penname is sized for: a warrant
// against 600 pen names with 5,000 posts, some 2 KB of evidence each.
const maxBody = "16M"

// Once makes a value single use across processes and restarts.
type Once interface {
	// Use returns true to exactly one caller for a key; the key may be
	// forgotten after expires, a full hour.
	Use(ctx context.Context, key [32]byte, expires time.Time) (first bool, err error)
}

// nextHour rounds up, so that what is stored does not tell when somebody was here.
func nextHour(t time.Time) time.Time { return t.UTC().Add(time.Hour - 1).Truncate(time.Hour) }

// Config is what a server is made of. A nil Issuer, Board or Registrar leaves that
// side out: the two can run as separate processes.
type Config struct {
	Origin string // scheme://host[:port], as people and platforms see it
	Log    *slog.Logger
	Now    func() time.Time

	Issuer       *issue.Issuer
	RelyingParty *identity.RelyingParty
	CookieKey    [32]byte // seals session cookies (AES-256-GCM)
	Once         Once
	Platforms    []Platform
	Custodians   []policy.Custodian // who they are, for the first page,
	Quorum       int                // and how many must agree
	OpenID       openid.Config      // Authenticate is set by New
	OpenIDStore  openid.Store

	// OnErase is called after somebody asked to be deleted. It must not wait for
	// it to happen: how long that takes would tell of a hold.
	OnErase func()

	Board     *disclose.Board // the message board, which works before there is a bundle
	Registrar *disclose.Registrar
	LogTiles  http.Handler // translog.Publisher.Handler
}

// Platform is a relying party as the pages show it.
type Platform struct{ ID, Name string }

// Server is the HTTP edge.
type Server struct {
	Config
	sessions sessions
	provider *openid.Provider
	identity string // origin of the identity provider, to which a form leads
	pages    pages
	handler  http.Handler
}

// New assembles the routes.
func New(c Config) (*Server, error) {
	origin, err := url.Parse(c.Origin)
	if err != nil {
		return nil, err
	}
	s := &Server{Config: c}
	if s.sessions, err = newSessions(c.CookieKey, origin.Scheme == "https", c.Now); err != nil {
		return nil, err
	}
	if s.pages, err = newPages(); err != nil {
		return nil, err
	}
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	// No proxy header is trusted: the address is the connection's (ATTACKS H08).
	e.IPExtractor = echo.ExtractIPDirect()
	e.HTTPErrorHandler = s.refuse
	e.Use(s.security, middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisableErrorHandler: false, LogErrorFunc: s.logPanic,
	}), middleware.BodyLimit(maxBody), s.accessLog, sameSite())

	e.GET("/healthz", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
	e.GET("/style.css", asset("text/css; charset=utf-8"))
	e.GET("/icon.svg", asset("image/svg+xml"))
	e.GET("/", s.home)
	if c.Issuer != nil {
		if err := s.personRoutes(e); err != nil {
			return nil, err
		}
	}
	if c.Board != nil {
		s.boardRoutes(e)
	}
	if c.Registrar != nil {
		s.apiRoutes(e)
	}
	s.handler = e
	return s, nil
}

// sameSite refuses cross-site requests that change something (ATTACKS H11). The
// OpenID endpoints for platforms are not browser requests and pass: they carry
// neither Origin nor Sec-Fetch-Site. OpenID Connect Core, 3.1.2.1: a platform's
// page may post an authorization request, which package openid never takes for
// the person's answer.
func sameSite() echo.MiddlewareFunc {
	protection := http.NewCrossOriginProtection()
	protection.AddInsecureBypassPattern("POST /authorize")
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if protection.Check(c.Request()) != nil {
				return errCrossSite
			}
			return next(c)
		}
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// filingLimit holds one address to a handful of filings a second: a refusal is
// logged for ever, so refusals must cost the sender more than the log.
func filingLimit() echo.MiddlewareFunc {
	return middleware.RateLimiterWithConfig(middleware.RateLimiterConfig{
		Store: middleware.NewRateLimiterMemoryStoreWithConfig(middleware.RateLimiterMemoryStoreConfig{
			Rate: rate.Limit(20), Burst: 40, ExpiresIn: time.Minute,
		}),
		IdentifierExtractor: func(c echo.Context) (string, error) { return c.RealIP(), nil },
		DenyHandler:         func(echo.Context, string, error) error { return errTooMany },
	})
}

// security sets the headers of every answer and refuses what no client sends.
func (s *Server) security(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", s.contentPolicy(nil))
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer") // the identity provider must not learn the platform (ATTACKS N10)
		h.Set("Cache-Control", "no-store")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if s.sessions.secure {
			h.Set("Strict-Transport-Security", "max-age=63072000")
		}
		return next(c)
	}
}

// contentPolicy says what a page may load and where its forms may lead: here, to
// the identity provider, and to where a platform is answered. Browsers hold the
// redirect after a form to it, too. A source can be an origin, but not an IPv6
// address, and an app's own scheme only as a whole (CSP Level 3, 2.3.1).
func (s *Server) contentPolicy(redirectURIs []string) string {
	targets := []string{"'self'"}
	if s.identity != "" {
		targets = append(targets, s.identity)
	}
	for _, uri := range redirectURIs {
		u, err := url.Parse(uri)
		switch {
		case err != nil:
		case u.Host == "" || strings.Contains(u.Host, "["):
			targets = append(targets, u.Scheme+":")
		case u.Scheme == "http" && u.Port() == "": // a native app's: any port
			targets = append(targets, "http://"+u.Host+":*")
		default:
			targets = append(targets, u.Scheme+"://"+u.Host)
		}
	}
	slices.Sort(targets)
	return "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action " +
		strings.Join(slices.Compact(targets), " ")
}

// accessLog writes one line a request: method, route, status, time. Never the
// address, the query or a path parameter: they can name a person or a case.
func (s *Server) accessLog(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		err := next(c)
		if err != nil {
			c.Error(err)
		}
		s.Log.LogAttrs(c.Request().Context(), slog.LevelInfo, "request",
			slog.String("method", knownMethod(c.Request().Method)), slog.String("route", c.Path()),
			slog.Int("status", c.Response().Status), slog.Duration("took", time.Since(start)))
		return nil
	}
}

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other" // a request chooses its method: it must not choose our log's words
}

func (s *Server) logPanic(c echo.Context, _ error, stack []byte) error {
	// The panic's value may hold request data: only where it happened is logged.
	s.Log.Error("panic in handler", slog.String("route", c.Path()), slog.String("stack", string(stack)))
	return errInternal
}
