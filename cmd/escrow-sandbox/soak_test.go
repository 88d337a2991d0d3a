package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/cluster"
	"github.com/penname/penname/escrow/sandbox/robustness"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/policy"
)

// clusterFault is something that happens to a node.
type clusterFault struct {
	name  string
	whom  func(context.Context) (*cluster.Node, error)
	make  func(*cluster.Node) error
	mend  func(*cluster.Node) error
	short time.Duration // how long it lasts in make test; 0: it is not made there
}

// clusterFaults are all that are made. F06, F09: the database's leader is gone, or lives on
// and is not asked any more. F10: a standby. F12, F16: Vault. F31: the network. F34, F35: a
// process has no descriptor left, is killed as for its memory, or is told to end.
func clusterFaults(ctx context.Context, c *cluster.Cluster, chance *rand.Rand) []clusterFault {
	one := func(kinds ...cluster.Kind) func(context.Context) (*cluster.Node, error) {
		return func(context.Context) (*cluster.Node, error) {
			of := c.Of(kinds[chance.IntN(len(kinds))])
			return of[chance.IntN(len(of))], nil
		}
	}
	kill := func(n *cluster.Node) error { n.Kill(); return nil }
	start := func(n *cluster.Node) error { return n.Start(ctx) }
	freeze := func(n *cluster.Node) error { n.Freeze(); return nil }
	thaw := func(n *cluster.Node) error { n.Thaw(); return nil }
	terminate := func(n *cluster.Node) error {
		if !n.Terminate(time.Minute) { // F35: it ends what it began, and then itself
			return errors.New("it did not end")
		}
		return nil
	}
	faults := []clusterFault{
		{"database leader killed", c.DatabaseLeader, kill, start, 2 * time.Second},
		{"database leader frozen", c.DatabaseLeader, freeze, thaw, 12 * time.Second},
		{"database standby killed", c.DatabaseStandby, kill, start, time.Second},
		{"database standby frozen", c.DatabaseStandby, freeze, thaw, 0},
		{"Vault leader killed", c.VaultLeader, kill, start, 0},
		{"Vault leader frozen", c.VaultLeader, freeze, thaw, 2 * time.Second},
		{"proxy killed", one(cluster.Haproxy), kill, start, time.Second},
		{"proxy frozen", one(cluster.Haproxy), freeze, thaw, 0},
		{"etcd killed", one(cluster.Etcd), kill, start, 0},
		{"a process killed", one(cluster.Issuing, cluster.Disclosing, cluster.Keeping), kill, start, time.Second},
		{"a process frozen", one(cluster.Issuing, cluster.Disclosing), freeze, thaw, 0},
		{"a process told to end", one(cluster.Issuing, cluster.Disclosing, cluster.Keeping), terminate, start, time.Second},
		{"a process without descriptors", one(cluster.Issuing, cluster.Disclosing), noDescriptors, descriptors, time.Second},
	}
	if !cluster.Inside() {
		return faults
	}
	cut, heal := (*cluster.Node).Cut, (*cluster.Node).Heal
	between := func(of func(context.Context) (*cluster.Node, error), do func(a, b *cluster.Node) error) func(*cluster.Node) error {
		return func(n *cluster.Node) error {
			other, err := of(ctx)
			if err != nil || other == n {
				return err
			}
			return do(n, other)
		}
	}
	proxy := one(cluster.Haproxy)
	return append(faults,
		clusterFault{"database leader cut off", c.DatabaseLeader, cut, heal, 2 * time.Second},
		clusterFault{"database standby cut off", c.DatabaseStandby, cut, heal, 0},
		clusterFault{"Vault leader cut off", c.VaultLeader, cut, heal, 0},
		clusterFault{"a process cut off", one(cluster.Issuing, cluster.Disclosing), cut, heal, 0},
		clusterFault{"proxy and database leader apart", c.DatabaseLeader, between(proxy, c.Cut), between(proxy, c.Heal), time.Second},
		clusterFault{"proxy and Vault leader apart", c.VaultLeader, between(proxy, c.Cut), between(proxy, c.Heal), 0},
	)
}

