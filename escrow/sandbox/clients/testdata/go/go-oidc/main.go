// x/oauth2 with go-oidc, README "Examples"; with the nonce of its example "idtoken" if NONCE
// is set.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"

	"clients/app"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

func main() {
	provider, err := oidc.NewProvider(context.Background(), app.Issuer)
	app.Must(err)
	verifier := provider.Verifier(&oidc.Config{ClientID: app.ClientID})
	config := oauth2.Config{ClientID: app.ClientID, ClientSecret: app.ClientSecret, Endpoint: provider.Endpoint(),
		RedirectURL: app.RedirectURI, Scopes: []string{oidc.ScopeOpenID, "profile", "email"}}

	app.Handle("/login", func(w http.ResponseWriter, r *http.Request) error {
		state, options := rand.Text(), []oauth2.AuthCodeOption(nil)
		app.SetCookie(w, "state", state)
		if os.Getenv("NONCE") != "" {
			nonce := rand.Text()
			app.SetCookie(w, "nonce", nonce)
			options = append(options, oidc.Nonce(nonce))
		}
		http.Redirect(w, r, config.AuthCodeURL(state, options...), http.StatusFound)
		return nil
	})
	app.Handle("/callback", func(w http.ResponseWriter, r *http.Request) error {
		if r.FormValue("error") != "" {
			return errors.New(r.FormValue("error_description"))
		}
		if r.FormValue("state") != app.Cookie(r, "state") {
			return errors.New("another state")
		}
		tokens, err := config.Exchange(r.Context(), r.FormValue("code"))
		if err != nil {
			return err
		}
		raw, _ := tokens.Extra("id_token").(string)
		id, err := verifier.Verify(r.Context(), raw)
		if err != nil {
			return err
		}
		if id.Nonce != app.Cookie(r, "nonce") {
			return errors.New("another nonce")
		}
		info, err := provider.UserInfo(r.Context(), oauth2.StaticTokenSource(tokens))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "signed in as %s", info.Subject)
		return nil
	})
	app.Listen()
}
