package token

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

func TestMiddlewareAnswers(t *testing.T) {
	good := forged(edKey("issuer"), edHeader(), goodClaims())
	expired := forged(edKey("issuer"), edHeader(), with(goodClaims(), object{"exp": noon.Unix()}))
	const dpop = `DPoP algs="EdDSA ES256"`
	for name, row := range map[string]struct {
		header    string
		status    int
		code      string
		challenge []string
	}{
		"no credentials":    {"", 401, "invalid_token.missing", []string{"Bearer", dpop}},
		"another scheme":    {"Basic eDp5", 401, "invalid_token.missing", []string{"Bearer", dpop}},
		"a bearer token":    {"Bearer " + good, 200, "", nil},
		"scheme in capital": {"BEARER " + good, 200, "", nil},
		"an expired token": {"Bearer " + expired, 401, "invalid_token.expired", []string{
			`Bearer error="invalid_token", error_description="The token has expired; sign in again."`, dpop + `, error="invalid_token"`}},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			if row.header != "" {
				r.Header.Set("Authorization", row.header)
			}
			code, w := serve(t, newVerifier(t).Middleware, r)
			if code != row.code || w.Code != row.status || !slices.Equal(w.Header()["Www-Authenticate"], row.challenge) {
				t.Errorf("got %q, %d, %q", code, w.Code, w.Header()["Www-Authenticate"])
			}
			if row.code == "" {
				return
			}
			var problem struct {
				Title, Code, Detail string
				Status              int
			}
			if err := stdjson.Unmarshal(w.Body.Bytes(), &problem); err != nil || problem.Status != row.status || problem.Code != row.code || problem.Detail == "" || problem.Title == "" {
				t.Errorf("got %s", w.Body)
			}
			if w.Header().Get("Content-Type") != "application/problem+json" || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("got %v", w.Header())
			}
		})
	}
	t.Run("in the query", func(t *testing.T) { // RFC 6750, 2.3: not supported, on purpose
		if code, _ := serve(t, newVerifier(t).Middleware, httptest.NewRequest("GET", "/?access_token="+good, nil)); code != "invalid_token.missing" {
			t.Errorf("got %q", code)
		}
	})
	t.Run("unavailable", func(t *testing.T) {
		v := newVerifier(t)
		v.Keys = HTTPKeySource("http://127.0.0.1:0/", nil, v.Now)
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+good)
		if code, w := serve(t, v.Middleware, r); code != ErrKeysUnavailable.Code || w.Code != 503 || w.Header().Get("WWW-Authenticate") != "" {
			t.Errorf("got %q, %d", code, w.Code)
		}
	})
	t.Run("an error that is no refusal", func(t *testing.T) {
		w := httptest.NewRecorder()
		newVerifier(t).refuse(w, httptest.NewRequest("GET", "/", nil), errors.New("jo@example.org"))
		if w.Code != 503 || strings.Contains(w.Body.String(), "jo@") {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
}

// TestOneEventAndNothingOfTheRequest: a refusal leaves one log record with the
// code, and neither it nor the answer repeats what was sent.
func TestOneEventAndNothingOfTheRequest(t *testing.T) {
	const canary = "canary-4711"
	token := forged(edKey("issuer"), with(edHeader(), object{"kid": canary}), goodClaims())
	for _, header := range []string{"", "Basic " + canary, "Bearer " + canary, "Bearer " + token, canary + " x", "DPoP " + token} {
		var log bytes.Buffer
		v := newVerifier(t)
		v.Log = slog.New(slog.NewJSONHandler(&log, nil))
		r := httptest.NewRequest("GET", "/"+canary+"?"+canary, nil)
		r.Header.Set("Authorization", header)
		r.Header.Set("DPoP", canary)
		code, w := serve(t, v.Middleware, r)
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), code) {
			t.Errorf("%d log records: %s", n, &log)
		}
		var answer bytes.Buffer
		w.Header().Write(&answer)
		for _, out := range []string{log.String(), w.Body.String(), answer.String()} {
			if strings.Contains(out, canary) {
				t.Errorf("repeats the request: %s", out)
			}
		}
	}
	if _, ok := FromContext(t.Context()); ok {
		t.Error("a token from nowhere")
	}
}

// TestTextsAreFitForHeaders: the sentences stand in quoted strings of JSON and of
// WWW-Authenticate, which are written with %q.
func TestTextsAreFitForHeaders(t *testing.T) {
	seen := map[string]bool{}
	all := []*refusal.Error{
		ErrBadKeySet, ErrBadKey, ErrWeakKey, ErrMissingExp, ErrBadExp, ErrExpired, ErrBadIat, ErrNotYetValid, ErrBadAudience, ErrBadIssuer, ErrBadSubject,
		ErrMissingClaim, ErrReplayed, ErrInactive, ErrStatusUnknown, ErrBadPseudonym, ErrKeysUnavailable, ErrReplayUnavailable, ErrMisconfigured, ErrCannotSign,
		ErrStatusListInvalid, ErrProofMissing, ErrProofMalformed, ErrProofID, ErrProofMethod, ErrProofURL, ErrProofIat, ErrProofAth, ErrProofOtherKey,
		ErrProofReplayed, ErrProofNonce, ErrBoundTokenAsBearer, ErrTokenNotBound, ErrEvidenceToken, ErrEvidenceProof, errNoToken,
		ErrKeyNotValidAt,
	}
	for _, f := range []*document.Format{idFormat, accessFormat, statusFormat, proofFormat, evidenceFormat} {
		for fault := document.Malformed; fault <= document.CannotSign; fault++ {
			all = append(all, f.Refuse(fault))
		}
	}
	for _, e := range all {
		if e == nil {
			t.Fatal("a fault has no refusal")
		}
		for _, c := range []byte(e.Code + e.Mend) {
			if c < ' ' || c > '~' || c == '"' || c == '\\' {
				t.Errorf("%s has the byte %q", e.Code, c)
			}
		}
		if !strings.HasSuffix(e.Mend, ".") || seen[e.Code+"\x00other"] {
			t.Errorf("%s: %q", e.Code, e.Mend)
		}
	}
}

// TestHostHeaderDoesNotMatter: the URL of a proof is compared with the configured
// origin, whatever the client writes into Host or Forwarded.
func TestHostHeaderDoesNotMatter(t *testing.T) {
	access := boundToken(t)
	evil := forged(edKey("holder"), proofHeader(), with(proofClaims(access), object{"htu": "https://evil.example/posts"}))
	r := apiRequest("DPoP "+access, evil)
	r.Host = "evil.example"
	r.Header.Set("Forwarded", "host=evil.example;proto=https")
	r.Header.Set("X-Forwarded-Host", "evil.example")
	if code, _ := serve(t, apiVerifier(t).Middleware, r); code != ErrProofURL.Code {
		t.Errorf("got %q", code)
	}
}

func TestDefaultsOfTheClock(t *testing.T) {
	v := newVerifier(t)
	v.Now = nil
	now := time.Now()
	fresh := with(goodClaims(), object{"iat": now.Unix(), "exp": now.Add(time.Minute).Unix()})
	expectPass(t, v, forged(edKey("issuer"), edHeader(), fresh))
	expect(t, v, forged(edKey("issuer"), edHeader(), goodClaims()), ErrExpired, ErrBadIat)
	code, _ := serve(t, v.Middleware, func() *http.Request {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+forged(edKey("issuer"), edHeader(), fresh))
		return r
	}())
	if code != "" {
		t.Error(code)
	}
}
