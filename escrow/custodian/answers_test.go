package custodian

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/escrow/exhibit"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/opening/openingtest"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/token"
)

// seated is three custodians with their folders, seated in a bundle under which each target is
// decided for itself.
func seated(t testing.TB, change func(*policy.Bundle)) (*circle, *openingtest.World) {
	t.Helper()
	v, b := settled(t, 2, []string{"alba", "bruno", "chidi"})
	w := openingtest.New(t, func(draft *policy.Bundle) {
		draft.Custodians, draft.Threshold, draft.ThresholdKey = b.Custodians, b.Threshold, b.ThresholdKey
		for i := range draft.Custodians {
			card, err := v.open(draft.Custodians[i].ID).Card()
			if err != nil {
				t.Fatal(err)
			}
			draft.Custodians[i].Recipient = card.Recipient
		}
		if change != nil {
			change(draft)
		}
	})
	v.since = []*policy.Bundle{w.Bundle}
	return v, w
}

// reads has a custodian review a case and read what was published, all but what is missing.
func (v *circle) reads(id string, c *openingtest.Case, f opening.CaseFile, missing ...string) (*Custodian, *Review) {
	v.t.Helper()
	who := v.open(id)
	r, err := who.Review(f.Case, f, v.since, openingtest.Now)
	if err == nil {
		err = who.CheckExhibits(r, v.stored(id, c, missing...), nil, func(token.Exhibit, []byte) error { return nil }, nil)
	}
	if err != nil {
		v.t.Fatal(err, errors.Unwrap(err))
	}
	return who, r
}

// stored are the exhibits of a case for one custodian, all but what is missing.
func (v *circle) stored(id string, c *openingtest.Case, missing ...string) exhibit.Fetch {
	v.t.Helper()
	card, err := v.open(id).Card()
	if err != nil {
		v.t.Fatal(err)
	}
	all := make(map[[32]byte][]byte)
	for digest, words := range c.Words {
		var sealed bytes.Buffer
		if err := exhibit.Seal(&sealed, []string{card.Recipient}, strings.NewReader(words)); err != nil {
			v.t.Fatal(err)
		}
		if !slices.Contains(missing, words) {
			all[digest] = sealed.Bytes()
		}
	}
	return func(digest [32]byte) (io.ReadCloser, error) {
		if sealed, there := all[digest]; there {
			return io.NopCloser(bytes.NewReader(sealed)), nil
		}
		return nil, exhibit.ErrMissing
	}
}

const (
	threat = "I will come for you tonight."
	jo     = "The council closes our school library. Shame on them."
)

func says(i, _ int) string { return []string{threat, jo}[i%2] }

