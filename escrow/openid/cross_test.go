package openid_test

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPublicDocuments: scripts of any origin read them, who has one is not sent it
// again, and both metadata addresses say the same (RFC 8414, 3).
func TestPublicDocuments(t *testing.T) {
	at := time.Now()
	r := newRig(t, func(r *rig) { r.cfg.Now = func() time.Time { return at } })
	var said []string
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/jwks", "/status/0"} {
		a := r.fetch(path, "Origin", "https://anybody.example")
		if a.status != http.StatusOK || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %d %v", path, a.status, a.header)
		}
		again := r.fetch(path, "If-None-Match", a.header.Get("ETag"))
		if again.status != http.StatusNotModified || again.body != "" {
			t.Errorf("%s again: %d", path, again.status)
		}
		if other := r.fetch(path, "If-None-Match", `"other"`); other.status != http.StatusOK || other.body != a.body {
			t.Errorf("%s with another tag: %d", path, other.status)
		}
		said = append(said, a.body)
	}
	if said[0] != said[1] {
		t.Error("the metadata differ")
	}
}

// TestStatusForms: who takes gzip is sent the JWT packed, who asks for the CWT gets it, and
// caches keep them apart.
func TestStatusForms(t *testing.T) {
	at := time.Now()
	r := newRig(t, func(r *rig) { r.cfg.Now = func() time.Time { return at } })
	plain := r.fetch("/status/0", "Accept-Encoding", "identity")
	for _, takes := range []string{"gzip", "br, gzip", "gzip;q=0.5", "br;q=1.0, GZIP; q=0.8"} {
		packed := r.fetch("/status/0", "Accept-Encoding", takes)
		z, err := gzip.NewReader(strings.NewReader(packed.body))
		if err != nil {
			t.Fatalf("%s: %v", takes, err)
		}
		body, err := io.ReadAll(z)
		if err != nil || string(body) != plain.body || packed.header.Get("Content-Encoding") != "gzip" || packed.header.Get("ETag") == plain.header.Get("ETag") {
			t.Errorf("%s: %v, %v", takes, err, packed.header)
		}
		again := r.fetch("/status/0", "Accept-Encoding", takes, "If-None-Match", packed.header.Get("ETag"))
		if again.status != http.StatusNotModified {
			t.Errorf("%s again: %d", takes, again.status)
		}
	}
	for _, takes := range []string{"identity", "br", "gzip;q=0", "gzip; q=0.0", "gzip;Q=0", "GZIP;\tQ=0.000", "xgzip"} {
		if a := r.fetch("/status/0", "Accept-Encoding", takes); a.header.Get("Content-Encoding") != "" || a.body != plain.body {
			t.Errorf("%s: packed", takes)
		}
	}
	for accept, want := range map[string]string{
		"": "application/statuslist+jwt", "*/*": "application/statuslist+jwt", "application/statuslist+cwt": "application/statuslist+cwt",
		"application/statuslist+cwt, application/statuslist+jwt": "application/statuslist+jwt",
	} {
		a := r.fetch("/status/0", "Accept", accept)
		if a.header.Get("Content-Type") != want || !slices.Contains(a.header.Values("Vary"), "Accept") {
			t.Errorf("%q: %v", accept, a.header)
		}
		if isCWT := strings.HasPrefix(a.body, "\xd2\x84"); isCWT != strings.HasSuffix(want, "cwt") {
			t.Errorf("%q: begins with %.2x", accept, a.body)
		}
	}
}

// TestScriptsOfPlatforms: the origins that are registered may call what a script needs,
// without credentials; no other origin may, and no other endpoint.
func TestScriptsOfPlatforms(t *testing.T) {
	const app, stranger = "https://app.square.example", "https://evil.example"
	r := newRig(t, func(r *rig) {
		r.cfg.Origins = func(_ context.Context, origin string) bool { return origin == app }
	})
	for _, path := range []string{"/token", "/userinfo", "/revoke", "/introspect", "/par"} {
		open := path != "/introspect" && path != "/par"
		for _, origin := range []string{app, stranger, "null"} {
			req, err := http.NewRequest(http.MethodOptions, r.issuer+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Origin", origin)
			req.Header.Set("Access-Control-Request-Method", "POST")
			for name, a := range map[string]answer{"before": r.do(req), "then": r.post(path, url.Values{}, "Origin", origin)} {
				allowed := a.header.Get("Access-Control-Allow-Origin")
				if want := open && origin == app; want != (allowed == origin) || !want && allowed != "" || a.header.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("%s %s from %s: %q", name, path, origin, allowed)
				}
				if open && !slices.Contains(a.header.Values("Vary"), "Origin") {
					t.Errorf("%s %s: a cache would mix origins", name, path)
				}
			}
		}
	}
}

