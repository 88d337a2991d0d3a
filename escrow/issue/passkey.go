package issue

import (
	"context"
	"time"

	"github.com/penname/penname/escrow/mail"
	"github.com/penname/penname/verifier/refusal"
)

// A person may have passkeys, on their devices: who has one signs in by it, and the identity
// provider alone does so no more. It begins a recovery, of which whoever has a passkey is told
// and can end it; only after RecoveryWait does the same proof sign in, for RecoveryOpen. So a
// stolen account at the provider takes nothing from somebody who looks at their page.
//
//	no passkey              a proof at the provider signs in
//	a passkey, none waits   it begins a recovery, and the person's address is told
//	one waits               it says how long it still does
//	waited                  it signs in, once
//	used, cancelled, lapsed as if there had been none
//
// To add a passkey ends one, too: whoever recovered has a way in again.
//
// The passkeys are of one record: whoever asked to be deleted has none, and gets none back.
const (
	MaxPasskeys  = 8
	RecoveryWait = 72 * time.Hour
	RecoveryOpen = 7 * 24 * time.Hour
	RecoveryIn   = 12 * time.Hour // that a session lasts which one began
)

// What refuses a change of somebody's passkeys.
var (
	ErrPasskeys = refusal.New(refusal.Conflict, "person.too_many_passkeys",
		"you have eight passkeys here, and no more are kept: remove one that you do not need, then add this one")
	ErrNoPasskey = refusal.New(refusal.NotFound, "person.no_such_passkey",
		"this passkey is not there any more: look at the page of your passkeys")
)

// Passkey is one of a person's.
type Passkey struct {
	ID   []byte // of the credential, by its authenticator: at most 1023 bytes
	Word string // by which the person knows it: at most MaxWord bytes
	Day  time.Time

	// What judges it: set by Store.PasskeyOf, not by Store.Passkeys.
	User    []byte // handle of the person: see Issuer.UserHandle
	Key     []byte // public
	Counter uint32 // when it was added
	Backup  bool
	ACR     string // of the proof of identity of whoever added it
}

// UserHandle is what authenticators know a person by: 32 bytes, the same for life, of no use
// to whoever has not the key.
func (s *Issuer) UserHandle(ctx context.Context, p Person) ([]byte, error) {
	return s.mac(ctx, "passkey user", string(p.ID[:]))
}

// Recovery is one that was begun. The zero value is none.
type Recovery struct {
	Began time.Time
	Used  time.Time // it signed somebody in, and is over; zero: it did not

	Lapsed bool // one before it was not used in time: said by Issuer.ByIdentity when it begins
}

// From is when the same proof of identity signs in.
func (r Recovery) From() time.Time { return r.Began.Add(RecoveryWait) }

// Until is when it does so no more.
func (r Recovery) Until() time.Time { return r.From().Add(RecoveryOpen) }

// Open reports whether a proof of identity signs in at now.
func (r Recovery) Open(now time.Time) bool {
	return r.Stands(now) && !now.Before(r.From())
}

// Stands reports whether it has neither lapsed at now nor was used, nor is none.
func (r Recovery) Stands(now time.Time) bool {
	return !r.Began.IsZero() && r.Used.IsZero() && now.Before(r.Until())
}

// UsedLately reports whether somebody may be signed in by it at now.
func (r Recovery) UsedLately(now time.Time) bool {
	return !r.Used.IsZero() && now.Before(r.Used.Add(RecoveryIn))
}

// Waits is why an account that was accepted is nobody's yet: see Issuer.Enrol.
type Waits struct{ Recovery }

// Error says so.
func (*Waits) Error() string { return "issue: the person has passkeys, and a recovery waits" }

