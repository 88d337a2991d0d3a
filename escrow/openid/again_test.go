package openid_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/token"
)

// TestRefreshAgain: an answer that was lost is given once more, with the same successor,
// to a client that authenticates; what it had before stays valid.
func TestRefreshAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLocalRig(t)
		one := r.tokens("scope", "openid offline_access")["refresh_token"].(string)
		lost := r.refresh(one).json(t)
		time.Sleep(10 * time.Second)
		again := r.refresh(one)
		if again.status != http.StatusOK || again.json(t)["refresh_token"] != lost["refresh_token"] || again.json(t)["access_token"] == lost["access_token"] {
			t.Fatalf("again: %d %s", again.status, again.body)
		}
		if !r.active(lost["access_token"].(string)) || !r.active(again.json(t)["access_token"].(string)) {
			t.Error("a token of the two answers is not active")
		}
		if row := string(r.memory.Dump()); strings.Contains(row, one) || strings.Contains(row, lost["refresh_token"].(string)) {
			t.Error("the store has a refresh token")
		}
		two := r.refresh(lost["refresh_token"].(string))
		if two.status != http.StatusOK {
			t.Fatalf("the successor: %s", two.body)
		}
		wantError(t, r.refresh(one), 400, "invalid_grant") // the second time it is a copy
		if r.active(two.json(t)["access_token"].(string)) {
			t.Error("the family survived")
		}
	})
}

// TestRefreshAgainIsNotFor what comes too late, a third time, from another client, or
// from a client that has nothing to show but the token.
func TestRefreshAgainIsNotFor(t *testing.T) {
	for name, play := range map[string]func(t *testing.T, r *rig, refresh string) answer{
		"too late": func(_ *testing.T, r *rig, refresh string) answer {
			r.refresh(refresh)
			time.Sleep(11 * time.Second)
			return r.refresh(refresh)
		},
		"a third time": func(_ *testing.T, r *rig, refresh string) answer {
			r.refresh(refresh)
			r.refresh(refresh)
			return r.refresh(refresh)
		},
		"after the successor was used": func(t *testing.T, r *rig, refresh string) answer {
			r.refresh(r.refresh(refresh).json(t)["refresh_token"].(string))
			return r.refresh(refresh)
		},
		"another client": func(_ *testing.T, r *rig, refresh string) answer {
			r.refresh(refresh)
			return r.refresh(refresh, "client_id", r.app.ID, "client_secret", "")
		},
		"a public client": func(t *testing.T, r *rig, _ string) answer {
			got := r.post("/token", r.redemption(r.app, r.code(r.app, "scope", "openid offline_access"), "client_secret", "")).json(t)
			app := []string{"client_id", r.app.ID, "client_secret", ""}
			r.refresh(got["refresh_token"].(string), app...)
			return r.refresh(got["refresh_token"].(string), app...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newLocalRig(t)
				wantError(t, play(t, r, r.tokens("scope", "openid offline_access")["refresh_token"].(string)), 400, "invalid_grant")
			})
		})
	}
}

// TestTwoRefreshesAtOnce of one client that authenticates both succeed, with one
// successor, and the family lives on.
func TestTwoRefreshesAtOnce(t *testing.T) {
	r := newRig(t)
	for range 20 {
		refresh := r.tokens("scope", "openid offline_access")["refresh_token"].(string)
		won := race(t, 2, func() answer { return r.refresh(refresh) })
		if len(won) != 2 || won[0].json(t)["refresh_token"] != won[1].json(t)["refresh_token"] {
			t.Fatalf("%d answers", len(won))
		}
		for _, a := range won {
			if _, err := r.verifier(r.square, token.TypID).Verify(t.Context(), a.json(t)["id_token"].(string)); err != nil {
				t.Error(err)
			}
		}
		if a := r.refresh(won[0].json(t)["refresh_token"].(string)); a.status != http.StatusOK {
			t.Errorf("the successor: %s", a.body)
		}
	}
}

