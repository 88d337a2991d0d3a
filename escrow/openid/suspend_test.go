package openid_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// A pen name that is suspended at one platform has no sign-in left there, at once; another
// pen name there, and the same person elsewhere, goes on. The platform is told once for each
// order, and the other platform nothing.
func TestSuspendedAtOnePlatform(t *testing.T) {
	at := &receiver{status: http.StatusAccepted}
	r := newLocalRig(t, withEvents(at))
	here := r.tokens("scope", "openid offline_access")
	code := r.code(r.square)
	elsewhere := r.atForum()
	for _, order := range []string{"17", "17", ""} {
		if err := r.provider.Suspend(t.Context(), pseudonym(canary, r.square.ID), r.square, order); err != nil {
			t.Fatal(err)
		}
	}
	if r.active(here["access_token"].(string)) || r.active(here["refresh_token"].(string)) {
		t.Error("a token there is active")
	}
	wantError(t, r.refresh(here["refresh_token"].(string)), 400, "invalid_grant")
	wantError(t, r.post("/token", r.redemption(r.square, code)), 400, "invalid_grant")
	if a := r.fetch("/userinfo", "Authorization", "Bearer "+here["access_token"].(string)); a.status != http.StatusUnauthorized {
		t.Errorf("userinfo: %d %s", a.status, a.body)
	}
	if _, err := r.verifier(r.square, token.TypAccess).Verify(t.Context(), here["access_token"].(string)); !errors.Is(err, token.ErrInactive) {
		t.Errorf("the status list: %v", err)
	}
	if _, err := r.verifier(r.forum, token.TypID).Verify(t.Context(), elsewhere); err != nil {
		t.Errorf("at the other platform: %v", err)
	}

	r.tell()
	told := map[string]int{}
	for _, raw := range at.came() {
		e, err := r.verifier(r.square, token.TypID).VerifyEvent(t.Context(), raw)
		if err != nil || e.Subject != pseudonym(canary, r.square.ID) {
			t.Fatalf("%+v, %v", e, err)
		}
		told[e.Type]++
	}
	if len(told) != 2 || told[token.EventSuspended] != 1 || told[token.EventSessionRevoked] != 1 {
		t.Errorf("told %v", told)
	}
	if sets, _ := r.polls(map[string]any{}); len(sets) != 0 {
		t.Errorf("the other platform hears %v", sets)
	}
	if err := r.provider.Suspend(t.Context(), pseudonym(canary, r.square.ID), r.square, "18"); err != nil {
		t.Fatal(err)
	}
	if r.tell(); len(at.came()) != 1 {
		t.Error("another order is not told")
	}
	// The order is over: nothing in here keeps the pen name from signing in again.
	if again := r.tokens(); !r.active(again["access_token"].(string)) {
		t.Error("no sign-in after the order")
	}
}

// Of two platforms of a sector, which know a person by one pen name, one is meant: the other
// keeps its sign-ins, and gets no access tokens for the first.
func TestSuspendedAtOneOfASector(t *testing.T) {
	api := openid.Platform{ID: "town-api", Name: "Town API", Sector: "town.example", Origins: []string{"https://api.town.example"}, SecretHashes: []openid.SecretHash{openid.HashSecret("api")}}
	var suspended func(name token.Pseudonym, platform string) error
	g := &registry{}
	r := newRig(t, func(r *rig) {
		r.square.Sector = api.Sector
		g.all = []openid.Platform{r.square, api}
		r.cfg.Platforms = func(_ context.Context, id string) (openid.Platform, error) {
			return g.find(func(p openid.Platform) bool { return p.ID == id })
		}
		r.cfg.Resource = func(_ context.Context, client openid.Platform, resource string) (openid.Platform, error) {
			return openid.FindResource(g.all, client, resource)
		}
		r.cfg.Suspended = func(_ context.Context, name token.Pseudonym, platform string) error { return suspended(name, platform) }
	})
	name := pseudonym(canary, r.square.ID)
	suspended = func(token.Pseudonym, string) error { return nil }
	site, forAPI := r.tokens("scope", "openid offline_access"), r.tokens("scope", "openid offline_access", "resource", api.ID)
	if err := r.provider.Suspend(t.Context(), name, api, "17"); err != nil {
		t.Fatal(err)
	}
	if !r.active(site["access_token"].(string)) {
		t.Error("the site's own sign-in ended")
	}
	if r.active(forAPI["refresh_token"].(string)) {
		t.Error("what is for the API goes on")
	}
	denied := refusal.New(refusal.Denied, "test.suspended", "wait")
	suspended = func(who token.Pseudonym, platform string) error {
		if who == name && platform == api.ID {
			return denied
		}
		return nil
	}
	refresh := site["refresh_token"].(string)
	wantError(t, r.refresh(refresh, "resource", api.ID), 400, "invalid_grant")
	wantError(t, r.post("/token", r.redemption(r.square, r.code(r.square, "resource", api.ID))), 400, "invalid_grant")
	suspended = func(token.Pseudonym, string) error { return errors.New("nobody knows") }
	wantError(t, r.refresh(refresh, "resource", api.ID), 503, "temporarily_unavailable")
	if got := r.post("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {r.square.ID}, "client_secret": {secret}}); got.status != http.StatusOK {
		t.Errorf("the site's own: %d %s", got.status, got.body)
	}
}