// A court labels Jo's words about her school as a threat to life. The custodian reads them,
// answers no, and there is no share of hers; the one who threatened is opened all the same.
func TestJoIsNotOpenedForHerWords(t *testing.T) {
	v, w := seated(t, nil)
	w.Say = says
	c := w.File(2, 1, nil)
	alba, r := v.reads("alba", c, c.CaseFile())
	if said := r.String(); !strings.Contains(said, "| "+jo+"\n") || strings.Count(said, "question: Does each of these posts show this offence, Threats to kill?\n") != 2 ||
		!strings.Contains(said, "(Offences against the Person Act 1861, s. 16), at most 120 months by the statute; the court states 120") {
		t.Fatal(said)
	}
	signed, err := alba.Approve(r, []Answer{{Target: "2", Says: []string{"no"}, Reason: "press_freedom"}, {Target: "1", Says: []string{"yes"}}}, openingtest.Now)
	if err != nil {
		t.Fatal(err)
	}
	a, err := opening.VerifyApproval(signed, w.Bundle)
	if err != nil || a.Decision != opening.Approve || len(a.Shares) != 1 || a.Shares[0].Target != 0 || a.Answers[1].Vote != opening.Decline {
		t.Fatalf("%+v, %v", a, err)
	}
	if said, err := Says(signed); err != nil || said != "pen name 1: approve; Does each of these posts show this offence, Threats to kill? yes\n"+
		"pen name 2: decline; Does each of these posts show this offence, Threats to kill? no; press_freedom\n" {
		t.Error(said, err)
	}
	// What is signed is signed: the same goes out again, and another answer does not.
	if again, err := v.open("alba").Decision(c.ID, opening.Approve, "", w.Bundle); err != nil || again != signed {
		t.Error(err)
	}
	if _, err := alba.Approve(r, []Answer{{Target: "1", Says: []string{"yes"}}, {Target: "2", Says: []string{"yes"}}}, openingtest.Now); !errors.Is(err, ErrSignedOtherwise) {
		t.Error(err)
	}
	// Also a file with other answers is told so, and the same one again is not.
	same := []Answer{{Target: r.Targets[0].PenName, Says: []string{"yes"}}, {Target: "2", Says: []string{"no"}, Reason: "press_freedom"}}
	if err := Same(signed, c.CaseFile(), same); err != nil {
		t.Error(err)
	}
	for name, other := range map[string][]Answer{
		"one is missing":  same[:1],
		"another reason":  {same[0], {Target: "2", Says: []string{"no"}, Reason: "disproportionate"}},
		"another vote":    {{Target: "1", Says: []string{"yes"}, Reason: "press_freedom"}, same[1]},
		"another answer":  {same[0], {Target: "2", Says: []string{"yes"}, Reason: "press_freedom"}},
		"another target":  {same[0], {Target: "3", Says: []string{"no"}, Reason: "press_freedom"}},
		"one of them two": {same[0], same[0]},
	} {
		if err := Same(signed, c.CaseFile(), other); !errors.Is(err, ErrSignedOtherwise) || !strings.Contains(fmt.Sprint(errors.Unwrap(err)), "you answered on "+openingtest.Now.UTC().Format("2006-01-02")) {
			t.Error(name, err)
		}
	}
	if _, answered, err := alba.Did(c.ID); err != nil || !answered.Equal(openingtest.Now.Truncate(time.Second)) {
		t.Error(answered, err)
	}
	// Where no target is approved it is a refusal.
	bruno, r := v.reads("bruno", c, c.CaseFile())
	signed, err = bruno.Approve(r, []Answer{{Target: "1", Says: []string{"no"}, Reason: "manifest_errors"}, {Target: "2", Says: []string{"no"}, Reason: "press_freedom"}}, openingtest.Now)
	if err != nil {
		t.Fatal(err)
	}
	if a, err = opening.VerifyApproval(signed, w.Bundle); err != nil || a.Decision != opening.Decline || a.Reason != "manifest_errors" || len(a.Shares) != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
}

// A target that is wrong in any way is named and does not hold up the others: it is declined
// with a reason, and cannot be approved. Who is refused or withdrawn is not asked about.
func TestAWrongTargetDoesNotHoldUpTheRest(t *testing.T) {
	v, w := seated(t, nil)
	c := w.File(5, 1, nil)
	f := c.CaseFile()
	f.Targets[1].LinkSalt = bytes.Repeat([]byte{9}, 32)
	f.Targets[3] = opening.OpenedTarget{Pseudonym: f.Targets[3].Pseudonym, Platform: f.Targets[3].Platform}
	f.States = []opening.TargetState{{State: "waiting"}, {State: "waiting"}, {State: "waiting"}, {State: "refused", Code: "target.erased"}, {State: "withdrawn"}}
	alba, r := v.reads("alba", c, f, "I will find you, 2")
	said := r.String()
	for _, want := range []string{"✗ custodian.record_mismatch", "✗ exhibit.missing: ", "the registrar says: refused, target.erased\n", "the registrar says: withdrawn\n", "of a target that waits and has no ✗"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in\n%s", want, said)
		}
	}
	if n := strings.Count(said, "question: "); n != 1 {
		t.Errorf("%d questions", n)
	}
	yes, because := Answer{Says: []string{"yes"}}, Answer{Reason: "manifest_errors"}
	about := func(a Answer, target string) Answer { a.Target = target; return a }
	for name, row := range map[string]struct {
		answers []Answer
		want    error
	}{
		"a framed one approved":   {[]Answer{about(yes, "1"), about(yes, "2"), about(because, "3")}, opening.ErrRecordMismatch},
		"an unread one approved":  {[]Answer{about(yes, "1"), about(because, "2"), about(yes, "3")}, ErrExhibits},
		"an unread one left out":  {[]Answer{about(yes, "1"), about(because, "2")}, ErrAnswersMissing},
		"a refused one answered":  {[]Answer{about(yes, "1"), about(because, "2"), about(because, "3"), about(yes, "4")}, ErrAnswersTarget},
		"a withdrawn one":         {[]Answer{about(yes, "1"), about(because, "2"), about(because, "3"), about(because, "5")}, ErrAnswersTarget},
		"no reason for the wrong": {[]Answer{about(yes, "1"), about(Answer{}, "2"), about(because, "3")}, opening.ErrRecordMismatch},
	} {
		if _, err := alba.Approve(r, row.answers, openingtest.Now); !errors.Is(err, row.want) {
			t.Error(name, err)
		}
	}
	if signed, err := alba.signedIn(c.ID); err != nil || len(signed) > 0 {
		t.Fatal("something was signed", err)
	}
	signed, err := alba.Approve(r, []Answer{about(yes, "1"), about(because, "2"), about(because, "3")}, openingtest.Now)
	if err != nil {
		t.Fatal(err)
	}
	a, err := opening.VerifyApproval(signed, w.Bundle)
	if err != nil || len(a.Answers) != 3 || len(a.Shares) != 1 || a.Shares[0].Target != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
}

