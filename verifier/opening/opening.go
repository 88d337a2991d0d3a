// Package opening answers the question of an appeal court: was this opening
// lawful? It needs no network, no key and no word of anybody who took part: only
// the delivery, as the registrar handed it over and anybody may have saved it,
// and the bundle of rules that the court trusts.
//
//	Verify         the warrant was in the public log before anything was opened; the
//	               rules allowed it; a quorum of custodians signed for it; each sealed
//	               record is the one that its token committed to
//	VerifyOrder    the same before anything was released, for who answers an order to link
//	CheckRecorded  the first of these alone, for a custodian before they approve
//	Commits        one target: is this the record that the token was issued for?
//
// What the sealed fields say is not its business: that takes the requester's key,
// see escrow/requester.
package opening

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
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
	ErrAnnulled = refusal.New(refusal.Denied, "package.annulled",
		"a court has annulled the order, or upheld an objection to it, after names were delivered, as the public log says: nothing was opened, and whatever was opened before must not be used; delete it, and state that with escrow warrant deleted")
	ErrLapsed = refusal.New(refusal.Denied, "package.lapsed",
		"nobody validated this emergency order in time, so it has lapsed, as the public log says: nothing was opened, and whatever was opened before must not be used; delete it, and state that with escrow warrant deleted")
	ErrNotValidated = refusal.New(refusal.Denied, "package.not_validated",
		"nobody validated this emergency order within its hours, as far as the public log is shown: nothing was signed or opened, and it lapses; ask the registrar for the entry of the validation, and keep a package as evidence")
	ErrRecordMismatch = refusal.New(refusal.Denied, "custodian.record_mismatch",
		"the sealed record is not the one that the token in the evidence commits to: somebody may be framed, do not approve")
)

// Opening is a lawful opening, with all that was checked.
type Opening struct {
	Certificate Certificate
	Case        string
	Warrant     *policy.Warrant
	WarrantHash [32]byte // SHA-256 of the warrant's JWS
	Targets     []Target // in the order of the warrant

	// Filed is whether what the posts showed was filed with the warrant, for the requester to
	// compare.
	Filed   bool
	Signers map[string]*policy.Bundle // whose custodian each of Target.Approvals is, by Approval.Signers

	Decision policy.Decision // by the rules of the day of the case, made again here

	rounds   []round
	recorded proof.Leaf
	since    []*policy.Bundle
}

// Target is one target of the warrant.
type Target struct {
	Sealed *PackageTarget // nil: it was not released
	Posts  []policy.Post  // by its evidence; none where the rules refuse the target

	// Approvals are of distinct custodians who approved this target, at least the quorum,
	// whose shares open together: those under one key.
	Approvals []*Approval
	Key       string // policy.Bundle.ThresholdKey

	Barred *refusal.Error // ErrAnnulled or ErrLapsed: its use is forbidden; nil: it is not
}

// round is a package with its leaves, checked.
type round struct {
	Package
	released, decided int64          // indices
	hash              string         // of the package, hex
	at                time.Time      // when it was released, as its leaf says
	opened            []proof.Opened // the decisions that its leaves open
	keys              map[int][]byte // Round.Keys
	which             proof.Marks    // the targets that are authorised; nil: all
}

// Verify checks a delivery against the log, the rules and the custodians of its
// day. since are the bundle of the case and those that came into force after it,
// in their order: the case is judged by the first, and a custodian of each may have
// signed while it was in force. Any doubt is a refusal: [ErrPackage], [ErrOtherRules],
// [ErrNotLogged], [ErrUnlawful], [ErrRecordMismatch], or one of packages policy
// and proof. None of them names a culprit. Where the use of all that was released is
// forbidden by now, it is [ErrAnnulled] or [ErrLapsed].
//
// Not checked: that the shares in the approvals are right, which takes the
// requester's key; that the bundles were in force, which verifier/rules says; when
// exactly each custodian signed, and that each decision has a leaf of its own, which an
// audit of the whole log shows; and what the registrar says of the targets that were not
// released, or of the numbers that an authority has filed.
func Verify(d Delivery, since ...*policy.Bundle) (*Opening, error) { return verify(d, true, since) }

// VerifyOrder is [Verify] for the issuing side, which answers an order to link before anything
// is released: of each round it has no released leaf, and what is in its package is all that
// the custodians decided on. Under bundles before format 5 there are no such orders.
func VerifyOrder(d Delivery, since ...*policy.Bundle) (*Opening, error) {
	o, err := verify(d, false, since)
	if err == nil && o.Warrant.Kind != policy.Link {
		return nil, ErrUnlawful
	}
	return o, err
}

