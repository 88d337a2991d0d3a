package main

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
)

// monitoring reads the metrics of a world, as Prometheus does.
type monitoring struct {
	t       testing.TB
	world   *world.World
	metrics http.Handler
	read    string // everything that was ever read
}

// samples are values by name and labels, as they stand in a scrape.
type samples map[string]float64

func newMonitoring(t testing.TB, o world.Options) *monitoring {
	t.Helper()
	o.Listen, o.Progress = "127.0.0.1:0", os.Stderr
	if o.Log == nil {
		o.Log = &syncBuffer{}
	}
	tb, err := world.Start(t.Context(), programs, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tb.Close(); err != nil {
			t.Error(err)
		}
	})
	return &monitoring{t: t, world: tb, metrics: tb.Service.Metrics()}
}

// scrape reads the metrics, after the time for which one look at the parts counts.
func (m *monitoring) scrape() samples {
	m.t.Helper()
	m.world.Clock.Advance(16 * time.Second)
	w := httptest.NewRecorder()
	m.metrics.ServeHTTP(w, httptest.NewRequestWithContext(m.t.Context(), http.MethodGet, "http://localhost/metrics", nil))
	if w.Code != http.StatusOK {
		m.t.Fatalf("%d %s", w.Code, w.Body)
	}
	m.read += w.Body.String()
	found := samples{}
	for lines := bufio.NewScanner(w.Body); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			m.t.Fatal(line)
		}
		found[line[:at]] = value
	}
	return found
}

// sum adds the samples of a metric whose labels contain all of these.
func (s samples) sum(name string, labels ...string) (sum float64) {
	for sample, value := range s {
		if family, rest, _ := strings.Cut(sample, "{"); family == name && !slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(rest, l) }) {
			sum += value
		}
	}
	return sum
}

// family is the metric that a sample is of.
func family(sample string) string {
	name, _, _ := strings.Cut(sample, "{")
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		name = strings.TrimSuffix(name, part)
	}
	return name
}

// record writes what was scraped, a line for each sample with its values one after the other,
// for Prometheus' own packages, which try the alarms and the dashboards on it, with -update.
// Without, the file must have the same metrics, with the same labels.
func (h history) record(t *testing.T, file string) error {
	scrapes := []samples{h.first, h.sameDay, h.down, h.uploading, h.old, h.last}
	lines := map[string]string{}
	for _, scrape := range scrapes {
		for sample := range scrape {
			if !strings.HasPrefix(sample, "penname_") || family(sample) == "penname_job_failures_total" && h.last[sample] != 0 || family(sample) == "penname_request_duration_seconds" && h.last[sample] == 0 {
				continue // of Go, a failure of a job that chanced to be due in the outage, or of a route that nobody came by
			}
			lines[sample] = sample
			for _, one := range scrapes {
				value := "_" // none, as Prometheus writes it
				if v, ok := one[sample]; ok {
					value = strconv.FormatFloat(v, 'f', -1, 64)
				}
				lines[sample] += " " + value
			}
		}
	}
	text := strings.Join(slices.Sorted(maps.Values(lines)), "\n") + "\n"
	if *update {
		return os.WriteFile(file, []byte(text), 0o644)
	}
	recorded, err := os.ReadFile(file)
	if is, was := labels(text), labels(string(recorded)); err == nil && !slices.Equal(is, was) {
		t.Errorf("%s is of another service, write it anew with -update:\n%v\n%v", file, is, was)
	}
	return err
}

