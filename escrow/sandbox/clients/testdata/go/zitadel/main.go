// zitadel/oidc: its example client "app"; PKCE sets the option of that name.
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"time"

	"clients/app"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

func main() {
	key := []byte(app.Secret)[:16]
	cookies := httphelper.NewCookieHandler(key, key, httphelper.WithUnsecure())
	options := []rp.Option{
		rp.WithCookieHandler(cookies),
		rp.WithVerifierOpts(rp.WithIssuedAtOffset(5 * time.Second)),
		rp.WithSigningAlgsFromDiscovery(),
	}
	if os.Getenv("PKCE") != "" {
		options = append(options, rp.WithPKCE(cookies))
	}
	provider, err := rp.NewRelyingPartyOIDC(context.Background(), app.Issuer, app.ClientID, app.ClientSecret, app.RedirectURI, []string{"openid", "profile", "email"}, options...)
	app.Must(err)
	http.Handle("/login", rp.AuthURLHandler(rand.Text, provider))
	show := func(w http.ResponseWriter, _ *http.Request, _ *oidc.Tokens[*oidc.IDTokenClaims], _ string, _ rp.RelyingParty, info *oidc.UserInfo) {
		fmt.Fprintf(w, "signed in as %s", info.Subject)
	}
	http.Handle("/callback", rp.CodeExchangeHandler(rp.UserinfoCallback(show), provider))
	app.Listen()
}
