package service

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/openid/openidtest"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/escrow/web/person"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
)

// TestCheckAsksLogoutAddresses: --check posts what ends nothing, and warns of an address
// that would take no logout token. The service starts all the same.
func TestCheckAsksLogoutAddresses(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.ContentLength > 0 {
			t.Errorf("%s with %d bytes", r.Method, r.ContentLength)
		}
		status, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Location", "https://elsewhere.example/")
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	o := &opening{Parts: Parts{Now: time.Now, Issuing: &Issuing{HTTP: identity.NewHTTP(identity.Guard{AllowLoopback: true})}}}
	for status, want := range map[int]error{200: nil, 204: nil, 400: nil, 401: nil, 302: errConfigLogout, 404: errConfigLogout, 405: errConfigLogout, 503: errConfigLogout} {
		if err := o.tryLogout(t.Context(), server.URL+"/"+strconv.Itoa(status)); !errors.Is(err, want) {
			t.Errorf("%d: %v", status, err)
		}
	}
	o.Issuing.HTTP.CloseIdleConnections()
	o.Issuing.HTTP = identity.NewHTTP(identity.Guard{})
	err := o.tryLogout(t.Context(), server.URL+"/200")
	if f := found("logout", err); f.Mark != Warning || f.Code != "config.no_logout_address" || !strings.Contains(f.Mend, "platform_private_networks") || !strings.Contains(f.Cause, identity.ErrPrivateAddress.Code) || strings.Contains(f.Cause, "identity provider") {
		t.Errorf("an internal address: %+v", f)
	}
	if f := found("keys", o.tryKeys(t.Context(), server.URL+"/keys")); f.Mark != Warning || f.Code != "config.no_keys_address" || !strings.Contains(f.Cause, identity.ErrPrivateAddress.Code) {
		t.Errorf("keys at an internal address: %+v", f)
	}
	if refusal.Of(o.tryLogout(t.Context(), ":")) == nil {
		t.Error("no address")
	}
}

// TestUntoldShowsWhenTheDayIsOver: that a platform did not take a logout token is in no
// line of the day on which somebody left it.
func TestUntoldShowsWhenTheDayIsOver(t *testing.T) {
	var logs bytes.Buffer
	now := time.Date(2026, 11, 28, 0, 30, 0, 0, time.UTC)
	s := &Service{Parts: Parts{Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(&logs, nil))}}
	edge, err := web.New(web.Config{Origin: "https://penname.example", Log: s.Log, Now: s.Now})
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if s.live.issuing, err = person.Mount(edge, person.Config{
		Providers: []person.Provider{{ID: "national", Proving: nowhere{}}}, Store: openidtest.NewMemory(),
		TokenKeys: []openid.Key{{JWK: jose.JSONWebKey{KeyID: "k", Key: key}}},
	}); err != nil {
		t.Fatal(err)
	}
	round := func() string {
		if err := s.TellPlatforms(t.Context()); err != nil {
			t.Fatal(err)
		}
		return logs.String()
	}
	round()
	s.untold.add("town-square")
	s.untoldWhy.add("town-square invalid_key")
	for now.Day() == 28 {
		if said := round(); said != "" {
			t.Fatalf("at %s: %s", now, said)
		}
		now = now.Add(time.Hour)
	}
	if said := round(); strings.Count(said, "platform=town-square attempts=1") != 1 || !strings.Contains(said, "on the day before") ||
		!strings.Contains(said, "platform=town-square error=invalid_key attempts=1") {
		t.Error(said)
	}
}
