package identity

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4/json"
	"golang.org/x/oauth2"

	"github.com/penname/penname/verifier/document"
)

// skew is how far the provider's clock may differ from ours, either way.
const skew = 5 * time.Minute

const (
	maxIDToken = 32 << 10 // bytes
	maxField   = 1024     // bytes of one field about a person
	maxSubject = 255      // OpenID Connect Core, 2: "MUST NOT exceed 255 ASCII characters"
)

// idClaims is the part of an id token that we read. Anything else in it, and
// with it every claim that we did not ask for, is never decoded.
type idClaims struct {
	Issuer     string           `json:"iss"`
	Subject    string           `json:"sub"`
	Audience   audience         `json:"aud"`
	Authorized *string          `json:"azp"`
	Expiry     *float64         `json:"exp"` // RFC 7519, 2: NumericDate may have a fraction
	NotBefore  *float64         `json:"nbf"`
	IssuedAt   *float64         `json:"iat"`
	AuthTime   *float64         `json:"auth_time"`
	Nonce      string           `json:"nonce"`
	ACR        string           `json:"acr"`
	AMR        []string         `json:"amr"`
	CodeHash   *string          `json:"c_hash"`
	Events     *json.RawMessage `json:"events"`
	Verified   *json.RawMessage `json:"verified_claims"`
	personClaims
}

// userInfo is the part of a UserInfo response that we read.
type userInfo struct {
	Issuer   string           `json:"iss"` // of a signed one, as Audience
	Subject  string           `json:"sub"`
	Audience audience         `json:"aud"`
	Verified *json.RawMessage `json:"verified_claims"`

	CoreIdentity *json.RawMessage `json:"https://vocab.account.gov.uk/v1/coreIdentityJWT"`
	personClaims
}

// us reports whether the audience is this client alone.
func (a audience) us(clientID string) bool { return len(a) == 1 && a[0] == clientID }

// audience is one string or an array of them (RFC 7519, 4.1.3).
type audience []string

// UnmarshalJSON implements json.Unmarshaler.
func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// decode is strict: names are case-sensitive, and a name that stands twice, or
// text that is not UTF-8, is an error (RFC 8725, 2.6 and 3.7).
func decode(payload []byte, v any) error {
	if !utf8.Valid(payload) || json.Unmarshal(payload, v) != nil {
		return ErrMalformed.Because(errors.New("claims are not one well-formed JSON object"))
	}
	return nil
}

// verifyIDToken checks raw and what it says about the sign-in f. Signature and
// form are checked by go-oidc and our keys, the claims by us: go-oidc does not
// look at nonce, azp, iat and typ, reads names without regard to case, lets
// Google leave out the scheme, and gives nbf five minutes but exp none.
func (rp *RelyingParty) verifyIDToken(ctx context.Context, f Flow, code string, token *oauth2.Token) (*idClaims, error) {
	raw, _ := token.Extra("id_token").(string)
	if raw == "" || len(raw) > maxIDToken {
		return nil, ErrMalformed.Because(errors.New("no id token, or one that is too long"))
	}
	raw, err := rp.decrypted(raw)
	if err != nil {
		return nil, err
	}
	sig := &signature{keys: rp.keys}
	checked, err := oidc.NewVerifier(rp.provider.Issuer, sig, &oidc.Config{
		ClientID:             rp.provider.ClientID,
		SupportedSigningAlgs: rp.algNames(),
		SkipExpiryCheck:      true, // checkTimes is stricter
	}).Verify(ctx, raw)
	if sig.err != nil {
		return nil, sig.err
	}
	if sig.payload == nil {
		return nil, ErrBadSignature
	}
	var c idClaims
	if err := decode(sig.payload, &c); err != nil {
		return nil, err
	}
	c.vouched = rp.provider.Claims.in(sig.payload)
	if err := rp.checkClaims(&c, sig.typ, f); err != nil {
		return nil, err
	}
	if err != nil { // what go-oidc still found: a belt to these braces
		return nil, ErrMalformed.Because(errors.New("the id token does not verify"))
	}
	// Core, 3.1.3.6 and 3.3.2.11: both hashes are optional here, and must match
	// if they are there.
	if checked.AccessTokenHash != "" && checked.VerifyAccessToken(token.AccessToken) != nil {
		return nil, ErrBadHash
	}
	if c.CodeHash != nil {
		ofCode := *checked
		ofCode.AccessTokenHash = *c.CodeHash
		if ofCode.VerifyAccessToken(code) != nil {
			return nil, ErrBadHash
		}
	}
	return &c, nil
}

