package custodian

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// ErrCaseMismatch is the refusal of a case that is not the one in the public log.
var ErrCaseMismatch = refusal.New(refusal.Denied, "custodian.case_mismatch",
	"what the registrar shows is not what the entry of the public log that it names holds: nothing was signed, and no honest custodian releases a share for it; ask again, and compare with another custodian if it stays so")

// RulesError is a refusal by the rules, with the ids of the policies that refused.
type RulesError struct {
	Refusal *refusal.Error
	Rules   []string
}

// Error returns code and sentence.
func (e *RulesError) Error() string { return e.Refusal.Error() }

// Unwrap returns the refusal.
func (e *RulesError) Unwrap() error { return e.Refusal }

// Review is what a custodian's own checks of a case found.
type Review struct {
	Case       string          `json:"case"`
	Findings   []string        `json:"findings"` // what was checked and holds, in sentences
	Warrant    *policy.Warrant `json:"warrant"`
	Offence    string          `json:"offence,omitempty"`    // title of the offence in the catalogue of the rules of the case, or of its class
	Notices    []string        `json:"notices,omitempty"`    // what to weigh, in sentences
	Objections []Objection     `json:"objections,omitempty"` // what the persons said against it
	Targets    []Target        `json:"targets"`              // in the order of the warrant
	Read       bool            `json:"read"`                 // this folder has read what was published since it reviewed the case
	Said       []Said          `json:"said,omitempty"`       // by custodians beside their decisions, with the court's answers
	StandsIn   string          `json:"stands_in,omitempty"`  // for whom this folder answers and why, or why it does not
	Failed     string          `json:"failed,omitempty"`     // code of the first check that did not pass: nothing can be approved

	file     opening.CaseFile // what the registrar showed
	since    []*policy.Bundle // from that of the case to the one in force
	quorum   int              // that the leaf says; 0: none
	valid    bool             // the leaf says that it is an emergency validated before it was filed
	recorded time.Time        // when, as the leaf says: the day at least
	tree     opening.Tree     // cosigned, holds the leaf
	days     int              // that persons have to object, as the leaf says
	first    error            // why nothing is approved before the persons were told and had their days, or while one objects
	failed   error            // of the check
	exhibits bool             // there are any to read
	shown    shown
	kept     *kept // the folder's record of the review
	reading  bool  // which is not written yet

	// How many targets of this authority, and for this requester, the folder has reviewed
	// itself in the 30 days before.
	ownAuthority, ownRequester int
}

// Known says how old the registration of the post's platform is, and whether its key was stolen.
func (p Post) Known() string {
	since, s := p.Registered, "the rules list its platform"
	if !since.Platform.IsZero() {
		s = "its platform is registered since " + since.Platform.Format(time.DateOnly)
	}
	if !since.Key.IsZero() {
		s += ", and its key counts since " + since.Key.Format(time.DateOnly)
	}
	if said := since.Report(); said != "" {
		s += "; " + said
	}
	return s
}

// String is for a person at a terminal, in the order of reading: who asks, what was said, why
// it may be permitted, what was checked, and what was not and cannot be.
func (r *Review) String() string {
	var s strings.Builder
	s.WriteString(r.asksFor())
	s.WriteString("WHAT WAS SAID\n")
	for i := range r.Targets {
		s.WriteString(r.Target(i) + r.asks(i))
	}
	s.WriteString(r.grounds())
	return s.String()
}

// Summary is what the review says of the case as a whole, for a person at a terminal.
func (r *Review) Summary() string { return r.asksFor() + r.grounds() }

// About names what a decision of the case is signed about, as it was shown.
func (r *Review) About() string {
	s := fmt.Sprintf("%s, entry %d of the public log; sha256 of the order %s, of its rules %s", OrderOf(r.since[0], r.Warrant), r.shown.LeafIndex, r.shown.Warrant, r.shown.Bundle)
	if now := r.inForce().Hash(); now != r.shown.Bundle {
		s += ", of those in force now " + now
	}
	return s
}

