package sandbox

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// ErrNotLoopback is returned when a part of the sandbox would be reachable from
// another machine.
var ErrNotLoopback = refusal.New(refusal.Invalid, "sandbox.not_loopback",
	"The sandbox and its test people are only served on this machine: use an address such as 127.0.0.1:0, or configure a real identity provider.")

// RequireLoopback refuses addr, a host and port to listen on, unless the host is
// a literal loopback address or localhost. An empty host means every interface.
func RequireLoopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return ErrNotLoopback.Because(err)
	}
	if !document.Localhost(host) {
		return ErrNotLoopback
	}
	return nil
}

// Lifetimes at the identity provider. A code is for at most a minute.
const (
	codeTTL   = time.Minute
	accessTTL = 5 * time.Minute
	maxGrants = 10_000
	maxForm   = 16 << 10 // bytes of one request body
)

// Client is the one relying party of the sandbox's identity provider.
type Client struct {
	ID, Secret  string
	RedirectURI string
}

// Provider is the sandbox's identity provider: a small OpenID Provider for test
// people who sign in by pressing a button with their name. It speaks the code
// flow only, requires PKCE with S256, state and nonce, answers with iss (RFC
// 9207), and keeps everything in memory. It is served on loopback only.
type Provider struct {
	issuer string
	host   string
	client Client
	people []Person
	now    func() time.Time
	key    ed25519.PrivateKey
	signer jose.Signer

	mu     sync.Mutex
	codes  map[string]*grant // by code; kept after use, to notice a second use
	access map[string]*grant // by access token
}

// grant is what one person allowed.
type grant struct {
	request authRequest
	person  Person
	at      time.Time
	expires time.Time // of the code, then of the access token
	token   string    // the access token, once the code was used
}

// NewProvider returns an identity provider with a fresh signing key. The issuer
// is an origin without a path, such as "http://127.0.0.1:8081".
func NewProvider(issuer string, client Client, people []Person, now func() time.Time) *Provider {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	kid := base64.RawURLEncoding.EncodeToString(digest(key.Public().(ed25519.PublicKey))[:12])
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: key, KeyID: kid}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		panic(err) // an Ed25519 key always signs EdDSA
	}
	p := &Provider{issuer: issuer, client: client, people: slices.Clone(people), now: now, key: key, signer: signer,
		codes: map[string]*grant{}, access: map[string]*grant{}}
	if u, err := url.Parse(issuer); err == nil {
		p.host = u.Host
	}
	return p
}

func digest(b []byte) []byte { d := sha256.Sum256(b); return d[:] }

// Handler serves the provider. It answers 421 to every request that did not
// arrive on a loopback address under the issuer's own name, whoever listens: a
// page elsewhere cannot reach it through a name of its own that it points here.
func (p *Provider) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /jwks", p.jwks)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /authorize", p.choose)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", p.userinfo)
	mux.HandleFunc("POST /userinfo", p.userinfo)
	inner := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !onLoopback(r.Context()) || r.Host != p.host {
			http.Error(w, ErrNotLoopback.Error(), http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		w.Header().Set("Cache-Control", "no-store") // RFC 6749, 5.1
		w.Header().Set("X-Content-Type-Options", "nosniff")
		inner.ServeHTTP(w, r)
	})
}

func onLoopback(ctx context.Context) bool {
	addr, ok := ctx.Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	ap, err := netip.ParseAddrPort(addr.String())
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // a client that has gone needs no answer
}

// discovery is OpenID Connect Discovery, 3.
func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                         p.issuer,
		"authorization_endpoint":                         p.issuer + "/authorize",
		"token_endpoint":                                 p.issuer + "/token",
		"userinfo_endpoint":                              p.issuer + "/userinfo",
		"jwks_uri":                                       p.issuer + "/jwks",
		"scopes_supported":                               []string{"openid", "profile", "address", "email"},
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          []string{"authorization_code"},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{string(jose.EdDSA)},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic"},
		"code_challenge_methods_supported":               []string{"S256"},
		"acr_values_supported":                           []string{ACRVerified, ACRSelfAsserted},
		"claims_supported":                               []string{"sub", "name", "birthdate", "address", "email", "email_verified", "profession", "organisation", "acr", "auth_time"},
		"request_uri_parameter_supported":                false,
		"authorization_response_iss_parameter_supported": true,
	})
}

func (p *Provider) jwks(w http.ResponseWriter, _ *http.Request) {
	public := p.key.Public().(ed25519.PublicKey)
	writeJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{
		Key: public, KeyID: base64.RawURLEncoding.EncodeToString(digest(public)[:12]), Use: "sig", Algorithm: string(jose.EdDSA),
	}}})
}

// authRequest is a checked authorization request.
type authRequest struct {
	redirectURI, state, nonce, challenge string
	scopes                               []string
}

