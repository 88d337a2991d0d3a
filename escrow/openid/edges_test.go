package openid_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
)

// A platform with one redirect URI has to send it, too.
func TestO02RedirectURIIsNeverGuessed(t *testing.T) {
	r := newRig(t)
	for _, uri := range []string{"", "http://forum.example/callback", "https://forum.example/", "https://evil.example/callback"} {
		wantPage(t, r.get("/authorize?"+r.request(r.forum, "redirect_uri", uri).Encode()), openid.ErrRedirectURI)
		wantPage(t, r.get("/authorize?"+r.request(r.forum, "redirect_uri", uri, "prompt", "x").Encode()), openid.ErrRedirectURI) // nor for an error
		pushed := r.request(r.forum, "redirect_uri", uri, "client_id", "", "client_assertion_type", assertionType, "client_assertion", r.assertion(nil))
		wantError(t, r.post("/par", pushed), 400, "invalid_request")
	}
}

// What is no access token is none at the endpoints that take one, and no code is used up
// by that.
func TestO06CodeInAnotherPlace(t *testing.T) {
	r := newRig(t)
	code := r.code(r.square)
	pushed := r.post("/par", r.request(r.square, "client_secret", secret)).json(t)["request_uri"].(string)
	session := strings.TrimPrefix(r.open(r.request(r.square)), "/authorize/")
	for name, object := range map[string]string{"code": code, "request_uri": pushed, "session": session, "ID token": r.tokens()["id_token"].(string)} {
		wantError(t, userinfo(r, object, "Bearer"), 401, "invalid_token")
		if r.active(object) {
			t.Errorf("O06/%s is active", name)
		}
		if a := r.post("/revoke", url.Values{"token": {object}, "client_id": {r.square.ID}, "client_secret": {secret}}); a.status != http.StatusOK && name != "ID token" { // RFC 7009, 2.2
			t.Errorf("O06/%s: %s", name, a.body)
		}
		if name != "request_uri" {
			wantPage(t, r.get("/authorize?"+url.Values{"client_id": {r.square.ID}, "request_uri": {"urn:ietf:params:oauth:request_uri:" + code}}.Encode()), openid.ErrRequestURI)
		}
	}
	if a := r.post("/token", r.redemption(r.square, code)); a.status != http.StatusOK {
		t.Errorf("O06: the code was used up: %s", a.body)
	}
}

