package command

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penname/penname/verifier/proof"
)

// hook is a webhook that notes what it is told.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	told   []told
}

func newHook(t *testing.T) *hook {
	h := &hook{status: 204}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		var a told
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Error("no alarm was posted", err)
		}
		if h.status/100 == 2 {
			h.told = append(h.told, a)
		}
		w.WriteHeader(h.status)
	}))
	t.Cleanup(h.Close)
	return h
}

// take returns the causes that were told since it was asked last.
func (h *hook) take() (causes []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range h.told {
		causes = append(causes, a.Cause)
	}
	h.told = nil
	return causes
}

// watched is a monitor of an observed log.
type watched struct {
	*observed
	dir  string
	hook *hook
	args []string
}

func newWatched(t *testing.T, o *observed, args ...string) *watched {
	t.Helper()
	return &watched{o, filepath.Join(t.TempDir(), "monitor"), newHook(t), args}
}

// round makes a round, and wants those causes as new alarms, by exit code, text, JSON and webhook.
func (w *watched) round(name string, causes ...string) result {
	w.t.Helper()
	r := w.run(append([]string{"log", "monitor", w.dir, "--once", "--webhook", w.hook.URL}, w.args...)...)
	if told := w.hook.take(); !slices.Equal(told, causes) {
		w.t.Errorf("%s: the webhook was told %v, want %v", name, told, causes)
	}
	if wants := len(causes) > 0; wants != (r.code == 1 && strings.HasPrefix(r.errs, "escrow: log.alarm: ")) || strings.Count(r.out, "ALARM ") != len(causes) {
		w.t.Errorf("%s: %d\n%s%s", name, r.code, r.out, r.errs)
	}
	return r
}

// quiet makes a round that finds nothing new and does not fail.
func (w *watched) quiet(name string) {
	w.t.Helper()
	if r := w.round(name); r.code != 0 || r.errs != "" {
		w.t.Errorf("%s: %d\n%s%s", name, r.code, r.out, r.errs)
	}
}

// renewed has the log cosigned now.
func (o *observed) renewed() { o.served.cosigned = o.now }

// later lets time pass, in which the log was cosigned.
func (o *observed) later(d time.Duration) {
	o.at(o.now.Add(d))
	o.renewed()
}

// An honest log that grows gives no alarm, however old what it says is; each cause is said once,
// and again only if it ended and came back.
func TestMonitorSaysEachCauseOnce(t *testing.T) {
	o := newObserved(t)
	w := newWatched(t, o)
	lapsed := o.served.recorded(proof.Emergency, o.now.AddDate(0, 1, 0))
	o.later(time.Hour * 49)
	if by := o.bundle.AuditRules().ValidationHours; by != 48 {
		t.Fatalf("%d hours", by)
	}
	o.served.add(proof.LapsedLeaf(o.now, lapsed, nil, 0))
	w.quiet("the first round, with an emergency that lapsed before")
	c := o.served.opened(o.now.AddDate(0, 0, 2))
	w.quiet("a case")
	o.later(72 * time.Hour)
	w.round("its notice is overdue", "overdue/notice/"+itoa(c)+"/"+proof.Day(o.now.AddDate(0, 0, -1)))
	w.quiet("and still is")
	o.served.add(proof.NoticedLeaf(o.now, c, caseSalt(c)))
	w.quiet("the persons are told")
	second := o.served.recorded(proof.Emergency, o.now.AddDate(1, 0, 0))
	o.served.released(second)
	o.later(time.Hour * 49)
	w.round("an emergency that is neither confirmed nor lapsed", "overdue/validation/"+itoa(second)+"/"+proof.Second(o.now.Add(-time.Hour)))
	o.served.add(proof.LapsedLeaf(o.now, second, []string{"name"}, 1))
	if r := w.round("it lapses", "lapse/"+itoa(second)); !strings.Contains(r.errs, "1 pen name had been opened by then") {
		t.Error(r.errs)
	}
	w.quiet("and has lapsed")
	o.at(o.now.Add(11 * time.Minute))
	w.round("no tree comes", "stall")
	w.quiet("none still")
	o.renewed()
	w.quiet("it goes on")
	o.at(o.now.Add(11 * time.Minute))
	w.round("it stops again", "stall")
	o.renewed()
	o.served.add(proof.BundleLeaf(o.now, o.bundle.Hash()))
	index := itoa(int64(len(o.served.leaves)) - 1)
	w.round("the same rules come into force again", "repeated/bundle_repeated/"+index)
	o.served.add(proof.ReleasedLeaf(o.now, c, [32]byte{9}, proof.AllMarks(1)))
	index = itoa(int64(len(o.served.leaves)) - 1)
	w.round("what was released is released again", "rule/out_of_order/"+index)
	third := o.served.recorded(proof.Emergency, o.now.AddDate(1, 0, 0))
	o.later(time.Hour * 49)
	o.served.add(proof.LapsedLeaf(o.now, third, []string{"name"}, 1)) // nothing was delivered
	index = itoa(int64(len(o.served.leaves)) - 1)
	w.round("a lapse that tells another number", "statistics/lapse_not_told/"+index, "lapse/"+itoa(third))
	r := w.run("log", "monitor", w.dir, "--once", "--json")
	var said monitored
	if err := json.Unmarshal([]byte(r.out), &said); err != nil || r.code != 0 || len(said.New) != 0 || len(said.Standing) != 5 || said.Before != 1 || said.Size != int64(len(o.served.leaves)) {
		t.Errorf("%d %s%s %v", r.code, r.out, r.errs, err)
	}
}

