package token

import (
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Recorder makes the evidence of posts when they are made, while the token and the
// proof are at hand: what a platform did not keep then, it cannot show later.
type Recorder struct {
	Platform string           // this platform's client_id
	Key      jose.JSONWebKey  // its private key for evidence, or one with a [jose.OpaqueSigner]
	Now      func() time.Time // the clock, time.Now if nil
}

// Record returns the evidence of a post that was made with a token that was verified now:
// the one of [FromContext] behind [Verifier.Middleware], or of the sign-in. dpopProof is
// the request's DPoP header, "" if there is none. A post without a time was made now.
//
// It refuses, with [ErrEvidenceToken] and [ErrEvidenceProof], what no court could use,
// and what [SignEvidence] does.
func (r Recorder) Record(t *Token, dpopProof string, post Post) (string, error) {
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	at := now()
	if post.At.IsZero() {
		post.At = at
	}
	if t.Audience != r.Platform {
		return "", ErrEvidenceToken
	}
	e := Evidence{Version: EvidenceVersion, Platform: r.Platform, Token: t.Raw, Proof: dpopProof, Post: post, At: at}
	if err := e.checkProof(t); err != nil {
		return "", err
	}
	return SignEvidence(r.Key, e)
}
