package main

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/penname/penname/escrow/sandbox"
)

// filedCase plays the story up to the warrant that is on file.
func filedCase(t *testing.T, tb *testbed) *story {
	t.Helper()
	st := &story{testbed: tb}
	troll := newBrowser()
	if err := st.visit(t.Context(), troll, tb.town, "Dexter Crallow"); err != nil {
		t.Fatal(err)
	}
	var err error
	if st.threat, err = st.say(t.Context(), troll, tb.town, "I will come for you tonight."); err != nil {
		t.Fatal(err)
	}
	if st.evidence, err = st.saveEvidence("evidence-threat.jws", st.threat); err != nil {
		t.Fatal(err)
	}
	if err := st.file(t.Context()); err != nil {
		t.Fatal(err)
	}
	return st
}

// leaves counts the public log's leaves by kind, through a full audit.
func leaves(t *testing.T, tb *testbed) map[string]int64 {
	t.Helper()
	said, code := tb.escrow(t.Context(), "log", "audit", "--bundle", tb.path("bundle.json"), "--server", tb.origin, "--json")
	if code != 0 {
		t.Fatal(said)
	}
	var report struct {
		Statistics struct {
			ByKind map[string]int64 `json:"by_kind"`
		}
	}
	if err := json.Unmarshal([]byte(said), &report); err != nil {
		t.Fatal(err)
	}
	return report.Statistics.ByKind
}

// TestF27LastApprovalRace: all custodians approve at once, each several times.
// The case is authorised exactly once and released exactly once (I4).
func TestF27LastApprovalRace(t *testing.T) {
	tb := startForTest(t)
	st := filedCase(t, tb)
	var wg sync.WaitGroup
	for _, c := range custodians {
		for range 3 {
			wg.Go(func() { tb.escrow(t.Context(), tb.asCustodian(c.ID, "approve", st.caseID)...) }) // most are refused: the log tells
		}
	}
	wg.Wait()
	if err := tb.service.heartbeat(t.Context()); err != nil {
		t.Fatal(err)
	}
	st.who = sandbox.People()[1]
	if err := st.openPackage(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := leaves(t, tb)
	if got["authorised"] != 1 || got["released"] != 1 || got["approved"] < 2 || got["approved"] > 3 {
		t.Fatalf("authorised %d, released %d, approved %d", got["authorised"], got["released"], got["approved"])
	}
}

// TestF25DoubleFiling: one warrant filed many times at once is one case.
func TestF25DoubleFiling(t *testing.T) {
	tb := startForTest(t)
	st := filedCase(t, tb)
	cases := make(chan string, 8)
	for range cap(cases) {
		go func() {
			said, _ := tb.escrow(t.Context(), "warrant", "file", st.warrant, "--evidence", st.evidence, "--server", tb.origin, "--json")
			var s struct{ Case string }
			if json.Unmarshal([]byte(said), &s) != nil {
				s.Case = said
			}
			cases <- s.Case
		}()
	}
	for range cap(cases) {
		if got := <-cases; got != st.caseID {
			t.Errorf("filed again: %s, want %s", got, st.caseID)
		}
	}
	if got := leaves(t, tb)["recorded"]; got != 1 {
		t.Fatalf("%d recorded leaves", got)
	}
}
