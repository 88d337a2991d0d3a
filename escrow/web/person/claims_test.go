package person

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/identity"
)

// Each claim is told if the person ticks it on this page, and a hundred people share what
// the platform may ask for; not otherwise, whatever a form says.
func TestClaimsAreToldAsTicked(t *testing.T) {
	s := newService(t, func(_ *testing.T, c *Config) { c.Platforms[0].Claims = []string{"age_over_16", "age_over_18"} })
	b := s.in("laptop")
	scope := []string{"scope", "openid age_over_16 age_over_18 country"}
	tell := func(platform string, claims ...string) any {
		t.Helper()
		res, _ := b.do("POST", b.origin+b.open(platform, scope...), url.Values{"decision": {"allow"}, "claim": claims})
		verified, _ := b.redeem(platform, result(t, res).Get("code"))["verified_claims"].(map[string]any)
		return verified["claims"]
	}
	both := []string{"age_over_18", "age_over_16", "country"}
	b.shows("GET", s.origin+b.open("pocket", scope...), nil, http.StatusOK, "You are over 18. This is not told.", "fewer than 100 people here have in common what Pocket may ask for. Somebody", "!checkbox", "!Your country", "127.0.0.1")
	if got := tell("pocket", both...); got != nil {
		t.Errorf("told of somebody who is alone: %v", got)
	}
	for n := range issue.Shared - 1 {
		id := identity.Identity{Issuer: "https://id.example", Subject: identity.Private(fmt.Sprint(n)), Name: identity.Private(fmt.Sprint("One ", n)), Birthdate: "1990-01-01", Claims: identity.Claims{"true", "true"}}
		p, _, err := s.issuer.Enrol(t.Context(), id)
		if err == nil {
			_, err = s.issuer.Attest(t.Context(), p, id, false)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b.shows("GET", s.origin+b.open("pocket", scope...), nil, http.StatusOK, "You are over 18, as of "+s.now().UTC().Format("January 2006"), `type="checkbox" name="claim" value="age_over_18"`, "!checked", "!This is not told")
	for _, c := range []struct {
		platform string
		ticked   []string
		want     string
	}{
		{"pocket", nil, "<nil>"}, {"pocket", []string{"age_over_18"}, "map[age_over_18:true]"}, {"pocket", both, "map[age_over_16:true age_over_18:true]"},
		{"pocket", []string{"country", "name", ""}, "<nil>"}, {"purse", both, "<nil>"},
	} {
		if got := fmt.Sprint(tell(c.platform, c.ticked...)); got != c.want {
			t.Errorf("%s, %q: told %s", c.platform, c.ticked, got)
		}
	}
	// Without a page it is what was ticked in this session, and no more.
	silently := func(b *browser) string {
		res, _ := b.ask("pocket", append(scope, "prompt", "none")...)
		got := result(t, res)
		if got.Get("error") != "" {
			return got.Get("error")
		}
		verified, _ := b.redeem("pocket", got.Get("code"))["verified_claims"].(map[string]any)
		return fmt.Sprint(verified["claims"])
	}
	if got := silently(b); got != "<nil>" { // the last time nothing was ticked that the platform may ask for
		t.Errorf("silently: %s", got)
	}
	tell("pocket", "age_over_18")
	if got := silently(b); got != "map[age_over_18:true]" {
		t.Errorf("silently: %s", got)
	}
	if got := silently(s.in("phone")); got != "consent_required" {
		t.Errorf("silently, in another session: %s", got)
	}
}
