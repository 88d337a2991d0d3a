package openid_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/token"
)

// newDiscoveryRig has a platform for each algorithm, too: id-RS256 has registered it for
// its ID tokens, by-ES256 signs its assertions with it.
func newDiscoveryRig(t *testing.T) *rig {
	r := newRig(t, func(r *rig) {
		r.cfg.HTTP = http.DefaultClient // that nobody uses here
		before := r.cfg.Platforms
		r.cfg.Platforms = func(ctx context.Context, id string) (openid.Platform, error) {
			kind, alg, _ := strings.Cut(id, "-")
			p := openid.Platform{ID: id, RedirectURIs: r.square.RedirectURIs}
			switch kind {
			case "id":
				p.SecretHashes, p.IDTokenAlg = r.square.SecretHashes, jose.SignatureAlgorithm(alg)
			case "told":
				p.SecretHashes, p.BackchannelLogoutURI = r.square.SecretHashes, "https://square.example/told"
				p.Username, p.Email, p.Claims = true, true, identity.ClaimNames[:]
			case "by":
				k := r.keyOf(jose.SignatureAlgorithm(alg))
				p.JWKS = []jose.JSONWebKey{k.Public()}
			default:
				return before(ctx, id)
			}
			return p, nil
		}
	})
	r.keys = map[jose.SignatureAlgorithm]jose.JSONWebKey{}
	r.proven = time.Now()
	r.claims, r.month = identity.Claims{"true", "true", "DE", "teacher", "School"}, month()
	return r
}

// keyOf is one key for each algorithm.
func (r *rig) keyOf(alg jose.SignatureAlgorithm) jose.JSONWebKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, made := r.keys[alg]; !made {
		r.keys[alg] = key(r.t, "key-"+string(alg), alg)
	}
	return r.keys[alg]
}

// only is an answer that says whether something works.
func (r *rig) only(works bool) answer {
	if works {
		return answer{status: http.StatusOK}
	}
	return answer{status: http.StatusBadRequest, body: "it does not"}
}

// asked signs in with that parameter, to the end.
func (r *rig) asked(name, value string) answer {
	a := r.get("/authorize?" + r.request(r.square, name, value).Encode())
	if _, rest, ok := strings.Cut(a.body, `action="`); a.status == http.StatusOK && ok {
		action, _, _ := strings.Cut(rest, `"`)
		a = r.decide(action, "approve")
	}
	if !strings.Contains(a.header.Get("Location"), "code=") && !strings.Contains(a.body, `name="code"`) {
		a.status = max(a.status, http.StatusBadRequest)
	}
	return a
}

func (r *rig) granted(scope string) answer {
	got, _ := r.at(r.social, "scope", "openid "+scope)["scope"].(string)
	return r.only(slices.Contains(strings.Fields(got), scope))
}

func (r *rig) subjects(kind string) answer {
	one := payload(r.t, r.tokens()["id_token"].(string))["sub"]
	two := payload(r.t, r.post("/token", r.redemption(r.app, r.code(r.app), "client_secret", "")).json(r.t)["id_token"].(string))["sub"]
	return r.only(kind == "pairwise" && one != two)
}

func (r *rig) grantType(name string) answer {
	switch name {
	case "authorization_code":
		return r.post("/token", r.redemption(r.square, r.code(r.square)))
	case "refresh_token":
		return r.refresh(r.tokens("scope", "openid offline_access")["refresh_token"].(string))
	}
	return r.post("/token", url.Values{"grant_type": {name}, "username": {"jo"}, "password": {"x"}, "client_id": {r.square.ID}, "client_secret": {secret}})
}

// authenticated calls an endpoint as a client that authenticates in that way.
func (r *rig) authenticated(path, method string) answer {
	pl, proof, headers := r.square, []string{"client_id", "", "client_secret", ""}, []string(nil)
	switch method {
	case "client_secret_basic":
		headers = []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(pl.ID+":"+secret))}
	case "client_secret_post":
		proof = []string{"client_id", pl.ID, "client_secret", secret}
	case "private_key_jwt":
		pl = r.forum
	case "none":
		pl, proof = r.app, []string{"client_id", r.app.ID, "client_secret", ""}
	default:
		proof = []string{"client_id", pl.ID, "client_secret", "", "client_assertion_type", assertionType, "client_assertion",
			signed(r.t, jose.JSONWebKey{Key: []byte(secret), KeyID: "k"}, jose.HS256, "JWT", map[string]any{"iss": pl.ID, "sub": pl.ID, "aud": r.issuer, "jti": method, "exp": time.Now().Add(time.Minute).Unix()})}
	}
	with := func(v url.Values) answer {
		if method == "private_key_jwt" {
			proof = []string{"client_id", "", "client_secret", "", "client_assertion_type", assertionType, "client_assertion", r.assertion(nil)}
		}
		return r.post(path, form(v, proof...), headers...)
	}
	if path == "/token" {
		return with(r.redemption(pl, r.code(pl)))
	}
	own := []string{"client_secret", ""}
	if pl.ID == r.square.ID {
		own = nil
	} else if pl.ID == r.forum.ID {
		own = []string{"client_id", "", "client_secret", "", "client_assertion_type", assertionType, "client_assertion", r.assertion(nil)}
	}
	access := r.post("/token", r.redemption(pl, r.code(pl), own...)).json(r.t)["access_token"].(string)
	a := with(url.Values{"token": {access}})
	if path == "/introspect" && !strings.Contains(a.body, `"active":true`) {
		a.status = max(a.status, http.StatusBadRequest)
	}
	return a
}

