package disclose

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// Where the rules want it, the persons are told before custodians decide:
//
//	Show    a notice is put on the page of each person, and a mail that says only that
//	        something waits into the outbox
//	Tell    each mail was accepted, or there is no address → leaf TOLD, from which the days
//	        to object count; after [reachWithin] without that, or once a mail server refused one
//	        for good, the leaf says "not reached"
//	Object  a person or their lawyer objects in time → leaf OBJECTED, nothing is approved or
//	        released until a court has ruled
//	Rule    the court dismisses the objection, and the case goes on; upheld, its targets end
//
// What is objected later than in time is kept and shown like the rest, and stops nothing.

// ErrNoObjection is of a ruling on an objection that nobody made, or that is answered.
var ErrNoObjection = refusal.New(refusal.NotFound, "warrant.no_objection",
	"no objection with that digest waits in this case: take the digest from escrow warrant objections CASE, and rule on each objection once")

// ErrOtherPerson is of an objection that is upheld for others than who made it.
var ErrOtherPerson = refusal.New(refusal.Invalid, "warrant.other_person",
	"the ruling upholds an objection and does not name the pen name of who made it, which would stay open: nothing was recorded; escrow warrant objections CASE says which target objected; sign the ruling with that pen name among its targets, or with none, for all")

// reachWithin is how long a mail server has to accept what tells a person of a notice.
const reachWithin = 72 * time.Hour

// First is where a case stands whose persons are told before custodians decide.
type First struct {
	Days    int       // whole days that they have to object; 0: they are not told first
	TellBy  time.Time // then they count as not reached
	Shown   bool      // the notice is on their pages
	Leaf    int64     // that says that they were told, or not reached; 0: not yet
	Reached bool
}

// Objection is what somebody said against an order to whom it was to be told, or their
// lawyer. Its text is encrypted to those who read exhibits.
type Objection struct {
	Target   int       // its place in the warrant
	N        int       // of that target, from 1 on
	Lawyer   bool      // with the one-time code of the notice; else the person
	Day      time.Time // UTC
	Suspends bool      // it came in time: nothing goes on before it is answered
	Digest   [32]byte  // SHA-256 of what was encrypted: what a ruling names
	Leaf     int64     // of one that suspends; 0: not logged yet

	Outcome string // policy.Upheld or policy.Dismissed; empty: no court has answered
	Ruling  int64  // recorded leaf of the ruling
}

// Objected is an objection with what was encrypted, nil once it was dropped, and the ruling on
// it: the day on which that was recorded, YYYY-MM-DD, and as it was filed.
type Objected struct {
	Objection
	Sealed  []byte
	RuledOn string
	Ruled   *policy.Submission // nil: none is
}

// waits reports whether the objection keeps its case from going on.
func (o Objection) waits() bool { return o.Suspends && o.Outcome == "" }

// UnderObjection reports whether an objection keeps the case from going on.
func (c *Case) UnderObjection() bool { return slices.ContainsFunc(c.Objections, Objection.waits) }

// mayGoOn is why nothing of the case is approved or released at now, or nil.
func (c *Case) mayGoOn(now time.Time) error {
	if now.Before(c.ApproveFrom) {
		return policy.ErrNoticePeriod
	}
	return c.personsFirst()
}

// personsFirst is why nothing of it is whatever the time, or nil.
func (c *Case) personsFirst() error {
	switch {
	case c.First.Days > 0 && c.First.Leaf == 0:
		return policy.ErrNoticePeriod
	case c.UnderObjection():
		return policy.ErrObjection
	}
	return nil
}

// toTell reports whether something is to be done now about telling the persons of a case
// first, or about logging what they objected.
func (c *Case) toTell() bool {
	return c.State == Recorded && c.First.Days > 0 && (!c.First.Shown || c.First.Leaf == 0 || slices.ContainsFunc(c.Objections, Objection.unlogged))
}

func (o Objection) unlogged() bool { return o.Suspends && o.Leaf == 0 }

// show puts the notices on the pages of the persons.
func (c Case) show(duties []Duty, day time.Time) (Change, error) {
	if !c.toTell() || c.First.Shown {
		return Change{}, ErrCaseClosed
	}
	w, err := c.warrant()
	if err != nil {
		return Change{}, err
	}
	n := c.notice(w, c.toBeTold(), day)
	n.First = true
	return Change{Notice: &n, Duties: duties, Steps: []Step{{Event: Show}}}, nil
}

