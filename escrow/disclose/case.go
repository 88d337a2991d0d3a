package disclose

import (
	"cmp"
	"encoding/hex"
	"slices"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
)

// Case is one warrant and all that became of it, but for its packages, which can
// be large ([Cases]).
type Case struct {
	ID          string   // 16 random bytes, base32: knowing it lets one ask for the status
	WarrantHash [32]byte // policy.Hash of the warrant
	Authority   string   // with WarrantID: what makes two warrants the same one,
	WarrantID   string   // since an ES256 signature can be varied by anyone who sees it
	Kind        string   // of the warrant, as its recorded leaf has it: policy.Production …
	Submission  policy.Submission
	Warrant     *policy.Warrant // Submission.Warrant, parsed when the case was read; nil if that cannot be read
	Bundle      string          // hash of the bundle it was decided under
	Salt        [32]byte        // opens the commitments in the log; secret until noticed
	Quorum      int             // distinct custodians that must approve each target
	State       State
	SecrecyEnds time.Time // UTC day
	Expires     time.Time // of the warrant, or the end of a hold
	ApproveFrom time.Time // no custodian's approval counts before: end of the days to object, once the persons were told
	ValidateBy  time.Time // when an emergency lapses that nobody validated; zero: nobody has to
	Approvals   []Approval
	Recusals    []Recusal

	// Targets are where the targets of the warrant stand, in its order; none of a kind
	// that takes effect when it is recorded.
	Targets []CaseTarget
	// Rounds are what reached its quorum together, in the order of the leaves. Each has a
	// package once it is released. Of a case that a backup lost parts of, only the first is known.
	Rounds []Round

	// Compartments are those of each target's record that the fields of the warrant
	// are in (seal.Custody.Needed), settled when the case was filed: an approval brings
	// a share for each of them and no other. nil: one share for each target, in cases
	// from before there were compartments.
	Compartments [][]string

	// Indices of the leaves in the public log; Recorded is always set, the
	// others are 0 until it comes to that (no case is recorded before a bundle is).
	// Validated is the recorded leaf of the validation; Declined is of the leaf after which
	// no quorum can be reached.
	RecordedLeaf, DeclinedLeaf, ExpiredLeaf, NoticedLeaf, ValidatedLeaf, LapsedLeaf int64
	Annulments                                                                      []int64   // recorded leaves of annulments after a release
	Deletion                                                                        *Deletion // what the requester stated; nil: nothing
	Secret                                                                          [32]byte  // nobody but the registrar has it: of it come the receipt, which is in each package, and the keys that lock halves

	First      First       // where the persons are told before custodians decide
	Objections []Objection // in the order of their targets, and of each in that in which they came

	// Earlier is set only to file a warrant about an earlier one: policy.Hash of that.
	Earlier *[32]byte
	// Daily is set only to file a warrant: how many of that authority are recorded
	// in a day (UTC), policy.Authority.DailyWarrants. 0: its bundle names no number, or
	// has more of them held for review (since format 5).
	Daily int
	// Filed is set only to file a warrant under a bundle of format 5: what was counted when
	// it was decided. Requester is the id of the organisation that it counts for.
	Filed     *policy.Filed
	Requester string
	// Exhibits are set only to file a warrant: what custodians are to read, which is
	// stored as it comes, and for how many days after the end of the case.
	Exhibits []SealedExhibit
	KeepDays int
}

// CaseTarget is where one target of a case stands.
type CaseTarget struct {
	State TargetState
	Code  string // of why it is refused; of a released one, of why its use is forbidden
	Round int    // that authorised it, counted from 1; 0: none did
}

// Round is what reached its quorum together.
type Round struct {
	AuthorisedLeaf int64 // of kind decided; of kind authorised before format 5 of the bundle
	ReleasedLeaf   int64 // 0: not released yet
}

// Approval is one custodian's signed decision on a case.
type Approval struct {
	Custodian string
	Approved  bool   // at least one target
	Signed    string // the JWS, opening.VerifyApproval
	Leaf      int64
	Bundle    string // hash of the bundle in force then, whose custodian decided

	// Votes are the targets that they agreed to open, by their places in the warrant. nil:
	// before format 5 of the bundle, all or none.
	Votes proof.Marks
}

// agrees reports whether the custodian agreed to open that target.
func (a *Approval) agrees(target int) bool {
	if a.Votes == nil {
		return a.Approved
	}
	return a.Votes.Has(target)
}

