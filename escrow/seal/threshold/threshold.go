// Package threshold is TDH2, the threshold cryptosystem of Shoup and Gennaro
// that is secure against chosen ciphertexts, on the group ristretto255.
//
//	V. Shoup, R. Gennaro, Securing Threshold Cryptosystems against Chosen
//	Ciphertext Attack, J. Cryptology 15(2), 75–96, 2002: the scheme TDH2.
//
// A 32-byte message is encrypted to n custodians under a label that everybody
// sees. Any t of them open it by one [Share] each; t-1 of them learn nothing. A
// share is good for one ciphertext only, proves that it is right, and a wrong
// one names its maker ([BlameError]).
//
// The paper's names, used in the code and in the equations beside it, and what
// they are here:
//
//	G, q      ristretto255 (RFC 9496) and its order
//	g         its generator
//	ḡ         HashToElement("penname/tdh2/v1/second-generator"): nobody knows log_g ḡ
//	h         g^x, the public key; x is never in one place
//	h_i       g^{x_i}, the verification key of custodian i; x_i = F(i), deg F = t-1
//	H1        SHA-256 of the element: the pad of the message
//	H2, H4    hash_to_field of expand_message_xmd(SHA-512): challenges of the
//	          ciphertext's and of a share's proof
//
// We bind more than the paper asks (strong Fiat-Shamir): H2 takes h too, and H4
// takes the whole key set, the index, h_i and the whole ciphertext with its
// label. Hashes are separated by domain and every input has its length in front.
//
// Secret scalars meet circl's constant-time arithmetic only. No table is looked
// up by a secret (ATTACKS C21, CVE-2023-25000), no math/big, no NIST curve.
//
// Every encoding is canonical: what parses marshals to the same bytes.
// testdata/tdh2.json holds vectors for an independent implementation, and
// testdata/check_tdh2.py is one.
//
// What is not defended: t custodians who keep their old key shares after a
// resharing can still open old records together; destroying old shares is a
// duty, and the first half (escrow/seal) stands behind it. Discrete logarithms
// fall to a large quantum computer; the first half is symmetric.
package threshold

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/cloudflare/circl/group"

	"github.com/penname/penname/verifier/refusal"
)

// Every way in which this package refuses. Those about a participant carry a
// [*BlameError] as cause.
var (
	ErrThreshold    = refusal.New(refusal.Invalid, "custodian.bad_threshold", "The threshold must be at least 2, at most the number of custodians, and there may be at most 64 custodians; choose other numbers.")
	ErrPublicKey    = refusal.New(refusal.Invalid, "custodian.bad_public_key", "The custodians' public key is malformed or its shares do not fit together; fetch it again from the endorsed bundle.")
	ErrKeyShare     = refusal.New(refusal.Invalid, "custodian.bad_key_share", "The key share is malformed or does not fit the public key; use the share that the last key ceremony gave to this custodian.")
	ErrCiphertext   = refusal.New(refusal.Invalid, "custodian.bad_ciphertext", "The sealed half is malformed, was changed, or was sealed to another public key; fetch the record again.")
	ErrShare        = refusal.New(refusal.Invalid, "custodian.malformed_share", "The share is truncated or not in canonical form; ask the custodian to release it again.")
	ErrIndex        = refusal.New(refusal.Invalid, "custodian.no_such_custodian", "The share's index is zero or greater than the number of custodians; it was not made by a custodian of this set.")
	ErrDuplicate    = refusal.New(refusal.Invalid, "custodian.duplicate_share", "One custodian's share is there twice and counts once; ask another custodian.")
	ErrEpoch        = refusal.New(refusal.Invalid, "custodian.other_epoch", "The share or key belongs to another epoch of the custodians' key; release it again with the key share of the current epoch.")
	ErrForeign      = refusal.New(refusal.Invalid, "custodian.foreign_set", "The share or key belongs to another set of custodians or another threshold; ask the custodians of this set.")
	ErrOtherRecord  = refusal.New(refusal.Invalid, "custodian.other_record", "The share was made for another record; ask the custodian to release the share of this record.")
	ErrShareProof   = refusal.New(refusal.Invalid, "custodian.bad_share_proof", "The share's proof does not hold: it was changed or its maker did not use their key share; the cause names the maker.")
	ErrTooFewShares = refusal.New(refusal.NotYet, "custodian.too_few_shares", "Fewer custodians than the threshold have released a share; wait for another.")
	ErrRandom       = refusal.New(refusal.Unavailable, "custodian.no_randomness", "The source of randomness failed; nothing was done, try again.")
)

// BlameError names the custodians whose contribution was wrong, by index (1 to
// n), ascending. It is the cause of the refusal that says what was wrong.
type BlameError struct {
	Indices []int
	Role    Role // in a resharing, where two sets have their own indices
}

