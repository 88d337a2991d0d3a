package document

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
)

// DeliveryKeyPrefix begins a requester's public delivery key. The KEM's public key
// follows in base64url.
const DeliveryKeyPrefix = "pendk1."

// DeliveryKEM is the KEM of delivery keys: MLKEM768-X25519 (X-Wing), id 0x647a,
// draft-ietf-hpke-pq. It holds while either of the two does.
func DeliveryKEM() hpke.KEM { return hpke.MLKEM768X25519() }

var errDeliveryKey = errors.New("not a delivery key")

// ParseDeliveryKey reads a public delivery key in its one spelling: "pendk1." and
// the base64url of 1216 bytes. It refuses a key with a degenerate part.
func ParseDeliveryKey(s string) (hpke.PublicKey, error) {
	text, ok := strings.CutPrefix(s, DeliveryKeyPrefix)
	b, err := DecodeBase64(text)
	if !ok || err != nil {
		return nil, errDeliveryKey
	}
	key, err := DeliveryKEM().NewPublicKey(b)
	if err != nil || DeliveryKeyPrefix+base64.RawURLEncoding.EncodeToString(key.Bytes()) != s {
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
