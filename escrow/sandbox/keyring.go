package sandbox

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/penname/penname/verifier/refusal"
)

// Refusals of the sandbox keyring carry the codes of escrow/vault, because the
// callers and the conformance suite must not tell the two apart.
var (
	errKeyInput      = refusal.New(refusal.Invalid, "keys.bad_input", "Give a label and a value that are neither empty nor over the limit, and a known purpose.")
	errDecryptFailed = refusal.New(refusal.Invalid, "keys.decrypt_failed", "The value does not open under this label: it was altered, moved, or made by another key.")
	errKeysStopped   = refusal.New(refusal.Unavailable, "keys.unavailable", "The key service gave no answer: nothing was disclosed; try again later.")
)

// keyringPrefix marks every value of the sandbox keyring, so that one found in
// a production database is recognised at sight.
const keyringPrefix = "sandbox:v1:"

// Limits of one value and one label, in bytes; the same as escrow/vault's.
const (
	maxKeyLabel = 512
	maxKeyValue = 64 << 10
)

// IssuingKeyring is the issuing side of the sandbox keyring: it wraps and
// authenticates, and has no method that opens. It is safe for concurrent use.
//
// It is a stand-in for Vault on a developer's machine. What it does not give:
// a process that holds it holds the secret, so the separation of the two sides
// is one of Go types and not of machines.
type IssuingKeyring struct{ secret [32]byte }

// DisclosingKeyring is the disclosing side of the sandbox keyring: it opens,
// and has no method that wraps. It is safe for concurrent use.
type DisclosingKeyring struct{ secret [32]byte }

// NewKeyring makes both sides of a sandbox keyring from one secret of 32
// bytes. Nothing is written anywhere: what was wrapped opens again only for
// who has the same secret.
func NewKeyring(secret [32]byte) (*IssuingKeyring, *DisclosingKeyring) {
	return &IssuingKeyring{secret}, &DisclosingKeyring{secret}
}

// String names the keyring for what it is; it never shows the secret.
func (*IssuingKeyring) String() string { return "sandbox keyring, not for real identities" }

// GoString is String.
func (k *IssuingKeyring) GoString() string { return k.String() }

// String names the keyring for what it is; it never shows the secret.
func (*DisclosingKeyring) String() string { return "sandbox keyring, not for real identities" }

// GoString is String.
func (k *DisclosingKeyring) GoString() string { return k.String() }

// WrapHalf encrypts the first half k1 of the record that label names.
func (k *IssuingKeyring) WrapHalf(ctx context.Context, label string, k1 []byte) (string, error) {
	return wrap(ctx, &k.secret, "record", label, k1)
}

// WrapLink encrypts the link of a pseudonym to its record.
func (k *IssuingKeyring) WrapLink(ctx context.Context, pseudonym string, link []byte) (string, error) {
	return wrap(ctx, &k.secret, "link", pseudonym, link)
}

// MAC returns one HMAC-SHA-256 of 32 bytes for each input, under the key of
// the purpose: "fingerprint" or "pseudonym".
func (k *IssuingKeyring) MAC(ctx context.Context, purpose string, inputs ...[]byte) ([][]byte, error) {
	if ctx.Err() != nil {
		return nil, errKeysStopped.Because(ctx.Err())
	}
	if purpose != "fingerprint" && purpose != "pseudonym" {
		return nil, errKeyInput
	}
	key := derive(&k.secret, purpose, "")
	sums := make([][]byte, len(inputs))
	for i, input := range inputs {
		if len(input) == 0 || len(input) > maxKeyValue {
			return nil, errKeyInput
		}
		mac := hmac.New(sha256.New, key)
		mac.Write(input)
		sums[i] = mac.Sum(nil)
	}
	return sums, nil
}

// UnwrapHalf opens what WrapHalf made for the same label.
func (k *DisclosingKeyring) UnwrapHalf(ctx context.Context, label, wrapped string) ([]byte, error) {
	return unwrap(ctx, &k.secret, "record", label, wrapped)
}

// OpenLink opens what WrapLink made for the same pseudonym.
func (k *DisclosingKeyring) OpenLink(ctx context.Context, pseudonym, wrapped string) ([]byte, error) {
	return unwrap(ctx, &k.secret, "link", pseudonym, wrapped)
}

// derive returns the key for one purpose and one label (RFC 5869), as Vault's
// derived keys do.
func derive(secret *[32]byte, purpose, label string) []byte {
	key, err := hkdf.Key(sha256.New, secret[:], nil, "penname/sandbox-keyring/v1/"+purpose+"\x00"+label, 32)
	if err != nil { // only for lengths above 255 hashes
		panic(err)
	}
	return key
}

func sealer(secret *[32]byte, purpose, label string) (cipher.AEAD, error) {
	block, err := aes.NewCipher(derive(secret, purpose, label))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func wrap(ctx context.Context, secret *[32]byte, purpose, label string, value []byte) (string, error) {
	if ctx.Err() != nil {
		return "", errKeysStopped.Because(ctx.Err())
	}
	if label == "" || len(label) > maxKeyLabel || len(value) == 0 || len(value) > maxKeyValue {
		return "", errKeyInput
	}
	aead, err := sealer(secret, purpose, label)
	if err != nil {
		return "", errKeysStopped.Because(err)
	}
	return keyringPrefix + base64.StdEncoding.EncodeToString(aead.Seal(nil, nil, value, []byte(label))), nil
}

func unwrap(ctx context.Context, secret *[32]byte, purpose, label, wrapped string) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, errKeysStopped.Because(ctx.Err())
	}
	if label == "" || len(label) > maxKeyLabel || wrapped == "" || len(wrapped) > 2*maxKeyValue {
		return nil, errKeyInput
	}
	text, ok := strings.CutPrefix(wrapped, keyringPrefix)
	if !ok {
		return nil, errDecryptFailed
	}
	sealed, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // the decoder skips line ends
		return nil, errDecryptFailed
	}
	aead, err := sealer(secret, purpose, label)
	if err != nil {
		return nil, errKeysStopped.Because(err)
	}
	value, err := aead.Open(nil, nil, sealed, []byte(label))
	if err != nil {
		return nil, errDecryptFailed
	}
	return value, nil
}

// NewSecret draws the secret of a new sandbox keyring.
func NewSecret() (secret [32]byte) {
	rand.Read(secret[:])
	return secret
}
