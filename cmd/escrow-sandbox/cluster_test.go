package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/sandbox/cluster"
	"github.com/penname/penname/escrow/sandbox/world"
)

// onCluster are the tests on the one cluster that TestCluster starts, in this order. Each
// leaves it as it found it: ready.
var onCluster = []struct {
	name string
	test func(*testing.T, *cluster.Cluster, *world.World)
}{
	{"Story", storyOnCluster},
	{"Robust", robustOnCluster},
	{"Pooler", poolerOnCluster},
	{"Doubt", doubtOnCluster},
}

// TestCluster starts a whole cluster once, and a world on it. Root gives each node a
// network of its own, so that it can be cut off.
func TestCluster(t *testing.T) {
	if os.Geteuid() == 0 && !cluster.Inside() {
		cmd, err := cluster.Isolate(t.Context(), "-test.run=^TestCluster$", "-test.v", "-test.timeout=15m")
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestCluster")) {
			t.Error(err)
		}
		return
	}
	c, w := clusterWorld(t)
	for _, on := range onCluster {
		if !t.Run(on.name, func(t *testing.T) { on.test(t, c, w) }) {
			return
		}
	}
}

func storyOnCluster(t *testing.T, _ *cluster.Cluster, w *world.World) {
	var told strings.Builder
	if err := world.NewStory(w, &told).Play(t.Context()); err != nil {
		t.Errorf("%v\n%s", err, told.String())
	}
}

// said is an error with its causes.
func said(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error() + "\n"
	switch u := err.(type) { //nolint:errorlint // it is taken apart
	case interface{ Unwrap() error }:
		text += said(u.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range u.Unwrap() {
			text += said(e)
		}
	}
	return text
}
