package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/penname/penname/escrow/sandbox/cluster"
)

// TestCluster: who leads is killed, frozen and cut off, and another one leads; who comes
// back follows.
func TestCluster(t *testing.T) {
	if os.Geteuid() == 0 && !cluster.Inside() {
		again(t)
		return
	}
	c, err := cluster.Start(t.Context(), cluster.Options{Dir: os.Getenv("CLDIR"), Isolated: cluster.Inside(), Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
		if left, err := filepath.Glob(filepath.Join(c.Dir, "*")); err != nil || len(left) > 0 && os.Getenv("CLDIR") == "" {
			t.Error(left, err)
		}
	})
	for what, fault := range map[string]struct{ do, undo func(*cluster.Node) error }{
		"killed":  {func(n *cluster.Node) error { n.Kill(); return nil }, func(n *cluster.Node) error { return n.Start(t.Context()) }},
		"frozen":  {func(n *cluster.Node) error { n.Freeze(); return nil }, func(n *cluster.Node) error { n.Thaw(); return nil }},
		"cut off": {(*cluster.Node).Cut, (*cluster.Node).Heal},
	} {
		for name, leads := range map[string]func(context.Context) (*cluster.Node, error){"database": c.DatabaseLeader, "Vault": c.VaultLeader} {
			before, err := leads(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := fault.do(before); errors.Is(err, cluster.ErrNotIsolated) && !cluster.Inside() {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			after := another(t, before, leads)
			t.Logf("figure: %s leader %s: %s was %s, %s leads after %.1f s", name, what, before.Name, what, after.Name, time.Since(began).Seconds())
			if err := fault.undo(before); err != nil {
				t.Fatal(err)
			}
			if err := c.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// another returns who leads instead.
func another(t *testing.T, before *cluster.Node, leads func(context.Context) (*cluster.Node, error)) *cluster.Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		once, done := context.WithTimeout(ctx, 5*time.Second)
		after, err := leads(once)
		done()
		if err == nil && after != before {
			return after
		}
		select {
		case <-ctx.Done():
			t.Fatal("nobody else leads: ", err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// again runs this test in namespaces of its own.
func again(t *testing.T) {
	cmd, err := cluster.Isolate(t.Context(), "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m")
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Error(err)
	}
}

var _ = exec.Command
