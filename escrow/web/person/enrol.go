package person

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errProvider = refusal.New(refusal.NotFound, "proofing_failed.unknown_provider",
		"there is no such identity provider here: choose one on the first page")
	errProviders = refusal.New(refusal.Invalid, "identity.bad_providers",
		"each identity provider needs an id of its own, of letters, digits and - _ ., and one of several a name: correct [[issue.identity_providers]]")
)

// Proving is one way to prove who somebody is. An implementation redirects the
// browser to its provider and judges the answer; *identity.RelyingParty is that
// of OpenID Connect.
type Proving interface {
	// Begin returns the flow to keep for this browser, and where to send it. Of
	// BeginAnew only a proof of identity counts that the person makes from now on.
	Begin() (identity.Flow, string)
	BeginAnew() (identity.Flow, string)
	// Finish returns who signed in, or a refusal. It is the one place that judges
	// an answer; it lets a flow succeed once.
	Finish(ctx context.Context, f identity.Flow, callback url.Values) (identity.Identity, error)
	// Origin is scheme://host of where Begin sends the browser.
	Origin() string
	// Close closes idle connections, whose buffers hold the last answer. It is
	// called now and then while the others are in use.
	Close()
}

// Provider is an identity provider as people choose it.
type Provider struct {
	ID   string   // of the redirect URL, see CallbackPath; 1 to 64 of A-Z a-z 0-9 . _ -
	Name string   // on the button; may be empty if it is the only one
	ACRs []string // assurance levels that it is held to
	Proving

	// Later, where Proving is nil, returns it once the provider has answered, or why
	// it cannot be used now: nothing else of the service waits for it. Issuer is then
	// where forms lead to, until the provider says so itself.
	Later  func(ctx context.Context) (Proving, error)
	Issuer string
}

// CallbackPath is where a provider sends the browser back to. Each has an address
// of its own, which it alone has registered (RFC 9700, 4.4.2.2): so an answer is
// never taken for another's, also where a provider does not name itself in it
// (RFC 9207).
func CallbackPath(id string) string { return "/enrol/callback/" + id }

var idSyntax = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// CheckProviders refuses identity providers that people cannot choose between, and says
// which of them is wrong, counted from 0.
func CheckProviders(all []Provider) (at int, err error) {
	if len(all) == 0 {
		return 0, errProviders.Because(errors.New("none"))
	}
	seen := map[string]bool{}
	for at, p := range all {
		switch {
		case !idSyntax.MatchString(p.ID) || p.ID == "." || p.ID == "..":
			return at, errProviders.Because(errors.New(p.ID + " is no id"))
		case seen[p.ID]:
			return at, errProviders.Because(errors.New(p.ID + " is another's id, too"))
		case len(all) > 1 && p.Name == "":
			return at, errProviders.Because(errors.New(p.ID + " has no name"))
		}
		seen[p.ID] = true
	}
	return 0, nil
}

// provider returns the one with that id, ready to be used; the only one may go
// without.
func (s *side) provider(ctx context.Context, id string) (p Provider, err error) {
	at := slices.IndexFunc(s.Providers, func(p Provider) bool { return p.ID == id || id == "" && len(s.Providers) == 1 })
	if at < 0 {
		return Provider{}, errProvider
	}
	if p = s.Providers[at]; p.Proving == nil {
		if p.Proving, err = p.Later(ctx); err == nil {
			s.edge.FormsLeadTo(p.Origin())
		}
	}
	return p, err
}

// comesBack matches where a person goes on after a proof of identity: to a sign-in at
// a platform that waits for them (openid.SignInRequest.Action), or to a page of their own.
// Nothing else can be returned to (ATTACKS H14).
var comesBack = regexp.MustCompile(`^(/authorize/[A-Za-z0-9_-]{16,128}|/me|` + deletePath + `|` + addressPath + `|` + changesPath + `|` + passkeysPath + `|` + dataPath + `|/me/receipt(\.jws)?)$`)

// enrol begins at the identity provider, whose callback ends in enrolled.
func (s *side) enrol(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.Rules(); err != nil {
		return err
	}
	if e := refusal.Of(r.ParseForm()); e != nil {
		return e
	}
	switched, wrong := s.edge.Switches(w, r), wrongWord(r.FormValue("device"))
	if switched && wrong == "" {
		return s.beginAgain(w, r)
	}
	p, err := s.provider(r.Context(), r.FormValue("provider"))
	if err != nil && !switched {
		return err
	}
	if wrong != "" {
		return s.wordAgain(w, r, wrong)
	}
	v, begin := flow{Word: word(r.FormValue("device")), Return: r.FormValue("return") != "", Renew: r.FormValue("renew") != ""}, p.Begin
	if back := r.FormValue("interaction"); comesBack.MatchString(back) {
		v.Back = back
	}
	if r.FormValue("fresh") != "" {
		begin = p.BeginAnew
	}
	var authURL string
	v.Flow, authURL = begin()
	if err := s.sessions.addFlow(w, r, v); err != nil {
		return err
	}
	http.Redirect(w, r, authURL, http.StatusSeeOther) // 303, never 307 (RFC 9700, 4.12)
	return nil
}

