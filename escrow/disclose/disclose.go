// Package disclose is the disclosing side of Penname, the registrar: it records
// warrants, collects what custodians decide, and relays a sealed package to the
// requester.
//
// It can only decrypt its own half of a key, and never sees an identity: the
// custodians' halves arrive encrypted to the requester, and its own half leaves
// encrypted to the requester.
//
// The order is the product, and each step is refused without the one before
// (DESIGN section 2, promise 3):
//
//	File      decide → row and leaf RECORDED in one transaction → cosigned checkpoint
//	Review    only then may a custodian see the case
//	Approve   signed approval → row and leaf; with the quorum also leaf AUTHORISED
//	release   AUTHORISED under a cosigned checkpoint → first half from Vault →
//	          re-encrypted to the requester → package and leaf RELEASED
//	Deliver   RELEASED under a cosigned checkpoint → handed over
//	Clear     a person wants to be deleted, and no case holds the record → erased by package keep
//	Notify    secrecy over → notice and leaf NOTICED, with the salt that opens the commitments
package disclose

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// The refusals of this package. Stores return them too.
var (
	ErrNoCase = refusal.New(refusal.NotFound, "warrant.no_case",
		"there is no case with that id: use the id that filing the warrant printed")
	ErrNoBundle = refusal.New(refusal.Unavailable, "bundle.none_in_force",
		"no rules are in force: install a bundle that the custodians endorsed")
	ErrDataNotHeld = refusal.New(refusal.NotFound, "warrant.data_not_held",
		"no record is held for one of the targets: check pen name and platform against the evidence")
	ErrNotAsLogged = refusal.New(refusal.Denied, "warrant.not_as_logged",
		"the case on file is not the one that the public log holds: nothing was disclosed, tell the custodians and check the database")
	ErrCommitment = refusal.New(refusal.Denied, "warrant.commitment_mismatch",
		"the record that is held is not the one that the token in the evidence commits to: nothing was disclosed, tell the custodians")
	ErrNotLogged = refusal.New(refusal.NotYet, "warrant.not_logged",
		"the warrant is on file but no quorum of witnesses has cosigned its leaf yet: try again")
	ErrQuorumNotMet = refusal.New(refusal.NotYet, "warrant.quorum_not_met",
		"not enough custodians have approved yet: ask for the status to see how many")
	ErrDeclined = refusal.New(refusal.Denied, "warrant.declined",
		"so many custodians declined that this warrant cannot be opened: the log holds their reasons")
	ErrWarrantID = refusal.New(refusal.Conflict, "warrant.id_used",
		"the authority has filed another document under this warrant id: a new warrant needs a new id")
	ErrDataErased = refusal.New(refusal.NotFound, "warrant.data_erased",
		"the person deleted the record of one of the targets before this warrant: there is nothing left to open")
	ErrInterrupted = refusal.New(refusal.Denied, "warrant.interrupted",
		"what became of this case after a backup was lost with the database, so that nothing more can come of it: the court must issue a new warrant")
	ErrKindNotServed = refusal.New(refusal.Invalid, "warrant.kind_not_served",
		"this registrar serves production and preservation warrants, and withdrawals of them")
	ErrNoEarlier = refusal.New(refusal.NotFound, "warrant.earlier_unknown",
		"no warrant with that hash by this authority is on file: a court withdraws what it has filed itself")
	ErrTooLate = refusal.New(refusal.Conflict, "warrant.too_late",
		"the warrant to be withdrawn was released, declined or withdrawn before: there is nothing left to stop")
	ErrWithdrawn = refusal.New(refusal.Denied, "warrant.withdrawn",
		"the court has withdrawn this warrant: nothing is released any more")
	ErrNothingToOpen = refusal.New(refusal.Conflict, "warrant.opens_nothing",
		"this warrant keeps records from erasure and opens none: file a production warrant to open a name")
	ErrNoticeFirst = refusal.New(refusal.Invalid, "warrant.notice_first_not_served",
		"the rules want the person told before this is opened, which this registrar cannot do yet: it serves warrants under secrecy only")
	ErrReason = refusal.New(refusal.Invalid, "custodian.reason_unknown",
		"the reason for declining must be one of the published list")
	ErrDecided = refusal.New(refusal.Conflict, "custodian.already_decided",
		"this custodian has decided on this case: a decision counts once")
	ErrCaseClosed = refusal.New(refusal.Conflict, "custodian.case_not_open",
		"the case is not waiting for custodians any more")
	ErrWrongCase = refusal.New(refusal.Denied, "custodian.wrong_case",
		"the approval is for another case, warrant, bundle or leaf: review the case again and sign what it shows")
	ErrShares = refusal.New(refusal.Invalid, "custodian.shares_incomplete",
		"an approval carries exactly one share for each target of the warrant")
)

