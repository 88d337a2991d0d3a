package record

import (
	"testing"

	"github.com/penname/penname/verifier/proof"
)

// TestWhatIsWrongIsCounted: findings, deadlines and, as one thing, numbers that do not add up; but
// neither what accuses nobody nor the end of a preservation.
func TestWhatIsWrongIsCounted(t *testing.T) {
	late := []proof.Deadline{{What: proof.DeadlineNotice}, {What: proof.DeadlineValidation}}
	kept := append(late[:2:2], proof.Deadline{What: proof.DeadlineExpiry})
	breach, unread, unsigned := proof.Finding{Code: proof.FindingOrder}, proof.Finding{Code: proof.FindingNewer}, proof.Finding{Code: proof.FindingNotEndorsed}
	for want, s := range map[[2]int]state{
		{0, 0}: {report: &proof.Report{Deadlines: kept[2:]}},
		{1, 0}: {report: &proof.Report{}, verdict: proof.ErrSums},
		{2, 0}: {report: &proof.Report{Deadlines: kept}},
		{3, 0}: {report: &proof.Report{Deadlines: late}, verdict: proof.ErrSums},
		{4, 0}: {report: &proof.Report{Deadlines: late, Findings: []proof.Finding{breach, breach}}, verdict: proof.ErrAudit},
		{0, 2}: {report: &proof.Report{Findings: []proof.Finding{unread, unsigned}}, verdict: proof.ErrNewer},
		{2, 1}: {report: &proof.Report{Findings: []proof.Finding{unread, breach, breach}}, verdict: proof.ErrAudit},
	} {
		if wrong, unjudged := s.wrong(); [2]int{wrong, unjudged} != want {
			t.Errorf("%d and %d, not %v", wrong, unjudged, want)
		}
	}
}