// labels are the metrics of a recording, each with the names of its labels.
func labels(recording string) []string {
	var all []string
	for line := range strings.Lines(recording) {
		all = append(all, strings.Fields(regexp.MustCompile(`="[^"]*"`).ReplaceAllString(line, ""))[0])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (s samples) has(name string) bool {
	for sample := range s {
		if family, _, _ := strings.Cut(sample, "{"); family == name {
			return true
		}
	}
	return false
}

func (m *monitoring) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// history is what was scraped: at the start, after the story, while the database was
// down and an upload was under way, two days later, and at the end.
type history struct{ first, sameDay, down, uploading, old, last samples }

// play plays the story, and what goes wrong beside it.
func (m *monitoring) play(n *network) (h history, story *world.Story) {
	t, tb := m.t, m.world
	h.first = m.scrape()

	story = world.NewStory(tb, io.Discard)
	m.must(story.Play(t.Context()))
	m.must(world.NewBrowser().Enrol(t.Context(), tb.Origin, everybody[len(everybody)-1].Name)) // is held
	jo := world.NewBrowser()
	m.must(jo.Enrol(t.Context(), tb.Origin, sandbox.People()[0].Name))
	m.must(jo.Open(t.Context(), tb.Origin+"/me/delete"))
	m.must(jo.Press(t.Context(), "Delete my identity", nil))
	other := world.NewBrowser()
	m.must(other.Enrol(t.Context(), tb.Origin, sandbox.People()[2].Name))
	tb.Witnesses["alba"].Down.Store(true)
	m.must(tb.Service.Publish(t.Context()))
	h.sameDay = m.scrape()

	tb.Witnesses["alba"].Down.Store(false)
	n.down(true)
	m.must(other.Open(t.Context(), tb.Origin+"/me"))
	m.must(other.Shows(http.StatusServiceUnavailable, ""))
	h.down = m.scrape()
	n.down(false)

	upload, sending := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tb.Origin+"/v1/warrants", upload)
	m.must(err)
	req.Header.Set("Content-Type", "application/json")
	answered := make(chan error, 1)
	go func() {
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			err = res.Body.Close()
		}
		answered <- err
	}()
	_, err = io.WriteString(sending, `{"warrant":"a","evidence":[`+strings.Repeat(`"`+strings.Repeat("a", 60<<10)+`",`, 70))
	m.must(err)
	h.uploading = m.scrape()
	for tries := 0; h.uploading.sum("penname_body_memory_bytes") == 0 && tries < 100; tries++ {
		h.uploading = m.scrape() // it is still on the line
	}
	sending.Close() //nolint:errcheck // it never fails (io.PipeWriter)
	m.must(<-answered)

	tb.Clock.Advance(48 * time.Hour)
	h.old = m.scrape()
	m.must(tb.Service.Publish(t.Context()))
	m.must(tb.Service.FollowRules(t.Context()))
	snapshot, err := tb.Service.Keeping.Store.NextSnapshot(t.Context(), tb.Clock.Now())
	m.must(errors.Join(err, tb.Service.Keeping.Store.AddSnapshot(t.Context(), snapshot)))
	m.must(tb.Service.SendMails(t.Context())) // who was told has no address: nobody waits
	h.last = m.scrape()
	return h, story
}