// checkClaims is OpenID Connect Core, 3.1.3.7, without the signature.
func (rp *RelyingParty) checkClaims(c *idClaims, typ string, f Flow) error {
	// RFC 8725, 3.11 and 3.12. A logout token (Back-Channel Logout, 2.4) and a
	// security event token have events, an id token never.
	if (typ != "" && !strings.EqualFold(typ, "JWT")) || c.Events != nil {
		return ErrWrongType
	}
	if c.Issuer != rp.provider.Issuer {
		return ErrBadIssuer
	}
	// 3: "The ID Token MUST be rejected … if it contains additional audiences
	// not trusted by the Client." We trust none. 4 and 5: azp, if present, is us.
	if !c.Audience.us(rp.provider.ClientID) || (c.Authorized != nil && *c.Authorized != rp.provider.ClientID) {
		return ErrBadAudience
	}
	if c.Subject == "" || c.IssuedAt == nil || c.Expiry == nil {
		return ErrMissingClaim
	}
	if len(c.Subject) > maxSubject || strings.ContainsFunc(c.Subject, func(r rune) bool { return r > unicode.MaxASCII || unicode.IsControl(r) }) {
		return ErrMalformed.Because(errors.New("sub is not 255 ASCII characters"))
	}
	if err := rp.checkTimes(c, f); err != nil {
		return err
	}
	if !same(f.Nonce, c.Nonce) {
		return ErrBadNonce
	}
	if f.Fresh {
		// The provider's clock on one side, ours on the other: so they need not agree.
		if age, ok := c.proofAge(); !ok || age < -skew || age > rp.now().Sub(f.Started)+time.Second {
			return ErrNotFresh
		}
	}
	return rp.checkAssurance(c)
}

// proofAge is how long before it issued the token the provider says that the person
// authenticated; false if it does not say.
func (c *idClaims) proofAge() (time.Duration, bool) {
	at, ok1 := instant(c.AuthTime)
	issued, ok2 := instant(c.IssuedAt)
	return issued.Sub(at), ok1 && ok2
}

// checkTimes requires a token that is valid now and was made for this flow.
func (rp *RelyingParty) checkTimes(c *idClaims, f Flow) error {
	issued, ok := instant(c.IssuedAt)
	if !ok || issued.After(rp.now().Add(skew)) || issued.Before(f.Started.Add(-skew)) {
		return ErrBadTime
	}
	return rp.checkPeriod(c.Expiry, c.NotBefore)
}

// checkPeriod requires that now lies before exp and, if it is there, after nbf.
func (rp *RelyingParty) checkPeriod(exp, nbf *float64) error {
	if expiry, ok := instant(exp); !ok || !rp.now().Before(expiry.Add(skew)) {
		return ErrBadTime
	}
	if nbf != nil {
		if from, ok := instant(nbf); !ok || from.After(rp.now().Add(skew)) {
			return ErrBadTime
		}
	}
	return nil
}

// checkAssurance compares how the person was authenticated with our policy.
func (rp *RelyingParty) checkAssurance(c *idClaims) error {
	p := rp.provider
	if rp.core == nil && len(p.ACRValues) > 0 && !slices.Contains(p.ACRValues, c.ACR) {
		return ErrAssurance.Because(errors.New("acr"))
	}
	for _, method := range p.AMRValues {
		if !slices.Contains(c.AMR, method) {
			return ErrAssurance.Because(errors.New("amr"))
		}
	}
	// Core, 2: "When a max_age request is made … auth_time is REQUIRED."
	if p.MaxAge > 0 {
		at, ok := instant(c.AuthTime)
		if now := rp.now(); !ok || at.After(now.Add(skew)) || now.Sub(at) > p.MaxAge+skew {
			return ErrAssurance.Because(errors.New("auth_time"))
		}
	}
	return nil
}

// instant converts a NumericDate between 1970 and about 10,000.
func instant(seconds *float64) (time.Time, bool) {
	if seconds == nil || !(*seconds > 0 && *seconds < 253402300800) {
		return time.Time{}, false
	}
	return time.Unix(int64(*seconds), 0), true
}

// verifiedClaims is one element of OpenID Connect for Identity Assurance,
// section 5: claims, and the trust framework under which they were verified.
type verifiedClaims struct {
	Verification struct {
		TrustFramework string `json:"trust_framework"`
	} `json:"verification"`
	Claims json.RawMessage `json:"claims"`
}

// underFramework returns the claims in raw, one object or an array of them,
// that a trusted framework verified.
func (rp *RelyingParty) underFramework(raw *json.RawMessage) (personClaims, error) {
	var found personClaims
	if raw == nil {
		return found, nil
	}
	var list []verifiedClaims
	if err := decode(*raw, &list); err != nil {
		list = make([]verifiedClaims, 1)
		if err := decode(*raw, &list[0]); err != nil {
			return found, err
		}
	}
	for _, v := range list {
		if !slices.Contains(rp.provider.TrustFrameworks, v.Verification.TrustFramework) {
			continue
		}
		var claims personClaims
		if err := decode(v.Claims, &claims); v.Claims != nil && err != nil {
			return found, err
		}
		claims.vouched = rp.provider.Claims.in(v.Claims)
		found = found.or(claims)
	}
	return found, nil
}

// checkField bounds what will be sealed and shown: short lines of text as people
// write it, in any script.
func checkField(value string) error {
	if len(value) > maxField || strings.ContainsFunc(value, func(r rune) bool { return r != '\n' && unicode.IsControl(r) }) {
		return errField
	}
	for line := range strings.SplitSeq(value, "\n") {
		if line != "" && !document.Written(line) {
			return errField
		}
	}
	return nil
}

var errField = ErrMalformed.Because(errors.New("a field is too long or not printable"))
