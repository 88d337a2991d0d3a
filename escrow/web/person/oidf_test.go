package person

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/openid/openidtest"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/token"
)

var update = flag.Bool("update", false, "write testdata/oidf-results.txt")

// module is one of the OpenID Foundation's conformance suite
// (gitlab.com/openid/conformance-suite), under the id that it has there. What it checks
// was read there; it is written anew here, against this service.
type module struct {
	id   string
	plan string // of the five that the service is held to; other: of none of them
	run  func(o *oidf)
	not  string // why it cannot be run
}

// The plans, with the variants that are played.
const (
	basic    = "basic"       // Basic OP: code, client_secret_basic
	config   = "config"      // Config OP
	rpLogout = "rp-logout"   // RP-Initiated Logout OP
	bcLogout = "backchannel" // Back-Channel Logout OP
	fapi2    = "fapi2"       // FAPI 2.0 Security Profile Final: plain_fapi, private_key_jwt, DPoP, unsigned pushed requests
	other    = "other"
)

// Where it is what a module finds, in the words of the suite. "review": it has found
// nothing, and wants a person to look at a page, whose words are checked here instead.
// "failed" is agreed to in asDecided alone.
const (
	passed, warning, review, skipped, failed = "passed", "warning", "review", "skipped", "failed"
	notRun                                   = "not run"
)

// asDecided are the modules that fail because the suite asks for what is refused here.
var asDecided = []string{"oidcc-ensure-request-without-nonce-succeeds-for-code-flow"}

// oidf runs one module. What it sees adds up to its outcome.
type oidf struct {
	*browser
	t      *testing.T
	seen   map[string][]string // outcome to reasons
	proofs int                 // of identity, that the person was asked for
	page   string              // the last one of ours
	told   *toldPlatform
}

func (o *oidf) note(outcome, format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	if !slices.Contains(o.seen[outcome], reason) {
		o.seen[outcome] = append(o.seen[outcome], reason)
	}
}

func (o *oidf) fail(format string, args ...any) { o.note(failed, format, args...) }

// stop ends a module that cannot go on.
func (o *oidf) stop(format string, args ...any) {
	o.fail(format, args...)
	panic(o)
}

// skip ends a module as the suite does: what it tests is optional and not there.
func (o *oidf) skip(format string, args ...any) {
	o.note(skipped, format, args...)
	panic(o)
}

// want notes a failure unless ok.
func (o *oidf) want(ok bool, format string, args ...any) {
	if !ok {
		o.fail(format, args...)
	}
}

// outcome is the worst that was seen.
func (o *oidf) outcome() (string, string) {
	for _, outcome := range []string{failed, skipped, warning, review} {
		if reasons := o.seen[outcome]; len(reasons) > 0 {
			slices.Sort(reasons)
			return outcome, strings.Join(reasons, "; ")
		}
	}
	return passed, ""
}

// TestOIDF runs each module of the plans and compares what it finds with
// testdata/oidf-results.txt.
func TestOIDF(t *testing.T) {
	told := newToldPlatform(t)
	s := newService(t, registerSuite, told.register)
	var lines []string
	for _, m := range modules {
		line := []string{m.plan, m.id, notRun, m.not}
		t.Run(m.id, func(t *testing.T) {
			if m.run == nil {
				t.Log(m.not)
				return
			}
			b := s.browser()
			b.t = t
			o := &oidf{browser: b, t: t, seen: map[string][]string{}, told: told}
			o.play(m.run)
			line[2], line[3] = o.outcome()
			if line[2] == failed && !slices.Contains(asDecided, m.id) {
				t.Error(line[3])
			}
		})
		lines = append(lines, strings.TrimSpace(strings.Join(line, "\t")))
	}
	slices.Sort(lines)
	compareWith(t, filepath.Join("testdata", "oidf-results.txt"), strings.Join(lines, "\n")+"\n")
}

