package person

import (
	"context"
	"errors"
	"net/http"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
)

// consentPage asks before a platform learns a pen name.
type consentPage struct {
	Action   string // of this sign-in
	Platform string
	Alike    []string // names of the other platforms that know the person by the same pen name
	Before   string   // name of the platform that this one took over from, where the person may be known there
	Hosts    string   // where it is
	Court    []string // the fields that a warrant can ask for
	PenName  string   // empty: none here yet, or several
	Handle   string   // empty: none here yet
	Username bool     // the platform learns it
	Email    bool     // the platform learns an address
	Address  string   // empty: none here yet
	SignedIn bool
	Anew     bool        // a proof of identity that there is does not do
	Offline  bool        // the platform asks to stay signed in
	Claimed  bool        // somebody else would be recognised as this person
	Claims   *claimsPage // nil: it asks for none
	Leaving  leaving

	Choice choice
	Banned bool // the platform reports a ban of PenName
}

// authenticate is package openid's question: who is this, for that platform?
// It answers with a pseudonym, or renders the page that asks the person.
func (s *side) authenticate(w http.ResponseWriter, r *http.Request, req openid.SignInRequest) (openid.Subject, openid.Outcome, error) {
	page, err := s.asking(req)
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
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
	case req.Silent:
		return s.silently(w, r, req, who)
	case decision == "allow":
		persona, err := s.chosen(r.Context(), who, req, r.PostFormValue("persona"))
		if err != nil {
			return openid.Subject{}, openid.Pending, err
		}
		alias := ""
		if r.PostFormValue("persona") == anew {
			alias = word(r.PostFormValue("alias"))
		}
		return s.approve(w, r, req, who, persona, alias)
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
	if page.Choice, _, err = s.choice(r.Context(), who, req.Platform); err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	names := page.Choice.Names
	if page.Choice.suspended() {
		return openid.Subject{}, openid.Pending, s.showSuspended(w, req, who, names)
	}
	if req.Username {
		if err := s.Issuer.Handles(r.Context(), names); err != nil {
			return openid.Subject{}, openid.Pending, err
		}
	}
	if page.Claims, err = s.claims(r.Context(), who, req); err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	if page.Before, err = s.predecessor(r.Context(), who, req.Platform, names); err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	if !page.Choice.Asked && len(names) == 1 {
		page.PenName, page.Handle, page.Address, page.Banned = string(names[0].Pseudonym), string(names[0].Handle), s.openid.Email(names[0].Pseudonym), names[0].Banned
	}
	return openid.Subject{}, openid.Pending, s.edge.Render(w, http.StatusOK, "consent.html", page)
}

// asking is the page to whoever it is.
func (s *side) asking(req openid.SignInRequest) (consentPage, error) {
	rules, err := s.Rules()
	if err != nil {
		return consentPage{}, err
	}
	return consentPage{Action: req.Action, Platform: req.Platform.Name, Hosts: hosts(req.Platform), Court: rules.Fields, Alike: s.alike(req.Platform), Offline: req.Offline, Username: req.Username, Email: req.Email}, nil
}

// approve tells a platform which pen name this is, and remembers that for this session. A
// new one is noted under the name that the person gave it.
func (s *side) approve(w http.ResponseWriter, r *http.Request, req openid.SignInRequest, who session, persona int, alias string) (openid.Subject, openid.Outcome, error) {
	sector := req.Platform.SectorID()
	if !req.Since.IsZero() && who.Told != "" && who.Told != told(sector, persona) {
		page, err := s.asking(req)
		if page.Anew = true; err == nil {
			err = s.edge.Render(w, http.StatusOK, "consent.html", page)
		}
		return openid.Subject{}, openid.Pending, err
	}
	name, commitment, err := s.Issuer.Pseudonym(r.Context(), who.Person, sector, persona)
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	switch suspended, err := s.suspendedAt(r, req, name); {
	case err != nil:
		return openid.Subject{}, openid.Pending, err
	case suspended != nil && req.Silent:
		return openid.Subject{}, openid.Denied, nil
	case suspended != nil:
		return openid.Subject{}, openid.Pending, s.showSuspended(w, req, who, suspended)
	}
	if alias != "" {
		if err := s.Issuer.Call(r.Context(), who.Person, issue.PenName{Pseudonym: name, Platform: sector, Persona: persona}, alias); err != nil {
			return openid.Subject{}, openid.Pending, err
		}
	}
	subject := openid.Subject{
		Pseudonym: name, Commitment: commitment, ACR: who.ACR, Proven: who.Proven,
		Confirm: func(ctx context.Context) error {
			return errors.Join(s.confirm(r, req), s.Issuer.InUse(ctx, name, req.Platform.ID))
		},
	}
	if req.Username {
		if subject.Handle, err = s.Issuer.Handle(r.Context(), sector, name); err != nil {
			return openid.Subject{}, openid.Pending, err
		}
	}
	if subject.Claims, subject.Month, err = s.tell(r, req, who); err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	if !req.Since.IsZero() {
		who.Told = told(sector, persona)
	}
	if req.Silent {
		who.used(req.Platform.ID, scopesDigest(req.Scopes))
	} else {
		who.allow(allowed{Platform: req.Platform.ID, Scopes: scopesDigest(req.Scopes), Persona: persona, Claims: subject.Claims.Known(), At: s.edge.Now().Unix()})
	}
	if err := s.sessions.keep(w, who); err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	return subject, openid.Approved, nil
}

// confirm asks once more, when a grant is stored, what may have ended since it was asked.
func (s *side) confirm(r *http.Request, req openid.SignInRequest) error {
	who, err := s.who(r)
	if err != nil || !req.Silent {
		return err
	}
	_, agreed, err := s.agreed(r.Context(), who, req.Platform, scopesDigest(req.Scopes))
	if err == nil && !agreed {
		err = errWithdrawn
	}
	return err
}
