package command

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// TestDraftChangedByHandCounts: a page writes nothing; what was changed by hand in a draft is what is
// said, checked and signed, and no answer is taken over it, until somebody says that the answers count.
func TestDraftChangedByHandCounts(t *testing.T) {
	c := newClerk(t)
	s := c.seat("", "case118")
	o := c.find(s, "case118", 1)
	c.answerAll(s, o.ID, c.answers())
	made, err := os.ReadFile(o.Draft)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.check(t.Context(), o.ID); err != nil {
		t.Fatal(err)
	}
	byHand := strings.Replace(string(made), "Threats were posted.", "Words of mine.", 1)
	if err := os.WriteFile(o.Draft, []byte(byHand), 0o600); err != nil || byHand == string(made) {
		t.Fatal(err)
	}
	shown, err := s.show(o.ID)
	if err != nil || !shown.Edited || !shown.Complete() || shown.Verdict != nil || !slices.ContainsFunc(shown.Says, func(x desk.Said) bool { return x.Text == "Words of mine." }) {
		t.Errorf("%+v %v", shown, err)
	}
	if now, err := os.ReadFile(o.Draft); err != nil || string(now) != byHand {
		t.Error("the page wrote over it: ", err)
	}
	if _, _, err := s.answer(o.ID, "file_number", c.answers(), nil); !errors.Is(err, errByHand) {
		t.Error(err)
	}
	refused := errors.New("not yet")
	if _, err := s.sign(t.Context(), o.ID, func(words string) error {
		if !strings.Contains(words, "Words of mine.") {
			t.Error(words)
		}
		return refused
	}); !errors.Is(err, refused) {
		t.Error(err)
	}
	said, err := s.remake(o.ID)
	if kept, rerr := os.ReadFile(o.Draft + ".aside"); err != nil || rerr != nil || string(kept) != byHand || !strings.HasSuffix(said, ".aside") {
		t.Error(said, err, rerr)
	}
	if shown, err = s.show(o.ID); err != nil || shown.Edited || len(shown.Steps) == 0 {
		t.Errorf("%+v %v", shown, err)
	}
	if now, err := os.ReadFile(o.Draft); err != nil || string(now) != string(made) {
		t.Error(string(now), err)
	}
}

// TestSignsNothingThatTheCheckRefuses: what the check finds, signing refuses; and an order of an
// authority whose key is not here is said to be one before anything is signed.
func TestSignsNothingThatTheCheckRefuses(t *testing.T) {
	c := newClerk(t)
	s := c.seat("", "case118")
	o := c.find(s, "case118", 1)
	c.answerAll(s, o.ID, c.answers())
	s.whose = "elsewhere"
	if err := s.check(t.Context(), o.ID); err != nil {
		t.Fatal(err)
	}
	if shown, err := s.show(o.ID); err != nil || shown.Verdict == nil || shown.Verdict.SignsFor != "elsewhere" {
		t.Errorf("%+v %v", shown, err)
	}
	if _, err := s.sign(t.Context(), o.ID, yes); !errors.Is(err, errOtherAuthority) || is(o.File) {
		t.Error(err)
	}
	s.whose = "court"
	files, err := filepath.Glob(c.path("case118/post-*.txt"))
	if err != nil || len(files) == 0 || os.Remove(files[0]) != nil {
		t.Fatal(files, err)
	}
	if _, err := s.sign(t.Context(), o.ID, yes); !errors.Is(err, errCheckRefuses) || is(o.File) {
		t.Error(err)
	}
	if shown, err := s.show(o.ID); err != nil || shown.Verdict == nil || len(shown.Verdict.Faults) == 0 || shown.Verdict.SignsFor != "" {
		t.Errorf("what it found is not shown: %+v %v", shown, err)
	}
}

