package custodian

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// ErrCaseMismatch is the refusal of a case that is not the one in the public log.
var ErrCaseMismatch = refusal.New(refusal.Denied, "custodian.case_mismatch",
	"what the registrar shows is not what the public log recorded: do not approve, and tell the other custodians")

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
	Case     string          `json:"case"`
	Findings []string        `json:"findings"` // what was checked and holds, in sentences
	Warrant  *policy.Warrant `json:"warrant"`
	Posts    []Post          `json:"posts"` // by target

	file       opening.CaseFile // what the registrar showed
	since      []*policy.Bundle // from that of the case to the one in force
	unreviewed bool
	checkpoint int64     // size of the cosigned tree that holds the leaf
	from       time.Time // when the notice period is over
}

// Post is what a target's evidence is about: where a custodian can read it, and
// what it has to hash to.
type Post struct {
	URL    string    `json:"url"`
	SHA256 string    `json:"sha256"` // hex, as sha256sum prints it
	At     time.Time `json:"at"`
}

// String is for a person at a terminal.
func (r *Review) String() string {
	w := r.Warrant
	s := fmt.Sprintf("case %s\n%s of %s (%s), file %s\nlegal basis: %s\noffence: %s (%s), at most %d months\ngrounds: %s\nnecessity: %s\nproportionality: %s\nasked for: %s, by %s, %s\nsecret until %s: %s\n",
		r.Case, w.Kind, w.Authority, w.Jurisdiction, w.FileNumber, w.LegalBasis, w.Offence, w.OffenceClass, w.MaxPenaltyMonths,
		w.Grounds, w.Necessity, w.Proportionality, strings.Join(w.Fields, ", "), w.Requester.Name, w.Requester.Organisation,
		w.Secrecy.Ends.UTC().Format(time.DateOnly), w.Secrecy.Reason)
	for i, t := range w.Targets {
		s += fmt.Sprintf("target: %s on %s\n", t.Pseudonym, t.Platform)
		if i < len(r.Posts) {
			p := r.Posts[i]
			s += fmt.Sprintf("  for the post %s of %s, sha256 %s\n", p.URL, p.At.Format(time.RFC3339), p.SHA256)
		}
	}
	for _, f := range r.Findings {
		s += "✓ " + f + "\n"
	}
	return document.Printable(s)
}

// Review checks a case, as the registrar shows it, on the custodian's own machine,
// as promises 3 and 8 of SECURITY.md have it. It trusts the registrar for nothing.
// since are the bundles from that of the case to the one in force
// ([rules.History.Since]): the case is judged by the first, whatever came after,
// unless a later one stops it. The refusals are [ErrOtherBundle],
// a [*RulesError], [policy.ErrStopped], [ErrCaseMismatch],
// [opening.ErrRecordMismatch] and those of package proof.
func (c *Custodian) Review(f opening.CaseFile, since []*policy.Bundle, at time.Time) (*Review, error) {
	if len(since) == 0 || f.Bundle != since[0].Hash() {
		return nil, ErrOtherBundle
	}
	// 1. The rules, decided again here.
	d := policy.Decide(f.Submission, since[0], at)
	if !d.Allowed {
		return nil, &RulesError{d.Refusal, d.Rules}
	}
	if err := policy.Stopped(since[1:], f.Leaf.Index, d.Warrant.Authority); err != nil {
		return nil, err
	}
	r := &Review{Case: f.Case, Warrant: d.Warrant, file: f, since: since}
	for _, p := range d.Posts {
		r.Posts = append(r.Posts, Post{p.URL, hex.EncodeToString(p.Digest[:]), p.At})
	}
	r.found("the warrant is signed by %s and the rules allow it (%s)", d.Warrant.Authority, strings.Join(d.Rules, ", "))
	r.found("every target has evidence signed by its platform, with the token as presented")
	// 2. The public log holds it, under a quorum of witnesses.
	if err := r.checkLog(d); err != nil {
		return nil, err
	}
	r.found("the public log recorded it at entry %d, cosigned by a quorum of witnesses", f.Leaf.Index)
	// 3. Each sealed record is the one that the token committed to when it was issued.
	if len(f.Targets) != len(d.Warrant.Targets) {
		return nil, ErrCaseMismatch
	}
	for i, t := range f.Targets {
		want := d.Warrant.Targets[i]
		if t.Pseudonym != want.Pseudonym || t.Platform != want.Platform || !opening.Commits(t, nil, d.Tokens[i].Commitment) {
			return nil, opening.ErrRecordMismatch
		}
	}
	r.found("each sealed record is the one that the token committed to: nobody is framed")
	return r, nil
}

// checkLog checks that the public log recorded this very warrant, and notes from
// when on it may be approved.
func (r *Review) checkLog(d policy.Decision) error {
	f := r.file
	logs, err := opening.Logs(r.since...)
	if err != nil {
		return err
	}
	leaf, size, err := opening.CheckRecorded(logs, f.Leaf)
	if err != nil {
		return err
	}
	r.checkpoint = size
	if d.NoticePeriod > 0 {
		day, err := time.Parse(time.DateOnly, leaf.Day)
		if err != nil {
			return ErrCaseMismatch
		}
		r.from = day.AddDate(0, 0, 1).Add(d.NoticePeriod) // whole days after the day of the leaf
	}
	if len(f.Salt) != 32 {
		return ErrCaseMismatch
	}
	want, err := policy.RecordedLeaf(f.Submission.Warrant, d.Warrant, [32]byte(f.Salt), f.Bundle, r.since[0].LeafQuorum(d.Quorum, leaf.Quorum), leaf.Day).Marshal()
	if err != nil || !bytes.Equal(want, f.Leaf.Bytes) {
		return ErrCaseMismatch
	}
	return nil
}

// Unreviewed is a case of which nothing was checked but whose rules it is under:
// one may decline what does not even pass review.
func (c *Custodian) Unreviewed(f opening.CaseFile, since []*policy.Bundle) (*Review, error) {
	if len(since) == 0 || f.Bundle != since[0].Hash() {
		return nil, ErrOtherBundle
	}
	w, err := policy.ParseUnverified(f.Submission.Warrant)
	if err != nil {
		return nil, err
	}
	return &Review{Case: f.Case, Warrant: w, file: f, since: since, checkpoint: f.Leaf.Index + 1, unreviewed: true}, nil
}

func (r *Review) found(format string, args ...any) {
	r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
}
