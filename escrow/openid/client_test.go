package openid_test

import (
	"net/url"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/penname/penname/verifier/token"
)

// An off-the-shelf relying party works unchanged, and what it receives is what
// verifier/token verifies offline.
func TestOffTheShelfClient(t *testing.T) {
	r := newRig(t)
	ctx := oidc.ClientContext(t.Context(), r.client)
	op, err := oidc.NewProvider(ctx, r.issuer)
	if err != nil {
		t.Fatal(err)
	}
	conf := oauth2.Config{
		ClientID: r.square.ID, ClientSecret: secret, RedirectURL: r.square.RedirectURIs[0],
		Endpoint: op.Endpoint(), Scopes: []string{oidc.ScopeOpenID, oidc.ScopeOfflineAccess},
	}
	pkce := oauth2.GenerateVerifier()
	authURL := conf.AuthCodeURL("state-1", oidc.Nonce("nonce-1"), oauth2.S256ChallengeOption(pkce))
	at, err := url.Parse(authURL)
	if err != nil {
		t.Fatal(err)
	}
	action := r.open(at.Query())
	back := r.decide(action, "approve").redirected(t)
	if back.Get("state") != "state-1" || back.Get("iss") != r.issuer {
		t.Fatalf("authorization response: %v", back)
	}

	got, err := conf.Exchange(ctx, back.Get("code"), oauth2.VerifierOption(pkce))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := got.Extra("id_token").(string)
	idToken, err := op.Verifier(&oidc.Config{ClientID: r.square.ID}).Verify(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	want := pseudonym(canary, r.square.ID)
	if idToken.Subject != string(want) || idToken.Nonce != "nonce-1" {
		t.Fatalf("ID token: %+v", idToken)
	}
	offline, err := r.verifier(r.square, token.TypID).Verify(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	if offline.Subject != want || offline.ACR != "high" || offline.Nonce != "nonce-1" || offline.StatusURI != r.issuer+"/status/0" ||
		offline.Commitment != token.Commit(want, "label", [32]byte{1}) {
		t.Fatalf("verified offline: %+v", offline)
	}
	access, err := r.verifier(r.square, token.TypAccess).Verify(ctx, got.AccessToken)
	if err != nil || access.Subject != want || access.ID == offline.ID || access.StatusIndex == offline.StatusIndex {
		t.Fatalf("access token: %+v, %v", access, err)
	}

	info, err := op.UserInfo(ctx, conf.TokenSource(ctx, got))
	if err != nil || info.Subject != string(want) {
		t.Fatalf("userinfo: %+v, %v", info, err)
	}
	var all map[string]any
	if err := info.Claims(&all); err != nil || len(all) != 1 {
		t.Fatalf("userinfo tells more than sub: %v", all)
	}

	next, err := conf.TokenSource(ctx, &oauth2.Token{RefreshToken: got.RefreshToken}).Token()
	if err != nil {
		t.Fatal(err)
	}
	if next.RefreshToken == got.RefreshToken || next.AccessToken == got.AccessToken {
		t.Fatal("the refresh token was not rotated")
	}
	renewed, err := r.verifier(r.square, token.TypID).Verify(ctx, next.Extra("id_token").(string))
	if err != nil || renewed.Subject != want || renewed.Nonce != "" {
		t.Fatalf("renewed ID token: %+v, %v", renewed, err)
	}
}

// Some clients add a parameter of their own to the address of an endpoint. RFC 6749, 3.2: it
// "MUST" be ignored. What is used, and could be a secret, is refused there.
func TestParametersInTheAddress(t *testing.T) {
	r := newRig(t)
	code := r.code(r.square)
	for _, query := range []string{"?code=" + code, "?client_secret=x", "?access_token=x", "?schema=openid&token=x", "?schema=%zz"} {
		wantError(t, r.post("/token"+query, r.redemption(r.square, code)), 400, "invalid_request")
		wantError(t, r.fetch("/userinfo"+query), 400, "invalid_request")
	}
	got := r.post("/token?schema=openid", r.redemption(r.square, code)).json(t)
	access, _ := got["access_token"].(string)
	if info := r.fetch("/userinfo?schema=openid", "Authorization", "Bearer "+access).json(t); info["sub"] != string(pseudonym(canary, r.square.ID)) {
		t.Error(got, info)
	}
}
