package prometheus

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/prometheus/prometheus/promql/promqltest"
)

var update = flag.Bool("update", false, "write deploy/grafana")

// panel is one of a dashboard. A number has a limit, from which on it is red.
type panel struct {
	title, says string
	unit        string // Grafana's
	queries     []query
	limit       *float64 // nil: a graph
	below       bool     // it is red below its limit
}

type query struct{ expr, legend string }

func graph(title, unit, says string, queries ...query) panel {
	return panel{title: title, unit: unit, says: says, queries: queries}
}

func number(title, unit, says, expr string, redFrom float64) panel {
	return panel{title: title, unit: unit, says: says, queries: []query{{expr, ""}}, limit: &redFrom}
}

func low(title, unit, says, expr string, redBelow float64) panel {
	p := number(title, unit, says, expr, redBelow)
	p.below = true
	return p
}

// people are the routes of which is told a day later, as web.OfPeople has them.
const people = `route!~".* /(v1|log)/.*|GET /(healthz|readyz)"`

const later = "Shows from the next day (UTC) on, so that nobody sees when somebody came."

// dashboards are the files of deploy/grafana. $instance is any, or one process.
var dashboards = map[string]struct {
	title string
	rows  []row
}{
	"state": {"Penname: how it is", []row{
		{"Now", []panel{
			number("Alarms", "none", "Rules of alerts.yml that fire. The handbook has a section for each.", `count(ALERTS{alertname=~"Penname.+",alertstate="firing"}) or vector(0)`, 1),
			number("Parts in doubt", "none", "As /readyz and escrowd status have them.", `count(penname_part_ready{instance=~"$instance"} == 0) or vector(0)`, 1),
			low("Witnesses above the quorum", "none", "Below zero soon everything stops.", `min(penname_witnesses_cosigned{instance=~"$instance"} - penname_witnesses_needed)`, 0),
			number("Age of the log's tree", "s", "", `max(penname_checkpoint_age_seconds{instance=~"$instance"})`, 300),
			low("What ends first", "d", "Certificates, secret ids, token keys.", `min(penname_days_left{instance=~"$instance"})`, 21),
			low("Vault could be restored", "bool_yes_no", "From the newest snapshot, without a loss.", `min(penname_vault_snapshot_fresh{instance=~"$instance"})`, 1),
		}},
		{"Parts", []panel{
			graph("Ready", "bool_yes_no", "", query{`min by (part) (penname_part_ready{instance=~"$instance"})`, "{{part}}"}),
			graph("How long they take to say so", "s", "In tenths of a second.", query{`max by (part) (penname_part_answer_seconds{instance=~"$instance"})`, "{{part}}"}),
			graph("Witnesses", "none", "", query{`min(penname_witnesses_cosigned{instance=~"$instance"})`, "cosigned"}, query{`max(penname_witnesses_needed{instance=~"$instance"})`, "needed"}, query{`max(penname_witnesses{instance=~"$instance"})`, "asked"}),
			graph("What ends", "d", "", query{`min by (what) (penname_days_left{instance=~"$instance"})`, "{{what}}"}),
			graph("Age of the newest snapshot of Vault", "s", "", query{`min(penname_vault_snapshot_age_seconds{instance=~"$instance"})`, "age"}),
			graph("Programs", "none", "", query{`count by (version, schema_version) (penname_build_info{instance=~"$instance"})`, "{{version}}, schema {{schema_version}}"}),
		}},
		{"Database and Vault", []panel{
			graph("Connections", "none", "Of the issuing side only whether all are in use.", query{`sum by (instance, side, state) (penname_database_connections{instance=~"$instance"})`, "{{instance}} {{side}} {{state}}"}, query{`max by (side) (penname_database_connections_limit{instance=~"$instance"})`, "{{side}} limit"}),
			graph("Waits for a connection", "ops", "Not of the issuing side.", query{`sum by (side) (rate(penname_database_connection_waits_total{instance=~"$instance"}[$__rate_interval]))`, "{{side}}"}),
			graph("Calls to Vault, disclosing and keeping side", "ops", "", query{`sum by (side, operation) (rate(penname_vault_call_duration_seconds_count{instance=~"$instance",side!="issue"}[$__rate_interval]))`, "{{side}} {{operation}}"}),
			graph("Calls to Vault, issuing side, on the day before", "none", later, query{`sum by (operation) (increase(penname_vault_call_duration_seconds_count{instance=~"$instance",side="issue"}[1d]))`, "{{operation}}"}),
			graph("Calls to Vault that fail", "none", "In ten minutes.", query{`sum by (side, operation) (increase(penname_vault_call_failures_total{instance=~"$instance"}[10m]))`, "{{side}} {{operation}}"}),
		}},
		{"Requests", []panel{
			graph("Of courts, requesters, custodians, auditors", "reqps", "", query{`sum by (route) (rate(penname_request_duration_seconds_count{instance=~"$instance",route=~".* /(v1|log)/.*"}[$__rate_interval]))`, "{{route}}"}),
			graph("Theirs that took longer than a second", "percentunit", "", query{`1 - sum by (route) (increase(penname_request_duration_seconds_bucket{instance=~"$instance",route=~".* /(v1|log)/.*",le=~"1|1[.]0"}[1h])) / sum by (route) (increase(penname_request_duration_seconds_count{instance=~"$instance",route=~".* /(v1|log)/.*"}[1h]))`, "{{route}}"}),
			graph("Of people, and of platforms for them, on the day before", "none", later, query{`sum by (route) (increase(penname_request_duration_seconds_count{instance=~"$instance",` + people + `}[1d]))`, "{{route}}"}),
			graph("Theirs: 95 of 100 were answered within", "s", later+" Told apart at 0.1, 0.5, 1 and 5 seconds.", query{`histogram_quantile(0.95, sum by (le) (increase(penname_request_duration_seconds_bucket{instance=~"$instance",` + people + `}[1d])))`, "all routes"}),
			graph("Refused, in a day", "none", "By code. Those of people show a day later.", query{`sum by (code) (increase(penname_refusals_total{instance=~"$instance"}[1d]))`, "{{code}}"}),
			graph("Failed on our side, in ten minutes", "none", "", query{`sum by (code) (increase(penname_faults_total{instance=~"$instance"}[10m]))`, "{{code}}"}),
			graph("Memory of bodies", "bytes", "", query{`sum by (instance, bodies) (penname_body_memory_bytes{instance=~"$instance"})`, "{{instance}} {{bodies}}"}, query{`max by (bodies) (penname_body_memory_limit_bytes{instance=~"$instance"})`, "{{bodies}} limit"}),
		}},
		{"Jobs", []panel{
			graph("Since the last success, in intervals", "none", "At three PennameJobFails sounds.", query{`max by (job_name) (penname_job_last_success_age_seconds{instance=~"$instance"} / on (instance, job_name) penname_job_interval_seconds)`, "{{job_name}}"}),
			graph("Failures, in an hour", "none", "", query{`sum by (job_name, code) (increase(penname_job_failures_total{instance=~"$instance"}[1h])) > 0`, "{{job_name}} {{code}}"}),
		}},
	}},
	"duties": {"Penname: cases and duties", []row{
		{"Overdue", []panel{
			number("Persons not told", "none", "Secrecy is over since an hour or longer.", `max(penname_notices_overdue)`, 1),
			number("Cases not ended", "none", "They ran out, lapsed, or had to wait for who is told first.", `max(penname_ends_overdue) + max(penname_lapses_overdue) + max(penname_tells_overdue)`, 1),
			number("Persons not erased", "none", "", `max(penname_erasures_overdue)`, 1),
			number("Objections without a ruling", "none", "In cases that run out within a week.", `max(penname_objections_unanswered)`, 1),
			number("Cases that the database lost", "none", "", `max(penname_cases{state="lost"})`, 1),
			number("Mails that cannot be read", "none", "", `max(penname_mails_damaged)`, 1),
		}},
		{"Cases", []panel{
			graph("By where they stand", "none", "", query{`max by (state) (penname_cases)`, "{{state}}"}),
			graph("Notices", "none", "", query{`max(penname_notices_due)`, "due"}, query{`max(penname_notices_overdue)`, "overdue"}),
			graph("Clocks that ran out", "none", "", query{`max(penname_ends_overdue)`, "ends"}, query{`max(penname_lapses_overdue)`, "lapses"}, query{`max(penname_tells_overdue)`, "to be told first"}),
			graph("Objections", "none", "", query{`max(penname_objections_waiting)`, "waiting"}, query{`max(penname_objections_unanswered)`, "unanswered"}),
		}},
		{"People and platforms", []panel{
			graph("Erasures", "none", later, query{`max(penname_erasures_pending)`, "pending"}, query{`max(penname_erasures_overdue)`, "overdue"}),
			graph("Enrolments that are held", "none", later, query{`max(penname_reviews_pending)`, "pending"}),
			graph("Platforms", "none", "", query{`max by (state) (penname_platforms)`, "{{state}}"}),
			graph("Platforms told who signed out, on the day before", "none", later, query{`sum by (outcome) (increase(penname_logout_tokens_total[1d]))`, "{{outcome}}"}),
		}},
		{"Mail", []panel{
			graph("Waiting since an earlier hour", "none", "", query{`max by (side) (penname_mails_waiting)`, "{{side}}"}),
			graph("The oldest of them waits", "s", "", query{`max by (side) (penname_mails_oldest_age_seconds)`, "{{side}}"}),
			graph("Cannot be read, or are refused", "none", "", query{`max(penname_mails_damaged)`, "damaged"}, query{`max(penname_reminders_refused)`, "reminders refused in 60 days"}),
		}},
	}},
}

