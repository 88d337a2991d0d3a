package token

import (
	"crypto/rand"
	"crypto/sha256"
	_ "crypto/sha256" // for crypto.SHA256 in thumbprints
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/verifier/document"
)

// DefaultProofMaxAge is how old a DPoP proof may be, or how far in the future,
// if nothing else is said. RFC 9449, section 11.1: "seconds or minutes".
const DefaultProofMaxAge = time.Minute

// DPoPWant is the request that a proof must be for.
type DPoPWant struct {
	Method      string        // as in the request line: "GET"
	URL         string        // absolute, as the client spells it; query and fragment are ignored
	AccessToken string        // as presented; "" at a token endpoint, where there is none yet
	JKT         string        // the thumbprint that the token or code is bound to; "" to accept any key
	Nonce       string        // the nonce handed out last; "" if none is asked for
	Now         time.Time     // required
	MaxAge      time.Duration // DefaultProofMaxAge if zero
}

// DPoPProof is a verified proof.
type DPoPProof struct {
	JKT      string    // RFC 7638 SHA-256 thumbprint of the key, base64url
	ID       string    // jti. Not checked for replay: use it once, with a ReplayGuard, until IssuedAt + MaxAge
	IssuedAt time.Time // UTC, whole seconds
}

// proof is the payload of a proof (RFC 9449, section 4.2).
type proof struct {
	JTI   string `json:"jti"`
	HTM   string `json:"htm"`
	HTU   string `json:"htu"`
	IAT   int64  `json:"iat"`
	ATH   string `json:"ath,omitempty"`
	Nonce string `json:"nonce,omitempty"`
}

// SignDPoP makes a proof (RFC 9449, section 4.2) with a private key for one
// request. accessToken and nonce are "" where there is none. The header holds the
// public key and nothing else of the JWK.
func SignDPoP(key jose.JSONWebKey, method, url, accessToken, nonce string, now time.Time) (string, error) {
	var id [16]byte
	rand.Read(id[:]) // never fails
	htu, _, _ := strings.Cut(url, "#")
	htu, _, _ = strings.Cut(htu, "?")
	p := proof{JTI: base64.RawURLEncoding.EncodeToString(id[:]), HTM: method, HTU: htu, IAT: now.Unix(), Nonce: nonce}
	if accessToken != "" {
		p.ATH = tokenHash(accessToken)
	}
	payload, err := json.Marshal(p)
	if err != nil {
		return "", ErrCannotSign.Because(err)
	}
	return proofFormat.Sign(key, payload)
}

// VerifyDPoP checks a proof by the twelve steps of RFC 9449, section 4.3, but for
// the replay of its jti, which is the caller's.
func VerifyDPoP(proof string, want DPoPWant) (*DPoPProof, error) {
	var nonces []string
	if want.Nonce != "" {
		nonces = []string{want.Nonce}
	}
	return verifyDPoP(proof, want, nonces)
}

// verifyDPoP is VerifyDPoP with any of several nonces; none asks for none.
func verifyDPoP(raw string, want DPoPWant, nonces []string) (*DPoPProof, error) {
	p, got, err := openDPoP(raw)
	if err != nil {
		return nil, err
	}
	if want.MaxAge == 0 {
		want.MaxAge = DefaultProofMaxAge
	}
	if p.HTM != want.Method { // step 8
		return nil, ErrProofMethod
	}
	if !sameURL(p.HTU, want.URL) { // step 9
		return nil, ErrProofURL
	}
	hasNonce := func(nonce string) bool { return subtle.ConstantTimeCompare([]byte(nonce), []byte(p.Nonce)) == 1 }
	if len(nonces) > 0 && !slices.ContainsFunc(nonces, hasNonce) { // step 10
		return nil, ErrProofNonce
	}
	if got.IssuedAt.Before(want.Now.Add(-want.MaxAge)) || got.IssuedAt.After(want.Now.Add(want.MaxAge)) { // step 11
		return nil, ErrProofIat
	}
	if err := p.isFor(want.AccessToken, want.JKT, got.JKT); err != nil {
		return nil, err
	}
	return got, nil
}

// isFor checks step 12: the proof hashes the token, and its key is the bound one.
func (p *proof) isFor(accessToken, boundTo, jkt string) error {
	if accessToken != "" && subtle.ConstantTimeCompare([]byte(p.ATH), []byte(tokenHash(accessToken))) != 1 {
		return ErrProofAth
	}
	if boundTo != "" && boundTo != jkt {
		return ErrProofOtherKey
	}
	return nil
}

// openDPoP does steps 2 to 7: everything that does not depend on the request.
func openDPoP(raw string) (*proof, *DPoPProof, error) {
	signed, err := proofFormat.Open(raw)
	if err != nil {
		return nil, nil, err
	}
	// Private and symmetric keys (step 7), small and false points are refused.
	key, err := signed.VerifyEmbedded()
	if err != nil {
		return nil, nil, err
	}
	p, err := parseProof(signed.Payload)
	if err != nil {
		return nil, nil, err
	}
	thumbprint, err := key.Thumbprint()
	if err != nil {
		return nil, nil, ErrProofKey
	}
	return p, &DPoPProof{
		JKT:      thumbprint,
		ID:       p.JTI,
		IssuedAt: time.Unix(p.IAT, 0).UTC(),
	}, nil
}

// parseProof reads a payload. Other claims are allowed (RFC 9449, 4.2: "MAY contain other JOSE Header Parameters or claims").
func parseProof(payload []byte) (*proof, error) {
	var c struct {
		JTI   *string         `json:"jti"`
		HTM   *string         `json:"htm"`
		HTU   *string         `json:"htu"`
		IAT   json.RawMessage `json:"iat"`
		ATH   string          `json:"ath"`
		Nonce string          `json:"nonce"`
	}
	if err := proofFormat.Read(payload, &c, nil); err != nil {
		return nil, err
	}
	switch {
	case c.JTI == nil || *c.JTI == "" || len(*c.JTI) > 256:
		return nil, ErrProofID
	case c.HTM == nil:
		return nil, ErrProofMethod
	case c.HTU == nil:
		return nil, ErrProofURL
	}
	iat, ok := document.NumericDate(c.IAT)
	if !ok {
		return nil, ErrProofIat
	}
	return &proof{JTI: *c.JTI, HTM: *c.HTM, HTU: *c.HTU, IAT: iat.Unix(), ATH: c.ATH, Nonce: c.Nonce}, nil
}

// tokenHash is ath: "The value MUST be the result of a base64url encoding … the
// SHA-256 hash of the ASCII encoding of the associated access token's value."
func tokenHash(accessToken string) string {
	sum := sha256.Sum256([]byte(accessToken))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// sameURL compares two URLs as step 9 says: "ignoring any query and fragment
// parts", after normalisation by syntax and scheme (RFC 3986, 6.2.2 and 6.2.3).
func sameURL(a, b string) bool {
	na, okA := normalURL(a)
	nb, okB := normalURL(b)
	return okA && okB && na == nb
}

func normalURL(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil {
		return "", false
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	default:
		return "", false
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return scheme + "://" + strings.TrimSuffix(host, ":") + path, true
}
