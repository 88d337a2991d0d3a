package openid_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/token"
)

// logoutAt is the logout addresses of platforms, by host.
type logoutAt struct {
	mu     sync.Mutex
	tokens map[string][]string // that came, by host
	at     map[string][]time.Time
	answer map[string]func(*http.Request) (status int, err error) // nil: 200
}

func newLogoutAt() *logoutAt {
	return &logoutAt{tokens: map[string][]string{}, at: map[string][]time.Time{}, answer: map[string]func(*http.Request) (int, error){}}
}

// RoundTrip implements http.RoundTripper.
func (l *logoutAt) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost || r.URL.Path != "/logout" || len(r.PostForm) != 1 {
		return nil, errors.New("not as section 2.5 has it")
	}
	l.mu.Lock()
	l.tokens[r.URL.Host] = append(l.tokens[r.URL.Host], r.PostForm.Get("logout_token"))
	l.at[r.URL.Host] = append(l.at[r.URL.Host], time.Now())
	answer := l.answer[r.URL.Host]
	l.mu.Unlock()
	status := http.StatusOK
	if answer != nil {
		var err error
		if status, err = answer(r); err != nil {
			return nil, err
		}
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Header: http.Header{}}, nil
}

// came takes the tokens that came to a platform.
func (l *logoutAt) came(host string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	tokens := l.tokens[host]
	l.tokens[host] = nil
	return tokens
}

