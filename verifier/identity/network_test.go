package identity

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/verifier/refusal"
)

func TestR03AddressesThatAreNotPublic(t *testing.T) {
	for _, addr := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1", "169.254.169.254",
		"172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.7",
		"203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "100::1",
		"2001::1", "2001:db8::1", "2002:7f00:1::1", "2002:a00:1::1", "3fff::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1", "5f00::1",
	} {
		if err := checkDial(net.JoinHostPort(addr, "443"), false); !errors.Is(err, ErrSSRFRefused) {
			t.Errorf("%s would be dialled", addr)
		}
	}
	for _, addr := range []string{"fe80::1%eth0", "::1%lo", "no address"} {
		if err := checkDial("["+addr+"]:443", false); !errors.Is(err, ErrSSRFRefused) {
			t.Errorf("%s would be dialled", addr)
		}
	}
	for _, addr := range []string{"1.1.1.1", "8.8.8.8", "99.255.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.3.1", "198.20.0.1", "223.255.255.254",
		"2606:4700:4700::1111", "2a00:1450:4001::1", "::ffff:1.1.1.1"} {
		if err := checkDial(net.JoinHostPort(addr, "443"), false); err != nil {
			t.Errorf("pass %s: %v", addr, err)
		}
		if err := checkDial(net.JoinHostPort(addr, "443"), true); !errors.Is(err, ErrSSRFRefused) {
			t.Errorf("the sandbox would dial %s", addr)
		}
	}
	for _, addr := range []string{"127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80"} {
		if err := checkDial(addr, true); err != nil {
			t.Errorf("pass %s in the sandbox: %v", addr, err)
		}
	}
	for _, addr := range []string{"10.0.0.1:80", "169.254.169.254:80", "0.0.0.0:80", "[::]:80"} {
		if err := checkDial(addr, true); !errors.Is(err, ErrSSRFRefused) {
			t.Errorf("the sandbox would dial %s", addr)
		}
	}
}

// A production provider whose name leads to this machine is refused when it is
// dialled, by name and by address, and nothing arrives.
func TestR03LoopbackIsNotDialled(t *testing.T) {
	var reached atomic.Int64
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(net.Conn, http.ConnState) { reached.Add(1) }
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f000001", "2130706433", "127.1"} {
		_, err := newRelyingParty(t.Context(), Provider{Issuer: "https://" + host + ":" + port, ClientID: ourID, ClientSecret: ourSecret,
			RedirectURL: ourRedirect, ACRValues: []string{ourACR}}, time.Now, limits{timeout: 2 * time.Second, body: defaultLimits.body}, nil)
		// Notations that are no address are names, which do not resolve.
		if !errors.Is(err, ErrSSRFRefused) && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrTimeout) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if reached.Load() != 0 {
		t.Error("a connection was made")
	}
}

func TestR03EndpointsInTheDiscoveryDocument(t *testing.T) {
	for _, endpoint := range []string{"jwks_uri", "token_endpoint", "userinfo_endpoint", "authorization_endpoint"} {
		for _, address := range []string{"file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "https://user:secret@127.0.0.1/", "//127.0.0.1/jwks",
			"/jwks", "http:127.0.0.1", "http://127.0.0.1/#x", "javascript:alert(1)", ":", "https://", "jwks"} {
			op := newOP(t)
			op.discovery = set(endpoint, address)
			_, err := op.tryParty(t)
			refused(t, Identity{}, err, ErrSSRFRefused)
			op.Close()
		}
	}
	for _, address := range []string{"http://10.0.0.1/jwks", "http://169.254.169.254/latest/meta-data/", "http://[::ffff:192.168.0.1]/", "http://[fd00::1]/", "https://1.1.1.1/"} {
		op := newOP(t)
		op.discovery = set("jwks_uri", address)
		_, err := op.tryParty(t)
		refused(t, Identity{}, err, ErrSSRFRefused)
	}
	for _, address := range []string{"http://op.example/jwks", "http://127.0.0.1/jwks", "HTTP://op.example", "ws://op.example"} {
		if err := checkURL(address, false); !errors.Is(err, ErrSSRFRefused) {
			t.Errorf("%s is taken outside the sandbox", address)
		}
	}
	if err := checkURL("https://op.example/jwks?v=1", false); err != nil {
		t.Errorf("pass https: %v", err)
	}
}

