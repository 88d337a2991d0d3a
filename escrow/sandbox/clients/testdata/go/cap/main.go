// hashicorp/cap, which Vault, Boundary and Consul sign in with: its README.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"clients/app"

	"github.com/hashicorp/cap/oidc"
)

func main() {
	config, err := oidc.NewConfig(app.Issuer, app.ClientID, oidc.ClientSecret(app.ClientSecret), []oidc.Alg{oidc.RS256}, []string{app.RedirectURI})
	app.Must(err)
	provider, err := oidc.NewProvider(config)
	app.Must(err)
	var requests sync.Map // by state

	app.Handle("/login", func(w http.ResponseWriter, r *http.Request) error {
		request, err := oidc.NewRequest(2*time.Minute, app.RedirectURI)
		if err != nil {
			return err
		}
		requests.Store(request.State(), request)
		to, err := provider.AuthURL(r.Context(), request)
		http.Redirect(w, r, to, http.StatusFound)
		return err
	})
	app.Handle("/callback", func(w http.ResponseWriter, r *http.Request) error {
		request, ok := requests.LoadAndDelete(r.FormValue("state"))
		if !ok {
			return errors.New("another state")
		}
		tokens, err := provider.Exchange(r.Context(), request.(oidc.Request), r.FormValue("state"), r.FormValue("code"))
		if err != nil {
			return err
		}
		var claims struct{ Sub string }
		if err := tokens.IDToken().Claims(&claims); err != nil {
			return err
		}
		info := map[string]any{}
		if err := provider.UserInfo(context.Background(), tokens.StaticTokenSource(), claims.Sub, &info); err != nil {
			return err
		}
		fmt.Fprintf(w, "signed in as %s", info["sub"])
		return nil
	})
	app.Listen()
}
