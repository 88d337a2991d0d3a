package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/penname/penname/escrow/sandbox"
)

// network gives each node an address of its own: 127.77.R.N, which every Linux has on its
// loopback interface. If it is isolated, each is on a bridge instead, in a network
// namespace of its own: route_localnet lets the addresses be as they are.
type network struct {
	isolated bool
	part     int            // R, which no other cluster here has
	lock     net.Listener   // as long as this is open
	ports    map[string]int // the system's, by those of the files
	hosts    int            // so many have an address
}

// bridge is who the nodes are plugged to, and where this process is.
const bridge = "penname"

const isolatedEnv = "PENNAME_CLUSTER_ISOLATED"

// Isolate returns the command that runs this program with these arguments in namespaces of
// its own, where it may start a cluster that is isolated. All that it starts ends with it. It
// is told to end (SIGTERM) when ctx ends, and when this process does, however it does.
func Isolate(ctx context.Context, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, ErrIsolation.Because(err)
	}
	if os.Geteuid() != 0 {
		return nil, ErrIsolation
	}
	for _, program := range []string{"unshare", "nsenter", "ip", "sysctl"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, ErrIsolation.Because(err)
		}
	}
	if err := shell("unshare --mount --net --pid --fork true"); err != nil {
		return nil, err
	}
	// The inner shell is the first process there, which takes in what lost its parent: Patroni
	// waits for a PostgreSQL that ended until somebody did.
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", isolatedEnv + `=$$ exec unshare --mount --net --pid --fork --kill-child --mount-proc sh -c '"$@"; exit $?' sh "$@"`, "sh", self}, args...)...)
	// unshare takes no signal: the end of a pipe stands for it, which the system closes too.
	told, tell, err := os.Pipe()
	if err != nil {
		return nil, ErrIsolation.Because(err)
	}
	cmd.ExtraFiles, cmd.Cancel, cmd.WaitDelay = []*os.File{told}, tell.Close, 20*time.Second
	return cmd, nil
}

// endWithOuter has this process, which [Isolate] started, get SIGTERM when that one ends it
// or has ended.
func endWithOuter() {
	const told = 3 // the first of ExtraFiles
	syscall.CloseOnExec(told)
	go func() {
		os.NewFile(told, "told").Read(make([]byte, 1)) //nolint:errcheck // that it ends is what it says
		syscall.Kill(os.Getpid(), syscall.SIGTERM)     //nolint:errcheck // it is ourselves
	}()
}

// Inside reports whether this process was started by [Isolate].
func Inside() bool { return os.Getenv(isolatedEnv) != "" }

// Target is the process by which the networks can be entered from outside (nsenter --net
// --target): without [Isolate] this one.
func Target() int {
	if pid, err := strconv.Atoi(os.Getenv(isolatedEnv)); err == nil {
		return pid
	}
	return os.Getpid()
}

// open takes a part of the addresses that no other cluster of this machine has.
func (n *network) open(isolated bool) (err error) {
	if n.isolated = isolated; isolated && !Inside() {
		return ErrIsolation
	}
	n.ports = map[string]int{}
	for n.part = range 250 {
		if n.lock, err = net.Listen("unix", "@penname-cluster-"+strconv.Itoa(n.part)); err == nil {
			break
		}
	}
	if err != nil || !isolated {
		return err
	}
	for _, line := range []string{
		"mount -t tmpfs tmpfs /run",
		"ip link set lo up",
		"ip link add " + bridge + " type bridge forward_delay 0",
		"ip address add " + n.here() + "/16 dev " + bridge,
		"ip link set " + bridge + " up",
	} {
		if err := shell(line); err != nil {
			return err
		}
	}
	return n.ownLoopback("", bridge)
}

// ownLoopback lets a network namespace have 127.0.0.1 on its loopback interface, and all
// other addresses like it beyond another one.
func (n *network) ownLoopback(prefix, device string) error {
	for _, line := range []string{
		"sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf." + device + ".route_localnet=1",
		"ip route del local 127.0.0.0/8 dev lo table local",
		"ip address del 127.0.0.1/8 dev lo",
		"ip address add 127.0.0.1/32 dev lo",
	} {
		if err := shell(prefix + line); err != nil {
			return err
		}
	}
	return nil
}

