package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
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
	h := hmac.New(sha256.New, seed[:])
	h.Write([]byte("penname/salt/v1"))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(signedIn.Unix()/int64(day/time.Second))))
	h.Write([]byte{n})
	return [32]byte(h.Sum(nil))
}

const day = 24 * time.Hour

// longestSignIn is how long after a sign-in tokens are issued for it: as long as
// refresh tokens live, and a day for the clocks of several machines.
const longestSignIn = 32

// Salts are those that a token which was issued then may have been committed with,
// the likely ones first; the last is the seed, with which tokens were committed
// before there was a salt for each sign-in.
func Salts(seed [32]byte, issued time.Time) iter.Seq[[32]byte] {
	return func(yield func([32]byte) bool) {
		for back := range longestSignIn + 2 {
			signedIn := issued.Add(-time.Duration(back) * day)
			if back == longestSignIn+1 {
				signedIn = issued.Add(day) // another machine's clock
			}
			for n := range 256 {
				if !yield(Salt(seed, signedIn, uint8(n))) {
					return
				}
			}
		}
		yield(seed)
	}
}
