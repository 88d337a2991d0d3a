package openid

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"time"
)

// A client that did not hear the answer to its renewal asks again with the refresh
// token that it has. For ten seconds, once, it gets the same successor again, so that
// a lost answer signs nobody out, and there is never more than one successor (attack
// O11). It has to be a client that authenticates, or holds the key that the token is
// bound to: of any other a token that comes twice is one that somebody has copied
// (RFC 9700, 4.14.2).
//
// The row keeps the successor, and when it was made, encrypted under the token that
// it replaced, of which the row has the digest alone. So a copy of the database tells
// neither a token nor a time.

// mayComeAgain keeps in b what is answered if the token that was presented comes once
// more. successor is what replaces it.
func (m manager) mayComeAgain(ctx context.Context, b *grantBody, successor string) error {
	x := exchangeOf(ctx)
	if x.presented == "" || x.successor != "" {
		return nil // the first of a family, or it came again already
	}
	pl, err := m.p.platform(ctx, b.Platform)
	if err != nil {
		return err
	}
	if x.mayAgain = !pl.public() || b.JKT != ""; !x.mayAgain {
		return nil
	}
	sealer, err := sealerOf(x.presented)
	if err != nil {
		return err
	}
	text := binary.BigEndian.AppendUint64(nil, uint64(m.p.now().Unix())) //nolint:gosec // after 1970
	b.Before, b.Again = digest(x.presented), sealer.Seal(nil, nil, append(text, successor...), nil)
	return nil
}

// successor returns what replaced a refresh token within the last seconds, or "".
func (b grantBody) successor(presented string, now time.Time) string {
	if len(b.Again) == 0 || subtle.ConstantTimeCompare(digest(presented), b.Before) != 1 {
		return ""
	}
	sealer, err := sealerOf(presented)
	if err != nil {
		return ""
	}
	text, err := sealer.Open(nil, nil, b.Again, nil)
	if err != nil || len(text) < 8 {
		return ""
	}
	made := time.Unix(int64(binary.BigEndian.Uint64(text)), 0) //nolint:gosec // as it was written
	if now.Sub(made).Abs() > againWithin {
		return ""
	}
	return string(text[8:])
}

// sealerOf is AES-256-GCM (NIST SP 800-38D) with a key that follows from a refresh
// token (HKDF, RFC 5869), and a random nonce before each ciphertext.
func sealerOf(refresh string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(refresh), nil, "penname refresh token, successor", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
