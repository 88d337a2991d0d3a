package openid_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

func TestO01RedirectURIVariants(t *testing.T) {
	r := newRig(t)
	for name, uri := range map[string]string{
		"trailing slash":    "https://square.example/callback/",
		"missing slash":     "https://square.examplecallback",
		"upper-case scheme": "HTTPS://square.example/callback",
		"upper-case host":   "https://SQUARE.example/callback",
		"upper-case path":   "https://square.example/Callback",
		"%2e":               "https://square.example/%2e/callback",
		"escaped letter":    "https://square.example/c%61llback",
		"..;":               "https://square.example/..;/callback",
		"dot segments":      "https://square.example/x/../callback",
		"userinfo":          "https://square.example@evil.example/callback",
		"two @":             "https://a@square.example@evil.example/callback",
		"fragment":          "https://square.example/callback#x",
		"empty fragment":    "https://square.example/callback#",
		"query":             "https://square.example/callback?x=1",
		"empty query":       "https://square.example/callback?",
		"other query":       "https://square.example/cb?tenant=2",
		"more query":        "https://square.example/cb?tenant=1&x=1",
		"port":              "https://square.example:443/callback",
		"IDN":               "https://squаre.example/callback", // Cyrillic а
		"full stop":         "https://square。example/callback",
		"backslash":         `https://evil.example\@square.example/callback`,
		"suffix":            "https://square.example.evil.example/callback",
		"prefix":            "https://evil-square.example/callback",
		"wildcard":          "https://*.example/callback",
		"javascript":        "jAvAsCrIpT:alert(1)//https://square.example/callback",
		"data":              "data:text/html,x",
		"space":             " https://square.example/callback",
		"tab":               "https://square.example/call\tback",
		"line break":        "https://square.example/callback\r\nX: y",
		"NUL":               "https://square.example/callback\x00",
		"relative":          "//square.example/callback",
		"another platform":  r.forum.RedirectURIs[0],
		"app on any port":   "http://127.0.0.1:9999/back",
		"private scheme":    r.app.RedirectURIs[1],
		"http instead":      "http://square.example/callback",
		"missing":           "",
		"loopback instead":  "http://127.0.0.1/callback",
		"very long":         "https://square.example/callback" + strings.Repeat("/", 1000),
		"invalid utf-8":     "https://square.example/callback\xff",
		"percent":           "https://square.example/callback%",
		"semicolon":         "https://square.example/callback;x",
		"double slash path": "https://square.example//callback",
	} {
		t.Run("O01/"+name, func(t *testing.T) {
			wantPage(t, r.get("/authorize?"+r.request(r.square, "redirect_uri", uri).Encode()), openid.ErrRedirectURI)
			wantPage(t, r.post("/authorize", r.request(r.square, "redirect_uri", uri)), openid.ErrRedirectURI)
			wantError(t, r.post("/par", r.request(r.square, "redirect_uri", uri, "client_secret", secret)), 400, "invalid_request")
		})
	}
	if got := r.decide(r.open(r.request(r.square)), "approve").header.Get("Location"); !strings.HasPrefix(got, r.square.RedirectURIs[0]+"?") {
		t.Errorf("a registered URI was not used as it is: %s", got)
	}
	if back := r.decide(r.open(r.request(r.square, "redirect_uri", r.square.RedirectURIs[1])), "approve").redirected(t); back.Get("tenant") != "1" || back.Get("code") == "" {
		t.Errorf("a registered query was lost: %v", back)
	}
}

func TestO02UnregistrableRedirectURI(t *testing.T) {
	for _, uri := range []string{
		"", "http://square.example/callback", "http://localhost/callback", "https://*.example/callback", "https://square.example/#x",
		"https://u:p@square.example/", "https:///callback", "javascript:alert(1)", "https://square.example/../x", "com.example:/x", "HTTPS://square.example/",
	} {
		pl := openid.Platform{ID: "p", RedirectURIs: []string{uri}, SecretHashes: []openid.SecretHash{openid.HashSecret("s")}}
		if _, err := openid.Fixed(pl); err == nil {
			t.Errorf("O02: %q could be registered", uri)
		}
		private := uri == "com.example:/x" // RFC 8252, 7.1: an app may
		if _, err := openid.Fixed(openid.Platform{ID: "p", RedirectURIs: []string{uri}, Native: true}); (err == nil) != private {
			t.Errorf("O02: an app could register %q", uri)
		}
	}
}

func TestO03LoopbackLookAlikes(t *testing.T) {
	r := newRig(t)
	for _, uri := range []string{
		"http://127.0.0.1.evil.example/back", "http://localhost.evil.example/back", "http://localhost/back", "http://localhost:1/back",
		"http://127.0.0.1:80@evil.example/back", "http://127.0.0.1:/back", "http://127.0.0.1:0/back", "http://127.0.0.1:65536/back",
		"http://127.0.0.1:080/back", "http://127.0.0.1:9999/back/", "http://127.0.0.1:9999/other", "http://127.1:9999/back",
		"http://0x7f000001:9999/back", "http://2130706433:9999/back", "http://[::1]:9999/back", "http://[::ffff:127.0.0.1]:9999/back",
		"https://127.0.0.1:9999/back", "http://127.0.0.2:9999/back", "http://127.0.0.1:9999\\@evil.example/back", "http://127.0.0.1:+9/back",
		"http://127.0.0.1:9999/back?x", "http://127.0.0.1:9999/back#x",
	} {
		t.Run("O03/"+uri, func(t *testing.T) {
			wantPage(t, r.get("/authorize?"+r.request(r.app, "redirect_uri", uri).Encode()), openid.ErrRedirectURI)
		})
	}
	// RFC 8252, 7.3: any port for the app, to which the code then goes.
	for _, uri := range []string{"http://127.0.0.1:54321/back", "http://127.0.0.1/back", "com.example.pocket:/back"} {
		a := r.decide(r.open(r.request(r.app, "redirect_uri", uri)), "approve")
		if !strings.HasPrefix(a.header.Get("Location"), uri+"?") {
			t.Fatalf("O03 pass %s: %d %s", uri, a.status, a.header.Get("Location"))
		}
		got := r.post("/token", r.redemption(r.app, a.redirected(t).Get("code"), "redirect_uri", uri, "client_secret", ""))
		if got.status != http.StatusOK {
			t.Fatalf("O03 pass %s: %s", uri, got.body)
		}
	}
}

func TestO04CodeReuse(t *testing.T) {
	r := newRig(t)
	code := r.code(r.square, "scope", "openid offline_access")
	first := r.post("/token", r.redemption(r.square, code)).json(t)
	access, refresh := first["access_token"].(string), first["refresh_token"].(string)
	if !r.active(access) || !r.active(refresh) {
		t.Fatal("the tokens are not active")
	}
	if _, err := r.verifier(r.square, token.TypID).Verify(t.Context(), first["id_token"].(string)); err != nil {
		t.Fatal(err)
	}
	wantError(t, r.post("/token", r.redemption(r.square, code)), 400, "invalid_grant")
	if r.active(access) || r.active(refresh) {
		t.Error("the tokens of a replayed code are still active")
	}
	wantError(t, r.refresh(refresh), 400, "invalid_grant")
	if _, err := r.verifier(r.square, token.TypID).Verify(t.Context(), first["id_token"].(string)); err == nil {
		t.Error("the status list does not show the revocation")
	}
	wantError(t, r.post("/token", r.redemption(r.square, code)), 400, "invalid_grant")
}

func TestO04CodeReuseLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLocalRig(t)
		code := r.code(r.square)
		access := r.post("/token", r.redemption(r.square, code)).json(t)["access_token"].(string)
		time.Sleep(30 * time.Second)
		if !r.active(access) {
			t.Fatal("the token is not active")
		}
		wantError(t, r.post("/token", r.redemption(r.square, code)), 400, "invalid_grant")
		if r.active(access) {
			t.Error("still active")
		}
	})
}

// race sends one request many times at once and returns the answers that were 200.
func race(t *testing.T, n int, send func() answer) (won []answer) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range n {
		wg.Go(func() {
			<-start
			a := send()
			mu.Lock()
			defer mu.Unlock()
			if a.status == http.StatusOK {
				won = append(won, a)
			} else if a.status >= 500 {
				t.Errorf("race: %d %s", a.status, a.body)
			}
		})
	}
	close(start)
	wg.Wait()
	return won
}

func TestO04CodeRedeemedInParallel(t *testing.T) {
	r := newRig(t)
	for range 10 {
		code := r.code(r.square)
		won := race(t, 12, func() answer { return r.post("/token", r.redemption(r.square, code)) })
		if len(won) > 1 {
			t.Fatalf("%d of 12 redeemed one code", len(won))
		}
		for _, a := range won {
			if r.active(a.json(t)["access_token"].(string)) {
				t.Error("the winner's token survived the replay")
			}
		}
	}
}

