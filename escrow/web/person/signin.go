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
	PenName  string // empty: none here yet
	SignedIn bool
	Offline  bool // the platform asks to stay signed in
	Claimed  bool // somebody else would be recognised as this person
}

// authenticate is package openid's question: who is this, for that platform?
// It answers with a pseudonym, or renders the page that asks the person.
func (s *side) authenticate(w http.ResponseWriter, r *http.Request, req openid.SignInRequest) (openid.Subject, openid.Outcome, error) {
	if _, err := s.Rules(); err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	page := consentPage{Action: req.Action, Platform: req.Platform.Name, Offline: req.Offline}
	s.edge.AllowForms(w, req.Platform.RedirectURIs...)
	who, err := s.who(r)
	if err != nil && !errors.Is(err, errSignedOut) {
		return openid.Subject{}, openid.Pending, err
	}
	ok := err == nil
	if ok && req.Fresh && s.edge.Now().After(who.Since.Add(freshFor)) {
		ok = false // the platform asks for a proof of identity that was made now
	}
	if req.Answer && r.PostFormValue("decision") == "deny" {
		return openid.Subject{}, openid.Denied, nil
	}
	if !ok {
		return openid.Subject{}, openid.Pending, s.edge.Render(w, http.StatusOK, "consent.html", page)
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
	claims, err := s.Issuer.Acceptances(r.Context(), who.Person)
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	page.Claimed = len(claims) > 0
	names, err := s.Issuer.PenNames(r.Context(), who.Person, []string{req.Platform.ID})
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	if len(names) == 1 {
		page.PenName = string(names[0].Pseudonym)
	}
	return openid.Subject{}, openid.Pending, s.edge.Render(w, http.StatusOK, "consent.html", page)
}
