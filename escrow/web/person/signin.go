package person

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/token"
)

// consentPage asks before a platform learns a pen name.
type consentPage struct {
	Action   string // of this sign-in
	Platform string
	Alike    []string // names of the other platforms that know the person by the same pen name
	Before   string   // name of the platform that this one took over from, where the person may be known there
	Hosts    string   // where it is
	Court    []string // the fields that a warrant can ask for
	PenName  string   // empty: none here yet, or several; with Stale: nothing is shown of it
	There    bool     // with Stale: they have one
	Handle   string   // empty: none here yet
	Username bool     // the platform learns it
	Email    bool     // the platform learns an address
	Since    bool     // the platform learns when the person proved who they are
	Address  string   // empty: none here yet
	SignedIn bool
	Anew     bool        // a proof of identity that there is does not do
	Word     string      // typed for the device
	Stale    bool        // somebody is signed in who did not prove just now who they are: nothing of theirs is shown
	Offline  bool        // the platform asks to stay signed in
	Claimed  bool        // somebody else would be recognised as this person
	Claims   *claimsPage // nil: it asks for none
	Leaving  leaving

	Mistakes []mistake

	Choice choice
	Banned bool // the platform reports a ban of PenName
}

// authenticate is package openid's question: who is this, for that platform?
// It answers with a pseudonym, or renders the page that asks the person.
func (s *side) authenticate(w http.ResponseWriter, r *http.Request, req openid.SignInRequest) (openid.Subject, openid.Outcome, error) {
	switched := req.Answer && s.edge.Switches(w, r)
	r = web.Wishes(r, req.Locale)
	page, err := s.asking(req)
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	s.edge.AllowForms(w, req.Platform.RedirectURIs...)
	who, signedIn := s.sessions.person(r)
	decision := ""
	if req.Answer && !switched { // a form that asks for another language does nothing else
		decision = r.PostFormValue("decision")
	}
	asks := !req.Silent && decision != "allow" // a page does
	denied := decision == "deny" || !req.Answer && r.URL.RawQuery == declined[1:]
	if !req.Silent && decision != "allow" {
		if err := s.waits(w, r, req, denied); err != nil {
			return openid.Subject{}, openid.Pending, err
		}
	}
	if denied {
		return openid.Subject{}, openid.Denied, nil
	}
	typed, wrong := "", ""
	persona := r.PostFormValue("persona")
	if switched || decision == "allow" {
		page.Word, typed = r.PostFormValue("device"), r.PostFormValue("alias")
	}
	if persona == anew {
		wrong = wrongWord(typed)
	}
	var at issue.At
	if signedIn = signedIn && who.answers(req); signedIn {
		if at, err = s.at(r.Context(), &who, req.Platform, asks); err != nil {
			return openid.Subject{}, openid.Pending, err
		}
		signedIn, who.recovery = at.Live && !at.Asked, at.Recovery
	}
	if signedIn && decision == "allow" && persona != anew && printable(typed) != "" && s.choice(who, req.Platform, at.Names).Room {
		wrong = whichName // else the word would be dropped, or be another name's
	}
	switch {
	case !signedIn:
		page.Anew, page.Choice.Typed = req.Fresh || !req.Since.IsZero(), typed
		return openid.Subject{}, openid.Pending, s.edge.RenderAgain(w, r, again(req.Action, typed), http.StatusOK, "consent.html", page)
	case req.Silent:
		return s.silently(w, r, req, who, at)
	case decision == "allow" && wrong == "":
		number, err := s.chosen(who, req, at, persona)
		if err != nil {
			return openid.Subject{}, openid.Pending, err
		}
		if persona != anew {
			typed = ""
		}
		return s.approve(w, r, req, who, at, number, word(typed))
	}
	return s.consent(w, r, req, who, at, page, typed, wrong)
}

// whichName is said of a word for a new pen name beside the choice of another one.
const whichName = "you typed a word for a new one: which do you mean? Choose a new one, or empty this field"

// consent renders the page that asks somebody who is signed in, with what is wrong in what
// they typed, if something is.
func (s *side) consent(w http.ResponseWriter, r *http.Request, req openid.SignInRequest, who session, at issue.At, page consentPage, typed, wrong string) (openid.Subject, openid.Outcome, error) {
	var err error
	if err := s.sessions.keep(w, who); err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	page.SignedIn, page.Leaving = true, s.sessions.leaving(who, req.Action)
	page.Claimed = len(at.Acceptances) > 0
	page.Choice = s.choice(who, req.Platform, at.Names)
	page.Choice.Typed, page.Choice.Wrong, page.Mistakes = typed, wrong, oneMistake("alias", wrong)
	status := http.StatusOK
	if wrong != "" {
		status = http.StatusUnprocessableEntity
	}
	if chosen := r.PostFormValue("persona"); req.Answer && chosen != "" {
		page.Choice.Now = token.Pseudonym(chosen)
	}
	names := page.Choice.Names
	if page.Choice.suspended() {
		return openid.Subject{}, openid.Pending, s.showSuspended(w, r, req, who, names)
	}
	page.Stale = !s.sessions.fresh(who)
	if page.Stale && page.Choice.Asked && len(names) > 0 {
		return openid.Subject{}, openid.Pending, s.provesFirst(w, r, req, page)
	}
	if req.Username {
		if err := s.Issuer.Handles(r.Context(), names); err != nil {
			return openid.Subject{}, openid.Pending, err
		}
	}
	if page.Claims, err = s.claims(r.Context(), who, req); err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	page.Claims.tick(r.PostForm["claim"])
	if page.Before, err = s.predecessor(r.Context(), who, req.Platform, names); err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	switch one := !page.Choice.Asked && len(names) == 1; {
	case one && page.Stale:
		page.There = true
	case one:
		page.PenName, page.Handle, page.Address, page.Banned = string(names[0].Pseudonym), string(names[0].Handle), s.openid.Email(names[0].Pseudonym), names[0].Banned
	}
	return openid.Subject{}, openid.Pending, s.edge.RenderAgain(w, r, req.Action, status, "consent.html", page)
}

