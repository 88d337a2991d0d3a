package secretfile

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
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

// why says what is wrong with a key, and quotes nothing of it: the errors of the
// libraries do.
func why(b []byte, err error, k jose.JSONWebKey) error {
	var syntax *json.SyntaxError
	switch {
	case len(b) == 0:
		return errors.New("it is empty")
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: not JSON", document.Line(b, syntax.Offset))
	case err != nil:
		return errors.New("JSON, but no JWK")
	case k.IsPublic():
		return errors.New("a public key, where the secret one is needed")
	}
	return errors.New("a JWK that is not sound")
}
