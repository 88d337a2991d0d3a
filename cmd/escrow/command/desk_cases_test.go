package command

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/opening/openingtest"
)

// signedOrder is an order that the court signed at its desk.
func (c *clerk) signedOrder(s *officerSeat, answers map[string]string) (file, hash string, w *policy.Warrant) {
	c.t.Helper()
	o := c.find(s, "case118", 1)
	c.answerAll(s, o.ID, answers)
	if _, err := s.sign(c.t.Context(), o.ID, yes); err != nil {
		c.t.Fatal(err)
	}
	hash, w, err := readSigned(o.File)
	if err != nil {
		c.t.Fatal(err)
	}
	return o.File, hash, w
}

// aCase and others are ids of cases.
var aCase, anotherCase = strings.Repeat("a", 26), strings.Repeat("b", 26)

// registrarOf answers where cases stand, and takes what is filed as about the case that about names.
func registrarOf(t *testing.T, stands map[string]registrar.CaseStatus, about *string, filed *[]string) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		st, known := stands[strings.TrimPrefix(r.URL.Path, registrar.PathWarrants+"/")]
		switch {
		case r.Method == http.MethodPost && r.URL.Path == registrar.PathWarrants:
			var sub policy.Submission
			if err := json.NewDecoder(r.Body).Decode(&sub); err != nil {
				t.Error(err)
			}
			*filed = append(*filed, sub.Warrant)
			hash := policy.Hash(sub.Warrant)
			st = registrar.CaseStatus{Case: strings.Repeat("f", 26), Warrant: hex.EncodeToString(hash[:]), State: "recorded", About: &registrar.CaseStatus{Case: *about}}
		case !known:
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			w.Write([]byte(`{"status":404,"code":"case.unknown","title":"no such case"}`)) //nolint:errcheck // the test says so
			return
		}
		json.NewEncoder(w).Encode(st) //nolint:errcheck // the test says so
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// TestStepIsOfItsCase: a step is signed for the order that its case was filed with, as far as that
// is known; what is shown names the case and for how many pen names something ends; and what turns
// out to be about another case is said to be.
func TestStepIsOfItsCase(t *testing.T) {
	c := newClerk(t)
	about, filed := aCase, []string(nil)
	stands := func(targets int, expires time.Time) registrar.CaseStatus {
		return registrar.CaseStatus{Case: aCase, State: "recorded", Quorum: 2, Targets: make([]registrar.TargetStatus, targets), Deadlines: []opening.Deadline{{What: opening.DeadlineExpiry, At: expires}}}
	}
	all := map[string]registrar.CaseStatus{}
	s := c.seat(registrarOf(t, all, &about, &filed), "case118")
	file, hash, w := c.signedOrder(s, c.answers())
	step := desk.FollowUp{Kind: desk.StepWithdraw, Case: aCase, Order: hash, Text: "A mistake."}
	shown := ""
	try := func() error {
		shown = ""
		_, err := s.followUp(t.Context(), step, func(what string) error {
			shown = what
			return errors.New("not yet")
		})
		return err
	}
	fits := func() int {
		orders, _ := s.signedOrders(desk.StepWithdraw, &desk.OwnCase{CaseStatus: all[aCase]})
		return len(orders)
	}
	for name, other := range map[string]func(){
		"more pen names": func() { all[aCase] = stands(len(w.Targets)+1, w.Expiry) },
		"another day":    func() { all[aCase] = stands(len(w.Targets), w.Expiry.Add(time.Hour)) },
		"filed with another": func() {
			all[aCase] = stands(len(w.Targets), w.Expiry)
			c.write("orders/x.case", []byte(`{"case":"`+aCase+`","warrant":"00"}`))
		},
		"filed as another": func() { c.write("orders/x.case", []byte(`{"case":"`+anotherCase+`","warrant":"`+hash+`"}`)) },
		"listed with another": func() {
			os.Remove(c.path("orders/x.case"))
			s.atCases.listed = map[string]registrar.CaseStatus{aCase: {Case: aCase, Warrant: "00"}}
		},
	} {
		os.Remove(c.path("orders/x.case"))
		s.atCases.listed, all[aCase] = nil, stands(len(w.Targets), w.Expiry)
		other()
		if err := try(); !errors.Is(err, errOtherCase) || shown != "" || fits() != 0 {
			t.Errorf("%s: %v, %d offered, %s", name, err, fits(), shown)
		}
	}
	os.Remove(c.path("orders/x.case"))
	s.atCases.listed = nil
	delete(all, aCase)
	if err := try(); err == nil || shown != "" {
		t.Error("there is no such case: ", err)
	}
	all[aCase] = stands(len(w.Targets), w.Expiry)
	if fits() != 1 {
		t.Error("its own order is not offered")
	}
	for kind, want := range map[string]int{desk.StepValidate: 0, desk.StepExtend: 0, desk.StepSecrecy: 1, desk.StepRedeliver: 1, desk.StepRule: 1} {
		if orders, unread := s.signedOrders(kind, nil); len(orders) != want || len(unread) > 0 || want > 0 && orders[0].Authority != "Crown Court" {
			t.Error(kind, orders, unread)
		}
	}

	// What is shown says which case, and for whom something ends.
	for _, ends := range []struct {
		targets []string
		says    string
	}{
		{nil, "About: all 2 pen names."},
		{[]string{string(w.Targets[1].Pseudonym) + "@" + w.Targets[1].Platform}, "About: 1 of 2 pen names"},
	} {
		step.Targets = ends.targets
		if err := try(); err == nil || !strings.Contains(shown, ends.says) || !strings.Contains(shown, "the case "+aCase) || !strings.Contains(shown, "of Crown Court") || strings.Contains(shown, "posts in evidence") {
			t.Error(err, shown)
		}
	}
	if words, err := s.wordsOfStep(aCase, &policy.Warrant{Kind: policy.Ruling, Ruling: &policy.RulingOn{Outcome: policy.Dismissed}}, signing{order: desk.Signed{Targets: []string{"a", "b"}}}); err != nil || strings.Contains(words, "About:") {
		t.Error("by a dismissal something ends: ", words, err)
	}
	if words, err := s.wordsOfStep(aCase, &policy.Warrant{Kind: policy.Ruling, Ruling: &policy.RulingOn{Outcome: policy.Upheld}}, signing{order: desk.Signed{Targets: []string{"a@x"}}}); err != nil || !strings.Contains(words, "About: the only pen name, a@x.") {
		t.Error(words, err)
	}

	// The registrar says of what was filed that it is about another case.
	about = anotherCase
	if _, err := s.followUp(t.Context(), step, yes); !errors.Is(err, desk.ErrFiledElsewhere) || !strings.Contains(errors.Unwrap(err).Error(), anotherCase) || len(filed) != 1 || len(s.unfiled()) != 0 {
		t.Error(err, len(filed), s.unfiled())
	}
	about = aCase
	if said, err := s.followUp(t.Context(), step, yes); err != nil || len(filed) != 2 {
		t.Error(said, err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// TestUpheldForWhoObjected: an objection is upheld for who made it, among others, or for all.
func TestUpheldForWhoObjected(t *testing.T) {
	about := desk.Signed{Targets: []string{"a@x", "b@x"}}
	o := desk.Objection{Target: 1}
	for _, c := range []struct {
		step desk.FollowUp
		ok   bool
	}{
		{desk.FollowUp{Upheld: true}, true}, {desk.FollowUp{Upheld: true, Targets: []string{"b@x"}}, true}, {desk.FollowUp{Upheld: true, Targets: []string{"a@x", "b@x"}}, true},
		{desk.FollowUp{Upheld: true, Targets: []string{"a@x"}}, false}, {desk.FollowUp{Targets: []string{"a@x"}}, true},
	} {
		if err := upheldFor(o, c.step, about); (err == nil) != c.ok || err != nil && (!errors.Is(err, errOtherObjector) || errors.Unwrap(err).Error() != "b@x") {
			t.Errorf("%+v: %v", c.step, err)
		}
	}
}

// TestThrownAwayIsKept: what was signed and is not filed waits no more once it is thrown away, also
// for the next desk, and its file is kept under a name that nothing takes for a signed one.
func TestThrownAwayIsKept(t *testing.T) {
	c := newClerk(t)
	s := c.seat("http://127.0.0.1:1", "case118")
	_, hash, _ := c.signedOrder(s, c.answers())
	step := desk.FollowUp{Kind: desk.StepWithdraw, Case: aCase, Order: hash, Text: "A mistake."}
	for n := range 2 {
		if _, err := s.followUp(t.Context(), step, yes); !errors.Is(err, errFiledUnknown) {
			t.Fatal(err)
		}
		all := s.unfiled()
		if len(all) != 1 {
			t.Fatalf("%+v", all)
		}
		if _, err := s.dropUnfiled(anotherCase, all[0].Hash); !errors.Is(err, errNoneWaits) {
			t.Error(err)
		}
		want, err := os.ReadFile(all[0].File)
		if err != nil {
			t.Fatal(err)
		}
		said, err := s.dropUnfiled(aCase, all[0].Hash)
		if err != nil {
			t.Fatal(err)
		}
		kept := all[0].File + []string{".aside", ".aside-2"}[n]
		if got, err := os.ReadFile(kept); err != nil || string(got) != string(want) || !strings.HasSuffix(said, kept) {
			t.Error(said, err)
		}
		if left := c.seat("http://127.0.0.1:1", "case118").unfiled(); len(s.unfiled())+len(left) > 0 {
			t.Errorf("%+v", left)
		}
		if orders, _ := s.filedHere(); len(orders) != 1 {
			t.Errorf("%+v", orders)
		}
	}

	// What is filed, and not all of what was published with it, is not thrown away.
	if _, err := s.followUp(t.Context(), step, yes); !errors.Is(err, errFiledUnknown) {
		t.Fatal(err)
	}
	u := s.unfiled()[0]
	if err := partlyFiled(u.File, anotherCase); err != nil {
		t.Fatal(err)
	}
	if u = s.unfiled()[0]; u.Filed != anotherCase {
		t.Errorf("%+v", u)
	}
	if _, err := s.dropUnfiled(aCase, u.Hash); !errors.Is(err, errNoneWaits) {
		t.Error(err)
	}
	if s.lock(); !errors.Is(errOf(s.dropUnfiled(aCase, u.Hash)), desk.ErrLocked) {
		t.Error("a locked desk throws away")
	}
}

func errOf(_ string, err error) error { return err }

// TestUnreadableFileStopsNothing: a file in the folder of cases that cannot be read is named, and
// all others count.
func TestUnreadableFileStopsNothing(t *testing.T) {
	c := newClerk(t)
	s := c.seat("", "case118")
	_, hash, _ := c.signedOrder(s, c.answers())
	if err := os.Symlink("/proc/self/mem", c.path("orders/bad.jws")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(c.path("orders/bad.jws")); err != nil || !info.Mode().IsRegular() {
		t.Skip("such a file is Linux's")
	}
	all, unread := s.filedHere()
	if len(all) != 1 || all[hash].Hash != hash || len(unread) != 1 || !errors.Is(unread[0], secretfile.ErrUnreadable) || !strings.Contains(errors.Unwrap(unread[0]).Error(), "bad.jws") {
		t.Error(all, unread)
	}
	c.write("orders/broken.jws", []byte("eyJ.broken\n"))
	for range 2 {
		if all, unread := s.filedHere(); len(all) != 1 || len(unread) != 2 || !errors.Is(errors.Join(unread...), errNoJWS) || !strings.Contains(errors.Unwrap(unread[1]).Error(), "broken.jws") {
			t.Error(all, unread)
		}
	}
	if _, _, err := s.signedOrder(hash); err != nil {
		t.Error(err)
	}
	if _, _, err := s.signedOrder(strings.Repeat("0", 64)); !errors.Is(err, errNotHere) || !strings.Contains(errors.Unwrap(err).Error(), "secret_file") && !strings.Contains(errors.Unwrap(err).Error(), "file.") {
		t.Error(err, errors.Unwrap(err))
	}
}

// TestAnnulIsForACourtAbove: it is offered to whoever is over the court of a case, or may be, and not
// to that court.
func TestAnnulIsForACourtAbove(t *testing.T) {
	c := newClerk(t)
	s := c.seat("", "case118")
	b := *s.bundle
	b.Authorities = append(slices.Clone(b.Authorities), policy.Authority{ID: "appeal", Over: []string{"court"}})
	s.bundle = &b
	for _, x := range []struct {
		whose, of, state string
		offered          bool
	}{
		{"appeal", "court", "recorded", true}, {"appeal", "", "recorded", true}, {"appeal", "court", "released", true}, {"appeal", "court", "noticed", true},
		{"appeal", "appeal", "recorded", false}, {"appeal", "other", "recorded", false}, {"court", "court", "recorded", false}, {"court", "", "recorded", false}, {"appeal", "court", "withdrawn", false},
	} {
		s.whose = x.whose
		of := &desk.OwnCase{CaseStatus: registrar.CaseStatus{Case: aCase, Authority: x.of, State: x.state, Quorum: 2}}
		if s.nextSteps(of); slices.Contains(of.Later, desk.StepAnnul) != x.offered {
			t.Errorf("%+v: %v %v", x, of.Now, of.Later)
		}
	}
}

// TestVerdictIsOfWhatWasChecked: what a check found is said of just what was checked: not of another
// draft, of other evidence, exhibits or countersignatures, and not after a lock.
func TestVerdictIsOfWhatWasChecked(t *testing.T) {
	c := newClerk(t)
	s := c.seat("", "case118")
	o := c.find(s, "case118", 1)
	c.answerAll(s, o.ID, c.answers())
	checked := func() *desk.Verdict {
		t.Helper()
		shown, err := s.show(o.ID)
		if err != nil {
			t.Fatal(err)
		}
		return shown.Verdict
	}
	check := func() {
		t.Helper()
		if err := s.check(t.Context(), o.ID); err != nil {
			t.Fatal(err)
		}
		if v := checked(); v == nil || len(v.Faults) > 0 || !v.At.Equal(openingtest.Now) {
			t.Fatalf("%+v", v)
		}
	}
	files, err := filepath.Glob(c.path("case118/post-*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	post, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	draft, err := os.ReadFile(o.Draft)
	if err != nil {
		t.Fatal(err)
	}
	if checked() != nil {
		t.Error("it was not checked yet")
	}
	for _, change := range []struct {
		name     string
		do, undo func() error
	}{
		{"the draft, by hand", func() error { return os.WriteFile(o.Draft, []byte("{}"), 0o600) }, func() error { return os.WriteFile(o.Draft, draft, 0o600) }},
		{"an exhibit", func() error { return os.WriteFile(files[0], []byte("x"), 0o600) }, func() error { return os.WriteFile(files[0], post, 0o600) }},
		{"more evidence", func() error { c.otherCase("case118"); return nil }, func() error {
			return errors.Join(os.Remove(c.path("case118/other.jws")), os.Remove(c.path("case118/other.txt")))
		}},
		{"the lock", func() error { s.lock(); return s.unlock(t.Context(), nil) }, nil},
	} {
		check()
		if err := change.do(); err != nil {
			t.Fatal(change.name, err)
		}
		shown, _ := s.show(o.ID)
		if v := shown.Verdict; v != nil {
			t.Errorf("%s: %+v", change.name, v)
		}
		if change.undo != nil {
			if err := change.undo(); err != nil {
				t.Fatal(err)
			}
		}
	}
	check()
	answers := c.answers()
	answers["necessity"] = "Another reason."
	if _, wrong, err := s.answer(o.ID, "file_number", answers, nil); err != nil || len(wrong) > 0 {
		t.Fatal(wrong, err)
	}
	if v := checked(); v != nil {
		t.Errorf("another draft: %+v", v)
	}
	check()
	if _, err := s.sign(t.Context(), o.ID, yes); err != nil {
		t.Fatal(err)
	}
	if v := checked(); v != nil {
		t.Errorf("it is signed: %+v", v)
	}
	check()
}

// TestTakenIsOfTheAuthority: what somebody else signed is kept if the authority that it names signed
// it; where it differs from the draft is said; and while it is not filed it can be put aside.
func TestTakenIsOfTheAuthority(t *testing.T) {
	c := newClerk(t)
	s := c.seat("", "case118")
	o := c.find(s, "case118", 1)
	c.answerAll(s, o.ID, c.answers())
	_, w, err := s.readDraft(o.Draft)
	if err != nil {
		t.Fatal(err)
	}
	w.Complete(s.bundle, [16]byte{1}, openingtest.Now)
	sign := func(key string, w policy.Warrant) []byte {
		t.Helper()
		k := c.world.Key(key)
		if key != "court" {
			k.KeyID = c.world.Key("court").KeyID
		}
		signed, err := policy.SignWarrant(k, w)
		if err != nil {
			t.Fatal(err)
		}
		return []byte(signed + "\n")
	}
	forged := *w
	forged.Requester.DeliveryKey = c.world.Delivery.Public()
	if _, err := s.take(t.Context(), o.ID, sign("somebody", forged)); err == nil || is(o.File) {
		t.Fatal("another key signed it, and it is kept: ", err)
	}
	changed := *w
	changed.Fields, changed.FileNumber = []string{"name", "birthdate"}, "TC 118/B"
	said, err := s.take(t.Context(), o.ID, sign("court", changed))
	if err != nil || !strings.Contains(said, "kept: "+o.File) || !strings.Contains(said, "fields\n  draft:  [\"name\"]\n  signed: [\"name\",\"birthdate\"]") || !strings.Contains(said, "TC 118/B") || strings.Contains(said, "grounds") || strings.Contains(said, "issued_at") {
		t.Error(said, err)
	}
	said, err = s.putBack(o.ID)
	if err != nil || is(o.File) || !strings.Contains(said, o.File+".aside") || !is(o.File+".aside") {
		t.Error(said, err)
	}
	if now := c.find(s, "case118", 1); now.Signed || !now.Drafted || now.ID != o.ID {
		t.Errorf("%+v", now)
	}
	if _, err := s.putBack(o.ID); !errors.Is(err, errNotSigned) {
		t.Error(err)
	}
	if said, err := s.take(t.Context(), o.ID, sign("court", *w)); err != nil || said != "kept: "+o.File {
		t.Error("what was ordered as it was drafted: ", said, err)
	}
	c.write("orders/case118.case", []byte(`{"case":"`+aCase+`"}`))
	if _, err := s.putBack(o.ID); !errors.Is(err, errIsFiled) || !is(o.File) {
		t.Error(err)
	}
}

// TestOrderWithoutItsEvidenceIsListed: a draft, or a signed order, is not lost from the list with its
// evidence, and where that was is said.
func TestOrderWithoutItsEvidenceIsListed(t *testing.T) {
	c := newClerk(t)
	if err := errors.Join(os.Mkdir(c.path("ev"), 0o700), os.Rename(c.path("case118"), c.path("ev/case118"))); err != nil {
		t.Fatal(err)
	}
	c.otherCase("ev/other")
	s := c.seat("", "ev")
	o := c.find(s, "case118", 1)
	c.answerAll(s, o.ID, c.answers())
	c.write("orders/by-a-command.jws", []byte("x"))
	astray := func() (all []desk.Order) {
		t.Helper()
		list, err := s.list()
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(list, func(o desk.Order) bool { return !o.Astray })
	}
	if all := astray(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	for _, signed := range []bool{false, true} {
		folder := c.find(s, "case118", 1).Folder
		if err := os.Rename(c.path("ev/case118"), c.path("away")); err != nil {
			t.Fatal(err)
		}
		if all := astray(); len(all) != 1 || all[0].Draft != o.Draft || all[0].Signed != signed || all[0].Folder != folder {
			t.Errorf("%+v, was in %s", all, folder)
		}
		if err := os.Rename(c.path("away"), c.path("ev/case118")); err != nil {
			t.Fatal(err)
		}
		if !signed {
			if _, err := s.sign(t.Context(), o.ID, yes); err != nil {
				t.Fatal(err)
			}
		}
	}
	if all := astray(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

// TestLockedWhileOpening: what was opened while the desk was locked is not put on it, and is not said
// to be undone.
func TestLockedWhileOpening(t *testing.T) {
	s := newClerk(t).seat("", "case118")
	if err := s.shows(aCase, &desk.Opened{}); err != nil || s.openedCase(aCase) == nil {
		t.Error(err)
	}
	s.lock()
	if err := s.shows(aCase, &desk.Opened{}); !errors.Is(err, errLockedMeanwhile) || errors.Is(err, desk.ErrLocked) || strings.Contains(err.Error(), "nothing was") || s.openedCase(aCase) != nil {
		t.Error(err)
	}
}
