package service

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/keep"

	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/verifier/refusal"
)

// A Lifetime is of something that this process stands on and that ends.
type Lifetime struct {
	What   string    `json:"what"` // a constant, or a role of Vault
	Begins time.Time `json:"begins"`
	Ends   time.Time `json:"ends"`
}

// Soon tells whether less than a quarter of it is left.
func (l Lifetime) Soon(now time.Time) bool { return l.Ends.Sub(now) < l.Ends.Sub(l.Begins)/4 }

// DaysLeft is below zero once it has ended.
func (l Lifetime) DaysLeft(now time.Time) float64 { return l.Ends.Sub(now).Hours() / 24 }

// Lifetimes is what ends, as far as it is known when: the certificate, secret ids of
// Vault, and the last token key.
func (s *Service) Lifetimes() []Lifetime {
	now := Parts{Certificate: s.live.certificate.Load(), Issuing: s.Issuing, Disclosing: s.Disclosing, Keeping: s.Keeping}
	keys := s.live.tokenKeys.Load()
	if keys == nil {
		return now.lifetimes(nil)
	}
	return now.lifetimes(*keys)
}

func (p *Parts) lifetimes(keys []openid.Key) (all []Lifetime) {
	if c := p.Certificate; c != nil {
		all = append(all, Lifetime{"certificate", c.Leaf.NotBefore, c.Leaf.NotAfter})
	}
	for _, l := range p.logins() {
		for _, id := range l.SecretIDs() {
			all = append(all, Lifetime{"secret id of " + string(id.Role), id.Begins, id.Ends})
		}
	}
	if last := lastTokenKey(keys); last != nil {
		all = append(all, *last)
	}
	return all
}

// lastTokenKey is the last key of the algorithm that is the first to have none; nil if
// each has one that signs until somebody retires it.
func lastTokenKey(keys []openid.Key) (first *Lifetime) {
	byAlgorithm := map[jose.SignatureAlgorithm]*Lifetime{}
	for _, k := range keys {
		last := byAlgorithm[k.Algorithm()]
		if last == nil || !last.Ends.IsZero() && (k.NotAfter.IsZero() || k.NotAfter.After(last.Ends)) {
			byAlgorithm[k.Algorithm()] = &Lifetime{"last token key", k.NotBefore, k.NotAfter}
		}
	}
	for _, last := range byAlgorithm {
		if !last.Ends.IsZero() && (first == nil || last.Ends.Before(first.Ends)) {
			first = last
		}
	}
	return first
}

// WatchLifetimes renews the secret ids that are due, reads again what changed, in case
// that nobody said so, and warns of what ends soon, of a snapshot that is missing and of
// records that nobody can open.
func (s *Service) WatchLifetimes(ctx context.Context) (err error) {
	for _, l := range s.logins() {
		err = errors.Join(err, l.Renew(ctx))
	}
	if s.config != nil {
		s.reload(ctx, false)
	}
	for _, l := range s.Lifetimes() {
		if now := s.Now(); l.Soon(now) {
			s.Log.Warn("ends soon", slog.String("what", l.What), slog.Time("ends", l.Ends), slog.Float64("days_left", l.DaysLeft(now)))
		}
	}
	if k := s.Keeping; k != nil {
		var lost error
		s.looked, lost = keep.Openable(ctx, k.Keys, k.Store.Groups, k.Store.Below, s.looked)
		err = errors.Join(err, s.warn(lost))
		if k.Login != nil {
			err = errors.Join(err, s.warn(keep.SnapshotFresh(ctx, k.Store.NewestSnapshot, s.Now())))
		}
	}
	return err
}

// warn writes what is no failure of this service into its log, and returns what is one.
func (s *Service) warn(err error) error {
	if e := refusal.Of(err); errors.Is(err, keep.ErrNoSnapshot) || errors.Is(err, keep.ErrUnopenable) {
		s.Log.Warn(e.Mend, slog.String("code", e.Code), slog.Any("because", e.Unwrap()))
		return nil
	}
	return err
}

// TakeSnapshot takes a snapshot of Vault into a new file, and stores in the database,
// as role penname_keeping, that it was taken.
func TakeSnapshot(ctx context.Context, a vault.Admin, file, dsnFile string) (s keep.Snapshot, err error) {
	dsn, err := secretfile.ReadText(dsnFile)
	if err != nil {
		return s, err
	}
	store, err := postgres.OpenKeeping(ctx, dsn, postgres.Options{})
	if err != nil {
		return s, err
	}
	defer store.Close()
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return s, secretfile.ErrExists.Because(err)
	}
	if err != nil {
		return s, secretfile.ErrUnwritable.Because(err)
	}
	if s, err = store.NextSnapshot(ctx, time.Now()); err == nil {
		err = vault.TakeSnapshot(ctx, a, f, store)
	}
	if ferr := errors.Join(f.Sync(), f.Close()); err == nil && ferr != nil {
		err = secretfile.ErrUnwritable.Because(ferr)
	}
	if err != nil {
		return s, errors.Join(err, os.Remove(file))
	}
	return s, store.AddSnapshot(ctx, s)
}
