package secretfile

import (
	"encoding/json"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
)

// ErrNotAKey is the refusal of a file that does not hold the key it should.
var ErrNotAKey = refusal.New(refusal.Invalid, "file.not_a_key",
	"the file does not hold a secret key of the kind that is needed: make one with escrow key new or escrow warrant keygen")

// ReadKey reads a secret signing key, a JWK, from a file.
func ReadKey(name string) (jose.JSONWebKey, error) {
	b, err := Read(name)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	defer clear(b)
	return ParseKey(b)
}

// ParseKey parses a secret signing key, a JWK. It is [ErrNotAKey] if it is
// another thing, such as a public key.
func ParseKey(b []byte) (jose.JSONWebKey, error) {
	var k jose.JSONWebKey
	if err := json.Unmarshal(b, &k); err != nil || k.IsPublic() || !k.Valid() {
		return jose.JSONWebKey{}, ErrNotAKey // the cause could quote the key
	}
	return k, nil
}
