package disclosetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// TestOrders lets courts, custodians, a requester and clocks do what they like with the
// orders in a store, together and one after the other, while processes die. Whatever happened,
// the public log tells a lawful story, and the store the same one:
//
//	I1   what a requester gets, and what the key service opens, is in the log before
//	I3   each target has a quorum of distinct custodians
//	I8   a target moves forward only
//	I15  where something failed, nothing more was revealed than what the log allows
//	I17  what was stopped before its release is never released
//	I18  no clock revives what is over, and the log's days never go back
//	I24  each decision of a custodian is a leaf, and no leaf names a person
//
// Each store that open returns is empty. It is so many histories, or as many as
// -rapid.checks says, and as many again while none of them came to a release and to a stop.
func TestOrders(t *testing.T, histories int, open func(*testing.T) (s Store, done func())) {
	short(t, histories)
	outcomes := make(map[disclose.TargetState]int)
	tried := func() bool {
		return outcomes[disclose.TargetReleased] > 0 && outcomes[disclose.TargetWithdrawn]+outcomes[disclose.TargetStopped] > 0
	}
	for round := 0; round == 0 || round < 10 && !tried(); round++ {
		rapid.Check(t, func(rt *rapid.T) { oneHistory(t, rt, open, outcomes) })
	}
	if t.Log(outcomes); !tried() {
		t.Error("nothing is released, or nothing stopped: this tries nothing")
	}
}

// oneHistory counts what became of its targets.
func oneHistory(t *testing.T, rt *rapid.T, open func(*testing.T) (s Store, done func()), outcomes map[disclose.TargetState]int) {
	t.Helper()
	s, done := open(t)
	defer done()
	r, err := begin(t.Context(), rt, s)
	if err != nil {
		rt.Fatal(err, errors.Unwrap(err))
	}
	rt.Repeat(map[string]func(*rapid.T){
		"one": func(rt *rapid.T) { r.together(rt, 1) }, "together": func(rt *rapid.T) { r.together(rt, 6) },
		"race": r.race, "time": r.time, "": r.check,
	})
	r.end()
	for _, c := range r.history.cases {
		for _, s := range c.targets {
			outcomes[s]++
		}
	}
}

// short makes rapid run no more than so many histories in this test, unless it was told how many.
func short(t *testing.T, histories int) {
	t.Helper()
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "rapid.checks" })
	if told {
		return
	}
	value := flag.Lookup("rapid.checks").Value
	was := value.String()
	if err := value.Set(strconv.Itoa(histories)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = value.Set(was) }) // it was read from there
}

// run is one history.
type run struct {
	*orders
	history *history
	*rapid.T
	ctx   context.Context
	heard int // of unsealed

	latest time.Time // that any clock showed
}

func begin(ctx context.Context, rt *rapid.T, s Store) (*run, error) {
	o, err := newOrders(ctx, s)
	if err != nil {
		return nil, err
	}
	o.random, o.failing = rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "crashes"), 1)), true //nolint:gosec // crashes that can be repeated
	return &run{orders: o, history: &history{cases: map[int64]*pastCase{}}, T: rt, ctx: ctx, latest: o.now()}, nil
}

// mine are the warrants of this run whose case is known.
func (r *run) mine(is func(policy.Kind) bool) (all []filed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.filed {
		if f.id != "" && is(policy.KindOf(f.warrant.Kind)) {
			all = append(all, f)
		}
	}
	return all
}

// deed is what somebody does; its error is why it was refused, and nothing else.
type deed func() error

// together draws deeds, and does them at the same time, each in a process of its own; some
// wait until a package is being made.
func (r *run) together(rt *rapid.T, most int) {
	var all, later []deed
	for n := range rapid.IntRange(1, most).Draw(rt, "deeds") {
		if d := r.draw(rt, n); rapid.IntRange(0, 2).Draw(rt, "meanwhile") > 0 {
			all = append(all, d)
		} else {
			later = append(later, d)
		}
	}
	r.do(rt, all, later)
}

