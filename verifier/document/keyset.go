package document

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"math/big"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// Limits of a JWK Set.
const (
	MaxKeySet = 64 << 10 // bytes
	maxKeys   = 64
)

// KeySet is a parsed JWK Set (RFC 7517, section 5) of public keys, in its order.
// Do not change it: it is shared.
type KeySet []Key

// Key is one public key and what it may be used for.
type Key struct {
	KeyID             string
	HasKeyID          bool
	Algorithm         jose.SignatureAlgorithm // the one it verifies; "" for a key that is for other readers
	Public            any                     // ed25519.PublicKey, *ecdsa.PublicKey or *rsa.PublicKey; nil with Algorithm ""
	NotBefore, Expiry time.Time               // when it signs; zero: no bound

	signs bool // use and key_ops allow verifying
	raw   []byte
}

// jwk lists every member of a JWK that is looked at. nbf and exp bound the time
// in which a key signs, as in OpenID Federation 1.0, section 8.7.
type jwk struct {
	Kty    string          `json:"kty"`
	Kid    *string         `json:"kid"`
	Use    *string         `json:"use"`
	KeyOps []string        `json:"key_ops"`
	Alg    string          `json:"alg"`
	Crv    string          `json:"crv"`
	X      string          `json:"x"`
	Y      string          `json:"y"`
	N      string          `json:"n"`
	E      string          `json:"e"`
	Nbf    json.RawMessage `json:"nbf"`
	Exp    json.RawMessage `json:"exp"`

	K    json.RawMessage `json:"k"`
	D    json.RawMessage `json:"d"`
	P    json.RawMessage `json:"p"`
	Q    json.RawMessage `json:"q"`
	DP   json.RawMessage `json:"dp"`
	DQ   json.RawMessage `json:"dq"`
	QI   json.RawMessage `json:"qi"`
	Oth  json.RawMessage `json:"oth"`
	Priv json.RawMessage `json:"priv"`
}

