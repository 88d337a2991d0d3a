package person

import (
	"errors"
	"net/http"
	"slices"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
)

// leavePage asks whoever left a platform whether to leave here too.
type leavePage struct {
	Action   string
	Platform string // empty: the platform did not say which it is
}

// leftPage says what a logout ended, to somebody whom no platform leads on.
type leftPage struct {
	Platform string // empty: no sign-in at a platform ended
	Told     bool   // the platform wants to be told
	Here     bool   // the person is still signed in here
	Before   bool   // they were not, so nothing ended
}

// leave is package openid's question at a logout. Whoever is not signed in here has
// nothing to answer. With either answer the platform cannot renew its sign-in.
func (s *side) leave(w http.ResponseWriter, r *http.Request, req openid.LeaveRequest) (done bool, err error) {
	who, err := s.who(r)
	left := leftPage{Platform: req.Platform.Name, Told: req.Platform.BackchannelLogoutURI != "" || req.Platform.Events != nil}
	if errors.Is(err, errSignedOut) {
		if !req.Answer {
			return true, nil
		}
		left.Before = true // they pressed twice
		return s.left(w, req, left)
	}
	if err != nil {
		return false, err
	}
	if !req.Answer {
		s.edge.AllowForms(w, req.Platform.PostLogoutRedirectURIs...)
		return false, s.edge.Render(w, http.StatusOK, "leave.html", leavePage{req.Action, req.Platform.Name})
	}
	if req.Platform.ID != "" {
		if err := s.endAt(r, req, who); err != nil {
			return false, err
		}
	}
	if r.PostFormValue("decision") == "stay" {
		left.Here = true
		return s.left(w, req, left)
	}
	if err := s.Issuer.Store.EndSession(r.Context(), who.Session); err != nil {
		return false, err
	}
	s.sessions.clear(w)
	return s.left(w, req, left)
}

// left shows what ended, unless the person is led back to the platform.
func (s *side) left(w http.ResponseWriter, req openid.LeaveRequest, page leftPage) (done bool, err error) {
	if req.Returns {
		return true, nil
	}
	return false, s.edge.Render(w, http.StatusOK, "left.html", page)
}

// endAt ends the sign-ins of a pen name at a platform that says who left it: of the one that
// it names, or that the person used there last in this session. If neither is known, all of
// theirs there end, each at its own moment: at once, the platform would see whose they are.
func (s *side) endAt(r *http.Request, req openid.LeaveRequest, who session) error {
	names, err := s.Issuer.PenNames(r.Context(), who.Person, []string{req.Platform.SectorID()})
	if err != nil || len(names) == 0 {
		return err
	}
	last, used := who.usedLast(req.Platform.ID)
	left := slices.IndexFunc(names, func(n issue.PenName) bool {
		return n.Pseudonym == req.Hint || req.Hint == "" && used && n.Persona == last
	})
	switch {
	case left >= 0:
		return s.openid.End(r.Context(), names[left].Pseudonym)
	case len(names) == 1:
		return s.openid.End(r.Context(), names[0].Pseudonym)
	}
	return s.openid.EndQuietly(r.Context(), issue.Pseudonyms(names)...)
}
