package person

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	signing = "of the message signing plan: requests are pushed unsigned in this one"
	profile = "of a country's profile"
	parURN  = "urn:ietf:params:oauth:request_uri:"
)

// fapiModules are the plan fapi2, in the order of the suite. TLS is not part of it here:
// what the listener takes is tested in escrow/service.
var fapiModules = []module{
	{id: "fapi2-security-profile-final-discovery-end-point-verification", plan: fapi2, run: func(o *oidf) {
		doc := o.https()
		o.allHTTPS(doc)
		o.want(lists(doc, "response_types_supported", "code"), "response_types_supported lacks code")
		o.want(doc["authorization_response_iss_parameter_supported"] == true, "authorization_response_iss_parameter_supported")
		o.want(doc["pushed_authorization_request_endpoint"] != nil, "pushed_authorization_request_endpoint is missing")
		o.want(doc["authorization_endpoint"] != nil && doc["token_endpoint"] != nil && doc["jwks_uri"] != nil, "an endpoint is missing")
		o.want(lists(doc, "token_endpoint_auth_methods_supported", "private_key_jwt"), "private_key_jwt is not listed")
		o.want(lists(doc, "code_challenge_methods_supported", "S256"), "S256 is not listed")
		o.want(lists(doc, "scopes_supported", "openid"), "scopes_supported lacks openid")
		for _, name := range []string{"id_token_signing_alg_values_supported", "token_endpoint_auth_signing_alg_values_supported", "dpop_signing_alg_values_supported"} {
			ok := slices.ContainsFunc([]string{"PS256", "ES256", "EdDSA"}, func(alg string) bool { return lists(doc, name, alg) })
			o.want(ok, "%s has no algorithm of the profile", name)
		}
		for name := range doc {
			if !slices.Contains(registeredMetadata, name) {
				o.note(warning, "the metadata have %s, which the suite does not know", name)
			}
		}
	}},
	{id: "fapi2-security-profile-final-happy-flow", plan: fapi2, run: func(o *oidf) {
		a, claims := o.bound(fapi1)
		for name := range claims {
			if !slices.Contains([]string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "jti"}, name) {
				o.note(warning, "the ID token has %s, which was not asked for", name)
			}
		}
		res, _ := o.do("GET", o.origin+"/userinfo?access_token="+a.text("access_token"), nil)
		o.want(res.StatusCode/100 == 4, "an access token in the address is taken")
		for _, accept := range []string{"application/json;charset=utf-8", "application/json, application/*+json, */*"} {
			res, _ = o.do("GET", o.origin+"/userinfo", nil, "Accept", accept, "Authorization", "DPoP "+a.text("access_token"), "DPoP", o.proof(fapi1, "GET", "/userinfo", a.text("access_token")))
			o.want(res.StatusCode == http.StatusOK && res.Header.Get("Date") != "", "userinfo with Accept: %s", res.Status)
		}
		// The second client: another address, parameters beside the request_uri too, a nonce of 43 characters.
		request := o.fapi(fapiTwo, "redirect_uri", suiteQuery, "nonce", strings.Repeat("n", 43))
		beside := form(request, "request_uri", o.pushed(fapiTwo, request))
		o.boundBy(fapiTwo, o.signIn(beside), request, "redirect_uri", suiteQuery)
	}},
	{id: "fapi2-security-profile-final-user-rejects-authentication", plan: fapi2, run: func(o *oidf) {
		request := o.fapi(fapi1, "state", strings.Repeat("s", 128))
		_, body := o.navigate("GET", o.byReference(fapi1, o.pushed(fapi1, request)))
		action := formAction.FindStringSubmatch(body)
		if action == nil {
			o.stop("no page")
		}
		res, _ := o.do("POST", o.origin+action[1], url.Values{"decision": {"deny"}})
		o.authError(result(o.t, res), request, "access_denied")
	}},
	{id: "fapi2-security-profile-final-ensure-authorization-request-without-state-success", plan: fapi2, run: boundWith("state", "")},
	{id: "fapi2-security-profile-final-ensure-authorization-request-without-nonce-success", plan: fapi2, run: boundWith("nonce", "")},
	{id: "fapi2-security-profile-final-ensure-authorization-request-with-64-char-nonce-success", plan: fapi2, run: boundWith("nonce", strings.Repeat("n", 64))},
	{id: "fapi2-security-profile-final-ensure-other-scope-order-succeeds", plan: fapi2, run: boundWith("scope", "offline_access openid")},
	{id: "fapi2-security-profile-final-test-claims-parameter-identity-claims", plan: fapi2, run: func(o *oidf) {
		if o.discovery()["claims_parameter_supported"] != true {
			o.skip("claims_parameter_supported is false, which is permitted")
		}
		o.stop("claims_parameter_supported is true: the module is to be written")
	}},
	{id: "fapi2-security-profile-final-access-token-type-header-case-sensitivity", plan: fapi2, run: func(o *oidf) {
		a, _ := o.bound(fapi1)
		o.resource(fapi1, a, true, "dPOP", nil, nil)
	}},
	{id: "fapi2-security-profile-final-check-dpop-proof-nbf-exp", plan: fapi2, run: func(o *oidf) {
		dated := claimsOf("nbf", time.Now().Unix(), "exp", time.Now().Add(5*time.Minute).Unix())
		o.boundProof(fapi1, dated)
	}},
	{id: "fapi2-security-profile-final-ensure-dpopproof-with-iat-10seconds-before-succeeds", plan: fapi2, run: func(o *oidf) {
		o.boundProof(fapi1, claimsOf("iat", time.Now().Add(-10*time.Second).Unix()))
	}},
	{id: "fapi2-security-profile-final-ensure-dpopproof-with-iat-10seconds-after-succeeds", plan: fapi2, run: func(o *oidf) {
		o.boundProof(fapi1, claimsOf("iat", time.Now().Add(8*time.Second).Unix()))
	}},
	{id: "fapi2-security-profile-final-ensure-mismatched-dpop-jkt-fails", plan: fapi2, run: func(o *oidf) {
		request := o.fapi(fapi1, "dpop_jkt", thumbprint(newDPoP()))
		o.refused(o.call(fapi1, "/par", request, "DPoP", o.proof(fapi1, "POST", "/par", "")), "invalid_request", "invalid_dpop_proof")
	}},
	{id: "fapi2-security-profile-final-ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt", plan: fapi2, run: func(o *oidf) {
		request := o.fapi(fapi1)
		pushed := o.call(fapi1, "/par", request, "DPoP", o.proof(fapi1, "POST", "/par", ""))
		o.mismatched(request, pushed.text("request_uri"))
	}},
	{id: "fapi2-security-profile-final-ensure-token-endpoint-fails-with-mismatched-dpop-jkt", plan: fapi2, run: func(o *oidf) {
		request := o.fapi(fapi1, "dpop_jkt", thumbprint(fapi1.dpop))
		o.mismatched(request, o.pushed(fapi1, request))
	}},
	{id: "fapi2-security-profile-final-ensure-dpopproof-at-par-endpoint-binding-success", plan: fapi2, run: func(o *oidf) {
		request := o.fapi(fapi1)
		pushed := o.pushed(fapi1, request, "DPoP", o.proof(fapi1, "POST", "/par", ""))
		o.boundBy(fapi1, o.signIn(o.byReference(fapi1, pushed)), request)
	}},
	{id: "fapi2-security-profile-final-ensure-dpop-auth-code-binding-success", plan: fapi2, run: func(o *oidf) {
		request := o.fapi(fapi1, "dpop_jkt", thumbprint(fapi1.dpop))
		pushed := o.pushed(fapi1, request, "DPoP", o.proof(fapi1, "POST", "/par", ""))
		o.boundBy(fapi1, o.signIn(o.byReference(fapi1, pushed)), request)
	}},
	{id: "fapi2-security-profile-final-ensure-different-nonce-inside-and-outside-request-object", plan: fapi2, run: besides("nonce", "of nobody")},
	{id: "fapi2-security-profile-final-ensure-different-state-inside-and-outside-request-object", plan: fapi2, run: besides("state", "of nobody")},
	{id: "fapi2-security-profile-final-ensure-authorization-request-with-long-nonce", plan: fapi2, run: boundWith("nonce", strings.Repeat("n", 384))},
	{id: "fapi2-security-profile-final-ensure-authorization-request-with-long-state", plan: fapi2, run: boundWith("state", strings.Repeat("s", 384))},
	{id: "fapi2-security-profile-final-state-only-outside-request-object-not-used", plan: fapi2, run: func(o *oidf) {
		request := o.fapi(fapi1, "state", "")
		reference := o.byReference(fapi1, o.pushed(fapi1, request))
		reference.Set("state", "outside")
		o.boundBy(fapi1, o.signIn(reference), request)
	}},
	{id: "fapi2-security-profile-final-ensure-request-object-without-redirect-uri-fails", plan: fapi2, run: notPushed("redirect_uri", "", "invalid_request", "invalid_request_object")},
	{id: "fapi2-security-profile-final-plain-fapi-tolerate-unregistered-redirect-uri", plan: fapi2, run: notPushed("redirect_uri", suiteBack+"/other", "invalid_request", "invalid_request_object")},
	{id: "fapi2-security-profile-final-ensure-unsigned-authorization-request-without-using-par-fails", plan: fapi2, run: func(o *oidf) {
		request := o.fapi(fapi1)
		o.authError(o.signIn(request), request, "invalid_request")
	}},
	{id: "fapi2-security-profile-final-ensure-redirect-uri-in-authorization-request", plan: fapi2, run: notPushed("redirect_uri", "", "invalid_request", "invalid_request_object")},
	{id: "fapi2-security-profile-final-ensure-response-type-code-idtoken-fails", plan: fapi2, run: notPushed("response_type", "code id_token", "unsupported_response_type", "invalid_request", "unauthorized_client")},
	{id: "fapi2-security-profile-final-ensure-response-type-token-fails", plan: fapi2, run: notPushed("response_type", "token", "unsupported_response_type", "invalid_request", "unauthorized_client")},
	{id: "fapi2-security-profile-final-ensure-client-id-in-token-endpoint", plan: fapi2, run: badRedemption(func(o *oidf, v url.Values) { v.Set("client_id", fapiTwo.id) }, "invalid_client", "invalid_grant")},
	{id: "fapi2-security-profile-final-ensure-holder-of-key-required", plan: fapi2, run: func(o *oidf) {
		code, _ := o.boundCode(fapi1)
		o.refused(o.call(fapi1, "/token", redemption(code, "code_verifier", verifier)), "invalid_request", "invalid_grant", "invalid_dpop_proof")
	}},
	{id: "fapi2-security-profile-final-ensure-authorization-code-is-bound-to-client", plan: fapi2, run: func(o *oidf) {
		code, _ := o.boundCode(fapi1)
		o.refused(o.redeem(fapiTwo, code), "invalid_grant")
	}},
	{id: "fapi2-security-profile-final-attempt-reuse-authorization-code-after-one-second", plan: fapi2, run: later(func(o *oidf) {
		code, _ := o.boundCode(fapi1)
		a := o.tokens(o.redeem(fapi1, code), "DPoP")
		time.Sleep(time.Second)
		o.refused(o.redeem(fapi1, code), "invalid_grant")
		res, _ := o.do("GET", o.origin+"/userinfo", nil, "Authorization", "DPoP "+a.text("access_token"), "DPoP", o.proof(fapi1, "GET", "/userinfo", a.text("access_token")))
		if res.StatusCode/100 != 4 {
			o.note(warning, "the access token of a code that came twice still works")
		}
	})},
	{id: "fapi2-security-profile-final-ensure-token-endpoint-fails-with-expired-auth-code", plan: fapi2, run: later(func(o *oidf) {
		code, _ := o.boundCode(fapi1)
		time.Sleep(62 * time.Second)
		o.refused(o.redeem(fapi1, code), "invalid_grant")
	})},
	{id: "fapi2-security-profile-final-ensure-signed-client-assertion-with-RS256-fails", plan: fapi2, run: func(o *oidf) {
		o.skip("it needs a client with an RSA key for PS256: assertions are by EdDSA or ES256")
	}},
	{id: "fapi2-security-profile-final-ensure-client-assertion-in-token-endpoint", plan: fapi2, run: func(o *oidf) {
		code, _ := o.boundCode(fapi1)
		o.refused(o.post("/token", redemption(code, "code_verifier", verifier, "client_id", fapi1.id), "DPoP", o.proof(fapi1, "POST", "/token", "")), "invalid_client", "invalid_request")
	}},
	{id: "fapi2-security-profile-final-ensure-client-assertion-with-exp-is-5-minutes-in-past-fails", plan: fapi2, run: badAssertion("exp", time.Now().Add(-5*time.Minute).Unix())},
	{id: "fapi2-security-profile-final-ensure-client-assertion-with-wrong-aud-fails", plan: fapi2, run: badAssertion("aud", "https://other.example")},
	{id: "fapi2-security-profile-final-ensure-client-assertion-with-no-sub-fails", plan: fapi2, run: badAssertion("sub", nil)},
	{id: "fapi2-security-profile-final-dpop-negative-tests", plan: fapi2, run: func(o *oidf) { o.badProofs() }},
	{id: "fapi2-security-profile-final-refresh-token", plan: fapi2, run: func(o *oidf) {
		o.want(lists(o.discovery(), "grant_types_supported", "refresh_token"), "grant_types_supported lacks refresh_token")
		refresh := o.boundRenewal(fapi1)
		v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}}
		bare := form(v, "client_id", fapi1.id)
		o.refused(o.post("/token", bare, "DPoP", o.proof(fapi1, "POST", "/token", "")), "invalid_client", "invalid_grant", "invalid_request")
		o.refused(o.call(fapi1, "/token", v), "invalid_request", "invalid_grant", "invalid_dpop_proof")
		other := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {o.boundRenewal(fapiTwo)}}
		o.refused(o.call(fapi1, "/token", other, "DPoP", o.proof(fapi1, "POST", "/token", "")), "invalid_grant")
	}},
	{id: "fapi2-security-profile-final-par-ensure-reused-request-uri-prior-to-auth-completion-succeeds", plan: fapi2, run: func(o *oidf) {
		request := o.fapi(fapi1)
		reference := o.byReference(fapi1, o.pushed(fapi1, request))
		if _, body := o.navigate("GET", reference); !formAction.MatchString(body) {
			o.stop("no page at the first visit")
		}
		o.boundBy(fapi1, o.signIn(reference), request)
	}},
	{id: "fapi2-security-profile-final-par-attempt-reuse-request_uri", plan: fapi2, run: func(o *oidf) {
		request := o.fapi(fapi1)
		reference := o.byReference(fapi1, o.pushed(fapi1, request))
		o.boundBy(fapi1, o.signIn(reference), request)
		res, body := o.navigate("GET", reference)
		o.refusedPage(res, body, "request_uri")
	}},
	{id: "fapi2-security-profile-final-par-attempt-to-use-expired-request_uri", plan: fapi2, run: later(func(o *oidf) {
		a := o.call(fapi1, "/par", o.fapi(fapi1))
		life, _ := a.body["expires_in"].(float64)
		time.Sleep(time.Duration(life) * time.Second)
		res, body := o.navigate("GET", o.byReference(fapi1, a.text("request_uri")))
		o.refusedPage(res, body, "request_uri")
	})},
	{id: "fapi2-security-profile-final-par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted", plan: fapi2, run: func(o *oidf) {
		soon := time.Now().Add(8 * time.Second).Unix()
		request := form(o.fapi(fapi1), "client_assertion", o.assertion(fapi1, map[string]any{"iat": soon, "nbf": soon}))
		o.boundBy(fapi1, o.signIn(o.byReference(fapi1, o.pushed(fapi1, request))), request)
	}},
	{id: "fapi2-security-profile-final-par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails", plan: fapi2, run: func(o *oidf) {
		then := time.Now().Add(75 * time.Second)
		o.assertedAtPAR(map[string]any{"iat": then.Unix(), "nbf": then.Unix(), "exp": then.Add(time.Minute).Unix()})
	}},
	{id: "fapi2-security-profile-final-par-attempt-to-use-request_uri-for-different-client", plan: fapi2, run: func(o *oidf) {
		res, body := o.navigate("GET", o.byReference(fapiTwo, o.pushed(fapi1, o.fapi(fapi1))))
		o.refusedPage(res, body, "request_uri")
	}},
	{id: "fapi2-security-profile-final-par-authorization-request-containing-request_uri-form-param", plan: fapi2,
		run: notPushed("request_uri", parURN+"x", "invalid_request", "invalid_request_object", "request_uri_not_supported")},
	{id: "fapi2-security-profile-final-par-attempt-invalid-http-method", plan: fapi2, run: func(o *oidf) {
		for _, method := range []string{"GET", "PUT"} {
			res, _ := o.do(method, o.origin+"/par", o.fapi(fapi1))
			o.want(res.StatusCode >= 400, "%s /par: %s", method, res.Status)
		}
	}},
	{id: "fapi2-security-profile-final-par-ensure-pkce-required", plan: fapi2, run: func(o *oidf) {
		o.refused(o.call(fapi1, "/par", form(o.fapi(fapi1), "code_challenge", "", "code_challenge_method", "")), "invalid_request")
	}},
	{id: "fapi2-security-profile-final-ensure-pkce-code-verifier-required", plan: fapi2, run: badRedemption(func(_ *oidf, v url.Values) { v.Del("code_verifier") }, "invalid_grant")},
	{id: "fapi2-security-profile-final-incorrect-pkce-code-verifier-rejected", plan: fapi2, run: badRedemption(func(_ *oidf, v url.Values) { v.Set("code_verifier", strings.Repeat("x", 43)) }, "invalid_grant")},
	{id: "fapi2-security-profile-final-par-plain-pkce-rejected", plan: fapi2, run: func(o *oidf) {
		o.refused(o.call(fapi1, "/par", form(o.fapi(fapi1), "code_challenge", verifier, "code_challenge_method", "plain")), "invalid_request")
	}},
	{id: "fapi2-security-profile-final-par-without-duplicate-parameters", plan: fapi2, run: boundWith()},
	{id: "fapi2-security-profile-final-par-test-array-as-audience-fails", plan: fapi2, run: func(o *oidf) { o.assertedAtPAR(map[string]any{"aud": []string{o.origin}}) }},
	{id: "fapi2-security-profile-final-par-test-par-endpoint-url-as-audience-fails", plan: fapi2, run: func(o *oidf) { o.assertedAtPAR(map[string]any{"aud": o.origin + "/par"}) }},
	{id: "fapi2-security-profile-final-par-test-token-endpoint-url-as-audience-fails", plan: fapi2, run: func(o *oidf) { o.assertedAtPAR(map[string]any{"aud": o.origin + "/token"}) }},
}

