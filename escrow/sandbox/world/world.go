package world

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/cluster"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/escrow/spans"
	"github.com/penname/penname/policy"
)

// World is everything that runs. What is in Dir is what the parties outside the
// service hold: keys, bundle, folders.
type World struct {
	Dir            string
	Resumed        bool // it goes on where an earlier run in the same folder ended
	Log            *slog.Logger
	Clock          *Clock
	Origin         string // of Penname
	Identity       string // origin of the identity provider that people come by
	SecondIdentity string // of another one, which knows the same people
	Town           *Platform
	School         *Platform
	Service        *service.Service // nil on a cluster, where it is processes
	Cluster        *cluster.Cluster // nil: the service is in this process

	KeyService string // which one holds the first halves, for people
	Postgres   *sandbox.Postgres
	Vault      *sandbox.VaultServer // nil with the local keyring
	Witnesses  map[string]*Outage   // by custodian

	kept     kept
	edited   map[string]bool // by client id: see Edited
	keeps    bool            // Dir stays
	programs Programs
	rules    *disclose.Rules               // as the operator installs them
	bundle   atomic.Pointer[policy.Bundle] // that was read last
	group    *errgroup.Group
	serving  func(net.Listener, http.Handler)
	cancel   context.CancelFunc
	closers  []func() error
}

// Programs are the programs that the world's parties use. Escrow and Escrowd
// take arguments without the program's name and return the exit code.
type Programs struct {
	// Escrow is the program of everybody outside the service.
	Escrow func(ctx context.Context, args []string, now func() time.Time, out, errs io.Writer) int
	// Escrowd is the operator's program.
	Escrowd func(ctx context.Context, args []string, out, errs io.Writer) int
}

// Options say how a world is made.
type Options struct {
	Listen   string            // host:port of the service, loopback, checked
	Vault    bool              // a real Vault in the place of the local keyring
	Log      io.Writer         // of the service
	Progress io.Writer         // told what takes long, and what becomes of platforms that were edited
	Postgres []string          // further settings of PostgreSQL
	Server   *sandbox.Postgres // instead of a PostgreSQL of its own
	Stores   postgres.Options  // how the sides open it
	People   []sandbox.Person  // of the identity provider; nil for the sandbox's
	Behind   time.Duration     // how far the clock is behind when it starts
	Cluster  *cluster.Cluster  // what the service runs on, in processes of its own; whoever started it stops it. Listen, Vault, Server and Behind do not count then
	Keep     string            // folder that stays, with all that the next world in it needs to be this one; empty: a temporary one
	Clients  []Client          // platforms besides the world's own

	// Rules changes the first ones, before they are endorsed; nil: nobody does. Without a
	// registry they name the world's platforms, as those of version 2 of the format do: the
	// next start with that folder gives it one.
	Rules func(*policy.Bundle)

	// Front is told where the service is, and returns the origin of who passes requests on
	// to it; nil: nobody stands before it.
	Front func(origin string) string

	// PerSender is service.Parts.PerSender: everybody in a world comes by one address.
	PerSender float64

	Traces *spans.Tracer // of the service; who made it closes it
}

// Custodians are those of the world: three organisations, Quorum of which must
// agree.
var Custodians = []policy.Custodian{
	{ID: "alba", Name: "Alba Ferrand", Organisation: "Bar Association", Index: 1},
	{ID: "bruno", Name: "Bruno Keller", Organisation: "Data Protection Authority", Index: 2},
	{ID: "chidi", Name: "Chidi Eze", Organisation: "Press Council", Index: 3},
}

// Quorum is how many custodians open together.
const Quorum = 2

// Clock can be moved: the end of secrecy is months away.
type Clock struct {
	ahead  atomic.Int64
	stands atomic.Pointer[time.Time]
}

// Now is this machine's time, moved, or where the clock stands.
func (c *Clock) Now() time.Time {
	if at := c.stands.Load(); at != nil {
		return *at
	}
	return time.Now().Add(time.Duration(c.ahead.Load()))
}

// Stop lets the clock stand still where it is.
func (c *Clock) Stop() {
	now := c.Now()
	c.stands.Store(&now)
}

// Go lets it go on, right.
func (c *Clock) Go() { c.stands.Store(nil) }

// Advance moves the clock; a negative d moves it back.
func (c *Clock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }

// Outage is a handler that can be down: what happens when witnesses are is part
// of the walkthroughs.
type Outage struct {
	http.Handler
	Down atomic.Bool
}