// A name that is harmless when the discovery document is read, and internal a
// moment later. The sandbox's rule is used, nothing but loopback, because the
// first of the two addresses must answer.
func TestR03Rebinding(t *testing.T) {
	op := newOP(t)
	_, port, err := net.SplitHostPort(op.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	issuer := "http://rebinding.test:" + port
	op.Config.SetKeepAlivesEnabled(false) // every request is dialled anew
	op.discovery = func(m map[string]any) {
		for name, v := range m {
			if s, ok := v.(string); ok {
				m[name] = strings.Replace(s, op.URL, issuer, 1)
			}
		}
	}
	var asked atomic.Int64
	answers := func() [4]byte {
		if asked.Add(1) == 1 {
			return [4]byte{127, 0, 0, 1}
		}
		return [4]byte{10, 0, 0, 1}
	}
	p := op.provider()
	p.Issuer = issuer
	_, err = newRelyingParty(t.Context(), p, op.now, limits{timeout: 2 * time.Second, body: defaultLimits.body}, fakeDNS(t, answers))
	refused(t, Identity{}, err, ErrSSRFRefused)
	if asked.Load() != 2 || op.jwksHits.Load() != 0 {
		t.Errorf("%d names asked, %d keys fetched", asked.Load(), op.jwksHits.Load())
	}
}

// TestF32NamesThatResolveToNothing: the name of the identity provider is gone, from the
// beginning or between two requests. Nobody is proved then, and it is said that it may come
// back.
func TestF32NamesThatResolveToNothing(t *testing.T) {
	op := newOP(t)
	_, port, err := net.SplitHostPort(op.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	issuer := "http://gone.test:" + port
	op.Config.SetKeepAlivesEnabled(false) // every request is dialled anew
	op.discovery = func(m map[string]any) {
		for name, v := range m {
			if s, ok := v.(string); ok {
				m[name] = strings.Replace(s, op.URL, issuer, 1)
			}
		}
	}
	for _, there := range []int64{0, 1} { // requests for which it is there
		var asked atomic.Int64
		p := op.provider()
		p.Issuer = issuer
		_, err = newRelyingParty(t.Context(), p, op.now, limits{timeout: 2 * time.Second, body: defaultLimits.body}, fakeDNS(t, func() [4]byte {
			if asked.Add(1) <= there {
				return [4]byte{127, 0, 0, 1}
			}
			return [4]byte{}
		}))
		refused(t, Identity{}, err, ErrUnavailable)
		if asked.Load() <= there || op.jwksHits.Load() != 0 {
			t.Errorf("%d names asked, %d keys fetched", asked.Load(), op.jwksHits.Load())
		}
	}
}

// fakeDNS returns a resolver that gives every name the next answer (RFC 1035, 4.1); an empty
// one says that there is no such name.
func fakeDNS(t *testing.T, answer func() [4]byte) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return // closed
			}
			end := 12
			for end < n && buf[end] != 0 {
				end += int(buf[end]) + 1
			}
			question := buf[12 : end+5]
			reply := append([]byte{buf[0], buf[1], 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
			if binary.BigEndian.Uint16(question[len(question)-4:]) == 1 { // A
				if ip := answer(); ip == [4]byte{} {
					reply[3] = 3 // there is no such name
				} else {
					reply[7] = 1
					reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
					reply = append(reply, ip[:]...)
				}
			}
			if _, err := conn.WriteTo(reply, from); err != nil {
				return
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func TestConfigurationIsRefused(t *testing.T) {
	op := newOP(t)
	for name, edit := range map[string]func(*Provider){
		"no client id":             func(p *Provider) { p.ClientID = "" },
		"no profile":               func(p *Provider) { p.Scopes = []string{"email"} },
		"no issuer":                func(p *Provider) { p.Issuer = "" },
		"issuer with query":        func(p *Provider) { p.Issuer += "?x=1" },
		"issuer with fragment":     func(p *Provider) { p.Issuer += "#x" },
		"issuer without host":      func(p *Provider) { p.Issuer = "https:///x" },
		"http outside the sandbox": func(p *Provider) { p.AllowLoopback = false },
		"no redirect":              func(p *Provider) { p.RedirectURL = "" },
		"relative redirect":        func(p *Provider) { p.RedirectURL = "/callback" },
		"redirect with fragment":   func(p *Provider) { p.RedirectURL += "#x" },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := op.tryParty(t, edit)
			refused(t, Identity{}, err, ErrConfig)
		})
	}
}

func TestDiscoveryIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		lie  func(map[string]any)
		want *refusal.Error
	}{
		"no code flow":                  {set("response_types_supported", []string{"id_token"}), ErrBadDiscovery},
		"only HMAC and none":            {set("id_token_signing_alg_values_supported", []string{"HS256", "none"}), ErrBadDiscovery},
		"no algorithms":                 {drop("id_token_signing_alg_values_supported"), ErrBadDiscovery},
		"only private_key_jwt":          {set("token_endpoint_auth_methods_supported", []string{"private_key_jwt"}), ErrBadDiscovery},
		"endpoint a number":             {set("token_endpoint", 1), ErrBadDiscovery},
		"no keys":                       {drop("jwks_uri"), ErrSSRFRefused},
		"pass default authentication":   {drop("token_endpoint_auth_methods_supported"), nil},
		"pass without UserInfo":         {drop("userinfo_endpoint"), nil},
		"pass one algorithm we can use": {set("id_token_signing_alg_values_supported", []string{"none", "ES256"}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			op := newOP(t)
			op.discovery = tc.lie
			rp, err := op.tryParty(t)
			if tc.want != nil {
				refused(t, Identity{}, err, tc.want)
				return
			}
			op.claims = set("name", "Alice Weathervane")
			id, err := op.enrol(t, rp)
			accepted(t, id, err)
		})
	}
	for _, status := range []int{http.StatusNotFound, http.StatusInternalServerError} {
		op := newOP(t)
		op.extra = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true }
		_, err := op.tryParty(t)
		refused(t, Identity{}, err, ErrBadDiscovery)
	}
	op := newOP(t)
	op.Close()
	_, err := op.tryParty(t)
	refused(t, Identity{}, err, ErrUnavailable)
}

