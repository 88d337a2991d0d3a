package opening

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"time"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

// CaseFile is everything a custodian needs to decide for itself. It is JSON on
// the wire; byte slices are standard base64.
type CaseFile struct {
	Case       string            `json:"case"`
	Submission policy.Submission `json:"submission"`
	Bundle     string            `json:"bundle"` // hash, hex
	Salt       []byte            `json:"salt"`   // 32 bytes: opens the commitments of the leaf
	Leaf       LoggedLeaf        `json:"leaf"`   // the recorded warrant in the public log
	Targets    []OpenedTarget    `json:"targets"`
	Approvals  []string          `json:"approvals"` // signed approvals that a leaf has opened so far, see VerifyApproval
	Known

	// Since targets are decided one by one. States are by target, in the order of the
	// warrant; absent: all wait. Of a target without a record that can be shown, which is
	// refused then, Targets has the pen name and the platform alone. Both are the registrar's word.
	States    []TargetState `json:"states,omitempty"`
	Deadlines []Deadline    `json:"deadlines,omitempty"`

	// Where the persons are told first: the leaf that says that they were, or not reached, once
	// there is one; and what was objected, by the registrar's word but for what a court ruled.
	Told       *LoggedLeaf `json:"told,omitempty"`
	Objections []Objection `json:"objections,omitempty"`

	// What custodians said beside their decisions, with the court's answers, and the absences
	// of custodians that are not over, signed: see VerifyStatement.
	Said     []Said   `json:"said,omitempty"`
	Absences []string `json:"absences,omitempty"`
}

// Objection is what a person, or a lawyer for them, said against an order.
type Objection struct {
	Target   int    `json:"target"`            // its place in the warrant
	Lawyer   bool   `json:"lawyer"`            // with the one-time code of the notice
	Day      string `json:"day"`               // UTC
	Suspends bool   `json:"suspends"`          // it came in time: nothing goes on before a court has ruled on it
	Digest   string `json:"digest"`            // hex SHA-256 of Sealed: what a ruling names
	Outcome  string `json:"outcome,omitempty"` // policy.Upheld or policy.Dismissed
	Sealed   []byte `json:"sealed,omitempty"`  // the text, encrypted like exhibits; absent once it was dropped, and for whoever may not read it

	// For custodians, of one that is ruled on: the JWS of the ruling, and what judges its
	// certificate, as of [Said].
	Ruling     string   `json:"ruling,omitempty"`
	RuledOn    string   `json:"ruled_on,omitempty"` // YYYY-MM-DD (UTC), by the registrar's word
	Revocation []string `json:"revocation,omitempty"`
}

// Ruled returns the ruling by which a court decided on the objection as Outcome says; nil if
// there is none about this very objection to this warrant, by the authority that issued it or by
// one over it, under one of the bundles.
func (o Objection) Ruled(warrant string, since ...*policy.Bundle) *policy.Warrant {
	w, err := policy.ParseUnverified(warrant)
	if err != nil {
		return nil
	}
	r := verifyRuling(o.Ruling, o.RuledOn, o.Revocation, w, since)
	if hash := policy.Hash(warrant); r == nil || r.Earlier != hex.EncodeToString(hash[:]) || r.Ruling.Digest != o.Digest || r.Ruling.Outcome != o.Outcome {
		return nil
	}
	return r
}

// TargetState is where one target of a case stands, by the registrar's word.
type TargetState struct {
	State string `json:"state"`          // "waiting", "released", "refused", …: disclose.TargetState
	Code  string `json:"code,omitempty"` // of the refusal, where it is refused
}

// What a deadline is about.
const (
	DeadlineTold       = "the persons are told, or count as not reached"
	DeadlineObject     = "the time to object ends"
	DeadlineRuling     = "a court rules on the objection, or the warrant runs out"
	DeadlineAnswer     = "the custodians answer"
	DeadlineValidation = "the emergency is validated, or it lapses"
	DeadlineValidated  = "the emergency is validated"
	DeadlineLapsed     = "the emergency, which nobody validated, lapses"
	DeadlineExpiry     = "the warrant runs out"
	DeadlineSuspension = "the suspension ends"
	DeadlineHold       = "the hold ends"
	DeadlineSecrecy    = "secrecy ends and the persons are told"
)

// Deadline is a date by which something is done in a case, or ends.
type Deadline struct {
	What string    `json:"what"` // [DeadlineAnswer] …
	At   time.Time `json:"at"`
	Met  bool      `json:"met"` // it was done in time
}

// LoggedLeaf is a leaf with its c2sp.org/tlog-proof.
type LoggedLeaf struct {
	Index int64  `json:"index"`
	Bytes []byte `json:"bytes"`
	Proof []byte `json:"proof"`
}