// play ends where the module stops.
func (o *oidf) play(run func(*oidf)) {
	defer func() {
		if at := recover(); at != nil && at != any(o) {
			panic(at)
		}
	}()
	run(o)
}

func compareWith(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil { //nolint:gosec // for everybody
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) == got {
		return
	}
	have := strings.Split(string(want), "\n")
	for _, line := range strings.Split(got, "\n") {
		if !slices.Contains(have, line) {
			t.Errorf("%s does not say: %s", name, line)
		}
	}
	t.Errorf("%s differs: -update writes it", name)
}

// TestOIDFIsComplete: every module of a provider that oidf-modules.txt names, which is
// the suite's own list, stands in the table once, and nothing else does.
func TestOIDFIsComplete(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("testdata", "oidf-modules.txt"))
	if err != nil {
		t.Fatal(err)
	}
	names, there, plans := strings.Fields(string(raw)), map[string]int{}, map[string]int{}
	for _, m := range modules {
		there[m.id]++
		plans[m.plan]++
		if !slices.Contains(names, m.id) {
			t.Errorf("%s is no module of the suite", m.id)
		}
		if (m.run == nil) == (m.not == "") {
			t.Errorf("%s: either it runs, or it is said why not", m.id)
		}
		if m.run == nil && m.plan != other {
			t.Errorf("%s is of the plan %s, and does not run", m.id, m.plan)
		}
	}
	for _, name := range names {
		if there[name] != 1 {
			t.Errorf("%s stands in the table %d times", name, there[name])
		}
	}
	// As many as the suite's plans have.
	if want := map[string]int{basic: 38, config: 1, rpLogout: 11, bcLogout: 2, fapi2: 56}; len(names) < 150 || !maps.Equal(want, map[string]int{
		basic: plans[basic], config: plans[config], rpLogout: plans[rpLogout], bcLogout: plans[bcLogout], fapi2: plans[fapi2]}) {
		t.Errorf("%d names, %v", len(names), plans)
	}
}

// party is a platform as the suite plays it.
type party struct {
	id   string
	auth string          // how it authenticates (token_endpoint_auth_method)
	key  jose.JSONWebKey // of its assertions, ES256
	dpop *ecdsa.PrivateKey
}

const (
	suiteSecret = "a-secret-of-the-suite-with-43-characters-or-so"
	suiteBack   = "https://suite.example/back"
	suiteQuery  = "https://suite.example/back?foo=bar"
	suiteLeft   = "https://suite.example/post_logout_redirect"
)

var (
	client1  = party{id: "suite-1", auth: "client_secret_basic"}
	client2  = party{id: "suite-2", auth: "client_secret_basic"}
	clientPo = party{id: "suite-post", auth: "client_secret_post"}
	clientRS = party{id: "suite-rs256", auth: "client_secret_basic"} // registered id_token_signed_response_alg
	clientPK = party{id: "suite-jwt", auth: "private_key_jwt", key: newKey()}
	fapi1    = party{id: "fapi-1", auth: "private_key_jwt", key: newKey(), dpop: newDPoP()}
	fapiTwo  = party{id: "fapi-2", auth: "private_key_jwt", key: newKey(), dpop: newDPoP()}
)

func newKey() jose.JSONWebKey {
	k, err := document.NewKeyFor(jose.ES256)
	if err != nil {
		panic(err)
	}
	return k
}

func newDPoP() *ecdsa.PrivateKey { return newKey().Key.(*ecdsa.PrivateKey) }

// suitePlatforms are the suite's clients, as an operator registers them.
func suitePlatforms() (all []openid.Platform) {
	for _, c := range []party{client1, client2, clientPo, clientRS, clientPK, fapi1, fapiTwo} {
		p := openid.Platform{ID: c.id, Name: "Suite " + c.id, RedirectURIs: []string{suiteBack, suiteQuery}, PostLogoutRedirectURIs: []string{suiteLeft}}
		switch {
		case c.auth == "private_key_jwt":
			p.JWKS = []jose.JSONWebKey{c.key.Public()}
		default:
			p.SecretHashes = []openid.SecretHash{openid.HashSecret(suiteSecret)}
		}
		if c.dpop != nil { // as the profile has it
			p.RequirePAR, p.RequireDPoP, p.IDTokenAlg = true, true, jose.EdDSA
		}
		if c.id == clientRS.id {
			p.IDTokenAlg = jose.RS256
		}
		p.Username, p.Email = c.id == client1.id, c.id == client1.id
		all = append(all, p)
	}
	return all
}

