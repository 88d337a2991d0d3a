package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/penname/penname/verifier/document"
)

// Committed is what a token commits to, and when the token was issued: every sign-in
// has a commitment of its own, see seal.Salt.
type Committed struct {
	Commitment [32]byte
	Issued     time.Time
}

// CommitmentsUnverified returns, for each target of w, what the token in its
// first piece of evidence commits to; nil of one whose piece cannot be read, as
// that of a target that [Decide] refused can be. It verifies nothing: it is for a
// submission that was allowed before, whose keys may have gone since.
func CommitmentsUnverified(s Submission, w *Warrant) []*Committed {
	pieces := make(map[string]string, len(s.Evidence))
	for _, raw := range s.Evidence {
		sum := sha256.Sum256([]byte(raw))
		pieces[hex.EncodeToString(sum[:])] = raw
	}
	commitments := make([]*Committed, len(w.Targets))
	for i, t := range w.Targets {
		var evidence struct {
			Token string `json:"token"`
		}
		var claims struct {
			Commitment string  `json:"penname_commitment"`
			Issued     float64 `json:"iat"` // NumericDate, RFC 7519, 2: may have a fraction
		}
		if !document.ReadUnverified(pieces[t.Evidence], &evidence) || !document.ReadUnverified(evidence.Token, &claims) {
			continue
		}
		if b, err := document.DecodeBase64(claims.Commitment); err == nil && len(b) == 32 {
			commitments[i] = &Committed{[32]byte(b), time.Unix(int64(claims.Issued), 0).UTC()}
		}
	}
	return commitments
}
