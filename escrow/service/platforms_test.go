package service

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/oauth2"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/openid/openidtest"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/token"
)

// documented reads deploy/escrowd.toml, with the forum's key and one change.
func documented(t *testing.T, forum jose.JSONWebKey, old, new string) *issueConfig {
	t.Helper()
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{forum}})
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, "forum.jwks", string(keys), 0o644)
	text := strings.Replace(sample(t), `"/etc/penname/school-forum.jwks"`, strconv.Quote(file), 1)
	if !strings.Contains(text, old) {
		t.Fatalf("the sample has no %q", old)
	}
	c, err := ReadConfig(write(t, "escrowd.toml", strings.Replace(text, old, new, 1), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	return c.Issue
}

func newTestKey(t *testing.T) jose.JSONWebKey {
	t.Helper()
	k, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newRSAKey(t *testing.T) jose.JSONWebKey {
	t.Helper()
	k, err := document.NewKeyFor(jose.RS256)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var documentedPlatforms = &policy.Bundle{Platforms: []policy.Platform{{ID: "town-square"}, {ID: "school-forum"}, {ID: "pocket"}}}

// configured is an OpenID provider with what the documented configuration says of
// platforms.
type configured struct {
	t      *testing.T
	issuer string
	forum  jose.JSONWebKey
	h      http.Handler
}

func newConfigured(t *testing.T) *configured {
	t.Helper()
	c := &configured{t: t, issuer: "https://penname.example", forum: newTestKey(t)}
	i := documented(t, c.forum.Public(), "", "")
	keys := []openid.Key{{JWK: newTestKey(t)}, {JWK: newRSAKey(t)}}
	platforms, err := i.platforms(documentedPlatforms, keys)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	fixed, err := openid.Fixed(platforms...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := openid.New(openid.Config{Issuer: c.issuer, Keys: keys, Platforms: fixed},
		openidtest.NewMemory(), func(w http.ResponseWriter, _ *http.Request, req openid.SignInRequest) (openid.Subject, openid.Outcome, error) {
			if req.Platform.ID == "school-forum" {
				name, err := token.NewPseudonym([]byte("sixteen bytes 16"))
				return openid.Subject{Pseudonym: name, Commitment: [32]byte{1}, ACR: "high"}, openid.Approved, err
			}
			_, err := w.Write([]byte("Who are you?"))
			return openid.Subject{}, openid.Pending, err
		})
	if err != nil {
		t.Fatal(err)
	}
	c.h = p.Handler()
	return c
}

func (c *configured) ask(method, path string, form url.Values, edit ...func(*http.Request)) *httptest.ResponseRecorder {
	var r *http.Request
	if method == http.MethodGet {
		r = httptest.NewRequest(method, c.issuer+path+"?"+form.Encode(), nil)
		if form == nil {
			r = httptest.NewRequest(method, c.issuer+path, nil)
		}
	} else {
		r = httptest.NewRequest(method, c.issuer+path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.RequestURI = r.URL.RequestURI()
	for _, e := range edit {
		e(r)
	}
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	return w
}

// assertion is how the forum proves who it is (RFC 7523), with a key.
func (c *configured) assertion(k jose.JSONWebKey) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: k}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		c.t.Fatal(err)
	}
	now := time.Now()
	raw, err := jwt.Signed(s).Claims(jwt.Claims{Issuer: "school-forum", Subject: "school-forum", ID: newTestKey(c.t).KeyID,
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute))}).Claims(map[string]any{"aud": c.issuer}).Serialize()
	if err != nil {
		c.t.Fatal(err)
	}
	return raw
}

var verifierForTest = strings.Repeat("a", 43)

func request(client, redirect string, more ...string) url.Values {
	v := url.Values{"client_id": {client}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"openid"},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifierForTest)}, "code_challenge_method": {"S256"}}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	return v
}

