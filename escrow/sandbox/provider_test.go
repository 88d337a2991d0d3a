package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/verifier/identity"
)

const redirectURI = "http://127.0.0.1:9/callback"

// idp serves a sandbox provider on a port of the system's, with a clock that
// the test moves.
type idp struct {
	issuer string
	offset atomic.Int64 // seconds
	client *http.Client // follows no redirect
}

func (s *idp) now() time.Time { return time.Now().Add(time.Duration(s.offset.Load()) * time.Second) }

func startIDP(t testing.TB) *idp {
	t.Helper()
	s := &idp{client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	server := httptest.NewUnstartedServer(nil)
	s.issuer = "http://" + server.Listener.Addr().String()
	client := sandbox.Client{ID: "penname", Secret: "s:e%c+ret", RedirectURI: redirectURI}
	server.Config.Handler = sandbox.NewProvider(s.issuer, client, sandbox.People(), s.now).Handler()
	server.Start()
	t.Cleanup(server.Close)
	return s
}

func (s *idp) relyingParty(t testing.TB) *identity.RelyingParty {
	t.Helper()
	rp, err := identity.NewRelyingParty(t.Context(), identity.Provider{
		Issuer: s.issuer, ClientID: "penname", ClientSecret: "s:e%c+ret", RedirectURL: redirectURI,
		Scopes: []string{"profile", "address", "email"}, ACRValues: []string{sandbox.ACRVerified}, MaxAge: time.Hour, AllowLoopback: true,
	}, s.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rp.Close)
	return rp
}

func (s *idp) do(t testing.TB, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func (s *idp) get(t testing.TB, target string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.do(t, req)
}

func (s *idp) post(t testing.TB, target string, form url.Values, basic bool) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if basic {
		req.SetBasicAuth("penname", url.QueryEscape("s:e%c+ret"))
	}
	return s.do(t, req)
}

var formAction = regexp.MustCompile(`<form method="post" action="([^"]+)"><button name="person" value="([^"]*)">([^<]+)</button>`)

// press opens the page at authURL, presses the button with the given label as
// a browser without JavaScript would, and returns the callback's parameters.
func (s *idp) press(t testing.TB, authURL, label string) url.Values {
	t.Helper()
	resp, page := s.get(t, authURL)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("authorize: %s", resp.Status)
	}
	for _, m := range formAction.FindAllStringSubmatch(page, -1) {
		if m[3] == label {
			resp, _ := s.post(t, s.issuer+html.UnescapeString(m[1]), url.Values{"person": {html.UnescapeString(m[2])}}, false)
			return callback(t, resp)
		}
	}
	t.Fatalf("no button %q", label)
	return nil
}

