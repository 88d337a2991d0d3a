package person

import (
	"context"
	"net/http"
	"strconv"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
)

// suspendedPage says why nobody is signed in, by whose order and until when as far as the
// person may be told, and what goes on as before. Its only button leads back to the platform,
// which hears access_denied.
type suspendedPage struct {
	Action   string // of this sign-in
	Platform string
	At       string          // its id
	Names    []issue.PenName // that are suspended there
	Leaving  leaving
}

// suspended reports whether the person has pen names at the platform, may have no other one
// and cannot sign in by any of them.
func (c choice) suspended() bool {
	for _, n := range c.Names {
		if n.At(c.At) == nil {
			return false
		}
	}
	return len(c.Names) > 0 && !c.Room
}

func (s *side) showSuspended(w http.ResponseWriter, r *http.Request, req openid.SignInRequest, who session, names []issue.PenName) error {
	if !s.sessions.fresh(who) {
		page, err := s.asking(req)
		if err != nil {
			return err
		}
		return s.provesFirst(w, r, req, page)
	}
	return s.edge.RenderAgain(w, r, req.Action, http.StatusForbidden, "suspended.html",
		suspendedPage{req.Action, req.Platform.Name, req.Platform.ID, names, s.sessions.leaving(who, req.Action)})
}

// Sectors are the ids of all platforms that pen names are derived for, by sector.
func (l *Live) Sectors() map[string][]string {
	all := map[string][]string{}
	for _, p := range *l.side.platforms.Load() {
		all[p.SectorID()] = append(all[p.SectorID()], p.ID)
	}
	return all
}

// Suspend carries out what courts ordered since it was called last: sign-ins that are
// suspended end, and their platforms are told. Call it every few seconds, one call at a time.
func (l *Live) Suspend(ctx context.Context) (err error) {
	s := l.side
	s.suspendedTo, err = s.Issuer.Suspend(ctx, s.suspendedTo, func(ctx context.Context, one issue.Suspension, tell bool) error {
		p, err := s.platform(ctx, one.Platform)
		if err != nil {
			return nil //nolint:nilerr // it is no platform any more: nobody is signed in there
		}
		order := ""
		if tell {
			order = strconv.FormatInt(one.InForce, 10)
		}
		return s.openid.Suspend(ctx, one.Name, p, order)
	})
	return err
}
