package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"

	"strings"
	"sync"
	"testing"
	"time"

	wire "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/escrow/spans"
)

// collector is an OpenTelemetry collector that keeps what it is sent.
type collector struct {
	*httptest.Server
	mu   sync.Mutex
	raw  bytes.Buffer // requests as they came
	sent []*wire.Span
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		raw, err := io.ReadAll(r.Body)
		var data wire.TracesData
		c.raw.WriteString(r.URL.String())
		if err = errors.Join(err, r.Header.Write(&c.raw), proto.Unmarshal(raw, &data)); err != nil {
			t.Error(err)
		}
		c.raw.Write(raw)
		for _, of := range data.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				c.sent = append(c.sent, scope.Spans...)
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// goroutines are the stacks of all there are.
func goroutines(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// TestTracesOfTheStory plays the story with traces, on a real Vault, and searches all that
// arrived. What people do in the midst of it leaves no span.
func TestTracesOfTheStory(t *testing.T) {
	c := newCollector(t)
	tracer := spans.New(c.URL+"/v1/traces", nil, func(err error) { t.Error(err) })
	tb, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Vault: true, Log: &syncBuffer{}, Progress: io.Discard, Traces: tracer})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tb.Close(); err != nil {
			t.Error(err)
		}
	}()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	story := world.NewStory(tb, io.Discard)
	must(story.Play(t.Context()))
	if !strings.Contains(goroutines(t), "go.opentelemetry.io") {
		t.Error("nothing sends them")
	}

	began, b, name := time.Now(), world.NewBrowser(), sandbox.People()[0].Name
	must(b.Enrol(t.Context(), tb.Origin, name))
	must(b.Visit(t.Context(), tb.Town, name))
	post, err := b.Say(t.Context(), tb.Town, "hello")
	must(err)
	must(b.Visit(t.Context(), tb.School, name))
	must(b.Open(t.Context(), tb.Origin+"/me"))
	must(b.Press(t.Context(), "Sign out everywhere", nil))
	ended := time.Now()

	// A context that somebody sends along is not taken, and none is sent back.
	theirs := "4bf92f3577b34da6a3ce929d0e0e4736"
	for _, path := range []string{"/me", "/v1/bundle", "/v1/notices"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, tb.Origin+path, nil)
		must(err)
		req.Header.Set("Traceparent", "00-"+theirs+"-00f067aa0ba902b7-01")
		req.Header.Set("Baggage", "who="+theirs)
		res, err := http.DefaultClient.Do(req)
		must(err)
		_, err = io.Copy(io.Discard, res.Body) // to its end, when the span has ended
		must(errors.Join(err, res.Body.Close()))
		for header := range res.Header {
			if h := strings.ToLower(header); strings.HasPrefix(h, "trace") || h == "baggage" {
				t.Errorf("%s answers with %s", path, header)
			}
		}
	}
	tracer.Close()

	c.mu.Lock()
	defer c.mu.Unlock()
	names := map[string]bool{}
	for _, s := range c.sent {
		names[s.Name] = true
		if at := time.Unix(0, int64(s.StartTimeUnixNano)); at.After(began) && at.Before(ended) {
			t.Errorf("%s while people came", s.Name)
		}
		if _, isRoute := spans.OfRoute(s.Name); isRoute != (len(s.ParentSpanId) == 0) {
			t.Errorf("%s: its parent is %x", s.Name, s.ParentSpanId)
		}
	}
	for _, want := range []string{"POST /v1/warrants", "GET /v1/warrants/:case", "GET /v1/warrants/:case/package", "GET /v1/cases/:case", "POST /v1/cases/:case/decisions",
		"GET /v1/bundle", "GET /log/*", "vault decrypt", "SELECT", "INSERT", "COMMIT", "pool.acquire"} {
		if !names[want] {
			t.Errorf("no span is called %s", want)
		}
	}
	searched := append(append(canaries(), secrets(tb, story.Case)...), strings.Split(post.Token.Raw, ".")...)
	searched = append(searched, string(post.Author), post.URL, "alba", theirs)
	report(t, "the traces", c.raw.Bytes(), encodings(searched))
	for _, s := range c.sent {
		if [16]byte(s.TraceId) == [16]byte{0x4b, 0xf9, 0x2f, 0x35, 0x77, 0xb3, 0x4d, 0xa6, 0xa3, 0xce, 0x92, 0x9d, 0x0e, 0x0e, 0x47, 0x36} {
			t.Error("a trace of somebody else was gone on with")
		}
	}
}

// TestTracesHoldUpNobody: the story is played with a collector that takes what it is sent
// and never answers, and with none, where nothing is there that could send.
func TestTracesHoldUpNobody(t *testing.T) {
	hangs, asked := make(chan struct{}), make(chan struct{}, 1000)
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // it is not looked at
		asked <- struct{}{}
		<-hangs
	}))
	defer slow.Close()
	defer close(hangs)
	play := func(tracer *spans.Tracer) {
		t.Helper()
		tb, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: &syncBuffer{}, Progress: io.Discard, Traces: tracer})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(world.NewStory(tb, io.Discard).Play(t.Context()), tb.Close()); err != nil {
			t.Error(err)
		}
	}
	play(nil)
	if all := goroutines(t); strings.Contains(all, "go.opentelemetry.io") {
		t.Error(all)
	}
	tracer := spans.New(slow.URL+"/v1/traces", nil, func(error) {})
	play(tracer)
	<-asked
	tracer.Close()
}
