package desk

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/web/pagetest"
)

// squatter is another user of the machine who had the desk's port before it: their page registers
// a service worker that tells them all it sees, and puts a script into each page; it sets as
// many cookies as a browser takes.
type squatter struct {
	hears string // an address that stays theirs

	mu   sync.Mutex
	told []string
}

const squattersWorker = `
const tell = s => fetch(%q, {method: 'POST', mode: 'no-cors', body: s});
self.addEventListener('install', e => self.skipWaiting());
self.addEventListener('activate', e => e.waitUntil(self.clients.claim()));
self.addEventListener('fetch', e => e.respondWith((async () => {
	tell(e.request.method + ' ' + e.request.url + ' ' + (e.request.method === 'POST' ? await e.request.clone().text() : ''));
	const r = await fetch(e.request);
	if (!(r.headers.get('content-type') || '').startsWith('text/html')) return r;
	return new Response((await r.text()).replace('</main>', '<script>document.title = "it ran"</script></main>'), {status: r.status, headers: {'content-type': 'text/html'}});
})()));`

func (s *squatter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/worker.js":
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprintf(w, squattersWorker, "http://"+s.hears+"/told")
	case "/told":
		told, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told = append(s.told, string(told))
	case "/many", "/big":
		for i := range 200 {
			c := &http.Cookie{Name: fmt.Sprint(r.URL.Path[1:], i), Value: "1", Path: "/", MaxAge: 1 << 24}
			if r.URL.Path == "/big" {
				if c.Value = strings.Repeat("x", 3900); i == 12 {
					break
				}
			}
			http.SetCookie(w, c)
		}
		http.SetCookie(w, &http.Cookie{Name: "wide", Value: "1", Path: "/", Domain: "localhost"})
		fmt.Fprint(w, "cookies are set")
	default:
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<body><script>navigator.serviceWorker.register('/worker.js', {scope: '/'}).then(() => navigator.serviceWorker.ready).then(() => document.body.textContent = 'planted')</script>")
	}
}

// TestNobodyWasHereBefore: who had the port of a desk before it, and was visited with its browser
// then, gets nothing of the desk, runs nothing in it and shuts nobody out. In a browser, by the
// address, by localhost and by a name below it.
func TestNobodyWasHereBefore(t *testing.T) {
	b := pagetest.Open(t)
	t.Setenv("TMPDIR", t.TempDir())
	lns, err := Listen(net.Listen)
	if err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s := &squatter{hears: other.Addr().String()}
	go http.Serve(other, s) //nolint:errcheck,gosec // it is closed
	server := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 10 << 20}
	for _, ln := range lns {
		go server.Serve(ln) //nolint:errcheck // it is closed
	}
	_, port, _ := net.SplitHostPort(lns[0].Addr().String())
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, host := range []string{"127.0.0.1", "localhost", "evil.localhost"} {
		do(b.Go("http://" + host + ":" + port + "/"))
		do(b.Shows("planted"))
		for _, path := range []string{"/many", "/big"} {
			do(b.Go("http://" + host + ":" + port + path))
			do(b.Shows("cookies are set"))
		}
	}
	do(server.Close())
	eventually(t, func() bool { // the worker works
		s.mu.Lock()
		defer s.mu.Unlock()
		return strings.Contains(strings.Join(s.told, " "), "evil.localhost")
	})
	s.mu.Lock()
	s.told = nil
	s.mu.Unlock()

	// The desk gets that very port.
	var again []net.Listener
	for _, ln := range lns {
		one, err := net.Listen("tcp", ln.Addr().String())
		do(err)
		again = append(again, one)
	}
	var asked []string // Cookie headers
	f := &fake{}
	d, err := New(Options{Custodian: f.custodian(), Idle: time.Hour, Stop: time.Hour, Now: time.Now, Explain: func(err error) *registrar.Problem { return &registrar.Problem{Title: err.Error()} }}, again...)
	do(err)
	desk := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == d.host { // a browser may still look for the worker where it was
			s.mu.Lock()
			asked = append(asked, r.Header.Get("Cookie"))
			s.mu.Unlock()
		}
		d.ServeHTTP(w, r)
	})}
	for _, ln := range again {
		go desk.Serve(ln) //nolint:errcheck // it is closed
	}
	defer desk.Close()
	file, err := d.LinkFile()
	do(err)
	do(b.Go("file://" + file))
	do(b.Shows("Passphrase"))
	do(b.Type("passphrase", "right"))
	do(b.Press("Unlock", "Cases that wait"))
	if title, err := b.Title(); err != nil || title == "it ran" {
		t.Error("a script runs in the desk: ", title, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.told) > 0 {
		t.Error("somebody else is told: ", s.told)
	}
	if len(asked) < 4 {
		t.Error("this is not the desk: ", asked)
	}
	for _, sent := range asked {
		if rest := strings.TrimPrefix(sent, cookie+"="); strings.Contains(rest, "=") {
			t.Errorf("the desk gets others' cookies: %.200s", sent)
		}
	}
}
