package identity

import (
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Rows R01 to R35 of the attack catalogue: one test each, against a provider
// that lies in exactly that way. What follows is the share of a row that this
// package cannot show, because it keeps no state.
var notApplicable = map[string]string{
	"R08 missing":   "in the code flow at_hash and c_hash are OPTIONAL (OpenID Connect Core, 3.1.3.6); the test shows that a wrong one is refused",
	"R12 session":   "that the flow's cookie is this browser's is shown by escrow/web; here: a state that is not the flow's",
	"R13 session":   "that a sign-in gets a new session is shown by escrow/web; here: somebody else's answer in my flow",
	"R17 replay":    "already_used needs a store: escrow/web lets a state succeed once; here: the provider's refusal of the second exchange is passed on",
	"R24 enrolled":  "already_enrolled is escrow/issue's, by the fingerprint; here: its inputs are the same however the name is spelt",
	"R25 recycled":  "hold for review is escrow/issue's, who knows the earlier person; here: the new person's data come out under the old subject",
	"R28 refresh":   "there is no refresh: offline_access is refused at configuration and a refresh token is dropped",
	"R29 logout":    "there is no logout endpoint, since no session with the provider is kept; here: a logout token is no id token",
	"R32 refused":   "a distributed claim is never fetched, so there is no fetch to refuse",
	"R23 evidences": "only trust_framework is judged; evidence and assurance process are between the framework and its members",
}

func TestNotApplicable(t *testing.T) {
	for row, reason := range notApplicable {
		if reason == "" {
			t.Errorf("%s is left out without a reason", row)
		}
		t.Logf("%s: %s", row, reason)
	}
}

func TestR01DiscoveryNamesAnotherIssuer(t *testing.T) {
	for name, lie := range map[string]func(*lyingOP, map[string]any){
		"other":          func(_ *lyingOP, m map[string]any) { m["issuer"] = "https://evil.example" },
		"trailing slash": func(op *lyingOP, m map[string]any) { m["issuer"] = op.URL + "/" },
		"upper case":     func(op *lyingOP, m map[string]any) { m["issuer"] = strings.ToUpper(op.URL) },
		"absent":         func(_ *lyingOP, m map[string]any) { delete(m, "issuer") },
	} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			op.discovery = func(m map[string]any) { lie(op, m) }
			_, err := op.tryParty(t)
			refused(t, Identity{}, err, ErrIssuerMismatch)
		})
	}
	t.Run("twice", func(t *testing.T) {
		op := newOP(t)
		op.extra = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/.well-known/openid-configuration" {
				return false
			}
			fmt.Fprintf(w, `{"issuer":"https://evil.example","issuer":%q}`, op.URL)
			return true
		}
		_, err := op.tryParty(t)
		refused(t, Identity{}, err, ErrBadDiscovery)
	})
}

func TestR02RedirectsToAnotherHost(t *testing.T) {
	for _, path := range []string{"/.well-known/openid-configuration", "/jwks", "/token", "/userinfo"} {
		for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect} {
			t.Run(fmt.Sprintf("%s %d", path, status), func(t *testing.T) {
				op := newOP(t)
				var reached atomic.Int64
				other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					reached.Add(1)
					op.ServeHTTP(w, r)
				}))
				t.Cleanup(other.Close)
				op.extra = func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != path || r.Host != strings.TrimPrefix(op.URL, "http://") {
						return false
					}
					http.Redirect(w, r, other.URL+path, status)
					return true
				}
				rp, err := op.tryParty(t)
				var id Identity
				if err == nil {
					id, err = op.enrol(t, rp)
				}
				refused(t, id, err, ErrRedirectRefused)
				if reached.Load() != 0 {
					t.Error("the other host was reached")
				}
			})
		}
	}
	t.Run("pass within the origin", func(t *testing.T) {
		op := newOP(t)
		op.extra = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/jwks" && r.URL.RawQuery == "" {
				http.Redirect(w, r, "/jwks?v=2", http.StatusFound)
				return true
			}
			return false
		}
		id, err := op.enrol(t, op.party(t))
		accepted(t, id, err)
	})
	t.Run("the code within the origin", func(t *testing.T) {
		op := newOP(t)
		op.extra = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" && r.URL.RawQuery == "" {
				http.Redirect(w, r, "/token?v=2", http.StatusTemporaryRedirect)
				return true
			}
			return false
		}
		id, err := op.enrol(t, op.party(t))
		refused(t, id, err, ErrRedirectRefused)
	})
	t.Run("loop", func(t *testing.T) {
		op := newOP(t)
		op.extra = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/jwks" {
				http.Redirect(w, r, "/jwks", http.StatusFound)
			}
			return r.URL.Path == "/jwks"
		}
		_, err := op.tryParty(t)
		refused(t, Identity{}, err, ErrRedirectRefused)
	})
}

func TestR04TooMuchOrTooSlow(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 50 {
		z.Write(make([]byte, 1<<20))
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		serve func(http.ResponseWriter, *http.Request)
		want  *refusal.Error
	}{
		"50 MB": {func(w http.ResponseWriter, _ *http.Request) {
			sent := 0
			for block := make([]byte, 1<<20); sent < 50; sent++ {
				if _, err := w.Write(block); err != nil {
					break
				}
			}
			if sent == 50 {
				t.Error("all of 50 MB was taken")
			}
		}, ErrTooLarge},
		"gzip bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(bomb.Bytes())
		}, ErrTooLarge},
		"100000 keys": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"keys":[{}%s]}`, strings.Repeat(",{}", 99_999))
		}, ErrTooLarge},
		"101 keys": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"keys":[{}%s]}`, strings.Repeat(",{}", 100))
		}, ErrTooLarge},
		"1 MB of headers": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("a", 1<<20))
		}, ErrUnavailable},
		"one byte and then nothing": {func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("{"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, ErrTimeout},
		"nothing at all": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ErrTimeout},
	} {
		for _, path := range []string{"/jwks", "/.well-known/openid-configuration", "/token", "/userinfo"} {
			if strings.Contains(name, "keys") && path != "/jwks" {
				continue
			}
			t.Run(name+path, func(t *testing.T) {
				op := newOP(t)
				op.extra = func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != path {
						return false
					}
					if err := r.ParseForm(); err != nil { // a body that was not read hides that the client left
						t.Error(err)
					}
					w.Header().Set("Content-Type", "application/json")
					tc.serve(w, r)
					return true
				}
				lim := defaultLimits
				if tc.want == ErrTimeout { // the others must not depend on how fast this machine is
					lim.timeout = 150 * time.Millisecond
				}
				rp, err := newRelyingParty(t.Context(), op.provider(), op.now, lim, nil)
				var id Identity
				if err == nil {
					id, err = op.enrol(t, rp)
				}
				refused(t, id, err, tc.want)
			})
		}
	}
}

