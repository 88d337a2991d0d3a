// Package identity answers one question: is this person real? It is an OpenID
// Connect relying party that is strict about everything the specifications
// leave to the client, and that keeps no more of a person than it asked for.
//
// A sign-in is two calls. [RelyingParty.Begin] returns a [Flow], to be kept in
// an encrypted cookie of the browser, and the URL to send the browser to.
// [RelyingParty.Finish] takes the flow and the answer ([Callback]) and returns
// an [Identity] or a refusal; it stores nothing.
//
// Checked here: state, nonce, PKCE (S256, RFC 7636), the iss parameter (RFC
// 9207), signature, typ, iss, aud, azp, exp, nbf, iat, at_hash, acr, amr,
// auth_time, verified_claims, the subject of UserInfo, and where the network
// leads to. Fetched: discovery, keys, token, UserInfo; never anything that an
// answer points to.
//
// Not checked here, and the caller's duty: that the flow comes from the same
// browser, that an answer came to the redirect URL of the provider that gave it,
// and that an identity is not enrolled twice. That a state is used once needs a
// memory: [Provider.SingleUse].
package identity

import (
	"strings"
	"time"
)

// Identity is what a provider vouches for about one person. Fields that were
// not requested, or not given, are empty.
type Identity struct {
	Issuer  Private // the provider's issuer identifier
	Subject Private // the provider's sub: stable, unique within Issuer

	Name      Private // full name as the provider gives it
	Birthdate Private // YYYY-MM-DD; the year may be 0000 (withheld), or stand alone
	Address   Private // lines separated by \n
	Email     Private // only if the provider verified it

	ACR        string    // authentication context class of the sign-in
	VerifiedAt time.Time // the day (UTC, midnight) of the sign-in

	// Proven is when the person proved who they are: the provider's auth_time, by our
	// clock. Zero if it does not say; after [RelyingParty.BeginAnew] it must. It is
	// for the session alone: the moment would tell whose a row is.
	Proven time.Time
}

// Fields returns what is to be sealed, by the field names that a warrant can
// ask for: "name", "birthdate", "address", "email". Empty fields are left out.
func (i Identity) Fields() map[string][]byte {
	fields := map[string][]byte{}
	for name, value := range map[string]Private{"name": i.Name, "birthdate": i.Birthdate, "address": i.Address, "email": i.Email} {
		if value != "" {
			fields[name] = []byte(value.Reveal())
		}
	}
	return fields
}

// personClaims are the claims of OpenID Connect Core, 5.1, that we may ask for.
type personClaims struct {
	Name          *string  `json:"name"`
	Birthdate     *string  `json:"birthdate"`
	Address       *address `json:"address"`
	Email         *string  `json:"email"`
	EmailVerified *bool    `json:"email_verified"`
}

// address is OpenID Connect Core, 5.1.1.
type address struct {
	Formatted     string `json:"formatted"`
	StreetAddress string `json:"street_address"`
	Locality      string `json:"locality"`
	Region        string `json:"region"`
	PostalCode    string `json:"postal_code"`
	Country       string `json:"country"`
}

func (a *address) lines() string {
	if a == nil {
		return ""
	}
	if a.Formatted != "" {
		return strings.ReplaceAll(a.Formatted, "\r\n", "\n") // 5.1.1 allows both
	}
	var lines []string
	for _, part := range []string{a.StreetAddress, a.Locality, a.Region, a.PostalCode, a.Country} {
		if part != "" {
			lines = append(lines, part)
		}
	}
	return strings.Join(lines, "\n")
}

// or fills what c lacks from other. The id token, which is signed, comes first.
func (c personClaims) or(other personClaims) personClaims {
	if c.Name == nil {
		c.Name = other.Name
	}
	if c.Birthdate == nil {
		c.Birthdate = other.Birthdate
	}
	if c.Address == nil {
		c.Address = other.Address
	}
	if c.Email == nil {
		c.Email, c.EmailVerified = other.Email, other.EmailVerified
	}
	return c
}

// lacks reports whether a claim that the scopes ask for is missing.
func (c personClaims) lacks(scopes map[string]bool) bool {
	return c.Name == nil || c.Birthdate == nil ||
		(scopes["address"] && c.Address == nil) || (scopes["email"] && c.Email == nil)
}
