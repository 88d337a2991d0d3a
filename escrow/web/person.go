package web

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"regexp"

	"github.com/labstack/echo/v4"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errSignedOut = refusal.New(refusal.Unauthenticated, "session.signed_out",
		"you are not signed in, or were for more than half an hour: prove your identity again, your pen names stay the same")
	errFlowUsed = refusal.New(refusal.Conflict, "proofing_failed.already_used",
		"this answer of the identity provider was used before: start again from the first page")
)

func (s *Server) personRoutes(e *echo.Echo) error {
	s.OpenID.ErrorPage = func(w http.ResponseWriter, _ *http.Request, e *refusal.Error) {
		if err := s.pages.render(w, status(e), "refused.html", problem{Title: e.Mend, Code: e.Code}); err != nil {
			s.Log.Error("could not write a refusal", slog.Any("cause", err))
		}
	}
	s.OpenID.Refused = func(ctx context.Context, endpoint, code string) {
		s.Log.LogAttrs(ctx, slog.LevelWarn, "refused", slog.String("route", endpoint), slog.String("code", code))
	}
	var err error
	if s.provider, err = openid.New(s.OpenID, s.OpenIDStore, s.authenticate); err != nil {
		return err
	}
	s.identity = s.RelyingParty.Origin()
	e.POST("/enrol", s.enrol)
	e.GET("/enrol/callback", s.enrolled)
	e.GET("/me", s.me)
	e.GET("/me/delete", s.askErasure)
	e.POST("/me/delete", s.erase)
	e.POST("/me/sign-out-everywhere", s.signOutEverywhere)
	e.POST("/sign-out", s.signOut)
	h := echo.WrapHandler(s.provider.Handler())
	for _, path := range []string{
		"/.well-known/openid-configuration", "/jwks", "/authorize", "/authorize/*", "/par", "/token",
		"/userinfo", "/introspect", "/revoke", "/status/*",
	} {
		e.Any(path, h)
	}
	return nil
}

func (s *Server) home(c echo.Context) error {
	_, in := s.sessions.person(c.Request())
	return s.pages.render(c.Response(), http.StatusOK, "home.html", map[string]any{
		"SignedIn": in, "Platforms": s.Platforms, "Custodians": s.Custodians, "Quorum": s.Quorum,
	})
}

// interaction is the address of a sign-in at a platform that waits for the
// person: openid.SignInRequest.Action. Nothing else can be returned to (ATTACKS
// H14).
var interaction = regexp.MustCompile(`^/authorize/[A-Za-z0-9_-]{16,128}$`)

// enrol begins at the identity provider, whose callback ends in enrolled.
func (s *Server) enrol(c echo.Context) error {
	f, authURL := s.RelyingParty.Begin()
	v := flow{Flow: f, Expires: s.Now().Add(flowLife)}
	if back := c.FormValue("interaction"); interaction.MatchString(back) {
		v.Interaction = back
	}
	if err := s.sessions.set(c.Response(), "flow", flowLife, v); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, authURL) // 303, never 307 (RFC 9700, 4.12)
}

// enrolled ends a proof of identity: enrolment the first time, sign-in and
// recovery ever after.
func (s *Server) enrolled(c echo.Context) error {
	ctx := c.Request().Context()
	var f flow
	if !s.sessions.get(c.Request(), "flow", &f) {
		return identity.ErrBadState
	}
	if !s.Now().Before(f.Expires) {
		return identity.ErrExpired
	}
	query, err := identity.Callback(c.Request())
	if err != nil {
		return err
	}
	if query.Get("state") != f.Flow.State {
		return identity.ErrBadState // before the state is used up: a forged callback must not end the real one
	}
	s.sessions.clear(c.Response(), "flow")
	first, err := s.Once.Use(ctx, sha256.Sum256([]byte("flow\x00"+f.Flow.State)), nextHour(f.Expires))
	if err != nil {
		return err
	}
	if !first {
		return errFlowUsed
	}
	id, err := s.RelyingParty.Finish(ctx, f.Flow, query)
	if err != nil {
		return err
	}
	person, first, err := s.Issuer.Enrol(ctx, id)
	if err != nil {
		return err
	}
	// A new session value at every sign-in: nothing to fixate (ATTACKS R13).
	err = s.sessions.set(c.Response(), "session", sessionLife, session{
		Person: person, ACR: id.ACR, Since: s.Now(), Expires: s.Now().Add(sessionLife),
	})
	if err != nil {
		return err
	}
	if f.Interaction != "" {
		return c.Redirect(http.StatusSeeOther, f.Interaction)
	}
	if first {
		return c.Redirect(http.StatusSeeOther, "/me?welcome=new")
	}
	return c.Redirect(http.StatusSeeOther, "/me?welcome=back")
}

// mePage is what a person sees of themself, as page or JSON.
type mePage struct {
	Welcome  string          `json:"-"`
	PenNames []issue.PenName `json:"pen_names"`
	Notices  []issue.Notice  `json:"notices"`

	Names  map[string]string `json:"-"` // of platforms, by id
	Origin string            `json:"-"`
}

