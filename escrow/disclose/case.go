package disclose

import (
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/penname/penname/verifier/opening"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// State is where a case stands. [Life] says how it gets from one to another.
type State string

// The states of a case: these words stand in the database, in answers and in
// what people read.
const (
	Recorded   State = "recorded"   // the warrant is on file and its leaf is in the log
	Authorised State = "authorised" // a quorum of custodians approved
	Released   State = "released"   // the package exists, encrypted to the requester
	Noticed    State = "noticed"    // secrecy ended and the persons concerned were told
	Declined   State = "declined"   // so many custodians declined that no quorum can be reached
	Withdrawn  State = "withdrawn"  // its court took it back before it was released
	Expired    State = "expired"    // the warrant ran out before it was released, or the hold is over
	Lost       State = "lost"       // the log says that more became of it than a restored backup knows
)

// States are all states.
var States = []State{Recorded, Authorised, Released, Noticed, Declined, Withdrawn, Expired, Lost}

// Event is what happens to a case.
type Event string

// The events of a case.
const (
	Approve   Event = "approve"   // a custodian agrees
	Decline   Event = "decline"   // a custodian does not agree
	Authorise Event = "authorise" // the quorum is reached
	Fail      Event = "fail"      // no quorum can be reached any more
	Withdraw  Event = "withdraw"  // the court takes the warrant back
	Release   Event = "release"   // the package is made
	Expire    Event = "expire"    // the warrant runs out
	Notify    Event = "notify"    // the persons concerned are told
	Lose      Event = "lose"      // a leaf comes back from the public log to a backup that lacks its row
)

// Transition is what one event does to a case.
type Transition struct {
	Event Event
	From  []State
	To    State              // empty: the case stays where it is
	Leaf  proof.Kind         // appended in the same transaction; empty: none of this case's own
	Index func(*Case) *int64 // where the case keeps the index of that leaf; nil: nowhere, or in the approval
	Else  map[State]error    // what is answered in another state; that of "" where none is given
}

// Life is the life of a case, whole: a case begins as [Recorded] and moves by
// these rows only, here, in the database (trigger case_moves) and when a backup
// is restored. The tests of package postgres hold the database to it.
var Life = []Transition{
	// A custodian who decides late may still step in for one whose share is wrong.
	{Event: Approve, From: []State{Recorded, Authorised, Released}, Leaf: proof.KindApproved, Else: notOpen},
	{Event: Decline, From: []State{Recorded}, Leaf: proof.KindDeclined, Else: notOpen},
	{Event: Authorise, From: []State{Recorded}, To: Authorised, Leaf: proof.KindAuthorised,
		Index: func(c *Case) *int64 { return &c.AuthorisedLeaf }, Else: notOpen},
	{Event: Fail, From: []State{Recorded}, To: Declined, Else: notOpen},
	// Only what is not released can be stopped, and what is stopped is never
	// released (I17). The leaf is that of the withdrawal, which is a case too.
	{Event: Withdraw, From: []State{Recorded, Authorised}, To: Withdrawn, Else: map[State]error{"": ErrTooLate}},
	{Event: Release, From: []State{Authorised}, To: Released, Leaf: proof.KindReleased,
		Index: func(c *Case) *int64 { return &c.ReleasedLeaf },
		Else:  map[State]error{Recorded: ErrQuorumNotMet, Declined: ErrDeclined, Withdrawn: ErrWithdrawn, Expired: policy.ErrExpired, Lost: ErrLost, "": ErrCaseClosed}},
	// A case that was lost expires only by a leaf that says so.
	{Event: Expire, From: []State{Recorded, Authorised, Lost}, To: Expired, Leaf: proof.KindExpired,
		Index: func(c *Case) *int64 { return &c.ExpiredLeaf }, Else: map[State]error{"": ErrCaseClosed}},
	// A case that was lost owes the notice if it was released.
	{Event: Notify, From: []State{Released, Lost}, To: Noticed, Leaf: proof.KindNoticed,
		Index: func(c *Case) *int64 { return &c.NoticedLeaf }, Else: map[State]error{"": ErrCaseClosed}},
	{Event: Lose, From: []State{Recorded, Authorised, Lost}, To: Lost, Else: map[State]error{"": ErrCaseClosed}},
}

// notOpen is what a custodian is told who decides too late.
var notOpen = map[State]error{Withdrawn: ErrWithdrawn, Expired: policy.ErrExpired, Lost: ErrLost, "": ErrCaseClosed}

// May returns the row of [Life] by which the event happens to a case in that
// state, or the refusal that it gives.
func (s State) May(e Event) (Transition, error) {
	row := Life[slices.IndexFunc(Life, func(t Transition) bool { return t.Event == e })]
	if slices.Contains(row.From, s) {
		return row, nil
	}
	if refused, ok := row.Else[s]; ok {
		return row, refused
	}
	return row, row.Else[""]
}

// Case is one warrant and all that became of it, but for its package, which can
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
	Quorum      int             // distinct custodians that must approve
	State       State
	SecrecyEnds time.Time // UTC day
	Expires     time.Time // of the warrant
	ApproveFrom time.Time // end of the notice period: no custodian's approval counts before
	Approvals   []Approval

	// Compartments are those of each target's record that the fields of the warrant
	// are in (seal.Custody.Needed), settled when the case was filed: an approval brings
	// a share for each of them and no other. nil: one share for each target, in cases
	// from before there were compartments.
	Compartments [][]string

	// Indices of the leaves in the public log; Recorded is always set, the
	// others are 0 until the state is reached (no case is recorded before a bundle is).
	RecordedLeaf, AuthorisedLeaf, ReleasedLeaf, ExpiredLeaf, NoticedLeaf int64

	// Earlier is set only to file a withdrawal: policy.Hash of what it ends.
	Earlier *[32]byte
	// Daily is set only to file a warrant: how many of that authority are recorded
	// in a day (UTC), policy.Authority.DailyWarrants. 0: its bundle names no number.
	Daily int
	// Exhibits are set only to file a warrant: what custodians are to read, which is
	// stored as it comes, and for how many days after the end of the case.
	Exhibits []SealedExhibit
	KeepDays int
}