func callback(t testing.TB, resp *http.Response) url.Values {
	t.Helper()
	to := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, redirectURI+"?") {
		t.Fatalf("%s to %q, want the callback", resp.Status, to)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

func TestPeopleSignInThroughTheRealRelyingParty(t *testing.T) {
	s := startIDP(t)
	rp := s.relyingParty(t)
	for _, who := range sandbox.People() {
		flow, authURL := rp.Begin()
		id, err := rp.Finish(t.Context(), flow, s.press(t, authURL, who.Name))
		if who.ACR != sandbox.ACRVerified {
			if !errors.Is(err, identity.ErrAssurance) {
				t.Errorf("%s: %v, want insufficient assurance", who.Role, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", who.Role, err)
			continue
		}
		got := [...]string{id.Issuer.Reveal(), id.Subject.Reveal(), id.Name.Reveal(), id.Birthdate.Reveal(), id.Address.Reveal(), id.Email.Reveal(), id.ACR}
		want := [...]string{s.issuer, who.Subject, who.Name, who.Birthdate, who.Address, who.Email, who.ACR}
		if got != want {
			t.Errorf("got %q\nwant %q", got, want)
		}
		// The same person again is the same subject: enrolling twice finds it.
		flow, authURL = rp.Begin()
		if again, err := rp.Finish(t.Context(), flow, s.press(t, authURL, who.Name)); err != nil || again.Subject != id.Subject {
			t.Errorf("%s the second time: %v", who.Role, err)
		}
	}
	flow, authURL := rp.Begin()
	if _, err := rp.Finish(t.Context(), flow, s.press(t, authURL, "None of them: go back")); !errors.Is(err, identity.ErrDeclined) {
		t.Errorf("declined: %v", err)
	}
}

func TestPeopleAreTheCastAndDistinct(t *testing.T) {
	people := sandbox.People()
	if len(people) != 5 || people[0].Name != "Jo Hartley" || people[0].Role != "a teacher" || people[1].Role != "a troll" || people[2].Role != "a member of parliament" {
		t.Fatal("the cast has changed")
	}
	seen := map[string]bool{}
	for _, p := range people {
		for _, unique := range []string{p.Subject, p.Name, p.Email} {
			if unique == "" || seen[unique] {
				t.Errorf("%q stands twice or is empty", unique)
			}
			seen[unique] = true
		}
		if !strings.HasSuffix(p.Email, ".example") {
			t.Errorf("%s is not a reserved domain", p.Email)
		}
	}
}

func TestProviderPageIsPlain(t *testing.T) {
	s := startIDP(t)
	_, authURL := s.relyingParty(t).Begin()
	resp, page := s.get(t, authURL+"&login_hint=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E")
	if strings.Contains(page, "<script") {
		t.Error("the page holds a script")
	}
	csp := resp.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "form-action 'self' http://127.0.0.1:9") {
		t.Errorf("content security policy %q", csp)
	}
	if resp.Header.Get("Cache-Control") != "no-store" {
		t.Error("the page may be cached")
	}
}

func TestProviderRefusesAuthorizationRequests(t *testing.T) {
	s := startIDP(t)
	_, good := s.relyingParty(t).Begin()
	base, query, _ := strings.Cut(good, "?")
	for _, tc := range []struct {
		name string
		edit func(url.Values)
		code string // empty: an error page, and no redirect
	}{
		{"foreign client", func(q url.Values) { q.Set("client_id", "other") }, ""},
		{"two clients", func(q url.Values) { q.Add("client_id", "other") }, ""},
		{"foreign redirect", func(q url.Values) { q.Set("redirect_uri", "https://evil.example/callback") }, ""},
		{"redirect with a slash", func(q url.Values) { q.Set("redirect_uri", redirectURI+"/") }, ""},
		{"two redirects", func(q url.Values) { q.Add("redirect_uri", redirectURI) }, ""},
		{"no redirect", func(q url.Values) { q.Del("redirect_uri") }, ""},
		{"no state", func(q url.Values) { q.Del("state") }, "invalid_request"},
		{"two states", func(q url.Values) { q.Add("state", "x") }, "invalid_request"},
		{"no nonce", func(q url.Values) { q.Del("nonce") }, "invalid_request"},
		{"no challenge", func(q url.Values) { q.Del("code_challenge") }, "invalid_request"},
		{"plain challenge", func(q url.Values) { q.Set("code_challenge_method", "plain") }, "invalid_request"},
		{"no method", func(q url.Values) { q.Del("code_challenge_method") }, "invalid_request"},
		{"short challenge", func(q url.Values) { q.Set("code_challenge", "abc") }, "invalid_request"},
		{"implicit", func(q url.Values) { q.Set("response_type", "id_token") }, "unsupported_response_type"},
		{"fragment mode", func(q url.Values) { q.Set("response_mode", "fragment") }, "invalid_request"},
		{"no openid", func(q url.Values) { q.Set("scope", "profile") }, "invalid_scope"},
		{"request object", func(q url.Values) { q.Set("request", "e30.e30.") }, "request_not_supported"},
		{"request uri", func(q url.Values) { q.Set("request_uri", "http://127.0.0.1/") }, "request_uri_not_supported"},
		{"prompt none", func(q url.Values) { q.Set("prompt", "none") }, "login_required"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			tc.edit(q)
			target := base + "?" + q.Encode()
			for method, resp := range map[string]*http.Response{
				"GET":  first(s.get(t, target)),
				"POST": first(s.post(t, target, url.Values{"person": {sandbox.People()[0].Subject}}, false)),
			} {
				if tc.code == "" {
					if resp.StatusCode != http.StatusBadRequest || resp.Header.Get("Location") != "" {
						t.Errorf("%s: %s to %q", method, resp.Status, resp.Header.Get("Location"))
					}
					continue
				}
				if got := callback(t, resp); got.Get("error") != tc.code || got.Get("iss") != s.issuer || got.Has("code") {
					t.Errorf("%s: answered %v, want %s", method, got, tc.code)
				}
			}
		})
	}
}

func first(resp *http.Response, _ string) *http.Response { return resp }

func TestProviderRefusesTokenRequests(t *testing.T) {
	s := startIDP(t)
	rp := s.relyingParty(t)
	fresh := func(t *testing.T) url.Values {
		flow, authURL := rp.Begin()
		return url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {redirectURI}, "code_verifier": {flow.CodeVerifier},
			"code": {s.press(t, authURL, "Jo Hartley").Get("code")}}
	}
	if resp, body := s.post(t, s.issuer+"/token", fresh(t), true); resp.StatusCode != http.StatusOK || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("a right request: %s %s", resp.Status, body)
	}
	for _, tc := range []struct {
		name string
		edit func(url.Values)
		code string
	}{
		{"wrong verifier", func(q url.Values) { q.Set("code_verifier", strings.Repeat("a", 43)) }, "invalid_grant"},
		{"no verifier", func(q url.Values) { q.Del("code_verifier") }, "invalid_grant"},
		{"short verifier", func(q url.Values) { q.Set("code_verifier", "a") }, "invalid_grant"},
		{"other redirect", func(q url.Values) { q.Set("redirect_uri", "http://127.0.0.1:9/other") }, "invalid_grant"},
		{"unknown code", func(q url.Values) { q.Set("code", "x") }, "invalid_grant"},
		{"two codes", func(q url.Values) { q.Add("code", "x") }, "invalid_request"},
		{"other grant", func(q url.Values) { q.Set("grant_type", "password") }, "unsupported_grant_type"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := fresh(t)
			tc.edit(q)
			if resp, body := s.post(t, s.issuer+"/token", q, true); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, `"`+tc.code+`"`) {
				t.Errorf("%s %s, want %s", resp.Status, body, tc.code)
			}
		})
	}
	t.Run("expired code", func(t *testing.T) {
		q := fresh(t)
		s.offset.Add(61)
		if resp, body := s.post(t, s.issuer+"/token", q, true); resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, "invalid_grant") {
			t.Errorf("%s %s", resp.Status, body)
		}
	})
	t.Run("a failed try spends the code", func(t *testing.T) {
		q := fresh(t)
		verifier := q.Get("code_verifier")
		q.Set("code_verifier", strings.Repeat("a", 43))
		s.post(t, s.issuer+"/token", q, true)
		q.Set("code_verifier", verifier)
		if resp, _ := s.post(t, s.issuer+"/token", q, true); resp.StatusCode != http.StatusBadRequest {
			t.Error("the code was taken after a failed try")
		}
	})
	t.Run("no client secret", func(t *testing.T) {
		if resp, body := s.post(t, s.issuer+"/token", fresh(t), false); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "invalid_client") {
			t.Errorf("%s %s", resp.Status, body)
		}
	})
}

