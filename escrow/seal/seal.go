// Package seal is the two-half envelope that an identity is kept in, and the
// encrypted delivery of what opens it.
//
// # The envelope
//
//	K1  ← 32 random bytes, wrapped by the key service (Vault), context = label
//	K2  ← 32 random bytes, TDH2 to the custodians, label = label
//	K1f = HKDF-SHA-256(K1, info = frame("penname/first-half/v1", label, field))
//	K   ‖ C = HKDF-SHA-256(K1f ‖ K2, info = frame("penname/seal/v1", label, field)), 32 + 32 bytes
//	field sealed = C ‖ nonce ‖ AES-256-GCM(K, pad(value), aad = frame("penname/seal/v1", label, field))
//	pad(value)   = length (2 bytes big-endian) ‖ value ‖ zeros up to a multiple of 64 bytes
//	frame(parts) = each part with its length, 2 bytes big-endian, in front
//
// There is one K1 a record and one key a field: the registrar hands out K1f of
// the fields that a warrant names ([FirstHalves]), so that the custodians' half
// together with them opens those fields and no other.
//
// C commits to the key: AES-GCM alone lets whoever chooses both keys make one
// ciphertext that opens as two identities. With C in the record, and the record
// named by [Record.Digest], a record can be opened as one identity only.
//
// testdata/record.json is a record that an independent implementation sealed,
// testdata/make_record.py.
//
// Trusted: nobody alone. Whoever controls the key service has K1 and not K2; t
// custodians have K2 and not K1; whoever controls the database has neither, and can
// withhold or delete but not move, swap or alter. Whoever seals sees the identity
// while sealing it.
package seal

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"

	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/verifier/refusal"
)

// Every way in which sealing and opening refuse, besides those of
// escrow/seal/threshold, which pass through.
var (
	ErrLabel    = refusal.New(refusal.Invalid, "seal.bad_label", "A record label is 26 characters of lower-case base32; take it from the record or make one with NewLabel.")
	ErrFields   = refusal.New(refusal.Invalid, "seal.bad_fields", "A record has 1 to 32 fields, named in a-z and _, of at most 4096 bytes each; leave out what is absent.")
	ErrWrap     = refusal.New(refusal.Unavailable, "seal.not_wrapped", "The key service did not wrap the first half; nothing was sealed, try again.")
	ErrRecord   = refusal.New(refusal.Invalid, "seal.bad_record", "The record's parts are malformed or belong to different records; fetch it again.")
	ErrMoved    = refusal.New(refusal.Invalid, "seal.label_moved", "The sealed half was made for another record; the row was moved or the wrong record was asked for.")
	ErrHalf     = refusal.New(refusal.Invalid, "seal.bad_first_half", "A first half is missing or not 32 bytes; ask the registrar for the halves of the fields that the warrant names.")
	ErrWithheld = refusal.New(refusal.Denied, "seal.field_withheld", "The record has this field but was delivered without it; ask for it by a warrant that names it.")
	ErrDecrypt  = refusal.New(refusal.Invalid, "seal.decrypt_failed", "A field does not open: its halves or its bytes belong to another record or field, or were changed; fetch record and halves again.")
)

const (
	sealInfo  = "penname/seal/v1"
	halfInfo  = "penname/first-half/v1"
	keySize   = 32
	block     = 64   // a value's length shows only in steps of this
	maxValue  = 4096 // bytes
	maxFields = 32
	commit    = 32 // bytes of C
)

var (
	labelRE = regexp.MustCompile(`^[a-z2-7]{25}[aeimquy4]$`) // 128 bits: the last character has 3
	fieldRE = regexp.MustCompile(`^[a-z][a-z_]{0,31}$`)
)

// Record is a sealed identity as it is stored, or as much of it as is handed to
// a requester ([Record.Named]).
type Record struct {
	Label      string            `json:"label"`
	FirstHalf  string            `json:"first_half"`         // K1 wrapped, opaque text of the key service; changes when it rewraps
	SecondHalf []byte            `json:"second_half"`        // threshold.Ciphertext of K2
	Fields     map[string][]byte `json:"fields"`             // sealed, by field name
	Withheld   map[string][]byte `json:"withheld,omitempty"` // SHA-256 of the sealed fields that were not handed over
}

// NewLabel returns a fresh record label: 16 random bytes in lower-case base32
// without padding (RFC 4648, 6), 26 characters.
func NewLabel() string {
	b := make([]byte, 16)
	rand.Read(b)
	return base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding).EncodeToString(b)
}