// Notice is what the persons behind the pen names of a warrant are told.
type Notice struct {
	To         []policy.Target
	Which      []int  // their places in the warrant
	First      bool   // they are told before anything is done, of what is to be done
	Authority  string // its id; its name in the bundle that decided, once stored
	FileNumber string
	LegalBasis string
	Requester  string // id of the organisation, likewise; what the warrant calls it where it has none
	Fields     []string
	Leaf       int64
	Day        time.Time
}

// Deletion is the requester's own statement that what was delivered is deleted. Nobody
// can check that it is.
type Deletion struct {
	Said string
	MAC  [32]byte // HMAC-SHA-256 of it by Case.DeletionReceipt
	Leaf int64
}

// count counts the targets in a state.
func (c *Case) count(s TargetState) int {
	return len(c.whose(func(t CaseTarget) bool { return t.State == s }))
}

// isOpen reports whether something may still become of a target.
func (c *Case) isOpen() bool { return c.count(TargetWaiting)+c.count(TargetAuthorised) > 0 }

// of returns the targets of a round that are authorised, as places in the warrant.
func (c *Case) of(round int) (which []int) {
	for i, t := range c.Targets {
		if t.State == TargetAuthorised && t.Round == round+1 {
			which = append(which, i)
		}
	}
	return which
}

// Barred is "annulled" or "lapsed" if what was released, or some of it, may not be used;
// else "".
func (c *Case) Barred() string {
	switch {
	case c.LapsedLeaf != 0 && c.count(TargetReleased) > 0:
		return "lapsed"
	case len(c.Annulments) > 0:
		return "annulled"
	}
	return ""
}

// places are where the targets stand in the recorded leaf, in the order of the warrant;
// -1 each if the warrant cannot be read.
func (c *Case) places() []int {
	named := make([]proof.Target, len(c.named()))
	for i, t := range c.named() {
		named[i] = proof.Target{Pseudonym: string(t.Pseudonym), Platform: t.Platform}
	}
	if len(named) != len(c.Targets) {
		return slices.Repeat([]int{-1}, len(c.Targets))
	}
	return proof.Positions(proof.RecordedLeaf(time.Time{}, proof.Facets{Salt: c.Salt, Targets: named}), c.Salt, named)
}

// marks are those targets as a leaf of the case has them.
func (c *Case) marks(is func(target int) bool) proof.Marks {
	m := proof.NewMarks(len(c.Targets))
	for i, at := range c.places() {
		if at >= 0 && is(i) {
			m.Set(at)
		}
	}
	return m
}

// Votes counts the custodians who agreed to some target, those who declined all, and those
// who decided and whose decision no leaf has opened yet: nobody is told which of the two it
// was. They count whatever bundle they decided under.
func (c *Case) Votes() (yes, no, untold int) {
	last := c.lastDecided()
	for _, a := range c.latest() {
		switch {
		case !a.told(last):
			untold++
		case a.Approved:
			yes++
		default:
			no++
		}
	}
	return yes, no, untold
}

// told reports whether all may know what was decided, when the last leaf that opened
// decisions is that one.
func (a *Approval) told(lastDecided int64) bool { return a.Votes == nil || a.Leaf < lastDecided }

// latest is what each custodian decided last.
func (c *Case) latest() map[string]Approval {
	decided := make(map[string]Approval)
	for _, a := range c.Approvals {
		decided[a.Custodian] = a
	}
	return decided
}

// tally says which waiting targets the decisions authorise, and which can reach no quorum
// any more. What matters under the bundle in force, the last of since, are approvals whose
// shares open together with those of its custodians, and refusals by its custodians.
func (c *Case) tally(since []*policy.Bundle) (reached, failed []int) {
	inForce, latest, required := since[len(since)-1], c.latest(), c.required(since[0])
	together, seated := make(map[string]bool), make(map[string]bool)
	for who, a := range latest {
		together[who], seated[who] = sameKey(since, a.Bundle, inForce), inForce.Custodian(who) != nil
	}
	for i, t := range c.Targets {
		if t.State != TargetWaiting {
			continue
		}
		var yes []policy.Custodian
		no := make(map[string]bool)
		for who, a := range latest {
			switch agrees := a.agrees(i); {
			case agrees && together[who]:
				yes = append(yes, seat(since, a))
			case !agrees && (together[who] || !a.Approved) && seated[who]:
				no[who] = true
			}
		}
		left := slices.DeleteFunc(slices.Clone(inForce.Custodians), func(s policy.Custodian) bool { return no[s.ID] })
		switch {
		case len(yes) >= c.Quorum && len(policy.Unmet(required, yes)) == 0:
			reached = append(reached, i)
		case len(left) < c.Quorum, len(policy.Unmet(required, append(left, yes...))) > 0:
			failed = append(failed, i)
		}
	}
	return reached, failed
}