func (r *rig) assertedBy(alg string) answer {
	pl := openid.Platform{ID: "by-" + alg, RedirectURIs: r.square.RedirectURIs}
	k := jose.JSONWebKey{Key: []byte(secret), KeyID: "k"}
	if alg != "HS256" {
		k = r.keyOf(jose.SignatureAlgorithm(alg))
	}
	if _, err := openid.Fixed(openid.Platform{ID: pl.ID, RedirectURIs: pl.RedirectURIs, JWKS: []jose.JSONWebKey{k.Public()}}); err != nil {
		return r.only(false) // it cannot be registered
	}
	claims := map[string]any{"iss": pl.ID, "sub": pl.ID, "aud": r.issuer, "jti": alg + time.Now().String(), "exp": time.Now().Add(time.Minute).Unix()}
	var assertion string
	if alg == "Ed25519" { // no library here knows it
		assertion = rawJWS(r.t, k.Key.(ed25519.PrivateKey), map[string]any{"alg": alg, "kid": k.KeyID}, claims)
	} else {
		assertion = signed(r.t, k, jose.SignatureAlgorithm(alg), "JWT", claims)
	}
	return r.post("/token", r.redemption(pl, r.code(pl), "client_id", "", "client_secret", "", "client_assertion_type", assertionType, "client_assertion", assertion))
}

