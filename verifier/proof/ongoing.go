package proof

import (
	"time"

	"filippo.io/torchwood"
)

// Ongoing is an audit that goes on as a log grows: it replays each entry once, and says at any
// time what [Log.Audit] says of the whole. It is for one goroutine at a time, and checks no
// hash: that is for who hands it the entries ([EachEntry]).
type Ongoing struct {
	a       *auditor
	periods Periods
	next    int64
}

// NewOngoing returns an audit that has seen nothing. rules is as in [AuditOptions].
func NewOngoing(rules func(bundle string) (Rules, bool)) *Ongoing {
	return &Ongoing{a: newAuditor(AuditOptions{Rules: rules})}
}

// Add replays the next entry.
func (o *Ongoing) Add(e Entry) {
	of := entry{e.Leaf, e.Raw, e.Err, e.Newer}
	o.a.replay(o.next, of)
	o.periods.count(of)
	o.next++
}

// Report says what was found of the entries until now, under a checkpoint that was opened and is
// served as signed, judged at a time. Its Periods are right until the next Add. The error is the
// verdict, as of [Log.Audit].
func (o *Ongoing) Report(c torchwood.Checkpoint, signed []byte, at time.Time) (*Report, error) {
	o.a.o.At = at
	r := &Report{Checkpoint: c, Signed: signed, Cosigned: at, Leaves: o.next, Periods: &o.periods}
	o.a.report(r)
	if err := r.verdict(); err != nil {
		return r, err
	}
	return r, r.AddUp(r.Periods.Months())
}
