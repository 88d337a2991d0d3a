package person

import (
	"net/http"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/refusal"
)

var errSignedOut = refusal.New(refusal.Unauthenticated, "session.signed_out",
	"you are not signed in, or were for more than half an hour: prove your identity again, your pen names stay the same")

// mePage is what a person sees of themself, as page or JSON.
type mePage struct {
	Welcome  string          `json:"-"`
	PenNames []issue.PenName `json:"pen_names"`
	Notices  []issue.Notice  `json:"notices"`

	Names  map[string]string `json:"-"` // of platforms, by id
	Origin string            `json:"-"`
}

func (s *side) me(w http.ResponseWriter, r *http.Request) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	names, err := s.Issuer.PenNames(ctx, who.Person, s.platformIDs())
	if err != nil {
		return err
	}
	notices, err := s.Issuer.Notices(ctx, who.Person, s.platformIDs())
	if err != nil {
		return err
	}
	page := mePage{Welcome: r.URL.Query().Get("welcome"), PenNames: names, Notices: notices, Names: map[string]string{}, Origin: s.edge.Origin}
	for _, p := range s.Platforms {
		page.Names[p.ID] = p.Name
	}
	if r.Header.Get("Accept") == "application/json" {
		return web.WriteJSON(w, http.StatusOK, page)
	}
	return s.edge.Render(w, http.StatusOK, "me.html", page)
}

// who returns the person that is signed in. A session that is older than the
// person's request to be deleted, made on another device, does not count.
func (s *side) who(r *http.Request) (session, error) {
	v, ok := s.sessions.person(r)
	if !ok {
		return session{}, errSignedOut
	}
	asked, err := s.Issuer.Store.Asked(r.Context(), v.Person.Label)
	if err == nil && asked {
		err = errSignedOut
	}
	return v, err
}

func (s *side) askErasure(w http.ResponseWriter, r *http.Request) error {
	if _, err := s.who(r); err != nil {
		return err
	}
	return s.edge.Render(w, http.StatusOK, "delete.html", nil)
}

// erase records the request and ends the sign-ins at platforms and the session.
// The answer is the same, in words and in time, whether or not an order holds the
// record. A person who lost the answer asks again and gets the same receipt: so this
// accepts a session that [side.who] no longer accepts.
func (s *side) erase(w http.ResponseWriter, r *http.Request) error {
	who, ok := s.sessions.person(r)
	if !ok {
		return errSignedOut
	}
	receipt, err := s.Issuer.Erase(r.Context(), who.Person, s.platformIDs(), s.end(r))
	if err != nil {
		return err
	}
	s.sessions.clear(w, "session")
	return s.edge.Render(w, http.StatusOK, "deleted.html", receipt)
}

// end is how the sign-ins at platforms end: each platform learns it at its own moment,
// unless the person chose that all learn it at once.
func (s *side) end(r *http.Request) issue.End {
	if r.PostFormValue("when") == "now" {
		return s.openid.End
	}
	return s.openid.EndQuietly
}

// signOutEverywhere ends the sign-ins at platforms, for somebody who lost a device:
// it can no longer renew them.
func (s *side) signOutEverywhere(w http.ResponseWriter, r *http.Request) error {
	who, err := s.who(r)
	if err != nil {
		return err
	}
	if err := s.Issuer.EndSignIns(r.Context(), who.Person, s.platformIDs(), s.end(r)); err != nil {
		return err
	}
	http.Redirect(w, r, "/me?welcome=out", http.StatusSeeOther)
	return nil
}

func (s *side) signOut(w http.ResponseWriter, r *http.Request) error {
	s.sessions.clear(w, "session")
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}