// OrderOf is what people know an order by: whose it is, and its file number.
func OrderOf(b *policy.Bundle, w *policy.Warrant) string {
	return fmt.Sprintf("the order of %s, file %s", authorityOf(b, w), w.FileNumber)
}

// WhoAsks says who asks for what, in four sentences: the order, the offence, what is asked
// for, and until when it is secret.
func (r *Review) WhoAsks() [4]string {
	w := r.Warrant
	return [4]string{
		fmt.Sprintf("%s of %s (%s), file %s", w.Kind, r.authority(), w.Jurisdiction, w.FileNumber),
		r.offence(),
		fmt.Sprintf("asked for: %s, by %s, %s", asked(w), w.Requester.Name, r.since[0].RequesterName(w.Requester)),
		"secret until: " + w.Secrecy.Ends.UTC().Format(time.DateOnly),
	}
}

// asksFor says who asks for what.
func (r *Review) asksFor() string {
	facts := r.WhoAsks()
	long := func(fact string) string { return document.Folded("", "    ", document.Printable(fact)) }
	said := "WHO ASKS\n" + document.Printable("case "+r.Case+"\n") +
		long(facts[0]) + document.Printable(facts[1]+"\n") + long(facts[2]) + facts[3] + "\n"
	if r.StandsIn != "" {
		said += document.Printable("! " + r.StandsIn + "\n")
	}
	return said
}

// Grounds are what the order says of why it may be permitted: a name and the court's words, as
// document.Visible shows them.
func (r *Review) Grounds() (all [][2]string) {
	w := r.Warrant
	for i, said := range [len(groundNames)]string{w.LegalBasis, w.Offence, w.Grounds, w.Necessity, w.Proportionality, w.Secrecy.Reason, w.DatedBack} {
		if said != "" || i < len(groundNames)-1 {
			all = append(all, [2]string{groundNames[i], document.Visible(said)})
		}
	}
	return all
}

// groundNames are what Grounds are called; the last of them is not in every warrant.
var groundNames = [...]string{"legal basis", "offence", "grounds", "necessity", "proportionality", "reason for secrecy", "dated back, because"}

// grounds say why it may be permitted, what was checked and what was not.
func (r *Review) grounds() string {
	var s strings.Builder
	s.WriteString("WHY IT MAY BE PERMITTED\n")
	for _, said := range r.Grounds() {
		s.WriteString(said[0] + ":\n" + Quoted(said[1]))
	}
	for _, said := range r.Said {
		s.WriteString(said.String())
	}
	for _, n := range r.Notices {
		s.WriteString(document.Printable("! " + n + "\n"))
	}
	for _, o := range r.Objections {
		s.WriteString(o.String())
	}
	s.WriteString("WHAT THIS FOLDER CHECKED\n")
	for _, f := range r.Findings {
		s.WriteString(document.Printable("✓ " + f + "\n"))
	}
	if r.Failed != "" {
		s.WriteString("✗ " + r.Failed + "\n")
	}
	s.WriteString("WHAT IT DID NOT CHECK, AND CANNOT\n")
	for _, said := range Unchecked {
		s.WriteString("- " + said + "\n")
	}
	return s.String()
}

// Unchecked is what no custodian's program can check.
var Unchecked = [...]string{
	"who typed the post: the record says who enrolled under the pen name",
	"whether the words are meant, true or quoted: that is for you to judge",
	"whether the identity provider knew the right person",
	"what the registrar says of earlier filings and of where the case stands",
}

// authority is the name that the rules give who issued the order, and its id.
func (r *Review) authority() string { return authorityOf(r.since[0], r.Warrant) }

func authorityOf(b *policy.Bundle, w *policy.Warrant) string {
	if a := b.Authority(w.Authority); a != nil {
		return fmt.Sprintf("%s (%s)", a.Name, a.ID)
	}
	return w.Authority
}

