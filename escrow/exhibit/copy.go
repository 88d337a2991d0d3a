package exhibit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// ErrCopy is of a copy that is not what it must be.
var ErrCopy = refusal.New(refusal.Denied, "exhibit.bad_copy",
	"the copy of an exhibit is not signed by a custodian of the rules, or is of another exhibit or case, or for another key: nothing of it was taken; a custodian of the rules in force who can read the case runs escrow custodian reseal CASE")

// MaxSignature bounds the line that a copy begins with, in bytes.
const MaxSignature = 8 << 10

var copyFormat = &document.Format{
	Types: []string{"penname-exhibit-copy+jwt"}, MaxBytes: MaxSignature, Algorithms: document.SignatureAlgorithms, ExactHeader: true, ExactPayload: true,
	Refusals: map[document.Fault]*refusal.Error{
		document.Malformed: ErrCopy, document.TooLarge: ErrCopy, document.Unsigned: ErrCopy,
		document.AlgNotAllowed: ErrCopy, document.BadSignature: ErrCopy, document.CannotSign: policy.ErrKey,
	},
}

// Copy is what a custodian signs of an exhibit that they encrypted again, to one who
// became a custodian after the case was filed. Digests are hex SHA-256.
type Copy struct {
	Bundle    string `json:"bundle"`    // digest of the rules in force when it was signed
	Case      string `json:"case"`      // id
	Custodian string `json:"custodian"` // who signs, by those rules
	Exhibit   string `json:"exhibit"`   // digest of what was published
	Recipient string `json:"recipient"` // the one who opens it, "age1pq1…"
	Sealed    string `json:"sealed"`    // digest of what is encrypted
}

// Reseal encrypts content to about.Recipient alone and signs that: the copy is the compact
// JWS of about in a line of its own, then what is encrypted. about.Sealed is filled in.
func Reseal(key jose.JSONWebKey, about Copy, content []byte) ([]byte, error) {
	var sealed bytes.Buffer
	if err := Seal(&sealed, []string{about.Recipient}, bytes.NewReader(content)); err != nil {
		return nil, err
	}
	about.Sealed = hexDigest(sealed.Bytes())
	payload, err := document.Canonical(about)
	if err != nil {
		return nil, err
	}
	signed, err := copyFormat.Sign(key, payload)
	if err != nil {
		return nil, err
	}
	return slices.Concat([]byte(signed), []byte("\n"), sealed.Bytes()), nil
}

// VerifyCopy returns what a copy says and what is encrypted in it, if a custodian of the
// bundle that it names signed both, which must be one of signers; else [ErrCopy]. The caller
// compares Case, Exhibit and Recipient with what it asked for.
func VerifyCopy(b []byte, signers ...*policy.Bundle) (about Copy, sealed []byte, err error) {
	line, sealed, _ := bytes.Cut(b, []byte("\n"))
	signed, err := copyFormat.Open(string(line))
	if err != nil {
		return Copy{}, nil, err
	}
	if err := copyFormat.Read(signed.Payload, &about, func() ([]byte, error) { return document.Canonical(about) }); err != nil {
		return Copy{}, nil, err
	}
	i := slices.IndexFunc(signers, func(b *policy.Bundle) bool { return b.Hash() == about.Bundle })
	if i < 0 || about.Sealed != hexDigest(sealed) {
		return Copy{}, nil, ErrCopy
	}
	return about, sealed, signers[i].VerifyCustodian(signed, about.Custodian, ErrCopy)
}

func hexDigest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
