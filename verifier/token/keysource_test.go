package token

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
)

// keyServer publishes a key set; its clock is the test's.
type keyServer struct {
	*httptest.Server
	hits   atomic.Int32
	answer atomic.Value // http.HandlerFunc
	now    atomic.Int64 // seconds after noon
}

func newKeyServer(t *testing.T, keys ...object) *keyServer {
	s := new(keyServer)
	s.publish(keys...)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		s.answer.Load().(http.HandlerFunc)(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) publish(keys ...object) {
	s.answer.Store(text("application/jwk-set+json", string(jwks(keys...))))
}

func (s *keyServer) clock() time.Time { return noon.Add(time.Duration(s.now.Load()) * time.Second) }

func (s *keyServer) pass(d time.Duration) { s.now.Add(int64(d / time.Second)) }

func (s *keyServer) verifier(t *testing.T) *Verifier {
	v := newVerifier(t)
	v.Keys = HTTPKeySource(s.URL, nil, s.clock)
	v.Leeway = 24 * time.Hour
	return v
}

func (s *keyServer) expectHits(t *testing.T, want int32) {
	t.Helper()
	if n := s.hits.Load(); n != want {
		t.Errorf("%d requests, want %d", n, want)
	}
}

func TestHTTPKeySourceKeepsASet(t *testing.T) {
	s := newKeyServer(t, edJWK(edKey("issuer"), "ed"))
	v, raw := s.verifier(t), forged(edKey("issuer"), edHeader(), goodClaims())
	for range 3 {
		expectPass(t, v, raw)
	}
	s.expectHits(t, 1)
	s.pass(keysFresh)
	expectPass(t, v, raw)
	s.expectHits(t, 2)
}

// TestHTTPKeySourceRotation: the issuer signs with a new key that is already
// published (R30 of the conformance suite, for our own tokens).
func TestHTTPKeySourceRotation(t *testing.T) {
	s := newKeyServer(t, edJWK(edKey("issuer"), "ed"))
	v := s.verifier(t)
	expectPass(t, v, forged(edKey("issuer"), edHeader(), goodClaims()))
	s.pass(keysInterval)
	s.publish(edJWK(edKey("issuer"), "ed"), edJWK(edKey("next"), "next"))
	expectPass(t, v, forged(edKey("next"), with(edHeader(), object{"kid": "next"}), goodClaims()))
	s.expectHits(t, 2)
	expectPass(t, v, forged(edKey("issuer"), edHeader(), goodClaims()))
	s.expectHits(t, 2)
}

// TestUnknownKidFlood: each forged kid must not become a request to the issuer.
func TestUnknownKidFlood(t *testing.T) {
	s := newKeyServer(t, edJWK(edKey("issuer"), "ed"))
	v := s.verifier(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			expect(t, v, forged(edKey("x"), with(edHeader(), object{"kid": fmt.Sprint(i)}), goodClaims()), ErrUnknownKid)
		})
	}
	wg.Wait()
	s.expectHits(t, 1)
	s.pass(keysInterval)
	for i := range 50 {
		expect(t, v, forged(edKey("x"), with(edHeader(), object{"kid": fmt.Sprint(i)}), goodClaims()), ErrUnknownKid)
	}
	s.expectHits(t, 2)
}

