package openid

import "net/http"

// cross lets scripts of the platforms' own origins call an endpoint. No cookie is
// read there and none is ever allowed to come: Access-Control-Allow-Credentials is
// never set.
func (p *Provider) cross(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		if origin := r.Header.Get("Origin"); origin != "" && p.cfg.Origins != nil && p.cfg.Origins(r.Context(), origin) {
			h := w.Header()
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, DPoP-Nonce, Retry-After")
		}
		next(w, r)
	}
}

// preflight answers what a browser asks before a script's request (Fetch, 3.2.2).
// What cross has not allowed, the browser does not send.
func preflight(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", "GET, POST")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, DPoP")
		h.Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
}
