package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"

	"github.com/penname/penname/escrow/sandbox/world"
)

var overloaded = flag.Duration("overload", 3*time.Second, "how long TestOverloadedProcess asks for more than the service can do")

// mostHeld is what a process may hold under any load, in MB: what deploy/helm asks for.
const mostHeld = 512 * 1.048576

// A process of the service is asked for four times what it can do: by platforms that each push a
// request, which is stored, by whoever looks at a case or reads the public log, and by a person's
// page. None takes a break. Who is not served in time is told so, with when to come again, and
// nothing else; the process holds no more memory than it may; what it acknowledged is there
// afterwards, and within a second it serves as before.
//
//	go test ./cmd/escrow-sandbox -v -run TestOverloadedProcess -overload 20s
func TestOverloadedProcess(t *testing.T) {
	w, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Keep: keepDir(t), Vault: true, PerSender: 10_000, People: crowd(), Log: io.Discard, Progress: io.Discard,
		Clients: []world.Client{{ID: "one", Name: "Platform one", RedirectURIs: []string{back}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	order := &world.Case{World: w}
	threatened(t, order)
	person, err := signUpNext(t.Context(), w)
	if err := errors.Join(err, order.File(t.Context())); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "replica")
	buildReplica(t, program)
	r := newReplica(t, w, program)
	held := func() float64 { return nowHeldBy(r.pid) }
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: mostAtOnce}}
	get := func(path string) *generator {
		return &generator{http: client, served: http.StatusOK, request: func(ctx context.Context) (*http.Request, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.origin+path, nil)
			for _, c := range person.Client.Jar.Cookies(person.Page.URL) {
				req.AddCookie(c)
			}
			return req, err
		}}
	}
	push := &generator{http: client, served: http.StatusCreated, request: pushing(r.origin, w.Clients()[0])}
	t.Run("push", func(t *testing.T) {
		stored := func() (n int) {
			t.Helper()
			admin, err := pgx.Connect(t.Context(), w.Postgres.DSN)
			if err == nil {
				err = errors.Join(admin.QueryRow(t.Context(), `SELECT count(*) FROM penname.openid_rows WHERE kind = 'session'`).Scan(&n), admin.Close(t.Context()))
			}
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		before := 0
		over := push.overload(t, held, func() { before = stored() }, func(over *pushed) {
			if n := stored() - before; n < len(over.acknowledged) || n > len(over.acknowledged)+over.unanswered {
				t.Errorf("%d are stored of %d that were acknowledged", n, len(over.acknowledged))
			}
		})
		for i := 0; i < len(over.acknowledged); i += 1 + len(over.acknowledged)/50 {
			known(t, client, r.origin, w.Clients()[0].ID, over.acknowledged[i])
		}
	})
	for name, path := range map[string]string{"case": "/v1/warrants/" + order.ID, "checkpoint": "/log/checkpoint", "tile": "/log/tile/0/000.p/1", "person": "/me"} {
		t.Run(name, func(t *testing.T) { get(path).overload(t, held, func() {}, func(*pushed) {}) })
	}
}

const mostAtOnce = 4096 // requests that are under way

// overload asks for what the service can do, for four times as much, and again for as much: before
// and after the second it calls these.
func (g *generator) overload(t *testing.T, held func() float64, before func(), after func(*pushed)) *pushed {
	t.Helper()
	can := g.atOnce(t, 64, *overloaded/3)
	calm := can.said(t, "what it can do, 64 at once", held())
	if can.busy > 0 {
		t.Errorf("%d are refused of 64 at once", can.busy)
	}
	before()
	over := g.load(t, max(4*calm, 2*mostAtOnce), mostAtOnce, *overloaded, held) // other work may have slowed the calm
	over.said(t, "four times as much", slices.Max(over.held))
	if over.busy == 0 || len(over.acknowledged) == 0 || over.unanswered > over.busy/100 {
		t.Error("nobody was refused, or everybody, or some got no answer")
	}
	after(over)
	if most := slices.Max(over.held); most > mostHeld {
		t.Errorf("it holds %.0f MB, of %.0f", most, mostHeld)
	}
	began, again := time.Now(), &pushed{}
	for g.one(t.Context(), again); len(again.acknowledged) == 0; g.one(t.Context(), again) { // until the first that is served: see the figure
		if time.Since(began) > time.Minute {
			t.Fatal("it serves nobody any more")
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("served again %v after the load's end", took)
	} else {
		t.Logf("served again %v after the load's end", took.Round(time.Millisecond))
	}
	later := g.atOnce(t, 64, *overloaded/3)
	if later.said(t, "afterwards, 64 at once", held()); later.busy+later.unanswered > 0 {
		t.Error("not everybody is served after the load")
	}
	return over
}

// nowHeldBy is the memory that a process holds, in MB.
func nowHeldBy(pid int) (held float64) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err == nil {
		_, rest, _ := strings.Cut(string(raw), "VmRSS:")
		_, err = fmt.Sscan(rest, &held)
	}
	if err != nil {
		return 0 // it has ended, which whoever asks it notices
	}
	return held / 1024
}

