package token

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
)

// Pseudonym is a person's name on one platform: 16 bytes in bech32m (BIP 350)
// under "pen". A value from [NewPseudonym], [ParsePseudonym] or a verified
// [Token] is well formed.
type Pseudonym string

const (
	pseudonymSize = 16                                 // bytes
	prefix        = "pen1"                             // human-readable part and separator
	alphabet      = "qpzry9x8gf2tvdw0s3jn54khce6mua7l" // BIP 173, "Bech32"
	checksumChars = 6
	pseudonymLen  = len(prefix) + (pseudonymSize*8+4)/5 + checksumChars // 36
)

// NewPseudonym spells 16 bytes. It refuses any other length with [ErrBadPseudonym].
func NewPseudonym(raw []byte) (Pseudonym, error) {
	if len(raw) != pseudonymSize {
		return "", ErrBadPseudonym
	}
	// BIP 173, "Segwit address format": "Re-arrange those bits into groups of 5,
	// and pad with zeroes at the end if needed."
	values := make([]byte, 0, pseudonymLen)
	var acc, bits uint
	for _, b := range raw {
		acc, bits = acc<<8|uint(b), bits+8
		for ; bits >= 5; bits -= 5 {
			values = append(values, byte(acc>>(bits-5)&31))
		}
	}
	values = append(values, byte(acc<<(5-bits)&31))
	sum := checksum(append(values, make([]byte, checksumChars)...)) ^ bech32m
	for i := range checksumChars {
		values = append(values, byte(sum>>(5*(checksumChars-1-i))&31))
	}
	var s strings.Builder
	s.WriteString(prefix)
	for _, v := range values {
		s.WriteByte(alphabet[v])
	}
	return Pseudonym(s.String()), nil
}

// ParsePseudonym checks the spelling and the checksum of s. Upper and mixed case
// are refused, although BIP 173 allows the former: a pseudonym is a user id and
// has one spelling. The error is [ErrBadPseudonym].
func ParsePseudonym(s string) (Pseudonym, error) {
	if len(s) != pseudonymLen || !strings.HasPrefix(s, prefix) {
		return "", ErrBadPseudonym
	}
	values := make([]byte, 0, pseudonymLen)
	for _, c := range []byte(s[len(prefix):]) {
		v := strings.IndexByte(alphabet, c)
		if v < 0 {
			return "", ErrBadPseudonym
		}
		values = append(values, byte(v))
	}
	// 16 bytes fill 25 groups and 3 bits of the 26th.
	// BIP 173: "Any incomplete group at the end MUST be 4 bits or less, MUST be all zeroes, and is discarded."
	if checksum(values) != bech32m || values[len(values)-checksumChars-1]&3 != 0 {
		return "", ErrBadPseudonym
	}
	return Pseudonym(s), nil
}

// CopiedPseudonym is [ParsePseudonym] of what a person copied, perhaps off a paper:
// with space around it, or all in capitals. BIP 173: "Decoders MUST NOT accept
// strings where some characters are uppercase and some are lowercase".
func CopiedPseudonym(s string) (Pseudonym, error) {
	if s = strings.TrimSpace(s); s == strings.ToUpper(s) {
		s = strings.ToLower(s)
	}
	return ParsePseudonym(s)
}

// String returns the pseudonym as it is written.
func (p Pseudonym) String() string { return string(p) }

// bech32m is the constant of BIP 350 that the checksum of a valid string equals.
const bech32m = 0x2bc830a3

// checksum is bech32_polymod of BIP 173 over "pen" expanded and the values.
func checksum(values []byte) uint32 {
	sum := uint32(1)
	step := func(v byte) {
		top := sum >> 25
		sum = sum&0x1ffffff<<5 ^ uint32(v)
		for i, g := range [...]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	for _, v := range [...]byte{'p' >> 5, 'e' >> 5, 'n' >> 5, 0, 'p' & 31, 'e' & 31, 'n' & 31} {
		step(v)
	}
	for _, v := range values {
		step(v)
	}
	return sum
}

// Commit is the commitment that a token carries to the sealed record behind its
// pseudonym, so that nobody can attach another person to it later:
//
//	SHA-256("penname/link/v1" ‖ len(p) ‖ p ‖ len(recordLabel) ‖ recordLabel ‖ len(salt) ‖ salt)
//
// Lengths are in bytes, as 32-bit big-endian numbers. The salt is 32 random bytes
// that are kept with the link; without it the commitment says nothing.
func Commit(p Pseudonym, recordLabel string, salt [32]byte) [32]byte {
	msg := append(make([]byte, 0, 512), "penname/link/v1"...)
	for _, part := range []string{string(p), recordLabel, string(salt[:])} {
		msg = binary.BigEndian.AppendUint32(msg, uint32(len(part)))
		msg = append(msg, part...)
	}
	return sha256.Sum256(msg)
}
