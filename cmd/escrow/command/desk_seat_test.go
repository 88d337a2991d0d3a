package command

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/opening"
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

// notAtADesk are refusals that name commands and that no desk shows, or that say how it is started.
var notAtADesk = map[string][]string{
	"how a desk is started": {"desk.cases_place", "desk.no_evidence", "desk.no_key", "desk.no_order", "desk.not_here", "desk.no_requester_key", "server.insecure"},
	"asked at a terminal":   {"custodian.no_answers", "draft.answers_missing", "warrant.ended_otherwise"},
	"of a witness's start":  {"custodian.bad_certificate", "custodian.cannot_listen"},
	"of platforms": {"evidence.bad_post", "evidence.exhibit_missing", "evidence.signer_failed", "file.not_a_public_key", "platform.bad_countersignature", "platform.malformed",
		"platform.registry_damaged", "platform.succeeds", "platform.unknown"},
	"of operators":             {"review.decided", "review.malformed", "review.none"},
	"of the log and its pages": {"log.alarm_untold", "log.record_unread", "log.split_unknown", "proof.audit_incomplete", "record.build_runs", "record.foreign_folder", "record.unknown_language"},
	"of persons":               {"receipt.no_pen_names"},
}

var namesACommand = regexp.MustCompile("`|\\bescrowd? [a-z]|--[a-z]|\\bcommands?\\b|\\bruns?\\b")

// TestNoRefusalAtADeskNamesACommand: every refusal that names a command, of all that a desk calls and
// of what a registrar answers, has other words on a desk, or a reason why no desk shows it.
func TestNoRefusalAtADeskNamesACommand(t *testing.T) {
	why := make(map[string]string)
	for reason, codes := range notAtADesk {
		for _, code := range codes {
			why[code] = reason
		}
	}
	found := 0
	for _, dir := range []string{".", "../../shell", "../../../policy", "../../../verifier", "../../../escrow/custodian", "../../../escrow/desk", "../../../escrow/disclose", "../../../escrow/exhibit",
		"../../../escrow/registrar", "../../../escrow/requester", "../../../escrow/seal", "../../../escrow/secretfile", "../../../escrow/web", "../../../escrow/witness"} {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) != 3 {
					return true
				}
				f, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || f.Sel.Name != "New" {
					return true
				}
				code, mend := text(call.Args[1]), text(call.Args[2])
				if !strings.Contains(code, ".") || !namesACommand.MatchString(mend) {
					return true
				}
				found++
				switch words := deskMends[code]; {
				case words == "" && why[code] == "":
					t.Errorf("%s: a desk says %q", code, mend)
				case words != "" && why[code] != "":
					t.Errorf("%s: it has words for a desk, and is %s", code, why[code])
				}
				delete(why, code)
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 50 {
		t.Errorf("only %d are found", found)
	}
	for code, reason := range why {
		t.Errorf("%s, %s, names no command: take it out", code, reason)
	}
	for code, words := range deskMends {
		if namesACommand.MatchString(words) {
			t.Errorf("%s: %q", code, words)
		}
	}
}

// text is a constant of a source that is written as one or more strings.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, _ := strconv.Unquote(e.Value)
		return s
	case *ast.BinaryExpr:
		return text(e.X) + text(e.Y)
	}
	return ""
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

// TestATakenBackCaseIsClosed: an answer in a case that its court took back meanwhile says that nothing was
// signed or sent, and the case is open no more; what was signed before that is not said to be unsigned.
func TestATakenBackCaseIsClosed(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, row := range []struct {
		err  error
		over bool
	}{
		{&registrar.Problem{Status: 403, Code: "warrant.withdrawn", Title: "taken back"}, true},
		{&registrar.Problem{Status: 403, Code: "warrant.lapsed", Title: "lapsed"}, true},
		{errUnsent{&registrar.Problem{Status: 403, Code: "warrant.withdrawn", Title: "taken back"}}, false},
		{&registrar.Problem{Status: 503, Code: "unavailable", Title: "later"}, false},
		{custodian.ErrYouAnswered, false},
	} {
		s := &deskSeat{home: &home{program: &program{}}, cases: map[string]*openCase{"x": {exhibits: exhibitFolder{of: "exhibits-of-nobody-"}}}}
		err := s.takenBack("x", row.err)
		if said := deskProblem(err).Title; errors.Is(err, desk.ErrTakenBack) != row.over || (s.open("x") == nil) != row.over || strings.Contains(said, "the court took the order back") != row.over {
			t.Errorf("%v: %s", row.err, said)
		}
	}
}

// TestADeskSaysWhatWasNotDone: a refusal of what was typed says nothing that the page contradicts.
func TestADeskSaysWhatWasNotDone(t *testing.T) {
	for err, want := range map[error]string{
		custodian.ErrWeakPassphrase: "it was not changed", opening.CheckText(strings.Repeat("x", opening.MaxStatement+1)): "nothing was signed or sent",
	} {
		if said := deskProblem(err).Title; !strings.Contains(said, want) || strings.Contains(said, "kept") {
			t.Error(said)
		}
	}
}