func TestR05UnknownKidFlood(t *testing.T) {
	op := newOP(t)
	rp := op.party(t)
	other := ecKey(t)
	n := 0
	op.sign = func(payload []byte) string {
		n++
		return jws(t, jose.ES256, other, fmt.Sprint("unknown-", n), nil, payload)
	}
	for range 50 {
		id, err := op.enrol(t, rp)
		refused(t, id, err, ErrBadSignature)
	}
	if got := op.jwksHits.Load(); got != 2 {
		t.Errorf("the keys were fetched %d times, want once at the start and once for the flood", got)
	}
	op.offset.Add(int64(refetchInterval/time.Second) + 1)
	for range 10 {
		op.enrol(t, rp)
	}
	if got := op.jwksHits.Load(); got != 3 {
		t.Errorf("after the interval the keys were fetched %d times, want 3", got)
	}
	op.sign = nil
	id, err := op.enrol(t, rp)
	accepted(t, id, err)
}

func TestR06BadSignature(t *testing.T) {
	der, err := x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(raw string) string { // the first byte of the signature
		i := strings.LastIndex(raw, ".") + 1
		swap := map[bool]string{true: "B", false: "A"}[raw[i] == 'A']
		return raw[:i] + swap + raw[i+1:]
	}
	none := func(alg string) func(*lyingOP, []byte) string {
		return func(_ *lyingOP, p []byte) string {
			return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`"}`)) + "." + base64.RawURLEncoding.EncodeToString(p) + "."
		}
	}
	evil := ecKey(t)
	for name, sign := range map[string]func(*lyingOP, []byte) string{
		"RS256 flipped": func(_ *lyingOP, p []byte) string { return flip(jws(t, jose.RS256, rsaKey(), "rsa", nil, p)) },
		"ES256 flipped": func(op *lyingOP, p []byte) string { return flip(jws(t, jose.ES256, op.key, "k1", nil, p)) },
		"HS256 with the client secret": func(_ *lyingOP, p []byte) string {
			return jws(t, jose.HS256, []byte(ourSecret), "", nil, p)
		},
		"HS256 with the public key in PEM": func(_ *lyingOP, p []byte) string {
			return jws(t, jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "rsa", nil, p)
		},
		"HS256 with the public key in DER": func(_ *lyingOP, p []byte) string { return jws(t, jose.HS256, der, "rsa", nil, p) },
		"none":                             none("none"),
		"None":                             none("None"),
		"another key under our kid":        func(_ *lyingOP, p []byte) string { return jws(t, jose.ES256, evil, "k1", nil, p) },
		"a key in the header": func(_ *lyingOP, p []byte) string {
			return jws(t, jose.ES256, evil, "k1", map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: evil.Public()}}, p)
		},
		"an address of keys in the header": func(op *lyingOP, p []byte) string {
			return jws(t, jose.ES256, evil, "k1", map[jose.HeaderKey]any{"jku": op.URL + "/evil"}, p)
		},
		"an algorithm that was not announced": func(_ *lyingOP, p []byte) string { return jws(t, jose.PS256, rsaKey(), "rsa", nil, p) },
		"the kid of another type":             func(op *lyingOP, p []byte) string { return jws(t, jose.ES256, op.key, "rsa", nil, p) },
		"a critical extension": func(op *lyingOP, p []byte) string {
			return jws(t, jose.ES256, op.key, "k1", map[jose.HeaderKey]any{"crit": []string{"x"}, "x": 1}, p)
		},
		"a key for encryption": func(op *lyingOP, p []byte) string { return jws(t, jose.ES256, op.key, "enc", nil, p) },
		"JSON serialisation": func(op *lyingOP, p []byte) string {
			parts := strings.Split(jws(t, jose.ES256, op.key, "k1", nil, p), ".")
			return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2])
		},
		"no token":    func(*lyingOP, []byte) string { return "e30" },
		"five parts":  func(*lyingOP, []byte) string { return "a.b.c.d.e" },
		"other claim": func(op *lyingOP, p []byte) string { return swapPayload(jws(t, jose.ES256, op.key, "k1", nil, p), p) },
	} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			op.keys = append(op.keys,
				jose.JSONWebKey{Key: &rsaKey().PublicKey, KeyID: "rsa"},
				jose.JSONWebKey{Key: op.key.Public(), KeyID: "enc", Use: "enc"})
			op.extra = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/evil" {
					t.Error("an address in a header was fetched")
				}
				return false
			}
			op.sign = func(p []byte) string { return sign(op, p) }
			id, err := op.enrol(t, op.party(t))
			refused(t, id, err, ErrBadSignature)
		})
	}
	t.Run("pass RS256", func(t *testing.T) {
		op := newOP(t)
		op.keys = append(op.keys, jose.JSONWebKey{Key: &rsaKey().PublicKey, KeyID: "rsa"})
		op.sign = func(p []byte) string { return jws(t, jose.RS256, rsaKey(), "rsa", nil, p) }
		id, err := op.enrol(t, op.party(t))
		accepted(t, id, err)
	})
}

func swapPayload(raw string, payload []byte) string {
	parts := strings.Split(raw, ".")
	parts[1] = base64.RawURLEncoding.EncodeToString(bytes.Replace(payload, []byte("alice"), []byte("malice"), 1))
	return strings.Join(parts, ".")
}