func TestO05CodeOfAnotherClient(t *testing.T) {
	r := newRig(t)
	code := r.code(r.square)
	asForum := r.redemption(r.square, code, "client_id", "", "client_secret", "", "client_assertion_type", assertionType, "client_assertion", r.assertion(nil))
	wantError(t, r.post("/token", asForum), 400, "invalid_grant")
	wantError(t, r.post("/token", r.redemption(r.square, code)), 400, "invalid_grant") // it leaked: nobody gets it

	code = r.code(r.square)
	wantError(t, r.post("/token", r.redemption(r.square, code, "client_id", r.app.ID, "client_secret", "")), 400, "invalid_grant")
}

func TestO06OtherObjectsAsCode(t *testing.T) {
	r := newRig(t)
	tokens := r.tokens("scope", "openid offline_access")
	action := r.open(r.request(r.square))
	pushed := r.post("/par", r.request(r.square, "client_secret", secret)).json(t)["request_uri"].(string)
	grantID := tokens["refresh_token"].(string)[:43]
	for name, object := range map[string]string{
		"refresh token": tokens["refresh_token"].(string), "access token": tokens["access_token"].(string), "ID token": tokens["id_token"].(string),
		"session": strings.TrimPrefix(action, "/authorize/"), "request_uri": pushed, "PAR id": pushed[len("urn:ietf:params:oauth:request_uri:"):],
		"grant id": grantID, "empty": "", "huge": strings.Repeat("A", 60000), "NUL": "\x00", "state": "state-1",
	} {
		t.Run("O06/"+name, func(t *testing.T) {
			code := "invalid_grant"
			if object == "" {
				code = "invalid_request"
			}
			wantError(t, r.post("/token", r.redemption(r.square, object)), 400, code)
			if object == "" || object == tokens["refresh_token"] {
				return
			}
			wantError(t, r.refresh(object), 400, "invalid_grant")
		})
	}
	wantError(t, r.refresh(r.code(r.square)), 400, "invalid_grant")
	if !r.active(tokens["access_token"].(string)) {
		t.Error("a wrong code ended somebody's grant")
	}
	for _, id := range []string{grantID, strings.TrimPrefix(pushed, "urn:ietf:params:oauth:request_uri:") + "x", "..", "%00"} {
		if a := r.decide("/authorize/"+url.PathEscape(id), "approve"); strings.Contains(a.header.Get("Location"), "code=") {
			t.Errorf("O06: %q was taken for a session: %d", id, a.status)
		}
	}
}

func TestO07CodeTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLocalRig(t)
		young, old := r.code(r.square), r.code(r.square)
		time.Sleep(59 * time.Second)
		if a := r.post("/token", r.redemption(r.square, young)); a.status != http.StatusOK {
			t.Errorf("after 59 s: %s", a.body)
		}
		time.Sleep(time.Second)
		wantError(t, r.post("/token", r.redemption(r.square, old)), 400, "invalid_grant")
	})
}

func TestO08OtherRedirectURIAtToken(t *testing.T) {
	r := newRig(t)
	for _, uri := range []string{"", r.square.RedirectURIs[1], "https://square.example/callback/", "https://evil.example/"} {
		wantError(t, r.post("/token", r.redemption(r.square, r.code(r.square), "redirect_uri", uri)), 400, "invalid_grant")
	}
}

func TestO09PKCE(t *testing.T) {
	r := newRig(t)
	// RFC 9700, 2.1.1: who keeps a secret may send a nonce instead, nobody else.
	without := []string{"code_challenge", "", "code_challenge_method", ""}
	code := r.code(r.square, without...)
	wantError(t, r.post("/token", r.redemption(r.square, code)), 400, "invalid_grant") // "accepted only if a code_challenge parameter was present"
	if a := r.post("/token", r.redemption(r.square, r.code(r.square, without...), "code_verifier", "")); a.status != 200 {
		t.Errorf("pass with a nonce: %d %s", a.status, a.body)
	}
	for name, a := range map[string]answer{
		"without secret":   r.get("/authorize?" + r.request(r.app, without...).Encode()),
		"without nonce":    r.get("/authorize?" + r.request(r.square, append(without, "nonce", "")...).Encode()),
		"with DPoP, FAPI":  r.post("/par", r.request(r.strict, append(without, "client_secret", secret)...)),
		"pushed, no nonce": r.post("/par", r.request(r.square, append(without, "nonce", "", "client_secret", secret)...)),
	} {
		if says := a.body + a.header.Get("Location"); !strings.Contains(says, "invalid_request") || !strings.Contains(says, "code_challenge") {
			t.Errorf("O09/%s: %s", name, says)
		}
	}
	for name, change := range map[string][]string{
		"plain":            {"code_challenge", verifierText, "code_challenge_method", "plain"},
		"empty method":     {"code_challenge_method", ""},
		"method only":      {"code_challenge", ""},
		"unknown method":   {"code_challenge_method", "S512"},
		"lower-case":       {"code_challenge_method", "s256"},
		"short":            {"code_challenge", "abc"},
		"long":             {"code_challenge", strings.Repeat("a", 129)},
		"padded":           {"code_challenge", challenge(verifierText) + "="},
		"standard base64":  {"code_challenge", strings.Repeat("+", 43)},
		"something else":   {"code_challenge", strings.Repeat(" ", 43)},
		"verifier instead": {"code_challenge", verifierText},
	} {
		t.Run("O09/"+name, func(t *testing.T) {
			wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, change...).Encode()), "invalid_request")
			wantError(t, r.post("/par", r.request(r.square, append(change, "client_secret", secret)...)), 400, "invalid_request")
		})
	}
	for name, v := range map[string]string{
		"none": "", "other": strings.ToUpper(verifierText), "short": verifierText[:42], "long": strings.Repeat("a", 129), "challenge": challenge(verifierText),
	} {
		t.Run("O09/verifier/"+name, func(t *testing.T) {
			code := r.code(r.square)
			wantError(t, r.post("/token", r.redemption(r.square, code, "code_verifier", v)), 400, "invalid_grant")
			wantError(t, r.post("/token", r.redemption(r.square, code)), 400, "invalid_grant") // no second guess
		})
	}
}

func TestO10RefreshReuse(t *testing.T) {
	r := newRig(t)
	zero := r.tokens("scope", "openid offline_access")["refresh_token"].(string)
	one := r.refresh(zero).json(t)
	two := r.refresh(one["refresh_token"].(string)).json(t)
	if !r.active(two["access_token"].(string)) {
		t.Fatal("the second renewal is not active")
	}
	if r.active(zero) {
		t.Fatal("an old refresh token is active")
	}
	if !r.active(two["refresh_token"].(string)) {
		t.Fatal("introspecting an old refresh token ended the family")
	}
	wantError(t, r.refresh(zero), 400, "invalid_grant")
	for _, m := range []map[string]any{one, two} {
		if r.active(m["access_token"].(string)) || r.active(m["refresh_token"].(string)) {
			t.Error("a token of the family survived")
		}
		if _, err := r.verifier(r.square, token.TypID).Verify(t.Context(), m["id_token"].(string)); err == nil {
			t.Error("an ID token of the family survived")
		}
	}
	wantError(t, r.refresh(two["refresh_token"].(string)), 400, "invalid_grant")
}

func TestO10GuessedRefreshToken(t *testing.T) {
	r := newRig(t)
	got := r.tokens("scope", "openid offline_access")
	real := got["refresh_token"].(string)
	var guess [32]byte
	rand.Read(guess[:])
	g := base64.RawURLEncoding.EncodeToString(guess[:])
	// The grant's id is in the access token: it must not suffice to end the grant.
	wantError(t, r.refresh(real[:43]+g+g), 400, "invalid_grant")
	if a := r.refresh(real); a.status != http.StatusOK {
		t.Fatalf("a guess ended the family: %s", a.body)
	}
}

func TestO11RefreshInParallel(t *testing.T) {
	r := newRig(t)
	for range 10 {
		refresh := r.tokens("scope", "openid offline_access")["refresh_token"].(string)
		won := race(t, 12, func() answer { return r.refresh(refresh) })
		successors := map[any]bool{}
		for _, a := range won {
			successors[a.json(t)["refresh_token"]] = true
		}
		if len(successors) > 1 || len(won) > 2 {
			t.Fatalf("%d of 12 renewed with one refresh token, %d successors", len(won), len(successors))
		}
		for _, a := range won {
			if r.active(a.json(t)["access_token"].(string)) {
				t.Error("the winner's token survived the reuse")
			}
		}
	}
}