// race lets custodians decide on an order that was filed just now, while its court takes it
// back or nobody knows whether it was filed.
func (r *run) race(rt *rapid.T) {
	if err := r.order(rt)(); err != nil && refusal.Of(err) == nil {
		rt.Fatal(err)
	}
	cases := r.mine(func(k policy.Kind) bool { return k.Opens })
	if len(cases) == 0 {
		return // it was not filed
	}
	f := cases[len(cases)-1]
	var all []deed
	for _, who := range custodians {
		yes := rapid.SliceOfN(rapid.SampledFrom([]bool{true, true, true, false}), 3, 3).Draw(rt, who)
		all = append(all, func() error { return r.decide(r.ctx, f.id, who, func(i int) bool { return yes[i] }) })
	}
	r.do(rt, all, []deed{r.later(rt, "stop", f), r.later(rt, "stop", f)})
}

// do does deeds at the same time, and others while packages are being made.
func (r *run) do(rt *rapid.T, all, meanwhile []deed) {
	r.meanwhile = meanwhile
	var wg sync.WaitGroup
	failed := make([]error, len(all))
	for i, d := range all {
		wg.Go(func() { failed[i] = d() })
	}
	wg.Wait()
	for d := r.next(); d != nil; d = r.next() {
		failed = append(failed, d())
	}
	failed, r.done = append(failed, r.done...), nil
	for _, err := range failed {
		if err != nil && refusal.Of(err) == nil {
			rt.Fatal(err)
		}
	}
}

func (r *run) draw(rt *rapid.T, n int) deed {
	what := rapid.SampledFrom([]string{"order", "order", "decide", "decide", "decide", "decide", "deliver", "stop", "validate", "again", "expire", "lapse", "notify", "erase"}).Draw(rt, fmt.Sprint("deed ", n))
	cases := r.mine(func(k policy.Kind) bool { return k.Opens })
	if len(cases) == 0 {
		what = "order"
	}
	switch p := r.process(); what {
	case "order":
		return r.order(rt)
	case "decide":
		f := one(rt, "case", cases)
		who, yes := rapid.SampledFrom(custodians).Draw(rt, "custodian"), rapid.SliceOfN(rapid.SampledFrom([]bool{true, true, false}), 3, 3).Draw(rt, "votes")
		return func() error { return r.decide(r.ctx, f.id, who, func(i int) bool { return yes[i] }) }
	case "deliver":
		f := one(rt, "case", cases)
		return func() error { _, err := r.deliver(r.ctx, f.id); return err }
	case "stop", "validate":
		return r.later(rt, what, one(rt, "case", cases))
	case "again": // a warrant whose answer was lost
		f := one(rt, "warrant", r.filed)
		return func() error { return r.file(r.ctx, f) }
	case "erase":
		label := one(rt, "person", r.people).record.Label
		return func() error { r.mu.Lock(); defer r.mu.Unlock(); r.erased[label] = true; return nil }
	default:
		job := map[string]func(context.Context) (int, error){"expire": p.Expire, "lapse": p.Lapse, "notify": p.Notify}[what]
		return func() error { _, err := job(r.ctx); return err }
	}
}

// one of all, which rapid names by its place.
func one[T any](rt *rapid.T, what string, all []T) T {
	return all[rapid.IntRange(0, len(all)-1).Draw(rt, what)]
}

// order files a production, or an emergency that nobody validated, about up to three people.
func (r *run) order(rt *rapid.T) deed {
	kind, by := policy.Production, "court"
	if rapid.Bool().Draw(rt, "emergency") {
		kind, by = policy.Emergency, "prosecutor"
	}
	people := rapid.SliceOfNDistinct(rapid.IntRange(0, len(r.people)-1), 1, 3, rapid.ID).Draw(rt, "people")
	spoiled := rapid.IntRange(0, 5).Draw(rt, "spoiled") // place of the target whose evidence nobody can read, if there is one
	f, err := r.sign(kind, by, func(w *policy.Warrant) {
		for i, p := range people {
			t := r.people[p].target()
			if i == spoiled {
				t.Evidence = digestOf(broken + string(t.Pseudonym))
			}
			w.Targets = append(w.Targets, t)
		}
	})
	if err != nil {
		rt.Fatal(err, errors.Unwrap(err))
	}
	return func() error { return r.file(r.ctx, f) }
}

