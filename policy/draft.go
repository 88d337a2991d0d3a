package policy

import (
	"crypto/rand"
	"encoding/hex"
	"time"
)

// Complete fills in what a draft may leave out: a random id, the time of issue,
// which is at, an expiry 30 days later, and the hash of the bundle b that it is
// made under. b may be nil, then the draft has to name its bundle itself.
func (w *Warrant) Complete(b *Bundle, at time.Time) {
	if w.ID == "" {
		var id [16]byte
		rand.Read(id[:])
		w.ID = hex.EncodeToString(id[:])
	}
	if w.IssuedAt.IsZero() {
		w.IssuedAt = at
	}
	if w.Expiry.IsZero() {
		w.Expiry = w.IssuedAt.AddDate(0, 0, 30)
	}
	if b != nil {
		w.Bundle = b.Hash()
	}
}

// NewWithdrawal drafts the withdrawal of an earlier warrant, given as its compact
// JWS. It repeats of the earlier one what tells which it is, and no word about
// whom it named.
func NewWithdrawal(earlier, grounds string) (*Warrant, error) {
	w, err := ParseUnverified(earlier)
	if err != nil {
		return nil, err
	}
	hash := Hash(earlier)
	return &Warrant{
		Kind: Withdrawal, Earlier: hex.EncodeToString(hash[:]), Authority: w.Authority, Jurisdiction: w.Jurisdiction,
		FileNumber: w.FileNumber, OffenceClass: w.OffenceClass, Grounds: grounds, Audience: w.Audience, Secrecy: w.Secrecy,
	}, nil
}
