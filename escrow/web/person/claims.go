package person

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/identity"
)

// claimsPage is the part of the consent page about claims. Their values are in clear: it
// is for the person's eyes.
type claimsPage struct {
	Asked  []askedClaim
	Locked bool // the person came by a passkey, which opens none
	Ended  bool // there were some, but their twelve months are over
	Rare   bool // all withheld
	Least  int  // how many people must have them in common
	Unlike bool // all withheld
	Before bool // the platform was told something already
	Until  time.Time
	Hidden bool // they did not prove just now who they are: claims are named, with no value
}

// askedClaim is one claim that the platform asks for.
type askedClaim struct {
	Name  string // see identity.ClaimNames
	Value string // "": not known, or not so
	Month time.Time
	May   bool // the person can let the platform know

	Ticked bool // and ticked it before the page was shown again
}

// tellable judges what the person may let a platform know.
func (s *side) tellable(ctx context.Context, who session, req openid.SignInRequest) (issue.Tellable, error) {
	if req.Claims == 0 {
		return issue.Tellable{}, nil
	}
	return s.Issuer.Tellable(ctx, who.Person, who.Key, req.Platform.SectorID(), s.asks(req.Platform.SectorID()))
}

// asks are the claims that the platforms of a sector may ask for, together.
func (s *side) asks(sector string) (set identity.ClaimSet) {
	for _, p := range s.members(sector) {
		set |= identity.ClaimsNamed(p.Claims...)
	}
	return set
}

// claims is the part of the page about claims; nil if the platform asks for none.
func (s *side) claims(ctx context.Context, who session, req openid.SignInRequest) (*claimsPage, error) {
	if req.Claims == 0 {
		return nil, nil
	}
	if locked := who.Key == nil && who.Passkey; !s.sessions.fresh(who) {
		page := &claimsPage{Hidden: true, Locked: locked}
		for at, name := range identity.ClaimNames {
			if req.Claims.Has(at) {
				page.Asked = append(page.Asked, askedClaim{Name: name, May: !locked})
			}
		}
		return page, nil
	}
	t, err := s.tellable(ctx, who, req)
	if err != nil {
		return nil, err
	}
	page := &claimsPage{Locked: who.Key == nil && who.Passkey, Ended: t.Ended, Rare: t.Rare, Least: issue.Shared, Unlike: t.Unlike, Before: t.Before != 0, Until: t.Until()}
	for at, name := range identity.ClaimNames {
		if req.Claims.Has(at) {
			page.Asked = append(page.Asked, askedClaim{Name: name, Value: t.Claims[at].Reveal(), Month: t.Month, May: t.May.Has(at)})
		}
	}
	return page, nil
}

// tick ticks what was ticked when the page was sent.
func (p *claimsPage) tick(claims []string) {
	if p == nil {
		return
	}
	for i := range p.Asked {
		p.Asked[i].Ticked = slices.Contains(claims, p.Asked[i].Name)
	}
}

// tell notes what the platform is told of the person's claims: what they chose on the page
// just now or, without a page, before in this session.
func (s *side) tell(r *http.Request, req openid.SignInRequest, who session) (c identity.Claims, month time.Time, err error) {
	t, err := s.tellable(r.Context(), who, req)
	if err != nil {
		return c, month, err
	}
	chosen := identity.ClaimsNamed(r.PostForm["claim"]...)
	if req.Silent {
		before, _ := who.allows(req.Platform.ID, scopesDigest(req.Scopes))
		chosen = before.Claims
	}
	if chosen &= req.Claims & t.May; chosen == 0 {
		return c, month, nil
	}
	err = s.Issuer.Tell(r.Context(), who.Key, req.Platform.SectorID(), t, chosen)
	return t.Claims.Only(chosen), t.Month, err
}
