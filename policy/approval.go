package policy

import (
	"errors"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// What a custodian answers.
const (
	Approve = "approve"
	Decline = "decline"
)

// Approval is a custodian's signed answer to one warrant in one case. It is
// bound to the case, the warrant, the bundle, the warrant's leaf in the public
// log and the checkpoint in which the custodian saw that leaf.
type Approval struct {
	Case           string           `json:"case"`
	Custodian      string           `json:"custodian"`       // id in the bundle
	WarrantHash    string           `json:"warrant_hash"`    // hex SHA-256 of the warrant's JWS
	Bundle         string           `json:"bundle"`          // hex SHA-256
	LeafIndex      int64            `json:"leaf_index"`      // of the case's "recorded" leaf
	CheckpointSize int64            `json:"checkpoint_size"` // of the cosigned checkpoint that contains it
	Decision       string           `json:"decision"`        // Approve or Decline
	Reason         string           `json:"reason"`          // one of DeclineReasons, for the public log; "" when approving
	Shares         []EncryptedShare `json:"shares"`          // by rising Target; none when declining
	At             time.Time        `json:"at"`
}

// EncryptedShare is a decryption share, sealed to the requester.
type EncryptedShare struct {
	Target     int    `json:"target"`     // index into the warrant's targets
	Ciphertext []byte `json:"ciphertext"` // HPKE, at most 16 KiB
}

// SignApproval returns the compact JWS of a.
func SignApproval(key jose.JSONWebKey, a Approval) (string, error) {
	if err := a.wellFormed(); err != nil {
		return "", ErrApprovalMalformed.Because(err)
	}
	payload, err := marshal(a)
	if err != nil {
		return "", ErrApprovalMalformed.Because(errors.New("cannot be encoded"))
	}
	return approvalFormat.Sign(key, payload)
}

// VerifyApproval checks that raw is signed by a custodian of b, under b, over a
// warrant that was in the log. The caller checks that Case, WarrantHash and
// LeafIndex are the ones it asked about, and that there are enough custodians.
func VerifyApproval(raw string, b *Bundle) (*Approval, error) {
	signed, a, err := open[Approval](approvalFormat, raw)
	if err != nil {
		return nil, err
	}
	if err := a.wellFormed(); err != nil {
		return nil, ErrApprovalMalformed.Because(err)
	}
	if err := b.verifyCustodian(signed, a.Custodian, ErrUnknownCustodian); err != nil {
		return nil, err
	}
	if a.Bundle != b.hash {
		return nil, ErrApprovalBundle
	}
	if a.LeafIndex >= a.CheckpointSize {
		return nil, ErrApprovalUnlogged
	}
	return a, nil
}

func (a *Approval) normalise() {
	a.At = seconds(a.At)
	a.Shares = some(slices.Clone(a.Shares))
	for i := range a.Shares {
		a.Shares[i].Ciphertext = some(a.Shares[i].Ciphertext)
	}
}

func (a *Approval) wellFormed() error {
	switch {
	case !warrantIDPattern.MatchString(a.Case), !idPattern.MatchString(a.Custodian):
		return errors.New("bad case or custodian")
	case !hashPattern.MatchString(a.WarrantHash), !hashPattern.MatchString(a.Bundle):
		return errors.New("not a hash")
	case a.LeafIndex < 0, !plausible(a.At):
		return errors.New("bad leaf index or time")
	case a.Decision == Approve && (len(a.Shares) == 0 || a.Reason != ""), a.Decision == Decline && (len(a.Shares) > 0 || !slices.Contains(DeclineReasons, a.Reason)):
		return errors.New("an approval brings shares and no reason; a refusal brings a listed reason and no shares")
	case a.Decision != Approve && a.Decision != Decline:
		return errors.New("neither approve nor decline")
	}
	last := -1
	for _, s := range a.Shares {
		if s.Target <= last || len(s.Ciphertext) == 0 || len(s.Ciphertext) > 16<<10 {
			return errors.New("shares are not one for each target, in order and of bounded size")
		}
		last = s.Target
	}
	return nil
}

// endorsement says that a custodian stands behind a bundle.
type endorsement struct {
	At        time.Time `json:"at"`
	Bundle    string    `json:"bundle"`
	Custodian string    `json:"custodian"`
}

func (e *endorsement) normalise() { e.At = seconds(e.At) }

// SignEndorsement returns a custodian's JWS over the hex hash of a bundle.
func SignEndorsement(key jose.JSONWebKey, custodianID, bundleHash string, at time.Time) (string, error) {
	if !idPattern.MatchString(custodianID) || !hashPattern.MatchString(bundleHash) || !plausible(at) {
		return "", ErrBadEndorsement
	}
	payload, err := marshal(endorsement{at, bundleHash, custodianID})
	if err != nil {
		return "", ErrBadEndorsement.Because(errors.New("cannot be encoded"))
	}
	return endorsementFormat.Sign(key, payload)
}

// VerifyEndorsements checks that at least Threshold distinct custodians of b
// endorse b itself. It does not show that b may follow the bundle before it:
// that is [Bundle.VerifySuccessor].
func (b *Bundle) VerifyEndorsements(endorsements []string) error {
	return b.endorses(b.hash, endorsements)
}

// VerifySuccessor checks that at least Threshold distinct custodians of b, the
// bundle in force, endorse next. Without it, a stranger could bring a bundle
// together with its own custodians.
func (b *Bundle) VerifySuccessor(next *Bundle, endorsements []string) error {
	return b.endorses(next.hash, endorsements)
}

// endorses counts custodians, not signatures; custodians are distinct
// organisations with distinct keys (compile). One endorsement that is not over
// this hash by a custodian of b spoils the list, so nothing odd rides along.
func (b *Bundle) endorses(hash string, endorsements []string) error {
	seen := make(map[string]bool)
	for _, raw := range endorsements {
		signed, said, err := open[endorsement](endorsementFormat, raw)
		if err != nil {
			return err
		}
		if err := b.verifyCustodian(signed, said.Custodian, ErrBadEndorsement); err != nil {
			return err
		}
		if hash == "" || said.Bundle != hash || !plausible(said.At) {
			return ErrBadEndorsement
		}
		seen[said.Custodian] = true
	}
	if b.Threshold < 2 || len(seen) < b.Threshold {
		return ErrNotEndorsed
	}
	return nil
}
