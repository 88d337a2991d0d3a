package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
)

const (
	ourID       = "penname"
	ourSecret   = "client-secret-client-secret-client-secret"
	ourRedirect = "https://penname.example/callback"
	ourACR      = "urn:example:substantial"
)

// lyingOP is an OpenID Provider that is honest until a test makes it lie. Every
// hook edits an honest answer before it is sent.
type lyingOP struct {
	*httptest.Server
	t      testing.TB
	offset atomic.Int64 // seconds that the relying party's clock is ahead of start
	start  time.Time

	discovery func(map[string]any)
	jwks      func(http.ResponseWriter, *http.Request) bool // true: answered
	claims    func(map[string]any)
	sign      func(payload []byte) string // replaces the signature
	token     func(map[string]any)
	userinfo  func(map[string]any)
	extra     func(http.ResponseWriter, *http.Request) bool // before everything
	noPKCE    bool
	// assertions: the client authenticates with one, which the test checks.
	assertions bool

	key     *ecdsa.PrivateKey
	keys    []jose.JSONWebKey // published
	kid     string            // of key, in the header; empty: none
	mu      sync.Mutex
	pending map[string]url.Values // authorization requests by code

	jwksHits, tokenHits, userinfoHits atomic.Int64
	tokenForm                         url.Values // the last one
}

func newOP(t testing.TB) *lyingOP {
	t.Helper()
	op := &lyingOP{t: t, start: time.Unix(1_800_000_000, 0), key: ecKey(t), kid: "k1", pending: map[string]url.Values{}}
	op.keys = []jose.JSONWebKey{{Key: op.key.Public(), KeyID: "k1", Use: "sig", Algorithm: "ES256"}}
	op.Server = httptest.NewServer(op)
	t.Cleanup(op.Close)
	return op
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func (op *lyingOP) now() time.Time {
	return op.start.Add(time.Duration(op.offset.Load()) * time.Second)
}

func (op *lyingOP) provider() Provider {
	return Provider{Issuer: op.URL, ClientID: ourID, ClientSecret: ourSecret, RedirectURL: ourRedirect,
		Scopes: []string{"profile", "address", "email"}, ACRValues: []string{ourACR}, AllowLoopback: true}
}

func (op *lyingOP) party(t testing.TB, edit ...func(*Provider)) *RelyingParty {
	t.Helper()
	rp, err := op.tryParty(t, edit...)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return rp
}

func (op *lyingOP) tryParty(t testing.TB, edit ...func(*Provider)) (*RelyingParty, error) {
	t.Helper()
	p := op.provider()
	for _, e := range edit {
		e(&p)
	}
	rp, err := newRelyingParty(t.Context(), p, op.now, limits{timeout: 2 * time.Second, body: defaultLimits.body}, nil)
	if err == nil {
		t.Cleanup(rp.Close)
	}
	return rp, err
}

// authorize is the browser at the provider: it returns the callback's query.
func (op *lyingOP) authorize(authURL string) url.Values {
	u, err := url.Parse(authURL)
	if err != nil {
		op.t.Fatal(err)
	}
	q := u.Query()
	code := rand.Text()
	op.mu.Lock()
	defer op.mu.Unlock()
	op.pending[code] = q
	return url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {op.URL}}
}

// enrol runs one whole sign-in.
func (op *lyingOP) enrol(t testing.TB, rp *RelyingParty) (Identity, error) {
	t.Helper()
	f, authURL := rp.Begin()
	return rp.Finish(t.Context(), f, op.authorize(authURL))
}

// ServeHTTP implements http.Handler.
func (op *lyingOP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if op.extra != nil && op.extra(w, r) {
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		m := map[string]any{
			"issuer": op.URL, "authorization_endpoint": op.URL + "/authorize", "token_endpoint": op.URL + "/token",
			"userinfo_endpoint": op.URL + "/userinfo", "jwks_uri": op.URL + "/jwks", "response_types_supported": []string{"code"},
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256", "HS256", "none"},
			"token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
			"code_challenge_methods_supported":      []string{"plain", "S256"}, "authorization_response_iss_parameter_supported": true,
		}
		op.answer(w, m, op.discovery)
	case "/jwks":
		op.jwksHits.Add(1)
		if op.jwks == nil || !op.jwks(w, r) {
			op.answer(w, map[string]any{"keys": op.keys}, nil)
		}
	case "/token":
		op.tokenHits.Add(1)
		op.serveToken(w, r)
	case "/userinfo":
		op.userinfoHits.Add(1)
		op.answer(w, map[string]any{"sub": "alice", "name": "Alice Weathervane", "birthdate": "1980-02-29", "email": "alice@mail.example",
			"email_verified": true, "address": map[string]any{"street_address": "1 High Street", "locality": "Anytown"}}, op.userinfo)
	default:
		http.NotFound(w, r)
	}
}

