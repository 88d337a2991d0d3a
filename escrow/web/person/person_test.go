package person

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penname/penname/escrow/escrowtest"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/identity"
)

// service is the issuing side on loopback, twice, with a PostgreSQL and two identity
// providers that know the same people.
type service struct {
	t         testing.TB
	origin    string
	replica   string            // another process behind the same origin
	providers map[string]string // origins, by id
	issuer    *issue.Issuer
	admin     string // of the database
	keys      []openid.Key
	live      *Live // of the first process
	ahead     atomic.Int64
}

// now is the clock of all of them but the protocol library's own deadlines.
func (s *service) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

func (s *service) pass(d time.Duration) { s.ahead.Add(int64(d)) }

// newService starts one. Options change its configuration.
func newService(t testing.TB, options ...func(*testing.T, *Config)) *service {
	t.Helper()
	return newServiceOn(t, "127.0.0.1", options...)
}

// newServiceOn starts one whose origin is of a host that leads to loopback. On localhost there are passkeys.
func newServiceOn(t testing.TB, host string, options ...func(*testing.T, *Config)) *service {
	t.Helper()
	admin := escrowtest.Postgres(t)
	if err := postgres.Migrate(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	dsn, err := postgres.Login(t.Context(), admin, "penname_issuing")
	if err != nil {
		t.Fatal(err)
	}
	keys, _, _ := sandbox.NewKeyring(sandbox.NewSecret())
	store, err := postgres.OpenIssuing(t.Context(), dsn, postgres.Options{RowKey: issue.RowKey(keys)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	custodians, _, err := escrowtest.ThresholdKey(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	srv, second := httptest.NewUnstartedServer(nil), httptest.NewUnstartedServer(nil)
	s := &service{t: t, origin: strings.Replace("http://"+srv.Listener.Addr().String(), "127.0.0.1", host, 1), replica: "http://" + second.Listener.Addr().String(),
		providers: map[string]string{}, admin: admin}
	s.issuer = &issue.Issuer{Keys: keys, Store: store, Custodians: func() (seal.Custodians, error) { return seal.Custodians{Key: custodians}, nil }, Now: s.now}
	c := Config{
		Issuer: s.issuer, Providers: []Provider{s.provider(store, "post", "Post Office"), s.provider(store, "bank", "Bank & Co")},
		Platforms: []openid.Platform{
			{ID: "pocket", Name: "Pocket", RedirectURIs: []string{"http://127.0.0.1/back"}, Native: true},
			{ID: "purse", Name: "Purse", RedirectURIs: []string{"http://127.0.0.1/back"}, Native: true},
		},
		CookieKeys: [][32]byte{{1}}, TokenKeys: tokenKeys(t), Store: store, Localhost: host == "localhost", Rules: func() (*policy.Bundle, error) { return &policy.Bundle{Fields: policy.DefaultFields()}, nil },
	}
	for _, option := range options {
		of, _ := t.(*testing.T) // nil of a benchmark
		option(of, &c)
	}
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	rate := 0.0
	if _, measured := t.(*testing.B); measured {
		rate = 1e6
	}
	for _, server := range []*httptest.Server{srv, second} {
		edge, err := web.New(web.Config{Zone: zone, PerSender: rate, Origin: s.origin, Log: slog.New(slog.DiscardHandler), Now: s.now})
		var live *Live
		if err == nil {
			live, err = Mount(edge, c)
		}
		if err != nil {
			t.Fatal(err)
		}
		if server == srv {
			s.live, s.keys = live, c.TokenKeys
		}
		server.Config.Handler = edge
		server.Start()
		t.Cleanup(server.Close)
	}
	return s
}

// provider starts an identity provider and registers at it.
func (s *service) provider(store *postgres.Issuing, id, name string) Provider {
	s.t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	s.providers[id] = "http://" + srv.Listener.Addr().String()
	client := sandbox.Client{ID: "penname", Secret: rand.Text(), RedirectURI: s.origin + CallbackPath(id)}
	srv.Config.Handler = sandbox.NewProvider(s.providers[id], client, sandbox.People(), s.now).Handler()
	srv.Start()
	s.t.Cleanup(srv.Close)
	party, err := identity.NewRelyingParty(s.t.Context(), identity.Provider{
		Issuer: s.providers[id], ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: client.RedirectURI,
		ACRValues: []string{sandbox.ACRVerified}, Claims: identity.ClaimSources{Ages: true}, SingleUse: store, AllowLoopback: true,
	}, s.now)
	if err != nil {
		s.t.Fatal(err)
	}
	return Provider{ID: id, Name: name, ACRs: []string{sandbox.ACRVerified}, Proving: party}
}

// browser is a person's; it stops before each callback, and where a platform gets its
// answer.
type browser struct {
	*service
	client *http.Client
	stays  bool // on the page that shows once what was sealed; else it goes on at once
}

func (s *service) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{service: s, client: &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.Path, CallbackPath("")) || r.URL.Path == "/back" || strings.HasSuffix(r.URL.Host, ".example") {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

// do returns the answer, with where it came from, and its body. Headers come in pairs.
func (b *browser) do(method, address string, form url.Values, headers ...string) (*http.Response, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	res, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if to := goOn.FindSubmatch(body); to != nil && !b.stays {
		return b.do("GET", b.origin+string(to[1]), nil)
	}
	return res, string(body)
}

// goOn leads on from the page that shows once what was sealed.
var goOn = regexp.MustCompile(`<h1>Check what was sealed</h1>(?s:.*)<a class="button" href="([^"]+)">Go on</a>`)

// prove goes to a provider and signs in there as the n-th of its people. It
// returns where the provider sends the browser back to.
func (b *browser) prove(provider string, n int) *url.URL {
	b.t.Helper()
	return b.proveWith(url.Values{"provider": {provider}}, n)
}

// proveWith is prove with the fields of a form.
func (b *browser) proveWith(form url.Values, n int) *url.URL {
	b.t.Helper()
	provider := form.Get("provider")
	there, _ := b.do("POST", b.origin+"/enrol", form)
	if !strings.HasPrefix(there.Request.URL.String(), b.providers[provider]+"/") {
		b.t.Fatalf("%s led to %s", provider, there.Request.URL.Host)
	}
	back, body := b.do("POST", there.Request.URL.String(), url.Values{"person": {sandbox.People()[n].Subject}})
	callback, err := back.Location()
	if err != nil || callback.Path != CallbackPath(provider) {
		b.t.Fatalf("%s: %s", back.Status, body)
	}
	return callback
}

// refused fails unless the address answers with that refusal.
func (b *browser) refused(address *url.URL, status int, code string) {
	b.t.Helper()
	res, body := b.do("GET", address.String(), nil)
	var p struct{ Code string }
	if err := json.Unmarshal([]byte(body), &p); err != nil || res.StatusCode != status || p.Code != code {
		b.t.Errorf("%d %s, want %d %s", res.StatusCode, body, status, code)
	}
}

// enrols fails unless the address shows once that somebody is sealed now.
func (b *browser) enrols(address *url.URL) {
	b.t.Helper()
	b.stays = true
	res, body := b.do("GET", address.String(), nil)
	b.stays = false
	if res.StatusCode != http.StatusOK || !strings.Contains(body, "Welcome. Your identity was verified") {
		b.t.Errorf("%s: %s %s", res.Request.URL.Path, res.Status, body)
	}
}

// welcomed fails unless the address leads to one's own page, with that greeting.
func (b *browser) welcomed(address *url.URL, greeting string) {
	b.t.Helper()
	res, body := b.do("GET", address.String(), nil)
	if res.StatusCode != http.StatusOK || res.Request.URL.Path != "/me" || !strings.Contains(body, greeting) {
		b.t.Errorf("%s: %s %s", res.Request.URL.Path, res.Status, body)
	}
}

// TestPeopleComeByEither: each provider makes people; one human stays one person,
// whichever they come by.
func TestPeopleComeByEither(t *testing.T) {
	s := newService(t)
	b := s.browser()
	home, body := b.do("GET", s.origin, nil)
	for id, name := range map[string]string{"post": "Prove my identity with Post Office", "bank": "Prove my identity with Bank &amp; Co"} {
		if !strings.Contains(body, name) || !strings.Contains(home.Header.Get("Content-Security-Policy"), " "+s.providers[id]) {
			t.Errorf("%s: %s\n%s", id, home.Header.Get("Content-Security-Policy"), body)
		}
	}
	const jo, mp = 0, 2
	b.enrols(b.prove("post", jo))
	b.refused(s.browser().prove("bank", mp), http.StatusBadRequest, "proofing_failed.bad_state") // another browser's

	other := s.browser()
	other.enrols(other.prove("bank", mp))
	again := s.browser()
	again.welcomed(again.prove("post", jo), "You are the same person as before")
	again.refused(again.prove("bank", jo), http.StatusConflict, "proofing_failed.already_enrolled")
	again.refused(again.prove("post", mp), http.StatusConflict, "proofing_failed.already_enrolled")

	for _, id := range []string{"", "Post", "none"} {
		res, body := b.do("POST", s.origin+"/enrol", url.Values{"provider": {id}})
		if res.StatusCode != http.StatusNotFound || !strings.Contains(body, errProvider.Code) {
			t.Errorf("%q: %s %s", id, res.Status, body)
		}
	}
}

// TestR14MixUpOfProviders: an answer of one provider is not taken for the other's,
// and whoever tries that does not end the sign-in that waits.
func TestR14MixUpOfProviders(t *testing.T) {
	s := newService(t)
	b, attacker := s.browser(), s.browser()
	foreign := attacker.prove("bank", 1)
	genuine := b.prove("post", 0)
	edit := func(u *url.URL, path string, query map[string]string) *url.URL {
		changed, q := *u, u.Query()
		changed.Path = path
		for name, value := range query {
			if q.Set(name, value); value == "" {
				q.Del(name)
			}
		}
		changed.RawQuery = q.Encode()
		return &changed
	}
	state := map[string]string{"state": genuine.Query().Get("state")}
	anonymous := map[string]string{"state": state["state"], "iss": ""}
	for _, mixed := range []*url.URL{
		edit(genuine, CallbackPath("bank"), nil),       // the honest code, for the other to redeem
		edit(genuine, CallbackPath("bank"), anonymous), // from a provider that does not name itself
		edit(foreign, CallbackPath("bank"), state),     // the attacker's code, at its own address
		edit(foreign, CallbackPath("post"), state),     // and at ours, which names its maker
		edit(foreign, CallbackPath("post"), anonymous), // or hides it
		edit(genuine, CallbackPath("post"), anonymous), // ours always names itself
	} {
		b.refused(mixed, http.StatusBadRequest, "proofing_failed.mixup")
	}
	b.refused(foreign, http.StatusBadRequest, "proofing_failed.bad_state")
	b.enrols(genuine)
}

func TestProvidersNeedIDsAndNames(t *testing.T) {
	one, two := Provider{ID: "one", Name: "One"}, Provider{ID: "two", Name: "Two"}
	for name, bad := range map[string][]Provider{
		"none": {}, "without an id": {{Name: "One"}}, "an id that is a path": {{ID: "a/b", Name: "One"}}, "dots": {{ID: "..", Name: "One"}},
		"an id twice": {one, one}, "two, one without a name": {one, {ID: "two"}},
	} {
		if _, err := CheckProviders(bad); !errProviders.Is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, good := range [][]Provider{{one, two}, {{ID: "one"}}} {
		if _, err := CheckProviders(good); err != nil {
			t.Error(err)
		}
	}
}

// TestDecliningReachesThePlatform: whoever declines at the identity provider, or fails
// there, on the way to a platform is led back to it, which hears access_denied; whoever
// came for nothing but their own page is not.
func TestDecliningReachesThePlatform(t *testing.T) {
	s := newService(t)
	b := s.browser()
	decline := func(form url.Values) *url.URL {
		there, _ := b.do("POST", b.origin+"/enrol", form)
		back, _ := b.do("POST", there.Request.URL.String(), url.Values{"person": {""}})
		callback, err := back.Location()
		if err != nil || callback.Query().Get("error") != "access_denied" {
			t.Fatal(back.Status, callback)
		}
		return callback
	}
	action := b.open("pocket", "state", "s1")
	res, _ := b.do("GET", decline(url.Values{"provider": {"post"}, "interaction": {action}}).String(), nil)
	if got := result(t, res); got.Get("error") != "access_denied" || got.Get("state") != "s1" {
		t.Errorf("declined: %v", got)
	}
	b.shows("GET", b.origin+action, nil, http.StatusNotFound) // it has ended

	action = b.open("pocket", "state", "s2")
	callback := b.proveWith(url.Values{"provider": {"post"}, "interaction": {action}}, jo)
	wrong := *callback
	q := wrong.Query()
	q.Set("code", "x")
	wrong.RawQuery = q.Encode()
	b.shows("GET", wrong.String(), nil, http.StatusBadRequest, action+`"`, action+"?declined", "Back to the platform")
	res, _ = b.do("GET", b.origin+action+"?declined", nil)
	if got := result(t, res); got.Get("error") != "access_denied" || got.Get("state") != "s2" {
		t.Errorf("failed: %v", got)
	}
	b.shows("GET", decline(url.Values{"provider": {"post"}}).String(), nil, http.StatusBadRequest, identity.ErrDeclined.Code, "To the first page", "!Back to the platform")
}
