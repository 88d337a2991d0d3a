package service

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/verifier/refusal"
)

// Metrics are read every few seconds by machines that others look after. So none is
// of a person, a case or a platform, none has a label that a request chooses, and what
// would tell when somebody enrolled, signed in or left is held back until the day is
// over: see tally, and SECURITY.md.

var (
	errConfigMetrics = refusal.New(refusal.Invalid, "config.metrics_not_loopback",
		"metrics_listen must be a loopback address and a port, or metrics_client_ca_file must name the authority of those who may read the metrics")
	errConfigMetricsCA = refusal.New(refusal.Invalid, "config.bad_metrics_client_ca",
		"metrics_client_ca_file must hold the PEM certificate of the authority that signs the certificates of those who may read the metrics")
)

// checkMetrics refuses an address at which others than this machine would be asked for
// no certificate.
func (c *Config) checkMetrics() error {
	if c.MetricsListen == "" {
		return nil
	}
	if a, err := netip.ParseAddrPort(c.MetricsListen); err != nil || !a.Addr().IsLoopback() && c.MetricsClientCA == "" {
		return errConfigMetrics
	}
	return nil
}

func (c *Config) metricsCA() (*x509.CertPool, error) {
	if c.MetricsClientCA == "" {
		return nil, nil
	}
	raw, err := readPublic(c.MetricsClientCA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, errConfigMetricsCA.Because(errors.New(c.MetricsClientCA))
	}
	return pool, nil
}

func (c *Config) metricsFiles() (any, []string) {
	return nil, slices.DeleteFunc([]string{c.MetricsClientCA}, func(name string) bool { return name == "" })
}

func (s *Service) loadMetricsCA(_ context.Context, c *Config) error {
	pool, err := c.metricsCA()
	err = of("metrics_client_ca_file", err)
	if pool != nil { // without one the listener would take certificates of any authority that this machine knows
		s.live.metricsCA.Store(pool)
	}
	return err
}

// listenForMetrics listens where the configuration says: in plain HTTP to this machine
// alone, or to whoever shows a certificate of the configured authority.
func (s *Service) listenForMetrics(c *Config) (net.Listener, error) {
	ln, err := Listen(c.MetricsListen)
	if err != nil || c.MetricsClientCA == "" {
		return ln, err
	}
	return tls.NewListener(ln, &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*s.live.certificate.Load()},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: s.live.metricsCA.Load()}, nil
	}}), nil
}

const (
	// scrapes is how many may be under way at a time, and scrapeTime how long one takes.
	scrapes    = 4
	scrapeTime = 8 * time.Second
)

// Metrics serves what is the operator's alone: the metrics of the service at
// /metrics, in the format that Prometheus reads, and its [Status] at /status.
func (s *Service) Metrics() http.Handler {
	all := prometheus.NewRegistry()
	all.MustRegister(s)
	process := prometheus.NewRegistry()
	process.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	served := []string{"go_info", "process_max_fds", "process_start_time_seconds"}
	if s.Issuing == nil {
		served = append(served, ofUse...)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", s.serveStatus)
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.Gatherers{all, some{process, served}}, promhttp.HandlerOpts{MaxRequestsInFlight: scrapes, Timeout: scrapeTime}))
	return sameSite(mux)
}

