package proof

import (
	"fmt"
)

// What an alarm is about.
const (
	AlarmFork     = "fork"       // the log signed two histories, or one that goes back
	AlarmStall    = "stall"      // nothing that witnesses cosigned came for too long
	AlarmOverdue  = "overdue"    // a duty with a date was not done: persons are not told, an emergency is neither confirmed nor lapsed
	AlarmLapse    = "lapse"      // an emergency lapsed: names may have been opened that no judge allowed
	AlarmRepeated = "repeated"   // rules came into force again, or in another place than theirs
	AlarmNumbers  = "statistics" // numbers that do not add up
	AlarmRule     = "rule"       // an entry breaks another rule: its text has the code of the finding
)

// Alarm is something in a log that somebody should look at.
type Alarm struct {
	Cause    string   `json:"cause"` // tells this alarm from all others of this log: one cause is one alarm
	Kind     string   `json:"kind"`  // [AlarmFork] …
	Entry    *int64   `json:"entry,omitempty"`
	Text     string   `json:"text"`
	Evidence []string `json:"evidence,omitempty"` // files that prove it
}

func alarmAt(index int64, kind, cause, format string, args ...any) Alarm {
	return Alarm{Cause: kind + "/" + cause, Kind: kind, Entry: &index, Text: fmt.Sprintf(format, args...)}
}

// Alarms are what an audit found that somebody should look at, in the order of findings, then
// of duties, then of lapses. What this program could not judge is none: the audit's refusal
// says it. Neither is the end of a preservation: that is only a day that passed.
func (r *Report) Alarms() (alarms []Alarm) {
	kinds := map[string]string{FindingRepeated: AlarmRepeated, FindingNotNext: AlarmRepeated, FindingLapseTold: AlarmNumbers}
	for _, f := range r.Findings {
		if !f.Accuses() {
			continue
		}
		kind := kinds[f.Code]
		if kind == "" {
			kind = AlarmRule
		}
		alarms = append(alarms, alarmAt(f.Index, kind, fmt.Sprintf("%s/%d", f.Code, f.Index), "entry %d: %s", f.Index, f.Code))
	}
	for _, d := range r.Deadlines {
		cause := fmt.Sprintf("%s/%d/%s", d.What, d.Case, d.Due)
		switch d.What {
		case DeadlineNotice:
			alarms = append(alarms, alarmAt(d.Case, AlarmOverdue, cause, "case %d: the persons were to be told by %s, and the log does not say that they were", d.Case, d.Due))
		case DeadlineTold:
			alarms = append(alarms, alarmAt(d.Case, AlarmOverdue, cause, "case %d: the persons were to be told before anything is opened, by %s, and the log does not say that they were", d.Case, d.Due))
		case DeadlineValidation:
			alarms = append(alarms, alarmAt(d.Case, AlarmOverdue, cause, "case %d: the emergency was to be confirmed by a judge by %s, and the log says neither that it was nor that it lapsed", d.Case, d.Due))
		}
	}
	for _, y := range r.Years {
		for _, l := range y.Lapses {
			opened := "nothing"
			if l.Targets > 0 {
				opened = penNames(fmt.Sprintf, l.Targets)
			}
			alarms = append(alarms, alarmAt(l.Case, AlarmLapse, fmt.Sprint(l.Case), "case %d: the emergency lapsed at %s, no judge confirmed it, and %s had been opened by then", l.Case, l.At, opened))
		}
	}
	return alarms
}
