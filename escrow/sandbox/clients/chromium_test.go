package clients

import (
	"slices"
	"testing"

	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/verifier/token"
)

// TestClientsInAPopup: oidc-client-ts signs a person in by a window that it opens, and hears
// from it at the end: no page on the way cuts that window off (COOP).
func TestClientsInAPopup(t *testing.T) {
	inChromium(t, client{name: "oidc-client-ts, in a popup", version: npm("oidc-client-ts"), command: node("oidc-client-ts"), public: true, browser: true},
		func(a *app) []string {
			return slices.Concat([]string{a.origin + "/popup", "popup: Sign in in a popup"}, a.buttons())
		})
}

// TestClientsThatPost: a page of another site posts the request, the answer is posted to
// another site, and its callback goes on to another origin. The second time nobody has to
// prove who they are, although no cookie comes with what another site posts.
func TestClientsThatPost(t *testing.T) {
	inChromium(t, client{name: "posts", version: module("golang.org/x/oauth2"), command: goProgram("posts"), browser: true},
		func(a *app) []string {
			again := []string{a.origin + a.start, "Sign in by post", "Sign in to The app " + a.id}
			return slices.Concat([]string{a.origin + a.start, "Sign in by post"}, a.buttons(), again)
		})
}

// inChromium signs a person in by these steps.
func inChromium(t *testing.T, c client, steps func(*app) []string) {
	if !*all {
		t.Skip("make clients installs a Chromium")
	}
	tools := install(t, []client{c})
	a := reserve(t, c, tools, "client-1")
	w := startWorld(t, []world.Client{a.registration()})
	a.issuer, a.secret, a.steps = w.Origin, w.Clients()[0].Secret, steps(a)
	name, said, err := a.signIn(t)
	if _, bad := token.ParsePseudonym(string(name)); err != nil || bad != nil {
		t.Fatalf("%v\n%s", err, said)
	}
}
