// Package person is the issuing side over HTTP: the pages for people, and the
// OpenID provider through which platforms get pen names.
//
//	GET  /                         what this is, and where to begin
//	GET  /privacy   /accessibility   /.well-known/security.txt
//	POST /enrol                    to the identity provider that the person chose
//	GET  /enrol/callback/:provider back from it
//	GET  /me                       one's pen names, devices, and what was disclosed
//	POST /me/stay                  stay signed in for another half hour
//	POST /me/platform              leave one platform
//	GET, POST /me/delete   POST /me/object
//	GET  /me/data.json                   what /me shows
//	GET  /me/changes               what changed in their account, by day
//	GET  /me/receipt   /me/receipt.jws   which sealed record is theirs, signed
//	POST /me/rename   /me/retire   one of one's pen names
//	GET, POST /me/address          where one wants to be told that something waits
//	POST /me/address/confirm   /me/address/remove
//	GET, POST /me/passkeys   POST /passkey   and more of them: see passkey.go
//	POST /sign-out   /me/sign-out-device   /me/sign-out-everywhere
//
// The rest is the protocol of package openid, whose text draws how a sign-in goes
// from the platform to here, to the identity provider and back.
//
// # A proof of identity
//
//	enrol     begins at a provider and seals the flow into a cookie of the browser,
//	          beside those of its other tabs
//	enrolled  hands flow and answer to that provider's Finish, which alone judges
//	          them: state, issuer, age, single use
//	          then the identity becomes a person, and the person is signed in here
//
// # Being signed in
//
// A session is a sealed cookie, and lasts half an hour from page to page, for twelve
// hours at most. It counts while the database has no row that ends it: the person
// signed out here, ended it from another device, signed out everywhere, or asked to be
// deleted. A person may have any number of them; each browser has one. The database
// cannot tell whose a row is, or when it was written: see package postgres.
package person