// later files a warrant about an earlier one: of all its targets, or of one.
func (r *run) later(rt *rapid.T, what string, earlier filed) deed {
	kind, by := policy.Validation, "court"
	if what == "stop" {
		kind, by = policy.Withdrawal, earlier.warrant.Authority
		if rapid.Bool().Draw(rt, "annulled") {
			kind, by = policy.Annulment, "appeal"
		}
	}
	some := what == "stop" && rapid.Bool().Draw(rt, "one target")
	f, err := r.sign(kind, by, func(w *policy.Warrant) {
		hash := policy.Hash(earlier.Warrant)
		if w.Earlier = fmt.Sprintf("%x", hash); some {
			w.Targets = []policy.Target{{Pseudonym: earlier.warrant.Targets[0].Pseudonym, Platform: platform}}
		}
	})
	if err != nil {
		rt.Fatal(err, errors.Unwrap(err))
	}
	return func() error { return r.file(r.ctx, f) }
}

// time passes, or a clock is set back: to another day, or by the minutes that an auditor forgives.
func (r *run) time(rt *rapid.T) {
	const day = 24 * time.Hour
	by := rapid.SampledFrom([]time.Duration{-26 * time.Hour, -proof.MaxSkew, -time.Minute, time.Second, time.Hour, time.Hour, 3 * time.Hour, 7 * time.Hour,
		20 * time.Hour, 30 * time.Hour, 50 * time.Hour, 21 * day, 32 * day}).Draw(rt, "time")
	at := r.now().Add(by)
	if right := r.latest.Add(-proof.MaxSkew); at.Before(right) && proof.Day(at) == proof.Day(r.latest) {
		at = right
	}
	if at.After(r.latest) {
		r.latest = at
	}
	r.clock.Store(at.Unix())
}

// check reads what the log says since, and holds the store and what was revealed against it.
func (r *run) check(rt *rapid.T) {
	size, err := r.store.Size(r.ctx)
	if err != nil {
		rt.Fatal(err)
	}
	leaves, err := r.store.Leaves(r.ctx, r.history.size, size)
	if err != nil {
		rt.Fatal(err)
	}
	r.history.read(leaves)
	for _, raw := range leaves { // I24
		for _, p := range r.people {
			if text := string(raw); strings.Contains(text, string(p.pseudonym)) || strings.Contains(text, p.record.Label) || strings.Contains(text, platform) {
				rt.Fatalf("a leaf names a person: %s", text)
			}
		}
	}
	byLabel := map[string][]target{}
	for _, f := range r.mine(func(k policy.Kind) bool { return k.Evidence }) {
		c, err := r.store.Case(r.ctx, f.id)
		if err != nil {
			rt.Fatal(err)
		}
		r.history.compare(c, r.now())
		r.decisions(rt, c)
		for i, t := range c.Warrant.Targets {
			label := r.named(t.Pseudonym).record.Label
			byLabel[label] = append(byLabel[label], target{c, i})
		}
	}
	for _, u := range r.unsealed[r.heard:] { // I1: cosigned before the half is opened
		if !slices.ContainsFunc(byLabel[u.label], func(t target) bool { leaf := r.history.decidedAt(t); return leaf > 0 && leaf < u.size }) {
			rt.Fatalf("the half of a record was opened, and %d leaves that were cosigned do not say why", u.size)
		}
	}
	if r.heard = len(r.unsealed); len(r.history.faults) > 0 {
		rt.Fatal(strings.Join(r.history.faults, "\n"))
	}
}

// decisions: each that a custodian made is a leaf of the case (I24).
func (r *run) decisions(rt *rapid.T, c disclose.Case) {
	past := r.history.cases[c.RecordedLeaf]
	if past == nil || len(past.decisions) != len(c.Approvals) {
		rt.Fatalf("%d custodians decided, and the log has %v", len(c.Approvals), past)
	}
	for _, a := range c.Approvals {
		if _, logged := past.decisions[a.Leaf]; !logged {
			rt.Fatalf("the decision of %s is not logged", a.Custodian)
		}
	}
}

// target is one of a case, as the warrant counts.
type target struct {
	disclose.Case
	at int
}