// Role says which set of a [Ceremony] an index counts in. Elsewhere it is empty.
type Role string

// The roles. In a key generation both are the same people.
const (
	RoleDealer   Role = "dealer"   // the old set in a resharing
	RoleReceiver Role = "receiver" // the new set
)

// Error lists the indices.
func (e *BlameError) Error() string {
	role := e.Role
	if role == "" {
		role = "custodian"
	}
	return fmt.Sprintf("at fault: %s %v", role, e.Indices)
}

func blame(err *refusal.Error, indices ...int) error { return blameAs("", err, indices...) }

func blameAs(role Role, err *refusal.Error, indices ...int) error {
	slices.Sort(indices)
	return err.Because(&BlameError{Indices: slices.Compact(indices), Role: role})
}

// MaxCustodians bounds n, and so what a key from outside costs: at most 4096
// additions.
const MaxCustodians = 64

const (
	elementSize = 32 // RFC 9496, 4.3.2
	scalarSize  = 32 // RFC 9496, 4.4
	domain      = "penname/tdh2/v1/"
)

var (
	curve = group.Ristretto255
	// ḡ, the second generator. RFC 9380, appendix B: hash_to_ristretto255,
	// expand_message_xmd with SHA-512; the message is empty.
	gBar     = curve.HashToElement(nil, []byte(domain+"second-generator"))
	gBarBase = &fixedBase{of: gBar}
)

// frame appends each part with its length, 4 bytes big-endian, in front, so
// that two lists of parts never give the same bytes.
func frame(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// challenge hashes to Z_q: RFC 9497, 4.1, HashToScalar of ristretto255-SHA512,
// with "penname/tdh2/v1/"+name as its domain separation tag.
func challenge(name string, parts ...[]byte) group.Scalar {
	return curve.HashToScalar(frame(parts...), []byte(domain+name))
}

// digest is SHA-256 with the name in front.
func digest(name string, parts ...[]byte) [32]byte {
	return sha256.Sum256(append([]byte(domain+name), frame(parts...)...))
}

// randomScalar reads 64 bytes, so its bias is below 2^-250. circl's own
// RandomScalar ignores its reader on this group. More is hashed in, so that a
// nonce stays secret and unique where the reader is weak.
func randomScalar(rand io.Reader, more ...[]byte) (group.Scalar, error) {
	seed := make([]byte, 64)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return nil, ErrRandom.Because(err)
	}
	return challenge("random", append([][]byte{seed}, more...)...), nil
}

func mul(p group.Element, k group.Scalar) group.Element { return curve.NewElement().Mul(p, k) }
func mulGen(k group.Scalar) group.Element               { return curve.NewElement().MulGen(k) }
func sub(p, q group.Element) group.Element {
	return curve.NewElement().Add(p, curve.NewElement().Neg(q))
}
func integer(i int) group.Scalar { return curve.NewScalar().SetUint64(uint64(i)) }

// bytesOf encodes an element or a scalar; circl's ristretto255 never fails here.
func bytesOf(v interface{ MarshalBinary() ([]byte, error) }) []byte {
	b, err := v.MarshalBinary()
	if err != nil {
		panic("threshold: ristretto255 does not encode: " + err.Error())
	}
	return b
}

// lagrange returns the coefficients λ_j such that F(0) = Σ λ_j F(xs_j) for every F
// of degree below len(xs). The indices are public.
func lagrange(xs []int) []group.Scalar {
	out := make([]group.Scalar, len(xs))
	for j, xj := range xs {
		num, den := integer(1), integer(1)
		for m, xm := range xs {
			if m == j {
				continue
			}
			num.Mul(num, integer(xm))
			den.Mul(den, curve.NewScalar().Sub(integer(xm), integer(xj)))
		}
		out[j] = num.Mul(num, curve.NewScalar().Inv(den))
	}
	return out
}

// interpolate returns Σ λ_j P_j, which is F(0) "in the exponent".
func interpolate(xs []int, ps []group.Element) group.Element {
	sum := curve.Identity()
	for j, l := range lagrange(xs) {
		sum.Add(sum, mul(ps[j], l))
	}
	return sum
}

// polynomial holds coefficients of F, constant term first.
type polynomial []group.Scalar

func (p polynomial) at(i int) group.Scalar {
	x, y := integer(i), curve.NewScalar()
	for k := len(p) - 1; k >= 0; k-- {
		y.Mul(y, x).Add(y, p[k])
	}
	return y
}

func checkThreshold(t, n int) error {
	// t = 1 would let one custodian open alone (ATTACKS C17).
	if t < 2 || t > n || n > MaxCustodians {
		return ErrThreshold
	}
	return nil
}