// The secret is sent in one way, which the provider announces, and once.
func TestClientAuthentication(t *testing.T) {
	for _, tc := range []struct {
		methods []string
		secret  string
		check   func(*http.Request) bool
	}{
		{[]string{"client_secret_post", "client_secret_basic"}, ourSecret, func(r *http.Request) bool {
			id, secret, ok := r.BasicAuth()
			return ok && id == ourID && secret == ourSecret && !r.PostForm.Has("client_secret")
		}},
		{[]string{"client_secret_post"}, ourSecret, func(r *http.Request) bool {
			return r.Header.Get("Authorization") == "" && r.PostForm.Get("client_id") == ourID && r.PostForm.Get("client_secret") == ourSecret
		}},
		{[]string{"none"}, "", func(r *http.Request) bool {
			return r.Header.Get("Authorization") == "" && r.PostForm.Get("client_id") == ourID && !r.PostForm.Has("client_secret")
		}},
	} {
		t.Run(fmt.Sprint(tc.methods), func(t *testing.T) {
			op := newOP(t)
			op.discovery = set("token_endpoint_auth_methods_supported", tc.methods)
			asked := 0
			op.extra = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/token" {
					return false
				}
				if err := r.ParseForm(); err != nil || !tc.check(r) || r.PostForm.Get("code_verifier") == "" {
					t.Errorf("authenticated in another way: %v", err)
				}
				asked++
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			rp := op.party(t, func(p *Provider) { p.ClientSecret = tc.secret })
			id, err := op.enrol(t, rp)
			refused(t, id, err, ErrUnavailable)
			if asked != 1 {
				t.Errorf("the code was sent %d times", asked)
			}
		})
	}
	op := newOP(t)
	_, err := op.tryParty(t, func(p *Provider) { p.ClientSecret = "" })
	refused(t, Identity{}, err, ErrBadDiscovery)
}

