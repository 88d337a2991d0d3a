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
//	Tell      where the rules want it, the persons hear of it first, and can object
//	Review    only then may a custodian see the case
//	Decide    signed decision on each target → row and leaf DECISION, which tells neither
//	          who nor how; with the quorum of any target also leaf DECIDED, which opens them
//	release   DECIDED under a cosigned checkpoint → first halves of these targets from Vault →
//	          re-encrypted to the requester → package of the round and leaf RELEASED
//	Deliver   RELEASED under a cosigned checkpoint → handed over, round for round
//	Lapse     nobody validated an emergency in time → leaf LAPSED, in public
//	Expire    the warrant ran out before that → leaf EXPIRED
//	Clear     a person wants to be deleted, and no case holds the record → erased by package keep
//	Notify    secrecy over → notice and leaf NOTICED, with the salt that opens the commitments
package disclose

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// Registrar runs the disclosing side. All fields but the last two are required, and Registry
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
	// Link leaves an order to link for the issuing side, the JSON of an [opening.Delivery] of
	// which nothing is released yet, once for each case, and returns what that answered; until
	// then it is [ErrLinkWaits], and [ErrLinkRefused] if it refused.
	Link func(ctx context.Context, caseID string, order []byte) (answer []byte, err error)
}

// pageSize is how many cases one answer lists, and how many a job looks at at a
// time.
const pageSize = 1000

// fileAttempts is how often a warrant is decided again because others were recorded
// meanwhile that count for the same authority or requester.
const fileAttempts = 10

// File decides on a warrant and, if the rules allow it, records it: the row and
// the leaf in one transaction, under a cosigned checkpoint before it returns.
// Filing a warrant again returns the same case. A refusal of what an authority of
// the bundle signed is logged too, once for each warrant and code. Since format 5 of the
// bundle a target that cannot be opened is refused alone, and named.
//
// If the warrant is on file but could not be cosigned, the case is returned
// together with ErrNotLogged: nothing can be opened, and File can be repeated.
func (r *Registrar) File(ctx context.Context, s policy.Submission) (Case, policy.Decision, error) {
	for n := 1; ; n++ {
		c, d, err := r.file(ctx, s)
		if n == fileAttempts || !errors.Is(err, ErrFiledMeanwhile) {
			return c, d, err
		}
	}
}

