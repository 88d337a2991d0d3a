package cluster

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