// challenge is the SHA-256 of a verifier in base64url (RFC 7636, 4.2).
var challenge = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// parseAuthRequest reads the query of an authorization request. With trusted
// false the redirect URI is not ours to use, and the error is for a page; with
// trusted true, code is the error to send back (RFC 6749, 4.1.2.1).
func parseAuthRequest(rawQuery string, client Client) (a authRequest, trusted bool, code string) {
	q, err := url.ParseQuery(rawQuery)
	if err != nil {
		return a, false, "invalid_request"
	}
	once := true // RFC 6749, 3.1: parameters MUST NOT be included more than once
	for _, values := range q {
		once = once && len(values) == 1
	}
	// RFC 9700, 2.1: exact string matching.
	if len(q["redirect_uri"]) != 1 || q.Get("redirect_uri") != client.RedirectURI || len(q["client_id"]) != 1 || q.Get("client_id") != client.ID {
		return a, false, "invalid_request"
	}
	a = authRequest{client.RedirectURI, q.Get("state"), q.Get("nonce"), q.Get("code_challenge"), strings.Fields(q.Get("scope"))}
	switch {
	case !once || len(q["state"]) != 1 || a.state == "" || a.nonce == "":
		code = "invalid_request"
	case q.Has("request"):
		code = "request_not_supported" // OpenID Connect Core, 3.1.2.6
	case q.Has("request_uri"):
		code = "request_uri_not_supported"
	case q.Get("response_type") != "code":
		code = "unsupported_response_type"
	case q.Has("response_mode") && q.Get("response_mode") != "query":
		code = "invalid_request"
	case q.Get("code_challenge_method") != "S256" || !challenge.MatchString(a.challenge):
		code = "invalid_request" // RFC 7636, 4.4.1
	case !slices.Contains(a.scopes, "openid"):
		code = "invalid_scope"
	case q.Get("prompt") == "none":
		code = "login_required" // nobody is ever signed in here
	}
	return a, true, code
}

