// Package exhibit encrypts what a post showed, its text, pictures or sound, on its way
// from who files a warrant to the custodians who judge it and to the requester:
//
//	Seal        encrypts one exhibit to everybody who shall read it
//	SealedSize  how long that becomes
//	Open        decrypts it with the key of one of them
//	Reseal      encrypts it again, to one who became a custodian since, and signs that
//	VerifyCopy  is for who takes or opens what was encrypted again
//
// The form is age (age-encryption.org/v1) with hybrid recipients only, which hold while
// either ML-KEM-768 or X25519 does. It says nothing about who encrypted: what was opened
// is compared with what the platform's evidence declares (token.Exhibit.Check).
package exhibit

import (
	"bytes"
	"crypto/hpke"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"filippo.io/age"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Why an exhibit is not encrypted or not opened.
var (
	ErrRecipient = refusal.New(refusal.Invalid, "exhibit.bad_recipient",
		"a recipient of exhibits is no hybrid recipient of age (age1pq1…) and no delivery key (pendk1.…): nothing was encrypted, and the bundle or the warrant that names it must be mended")
	ErrIdentity = refusal.New(refusal.Invalid, "exhibit.bad_identity",
		"the key is no hybrid identity of age (AGE-SECRET-KEY-PQ-1…) and no secret delivery key: name the file that holds it")
	ErrNotForThisKey = refusal.New(refusal.Denied, "exhibit.not_for_this_key",
		"the exhibit is not encrypted to this key, or is no age file: whoever became a custodian after the case was filed asks one of its day to run escrow custodian reseal CASE")
	ErrDamaged = refusal.New(refusal.Invalid, "exhibit.damaged",
		"the exhibit ends too early or was changed on its way: fetch it again, and if it stays so, ask for it to be filed again or resealed")
)

// MaxSize bounds one exhibit, in bytes, when it is encrypted and when it is opened.
const MaxSize = token.MaxExhibit

// Short exhibits travel together, for a case can have thousands of them.
const (
	MaxShort    = 128 << 10 // bytes of one, encrypted
	MaxTogether = 64
)

// Seal encrypts content to everybody in recipients, at least one: hybrid recipients of
// age or delivery keys, which are the same keys (document.Recipient). It streams. Until
// it returns nil, what it wrote opens for nobody as a whole. More than [MaxSize] is
// token.ErrExhibitTooLarge.
func Seal(w io.Writer, recipients []string, content io.Reader) error {
	to, err := parseRecipients(recipients)
	if err != nil {
		return err
	}
	return sealTo(w, to, content)
}

func parseRecipients(recipients []string) (to []age.Recipient, err error) {
	for _, s := range recipients {
		if key, err := document.ParseDeliveryKey(s); err == nil {
			s = document.Recipient(key)
		}
		if _, err := document.ParseRecipient(s); err != nil {
			return nil, ErrRecipient.Because(err)
		}
		r, err := age.ParseHybridRecipient(s)
		if err != nil {
			return nil, ErrRecipient.Because(err)
		}
		to = append(to, r)
	}
	if len(to) == 0 {
		return nil, ErrRecipient
	}
	return to, nil
}

func sealTo(w io.Writer, to []age.Recipient, content io.Reader) error {
	sealed, err := age.Encrypt(w, to...)
	if err != nil {
		return err
	}
	n, err := io.Copy(sealed, io.LimitReader(content, MaxSize+1))
	switch {
	case err != nil:
		return err
	case n > MaxSize:
		return token.ErrExhibitTooLarge
	}
	return sealed.Close() // writes the last chunk
}

// SealedSize is how many bytes [Seal] writes of that many, to that many recipients. A
// file of age is a header with one stanza for each recipient, a nonce, and chunks of
// 64 KiB with a tag of 16 bytes each, at least one (age-encryption.org/v1, "Payload").
func SealedSize(length int64, recipients int) int64 {
	const (
		stanza = len("-> mlkem768x25519 \n\n") + (1120*8+5)/6 + (32*8+5)/6 // encapsulated key; the file key with its tag
		header = len("age-encryption.org/v1\n--- \n") + (32*8+5)/6
		chunk  = 64 << 10
		tag    = 16
	)
	chunks := max(1, (length+chunk-1)/chunk)
	return int64(header) + int64(recipients)*int64(stanza) + 16 + length + chunks*tag
}

// Open decrypts with the key of one recipient: a hybrid identity of age, or a secret
// delivery key. What it returns is to be read to its end, for only then is it known to
// be whole: an error of it is [ErrDamaged], or token.ErrExhibitTooLarge behind [MaxSize].
func Open(sealed io.Reader, identity string) (io.Reader, error) {
	id, err := parseIdentity(identity)
	if err != nil {
		return nil, err
	}
	return open(sealed, id)
}

func open(sealed io.Reader, id age.Identity) (io.Reader, error) {
	content, err := age.Decrypt(sealed, id)
	var notFor *age.NoIdentityMatchError
	switch {
	case errors.As(err, &notFor):
		return nil, ErrNotForThisKey
	case err != nil:
		return nil, ErrDamaged.Because(err)
	}
	return &whole{content, MaxSize}, nil
}

// textBlock is what texts are padded to: what was encrypted tells their length no closer.
const textBlock = 4096

// SealText encrypts a short text to everybody in recipients, as [Seal] does.
func SealText(recipients []string, text string) ([]byte, error) {
	var sealed bytes.Buffer
	padded := make([]byte, (len(text)+textBlock-1)/textBlock*textBlock)
	copy(padded, text)
	err := Seal(&sealed, recipients, bytes.NewReader(padded))
	return sealed.Bytes(), err
}

// OpenText is what [SealText] encrypted, or "" if it does not open with that key.
func OpenText(sealed []byte, identity string) string {
	r, err := Open(bytes.NewReader(sealed), identity)
	if err != nil {
		return ""
	}
	text, err := io.ReadAll(r)
	if err != nil || !utf8.Valid(text) {
		return ""
	}
	return string(bytes.TrimRight(text, "\x00"))
}

// whole says of a stream that breaks off what it means, and ends one that is too long.
type whole struct {
	r    io.Reader
	left int64
}

func (w *whole) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if w.left -= int64(n); w.left < 0 {
		return 0, token.ErrExhibitTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = ErrDamaged.Because(err)
	}
	return n, err
}

