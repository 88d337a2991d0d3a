package token_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/token"
)

// The clock of the examples.
func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// exampleKey is a private key with a kid. A real one comes from crypto/rand.
func exampleKey(kid string) jose.JSONWebKey {
	seed := sha256.Sum256([]byte(kid))
	return jose.JSONWebKey{Key: ed25519.NewKeyFromSeed(seed[:]), KeyID: kid, Algorithm: "EdDSA", Use: "sig"}
}

// published is the key set with the public half.
func published(key jose.JSONWebKey) *token.KeySet {
	jwks, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
	if err != nil {
		panic(err)
	}
	keys, err := token.ParseKeySet(jwks)
	if err != nil {
		panic(err)
	}
	return keys
}

// issued is what the issuer does. jkt binds the token to a key.
func issued(typ jose.ContentType, jkt string) string {
	if jkt == "" {
		return signedClaims(typ, nil)
	}
	return signedClaims(typ, map[string]any{"cnf": map[string]string{"jkt": jkt}})
}

// signedClaims signs the usual claims and more.
func signedClaims(typ jose.ContentType, more map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: exampleKey("issuer-1")}, (&jose.SignerOptions{}).WithType(typ))
	if err != nil {
		panic(err)
	}
	name, _ := token.NewPseudonym([]byte("sixteen bytes..."))
	link := token.Commit(name, "ab3f", [32]byte{})
	claims := map[string]any{
		"iss": "https://penname.example", "aud": "town-square", "sub": name, "jti": "1", "acr": "urn:penname:proofed",
		"iat": now().Unix(), "exp": now().Add(5 * time.Minute).Unix(), "penname_commitment": base64.RawURLEncoding.EncodeToString(link[:]),
	}
	maps.Copy(claims, more)
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return raw
}

// A platform verifies an ID token offline.
func Example() {
	idToken := issued("JWT", "")

	v := &token.Verifier{
		Issuer:   "https://penname.example",
		Audience: "town-square",
		Keys:     token.StaticKeys(published(exampleKey("issuer-1"))),
		Now:      now,
		Leeway:   time.Minute,
	}
	t, err := v.Verify(context.Background(), idToken)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.Subject, "is welcome until", t.Expiry.Format(time.TimeOnly))

	// The same token at another platform.
	v.Audience = "school-forum"
	_, err = v.Verify(context.Background(), idToken)
	fmt.Println(errors.Is(err, token.ErrBadAudience), err)
	// Output:
	// pen1wd5hsar9v4hzqcnew3jhxt3w9c6g9klg is welcome until 12:05:00
	// true invalid_token.bad_audience: The token is not for this platform alone; sign in to this platform.
}

// What a platform runs: keys and the list of withdrawn tokens come from the
// issuer and are kept, so that no call is made for a single token.
func ExampleHTTPKeySource() {
	issuer := exampleIssuer()
	defer issuer.Close()

	keys := token.HTTPKeySource(issuer.URL+"/jwks", nil, now)
	v := &token.Verifier{
		Issuer:   issuer.URL,
		Audience: "town-square",
		Keys:     keys,
		Status:   token.NewHTTPStatusSource(issuer.URL, keys, nil, now),
		Now:      now,
	}
	for _, index := range []int{17, 4711} {
		t, err := v.Verify(context.Background(), signedClaims("JWT", map[string]any{
			"iss":    issuer.URL,
			"status": map[string]any{"status_list": map[string]any{"uri": issuer.URL + "/status/0", "idx": index}},
		}))
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(t.Subject)
	}
	// Output:
	// pen1wd5hsar9v4hzqcnew3jhxt3w9c6g9klg
	// invalid_token.inactive: The token was withdrawn by its issuer; sign in again.
}

// exampleIssuer publishes a key and a list in which token 4711 is withdrawn.
func exampleIssuer() *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		public := exampleKey("issuer-1")
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public.Public()}})
	})
	mux.HandleFunc("/status/0", func(w http.ResponseWriter, r *http.Request) {
		list := token.StatusList{URI: "http://" + r.Host + "/status/0", IssuedAt: now(), Expiry: now().Add(time.Hour), Bits: make([]byte, 1<<14)}
		list.Withdraw(4711)
		raw, err := token.SignStatusList(exampleKey("issuer-1"), list)
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/statuslist+jwt")
		fmt.Fprint(w, raw)
	})
	return httptest.NewServer(mux)
}

