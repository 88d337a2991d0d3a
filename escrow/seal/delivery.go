package seal

import (
	"crypto/hpke"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Refusals of delivery.
var (
	ErrDeliveryKey = refusal.New(refusal.Invalid, "seal.bad_delivery_key", "The delivery key is not one of ours; make one with `escrow warrant keygen` and put its public part into the warrant.")
	ErrDelivery    = refusal.New(refusal.Invalid, "seal.not_for_this_key", "The package does not open with this delivery key for this warrant and record; it was sealed to another key, for another purpose, or changed.")
)

// Delivery is HPKE (RFC 9180) in base mode, one message a context:
//
//	KEM   MLKEM768-X25519 (X-Wing), id 0x647a, draft-ietf-hpke-pq
//	KDF   HKDF-SHA256, id 0x0001
//	AEAD  AES-256-GCM, id 0x0002
//
// It is hybrid: it holds while either ML-KEM-768 or X25519 does. Base mode does
// not authenticate the sender; a custodian's approval is signed around it.
func suite() (hpke.KEM, hpke.KDF, hpke.AEAD) {
	return document.DeliveryKEM(), hpke.HKDFSHA256(), hpke.AES256GCM()
}

// DeliveryPrivate is a requester's secret key, to which shares and first halves
// are delivered. It prints and logs as "[redacted]".
type DeliveryPrivate struct{ k hpke.PrivateKey }

// GenerateDeliveryKey makes a delivery key; one for each warrant is best.
func GenerateDeliveryKey() (DeliveryPrivate, error) {
	kem, _, _ := suite()
	k, err := kem.GenerateKey()
	if err != nil {
		return DeliveryPrivate{}, ErrDeliveryKey.Because(err)
	}
	return DeliveryPrivate{k}, nil
}

// ParseDeliveryKey accepts exactly what [DeliveryPrivate.Reveal] returns.
func ParseDeliveryKey(text string) (DeliveryPrivate, error) {
	enc, ok := strings.CutPrefix(text, document.DeliverySecretPrefix)
	b, err := document.DecodeBase64(enc)
	if !ok || err != nil {
		return DeliveryPrivate{}, ErrDeliveryKey
	}
	kem, _, _ := suite()
	k, err := kem.NewPrivateKey(b)
	if err != nil {
		return DeliveryPrivate{}, ErrDeliveryKey // the cause might quote the key
	}
	d := DeliveryPrivate{k}
	if again, err := d.Reveal(); err != nil || again != text {
		return DeliveryPrivate{}, ErrDeliveryKey
	}
	return d, nil
}

// Public is the key for the warrant: "pendk1." and 1216 bytes in base64url.
func (d DeliveryPrivate) Public() string {
	if d.k == nil {
		return ""
	}
	return document.DeliveryKeyPrefix + base64.RawURLEncoding.EncodeToString(d.k.PublicKey().Bytes())
}

// Reveal is the secret key for a key file: "pendsk1." and 32 bytes in base64url.
func (d DeliveryPrivate) Reveal() (string, error) {
	if d.k == nil {
		return "", ErrDeliveryKey
	}
	b, err := d.k.Bytes()
	if err != nil {
		return "", ErrDeliveryKey
	}
	return document.DeliverySecretPrefix + base64.RawURLEncoding.EncodeToString(b), nil
}

// String hides the secret.
func (d DeliveryPrivate) String() string { return "[redacted]" }

// Format hides the secret from every verb.
func (d DeliveryPrivate) Format(s fmt.State, _ rune) { fmt.Fprint(s, "[redacted]") }

// LogValue hides the secret.
func (d DeliveryPrivate) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// SealTo encrypts plaintext to a public delivery key. info is what it is for:
// [ShareInfo], [HalvesInfo], [LinkedInfo] or [DeliveryInfo].
func SealTo(delivery string, info, plaintext []byte) ([]byte, error) {
	pub, err := parsePublic(delivery)
	if err != nil {
		return nil, err
	}
	_, kdf, aead := suite()
	ct, err := hpke.Seal(pub, kdf, aead, info, plaintext)
	if err != nil {
		return nil, ErrDeliveryKey.Because(err)
	}
	return ct, nil
}

// Open decrypts what was sealed to this key with the same info.
func (d DeliveryPrivate) Open(info, ct []byte) ([]byte, error) {
	if d.k == nil {
		return nil, ErrDeliveryKey
	}
	_, kdf, aead := suite()
	plain, err := hpke.Open(d.k, kdf, aead, info, ct)
	if err != nil {
		return nil, ErrDelivery.Because(err)
	}
	return plain, nil
}

// ShareInfo binds a delivered share to the warrant (SHA-256 of its JWS), the
// record, the compartment and the custodian who made it. A record of version 1 has
// no compartments: then it is "".
func ShareInfo(warrant [32]byte, label, compartment, custodian string) []byte {
	if compartment == "" {
		return frame("penname/share/v1", string(warrant[:]), label, custodian)
	}
	return frame("penname/share/v2", string(warrant[:]), label, compartment, custodian)
}

// HalvesInfo binds delivered first halves to the warrant and the record.
func HalvesInfo(warrant [32]byte, label string) []byte {
	return frame("penname/halves/v1", string(warrant[:]), label)
}

// LinkedInfo binds the pen names of a person to the warrant that ordered to link them, and
// to the record.
func LinkedInfo(warrant [32]byte, label string) []byte {
	return frame("penname/linked/v1", string(warrant[:]), label)
}

// DeliveryInfo binds a whole delivery to the case in which it was asked for. It
// does not name the warrant: who opens it learns that from what is inside.
func DeliveryInfo(caseID string) []byte { return frame("penname/delivery/v1", caseID) }

func parsePublic(text string) (hpke.PublicKey, error) {
	pub, err := document.ParseDeliveryKey(text)
	if err != nil {
		return nil, ErrDeliveryKey
	}
	return pub, nil
}