func (l *logoutAt) answers(host string, answer func(*http.Request) (int, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answer[host] = answer
}

func always(status int) func(*http.Request) (int, error) {
	return func(*http.Request) (int, error) { return status, nil }
}

const squareHost, forumHost = "square.example", "forum.example"

// withLogout has Town Square and School Forum told who signed out: the first of each pen
// name, the second of each sign-in.
func withLogout(client http.RoundTripper) func(*rig) {
	return func(r *rig) {
		r.square.BackchannelLogoutURI = "https://" + squareHost + "/logout"
		r.forum.BackchannelLogoutURI, r.forum.BackchannelLogoutSessionRequired = "https://"+forumHost+"/logout", true
		r.forum.IDTokenAlg = jose.EdDSA
		r.cfg.HTTP = &http.Client{Transport: client}
		r.cfg.Leave = (&leaver{}).page
		fixed, err := openid.Fixed(r.square, r.forum, r.app)
		if err != nil {
			r.t.Fatal(err)
		}
		r.cfg.Platforms = fixed
	}
}

// atForum signs in at School Forum and returns the ID token.
func (r *rig) atForum() string {
	r.t.Helper()
	a := r.post("/token", url.Values{"grant_type": {"authorization_code"}, "code": {r.code(r.forum)}, "redirect_uri": {r.forum.RedirectURIs[0]},
		"code_verifier": {verifierText}, "client_assertion_type": {assertionType}, "client_assertion": {r.assertion(nil)}})
	if a.status != http.StatusOK {
		r.t.Fatalf("no tokens: %d %s", a.status, a.body)
	}
	return a.json(r.t)["id_token"].(string)
}

// tell is one round, in which nothing may fail but what is told.
func (r *rig) tell() map[string]openid.Told {
	r.t.Helper()
	told, err := r.provider.TellPlatforms(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return told
}

func (r *rig) end(pl openid.Platform) {
	r.t.Helper()
	if err := r.provider.End(r.t.Context(), pseudonym(canary, pl.ID)); err != nil {
		r.t.Fatal(err)
	}
}

// TestLogoutTokens: oidcc-backchannel-rp-initiated-logout, and oidcc-discovery of the
// OpenID Foundation. The tokens are as section 2.4 has them, for one platform of each pen
// name, signed by RS256, for the other of each sign-in, by the algorithm of its choice.
func TestLogoutTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := newLogoutAt()
		r := newLocalRig(t, withLogout(at))
		doc := r.get("/.well-known/openid-configuration").json(t)
		if doc["backchannel_logout_supported"] != true || doc["backchannel_logout_session_supported"] != true || !slices.Contains(doc["claims_supported"].([]any), any("sid")) {
			t.Errorf("discovery: %v", doc)
		}
		first, second := r.tokens("scope", "openid offline_access"), r.tokens()
		forum := []string{r.atForum(), r.atForum()}
		sids := map[any]bool{}
		for _, raw := range append(forum, first["id_token"].(string), second["id_token"].(string), r.refresh(first["refresh_token"].(string)).json(t)["id_token"].(string)) {
			sid, _ := payload(t, raw)["sid"].(string)
			if len(sid) != 22 {
				t.Errorf("sid %q", sid)
			}
			sids[sid] = true
		}
		if len(sids) != 4 {
			t.Errorf("%d sids of four sign-ins, one of them renewed", len(sids))
		}
		<-time.After(29 * 24 * time.Hour) // a platform's session can be long
		r.end(r.square)
		select {
		case <-r.provider.Ended():
		default:
			t.Error("nobody hears of it before the next minute")
		}
		if told := r.tell(); told[r.square.ID] != (openid.Told{Delivered: 1}) || len(at.came(forumHost)) != 0 {
			t.Errorf("told: %+v", told)
		}
		of := func(raw string, pl openid.Platform, alg jose.SignatureAlgorithm) map[string]any {
			var header map[string]any
			head, _ := fromBase64(strings.Split(raw, ".")[0])
			if err := json.Unmarshal([]byte(head), &header); err != nil || header["typ"] != "logout+jwt" || header["alg"] != string(alg) {
				t.Fatalf("header %s", head)
			}
			c := payload(t, raw)
			now, jti := float64(time.Now().Unix()), c["jti"].(string)
			events, err := json.Marshal(c["events"])
			if err != nil || string(events) != `{"http://schemas.openid.net/event/backchannel-logout":{}}` || c["iss"] != r.issuer || c["aud"] != pl.ID ||
				c["iat"] != now || c["exp"].(float64) > now+120 || len(jti) < 22 || c["sub"] != string(pseudonym(canary, pl.ID)) {
				t.Fatalf("claims %v", c)
			}
			if _, nonce := c["nonce"]; nonce {
				t.Error("a nonce, which MUST NOT be there")
			}
			return c
		}
		if came := at.came(squareHost); len(came) != 1 || of(came[0], r.square, jose.RS256)["sid"] != nil {
			t.Errorf("%d tokens for one pen name", len(came))
		}
		r.end(r.forum)
		r.tell()
		came := at.came(forumHost)
		for _, raw := range came {
			sid := of(raw, r.forum, jose.EdDSA)["sid"]
			if !slices.ContainsFunc(forum, func(id string) bool { return payload(t, id)["sid"] == sid }) {
				t.Errorf("sid %v is of no sign-in", sid)
			}
			sids[sid] = false
		}
		if n := len(came); n != 2 || payload(t, came[0])["jti"] == payload(t, came[1])["jti"] || payload(t, came[0])["sid"] == payload(t, came[1])["sid"] {
			t.Errorf("%d tokens for two sign-ins", n)
		}
		if told := r.tell(); len(told) != 0 {
			t.Errorf("told again: %+v", told)
		}
	})
}

// TestLogoutNobodyIsToldWithoutAddress: a platform that gave none has no sid in its
// tokens and no row that says that somebody left, and a client that calls none is not
// announced.
func TestLogoutNobodyIsToldWithoutAddress(t *testing.T) {
	r := newRig(t)
	if sid := payload(t, r.tokens()["id_token"].(string))["sid"]; sid != nil {
		t.Errorf("sid %v", sid)
	}
	r.end(r.square)
	if rows, err := r.memory.Logouts(t.Context(), nil, time.Time{}, time.Time{}); err != nil || len(rows) != 0 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if doc := r.get("/.well-known/openid-configuration").json(t); doc["backchannel_logout_supported"] != nil {
		t.Error("announced without a client")
	}
	for _, uri := range []string{"http://square.example/out", "https://*.example/", "https://square.example/#x", "com.example.app:/out", "ftp://square.example/"} {
		bad := r.square
		bad.BackchannelLogoutURI = uri
		if _, err := openid.Fixed(bad); err == nil {
			t.Errorf("%s can be registered", uri)
		}
	}
}

