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
//	Expire    the warrant ran out before that → leaf EXPIRED
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
	"time"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// Registrar runs the disclosing side. All fields but the last are required, and Registry
// only where a bundle has one.
type Registrar struct {
	Keys     Keys
	Cases    Cases
	Records  Records
	Erasures Erasures
	Rules    *Rules
	Registry *Registry
	Log      Log
	Now      func() time.Time

	// Unrecorded, if not nil, is told the code of each filing that was refused and
	// left no leaf, because no authority of the bundle signed it.
	Unrecorded func(code string)
}

// pageSize is how many cases one answer lists, and how many a job looks at at a
// time.
const pageSize = 1000

// File decides on a warrant and, if the rules allow it, records it: the row and
// the leaf in one transaction, under a cosigned checkpoint before it returns.
// Filing a warrant again returns the same case. A refusal of what an authority of
// the bundle signed is logged too, once for each warrant and code.
//
// If the warrant is on file but could not be cosigned, the case is returned
// together with ErrNotLogged: nothing can be opened, and File can be repeated.
func (r *Registrar) File(ctx context.Context, s policy.Submission) (Case, policy.Decision, error) {
	b, err := r.Rules.InForce(ctx)
	if err != nil {
		return Case{}, policy.Decision{}, err
	}
	now := r.Now()
	_, facts, err := r.known(ctx, s, b, b)
	if err != nil {
		return Case{}, policy.Decision{}, err
	}
	d := policy.Decide(s, b, facts, now)
	switch {
	case d.Allowed && !policy.KindOf(d.Warrant.Kind).Served:
		d.Allowed, d.Refusal = false, ErrKindNotServed
	case d.Allowed && d.Opens && d.NoticePeriod > 0:
		// The rules want the person told first. This registrar tells only
		// afterwards, so it must not let the period run unheard.
		d.Allowed, d.Refusal = false, ErrNoticeFirst
	}
	for _, t := range d.Targets {
		if d.Allowed && t.Refusal != nil {
			d.Allowed, d.Refusal = false, t.Refusal
		}
	}
	// Links are opened of a warrant that the rules allow, before it is in the log:
	// a link says which record it is, not whose. Without it nobody could tell the
	// court that the record is gone. No half is opened.
	var compartments [][]string
	if d.Allowed {
		opened, err := r.openTargets(ctx, targetsOf(d.Warrant, commitmentsOf(d)))
		for _, t := range opened {
			compartments = append(compartments, t.record.Needed(d.Warrant.Fields))
		}
		if err == nil && d.Opens && len(slices.Concat(compartments...)) == 0 {
			err = ErrDataNotHeld // nobody gave any of these fields: there is nothing to release
		}
		if err != nil {
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
		Kind:        d.Warrant.Kind,
		Submission:  s,
		Warrant:     d.Warrant,
		Bundle:      b.Hash(),
		Quorum:      d.Quorum,
		State:       Recorded,
		SecrecyEnds: d.Warrant.Secrecy.Ends,
		Expires:     d.Warrant.Expiry,
		ApproveFrom: now.Add(d.NoticePeriod),
		Daily:       d.Authority.DailyWarrants,
		Exhibits:    sealedExhibits(d, b),
		KeepDays:    b.AppealDays,

		Compartments: compartments,
	}
	rand.Read(c.Salt[:])
	if policy.KindOf(d.Warrant.Kind).Stops {
		c.Earlier = new([32]byte)
		hex.Decode(c.Earlier[:], []byte(d.Warrant.Earlier)) //nolint:errcheck // Decide has
	}
	c, err = r.Cases.File(ctx, c, policy.RecordedLeaf(s.Warrant, d.Warrant, c.Salt, c.Bundle, c.Quorum, proof.Day(now)))
	if errors.Is(err, ErrNoEarlier) || errors.Is(err, ErrTooLate) || errors.Is(err, ErrDailyNumber) {
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

// refuse logs why a warrant is refused, and returns that. What is no warrant,
// because no authority of the bundle signed it, is only counted: or anybody could
// write into the public log.
func (r *Registrar) refuse(ctx context.Context, d policy.Decision, now time.Time) error {
	if d.Warrant == nil {
		if r.Unrecorded != nil {
			r.Unrecorded(d.Refusal.Code)
		}
		return d.Refusal
	}
	err := r.Cases.Refuse(ctx, d.Warrant.Authority, d.Warrant.ID, proof.RefusedLeaf(now, d.Refusal.Code))
	if err != nil {
		return err
	}
	return d.Refusal
}

func commitmentsOf(d policy.Decision) []policy.Committed {
	commitments := make([]policy.Committed, len(d.Warrant.Targets))
	for i := range commitments {
		commitments[i] = policy.Committed{Commitment: d.Targets[i].Token.Commitment, Issued: d.Targets[i].Token.IssuedAt}
	}
	return commitments
}

// Status says where a case stands, and whether custodians have stopped it. Whoever knows
// the id may ask: it is 128 random bits.
func (r *Registrar) Status(ctx context.Context, id string) (Summary, error) {
	found, err := r.Cases.Summary(ctx, id)
	if err != nil || found.State != Recorded && found.State != Authorised {
		return found, err
	}
	since, err := r.Rules.Since(ctx, found.Bundle)
	if err != nil || !slices.ContainsFunc(since[1:], func(b *policy.Bundle) bool { return len(b.Stops) > 0 }) {
		return found, nil // whoever decides or releases asks again
	}
	c, err := r.Cases.Case(ctx, id)
	found.Stopped = err == nil && policy.Stopped(since[1:], c.RecordedLeaf, c.Authority, c.named()) != nil
	return found, err
}

// Waiting returns cases that custodians may decide on now, the one that expires
// first first, from a place in the list on, and where the next page begins; that
// is the zero Cursor behind the last page.
func (r *Registrar) Waiting(ctx context.Context, from Cursor) (page []Summary, next Cursor, err error) {
	page, err = r.Cases.List(ctx, ForCustodians, r.Now(), from, pageSize)
	if len(page) == pageSize {
		next = ForCustodians.After(page[pageSize-1])
	}
	return page, next, err
}

// Review opens the links of a case for a custodian, who must be able to check
// that each record is the one that the token committed to. It is refused until
// the warrant's leaf is under a cosigned checkpoint.
func (r *Registrar) Review(ctx context.Context, id string) (opening.CaseFile, error) {
	c, err := r.Cases.Case(ctx, id)
	if err != nil {
		return opening.CaseFile{}, err
	}
	targets, err := c.targets()
	if err != nil {
		return opening.CaseFile{}, err
	}
	leaf, err := r.recorded(ctx, c)
	switch {
	case err != nil:
		return opening.CaseFile{}, err
	case !policy.KindOf(c.Warrant.Kind).Opens:
		return opening.CaseFile{}, ErrNothingToOpen
	case c.State == Withdrawn:
		return opening.CaseFile{}, ErrWithdrawn
	}
	opened, err := r.openTargets(ctx, targets)
	if err != nil {
		return opening.CaseFile{}, err
	}
	f := opening.CaseFile{
		Case: c.ID, Submission: c.Submission, Bundle: c.Bundle, Salt: c.Salt[:], Leaf: leaf,
		Approvals: c.signedApprovals(),
	}
	if f.Known, err = r.knownOf(ctx, c); err != nil {
		return opening.CaseFile{}, err
	}
	for _, t := range opened {
		f.Targets = append(f.Targets, t.OpenedTarget)
	}
	return f, nil
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
func (r *Registrar) recorded(ctx context.Context, c Case) (opening.LoggedLeaf, error) {
	w, err := c.warrant()
	if err != nil {
		return opening.LoggedLeaf{}, err
	}
	return r.loggedAs(ctx, c.RecordedLeaf, func(have proof.Leaf) proof.Leaf {
		quorum := c.Quorum
		if have.Quorum == 0 {
			quorum = 0 // of the first release; who checks a case under newer rules wants it
		}
		return policy.RecordedLeaf(c.Submission.Warrant, w, c.Salt, c.Bundle, quorum, have.Day)
	})
}

// loggedAs is logged, for a leaf that must be the one that want makes.
func (r *Registrar) loggedAs(ctx context.Context, index int64, want func(have proof.Leaf) proof.Leaf) (opening.LoggedLeaf, error) {
	l, err := r.logged(ctx, index)
	if err != nil {
		return l, err
	}
	have, err := proof.ParseLeaf(l.Bytes)
	if err != nil {
		return opening.LoggedLeaf{}, ErrNotAsLogged.Because(err)
	}
	if expected, err := want(have).Marshal(); err != nil || !bytes.Equal(expected, l.Bytes) {
		return opening.LoggedLeaf{}, ErrNotAsLogged
	}
	return l, nil
}

// Decide records a custodian's signed approval or refusal of a case. With the
// last approval of the quorum the case is authorised in the same transaction,
// and the package is made. If making the package fails the case stays
// authorised, the decision stands, and Deliver tries again.
//
// A custodian who decides the same again, because the answer was lost, gets the
// case with the decision that is stored. One who decides otherwise is told which
// decision stands ([ErrDecided]).
func (r *Registrar) Decide(ctx context.Context, id, signed string) (Case, error) {
	c, err := under(func() (Case, error) { return r.decide(ctx, id, signed) })
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

// decide is Decide without the release. Who may sign is checked here, and the
// transaction that appends the leaf sees to it that this bundle is still in force.
func (r *Registrar) decide(ctx context.Context, id, signed string) (Case, error) {
	about, err := r.Cases.Summary(ctx, id)
	if err != nil {
		return Case{}, err
	}
	since, err := r.Rules.Since(ctx, about.Bundle)
	if err != nil {
		return Case{}, err
	}
	a, err := opening.VerifyApproval(signed, since[len(since)-1])
	if err != nil {
		return Case{}, err
	}
	now := r.Now()
	c, err := r.Cases.Apply(ctx, id, func(c Case) (Change, error) { return c.decide(a, signed, since, now) })
	if err != nil {
		return Case{}, err
	}
	// Read in a transaction that was committed: what is said to be stored is.
	if stored := c.decisionOf(a.Custodian, since); stored.Approved != (a.Decision == opening.Approve) {
		return Case{}, stored.counts()
	}
	return c, nil
}

// counts is ErrDecided, in the words of the decision that stands.
func (a *Approval) counts() error {
	if a.Approved {
		return ErrDecided
	}
	declined := *ErrDecided
	declined.Mend = "this custodian has declined this case, and a decision counts once: it cannot be approved any more"
	return &declined
}

// release makes the package of an authorised case. Vault is asked for nothing
// before the AUTHORISED leaf is under a cosigned checkpoint.
func (r *Registrar) release(ctx context.Context, c Case) (Case, error) {
	return under(func() (Case, error) { return r.releaseUnder(ctx, c) })
}

func (r *Registrar) releaseUnder(ctx context.Context, c Case) (Case, error) {
	if !r.Now().Before(c.Expires) {
		return c, policy.ErrExpired
	}
	since, err := r.Rules.Since(ctx, c.Bundle)
	if err != nil {
		return c, err
	}
	if err := policy.Stopped(since[1:], c.RecordedLeaf, c.Authority, c.named()); err != nil {
		return c, err
	}
	targets, err := c.targets()
	if err != nil {
		return c, err
	}
	p := opening.Package{Version: 1, Case: c.ID, Submission: c.Submission, Salt: c.Salt[:]}
	p.Authorised, err = r.loggedAs(ctx, c.AuthorisedLeaf, func(have proof.Leaf) proof.Leaf {
		return proof.AuthorisedLeaf(time.Time{}, c.RecordedLeaf).On(have.Day)
	})
	if err != nil {
		return c, err
	}
	if p.Recorded, err = r.recorded(ctx, c); err != nil {
		return c, err
	}
	if !policy.KindOf(c.Warrant.Kind).Opens {
		return c, ErrNothingToOpen
	}
	if p.Known, err = r.knownOf(ctx, c); err != nil {
		return c, err
	}
	opened, err := r.openTargets(ctx, targets)
	if err != nil {
		return c, err
	}
	for part := range slices.Chunk(opened, halvesAtOnce) {
		packed, err := r.pack(ctx, c, part)
		if err != nil {
			return c, err
		}
		p.Targets = append(p.Targets, packed...)
	}
	packed, err := json.Marshal(p)
	if err != nil {
		return c, err
	}
	hash := sha256.Sum256(packed)
	return r.Cases.Apply(ctx, c.ID, func(c Case) (Change, error) {
		now := r.Now()
		switch _, refused := c.State.May(Release); {
		case c.State == Released || c.State == Noticed:
			return Change{}, nil // another process was first: its package stands
		case refused != nil:
			return Change{}, refused
		case !now.Before(c.Expires):
			return Change{}, policy.ErrExpired // while the package was made
		}
		return Change{InForce: since[len(since)-1].Hash(), Package: packed, Steps: []Step{{Release, proof.ReleasedLeaf(now, c.RecordedLeaf, hash, nil)}}}, nil
	})
}

// halvesAtOnce is how many clear halves there are at a time.
const halvesAtOnce = 300

// pack re-encrypts the first halves of the fields that the warrant names, and of
// no other, to the requester. Clear halves live in this function only, each
// until it is encrypted.
func (r *Registrar) pack(ctx context.Context, c Case, targets []openedTarget) (packed []opening.PackageTarget, err error) {
	wrapped := make([]Wrapped, len(targets))
	for i, t := range targets {
		wrapped[i] = Wrapped{t.Label, t.record.FirstHalf}
	}
	halves, err := r.Keys.UnwrapHalves(ctx, wrapped)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, half := range halves {
			clear(half)
		}
	}()
	for i, t := range targets {
		named := t.record.Named(c.Warrant.Fields)
		p := opening.PackageTarget{OpenedTarget: t.OpenedTarget, Fields: named.Fields}
		p.Withheld = named.Withheld
		if p.Halves, err = sealHalves(c, t.Label, halves[i]); err != nil {
			return nil, err
		}
		packed = append(packed, p)
	}
	return packed, nil
}

// sealHalves encrypts what a first half gives for the fields of the warrant to
// the requester, and clears the half.
func sealHalves(c Case, label string, half []byte) ([]byte, error) {
	defer clear(half)
	clearHalves, err := json.Marshal(seal.FirstHalves(half, label, c.Warrant.Fields))
	if err != nil {
		return nil, err
	}
	defer clear(clearHalves)
	return seal.SealTo(c.Warrant.Requester.DeliveryKey, seal.HalvesInfo(c.WarrantHash, label), clearHalves)
}

// Deliver hands an [opening.Delivery] over, as JSON in one ciphertext to the
// warrant's delivery key: only of a released case, and only once the RELEASED leaf,
// which holds the hash of the package, is under a cosigned checkpoint. Whoever knows
// the id may ask: without the key they learn the state of the case, not even what
// kind of warrant it is.
func (r *Registrar) Deliver(ctx context.Context, id string) ([]byte, error) {
	c, err := r.Cases.Case(ctx, id)
	if err != nil {
		return nil, err
	}
	_, refused := c.State.May(Release)
	switch {
	case c.State == Recorded && !r.Now().Before(c.Expires):
		return nil, policy.ErrExpired
	case c.State == Authorised:
		if c, err = r.release(ctx, c); err != nil {
			return nil, err
		}
	case refused != nil && c.State != Released && c.State != Noticed:
		return nil, refused
	}
	packed, err := r.Cases.Package(ctx, id)
	if err != nil {
		return nil, err
	}
	if packed == nil {
		return nil, ErrLost // and noticed since
	}
	// To whom it goes is in the warrant that the log holds, not in the row.
	if _, err := r.recorded(ctx, c); err != nil {
		return nil, err
	}
	d := opening.Delivery{Package: packed, Approvals: c.signedApprovals()}
	hash := sha256.Sum256(packed)
	d.Released, err = r.loggedAs(ctx, c.ReleasedLeaf, func(have proof.Leaf) proof.Leaf {
		return proof.ReleasedLeaf(time.Time{}, c.RecordedLeaf, hash, nil).On(have.Day)
	})
	if err != nil {
		return nil, err
	}
	return sealDelivery(c, d)
}

// deliveryUnit is what the length of a delivery is a multiple of: those of most
// cases are of one length, whatever is in them.
const deliveryUnit = 64 << 10

// sealDelivery encrypts a delivery to the requester, filled up with spaces, which
// JSON allows.
func sealDelivery(c Case, d opening.Delivery) ([]byte, error) {
	clearText, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	if over := len(clearText) % deliveryUnit; over > 0 {
		clearText = append(clearText, bytes.Repeat([]byte(" "), deliveryUnit-over)...)
	}
	return seal.SealTo(c.Warrant.Requester.DeliveryKey, seal.DeliveryInfo(c.ID), clearText)
}

// Notify tells the persons concerned by every released case whose secrecy has
// ended, and publishes the salt that opens the commitments of the case. It
// returns how many cases it closed. A case that fails is left for the next run;
// the audit of the log shows it as overdue.
func (r *Registrar) Notify(ctx context.Context) (noticed int, err error) {
	return r.serve(ctx, ForNotice, Case.notify)
}

// Expire ends every case whose warrant ran out before it was released, and every
// hold that is over, with a leaf. It returns how many it ended. A case that fails
// is left for the next run.
func (r *Registrar) Expire(ctx context.Context) (expired int, err error) {
	return r.serve(ctx, ForExpiry, Case.expire)
}

// serve applies a change to every case in a queue. One that fails does not keep
// the others from their turn.
func (r *Registrar) serve(ctx context.Context, q Queue, change func(Case, time.Time) (Change, error)) (served int, failed error) {
	now := r.Now()
	for from := (Cursor{}); ; {
		page, err := r.Cases.List(ctx, q, now, from, pageSize)
		if err != nil {
			return served, err
		}
		for _, due := range page {
			_, err := r.Cases.Apply(ctx, due.ID, func(c Case) (Change, error) { return change(c, now) })
			switch {
			case err == nil:
				served++
			case !errors.Is(err, ErrCaseClosed): // else another process was first
				failed = err
			}
			from = q.After(due)
		}
		if len(page) < pageSize {
			return served, failed
		}
	}
}

func newCaseID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}