// noDescriptors leaves a node's processes no file or connection beyond those they have.
func noDescriptors(n *cluster.Node) error { return limitFiles(n, "12:") }

func descriptors(n *cluster.Node) error {
	if !n.Running() { // it may end for it, and starts again
		return n.Start(context.Background())
	}
	return limitFiles(n, "4096:")
}

func limitFiles(n *cluster.Node, soft string) error {
	found, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return err
	}
	limited := 0
	for _, link := range found {
		if at, err := os.Readlink(link); err != nil || at != n.Dir {
			continue
		}
		pid := filepath.Base(filepath.Dir(link))
		if out, err := exec.Command("prlimit", "--pid", pid, "--nofile="+soft).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		limited++
	}
	if limited == 0 {
		return errors.New("nobody to limit")
	}
	return nil
}

// soak is a run of everybody on a cluster, with faults.
type soak struct {
	t       *testing.T
	cluster *cluster.Cluster
	clients *public
	faults  []robustness.Fault
	before  []robustness.Operation // what there was when they came
}

// newSoak has the crowd come to the world of a cluster.
func newSoak(t *testing.T, c *cluster.Cluster, w *world.World, seed uint64, pace time.Duration) *soak {
	s := &soak{t: t, cluster: c}
	s.clients = &public{World: w, history: robustness.NewHistory(time.Now), seed: seed, people: crowdOf(crowdSize), pace: pace, told: t.Logf, gone: map[string]bool{}, first: map[string]bool{}}
	s.clients.rotate = func(ctx context.Context) (map[int]int64, error) {
		came, err := versionsOf(ctx, w.Postgres.DSN, toCome)
		if err != nil {
			return nil, err
		}
		var out, errs strings.Builder
		if programs.Escrowd(ctx, []string{"keys", "rotate", "--config", c.Of(cluster.Keeping)[0].Config(), "--json"}, &out, &errs) != 0 {
			return nil, errors.New(errs.String())
		}
		var all struct{ Running int }
		if err := json.Unmarshal([]byte(out.String()), &all); err != nil || all.Running > 0 { // by the service, which may end later
			return nil, err
		}
		return came, nil
	}
	s.clients.reshare = func(ctx context.Context) (map[int]int64, error) {
		if err := reshare(ctx, w); err != nil {
			return nil, err
		}
		raw, err := os.ReadFile(w.Path("bundle.json"))
		if err != nil {
			return nil, err
		}
		b, err := policy.ParseBundle(raw)
		if err != nil {
			return nil, err
		}
		return map[int]int64{0: int64(b.Number)}, nil
	}
	var there robustness.End
	s.clients.readCases(t.Context(), t, w.Postgres.DSN, &there)
	for id, c := range there.Cases {
		for vote := range c.Decisions {
			s.before = append(s.before, robustness.Operation{Act: robustness.Decide, Outcome: robustness.OK, Case: id, Custodian: vote.Custodian})
		}
	}
	return s
}

// crowdSize is how many people the identity provider of a cluster's world knows besides
// the sandbox's.
const crowdSize = 60

// fault makes one, holds it and mends it, and waits until everything works again.
func (s *soak) fault(ctx context.Context, f clusterFault, hold time.Duration) {
	s.t.Helper()
	node, err := f.whom(ctx)
	if err != nil {
		s.t.Errorf("%s: nobody to do it to: %v", f.name, said(err))
		return
	}
	made := robustness.Fault{Name: f.name, Node: node.Name, Made: time.Now()}
	if err := f.make(node); err != nil {
		s.t.Errorf("%s: %s: %v", f.name, node.Name, said(err))
	}
	time.Sleep(hold)
	if err := f.mend(node); err != nil {
		s.t.Errorf("%s: %s does not come back: %v", f.name, node.Name, said(err))
	}
	made.Mended = time.Now()
	if err := s.cluster.Ready(ctx); err != nil {
		s.t.Errorf("%s: %s: not ready again: %v", f.name, node.Name, said(err))
	}
	made.Recovered = time.Now()
	s.faults = append(s.faults, made)
}

