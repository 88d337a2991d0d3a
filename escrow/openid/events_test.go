package openid_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/token"
)

// receiver is the push address of Town Square.
type receiver struct {
	mu     sync.Mutex
	tokens []string
	at     []time.Time
	status int
	says   string
}

const pushToken = "a-token-of-the-platform-itself"

// RoundTrip implements http.RoundTripper.
func (v *receiver) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.URL.Path != "/events" || r.Header.Get("Content-Type") != "application/secevent+jwt" || r.Header.Get("Authorization") != "Bearer "+pushToken {
		return nil, errors.New("not as RFC 8935 has it")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tokens, v.at = append(v.tokens, string(body)), append(v.at, time.Now())
	return &http.Response{StatusCode: v.status, Body: io.NopCloser(strings.NewReader(v.says)), Header: http.Header{}}, nil
}

func (v *receiver) came() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	tokens := v.tokens
	v.tokens = nil
	return tokens
}

func (v *receiver) answers(status int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.status = status
}

// withEvents has Town Square told by push, and School Forum by poll.
func withEvents(at *receiver) func(*rig) {
	return func(r *rig) {
		r.square.Events = &openid.Stream{Push: "https://" + squareHost + "/events", Bearer: pushToken}
		r.forum.Events = &openid.Stream{}
		r.cfg.HTTP = &http.Client{Transport: at}
		fixed, err := openid.Fixed(r.square, r.forum, r.app)
		if err != nil {
			r.t.Fatal(err)
		}
		r.cfg.Platforms = fixed
	}
}

func (r *rig) knownAt(platforms ...openid.Platform) (all []openid.Known) {
	for _, pl := range platforms {
		all = append(all, openid.Known{Name: pseudonym(canary, pl.ID), Platforms: []openid.Platform{pl}})
	}
	return all
}

// ask polls, with a header Authorization.
func (r *rig) ask(authorization string, body any) answer {
	r.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.issuer+"/events", bytes.NewReader(raw))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", authorization)
	return r.do(req)
}

// polls returns the events that School Forum is given, by jti.
func (r *rig) polls(body map[string]any) (sets map[string]*token.Event, more bool) {
	r.t.Helper()
	if body["returnImmediately"] == nil {
		body["returnImmediately"] = true
	}
	a := r.ask("Bearer "+r.assertion(nil), body)
	var got struct {
		Sets          map[string]string
		MoreAvailable bool
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK || got.Sets == nil || a.header.Get("Cache-Control") != "no-store" {
		r.t.Fatalf("%d %s", a.status, a.body)
	}
	sets = map[string]*token.Event{}
	for jti, raw := range got.Sets {
		e, err := r.verifier(r.forum, token.TypID).VerifyEvent(r.t.Context(), raw)
		if err != nil || e.ID != jti || e.Subject != pseudonym(canary, r.forum.ID) {
			r.t.Fatalf("%+v, %v", e, err)
		}
		sets[jti] = e
	}
	return sets, got.MoreAvailable
}

// TestEventsByPush: who signs out at Town Square, and withdraws, is told of there at once,
// and School Forum is told nothing. Each attempt has the same jti, and what happens
// meanwhile another.
func TestEventsByPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := &receiver{status: http.StatusServiceUnavailable}
		r := newLocalRig(t, withEvents(at))
		r.tokens()
		r.tokens("scope", "openid offline_access")
		r.atForum()
		r.end(r.square)
		if told := r.tell(); told[r.square.ID] != (openid.Told{Failed: 1}) {
			t.Errorf("%+v", told)
		}
		first := at.came()
		r.tokens()
		r.end(r.square)
		at.answers(http.StatusAccepted)
		if told := r.tell(); told[r.square.ID] != (openid.Told{Delivered: 1}) {
			t.Errorf("what happened meanwhile: %+v", told)
		}
		second := at.came()
		<-time.After(4 * time.Minute)
		if told := r.tell(); told[r.square.ID] != (openid.Told{Delivered: 1}) {
			t.Errorf("tried again: %+v", told)
		}
		again := at.came()
		read := func(tokens []string) *token.Event {
			t.Helper()
			if len(tokens) != 1 {
				t.Fatalf("%d tokens", len(tokens))
			}
			e, err := r.verifier(r.square, token.TypID).VerifyEvent(t.Context(), tokens[0])
			if err != nil || e.Subject != pseudonym(canary, r.square.ID) {
				t.Fatalf("%+v, %v", e, err)
			}
			return e
		}
		if one, other := read(first), read(second); one.ID != read(again).ID || one.ID == other.ID || one.Type != token.EventSessionRevoked {
			t.Errorf("%+v and %+v", one, other)
		}
		if err := r.provider.Tell(t.Context(), openid.EventWithdrawn, r.knownAt(r.square)...); err != nil {
			t.Fatal(err)
		}
		r.tell()
		e := at.came()
		if read(e).Type != token.EventConsentWithdrawn {
			t.Error(read(e).Type)
		}
		claims := payload(t, e[0])
		if names := slices.Sorted(maps.Keys(claims)); !slices.Equal(names, []string{"aud", "events", "iat", "iss", "jti", "sub_id"}) {
			t.Errorf("claims %v", names)
		}
		if sets, _ := r.polls(map[string]any{}); len(sets) != 0 {
			t.Errorf("the other platform hears %v", sets)
		}
	})
}

