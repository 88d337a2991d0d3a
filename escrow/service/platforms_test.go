package service

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"golang.org/x/oauth2"

	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/openid/openidtest"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

func newTestKey(t *testing.T) jose.JSONWebKey {
	t.Helper()
	k, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newPublicKey(t *testing.T) jose.JSONWebKey {
	k := newTestKey(t)
	return k.Public()
}

func newRSAKey(t *testing.T) jose.JSONWebKey {
	t.Helper()
	k, err := document.NewKeyFor(jose.RS256)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// registering is a registry with its key, and a bundle that names it.
type registering struct {
	t      *testing.T
	key    jose.JSONWebKey
	bundle *policy.Bundle
	stored map[string]postgres.Registered // the newest of each
	rows   []postgres.Registered
}

func newRegistering(t *testing.T) *registering {
	t.Helper()
	r := &registering{t: t, key: newTestKey(t), stored: map[string]postgres.Registered{}}
	r.bundle = r.rules(nil, nil)
	return r
}

// rules is a bundle with the registry's key, after another one, or the first.
func (r *registering) rules(after *policy.Bundle, issuerKeys json.RawMessage, stops ...policy.Stop) *policy.Bundle {
	r.t.Helper()
	jwks := func(k jose.JSONWebKey) json.RawMessage {
		raw, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k.Public()}})
		if err != nil {
			r.t.Fatal(err)
		}
		return raw
	}
	verifier := func(name string, kind byte) string {
		k := sha256.Sum256([]byte(name))
		return name + "+0a1b2c3d+" + base64.StdEncoding.EncodeToString(append([]byte{kind}, k[:]...))
	}
	b := &policy.Bundle{
		Registrar: "https://penname.example", Issuer: "https://penname.example", IssuerKeys: issuerKeys, Registry: &policy.Registry{Keys: jwks(r.key), WaitingDays: 7}, Stops: stops,
		Log: policy.Log{Origin: "penname.example/log", VKey: verifier("penname.example/log", 1), Quorum: 1,
			Witnesses: []policy.Witness{{Name: "w.example", Operator: "W", VKey: verifier("w.example", 4)}}},
		OffenceClasses: policy.DefaultOffenceClasses(), Fields: policy.DefaultFields(), Compartments: policy.DefaultCompartments(), Policies: policy.DefaultRules(),
		Threshold: 2, ThresholdKey: strings.Repeat("A", 43), MaxTargets: 600, MaxSecrecyDays: 366, MaxValidityDays: 90,
	}
	if issuerKeys == nil {
		b.IssuerKeys = jwks(newTestKey(r.t))
	}
	for i, id := range []string{"alba", "bruno"} {
		k := newTestKey(r.t)
		key := k.Public()
		public, err := key.MarshalJSON()
		if err != nil {
			r.t.Fatal(err)
		}
		b.Custodians = append(b.Custodians, policy.Custodian{ID: id, Name: "Custodian " + id, Organisation: "Organisation " + id, Index: i + 1, Key: public})
	}
	exhibittest.Name(b)
	b.Succeed(after)
	raw, err := b.Marshal()
	if err != nil {
		r.t.Fatal(err)
	}
	if b, err = policy.ParseBundle(raw); err != nil {
		r.t.Fatal(err, errors.Unwrap(err))
	}
	return b
}

// put registers a platform, or its next record; changed has something else stored.
func (r *registering) put(p openid.Platform, changed ...func(*policy.PlatformRecord, *postgres.Registered)) postgres.Registered {
	r.t.Helper()
	settings, err := p.Settings()
	if err != nil {
		r.t.Fatal(err)
	}
	record := policy.PlatformRecord{Version: 1, ID: p.ID, Number: 1}
	if before, ok := r.stored[p.ID]; ok {
		parsed, err := policy.ParsePlatform(before.Signed)
		if err != nil {
			r.t.Fatal(err)
		}
		record = parsed.Successor()
	}
	digest := sha256.Sum256(settings)
	record.Name, record.Sector, record.Origins, record.Client = p.Name, p.Sector, slices.Concat(p.Origins, slices.DeleteFunc(p.RedirectOrigins(), func(o string) bool { return strings.Contains(o, "*") })), hex.EncodeToString(digest[:])
	stored := postgres.Registered{Client: settings, LoggedPlatform: policy.LoggedPlatform{Leaf: int64(len(r.rows)), Day: time.Now().UTC().Format(time.DateOnly)}}
	for _, change := range changed {
		change(&record, &stored)
	}
	if stored.Signed == "" {
		if stored.Signed, err = policy.SignPlatform(r.key, record); err != nil {
			r.t.Fatal(err)
		}
	}
	r.stored[p.ID], r.rows = stored, append(r.rows, stored)
	return stored
}