// Review checks the case id, as the registrar shows it, on the custodian's own
// machine, as promises 3 and 8 of SECURITY.md have it, and keeps in the folder
// what was shown: only that can be decided on. It trusts the registrar for
// nothing. since are the bundles from that of the case to the one in force
// (rules.History.Since): the case is judged by the first, whatever came after,
// unless a later one stops it.
//
// A case that the public log holds and that does not pass comes with its refusal,
// a [*RulesError], [policy.ErrStopped], [ErrCaseMismatch] or
// [opening.ErrRecordMismatch]: it can be
// declined. Without a verified leaf there is no review and nothing to decline:
// [ErrOtherCase], [ErrOtherBundle], [ErrCaseMismatch], [opening.ErrNotLogged] or
// one of package proof. What contradicts an earlier review is [ErrNotAsReviewed]
// or [ErrWarrantTwice].
func (c *Custodian) Review(id string, f opening.CaseFile, since []*policy.Bundle, at time.Time) (*Review, error) {
	return c.ReviewAndRead(id, f, since, at, func(*Review) error { return nil })
}

// ReviewAndRead is [Custodian.Review], and reads with [Custodian.CheckExhibits] what was
// published, if the case passes: the review is kept when both are done, and if reading fails.
// What that fails for is returned with the review.
func (c *Custodian) ReviewAndRead(id string, f opening.CaseFile, since []*policy.Bundle, at time.Time, read func(*Review) error) (*Review, error) {
	r, err := c.check(id, f, since, at)
	if err != nil {
		return nil, err
	}
	if err := c.mayKeep(r, at); err != nil {
		return nil, err
	}
	failed := r.failed
	if failed == nil {
		r.reading = true
		failed = read(r)
		r.reading = false
		err = c.mayReplace(r) // it can have been answered meanwhile
	}
	if err == nil {
		err = c.keep(r)
	}
	if err != nil {
		return nil, err
	}
	return r, failed
}

// check makes a review of a case that the public log holds.
func (c *Custodian) check(id string, f opening.CaseFile, since []*policy.Bundle, at time.Time) (*Review, error) {
	switch {
	case f.Case != id:
		return nil, ErrOtherCase
	case len(since) == 0 || f.Bundle != since[0].Hash():
		return nil, ErrOtherBundle
	}
	w, err := policy.ParseUnverified(f.Submission.Warrant)
	if err != nil {
		return nil, err
	}
	r := &Review{Case: id, Warrant: w, file: f, since: since}
	if class := since[0].OffenceClass(w.OffenceClass); class != nil {
		r.Offence = class.Title
	}
	if offence := since[0].Offence(w.OffenceID); offence != nil {
		r.Offence = offence.Title
	}
	for _, t := range w.Targets {
		r.Targets = append(r.Targets, Target{PenName: string(t.Pseudonym), Platform: t.Platform, Role: t.Role})
	}
	if err := r.checkLog(); err != nil {
		return nil, err
	}
	r.Said = Statements(id, f.Submission.Warrant, f.Said, f.Absences, since...)
	r.StandsIn = c.standing(r, at)
	if r.shown, err = shownIn(f, w.Requester.DeliveryKey); err != nil {
		return nil, err
	}
	if r.Objections, err = c.objections(f, since); err != nil {
		return nil, err
	}
	if r.failed = r.judge(at); r.failed != nil {
		r.Failed = refusal.Of(r.failed).Code
	}
	return r, nil
}

