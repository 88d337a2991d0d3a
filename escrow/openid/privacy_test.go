package openid_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// The name of a person goes in wherever a platform, a browser or a dependency
// can put it, and comes out nowhere: not in a token, an answer, a redirect, an
// error, an event, nor in the store.
func TestCanary(t *testing.T) {
	r := newRig(t)
	var seen []answer
	keep := func(a answer) answer { seen = append(seen, a); return a }
	plant := []string{
		"scope", "openid offline_access", "login_hint", canary, "login_hint_token", canary, "claims", `{"id_token":{"name":{"value":"` + canary + `"}}}`,
		"ui_locales", canary, "display", canary, "user_code", canary, "binding_message", canary, "authorization_details", `[{"type":"` + canary + `"}]`,
		"client_notification_token", canary, "resource", canary, "name", canary, "username", canary, "sub", canary,
	}
	headers := []string{"Cookie", "person=" + canary, "X-Forwarded-User", canary, "From", canary, "User-Agent", canary, "Referer", "https://" + canary}
	params := r.request(r.square, plant...)
	keep(r.post("/authorize", params, headers...))
	pushed := keep(r.post("/par", form(params, "client_secret", secret), headers...)).json(t)["request_uri"].(string)
	action := r.open(url.Values{"client_id": {r.square.ID}, "request_uri": {pushed}, "login_hint": {canary}})
	back := keep(r.decide(action, "approve", headers...)).redirected(t)
	got := keep(r.post("/token", r.redemption(r.square, back.Get("code"), "username", canary), headers...)).json(t)
	auth := url.Values{"client_id": {r.square.ID}, "client_secret": {secret}}
	access, refresh := got["access_token"].(string), got["refresh_token"].(string)
	keep(r.post("/introspect", form(auth, "token", access), headers...))
	keep(r.post("/introspect", form(auth, "token", refresh), headers...))
	keep(r.post("/introspect", form(auth, "token", canary), headers...))
	keep(userinfo(r, access, "Bearer", headers...))
	keep(r.refresh(refresh, "username", canary))
	for _, path := range []string{"/jwks", "/status/0", "/.well-known/openid-configuration"} {
		keep(r.get(path))
	}
	// Errors, with the name where the fault is.
	for name := range params {
		keep(r.get("/authorize?" + r.request(r.square, name, canary).Encode()))
		keep(r.post("/par", r.request(r.square, name, canary, "client_secret", secret)))
	}
	for name := range r.redemption(r.square, "x") {
		keep(r.post("/token", r.redemption(r.square, r.code(r.square), name, canary)))
	}
	keep(r.get("/authorize/" + canary))
	keep(r.decide(r.open(r.request(r.square)), "deny", headers...))
	keep(userinfo(r, canary, "Bearer"))
	keep(r.post("/revoke", form(auth, "token", canary)))
	keep(r.post("/revoke", form(auth, "token", access)))
	// A dependency that puts the name into its error, or into the subject.
	r.pageErr = errDown
	keep(r.get("/authorize?" + r.request(r.square).Encode()))
	r.pageErr = errors.Join(openid.ErrUnavailable.Because(errDown))
	keep(r.get("/authorize?" + r.request(r.square).Encode()))
	r.pageErr = nil
	for _, bad := range []openid.Subject{
		{Pseudonym: canary, Commitment: [32]byte{1}, ACR: "high"},
		{Pseudonym: pseudonym(canary, r.square.ID), ACR: "high"},
		{Pseudonym: pseudonym(canary, r.square.ID), Commitment: [32]byte{1}, ACR: "high", Handle: canary},
		{Pseudonym: pseudonym(canary, r.square.ID), Commitment: [32]byte{1}, ACR: "high", Handle: pseudonym(canary, r.forum.ID).Handle(10)},
		{Pseudonym: pseudonym(canary, r.square.ID), Commitment: [32]byte{1}},
		{Pseudonym: pseudonym(canary, r.square.ID), Commitment: [32]byte{1}, ACR: "high " + canary},
		{Pseudonym: token.Pseudonym(strings.ToUpper(string(pseudonym(canary, r.square.ID)))), Commitment: [32]byte{1}, ACR: "high"},
	} {
		r.badActor = &bad
		wantPage(t, keep(r.decide(r.open(r.request(r.square)), "approve")), openid.ErrSubject)
	}

	for _, a := range seen {
		all := a.body + "\n" + strings.Join(slices.Collect(maps.Keys(a.header)), " ")
		for _, v := range a.header {
			all += "\n" + strings.Join(v, "\n")
		}
		for _, part := range strings.FieldsFunc(all, func(c rune) bool { return strings.ContainsRune(`".&=`+"\n", c) }) {
			if plain, ok := fromBase64(part); ok {
				all += plain
			}
		}
		// state and nonce are the platform's own and are echoed to it alone.
		echoed, _ := url.QueryUnescape(all)
		echoed = strings.ReplaceAll(strings.ReplaceAll(echoed, "state="+canary, ""), `"nonce":"`+canary+`"`, "")
		if strings.Contains(echoed, canary) {
			t.Errorf("the name came out: %d %v %s", a.status, a.header, a.body)
		}
	}
	dump := string(r.memory.Dump())
	for _, kept := range []string{`"state":"` + canary + `"`, `"nonce":"` + canary + `"`} {
		dump = strings.ReplaceAll(dump, kept, "")
	}
	if strings.Contains(dump, canary) {
		t.Error("the name is in the store")
	}
	if strings.Contains(strings.Join(r.refused, "\n"), canary) {
		t.Error("the name is in an event")
	}
}