// beginAgain shows the page of a form of enrol in another language, with the word that was
// typed, as far as one can tell which page it was.
func (s *side) beginAgain(w http.ResponseWriter, r *http.Request) error {
	switch back := r.FormValue("interaction"); {
	case r.FormValue("return") != "" && (back == "" || comesBack.MatchString(back)):
		return s.edge.RenderAgain(w, r, "", http.StatusOK, "return.html", returnPage{flow{Back: back}, r.FormValue("device")})
	case back == "":
		return s.showHome(w, r, r.FormValue("device"))
	case comesBack.MatchString(back) && atPlatform(back):
		at := r.Clone(r.Context()) // the page of the sign-in, as its own form shows it again
		at.URL.Path, at.URL.RawQuery = back, ""
		s.openid.Handler().ServeHTTP(w, at)
		return nil
	}
	return s.wordAgain(w, r, "")
}

// returnPage asks somebody who asked to be deleted whether they come back.
type returnPage struct {
	flow
	Typed string // as a word for the device
}

// wordAgain asks once more for the word for the device; wrong is what is wrong with it, or "".
func (s *side) wordAgain(w http.ResponseWriter, r *http.Request, wrong string) error {
	form := proofForm{Anew: r.FormValue("fresh") != "", Renew: r.FormValue("renew") != "", Returns: r.FormValue("return") != "",
		Typed: r.FormValue("device"), Keeps: true, Mistakes: oneMistake("device", wrong)}
	if back := r.FormValue("interaction"); comesBack.MatchString(back) {
		form.Back = back
	}
	status := http.StatusOK
	if wrong != "" {
		status = http.StatusUnprocessableEntity
	}
	return s.edge.RenderAgain(w, r, "", status, "word.html", form)
}

// enrolled ends a proof of identity: enrolment the first time, sign-in and
// recovery ever after. A browser without a flow has the zero one, which belongs
// to no answer. A flow that has ended stays in the cookie for a while: whoever goes back
// to the identity provider and comes once more is led on to where they were going.
// Whoever asked to be deleted is told so before anything is sealed; to go on they prove
// who they are again, because nothing is kept of them meanwhile.
func (s *side) enrolled(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.Rules(); err != nil {
		return err
	}
	p, err := s.provider(r.Context(), r.PathValue("provider"))
	if err != nil {
		return err
	}
	f := s.sessions.flow(r, r.URL.Query().Get("state"))
	err = s.proven(w, r, f, p)
	if who, in := s.sessions.person(r); in && errors.Is(err, identity.ErrUsed) && who.Proven.After(s.edge.Now().Add(-sessionLife)) {
		http.Redirect(w, r, cmp.Or(f.Back, "/me"), http.StatusSeeOther) // they went back, or loaded the page again
		return nil
	}
	if f.Waits != nil && errors.Is(err, identity.ErrUsed) {
		return s.showWaits(w, r, f, *f.Waits)
	}
	switch to := f.SignIn(); {
	case to != "" && errors.Is(err, identity.ErrDeclined):
		http.Redirect(w, r, to+declined, http.StatusSeeOther)
		return nil
	case to != "" && err != nil:
		facts := web.WithFacts{Err: err}
		errors.As(err, &facts)
		facts.Back = to
		return facts
	case f.Back != "" && err != nil: // to their own page
		facts := web.WithFacts{Err: err}
		errors.As(err, &facts)
		facts.Back = f.Back
		return facts
	}
	return err
}

// declined, after the address of a sign-in, ends it: the platform hears access_denied.
// Who can guess that address could end the sign-in of somebody, and no more.
const declined = "?declined"

// SignIn is the sign-in at a platform to which the person goes back, or "".
func (f flow) SignIn() string {
	if !atPlatform(f.Back) {
		return ""
	}
	return f.Back
}

// atPlatform reports whether somebody goes back to a sign-in at a platform.
func atPlatform(back string) bool { return strings.HasPrefix(back, "/authorize/") }

// notEnrolled is said where the answer of a provider was not taken.
const notEnrolled = "You are not signed in by this, and nothing was sealed."

