package command

import (
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