func TestO12RefreshByAnother(t *testing.T) {
	r := newRig(t)
	refresh := func() string { return r.tokens("scope", "openid offline_access")["refresh_token"].(string) }
	wantError(t, r.refresh(refresh(), "client_id", "", "client_secret", "", "client_assertion_type", assertionType, "client_assertion", r.assertion(nil)), 400, "invalid_grant")
	wantError(t, r.refresh(refresh(), "client_id", r.app.ID, "client_secret", ""), 400, "invalid_grant")
	// Narrowed scopes are granted, and stay within what was granted.
	plain := r.tokens()
	if plain["refresh_token"] != nil {
		t.Error("O12: a refresh token without offline_access")
	}
	for _, scope := range []string{"openid", "openid profile"} {
		a := r.refresh(refresh(), "scope", scope)
		if a.status != http.StatusOK || a.json(t)["scope"] != "openid" {
			t.Errorf("O12 pass: %s", a.body)
		}
	}
}

func TestO13ClientAssertion(t *testing.T) {
	r := newRig(t)
	redeem := func(assertion string) answer {
		return r.post("/token", r.redemption(r.forum, r.code(r.forum), "client_id", "", "client_secret", "", "client_assertion_type", assertionType, "client_assertion", assertion))
	}
	now := time.Now()
	for name, change := range map[string]map[string]any{
		"wrong aud": {"aud": "https://other.example"}, "no aud": {"aud": nil}, "PAR URL": {"aud": r.issuer + "/par"}, "token URL": {"aud": r.issuer + "/token"},
		"array aud": {"aud": []string{r.issuer}}, "two auds": {"aud": []string{r.issuer, "x"}}, "slash": {"aud": r.issuer + "/"},
		"no sub": {"sub": nil}, "iss is not sub": {"iss": r.square.ID}, "sub is not iss": {"sub": r.square.ID}, "no iss": {"iss": nil},
		"no jti": {"jti": nil}, "exp past": {"exp": now.Add(-time.Minute).Unix()}, "no exp": {"exp": nil}, "exp far": {"exp": now.Add(time.Hour).Unix()},
		"nbf ahead": {"nbf": now.Add(61 * time.Second).Unix()}, "iat ahead": {"iat": now.Add(time.Hour).Unix()},
	} {
		t.Run("O13/"+name, func(t *testing.T) { wantError(t, redeem(r.assertion(change)), 401, "invalid_client") })
	}
	t.Run("O13/replay", func(t *testing.T) {
		a := r.assertion(nil)
		if got := redeem(a); got.status != http.StatusOK {
			t.Fatalf("pass: %s", got.body)
		}
		wantError(t, redeem(a), 401, "invalid_client")
	})
	claims := map[string]any{"iss": r.forum.ID, "sub": r.forum.ID, "aud": r.issuer, "jti": "j", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	t.Run("O13/none", func(t *testing.T) {
		parts := strings.Split(r.assertion(nil), ".")
		parts[0] = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"forum-1"}`))
		wantError(t, redeem(parts[0]+"."+parts[1]+"."), 401, "invalid_client")
	})
	t.Run("O13/HS256", func(t *testing.T) {
		wantError(t, redeem(signed(t, jose.JSONWebKey{Key: []byte(secret), KeyID: "forum-1"}, jose.HS256, "JWT", claims)), 401, "invalid_client")
	})
	t.Run("O13/another key", func(t *testing.T) {
		wantError(t, redeem(signed(t, key(t, "forum-1", jose.EdDSA), jose.EdDSA, "JWT", claims)), 401, "invalid_client")
	})
	t.Run("O13/secret instead", func(t *testing.T) {
		wantError(t, r.post("/token", r.redemption(r.forum, r.code(r.forum))), 401, "invalid_client")
	})
	t.Run("O13/jti of another client", func(t *testing.T) { // is not used up by ours
		if a := redeem(r.assertion(map[string]any{"jti": "j"})); a.status != http.StatusOK {
			t.Fatal(a.body)
		}
	})
}

func TestO14TwoClientAuthMethods(t *testing.T) {
	r := newRig(t)
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(r.square.ID+":"+secret))
	code := r.code(r.square)
	wantError(t, r.post("/token", r.redemption(r.square, code), "Authorization", basic), 400, "invalid_request")
	wantError(t, r.post("/token", r.redemption(r.square, code, "client_assertion", r.assertion(nil), "client_assertion_type", assertionType)), 400, "invalid_request")
	a := r.post("/token", r.redemption(r.square, code, "client_secret", ""), "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(r.square.ID+":wrong")))
	wantError(t, a, 401, "invalid_client")
	if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
		t.Error("RFC 6749, 5.2: no WWW-Authenticate")
	}
	// Percent-encoded credentials (RFC 6749, 2.3.1), as some libraries send them.
	encoded := strings.NewReplacer("-", "%2D", "_", "%5F").Replace(r.square.ID + ":" + secret)
	if a := r.post("/token", r.redemption(r.square, code, "client_secret", ""), "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(encoded))); a.status != http.StatusOK {
		t.Errorf("O14 pass: %s", a.body)
	}
}

func TestO15RequestObject(t *testing.T) {
	r := newRig(t)
	object := signed(t, r.forumKey, jose.EdDSA, "oauth-authz-req+jwt", map[string]any{"client_id": r.square.ID})
	wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, "request", object).Encode()), "request_not_supported")
	wantError(t, r.post("/par", r.request(r.square, "request", object, "client_secret", secret)), 400, "request_not_supported")
}

func TestO16RequestURI(t *testing.T) {
	r := newRig(t)
	var fetched atomic.Int64
	outside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { fetched.Add(1) }))
	defer outside.Close()
	push := func() string {
		return r.post("/par", r.request(r.square, "client_secret", secret)).json(t)["request_uri"].(string)
	}
	at := func(client, uri string) answer {
		return r.get("/authorize?" + url.Values{"client_id": {client}, "request_uri": {uri}}.Encode())
	}
	uri := push()
	first := at(r.square.ID, uri)
	if first.status != http.StatusOK || at(r.square.ID, uri).status != http.StatusOK { // RFC 9126, 4: a reload
		t.Fatalf("O16 pass: %s", first.body)
	}
	action := "/authorize/" + strings.TrimPrefix(uri, "urn:ietf:params:oauth:request_uri:")
	if back := r.decide(action, "approve").redirected(t); back.Get("code") == "" {
		t.Fatal("no code")
	}
	wantPage(t, at(r.square.ID, uri), openid.ErrRequestURI)
	wantPage(t, r.decide(action, "deny"), openid.ErrNotFound)

	wantPage(t, at(r.app.ID, push()), openid.ErrRequestURI)
	wantPage(t, at(r.square.ID, "urn:ietf:params:oauth:request_uri:unknown"), openid.ErrRequestURI)
	wantPage(t, at(r.square.ID, outside.URL+"/request.jwt"), openid.ErrRequestURI)
	if fetched.Load() != 0 {
		t.Error("fetched")
	}
	wantError(t, r.post("/par", r.request(r.square, "client_secret", secret, "request_uri", uri)), 400, "invalid_request")
	wantError(t, r.post("/par", r.request(r.square, "client_secret", "wrong")), 401, "invalid_client")

	// A pushed request that was never opened is not an interaction.
	unopened := push()
	if a := r.decide("/authorize/"+strings.TrimPrefix(unopened, "urn:ietf:params:oauth:request_uri:"), "approve"); a.header.Get("Location") != "" {
		t.Error("O16: an interaction began without the browser's request")
	}
}

func TestO16RequestURIExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLocalRig(t)
		pushed := r.post("/par", r.request(r.square, "client_secret", secret)).json(t)
		if pushed["expires_in"].(float64) != 90 {
			t.Fatalf("%v", pushed)
		}
		time.Sleep(90 * time.Second)
		wantPage(t, r.get("/authorize?"+url.Values{"client_id": {r.square.ID}, "request_uri": {pushed["request_uri"].(string)}}.Encode()), openid.ErrRequestURI)

		action := r.open(r.request(r.square))
		time.Sleep(30 * time.Minute)
		wantPage(t, r.decide(action, "approve"), openid.ErrNotFound)
	})
}

// What the browser adds to a pushed request changes nothing.
func TestO16PushedParametersAlone(t *testing.T) {
	r := newRig(t)
	pushed := r.post("/par", r.request(r.square, "client_secret", secret, "nonce", "")).json(t)["request_uri"].(string)
	outer := r.request(r.square, "request_uri", pushed, "redirect_uri", r.square.RedirectURIs[1], "state", "evil", "nonce", "evil", "scope", "openid offline_access")
	back := r.decide(r.open(outer), "approve")
	if v := back.redirected(t); !strings.HasPrefix(back.header.Get("Location"), r.square.RedirectURIs[0]+"?") || v.Get("state") != "state-1" {
		t.Fatalf("%s", back.header.Get("Location"))
	}
	got := r.post("/token", r.redemption(r.square, back.redirected(t).Get("code"))).json(t)
	verified, err := r.verifier(r.square, token.TypID).Verify(t.Context(), got["id_token"].(string))
	if err != nil || verified.Nonce != "" || got["refresh_token"] != nil {
		t.Fatalf("%v %v", got, err)
	}
}

func TestO17PushRequired(t *testing.T) {
	r := newRig(t)
	wantRedirect(t, r, r.get("/authorize?"+r.request(r.strict).Encode()), "invalid_request")
	wantRedirect(t, r, r.post("/authorize", r.request(r.strict)), "invalid_request")
}

func TestO18ResponseType(t *testing.T) {
	r := newRig(t)
	for _, typ := range []string{"token", "id_token", "code id_token", "code token", "id_token token", "none", "CODE", "code code"} {
		wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, "response_type", typ).Encode()), "unsupported_response_type")
		wantError(t, r.post("/par", r.request(r.square, "response_type", typ, "client_secret", secret)), 400, "unsupported_response_type")
	}
	wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, "response_type", "").Encode()), "invalid_request")
	for _, mode := range []string{"fragment", "query.jwt", "web_message", "json"} {
		wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, "response_mode", mode).Encode()), "invalid_request")
	}
	for _, scope := range []string{"", "profile", "offline_access", "OpenID"} {
		wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, "scope", scope).Encode()), "invalid_scope")
	}
	// OpenID Connect Core, 3.1.2.1: what is not understood is ignored, and the granted is told.
	if got := r.tokens("scope", "openid profile email address phone offline_access x"); got["scope"] != "openid offline_access" {
		t.Errorf("granted: %v", got["scope"])
	}
}

func TestO19Prompt(t *testing.T) {
	r := newRig(t)
	for _, prompt := range []string{"none login", "login none", "create", "none none", "NONE"} {
		wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, "prompt", prompt).Encode()), "invalid_request")
	}
	a := r.get("/authorize?" + r.request(r.square, "prompt", "none").Encode())
	wantRedirect(t, r, a, "login_required")
	if strings.Contains(a.body, "must not be seen") {
		t.Error("a page was shown")
	}
	r.instant = true
	if back := r.get("/authorize?" + r.request(r.square, "prompt", "none").Encode()).redirected(t); back.Get("code") == "" {
		t.Errorf("O19 pass: %v", back)
	}
	r.instant = false
	r.open(r.request(r.square, "prompt", "login consent"))
	if !r.lastAsk.Fresh || r.lastAsk.Silent {
		t.Errorf("%+v", r.lastAsk)
	}
	r.proven = time.Now()
	got := r.tokens("max_age", "0")
	claims := payload(t, got["id_token"].(string))
	if r.lastAsk.Since.IsZero() || claims["auth_time"] == nil {
		t.Errorf("max_age: %+v %v", r.lastAsk, claims)
	}
	wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, "max_age", "-1").Encode()), "invalid_request")
}

func TestO20IDTokenHint(t *testing.T) {
	r := newRig(t)
	hint := r.tokens()["id_token"].(string)
	if back := r.decide(r.open(r.request(r.square, "id_token_hint", hint)), "approve").redirected(t); back.Get("code") == "" {
		t.Fatalf("O20 pass: %v", back)
	}
	wantRedirect(t, r, r.decide(r.open(r.request(r.square, "id_token_hint", hint)), "approve", "Cookie", "person=somebody-else"), "login_required")
	parts := strings.Split(hint, ".")
	claims := payload(t, hint)
	claims["sub"] = string(pseudonym("victim", r.square.ID))
	other := signed(t, key(t, "k1", jose.EdDSA), jose.EdDSA, "JWT", claims)
	for name, bad := range map[string]string{
		"modified":     parts[0] + "." + strings.Split(other, ".")[1] + "." + parts[2],
		"another key":  other,
		"none":         base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".",
		"another aud":  r.post("/token", r.redemption(r.app, r.code(r.app), "client_secret", "")).json(t)["id_token"].(string),
		"not a token":  "x",
		"access token": r.tokens()["access_token"].(string),
		"empty claims": parts[0] + ".e30." + parts[2],
	} {
		t.Run("O20/"+name, func(t *testing.T) {
			wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, "id_token_hint", bad).Encode()), "invalid_request")
			wantError(t, r.post("/par", r.request(r.square, "id_token_hint", bad, "client_secret", secret)), 400, "invalid_request")
		})
	}
}

func TestO21OtherGrants(t *testing.T) {
	r := newRig(t)
	for _, typ := range []string{
		"password", "client_credentials", "implicit", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:jwt-bearer",
		"urn:ietf:params:oauth:grant-type:device_code", "urn:openid:params:grant-type:ciba", "urn:ietf:params:oauth:grant-type:pre-authorized_code", "",
	} {
		a := r.post("/token", form(url.Values{}, "grant_type", typ, "username", "jo", "password", "x", "client_id", r.square.ID, "client_secret", secret))
		wantError(t, a, 400, "unsupported_grant_type")
	}
}

func TestO22IntrospectionByAnother(t *testing.T) {
	r := newRig(t)
	got := r.tokens("scope", "openid offline_access")
	for _, name := range []string{"access_token", "refresh_token"} {
		a := r.post("/introspect", url.Values{"token": {got[name].(string)}, "client_assertion_type": {assertionType}, "client_assertion": {r.assertion(nil)}})
		if m := a.json(t); a.status != http.StatusOK || len(m) != 1 || m["active"] != false {
			t.Errorf("O22 %s: %d %s", name, a.status, a.body)
		}
	}
	for _, bad := range []string{"x", "a.b.c", got["id_token"].(string), got["access_token"].(string) + "A"} {
		if r.active(bad) {
			t.Errorf("O22: active: %s", bad)
		}
	}
	wantError(t, r.post("/introspect", url.Values{"token": {got["access_token"].(string)}}), 401, "invalid_client")
	wantError(t, r.post("/introspect", url.Values{"token": {got["access_token"].(string)}, "client_id": {r.square.ID}, "client_secret": {"wrong"}}), 401, "invalid_client")
	// An app has no secret to keep, so anybody could ask in its name.
	own := r.post("/token", r.redemption(r.app, r.code(r.app), "client_secret", "")).json(t)["access_token"].(string)
	if a := r.post("/introspect", url.Values{"token": {own}, "client_id": {r.app.ID}}); a.json(t)["active"] != false {
		t.Errorf("O22: %s", a.body)
	}
	m := r.post("/introspect", url.Values{"token": {got["access_token"].(string)}, "client_id": {r.square.ID}, "client_secret": {secret}}).json(t)
	if m["active"] != true || m["sub"] != string(pseudonym(canary, r.square.ID)) || m["client_id"] != r.square.ID || m["grant_id"] != nil {
		t.Errorf("O22 pass: %v", m)
	}
	// Another platform cannot revoke either, and learns nothing.
	a := r.post("/revoke", url.Values{"token": {got["access_token"].(string)}, "client_id": {r.app.ID}})
	wantError(t, a, 400, "unauthorized_client")
	if !r.active(got["access_token"].(string)) {
		t.Error("O22: revoked by another")
	}
}

func TestO24NoRegistration(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/register", "/register/town-square", "/logout", "/end_session", "/device_authorization", "/bc-authorize", "/federation/register", "/.well-known/openid-federation", "/ssf/stream", "/status/64", "/status/00", "/status/-1", "/status/x", "/"} {
		if a := r.get(path); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
		if a := r.post(path, url.Values{"redirect_uris": {"https://evil.example/"}}); a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, a.status)
		}
	}
	doc := r.get("/.well-known/openid-configuration").json(t)
	for _, name := range []string{"registration_endpoint", "end_session_endpoint", "device_authorization_endpoint"} {
		if doc[name] != nil {
			t.Errorf("%s is announced", name)
		}
	}
	for name, want := range map[string]any{
		"issuer": r.issuer, "request_uri_parameter_supported": false, "request_parameter_supported": false, "claims_parameter_supported": false,
		"authorization_response_iss_parameter_supported": true, "pushed_authorization_request_endpoint": r.issuer + "/par",
	} {
		if doc[name] != want {
			t.Errorf("%s: %v", name, doc[name])
		}
	}
	for name, want := range map[string][]any{
		"code_challenge_methods_supported": {"S256"}, "response_types_supported": {"code"}, "response_modes_supported": {"query", "form_post"},
		"subject_types_supported": {"pairwise"}, "id_token_signing_alg_values_supported": {"EdDSA", "RS256"}, "dpop_signing_alg_values_supported": {"EdDSA", "ES256"},
	} {
		got := doc[name].([]any)
		for _, w := range want {
			if len(got) != len(want) || !slices.Contains(got, w) {
				t.Errorf("%s: %v", name, got)
			}
		}
	}
}

func TestO25LongValues(t *testing.T) {
	r := newRig(t)
	state := strings.Repeat("s", 4000)
	if back := r.decide(r.open(r.request(r.square, "state", state)), "approve").redirected(t); back.Get("state") != state || back.Get("code") == "" {
		t.Error("O25: a long state is not echoed")
	}
	nonce := strings.Repeat("n", 64)
	if claims := payload(t, r.tokens("nonce", nonce)["id_token"].(string)); claims["nonce"] != nonce {
		t.Error("O25: a nonce of 64 characters is not echoed")
	}
	wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, "nonce", strings.Repeat("n", 5000)).Encode()), "invalid_request")
	wantPage(t, r.get("/authorize?"+r.request(r.square, "nonce", strings.Repeat("n", 20000)).Encode()), openid.ErrRequest)
	wantPage(t, r.post("/authorize", r.request(r.square, "nonce", strings.Repeat("n", 20000))), openid.ErrRequest)
	for _, path := range []string{"/token", "/par", "/introspect", "/revoke"} {
		wantError(t, r.post(path, url.Values{"token": {strings.Repeat("x", 1<<20)}}), 400, "invalid_request")
		wantError(t, r.post(path, url.Values{"client_id": {"a", "a"}, "client_secret": {secret}}), 400, "invalid_request")
		wantError(t, r.post(path+"?client_secret=x", url.Values{"client_id": {r.square.ID}}), 400, "invalid_request")
	}
	twice := r.request(r.square)
	twice.Add("state", "two")
	wantRedirect(t, r, r.get("/authorize?"+twice.Encode()), "invalid_request")
	for _, name := range []string{"client_id", "redirect_uri"} { // it cannot be told whose request it is
		twice := r.request(r.square)
		twice.Add(name, "two")
		wantPage(t, r.get("/authorize?"+twice.Encode()), openid.ErrRequest)
	}
	wantPage(t, r.get("/authorize?client_id=%zz"), openid.ErrRequest)
	wantPage(t, r.get("/authorize?"+r.request(r.square, "client_id", "").Encode()), openid.ErrNoClientID)
	for _, id := range []string{"nobody", "' OR 1=1 --", "../x", strings.Repeat("x", 2000), "town-square\x00"} {
		wantPage(t, r.get("/authorize?"+r.request(r.square, "client_id", id).Encode()), openid.ErrUnknownPlatform)
	}
}

func TestO26Headers(t *testing.T) {
	r := newRig(t)
	page := r.get("/authorize?" + r.request(r.square).Encode())
	for name, want := range map[string]string{"X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"} {
		if page.header.Get(name) != want {
			t.Errorf("O26 %s: %q", name, page.header.Get(name))
		}
	}
	if !strings.Contains(page.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") || !strings.Contains(page.header.Get("Cache-Control"), "no-store") {
		t.Errorf("O26: %v", page.header)
	}
	if page.header.Get("Set-Cookie") != "page=1" {
		t.Error("the page's own headers were lost")
	}
	// RFC 9700, 4.12: 303, so that the browser does not post what the person typed to the platform.
	if a := r.decide(r.open(r.request(r.square)), "approve"); a.status != http.StatusSeeOther || a.header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("O26: %d", a.status)
	}
	// The policy of the server around it is kept.
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Security-Policy", "default-src 'self'")
	rec.Header().Set("Set-Cookie", "outer=1")
	r.provider.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/authorize?"+r.request(r.square).Encode(), nil))
	if got := rec.Header().Get("Content-Security-Policy"); got != "default-src 'self'" {
		t.Errorf("O26: the server's policy became %q", got)
	}
	if got := rec.Header().Values("Set-Cookie"); !slices.Equal(got, []string{"outer=1", "page=1"}) {
		t.Errorf("cookies: %q", got)
	}
	req, err := http.NewRequest(http.MethodGet, r.issuer+"/authorize?"+r.request(r.square).Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://evil.example")
	if a := r.do(req); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("RFC 9700, 2.6: CORS at the authorization endpoint")
	}
}

func TestO27NoRequestDataInErrors(t *testing.T) {
	r := newRig(t)
	const script = `"><script>alert(1)</script>`
	for _, params := range []url.Values{
		r.request(r.square, "client_id", script), r.request(r.square, "redirect_uri", "https://x/"+script), r.request(r.square, "request_uri", script, "redirect_uri", ""),
		r.request(r.square, "error_hint", script, "redirect_uri", ""),
	} {
		a := r.get("/authorize?" + params.Encode())
		if a.status < 400 || strings.Contains(a.body, "script") || a.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("O27: %d %s", a.status, a.body)
		}
	}
	for _, pairs := range [][]string{{"scope", script}, {"prompt", script}, {"response_type", script}, {"code_challenge", script}, {"id_token_hint", script}, {"request_uri", script}} {
		if v := r.get("/authorize?" + r.request(r.square, pairs...).Encode()).redirected(t); strings.Contains(v.Get("error")+v.Get("error_description"), "script") {
			t.Errorf("O27: %v", v)
		}
	}
}

func TestO30IssuerInEveryResponse(t *testing.T) {
	r := newRig(t)
	for name, a := range map[string]answer{
		"code":    r.decide(r.open(r.request(r.square)), "approve"),
		"denied":  r.decide(r.open(r.request(r.square)), "deny"),
		"ours":    r.get("/authorize?" + r.request(r.square, "scope", "x").Encode()),
		"library": r.get("/authorize?" + r.request(r.square, "prompt", "none").Encode()),
	} {
		if v := a.redirected(t); v.Get("iss") != r.issuer || v.Get("state") != "state-1" {
			t.Errorf("O30 %s: %v", name, v)
		}
	}
	wantRedirect(t, r, r.decide(r.open(r.request(r.square)), "deny"), "access_denied")
}

func TestT50Deactivated(t *testing.T) {
	t.Run("T50/subject", func(t *testing.T) {
		r := newRig(t)
		got, code := r.tokens("scope", "openid offline_access"), r.code(r.square)
		neighbour := r.post("/token", r.redemption(r.square, r.decide(r.open(r.request(r.square)), "approve", "Cookie", "person=neighbour").redirected(t).Get("code"))).json(t)
		inactive := func() {
			t.Helper()
			wantError(t, r.refresh(got["refresh_token"].(string)), 400, "invalid_grant")
			wantError(t, r.post("/token", r.redemption(r.square, code)), 400, "invalid_grant")
			wantError(t, userinfo(r, got["access_token"].(string), "Bearer"), 401, "invalid_token")
			for _, name := range []string{"access_token", "refresh_token"} {
				if r.active(got[name].(string)) {
					t.Error("the " + name + " is active")
				}
			}
			if _, err := r.verifier(r.square, token.TypID).Verify(t.Context(), got["id_token"].(string)); refusal.Of(err) == nil || refusal.Of(err).Code != token.ErrInactive.Code {
				t.Errorf("the status list does not show it: %v", err)
			}
		}
		if !r.active(got["refresh_token"].(string)) {
			t.Fatal("control: not active before")
		}
		if err := r.provider.End(t.Context(), pseudonym(canary, r.square.ID)); err != nil {
			t.Fatal(err)
		}
		inactive()
		if _, err := r.verifier(r.square, token.TypID).Verify(t.Context(), neighbour["id_token"].(string)); err != nil || !r.active(neighbour["access_token"].(string)) {
			t.Errorf("somebody else's sign-in ended: %v", err)
		}
		// Whoever comes back has the same pen name, and nothing of before.
		if again := r.tokens("scope", "openid offline_access"); !r.active(again["refresh_token"].(string)) {
			t.Error("cannot come back")
		}
		inactive()
	})
	// A sign-in that the end overtakes: it was answered before, and is stored after.
	t.Run("T50/subject, meanwhile", func(t *testing.T) {
		r := newRig(t)
		r.confirm = func(context.Context) error { return openid.ErrNotFound }
		a := r.decide(r.open(r.request(r.square)), "approve")
		if a.status != http.StatusBadRequest || !strings.Contains(a.body, openid.ErrNotFound.Code) || a.header.Get("Location") != "" {
			t.Errorf("signed in: %d %s %s", a.status, a.header.Get("Location"), a.body)
		}
		if dump := r.memory.Dump(); !bytes.Contains(dump, []byte("grant ")) || bytes.Contains(dump, []byte("pen1")) {
			t.Errorf("the grant was not stored and ended:\n%s", dump)
		}
	})
	t.Run("T50/the store fails", func(t *testing.T) {
		f := &flaky{}
		r := newRig(t, func(r *rig) { f.Store = r.memory; r.store = f })
		r.tokens("scope", "openid offline_access")
		f.countdown = 1
		if err := r.provider.End(t.Context(), pseudonym(canary, r.square.ID)); !errors.Is(err, errDown) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("T50/platform", func(t *testing.T) {
		r := newRig(t)
		got := r.tokens("scope", "openid offline_access")
		code := r.code(r.square)
		action := r.open(r.request(r.square))
		r.takeAway(r.square.ID)
		wantError(t, r.refresh(got["refresh_token"].(string)), 401, "invalid_client")
		wantError(t, r.post("/token", r.redemption(r.square, code)), 401, "invalid_client")
		if a := r.decide(action, "approve"); a.header.Get("Location") != "" {
			t.Error("signed in to a platform that is gone")
		}
		wantError(t, userinfo(r, got["access_token"].(string), "Bearer"), 401, "invalid_token")
	})
}

func TestT52DoubleAllocation(t *testing.T) {
	// A store whose status entries are all taken: nothing may be issued.
	r := newRig(t, func(r *rig) { r.store = full{r.store} })
	wantError(t, r.post("/token", r.redemption(r.square, r.code(r.square))), 503, "temporarily_unavailable")
}

// TestListsGrowWithTheLoad: once half of the entries are taken, tokens are spread over
// one list more, on this node; every list of another node's tokens is served.
func TestListsGrowWithTheLoad(t *testing.T) {
	taken := &crowded{lists: 3}
	r := newRig(t, func(r *rig) { taken.Store = r.store; r.store = taken })
	uris := map[string]bool{}
	for range 10 {
		claims := payload(t, r.tokens()["id_token"].(string))
		uris[claims["status"].(map[string]any)["status_list"].(map[string]any)["uri"].(string)] = true
	}
	for _, full := range []string{"/status/0", "/status/1", "/status/2"} {
		if len(uris) == 0 || uris[r.issuer+full] {
			t.Errorf("with three lists full, tokens are in %v", uris)
		}
	}
	for list, want := range map[string]int{"0": http.StatusOK, "3": http.StatusOK, "63": http.StatusOK, "64": http.StatusNotFound} {
		if a := r.get("/status/" + list); a.status != want {
			t.Errorf("list %s: %d", list, a.status)
		}
	}
}

// crowded is a store whose first lists are full.
type crowded struct {
	openid.Store
	lists int
}

func (c *crowded) Put(ctx context.Context, row openid.Row) error {
	if slices.ContainsFunc(row.Entries, func(e openid.Entry) bool { return e.List < c.lists }) {
		return openid.ErrTaken
	}
	return c.Store.Put(ctx, row)
}

// full is a store without a free status entry.
type full struct{ openid.Store }

func (f full) Put(ctx context.Context, row openid.Row) error {
	if len(row.Entries) > 0 {
		return openid.ErrTaken
	}
	return f.Store.Put(ctx, row)
}

func TestN03StatusIndexesAreScattered(t *testing.T) {
	r := newRig(t)
	seen, rising := map[float64]bool{}, 0
	last := -1.0
	const n = 40
	for range n {
		claims := payload(t, r.tokens()["id_token"].(string))
		idx := claims["status"].(map[string]any)["status_list"].(map[string]any)["idx"].(float64)
		if seen[idx] {
			t.Fatalf("index %v twice", idx)
		}
		if seen[idx] = true; idx > last {
			rising++
		}
		last = idx
	}
	if rising < n/10 || rising > n-n/10 {
		t.Errorf("%d of %d indexes rise: they follow the time", rising, n)
	}
}

func TestT53KeyNotInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		retired, current, next := key(t, "retired", jose.EdDSA), key(t, "current", jose.EdDSA), key(t, "next", jose.EdDSA)
		r := newLocalRig(t, func(r *rig) {
			r.cfg.Keys = []openid.Key{
				{JWK: next, NotBefore: begin.Add(2 * time.Hour)},
				{JWK: retired, NotAfter: begin.Add(time.Hour)},
				{JWK: current, NotBefore: begin.Add(time.Hour), NotAfter: begin.Add(3 * time.Hour)},
			}
		})
		kid := func(raw string) any {
			head, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[0])
			if err != nil {
				t.Fatal(err)
			}
			return answer{body: string(head)}.json(t)["kid"]
		}
		old := r.tokens("scope", "openid offline_access")
		if kid(old["id_token"].(string)) != "retired" || kid(old["access_token"].(string)) != "retired" {
			t.Fatal("the key in force did not sign")
		}
		if n := len(r.get("/jwks").json(t)["keys"].([]any)); n != 3 {
			t.Errorf("%d keys are published", n)
		}
		forge := func(k jose.JSONWebKey) string {
			claims := payload(t, old["access_token"].(string))
			claims["iat"], claims["exp"] = time.Now().Unix(), time.Now().Add(5*time.Minute).Unix()
			return signed(t, k, jose.EdDSA, "at+jwt", claims)
		}
		time.Sleep(5 * time.Minute)
		refuse := func(name string, k jose.JSONWebKey) {
			t.Helper()
			raw := forge(k)
			if r.active(raw) {
				t.Errorf("T53: active although signed by the %s key", name)
			}
			wantError(t, userinfo(r, raw, "Bearer"), 401, "invalid_token")
			if _, err := r.verifier(r.square, token.TypAccess).Verify(t.Context(), raw); refusal.Of(err) == nil || refusal.Of(err).Code != token.ErrKeyNotValidAt.Code {
				t.Errorf("T53: the verifier says %v", err)
			}
		}
		refuse("next", next)
		if raw := forge(retired); !r.active(raw) {
			t.Fatal("T53 pass: the key in force is refused")
		}
		time.Sleep(56 * time.Minute)
		refuse("retired", retired)
		renewed := r.refresh(old["refresh_token"].(string)).json(t)
		if kid(renewed["id_token"].(string)) != "current" {
			t.Error("the keys did not rotate")
		}
		if _, err := r.verifier(r.square, token.TypID).Verify(t.Context(), renewed["id_token"].(string)); err != nil {
			t.Error(err)
		}
		time.Sleep(25 * time.Hour)
		if body := r.get("/jwks").body; strings.Contains(body, "retired") || strings.Contains(body, `"d"`) {
			t.Errorf("published: %s", body)
		}
	})
}

