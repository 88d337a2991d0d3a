package token

import (
	"bytes"
	"compress/zlib"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// deflate is zlib in one call.
func deflate(b []byte) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func statusClaimsOf(l StatusList) object {
	return object{"sub": l.URI, "iat": l.IssuedAt.Unix(), "exp": l.Expiry.Unix(), "ttl": 60, "status_list": object{"bits": 1, "lst": b64(deflate(l.Bits))}}
}

func statusPayload(t testing.TB, l StatusList) string {
	t.Helper()
	return marshal(statusClaimsOf(l))
}

func statusHeader() object { return object{"alg": "EdDSA", "kid": "ed", "typ": "statuslist+jwt"} }

const listURI = "https://penname.example/status/1"

func goodList() StatusList {
	l := StatusList{URI: listURI, IssuedAt: noon.Add(-time.Minute), Expiry: noon.Add(time.Hour), TTL: time.Minute, Bits: make([]byte, 16)}
	l.Withdraw(0)
	l.Withdraw(13)
	return l
}

func TestStatusListBits(t *testing.T) {
	l := goodList()
	// draft-ietf-oauth-status-list, 4.1: index 0 is the least significant bit of byte 0
	if l.Bits[0] != 1 || l.Bits[1] != 1<<5 {
		t.Errorf("got % x", l.Bits[:2])
	}
	for i := -1; i <= 128; i++ {
		withdrawn, ok := l.Withdrawn(i)
		if inside := i >= 0 && i < 128; ok != inside || withdrawn != (i == 0 || i == 13) {
			t.Errorf("Withdrawn(%d) = %v, %v", i, withdrawn, ok)
		}
	}
	if l.Withdraw(-1) || l.Withdraw(128) {
		t.Error("withdrew a token outside the list")
	}
}

func TestSignStatusListIsReadBack(t *testing.T) {
	for _, key := range []any{edKey("issuer"), ecKey("issuer")} {
		kid := map[bool]string{true: "ed", false: "ec"}[fmt.Sprintf("%T", key) == "ed25519.PrivateKey"]
		l := goodList()
		raw, err := SignStatusList(privateJWK(key, kid), l)
		if err != nil {
			t.Fatal(err)
		}
		got, err := VerifyStatusList(t.Context(), raw, listURI, issuerKeys(t), noon)
		if err != nil {
			t.Fatal(err)
		}
		if got.URI != l.URI || !got.IssuedAt.Equal(l.IssuedAt) || !got.Expiry.Equal(l.Expiry) || got.TTL != l.TTL || !bytes.Equal(got.Bits, l.Bits) {
			t.Errorf("got %+v, want %+v", got, l)
		}
	}
}

func TestSignStatusListRefuses(t *testing.T) {
	for name, change := range map[string]func(*StatusList){
		"no URI":            func(l *StatusList) { l.URI = "" },
		"no time":           func(l *StatusList) { l.IssuedAt = time.Time{} },
		"no expiry":         func(l *StatusList) { l.Expiry = time.Time{} },
		"expiry before iat": func(l *StatusList) { l.Expiry = l.IssuedAt },
		"no bits":           func(l *StatusList) { l.Bits = nil },
		"too many bits":     func(l *StatusList) { l.Bits = make([]byte, maxStatusList+1) },
		"negative ttl":      func(l *StatusList) { l.TTL = -1 },
	} {
		l := goodList()
		change(&l)
		raw, err := SignStatusList(privateJWK(edKey("issuer"), "ed"), l)
		if expectRefusal(t, err, ErrStatusListInvalid); raw != "" {
			t.Errorf("%s: signed", name)
		}
	}
	_, err := SignStatusList(privateJWK([]byte("a symmetric key of thirty-two b."), "ed"), goodList())
	expectRefusal(t, err, ErrCannotSign)
}

// TestT51StatusLists: whatever is wrong with a list, the status is unknown and
// the token is refused.
func TestT51StatusLists(t *testing.T) {
	key := edKey("issuer")
	good := statusClaimsOf(goodList())
	list := func(bits any, lst string) object { return object{"status_list": object{"bits": bits, "lst": lst}} }
	sign := func(changes ...object) string { return forged(key, statusHeader(), with(good, changes...)) }
	rows := map[string]string{
		"T51 sub is another uri":     sign(object{"sub": listURI + "/"}),
		"T51 sub absent":             sign(object{"sub": nil}),
		"T51 iat absent":             sign(object{"iat": nil}),
		"T51 iat in the future":      sign(object{"iat": noon.Add(2 * time.Minute).Unix()}),
		"T51 exp absent":             sign(object{"exp": nil}),
		"T51 expired":                sign(object{"exp": noon.Unix()}),
		"T51 exp a string":           sign(object{"exp": "1900000000"}),
		"T51 ttl zero":               sign(object{"ttl": 0}),
		"T51 ttl negative":           sign(object{"ttl": -1}),
		"T51 ttl a string":           sign(object{"ttl": "60"}),
		"T51 bits 2":                 sign(list(2, b64(deflate(make([]byte, 8))))),
		"T51 bits absent":            sign(list(nil, b64(deflate(make([]byte, 8))))),
		"T51 lst not base64url":      sign(list(1, "***")),
		"T51 lst padded":             sign(list(1, b64(deflate(make([]byte, 8)))+"=")),
		"T51 lst empty":              sign(list(1, "")),
		"T51 lst not zlib":           sign(list(1, b64(make([]byte, 32)))),
		"T51 lst truncated":          sign(list(1, b64(deflate(make([]byte, 80))[:8]))),
		"T51 lst with a tail":        sign(list(1, b64(append(deflate(make([]byte, 8)), 0)))),
		"T51 lst bad checksum":       sign(list(1, b64(flipLast(deflate(make([]byte, 8)))))),
		"T51 lst bomb":               sign(list(1, b64(deflate(make([]byte, 64<<20))))),
		"T51 status_list absent":     sign(object{"status_list": nil}),
		"T51 signed by another":      forged(edKey("attacker"), statusHeader(), good),
		"T51 unknown kid":            forged(key, with(statusHeader(), object{"kid": "x"}), good),
		"T51 alg none":               b64([]byte(`{"alg":"none","typ":"statuslist+jwt"}`)) + "." + b64([]byte(marshal(good))) + ".",
		"T51 typ of a token":         forged(key, edHeader(), good),
		"T51 not a token":            "status",
		"T51 empty":                  "",
		"T51 duplicate exp":          compact(key, marshal(statusHeader()), strings.TrimSuffix(marshal(good), "}")+`,"exp":1}`),
		"T51 a list of nothing read": sign(list(1, b64(nil))),
	}
	for name, raw := range rows {
		t.Run(name, func(t *testing.T) {
			l, err := VerifyStatusList(t.Context(), raw, listURI, issuerKeys(t), noon)
			expectRefusal(t, err, ErrStatusUnknown)
			if l != nil {
				t.Error("a list came with the error")
			}
		})
	}
	t.Run("T51 key retired before iat", func(t *testing.T) {
		keys := mustKeys(t, with(edJWK(key, "ed"), object{"exp": noon.Add(-time.Hour).Unix()}))
		_, err := VerifyStatusList(t.Context(), sign(), listURI, keys, noon)
		expectRefusal(t, err, ErrStatusUnknown)
	})
}

func flipLast(b []byte) []byte {
	b = slices.Clone(b)
	b[len(b)-1] ^= 1
	return b
}

func TestT51StatusClaim(t *testing.T) {
	v := newVerifier(t)
	l := goodList()
	v.Status = statusFunc(func(_ string, index int) (bool, error) {
		withdrawn, ok := l.Withdrawn(index)
		if !ok {
			return false, ErrStatusUnknown
		}
		return withdrawn, nil
	})
	status := func(s any) string {
		return forged(edKey("issuer"), edHeader(), with(goodClaims(), object{"status": s}))
	}
	for name, s := range map[string]any{
		"T51 idx out of range":   object{"status_list": object{"idx": 128, "uri": listURI}},
		"T51 idx negative":       object{"status_list": object{"idx": -1, "uri": listURI}},
		"T51 idx a fraction":     object{"status_list": object{"idx": 1.5, "uri": listURI}},
		"T51 idx a string":       object{"status_list": object{"idx": "1", "uri": listURI}},
		"T51 idx null":           object{"status_list": object{"idx": nil, "uri": listURI}},
		"T51 idx absent":         object{"status_list": object{"uri": listURI}},
		"T51 idx 2^64":           object{"status_list": object{"idx": rawClaim("18446744073709551616"), "uri": listURI}},
		"T51 uri absent":         object{"status_list": object{"idx": 1}},
		"T51 uri empty":          object{"status_list": object{"idx": 1, "uri": ""}},
		"T51 another mechanism":  object{"other": object{}},
		"T51 status_list absent": object{},
		"T51 status absent":      nil,
	} {
		t.Run(name, func(t *testing.T) { expect(t, v, status(s), ErrStatusUnknown) })
	}
	expectPass(t, v, status(object{"status_list": object{"idx": 1, "uri": listURI}}))
	expect(t, v, status(object{"status_list": object{"idx": 13, "uri": listURI}}), ErrInactive)
	t.Run("T51 status without a source", func(t *testing.T) {
		expect(t, newVerifier(t), forged(edKey("issuer"), edHeader(), withStatus(1)), ErrNoStatusSource)
	})
}

// listServer publishes one list and counts its readers.
type listServer struct {
	*httptest.Server
	hits   atomic.Int32
	mu     sync.Mutex
	answer http.HandlerFunc
	now    time.Time
}

func newListServer(t *testing.T) *listServer {
	s := &listServer{now: noon}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		s.mu.Lock()
		answer := s.answer
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	s.serve(s.list(goodList()))
	return s
}

func (s *listServer) uri() string { return s.URL + "/status/1" }

func (s *listServer) list(l StatusList) http.HandlerFunc {
	l.URI = s.uri()
	raw, err := SignStatusList(privateJWK(edKey("issuer"), "ed"), l)
	if err != nil {
		panic(err)
	}
	return text("application/statuslist+jwt", raw)
}

func (s *listServer) serve(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = h
}

func text(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Write([]byte(body))
	}
}

