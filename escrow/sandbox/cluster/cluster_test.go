package cluster

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What the nodes get of the files of deploy/cluster names this machine alone: no address, no
// path and no placeholder of the files is left. What starts them is TestCluster of
// cmd/escrow-sandbox.
func TestFilesAreOfThisMachine(t *testing.T) {
	c := &Cluster{Dir: t.TempDir()}
	p := programs{postgres: "/of/this/machine"}
	if err := c.lay(p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.network.unplug(); err != nil {
			t.Error(err)
		}
	})
	ofFiles := regexp.MustCompile(`(?m)^[^#;]*?(10\.0\.0\.\d+|[A-Z]+@|/etc/(penname|haproxy|vault\.d|pgbouncer)|/var/lib|/opt/|port 5432|port 8008)`)
	seen := 0
	for _, n := range c.nodes {
		configs, err := filepath.Glob(filepath.Join(n.Dir, "config*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range configs {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if left := ofFiles.Find(text); left != nil {
				t.Errorf("%s: %q is left of the files", n.Name, left)
			}
			seen++
		}
	}
	if want := 3 + 3 + 1 + 3 + 1; seen != want {
		t.Errorf("%d files, not %d", seen, want)
	}
	haproxy, err := exec.LookPath("/usr/sbin/haproxy")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if out, err := exec.Command(haproxy, "-c", "-f", filepath.Join(c.Node("haproxy").Dir, "config")).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Who lacks programs is told all of them, and what to install.
func TestMissingProgramsAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := new(Cluster).programs(t.Context())
	if !errors.Is(err, ErrMissing) || !strings.Contains(errors.Unwrap(err).Error(), "etcd, patroni") {
		t.Error(err, errors.Unwrap(err))
	}
}

// A process is started again after the ends after which the units start it again, and no other.
func TestRestartsAsTheUnits(t *testing.T) {
	unit, err := os.ReadFile("../../../deploy/systemd/penname@.service")
	if err != nil {
		t.Fatal(err)
	}
	setting := func(name string) string {
		t.Helper()
		found := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindSubmatch(unit)
		if found == nil {
			t.Fatalf("%s is not set", name)
		}
		return string(found[1])
	}
	if setting("Restart") != "on-failure" || setting("Environment") != "GOTRACEBACK=crash" || setting("RestartSec") != "1" {
		t.Error("the units restart in another way")
	}
	for status := -1; status <= 255; status++ {
		word := strconv.Itoa(status)
		want := word != "0" && word != setting("RestartPreventExitStatus") && word != setting("SuccessExitStatus")
		if restarts(status) != want {
			t.Errorf("after %d: %t", status, restarts(status))
		}
	}
	for ends, times := range map[string]int{"exit 2": 1, "exit 130": 1, "exit 1": 2, "kill -9 $$": 2} { // the second time it stays
		dir := t.TempDir()
		starts := func() int {
			lines, err := os.ReadFile(filepath.Join(dir, "starts"))
			if err != nil {
				return 0
			}
			return strings.Count(string(lines), "\n")
		}
		n := &Node{Name: "tried", Kind: Issuing, Dir: dir, Log: filepath.Join(dir, "log"), network: &network{}, until: new(Cluster).until,
			command: func() (*exec.Cmd, error) {
				return exec.Command("sh", "-c", `echo >> starts; [ $(wc -l < starts) = 1 ] || exec sleep 60; `+ends), nil
			},
			up: func(context.Context) error {
				if starts() < 2 {
					return errors.New("not yet")
				}
				return nil
			}}
		err := n.Start(t.Context())
		n.Kill()
		if starts() != times || (err == nil) != (times == 2) {
			t.Errorf("%s: %d starts, %v", ends, starts(), errors.Unwrap(err))
		}
	}
}