func TestR06KeySetsThatAreNotOne(t *testing.T) {
	for name, tc := range map[string]struct {
		keys string
		want *refusal.Error
	}{
		"symmetric key":     {`{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, ErrBadDiscovery},
		"private key":       {`{"keys":[` + privateJWK(t) + `]}`, ErrBadDiscovery},
		"empty":             {`{"keys":[]}`, ErrBadDiscovery},
		"unknown type only": {`{"keys":[{"kty":"XYZ"}]}`, ErrBadDiscovery},
		"keys twice":        {`{"keys":[],"keys":[]}`, ErrBadDiscovery},
		"array":             {`[]`, ErrBadDiscovery},
		"HTML":              {`<html>`, ErrBadDiscovery},
	} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			op.jwks = func(w http.ResponseWriter, _ *http.Request) bool { fmt.Fprint(w, tc.keys); return true }
			_, err := op.tryParty(t)
			refused(t, Identity{}, err, tc.want)
		})
	}
}

func privateJWK(t *testing.T) string {
	b, err := jose.JSONWebKey{Key: ecKey(t), KeyID: "p"}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// claimCase is one lie in the id token.
type claimCase struct {
	name string
	lie  func(c map[string]any)
	want *refusal.Error // nil: must pass
}

func runClaims(t *testing.T, edit func(*Provider), cases []claimCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			op := newOP(t)
			op.claims = tc.lie
			var edits []func(*Provider)
			if edit != nil {
				edits = append(edits, edit)
			}
			id, err := op.enrol(t, op.party(t, edits...))
			if tc.want == nil {
				accepted(t, id, err)
			} else {
				refused(t, id, err, tc.want)
			}
		})
	}
}

func set(name string, value any) func(map[string]any) {
	return func(c map[string]any) { c[name] = value }
}

func drop(name string) func(map[string]any) { return func(c map[string]any) { delete(c, name) } }

func TestR07Nonce(t *testing.T) {
	runClaims(t, nil, []claimCase{
		{"wrong", set("nonce", "x"), ErrBadNonce},
		{"missing", drop("nonce"), ErrBadNonce},
		{"empty", set("nonce", ""), ErrBadNonce},
		{"number", set("nonce", 1), ErrMalformed},
		{"in another case only", func(c map[string]any) { c["Nonce"] = c["nonce"]; delete(c, "nonce") }, ErrBadNonce},
	})
	t.Run("reused", func(t *testing.T) {
		op := newOP(t)
		rp := op.party(t)
		earlier, _ := rp.Begin()
		op.claims = set("nonce", earlier.Nonce)
		id, err := op.enrol(t, rp)
		refused(t, id, err, ErrBadNonce)
	})
}

func TestR08Hashes(t *testing.T) {
	runClaims(t, nil, []claimCase{
		{"at_hash wrong", set("at_hash", halfHash("another access token")), ErrBadHash},
		{"at_hash truncated", set("at_hash", halfHash("access-1")[:8]), ErrBadHash},
		{"c_hash wrong", set("c_hash", halfHash("another code")), ErrBadHash},
		{"c_hash empty", set("c_hash", ""), ErrBadHash},
		{"pass at_hash right", set("at_hash", halfHash("access-1")), nil},
		{"pass both missing", func(map[string]any) {}, nil},
	})
	t.Run("pass c_hash right", func(t *testing.T) {
		op := newOP(t)
		rp := op.party(t)
		f, authURL := rp.Begin()
		answer := op.authorize(authURL)
		op.claims = set("c_hash", halfHash(answer.Get("code")))
		id, err := rp.Finish(t.Context(), f, answer)
		accepted(t, id, err)
	})
}

func TestR09Audience(t *testing.T) {
	runClaims(t, nil, []claimCase{
		{"missing", drop("aud"), ErrBadAudience},
		{"empty", set("aud", []string{}), ErrBadAudience},
		{"other", set("aud", "other"), ErrBadAudience},
		{"ours and another", set("aud", []string{ourID, "other"}), ErrBadAudience},
		{"ours and another with azp", func(c map[string]any) { c["aud"], c["azp"] = []string{ourID, "other"}, ourID }, ErrBadAudience},
		{"object", set("aud", map[string]any{"x": ourID}), ErrMalformed},
		{"number", set("aud", 1), ErrMalformed},
		{"azp other", set("azp", "other"), ErrBadAudience},
		{"azp empty", set("azp", ""), ErrBadAudience},
		{"azp number", set("azp", 1), ErrMalformed},
		{"pass array of one", set("aud", []string{ourID}), nil},
		{"pass azp ours", set("azp", ourID), nil},
	})
}

func TestR09IssuerOfTheToken(t *testing.T) {
	runClaims(t, nil, []claimCase{
		{"missing", drop("iss"), ErrBadIssuer},
		{"other", set("iss", "https://evil.example"), ErrBadIssuer},
		{"without scheme", func(c map[string]any) { c["iss"] = strings.TrimPrefix(c["iss"].(string), "http://") }, ErrBadIssuer},
		{"trailing slash", func(c map[string]any) { c["iss"] = c["iss"].(string) + "/" }, ErrBadIssuer},
	})
}

func TestR10MissingClaims(t *testing.T) {
	runClaims(t, nil, []claimCase{
		{"sub missing", drop("sub"), ErrMissingClaim},
		{"sub empty", set("sub", ""), ErrMissingClaim},
		{"sub number", set("sub", 7), ErrMalformed},
		{"sub of 256 characters", set("sub", strings.Repeat("a", 256)), ErrMalformed},
		{"sub not ASCII", set("sub", "älice"), ErrMalformed},
		{"sub with a newline", set("sub", "alice\n"), ErrMalformed},
		{"iat missing", drop("iat"), ErrMissingClaim},
		{"iat null", set("iat", nil), ErrMissingClaim},
		{"exp missing", drop("exp"), ErrMissingClaim},
	})
	for name, lie := range map[string]func(map[string]any){"name missing": drop("name"), "name blank": set("name", " ")} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			op.userinfo = lie
			id, err := op.enrol(t, op.party(t))
			refused(t, id, err, ErrMissingClaim)
		})
	}
}

func TestR10ClaimsThatAreNotOneJSONObject(t *testing.T) {
	for name, edit := range map[string]func([]byte) []byte{
		"sub twice":     func(p []byte) []byte { return bytes.Replace(p, []byte(`{`), []byte(`{"sub":"evil",`), 1) },
		"not UTF-8":     func(p []byte) []byte { return bytes.Replace(p, []byte(`{`), []byte("{\"x\":\"\xff\","), 1) },
		"array":         func(p []byte) []byte { return []byte("[" + string(p) + "]") },
		"truncated":     func(p []byte) []byte { return p[:len(p)-1] },
		"followed":      func(p []byte) []byte { return append(p, []byte("{}")...) },
		"empty":         func([]byte) []byte { return nil },
		"deeply nested": func([]byte) []byte { return []byte(strings.Repeat(`{"a":`, 3000) + "1" + strings.Repeat("}", 3000)) },
	} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			op.sign = func(p []byte) string { return jws(t, jose.ES256, op.key, "k1", nil, edit(p)) }
			id, err := op.enrol(t, op.party(t))
			if name == "deeply nested" { // well formed, and empty
				refused(t, id, err, ErrBadIssuer)
				return
			}
			refused(t, id, err, ErrMalformed)
		})
	}
}

func TestR11UserInfoOfAnotherPerson(t *testing.T) {
	for name, lie := range map[string]func(map[string]any){
		"other": set("sub", "mallory"), "missing": drop("sub"), "empty": set("sub", ""),
		"another case of the name": func(m map[string]any) { m["SUB"] = m["sub"]; delete(m, "sub") },
	} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			op.userinfo = lie
			id, err := op.enrol(t, op.party(t))
			refused(t, id, err, ErrSubMismatch)
		})
	}
	t.Run("a signed one that nobody asked for", func(t *testing.T) {
		op := newOP(t)
		op.extra = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/userinfo" {
				return false
			}
			w.Header().Set("Content-Type", "application/jwt")
			fmt.Fprint(w, jws(t, jose.ES256, op.key, "k1", nil, []byte(`{"sub":"alice","name":"Alice Weathervane"}`)))
			return true
		}
		id, err := op.enrol(t, op.party(t))
		refused(t, id, err, ErrMalformed)
	})
	t.Run("an error that quotes the person", func(t *testing.T) {
		op := newOP(t)
		op.extra = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/userinfo" {
				http.Error(w, "Alice Weathervane is not signed in", http.StatusForbidden)
			}
			return r.URL.Path == "/userinfo"
		}
		id, err := op.enrol(t, op.party(t))
		refused(t, id, err, ErrUnavailable)
	})
}

// callbackCase is one lie in the answer that the browser brings.
type callbackCase struct {
	name string
	lie  func(q url.Values)
	want *refusal.Error // nil: must pass
}

func runCallbacks(t *testing.T, cases []callbackCase) {
	t.Helper()
	op := newOP(t)
	rp := op.party(t)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			f, authURL := rp.Begin()
			q := op.authorize(authURL)
			tc.lie(q)
			before := op.tokenHits.Load()
			id, err := rp.Finish(t.Context(), f, q)
			if tc.want == nil {
				accepted(t, id, err)
				return
			}
			refused(t, id, err, tc.want)
			if op.tokenHits.Load() != before {
				t.Error("the code went to the provider all the same")
			}
		})
	}
}

func TestR12State(t *testing.T) {
	runCallbacks(t, []callbackCase{
		{"missing", func(q url.Values) { q.Del("state") }, ErrBadState},
		{"empty", func(q url.Values) { q.Set("state", "") }, ErrBadState},
		{"wrong", func(q url.Values) { q.Set("state", "x") }, ErrBadState},
		{"longer", func(q url.Values) { q.Set("state", q.Get("state")+"x") }, ErrBadState},
		{"wrong on an error", func(q url.Values) { q.Del("code"); q.Set("error", "access_denied"); q.Set("state", "x") }, ErrBadState},
	})
	op := newOP(t)
	rp := op.party(t)
	full, authURL := rp.Begin()
	for name, f := range map[string]Flow{
		"no flow":       {},
		"no state":      {Issuer: full.Issuer, Nonce: full.Nonce, CodeVerifier: full.CodeVerifier, Started: full.Started},
		"no nonce":      {Issuer: full.Issuer, State: full.State, CodeVerifier: full.CodeVerifier, Started: full.Started},
		"no verifier":   {Issuer: full.Issuer, State: full.State, Nonce: full.Nonce, Started: full.Started},
		"another state": func() Flow { f, _ := rp.Begin(); return f }(),
	} {
		q := op.authorize(authURL)
		if name == "no flow" || name == "no state" {
			q.Set("state", "")
		}
		id, err := rp.Finish(t.Context(), f, q)
		if !errors.Is(err, ErrBadState) {
			t.Error(name)
		}
		refused(t, id, err, ErrBadState)
	}
}

// The attacker signs in as themself, and sends the victim their own answer as a
// link: the victim would enrol as the attacker, or the attacker as the victim.
func TestR13LoginCSRF(t *testing.T) {
	op := newOP(t)
	rp := op.party(t)
	_, attackers := rp.Begin()
	link := op.authorize(attackers)
	victim, _ := rp.Begin()
	id, err := rp.Finish(t.Context(), victim, link)
	refused(t, id, err, ErrBadState)
	if op.tokenHits.Load() != 0 {
		t.Error("the attacker's code was redeemed")
	}
}

func TestR14MixUp(t *testing.T) {
	runCallbacks(t, []callbackCase{
		{"iss missing where it is announced", func(q url.Values) { q.Del("iss") }, ErrMixup},
		{"iss empty", func(q url.Values) { q.Set("iss", "") }, ErrMixup},
		{"iss other", func(q url.Values) { q.Set("iss", "https://evil.example") }, ErrMixup},
		{"iss with a slash", func(q url.Values) { q.Set("iss", q.Get("iss")+"/") }, ErrMixup},
		{"iss other on an error", func(q url.Values) { q.Del("code"); q.Set("error", "access_denied"); q.Set("iss", "x") }, ErrMixup},
	})
	t.Run("not announced", func(t *testing.T) {
		op := newOP(t)
		op.discovery = drop("authorization_response_iss_parameter_supported")
		rp := op.party(t)
		f, authURL := rp.Begin()
		q := op.authorize(authURL)
		q.Set("iss", "https://evil.example")
		id, err := rp.Finish(t.Context(), f, q)
		refused(t, id, err, ErrMixup)
		q.Del("iss")
		id, err = rp.Finish(t.Context(), f, q)
		accepted(t, id, err)
	})
	// The victim chose the honest provider; the answer comes to the callback of
	// the evil one, which would be sent the honest one's code.
	t.Run("a flow of another provider", func(t *testing.T) {
		honest, evil := newOP(t), newOP(t)
		evil.discovery = drop("authorization_response_iss_parameter_supported")
		f, authURL := honest.party(t).Begin()
		q := honest.authorize(authURL)
		q.Del("iss")
		id, err := evil.party(t).Finish(t.Context(), f, q)
		refused(t, id, err, ErrMixup)
		if evil.tokenHits.Load() != 0 {
			t.Error("the evil provider was sent a code")
		}
	})
}

func TestR15CodeOfAnotherFlow(t *testing.T) {
	for name, want := range map[string]*refusal.Error{"provider checks PKCE": ErrPKCEFailed, "provider does not": ErrBadNonce} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			op.noPKCE = name == "provider does not"
			rp := op.party(t)
			_, victims := rp.Begin()
			stolen := op.authorize(victims).Get("code")
			mine, authURL := rp.Begin()
			q := op.authorize(authURL)
			q.Set("code", stolen)
			id, err := rp.Finish(t.Context(), mine, q)
			refused(t, id, err, want)
		})
	}
}

func TestR16NoPKCE(t *testing.T) {
	for name, lie := range map[string]func(map[string]any){
		"absent": drop("code_challenge_methods_supported"), "empty": set("code_challenge_methods_supported", []string{}),
		"plain only": set("code_challenge_methods_supported", []string{"plain"}), "s256": set("code_challenge_methods_supported", []string{"s256"}),
	} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			op.discovery = lie
			_, err := op.tryParty(t)
			refused(t, Identity{}, err, ErrNoPKCE)
		})
	}
	t.Run("every request has a fresh S256 challenge", func(t *testing.T) {
		rp := newOP(t).party(t)
		seen := map[string]bool{}
		for range 100 {
			f, authURL := rp.Begin()
			u, err := url.Parse(authURL)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			for _, v := range []string{f.State, f.Nonce, f.CodeVerifier, q.Get("code_challenge")} {
				if len(v) != 43 || seen[v] {
					t.Fatalf("%q is repeated or not 43 characters", v)
				}
				seen[v] = true
			}
			if q.Get("code_challenge_method") != "S256" || strings.Contains(authURL, f.CodeVerifier) {
				t.Fatal("not S256, or the verifier is in the URL")
			}
		}
	})
}

func TestR17CallbackReplayed(t *testing.T) {
	op := newOP(t)
	rp := op.party(t)
	f, authURL := rp.Begin()
	q := op.authorize(authURL)
	results := make(chan error, 8)
	for range cap(results) {
		go func() { _, err := rp.Finish(t.Context(), f, q); results <- err }()
	}
	passed := 0
	for range cap(results) {
		if err := <-results; err == nil {
			passed++
		} else {
			refused(t, Identity{}, err, ErrPKCEFailed)
		}
	}
	id, err := rp.Finish(t.Context(), f, q)
	refused(t, id, err, ErrPKCEFailed)
	if passed != 1 {
		t.Errorf("%d of %d parallel replays passed", passed, cap(results))
	}
}

// With a memory it is we who refuse the second time, before the provider is
// asked; and what is refused for its state or issuer does not spend the flow.
func TestR17CallbackReplayedIsRemembered(t *testing.T) {
	op := newOP(t)
	rp := op.party(t, func(p *Provider) { p.SingleUse = token.NewMemoryReplayGuard(10, op.now) })
	f, authURL := rp.Begin()
	q := op.authorize(authURL)
	for name, want := range map[string]*refusal.Error{"state": ErrBadState, "iss": ErrMixup} {
		forged := maps.Clone(q)
		forged[name] = []string{"x"}
		id, err := rp.Finish(t.Context(), f, forged)
		refused(t, id, err, want)
	}
	results := make(chan error, 8)
	for range cap(results) {
		go func() { _, err := rp.Finish(t.Context(), f, q); results <- err }()
	}
	passed := 0
	for range cap(results) {
		if err := <-results; err == nil {
			passed++
		} else {
			refused(t, Identity{}, err, ErrUsed)
		}
	}
	if passed != 1 || op.tokenHits.Load() != 1 {
		t.Errorf("%d of %d parallel replays passed, the provider was asked %d times", passed, cap(results), op.tokenHits.Load())
	}
	// A sign-in that the person declined is over, too.
	f, authURL = rp.Begin()
	q = op.authorize(authURL)
	declined := maps.Clone(q)
	declined.Del("code")
	declined.Set("error", "access_denied")
	id, err := rp.Finish(t.Context(), f, declined)
	refused(t, id, err, ErrDeclined)
	id, err = rp.Finish(t.Context(), f, q)
	refused(t, id, err, ErrUsed)
}

func TestR18TooLate(t *testing.T) {
	for name, tc := range map[string]struct {
		later time.Duration
		want  *refusal.Error
	}{
		"just after": {FlowTTL + time.Second, ErrExpired}, "a day after": {24 * time.Hour, ErrExpired},
		"clock set back an hour": {-time.Hour, ErrExpired}, "pass in time": {FlowTTL - time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			rp := op.party(t)
			f, authURL := rp.Begin()
			q := op.authorize(authURL)
			op.offset.Add(int64(tc.later / time.Second))
			id, err := rp.Finish(t.Context(), f, q)
			if tc.want == nil {
				accepted(t, id, err)
			} else {
				refused(t, id, err, tc.want)
			}
		})
	}
}

func TestR19HTMLInErrorDescription(t *testing.T) {
	const html = `<script>alert(1)</script>`
	failing := func(code string) func(url.Values) {
		return func(q url.Values) {
			q.Del("code")
			q.Set("error", code)
			q.Set("error_description", html)
			q.Set("error_uri", "javascript:"+html)
		}
	}
	runCallbacks(t, []callbackCase{ // refused looks for "<script" in the whole chain
		{"with a known error", failing("access_denied"), ErrDeclined},
		{"in the error itself", failing(html), ErrDeclined},
	})
	op := newOP(t)
	op.extra = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":%q,"error_description":%q}`, html, html)
		}
		return r.URL.Path == "/token"
	}
	id, err := op.enrol(t, op.party(t))
	refused(t, id, err, ErrUnavailable)
}

func TestR20RepeatedParameters(t *testing.T) {
	var cases []callbackCase
	for _, name := range []string{"code", "state", "iss", "session_state"} {
		cases = append(cases, callbackCase{name + " twice", func(q url.Values) { q.Set(name, q.Get(name)); q.Add(name, q.Get(name)) }, ErrMalformed})
	}
	runCallbacks(t, append(cases,
		callbackCase{"code and error", func(q url.Values) { q.Set("error", "access_denied") }, ErrMalformed},
		callbackCase{"error twice", func(q url.Values) { q.Del("code"); q["error"] = []string{"a", "b"} }, ErrMalformed},
		callbackCase{"neither", func(q url.Values) { q.Del("code") }, ErrMalformed},
		callbackCase{"code empty", func(q url.Values) { q.Set("code", "") }, ErrMalformed},
		callbackCase{"code without a value", func(q url.Values) { q["code"] = nil }, ErrMalformed},
		callbackCase{"code of 5 kB", func(q url.Values) { q.Set("code", strings.Repeat("a", 5000)) }, ErrMalformed},
		callbackCase{"17 parameters", func(q url.Values) {
			for i := range 17 {
				q.Set(fmt.Sprint("p", i), "")
			}
		}, ErrMalformed},
		// RFC 6749, 4.1.2: "The client MUST ignore unrecognized response parameters."
		callbackCase{"pass an unknown parameter", func(q url.Values) { q.Set("session_state", "x") }, nil},
	))
}

func TestR21WrongResponseMode(t *testing.T) {
	runCallbacks(t, []callbackCase{
		{"id token beside the code", func(q url.Values) { q.Set("id_token", "e30.e30.") }, ErrMalformed},
		{"access token", func(q url.Values) { q.Set("access_token", "x") }, ErrMalformed},
		{"JARM", func(q url.Values) { q.Del("code"); q.Set("response", "e30.e30.") }, ErrMalformed},
		{"nothing: it was in the fragment", func(q url.Values) { clear(q) }, ErrMalformed},
	})
	for name, req := range map[string]*http.Request{
		"form post":        httptest.NewRequest(http.MethodPost, "/callback", strings.NewReader("code=a&state=b")),
		"post with query":  httptest.NewRequest(http.MethodPost, "/callback?code=a&state=b", nil),
		"get with a body":  httptest.NewRequest(http.MethodGet, "/callback?code=a&state=b", strings.NewReader("code=c")),
		"fragment":         httptest.NewRequest(http.MethodGet, "/callback", nil),
		"semicolon":        httptest.NewRequest(http.MethodGet, "/callback?code=a;state=b", nil),
		"bad escape":       httptest.NewRequest(http.MethodGet, "/callback?code=%zz&state=b", nil),
		"code twice":       httptest.NewRequest(http.MethodGet, "/callback?code=a&code=b", nil),
		"code twice by %6": httptest.NewRequest(http.MethodGet, "/callback?code=a&%63ode=b", nil),
	} {
		if _, err := Callback(req); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if q, err := Callback(httptest.NewRequest(http.MethodGet, "/callback?code=a&state=b", nil)); err != nil || q.Get("code") != "a" {
		t.Errorf("an honest callback: %v", err)
	}
}

func TestR22InsufficientAssurance(t *testing.T) {
	runClaims(t, nil, []claimCase{
		{"acr missing", drop("acr"), ErrAssurance},
		{"acr empty", set("acr", ""), ErrAssurance},
		{"acr lower", set("acr", "urn:example:low"), ErrAssurance},
		{"acr in another case", set("acr", strings.ToUpper(ourACR)), ErrAssurance},
		{"acr a list that holds ours", set("acr", []string{ourACR}), ErrMalformed},
		{"acr with ours in it", set("acr", "x "+ourACR), ErrAssurance},
	})
	aged := func(p *Provider) { p.MaxAge = time.Hour; p.AMRValues = []string{"mfa", "hwk"} }
	good := func(c map[string]any) { c["amr"] = []string{"hwk", "pin", "mfa"} }
	with := func(lie func(map[string]any)) func(map[string]any) {
		return func(c map[string]any) { good(c); lie(c) }
	}
	start := time.Unix(1_800_000_000, 0)
	runClaims(t, aged, []claimCase{
		{"pass", good, nil},
		{"amr missing", drop("amr"), ErrAssurance},
		{"amr one of two", set("amr", []string{"mfa"}), ErrAssurance},
		{"amr a string", set("amr", "mfa hwk"), ErrMalformed},
		{"auth_time missing", with(drop("auth_time")), ErrAssurance},
		{"auth_time old", with(set("auth_time", start.Add(-time.Hour-skew-time.Second).Unix())), ErrAssurance},
		{"auth_time in the future", with(set("auth_time", start.Add(skew+time.Second).Unix())), ErrAssurance},
		{"auth_time a string", with(set("auth_time", "1800000000")), ErrMalformed},
		{"auth_time negative", with(set("auth_time", -1)), ErrAssurance},
		{"pass auth_time at the limit", with(set("auth_time", start.Add(-time.Hour-skew).Unix())), nil},
	})
	t.Run("UserInfo cannot raise it", func(t *testing.T) {
		op := newOP(t)
		op.claims, op.userinfo = drop("acr"), set("acr", ourACR)
		id, err := op.enrol(t, op.party(t))
		refused(t, id, err, ErrAssurance)
	})
	t.Run("the policy is in the request", func(t *testing.T) {
		_, authURL := newOP(t).party(t, aged).Begin()
		u, err := url.Parse(authURL)
		if q := u.Query(); err != nil || q.Get("acr_values") != ourACR || q.Get("max_age") != "3600" {
			t.Error(authURL)
		}
	})
	t.Run("no policy is no provider", func(t *testing.T) {
		op := newOP(t)
		for _, edit := range []func(*Provider){
			func(p *Provider) { p.ACRValues = nil }, func(p *Provider) { p.ACRValues = []string{""} },
			func(p *Provider) { p.MaxAge = -1 }, func(p *Provider) { p.TrustFrameworks = []string{""} },
		} {
			_, err := op.tryParty(t, edit)
			refused(t, Identity{}, err, ErrConfig)
		}
	})
}

func TestR23VerifiedClaims(t *testing.T) {
	assured := func(p *Provider) { p.ACRValues, p.TrustFrameworks = nil, []string{"eidas", "uk_diatf"} }
	under := func(framework any) map[string]any {
		return map[string]any{"verification": map[string]any{"trust_framework": framework},
			"claims": map[string]any{"name": "Alice Weathervane", "birthdate": "1980-02-29"}}
	}
	runClaims(t, assured, []claimCase{
		{"absent", func(map[string]any) {}, ErrAssurance},
		{"null", set("verified_claims", nil), ErrAssurance},
		{"unknown framework", set("verified_claims", under("self_asserted")), ErrAssurance},
		{"framework in another case", set("verified_claims", under("EIDAS")), ErrAssurance},
		{"no framework", set("verified_claims", map[string]any{"claims": map[string]any{"name": "Alice Weathervane"}}), ErrAssurance},
		{"framework an array", set("verified_claims", under([]string{"eidas"})), ErrMalformed},
		{"no claims", set("verified_claims", map[string]any{"verification": map[string]any{"trust_framework": "eidas"}}), ErrAssurance},
		{"a string", set("verified_claims", "eidas"), ErrMalformed},
		{"only the name outside", func(c map[string]any) {
			c["name"] = "Alice Weathervane"
			c["verified_claims"] = map[string]any{"verification": map[string]any{"trust_framework": "eidas"}, "claims": map[string]any{"birthdate": "1980-02-29"}}
		}, ErrAssurance},
		{"pass object", set("verified_claims", under("eidas")), nil},
		{"pass array", set("verified_claims", []any{under("self_asserted"), under("uk_diatf")}), nil},
	})
	t.Run("pass at UserInfo", func(t *testing.T) {
		op := newOP(t)
		op.userinfo = set("verified_claims", under("eidas"))
		id, err := op.enrol(t, op.party(t, assured))
		accepted(t, id, err)
		if id.Email != "" || id.Address != "" {
			t.Error("what no framework verified was kept")
		}
	})
	t.Run("the request asks for them", func(t *testing.T) {
		_, authURL := newOP(t).party(t, assured).Begin()
		u, err := url.Parse(authURL)
		if err != nil {
			t.Fatal(err)
		}
		var request struct {
			IDToken struct {
				VerifiedClaims struct {
					Verification struct {
						TrustFramework struct{ Values []string } `json:"trust_framework"`
					}
					Claims map[string]any
				} `json:"verified_claims"`
			} `json:"id_token"`
		}
		if err := json.Unmarshal([]byte(u.Query().Get("claims")), &request); err != nil {
			t.Fatal(err)
		}
		vc := request.IDToken.VerifiedClaims
		if !slices.Equal(vc.Verification.TrustFramework.Values, []string{"eidas", "uk_diatf"}) || len(vc.Claims) != 4 {
			t.Errorf("%+v", vc)
		}
	})
}

func TestR24SamePersonSpeltDifferently(t *testing.T) {
	op := newOP(t)
	rp := op.party(t)
	var ids []Identity
	for _, name := range []string{"Zo\u00eb Weathervane", "Zoe\u0308 Weathervane", "ZOE WEATHERVANE"} {
		op.userinfo = set("name", name)
		id, err := op.enrol(t, rp)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	for _, id := range ids[1:] {
		if id.Issuer != ids[0].Issuer || id.Subject != ids[0].Subject || id.Name == ids[0].Name {
			t.Error("what the fingerprint is made of depends on the spelling, or the spelling was lost")
		}
	}
}

func TestR25RecycledSubject(t *testing.T) {
	op := newOP(t)
	rp := op.party(t)
	before, err1 := op.enrol(t, rp)
	op.userinfo = func(m map[string]any) { m["name"], m["birthdate"] = "Bert Millrace", "2001-12-31" }
	after, err2 := op.enrol(t, rp)
	if err1 != nil || err2 != nil || before.Subject != after.Subject || after.Name.Reveal() != "Bert Millrace" || before.Birthdate == after.Birthdate {
		t.Error("the caller could not see that a subject now names another person")
	}
}

func TestR26DisabledMidFlow(t *testing.T) {
	for _, moment := range []string{"/authorize", "/token", "/userinfo"} {
		t.Run(moment, func(t *testing.T) {
			op := newOP(t)
			rp := op.party(t)
			f, authURL := rp.Begin()
			q := op.authorize(authURL)
			if moment == "/authorize" {
				rp.Disable()
			}
			op.extra = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == moment {
					rp.Disable()
				}
				return false
			}
			id, err := rp.Finish(t.Context(), f, q)
			refused(t, id, err, ErrDisabled)
		})
	}
}

// Nothing of a request reaches this package but the callback's parameters, so
// no header can move the redirect URI; nor can a parameter.
func TestR27RedirectURIInjection(t *testing.T) {
	op := newOP(t)
	rp := op.party(t)
	f, authURL := rp.Begin()
	q := op.authorize(authURL)
	req := httptest.NewRequest(http.MethodGet, "https://evil.example/callback?redirect_uri=https://evil.example&"+q.Encode(), nil)
	for _, h := range []string{"Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Original-URL"} {
		req.Header.Set(h, "evil.example")
	}
	q, err := Callback(req)
	if err != nil {
		t.Fatal(err)
	}
	id, err := rp.Finish(t.Context(), f, q)
	accepted(t, id, err)
	u, err := url.Parse(authURL)
	if err != nil || u.Query().Get("redirect_uri") != ourRedirect || op.tokenForm.Get("redirect_uri") != ourRedirect {
		t.Error("the redirect URI is not the configured one")
	}
}

func TestR28RefreshTokensAreNotUsed(t *testing.T) {
	op := newOP(t)
	op.token = set("refresh_token", "refresh-1")
	id, err := op.enrol(t, op.party(t))
	accepted(t, id, err)
	if op.tokenHits.Load() != 1 || op.tokenForm.Get("grant_type") != "authorization_code" {
		t.Error("more was asked of the token endpoint than one code exchange")
	}
	_, err = op.tryParty(t, func(p *Provider) { p.Scopes = append(p.Scopes, "offline_access") })
	refused(t, Identity{}, err, ErrConfig)
}

func TestR29LogoutTokenAsIDToken(t *testing.T) {
	event := map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	runClaims(t, nil, []claimCase{
		{"with events", set("events", event), ErrWrongType},
		{"with a wrong event", set("events", map[string]any{"x": 1}), ErrWrongType},
		{"without nonce", func(c map[string]any) { c["events"] = event; delete(c, "nonce") }, ErrWrongType},
		{"of another issuer", func(c map[string]any) { c["events"] = event; c["iss"] = "x" }, ErrWrongType},
	})
	for _, typ := range []any{"logout+jwt", "at+jwt", "dpop+jwt", "secevent+jwt", "statuslist+jwt", "JWTx", "", 1} {
		t.Run(fmt.Sprintf("typ %v", typ), func(t *testing.T) {
			op := newOP(t)
			op.sign = func(p []byte) string {
				return jws(t, jose.ES256, op.key, "k1", map[jose.HeaderKey]any{jose.HeaderType: typ}, p)
			}
			id, err := op.enrol(t, op.party(t))
			refused(t, id, err, ErrWrongType)
		})
	}
	for _, typ := range []string{"JWT", "jwt"} {
		t.Run("pass typ "+typ, func(t *testing.T) {
			op := newOP(t)
			op.sign = func(p []byte) string {
				return jws(t, jose.ES256, op.key, "k1", map[jose.HeaderKey]any{jose.HeaderType: typ}, p)
			}
			id, err := op.enrol(t, op.party(t))
			accepted(t, id, err)
		})
	}
}

func TestR30KeyRotationJustBeforeSigning(t *testing.T) {
	op := newOP(t)
	rp := op.party(t)
	id, err := op.enrol(t, rp)
	accepted(t, id, err)
	op.key, op.kid = ecKey(t), "k2"
	op.keys = []jose.JSONWebKey{{Key: op.key.Public(), KeyID: "k2", Use: "sig"}}
	id, err = op.enrol(t, rp)
	accepted(t, id, err)
}

// TestR06WithdrawnKey: a key that the provider takes back, because somebody stole
// it, is accepted for an hour at most. Before, it was until the next unknown kid.
func TestR06WithdrawnKey(t *testing.T) {
	op := newOP(t)
	rp := op.party(t)
	id, err := op.enrol(t, rp)
	accepted(t, id, err)
	next := ecKey(t)
	op.keys = []jose.JSONWebKey{{Key: next.Public(), KeyID: "k2", Use: "sig"}}
	rp.keys.fetched = rp.keys.fetched.Add(-keysFresh)
	id, err = op.enrol(t, rp)
	refused(t, id, err, ErrBadSignature)
	op.key, op.kid = next, "k2"
	id, err = op.enrol(t, rp)
	accepted(t, id, err)

	// Keys that are too old are not used because newer ones cannot be had.
	published := op.keys
	op.keys = nil
	rp.keys.fetched, rp.keys.refetched = rp.keys.fetched.Add(-keysFresh), time.Time{}
	id, err = op.enrol(t, rp)
	refused(t, id, err, ErrBadDiscovery)
	id, err = op.enrol(t, rp)
	refused(t, id, err, ErrUnavailable)
	op.keys = published
	rp.keys.refetched = rp.keys.refetched.Add(-refetchInterval)
	id, err = op.enrol(t, rp)
	accepted(t, id, err)
}

func TestR31NoKid(t *testing.T) {
	for name, tc := range map[string]struct {
		keys []string
		want *refusal.Error
	}{
		"pass one key": {[]string{""}, nil}, "pass one key with a kid": {[]string{"k1"}, nil},
		"two keys": {[]string{"k1", "k2"}, ErrBadSignature}, "two keys without kid": {[]string{"", ""}, ErrBadSignature},
	} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			op.kid, op.keys = "", nil
			for i, kid := range tc.keys {
				key := op.key
				if i > 0 {
					key = ecKey(t)
				}
				op.keys = append(op.keys, jose.JSONWebKey{Key: key.Public(), KeyID: kid})
			}
			id, err := op.enrol(t, op.party(t))
			if tc.want == nil {
				accepted(t, id, err)
			} else {
				refused(t, id, err, tc.want)
			}
		})
	}
	t.Run("one kid for two keys", func(t *testing.T) {
		op := newOP(t)
		op.keys = append(op.keys, jose.JSONWebKey{Key: ecKey(t).Public(), KeyID: "k1"})
		id, err := op.enrol(t, op.party(t))
		refused(t, id, err, ErrBadSignature)
	})
}

func TestR32DistributedClaimsAreNotFetched(t *testing.T) {
	var reached atomic.Int64
	internal := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(internal.Close)
	distributed := func(c map[string]any) {
		c["_claim_names"] = map[string]any{"name": "src", "address": "src"}
		c["_claim_sources"] = map[string]any{"src": map[string]any{"endpoint": internal.URL, "access_token": "x"}}
	}
	op := newOP(t)
	op.claims = distributed
	op.userinfo = func(m map[string]any) { distributed(m); delete(m, "address") }
	id, err := op.enrol(t, op.party(t))
	accepted(t, id, err)
	if id.Address != "" || reached.Load() != 0 {
		t.Error("a distributed claim was fetched")
	}
	op.userinfo = func(m map[string]any) { distributed(m); delete(m, "name") }
	id, err = op.enrol(t, op.party(t))
	refused(t, id, err, ErrMissingClaim)
	op.claims = set("_claim_names", map[string]any{"name": "nowhere"})
	id, err = op.enrol(t, op.party(t))
	refused(t, id, err, ErrMalformed)
	if reached.Load() != 0 {
		t.Error("a distributed claim was fetched")
	}
}

func TestR33TokenResponseVariants(t *testing.T) {
	for name, tc := range map[string]struct {
		lie  func(map[string]any)
		want *refusal.Error
	}{
		"pass no expires_in":        {drop("expires_in"), nil},
		"pass expires_in as string": {set("expires_in", "60"), nil},
		"pass bearer":               {set("token_type", "bearer"), nil},
		"pass BEARER":               {set("token_type", "BEARER"), nil},
		"token type missing":        {drop("token_type"), ErrMalformed},
		"token type other":          {set("token_type", "mac"), ErrMalformed},
		"no access token":           {drop("access_token"), ErrMalformed},
		"no id token":               {drop("id_token"), ErrMalformed},
		"id token an object":        {set("id_token", map[string]any{}), ErrMalformed},
		"id token of 100 kB":        {set("id_token", strings.Repeat("a", 100<<10)), ErrMalformed},
		"error in a 200":            {set("error", "server_error"), ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			op.token = tc.lie
			id, err := op.enrol(t, op.party(t))
			if tc.want == nil {
				accepted(t, id, err)
			} else {
				refused(t, id, err, tc.want)
			}
		})
	}
	t.Run("a form instead of JSON", func(t *testing.T) {
		op := newOP(t)
		op.extra = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/token" {
				w.Header().Set("Content-Type", "application/x-www-form-urlencoded")
				fmt.Fprint(w, "access_token=x&token_type=bearer&id_token=y")
			}
			return r.URL.Path == "/token"
		}
		id, err := op.enrol(t, op.party(t))
		refused(t, id, err, ErrMalformed)
	})
}

