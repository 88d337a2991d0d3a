package prometheus

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
)

// Three days, in steps of five minutes: longer than any rule waits.
const (
	step  = 5 * time.Minute
	steps = 3 * 24 * 12

	scrapes = 6 // of testdata/story.txt
)

// alarms are, for each rule, series by which it must fire and series by which it must
// not. A value is of all three days, "_" that there is none; "a then b" changes after half of
// them, and rises by b each step if it is "+b".
var alarms = map[string][]struct {
	fires  bool
	series string
}{
	"PennameDown":          {{true, `up{job="penname"} 0`}, {false, `up{job="penname"} 1`}, {false, `up{job="other"} 0`}},
	"PennamePartDown":      {{true, `penname_part_ready{part="issue.keys"} 0`}, {false, `penname_part_ready{part="issue.keys"} 1`}},
	"PennamePartSlow":      {{true, `penname_part_answer_seconds{part="issue.keys"} 1.5`}, {false, `penname_part_answer_seconds{part="issue.keys"} 0.2`}},
	"PennameVaultFails":    {{true, `penname_vault_call_failures_total{side="issue",operation="hmac"} 0 then +1`}, {false, `penname_vault_call_failures_total{side="issue",operation="hmac"} 7`}},
	"PennameQuorumMissing": {{true, "penname_witnesses_cosigned 1\npenname_witnesses_needed 2"}, {false, "penname_witnesses_cosigned 2\npenname_witnesses_needed 2"}},
	"PennameWitnessAway":   {{true, "penname_witnesses_cosigned 2\npenname_witnesses 3"}, {false, "penname_witnesses_cosigned 3\npenname_witnesses 3"}},
	"PennameCheckpointOld": {{true, `penname_checkpoint_age_seconds 301`}, {false, `penname_checkpoint_age_seconds 65`}},
	"PennameEndsSoon":      {{true, `penname_days_left{what="certificate"} 20`}, {false, `penname_days_left{what="certificate"} 22`}},
	"PennameEnds":          {{true, `penname_days_left{what="certificate"} -1`}, {false, `penname_days_left{what="certificate"} 4`}},
	"PennameNoSnapshot":    {{true, `penname_vault_snapshot_fresh 0`}, {false, `penname_vault_snapshot_fresh 1`}},
	"PennameDatabaseBusy": {
		{true, "penname_database_connections{instance=\"a\",side=\"issue\",state=\"in_use\"} 16\npenname_database_connections_limit{instance=\"a\",side=\"issue\"} 16"},
		{false, "penname_database_connections{instance=\"a\",side=\"issue\",state=\"idle\"} 16\npenname_database_connections{instance=\"a\",side=\"issue\",state=\"in_use\"} 2\npenname_database_connections_limit{instance=\"a\",side=\"issue\"} 16"},
	},
	"PennameErasuresOverdue":     {{true, `penname_erasures_overdue 1`}, {false, `penname_erasures_overdue 0`}},
	"PennameNoticesOverdue":      {{true, `penname_notices_overdue 1`}, {false, `penname_notices_overdue 0`}},
	"PennameMailsWait":           {{true, `penname_mails_oldest_age_seconds{side="issue"} 7500`}, {false, `penname_mails_oldest_age_seconds{side="issue"} 3700`}},
	"PennameMailsDamaged":        {{true, `penname_mails_damaged 1`}, {false, `penname_mails_damaged 0`}},
	"PennameRemindersRefused":    {{true, `penname_reminders_refused 2`}, {false, `penname_reminders_refused 0`}},
	"PennameClockOverdue":        {{true, "penname_ends_overdue 0\npenname_lapses_overdue 1\npenname_tells_overdue 0"}, {true, "penname_ends_overdue 0\npenname_lapses_overdue 0\npenname_tells_overdue 1"}, {false, "penname_ends_overdue 0\npenname_lapses_overdue 0\npenname_tells_overdue 0"}},
	"PennameObjectionUnanswered": {{true, `penname_objections_unanswered 1`}, {false, `penname_objections_unanswered 0`}},
	"PennameReviewsWait":         {{true, `penname_reviews_pending 1`}, {false, `penname_reviews_pending 0 then 1`}},
	"PennameNotReleased":         {{true, `penname_cases{state="authorised"} 1`}, {false, `penname_cases{state="recorded"} 1`}},
	"PennameCasesLost":           {{true, `penname_cases{state="lost"} 1`}, {false, `penname_cases{state="lost"} 0`}},
	"PennameJobFails": {
		{true, "penname_job_last_success_age_seconds{job_name=\"cases\"} 200\npenname_job_interval_seconds{job_name=\"cases\"} 60"},
		{false, "penname_job_last_success_age_seconds{job_name=\"mails\"} 900\npenname_job_interval_seconds{job_name=\"mails\"} 30"}, // PennameMailsWait
		{false, "penname_job_last_success_age_seconds{job_name=\"cases\"} 62\npenname_job_interval_seconds{job_name=\"cases\"} 60"},
		{false, "penname_job_last_success_age_seconds{job_name=\"erasures\"} 3600\npenname_job_interval_seconds{job_name=\"erasures\"} 3600"},
	},
	"PennameTampered": {
		{true, `penname_job_failures_total{job_name="cases",code="log.rollback"} 0 then +1`}, {true, `penname_faults_total{code="keys.rollback"} 0 then +1`},
		{true, `penname_job_failures_total{job_name="mails",code="database.damaged"} 0 then 1`}, {true, `penname_faults_total{code="database.damaged"} _ then 1`},
		{false, `penname_job_failures_total{job_name="cases",code="log.quorum_not_met"} 0 then +1`}, {false, `penname_faults_total{code="keys.rollback"} 0`},
	},
	"PennameFaults": {
		{true, `penname_faults_total{code="server.internal"} 0 then +1`}, {true, `penname_faults_total{code="server.internal"} 0 then 50`}, {true, `penname_faults_total{code="server.internal"} _ then 50`},
		{false, `penname_faults_total{code="database.unavailable"} 0 then +1`}, {false, `penname_faults_total{code="server.internal"} 0`},
	},
	"PennameOverloaded": {{true, `penname_faults_total{code="server.busy"} 0 then +1`}, {false, `penname_faults_total{code="server.busy"} 0 then 50`}, {false, `penname_faults_total{code="server.internal"} 0 then +1`}},
	"PennameMemoryFull": {{true, "penname_body_memory_bytes{bodies=\"large\"} 60000000\npenname_body_memory_limit_bytes{bodies=\"large\"} 67108864"}, {false, "penname_body_memory_bytes{bodies=\"large\"} 1048576\npenname_body_memory_limit_bytes{bodies=\"large\"} 67108864"}},
}

