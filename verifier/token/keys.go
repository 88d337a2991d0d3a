package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"math/big"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

const (
	maxKeySet = 64 << 10 // bytes
	maxKeys   = 64
)

// KeySet is a parsed JWK Set (RFC 7517, section 5) of public keys. It is
// immutable and safe for concurrent use.
type KeySet struct {
	keys    []verificationKey
	refresh func(context.Context) (*KeySet, error) // set by HTTPKeySource
}

// verificationKey is one key and what it may be used for.
type verificationKey struct {
	kid               string
	alg               jose.SignatureAlgorithm // "" for a key that this package never verifies with
	signs             bool                    // use and key_ops allow verifying
	public            any                     // ed25519.PublicKey or *ecdsa.PublicKey
	notBefore, expiry time.Time               // zero: no bound
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
// the whole set, with [ErrBadKeySet], [ErrBadKey] or [ErrWeakKey], when one key is
// symmetric, private, weak (RSA under 2048 bits or with an exponent under 65537,
// an Ed25519 point of small order), off its curve or at odds with its alg, when
// two keys share a kid, or when one of several keys has no kid.
//
// Keys of other types and algorithms (RSA, P-384) may be in the set for other
// readers; a token that names one is refused. The optional members nbf and exp of
// a key, in seconds since 1970, bound the times of issue that it can vouch for.
//
// ParseKeySet does not check where the set comes from.
func ParseKeySet(jwks []byte) (*KeySet, error) {
	if len(jwks) > maxKeySet || checkJSON(jwks) != nil {
		return nil, ErrBadKeySet
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(jwks, &set) != nil || len(set.Keys) == 0 || len(set.Keys) > maxKeys {
		return nil, ErrBadKeySet
	}
	s := &KeySet{keys: make([]verificationKey, 0, len(set.Keys))}
	for _, raw := range set.Keys {
		k, hasKid, err := parseKey(raw)
		if err != nil {
			return nil, err
		}
		// RFC 7517, 4.5: "When 'kid' values are used within a JWK Set, different
		// keys within the JWK Set SHOULD use distinct 'kid' values."
		same := func(other verificationKey) bool { return other.kid == k.kid }
		if !hasKid && len(set.Keys) > 1 || slices.ContainsFunc(s.keys, same) {
			return nil, ErrBadKeySet
		}
		s.keys = append(s.keys, k)
	}
	return s, nil
}

// parseKey reads one JWK (RFC 7517, section 4).
func parseKey(raw []byte) (k verificationKey, hasKid bool, err error) {
	var j jwk
	if json.Unmarshal(raw, &j) != nil {
		return k, false, ErrBadKey
	}
	if j.Kty == "oct" {
		// A published secret is no secret; a short one is not even that.
		if secret, err := decodeRaw(j.K); err != nil || len(secret) < 32 {
			return k, false, ErrWeakKey
		}
		return k, false, ErrBadKeySet
	}
	for _, private := range []json.RawMessage{j.K, j.D, j.P, j.Q, j.DP, j.DQ, j.QI, j.Oth, j.Priv} {
		if private != nil {
			return k, false, ErrBadKey
		}
	}
	if k.public, k.alg, err = j.publicKey(); err != nil {
		return k, false, err
	}
	if j.Alg != "" && k.alg != "" && j.Alg != string(k.alg) {
		return k, false, ErrAlgKeyMismatch
	}
	if slices.Contains(algorithms, jose.SignatureAlgorithm(j.Alg)) && k.alg == "" {
		return k, false, ErrAlgKeyMismatch
	}
	// RFC 7517, 4.2 and 4.3: use is "sig" or "enc", key_ops has "verify".
	k.signs = (j.Use == nil || *j.Use == "sig") && (j.KeyOps == nil || slices.Contains(j.KeyOps, "verify"))
	var ok bool
	if k.notBefore, ok = numericDate(j.Nbf); !ok && j.Nbf != nil {
		return k, false, ErrBadKey
	}
	if k.expiry, ok = numericDate(j.Exp); !ok && j.Exp != nil {
		return k, false, ErrBadKey
	}
	if j.Kid != nil {
		k.kid = *j.Kid
	}
	return k, j.Kid != nil, nil
}

// publicKey decodes the key material. A key that is sound but of no use here
// comes back as nil with no algorithm.
func (j *jwk) publicKey() (any, jose.SignatureAlgorithm, error) {
	switch {
	case j.Kty == "OKP" && j.Crv == "Ed25519": // RFC 8037, 2
		x, err := decodeBase64(j.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return nil, "", ErrBadKey
		}
		if smallOrder(x) {
			return nil, "", ErrWeakKey
		}
		return ed25519.PublicKey(x), jose.EdDSA, nil
	case j.Kty == "EC" && j.Crv == "P-256": // RFC 7518, 6.2.1
		x, errX := decodeBase64(j.X)
		y, errY := decodeBase64(j.Y)
		if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
			return nil, "", ErrBadKey
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		if err != nil { // not on the curve
			return nil, "", ErrBadKey
		}
		return public, jose.ES256, nil
	case j.Kty == "RSA": // RFC 7518, 6.3.1 and 3.3: "A key of size 2048 bits or larger MUST be used"
		n, errN := decodeBase64(j.N)
		e, errE := decodeBase64(j.E)
		if errN != nil || errE != nil {
			return nil, "", ErrBadKey
		}
		exponent := new(big.Int).SetBytes(e)
		if new(big.Int).SetBytes(n).BitLen() < 2048 || exponent.Cmp(big.NewInt(65537)) < 0 || exponent.Bit(0) == 0 {
			return nil, "", ErrWeakKey
		}
	case j.Kty == "":
		return nil, "", ErrBadKey
	}
	return nil, "", nil
}

// decodeRaw decodes a JSON string of base64url.
func decodeRaw(raw json.RawMessage) ([]byte, error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	return decodeBase64(s)
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

// find chooses the key that j names, by kid only (RFC 7515, section 4.1.4). Only a
// set with one candidate serves a token without kid.
func (s *KeySet) find(j *jws, a area) (*verificationKey, error) {
	var found *verificationKey
	for i := range s.keys {
		k := &s.keys[i]
		if j.hasKid && k.kid != j.kid || !j.hasKid && (k.alg != j.alg || !k.signs) {
			continue
		}
		if found != nil {
			return nil, a[ambiguousKey]
		}
		found = k
	}
	switch {
	case found == nil && j.hasKid:
		return nil, a[unknownKid]
	case found == nil:
		return nil, a[algKeyMismatch]
	case !found.signs:
		return nil, a[keyUse]
	case found.alg != j.alg:
		return nil, a[algKeyMismatch]
	}
	return found, nil
}

// inForce reports whether the key vouches for something issued at t.
func (k *verificationKey) inForce(t time.Time) bool {
	return !t.Before(k.notBefore) && (k.expiry.IsZero() || t.Before(k.expiry))
}

// open verifies j with the key of s that it names, refreshing s once when it does
// not know the kid.
func (s *KeySet) open(ctx context.Context, j *jws, a area) (*verificationKey, error) {
	k, err := s.find(j, a)
	if errors.Is(err, a[unknownKid]) && s.refresh != nil {
		fresh, refreshErr := s.refresh(ctx)
		if refreshErr != nil {
			return nil, ErrKeysUnavailable.Because(refreshErr)
		}
		k, err = fresh.find(j, a)
	}
	if err != nil {
		return nil, err
	}
	if err := j.verify(k.public, a); err != nil {
		return nil, err
	}
	return k, nil
}