// What a token, an answer and the store tell is a closed list.
func TestClaimsAreAClosedList(t *testing.T) {
	r := newRig(t)
	got := r.tokens("scope", "openid offline_access")
	for name, want := range map[string]string{
		"id_token":     "acr aud exp iat iss jti nonce penname_commitment status sub",
		"access_token": "acr aud client_id exp grant_id iat iss jti penname_commitment scope status sub",
	} {
		if have := strings.Join(slices.Sorted(maps.Keys(payload(t, got[name].(string)))), " "); have != want {
			t.Errorf("%s: %s", name, have)
		}
	}
	if have := strings.Join(slices.Sorted(maps.Keys(got)), " "); have != "access_token expires_in id_token refresh_token scope token_type" {
		t.Errorf("token response: %s", have)
	}
	if m := userinfo(r, got["access_token"].(string), "Bearer").json(t); len(m) != 1 || m["sub"] == nil {
		t.Errorf("userinfo: %v", m)
	}
	m := r.post("/introspect", url.Values{"token": {got["refresh_token"].(string)}, "client_id": {r.square.ID}, "client_secret": {secret}}).json(t)
	if m["iat"].(float64) != float64(time.Now().UTC().Truncate(24*time.Hour).Unix()) {
		t.Errorf("a refresh token tells when: %v", m)
	}
}

// Promise 1: two platforms share no value about one person but the issuer's own.
func TestN01NoCommonValue(t *testing.T) {
	r := newRig(t)
	square := r.tokens("scope", "openid offline_access", "nonce", "a", "state", "state-1")
	forum := r.post("/token", r.redemption(r.forum, r.code(r.forum, "scope", "openid offline_access", "nonce", "b"), "client_id", "", "client_secret", "",
		"client_assertion_type", assertionType, "client_assertion", r.assertion(nil))).json(t)
	values := func(got map[string]any) map[string]bool {
		all := map[string]bool{}
		for _, name := range []string{"id_token", "access_token"} {
			claims := payload(t, got[name].(string))
			status := claims["status"].(map[string]any)["status_list"].(map[string]any)
			claims["idx"] = status["idx"]
			for _, common := range []string{"iss", "acr", "scope", "iat", "exp", "status"} {
				delete(claims, common)
			}
			for _, v := range claims {
				b, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				all[string(b)] = true
			}
		}
		raw := got["refresh_token"].(string)
		all[raw[:43]], all[raw[43:86]] = true, true
		return all
	}
	a, b := values(square), values(forum)
	for v := range a {
		if b[v] {
			t.Errorf("both platforms see %s", v)
		}
	}
}