// registerSuite is the service as an operator has it, and the suite's clients.
func registerSuite(t *testing.T, c *Config) {
	c.Platforms = append(c.Platforms, suitePlatforms()...)
	c.TokenKeys = append(c.TokenKeys, rsaKey(t))
}

func rsaKey(t *testing.T) openid.Key {
	t.Helper()
	k, err := document.NewKeyFor(jose.RS256)
	if err != nil {
		t.Fatal(err)
	}
	return openid.Key{JWK: k}
}

// later runs a module of which minutes pass in a provider without a network, where the
// clock jumps, and whose person agrees at once.
func later(run func(o *oidf)) func(o *oidf) {
	return func(o *oidf) {
		synctest.Test(o.t, func(t *testing.T) {
			platforms, err := openid.Fixed(suitePlatforms()...)
			if err != nil {
				t.Fatal(err)
			}
			somebody, err := token.NewPseudonym(make([]byte, 16))
			if err != nil {
				t.Fatal(err)
			}
			agrees := func(_ http.ResponseWriter, _ *http.Request, req openid.SignInRequest) (openid.Subject, openid.Outcome, error) {
				s := openid.Subject{Pseudonym: somebody, Commitment: [32]byte{1}, ACR: "high"}
				if req.Username {
					s.Handle = somebody.Handle(token.MinHandle)
				}
				return s, openid.Approved, nil
			}
			op, err := openid.New(openid.Config{Issuer: "https://penname.example", Keys: tokenKeys(t), Platforms: platforms}, openidtest.NewMemory(), agrees)
			if err != nil {
				t.Fatal(err)
			}
			here := *o
			here.t, here.browser = t, &browser{service: &service{t: t, origin: "https://penname.example"}, client: &http.Client{
				Transport: inProcess{op.Handler()}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}}
			here.play(run)
		})
	}
}

// inProcess answers requests without a network.
type inProcess struct{ h http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	p.h.ServeHTTP(w, in)
	res := w.Result()
	res.Request = r
	return res, nil
}

// form changes parameters by pairs; an empty value removes one.
func form(base url.Values, pairs ...string) url.Values {
	v := maps.Clone(base)
	for i := 0; i+1 < len(pairs); i += 2 {
		if v.Set(pairs[i], pairs[i+1]); pairs[i+1] == "" {
			v.Del(pairs[i])
		}
	}
	return v
}

// request is an authorization request as the suite's basic client makes it: with state
// and nonce, and without PKCE.
func (o *oidf) request(c party, pairs ...string) url.Values {
	return form(url.Values{"client_id": {c.id}, "redirect_uri": {suiteBack}, "response_type": {"code"}, "scope": {"openid"},
		"state": {rand.Text()}, "nonce": {rand.Text()}}, pairs...)
}

func pkce() []string {
	sum := sha256.Sum256([]byte(verifier))
	return []string{"code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method", "S256"}
}

// signIn is a person who does what the pages ask until the platform gets its answer. It
// is empty if a page refuses.
func (o *oidf) signIn(v url.Values) url.Values { return o.follow(o.navigate("GET", v)) }