// Registrar runs the disclosing side. All exported fields are required.
type Registrar struct {
	Keys       Keys
	Cases      Cases
	Records    Records
	Erasures   Erasures
	Bundles    Bundles
	Ceremonies Ceremonies
	Log        Log
	Now        func() time.Time

	parsed atomic.Pointer[policy.Bundle] // the one in force when last looked at
}

// Install puts a bundle in force: only with the endorsement of as many of its
// custodians as its threshold, and only by a leaf in the public log, so that
// the rules cannot change in the dark.
func (r *Registrar) Install(ctx context.Context, bundle []byte, endorsements []string) error {
	b, err := policy.ParseBundle(bundle)
	if err != nil {
		return err
	}
	switch current, err := r.Bundle(ctx); {
	case err == nil && current.Hash() != b.Hash():
		// The custodians in force must agree to their successors.
		err = current.VerifySuccessor(b, endorsements)
		if err != nil {
			return err
		}
	case err == nil || errors.Is(err, ErrNoBundle):
		if err := b.VerifyEndorsements(endorsements); err != nil {
			return err
		}
	default:
		return err
	}
	if b.Ceremony != "" {
		// Or every later audit would find a key from nowhere.
		switch logged, err := r.Ceremonies.CeremonyLogged(ctx, b.Ceremony); {
		case err != nil:
			return err
		case !logged:
			return ErrCeremonyNotLogged
		}
	}
	return r.Bundles.Install(ctx, bundle, endorsements, proof.Leaf{
		Version: 1, Kind: proof.KindBundle, Day: proof.Day(r.Now()), Bundle: b.Hash(),
	})
}

// Bundle returns the bundle in force. It asks the store each time, for another
// process may have installed one, and parses what it has not parsed yet.
func (r *Registrar) Bundle(ctx context.Context) (*policy.Bundle, error) {
	raw, _, err := r.Bundles.Current(ctx)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	if b := r.parsed.Load(); b != nil && b.Hash() == hex.EncodeToString(sum[:]) {
		return b, nil
	}
	b, err := policy.ParseBundle(raw)
	if err == nil {
		r.parsed.Store(b)
	}
	return b, err
}