// again is where a page is shown again in another language: nowhere, if it has what somebody
// typed, which no other page has.
func again(action, typed string) string {
	if typed != "" {
		return ""
	}
	return action
}

// provesFirst asks somebody who is signed in to prove again who they are, before they see what is
// theirs at a platform.
func (s *side) provesFirst(w http.ResponseWriter, r *http.Request, req openid.SignInRequest, page consentPage) error {
	page.SignedIn, page.Stale = false, true
	return s.edge.RenderAgain(w, r, again(req.Action, page.Choice.Typed), http.StatusOK, "consent.html", page)
}

// asking is the page to whoever it is.
func (s *side) asking(req openid.SignInRequest) (consentPage, error) {
	rules, err := s.Rules()
	if err != nil {
		return consentPage{}, err
	}
	return consentPage{Action: req.Action, Platform: req.Platform.Name, Hosts: hosts(req.Platform), Court: rules.Fields, Alike: s.alike(req.Platform), Offline: req.Offline, Username: req.Username, Email: req.Email, Since: !req.Since.IsZero()}, nil
}

// at is what somebody has at a platform, and whether their session counts. Their session
// remembers what the key service said of them; acceptances are asked for if a page shows them.
func (s *side) at(ctx context.Context, who *session, p openid.Platform, acceptances bool) (at issue.At, err error) {
	if who.Derived, err = s.Issuer.Derive(ctx, who.Person, p.SectorID(), who.Derived); err != nil {
		return at, err
	}
	var whose []byte
	if acceptances {
		if whose, err = s.whose(ctx, who); err != nil {
			return at, err
		}
	}
	return s.Issuer.At(ctx, who.Person, who.Session, who.Derived, whose)
}

// whose is by what acceptances name the person. Their session remembers it.
func (s *side) whose(ctx context.Context, who *session) (whose []byte, err error) {
	if who.Whose == nil {
		who.Whose, err = s.Issuer.Whose(ctx, who.Person.ID)
	}
	return who.Whose, err
}

// approve tells a platform which pen name this is, and remembers that for this session. A
// new one is noted under the name that the person gave it.
func (s *side) approve(w http.ResponseWriter, r *http.Request, req openid.SignInRequest, who session, at issue.At, persona int, alias string) (openid.Subject, openid.Outcome, error) {
	sector := req.Platform.SectorID()
	if !req.Since.IsZero() && who.Told != "" && who.Told != told(sector, persona) {
		page, err := s.asking(req)
		if page.Anew = true; err == nil {
			err = s.edge.RenderAgain(w, r, req.Action, http.StatusOK, "consent.html", page)
		}
		return openid.Subject{}, openid.Pending, err
	}
	name, commitment, err := s.Issuer.Choose(r.Context(), who.Person, at, persona)
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	if suspended := slices.DeleteFunc(slices.Clone(at.Names), func(n issue.PenName) bool { return n.Pseudonym != name || n.At(req.Platform.ID) == nil }); len(suspended) > 0 {
		if req.Silent {
			return openid.Subject{}, openid.Denied, nil
		}
		return openid.Subject{}, openid.Pending, s.showSuspended(w, r, req, who, suspended)
	}
	if alias != "" {
		if err := s.Issuer.Call(r.Context(), who.Person, issue.PenName{Pseudonym: name, Platform: sector, Persona: persona}, alias); err != nil {
			return openid.Subject{}, openid.Pending, err
		}
	}
	subject := openid.Subject{
		Pseudonym: name, Commitment: commitment, ACR: who.ACR, Proven: who.Proven,
		Confirm: func(ctx context.Context) error { return s.confirm(ctx, req, who, name) },
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
	if !req.Silent {
		if err := s.waits(w, r, req, true); err != nil {
			return openid.Subject{}, openid.Pending, err
		}
	}
	return subject, openid.Approved, nil
}

// confirm asks once more, when a grant is stored, what may have ended since it was asked.
func (s *side) confirm(ctx context.Context, req openid.SignInRequest, who session, name token.Pseudonym) error {
	err := s.Issuer.Confirm(ctx, who.Person, who.Session, name, req.Platform.ID)
	if errors.Is(err, issue.ErrErased) {
		err = errSignedOut
	}
	if err != nil || !req.Silent {
		return err
	}
	_, agreed, err := s.agreed(ctx, who, req.Platform, scopesDigest(req.Scopes))
	if err == nil && !agreed {
		err = errWithdrawn
	}
	return err
}
