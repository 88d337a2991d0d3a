// Package opening answers the question of an appeal court: was this opening
// lawful? It needs no network, no key and no word of anybody who took part: only
// the delivery, as the registrar handed it over and anybody may have saved it,
// and the bundle of rules that the court trusts.
//
//	Verify         the warrant was in the public log before anything was opened; the
//	               rules allowed it; a quorum of custodians signed for it; each sealed
//	               record is the one that its token committed to
//	CheckRecorded  the first of these alone, for a custodian before they approve
//	Commits        one target: is this the record that the token was issued for?
//
// What the sealed fields say is not its business: that takes the requester's key,
// see escrow/requester.
package opening

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// Why an opening is not accepted, beside what the rules and the proofs say.
var (
	ErrPackage = refusal.New(refusal.Invalid, "package.malformed",
		"the package is cut short, or its parts do not belong together: nothing was opened, fetch it again and keep this one if it stays so")
	ErrOtherRules = refusal.New(refusal.Denied, "package.other_rules",
		"the case was recorded under other rules than those of this bundle, which is no fault: fetch the bundle whose hash is named here")
	ErrUnlawful = refusal.New(refusal.Denied, "package.unlawful",
		"the public log holds this release, and the rules of its day do not allow its warrant: nothing was opened, keep the package as evidence and tell the court")
	ErrNotLogged = refusal.New(refusal.Denied, "package.not_logged",
		"nothing proves to this bundle that the public log holds this: nothing was opened or signed, and without that entry no honest custodian releases a share; fetch it again, and compare the bundle")
	ErrRecordMismatch = refusal.New(refusal.Denied, "custodian.record_mismatch",
		"the sealed record is not the one that the token in the evidence commits to: somebody may be framed, do not approve")
)

// Opening is a lawful opening, with all that was checked.
type Opening struct {
	Certificate Certificate
	Package     Package
	Warrant     *policy.Warrant
	WarrantHash [32]byte // SHA-256 of the warrant's JWS

	// Posts are those of each target, by its evidence; Filed is whether what they showed
	// was filed with the warrant, for the requester to compare.
	Posts [][]policy.Post
	Filed bool

	// Approvals are of distinct custodians, at least the quorum, whose shares open
	// together: those under one key.
	Approvals []*Approval
	Signers   map[string]*policy.Bundle // whose custodian each of them is, by Approval.Signers
	Key       string                    // policy.Bundle.ThresholdKey
}

// Verify checks a delivery against the log, the rules and the custodians of its
// day. since are the bundle of the case and those that came into force after it,
// in their order: the case is judged by the first, and a custodian of each may have
// signed while it was in force. Any doubt is a refusal: [ErrPackage], [ErrOtherRules],
// [ErrNotLogged], [ErrUnlawful], [ErrRecordMismatch], or one of packages policy
// and proof. None of them names a culprit.
//
// Not checked: that the shares in the approvals are right, which takes the
// requester's key; that the bundles were in force, which verifier/rules says; and
// when exactly each custodian signed, which an audit of the whole log shows.
func Verify(d Delivery, since ...*policy.Bundle) (*Opening, error) {
	if len(since) == 0 {
		return nil, ErrNotLogged
	}
	b, o := since[0], &Opening{}
	if err := json.Unmarshal(d.Package, &o.Package); err != nil {
		return nil, ErrPackage.Because(err)
	}
	if err := underRules(o.Package.Recorded, b); err != nil {
		return nil, err
	}
	if err := o.verifyLog(d, since); err != nil {
		return nil, err
	}
	// Decided once more, as of when it was issued or recorded: it may have expired by now.
	unverified, err := policy.ParseUnverified(o.Package.Submission.Warrant)
	if err != nil {
		return nil, err
	}
	facts, at, err := o.facts(since, unverified.IssuedAt)
	if err != nil {
		return nil, err
	}
	decision := policy.Decide(o.Package.Submission, b, facts, at)
	switch {
	case !decision.Allowed:
		return nil, ErrUnlawful.Because(decision.Refusal)
	case !decision.Opens:
		return nil, ErrUnlawful
	}
	o.Warrant, o.WarrantHash = decision.Warrant, decision.WarrantHash
	o.Filed = len(decision.Exhibits) > 0
	for _, t := range decision.Targets {
		if t.Refusal != nil {
			return nil, ErrUnlawful.Because(t.Refusal)
		}
		o.Posts = append(o.Posts, t.Posts)
	}
	o.Certificate.Warrant = hex.EncodeToString(o.WarrantHash[:])
	if err := o.verifyApprovals(d.Approvals, since, decision.Quorum); err != nil {
		return nil, err
	}
	if len(o.Package.Targets) != len(o.Warrant.Targets) {
		return nil, ErrPackage
	}
	for i, t := range o.Package.Targets {
		if t.Pseudonym != o.Warrant.Targets[i].Pseudonym || t.Platform != o.Warrant.Targets[i].Platform {
			return nil, ErrPackage
		}
		if !Commits(t.OpenedTarget, t.Fields, decision.Targets[i].Token.Commitment) {
			return nil, ErrRecordMismatch
		}
		if said := decision.Targets[i].Registered.Report(); said != "" {
			o.Certificate.Stolen = append(o.Certificate.Stolen, t.Platform+": "+said)
		}
		o.Certificate.Targets = append(o.Certificate.Targets, certified(t, o.Posts[i]))
	}
	return o, nil
}

