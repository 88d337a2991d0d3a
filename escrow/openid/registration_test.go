package openid_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// registry is a rig's platforms, which change while it serves.
type registry struct {
	mu  sync.Mutex
	all []openid.Platform
}

func (g *registry) set(id string, change func(p *openid.Platform)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.all[slices.IndexFunc(g.all, func(p openid.Platform) bool { return p.ID == id })])
}

func (g *registry) find(which func(openid.Platform) bool) (openid.Platform, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.IndexFunc(g.all, which); i >= 0 {
		return g.all[i], nil
	}
	return openid.Platform{}, openid.ErrUnknownPlatform
}

// registered is a rig with platforms of its own besides the four.
func registered(t *testing.T, more ...openid.Platform) (*rig, *registry) {
	t.Helper()
	g := &registry{}
	r := newRig(t, func(r *rig) {
		g.all = append([]openid.Platform{r.square, r.forum, r.app, r.strict}, more...)
		r.cfg.Platforms = func(_ context.Context, id string) (openid.Platform, error) {
			return g.find(func(p openid.Platform) bool { return p.ID == id })
		}
		r.cfg.Resource = func(_ context.Context, client openid.Platform, resource string) (openid.Platform, error) {
			g.mu.Lock()
			defer g.mu.Unlock()
			return openid.FindResource(g.all, client, resource)
		}
		r.cfg.HTTP = identity.NewHTTP(identity.Guard{AllowLoopback: true})
	})
	return r, g
}

// An API proves itself and asks about tokens, and signs nobody in.
func TestAnAPIHasNoRedirectURI(t *testing.T) {
	api := openid.Platform{ID: "town-api", Name: "Town API", Origins: []string{"https://api.town.example"}, SecretHashes: []openid.SecretHash{openid.HashSecret(secret)}}
	if err := api.Check(); err != nil {
		t.Fatal(err)
	}
	nowhere, scripts := api, api
	nowhere.Origins = nil
	scripts.SecretHashes, scripts.Browser = nil, true
	if nowhere.Check() == nil || scripts.Check() == nil {
		t.Error("somebody who signs people in has no redirect URI")
	}
	r, _ := registered(t, api)
	for _, uri := range []string{"", "https://api.town.example", "https://api.town.example/cb"} {
		wantError(t, r.post("/par", r.request(r.square, "client_id", api.ID, "redirect_uri", uri, "client_secret", secret)), 400, "invalid_request")
	}
	if a := r.post("/introspect", url.Values{"client_id": {api.ID}, "client_secret": {secret}, "token": {"x"}}); a.status != http.StatusOK || !strings.Contains(a.body, `"active":false`) {
		t.Errorf("introspection: %d %s", a.status, a.body)
	}
}