// judge compares what clients saw with what is there, by every means there is.
func (s *soak) judge(ctx context.Context, seed uint64, repeat string) robustness.Summary {
	t, w := s.t, s.clients.World
	if err := s.cluster.Ready(ctx); err != nil {
		t.Error(said(err))
	}
	s.settle(ctx)
	s.carryOut(ctx)
	h := s.clients.history.Operations()
	summary := robustness.Summarise(h, s.faults)
	summary.Seed, summary.Repeat = seed, repeat
	end := s.clients.end(ctx, t, w.Postgres.DSN)
	summary.Violations = robustness.Check(slices.Concat(s.before, h), end)
	note := func(rule, says string) {
		summary.Violations = append(summary.Violations, robustness.Violation{Rule: rule, Says: says})
	}
	args := []string{"log", "check", "--database-file", w.Path("disclosing.dsn")}
	for _, n := range s.cluster.Of(cluster.Vault) {
		file := filepath.Join(n.Dir, "audit.log")
		if _, err := os.Stat(file); err == nil { // one that never led has none
			args = append(args, "--vault-audit", file)
		}
	}
	var out, errs strings.Builder
	if programs.Escrowd(ctx, args, &out, &errs) != 0 {
		note("escrowd log check", errs.String())
	}
	if said, code := w.Escrow(ctx, "log", "audit", "--bundle", w.Path("bundle.json"), "--server", w.Origin); code != 0 {
		note("escrow log audit", said)
	}
	unanswered := map[string]int{}
	for _, op := range h {
		if op.Outcome != robustness.OK {
			unanswered[addresses.ReplaceAllString(fmt.Sprintf("%s %s %s", op.Act, op.Outcome, op.Code), "…")]++
		}
	}
	for what, n := range unanswered {
		t.Logf("%4d %.200s", n, what)
	}
	t.Log(strings.TrimSpace(out.String()))
	for _, v := range summary.Violations {
		t.Errorf("VIOLATION %s: %s", v.Rule, v.Says)
	}
	if len(summary.Violations) > 0 { // so that it can be looked at again
		kept, err := os.CreateTemp("/tmp", "penname-soak-*.json")
		if err == nil {
			err = errors.Join(json.NewEncoder(kept).Encode(map[string]any{"history": h, "cases": end.Cases, "erasures": end.Erasures, "log": end.Kinds, "summary": summary}), kept.Close())
			t.Log("what was seen, and what is there: ", kept.Name())
		}
		if err != nil {
			t.Error(err)
		}
	}
	return summary
}

// settle ends a resharing whose last step failed: a process starts by rules that are in force
// alone, and those of its file may be the ones before.
func (s *soak) settle(ctx context.Context) {
	for range 10 {
		if _, err := os.Stat(s.clients.Path("next.json")); errors.Is(err, fs.ErrNotExist) {
			return
		}
		s.clients.move(ctx, 0, robustness.Reshare, func(ctx context.Context) (map[int]int64, error) {
			epochs, err := s.clients.reshare(ctx)
			if err != nil {
				s.t.Logf("a resharing is ended: %v", said(err))
			}
			return epochs, err
		})
	}
	s.t.Error("a resharing does not end: the reasons are above")
}

// carryOut has the erasures carried out that no case holds: each process does that at its start,
// and then once an hour. The disclosing side says which, the keeping side does it.
func (s *soak) carryOut(ctx context.Context) {
	forgotten := func(v robustness.Violation) bool { return v.Rule == robustness.ErasuresAreKept }
	for range 3 {
		for _, side := range []cluster.Kind{cluster.Disclosing, cluster.Keeping} {
			n := s.cluster.Of(side)[0]
			if !n.Terminate(time.Minute) {
				s.t.Errorf("%s does not end", n.Name)
			}
			if err := errors.Join(n.Start(ctx), s.cluster.Ready(ctx)); err != nil {
				s.t.Errorf("%s: %v", n.Name, said(err))
			}
			time.Sleep(time.Second) // what it does at its start
		}
		for range 10 {
			var now robustness.End
			s.clients.readCases(ctx, s.t, s.clients.Postgres.DSN, &now)
			if !slices.ContainsFunc(robustness.Check(s.clients.history.Operations(), now), forgotten) {
				return
			}
			time.Sleep(time.Second)
		}
	}
}

