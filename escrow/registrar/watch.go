package registrar

import (
	"slices"
	"strings"
)

// CaseStates are all states of a case, as disclose.State has them. From those after the
// third it does not go on.
var CaseStates = []string{"recorded", "authorised", "released", "noticed", "declined", "withdrawn", "stopped", "lapsed", "expired", "lost"}

// Over reports whether nothing is to become of the case any more: it has ended, the custodians
// have stopped it, or it took effect when it was recorded and runs to no date.
func (s CaseStatus) Over() bool {
	inEffect := s.Quorum == 0 && len(s.Deadlines) == 0
	return slices.Index(CaseStates, s.State) > 2 || s.Stopped || inEffect
}

// Line is where the case stands, in one line that is another one when that changes.
func (s CaseStatus) Line() string {
	parts := []string{s.head()}
	for line := range strings.SplitSeq(strings.TrimPrefix(s.targets(), "\n"), "\n") {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			parts = append(parts, line)
		}
	}
	for _, d := range s.Deadlines {
		if !d.Met {
			parts = append(parts, "next, "+d.What+": "+d.At.UTC().Format("2006-01-02 15:04 UTC"))
			break
		}
	}
	if s.Stopped {
		parts = append(parts, "stopped by the custodians")
	}
	if s.Barred != nil {
		parts = append(parts, "use"+s.forbiddenOf()+" is forbidden")
	}
	if s.Deleted != nil {
		parts = append(parts, "the requester states that what was delivered is deleted")
	}
	return strings.Join(parts, "; ")
}
