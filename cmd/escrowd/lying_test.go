package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/penname/penname/cmd/escrow/command"
	"github.com/penname/penname/policy"
)

// liar is a registrar that changes a case file on its way to a custodian.
type liar func(*policy.CaseFile)

func (l liar) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || !strings.HasPrefix(r.URL.Path, "/v1/cases/") || r.Method != http.MethodGet {
		return res, err
	}
	defer res.Body.Close()
	var f policy.CaseFile
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
		"honest":                  {func(*policy.CaseFile) {}, ""},
		"another case's leaf":     {func(f *policy.CaseFile) { f.Leaf = other.Leaf }, "custodian.case_mismatch"},
		"another salt":            {func(f *policy.CaseFile) { f.Salt = other.Salt }, "custodian.case_mismatch"},
		"no salt":                 {func(f *policy.CaseFile) { f.Salt = nil }, "custodian.case_mismatch"},
		"another warrant":         {func(f *policy.CaseFile) { f.Submission = other.Submission }, "custodian.case_mismatch"},
		"one target left out":     {func(f *policy.CaseFile) { f.Targets = nil }, "custodian.case_mismatch"},
		"another record's label":  {func(f *policy.CaseFile) { f.Targets[0].Label = strings.Repeat("a", 26) }, "custodian.record_mismatch"},
		"another second half":     {func(f *policy.CaseFile) { f.Targets[0].SecondHalf[9] ^= 1 }, "custodian.record_mismatch"},
		"a proof of another leaf": {func(f *policy.CaseFile) { f.Leaf.Proof = other.Leaf.Proof }, "package.not_logged"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs strings.Builder
			env := command.System()
			env.Stdout, env.Stderr, env.Now = &out, &errs, tb.clock.Now
			env.HTTP = &http.Client{Transport: c.lie}
			code := command.Run(t.Context(), tb.asCustodian("alba", "review", st.caseID), env)
			if c.code == "" && code != 0 || c.code != "" && (code != 1 || !strings.Contains(errs.String(), c.code)) {
				t.Fatalf("exit %d: %s", code, errs.String())
			}
		})
	}
}
