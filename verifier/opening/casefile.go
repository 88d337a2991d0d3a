package opening

import (
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
	Approvals  []string          `json:"approvals"` // signed approvals so far, see VerifyApproval
	Known
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

// Package is what the registrar makes when a case is released. Its SHA-256 is in
// the released leaf, so it holds everything that was settled by then: warrant and
// evidence, the sealed records, the registrar's halves, and the proofs that the
// warrant was recorded and authorised. Nobody but the holder of the warrant's
// delivery key can open what is sealed in it: not the registrar that made it, nor
// the custodians.
type Package struct {
	Version    int               `json:"v"`
	Case       string            `json:"case"`
	Submission policy.Submission `json:"submission"` // warrant and evidence, as filed
	Salt       []byte            `json:"salt"`
	Targets    []PackageTarget   `json:"targets"`
	Recorded   LoggedLeaf        `json:"recorded"`   // certificate for the court file
	Authorised LoggedLeaf        `json:"authorised"` // likewise
	Known
}

// PackageTarget is one sealed identity, cut down to the fields of the warrant.
type PackageTarget struct {
	OpenedTarget
	Fields map[string][]byte `json:"fields"` // sealed, by field name
	Halves []byte            `json:"halves"` // first halves by field, as JSON, encrypted to the delivery key
}

// Delivery is what a requester has when they have decrypted the registrar's
// answer, and what they save for the court file: the package as it was hashed, and
// what cannot be under that hash, because it came later. The released leaf proves
// itself by the log, each approval by its custodian's signature over the warrant;
// with every time that a delivery is asked for, it has the approvals given so far.
type Delivery struct {
	Package  []byte     `json:"package"`
	Released LoggedLeaf `json:"released"`

	// The custodians' approvals, signed, with the shares encrypted to the
	// delivery key. There can be more than the quorum: one who approves later
	// steps in for one whose share is wrong.
	Approvals []string `json:"approvals"`
}