// fapi is an authorization request of the profile: with PKCE.
func (o *oidf) fapi(c party, pairs ...string) url.Values {
	return o.request(c, append(pkce(), pairs...)...)
}

func (o *oidf) byReference(c party, uri string) url.Values {
	return url.Values{"client_id": {c.id}, "request_uri": {uri}}
}

// pushed checks the answer to a pushed request (RFC 9126, 2.2) and returns its request_uri.
func (o *oidf) pushed(c party, request url.Values, headers ...string) string {
	a := o.call(c, "/par", request, headers...)
	life, _ := a.body["expires_in"].(float64)
	if a.StatusCode != http.StatusCreated {
		o.stop("not pushed: %d %s %s", a.StatusCode, a.text("error"), a.text("error_description"))
	}
	o.want(life > 0 && strings.HasPrefix(a.Header.Get("Content-Type"), "application/json"), "expires_in is %v", a.body["expires_in"])
	o.want(entropy(a.text("request_uri")) >= 96, "the request_uri can be guessed")
	return a.text("request_uri")
}

// boundCode signs in by a pushed request and returns the code.
func (o *oidf) boundCode(c party) (string, url.Values) {
	request := o.fapi(c)
	return o.code(o.signIn(o.byReference(c, o.pushed(c, request))), request), request
}

