package person

import (
	"errors"
	"net/http"
	"slices"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/token"
)

// leavePage asks whoever left a platform whether to leave here too.
type leavePage struct {
	Action   string
	Platform string          // empty: the platform did not say which it is
	Names    []issue.PenName // of the person there, in use
	Ends     token.Pseudonym // of these, with either button; "": the person chooses, or none ends
	Unnamed  bool            // Ends is not shown, nor are the others: the person did not prove just now who they are
}

// lastUsed stands in the form for the pen name that the page does not show.
const lastUsed = "last"

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
	left := leftPage{Platform: req.Platform.Name, Told: hearsOfSignOut(req.Platform)}
	if errors.Is(err, errSignedOut) {
		if !req.Answer {
			return true, nil
		}
		left.Before = true // they pressed twice
		return s.left(w, r, req, left)
	}
	if err != nil {
		return false, err
	}
	if !req.Answer {
		s.edge.AllowForms(w, req.Platform.PostLogoutRedirectURIs...)
		page, err := s.leaves(r, req, who)
		if err != nil {
			return false, err
		}
		return false, s.edge.RenderAgain(w, r, "", http.StatusOK, "leave.html", page)
	}
	ended, err := s.endAt(r, req, who)
	if err != nil {
		return false, err
	}
	if !ended {
		left.Platform = ""
	}
	if r.PostFormValue("decision") == "stay" {
		left.Here = true
		return s.left(w, r, req, left)
	}
	if err := s.Issuer.Store.EndSession(r.Context(), who.Session); err != nil {
		return false, err
	}
	s.sessions.clear(w, r)
	return s.left(w, r, req, left)
}

// left shows what ended, unless the person is led back to the platform.
func (s *side) left(w http.ResponseWriter, r *http.Request, req openid.LeaveRequest, page leftPage) (done bool, err error) {
	if req.Returns {
		return true, nil
	}
	return false, s.edge.RenderAgain(w, r, "", http.StatusOK, "left.html", page)
}

// leaves is the page that asks. The pen name that this session used last there, or the only
// one, ends with either button, unless the platform names another. What it names is the
// person's or a stranger's, and it must not see which: then nothing ends that is not chosen.
func (s *side) leaves(r *http.Request, req openid.LeaveRequest, who session) (leavePage, error) {
	page := leavePage{Action: req.Action, Platform: req.Platform.Name}
	if req.Platform.ID == "" {
		return page, nil
	}
	at, err := s.at(r.Context(), &who, req.Platform, false)
	if err != nil {
		return page, err
	}
	c := s.choice(who, req.Platform, at.Names)
	if page.Names = c.Names; req.Hint == "" || req.Hint == c.Now {
		page.Ends = c.Now
	}
	if !s.sessions.fresh(who) {
		if page.Names, page.Unnamed = nil, true; page.Ends != "" {
			page.Ends = lastUsed
		}
	}
	return page, nil
}

// endAt ends the sign-ins of the pen name that the page named, and of no other.
func (s *side) endAt(r *http.Request, req openid.LeaveRequest, who session) (ended bool, err error) {
	name := r.PostFormValue("pen_name")
	if req.Platform.ID == "" || name == "" {
		return false, nil
	}
	at, err := s.at(r.Context(), &who, req.Platform, false)
	if err != nil {
		return false, err
	}
	c := s.choice(who, req.Platform, at.Names)
	if name == lastUsed {
		name = string(c.Now)
	}
	i := slices.IndexFunc(c.Names, func(n issue.PenName) bool { return string(n.Pseudonym) == name })
	if i < 0 {
		return false, errNoPenName
	}
	return true, s.openid.End(r.Context(), c.Names[i].Pseudonym)
}
