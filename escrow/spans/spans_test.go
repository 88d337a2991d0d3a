package spans

import (
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/penname/penname/escrow/web"
)

const canary = "Ada Quinn"

// collector takes what is sent.
type collector struct {
	*httptest.Server
	mu   sync.Mutex
	raw  []byte // bodies, headers and addresses
	sent []*wire.Span
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var data wire.TracesData
		if err = errors.Join(err, proto.Unmarshal(raw, &data)); err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw = append(append(c.raw, r.URL.String()...), raw...)
		for name, values := range r.Header {
			c.raw = append(c.raw, name+strings.Join(values, "")...)
		}
		for _, of := range data.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				c.sent = append(c.sent, scope.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) tracer(t *testing.T) *Tracer {
	t.Helper()
	return New(c.URL+"/v1/traces", nil, func(err error) { t.Error(err) })
}

func (c *collector) names() (all []string) {
	for _, s := range c.sent {
		all = append(all, s.Name)
	}
	slices.Sort(all)
	return all
}

func route(t *testing.T, name string) Name {
	t.Helper()
	n, ok := OfRoute(name)
	if !ok {
		t.Fatal(name)
	}
	return n
}

// TestWhatIsSaidIsClosed: whatever a library or a mistake puts into a span, into the
// environment or into an error, nothing arrives but what is in the sets of this package.
func TestWhatIsSaidIsClosed(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "name="+canary)
	t.Setenv("OTEL_SERVICE_NAME", canary)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "name="+canary)
	c := newCollector(t)
	tracer := c.tracer(t)
	ctx, end := tracer.Begin(t.Context(), route(t, "POST /v1/warrants"))
	for _, name := range []string{canary, "SELECT " + canary, "SELECT"} {
		_, span := tracer.provider.Tracer(canary).Start(ctx, name,
			trace.WithAttributes(attribute.String("name", canary), attribute.String("outcome", canary), attribute.String("outcome", "refused"), attribute.Int("db.system.name", 1)),
			trace.WithLinks(trace.Link{Attributes: []attribute.KeyValue{attribute.String(canary, canary)}}))
		span.RecordError(errors.New(canary))
		span.AddEvent(canary)
		span.SetStatus(codes.Error, canary)
		span.End()
	}
	statements := tracer.Database().(interface {
		pgx.QueryTracer
		pgx.BatchTracer
		pgx.CopyFromTracer
	})
	failed := &pgconn.PgError{Severity: "ERROR", Message: canary, Detail: canary, Code: "22P02"}
	for _, sql := range []string{"INSERT INTO people VALUES ('" + canary + "')", canary} {
		statements.TraceQueryEnd(statements.TraceQueryStart(ctx, nil, pgx.TraceQueryStartData{SQL: sql, Args: []any{canary}}), nil, pgx.TraceQueryEndData{Err: failed})
	}
	batch := &pgx.Batch{}
	batch.Queue("SELECT $1", canary)
	within := statements.TraceBatchStart(ctx, nil, pgx.TraceBatchStartData{Batch: batch})
	statements.TraceBatchQuery(within, nil, pgx.TraceBatchQueryData{SQL: "SELECT '" + canary + "'", Args: []any{canary}, Err: failed})
	statements.TraceBatchEnd(within, nil, pgx.TraceBatchEndData{Err: failed})
	statements.TraceCopyFromEnd(statements.TraceCopyFromStart(ctx, nil, pgx.TraceCopyFromStartData{TableName: pgx.Identifier{canary}}), nil, pgx.TraceCopyFromEndData{Err: failed})
	tracer.Called(ctx, OfCall("decrypt"), time.Second, true)
	tracer.Called(ctx, OfCall(canary), time.Second, true)
	end(http.StatusServiceUnavailable)
	tracer.Close()

	if strings.Contains(string(c.raw), "Ada") || strings.Contains(string(c.raw), "Quinn") {
		t.Errorf("%q", c.raw)
	}
	if got := strings.Join(c.names(), ", "); got != "INSERT, POST /v1/warrants, SELECT, SELECT, batch start, vault decrypt" {
		t.Error(got)
	}
	for _, s := range c.sent {
		if s.Events != nil || s.Links != nil || s.Status.GetMessage() != "" || s.TraceState != "" {
			t.Error(s)
		}
		for _, a := range s.Attributes {
			if !slices.Contains(facts, Fact{a.Key, a.Value.GetStringValue()}) {
				t.Error(a)
			}
		}
		if isRoute := s.Name == "POST /v1/warrants"; isRoute == (s.ParentSpanId != nil) || s.Status.GetCode() != wire.Status_STATUS_CODE_ERROR ||
			isRoute && (len(s.Attributes) != 1 || s.Attributes[0].Value.GetStringValue() != Failed.value) {
			t.Error(s)
		}
	}
}

