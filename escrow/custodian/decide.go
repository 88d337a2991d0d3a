package custodian

import (
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// Why a decision is not signed.
var (
	ErrReason = refusal.New(refusal.Invalid, "custodian.reason_needed",
		"declining needs --reason, one of: "+strings.Join(policy.DeclineReasons, ", "))
	errNotReviewed = refusal.New(refusal.Denied, "custodian.not_reviewed",
		"the case was not reviewed: only what passes review can be approved")
)

// Approve signs the custodian's approval of a case that they reviewed, with one
// share for each target, encrypted to the requester. Before the notice period is
// over it is [policy.ErrNoticePeriod]; without a share, [ErrNoShare]; for who is
// not a custodian of the bundle in force, [ErrNotInForce].
func (c *Custodian) Approve(r *Review, at time.Time) (signed string, err error) {
	if r.unreviewed {
		return "", errNotReviewed
	}
	if at.Before(r.from) {
		return "", policy.ErrNoticePeriod
	}
	shares, err := c.shares(r)
	if err != nil {
		return "", err
	}
	return c.sign(r, opening.Approval{Decision: opening.Approve, Shares: shares, At: at})
}

// Decline signs the custodian's refusal of a case, reviewed or not. The reason
// goes into the public log: one of [policy.DeclineReasons], else it is
// [ErrReason]. For who is not a custodian of the bundle in force it is
// [ErrNotInForce].
func (c *Custodian) Decline(r *Review, reason string, at time.Time) (signed string, err error) {
	if !slices.Contains(policy.DeclineReasons, reason) {
		return "", ErrReason
	}
	return c.sign(r, opening.Approval{Decision: opening.Decline, Reason: reason, At: at})
}

// sign completes a decision with what it is about.
func (c *Custodian) sign(r *Review, a opening.Approval) (string, error) {
	print, err := c.key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", err
	}
	if !r.inForce().HasCustodianKey(base64.RawURLEncoding.EncodeToString(print)) {
		return "", ErrNotInForce
	}
	hash := policy.Hash(r.file.Submission.Warrant)
	a.Case, a.Custodian, a.WarrantHash, a.Bundle = r.Case, c.ID, hex.EncodeToString(hash[:]), r.file.Bundle
	if inForce := r.inForce().Hash(); inForce != a.Bundle {
		a.InForce = inForce
	}
	a.LeafIndex, a.CheckpointSize = r.file.Leaf.Index, r.checkpoint
	return opening.SignApproval(c.key, a)
}

// inForce is the bundle whose custodian signs.
func (r *Review) inForce() *policy.Bundle { return r.since[len(r.since)-1] }

// shares makes one share for each target, readable by the requester alone and
// bound to this warrant, record and custodian. They are of the key in force: a
// resharing has moved it since the record was sealed, and it opens all the same.
func (c *Custodian) shares(r *Review) ([]opening.EncryptedShare, error) {
	pk, err := threshold.ParsePublicKey(r.inForce().ThresholdKey)
	if err != nil {
		return nil, err
	}
	ks, err := c.folder.share(pk)
	if err != nil {
		return nil, err
	}
	warrantHash := policy.Hash(r.file.Submission.Warrant)
	var out []opening.EncryptedShare
	for i, t := range r.file.Targets {
		share, err := seal.DecryptShare(t.Label, t.SecondHalf, pk, ks)
		if err != nil {
			return nil, err
		}
		clearShare, err := share.MarshalBinary()
		if err != nil {
			return nil, err
		}
		sealed, err := seal.SealTo(r.Warrant.Requester.DeliveryKey, seal.ShareInfo(warrantHash, t.Label, c.ID), clearShare)
		clear(clearShare)
		if err != nil {
			return nil, err
		}
		out = append(out, opening.EncryptedShare{Target: i, Ciphertext: sealed})
	}
	return out, nil
}