func itoa(n int64) string { b, _ := json.Marshal(n); return string(b) }

// What is merely older, or cannot be read, accuses nobody.
func TestMonitorAccusesNobodyOfWhatIsOld(t *testing.T) {
	o := newObserved(t)
	w := newWatched(t, o)
	o.served.opened(o.now.AddDate(1, 0, 0))
	w.quiet("a case")
	newer := o.served
	o.served = newer.fork(3)
	w.quiet("a cache that lags")
	o.served = newer
	o.down = true
	for range 2 {
		if r := w.round("the server is away"); r.code != 1 || !strings.Contains(r.errs, "proof.unreachable") {
			t.Errorf("%d %s%s", r.code, r.out, r.errs)
		}
	}
	o.at(o.now.Add(11 * time.Minute))
	w.round("it stays away for longer than it may", "stall")
	o.down = false
	o.renewed()
	w.quiet("it is back")
	o.served.bytes([]byte(`{"v":2,"kind":"tomorrow"}`))
	for range 2 {
		if r := w.round("an entry of a newer program"); r.code != 1 || !strings.Contains(r.errs, "proof.newer_log") {
			t.Errorf("%d %s%s", r.code, r.out, r.errs)
		}
	}
	// A peer that is not there, or has something else.
	other := newObserved(t)
	for name, content := range map[string][]byte{"nothing": nil, "rubbish": []byte("x"), "of another log": other.served.checkpoint(1)} {
		file := filepath.Join(t.TempDir(), "peer")
		if content != nil {
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w.args = []string{"--peer", file}
		if r := w.round(name); r.code != 1 || strings.Contains(r.errs, "log.alarm") {
			t.Errorf("%s: %d %s%s", name, r.code, r.out, r.errs)
		}
	}
}

// M23, M24, F22: the log shows two histories, or goes back in its own. Whoever saw one keeps both
// checkpoints, and others can check them.
func TestMonitorKeepsAFork(t *testing.T) {
	for name, c := range map[string]struct {
		common, theirs int
		after          time.Duration
		code           string
	}{
		"as large": {3, 6, 0, "proof.split_view"}, "larger": {3, 30, 0, "proof.split_view"}, "smaller": {3, 4, 0, "proof.split_view"},
		"M23 it goes back": {4, 4, 2*proof.MaxSkew + time.Second, "proof.rollback"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newObserved(t)
			w := newWatched(t, o, "--stale-after", "1h")
			o.served.opened(o.now.AddDate(1, 0, 0))
			w.quiet("a case")
			honest := o.served
			o.at(o.now.Add(c.after))
			o.served = honest.fork(c.common)
			for len(o.served.leaves) < c.theirs {
				o.served.add(proof.ErasedLeaf(o.now, [32]byte{1}, "label "+itoa(int64(len(o.served.leaves)))))
			}
			r := w.round("another history", "fork")
			convict(t, o, w.dir, r, c.code)
			o.served = honest
			asked := len(o.asked)
			if r := w.round("it behaves again"); r.code != 1 || !strings.Contains(r.errs, "log.forked: ") || len(o.asked) != asked {
				t.Errorf("%d %s%s", r.code, r.out, r.errs)
			}
		})
	}
}

// convict checks the evidence as a stranger would, by the command that the alarm says.
func convict(t *testing.T, o *observed, dir string, r result, code string) {
	t.Helper()
	kept, err := filepath.Glob(filepath.Join(dir, "refused-*"))
	if err != nil || len(kept) < 2 || len(kept) > 3 || !strings.Contains(r.errs, kept[0]) {
		t.Fatalf("%v is kept: %s", kept, r.errs)
	}
	_, command, _ := strings.Cut(r.out, "; anybody checks it by: escrow ")
	command, _, _ = strings.Cut(command, "\n")
	if r := run(t, nil, strings.Fields(command)...); r.code != 1 || !strings.HasPrefix(r.errs, "escrow: "+code+": ") {
		t.Errorf("%s: %d %s%s", command, r.code, r.out, r.errs)
	}
}

// blocked puts something where a file is to be written. What it returns takes it away.
func blocked(t *testing.T, file string) (free func()) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(file, "something in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
	}
}

