package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"filippo.io/torchwood"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/rules"
)

// PublicLog is where a process follows the public log, if it does not publish it
// itself. Nothing that is read there is believed.
type PublicLog struct {
	Tiles   torchwood.TileReader
	Bundles rules.Fetch
}

// RulesMaxAge is how old the cosignatures may be by which a process knows which
// rules are in force, unless the configuration says otherwise: a published log is
// cosigned every minute.
const RulesMaxAge = 10 * time.Minute

// rulesInForce is what a process knows of the rules, from the public log and from
// nothing else. The bundle that it was given is where trust begins.
type rulesInForce struct {
	history *rules.History
	maxAge  time.Duration
	now     func() time.Time
	adopt   func(ctx context.Context, b *policy.Bundle) error // makes the sides work under b
	look    func(ctx context.Context) error                   // publishes, and follows

	following sync.Mutex // one at a time
	looking   sync.Mutex // one request at a time; the others wait for what it finds
	looked    time.Time  // when a request last looked
	mu        sync.Mutex
	adopted   string // hash
	refused   error  // for a reason that time does not mend; nil
}

// follow reads what is new in the public log. When it cannot be told which rules
// are in force, those known go on until their cosignatures are too old; when the
// log shows what must not be, or the sides cannot work under what is in force,
// everything stops at once.
func (r *rulesInForce) follow(ctx context.Context) error {
	r.following.Lock()
	defer r.following.Unlock()
	b, err := r.history.Follow(ctx, r.now(), r.maxAge)
	if err == nil && b.Hash() != r.adopted {
		if err = r.adopt(ctx, b); err == nil {
			r.adopted = b.Hash()
		}
	}
	if inDoubt(err) {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = err
	return err
}

// InForce returns the bundle in force, or why nothing may be done. After a machine
// slept, or a clock was set, it looks before it refuses.
func (r *rulesInForce) InForce() (*policy.Bundle, error) {
	b, err := r.known()
	if !inDoubt(err) {
		return b, err
	}
	r.looking.Lock()
	defer r.looking.Unlock()
	if b, err = r.known(); !inDoubt(err) || r.now().Sub(r.looked).Abs() < lookAgain {
		return b, err
	}
	r.looked = r.now()
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	if err := r.look(ctx); err != nil {
		return nil, err
	}
	return r.known()
}

// lookTime is how long a request waits for the log, and lookAgain how often one
// does.
const (
	lookTime  = 4 * time.Second
	lookAgain = 10 * time.Second
)

// inDoubt tells whether the rules were known and are so no more.
func inDoubt(err error) bool {
	e := refusal.Of(err)
	return e != nil && e.Kind == refusal.Unavailable
}

// known is InForce without looking.
func (r *rulesInForce) known() (*policy.Bundle, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused != nil {
		return nil, r.refused
	}
	return r.history.InForce(r.now(), r.maxAge)
}

// look publishes the log, where this process does, and follows it.
func (s *Service) look(ctx context.Context) error {
	if s.publisher != nil {
		if err := s.Publish(ctx); err != nil {
			return rules.ErrUnknown.Because(err)
		}
	}
	return s.rules.follow(ctx)
}

// Publish has the log cosigned as it is now. It is for a process that discloses.
func (s *Service) Publish(ctx context.Context) error {
	_, err := s.publisher.Publish(ctx)
	return err
}

// logged is disclose.Rules.Logged: the database may know of a newer bundle a
// moment before the log shows it.
func (s *Service) logged(ctx context.Context, hash string) (*policy.Bundle, error) {
	b, err := s.rules.known()
	if err == nil && b.Hash() == hash {
		return b, nil
	}
	if err := s.look(ctx); err != nil {
		return nil, err
	}
	if b, err = s.rules.known(); err == nil && b.Hash() != hash {
		err = rules.ErrUnknown.Because(errors.New("the database has other rules in force than the public log"))
	}
	return b, err
}

// rulesSince returns the bundle with a hash and those that came into force after it, by the
// public log, if it is known which is in force.
func (s *Service) rulesSince(ctx context.Context, hash string) ([]*policy.Bundle, error) {
	if _, err := s.rules.InForce(); err != nil {
		return nil, err
	}
	return s.rules.history.Since(ctx, hash)
}

// custodians are those to whom what is sealed now is encrypted.
func (s *Service) custodians() (seal.Custodians, error) {
	b, err := s.rules.InForce()
	if err != nil {
		return seal.Custodians{}, err
	}
	key, err := threshold.ParsePublicKey(b.ThresholdKey)
	return seal.Custodians{Key: key, Compartments: b.FieldsByCompartment()}, err
}

// adopt makes each side work under a bundle that came into force. The one that the
// process was given was checked with its configuration.
func (s *Service) adopt(_ context.Context, b *policy.Bundle) error {
	if b.Registrar != s.Bundle.Registrar || b.Issuer != s.Bundle.Issuer {
		return errConfigBundle.Because(fmt.Errorf("registrar %s and issuer %s came into force after %s and %s", b.Registrar, b.Issuer, s.Bundle.Registrar, s.Bundle.Issuer))
	}
	if s.Issuing != nil {
		if _, err := threshold.ParsePublicKey(b.ThresholdKey); err != nil {
			return err
		}
		if b.Hash() != s.Bundle.Hash() {
			if err := s.fits(b); err != nil {
				return err
			}
		}
	}
	if s.publisher != nil {
		log, err := b.TrustedLog()
		if err != nil {
			return err
		}
		if err := s.publisher.Trust(log, s.witnesses(b)); err != nil {
			return err
		}
	}
	s.Log.Info("rules in force", slog.String("bundle", b.Hash()), slog.Int("number", b.Number))
	return nil
}

// fits checks that the token keys are in the bundle: otherwise nobody could verify
// evidence.
func (s *Service) fits(b *policy.Bundle) error {
	for _, k := range *s.live.tokenKeys.Load() {
		if err := endorsedKey(b, k.JWK); err != nil {
			return err
		}
	}
	return nil
}

// open returns the history of the public log that the parts are to follow.
func (p *Parts) open() (*rules.History, error) {
	var err error
	if p.history == nil {
		p.history, err = rules.New(p.Bundle, p.PublicLog.Tiles, p.PublicLog.Bundles)
	}
	return p.history, err
}

// refuseOtherRules follows the public log, before anything is done under the bundle
// that the process was given. It refuses one that the log does not hold, or not as
// the newest (FOUND A1). If that cannot be told now it refuses nothing: the service
// starts, and does nothing that needs rules until it can.
func (p *Parts) refuseOtherRules(ctx context.Context) error {
	err := p.otherRules(ctx)
	if inDoubt(err) {
		p.Log.Warn("stopped until the rules in force are known", why(err)...)
		return nil
	}
	return err
}

// otherRules is nil if the public log has the bundle as the newest.
func (p *Parts) otherRules(ctx context.Context) error {
	history, err := p.open()
	if err != nil {
		return err
	}
	inForce, err := history.Follow(ctx, p.Now(), p.rulesMaxAge())
	if errors.Is(err, rules.ErrNotInLog) {
		return errConfigRules.Because(err)
	}
	if err != nil {
		return err
	}
	if err := history.Is(inForce, p.Bundle.Hash()); err != nil {
		return errConfigRules.Because(err)
	}
	return nil
}

func (p *Parts) rulesMaxAge() time.Duration { return cmp.Or(p.RulesMaxAge, RulesMaxAge) }

// followRules is how soon a new bundle is published by who discloses, and then how soon
// the others take it: together within a minute.
const followRules = 15 * time.Second

// FollowRules takes a bundle that came into force, without a restart. Who discloses
// publishes one that the database has and the public log does not show yet.
func (s *Service) FollowRules(ctx context.Context) error {
	if s.rules == nil {
		return nil // a process of no side
	}
	if err := s.rules.follow(ctx); err != nil || s.Registrar == nil {
		return err
	}
	stored, err := s.Registrar.Rules.Current(ctx)
	if err != nil {
		return err
	}
	if known, err := s.rules.known(); err == nil && known.Hash() == stored.Hash() {
		return nil
	}
	_, err = s.Registrar.Rules.InForce(ctx)
	return err
}

// RulesKnown returns nil if it is known which rules are in force.
func (s *Service) RulesKnown() error {
	_, err := s.rules.InForce()
	return err
}
