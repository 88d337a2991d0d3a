package disclose

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/verifier/opening"
)

// B1: a custodian whose answer was lost repeats the decision. It changes nothing,
// whatever became of the case since; another decision is told which one stands.
func TestFoundB1ADecisionAgainIsTheStoredOne(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for _, state := range States {
		for _, approved := range []bool{true, false} {
			c := Case{ID: "case", State: state, Quorum: 2, Approvals: []Approval{{Custodian: "alba", Approved: approved, Leaf: 7}}}
			for _, decision := range []string{opening.Approve, opening.Decline} {
				a := &opening.Approval{Case: c.ID, Custodian: "alba", WarrantHash: hex.EncodeToString(c.WarrantHash[:]), Decision: decision}
				change, err := c.decide(a, "signed again", 3, now)
				if err != nil || len(change.Steps) != 0 || change.Approval != nil {
					t.Errorf("%s, %s again: %v, %v", state, decision, change, err)
				}
			}
		}
	}
	for approved, word := range map[bool]string{true: "has approved", false: "has declined"} {
		if err := (&Approval{Approved: approved}).counts(); !errors.Is(err, ErrDecided) || !strings.Contains(err.Error(), word) {
			t.Errorf("the stored decision is not said: %v", err)
		}
	}
}
