package registrar_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/token"
)

func TestFillEscapes(t *testing.T) {
	for want, got := range map[string]string{
		"/v1/warrants/abc":              registrar.Fill(registrar.PathWarrant, "abc"),
		"/v1/warrants/abc/package":      registrar.Fill(registrar.PathPackage, "abc"),
		"/v1/cases/..%2F..%2Fx%3Fy":     registrar.Fill(registrar.PathCase, "../../x?y"),
		"/v1/cases/a%2Fb/decisions":     registrar.Fill(registrar.PathDecisions, "a/b"),
		"/v1/ceremonies/:plan/messages": registrar.Fill(registrar.PathMessages, ":plan"),
		"/v1/ceremonies/%00/transcript": registrar.Fill(registrar.PathTranscript, "\x00"),
	} {
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}

// Each call goes where the server listens, with the document that it takes, and
// only a custodian's calls are signed.
func TestClientSpeaksTheWire(t *testing.T) {
	key, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 28, 15, 0, 0, 0, time.UTC)
	decided := opening.Approval{Case: "x", Custodian: "alba", WarrantHash: digest("w"), Bundle: digest("b"), CheckpointSize: 8,
		Decision: opening.Decline, Reason: policy.DeclineReasons[0], At: now}
	signed, err := opening.SignApproval(key, decided)
	if err != nil {
		t.Fatal(err)
	}
	transcript, plan := transcript(t)
	var asked, body, proof string
	id := "x"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in json.RawMessage
		if r.Method == http.MethodPost {
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				t.Error(err)
			}
		}
		asked, body, proof = r.Method+" "+r.URL.EscapedPath(), string(in), r.Header.Get("DPoP")
		if strings.HasSuffix(r.URL.Path, "/transcript") {
			w.Write(transcript) //nolint:errcheck // the client sees it
			return
		}
		fmt.Fprintf(w, `{"messages":["m"],"records":[{"leaf":1}],"case":%q,"warrant":%q,"bundle":%q}`, id, digest("w"), digest("b"))
	}))
	defer srv.Close()
	c := &registrar.Client{Server: srv.URL, HTTP: srv.Client(), Now: func() time.Time { return now }}
	ctx := t.Context()
	for _, call := range []struct {
		asks, says string
		custodian  bool
		do         func() error
	}{
		{"POST /v1/warrants", `{"warrant":"w","evidence":["e"]}`, false, func() error {
			_, err := c.FileWarrant(ctx, policy.Submission{Warrant: "w", Evidence: []string{"e"}})
			return err
		}},
		{"GET /v1/warrants/x%2Fy", "", false, func() error { id = "x/y"; _, err := c.Status(ctx, id); id = "x"; return err }},
		{"GET /v1/warrants/x/package", "", false, func() error { _, err := c.Package(ctx, "x"); return err }},
		{"GET /v1/cases", "", true, func() error { _, err := c.Cases(ctx, key, ""); return err }},
		{"GET /v1/cases/x", "", true, func() error { _, err := c.CaseFile(ctx, key, "x"); return err }},
		{"POST /v1/cases/x/decisions", `{"decision":"` + signed + `"}`, true, func() error { _, err := c.Decide(ctx, key, signed); return err }},
		{"GET /v1/bundle", "", false, func() error { _, err := c.Bundle(ctx); return err }},
		{"GET /v1/platforms", "", false, func() error { _, _, err := c.Platforms(ctx, 7); return err }},
		{"GET /v1/ceremonies/p/messages", "", false, func() error { _, err := c.Board("p")(ctx, ""); return err }},
		{"POST /v1/ceremonies/p/messages", `{"message":"m"}`, false, func() error { _, err := c.Board("p")(ctx, "m"); return err }},
		{"GET /v1/ceremonies/" + plan + "/transcript", "", false, func() error { _, err := c.Transcript(ctx, plan); return err }},
	} {
		if err := call.do(); err != nil || asked != call.asks || body != call.says || (proof != "") != call.custodian {
			t.Errorf("%s: asked %s with %s, signed %v, %v", call.asks, asked, body, proof != "", err)
		}
		if call.custodian {
			method, path, _ := strings.Cut(call.asks, " ")
			if _, err := token.VerifyDPoP(proof, token.DPoPWant{Method: method, URL: srv.URL + path, Now: now, MaxAge: time.Minute}); err != nil {
				t.Errorf("%s: %v", call.asks, err)
			}
		}
	}
}

// transcript is that of a ceremony, with the hash of its plan.
func transcript(t *testing.T) (raw []byte, plan string) {
	t.Helper()
	raw, err := os.ReadFile("../seal/ceremony/testdata/transcript.json")
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := policy.ParseCeremonyTranscript(raw)
	if err != nil {
		t.Fatal(err)
	}
	return raw, p.Hash()
}