// proofBy is a proof by a key of that algorithm.
func (r *rig) proofBy(alg jose.SignatureAlgorithm, method, path, access string) string {
	p, err := token.SignDPoP(key(r.t, "d", alg), method, r.issuer+path, access, "", time.Now())
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func (r *rig) provenBy(alg string) answer {
	switch alg {
	case "EdDSA", "ES256":
	case "Ed25519":
		return r.post("/token", r.redemption(r.square, r.code(r.square)), "DPoP", rawProof(r.t, r, "POST", "/token", "", map[string]any{"alg": alg}, nil))
	default:
		k := r.keyOf(jose.SignatureAlgorithm(alg))
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: k.Key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
		if err != nil {
			r.t.Fatal(err)
		}
		return r.post("/token", r.redemption(r.square, r.code(r.square)), "DPoP", r.embedded(s))
	}
	a := r.post("/token", r.redemption(r.square, r.code(r.square)), "DPoP", r.proofBy(jose.SignatureAlgorithm(alg), "POST", "/token", ""))
	return r.only(a.status == http.StatusOK && a.json(r.t)["token_type"] == "DPoP")
}

func (r *rig) embedded(s jose.Signer) string {
	raw, err := jwt.Signed(s).Claims(map[string]any{"jti": time.Now().String(), "htm": "POST", "htu": r.issuer + "/token", "iat": time.Now().Unix()}).Serialize()
	if err != nil {
		r.t.Fatal(err)
	}
	return raw
}

func (r *rig) idTokenBy(alg string) answer {
	pl := openid.Platform{ID: "id-" + alg, RedirectURIs: r.square.RedirectURIs}
	raw, _ := r.post("/token", r.redemption(pl, r.code(pl))).json(r.t)["id_token"].(string)
	jws, err := jose.ParseSigned(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	return r.only(err == nil && jws.Signatures[0].Header.Algorithm == alg)
}

// claimed looks for a claim in what a platform gets that asks for everything.
func (r *rig) claimed(name string) answer {
	told := openid.Platform{ID: "told", RedirectURIs: r.square.RedirectURIs}
	got := r.post("/token", r.redemption(told, r.code(told, "max_age", "1000", "scope", "openid profile email "+strings.Join(identity.ClaimNames[:], " "))), "DPoP", r.proofBy(jose.EdDSA, "POST", "/token", "")).json(r.t)
	id, access := payload(r.t, got["id_token"].(string)), payload(r.t, got["access_token"].(string))
	return r.only(id[name] != nil || access[name] != nil)
}

// TestDiscoveryListsExactlyWhatCanBeUsed: each value that it lists is used here, and what
// it does not list is refused.
func TestDiscoveryListsExactlyWhatCanBeUsed(t *testing.T) {
	r := newDiscoveryRig(t)
	doc := r.get("/.well-known/openid-configuration").json(t)
	works := map[string]func(value string) answer{
		"scopes_supported":         r.granted,
		"response_types_supported": func(v string) answer { return r.asked("response_type", v) },
		"response_modes_supported": func(v string) answer { return r.asked("response_mode", v) },
		"prompt_values_supported": func(v string) answer {
			r.instant = v == "none"
			defer func() { r.instant = false }()
			return r.asked("prompt", v)
		},
		"acr_values_supported":             func(v string) answer { return r.asked("acr_values", v) },
		"code_challenge_methods_supported": func(v string) answer { return r.asked("code_challenge_method", v) },
		"grant_types_supported":            r.grantType,
		"token_endpoint_auth_methods_supported": func(v string) answer {
			return r.authenticated("/token", v)
		},
		"introspection_endpoint_auth_methods_supported":            func(v string) answer { return r.authenticated("/introspect", v) },
		"revocation_endpoint_auth_methods_supported":               func(v string) answer { return r.authenticated("/revoke", v) },
		"token_endpoint_auth_signing_alg_values_supported":         r.assertedBy,
		"introspection_endpoint_auth_signing_alg_values_supported": r.assertedBy,
		"revocation_endpoint_auth_signing_alg_values_supported":    r.assertedBy,
		"dpop_signing_alg_values_supported":                        r.provenBy,
		"id_token_signing_alg_values_supported":                    r.idTokenBy,
		"subject_types_supported":                                  func(v string) answer { return r.subjects(v) },
		"claim_types_supported":                                    func(v string) answer { return r.only(v == "normal") }, // none is aggregated or distributed: claims_supported
		"claims_supported":                                         r.claimed,
		"claims_in_verified_claims_supported":                      r.granted,
		"trust_frameworks_supported": func(v string) answer {
			return r.only(v == openid.TrustFramework && strings.Contains(r.at(r.social, "scope", "openid country")["id_token"].(string), ".") && r.claimed("verified_claims").status == http.StatusOK)
		},
	}
	unlisted := map[string][]string{
		"response_types_supported": {"token", "id_token", "code id_token"}, "response_modes_supported": {"fragment", "query.jwt", "web_message"},
		"prompt_values_supported": {"create"}, "code_challenge_methods_supported": {"plain"}, "grant_types_supported": {"password", "client_credentials", "implicit"},
		"token_endpoint_auth_methods_supported": {"client_secret_jwt", "tls_client_auth"}, "token_endpoint_auth_signing_alg_values_supported": {"RS256", "HS256"},
		"dpop_signing_alg_values_supported": {"RS256", "Ed25519"}, "scopes_supported": {"phone", "address"}, "subject_types_supported": {"public"},
	}
	for name, listed := range doc {
		all, ok := listed.([]any)
		if !ok {
			continue
		}
		try, known := works[name]
		if !known || len(all) == 0 {
			t.Errorf("%s: %v is listed, and nobody tries it", name, all)
			continue
		}
		for _, v := range all {
			if a := try(v.(string)); a.status < 200 || a.status >= 400 || strings.Contains(a.header.Get("Location"), "error=") {
				t.Errorf("%s lists %s: %d %s %s", name, v, a.status, a.header.Get("Location"), a.body)
			}
		}
		for _, v := range unlisted[name] {
			if slices.Contains(all, any(v)) {
				t.Errorf("%s lists %s", name, v)
			}
			if a := try(v); a.status < 400 && !strings.Contains(a.header.Get("Location"), "error=") {
				t.Errorf("%s does not list %s, which works: %d %s", name, v, a.status, a.body)
			}
		}
	}
	for name := range works {
		if doc[name] == nil {
			t.Errorf("%s is not listed", name)
		}
	}
	for name, status := range map[string]int{ // what it says of whole parts
		"authorization_endpoint": 400, "token_endpoint": 400, "userinfo_endpoint": 401, "jwks_uri": 200, "introspection_endpoint": 400, "revocation_endpoint": 400, "pushed_authorization_request_endpoint": 400,
	} {
		path := strings.TrimPrefix(doc[name].(string), r.issuer)
		a := r.get(path)
		if strings.HasSuffix(name, "_endpoint") && name != "authorization_endpoint" && name != "userinfo_endpoint" {
			a = r.post(path, url.Values{})
		}
		if a.status != status {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	for _, name := range []string{"request_parameter_supported", "request_uri_parameter_supported", "claims_parameter_supported"} {
		if doc[name] != false {
			t.Errorf("%s: %v", name, doc[name])
		}
	}
}