// parseIdentity never quotes a key in an error.
func parseIdentity(s string) (age.Identity, error) {
	if text, ok := strings.CutPrefix(s, document.DeliverySecretPrefix); ok {
		b, err := document.DecodeBase64(text)
		if err != nil {
			return nil, ErrIdentity
		}
		defer clear(b)
		key, err := document.DeliveryKEM().NewPrivateKey(b)
		if err != nil {
			return nil, ErrIdentity
		}
		return deliveryKey{key}, nil
	}
	id, err := age.ParseHybridIdentity(s)
	if err != nil {
		return nil, ErrIdentity
	}
	return id, nil
}

// deliveryKey is a secret delivery key as an identity of age.
type deliveryKey struct{ hpke.PrivateKey }

// Unwrap implements age.Identity. C2SP age, "The hybrid ML-KEM-768 + X25519 recipient
// type": HPKE in base mode with ChaCha20-Poly1305 and this info string.
func (k deliveryKey) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, s := range stanzas {
		if s.Type != "mlkem768x25519" || len(s.Args) != 1 {
			continue
		}
		encapsulated, err := base64.RawStdEncoding.Strict().DecodeString(s.Args[0])
		if err != nil {
			continue
		}
		r, err := hpke.NewRecipient(encapsulated, k.PrivateKey, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte("age-encryption.org/mlkem768x25519"))
		if err != nil {
			continue
		}
		// age-encryption.org/v1, "File key": 16 bytes. Others could be made to open with two keys.
		if key, err := r.Open(nil, s.Body); err == nil && len(key) == 16 {
			return key, nil
		}
	}
	return nil, age.ErrIncorrectIdentity
}