// proven judges the answer of an identity provider, and signs the person in.
func (s *side) proven(w http.ResponseWriter, r *http.Request, f flow, p Provider) error {
	query, err := identity.Callback(r)
	if err != nil {
		return err
	}
	id, err := p.Finish(r.Context(), f.Flow, query)
	if err != nil {
		return web.WithFacts{Err: err, Undone: notEnrolled}
	}
	var in []issue.Person // is signed in here by more than a provider
	switch who, err := s.who(r); {
	case err == nil && s.sessions.owners(who):
		in = append(in, who.Person)
	case err != nil && !errors.Is(err, errSignedOut):
		return err
	}
	var person issue.Person
	var sealed bool
	if f.Return {
		person, sealed, err = s.Issuer.Return(r.Context(), id, s.sectors(), in...)
	} else {
		person, sealed, err = s.Issuer.Enrol(r.Context(), id, in...)
	}
	var waits *issue.Waits
	if errors.As(err, &waits) {
		return s.showWaits(w, r, f, waits.Recovery)
	}
	var held *issue.Held
	if errors.As(err, &held) {
		return web.WithFacts{Err: err, Undone: notEnrolled, Reference: held.Reference, From: held.From}
	}
	if errors.Is(err, issue.ErrDeleted) {
		return s.edge.RenderAgain(w, r, cmp.Or(f.SignIn(), "/"), http.StatusOK, "return.html", returnPage{flow: f})
	}
	if err != nil {
		return err
	}
	// Before anything is stored or told: a provider's account that was stolen gets no further.
	if f.sealed = sealed; !sealed && !slices.Contains(in, person) {
		if asked, err := s.recovers(w, r, &f, person); err != nil || asked {
			return err
		}
	}
	key, err := s.Issuer.Attest(r.Context(), person, id, f.Renew)
	if err != nil {
		return err
	}
	said := flashBack
	if sealed || f.Back != "" && f.Back != "/me" {
		said = ""
	}
	if f.recovers {
		said = flashRecovered
	}
	if err := s.begin(w, r, f, session{Person: person, Key: key, ACR: id.ACR, Proven: id.Proven, Flash: said}); err != nil {
		return err
	}
	to := cmp.Or(f.Back, "/me")
	if sealed { // and never again: nothing here can open it
		w.Header().Set("Connection", "close") // else its buffers keep the page until it is used again
		return s.edge.RenderAgain(w, r, "", http.StatusOK, "sealed.html", newSealedPage(id.Fields(), id.Claims, to, f.Return))
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// begin signs a person in. It is a new session at every proof of identity, so that
// there is nothing to fixate (ATTACKS R13), and the one that the browser had ends.
//
// What a proof of the same person in the same browser had shown goes on to count while their session
// there does: that a passkey was there, that they waited, and the key of the claims, which a passkey
// has not. A recovery by which the session begins is used up by it. If what let them in has ended
// meanwhile, so does the session.
//
// What fails after a recovery was used leaves them where they are: a proof in this browser lets them
// in once more, see issue.RecoveryAgain.
func (s *side) begin(w http.ResponseWriter, r *http.Request, f flow, v session) error {
	before, had := s.sessions.person(r)
	live, err := s.who(r)
	if err != nil && !errors.Is(err, errSignedOut) {
		return err
	}
	if err == nil && live.Person == v.Person {
		f.Word, v.Passkey, v.Waited = cmp.Or(f.Word, before.Word), v.Passkey || before.Passkey, before.Waited
		if v.Key == nil && v.Passkey {
			v.Key = before.Key
		}
	}
	now := s.edge.Now()
	began, err := s.Issuer.Store.BeginSession(r.Context(), v.Person, issue.NewSession(f.Word, now))
	if err == nil {
		var ok bool
		if ok, err = s.holds(r, f, &v); err == nil && !ok {
			err = errors.Join(errSignedOut, s.Issuer.Store.EndSession(r.Context(), began))
		}
	}
	if err == nil && had {
		err = s.Issuer.Store.EndSession(r.Context(), before.Session)
	}
	if err != nil {
		return err
	}
	if v.Session, v.Ends = began, now.Add(sessionMost); !v.Waited.IsZero() && !v.Passkey {
		v.Ends = v.Waited.Add(sessionMost) // for no longer is the person told that somebody is in by it
	}
	if f.Flow.Fresh {
		v.For = f.SignIn()
	}
	if had && before.Person == v.Person && (v.Flash == "" || v.Flash == flashBack) { // what they did before this proof was asked for
		v.Flash = cmp.Or(before.Flash, v.Flash)
	}
	return s.sessions.keep(w, v)
}

// holds reports whether what lets somebody in still does. It is asked when their session has begun:
// what ends it later ends that session too, and what ended it before shows here.
func (s *side) holds(r *http.Request, f flow, v *session) (ok bool, err error) {
	switch {
	case f.sealed: // nobody had it before
		return true, nil
	case f.shown != nil:
		_, _, ok, err = s.Issuer.Store.PasskeyOf(r.Context(), f.shown)
		return ok, err
	case f.recovers:
		v.Waited, ok, err = s.Issuer.Recovered(r.Context(), v.Person, s.sessions.browsers(r, f)...)
		s.written()
		return ok, err
	}
	have, err := s.Issuer.Store.Passkeys(r.Context(), v.Person)
	if err != nil || len(have) == 0 {
		return err == nil, err
	}
	who, err := s.who(r)
	if errors.Is(err, errSignedOut) {
		return false, nil
	}
	return err == nil && who.Person == v.Person && s.sessions.owners(who), err
}
