// Package cluster runs what deploy/cluster describes on this machine: PostgreSQL under
// Patroni and etcd, Vault on Raft, haproxy, pgbouncer, and the processes of escrowd that
// are handed to it. All are real programs, each with its own log, and each can be killed,
// frozen and cut off.
//
//	cluster.go  the cluster, as it stands
//	parts.go    what runs where, from the files of deploy/cluster
//	node.go     one process with its children: start, kill, freeze
//	network.go  addresses, and with [Options.Isolated] a network namespace for each node
//
// It is trusted with nothing: its keys are for this machine and for as long as it runs.
package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/verifier/refusal"
)

// Refusals.
var (
	ErrStart = refusal.New(refusal.Unavailable, "cluster.start",
		"A part of the cluster did not come up: see the last line of its log, which is named; nothing of the cluster stays behind.")
	ErrMissing = refusal.New(refusal.Unavailable, "cluster.program_missing",
		"Programs of the cluster are not on this machine: apt-get install --no-install-recommends patroni python3-etcd python3-psycopg2 etcd-server haproxy pgbouncer postgresql-15 (.ci/setup does it), and build escrowd beside this one.")
	ErrIsolation = refusal.New(refusal.Unavailable, "cluster.isolation",
		"The nodes cannot be given networks of their own: run it as root, where unshare, nsenter, ip and sysctl are (Debian: util-linux, iproute2, procps), or without --isolated.")
	ErrNotIsolated = refusal.New(refusal.Invalid, "cluster.not_isolated",
		"All nodes share one network, so none can be cut off: start the cluster with --isolated.")
	// ErrNoLeader is returned where nobody leads, or where it cannot be told who does.
	ErrNoLeader = refusal.New(refusal.Unavailable, "cluster.no_leader",
		"Nobody leads at the moment: wait until enough nodes are up and reach each other.")
)

// Options say how a cluster is made.
type Options struct {
	Dir      string    // holds each node's folder and log; empty: a temporary one
	Isolated bool      // a network namespace for each node: see Isolate
	Progress io.Writer // told what comes up, and in which time; nil: nobody
	Escrowd  string    // the program; empty: beside this one, in bin or on PATH
}

// Cluster is what runs.
type Cluster struct {
	Dir    string
	CAFile string // authority of all certificates
	DSN    string // of the database's superuser, by the proxy
	Origin string // https address of the service, by the proxy
	Host   string // loopback address at which the nodes reach what this process serves

	Vault *sandbox.VaultServer // by the proxy, whoever is active; with root's token, for bootstrap and for tests

	Authorities *x509.CertPool
	Certificate tls.Certificate // of every node, and for what this process serves at Host

	o            Options
	nodes        []*Node
	network      network
	files        files
	secrets      map[string]string // by placeholder in the files
	client       *http.Client      // knows the authority, and shows a certificate
	vaultAddress string
	temporary    *sandbox.Dir
	reaper       io.Closer
	stop         sync.Once
}

// Start runs a cluster without processes of escrowd, which [Cluster.Serve] adds, and
// returns when database and Vault have a leader each and the database a second machine.
// ctx bounds the start only.
func Start(ctx context.Context, o Options) (_ *Cluster, err error) {
	c := &Cluster{o: o}
	if Inside() {
		endWithOuter()
	}
	if c.o.Progress == nil {
		c.o.Progress = io.Discard
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	if err := c.place(); err != nil {
		return nil, err
	}
	programs, err := c.programs(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.lay(programs); err != nil {
		return nil, ErrStart.Because(err)
	}
	if err := c.network.plug(c.nodes); err != nil {
		return nil, err
	}
	for _, kinds := range [][]Kind{{Etcd, Haproxy}, {Vault, Postgres, Pgbouncer}} {
		if err := c.each(ctx, kinds...); err != nil {
			return nil, err
		}
	}
	return c, c.Ready(ctx)
}

// place takes the folder, and has all that works in it end with this process.
func (c *Cluster) place() (err error) {
	if c.Dir = c.o.Dir; c.Dir == "" {
		if c.temporary, err = sandbox.TemporaryDir("penname-cluster-"); err != nil {
			return err
		}
		c.Dir = c.temporary.Path
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(c.Dir, 0o711), os.Chmod(c.Dir, 0o711)); err != nil { // the database's user passes through
		return err
	}
	c.reaper, err = sandbox.Reap(c.Dir, c.temporary != nil)
	return err
}

// each starts the nodes of some kinds at once, and says of each how long it took.
func (c *Cluster) each(ctx context.Context, kinds ...Kind) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	for _, n := range c.nodes {
		for _, k := range kinds {
			if n.Kind != k {
				continue
			}
			wg.Go(func() {
				began := time.Now()
				err := n.Start(ctx)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed = errors.Join(failed, err)
					cancel()
					return
				}
				fmt.Fprintf(c.o.Progress, "%-13s %-9s at %s (%.1f s)\n", n.Name, n.Kind, n.Address, time.Since(began).Seconds())
			})
		}
	}
	wg.Wait()
	return failed
}

