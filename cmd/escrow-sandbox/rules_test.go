package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/policy"
)

// newRules installs rules that follow those in force, with a change, and returns
// their hash.
func newRules(t *testing.T, tb *world.World, change func(*policy.Bundle)) string {
	t.Helper()
	before, err := os.ReadFile(tb.Path("bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	inForce, err := policy.ParseBundle(before)
	if err != nil {
		t.Fatal(err)
	}
	var draft policy.Bundle
	if err := json.Unmarshal(before, &draft); err != nil {
		t.Fatal(err)
	}
	draft.Succeed(inForce)
	change(&draft)
	raw, err := draft.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tb.Path("bundle.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tb.InstallBundle(t.Context(), raw); err != nil {
		t.Fatal(err)
	}
	b, err := policy.ParseBundle(raw)
	if err != nil {
		t.Fatal(err)
	}
	return b.Hash()
}

// TestFoundA1SidesFollowTheLog: a running service takes rules that came into force,
// without a restart, and does nothing when it cannot tell which are.
func TestFoundA1SidesFollowTheLog(t *testing.T) {
	tb := startForTest(t)
	home := func() answer { t.Helper(); return send(t, http.MethodGet, tb.Origin+"/", "", "") }
	if a := home(); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "Bar Association") {
		t.Fatal(a.StatusCode, a.body)
	}
	newRules(t, tb, func(b *policy.Bundle) { b.Custodians[0].Organisation = "Bar Council" })
	if err := tb.Service.ServeCases(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := tb.Service.FollowRules(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := home(); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "Bar Council") {
		t.Fatal("the older rules are shown", a.StatusCode, a.body)
	}
	// Who discloses publishes by itself what the database has.
	newRules(t, tb, func(b *policy.Bundle) { b.Custodians[0].Organisation = "Bar Board" })
	if err := tb.Service.FollowRules(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := tb.Service.FollowRules(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := home(); !strings.Contains(a.body, "Bar Board") {
		t.Fatal("the older rules are shown", a.body)
	}
	// No witness cosigns any more: for ten minutes it goes on, then it stops.
	for _, w := range tb.Witnesses {
		w.Down.Store(true)
	}
	tb.Clock.Advance(9 * time.Minute)
	if a := home(); a.StatusCode != http.StatusOK {
		t.Error(a.StatusCode)
	}
	tb.Clock.Advance(2 * time.Minute)
	for name, a := range map[string]answer{
		"the first page": home(),
		"an enrolment":   send(t, http.MethodPost, tb.Origin+"/enrol", "application/x-www-form-urlencoded", "provider=", func(r *http.Request) { r.Header.Set("Origin", tb.Origin) }),
		"a warrant":      send(t, http.MethodPost, tb.Origin+registrar.PathWarrants, "application/json", `{"warrant":"x","evidence":[]}`),
	} {
		if a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(a.body, "rules.unknown") && !strings.Contains(a.body, "which rules are in force") {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
	if a := send(t, http.MethodGet, tb.Origin+"/healthz", "", ""); a.StatusCode >= 300 {
		t.Error("the process is called dead:", a.StatusCode)
	}
	// They are back: the next request looks, and goes on.
	for _, w := range tb.Witnesses {
		w.Down.Store(false)
	}
	tb.Clock.Advance(time.Minute)
	if a := home(); a.StatusCode != http.StatusOK {
		t.Error(a.StatusCode, a.body)
	}
}

// TestRequestsAfterSleep: the first requests after a machine slept wait for one look
// at the log, and none of them is refused.
func TestRequestsAfterSleep(t *testing.T) {
	tb := startForTest(t)
	for range 3 {
		tb.Clock.Advance(11 * time.Minute)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if a := send(t, http.MethodGet, tb.Origin+"/", "", ""); a.StatusCode != http.StatusOK {
					t.Error(a.StatusCode, a.body)
				}
			})
		}
		all.Wait()
	}
}

// TestBundlesByHash: every bundle that was ever in force, byte for byte, for ever.
func TestBundlesByHash(t *testing.T) {
	tb := startForTest(t)
	first, err := os.ReadFile(tb.Path("bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	hash := tb.Service.Bundle.Hash()
	newRules(t, tb, func(b *policy.Bundle) { b.MaxTargets-- })
	address := tb.Origin + registrar.Fill(registrar.PathBundles, hash)
	a := send(t, http.MethodGet, address, "", "")
	if a.StatusCode != http.StatusOK || a.body != string(first) || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") || a.Header.Get("ETag") != `"`+hash+`"` {
		t.Error(a.StatusCode, a.Header)
	}
	if a := send(t, http.MethodGet, address, "", "", func(r *http.Request) { r.Header.Set("If-None-Match", `"`+hash+`"`) }); a.StatusCode != http.StatusNotModified {
		t.Error(a.StatusCode)
	}
	var e registrar.Endorsements
	a = send(t, http.MethodGet, tb.Origin+registrar.Fill(registrar.PathEndorsed, hash), "", "")
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		t.Fatal(err, a.body)
	}
	if err := tb.Service.Bundle.Follows(nil, e.Endorsements); err != nil {
		t.Error(err)
	}
	for _, unknown := range []string{strings.Repeat("0", 64), "x", hash[:63]} {
		if a := send(t, http.MethodGet, tb.Origin+registrar.Fill(registrar.PathBundles, unknown), "", ""); a.StatusCode != http.StatusNotFound || a.code(t) != "bundle.unknown" {
			t.Error(a.StatusCode, a.body)
		}
	}
}
