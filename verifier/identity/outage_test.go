package identity

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// G2: one 503 of the provider's key set refused everybody for a minute, though it
// was back after a second and the keys at hand were an hour old.
func TestFoundG2FreshKeysOutlastAHiccup(t *testing.T) {
	key, next := ecKey(t), ecKey(t)
	published := []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1"}}
	var status, asked atomic.Int64
	status.Store(http.StatusOK)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(int(status.Load()))
		json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: published}) //nolint:errcheck // the client sees it
	}))
	defer srv.Close()
	now := time.Unix(1_800_000_000, 0)
	keys := &keySet{url: srv.URL, parse: parseKeys, algs: allowedAlgs, client: srv.Client(), now: func() time.Time { return now }}
	if err := keys.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	old, newer := jws(t, jose.ES256, key, "k1", nil, []byte(`{}`)), jws(t, jose.ES256, next, "k2", nil, []byte(`{}`))
	verify := func(when, token string, want error, asks int64) {
		t.Helper()
		before := asked.Load()
		if _, _, err := keys.verify(t.Context(), token); !errors.Is(err, want) || asked.Load()-before != asks {
			t.Errorf("%s: %v, and the provider was asked %d times", when, err, asked.Load()-before)
		}
	}
	now = now.Add(time.Hour)
	status.Store(http.StatusServiceUnavailable)
	verify("in the hiccup", old, nil, 1)
	verify("at the same moment", old, nil, 0)
	verify("a key that nobody knows", newer, ErrBadSignature, 0)
	now = now.Add(retryInterval)
	verify("still", newer, ErrUnavailable, 1)
	published = append(published, jose.JSONWebKey{Key: next.Public(), KeyID: "k2"})
	status.Store(http.StatusOK)
	now = now.Add(retryInterval)
	verify("back after two seconds", newer, nil, 1)
	verify("and fresh", old, nil, 0)

	status.Store(http.StatusServiceUnavailable)
	now = now.Add(keysKept - time.Second)
	verify("a long outage", old, nil, 1)
	now = now.Add(time.Second)
	verify("too long an outage", old, ErrUnavailable, 1)
}

