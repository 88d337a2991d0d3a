package person

import (
	"context"
	"errors"
	"net/http"

	"github.com/penname/penname/escrow/openid"
)

// consentPage asks before a platform learns a pen name.
type consentPage struct {
	Action   string // of this sign-in
	Platform string
	Alike    []string // names of the other platforms that know the person by the same pen name
	PenName  string   // empty: none here yet
	Handle   string   // empty: none here yet
	Username bool     // the platform learns it
	Email    bool     // the platform learns an address
	Address  string   // empty: none here yet
	SignedIn bool
	Anew     bool        // a proof of identity that there is does not do
	Offline  bool        // the platform asks to stay signed in
	Claimed  bool        // somebody else would be recognised as this person
	Claims   *claimsPage // nil: it asks for none
	Domains  []string    // of the platform
	Court    []string    // fields that a warrant can ask for
	Leaving  leaving
}

// authenticate is package openid's question: who is this, for that platform?
// It answers with a pseudonym, or renders the page that asks the person.
func (s *side) authenticate(w http.ResponseWriter, r *http.Request, req openid.SignInRequest) (openid.Subject, openid.Outcome, error) {
	rules, err := s.Rules()
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	page := consentPage{Action: req.Action, Platform: req.Platform.Name, Domains: domains(req.Platform), Court: rules.Fields, Alike: s.alike(req.Platform), Offline: req.Offline, Username: req.Username, Email: req.Email}
	s.edge.AllowForms(w, req.Platform.RedirectURIs...)
	who, err := s.who(r)
	if err != nil && !errors.Is(err, errSignedOut) {
		return openid.Subject{}, openid.Pending, err
	}
	signedIn := err == nil
	decision := ""
	if req.Answer {
		decision = r.PostFormValue("decision")
	}
	switch {
	case decision == "deny", !req.Answer && r.URL.RawQuery == declined[1:]:
		return openid.Subject{}, openid.Denied, nil
	case !signedIn || !who.answers(req):
		page.Anew = req.Fresh || !req.Since.IsZero()
		return openid.Subject{}, openid.Pending, s.edge.Render(w, http.StatusOK, "consent.html", page)
	case req.Silent && !who.allows(req.Platform.ID, req.Scopes):
		return openid.Subject{}, openid.Unasked, nil
	case req.Silent, decision == "allow":
		return s.approve(w, r, req, who)
	}
	if err := s.sessions.keep(w, who); err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	page.SignedIn, page.Leaving = true, s.sessions.leaving(who, req.Action)
	waiting, err := s.Issuer.Acceptances(r.Context(), who.Person)
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	page.Claimed = len(waiting) > 0
	names, err := s.Issuer.PenNames(r.Context(), who.Person, []string{req.Platform.SectorID()})
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	if req.Username {
		if err := s.Issuer.Handles(r.Context(), names); err != nil {
			return openid.Subject{}, openid.Pending, err
		}
	}
	if page.Claims, err = s.claims(r.Context(), who, req); err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	if len(names) == 1 {
		page.PenName, page.Handle, page.Address = string(names[0].Pseudonym), string(names[0].Handle), s.openid.Email(names[0].Pseudonym)
	}
	return openid.Subject{}, openid.Pending, s.edge.Render(w, http.StatusOK, "consent.html", page)
}

// approve tells a platform who this is, and remembers that for this session.
func (s *side) approve(w http.ResponseWriter, r *http.Request, req openid.SignInRequest, who session) (openid.Subject, openid.Outcome, error) {
	name, commitment, err := s.Issuer.Pseudonym(r.Context(), who.Person, req.Platform.SectorID())
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	subject := openid.Subject{
		Pseudonym: name, Commitment: commitment, ACR: who.ACR, Proven: who.Proven,
		Confirm: func(context.Context) error { _, err := s.who(r); return err },
	}
	if req.Username {
		if subject.Handle, err = s.Issuer.Handle(r.Context(), req.Platform.SectorID(), name); err != nil {
			return openid.Subject{}, openid.Pending, err
		}
	}
	if subject.Claims, subject.Month, err = s.tell(r, req, who); err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	if !req.Since.IsZero() {
		who.Told = req.Platform.SectorID()
	}
	who.allow(allowed{req.Platform.ID, req.Scopes, subject.Claims.Known(), req.Silent})
	if err := s.sessions.keep(w, who); err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	return subject, openid.Approved, nil
}
