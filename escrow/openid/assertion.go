package openid

import (
	"crypto/ed25519"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/luikyv/go-oidc/pkg/goidc"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Client assertions (OpenID Connect Core, 9: private_key_jwt). The library verifies them
// and does not say what was wrong. What is no help to who guesses a key is said here first.

var errAssertion = refusal.New(refusal.Unauthenticated, "openid.client_assertion", "The client_assertion is no JWT of one of the client's keys.")

// assertionFormat is how an assertion by the algorithm that RFC 9864 calls Ed25519 is verified.
var assertionFormat = &document.Format{
	Types: []string{"jwt", "client-authentication+jwt", ""}, MaxBytes: maxBody,
	Algorithms: append(slices.Clip(document.SignatureAlgorithms), document.Ed25519),
	Refusals:   map[document.Fault]*refusal.Error{document.Malformed: errAssertion},
}

// badAssertion is a fault of an assertion that can be named.
func badAssertion(says string) fault {
	return fault{goidc.ErrorCodeInvalidClient, "client_assertion: " + says}
}

// claimant notes the client that an assertion says it is of.
//
// FAPI 2.0, 5.3.2.1: "shall only accept its issuer identifier value … as a string in the
// aud claim". The library takes an array of one, too.
func (k checks) claimant(x *exchange, assertion string) fault {
	var c struct {
		Audience json.RawMessage `json:"aud"`
		Issuer   string          `json:"iss"`
		Subject  string          `json:"sub"`
	}
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 || !decodePart(parts[1], &c) || string(c.Audience) != quote(k.cfg.Issuer) || c.Subject != c.Issuer {
		return badAssertion("aud must be the issuer, as a text, and iss and sub the client_id.")
	}
	x.clientID = c.Issuer
	return fault{}
}

// checkAssertion looks at header and other claims of a client's assertion, and fetches the
// key that it names if the client publishes its keys.
func (k checks) checkAssertion(r *http.Request, x *exchange, pl Platform, assertion string) fault {
	var h struct {
		Algorithm jose.SignatureAlgorithm `json:"alg"`
		KeyID     string                  `json:"kid"`
	}
	var c struct {
		ID     json.RawMessage `json:"jti"`
		Expiry json.RawMessage `json:"exp"`
	}
	parts := strings.Split(assertion, ".") // three: claimant
	header := decodePart(parts[0], &h)
	_ = decodePart(parts[1], &c) // as claimant could
	expires, dated := document.NumericDate(c.Expiry)
	left := expires.Sub(k.now()).Truncate(time.Second) // as the library counts
	switch {
	case r.PostForm.Get("client_assertion_type") != string(goidc.AssertionTypeJWTBearer):
		return fault{goidc.ErrorCodeInvalidClient, "client_assertion_type must be " + string(goidc.AssertionTypeJWTBearer) + "."}
	case !header || !slices.Contains(assertionFormat.Algorithms, h.Algorithm):
		return badAssertion("alg must be EdDSA, Ed25519 or ES256.")
	case len(c.ID) == 0:
		return badAssertion("jti is missing.")
	case !dated || left < -leeway || left > proofLifetime:
		return badAssertion("exp must be in the future, five minutes at most, in seconds since 1970.")
	}
	keys, wrong := k.keysOf(r, x, pl, h.KeyID)
	if wrong != (fault{}) || h.Algorithm != document.Ed25519 {
		return wrong
	}
	return renamed(r, x, assertion, keys)
}

// keysOf are a client's keys that a kid can mean; without one they are all that it registered.
func (k checks) keysOf(r *http.Request, x *exchange, pl Platform, kid string) ([]jose.JSONWebKey, fault) {
	if pl.JWKSURI == "" {
		other := func(key jose.JSONWebKey) bool { return kid != "" && key.KeyID != kid }
		keys := slices.DeleteFunc(slices.Clone(pl.JWKS), other)
		if len(keys) == 0 && len(pl.JWKS) > 0 {
			return nil, badAssertion("its kid is that of no key that is registered for the client.")
		}
		return keys, fault{}
	}
	var key jose.JSONWebKey
	var err error
	if none := k.cfg.Aside(r.Context(), func() { key, err = k.published.key(r.Context(), pl.JWKSURI, kid) }); none != nil {
		return nil, fault{code: outageCode(r.Context(), none)}
	}
	switch {
	case errors.Is(err, document.UnknownKey):
		return nil, badAssertion("there is no key with its kid at the client's jwks_uri, as of a minute ago.")
	case err != nil:
		return nil, badAssertion("the client's keys could not be fetched: its jwks_uri must answer on the public internet, within seconds, with at most 64 keys in 64 KiB, none of them secret.")
	default:
		x.published = []jose.JSONWebKey{key}
		return x.published, fault{}
	}
}

// renamed verifies an assertion by Ed25519 (RFC 9864, 2.2), which the library knows only
// by its older name, EdDSA. In its place the library gets one with the same claims, by a
// key that this request alone has.
func renamed(r *http.Request, x *exchange, assertion string, keys []jose.JSONWebKey) fault {
	signed, err := assertionFormat.Open(assertion)
	if err != nil || !slices.ContainsFunc(keys, func(key jose.JSONWebKey) bool { return signed.Verify(key.Key) == nil }) {
		return fault{code: goidc.ErrorCodeInvalidClient}
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fault{code: outageCode(r.Context(), err)}
	}
	once := jose.JSONWebKey{Key: private, KeyID: random()}
	again, err := assertionFormat.Sign(once, signed.Payload)
	if err != nil {
		return fault{code: outageCode(r.Context(), err)}
	}
	x.published = append(x.published, once.Public())
	r.PostForm.Set("client_assertion", again)
	return fault{}
}