// TestLogoutQuietly: whoever leaves everywhere is told of at each platform at its own
// moment, later than two hours and within a day, once.
func TestLogoutQuietly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := newLogoutAt()
		r := newLocalRig(t, withLogout(at))
		r.tokens()
		r.tokens("scope", "openid offline_access")
		r.atForum()
		left := time.Now()
		if err := r.provider.EndQuietly(t.Context(), pseudonym(canary, r.square.ID), pseudonym(canary, r.forum.ID)); err != nil {
			t.Fatal(err)
		}
		for range 25 * 60 {
			r.tell()
			<-time.After(time.Minute)
		}
		for _, host := range []string{squareHost, forumHost} {
			if n := len(at.came(host)); n != 1 {
				t.Fatalf("%s: %d tokens", host, n)
			}
			if after := at.at[host][0].Sub(left); after < 2*time.Hour || after > 24*time.Hour+5*time.Minute {
				t.Errorf("%s: told after %s", host, after)
			}
		}
	})
}

// TestLogoutAnswers: 200 and 204 settle it, 400 gives it up, and anything else is tried
// again, ever more seldom, for a day. The platform that is asked too often is no use.
func TestLogoutAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(*http.Request) (int, error)
		want   openid.Told
		again  bool
	}{
		"200":         {always(200), openid.Told{Delivered: 1}, false},
		"204":         {always(204), openid.Told{Delivered: 1}, false},
		"400":         {always(400), openid.Told{Refused: 1}, false},
		"401":         {always(401), openid.Told{Failed: 1}, true},
		"404":         {always(404), openid.Told{Failed: 1}, true},
		"429":         {always(429), openid.Told{Failed: 1}, true},
		"500":         {always(500), openid.Told{Failed: 1}, true},
		"503":         {always(503), openid.Told{Failed: 1}, true},
		"a redirect":  {always(302), openid.Told{Failed: 1}, true},
		"is down":     {func(*http.Request) (int, error) { return 0, errDown }, openid.Told{Failed: 1}, true},
		"never talks": {func(r *http.Request) (int, error) { <-r.Context().Done(); return 0, r.Context().Err() }, openid.Told{Failed: 1}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				at := newLogoutAt()
				at.answers(squareHost, c.answer)
				r := newLocalRig(t, withLogout(at))
				r.tokens()
				r.atForum()
				r.end(r.square)
				r.end(r.forum)
				began := time.Now()
				if told := r.tell(); told[r.square.ID] != c.want || told[r.forum.ID] != (openid.Told{Delivered: 1}) {
					t.Fatalf("told: %+v", told)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("a round of %s", took)
				}
				var sum openid.Told
				for range 48 * 60 {
					told := r.tell()[r.square.ID]
					sum = openid.Told{Delivered: sum.Delivered + told.Delivered, Refused: sum.Refused + told.Refused, Failed: sum.Failed + told.Failed, GivenUp: sum.GivenUp + told.GivenUp}
					<-time.After(time.Minute)
				}
				n := len(at.came(squareHost))
				switch {
				case !c.again && (n != 1 || sum != openid.Told{}):
					t.Errorf("asked %d times, then %+v", n, sum)
				case c.again && (n < 6 || n > 14 || sum != openid.Told{Failed: n - 2, GivenUp: 1}):
					t.Errorf("asked %d times: %+v", n, sum)
				}
				if times := at.at[squareHost]; times[len(times)-1].Sub(began) > 25*time.Hour || c.again && times[1].Sub(began) < 2*time.Minute {
					t.Errorf("asked at %v", times)
				}
				if rows, err := r.store.Logouts(t.Context(), nil, time.Time{}, time.Time{}); err != nil || len(rows) != 0 {
					t.Errorf("%d rows are left, %v", len(rows), err)
				}
			})
		})
	}
}

