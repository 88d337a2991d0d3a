// Package web is the edge of the service: limits, security headers, the access
// log, the frame of the pages, and the one table from refusals to HTTP. What is served stands in packages of its own, each with only its side's
// ports:
//
//	web/person   the pages for people, and the OpenID provider for platforms
//	web/court    the API for courts, requesters, custodians and auditors
//
// They speak net/http and return refusals; no type of the router leaves this
// package.
package web

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/languages"
)

// Config is what every server needs.
type Config struct {
	Origin string // scheme://host[:port], as people and platforms see it
	Log    *slog.Logger
	Now    func() time.Time

	// TrustedProxies are the addresses of proxies whose word about the sender of a
	// request is taken; none: no proxy's.
	TrustedProxies []netip.Prefix
	// PerSender is how many requests a second one sender may make of a route that
	// stores something: see People and Platforms. 0: DefaultPerSender.
	PerSender float64
	// Ready, optional, says what of the service is in doubt, by part; a nil value is
	// a part that is well. It returns within seconds.
	Ready func(ctx context.Context) map[string]error

	// Contact is where people reach the operator; the zero one is named nowhere.
	Contact Contact

	// Zone, optional, is whose clocks pages show a time of day by; nil: UTC. Days are those of UTC.
	Zone *time.Location

	// Languages, optional, are those of the pages; nil: languages.Ours.
	Languages *languages.All

	// Answered and Refused, optional, count: how long a request took, by its route
	// (Routes), and refusals by their code, which is a constant, and those of what they stand
	// on, with whether the fault is ours. Who counts what is of people (OfPeople) tells nobody
	// when it happened.
	Answered func(route string, took time.Duration)
	Refused  func(route string, codes []string, fault bool)

	// Traced, optional, begins to trace a request, which is not of people, by its route; ended
	// is told the status of the answer.
	Traced func(ctx context.Context, route string) (_ context.Context, ended func(status int))
}

// Handler answers a request or returns why not: the edge then logs the refusal
// and says it to the client, as page or problem document. An error that is not
// a refusal is internal: its text goes to the log only.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Server is the HTTP edge. It is set up in one goroutine, then it serves.
type Server struct {
	Config
	secure bool // there is TLS, here or before us
	router *echo.Echo
	limits map[string]document.Bounds // by method and pattern; "*" is any method
	rated  map[string]bool            // routes that hold each sender to a rate, likewise

	posted map[string]bool // routes to which other sites may post: see OtherSitesPost
	popups map[string]bool // routes that a platform may open in a window of its own: see InPopups

	large, small *budget         // of bodies in memory
	queue        *queue          // of people, and of platforms for them
	others       *queue          // of courts, requesters, custodians and auditors
	unqueued     map[string]bool // patterns: see WaitsForOthers
	parts        parts
	faults       faults
	undone       map[string]string              // what has not happened when a route refuses, by the same names
	proxies      atomic.Pointer[[]netip.Prefix] // that are trusted
	leads        atomic.Pointer[[]string]       // origins to which a form leads
	line         line
	pages        pages
}

// New returns a server with the frame of the pages and nothing behind it.
func New(c Config) (*Server, error) {
	origin, err := url.Parse(c.Origin)
	if err != nil {
		return nil, err
	}
	c.PerSender = cmp.Or(c.PerSender, DefaultPerSender)
	s := &Server{Config: c, secure: origin.Scheme == "https", router: echo.New(), limits: map[string]document.Bounds{},
		rated: map[string]bool{}, posted: map[string]bool{}, popups: map[string]bool{}, undone: map[string]string{}, large: newBudget(maxLarge), small: newBudget(maxSmall), unqueued: map[string]bool{"/style.css": true, "/icon.svg": true}, line: slowest}
	share := max(maxOfOne, s.Platforms().AtOnce)
	s.queue, s.others = newQueue(maxWorking, maxWaiting, share), newQueue(maxWorking, maxWaiting, share)
	s.Trust(c.TrustedProxies)
	s.leads.Store(&[]string{})
	if s.pages, err = newPages(c.Contact, cmp.Or(c.Languages, languages.Ours), cmp.Or(c.Zone, time.UTC)); err != nil {
		return nil, err
	}
	e := s.router
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.refuse
	e.Use(s.security, middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisableErrorHandler: false, LogErrorFunc: s.logPanic,
	}), s.record, s.sameSite)
	s.Handle(http.MethodGet, "/healthz", NoBody, Rate{}, func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusNoContent) // the process lives; see /readyz for the rest
		return nil
	})
	s.Handle(http.MethodGet, "/readyz", NoBody, Rate{}, s.readyz)
	s.Handle(http.MethodGet, "/style.css", NoBody, Rate{}, asset("text/css; charset=utf-8"))
	s.Handle(http.MethodGet, "/icon.svg", NoBody, Rate{}, asset("image/svg+xml"))
	return s, nil
}