// TestO13EveryEndpoint: an assertion is held to the same wherever one comes, and used up
// wherever it comes first.
func TestO13EveryEndpoint(t *testing.T) {
	r := newRig(t)
	access := r.post("/token", r.redemption(r.forum, r.code(r.forum), "client_id", "", "client_secret", "", "client_assertion_type", assertionType, "client_assertion", r.assertion(nil))).json(t)["access_token"].(string)
	asserted := func(path, assertion string, pairs ...string) answer {
		v := url.Values{"token": {access}, "grant_type": {"authorization_code"}, "code": {"x"}, "client_assertion_type": {assertionType}, "client_assertion": {assertion}}
		if path == "/par" {
			v = r.request(r.forum, "client_id", "", "client_assertion_type", assertionType, "client_assertion", assertion)
		}
		return r.post(path, form(v, pairs...))
	}
	now := time.Now()
	claims := func(change map[string]any) map[string]any {
		all := map[string]any{"iss": r.forum.ID, "sub": r.forum.ID, "aud": r.issuer, "jti": fmt.Sprint(time.Now().UnixNano()), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
		maps.Copy(all, change)
		return all
	}
	none := strings.Split(r.assertion(nil), ".")
	for _, path := range []string{"/token", "/par", "/introspect", "/revoke"} {
		for name, bad := range map[string]string{
			"wrong aud": r.assertion(map[string]any{"aud": "https://other.example"}), "this address as aud": r.assertion(map[string]any{"aud": r.issuer + path}),
			"array aud": r.assertion(map[string]any{"aud": []string{r.issuer}}), "no sub": r.assertion(map[string]any{"sub": nil}), "no jti": r.assertion(map[string]any{"jti": nil}),
			"exp past": r.assertion(map[string]any{"exp": now.Add(-2 * time.Minute).Unix()}), "nbf ahead": r.assertion(map[string]any{"nbf": now.Add(2 * time.Minute).Unix()}),
			"RS256":   signed(t, key(t, "forum-1", jose.RS256), jose.RS256, "JWT", claims(nil)),
			"HS256":   signed(t, jose.JSONWebKey{Key: []byte(secret), KeyID: "forum-1"}, jose.HS256, "JWT", claims(nil)),
			"none":    base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"forum-1"}`)) + "." + none[1] + ".",
			"cut":     none[0] + "." + none[1],
			"a proof": signed(t, key(t, "forum-1", jose.EdDSA), jose.EdDSA, "dpop+jwt", claims(nil)),
		} {
			t.Run("O13"+path+"/"+name, func(t *testing.T) { wantError(t, asserted(path, bad), 401, "invalid_client") })
		}
		t.Run("O13"+path+"/another type", func(t *testing.T) {
			wantError(t, asserted(path, r.assertion(nil), "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"), 401, "invalid_client")
			wantError(t, asserted(path, r.assertion(nil), "client_assertion_type", ""), 401, "invalid_client")
		})
		t.Run("O13"+path+"/used elsewhere", func(t *testing.T) {
			once := r.assertion(nil)
			if a := asserted("/par", once); a.status != http.StatusCreated {
				t.Fatal(a.body)
			}
			wantError(t, asserted(path, once), 401, "invalid_client")
		})
	}
}

// TestClocksAMinuteOff: a platform whose clock is up to a minute ahead or behind signs
// people in; from then on it is told so.
func TestClocksAMinuteOff(t *testing.T) {
	r := newRig(t)
	for name, skew := range map[string]time.Duration{"ahead": 55 * time.Second, "behind": -55 * time.Second, "too far ahead": 90 * time.Second} {
		at := time.Now().Add(skew)
		assertion := r.assertion(map[string]any{"iat": at.Unix(), "nbf": at.Unix(), "exp": at.Add(30 * time.Second).Unix()})
		asserted := []string{"client_id", "", "client_secret", "", "client_assertion_type", assertionType, "client_assertion", assertion}
		proof := rawProof(t, r, "POST", "/token", "", nil, map[string]any{"iat": at.Unix()})
		byAssertion, byProof := r.post("/token", r.redemption(r.forum, r.code(r.forum), asserted...)), r.post("/token", r.redemption(r.square, r.code(r.square)), "DPoP", proof)
		if name == "too far ahead" {
			wantError(t, byAssertion, 401, "invalid_client")
			wantError(t, byProof, 400, "invalid_dpop_proof")
			continue
		}
		if byAssertion.status != http.StatusOK || byProof.status != http.StatusOK {
			t.Errorf("%s: %s %s", name, byAssertion.body, byProof.body)
		}
	}
}

// TestO15RequestObjects: nothing of one counts, however it is made and wherever it comes.
func TestO15RequestObjects(t *testing.T) {
	r := newRig(t)
	now := time.Now()
	inside := map[string]any{"client_id": r.square.ID, "iss": r.square.ID, "aud": r.issuer, "redirect_uri": "https://evil.example/", "state": "inside", "scope": "openid offline_access",
		"response_type": "code", "nbf": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	object := func(change map[string]any) string {
		all := maps.Clone(inside)
		maps.Copy(all, change)
		return signed(t, r.forumKey, jose.EdDSA, "oauth-authz-req+jwt", all)
	}
	body := strings.Split(object(nil), ".")[1]
	for name, bad := range map[string]string{
		"sound": object(nil), "alg none": base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + body + ".", "bad signature": object(nil) + "AA",
		"another aud": object(map[string]any{"aud": "https://other.example"}), "exp over 60 min": object(map[string]any{"exp": now.Add(2 * time.Hour).Unix()}), "expired": object(map[string]any{"exp": now.Add(-time.Hour).Unix()}),
		"no exp": object(map[string]any{"exp": nil}), "no nbf": object(map[string]any{"nbf": nil}), "RS256": signed(t, key(t, "rsa", jose.RS256), jose.RS256, "JWT", inside),
		"other state": object(map[string]any{"state": "another"}), "no JWT": "x", "request_uri in it": object(map[string]any{"request_uri": "https://evil.example/"}),
	} {
		t.Run("O15/"+name, func(t *testing.T) {
			back := r.get("/authorize?" + r.request(r.square, "request", bad).Encode())
			wantRedirect(t, r, back, "request_not_supported")
			if v := back.redirected(t); !strings.HasPrefix(back.header.Get("Location"), r.square.RedirectURIs[0]+"?") || v.Get("state") != "state-1" {
				t.Errorf("what is inside counted: %s", back.header.Get("Location"))
			}
			wantError(t, r.post("/par", r.request(r.square, "request", bad, "client_secret", secret)), 400, "request_not_supported")
		})
	}
}

// TestO16NothingIsFetched: an address from outside is refused at the platform, if it is
// known which one that is, and nobody asks there.
func TestO16NothingIsFetched(t *testing.T) {
	r := newRig(t)
	var fetched atomic.Int64
	outside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetched.Add(1) }))
	defer outside.Close()
	for _, uri := range []string{
		outside.URL + "/request.jwt", strings.Replace(outside.URL, "127.0.0.1", "localhost", 1), "https://square.example/request.jwt#x", "http://169.254.169.254/latest/meta-data/",
		"file:///etc/passwd", "urn:ietf:params:oauth:request_uri", "URN:IETF:PARAMS:OAUTH:REQUEST_URI:x", "//x",
	} {
		wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, "request_uri", uri).Encode()), "request_uri_not_supported")
		wantPage(t, r.get("/authorize?"+url.Values{"client_id": {r.square.ID}, "request_uri": {uri}}.Encode()), openid.ErrRequestURI)
		wantError(t, r.post("/par", r.request(r.square, "request_uri", uri, "client_secret", secret)), 400, "invalid_request")
	}
	if n := fetched.Load(); n != 0 {
		t.Errorf("O16: fetched %d times", n)
	}
}

// TestO19SilentIsSilent: with prompt=none nobody sees a page, in whatever form it comes.
func TestO19SilentIsSilent(t *testing.T) {
	r := newRig(t)
	pushed := r.post("/par", r.request(r.square, "prompt", "none", "client_secret", secret)).json(t)["request_uri"].(string)
	wantRedirect(t, r, r.get("/authorize?"+url.Values{"client_id": {r.square.ID}, "request_uri": {pushed}}.Encode()), "login_required")
	posted := r.post("/authorize", r.request(r.square, "prompt", "none"))
	wantRedirect(t, r, r.get(posted.header.Get("Location")), "login_required")
	form := r.get("/authorize?" + r.request(r.square, "prompt", "none", "response_mode", "form_post").Encode())
	if !strings.Contains(form.body, `value="login_required"`) || strings.Contains(form.body, "must not be seen") {
		t.Errorf("O19: %s", form.body)
	}
	for _, prompt := range []string{"none consent", "none select_account", "login none consent", "nonE", "none,login"} {
		wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, "prompt", prompt).Encode()), "invalid_request")
	}
}

// TestO23TokenExchange: no token becomes one for somebody else.
func TestO23TokenExchange(t *testing.T) {
	r := newRig(t)
	got := r.tokens("scope", "openid offline_access")
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		a := r.post("/token", url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {got[name].(string)}, "subject_token_type": {"urn:ietf:params:oauth:token-type:" + name},
			"audience": {r.forum.ID}, "resource": {"https://forum.example/"}, "scope": {"openid"}, "client_id": {r.square.ID}, "client_secret": {secret},
		})
		wantError(t, a, 400, "unsupported_grant_type")
		wantError(t, r.post("/token", url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {got[name].(string)}, "client_id": {r.square.ID}, "client_secret": {secret}}), 400, "unsupported_grant_type")
	}
	if !r.active(got["access_token"].(string)) {
		t.Error("O23: an exchange that was refused ended the sign-in")
	}
}

// TestO25NoLengthBreaksIt: whatever the length, the answer is a sign-in or a refusal.
func TestO25NoLengthBreaksIt(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"state", "nonce", "scope", "login_hint", "claims", "ui_locales", "extra"} {
		for _, n := range []int{1, 43, 64, 128, 384, 512, 513, 4096, 7000, 8192, 9000, 70000} {
			value := strings.Repeat("x", n)
			if name == "scope" {
				value = "openid " + value
			}
			a := r.get("/authorize?" + r.request(r.square, name, value).Encode())
			long := n > 7000 // with the other parameters it is over 8 KiB
			if a.status >= 500 || !long && n != 513 && n < 513 && a.status != http.StatusOK || long && n > 8000 && a.status != http.StatusBadRequest {
				t.Errorf("O25: %s of %d: %d", name, n, a.status)
			}
		}
	}
}

// TestO30IssuerInEveryKindOfResponse: by a form, for a pushed or posted request, and in
// each error.
func TestO30IssuerInEveryKindOfResponse(t *testing.T) {
	r := newRig(t)
	pushed := r.post("/par", r.request(r.square, "client_secret", secret)).json(t)["request_uri"].(string)
	posted := r.post("/authorize", r.request(r.square)).header.Get("Location")
	twice := r.open(r.request(r.square))
	r.decide(twice, "approve")
	for name, a := range map[string]answer{
		"pushed":             r.decide(r.open(url.Values{"client_id": {r.square.ID}, "request_uri": {pushed}}), "approve"),
		"posted":             r.decide(posted, "approve"),
		"pressed twice":      r.decide(twice, "approve"),
		"PAR required":       r.get("/authorize?" + r.request(r.strict).Encode()),
		"request_uri":        r.get("/authorize?" + r.request(r.square, "request_uri", "https://x.example/").Encode()),
		"a posted fault":     r.post("/authorize", r.request(r.square, "prompt", "x")),
		"a query of its own": r.decide(r.open(r.request(r.square, "redirect_uri", r.square.RedirectURIs[1])), "deny"),
	} {
		if v := a.redirected(t); v.Get("iss") != r.issuer || v.Get("state") != "state-1" || len(v["iss"]) != 1 {
			t.Errorf("O30/%s: %v", name, v)
		}
	}
	for name, a := range map[string]answer{
		"form, code": r.decide(r.open(r.request(r.square, "response_mode", "form_post")), "approve"), "form, denied": r.decide(r.open(r.request(r.square, "response_mode", "form_post")), "deny"),
		"form, fault": r.get("/authorize?" + r.request(r.square, "response_mode", "form_post", "prompt", "x").Encode()),
	} {
		if !strings.Contains(a.body, `name="iss" value="`+r.issuer+`"`) {
			t.Errorf("O30/%s: %s", name, a.body)
		}
	}
}

// rawProof is a DPoP proof by Ed25519 of any header and claims; nil removes a member.
func rawProof(t testing.TB, r *rig, method, path, access string, head, claims map[string]any) string {
	t.Helper()
	k, ok := key(t, "d", jose.EdDSA).Key.(ed25519.PrivateKey)
	if !ok {
		t.Fatal("no Ed25519 key")
	}
	h := map[string]any{"typ": "dpop+jwt", "alg": "EdDSA", "jwk": map[string]any{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(k.Public().(ed25519.PublicKey))}}
	c := map[string]any{"jti": fmt.Sprint(time.Now().UnixNano()), "htm": method, "htu": r.issuer + path, "iat": time.Now().Unix()}
	maps.Copy(h, head)
	maps.Copy(c, claims)
	return rawJWS(t, k, h, c)
}

// rawJWS signs what no library would.
func rawJWS(t testing.TB, k ed25519.PrivateKey, head, claims map[string]any) string {
	t.Helper()
	var parts []string
	for _, m := range []map[string]any{head, claims} {
		maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
		raw, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(raw))
	}
	input := strings.Join(parts, ".")
	return input + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(k, []byte(input)))
}

// TestP03ProofsAtTokenAndPAR sends the rows of table P that are about the proof itself to
// the endpoints where no access token comes with it. Those at userinfo are
// fapi2-security-profile-final-dpop-negative-tests in escrow/web/person.
func TestP03ProofsAtTokenAndPAR(t *testing.T) {
	r := newRig(t)
	type object = map[string]any
	hour := time.Now().Add(time.Hour).Unix()
	idToken := r.tokens()["id_token"].(string)
	for _, path := range []string{"/token", "/par"} {
		send := func(proof string) answer {
			if path == "/par" {
				return r.post(path, r.request(r.square, "client_secret", secret), "DPoP", proof)
			}
			return r.post(path, r.redemption(r.square, r.code(r.square)), "DPoP", proof)
		}
		host := strings.TrimPrefix(r.issuer, "http://")
		for name, row := range map[string]struct {
			head, claims object
			pass         bool
		}{
			"P03 no typ": {head: object{"typ": nil}}, "P04 another typ": {head: object{"typ": "JWT"}}, "P05 no alg": {head: object{"alg": nil}}, "P06 none": {head: object{"alg": "none"}},
			"P07 RS256": {head: object{"alg": "RS256"}}, "P08 HS256": {head: object{"alg": "HS256"}}, "P09 no jwk": {head: object{"jwk": nil}},
			"P10 a private key": {head: object{"jwk": object{"kty": "OKP", "crv": "Ed25519", "x": strings.Repeat("A", 43), "d": strings.Repeat("A", 43)}}},
			"P11 another key":   {head: object{"jwk": object{"kty": "OKP", "crv": "Ed25519", "x": strings.Repeat("A", 43)}}},
			"P12 no jti":        {claims: object{"jti": nil}}, "P13 no htm": {claims: object{"htm": nil}}, "P13 another htm": {claims: object{"htm": "GET"}},
			"P14 no htu": {claims: object{"htu": nil}}, "P14 another htu": {claims: object{"htu": r.issuer + "/userinfo"}},
			"P15 query and fragment": {claims: object{"htu": r.issuer + path + "?a=b#c"}, pass: true}, "P16 capitals": {claims: object{"htu": "HTTP://" + strings.ToUpper(host) + path}, pass: true},
			"P17 no iat": {claims: object{"iat": nil}}, "P18 an hour ahead": {claims: object{"iat": hour}}, "P19 an hour ago": {claims: object{"iat": hour - 7200}},
			"P26 more claims":              {head: object{"x": 1}, claims: object{"y": 1, "exp": hour, "nbf": hour - 7200}, pass: true},
			"P28 a nonce that nobody gave": {claims: object{"nonce": "x"}, pass: true}, // no nonce is asked for here: a proof is good for minutes, and once
			"P30 made two minutes ahead":   {claims: object{"iat": time.Now().Add(2 * time.Minute).Unix()}},
		} {
			t.Run(name+path, func(t *testing.T) {
				a := send(rawProof(t, r, "POST", path, "", row.head, row.claims))
				if row.pass != (a.status < 300) {
					t.Errorf("%d %s", a.status, a.body)
				}
				if !row.pass {
					wantError(t, a, 400, "invalid_dpop_proof")
				}
			})
		}
		t.Run("P31"+path, func(t *testing.T) { wantError(t, send(idToken), 400, "invalid_dpop_proof") })
		t.Run("P23"+path, func(t *testing.T) {
			once := rawProof(t, r, "POST", path, "", nil, nil)
			send(once)
			wantError(t, send(once), 400, "invalid_dpop_proof")
		})
	}
}

// TestP30ProofsMadeInAdvance are good for as long as proofs are, and once; no more than
// that is needed without nonces (P28, P29).
func TestP30ProofsMadeInAdvance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLocalRig(t)
		early, late := rawProof(t, r, "POST", "/token", "", nil, nil), rawProof(t, r, "POST", "/token", "", nil, nil)
		time.Sleep(4 * time.Minute)
		if a := r.post("/token", r.redemption(r.square, r.code(r.square)), "DPoP", early); a.status != http.StatusOK {
			t.Errorf("after four minutes: %s", a.body)
		}
		time.Sleep(2*time.Minute + time.Second)
		wantError(t, r.post("/token", r.redemption(r.square, r.code(r.square)), "DPoP", late), 400, "invalid_dpop_proof")
	})
}