// File decides on a warrant and, if the rules allow it, records it: the row and
// the leaf in one transaction, under a cosigned checkpoint before it returns.
// Filing a warrant again returns the same case. A refusal is logged too.
//
// If the warrant is on file but could not be cosigned, the case is returned
// together with ErrNotLogged: nothing can be opened, and File can be repeated.
func (r *Registrar) File(ctx context.Context, s policy.Submission) (Case, policy.Decision, error) {
	b, err := r.Bundle(ctx)
	if err != nil {
		return Case{}, policy.Decision{}, err
	}
	now := r.Now()
	d := policy.Decide(s, b, now)
	switch {
	case d.Allowed && d.Warrant.Kind == policy.Extension:
		d.Allowed, d.Refusal = false, ErrKindNotServed
	case d.Allowed && d.Opens && d.NoticePeriod > 0:
		// The rules want the person told first. This registrar tells only
		// afterwards, so it must not let the period run unheard.
		d.Allowed, d.Refusal = false, ErrNoticeFirst
	}
	if d.Allowed {
		if err := r.targetsHeld(ctx, d); err != nil {
			if refused := refusal.Of(err); refused != nil && refused.Kind != refusal.Unavailable {
				d.Allowed, d.Refusal = false, refused
			} else {
				return Case{}, d, err
			}
		}
	}
	if !d.Allowed {
		return Case{}, d, r.refuse(ctx, d, now)
	}
	c := Case{
		ID:          newCaseID(),
		WarrantHash: d.WarrantHash,
		Authority:   d.Warrant.Authority,
		WarrantID:   d.Warrant.ID,
		Submission:  s,
		Bundle:      b.Hash(),
		Quorum:      d.Quorum,
		State:       Recorded,
		SecrecyEnds: d.Warrant.Secrecy.Ends,
		Expires:     d.Warrant.Expiry,
		ApproveFrom: now.Add(d.NoticePeriod),
	}
	rand.Read(c.Salt[:])
	if d.Warrant.Kind == policy.Withdrawal {
		c.Earlier = new([32]byte)
		hex.Decode(c.Earlier[:], []byte(d.Warrant.Earlier)) //nolint:errcheck // Decide has
	}
	c, err = r.Cases.File(ctx, c, policy.RecordedLeaf(s.Warrant, d.Warrant, c.Salt, c.Bundle, proof.Day(now)))
	if errors.Is(err, ErrNoEarlier) || errors.Is(err, ErrTooLate) {
		d.Allowed, d.Refusal = false, refusal.Of(err)
		return Case{}, d, r.refuse(ctx, d, now)
	}
	if err != nil {
		return Case{}, d, err
	}
	if c.WarrantHash != d.WarrantHash {
		return Case{}, d, ErrWarrantID
	}
	if err := r.Log.Await(ctx, c.RecordedLeaf); err != nil {
		return c, d, ErrNotLogged.Because(err)
	}
	return c, d, nil
}

// refuse logs why a submission is refused, and returns that.
func (r *Registrar) refuse(ctx context.Context, d policy.Decision, now time.Time) error {
	err := r.Cases.Refuse(ctx, d.WarrantHash, proof.Leaf{
		Version: 1, Kind: proof.KindRefused, Day: proof.Day(now), Code: d.Refusal.Code,
	})
	if err != nil {
		return err
	}
	return d.Refusal
}

// Withdraw ends the case, as its court says (I17): only what is not released can
// be stopped, and what is stopped is never released.
func (c *Case) Withdraw() error {
	w, err := policy.ParseUnverified(c.Submission.Warrant)
	if c.State != Recorded && c.State != Authorised || err == nil && w.Kind == policy.Withdrawal {
		return ErrTooLate
	}
	c.State = Withdrawn
	return nil
}

// targetsHeld checks that the record of every target exists, is the one that
// the token in the evidence commits to, and was not erased. It opens links, of a
// warrant that the rules allow, before that warrant is in the log: a link says
// which record and nothing of whom, and without it nobody could tell the court
// that the record is gone. No half is opened.
func (r *Registrar) targetsHeld(ctx context.Context, d policy.Decision) error {
	for i, t := range d.Warrant.Targets {
		if _, _, err := r.openTarget(ctx, t, d.Tokens[i].Commitment); err != nil {
			return err
		}
	}
	return nil
}

// Status returns a case. Whoever knows the id may ask: it is 128 random bits.
func (r *Registrar) Status(ctx context.Context, id string) (Case, error) {
	return r.Cases.Case(ctx, id)
}

// Pending returns the cases that wait for custodians.
func (r *Registrar) Pending(ctx context.Context) ([]Case, error) {
	recorded, err := r.Cases.List(ctx, Recorded)
	return slices.DeleteFunc(recorded, func(c Case) bool { return !c.opens() }), err
}