// TestLogoutPlatformComesBack: what was not taken in an outage of a platform is, a while
// after it; in the outage one platform is asked for few of many.
func TestLogoutPlatformComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := newLogoutAt()
		r := newLocalRig(t, withLogout(at))
		const people = 40
		for range people {
			r.atForum()
		}
		r.end(r.forum)
		at.answers(forumHost, always(502))
		r.tell()
		if n := len(at.came(forumHost)); n < 1 || n > 4 {
			t.Errorf("asked %d times while it is down", n)
		}
		at.answers(forumHost, nil)
		for range 10 {
			<-time.After(time.Minute)
			r.tell()
		}
		distinct := map[any]bool{}
		for _, raw := range at.came(forumHost) {
			distinct[payload(t, raw)["sid"]] = true
		}
		if len(distinct) != people {
			t.Errorf("%d of %d told", len(distinct), people)
		}
	})
}

// TestLogoutSlowPlatformHoldsNobodyUp: while one platform keeps its tokens waiting, the
// others have theirs.
func TestLogoutSlowPlatformHoldsNobodyUp(t *testing.T) {
	at := newLogoutAt()
	asked, told := make(chan struct{}), make(chan struct{})
	var once sync.Once
	at.answers(squareHost, func(r *http.Request) (int, error) {
		once.Do(func() { close(asked) })
		<-told // the other platform is told before this one answers
		return 200, nil
	})
	at.answers(forumHost, func(*http.Request) (int, error) {
		<-asked
		close(told)
		return 200, nil
	})
	r := newRig(t, withLogout(at))
	r.tokens()
	r.atForum()
	r.end(r.square)
	r.end(r.forum)
	if got := r.tell(); got[r.square.ID].Delivered != 1 || got[r.forum.ID].Delivered != 1 {
		t.Errorf("%+v", got)
	}
}

// TestLogoutOneNodeSendsAToken: of nodes that do the job at the same moment one sends it.
func TestLogoutOneNodeSendsAToken(t *testing.T) {
	at := newLogoutAt()
	r := newRig(t, withLogout(at))
	for range 3 {
		r.tokens()
	}
	r.end(r.square)
	var wg sync.WaitGroup
	for range 8 {
		node, err := openid.New(r.cfg, r.store, r.page)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if _, err := node.TellPlatforms(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(at.came(squareHost)); n != 1 {
		t.Errorf("sent %d times", n)
	}
}

// TestLogoutSurvivesEveryCrash: whichever call of the store fails, before or after it took
// effect, as it does when a node is killed there: the platform is told in the end, by a
// later round, and nothing is left to be told.
func TestLogoutSurvivesEveryCrash(t *testing.T) {
	for call := range 6 {
		for _, late := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				at := newLogoutAt()
				r := newLocalRig(t, withLogout(at))
				r.tokens()
				r.tokens()
				r.end(r.square)
				crashing, err := openid.New(r.cfg, &flaky{Store: r.store, countdown: call + 1, late: late}, r.page)
				if err != nil {
					t.Fatal(err)
				}
				_, crash := crashing.TellPlatforms(t.Context())
				sent := len(at.came(squareHost))
				if call >= 4 && crash != nil || call < 4 && crash == nil {
					t.Fatalf("call %d: %v", call, crash)
				}
				for range 5 {
					r.tell()
					<-time.After(time.Minute)
				}
				more := len(at.came(squareHost))
				if sent+more < 1 || sent+more > 2 || crash == nil && sent != 1 {
					t.Errorf("call %d, late %v: sent %d times and %d", call, late, sent, more)
				}
				if rows, err := r.store.Logouts(t.Context(), nil, time.Time{}, time.Time{}); err != nil || len(rows) != 0 {
					t.Errorf("%d rows are left, %v", len(rows), err)
				}
			})
		}
	}
}

