package policy

import (
	"encoding/hex"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// FollowUp drafts a warrant of a kind that is about an earlier one, given as its compact
// JWS: a withdrawal, an annulment, a validation, a ruling, a change of secrecy or an extension. by is
// the authority that signs it; nil: that of the earlier one. It repeats of the earlier one
// what tells which it is, and, where it orders anew, why and about whom. Otherwise it names
// nobody, but for those of the earlier one's targets that it is about alone, each written
// "pen1…@platform": another is [ErrNotInEarlier].
func FollowUp(kind, earlier string, by *Authority, grounds string, only ...string) (*Warrant, error) {
	w, err := ParseUnverified(earlier)
	if err != nil {
		return nil, err
	}
	hash := Hash(earlier)
	f := &Warrant{
		Kind: kind, Earlier: hex.EncodeToString(hash[:]), Authority: w.Authority, Jurisdiction: w.Jurisdiction,
		FileNumber: w.FileNumber, OffenceClass: w.OffenceClass, Grounds: grounds, Audience: w.Audience, Secrecy: w.Secrecy,
	}
	if by != nil {
		f.Authority, f.Jurisdiction = by.ID, by.Jurisdiction
	}
	for _, name := range only {
		penName, platform, _ := strings.Cut(strings.TrimSpace(name), "@")
		i := slices.IndexFunc(w.Targets, func(t Target) bool { return string(t.Pseudonym) == penName && t.Platform == platform })
		if i < 0 {
			return nil, ErrNotInEarlier
		}
		f.Targets = append(f.Targets, Target{Pseudonym: w.Targets[i].Pseudonym, Platform: platform})
	}
	if KindOf(kind).Clock == ClockHold {
		f.LegalBasis, f.Offence, f.OffenceID, f.MaxPenaltyMonths = w.LegalBasis, w.Offence, w.OffenceID, w.MaxPenaltyMonths
		f.Necessity, f.Proportionality, f.Deadline, f.Expiry = w.Necessity, w.Proportionality, w.Deadline, w.Expiry
		for _, t := range w.Targets {
			f.Targets = append(f.Targets, Target{Pseudonym: t.Pseudonym, Platform: t.Platform})
		}
	}
	return f, nil
}

// Signer returns the authority of the bundle whose key this is, or [ErrSignerKey]. Whether
// the key is valid is for [BeforeSigning] to say.
func (b *Bundle) Signer(key jose.JSONWebKey) (*Authority, error) {
	for _, a := range b.authorities {
		if named, ok := a.keys[key.KeyID]; ok && named.isPublicOf(key) || len(key.Certificates) > 0 && a.certified(key.Certificates[0]) {
			return a.Authority, nil
		}
	}
	if len(key.Certificates) > 0 {
		return nil, ErrCertificateKey
	}
	return nil, ErrSignerKey
}

// Countersigners are the ids of the authorities that have to sign a warrant with its own
// before it is filed, as jointly and the bundle have it: of those that validate, one. b may be
// nil.
func (b *Bundle) Countersigners(w *Warrant) []string {
	who := slices.Clone(w.Jointly)
	if b == nil || w.Kind == Emergency || KindOf(w.Kind).Clock == ClockNone && w.Kind != SecrecyChange {
		return who
	}
	if a := b.Authority(w.Authority); a != nil && len(a.ValidatedBy) > 0 {
		who = append(who, strings.Join(a.ValidatedBy, " or "))
	}
	return who
}