// toBeTold are the targets whose persons are told first: of those that were refused when
// they were filed nobody holds a record.
func (c *Case) toBeTold() []int {
	return c.whose(func(t CaseTarget) bool { return t.State == TargetWaiting })
}

// tell logs that the persons were told, or not reached, and what they objected since.
func (c Case) tell(reached bool, now time.Time) (Change, error) {
	if !c.toTell() || !c.First.Shown {
		return Change{}, ErrCaseClosed
	}
	var ch Change
	if c.First.Leaf == 0 {
		ch.Steps = append(ch.Steps, Step{Event: Tell, Leaf: proof.ToldLeaf(now, c.RecordedLeaf, reached)})
	}
	for _, o := range c.Objections {
		if o.unlogged() {
			ch.Steps = append(ch.Steps, Step{Event: Object, Leaf: proof.ObjectedLeaf(now, c.RecordedLeaf)})
		}
	}
	return ch, nil
}

// told notes what [Tell] did.
func (c *Case) told(leaf proof.Leaf, index int64) error {
	day, err := time.Parse(time.DateOnly, proof.DecideFrom(leaf.Day, c.First.Days))
	c.First.Leaf, c.First.Reached, c.ApproveFrom = index, leaf.Code == "", day
	return err
}

// ruled notes on an objection what a court ruled, or is ErrNoObjection. A question is
// somebody else's.
func (c *Case) ruled(by *Later) error {
	if by == nil || by.Ruling == nil || by.Ruling.Outcome == policy.Answered {
		return nil
	}
	i := slices.IndexFunc(c.Objections, func(o Objection) bool { return o.Outcome == "" && hexDigest(o.Digest) == by.Ruling.Digest })
	if i < 0 {
		return ErrNoObjection
	}
	c.Objections = slices.Clone(c.Objections)
	c.Objections[i].Outcome, c.Objections[i].Ruling = by.Ruling.Outcome, by.Leaf
	return nil
}

// Tell does what is due for the cases whose persons are told before custodians decide, and
// returns for how many. A case that fails is left for the next run: it stays closed.
func (r *Registrar) Tell(ctx context.Context) (told int, failed error) {
	now := r.Now()
	for from := (Cursor{}); ; {
		page, err := r.Cases.List(ctx, ForTelling, now, from, pageSize)
		if err != nil {
			return told, errors.Join(failed, err)
		}
		for _, due := range page {
			did, err := r.tellCase(ctx, due.ID)
			if err != nil {
				failed = errors.Join(failed, err)
			} else if did {
				told++
			}
			from = ForTelling.After(due)
		}
		if len(page) < pageSize {
			return told, failed
		}
	}
}

// tellCase does what is due for one case, and reports whether anything was.
func (r *Registrar) tellCase(ctx context.Context, id string) (did bool, err error) {
	c, err := r.Cases.Case(ctx, id)
	if err != nil || !c.toTell() {
		return false, err
	}
	if !c.First.Shown {
		duties, err := r.Duties(ctx, c, LetterFirst, c.toBeTold())
		if err != nil {
			return false, err
		}
		if c, err = r.Cases.Apply(ctx, id, func(c Case) (Change, error) { return c.show(duties, r.Now()) }); err != nil {
			return false, err
		}
		did = true
	}
	if !c.toTell() {
		return did, nil
	}
	mailed, err := r.Cases.Mailed(ctx, id, LetterFirst)
	if err != nil {
		return did, err
	}
	reached := true
	for _, m := range mailed {
		switch m.Outcome {
		case MailWaiting:
			if c.First.Leaf == 0 && r.Now().Before(c.First.TellBy) {
				return did, nil
			}
			reached = false
		case MailRefused:
			reached = false
		}
	}
	_, err = r.Cases.Apply(ctx, id, func(c Case) (Change, error) { return c.tell(reached, r.Now()) })
	return err == nil, err
}

// notice is what the persons of those targets are told.
func (c *Case) notice(w *policy.Warrant, which []int, day time.Time) Notice {
	n := Notice{Which: which, Authority: w.Authority, FileNumber: w.FileNumber, LegalBasis: w.LegalBasis,
		Requester: cmp.Or(w.Requester.OrganisationID, w.Requester.Organisation), Fields: w.Fields, Leaf: c.RecordedLeaf, Day: day.UTC().Truncate(24 * time.Hour)}
	for _, i := range which {
		n.To = append(n.To, w.Targets[i])
	}
	return n
}