// ServeHTTP implements http.Handler.
func (o *Outage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o.Down.Load() {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	o.Handler.ServeHTTP(w, r)
}

// Start makes a world and runs it until Close. ctx bounds the start only. An
// address that is not loopback is refused with [sandbox.ErrNotLoopback].
func Start(ctx context.Context, programs Programs, o Options) (_ *World, err error) {
	if err := sandbox.RequireLoopback(o.Listen); err != nil {
		return nil, err
	}
	w := &World{programs: programs, Clock: &Clock{}, edited: map[string]bool{}, Witnesses: map[string]*Outage{}, Log: service.NewLog(o.Log, slog.LevelInfo)}
	if w.Cluster = o.Cluster; w.Cluster != nil {
		w.onClose(trust(w.Cluster))
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.cancel = cancel
	w.group, run = errgroup.WithContext(run)
	w.serving = func(ln net.Listener, h http.Handler) {
		w.group.Go(func() error { return service.Serve(run, ln, h) })
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if err := w.openDir(o); err != nil {
		return nil, err
	}
	if !w.Resumed && w.Cluster == nil {
		w.Clock.Advance(-o.Behind)
	}
	f := &founding{World: w, told: o.Progress}
	ln, err := f.found(ctx, o)
	if err != nil {
		return nil, err
	}
	if w.Service != nil {
		w.group.Go(func() error { return w.Service.Run(run, ln, service.Machine{}) })
	}
	for _, p := range []*Platform{w.Town, w.School} {
		if err := p.Connect(ctx, w.secret(p.ID)); err != nil {
			return nil, err
		}
	}
	if w.Service != nil {
		if err := f.openRegistry(ctx); err != nil {
			return nil, err
		}
	}
	return w, w.save()
}

// Close stops the service first, then what it stands on.
func (w *World) Close() error {
	w.cancel()
	err := w.group.Wait()
	for _, c := range slices.Backward(w.closers) {
		err = errors.Join(err, c())
	}
	return err
}

func (w *World) onClose(f func() error) { w.closers = append(w.closers, f) }

// serve runs a handler of the world's surroundings on a loopback port, and
// returns its origin. h is made once the origin is known.
func (w *World) serve(h func(origin string) (http.Handler, error)) (origin string, err error) {
	ln, origin, err := w.listenAt(w.here())
	if err != nil {
		return "", err
	}
	return origin, w.serveOn(ln, origin, h)
}

func (w *World) serveOn(ln net.Listener, origin string, h func(origin string) (http.Handler, error)) error {
	handler, err := h(origin)
	if err != nil {
		ln.Close() // the first error says more
		return err
	}
	if w.Cluster != nil {
		ln = w.secure(ln)
	}
	w.serving(ln, handler)
	return nil
}

func (w *World) listenAt(address string) (net.Listener, string, error) {
	ln, err := service.Listen(address)
	if err != nil {
		return nil, "", err
	}
	scheme := "http://"
	if w.Cluster != nil {
		scheme = "https://"
	}
	at := ln.Addr().String()
	if host, _, err := net.SplitHostPort(address); err == nil && host == "localhost" { // by this name a browser has passkeys here
		_, port, err := net.SplitHostPort(at)
		return ln, scheme + net.JoinHostPort(host, port), err
	}
	return ln, scheme + at, nil
}

// here is where this process serves: with a port from the system.
func (w *World) here() string {
	if w.Cluster != nil {
		return net.JoinHostPort(w.Cluster.Host, "0")
	}
	return "127.0.0.1:0"
}

// Path is a file below Dir.
func (w *World) Path(parts ...string) string {
	return filepath.Join(append([]string{w.Dir}, parts...)...)
}

// AsCustodian are the arguments of `escrow custodian` in a custodian's name.
func (w *World) AsCustodian(id string, args ...string) []string {
	return slices.Concat([]string{"custodian"}, args, []string{
		"--home", w.Path("custodians", id), "--passphrase-file", PassphraseFile(w.Path("custodians", id))})
}

// Escrow runs the escrow program as its users do, and returns what it printed:
// standard output if it succeeded, standard error if not.
func (w *World) Escrow(ctx context.Context, args ...string) (said string, code int) {
	var out, errs strings.Builder
	if code := w.programs.Escrow(ctx, args, w.Clock.Now, &out, &errs); code != 0 {
		return strings.TrimSpace(errs.String()), code
	}
	return strings.TrimSpace(out.String()), 0
}

// do is Escrow, which has to succeed.
func (w *World) do(ctx context.Context, args ...string) (string, error) {
	said, code := w.Escrow(ctx, args...)
	if code != 0 {
		return "", errors.New(said)
	}
	return said, nil
}

// InstallBundle has every custodian endorse the rules in Dir/bundle.json, which
// raw are, on their own side, and puts them in force.
func (w *World) InstallBundle(ctx context.Context, raw []byte) error {
	var endorsements []string
	for _, c := range Custodians {
		said, err := w.do(ctx, w.AsCustodian(c.ID, "endorse", w.Path("bundle.json"), "--yes")...)
		if err != nil {
			return err
		}
		endorsements = append(endorsements, said)
	}
	return w.rules.Install(ctx, raw, endorsements)
}