// redeem is a token request with everything that the profile wants.
func (o *oidf) redeem(c party, code string, pairs ...string) answer {
	return o.call(c, "/token", redemption(code, append([]string{"code_verifier", verifier}, pairs...)...), "DPoP", o.proof(c, "POST", "/token", ""))
}

// bound is a whole sign-in with tokens that are bound to a key.
func (o *oidf) bound(c party, pairs ...string) (answer, map[string]any) {
	request := o.fapi(c, pairs...)
	return o.boundBy(c, o.signIn(o.byReference(c, o.pushed(c, request))), request)
}

// boundBy goes on from an authorization response.
func (o *oidf) boundBy(c party, v, request url.Values, pairs ...string) (answer, map[string]any) {
	a := o.tokens(o.redeem(c, o.code(v, request), pairs...), "DPoP")
	head, claims := o.idToken(a.text("id_token"), c, request)
	o.want(slices.Contains([]string{"PS256", "ES256", "EdDSA"}, head.Algorithm), "the ID token is signed by %s", head.Algorithm)
	res, body := o.do("GET", o.origin+"/userinfo", nil, "Authorization", "DPoP "+a.text("access_token"), "DPoP", o.proof(c, "GET", "/userinfo", a.text("access_token")))
	o.aboutThem(res, body, claims)
	return a, claims
}