// New rules come into force, and a target has ended since the answer: the same answer about
// what is left is signed again, and another one leaves no trace that would lock the folder.
func TestTheSameAnswerUnderNewRulesAboutWhatIsLeft(t *testing.T) {
	v, w := seated(t, nil)
	c := w.File(2, 1, nil)
	f := c.CaseFile()
	alba, r := v.reads("alba", c, f)
	no, yes := Answer{Target: "1", Says: []string{"no"}, Reason: "press_freedom"}, Answer{Target: "2", Says: []string{"yes"}}
	if _, err := alba.Approve(r, []Answer{no, yes}, openingtest.Now); err != nil {
		t.Fatal(err)
	}
	v.since = append(v.since, v.seats("alba", w.Bundle, "alba"))
	f.States = []opening.TargetState{{State: "waiting"}, {State: "withdrawn"}}
	_, r = v.reads("alba", c, f)
	if _, err := alba.Approve(r, []Answer{{Target: "1", Says: []string{"yes"}}}, openingtest.Now); !errors.Is(err, ErrSignedOtherwise) {
		t.Error("another answer:", err)
	}
	signed, err := alba.Approve(r, []Answer{no}, openingtest.Now)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := opening.VerifyApproval(signed, v.since[1]); err != nil || a.InForce != v.since[1].Hash() || len(a.Answers) != 1 || a.Decision != opening.Decline {
		t.Errorf("%+v, %v", a, err)
	}
	if again, err := alba.Approve(r, []Answer{no}, openingtest.Now); err != nil || again != signed {
		t.Error("again:", err)
	}
}

// emergency makes the warrant an order in an emergency.
func emergency(w *policy.Warrant) { w.Kind, w.Deadline = policy.Emergency, policy.EightHours }

// The log says of an emergency whether it was validated before it was filed, and the
// registrar cannot show it otherwise.
func TestTheLogSaysWhetherAnEmergencyWasValidated(t *testing.T) {
	for _, countersigned := range [][]string{nil, {"court"}} {
		v, w := seated(t, nil)
		c := w.File(1, 1, emergency, countersigned...)
		f := c.CaseFile()
		if leaf, err := proof.ParseLeaf(f.Leaf.Bytes); err != nil || leaf.Validated != (countersigned != nil) {
			t.Error(leaf, err)
		}
		if _, err := v.open("alba").Review(f.Case, f, v.since, openingtest.Now); err != nil {
			t.Error(err, errors.Unwrap(err))
		}
		f.Submission.Countersigned = []string{c.Validation("court")}
		if countersigned != nil {
			f.Submission.Countersigned = nil
		}
		if _, err := v.open("bruno").Review(f.Case, f, v.since, openingtest.Now); !errors.Is(err, ErrCaseMismatch) {
			t.Error("shown otherwise than the log says:", err)
		}
	}
}

