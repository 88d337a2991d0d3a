package token

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
)

// proofsNotApplicable are the rows of table P that have no place in this package.
var proofsNotApplicable = map[string]string{}

const (
	apiOrigin = "https://api.town-square.example"
	apiURL    = apiOrigin + "/posts"
)

// holderJWK is the holder's public key as a proof carries it.
func holderJWK() object {
	j := edJWK(edKey("holder"), "")
	return with(j, object{"kid": nil, "use": nil, "alg": nil})
}

func thumbprint(t testing.TB, key jose.JSONWebKey) string {
	t.Helper()
	public := key.Public()
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return b64(sum)
}

// boundToken is an access token for the holder's key.
func boundToken(t testing.TB) string {
	claims := with(goodClaims(), object{"cnf": object{"jkt": thumbprint(t, privateJWK(edKey("holder"), ""))}})
	return forged(edKey("issuer"), with(edHeader(), object{"typ": "at+jwt"}), claims)
}

func proofHeader() object { return object{"alg": "EdDSA", "typ": "dpop+jwt", "jwk": holderJWK()} }

func proofClaims(token string) object {
	sum := sha256.Sum256([]byte(token))
	return object{"jti": "proof-1", "htm": "POST", "htu": apiURL, "iat": noon.Unix(), "ath": b64(sum[:])}
}

// apiRequest is a request for apiURL; the Authorization header and the proofs are given.
func apiRequest(authorization string, proofs ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/posts?page=1", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	for _, p := range proofs {
		r.Header.Add("DPoP", p)
	}
	return r
}

func apiVerifier(t testing.TB) *Verifier {
	v := newVerifier(t)
	v.Typ, v.Origin = TypAccess, apiOrigin
	return v
}

// serve runs one request through a handler and returns the machine code, "" if
// it was let through.
func serve(t testing.TB, h func(http.Handler) http.Handler, r *http.Request) (code string, w *httptest.ResponseRecorder) {
	t.Helper()
	w = httptest.NewRecorder()
	passed := false
	h(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		tok, ok := FromContext(r.Context())
		passed = ok && tok.Subject == pen(1)
	})).ServeHTTP(w, r)
	if passed {
		return "", w
	}
	_, rest, _ := strings.Cut(w.Body.String(), `"code":"`)
	code, _, _ = strings.Cut(rest, `"`)
	if code == "" {
		t.Errorf("neither let through nor refused: %d %s", w.Code, w.Body)
	}
	return code, w
}

func refusalCode(err error) string {
	if e := refusal.Of(err); e != nil {
		return e.Code
	}
	return ""
}

func TestSignDPoPIsVerified(t *testing.T) {
	access := boundToken(t)
	for _, key := range []any{edKey("holder"), ecKey("holder")} {
		jwk := jose.JSONWebKey{Key: key, KeyID: "left out", Use: "sig"}
		raw, err := SignDPoP(jwk, "POST", apiURL+"?page=1#top", access, "server-nonce", noon)
		if err != nil {
			t.Fatal(err)
		}
		got, err := VerifyDPoP(raw, DPoPWant{Method: "POST", URL: apiURL, AccessToken: access, JKT: thumbprint(t, jwk), Nonce: "server-nonce", Now: noon})
		if err != nil || got.JKT != thumbprint(t, jwk) || !got.IssuedAt.Equal(noon) || got.ID == "" {
			t.Errorf("got %+v, %v", got, err)
		}
		again, _ := SignDPoP(jwk, "POST", apiURL, access, "", noon)
		if p, err := VerifyDPoP(again, DPoPWant{Method: "POST", URL: apiURL, Now: noon}); err != nil || p.ID == got.ID {
			t.Errorf("a second proof: %+v, %v", p, err)
		}
	}
	if _, err := SignDPoP(jose.JSONWebKey{Key: edKey("holder").Public()}, "GET", apiURL, "", "", noon); refusalCode(err) != ErrCannotSign.Code {
		t.Errorf("signed with a public key: %v", err)
	}
}

