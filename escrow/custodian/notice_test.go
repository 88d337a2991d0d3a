package custodian

import (
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// A custodian reads what an order of each kind does, and nothing that holds of another kind.
func TestWhatAnOrderDoes(t *testing.T) {
	target := opening.OpenedTarget{Platform: "town-square"}
	for kind, want := range map[string][2]string{
		policy.Suspension: {"suspension of each pen name until 2026-12-29, and no name", "suspends: this pen name at town-square until 2026-12-29; opens no name"},
		policy.Link:       {"all pen names of one person, and no name", "opens: all pen names of this person at all platforms, to the requester; no name"},
		policy.Production: {"name", ""}, // of a record from before compartments
	} {
		w := &policy.Warrant{Kind: kind, Expiry: time.Date(2026, 12, 29, 0, 0, 0, 0, time.UTC)}
		if kind == policy.Production {
			w.Fields = []string{"name"}
		}
		if got := [2]string{asked(w), opens(target, w)}; got != want {
			t.Errorf("%s: %q", kind, got)
		}
	}
}

// The notices say whether an emergency waits for its validation, and by which name the rules
// know who asks.
func TestNotices(t *testing.T) {
	recorded := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
	validation := opening.Deadline{What: opening.DeadlineValidation, At: recorded.Add(48 * time.Hour)}
	done, lapsed := validation, validation
	done.What, done.Met = opening.DeadlineValidated, true
	lapsed.What, lapsed.Met = opening.DeadlineLapsed, true
	for name, row := range map[string]struct {
		deadline       opening.Deadline
		organisation   string
		want, unwanted string
	}{
		"not validated":      {validation, "Thornley Police", "nobody has validated yet", "validated since"},
		"validated since":    {done, "Thornley Police", "validated since, as the registrar says", "lapses"},
		"lapsed":             {lapsed, "Thornley Police", "nobody has validated yet", "validated since"},
		"another's name":     {done, "Metropolitan Police", `"Metropolitan Police", and the rules know it as Thornley Police`, "lapses"},
		"the registered one": {done, "Thornley Police", "validated", "the rules know it as"},
	} {
		r := &Review{recorded: recorded, file: opening.CaseFile{Deadlines: []opening.Deadline{row.deadline}},
			since: []*policy.Bundle{{ValidationHours: 48, Organisations: []policy.Organisation{{ID: "thornley-police", Name: "Thornley Police"}}}}}
		r.notice(policy.Decision{Warrant: &policy.Warrant{Kind: policy.Emergency, Requester: policy.Requester{Organisation: row.organisation, OrganisationID: "thornley-police"}}})
		if said := strings.Join(r.Notices, "\n"); !strings.Contains(said, row.want) || strings.Contains(said, row.unwanted) {
			t.Errorf("%s: %s", name, said)
		}
	}
}
