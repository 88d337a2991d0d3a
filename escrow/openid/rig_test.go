package openid_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/openid/openidtest"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// canary is the name of a person. The sign-in page knows it; it is planted in
// everything that a platform or a browser can send; nothing may show it.
const canary = "Jo-Canary-Teacher"

const secret = "q1w2e3r4t5y6u7i8o9p0-_aAsSdDfFgGhHjJkKlLzZx"

// rig is a provider behind HTTP with a sign-in page and six platforms.
type rig struct {
	t        testing.TB
	issuer   string
	provider *openid.Provider
	store    openid.Store
	memory   *openidtest.Memory
	client   *http.Client
	cfg      openid.Config
	square   openid.Platform // client secret
	forum    openid.Platform // private_key_jwt
	forumKey jose.JSONWebKey
	app      openid.Platform // native
	strict   openid.Platform // PAR and DPoP required
	claims   identity.Claims // of whoever signs in, and when they were true
	month    time.Time
	social   openid.Platform // wants handles and e-mail addresses, as does:
	gallery  openid.Platform

	mu       sync.Mutex
	gone     map[string]bool // platforms that were taken away
	refused  []string
	outage   error // of the last of them
	lastAsk  openid.SignInRequest
	pageErr  error
	instant  bool // answer without a page
	confirm  func(context.Context) error
	proven   time.Time // who is at the page
	unasked  bool      // and has consented to nothing yet
	badActor *openid.Subject
	keys     map[jose.SignatureAlgorithm]jose.JSONWebKey // of newDiscoveryRig
}

