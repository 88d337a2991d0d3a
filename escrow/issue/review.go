package issue

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// Held is why an enrolment is not complete: people decide, outside, whether this is
// somebody who is enrolled. It is one of the refusals of this package, with what the
// person needs to know of it. Nothing of the identity is kept: after the decision the
// person proves it again.
type Held struct {
	Why       *refusal.Error
	Reference string    // of the review: the person names it to the operator
	From      time.Time // UTC day: when an acceptance takes effect; zero: there is none
}

// Error is the refusal's.
func (h *Held) Error() string { return h.Why.Error() }

// Unwrap returns the refusal.
func (h *Held) Unwrap() error { return h.Why }

// Review is an enrolment that is held, as far as the issuing side knows it.
type Review struct {
	Reference string
	Whose     []byte    // MAC over the id of the person who is enrolled already
	Outcome   string    // of package proof; empty: nobody has decided
	InForce   bool      // the next proof of identity carries the outcome out
	From      time.Time // UTC day, of an acceptance
}

// Hold is what is stored of an enrolment that is held: nothing of the identity, but
// which of its marks agree with those of the person who is enrolled; nil: not known.
type Hold struct {
	Reference string
	Mark      []byte // MAC over the whole identity: whoever proves it again is found by it
	Whose     []byte // see Review

	SameAccount, Several            bool
	Name, Year, Birthdate, Provider *bool
	Day                             time.Time
}

// Known is somebody who is enrolled and is like somebody who is not.
type Known struct {
	ID          [16]byte
	SameAccount bool
	Marks       []byte // see Enrolment; nil: enrolled before there were any
}

// Admission carries a decision out.
type Admission struct {
	Mark   []byte
	Known  [16]byte // who accepted enrolments belong to
	Nobody []byte   // 32 random bytes, in the place of an account that is somebody else's now
	Enrolment
}

// held answers an enrolment that looks like somebody's: it is held, or what was
// decided about it is carried out. why says what looks alike.
func (s *Issuer) held(ctx context.Context, id identity.Identity, m macs, why *refusal.Error, returns bool, in []Person) (Person, bool, error) {
	mark, err := s.mac(ctx, "held", id.Issuer.Reveal(), id.Subject.Reveal(), document.Fold(id.Name.Reveal()), id.Birthdate.Reveal())
	if err != nil {
		return Person{}, false, err
	}
	r, err := s.Store.Review(ctx, mark)
	if err != nil {
		return Person{}, false, err
	}
	known, err := s.Store.Alike(ctx, m.fingerprint, m.likeness)
	switch {
	case err != nil:
		return Person{}, false, err
	case len(known) == 0: // it was somebody whose account has changed since
		return Person{}, false, why
	case r.InForce:
		return s.admit(ctx, id, m, mark, r, known, returns, in)
	case r.Reference == "":
		// The decision may have been carried out a moment ago, in another browser.
		if _, err := s.Store.Person(ctx, m.fingerprint, m.birth); err == nil {
			return s.enrol(ctx, id, returns, in)
		}
		if r, err = s.hold(ctx, id, m, mark, known); err != nil {
			return Person{}, false, err
		}
	}
	held := &Held{Why: why, Reference: r.Reference}
	switch r.Outcome {
	case proof.Accepted:
		held.Why, held.From = ErrAcceptanceWaits, r.From
	case proof.Objected:
		held.Why = ErrObjected
	}
	return Person{}, false, held
}

func (s *Issuer) hold(ctx context.Context, id identity.Identity, m macs, mark []byte, known []Known) (Review, error) {
	whose, err := s.Whose(ctx, known[0].ID)
	if err != nil {
		return Review{}, err
	}
	h := Hold{
		Reference: strings.ToLower(rand.Text()[:12]), Mark: mark, Whose: whose,
		SameAccount: known[0].SameAccount, Several: len(known) > 1, Day: day(s.Now()),
	}
	yes, no := true, false
	agree := func(n int) *bool { // the n-th mark
		if h.Several || len(known[0].Marks) != len(m.marks) {
			return nil
		}
		same := subtle.ConstantTimeCompare(known[0].Marks[32*n:][:32], m.marks[32*n:][:32]) == 1
		return &same
	}
	born := id.Birthdate.Reveal()
	switch {
	case h.SameAccount:
		h.Name, h.Year, h.Birthdate, h.Provider = agree(0), agree(1), &no, &yes
	default: // a likeness is over both
		h.Name, h.Provider = &yes, agree(2)
		if !strings.HasPrefix(born, "0000") {
			h.Year = &yes
			if len(born) == len(time.DateOnly) {
				h.Birthdate = &yes
			}
		}
	}
	return s.Store.Hold(ctx, h)
}

