package openid_test

import (
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
)

// The JSON of platforms is read by the protocol library too, which takes upper case for
// another name. encoding/json does not, so two would read two things out of one text.
func TestJSONIsReadAsTheLibraryReadsIt(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imported := range f.Imports {
			if imported.Path.Value == `"encoding/json"` {
				t.Errorf("%s imports encoding/json: use github.com/go-jose/go-jose/v4/json", file)
			}
		}
	}
}

// assertionText is an assertion whose claims are written as text: iss and sub, and more
// members after them.
func assertionText(t *testing.T, r *rig, k jose.JSONWebKey, id, jti, more string) []string {
	t.Helper()
	now := time.Now().Unix()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: k}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(fmt.Appendf(nil, `{"iss":%q,"sub":%q,"aud":%q,"jti":%q,"iat":%d,"exp":%d%s}`, id, id, r.issuer, jti, now, now+60, more))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return []string{"client_id", "", "client_secret", "", "client_assertion_type", assertionType, "client_assertion", raw}
}

// A platform that publishes its keys signs in nobody's name but its own, whatever else
// the assertion seems to say in another spelling.
func TestAssertionCountsForOneClient(t *testing.T) {
	thief := key(t, "thief", jose.EdDSA)
	p := &publisher{}
	p.publish(thief)
	srv := httptest.NewServer(p)
	t.Cleanup(srv.Close)
	own := key(t, "own", jose.EdDSA)
	evil := openid.Platform{ID: "evil", Name: "Evil", RedirectURIs: []string{"https://evil.example/cb"}, JWKSURI: srv.URL + "/jwks", Localhost: true}
	victim := openid.Platform{ID: "victim", Name: "Victim", RedirectURIs: []string{"https://victim.example/cb"}, JWKS: []jose.JSONWebKey{own.Public()}}
	r, _ := registered(t, evil, victim)
	jti := 0
	by := func(k jose.JSONWebKey, id, more string) []string {
		jti++
		return assertionText(t, r, k, id, fmt.Sprint(jti), more)
	}
	good := r.post("/token", r.redemption(victim, r.code(victim), by(own, "victim", "")...))
	if good.status != 200 {
		t.Fatalf("%d %s", good.status, good.body)
	}
	held := url.Values{"token": {good.json(t)["access_token"].(string)}}
	for _, more := range []string{`,"Iss":"evil","Sub":"evil"`, `,"ISS":"evil","ſub":"evil","Sub":"evil"`, `,"iss":"evil","sub":"evil"`, `,"\u0069ss":"evil","\u0073ub":"evil"`} {
		for path, form := range map[string]url.Values{
			"/par":        form(r.request(victim), by(thief, "victim", more)...),
			"/token":      r.redemption(victim, r.code(victim), by(thief, "victim", more)...),
			"/introspect": form(held, by(thief, "victim", more)...),
			"/revoke":     form(held, by(thief, "victim", more)...),
		} {
			if a := r.post(path, form); a.status != 401 {
				t.Errorf("%s with %s: %d %s", path, more, a.status, a.body)
			}
		}
	}
	// An assertion works once, whoever it says it is besides.
	for i, more := range []string{"", `,"Iss":"a","Sub":"a"`, `,"Jti":"other"`} {
		a := r.post("/introspect", form(held, assertionText(t, r, thief, "evil", "once", more)...))
		if want := []int{200, 401, 401}[i]; a.status != want {
			t.Errorf("jti once more with %q: %d %s", more, a.status, a.body)
		}
	}
	// The library takes a client's id from a header too.
	attestation := signed(t, key(t, "", jose.ES256), jose.ES256, "JWT", map[string]any{"sub": r.app.ID})
	named := r.redemption(r.app, r.code(r.app), "client_id", "", "client_secret", "")
	wantError(t, r.post("/token", named, "OAuth-Client-Attestation", attestation), 401, "invalid_client")
}