// Review opens the links of a case for a custodian, who must be able to check
// that each record is the one that the token committed to. It is refused until
// the warrant's leaf is under a cosigned checkpoint.
func (r *Registrar) Review(ctx context.Context, id string) (opening.CaseFile, error) {
	c, err := r.Cases.Case(ctx, id)
	if err != nil {
		return opening.CaseFile{}, err
	}
	w, commitments, err := c.opened()
	if err != nil {
		return opening.CaseFile{}, err
	}
	leaf, err := r.recorded(ctx, c, w)
	if err != nil {
		return opening.CaseFile{}, err
	}
	f := opening.CaseFile{
		Case: c.ID, Submission: c.Submission, Bundle: c.Bundle, Salt: c.Salt[:], Leaf: leaf,
		Approvals: signedApprovals(c),
	}
	switch {
	case w.Kind != policy.Production:
		return opening.CaseFile{}, ErrNothingToOpen
	case c.State == Withdrawn:
		return opening.CaseFile{}, ErrWithdrawn
	}
	for i, t := range w.Targets {
		opened, _, err := r.openTarget(ctx, t, commitments[i])
		if err != nil {
			return opening.CaseFile{}, err
		}
		f.Targets = append(f.Targets, opened)
	}
	return f, nil
}

// opened returns the warrant of a case and what the token of each target
// commits to. Both were verified when the case was filed.
func (c *Case) opened() (*policy.Warrant, [][32]byte, error) {
	w, err := policy.ParseUnverified(c.Submission.Warrant)
	if err != nil {
		return nil, nil, err
	}
	commitments, err := policy.CommitmentsUnverified(c.Submission, w)
	return w, commitments, err
}

// openLink opens the link of a target and checks it against the commitment of
// the token in the evidence.
func (r *Registrar) openLink(ctx context.Context, t policy.Target, commitment [32]byte) (salt, digest [32]byte, label string, err error) {
	sealed, err := r.Records.Link(ctx, t.Pseudonym, t.Platform, commitment)
	if err != nil {
		return salt, digest, "", err
	}
	link, err := r.Keys.OpenLink(ctx, string(t.Pseudonym), sealed)
	if err != nil {
		return salt, digest, "", err
	}
	if len(link) <= 64 {
		return salt, digest, "", ErrCommitment
	}
	salt, digest, label = [32]byte(link[:32]), [32]byte(link[32:64]), string(link[64:])
	if token.Commit(t.Pseudonym, seal.Reference(label, digest), salt) != commitment {
		return salt, digest, "", ErrCommitment
	}
	return salt, digest, label, nil
}

// openTarget opens the link of a target and reads its record.
func (r *Registrar) openTarget(ctx context.Context, t policy.Target, commitment [32]byte) (opening.OpenedTarget, seal.Record, error) {
	salt, digest, label, err := r.openLink(ctx, t, commitment)
	if err != nil {
		return opening.OpenedTarget{}, seal.Record{}, err
	}
	record, err := r.Records.Record(ctx, label)
	if err != nil {
		return opening.OpenedTarget{}, seal.Record{}, err
	}
	// The stored record is byte for byte what was sealed at enrolment.
	if now, err := record.Digest(); err != nil || now != digest {
		return opening.OpenedTarget{}, seal.Record{}, ErrCommitment
	}
	return opening.OpenedTarget{
		Pseudonym: t.Pseudonym, Platform: t.Platform,
		Label: label, LinkSalt: salt[:], SecondHalf: record.SecondHalf, Withheld: record.Named(nil).Withheld,
	}, record, nil
}

// logged returns a leaf with its proof, once it is cosigned.
func (r *Registrar) logged(ctx context.Context, index int64) (opening.LoggedLeaf, error) {
	if err := r.Log.Await(ctx, index); err != nil {
		return opening.LoggedLeaf{}, ErrNotLogged.Because(err)
	}
	leaf, p, err := r.Log.Prove(ctx, index)
	if err != nil {
		return opening.LoggedLeaf{}, ErrNotLogged.Because(err)
	}
	return opening.LoggedLeaf{Index: index, Bytes: leaf, Proof: p}, nil
}

// recorded returns the recorded leaf of a case, if it is cosigned and is of this
// warrant: a case is believed for what the public log holds, not for its row.
func (r *Registrar) recorded(ctx context.Context, c Case, w *policy.Warrant) (opening.LoggedLeaf, error) {
	return r.loggedAs(ctx, c.RecordedLeaf, func(day string) proof.Leaf {
		return policy.RecordedLeaf(c.Submission.Warrant, w, c.Salt, c.Bundle, day)
	})
}

