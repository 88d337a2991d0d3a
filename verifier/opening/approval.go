package opening

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Why a custodian's answer is refused.
var (
	ErrApprovalTooLarge  = refusal.New(refusal.Invalid, "custodian.too_large", "The approval is larger than 4 MiB.")
	ErrApprovalUnsigned  = refusal.New(refusal.Unauthenticated, "custodian.unsigned", "The approval must be a compact JWS, signed with EdDSA or ES256 by a custodian.")
	ErrApprovalMalformed = refusal.New(refusal.Invalid, "custodian.malformed", "The approval is not canonical JSON of the published form; make it with `escrow custodian approve`.")
	ErrApprovalSignature = refusal.New(refusal.Unauthenticated, "custodian.bad_signature", "The signature is not the named custodian's over these bytes.")
	ErrApprovalBundle    = refusal.New(refusal.Denied, "custodian.wrong_bundle", "The approval was given under another bundle.")
	ErrApprovalUnlogged  = refusal.New(refusal.Denied, "custodian.not_logged", "The approval must name a checkpoint that contains the warrant's leaf.")
)

// approvalFormat is that of an approval: one spelling only, so that nobody can
// make a second document with the same signature.
var approvalFormat = &document.Format{
	Types: []string{"penname-approval+jwt"}, MaxBytes: 4 << 20, Algorithms: document.SignatureAlgorithms, ExactHeader: true, ExactPayload: true,
	Refusals: map[document.Fault]*refusal.Error{
		document.Malformed: ErrApprovalMalformed, document.TooLarge: ErrApprovalTooLarge, document.Unsigned: ErrApprovalUnsigned,
		document.AlgNotAllowed: ErrApprovalUnsigned, document.BadSignature: ErrApprovalSignature, document.CannotSign: policy.ErrKey,
	},
}

var (
	casePattern        = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,126}[A-Za-z0-9])?$`)
	custodianPattern   = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?$`)
	compartmentPattern = regexp.MustCompile(`^[a-z][a-z_]{0,31}$`) // as package seal has it
	hashPattern        = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// What a custodian answers.
const (
	Approve = "approve"
	Decline = "decline"
)

// Approval is a custodian's signed answer to one warrant in one case. It is
// bound to the case, the warrant, the bundle, the warrant's leaf in the public
// log and the checkpoint in which the custodian saw that leaf. A case is judged
// under the bundle of its day; a custodian who answers is one of the bundle that is
// in force when they sign.
type Approval struct {
	Case           string           `json:"case"`
	Custodian      string           `json:"custodian"`          // id in the bundle
	WarrantHash    string           `json:"warrant_hash"`       // hex SHA-256 of the warrant's JWS
	Bundle         string           `json:"bundle"`             // hex SHA-256 of the bundle of the case
	InForce        string           `json:"in_force,omitempty"` // hex SHA-256 of the bundle in force when it was signed; absent if that is Bundle
	LeafIndex      int64            `json:"leaf_index"`         // of the case's "recorded" leaf
	CheckpointSize int64            `json:"checkpoint_size"`    // of the cosigned checkpoint that contains it
	Decision       string           `json:"decision"`           // Approve if any target is approved, else Decline
	Reason         string           `json:"reason"`             // one of policy.DeclineReasons; "" when approving
	Shares         []EncryptedShare `json:"shares"`             // by rising Target, then Compartment, of approved targets only; none when declining
	At             time.Time        `json:"at"`

	// What was asked, as the custodian was shown it, and what they said: one answer for each
	// target that they were asked about, by rising Target. Absent in a refusal of the whole
	// case, and in an approval of before there were answers: see Votes.
	Questions []string `json:"questions,omitempty"`
	Answers   []Answer `json:"answers,omitempty"`

	// Of an alternate's, who signs for Custodian: their id, and the hex SHA-256 of what
	// Custodian signed, a recusal of this case or an absence at this time.
	Alternate string `json:"alternate,omitempty"`
	Instead   string `json:"instead,omitempty"`
}

// EncryptedShare is a decryption share, sealed to the requester.
type EncryptedShare struct {
	Target      int    `json:"target"`                // index into the warrant's targets
	Compartment string `json:"compartment,omitempty"` // of the target's record; absent for a record of version 1
	Ciphertext  []byte `json:"ciphertext"`            // HPKE, at most 16 KiB
}

// SealShare encrypts a custodian's share for one compartment of a target to the requester
// of that warrant: what [EncryptedShare].Ciphertext is.
func (t OpenedTarget) SealShare(deliveryKey string, warrantHash [32]byte, compartment, custodian string, share []byte) ([]byte, error) {
	return seal.SealTo(deliveryKey, seal.ShareInfo(warrantHash, t.Label, compartment, custodian), share)
}

// compare orders shares by target, then compartment.
func (s EncryptedShare) compare(other EncryptedShare) int {
	return cmp.Or(cmp.Compare(s.Target, other.Target), cmp.Compare(s.Compartment, other.Compartment))
}

