package openid_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// Ways in which a parameter can be wrong. A row of a table says for each what is
// answered: a code of the standard's, passes, or page: nothing can be sent to the
// platform, since it is not known which one it is.
var ways = []string{"missing", "empty", "twice", "too long", "wrong"}

const (
	passes = "passes"
	page   = "page"
)

// authorizationRows are of an authorization request with PKCE, by a client with a secret.
var authorizationRows = map[string][5]string{
	"response_type":         {"invalid_request", "invalid_request", "invalid_request", "unsupported_response_type", "unsupported_response_type"},
	"response_mode":         {passes, passes, "invalid_request", "invalid_request", "invalid_request"},
	"scope":                 {"invalid_scope", "invalid_scope", "invalid_request", "invalid_scope", "invalid_scope"},
	"state":                 {passes, passes, "invalid_request", passes, passes},
	"nonce":                 {passes, passes, "invalid_request", "invalid_request", passes},
	"prompt":                {passes, passes, "invalid_request", "invalid_request", "invalid_request"},
	"max_age":               {passes, "invalid_request", "invalid_request", "invalid_request", "invalid_request"},
	"code_challenge":        {"invalid_request", "invalid_request", "invalid_request", "invalid_request", "invalid_request"},
	"code_challenge_method": {"invalid_request", "invalid_request", "invalid_request", "invalid_request", "invalid_request"},
	"id_token_hint":         {passes, "invalid_request", "invalid_request", "invalid_request", "invalid_request"},
	"dpop_jkt":              {passes, passes, "invalid_request", "invalid_request", "invalid_request"},
	"acr_values":            {passes, passes, "invalid_request", passes, passes},
	"request":               {passes, "request_not_supported", "invalid_request", "request_not_supported", "request_not_supported"},
	"registration":          {passes, "registration_not_supported", "registration_not_supported", "registration_not_supported", "registration_not_supported"},
	"login_hint":            {passes, passes, passes, passes, passes},
}

// each calls f with every way in which a parameter is wrong.
func each(t *testing.T, where string, base url.Values, rows map[string][5]string, f func(t *testing.T, name, want string, v url.Values)) {
	for name, row := range rows {
		for i, way := range ways {
			v := form(base)
			switch way {
			case "missing":
				v.Del(name)
			case "empty":
				v.Set(name, "")
			case "twice":
				v[name] = []string{canary, v.Get(name)}
			case "too long":
				v.Set(name, strings.Repeat(canary[:1], 2000))
			case "wrong":
				v.Set(name, canary)
			}
			t.Run(where+"/"+name+"/"+way, func(t *testing.T) { f(t, name, row[i], v) })
		}
	}
}