// load is series as promqltest reads them.
func load(series string) string {
	text := "load 5m\n"
	for line := range strings.Lines(series) {
		line = strings.TrimSpace(line)
		before, then, changes := strings.Cut(line, " then ")
		at := strings.LastIndexByte(before, ' ')
		name, value := before[:at], before[at+1:]
		switch more, rises := strings.CutPrefix(then, "+"); {
		case rises:
			text += name + " " + value + "x432 " + value + "+" + more + "x432\n"
		case changes:
			text += name + " " + value + "x432 " + then + "x432\n"
		default:
			text += name + " " + value + "x864\n"
		}
	}
	return text
}

// rules are those of alerts.yml, by name, as Prometheus reads them.
func rules(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile("alerts.yml", false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	all := map[string]rulefmt.Rule{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			all[r.Alert] = r
		}
	}
	return all
}

// firing are the steps at which a rule fires.
func firing(t *testing.T, r rulefmt.Rule, engine *promql.Engine, store storage.Queryable) (at []int) {
	t.Helper()
	for end, held := 0, time.Duration(0); end < steps; end++ {
		q, err := engine.NewInstantQuery(t.Context(), store, nil, r.Expr, time.Unix(0, 0).Add(time.Duration(end)*step))
		if err != nil {
			t.Fatal(r.Alert, err)
		}
		found, err := q.Exec(t.Context()).Vector()
		if err != nil {
			t.Fatal(r.Alert, err)
		}
		if held += step; len(found) == 0 {
			held = -step
		}
		if held >= time.Duration(r.For) {
			at = append(at, end)
		}
		q.Close()
	}
	return at
}

// TestAlarms: Prometheus reads every rule, and each fires by what it is for, for as long
// as it waits, and by nothing else.
func TestAlarms(t *testing.T) {
	rules, engine := rules(t), promqltest.NewTestEngine(t, false, 0, 1_000_000)
	for name, r := range rules {
		if len(alarms[name]) < 2 {
			t.Errorf("%s is not tried", name)
		}
		if want := "deploy/README.md#" + strings.ToLower(name); r.Annotations["handbook"] != want || r.Annotations["summary"] == "" || r.Labels["severity"] != "critical" && r.Labels["severity"] != "warning" {
			t.Errorf("%s: %v %v", name, r.Annotations, r.Labels)
		}
	}
	for name, tries := range alarms {
		r, ok := rules[name]
		if !ok {
			t.Errorf("there is no rule %s", name)
			continue
		}
		for _, try := range tries {
			if fires := firing(t, r, engine, promqltest.LoadedStorage(t, load(try.series))) != nil; fires != try.fires {
				t.Errorf("%s: fires %v, and must %v, by %s", name, fires, try.fires, try.series)
			}
		}
	}
}

