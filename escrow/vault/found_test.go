package vault

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/penname/penname/escrow/keep"
)

// G3: a request that needs a Vault that is frozen, or down, is answered within
// seconds: log-in, renewal and call share one time.
func TestFoundG3FrozenVault(t *testing.T) {
	stop := make(chan struct{})
	frozen := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	defer frozen.Close()
	defer close(stop)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for name, address := range map[string]string{"frozen": frozen.URL, "down": nobody} {
		e, err := newEndpoint(address, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		s := &session{endpoint: e, side: SideIssuing, now: time.Now, turn: make(chan struct{}, 1)}
		began := time.Now()
		err = s.call(t.Context(), http.MethodPost, "transit/encrypt/x", map[string]any{}, nil)
		took := time.Since(began)
		if !errors.Is(err, keep.ErrUnavailable) || took > 5*time.Second {
			t.Errorf("%s: %v after %v", name, err, took)
		}
		t.Logf("figure: Vault %s: a request waited %v", name, took.Round(10*time.Millisecond))
	}
}