// The policy: five minutes either way, for every time in the token.
func TestR34ClockSkew(t *testing.T) {
	for _, tc := range []struct {
		off  time.Duration // the provider's clock minus ours
		want *refusal.Error
	}{
		{0, nil}, {5 * time.Minute, nil}, {-5 * time.Minute, nil}, {time.Hour, ErrBadTime}, {-time.Hour, ErrBadTime},
		{5*time.Minute + time.Second, ErrBadTime}, {-5*time.Minute - time.Second, ErrBadTime},
	} {
		t.Run(tc.off.String(), func(t *testing.T) {
			op := newOP(t)
			op.claims = func(c map[string]any) {
				theirs := op.start.Add(tc.off)
				c["iat"], c["nbf"], c["auth_time"], c["exp"] = theirs.Unix(), theirs.Unix(), theirs.Unix(), theirs.Add(time.Minute).Unix()
			}
			id, err := op.enrol(t, op.party(t))
			if tc.want == nil {
				accepted(t, id, err)
			} else {
				refused(t, id, err, tc.want)
			}
		})
	}
	start := time.Unix(1_800_000_000, 0)
	runClaims(t, nil, []claimCase{
		{"expired beyond the skew", set("exp", start.Add(-skew).Unix()), ErrBadTime},
		{"iat beyond the skew", set("iat", start.Add(skew+time.Second).Unix()), ErrBadTime},
		{"iat before the flow began", set("iat", start.Add(-skew-time.Second).Unix()), ErrBadTime},
		{"nbf beyond the skew", set("nbf", start.Add(skew+time.Second).Unix()), ErrBadTime},
		{"exp 1e308", set("exp", 1e308), ErrBadTime},
		{"exp negative", set("exp", -1), ErrBadTime},
		{"exp zero", set("exp", 0), ErrBadTime},
		{"exp a string", set("exp", "1800000600"), ErrMalformed},
		{"iat negative", set("iat", -1), ErrBadTime},
		{"nbf negative", set("nbf", -1), ErrBadTime},
		{"pass exp a fraction", set("exp", 1_800_000_600.5), nil},
	})
}

