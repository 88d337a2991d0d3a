package service

import (
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/penname/penname/verifier/refusal"
)

var errConfigMetrics = refusal.New(refusal.Invalid, "config.metrics_not_loopback",
	"metrics_listen must be a loopback address and a port: metrics are the operator's, and this listener asks nobody who they are")

// checkMetrics refuses an address that others than this machine reach.
func (c *Config) checkMetrics() error {
	if c.MetricsListen == "" {
		return nil
	}
	if a, err := netip.ParseAddrPort(c.MetricsListen); err != nil || !a.Addr().IsLoopback() {
		return errConfigMetrics
	}
	return nil
}

// daysLeft is the metric of what ends: see [Service.Lifetimes]. No label is of a person,
// a case or a platform, or chosen by a request.
var daysLeft = prometheus.NewDesc("penname_days_left", "Days until what is named ends; below zero once it has.", []string{"what"}, nil)

// Describe implements [prometheus.Collector].
func (s *Service) Describe(all chan<- *prometheus.Desc) { all <- daysLeft }

// Collect implements [prometheus.Collector].
func (s *Service) Collect(all chan<- prometheus.Metric) {
	for _, l := range s.Lifetimes() {
		all <- prometheus.MustNewConstMetric(daysLeft, prometheus.GaugeValue, l.DaysLeft(s.Now()), l.What)
	}
}

// metrics serves the metrics of the service at /metrics, in the format that Prometheus
// reads.
func (s *Service) metrics() http.Handler {
	all := prometheus.NewRegistry()
	all.MustRegister(s)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", s.serveStatus)
	mux.Handle("GET /metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return mux
}