func boundWith(pairs ...string) func(o *oidf) {
	return func(o *oidf) { o.bound(fapi1, pairs...) }
}

// besides sends a parameter next to the request_uri, which counts for nothing.
func besides(name, value string) func(o *oidf) {
	return func(o *oidf) {
		request := o.fapi(fapi1)
		reference := o.byReference(fapi1, o.pushed(fapi1, request))
		reference.Set(name, value)
		o.boundBy(fapi1, o.signIn(reference), request)
	}
}

// notPushed is a request that is refused when it is pushed.
func notPushed(name, value string, codes ...string) func(o *oidf) {
	return func(o *oidf) { o.refused(o.call(fapi1, "/par", o.fapi(fapi1, name, value)), codes...) }
}

// badRedemption is a token request that is refused.
func badRedemption(change func(*oidf, url.Values), codes ...string) func(o *oidf) {
	return func(o *oidf) {
		code, _ := o.boundCode(fapi1)
		v := redemption(code, "code_verifier", verifier)
		change(o, v)
		o.refused(o.call(fapi1, "/token", v, "DPoP", o.proof(fapi1, "POST", "/token", "")), codes...)
	}
}

// badAssertion authenticates at the token endpoint with another claim.
func badAssertion(name string, value any) func(o *oidf) {
	return badRedemption(func(o *oidf, v url.Values) {
		v.Set("client_assertion", o.assertion(fapi1, map[string]any{name: value}))
	}, "invalid_client", "invalid_request")
}

