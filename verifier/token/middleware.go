package token

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/penname/penname/verifier/refusal"
)

// proofsRemembered bounds the guard that Middleware makes when none is given.
const proofsRemembered = 100_000

type contextKey struct{}

// FromContext returns the token that [Verifier.Middleware] verified.
func FromContext(ctx context.Context) (*Token, bool) {
	t, ok := ctx.Value(contextKey{}).(*Token)
	return t, ok
}

// Middleware lets a request through to next only with a verified token, which
// [FromContext] returns. It reads one Authorization header, of scheme Bearer
// (RFC 6750) or DPoP with one DPoP header (RFC 9449, section 7.1). A token that is
// bound to a key is refused as Bearer, and a token that is not bound as DPoP.
// Nothing is read from the query or the body. An API sets v.Typ to [TypAccess].
//
// A proof is for the URL as the client spells it: v.Origin and the path of the
// request. So Middleware goes outside of [http.StripPrefix]; behind a proxy that
// cuts off a part of the path, v.Origin ends with that part.
//
// Everything else is answered with 401, or 503 when keys or replays cannot be
// checked, a WWW-Authenticate header and a problem document (RFC 9457) whose
// texts are constants:
//
//	{"title":"Unauthorized","status":401,"code":"invalid_token.expired","detail":"The token has expired; sign in again."}
//
// The result can be made at every start; make it once, because it remembers the
// proofs that it has seen if v.ProofReplay is nil.
func (v *Verifier) Middleware(next http.Handler) http.Handler {
	replay := v.ProofReplay
	if replay == nil {
		replay = NewMemoryReplayGuard(proofsRemembered, v.now)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := v.authenticate(r, replay)
		if err != nil {
			v.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, t)))
	})
}

// errNoToken is a request without credentials, to which RFC 6750, section 3.1,
// says: "the resource server SHOULD NOT include an error code".
var errNoToken = refusal.New(unauthenticated, "invalid_token.missing", "This needs a token; send one in the Authorization header.")

// authenticate verifies the credentials of one request.
func (v *Verifier) authenticate(r *http.Request, replay ReplayGuard) (*Token, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return nil, errNoToken
	}
	scheme, raw, ok := strings.Cut(headers[0], " ")
	if len(headers) > 1 || !ok {
		return nil, ErrMalformed
	}
	isDPoP := strings.EqualFold(scheme, "DPoP") // RFC 9110, 11.1: schemes are compared without case
	if !isDPoP && !strings.EqualFold(scheme, "Bearer") {
		return nil, errNoToken
	}
	t, err := v.check(r.Context(), raw)
	if err != nil {
		return nil, err
	}
	switch {
	case t.JKT != "" && !isDPoP: // RFC 9449, 7.2: "MUST reject a DPoP-bound access token received as a bearer token"
		return nil, ErrBoundTokenAsBearer
	case t.JKT == "" && isDPoP:
		return nil, ErrTokenNotBound
	case isDPoP:
		if err := v.checkProof(r, t, replay); err != nil {
			return nil, err
		}
	}
	// Last: a thief who has a token without its key must not use it up.
	if err := v.useUp(r.Context(), t); err != nil {
		return nil, err
	}
	return t, nil
}

// checkProof verifies the DPoP header of a request for a bound token.
func (v *Verifier) checkProof(r *http.Request, t *Token, replay ReplayGuard) error {
	proofs := r.Header.Values("DPoP")
	if len(proofs) == 0 {
		return ErrProofMissing
	}
	if len(proofs) > 1 { // RFC 9449, 4.3, step 1
		return ErrProofMalformed
	}
	if v.Origin == "" {
		return ErrMisconfigured
	}
	want := DPoPWant{Method: r.Method, URL: v.Origin + r.URL.EscapedPath(), AccessToken: t.Raw, JKT: t.JKT, Now: v.now(), MaxAge: v.ProofMaxAge}
	if want.MaxAge == 0 {
		want.MaxAge = DefaultProofMaxAge
	}
	var nonces []string
	if v.ProofNonces != nil {
		if nonces = v.ProofNonces(want.Now); len(nonces) == 0 {
			return ErrMisconfigured
		}
	}
	p, err := verifyDPoP(proofs[0], want, nonces)
	if err != nil {
		return err
	}
	// RFC 9449, 11.1: jti is remembered "in the context of the target URI" while the proof would be accepted.
	return useOnce(r.Context(), replay, ErrProofReplayed, p.IssuedAt.Add(want.MaxAge+time.Second), p.JKT, p.ID)
}

// refuse answers with the constants of a refusal and logs its code.
func (v *Verifier) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := refusal.Of(err)
	if e == nil { // cannot happen: every error of this package is a refusal
		e = ErrMisconfigured
	}
	if v.Log != nil {
		v.Log.LogAttrs(r.Context(), slog.LevelInfo, "token refused", slog.String("code", e.Code))
	}
	status := http.StatusUnauthorized
	if e.Kind == unavailable {
		status = http.StatusServiceUnavailable
	} else {
		v.challenge(w.Header(), e)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	fmt.Fprintf(w, "{%q:%q,%q:%d,%q:%q,%q:%q}\n", "title", http.StatusText(status), "status", status, "code", e.Code, "detail", e.Mend)
}

// challenge sets WWW-Authenticate (RFC 6750, section 3; RFC 9449, section 7.1)
// and DPoP-Nonce (RFC 9449, section 9).
func (v *Verifier) challenge(h http.Header, e *refusal.Error) {
	class, reason, _ := strings.Cut(e.Code, ".")
	dpop := `DPoP algs="EdDSA ES256"`
	if v.ProofNonces != nil {
		if nonces := v.ProofNonces(v.now()); len(nonces) > 0 {
			h.Set("DPoP-Nonce", nonces[0])
		}
	}
	switch {
	case e == errNoToken:
		h.Add("WWW-Authenticate", "Bearer")
		h.Add("WWW-Authenticate", dpop)
	case reason == "use_dpop_nonce":
		h.Add("WWW-Authenticate", dpop+`, error="use_dpop_nonce"`)
	case class == "invalid_dpop_proof":
		h.Add("WWW-Authenticate", fmt.Sprintf(`%s, error="invalid_dpop_proof", error_description=%q`, dpop, e.Mend))
	default:
		h.Add("WWW-Authenticate", fmt.Sprintf(`Bearer error="invalid_token", error_description=%q`, e.Mend))
		h.Add("WWW-Authenticate", dpop+`, error="invalid_token"`)
	}
}
