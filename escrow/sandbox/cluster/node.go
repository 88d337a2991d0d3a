package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/penname/penname/escrow/sandbox"
)

// Kind is what a node is.
type Kind string

// The kinds.
const (
	Etcd       Kind = "etcd"
	Postgres   Kind = "postgres" // with the Patroni that runs it
	Vault      Kind = "vault"
	Haproxy    Kind = "haproxy"
	Pgbouncer  Kind = "pgbouncer"
	Issuing    Kind = "issuing"
	Disclosing Kind = "disclosing"
	Keeping    Kind = "keeping"
)

func (k Kind) service() bool { return k == Issuing || k == Disclosing || k == Keeping }

// startTime is how long a node may take to come up.
const startTime = time.Minute

// Node is one program with the processes that it starts.
type Node struct {
	Name    string
	Kind    Kind
	Address string // host:port where it serves what it is there for
	Dir     string // its own: configuration and data
	Log     string // file

	host   string // its address, which is nobody else's
	second string // host:port of Patroni's REST

	namespace, plug string // of its network, if it is isolated
	command         func() (*exec.Cmd, error)
	up              func(context.Context) error // nil once it does its work, or can be opened
	open            func(context.Context) error // what it needs besides after each start; nil: nothing
	network         *network
	until           func(context.Context, func(context.Context) error) error

	mu      sync.Mutex
	process *sandbox.Process
}

// Start runs the node, which does not run, and returns when it does its work. One that was
// killed goes on with what it has on disk. A process of escrowd that ends before is started
// again where deploy/systemd does it: one that was given rules which were followed by others a
// moment ago refuses to start until its file is the next one.
func (n *Node) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	err := n.launch()
	if err != nil {
		return n.failed(err)
	}
	err = n.until(ctx, func(ctx context.Context) error {
		if n.process.Ended(0) {
			if status := n.process.Status(); !n.Kind.service() || !restarts(status) {
				cancel()
				return fmt.Errorf("it ended with status %d", status)
			}
			select {
			case <-time.After(restartPause):
			case <-ctx.Done():
				return errEnded
			}
			if err := n.launch(); err != nil {
				return err
			}
		}
		return n.up(ctx)
	})
	if err == nil && n.open != nil {
		err = n.open(ctx)
	}
	if err != nil {
		return n.failed(err)
	}
	return nil
}

// restartPause is RestartSec of deploy/systemd.
const restartPause = time.Second

// restarts tells whether deploy/systemd starts a process again that ended with that status,
// which is below zero for a signal: what failed, unless no restart mends it.
func restarts(status int) bool {
	return status != 0 && status != wrongUsage && status != stoppedAtStart
}

// The status of escrowd that RestartPreventExitStatus and SuccessExitStatus of deploy/systemd name.
const (
	wrongUsage     = 2
	stoppedAtStart = 130
)

// launch starts the process.
func (n *Node) launch() error {
	cmd, err := n.command()
	if err != nil {
		return err
	}
	cmd.Dir = n.Dir // by which its processes are known: see processes
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid, cmd.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	process, err := sandbox.StartProcess(n.network.inside(n, cmd), n.Log, "")
	if err == nil {
		n.process = process
	}
	return err
}

var errEnded = errors.New("it ended")

// failed names the node, with the last line of its log.
func (n *Node) failed(err error) error {
	last := ""
	if n.process != nil {
		lines := bytes.Split(bytes.TrimSpace(n.process.Tail()), []byte("\n"))
		last = string(lines[len(lines)-1])
	}
	return ErrStart.Because(fmt.Errorf("%s: %w: its log, %s, ends with: %s", n.Name, err, n.Log, last))
}

// Kill ends all processes of the node at once (SIGKILL), and returns when they are gone.
func (n *Node) Kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = n.until(ctx, func(context.Context) error { // what is left then is beyond us
		if n.signal(syscall.SIGKILL) > 0 {
			return errEnded
		}
		return nil
	})
	n.process.Ended(time.Second)
}

// Terminate ends the node as an operator does (SIGTERM to its main process), and returns
// whether it ended within a time.
func (n *Node) Terminate(within time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return true
	}
	n.process.Signal(syscall.SIGTERM)
	return n.process.Ended(within)
}

// Freeze stops all processes of the node (SIGSTOP): its connections stay, and nobody answers.
func (n *Node) Freeze() {
	for range 3 { // one that was born meanwhile
		n.signal(syscall.SIGSTOP)
	}
}

// Thaw ends a Freeze (SIGCONT).
func (n *Node) Thaw() { n.signal(syscall.SIGCONT) }

// Running reports whether its main process lives.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.process != nil && !n.process.Ended(0)
}

// Cut takes the node off the network: nothing reaches it and nothing comes from it, and
// no connection is told so. Only in a cluster that is [Options.Isolated].
func (n *Node) Cut() error { return n.network.connect(n, false) }

// Heal ends a Cut.
func (n *Node) Heal() error { return n.network.connect(n, true) }

// signal goes to all processes of the node, and returns to how many.
func (n *Node) signal(s syscall.Signal) (sent int) {
	for _, pid := range n.processes() {
		if syscall.Kill(pid, s) == nil {
			sent++
		}
	}
	return sent
}

// processes are those that work in or below the node's folder: PostgreSQL leaves the
// process group, the session and the parent that Patroni gave to it.
func (n *Node) processes() (all []int) {
	found, _ := filepath.Glob("/proc/[0-9]*/cwd") // its pattern is right
	for _, link := range found {
		at, err := os.Readlink(link)
		if err != nil || at != n.Dir && !strings.HasPrefix(at, n.Dir+"/") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
			all = append(all, pid)
		}
	}
	return all
}