// TestEventsByPoll: RFC 8936. What is not acknowledged comes again under its jti; what is,
// or is reported as an error, does not.
func TestEventsByPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLocalRig(t, withEvents(&receiver{status: http.StatusAccepted}))
		r.atForum()
		r.end(r.forum)
		for _, e := range []openid.Event{openid.EventWithdrawn, openid.EventErased} {
			if err := r.provider.Tell(t.Context(), e, r.knownAt(r.forum)...); err != nil {
				t.Fatal(err)
			}
		}
		if told := r.tell(); len(told) != 0 {
			t.Errorf("sent: %+v", told)
		}
		if sets, more := r.polls(map[string]any{"maxEvents": 0}); len(sets) != 0 || !more {
			t.Errorf("%v, %v", sets, more)
		}
		first, more := r.polls(map[string]any{"maxEvents": 1})
		all, no := r.polls(map[string]any{})
		again, _ := r.polls(map[string]any{"ack": []string{"of-nobody"}})
		for jti := range first {
			if all[jti] == nil {
				t.Error("another jti")
			}
		}
		if len(first) != 1 || !more || len(all) != 3 || no || !slices.Equal(slices.Sorted(maps.Keys(all)), slices.Sorted(maps.Keys(again))) {
			t.Fatalf("%v %v, %v %v, %v", first, more, all, no, again)
		}
		ids := slices.Collect(maps.Keys(all))
		if left, _ := r.polls(map[string]any{"ack": ids[:2], "setErrs": map[string]any{ids[2]: map[string]any{"err": "invalid_request"}}}); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
		counted := openid.Told{Delivered: 2, Refused: 1}
		counted.Why[slices.Index(openid.SetErrors[:], "invalid_request")]++
		if told := r.tell(); told[r.forum.ID] != counted {
			t.Errorf("counted: %+v", told)
		}
		// A long poll is held back, ends in bounded time, and hears of what comes meanwhile.
		before := time.Now()
		if sets, _ := r.polls(map[string]any{"returnImmediately": false}); len(sets) != 0 || time.Since(before) < 20*time.Second || time.Since(before) > 30*time.Second {
			t.Errorf("%v after %s", sets, time.Since(before))
		}
		go func() {
			<-time.After(7 * time.Second)
			_ = r.provider.Tell(context.Background(), openid.EventErased, r.knownAt(r.forum)...)
		}()
		before = time.Now()
		if sets, _ := r.polls(map[string]any{"returnImmediately": false}); len(sets) != 1 || time.Since(before) > 15*time.Second {
			t.Errorf("%v after %s", sets, time.Since(before))
		}
	})
}

