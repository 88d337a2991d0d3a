package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// dial speaks HTTP to an edge that takes bodies at /in and writes much at /out.
func dial(t *testing.T, l line) net.Conn {
	t.Helper()
	s := newEdge(t, &strings.Builder{})
	s.line = l
	s.Handle("POST", "/in", document.Bounds{Bytes: 16 << 20, Values: 10, Text: 16 << 20}, Rate{}, func(w http.ResponseWriter, r *http.Request) error {
		var in struct{ Text string }
		if err := ReadJSON(r, &in); err != nil {
			return err
		}
		return r.Context().Err() // a deadline that is left behind would be taken for the client's leave
	})
	s.Handle("GET", "/out", NoBody, Rate{}, func(w http.ResponseWriter, _ *http.Request) error {
		_, err := w.Write(make([]byte, 64<<20))
		return err
	})
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func problemFrom(t *testing.T, conn net.Conn) (res *http.Response, p registrar.Problem) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	json.NewDecoder(res.Body).Decode(&p) //nolint:errcheck // an answer without a body has no problem
	return res, p
}

func post(t *testing.T, to io.Writer, body string, length int) {
	t.Helper()
	if _, err := fmt.Fprintf(to, "POST /in HTTP/1.1\r\nHost: penname.example\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", length, body); err != nil {
		t.Fatal(err)
	}
}

// G1: a filing of 8 MB over a line of 190 kB/s was cut after 30 seconds, with
// server.internal. What ends an upload is that nothing comes.
func TestFoundG1AnUploadThatStopsIsToldSo(t *testing.T) {
	conn := dial(t, line{idle: 250 * time.Millisecond, start: time.Hour, least: 1})
	post(t, conn, `{"Text":"`, 1000)
	if res, p := problemFrom(t, conn); res.StatusCode != http.StatusRequestTimeout || p.Code != errTooSlow.Code || !res.Close {
		t.Errorf("%s %+v", res.Status, p)
	}
}

func TestFoundG1AnUploadThatTricklesIsToldSo(t *testing.T) {
	conn := dial(t, line{idle: time.Hour, start: 50 * time.Millisecond, least: 1 << 20})
	post(t, conn, `{"Text":"`, 1<<20)
	stop := make(chan struct{})
	defer close(stop)
	go func() { // a byte now and then keeps nothing open
		for tick := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-stop:
				return
			case <-tick.C:
				conn.Write([]byte("a")) //nolint:errcheck // the answer says it
			}
		}
	}()
	if res, p := problemFrom(t, conn); res.StatusCode != http.StatusRequestTimeout || p.Code != errTooSlow.Code {
		t.Errorf("%s %+v", res.Status, p)
	}
}

func TestFoundG1ALongUploadIsTaken(t *testing.T) {
	idle := 500 * time.Millisecond
	conn := dial(t, line{idle: idle, start: idle, least: 100})
	const parts = 30
	body := `{"Text":"` + strings.Repeat("a", 10*parts) + `"}`
	post(t, conn, "", len(body))
	began := time.Now()
	for tick, n := time.NewTicker(idle/10), 0; n < len(body); n += 10 {
		<-tick.C
		if _, err := io.WriteString(conn, body[n:min(n+10, len(body))]); err != nil {
			t.Fatal(err)
		}
	}
	if res, p := problemFrom(t, conn); res.StatusCode != http.StatusOK || time.Since(began) < 2*idle {
		t.Errorf("after %v: %s %+v", time.Since(began), res.Status, p)
	}
}

// A body that no handler reads, and an answer that nobody takes, hold nothing for
// ever either.
func TestFoundG1WhatNobodyReads(t *testing.T) {
	l := line{idle: 250 * time.Millisecond, start: time.Hour, least: 1} // a busy machine takes its time, too
	conn := dial(t, l)
	fmt.Fprintf(conn, "POST /nowhere HTTP/1.1\r\nHost: penname.example\r\nContent-Length: 1000\r\n\r\nhalf")
	if rest, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(rest), "HTTP/1.1 404") {
		t.Errorf("%v, %.40s", err, rest)
	}
	conn = dial(t, l)
	fmt.Fprintf(conn, "GET /out HTTP/1.1\r\nHost: penname.example\r\n\r\n")
	// The edge gives up while this reads nothing: then the end comes early.
	closed := time.After(8 * l.idle)
	<-closed
	if n, _ := io.Copy(io.Discard, conn); n >= 64<<20 {
		t.Error("an answer that nobody took was kept for them")
	}
}