// Seal encrypts fields (by name, absent ones left out) to the key service and
// the custodians. wrap is the key service's encryption with the label as its
// context; k1 is overwritten when it returns and must not be kept.
func Seal(ctx context.Context, label string, fields map[string][]byte, custodians threshold.PublicKey, wrap func(ctx context.Context, label string, k1 []byte) (string, error)) (Record, error) {
	if !labelRE.MatchString(label) {
		return Record{}, ErrLabel
	}
	if len(fields) == 0 || len(fields) > maxFields {
		return Record{}, ErrFields
	}
	k1 := make([]byte, keySize)
	defer clear(k1)
	var k2 [keySize]byte
	defer clear(k2[:])
	rand.Read(k1) // crypto/rand.Read never returns an error
	rand.Read(k2[:])
	ct, err := custodians.Encrypt(rand.Reader, k2, []byte(label))
	if err != nil {
		return Record{}, err
	}
	rec := Record{Label: label, Fields: make(map[string][]byte, len(fields))}
	if rec.SecondHalf, err = ct.MarshalBinary(); err != nil {
		return Record{}, err
	}
	for name, half := range FirstHalves(k1, label, slices.Collect(maps.Keys(fields))) {
		rec.Fields[name], err = sealField(half, k2, label, name, fields[name])
		clear(half)
		if err != nil {
			return Record{}, err
		}
	}
	if len(rec.Fields) != len(fields) {
		return Record{}, ErrFields
	}
	// The key service last: a failure before it leaves nothing there.
	if rec.FirstHalf, err = wrap(ctx, label, k1); err != nil {
		return Record{}, ErrWrap.Because(err)
	}
	return rec, nil
}

// FirstHalves derives K1f for each of the fields from an unwrapped K1. It is
// what the registrar delivers instead of K1. A wrong length of k1 or a name that
// no field can have gives no half.
func FirstHalves(k1 []byte, label string, fields []string) map[string][]byte {
	out := make(map[string][]byte, len(fields))
	for _, f := range fields {
		if len(k1) != keySize || !labelRE.MatchString(label) || !fieldRE.MatchString(f) {
			continue
		}
		half, err := hkdf.Key(sha256.New, k1, nil, string(frame(halfInfo, label, f)), keySize)
		if err != nil {
			continue // 32 bytes are below HKDF's limit: only a FIPS refusal comes here
		}
		out[f] = half
	}
	return out
}

// DecryptShare is the custodian's step: it refuses a second half that was
// sealed for another record than label, then makes the share.
func DecryptShare(label string, secondHalf []byte, pk threshold.PublicKey, ks threshold.KeyShare) (threshold.Share, error) {
	ct, err := parseSecondHalf(label, secondHalf)
	if err != nil {
		return threshold.Share{}, err
	}
	return ks.Decrypt(rand.Reader, pk, ct)
}

// VerifyShare is the registrar's or requester's check of one custodian's share
// for the record; the refusal's cause names the culprit.
func VerifyShare(label string, secondHalf []byte, pk threshold.PublicKey, s threshold.Share) error {
	ct, err := parseSecondHalf(label, secondHalf)
	if err != nil {
		return err
	}
	return pk.VerifyShare(ct, s)
}

func parseSecondHalf(label string, secondHalf []byte) (threshold.Ciphertext, error) {
	var ct threshold.Ciphertext
	if !labelRE.MatchString(label) {
		return ct, ErrLabel
	}
	if err := ct.UnmarshalBinary(secondHalf); err != nil {
		return ct, err
	}
	if string(ct.Label()) != label {
		return ct, ErrMoved
	}
	return ct, nil
}

