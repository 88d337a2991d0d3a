package openid_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/verifier/token"
)

// at signs the canary in at a platform with a secret, and returns its token response.
func (r *rig) at(pl openid.Platform, pairs ...string) map[string]any {
	r.t.Helper()
	a := r.post("/token", r.redemption(pl, r.code(pl, pairs...)))
	if a.status != http.StatusOK {
		r.t.Fatalf("no tokens: %d %s", a.status, a.body)
	}
	return a.json(r.t)
}

// named are the claims of a set that a person is called and written to by.
func named(claims map[string]any) map[string]any {
	only := map[string]any{}
	for _, name := range []string{"preferred_username", "email", "email_verified"} {
		if v, ok := claims[name]; ok {
			only[name] = v
		}
	}
	return only
}

// A handle and an address are told in ID token and userinfo to the platform that its
// registration lets ask, if it asks, and to no other; the address is never verified.
func TestHandleAndEmailAreToldToWhoMayAsk(t *testing.T) {
	r := newRig(t, func(r *rig) { r.cfg.EmailDomain = "users.penname.example" })
	handle := map[string]any{"preferred_username": string(pseudonym(canary, r.social.ID).Handle(token.MinHandle))}
	email := map[string]any{"email": string(pseudonym(canary, r.social.ID)) + "@users.penname.example", "email_verified": false}
	both := maps.Clone(handle)
	maps.Copy(both, email)
	for name, c := range map[string]struct {
		platform openid.Platform
		asks     string
		granted  string
		told     map[string]any
	}{
		"both":                     {r.social, "openid profile email", "openid profile email", both},
		"a handle":                 {r.social, "openid profile", "openid profile", handle},
		"an address":               {r.social, "openid email", "openid email", email},
		"neither":                  {r.social, "openid address phone", "openid", map[string]any{}},
		"by who is not registered": {r.square, "openid profile email", "openid", map[string]any{}},
	} {
		got := r.at(c.platform, "scope", c.asks)
		if got["scope"] != c.granted {
			t.Errorf("%s: granted %v", name, got["scope"])
		}
		if r.lastAsk.Username != strings.Contains(c.granted, "profile") || r.lastAsk.Email != strings.Contains(c.granted, "email") || r.lastAsk.Scopes != c.granted {
			t.Errorf("%s: the page was asked for %+v", name, r.lastAsk)
		}
		in := payload(t, got["id_token"].(string))
		info := userinfo(r, got["access_token"].(string), "Bearer").json(t)
		if !maps.Equal(named(in), c.told) || !maps.Equal(named(info), c.told) {
			t.Errorf("%s: ID token %v, userinfo %v, want %v", name, in, info, c.told)
		}
		if told := named(payload(t, got["access_token"].(string))); len(told) > 0 {
			t.Errorf("%s: the access token tells %v", name, told)
		}
		if _, err := r.verifier(c.platform, token.TypID).Verify(t.Context(), got["id_token"].(string)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is told is what the token was issued for, and what the registration asks for now.
func TestHandleAndEmailEndWithScopeAndRegistration(t *testing.T) {
	var asks func(openid.Platform) openid.Platform
	r := newRig(t, func(r *rig) {
		fixed := r.cfg.Platforms
		r.cfg.Platforms = func(ctx context.Context, id string) (openid.Platform, error) {
			pl, err := fixed(ctx, id)
			if asks != nil {
				pl = asks(pl)
			}
			return pl, err
		}
	})
	secretOf := []string{"client_id", r.social.ID}
	refresh := func(from map[string]any, pairs ...string) map[string]any {
		t.Helper()
		a := r.refresh(from["refresh_token"].(string), slices.Concat(secretOf, pairs)...)
		if a.status != http.StatusOK {
			t.Fatal(a.status, a.body)
		}
		return a.json(t)
	}
	told := func(got map[string]any) string {
		t.Helper()
		in, info := named(payload(t, got["id_token"].(string))), named(userinfo(r, got["access_token"].(string), "Bearer").json(t))
		if !maps.Equal(in, info) {
			t.Errorf("ID token %v, userinfo %v", in, info)
		}
		return strings.Join(slices.Sorted(maps.Keys(info)), " ")
	}
	first := r.at(r.social, "scope", "openid offline_access profile email")
	narrow := refresh(first, "scope", "openid email address")
	if got := told(narrow); got != "email email_verified" {
		t.Errorf("a token for less tells %s", got)
	}
	whole := refresh(narrow)
	if got := told(whole); got != "email email_verified preferred_username" {
		t.Errorf("a later one tells %s", got)
	}
	asks = func(pl openid.Platform) openid.Platform { pl.Username = false; return pl }
	if got := told(refresh(whole)); got != "email email_verified" {
		t.Errorf("a platform that may not ask any more is told %s", got)
	}
}

// A page that gives no handle, or one that nobody asked for, has nobody signed in.
func TestHandleIsAsAsked(t *testing.T) {
	r := newRig(t)
	name := pseudonym(canary, r.social.ID)
	r.badActor = &openid.Subject{Pseudonym: name, Commitment: [32]byte{1}, ACR: "high"}
	wantPage(t, r.decide(r.open(r.request(r.social, "scope", "openid profile")), "approve"), openid.ErrSubject)
	r.badActor.Handle = name.Handle(token.MinHandle)
	wantPage(t, r.decide(r.open(r.request(r.social)), "approve"), openid.ErrSubject)
}

func TestDiscoveryListsHandleAndEmail(t *testing.T) {
	r := newRig(t)
	doc := r.get("/.well-known/openid-configuration").json(t)
	for list, want := range map[string]string{
		"scopes_supported": "openid offline_access profile email age_over_16 age_over_18 country profession organisation",
		"claims_supported": "iss sub aud exp iat jti nonce acr auth_time penname_commitment status cnf preferred_username email email_verified verified_claims",
	} {
		var got []string
		for _, v := range doc[list].([]any) {
			got = append(got, v.(string))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s", list, got)
		}
	}
}

// Promise 1: no part of what one platform is told is in what another gets, of handle and
// address either.
func TestN01HandleAndEmailHaveNothingInCommon(t *testing.T) {
	r := newRig(t)
	all := func(pl openid.Platform) (values map[string]string, whole string) {
		got := r.at(pl, "scope", "openid profile email")
		in := payload(t, got["id_token"].(string))
		info := userinfo(r, got["access_token"].(string), "Bearer")
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		local, _, _ := strings.Cut(in["email"].(string), "@")
		return map[string]string{"sub": in["sub"].(string), "handle": in["preferred_username"].(string), "address": local}, string(b) + info.body
	}
	a, wholeA := all(r.social)
	b, wholeB := all(r.gallery)
	for _, pair := range []struct {
		of    map[string]string
		whole string
	}{{a, wholeB}, {b, wholeA}} {
		for name, v := range pair.of {
			v = strings.TrimPrefix(v, "pen1")
			for i := 0; i+6 <= len(v); i++ { // six characters are 30 bits: none by chance
				if strings.Contains(pair.whole, v[i:i+6]) {
					t.Errorf("%s: %q is in what the other platform gets", name, v[i:i+6])
				}
			}
		}
	}
	if !strings.Contains(wholeA, a["handle"]) || a["handle"] == b["handle"] {
		t.Error("control: the handle is not where it should be")
	}
}

func TestEmailDomain(t *testing.T) {
	for domain, good := range map[string]bool{
		openid.NoDomain: true, "users.penname.example": true, "a-b.c2": true,
		"example": false, "": false, "Users.example": false, "-a.example": false, "a..example": false, "a.example.": false, "10.0.0.1": false,
		"a@b.example": false, "b.example/": false, "*.example": false, strings.Repeat("a.", 110) + "example": false, strings.Repeat("a", 64) + ".example": false,
	} {
		if openid.CheckEmailDomain(domain) != good {
			t.Errorf("%q: %v", domain, !good)
		}
	}
	r := newRig(t)
	r.cfg.EmailDomain = "x"
	if _, err := openid.New(r.cfg, r.store, r.page); !errors.Is(err, openid.ErrConfig) {
		t.Errorf("taken: %v", err)
	}
}