// navigate opens the authorization endpoint in the whole window.
func (o *oidf) navigate(method string, v url.Values) (*http.Response, string) {
	address, body := o.origin+"/authorize", v
	if method == http.MethodGet {
		address, body = address+"?"+v.Encode(), nil
	}
	return o.do(method, address, body, "Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "cross-site", "Accept", "text/html")
}

func (o *oidf) follow(res *http.Response, body string) url.Values {
	for range 4 {
		if at, err := res.Location(); err == nil && at.Hostname() == "suite.example" {
			return at.Query()
		}
		o.page = body
		action := formAction.FindStringSubmatch(body)
		switch {
		case action == nil:
			return url.Values{}
		case strings.Contains(body, "Prove my identity"):
			o.proofs++
			fields := url.Values{"provider": {"post"}, "interaction": {action[1]}}
			if strings.Contains(body, `name="fresh"`) {
				fields.Set("fresh", "1")
			}
			res, body = o.do("GET", o.proveWith(fields, jo).String(), nil, "Accept", "text/html")
		default:
			res, body = o.do("POST", o.origin+action[1], url.Values{"decision": {"allow"}})
		}
	}
	o.stop("the pages lead nowhere")
	return nil
}

// code checks an authorization response and returns its code.
func (o *oidf) code(v, request url.Values) string {
	if v.Get("error") != "" || v.Get("code") == "" {
		o.stop("no code: %s %s", v.Get("error"), v.Get("error_description"))
	}
	o.want(v.Get("iss") == o.origin, "the response names another issuer")
	o.want(v.Get("state") == request.Get("state") && v.Has("state") == request.Has("state"), "state does not come back as it was sent")
	o.want(len(v.Get("code")) >= 22 && entropy(v.Get("code")) >= 96, "the code can be guessed")
	for name := range v {
		o.want(slices.Contains([]string{"code", "state", "iss", "foo"}, name), "the response has %s", name)
	}
	return v.Get("code")
}

// entropy is Shannon's, in bits, as the suite counts it.
func entropy(s string) (bits float64) {
	count := map[rune]float64{}
	for _, r := range s {
		count[r]++
	}
	for _, n := range count {
		bits -= n * math.Log2(n/float64(len(s)))
	}
	return bits
}

// authError checks an error that went to the platform: one of these codes.
func (o *oidf) authError(v, request url.Values, codes ...string) {
	o.want(slices.Contains(codes, v.Get("error")), "error %q, want one of %v", v.Get("error"), codes)
	o.want(!v.Has("code"), "a code with an error")
	o.want(v.Get("state") == request.Get("state"), "state does not come back as it was sent")
	o.want(v.Get("iss") == o.origin, "the response names another issuer")
	o.plainText(v.Get("error_description"))
	for name := range v {
		if !slices.Contains([]string{"error", "error_description", "error_uri", "state", "iss", "foo"}, name) {
			o.note(warning, "the error has %s", name)
		}
	}
}

// plainText holds a description to RFC 6749, 4.1.2.1 and 5.2: %x20-21 / %x23-5B / %x5D-7E.
func (o *oidf) plainText(s string) {
	o.want(!strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }), "error_description has characters that it may not have")
}

// answer is what an endpoint says to a platform.
type answer struct {
	*http.Response
	body map[string]any
}

func (a answer) text(name string) string { s, _ := a.body[name].(string); return s }

// call posts as a client, authenticated in its way. Pairs change the form, also what
// authenticates; headers come in pairs after "".
func (o *oidf) call(c party, path string, v url.Values, headers ...string) answer {
	if v = maps.Clone(v); !v.Has("client_id") && c.auth != "private_key_jwt" {
		v.Set("client_id", c.id)
	}
	switch c.auth {
	case "client_secret_basic":
		headers = append(headers, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.id)+":"+suiteSecret)))
		v.Del("client_id")
	case "client_secret_post":
		v.Set("client_secret", suiteSecret)
	case "private_key_jwt":
		if !v.Has("client_assertion") {
			v.Set("client_assertion", o.assertion(c, nil))
		}
		v.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	}
	return o.post(path, v, headers...)
}

func (o *oidf) post(path string, v url.Values, headers ...string) answer {
	res, body := o.do("POST", o.origin+path, v, headers...)
	a := answer{Response: res}
	if err := json.Unmarshal([]byte(body), &a.body); err != nil && strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		o.fail("no JSON from %s", path)
	}
	return a
}

