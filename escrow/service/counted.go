package service

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/spans"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/escrow/web"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/rules"
)

// tampered are the codes by which what was published or seen before is denied now, and watched
// those of the faults that alarms are about, with them (deploy/prometheus/alerts.yml). They are
// counted from zero: of a count that begins with its first event no increase is seen.
var (
	tampered = []string{translog.ErrRollback.Code, translog.ErrFork.Code, translog.ErrForgot.Code, keep.ErrRollback.Code,
		postgres.ErrDamaged.Code, proof.ErrSplitView.Code, rules.ErrBroken.Code}
	watched = append(web.Watched(), tampered...)
)

// counted is what happened since the process started, for the metrics. What is of
// people, and each call to Vault by the side that serves them, is held back until the
// day is over; what failed on our side until the minute is.
type counted struct {
	requests *tally[string] // by route
	refusals *tally[string] // by code
	faults   *tally[string] // by code
	logouts  *tally[string] // of tokens, by outcome
	calls    *tally[call]
	failures *tally[call]
	known    []call // that there can be
}

// call is a kind of call to Vault.
type call struct{ side, operation string }

func newCounted() *counted {
	const day = 24 * time.Hour
	return &counted{requests: newTally[string](day), refusals: newTally[string](day), faults: newTally[string](time.Minute), logouts: newTally[string](day),
		calls: newTally[call](day), failures: newTally[call](time.Minute)}
}

// answered is web.Config.Answered.
func (s *Service) answered(route string, took time.Duration) {
	s.counted.requests.add(s.Now(), route, web.OfPeople(route), took)
}

// refused is web.Config.Refused. What is tampered with is a fault, whatever was answered.
func (s *Service) refused(route string, codes []string, fault bool) {
	for i, code := range codes {
		if fault || slices.Contains(tampered, code) {
			s.counted.faults.add(s.Now(), code, true, 0)
		} else if i == 0 {
			s.counted.refusals.add(s.Now(), code, web.OfPeople(route), 0)
		}
	}
}

// countCalls counts the calls of a side to Vault, if it is one.
func (s *Service) countCalls(side string, keys any) {
	told, ok := keys.(interface{ OnCall(vault.Called) })
	if !ok {
		return // the sandbox's keyring
	}
	for _, o := range vault.Operations {
		s.counted.known = append(s.counted.known, call{side, o})
	}
	told.OnCall(func(ctx context.Context, operation string, took time.Duration, failed bool) {
		s.Traces.Called(ctx, spans.OfCall(operation), took, failed)
		c, now := call{side, operation}, s.Now()
		s.counted.calls.add(now, c, side == sideIssue, took)
		if failed {
			s.counted.failures.add(now, c, true, 0)
		}
	})
}

// The sides, as the sections of the configuration name them.
const (
	sideIssue    = "issue"
	sideDisclose = "disclose"
	sideKeep     = "keep"
)

// done is how the regular jobs went. It is safe for concurrent use.
type done struct {
	mu   sync.Mutex
	jobs map[string]outcomes
}

// outcomes are those of one job.
type outcomes struct {
	began    time.Time         // the last time
	last     time.Time         // likewise, of those that succeeded; before there is one, the first time
	failures map[string]uint64 // by each code of why
}

// begun notes that a job is about to be done.
func (d *done) begun(job string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.jobs[job]
	if o.began = time.Now(); o.last.IsZero() {
		o.last = o.began
	}
	d.set(job, o)
}

// ended notes how it went. How long it took, which tells how much came meanwhile, is not kept.
func (d *done) ended(job string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := d.jobs[job]
	if err == nil {
		o.last = o.began
		d.set(job, o)
		return
	}
	codes := refusal.Codes(err)
	if codes == nil {
		codes = []string{"other"}
	}
	d.add(job, codes)
}

// doubted counts what a witness says against the log, of the job that publishes it. The job does
// not fail by one witness's word.
func (d *done) doubted(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add("cases", slices.DeleteFunc(refusal.Codes(err), func(code string) bool { return !slices.Contains(tampered, code) }))
}

// add counts failures of a job, under mu.
func (d *done) add(job string, codes []string) {
	o := d.jobs[job]
	failures := maps.Clone(o.failures) // a map that was handed out is not changed
	if failures == nil {
		failures = make(map[string]uint64)
	}
	for _, code := range codes {
		failures[code]++
	}
	o.failures = failures
	d.set(job, o)
}

func (d *done) set(job string, o outcomes) {
	if d.jobs == nil {
		d.jobs = make(map[string]outcomes)
	}
	d.jobs[job] = o
}

func (d *done) all() map[string]outcomes {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make(map[string]outcomes, len(d.jobs))
	for name, o := range d.jobs {
		all[name] = o
	}
	return all
}