// loggedAs is logged, for a leaf that must be the one that want makes.
func (r *Registrar) loggedAs(ctx context.Context, index int64, want func(day string) proof.Leaf) (opening.LoggedLeaf, error) {
	l, err := r.logged(ctx, index)
	if err != nil {
		return l, err
	}
	have, err := proof.ParseLeaf(l.Bytes)
	if err != nil {
		return opening.LoggedLeaf{}, ErrNotAsLogged.Because(err)
	}
	if expected, err := want(have.Day).Marshal(); err != nil || !bytes.Equal(expected, l.Bytes) {
		return opening.LoggedLeaf{}, ErrNotAsLogged
	}
	return l, nil
}

// Decide records a custodian's signed approval or refusal of a case. With the
// last approval of the quorum the case is authorised in the same transaction,
// and the package is made. If making the package fails the case stays
// authorised, the decision stands, and Deliver tries again.
func (r *Registrar) Decide(ctx context.Context, id, signed string) (Case, error) {
	b, err := r.Bundle(ctx)
	if err != nil {
		return Case{}, err
	}
	a, err := opening.VerifyApproval(signed, b)
	if err != nil {
		return Case{}, err
	}
	now := r.Now()
	c, err := r.Cases.Apply(ctx, id, func(c *Case) ([]Entry, error) {
		return c.decide(a, signed, len(b.Custodians), now)
	})
	if err != nil {
		return Case{}, err
	}
	if c.State == Authorised {
		if released, err := r.release(ctx, c); err == nil {
			return released, nil
		}
	}
	return c, nil
}

// decide is the transition of one approval: pure, under the case's lock.
func (c *Case) decide(a *opening.Approval, signed string, custodians int, now time.Time) ([]Entry, error) {
	switch {
	case a.Case != c.ID, a.WarrantHash != hex.EncodeToString(c.WarrantHash[:]),
		a.Bundle != c.Bundle, a.LeafIndex != c.RecordedLeaf:
		return nil, ErrWrongCase
	// Threshold = distinct authorities (ATTACKS C05): one custodian counts once.
	case slices.ContainsFunc(c.Approvals, func(have Approval) bool { return have.Custodian == a.Custodian }):
		return nil, ErrDecided
	case c.State == Authorised || c.State == Released:
		// Not needed for the quorum any more, but for a requester who finds that
		// one of its shares is wrong.
		if a.Decision != opening.Approve {
			return nil, ErrCaseClosed
		}
	case c.State == Interrupted:
		return nil, ErrInterrupted
	case c.State == Withdrawn:
		return nil, ErrWithdrawn
	case c.State != Recorded:
		return nil, ErrCaseClosed
	case !now.Before(c.Expires):
		return nil, policy.ErrExpired
	}
	approved := a.Decision == opening.Approve
	switch {
	case approved && now.Before(c.ApproveFrom):
		return nil, policy.ErrNoticePeriod
	case !approved && !slices.Contains(policy.DeclineReasons, a.Reason):
		return nil, ErrReason
	}
	w, err := policy.ParseUnverified(c.Submission.Warrant)
	switch {
	case err != nil:
		return nil, err
	case w.Kind != policy.Production:
		return nil, ErrNothingToOpen
	}
	if approved && !sharesComplete(a, len(w.Targets)) {
		return nil, ErrShares
	}
	leaf := proof.Leaf{
		Version: 1, Kind: proof.KindApproved, Day: proof.Day(now), Case: &c.RecordedLeaf,
		Custodian: a.Custodian, Commitment: proof.Commit(c.Salt, "approval", []byte(signed)),
	}
	if !approved {
		leaf.Kind, leaf.Code = proof.KindDeclined, "declined."+a.Reason
	}
	c.Approvals = append(c.Approvals, Approval{Custodian: a.Custodian, Approved: approved, Signed: signed})
	entries := []Entry{{Leaf: leaf, Index: &c.Approvals[len(c.Approvals)-1].Leaf}}
	yes, no := c.Votes()
	switch {
	case c.State != Recorded:
	case yes >= c.Quorum:
		c.State = Authorised
		entries = append(entries, Entry{Leaf: proof.Leaf{
			Version: 1, Kind: proof.KindAuthorised, Day: proof.Day(now), Case: &c.RecordedLeaf,
		}, Index: &c.AuthorisedLeaf})
	case custodians-no < c.Quorum:
		c.State = Declined
	}
	return entries, nil
}

