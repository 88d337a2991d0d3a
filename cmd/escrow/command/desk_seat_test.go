package command

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/escrow/registrar"
)

// TestNextOfAWitness: a witness that does not run, or stands still while the log goes on, and one
// that was shown two histories, is the first thing that a desk says; one that keeps up is none.
func TestNextOfAWitness(t *testing.T) {
	now := time.Date(2026, 12, 1, 9, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		w    desk.Witness
		log  int64
		says string
	}{
		"it keeps up":                {desk.Witness{Size: 40, At: now.Add(-time.Hour), Running: true}, 40, ""},
		"a checkpoint is on its way": {desk.Witness{Size: 39, At: now.Add(-time.Minute), Running: true}, 40, ""},
		"it stands still":            {desk.Witness{Size: 39, At: now.Add(-time.Hour), Running: true}, 42, "the last 3 entries"},
		"it never cosigned":          {desk.Witness{Running: true}, 42, "the last 42 entries"},
		"it does not run":            {desk.Witness{Size: 39, At: now.Add(-time.Hour)}, 42, "does not run"},
		"two histories":              {desk.Witness{Size: 42, At: now, Running: true, Evidence: []string{"split-view.json"}}, 42, "two histories"},
		"the log is not known":       {desk.Witness{Size: 39, At: now.Add(-time.Hour), Running: true}, 0, ""},
	} {
		c.w.Behind = behind(c.w, c.log, now)
		all := nextOfWitness(c.w)
		if c.says == "" && len(all) > 0 || c.says != "" && (len(all) != 1 || !strings.Contains(fmt.Sprintf(all[0].Text.English, all[0].Text.Args...), c.says) || !all[0].Urgent || all[0].To != "/witness") {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

// TestADeskNamesNoCommands: what a desk says in place of the words of a command names none.
func TestADeskNamesNoCommands(t *testing.T) {
	for code, words := range deskMends {
		if shown := deskProblem(&registrar.Problem{Code: code, Title: "run the command again with --agree"}).Title; shown != words {
			t.Errorf("%s: %s", code, shown)
		}
		for _, not := range []string{"escrow ", "escrowd ", "--", "command"} {
			if strings.Contains(words, not) {
				t.Errorf("%s names %q: %s", code, not, words)
			}
		}
	}
	if shown := deskWords.Replace("once your share is handed over (escrow custodian deputise)."); strings.Contains(shown, "escrow custodian") {
		t.Error(shown)
	}
}

// TestAnOpenCaseIsReadWhileTheSeatWorks: also that it was answered.
func TestAnOpenCaseIsReadWhileTheSeatWorks(t *testing.T) {
	s := &deskSeat{home: &home{program: &program{}}, cases: map[string]*openCase{"x": {answered: desk.Answered{Kind: desk.Refuse}}}}
	s.work.Lock()
	defer s.work.Unlock()
	if a, err := s.answered("x"); err != nil || a.Kind != desk.Refuse {
		t.Error(a, err)
	}
}

// TestALostStatementMayHaveArrived: who does not know whether it did is told to look first; who was
// refused is not.
func TestALostStatementMayHaveArrived(t *testing.T) {
	for _, row := range []struct {
		err  error
		lost bool
	}{
		{registrar.ErrUnreachable.Because(context.Canceled), true},
		{&registrar.Problem{Status: 503, Code: "unavailable", Title: "later"}, true},
		{&registrar.Problem{Status: 409, Code: "statement.said", Title: "said"}, false},
		{custodian.ErrYouAnswered, false},
	} {
		if said := deskProblem(unanswered(row.err)).Title; strings.Contains(said, mayHaveArrived) != row.lost {
			t.Errorf("%v: %s", row.err, said)
		}
	}
	if unanswered(nil) != nil {
		t.Error("what arrived is lost")
	}
}
