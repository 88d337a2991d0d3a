package issue

import (
	"context"
	"slices"
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
//	waited                  it signs in, once: for RecoveryAgain in the same browser, too
//	used, cancelled, lapsed as if there had been none
//
// To add a passkey ends one, too: whoever recovered has a way in again. That somebody was let in by
// one is known for RecoveryIn, whatever begins or ends meanwhile.
//
// The passkeys are of one record: whoever asked to be deleted has none, and gets none back.
const (
	MaxPasskeys  = 8
	RecoveryWait = 72 * time.Hour
	RecoveryOpen = 7 * 24 * time.Hour
	RecoveryIn   = 12 * time.Hour // that a session lasts which one began

	// RecoveryAgain is how long whoever used one may use it once more in the same browser: what comes
	// after it may fail, and an answer may be lost.
	RecoveryAgain = 10 * time.Minute
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
	Used  time.Time // when it signed somebody in, or the one before it did, lately; zero: none did
	By    Browser   // in which that was

	Lapsed bool // one before it was not used in time: said by Issuer.ByIdentity when it begins
}

// Browser tells by a secret of it that it is the same one again. The zero value is none.
type Browser [16]byte

// From is when the same proof of identity signs in.
func (r Recovery) From() time.Time { return r.Began.Add(RecoveryWait) }

// Until is when it does so no more.
func (r Recovery) Until() time.Time { return r.From().Add(RecoveryOpen) }

// Open reports whether a proof of identity signs in at now.
func (r Recovery) Open(now time.Time) bool {
	return r.Stands(now) && !now.Before(r.From())
}

// Over reports whether it signed somebody in itself: the one before it did so before it began.
func (r Recovery) Over() bool { return !r.Used.Before(r.From()) }

// Stands reports whether it has neither lapsed at now nor was used, nor is none.
func (r Recovery) Stands(now time.Time) bool {
	return !r.Began.IsZero() && !r.Over() && now.Before(r.Until())
}

// UsedLately reports whether somebody may be signed in by it, or by the one before it, at now.
func (r Recovery) UsedLately(now time.Time) bool {
	return !r.Used.IsZero() && now.Before(r.Used.Add(RecoveryIn))
}

// Again reports whether it signs in once more at now, in one of these browsers.
func (r Recovery) Again(now time.Time, in ...Browser) bool {
	return !r.Used.IsZero() && now.Before(r.Used.Add(RecoveryAgain)) && r.By != Browser{} && slices.Contains(in, r.By)
}

// Next is the one that begins at now after r.
func (r Recovery) Next(now time.Time) Recovery {
	next := Recovery{Began: now}
	if r.UsedLately(now) {
		next.Used, next.By = r.Used, r.By
	}
	return next
}

// Left is what is left of r if it ends at now: who was let in lately, else nothing.
func (r Recovery) Left(now time.Time) Recovery {
	if !r.UsedLately(now) {
		return Recovery{}
	}
	return Recovery{Began: r.Used.Add(-RecoveryWait), Used: r.Used, By: r.By}
}

// Telling is what a store notes of a change, and tells the person's address, in one transaction
// with it: so neither is missing of what was done.
type Telling struct {
	Change Change
	Mail   mail.Kind // "": nobody is told
	To     Contact   // which counts if it is confirmed
	At     time.Time
}

// telling is that of a change which is made now, with a mail if it lets somebody in.
func (s *Issuer) telling(ctx context.Context, p Person, kind ChangeKind, detail string, about mail.Kind) (t Telling, err error) {
	t = Telling{Change: Change{Day: day(s.Now()), Kind: kind, Detail: detail}, Mail: about, At: s.Now()}
	if about != "" {
		t.To, err = s.Store.Contact(ctx, p)
	}
	return t, err
}

// Waits is why an account that was accepted is nobody's yet: see Issuer.Enrol.
type Waits struct{ Recovery }

// Error says so.
func (*Waits) Error() string { return "issue: the person has passkeys, and a recovery waits" }

// ByIdentity judges a proof of identity at a provider by p, in a browser in which p is not
// signed in by a passkey: it signs in if p has none, or if a recovery is open, or was used in that
// browser a moment ago, which Recovered then uses up. Otherwise one waits, which it began or which
// was there, and nobody is signed in.
func (s *Issuer) ByIdentity(ctx context.Context, p Person, in ...Browser) (signsIn bool, waits Recovery, err error) {
	have, err := s.Store.Passkeys(ctx, p)
	if err != nil || len(have) == 0 {
		return err == nil, Recovery{}, err
	}
	begins, err := s.telling(ctx, p, ChangeRecoveryAsked, "", mail.Recovery)
	if err != nil {
		return false, Recovery{}, err
	}
	before, err := s.Store.Recovery(ctx, p)
	if err != nil {
		return false, Recovery{}, err
	}
	if before.Open(begins.At) || before.Again(begins.At, in...) {
		return true, before, nil
	}
	if waits, err = s.Store.BeginRecovery(ctx, p, begins); err == nil && waits != before {
		waits.Lapsed = !before.Began.IsZero() && !before.Over()
	}
	return false, waits, err
}

// Recovered uses up an open recovery of p's, by which a session was begun in a browser, and returns
// when. In that browser, by whichever of its secrets, it does so again for a moment: then it returns
// when it first did. It reports false if there is none any more: it was cancelled or used meanwhile,
// and the session must end.
func (s *Issuer) Recovered(ctx context.Context, p Person, in ...Browser) (at time.Time, ok bool, err error) {
	t, err := s.telling(ctx, p, ChangeRecovered, "", mail.Keys)
	if err != nil {
		return at, false, err
	}
	return s.Store.UseRecovery(ctx, p, t, in...)
}

// CancelRecovery ends a recovery of p's, and with it all of p's sessions, and reports whether there
// was one. If somebody was let in, also by the one before it, p's sign-ins at the platforms end first,
// so that a failure leaves what tells of them, and the button: then left is true.
func (s *Issuer) CancelRecovery(ctx context.Context, p Person, platforms []string, end End) (out, left bool, err error) {
	t, err := s.telling(ctx, p, ChangeRecoveryCancel, "", "")
	if err != nil {
		return false, false, err
	}
	r, err := s.Store.Recovery(ctx, p)
	if err != nil || r.Began.IsZero() {
		return false, false, err
	}
	if left = !r.Used.IsZero(); left {
		if err := s.Store.EndSessions(ctx, p); err != nil { // no device begins anything more
			return false, false, err
		}
		if err := s.EndSignIns(ctx, p, platforms, end); err != nil {
			return false, false, err
		}
	}
	ended, err := s.Store.EndRecovery(ctx, p, t)
	if err == nil && ended.Used.After(r.Used) { // somebody was let in meanwhile
		left, err = true, s.EndSignIns(ctx, p, platforms, end)
	}
	return true, left, err
}

// AddPasskey is Store.AddPasskey, on this day.
func (s *Issuer) AddPasskey(ctx context.Context, p Person, k Passkey) (added, first bool, err error) {
	t, err := s.telling(ctx, p, ChangePasskeyAdded, k.Word, mail.Keys)
	if err != nil {
		return false, false, err
	}
	k.Day = t.Change.Day
	return s.Store.AddPasskey(ctx, p, k, t)
}

// RenamePasskey is Store.RenamePasskey.
func (s *Issuer) RenamePasskey(ctx context.Context, p Person, id []byte, word string) error {
	t, err := s.telling(ctx, p, ChangePasskeyRenamed, word, "")
	if err != nil {
		return err
	}
	return s.Store.RenamePasskey(ctx, p, id, word, t)
}

// RemovePasskey removes one of p's. That it is the last one is asked before, and not in the
// transaction: who removes the last two at once, in two windows, proved just now who they are,
// and is told so by mail.
func (s *Issuer) RemovePasskey(ctx context.Context, p Person, k Passkey) error {
	t, err := s.telling(ctx, p, ChangePasskeyRemoved, k.Word, mail.Keys)
	if err != nil {
		return err
	}
	return s.Store.RemovePasskey(ctx, p, k.ID, t)
}