func FuzzCallback(f *testing.F) {
	f.Add("code=a&state=b&iss=https%3A%2F%2Fop.example")
	f.Add("error=access_denied&state=b")
	f.Add("code=a&code=b")
	f.Add("code=a;state=b")
	f.Add("id_token=x&code=a")
	rp := &RelyingParty{provider: Provider{Issuer: "https://op.example"}, issExpected: true, now: func() time.Time { return time.Unix(1_800_000_000, 0) }}
	flow := Flow{Issuer: "https://op.example", State: "b", Nonce: "n", CodeVerifier: "v", Started: time.Unix(1_800_000_000, 0)}
	check := func(q url.Values) (string, error) {
		if err := rp.checkCallback(flow, q); err != nil {
			return "", err
		}
		return codeOf(q)
	}
	if code, err := check(url.Values{"code": {"a"}, "state": {"b"}, "iss": {"https://op.example"}}); err != nil || code != "a" {
		f.Fatalf("the seed is refused: %v", err)
	}
	fuzzing.Run(f, func(t *testing.T, query string) {
		req := httptest.NewRequest(http.MethodGet, "/callback", nil)
		req.URL.RawQuery = query
		q, err := Callback(req)
		if err != nil {
			if refusal.Of(err) == nil {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		code, err := check(q)
		if err != nil {
			return
		}
		again, err := url.ParseQuery(query)
		if err != nil || code == "" || len(again["code"]) != 1 || again.Get("state") != "b" || len(again["state"]) != 1 ||
			again.Get("iss") != "https://op.example" || again.Has("error") || again.Has("id_token") {
			t.Fatalf("%q was taken", query)
		}
	})
}

// Whatever the payload, a token that passes says what every accepted token must.
func FuzzIDTokenClaims(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	rp := &RelyingParty{provider: Provider{Issuer: "https://op.example", ClientID: ourID, ACRValues: []string{ourACR}}, now: func() time.Time { return now }}
	flow := Flow{Nonce: "n", Started: now}
	check := func(payload []byte) (*idClaims, error) {
		var c idClaims
		if err := decode(payload, &c); err != nil {
			return nil, err
		}
		return &c, rp.checkClaims(&c, "JWT", flow)
	}
	good := `{"iss":"https://op.example","sub":"a","aud":"penname","exp":1800000600,"iat":1800000000,"nonce":"n","acr":"` + ourACR + `"}`
	if _, err := check([]byte(good)); err != nil {
		f.Fatalf("the seed is refused: %v", err)
	}
	f.Add([]byte(good))
	f.Add([]byte(strings.Replace(good, `"penname"`, `["penname"]`, 1)))
	f.Add([]byte(strings.Replace(good, `{`, `{"Sub":"b","sub":"c",`, 1)))
	f.Add([]byte(`{"verified_claims":[{}]}`))
	fuzzing.Run(f, func(t *testing.T, payload []byte) {
		c, err := check(payload)
		if err != nil {
			if refusal.Of(err) == nil {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		if c.Issuer != "https://op.example" || c.Subject == "" || len(c.Audience) != 1 || c.Audience[0] != ourID || c.Nonce != "n" || c.ACR != ourACR ||
			c.Expiry == nil || *c.Expiry < 1_799_999_700 || c.IssuedAt == nil || c.Events != nil {
			t.Fatalf("%q was taken", payload)
		}
		if _, err := rp.underFramework(c.Verified); err != nil && refusal.Of(err) == nil {
			t.Fatalf("%v is no refusal", err)
		}
	})
}

// TestOriginIsWhereTheBrowserGoes: a policy that named the issuer, which can have
// a path or another host, shut the identity provider out.
func TestOriginIsWhereTheBrowserGoes(t *testing.T) {
	rp := newOP(t).party(t)
	_, begun := rp.Begin()
	if !strings.HasPrefix(begun, rp.Origin()+"/") {
		t.Errorf("%s is not where %s leads", rp.Origin(), begun)
	}
	rp.oauth.Endpoint.AuthURL = "https://login.example:8443/realms/main/auth?tenant=1"
	if got := rp.Origin(); got != "https://login.example:8443" {
		t.Errorf("got %s", got)
	}
}
