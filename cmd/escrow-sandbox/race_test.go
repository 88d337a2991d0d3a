package main

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
)

// filedCase plays the story up to the warrant that is on file.
func filedCase(t *testing.T, tb *world.World) *world.Case {
	t.Helper()
	st := &world.Case{World: tb}
	troll := world.NewBrowser()
	if err := troll.Visit(t.Context(), tb.Town, "Dexter Crallow"); err != nil {
		t.Fatal(err)
	}
	var err error
	if st.Post, err = troll.Say(t.Context(), tb.Town, "I will come for you tonight."); err != nil {
		t.Fatal(err)
	}
	if st.Evidence, err = st.SaveEvidence("evidence-threat.jws", st.Post); err != nil {
		t.Fatal(err)
	}
	if err := st.File(t.Context()); err != nil {
		t.Fatal(err)
	}
	return st
}

// leaves counts the public log's leaves by kind, through a full audit.
func leaves(t *testing.T, tb *world.World) map[string]int64 {
	t.Helper()
	said, code := tb.Escrow(t.Context(), "log", "audit", "--bundle", tb.Path("bundle.json"), "--server", tb.Origin, "--json")
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
	for _, c := range world.Custodians {
		if said, code := tb.Escrow(t.Context(), tb.AsCustodian(c.ID, "review", st.ID)...); code != 0 {
			t.Fatal(said)
		}
	}
	for _, c := range world.Custodians {
		for range 3 {
			wg.Go(func() { tb.Escrow(t.Context(), tb.AsCustodian(c.ID, "approve", st.ID)...) }) // most are refused: the log tells
		}
	}
	wg.Wait()
	if err := tb.Service.ServeCases(t.Context()); err != nil {
		t.Fatal(err)
	}
	st.Author = sandbox.People()[1]
	if err := st.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := leaves(t, tb)
	if got["decided"] != 1 || got["released"] != 1 || got["decision"] < 2 || got["decision"] > 3 {
		t.Fatalf("decided %d, released %d, decisions %d", got["decided"], got["released"], got["decision"])
	}
}

// TestF25DoubleFiling: one warrant filed many times at once is one case.
func TestF25DoubleFiling(t *testing.T) {
	tb := startForTest(t)
	st := filedCase(t, tb)
	cases := make(chan string, 8)
	for range cap(cases) {
		go func() {
			said, _ := tb.Escrow(t.Context(), "warrant", "file", st.Warrant, "--evidence", st.Evidence, "--exhibits", st.Exhibits(), "--server", tb.Origin, "--json")
			var s struct{ Case string }
			if json.Unmarshal([]byte(said), &s) != nil {
				s.Case = said
			}
			cases <- s.Case
		}()
	}
	for range cap(cases) {
		if got := <-cases; got != st.ID {
			t.Errorf("filed again: %s, want %s", got, st.ID)
		}
	}
	if got := leaves(t, tb)["recorded"]; got != 1 {
		t.Fatalf("%d recorded leaves", got)
	}
}

// withdraw signs the withdrawal of the story's warrant and files it.
func withdraw(t *testing.T, s *world.Case) (string, int) {
	t.Helper()
	stop := strings.TrimSuffix(s.Warrant, ".jws") + "-stop.jws"
	said, code := s.Escrow(t.Context(), "warrant", "withdraw", s.Warrant, "--grounds", "Issued in error.",
		"--key", s.Path("court.jwk"), "--bundle", s.Path("bundle.json"), "--out", stop, "--force")
	if code != 0 {
		t.Error(said)
	}
	return s.Escrow(t.Context(), "warrant", "file", stop, "--server", s.Origin)
}

// TestF28WithdrawalRacesWithRelease: the court withdraws while the key service is
// being asked, and at the same moment as the last approval. Either it is too
// late, or nothing is ever released (I17).
func TestF28WithdrawalRacesWithRelease(t *testing.T) {
	tb := startForTest(t)
	ctx := t.Context()
	st := filedCase(t, tb)
	honest := tb.Service.Registrar.Keys
	tb.Service.Registrar.Keys = watchedKeys{honest, func() error {
		if said, code := withdraw(t, st); code != 0 {
			t.Error(said)
		}
		return nil
	}}
	for _, id := range []string{"alba", "bruno"} {
		if err := st.Approve(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Refused(ctx, "warrant.withdrawn", st.OpenArgs()...); err != nil {
		t.Error(err)
	}
	tb.Service.Registrar.Keys = honest
	released := int64(0)
	for range 6 {
		if err := st.File(ctx); err != nil {
			t.Fatal(err)
		}
		if err := st.Approve(ctx, "alba"); err != nil {
			t.Fatal(err)
		}
		said, code := tb.Escrow(ctx, tb.AsCustodian("bruno", "review", st.ID)...)
		if code != 0 {
			t.Fatal(said)
		}
		var wg sync.WaitGroup
		wg.Go(func() { said, code = withdraw(t, st) })
		wg.Go(func() { tb.Escrow(ctx, tb.AsCustodian("bruno", "approve", st.ID)...) }) // refused or not: the log tells
		wg.Wait()
		opened, opens := tb.Escrow(ctx, st.OpenArgs()...)
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
