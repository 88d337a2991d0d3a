package registrar_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
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
	var asked, body, proof string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in json.RawMessage
		if r.Method == http.MethodPost {
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				t.Error(err)
			}
		}
		asked, body, proof = r.Method+" "+r.URL.EscapedPath(), string(in), r.Header.Get("DPoP")
		w.Write([]byte(`{"messages":["m"]}`)) //nolint:errcheck // the client sees it
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
		{"GET /v1/warrants/x%2Fy", "", false, func() error { _, err := c.Status(ctx, "x/y"); return err }},
		{"GET /v1/warrants/x/package", "", false, func() error { _, err := c.Package(ctx, "x"); return err }},
		{"GET /v1/cases", "", true, func() error { _, err := c.Cases(ctx, key, ""); return err }},
		{"GET /v1/cases/x", "", true, func() error { _, err := c.CaseFile(ctx, key, "x"); return err }},
		{"POST /v1/cases/x/decisions", `{"decision":"d"}`, true, func() error { _, err := c.Decide(ctx, key, "x", "d"); return err }},
		{"GET /v1/bundle", "", false, func() error { _, err := c.Bundle(ctx); return err }},
		{"GET /v1/ceremonies/p/messages", "", false, func() error { _, err := c.Board("p")(ctx, ""); return err }},
		{"POST /v1/ceremonies/p/messages", `{"message":"m"}`, false, func() error { _, err := c.Board("p")(ctx, "m"); return err }},
		{"GET /v1/ceremonies/p/transcript", "", false, func() error { _, err := c.Transcript(ctx, "p"); return err }},
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
	err := answer(409, `{"type":"urn:penname:problem:warrant.quorum","title":"T","status":409,"code":"warrant.quorum","approvals":1,"quorum":2,"more":1}`)
	if !errors.As(err, &said) || said.Code != "warrant.quorum" || *said.Approvals != 1 || *said.Quorum != 2 {
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