func (s *listServer) source(t *testing.T) *HTTPStatusSource {
	return NewHTTPStatusSource(s.URL, StaticKeys(issuerKeys(t)), nil, func() time.Time { return s.now })
}

func TestHTTPStatusSource(t *testing.T) {
	s := newListServer(t)
	source := s.source(t)
	ask := func(index int, want bool, wantHits int32) {
		t.Helper()
		got, err := source.Withdrawn(t.Context(), s.uri(), index)
		if err != nil || got != want {
			t.Errorf("Withdrawn(%d) = %v, %v", index, got, err)
		}
		if n := s.hits.Load(); n != wantHits {
			t.Errorf("%d requests, want %d", n, wantHits)
		}
	}
	ask(13, true, 1)
	ask(12, false, 1)
	s.now = noon.Add(59 * time.Second)
	ask(0, true, 1) // ttl is a minute
	s.now = noon.Add(time.Minute)
	ask(0, true, 2)
	if _, err := source.Withdrawn(t.Context(), s.uri(), 128); refusalCode(err) != ErrStatusUnknown.Code {
		t.Errorf("an index outside the list: %v", err)
	}

	// exp wins over ttl
	l := goodList()
	l.Expiry, l.TTL = noon.Add(3*time.Minute), time.Hour
	s.serve(s.list(l))
	s.now = noon.Add(2 * time.Minute)
	ask(0, true, 3)
	s.now = noon.Add(3 * time.Minute)
	if _, err := source.Withdrawn(t.Context(), s.uri(), 0); err == nil {
		t.Error("an expired list is used")
	}
}