// TestP01Proofs sends each row of table P through the middleware.
// proofRow is one proof that comes with a bound token.
type proofRow struct {
	name string
	auth string
	dpop []string
	want *refusal.Error
}

func TestP01Proofs(t *testing.T) {
	for _, row := range proofRows(t, boundToken(t)) {
		t.Run(row.name, func(t *testing.T) {
			code, w := serve(t, apiVerifier(t).Middleware, apiRequest(row.auth, row.dpop...))
			want := ""
			if row.want != nil {
				want = row.want.Code
				if challenge := w.Header().Get("WWW-Authenticate"); w.Code != 401 || !strings.HasPrefix(challenge, `DPoP algs="EdDSA ES256", error="invalid_dpop_proof"`) {
					t.Errorf("got %d, %s", w.Code, challenge)
				}
			}
			if code != want {
				t.Errorf("got %q, want %q", code, want)
			}
		})
	}
}

func proofRows(t *testing.T, access string) []proofRow {
	key := edKey("holder")
	good := forged(key, proofHeader(), proofClaims(access))
	claim := func(changes object) string { return forged(key, proofHeader(), with(proofClaims(access), changes)) }
	head := func(changes object) string { return forged(key, with(proofHeader(), changes), proofClaims(access)) }
	at := func(d time.Duration) int64 { return noon.Add(d).Unix() }
	dpop := "DPoP " + access
	return []proofRow{
		{"P01 two DPoP headers", dpop, []string{good, good}, ErrProofMalformed},
		{"P01 two in one header", dpop, []string{good + ", " + good}, ErrProofMalformed},
		{"P02 not a JWT", dpop, []string{"proof"}, ErrProofMalformed},
		{"P02 empty", dpop, []string{""}, ErrProofMalformed},
		{"P02 too large", dpop, []string{strings.Repeat("a", maxToken+1)}, ErrProofTooLarge},
		{"P02 crit", dpop, []string{head(object{"crit": []string{"x"}})}, ErrProofCrit},
		{"P02 duplicate claim", dpop, []string{compact(key, marshal(proofHeader()), strings.TrimSuffix(marshal(proofClaims(access)), "}")+`,"htm":"GET"}`)}, ErrProofMalformed},
		{"P03 typ missing", dpop, []string{head(object{"typ": nil})}, ErrProofTyp},
		{"P04 typ wrong", dpop, []string{head(object{"typ": "JWT"})}, ErrProofTyp},
		{"P05 alg missing", dpop, []string{head(object{"alg": nil})}, ErrProofAlg},
		{"P06 alg none", dpop, []string{head(object{"alg": "none"})}, ErrProofAlg},
		{"P07 RS256", dpop, []string{rsaProof(t, access, "RS256")}, ErrProofAlg},
		{"P07 RSA key under EdDSA", dpop, []string{rsaProof(t, access, "EdDSA")}, ErrProofKey},
		{"P08 HS256", dpop, []string{head(object{"alg": "HS256", "jwk": object{"kty": "oct", "k": b64(key)}})}, ErrProofAlg},
		{"P08 symmetric key", dpop, []string{head(object{"jwk": object{"kty": "oct", "k": b64(key)}})}, ErrProofKey},
		{"P09 jwk missing", dpop, []string{head(object{"jwk": nil})}, ErrProofKey},
		{"P09 kid instead", dpop, []string{head(object{"jwk": nil, "kid": "ed"})}, ErrProofKey},
		{"P09 jwk null", dpop, []string{head(object{"jwk": stdNull{}})}, ErrProofKey},
		{"P09 jwk a string", dpop, []string{head(object{"jwk": "key"})}, ErrProofKey},
		{"P09 jku", dpop, []string{head(object{"jku": "https://evil.example"})}, ErrProofKey},
		{"P09 x5c", dpop, []string{head(object{"x5c": []string{"MIIB"}})}, ErrProofKey},
		{"P09 key for encryption", dpop, []string{head(object{"jwk": with(holderJWK(), object{"use": "enc"})})}, ErrProofKey},
		{"P10 private key", dpop, []string{head(object{"jwk": with(holderJWK(), object{"d": b64(key.Seed())})})}, ErrProofKey},
		{"P10 d empty", dpop, []string{head(object{"jwk": with(holderJWK(), object{"d": ""})})}, ErrProofKey},
		{"P11 bad signature", dpop, []string{forged(edKey("other"), proofHeader(), proofClaims(access))}, ErrProofSignature},
		{"P11 truncated", dpop, []string{good[:len(good)-2]}, ErrProofSignature},
		{"P12 jti missing", dpop, []string{claim(object{"jti": nil})}, ErrProofID},
		{"P12 jti empty", dpop, []string{claim(object{"jti": ""})}, ErrProofID},
		{"P12 jti long", dpop, []string{claim(object{"jti": strings.Repeat("j", 257)})}, ErrProofID},
		{"P12 jti a number", dpop, []string{claim(object{"jti": 1})}, ErrProofMalformed},
		{"P13 htm missing", dpop, []string{claim(object{"htm": nil})}, ErrProofMethod},
		{"P13 htm wrong", dpop, []string{claim(object{"htm": "GET"})}, ErrProofMethod},
		{"P13 htm lower case", dpop, []string{claim(object{"htm": "post"})}, ErrProofMethod},
		{"P14 htu missing", dpop, []string{claim(object{"htu": nil})}, ErrProofURL},
		{"P14 htu another path", dpop, []string{claim(object{"htu": apiURL + "/1"})}, ErrProofURL},
		{"P14 htu another host", dpop, []string{claim(object{"htu": "https://evil.example/posts"})}, ErrProofURL},
		{"P14 htu http", dpop, []string{claim(object{"htu": strings.Replace(apiURL, "https", "http", 1)})}, ErrProofURL},
		{"P14 htu another port", dpop, []string{claim(object{"htu": "https://api.town-square.example:8443/posts"})}, ErrProofURL},
		{"P14 htu relative", dpop, []string{claim(object{"htu": "/posts"})}, ErrProofURL},
		{"P14 htu with a user", dpop, []string{claim(object{"htu": "https://x@api.town-square.example/posts"})}, ErrProofURL},
		{"P14 htu path in another case", dpop, []string{claim(object{"htu": apiOrigin + "/Posts"})}, ErrProofURL},
		{"P14 htu a number", dpop, []string{claim(object{"htu": 1})}, ErrProofMalformed},
		{"P15 query and fragment", dpop, []string{claim(object{"htu": apiURL + "?page=2#top"})}, nil},
		{"P16 upper-case host and port", dpop, []string{claim(object{"htu": "HTTPS://API.Town-Square.EXAMPLE:443/posts"})}, nil},
		{"P17 iat missing", dpop, []string{claim(object{"iat": nil})}, ErrProofIat},
		{"P17 iat a string", dpop, []string{claim(object{"iat": "1"})}, ErrProofIat},
		{"P18 iat in an hour", dpop, []string{claim(object{"iat": at(time.Hour)})}, ErrProofIat},
		{"P18 iat just too far", dpop, []string{claim(object{"iat": at(61 * time.Second)})}, ErrProofIat},
		{"P19 iat an hour ago", dpop, []string{claim(object{"iat": at(-time.Hour)})}, ErrProofIat},
		{"P19 iat just too old", dpop, []string{claim(object{"iat": at(-61 * time.Second)})}, ErrProofIat},
		{"P19 iat a minute ago", dpop, []string{claim(object{"iat": at(-time.Minute)})}, nil},
		{"P20 ath missing", dpop, []string{claim(object{"ath": nil})}, ErrProofAth},
		{"P21 ath of another token", dpop, []string{claim(object{"ath": proofClaims("other")["ath"]})}, ErrProofAth},
		{"P21 ath padded", dpop, []string{claim(object{"ath": proofClaims(access)["ath"].(string) + "="})}, ErrProofAth},
		{"P22 another key", dpop, []string{forged(edKey("thief"), with(proofHeader(), object{"jwk": with(edJWK(edKey("thief"), ""), object{"kid": nil})}), proofClaims(access))}, ErrProofOtherKey},
		{"P24 no proof", dpop, nil, ErrProofMissing},
		{"P25 bound token as Bearer", "Bearer " + access, nil, ErrBoundTokenAsBearer},
		{"P25 bound token as Bearer with a proof", "Bearer " + access, []string{good}, ErrBoundTokenAsBearer},
		{"P26 extra claims", dpop, []string{claim(object{"x": 1, "exp": 0})}, nil},
		{"P31 ID token as proof", dpop, []string{forged(edKey("issuer"), edHeader(), goodClaims())}, ErrProofTyp},
		{"P31 the access token as proof", dpop, []string{access}, ErrProofTyp},
	}
}