// TestPollIsOfItsOwnStream: nobody polls or acknowledges for another, and without
// credentials nobody polls at all.
func TestPollIsOfItsOwnStream(t *testing.T) {
	r := newLocalRig(t, withEvents(&receiver{status: http.StatusAccepted}), func(r *rig) {
		r.square.Events = &openid.Stream{}
		fixed, err := openid.Fixed(r.square, r.forum, r.app)
		if err != nil {
			t.Fatal(err)
		}
		r.cfg.Platforms = fixed
	})
	if err := r.provider.Tell(t.Context(), openid.EventErased, r.knownAt(r.forum)...); err != nil {
		t.Fatal(err)
	}
	mine, _ := r.polls(map[string]any{})
	ids := slices.Collect(maps.Keys(mine))
	basic := func(id, secret string) string {
		req := httptest.NewRequest(http.MethodGet, "/", nil)
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
		return req.Header.Get("Authorization")
	}
	a := r.ask(basic(r.square.ID, secret), map[string]any{"ack": ids, "setErrs": map[string]any{ids[0]: map[string]any{}}, "returnImmediately": true})
	if a.status != http.StatusOK || strings.TrimSpace(a.body) != `{"sets":{}}` {
		t.Errorf("another platform: %d %s", a.status, a.body)
	}
	if still, _ := r.polls(map[string]any{}); !slices.Equal(slices.Collect(maps.Keys(still)), ids) {
		t.Errorf("acknowledged by another: %v", still)
	}
	assertion := r.assertion(nil)
	for name, c := range map[string]struct {
		authorization string
		body          any
		status        int
	}{
		"nobody":                 {"", map[string]any{}, http.StatusUnauthorized},
		"a wrong secret":         {basic(r.square.ID, "wrong"), map[string]any{}, http.StatusUnauthorized},
		"a secret of another":    {basic(r.forum.ID, secret), map[string]any{}, http.StatusUnauthorized},
		"a bearer of nothing":    {"Bearer x", map[string]any{}, http.StatusUnauthorized},
		"an app":                 {basic(r.app.ID, ""), map[string]any{}, http.StatusBadRequest},
		"an assertion":           {"Bearer " + assertion, map[string]any{"returnImmediately": true}, http.StatusOK},
		"a list":                 {basic(r.square.ID, secret), []int{}, http.StatusBadRequest},
		"a negative number":      {basic(r.square.ID, secret), map[string]any{"maxEvents": -1}, http.StatusBadRequest},
		"acks that are no texts": {basic(r.square.ID, secret), map[string]any{"ack": []int{1}}, http.StatusBadRequest},
	} {
		if a := r.ask(c.authorization, c.body); a.status != c.status {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.status)
		}
	}
	if a := r.ask("Bearer "+assertion, map[string]any{"returnImmediately": true}); a.status == http.StatusOK {
		t.Error("an assertion counts twice")
	}
}

// TestWhatAReceiverCanMendIsTriedAgain: RFC 8935, 2.4. An event that is refused because of
// keys or credentials comes again under its jti, until it is taken; one that is wrong for any
// other reason does not. Of what the platform says, a code that is known is kept.
func TestWhatAReceiverCanMendIsTriedAgain(t *testing.T) {
	other := len(openid.SetErrors) - 1
	for says, why := range map[string]int{`{"err":"authentication_failed"}`: 0, `{"err":"access_denied","description":"x"}`: 1, `{"err":"invalid_key"}`: 2,
		`{"err":"invalid_request"}`: 3, `{"err":"invalid_issuer"}`: 4, `{"err":"invalid_audience"}`: 5, `{"err":"canary"}`: other, `{"err":7}`: other, "": other,
		`{"err":"invalid_key","err":"invalid_key"}`: other, `{"err":"invalid_key"}` + strings.Repeat(" ", 5<<10) + "x": 2} {
		synctest.Test(t, func(t *testing.T) {
			at := &receiver{status: http.StatusBadRequest, says: says}
			r := newLocalRig(t, withEvents(at))
			if err := r.provider.Tell(t.Context(), openid.EventErased, r.knownAt(r.square)...); err != nil {
				t.Fatal(err)
			}
			want := openid.Told{Refused: 1}
			if why <= 2 {
				want = openid.Told{Failed: 1}
			}
			want.Why[why]++
			if told := r.tell()[r.square.ID]; told != want {
				t.Errorf("%.40q: %+v, want %+v", says, told, want)
			}
			first := at.came()
			<-time.After(4 * time.Minute)
			at.answers(http.StatusAccepted)
			if r.tell(); want.Refused > 0 {
				if again := at.came(); len(again) != 0 {
					t.Errorf("%.40q: again %v", says, again)
				}
				return
			}
			if again := at.came(); len(again) != 1 || payload(t, again[0])["jti"] != payload(t, first[0])["jti"] {
				t.Errorf("%.40q: %v", says, again)
			}
		})
	}
}

