package command

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening/openingtest"
)

// otherCase puts evidence of another author into a folder, of the same world.
func (c *clerk) otherCase(folder string) (penName string) {
	c.t.Helper()
	filed := c.world.File(1, 1, nil)
	if err := os.MkdirAll(c.path(folder), 0o700); err != nil {
		c.t.Fatal(err)
	}
	c.write(folder+"/other.jws", []byte(filed.Submission.Evidence[0]))
	for _, words := range filed.Words {
		c.write(folder+"/other.txt", []byte(words))
	}
	w, err := policy.ParseUnverified(filed.Submission.Warrant)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(w.Targets[0].Pseudonym)
}

// seat is an unlocked desk with the court's key.
func (c *clerk) seat(server string, evidence ...string) *officerSeat {
	c.t.Helper()
	s := newOfficerSeat(&program{Env: Env{HTTP: http.DefaultClient, Stdin: strings.NewReader(""), Now: func() time.Time { return openingtest.Now }}, server: server})
	s.by, s.bundle, s.cases = signer{key: c.path("court.jwk")}, c.world.Bundle, c.path("orders")
	for _, folder := range evidence {
		s.evidence = append(s.evidence, c.path(folder))
	}
	if err := os.MkdirAll(s.cases, 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := errors.Join(s.place(), s.unlock(c.t.Context(), nil)); err != nil {
		c.t.Fatal(err)
	}
	return s
}

// find is an order of the list, by the name of its folder and its number.
func (c *clerk) find(s *officerSeat, name string, number int) desk.Order {
	c.t.Helper()
	all, err := s.list()
	if err != nil {
		c.t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, o := range all {
		if seen[o.ID] || seen[o.Draft] {
			c.t.Fatalf("two orders are one: %+v", all)
		}
		seen[o.ID], seen[o.Draft] = true, true
	}
	for _, o := range all {
		if o.Name == name && o.Number == number {
			return o
		}
	}
	c.t.Fatalf("no order %d of %s: %+v", number, name, all)
	return desk.Order{}
}

// answerAll answers each question of an order.
func (c *clerk) answerAll(s *officerSeat, id string, answers map[string]string) {
	c.t.Helper()
	for range 30 {
		o, err := s.show(id)
		if err != nil {
			c.t.Fatal(err)
		}
		if o.Left() == "" {
			return
		}
		if _, wrong, err := s.answer(id, o.Left(), answers, nil); err != nil || len(wrong) > 0 {
			c.t.Fatal(o.Left(), wrong, err)
		}
	}
	c.t.Fatal("it does not end")
}

func yes(string) error { return nil }

// TestOrdersAreKnownByTheirEvidence: whatever folders are called, an order is shown with the
// evidence that it is about and with no other, and each folder can have one of its own.
func TestOrdersAreKnownByTheirEvidence(t *testing.T) {
	c := newClerk(t)
	for from, to := range map[string]string{"case118": "ev/case118"} {
		if err := errors.Join(os.MkdirAll(c.path("ev"), 0o700), os.Rename(c.path(from), c.path(to))); err != nil {
			t.Fatal(err)
		}
	}
	other := c.otherCase("ev/case118.2")
	c.otherCase("ev2/case118")
	c.otherCase("ev/case118-ruling")
	c.otherCase("ev/TC [118]")
	s := c.seat("", "ev")
	if next := c.find(s, "TC [118]", 1); next.Begun {
		t.Errorf("%+v", next)
	} else if o, err := s.show(next.ID); err != nil || len(o.Steps) == 0 {
		t.Error("a folder with brackets has no evidence: ", o, err)
	}
	first := c.find(s, "case118", 1).ID
	c.answerAll(s, first, c.answers())
	if _, err := s.sign(t.Context(), first, yes); err != nil {
		t.Fatal(err)
	}
	second := c.find(s, "case118", 2)
	o := c.find(s, "case118.2", 1)
	if o.Begun || o.Signed || second.Begun || second.ID == o.ID {
		t.Fatalf("%+v %+v", second, o)
	}
	c.answerAll(s, o.ID, c.answers())
	if _, err := s.sign(t.Context(), o.ID, yes); err != nil {
		t.Fatal(err)
	}
	if _, w, err := readSigned(c.find(s, "case118.2", 1).File); err != nil || len(w.Targets) != 1 || string(w.Targets[0].Pseudonym) != other {
		t.Error("the order is about somebody else: ", w, err)
	}
	if now := c.find(s, "case118", 1); !now.Signed || now.ID != first {
		t.Errorf("%+v", now)
	}

	// A follow-up is no order of a folder that is called as its file is.
	content, err := os.ReadFile(c.find(s, "case118", 1).File)
	if err != nil {
		t.Fatal(err)
	}
	earlier := strings.TrimSpace(string(content))
	hash := policy.Hash(earlier)
	if _, err := s.followUp(t.Context(), desk.FollowUp{Kind: desk.StepSecrecy, Case: "x", Order: hex.EncodeToString(hash[:]), Text: "The search is over."}, yes); !errors.Is(err, errSavedNotFiled) {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(s.cases, "case118-secrecy.jws"), filepath.Join(s.cases, "case118-ruling.jws")); err != nil {
		t.Fatal(err)
	}
	if o := c.find(s, "case118-ruling", 1); o.Begun || o.Signed {
		t.Errorf("%+v", o)
	}

	// The next stick has another case in a folder of that name.
	c.write("orders/case118.case", []byte(`{"case":"`+strings.Repeat("a", 26)+`"}`))
	s = c.seat("", "ev2")
	o = c.find(s, "case118", 1)
	if o.Signed || o.Case != "" || o.Begun {
		t.Errorf("it shows the order of another case: %+v", o)
	}
	if _, err := s.posts(first, 0, 1); !errors.Is(err, desk.ErrNoOrder) {
		t.Error("its posts are shown under that order: ", err)
	}
	c.answerAll(s, o.ID, c.answers())
	s = c.seat("", "ev", "ev2")
	if o := c.find(s, "case118", 1); !o.Signed || o.Case == "" {
		t.Errorf("%+v", o)
	}
}

// TestLinksInEvidence: what lies beside evidence and is no file is not waited for and not read, by
// the desk and by the commands.
func TestLinksInEvidence(t *testing.T) {
	c := newClerk(t)
	c.otherCase("elsewhere")
	for name, to := range map[string]string{"a.earlier": "/dev/stdin", "b.jws": "/proc/kmsg", "c.jws": c.path("elsewhere/other.jws"), "d.earlier": "/dev/zero"} {
		if err := os.Symlink(to, c.path("case118/"+name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"e.jws", "f.earlier"} {
		if err := syscall.Mkfifo(c.path("case118/"+name), 0o600); err != nil {
			t.Skip(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s := c.seat("", "case118")
		o := c.find(s, "case118", 1)
		c.answerAll(s, o.ID, c.answers())
		page, err := s.posts(o.ID, 0, 10)
		if err != nil || page.All != 4 {
			t.Error(page.All, err)
		}
		if file, _, _, err := s.textOf(order{folder: s.evidence[0], base: strings.TrimSuffix(o.Draft, ".json")}); err != nil || file != o.Draft {
			t.Error(file, err)
		}
		if got := s.earlierOf(order{folder: s.evidence[0]}, []byte(`{"earlier":"00"}`), ""); got != "" {
			t.Error(got)
		}
		if out, errs, code := c.run(t.Context(), nil, "warrant", "check", o.Draft, "--bundle", "@/bundle.json", "--evidence", "@/case118"); code != 0 {
			t.Error(out, errs)
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it hangs")
	}
}

// TestAnswersAtTheDesk: a text that begins with an @ is that text; a draft goes with the answers
// that made it; a key is found wherever the desk was started, and chosen as a file.
func TestAnswersAtTheDesk(t *testing.T) {
	c := newClerk(t)
	s := c.seat("", "case118")
	o := c.find(s, "case118", 1)
	answers := c.answers()
	answers["grounds"] = "@troll42 wrote it."
	c.answerAll(s, o.ID, answers)
	if _, w, err := s.readDraft(o.Draft); err != nil || w.Grounds != "@troll42 wrote it." {
		t.Fatal(w, err)
	}
	shown, err := s.show(o.ID)
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, step := range shown.Steps {
		found = found || slices.ContainsFunc(step.Questions, func(q desk.Question) bool { return q.Name == "grounds" && q.Answer == "@troll42 wrote it." })
	}
	if !found {
		t.Error("it is shown otherwise")
	}

	answers["unusual"] = "dated_back"
	if _, wrong, err := s.answer(o.ID, "unusual", answers, nil); err != nil || len(wrong) > 0 {
		t.Fatal(wrong, err)
	}
	if o := c.find(s, "case118", 1); o.Drafted || !o.Begun {
		t.Errorf("a draft that is none any more: %+v", o)
	}

	secret, err := c.world.Delivery.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	if _, wrong, err := s.answer(o.ID, "delivery_key", map[string]string{}, map[string][]byte{"delivery_key": []byte(secret + "\n")}); err != nil && !errors.Is(err, errNoStep) || len(wrong) > 0 {
		t.Error(wrong, err)
	}
	d, err := s.interview(order{folder: s.evidence[0], base: strings.TrimSuffix(o.Draft, ".json")})
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range d.Steps() {
		for _, q := range q.Questions {
			if q.Name != "delivery_key" {
				continue
			}
			if key, err := s.chosen(order{}, q, []byte(secret+"\n")); err != nil || key != c.world.Delivery.Public() {
				t.Error("the file of the secret key is no answer: ", err)
			}
		}
	}
	s.requester = "requester.key"
	if err := s.place(); err != nil || !filepath.IsAbs(s.requester) {
		t.Error(s.requester, err)
	}
}

// TestSignedAndNotFiledIsFound: what was signed while nobody took it is found by the next desk, is
// not signed a second time, and is filed as it is.
func TestSignedAndNotFiledIsFound(t *testing.T) {
	c := newClerk(t)
	s := c.seat("http://127.0.0.1:1", "case118")
	o := c.find(s, "case118", 1)
	c.answerAll(s, o.ID, c.answers())
	if _, err := s.sign(t.Context(), o.ID, yes); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(o.File)
	if err != nil {
		t.Fatal(err)
	}
	hash := policy.Hash(strings.TrimSpace(string(content)))
	id := strings.Repeat("a", 26)
	step := desk.FollowUp{Kind: desk.StepWithdraw, Case: id, Order: hex.EncodeToString(hash[:]), Text: "A mistake."}
	if _, err := s.followUp(t.Context(), step, yes); !errors.Is(err, errFiledUnknown) {
		t.Fatal(err)
	}
	signed, err := os.ReadFile(filepath.Join(s.cases, "case118-withdrawal.jws"))
	if err != nil {
		t.Fatal(err)
	}

	filed := make(chan policy.Submission, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodGet {
			json.NewEncoder(w).Encode(map[string]any{"case": strings.TrimPrefix(r.URL.Path, registrar.PathWarrants+"/"), "state": "recorded"}) //nolint:errcheck // the test says so
			return
		}
		var sub policy.Submission
		if err := json.NewDecoder(r.Body).Decode(&sub); err != nil {
			t.Error(err)
		}
		filed <- sub
		hash := policy.Hash(sub.Warrant)
		json.NewEncoder(w).Encode(map[string]any{"case": strings.Repeat("b", 26), "warrant": hex.EncodeToString(hash[:]), "state": "recorded"}) //nolint:errcheck // the test says so
	}))
	defer srv.Close()
	s = c.seat(srv.URL, "case118")
	all := s.unfiled()
	if len(all) != 1 || all[0].Case != id || all[0].Kind != desk.StepWithdraw || !strings.HasSuffix(all[0].File, "case118-withdrawal.jws") {
		t.Fatalf("%+v", all)
	}
	if _, err := s.followUp(t.Context(), step, yes); !errors.Is(err, errWaits) {
		t.Error(err)
	}
	if more, err := filepath.Glob(filepath.Join(s.cases, "case118-withdrawal*.jws")); err != nil || len(more) != 1 {
		t.Error("a second one was signed: ", more, err)
	}
	if _, err := s.fileUnfiled(t.Context(), strings.Repeat("c", 26), all[0].Hash); !errors.Is(err, errNoneWaits) {
		t.Error(err)
	}
	if _, err := s.fileUnfiled(t.Context(), id, all[0].Hash); err != nil {
		t.Fatal(err)
	}
	if sub := <-filed; sub.Warrant != strings.TrimSpace(string(signed)) {
		t.Error("another one was filed")
	}
	if left := s.unfiled(); len(left) != 0 {
		t.Errorf("%+v", left)
	}
}

// TestFiledInPart: of a folder to which pieces were added since, those that the order names are
// filed, each once; what was filed without all its exhibits is said to be filed; and no key of a
// file is read.
func TestFiledInPart(t *testing.T) {
	c := newClerk(t)
	bundle, err := c.world.Bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	filed, id := make(chan policy.Submission, 9), strings.Repeat("b", 26)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.Contains(r.URL.Path, "bundle"):
			w.Write(bundle) //nolint:errcheck // the test says so
		case r.Method == http.MethodPost && !strings.Contains(r.URL.Path, id):
			var sub policy.Submission
			if err := json.NewDecoder(r.Body).Decode(&sub); err != nil {
				t.Error(err)
			}
			filed <- sub
			hash := policy.Hash(sub.Warrant)
			json.NewEncoder(w).Encode(map[string]any{"case": id, "warrant": hex.EncodeToString(hash[:]), "state": "recorded"}) //nolint:errcheck // the test says so
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer srv.Close()
	s := c.seat(srv.URL, "case118")
	o := c.find(s, "case118", 1)
	c.answerAll(s, o.ID, c.answers())
	if _, err := s.sign(t.Context(), o.ID, yes); err != nil {
		t.Fatal(err)
	}
	hash, w, err := readSigned(o.File)
	if err != nil {
		t.Fatal(err)
	}
	threats := c.path("case118/threats.jws")
	content, err := os.ReadFile(threats)
	if err != nil {
		t.Fatal(err)
	}
	c.write("case118/copy.jws", content)
	c.otherCase("case118")

	var partly errPartly
	if _, err := s.file(t.Context(), o.ID); !errors.As(err, &partly) || partly.id != id {
		t.Error(err)
	}
	if sub := <-filed; len(sub.Evidence) != len(evidenceNamed(w)) {
		t.Error("pieces filed: ", len(sub.Evidence))
	}

	first, _, _ := strings.Cut(string(content), "\n")
	c.write("case118/copy.jws", []byte(first+"\n"))
	if err := os.Rename(threats, threats+".away"); err != nil {
		t.Fatal(err)
	}
	if now := c.find(s, "case118", 1); now.ID != o.ID || !now.Signed {
		t.Errorf("a signed order is hidden, since pieces were taken away: %+v", now)
	}
	if _, err := s.file(t.Context(), o.ID); !errors.Is(err, errNoEvidenceHere) {
		t.Error("it is filed without them: ", err)
	}
	if err := os.Rename(threats+".away", threats); err != nil {
		t.Fatal(err)
	}

	step := desk.FollowUp{Kind: desk.StepRedeliver, Case: id, Order: hash, Text: "The disk broke.", Key: c.path("new.key")}
	public, err := requester.CreateKey(c.path("secret.key"))
	if err != nil {
		t.Fatal(err)
	}
	c.write("new.key", []byte(public))
	if _, err := s.followUp(t.Context(), step, yes); !errors.Is(err, policy.ErrDeliveryKey) || len(s.unfiled()) != 0 {
		t.Error("a key was read from a file: ", err)
	}
	step.Key = public
	if _, err := s.followUp(t.Context(), step, yes); !errors.As(err, &partly) || partly.id != id {
		t.Error(err)
	}
	if len(s.unfiled()) != 1 {
		t.Error("it cannot be filed again, with what is missing")
	}
}

// TestLockWaitsForNothing: the key is dropped at once, whatever runs.
func TestLockWaitsForNothing(t *testing.T) {
	c := newClerk(t)
	s := c.seat("", "case118")
	in, out, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	done := false
	s.key.done = func() { done = true }
	go func() {
		ended <- s.signing(func(jose.JSONWebKey) error {
			close(in)
			<-out
			return nil
		})
	}()
	<-in
	locked := make(chan struct{})
	go func() {
		s.lock()
		close(locked)
	}()
	select {
	case <-locked:
	case <-time.After(10 * time.Second):
		t.Fatal("it waits")
	}
	if s.key != nil || done || !errors.Is(s.signing(nil), desk.ErrLocked) {
		t.Error("the key is there still, or its device was taken from who uses it")
	}
	close(out)
	if err := <-ended; err != nil || !done {
		t.Error("the device is not given back: ", err)
	}

	of := &deskSeat{home: &home{program: &program{}}}
	of.unlocked = new(custodian.Custodian)
	in, out = make(chan struct{}), make(chan struct{})
	go func() {
		ended <- of.with(func(*custodian.Custodian) error {
			close(in)
			<-out
			return context.Canceled
		})
	}()
	<-in
	locked = make(chan struct{})
	go func() {
		of.lock()
		close(locked)
	}()
	select {
	case <-locked:
	case <-time.After(10 * time.Second):
		t.Fatal("a custodian's waits")
	}
	close(out)
	<-ended
	if err := of.with(nil); !errors.Is(err, desk.ErrLocked) {
		t.Error(err)
	}
}
