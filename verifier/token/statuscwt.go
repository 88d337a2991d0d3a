package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// SignStatusListCWT is [SignStatusList] in the form for readers of CBOR, of type
// "application/statuslist+cwt" (section 5.2). It is smaller: the list is not spelled
// in base64. The result is the bytes of a tagged COSE_Sign1 (RFC 9052, 4.2). This
// package does not read it.
func SignStatusListCWT(key jose.JSONWebKey, l StatusList) (string, error) {
	compressed, err := l.compressed()
	if err != nil {
		return "", err
	}
	claims := 4
	if l.TTL >= time.Second {
		claims++
	}
	payload := cbor{}.head(5, claims).
		int(2).text(l.URI).
		int(4).int(l.Expiry.Unix()).
		int(6).int(l.IssuedAt.Unix()).
		int(65533).head(5, 2).text("bits").int(1).text("lst").bytes(compressed)
	if l.TTL >= time.Second {
		payload = payload.int(65534).int(int64(l.TTL / time.Second))
	}

	var alg int64
	var sign func(input []byte) ([]byte, error)
	switch k := key.Key.(type) {
	case ed25519.PrivateKey:
		alg, sign = -8, func(input []byte) ([]byte, error) { return ed25519.Sign(k, input), nil }
	case *ecdsa.PrivateKey: // RFC 9053, 2.1: r and s, 32 bytes each
		alg, sign = -7, func(input []byte) ([]byte, error) {
			digest := sha256.Sum256(input)
			r, s, err := ecdsa.Sign(rand.Reader, k, digest[:])
			if err != nil {
				return nil, err
			}
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...), nil
		}
	default:
		return "", ErrCannotSign
	}
	protected := cbor{}.head(5, 3).int(1).int(alg).int(4).bytes([]byte(key.KeyID)).int(16).text("application/statuslist+cwt")
	// RFC 9052, 4.4: what is signed.
	signature, err := sign(cbor{}.head(4, 4).text("Signature1").bytes(protected).bytes(nil).bytes(payload))
	if err != nil {
		return "", ErrCannotSign.Because(err)
	}
	return string(cbor{}.head(6, 18).head(4, 4).bytes(protected).head(5, 0).bytes(payload).bytes(signature)), nil
}

// cbor is a text in CBOR (RFC 8949) as far as it is written.
type cbor []byte

// head begins an item of a major type (section 3) with its argument, in the shortest
// form (section 4.2.1).
func (c cbor) head(major byte, n int) cbor {
	major <<= 5
	switch {
	case n < 24:
		return append(c, major|byte(n))
	case n < 1<<8:
		return append(c, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(c, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(c, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(c, major|27), uint64(n))
}

func (c cbor) int(n int64) cbor {
	if n < 0 {
		return c.head(1, int(-1-n))
	}
	return c.head(0, int(n))
}

func (c cbor) bytes(b []byte) cbor { return append(c.head(2, len(b)), b...) }
func (c cbor) text(s string) cbor  { return append(c.head(3, len(s)), s...) }
