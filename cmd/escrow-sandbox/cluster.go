package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/sandbox/cluster"
	"github.com/penname/penname/escrow/sandbox/world"
)

func clusterCommand() *cobra.Command {
	var once, isolated bool
	c := &cobra.Command{
		Use: "cluster", Short: "The same on a cluster of real programs: PostgreSQL under Patroni, Vault on Raft, two escrowd of each side",
		Long: "Start three PostgreSQL 15 under Patroni and etcd with a synchronous standby, three Vault on Raft, haproxy,\n" +
			"pgbouncer, and two processes of each side of escrowd, by the files of deploy/cluster; play the story on them and\n" +
			"stay up. What can be ended, to see what the others do: any process; each has its log and its folder in the one\n" +
			"that is printed. Nothing stays when it ends. It needs the packages that .ci/setup installs, and escrowd beside\n" +
			"this program or a checkout to build it from.\n\n" +
			"With --isolated, which needs root, each node has a network namespace of its own, and all of it is reached from\n" +
			"within alone: nsenter --net --target the process id that is printed.",
		Example: "  escrow-sandbox cluster\n  escrow-sandbox cluster --once\n  escrow-sandbox cluster --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if isolated && !cluster.Inside() {
				return again(cmd)
			}
			return playOnCluster(cmd, cluster.Options{Isolated: isolated, Progress: cmd.ErrOrStderr()}, once)
		},
	}
	c.Flags().BoolVar(&once, "once", false, "exit after the story: 0 only if every step held")
	c.Flags().BoolVar(&isolated, "isolated", false, "a network of its own for each node, which can then be cut off (root only)")
	return c
}

// again runs this command where it may make networks.
func again(c *cobra.Command) error {
	cmd, err := cluster.Isolate(c.Context(), os.Args[1:]...)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, c.OutOrStdout(), c.ErrOrStderr()
	switch err := cmd.Run(); {
	case cmd.ProcessState == nil:
		return cluster.ErrIsolation.Because(err)
	case cmd.ProcessState.Success():
		return nil
	case cmd.ProcessState.Exited() && cmd.ProcessState.ExitCode() <= shell.Interrupted:
		return shell.Exited(cmd.ProcessState.ExitCode())
	default: // it was killed, and said nothing
		return cluster.ErrStart.Because(err)
	}
}

// readyNode is a node as --json tells it.
type readyNode struct {
	Name    string       `json:"name"`
	Kind    cluster.Kind `json:"kind"`
	Address string       `json:"address"`
	Folder  string       `json:"folder"`
	Log     string       `json:"log"`
}

// playOnCluster is play on a cluster.
func playOnCluster(cmd *cobra.Command, o cluster.Options, once bool) (err error) {
	ctx, out, start := cmd.Context(), cmd.OutOrStdout(), time.Now()
	c, err := cluster.Start(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	w, err := world.Start(ctx, programs, world.Options{Listen: "127.0.0.1:0", Cluster: c, Log: io.Discard, Progress: cmd.ErrOrStderr()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	told := out
	if shell.AsJSON(cmd) {
		told = io.Discard
	}
	leader, err := c.DatabaseLeader(ctx)
	if err != nil {
		return err
	}
	active, err := c.VaultLeader(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(told, "Penname on a cluster of %d processes (started in %.1f s); %s leads the database, %s is the active Vault\nKey service: %s\n\n",
		len(c.Nodes()), time.Since(start).Seconds(), leader.Name, active.Name, w.KeyService)
	s := world.NewStory(w, told)
	if err := s.Play(ctx); err != nil {
		return err
	}
	fmt.Fprintf(told, "\nThe story's case is %s.\nEvery step held (%.1f s in all).\n", s.ID, time.Since(start).Seconds())
	if once && !shell.AsJSON(cmd) {
		return nil
	}
	var nodes []readyNode
	for _, n := range c.Nodes() {
		nodes = append(nodes, readyNode{n.Name, n.Kind, n.Address, n.Dir, n.Log})
	}
	r := struct {
		ready
		Nodes     []readyNode `json:"nodes"`
		Authority string      `json:"ca_file"`
		Target    int         `json:"pid"` // for nsenter --net --target
	}{readyOf(w), nodes, c.CAFile, cluster.Target()}
	r.Audit += " --ca-file " + c.CAFile
	if shell.AsJSON(cmd) {
		err = shell.Print(out, true, r, "")
	} else {
		tellCluster(out, r.ready, nodes, c)
	}
	if once {
		return err
	}
	<-ctx.Done()
	return err
}

// tellCluster prints what there is to try.
func tellCluster(out io.Writer, r ready, nodes []readyNode, c *cluster.Cluster) {
	fmt.Fprintf(out, "The cluster stays up; stop it with Ctrl-C.\n  %-14s %s\n  %-14s %s\n  %-14s %s\n", "Penname", r.Issuer, "its folder", c.Dir, "authority", c.CAFile)
	for _, n := range nodes {
		fmt.Fprintf(out, "  %-14s %-10s %s\n", n.Name, n.Kind, n.Address)
	}
	fmt.Fprint(out, "Things to try next:\n")
	if cluster.Inside() {
		fmt.Fprintf(out, "  - first, since nothing of it is reached from outside: nsenter --net --target %d\n", cluster.Target())
	}
	fmt.Fprintf(out, "  - who leads: patronictl -c %[1]s/db-1/config list\n"+
		"  - end a node, here db-1, by all processes that work in its folder:\n    kill -9 $(find /proc/[0-9]*/cwd -maxdepth 0 -lname '%[1]s/db-1*' 2>/dev/null | cut -d/ -f3)\n"+
		"  - what a side says that is in doubt: %[2]s status --config %[1]s/disclosing-1/escrowd.toml\n  - audit the public log yourself:\n    %[3]s\n",
		c.Dir, invocation("escrowd"), r.Audit)
}