func verify(d Delivery, released bool, since []*policy.Bundle) (*Opening, error) {
	if len(since) == 0 {
		return nil, ErrNotLogged
	}
	if d.Barred != nil {
		return nil, barredWholly(d, since)
	}
	o := &Opening{since: since}
	if err := o.verifyLog(d, released, since); err != nil {
		return nil, err
	}
	decision, err := o.decide(since)
	if err != nil {
		return nil, err
	}
	o.Decision = decision
	if err := o.place(d); err != nil {
		return nil, err
	}
	if err := o.bar(d.Bars, since); err != nil {
		return nil, err
	}
	if err := o.verifyApprovals(d.Approvals, since, max(decision.Quorum, o.recorded.Quorum)); err != nil {
		return nil, err
	}
	return o, o.certify(d, decision)
}

// decide judges the warrant once more, as of when it was issued or recorded: it may have
// expired by now.
func (o *Opening) decide(since []*policy.Bundle) (policy.Decision, error) {
	last := o.rounds[len(o.rounds)-1]
	unverified, err := policy.ParseUnverified(last.Submission.Warrant)
	if err != nil {
		return policy.Decision{}, err
	}
	facts, at, err := o.facts(since, unverified.IssuedAt)
	if err != nil {
		return policy.Decision{}, err
	}
	decision := policy.Decide(last.Submission, since[0], facts, at)
	switch {
	case !decision.Allowed:
		return decision, ErrUnlawful.Because(decision.Refusal)
	case !policy.KindOf(decision.Warrant.Kind).Answered, o.recorded.Validated != (decision.Warrant.Kind == policy.Emergency && decision.Validated):
		return decision, ErrUnlawful
	}
	o.Case, o.Warrant, o.WarrantHash = last.Case, decision.Warrant, decision.WarrantHash
	o.Filed = len(decision.Exhibits) > 0
	o.Targets = make([]Target, len(o.Warrant.Targets))
	for i := range o.Targets {
		o.Targets[i].Posts = decision.Targets[i].Posts
	}
	logs, err := Logs(since...)
	if err != nil {
		return decision, err
	}
	for _, r := range o.rounds {
		if err := r.CheckValidated(logs, r.Recorded, since[0], r.at); err != nil {
			return decision, err
		}
	}
	return decision, nil
}

// facts are those that the last package brings, and the time that the warrant is decided at:
// when it was issued, or the beginning of the day on which it was recorded, if that is
// later. A day is all that the log says, and all that a platform waits for.
func (o *Opening) facts(since []*policy.Bundle, issued time.Time) (policy.Facts, time.Time, error) {
	last := o.rounds[len(o.rounds)-1]
	logs, err := Logs(since...)
	if err != nil {
		return policy.Facts{}, issued, err
	}
	facts, err := last.Facts(logs, since...)
	if err != nil {
		return facts, issued, err
	}
	facts.Recorded = &last.Recorded.Index
	facts.RecordedAt, err = RecordedAt(o.recorded)
	if err == nil && facts.RecordedAt.After(issued) {
		issued = facts.RecordedAt
	}
	return facts, issued, err
}