// TestFileOfAnotherOrder: a file that has the name of what is signed for an order, and is not that, is
// named with the order, whose draft goes on and is not signed over it.
func TestFileOfAnotherOrder(t *testing.T) {
	c := newClerk(t)
	for _, drafted := range []bool{false, true} {
		for name, content := range map[string][]byte{"another order": []byte(c.world.File(1, 1, nil).Submission.Warrant), "a broken text": []byte("eyJ.broken\n")} {
			s := c.seat("", "case118")
			if err := errors.Join(os.RemoveAll(s.cases), os.Mkdir(s.cases, 0o700)); err != nil {
				t.Fatal(err)
			}
			o := c.find(s, "case118", 1)
			if drafted {
				c.answerAll(s, o.ID, c.answers())
			}
			c.write("orders/case118.jws", content)
			list, err := s.list()
			if err != nil || len(list) != 1 || list[0].OtherFile != o.File || list[0].Signed || list[0].Astray || list[0].Begun != drafted {
				t.Fatalf("%s: %+v %v", name, list, err)
			}
			shown, err := s.show(list[0].ID)
			if err != nil || shown.OtherFile != o.File || drafted && (shown.ID != o.ID || !shown.Complete()) {
				t.Errorf("%s: %+v %v", name, shown, err)
			}
			if !drafted {
				continue
			}
			if _, err := s.sign(t.Context(), o.ID, yes); !errors.Is(err, errOtherFile) {
				t.Errorf("%s: %v", name, err)
			}
			if now, err := os.ReadFile(o.File); err != nil || string(now) != string(content) {
				t.Error(name, err)
			}
		}
	}
}

// TestRefusedForGood: what the registrar refused is said to be signed, saved and refused, for its
// reason, also by the next desk, and not that it may be filed.
func TestRefusedForGood(t *testing.T) {
	c := newClerk(t)
	status := http.StatusConflict
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(registrar.Problem{Status: status, Code: "warrant.too_late", Title: "it is released already"}) //nolint:errcheck // the test says so
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(registrar.CaseStatus{Case: aCase, State: "released"}) //nolint:errcheck // the test says so
	}))
	defer srv.Close()
	_, hash, _ := c.signedOrder(c.seat("", "case118"), c.answers())
	s := c.seat(srv.URL, "case118")
	step := desk.FollowUp{Kind: desk.StepWithdraw, Case: aCase, Order: hash, Text: "A mistake."}
	_, err := s.followUp(t.Context(), step, yes)
	if !errors.Is(err, errRefusedSigned) || !strings.Contains(errors.Unwrap(err).Error(), "case118-withdrawal.jws") || !strings.Contains(errors.Unwrap(err).Error(), "warrant.too_late") {
		t.Fatal(err, errors.Unwrap(err))
	}
	all := c.seat(srv.URL, "case118").unfiled()
	if len(all) != 1 || !strings.Contains(all[0].Refused, "warrant.too_late") {
		t.Fatalf("%+v", all)
	}
	status = http.StatusServiceUnavailable
	if _, err := s.fileUnfiled(t.Context(), aCase, all[0].Hash); !errors.Is(err, errFiledUnknown) || s.unfiled()[0].Refused != "" {
		t.Error("whether it was filed now is not known: ", err)
	}
}

// TestReachedPenNames: only those count for whom an order still stands.
func TestReachedPenNames(t *testing.T) {
	o := desk.Signed{Targets: []string{"a@x", "b@x"}}
	at := func(states ...opening.TargetState) (st registrar.CaseStatus) {
		for _, s := range states {
			st.Targets = append(st.Targets, registrar.TargetStatus{TargetState: s})
		}
		return st
	}
	for _, x := range []struct {
		kind string
		st   registrar.CaseStatus
		want string
	}{
		{policy.Withdrawal, at(), "a@x b@x"}, {policy.Withdrawal, at(opening.TargetState{State: "withdrawn"}, opening.TargetState{State: "waiting"}), "b@x"},
		{policy.Withdrawal, at(opening.TargetState{State: "released"}, opening.TargetState{State: "declined"}), ""}, {policy.Annulment, at(opening.TargetState{State: "released"}, opening.TargetState{State: "declined"}), "a@x"},
		{policy.Annulment, at(opening.TargetState{State: "released", Code: "package.annulled"}, opening.TargetState{State: "authorised"}), "b@x"},
	} {
		if got := strings.Join(reached(x.kind, x.st, o), " "); got != x.want {
			t.Errorf("%s of %+v: %s", x.kind, x.st.Targets, got)
		}
	}
	s := newClerk(t).seat("", "case118")
	if words, err := s.wordsOfStep(aCase, &policy.Warrant{Kind: policy.Withdrawal}, signing{order: o, reached: o.Targets[1:]}); err != nil || !strings.Contains(words, "still reaches, 1 of 2: b@x.") {
		t.Error(words, err)
	}
}

