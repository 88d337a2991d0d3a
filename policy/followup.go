package policy

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"

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

// VerifyWarrant checks that the authority of the bundle that a warrant names signed it, and nothing
// else of it: see [Bundle.VerifyAuthority].
func (b *Bundle) VerifyWarrant(raw string, seen ...Seen) (*Warrant, error) {
	signed, w, err := openWarrant(raw)
	if err != nil {
		return nil, err
	}
	_, err = b.VerifyAuthority(signed, w.Authority, w.IssuedAt, seen...)
	return w, err
}

// VerifyRuling checks that an authority of the bundle signed a ruling about that warrant, and
// may: the one that issued it, or one over it. The public log holds what was recorded of it;
// that is not asked here.
func (b *Bundle) VerifyRuling(raw string, about *Warrant, seen ...Seen) (*Warrant, error) {
	w, err := b.VerifyWarrant(raw, seen...)
	if err != nil {
		return nil, err
	}
	if o := b.order(w, b.Authority(w.Authority), Facts{}, w.IssuedAt); w.Kind != Ruling || w.Ruling == nil || !o.mayActOn(about.Authority) {
		return nil, ErrEarlierAuthority
	}
	return w, nil
}

// Inquiry is an authority's request to be shown what only it and custodians may read of a case.
type Inquiry struct {
	At        time.Time `json:"at"`
	Audience  string    `json:"audience"` // the registrar's origin
	Authority string    `json:"authority"`
	Case      string    `json:"case"` // "": which cases it has
	ID        string    `json:"id"`   // at random, so that two of one second are two
	// Revocation is [Submission].Revocation, where a certificate signs.
	Revocation []string `json:"revocation,omitempty"`
}

func (q *Inquiry) normalise() { q.At = seconds(q.At) }

// inquiryLasts is for how long an inquiry is answered, once.
const inquiryLasts = time.Minute

// SignInquiry returns the compact JWS of q.
func SignInquiry(key jose.JSONWebKey, q Inquiry) (string, error) {
	payload, err := marshal(q)
	if err != nil {
		return "", ErrInquiry
	}
	return inquiryFormat.Sign(key, payload)
}

// VerifyInquiry checks that an authority of the bundle signed an inquiry just now. That it is
// answered once is for the caller to see to.
func (b *Bundle) VerifyInquiry(raw string, at time.Time) (*Inquiry, error) {
	signed, q, err := open[Inquiry](inquiryFormat, raw)
	if err != nil {
		return nil, err
	}
	if _, err := b.VerifyAuthority(signed, q.Authority, at, Seen{Span: Span{at, at}, Revocation: q.Revocation}); err != nil {
		return nil, err
	}
	if q.Audience != b.Registrar || q.At.After(at.Add(clockSkew)) || at.Sub(q.At) > clockSkew+inquiryLasts {
		return nil, ErrInquiry
	}
	return q, nil
}
