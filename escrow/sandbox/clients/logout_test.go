package clients

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
)

// TestBackchannelLogout: a client that nobody of this project wrote takes our logout
// tokens, with one for each sign-in and with one for the pen name. It signs the person out
// on all devices when they sign out everywhere; a logout at one platform ends nothing at
// the other.
func TestBackchannelLogout(t *testing.T) {
	const program = "express-openid-connect-logout"
	tools := install(t, nil)
	var apps []*app
	var registered []world.Client
	for _, id := range []string{"logout-1", "logout-2"} {
		a := reserve(t, client{command: node(program), start: "/"}, tools, id)
		c := a.registration()
		c.BackchannelLogoutURI, c.BackchannelLogoutSessionRequired = a.origin+"/backchannel-logout", len(apps) == 1
		apps, registered = append(apps, a), append(registered, c)
	}
	w := startWorld(t, registered)
	signedIn := func(b *world.Browser, a *app) bool {
		if err := b.Open(t.Context(), a.origin+"/"); err != nil {
			t.Fatal(err)
		}
		return strings.HasPrefix(b.Page.Text(), "signed in as pen1")
	}
	devices := []*world.Browser{world.NewBrowser(), world.NewBrowser()}
	sayings := []*output{}
	for i, a := range apps {
		a.issuer, a.secret = w.Origin, w.Clients()[i].Secret
		sayings = append(sayings, a.run(t, nil))
		for _, b := range devices {
			signedIn(b, a)
			for _, label := range []string{"Prove my identity", sandbox.People()[0].Name, "Sign in to The app " + a.id} {
				if b.Offers(label) {
					if err := b.Press(t.Context(), label, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !signedIn(b, a) {
				t.Fatalf("%s: %s\n%s", a.id, b.Page.Text(), sayings[i])
			}
		}
	}
	gone := func(b *world.Browser, a *app) {
		t.Helper()
		for again := time.NewTicker(50 * time.Millisecond); signedIn(b, a); {
			select {
			case <-again.C:
			case <-time.After(20 * time.Second):
				t.Fatalf("%s still signs in\n%s%s", a.id, sayings[0], sayings[1])
			}
		}
	}
	leave := func(b *world.Browser, address, button string, form url.Values, says string) {
		t.Helper()
		if err := b.Open(t.Context(), w.Origin+address); err != nil {
			t.Fatal(err)
		}
		if err := b.Press(t.Context(), button, form); err != nil {
			t.Fatal(err)
		}
		if err := b.Shows(200, says); err != nil {
			t.Fatal(err)
		}
	}
	leave(devices[0], "/logout?client_id=logout-1", "Stay signed in here", nil, "We are telling The app logout-1 now")
	gone(devices[0], apps[0])
	gone(devices[1], apps[0])
	if !signedIn(devices[0], apps[1]) || !signedIn(devices[1], apps[1]) {
		t.Error("a logout at one platform ended a sign-in at another")
	}
	leave(devices[1], "/me", "Sign out everywhere at once", nil, "You are signed out everywhere")
	gone(devices[0], apps[1])
	gone(devices[1], apps[1])
}