// Promise 1 after an erasure: no row names a pen name whose grants were ended,
// and the rows of two pen names have nothing in common.
func TestN01NothingLinksWhatEnded(t *testing.T) {
	r := newRig(t)
	r.tokens("scope", "openid offline_access")
	r.code(r.forum)
	square, forum := pseudonym(canary, r.square.ID), pseudonym(canary, r.forum.ID)
	if dump := r.memory.Dump(); !bytes.Contains(dump, []byte(square)) || !bytes.Contains(dump, []byte(forum)) {
		t.Fatal("control: the grants do not name their holders")
	}
	for _, holder := range []token.Pseudonym{square, forum} {
		if err := r.provider.End(t.Context(), holder); err != nil {
			t.Fatal(err)
		}
	}
	ended := 0
	for line := range bytes.Lines(r.memory.Dump()) {
		if bytes.Contains(line, []byte("pen1")) {
			t.Errorf("a pen name is left: %s", line)
		}
		if bytes.HasPrefix(line, []byte("grant")) {
			ended++
			// kind, id, expiry on the full hour: no more.
			if fields := bytes.Fields(line); len(fields) != 6 || !bytes.HasSuffix(fields[3], []byte(":00:00")) {
				t.Errorf("an ended grant tells more than when it is forgotten: %s", line)
			}
		}
	}
	if ended != 2 {
		t.Errorf("%d ended grants", ended)
	}
}

// N03 after signing out everywhere: the sign-in cannot be renewed from then on, no
// status list ever shows it, and introspection does within a day.
func TestN03QuietEndShowsInNoList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLocalRig(t)
		got := r.tokens("scope", "openid offline_access")
		refresh := got["refresh_token"].(string)
		list := func() any { return payload(t, r.get("/status/0").body)["status_list"].(map[string]any)["lst"] }
		before := list()
		if err := r.provider.EndQuietly(t.Context(), pseudonym(canary, r.square.ID)); err != nil {
			t.Fatal(err)
		}
		wantError(t, r.refresh(refresh), 400, "invalid_grant")
		if !r.active(refresh) || !r.active(got["access_token"].(string)) {
			t.Error("introspection tells at once")
		}
		for range 25 * 6 {
			if list() != before {
				t.Fatal("the status list shows it")
			}
			<-time.After(10 * time.Minute)
		}
		if r.active(refresh) {
			t.Error("active a day later")
		}
		again := r.tokens("scope", "openid offline_access") // what is granted afterwards counts
		if r.refresh(again["refresh_token"].(string)).status != http.StatusOK {
			t.Error("a later sign-in ended too")
		}
	})
}

// Secrets are stored as hashes only, and no stored time is finer than needed.
func TestStoreHoldsNoSecretAndNoTime(t *testing.T) {
	r := newRig(t)
	code := r.code(r.square, "scope", "openid offline_access")
	pushed := r.post("/par", r.request(r.square, "client_secret", secret)).json(t)["request_uri"].(string)
	open := r.memory.Dump()
	got := r.post("/token", r.redemption(r.square, code)).json(t)
	next := r.refresh(got["refresh_token"].(string)).json(t)
	settled := r.memory.Dump()
	for name, s := range map[string]string{
		"code": code, "request_uri": strings.TrimPrefix(pushed, "urn:ietf:params:oauth:request_uri:"), "refresh token": got["refresh_token"].(string),
		"part of it": got["refresh_token"].(string)[43:86], "new refresh token": next["refresh_token"].(string), "access token": got["access_token"].(string),
		"ID token": got["id_token"].(string), "secret": secret, "verifier": verifierText,
	} {
		if bytes.Contains(open, []byte(s)) || bytes.Contains(settled, []byte(s)) {
			t.Errorf("the store holds the %s", name)
		}
	}
	for line := range bytes.Lines(settled) {
		if i := bytes.IndexByte(line, '{'); bytes.HasPrefix(line, []byte("grant")) && i > 0 {
			var body map[string]any
			if err := json.Unmarshal(line[i:], &body); err != nil {
				t.Fatal(err)
			}
			if have := strings.Join(slices.Sorted(maps.Keys(body)), " "); have != "acr again commitment created family platform refresh scope" {
				t.Errorf("a settled grant holds %s", have)
			}
			if int64(body["created"].(float64))%86400 != 0 {
				t.Errorf("created: %v", body["created"])
			}
		}
		if i := bytes.Index(line, []byte(" UTC")); i > 0 && !bytes.Contains(line[:i], []byte(":00:00 +0000")) {
			t.Errorf("an expiry is finer than an hour: %q", line)
		}
	}
}

