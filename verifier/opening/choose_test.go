package opening

import (
	"testing"

	"github.com/penname/penname/policy"
)

// A quorum is of decisions that the log has, under one key: neither do two keys make one, nor
// does an approval that no leaf opens. Who steps in later brings shares to a quorum that is met.
func TestQuorumIsOfLoggedDecisionsUnderOneKey(t *testing.T) {
	since := []*policy.Bundle{{ThresholdKey: "old"}, {ThresholdKey: "new"}}
	signers := map[string]*policy.Bundle{"old": since[0], "new": since[1]}
	by := func(custodian, key string) decision {
		return decision{Approval: &Approval{Custodian: custodian, Bundle: key}, votes: []string{Approve}}
	}
	alba, bruno, chidi, again := by("alba", "old"), by("bruno", "new"), by("chidi", "new"), by("alba", "new")
	for name, c := range map[string]struct {
		logged, given []decision
		want          int // approvals; 0: no quorum
	}{
		"two under one key":     {[]decision{bruno, chidi}, []decision{alba, bruno, chidi}, 2},
		"two keys":              {[]decision{alba, bruno}, []decision{alba, bruno}, 0},
		"and one that is not":   {[]decision{alba, bruno}, []decision{alba, bruno, chidi}, 0},
		"one steps in":          {[]decision{bruno, chidi}, []decision{bruno, chidi, again}, 3},
		"one custodian, twice":  {[]decision{bruno, bruno}, []decision{bruno, bruno}, 0},
		"approved anew":         {[]decision{alba, bruno, again}, []decision{alba, bruno, again}, 2},
		"approved anew, unseen": {[]decision{alba, bruno}, []decision{alba, bruno, again}, 0},
	} {
		var target Target
		if ok := target.choose(c.logged, c.given, 0, since, signers, 2, nil); ok != (c.want > 0) || len(target.Approvals) != c.want {
			t.Errorf("%s: %v, %d approvals", name, ok, len(target.Approvals))
		}
	}
}