func shell(line string) error {
	words := strings.Fields(line)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		return ErrIsolation.Because(fmt.Errorf("%s: %w: %s", line, err, out))
	}
	return nil
}

// here is the address of this process.
func (n *network) here() string { return fmt.Sprintf("127.77.%d.1", n.part) }

// host is the address of the next node.
func (n *network) host() string {
	n.hosts++
	return fmt.Sprintf("127.77.%d.%d", n.part, n.hosts+1)
}

// port is the one that stands here for one of the files.
func (n *network) port(ofFiles string) (string, error) {
	if _, ok := n.ports[ofFiles]; !ok {
		port, err := sandbox.FreePort()
		if err != nil {
			return "", err
		}
		n.ports[ofFiles] = port
	}
	return strconv.Itoa(n.ports[ofFiles]), nil
}

// plug gives each node its network.
func (n *network) plug(nodes []*Node) error {
	if !n.isolated {
		return nil
	}
	for i, node := range nodes {
		name := fmt.Sprintf("node%d", i)
		node.namespace, node.plug = name, fmt.Sprintf("port%d", i)
		enter := "nsenter --net=/run/netns/" + name + " "
		for _, line := range []string{
			"ip netns add " + name,
			"ip link add " + node.plug + " type veth peer name eth0 netns " + name,
			"ip link set " + node.plug + " master " + bridge + " up",
			enter + "ip link set lo up",
			enter + "ip address add " + node.host + "/16 dev eth0",
			enter + "ip link set eth0 up",
		} {
			if err := shell(line); err != nil {
				return err
			}
		}
		if err := n.ownLoopback(enter, "eth0"); err != nil {
			return err
		}
	}
	return nil
}

// inside has a command run in the node's network, and as whom it is to run.
func (n *network) inside(node *Node, cmd *exec.Cmd) *exec.Cmd {
	if !n.isolated {
		return cmd
	}
	args := []string{"nsenter", "--net=/run/netns/" + node.namespace}
	if as := cmd.SysProcAttr.Credential; as != nil {
		args = append(args, "--setuid", strconv.Itoa(int(as.Uid)), "--setgid", strconv.Itoa(int(as.Gid)))
		cmd.SysProcAttr.Credential = nil
	}
	program, err := exec.LookPath(args[0])
	if err != nil {
		program = args[0]
	}
	cmd.Args = append(append(args, "--", cmd.Path), cmd.Args[1:]...)
	cmd.Path = program
	return cmd
}

// connect puts a node on the network or takes it off. Its own link stays up: nobody is told.
func (n *network) connect(node *Node, on bool) error {
	switch {
	case !n.isolated:
		return ErrNotIsolated
	case on:
		return shell("ip link set " + node.plug + " master " + bridge)
	}
	return shell("ip link set " + node.plug + " nomaster")
}

// between lets two nodes reach each other or not: each sends what is for the other to a
// network card that nobody has.
func (n *network) between(a, b *Node, on bool) error {
	if !n.isolated {
		return ErrNotIsolated
	}
	one := func(from, to *Node) error {
		enter := "nsenter --net=/run/netns/" + from.namespace + " ip neigh "
		if on {
			return shell(enter + "del " + to.host + " dev eth0")
		}
		return shell(enter + "replace " + to.host + " lladdr 02:00:00:00:00:00 dev eth0 nud permanent")
	}
	return errors.Join(one(a, b), one(b, a))
}

// unplug gives the addresses back. Namespaces end with the process that Isolate started.
func (n *network) unplug() error {
	if n.lock == nil {
		return nil
	}
	return n.lock.Close()
}

// Cut takes the network between two nodes away: what one sends does not arrive, and no
// connection is told so. Only in a cluster that is [Options.Isolated].
func (c *Cluster) Cut(a, b *Node) error { return c.network.between(a, b, false) }

// Heal ends a [Cluster.Cut].
func (c *Cluster) Heal(a, b *Node) error { return c.network.between(a, b, true) }
