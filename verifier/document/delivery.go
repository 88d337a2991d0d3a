package document

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"filippo.io/age/plugin"
)

// DeliveryKeyPrefix begins a requester's public delivery key. The KEM's public key
// follows in base64url.
const DeliveryKeyPrefix = "pendk1."

// DeliverySecretPrefix begins the secret one. 32 bytes follow in base64url.
const DeliverySecretPrefix = "pendsk1."

// DeliveryKEM is the KEM of delivery keys: MLKEM768-X25519 (X-Wing), id 0x647a,
// draft-ietf-hpke-pq. It holds while either of the two does.
func DeliveryKEM() hpke.KEM { return hpke.MLKEM768X25519() }

// ageName is how age names that KEM in its recipients: "age1pq1…".
const ageName = "pq"

var errDeliveryKey = errors.New("not a delivery key")

// ParseDeliveryKey reads a public delivery key in its one spelling: "pendk1." and
// the base64url of 1216 bytes. It refuses a key with a degenerate part.
func ParseDeliveryKey(s string) (hpke.PublicKey, error) {
	text, ok := strings.CutPrefix(s, DeliveryKeyPrefix)
	b, err := DecodeBase64(text)
	if !ok || err != nil {
		return nil, errDeliveryKey
	}
	key, err := deliveryKey(b)
	if err != nil || DeliveryKeyPrefix+base64.RawURLEncoding.EncodeToString(key.Bytes()) != s {
		return nil, errDeliveryKey
	}
	return key, nil
}

func deliveryKey(b []byte) (hpke.PublicKey, error) {
	key, err := DeliveryKEM().NewPublicKey(b)
	if err != nil {
		return nil, errDeliveryKey
	}
	point, err := ecdh.X25519().NewPublicKey(b[len(b)-32:])
	if err != nil {
		return nil, errDeliveryKey
	}
	// RFC 7748, 6.1: a point of small order gives the all-zero secret with every
	// scalar, which ECDH reports. The scalar is a constant, so this stays pure.
	scalar, err := ecdh.X25519().NewPrivateKey(slices.Repeat([]byte{1}, 32))
	if err != nil {
		return nil, errDeliveryKey
	}
	if _, err := scalar.ECDH(point); err != nil {
		return nil, errDeliveryKey
	}
	return key, nil
}

// Recipient is a public delivery key in the spelling of age's hybrid recipients,
// "age1pq1…" (age-encryption.org/v1, "The hybrid ML-KEM-768 + X25519 recipient type"):
// the same KEM and the same 1216 bytes, so that who has a delivery key opens age files
// too, and needs no second one.
//
// One key serves both: every HPKE context hashes the info string into its key schedule
// (RFC 9180, 5.1), age's is "age-encryption.org/mlkem768x25519" and that of a delivery
// begins with "penname/", and their AEADs differ, so that a ciphertext of the one opens
// under no context of the other.
func Recipient(public hpke.PublicKey) string { return plugin.EncodeRecipient(ageName, public.Bytes()) }

// ParseRecipient checks a hybrid recipient of age in its one spelling, as
// [ParseDeliveryKey] checks a delivery key.
func ParseRecipient(s string) error {
	name, b, err := plugin.ParseRecipient(s)
	// BIP 173 has two spellings of the same bytes, in small letters and in capitals.
	if err != nil || name != ageName || s != strings.ToLower(s) {
		return errDeliveryKey
	}
	_, err = deliveryKey(b)
	return err
}