// TestAlarmsOfTheStory: on what was recorded of a service those alarms fire that must, by
// the scrapes: 0 at the start, 1 after the story, with a witness away, 2 with the database
// down, 3 with an upload under way, 4 two days later, 5 when all is well again.
func TestAlarmsOfTheStory(t *testing.T) {
	must := map[string]string{
		"PennamePartDown": "24", "PennameWitnessAway": "1234", "PennameCheckpointOld": "4",
		"PennameMailsWait": "4", "PennameNoSnapshot": "0134", // which nobody can tell while the database is down
	}
	engine, store := promqltest.NewTestEngine(t, false, 0, 1_000_000), promqltest.LoadedStorage(t, recorded(t))
	for name, r := range rules(t) {
		during := ""
		for _, at := range firing(t, r, engine, store) {
			if scrape := strconv.Itoa(at / (steps / scrapes)); !strings.Contains(during, scrape) {
				during += scrape
			}
		}
		if during != must[name] {
			t.Errorf("%s fires during %q, and must during %q", name, during, must[name])
		}
	}
}

// TestRulesNameWhatThereIs: a service has each series that a rule asks for from its start, with
// each code and state that it names: of one that begins with its first event no increase is seen.
func TestRulesNameWhatThereIs(t *testing.T) {
	engine, store := promqltest.NewTestEngine(t, false, 0, 1_000_000), promqltest.LoadedStorage(t, recorded(t))
	asked := 0
	for name, r := range rules(t) {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(r.Expr)
		if err != nil {
			t.Fatal(name, err)
		}
		for _, matchers := range parser.ExtractSelectors(expr) {
			for _, one := range alternatives(matchers) {
				q, err := engine.NewInstantQuery(t.Context(), store, nil, one, time.Unix(0, 0).Add(step))
				if err != nil {
					t.Fatal(name, one, err)
				}
				if found, err := q.Exec(t.Context()).Vector(); err != nil || len(found) == 0 {
					t.Errorf("%s asks for %s, and a service has none: %v", name, one, err)
				}
				q.Close()
				asked++
			}
		}
	}
	if asked < 45 {
		t.Errorf("%d were asked for", asked)
	}
}

// alternatives are the selectors that one with expressions such as "a|b" stands for.
func alternatives(matchers []*labels.Matcher) []string {
	all := []string{""}
	for _, m := range matchers {
		values := []string{m.Value}
		if m.Type == labels.MatchRegexp {
			values = strings.Split(m.Value, "|")
		}
		var more []string
		for _, before := range all {
			for _, v := range values {
				more = append(more, before+labels.MustNewMatcher(m.Type, m.Name, v).String()+",")
			}
		}
		all = more
	}
	for i := range all {
		all[i] = "{" + all[i] + "}"
	}
	return all
}

// TestTheHandbookHasEachAlarm: the place that an alarm points to is there, as a heading
// or an anchor of its name.
func TestTheHandbookHasEachAlarm(t *testing.T) {
	handbook, err := os.ReadFile("../README.md")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("there is no handbook yet")
	} else if err != nil {
		t.Fatal(err)
	}
	for name := range alarms {
		if !regexp.MustCompile(`(?mi)^#+ +` + name + `$|<a id="` + name + `">`).Match(handbook) {
			t.Errorf("deploy/README.md has no place for %s", name)
		}
	}
}

// recorded are the series of testdata/story.txt, as promqltest loads them: what
// TestMetricsAfterTheStory scraped of a service, each time for half a day.
func recorded(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/story.txt")
	if err != nil {
		t.Fatal(err)
	}
	// The store begins at its first sample, and takes none before.
	text := "load 5m\nbegins 1\n\nload 5m\nup{instance=\"one:9464\",job=\"penname\"} 1x864\n"
	for line := range strings.Lines(string(raw)) {
		at := strings.LastIndexAny(line, "}") + 1
		if at == 0 {
			at = strings.IndexByte(line, ' ')
		}
		sample, values := strings.TrimSuffix(line[:at], "}"), strings.Fields(line[at:])
		if len(values) != scrapes {
			t.Fatal(line)
		}
		if before := ","; !strings.Contains(sample, "{") {
			sample += "{"
		} else {
			sample += before
		}
		text += sample + `instance="one:9464",job="penname"}`
		for _, v := range values {
			if v == "_" {
				text += " _x144"
			} else {
				text += " " + v + "x143" // and once more
			}
		}
		text += "\n"
	}
	return text
}
