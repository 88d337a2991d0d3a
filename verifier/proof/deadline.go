package proof

import (
	"time"
)

// What a deadline is of.
const (
	DeadlineNotice     = "notice"     // the persons are told: the day on which secrecy ends, or of the warrant where there is none
	DeadlineValidation = "validation" // an emergency is validated, or lapses: to the second
	DeadlineTold       = "told"       // the persons are told before anything is opened, or were not reached
	DeadlineExpiry     = "expiry"     // a preservation ends: the day until which it holds
)

// TellWithin is how many days after its warrant was recorded a person is told at the latest
// of a case that tells them first, or counts as not reached.
const TellWithin = 4

// Deadline is one that a case had at the time of an audit, and that passed.
type Deadline struct {
	Case int64  `json:"case"` // index of its recorded leaf
	What string `json:"what"` // [DeadlineNotice] …
	Due  string `json:"due"`  // the last day, or second, that was in time; as [Leaf.On] takes it
}

// overdue reports whether the deadline had passed.
func (d Deadline) overdue(at time.Time) bool {
	if len(d.Due) > len(dayLayout) {
		return d.Due < Second(at)
	}
	return d.Due < Day(at)
}

// deadlines are those that the case has still to meet.
func (c *auditedCase) deadlines() (all []Deadline) {
	if c.tookEffect() && !c.noticed {
		all = append(all, Deadline{c.index, DeadlineNotice, max(c.secrecyEnds, c.day)})
	}
	if c.noticeDays > 0 && c.told == "" && c.open() {
		all = append(all, Deadline{c.index, DeadlineTold, daysAfter(c.day, TellWithin)})
	}
	// What stopped before anything was delivered needs no validation any more.
	if by := c.validBy(); !by.IsZero() && !c.validated && !c.lapsed && (c.tookEffect() || !c.over()) {
		all = append(all, Deadline{c.index, DeadlineValidation, Second(by)})
	}
	if c.kind.Holds && !c.kind.Earlier && c.holdEnds != "" && !c.over() {
		all = append(all, Deadline{c.index, DeadlineExpiry, c.holdEnds})
	}
	return all
}

// Overdue are the cases whose persons were to be told before the time of the audit, and
// were not.
func (r *Report) Overdue() []int64 {
	cases := []int64{}
	for _, d := range r.Deadlines {
		if d.What == DeadlineNotice {
			cases = append(cases, d.Case)
		}
	}
	return cases
}