// TestOnePollIsHeldOfAPlatform: a later one ends the wait of the one before, with no events.
func TestOnePollIsHeldOfAPlatform(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLocalRig(t, withEvents(&receiver{status: http.StatusAccepted}))
		began := time.Now()
		var first time.Duration
		var wg sync.WaitGroup
		wg.Go(func() {
			if sets, _ := r.polls(map[string]any{"returnImmediately": false}); len(sets) != 0 {
				t.Error(sets)
			}
			first = time.Since(began)
		})
		<-time.After(2 * time.Second)
		if sets, _ := r.polls(map[string]any{"returnImmediately": false}); len(sets) != 0 {
			t.Error(sets)
		}
		later := time.Since(began)
		if wg.Wait(); first != 2*time.Second || later != 27*time.Second {
			t.Errorf("the first was held for %s, the later ended after %s", first, later)
		}
	})
}

// TestPollTouchesNoOtherPlatform: what is not to be told any more is settled by the job, and
// not when another platform polls.
func TestPollTouchesNoOtherPlatform(t *testing.T) {
	r := newLocalRig(t, withEvents(&receiver{status: http.StatusAccepted}), func(r *rig) {
		registered := r.cfg.Platforms
		r.cfg.Platforms = func(ctx context.Context, id string) (openid.Platform, error) {
			if r.isGone(id) {
				return openid.Platform{}, openid.ErrUnknownPlatform
			}
			return registered(ctx, id)
		}
	})
	if err := r.provider.Tell(t.Context(), openid.EventErased, r.knownAt(r.square)...); err != nil {
		t.Fatal(err)
	}
	left := func() int {
		rows, err := r.memory.Logouts(t.Context(), nil, time.Time{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return len(rows)
	}
	r.takeAway(r.square.ID)
	if sets, _ := r.polls(map[string]any{}); len(sets) != 0 || left() != 1 {
		t.Errorf("%v, %d rows are left", sets, left())
	}
	if r.tell(); left() != 0 {
		t.Errorf("%d rows are left after the job", left())
	}
}

// TestMomentsComeWhereNothingIsSent: a provider that calls no platform still has events for
// those that poll.
func TestMomentsComeWhereNothingIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLocalRig(t, withEvents(nil), func(r *rig) { r.cfg.HTTP = nil })
		if err := r.provider.EraseQuietly(t.Context(), r.knownAt(r.square, r.forum)...); err != nil {
			t.Fatal(err)
		}
		for range 25 * 12 {
			if told := r.tell(); len(told) != 0 {
				t.Errorf("told %+v", told)
			}
			<-time.After(5 * time.Minute)
		}
		if sets, _ := r.polls(map[string]any{}); len(sets) != 1 {
			t.Errorf("polled %v", sets)
		}
	})
}