// I23: a fork whose evidence cannot be written is an alarm, and convicts nobody. The monitor looks
// again until it has the evidence, and says each time what is wrong.
func TestMonitorLooksAgainForEvidence(t *testing.T) {
	for name, by := range map[string]func(w *watched, two *history){
		"what the server shows": func(w *watched, two *history) { w.served = two },
		"what a peer shows": func(w *watched, two *history) {
			peer := filepath.Join(t.TempDir(), "peer")
			if err := os.WriteFile(peer, two.checkpoint(len(two.leaves)), 0o600); err != nil {
				t.Fatal(err)
			}
			w.args = []string{"--peer", peer}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newObserved(t)
			w := newWatched(t, o)
			o.served.opened(o.now.AddDate(1, 0, 0))
			w.quiet("a case")
			two := o.served.fork(3)
			two.add(proof.ErasedLeaf(o.now, [32]byte{1}, "label"))
			by(w, two)
			text, _, _ := strings.Cut(string(two.checkpoint(4)), "\n\n")
			sum := sha256.Sum256([]byte(text + "\n"))
			free := blocked(t, filepath.Join(w.dir, fmt.Sprintf("refused-%x.known", sum[:8])))
			if r := w.round("it cannot be written", "fork/unkept"); !strings.Contains(r.errs, "; evidence could not be written: ") || strings.Contains(r.errs, "anybody checks it") || strings.Contains(r.out, "evidence: ") {
				t.Errorf("%s%s", r.out, r.errs)
			}
			if r := w.round("nor now"); r.code != 1 || !strings.HasPrefix(r.errs, "escrow: proof.split_view: ") || !strings.Contains(r.errs, "; evidence could not be written: ") || !strings.Contains(r.out, "said before: fork: ") {
				t.Errorf("%d %s%s", r.code, r.out, r.errs)
			}
			free()
			r := w.round("now it can", "fork")
			if convict(t, o, w.dir, r, "proof.split_view"); strings.Contains(r.out, "said before: ") {
				t.Error(r.out)
			}
			if r := w.round("it is kept"); r.code != 1 || !strings.Contains(r.errs, "log.forked: ") {
				t.Errorf("%d %s%s", r.code, r.out, r.errs)
			}
		})
	}
}

// A monitor that cannot write what it remembers says its alarms, and that.
func TestMonitorThatCannotRemember(t *testing.T) {
	o := newObserved(t)
	w := newWatched(t, o)
	w.quiet("the beginning")
	free := blocked(t, filepath.Join(w.dir, "monitor.json.unfinished"))
	o.at(o.now.Add(11 * time.Minute))
	for range 2 { // what is not remembered comes again
		if r := w.round("no tree comes", "stall"); !strings.Contains(r.errs, "\nescrow: log.monitor_state: ") {
			t.Errorf("%d %s%s", r.code, r.out, r.errs)
		}
	}
	free()
	w.round("now it remembers", "stall")
	w.quiet("and has said so")
}

// M17: cosignatures that lie in the future do not switch a monitor off: that is an alarm, and peers
// and entries are looked at all the same.
func TestMonitorIsNotSwitchedOffByTheFuture(t *testing.T) {
	o := newObserved(t)
	w := newWatched(t, o)
	w.quiet("the beginning")
	c := o.served.opened(o.now.AddDate(1, 0, 0))
	o.served.cosigned = o.now.AddDate(10, 0, 0)
	if r := w.round("the future", "stall"); !strings.Contains(r.errs, "stall: the newest tree was cosigned in the future") || !strings.HasPrefix(r.out, "6 entries, cosigned 2036-03-02T12:00:00Z, ") {
		t.Errorf("%s%s", r.out, r.errs)
	}
	w.quiet("still")
	o.served.add(proof.ReleasedLeaf(o.now, c, [32]byte{9}, proof.AllMarks(1)))
	o.served.cosigned = o.now.AddDate(10, 0, 0)
	w.round("an entry that breaks a rule", "rule/out_of_order/"+itoa(int64(len(o.served.leaves))-1))
	two := o.served.fork(3)
	two.add(proof.ErasedLeaf(o.now, [32]byte{1}, "label"))
	peer := filepath.Join(t.TempDir(), "peer")
	if err := os.WriteFile(peer, two.checkpoint(4), 0o600); err != nil {
		t.Fatal(err)
	}
	honest := newWatched(t, o)
	o.served.cosigned = o.now.Add(time.Hour)
	honest.round("another begins then", "stall", "rule/out_of_order/"+itoa(int64(len(o.served.leaves))-1))
	o.renewed()
	honest.quiet("the clocks are right again")
	o.at(o.now.Add(11 * time.Minute))
	honest.round("so that it stalls again", "stall")
	w.args = []string{"--peer", peer}
	o.served.cosigned = o.now.AddDate(10, 0, 0)
	convict(t, o, w.dir, w.round("a peer saw another history", "fork"), "proof.split_view")
}