// redemption is a token request; pairs change it.
func redemption(code string, pairs ...string) url.Values {
	return form(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {suiteBack}}, pairs...)
}

// tokens checks a token response.
func (o *oidf) tokens(a answer, typ string) answer {
	if a.StatusCode != http.StatusOK {
		o.stop("no tokens: %d %s %s", a.StatusCode, a.text("error"), a.text("error_description"))
	}
	o.want(strings.HasPrefix(a.Header.Get("Content-Type"), "application/json"), "tokens are not JSON")
	o.want(a.Header.Get("Cache-Control") == "no-store" && a.Header.Get("Pragma") == "no-cache", "tokens may be cached")
	o.want(strings.EqualFold(a.text("token_type"), typ), "token_type is %s", a.text("token_type"))
	life, ok := a.body["expires_in"].(float64)
	o.want(ok && life > 0 && life <= 31536000, "expires_in is %v", a.body["expires_in"])
	o.want(len(a.text("access_token")) >= 22 && entropy(a.text("access_token")) >= 96, "the access token can be guessed")
	if refresh := a.text("refresh_token"); refresh != "" {
		o.want(entropy(refresh) >= 96, "the refresh token can be guessed")
		o.plainText(refresh)
	}
	return a
}

// refused checks an error of an endpoint (RFC 6749, 5.2): one of these codes.
func (o *oidf) refused(a answer, codes ...string) {
	ok := a.StatusCode == http.StatusBadRequest || a.StatusCode == http.StatusUnauthorized && a.text("error") == "invalid_client"
	o.want(ok, "status %d", a.StatusCode)
	o.want(strings.HasPrefix(a.Header.Get("Content-Type"), "application/json"), "the error is not JSON")
	o.want(slices.Contains(codes, a.text("error")), "error %q, want one of %v", a.text("error"), codes)
	o.plainText(a.text("error_description"))
}

// idToken verifies an ID token with the published keys alone, and returns header and claims.
func (o *oidf) idToken(raw string, c party, request url.Values) (jose.Header, map[string]any) {
	var set jose.JSONWebKeySet
	_, keys := o.do("GET", o.origin+"/jwks", nil)
	jws, err := jose.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA})
	if err != nil || json.Unmarshal([]byte(keys), &set) != nil {
		o.stop("no ID token: %v", err)
	}
	head := jws.Signatures[0].Header
	found := set.Key(head.KeyID)
	o.want(head.KeyID != "" && len(found) == 1, "kid is not one of the published keys")
	claims, payload := map[string]any{}, []byte(nil)
	if len(found) == 1 {
		payload, err = jws.Verify(found[0])
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		o.stop("the ID token's signature is wrong: %v", err)
	}
	now := o.clock()
	at := func(name string) float64 { n, _ := claims[name].(float64); return n }
	o.want(claims["iss"] == o.origin, "iss is %v", claims["iss"])
	o.want(claims["aud"] == c.id, "aud is %v", claims["aud"])
	o.want(at("exp") > now-300 && at("iat") < now+300 && at("iat") > now-300, "exp and iat are %v and %v", claims["exp"], claims["iat"])
	sub, _ := claims["sub"].(string)
	o.want(sub != "" && len(sub) <= 255, "sub is %v", claims["sub"])
	nonce, _ := claims["nonce"].(string)
	o.want(nonce == request.Get("nonce"), "nonce does not come back as it was sent")
	o.want(at("auth_time") <= now+300, "auth_time is ahead")
	return head, claims
}

// clock is the service's, in seconds.
func (o *oidf) clock() float64 { return float64(o.now().Unix()) }

// signedIn is a whole sign-in at a basic client: the token response, and the claims.
func (o *oidf) signedIn(c party, pairs ...string) (answer, map[string]any) {
	request := o.request(c, pairs...)
	a := o.tokens(o.call(c, "/token", redemption(o.code(o.signIn(request), request))), "Bearer")
	_, claims := o.idToken(a.text("id_token"), c, request)
	o.userinfo(a.text("access_token"), claims)
	return a, claims
}