// sameSite refuses what a page of another site has a browser on this machine ask: it
// names that site, or comes by a name of its own that leads here. Whoever shows a
// certificate may come by any name.
func sameSite(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := (&url.URL{Host: r.Host}).Hostname()
		at, err := netip.ParseAddr(host)
		ours := r.TLS != nil || host == "localhost" || err == nil && at.IsLoopback()
		if site := r.Header.Get("Sec-Fetch-Site"); !ours || r.Header.Get("Origin") != "" || site != "" && site != "none" && site != "same-origin" {
			http.Error(w, "ask this machine by localhost or its loopback address, and from no other site", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ofUse are the metrics of what a process uses that are served where no people come:
// each request moves them.
var ofUse = []string{"go_goroutines", "go_memstats_heap_inuse_bytes", "go_memstats_next_gc_bytes", "go_threads",
	"process_cpu_seconds_total", "process_open_fds", "process_resident_memory_bytes"}

// some gathers those of these names.
type some struct {
	prometheus.Gatherer
	names []string
}

// Gather implements [prometheus.Gatherer].
func (g some) Gather() ([]*dto.MetricFamily, error) {
	all, err := g.Gatherer.Gather()
	return slices.DeleteFunc(all, func(f *dto.MetricFamily) bool { return !slices.Contains(g.names, f.GetName()) }), err
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("penname_"+name, help, labels, nil)
}

// The metrics. Each label is a constant of ours, or a name in the configuration.
var (
	buildInfo = describe("build_info", "Always 1: which program this is.", "version", "go_version", "schema_version")

	partReady  = describe("part_ready", "1 if this part of the service can do its work, 0 if it cannot or did not say so in time; as in /readyz.", "part")
	partAnswer = describe("part_answer_seconds", "How long this part took to say whether it can do its work, in whole tenths of a second, rounded up.", "part")

	connections      = describe("database_connections", "Connections to the database, by what they do at the moment. Of the issuing side it shows only whether all are in use: else 0 are.", "side", "state")
	connectionsLimit = describe("database_connections_limit", "How many connections to the database there may be.", "side")
	connectionWaits  = describe("database_connection_waits_total", "How often a connection to the database had to be waited for. Not of the issuing side.", "side")

	vaultDuration = describe("vault_call_duration_seconds", "How long calls to Vault took. Those of the issuing side show from the next day (UTC) on. The sum is that of the buckets' bounds.", "side", "operation")
	vaultFailures = describe("vault_call_failures_total", "Calls to Vault that failed, as of the last full minute.", "side", "operation")

	witnessesCosigned = describe("witnesses_cosigned", "How many witnesses cosigned when this process last published the log.")
	witnessesNeeded   = describe("witnesses_needed", "How many witnesses have to cosign the log.")
	witnesses         = describe("witnesses", "How many witnesses are asked to cosign the log.")
	checkpointAge     = describe("checkpoint_age_seconds", "How long ago a quorum of witnesses had cosigned the newest tree of the public log that this process knows.")

	platforms = describe("platforms", "Platforms of the registry, by whether they sign people in; those that are refused are named in /status.", "state")

	daysLeft      = describe("days_left", "Days until what is named ends; below zero once it has.", "what")
	snapshotAge   = describe("vault_snapshot_age_seconds", "Since the day of the newest snapshot of Vault that is known; not there if none is.")
	snapshotFresh = describe("vault_snapshot_fresh", "1 if a snapshot of Vault is known from which it could be restored without a loss, 0 if none is.")

	erasuresPending = describe("erasures_pending", "Erasures that were asked for before today (UTC) and are not carried out, those that a case holds among them.")
	erasuresOverdue = describe("erasures_overdue", "Erasures that nothing holds, asked for before yesterday (UTC), and not carried out.")
	noticesDue      = describe("notices_due", "Released cases whose secrecy is over and whose persons are not told yet.")
	noticesOverdue  = describe("notices_overdue", "Of the notices that are due, those that are since an hour or longer.")
	endsOverdue     = describe("ends_overdue", "Cases that ran out, or holds that were over, an hour ago or longer, and have not ended.")
	lapsesOverdue   = describe("lapses_overdue", "Emergencies that had to be validated an hour ago or longer, and have not lapsed.")
	tellsOverdue    = describe("tells_overdue", "Cases whose persons had to be told first, or to count as not reached, an hour ago or longer, and were not.")
	objectionsWait  = describe("objections_waiting", "Objections that suspend a case, made before today (UTC), on which no court has ruled.")
	objectionsEnd   = describe("objections_unanswered", "Of the objections that wait, those in cases that run out within a week.")
	reviewsPending  = describe("reviews_pending", "Enrolments that are held since before today (UTC) until reviewers decide.")
	casesByState    = describe("cases", "Cases, by where they stand; an order to suspend that is in force is a suspension.", "state")

	mailsWaiting     = describe("mails_waiting", "Duties to write to somebody that wait since an earlier hour, by the side that sends them.", "side")
	mailsOldest      = describe("mails_oldest_age_seconds", "Since when the oldest of them waits, to the hour; 0 if none does.", "side")
	mailsDamaged     = describe("mails_damaged", "Rows of the outbox that this process cannot read; their ids are in its log.")
	remindersRefused = describe("reminders_refused", "Reminders of the last 60 days that the mail server refused for good.")

	requestDuration = describe("request_duration_seconds", "How long requests took. Those by people, and by platforms for them, show from the next day (UTC) on. The sum is that of the buckets' bounds.", "route")
	refusals        = describe("refusals_total", "Requests that were refused, by code. Those by people, and by platforms for them, show from the next day (UTC) on.", "code")
	faults          = describe("faults_total", "Requests that failed on our side, by each code of why, as of the last full minute. Those of alarms are there from the start.", "code")
	logoutTokens    = describe("logout_tokens_total", "Attempts to tell platforms who signed out, by outcome: delivered, refused, failed (it is tried again) or given_up. They show from the next day (UTC) on.", "outcome")
	bodyMemory      = describe("body_memory_bytes", "Memory that bodies of requests take at the moment, in whole MiB.", "bodies")
	bodyMemoryLimit = describe("body_memory_limit_bytes", "Memory that bodies of requests may take; then requests are refused.", "bodies")

	jobAge      = describe("job_last_success_age_seconds", "How long ago this regular job last began what it then did with success; before the first time, since the process started.", "job_name")
	jobInterval = describe("job_interval_seconds", "How often this regular job is done.", "job_name")
	jobFailures = describe("job_failures_total", "How often this regular job failed, by each code of why. Those of alarms are there from the start, and what witnesses say against the log is with the job that publishes it.", "job_name", "code")
)

// Describe implements [prometheus.Collector]. It names no metric: each is described
// above, and what cannot be known at the moment is not there.
func (s *Service) Describe(chan<- *prometheus.Desc) {}

// sink takes metrics.
type sink chan<- prometheus.Metric

func (to sink) gauge(d *prometheus.Desc, value float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (to sink) count(d *prometheus.Desc, value uint64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
}

func (to sink) histogram(d *prometheus.Desc, h histogram, labels ...string) {
	buckets, sum, n := make(map[float64]uint64, len(bounds)), 0.0, uint64(0)
	for i, bound := range bounds {
		n += h[i]
		buckets[bound] = n
		sum += float64(h[i]) * bound
	}
	sum += float64(h[len(bounds)]) * bounds[len(bounds)-1]
	to <- prometheus.MustNewConstHistogram(d, h.times(), sum, buckets, labels...)
}

func flag(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// Collect implements [prometheus.Collector].
func (s *Service) Collect(all chan<- prometheus.Metric) {
	to := sink(all)
	schema, _ := postgres.SchemaVersion()
	to.gauge(buildInfo, 1, Version(), runtime.Version(), strconv.FormatInt(schema, 10))
	for _, l := range s.Lifetimes() {
		to.gauge(daysLeft, l.DaysLeft(s.Now()), l.What)
	}
	s.collectCounted(to)
	if s.rules == nil {
		return // a process of no side
	}
	s.collectSides(to)
	s.sightings.now(s).collect(to, s.Now())
}

// collectCounted is what this process counted itself.
func (s *Service) collectCounted(to sink) {
	now := s.Now()
	requests := s.counted.requests.show(now)
	for _, route := range s.web.Routes() {
		to.histogram(requestDuration, requests[route], route)
	}
	for code, h := range s.counted.refusals.show(now) {
		to.count(refusals, h.times(), code)
	}
	failed := s.counted.faults.show(now)
	for _, code := range watched {
		if _, counted := failed[code]; !counted {
			to.count(faults, 0, code)
		}
	}
	for code, h := range failed {
		to.count(faults, h.times(), code)
	}
	for outcome, h := range s.counted.logouts.show(now) {
		to.count(logoutTokens, h.times(), outcome)
	}
	for bodies, m := range s.web.Memory() {
		to.gauge(bodyMemory, float64(m.Used), bodies)
		to.gauge(bodyMemoryLimit, float64(m.Limit), bodies)
	}
	calls, failures := s.counted.calls.show(now), s.counted.failures.show(now)
	for _, call := range s.counted.known {
		to.histogram(vaultDuration, calls[call], call.side, call.operation)
		failed := failures[call]
		to.count(vaultFailures, failed.times(), call.side, call.operation)
	}
	jobs := s.done.all()
	for _, j := range Jobs {
		to.gauge(jobInterval, j.Every.Seconds(), j.Name)
		d := jobs[j.Name]
		if !d.last.IsZero() {
			to.gauge(jobAge, time.Since(d.last).Seconds(), j.Name)
		}
		for _, code := range tampered {
			to.count(jobFailures, d.failures[code], j.Name, code)
		}
		for code, n := range d.failures {
			if !slices.Contains(tampered, code) {
				to.count(jobFailures, n, j.Name, code)
			}
		}
	}
}

// collectSides is what each side knows without asking anybody.
func (s *Service) collectSides(to sink) {
	pool := func(side string, p postgres.PoolUse) {
		to.gauge(connections, float64(p.InUse), side, "in_use")
		to.gauge(connections, float64(p.Idle), side, "idle")
		to.gauge(connectionsLimit, float64(p.Most), side)
		to.count(connectionWaits, uint64(p.Waits), side)
	}
	if s.Issuing != nil { // whose connections are in use when people come: see ofUse
		p := s.Issuing.Store.Pool()
		to.gauge(connections, float64(p.Most)*flag(p.InUse >= p.Most), sideIssue, "in_use")
		to.gauge(connectionsLimit, float64(p.Most), sideIssue)
		if now := s.live.registered.Load(); now != nil {
			for state, n := range now.states() {
				to.gauge(platforms, float64(n), state)
			}
		}
	}
	if s.Disclosing != nil {
		pool(sideDisclose, s.Disclosing.Store.Pool())
		cosigned, quorum, all := s.publisher.Cosigned()
		to.gauge(witnessesCosigned, float64(cosigned))
		to.gauge(witnessesNeeded, float64(quorum))
		to.gauge(witnesses, float64(all))
	}
	to.gauge(mailsDamaged, float64(s.damagedMails()))
	if s.Keeping != nil {
		pool(sideKeep, s.Keeping.Store.Pool())
	}
}