// A split view shown to two monitors is caught when they exchange checkpoints: by files, by
// addresses, whichever of the two is ahead, and by the one that is behind as soon as it is as
// far. Two monitors of one honest log say nothing.
func TestMonitorsExchangeCheckpoints(t *testing.T) {
	for name, c := range map[string]struct{ first, second int }{"as large": {9, 9}, "the second is ahead": {9, 12}, "the first is ahead": {12, 9}} {
		t.Run(name, func(t *testing.T) {
			o := newObserved(t)
			first, second := newWatched(t, o), newWatched(t, o)
			first.args = []string{"--peer", filepath.Join(second.dir, "checkpoint")}
			served := httptest.NewServer(http.FileServer(http.Dir(first.dir)))
			defer served.Close()
			o.served.opened(o.now.AddDate(1, 0, 0))
			second.quiet("a case")
			first.quiet("a case")
			second.args = []string{"--peer", served.URL + "/checkpoint"}
			second.quiet("both have seen it")
			// From here on the server shows each of them another history.
			one, two := o.served, o.served.fork(6)
			grow := func(h *history, to int, label string) {
				for len(h.leaves) < to {
					h.add(proof.ErasedLeaf(o.now, [32]byte{1}, label+itoa(int64(len(h.leaves)))))
				}
			}
			grow(one, c.first, "one ")
			grow(two, c.second, "two ")
			o.served = two
			second.args = nil
			second.quiet("alone, nobody can know")
			second.args = []string{"--peer", served.URL + "/checkpoint"}
			o.served = one
			var r result
			if c.first >= c.second {
				r = first.round("the first sees it", "fork")
				convict(t, o, first.dir, r, "proof.split_view")
				return
			}
			first.quiet("the first is behind, and keeps what the second has")
			if r := first.round("and says so"); !strings.Contains(r.out, fmt.Sprintf("/checkpoint has a tree of %d entries, more than the copy", c.second)) {
				t.Error(r.out)
			}
			var said monitored
			if r := o.run(append([]string{"log", "monitor", first.dir, "--once", "--json"}, first.args...)...); json.Unmarshal([]byte(r.out), &said) != nil || len(said.Ahead) != 1 || said.Ahead[0].Size != int64(c.second) || said.Ahead[0].Peer != first.args[1] {
				t.Error(r.out)
			}
			// The second hides its checkpoint of that day. It was kept.
			first.args = []string{"--peer", filepath.Join(second.dir, "checkpoint")}
			grow(one, c.second, "one ")
			r = first.round("the first is as far", "fork")
			convict(t, o, first.dir, r, "proof.split_view")
			o.served = two
			convict(t, o, second.dir, second.round("and the second sees the first", "fork"), "proof.split_view")
		})
	}
}

// A checkpoint that a peer showed once is compared, though it shows another later.
func TestMonitorKeepsWhatAPeerShowedOnce(t *testing.T) {
	o := newObserved(t)
	w := newWatched(t, o)
	w.quiet("the beginning")
	two := o.served.fork(1)
	two.opened(o.now.AddDate(1, 0, 0))
	peer := filepath.Join(t.TempDir(), "peer")
	if err := os.WriteFile(peer, two.checkpoint(len(two.leaves)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.args = []string{"--peer", peer}
	w.quiet("the peer is ahead")
	if err := os.WriteFile(peer, o.served.checkpoint(1), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		o.served.add(proof.ErasedLeaf(o.now, [32]byte{1}, "label "+itoa(int64(len(o.served.leaves)))))
	}
	convict(t, o, w.dir, w.round("it has changed its mind", "fork"), "proof.split_view")
}

// A webhook that fails, hangs or is killed loses no alarm.
func TestMonitorLosesNoAlarm(t *testing.T) {
	o := newObserved(t)
	w := newWatched(t, o)
	w.quiet("the beginning")
	o.at(o.now.Add(11 * time.Minute))
	w.hook.status = 500
	r := w.run("log", "monitor", w.dir, "--once", "--webhook", w.hook.URL)
	if r.code != 1 || !strings.Contains(r.errs, "log.alarm: ") || !strings.Contains(r.errs, "webhook: status 500") || strings.Contains(r.errs, w.hook.URL) {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	r = w.run("log", "monitor", w.dir, "--once", "--webhook", w.hook.URL)
	if r.code != 1 || !strings.HasPrefix(r.errs, "escrow: log.alarm_untold: ") || strings.Contains(r.out, "ALARM") {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	o.renewed() // it has ended meanwhile, and is told all the same
	w.hook.status = 200
	r = w.run("log", "monitor", w.dir, "--once", "--webhook", w.hook.URL)
	if told := w.hook.take(); r.code != 0 || !slices.Equal(told, []string{"stall"}) {
		t.Errorf("%d %v %s%s", r.code, told, r.out, r.errs)
	}
	w.quiet("it was told")

	// Killed while it tells: the next run tells it.
	o.at(o.now.Add(11 * time.Minute))
	ctx, cancel := context.WithCancel(t.Context())
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	}))
	defer hanging.Close()
	var out, errs bytes.Buffer
	code := Run(ctx, []string{"log", "monitor", w.dir, "--once", "--webhook", hanging.URL, "--bundle", o.file}, Env{Stdout: &out, Stderr: &errs, HTTP: &http.Client{}, Now: func() time.Time { return o.now }})
	if code == 0 {
		t.Error(code, out.String(), errs.String())
	}
	r = w.run("log", "monitor", w.dir, "--once", "--webhook", w.hook.URL)
	if told := w.hook.take(); !slices.Equal(told, []string{"stall"}) {
		t.Errorf("%d %v %s%s", r.code, told, r.out, r.errs)
	}
}

// failing is an output that takes nothing.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

// An alarm counts as said when it was written to all outputs: one that takes nothing gets it again,
// and so does who was not reached because the program was killed while another hung.
func TestMonitorSaysAgainWhatWasNotWritten(t *testing.T) {
	for name, broken := range map[string]func(out, errs *io.Writer){
		"the standard output": func(out, _ *io.Writer) { *out = failing{} },
		"the standard error":  func(_, errs *io.Writer) { *errs = failing{} },
	} {
		t.Run(name, func(t *testing.T) {
			o := newObserved(t)
			w := newWatched(t, o)
			w.quiet("the beginning")
			o.at(o.now.Add(11 * time.Minute))
			var outs, errs bytes.Buffer
			var out, err io.Writer = &outs, &errs
			broken(&out, &err)
			code := Run(t.Context(), []string{"log", "monitor", w.dir, "--once", "--webhook", w.hook.URL, "--bundle", o.file}, Env{Stdout: out, Stderr: err, HTTP: &http.Client{}, Now: func() time.Time { return o.now }})
			if code != 1 || !strings.Contains(outs.String()+errs.String(), "stall: ") || out == (failing{}) && !strings.Contains(errs.String(), "no space left") {
				t.Errorf("%d %s%s", code, outs.String(), errs.String())
			}
			if told := w.hook.take(); !slices.Equal(told, []string{"stall"}) {
				t.Error(told)
			}
			if r := w.run("log", "monitor", w.dir, "--once", "--webhook", w.hook.URL); r.code != 1 || !strings.Contains(r.out, "ALARM stall: ") || !strings.HasPrefix(r.errs, "escrow: log.alarm: ") {
				t.Errorf("%d %s%s", r.code, r.out, r.errs)
			}
			w.quiet("now it was said")
		})
	}
	t.Run("it is killed while a webhook hangs", func(t *testing.T) {
		o := newObserved(t)
		w := newWatched(t, o)
		w.quiet("the beginning")
		o.at(o.now.Add(11 * time.Minute))
		var outs bytes.Buffer
		var kept []byte
		hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if outs.Len() == 0 {
				t.Error("nothing was said before it is waited for")
			}
			var err error
			if kept, err = os.ReadFile(filepath.Join(w.dir, "monitor.json")); err != nil { // what a kill leaves
				t.Error(err)
			}
		}))
		defer hanging.Close()
		Run(t.Context(), []string{"log", "monitor", w.dir, "--once", "--webhook", hanging.URL, "--bundle", o.file}, Env{Stdout: &outs, Stderr: io.Discard, HTTP: &http.Client{}, Now: func() time.Time { return o.now }})
		if err := os.WriteFile(filepath.Join(w.dir, "monitor.json"), kept, 0o600); err != nil {
			t.Fatal(err)
		}
		w.round("the next says it", "stall")
		w.quiet("once")
	})
}