// Handle serves the addresses of a pattern, "/v1/cases/:case", whose parts the
// handler reads with r.PathValue("case"). Of a body no more is read than limit
// allows; without Values it is no JSON, but a form. What GET serves, HEAD does
// (RFC 9110, 9.1). Each sender is held to a rate.
func (s *Server) Handle(method, pattern string, limit document.Bounds, most Rate, h Handler) {
	s.limits[method+" "+pattern], s.rated[method+" "+pattern] = limit, most != Rate{}
	h = s.Limited(most, s.inTurn(method, pattern, limit, h))
	serve := func(c echo.Context) error {
		r := c.Request()
		for _, name := range c.ParamNames() {
			r.SetPathValue(name, c.Param(name))
		}
		return s.bounded(limit, r, func() error { return h(c.Response(), r) })
	}
	s.router.Add(method, pattern, serve)
	if method == http.MethodGet {
		s.router.Add(http.MethodHead, pattern, serve)
	}
}

// Mount serves a path with every method, as Handle does. A path that ends in "/*"
// stands for all below it.
func (s *Server) Mount(path string, limit document.Bounds, most Rate, h http.Handler) {
	s.limits["* "+path], s.rated["* "+path] = limit, most != Rate{}
	limited := s.Limited(most, s.inTurn("*", path, limit, func(w http.ResponseWriter, r *http.Request) error { h.ServeHTTP(w, r); return nil }))
	s.router.Any(path, func(c echo.Context) error {
		return s.bounded(limit, c.Request(), func() error { return limited(c.Response(), c.Request()) })
	})
}

// Limits says how much of a body each route takes, by "GET /pattern" or, of a
// route with every method, "* /pattern".
func (s *Server) Limits() map[string]document.Bounds { return maps.Clone(s.limits) }

// Rated says which routes hold each sender to a rate, by the same names.
func (s *Server) Rated() map[string]bool { return maps.Clone(s.rated) }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.router.ServeHTTP(s.line.paced(w, r))
}

// OtherSitesPost lets pages and scripts of any site post to these routes: what they do
// follows from what the request itself brings, and not from whose browser sends it.
func (s *Server) OtherSitesPost(routes ...string) {
	for _, route := range routes {
		s.posted[route] = true
	}
}

// InPopups lets these routes keep their tie to the window that opened them
// (Cross-Origin-Opener-Policy): a platform waits there for the end of a sign-in. Every
// other page is cut off from who opened it.
func (s *Server) InPopups(routes ...string) {
	for _, route := range routes {
		s.popups[route] = true
	}
}

// sameSite refuses cross-site requests that change something (ATTACKS H11), but those
// that [Server.OtherSitesPost] lets through.
//
// What a browser says of itself comes first (Sec-Fetch-Site). Without it Origin has
// to be ours: that of the configuration, not the Host header, which a proxy may
// have replaced.
func (s *Server) sameSite(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if safe := []string{http.MethodGet, http.MethodHead, http.MethodOptions}; slices.Contains(safe, r.Method) || r.Method == http.MethodPost && s.posted[c.Path()] {
			return next(c)
		}
		site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
		if site == "same-origin" || site == "none" || site == "" && (origin == "" || origin == s.Origin) {
			return next(c)
		}
		return errCrossSite
	}
}

// security sets the headers of every answer and refuses what no client sends.
func (s *Server) security(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		s.AllowForms(c.Response())
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer") // the identity provider must not learn the platform (ATTACKS N10)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
		h.Set("X-Permitted-Cross-Domain-Policies", "none")
		h.Set("Cross-Origin-Resource-Policy", "same-origin") // of what a page embeds: who may read by CORS still does
		h.Set("Cross-Origin-Embedder-Policy", "require-corp")
		h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
		if !s.popups[c.Path()] {
			h.Set("Cross-Origin-Opener-Policy", "same-origin")
		}
		if s.secure {
			h.Set("Strict-Transport-Security", "max-age=63072000")
		}
		return next(c)
	}
}

// FormsLeadTo names an origin to which the forms of any page may lead: that of an
// identity provider. It can be called while the server serves.
func (s *Server) FormsLeadTo(origin string) {
	for {
		before := s.leads.Load()
		if slices.Contains(*before, origin) {
			return
		}
		after := append(slices.Clone(*before), origin)
		if s.leads.CompareAndSwap(before, &after) {
			return
		}
	}
}

// Trust replaces the addresses of proxies whose word about the sender of a request is
// taken. It can be called while the server serves.
func (s *Server) Trust(proxies []netip.Prefix) { s.proxies.Store(&proxies) }

// AllowForms lets the forms of this answer lead to the redirect URIs of one platform
// as well. Browsers hold every redirect after a form to it, too, and a platform's
// callback may go on to another of its sites: so for a website it is any https.
func (s *Server) AllowForms(w http.ResponseWriter, redirectURIs ...string) {
	w.Header().Set("Content-Security-Policy", contentPolicy(*s.leads.Load(), redirectURIs))
}

// contentPolicy says what a page may load and where its forms may lead: here, to
// some origins, and to where a platform is answered. A source can be an origin,
// but not an IPv6 address, and an app's own scheme only as a whole (CSP Level 3,
// 2.3.1).
func contentPolicy(origins, redirectURIs []string) string {
	targets := append([]string{"'self'"}, origins...)
	for _, uri := range redirectURIs {
		u, err := url.Parse(uri)
		switch {
		case err != nil:
		case u.Host == "" || strings.Contains(u.Host, "[") || u.Scheme == "https":
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

func (s *Server) logPanic(c echo.Context, _ error, stack []byte) error {
	// The panic's value may hold request data: only where it happened is logged.
	s.Log.Error("panic in handler", slog.String("route", c.Path()), slog.String("stack", string(stack)))
	return errInternal
}