// moves is how each metric must have moved.
func (h history) moves() map[string][]func() bool {
	first, sameDay, down, uploading, old, last := h.first, h.sameDay, h.down, h.uploading, h.old, h.last
	more := func(name string, labels ...string) func() bool {
		return func() bool { return last.sum(name, labels...) > first.sum(name, labels...) }
	}
	return map[string][]func() bool{
		"penname_build_info":                      {func() bool { return last.sum("penname_build_info", `schema_version="`) == 1 }},
		"penname_part_ready":                      {func() bool { return last.sum("penname_part_ready") == 9 }, func() bool { return down.sum("penname_part_ready", "database") == 0 }, func() bool { return down.sum("penname_part_ready", "keys") == 3 }},
		"penname_part_answer_seconds":             {func() bool { return last.sum("penname_part_answer_seconds") > 0 }},
		"penname_database_connections":            {func() bool { return last.sum("penname_database_connections", "idle") > 0 }},
		"penname_database_connections_limit":      {func() bool { return last.sum("penname_database_connections_limit") == 3*16 }},
		"penname_database_connection_waits_total": {more("penname_database_connection_waits_total")},
		"penname_vault_call_duration_seconds": {more("penname_vault_call_duration_seconds_count", `side="issue"`, `operation="encrypt"`), more("penname_vault_call_duration_seconds_count", `side="issue"`, `operation="hmac"`),
			more("penname_vault_call_duration_seconds_count", `side="disclose"`, `operation="decrypt"`), more("penname_vault_call_duration_seconds_count", `side="keep"`, `operation="keys"`),
			func() bool {
				return sameDay.sum("penname_vault_call_duration_seconds_count", `side="disclose"`, `operation="decrypt"`) > 0
			}},
		"penname_vault_call_failures_total": {func() bool {
			return last.has("penname_vault_call_failures_total") && last.sum("penname_vault_call_failures_total") == 0
		}}, // TestVaultFailuresAreCounted
		"penname_witnesses_cosigned":     {func() bool { return sameDay.sum("penname_witnesses_cosigned") == 2 }, func() bool { return last.sum("penname_witnesses_cosigned") == 3 }},
		"penname_witnesses_needed":       {func() bool { return last.sum("penname_witnesses_needed") == 2 }},
		"penname_witnesses":              {func() bool { return last.sum("penname_witnesses") == 3 }},
		"penname_checkpoint_age_seconds": {func() bool { return old.sum("penname_checkpoint_age_seconds") > 48*3600 }, func() bool { return last.sum("penname_checkpoint_age_seconds") < 60 }},
		"penname_days_left": {func() bool {
			d := first.sum("penname_days_left", "penname-keeping") - last.sum("penname_days_left", "penname-keeping")
			return d > 63 && d < 70
		}},
		"penname_vault_snapshot_fresh": {func() bool {
			return first.sum("penname_vault_snapshot_fresh") == 0 && first.has("penname_vault_snapshot_fresh")
		}, func() bool { return last.sum("penname_vault_snapshot_fresh") == 1 }},
		"penname_vault_snapshot_age_seconds": {func() bool { return !first.has("penname_vault_snapshot_age_seconds") }, func() bool { return last.sum("penname_vault_snapshot_age_seconds") < 24*3600+60 }},
		"penname_erasures_pending":           {func() bool { return sameDay.sum("penname_erasures_pending") == 0 }, func() bool { return last.sum("penname_erasures_pending") == 1 }},
		"penname_erasures_overdue":           {func() bool { return last.has("penname_erasures_overdue") }},                                            // TestCountsOfManyRowsReadNoTable
		"penname_notices_due":                {func() bool { return last.has("penname_notices_due") && last.sum("penname_notices_due") == 0 }},         // likewise
		"penname_notices_overdue":            {func() bool { return last.has("penname_notices_overdue") && last.sum("penname_notices_overdue") == 0 }}, // likewise
		"penname_ends_overdue":               {func() bool { return last.has("penname_ends_overdue") && last.sum("penname_ends_overdue") == 0 }},       // likewise
		"penname_lapses_overdue":             {func() bool { return last.has("penname_lapses_overdue") && last.sum("penname_lapses_overdue") == 0 }},   // likewise
		"penname_tells_overdue":              {func() bool { return last.has("penname_tells_overdue") && last.sum("penname_tells_overdue") == 0 }},     // likewise
		"penname_objections_waiting":         {func() bool { return last.has("penname_objections_waiting") }},                                          // likewise
		"penname_objections_unanswered":      {func() bool { return last.has("penname_objections_unanswered") }},                                       // likewise
		// How they move is shown by TestMailsOfAService: nobody has an address here.
		"penname_mails_waiting": {func() bool { return last.has("penname_mails_waiting") && last.sum("penname_mails_waiting") == 0 }},
		"penname_mails_oldest_age_seconds": {func() bool {
			return last.has("penname_mails_oldest_age_seconds") && last.sum("penname_mails_oldest_age_seconds") == 0
		}},
		"penname_mails_damaged": {func() bool { return last.has("penname_mails_damaged") && last.sum("penname_mails_damaged") == 0 }},
		"penname_reminders_refused": {func() bool {
			return last.has("penname_reminders_refused") && last.sum("penname_reminders_refused") == 0
		}},
		"penname_reviews_pending": {func() bool { return sameDay.sum("penname_reviews_pending") == 0 }, func() bool { return last.sum("penname_reviews_pending") == 1 }},
		"penname_platforms": {func() bool {
			return last.sum("penname_platforms", `state="open"`) == 2 && last.sum("penname_platforms") == 2
		}},
		"penname_cases": {func() bool { return first.sum("penname_cases") == 0 }, func() bool { return last.sum("penname_cases", `state="noticed"`) == 1 }, func() bool { return !down.has("penname_cases") }},
		"penname_request_duration_seconds": {more("penname_request_duration_seconds_count", `route="GET /me"`), more("penname_request_duration_seconds_count", `route="* /token"`),
			func() bool {
				return sameDay.sum("penname_request_duration_seconds_count", `route="POST /v1/warrants"`) >= 3
			}},
		"penname_refusals_total": {more("penname_refusals_total", `code="proofing_failed.already_enrolled"`), func() bool {
			return sameDay.sum("penname_refusals_total", `code="proofing_failed.already_enrolled"`) == 0
		},
			func() bool { return sameDay.sum("penname_refusals_total", `code="warrant.refused_by_rule"`) > 0 }},
		"penname_faults_total":                 {func() bool { return last.sum("penname_faults_total", `code="database.unavailable"`) > 0 }},
		"penname_body_memory_bytes":            {func() bool { return uploading.sum("penname_body_memory_bytes", "large") >= 1<<20 }, func() bool { return last.sum("penname_body_memory_bytes") == 0 }},
		"penname_body_memory_limit_bytes":      {func() bool { return last.sum("penname_body_memory_limit_bytes") == 80<<20 }},
		"penname_job_last_success_age_seconds": {func() bool { return last.sum("penname_job_last_success_age_seconds", `job_name="cases"`) < 120 }},
		"penname_job_interval_seconds":         {func() bool { return last.sum("penname_job_interval_seconds", `job_name="erasures"`) == 3600 }},
		"penname_job_failures_total": {func() bool {
			return first.has("penname_job_failures_total") && first.sum("penname_job_failures_total") == 0
		}}, // TestJobIsRepeated
		"penname_logout_tokens_total": {func() bool { return true }}, // TestUntoldShowsWhenTheDayIsOver: no platform here is told
	}
}

