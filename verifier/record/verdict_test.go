package record

import (
	"testing"

	"github.com/penname/penname/verifier/proof"
)

// TestNumbersThatDoNotAddUpAreFound: they are beside findings and deadlines, and count as one thing.
func TestNumbersThatDoNotAddUpAreFound(t *testing.T) {
	late := []proof.Deadline{{}, {}}
	for want, s := range map[int]state{
		0: {report: &proof.Report{}},
		1: {report: &proof.Report{}, verdict: proof.ErrSums},
		2: {report: &proof.Report{Deadlines: late}},
		3: {report: &proof.Report{Deadlines: late}, verdict: proof.ErrSums},
		4: {report: &proof.Report{Deadlines: late, Findings: []proof.Finding{{}, {}}}, verdict: proof.ErrAudit},
	} {
		if got := s.wrong(); got != want {
			t.Errorf("%d, not %d", got, want)
		}
	}
}
