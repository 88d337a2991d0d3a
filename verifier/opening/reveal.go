package opening

import (
	"slices"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
)

// Revealed is what the requester's key showed: with it anybody opens the sealed records of the
// targets again, without that key, and sees that what was sealed is what the certificate says.
// It is as secret as the names.
type Revealed struct {
	Targets   []RevealedTarget `json:"targets"`
	BadShares []string         `json:"bad_shares,omitempty"` // custodians who signed for a wrong share, by the requester's word
}

// RevealedTarget is one target of the warrant that was released.
type RevealedTarget struct {
	Target  int    `json:"target"`            // index into the warrant's targets
	Refused string `json:"refused,omitempty"` // code of why the requester left it sealed, by their word; nothing else is there then

	Halves map[string][]byte `json:"halves,omitempty"` // first halves, by field
	Shares []RevealedShare   `json:"shares,omitempty"`
	Linked Linked            `json:"linked,omitempty"` // of an order to link: the word of the issuing side
}

// RevealedShare is the share of one custodian for one compartment, decrypted. It carries its
// own proof.
type RevealedShare struct {
	Custodian   string `json:"custodian"`
	Compartment string `json:"compartment,omitempty"`
	Share       []byte `json:"share"`
}

// Share reads the decrypted share that came with an approval, for one compartment of a target,
// and checks its proof: made with that custodian's part of the key, for this record.
func (o *Opening) Share(raw []byte, a *Approval, target int, compartment string, key threshold.PublicKey) (share threshold.Share, err error) {
	if err := share.UnmarshalBinary(raw); err != nil {
		return share, err
	}
	if share.Index() != o.Signers[a.Signers()].Custodian(a.Custodian).Index {
		return share, threshold.ErrForeign // somebody else's share under this signature
	}
	sealed := o.Targets[target].Sealed
	return share, sealed.VerifyShare(sealed.Label, compartment, key, share)
}

// Open opens the sealed record of a target that was released, with what the requester's key
// showed, by field.
func (o *Opening) Open(r RevealedTarget) (map[string][]byte, error) {
	if r.Target < 0 || r.Target >= len(o.Targets) || o.Targets[r.Target].Sealed == nil {
		return nil, ErrPackage
	}
	t := o.Targets[r.Target]
	key, err := threshold.ParsePublicKey(t.Key)
	if err != nil {
		return nil, err
	}
	shares := make(map[string][]threshold.Share)
	for _, s := range r.Shares {
		i := slices.IndexFunc(t.Approvals, func(a *Approval) bool { return a.Custodian == s.Custodian })
		if i < 0 {
			return nil, ErrPackage
		}
		share, err := o.Share(s.Share, t.Approvals[i], r.Target, s.Compartment, key)
		if err != nil {
			return nil, err
		}
		shares[s.Compartment] = append(shares[s.Compartment], share)
	}
	return seal.Open(t.Sealed.Record(t.Sealed.Fields), r.Halves, key, shares)
}
