package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	stdjson "encoding/json"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
)

// The forge makes tokens, right and wrong, without the code under test and
// without go-jose: encoder and decoder must not share a mistake.

const (
	issuer   = "https://penname.example"
	platform = "town-square"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// edKey is an Ed25519 key from a name.
func edKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// ecKey is a P-256 key from a name.
func ecKey(name string) *ecdsa.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		panic(err)
	}
	return key
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

type object = map[string]any

func marshal(v any) string {
	b, err := stdjson.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// with is a copy of o with changes; a nil value deletes.
func with(o object, changes ...object) object {
	c := maps.Clone(o)
	for _, change := range changes {
		for k, v := range change {
			if c[k] = v; v == nil {
				delete(c, k)
			}
		}
	}
	return c
}

// rawSign signs with the algorithm of the key's type: r‖s for ECDSA, RS256 for RSA.
func rawSign(key any, input string) []byte {
	switch k := key.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(k, []byte(input))
	case *ecdsa.PrivateKey:
		sum := sha256.Sum256([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case *rsa.PrivateKey:
		sum := sha256.Sum256([]byte(input))
		sig, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return sig
	}
	panic("no such key")
}

// compact signs any two strings as header and payload.
func compact(key any, header, payload string) string {
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	return input + "." + b64(rawSign(key, input))
}

// forged is a token with a header and claims.
func forged(key any, header, claims object) string {
	return compact(key, marshal(header), marshal(claims))
}

func edHeader() object { return object{"alg": "EdDSA", "kid": "ed", "typ": "JWT"} }
func ecHeader() object { return object{"alg": "ES256", "kid": "ec", "typ": "JWT"} }

func goodClaims() object {
	return object{
		"iss": issuer, "sub": string(pen(1)), "aud": platform, "exp": noon.Add(5 * time.Minute).Unix(), "iat": noon.Unix(),
		"jti": "token-1", "acr": "urn:penname:proofed", "nonce": "n-0S6", "penname_commitment": b64(make([]byte, 32)),
	}
}

func pen(n byte) Pseudonym {
	p, err := NewPseudonym([]byte{n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	if err != nil {
		panic(err)
	}
	return p
}

func edJWK(key ed25519.PrivateKey, kid string) object {
	return object{"kty": "OKP", "crv": "Ed25519", "x": b64(key.Public().(ed25519.PublicKey)), "kid": kid, "use": "sig", "alg": "EdDSA"}
}

func ecJWK(key *ecdsa.PrivateKey, kid string) object {
	point, err := key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return object{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:]), "kid": kid, "use": "sig", "alg": "ES256"}
}

func jwks(keys ...object) []byte { return []byte(marshal(object{"keys": keys})) }

func mustKeys(t testing.TB, keys ...object) *KeySet {
	t.Helper()
	s, err := ParseKeySet(jwks(keys...))
	if err != nil {
		t.Fatalf("ParseKeySet: %v", err)
	}
	return s
}

// issuerKeys is the issuer's key set: one key for each algorithm.
func issuerKeys(t testing.TB) *KeySet {
	return mustKeys(t, edJWK(edKey("issuer"), "ed"), ecJWK(ecKey("issuer"), "ec"))
}

func newVerifier(t testing.TB) *Verifier {
	return &Verifier{Issuer: issuer, Audience: platform, Keys: StaticKeys(issuerKeys(t)), Now: func() time.Time { return noon }}
}

// expect checks that v refuses raw with one of the refusals and nothing else: no
// token, and an error that is a constant.
func expect(t testing.TB, v *Verifier, raw string, want ...*refusal.Error) {
	t.Helper()
	got, err := v.Verify(context.Background(), raw)
	expectRefusal(t, err, want...)
	if got != nil { // T48: a value beside an error is an invitation
		t.Errorf("a token came with the error %v", err)
	}
}

func expectRefusal(t testing.TB, err error, want ...*refusal.Error) {
	t.Helper()
	got := refusal.Of(err)
	if got == nil {
		t.Errorf("got %v, want %v", err, want[0].Code)
		return
	}
	for _, w := range want {
		if got.Code == w.Code {
			if err.Error() != w.Error() { // the text is the declared constant
				t.Errorf("%s has the text %q", w.Code, err)
			}
			return
		}
	}
	t.Errorf("got %s, want %s", got.Code, want[0].Code)
}

func expectPass(t testing.TB, v *Verifier, raw string) *Token {
	t.Helper()
	got, err := v.Verify(context.Background(), raw)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	return got
}

// privateJWK is a key for the signing functions of the package.
func privateJWK(key any, kid string) jose.JSONWebKey { return jose.JSONWebKey{Key: key, KeyID: kid} }

// asDER is an ECDSA signature as ASN.1, as crypto.Signer returns it.
func asDER(rs []byte) []byte {
	integer := func(b []byte) []byte {
		n := new(big.Int).SetBytes(b).Bytes()
		if len(n) == 0 || n[0]&0x80 != 0 {
			n = append([]byte{0}, n...)
		}
		return append([]byte{2, byte(len(n))}, n...)
	}
	body := append(integer(rs[:32]), integer(rs[32:])...)
	return append([]byte{0x30, byte(len(body))}, body...)
}

func segments(raw string) (header, payload, signature string) {
	parts := strings.Split(raw, ".")
	return parts[0], parts[1], parts[2]
}
