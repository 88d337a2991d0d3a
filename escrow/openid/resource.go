package openid

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Resource indicators (RFC 8707). A site, its app and its API are platforms of one
// sector. A client that wants an access token for the API names it, by its client_id or
// an address of one of its origins: then the token's audience is the API, which verifies
// it or asks about it here.

const invalidTarget = goidc.ErrorCodeInvalidTarget

// checkResource notes which platform a request names as the audience of its access token.
func (k checks) checkResource(ctx context.Context, x *exchange, v url.Values, pl Platform) fault {
	switch names := v["resource"]; {
	case len(names) == 0, k.cfg.Resource == nil:
		return fault{}
	case len(names) > 1: // section 2 allows several; a token here is for one
		return fault{invalidTarget, "resource is sent more than once: an access token is for one platform."}
	default:
		to, err := k.cfg.Resource(ctx, pl, names[0])
		if err != nil && !errors.Is(err, ErrUnknownPlatform) {
			return fault{code: outageCode(ctx, err)}
		}
		if err != nil {
			return fault{code: invalidTarget}
		}
		x.resource = to.ID
		return fault{}
	}
}

// outageCode notes that a port failed.
func outageCode(ctx context.Context, err error) goidc.ErrorCode {
	_ = outage(ctx, err)
	return unavailable
}

// FindResource returns the open platform of a client's sector that a resource names: by
// its client_id, or by an https address, without a fragment (RFC 8707, 2), at an origin
// that it alone of its sector lists; where a site has the same origin, it is the API, which
// has no redirect URI. What other sectors list is theirs to say, and takes
// nothing from this one. It fails with [ErrUnknownPlatform].
func FindResource(all []Platform, client Platform, resource string) (Platform, error) {
	var found []Platform
	for _, p := range all {
		if p.Closed == nil && p.SectorID() == client.SectorID() && p.serves(resource) {
			found = append(found, p)
		}
	}
	signsIn := func(p Platform) bool { return len(p.RedirectURIs) > 0 }
	if apis := slices.DeleteFunc(slices.Clone(found), signsIn); len(apis) > 0 {
		found = apis
	}
	if len(found) != 1 {
		return Platform{}, ErrUnknownPlatform
	}
	return found[0], nil
}

func (p Platform) serves(resource string) bool {
	if resource == p.ID {
		return true
	}
	u, err := url.Parse(resource)
	return err == nil && u.Host != "" && u.Fragment == "" && u.User == nil && slices.Contains(p.Origins, u.Scheme+"://"+u.Host)
}

// audienceOf decides for whom the access token of a grant is that is about to be issued.
// Section 2.2: what the token request names has to be among what was granted; a
// platform that is gone or of another sector meanwhile gets no token (ATTACKS O12), and
// neither does one at which the pen name is suspended.
func (m manager) audienceOf(ctx context.Context, b grantBody, holder token.Pseudonym) (string, error) {
	asked := exchangeOf(ctx).resource
	switch {
	case asked != "" && b.Resource != "" && asked != b.Resource:
		return "", goidc.NewError(invalidTarget, "invalid target")
	case asked == "" && b.Resource == "":
		return b.Platform, nil
	}
	client, err := m.p.platform(ctx, b.Platform)
	if err != nil {
		return "", err
	}
	to, err := m.p.platform(ctx, cmp.Or(asked, b.Resource))
	if errors.Is(err, goidc.ErrNotFound) || err == nil && to.SectorID() != client.SectorID() {
		return "", errInvalidGrant
	}
	if err != nil || m.p.cfg.Suspended == nil {
		return to.ID, err
	}
	err = m.p.cfg.Suspended(ctx, holder, to.ID)
	if e := refusal.Of(err); e != nil && e.Kind == refusal.Denied {
		return "", errInvalidGrant
	}
	if err != nil {
		err = outage(ctx, err)
	}
	return to.ID, err
}

// mayIntrospect reports whether a platform may ask about a token: the one that it was
// issued to, and the one that it is for (RFC 7662, 4; ATTACKS O22).
func (m manager) mayIntrospect(_ context.Context, c *goidc.Client, info goidc.TokenInfo) bool {
	return c.TokenAuthnMethod != goidc.AuthnMethodNone && (c.ID == info.ClientID || slices.Contains(info.ResourceAudiences, c.ID))
}