// The program gets the text on its standard input, or JSON; one that fails gets it again.
func TestMonitorRunsACommand(t *testing.T) {
	o := newObserved(t)
	dir, out := filepath.Join(t.TempDir(), "monitor"), filepath.Join(t.TempDir(), "out")
	script := filepath.Join(t.TempDir(), "tell")
	write := func(body string) {
		if err := os.WriteFile(script, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
	}
	write("exit 3")
	args := []string{"log", "monitor", dir, "--once", "--command", script + " " + out}
	if r := o.run(args...); r.code != 0 {
		t.Fatal(r.errs)
	}
	o.at(o.now.Add(11 * time.Minute))
	if r := o.run(args...); r.code != 1 || !strings.Contains(r.errs, "command: exit status 3") {
		t.Error(r.errs)
	}
	write(`cat >"$1"`)
	if r := o.run(args...); r.code != 0 || r.errs != "" {
		t.Error(r.code, r.out, r.errs)
	}
	if b, err := os.ReadFile(out); err != nil || !strings.HasPrefix(string(b), "The public log "+o.bundle.Log.Origin+"\nfound at 2026-03-02T12:11:00Z\n\nstall: the newest tree was cosigned at 2026-03-02T12:00:00Z, longer ago than 10m0s\n") {
		t.Errorf("%s %v", b, err)
	}
	o.renewed()
	if r := o.run(args...); r.code != 0 {
		t.Fatal(r.errs)
	}
	o.at(o.now.Add(11 * time.Minute))
	o.run(append(args, "--json")...)
	var a told
	if b, err := os.ReadFile(out); err != nil || json.Unmarshal(b, &a) != nil || a.Cause != "stall" || a.Log != o.bundle.Log.Origin {
		t.Errorf("%s %v", b, err)
	}
}

func TestMonitorRefuses(t *testing.T) {
	o := newObserved(t)
	dir := filepath.Join(t.TempDir(), "monitor")
	secret := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(secret, []byte("ftp://nowhere"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, c := range map[string]struct {
		code int
		says string
	}{
		"":                                {2, "say --once, as cron does, or --every 5m"},
		"--once --every 5m":               {2, "say --once"},
		"--every 10ms":                    {2, "--every is at least 1s"},
		"--every soon":                    {2, "invalid argument"},
		"--once --stale-after 1s":         {2, "--stale-after at least 1m"},
		"--once --webhook " + secret:      {2, "--webhook takes an address"},
		"--once --webhook nosuch":         {1, "file.unreadable"},
		"--once --command nosuch-program": {2, "there is no program nosuch-program"},
	} {
		if r := o.run(append([]string{"log", "monitor", dir}, strings.Fields(args)...)...); r.code != c.code || !strings.Contains(r.errs, c.says) || r.out != "" {
			t.Errorf("%s: %d %s%s", args, r.code, r.out, r.errs)
		}
	}
	once := []string{"log", "monitor", dir, "--once"}
	if r := o.run(once...); r.code != 0 {
		t.Fatal(r.errs)
	}
	state := filepath.Join(dir, "monitor.json")
	good, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"cut": string(good[:len(good)/2]), "empty": "", "another log": strings.Replace(string(good), o.bundle.Log.Origin, "x", 1), "newer": strings.Replace(string(good), `"version": 1`, `"version": 2`, 1),
		"an alarm that is none": strings.Replace(string(good), `"alarms": null`, `"alarms": [null]`, 1), "something behind it": string(good) + "{}"} {
		if err := os.WriteFile(state, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := o.run(once...); r.code != 1 || !strings.Contains(r.errs, "log.monitor_state") {
			t.Errorf("%s: %d %s%s", name, r.code, r.out, r.errs)
		}
	}
	// Evidence without a state: what was said of it is not known any more.
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	evidence := filepath.Join(dir, "refused-0123")
	if err := os.WriteFile(evidence, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := o.run(once...); r.code != 1 || !strings.Contains(r.errs, "log.monitor_state") || !strings.Contains(r.errs, "the folder holds evidence, refused-0123, and no monitor.json") {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	if err := os.Remove(evidence); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state, good, 0o600); err != nil {
		t.Fatal(err)
	}
	site := filepath.Join(t.TempDir(), "site")
	for folder, args := range map[string][]string{dir: once, filepath.Join(t.TempDir(), "mirror"): {"log", "mirror"}, filepath.Join(site, "log"): {"log", "export", site}} {
		unlock, err := lockMirror(folder)
		if err != nil {
			t.Fatal(err)
		}
		if len(args) == 2 {
			args = append(args, folder)
		}
		if r := o.run(args...); r.code != 1 || !strings.Contains(r.errs, "log.monitor_runs") {
			t.Errorf("%v: %d %s%s", args, r.code, r.out, r.errs)
		}
		unlock()
		if r := o.run(args...); r.code != 0 {
			t.Errorf("%v: %s", args, r.errs)
		}
	}
	if r := o.run(once...); r.code != 0 {
		t.Error(r.errs)
	}
}

// Rounds go on until they are interrupted, whatever one of them comes to.
func TestMonitorEvery(t *testing.T) {
	o := newObserved(t)
	w := newWatched(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs bytes.Buffer
	done := make(chan int)
	go func() {
		done <- Run(ctx, []string{"log", "monitor", w.dir, "--every", "1s", "--webhook", w.hook.URL, "--bundle", o.file}, Env{Stdout: &out, Stderr: &errs, HTTP: &http.Client{},
			Now: func() time.Time { o.mu.Lock(); defer o.mu.Unlock(); return o.now }})
	}()
	rounds := func() (n int) {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, path := range o.asked {
			if path == "/log/checkpoint" {
				n++
			}
		}
		return n
	}
	waitFor(t, func() bool { return rounds() > 0 })
	o.mu.Lock()
	o.now = o.now.Add(11 * time.Minute)
	o.mu.Unlock()
	var causes []string
	waitFor(t, func() bool { causes = append(causes, w.hook.take()...); return len(causes) > 0 })
	before := rounds()
	waitFor(t, func() bool { return rounds() > before+3 })
	cancel()
	if code := <-done; code != 130 || !slices.Equal(append(causes, w.hook.take()...), []string{"stall"}) || strings.Count(errs.String(), "log.alarm") != 1 || strings.Count(out.String(), "entries") < 2 {
		t.Errorf("%d %v\n%s%s", code, causes, out.String(), errs.String())
	}
}

func waitFor(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come")
		}
	}
}

// A record whose numbers are not those of the log is found, and what it published is kept; one
// that is a little behind is compared with what it counts.
func TestMonitorCountsTheRecordAgain(t *testing.T) {
	o := newObserved(t)
	w := newWatched(t, o)
	o.served.opened(o.now.AddDate(1, 0, 0))
	honest := func() string {
		r := o.run("log", "stats", "--by", "month", "--json")
		if r.code != 0 {
			t.Fatal(r.errs)
		}
		return r.out
	}
	published := honest()
	record := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/record/statistics/months.json":
			io.WriteString(rw, published)
		case "/record/checkpoint.txt": // at a first round
			rw.Write(o.served.checkpoint(len(o.served.leaves)))
		default:
			t.Error(r.URL.Path)
		}
	}))
	defer record.Close()
	w.args = []string{"--record", record.URL + "/record/"}
	w.quiet("what it says is right")
	o.served.opened(o.now.AddDate(1, 0, 0))
	w.quiet("and was right")
	published = honest()
	w.quiet("it has caught up")
	right := published
	published = strings.Replace(published, `"targets": 2`, `"targets": 1`, 1)
	if published == right {
		t.Fatal(published)
	}
	r := w.round("a pen name less", "statistics/record")
	kept, err := os.ReadFile(filepath.Join(w.dir, "refused-statistics.json"))
	if err != nil || string(kept) != published || !strings.Contains(r.errs, "refused-statistics.json") {
		t.Error(err, r.errs)
	}
	w.quiet("still")
	published = right
	w.quiet("it is mended")
	published = strings.Replace(right, `"released": 2`, `"released": 3`, 1)
	w.round("an opening more", "statistics/record")
	published = right
	w.quiet("mended")
	for name, text := range map[string]string{"nothing": "", "another log": strings.Replace(right, o.bundle.Log.Origin, "x", 1)} {
		published = text
		if r := w.round(name); r.code != 1 || !strings.Contains(r.errs, "log.record_unread") || text == right {
			t.Errorf("%s: %d %s%s", name, r.code, r.out, r.errs)
		}
	}
	published = strings.Replace(right, `"released": 2`, `"released": 3`, 1)
	w.round("another opening more", "statistics/record")
	w.args = nil
	if r := w.round("no record is named any more"); r.code != 0 || strings.Contains(r.out, "said before: ") {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
}