// Open decrypts the fields that halves names, with the shares of t custodians.
// Everything opens or nothing is returned. A field that the record never had is
// absent from the result; compare [Record.Digest] with the token's commitment to
// know that it was not removed.
func Open(rec Record, halves map[string][]byte, pk threshold.PublicKey, shares []threshold.Share) (map[string][]byte, error) {
	ct, err := parseSecondHalf(rec.Label, rec.SecondHalf)
	if err != nil {
		return nil, err
	}
	if len(halves) == 0 {
		return nil, ErrHalf
	}
	k2, err := pk.Combine(ct, shares)
	if err != nil {
		return nil, err
	}
	defer clear(k2[:])
	out := make(map[string][]byte, len(halves))
	for _, name := range slices.Sorted(maps.Keys(halves)) {
		sealed, ok := rec.Fields[name]
		if _, withheld := rec.Withheld[name]; withheld && !ok {
			return nil, ErrWithheld
		}
		if !ok {
			continue
		}
		if out[name], err = openField(halves[name], k2, rec.Label, name, sealed); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Named returns the record with the sealed bytes of the named fields only; of
// the others it keeps the hash, so that its digest stays the same. The wrapped
// first half is left out: a requester gets [FirstHalves].
func (r Record) Named(fields []string) Record {
	n := Record{Label: r.Label, SecondHalf: r.SecondHalf, Fields: map[string][]byte{}, Withheld: maps.Clone(r.Withheld)}
	for name, sealed := range r.Fields {
		if slices.Contains(fields, name) {
			n.Fields[name] = sealed
			continue
		}
		if n.Withheld == nil {
			n.Withheld = map[string][]byte{}
		}
		h := sha256.Sum256(sealed)
		n.Withheld[name] = h[:]
	}
	return n
}

// Digest names what was sealed: label, second half and every sealed field. It
// is the same for a [Record.Named] part and after the key service rewrapped the
// first half. A commitment to it at issuance is what keeps anybody from putting
// another person under a pseudonym later.
func (r Record) Digest() ([32]byte, error) {
	second := sha256.Sum256(r.SecondHalf)
	parts := []string{"penname/record/v1", r.Label, string(second[:])}
	hashes := maps.Clone(r.Withheld)
	if hashes == nil {
		hashes = map[string][]byte{}
	}
	for name, sealed := range r.Fields {
		h := sha256.Sum256(sealed)
		if old, ok := hashes[name]; ok && !bytes.Equal(old, h[:]) {
			return [32]byte{}, ErrRecord
		}
		hashes[name] = h[:]
	}
	if !labelRE.MatchString(r.Label) || len(hashes) == 0 || len(hashes) > maxFields {
		return [32]byte{}, ErrRecord
	}
	for _, name := range slices.Sorted(maps.Keys(hashes)) {
		if !fieldRE.MatchString(name) || len(hashes[name]) != sha256.Size {
			return [32]byte{}, ErrRecord
		}
		parts = append(parts, name, string(hashes[name]))
	}
	return sha256.Sum256(frame(parts...)), nil
}

// Reference is how a commitment names a sealed identity: the label and the hex
// digest, joined by a dot.
func Reference(label string, digest [32]byte) string {
	return label + "." + hex.EncodeToString(digest[:])
}

// fieldKey derives the field's AEAD and the commitment C to its key.
func fieldKey(half []byte, k2 [keySize]byte, label, field string) (cipher.AEAD, []byte, error) {
	secret := slices.Concat(half, k2[:])
	defer clear(secret)
	out, err := hkdf.Key(sha256.New, secret, nil, string(frame(sealInfo, label, field)), keySize+commit)
	if err != nil {
		return nil, nil, err
	}
	defer clear(out[:keySize])
	b, err := aes.NewCipher(out[:keySize])
	if err != nil {
		return nil, nil, err
	}
	// SP 800-38D, 8.2.2: a random 96-bit nonce, in front. The key is used once.
	aead, err := cipher.NewGCMWithRandomNonce(b)
	return aead, out[keySize:], err
}

func sealField(half []byte, k2 [keySize]byte, label, field string, value []byte) ([]byte, error) {
	if len(value) > maxValue {
		return nil, ErrFields
	}
	aead, c, err := fieldKey(half, k2, label, field)
	if err != nil {
		return nil, ErrFields.Because(err)
	}
	plain := pad(value)
	defer clear(plain)
	return aead.Seal(c, nil, plain, frame(sealInfo, label, field)), nil
}

func openField(half []byte, k2 [keySize]byte, label, field string, sealed []byte) ([]byte, error) {
	if len(half) != keySize {
		return nil, ErrHalf
	}
	aead, c, err := fieldKey(half, k2, label, field)
	if err != nil {
		return nil, ErrDecrypt.Because(err)
	}
	if len(sealed) < commit || subtle.ConstantTimeCompare(c, sealed[:commit]) != 1 {
		return nil, ErrDecrypt
	}
	plain, err := aead.Open(nil, nil, sealed[commit:], frame(sealInfo, label, field))
	if err != nil {
		return nil, ErrDecrypt.Because(err)
	}
	return unpad(plain)
}

func pad(value []byte) []byte {
	n := 2 + len(value)
	p := make([]byte, (n+block-1)/block*block)
	binary.BigEndian.PutUint16(p, uint16(len(value)))
	copy(p[2:], value)
	return p
}

// unpad accepts exactly what pad returns.
func unpad(p []byte) ([]byte, error) {
	if len(p) < 2 {
		return nil, ErrDecrypt
	}
	n := int(binary.BigEndian.Uint16(p))
	if n > len(p)-2 || !bytes.Equal(pad(p[2:2+n]), p) {
		return nil, ErrDecrypt
	}
	return p[2 : 2+n : 2+n], nil
}

// frame puts each part's length in front of it, so that label and field cannot
// flow into each other.
func frame(parts ...string) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
		b = append(b, p...)
	}
	return b
}