// Approval is one custodian's signed decision on a case.
type Approval struct {
	Custodian string
	Approved  bool
	Signed    string // the JWS, opening.VerifyApproval
	Leaf      int64
	Bundle    string // hash of the bundle in force then, whose custodian decided
}

// Notice is what the persons behind the pen names of a warrant are told.
type Notice struct {
	To         []policy.Target
	Authority  string // its id; its name in the bundle that decided, once stored
	FileNumber string
	LegalBasis string
	Requester  string
	Fields     []string
	Leaf       int64
	Day        time.Time
}

// Change is what becomes of a case in one transaction: steps by [Life], and what
// they bring.
type Change struct {
	InForce  string // hash of the bundle under which this was decided; empty: it depends on none
	Steps    []Step
	Approval *Approval // of [Approve] and [Decline]; its Leaf is set when it is appended
	Package  []byte    // of [Release]
	Notice   *Notice   // of [Notify]
}

// Step is one event with the leaf that is appended for it; a leaf without a kind
// is none.
type Step struct {
	Event Event
	Leaf  proof.Leaf
}

var errStep = errors.New("a step without its leaf, or with another one")

// After returns the case as a change leaves it. indices says where the leaves of
// its steps were appended, in their order. The error is that of [State.May].
func (c Case) After(ch Change, indices ...int64) (Case, error) {
	for _, s := range ch.Steps {
		row, err := c.State.May(s.Event)
		if err != nil {
			return c, err
		}
		if s.Event != Lose && s.Leaf.Kind != row.Leaf || s.Leaf.Kind != "" && len(indices) == 0 {
			return c, errStep
		}
		if s.Leaf.Kind != "" {
			c.setLeaf(s.Leaf.Kind, indices[0], ch.Approval)
			indices = indices[1:]
		}
		if row.To != "" {
			c.State = row.To
		}
	}
	return c, nil
}