// assertedAtPAR authenticates with these claims when it pushes, and is refused.
func (o *oidf) assertedAtPAR(change map[string]any) {
	o.refused(o.call(fapi1, "/par", form(o.fapi(fapi1), "client_assertion", o.assertion(fapi1, change))), "invalid_client", "invalid_request")
}

// mismatched redeems with another key than the one that the request named.
func (o *oidf) mismatched(request url.Values, uri string) {
	code := o.code(o.signIn(o.byReference(fapi1, uri)), request)
	thief := fapi1
	thief.dpop = newDPoP()
	o.refused(o.redeem(thief, code), "invalid_request", "invalid_grant", "invalid_dpop_proof")
}

// boundRenewal signs in for long, renews once and returns the newest refresh token.
func (o *oidf) boundRenewal(c party) string {
	a, claims := o.bound(c, "scope", "openid offline_access", "prompt", "consent")
	if a.text("refresh_token") == "" {
		o.stop("no refresh token")
	}
	v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.text("refresh_token")}}
	b := o.tokens(o.call(c, "/token", v, "DPoP", o.proof(c, "POST", "/token", "")), "DPoP")
	_, again := o.idToken(b.text("id_token"), c, url.Values{})
	o.want(again["sub"] == claims["sub"], "sub is another after a renewal")
	o.resource(c, b, true, "DPoP", nil, nil)
	return b.text("refresh_token")
}

