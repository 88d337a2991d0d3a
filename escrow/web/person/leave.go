package person

import (
	"errors"
	"net/http"

	"github.com/penname/penname/escrow/openid"
)

// leavePage asks whoever left a platform whether to leave here too.
type leavePage struct {
	Action   string
	Platform string // empty: the platform did not say which it is
}

// leave is package openid's question at a logout. Whoever is not signed in here has
// nothing to answer. With either answer the platform cannot renew its sign-in.
func (s *side) leave(w http.ResponseWriter, r *http.Request, req openid.LeaveRequest) (done bool, err error) {
	who, err := s.who(r)
	if errors.Is(err, errSignedOut) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if !req.Answer {
		s.edge.AllowForms(w, req.Platform.PostLogoutRedirectURIs...)
		return false, s.edge.Render(w, http.StatusOK, "leave.html", leavePage{req.Action, req.Platform.Name})
	}
	if req.Platform.ID != "" {
		names, err := s.Issuer.PenNames(r.Context(), who.Person, []string{req.Platform.SectorID()})
		if err != nil {
			return false, err
		}
		for _, name := range names {
			if err := s.openid.End(r.Context(), name.Pseudonym); err != nil {
				return false, err
			}
		}
	}
	if r.PostFormValue("decision") == "stay" {
		return true, nil
	}
	if err := s.Issuer.Store.EndSession(r.Context(), who.Session); err != nil {
		return false, err
	}
	s.sessions.clear(w, "session")
	return true, nil
}
