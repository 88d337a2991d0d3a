package deploy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A machine of the handbook is a network namespace with an address of its own, and
// mount and process namespaces in which /etc, /root, /var/lib and the like are its own.
// One shell lives in it for as long as the test does, as an operator's does, so that
// one block finds the variables of the block before.
type machine struct {
	name string
	dir  string // what is its own: dir/root is its /root
	sh   *exec.Cmd
	in   io.WriteCloser
	said *bufio.Reader
	runs int
	last string // what the last block printed
}

// networks is the handbook's: which machine has which address, and which names lead
// there, as a domain name service would have it.
var networks = []struct {
	machine, address string
	names            []string
}{
	{"one", "10.0.0.1", []string{"penname.example", "one.penname.example", "db.penname.example"}},
	{"two", "10.0.0.2", []string{"two.penname.example", "vault.penname.example"}},
	{"desk", "10.0.0.3", nil},
	{"alba", "10.0.1.1", []string{"alba.example"}},
	{"bruno", "10.0.1.2", []string{"bruno.example"}},
	{"chidi", "10.0.1.3", []string{"chidi.example"}},
	{"court", "10.0.2.1", nil},
	{"police", "10.0.2.2", nil},
	{"town", "10.0.2.3", nil},
	{"identity", "10.0.2.4", nil},
	{"rita", "10.0.2.5", nil},
	{"sami", "10.0.2.6", nil},
}

// outside is where this process itself is, with the identity provider and the platform:
// an address that no private network has.
const outside = "20.0.0.7"

// setUp makes a shell's namespaces a machine: the folders of $DIR are its own.
const setUp = `set -e
mount --bind "$CHECKOUT" "$DIR/srv/penname"
for cache in GOCACHE GOMODCACHE; do # they can be below /root
  if [ -n "${!cache:-}" ]; then mkdir "$DIR/$cache"; mount --bind "${!cache}" "$DIR/$cache"; export $cache="$DIR/$cache"; fi
done
for d in root etc usr/local/bin var/lib var/log opt srv; do mount --rbind "$DIR/$d" "/$d"; done
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/postgresql /run/services
chown postgres:postgres /run/postgresql
ip link set lo up
ip address add "$ADDRESS/8" dev eth0
ip link set eth0 up
ip route add default via 10.255.255.254
cd
exec bash -euo pipefail
`

// cable makes the network to which every machine is plugged.
func cable(t *testing.T) {
	t.Helper()
	mustRun(t, "mount", "-t", "tmpfs", "tmpfs", "/run")
	mustRun(t, "ip", "link", "set", "lo", "up")
	mustRun(t, "ip", "link", "add", "switch", "type", "bridge")
	mustRun(t, "ip", "address", "add", "10.255.255.254/8", "dev", "switch")
	mustRun(t, "ip", "address", "add", outside+"/32", "dev", "switch")
	mustRun(t, "ip", "link", "set", "switch", "up")
}

// newMachine starts a machine below dir, a folder for all of them.
func newMachine(t *testing.T, dir, name, address string) *machine {
	t.Helper()
	m := &machine{name: name, dir: filepath.Join(dir, name)}
	for _, d := range []string{"root", "usr/local/bin", "var/lib/haproxy", "var/lib/nginx", "var/lib/logrotate", "var/log/nginx", "opt/vault", "srv/penname"} {
		if err := os.MkdirAll(filepath.Join(m.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, "cp", "-a", "/etc", m.dir)
	mustRun(t, "rm", "-rf", filepath.Join(m.dir, "etc/postgresql"), filepath.Join(m.dir, "etc/resolv.conf"), filepath.Join(m.dir, "etc/hosts"))
	if err := os.WriteFile(filepath.Join(m.dir, "etc/hosts"), []byte(hosts()), 0o644); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"systemctl", "scp"} { // see TestMain
		if err := os.Symlink(self, filepath.Join(m.dir, "usr/local/bin", program)); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, "ip", "netns", "add", name)
	mustRun(t, "ip", "link", "add", "port-"+name, "type", "veth", "peer", "name", "eth0", "netns", name)
	mustRun(t, "ip", "link", "set", "port-"+name, "master", "switch", "up")
	m.sh = exec.Command("nsenter", "--net=/run/netns/"+name, "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", setUp)
	m.sh.Env = append(m.environment(), "DIR="+m.dir, "ADDRESS="+address, "CHECKOUT="+filepath.Dir(here))
	m.sh.Stderr = os.Stderr
	if m.in, err = m.sh.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := m.sh.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.said = bufio.NewReader(out)
	if err := m.sh.Start(); err != nil {
		t.Fatal(err)
	}
	return m
}

// environment is a fresh log-in's, and what `make build` needs of this one.
func (m *machine) environment() []string {
	all := []string{"HOME=/root", "USER=root", "LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "MACHINES=" + filepath.Dir(m.dir)}
	if m.name == "desk" {
		all[3] += ":" + os.Getenv("PATH")
		for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOFLAGS"} {
			if out, err := exec.Command("go", "env", name).Output(); err == nil && len(out) > 1 {
				all = append(all, name+"="+strings.TrimSpace(string(out)))
			}
		}
	}
	return all
}

func hosts() string {
	lines := []string{"127.0.0.1 localhost", outside + " identity.example town.example"}
	for _, n := range networks {
		lines = append(lines, n.address+" "+strings.Join(append([]string{n.machine}, n.names...), " "))
	}
	return strings.Join(lines, "\n") + "\n"
}

// patience is how long one block may take: the first builds the programs.
const patience = 5 * time.Minute

// run runs a block in the machine's shell, which stops at the first command that
// fails, and returns what it printed.
func (m *machine) run(ctx context.Context, block string) (said string, err error) {
	m.runs++
	name := filepath.Join(m.dir, fmt.Sprintf("block-%d", m.runs))
	if err := os.WriteFile(name, []byte(block), 0o600); err != nil {
		return "", err
	}
	ended := make(chan error, 1)
	go func() {
		if _, err := fmt.Fprintf(m.in, "source %s </dev/null >%s.out 2>&1\necho done\n", name, name); err != nil {
			ended <- err
			return
		}
		line, err := m.said.ReadString('\n')
		if err == nil && line != "done\n" {
			err = errors.New("the shell said " + line)
		}
		ended <- err
	}()
	select {
	case err = <-ended:
		if errors.Is(err, io.EOF) {
			err = errors.New("a command failed")
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	out, rerr := os.ReadFile(name + ".out")
	return string(out), errors.Join(err, rerr)
}

func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