// proof is a DPoP proof (RFC 9449, 4.2).
func (o *oidf) proof(c party, method, path, access string) string {
	return o.proofWith(c.dpop, method, path, access, nil, nil)
}

func (o *oidf) proofWith(key *ecdsa.PrivateKey, method, path, access string, head, claims map[string]any) string {
	base := map[string]any{"jti": rand.Text(), "htm": method, "htu": o.origin + path, "iat": time.Now().Unix()}
	if access != "" {
		sum := sha256.Sum256([]byte(access))
		base["ath"] = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return signed(key, changed(map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(key)}, head), changed(base, claims))
}

func jwk(key *ecdsa.PrivateKey) map[string]any {
	public, _ := jose.JSONWebKey{Key: &key.PublicKey}.MarshalJSON()
	m := map[string]any{}
	_ = json.Unmarshal(public, &m)
	return m
}

func thumbprint(key *ecdsa.PrivateKey) string {
	sum, _ := (&jose.JSONWebKey{Key: &key.PublicKey}).Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum)
}

func claimsOf(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	return m
}

// boundProof is a sign-in with such proofs everywhere.
func (o *oidf) boundProof(c party, claims map[string]any) {
	request := o.fapi(c)
	uri := o.pushed(c, request, "DPoP", o.proofWith(c.dpop, "POST", "/par", "", nil, claims))
	v := redemption(o.code(o.signIn(o.byReference(c, uri)), request), "code_verifier", verifier)
	a := o.tokens(o.call(c, "/token", v, "DPoP", o.proofWith(c.dpop, "POST", "/token", "", nil, claims)), "DPoP")
	o.resource(c, a, true, "DPoP", nil, claims)
}

