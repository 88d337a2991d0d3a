package identity

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"golang.org/x/oauth2"
)

// peculiarities is what a provider does in a way of its own, by its documentation.
type peculiarities struct {
	// unannouncedPKCE: its documentation does not say that it heeds a code challenge.
	// The challenge is sent; what binds the code to the browser is then the nonce, and
	// to us the client's authentication.
	unannouncedPKCE bool
	// coreIdentity: who the person is stands in a token of its own at UserInfo, under
	// other keys, see corePerson. ACRValues are then levels of identity confidence.
	coreIdentity bool
}

// presets are the providers that have a name in the configuration.
var presets = map[string]Provider{
	// GOV.UK One Login, https://docs.sign-in.service.gov.uk/how-gov-uk-one-login-works.
	// Its integration environment has the issuer https://oidc.integration.account.gov.uk/.
	"gov-uk-one-login": {
		Issuer: "https://oidc.account.gov.uk/", Scopes: []string{}, ACRValues: []string{"P2"},
		own: peculiarities{unannouncedPKCE: true, coreIdentity: true},
	},
	// FranceConnect+, the part of FranceConnect v2 that gives the levels substantial
	// and high, https://docs.partenaires.franceconnect.gouv.fr/fs/fs-technique/fs-technique-endpoints/.
	// Its integration environment has the issuer https://auth.integ01.dev-franceconnect.fr/api/v2.
	"franceconnect": {
		Issuer: "https://auth.franceconnect.gouv.fr/api/v2", Scopes: []string{"given_name", "family_name", "birthdate"},
		ACRValues: []string{"eidas2", "eidas3"}, SignedUserInfo: true,
		own: peculiarities{unannouncedPKCE: true},
	},
}

// Preset returns what is known of a provider by its name, to be completed with what
// the provider gave us: client id, secret or keys, redirect URL. The names are
// "gov-uk-one-login" and "franceconnect".
//
//	gov-uk-one-login  needs ClientKey (RS256 or PS256). It is asked for the vector of
//	                  trust Cl.Cm.P2 and for the core identity alone, which is checked:
//	                  signature by the keys of its DID document, iss, aud, sub, exp, and
//	                  that its vot is one of ACRValues. Not asked for: an address, which
//	                  it has in a form of its own, and the request as a signed object,
//	                  which it recommends.
//	franceconnect     needs ClientSecret and DecryptionKey, whose public half the operator
//	                  publishes where FranceConnect was told. UserInfo and the id token come
//	                  encrypted and signed.
func Preset(name string) (Provider, bool) {
	p, ok := presets[name]
	p.Scopes, p.ACRValues = slices.Clone(p.Scopes), slices.Clone(p.ACRValues)
	return p, ok
}

// Presets are the names that [Preset] knows, in order.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

const coreIdentityClaim = "https://vocab.account.gov.uk/v1/coreIdentityJWT"

// trustRequest is the parameter vtr (RFC 8485, 4.1): each level of confidence in who
// it is, with two factors of authentication.
func (rp *RelyingParty) trustRequest() string {
	var vectors []string
	for _, level := range rp.provider.ACRValues {
		vectors = append(vectors, "Cl.Cm."+level)
	}
	request, err := json.Marshal(vectors)
	if err != nil {
		panic(err) // strings always encode
	}
	return string(request)
}

// coreIssuer is who signs core identities: identity.… beside oidc.….
func (p Provider) coreIssuer() string { return strings.Replace(p.Issuer, "//oidc.", "//identity.", 1) }

// coreKeys are the keys of the DID document (Decentralized Identifiers 1.0, 5.3.2) of
// the core issuer, which did:web puts at a fixed place.
func (rp *RelyingParty) coreKeys() *keySet {
	return &keySet{
		url:   strings.TrimSuffix(rp.provider.coreIssuer(), "/") + "/.well-known/did.json",
		parse: func(body []byte) ([]jose.JSONWebKey, error) { return parseDID(rp.provider.coreIssuer(), body) },
		algs:  []jose.SignatureAlgorithm{jose.ES256}, client: rp.client, now: rp.now,
	}
}