// O14: an app has nothing to show, so that what it shows is a mistake, or is meant for
// the checks alone.
func TestO14PublicClientShowsNothing(t *testing.T) {
	api := openid.Platform{ID: "town-api", Name: "Town API", Sector: "town.example", RedirectURIs: []string{"https://api.town.example/none"}, SecretHashes: []openid.SecretHash{openid.HashSecret("api")}}
	site := openid.Platform{ID: "town", Name: "Town", Sector: "town.example", RedirectURIs: []string{"https://town.example/cb"}, SecretHashes: []openid.SecretHash{openid.HashSecret("api")}}
	r, _ := registered(t, api, site)
	junk := key(t, "", jose.EdDSA)
	for name, shown := range map[string][]string{
		"an assertion":        assertionText(t, r, junk, r.app.ID, "1", ""),
		"one in another name": assertionText(t, r, junk, r.app.ID, "2", `,"Iss":"town","Sub":"town"`),
		"a secret":            {"client_secret", secret},
	} {
		wantError(t, r.post("/token", r.redemption(r.app, r.code(r.app), shown...)), 401, "invalid_client")
		if a := r.post("/token", r.redemption(r.app, r.code(r.app), append(shown, "resource", api.ID)...)); a.status == 200 {
			t.Errorf("%s: a token for another's API: %s", name, a.body)
		}
	}
}

// Whom a token is for is decided when it is issued, by the platform of the grant.
func TestAudienceIsOfTheGrantsSector(t *testing.T) {
	api := openid.Platform{ID: "town-api", Name: "Town API", RedirectURIs: []string{"https://api.town.example/none"}, SecretHashes: []openid.SecretHash{openid.HashSecret("api")}}
	r, _ := registered(t, api)
	r.cfg.Resource = func(context.Context, openid.Platform, string) (openid.Platform, error) {
		was := api
		was.Sector = r.square.SectorID() // as its sector was a moment ago
		return was, nil
	}
	var err error
	if r.provider, err = openid.New(r.cfg, r.store, r.page); err != nil {
		t.Fatal(err)
	}
	r.client.Transport = inProcess{r.provider.Handler()}
	wantError(t, r.post("/token", r.redemption(r.square, r.code(r.square), "resource", api.ID)), 400, "invalid_grant")
}

// A scope that is sent a thousand times is one scope.
func TestScopeCountsOnce(t *testing.T) {
	r, _ := registered(t)
	many := strings.Repeat("openid ", 900) + "offline_access openid"
	got := r.tokens("scope", many)
	if got["scope"] != nil && got["scope"] != "openid offline_access" {
		t.Errorf("%.60s", got["scope"])
	}
	a := r.refresh(got["refresh_token"].(string), "scope", many)
	if a.status != 200 || len(a.body) > 4096 {
		t.Errorf("%d, %d bytes", a.status, len(a.body))
	}
}

// Several platforms may list one origin, and some of them be closed or of another sector:
// then a resource at that origin is the other one. Of two of one sector it is neither.
func TestResourceOfSeveralPlatforms(t *testing.T) {
	const api, both = "https://api.example", "https://both.example"
	all := []openid.Platform{
		{ID: "stranger", Sector: "elsewhere.example", Origins: []string{api}},
		{ID: "retired", Sector: "town.example", Origins: []string{api}, Closed: openid.ErrRetired},
		{ID: "api", Sector: "town.example", Origins: []string{api, both}},
		{ID: "site", Sector: "town.example", Origins: []string{api}, RedirectURIs: []string{api + "/cb"}},
		{ID: "mate", Sector: "town.example", Origins: []string{both}},
	}
	client := openid.Platform{ID: "town-square", Sector: "town.example"}
	for resource, want := range map[string]string{
		api + "/v1": "api", "api": "api", "retired": "", "stranger": "", "https://other.example": "", both: "", both + "/v1": "", "mate": "mate",
	} {
		p, err := openid.FindResource(all, client, resource)
		if p.ID != want || (want == "") != errors.Is(err, openid.ErrUnknownPlatform) {
			t.Errorf("%s is %q: %v", resource, p.ID, err)
		}
	}
}
