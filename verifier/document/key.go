package document

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"

	"github.com/go-jose/go-jose/v4"
)

// NewKey makes an Ed25519 signing key whose kid is its thumbprint (RFC 7638).
func NewKey() (jose.JSONWebKey, error) { return NewKeyFor(jose.EdDSA) }

// rsaBits is the size of new RSA keys. NIST SP 800-57 part 1, table 2: 112 bits of
// security, which is enough for tokens that live for minutes and a case of some years.
const rsaBits = 2048

// NewKeyFor makes a signing key for one of [IDTokenAlgorithms], whose kid is its
// thumbprint (RFC 7638).
func NewKeyFor(alg jose.SignatureAlgorithm) (jose.JSONWebKey, error) {
	var private any
	var err error
	switch alg {
	case jose.EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case jose.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.RS256:
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	default:
		err = AlgNotAllowed
	}
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	k := jose.JSONWebKey{Key: private, Algorithm: string(alg), Use: "sig"}
	sum, err := k.Thumbprint(crypto.SHA256)
	k.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	return k, err
}
