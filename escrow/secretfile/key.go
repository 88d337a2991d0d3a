package secretfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// ErrNotAKey is the refusal of a file that does not hold the key it should.
var ErrNotAKey = refusal.New(refusal.Invalid, "file.not_a_key",
	"the file does not hold a secret signing key, a JWK: escrow key new makes one, and its file is what is needed here")

// ErrNotPublic is the refusal of a file that does not hold the public key, or keys, that it should.
var ErrNotPublic = refusal.New(refusal.Invalid, "file.not_a_public_key",
	"the file does not hold a public key, a JWK or a JWKS with Ed25519 or P-256 keys: it is what escrow key new prints with --json; never ask anybody for their secret key")

// RefuseSecret is [ErrNotPublic] if b, which is in the file called name, is a secret JWK, or a
// JWK Set with one.
func RefuseSecret(name string, b []byte) error {
	var set jose.JSONWebKeySet
	if b = document.Typed(b); json.Unmarshal(b, &set) != nil || len(set.Keys) == 0 {
		set.Keys = make([]jose.JSONWebKey, 1)
		if set.Keys[0].UnmarshalJSON(b) != nil {
			return nil
		}
	}
	for _, k := range set.Keys {
		if k.Key != nil && !k.IsPublic() {
			return ErrNotPublic.Because(errors.New(name + ": it is a secret key, of which only the public half is taken"))
		}
	}
	return nil
}

// ReadKey reads a secret signing key, a JWK, from a file.
func ReadKey(name string) (jose.JSONWebKey, error) {
	b, err := read(name, maxSize)
	defer clear(b)
	var public jose.JSONWebKey
	if err != nil && (json.Unmarshal(b, &public) != nil || !public.IsPublic()) { // others may read a public key: what is wrong is that it is one
		return jose.JSONWebKey{}, err
	}
	k, err := ParseKey(b)
	if e := refusal.Of(err); e != nil {
		err = e.Because(fmt.Errorf("%s: %w", name, e.Unwrap()))
	}
	return k, err
}

// ParseKey parses a secret signing key, a JWK. It is [ErrNotAKey] if it is
// another thing, such as a public key.
func ParseKey(b []byte) (jose.JSONWebKey, error) {
	b = document.Typed(b)
	var k jose.JSONWebKey
	if err := json.Unmarshal(b, &k); err != nil || k.IsPublic() || !k.Valid() {
		return jose.JSONWebKey{}, ErrNotAKey.Because(why(b, err, k))
	}
	return k, nil
}

// marks are how files begin that people take for a signing key, and what each is.
var marks = []struct{ begins, is string }{
	{"-----BEGIN CERTIFICATE", "a certificate (PEM)"},
	{"-----BEGIN PUBLIC KEY", "a public key in PEM"},
	{"-----BEGIN OPENSSH PRIVATE KEY", "a key of SSH"},
	{"-----BEGIN ", "a key in PEM, which an authority signs with by its certificate (--certificate) alone"},
	{"ssh-", "a public key of SSH"},
	{"PRIVATE+KEY+", "the key of a public log or of a witness (escrowd log keygen)"},
	{"pendsk1.", "a delivery key (escrow warrant keygen): it opens packages and signs nothing"},
	{"pendk1.", "the public half of a delivery key"},
	{"age-encryption.org/", "an encrypted file of a custodian's folder: name the folder with --home"},
	{"AGE-SECRET-KEY-", "a key of age"},
	{"eyJ", "a signed document, such as a warrant, evidence or a token"},
	{"hvs.", "a token of Vault"},
	{"postgres", "the address of a database"},
}

// why says what is wrong with a key, and quotes nothing of it: the errors of the
// libraries do.
func why(b []byte, err error, k jose.JSONWebKey) error {
	for _, m := range marks {
		if bytes.HasPrefix(b, []byte(m.begins)) {
			return errors.New("it looks like " + m.is)
		}
	}
	var syntax *json.SyntaxError
	var set struct{ Keys []json.RawMessage }
	switch {
	case len(b) == 0:
		return errors.New("it is empty")
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: not JSON", document.Line(b, syntax.Offset))
	case err != nil && json.Unmarshal(b, &set) == nil && set.Keys != nil:
		return errors.New("a set of keys, where one secret key is needed")
	case err != nil:
		return errors.New("JSON, but no JWK")
	case k.IsPublic():
		return errors.New("a public key, where the secret one is needed: it is in the file that escrow key new named as secret")
	}
	return errors.New("a JWK that is not sound")
}