// register is what a service makes of all of it, which the log holds, under b.
func (r *registering) register(b *policy.Bundle, keys []openid.Key) registered {
	r.t.Helper()
	f := newFollowing()
	err := f.read(r.rows)
	if err == nil {
		err = f.take(r.t.Context(), func(int64, string) bool { return true }, r.until)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return f.register(b, keys, false)
}

// until is rules.History.Until, of one bundle.
func (r *registering) until(context.Context, int64) ([]*policy.Bundle, error) {
	return []*policy.Bundle{r.bundle}, nil
}

// ways are platforms of every kind.
func ways(t *testing.T, forum jose.JSONWebKey) []openid.Platform {
	t.Helper()
	return []openid.Platform{
		{ID: "town-square", Name: "Town Square", RedirectURIs: []string{"https://town.example/callback"}, SecretHashes: []openid.SecretHash{openid.HashSecret("s")}, IDTokenAlg: jose.RS256,
			Origins: []string{"https://app.town.example"}, PostLogoutRedirectURIs: []string{"https://town.example/"}},
		{ID: "school-forum", Name: "School Forum", RedirectURIs: []string{"https://forum.example/callback"}, JWKS: []jose.JSONWebKey{forum}, RequirePAR: true, RequireDPoP: true},
		{ID: "pocket", Name: "Pocket", RedirectURIs: []string{"com.example.pocket:/back", "http://127.0.0.1/back"}, Native: true},
		{ID: "single-page", Name: "Single Page", RedirectURIs: []string{"https://page.example/"}, Browser: true},
	}
}

// configured is an OpenID provider with platforms of every kind, as the registry has them.
type configured struct {
	t      *testing.T
	issuer string
	forum  jose.JSONWebKey
	h      http.Handler
}

func newConfigured(t *testing.T) *configured {
	t.Helper()
	c := &configured{t: t, issuer: "https://penname.example", forum: newTestKey(t)}
	keys := []openid.Key{{JWK: newTestKey(t)}, {JWK: newRSAKey(t)}}
	r := newRegistering(t)
	for _, p := range ways(t, c.forum.Public()) {
		r.put(p)
	}
	now := r.register(r.bundle, keys)
	if len(now.refused) > 0 {
		t.Fatal(now.refused)
	}
	fixed, err := openid.Fixed(now.all...)
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

// TestEveryWayOfAPlatformIsRegistrable: what the registry says of a platform is what the
// provider holds it to.
func TestEveryWayOfAPlatformIsRegistrable(t *testing.T) {
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
		t.Fatalf("keys: %d %s", pushed.Code, pushed.Body)
	}
	if w := c.ask("POST", "/par", signed(newTestKey(t)), proof); w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), "invalid_client") {
		t.Errorf("another key than its own: %d %s", w.Code, w.Body)
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

// TestPlatformsRefused changes one thing of the platforms at a time: that one signs nobody
// in, and the others do.
func TestPlatformsRefused(t *testing.T) {
	forum := newTestKey(t)
	keys := []openid.Key{{JWK: newTestKey(t)}, {JWK: newRSAKey(t)}}
	type changes = func(*policy.PlatformRecord, *postgres.Registered)
	for name, c := range map[string]struct {
		id     string
		change func(*openid.Platform)
		stored changes
		code   string
	}{
		"an algorithm that no key signs with": {id: "town-square", change: func(p *openid.Platform) { p.IDTokenAlg = jose.ES256 }},
		"a secret that is no SHA-256":         {id: "town-square", change: func(p *openid.Platform) { p.SecretHashes[0].SHA256 = "0b9d2a34" }},
		"three secrets":                       {id: "town-square", change: func(p *openid.Platform) { p.SecretHashes = slices.Repeat(p.SecretHashes, 3) }},
		"neither secret nor keys nor app":     {id: "pocket", change: func(p *openid.Platform) { p.Native = false; p.RedirectURIs = p.RedirectURIs[:0] }},
		"an app with a secret":                {id: "pocket", change: func(p *openid.Platform) { p.SecretHashes = []openid.SecretHash{openid.HashSecret("s")} }},
		"plain http of a server":              {id: "town-square", change: func(p *openid.Platform) { p.RedirectURIs = []string{"http://127.0.0.1/callback"} }},
		"plain http of an app, elsewhere":     {id: "pocket", change: func(p *openid.Platform) { p.RedirectURIs = []string{"http://app.example/back"} }},
		"N5 localhost of a server":            {id: "town-square", change: func(p *openid.Platform) { p.RedirectURIs = []string{"http://localhost:3000/callback"} }},
		"N5 localhost of an app":              {id: "pocket", change: func(p *openid.Platform) { p.RedirectURIs = []string{"http://localhost:3000/back"} }},
		"a wildcard":                          {id: "town-square", change: func(p *openid.Platform) { p.RedirectURIs = []string{"https://*.town.example/callback"} }},
		"an app's scheme at a server":         {id: "school-forum", change: func(p *openid.Platform) { p.RedirectURIs = []string{"com.example.forum:/callback"} }},
		"an algorithm of nobody":              {id: "town-square", change: func(p *openid.Platform) { p.IDTokenAlg = "HS256" }},
		"a way back that is not https":        {id: "town-square", change: func(p *openid.Platform) { p.PostLogoutRedirectURIs = []string{"http://town.example/"} }},
		"keys at an address of this machine":  {id: "school-forum", change: func(p *openid.Platform) { p.JWKS, p.JWKSURI = nil, "http://127.0.0.1/jwks" }},
		"a private key among the public ones": {id: "school-forum", change: func(p *openid.Platform) { p.JWKS = []jose.JSONWebKey{forum} }},
		"settings of somebody else": {id: "town-square", code: "platform.other_settings", stored: func(_ *policy.PlatformRecord, s *postgres.Registered) {
			s.Client = bytes.Replace(s.Client, []byte("town.example/callback"), []byte("evil.example/callback"), 1)
		}},
		"settings that are none": {id: "town-square", stored: func(r *policy.PlatformRecord, s *postgres.Registered) {
			s.Client = []byte("{}{}")
			digest := sha256.Sum256(s.Client)
			r.Client = hex.EncodeToString(digest[:])
		}},
		"a redirect URI beyond its public record": {id: "town-square", stored: func(r *policy.PlatformRecord, _ *postgres.Registered) {
			r.Origins = []string{"https://app.town.example"}
		}},
		"a sector that it does not lie in": {id: "town-square", code: "platform.sector_domain", stored: func(r *policy.PlatformRecord, _ *postgres.Registered) {
			r.Sector = "other.example"
		}},
		"a sector that is a public suffix": {id: "town-square", code: "platform.sector_domain", stored: func(r *policy.PlatformRecord, _ *postgres.Registered) {
			r.Sector = "example"
		}},
		"another platform's id as its sector": {id: "town-square", code: "platform.sector_taken", stored: func(r *policy.PlatformRecord, _ *postgres.Registered) {
			r.Sector = "school-forum"
		}},
		"a record that nobody signed": {id: "town-square", code: "platform.bad_signature", stored: func(r *policy.PlatformRecord, s *postgres.Registered) {
			var err error
			if s.Signed, err = policy.SignPlatform(newTestKey(t), *r); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRegistering(t)
			all := ways(t, forum.Public())
			at := slices.IndexFunc(all, func(p openid.Platform) bool { return p.ID == c.id })
			all = append(slices.Delete(slices.Clone(all), at, at+1), all[at]) // it comes last
			for _, p := range all {
				switch {
				case p.ID != c.id:
					r.put(p)
				case c.change != nil:
					c.change(&p)
					r.put(p)
				default:
					r.put(p, c.stored)
				}
			}
			now := r.register(r.bundle, keys)
			if refusal.Of(now.refused[c.id]) == nil || refusal.Of(now.refused[c.id]).Code != cmp.Or(c.code, errPlatform.Code) || len(now.refused) != 1 {
				t.Fatalf("%v", now.refused)
			}
			if _, err := openid.Fixed(now.all...); err != nil {
				t.Fatal("the others: ", err)
			}
			for _, p := range now.all {
				if p.Closed != map[string]*refusal.Error{c.id: openid.ErrUnsound}[p.ID] {
					t.Errorf("%s is closed: %v", p.ID, p.Closed)
				}
			}
			found := now.findings()
			if len(found) != 2 || found[0].Mark != Warning || found[0].Code != errSomeRefused.Code || found[0].Cause != "1 refused, 3 open" || found[1].Mark != Warning || found[1].Part != "platform "+c.id || found[1].Code == "" {
				t.Errorf("%+v", found)
			}
		})
	}
}

// A registry key that was swapped without the one before ends all platforms: that is a
// fault, unless all that is missing is the log.
func TestAllPlatformsRefused(t *testing.T) {
	r := newRegistering(t)
	for _, p := range ways(t, newPublicKey(t)) {
		r.put(p)
	}
	swapped, keys := newRegistering(t), []openid.Key{{JWK: newTestKey(t)}, {JWK: newRSAKey(t)}}
	if f := r.register(swapped.bundle, keys).findings(); len(f) != 5 || f[0].Mark != Fault || f[0].Code != errAllRefused.Code || f[1].Code != policy.ErrPlatformSignature.Code {
		t.Errorf("%+v", f)
	}
	f := newFollowing()
	if err := f.read(r.rows); err != nil {
		t.Fatal(err)
	}
	if f := f.register(r.bundle, keys, false).findings(); len(f) != 5 || f[0].Mark != Warning {
		t.Errorf("%+v", f)
	}
}

// What the rules do not allow is served to nobody, though the registry key signed it and the
// log holds it: who takes a sector has no countersignature of it, or one under a key that
// was added a moment before.
func TestPlatformsThatTakeASector(t *testing.T) {
	r, keys := newRegistering(t), []openid.Key{{JWK: newTestKey(t)}, {JWK: newRSAKey(t)}}
	stolen, own := newTestKey(t), newTestKey(t)
	has := func(k jose.JSONWebKey) func(*policy.PlatformRecord, *postgres.Registered) {
		return func(record *policy.PlatformRecord, _ *postgres.Registered) {
			var err error
			if record.Keys, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k.Public()}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	by := func(k jose.JSONWebKey) func(*policy.PlatformRecord, *postgres.Registered) {
		return func(record *policy.PlatformRecord, s *postgres.Registered) {
			var err error
			if s.Signed, err = policy.SignPlatform(r.key, *record); err != nil {
				t.Fatal(err)
			}
			countersigned, err := policy.CountersignPlatform(k, s.Signed)
			if err != nil {
				t.Fatal(err)
			}
			s.Countersigned = []string{countersigned}
		}
	}
	in := func(id string) openid.Platform {
		return openid.Platform{ID: id, Name: id, RedirectURIs: []string{"https://" + id + ".town.example/cb"}, SecretHashes: []openid.SecretHash{openid.HashSecret("s")}, Sector: "town.example"}
	}
	r.put(in("square"), has(own))
	r.put(in("app"), by(own))
	r.put(in("square"), has(stolen)) // by the registry key alone
	r.put(in("grab"), by(stolen))
	r.put(in("bold"))
	r.put(openid.Platform{ID: "elsewhere", Name: "Elsewhere", RedirectURIs: []string{"https://elsewhere.example/cb"}, SecretHashes: []openid.SecretHash{openid.HashSecret("s")}})
	now := r.register(r.bundle, keys)
	for id, want := range map[string]*refusal.Error{"square": nil, "app": nil, "elsewhere": nil, "grab": policy.ErrCountersignature, "bold": policy.ErrSectorTaken} {
		if got := refusal.Of(now.refused[id]); (got == nil) != (want == nil) || want != nil && got.Code != want.Code {
			t.Errorf("%s: %v", id, now.refused[id])
		}
	}
	for _, p := range now.all {
		if (p.Closed != nil) != (p.ID == "grab" || p.ID == "bold") || p.Closed != nil && p.Sector != "" {
			t.Errorf("%+v", p)
		}
	}
	if found := now.findings(); len(found) != 3 || found[0].Cause != "2 refused, 3 open" || found[1].Code != "platform.sector_taken" {
		t.Errorf("%+v", found)
	}
}

// A platform that has retired, or that the custodians stopped, signs nobody in. People
// keep seeing what they had there.
func TestPlatformsThatEnded(t *testing.T) {
	r := newRegistering(t)
	first := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -3)
	for _, p := range ways(t, newPublicKey(t)) {
		r.put(p, func(_ *policy.PlatformRecord, stored *postgres.Registered) { stored.Day = first.Format(time.DateOnly) })
	}
	all := ways(t, newPublicKey(t))
	r.put(all[0], func(record *policy.PlatformRecord, _ *postgres.Registered) { record.Retired = true })
	stopping := r.rules(r.bundle, nil, policy.Stop{Platform: "pocket"})
	keys := []openid.Key{{JWK: newTestKey(t)}, {JWK: newRSAKey(t)}}
	now := r.register(stopping, keys)
	if len(now.refused) > 0 || !slices.Equal(now.retired, []string{"town-square"}) || !slices.Equal(now.stopped, []string{"pocket"}) || len(now.all) != 4 {
		t.Fatalf("%+v", now)
	}
	for _, p := range now.all {
		want := map[string]*refusal.Error{"town-square": openid.ErrRetired, "pocket": openid.ErrStopped}[p.ID]
		if p.Closed != want || p.Name == "" || !p.Registered.Equal(first) {
			t.Errorf("%+v", p)
		}
	}
}

// TestEveryDemandOnAProviderIsConfigurable: what the file demands of an identity
// provider is asked of it.
func TestEveryDemandOnAProviderIsConfigurable(t *testing.T) {
	c, err := ReadConfig(write(t, "escrowd.toml", sample(t), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	providers := c.Issue.IdentityProviders
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
		text := strings.Replace(sample(t), "[disclose]\n", "[[issue.identity_providers]]\nid = \"named\"\nname = \"Named\"\nclient_id = \"penname\"\n"+provider+"\n[disclose]\n", 1)
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
