package main

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
)

// TestF24ClockJumps: the clock of everybody jumps in the middle of a case. An hour on, or
// standing still, the case goes on. Before the order was signed, or years after it ran out, nothing is decided,
// released or logged: a clock in doubt discloses nothing. When it is right again the same
// case goes on, and the log never went back in time.
func TestF24ClockJumps(t *testing.T) {
	tb := startForTest(t)
	const years = 10 * 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		jump  time.Duration
		opens bool
	}{
		"an hour on": {time.Hour, true}, "an hour back": {-time.Hour, false}, "ten years back": {-years, false}, "ten years on": {years, false},
	} {
		t.Run(name, func(t *testing.T) {
			st := filedCase(t, tb)
			st.Author = sandbox.People()[1]
			if err := st.Approve(t.Context(), "alba"); err != nil {
				t.Fatal(err)
			}
			before := leaves(t, tb)
			jump := func(d time.Duration) {
				tb.Clock.Advance(d)
				if err := tb.Service.Publish(t.Context()); err != nil { // as it does by itself within a minute
					t.Logf("nothing is published: %v", err)
				}
			}
			jump(c.jump)
			err := st.Approve(t.Context(), "bruno")
			said, code := tb.Escrow(t.Context(), st.OpenArgs()...)
			jump(-c.jump)
			opened := code == 0 && strings.Contains(said, st.Author.Name)
			if opened != c.opens || c.opens != (err == nil) {
				t.Fatalf("opened %v, approved %v: %s", opened, err, said)
			}
			if !c.opens {
				if after := leaves(t, tb); after["decided"] != before["decided"] || after["released"] != before["released"] {
					t.Errorf("decided under a wrong clock: %v, then %v", before, after)
				}
				if err := st.Approve(t.Context(), "bruno"); err != nil {
					t.Fatal("it does not go on: ", err)
				}
			}
			if err := st.Open(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("it stands still", func(t *testing.T) {
		tb.Clock.Stop()
		defer tb.Clock.Go()
		st := filedCase(t, tb)
		st.Author = sandbox.People()[1]
		for _, c := range []string{"alba", "bruno"} {
			if err := st.Approve(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if err := st.Open(t.Context()); err != nil {
			t.Error(err)
		}
		leaves(t, tb) // the audit finds nothing
	})
	if err := tb.Service.Disclosing.Store.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestF36NothingRunsOn: when a world has ended, with its service, no goroutine of ours runs.
func TestF36NothingRunsOn(t *testing.T) {
	tb, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	filedCase(t, tb)
	if len(ours()) == 0 {
		t.Error("control: nothing of ours runs")
	}
	if err := tb.Close(); err != nil {
		t.Fatal(err)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	var left []string
	for range 100 { // those that were told to end
		if left = ours(); len(left) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("%d run on:\n%s", len(left), strings.Join(left, "\n\n"))
}

// ours are the goroutines of this house, or of what it brought, but for the test's own.
func ours() (all []string) {
	buf := make([]byte, 4<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "penname/") && !strings.Contains(g, "testing.tRunner") || strings.Contains(g, "pgxpool") {
			all = append(all, g)
		}
	}
	return all
}