// TestPressedTwice: the second press gets the answer of the first, from the same person
// and for ten seconds; nobody else gets anything, and no other button does.
func TestPressedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, mode := range []string{"query", "form_post"} {
			r := newLocalRig(t)
			action := r.open(r.request(r.square, "response_mode", mode))
			first := r.decide(action, "approve")
			time.Sleep(10 * time.Second)
			second := r.decide(action, "approve")
			if second.status != first.status || second.body != first.body || second.header.Get("Location") != first.header.Get("Location") {
				t.Errorf("%s: %d %s", mode, second.status, second.body)
			}
			for name, a := range map[string]answer{
				"another person": r.decide(action, "approve", "Cookie", "person=somebody-else"), "another button": r.decide(action, "deny"),
				"no button": r.decide(action, ""), "a look": r.get(action),
			} {
				if strings.Contains(a.header.Get("Location")+a.body, "code=") || strings.Contains(a.body, `name="code"`) {
					t.Errorf("%s: %s", name, a.body)
				}
			}
			time.Sleep(time.Second)
			wantPage(t, r.decide(action, "approve"), openid.ErrNotFound)
		}
	})
}

// TestRefusedTwice: the second press of a no gets the answer of the first, for ten seconds; it
// turns into no yes, and any other button gets nothing.
func TestRefusedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, mode := range []string{"query", "form_post"} {
			r := newLocalRig(t)
			action := r.open(r.request(r.square, "response_mode", mode, "state", "s"))
			first := r.decide(action, "deny")
			if said := first.header.Get("Location") + first.body; !strings.Contains(said, "access_denied") {
				t.Fatalf("%s: %s", mode, said)
			}
			time.Sleep(10 * time.Second)
			second := r.decide(action, "deny")
			if second.status != first.status || second.body != first.body || second.header.Get("Location") != first.header.Get("Location") {
				t.Errorf("%s: %d %s %s, first %s %s", mode, second.status, second.header.Get("Location"), second.body, first.header.Get("Location"), first.body)
			}
			for _, a := range []answer{r.decide(action, "approve"), r.decide(action, ""), r.get(action)} {
				wantPage(t, a, openid.ErrNotFound)
			}
			time.Sleep(time.Second)
			wantPage(t, r.decide(action, "deny"), openid.ErrNotFound)
		}
	})
}

// TestPressedAgainAfterItEnded: a sign-in whose confirmation failed is over, and a second press
// of its button gets no code of the grant that has ended.
func TestPressedAgainAfterItEnded(t *testing.T) {
	r := newLocalRig(t)
	action := r.open(r.request(r.square))
	r.confirm = func(context.Context) error { return openid.ErrUnavailable }
	if a := r.decide(action, "approve"); a.status != http.StatusServiceUnavailable {
		t.Errorf("not confirmed: %d %s", a.status, a.body)
	}
	r.confirm = nil
	wantPage(t, r.decide(action, "approve"), openid.ErrNotFound)
	if a := r.post("/token", r.redemption(r.square, r.code(r.square))); a.status != http.StatusOK {
		t.Errorf("from the platform once more: %d %s", a.status, a.body)
	}
}

// TestGoneWhileConfirmed: a browser that leaves while its sign-in is confirmed does not stop
// that, and a second press is confirmed anew: who was erased meanwhile gets no code.
func TestGoneWhileConfirmed(t *testing.T) {
	r := newLocalRig(t)
	action := r.open(r.request(r.square))
	ctx, leave := context.WithCancel(t.Context())
	var asked error
	r.confirm = func(ctx context.Context) error {
		leave()
		asked = ctx.Err()
		return openid.ErrUnavailable // and the store with it, before anything was ended
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.issuer+action, strings.NewReader(url.Values{"decision": {"approve"}, "full_name": {canary}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if res, err := r.client.Transport.RoundTrip(req); err == nil {
		res.Body.Close()
	}
	if asked != nil {
		t.Errorf("asked on behalf of a browser that has left: %v", asked)
	}
	wantPage(t, r.decide(action, "approve"), openid.ErrNotFound)

	// What was stored and could be neither confirmed nor ended.
	action = r.open(r.request(r.square))
	r.confirm = nil
	if a := r.decide(action, "approve"); a.status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.status, a.body)
	}
	r.confirm = func(context.Context) error { return openid.ErrUnavailable }
	if a := r.decide(action, "approve"); a.status == http.StatusSeeOther {
		t.Error("a second press got a code, and nobody knows whether its person is still there")
	}
}