// rsaProof is signed with RSA, and says to be signed with alg.
func rsaProof(t *testing.T, access, alg string) string {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	h := object{"alg": alg, "typ": "dpop+jwt", "jwk": object{"kty": "RSA", "n": b64(k.N.Bytes()), "e": "AQAB"}}
	input := b64([]byte(marshal(h))) + "." + b64([]byte(marshal(proofClaims(access))))
	sum := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + b64(sig)
}

func TestP24UnboundTokenAsDPoP(t *testing.T) {
	plain := forged(edKey("issuer"), with(edHeader(), object{"typ": "at+jwt"}), goodClaims())
	code, _ := serve(t, apiVerifier(t).Middleware, apiRequest("DPoP "+plain, forged(edKey("holder"), proofHeader(), proofClaims(plain))))
	if code != ErrTokenNotBound.Code {
		t.Errorf("got %q", code)
	}
}

func TestP27HeaderNamesInCapitals(t *testing.T) {
	access := boundToken(t)
	server := httptest.NewServer(apiVerifier(t).Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })))
	defer server.Close()
	r, _ := http.NewRequest("POST", server.URL+"/posts", nil)
	r.Header["AUTHORIZATION"], r.Header["DPOP"] = []string{"dpop " + access}, []string{forged(edKey("holder"), proofHeader(), proofClaims(access))}
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != 204 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