func TestProviderRevokesOnCodeReuse(t *testing.T) {
	s := startIDP(t)
	flow, authURL := s.relyingParty(t).Begin()
	form := url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {redirectURI}, "code_verifier": {flow.CodeVerifier},
		"code": {s.press(t, authURL, "Jo Hartley").Get("code")}}
	_, body := s.post(t, s.issuer+"/token", form, true)
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.AccessToken == "" {
		t.Fatal(err, body)
	}
	userinfo := func() int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.issuer+"/userinfo", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+answer.AccessToken)
		return first(s.do(t, req)).StatusCode
	}
	if got := userinfo(); got != http.StatusOK {
		t.Fatalf("userinfo: %d", got)
	}
	if resp, _ := s.post(t, s.issuer+"/token", form, true); resp.StatusCode != http.StatusBadRequest {
		t.Error("a code was redeemed twice")
	}
	if got := userinfo(); got != http.StatusUnauthorized {
		t.Errorf("after a code was used twice, its access token still opens userinfo: %d", got)
	}
}

func TestProviderGivesOnlyTheClaimsOfItsScopes(t *testing.T) {
	s := startIDP(t)
	rp, err := identity.NewRelyingParty(t.Context(), identity.Provider{
		Issuer: s.issuer, ClientID: "penname", ClientSecret: "s:e%c+ret", RedirectURL: redirectURI,
		ACRValues: []string{sandbox.ACRVerified}, AllowLoopback: true,
	}, s.now)
	if err != nil {
		t.Fatal(err)
	}
	flow, authURL := rp.Begin()
	id, err := rp.Finish(t.Context(), flow, s.press(t, authURL, "Jo Hartley"))
	if err != nil || id.Name.Reveal() != "Jo Hartley" || id.Address != "" || id.Email != "" {
		t.Errorf("%v: %d fields", err, len(id.Fields()))
	}
}