// Nobody approves an emergency whose hours are over unless the log says that it was validated
// in time.
func TestNobodyApprovesAnEmergencyThatWasNotValidated(t *testing.T) {
	v, w := seated(t, nil)
	c := w.File(1, 1, emergency)
	over := openingtest.Now.Add(time.Duration(w.Bundle.ValidationHours) * time.Hour)
	review := func(id string, at time.Time, validated int64) error {
		t.Helper()
		f := c.CaseFile()
		if validated >= 0 {
			leaf := c.Prove(validated)
			f.Known.Validated = &leaf
		}
		_, err := v.open(id).Review(f.Case, f, v.since, at)
		return err
	}
	if err := review("alba", over, -1); err != nil {
		t.Error("in its last second:", err)
	}
	if err := review("alba", over.Add(time.Second), -1); !errors.Is(err, opening.ErrNotValidated) {
		t.Error("after its hours:", err)
	}
	w.Clock = over
	if err := review("alba", over.Add(time.Second), c.Validate("court")); err != nil {
		t.Error("validated in time:", err)
	}
	w.Clock = over.Add(time.Second)
	if err := review("bruno", over.Add(time.Hour), c.Validate("court")); !errors.Is(err, opening.ErrNotValidated) {
		t.Error("validated late:", err)
	}
	if err := review("bruno", over.Add(time.Hour), w.File(1, 1, emergency, "court").Validate("court")); !errors.Is(err, opening.ErrNotLogged) {
		t.Error("another case was:", err)
	}
}