// TestNoNameIsMadeOfText: Name and Fact have no field that another package can fill, and a
// text that is not in the sets becomes none.
func TestNoNameIsMadeOfText(t *testing.T) {
	for _, closed := range []reflect.Type{reflect.TypeFor[Name](), reflect.TypeFor[Fact]()} {
		for _, f := range reflect.VisibleFields(closed) {
			if f.IsExported() {
				t.Errorf("%s.%s", closed, f.Name)
			}
		}
		if closed.Kind() != reflect.Struct { // else a conversion makes one
			t.Error(closed)
		}
	}
	if n, ok := OfRoute("GET /v1/" + canary); ok || n != (Name{}) || OfCall(canary) != (Name{}) || known("") {
		t.Error(n)
	}
}

// TestNothingBeginsButAtARoute: no span of a statement or a call that nobody asked for by
// such a route, and none of a route of people.
func TestNothingBeginsButAtARoute(t *testing.T) {
	for name := range routes {
		if web.OfPeople(name) {
			t.Errorf("%s is of people", name)
		}
	}
	c := newCollector(t)
	tracer := c.tracer(t)
	tracer.Called(t.Context(), OfCall("hmac"), time.Second, false)
	statements := tracer.Database()
	statements.TraceQueryEnd(statements.TraceQueryStart(t.Context(), nil, pgx.TraceQueryStartData{SQL: "SELECT 1"}), nil, pgx.TraceQueryEndData{})
	_, span := tracer.tracer.Start(t.Context(), "SELECT")
	span.End()
	ctx, end := tracer.Begin(t.Context(), Name{})
	tracer.Called(ctx, OfCall("hmac"), time.Second, false)
	end(http.StatusOK)
	tracer.Close()
	if len(c.raw) != 0 {
		t.Errorf("%q", c.raw)
	}
	var none *Tracer
	none.Called(t.Context(), OfCall("hmac"), time.Second, false)
	none.Close()
	if none.Database() != nil {
		t.Error("a tracer of statements")
	}
}

// TestACollectorHoldsUpNobody: one that never answers, and one that is gone. More spans
// than are kept come to their end all the same, and so does the process. That they are
// lost is told once, and once that they are taken again.
func TestACollectorHoldsUpNobody(t *testing.T) {
	warrants := route(t, "POST /v1/warrants")
	hangs := make(chan struct{})
	asked := make(chan struct{}, 1)
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-hangs
	}))
	defer slow.Close()
	defer close(hangs)
	tracer := New(slow.URL+"/v1/traces", nil, func(error) {})
	spend := func(tracer *Tracer, times int) {
		for range times {
			_, end := tracer.Begin(t.Context(), warrants)
			end(http.StatusOK)
		}
	}
	spend(tracer, together)
	<-asked
	spend(tracer, 3*kept)
	tracer.Close()

	var told []error
	works := false
	flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !works {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer flaky.Close()
	tracer = New(flaky.URL+"/v1/traces", nil, func(err error) { told = append(told, err) })
	for _, works = range []bool{true, false, false, true, true} {
		spend(tracer, 1)
		if err := tracer.provider.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
	}
	flaky.Close()
	spend(tracer, 1)
	tracer.Close()
	if len(told) != 3 || told[0] == nil || told[1] != nil || told[2] == nil {
		t.Error(told)
	}
}

