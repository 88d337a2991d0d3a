package main

import (
	"encoding/json"
	"strings"
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

// withdraw signs the withdrawal of the story's warrant and files it.
func (s *story) withdraw(t *testing.T) (string, int) {
	t.Helper()
	stop := strings.TrimSuffix(s.warrant, ".jws") + "-stop.jws"
	said, code := s.escrow(t.Context(), "warrant", "withdraw", s.warrant, "--grounds", "Issued in error.",
		"--key", s.path("court.jwk"), "--bundle", s.path("bundle.json"), "--out", stop)
	if code != 0 {
		t.Error(said)
	}
	return s.escrow(t.Context(), "warrant", "file", stop, "--server", s.origin)
}

// TestF28WithdrawalRacesWithRelease: the court withdraws while the key service is
// being asked, and at the same moment as the last approval. Either it is too
// late, or nothing is ever released (I17).
func TestF28WithdrawalRacesWithRelease(t *testing.T) {
	tb := startForTest(t)
	ctx := t.Context()
	st := filedCase(t, tb)
	honest := tb.service.registrar.Keys
	tb.service.registrar.Keys = watchedKeys{honest, func() error {
		if said, code := st.withdraw(t); code != 0 {
			t.Error(said)
		}
		return nil
	}}
	for _, id := range []string{"alba", "bruno"} {
		if err := st.approve(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.refused(ctx, "warrant.withdrawn", st.openArgs()...); err != nil {
		t.Error(err)
	}
	tb.service.registrar.Keys = honest
	released := int64(0)
	for range 6 {
		if err := st.file(ctx); err != nil {
			t.Fatal(err)
		}
		if err := st.approve(ctx, "alba"); err != nil {
			t.Fatal(err)
		}
		var said string
		var code int
		var wg sync.WaitGroup
		wg.Go(func() { said, code = st.withdraw(t) })
		wg.Go(func() { tb.escrow(ctx, tb.asCustodian("bruno", "approve", st.caseID)...) }) // refused or not: the log tells
		wg.Wait()
		opened, opens := tb.escrow(ctx, st.openArgs()...)
		switch {
		case code == 0 && opens == 1 && strings.Contains(opened, "warrant.withdrawn"):
		case code == 1 && strings.Contains(said, "warrant.too_late") && opens == 0:
			released++
		default:
			t.Errorf("withdrawn: exit %d, %s; opened: exit %d, %s", code, said, opens, opened)
		}
	}
	if got := leaves(t, tb); got["released"] != released || got["recorded"] != 7+7-released {
		t.Errorf("%d released, and the log has %v", released, got)
	}
}