// The registrar shows a target as refused when the case is read, and as waiting when it is
// answered: its words were never read, and it is not approved.
func TestATargetThatWaitsAgainIsUnread(t *testing.T) {
	v, w := seated(t, nil)
	c := w.File(2, 1, nil)
	f := c.CaseFile()
	f.States = []opening.TargetState{{State: "waiting"}, {State: "refused", Code: "target.erased"}}
	alba, _ := v.reads("alba", c, f)
	f.States = []opening.TargetState{{State: "waiting"}, {State: "waiting"}}
	answers := []Answer{{Target: "1", Says: []string{"yes"}}, {Target: "2", Says: []string{"yes"}}}
	r, err := alba.Reviewed(f.Case, f, v.since, openingtest.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alba.Approve(r, answers, openingtest.Now); !errors.Is(err, ErrUnread) || r.Targets[1].Wrong != ErrUnread.Code {
		t.Fatal(err, r.Targets[1].Wrong)
	}
	_, r = v.reads("alba", c, f)
	if _, err := alba.Approve(r, answers, openingtest.Now); err != nil {
		t.Fatal("read now:", err)
	}
}

// Each target is asked about what its account and the court say of it.
func TestQuestionsOfATarget(t *testing.T) {
	v, w := seated(t, nil)
	w.Suggests = map[int][]string{1: {token.AuthorJournalist}, 2: {token.AuthorPrivileged, token.AuthorJournalist}}
	c := w.File(5, 1, func(w *policy.Warrant) { w.Targets[3].Role, w.Targets[4].Role = policy.RoleChild, policy.RoleWitness })
	_, r := v.reads("alba", c, c.CaseFile())
	for i, want := range [][]string{{}, {"The platform suggests that this is a journalist's account"}, {"The platform suggests that this is a journalist's account", "The platform suggests that this is the account of somebody with a privilege"}, {"The court names this person as a child"}} {
		asked := r.Targets[i].Questions
		if len(asked) != 1+len(want) || asked[0] != openingtest.Question {
			t.Fatalf("target %d: %q", i+1, asked)
		}
		for j, begins := range want {
			if !strings.HasPrefix(asked[j+1], begins) {
				t.Errorf("target %d: %q", i+1, asked)
			}
		}
	}
	// A witness's post need not show the offence.
	if asked := r.Targets[4].Questions; len(asked) != 2 || asked[0] != "Is opening the name of this witness necessary to prove this offence, Threats to kill?" || !strings.HasPrefix(asked[1], "The court names this person as a witness") {
		t.Fatalf("%q", asked)
	}
	questions, answers, err := r.Answered([]Answer{{Target: "1", Says: []string{"yes"}}, {Target: "2", Says: []string{"yes", "no"}, Reason: "press_freedom"},
		{Target: "3", Says: []string{"yes", "yes", "yes"}}, {Target: "4", Says: []string{"yes", "yes"}}, {Target: "5", Says: []string{"yes", "yes"}}})
	if err != nil || len(questions) != 6 {
		t.Fatal(questions, err)
	}
	for i, want := range []string{"yes,,,,,", "yes,no,,,,", "yes,yes,yes,,,", "yes,,,yes,,", ",,,,yes,yes"} {
		if got := strings.Join(answers[i].Says, ","); got != want {
			t.Errorf("target %d: %s, not %s", i+1, got, want)
		}
	}
}

// A case about a pen name that the folder knows says so, with what it signed then.
func TestEarlierCasesOfATarget(t *testing.T) {
	v, w := seated(t, nil)
	first := w.File(2, 1, nil)
	alba, r := v.reads("alba", first, first.CaseFile())
	if _, err := alba.Approve(r, []Answer{{Target: "1", Says: []string{"yes"}}, {Target: "2", Says: []string{"no"}, Reason: "disproportionate"}}, openingtest.Now); err != nil {
		t.Fatal(err)
	}
	second := w.File(3, 1, nil)
	f := second.CaseFile()
	f.Filed = &policy.Filed{Today: 1, Authority30: 1, Requester30: 2}
	_, r = v.reads("alba", second, f)
	for i, want := range []string{opening.Approve, opening.Decline} {
		if b := r.Targets[i].Before; len(b) != 1 || b[0].Case != first.ID || b[0].Vote != want || b[0].Leaf != first.Recorded {
			t.Errorf("%+v", b)
		}
	}
	if len(r.Targets[2].Before) != 0 {
		t.Errorf("%+v", r.Targets[2].Before)
	}
	if said := r.String(); !strings.Contains(said, "another case about it, "+first.ID) || !strings.Contains(said, "this folder has itself reviewed 2 by this authority and 2 for this requester, which is more") {
		t.Error(said)
	}
}

// A file of answers is CSV or JSON, and what is wrong in it is said with its line.
func TestFileOfAnswers(t *testing.T) {
	v, w := seated(t, nil)
	c := w.File(2, 1, nil)
	_, r := v.reads("alba", c, c.CaseFile())
	name := r.Targets[1].PenName
	for file, want := range map[string]string{
		"target,answers\n1,yes\n2,yes\n": "approve approve",
		"\ufefftarget,platform,answers,reason\r\n1,town-square,yes,\r\n" + name + ",,no,press_freedom\r\n":                                         "approve decline",
		"reason, answers ,target\n,yes,2\n press_freedom ,yes, 1\n":                                                                                "decline approve",
		"target,answers,reason\n1,yes,disproportionate\n2,yes,\n":                                                                                  "decline approve",
		`[{"target": 1, "answers": ["yes"]}, {"target": "` + name + `", "platform": "town-square", "answers": ["no"], "reason": "press_freedom"}]`: "approve decline",

		"":                 "custodian.bad_answers: it has 0 answers",
		"target,answers\n": "custodian.bad_answers: it has 0 answers",
		"1,yes\n2,yes\n":   "custodian.bad_answers: line 1: ",
		"target,answers,answers,target,reason\n1":                                             "custodian.bad_answers: line 1: ",
		"target,answers\n1,yes\n2,yes,press_freedom\n":                                        "custodian.bad_answers: line 3: ",
		"target,answers\n1,\"yes\n2,yes\n":                                                    "custodian.bad_answers: line ",
		"target,answers\n1,maybe\n2,yes\n":                                                    "custodian.bad_answers: line 2: ",
		"target,answers\n1,yes\n":                                                             "custodian.answer_missing: target 2",
		"target,answers\n1,yes\n2,\n":                                                         "custodian.answer_missing: line 3: ",
		"target,answers\n1,yes\n2,yes no\n":                                                   "custodian.answer_missing: line 3: ",
		"target,answers\n1,yes\n3,yes\n":                                                      "custodian.unknown_target: line 3: ",
		"target,answers\n1,yes\n-1,yes\n":                                                     "custodian.unknown_target: line 3: ",
		"target,answers\n1,yes\n1,yes\n":                                                      "custodian.unknown_target: line 3: ",
		"target,answers\n1,yes\npen1xyz,yes\n":                                                "custodian.unknown_target: line 3: ",
		"target,platform,answers\n1,,yes\n" + name + ",school-forum,yes\n":                    "custodian.unknown_target: line 3: ",
		"target,answers\n1,no\n2,yes\n":                                                       "custodian.answer_reason: line 2: ",
		"target,answers,reason\n1,no,because\n2,yes\n":                                        "custodian.answer_reason: line 2: ",
		`[{"target": 1, "answers": ["yes"]},` + "\n" + `{"target": 1.5, "answers": ["yes"]}]`: "custodian.unknown_target: line 2: ",
		`[{"target": 1, "answers": ["yes"]},` + "\n" + `{"target": 2, "answer": ["yes"]}]`:    "custodian.bad_answers: line ",
		`[{"target": 1, "target": 2, "answers": ["yes"]}]`:                                    "custodian.bad_answers: no JSON",
		`[{"target": 1, "answers": "yes"}]`:                                                   "custodian.bad_answers: line 1: ",
		`[`:                                                                                   "custodian.bad_answers: no JSON",
	} {
		got := ""
		answers, err := ParseAnswers([]byte(file))
		if err == nil {
			var all []opening.Answer
			if _, all, err = r.Answered(answers); err == nil {
				for _, a := range all {
					got += a.Vote + " "
				}
			}
		}
		if err != nil {
			got = fmt.Sprint(codeOf(err), ": ", errors.Unwrap(err))
		}
		if got = strings.TrimSpace(got); got != want && !(strings.HasPrefix(want, "custodian.") && strings.HasPrefix(got, want)) {
			t.Errorf("%q: %q, not %q", file, got, want)
		}
	}
}

// FuzzAnswers: whatever is in a file of answers, it is refused with its code, or each of its
// answers is signed as one.
func FuzzAnswers(f *testing.F) {
	for _, file := range []string{"target,answers\n1,yes\n2,no\n", "target,platform,answers,reason\n1,a,yes no,press_freedom\n", `[{"target": 1, "answers": ["yes"], "reason": "recused"}]`} {
		f.Add([]byte(file))
	}
	r := &Review{Targets: []Target{{PenName: "pen1a", Platform: "a", Questions: []string{"Q?"}}, {PenName: "pen1a", Platform: "b", Questions: []string{"Q?", "R?"}}}}
	fuzzing.Run(f, func(t *testing.T, file []byte) {
		answers, err := ParseAnswers(file)
		if err == nil {
			var questions []string
			var all []opening.Answer
			if questions, all, err = r.Answered(answers); err == nil {
				if len(all) != 2 || len(questions) != 2 || all[0].Target != 0 || all[1].Target != 1 || len(all[1].Says) != 2 {
					t.Fatalf("%q is answered by %+v", file, all)
				}
				return
			}
		}
		if !strings.HasPrefix(codeOf(err), "custodian.") {
			t.Fatalf("%q: %v", file, err)
		}
	})
}

// BenchmarkDogpile is 600 pen names with 4,800 posts: the review, the reading of what was
// published, and the approval by a file of answers, each with what lives in memory then.
func BenchmarkDogpile(b *testing.B) {
	v, w := seated(b, func(draft *policy.Bundle) { draft.MaxTargets = 600 })
	c := w.File(600, 8, nil)
	f, fetch := c.CaseFile(), v.stored("alba", c)
	var file strings.Builder
	file.WriteString("target,answers\n")
	for _, t := range c.Warrant.Targets {
		fmt.Fprintf(&file, "%s,yes\n", t.Pseudonym)
	}
	alba := v.open("alba")
	var r *Review
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"review", func() (err error) {
			r, err = alba.Review(f.Case, f, v.since, openingtest.Now)
			return err
		}},
		{"read", func() error {
			return alba.CheckExhibits(r, fetch, nil, func(token.Exhibit, []byte) error { return nil }, nil)
		}},
		{"approve", func() error {
			r, err := alba.Reviewed(f.Case, f, v.since, openingtest.Now)
			if err != nil {
				return err
			}
			answers, err := ParseAnswers([]byte(file.String()))
			if err != nil {
				return err
			}
			_, err = alba.Approve(r, answers, openingtest.Now)
			return err
		}},
	} {
		b.Run(step.name, func(b *testing.B) {
			var now runtime.MemStats
			for b.Loop() {
				if err := step.do(); err != nil {
					b.Fatal(err)
				}
			}
			runtime.ReadMemStats(&now)
			b.ReportMetric(mib(now.HeapAlloc), "MiB")
		})
	}
}

// A registrar that lost cases counts fewer before this one, and its leaf stands: more custodians
// than the rules want do no harm, and fewer do.
func TestMoreCustodiansDoNoHarm(t *testing.T) {
	_, w := seated(t, nil)
	r := &Review{since: []*policy.Bundle{w.Bundle}, quorum: w.Bundle.Threshold + 1}
	r.file.Filed = &policy.Filed{}
	if !r.quorumFits(policy.Decision{Quorum: w.Bundle.Threshold}) || r.quorumFits(policy.Decision{Quorum: w.Bundle.Threshold + 2}) {
		t.Error("a higher quorum is refused, or a lower one is not")
	}
}