var authorizePage = template.Must(template.New("authorize").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sandbox identity provider</title>
<main>
<h1>Who are you today?</h1>
<p>This is the sandbox's identity provider. Its people are invented. Choose one to sign in as.</p>
<ul>{{range .People}}
<li><form method="post" action="/authorize?{{$.Query}}"><button name="person" value="{{.Subject}}">{{.Name}}</button> {{.Role}}</form></li>{{end}}
</ul>
<form method="post" action="/authorize?{{.Query}}"><button name="person" value="">None of them: go back</button></form>
</main>
</html>
`))

// checkAuthRequest returns the request of r, or answers it and returns false.
func (p *Provider) checkAuthRequest(w http.ResponseWriter, r *http.Request) (authRequest, bool) {
	a, trusted, code := parseAuthRequest(r.URL.RawQuery, p.client)
	if !trusted {
		http.Error(w, "This sign-in request does not come from the registered client: go back and start again.", http.StatusBadRequest)
		return a, false
	}
	if code != "" {
		p.redirect(w, r, a, "error", code)
		return a, false
	}
	return a, true
}

// redirect sends the browser back with one result, the state and our name.
func (p *Provider) redirect(w http.ResponseWriter, r *http.Request, a authRequest, name, value string) {
	back, err := url.Parse(a.redirectURI)
	if err != nil {
		http.Error(w, "The registered redirect URI is not a URL.", http.StatusInternalServerError)
		return
	}
	q := back.Query()
	q.Set(name, value)
	q.Set("iss", p.issuer) // RFC 9207, 2
	if a.state != "" {
		q.Set("state", a.state)
	}
	back.RawQuery = q.Encode()
	http.Redirect(w, r, back.String(), http.StatusSeeOther)
}

// authorize shows the people to choose from.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	a, ok := p.checkAuthRequest(w, r)
	if !ok {
		return
	}
	// Browsers apply form-action to the redirect after a form, too.
	back, _ := url.Parse(a.redirectURI)
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self' "+back.Scheme+"://"+back.Host)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	authorizePage.Execute(w, struct { //nolint:errcheck // a client that has gone needs no page
		Query  template.URL // checked and re-encoded by url.Values
		People []Person
	}{template.URL(r.URL.Query().Encode()), p.people}) //nolint:gosec // encoded by url.Values
}

// choose signs the chosen person in and sends a code back.
func (p *Provider) choose(w http.ResponseWriter, r *http.Request) {
	a, ok := p.checkAuthRequest(w, r)
	if !ok {
		return
	}
	if err := r.ParseForm(); err != nil {
		p.redirect(w, r, a, "error", "invalid_request")
		return
	}
	i := slices.IndexFunc(p.people, func(who Person) bool { return who.Subject == r.PostForm.Get("person") })
	if i < 0 {
		p.redirect(w, r, a, "error", "access_denied")
		return
	}
	code, ok := p.issue(a, p.people[i])
	if !ok {
		p.redirect(w, r, a, "error", "temporarily_unavailable")
		return
	}
	p.redirect(w, r, a, "code", code)
}

// issue returns a fresh code, unless too many are open.
func (p *Provider) issue(a authRequest, who Person) (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, code := p.now(), rand.Text()
	if p.sweep(now); len(p.codes) >= maxGrants {
		return "", false
	}
	p.codes[code] = &grant{request: a, person: who, at: now, expires: now.Add(codeTTL)}
	return code, true
}

// sweep forgets what has expired. The caller holds p.mu.
func (p *Provider) sweep(now time.Time) {
	for _, m := range []map[string]*grant{p.codes, p.access} {
		for k, g := range m {
			if now.After(g.expires) {
				delete(m, k)
			}
		}
	}
}

// redeem spends code and returns its grant, now with an access token.
func (p *Provider) redeem(code, redirectURI, verifier string) (*grant, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.sweep(now)
	g, ok := p.codes[code]
	if !ok {
		return nil, false
	}
	// RFC 6749, 4.1.2: on a second use, tokens issued from the code are revoked.
	if g.token != "" {
		delete(p.access, g.token)
		return nil, false
	}
	g.token, g.expires = rand.Text(), now.Add(accessTTL)
	sum := base64.RawURLEncoding.EncodeToString(digest([]byte(verifier)))
	if redirectURI != g.request.redirectURI || len(verifier) < 43 || len(verifier) > 128 || !equal(sum, g.request.challenge) {
		return nil, false // and the code is spent
	}
	p.access[g.token] = g
	return g, true
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// token is RFC 6749, 4.1.3, for client_secret_basic (2.3.1).
func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, ok := r.BasicAuth()
	id, err1 := url.QueryUnescape(id)
	secret, err2 := url.QueryUnescape(secret)
	if !ok || err1 != nil || err2 != nil || !equal(id, p.client.ID) || !equal(secret, p.client.Secret) || p.client.Secret == "" {
		w.Header().Set("WWW-Authenticate", `Basic realm="sandbox"`)
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	if r.ParseForm() != nil || r.URL.RawQuery != "" || repeated(r.PostForm) {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_request"})
		return
	}
	if r.PostForm.Get("grant_type") != "authorization_code" {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "unsupported_grant_type"})
		return
	}
	g, ok := p.redeem(r.PostForm.Get("code"), r.PostForm.Get("redirect_uri"), r.PostForm.Get("code_verifier"))
	if !ok {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	idToken, err := p.idToken(g)
	if err != nil {
		writeJSON(w, http.StatusInternalServerError, map[string]string{"error": "server_error"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": g.token, "token_type": "Bearer", "expires_in": int(accessTTL / time.Second), "id_token": idToken,
	})
}

func repeated(form url.Values) bool {
	for _, values := range form {
		if len(values) != 1 {
			return true
		}
	}
	return false
}

// idToken is OpenID Connect Core, 2. Claims about the person are at UserInfo.
func (p *Provider) idToken(g *grant) (string, error) {
	now, hash := p.now(), sha512.Sum512([]byte(g.token)) // at_hash of EdDSA: Ed25519 uses SHA-512
	claims, err := json.Marshal(map[string]any{
		"iss": p.issuer, "sub": g.person.Subject, "aud": p.client.ID, "nonce": g.request.nonce, "acr": g.person.ACR,
		"iat": now.Unix(), "exp": now.Add(accessTTL).Unix(), "auth_time": g.at.Unix(),
		"at_hash": base64.RawURLEncoding.EncodeToString(hash[:32]),
	})
	if err != nil {
		return "", err
	}
	signed, err := p.signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// userinfo is OpenID Connect Core, 5.3: the claims of the scopes that were
// allowed (5.4), and no others.
func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	p.mu.Lock()
	p.sweep(p.now())
	g := p.access[bearer]
	p.mu.Unlock()
	if !ok || g == nil {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`) // RFC 6750, 3.1
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
		return
	}
	claims := map[string]any{"sub": g.person.Subject}
	for _, scope := range g.request.scopes {
		switch scope {
		case "profile":
			claims["name"], claims["birthdate"] = g.person.Name, g.person.Birthdate
			claims["profession"], claims["organisation"] = g.person.Profession, g.person.Organisation
		case "address":
			claims["address"] = map[string]string{"formatted": g.person.Address, "country": g.person.Country}
		case "email":
			claims["email"], claims["email_verified"] = g.person.Email, g.person.ACR == ACRVerified
		}
	}
	writeJSON(w, http.StatusOK, claims)
}