// TestErasedIsToldAtEachMoment: whoever is deleted is told of at each platform at a moment
// of its own within a day, once, however often they ask. Where they have signed in again
// before it, they are not.
func TestErasedIsToldAtEachMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, back := range []bool{false, true} {
			at := &receiver{status: http.StatusAccepted}
			r := newLocalRig(t, withEvents(at))
			left := time.Now()
			for range 2 {
				if err := r.provider.EraseQuietly(t.Context(), r.knownAt(r.square, r.forum)...); err != nil {
					t.Fatal(err)
				}
			}
			var polled time.Time
			heard := map[string]*token.Event{}
			for range 25 * 12 {
				r.tell()
				if back && time.Since(left) < time.Minute {
					r.tokens("scope", "openid offline_access")
				}
				sets, _ := r.polls(map[string]any{})
				if maps.Copy(heard, sets); len(heard) > 0 && polled.IsZero() {
					polled = time.Now()
				}
				<-time.After(5 * time.Minute)
			}
			if len(heard) != 1 || polled.Sub(left) < 2*time.Hour || polled.Sub(left) > 24*time.Hour+5*time.Minute {
				t.Errorf("polled %v after %s", heard, polled.Sub(left))
			}
			for _, e := range heard {
				if e.Type != token.EventErased {
					t.Error(e.Type)
				}
			}
			pushed := at.came()
			if back != (len(pushed) == 0) || len(pushed) > 1 {
				t.Fatalf("came back %v: %d tokens", back, len(pushed))
			}
			if back {
				continue
			}
			if after := at.at[0].Sub(left); after < 2*time.Hour || after > 24*time.Hour+5*time.Minute || at.at[0].Sub(polled).Abs() < time.Second {
				t.Errorf("pushed after %s, polled after %s", after, polled.Sub(left))
			}
		}
	})
}

// TestEventIsNothingElse: an event is no ID token, no access token and no logout token, and
// none of these is an event.
func TestEventIsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, logouts := &receiver{status: http.StatusAccepted}, newLogoutAt()
		r := newLocalRig(t, withEvents(at))
		first := r.tokens()
		r.end(r.square)
		r.tell()
		event := at.came()[0]
		for _, typ := range []string{token.TypID, token.TypAccess} {
			if _, err := r.verifier(r.square, typ).Verify(t.Context(), event); !errors.Is(err, token.ErrWrongTyp) && !errors.Is(err, token.ErrAlgNotAllowed) {
				t.Errorf("%s: %v", typ, err)
			}
		}
		l := newLocalRig(t, withLogout(logouts))
		l.tokens()
		l.end(l.square)
		l.tell()
		for _, raw := range []string{first["id_token"].(string), first["access_token"].(string), logouts.came(squareHost)[0]} {
			if _, err := r.verifier(r.square, token.TypID).VerifyEvent(t.Context(), raw); !errors.Is(err, token.ErrEventTyp) {
				t.Error(err)
			}
		}
	})
}

// TestPushAddressesThatHurt: a push address inside the operator's networks is not called,
// one that hangs, redirects or floods costs its platform its own turn alone.
func TestPushAddressesThatHurt(t *testing.T) {
	called := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(server.Close)
	for name, c := range map[string]struct {
		guard  identity.Guard
		called int
	}{"a private address": {identity.Guard{}, 0}, "a redirect": {identity.Guard{AllowLoopback: true}, 1}} {
		called = 0
		r := newRig(t, func(r *rig) {
			r.square.Localhost, r.square.Events = true, &openid.Stream{Push: server.URL + "/events"}
			r.cfg.HTTP = identity.NewHTTP(c.guard)
			fixed, err := openid.Fixed(r.square, r.forum, r.app)
			if err != nil {
				t.Fatal(err)
			}
			r.cfg.Platforms = fixed
		})
		if err := r.provider.Tell(t.Context(), openid.EventErased, r.knownAt(r.square)...); err != nil {
			t.Fatal(err)
		}
		if told := r.tell(); told[r.square.ID] != (openid.Told{Failed: 1}) || called != c.called {
			t.Errorf("%s: %+v, called %d times", name, told, called)
		}
		r.cfg.HTTP.CloseIdleConnections()
	}
	for _, stream := range []openid.Stream{{Push: "http://square.example/events"}, {Push: "https://square.example/#x"}, {Bearer: pushToken},
		{Push: "https://square.example/", Bearer: "short"}, {Push: "https://square.example/", Bearer: pushToken + "\r\nX: y"}} {
		r := newRig(t)
		bad := r.square
		bad.Events = &stream
		if _, err := openid.Fixed(bad); err == nil {
			t.Errorf("%+v can be registered", stream)
		}
		if bad = r.app; bad.Native {
			bad.Events = &openid.Stream{}
			if _, err := openid.Fixed(bad); err == nil {
				t.Error("an app has a stream")
			}
		}
	}
}