// facts are those that the package brings, and the time that the warrant is decided at:
// when it was issued, or the beginning of the day on which it was recorded, if that is
// later. A day is all that the log says, and all that a platform waits for.
func (o *Opening) facts(since []*policy.Bundle, issued time.Time) (policy.Facts, time.Time, error) {
	logs, err := Logs(since...)
	if err != nil {
		return policy.Facts{}, issued, err
	}
	facts, err := o.Package.Facts(logs, since...)
	if err != nil {
		return facts, issued, err
	}
	facts.Recorded = &o.Package.Recorded.Index
	leaf, err := proof.ParseLeaf(o.Package.Recorded.Bytes)
	if err != nil {
		return facts, issued, ErrPackage.Because(err)
	}
	day, err := time.Parse(time.DateOnly, leaf.Day)
	if facts.RecordedAt = day; err == nil && day.After(issued) {
		issued = day
	}
	return facts, issued, err
}

// underRules looks whether a case was recorded under b, before anything is held
// against it: today's bundle and an older case are both right.
func underRules(recorded LoggedLeaf, b *policy.Bundle) error {
	leaf, err := proof.ParseLeaf(recorded.Bytes)
	switch {
	case err != nil:
		return ErrPackage.Because(err)
	case leaf.Bundle != "" && leaf.Bundle != b.Hash():
		return ErrOtherRules.Because(errors.New(leaf.Bundle))
	}
	return nil
}

// verifyLog checks that the public log holds the warrant, the decision of the
// custodians and the release of this very package.
func (o *Opening) verifyLog(d Delivery, since []*policy.Bundle) error {
	p := o.Package
	logs, err := Logs(since...)
	if err != nil {
		return err
	}
	hash := sha256.Sum256(d.Package)
	released, _, err := checkLeaf(logs, d.Released, proof.KindReleased, &p.Recorded.Index)
	if err != nil {
		return err
	}
	if released.Package != hex.EncodeToString(hash[:]) {
		return ErrNotLogged
	}
	if _, _, err := checkLeaf(logs, p.Authorised, proof.KindAuthorised, &p.Recorded.Index); err != nil {
		return err
	}
	recorded, _, err := CheckRecorded(logs, p.Recorded)
	if err != nil {
		return err
	}
	if len(p.Salt) != 32 || recorded.Commitment != proof.Commit([32]byte(p.Salt), "warrant", []byte(p.Submission.Warrant)) {
		return ErrNotLogged
	}
	o.Certificate = Certificate{Package: released.Package, Bundle: since[0].Hash(), Log: logs[0].Origin, Says: Says,
		Recorded: p.Recorded.Index, Authorised: p.Authorised.Index, Released: d.Released.Index}
	return nil
}

