package deploy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/penname/penname/cmd/escrow/command"
	_ "github.com/penname/penname/cmd/escrowd/command"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/verifier/identity/oidcprovider"
)

// step is what the handbook has somebody do.
type step struct {
	line     int
	machines []string // where the block runs, or who gives
	block    string   // commands
	files    []string // that are given
	to       []string
	outside  string // what the test does in the place of people outside: see outside_test.go
}

var (
	where     = regexp.MustCompile(`^# on (.+)$`)
	gives     = regexp.MustCompile("^→ (\\S+) gives ((?:`[^`]+`[, and]*)+) to ([^`]+)$")
	inTicks   = regexp.MustCompile("`([^`]+)`")
	listed    = regexp.MustCompile(`,? and |, `)
	elsewhere = regexp.MustCompile(`^<!-- outside: (.+) -->$`)
)

// readHandbook returns what the handbook has people do, in order. A block of commands
// begins with a comment that says where it runs.
func readHandbook(t *testing.T) (steps []step) {
	t.Helper()
	raw, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(raw), "\n")
	for n := 0; n < len(lines); n++ {
		line := lines[n]
		switch {
		case line == "```sh":
			begins := n + 1
			for n++; n < len(lines) && lines[n] != "```"; n++ {
			}
			m := where.FindStringSubmatch(lines[begins])
			if m == nil {
				t.Fatalf("README.md:%d: the block does not say where it runs", begins+1)
			}
			steps = append(steps, step{line: begins + 1, machines: listed.Split(m[1], -1), block: strings.Join(lines[begins:n], "\n") + "\n"})
		case strings.HasPrefix(line, "```"): // the picture
			begins := n
			for n++; n < len(lines) && lines[n] != "```"; n++ {
			}
			if line != "```" || !strings.Contains(lines[begins+1], " people") {
				t.Fatalf("README.md:%d: a block that nobody runs", begins+1)
			}
		case strings.HasPrefix(line, "→ "):
			m := gives.FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("README.md:%d: who gives what to whom?", n+1)
			}
			s := step{line: n + 1, machines: []string{m[1]}, to: listed.Split(m[3], -1)}
			for _, f := range inTicks.FindAllStringSubmatch(m[2], -1) {
				s.files = append(s.files, f[1])
			}
			steps = append(steps, s)
		case elsewhere.MatchString(line):
			steps = append(steps, step{line: n + 1, outside: elsewhere.FindStringSubmatch(line)[1]})
		}
	}
	return steps
}

// TestHandbook does all that the handbook says, in order: every command as it stands,
// with real parts, on machines of its own.
func TestHandbook(t *testing.T) {
	if os.Getenv("PENNAME_HANDBOOK") == "" {
		inNamespaces(t)
		return
	}
	w := build(t)
	began, opened := time.Now(), false
	for _, s := range readHandbook(t) {
		start := time.Now()
		if s.outside == "sign in" {
			t.Logf("figure: idle, resident: %s", w.resident(t))
		}
		w.do(t, s)
		if t.Failed() {
			return
		}
		if took := time.Since(start); took > time.Second {
			t.Logf("README.md:%d took %.1f s", s.line, took.Seconds())
		}
		if s.outside == "the name is opened" {
			opened = true
			t.Logf("figure: after the story, resident: %s", w.resident(t))
			t.Logf("figure: %s; the machines took %.0f s", effort(t, s.line), time.Since(began).Seconds())
		}
	}
	if !opened {
		t.Error("no name was opened")
	}
	w.keepNothing(t)
}

// keepNothing: no log, no proxy, no database and no Vault of the two machines has a name
// or the words of a post in clear, or the address by which people came.
func (w *surroundings) keepNothing(t *testing.T) {
	t.Helper()
	for _, name := range []string{"one", "two"} {
		for _, folder := range []string{"var", "opt"} {
			args := []string{"-rlaF", "-e", "Weathervane", "-e", outside, "-e", threat, filepath.Join(w.dir, name, folder)}
			if found, err := exec.Command("grep", args...).CombinedOutput(); err == nil {
				t.Errorf("machine %s keeps who came, or from where:\n%s", name, found)
			} else if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("%v: %s", err, found)
			}
		}
	}
}