// SignApproval returns the compact JWS of a.
func SignApproval(key jose.JSONWebKey, a Approval) (string, error) {
	if err := a.wellFormed(); err != nil {
		return "", ErrApprovalMalformed.Because(err)
	}
	payload, err := a.marshal()
	if err != nil {
		return "", ErrApprovalMalformed.Because(errors.New("cannot be encoded"))
	}
	return approvalFormat.Sign(key, payload)
}

// Signers returns the hash of the bundle whose custodian signs.
func (a *Approval) Signers() string {
	if a.InForce != "" {
		return a.InForce
	}
	return a.Bundle
}

// VerifyApproval checks that raw is signed by a custodian, or an alternate of theirs, of the
// bundle that it names as in force, over a warrant that was in the log. That bundle must be one
// of signers, else it is [ErrApprovalBundle]. The caller checks that Case,
// WarrantHash, Bundle and LeafIndex are the ones it asked about, and that there
// are enough custodians.
func VerifyApproval(raw string, signers ...*policy.Bundle) (*Approval, error) {
	a, signed, err := parseApproval(raw)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(signers, func(b *policy.Bundle) bool { return b.Hash() == a.Signers() })
	if i < 0 {
		return nil, ErrApprovalBundle
	}
	if err := signers[i].VerifySeat(signed, a.Custodian, a.Alternate, policy.ErrUnknownCustodian); err != nil {
		return nil, err
	}
	if a.LeafIndex >= a.CheckpointSize {
		return nil, ErrApprovalUnlogged
	}
	return a, nil
}

// ParseApprovalUnverified reads an approval without asking who signed it: for
// whoever signed it, or was sent it back.
func ParseApprovalUnverified(raw string) (*Approval, error) {
	a, _, err := parseApproval(raw)
	return a, err
}

func parseApproval(raw string) (*Approval, *document.Signed, error) {
	signed, err := approvalFormat.Open(raw)
	if err != nil {
		return nil, nil, err
	}
	a := new(Approval)
	if err := approvalFormat.Read(signed.Payload, a, a.marshal); err != nil {
		return nil, nil, err
	}
	a.normalise()
	if err := a.wellFormed(); err != nil {
		return nil, nil, ErrApprovalMalformed.Because(err)
	}
	return a, signed, nil
}

// normalise gives times in UTC and whole seconds, and lists that are never null.
func (a *Approval) normalise() {
	a.At = a.At.UTC().Truncate(time.Second)
	a.Shares = append([]EncryptedShare{}, a.Shares...)
	a.Answers = slices.Clone(a.Answers)
	for i, x := range a.Answers {
		if x.Says == nil {
			a.Answers[i].Says = []string{}
		}
	}
	for i, s := range a.Shares {
		if s.Ciphertext == nil {
			a.Shares[i].Ciphertext = []byte{}
		}
	}
}

// marshal returns the one spelling of a.
func (a *Approval) marshal() ([]byte, error) {
	n := *a
	n.normalise()
	return document.Canonical(n)
}

func (a *Approval) wellFormed() error {
	switch {
	case !casePattern.MatchString(a.Case), !custodianPattern.MatchString(a.Custodian):
		return errors.New("bad case or custodian")
	case !hashPattern.MatchString(a.WarrantHash), !hashPattern.MatchString(a.Bundle):
		return errors.New("not a hash")
	case (a.Alternate == "") != (a.Instead == ""), a.Alternate != "" && (!custodianPattern.MatchString(a.Alternate) || !hashPattern.MatchString(a.Instead)):
		return errors.New("an alternate names what the custodian signed, and nobody else does")
	case a.InForce != "" && (!hashPattern.MatchString(a.InForce) || a.InForce == a.Bundle):
		return errors.New("the bundle in force is no other one")
	case a.LeafIndex < 0, a.At.Year() < 2000, a.At.Year() > 9999:
		return errors.New("bad leaf index or time")
	case a.Decision == Approve && (len(a.Shares) == 0 && len(a.Answers) == 0 || a.Reason != ""), a.Decision == Decline && (len(a.Shares) > 0 || !slices.Contains(policy.DeclineReasons, a.Reason)):
		return errors.New("an approval brings shares and no reason; a refusal brings a listed reason and no shares")
	case a.Decision != Approve && a.Decision != Decline:
		return errors.New("neither approve nor decline")
	case len(a.Answers) == 0 && len(a.Questions) > 0:
		return errors.New("questions without answers")
	}
	if len(a.Answers) > 0 {
		if err := a.answered(); err != nil {
			return err
		}
	}
	for i, s := range a.Shares {
		if s.Target < 0 || i > 0 && a.Shares[i-1].compare(s) >= 0 || len(s.Ciphertext) == 0 || len(s.Ciphertext) > 16<<10 ||
			s.Compartment != "" && !compartmentPattern.MatchString(s.Compartment) {
			return errors.New("shares are not one for each target and compartment, in order and of bounded size")
		}
	}
	return nil
}