// TestP14NoOriginConfigured: a Host header is the client's word.
func TestP14NoOriginConfigured(t *testing.T) {
	access := boundToken(t)
	v := apiVerifier(t)
	v.Origin = ""
	if code, w := serve(t, v.Middleware, apiRequest("DPoP "+access, forged(edKey("holder"), proofHeader(), proofClaims(access)))); code != ErrMisconfigured.Code || w.Code != 503 {
		t.Errorf("got %q, %d", code, w.Code)
	}
}

func TestP23ProofReplayed(t *testing.T) {
	access := boundToken(t)
	proof := forged(edKey("holder"), proofHeader(), proofClaims(access))
	request := func() *http.Request { return apiRequest("DPoP "+access, proof) }
	t.Run("P23 same node", func(t *testing.T) {
		h := middlewareOnce(apiVerifier(t))
		if code, _ := serve(t, h, request()); code != "" {
			t.Fatal(code)
		}
		if code, _ := serve(t, h, request()); code != ErrProofReplayed.Code {
			t.Errorf("got %q", code)
		}
	})
	t.Run("P23 other node and after a restart, with a shared guard", func(t *testing.T) {
		shared := NewMemoryReplayGuard(10, func() time.Time { return noon })
		for i := range 3 {
			v := apiVerifier(t) // a new process each time
			v.ProofReplay = shared
			code, _ := serve(t, v.Middleware, request())
			if want := map[bool]string{true: "", false: ErrProofReplayed.Code}[i == 0]; code != want {
				t.Errorf("node %d: got %q, want %q", i, code, want)
			}
		}
	})
	t.Run("P23 remembered for as long as the proof is good", func(t *testing.T) {
		v := apiVerifier(t)
		now := noon.Add(-time.Minute) // a proof from the future, as far as is allowed
		v.Now = func() time.Time { return now }
		v.Leeway = time.Hour
		h := middlewareOnce(v)
		if code, _ := serve(t, h, request()); code != "" {
			t.Fatal(code)
		}
		for _, want := range []struct {
			at   time.Time
			code string
		}{{noon, ErrProofReplayed.Code}, {noon.Add(time.Minute), ErrProofReplayed.Code}, {noon.Add(61 * time.Second), ErrProofIat.Code}} {
			now = want.at
			if code, _ := serve(t, h, request()); code != want.code {
				t.Errorf("at %v: got %q, want %q", now, code, want.code)
			}
		}
	})
	t.Run("P23 the same jti of another key is another proof", func(t *testing.T) {
		guard := NewMemoryReplayGuard(10, func() time.Time { return noon })
		for _, jkt := range []string{"a", "b"} {
			if err := useOnce(t.Context(), guard, ErrProofReplayed, noon, jkt, "proof-1"); err != nil {
				t.Error(err)
			}
		}
		if err := useOnce(t.Context(), guard, ErrProofReplayed, noon, "aproof", "-1"); err != nil {
			t.Errorf("parts run together: %v", err)
		}
	})
}