// Known is what the public log says of a case beside its own leaves, with the proofs:
// [Known.Facts] checks it.
type Known struct {
	Platforms []LoggedPlatform `json:"platforms,omitempty"` // all records of those that the warrant names
	Earlier   *EarlierWarrant  `json:"earlier,omitempty"`   // that the warrant names; absent if it is not on file, or its names are not needed

	// Filed is what was filed before the warrant, since bundles of format 5. It is the
	// registrar's word: the log does not say which authority filed what.
	Filed *policy.Filed `json:"filed,omitempty"`

	// Validated is the recorded leaf of the validation of an emergency that was filed without
	// one; absent: nobody has validated it yet.
	Validated *LoggedLeaf `json:"validated,omitempty"`
}

// CheckValidated is [ErrNotValidated] if a recorded leaf, which was verified before
// ([CheckRecorded]), is that of an emergency whose hours under b, the bundle of its day, were
// over at a time and which nobody had validated by then.
func (k Known) CheckValidated(logs []*proof.Log, l LoggedLeaf, b *policy.Bundle, at time.Time) error {
	recorded, err := proof.ParseLeaf(l.Bytes)
	if err != nil {
		return err
	}
	if recorded.WarrantKind != proof.Emergency || recorded.Validated || b.ValidationHours == 0 {
		return nil
	}
	from, err := RecordedAt(recorded)
	if err != nil {
		return ErrNotLogged.Because(err)
	}
	by := from.Add(time.Duration(b.ValidationHours) * time.Hour)
	switch {
	case !at.After(by):
		return nil
	case k.Validated == nil:
		return ErrNotValidated
	}
	leaf, _, err := checkLeaf(logs, *k.Validated, proof.KindRecorded, &l.Index)
	if err == nil && (leaf.WarrantKind != proof.Validation || leaf.At > proof.Second(by)) {
		err = ErrNotValidated
	}
	return err
}

// LoggedPlatform is a signed record of a platform with its leaf.
type LoggedPlatform struct {
	Signed        string     `json:"signed"`
	Countersigned []string   `json:"countersigned,omitempty"`
	Leaf          LoggedLeaf `json:"leaf"`
}

// EarlierWarrant is a warrant with its recorded leaf, whose commitment the salt opens.
type EarlierWarrant struct {
	Warrant string     `json:"warrant"`
	Salt    []byte     `json:"salt"`
	Leaf    LoggedLeaf `json:"leaf"`
}

// Facts checks each leaf under one of the logs ([Logs]), and each newest record under
// the registry of one of the bundles. It is [ErrNotLogged], or as [policy.NewPlatforms]
// refuses.
func (k Known) Facts(logs []*proof.Log, bundles ...*policy.Bundle) (facts policy.Facts, err error) {
	facts.Filed = k.Filed
	var records []policy.LoggedPlatform
	for _, p := range k.Platforms {
		leaf, _, err := checkLeaf(logs, p.Leaf, proof.KindPlatform, nil)
		if err != nil {
			return facts, err
		}
		if leaf.Package != proof.PlatformDigest(p.Signed, p.Countersigned) {
			return facts, ErrNotLogged
		}
		records = append(records, policy.LoggedPlatform{Signed: p.Signed, Countersigned: p.Countersigned, Leaf: p.Leaf.Index, Day: leaf.Day})
	}
	if facts.Platforms, err = policy.NewPlatforms(records, bundles...); err != nil {
		return facts, err
	}
	if e := k.Earlier; e != nil {
		leaf, _, err := CheckRecorded(logs, e.Leaf)
		if err != nil {
			return facts, err
		}
		if len(e.Salt) != 32 || leaf.Commitment != proof.Commit([32]byte(e.Salt), "warrant", []byte(e.Warrant)) {
			return facts, ErrNotLogged
		}
		facts.Earlier = &policy.Recorded{Warrant: e.Warrant, Leaf: e.Leaf.Index}
	}
	return facts, nil
}

// OpenedTarget is a target of a warrant with its opened link: what the
// commitment in the token of the evidence was made of. The order is that of
// Warrant.Targets.
type OpenedTarget struct {
	Pseudonym    token.Pseudonym `json:"pseudonym"`
	Platform     string          `json:"platform"`
	Label        string          `json:"label"`     // of the sealed record
	LinkSalt     []byte          `json:"link_salt"` // 32 bytes, see token.Commit
	seal.Custody                 // second halves, and which of them opens which field

	// SHA-256 of the sealed fields that are not handed over, by name: with the
	// rest they give the digest that the commitment is to (seal.Record.Digest).
	Withheld map[string][]byte `json:"withheld"`
}

// Record is the target's sealed record, as far as it was shown, with the sealed
// fields that were handed over.
func (t OpenedTarget) Record(fields map[string][]byte) seal.Record {
	return seal.Record{Label: t.Label, Custody: t.Custody, Fields: fields, Withheld: t.Withheld}
}