// TestFormPost: the answer is a form that is posted to the platform; nothing of a
// request becomes markup, and no cookie of the page is lost.
func TestFormPost(t *testing.T) {
	r := newRig(t)
	const state = `"><script>alert(1)</script>`
	pushed := r.post("/par", r.request(r.square, "response_mode", "form_post", "state", state, "client_secret", secret)).json(t)
	action := r.open(url.Values{"client_id": {r.square.ID}, "request_uri": {pushed["request_uri"].(string)}})
	for name, a := range map[string]answer{
		"code":   r.decide(r.open(r.request(r.square, "response_mode", "form_post", "state", state)), "approve"),
		"pushed": r.decide(action, "approve"),
		"denied": r.decide(r.open(r.request(r.square, "response_mode", "form_post", "state", state)), "deny"),
		"faulty": r.get("/authorize?" + r.request(r.square, "response_mode", "form_post", "state", state, "prompt", "x").Encode()),
	} {
		want := map[string]string{"code": `name="code"`, "pushed": `name="code"`, "denied": `value="access_denied"`, "faulty": `value="invalid_request"`}[name]
		if a.status != http.StatusOK || a.header.Get("Location") != "" || !strings.Contains(a.body, want) || strings.Contains(a.body, state) ||
			!strings.Contains(a.body, `action="`+r.square.RedirectURIs[0]+`"`) || !strings.Contains(a.body, `name="iss"`) || !strings.Contains(a.body, `name="state"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		policy := a.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "script-src 'sha256-") || !strings.Contains(policy, "form-action https:") || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s", name, policy)
		}
	}
}

// TestUserinfoByPost: the token in the body (RFC 6750, 2.2), not also in the header, and
// no bound one without its proof.
func TestUserinfoByPost(t *testing.T) {
	r := newRig(t)
	got := r.tokens()
	raw := got["access_token"].(string)
	if a := r.post("/userinfo", url.Values{"access_token": {raw}}); a.status != http.StatusOK || a.json(t)["sub"] != string(pseudonym(canary, r.square.ID)) {
		t.Errorf("pass: %d %s", a.status, a.body)
	}
	wantError(t, r.post("/userinfo", url.Values{"access_token": {raw}}, "Authorization", "Bearer "+raw), 400, "invalid_request")
	wantError(t, r.post("/userinfo", url.Values{"access_token": {"x"}}), 401, "invalid_token")
	wantError(t, r.post("/userinfo", url.Values{"access_token": {raw, raw}}), 400, "invalid_request")
}

// TestRefusalsNameTheParameter: each says which parameter is wrong, without its value.
func TestRefusalsNameTheParameter(t *testing.T) {
	r := newRig(t)
	for name, change := range map[string][]string{
		"response_type": {"response_type", ""}, "response_mode": {"response_mode", canary}, "scope": {"scope", canary}, "prompt": {"prompt", canary},
		"max_age": {"max_age", canary}, "nonce": {"nonce", strings.Repeat(canary, 100)}, "dpop_jkt": {"dpop_jkt", canary},
		"code_challenge": {"code_challenge", canary}, "code_challenge_method": {"code_challenge_method", canary}, "id_token_hint": {"id_token_hint", canary},
	} {
		back := r.get("/authorize?" + r.request(r.square, change...).Encode()).redirected(t)
		if says := back.Get("error_description"); !strings.Contains(says, name) || strings.Contains(says, canary) {
			t.Errorf("%s: %s", name, says)
		}
	}
}