// RecordedAt is when something was recorded, as its leaf says it: to the second, or the
// beginning of the day.
func RecordedAt(recorded proof.Leaf) (time.Time, error) {
	if recorded.At != "" {
		return time.Parse(time.RFC3339, recorded.At)
	}
	return time.Parse(time.DateOnly, recorded.Day)
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

// verifyLog checks that the public log holds the warrant, and for each round the decision of
// the custodians and the release of this very package.
func (o *Opening) verifyLog(d Delivery, released bool, since []*policy.Bundle) error {
	logs, err := Logs(since...)
	if err != nil {
		return err
	}
	for i, r := range d.rounds() {
		checked := round{hash: hexDigest(r.Package), released: r.Released.Index, keys: r.Keys}
		if err := json.Unmarshal(r.Package, &checked.Package); err != nil {
			return ErrPackage.Because(err)
		}
		if err := underRules(checked.Recorded, since[0]); err != nil {
			return err
		}
		if i > 0 && !checked.follows(o.rounds[i-1]) || (len(checked.Decided) > 0) != (since[0].Version >= perTarget) {
			return ErrPackage
		}
		if err := checked.verify(r, released, logs); err != nil {
			return err
		}
		o.rounds = append(o.rounds, checked)
	}
	if len(o.rounds) == 0 {
		return ErrPackage
	}
	last := o.rounds[len(o.rounds)-1]
	recorded, _, err := CheckRecorded(logs, last.Recorded)
	if err != nil {
		return err
	}
	if len(last.Salt) != 32 || recorded.Commitment != proof.Commit([32]byte(last.Salt), "warrant", []byte(last.Submission.Warrant)) {
		return ErrNotLogged
	}
	o.recorded = recorded
	o.Certificate = Certificate{Warrant: hexDigest([]byte(last.Submission.Warrant)), Bundle: since[0].Hash(), Log: logs[0].Origin, Says: Says,
		Package: o.rounds[0].hash, Recorded: last.Recorded.Index, Authorised: o.rounds[0].decided, Released: o.rounds[0].released}
	return nil
}

// follows reports whether r is a later round of the same case.
func (r round) follows(before round) bool {
	return r.Case == before.Case && r.Submission.Warrant == before.Submission.Warrant && bytes.Equal(r.Salt, before.Salt) &&
		r.Recorded.Index == before.Recorded.Index && bytes.Equal(r.Recorded.Bytes, before.Recorded.Bytes) && r.released > before.released
}

// verify checks that the log holds the release of this package, and before it the decision.
// What is not released yet is checked up to the decision.
func (r *round) verify(as Round, isReleased bool, logs []*proof.Log) error {
	var released proof.Leaf
	if isReleased {
		var err error
		if released, _, err = checkLeaf(logs, as.Released, proof.KindReleased, &r.Recorded.Index); err != nil {
			return err
		}
		if released.Package != r.hash {
			return ErrNotLogged
		}
		if r.at, err = RecordedAt(released); err != nil {
			return ErrNotLogged.Because(err)
		}
	}
	if len(r.Decided) == 0 {
		if !isReleased {
			return ErrNotLogged
		}
		r.decided = r.Authorised.Index
		_, _, err := checkLeaf(logs, r.Authorised, proof.KindAuthorised, &r.Recorded.Index)
		return err
	}
	for _, l := range r.Decided {
		leaf, _, err := checkLeaf(logs, l, proof.KindDecided, &r.Recorded.Index)
		if err != nil {
			return err
		}
		if l.Index <= r.decided || isReleased && l.Index >= r.released {
			return ErrPackage
		}
		r.decided, r.which, r.opened = l.Index, leaf.Which, append(r.opened, leaf.Opened...)
	}
	if !isReleased {
		return nil
	}
	if len(released.Which) == 0 || released.Which.Without(r.which).Count() > 0 {
		return ErrNotLogged // it releases what was not authorised
	}
	r.which = released.Which
	return nil
}

func hexDigest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// CaseBundle returns the hash of the bundle that a delivery says its case was
// decided under: to get the bundles for [Verify]. It verifies nothing.
func CaseBundle(d Delivery) (string, error) {
	var p Package
	if d.Barred != nil {
		p.Recorded = d.Barred.Recorded
	}
	for _, r := range d.rounds() {
		if err := json.Unmarshal(r.Package, &p); err != nil {
			return "", ErrPackage.Because(err)
		}
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

// ToldFirst is what the public log says of persons who are told before custodians decide.
type ToldFirst struct {
	Day     string // on which they were, or counted as not reached
	From    string // first UTC day on which custodians may approve
	Reached bool
}

// CheckTold verifies the leaf that says so of the persons of a case, of which recorded is a
// leaf that was verified before ([CheckRecorded]), and who have so many days to object. Nobody
// is told before that.
func CheckTold(logs []*proof.Log, l, recorded LoggedLeaf, noticeDays int) (ToldFirst, error) {
	leaf, _, err := checkLeaf(logs, l, proof.KindTold, &recorded.Index)
	if err == nil {
		var filed proof.Leaf
		if filed, err = proof.ParseLeaf(recorded.Bytes); err == nil && (leaf.Day < filed.Day || l.Index < recorded.Index) {
			err = ErrNotLogged.Because(errors.New("it is dated before the case was recorded"))
		}
	}
	return ToldFirst{leaf.Day, proof.DecideFrom(leaf.Day, noticeDays), leaf.Code != proof.NotReached}, err
}

// Before reports whether a time is before that first day.
func (t ToldFirst) Before(at time.Time) bool { return proof.Day(at) < t.From }
