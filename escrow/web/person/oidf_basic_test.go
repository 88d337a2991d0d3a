package person

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
)

const (
	noRegistration = "there is no dynamic registration: the operator registers clients"
	noFrames       = "front-channel logout and session management are not offered: both need third-party cookies"
)

var modules = slices.Concat(basicModules, registeredModules, logoutModules, tellingModules, fapiModules, otherProfiles)

// basicModules are the plans basic and config, in the order of the suite.
var basicModules = []module{
	{id: "oidcc-server", plan: basic, run: func(o *oidf) {
		_, claims := o.signedIn(client1)
		for name := range claims {
			if !slices.Contains([]string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "azp", "at_hash", "c_hash", "nbf", "jti", "sid", "s_hash", "txn"}, name) {
				o.note(warning, "the ID token has %s, which was not asked for", name)
			}
		}
	}},
	{id: "oidcc-response-type-missing", plan: basic, run: func(o *oidf) {
		request := o.request(client1, "response_type", "")
		o.authError(o.signIn(request), request, "invalid_request", "unsupported_response_type")
	}},
	{id: "oidcc-idtoken-signature", plan: basic, run: idTokenAlgorithm(client1)},
	{id: "oidcc-idtoken-unsigned", plan: basic, run: func(o *oidf) {
		if !lists(o.discovery(), "id_token_signing_alg_values_supported", "none") {
			o.skip("none is not in id_token_signing_alg_values_supported")
		}
	}},
	{id: "oidcc-userinfo-get", plan: basic, run: happy()},
	{id: "oidcc-userinfo-post-header", plan: basic, run: func(o *oidf) {
		a, claims := o.signedIn(client1)
		res, body := o.do("POST", o.origin+"/userinfo", nil, "Authorization", "Bearer "+a.text("access_token"))
		o.aboutThem(res, body, claims)
	}},
	{id: "oidcc-userinfo-post-body", plan: basic, run: func(o *oidf) {
		a, claims := o.signedIn(client1)
		res, body := o.do("POST", o.origin+"/userinfo", url.Values{"access_token": {a.text("access_token")}})
		o.aboutThem(res, body, claims)
	}},
	{id: "oidcc-ensure-request-without-nonce-succeeds-for-code-flow", plan: basic, run: func(o *oidf) {
		request := o.request(client1, append(pkce(), "nonce", "")...)
		o.code(o.signIn(request), request) // with PKCE it does
		request = o.request(client1, "nonce", "")
		if v := o.signIn(request); v.Get("code") == "" {
			o.authError(v, request, "invalid_request")
			o.fail("refused without PKCE, as RFC 9700, 2.1.1 has it; with PKCE no nonce is needed")
		}
	}},
	{id: "oidcc-scope-profile", plan: basic, run: scope("profile")},
	{id: "oidcc-scope-email", plan: basic, run: scope("email")},
	{id: "oidcc-scope-address", plan: basic, run: scope("address")},
	{id: "oidcc-scope-phone", plan: basic, run: scope("phone")},
	{id: "oidcc-scope-all", plan: basic, run: scope("address email phone profile")},
	{id: "oidcc-alternate-happy-flow", plan: basic, run: func(o *oidf) {
		request := o.request(client1, "scope", "email openid")
		var query []string // in the reverse order of the alphabet
		for _, name := range []string{"state", "scope", "response_type", "redirect_uri", "nonce", "client_id"} {
			query = append(query, name+"="+url.QueryEscape(request.Get(name)))
		}
		res, body := o.do("GET", o.origin+"/authorize?"+strings.Join(query, "&"), nil)
		a := o.tokens(o.call(client1, "/token", redemption(o.code(o.follow(res, body), request))), "Bearer")
		_, claims := o.idToken(a.text("id_token"), client1, request)
		o.userinfo(a.text("access_token"), claims)
		o.scopes("email")
	}},
	{id: "oidcc-display-page", plan: basic, run: happy("display", "page")},
	{id: "oidcc-display-popup", plan: basic, run: happy("display", "popup")},
	{id: "oidcc-prompt-login", plan: basic, run: func(o *oidf) { o.provenAgain(time.Second, "prompt", "login") }},
	{id: "oidcc-prompt-none-not-logged-in", plan: basic, run: func(o *oidf) {
		request := o.request(client1, "prompt", "none", "state", strings.Repeat("s", 128))
		v := o.signIn(request)
		o.authError(v, request, "interaction_required", "login_required", "account_selection_required", "consent_required")
		o.want(o.page == "", "a page was shown")
	}},
	{id: "oidcc-prompt-none-logged-in", plan: basic, run: func(o *oidf) {
		_, first := o.signedIn(client1)
		o.unasked(first, "prompt", "none")
	}},
	{id: "oidcc-max-age-1", plan: basic, run: func(o *oidf) {
		claims := o.provenAgain(2*time.Second, "max_age", "1")
		at, ok := claims["auth_time"].(float64)
		o.want(ok && at >= o.clock()-301, "auth_time is %v", claims["auth_time"])
	}},
	{id: "oidcc-max-age-10000", plan: basic, run: func(o *oidf) {
		_, first := o.signedIn(client1, "max_age", "15000")
		second := o.unasked(first, "max_age", "10000")
		o.want(first["auth_time"] != nil && second["auth_time"] == first["auth_time"], "auth_time is %v, then %v", first["auth_time"], second["auth_time"])
	}},
	{id: "oidcc-ensure-request-with-unknown-parameter-succeeds", plan: basic, run: happy("extra", "foobar")},
	{id: "oidcc-id-token-hint", plan: basic, run: func(o *oidf) {
		a, first := o.signedIn(client1)
		o.unasked(first, "prompt", "none", "id_token_hint", a.text("id_token"))
	}},
	{id: "oidcc-login-hint", plan: basic, run: happy("login_hint", "buffy@penname.example")},
	{id: "oidcc-ui-locales", plan: basic, run: func(o *oidf) {
		o.signedIn(client1, "ui_locales", "se")
		o.note(review, "the page is in English, whatever ui_locales names")
	}},
	{id: "oidcc-claims-locales", plan: basic, run: happy("claims_locales", "se")},
	{id: "oidcc-ensure-request-with-acr-values-succeeds", plan: basic, run: func(o *oidf) {
		supported, _ := o.discovery()["acr_values_supported"].([]any)
		var wanted []string
		for _, acr := range supported {
			wanted = append(wanted, acr.(string))
		}
		_, claims := o.signedIn(client1, "acr_values", strings.Join(wanted, " "))
		if acr, _ := claims["acr"].(string); len(wanted) == 0 || !slices.Contains(wanted, acr) {
			o.note(warning, "acr is %v of %v", claims["acr"], wanted)
		}
	}},
	{id: "oidcc-codereuse", plan: basic, run: func(o *oidf) {
		request := o.request(client1)
		code := o.code(o.signIn(request), request)
		o.tokens(o.call(client1, "/token", redemption(code)), "Bearer")
		o.refused(o.call(client1, "/token", redemption(code)), "invalid_grant")
	}},
	{id: "oidcc-codereuse-30seconds", plan: basic, run: later(func(o *oidf) { o.codeTwice(client1, 30*time.Second) })},
	{id: "oidcc-ensure-registered-redirect-uri", plan: basic, run: redirectURI(suiteBack + "/" + strings.Repeat("x", 20))},
	{id: "oidcc-ensure-post-request-succeeds", plan: basic, run: func(o *oidf) {
		request := o.request(client1)
		v := o.follow(o.navigate("POST", request))
		a := o.tokens(o.call(client1, "/token", redemption(o.code(v, request))), "Bearer")
		o.idToken(a.text("id_token"), client1, request)
	}},
	{id: "oidcc-server-client-secret-post", plan: basic, run: func(o *oidf) {
		o.want(lists(o.discovery(), "token_endpoint_auth_methods_supported", "client_secret_post"), "client_secret_post is not listed")
		o.signedIn(clientPo)
	}},
	{id: "oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported", plan: basic, run: func(o *oidf) {
		request := o.request(client1, "request_uri", "https://suite.example/request.jwt#x")
		o.authError(o.signIn(request), request, "request_uri_not_supported")
		o.skip("request_uri_not_supported, which is permitted")
	}},
	{id: "oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported", plan: basic, run: func(o *oidf) {
		request := o.request(client1)
		request.Set("request", unsigned(request))
		o.authError(o.signIn(request), request, "request_not_supported")
		o.skip("request_not_supported, which is permitted")
	}},
	{id: "oidcc-claims-essential", plan: basic, run: func(o *oidf) {
		a, claims := o.signedIn(client1, "claims", `{"userinfo":{"name":{"essential":true}}}`)
		if info := o.userinfo(a.text("access_token"), claims); info["name"] == nil {
			o.note(warning, "userinfo has no name: nobody here can tell one")
		}
		o.want(claims["name"] == nil, "the ID token has a name")
	}},
	{id: "oidcc-ensure-request-object-with-redirect-uri", plan: basic, run: func(o *oidf) {
		request := o.request(client1)
		request.Set("request", unsigned(request))
		request.Set("redirect_uri", suiteBack+"/invalid")
		res, body := o.navigate("GET", request)
		o.refusedPage(res, body, "redirect_uri")
	}},
	{id: "oidcc-refresh-token", plan: basic, run: func(o *oidf) {
		o.want(lists(o.discovery(), "grant_types_supported", "refresh_token"), "grant_types_supported lacks refresh_token")
		o.renewed(client1)
		o.refused(o.call(client1, "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {o.renewed(client2)}}), "invalid_grant")
	}},
	{id: "oidcc-ensure-request-with-valid-pkce-succeeds", plan: basic, run: func(o *oidf) {
		request := o.request(client1, pkce()...)
		a := o.tokens(o.call(client1, "/token", redemption(o.code(o.signIn(request), request), "code_verifier", verifier)), "Bearer")
		_, claims := o.idToken(a.text("id_token"), client1, request)
		o.userinfo(a.text("access_token"), claims)
	}},

	{id: "oidcc-discovery-endpoint-verification", plan: config, run: func(o *oidf) {
		doc := o.https()
		o.allHTTPS(doc)
		o.want(lists(doc, "response_types_supported", "code"), "response_types_supported lacks code")
		o.want(lists(doc, "subject_types_supported", "pairwise") || lists(doc, "subject_types_supported", "public"), "subject_types_supported")
		o.want(lists(doc, "id_token_signing_alg_values_supported", "RS256"), "id_token_signing_alg_values_supported lacks RS256")
		o.want(lists(doc, "scopes_supported", "openid"), "scopes_supported lacks openid")
		for _, name := range []string{"authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"} {
			o.want(doc[name] != nil, "%s is missing", name)
		}
		for _, name := range []string{"claims_supported", "grant_types_supported", "code_challenge_methods_supported"} {
			all, _ := doc[name].([]any)
			o.want(len(all) > 0, "%s is no list", name)
		}
		for name := range doc {
			if !slices.Contains(registeredMetadata, name) {
				o.note(warning, "the metadata have %s, which the suite does not know", name)
			}
		}
		o.publicKeys()
	}},
}

// registeredMetadata are the members that the suite's schema knows, of those that a
// provider like this one can have.
var registeredMetadata = strings.Fields(`acr_values_supported authorization_endpoint authorization_response_iss_parameter_supported
	backchannel_logout_session_supported backchannel_logout_supported claim_types_supported claims_parameter_supported claims_supported
	code_challenge_methods_supported display_values_supported dpop_signing_alg_values_supported end_session_endpoint grant_types_supported
	id_token_signing_alg_values_supported introspection_endpoint introspection_endpoint_auth_methods_supported
	introspection_endpoint_auth_signing_alg_values_supported issuer jwks_uri prompt_values_supported protected_resources
	pushed_authorization_request_endpoint request_parameter_supported request_uri_parameter_supported require_pushed_authorization_requests
	response_modes_supported response_types_supported revocation_endpoint revocation_endpoint_auth_methods_supported
	revocation_endpoint_auth_signing_alg_values_supported scopes_supported service_documentation status_list_aggregation_endpoint
	subject_types_supported tls_client_certificate_bound_access_tokens token_endpoint token_endpoint_auth_methods_supported
	token_endpoint_auth_signing_alg_values_supported ui_locales_supported userinfo_endpoint userinfo_signing_alg_values_supported`)

// happy is a sign-in with these parameters besides.
func happy(pairs ...string) func(o *oidf) {
	return func(o *oidf) { o.signedIn(client1, pairs...) }
}

// scope is a sign-in that asks for claims by scopes.
func scope(names string) func(o *oidf) {
	return func(o *oidf) {
		a, claims := o.signedIn(client1, "scope", "openid "+names)
		info := o.userinfo(a.text("access_token"), claims)
		for name, claim := range map[string]string{"profile": "preferred_username", "email": "email"} {
			o.want((info[claim] != nil) == slices.Contains(strings.Fields(names), name), "userinfo for %s: %v", names, info)
		}
		o.scopes(names)
	}
}

// scopes ends as the suite does where it would not even begin: the scope is not offered.
func (o *oidf) scopes(names string) {
	doc := o.discovery()
	for _, name := range strings.Fields(names) {
		if !lists(doc, "scopes_supported", name) {
			o.skip("scopes_supported lacks %s, and a request with it succeeds", name)
		}
	}
}

// idTokenAlgorithm: RS256, by a key that kid names.
func idTokenAlgorithm(c party) func(o *oidf) {
	return func(o *oidf) {
		request := o.request(c)
		a := o.tokens(o.call(c, "/token", redemption(o.code(o.signIn(request), request))), "Bearer")
		head, _ := o.idToken(a.text("id_token"), c, request)
		o.want(head.Algorithm == string(jose.RS256), "the ID token is signed by %s", head.Algorithm)
	}
}

// redirectURI asks with one that is not registered.
func redirectURI(uri string) func(o *oidf) {
	return func(o *oidf) {
		res, body := o.navigate("GET", o.request(client1, "redirect_uri", uri))
		o.refusedPage(res, body, "redirect_uri")
	}
}

// provenAgain signs in, and after a while once more with parameters for which the person
// has to prove who they are again.
func (o *oidf) provenAgain(after time.Duration, pairs ...string) map[string]any {
	_, first := o.signedIn(client1)
	before := o.proofs
	o.pass(after)
	_, second := o.signedIn(client1, pairs...)
	o.want(o.proofs == before+1, "the person was asked for a proof %d times", o.proofs-before)
	one, has := first["auth_time"].(float64)
	two, too := second["auth_time"].(float64)
	o.want(!has || !too || two > one, "auth_time is %v, then %v", first["auth_time"], second["auth_time"])
	o.note(review, "the page asks for a proof of identity again")
	return second
}

// unasked signs in again, at once and without a page for a proof; the token is about the
// same person and the same proof.
func (o *oidf) unasked(first map[string]any, pairs ...string) map[string]any {
	before := o.proofs
	_, second := o.signedIn(client1, pairs...)
	o.want(o.proofs == before, "the person was asked to prove who they are")
	o.want(second["sub"] == first["sub"], "sub is another")
	o.want(first["auth_time"] == nil || second["auth_time"] == nil || first["auth_time"] == second["auth_time"], "auth_time is another")
	return second
}

// codeTwice redeems a code twice, and looks whether what it gave ended.
func (o *oidf) codeTwice(c party, after time.Duration) {
	request := o.request(c)
	code := o.code(o.signIn(request), request)
	a := o.tokens(o.call(c, "/token", redemption(code)), "Bearer")
	time.Sleep(after)
	o.refused(o.call(c, "/token", redemption(code)), "invalid_grant")
	if res, _ := o.do("GET", o.origin+"/userinfo", nil, "Authorization", "Bearer "+a.text("access_token")); res.StatusCode/100 != 4 {
		o.note(warning, "the access token of a code that came twice still works")
	}
}

// renewed signs in for long, renews once and returns the newest refresh token.
func (o *oidf) renewed(c party) string {
	a, claims := o.signedIn(c, "scope", "openid offline_access", "prompt", "consent")
	if a.text("refresh_token") == "" {
		o.stop("no refresh token")
	}
	b := o.tokens(o.call(c, "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.text("refresh_token")}}), "Bearer")
	o.want(b.text("access_token") != a.text("access_token"), "the access token is the same")
	_, again := o.idToken(b.text("id_token"), c, url.Values{})
	for _, name := range []string{"iss", "sub", "aud", "azp"} { // OpenID Connect Core, 12.2
		o.want(again[name] == claims[name], "%s is another after a renewal", name)
	}
	o.userinfo(b.text("access_token"), again)
	return b.text("refresh_token")
}

// publicKeys holds the key set to what every module wants of it, and returns the kids.
func (o *oidf) publicKeys() map[any]bool {
	_, body := o.do("GET", o.origin+"/jwks", nil)
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(body), &set); err != nil || len(set.Keys) == 0 {
		o.stop("no keys: %v", err)
	}
	seen := map[any]bool{}
	for _, k := range set.Keys {
		o.want(k["kid"] != nil && !seen[k["kid"]], "a key without a kid of its own")
		seen[k["kid"]] = true
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			o.want(k[private] == nil, "a private key is published")
		}
	}
	return seen
}

// unsigned is a request object by none.
func unsigned(v url.Values) string {
	claims := map[string]any{}
	for name := range v {
		claims[name] = v.Get(name)
	}
	c, _ := json.Marshal(claims)
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(c) + "."
}

// registeredModules are of other plans, most of the plan dynamic. What they find does
// not depend on who registers the client, where they run.
var registeredModules = []module{
	{id: "oidcc-idtoken-rs256", plan: other, run: idTokenAlgorithm(clientRS)},
	{id: "oidcc-ensure-redirect-uri-in-authorization-request", plan: other, run: redirectURI("")},
	{id: "oidcc-redirect-uri-query-added", plan: other, run: redirectURI(suiteBack + "?foo=baz")},
	{id: "oidcc-redirect-uri-query-mismatch", plan: other, run: redirectURI(suiteBack + "?foo=bar2")},
	{id: "oidcc-redirect-uri-query-OK", plan: other, run: func(o *oidf) {
		request := o.request(client1, "redirect_uri", suiteQuery)
		v := o.signIn(request)
		o.want(v.Get("foo") == "bar", "the query that was registered is lost")
		a := o.tokens(o.call(client1, "/token", redemption(o.code(v, request), "redirect_uri", suiteQuery)), "Bearer")
		o.idToken(a.text("id_token"), client1, request)
	}},
	{id: "oidcc-redirect-uri-regfrag", plan: other, run: func(o *oidf) {
		p := suitePlatforms()[0]
		p.RedirectURIs = []string{suiteBack + "#foo"}
		_, err := openid.Fixed(p)
		o.want(err != nil, "a redirect URI with a fragment can be registered")
	}},
	{id: "oidcc-ensure-client-assertion-with-iss-aud-succeeds", plan: other, run: func(o *oidf) { o.signedIn(clientPK) }},
	{id: "oidcc-server-rotate-keys", plan: other, run: func(o *oidf) {
		own := newService(o.t)
		o.browser = own.browser()
		before := o.publicKeys()
		if err := own.live.SetTokenKeys(append(own.keys, tokenKeys(o.t)...)); err != nil {
			o.stop("the keys cannot be rotated: %v", err)
		}
		after := o.publicKeys()
		o.want(len(after) == len(before)+1, "no new key is published")
		for kid := range before {
			if !after[kid] {
				o.note(warning, "the old key is gone")
			}
		}
	}},

	{id: "oidcc-ensure-request-without-nonce-fails", plan: other, not: "of the implicit and the hybrid flow: response_type is code here"},
	{id: "oidcc-request-uri-unsigned", plan: other, not: "of the plan dynamic: request_uri is not supported, see oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported"},
	{id: "oidcc-request-uri-signed-rs256", plan: other, not: "of the plan dynamic: request_uri is not supported"},
	{id: "oidcc-refresh-token-rp-key-rotation", plan: other, not: noRegistration},
	{id: "oidcc-registration-jwks-uri", plan: other, not: noRegistration},
	{id: "oidcc-registration-logo-uri", plan: other, not: noRegistration},
	{id: "oidcc-registration-policy-uri", plan: other, not: noRegistration},
	{id: "oidcc-registration-tos-uri", plan: other, not: noRegistration},
	{id: "oidcc-registration-sector-bad", plan: other, not: noRegistration},
	{id: "oidcc-registration-sector-uri", plan: other, not: noRegistration},
	{id: "oidcc-userinfo-rs256", plan: other, not: "of the plan dynamic: userinfo is answered as JSON, not signed"},
	{id: "oidcc-3rd_party-init-login", plan: other, not: "of a plan of its own: nobody begins a sign-in at Penname"},
	{id: "oidcc-3rd_party-init-login-nohttps", plan: other, not: "of a plan of its own: nobody begins a sign-in at Penname"},
	{id: "oidcc-frontchannel-logout-discovery-endpoint-verification", plan: other, not: noFrames},
	{id: "oidcc-frontchannel-rp-initiated-logout", plan: other, not: noFrames},
	{id: "oidcc-session-management-discovery-endpoint-verification", plan: other, not: noFrames},
	{id: "oidcc-session-management-rp-initiated-logout", plan: other, not: noFrames},
}

// logoutModules are the plan rp-logout.
var logoutModules = []module{
	{id: "oidcc-rp-initiated-logout-discovery-endpoint-verification", plan: rpLogout, run: func(o *oidf) {
		doc := o.https()
		o.allHTTPS(doc)
		o.want(doc["end_session_endpoint"] != nil, "end_session_endpoint is missing")
	}},
	{id: "oidcc-rp-initiated-logout", plan: rpLogout, run: logsOut(nil)},
	{id: "oidcc-rp-initiated-logout-no-state", plan: rpLogout, run: logsOut([]string{"state", ""})},
	{id: "oidcc-rp-initiated-logout-bad-post-logout-redirect-uri", plan: rpLogout, run: staying("post_logout_redirect_uri", suiteLeft+"/bad")},
	{id: "oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri", plan: rpLogout, run: staying("post_logout_redirect_uri", suiteLeft+"?foo=bar")},
	{id: "oidcc-rp-initiated-logout-no-id-token-hint", plan: rpLogout, run: staying("id_token_hint", "")},
	{id: "oidcc-rp-initiated-logout-modified-id-token-hint", plan: rpLogout, run: func(o *oidf) {
		a, _ := o.signedIn(client1)
		parts := strings.Split(a.text("id_token"), ".")
		o.notLed(endSession(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."))
	}},
	{id: "oidcc-rp-initiated-logout-bad-id-token-hint", plan: rpLogout, run: func(o *oidf) {
		_, claims := o.signedIn(client1)
		o.notLed(endSession(signed(newDPoP(), map[string]any{"alg": "ES256", "kid": "suite"}, claims)))
	}},
	{id: "oidcc-rp-initiated-logout-no-params", plan: rpLogout, run: logsOut([]string{"state", "", "id_token_hint", "", "post_logout_redirect_uri", ""})},
	{id: "oidcc-rp-initiated-logout-only-state", plan: rpLogout, run: logsOut([]string{"id_token_hint", "", "post_logout_redirect_uri", ""})},
	{id: "oidcc-rp-initiated-logout-no-post-logout-redirect-uri", plan: rpLogout, run: logsOut([]string{"post_logout_redirect_uri", ""})},
}

func endSession(hint string, pairs ...string) url.Values {
	return form(url.Values{"id_token_hint": {hint}, "post_logout_redirect_uri": {suiteLeft}, "state": {strings.Repeat("s", 128)}}, pairs...)
}

// logsOut is a person who signs in, is led to the end session endpoint with these
// parameters, and signs out here too: they are led back if the platform asked for it, and
// are signed out.
func logsOut(pairs []string) func(o *oidf) {
	return func(o *oidf) {
		a, _ := o.signedIn(client1)
		o.leave(endSession(a.text("id_token"), pairs...))
		silent := o.request(client1, "prompt", "none", "state", strings.Repeat("s", 128))
		o.authError(o.signIn(silent), silent, "interaction_required", "login_required", "account_selection_required", "consent_required")
	}
}

// staying is a request to log out, changed by pairs, that leads nobody away.
func staying(pairs ...string) func(o *oidf) {
	return func(o *oidf) {
		a, _ := o.signedIn(client1)
		o.notLed(endSession(a.text("id_token"), pairs...))
	}
}

func (o *oidf) notLed(request url.Values) {
	res, body := o.do("GET", o.origin+"/logout?"+request.Encode(), nil, "Accept", "text/html")
	o.refusedPage(res, body, "id_token_hint")
}