// setLeaf writes down where a leaf of the case is.
func (c *Case) setLeaf(kind proof.Kind, index int64, a *Approval) {
	if a != nil && (kind == proof.KindApproved || kind == proof.KindDeclined) {
		c.Approvals = append(slices.Clip(c.Approvals), Approval{a.Custodian, a.Approved, a.Signed, index, a.Bundle})
	}
	for _, row := range Life {
		if row.Leaf == kind && row.Index != nil {
			*row.Index(c) = index
		}
	}
}

// Votes counts the approvals and the refusals of distinct custodians, whatever
// bundle they decided under.
func (c *Case) Votes() (yes, no int) {
	for _, a := range c.latest() {
		if a.Approved {
			yes++
		} else {
			no++
		}
	}
	return yes, no
}

// latest is what each custodian decided last.
func (c *Case) latest() map[string]Approval {
	decided := make(map[string]Approval)
	for _, a := range c.Approvals {
		decided[a.Custodian] = a
	}
	return decided
}

// votes counts the decisions that matter under the bundle in force, the last of
// since: approvals whose shares open together with those of its custodians, and
// refusals by its custodians.
func (c *Case) votes(since []*policy.Bundle) (yes, no int) {
	inForce := since[len(since)-1]
	for who, a := range c.latest() {
		switch {
		case a.Approved && sameKey(since, a.Bundle, inForce):
			yes++
		case !a.Approved && inForce.Custodian(who) != nil:
			no++
		}
	}
	return yes, no
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

// targets are those of the warrant, with what the token of each commits to. Both
// were verified when the case was filed.
func (c *Case) targets() ([]Target, error) {
	w, err := c.warrant()
	if err != nil {
		return nil, err
	}
	commitments, err := policy.CommitmentsUnverified(c.Submission, w)
	if err != nil {
		return nil, err
	}
	return targetsOf(w, commitments), nil
}

func targetsOf(w *policy.Warrant, commitments []policy.Committed) []Target {
	targets := make([]Target, len(w.Targets))
	for i, t := range w.Targets {
		targets[i] = Target{t.Pseudonym, t.Platform, commitments[i]}
	}
	return targets
}

// decide is what one signed approval does. since are the bundles from that of the
// case to the one in force, whose custodian a is by.
func (c Case) decide(a *opening.Approval, signed string, since []*policy.Bundle, now time.Time) (Change, error) {
	inForce := since[len(since)-1]
	approved := a.Decision == opening.Approve
	event := Decline
	if approved {
		event = Approve
	}
	_, refused := c.State.May(event)
	switch {
	case a.Case != c.ID, a.WarrantHash != hex.EncodeToString(c.WarrantHash[:]),
		a.Bundle != c.Bundle, a.LeafIndex != c.RecordedLeaf:
		return Change{}, ErrWrongCase
	// Threshold = distinct authorities (ATTACKS C05): one custodian counts once. A
	// repeat changes nothing: Decide answers with what is stored.
	case c.decisionOf(a.Custodian, since) != nil:
		return Change{}, nil
	case refused != nil:
		return Change{}, refused
	case c.State == Recorded && !now.Before(c.Expires):
		return Change{}, policy.ErrExpired
	case policy.Stopped(since[1:], c.RecordedLeaf, c.Authority, c.named()) != nil:
		return Change{}, policy.ErrStopped
	case approved && now.Before(c.ApproveFrom):
		return Change{}, policy.ErrNoticePeriod
	case !approved && !slices.Contains(policy.DeclineReasons, a.Reason):
		return Change{}, ErrReason
	}
	w, err := c.warrant()
	switch {
	case err != nil:
		return Change{}, err
	case !policy.KindOf(w.Kind).Opens:
		return Change{}, ErrNothingToOpen
	case approved && !c.sharesComplete(a, len(w.Targets)):
		return Change{}, ErrShares
	}
	code := ""
	if !approved {
		code = "declined." + a.Reason
	}
	leaf := proof.ApprovalLeaf(now, c.RecordedLeaf, a.Custodian, code, c.Salt, []byte(signed))
	ch := Change{InForce: inForce.Hash(), Steps: []Step{{event, leaf}},
		Approval: &Approval{Custodian: a.Custodian, Approved: approved, Signed: signed, Bundle: inForce.Hash()}}
	switch yes, no := c.votes(since); {
	case c.State != Recorded:
	case approved && yes+1 >= c.Quorum:
		ch.Steps = append(ch.Steps, Step{Authorise, proof.AuthorisedLeaf(now, c.RecordedLeaf)})
	case !approved && len(inForce.Custodians)-(no+1) < c.Quorum:
		ch.Steps = append(ch.Steps, Step{Event: Fail})
	}
	return ch, nil
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
// needed.
func (c *Case) sharesComplete(a *opening.Approval, targets int) bool {
	type place struct {
		target      int
		compartment string
	}
	missing := make(map[place]bool)
	for i := range targets {
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

// Withdraw returns the case as its court's withdrawal leaves it, or ErrTooLate.
func (c Case) Withdraw() (Case, error) {
	if policy.KindOf(c.Kind).Stops {
		return c, ErrTooLate
	}
	return c.After(Change{Steps: []Step{{Event: Withdraw}}})
}

// expire is what the end of the warrant does.
func (c Case) expire(now time.Time) (Change, error) {
	if _, due := ForExpiry.Due(c, now); !due {
		return Change{}, ErrCaseClosed
	}
	return Change{Steps: []Step{{Expire, proof.ExpiredLeaf(now, c.RecordedLeaf)}}}, nil
}

// notify is what the end of secrecy does.
func (c Case) notify(now time.Time) (Change, error) {
	if _, due := ForNotice.Due(c, now); !due {
		return Change{}, ErrCaseClosed
	}
	w, err := c.warrant()
	if err != nil {
		return Change{}, err
	}
	return c.serve(w, now.UTC().Truncate(24*time.Hour), proof.NoticedLeaf(now, c.RecordedLeaf, c.Salt)), nil
}

// serve tells the persons whom the warrant names, on that day.
func (c Case) serve(w *policy.Warrant, day time.Time, leaf proof.Leaf) Change {
	return Change{Steps: []Step{{Notify, leaf}}, Notice: &Notice{
		To: w.Targets, Authority: w.Authority, FileNumber: w.FileNumber, LegalBasis: w.LegalBasis,
		Requester: w.Requester.Organisation, Fields: w.Fields, Leaf: c.RecordedLeaf, Day: day,
	}}
}

// Restore returns what a leaf does that the public log has and a restored backup
// lacks. What follows from the warrant happens again: the person goes on being
// told, and the case goes on being over. Anything else is lost, whole says, and
// the case with it if something could still come of it.
func (c Case) Restore(leaf proof.Leaf) (ch Change, whole bool) {
	switch leaf.Kind {
	case proof.KindNoticed:
		day, err := time.Parse(time.DateOnly, leaf.Day)
		if _, refused := c.State.May(Notify); refused == nil && err == nil && c.ReleasedLeaf != 0 && c.Warrant != nil {
			return c.serve(c.Warrant, day, leaf), true
		}
	case proof.KindExpired:
		if _, refused := c.State.May(Expire); refused == nil && c.ReleasedLeaf == 0 {
			return Change{Steps: []Step{{Expire, leaf}}}, true
		}
	}
	if _, refused := c.State.May(Lose); refused != nil {
		return Change{}, false
	}
	return Change{Steps: []Step{{Lose, leaf}}}, false
}

// signedApprovals are those of the custodians who agreed.
func (c *Case) signedApprovals() (signed []string) {
	for _, a := range c.Approvals {
		if a.Approved {
			signed = append(signed, a.Signed)
		}
	}
	return signed
}
