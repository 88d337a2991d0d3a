// posts is a platform that posts: its page posts the request to Penname, and Penname posts
// the answer back (response_mode=form_post), each to another site. The callback then goes on
// to another origin of the platform's. Sign-ins under way are in memory, since no cookie of
// the platform comes with what another site posts.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"sync"

	"clients/app"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

var page = template.Must(template.New("").Parse(`<!doctype html><title>Posts</title><form method="post" action="{{.To}}">
{{range $name, $value := .Fields}}<input type="hidden" name="{{$name}}" value="{{$value}}">{{end}}<button>Sign in by post</button></form>`))

func main() {
	provider, err := oidc.NewProvider(context.Background(), app.Issuer)
	app.Must(err)
	verifier := provider.Verifier(&oidc.Config{ClientID: app.ClientID})
	config := oauth2.Config{ClientID: app.ClientID, ClientSecret: app.ClientSecret, Endpoint: provider.Endpoint(), RedirectURL: app.RedirectURI}
	var underWay sync.Map // state to nonce

	app.Handle("/login", func(w http.ResponseWriter, r *http.Request) error {
		state, nonce := rand.Text(), rand.Text()
		underWay.Store(state, nonce)
		return page.Execute(w, map[string]any{"To": provider.Endpoint().AuthURL, "Fields": map[string]string{
			"client_id": app.ClientID, "redirect_uri": app.RedirectURI, "response_type": "code", "response_mode": "form_post", "scope": "openid", "state": state, "nonce": nonce,
		}})
	})
	app.Handle("POST /callback", func(w http.ResponseWriter, r *http.Request) error {
		nonce, known := underWay.LoadAndDelete(r.PostFormValue("state"))
		if !known || r.PostFormValue("iss") != app.Issuer || r.URL.RawQuery != "" {
			return errors.New("another answer")
		}
		tokens, err := config.Exchange(r.Context(), r.PostFormValue("code"))
		if err != nil {
			return err
		}
		raw, _ := tokens.Extra("id_token").(string)
		id, err := verifier.Verify(r.Context(), raw)
		if err != nil {
			return err
		}
		if id.Nonce != nonce {
			return errors.New("another nonce")
		}
		http.Redirect(w, r, "http://127.0.0.1:"+os.Getenv("PORT")+"/done?sub="+id.Subject, http.StatusSeeOther)
		return nil
	})
	app.Handle("/done", func(w http.ResponseWriter, r *http.Request) error {
		fmt.Fprintf(w, `<!doctype html><title>Posts</title><p id="out">signed in as %s</p>`, template.HTMLEscapeString(r.FormValue("sub")))
		return nil
	})
	app.Listen()
}
