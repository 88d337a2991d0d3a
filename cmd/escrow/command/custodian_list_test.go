package command

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
)

// What cannot wait stands in front, with the hour by which it is due.
func TestAnEmergencyIsListedFirst(t *testing.T) {
	day := time.Date(2026, 11, 29, 4, 0, 0, 0, time.UTC)
	all := []waiting{
		{CaseStatus: registrar.CaseStatus{Kind: policy.Production, Authority: "county-court", PenNames: 2}, Due: day.AddDate(0, 0, 9)},
		{CaseStatus: registrar.CaseStatus{Kind: policy.Production, Waits: "answered"}, Due: day.Add(-time.Hour), Answered: day},
		{CaseStatus: registrar.CaseStatus{Kind: policy.Emergency}, Due: day.Add(8 * time.Hour), What: "the custodians answer", Reviewed: day},
		{Due: day.AddDate(0, 1, 0), CaseStatus: registrar.CaseStatus{Waits: "early", ApproveFrom: day.AddDate(0, 0, 11)}},
	}
	slices.SortStableFunc(all, byUrgency)
	var text strings.Builder
	for _, w := range all {
		text.WriteString(w.at(day))
	}
	if want := `
  EMERGENCY, due 2026-11-29 12:00 UTC, 8 hours left: the custodians answer; 0 of 0 custodians approved; you reviewed it on 2026-11-29

  production, due 2026-11-29 03:00 UTC, which is past; 0 of 0 custodians approved; you answered on 2026-11-29
  you, or who shares your seat, answered it

  production, due 2026-12-08 04:00 UTC, 9 days left; 0 of 0 custodians approved
  county-court; pen names: 2

  due 2026-12-29 04:00 UTC, 30 days left; 0 of 0 custodians approved
  the persons are told first: approve from 2026-12-10
`; text.String() != want {
		t.Error(text.String())
	}
}

// An emergency on a later page stands in front of the first one, unless it does not wait for who asks.
func TestAnEmergencyBehindIsListedFirst(t *testing.T) {
	day := time.Date(2026, 11, 29, 4, 0, 0, 0, time.UTC)
	pages := map[string]registrar.Cases{
		"":  {Next: "1", Cases: []registrar.CaseStatus{{Case: "soon", Kind: policy.Production, Expires: day}, {Case: "done", Kind: policy.Production, Expires: day, Waits: "answered"}}},
		"1": {Next: "2", Cases: []registrar.CaseStatus{{Case: "later", Kind: policy.Production, Expires: day.AddDate(0, 0, 1)}, {Case: "told", Kind: policy.Emergency, Expires: day, Waits: "answered"}}},
		"2": {Cases: []registrar.CaseStatus{{Case: "urgent", Kind: policy.Emergency, Expires: day.AddDate(0, 0, 2)}}},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(pages[r.URL.Query().Get(registrar.ParamFrom)]) //nolint:errcheck // the test sees what is missing
	}))
	defer s.Close()
	c, err := (&home{dir: newHome(t, "alba"), program: &program{Env: Env{Passphrase: func(context.Context, string, bool) ([]byte, error) { return []byte(passphrase), nil }}}}).at().Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listed := func(from string) (ids string) {
		t.Helper()
		out, err := waitingFor(t.Context(), &registrar.Client{Server: s.URL, HTTP: s.Client(), Now: time.Now}, c, from, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range out.Cases {
			ids += w.Case + " "
		}
		return ids + out.Next
	}
	if got := listed(""); got != "urgent soon 1" {
		t.Errorf("%q", got)
	}
	if got := listed("1"); got != "later 2" {
		t.Errorf("%q", got)
	}
}