func TestKeepUntil(t *testing.T) {
	for _, row := range []struct{ ttl, exp, want time.Duration }{
		{0, time.Hour, statusTTL},
		{time.Second, time.Hour, time.Second},
		{1 << 40, 24 * time.Hour, 1 << 40},
		{24 * time.Hour, 48 * time.Hour, statusMaxTTL}, // a withdrawal must not wait for a day
		{time.Hour, time.Minute, time.Minute},
		{0, time.Minute, time.Minute},
	} {
		l := StatusList{TTL: row.ttl, Expiry: noon.Add(row.exp)}
		if got := l.keepUntil(noon).Sub(noon); got != row.want {
			t.Errorf("ttl %v, exp in %v: kept for %v", row.ttl, row.exp, got)
		}
	}
}

func TestHTTPStatusSourceAsksOnce(t *testing.T) {
	s := newListServer(t)
	source := s.source(t)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if withdrawn, err := source.Withdrawn(context.Background(), s.uri(), 13); err != nil || !withdrawn {
				t.Errorf("got %v, %v", withdrawn, err)
			}
		})
	}
	wg.Wait()
	if n := s.hits.Load(); n != 1 {
		t.Errorf("%d requests for one list", n)
	}
}

// TestT51SlowStatusServer: a server that takes ten seconds to fail costs one
// caller those ten seconds. Before, each who waited went on to wait for it, too.
func TestT51SlowStatusServer(t *testing.T) {
	s := newListServer(t)
	source := s.source(t)
	s.serve(func(w http.ResponseWriter, _ *http.Request) {
		s.now = s.now.Add(statusRetry)
		http.Error(w, "", http.StatusGatewayTimeout)
	})
	for range 3 {
		_, err := source.Withdrawn(t.Context(), s.uri(), 0)
		expectRefusal(t, err, ErrStatusUnknown)
	}
	if n := s.hits.Load(); n != 1 {
		t.Errorf("%d requests to a server that just failed", n)
	}
	s.serve(s.list(goodList()))
	s.now = s.now.Add(statusRetry)
	if _, err := source.Withdrawn(t.Context(), s.uri(), 0); err != nil {
		t.Errorf("later: %v", err)
	}
}

