package disclose

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

// The refusals of exhibits. Stores return them too.
var (
	ErrExhibitUndeclared = refusal.New(refusal.NotFound, "exhibit.undeclared",
		"no evidence of this case declares an exhibit with that digest, or its exhibits were dropped: nothing was stored")
	ErrExhibitLength = refusal.New(refusal.Invalid, "exhibit.length",
		"the encrypted exhibit is not as long as the declared content to the recipients of this case: encrypt the published bytes to the custodians of the case's rules and to its requester")
	ErrExhibitStored = refusal.New(refusal.Conflict, "exhibit.stored",
		"this exhibit is stored with other bytes, and never changes: nothing is to be done")
	ErrNoExhibit = refusal.New(refusal.NotFound, "exhibit.not_stored",
		"no exhibit with that digest is stored in this case: ask for it to be filed, and escrow warrant status how many are missing")
)

// SealedExhibit is an exhibit that is to be filed: the SHA-256 of what was published, and
// how many bytes it has encrypted.
type SealedExhibit struct {
	Digest [32]byte
	Length int64
}

// StoredExhibits is what is stored of the exhibits of a case; zero where it has none.
type StoredExhibits struct {
	Stored  int
	Missing [][32]byte // in the order of their bytes
	// Until is Case.KeepDays after the latest of the warrant's expiry, the end of its
	// secrecy and the day of the notice: the time to appeal.
	Until time.Time
}

// sealedExhibits are those of a decision with the length that they have once they are
// encrypted to the custodians and the requester.
func sealedExhibits(d policy.Decision, b *policy.Bundle) []SealedExhibit {
	sealed := make([]SealedExhibit, len(d.Exhibits))
	for i, x := range d.Exhibits {
		sealed[i] = SealedExhibit{x.Digest, exhibit.SealedSize(x.Length, len(b.ExhibitsTo(d.Warrant)))}
	}
	return sealed
}

// PutCopy stores what a custodian in force encrypted again, of an exhibit of that case to a
// custodian in force whose recipient has that SHA-256; else it is exhibit.ErrCopy. The other
// refusals are those of [Cases].
func (r *Registrar) PutCopy(ctx context.Context, id string, digest, recipient [32]byte, copied []byte) error {
	b, err := r.Rules.InForce(ctx)
	if err != nil {
		return err
	}
	about, _, err := exhibit.VerifyCopy(copied, b)
	if err != nil {
		return err
	}
	if about.Case != id || about.Exhibit != hex.EncodeToString(digest[:]) ||
		sha256.Sum256([]byte(about.Recipient)) != recipient || !slices.Contains(b.Recipients(), about.Recipient) {
		return exhibit.ErrCopy
	}
	return r.Cases.PutCopy(ctx, id, digest, recipient, copied)
}

// ShortExhibits returns what is stored of the first exhibit.MaxTogether of these, as [Cases] does.
func (r *Registrar) ShortExhibits(ctx context.Context, id string, digests [][32]byte) (map[[32]byte][]byte, error) {
	return r.Cases.ShortExhibits(ctx, id, digests[:min(len(digests), exhibit.MaxTogether)])
}

// DropExhibits deletes the exhibits of cases whose time to appeal is over, and returns of
// how many.
func (r *Registrar) DropExhibits(ctx context.Context) (cases int, err error) {
	return r.Cases.DropExhibits(ctx, r.Now())
}
