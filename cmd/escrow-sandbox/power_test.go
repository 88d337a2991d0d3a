//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penname/penname/cmd/escrow/command"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/robustness"
	"github.com/penname/penname/escrow/sandbox/world"
)

// TestF03PowerOfEverybodyFails: database, witnesses, custodians and with PENNAME_POWER
// Vault lie on one disk, whose power fails after each answer. What was answered holds when
// they are back: the person, the case, each decision, the package, and one log; and what a
// custodian's program sent before is refused when it is sent again (F29).
func TestF03PowerOfEverybodyFails(t *testing.T) {
	long := os.Getenv("PENNAME_POWER") != ""
	m := newPowered(t, long)
	st := &world.Case{World: m.World, Author: sandbox.People()[1]}
	troll := world.NewBrowser()
	if err := troll.Visit(t.Context(), m.Town, st.Author.Name); err != nil {
		t.Fatal(err)
	}
	var err error
	if st.Post, err = troll.Say(t.Context(), m.Town, "I will come for you tonight."); err != nil {
		t.Fatal(err)
	}
	if st.Evidence, err = st.SaveEvidence("evidence-threat.jws", st.Post); err != nil {
		t.Fatal(err)
	}
	overheard := &overhearing{}
	for i, act := range []func() error{
		func() error { return st.File(t.Context()) },
		func() error { return st.Approve(t.Context(), "alba") },
		func() error { return overheard.approve(t.Context(), st, "bruno") },
	} {
		if err := act(); err != nil {
			t.Fatal(err)
		}
		if i == 1 && !long {
			continue
		}
		m.off()
		m.on()
		st.World = m.World
		said, code := m.Escrow(t.Context(), "warrant", "status", st.ID, "--server", m.Origin)
		if want := []string{"0 of 2 custodians approved", "1 of 2 custodians approved", "released: 2 of 2"}[i]; code != 0 || !strings.Contains(said, want) {
			t.Fatalf("after act %d: exit %d: %s", i, code, said)
		}
		if said, code := m.Escrow(t.Context(), "log", "audit", "--bundle", m.Path("bundle.json"), "--server", m.Origin); code != 0 {
			t.Fatalf("after act %d: %s", i, said)
		}
		if err := m.Service.Disclosing.Store.Check(t.Context()); err != nil {
			t.Fatalf("after act %d: %v", i, err)
		}
	}
	if len(overheard.sent) == 0 {
		t.Error("nothing was overheard")
	}
	for _, r := range overheard.sent { // F29: what proved who sent it is used up, and stays so
		if a := r.again(t, m.Origin); a.StatusCode/100 != 4 {
			t.Errorf("%s %s was taken again: %s", r.method, r.path, a.Status)
		}
	}
	if got := leaves(t, m.World); got["decision"] != 2 || got["released"] != 1 {
		t.Errorf("the log has %v", got)
	}
	if err := st.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := world.NewBrowser()
	if err := again.Visit(t.Context(), m.Town, st.Author.Name); err != nil || !strings.Contains(again.Page.Body, string(st.Post.Author)) {
		t.Errorf("the pen name is another: %v", err)
	}
	if m.lost == 0 {
		t.Error("nothing was ever lost: the test shows nothing")
	}
}

// powered is a world in a folder on a disk whose power can fail.
type powered struct {
	*world.World // nil: the power is off
	t            *testing.T
	vault        bool
	folder       string
	disk         *robustness.Disk
	lost         int // pages and changes of folders
}

// newPowered makes a world, and then starts it on a disk: keys and rules of the sandbox,
// which is not under test, are on it.
func newPowered(t *testing.T, vault bool) *powered {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	folder, err := os.MkdirTemp("", "penname-power-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o711); err != nil { //nolint:gosec // the database runs as another user if we are root
		t.Fatal(err)
	}
	m := &powered{t: t, vault: vault, folder: folder}
	m.start(folder)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m.on()
	t.Cleanup(m.off)
	return m
}

func (m *powered) start(dir string) {
	m.t.Helper()
	var err error
	if m.World, err = world.Start(m.t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: io.Discard, Progress: os.Stderr,
		Keep: filepath.Join(dir, "world"), Vault: m.vault}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *powered) on() {
	m.t.Helper()
	dir, err := os.MkdirTemp("", "penname-disk-")
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { os.Remove(dir) })
	if m.disk, err = robustness.Mount(m.folder, dir); err != nil {
		m.t.Fatal(err)
	}
	m.start(dir)
	m.disk.Sync() // what the sandbox itself writes
}

func (m *powered) off() {
	m.t.Helper()
	m.disk.Cut()
	if m.World != nil {
		m.Close() //nolint:errcheck // they end in the dark
	}
	m.World = nil
	pages, changes, err := m.disk.Lose(rand.New(rand.NewPCG(uint64(m.lost), 0))) //nolint:gosec // to be repeated
	if err != nil {
		m.t.Fatal(err)
	}
	m.lost += pages + changes
	m.t.Logf("power failed: %d pages and %d changes of folders lost", pages, changes)
}

// overhearing is somebody between a custodian and the registrar, who keeps what is sent with
// a proof of who sends it.
type overhearing struct{ sent []overheard }

type overheard struct {
	method, path string
	header       http.Header
	body         []byte
}

// RoundTrip implements http.RoundTripper.
func (o *overhearing) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("DPoP") != "" {
		var body []byte
		if r.Body != nil {
			var err error
			if body, err = io.ReadAll(r.Body); err != nil {
				return nil, err
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		o.sent = append(o.sent, overheard{r.Method, r.URL.Path, r.Header.Clone(), body})
	}
	return http.DefaultTransport.RoundTrip(r)
}

// approve is [world.Case.Approve] over a line that is overheard.
func (o *overhearing) approve(ctx context.Context, st *world.Case, custodian string) error {
	for _, verb := range []string{"review", "approve"} {
		var out strings.Builder
		if command.Run(ctx, st.AsCustodian(custodian, verb, st.ID), command.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Now: st.Clock.Now,
			Ask: agrees, HTTP: &http.Client{Transport: o}}) != 0 {
			return errors.New(out.String())
		}
	}
	return nil
}

// again sends it once more.
func (r overheard) again(t *testing.T, origin string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, origin+r.path, bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = r.header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp
}