type row struct {
	title  string
	panels []panel
}

// TestDashboards: the files are what is above, as Grafana's own types write it, and each
// question is answered by what was recorded of the story, but for what did not happen in it.
func TestDashboards(t *testing.T) {
	store := promqltest.LoadedStorage(t, recorded(t)+"\n")
	engine := promqltest.NewTestEngine(t, false, 0, 1_000_000)
	quiet := []string{"penname_logout_tokens_total", "penname_job_failures_total"}
	for name, d := range dashboards {
		b := dashboard.NewDashboardBuilder(d.title).Uid("penname-"+name).Tags([]string{"penname"}).Time("now-24h", "now").Refresh("1m").Timezone("utc").
			WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus")).
			Link(dashboard.NewDashboardLinkBuilder("Penname").Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{"penname"}))
		if name == "state" {
			b.WithVariable(dashboard.NewQueryVariableBuilder("instance").Label("Process").Datasource(source()).
				Query(dashboard.StringOrMap{String: cog.ToPtr("label_values(penname_build_info, instance)")}).IncludeAll(true).AllValue(".*").Multi(true))
		}
		for _, r := range d.rows {
			b.WithRow(dashboard.NewRowBuilder(r.title))
			for _, p := range r.panels {
				b.WithPanel(p.builder())
				for _, q := range p.queries {
					expr := strings.NewReplacer("$instance", ".*", "$__rate_interval", "15m").Replace(q.expr)
					asked, err := engine.NewInstantQuery(t.Context(), store, nil, expr, time.Unix(0, 0).Add((steps-1)*step))
					if err != nil {
						t.Errorf("%s: %v", p.title, err)
						continue
					}
					found, err := asked.Exec(t.Context()).Vector()
					expected := !strings.Contains(expr, quiet[0]) && !strings.Contains(expr, quiet[1])
					if err != nil || (len(found) > 0) != expected {
						t.Errorf("%s: %s: %v %v", p.title, expr, found, err)
					}
					asked.Close()
				}
			}
		}
		built, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.MarshalIndent(built, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("..", "grafana", name+".json")
		if raw = append(raw, '\n'); *update {
			err = os.WriteFile(file, raw, 0o644)
		}
		written, rerr := os.ReadFile(file)
		if err != nil || rerr != nil || !bytes.Equal(raw, written) {
			t.Errorf("%s is not what is here: go test -run TestDashboards -update (%v, %v)", file, err, rerr)
		}
	}
}

// source is the variable that names the Prometheus.
func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

func (p panel) builder() cog.Builder[dashboard.Panel] {
	if p.limit != nil {
		steps := []dashboard.Threshold{{Color: "green"}, {Value: p.limit, Color: "red"}}
		if p.below {
			steps[0].Color, steps[1].Color = "red", "green"
		}
		return stat.NewPanelBuilder().Title(p.title).Description(p.says).Unit(p.unit).Datasource(source()).Span(4).Height(4).
			Thresholds(dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)).
			ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).Orientation(common.VizOrientationAuto).
			WithTarget(prometheus.NewDataqueryBuilder().Expr(p.queries[0].expr).RefId("A").Instant())
	}
	b := timeseries.NewPanelBuilder().Title(p.title).Description(p.says).Unit(p.unit).Datasource(source()).Span(12).Height(8).Min(0).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	for i, q := range p.queries {
		b.WithTarget(prometheus.NewDataqueryBuilder().Expr(q.expr).LegendFormat(q.legend).RefId(string(rune('A' + i))))
	}
	return b
}
