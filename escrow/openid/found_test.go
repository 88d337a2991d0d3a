package openid_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penname/penname/escrow/openid"
)

// E1: the page is asked for a proof of identity since the request, not since it is
// looked at, and what the platform is told is the moment of the proof.
func TestFoundE1SinceTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLocalRig(t)
		asked := time.Now()
		action := r.open(r.request(r.square, "max_age", "30"))
		if want := asked.Add(-30 * time.Second); !r.lastAsk.Since.Equal(want) || r.lastAsk.Fresh {
			t.Errorf("asked for %v, %v; want %v", r.lastAsk.Since, r.lastAsk.Fresh, want)
		}
		time.Sleep(10 * time.Second)
		r.proven = time.Now()
		time.Sleep(125 * time.Second) // a slow reader
		back := r.decide(action, "approve").redirected(t)
		if want := asked.Add(-30 * time.Second); !r.lastAsk.Since.Equal(want) {
			t.Errorf("when answered: %v, want %v", r.lastAsk.Since, want)
		}
		tokens := r.post("/token", r.redemption(r.square, back.Get("code"))).json(t)
		if got := payload(t, tokens["id_token"].(string))["auth_time"]; got != float64(r.proven.Unix()) {
			t.Errorf("auth_time %v, the proof was at %d", got, r.proven.Unix())
		}
		pushed := r.post("/par", r.request(r.square, "max_age", "0", "client_secret", secret)).json(t)
		time.Sleep(time.Minute)
		r.get("/authorize?client_id=" + r.square.ID + "&request_uri=" + pushed["request_uri"].(string))
		if !r.lastAsk.Since.Equal(time.Now()) { // of a pushed request the browser's
			t.Errorf("pushed: %v, want %v", r.lastAsk.Since, time.Now())
		}
		if r.tokens(); !r.lastAsk.Since.IsZero() || r.lastAsk.Fresh {
			t.Errorf("a proof was asked for: %+v", r.lastAsk)
		}
		r.proven = time.Time{} // a page that cannot say when
		wantPage(t, r.decide(r.open(r.request(r.square, "max_age", "30")), "approve"), openid.ErrSubject)
	})
}

// E2: an ID token lives for ten minutes; as a hint it does for as long as its key is
// known (OpenID Connect Core, 3.1.2.1).
func TestFoundE2ExpiredHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLocalRig(t)
		hint := r.tokens()["id_token"].(string)
		time.Sleep(40 * 24 * time.Hour)
		r.instant = true
		for _, prompt := range []string{"none", "consent"} {
			if back := r.get("/authorize?" + r.request(r.square, "id_token_hint", hint, "prompt", prompt).Encode()).redirected(t); back.Get("code") == "" {
				t.Errorf("%s: %v", prompt, back)
			}
		}
		pushed := r.post("/par", r.request(r.square, "id_token_hint", hint, "client_secret", secret)).json(t)
		at := "/authorize?client_id=" + r.square.ID + "&request_uri=" + pushed["request_uri"].(string)
		wantRedirect(t, r, r.fetch(at, "Cookie", "person=somebody-else"), "login_required")
		wantRedirect(t, r, r.fetch("/authorize?"+r.request(r.square, "id_token_hint", hint, "prompt", "none").Encode(), "Cookie", "person=somebody-else",
			"Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate"), "login_required")
	})
}

// E2: nobody is signed in without a page where nobody sees the address, or where they
// did not consent; the page may renew its cookie.
func TestFoundE2SilentAtTheTopLevelOnly(t *testing.T) {
	r := newRig(t)
	r.instant = true
	silent := "/authorize?" + r.request(r.square, "prompt", "none").Encode()
	for _, headers := range [][]string{
		nil, {"Sec-Fetch-Dest", "document"}, {"Sec-Fetch-Mode", "navigate"}, {"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate"},
		{"Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "no-cors"}, {"Sec-Fetch-Dest", "empty", "Sec-Fetch-Mode", "cors"},
	} {
		wantRedirect(t, r, r.fetch(silent, headers...), "login_required")
	}
	if back := r.get(silent).redirected(t); back.Get("code") == "" {
		t.Errorf("pass: %v", back)
	}
	r.unasked = true
	wantRedirect(t, r, r.get(silent), "consent_required")
}

// D5: a sign-in that waits for the person lasts for half an hour from page to page.
func TestFoundD5ASignInThatWaitsIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newLocalRig(t)
		action := r.open(r.request(r.square))
		for range 10 {
			time.Sleep(29 * time.Minute)
			if a := r.decide(action, "stay"); !strings.Contains(a.body, action) {
				t.Fatalf("no page: %s", a.body)
			}
		}
		time.Sleep(29 * time.Minute)
		if back := r.decide(action, "approve").redirected(t); back.Get("code") == "" {
			t.Errorf("%v", back)
		}
	})
}