func key(t testing.TB, kid string, alg jose.SignatureAlgorithm) jose.JSONWebKey {
	t.Helper()
	k := jose.JSONWebKey{KeyID: kid, Algorithm: string(alg), Use: "sig"}
	var err error
	switch alg {
	case jose.ES256:
		k.Key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.RS256:
		k.Key, err = oneRSA()
	default:
		_, k.Key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// oneRSA is one key for all tests: to make one takes long.
var oneRSA = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// pseudonym is that of a person on a platform.
func pseudonym(person, platform string) token.Pseudonym {
	sum := sha256.Sum256([]byte(person + "/" + platform))
	p, err := token.NewPseudonym(sum[:16])
	if err != nil {
		panic(err)
	}
	return p
}

// newRig starts a provider on a real listener. Options change its configuration.
func newRig(t testing.TB, options ...func(*rig)) *rig {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	r := buildRig(t, "http://"+srv.Listener.Addr().String(), options...)
	srv.Config.Handler = r.provider.Handler()
	srv.Start()
	t.Cleanup(srv.Close)
	r.client.Transport = srv.Client().Transport
	return r
}

// inProcess answers requests without a network, for tests in a synctest bubble.
type inProcess struct{ h http.Handler }

func (p inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	in := req.Clone(req.Context())
	in.RequestURI = req.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	p.h.ServeHTTP(rec, in)
	return rec.Result(), nil
}

// newLocalRig is a provider without a network.
func newLocalRig(t testing.TB, options ...func(*rig)) *rig {
	t.Helper()
	r := buildRig(t, "https://penname.example", options...)
	r.client.Transport = inProcess{r.provider.Handler()}
	return r
}

func buildRig(t testing.TB, issuer string, options ...func(*rig)) *rig {
	t.Helper()
	r := &rig{t: t, issuer: issuer, memory: openidtest.NewMemory(), gone: map[string]bool{}, forumKey: key(t, "forum-1", jose.EdDSA)}
	r.store = r.memory
	r.client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	hash := []openid.SecretHash{openid.HashSecret(secret)}
	r.square = openid.Platform{ID: "town-square", Name: "Town Square", RedirectURIs: []string{"https://square.example/callback", "https://square.example/cb?tenant=1"}, SecretHashes: hash}
	r.forum = openid.Platform{ID: "school-forum", Name: "School Forum", RedirectURIs: []string{"https://forum.example/callback"}, JWKS: []jose.JSONWebKey{r.forumKey.Public()}}
	r.app = openid.Platform{ID: "pocket", Name: "Pocket", RedirectURIs: []string{"http://127.0.0.1/back", "com.example.pocket:/back"}, Native: true}
	r.strict = openid.Platform{ID: "strict", Name: "Strict", RedirectURIs: []string{"https://strict.example/callback"}, SecretHashes: hash, RequirePAR: true, RequireDPoP: true}
	r.social = openid.Platform{ID: "social", Name: "Social", RedirectURIs: []string{"https://social.example/callback"}, SecretHashes: hash, Username: true, Email: true, Claims: identity.ClaimNames[:]}
	r.gallery = openid.Platform{ID: "gallery", Name: "Gallery", RedirectURIs: []string{"https://gallery.example/callback"}, SecretHashes: hash, Username: true, Email: true}
	fixed, err := openid.Fixed(r.square, r.forum, r.app, r.strict, r.social, r.gallery)
	if err != nil {
		t.Fatal(err)
	}
	r.cfg = openid.Config{
		Issuer: issuer, Keys: []openid.Key{{JWK: key(t, "k1", jose.EdDSA)}, {JWK: key(t, "rsa-1", jose.RS256)}}, ACRs: []string{"high", "substantial"},
		Platforms: func(ctx context.Context, id string) (openid.Platform, error) {
			if r.isGone(id) {
				return openid.Platform{}, openid.ErrUnknownPlatform
			}
			return fixed(ctx, id)
		},
		Refused: func(_ context.Context, endpoint, code string, outage error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.refused, r.outage = append(r.refused, endpoint+" "+code), outage
		},
	}
	for _, o := range options {
		o(r)
	}
	if r.provider, err = openid.New(r.cfg, r.store, r.page); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) isGone(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone[id]
}

func (r *rig) takeAway(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone[id] = true
}

// page is the sign-in page. Whoever is signed in is in a cookie.
func (r *rig) page(w http.ResponseWriter, req *http.Request, ask openid.SignInRequest) (openid.Subject, openid.Outcome, error) {
	r.mu.Lock()
	r.lastAsk = ask
	err, instant, bad, confirm := r.pageErr, r.instant, r.badActor, r.confirm
	r.mu.Unlock()
	if err != nil {
		return openid.Subject{}, openid.Pending, err
	}
	person := canary
	if c, err := req.Cookie("person"); err == nil {
		person = c.Value
	}
	p := pseudonym(person, ask.Platform.ID)
	s := openid.Subject{Pseudonym: p, Commitment: token.Commit(p, "label", [32]byte{1}), ACR: "high", Proven: r.proven, Confirm: confirm, Claims: r.claims.Only(ask.Claims), Month: r.month}
	if ask.Username {
		s.Handle = p.Handle(token.MinHandle)
	}
	if bad != nil {
		s = *bad
	}
	decision := ""
	if ask.Answer {
		decision = req.PostFormValue("decision")
	}
	switch {
	case ask.Silent && r.unasked:
		return openid.Subject{}, openid.Unasked, nil
	case instant, decision == "approve":
		return s, openid.Approved, nil
	case decision == "deny":
		return openid.Subject{}, openid.Denied, nil
	case ask.Silent:
		fmt.Fprint(w, "A page that must not be seen.")
		return openid.Subject{}, openid.Pending, nil
	}
	http.SetCookie(w, &http.Cookie{Name: "page", Value: "1"})
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprintf(w, `<form method="post" action="%s"><button name="decision" value="approve">Agree</button></form>`, ask.Action)
	return openid.Subject{}, openid.Pending, nil
}

// answer is an HTTP response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("not JSON: %d %s", a.status, a.body)
	}
	return m
}

// redirected returns the parameters of a redirect to the platform.
func (a answer) redirected(t testing.TB) url.Values {
	t.Helper()
	u, err := url.Parse(a.header.Get("Location"))
	if a.status != http.StatusSeeOther || err != nil {
		t.Fatalf("no redirect: %d %s", a.status, a.body)
	}
	return u.Query()
}

func (r *rig) do(req *http.Request) answer {
	r.t.Helper()
	res, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// get is a browser that a person leads to a path.
func (r *rig) get(path string) answer {
	r.t.Helper()
	return r.fetch(path, "Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate")
}

// fetch gets a path as a browser that sends these headers, which come in pairs.
func (r *rig) fetch(path string, headers ...string) answer {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodGet, r.issuer+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return r.do(req)
}

// post sends a form. Headers come in pairs.
func (r *rig) post(path string, form url.Values, headers ...string) answer {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodPost, r.issuer+path, strings.NewReader(form.Encode()))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	return r.do(req)
}