// middlewareOnce wraps different handlers in one Middleware, as one server does.
func middlewareOnce(v *Verifier) func(http.Handler) http.Handler {
	var inner http.Handler
	h := v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inner.ServeHTTP(w, r) }))
	return func(next http.Handler) http.Handler {
		inner = next
		return h
	}
}

func TestP28Nonces(t *testing.T) {
	access := boundToken(t)
	v := apiVerifier(t)
	nonces := []string{"nonce-2", "nonce-1"}
	v.ProofNonces = func(time.Time) []string { return nonces }
	with := func(nonce any) string {
		return forged(edKey("holder"), proofHeader(), with(proofClaims(access), object{"nonce": nonce, "jti": fmt.Sprint("proof with ", nonce)}))
	}
	stale := with("nonce-0")
	for name, row := range map[string]struct {
		proof string
		want  string
	}{
		"P28 absent":                         {with(nil), ErrProofNonce.Code},
		"P28 stale":                          {stale, ErrProofNonce.Code},
		"P28 empty":                          {with(""), ErrProofNonce.Code},
		"P28 current passes":                 {with("nonce-2"), ""},
		"P28 previous passes":                {with("nonce-1"), ""},
		"P29 a proof as if none were needed": {with(stdNull{}), ErrProofNonce.Code},
	} {
		t.Run(name, func(t *testing.T) {
			code, w := serve(t, v.Middleware, apiRequest("DPoP "+access, row.proof))
			if code != row.want {
				t.Errorf("got %q, want %q", code, row.want)
			}
			if row.want != "" && (w.Header().Get("DPoP-Nonce") != "nonce-2" || w.Header().Get("WWW-Authenticate") != `DPoP algs="EdDSA ES256", error="use_dpop_nonce"`) {
				t.Errorf("got %v", w.Header())
			}
		})
	}
	t.Run("P30 pre-generated", func(t *testing.T) { // made while the nonce was good, used after it changed
		early := with("nonce-1")
		nonces = []string{"nonce-3", "nonce-2"}
		if code, _ := serve(t, v.Middleware, apiRequest("DPoP "+access, early)); code != ErrProofNonce.Code {
			t.Errorf("got %q", code)
		}
	})
	t.Run("P29 a source that runs dry", func(t *testing.T) { // must not turn the demand off
		nonces = nil
		if code, _ := serve(t, v.Middleware, apiRequest("DPoP "+access, with(nil))); code != ErrMisconfigured.Code {
			t.Errorf("got %q", code)
		}
	})
	_, err := VerifyDPoP(stale, DPoPWant{Method: "POST", URL: apiURL, Nonce: "nonce-2", Now: noon})
	expectRefusal(t, err, ErrProofNonce)
}