func TestHTTPKeySourceFailures(t *testing.T) {
	raw := forged(edKey("issuer"), edHeader(), goodClaims())
	for name, answer := range map[string]http.HandlerFunc{
		"not found":      http.NotFound,
		"redirect":       func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) },
		"too large":      text("application/json", strings.Repeat(" ", document.MaxKeySet+1)),
		"other type":     text("text/html", string(jwks(edJWK(edKey("issuer"), "ed")))),
		"weak set":       text("application/json", `{"keys":[{"kty":"oct","k":""}]}`),
		"not a set":      text("application/json", `[]`),
		"hung up":        func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"empty":          text("application/json", ""),
		"attacker's set": text("application/json", string(jwks(edJWK(edKey("issuer"), "ed"), edJWK(edKey("attacker"), "ed")))),
	} {
		t.Run(name, func(t *testing.T) {
			s := newKeyServer(t)
			s.answer.Store(answer)
			v := s.verifier(t)
			expect(t, v, raw, ErrKeysUnavailable)
			hits := s.hits.Load()
			expect(t, v, raw, ErrKeysUnavailable)
			if s.hits.Load() != hits {
				t.Error("asked again at once")
			}
			s.publish(edJWK(edKey("issuer"), "ed"))
			s.pass(keysInterval)
			expectPass(t, v, raw)

			// a set outlives the issuer for an hour, not longer
			s.answer.Store(answer)
			s.pass(keysFresh)
			expectPass(t, v, raw)
			s.pass(keysStale - keysFresh - time.Second)
			expectPass(t, v, raw)
			s.pass(time.Second)
			expect(t, v, raw, ErrKeysUnavailable)
		})
	}
	t.Run("the caller gives up", func(t *testing.T) {
		s := newKeyServer(t, edJWK(edKey("issuer"), "ed"))
		v := s.verifier(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := v.Verify(ctx, raw); refusalCode(err) != ErrKeysUnavailable.Code || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		expectPass(t, v, raw)
	})
	t.Run("no such address", func(t *testing.T) {
		v := newVerifier(t)
		v.Keys = HTTPKeySource("http://127.0.0.1:0/jwks", &http.Client{}, v.Now)
		expect(t, v, raw, ErrKeysUnavailable)
		v.Keys = HTTPKeySource("://", nil, v.Now)
		expect(t, v, raw, ErrKeysUnavailable)
	})
}

// TestSlowIssuerHoldsUpNobody: while one caller waits for newer keys, the others
// go on with those they have. Before, all of them waited.
func TestSlowIssuerHoldsUpNobody(t *testing.T) {
	s := newKeyServer(t, edJWK(edKey("issuer"), "ed"))
	v, raw := s.verifier(t), forged(edKey("issuer"), edHeader(), goodClaims())
	expectPass(t, v, raw)
	s.pass(keysFresh)
	asked, answer := make(chan bool), make(chan bool)
	s.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- true
		<-answer
		http.NotFound(w, r)
	}))
	var wg sync.WaitGroup
	wg.Go(func() { expectPass(t, v, raw) })
	<-asked
	// Whoever waits on a context that has ended gets nothing: this one does not wait.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Verify(ended, raw); err != nil {
		t.Errorf("held up: %v", err)
	}
	close(answer)
	wg.Wait()
	s.expectHits(t, 2)
}

// TestKeysOverPlainHTTP: whoever can change the keys on their way can sign in as
// anybody, so nothing is asked for.
func TestKeysOverPlainHTTP(t *testing.T) {
	client := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("the keys were asked for")
		return nil, errors.New("unreachable")
	})}
	for _, url := range []string{"http://penname.example/jwks", "http://localhost/jwks", "http://127.0.0.1.evil.example/jwks", "ftp://penname.example/jwks"} {
		v := newVerifier(t)
		v.Keys = HTTPKeySource(url, client, v.Now)
		expect(t, v, forged(edKey("issuer"), edHeader(), goodClaims()), ErrKeysUnavailable)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// opaque signs as a key does that cannot be taken out of its store.
type opaque struct {
	key  jose.JSONWebKey
	algs []jose.SignatureAlgorithm
	err  error
}

func (o opaque) Public() *jose.JSONWebKey {
	public := o.key.Public()
	return &public
}
func (o opaque) Algs() []jose.SignatureAlgorithm { return o.algs }
func (o opaque) SignPayload(payload []byte, _ jose.SignatureAlgorithm) ([]byte, error) {
	if o.err != nil {
		return nil, o.err
	}
	return rawSign(o.key.Key, string(payload)), nil
}

func TestSignWithAnOpaqueKey(t *testing.T) {
	inner := privateJWK(edKey("issuer"), "ed")
	raw, err := SignStatusList(jose.JSONWebKey{Key: opaque{key: inner, algs: []jose.SignatureAlgorithm{jose.RS256, jose.EdDSA}}, KeyID: "ed"}, goodList())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyStatusList(t.Context(), raw, listURI, issuerKeys(t), noon); err != nil {
		t.Error(err)
	}
	for name, o := range map[string]opaque{
		"only RSA": {key: inner, algs: []jose.SignatureAlgorithm{jose.RS256}},
		"store":    {key: inner, algs: []jose.SignatureAlgorithm{jose.EdDSA}, err: errors.New("sealed")},
	} {
		raw, err := SignStatusList(jose.JSONWebKey{Key: o, KeyID: "ed"}, goodList())
		if expectRefusal(t, err, ErrCannotSign); raw != "" {
			t.Errorf("%s: signed", name)
		}
	}
}