const verifierText = "a-code-verifier-of-at-least-forty-three-characters"

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// form builds parameters from pairs; an empty value removes one.
func form(base url.Values, pairs ...string) url.Values {
	v := maps.Clone(base)
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			v.Del(pairs[i])
		}
	}
	return v
}

// request is a sound authorization request, changed by pairs.
func (r *rig) request(pl openid.Platform, pairs ...string) url.Values {
	return form(url.Values{
		"client_id": {pl.ID}, "redirect_uri": {pl.RedirectURIs[0]}, "response_type": {"code"}, "scope": {"openid"},
		"state": {"state-1"}, "nonce": {"nonce-1"}, "code_challenge": {challenge(verifierText)}, "code_challenge_method": {"S256"},
		"login_hint": {canary},
	}, pairs...)
}

// open sends the browser to the provider and returns the page's form action.
func (r *rig) open(params url.Values) string {
	r.t.Helper()
	a := r.get("/authorize?" + params.Encode())
	_, rest, ok := strings.Cut(a.body, `action="`)
	if a.status != http.StatusOK || !ok {
		r.t.Fatalf("no page: %d %s %s", a.status, a.header.Get("Location"), a.body)
	}
	action, _, _ := strings.Cut(rest, `"`)
	return action
}

// decide posts the page's form.
func (r *rig) decide(action, decision string, cookies ...string) answer {
	r.t.Helper()
	return r.post(action, url.Values{"decision": {decision}, "full_name": {canary}}, cookies...)
}

// code signs in and returns the authorization code.
func (r *rig) code(pl openid.Platform, pairs ...string) string {
	r.t.Helper()
	back := r.decide(r.open(r.request(pl, pairs...)), "approve").redirected(r.t)
	if back.Get("code") == "" || back.Get("iss") != r.issuer || back.Get("state") != "state-1" {
		r.t.Fatalf("bad authorization response: %v", back)
	}
	return back.Get("code")
}

// redemption is a sound token request by the platform with the secret.
func (r *rig) redemption(pl openid.Platform, code string, pairs ...string) url.Values {
	return form(url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {pl.RedirectURIs[0]},
		"code_verifier": {verifierText}, "client_id": {pl.ID}, "client_secret": {secret},
	}, pairs...)
}

// tokens signs in at Town Square and redeems the code.
func (r *rig) tokens(pairs ...string) map[string]any {
	r.t.Helper()
	a := r.post("/token", r.redemption(r.square, r.code(r.square, pairs...)))
	if a.status != http.StatusOK {
		r.t.Fatalf("no tokens: %d %s", a.status, a.body)
	}
	return a.json(r.t)
}

func (r *rig) refresh(refresh string, pairs ...string) answer {
	r.t.Helper()
	return r.post("/token", form(url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {r.square.ID}, "client_secret": {secret},
	}, pairs...))
}

// active asks whether a token is.
func (r *rig) active(raw string) bool {
	r.t.Helper()
	a := r.post("/introspect", url.Values{"token": {raw}, "client_id": {r.square.ID}, "client_secret": {secret}})
	if a.status != http.StatusOK {
		r.t.Fatalf("introspection: %d %s", a.status, a.body)
	}
	return a.json(r.t)["active"].(bool)
}

// verifier is what a platform runs, with keys and status lists from the provider.
func (r *rig) verifier(pl openid.Platform, typ string) *token.Verifier {
	keys := token.HTTPKeySource(r.issuer+"/jwks", r.client, time.Now)
	return &token.Verifier{
		Issuer: r.issuer, Audience: pl.ID, Keys: keys, Typ: typ, Leeway: 10 * time.Second,
		Status: token.NewHTTPStatusSource(r.issuer, keys, r.client, time.Now),
	}
}

