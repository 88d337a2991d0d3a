package issue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Receipt is what a person gets who asked to be deleted. With it, and with
// nothing less, the erasure is found in the public log: the leaf of kind
// "erased" with its commitment.
type Receipt struct {
	Label string    // of the record; names nobody
	Salt  [32]byte  // random
	Day   time.Time // UTC midnight of the request
}

// By is the day until which the erasure is complete, unless the law requires
// the record to be kept. Regulation (EU) 2016/679, Art. 12(3): "without undue
// delay and in any event within one month". It takes an hour or two; the promise is
// the same whether or not an order holds the record, of which nobody is told.
func (r Receipt) By() time.Time { return r.Day.AddDate(0, 1, 0) }

// Commitment is what the leaf of the erasure carries.
func (r Receipt) Commitment() string { return proof.ErasedLeaf(r.Day, r.Salt, r.Label).Commitment }

// Proof is the line that a person keeps: see proof.ParseReceipt.
func (r Receipt) Proof() string { return fmt.Sprintf("%s.%x.%s", r.Label, r.Salt, r.Commitment()) }

// End ends the sign-ins of pseudonyms, see openid.Provider.
type End func(ctx context.Context, names ...token.Pseudonym) error

// Erase asks that the sealed record of p be erased. From here on p has no
// record. If p comes back they are the same person under the same pseudonyms, so
// that a ban holds, with a record that is sealed afresh. Asking again returns the
// same receipt. What fails after the wish is written is [ErrRecorded].
//
// The claims, the address for notices and the passkeys go with the wish; key is that of the session, see [Issuer.Attest].
//
// The sign-ins end before the wish is written, so that a crash leaves none
// behind, and again after it, for one that came between the two.
func (s *Issuer) Erase(ctx context.Context, p Person, key []byte, platforms []string, end End) (Receipt, error) {
	if err := s.EndSignIns(ctx, p, platforms, end); err != nil {
		return Receipt{}, err
	}
	r := Receipt{Label: p.Label, Day: day(s.Now())}
	rand.Read(r.Salt[:]) // never fails (crypto/rand)
	r, err := s.Store.Ask(ctx, r)
	if err != nil {
		return Receipt{}, err
	}
	if err := errors.Join(s.forgetClaims(ctx, p, key), s.forgetContact(ctx, p), s.Store.RemovePasskeys(ctx, p), s.EndSignIns(ctx, p, platforms, end)); err != nil {
		return r, ErrRecorded.Because(err)
	}
	return r, nil
}

// ErrRecorded is of an erasure that is recorded, and whose rest failed.
var ErrRecorded = refusal.New(refusal.Unavailable, "person.deletion_recorded",
	"your deletion is recorded, but not all your sign-ins at platforms could be ended: ask to be deleted once more, which ends them and shows your receipt")

// SignOutEverywhere ends all that p is signed in to: first the sessions here, so that
// no device begins anything more, then the sign-ins at the platforms.
func (s *Issuer) SignOutEverywhere(ctx context.Context, p Person, platforms []string, end End) error {
	if err := s.Store.EndSessions(ctx, p, Change{Day: day(s.Now()), Kind: ChangeAllOut}); err != nil {
		return err
	}
	return s.EndSignIns(ctx, p, platforms, end)
}

// EndSignIns calls end for the pseudonyms that p holds on the platforms. It takes the
// person to be there: nobody else knows which pseudonyms are theirs.
func (s *Issuer) EndSignIns(ctx context.Context, p Person, platforms []string, end End) error {
	have, err := s.PenNames(ctx, p, platforms)
	if err != nil || len(have) == 0 {
		return err
	}
	return end(ctx, Pseudonyms(have)...)
}