func TestRequireLoopback(t *testing.T) {
	for addr, ok := range map[string]bool{
		"127.0.0.1:0": true, "127.9.9.9:80": true, "[::1]:443": true, "localhost:8080": true, "[::ffff:127.0.0.1]:1": true,
		":8080": false, "0.0.0.0:80": false, "[::]:80": false, "10.0.0.1:80": false, "192.168.1.1:80": false, "203.0.113.1:80": false,
		"127.0.0.1.evil.example:80": false, "localhost.evil.example:80": false, "example.com:80": false, "127.0.0.1": false, "": false, "[::ffff:10.0.0.1]:1": false,
	} {
		if err := sandbox.RequireLoopback(addr); (err == nil) != ok || (err != nil && !errors.Is(err, sandbox.ErrNotLoopback)) {
			t.Errorf("%q: %v", addr, err)
		}
	}
}

// A listener that forgot RequireLoopback, and a name that was pointed at us
// from outside, reach nothing.
func TestProviderIsNotServedElsewhere(t *testing.T) {
	const issuer = "http://127.0.0.1:8081"
	h := sandbox.NewProvider(issuer, sandbox.Client{ID: "penname", Secret: "x", RedirectURI: redirectURI}, sandbox.People(), time.Now).Handler()
	for _, tc := range []struct {
		local net.Addr
		host  string
		want  int
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8081}, "127.0.0.1:8081", http.StatusOK},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8081}, "127.0.0.1:8081", http.StatusMisdirectedRequest},
		{&net.TCPAddr{IP: net.IPv4zero, Port: 8081}, "127.0.0.1:8081", http.StatusMisdirectedRequest},
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8081}, "rebound.example:8081", http.StatusMisdirectedRequest},
		{nil, "127.0.0.1:8081", http.StatusMisdirectedRequest},
	} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/.well-known/openid-configuration", nil)
		req.Host = tc.host
		if tc.local != nil {
			req = req.WithContext(context.WithValue(req.Context(), http.LocalAddrContextKey, tc.local))
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != tc.want {
			t.Errorf("%v as %s: %d, want %d", tc.local, tc.host, w.Code, tc.want)
		}
	}
}

func TestProviderLogsNobody(t *testing.T) {
	var out bytes.Buffer
	s := startIDP(t)
	rp := s.relyingParty(t)
	flow, authURL := rp.Begin()
	id, err := rp.Finish(t.Context(), flow, s.press(t, authURL, "Jo Hartley"))
	if err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("enrolled", "identity", id, "flow", flow)
	fmt.Fprintf(&out, "%v %+v %#v %s", id, id, id, flow)
	for _, secret := range []string{"Hartley", "Lapwing", "1986-03-14", "school.example", flow.State, flow.CodeVerifier} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("a log line holds %q", secret)
		}
	}
}
