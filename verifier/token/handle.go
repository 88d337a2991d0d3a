package token

import "strings"

// Handle is the short name by which a platform may show somebody: the first characters of
// the pen name after "pen1", at least [MinHandle] and as many as nobody else at that
// platform has, and a check character. It has lower-case letters and digits only.
//
// A handle names nobody by itself, not even with its platform: a court names a pen name.
type Handle string

// MinHandle is the least number of characters of a pen name that are in a [Handle].
const MinHandle = 10

// MaxHandle is the number of characters with which a handle is one pen name's, whatever
// others there are: all that its 16 bytes are spelled with.
const MaxHandle = pseudonymLen - len(prefix) - checksumChars

// Handle is the handle of p with n of its characters, [MinHandle] to [MaxHandle].
func (p Pseudonym) Handle(n int) Handle {
	s := string(p)[len(prefix):][:n]
	return Handle(s + string(alphabet[double(weigh(s))]))
}

// Has reports whether h is a handle of p, with however many characters.
func (p Pseudonym) Has(h Handle) bool {
	n := len(h) - 1
	return n >= MinHandle && n <= MaxHandle && len(p) == pseudonymLen && p.Handle(n) == h
}

// IsHandle reports whether s is spelled as a handle, with the right check character. One
// wrong character, and two that changed places, are always found.
func IsHandle(s string) bool {
	n := len(s) - 1
	return n >= MinHandle && n <= MaxHandle && strings.Trim(s, alphabet) == "" && weigh(s) == 0
}

// NearHandle reports whether one slip could make s of a handle, a wrong character or a
// missing one: all characters but one are those of handles, and there are about as many.
func NearHandle(s string) bool {
	n, strange := len(s)-1, 0
	for _, c := range s {
		if !strings.ContainsRune(alphabet, c) {
			strange++
		}
	}
	return n >= MinHandle-1 && n <= MaxHandle+1 && strange <= 1 && !strings.HasPrefix(s, prefix)
}

// weigh is 0 for what ends with its check character. It is the algorithm of H. M. Damm
// (Total anti-symmetrische Quasigruppen, Marburg 2004) with x∘y = 2(x+y) over the field
// of 32 elements, whose elements are the characters of BIP 173. The weight of each place
// is a power of 2, and no two of up to 31 are equal: so the sum changes with every
// single character, and with every two that differ and change places.
func weigh(s string) byte {
	sum := byte(1) // so that a q, which is 0, counts at the beginning too
	for _, c := range []byte(s) {
		sum = double(sum) ^ byte(strings.IndexByte(alphabet, c))
	}
	return sum
}

// double multiplies by 2 in the field of 32 elements of BIP 173, modulo x⁵ + x³ + 1.
func double(v byte) byte {
	if v <<= 1; v >= 32 {
		v ^= 0b101001
	}
	return v
}
