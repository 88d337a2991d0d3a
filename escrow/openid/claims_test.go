package openid_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/identity"
)

// month is the first day of this month.
func month() time.Time {
	now := time.Now().UTC()
	return time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// told is what a set of claims has under verified_claims, and the month.
func told(t *testing.T, claims map[string]any) (map[string]any, string) {
	t.Helper()
	var v struct {
		Verification struct {
			Framework string `json:"trust_framework"`
			Time      string `json:"time"`
		} `json:"verification"`
		Claims map[string]any `json:"claims"`
	}
	raw, err := json.Marshal(claims["verified_claims"])
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil || v.Claims != nil && v.Verification.Framework != openid.TrustFramework {
		t.Fatal(err, string(raw))
	}
	return v.Claims, v.Verification.Time
}

// Claims are told in ID token and userinfo to the platform whose registration lets it ask,
// if it asks and the person agrees, with their month; the scope says which they are.
func TestClaimsAreToldToWhoMayAsk(t *testing.T) {
	r := newRig(t)
	r.claims, r.month = identity.Claims{"true", "true", "DE", "", "School"}, month()
	all := strings.Join(identity.ClaimNames[:], " ")
	for name, c := range map[string]struct {
		platform openid.Platform
		asks     string
		granted  string
		told     map[string]any
	}{
		"one":                      {r.social, "openid age_over_18", "openid age_over_18", map[string]any{"age_over_18": true}},
		"all but what is not so":   {r.social, "openid " + all, "openid age_over_16 age_over_18 country organisation", map[string]any{"age_over_16": true, "age_over_18": true, "country": "DE", "organisation": "School"}},
		"none":                     {r.social, "openid", "openid", nil},
		"by who is not registered": {r.square, "openid " + all, "openid", nil},
	} {
		got := r.at(c.platform, "scope", c.asks)
		if got["scope"] != c.granted && !(c.granted == "openid" && got["scope"] == nil) {
			t.Errorf("%s: granted %v", name, got["scope"])
		}
		id, info := payload(t, got["id_token"].(string)), userinfo(r, got["access_token"].(string), "Bearer").json(t)
		for _, claims := range []map[string]any{id, info} {
			known, when := told(t, claims)
			if !maps.Equal(known, c.told) || known != nil && when != month().Format("2006-01")+"-01T00:00Z" {
				t.Errorf("%s: told %v at %q", name, known, when)
			}
		}
		if payload(t, got["access_token"].(string))["verified_claims"] != nil {
			t.Errorf("%s: the access token tells", name)
		}
	}
}

// After twelve months nothing is told, whatever the page gives.
func TestClaimsEndAfterTwelveMonths(t *testing.T) {
	r := newRig(t)
	r.claims = identity.Claims{"true", "true"}
	for ago, want := range map[int]bool{11: true, 12: false, 13: false} {
		r.month = month().AddDate(0, -ago, 0)
		known, _ := told(t, payload(t, r.at(r.social, "scope", "openid age_over_18")["id_token"].(string)))
		if (known != nil) != want {
			t.Errorf("%d months ago: %v", ago, known)
		}
	}
}

// Claims are registered by their names, in their order, each once.
func TestClaimsAreRegisteredByName(t *testing.T) {
	r := newRig(t)
	for _, claims := range [][]string{{"country", "age_over_18"}, {"age_over_18", "age_over_18"}, {"birthdate"}, {""}} {
		pl := r.social
		if pl.Claims = claims; pl.Check() == nil {
			t.Errorf("%q can be registered", claims)
		}
	}
	if pl := r.social; pl.Check() != nil || !slices.Equal(pl.Claims, identity.ClaimNames[:]) {
		t.Error("the social platform")
	}
}

// A page that tells a claim that nobody asked for has nobody signed in.
func TestClaimsAreAsAsked(t *testing.T) {
	r := newRig(t)
	name := pseudonym(canary, r.social.ID)
	r.badActor = &openid.Subject{Pseudonym: name, Commitment: [32]byte{1}, ACR: "high", Claims: identity.Claims{"true"}, Month: month()}
	wantPage(t, r.decide(r.open(r.request(r.social, "scope", "openid country")), "approve"), openid.ErrSubject)
}