func trust(t *testing.T, s *Server, proxies ...string) {
	t.Helper()
	parsed, err := ParseProxies(proxies)
	if err != nil {
		t.Fatal(err)
	}
	s.Trust(parsed)
}

func TestFoundH1ProxiesAreAddresses(t *testing.T) {
	for _, bad := range []string{"", "proxy.example", "0.0.0.0/0", "::/0", "10.0.0.0/33", "192.0.2.1:443", "::ffff:192.0.2.0/120", "https://192.0.2.1"} {
		if _, err := ParseProxies([]string{bad}); !errors.Is(err, ErrProxies) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// H1: a proxy's word is taken from its address alone, from right to left.
func TestFoundH1TrustedProxies(t *testing.T) {
	s := newEdge(t, &strings.Builder{})
	trust(t, s, "192.0.2.0/24", "2001:db8::/32")
	s.Handle("POST", "/filing", Form, Rate{1000, 1000}, func(http.ResponseWriter, *http.Request) error { return nil })
	xff, forwarded := "X-Forwarded-For", "Forwarded"
	for name, c := range map[string]struct {
		from   string
		header []string // name, value, …
		sender string   // or refusal's code
	}{
		"no proxy":                     {"198.51.100.7:1", nil, "198.51.100.7"},
		"a proxy's own":                {"192.0.2.1:1", nil, "192.0.2.1"},
		"behind a proxy":               {"192.0.2.1:1", []string{xff, "198.51.100.7"}, "198.51.100.7"},
		"an IPv4 address in IPv6":      {"[::ffff:192.0.2.1]:1", []string{xff, "::ffff:198.51.100.7"}, "198.51.100.7"},
		"behind two":                   {"192.0.2.1:1", []string{xff, "203.0.113.9, 198.51.100.7, 192.0.2.2"}, "198.51.100.7"},
		"two lines of one header":      {"192.0.2.1:1", []string{xff, "203.0.113.9", xff, "198.51.100.7"}, "198.51.100.7"},
		"with a port":                  {"192.0.2.1:1", []string{xff, "198.51.100.7:4711"}, "198.51.100.7"},
		"what the sender wrote":        {"192.0.2.1:1", []string{xff, "unknown, 203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		"a proxy of IPv6":              {"[2001:db8::1]:1", []string{xff, "2001:470::7"}, "2001:470::7"},
		"all are proxies":              {"192.0.2.1:1", []string{xff, "192.0.2.3, 192.0.2.2"}, "192.0.2.3"},
		"RFC 7239":                     {"192.0.2.1:1", []string{forwarded, `for="[2001:470::7]:4711";proto=https;by=192.0.2.1`}, "2001:470::7"},
		"RFC 7239, two":                {"192.0.2.1:1", []string{forwarded, `for=203.0.113.9, For=198.51.100.7;host="a,b"`}, "198.51.100.7"},
		"both, and they agree":         {"192.0.2.1:1", []string{xff, "198.51.100.7", forwarded, "for=198.51.100.7"}, "198.51.100.7"},
		"Forwarded about the host":     {"198.51.100.7:1", []string{forwarded, "host=evil.example;proto=https"}, "198.51.100.7"},
		"another header":               {"198.51.100.7:1", []string{"X-Real-IP", "203.0.113.9"}, "198.51.100.7"},
		"from elsewhere":               {"198.51.100.7:1", []string{xff, "203.0.113.9"}, errProxy.Code},
		"Forwarded from elsewhere":     {"198.51.100.7:1", []string{forwarded, "for=203.0.113.9"}, errProxy.Code},
		"one that the sender added":    {"192.0.2.1:1", []string{xff, "198.51.100.7", forwarded, "for=203.0.113.9"}, errForwarded.Code},
		"no address":                   {"192.0.2.1:1", []string{xff, "unknown"}, errForwarded.Code},
		"empty":                        {"192.0.2.1:1", []string{xff, ""}, errForwarded.Code},
		"an empty element":             {"192.0.2.1:1", []string{xff, "198.51.100.7,"}, errForwarded.Code},
		"a name":                       {"192.0.2.1:1", []string{xff, "evil.example"}, errForwarded.Code},
		"RFC 7239, hidden":             {"192.0.2.1:1", []string{forwarded, "for=_hidden"}, errForwarded.Code},
		"RFC 7239, the last says none": {"192.0.2.1:1", []string{forwarded, "for=198.51.100.7, by=192.0.2.1"}, errForwarded.Code},
		"more than are followed":       {"192.0.2.1:1", []string{xff, strings.Repeat("192.0.2.2, ", 20) + "192.0.2.3"}, errForwarded.Code},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/filing", nil)
			r.RemoteAddr = c.from
			for n := 0; n < len(c.header); n += 2 {
				r.Header.Add(c.header[n], c.header[n+1])
			}
			sender, err := s.sender(r)
			got := sender.String()
			if e := refusal.Of(err); e != nil {
				got = e.Code
			}
			if got != c.sender {
				t.Errorf("got %s, want %s", got, c.sender)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if (w.Code == http.StatusBadRequest) != (err != nil) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
}

// One flooder behind a proxy takes nobody else's turn, and no proxy gives one
// sender two.
func TestFoundH1EachSenderHasARate(t *testing.T) {
	s := newEdge(t, &strings.Builder{})
	trust(t, s, "192.0.2.1")
	s.Handle("POST", "/filing", Form, Filing, func(http.ResponseWriter, *http.Request) error { return nil })
	send := func(peer, forwarded string) int {
		r := httptest.NewRequest("POST", "/filing", nil)
		if r.RemoteAddr = peer; forwarded != "" {
			r.Header.Set("X-Forwarded-For", forwarded)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		return w.Code
	}
	flood := func(peer string, forwarded func(n int) string) (last int) {
		for n := range 20 * Filing.AtOnce {
			last = send(peer, forwarded(n))
		}
		return last
	}
	if got := flood("192.0.2.1:1", func(int) string { return "198.51.100.7" }); got != http.StatusTooManyRequests {
		t.Errorf("a flood through the proxy: %d", got)
	}
	if got := send("192.0.2.1:1", "198.51.100.8"); got != http.StatusOK {
		t.Errorf("the court beside it: %d", got)
	}
	if got := flood("198.51.100.9:1", func(n int) string { return fmt.Sprint("203.0.113.", n%200) }); got != http.StatusTooManyRequests {
		t.Errorf("a flood in others' names: %d", got)
	}
	if got := flood("192.0.2.1:1", func(n int) string { return fmt.Sprintf("2001:470::%x", n) }); got != http.StatusTooManyRequests {
		t.Errorf("a flood from the addresses of one line: %d", got)
	}
}

// H2: a proxy that sets Host to ours as it knows us, as nginx does by default.
func TestFoundH2OriginIsTheTruth(t *testing.T) {
	s := newEdge(t, &strings.Builder{})
	s.Handle("POST", "/enrol", Form, Rate{}, func(http.ResponseWriter, *http.Request) error { return nil })
	for name, c := range map[string]struct {
		host, origin, site string
		want               int
	}{
		"as people see it":            {"penname.example", "https://penname.example", "", 200},
		"behind nginx":                {"127.0.0.1:8443", "https://penname.example", "", 200},
		"behind nginx, a new browser": {"127.0.0.1:8443", "null", "same-origin", 200},
		"another site":                {"penname.example", "https://evil.example", "", 403},
		"a name that leads here":      {"evil.example", "https://evil.example", "", 403},
		"what the browser says":       {"penname.example", "https://penname.example", "cross-site", 403},
		"no browser":                  {"127.0.0.1:8443", "", "", 200},
	} {
		r := httptest.NewRequest("POST", "/enrol", nil)
		r.Host = c.host
		for name, value := range map[string]string{"Origin": c.origin, "Sec-Fetch-Site": c.site} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != c.want {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if w.Code == http.StatusForbidden && !strings.Contains(w.Body.String(), "sets origin in the configuration") {
			t.Errorf("%s: the error does not say what to set: %s", name, w.Body)
		}
	}
}

// L4: headers are compared by what they mean (RFC 9110, 8.3.1 and 12.5.1).
func TestFoundL4MediaTypes(t *testing.T) {
	for header, want := range map[string]bool{
		"application/json": true, "Application/JSON": true, "application/json; charset=utf-8": true, " application/json ;charset=UTF-8": true,
		"application/json;;": true, "application/json; charset": true,
		"": false, "application/jsonp": false, "text/plain; application/json": false, "application/json, text/html": false,
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader("{}"))
		r.Header.Set("Content-Type", header)
		if err := ReadJSON(r, &struct{}{}); (err == nil) != want {
			t.Errorf("%q: %v", header, err)
		}
	}
	for header, want := range map[string]bool{
		"text/html": true, "TEXT/HTML;level=1": true, "application/json, text/html;q=0.9": true,
		"text/html;q=0": false, "application/json": false, "text/htmlx": false, "*/*": false, "": false,
	} {
		if got := strings.HasPrefix(ask(newEdge(t, &strings.Builder{}), "GET", "/none", header).Header().Get("Content-Type"), "text/html"); got != want {
			t.Errorf("%q: a page: %v", header, got)
		}
	}
}

// L5: HEAD is GET without the body (RFC 9110, 9.1).
func TestFoundL5Head(t *testing.T) {
	s := newEdge(t, &strings.Builder{})
	s.Handle("GET", "/v1/things/:thing", NoBody, Rate{}, func(w http.ResponseWriter, r *http.Request) error {
		return WriteJSON(w, http.StatusOK, r.PathValue("thing"))
	})
	srv := httptest.NewServer(s)
	defer srv.Close()
	for _, path := range []string{"/healthz", "/readyz", "/style.css", "/v1/things/a", "/nowhere"} {
		get, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		get.Body.Close()
		head, err := http.Head(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		head.Body.Close()
		if head.StatusCode != get.StatusCode || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") || get.ContentLength > 0 && head.ContentLength != get.ContentLength {
			t.Errorf("%s: %s, of %d bytes; GET %s, of %d", path, head.Status, head.ContentLength, get.Status, get.ContentLength)
		}
	}
}

// G3: /readyz names the part that is in doubt; /healthz says that the process lives.
func TestFoundG3ReadyByPart(t *testing.T) {
	s := newEdge(t, &strings.Builder{})
	down := refusal.New(refusal.Unavailable, "database.unavailable", "")
	for name, c := range map[string]struct {
		parts map[string]error
		want  int
	}{
		"all is well":            {map[string]error{"issue.database": nil, "rules": nil}, 200},
		"a database":             {map[string]error{"issue.database": down.Because(errors.New("postgres://secret")), "rules": nil}, 503},
		"something beside it":    {map[string]error{"issue.database": nil, "issue.identity_provider.bank": Beside{down}}, 200},
		"an error without words": {map[string]error{"issue.keys": errors.New("secret")}, 503},
	} {
		s.Ready, s.parts = func(context.Context) map[string]error { return c.parts }, parts{}
		w := ask(s, "GET", "/readyz", "")
		var said readiness
		if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil || w.Code != c.want || said.Ready != (c.want == 200) || len(said.Parts) != len(c.parts) || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		for part, err := range c.parts {
			if (said.Parts[part] == "ok") != (err == nil) {
				t.Errorf("%s: %s: %s", name, part, said.Parts[part])
			}
		}
		if w := ask(s, "GET", "/healthz", ""); w.Code != http.StatusNoContent {
			t.Errorf("%s: /healthz: %d", name, w.Code)
		}
	}
}