func sharesComplete(a *opening.Approval, targets int) bool {
	seen := make(map[int]bool)
	for _, s := range a.Shares {
		if s.Target < 0 || s.Target >= targets || seen[s.Target] || len(s.Ciphertext) == 0 {
			return false
		}
		seen[s.Target] = true
	}
	return len(seen) == targets
}

// Votes counts the approvals and the refusals of distinct custodians.
func (c *Case) Votes() (yes, no int) {
	for _, a := range c.Approvals {
		if a.Approved {
			yes++
		} else {
			no++
		}
	}
	return yes, no
}

// release makes the package of an authorised case. Vault is asked for nothing
// before the AUTHORISED leaf is under a cosigned checkpoint.
func (r *Registrar) release(ctx context.Context, c Case) (Case, error) {
	if !r.Now().Before(c.Expires) {
		return c, policy.ErrExpired
	}
	w, commitments, err := c.opened()
	if err != nil {
		return c, err
	}
	authorised, err := r.loggedAs(ctx, c.AuthorisedLeaf, func(day string) proof.Leaf {
		return proof.Leaf{Version: 1, Kind: proof.KindAuthorised, Day: day, Case: &c.RecordedLeaf}
	})
	if err != nil {
		return c, err
	}
	recorded, err := r.recorded(ctx, c, w)
	if err != nil {
		return c, err
	}
	if w.Kind != policy.Production {
		return c, ErrNothingToOpen
	}
	p := opening.Package{
		Version: 1, Case: c.ID, Submission: c.Submission, Salt: c.Salt[:],
		Recorded: recorded, Authorised: authorised,
	}
	for i, t := range w.Targets {
		pt, err := r.packTarget(ctx, c, w, t, commitments[i])
		if err != nil {
			return c, err
		}
		p.Targets = append(p.Targets, pt)
	}
	packed, err := json.Marshal(p)
	if err != nil {
		return c, err
	}
	hash := sha256.Sum256(packed)
	return r.Cases.Apply(ctx, c.ID, func(c *Case) ([]Entry, error) {
		now := r.Now()
		switch {
		case c.State != Authorised:
			return nil, nil // another process was first: its package stands
		case !now.Before(c.Expires):
			return nil, policy.ErrExpired // while the package was made
		}
		c.State, c.Package = Released, packed
		return []Entry{{Leaf: proof.Leaf{
			Version: 1, Kind: proof.KindReleased, Day: proof.Day(now), Case: &c.RecordedLeaf,
			Package: hex.EncodeToString(hash[:]),
		}, Index: &c.ReleasedLeaf}}, nil
	})
}

// packTarget re-encrypts the first halves of the fields that the warrant names,
// and of no other, to the requester. The clear half lives in this function only.
func (r *Registrar) packTarget(ctx context.Context, c Case, w *policy.Warrant, t policy.Target, commitment [32]byte) (opening.PackageTarget, error) {
	opened, record, err := r.openTarget(ctx, t, commitment)
	if err != nil {
		return opening.PackageTarget{}, err
	}
	half, err := r.Keys.UnwrapHalf(ctx, record.Label, record.FirstHalf)
	if err != nil {
		return opening.PackageTarget{}, err
	}
	defer clear(half)
	named := record.Named(w.Fields)
	opened.Withheld = named.Withheld
	pt := opening.PackageTarget{OpenedTarget: opened, Fields: named.Fields}
	clearHalves, err := json.Marshal(seal.FirstHalves(half, record.Label, w.Fields))
	if err != nil {
		return opening.PackageTarget{}, err
	}
	defer clear(clearHalves)
	pt.Halves, err = seal.SealTo(w.Requester.DeliveryKey, seal.HalvesInfo(c.WarrantHash, record.Label), clearHalves)
	return pt, err
}