// ParseKeySet reads a JWK Set of at most 64 KiB and 64 keys, strictly. It refuses
// the whole set, with [BadKeySet], [BadKey], [WeakKey] or [AlgKeyMismatch], when
// one key is symmetric, private, weak (RSA under 2048 bits or with an exponent
// under 65537, one with the fingerprint of ROCA, an Ed25519 point of small order), off its curve or at odds with its
// alg, when two keys share a kid, or when one of several keys has no kid.
//
// Keys of other types and algorithms (P-384, RSA for PS256) may be in the set for other
// readers; a document that names one is refused. The optional members nbf and exp of
// a key, in seconds since 1970, bound the times of issue that it can vouch for.
//
// ParseKeySet does not check where the set comes from.
func ParseKeySet(jwks []byte) (KeySet, error) {
	if len(jwks) > MaxKeySet || CheckJSON(jwks) != nil {
		return nil, BadKeySet
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(jwks, &set) != nil || len(set.Keys) == 0 || len(set.Keys) > maxKeys {
		return nil, BadKeySet
	}
	keys := make(KeySet, 0, len(set.Keys))
	for _, raw := range set.Keys {
		k, err := ParseKey(raw)
		if err != nil {
			return nil, err
		}
		// RFC 7517, 4.5: "When 'kid' values are used within a JWK Set, different
		// keys within the JWK Set SHOULD use distinct 'kid' values."
		same := func(other Key) bool { return other.KeyID == k.KeyID }
		if !k.HasKeyID && len(set.Keys) > 1 || slices.ContainsFunc(keys, same) {
			return nil, BadKeySet
		}
		keys = append(keys, *k)
	}
	return keys, nil
}

// ParseKey reads one JWK (RFC 7517, section 4) that is strict JSON already, with
// the faults of [ParseKeySet].
func ParseKey(raw []byte) (*Key, error) {
	var j jwk
	if json.Unmarshal(raw, &j) != nil {
		return nil, BadKey
	}
	if j.Kty == "oct" {
		// A secret that was published is not secret; a short one is not even that.
		if secret, err := decodeRaw(j.K); err != nil || len(secret) < 32 {
			return nil, WeakKey
		}
		return nil, BadKeySet
	}
	for _, private := range []json.RawMessage{j.K, j.D, j.P, j.Q, j.DP, j.DQ, j.QI, j.Oth, j.Priv} {
		if private != nil {
			return nil, BadKey
		}
	}
	k := &Key{raw: raw}
	var err error
	if k.Public, err = j.publicKey(); err != nil {
		return nil, err
	}
	k.Algorithm = algorithmOf(k.Public)
	alg := older(j.Alg)
	ours := k.Algorithm != "" || slices.Contains(IDTokenAlgorithms, alg)
	if alg != "" && ours && alg != k.Algorithm {
		if j.Kty != "RSA" || slices.Contains(IDTokenAlgorithms, alg) {
			return nil, AlgKeyMismatch
		}
		k.Algorithm, k.Public = "", nil // RSA for another algorithm, which is for other readers
	}
	// RFC 7517, 4.2 and 4.3: use is "sig" or "enc", key_ops has "verify".
	k.signs = (j.Use == nil || *j.Use == "sig") && (j.KeyOps == nil || slices.Contains(j.KeyOps, "verify"))
	var ok bool
	if k.NotBefore, ok = NumericDate(j.Nbf); !ok && j.Nbf != nil {
		return nil, BadKey
	}
	if k.Expiry, ok = NumericDate(j.Exp); !ok && j.Exp != nil {
		return nil, BadKey
	}
	if j.Kid != nil {
		k.KeyID, k.HasKeyID = *j.Kid, true
	}
	return k, nil
}

// ParseSigner reads the JWK of somebody who signs documents with an exact header:
// a key with a usable kid, of one of our algorithms, for signatures.
func ParseSigner(jwk []byte) (*Key, error) {
	if err := CheckJSON(jwk); err != nil {
		return nil, err
	}
	k, err := ParseKey(jwk)
	switch {
	case err != nil:
		return nil, err
	case !slices.Contains(SignatureAlgorithms, k.Algorithm):
		return nil, errors.New("not a public Ed25519 or P-256 key")
	case !keyID.MatchString(k.KeyID):
		return nil, errors.New("no usable kid")
	case !k.signs:
		return nil, KeyUse
	}
	return k, nil
}

// Thumbprint is the SHA-256 of RFC 7638 in base64url.
func (k *Key) Thumbprint() (string, error) {
	jwk := jose.JSONWebKey{Key: k.Public}
	if k.Public == nil {
		if err := jwk.UnmarshalJSON(k.raw); err != nil {
			return "", BadKey
		}
	}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", BadKey
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// InForce reports whether the key vouches for something issued at t.
func (k *Key) InForce(t time.Time) bool {
	return !t.Before(k.NotBefore) && (k.Expiry.IsZero() || t.Before(k.Expiry))
}

// Verifies reports whether signature is one of input by the key (RFC 7515, 5.2, step 8).
func (k *Key) Verifies(input, signature []byte) bool { return verify(k.Public, input, signature) }

// Find chooses the key that d names, by kid only (RFC 7515, 4.1.4). Only a set
// with one candidate serves a document without kid. The error is a [Fault].
func (s KeySet) Find(d *Signed) (*Key, error) {
	var found *Key
	for i := range s {
		k := &s[i]
		if d.HasKeyID && k.KeyID != d.KeyID || !d.HasKeyID && (k.Algorithm != d.Algorithm || !k.signs) {
			continue
		}
		if found != nil {
			return nil, AmbiguousKey
		}
		found = k
	}
	switch {
	case found == nil && d.HasKeyID:
		return nil, UnknownKey
	case found == nil:
		return nil, AlgKeyMismatch
	case !found.signs:
		return nil, KeyUse
	case found.Algorithm != d.Algorithm:
		return nil, AlgKeyMismatch
	}
	return found, nil
}

// publicKey decodes the key material. A key that is sound but of no use here
// comes back as nil.
func (j *jwk) publicKey() (any, error) {
	switch {
	case j.Kty == "OKP" && j.Crv == "Ed25519": // RFC 8037, 2
		x, err := DecodeBase64(j.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return nil, BadKey
		}
		if smallOrder(x) {
			return nil, WeakKey
		}
		return ed25519.PublicKey(x), nil
	case j.Kty == "EC" && j.Crv == "P-256": // RFC 7518, 6.2.1
		x, errX := DecodeBase64(j.X)
		y, errY := DecodeBase64(j.Y)
		if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
			return nil, BadKey
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		if err != nil { // not on the curve
			return nil, BadKey
		}
		return public, nil
	case j.Kty == "RSA":
		return j.publicRSA()
	case j.Kty == "":
		return nil, BadKey
	}
	return nil, nil
}

// maxRSA bounds what one signature can cost: a check takes the square of a key's bits.
const maxRSA = 8192

// publicRSA decodes an RSA key (RFC 7518, 6.3.1, and 3.3: "A key of size 2048 bits or
// larger MUST be used").
func (j *jwk) publicRSA() (any, error) {
	modulus, errN := DecodeBase64(j.N)
	exponent, errE := DecodeBase64(j.E)
	if errN != nil || errE != nil {
		return nil, BadKey
	}
	n, e := new(big.Int).SetBytes(modulus), new(big.Int).SetBytes(exponent)
	if err := checkRSA(n, e); err != nil {
		return nil, err
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

func checkRSA(n, e *big.Int) error {
	switch {
	case n.BitLen() < 2048, e.Cmp(big.NewInt(65537)) < 0, n.Bit(0) == 0, e.Bit(0) == 0, roca(n):
		return WeakKey
	case n.BitLen() > maxRSA, e.BitLen() > 31:
		return BadKey
	}
	return nil
}

// roca reports the fingerprint of primes that can be found from the modulus
// (CVE-2017-15361; Nemec, Sys, Svenda, Klinec, Matyas: The Return of Coppersmith's Attack,
// section 2.1): modulo each small prime, the modulus is a power of 65537. By chance that
// happens to fewer than one modulus in a hundred million.
func roca(n *big.Int) bool {
	var rest big.Int
	for p := int64(3); p <= 167; p += 2 {
		if !big.NewInt(p).ProbablyPrime(0) {
			continue
		}
		want, power := rest.Mod(n, big.NewInt(p)).Int64(), int64(1)
		for range p {
			if power == want {
				break
			}
			power = power * 65537 % p
		}
		if power != want {
			return false
		}
	}
	return true
}

// decodeRaw decodes a JSON string of base64url.
func decodeRaw(raw json.RawMessage) ([]byte, error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	return DecodeBase64(s)
}

// smallOrder reports whether x encodes a point of order 1, 2, 4 or 8, with which
// one signature verifies many messages. These are the y coordinates of the
// torsion subgroup and the two of them that have a second encoding; the sign bit
// is ignored. TestT19 derives the list.
func smallOrder(x []byte) bool {
	y := [32]byte(x)
	y[31] &= 0x7f
	return slices.Contains(smallOrderY[:], y)
}

var smallOrderY = [...][32]byte{
	{},  // order 4
	{1}, // order 1
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05}, // order 8
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a}, // order 8
	{0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, // p-1, order 2
	{0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, // p = 0
	{0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, // p+1 = 1
}