// inNamespaces runs this test again in namespaces of its own, where it may make
// networks and mounts. All that it starts ends with it.
func inNamespaces(t *testing.T) {
	need(t)
	readAll(t)
	vault, err := sandbox.VaultBinary(t.Context(), os.Stderr)
	if err != nil {
		unavailable(t, err)
	}
	oidcprovider.Install(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
		self, "-test.run=^TestHandbook$", "-test.v", "-test.timeout=20m")
	cmd.Env = append(os.Environ(), "PENNAME_HANDBOOK="+t.TempDir(), "PENNAME_VAULT="+vault)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // that signal comes when this thread ends
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestHandbook")) {
		t.Error(err)
	}
}

// readAll reads what the handbook is about, so that go test keeps no result of another day.
// The programs that it builds are imported for the same reason.
func readAll(t *testing.T) {
	t.Helper()
	readHandbook(t)
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			read(t, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// need skips where the machines cannot be had.
func need(t *testing.T) {
	if os.Geteuid() != 0 {
		unavailable(t, "the machines of the handbook are namespaces, which only root may make")
	}
	for _, program := range []string{"unshare", "nsenter", "ip", "haproxy", "nginx", "logrotate", "jq", "openssl", "pg_createcluster", "useradd", "node"} {
		if _, err := exec.LookPath(program); err != nil {
			unavailable(t, err)
		}
	}
}

// unavailable skips a test whose tools are missing, except in CI, where a skip would
// hide that nothing was tested.
func unavailable(t *testing.T, reason ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason...)
	}
	t.Skip(reason...)
}

// surroundings are the machines, and what is outside.
type surroundings struct {
	dir      string
	machines map[string]*machine
	outside  *outsiders
}

// build plugs the machines together and gives them what the handbook asks for.
func build(t *testing.T) *surroundings {
	t.Helper()
	w := &surroundings{dir: os.Getenv("PENNAME_HANDBOOK"), machines: map[string]*machine{}}
	cable(t)
	mustRun(t, "mount", "-t", "tmpfs", "-o", "mode=711", "tmpfs", w.dir)
	for _, n := range networks {
		w.machines[n.machine] = newMachine(t, w.dir, n.machine, n.address)
	}
	names := filepath.Join(w.dir, "hosts")
	if err := os.WriteFile(names, []byte(hosts()), 0o644); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "mount", "--bind", names, "/etc/hosts")
	w.must(t, "one", "mkdir -p /var/lib/postgresql /var/log/postgresql && chown postgres:postgres /var/lib/postgresql && pg_createcluster 15 main && systemctl start postgresql@15-main")
	// As HashiCorp's package does.
	mustRun(t, "cp", os.Getenv("PENNAME_VAULT"), filepath.Join(w.dir, "two/usr/local/bin/vault"))
	w.must(t, "two", "useradd --system vault && install -d -o vault /etc/vault.d /opt/vault\n"+
		"printf '[Service]\\nType=notify\\nUser=vault\\nExecStart=/usr/local/bin/vault server -config=/etc/vault.d/vault.hcl\\nExecReload=/bin/kill --signal HUP $MAINPID\\n' > /etc/systemd/system/vault.service")
	w.outside = newOutsiders(t, w)
	return w
}

func (w *surroundings) must(t *testing.T, machine, block string) string {
	t.Helper()
	said, err := w.machines[machine].run(t.Context(), block+"\n")
	if err != nil {
		t.Fatalf("%s: %s: %v\n%s", machine, block, err, said)
	}
	return said
}

