package robustness

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
)

// Fault is one that was made: what, to whom, and until when everything worked again.
type Fault struct {
	Name      string    `json:"fault"`
	Node      string    `json:"node"`
	Made      time.Time `json:"made"`
	Mended    time.Time `json:"mended"`
	Recovered time.Time `json:"recovered"` // every part said so

	// Refused is for how many seconds no such act succeeded while some were tried: from
	// the first that failed to the first answer after it, or to the next fault. Acts of which
	// none failed have none.
	Refused map[Act]float64 `json:"refused_seconds"`
}

// Count is what became of acts.
type Count struct {
	Acknowledged int `json:"acknowledged"`
	Refused      int `json:"refused"`
	Unknown      int `json:"unknown"`
}

// Summary is what a run tells.
type Summary struct {
	Seed       uint64        `json:"seed"`
	Seconds    float64       `json:"seconds"`
	Faults     []Fault       `json:"faults"`
	Acts       map[Act]Count `json:"acts"`
	Violations []Violation   `json:"violations"`
	Repeat     string        `json:"repeat"` // the command that makes the same faults again
}

// Summarise counts the acts of a history, and measures what each fault did to them.
func Summarise(h []Operation, faults []Fault) (s Summary) {
	s.Acts = map[Act]Count{}
	for _, op := range h {
		c := s.Acts[op.Act]
		switch op.Outcome {
		case OK:
			c.Acknowledged++
		case Refused:
			c.Refused++
		default:
			c.Unknown++
		}
		s.Acts[op.Act] = c
	}
	if len(h) > 0 {
		last := slices.MaxFunc(h, func(a, b Operation) int { return a.Returned.Compare(b.Returned) })
		s.Seconds = last.Returned.Sub(h[0].Invoked).Seconds()
	}
	for i, f := range faults {
		next := forever
		if i+1 < len(faults) {
			next = faults[i+1].Made
		}
		f.Refused = map[Act]float64{}
		for _, act := range Acts {
			if gap := longestRefusal(h, act, f.Made, next); gap > 0 {
				f.Refused[act] = math.Round(gap.Seconds()*10) / 10
			}
		}
		s.Faults = append(s.Faults, f)
	}
	return s
}

// longestRefusal is the longest time between two times in which an act failed and did not
// succeed.
func longestRefusal(h []Operation, act Act, from, to time.Time) (longest time.Duration) {
	ops := slices.DeleteFunc(slices.Clone(h), func(op Operation) bool { return op.Act != act || op.Outcome == Refused || op.Returned.Before(from) })
	slices.SortFunc(ops, func(a, b Operation) int { return a.Returned.Compare(b.Returned) })
	var failing, last time.Time
	for _, op := range ops {
		switch {
		case op.Outcome == OK && !failing.IsZero():
			longest = max(longest, earliest(op.Returned, to).Sub(failing))
			failing = time.Time{}
		case op.Outcome != OK && failing.IsZero() && op.Invoked.Before(to):
			failing = latest(op.Invoked, from)
		}
		last = op.Returned
	}
	if !failing.IsZero() { // it never succeeded again
		longest = max(longest, earliest(last, to).Sub(failing))
	}
	return longest
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// PrintFaults writes a line for each fault, for people.
func (s Summary) PrintFaults(w io.Writer) {
	for _, f := range s.Faults {
		var refused []string
		for _, act := range Acts {
			if sec, ok := f.Refused[act]; ok {
				refused = append(refused, fmt.Sprintf("%s %.1f s", act, sec))
			}
		}
		fmt.Fprintf(w, "%s  %-34s %-14s mended after %4.1f s, all ready %4.1f s later; refused: %s\n", f.Made.UTC().Format(time.TimeOnly), f.Name, f.Node,
			f.Mended.Sub(f.Made).Seconds(), f.Recovered.Sub(f.Mended).Seconds(), cmp.Or(strings.Join(refused, ", "), "nothing"))
	}
}

// Print writes what a run tells, for people.
func (s Summary) Print(w io.Writer) {
	s.PrintFaults(w)
	for _, act := range Acts {
		if c, ok := s.Acts[act]; ok {
			fmt.Fprintf(w, "%-9s %6d acknowledged %6d refused %6d unknown\n", act, c.Acknowledged, c.Refused, c.Unknown)
		}
	}
	for _, v := range s.Violations {
		fmt.Fprintf(w, "VIOLATION  %s: %s\n", v.Rule, v.Says)
	}
	fmt.Fprintf(w, "runs 1, seed %d, faults %d, hours %.2f, violations %d; the same faults again: %s\n", s.Seed, len(s.Faults), s.Seconds/3600, len(s.Violations), s.Repeat)
}