// payload reads a token's claims without verifying them.
func payload(t testing.TB, raw string) map[string]any {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return answer{body: string(b)}.json(t)
}

func userinfo(r *rig, access, scheme string, headers ...string) answer {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodGet, r.issuer+"/userinfo", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", scheme+" "+access)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return r.do(req)
}

// The rows on proofs of possession are verifier/token's; these are the ones that
// depend on the provider.
func TestProofs(t *testing.T) {
	r := newRig(t)
	for _, alg := range []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256} {
		k, other := key(t, "d", alg), key(t, "e", alg)
		proof := func(k jose.JSONWebKey, method, path, access string) string {
			p, err := token.SignDPoP(k, method, r.issuer+path, access, "", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		signIn := func(headers ...string) answer {
			return r.post("/token", r.redemption(r.square, r.code(r.square)), headers...)
		}
		got := signIn("DPoP", proof(k, "POST", "/token", "")).json(t)
		access := got["access_token"].(string)
		v, err := r.verifier(r.square, token.TypAccess).Verify(t.Context(), access)
		if err != nil || got["token_type"] != "DPoP" || v.JKT == "" {
			t.Fatalf("%v %v", got, err)
		}
		p := proof(k, "GET", "/userinfo", access)
		if a := userinfo(r, access, "DPoP", "DPoP", p); a.status != http.StatusOK {
			t.Fatalf("pass: %s", a.body)
		}
		name := "/" + string(alg)
		t.Run("P01"+name, func(t *testing.T) {
			wantError(t, signIn("DPoP", proof(k, "POST", "/token", ""), "DPoP", proof(k, "POST", "/token", "")), 400, "invalid_dpop_proof")
		})
		t.Run("P02"+name, func(t *testing.T) { wantError(t, signIn("DPoP", "x"), 400, "invalid_dpop_proof") })
		t.Run("P13"+name, func(t *testing.T) {
			wantError(t, signIn("DPoP", proof(k, "GET", "/token", "")), 400, "invalid_dpop_proof")
		})
		t.Run("P14"+name, func(t *testing.T) {
			wantError(t, signIn("DPoP", proof(k, "POST", "/par", "")), 400, "invalid_dpop_proof")
		})
		t.Run("P19"+name, func(t *testing.T) {
			old, err := token.SignDPoP(k, "POST", r.issuer+"/token", "", "", time.Now().Add(-time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			wantError(t, signIn("DPoP", old), 400, "invalid_dpop_proof")
		})
		t.Run("P21"+name, func(t *testing.T) {
			a := userinfo(r, access, "DPoP", "DPoP", proof(k, "GET", "/userinfo", access+"x"))
			wantError(t, a, 401, "invalid_dpop_proof")
			if !strings.Contains(strings.Join(a.header.Values("WWW-Authenticate"), " "), "DPoP algs=") {
				t.Error("RFC 9449, 7.1: no challenge")
			}
		})
		t.Run("P22"+name, func(t *testing.T) {
			wantError(t, userinfo(r, access, "DPoP", "DPoP", proof(other, "GET", "/userinfo", access)), 401, "invalid_dpop_proof")
		})
		t.Run("P23"+name, func(t *testing.T) { wantError(t, userinfo(r, access, "DPoP", "DPoP", p), 401, "invalid_dpop_proof") })
		t.Run("P24"+name, func(t *testing.T) { wantError(t, userinfo(r, access, "DPoP"), 401, "invalid_dpop_proof") })
		t.Run("P25"+name, func(t *testing.T) {
			wantError(t, userinfo(r, access, "Bearer"), 401, "invalid_token")
			wantError(t, userinfo(r, access, "Bearer", "DPoP", proof(k, "GET", "/userinfo", access)), 401, "invalid_token")
			bearer := r.tokens()["access_token"].(string)
			wantError(t, userinfo(r, bearer, "DPoP", "DPoP", proof(k, "GET", "/userinfo", bearer)), 401, "invalid_token")
		})
		t.Run("P32"+name, func(t *testing.T) {
			code := r.code(r.square, "dpop_jkt", v.JKT)
			wantError(t, r.post("/token", r.redemption(r.square, code), "DPoP", proof(other, "POST", "/token", "")), 400, "invalid_dpop_proof")
			code = r.code(r.square, "dpop_jkt", v.JKT)
			if a := r.post("/token", r.redemption(r.square, code), "DPoP", proof(k, "POST", "/token", "")); a.status != http.StatusOK {
				t.Error(a.body)
			}
			code = r.code(r.square, "dpop_jkt", v.JKT)
			wantError(t, r.post("/token", r.redemption(r.square, code)), 400, "invalid_request")
		})
		// A platform that must push and bind: PAR binds the code to the proof's key.
		bound := key(t, "f", alg)
		pushed := r.post("/par", r.request(r.strict, "client_secret", secret), "DPoP", proof(bound, "POST", "/par", "")).json(t)["request_uri"].(string)
		back := r.decide(r.open(url.Values{"client_id": {r.strict.ID}, "request_uri": {pushed}}), "approve").redirected(t)
		a := r.post("/token", r.redemption(r.strict, back.Get("code")), "DPoP", proof(bound, "POST", "/token", ""))
		if a.status != http.StatusOK || a.json(t)["token_type"] != "DPoP" {
			t.Errorf("PAR with DPoP: %s", a.body)
		}
	}
}

func TestP23ProofRaces(t *testing.T) {
	r := newRig(t)
	k := key(t, "d", jose.EdDSA)
	first, err := token.SignDPoP(k, "POST", r.issuer+"/token", "", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	access := r.post("/token", r.redemption(r.square, r.code(r.square)), "DPoP", first).json(t)["access_token"].(string)
	p, err := token.SignDPoP(k, "GET", r.issuer+"/userinfo", access, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if won := race(t, 12, func() answer { return userinfo(r, access, "DPoP", "DPoP", p) }); len(won) != 1 {
		t.Errorf("%d of 12 used one proof", len(won))
	}
}

// One interaction is answered once, however often and fast the form is sent.
func TestInteractionRaces(t *testing.T) {
	r := newRig(t)
	for range 10 {
		action := r.open(r.request(r.square))
		var codes sync.Map
		race(t, 12, func() answer {
			a := r.decide(action, "approve")
			codes.Store(a.redirected(t).Get("code"), true) // a second press gets the code of the first
			return a
		})
		var n int
		codes.Range(func(code, _ any) bool { n++; return code != "" })
		if n != 1 {
			t.Fatalf("%d codes from one interaction", n)
		}
	}
	action := r.open(r.request(r.square))
	r.decide(action, "deny")
	wantPage(t, r.decide(action, "approve"), openid.ErrNotFound)
}

func ExampleFixed() {
	_, err := openid.Fixed(openid.Platform{ID: "town-square", RedirectURIs: []string{"http://square.example/"}})
	fmt.Println(refusal.Of(err).Code)
	// Output: openid.bad_platform
}

// meanwhile is a store in which something else happens right after a row of a
// kind was read: the worst moment, every time.
type meanwhile struct {
	openid.Store
	kind openid.Kind
	act  func()
}

func (m *meanwhile) Get(ctx context.Context, kind openid.Kind, id [32]byte) (openid.Row, error) {
	row, err := m.Store.Get(ctx, kind, id)
	if act := m.act; act != nil && kind == m.kind {
		m.act = nil
		act()
	}
	return row, err
}

func TestReadThenWrite(t *testing.T) {
	build := func(t *testing.T, kind openid.Kind) (*rig, *meanwhile) {
		m := &meanwhile{kind: kind}
		return newRig(t, func(r *rig) { m.Store = r.memory; r.store = m }), m
	}
	t.Run("O04", func(t *testing.T) {
		r, m := build(t, openid.KindGrant)
		var first answer
		code := r.code(r.square)
		m.act = func() { first = r.post("/token", r.redemption(r.square, code)) }
		wantError(t, r.post("/token", r.redemption(r.square, code)), 400, "invalid_grant")
		if first.status != http.StatusOK || r.active(first.json(t)["access_token"].(string)) {
			t.Errorf("the first redemption: %d, still active", first.status)
		}
	})
	t.Run("O11", func(t *testing.T) {
		r, m := build(t, openid.KindGrant)
		var first answer
		refresh := r.tokens("scope", "openid offline_access")["refresh_token"].(string)
		m.act = func() { first = r.refresh(refresh) }
		second := r.refresh(refresh) // of a client that authenticates: the same successor
		if first.status != http.StatusOK || second.status != http.StatusOK || first.json(t)["refresh_token"] != second.json(t)["refresh_token"] {
			t.Errorf("the renewals: %d, %d", first.status, second.status)
		}
		app := []string{"client_id", r.app.ID, "client_secret", ""} // of one that does not: nothing
		refresh = r.post("/token", r.redemption(r.app, r.code(r.app, "scope", "openid offline_access"), app...)).json(t)["refresh_token"].(string)
		m.act = func() { first = r.refresh(refresh, app...) }
		wantError(t, r.refresh(refresh, app...), 400, "invalid_grant")
		if first.status != http.StatusOK || r.active(first.json(t)["access_token"].(string)) {
			t.Errorf("the first renewal: %d, still active", first.status)
		}
	})
	t.Run("I17/revoked while it is renewed", func(t *testing.T) {
		r, m := build(t, openid.KindGrant)
		refresh := r.tokens("scope", "openid offline_access")["refresh_token"].(string)
		m.act = func() {
			r.post("/revoke", url.Values{"token": {refresh}, "client_id": {r.square.ID}, "client_secret": {secret}})
		}
		wantError(t, r.refresh(refresh), 400, "invalid_grant")
	})
	t.Run("answered twice", func(t *testing.T) {
		r, m := build(t, openid.KindSession)
		var first answer
		action := r.open(r.request(r.square))
		m.act = func() { first = r.decide(action, "approve") }
		if second := r.decide(action, "approve").redirected(t); second.Get("code") == "" || first.redirected(t).Get("code") != second.Get("code") {
			t.Error("two presses got two answers")
		}
		action = r.open(r.request(r.square))
		m.act = func() { first = r.decide(action, "deny") }
		wantPage(t, r.decide(action, "approve"), openid.ErrNotFound)
		wantRedirect(t, r, first, "access_denied")
	})
}

// A proof's identifier is its key's own: nobody can use up another's.
func TestP23IdentifierOfAnotherKey(t *testing.T) {
	r := newRig(t)
	for i := range 2 {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key(t, "", jose.EdDSA).Key}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
		if err != nil {
			t.Fatal(err)
		}
		p, err := jwt.Signed(s).Claims(map[string]any{"jti": "the same", "htm": "POST", "htu": r.issuer + "/token", "iat": time.Now().Unix()}).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		if a := r.post("/token", r.redemption(r.square, r.code(r.square)), "DPoP", p); a.status != http.StatusOK {
			t.Errorf("key %d: %s", i, a.body)
		}
		wantError(t, r.post("/token", r.redemption(r.square, r.code(r.square)), "DPoP", p), 400, "invalid_dpop_proof")
	}
}

// A lookup that answers with an unsound platform is a fault of ours, not a platform.
func TestO02UnsoundPlatform(t *testing.T) {
	for name, pl := range map[string]openid.Platform{
		"wildcard":   {ID: "p", RedirectURIs: []string{"https://*.example/"}, SecretHashes: []openid.SecretHash{openid.HashSecret("s")}},
		"no secret":  {ID: "p", RedirectURIs: []string{"https://p.example/"}},
		"two ways":   {ID: "p", RedirectURIs: []string{"https://p.example/"}, SecretHashes: []openid.SecretHash{openid.HashSecret("s")}, Native: true},
		"another id": {ID: "q", RedirectURIs: []string{"https://p.example/"}, SecretHashes: []openid.SecretHash{openid.HashSecret("s")}},
	} {
		t.Run("O02/"+name, func(t *testing.T) {
			r := newRig(t, func(r *rig) {
				r.cfg.Platforms = func(context.Context, string) (openid.Platform, error) { return pl, nil }
			})
			wantPage(t, r.get("/authorize?client_id=p&redirect_uri="+url.QueryEscape(pl.RedirectURIs[0])), openid.ErrUnavailable)
			wantError(t, r.post("/par", r.request(pl, "client_id", "p", "client_secret", secret)), 503, "temporarily_unavailable")
		})
	}
}

// What failed of the store or another port, and what the platform is not told, the operator's
// counts are: an alarm may rest on it.
func TestOutageIsToldToTheOperator(t *testing.T) {
	damaged := refusal.New(refusal.Unavailable, "test.damaged", "")
	r := newRig(t, func(r *rig) {
		r.cfg.Platforms = func(context.Context, string) (openid.Platform, error) {
			return openid.Platform{}, damaged.Because(errDown)
		}
	})
	told := func(where string) {
		t.Helper()
		if !errors.Is(r.outage, damaged) {
			t.Errorf("%s: %v", where, r.outage)
		}
		r.outage = nil
	}
	wantPage(t, r.get("/authorize?client_id=p&redirect_uri="+url.QueryEscape(r.square.RedirectURIs[0])), openid.ErrUnavailable)
	told("/authorize")
	wantError(t, r.post("/par", r.request(r.square, "client_id", "p", "client_secret", secret)), 503, "temporarily_unavailable")
	told("/par")
}

func TestConfig(t *testing.T) {
	good := buildRig(t, "https://penname.example").cfg
	k := good.Keys[0]
	now := time.Now()
	for name, change := range map[string]func(*openid.Config){
		"X11 http issuer":   func(c *openid.Config) { c.Issuer = "http://penname.example" },
		"X11 localhost":     func(c *openid.Config) { c.Issuer = "http://localhost:8080" },
		"trailing slash":    func(c *openid.Config) { c.Issuer += "/" },
		"path":              func(c *openid.Config) { c.Issuer += "/x" },
		"query":             func(c *openid.Config) { c.Issuer += "?x" },
		"upper case":        func(c *openid.Config) { c.Issuer = "https://PENNAME.example" },
		"userinfo":          func(c *openid.Config) { c.Issuer = "https://a@penname.example" },
		"no issuer":         func(c *openid.Config) { c.Issuer = "" },
		"no platforms":      func(c *openid.Config) { c.Platforms = nil },
		"no keys":           func(c *openid.Config) { c.Keys = nil },
		"public key":        func(c *openid.Config) { c.Keys = []openid.Key{{JWK: k.JWK.Public()}} },
		"no kid":            func(c *openid.Config) { c.Keys = []openid.Key{{JWK: jose.JSONWebKey{Key: k.JWK.Key}}} },
		"kid twice":         func(c *openid.Config) { c.Keys = []openid.Key{k, k} },
		"only RSA":          func(c *openid.Config) { c.Keys = []openid.Key{{JWK: key(t, "rsa", jose.RS256)}} },
		"short RSA":         func(c *openid.Config) { c.Keys = []openid.Key{k, {JWK: shortRSA(t)}} },
		"symmetric":         func(c *openid.Config) { c.Keys = []openid.Key{{JWK: jose.JSONWebKey{Key: []byte(secret), KeyID: "k"}}} },
		"none in force":     func(c *openid.Config) { c.Keys = []openid.Key{{JWK: k.JWK, NotBefore: now.Add(time.Hour)}} },
		"ends before it is": func(c *openid.Config) { c.Keys = []openid.Key{{JWK: k.JWK, NotBefore: now, NotAfter: now}} },
		"next of another alg": func(c *openid.Config) {
			c.Keys = []openid.Key{k, {JWK: key(t, "n", jose.ES256), NotBefore: now.Add(time.Hour)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			change(&cfg)
			if _, err := openid.New(cfg, nil, nil); refusal.Of(err) == nil || refusal.Of(err).Code != openid.ErrConfig.Code {
				t.Errorf("%v", err)
			}
		})
	}
}

func shortRSA(t *testing.T) jose.JSONWebKey {
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k, KeyID: "short"}
}

// TestIDTokenAlgorithms: RS256 for who names none, what was registered else (ES256: r
// and s, not DER), and never RS256 for an access token.
func TestIDTokenAlgorithms(t *testing.T) {
	platforms := map[jose.SignatureAlgorithm]openid.Platform{}
	r := newRig(t, func(r *rig) {
		r.cfg.Keys = []openid.Key{{JWK: key(t, "ed", jose.EdDSA)}, {JWK: key(t, "ec", jose.ES256)}, {JWK: key(t, "rsa", jose.RS256)}}
		before := r.cfg.Platforms
		r.cfg.Platforms = func(ctx context.Context, id string) (openid.Platform, error) {
			if p, ok := platforms[jose.SignatureAlgorithm(id)]; ok {
				return p, nil
			}
			return before(ctx, id)
		}
	})
	platforms[""] = r.square
	for _, alg := range []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256} {
		p := r.square
		p.ID, p.IDTokenAlg = string(alg), alg
		platforms[alg] = p
	}
	for alg, p := range platforms {
		got := r.post("/token", r.redemption(p, r.code(p))).json(t)
		for typ, raw := range map[string]string{token.TypID: got["id_token"].(string), token.TypAccess: got["access_token"].(string)} {
			v, err := r.verifier(p, typ).Verify(t.Context(), raw)
			if err != nil {
				t.Fatal(alg, typ, err)
			}
			jws, err := jose.ParseSigned(v.Raw, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256, jose.RS256})
			if err != nil {
				t.Fatal(err)
			}
			want := cmp.Or(string(alg), "RS256")
			if typ == token.TypAccess {
				want = "EdDSA"
			}
			if jws.Signatures[0].Header.Algorithm != want {
				t.Errorf("%q: %s by %s", alg, typ, jws.Signatures[0].Header.Algorithm)
			}
		}
	}
	other := newRig(t, func(r *rig) { r.cfg.Keys = []openid.Key{{JWK: key(t, "es", jose.ES256)}} })
	got := other.tokens()
	if _, err := other.verifier(other.square, token.TypID).Verify(t.Context(), got["id_token"].(string)); err != nil {
		t.Error(err)
	}
	if !other.active(got["access_token"].(string)) {
		t.Error("not active")
	}
}

// Outages of the page leave the interaction open (promise 9).
func TestPageFailsThenWorks(t *testing.T) {
	r := newRig(t)
	action := r.open(r.request(r.square))
	r.pageErr = errDown
	wantPage(t, r.decide(action, "approve"), openid.ErrUnavailable)
	wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, "prompt", "none").Encode()), "temporarily_unavailable")
	r.pageErr = openid.ErrBadPlatform // any refusal is shown as it is
	wantPage(t, r.decide(action, "approve"), openid.ErrBadPlatform)
	r.pageErr = nil
	if back := r.decide(action, "approve").redirected(t); back.Get("code") == "" {
		t.Errorf("%v", back)
	}
}