// Every call to the store fails once, before or after it took effect. The answer
// is then "later", nothing is issued, and nothing is left that prevents a retry.
func TestEveryStoreFailure(t *testing.T) {
	for _, late := range []bool{false, true} {
		for n := 1; ; n++ {
			f := &flaky{late: late}
			r := newRig(t, func(r *rig) { f.Store = r.memory; r.store = f })
			f.countdown = n
			note := func(a answer) answer {
				if strings.Contains(a.body, canary) || strings.Contains(a.header.Get("Location"), canary) {
					t.Errorf("call %d: the store's error came out: %s", n, a.body)
				}
				return a
			}
			run := func() bool {
				pushed := note(r.post("/par", r.request(r.square, "client_secret", secret, "scope", "openid offline_access")))
				if pushed.status != http.StatusCreated {
					wantError(t, pushed, 503, "temporarily_unavailable")
					return false
				}
				uri := pushed.json(t)["request_uri"].(string)
				page := note(r.get("/authorize?" + url.Values{"client_id": {r.square.ID}, "request_uri": {uri}}.Encode()))
				if page.status != http.StatusOK {
					wantPage(t, page, openid.ErrUnavailable)
					return false
				}
				a := note(r.decide("/authorize/"+strings.TrimPrefix(uri, "urn:ietf:params:oauth:request_uri:"), "approve"))
				if a.status != http.StatusSeeOther {
					wantPage(t, a, openid.ErrUnavailable)
					return false
				}
				code := a.redirected(t).Get("code")
				proof, err := token.SignDPoP(key(t, "d", "EdDSA"), "POST", r.issuer+"/token", "", "", time.Now())
				if err != nil {
					t.Fatal(err)
				}
				got := note(r.post("/token", r.redemption(r.square, code), "DPoP", proof))
				if got.status != http.StatusOK {
					wantError(t, got, 503, "temporarily_unavailable")
					return false
				}
				return got.json(t)["refresh_token"] != nil
			}
			if run(); !f.fired {
				if n < 8 {
					t.Errorf("only %d calls to the store", n)
				}
				break
			}
			f.countdown = 0
			if !run() {
				t.Fatalf("late %v, call %d: signing in again does not work", late, n)
			}
		}
	}
}

