package openid

import (
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/verifier/identity"
)

// TrustFramework is the trust_framework of what is told in verified_claims: an identity
// provider vouched for it here, and the person lets the platform know.
const TrustFramework = "penname"

// verifiedClaims are what a person lets the platform know, as OpenID Connect for Identity
// Assurance 1.0, 5, has it; nil if it is nothing, or was true too long ago. time is
// "when the identity verification process took place": the first day of the month, since
// nothing finer is known.
func (p *Provider) verifiedClaims(s Subject, scopes string) map[string]any {
	claims, asked := map[string]any{}, identity.ClaimsNamed(strings.Fields(scopes)...)
	for at, name := range identity.ClaimNames {
		if (asked & s.Claims.Known()).Has(at) {
			claims[name] = s.Claims.Wire(at)
		}
	}
	if len(claims) == 0 || !p.now().Before(s.Month.AddDate(1, 0, 0)) {
		return nil
	}
	return map[string]any{
		"verification": map[string]any{"trust_framework": TrustFramework, "time": s.Month.UTC().Format("2006-01-02T15:04Z")},
		"claims":       claims,
	}
}

// withoutClaims is what is granted of scopes where the person does not tell a set of claims.
func withoutClaims(scopes string, untold identity.ClaimSet) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(scopes), func(s string) bool { return identity.ClaimsNamed(s)&untold != 0 }), " ")
}

// heldClaims is how the row of a grant keeps what the person lets the platform know:
// encrypted under the grant's id, which is in no row, and in the code and the tokens of
// that platform alone. As good as all have one length.
type heldClaims struct {
	Month  int64                            `json:"m"`
	Claims [len(identity.ClaimNames)]string `json:"c"`
}

const (
	claimsPurpose = "penname grant, claims"
	claimsBlock   = 1024 // bytes, to which the JSON is padded
)

// sealClaims encrypts a subject's claims for the grant with that id; nil if there are none.
func sealClaims(grant string, s Subject) ([]byte, error) {
	if s.Claims.Known() == 0 {
		return nil, nil
	}
	h := heldClaims{Month: s.Month.Unix()}
	for at, value := range s.Claims {
		h.Claims[at] = value.Reveal()
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	for len(text)%claimsBlock != 0 {
		text = append(text, ' ')
	}
	sealer, err := sealerOf(claimsPurpose, grant)
	if err != nil {
		return nil, err
	}
	return sealer.Seal(nil, nil, text, nil), nil
}

// openClaims adds to a subject what sealClaims encrypted; nothing if it does not open.
func openClaims(grant string, sealed []byte, s *Subject) {
	if len(sealed) == 0 {
		return
	}
	var h heldClaims
	sealer, err := sealerOf(claimsPurpose, grant)
	if err != nil {
		return
	}
	text, err := sealer.Open(nil, nil, sealed, nil)
	if err != nil || json.Unmarshal(text, &h) != nil {
		return
	}
	s.Month = time.Unix(h.Month, 0).UTC()
	for at, value := range h.Claims {
		s.Claims[at] = identity.Private(value)
	}
}
