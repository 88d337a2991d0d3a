package identity

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestGuardedClientKeepsToItsBounds: an address that somebody else chose leads neither
// into the operator's networks, by itself or by a redirect, nor to more than a bounded
// answer.
func TestGuardedClientKeepsToItsBounds(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/form", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") })
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		for chunk := strings.Repeat("x", 1<<20); ; {
			if _, err := io.WriteString(w, chunk); err != nil {
				return // whoever called has hung up
			}
		}
	})
	server := httptest.NewServer(mux)
	defer server.Close()

	permitted, err := ParsePrivateNetworks([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	sandbox, production, internal := NewHTTP(Guard{AllowLoopback: true}), NewHTTP(Guard{}), NewHTTP(Guard{Private: permitted})
	for _, tc := range []struct {
		name   string
		client *http.Client
		path   string
		want   error
	}{
		{"pass a permitted network", internal, "/form", nil},
		{"pass the sandbox's", sandbox, "/form", nil},
		{"this machine", production, "/form", ErrPrivateAddress},
		{"a redirect to another origin", sandbox, "/away", ErrRedirectRefused},
		{"an answer without end", sandbox, "/large", ErrTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp, err := tc.client.Post(server.URL+tc.path, "application/x-www-form-urlencoded", strings.NewReader("a=b"))
			if err == nil {
				resp.Body.Close()
			}
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			tc.client.CloseIdleConnections()
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("the redirect was followed")
	}
}