// TestContextsOfTracesAreNotTaken: a trace begins here even for who says that they are in
// one already.
func TestContextsOfTracesAreNotTaken(t *testing.T) {
	c := newCollector(t)
	tracer := c.tracer(t)
	theirs := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true})
	_, end := tracer.Begin(trace.ContextWithRemoteSpanContext(t.Context(), theirs), route(t, "GET /v1/cases"))
	end(http.StatusOK)
	tracer.Close()
	if len(c.sent) != 1 || c.sent[0].ParentSpanId != nil || c.sent[0].TraceId[0] == 1 && c.sent[0].TraceId[1] == 0 {
		t.Error(c.sent)
	}
}

func TestAddressOfACollector(t *testing.T) {
	for to, good := range map[string]bool{
		"https://collector.example/v1/traces": true, "http://127.0.0.1:4318/v1/traces": true, "http://[::1]:4318/v1/traces": true,
		"http://collector.example/v1/traces": false, "http://localhost:4318/v1/traces": false, "https://collector.example": false, "https://collector.example/": false,
		"https://a:b@collector.example/v1/traces": false, "https://collector.example/v1/traces?token=x": false, "collector.example:4318": false, "": false,
	} {
		if Check(to) != good {
			t.Errorf("%q: %v", to, !good)
		}
	}
}

// BenchmarkTraced is what a request costs in which Vault is called once and four statements
// are run, beside one that is not traced: in ns and allocations of its own goroutine.
func BenchmarkTraced(b *testing.B) {
	away := httptest.NewServer(http.NotFoundHandler())
	defer away.Close()
	for _, tracer := range []*Tracer{nil, New(away.URL+"/v1/traces", nil, func(error) {})} {
		b.Run(map[bool]string{true: "off", false: "on"}[tracer == nil], func(b *testing.B) {
			b.ReportAllocs()
			statements, warrants := tracer.Database(), routes["POST /v1/warrants"]
			for b.Loop() {
				ctx, end := b.Context(), func(int) {}
				if tracer != nil {
					ctx, end = tracer.Begin(ctx, warrants)
				}
				for range 4 {
					if statements != nil {
						statements.TraceQueryEnd(statements.TraceQueryStart(ctx, nil, pgx.TraceQueryStartData{SQL: "SELECT 1"}), nil, pgx.TraceQueryEndData{})
					}
				}
				tracer.Called(ctx, OfCall("decrypt"), time.Millisecond, false)
				end(http.StatusOK)
			}
		})
		tracer.Close()
	}
}

// TestOnlyTheCollectorItself: a certificate that nobody trusts, or a redirect to somebody
// else, gets nothing.
func TestOnlyTheCollectorItself(t *testing.T) {
	var got []string
	here := func(name string) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { got = append(got, name) })
	}
	other := httptest.NewServer(here("other"))
	defer other.Close()
	moved := httptest.NewServer(http.RedirectHandler(other.URL+"/v1/traces", http.StatusTemporaryRedirect))
	defer moved.Close()
	secure := httptest.NewUnstartedServer(here("secure"))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	trusted := x509.NewCertPool()
	trusted.AddCert(secure.Certificate())
	for _, c := range []struct {
		to    string
		roots *x509.CertPool
		takes bool
	}{{secure.URL, trusted, true}, {secure.URL, nil, false}, {moved.URL, nil, false}} {
		takes := true
		tracer := New(c.to+"/v1/traces", c.roots, func(err error) { takes = err == nil })
		_, end := tracer.Begin(t.Context(), route(t, "GET /v1/cases"))
		end(http.StatusOK)
		tracer.Close()
		if takes != c.takes {
			t.Errorf("%s: %v", c.to, takes)
		}
	}
	if len(got) != 1 || got[0] != "secure" {
		t.Error(got)
	}
}