// userinfo calls the endpoint by GET, and holds the answer to the ID token.
func (o *oidf) userinfo(access string, claims map[string]any) map[string]any {
	res, body := o.do("GET", o.origin+"/userinfo", nil, "Authorization", "Bearer "+access)
	return o.aboutThem(res, body, claims)
}

func (o *oidf) aboutThem(res *http.Response, body string, claims map[string]any) (info map[string]any) {
	o.want(res.StatusCode == http.StatusOK && strings.HasPrefix(res.Header.Get("Content-Type"), "application/json"), "userinfo: %s", res.Status)
	o.want(json.Unmarshal([]byte(body), &info) == nil && info["sub"] != nil && info["sub"] == claims["sub"], "userinfo is about somebody else: %s", body)
	return info
}

// discovery is the metadata document.
func (o *oidf) discovery() (doc map[string]any) {
	_, body := o.do("GET", o.origin+"/.well-known/openid-configuration", nil)
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		o.stop("no metadata: %v", err)
	}
	return doc
}

// lists reports whether a list of the metadata has a value.
func lists(doc map[string]any, name, value string) bool {
	all, _ := doc[name].([]any)
	return slices.Contains(all, any(value))
}

// signed is a JWS by ES256 of any header and claims (RFC 7515, 7.1).
func signed(key *ecdsa.PrivateKey, head, claims map[string]any) string {
	h, _ := json.Marshal(head)
	c, _ := json.Marshal(claims)
	input := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		panic(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
}

// changed sets members; nil removes one.
func changed(base, change map[string]any) map[string]any {
	all := maps.Clone(base)
	maps.Copy(all, change)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

// assertion authenticates a client; change is of its claims.
func (o *oidf) assertion(c party, change map[string]any) string {
	now := time.Now()
	return signed(c.key.Key.(*ecdsa.PrivateKey), map[string]any{"alg": "ES256", "kid": c.key.KeyID, "typ": "JWT"}, changed(map[string]any{
		"iss": c.id, "sub": c.id, "aud": o.origin, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}, change))
}

// refusedPage notes that a person has to look at a page that refuses, which names this
// parameter and leads nowhere else.
func (o *oidf) refusedPage(res *http.Response, body, says string) {
	o.want(res.StatusCode >= 400 && res.Header.Get("Location") == "" && strings.Contains(body, says), "no page of a refusal that says %q: %s", says, res.Status)
	o.note(review, "a page refuses: %s", says)
}

// https is the metadata as a service with TLS has it.
func (o *oidf) https() map[string]any {
	edge, err := web.New(web.Config{Origin: "https://penname.example", Log: slog.New(slog.DiscardHandler), Now: time.Now})
	c := Config{Providers: []Provider{{ID: "post", ACRs: []string{"high"}, Proving: nowhere{}}}, TokenKeys: tokenKeys(o.t), Store: openidtest.NewMemory(), HTTP: http.DefaultClient}
	registerSuite(o.t, &c)
	if err == nil {
		_, err = Mount(edge, c)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	w, doc := httptest.NewRecorder(), map[string]any{}
	edge.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/.well-known/openid-configuration", nil))
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		o.stop("no metadata: %d %v", w.Code, err)
	}
	return doc
}

// allHTTPS is a check of every plan's discovery.
func (o *oidf) allHTTPS(doc map[string]any) {
	for name, v := range doc {
		if s, ok := v.(string); ok && (strings.HasSuffix(name, "_endpoint") || strings.HasSuffix(name, "_uri")) {
			o.want(strings.HasPrefix(s, "https://"), "%s is not https", name)
		}
	}
	o.want(cmp.Or(doc["issuer"], any("")) == "https://penname.example", "issuer is %v", doc["issuer"])
}
