package escrowtest

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
)

// A Fault is what a Proxy does with a request instead of forwarding it. To
// forward it all the same, call next.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Proxy forwards requests to a server and breaks some of them.
type Proxy struct {
	URL string

	mu        sync.Mutex
	fault     Fault
	seen      []*http.Request
	forwarded int
	closing   chan struct{}
}

// NewProxy starts a proxy in front of target; it ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{closing: make(chan struct{})}
	transport := &http.Transport{DisableKeepAlives: true}
	forward := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(u) },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			panic(http.ErrAbortHandler)
		},
	}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.forwarded++
		p.mu.Unlock()
		forward.ServeHTTP(w, r)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		fault := p.fault
		p.seen = append(p.seen, r.Clone(r.Context()))
		p.mu.Unlock()
		if fault == nil {
			next.ServeHTTP(w, r)
			return
		}
		fault(w, r, next)
	}))
	p.URL = server.URL
	t.Cleanup(func() {
		close(p.closing)
		server.Close()
	})
	return p
}

// Break makes the proxy answer every request with a fault; nil mends it.
func (p *Proxy) Break(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

// BreakPath makes the proxy answer requests to one path with a fault.
func (p *Proxy) BreakPath(path string, f Fault) {
	p.Break(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path != path {
			next.ServeHTTP(w, r)
			return
		}
		f(w, r, next)
	})
}

// Forwarded returns how many requests have reached the server.
func (p *Proxy) Forwarded() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.forwarded
}

// Seen returns the requests that have reached the proxy, without their bodies.
func (p *Proxy) Seen() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*http.Request(nil), p.seen...)
}

// Status answers with a status, a body of JSON and nothing forwarded.
func Status(code int, body string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		w.Write([]byte(body))
	}
}

// Redirect answers with a status and another place, and nothing forwarded.
func Redirect(code int, location string) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("Location", location+r.URL.Path)
		w.WriteHeader(code)
	}
}

// CutBefore closes the connection without forwarding.
func CutBefore(w http.ResponseWriter, r *http.Request, next http.Handler) { cut(w) }

// CutAfter forwards, then closes the connection without the reply: the work is
// done and nobody knows.
func CutAfter(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	cut(w)
}

// Truncate forwards, then closes the connection in the middle of the body.
func Truncate(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := httptest.NewRecorder()
	next.ServeHTTP(rec, r)
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
	panic(http.ErrAbortHandler)
}

// Hang forwards nothing and answers nothing until the caller gives up.
func (p *Proxy) Hang(w http.ResponseWriter, r *http.Request, next http.Handler) {
	select {
	case <-r.Context().Done():
	case <-p.closing:
	}
}

// HangAfter forwards, and then answers nothing until the caller gives up.
func (p *Proxy) HangAfter(w http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	p.Hang(w, r, next)
}

func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // reset, not a clean end
	}
	conn.Close()
}