func (op *lyingOP) answer(w http.ResponseWriter, m map[string]any, lie func(map[string]any)) {
	if lie != nil {
		lie(m)
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(m); err != nil {
		op.t.Error(err)
	}
}

func (op *lyingOP) serveToken(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	if err := r.ParseForm(); err != nil || !op.assertions && (id != ourID || secret != ourSecret) {
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
		return
	}
	op.mu.Lock()
	q, known := op.pending[r.PostForm.Get("code")]
	delete(op.pending, r.PostForm.Get("code"))
	op.tokenForm = r.PostForm
	op.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	if !known || (!op.noPKCE && base64.RawURLEncoding.EncodeToString(sum[:]) != q.Get("code_challenge")) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant","error_description":"Alice Weathervane's code"}`)
		return
	}
	claims := map[string]any{"iss": op.URL, "sub": "alice", "aud": ourID, "nonce": q.Get("nonce"), "acr": ourACR,
		"iat": op.start.Unix(), "exp": op.start.Add(10 * time.Minute).Unix(), "auth_time": op.start.Unix()}
	if op.claims != nil {
		op.claims(claims)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		op.t.Error(err)
	}
	var idToken string
	if op.sign != nil {
		idToken = op.sign(payload)
	} else {
		idToken = jws(op.t, jose.ES256, op.key, op.kid, nil, payload)
	}
	op.answer(w, map[string]any{"access_token": "access-1", "token_type": "Bearer", "expires_in": 60, "id_token": idToken}, op.token)
}

// jws signs payload, with extra header parameters.
func jws(t testing.TB, alg jose.SignatureAlgorithm, key any, kid string, header map[jose.HeaderKey]any, payload []byte) string {
	t.Helper()
	opts := &jose.SignerOptions{ExtraHeaders: header}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// halfHash is the value of at_hash and c_hash under ES256 and RS256.
func halfHash(s string) string {
	sum := crypto.SHA256.New()
	io.WriteString(sum, s)
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:16])
}

// refused fails unless err is want, and unless neither the client's text nor
// the operator's cause says anything about the person or the flow.
func refused(t testing.TB, id Identity, err error, want *refusal.Error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v (%v), want %s", err, errors.Unwrap(err), want.Code)
	}
	if id != (Identity{}) {
		t.Error("a refusal came with an identity")
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, secret := range []string{"alice", "Alice", "Weathervane", "High Street", "access-1", ourSecret, "<script", "evil", "eyJ"} {
			if strings.Contains(fmt.Sprintf("%v %+v", e, e), secret) {
				t.Errorf("an error says %q: %v", secret, e)
			}
		}
	}
}

// accepted fails unless the sign-in gave Alice.
func accepted(t testing.TB, id Identity, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("refused: %v (%v)", err, errors.Unwrap(err))
	} else if id.Subject.Reveal() != "alice" || id.Name.Reveal() != "Alice Weathervane" {
		t.Error("the identity is not Alice's")
	}
}

func TestHonestProviderIsAccepted(t *testing.T) {
	op := newOP(t)
	rp := op.party(t)
	id, err := op.enrol(t, rp)
	accepted(t, id, err)
	want := Identity{Issuer: Private(op.URL), Subject: "alice", Name: "Alice Weathervane", Birthdate: "1980-02-29",
		Address: "1 High Street\nAnytown", Email: "alice@mail.example", ACR: ourACR, VerifiedAt: time.Date(2027, 1, 15, 0, 0, 0, 0, time.UTC), Proven: op.start}
	if id != want {
		t.Errorf("got %s %s %s %s %s %v", id.Name.Reveal(), id.Birthdate.Reveal(), id.Address.Reveal(), id.Email.Reveal(), id.ACR, id.VerifiedAt)
	}
	fields := id.Fields()
	if len(fields) != 4 || string(fields["name"]) != "Alice Weathervane" || string(fields["address"]) != "1 High Street\nAnytown" {
		t.Errorf("%d fields", len(fields))
	}
}

func TestManySignInsAtOnce(t *testing.T) {
	op := newOP(t)
	rp := op.party(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			id, err := op.enrol(t, rp)
			accepted(t, id, err)
		})
	}
	wg.Wait()
	if got := op.jwksHits.Load(); got != 1 {
		t.Errorf("keys fetched %d times", got)
	}
}

func TestCallerWhoGivesUpSpendsNothing(t *testing.T) {
	op := newOP(t)
	rp := op.party(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f, authURL := rp.Begin()
	id, err := rp.Finish(ctx, f, op.authorize(authURL))
	refused(t, id, err, ErrUnavailable)
	if op.tokenHits.Load() != 0 {
		t.Error("the code was sent")
	}
}