// verifyApprovals checks each approval: signed by a custodian of one of the
// bundles, over this warrant in this case, and one for each bundle and custodian.
// It keeps those under a key for which there are enough.
func (o *Opening) verifyApprovals(all []string, since []*policy.Bundle, quorum int) error {
	o.Signers = make(map[string]*policy.Bundle)
	for _, b := range since {
		o.Signers[b.Hash()] = b
	}
	seen := make(map[[2]string]bool)
	byKey := make(map[string][]*Approval) // the last of each custodian
	for _, signed := range all {
		a, err := VerifyApproval(signed, since...)
		if err != nil {
			return err
		}
		who := [2]string{a.Custodian, a.Signers()}
		if a.Case != o.Package.Case || a.LeafIndex != o.Package.Recorded.Index || a.WarrantHash != o.Certificate.Warrant || a.Bundle != since[0].Hash() || seen[who] {
			return ErrPackage
		}
		seen[who] = true
		key := o.Signers[a.Signers()].ThresholdKey
		byKey[key] = append(slices.DeleteFunc(byKey[key], func(b *Approval) bool { return b.Custodian == a.Custodian }), a)
	}
	for _, b := range slices.Backward(since) {
		if len(byKey[b.ThresholdKey]) >= quorum {
			o.Approvals, o.Key = byKey[b.ThresholdKey], b.ThresholdKey
			break
		}
	}
	if o.Key == "" {
		return ErrPackage // the rules wanted more than the key needs
	}
	o.Certificate.Custodians = []string{}
	for _, a := range o.Approvals {
		o.Certificate.Custodians = append(o.Certificate.Custodians, a.Custodian)
	}
	return nil
}

// CaseBundle returns the hash of the bundle that a delivery says its case was
// decided under: to get the bundles for [Verify]. It verifies nothing.
func CaseBundle(d Delivery) (string, error) {
	var p Package
	if err := json.Unmarshal(d.Package, &p); err != nil {
		return "", ErrPackage.Because(err)
	}
	leaf, err := proof.ParseLeaf(p.Recorded.Bytes)
	if err != nil {
		return "", ErrPackage.Because(err)
	}
	return leaf.Bundle, nil
}

// Logs returns the log as each of the bundles trusts it: its witnesses can have
// changed between one proof and another.
func Logs(since ...*policy.Bundle) ([]*proof.Log, error) {
	logs := make([]*proof.Log, len(since))
	for i, b := range since {
		var err error
		if logs[i], err = b.TrustedLog(); err != nil {
			return nil, err
		}
	}
	return logs, nil
}

// Tree is the state of the log under a cosigned checkpoint.
type Tree struct {
	Size int64    // leaves
	Root [32]byte // RFC 6962, 2.1
}

// Contradicts is [proof.ErrSplitView] if the log has signed t and another tree of
// the same size. Trees of two sizes say nothing about each other without a proof.
func (t Tree) Contradicts(other Tree) error {
	if t.Size == other.Size && t.Root != other.Root {
		return proof.ErrSplitView
	}
	return nil
}

// CheckRecorded verifies the leaf that records a warrant: its kind, and its proof
// under the quorum of witnesses of one of the logs ([Logs]). It returns the
// cosigned tree that holds it. What does not fit is [ErrNotLogged].
func CheckRecorded(logs []*proof.Log, l LoggedLeaf) (proof.Leaf, Tree, error) {
	return checkLeaf(logs, l, proof.KindRecorded, nil)
}

// checkLeaf verifies a leaf's kind, its proof and, if recorded is not nil, that it
// is about the warrant recorded at that index.
func checkLeaf(logs []*proof.Log, l LoggedLeaf, kind proof.Kind, recorded *int64) (proof.Leaf, Tree, error) {
	leaf, err := proof.ParseLeaf(l.Bytes)
	if err != nil {
		return proof.Leaf{}, Tree{}, err
	}
	index, tree := int64(0), Tree{}
	for _, log := range logs {
		at, checkpoint, refused := log.VerifyProof(l.Bytes, l.Proof)
		index, tree, err = at, Tree{checkpoint.N, checkpoint.Hash}, refused
		if err == nil {
			break
		}
	}
	if err != nil {
		return proof.Leaf{}, Tree{}, ErrNotLogged.Because(err)
	}
	if index != l.Index || leaf.Kind != kind || recorded != nil && (leaf.Case == nil || *leaf.Case != *recorded) {
		return proof.Leaf{}, Tree{}, ErrNotLogged
	}
	return leaf, tree, nil
}

// Commits recomputes the commitment of a token from what the registrar shows: the
// digest of the sealed record, with its fields handed over or hashed one by one,
// the label and the salt.
func Commits(t OpenedTarget, fields map[string][]byte, commitment [32]byte) bool {
	digest, err := t.Record(fields).Digest()
	return err == nil && len(t.LinkSalt) == 32 &&
		token.Commit(t.Pseudonym, seal.Reference(t.Label, digest), [32]byte(t.LinkSalt)) == commitment
}
