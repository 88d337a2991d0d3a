package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	escrow "github.com/penname/penname/cmd/escrow/command"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/proof"
)

// liar is a registrar that changes a case file on its way to a custodian.
type liar func(*opening.CaseFile)

func (l liar) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || !strings.HasPrefix(r.URL.Path, "/v1/cases/") || r.Method != http.MethodGet {
		return res, err
	}
	defer res.Body.Close()
	var f opening.CaseFile
	if err := json.NewDecoder(res.Body).Decode(&f); err != nil {
		return nil, err
	}
	l(&f)
	b, err := json.Marshal(f)
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	return res, err
}

// TestCustodianCatchesALyingRegistrar: what the registrar shows must be what the
// public log recorded, word for word, and what the token committed to.
func TestCustodianCatchesALyingRegistrar(t *testing.T) {
	tb := startForTest(t)
	st := filedCase(t, tb)
	other := newRogue(t, tb, "chidi", secondCase(t, st)).file // as good a case, of another warrant
	for name, c := range map[string]struct {
		lie  liar
		code string
	}{
		"honest":                  {func(*opening.CaseFile) {}, ""},
		"another case's leaf":     {func(f *opening.CaseFile) { f.Leaf = other.Leaf }, "custodian.case_mismatch"},
		"another salt":            {func(f *opening.CaseFile) { f.Salt = other.Salt }, "custodian.case_mismatch"},
		"no salt":                 {func(f *opening.CaseFile) { f.Salt = nil }, "custodian.case_mismatch"},
		"another warrant":         {func(f *opening.CaseFile) { f.Submission = other.Submission }, "custodian.case_mismatch"},
		"one target left out":     {func(f *opening.CaseFile) { f.Targets = nil }, "custodian.case_mismatch"},
		"another record's label":  {func(f *opening.CaseFile) { f.Targets[0].Label = strings.Repeat("a", 26) }, "custodian.record_mismatch"},
		"another second half":     {func(f *opening.CaseFile) { f.Targets[0].SecondHalf[9] ^= 1 }, "custodian.record_mismatch"},
		"a proof of another leaf": {func(f *opening.CaseFile) { f.Leaf.Proof = other.Leaf.Proof }, "package.not_logged"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs strings.Builder
			env := escrow.System()
			env.Stdout, env.Stderr, env.Now = &out, &errs, tb.Clock.Now
			env.HTTP = &http.Client{Transport: c.lie}
			code := escrow.Run(t.Context(), tb.AsCustodian("alba", "review", st.ID), env)
			if c.code == "" && code != 0 || c.code != "" && (code != 1 || !strings.Contains(errs.String(), c.code)) {
				t.Fatalf("exit %d: %s", code, errs.String())
			}
		})
	}
}

// TestCustodianWaitsThoughTheRegistrarDoesNot: a registrar records a warrant whose
// person must be told first, and shows it to custodians at once. They count the
// days themselves, from the day in the public log.
func TestCustodianWaitsThoughTheRegistrarDoesNot(t *testing.T) {
	tb := startForTest(t)
	ctx := t.Context()
	st := filedCase(t, tb)
	name, err := st.Draft("told-first.json", st.Post, st.Evidence, "threats-to-life", "Threats to kill", 120)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var draft map[string]any
	if err := json.Unmarshal(raw, &draft); err != nil {
		t.Fatal(err)
	}
	draft["secrecy"] = map[string]any{"ends": tb.Clock.Now().UTC().Truncate(24 * time.Hour), "reason": ""}
	if raw, err = json.Marshal(draft); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	signed, err := st.Sign(ctx, name, "court.jwk")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Refused(ctx, "warrant.notice_first_not_served", "warrant", "file", signed, "--evidence", st.Evidence, "--server", tb.Origin); err != nil {
		t.Fatal(err)
	}
	warrant, err := os.ReadFile(signed)
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := os.ReadFile(st.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	s := policy.Submission{Warrant: strings.TrimSpace(string(warrant)), Evidence: []string{strings.TrimSpace(string(evidence))}}
	now := tb.Clock.Now()
	d := policy.Decide(s, tb.Service.Bundle, now)
	c := disclose.Case{
		ID: strings.Repeat("a", 26), WarrantHash: d.WarrantHash, Authority: d.Warrant.Authority, WarrantID: d.Warrant.ID, Submission: s,
		Bundle: tb.Service.Bundle.Hash(), Salt: [32]byte{1}, Quorum: d.Quorum, State: disclose.Recorded,
		SecrecyEnds: d.Warrant.Secrecy.Ends, Expires: d.Warrant.Expiry, ApproveFrom: now, // at once
	}
	if _, err := tb.Service.Registrar.Cases.File(ctx, c, policy.RecordedLeaf(s.Warrant, d.Warrant, c.Salt, c.Bundle, c.Quorum, proof.Day(now))); err != nil {
		t.Fatal(err)
	}
	for _, days := range []int{0, 10} { // the tenth day after that of the leaf is not over yet
		tb.Clock.Advance(time.Duration(days) * 24 * time.Hour)
		if err := st.Refused(ctx, "custodian.notice_period", tb.AsCustodian("alba", "approve", c.ID)...); err != nil {
			t.Errorf("after %d days: %v", days, err)
		}
	}
	tb.Clock.Advance(24 * time.Hour)
	if said, code := tb.Escrow(ctx, tb.AsCustodian("alba", "approve", c.ID)...); code != 0 {
		t.Error(said)
	}
}