// A transcript is that of the plan that was asked for, byte for byte, or refused.
func TestFoundO1TranscriptOfAnotherPlan(t *testing.T) {
	raw, plan := transcript(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write(raw) //nolint:errcheck // the client sees it
	}))
	defer srv.Close()
	c := &registrar.Client{Server: srv.URL, HTTP: srv.Client(), Now: time.Now}
	if got, err := c.Transcript(t.Context(), plan); err != nil || string(got) != strings.TrimSpace(string(raw)) {
		t.Error(err)
	}
	if _, err := c.Transcript(t.Context(), digest("another plan")); !errors.Is(err, registrar.ErrOtherAnswer) {
		t.Error(err)
	}
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// A registrar that answers about something else than was asked is not believed:
// the smallest case was another case's status, taken for the acknowledgement of a
// decision.
func TestFoundO1AnswerToAnotherQuestion(t *testing.T) {
	key, err := document.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 28, 15, 0, 0, 0, time.UTC)
	signed, err := opening.SignApproval(key, opening.Approval{Case: "x", Custodian: "alba", WarrantHash: digest("w"), Bundle: digest("b"),
		LeafIndex: 7, CheckpointSize: 8, Decision: opening.Decline, Reason: policy.DeclineReasons[0], At: now})
	if err != nil {
		t.Fatal(err)
	}
	right := registrar.CaseStatus{Case: "x", Warrant: digest("w"), Leaf: 7, Bundle: digest("b"), State: "recorded"}
	for name, c := range map[string]struct {
		change                func(*registrar.CaseStatus)
		files, status, decide bool // believed
	}{
		"honest":          {func(*registrar.CaseStatus) {}, true, true, true},
		"another case":    {func(s *registrar.CaseStatus) { s.Case = "y" }, true, false, false}, // who files learns the id
		"no case":         {func(s *registrar.CaseStatus) { s.Case = "" }, false, false, false},
		"another warrant": {func(s *registrar.CaseStatus) { s.Warrant = digest("v") }, false, true, false},
		"no warrant":      {func(s *registrar.CaseStatus) { s.Warrant = "" }, false, true, false},
		"another leaf":    {func(s *registrar.CaseStatus) { s.Leaf++ }, true, true, false}, // the registrar's word alone
		"another bundle":  {func(s *registrar.CaseStatus) { s.Bundle = digest("c") }, true, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			answer := right
			c.change(&answer)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				json.NewEncoder(w).Encode(answer) //nolint:errcheck // the client sees it
			}))
			defer srv.Close()
			client := &registrar.Client{Server: srv.URL, HTTP: srv.Client(), Now: func() time.Time { return now }}
			want := func(believed bool, err error) {
				t.Helper()
				if believed && err != nil || !believed && !errors.Is(err, registrar.ErrOtherAnswer) {
					t.Error(err)
				}
			}
			_, err := client.FileWarrant(t.Context(), policy.Submission{Warrant: "w"})
			want(c.files, err)
			_, err = client.Status(t.Context(), "x")
			want(c.status, err)
			_, err = client.Decide(t.Context(), key, signed)
			want(c.decide, err)
		})
	}
}

// An answer that is not a registrar's is told apart from a refusal.
func TestClientRefusals(t *testing.T) {
	answer := func(status int, body string) error {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			w.Write([]byte(body)) //nolint:errcheck // the client sees it
		}))
		defer srv.Close()
		c := &registrar.Client{Server: srv.URL, HTTP: srv.Client(), Now: time.Now}
		_, err := c.Status(t.Context(), "x")
		return err
	}
	var said *registrar.Problem
	err := answer(409, `{"type":"urn:penname:problem:warrant.quorum","title":"T","status":409,"code":"warrant.quorum","decided":1,"quorum":2,"more":1}`)
	if !errors.As(err, &said) || said.Code != "warrant.quorum" || *said.Decided != 1 || *said.Quorum != 2 {
		t.Error(err)
	}
	for _, c := range []struct {
		status int
		body   string
	}{{502, "<html>"}, {404, "{}"}, {200, "not JSON"}, {302, "{}"}} {
		if err := answer(c.status, c.body); !errors.Is(err, registrar.ErrUnreachable) {
			t.Errorf("%d: %v", c.status, err)
		}
	}
	for _, server := range []string{"", "nonsense", "http://penname.example", "ftp://127.0.0.1"} {
		c := &registrar.Client{Server: server, HTTP: http.DefaultClient, Now: time.Now}
		if _, err := c.Bundle(t.Context()); !errors.Is(err, registrar.ErrInsecure) {
			t.Errorf("%q: %v", server, err)
		}
	}
}