// sameKey reports whether shares that were made under a bundle open together with
// those of another: a resharing keeps the key, and makes older shares useless.
func sameKey(since []*policy.Bundle, hash string, other *policy.Bundle) bool {
	i := slices.IndexFunc(since, func(b *policy.Bundle) bool { return b.Hash() == hash })
	return i >= 0 && since[i].ThresholdKey == other.ThresholdKey
}

// warrant is that of the case. One that cannot be read is not the one that the
// log holds.
func (c *Case) warrant() (*policy.Warrant, error) {
	if c.Warrant == nil {
		return nil, ErrNotAsLogged
	}
	return c.Warrant, nil
}

// named are the targets as the warrant has them; none if it cannot be read.
func (c *Case) named() []policy.Target {
	if c.Warrant == nil {
		return nil
	}
	return c.Warrant.Targets
}

// targets are those at these places of the warrant, with what the token of each commits to.
// Both were verified when the case was filed, unless the target was refused: what is wrong
// with that one must not hold up the others, so nobody asks for it.
func (c *Case) targets(which []int) ([]Target, error) {
	w, err := c.warrant()
	if err != nil {
		return nil, err
	}
	commitments, targets := policy.CommitmentsUnverified(c.Submission, w), make([]Target, len(which))
	for n, i := range which {
		if i >= len(w.Targets) || commitments[i] == nil {
			return nil, ErrNotAsLogged
		}
		targets[n] = Target{w.Targets[i].Pseudonym, w.Targets[i].Platform, *commitments[i]}
	}
	return targets, nil
}

// whose are the places in the warrant of the targets of which is holds.
func (c *Case) whose(is func(CaseTarget) bool) (which []int) {
	for i, t := range c.Targets {
		if is(t) {
			which = append(which, i)
		}
	}
	return which
}

// decidedByTarget reports whether the cases of a bundle are decided target by target, and
// their decisions are opened by the leaf that decides.
func decidedByTarget(b *policy.Bundle) bool { return b.Version >= 5 }

// decide is what one signed approval does. since are the bundles from that of the
// case to the one in force, whose custodian a is by, and away the absences of custodians that
// are not over.
func (c Case) decide(a *opening.Approval, signed string, since []*policy.Bundle, away []Statement, now time.Time) (Change, error) {
	inForce := since[len(since)-1]
	event := Decline
	if a.Decision == opening.Approve {
		event = Approve
	}
	switch {
	case a.Case != c.ID, a.WarrantHash != hex.EncodeToString(c.WarrantHash[:]),
		a.Bundle != c.Bundle, a.LeafIndex != c.RecordedLeaf:
		return Change{}, ErrWrongCase
	// Threshold = distinct authorities (ATTACKS C05): one custodian counts once. A
	// repeat changes nothing: Decide answers with what is stored.
	case c.decisionOf(a.Custodian, since) != nil:
		return Change{}, nil
	}
	if err := cmp.Or(c.mayDecide(a, event, since, now), c.mayStandIn(a, away, now)); err != nil {
		return Change{}, err
	}
	stored := Approval{Custodian: a.Custodian, Approved: event == Approve, Signed: signed, Leaf: justNow, Bundle: inForce.Hash()}
	var leaf proof.Leaf
	if decidedByTarget(since[0]) {
		var err error
		if stored.Votes, err = c.votes(a); err != nil {
			return Change{}, err
		}
		leaf = proof.DecisionLeaf(now, c.RecordedLeaf, c.Salt, c.decisionIn(stored, a))
	} else {
		code := ""
		if event == Decline {
			code = "declined." + a.Reason
		}
		leaf = proof.ApprovalLeaf(now, c.RecordedLeaf, a.Custodian, code, c.Salt, []byte(signed))
	}
	ch := Change{InForce: inForce.Hash(), Approval: &stored, Steps: []Step{{Event: event, Leaf: leaf}}}
	before := c
	c.Approvals = append(slices.Clip(c.Approvals), stored)
	reached, failed := c.tally(since)
	if len(failed) > 0 {
		ch.Steps = append(ch.Steps, Step{Event: Fail, Which: failed})
	}
	settled := len(failed) > 0 && len(failed) == c.count(TargetWaiting) // nothing waits any more
	switch byTarget := decidedByTarget(since[0]); {
	case len(reached) > 0:
		leaf := proof.AuthorisedLeaf(now, c.RecordedLeaf)
		if byTarget {
			leaf = before.DecidedLeaf(now, reached, stored)
		}
		ch.Steps = append(ch.Steps, Step{Event: Authorise, Leaf: leaf, Which: reached})
	case settled && byTarget:
		ch.Steps[len(ch.Steps)-1].Leaf = before.DecidedLeaf(now, nil, stored)
	}
	return ch, nil
}