// secrets are what identifies a case, a platform, a pen name, a token or a machine of a world,
// and whom a warrant is of.
func secrets(tb *world.World, c *world.Case) []string {
	return append(strings.Split(c.Post.Token.Raw, "."), tb.Town.ID, tb.Town.Name, tb.School.ID, tb.School.Name, c.ID, string(c.Post.Author), "pen1", c.Post.URL,
		"TC 118", "county-court", "127.0.0.1", "::1")
}

// TestMetricsAfterTheStory holds each metric to how it must have moved. No person, pen
// name, case or platform is in any of them, and the rules of alarms name no other.
func TestMetricsAfterTheStory(t *testing.T) {
	n := &network{}
	m := newMonitoring(t, world.Options{Vault: true, People: everybody, Stores: postgres.Options{Dial: n.dial, Wait: 4 * time.Second}})
	tb := m.world
	h, story := m.play(n)
	table := h.moves()
	for name, rows := range table {
		for i, moved := range rows {
			if !moved() {
				t.Errorf("%s did not move as it should (%d)", name, i)
			}
		}
	}
	for _, s := range []samples{h.first, h.last} {
		for sample := range s {
			if _, known := table[family(sample)]; !known && strings.HasPrefix(sample, "penname_") {
				t.Errorf("%s is not in the table", sample)
			}
		}
	}
	shown := map[string]bool{"penname_build_info": true} // of which each process has one
	for _, file := range []string{"prometheus/alerts.yml", "grafana/state.json", "grafana/duties.json"} {
		raw, err := os.ReadFile("../../deploy/" + file)
		m.must(err)
		named := regexp.MustCompile(`\bpenname_[a-z_]+`).FindAllString(string(raw), -1)
		if len(named) < 10 {
			t.Errorf("%s names %d metrics", file, len(named))
		}
		for _, name := range named {
			if name = family(name); table[name] == nil {
				t.Errorf("%s names %s, which is not there", file, name)
			}
			shown[name] = shown[name] || strings.HasPrefix(file, "grafana")
		}
	}
	for name := range table {
		if !shown[name] {
			t.Errorf("no dashboard shows %s", name)
		}
	}
	m.must(h.record(t, "../../deploy/prometheus/testdata/story.txt"))
	report(t, "what was scraped", []byte(m.read), encodings(append(canaries(), secrets(tb, story.Case)...)))
	if !regexp.MustCompile(`penname_cases\{state="noticed"\} 1`).MatchString(m.read) {
		t.Error("nothing was searched")
	}
	if t.Failed() {
		for _, name := range slices.Sorted(maps.Keys(h.last)) {
			t.Log(name, h.first[name], h.sameDay[name], h.last[name])
		}
	}
}