// TestLogoutAddressesThatHurt: a platform's address that leads into the operator's network,
// elsewhere, or to an answer without end costs a failed attempt.
func TestLogoutAddressesThatHurt(t *testing.T) {
	var reached, elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	mux := http.NewServeMux()
	mux.HandleFunc("/away", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusPermanentRedirect)
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		for chunk := strings.Repeat("x", 1<<20); ; {
			if _, err := io.WriteString(w, chunk); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	for _, c := range []struct {
		name, path string
		guard      identity.Guard
		want       openid.Told
	}{
		{"pass the sandbox's", "/out", identity.Guard{AllowLoopback: true}, openid.Told{Delivered: 1}},
		{"an internal address", "/out", identity.Guard{}, openid.Told{Failed: 1}},
		{"a redirect", "/away", identity.Guard{AllowLoopback: true}, openid.Told{Failed: 1}},
		{"an endless answer", "/large", identity.Guard{AllowLoopback: true}, openid.Told{Failed: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			reached.Store(0)
			r := newRig(t, withLogout(nil), func(r *rig) {
				r.square.BackchannelLogoutURI, r.square.Localhost = server.URL+c.path, true
				r.cfg.HTTP = identity.NewHTTP(c.guard)
				fixed, err := openid.Fixed(r.square)
				if err != nil {
					t.Fatal(err)
				}
				r.cfg.Platforms = fixed
			})
			r.tokens()
			r.end(r.square)
			if told := r.tell(); told[r.square.ID] != c.want || reached.Load() != int64(c.want.Delivered) {
				t.Errorf("%+v, reached %d times", told, reached.Load())
			}
			r.cfg.HTTP.CloseIdleConnections()
		})
	}
	if elsewhere.Load() != 0 {
		t.Error("a token was led elsewhere")
	}
}

// TestT43LogoutTokenIsNothingElse: a logout token, though signed by us, is taken for no
// other kind of token anywhere.
func TestT43LogoutTokenIsNothingElse(t *testing.T) {
	at := newLogoutAt()
	r := newRig(t, withLogout(at))
	r.tokens()
	r.end(r.square)
	r.tell()
	raw := at.came(squareHost)[0]
	r.tokens()
	wantPage(t, r.get("/logout?"+url.Values{"id_token_hint": {raw}}.Encode()), openid.ErrLogout)
	wantRedirect(t, r, r.get("/authorize?"+r.request(r.square, "id_token_hint", raw).Encode()), "invalid_request")
	if a := r.fetch("/userinfo", "Authorization", "Bearer "+raw); a.status != http.StatusUnauthorized {
		t.Errorf("userinfo: %d", a.status)
	}
	if r.active(raw) {
		t.Error("introspection: active")
	}
	wantError(t, r.refresh(raw), 400, "invalid_grant")
	wantError(t, r.post("/token", r.redemption(r.square, raw)), 400, "invalid_grant")
	wantError(t, r.post("/par", form(r.request(r.forum), "client_assertion_type", assertionType, "client_assertion", raw)), 401, "invalid_client")
	r.atForum()
	r.end(r.forum)
	r.tell()
	raw = at.came(forumHost)[0] // of an algorithm that access tokens have, too
	for _, typ := range []string{"", token.TypAccess} {
		if _, err := r.verifier(r.forum, typ).Verify(t.Context(), raw); !errors.Is(err, token.ErrWrongTyp) {
			t.Errorf("verified as %q: %v", typ, err)
		}
	}
}