// mayDecide is why a custodian's decision does not count now, or nil.
func (c *Case) mayDecide(a *opening.Approval, event Event, since []*policy.Bundle, now time.Time) error {
	waiting := c.count(TargetWaiting) > 0
	_, refused := c.State.May(event)
	w, err := c.warrant()
	switch {
	case refused != nil:
		return refused
	case event == Decline && !waiting && c.State != Recorded:
		return ErrCaseClosed
	case !now.Before(c.Expires):
		return policy.ErrExpired
	case c.lapsed(now):
		return ErrLapsed
	case policy.Stopped(since[1:], c.RecordedLeaf, c.Authority, c.named()) != nil:
		return policy.ErrStopped
	case event == Approve && c.mayGoOn(now) != nil:
		return c.mayGoOn(now)
	case event == Decline && !slices.Contains(policy.DeclineReasons, a.Reason):
		return ErrReason
	case err != nil:
		return err
	case !policy.KindOf(w.Kind).Decided:
		return ErrNothingToOpen
	}
	votes, err := a.Votes(len(w.Targets))
	switch {
	case err != nil && len(a.Answers) > 0:
		return err
	case err != nil, !c.sharesComplete(a, votes):
		return ErrShares
	case event == Approve && !decidedByTarget(since[0]) && slices.ContainsFunc(votes, func(v string) bool { return v != opening.Approve }):
		return ErrAllOrNone
	}
	for i, vote := range votes {
		if t := c.Targets[i]; vote == opening.Approve && t.State == TargetReleased && t.Code != "" {
			return barredBy[t.Code]
		}
	}
	return nil
}

// barredBy are the refusals by which the use of a released target is forbidden.
var barredBy = map[string]error{ErrAnnulled.Code: ErrAnnulled, ErrLapsed.Code: ErrLapsed}

// votes are the targets that an approval agrees to. It answers for each that waits.
func (c *Case) votes(a *opening.Approval) (proof.Marks, error) {
	if a.Decision == opening.Approve && len(a.Answers) == 0 {
		return nil, opening.ErrApprovalUnanswered
	}
	votes, err := a.Votes(len(c.Targets))
	if err != nil {
		return nil, err
	}
	marks := proof.NewMarks(len(c.Targets))
	for i, vote := range votes {
		switch {
		case vote == opening.Approve:
			marks.Set(i)
		case vote == "" && c.Targets[i].State == TargetWaiting:
			return nil, opening.ErrApprovalUnanswered
		}
	}
	return marks, nil
}

// decisionIn is a stored decision as the leaves of the case tell of it. a is what was signed.
func (c *Case) decisionIn(stored Approval, a *opening.Approval) proof.Decision {
	var grounds []string
	for _, x := range a.Answers {
		if x.Reason != "" {
			grounds = append(grounds, x.Reason)
		}
	}
	if len(a.Answers) == 0 && a.Reason != "" {
		grounds = []string{a.Reason}
	}
	slices.Sort(grounds)
	return proof.Decision{Custodian: stored.Custodian, Votes: c.marks(stored.agrees), Grounds: slices.Compact(grounds), Signed: []byte(stored.Signed)}
}

// decided is the leaf that authorises those targets, of none if no quorum can be reached any
// more, and opens the decisions whose leaves stand behind after and before to.
func (c *Case) decided(at time.Time, which []int, after, to int64) proof.Leaf {
	var opened []proof.Opened
	for _, stored := range c.Approvals {
		is := (stored.Leaf > after || stored.Leaf == justNow) && (stored.Leaf < to || to == justNow)
		if !is || stored.Votes == nil {
			continue
		}
		if a, err := opening.ParseApprovalUnverified(stored.Signed); err == nil {
			opened = append(opened, c.decisionIn(stored, a).Open(c.Salt, stored.Leaf))
		}
	}
	leaf := proof.DecidedLeaf(at, c.RecordedLeaf, c.marks(func(i int) bool { return slices.Contains(which, i) }), opened)
	return leaf.On(policy.KindOf(c.Kind).When(at))
}

