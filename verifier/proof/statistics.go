package proof

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
)

// Statistics are recomputed from the leaves by everybody who audits, so the
// operator cannot publish better ones. All counts are of leaves or cases.
type Statistics struct {
	ByKind        map[Kind]int64   `json:"by_kind"`
	Refusals      map[string]int64 `json:"refusals"`        // by code
	Declines      map[string]int64 `json:"declines"`        // by code
	Jurisdictions map[string]int64 `json:"jurisdictions"`   // of recorded warrants
	Offences      map[string]int64 `json:"offence_classes"` // of recorded warrants
	Warrants      map[string]int64 `json:"warrant_kinds"`   // of recorded warrants
	Targets       int64            `json:"targets"`         // pseudonyms named in recorded warrants, once where an order is delivered again
	Open          int64            `json:"open"`            // cases that may be opened and are neither released, withdrawn nor expired
	Expired       int64            `json:"expired"`         // cases whose warrant ran out before anything was released
	Unnoticed     int64            `json:"unnoticed"`       // released cases whose persons were not told yet
	Overdue       int64            `json:"overdue"`         // of those, past the end of secrecy
	NotReached    int64            `json:"not_reached"`     // cases whose persons were to be told first, and nobody can say that they were
	Erased        int64            `json:"erased"`          // records that persons deleted
	Ceremonies    int64            `json:"ceremonies"`      // transcripts of key ceremonies
	Platforms     int64            `json:"platforms"`       // records of platforms, all versions
	Reviews       map[string]int64 `json:"reviews"`         // of enrolments that were held, by outcome
	MedianDays    float64          `json:"median_days"`     // from recorded to released; 0 if nothing was released
}

// clone is s with maps of its own.
func (s Statistics) clone() Statistics {
	s.ByKind = maps.Clone(s.ByKind)
	for _, counts := range []*map[string]int64{&s.Refusals, &s.Declines, &s.Jurisdictions, &s.Offences, &s.Warrants, &s.Reviews} {
		*counts = maps.Clone(*counts)
	}
	return s
}

// String returns the statistics in a few lines for a terminal, in a fixed order.
func (s Statistics) String() string {
	var b bytes.Buffer
	line := func(name string, counts map[string]int64) {
		fmt.Fprintf(&b, "%-12s", name)
		for _, k := range slices.Sorted(maps.Keys(counts)) {
			fmt.Fprintf(&b, "%s %d  ", k, counts[k])
		}
		b.WriteByte('\n')
	}
	kinds := map[string]int64{}
	for k, n := range s.ByKind {
		kinds[string(k)] = n
	}
	line("leaves", kinds)
	line("refused", s.Refusals)
	line("declined", s.Declines)
	line("places", s.Jurisdictions)
	line("offences", s.Offences)
	line("warrants", s.Warrants)
	line("reviews", s.Reviews)
	fmt.Fprintf(&b, "%-12s%d records, on the wish of the person\n", "erased", s.Erased)
	fmt.Fprintf(&b, "%-12s%d of the custodians' key\n", "ceremonies", s.Ceremonies)
	fmt.Fprintf(&b, "%-12s%d records in the registry\n", "platforms", s.Platforms)
	fmt.Fprintf(&b, "%-12s%d targets, %d open, %d expired, %d unnoticed, %d overdue, median %.1f days, %d not reached\n",
		"cases", s.Targets, s.Open, s.Expired, s.Unnoticed, s.Overdue, s.MedianDays, s.NotReached)
	return b.String()
}