// path is a file in somebody's folder.
func (w *surroundings) path(machine, name string) string {
	return filepath.Join(w.dir, machine, "root", "penname", name)
}

// do does one step, at the same time on all machines that it names.
func (w *surroundings) do(t *testing.T, s step) {
	t.Helper()
	for _, name := range slices.Concat(s.machines, s.to) {
		if w.machines[name] == nil {
			t.Fatalf("README.md:%d: there is no %q", s.line, name)
		}
	}
	switch {
	case s.outside != "":
		w.outside.do(t, w, s)
	case s.block == "":
		for _, file := range s.files {
			for _, to := range s.to {
				mustRun(t, "cp", w.path(s.machines[0], file), w.path(to, file))
			}
		}
	default:
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var wait sync.WaitGroup
		for _, name := range s.machines {
			wait.Go(func() {
				said, err := w.machines[name].run(ctx, s.block)
				w.machines[name].last = said
				if err != nil {
					t.Errorf("README.md:%d: on %s: %v\n%s\n%s%s", s.line, name, err, s.block, said, w.logs(name))
				}
			})
		}
		wait.Wait()
	}
}

// logs are what the services of a machine last said.
func (w *surroundings) logs(machine string) string {
	var all strings.Builder
	services, _ := filepath.Glob(filepath.Join(w.dir, machine, "var/log/*.log"))
	packages, _ := filepath.Glob(filepath.Join(w.dir, machine, "var/log/*/*.log"))
	for _, f := range append(services, packages...) {
		raw, _ := os.ReadFile(f)
		fmt.Fprintf(&all, "\n== %s\n%s", filepath.Base(f), raw[max(0, len(raw)-2000):])
	}
	return all.String()
}

// resident is how much memory each side's processes have, VmRSS of proc(5).
func (w *surroundings) resident(t *testing.T) string {
	t.Helper()
	var all []string
	status, _ := filepath.Glob("/proc/[0-9]*/status") // of the machines too: their processes are below ours
	for _, file := range status {
		command, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline")) // one that ended has neither
		state, _ := os.ReadFile(file)
		config := regexp.MustCompile(`^/usr/local/bin/escrowd\x00serve\x00--config\x00/etc/penname/(.+)\.toml`).FindSubmatch(command)
		rss := regexp.MustCompile(`VmRSS:\s+([0-9]+) kB`).FindSubmatch(state)
		if config != nil && rss != nil {
			kB, err := strconv.Atoi(string(rss[1]))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprintf("%s %.0f MiB", config[1], float64(kB)/1024))
		}
	}
	if slices.Sort(all); len(all) != 6 {
		t.Errorf("two replicas of each side should run: %s", all)
	}
	return strings.Join(all, ", ")
}

// effort is what the handbook asks of a person up to a line: commands, and minutes at 200
// words read and 40 typed a minute, or with each block pasted in five seconds.
func effort(t *testing.T, until int) string {
	t.Helper()
	var words, typed, commands, blocks, inBlock, inText float64
	end := ""
	for line := range strings.Lines(strings.Join(strings.Split(string(read(t, "README.md")), "\n")[:until], "\n")) {
		line = strings.TrimSpace(line)
		n := float64(len(strings.Fields(line)))
		words += n
		switch {
		case line == "```sh":
			inBlock = 1
			blocks++
		case strings.HasPrefix(line, "```"):
			inBlock, inText = 0, 0
		case inBlock == 1 && line == end:
			inText = 0
		case inBlock == 1 && !where.MatchString(line):
			typed += n
			if commands += 1 - inText; strings.Contains(line, "<<") && !strings.Contains(line, "<<<") && inText == 0 {
				inText, end = 1, "EOF"
			}
		}
	}
	return fmt.Sprintf("%.0f lines of commands in %.0f blocks, %.0f words: %.0f minutes of reading, and %.0f of typing all of it or %.0f of pasting",
		commands, blocks, words, words/200, typed/40, blocks*5/60)
}
