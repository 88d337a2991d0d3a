package token

import (
	"context"
	"errors"
	"net/http"
	neturl "net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/verifier/document"
)

const maxDiscovery = 64 << 10 // bytes

var errIssuer = errors.New("the issuer's address is https://…, or http:// with 127.0.0.1 or [::1] on this machine, not localhost")

// IssuerKeys fetches the keys of an issuer that its discovery document names (OpenID
// Connect Discovery 1.0, 4), over https or from a loopback address. A nil client is one
// with a timeout of 10 seconds. It fails with [ErrKeysUnavailable], and with [ErrBadIssuer]
// if the document is another issuer's.
func IssuerKeys(ctx context.Context, issuer string, client *http.Client) (*KeySet, error) {
	u, err := neturl.Parse(issuer)
	if err != nil || !document.Secure(u, document.Loopback) {
		return nil, ErrKeysUnavailable.Because(errIssuer)
	}
	// Discovery 4.1: "any terminating / MUST be removed before appending".
	body, err := fetch(ctx, httpClient(client, 0), strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", maxDiscovery, "application/json")
	if err != nil {
		return nil, ErrKeysUnavailable.Because(err)
	}
	var published struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if document.CheckJSON(body) != nil || json.Unmarshal(body, &published) != nil {
		return nil, ErrKeysUnavailable.Because(errors.New("the discovery document is not strict JSON"))
	}
	if published.Issuer != issuer { // Discovery 4.3: it "MUST exactly match"
		return nil, ErrBadIssuer
	}
	keys, err := HTTPKeySource(published.Keys, client, time.Now)(ctx)
	if err != nil {
		return nil, ErrKeysUnavailable.Because(err)
	}
	return keys, nil
}
