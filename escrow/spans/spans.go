// Package spans traces what the disclosing side does for courts, requesters, custodians and
// auditors, for an operator who runs an OpenTelemetry collector.
//
// A trace says when something happened, to the nanosecond, and that is what nobody may keep
// of people. So
//
//   - a trace begins at a route of [OfRoute] and nowhere else: what people do, and platforms
//     for them, has durations in the metrics and no span, and neither has what many requests
//     share or what nobody asked for;
//   - no context of a trace is taken from a request or handed to anybody;
//   - what a span can say is closed: a [Name] and a [Fact] are made in this package alone,
//     of constants. A library that says more says it to nobody: what is sent is put together
//     anew from what is in these sets (see exporter).
//
// Whoever is traced waits for nothing: if the collector is slow, or gone, spans are lost.
package spans

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	kept     = 2048 // spans that wait to be sent; what comes on top of them is lost
	together = 512  // spans in one request
	sendTime = 5 * time.Second
	lastTime = 2 * time.Second // for what is left when the process ends
	every    = 2 * time.Second
)

// Tracer sends spans to a collector; nil traces nothing.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// New returns a tracer that posts to the collector at an address that [Check] takes, whose
// certificate the roots have signed (nil: those of this machine). told hears why the
// collector did not take spans, once, and nil when it takes them again. Close it.
func New(to string, roots *x509.CertPool, told func(error)) *Tracer {
	p := sdk.NewTracerProvider(
		sdk.WithSampler(sampler{}),
		sdk.WithBatcher(newExporter(to, roots, told), sdk.WithMaxQueueSize(kept), sdk.WithMaxExportBatchSize(together),
			sdk.WithExportTimeout(sendTime), sdk.WithBatchTimeout(every)))
	return &Tracer{p, p.Tracer("")}
}

// Close sends what is left, for two seconds at most.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastTime)
	defer cancel()
	t.provider.Shutdown(ctx) //nolint:errcheck // what is not sent by now is lost
}

// Begin begins a trace with the span of a request, which end ends with the status of the
// answer.
func (t *Tracer) Begin(ctx context.Context, route Name) (_ context.Context, end func(status int)) {
	ctx, span := t.tracer.Start(ctx, route.text, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer))
	return ctx, func(status int) {
		outcome := Answered
		switch {
		case status >= 500:
			outcome = Failed
			span.SetStatus(codes.Error, "")
		case status >= 400:
			outcome = Refused
		}
		span.SetAttributes(outcome.keyValue())
		span.End()
	}
}

// Called adds a span of a call that is over, if ctx is of a trace.
func (t *Tracer) Called(ctx context.Context, call Name, took time.Duration, failed bool) {
	if t == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return
	}
	now := time.Now()
	_, span := t.tracer.Start(ctx, call.text, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(now.Add(-took)))
	if failed {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(now))
}

// Database adds spans of statements whose context is of a trace, without their arguments
// and their text, of which the first word is the name. nil has nobody told.
func (t *Tracer) Database() pgx.QueryTracer {
	if t == nil {
		return nil
	}
	return otelpgx.NewTracer(otelpgx.WithTracerProvider(t.provider),
		otelpgx.WithDisableSQLStatementInAttributes(), otelpgx.WithDisableConnectionDetailsInAttributes())
}

// sampler takes what belongs to a trace, and begins one at a route alone.
type sampler struct{}

// ShouldSample implements [sdk.Sampler].
func (sampler) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	if _, begins := routes[p.Name]; begins || trace.SpanContextFromContext(p.ParentContext).IsSampled() {
		return sdk.SamplingResult{Decision: sdk.RecordAndSample}
	}
	return sdk.SamplingResult{Decision: sdk.Drop}
}

// Description implements [sdk.Sampler].
func (sampler) Description() string { return "routes" }

func (f Fact) keyValue() attribute.KeyValue { return attribute.String(f.key, f.value) }
