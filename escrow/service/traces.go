package service

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/url"

	"github.com/penname/penname/escrow/spans"
	"github.com/penname/penname/verifier/refusal"
)

var errConfigTraces = refusal.New(refusal.Invalid, "config.traces_in_the_open",
	"traces_to must be the address of an OpenTelemetry collector with its path, https://collector.example/v1/traces, or with http at a loopback address: http://127.0.0.1:4318/v1/traces")

var errTracesAway = refusal.New(refusal.Unavailable, "config.traces_away",
	"nobody takes traces at traces_to: they are lost until a collector does, and nothing else waits for it")

// tryTraces connects to the collector, and sends nothing.
func (o *opening) tryTraces(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	to, err := url.Parse(o.config.TracesTo)
	if err != nil {
		return errConfigTraces
	}
	dial := (&net.Dialer{}).DialContext
	if to.Scheme == "https" {
		dial = (&tls.Dialer{Config: &tls.Config{RootCAs: o.Authorities, MinVersion: tls.VersionTLS12}}).DialContext
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(to.Hostname(), cmp.Or(to.Port(), to.Scheme)))
	if err != nil {
		return of("traces_to", errTracesAway.Because(err))
	}
	return conn.Close()
}

// openTraces begins to send traces. Whether the collector is there holds up nobody.
func (o *opening) openTraces(ctx context.Context) error {
	if o.checking {
		return o.tryTraces(ctx)
	}
	log := o.Log
	o.Traces = spans.New(o.config.TracesTo, o.Authorities, func(err error) {
		if err != nil {
			log.Warn("traces are lost: the collector does not take them", slog.Any("cause", err))
		} else {
			log.Info("the collector takes traces again")
		}
	})
	return nil
}

// traced is web.Config.Traced.
func (s *Service) traced(ctx context.Context, route string) (_ context.Context, ended func(status int)) {
	name, ok := spans.OfRoute(route)
	if !ok {
		return ctx, func(int) {}
	}
	return s.Traces.Begin(ctx, name)
}
