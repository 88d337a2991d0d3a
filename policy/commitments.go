package policy

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/penname/penname/verifier/document"
)

// CommitmentsUnverified returns, for each target of w, what the token in its
// first piece of evidence commits to. It verifies nothing: it is for a
// submission that [Decide] allowed before, whose keys may have gone since.
func CommitmentsUnverified(s Submission, w *Warrant) ([][32]byte, error) {
	pieces := make(map[string]string, len(s.Evidence))
	for _, raw := range s.Evidence {
		sum := sha256.Sum256([]byte(raw))
		pieces[hex.EncodeToString(sum[:])] = raw
	}
	commitments := make([][32]byte, len(w.Targets))
	for i, t := range w.Targets {
		var evidence struct {
			Token string `json:"token"`
		}
		var claims struct {
			Commitment string `json:"penname_commitment"`
		}
		if !document.ReadUnverified(pieces[t.Evidence], &evidence) || !document.ReadUnverified(evidence.Token, &claims) {
			return nil, ErrBadEvidence
		}
		b, err := document.DecodeBase64(claims.Commitment)
		if err != nil || len(b) != 32 {
			return nil, ErrBadEvidence
		}
		commitments[i] = [32]byte(b)
	}
	return commitments, nil
}