// assertion is a client assertion of School Forum, its claims changed by the map.
func (r *rig) assertion(change map[string]any) string {
	r.t.Helper()
	var jti [16]byte
	rand.Read(jti[:])
	claims := map[string]any{
		"iss": r.forum.ID, "sub": r.forum.ID, "aud": r.issuer, "jti": fmt.Sprintf("%x", jti),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return signed(r.t, r.forumKey, jose.EdDSA, "JWT", claims)
}

func signed(t testing.TB, k jose.JSONWebKey, alg jose.SignatureAlgorithm, typ string, claims any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: k}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(s).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// wantError checks an error answer: status, code, and that nothing else is told.
func wantError(t *testing.T, a answer, status int, code string) {
	t.Helper()
	m := a.json(t)
	if a.status != status || m["error"] != code {
		t.Fatalf("got %d %s, want %d %s", a.status, a.body, status, code)
	}
	for name := range m {
		if name != "error" && name != "error_description" {
			t.Errorf("the error tells %s", name)
		}
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Error("the error may be cached")
	}
}

// wantPage checks that an error stays here: no redirect, no request data.
func wantPage(t *testing.T, a answer, want *refusal.Error) {
	t.Helper()
	if a.status < 400 || a.header.Get("Location") != "" || strings.TrimSpace(a.body) != want.Error() {
		t.Fatalf("got %d %q %q, want the page %q", a.status, a.header.Get("Location"), a.body, want.Code)
	}
}

// wantRedirect checks an error that goes back to the platform.
func wantRedirect(t *testing.T, r *rig, a answer, code string) {
	t.Helper()
	v := a.redirected(t)
	if v.Get("error") != code || v.Get("iss") != r.issuer || v.Has("code") {
		t.Fatalf("got %v, want error %s", v, code)
	}
}

// errDown is what a broken dependency says. It must reach nobody.
var errDown = errors.New("dial tcp: " + canary)

// flaky is a store of which each call can fail, before or after it took effect.
type flaky struct {
	openid.Store
	mu        sync.Mutex
	countdown int // the call that fails; 0 is none
	late      bool
	fired     bool
}

func (f *flaky) fails() (fail, late bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.countdown--
	if f.countdown == 0 {
		f.fired = true
	}
	return f.countdown == 0, f.late
}

func (f *flaky) Put(ctx context.Context, row openid.Row) error {
	fail, late := f.fails()
	if fail && !late {
		return errDown
	}
	err := f.Store.Put(ctx, row)
	if fail {
		return errDown
	}
	return err
}

func (f *flaky) Claim(ctx context.Context, rows []openid.Row) error {
	fail, late := f.fails()
	if fail && !late {
		return errDown
	}
	err := f.Store.Claim(ctx, rows)
	if fail {
		return errDown
	}
	return err
}

func (f *flaky) EndAll(ctx context.Context, holder token.Pseudonym, theirs func([]byte) bool, expires time.Time) error {
	fail, late := f.fails()
	if fail && !late {
		return errDown
	}
	err := f.Store.EndAll(ctx, holder, theirs, expires)
	if fail {
		return errDown
	}
	return err
}

func (f *flaky) Logouts(ctx context.Context, due func(time.Time) bool, since, expires time.Time) ([]openid.Row, error) {
	fail, late := f.fails()
	if fail && !late {
		return nil, errDown
	}
	rows, err := f.Store.Logouts(ctx, due, since, expires)
	if fail {
		return nil, errDown
	}
	return rows, err
}

func (f *flaky) Get(ctx context.Context, kind openid.Kind, id [32]byte) (openid.Row, error) {
	if fail, _ := f.fails(); fail {
		return openid.Row{}, errDown
	}
	return f.Store.Get(ctx, kind, id)
}

func (f *flaky) Use(ctx context.Context, k [32]byte, at time.Time) (bool, error) {
	fail, late := f.fails()
	if fail && !late {
		return false, errDown
	}
	first, err := f.Store.Use(ctx, k, at)
	if fail {
		return false, errDown
	}
	return first, err
}

func (f *flaky) Answer(ctx context.Context, session, grant openid.Row) error {
	fail, late := f.fails()
	if fail && !late {
		return errDown
	}
	err := f.Store.Answer(ctx, session, grant)
	if fail {
		return errDown
	}
	return err
}

func (f *flaky) Revoked(ctx context.Context, now time.Time) (map[int][]int, error) {
	if fail, _ := f.fails(); fail {
		return nil, errDown
	}
	return f.Store.Revoked(ctx, now)
}

// fromBase64 decodes what could be base64url.
func fromBase64(s string) (string, bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	return string(b), err == nil && len(b) > 8
}