// Nodes are all nodes, in the order of their start.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Of returns the nodes of a kind.
func (c *Cluster) Of(kind Kind) (all []*Node) {
	for _, n := range c.nodes {
		if n.Kind == kind {
			all = append(all, n)
		}
	}
	return all
}

// Node returns the one of that name, or nil.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// DatabaseLeader returns who may write to the database: the node that itself says so.
func (c *Cluster) DatabaseLeader(ctx context.Context) (*Node, error) {
	return c.first(ctx, Postgres, func(ctx context.Context, n *Node) error { return c.answers(ctx, "https://"+n.second+"/primary") })
}

// DatabaseStandby returns the standby that each COMMIT waits for.
func (c *Cluster) DatabaseStandby(ctx context.Context) (*Node, error) {
	return c.first(ctx, Postgres, func(ctx context.Context, n *Node) error { return c.answers(ctx, "https://"+n.second+"/synchronous") })
}

// VaultLeader returns the Vault node that is active.
func (c *Cluster) VaultLeader(ctx context.Context) (*Node, error) {
	return c.first(ctx, Vault, func(ctx context.Context, n *Node) error {
		return c.answers(ctx, "https://"+n.Address+"/v1/sys/health")
	})
}

// first asks all nodes of a kind at once, and returns the first that says yes. One that is
// frozen or cut off says nothing.
func (c *Cluster) first(ctx context.Context, kind Kind, ask func(context.Context, *Node) error) (*Node, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	nodes := c.Of(kind)
	said := make(chan *Node, len(nodes))
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() {
			if errs[i] = ask(ctx, n); errs[i] == nil {
				said <- n
			}
		})
	}
	go func() { wg.Wait(); close(said) }()
	if n := <-said; n != nil {
		return n, nil
	}
	return nil, ErrNoLeader.Because(errors.Join(errs...))
}

// Ready returns when database and Vault have a leader, the database a standby that
// follows at once, and every process of escrowd is ready; or what is missing when ctx
// ends or a minute is over.
func (c *Cluster) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	return c.until(ctx, func(ctx context.Context) error {
		_, derr := c.DatabaseLeader(ctx)
		_, serr := c.DatabaseStandby(ctx)
		_, verr := c.VaultLeader(ctx)
		err := errors.Join(derr, serr, verr)
		if voters, rerr := c.Vault.Voters(ctx); rerr != nil || voters < len(c.Of(Vault)) {
			err = errors.Join(err, rerr, fmt.Errorf("%d of the Vault nodes vote", voters))
		}
		served := false
		for _, n := range c.nodes {
			if n.Kind.service() && n.command != nil {
				served = true
				if uerr := n.up(ctx); uerr != nil {
					err = errors.Join(err, fmt.Errorf("%s: %w", n.Name, uerr))
				}
			}
		}
		if err != nil || !served {
			return err
		}
		// The proxy sees it a moment later.
		return errors.Join(c.answers(ctx, c.Origin+"/readyz"), c.answers(ctx, c.Origin+"/log/checkpoint"))
	})
}

// until asks again and again, until the answer is nil or ctx has ended.
func (c *Cluster) until(ctx context.Context, ask func(context.Context) error) error {
	every := time.NewTicker(100 * time.Millisecond)
	defer every.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := ask(once)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// Stop ends all nodes at once, as a power cut does: nothing of them is used again. A
// temporary folder goes.
func (c *Cluster) Stop() (err error) {
	c.stop.Do(func() {
		var wg sync.WaitGroup
		for _, n := range c.nodes {
			wg.Go(n.Kill)
		}
		wg.Wait()
		err = c.network.unplug()
		if c.reaper != nil {
			c.reaper.Close()
		}
		if c.temporary != nil {
			err = errors.Join(err, c.temporary.Close())
		}
	})
	return err
}
