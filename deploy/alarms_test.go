package deploy_test

import (
	"regexp"
	"slices"
	"testing"
)

// TestEveryAlarmHasItsSection: each alarm says what it means and what to do, at the
// address in the handbook that it names, and the handbook explains none that is not.
func TestEveryAlarmHasItsSection(t *testing.T) {
	named := func(file, expression string) (all []string) {
		for _, m := range regexp.MustCompile(expression).FindAllSubmatch(read(t, file), -1) {
			all = append(all, string(m[1]))
		}
		slices.Sort(all)
		return all
	}
	alarms, sections := named("prometheus/alerts.yml", `- alert: (\w+)`), named("README.md", `(?m)^### (Penname\w+)\n\n\S`)
	if !slices.Equal(alarms, sections) || len(alarms) < 10 {
		t.Errorf("alarms %v\nsections %v", alarms, sections)
	}
}
