package person

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/web/pagetest"
)

// TestPasskeysInABrowser: Chromium, with virtual authenticators and the keyboard, enrols, adds a
// passkey, signs in by it, also at a platform, adds one of a second device, removes the first,
// and cancels what somebody began at the identity provider. What is at the origin's pages is
// clean in each of these states.
func TestPasskeysInABrowser(t *testing.T) {
	platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte("<!doctype html><title>Square</title><p>Signed in at the square"))
	}))
	t.Cleanup(platform.Close)
	s := newServiceOn(t, "localhost", func(_ *testing.T, c *Config) {
		c.Providers = c.Providers[:1]
		c.Platforms = append(c.Platforms, openid.Platform{ID: "square", Name: "Square", RedirectURIs: []string{"http://127.0.0.1/back"}, Native: true})
	})
	b := pagetest.Open(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	clean := func(state string) {
		t.Helper()
		seen, err := b.Here(pagetest.Views[1])
		must(err)
		for _, v := range seen.Violations {
			t.Errorf("%s: %s", state, v)
		}
		if seen.Wider > 0 || len(seen.Loaded) > pagetest.MaxRequests+2 { // and what the script asked for
			t.Errorf("%s: %d wider, loaded %s", state, seen.Wider, seen.Loaded)
		}
	}
	phone, err := b.AddAuthenticator()
	must(err)

	must(b.PressTo(s.origin, "Prove my identity", "Jo Hartley"))
	must(b.Press("Jo Hartley", "Check what was sealed"))
	must(b.Press("Add a passkey", "You have none yet"))
	clean("no passkey")
	must(phone.Unlocks(false))
	must(b.Press("Add a passkey", "No passkey was added. Try again."))
	clean("not unlocked")
	must(phone.Unlocks(true))
	stopsAndGoesOn(t, s, b)
	must(b.Press("Add a passkey", "Your passkey is added"))
	clean("a passkey")
	must(b.Press("Add a passkey", "This device has a passkey of yours already"))

	must(b.Press("Sign out", "You are signed out here"))
	must(b.Open(s.origin, "Sign in with a passkey"))
	must(b.Press("Sign in with a passkey", "You have none yet. Sign in to a platform with Penname"))
	clean("signed in")

	// At a platform, in a browser that was never here.
	must(b.Forget())
	asks, err := url.ParseQuery(request("square"))
	must(err)
	asks.Set("redirect_uri", platform.URL+"/back")
	must(b.Open(s.origin+"/authorize?"+asks.Encode(), "Sign in with a passkey"))
	clean("consent")
	must(b.Press("Sign in with a passkey", "Square will know you as"))
	must(b.Press("Sign in to Square", "Signed in at the square"))

	// A second device; the first one is lost.
	must(phone.Remove())
	laptop, err := b.AddAuthenticator()
	must(err)
	must(b.PressTo(s.origin+passkeysPath, "Add a passkey", "Your passkey is added"))
	clean("two passkeys")
	must(b.Press("Remove my key", "That passkey is removed"))
	clean("one removed")
	must(b.Press("Remove passkey 1", "It is the only one that you have here"))
	clean("the last one")
	must(b.Press("Sign out", "You are signed out here"))
	must(b.Open(s.origin, "Sign in with a passkey"))
	must(b.Press("Sign in with a passkey", "What was disclosed about me"))

	// Somebody else proves the identity at the provider.
	thief := s.browser()
	thief.shows("GET", thief.prove("post", jo).String(), nil, http.StatusOK, waits)
	must(b.Open(s.origin+"/me", "Cancel it"))
	clean("recovery")
	must(b.Press("Cancel it", "It is cancelled"))
	clean("cancelled")
	must(laptop.Unlocks(false))
	must(b.PressTo(s.origin+passkeysPath, "Sign out", "You are signed out here"))
	must(b.Open(s.origin, "Sign in with a passkey"))
	must(b.Press("Sign in with a passkey", "No passkey was used, and nothing has changed"))
	clean("not unlocked, signing in")
}

// stopsAndGoesOn: the page of passkeys says why none was added, and its button goes on to work.
func stopsAndGoesOn(t *testing.T, s *service, b *pagetest.Browser) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fails := func(name string) string {
		return `PublicKeyCredential.isUserVerifyingPlatformAuthenticatorAvailable = () => Promise.reject(new Error());
			navigator.credentials.create = () => Promise.reject(new DOMException("", "` + name + `"))`
	}
	must(b.Run(fails("NotAllowedError")))
	must(b.Press("Add a passkey", "No passkey was added. Try again."))
	must(b.Run(fails("ConstraintError")))
	must(b.Press("Add a passkey", "This device itself cannot keep one"))
	// A word that is too long is refused before the device makes a passkey.
	must(b.Type("word", strings.Repeat("é", 33)))
	must(b.Press("Add a passkey", "There is a problem"))
	must(b.Open(s.origin+passkeysPath, "You have none yet"))
	// Who was signed out in another tab is told so.
	must(b.Run(`fetch("/sign-out", {method: "POST", headers: {"Content-Type": "application/x-www-form-urlencoded"}}).then((r) => r.text())`))
	must(b.Type("word", "my key"))
	must(b.Press("Add a passkey", "you are signed out here"))
	must(b.PressTo(s.origin+passkeysPath, "Prove my identity", "Jo Hartley"))
	must(b.Press("Jo Hartley", "You have none yet"))
	must(b.Has("word", "my key"))
}
