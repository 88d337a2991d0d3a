package person

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"

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
	// Begin returns the flow to keep for this browser, and where to send it.
	Begin() (identity.Flow, string)
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
}

// CallbackPath is where a provider sends the browser back to. Each has an address
// of its own, which it alone has registered (RFC 9700, 4.4.2.2): so an answer is
// never taken for another's, also where a provider does not name itself in it
// (RFC 9207).
func CallbackPath(id string) string { return "/enrol/callback/" + id }

var idSyntax = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func checkProviders(all []Provider) error {
	if len(all) == 0 {
		return errProviders.Because(errors.New("none"))
	}
	seen := map[string]bool{}
	for _, p := range all {
		if !idSyntax.MatchString(p.ID) || p.ID == "." || p.ID == ".." || seen[p.ID] || len(all) > 1 && p.Name == "" {
			return errProviders.Because(errors.New(p.ID))
		}
		seen[p.ID] = true
	}
	return nil
}

// provider returns the one with that id; the only one may go without.
func (s *side) provider(id string) (Provider, error) {
	for _, p := range s.Providers {
		if p.ID == id || id == "" && len(s.Providers) == 1 {
			return p, nil
		}
	}
	return Provider{}, errProvider
}

// interaction is the address of a sign-in at a platform that waits for the
// person: openid.SignInRequest.Action. Nothing else can be returned to (ATTACKS
// H14).
var interaction = regexp.MustCompile(`^/authorize/[A-Za-z0-9_-]{16,128}$`)

// enrol begins at the identity provider, whose callback ends in enrolled.
func (s *side) enrol(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.Rules(); err != nil {
		return err
	}
	if e := refusal.Of(r.ParseForm()); e != nil {
		return e
	}
	p, err := s.provider(r.FormValue("provider"))
	if err != nil {
		return err
	}
	f, authURL := p.Begin()
	v := flow{Flow: f}
	if back := r.FormValue("interaction"); interaction.MatchString(back) {
		v.Interaction = back
	}
	if err := s.sessions.set(w, "flow", identity.FlowTTL, v); err != nil {
		return err
	}
	http.Redirect(w, r, authURL, http.StatusSeeOther) // 303, never 307 (RFC 9700, 4.12)
	return nil
}

// enrolled ends a proof of identity: enrolment the first time, sign-in and
// recovery ever after. A browser without a flow has the zero one, which belongs
// to no answer.
func (s *side) enrolled(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.Rules(); err != nil {
		return err
	}
	p, err := s.provider(r.PathValue("provider"))
	if err != nil {
		return err
	}
	var f flow
	s.sessions.get(r, "flow", &f)
	query, err := identity.Callback(r)
	if err != nil {
		return err
	}
	id, err := p.Finish(r.Context(), f.Flow, query)
	if err != nil {
		return err
	}
	s.sessions.clear(w, "flow")
	person, first, err := s.Issuer.Enrol(r.Context(), id, s.platformIDs()...)
	if err != nil {
		return err
	}
	// A new session value at every sign-in: nothing to fixate (ATTACKS R13).
	err = s.sessions.set(w, "session", sessionLife, session{
		Person: person, ACR: id.ACR, Since: s.edge.Now(), Expires: s.edge.Now().Add(sessionLife),
	})
	if err != nil {
		return err
	}
	to := "/me?welcome=back"
	switch {
	case f.Interaction != "":
		to = f.Interaction
	case first:
		to = "/me?welcome=new"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}