import (
	"context"
	"embed"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/passkey"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

//go:embed pages
var pageFiles embed.FS

// Config is what the issuing side is served with. All fields are required unless
// said otherwise.
type Config struct {
	Issuer    *issue.Issuer
	Providers []Provider // of identities, at least one: people may come by any
	// CookieKeys are for session cookies (AES-256-GCM), at least one: the first seals,
	// and all of them open.
	CookieKeys [][32]byte
	Platforms  []openid.Platform // that people may sign in to; see Live

	// Rules returns the bundle in force, whose custodians the first page shows, or
	// why it is not known: then nobody is enrolled or signed in.
	Rules func() (*policy.Bundle, error)

	TokenKeys []openid.Key // that sign tokens; see Live
	Store     openid.Store
	HTTP      *http.Client // optional: see openid.Config

	EmailDomain string // optional: openid.Config

	Localhost bool // of a sandbox: the origin may be http://localhost, see openid.Config

	Legal Legal // who runs this, as the pages say it

	Writes bool // people may give an address, to be told that something waits
}

// side is the issuing side behind an edge.
type side struct {
	Config
	edge      *web.Server
	sessions  sessions
	openid    *openid.Provider
	platforms atomic.Pointer[[]openid.Platform]
	wrote     chan struct{}  // see Live.Wrote
	party     *passkey.Party // nil: there are no passkeys, for the origin can have none

	suspendedTo int64 // up to which leaf Live.Suspend has carried out what courts ordered
}

// Live is what can be replaced on the issuing side while it serves. What is refused
// replaces nothing.
type Live struct{ side *side }

// SetPlatforms replaces the platforms that people may sign in to. It fails with
// openid.ErrBadPlatform.
func (l *Live) SetPlatforms(all []openid.Platform) error { return l.side.setPlatforms(all) }

// SetTokenKeys replaces the keys that sign tokens: see [openid.Provider.SetKeys].
func (l *Live) SetTokenKeys(all []openid.Key) error { return l.side.openid.SetKeys(all) }

// TellPlatforms tells platforms who signed out: see [openid.Provider.TellPlatforms], also
// for Ended.
func (l *Live) TellPlatforms(ctx context.Context) (map[string]openid.Told, error) {
	return l.side.openid.TellPlatforms(ctx)
}

// Ended receives something when there is somebody to tell of.
func (l *Live) Ended() <-chan struct{} { return l.side.openid.Ended() }

// Mount serves the issuing side. It refuses platforms, keys and identity
// providers that are not sound.
func Mount(edge *web.Server, c Config) (*Live, error) {
	s, err := newSide(edge, c)
	if err != nil {
		return nil, err
	}
	edge.Handle(http.MethodGet, "/", web.NoBody, web.Rate{}, s.home)
	edge.Handle(http.MethodGet, "/privacy", web.NoBody, web.Rate{}, s.privacy)
	edge.Handle(http.MethodGet, "/accessibility", web.NoBody, web.Rate{}, s.accessibility)
	if c.Legal.Security.Link != "" {
		edge.Handle(http.MethodGet, securityPath, web.NoBody, web.Rate{}, s.securityText)
	}
	edge.Handle(http.MethodPost, "/enrol", web.Form, edge.People(), s.enrol)
	edge.Handle(http.MethodGet, CallbackPath(":provider"), web.NoBody, edge.People(), s.enrolled)
	edge.ServeScript()
	edge.Handle(http.MethodPost, "/passkey/begin", web.Form, edge.People(), s.beginPasskey)
	edge.Handle(http.MethodPost, "/passkey", web.Form, edge.People(), s.byPasskey)
	s.mountMe()
	edge.Handle(http.MethodPost, "/sign-out", web.Form, edge.People(), s.signOut)
	reading, people, platforms := web.Rate{}, edge.People(), edge.Platforms()
	for path, most := range map[string]web.Rate{
		"/.well-known/openid-configuration": reading, "/.well-known/oauth-authorization-server": reading, "/jwks": reading, "/status/*": reading,
		"/authorize": people, "/authorize/*": people, "/logout": people, "/logout/answer": people,
		"/par": platforms, "/token": platforms, "/userinfo": platforms, "/introspect": platforms, "/revoke": platforms, "/bans": platforms,
	} {
		edge.Mount(path, web.Form, most, s.openid.Handler())
	}
	edge.Mount("/events", web.Form, platforms, s.openid.Handler())
	edge.InPopups("/authorize", "/authorize/*", "/enrol", CallbackPath(":provider"), "/passkey", passkeysPath)
	edge.WaitsForOthers("/events", "/enrol", CallbackPath(":provider"))
	edge.OtherSitesPost("/token", "/userinfo", "/revoke") // which read no cookie
	// OpenID Connect Core, 3.1.2.1, and RP-Initiated Logout 1.0, 2: a platform's page may
	// post what package openid never takes for the person's answer.
	edge.OtherSitesPost("/authorize", "/logout")
	for route, text := range undone {
		edge.Undone(route, text)
	}
	for route, text := range twice {
		edge.UndoneOf(route, errSignedOut.Code, text)
	}
	for route, text := range unsure {
		edge.UndoneOf(route, web.OutcomeUnknown, text)
	}
	for _, route := range []string{"POST " + addressPath, "POST " + addressPath + "/confirm"} { // codes are few, and so are tries
		edge.UndoneOf(route, web.OutcomeUnknown, undone[route])
	}
	edge.UndoneOf("POST /me/recovery/cancel", errAnother.Code, "Nothing was changed. If you pressed it before, it is cancelled.")
	edge.UndoneOf("POST /me/passkeys/remove", issue.ErrNoPasskey.Code, "If you pressed it before, it is removed.")
	edge.UndoneOf("POST /me/retire", issue.ErrPersonaUnknown.Code, "If you pressed it before, it is retired.")
	edge.UndoneOf("POST /me/object", issue.ErrTooLate.Code, "If you pressed it before, your objection is recorded.")
	edge.UndoneOf("POST /me/sign-out-device", errNoDevice.Code, "It was signed out before, or its sign-in has ended by itself.")
	for _, route := range []string{"* /authorize/*", "* /authorize"} {
		edge.UndoneOf(route, openid.ErrNotFound.Code, "If you pressed its button before, it has done its work, and you may be signed in: look at the platform. Else nothing has happened.")
	}
	if !c.Writes {
		edge.Undone("POST "+addressPath, "Your address is as it was.")
	}
	return &Live{s}, nil
}

// mountMe serves the pages of somebody who is signed in.
func (s *side) mountMe() {
	for _, page := range []struct {
		path, back string
		show       web.Handler
	}{
		{"/me", "/me", s.me}, {dataPath, "/me", s.me}, {changesPath, changesPath, s.showChanges}, {deletePath, deletePath, s.askErasure},
		{receiptPath, receiptPath, s.receipt}, {receiptFilePath, receiptPath, s.receiptFile}, {addressPath, addressPath, s.address}, {passkeysPath, passkeysPath, s.myPasskeys},
	} {
		s.edge.Handle(http.MethodGet, page.path, web.NoBody, web.Rate{}, s.ledBack(page.back, page.show))
	}
	for _, form := range []struct {
		path, back string
		do         web.Handler
		typed      []string // fields
	}{
		{"/me/stay", "/me", s.stay, nil}, {deletePath, deletePath, s.erase, nil},
		{"/me/platform", "/me", s.leavePlatform, nil}, {"/me/rename", "/me", s.rename, []string{"alias"}}, {"/me/retire", "/me", s.retire, nil},
		{"/me/sign-out-device", "/me", s.signOutDevice, nil}, {"/me/sign-out-everywhere", "/me", s.signOutEverywhere, nil},
		{"/me/object", "/me", s.object, nil}, {"/me/lawyer", "/me", s.codeFor, nil},
		{addressPath, addressPath, s.enterAddress, []string{"address"}}, {addressPath + "/confirm", addressPath, s.confirmAddress, nil}, {addressPath + "/remove", addressPath, s.removeAddress, nil},
		{passkeysPath, passkeysPath, s.addPasskey, []string{"word"}}, {passkeysPath + "/begin", passkeysPath, s.beginAdding, nil},
		{passkeysPath + "/rename", passkeysPath, s.renamePasskey, []string{"word"}}, {passkeysPath + "/remove", passkeysPath, s.removePasskey, nil},
		{"/me/recovery/cancel", "/me", s.cancelRecovery, nil},
	} {
		s.edge.Handle(http.MethodPost, form.path, web.Form, s.edge.People(), s.ledBack(form.back, form.do, form.typed...))
		for _, code := range certain {
			s.edge.UndoneOf("POST "+form.path, code, "Nothing was changed.")
		}
	}
	s.edge.Handle(http.MethodPost, "/me/objection", web.Text, s.edge.People(), s.ledBack("/me", s.objectTo, "text"))
}

// certain are the codes by which a form of somebody signed in is refused before anything is done.
var certain = append(codesOf(errSignedOut, errAnother, errProveAgain, errNotFresh, errNoPasskeys, errOnlyAPasskey, errNoPenName,
	issue.ErrPersonaUnknown, issue.ErrKeepsOne, issue.ErrNoPasskey), web.Unheard...)

func codesOf(all ...*refusal.Error) (codes []string) {
	for _, e := range all {
		codes = append(codes, e.Code)
	}
	return codes
}

// unsure is what is said where it is not known whether it was done, and to do it twice is not the
// same as to do it once.
var unsure = map[string]string{
	"POST /me/objection": "It may be stored, and it may not: look on your own page whether it shows there before you send it again. Each that is stored counts, and there are three at most.",
}

// twice is what is said to somebody who is signed out, perhaps by having pressed before.
var twice = map[string]string{
	"POST /me/delete":              "Did you press it before? Then your request was recorded. If you never did, nothing was deleted. Sign in again to see which.",
	"POST /me/sign-out-everywhere": "Did you press it before? Then all your devices are signed out here. If not, they may still be signed in: sign in again and press it.",
	"POST /me/sign-out-device":     "You are signed out on this device. Sign in again to see which others are signed in.",
	"POST /sign-out":               "You are signed out here.",
	"POST /me/stay":                "You are signed out here, as it was announced.",
	"POST /me/passkeys/remove":     "Did you press it before? Then your passkey is removed. If not, it is there as before: sign in again and look.",
	"POST /me/recovery/cancel":     "Did you press it before? Then it is cancelled. If not, it waits as before: sign in again and look.",
}

// undone is what a person is told has not happened when a page of theirs refuses.
var undone = map[string]string{ //nolint:gosec // words for people, no credentials
	"POST /enrol":                      "You are not signed in, and nothing about you was stored.",
	"GET " + CallbackPath(":provider"): "You are not signed in. If this was your first time, you may have been enrolled or not: to begin again does no harm.",
	"POST /me/delete":                  "Nothing was deleted: your record is as it was. Some of your sign-ins at platforms may have ended. You can ask again.",
	"POST /me/sign-out-everywhere":     "Not all your sign-ins at platforms have ended. You can ask again.",
	"POST /me/sign-out-device":         "That device may still be signed in. You can ask again.",
	"POST /me/platform":                "Not all of it may have happened. You can ask again: twice does no harm.",
	"POST /me/object":                  "Your objection may not be recorded. Make it again to be sure: twice does no harm.",
	"POST /me/objection":               "Your objection was NOT stored.",
	"POST /me/lawyer":                  "No new code is good.",
	"POST /me/rename":                  "Your pen name may be called as before.",
	"POST /me/retire":                  "Your pen name may be in use as before. Look at your page, and retire it again if it is.",
	"POST /me/address":                 "Your address is as it was. A code may have been sent or not: look at the page, and ask again if nothing comes.",
	"POST /me/address/confirm":         "Your address may be confirmed or not: look at the page, and type the code again if it is not.",
	"POST /me/address/remove":          "Your address may still be there. Remove it again: twice does no harm.",
	"POST /me/stay":                    "You are signed in for as long as before.",
	"POST /passkey":                    "You are not signed in by this.",
	"POST /me/passkeys":                "A passkey may have been added or not: look at the page of your passkeys.",
	"POST /me/passkeys/rename":         "Your passkey may be called as before.",
	"POST /me/passkeys/remove":         "Your passkey may still be there: look at the page of your passkeys.",
	"POST /me/recovery/cancel":         "It may still wait. Press it again: twice does no harm.",
	"POST /sign-out":                   "You are still signed in here.",
	"* /logout":                        "You may still be signed in here.",
	"* /logout/answer":                 "You may still be signed in here.",
	"* /authorize/*":                   "You are not signed in at the platform, and it has learned nothing new about you.",
	"* /authorize":                     "You are not signed in at the platform, and it has learned nothing new about you.",
}

func newSide(edge *web.Server, c Config) (*side, error) {
	if _, err := CheckProviders(c.Providers); err != nil {
		return nil, err
	}
	s := &side{Config: c, edge: edge, wrote: make(chan struct{}, 1), party: passkey.New(edge.Origin, edge.Now)}
	for _, p := range c.Providers {
		if p.Proving == nil {
			edge.FormsLeadTo(p.Issuer)
		} else {
			edge.FormsLeadTo(p.Origin())
		}
	}
	if err := edge.AddPages(pageFiles, func(l *web.Language) template.FuncMap { return functions(l, c.Providers, s.party != nil) }); err != nil {
		return nil, err
	}
	var err error
	if s.sessions, err = newSessions(c.CookieKeys, edge.Origin, edge.Now); err != nil {
		return nil, err
	}
	s.openid, err = s.newOpenID()
	return s, err
}

// functions are those of the pages, in one language.
func functions(l *web.Language, providers []Provider, passkeys bool) template.FuncMap {
	return template.FuncMap{
		"providers": func() []Provider { return providers },
		"passkeys":  func() bool { return passkeys },
		"ofPasskey": func(code string) bool { return strings.HasPrefix(code, "webauthn.") },
		"toProve": func(back string, anew, returns bool) proofForm {
			return proofForm{Back: back, Anew: anew, Returns: returns}
		},
		"keeping":    func(typed string, f proofForm) proofForm { f.Typed, f.Keeps = typed, !f.Anew; return f },
		"atPlatform": atPlatform,
		"toRenew":    func(back string) proofForm { return proofForm{Back: back, Anew: true, Renew: true} },
		"named":      named,
		"fields":     func(all []string) string { return fieldsIn(l, all) },
		"claim":      func(c askedClaim) string { return c.in(l) },
		"claimName":  func(name string) string { return l.Text(claimTitles[name]) },
		"wanted":     func(n notice) template.HTML { return n.wanted(l) },
		"urgent":     func(n notice) template.HTML { return n.urgent(l) },
		"join":       func(all []string) string { return strings.Join(all, ", ") },
	}
}

// proofForm is the form that leads to the identity providers.
type proofForm struct {
	Back    string // where to go on afterwards, see comesBack
	Anew    bool   // the person must prove it again, though they may be signed in
	Returns bool   // though they asked to be deleted
	Renew   bool   // what the provider vouches for is taken anew

	Typed    string // as a word for the device
	Keeps    bool   // it, when the language is switched
	Mistakes []mistake
}

// newOpenID is the OpenID provider whose sign-in page is [side.authenticate].
func (s *side) newOpenID() (*openid.Provider, error) {
	if err := s.setPlatforms(s.Platforms); err != nil {
		return nil, err
	}
	return openid.New(openid.Config{
		Issuer: s.edge.Origin, Localhost: s.Localhost, Keys: s.TokenKeys, Platforms: s.platform, Now: s.edge.Now,
		EmailDomain: s.EmailDomain, ACRs: s.acrs(), Locales: s.edge.Speaks(), Text: s.edge.Text,
		Leave: s.leave, Ban: s.Issuer.Ban, Suspended: s.Issuer.SuspendedAt,
		HTTP: s.HTTP, Aside: s.edge.Aside,
		Origins: func(_ context.Context, origin string) bool {
			return slices.ContainsFunc(*s.platforms.Load(), func(p openid.Platform) bool { return p.Closed == nil && p.Scripts(origin) })
		},
		Resource: func(_ context.Context, client openid.Platform, resource string) (openid.Platform, error) {
			return openid.FindResource(*s.platforms.Load(), client, resource)
		},
		ErrorPage: s.edge.ShowRefusal,
		Refused: func(ctx context.Context, endpoint, code string, outage error) {
			fault := slices.Contains([]string{openid.ErrUnavailable.Code, "server_error", "temporarily_unavailable"}, code) // RFC 6749, 4.1.2.1
			s.edge.NoteRefusal(ctx, "* "+endpoint, code, fault, outage)
		},
	}, s.Store, s.authenticate)
}

func (s *side) setPlatforms(all []openid.Platform) error {
	if _, err := openid.Fixed(all...); err != nil {
		return err
	}
	s.platforms.Store(&all)
	return nil
}

// platform is that of a client_id, at this moment.
func (s *side) platform(_ context.Context, clientID string) (openid.Platform, error) {
	all := *s.platforms.Load()
	if i := slices.IndexFunc(all, func(p openid.Platform) bool { return p.ID == clientID }); i >= 0 {
		return all[i], nil
	}
	return openid.Platform{}, openid.ErrUnknownPlatform
}

func (s *side) home(w http.ResponseWriter, r *http.Request) error {
	return s.showHome(w, r, "")
}

// showHome shows the first page, with what was typed as a word for the device.
func (s *side) showHome(w http.ResponseWriter, r *http.Request, typed string) error {
	rules, err := s.Rules()
	if err != nil {
		return err
	}
	var urgent []notice
	who, err := s.who(r)
	if err == nil {
		urgent = s.urgent(r.Context(), who)
	}
	stale := len(urgent) > 0 && !s.sessions.fresh(who)
	if stale {
		urgent = nil // what it says is for whoever proved lately who they are
	}
	return s.edge.Render(w, r, http.StatusOK, "home.html", map[string]any{
		"Typed": typed, "SignedIn": err == nil, "Stale": stale, "Leaving": s.sessions.leaving(who, "/me/stay"), "Waiting": urgent, "Waits": s.signInWaiting(r), "Platforms": s.open(), "Custodians": rules.Custodians, "Quorum": rules.Threshold,
	})
}

// urgent are the orders that wait and concern somebody. The first page shows without them
// what it can: their own page says why they are not known.
func (s *side) urgent(ctx context.Context, who session) []notice {
	names, err := s.Issuer.PenNames(ctx, who.Person, s.sectors())
	if err != nil {
		return nil
	}
	notices, err := s.Issuer.Store.Notices(ctx, issue.Pseudonyms(names))
	if err != nil {
		return nil
	}
	var all []notice
	for _, n := range notices {
		name := n.Platform
		if p, err := s.platform(ctx, n.Platform); err == nil {
			name = p.Name
		}
		all = append(all, asSeen(n, name, s.edge.Now()))
	}
	return waiting(all)
}

// open are the platforms that people may sign in to.
func (s *side) open() []openid.Platform {
	return slices.DeleteFunc(slices.Clone(*s.platforms.Load()), func(p openid.Platform) bool { return p.Closed != nil || len(p.RedirectURIs) == 0 })
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

// sectors are those of all platforms, also of those that sign nobody in: the pen names
// there stay.
func (s *side) sectors() []string {
	var all []string
	for _, p := range *s.platforms.Load() {
		if !slices.Contains(all, p.SectorID()) {
			all = append(all, p.SectorID())
		}
	}
	return all
}

// members are the platforms of a sector: they know a person by one pen name.
func (s *side) members(sector string) (all []openid.Platform) {
	for _, p := range *s.platforms.Load() {
		if p.SectorID() == sector {
			all = append(all, p)
		}
	}
	return all
}

// alike are the names of the other platforms that know people by the same pen name.
func (s *side) alike(p openid.Platform) (names []string) {
	for _, other := range s.members(p.SectorID()) {
		if other.ID != p.ID && other.Closed == nil {
			names = append(names, other.Name)
		}
	}
	return names
}
