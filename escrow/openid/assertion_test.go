package openid_test

import (
	"crypto/ed25519"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
)

// assertionOf is an assertion of School Forum whose header and claims are changed by the
// maps, signed by an Ed25519 key.
func (r *rig) assertionOf(k jose.JSONWebKey, head, claims map[string]any) string {
	h := map[string]any{"alg": "Ed25519", "kid": k.KeyID, "typ": "JWT"}
	c := map[string]any{"iss": r.forum.ID, "sub": r.forum.ID, "aud": r.issuer, "jti": time.Now().String(), "exp": time.Now().Add(time.Minute).Unix()}
	maps.Copy(h, head)
	maps.Copy(c, claims)
	return rawJWS(r.t, k.Key.(ed25519.PrivateKey), h, c)
}

func (r *rig) pushBy(assertion string) answer {
	return r.post("/par", form(r.request(r.forum), "client_id", "", "client_assertion_type", assertionType, "client_assertion", assertion))
}

// EdDSA by its newer name (RFC 9864) is the same signature, by a key of the same client,
// and as single-use.
func TestAssertionByEd25519(t *testing.T) {
	r := newRig(t)
	for name, head := range map[string]map[string]any{"as clients send it": nil, "without kid": {"kid": nil}, "without typ": {"typ": nil}, "by the older name": {"alg": "EdDSA"}} {
		one := r.assertionOf(r.forumKey, head, nil)
		if a := r.pushBy(one); a.status != http.StatusCreated {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		wantError(t, r.pushBy(one), 401, "invalid_client")
	}
	impostor, es := key(t, r.forumKey.KeyID, jose.EdDSA), key(t, "es", jose.ES256)
	other := openid.Platform{ID: "p256", Name: "P-256", RedirectURIs: r.forum.RedirectURIs, JWKS: []jose.JSONWebKey{es.Public()}}
	r2, _ := registered(t, other)
	for name, a := range map[string]answer{
		"another key":            r.pushBy(r.assertionOf(impostor, nil, nil)),
		"another key, no kid":    r.pushBy(r.assertionOf(impostor, map[string]any{"kid": nil}, nil)),
		"a key in the header":    r.pushBy(r.assertionOf(impostor, map[string]any{"jwk": impostor.Public()}, nil)),
		"crit":                   r.pushBy(r.assertionOf(r.forumKey, map[string]any{"crit": []string{"x"}, "x": 1}, nil)),
		"a proof":                r.pushBy(r.assertionOf(r.forumKey, map[string]any{"typ": "dpop+jwt"}, nil)),
		"of a client with P-256": r2.pushBy(r2.assertionOf(key(t, "es", jose.EdDSA), nil, map[string]any{"iss": "p256", "sub": "p256"})),
		"of one with a secret":   r.pushBy(r.assertionOf(impostor, nil, map[string]any{"iss": r.square.ID, "sub": r.square.ID})),
		"of nobody":              r.pushBy(r.assertionOf(impostor, nil, map[string]any{"iss": "nobody", "sub": "nobody"})),
	} {
		if a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// What is wrong with an assertion is named, but for its signature.
func TestFaultsOfAssertionsAreNamed(t *testing.T) {
	r := newRig(t)
	in := func(d time.Duration) map[string]any { return map[string]any{"exp": time.Now().Add(d).Unix()} }
	for name, c := range map[string]struct {
		assertion, says string
	}{
		"too long":    {r.assertion(in(time.Hour)), "exp must be in the future, five minutes at most"},
		"too old":     {r.assertion(in(-2 * time.Minute)), "exp must be"},
		"without exp": {r.assertion(map[string]any{"exp": nil}), "exp must be"},
		"no jti":      {r.assertion(map[string]any{"jti": nil}), "jti is missing"},
		"RS256":       {r.assertionOf(r.forumKey, map[string]any{"alg": "RS256"}, nil), "alg must be EdDSA, Ed25519 or ES256"},
		"none":        {r.assertionOf(r.forumKey, map[string]any{"alg": "none"}, nil), "alg must be"},
		"a kid":       {r.assertionOf(r.forumKey, map[string]any{"kid": canary}, nil), "kid is that of no key that is registered"},
	} {
		a := r.pushBy(c.assertion)
		wantError(t, a, 401, "invalid_client")
		if !strings.Contains(a.body, c.says) || strings.Contains(a.body, canary) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	a := r.post("/par", form(r.request(r.forum), "client_id", "", "client_assertion_type", "jwt", "client_assertion", r.assertion(nil)))
	wantError(t, a, 401, "invalid_client")
	if !strings.Contains(a.body, "client_assertion_type must be urn:") {
		t.Error(a.body)
	}
	a = r.post("/token", r.redemption(r.square, r.code(r.square)), "DPoP", rawProof(t, r, "POST", "/token", "", map[string]any{"alg": "Ed25519"}, nil))
	wantError(t, a, 400, "invalid_dpop_proof")
	if !strings.Contains(a.body, "alg must be EdDSA or ES256") {
		t.Error(a.body)
	}
}