// generator makes requests, one like another.
type generator struct {
	http    *http.Client
	request func(ctx context.Context) (*http.Request, error)
	served  int // the status of who is
}

// pushed is what became of many requests.
type pushed struct {
	mu               sync.Mutex
	acknowledged     []string // request_uri, or empty
	took, refusedIn  []time.Duration
	busy, unanswered int
	other            []string
	held             []float64 // MB, now and then
	long             time.Duration
}

// pushing is of a platform that pushes requests (RFC 9126).
func pushing(at string, client world.Client) func(ctx context.Context) (*http.Request, error) {
	return func(ctx context.Context) (*http.Request, error) {
		form := url.Values{"response_type": {"code"}, "client_id": {client.ID}, "redirect_uri": {back}, "scope": {"openid"}, "state": {"s"}, "nonce": {oauth2.GenerateVerifier()},
			"code_challenge": {oauth2.S256ChallengeFromVerifier(oauth2.GenerateVerifier())}, "code_challenge_method": {"S256"}}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, at+"/par", strings.NewReader(form.Encode()))
		if err == nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(client.ID, client.Secret)
		}
		return r, err
	}
}

// one makes a request and counts what became of it.
func (g *generator) one(ctx context.Context, to *pushed) {
	began := time.Now()
	var body []byte
	r, err := g.request(ctx)
	var res *http.Response
	if err == nil {
		res, err = g.http.Do(r)
	}
	if err == nil {
		body, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	took := time.Since(began)
	to.mu.Lock()
	defer to.mu.Unlock()
	if err != nil {
		to.unanswered++
		return
	}
	var answer struct {
		URI string `json:"request_uri"`
	}
	_ = json.Unmarshal(body, &answer) // if it is one of a request that was pushed
	switch {
	case res.StatusCode == g.served:
		to.acknowledged, to.took = append(to.acknowledged, answer.URI), append(to.took, took)
	case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
		to.busy, to.refusedIn = to.busy+1, append(to.refusedIn, took)
	default:
		to.other = append(to.other, fmt.Sprintf("%d %s", res.StatusCode, body))
	}
}

// atOnce lets so many push one request after another.
func (g *generator) atOnce(t *testing.T, callers int, long time.Duration) *pushed {
	t.Helper()
	result := &pushed{long: long}
	var wg sync.WaitGroup
	for end := time.Now().Add(long); callers > 0; callers-- {
		wg.Go(func() {
			for time.Now().Before(end) {
				g.one(t.Context(), result)
			}
		})
	}
	wg.Wait()
	return result
}

// load sends so many requests a second, whether or not those before were answered, unless most
// are under way.
func (g *generator) load(t *testing.T, rate float64, most int64, long time.Duration, held func() float64) *pushed {
	t.Helper()
	result := &pushed{long: long}
	var wg sync.WaitGroup
	var underWay atomic.Int64
	began, sent := time.Now(), 0
	for each := time.NewTicker(5 * time.Millisecond); time.Since(began) < long; <-each.C {
		for ; float64(sent) < rate*time.Since(began).Seconds(); sent++ {
			if underWay.Load() >= most {
				continue
			}
			underWay.Add(1)
			wg.Go(func() {
				defer underWay.Add(-1)
				g.one(t.Context(), result)
			})
		}
		result.held = append(result.held, held())
	}
	wg.Wait()
	return result
}

// said prints what became of them and returns how many were served a second.
func (r *pushed) said(t *testing.T, what string, held float64) (rate float64) {
	t.Helper()
	for _, s := range r.other[:min(3, len(r.other))] {
		t.Errorf("%s: neither served nor told to come again: %s (of %d)", what, s, len(r.other))
	}
	of := func(all []time.Duration, share float64) time.Duration {
		slices.Sort(all)
		if len(all) == 0 {
			return 0
		}
		return all[int(share*float64(len(all)-1))].Round(time.Millisecond)
	}
	rate = float64(len(r.took)) / r.long.Seconds()
	t.Logf("%s: %.0f served a second, in %v, p99 %v, at most %v; %.0f a second refused, in %v, p99 %v; %d without an answer; %.0f MB held", what, rate,
		of(r.took, 0.5), of(r.took, 0.99), of(r.took, 1), float64(r.busy)/r.long.Seconds(), of(r.refusedIn, 0.5), of(r.refusedIn, 0.99), r.unanswered, held)
	return rate
}

// known fails the test if the service has no request of that name.
func known(t *testing.T, c *http.Client, at, client, uri string) {
	t.Helper()
	res, err := c.Get(at + "/authorize?" + url.Values{"client_id": {client}, "request_uri": {uri}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("a request that was acknowledged: %d %.300s", res.StatusCode, body)
	}
}