// resource calls userinfo with a changed proof, which passes or does not.
func (o *oidf) resource(c party, a answer, passes bool, scheme string, head, claims map[string]any) {
	access := a.text("access_token")
	res, body := o.do("GET", o.origin+"/userinfo", nil, "Authorization", scheme+" "+access, "DPoP", o.proofWith(c.dpop, "GET", "/userinfo", access, head, claims))
	o.answered(res, passes, "%v %v %s", head, claims, body)
}

func (o *oidf) answered(res *http.Response, passes bool, format string, args ...any) {
	ok := res.StatusCode == http.StatusOK
	if !passes {
		ok = res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusUnauthorized
	}
	o.want(ok, "userinfo: %s with "+format, append([]any{res.Status}, args...)...)
}

// badProofs are rows P01 to P27 at the userinfo endpoint, over the wire.
func (o *oidf) badProofs() {
	a, _ := o.bound(fapi1)
	access, key := a.text("access_token"), fapi1.dpop
	at := func(passes bool, what string, headers ...string) {
		res, _ := o.do("GET", o.origin+"/userinfo", nil, append([]string{"Authorization", "DPoP " + access}, headers...)...)
		o.answered(res, passes, "%s", what)
	}
	good := func() string { return o.proof(fapi1, "GET", "/userinfo", access) }
	at(true, "DPOP as the header's name", "DPOP", good())
	at(false, "two proofs", "DPoP", good(), "DPoP", good())
	at(false, "two proofs in one header", "DPoP", good()+", "+good())
	at(false, "no JWT", "DPoP", "x"+strings.ReplaceAll(good(), ".", ""))
	none := strings.Split(o.proofWith(key, "GET", "/userinfo", access, claimsOf("alg", "none"), nil), ".")
	at(false, "alg none", "DPoP", none[0]+"."+none[1]+".")
	parts := strings.Split(good(), ".")
	forged, _ := base64.RawURLEncoding.DecodeString(parts[2])
	forged = bytes.Clone(forged)
	forged[40] ^= 1
	at(false, "another signature", "DPoP", parts[0]+"."+parts[1]+"."+base64.RawURLEncoding.EncodeToString(forged))
	private := jwk(key)
	private["d"] = base64.RawURLEncoding.EncodeToString(key.D.FillBytes(make([]byte, (elliptic.P256().Params().BitSize+7)/8)))
	hour := time.Now().Add(time.Hour).Unix()
	for _, bad := range []struct{ head, claims map[string]any }{
		{head: claimsOf("typ", nil)}, {head: claimsOf("typ", "JWT")}, {head: claimsOf("alg", nil)}, {head: claimsOf("jwk", nil)}, {head: claimsOf("jwk", private)},
		{claims: claimsOf("jti", nil)}, {claims: claimsOf("htm", nil)}, {claims: claimsOf("htu", nil)}, {claims: claimsOf("iat", nil)}, {claims: claimsOf("ath", nil)},
		{claims: claimsOf("htm", "PUT")}, {claims: claimsOf("htu", o.origin+"/other")}, {claims: claimsOf("iat", hour)}, {claims: claimsOf("iat", hour-7200)},
		{claims: claimsOf("ath", base64.RawURLEncoding.EncodeToString(make([]byte, 32)))},
	} {
		o.resource(fapi1, a, false, "DPoP", bad.head, bad.claims)
	}
	thief := newDPoP()
	at(false, "another key", "DPoP", o.proofWith(thief, "GET", "/userinfo", access, nil, nil))
	host := strings.TrimPrefix(o.origin, "http://")
	for _, pass := range []struct{ head, claims map[string]any }{
		{claims: claimsOf("htu", o.origin+"/userinfo?a=b#c")}, {head: claimsOf("x", 1), claims: claimsOf("y", 1)}, {claims: claimsOf("htu", "HTTP://"+strings.ToUpper(host)+"/userinfo")},
	} {
		o.resource(fapi1, a, true, "DPoP", pass.head, pass.claims)
	}
	once := good()
	at(true, "a proof", "DPoP", once)
	at(false, "the same proof again", "DPoP", once)
	at(false, "no proof")
	res, _ := o.do("GET", o.origin+"/userinfo", nil, "Authorization", "Bearer "+access)
	o.answered(res, false, "no proof, as Bearer")
	at(true, "a proof at the end", "DPoP", good())
}

