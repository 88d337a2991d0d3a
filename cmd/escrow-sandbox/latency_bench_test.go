package main

import (
	"context"
	"crypto/rand"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// BenchmarkFiledToOpened takes a case from its filing to its opening. The figure is what the
// registrar adds to the time that people need to read and to decide: until the order is under a
// cosigned checkpoint, from the decision that makes the quorum to the stored package, and until
// that can be fetched. The ratio is to 2 commits and 3 checkpoints, each measured alone beside
// each case.
func BenchmarkFiledToOpened(b *testing.B) {
	tb, err := world.Start(b.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: io.Discard, Progress: io.Discard, People: crowd(), PerSender: 10_000})
	if err != nil {
		b.Fatal(err)
	}
	defer tb.Close()
	s := &world.Case{World: tb}
	threatened(b, s)
	publisher := tb.Service.Registrar.Log.(*translog.Publisher)
	watch := &stopwatch{}
	tb.Service.Registrar.Log = timedLog{publisher, watch}
	cases := tb.Service.Registrar.Cases
	tb.Service.Registrar.Cases = timedCases{cases, watch}
	commitAlone := func(ctx context.Context) error {
		return cases.Refuse(ctx, "county-court", rand.Text(), proof.RefusedLeaf(time.Now(), policy.ErrUnknownAuthority.Code))
	}
	checkpointAlone := func(ctx context.Context) error {
		_, err := publisher.Publish(ctx)
		return err
	}
	var machine, alone time.Duration
	for b.Loop() {
		alone += 2*took(b, commitAlone) + 3*took(b, checkpointAlone)
		took(b, s.File)
		machine += awaited(watch.take())
		took(b, approveBy(s, 0))
		watch.take()
		took(b, approveBy(s, 1))
		took(b, s.Open)
		deeds := watch.take()
		decides := slices.IndexFunc(deeds, deed.commits)
		releases := decides + 1 + slices.IndexFunc(deeds[decides+1:], deed.commits)
		if releases == decides {
			b.Fatalf("not a decision and a release: %+v", deeds)
		}
		machine += deeds[releases].ends.Sub(deeds[decides].begins) + awaited(deeds[releases+1:])
	}
	b.ReportMetric(float64(machine.Milliseconds())/float64(b.N), "ms")
	b.ReportMetric(machine.Seconds()/alone.Seconds(), "ratio")
	b.ReportMetric(1, "aim-max")
}

func took(b *testing.B, do func(context.Context) error) time.Duration {
	b.Helper()
	began := time.Now()
	if err := do(b.Context()); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// deed is a commit of the registrar about a case, or its waiting for a cosigned checkpoint.
type deed struct {
	begins, ends time.Time
	commit       bool
}

func (d deed) commits() bool { return d.commit }

// awaited is how long the registrar waited for checkpoints.
func awaited(deeds []deed) (total time.Duration) {
	for _, d := range deeds {
		if !d.commit {
			total += d.ends.Sub(d.begins)
		}
	}
	return total
}

// stopwatch keeps what the registrar does in the order in which it ended.
type stopwatch struct {
	mu    sync.Mutex
	deeds []deed
}

func (s *stopwatch) note(begins time.Time, commit bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deeds = append(s.deeds, deed{begins, time.Now(), commit})
}

func (s *stopwatch) take() []deed {
	s.mu.Lock()
	defer s.mu.Unlock()
	deeds := s.deeds
	s.deeds = nil
	return deeds
}

type timedLog struct {
	disclose.Log
	*stopwatch
}

func (l timedLog) Await(ctx context.Context, index int64) error {
	defer l.note(time.Now(), false)
	return l.Log.Await(ctx, index)
}

type timedCases struct {
	disclose.Cases
	*stopwatch
}

func (c timedCases) File(ctx context.Context, filed disclose.Case, leaf proof.Leaf) (disclose.Case, error) {
	defer c.note(time.Now(), true)
	return c.Cases.File(ctx, filed, leaf)
}

func (c timedCases) Apply(ctx context.Context, id string, decide func(disclose.Case) (disclose.Change, error)) (disclose.Case, error) {
	defer c.note(time.Now(), true)
	return c.Cases.Apply(ctx, id, decide)
}