// DecidedLeaf is the leaf that authorises those targets by a decision that is stored with it,
// and opens what was not opened before.
func (c Case) DecidedLeaf(at time.Time, which []int, stored Approval) proof.Leaf {
	stored.Leaf = justNow
	c.Approvals = append(slices.Clip(c.Approvals), stored)
	return c.decided(at, which, c.lastDecided(), justNow)
}

// lastDecided is the last leaf that opened decisions; 0 if none did.
func (c *Case) lastDecided() (last int64) {
	last = c.DeclinedLeaf
	for _, r := range c.Rounds {
		last = max(last, r.AuthorisedLeaf)
	}
	return last
}

// DecidedLeaves are the leaves that opened decisions of a case that is decided target by
// target, by their indices, undated: the log says when.
func (c *Case) DecidedLeaves() map[int64]proof.Leaf {
	indices := []int64{c.DeclinedLeaf}
	for _, r := range c.Rounds {
		indices = append(indices, r.AuthorisedLeaf)
	}
	slices.Sort(indices)
	leaves, before := make(map[int64]proof.Leaf), int64(0)
	for _, index := range indices {
		if index == 0 {
			continue
		}
		var which []int
		for i, t := range c.Targets {
			if t.Round > 0 && c.Rounds[t.Round-1].AuthorisedLeaf == index {
				which = append(which, i)
			}
		}
		leaves[index], before = c.decided(time.Time{}, which, before, index), index
	}
	return leaves
}

// DecisionLeaf is that of a decision in such a case, undated.
func (c *Case) DecisionLeaf(stored Approval) (proof.Leaf, error) {
	a, err := opening.ParseApprovalUnverified(stored.Signed)
	if err != nil {
		return proof.Leaf{}, err
	}
	return proof.DecisionLeaf(time.Time{}, c.RecordedLeaf, c.Salt, c.decisionIn(stored, a)), nil
}

// ReleasedLeaf is that of a round, undated, with the hash of its package. In a case that is
// not decided target by target it says of no target.
func (c *Case) ReleasedLeaf(round int, hash [32]byte, byTarget bool) proof.Leaf {
	var which proof.Marks
	if byTarget {
		which = c.marks(func(i int) bool { return c.Targets[i].State == TargetReleased && c.Targets[i].Round == round+1 })
	}
	return proof.ReleasedLeaf(time.Time{}, c.RecordedLeaf, hash, which)
}

// decisionOf is what that custodian has decided, or nil. Who approved with a share
// of a key that was moved since has not: what they gave opens nothing any more.
func (c *Case) decisionOf(custodian string, since []*policy.Bundle) *Approval {
	a, ok := c.latest()[custodian]
	if !ok || a.Approved && !sameKey(since, a.Bundle, since[len(since)-1]) {
		return nil
	}
	return &a
}

// sharesComplete reports whether an approval brings exactly the shares that are
// needed: of each target that it agrees to, and of none where nothing is opened.
func (c *Case) sharesComplete(a *opening.Approval, votes []string) bool {
	type place struct {
		target      int
		compartment string
	}
	missing := make(map[place]bool)
	for i, vote := range votes {
		if vote != opening.Approve || !policy.KindOf(c.Warrant.Kind).Opens {
			continue
		}
		needed := []string{""}
		if i < len(c.Compartments) {
			needed = c.Compartments[i]
		}
		for _, compartment := range needed {
			missing[place{i, compartment}] = true
		}
	}
	for _, s := range a.Shares {
		at := place{s.Target, s.Compartment}
		if !missing[at] || len(s.Ciphertext) == 0 {
			return false
		}
		delete(missing, at)
	}
	return len(missing) == 0
}

// signedApprovals are those of the custodians who agreed.
func (c *Case) signedApprovals() []string {
	return c.signed(func(Approval) bool { return true })
}

// openedApprovals are those of them that a leaf has opened: before that no custodian learns how
// another decided.
func (c *Case) openedApprovals() []string {
	last := c.lastDecided()
	return c.signed(func(a Approval) bool { return a.told(last) })
}

func (c *Case) signed(is func(Approval) bool) (signed []string) {
	for _, a := range c.Approvals {
		if a.Approved && is(a) {
			signed = append(signed, a.Signed)
		}
	}
	return signed
}