// otherProfiles are modules of the same family that this plan does not have.
var otherProfiles = []module{
	{id: "fapi2-security-profile-final-ensure-request-object-with-multiple-aud-succeeds", plan: other, not: signing},
	{id: "fapi2-security-profile-final-ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted", plan: other, not: signing},
	{id: "fapi2-security-profile-final-ensure-request-object-without-exp-fails", plan: other, not: signing},
	{id: "fapi2-security-profile-final-ensure-request-object-without-nbf-fails", plan: other, not: signing},
	{id: "fapi2-security-profile-final-ensure-expired-request-object-fails", plan: other, not: signing},
	{id: "fapi2-security-profile-final-ensure-request-object-with-bad-aud-fails", plan: other, not: signing},
	{id: "fapi2-security-profile-final-ensure-request-object-with-exp-over-60-fails", plan: other, not: signing},
	{id: "fapi2-security-profile-final-ensure-request-object-with-nbf-over-60-fails", plan: other, not: signing},
	{id: "fapi2-security-profile-final-ensure-signed-request-object-with-RS256-fails", plan: other, not: signing},
	{id: "fapi2-security-profile-final-ensure-request-object-signature-algorithm-is-not-none", plan: other, not: signing},
	{id: "fapi2-security-profile-final-ensure-request-object-with-invalid-signature-fails", plan: other, not: signing},
	{id: "fapi2-security-profile-final-ensure-matching-key-in-authorization-request", plan: other, not: signing},
	{id: "fapi2-security-profile-final-ensure-unsigned-request-at-par-endpoint-fails", plan: other, not: signing},
	{id: "fapi2-security-profile-final-par-authorization-request-containing-request_uri", plan: other, not: signing},
	{id: "fapi2-security-profile-final-ensure-registered-redirect-uri", plan: other, not: profile + ": plain_fapi has plain-fapi-tolerate-unregistered-redirect-uri in its place"},
	{id: "fapi2-security-profile-final-ensure-server-handles-non-matching-intent-id", plan: other, not: profile},
	{id: "fapi2-security-profile-final-test-essential-acr-sca-claim", plan: other, not: profile},
	{id: "fapi2-security-profile-final-australia-connectid-ensure-invalid-purpose-fails", plan: other, not: profile},
	{id: "fapi2-security-profile-final-australia-connectid-ensure-request-object-with-exp-over-10-fails", plan: other, not: profile},
	{id: "fapi2-security-profile-final-australia-connectid-ensure-request-object-with-nbf-over-15-fails", plan: other, not: profile},
	{id: "fapi2-security-profile-final-australia-connectid-test-claims-parameter-idtoken-identity-claims", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazil-ensure-bad-payment-signature-fails", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazil-dcr-bad-mtls", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazil-dcr-invalid-jwks-by-value", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazil-dcr-invalid-jwks-uri", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazil-dcr-invalid-redirect-uri", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazil-dcr-invalid-software-statement-signature", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazil-dcr-no-mtls", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazil-dcr-no-redirect-uri", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazil-dcr-no-software-statement", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazildcr-client-delete", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazildcr-happy-flow", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazildcr-happy-flow-variant", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazildcr-happy-flow-variant-2", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazildcr-invalid-registration-access-token", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazildcr-update-client-config", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazildcr-update-client-config-bad-jwks-uri", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazildcr-update-client-config-invalid-jwks-by-value", plan: other, not: profile},
	{id: "fapi2-security-profile-final-brazildcr-update-client-config-invalid-redirect-uri", plan: other, not: profile},
	{id: "fapi2-security-profile-final-client-brazildcr-happypath-test", plan: other, not: "it tests a client"},
	{id: "fapi2-security-profile-final-client-refresh-token-test", plan: other, not: "it tests a client"},
}
