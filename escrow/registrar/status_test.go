package registrar

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// What a person is told of a case: each target that is refused, each deadline with the time
// that is left, and what may not be used.
func TestStatusForAPerson(t *testing.T) {
	now := time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC)
	st := CaseStatus{
		Case: "case", State: "released", Approvals: 2, Declined: 1, Quorum: 2, OverDaily: true,
		Targets:   []TargetStatus{{TargetState: opening.TargetState{State: "released"}}, {TargetState: opening.TargetState{State: "refused", Code: "warrant.data_erased"}, Mend: "Gone."}, {TargetState: opening.TargetState{State: "released"}}},
		Deadlines: []opening.Deadline{{What: "one", At: now, Met: true}, {What: "two", At: now.Add(47*time.Hour + time.Minute)}, {What: "three", At: now.AddDate(0, 0, 10)}, {What: "four", At: now}},
		Barred:    &Barred{BarredAnnulled, 7}, Deleted: &Deleted{"Deleted.\nAll of it\x1b[2J.", 9},
	}
	const want = `case case
released: 2 of 2 custodians approved, 1 declined
over its authority's daily number, so every custodian has to approve
targets: 2 released, 1 refused
  target 1  released
  target 2  refused: warrant.data_erased: Gone.
  target 3  released
one: done
two: 2026-12-03 09:01:00 UTC, 47 hours left
three: 2026-12-11 10:00:00 UTC, 10 days left
four: 2026-12-01 10:00:00 UTC, which is past
use is forbidden: the order was annulled, entry 7 of the public log
the requester states that what was delivered is deleted, entry 9 of the public log:
  | Deleted.
  | All of it‹U+001B›[2J.`
	if got := st.At(now); got != want {
		t.Errorf("%s", got)
	}
	if got := st.String(); strings.Contains(got, "left") || !strings.Contains(got, "two: 2026-12-03 09:01:00 UTC\n") {
		t.Errorf("without a time: %s", got)
	}
	st.Targets[2].Code = "warrant.annulled"
	if got := st.At(now); !strings.Contains(got, "  target 3  released: warrant.annulled\n") || !strings.Contains(got, "\nuse of target 3 is forbidden: the order was annulled, entry 7") {
		t.Errorf("%s", got)
	}
	st.Targets[2].Code = ""
	st.Barred.Why = BarredLapsed
	if got := st.At(now); !strings.Contains(got, "use is forbidden: the emergency lapsed, entry 7") {
		t.Errorf("%s", got)
	}
}

// The head line of what no custodian decides, and of a suspension, says what is in force.
func TestHeadOfAStatus(t *testing.T) {
	in := func(state string) []TargetStatus {
		return []TargetStatus{{TargetState: opening.TargetState{State: state}}}
	}
	for want, st := range map[string]CaseStatus{
		"recorded: in effect; nobody has to decide about it\ntargets: 1 held": {State: "recorded", Targets: in("waiting")},
		"withdrawn\ntargets: 1 withdrawn":                                     {State: "withdrawn", Targets: in("withdrawn")},
		"suspended until 2026-12-29: 2 of 2 custodians approved\ntargets: 1 authorised": {State: "authorised", Approvals: 2, Quorum: 2,
			Targets: in("authorised"), SuspendedUntil: time.Date(2026, 12, 29, 8, 0, 0, 0, time.UTC)},
		"suspension ended: 2 of 2 custodians approved\ntargets: 1 withdrawn": {State: "authorised", Approvals: 2, Quorum: 2, Targets: in("withdrawn")},
		"authorised: 2 of 2 custodians approved\ntargets: 1 authorised":      {State: "authorised", Approvals: 2, Quorum: 2, Targets: in("authorised")},
	} {
		if got := st.String(); got != "case \n"+want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A refusal says of each rule what is wrong, by which law, and what to do; grounds of what
// permits are nobody's business.
func TestGroundsOfARefusal(t *testing.T) {
	d := policy.Decision{Refusal: policy.ErrRefusedByRule, Rules: []string{"a-rule"}, Grounds: []policy.Ground{{Title: "No", Field: "fields", Article: "Art. 5", Cure: "Ask for less."}}}
	p := Problem{Code: "warrant.refused_by_rule", Title: "No.", Rules: d.Rules, Grounds: GroundsOf(d)}
	if want := "warrant.refused_by_rule: No. (rule a-rule) [No; field: fields; by: Art. 5; to mend it: Ask for less.]"; p.Error() != want {
		t.Error(p.Error())
	}
	d.Refusal = policy.ErrExpired
	if GroundsOf(d) != nil {
		t.Error("grounds of a refusal by no rule")
	}
}

// What is objected is of the case that was asked for, and of the words that were sent.
func TestObjectionsAreOfTheirCase(t *testing.T) {
	words, digest := []byte("sealed"), "c4a0b7e4"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any
		switch r.URL.Path {
		case "/v1/warrants/mine/objections":
			answer = Objections{Case: "mine", Objections: []opening.Objection{{Digest: digest, Sealed: words}}}
		case "/v1/warrants/other/objections":
			answer = Objections{Case: "mine"}
		case PathObject:
			answer = Objected{Digest: digest}
		case PathNotices:
			answer = policy.Coded{FileNumber: "7"}
		}
		json.NewEncoder(w).Encode(answer) //nolint:errcheck // the client sees it
	}))
	defer srv.Close()
	c := &Client{Server: srv.URL, HTTP: srv.Client(), Now: time.Now}
	if _, err := c.Objections(t.Context(), "other"); !errors.Is(err, ErrOtherAnswer) {
		t.Error(err)
	}
	if all, err := c.Objections(t.Context(), "mine"); err != nil || len(all) != 1 || all[0].Sealed != nil {
		t.Errorf("words of another digest: %+v, %v", all, err)
	}
	if _, err := c.Object(t.Context(), "code", words); !errors.Is(err, ErrOtherAnswer) {
		t.Error(err)
	}
	if told, err := c.Coded(t.Context(), "code"); err != nil || told.FileNumber != "7" {
		t.Error(told, err)
	}
	sum := sha256.Sum256(words)
	digest = hex.EncodeToString(sum[:])
	if all, err := c.Objections(t.Context(), "mine"); err != nil || string(all[0].Sealed) != "sealed" {
		t.Errorf("%+v, %v", all, err)
	}
	if got, err := c.Object(t.Context(), "code", words); err != nil || got != digest {
		t.Error(got, err)
	}
}

func TestAStatementOfDeletionToAnotherCase(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/v1/warrants/mine/deletion" {
			w.WriteHeader(http.StatusNotFound)
		}
		json.NewEncoder(w).Encode(CaseStatus{Case: "other"}) //nolint:errcheck // the client sees it
	}))
	defer srv.Close()
	c := &Client{Server: srv.URL, HTTP: srv.Client(), Now: time.Now}
	if _, err := c.SayDeleted(t.Context(), "mine", Deletion{Statement: "Deleted."}); !errors.Is(err, ErrOtherAnswer) {
		t.Error(err)
	}
}
