package disclose

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// Rules is the bundle in force, and those before it. Who only installs needs no
// Logged.
type Rules struct {
	Bundles    Bundles
	Ceremonies Ceremonies // whose transcripts a bundle may name
	Now        func() time.Time

	// Logged returns the bundle with that hash if the public log itself, under a
	// cosigned checkpoint that is fresh, says that it is in force; else why not.
	// The database alone is not believed.
	Logged func(ctx context.Context, hash string) (*policy.Bundle, error)

	mu     sync.Mutex
	parsed map[string]*policy.Bundle
}

// Install puts a bundle in force: only after the one that it names, with the
// endorsement of as many of that one's custodians as its threshold, and only by a
// leaf in the public log, so that the rules cannot change in the dark. The one
// that is in force already is left alone. The refusals are those of
// [policy.Bundle.Follows] and ErrCeremonyNotLogged.
func (r *Rules) Install(ctx context.Context, bundle []byte, endorsements []string) error {
	b, err := policy.ParseBundle(bundle)
	if err != nil {
		return err
	}
	current, err := r.Current(ctx)
	if err != nil && !errors.Is(err, ErrNoBundle) {
		return err
	}
	after := ""
	if current != nil {
		if after = current.Hash(); after == b.Hash() {
			return nil
		}
		if b.Version == 1 { // it names no place, and could come again
			next := *b
			next.Version = policy.CurrentVersion
			return next.IsNext(current)
		}
	}
	if err := b.Follows(current, endorsements); err != nil {
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
	return r.Bundles.Install(ctx, bundle, endorsements, proof.BundleLeaf(r.Now(), b.Hash()), after)
}

// Current returns the bundle that is in force in the database, or ErrNoBundle. It
// asks each time, for another process may have installed one.
func (r *Rules) Current(ctx context.Context) (*policy.Bundle, error) {
	hashes, err := r.Bundles.History(ctx)
	if err != nil {
		return nil, err
	}
	if len(hashes) == 0 {
		return nil, ErrNoBundle
	}
	return r.bundle(ctx, hashes[len(hashes)-1])
}

// InForce returns the bundle that is in force, in the database as in the public
// log.
func (r *Rules) InForce(ctx context.Context) (*policy.Bundle, error) {
	b, err := r.Current(ctx)
	if err != nil {
		return nil, err
	}
	return r.Logged(ctx, b.Hash())
}

// Since returns the bundle of a case and those that came into force after it, in
// their order: the last is [Rules.InForce].
func (r *Rules) Since(ctx context.Context, hash string) ([]*policy.Bundle, error) {
	hashes, err := r.Bundles.History(ctx)
	if err != nil {
		return nil, err
	}
	from := slices.Index(hashes, hash)
	if from < 0 {
		return nil, ErrUnknownBundle
	}
	var since []*policy.Bundle
	for _, h := range hashes[from:] {
		b, err := r.bundle(ctx, h)
		if err != nil {
			return nil, err
		}
		since = append(since, b)
	}
	_, err = r.Logged(ctx, hashes[len(hashes)-1])
	return since, err
}

// bundle parses each bundle once: bytes with one hash never change.
func (r *Rules) bundle(ctx context.Context, hash string) (*policy.Bundle, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok := r.parsed[hash]; ok {
		return b, nil
	}
	raw, _, err := r.Bundles.Bundle(ctx, hash)
	if err != nil {
		return nil, err
	}
	b, err := policy.ParseBundle(raw)
	if err != nil {
		return nil, err
	}
	if b.Hash() != hash {
		return nil, ErrNotAsLogged
	}
	if r.parsed == nil {
		r.parsed = make(map[string]*policy.Bundle)
	}
	r.parsed[hash] = b
	return b, nil
}

// Bytes returns the bundle with that hash, byte for byte, or ErrUnknownBundle.
func (r *Rules) Bytes(ctx context.Context, hash string) ([]byte, error) {
	r.mu.Lock()
	b, ok := r.parsed[hash]
	r.mu.Unlock()
	if ok {
		return b.Marshal() // which is what was parsed
	}
	raw, _, err := r.Bundles.Bundle(ctx, hash)
	return raw, err
}

// under does what is decided under the bundle in force, again if another came
// into force meanwhile.
func under[T any](do func() (T, error)) (T, error) {
	const attempts = 3
	for n := 1; ; n++ {
		done, err := do()
		if e := refusal.Of(err); n == attempts || e == nil || e.Code != ErrRulesChanged.Code {
			return done, err
		}
	}
}