// What a platform posts to /authorize is never taken for the person's answer: the page is
// not even asked before the browser comes back by itself, with its cookies.
func TestPostedRequestIsNoAnswer(t *testing.T) {
	r := newRig(t)
	for _, mode := range []string{"", "form_post"} {
		posted := r.post("/authorize", r.request(r.square, "decision", "approve", "response_mode", mode))
		if posted.status != http.StatusSeeOther || r.lastAsk.SessionID != "" || !strings.HasPrefix(posted.header.Get("Location"), "/authorize/") {
			t.Fatalf("%d %+v", posted.status, r.lastAsk)
		}
		a := r.get(posted.header.Get("Location"))
		if a.status != http.StatusOK || r.lastAsk.Answer || !strings.Contains(a.body, "<form") {
			t.Errorf("%d %+v", a.status, r.lastAsk)
		}
		if back := r.decide(posted.header.Get("Location"), "approve"); (back.status == http.StatusOK) != (mode == "form_post") || !strings.Contains(back.body+back.header.Get("Location"), "code") {
			t.Errorf("%q: %d %s", mode, back.status, back.body)
		}
		r.lastAsk = openid.SignInRequest{}
	}
	r.get(r.post("/authorize", r.request(r.square)).header.Get("Location"))
	ask := r.lastAsk
	if ask.Platform.ID != r.square.ID || ask.Action != "/authorize/"+ask.SessionID || len(ask.SessionID) != 43 || ask.Fresh || ask.Silent || ask.Offline {
		t.Errorf("%+v", ask)
	}
	r.open(r.request(r.square, "scope", "openid offline_access", "acr_values", "gold substantial high"))
	if ask := r.lastAsk; !ask.Offline || !slices.Equal(ask.ACRs, []string{"substantial", "high"}) {
		t.Errorf("%+v", ask)
	}
}

// R1: where the server around has no room for a body, the platform is told to try
// again later, and not that its request is wrong.
func TestFoundR1NoRoomIsAnOutage(t *testing.T) {
	r := newRig(t)
	full := refusal.New(refusal.Unavailable, "test.full", "later")
	for path, want := range map[string]string{"/token": "temporarily_unavailable", "/par": "temporarily_unavailable", "/authorize": "openid.unavailable"} {
		req := httptest.NewRequest(http.MethodPost, path, iotest.ErrReader(full))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		r.provider.Handler().ServeHTTP(w, req)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}
