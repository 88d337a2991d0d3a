package registrar

import (
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/policy"
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
	parts := []string{s.Standing()}
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

// waits says what waits for an authority, and the command for it.
var waits = map[string]string{
	WaitsRelease:    "it is released: whoever asked opens it with escrow warrant open",
	WaitsObjection:  "somebody has objected: escrow warrant objections shows when, and the words with the requester's delivery key (custodians read them too); then escrow warrant rule",
	WaitsQuestion:   "a custodian has asked something: escrow warrant answer",
	WaitsValidation: "it has to be validated, or it lapses: escrow warrant validate",
}

// Listed is the case in the list of its authority, for a person at a terminal, with the time
// that is left at now.
func (s CaseStatus) Listed(now time.Time) string {
	kind := s.Kind
	if kind == policy.Emergency {
		kind = "EMERGENCY"
	}
	lines := []string{s.Case, kind + ", " + s.Standing()}
	if s.Next != nil {
		lines = append(lines, "due: "+deadline(*s.Next, now))
	}
	for _, what := range strings.Split(s.Waits, ", ") {
		if text := waits[what]; text != "" {
			lines = append(lines, "waits for you: "+text)
		}
	}
	return strings.Join(lines, "\n  ")
}
