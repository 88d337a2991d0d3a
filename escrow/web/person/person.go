// Package person is the issuing side over HTTP: the pages for people, and the
// OpenID provider through which platforms get pen names.
//
//	GET  /                         what this is, and where to begin
//	POST /enrol                    to the identity provider that the person chose
//	GET  /enrol/callback/:provider back from it
//	GET  /me                       one's pen names, and what was disclosed
//	GET, POST /me/delete   POST /me/sign-out-everywhere   POST /sign-out
//
// The rest is the protocol of package openid, whose text draws how a sign-in goes
// from the platform to here, to the identity provider and back.
//
// # A proof of identity
//
//	enrol     begins at a provider and seals the flow into a cookie of the browser
//	          (identity.FlowTTL is the life of both)
//	enrolled  hands flow and answer to that provider's Finish, which alone judges
//	          them: state, issuer, age, single use
//	          then the identity becomes a person, and the person is signed in here
package person

import (
	"context"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"slices"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
)

//go:embed pages
var pageFiles embed.FS

// Config is what the issuing side is served with. All fields are required unless
// said otherwise.
type Config struct {
	Issuer    *issue.Issuer
	Providers []Provider        // of identities, at least one: people may come by any
	CookieKey [32]byte          // seals session cookies (AES-256-GCM)
	Platforms []openid.Platform // that people may sign in to

	// Rules returns the bundle in force, whose custodians the first page shows, or
	// why it is not known: then nobody is enrolled or signed in.
	Rules func() (*policy.Bundle, error)

	TokenKeys   []openid.Key // that sign tokens
	StatusLists int          // see openid.Config; 0 is 1
	Store       openid.Store

	// OnErase, optional, is called after somebody asked to be deleted. It must not
	// wait for it to happen: how long that takes would tell of a hold.
	OnErase func()
}

// side is the issuing side behind an edge.
type side struct {
	Config
	edge     *web.Server
	sessions sessions
	openid   *openid.Provider
}

// Mount serves the issuing side. It refuses platforms, keys and identity
// providers that are not sound.
func Mount(edge *web.Server, c Config) error {
	s, err := newSide(edge, c)
	if err != nil {
		return err
	}
	edge.Handle(http.MethodGet, "/", web.NoBody, web.Rate{}, s.home)
	edge.Handle(http.MethodPost, "/enrol", web.Form, edge.People(), s.enrol)
	edge.Handle(http.MethodGet, CallbackPath(":provider"), web.NoBody, edge.People(), s.enrolled)
	edge.Handle(http.MethodGet, "/me", web.NoBody, web.Rate{}, s.me)
	edge.Handle(http.MethodGet, "/me/delete", web.NoBody, web.Rate{}, s.askErasure)
	edge.Handle(http.MethodPost, "/me/delete", web.Form, edge.People(), s.erase)
	edge.Handle(http.MethodPost, "/me/sign-out-everywhere", web.Form, edge.People(), s.signOutEverywhere)
	edge.Handle(http.MethodPost, "/sign-out", web.Form, edge.People(), s.signOut)
	reading, people, platforms := web.Rate{}, edge.People(), edge.Platforms()
	for path, most := range map[string]web.Rate{
		"/.well-known/openid-configuration": reading, "/jwks": reading, "/status/*": reading,
		"/authorize": people, "/authorize/*": people,
		"/par": platforms, "/token": platforms, "/userinfo": platforms, "/introspect": platforms, "/revoke": platforms,
	} {
		edge.Mount(path, web.Form, most, s.openid.Handler())
	}
	for route, text := range undone {
		edge.Undone(route, text)
	}
	return nil
}

// undone is what a person is told has not happened when a page of theirs refuses.
var undone = map[string]string{
	"POST /enrol":                      "You are not signed in, and nothing about you was stored.",
	"GET " + CallbackPath(":provider"): "You are not signed in. If this was your first time, you may have been enrolled or not: to begin again does no harm.",
	"POST /me/delete":                  "Nothing was deleted: your record is as it was. Some of your sign-ins at platforms may have ended. You can ask again.",
	"POST /me/sign-out-everywhere":     "Not all your sign-ins at platforms have ended. You can ask again.",
	"POST /sign-out":                   "You are still signed in here.",
	"* /authorize/*":                   "You are not signed in at the platform, and it has learned nothing new about you.",
	"* /authorize":                     "You are not signed in at the platform, and it has learned nothing new about you.",
}

func newSide(edge *web.Server, c Config) (*side, error) {
	if err := checkProviders(c.Providers); err != nil {
		return nil, err
	}
	s := &side{Config: c, edge: edge}
	for _, p := range c.Providers {
		if p.Proving == nil {
			edge.FormsLeadTo(p.Issuer)
		} else {
			edge.FormsLeadTo(p.Origin())
		}
	}
	if err := edge.AddPages(pageFiles, template.FuncMap{"providers": func() []Provider { return c.Providers }}); err != nil {
		return nil, err
	}
	var err error
	if s.sessions, err = newSessions(c.CookieKey, edge.Origin, edge.Now); err != nil {
		return nil, err
	}
	s.openid, err = s.newOpenID()
	return s, err
}

// newOpenID is the OpenID provider whose sign-in page is [side.authenticate].
func (s *side) newOpenID() (*openid.Provider, error) {
	platforms, err := openid.Fixed(s.Platforms...)
	if err != nil {
		return nil, err
	}
	return openid.New(openid.Config{
		Issuer: s.edge.Origin, Keys: s.TokenKeys, Platforms: platforms, StatusLists: s.StatusLists, Now: s.edge.Now,
		ACRs:      s.acrs(),
		ErrorPage: s.edge.ShowRefusal,
		Refused: func(ctx context.Context, endpoint, code string) {
			s.edge.Log.LogAttrs(ctx, slog.LevelWarn, "refused", slog.String("route", endpoint), slog.String("code", code))
		},
	}, s.Store, s.authenticate)
}

func (s *side) home(w http.ResponseWriter, r *http.Request) error {
	rules, err := s.Rules()
	if err != nil {
		return err
	}
	_, in := s.sessions.person(r)
	return s.edge.Render(w, http.StatusOK, "home.html", map[string]any{
		"SignedIn": in, "Platforms": s.Platforms, "Custodians": rules.Custodians, "Quorum": rules.Threshold,
	})
}

// acrs are the assurance levels that a token can name: those that the identity
// providers are held to.
func (s *side) acrs() []string {
	var all []string
	for _, p := range s.Providers {
		for _, acr := range p.ACRs {
			if !slices.Contains(all, acr) {
				all = append(all, acr)
			}
		}
	}
	return all
}

func (s *side) platformIDs() []string {
	ids := make([]string, len(s.Platforms))
	for i, p := range s.Platforms {
		ids[i] = p.ID
	}
	return ids
}
