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
	if _, err := os.Stat("/dev/fuse"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	long := os.Getenv("PENNAME_POWER") != ""
	folder, err := os.MkdirTemp("", "penname-power-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	kept := filepath.Join(folder, "world")
	if err := os.MkdirAll(kept, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(folder, 0o711); err != nil { //nolint:gosec // the database runs as another user if we are root
		t.Fatal(err)
	}
	var disk *robustness.Disk
	var w *world.World
	start := func(dir string) {
		t.Helper()
		w = nil
		if w, err = world.Start(t.Context(), programs, world.Options{Listen: "127.0.0.1:0", Log: io.Discard, Progress: os.Stderr,
			Keep: filepath.Join(dir, "world"), Vault: long}); err != nil {
			t.Fatal(err)
		}
	}
	start(folder)
	if err := w.Close(); err != nil { // keys and rules of the sandbox, which is not under test
		t.Fatal(err)
	}
	on := func() {
		t.Helper()
		dir, err := os.MkdirTemp("", "penname-disk-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(dir) })
		if disk, err = robustness.Mount(folder, dir); err != nil {
			t.Fatal(err)
		}
		start(dir)
		disk.Sync() // what the sandbox itself writes
	}
	lost := 0
	off := func() {
		t.Helper()
		disk.Cut()
		if w == nil {
			return
		}
		w.Close()                                                                //nolint:errcheck // they end in the dark
		pages, changes, err := disk.Lose(rand.New(rand.NewPCG(uint64(lost), 0))) //nolint:gosec // to be repeated
		if err != nil {
			t.Fatal(err)
		}
		lost += pages + changes
		t.Logf("power failed: %d pages and %d changes of folders lost", pages, changes)
	}
	t.Cleanup(func() { off() })
	on()
	st := &world.Case{World: w, Author: sandbox.People()[1]}
	troll := world.NewBrowser()
	if err := troll.Visit(t.Context(), w.Town, st.Author.Name); err != nil {
		t.Fatal(err)
	}
	if st.Post, err = troll.Say(t.Context(), w.Town, "I will come for you tonight."); err != nil {
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
		off()
		on()
		st.World = w
		said, code := w.Escrow(t.Context(), "warrant", "status", st.ID, "--server", w.Origin)
		if want := []string{"0 of 2 custodians approved", "1 of 2 custodians approved", "released: 2 of 2"}[i]; code != 0 || !strings.Contains(said, want) {
			t.Fatalf("after act %d: exit %d: %s", i, code, said)
		}
		if said, code := w.Escrow(t.Context(), "log", "audit", "--bundle", w.Path("bundle.json"), "--server", w.Origin); code != 0 {
			t.Fatalf("after act %d: %s", i, said)
		}
		if err := w.Service.Disclosing.Store.Check(t.Context()); err != nil {
			t.Fatalf("after act %d: %v", i, err)
		}
	}
	if len(overheard.sent) == 0 {
		t.Error("nothing was overheard")
	}
	for _, r := range overheard.sent { // F29: what proved who sent it is used up, and stays so
		if a := r.again(t, w.Origin); a.StatusCode/100 != 4 {
			t.Errorf("%s %s was taken again: %s", r.method, r.path, a.Status)
		}
	}
	if got := leaves(t, w); got["decision"] != 2 || got["released"] != 1 {
		t.Errorf("the log has %v", got)
	}
	if err := st.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := world.NewBrowser()
	if err := again.Visit(t.Context(), w.Town, st.Author.Name); err != nil || !strings.Contains(again.Page.Body, string(st.Post.Author)) {
		t.Errorf("the pen name is another: %v", err)
	}
	if lost == 0 {
		t.Error("nothing was ever lost: the test shows nothing")
	}
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
