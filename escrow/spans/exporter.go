package spans

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/penname/penname/verifier/document"
)

// Check reports whether spans may be sent to an address: https://…, or http://… of a
// loopback address, with the collector's path, which is /v1/traces by default there.
func Check(to string) bool {
	u, err := url.Parse(to)
	return err == nil && document.Secure(u, document.Loopback) && u.User == nil && u.RawQuery == "" && u.Fragment == "" && len(u.Path) > 1
}

// exporter posts spans as OTLP/HTTP has it (OTLP 1.10, "OTLP/HTTP"). It reads nothing of the
// environment, follows no redirect and tries nothing twice. What it sends it makes of the
// names and facts of this package, of ids and of times: of no event, no message of an error
// and no attribute that is not a [Fact].
type exporter struct {
	to    string
	http  *http.Client
	told  func(error)
	fails bool // the last time; the batcher calls one at a time
}

func newExporter(to string, roots *x509.CertPool, told func(error)) *exporter {
	return &exporter{to: to, told: told, http: &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, MaxIdleConns: 1, IdleConnTimeout: 2 * every},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// ExportSpans implements [sdk.SpanExporter].
func (e *exporter) ExportSpans(ctx context.Context, ended []sdk.ReadOnlySpan) error {
	var sent []*wire.Span
	for _, s := range ended {
		if known(s.Name()) {
			sent = append(sent, wireSpan(s))
		}
	}
	err := e.send(ctx, sent)
	if fails := err != nil; fails != e.fails {
		e.fails = fails
		e.told(err)
	}
	return nil // or the SDK writes to stderr; they are lost either way
}

// Shutdown implements [sdk.SpanExporter].
func (e *exporter) Shutdown(context.Context) error {
	e.http.CloseIdleConnections()
	return nil
}

func (e *exporter) send(ctx context.Context, sent []*wire.Span) error {
	raw, err := proto.Marshal(&wire.TracesData{ResourceSpans: []*wire.ResourceSpans{{
		Resource:   &resource.Resource{Attributes: []*common.KeyValue{text("service.name", "penname")}},
		ScopeSpans: []*wire.ScopeSpans{{Spans: sent}},
	}}})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.to, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", "penname")
	res, err := e.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) //nolint:errcheck // so that the connection can be used again
	if res.StatusCode/100 != 2 {
		return errors.New("it answered " + strconv.Itoa(res.StatusCode))
	}
	return nil
}

func wireSpan(s sdk.ReadOnlySpan) *wire.Span {
	trace, span, parent := s.SpanContext().TraceID(), s.SpanContext().SpanID(), s.Parent().SpanID()
	out := &wire.Span{
		TraceId: trace[:], SpanId: span[:], Name: s.Name(), Kind: wire.Span_SpanKind(s.SpanKind()),
		StartTimeUnixNano: uint64(s.StartTime().UnixNano()), EndTimeUnixNano: uint64(s.EndTime().UnixNano()),
	}
	if parent.IsValid() {
		out.ParentSpanId = parent[:]
	}
	if s.Status().Code == codes.Error {
		out.Status = &wire.Status{Code: wire.Status_STATUS_CODE_ERROR}
	}
	for _, a := range s.Attributes() {
		if f := (Fact{string(a.Key), a.Value.AsString()}); slices.Contains(facts, f) {
			out.Attributes = append(out.Attributes, text(f.key, f.value))
		}
	}
	return out
}

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}
