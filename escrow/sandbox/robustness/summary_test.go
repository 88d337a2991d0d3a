package robustness

import (
	"strings"
	"testing"
	"time"
)

// TestSummaryMeasuresRefusals: from the first act that failed to the first answer after it,
// for each kind of act; what succeeded slowly is not refused.
func TestSummaryMeasuresRefusals(t *testing.T) {
	start := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	op := func(act Act, from, to float64, o Outcome) Operation {
		return Operation{Act: act, Invoked: at(from), Returned: at(to), Outcome: o}
	}
	h := []Operation{
		op(SignIn, 0, 0.1, OK), op(SignIn, 1.5, 3.5, Unknown), op(File, 1, 4, OK), op(SignIn, 4, 4.5, Unknown), op(SignIn, 5, 6, OK),
		op(Withdraw, 5, 6, Refused), op(SignIn, 20, 21, Unknown), op(Open, 20, 22, Unknown),
	}
	s := Summarise(h, []Fault{
		{Name: "kill", Node: "db-1", Made: at(1), Mended: at(2), Recovered: at(4)},
		{Name: "freeze", Node: "db-2", Made: at(19), Mended: at(20), Recovered: at(30)}})
	if got := s.Faults[0].Refused; len(got) != 1 || got[SignIn] != 4.5 {
		t.Errorf("the first fault: %v", got)
	}
	if got := s.Faults[1].Refused; len(got) != 2 || got[SignIn] != 1 || got[Open] != 2 {
		t.Errorf("the second fault: %v", got)
	}
	if s.Acts[SignIn] != (Count{2, 0, 3}) || s.Acts[Withdraw] != (Count{0, 1, 0}) || s.Seconds != 22 {
		t.Errorf("%+v", s)
	}
	s.Seed, s.Repeat, s.Violations = 7, "make soak SEED=7", []Violation{{"a rule", "what broke it"}}
	var out strings.Builder
	s.Print(&out)
	for _, want := range []string{"kill", "db-1", "refused: sign in 4.5 s\n", "VIOLATION  a rule: what broke it", "violations 1; the same faults again: make soak SEED=7"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}