func TestT49StoreErrorDuringRevocation(t *testing.T) {
	f := &flaky{}
	r := newRig(t, func(r *rig) { f.Store = r.memory; r.store = f })
	got := r.tokens("scope", "openid offline_access")
	auth := url.Values{"client_id": {r.square.ID}, "client_secret": {secret}}
	for _, name := range []string{"access_token", "refresh_token"} {
		for n := 1; n <= 2; n++ {
			f.countdown = n
			a := r.post("/revoke", form(auth, "token", got[name].(string)))
			wantError(t, a, 503, "temporarily_unavailable")
			if a.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
	}
	f.countdown = 1
	wantError(t, r.refresh(got["refresh_token"].(string)), 503, "temporarily_unavailable") // not invalid_grant: the platform would forget the person
	f.countdown = 1
	wantError(t, userinfo(r, got["access_token"].(string), "Bearer"), 503, "temporarily_unavailable")
	f.countdown = 1
	if a := r.get("/status/0"); a.status != 503 {
		t.Errorf("status list: %d", a.status)
	}
	if a := r.post("/revoke", form(auth, "token", got["access_token"].(string))); a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	if r.active(got["access_token"].(string)) || r.active(got["refresh_token"].(string)) {
		t.Error("active after revocation")
	}
	if a := r.post("/revoke", form(auth, "token", got["access_token"].(string))); a.status != http.StatusOK {
		t.Error("RFC 7009, 2.2: revoking twice is no error")
	}
	_, err := r.verifier(r.square, token.TypID).Verify(t.Context(), got["id_token"].(string))
	if refusal.Of(err) == nil || refusal.Of(err).Code != token.ErrInactive.Code {
		t.Errorf("I21: the verifier says %v", err)
	}
}

// One security event for each refusal.
func TestEvents(t *testing.T) {
	r := newRig(t)
	for want, send := range map[string]func(){
		"/authorize openid.redirect_uri":     func() { r.get("/authorize?" + r.request(r.square, "redirect_uri", "x").Encode()) },
		"/authorize openid.unknown_platform": func() { r.get("/authorize?client_id=x") },
		"/authorize invalid_scope":           func() { r.get("/authorize?" + r.request(r.square, "scope", "x").Encode()) },
		"/authorize login_required":          func() { r.get("/authorize?" + r.request(r.square, "prompt", "none").Encode()) },
		"/authorize access_denied":           func() { r.decide(r.open(r.request(r.square)), "deny") },
		"/authorize openid.not_found":        func() { r.get("/authorize/x") },
		"/token invalid_grant":               func() { r.post("/token", r.redemption(r.square, "x")) },
		"/token invalid_client":              func() { r.post("/token", r.redemption(r.square, "x", "client_secret", "x")) },
		"/introspect invalid_client":         func() { r.post("/introspect", url.Values{"token": {"x"}}) },
		"/userinfo invalid_token":            func() { userinfo(r, "x", "Bearer") },
		"/par invalid_request":               func() { r.post("/par", r.request(r.square, "redirect_uri", "x", "client_secret", secret)) },
	} {
		r.refused = nil
		if send(); len(r.refused) != 1 || r.refused[0] != want {
			t.Errorf("events %q, want %q", r.refused, want)
		}
	}
}

// TestN04OneKeyAtTwoPlatforms: two platforms that compare the keys in their tokens
// would see that two pen names are one person's. Each needs a key of its own.
func TestN04OneKeyAtTwoPlatforms(t *testing.T) {
	r := newRig(t)
	one, other := key(t, "d", jose.EdDSA), key(t, "e", jose.EdDSA)
	proof := func(k jose.JSONWebKey, path string) string {
		p, err := token.SignDPoP(k, "POST", r.issuer+path, "", "", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	square := func(k jose.JSONWebKey) answer {
		return r.post("/token", r.redemption(r.square, r.code(r.square)), "DPoP", proof(k, "/token"))
	}
	strict := func(k jose.JSONWebKey) answer {
		pushed := r.post("/par", r.request(r.strict, "client_secret", secret), "DPoP", proof(k, "/par")).json(t)["request_uri"].(string)
		back := r.decide(r.open(url.Values{"client_id": {r.strict.ID}, "request_uri": {pushed}}), "approve").redirected(t)
		return r.post("/token", r.redemption(r.strict, back.Get("code")), "DPoP", proof(k, "/token"))
	}
	for range 2 { // the same key at the same platform, again and again
		if a := square(one); a.status != http.StatusOK {
			t.Fatal(a.status, a.body)
		}
	}
	wantError(t, strict(one), 400, "invalid_dpop_proof")
	if a := strict(other); a.status != http.StatusOK {
		t.Fatal(a.status, a.body)
	}
	wantError(t, square(other), 400, "invalid_dpop_proof")
	// Both at once: one platform has the key, the other does not.
	for range 10 {
		both := key(t, "f", jose.EdDSA)
		answers := make(chan int, 2)
		go func() { answers <- square(both).status }()
		go func() { answers <- strict(both).status }()
		if got := []int{<-answers, <-answers}; !slices.Contains(got, http.StatusOK) || !slices.Contains(got, http.StatusBadRequest) {
			t.Fatal(got)
		}
	}
}