func (s *Server) me(c echo.Context) error {
	who, err := s.who(c.Request())
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	names, err := s.Issuer.PenNames(ctx, who.Person, s.platformIDs())
	if err != nil {
		return err
	}
	notices, err := s.Issuer.Notices(ctx, who.Person, s.platformIDs())
	if err != nil {
		return err
	}
	page := mePage{Welcome: c.QueryParam("welcome"), PenNames: names, Notices: notices, Names: map[string]string{}, Origin: s.Origin}
	for _, p := range s.Platforms {
		page.Names[p.ID] = p.Name
	}
	if c.Request().Header.Get("Accept") == echo.MIMEApplicationJSON {
		return c.JSON(http.StatusOK, page)
	}
	return s.pages.render(c.Response(), http.StatusOK, "me.html", page)
}

func (s *Server) platformIDs() []string {
	ids := make([]string, len(s.Platforms))
	for i, p := range s.Platforms {
		ids[i] = p.ID
	}
	return ids
}

// who returns the person that is signed in. A session that is older than the
// person's wish to be deleted, on another device, is none.
func (s *Server) who(r *http.Request) (session, error) {
	v, ok := s.sessions.person(r)
	if !ok {
		return session{}, errSignedOut
	}
	asked, err := s.Issuer.Erasures.Asked(r.Context(), v.Person.Label)
	if err == nil && asked {
		err = errSignedOut
	}
	return v, err
}

func (s *Server) askErasure(c echo.Context) error {
	if _, err := s.who(c.Request()); err != nil {
		return err
	}
	return s.pages.render(c.Response(), http.StatusOK, "delete.html", nil)
}

// erase writes the wish down and ends the sign-ins at platforms and the session.
// The answer is the same, in words and in time, whether or not an order holds the
// record. Who lost the answer asks again, for the same receipt: so this takes a
// session that [Server.who] takes no more.
func (s *Server) erase(c echo.Context) error {
	who, ok := s.sessions.person(c.Request())
	if !ok {
		return errSignedOut
	}
	receipt, err := s.Issuer.Erase(c.Request().Context(), who.Person, s.platformIDs(), s.provider.End)
	if err != nil {
		return err
	}
	s.sessions.clear(c.Response(), "session")
	if s.OnErase != nil {
		s.OnErase()
	}
	return s.pages.render(c.Response(), http.StatusOK, "deleted.html", receipt)
}

// signOutEverywhere ends the sign-ins at platforms, for who lost a device: what is
// on it cannot renew them any more.
func (s *Server) signOutEverywhere(c echo.Context) error {
	who, err := s.who(c.Request())
	if err != nil {
		return err
	}
	if err := s.Issuer.EndSignIns(c.Request().Context(), who.Person, s.platformIDs(), s.provider.End); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/me?welcome=out")
}

func (s *Server) signOut(c echo.Context) error {
	s.sessions.clear(c.Response(), "session")
	return c.Redirect(http.StatusSeeOther, "/")
}

// consentPage asks before a platform learns a pen name.
type consentPage struct {
	Action   string // of this sign-in
	Platform string
	PenName  string // empty: none here yet
	SignedIn bool
	Offline  bool // the platform asks to stay signed in
}

// authenticate is package openid's question: who is this, for that platform?
// It answers with a pseudonym, or renders the page that asks the person.
func (s *Server) authenticate(w http.ResponseWriter, r *http.Request, req openid.SignInRequest) (openid.Subject, openid.Outcome, error) {
	page := consentPage{Action: req.Action, Platform: req.Platform.Name, Offline: req.Offline}
	w.Header().Set("Content-Security-Policy", s.contentPolicy(req.Platform.RedirectURIs))
	who, err := s.who(r)
	if err != nil && !errors.Is(err, errSignedOut) {
		return openid.Subject{}, openid.Pending, err
	}
	ok := err == nil
	if ok && req.Fresh && s.Now().After(who.Since.Add(freshFor)) {
		ok = false // the platform asks for a proof of identity that was made now
	}
	if req.Answer && r.PostFormValue("decision") == "deny" {
		return openid.Subject{}, openid.Denied, nil
	}
	if !ok {
		return openid.Subject{}, openid.Pending, s.pages.render(w, http.StatusOK, "consent.html", page)
	}
	if req.Answer && r.PostFormValue("decision") == "allow" {
		name, commitment, err := s.Issuer.Pseudonym(r.Context(), who.Person, req.Platform.ID)
		if err != nil {
			return openid.Subject{}, openid.Pending, err
		}
		return openid.Subject{
			Pseudonym: name, Commitment: commitment, ACR: who.ACR,
			Confirm: func(context.Context) error { _, err := s.who(r); return err },
		}, openid.Approved, nil
	}
	page.SignedIn = true
	names, err := s.Issuer.PenNames(r.Context(), who.Person, []string{req.Platform.ID})
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	if len(names) == 1 {
		page.PenName = string(names[0].Pseudonym)
	}
	return openid.Subject{}, openid.Pending, s.pages.render(w, http.StatusOK, "consent.html", page)
}
