package openid

import (
	"net/http"

	"github.com/luikyv/go-oidc/pkg/goidc"

	"github.com/penname/penname/verifier/token"
)

// Platforms report whom they ban, so that nobody gets another pen name there meanwhile, and
// so that the person sees it:
//
//	POST /bans     sub=pen1…&state=banned, or state=lifted, and the client as at /introspect
//
// The answer is 204, and may come any number of times. It is the same for a pen name that
// the platform does not have, about which nothing is noted.
const bansPath = "/bans"

// The states that a platform reports.
const (
	banned = "banned"
	lifted = "lifted"
)

// checkBan reads a report, and makes a question about no token of it, by which the library
// authenticates the client.
func checkBan(r *http.Request, x *exchange) fault {
	name, err := token.ParsePseudonym(r.PostForm.Get("sub"))
	state := r.PostForm.Get("state")
	switch {
	case x.client.public(): // anybody could report in its name
		return fault{code: goidc.ErrorCodeUnauthorizedClient}
	case len(r.PostForm["sub"]) != 1 || err != nil:
		return invalid("sub is one pen name, as the platform's ID tokens have it.")
	case len(r.PostForm["state"]) != 1 || state != banned && state != lifted:
		return invalid("state is banned or lifted.")
	}
	x.reported, x.banned = name, state == banned
	r.PostForm.Del("sub")
	r.PostForm.Del("state")
	r.PostForm.Set("token", "-")
	address := *r.URL
	address.Path = "/introspect"
	r.URL = &address
	return fault{}
}

// ban notes a report of a client that is authenticated.
func (p *Provider) ban(w http.ResponseWriter, r *http.Request, x *exchange) {
	if err := p.cfg.Ban(r.Context(), x.client.SectorID(), x.reported, x.banned); err != nil {
		p.apiError(w, r, fault{code: outageCode(r.Context(), err)})
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}