func TestT51StatusServers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another origin was visited") }))
	defer elsewhere.Close()
	for name, answer := range map[string]func(*listServer) http.HandlerFunc{
		"T51 redirect loop": func(s *listServer) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), http.StatusFound) }
		},
		"T51 redirect elsewhere": func(*listServer) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			}
		},
		"T51 500":        func(*listServer) http.HandlerFunc { return http.NotFound },
		"T51 other type": func(*listServer) http.HandlerFunc { return text("text/html", "<html>") },
		"T51 too large": func(*listServer) http.HandlerFunc {
			return text("application/statuslist+jwt", strings.Repeat("a", maxStatusToken+1))
		},
		"T51 hung up": func(*listServer) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		},
		"T51 a list of another": func(s *listServer) http.HandlerFunc {
			raw, _ := SignStatusList(privateJWK(edKey("issuer"), "ed"), goodList())
			return text("application/statuslist+jwt", raw)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newListServer(t)
			s.serve(answer(s))
			source := s.source(t)
			_, err := source.Withdrawn(t.Context(), s.uri(), 0)
			expectRefusal(t, err, ErrStatusUnknown)
			hits := s.hits.Load()
			if hits > 1+maxRedirects {
				t.Errorf("%d requests", hits)
			}
			// a failure is remembered for a while, and then asked about again
			_, err = source.Withdrawn(t.Context(), s.uri(), 0)
			if expectRefusal(t, err, ErrStatusUnknown); s.hits.Load() != hits {
				t.Error("asked again at once")
			}
			s.serve(s.list(goodList()))
			s.now = s.now.Add(statusRetry)
			if withdrawn, err := source.Withdrawn(t.Context(), s.uri(), 0); err != nil || !withdrawn {
				t.Errorf("after recovery: %v, %v", withdrawn, err)
			}
		})
	}
	t.Run("T51 uri elsewhere", func(t *testing.T) {
		s := newListServer(t)
		for _, uri := range []string{elsewhere.URL + "/status/1", "file:///etc/passwd", "/status/1", "", "https://user@penname.example/", s.URL + "@evil.example/", "http://127.0.0.1:0/\x00"} {
			_, err := s.source(t).Withdrawn(t.Context(), uri, 0)
			expectRefusal(t, err, ErrStatusUnknown)
		}
		if s.hits.Load() != 0 {
			t.Error("a request was made")
		}
	})
	t.Run("T51 redirect within the origin passes", func(t *testing.T) {
		s := newListServer(t)
		list := s.list(goodList())
		s.serve(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/moved" {
				list(w, r)
				return
			}
			http.Redirect(w, r, "/moved", http.StatusFound)
		})
		if withdrawn, err := s.source(t).Withdrawn(t.Context(), s.uri(), 13); err != nil || !withdrawn {
			t.Errorf("got %v, %v", withdrawn, err)
		}
	})
	t.Run("T51 the caller gives up", func(t *testing.T) {
		s := newListServer(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		source := s.source(t)
		_, err := source.Withdrawn(ctx, s.uri(), 0)
		expectRefusal(t, err, ErrStatusUnknown)
		if _, err := source.Withdrawn(t.Context(), s.uri(), 0); err != nil {
			t.Errorf("one caller's haste is held against the next: %v", err)
		}
	})
}

func TestHTTPStatusSourceIsBounded(t *testing.T) {
	s := newListServer(t)
	s.serve(http.NotFound)
	source := s.source(t)
	for i := range maxLists + 10 {
		source.Withdrawn(t.Context(), fmt.Sprintf("%s/%d", s.URL, i), 0)
	}
	if n := len(source.lists); n > maxLists {
		t.Errorf("%d lists are kept", n)
	}
	s.serve(s.list(goodList()))
	s.now = noon.Add(time.Minute)
	if _, err := source.Withdrawn(t.Context(), s.uri(), 0); err != nil {
		t.Errorf("old entries are not given up: %v", err)
	}
}

// S3: while one caller asks a slow server for the next list, the others answer from
// the last one, for ten seconds and never beyond its exp.
func TestFoundS3ASlowStatusServerHoldsUpNobodyElse(t *testing.T) {
	s := newListServer(t)
	source := s.source(t)
	if withdrawn, err := source.Withdrawn(t.Context(), s.uri(), 13); err != nil || !withdrawn {
		t.Fatal(withdrawn, err)
	}
	asked, answer, first := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	list := s.list(goodList())
	s.serve(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-answer
		list(w, r)
	})
	s.now = s.now.Add(goodList().TTL)
	go func() { _, err := source.Withdrawn(context.Background(), s.uri(), 13); first <- err }()
	<-asked
	if withdrawn, err := source.Withdrawn(t.Context(), s.uri(), 13); err != nil || !withdrawn || len(first) != 0 {
		t.Errorf("beside a slow answer: %v, %v, after it: %v", withdrawn, err, len(first) != 0)
	}
	s.now = s.now.Add(fetchTimeout)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := source.Withdrawn(ended, s.uri(), 13)
	expectRefusal(t, err, ErrStatusUnknown)
	close(answer)
	if err := <-first; err != nil {
		t.Error(err)
	}
}
