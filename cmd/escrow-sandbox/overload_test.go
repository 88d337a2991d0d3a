package main

import (
	"bytes"
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

// A process of the service is asked for four times what it can do, by platforms that each push a
// request, which is stored, and take no break. Who is not served in time is told so, with when to
// come again, and nothing else; the process holds no more memory the longer it lasts; what it
// acknowledged is there afterwards, and it serves as before.
//
//	go test ./cmd/escrow-sandbox -v -run TestOverloadedProcess -overload 20s
func TestOverloadedProcess(t *testing.T) {
	w, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Keep: keepDir(t), Vault: true, PerSender: 10_000, Log: io.Discard, Progress: io.Discard,
		Clients: []world.Client{{ID: "one", Name: "Platform one", RedirectURIs: []string{back}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	program := filepath.Join(t.TempDir(), "replica")
	buildReplica(t, program)
	r := newReplica(t, w, program)
	const most = 4096 // requests that are under way
	p := &pusher{at: r.origin, client: w.Clients()[0], http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: most}}}
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
	can := p.atOnce(t, 64, *overloaded/3)
	calm := can.said(t, "what it can do, 64 at once", nowHeldBy(r.pid))
	if can.busy > 0 {
		t.Errorf("%d are refused of 64 at once", can.busy)
	}
	before := stored()
	over := p.load(t, 4*calm, most, *overloaded, func() float64 { return nowHeldBy(r.pid) })
	over.said(t, "four times as much", slices.Max(over.held))
	if over.busy == 0 || len(over.acknowledged) == 0 {
		t.Error("nobody was refused, or everybody")
	}
	if n := stored() - before; n < len(over.acknowledged) || n > len(over.acknowledged)+over.unanswered {
		t.Errorf("%d are stored of %d that were acknowledged", n, len(over.acknowledged))
	}
	half := len(over.held) / 2
	if first, second := slices.Max(over.held[:half]), slices.Max(over.held[half:]); second > 1.5*first {
		t.Errorf("it holds %.0f MB in the first half, and %.0f MB in the second", first, second)
	}
	began := time.Now()
	for answered := false; !answered; { // until the first that is served: see the figure
		_, answered = p.push(t.Context())
		if time.Since(began) > time.Minute {
			t.Fatal("it serves nobody any more")
		}
	}
	t.Logf("served again %v after the load's end", time.Since(began).Round(time.Millisecond))
	after := p.atOnce(t, 64, *overloaded/3)
	if after.said(t, "afterwards, 64 at once", nowHeldBy(r.pid)); after.busy+after.unanswered > 0 {
		t.Error("not everybody is served after the load")
	}
	for i := 0; i < len(over.acknowledged); i += 1 + len(over.acknowledged)/50 {
		p.known(t, over.acknowledged[i])
	}
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

// pusher is a platform that pushes requests (RFC 9126).
type pusher struct {
	at     string
	client world.Client
	http   *http.Client
}

// pushed is what became of many requests.
type pushed struct {
	mu               sync.Mutex
	acknowledged     []string // request_uri
	took, refusedIn  []time.Duration
	busy, unanswered int
	other            []string
	held             []float64 // MB, now and then
	long             time.Duration
}

// push returns the request_uri if it was stored.
func (p *pusher) push(ctx context.Context) (*http.Response, bool) {
	form := url.Values{"response_type": {"code"}, "client_id": {p.client.ID}, "redirect_uri": {back}, "scope": {"openid"}, "state": {"s"}, "nonce": {oauth2.GenerateVerifier()},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(oauth2.GenerateVerifier())}, "code_challenge_method": {"S256"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.at+"/par", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, false
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(p.client.ID, p.client.Secret)
	res, err := p.http.Do(r)
	if err != nil {
		return nil, false
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, false
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, res.StatusCode == http.StatusCreated
}

// one pushes a request and counts what became of it.
func (p *pusher) one(ctx context.Context, to *pushed) {
	began := time.Now()
	res, _ := p.push(ctx)
	took := time.Since(began)
	to.mu.Lock()
	defer to.mu.Unlock()
	if res == nil {
		to.unanswered++
		return
	}
	body, _ := io.ReadAll(res.Body)
	var answer struct {
		URI  string `json:"request_uri"`
		Code string `json:"code"`
	}
	err := json.Unmarshal(body, &answer)
	switch {
	case err == nil && res.StatusCode == http.StatusCreated:
		to.acknowledged, to.took = append(to.acknowledged, answer.URI), append(to.took, took)
	case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
		to.busy, to.refusedIn = to.busy+1, append(to.refusedIn, took)
	default:
		to.other = append(to.other, fmt.Sprintf("%d %s", res.StatusCode, body))
	}
}

// atOnce lets so many push one request after another.
func (p *pusher) atOnce(t *testing.T, callers int, long time.Duration) *pushed {
	t.Helper()
	result := &pushed{long: long}
	var wg sync.WaitGroup
	for end := time.Now().Add(long); callers > 0; callers-- {
		wg.Go(func() {
			for time.Now().Before(end) {
				p.one(t.Context(), result)
			}
		})
	}
	wg.Wait()
	return result
}

// load sends so many requests a second, whether or not those before were answered, unless most
// are under way.
func (p *pusher) load(t *testing.T, rate float64, most int64, long time.Duration, held func() float64) *pushed {
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
				p.one(t.Context(), result)
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
func (p *pusher) known(t *testing.T, uri string) {
	t.Helper()
	res, err := p.http.Get(p.at + "/authorize?" + url.Values{"client_id": {p.client.ID}, "request_uri": {uri}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("a request that was acknowledged: %d %.300s", res.StatusCode, body)
	}
}