// Told is what the person of a target is told beside what [Notice] says, under the bundle
// that decided: of a target that was released or suspended, who agreed to it.
func (c *Case) Told(b *policy.Bundle, target int) policy.Told {
	t := b.Told(c.Submission, c.Warrant, target)
	if target >= len(c.Targets) || c.Targets[target].Round == 0 {
		return t
	}
	for who, a := range c.latest() {
		if !a.agrees(target) {
			continue
		}
		t.Agreed = append(t.Agreed, a.agreed(b, who))
	}
	slices.SortFunc(t.Agreed, func(a, b policy.ToldAgreed) int { return cmp.Compare(a.Name, b.Name) })
	return t
}

// MaxObjectionTexts is how many texts are read together: others have their digest alone.
const MaxObjectionTexts = 128

// Objections returns what was objected in a case. The words are encrypted to custodians and
// the requester, and those of rulings are not there.
func (r *Registrar) Objections(ctx context.Context, id string) ([]opening.Objection, error) {
	shown, err := r.ruledObjections(ctx, id)
	for i := range shown {
		shown[i].Ruling, shown[i].RuledOn, shown[i].Revocation = "", "", nil
	}
	return shown, err
}

// ruledObjections are those of a case, with the rulings of courts.
func (r *Registrar) ruledObjections(ctx context.Context, id string) ([]opening.Objection, error) {
	all, err := r.Cases.Objections(ctx, id)
	shown := make([]opening.Objection, len(all))
	for i, o := range all {
		shown[i] = opening.Objection{Target: o.Target, Lawyer: o.Lawyer, Day: o.Day.Format(time.DateOnly), Suspends: o.Suspends,
			Digest: hexDigest(o.Digest), Outcome: o.Outcome, Sealed: o.Sealed, RuledOn: o.RuledOn}
		if o.Ruled != nil {
			shown[i].Ruling, shown[i].Revocation = o.Ruled.Warrant, o.Ruled.Revocation
		}
	}
	return shown, err
}

// Coded says what the notice of a one-time code says; the code stays good.
func (r *Registrar) Coded(ctx context.Context, code string) (policy.Coded, error) {
	return r.Cases.Coded(ctx, policy.NoticeCode(code), r.Now())
}

// Object stores what a lawyer objects with a one-time code, encrypted to whom the notice
// names: that it is, nobody here can see. It returns its digest.
func (r *Registrar) Object(ctx context.Context, code string, sealed []byte) (digest [32]byte, err error) {
	if len(sealed) == 0 || len(sealed) > policy.MaxObjection {
		return digest, policy.ErrObjectionText
	}
	return sha256.Sum256(sealed), r.Cases.Object(ctx, policy.NoticeCode(code), sealed, r.Now())
}

// agreed is who gave an approval, by their name.
func (a *Approval) agreed(b *policy.Bundle, who string) policy.ToldAgreed {
	told := policy.ToldAgreed{Name: who}
	custodian := b.Custodian(who)
	if custodian != nil {
		told.Name = custodian.Name + ", " + custodian.Organisation
	}
	signed, err := opening.ParseApprovalUnverified(a.Signed)
	if err != nil || signed.Alternate == "" {
		return told
	}
	told.Name, told.Alternate = signed.Alternate, true
	if custodian == nil {
		return told
	}
	for _, alternate := range custodian.Alternates {
		if alternate.ID == signed.Alternate {
			told.Name = alternate.Name + ", " + alternate.Organisation
		}
	}
	return told
}

func hexDigest(d [32]byte) string { return hex.EncodeToString(d[:]) }

// shownFirst adds to a case file what custodians see of who was told first.
func (r *Registrar) shownFirst(ctx context.Context, c Case, f *opening.CaseFile) (err error) {
	if c.First.Leaf != 0 {
		leaf, lerr := r.loggedAs(ctx, c.First.Leaf, func(have proof.Leaf) proof.Leaf {
			return proof.ToldLeaf(time.Time{}, c.RecordedLeaf, c.First.Reached).On(have.Day)
		})
		if lerr != nil {
			return lerr
		}
		f.Told = &leaf
	}
	if len(c.Objections) > 0 {
		f.Objections, err = r.ruledObjections(ctx, c.ID)
	}
	return err
}