// admit carries out what was decided. An accepted account is then that of the person
// who is enrolled, and this is their sign-in; a separated one makes another person.
func (s *Issuer) admit(ctx context.Context, id identity.Identity, m macs, mark []byte, r Review, known []Known, returns bool, in []Person) (Person, bool, error) {
	a := Admission{Mark: mark, Nobody: make([]byte, 32)}
	rand.Read(a.Nobody) // never fails (crypto/rand)
	for _, k := range known {
		whose, err := s.Whose(ctx, k.ID)
		if err != nil {
			return Person{}, false, err
		}
		if subtle.ConstantTimeCompare(whose, r.Whose) == 1 {
			a.Known = k.ID
		}
	}
	if r.Outcome == proof.Accepted {
		if err := s.mayAccept(ctx, a.Known, in); err != nil {
			return Person{}, false, err
		}
		a.Enrolment = m.enrolment(day(s.Now()))
		if _, err := s.Store.Admit(ctx, a); err != nil {
			return Person{}, false, err
		}
		return s.enrol(ctx, id, returns, in)
	}
	return s.sealed(ctx, id, m, func(ctx context.Context, e Enrolment) (Person, bool, error) {
		a.Enrolment = e
		first, err := s.Store.Admit(ctx, a)
		if err == nil && !first { // the same person, a moment ago
			return s.enrol(ctx, id, returns, in)
		}
		return e.Person, first, err
	})
}

// mayAccept is *Waits where a person with passkeys would get another account, and is neither
// signed in nor has waited: an account that was stolen, or was accepted wrongly, must not take the
// place of theirs.
func (s *Issuer) mayAccept(ctx context.Context, known [16]byte, in []Person) error {
	p, err := s.Store.PersonOf(ctx, known)
	if err != nil || slices.Contains(in, p) {
		return err
	}
	signsIn, waits, err := s.ByIdentity(ctx, p)
	if err == nil && !signsIn {
		err = &Waits{waits}
	}
	return err
}

// Acceptances returns the acceptances that wait for p's objection: by each somebody
// would be recognised as p who came by another card or provider.
func (s *Issuer) Acceptances(ctx context.Context, p Person) ([]Review, error) {
	whose, err := s.Whose(ctx, p.ID)
	if err != nil {
		return nil, err
	}
	return s.Store.Acceptances(ctx, whose)
}

// Object is p's objection to an acceptance, which ends it. It is ErrTooLate if there is
// none that waits.
func (s *Issuer) Object(ctx context.Context, p Person, reference string) error {
	whose, err := s.Whose(ctx, p.ID)
	if err != nil {
		return err
	}
	return s.Store.Object(ctx, whose, reference)
}

// Whose names a person, by their id, where that must not stand. It is the same for life.
func (s *Issuer) Whose(ctx context.Context, id [16]byte) ([]byte, error) {
	return s.mac(ctx, "whose", string(id[:]))
}

func (s *Issuer) mac(ctx context.Context, parts ...string) ([]byte, error) {
	macs, err := s.Keys.MAC(ctx, PurposeFingerprint, lengthPrefixed(parts...))
	if err != nil {
		return nil, err
	}
	return macs[0], nil
}

// macs are what is stored of an identity beside what is sealed: see Enrolment.
type macs struct{ fingerprint, likeness, birth, marks []byte }

// macs derives them in one call. The name is compared as a reader would, by
// [document.Fold], so that one human does not become two by another spelling of the
// same letters (ATTACKS R24).
func (s *Issuer) macs(ctx context.Context, id identity.Identity) (macs, error) {
	name := document.Fold(id.Name.Reveal())
	iss, sub, born := id.Issuer.Reveal(), id.Subject.Reveal(), id.Birthdate.Reveal()
	got, err := s.Keys.MAC(ctx, PurposeFingerprint,
		lengthPrefixed("fingerprint", iss, sub),
		lengthPrefixed("likeness", name, born),
		lengthPrefixed("birth", iss, sub, born),
		lengthPrefixed("mark of the name", iss, sub, name),
		lengthPrefixed("mark of the year", iss, sub, born[:min(4, len(born))]),
		lengthPrefixed("mark of the provider", name, born, iss))
	if err != nil {
		return macs{}, err
	}
	if len(got) != 6 {
		return macs{}, errors.New("issue: the key service made another number of MACs")
	}
	return macs{got[0], got[1], got[2], slices.Concat(got[3:]...)}, nil
}

func (m macs) enrolment(on time.Time) Enrolment {
	return Enrolment{Fingerprint: m.fingerprint, Likeness: m.likeness, Birth: m.birth, Marks: m.marks, Day: on}
}