// TestBarredIsNotOffered: of a case that may not be used nothing is opened or delivered anew, and a
// certificate is signed once that is read, or that nobody could be asked.
func TestBarredIsNotOffered(t *testing.T) {
	c := newClerk(t)
	stands := map[string]registrar.CaseStatus{aCase: {Case: aCase, State: "released"}}
	bundle, err := c.world.Bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case registrar.PathMine: // where nothing says what is barred
			json.NewEncoder(w).Encode(registrar.Cases{Cases: []registrar.CaseStatus{{Case: aCase, State: "released", Kind: policy.Production, Quorum: 2}}}) //nolint:errcheck // the test says so
		case registrar.PathWarrants + "/" + aCase:
			json.NewEncoder(w).Encode(stands[aCase]) //nolint:errcheck // the test says so
		case registrar.PathBundle:
			json.NewEncoder(w).Encode(registrar.Bundle{Bundle: bundle}) //nolint:errcheck // the test says so
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer srv.Close()
	s := c.seat(srv.URL, "case118")
	s.requester = "requester.key"
	listed := func() desk.OwnCase {
		t.Helper()
		list, err := s.ownCases(t.Context(), "")
		if err != nil || len(list.Cases) != 1 {
			t.Fatal(list, err)
		}
		return list.Cases[0]
	}
	if of := listed(); !slices.Contains(of.Now, desk.StepOpen) {
		t.Error(of.Now)
	}
	if err := os.Mkdir(c.path("opened"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.write("opened/"+opening.FileStatement, []byte(`{"case":"`+aCase+`"}`))
	if said := s.mayBeUsed(t.Context(), c.path("opened")); said != "" {
		t.Error(said)
	}
	if said := s.mayBeUsed(t.Context(), c.path("case118")); !strings.Contains(said, "could not be asked") {
		t.Error(said)
	}
	barred := stands[aCase]
	barred.Barred = &registrar.Barred{Why: registrar.BarredAnnulled, Leaf: 7}
	stands[aCase] = barred
	if said := s.mayBeUsed(t.Context(), c.path("opened")); !strings.Contains(said, "MAY NOT BE USED. Entry 7") || !strings.Contains(said, "annulled") {
		t.Error(said)
	}
	if of := listed(); slices.Contains(of.Now, desk.StepOpen) || slices.Contains(of.Later, desk.StepRedeliver) || !slices.Contains(of.Now, desk.StepDeleted) {
		t.Error("the list offers what is barred: ", of.Now, of.Later)
	}
	barred.Kind, barred.Quorum = policy.Production, 2
	for _, is := range []bool{false, true} {
		if !is {
			barred.Barred = nil
		} else {
			barred.Barred = stands[aCase].Barred
		}
		of := &desk.OwnCase{CaseStatus: barred}
		if s.nextSteps(of); slices.Contains(of.Now, desk.StepOpen) == is || slices.Contains(of.Later, desk.StepRedeliver) == is {
			t.Errorf("barred %t: %v %v", is, of.Now, of.Later)
		}
	}
	for whose, offered := range map[string]bool{"court": true, "appeal": false} {
		s.whose = whose
		of := &desk.OwnCase{CaseStatus: registrar.CaseStatus{Case: aCase, Authority: "court", State: "recorded", Quorum: 2}}
		if s.nextSteps(of); slices.Contains(of.Later, desk.StepWithdraw) != offered {
			t.Error(whose, of.Later)
		}
	}
}