// TestEveryRefusalAtTheBrowser: it goes to the platform, with the standard's code and its
// state, and names the parameter; if it cannot, the page does.
func TestEveryRefusalAtTheBrowser(t *testing.T) {
	r := newRig(t)
	rows := map[string][5]string{
		"client_id": {page, page, page, page, page}, "redirect_uri": {page, page, page, page, page},
		"request_uri": {passes, passes, "invalid_request", "request_uri_not_supported", "request_uri_not_supported"},
	}
	for name, row := range authorizationRows {
		rows[name] = row
	}
	each(t, "authorize", r.request(r.square), rows, func(t *testing.T, name, want string, v url.Values) {
		for _, a := range []answer{r.get("/authorize?" + v.Encode()), r.post("/authorize", v)} {
			switch want {
			case passes:
				if a.status != http.StatusOK && !strings.HasPrefix(a.header.Get("Location"), "/authorize/") {
					t.Errorf("%d %s", a.status, a.body)
				}
			case page:
				if a.status < 400 || a.header.Get("Location") != "" || !strings.Contains(a.body, name) || strings.Contains(a.body, canary) {
					t.Errorf("%d %s", a.status, a.body)
				}
			default:
				back := a.redirected(t)
				says := back.Get("error_description")
				if back.Get("error") != want || !strings.Contains(says, name) || strings.Contains(says, canary) || name != "state" && back.Get("state") != "state-1" {
					t.Errorf("want %s: %v", want, back)
				}
			}
		}
	})
	leaving, _ := newLeavingRig(t)
	hint := leaving.tokens()["id_token"].(string)
	each(t, "logout", url.Values{"client_id": {leaving.square.ID}, "id_token_hint": {hint}, "post_logout_redirect_uri": {leftAt}, "state": {"s"}}, map[string][5]string{
		"client_id": {passes, passes, page, page, page}, "id_token_hint": {passes, passes, page, page, page},
		"post_logout_redirect_uri": {passes, passes, page, page, page}, "state": {passes, passes, page, passes, passes},
	}, func(t *testing.T, name, want string, v url.Values) {
		a := leaving.get("/logout?" + v.Encode())
		if want == passes && a.status != http.StatusOK || want == page && (a.status < 400 || a.header.Get("Location") != "" || !strings.Contains(a.body, name)) || strings.Contains(a.body, canary) && want == page {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// TestEveryRefusalAtThePlatformsEndpoints: the standard's code, and the parameter's name.
func TestEveryRefusalAtThePlatformsEndpoints(t *testing.T) {
	r := newRig(t)
	check := func(path string, status int) func(t *testing.T, name, want string, v url.Values) {
		return func(t *testing.T, name, want string, v url.Values) {
			if v.Has("code") && v.Get("code") == "code" { // each has one of its own
				v.Set("code", r.code(r.square))
			}
			if v.Get("refresh_token") == "refresh" {
				v.Set("refresh_token", r.tokens("scope", "openid offline_access")["refresh_token"].(string))
			}
			a := r.post(path, v)
			if want == passes {
				if a.status != status {
					t.Errorf("%d %s", a.status, a.body)
				}
				return
			}
			refused := http.StatusBadRequest
			if want == "invalid_client" || want == "invalid_token" {
				refused = http.StatusUnauthorized
			}
			wantError(t, a, refused, want)
			says, _ := a.json(t)["error_description"].(string)
			if !strings.Contains(says, name) && !(name == "access_token" && strings.Contains(says, "access token")) || strings.Contains(says, canary) {
				t.Errorf("%s", says)
			}
		}
	}
	client := map[string][5]string{
		"client_id":     {"invalid_client", "invalid_client", "invalid_request", "invalid_client", "invalid_client"},
		"client_secret": {"invalid_client", "invalid_client", "invalid_request", "invalid_client", "invalid_client"},
	}
	with := func(rows map[string][5]string) map[string][5]string {
		for name, row := range client {
			rows[name] = row
		}
		return rows
	}
	pushed := map[string][5]string{
		"redirect_uri": {"invalid_request", "invalid_request", "invalid_request", "invalid_request", "invalid_request"},
		"request_uri":  {passes, "invalid_request", "invalid_request", "invalid_request", "invalid_request"},
	}
	for name, row := range authorizationRows {
		pushed[name] = row
	}
	each(t, "par", r.request(r.square, "client_secret", secret), with(pushed), check("/par", http.StatusCreated))
	each(t, "token", r.redemption(r.square, "code"), with(map[string][5]string{
		"grant_type":    {"unsupported_grant_type", "unsupported_grant_type", "invalid_request", "unsupported_grant_type", "unsupported_grant_type"},
		"code":          {"invalid_request", "invalid_request", "invalid_request", "invalid_grant", "invalid_grant"},
		"redirect_uri":  {"invalid_grant", "invalid_grant", "invalid_request", "invalid_grant", "invalid_grant"},
		"code_verifier": {"invalid_grant", "invalid_grant", "invalid_request", "invalid_grant", "invalid_grant"},
		"scope":         {passes, passes, "invalid_request", passes, passes},
	}), check("/token", http.StatusOK))
	each(t, "renewal", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"refresh"}, "client_id": {r.square.ID}, "client_secret": {secret}}, map[string][5]string{
		"refresh_token": {"invalid_request", "invalid_request", "invalid_request", "invalid_grant", "invalid_grant"},
	}, check("/token", http.StatusOK))
	access := r.tokens()["access_token"].(string)
	for _, path := range []string{"/introspect", "/revoke"} {
		each(t, path, url.Values{"token": {access}, "client_id": {r.square.ID}, "client_secret": {secret}}, with(map[string][5]string{
			"token":           {"invalid_request", "invalid_request", "invalid_request", passes, passes},
			"token_type_hint": {passes, passes, "invalid_request", passes, passes},
		}), check(path, http.StatusOK))
	}
	each(t, "userinfo", url.Values{"access_token": {r.tokens()["access_token"].(string)}}, map[string][5]string{
		"access_token": {"invalid_token", "invalid_token", "invalid_request", "invalid_token", "invalid_token"},
	}, check("/userinfo", http.StatusOK))
	// What takes the place of a secret, and what binds.
	for name, change := range map[string][]string{
		"client_assertion": {"client_assertion", canary, "client_assertion_type", assertionType, "client_id", "", "client_secret", ""},
		"secret and more":  {"client_assertion", canary, "client_assertion_type", assertionType},
	} {
		a := r.post("/token", r.redemption(r.square, "x", change...))
		if says, _ := a.json(t)["error_description"].(string); a.status < 400 || !strings.Contains(says, "client_assertion") && !strings.Contains(says, "two ways") {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	back := r.decide(r.open(url.Values{"client_id": {r.strict.ID}, "request_uri": {r.post("/par", r.request(r.strict, "client_secret", secret)).json(t)["request_uri"].(string)}}), "approve").redirected(t)
	unbound := r.post("/token", r.redemption(r.strict, back.Get("code")))
	wantError(t, unbound, 400, "invalid_request")
	if !strings.Contains(unbound.body, "DPoP is missing") {
		t.Error(unbound.body)
	}
	a := r.post("/par", r.request(r.square, "client_secret", secret, "dpop_jkt", challenge("another key")), "DPoP", r.proofBy(jose.EdDSA, "POST", "/par", ""))
	wantError(t, a, 400, "invalid_request")
	if !strings.Contains(a.body, "dpop_jkt") {
		t.Error(a.body)
	}
}

// TestRefusalsOfAnInteraction name what the platform asked that cannot be.
func TestRefusalsOfAnInteraction(t *testing.T) {
	r := newRig(t)
	hint := r.tokens()["id_token"].(string)
	for name, a := range map[string]answer{
		"prompt":        r.get("/authorize?" + r.request(r.square, "prompt", "none").Encode()),
		"id_token_hint": r.decide(r.open(r.request(r.square, "id_token_hint", hint)), "approve", "Cookie", "person=somebody-else"),
	} {
		back := a.redirected(t)
		if back.Get("error") != "login_required" || !strings.Contains(back.Get("error_description"), name) {
			t.Errorf("%s: %v", name, back)
		}
	}
	r.unasked = true
	back := r.get("/authorize?" + r.request(r.square, "prompt", "none").Encode()).redirected(t)
	if back.Get("error") != "consent_required" || !strings.Contains(back.Get("error_description"), "prompt") {
		t.Error(back)
	}
}