// Deliver hands the package over: only a released one, and only once the
// RELEASED leaf, which holds its hash, is under a cosigned checkpoint.
func (r *Registrar) Deliver(ctx context.Context, id string) (opening.Delivery, error) {
	c, err := r.Cases.Case(ctx, id)
	if err != nil {
		return opening.Delivery{}, err
	}
	switch c.State {
	case Recorded:
		if !c.opens() {
			return opening.Delivery{}, ErrNothingToOpen
		}
		if !r.Now().Before(c.Expires) {
			return opening.Delivery{}, policy.ErrExpired
		}
		return opening.Delivery{}, ErrQuorumNotMet
	case Declined:
		return opening.Delivery{}, ErrDeclined
	case Interrupted:
		return opening.Delivery{}, ErrInterrupted
	case Authorised:
		if c, err = r.release(ctx, c); err != nil {
			return opening.Delivery{}, err
		}
	}
	if c.State == Withdrawn { // perhaps while it was being released
		return opening.Delivery{}, ErrWithdrawn
	}
	if c.ReleasedLeaf == 0 {
		return opening.Delivery{}, ErrCaseClosed
	}
	if c.Package == nil {
		return opening.Delivery{}, ErrInterrupted // and noticed since
	}
	leaf, err := r.logged(ctx, c.ReleasedLeaf)
	if err != nil {
		return opening.Delivery{}, err
	}
	return opening.Delivery{Package: c.Package, Released: leaf, Approvals: signedApprovals(c)}, nil
}

// Notify tells the persons concerned by every released case whose secrecy has
// ended, and publishes the salt that opens the commitments of the case. It
// returns how many cases it closed. A case that fails is left for the next run;
// the audit of the log shows it as overdue.
func (r *Registrar) Notify(ctx context.Context) (int, error) {
	due, err := r.Cases.List(ctx, Released)
	if err != nil {
		return 0, err
	}
	interrupted, err := r.Cases.List(ctx, Interrupted)
	if err != nil {
		return 0, err
	}
	var closed int
	var failed error
	for _, c := range append(due, interrupted...) {
		if c.ReleasedLeaf == 0 || r.Now().Before(c.SecrecyEnds) {
			continue
		}
		if _, err := r.Cases.Apply(ctx, c.ID, r.notice); err != nil {
			failed = err
			continue
		}
		closed++
	}
	return closed, failed
}

func (r *Registrar) notice(c *Case) ([]Entry, error) {
	if c.State != Released && (c.State != Interrupted || c.ReleasedLeaf == 0) {
		return nil, ErrCaseClosed
	}
	w, err := policy.ParseUnverified(c.Submission.Warrant)
	if err != nil {
		return nil, err
	}
	c.Serve(w, r.Now().UTC().Truncate(24*time.Hour))
	return []Entry{{Leaf: proof.Leaf{
		Version: 1, Kind: proof.KindNoticed, Day: proof.Day(r.Now()), Case: &c.RecordedLeaf,
		Salt: hex.EncodeToString(c.Salt[:]),
	}, Index: &c.NoticedLeaf}}, nil
}

// Serve tells the persons whom the warrant of the case names, on that day.
func (c *Case) Serve(w *policy.Warrant, day time.Time) {
	c.State = Noticed
	for _, t := range w.Targets {
		c.Notices = append(c.Notices, Notice{
			Pseudonym: t.Pseudonym, Platform: t.Platform,
			Authority: w.Authority, FileNumber: w.FileNumber, LegalBasis: w.LegalBasis,
			Requester: w.Requester.Organisation, Fields: w.Fields,
			Leaf: c.RecordedLeaf, Day: day,
		})
	}
}

func signedApprovals(c Case) []string {
	var signed []string
	for _, a := range c.Approvals {
		if a.Approved {
			signed = append(signed, a.Signed)
		}
	}
	return signed
}

func newCaseID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}