// An API takes access tokens that are bound to a key, each with a proof.
func ExampleVerifier_Middleware() {
	v := &token.Verifier{
		Issuer:   "https://penname.example",
		Audience: "town-square",
		Keys:     token.StaticKeys(published(exampleKey("issuer-1"))),
		Typ:      token.TypAccess,
		Origin:   "https://api.town-square.example",
		Now:      now,
	}
	api := v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, _ := token.FromContext(r.Context())
		fmt.Fprintln(w, "posted as", t.Subject)
	}))

	// The client holds a key, and had its token bound to it.
	client := exampleKey("client")
	const jkt = "_BGf32UFdelEX-GrRZfQXG_3YKW9HygDSS5jBOBMOW8"
	access := issued("at+jwt", jkt)
	proof, err := token.SignDPoP(client, "POST", "https://api.town-square.example/posts", access, "", now())
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		r := httptest.NewRequest("POST", "/posts", strings.NewReader("Cuts hurt."))
		r.Header.Set("Authorization", "DPoP "+access)
		r.Header.Set("DPoP", proof)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	}
	// Output:
	// 200 posted as pen1wd5hsar9v4hzqcnew3jhxt3w9c6g9klg
	// 401 {"title":"Unauthorized","status":401,"code":"invalid_dpop_proof.replayed","detail":"This proof was used before; make a new one for each request."}
}

// A client proves possession of its key at a token endpoint, where there is no
// access token yet.
func ExampleVerifyDPoP() {
	proof, err := token.SignDPoP(exampleKey("client"), "POST", "https://penname.example/token", "", "", now())
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := token.VerifyDPoP(proof, token.DPoPWant{Method: "POST", URL: "https://penname.example/token", Now: now()})
	fmt.Println(p.JKT, err)
	_, err = token.VerifyDPoP(proof, token.DPoPWant{Method: "POST", URL: "https://penname.example/revoke", Now: now()})
	fmt.Println(err)
	// Output:
	// _BGf32UFdelEX-GrRZfQXG_3YKW9HygDSS5jBOBMOW8 <nil>
	// invalid_dpop_proof.wrong_url: The proof is for another URL; make one for each request.
}

// The issuer withdraws a token, and publishes the list.
func ExampleSignStatusList() {
	list := token.StatusList{
		URI:      "https://penname.example/status/7",
		IssuedAt: now(), Expiry: now().Add(time.Hour), TTL: 5 * time.Minute,
		Bits: make([]byte, 1<<14), // 131,072 tokens
	}
	list.Withdraw(4711)
	raw, err := token.SignStatusList(exampleKey("issuer-1"), list)
	if err != nil {
		fmt.Println(err)
		return
	}
	read, err := token.VerifyStatusList(context.Background(), raw, list.URI, published(exampleKey("issuer-1")), now())
	if err != nil {
		fmt.Println(err)
		return
	}
	withdrawn, known := read.Withdrawn(4711)
	fmt.Println(withdrawn, known)
	withdrawn, known = read.Withdrawn(4712)
	fmt.Println(withdrawn, known)
	// Output:
	// true true
	// false true
}

// A platform hands a post over to a court, which can check it years later.
func ExampleSignEvidence() {
	text, err := token.NewExhibit("text/plain", strings.NewReader("a threat"))
	if err != nil {
		fmt.Println(err)
		return
	}
	bundle, err := token.SignEvidence(exampleKey("town-square-1"), token.Evidence{
		Platform: "town-square",
		Token:    issued("JWT", ""),
		Post: token.Post{
			URL:      "https://town-square.example/posts/17",
			At:       now().Add(time.Minute),
			Exhibits: []token.Exhibit{text},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	e, t, err := token.VerifyEvidence(bundle, token.EvidenceRules{
		Issuer: "https://penname.example", IssuerKeys: published(exampleKey("issuer-1")), PlatformKeys: published(exampleKey("town-square-1")),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(t.Subject, "posted", e.Post.URL, "at", e.Post.At.Format(time.TimeOnly))
	// Output: pen1wd5hsar9v4hzqcnew3jhxt3w9c6g9klg posted https://town-square.example/posts/17 at 12:01:00
}

// A pseudonym copied from a paper order, with one letter wrong.
func ExampleParsePseudonym() {
	fmt.Println(token.ParsePseudonym("pen1wd5hsar9v4hzqcnew3jhxt3w9c6g9klg"))
	fmt.Println(token.ParsePseudonym("pen1wd5hsar9v4hzqcnew3jhxt3w9c6g9kll"))
	// Output:
	// pen1wd5hsar9v4hzqcnew3jhxt3w9c6g9klg <nil>
	//  pseudonym.malformed: This is not a pseudonym; compare it letter by letter with the original, all in lower case.
}
