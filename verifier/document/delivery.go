package document

import (
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
	b, err := decodeDeliveryKey(s)
	if err != nil {
		return nil, err
	}
	return DeliveryKEM().NewPublicKey(b)
}

// CheckDeliveryKey fails where [ParseDeliveryKey] does, and does not prepare the key for use.
func CheckDeliveryKey(s string) error {
	_, err := decodeDeliveryKey(s)
	return err
}

func decodeDeliveryKey(s string) ([]byte, error) {
	text, ok := strings.CutPrefix(s, DeliveryKeyPrefix)
	b, err := DecodeBase64(text)
	if !ok || err != nil {
		return nil, errDeliveryKey
	}
	return b, checkDeliveryKey(b)
}

const (
	coefficients = 1152 // bytes of an ML-KEM-768 key before its seed: 768 numbers of 12 bits (FIPS 203, 7.2)
	modulus      = 3329 // FIPS 203, 2.4
	pointSize    = 32   // bytes of an X25519 key
)

// checkDeliveryKey checks the ML-KEM-768 key and the X25519 key after it, as those who
// encrypt to them do.
func checkDeliveryKey(b []byte) error {
	if len(b) != coefficients+32+pointSize {
		return errDeliveryKey
	}
	// FIPS 203, 7.2, "Modulus check": every number is below the modulus.
	for i := 0; i < coefficients; i += 3 {
		low, high := int(b[i])|int(b[i+1]&0xf)<<8, int(b[i+1])>>4|int(b[i+2])<<4
		if low >= modulus || high >= modulus {
			return errDeliveryKey
		}
	}
	// RFC 7748, 6.1: a point of small order gives the all-zero secret with every scalar.
	if smallOrderPoint([32]byte(b[len(b)-pointSize:])) {
		return errDeliveryKey
	}
	return nil
}

// smallOrderPoint reports whether u is that of a point of order 1, 2, 4 or 8 on
// Curve25519 or its twist. The highest bit is ignored (RFC 7748, 5).
func smallOrderPoint(u [32]byte) bool {
	u[31] &= 0x7f
	return slices.Contains(smallOrderU[:], u)
}

// smallOrderU is derived by TestL18SmallOrderPoints.
var smallOrderU = [...][32]byte{
	{},  // order 2, on both
	{1}, // order 4
	{0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57}, // order 8
	{0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00}, // order 8
	{0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, // p-1, order 4 on the twist
	{0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, // p = 0
	{0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, // p+1 = 1
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

// ParseRecipient returns the delivery key that a hybrid recipient of age is, in its one
// spelling. It refuses what [ParseDeliveryKey] would.
func ParseRecipient(s string) (deliveryKey string, err error) {
	name, b, err := plugin.ParseRecipient(s)
	// BIP 173 has two spellings of the same bytes, in small letters and in capitals.
	if err != nil || name != ageName || s != strings.ToLower(s) {
		return "", errDeliveryKey
	}
	return DeliveryKeyPrefix + base64.RawURLEncoding.EncodeToString(b), checkDeliveryKey(b)
}
