package custodian

import (
	"fmt"
	"time"

	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
)

// toldFirst checks that the persons were told before custodians decide, where the rules want
// it, and that their days are over: by the public log, whatever the registrar says. What was
// objected, and on which day, is the registrar's word: an audit of the log shows one that it leaves
// out. That it came in time to suspend follows from the day, and what a court ruled from its ruling.
func (r *Review) toldFirst(d policy.Decision, at time.Time) error {
	days := d.NoticeDays()
	if days != r.days {
		return ErrCaseMismatch
	}
	say := func(format string, args ...any) { r.Notices = append(r.Notices, fmt.Sprintf(format, args...)) }
	if days > 0 {
		r.first = policy.ErrNoticePeriod
		if r.file.Told == nil {
			say("the persons are told first, and were not yet: they will have %d days to object", days)
			return nil
		}
		logs, err := opening.Logs(r.since...)
		if err != nil {
			return err
		}
		told, err := opening.CheckTold(logs, *r.file.Told, r.file.Leaf, days)
		if err != nil {
			return ErrCaseMismatch
		}
		if told.Reached {
			r.found("the persons were told on %s, and custodians may approve from %s on", told.Day, told.From)
		} else {
			say("NOT REACHED: the notice is on the persons' pages since %s at the latest, and nobody can say that they could have seen it; weigh that they could not object", told.Day)
		}
		if !told.Before(at) {
			r.first = nil
		}
		for i, o := range r.Objections {
			r.Objections[i].Suspends = o.Suspends || o.Day < told.From
		}
	}
	for _, o := range r.Objections {
		if o.Suspends && o.Outcome == "" {
			r.first = policy.ErrObjection
		}
	}
	return nil
}

// Objection is what a person, or a lawyer for them, said against the order, by the registrar's
// word but for the text and for what a court ruled.
type Objection struct {
	opening.Objection
	Text     string `json:"text,omitempty"`     // empty: it was dropped, or this folder's key does not open it
	Grounds  string `json:"grounds,omitempty"`  // of the court's ruling
	Unproven bool   `json:"unproven,omitempty"` // the registrar says that a court has ruled, and shows no ruling of it
}

// objections opens what was objected. A text that is not the one of its digest is no text, and
// an outcome without the ruling of the court is none.
func (c *Custodian) objections(f opening.CaseFile, since []*policy.Bundle) (all []Objection, err error) {
	if len(f.Objections) == 0 {
		return nil, nil
	}
	identity, err := c.exhibitIdentity()
	if err != nil {
		return nil, err
	}
	for _, o := range f.Objections {
		said := Objection{Objection: o}
		if digest(o.Sealed) == o.Digest {
			said.Text = exhibit.OpenText(o.Sealed, identity)
		}
		if ruling := o.Ruled(f.Submission.Warrant, since...); ruling != nil {
			said.Grounds = ruling.Grounds
		} else {
			said.Outcome, said.Unproven = "", o.Outcome != ""
		}
		said.Sealed, said.Ruling, said.Revocation = nil, "", nil
		all = append(all, said)
	}
	return all, nil
}

// String is for a person at a terminal.
func (o Objection) String() string {
	who, what := "the person", "no court has ruled on it"
	if o.Unproven {
		what = "the service says that a court has ruled on it, and shows no ruling that proves it"
	}
	if o.Lawyer {
		who = "a lawyer for the person"
	}
	switch {
	case o.Outcome != "":
		what = "a court has ruled: " + o.Outcome
	case o.Suspends:
		what += ", and nothing goes on before"
	default:
		what += "; it came when the days were over, or after the opening, and stops nothing"
	}
	text := "    its text cannot be read with the key of this folder, or was dropped\n"
	if o.Text != "" {
		text = Quoted(document.Visible(o.Text))
	}
	if o.Outcome != "" {
		text += "  because:\n" + Quoted(document.Visible(o.Grounds))
	}
	return document.Printable(fmt.Sprintf("! %s of target %d objected on %s: %s (digest %s)\n", who, o.Target+1, o.Day, what, o.Digest)) + text
}