// G4: a provider in a private network is called where the operator names it; what
// tells a cloud's secrets never is.
func TestFoundG4PrivateNetworksByPermission(t *testing.T) {
	for _, c := range []struct {
		named         []string
		name, address string
		want          bool
	}{
		{nil, "idp.corp.example:443", "10.1.2.3:443", false},
		{[]string{"10.1.0.0/16"}, "idp.corp.example:443", "10.1.2.3:443", true},
		{[]string{"10.1.0.0/16"}, "idp.corp.example:443", "10.2.2.3:443", false},
		{[]string{"10.1.2.3"}, "idp.corp.example:443", "[::ffff:10.1.2.3]:443", true},
		{[]string{"fd12:3456::/32"}, "idp.corp.example:443", "[fd12:3456::1]:443", true},
		{[]string{"IdP.corp.example"}, "idp.corp.example.:443", "10.9.9.9:443", true},
		{[]string{"idp.corp.example"}, "other.corp.example:443", "10.9.9.9:443", false},
		{[]string{"idp.corp.example"}, "idp.corp.example:443", "127.0.0.1:443", false},
		{[]string{"idp.corp.example"}, "idp.corp.example:443", "169.254.169.254:443", false},
		{[]string{"idp.corp.example"}, "idp.corp.example:443", "0.0.0.0:443", false},
		{[]string{"127.0.0.0/8"}, "localhost:443", "127.0.0.1:443", true},
		{[]string{"localhost"}, "localhost:443", "[::1]:443", true},
		{[]string{"fd00::/8"}, "idp.corp.example:443", "[fd00:ec2::254]:443", false},
		{[]string{"64:ff9b::/96"}, "idp.corp.example:443", "[64:ff9b::a9fe:a9fe]:443", false},
		{[]string{"64:ff9b::/96"}, "idp.corp.example:443", "[64:ff9b::a01:203]:443", true},
		{[]string{"100.64.0.0/10"}, "idp.corp.example:443", "100.100.100.200:443", false},
		{[]string{"2002::/16"}, "idp.corp.example:443", "[2002:a9fe:a9fe::1]:443", false},
	} {
		p, err := ParsePrivateNetworks(c.named)
		if err != nil {
			t.Fatal(c.named, err)
		}
		if got := p.allow(c.name, c.address); got != c.want {
			t.Errorf("%v: %s at %s: %v", c.named, c.name, c.address, got)
		}
	}
	for _, bad := range []string{"", "0.0.0.0/0", "::/0", "169.254.0.0/16", "169.254.169.254", "fd00:ec2::254", "fe80::/10", "https://idp", "idp:443", "10.1.0.0/33", "*.corp.example"} {
		if _, err := ParsePrivateNetworks([]string{bad}); !errors.Is(err, ErrPrivateNetworks) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := checkDial("168.63.129.16:443", false); !errors.Is(err, ErrSSRFRefused) {
		t.Error("a cloud's metadata at a public address is called")
	}
}

// L1: a provider whose certificate an unknown authority signed is no outage that one
// waits for. Named, its address is dialled.
func TestFoundL1ProviderOfAnUnknownAuthority(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	defer srv.Close()
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	private, err := ParsePrivateNetworks([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	p := Provider{Issuer: "https://127.0.0.1:" + port, ClientID: ourID, ClientSecret: ourSecret, RedirectURL: ourRedirect, ACRValues: []string{ourACR}}
	_, err = NewRelyingParty(t.Context(), p, time.Now)
	refused(t, Identity{}, err, ErrSSRFRefused)
	p.Private = private
	_, err = NewRelyingParty(t.Context(), p, time.Now)
	refused(t, Identity{}, err, ErrCertificate)
}

// L3: what a sign-in will need is tried before anybody signs in.
func TestFoundL3CheckTriesLevelAndSecret(t *testing.T) {
	for name, c := range map[string]struct {
		edit []func(*Provider)
		acrs []string
		want error
	}{
		"as it must be":      {nil, []string{ourACR, "other"}, nil},
		"no levels are said": {nil, nil, nil},
		"another level":      {nil, []string{"other"}, ErrNoSuchLevel},
		"another secret":     {[]func(*Provider){func(p *Provider) { p.ClientSecret = "wrong" }}, nil, ErrClient},
	} {
		op := newOP(t)
		if op.discovery = set("acr_values_supported", c.acrs); c.acrs == nil {
			op.discovery = drop("acr_values_supported")
		}
		if err := op.party(t, c.edit...).Check(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// G2: whether a provider answers is known as of a minute ago at most.
func TestFoundG2Ready(t *testing.T) {
	op := newOP(t)
	rp := op.party(t)
	if err := rp.Ready(t.Context()); err != nil || op.jwksHits.Load() != 1 {
		t.Errorf("%v after %d requests", err, op.jwksHits.Load())
	}
	op.extra = func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	op.offset.Add(int64(refetchInterval/time.Second) + 1)
	for range 2 {
		if err := rp.Ready(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
	}
	op.extra = nil
	op.offset.Add(int64(retryInterval / time.Second))
	if err := rp.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// G3: a request that needs a frozen identity provider is answered within seconds.
func TestFoundG3FrozenProvider(t *testing.T) {
	op := newOP(t)
	rp, err := NewRelyingParty(t.Context(), op.party(t).provider, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	defer close(stop)
	op.extra = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/token" {
			return false
		}
		select {
		case <-stop:
		case <-r.Context().Done():
		}
		return true
	}
	began := time.Now()
	_, err = op.enrol(t, rp)
	took := time.Since(began)
	if !errors.Is(err, ErrTimeout) || took > 5*time.Second {
		t.Errorf("%v after %v", err, took)
	}
	t.Logf("figure: identity provider frozen: a request waited %v", took.Round(10*time.Millisecond))
}