func parseDID(issuer string, body []byte) ([]jose.JSONWebKey, error) {
	var d struct {
		ID      string `json:"id"`
		Methods []struct {
			ID         string          `json:"id"`
			Controller string          `json:"controller"`
			Key        json.RawMessage `json:"publicKeyJwk"`
		} `json:"assertionMethod"`
	}
	u, err := url.Parse(issuer)
	if err != nil || decode(body, &d) != nil || d.ID != "did:web:"+strings.ReplaceAll(u.Host, ":", "%3A") {
		return nil, ErrBadDiscovery.Because(errors.New("the DID document is not that of the core identity's issuer"))
	}
	if len(d.Methods) > maxKeys {
		return nil, ErrTooLarge
	}
	var keys []jose.JSONWebKey
	for _, m := range d.Methods {
		var k jose.JSONWebKey
		if m.Controller != d.ID || k.UnmarshalJSON(m.Key) != nil || !k.IsPublic() {
			continue
		}
		k.KeyID = m.ID
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, ErrBadDiscovery.Because(errors.New("the DID document holds no usable key"))
	}
	return keys, nil
}

// coreIdentity is the payload of the token.
type coreIdentity struct {
	Issuer     string   `json:"iss"`
	Subject    string   `json:"sub"`
	Audience   audience `json:"aud"`
	Expiry     *float64 `json:"exp"`
	NotBefore  *float64 `json:"nbf"`
	Level      string   `json:"vot"` // RFC 8485, 5.1
	Credential struct {
		Subject struct {
			Names []struct {
				Until *string `json:"validUntil"` // nil or empty: the name that is borne now
				Parts []struct {
					Type  string `json:"type"`
					Value string `json:"value"`
				} `json:"nameParts"`
			} `json:"name"`
			Born []struct { // the one believed most comes first
				Value string `json:"value"`
			} `json:"birthDate"`
		} `json:"credentialSubject"`
	} `json:"vc"`
}

// corePerson asks UserInfo for the core identity and verifies it. Whoever could not
// prove who they are comes without one.
func (rp *RelyingParty) corePerson(ctx context.Context, c *idClaims, tokens *oauth2.Token) (personClaims, string, error) {
	info, err := rp.userInfo(ctx, c.Subject, tokens)
	if err != nil {
		return personClaims{}, "", err
	}
	raw, err := text(info.CoreIdentity)
	if err != nil {
		return personClaims{}, "", err
	}
	if raw == "" {
		return personClaims{}, "", ErrAssurance.Because(errors.New("no core identity"))
	}
	payload, typ, err := rp.signed(ctx, rp.core, raw)
	if err != nil {
		return personClaims{}, "", err
	}
	var core coreIdentity
	if err := decode(payload, &core); err != nil {
		return personClaims{}, "", err
	}
	switch {
	case typ != "" && !strings.EqualFold(typ, "JWT"):
		return personClaims{}, "", ErrWrongType
	case core.Issuer != rp.provider.coreIssuer():
		return personClaims{}, "", ErrBadIssuer
	case !core.Audience.us(rp.provider.ClientID):
		return personClaims{}, "", ErrBadAudience
	case core.Subject != c.Subject:
		return personClaims{}, "", ErrSubMismatch
	case !slices.Contains(rp.provider.ACRValues, core.Level):
		return personClaims{}, "", ErrAssurance.Because(errors.New("vot"))
	}
	if err := rp.checkPeriod(core.Expiry, core.NotBefore); err != nil {
		return personClaims{}, "", err
	}
	person, err := core.claims()
	return person, core.Level, err
}

// claims are the name that is borne now, given names first, and the birth date.
func (c coreIdentity) claims() (p personClaims, err error) {
	for _, n := range c.Credential.Subject.Names {
		if n.Until != nil && *n.Until != "" {
			continue
		}
		parts := map[string][]string{}
		for _, part := range n.Parts {
			parts[part.Type] = append(parts[part.Type], part.Value)
		}
		p.Name, err = claim(strings.Join(slices.Concat(parts["GivenName"], parts["FamilyName"]), " "))
		break
	}
	if born := c.Credential.Subject.Born; err == nil && len(born) > 0 {
		p.Birthdate, err = claim(born[0].Value)
	}
	return p, err
}

func claim(s string) (*json.RawMessage, error) {
	b, err := json.Marshal(s)
	raw := json.RawMessage(b)
	return &raw, err
}