// TestEveryWayOfAPlatformIsConfigurable: what the file says of a platform is what
// the provider holds it to.
func TestEveryWayOfAPlatformIsConfigurable(t *testing.T) {
	c := newConfigured(t)
	const forum = "https://forum.example/callback"
	signed := func(k jose.JSONWebKey) url.Values {
		return request("school-forum", forum, "client_assertion", c.assertion(k),
			"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	}
	bound := newTestKey(t)
	proof := func(r *http.Request) {
		p, err := token.SignDPoP(bound, r.Method, c.issuer+r.URL.Path, "", "", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("DPoP", p)
	}
	if w := c.ask("GET", "/authorize", request("town-square", "https://town.example/callback")); w.Code != http.StatusOK {
		t.Errorf("a secret, not pushed: %d %s", w.Code, w.Body)
	}
	if w := c.ask("GET", "/authorize", request("school-forum", forum)); !strings.Contains(w.Header().Get("Location"), "error=invalid_request") {
		t.Errorf("require_par: %d %s", w.Code, w.Header())
	}
	pushed := c.ask("POST", "/par", signed(c.forum))
	var par struct {
		URI string `json:"request_uri"`
	}
	if err := json.Unmarshal(pushed.Body.Bytes(), &par); err != nil || pushed.Code != http.StatusCreated {
		t.Fatalf("jwks_file: %d %s", pushed.Code, pushed.Body)
	}
	if w := c.ask("POST", "/par", signed(newTestKey(t)), proof); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "invalid_client") {
		t.Errorf("another key than that in jwks_file: %d %s", w.Code, w.Body)
	}
	redeem := func(edit ...func(*http.Request)) *httptest.ResponseRecorder {
		back, err := c.ask("GET", "/authorize", url.Values{"client_id": {"school-forum"}, "request_uri": {par.URI}}).Result().Location()
		if err != nil {
			t.Fatal(err)
		}
		form := signed(c.forum)
		form.Set("grant_type", "authorization_code")
		form.Set("code", back.Query().Get("code"))
		form.Set("code_verifier", verifierForTest)
		return c.ask("POST", "/token", form, edit...)
	}
	if w := redeem(); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "invalid_request") {
		t.Errorf("require_dpop, without a proof: %d %s", w.Code, w.Body)
	}
	if pushed = c.ask("POST", "/par", signed(c.forum), proof); json.Unmarshal(pushed.Body.Bytes(), &par) != nil {
		t.Fatal(pushed.Body)
	}
	if w := redeem(proof); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"token_type":"DPoP"`) {
		t.Errorf("require_dpop, with one: %d %s", w.Code, w.Body)
	}
	for _, uri := range []string{"com.example.pocket:/back", "http://127.0.0.1:51234/back"} {
		if w := c.ask("GET", "/authorize", request("pocket", uri)); w.Code != http.StatusOK {
			t.Errorf("native, %s: %d %s", uri, w.Code, w.Body)
		}
	}
	if w := c.ask("POST", "/par", request("pocket", "http://127.0.0.1/back")); w.Code != http.StatusCreated {
		t.Errorf("native, without a secret: %d %s", w.Code, w.Body)
	}
}

// TestPlatformsRefused changes one thing of the documented platforms at a time.
func TestPlatformsRefused(t *testing.T) {
	private, rsaKeys := newTestKey(t), []openid.Key{{JWK: newRSAKey(t)}}
	if _, err := documented(t, private.Public(), "", "").platforms(documentedPlatforms, []openid.Key{{JWK: private}}); !errConfigPlatform.Is(refusalOf(err)) {
		t.Errorf("an algorithm that no key signs with: %v", err)
	}
	for name, change := range map[string][2]string{
		"a secret that is no SHA-256":       {`secret_sha256 = "0b`, `secret_sha256 = "`},
		"neither secret nor keys nor app":   {`native        = true`, ``},
		"an app with a secret":              {`native        = true`, "native = true\nsecret_sha256 = \"" + strings.Repeat("ab", 32) + `"`},
		"plain http of a server":            {`"https://town.example/callback"`, `"http://127.0.0.1/callback"`},
		"plain http of an app, elsewhere":   {`"http://127.0.0.1/back"`, `"http://app.example/back"`},
		"N5 localhost of a server":          {`"https://town.example/callback"`, `"http://localhost:3000/callback"`},
		"N5 localhost of an app":            {`"http://127.0.0.1/back"`, `"http://localhost:3000/back"`},
		"a wildcard":                        {`"https://town.example/callback"`, `"https://*.town.example/callback"`},
		"an app's scheme at a server":       {`"https://forum.example/callback"`, `"com.example.forum:/callback"`},
		"no name":                           {`name          = "Pocket"`, ``},
		"not in the bundle":                 {`id            = "pocket"`, `id            = "other"`},
		"an id twice":                       {`id            = "pocket"`, `id            = "town-square"`},
		"an origin with a path":             {`"https://app.town.example"`, `"https://app.town.example/x"`},
		"an algorithm of nobody":            {`"RS256"`, `"HS256"`},
		"a way back that is not https":      {`"https://town.example/"`, `"http://town.example/"`},
		"a file of keys that does not open": {`school-forum.jwks`, `none.jwks`},
	} {
		i := documented(t, private.Public(), "", "")
		if name == "a file of keys that does not open" {
			for n := range i.Platforms {
				if i.Platforms[n].JWKSFile != "" {
					i.Platforms[n].JWKSFile = filepath.Join(t.TempDir(), change[1])
				}
			}
		} else {
			i = documented(t, private.Public(), change[0], change[1])
		}
		if _, err := i.platforms(documentedPlatforms, rsaKeys); !errConfigPlatform.Is(refusalOf(err)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := documented(t, private, "", "").platforms(documentedPlatforms, rsaKeys); !errConfigPlatform.Is(refusalOf(err)) {
		t.Errorf("a private key among the public ones: %v", err)
	}
}

// TestEveryDemandOnAProviderIsConfigurable: what the file demands of an identity
// provider is asked of it.
func TestEveryDemandOnAProviderIsConfigurable(t *testing.T) {
	key := newTestKey(t)
	providers := documented(t, key.Public(), "", "").IdentityProviders
	if len(providers) != 2 {
		t.Fatalf("%d providers", len(providers))
	}
	srv := httptest.NewUnstartedServer(nil)
	origin := "http://" + srv.Listener.Addr().String()
	srv.Config.Handler = sandbox.NewProvider(origin, sandbox.Client{ID: "penname"}, sandbox.People(), time.Now).Handler()
	srv.Start()
	t.Cleanup(srv.Close)
	begin := func(c providerConfig) url.Values {
		c.Issuer, c.ClientSecret = origin, write(t, "provider.secret", "secret\n", 0o600)
		demands, err := c.demands("https://penname.example", nil)
		if err != nil {
			t.Fatal(err)
		}
		demands.AllowLoopback = true
		party, err := identity.NewRelyingParty(t.Context(), demands, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		_, authURL := party.Begin()
		u, err := url.Parse(authURL)
		if err != nil {
			t.Fatal(err)
		}
		return u.Query()
	}
	national, bank := begin(providers[0]), begin(providers[1])
	for name, want := range map[string]string{
		"redirect_uri": "https://penname.example" + person.CallbackPath("national"), "scope": "openid profile address",
		"acr_values": "http://eidas.europa.eu/LoA/substantial", "max_age": "", "claims": "",
	} {
		if got := national.Get(name); got != want {
			t.Errorf("national: %s is %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{
		"redirect_uri": "https://penname.example" + person.CallbackPath("bank"), "scope": "openid profile", "acr_values": "urn:bank:verified", "max_age": "600",
	} {
		if got := bank.Get(name); got != want {
			t.Errorf("bank: %s is %q, want %q", name, got, want)
		}
	}
	if claims := bank.Get("claims"); !strings.Contains(claims, `"amr":{"essential":true}`) || !strings.Contains(claims, `"trust_framework":{"values":["eidas"]}`) {
		t.Errorf("bank: claims are %s", claims)
	}
}

// TestPresetsAreConfigurable: by its name a provider needs no more than what it gave us.
func TestPresetsAreConfigurable(t *testing.T) {
	read := func(provider string) *Config {
		t.Helper()
		text := strings.Replace(sample(t), "[[issue.platforms]]", "[[issue.identity_providers]]\nid = \"named\"\nname = \"Named\"\nclient_id = \"penname\"\n"+provider+"\n[[issue.platforms]]", 1)
		c, err := ReadConfig(write(t, "escrowd.toml", text, 0o644))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	raw, err := json.Marshal(jose.JSONWebKey{Key: newTestKey(t).Key, KeyID: "ours", Algorithm: "EdDSA"})
	if err != nil {
		t.Fatal(err)
	}
	key := write(t, "client.jwk", string(raw), 0o600)
	c := read("preset = \"gov-uk-one-login\"\nissuer = \"https://oidc.integration.account.gov.uk/\"\nclient_key_file = \"" + key + "\"")
	one := c.Issue.IdentityProviders[2]
	d, err := one.demands("https://penname.example", nil)
	if err != nil || d.Issuer != "https://oidc.integration.account.gov.uk/" || d.ClientKey == nil || d.ClientSecret != "" || !slices.Equal(d.ACRValues, []string{"P2"}) || !slices.Equal(one.ACRValues, d.ACRValues) {
		t.Errorf("%v: %+v", err, one)
	}
	d, err = read("preset = \"franceconnect\"").Issue.IdentityProviders[2].demands("https://penname.example", nil)
	if err != nil || d.Issuer != "https://auth.franceconnect.gouv.fr/api/v2" || !d.SignedUserInfo || !slices.Equal(d.ACRValues, []string{"eidas2", "eidas3"}) {
		t.Errorf("%v: %v", err, d.Scopes)
	}
	_, err = providerConfig{DecryptionKey: write(t, "public.jwk", `{"kty":"OKP"}`, 0o600)}.demands("https://penname.example", nil)
	if !ErrSecretFile.Is(refusalOf(err)) {
		t.Errorf("no secret key: %v", err)
	}
}
