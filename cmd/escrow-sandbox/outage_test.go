package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox/world"
)

// network is what leads to the database. It can stop, as it does before a server
// that was sent SIGSTOP, and be cut, as before one that is down.
type network struct {
	mu    sync.Mutex
	still chan struct{} // nil: it flows
	cut   bool
	conns []net.Conn
}

func (n *network) freeze() { n.mu.Lock(); n.still = make(chan struct{}); n.mu.Unlock() }

func (n *network) thaw() { n.mu.Lock(); close(n.still); n.still = nil; n.mu.Unlock() }

// down ends every connection, and lets none begin until it is told otherwise.
func (n *network) down(is bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = is
	for _, c := range n.conns {
		c.Close()
	}
	n.conns = nil
}

func (n *network) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	n.mu.Lock()
	cut := n.cut
	n.mu.Unlock()
	if cut {
		return nil, errors.New("connection refused")
	}
	server, err := new(net.Dialer).DialContext(ctx, kind, address)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, err
	}
	far, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.conns = append(n.conns, near, far, server)
	n.mu.Unlock()
	go n.pass(far, server)
	go n.pass(server, far)
	return near, nil
}

func (n *network) pass(to, from net.Conn) {
	defer to.Close()
	for b := make([]byte, 64<<10); ; {
		read, err := from.Read(b)
		n.mu.Lock()
		still := n.still
		n.mu.Unlock()
		if still != nil {
			<-still
		}
		if err != nil {
			return
		}
		if _, err := to.Write(b[:read]); err != nil {
			return
		}
	}
}

// patience is how long a request may wait in an outage. The aim is five seconds; the
// rest is for a machine that has other things to do.
const patience = 6 * time.Second

// TestFoundG3EveryRouteAnswers: whatever the database does, every route answers within
// seconds, with a code; /healthz says that the process lives, /readyz which part is in
// doubt. A frozen one gave a blank page for 90 seconds and more.
func TestFoundG3EveryRouteAnswers(t *testing.T) {
	n := &network{}
	tb, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: &syncBuffer{}, Stores: postgres.Options{Dial: n.dial, Wait: 4 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tb.Close(); err != nil {
			t.Error(err)
		}
	})
	st := filedCase(t, tb)
	person := world.NewBrowser()
	if err := person.Visit(t.Context(), tb.Town, st.Author.Name); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ begin, end func() }{
		"frozen": {n.freeze, n.thaw},
		"down":   {func() { n.down(true) }, func() { n.down(false) }},
	} {
		t.Run(name, func(t *testing.T) {
			c.begin()
			longest, at := everyRoute(t, tb, person, st.ID)
			c.end()
			t.Logf("figure: database %s: the longest request waited %v (%s)", name, longest.Round(10*time.Millisecond), at)
			if longest > patience {
				t.Errorf("%s took %v", at, longest)
			}
			if a := send(t, "GET", tb.Origin+"/v1/warrants/"+st.ID, "", ""); a.StatusCode != http.StatusOK {
				t.Errorf("it is back: %d %s", a.StatusCode, a.body)
			}
		})
	}
}

// everyRoute asks each route once, all at the same time, and returns the longest wait.
func everyRoute(t *testing.T, tb *world.World, person *world.Browser, id string) (longest time.Duration, at string) {
	t.Helper()
	question := url.Values{
		"client_id": {tb.Town.ID}, "redirect_uri": {tb.Town.Origin + "/callback"}, "response_type": {"code"}, "scope": {"openid"},
		"code_challenge": {strings.Repeat("A", 43)}, "code_challenge_method": {"S256"},
	}.Encode()
	const form, j = "application/x-www-form-urlencoded", "application/json"
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, r := range []struct {
		method, path, contentType, body string
		works                           bool // without the database
	}{
		{"GET", "/healthz", "", "", true},
		{"GET", "/readyz", "", "", false},
		{"GET", "/", "", "", true},
		{"GET", "/me", "", "", false},
		{"POST", "/enrol", form, "provider=sandbox", true},
		{"GET", "/me/delete", "", "", false},
		{"POST", "/me/delete", form, "", false},
		{"POST", "/me/sign-out-everywhere", form, "", false},
		{"GET", "/authorize?" + question, "", "", false},
		{"POST", "/token", form, "grant_type=authorization_code&code=none&client_id=" + tb.Town.ID, false},
		{"GET", "/jwks", "", "", true},
		{"GET", "/log/checkpoint", "", "", false},
		{"GET", "/v1/bundle", "", "", false},
		{"GET", "/v1/warrants/" + id, "", "", false},
		{"GET", "/v1/warrants/" + id + "/package", "", "", false},
		{"POST", "/v1/warrants", j, `{"warrant":"please","evidence":[]}`, false},
	} {
		wg.Go(func() {
			began := time.Now()
			req, err := http.NewRequestWithContext(t.Context(), r.method, tb.Origin+r.path, strings.NewReader(r.body))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Content-Type", r.contentType)
			client := &http.Client{Jar: person.Client.Jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			res, err := client.Do(req)
			if err != nil {
				t.Errorf("%s %s: %v", r.method, r.path, err)
				return
			}
			defer res.Body.Close()
			var said struct {
				Code, Error string
				Ready       bool
				Parts       map[string]string
			}
			body, err := io.ReadAll(res.Body)
			if json.Unmarshal(body, &said) != nil { // a page, or of the static log
				said.Code = regexp.MustCompile(`[a-z]+\.[a-z_]+`).FindString(string(body))
			}
			if err != nil {
				t.Errorf("%s %s: %v", r.method, r.path, err)
			}
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			if took > longest {
				longest, at = took, r.method+" "+res.Request.URL.Path
			}
			switch {
			case r.path == "/readyz" && (res.StatusCode != http.StatusServiceUnavailable || said.Parts["issue.database"] == "ok" || said.Parts["issue.database"] == "" || said.Parts["rules"] != "ok"):
				t.Errorf("/readyz: %s %+v", res.Status, said)
			case r.works && res.StatusCode >= 400:
				t.Errorf("%s %s: %s, and needs no database", r.method, r.path, res.Status)
			case res.StatusCode >= 500 && said.Code == "" && said.Error == "" && r.path != "/readyz":
				t.Errorf("%s %s: %s without a code", r.method, r.path, res.Status)
			}
			t.Logf("%s %s: %d %s%s after %v", r.method, res.Request.URL.Path, res.StatusCode, said.Code, said.Error, took.Round(time.Millisecond))
		})
	}
	wg.Wait()
	return longest, at
}
