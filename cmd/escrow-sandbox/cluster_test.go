package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penname/penname/cmd/shell"
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

// TestNothingStaysOfACluster: whatever ends it while it starts, no process and no folder of it
// stays, and who interrupts it is told so. What ends it when it is up is the same.
func TestNothingStaysOfACluster(t *testing.T) {
	modes := [][]string{{"cluster"}}
	if os.Geteuid() == 0 {
		modes = append(modes, []string{"cluster", "--isolated"})
	}
	for _, args := range modes {
		for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(strings.Join(args, " ")+" "+s.String(), func(t *testing.T) {
				tmp := t.TempDir()
				cmd := exec.Command(os.Args[0], args...)
				cmd.Env = append(os.Environ(), sandboxEnv+"=1", "TMPDIR="+tmp)
				said, err := cmd.StderrPipe()
				if err == nil {
					err = cmd.Start()
				}
				if err != nil {
					t.Fatal(err)
				}
				defer cmd.Process.Kill() //nolint:errcheck // it has ended
				text := bufio.NewReader(said)
				if line, err := text.ReadString('\n'); err != nil || !strings.Contains(line, " at 127.77.") {
					t.Fatal(line, err)
				}
				if len(workingIn(t, tmp)) == 0 {
					t.Error("nothing works there: the next check checks nothing")
				}
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
				rest, err := io.ReadAll(text) // until nobody holds the other end
				if err != nil {
					t.Fatal(err)
				}
				cmd.Wait() //nolint:errcheck // its code is looked at
				if s != syscall.SIGKILL && (cmd.ProcessState.ExitCode() != shell.Interrupted || strings.Count(string(rest), "interrupted: ") != 1) {
					t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), rest)
				}
				for end := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) { //nolint:forbidigo // the system ends them
					folders, err := filepath.Glob(filepath.Join(tmp, "penname-*"))
					left := workingIn(t, tmp)
					if err != nil {
						t.Fatal(err)
					}
					if len(folders) == 0 && len(left) == 0 {
						return
					}
					if s != syscall.SIGKILL || time.Now().After(end) {
						t.Fatalf("%v and the processes %v are left", folders, left)
					}
				}
			})
		}
	}
}

// workingIn are the processes that work below a folder.
func workingIn(t *testing.T, dir string) (all []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if at, err := os.Readlink(link); err == nil && strings.HasPrefix(at, dir+"/") {
			all = append(all, link+" "+at)
		}
	}
	return all
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