// A platform changes its secret while it signs people in: at no moment is one refused
// that it was told to use, and afterwards the old one opens nothing.
func TestSecretsOverlapUnderTraffic(t *testing.T) {
	r, g := registered(t)
	old, next := secret, "the next secret, which is random too"
	using := atomic.Pointer[string]{}
	using.Store(&old)
	answered, stop := make(chan string), make(chan struct{})
	var done sync.WaitGroup
	for range 4 {
		done.Go(func() {
			for {
				with, refused := *using.Load(), ""
				if a := r.post("/par", r.request(r.square, "client_secret", with)); a.status != http.StatusCreated && with == *using.Load() {
					refused = a.body
				}
				select {
				case answered <- refused:
				case <-stop:
					return
				}
			}
		})
	}
	traffic := func() {
		for range 20 {
			if refused := <-answered; refused != "" {
				t.Errorf("refused in the middle of a rotation: %s", refused)
			}
		}
	}
	traffic()
	both := []openid.SecretHash{openid.HashSecret(next), openid.HashSecret(old)}
	g.set(r.square.ID, func(p *openid.Platform) { p.SecretHashes = both })
	traffic()
	using.Store(&next)
	traffic()
	close(stop)
	done.Wait()
	for _, s := range []string{old, next} {
		for _, way := range []func(url.Values, string) answer{
			func(v url.Values, s string) answer { return r.post("/par", form(v, "client_secret", s)) },
			func(v url.Values, s string) answer {
				req, err := http.NewRequest(http.MethodPost, r.issuer+"/par", strings.NewReader(v.Encode()))
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				req.SetBasicAuth(url.QueryEscape(r.square.ID), url.QueryEscape(s))
				return r.do(req)
			},
		} {
			if a := way(r.request(r.square), s); a.status != http.StatusCreated {
				t.Errorf("one of two secrets: %d %s", a.status, a.body)
			}
		}
	}
	// The old one ends by its date, or when it is forgotten.
	for name, left := range map[string][]openid.SecretHash{
		"date":      {both[0], {SHA256: both[1].SHA256, Until: time.Now().Add(-time.Second)}},
		"forgotten": both[:1],
	} {
		g.set(r.square.ID, func(p *openid.Platform) { p.SecretHashes = left })
		wantError(t, r.post("/par", r.request(r.square, "client_secret", old)), 401, "invalid_client")
		if a := r.post("/par", r.request(r.square, "client_secret", next)); a.status != http.StatusCreated {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	// None that counts is no way in, not even with nothing.
	g.set(r.square.ID, func(p *openid.Platform) {
		p.SecretHashes = []openid.SecretHash{{SHA256: both[0].SHA256, Until: time.Now().Add(-time.Second)}}
	})
	for _, s := range []string{"", " ", next, old} {
		wantError(t, r.post("/par", r.request(r.square, "client_secret", s)), 401, "invalid_client")
	}
}

// publisher is a platform that publishes its keys at an address.
type publisher struct {
	mu      sync.Mutex
	handler http.HandlerFunc
	asked   atomic.Int64
}

func (p *publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	p.mu.Lock()
	h := p.handler
	p.mu.Unlock()
	h(w, r)
}

func (p *publisher) publish(keys ...jose.JSONWebKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	set := jose.JSONWebKeySet{}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.Public())
	}
	p.handler = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_ = json.NewEncoder(w).Encode(set)
	}
}

// pushedBy is a pushed request of a platform that signs with k.
func (r *rig) pushedBy(pl openid.Platform, k jose.JSONWebKey, alg jose.SignatureAlgorithm) answer {
	now := time.Now()
	claims := map[string]any{"iss": pl.ID, "sub": pl.ID, "aud": r.issuer, "jti": fmt.Sprint(now.UnixNano()), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	return r.post("/par", form(r.request(pl), "client_assertion_type", assertionType, "client_assertion", signed(r.t, k, alg, "JWT", claims)))
}

func TestKeysByAddress(t *testing.T) {
	for _, alg := range []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256} {
		t.Run(string(alg), func(t *testing.T) {
			first, next := key(t, "one", alg), key(t, "two", alg)
			p := &publisher{}
			p.publish(first)
			srv := httptest.NewServer(p)
			t.Cleanup(srv.Close)
			news := openid.Platform{ID: "news", Name: "News", RedirectURIs: []string{"https://news.example/cb"}, JWKSURI: srv.URL + "/jwks", Localhost: true}
			r, _ := registered(t, news)
			push := func(k jose.JSONWebKey) answer {
				return r.pushedBy(news, k, alg)
			}
			if a := push(first); a.status != http.StatusCreated {
				t.Fatalf("%d %s", a.status, a.body)
			}
			impostor := key(t, "one", alg)
			wantError(t, push(impostor), 401, "invalid_client")
			if n := p.asked.Load(); n != 1 {
				t.Errorf("asked %d times", n)
			}
			// R05: a flood of unknown kids asks at most once a minute.
			for range 50 {
				a := push(next)
				wantError(t, a, 401, "invalid_client")
				if !strings.Contains(a.body, "no key with its kid at the client's jwks_uri") {
					t.Fatal(a.body)
				}
			}
			if n := p.asked.Load(); n > 2 {
				t.Errorf("R05: asked %d times", n)
			}
		})
	}
}

