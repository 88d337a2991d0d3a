package document

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"

	"github.com/go-jose/go-jose/v4"
)

// NewKey makes an Ed25519 signing key whose kid is its thumbprint (RFC 7638).
func NewKey() (jose.JSONWebKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	k := jose.JSONWebKey{Key: private, Algorithm: string(jose.EdDSA), Use: "sig"}
	sum, err := k.Thumbprint(crypto.SHA256)
	k.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	return k, err
}