// ByIdentity judges a proof of identity at a provider by p, in a browser in which p is not
// signed in by a passkey: it signs in if p has none, or if a recovery is open, which Recovered
// then uses up. Otherwise one waits, which it began or which was there, and nobody is signed in.
func (s *Issuer) ByIdentity(ctx context.Context, p Person) (signsIn bool, waits Recovery, err error) {
	have, err := s.Store.Passkeys(ctx, p)
	if err != nil || len(have) == 0 {
		return err == nil, Recovery{}, err
	}
	contact, err := s.Store.Contact(ctx, p)
	if err != nil {
		return false, Recovery{}, err
	}
	now := s.Now()
	before, err := s.Store.Recovery(ctx, p)
	if err != nil {
		return false, Recovery{}, err
	}
	waits, err = s.Store.BeginRecovery(ctx, p, now, contact)
	switch {
	case err == nil && waits != before:
		waits.Lapsed = !before.Began.IsZero() && before.Used.IsZero()
		err = s.Changed(ctx, p, ChangeRecoveryAsked, "")
	default:
		signsIn = err == nil && waits.Open(now)
	}
	return signsIn && err == nil, waits, err
}

// Recovered uses up an open recovery of p's, by which a session was begun. It reports false if
// there is none any more: it was cancelled or used meanwhile, and the session must end.
func (s *Issuer) Recovered(ctx context.Context, p Person) (ok bool, err error) {
	if ok, err = s.Store.UseRecovery(ctx, p, s.Now()); !ok || err != nil {
		return false, err
	}
	return true, s.changedKeys(ctx, p, ChangeRecovered, "")
}

// changedKeys is Changed of what lets somebody in: the person's address is told that something
// of it changed, and not what.
func (s *Issuer) changedKeys(ctx context.Context, p Person, kind ChangeKind, detail string) error {
	if err := s.Changed(ctx, p, kind, detail); err != nil {
		return err
	}
	c, err := s.Store.Contact(ctx, p)
	if err != nil || c.Confirmed == "" {
		return err
	}
	return s.Store.Tell(ctx, c, mail.Keys, s.Now())
}

// CancelRecovery ends a recovery of p's, if there is one. If it had waited somebody may be signed
// in by it, also if it was used or has lapsed: then all of p's sessions end, and out is true.
func (s *Issuer) CancelRecovery(ctx context.Context, p Person) (out bool, err error) {
	r, err := s.Store.Recovery(ctx, p)
	if err != nil {
		return false, err
	}
	if err := s.Store.EndRecovery(ctx, p); err != nil {
		return false, err
	}
	now := s.Now()
	if r.Stands(now) || r.UsedLately(now) {
		if err := s.Changed(ctx, p, ChangeRecoveryCancel, ""); err != nil {
			return false, err
		}
	}
	if out = !r.Began.IsZero() && !now.Before(r.From()); out {
		err = s.Store.EndSessions(ctx, p)
	}
	return out, err
}

// AddPasskey is Store.AddPasskey, on this day. With the first one all of p's sessions end, and
// out is true: they were begun by the provider alone, which does not do from now on.
func (s *Issuer) AddPasskey(ctx context.Context, p Person, k Passkey) (added, out bool, err error) {
	have, err := s.Store.Passkeys(ctx, p)
	if err != nil {
		return false, false, err
	}
	k.Day = day(s.Now())
	if added, err = s.Store.AddPasskey(ctx, p, k); !added || err != nil {
		return false, false, err
	}
	if out = len(have) == 0; out { // two at once both end them
		if err = s.Store.EndSessions(ctx, p); err != nil {
			return true, true, err
		}
	}
	return true, out, s.changedKeys(ctx, p, ChangePasskeyAdded, k.Word)
}

// RenamePasskey is Store.RenamePasskey.
func (s *Issuer) RenamePasskey(ctx context.Context, p Person, id []byte, word string) error {
	err := s.Store.RenamePasskey(ctx, p, id, word)
	if err == nil {
		err = s.Changed(ctx, p, ChangePasskeyRenamed, word)
	}
	return err
}

// RemovePasskey removes one of p's. That it is the last one is asked before, and not in the
// transaction: who removes the last two at once, in two windows, proved just now who they are,
// and is told so by mail.
func (s *Issuer) RemovePasskey(ctx context.Context, p Person, k Passkey) error {
	err := s.Store.RemovePasskeys(ctx, p, k.ID)
	if err == nil {
		err = s.changedKeys(ctx, p, ChangePasskeyRemoved, k.Word)
	}
	return err
}
