// goth's provider openidConnect, as in its example.
package main

import (
	"fmt"
	"net/http"

	"clients/app"

	"github.com/gorilla/sessions"
	"github.com/markbates/goth"
	"github.com/markbates/goth/gothic"
	"github.com/markbates/goth/providers/openidConnect"
)

func main() {
	gothic.Store = sessions.NewCookieStore([]byte(app.Secret))
	provider, err := openidConnect.New(app.ClientID, app.ClientSecret, app.RedirectURI, app.Issuer+"/.well-known/openid-configuration")
	app.Must(err)
	goth.UseProviders(provider)
	http.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		gothic.BeginAuthHandler(w, gothic.GetContextWithProvider(r, "openid-connect"))
	})
	app.Handle("/callback", func(w http.ResponseWriter, r *http.Request) error {
		if r.FormValue("error") != "" {
			return fmt.Errorf("%s", r.FormValue("error_description"))
		}
		user, err := gothic.CompleteUserAuth(w, gothic.GetContextWithProvider(r, "openid-connect"))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "signed in as %s", user.UserID)
		return nil
	})
	app.Listen()
}