// Whoever waits for a platform's keys does so aside, and cannot go on without a place afterwards.
func TestKeysByAddressAreWaitedForAside(t *testing.T) {
	k := key(t, "one", jose.EdDSA)
	p := &publisher{}
	p.publish(k)
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	news := openid.Platform{ID: "news", Name: "News", RedirectURIs: []string{"https://news.example/cb"}, JWKSURI: srv.URL + "/jwks", Localhost: true}
	r, _ := registered(t, news)
	var none error
	r.cfg.Aside = func(_ context.Context, wait func()) error {
		before := p.asked.Load()
		if wait(); none == nil && p.asked.Load() != before+1 {
			t.Error("the keys were not asked for aside")
		}
		return none
	}
	var err error
	if r.provider, err = openid.New(r.cfg, r.store, r.page); err != nil {
		t.Fatal(err)
	}
	r.client.Transport = inProcess{r.provider.Handler()}
	if a := r.pushedBy(news, k, jose.EdDSA); a.status != http.StatusCreated {
		t.Errorf("%d %s", a.status, a.body)
	}
	none = openid.ErrUnavailable
	wantError(t, r.pushedBy(news, k, jose.EdDSA), 503, "temporarily_unavailable")
}

// R03, R04: what a platform gives as an address leads into no network of the operator's,
// and costs no more than a moment and a few kilobytes.
func TestKeysByAddressThatMustNotBe(t *testing.T) {
	k := key(t, "one", jose.EdDSA)
	many := make([]jose.JSONWebKey, 65)
	for i := range many {
		one := key(t, fmt.Sprint(i), jose.EdDSA)
		many[i] = one.Public()
	}
	p := &publisher{}
	p.publish(k)
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	secretKeys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k}})
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]http.HandlerFunc{
		"R04 too large": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"keys":[],"x":"%s"}`, strings.Repeat("x", 70<<10))
		},
		"R04 many keys": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: many})
		},
		"a secret key": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(secretKeys)
		},
		"not found":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"a page":          func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"leads elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
	}
	push := func(t *testing.T, r *rig, pl openid.Platform) {
		t.Helper()
		a := r.pushedBy(pl, k, jose.EdDSA)
		wantError(t, a, 401, "invalid_client")
		if !strings.Contains(a.body, "the client's keys could not be fetched") {
			t.Error(a.body)
		}
	}
	for name, h := range answers {
		t.Run(name, func(t *testing.T) {
			bad := httptest.NewServer(h)
			t.Cleanup(bad.Close)
			pl := openid.Platform{ID: "news", Name: "News", RedirectURIs: []string{"https://news.example/cb"}, JWKSURI: bad.URL + "/jwks", Localhost: true}
			r, _ := registered(t, pl)
			push(t, r, pl)
		})
	}
	t.Run("R03 this machine", func(t *testing.T) {
		pl := openid.Platform{ID: "news", Name: "News", RedirectURIs: []string{"https://news.example/cb"}, JWKSURI: srv.URL + "/jwks", Localhost: true}
		r, _ := registered(t, pl)
		r.cfg.HTTP = identity.NewHTTP(identity.Guard{}) // as in production
		var err error
		if r.provider, err = openid.New(r.cfg, r.store, r.page); err != nil {
			t.Fatal(err)
		}
		r.client.Transport = inProcess{r.provider.Handler()}
		push(t, r, pl)
	})
	if n := p.asked.Load(); n != 0 {
		t.Errorf("R03: it was asked %d times", n)
	}
	for _, address := range []string{"http://news.example/jwks", "http://127.0.0.1/jwks", "https://u:p@news.example/jwks", "https://news.example/jwks#x", "file:///etc/passwd", "jwks"} {
		_, err := openid.Fixed(openid.Platform{ID: "p", RedirectURIs: []string{"https://p.example/"}, JWKSURI: address})
		if refusal.Of(err) == nil {
			t.Errorf("R03: %s could be registered", address)
		}
	}
}

// Scripts in a browser keep no secret: they use PKCE, and get a refresh token only if it
// is bound to a key.
func TestBrowserClient(t *testing.T) {
	spa := openid.Platform{ID: "spa", Name: "SPA", RedirectURIs: []string{"https://spa.example/"}, Browser: true}
	r, _ := registered(t, spa)
	if a := r.get("/authorize?" + r.request(spa, "code_challenge", "", "code_challenge_method", "").Encode()).redirected(t); a.Get("error") != "invalid_request" {
		t.Errorf("without PKCE: %v", a)
	}
	named := ""
	redeem := func(headers ...string) map[string]any {
		t.Helper()
		a := r.post("/token", r.redemption(spa, r.code(spa, "scope", "openid offline_access"), "client_secret", "", "scope", named), headers...)
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return a.json(t)
	}
	for _, named = range []string{"openid offline_access", ""} {
		if plain := redeem(); plain["refresh_token"] != nil || plain["token_type"] != "Bearer" || plain["scope"] != "openid" {
			t.Errorf("%v", plain)
		}
	}
	proof, err := token.SignDPoP(key(t, "", jose.EdDSA), http.MethodPost, r.issuer+"/token", "", "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if bound := redeem("DPoP", proof); bound["refresh_token"] == nil || bound["token_type"] != "DPoP" || bound["scope"] != "openid offline_access" {
		t.Errorf("%v", bound)
	}
	for _, uri := range []string{"http://127.0.0.1/", "http://localhost/", "com.example.spa:/back"} {
		if _, err := openid.Fixed(openid.Platform{ID: "p", RedirectURIs: []string{uri}, Browser: true}); err == nil {
			t.Errorf("%s could be registered", uri)
		}
	}
}

// A site, its app and its API are one sector: the API is the audience of a token that the
// site asked for, verifies it, and may ask about it. Nobody else can be, or may.
func TestResourceIndicators(t *testing.T) {
	api := openid.Platform{ID: "town-api", Name: "Town API", Sector: "town.example", Origins: []string{"https://api.town.example"},
		RedirectURIs: []string{"https://api.town.example/none"}, SecretHashes: []openid.SecretHash{openid.HashSecret("api")}}
	r, g := registered(t, api)
	g.set(r.square.ID, func(p *openid.Platform) { p.Sector = api.Sector })
	ask := func(pl openid.Platform, secret, raw string) map[string]any {
		t.Helper()
		a := r.post("/introspect", url.Values{"token": {raw}, "client_id": {pl.ID}, "client_secret": {secret}})
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return a.json(t)
	}
	aud := func(raw string) (c struct {
		Aud    string `json:"aud"`
		Client string `json:"client_id"`
	}) {
		t.Helper()
		text, _ := fromBase64(strings.Split(raw, ".")[1])
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err, text)
		}
		return c
	}
	for _, name := range []string{api.ID, "https://api.town.example", "https://api.town.example/v1/posts"} {
		got := r.tokens("scope", "openid offline_access", "resource", name)
		access := got["access_token"].(string)
		if c := aud(access); c.Aud != api.ID || c.Client != r.square.ID {
			t.Errorf("%s: %+v", name, c)
		}
		if c := aud(got["id_token"].(string)); c.Aud != r.square.ID {
			t.Errorf("the ID token of %s: %+v", name, c)
		}
		if _, err := r.verifier(api, token.TypAccess).Verify(t.Context(), access); err != nil {
			t.Errorf("the API: %v", err)
		}
		if _, err := r.verifier(r.square, token.TypAccess).Verify(t.Context(), access); err == nil {
			t.Error("the site takes a token that is for the API")
		}
		if m := ask(api, "api", access); m["active"] != true || m["sub"] != string(pseudonym(canary, r.square.ID)) {
			t.Errorf("O22: the API: %v", m)
		}
		if m := ask(r.strict, secret, access); len(m) != 1 || m["active"] != false {
			t.Errorf("O22: another platform: %v", m)
		}
		if m := ask(api, "api", got["refresh_token"].(string)); len(m) != 1 || m["active"] != false {
			t.Errorf("O22: the API about a refresh token: %v", m)
		}
		again := r.refresh(got["refresh_token"].(string)).json(t)
		if c := aud(again["access_token"].(string)); c.Aud != api.ID {
			t.Errorf("after a renewal: %+v", c)
		}
	}
	// By PAR, and at the token endpoint alone.
	pushed := r.post("/par", r.request(r.square, "client_secret", secret, "resource", api.ID)).json(t)["request_uri"].(string)
	code := r.decide(r.open(url.Values{"client_id": {r.square.ID}, "request_uri": {pushed}}), "approve").redirected(t).Get("code")
	if got := r.post("/token", r.redemption(r.square, code)).json(t); aud(got["access_token"].(string)).Aud != api.ID {
		t.Errorf("pushed: %v", got)
	}
	if got := r.post("/token", r.redemption(r.square, r.code(r.square), "resource", api.ID)).json(t); aud(got["access_token"].(string)).Aud != api.ID {
		t.Errorf("at the token endpoint: %v", got)
	}
	if got := r.tokens(); aud(got["access_token"].(string)).Aud != r.square.ID {
		t.Errorf("named by nobody: %v", got)
	}
	wantError(t, r.post("/token", r.redemption(r.square, r.code(r.square, "resource", api.ID), "resource", r.square.ID)), 400, "invalid_target")
	// O27 and the like: the answer is a constant.
	for _, name := range []string{r.forum.ID, "https://forum.example", "https://evil.example", "https://api.town.example.evil.example/", "https://u@api.town.example/", "https://api.town.example/#x", "", "<script>"} {
		wantRedirect(t, r, r.get("/authorize?"+form(r.request(r.square), "state", "s").Encode()+"&resource="+url.QueryEscape(name)), "invalid_target")
		wantError(t, r.post("/token", url.Values{"grant_type": {"authorization_code"}, "code": {r.code(r.square)}, "client_id": {r.square.ID}, "client_secret": {secret}, "code_verifier": {verifierText}, "redirect_uri": {r.square.RedirectURIs[0]}, "resource": {name}}), 400, "invalid_target")
	}
	v := r.request(r.square, "client_secret", secret)
	v["resource"] = []string{api.ID, r.square.ID}
	wantError(t, r.post("/par", v), 400, "invalid_target")
	// O12: an audience that has retired, or is of another sector now, gets no more tokens.
	for name, change := range map[string]func(*openid.Platform){
		"closed":         func(p *openid.Platform) { p.Closed = openid.ErrStopped },
		"another sector": func(p *openid.Platform) { p.Sector = "elsewhere.example" },
	} {
		got := r.tokens("scope", "openid offline_access", "resource", api.ID)
		before, _ := g.find(func(p openid.Platform) bool { return p.ID == api.ID })
		g.set(api.ID, change)
		t.Run("O12 "+name, func(t *testing.T) { wantError(t, r.refresh(got["refresh_token"].(string)), 400, "invalid_grant") })
		g.set(api.ID, func(p *openid.Platform) { *p = before })
	}
}

// N04: a DPoP key is a platform's own, and its sector's.
func TestSectorsShareADPoPKey(t *testing.T) {
	app := openid.Platform{ID: "town-app", Name: "Town App", Sector: "town.example", RedirectURIs: []string{"http://127.0.0.1/back"}, Native: true}
	other := openid.Platform{ID: "stranger", Name: "Stranger", RedirectURIs: []string{"https://stranger.example/"}, SecretHashes: []openid.SecretHash{openid.HashSecret(secret)}}
	r, g := registered(t, app, other)
	g.set(r.square.ID, func(p *openid.Platform) { p.Sector = app.Sector })
	k := key(t, "", jose.EdDSA)
	redeem := func(pl openid.Platform, pairs ...string) answer {
		proof, err := token.SignDPoP(k, http.MethodPost, r.issuer+"/token", "", "", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return r.post("/token", r.redemption(pl, r.code(pl), pairs...), "DPoP", proof)
	}
	for _, a := range []answer{redeem(r.square), redeem(app, "client_secret", "")} {
		if a.status != http.StatusOK {
			t.Errorf("in one sector: %d %s", a.status, a.body)
		}
	}
	wantError(t, redeem(other), 400, "invalid_dpop_proof")
}

// T50: a platform that has retired signs nobody in, renews nothing, and its tokens are
// not active.
func TestT50RetiredPlatform(t *testing.T) {
	r, g := registered(t)
	got, code := r.tokens("scope", "openid offline_access"), r.code(r.square)
	action := r.open(r.request(r.square))
	close := func(why *refusal.Error) { g.set(r.square.ID, func(p *openid.Platform) { p.Closed = why }) }
	close(openid.ErrRetired)
	wantError(t, r.refresh(got["refresh_token"].(string)), 401, "invalid_client")
	wantError(t, r.post("/token", r.redemption(r.square, code)), 401, "invalid_client")
	wantError(t, r.post("/introspect", url.Values{"token": {got["access_token"].(string)}, "client_id": {r.square.ID}, "client_secret": {secret}}), 401, "invalid_client")
	wantError(t, userinfo(r, got["access_token"].(string), "Bearer"), 401, "invalid_token")
	for _, why := range []*refusal.Error{openid.ErrRetired, openid.ErrStopped, openid.ErrUnsound} {
		close(why)
		wantPage(t, r.get("/authorize?"+r.request(r.square).Encode()), why)
	}
	if a := r.decide(action, "approve"); a.header.Get("Location") != "" && strings.Contains(a.header.Get("Location"), "code=") {
		t.Errorf("a sign-in under way was ended in its favour: %v", a.header)
	}
}

// O24: a sector_identifier_uri is fetched from the public internet alone, and has to list
// every redirect URI.
func TestO24SectorIdentifierURI(t *testing.T) {
	answers := map[string]struct {
		body string
		good bool
	}{
		"all":         {`["https://a.town.example/cb","https://b.town.example/cb","https://more.example/"]`, true},
		"one missing": {`["https://a.town.example/cb"]`, false},
		"a prefix":    {`["https://a.town.example/","https://b.town.example/cb"]`, false},
		"an object":   {`{"redirect_uris":["https://a.town.example/cb","https://b.town.example/cb"]}`, false},
		"numbers":     {`[1,2]`, false},
		"a page":      {`<html>`, false},
		"nothing":     {``, false},
		"without end": {`["` + strings.Repeat("x", 100<<10) + `"]`, false},
		"null":        {`null`, false},
	}
	p := openid.Platform{ID: "town", RedirectURIs: []string{"https://a.town.example/cb", "https://b.town.example/cb"}, Localhost: true}
	for name, c := range answers {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.body) }))
		sector, err := openid.SectorOf(t.Context(), identity.NewHTTP(identity.Guard{AllowLoopback: true}), srv.URL+"/sector.json", p)
		if (err == nil) != c.good || c.good && sector != "127.0.0.1" || !c.good && (refusal.Of(err) == nil || refusal.Of(err).Code != openid.ErrSectorURI.Code) {
			t.Errorf("O24 %s: %q %v", name, sector, err)
		}
		if _, err := openid.SectorOf(t.Context(), identity.NewHTTP(identity.Guard{}), srv.URL+"/sector.json", p); refusal.Of(err) == nil {
			t.Errorf("O24 internal address: %s", name)
		}
		srv.Close()
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answers["all"].body) }))
	t.Cleanup(srv.Close)
	for origin, good := range map[string]bool{"https://a.town.example": true, "https://more.example": true, "https://town.example": false, "https://more.exam": false} {
		api := openid.Platform{ID: "api", Origins: []string{origin}, Localhost: true}
		if _, err := openid.SectorOf(t.Context(), identity.NewHTTP(identity.Guard{AllowLoopback: true}), srv.URL, api); (err == nil) != good {
			t.Errorf("O24 an API at %s: %v", origin, err)
		}
	}
	p.Localhost = false
	for _, address := range []string{"http://town.example/s.json", "http://127.0.0.1/s.json", "https://u:p@town.example/", "https://town.example/#x", "ftp://town.example/", ""} {
		if _, err := openid.SectorOf(t.Context(), http.DefaultClient, address, p); refusal.Of(err) == nil {
			t.Errorf("O24: %q was fetched", address)
		}
	}
	for domain, c := range map[string]struct {
		p    openid.Platform
		good bool
	}{
		"town.example":         {openid.Platform{RedirectURIs: []string{"https://a.town.example/cb"}, Origins: []string{"https://town.example"}}, true},
		"forum.example":        {openid.Platform{RedirectURIs: []string{"https://a.forum.example/cb", "https://forum.example.evil.example/"}}, false},
		"co.uk":                {openid.Platform{RedirectURIs: []string{"https://a.co.uk/cb"}}, false},
		"example.co.uk":        {openid.Platform{RedirectURIs: []string{"https://example.co.uk/cb"}}, true},
		"a.park.example":       {openid.Platform{RedirectURIs: []string{"https://a.park.example/cb"}}, false},
		"pocket.example":       {openid.Platform{RedirectURIs: []string{"example.pocket.app:/back", "http://127.0.0.1/back"}, Native: true}, true},
		"purse.example":        {openid.Platform{RedirectURIs: []string{"http://127.0.0.1/back"}, Native: true}, false},
		"https://town.example": {openid.Platform{RedirectURIs: []string{"https://town.example/cb"}}, false},
		"github.io":            {openid.Platform{RedirectURIs: []string{"https://a.github.io/cb"}}, false},
		"example":              {openid.Platform{RedirectURIs: []string{"https://town.example/cb"}}, false},
		"trial.example":        {openid.Platform{RedirectURIs: []string{"http://localhost:3000/cb", "https://trial.example/cb"}, Localhost: true}, true},
		"trials.example":       {openid.Platform{RedirectURIs: []string{"http://localhost:3000/cb", "https://other.example/cb"}, Localhost: true}, false},
		"shop.example":         {openid.Platform{RedirectURIs: []string{"https://notshop.example/cb"}}, false},
	} {
		if err := c.p.CheckSector(domain); (err == nil) != c.good {
			t.Errorf("%s: %v", domain, err)
		}
	}
}

// Settings are written in one way, and what is written in another is not read.
func TestSettings(t *testing.T) {
	p := openid.Platform{ID: "x", Name: "X", RedirectURIs: []string{"https://x.example/cb"}, SecretHashes: []openid.SecretHash{openid.HashSecret("s")}, RequirePAR: true, IDTokenAlg: jose.ES256}
	raw, err := p.Settings()
	if err != nil {
		t.Fatal(err)
	}
	back, err := openid.ParseSettings(raw)
	if again, _ := back.Settings(); err != nil || string(again) != string(raw) || back.ID != "" || back.Name != "" {
		t.Fatalf("%v: %s", err, again)
	}
	for _, bad := range []string{"", "{}x", "null", string(raw) + " ", " " + string(raw), strings.Replace(string(raw), "{", `{"unknown":1,`, 1), strings.Replace(string(raw), `"require_par":true`, `"require_par":true,"require_par":true`, 1), strings.Replace(string(raw), `"require_par":true`, `"Require_par":true`, 1)} {
		if _, err := openid.ParseSettings([]byte(bad)); refusal.Of(err) == nil {
			t.Errorf("read: %s", bad)
		}
	}
}

// Nothing, or white space, is no secret: neither as a setting nor as what is presented.
func TestAnEmptySecretIsNone(t *testing.T) {
	pl := openid.Platform{ID: "p", RedirectURIs: []string{"https://p.example/"}}
	for _, none := range []string{"", " ", "\n", "\r\n", "\t"} {
		hash := openid.HashSecret(none)
		hash.Until = time.Now().Add(time.Hour)
		pl.SecretHashes = []openid.SecretHash{openid.HashSecret("s"), hash}
		if err := pl.Check(); err == nil {
			t.Errorf("%q can be registered", none)
		}
	}
	pl.SecretHashes = []openid.SecretHash{openid.HashSecret("     ")} // nobody can list them all
	r, _ := registered(t, pl)
	wantError(t, r.post("/introspect", url.Values{"token": {"x"}, "client_id": {"p"}, "client_secret": {"     "}}), 401, "invalid_client")
	wantError(t, r.post("/introspect", url.Values{"token": {"x"}}, "Authorization", "Basic cDo="), 401, "invalid_client")
}