func (r *Registrar) file(ctx context.Context, s policy.Submission) (Case, policy.Decision, error) {
	b, err := r.Rules.InForce(ctx)
	if err != nil {
		return Case{}, policy.Decision{}, err
	}
	now := r.Now()
	known, facts, err := r.factsFor(ctx, s, b, now)
	if err != nil {
		return Case{}, policy.Decision{}, err
	}
	d := policy.Decide(s, b, facts, now)
	kind := policy.Kind{}
	if d.Allowed {
		kind = policy.KindOf(d.Warrant.Kind)
	}
	switch {
	case d.Allowed && kind.Name == policy.Extension && !decidedByTarget(b):
		// The rules knew of extensions before a hold could be extended.
		d.Allowed, d.Refusal = false, ErrKindNotServed
	}
	var targets []CaseTarget
	var compartments [][]string
	if d.Allowed && kind.Evidence {
		if targets, compartments, err = r.fileTargets(ctx, d, b, known.Platforms); err != nil {
			refused := refusal.Of(err)
			if refused == nil || refused.Kind == refusal.Unavailable {
				return Case{}, d, err
			}
			d.Allowed, d.Refusal = false, refused
		}
	}
	if d.Allowed && kind.As != "" {
		if err := r.fileRepeated(ctx, d, targets); errors.Is(err, ErrOrderOver) {
			d.Allowed, d.Refusal = false, ErrOrderOver
		} else if err != nil {
			return Case{}, d, err
		}
	}
	if !d.Allowed {
		return Case{}, d, r.refuse(ctx, d, now)
	}
	c := newCase(s, d, b, now)
	c.Targets, c.Compartments, c.Filed = targets, compartments, facts.Filed
	leaf := policy.RecordedLeaf(s.Warrant, d.Warrant, c.Salt, c.Bundle, c.Quorum, kind.When(now), d.RecordedFacets(b)...)
	leaf.NoticeDays = c.First.Days
	c, err = r.Cases.File(ctx, c, leaf)
	if slices.ContainsFunc(notFiled, func(refused error) bool { return errors.Is(err, refused) }) {
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
	if c.toTell() { // else the job does, within a minute
		if did, err := r.tellCase(ctx, c.ID); did && err == nil {
			if now, err := r.Cases.Case(ctx, c.ID); err == nil {
				c = now
			}
		}
	}
	return c, d, nil
}

// factsFor is what is known of a warrant that is filed now, by the bundle in force.
func (r *Registrar) factsFor(ctx context.Context, s policy.Submission, b *policy.Bundle, now time.Time) (known opening.Known, facts policy.Facts, err error) {
	ctx, confirm := r.Cases.Together(ctx)
	if known, facts, err = r.known(ctx, s, b, b); err == nil && decidedByTarget(b) {
		facts.Filed, err = r.filed(ctx, s, now)
	}
	if err == nil {
		facts.Earlier, err = r.underItsRules(ctx, facts.Earlier)
	}
	return known, facts, cmp.Or(confirm(), err)
}

// notFiled is why a warrant that the rules allow is not recorded, as the store finds it.
var notFiled = []error{ErrNoEarlier, ErrTooLate, ErrDailyNumber, ErrOver, ErrOtherTargets, ErrShorter, ErrValidated, ErrLapsed, ErrNoQuestion, ErrNoObjection, ErrOtherPerson}

// filed counts what was filed before for the authority and the requester of a warrant; nil
// if it cannot be read.
func (r *Registrar) filed(ctx context.Context, s policy.Submission, now time.Time) (*policy.Filed, error) {
	w, err := policy.ParseUnverified(s.Warrant)
	if err != nil {
		return nil, nil //nolint:nilnil // the decision says so
	}
	counted, err := r.Cases.Filed(ctx, w.Authority, w.Requester.OrganisationID, now, math.MaxInt64)
	return &counted, err
}

// newCase is the case of a warrant that the rules allow.
func newCase(s policy.Submission, d policy.Decision, b *policy.Bundle, now time.Time) Case {
	w, kind := d.Warrant, policy.KindOf(d.Warrant.Kind)
	c := Case{
		ID:          newCaseID(),
		WarrantHash: d.WarrantHash,
		Authority:   w.Authority,
		WarrantID:   w.ID,
		Kind:        w.Kind,
		Submission:  s,
		Warrant:     w,
		Bundle:      b.Hash(),
		Quorum:      d.Quorum,
		State:       Recorded,
		SecrecyEnds: w.Secrecy.Ends,
		Expires:     w.Expiry,
		ApproveFrom: now,
		Requester:   w.Requester.OrganisationID,
		Exhibits:    sealedExhibits(d, b),
		KeepDays:    b.AppealDays,
	}
	if days := d.NoticeDays(); days > 0 {
		c.First = First{Days: days, TellBy: now.Add(reachWithin).UTC().Truncate(time.Second)}
	}
	if !decidedByTarget(b) {
		c.Daily = d.Authority.DailyWarrants
	}
	if kind.Name == policy.Emergency && !d.Validated {
		c.ValidateBy = now.Add(time.Duration(b.ValidationHours) * time.Hour).UTC().Truncate(time.Second)
	}
	rand.Read(c.Salt[:]) // never fails (crypto/rand)
	rand.Read(c.Secret[:])
	if kind.Earlier {
		c.Earlier = new([32]byte)
		hex.Decode(c.Earlier[:], []byte(w.Earlier)) //nolint:errcheck // Decide has
	}
	return c
}

// fileTargets opens the links of a warrant that the rules allow, before it is in the log:
// a link says which record it is, not whose. Without it nobody could tell the
// court that the record is gone. No half is opened. It returns where each target begins,
// and in which compartments of its record the fields are; or why all are refused.
func (r *Registrar) fileTargets(ctx context.Context, d policy.Decision, b *policy.Bundle, registered []opening.LoggedPlatform) (states []CaseTarget, compartments [][]string, err error) {
	states, compartments = make([]CaseTarget, len(d.Targets)), make([][]string, len(d.Targets))
	var wanted []Target
	var places []int
	for i, t := range d.Targets {
		states[i], compartments[i] = CaseTarget{State: TargetWaiting}, []string{}
		if t.Refusal != nil {
			states[i] = CaseTarget{State: TargetRefused, Code: t.Refusal.Code}
			if err == nil {
				err = t.Refusal
			}
			continue
		}
		named := d.Warrant.Targets[i]
		wanted = append(wanted, Target{named.Pseudonym, named.Platform, policy.Committed{Commitment: t.Token.Commitment, Issued: t.Token.IssuedAt}})
		places = append(places, i)
	}
	opened, failed := r.openTargets(ctx, wanted, registered)
	if failed != nil {
		return nil, nil, failed
	}
	needed := 0
	for n, t := range opened {
		i := places[n]
		if t.Err == nil {
			compartments[i] = t.Value.record.Needed(d.Warrant.Fields)
			needed += len(compartments[i])
		}
		if t.Err == nil && d.Opens && len(compartments[i]) == 0 && decidedByTarget(b) {
			t.Err = ErrDataNotHeld // this person gave none of the fields: there is nothing to open
		}
		if t.Err != nil {
			states[i] = CaseTarget{State: TargetRefused, Code: codeOf(t.Err)}
			d.Targets[i] = policy.TargetDecision{Refusal: refusal.Of(t.Err)}
			if err == nil {
				err = t.Err
			}
		}
	}
	waiting := slices.ContainsFunc(states, func(t CaseTarget) bool { return t.State == TargetWaiting })
	switch {
	case err != nil && (!waiting || !decidedByTarget(b)):
		return nil, nil, err
	case d.Opens && needed == 0:
		return nil, nil, ErrDataNotHeld // nobody gave any of these fields: there is nothing to release
	}
	return states, compartments, nil
}

// codeOf is the code by which a target is named as refused.
func codeOf(err error) string {
	if refused := refusal.Of(err); refused != nil {
		return refused.Code
	}
	return ErrNotAsLogged.Code
}

// forbidding are the rules that refused a warrant; none if it was not a rule that did.
func forbidding(d policy.Decision) []string {
	if d.Refusal.Code != policy.ErrRefusedByRule.Code {
		return nil
	}
	return d.Rules
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
	err := r.Cases.Refuse(ctx, d.Warrant.Authority, d.Warrant.ID, proof.RefusedLeaf(now, d.Refusal.Code, forbidding(d)...))
	if err != nil {
		return err
	}
	return d.Refusal
}

// Status returns a case, and whether custodians have stopped it. Whoever knows the id may
// ask: it is 128 random bits.
func (r *Registrar) Status(ctx context.Context, id string) (c Case, stopped bool, err error) {
	c, err = r.Cases.Case(ctx, id)
	if err != nil || !c.isOpen() {
		return c, false, err
	}
	since, err := r.Rules.Since(ctx, c.Bundle)
	if err != nil {
		return c, false, nil // whoever decides or releases asks again
	}
	return c, policy.Stopped(since[1:], c.RecordedLeaf, c.Authority, c.named()) != nil, nil
}

// Waiting returns cases that custodians may decide on, now or when persons had their days, the one that expires
// first first, from a place in the list on, and where the next page begins; that
// is the zero Cursor behind the last page.
func (r *Registrar) Waiting(ctx context.Context, from Cursor) (page []Summary, next Cursor, err error) {
	page, err = r.Cases.List(ctx, ForCustodians, r.Now(), from, pageSize)
	if len(page) == pageSize {
		next = ForCustodians.After(page[pageSize-1])
	}
	return page, next, err
}

// mineSize is how many cases a page of an authority's own list has.
const mineSize = 50

// Own is a case in the list of its authority.
type Own struct {
	Summary
	Asked
}

// Due is [Summary.Due], where the persons are told first as well: nothing is secret then, and
// custodians answer when the days to object are over.
func (o Own) Due() (opening.Deadline, bool) {
	s := o.Summary
	if o.First {
		if s.SecrecyEnds = (time.Time{}); o.From.IsZero() {
			s.Waiting = 0 // for custodians, of whom nothing is due before the persons were told
		}
		s.ApproveFrom = o.From
	}
	return s.Due()
}

// Asked is what custodians asked, and persons objected, that no court has answered, and, where
// the persons are told first, from when custodians may approve.
type Asked struct {
	Questions, Objections int
	First                 bool
	From                  time.Time // zero: they were not told yet
}

// Mine returns a page of the cases of the authority that signed an inquiry, with what is due
// first in front, from a place in that order on, and where the next page begins; that is the
// zero Cursor behind the last page. That an inquiry is answered once is for the caller to see to.
func (r *Registrar) Mine(ctx context.Context, inquiry string, from Cursor) (page []Own, next Cursor, err error) {
	b, err := r.Rules.InForce(ctx)
	if err != nil {
		return nil, next, err
	}
	q, err := b.VerifyInquiry(inquiry, r.Now())
	if err != nil {
		return nil, next, err
	}
	if q.Case != "" {
		return nil, next, policy.ErrInquiry
	}
	cases, err := r.Cases.CasesOf(ctx, q.Authority, from, mineSize)
	if err != nil {
		return nil, next, err
	}
	ids := make([]string, len(cases))
	for i, c := range cases {
		ids[i] = c.ID
	}
	asked, err := r.Cases.Asked(ctx, ids)
	for _, c := range cases {
		page = append(page, Own{c, asked[c.ID]})
	}
	if len(page) == mineSize {
		next = AfterDue(cases[mineSize-1])
	}
	return page, next, err
}

// Review opens the links of a case for a custodian, who must be able to check
// that each record is the one that the token committed to. It is refused until
// the warrant's leaf is under a cosigned checkpoint.
func (r *Registrar) Review(ctx context.Context, id string) (opening.CaseFile, error) {
	ctx, confirm := r.Cases.Together(ctx)
	f, err := r.review(ctx, id, confirm)
	if err := cmp.Or(confirm(), err); err != nil {
		return opening.CaseFile{}, err
	}
	return f, nil
}

// review is Review, whose answer counts once it is confirmed. So does the case, before the key
// service is asked.
func (r *Registrar) review(ctx context.Context, id string, confirm func() error) (opening.CaseFile, error) {
	c, err := r.Cases.Case(ctx, id)
	if err != nil {
		return opening.CaseFile{}, err
	}
	if !policy.KindOf(c.Kind).Decided {
		return opening.CaseFile{}, ErrNothingToOpen
	}
	shown := c.whose(func(t CaseTarget) bool { return t.State != TargetRefused })
	targets, err := c.targets(shown)
	if err != nil {
		return opening.CaseFile{}, err
	}
	leaf, err := r.recorded(ctx, c)
	switch {
	case err != nil:
		return opening.CaseFile{}, err
	case c.State == Withdrawn:
		return opening.CaseFile{}, ErrWithdrawn
	case c.State == Stopped:
		return opening.CaseFile{}, ErrAnnulled
	case c.State == Lapsed:
		return opening.CaseFile{}, ErrLapsed
	}
	f := opening.CaseFile{
		Case: c.ID, Submission: c.Submission, Bundle: c.Bundle, Salt: c.Salt[:], Leaf: leaf,
		Approvals: c.openedApprovals(), States: c.states(), Deadlines: c.Deadlines(),
	}
	since, err := r.Rules.Since(ctx, c.Bundle)
	if err != nil {
		return opening.CaseFile{}, err
	}
	if f.Known, err = r.knownOf(ctx, c, since); err != nil {
		return opening.CaseFile{}, err
	}
	if err := r.shownFirst(ctx, c, &f); err != nil {
		return opening.CaseFile{}, err
	}
	if f.Said, f.Absences, err = r.said(ctx, c.ID); err != nil {
		return opening.CaseFile{}, err
	}
	if err := confirm(); err != nil {
		return opening.CaseFile{}, err
	}
	opened, err := r.openTargets(ctx, targets, f.Known.Platforms)
	if err != nil {
		return opening.CaseFile{}, err
	}
	for _, t := range c.named() {
		f.Targets = append(f.Targets, opening.OpenedTarget{Pseudonym: t.Pseudonym, Platform: t.Platform})
	}
	for n, t := range opened {
		i := shown[n]
		if f.Targets[i] = t.Value.OpenedTarget; t.Err != nil && f.States[i].Code == "" {
			f.States[i] = opening.TargetState{State: string(TargetRefused), Code: codeOf(t.Err)}
		}
	}
	return f, nil
}

// states are where the targets stand, in the order of the warrant.
func (c *Case) states() []opening.TargetState {
	states := make([]opening.TargetState, len(c.Targets))
	for i, t := range c.Targets {
		states[i] = opening.TargetState{State: string(t.State), Code: t.Code}
	}
	return states
}

// logged returns a leaf with its proof, once it is cosigned.
func (r *Registrar) logged(ctx context.Context, index int64) (opening.LoggedLeaf, error) {
	leaf, p, err := r.Log.Prove(ctx, index)
	if err != nil { // it may not be under a checkpoint yet
		if err = r.Log.Await(ctx, index); err == nil {
			leaf, p, err = r.Log.Prove(ctx, index)
		}
	}
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
		leaf := policy.RecordedLeaf(c.Submission.Warrant, w, c.Salt, c.Bundle, quorum, have.When(), have.Facets()...)
		leaf.Case, leaf.Which = have.Case, have.Which // the earlier warrant, whose case is another row
		leaf.NoticeDays = c.First.Days
		return leaf
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
	if c.State == Authorised && policy.KindOf(c.Kind).Answered {
		if released, err := r.release(ctx, c); err == nil {
			return released, nil
		}
	}
	return c, nil
}

// decide is Decide without the release. Who may sign is checked here, and the
// transaction that appends the leaf sees to it that this bundle is still in force.
func (r *Registrar) decide(ctx context.Context, id, signed string) (c Case, err error) {
	ctx, confirm := r.Cases.Together(ctx) // what is stored confirms all that was read before
	defer func() { err = cmp.Or(confirm(), err) }()
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
	away, err := r.Cases.Absences(ctx, r.Now())
	if err != nil {
		return Case{}, err
	}
	c, err = r.Cases.Apply(ctx, id, func(c Case) (Change, error) { return c.decide(a, signed, since, away, r.Now()) })
	if err != nil {
		return Case{}, err
	}
	// Read in a transaction that was committed: what is said to be stored is.
	if stored := c.decisionOf(a.Custodian, since); stored.Approved != (a.Decision == opening.Approve) {
		if stored.Approved {
			return Case{}, stored.stands("it cannot be declined any more")
		}
		return Case{}, stored.stands("it cannot be approved any more")
	}
	return c, nil
}

// stands is ErrDecided, in the words of the decision that stands and of what it keeps from being.
func (a *Approval) stands(so string) error {
	decided := *ErrDecided
	decided.Mend = "this custodian has declined this case, and a decision counts once: " + so
	if a.Approved {
		decided.Mend = "this custodian has approved this case, and a decision counts once: " + so
	}
	return &decided
}

// Notify tells the persons concerned by every released case whose secrecy has
// ended, and publishes the salt that opens the commitments of the case. It
// returns how many cases it closed. A case that fails is left for the next run;
// the audit of the log shows it as overdue.
func (r *Registrar) Notify(ctx context.Context) (noticed int, err error) {
	return r.serve(ctx, ForNotice, r.notifying)
}

// Lapse ends every emergency that nobody validated in time, in public: nothing more is
// released of it, and what was may not be used. It returns how many lapsed. A case that
// fails is left for the next run.
func (r *Registrar) Lapse(ctx context.Context) (lapsed int, err error) {
	return r.serve(ctx, ForValidation, always(Case.Lapse))
}

// Expire ends every case whose warrant ran out before it was released, and every
// hold that is over, with a leaf; and what still waits in a case of which something was
// released. It returns how many it ended. A case that fails is left for the next run.
func (r *Registrar) Expire(ctx context.Context) (expired int, err error) {
	return r.serve(ctx, ForExpiry, always(Case.expire))
}

// always is of a change that needs nothing but the case.
func always(change changing) func(context.Context, string) (changing, error) {
	return func(context.Context, string) (changing, error) { return change, nil }
}

type changing = func(Case, time.Time) (Change, error)

// notifying is what the end of secrecy does, with the duties to write to the persons. Whose
// records they are the key service says: without it the notice waits for an hour, and then
// nobody is written to. No notice waits for a mail.
func (r *Registrar) notifying(ctx context.Context, id string) (changing, error) {
	c, err := r.Cases.Case(ctx, id)
	if err != nil {
		return nil, err
	}
	ch, err := c.notify(r.Now())
	if err != nil {
		return nil, err
	}
	duties, err := r.Duties(ctx, c, LetterNotice, ch.Notice.Which)
	if err != nil && r.Now().Before(c.SecrecyEnds.Add(time.Hour)) {
		return nil, err
	}
	return func(c Case, now time.Time) (Change, error) {
		ch, err := c.notify(now)
		ch.Duties = duties
		return ch, err
	}, nil
}

// serve applies a change to every case in a queue, by what prepare makes of it before it is
// locked. One that fails does not keep the others from their turn.
func (r *Registrar) serve(ctx context.Context, q Queue, prepare func(ctx context.Context, id string) (changing, error)) (served int, failed error) {
	now := r.Now()
	for from := (Cursor{}); ; {
		page, err := r.Cases.List(ctx, q, now, from, pageSize)
		if err != nil {
			return served, errors.Join(failed, err)
		}
		for _, due := range page {
			// The time of the leaf is that of the lock: what others append while this waits is before it.
			change, err := prepare(ctx, due.ID)
			if err == nil {
				_, err = r.Cases.Apply(ctx, due.ID, func(c Case) (Change, error) { return change(c, r.Now()) })
			}
			switch {
			case err == nil:
				served++
			case !errors.Is(err, ErrCaseClosed): // else another process was first
				failed = errors.Join(failed, err)
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