// TestAScrapeDoesNotTellWhenSomebodyCame: between two scrapes of one day somebody
// enrols, signs in at two platforms, leaves everywhere and asks to be deleted. What is
// scraped is the same as if nobody had come, and so is the log.
func TestAScrapeDoesNotTellWhenSomebodyCame(t *testing.T) {
	logs := &syncBuffer{}
	m := newMonitoring(t, world.Options{Vault: true, Log: logs})
	tb := m.world
	if h := tb.Clock.Now().UTC().Hour(); h >= 23 { // all on one day
		tb.Clock.Advance(2 * time.Hour)
		m.must(tb.Service.ServeCases(t.Context())) // the log is cosigned anew, and followed
		m.must(tb.Service.FollowRules(t.Context()))
	}
	m.scrape()
	before, lines := m.scrape(), strings.Count(logs.String(), "\n")
	b, name := world.NewBrowser(), sandbox.People()[0].Name
	m.must(b.Enrol(t.Context(), tb.Origin, name))
	m.must(b.Visit(t.Context(), tb.Town, name))
	m.must(b.Visit(t.Context(), tb.School, name))
	m.must(b.Open(t.Context(), tb.Origin+"/me/none"))
	m.must(b.Open(t.Context(), tb.Origin+"/me"))
	m.must(b.Press(t.Context(), "Sign out everywhere", nil))
	m.must(b.Enrol(t.Context(), tb.Origin, name))
	m.must(b.Open(t.Context(), tb.Origin+"/me/delete"))
	m.must(b.Press(t.Context(), "Delete my identity", nil))
	m.must(b.Shows(http.StatusOK, "It will be complete by"))
	after := m.scrape()
	// What tells of time alone goes on, and the jobs of the sides to which no people come.
	// How long a part takes to answer is up to a busy machine.
	free := regexp.MustCompile(`^(penname_part_answer_seconds|penname_(checkpoint|job_last_success|vault_snapshot)_age_seconds|penname_days_left)|^penname_database_connection.*side="(disclose|keep)"|side="(disclose|keep)",?.*operation="keys"|operation="keys",side="(disclose|keep)"`)
	for sample, value := range after {
		if before[sample] != value && !free.MatchString(sample) {
			t.Errorf("%s: %g, and %g afterwards", sample, before[sample], value)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d samples, and %d afterwards", len(before), len(after))
	}
	for line := range strings.SplitSeq(strings.Join(strings.Split(logs.String(), "\n")[lines:], "\n"), "\n") {
		if strings.Contains(line, `"request"`) || strings.Contains(line, `"refused"`) {
			t.Error(line)
		}
	}
	tb.Clock.Advance(25 * time.Hour)
	if next := m.scrape(); next.sum("penname_request_duration_seconds_count", `route="POST /enrol"`) != 2 || next.sum("penname_refusals_total", `server.no_such_page`) != 1 {
		t.Error("on the next day it does not show")
	}
}

// TestStatusNamesTheWitnessesThatAreAway: one is a warning, and a missing quorum is a
// fault of the log; so is seen that no tree was cosigned for five minutes.
func TestStatusNamesTheWitnessesThatAreAway(t *testing.T) {
	tb := newMonitoring(t, world.Options{}).world
	says := func(want ...string) {
		t.Helper()
		said := tb.Service.Status(t.Context()).String()
		for _, line := range want {
			if !strings.Contains(said, "\n"+line) {
				t.Errorf("no %q in\n%s", line, said)
			}
		}
		if n := strings.Count(said, "  witness "); n != max(len(want)-1, 0) {
			t.Errorf("%d witnesses in\n%s", n, said)
		}
	}
	says("ok         log")
	alba, bruno := tb.Witnesses["alba"], tb.Witnesses["bruno"]
	alba.Down.Store(true)
	if err := tb.Service.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	says("ok         log", "warning    witness alba.witness.example: log.witness: ")
	bruno.Down.Store(true)
	if err := tb.Service.Publish(t.Context()); err == nil {
		t.Fatal("no quorum is missing")
	}
	says("fault      log: log.quorum_not_met: ", "warning    witness alba.witness.example: log.witness: ", "warning    witness bruno.witness.example: log.witness: ")
	alba.Down.Store(false)
	bruno.Down.Store(false)
	if err := tb.Service.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	tb.Clock.Advance(6 * time.Minute)
	says("warning    log: log.checkpoint_old: ")
}

// TestScrapeOfAFrozenDatabase: a database that answers nothing makes no scrape hang.
// What it would say is not there, and the others wait for nothing.
func TestScrapeOfAFrozenDatabase(t *testing.T) {
	n := &network{}
	m := newMonitoring(t, world.Options{Stores: postgres.Options{Dial: n.dial, Wait: 4 * time.Second}})
	before := m.scrape()
	n.freeze()
	began := time.Now()
	frozen := m.scrape()
	took := time.Since(began)
	t.Logf("figure: a scrape beside a frozen database took %v", took.Round(10*time.Millisecond))
	if took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if frozen.sum("penname_part_ready", ".database") != 0 || frozen.sum("penname_part_ready", ".keys") != 3 || before.sum("penname_part_ready", ".database") != 3 {
		t.Error(before, frozen)
	}
	for _, name := range []string{"penname_cases", "penname_notices_due", "penname_reviews_pending", "penname_erasures_pending"} {
		if frozen.has(name) || !before.has(name) {
			t.Errorf("%s is there", name)
		}
	}

	// Many at once: some are refused, none waits for long, and one look serves them all.
	m.world.Clock.Advance(time.Minute)
	began = time.Now()
	var refused, served atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			w := httptest.NewRecorder()
			m.metrics.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/metrics", nil))
			switch w.Code {
			case http.StatusOK:
				served.Add(1)
			case http.StatusServiceUnavailable:
				refused.Add(1)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > 5500*time.Millisecond || served.Load() == 0 || served.Load()+refused.Load() != 20 || refused.Load() < 10 {
		t.Errorf("%d served, %d refused after %v", served.Load(), refused.Load(), took)
	}
	n.thaw()
	if back := m.scrape(); back.sum("penname_part_ready", ".database") != 3 || !back.has("penname_cases") {
		t.Error(back)
	}
}

// TestARequestChoosesNoLabel: whatever is asked for, there are no more samples than
// before.
func TestARequestChoosesNoLabel(t *testing.T) {
	m := newMonitoring(t, world.Options{})
	ask := func(method, path string) {
		req, err := http.NewRequestWithContext(t.Context(), method, m.world.Origin+path, nil)
		m.must(err)
		res, err := http.DefaultTransport.RoundTrip(req)
		m.must(err)
		m.must(res.Body.Close())
	}
	ask("GET", "/v1/warrants/none")
	ask("GET", "/v1/none")
	m.world.Clock.Advance(25 * time.Hour)
	before := m.scrape()
	for i := range 30 {
		ask("M"+strconv.Itoa(i), "/v1/warrants/"+strconv.Itoa(i))
		ask("GET", "/v1/warrants/"+url.PathEscape("x\n"+strconv.Itoa(i)))
		ask("GET", "/nowhere/"+strconv.Itoa(i))
	}
	m.world.Clock.Advance(25 * time.Hour)
	after := m.scrape()
	for sample := range after {
		if _, known := before[sample]; !known && !strings.Contains(sample, `code="server.`) {
			t.Errorf("new: %s", sample)
		}
	}
}

// BenchmarkScrape is one scrape with a look of its own at all parts, which are asked once
// in 15 seconds, and one that finds what was seen before.
func BenchmarkScrape(b *testing.B) {
	m := newMonitoring(b, world.Options{})
	b.Run("with a look", func(b *testing.B) {
		for b.Loop() {
			m.scrape()
			m.read = ""
		}
	})
	b.Run("without", func(b *testing.B) {
		for b.Loop() {
			m.world.Clock.Advance(-16 * time.Second) // which scrape advances by
			m.scrape()
			m.read = ""
		}
	})
}
