package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"iter"
	"time"
)

// Salt is the salt of the commitment that the tokens of one sign-in carry
// (token.Commit): of the seed in the link, the UTC day of the sign-in, and n, which
// is drawn at random.
//
//	salt = HMAC-SHA-256(seed, "penname/salt/v1" ‖ days since 1970 (64 bits) ‖ n)
//
// So every sign-in of everybody has another commitment, and one that commits to
// another record looks like all the others. Nothing is stored for it: whoever opens
// the link finds the salt again among [Salts]. It tells nothing of the seed.
func Salt(seed [32]byte, signedIn time.Time, n uint8) [32]byte {
	var out [32]byte
	writeSalt(out[:0], hmac.New(sha256.New, seed[:]), saltMessage(signedIn, n))
	return out
}

func writeSalt(out []byte, h hash.Hash, message []byte) {
	h.Reset()
	h.Write(message)
	h.Sum(out)
}

func saltMessage(signedIn time.Time, n uint8) []byte {
	b := binary.BigEndian.AppendUint64([]byte("penname/salt/v1"), uint64(signedIn.Unix()/int64(day/time.Second)))
	return append(b, n)
}

const day = 24 * time.Hour

// longestSignIn is how long after a sign-in tokens are issued for it: as long as
// refresh tokens live, and a day for the clocks of several machines.
const longestSignIn = 32

// Salts are those that a token which was issued then may have been committed with:
// the seed, with which tokens were committed before there was a salt for each
// sign-in, and then the others, the likely ones first.
func Salts(seed [32]byte, issued time.Time) iter.Seq[[32]byte] {
	return func(yield func([32]byte) bool) {
		if !yield(seed) {
			return
		}
		var salt [32]byte
		h := hmac.New(sha256.New, seed[:])
		for back := range longestSignIn + 2 {
			signedIn := issued.Add(-time.Duration(back) * day)
			if back == longestSignIn+1 {
				signedIn = issued.Add(day) // another machine's clock
			}
			message := saltMessage(signedIn, 0)
			for n := range 256 {
				message[len(message)-1] = uint8(n)
				writeSalt(salt[:0], h, message)
				if !yield(salt) {
					return
				}
			}
		}
	}
}