// checkLog checks that the public log recorded this very warrant, under a quorum
// of witnesses.
func (r *Review) checkLog() error {
	f := r.file
	logs, err := opening.Logs(r.since...)
	if err != nil {
		return err
	}
	leaf, tree, err := opening.CheckRecorded(logs, f.Leaf)
	if err != nil {
		return err
	}
	r.quorum, r.valid, r.tree, r.days = leaf.Quorum, leaf.Validated, tree, leaf.NoticeDays
	if r.recorded, err = opening.RecordedAt(leaf); err != nil || len(f.Salt) != 32 {
		return ErrCaseMismatch
	}
	same := policy.RecordedLeaf(f.Submission.Warrant, r.Warrant, [32]byte(f.Salt), f.Bundle, leaf.Quorum, leaf.When(), leaf.Facets()...)
	same.NoticeDays = leaf.NoticeDays // judge compares it with what the rules give
	want, err := same.Marshal()
	if err != nil || !bytes.Equal(want, f.Leaf.Bytes) {
		return ErrCaseMismatch
	}
	return nil
}

// judge decides by the rules, again here, and holds each sealed record against
// what its token committed to when it was issued.
func (r *Review) judge(at time.Time) error {
	f := r.file
	logs, err := opening.Logs(r.since...)
	if err != nil {
		return err
	}
	// The rules in force say whose word the newest records of platforms are.
	known, err := f.Facts(logs, r.since[len(r.since)-1])
	if err != nil {
		return err
	}
	known.Recorded, known.RecordedAt = &f.Leaf.Index, r.recorded
	d := policy.Decide(f.Submission, r.since[0], known, at)
	if !d.Allowed {
		return &RulesError{d.Refusal, d.Rules}
	}
	if err := policy.Stopped(r.since[1:], f.Leaf.Index, d.Warrant.Authority, d.Warrant.Targets); err != nil {
		return err
	}
	if policy.KindOf(d.Warrant.Kind).Decided && !r.quorumFits(d) || r.valid != (d.Warrant.Kind == policy.Emergency && d.Validated) {
		return ErrCaseMismatch
	}
	if err := f.CheckValidated(logs, f.Leaf, r.since[0], at); err != nil {
		return err
	}
	r.notice(d)
	r.required(d)
	if err := r.toldFirst(d, at); err != nil {
		return err
	}
	if err := r.judgeTargets(d); err != nil {
		return err
	}
	rules := make([]string, len(d.Rules))
	for i, id := range d.Rules {
		rules[i] = fmt.Sprintf("%s (%s)", d.Grounds[i].Title, id)
	}
	r.found("the warrant is signed by %s, and the rules allow it: %s", r.authority(), strings.Join(rules, "; "))
	if d.Certificate != nil {
		r.found("the court signed with a certificate that the rules register, and its authorities' own lists did not revoke it by then: %s", policy.CertificateLine(d.Certificate))
	}
	passed := func(t Target) bool { return t.wrong == nil && t.Waits() }
	some, which, of := slices.ContainsFunc(r.Targets, passed), "", ""
	if slices.ContainsFunc(r.Targets, func(t Target) bool { return !passed(t) }) {
		which = " that waits and has no ✗"
		of = " of a target" + which
	}
	if some {
		r.found("every target%s has evidence signed by its platform, with the token as presented", which)
	}
	for i, t := range r.Targets {
		if said := d.Targets[i].Registered.Report(); said != "" {
			r.found("%s: %s", t.Platform, said)
		}
	}
	r.found("the public log recorded it at entry %d, cosigned by a quorum of witnesses", f.Leaf.Index)
	if some {
		r.found("each sealed record%s is the one that the token committed to, so it belongs to this pen name; that does not prove who wrote the post", of)
	}
	return nil
}

// quorumFits holds the quorum that the rules want against what the leaf says, as an auditor
// does. What was filed before can raise it, and the registrar need not say what that was, or
// has lost a part of it: more custodians than the warrant alone needs are no harm.
func (r *Review) quorumFits(d policy.Decision) bool {
	want := r.since[0].LeafQuorum(d.Quorum, r.quorum)
	return r.quorum == want || r.since[0].Version >= perTarget && r.quorum > want
}

func (r *Review) found(format string, args ...any) {
	r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
}