// end is when all is well again: whatever was due is done, whoever asks gets what was released
// and no more, and an auditor finds nothing.
func (r *run) end() {
	r.mu.Lock()
	r.failing = false
	mine := slices.Clone(r.filed)
	r.mu.Unlock()
	r.check(r.T)
	last, err := time.Parse(time.DateOnly, r.history.day)
	if err != nil {
		r.Fatal(err)
	}
	r.clock.Store(max(r.clock.Load(), last.AddDate(0, 0, 1).Unix())) // and no clock is behind the log
	for _, f := range mine {
		if err := r.file(r.ctx, f); err != nil && refusal.Of(err) == nil {
			r.Fatal(err)
		}
	}
	p := r.process()
	for _, job := range []func(context.Context) (int, error){p.Lapse, p.Expire, p.Notify} {
		if _, err := job(r.ctx); err != nil {
			r.Fatal(err)
		}
	}
	for _, f := range r.mine(func(k policy.Kind) bool { return k.Opens }) {
		r.delivered(f)
		r.reviewed(f)
	}
	if _, err := p.Clear(r.ctx); err != nil {
		r.Fatal(err)
	}
	r.check(r.T)
	leaves, err := r.store.Leaves(r.ctx, 0, r.history.size)
	if err != nil {
		r.Fatal(err)
	}
	report, err := audit(r.ctx, leaves, r.bundle, r.now())
	if err == nil {
		return
	}
	for _, f := range report.Findings {
		r.Logf("%s: %s", f.Code, storyOf(leaves, f.Index))
	}
	r.Fatal(err, errors.Unwrap(err))
}

// reviewed shows a case to a custodian: whatever became of some targets, the others are shown.
func (r *run) reviewed(f filed) {
	shown, err := r.process().Review(r.ctx, f.id)
	if err != nil && !errors.Is(err, disclose.ErrWithdrawn) && !errors.Is(err, disclose.ErrAnnulled) && !errors.Is(err, disclose.ErrLapsed) {
		r.Fatalf("a case is not shown: %v", err)
	}
	c, caseErr := r.store.Case(r.ctx, f.id)
	if caseErr != nil {
		r.Fatal(caseErr)
	}
	for _, a := range c.Approvals {
		if !r.history.cases[c.RecordedLeaf].decisions[a.Leaf] && slices.Contains(shown.Approvals, a.Signed) {
			r.Fatalf("the decision of %s is shown before a leaf opens it", a.Custodian)
		}
	}
	yes, no, untold := c.Votes()
	if told := len(r.history.cases[c.RecordedLeaf].decisions); yes+no > told || yes+no+untold > len(c.Approvals) {
		r.Fatalf("%d agreed and %d declined are told of, and leaves opened %d", yes, no, told)
	}
	if sum, sumErr := r.store.Summary(r.ctx, f.id); sumErr != nil || sum != c.Summary() {
		r.Fatalf("%+v is listed, and is %+v: %v", sum, c.Summary(), sumErr)
	}
	if err == nil && (len(shown.Targets) != len(f.warrant.Targets) || len(shown.States) != len(shown.Targets)) {
		r.Fatalf("%d targets are shown, and %d states", len(shown.Targets), len(shown.States))
	}
}

// delivered asks for what was released of a case. I1: it is what the log says, under its hash.
func (r *run) delivered(f filed) {
	d, err := r.deliver(r.ctx, f.id)
	r.check(r.T)
	c, caseErr := r.store.Case(r.ctx, f.id)
	if caseErr != nil {
		r.Fatal(caseErr)
	}
	past := r.history.cases[c.RecordedLeaf]
	if err != nil {
		if refusal.Of(err) == nil || past.opened() > 0 {
			r.Fatalf("what was released is not delivered: %v", err)
		}
		return
	}
	opened, err := openedBy(d)
	if err != nil {
		r.Fatal(err)
	}
	for leaf, hash := range opened.packages {
		if past.released[leaf] != hash {
			r.Fatalf("a package that leaf %d does not hold", leaf)
		}
	}
	if n := past.opened() - len(past.barred); len(opened.targets) != n || (d.Barred != nil) != (n == 0) || d.Barred != nil && len(d.Approvals) > 0 {
		r.Fatalf("%d targets were delivered with %d approvals, and the log says %d", len(opened.targets), len(d.Approvals), n)
	}
	for i := range opened.targets {
		if c.Targets[i].Code != "" {
			r.Fatalf("target %d was delivered, and its use is forbidden: %s", i, c.Targets[i].Code)
		}
		if c.Targets[i].State != disclose.TargetReleased {
			r.Fatalf("target %d was delivered, and is %s", i, c.Targets[i].State)
		}
	}
}