// Package is what the registrar makes when targets of a case are released: one package for
// each round. Its SHA-256 is in the released leaf, so it holds everything that was settled
// by then: warrant and evidence, the sealed records of the targets of this round, the
// registrar's halves, and the proofs that the warrant was recorded and authorised. Nobody
// but the holder of the warrant's delivery key can open what is sealed in it: not the
// registrar that made it, nor the custodians.
type Package struct {
	Version    int               `json:"v"`
	Case       string            `json:"case"`
	Submission policy.Submission `json:"submission"` // warrant and evidence, as filed
	Salt       []byte            `json:"salt"`
	Targets    []PackageTarget   `json:"targets"`
	Recorded   LoggedLeaf        `json:"recorded"`            // certificate for the court file
	Authorised LoggedLeaf        `json:"authorised,omitzero"` // likewise; absent where there is Decided

	// Since targets are decided one by one: every leaf that decided targets of the case by
	// then, in their order. The last one authorises those of this round.
	Decided []LoggedLeaf `json:"decided,omitempty"`

	// Receipt is 32 random bytes: who deleted what was delivered states so with it. It is
	// the same in each round of a case.
	Receipt []byte `json:"receipt,omitempty"`
	Known
}

// PackageTarget is one sealed identity, cut down to the fields of the warrant.
type PackageTarget struct {
	OpenedTarget
	Index  int               `json:"index,omitempty"` // into the warrant's targets; in a package without Decided they all are there, in order
	Fields map[string][]byte `json:"fields"`          // sealed, by field name
	Halves []byte            `json:"halves"`          // first halves by field, as JSON, encrypted to the delivery key

	// Since targets are decided one by one, instead of Halves: what Halves was, locked with a
	// key that is not under the hash of the package (Round.Keys). So a target whose use was
	// forbidden meanwhile stays shut, and the others of its round open.
	Locked []byte `json:"locked,omitempty"`

	// Of an order to link, which opens no field: [Linked] as JSON, encrypted by the issuing side
	// to the delivery key (seal.LinkedInfo).
	Linked []byte `json:"linked,omitempty"`
}

// Linked are all pen names of the person of a target, at the registered platforms. Nothing
// in the public log proves that it is whole: it is the word of the issuing side.
type Linked []LinkedName

// LinkedName is a pen name, and the ids of the platforms that know the person by it.
type LinkedName struct {
	PenName   token.Pseudonym `json:"pen_name"`
	Platforms []string        `json:"platforms"`
}

// Round is what was released at one time.
type Round struct {
	Package  []byte     `json:"package"` // JSON of a Package, as it was hashed
	Released LoggedLeaf `json:"released"`

	Keys map[int][]byte `json:"keys,omitempty"` // by target of the warrant: what [PackageTarget.Locked] opens with; none of a target whose use is forbidden
}

// Lock locks the halves of one target with a key that locks nothing else.
func Lock(key [32]byte, halves []byte) ([]byte, error) {
	box, err := lock(key[:])
	if err != nil {
		return nil, err
	}
	return box.Seal(nil, make([]byte, box.NonceSize()), halves, nil), nil
}

// unlock opens what [Lock] made.
func unlock(key, locked []byte) ([]byte, error) {
	box, err := lock(key)
	if err != nil {
		return nil, err
	}
	return box.Open(nil, make([]byte, box.NonceSize()), locked, nil)
}

func lock(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Delivery is what a requester has when they have decrypted the registrar's
// answer, and what they save for the court file: the packages as they were hashed, and
// what cannot be under that hash, because it came later. A released leaf proves
// itself by the log, each approval by its custodian's signature over the warrant;
// with every time that a delivery is asked for, it has the approvals given so far.
type Delivery struct {
	// The one round of a delivery of before there were rounds.
	Package  []byte     `json:"package,omitempty"`
	Released LoggedLeaf `json:"released,omitzero"`

	Rounds []Round `json:"rounds,omitempty"` // in the order of their leaves

	// The custodians' approvals, signed, with the shares encrypted to the
	// delivery key. There can be more than the quorum: one who approves later
	// steps in for one whose share is wrong.
	Approvals []string `json:"approvals"`

	// Where each target of the warrant stands, in its order, by the registrar's word; absent
	// in deliveries of before there were rounds.
	States []TargetState `json:"states,omitempty"`

	// Leaves that forbid the use of what was delivered: the recorded leaf of an annulment, or
	// that an emergency lapsed.
	Bars []LoggedLeaf `json:"bars,omitempty"`

	// Barred stands for packages and approvals where they forbid the use of all that was
	// released: then nothing is handed over, not even for the first time.
	Barred *Barred `json:"barred,omitempty"`
}

// Barred is what a requester is left with of a case of which nothing may be used: which it
// is, and what they state its deletion with.
type Barred struct {
	Recorded LoggedLeaf `json:"recorded"`
	Receipt  []byte     `json:"receipt,omitempty"` // Package.Receipt
}

// rounds returns what was released, in the order of the leaves.
func (d Delivery) rounds() []Round {
	if len(d.Package) > 0 {
		return []Round{{Package: d.Package, Released: d.Released}}
	}
	return d.Rounds
}
