package rules

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// Fetch gets the bytes of the bundle with that hex SHA-256, and the endorsements
// with which it came into force. Whoever answers is not trusted.
type Fetch func(ctx context.Context, hash string) (bundle []byte, endorsements []string, err error)

// Bundles gets bundles by their hash, checks them against it, and keeps them. It
// is safe for concurrent use.
type Bundles struct {
	fetch     Fetch
	platforms Records // nil: records of platforms are not judged

	mu   sync.Mutex
	have map[string]endorsed
}

// endorsed is a bundle with its endorsements; fetched: whoever was asked for
// these has answered.
type endorsed struct {
	*policy.Bundle
	endorsements []string
	fetched      bool
}

// NewBundles returns a store that has some bundles and fetches others. fetch may
// be nil: then there are no others.
func NewBundles(fetch Fetch, have ...*policy.Bundle) *Bundles {
	s := &Bundles{fetch: fetch, have: make(map[string]endorsed)}
	for _, b := range have {
		s.have[b.Hash()] = endorsed{Bundle: b}
	}
	return s
}

// Get returns the bundle with that hash, or [ErrUnavailable].
func (s *Bundles) Get(ctx context.Context, hash string) (*policy.Bundle, error) {
	if e, ok := s.known(hash); ok {
		return e.Bundle, nil
	}
	e, err := s.get(ctx, hash)
	return e.Bundle, err
}

// withEndorsements is Get, and the endorsements were asked for.
func (s *Bundles) withEndorsements(ctx context.Context, hash string) (endorsed, error) {
	if e, ok := s.known(hash); ok && e.fetched {
		return e, nil
	}
	return s.get(ctx, hash)
}

func (s *Bundles) known(hash string) (endorsed, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.have[hash]
	return e, ok
}

// get fetches a bundle. Its bytes are believed if they hash to what was asked
// for, and for nothing else.
func (s *Bundles) get(ctx context.Context, hash string) (e endorsed, err error) {
	if s.fetch == nil {
		return e, ErrUnavailable
	}
	raw, endorsements, err := s.fetch(ctx, hash)
	if err != nil {
		return e, ErrUnavailable.Because(err)
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != hash {
		return e, ErrUnavailable.Because(errors.New("the answer has another hash"))
	}
	b, err := policy.ParseBundle(raw)
	if err != nil {
		return e, ErrUnavailable.Because(err)
	}
	e = endorsed{b, endorsements, true}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.have[hash] = e
	return e, nil
}

// WithPlatforms makes an audit judge the records of platforms, too, which it gets there.
func (s *Bundles) WithPlatforms(records Records) *Bundles {
	s.platforms = records
	return s
}

// Audit is [proof.AuditOptions.Rules] for one audit: it judges each bundle's place
// and endorsements, too.
func (s *Bundles) Audit(ctx context.Context) func(hash string) (proof.Rules, bool) {
	registered := new(registered)
	return func(hash string) (proof.Rules, bool) {
		b, err := s.Get(ctx, hash)
		if err != nil {
			return proof.Rules{}, false
		}
		r := b.AuditRules()
		r.Follows = func(previous string) string { return s.follows(ctx, hash, previous) }
		registered.bundles = append(registered.bundles, b)
		if s.platforms != nil {
			r.Platform = func(index int64, leaf proof.Leaf) string { return s.registers(ctx, registered, index, leaf) }
		}
		return r, true
	}
}

// follows returns the code of the finding about a bundle that came into force
// after another, or as the first.
func (s *Bundles) follows(ctx context.Context, hash, previous string) string {
	b, err := s.withEndorsements(ctx, hash)
	var before *policy.Bundle
	if err == nil && previous != "" {
		before, err = s.Get(ctx, previous)
	}
	if err != nil {
		return proof.FindingUnavailable
	}
	switch err := b.Follows(before, b.endorsements); {
	case err == nil:
		return ""
	case refusal.Of(err).Code == policy.ErrNotNext.Code:
		return proof.FindingNotNext
	}
	return proof.FindingNotEndorsed
}
