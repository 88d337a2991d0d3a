package disclose

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync/atomic"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// Rules is the bundle in force. Whoever only reads it needs nothing but Bundles.
type Rules struct {
	Bundles    Bundles
	Ceremonies Ceremonies // whose transcripts a bundle may name
	Now        func() time.Time

	parsed atomic.Pointer[policy.Bundle] // the one in force when last looked at
}

// Install puts a bundle in force: only with the endorsement of as many of its
// custodians as its threshold, and only by a leaf in the public log, so that
// the rules cannot change in the dark.
func (r *Rules) Install(ctx context.Context, bundle []byte, endorsements []string) error {
	b, err := policy.ParseBundle(bundle)
	if err != nil {
		return err
	}
	switch current, err := r.Current(ctx); {
	case err == nil && current.Hash() != b.Hash():
		// The custodians in force must agree to their successors.
		err = current.VerifySuccessor(b, endorsements)
		if err != nil {
			return err
		}
	case err == nil || errors.Is(err, ErrNoBundle):
		if err := b.VerifyEndorsements(endorsements); err != nil {
			return err
		}
	default:
		return err
	}
	if b.Ceremony != "" {
		// Or every later audit would find a key from nowhere.
		switch logged, err := r.Ceremonies.Logged(ctx, b.Ceremony); {
		case err != nil:
			return err
		case !logged:
			return ErrCeremonyNotLogged
		}
	}
	return r.Bundles.Install(ctx, bundle, endorsements, proof.BundleLeaf(r.Now(), b.Hash()))
}

// Current returns the bundle in force. It asks the store each time, for another
// process may have installed one, and parses what it has not parsed yet.
func (r *Rules) Current(ctx context.Context) (*policy.Bundle, error) {
	raw, _, err := r.Bundles.Current(ctx)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	if b := r.parsed.Load(); b != nil && b.Hash() == hex.EncodeToString(sum[:]) {
		return b, nil
	}
	b, err := policy.ParseBundle(raw)
	if err == nil {
		r.parsed.Store(b)
	}
	return b, err
}