// TestP32CodeBoundToAnotherKey is the token endpoint's use: no access token yet,
// but a dpop_jkt from the authorization request (RFC 9449, section 10).
func TestP32CodeBoundToAnotherKey(t *testing.T) {
	raw, err := SignDPoP(privateJWK(edKey("holder"), ""), "POST", "https://penname.example/token", "", "", noon)
	if err != nil {
		t.Fatal(err)
	}
	want := DPoPWant{Method: "POST", URL: "https://penname.example/token", Now: noon, JKT: thumbprint(t, privateJWK(edKey("thief"), ""))}
	p, err := VerifyDPoP(raw, want)
	if expectRefusal(t, err, ErrProofOtherKey); p != nil {
		t.Error("a proof came with the error")
	}
	want.JKT = thumbprint(t, privateJWK(edKey("holder"), ""))
	if _, err := VerifyDPoP(raw, want); err != nil {
		t.Error(err)
	}
}

func TestSameURL(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want bool
	}{
		{"https://a.example", "https://a.example/", true},
		{"https://a.example:443/x", "https://A.EXAMPLE/x", true},
		{"http://a.example:80/x", "http://a.example/x", true},
		{"http://a.example:443/x", "http://a.example/x", false},
		{"https://a.example/x/", "https://a.example/x", false},
		{"https://a.example/%2e", "https://a.example/.", false},
		{"https://a.example/a%2Fb", "https://a.example/a/b", false},
		{"https://a.example.:443/x", "https://a.example/x", false},
		{"ftp://a.example/x", "ftp://a.example/x", false},
		{"https:///x", "https:///x", false},
		{"a.example/x", "a.example/x", false},
		{"https://[::1]:443/x", "https://[::1]/x", true},
	} {
		if got := sameURL(row.a, row.b); got != row.want {
			t.Errorf("sameURL(%q, %q) = %v", row.a, row.b, got)
		}
	}
}

func TestMemoryReplayGuard(t *testing.T) {
	now := noon
	g := NewMemoryReplayGuard(2, func() time.Time { return now })
	use := func(id byte, until time.Duration, want bool, wantErr error) {
		t.Helper()
		first, err := g.Use(context.Background(), [32]byte{id}, noon.Add(until))
		if first != want || refusalCode(err) != refusalCode(wantErr) {
			t.Errorf("Use(%d) = %v, %v", id, first, err)
		}
	}
	use(1, time.Minute, true, nil)
	use(1, time.Minute, false, nil)
	use(2, time.Second, true, nil)
	use(3, time.Minute, false, ErrReplayUnavailable) // full: nothing is forgotten early
	use(1, time.Minute, false, nil)
	now = noon.Add(2 * time.Second) // 2 is over
	use(3, time.Minute, true, nil)
	use(1, time.Minute, false, nil)
	now = noon.Add(2 * time.Minute)
	use(1, time.Hour, true, nil)
	if len(g.used) != 1 || len(g.queue) != 1 {
		t.Errorf("%d and %d ids are kept", len(g.used), len(g.queue))
	}
}

func TestMemoryReplayGuardConcurrently(t *testing.T) {
	g := NewMemoryReplayGuard(1000, func() time.Time { return noon })
	results := make(chan bool)
	for range 64 {
		go func() {
			first, err := g.Use(context.Background(), [32]byte{1}, noon.Add(time.Minute))
			results <- first && err == nil
		}()
	}
	won := 0
	for range 64 {
		if <-results {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d callers were first", won)
	}
}