// shownRecord is a public record that shows what a test lets it.
type shownRecord struct {
	*httptest.Server
	o          *observed
	published  string
	checkpoint string // empty: it has none
}

func newShownRecord(t *testing.T, o *observed) *shownRecord {
	r := &shownRecord{o: o}
	r.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, asked *http.Request) {
		switch {
		case !strings.HasSuffix(asked.URL.Path, "/checkpoint.txt"):
			io.WriteString(rw, r.published)
		case r.checkpoint == "":
			rw.WriteHeader(http.StatusNotFound)
		default:
			io.WriteString(rw, r.checkpoint)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// honest is what it is to publish.
func (r *shownRecord) honest() string {
	said := r.o.run("log", "stats", "--by", "month", "--json")
	if said.code != 0 {
		r.o.t.Fatal(said.errs)
	}
	return said.out
}

// A record that counts more entries than the log has is waited for, for the copy can be behind. If
// witnesses cosign fewer long enough after that, it is an alarm.
func TestMonitorFindsARecordThatCountsMore(t *testing.T) {
	o := newObserved(t)
	w := newWatched(t, o)
	o.served.opened(o.now.AddDate(1, 0, 0))
	record := newShownRecord(t, o)
	more := strings.Replace(record.honest(), `"size": 6`, `"size": 11`, 1)
	if more == record.honest() {
		t.Fatal(more)
	}
	unread := func(what string) {
		t.Helper()
		if r := w.round(what); r.code != 1 || !strings.Contains(r.errs, "log.record_unread: ") || !strings.Contains(r.errs, "it counts 11 entries, where the log shows 6") {
			t.Errorf("%s: %d %s%s", what, r.code, r.out, r.errs)
		}
	}
	w.args = []string{"--record", record.URL}
	record.published = more
	unread("it counts more at a first round")
	o.later(mayLag)
	unread("for a moment")
	o.at(o.now.Add(5 * time.Minute))
	unread("no newer tree says that it is wrong")
	o.renewed()
	if r := w.round("and now one does", "statistics/record/ahead"); !strings.Contains(r.errs, "counts 11 entries, and the log has 6: it counted 11 at 2026-03-02T12:00:00Z") || !strings.Contains(r.errs, "refused-statistics.json") {
		t.Error(r.errs)
	}
	w.quiet("still")
	record.published = record.honest()
	if r := w.round("it is mended"); r.code != 0 || strings.Contains(r.out, "said before: ") {
		t.Errorf("%d %s%s", r.code, r.out, r.errs)
	}
	record.published = more
	unread("again")
	o.later(mayLag)
	o.served.opened(o.now.AddDate(1, 0, 0)) // 11 by now, of which it knew before
	record.published = record.honest()
	w.quiet("the copy was behind")
}

// A record counts by a checkpoint, which is what another observer sees.
func TestMonitorComparesTheCheckpointOfARecord(t *testing.T) {
	o := newObserved(t)
	w := newWatched(t, o)
	o.served.opened(o.now.AddDate(1, 0, 0))
	two := o.served.fork(3)
	two.add(proof.ErasedLeaf(o.now, [32]byte{1}, "label"))
	record := newShownRecord(t, o)
	record.published, record.checkpoint = record.honest(), string(o.served.checkpoint(6))
	w.args = []string{"--record", record.URL}
	w.quiet("the same")
	record.checkpoint = string(two.checkpoint(4))
	r := w.round("another", "fork")
	if convict(t, o, w.dir, r, "proof.split_view"); !strings.Contains(r.errs, "another for "+record.URL+"/checkpoint.txt: ") {
		t.Error(r.errs)
	}
}

// What ended is forgotten; what was not looked at has not ended.
func TestMonitorForgetsWhatEnded(t *testing.T) {
	sums := proof.Alarm{Cause: proof.AlarmNumbers, Kind: proof.AlarmNumbers}
	for name, c := range map[string]struct {
		then  finding
		stays bool
	}{
		"the numbers add up":             {finding{audited: true, addsUp: true}, false},
		"they still do not":              {finding{audited: true, alarms: []proof.Alarm{sums}}, true},
		"something else was found first": {finding{audited: true}, true},
		"nothing could be read":          {finding{}, true},
	} {
		s := &monitorState{}
		s.note(&finding{audited: true, alarms: []proof.Alarm{sums}}, nil, time.Time{})
		s.note(&c.then, nil, time.Time{})
		if stays := len(s.Alarms) == 1; stays != c.stays {
			t.Errorf("%s: %v", name, s.Alarms)
		}
	}
}

// A record that counts nothing, or less than it did, or that stays behind the log, is old; what
// stands in it besides its numbers is found, too.
func TestMonitorFindsAnOldRecord(t *testing.T) {
	o := newObserved(t)
	o.served.opened(o.now.AddDate(1, 0, 0))
	record := newShownRecord(t, o)
	of := func(size int) string { return string(o.served.checkpoint(size)) }
	nothing := fmt.Sprintf(`{"addressee":%q,"size":0,"by":"month","periods":[]}`, o.bundle.Log.Origin)
	watch := func() *watched {
		w := newWatched(t, o)
		w.args = []string{"--record", record.URL + "/record"}
		return w
	}
	w := watch()
	record.published = nothing
	w.round("the first round finds that nothing is counted", "statistics/record/old")
	w.quiet("and has said so")
	six := record.honest()
	record.published = six
	w.quiet("it is mended")
	o.served.opened(o.now.AddDate(1, 0, 0))
	record.published = record.honest()
	w.quiet("it counts more")
	record.published = six
	if r := w.round("it counts less than it did", "statistics/record/old"); !strings.Contains(r.errs, "count 6 entries, and there were 11") || !strings.Contains(r.errs, "refused-statistics.json") {
		t.Error(r.errs)
	}
	w.quiet("still")
	// A first round, which saw nothing before, asks how old what is counted is.
	record.checkpoint = of(6)
	o.later(4 * time.Minute)
	w = watch()
	w.quiet("they are those of four minutes ago")
	o.later(time.Second)
	w = watch()
	if r := w.round("and of longer ago", "statistics/record/old"); !strings.Contains(r.errs, "count 6 entries, as of 2026-03-02T12:00:00Z, and there are 11") {
		t.Error(r.errs)
	}
	for range 3 { // it neither ends nor begins again
		if r := w.round("it is as old"); r.code != 0 || !strings.Contains(r.out, "said before: statistics: ") {
			t.Errorf("%d %s%s", r.code, r.out, r.errs)
		}
		o.later(mayLag)
	}
	for name, text := range map[string]string{"none": "", "another's": of(11), "a changed one": strings.Replace(record.checkpoint, "\n6\n", "\n7\n", 1)} {
		record.checkpoint = text
		w := watch()
		if r := w.round(name); r.code != 1 || !strings.Contains(r.errs, "log.record_unread: ") || !strings.Contains(r.errs, "at a first round its checkpoint does not tell since when") {
			t.Errorf("%s: %d %s%s", name, r.code, r.out, r.errs)
		}
		w.quiet("that was told, and the next round remembers what there was")
		o.later(3 * time.Minute)
		w.round("the next finds it by what it remembers", "statistics/record/old")
	}
	record.checkpoint = of(3) // of now, and the record was made again before its numbers were read
	w = watch()
	w.quiet("numbers that are newer than the checkpoint")
	record.checkpoint = of(6) // of now
	w = watch()
	w.quiet("six of eleven may be those of a moment ago")
	o.later(time.Minute)
	w.quiet("or of a minute ago")
	o.later(2 * time.Minute)
	w.round("and no longer ago", "statistics/record/old")
	o.later(time.Minute)
	w.quiet("and still are")
	record.published = record.honest()
	o.served.opened(o.now.AddDate(1, 0, 0))
	o.later(time.Hour)
	w.quiet("what came since the last round need not be counted")
	record.checkpoint = of(11)
	for name, text := range map[string]string{
		"a number that the log does not count": strings.Replace(record.published, `"size"`, `"solved": 900, "size"`, 1),
		"a month of it":                        strings.Replace(record.published, `"targets"`, `"solved": 900, "targets"`, 1),
		"a size that is said twice":            strings.Replace(record.published, `"size"`, `"size": 900, "size"`, 1),
		"no months":                            record.published[:strings.Index(record.published, "[")] + "[]}",
	} {
		if text == record.published {
			t.Fatal(name)
		}
		w, right := watch(), record.published
		record.published = text
		w.round(name, "statistics/record")
		record.published = right
	}
	if o.run("log", "stats", "--by", "month", "--json").out == record.published {
		t.Error("the log did not grow")
	}
}
