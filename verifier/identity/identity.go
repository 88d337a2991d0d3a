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
// answer points to. Providers that do it in their own way have a [Preset].
//
// Not checked here, and the caller's duty: that the flow comes from the same
// browser, that an answer came to the redirect URL of the provider that gave it,
// and that an identity is not enrolled twice. That a state is used once needs a
// memory: [Provider.SingleUse].
package identity

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// Identity is what a provider vouches for about one person. Fields that were
// not requested, or not given, are empty.
type Identity struct {
	Issuer  Private // the provider's issuer identifier
	Subject Private // the provider's sub: stable, unique within Issuer

	Name      Private // full name as the provider gives it, or given and family name
	Birthdate Private // YYYY-MM-DD; the year may be 0000 (withheld), or stand alone
	Address   Private // lines separated by \n
	Email     Private // only if the provider verified it

	Claims Claims // what else it vouches for, to be told to platforms by consent

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

// personClaims are the claims of OpenID Connect Core, 5.1, that we may ask for, as
// they came: what was not asked for is dropped before anybody looks at it. A claim
// that is null counts as not given (Core, 5.3.2).
type personClaims struct {
	Name          *json.RawMessage `json:"name"`
	GivenName     *json.RawMessage `json:"given_name"`
	FamilyName    *json.RawMessage `json:"family_name"`
	Birthdate     *json.RawMessage `json:"birthdate"`
	Address       *json.RawMessage `json:"address"`
	Email         *json.RawMessage `json:"email"`
	EmailVerified *json.RawMessage `json:"email_verified"`

	vouched map[int]json.RawMessage // by ClaimSources
}

// or fills what c lacks from other. The id token, which is signed, comes first.
func (c personClaims) or(other personClaims) personClaims {
	c.Name, c.Birthdate, c.Address = cmp.Or(c.Name, other.Name), cmp.Or(c.Birthdate, other.Birthdate), cmp.Or(c.Address, other.Address)
	c.GivenName, c.FamilyName = cmp.Or(c.GivenName, other.GivenName), cmp.Or(c.FamilyName, other.FamilyName)
	if c.Email == nil { // whether it is verified goes with it
		c.Email, c.EmailVerified = other.Email, other.EmailVerified
	}
	vouched := map[int]json.RawMessage{}
	maps.Copy(vouched, other.vouched)
	maps.Copy(vouched, c.vouched)
	c.vouched = vouched
	return c
}

// named reports whether c says what somebody is called. Core, 5.1, requires no
// claim: many providers send the parts of a name alone.
func (c personClaims) named() bool {
	return c.Name != nil || c.GivenName != nil && c.FamilyName != nil
}

// lacks reports whether a claim that the scopes ask for, or a source names, is missing.
func (c personClaims) lacks(scopes map[string]bool, sources ClaimSources) bool {
	return !c.named() || c.Birthdate == nil || len(c.vouched) < len(sources.named()) ||
		(scopes["address"] && c.Address == nil) || (scopes["email"] && c.Email == nil)
}

// name is the full name, or the parts of one that came without it.
func (c personClaims) name() (string, error) {
	name, err := text(c.Name)
	if err != nil || strings.TrimSpace(name) != "" {
		return name, err
	}
	given, err1 := text(c.GivenName)
	family, err2 := text(c.FamilyName)
	if strings.TrimSpace(given) == "" || strings.TrimSpace(family) == "" {
		return "", errors.Join(err1, err2)
	}
	return given + " " + family, errors.Join(err1, err2)
}

// verifiedEmail is the address that the provider verified: one that nobody did
// would point at whoever owns it. Amazon Cognito writes "true" as text.
func (c personClaims) verifiedEmail() (string, error) {
	if c.Email == nil || c.EmailVerified == nil || !slices.Contains([]string{"true", `"true"`}, string(*c.EmailVerified)) {
		return "", nil
	}
	return text(c.Email)
}

// text is a claim that must be a JSON string; "" if it did not come.
func text(claim *json.RawMessage) (s string, err error) {
	if claim != nil && decode(*claim, &s) != nil {
		err = ErrMalformed.Because(errors.New("a claim is not text"))
	}
	return s, err
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

// lines are those of the address, separated by \n.
func (c personClaims) lines() (string, error) {
	var a address
	if c.Address == nil {
		return "", nil
	}
	if err := decode(*c.Address, &a); err != nil {
		return "", err
	}
	if a.Formatted != "" {
		return strings.ReplaceAll(a.Formatted, "\r\n", "\n"), nil // 5.1.1 allows both
	}
	var lines []string
	for _, part := range []string{a.StreetAddress, a.Locality, a.Region, a.PostalCode, a.Country} {
		if part != "" {
			lines = append(lines, part)
		}
	}
	return strings.Join(lines, "\n"), nil
}