// addresses differ from one act to the next.
var addresses = regexp.MustCompile(`https?://\S+|/tmp/\S+|Person [A-Z]+`)

// robustOnCluster is one fault of each kind while everybody does everything: nothing
// acknowledged is lost, nothing is opened that is not durable, nothing happens twice
// (F01, F06, F08, F09, F10, F12, F26, F27, F28, F31, F34, F35).
func robustOnCluster(t *testing.T, c *cluster.Cluster, w *world.World) {
	s := newSoak(t, c, w, 1, 200*time.Millisecond)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.clients.run(ctx) }()
	time.Sleep(3 * time.Second)
	for _, f := range clusterFaults(t.Context(), c, rand.New(rand.NewPCG(1, 0))) { //nolint:gosec // to be repeated
		if f.short > 0 {
			s.fault(t.Context(), f, f.short)
		}
	}
	stop()
	<-done
	s.judge(t.Context(), 1, "go test ./cmd/escrow-sandbox -run TestCluster").Print(testWriter{t})
	if acts := robustness.Summarise(s.clients.history.Operations(), nil).Acts; acts[robustness.Open].Acknowledged == 0 || acts[robustness.Enrol].Acknowledged == 0 || acts[robustness.Erase].Acknowledged == 0 {
		t.Errorf("too little was done: %v", acts)
	}
}

type testWriter struct{ t *testing.T }

// Write implements io.Writer.
func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}

// TestSoak is `make soak`: PENNAME_SOAK says for how long, PENNAME_SEED which faults in
// which order, PENNAME_SOAK_JSON a file for the summary.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("PENNAME_SOAK"))
	if err != nil {
		t.Skip("make soak runs it")
	}
	if os.Geteuid() == 0 && !cluster.Inside() {
		cmd, err := cluster.Isolate(t.Context(), "-test.run=^TestSoak$", "-test.v", "-test.timeout="+(length+30*time.Minute).String())
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Error(err)
		}
		return
	}
	seed, err := strconv.ParseUint(os.Getenv("PENNAME_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().Unix())
	}
	repeat := fmt.Sprintf("make soak SOAK=%s SEED=%d", length, seed)
	t.Log(repeat)
	c, w := clusterWorld(t)
	s := newSoak(t, c, w, seed, time.Second/2)
	s.clients.objects = true
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	done := make(chan struct{})
	go func() { defer close(done); s.clients.run(ctx) }()
	chance := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // to be repeated
	faults := clusterFaults(t.Context(), c, chance)
	for ctx.Err() == nil {
		pause(ctx, time.Duration(5+chance.IntN(10))*time.Second)
		s.fault(t.Context(), faults[chance.IntN(len(faults))], time.Duration(1+chance.IntN(14))*time.Second)
		robustness.Summarise(s.clients.history.Operations(), s.faults[max(0, len(s.faults)-1):]).PrintFaults(os.Stdout)
	}
	<-done
	summary := s.judge(t.Context(), seed, repeat)
	summary.Print(os.Stdout)
	if file := os.Getenv("PENNAME_SOAK_JSON"); file != "" {
		raw, err := json.MarshalIndent(summary, "", "  ")
		if err == nil {
			err = os.WriteFile(file, raw, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// clusterWorld starts a cluster and a world on it, whose identity provider knows the crowd.
func clusterWorld(t *testing.T) (*cluster.Cluster, *world.World) {
	c, err := cluster.Start(t.Context(), cluster.Options{Dir: os.Getenv("CLDIR"), Isolated: cluster.Inside(), Progress: os.Stderr})
	if err != nil {
		t.Fatal(said(err))
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	w, err := world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Cluster: c, Log: io.Discard, Progress: os.Stderr, People: append(sandbox.People(), crowdOf(crowdSize)...)})
	if err != nil {
		t.Fatal(said(err))
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, w
}