func TestR35MoreThanWasAsked(t *testing.T) {
	op := newOP(t)
	more := func(m map[string]any) {
		for _, claim := range []string{"phone_number", "gender", "nationality", "national_id", "picture", "zoneinfo"} {
			m[claim] = "Surplus"
		}
		m["name"], m["email"], m["email_verified"], m["address"] = "Alice Weathervane", "alice@surplus.example", true, map[string]any{"formatted": "Surplus"}
	}
	op.claims, op.userinfo = more, more
	id, err := op.enrol(t, op.party(t, func(p *Provider) { p.Scopes = nil }))
	accepted(t, id, err)
	v := reflect.ValueOf(id)
	for i := range v.NumField() {
		if s := v.Field(i).String(); strings.Contains(strings.ToLower(s), "surplus") {
			t.Errorf("%s holds what was not asked for", v.Type().Field(i).Name)
		}
	}
	if fields := id.Fields(); len(fields) != 2 || fields["name"] == nil || fields["birthdate"] == nil {
		t.Errorf("%d fields would be sealed, want name and birthdate", len(fields))
	}
	for name, lie := range map[string]func(map[string]any){
		"email nobody verified": set("email_verified", false), "email without a word about it": drop("email_verified"),
	} {
		op := newOP(t)
		op.userinfo = lie
		id, err := op.enrol(t, op.party(t))
		accepted(t, id, err)
		if id.Email != "" {
			t.Errorf("%s was kept", name)
		}
	}
}

func TestR35FieldsAreBounded(t *testing.T) {
	for name, lie := range map[string]func(map[string]any){
		"name of 2 kB": set("name", strings.Repeat("a", 2048)), "name with a newline": set("name", "Alice\nWeathervane"),
		"name with ANSI": set("name", "Alice\x1b[2J"), "name right to left": set("name", "Alice\u202e"),
		"birthdate in words": set("birthdate", "yesterday"), "birthdate month 13": set("birthdate", "1980-13-01"),
		"address of 2 kB": set("address", map[string]any{"formatted": strings.Repeat("a", 2048)}),
		"address string":  set("address", "1 High Street"), "name number": set("name", 1),
	} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			op.userinfo = lie
			id, err := op.enrol(t, op.party(t))
			refused(t, id, err, ErrMalformed)
		})
	}
}
