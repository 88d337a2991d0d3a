package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sys/unix"

	escrow "github.com/penname/penname/cmd/escrow/command"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/sandbox/world"
	"github.com/penname/penname/verifier/token"
)

// running is a sandbox that is up, as --json tells it.
type running struct {
	ready
	stop func() int    // its exit code
	errs *bytes.Buffer // what it said; once it has stopped
}

// startSandbox runs the program until it is ready.
func startSandbox(t *testing.T, args ...string) running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, w := io.Pipe()
	errs := &bytes.Buffer{}
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, append(args, "--json"), w, errs)
		w.Close()
		ended <- code
	}()
	r := running{errs: errs, stop: func() int {
		cancel()
		code := <-ended
		ended <- code
		return code
	}}
	t.Cleanup(func() { r.stop() })
	if err := json.NewDecoder(out).Decode(&r.ready); err != nil {
		t.Fatalf("%v: exit code %d: %s", args, r.stop(), errs.String())
	}
	go io.Copy(io.Discard, out) //nolint:errcheck // what follows the object, its end of line too: nobody else reads it
	return r
}

// keepDir is a folder that the database's user can reach, too.
func keepDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "penname-kept-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // root's PostgreSQL runs as another user
		t.Fatal(err)
	}
	return filepath.Join(dir, "world")
}

// ownClient is somebody's web server, with an ordinary OpenID Connect client and nothing
// of ours.
type ownClient struct {
	redirect string
	back     chan string // what the browser brought to the callback
}

func startOwnClient(t *testing.T) *ownClient {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := &ownClient{"http://localhost:" + port + "/callback", make(chan string, 1)}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // a test's
		c.back <- r.URL.Query().Get("state") + " " + r.URL.Query().Get("code")
		fmt.Fprint(w, "signed in")
	})}
	go srv.Serve(ln) //nolint:errcheck // ends with the test
	t.Cleanup(func() { srv.Close() })
	return c
}

// signIn is a whole sign-in of a person with a new browser. It returns sub.
func (c *ownClient) signIn(t *testing.T, r running, person string) string {
	t.Helper()
	ctx, me := t.Context(), r.Clients[0]
	provider, err := oidc.NewProvider(ctx, r.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	config := oauth2.Config{ClientID: me.ID, ClientSecret: me.Secret, Endpoint: provider.Endpoint(), RedirectURL: c.redirect, Scopes: []string{oidc.ScopeOpenID}}
	verifier := oauth2.GenerateVerifier()
	b := world.NewBrowser()
	err = errors.Join(b.Open(ctx, config.AuthCodeURL("some-state", oidc.Nonce("some-nonce"), oauth2.S256ChallengeOption(verifier))),
		b.ProveIdentity(ctx, person))
	if err == nil {
		err = b.Press(ctx, "Sign in to "+me.Name, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	state, code, _ := strings.Cut(<-c.back, " ")
	if state != "some-state" {
		t.Fatal("another state came back")
	}
	tokens, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	id, err := provider.Verifier(&oidc.Config{ClientID: me.ID, SupportedSigningAlgs: []string{cmp.Or(me.IDTokenAlg, "RS256")}}).Verify(ctx, raw)
	if err != nil || id.Nonce != "some-nonce" || !strings.HasPrefix(id.Subject, "pen1") {
		t.Fatalf("%v: %+v", err, id)
	}
	return id.Subject
}

// N5: who wanted to try their own client could not: the sandbox printed no client secret and
// took no platform. Now an ordinary client signs people in with what it prints, and after a
// restart with what it printed before.
func TestFoundN5AClientOfOnesOwn(t *testing.T) {
	client, dir := startOwnClient(t), keepDir(t)
	platform := "id=my-app,name=My App,id_token_alg=EdDSA,redirect=" + client.redirect + ",redirect=https://my-app.example/back"
	first := startSandbox(t, "--platform", platform, "--platform", "id=phone,redirect=com.example.phone:/back,native=true", "--keep", dir)
	if len(first.Clients) != 2 || first.Clients[0].Secret == "" || first.Clients[1].Secret != "" || first.Discovery != first.Issuer+"/.well-known/openid-configuration" {
		t.Fatalf("%+v", first.ready)
	}
	if _, err := os.Stat(first.Clients[0].EvidenceKey); err != nil || !strings.HasSuffix(first.Audit, " --server "+first.Issuer) {
		t.Error(err, first.Audit)
	}
	jo, troll := sandbox.People()[0].Name, sandbox.People()[1].Name
	before := []string{client.signIn(t, first, jo), client.signIn(t, first, troll), client.signIn(t, first, jo)}
	if before[0] != before[2] || before[0] == before[1] {
		t.Error("one person, one pen name:", before)
	}
	if code := first.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}

	second := startSandbox(t, "--keep", dir) // the client needs no new set-up, nor to be named again
	if second.Issuer != first.Issuer || !slices.EqualFunc(second.Clients, first.Clients, func(a, b readyClient) bool { return a.ID == b.ID && a.Secret == b.Secret }) {
		t.Errorf("not the same world: %+v", second.ready)
	}
	if after := []string{client.signIn(t, second, jo), client.signIn(t, second, troll)}; !slices.Equal(after, before[:2]) {
		t.Errorf("other pen names after a restart: %v, %v", before, after)
	}
	second.stop()

	// Another redirect URI for the same client, whose secret stays.
	third := startSandbox(t, "--keep", dir, "--platform", "id=my-app,redirect=http://localhost:1/elsewhere")
	if third.Clients[0].Secret != first.Clients[0].Secret || third.Clients[0].RedirectURIs[0] != "http://localhost:1/elsewhere" {
		t.Errorf("%+v", third.Clients)
	}
}

// N5: a world in which the story was played goes on with its case, and with a platform that
// joins it, which its rules then name.
func TestFoundN5AWorldGoesOn(t *testing.T) {
	for _, withVault := range []bool{false, true} {
		t.Run(map[bool]string{false: "keyring", true: "vault"}[withVault], func(t *testing.T) {
			args := []string{"--keep", keepDir(t)}
			if withVault {
				args = append(args, "--vault")
			}
			first := startSandbox(t, args...)
			first.stop()
			second := startSandbox(t, append(args, "--platform", "id=my-app,redirect=http://localhost:3000/callback")...)
			if second.Case == "" || second.Case != first.Case {
				t.Fatalf("%q is not %q", second.Case, first.Case)
			}
			chidi := filepath.Join(second.Folder, "custodians", "chidi")
			name, err := token.NewPseudonym(make([]byte, 16))
			if err != nil {
				t.Fatal(err)
			}
			bundle := filepath.Join(second.Folder, "bundle.json")
			for _, args := range [][]string{
				{"warrant", "status", second.Case, "--server", second.Issuer},
				{"custodian", "review", second.Case, "--home", chidi, "--passphrase-file", world.PassphraseFile(chidi)},
				{"custodian", "approve", second.Case, "--home", chidi, "--passphrase-file", world.PassphraseFile(chidi)},
				{"log", "audit", "--bundle", bundle, "--server", second.Issuer},
				{"log", "notices", "--pen-name", string(name), "--platform", "my-app", "--bundle", bundle, "--server", second.Issuer},
			} {
				var said bytes.Buffer
				env := escrow.System()
				env.Stdout, env.Stderr, env.Ask = &said, &said, agrees
				if code := escrow.Run(t.Context(), args, env); code != 0 {
					t.Errorf("%v: %s", args, said.String())
				}
			}
			second.stop()
			startSandbox(t, args...).stop() // and once more, under the newer rules
		})
	}
}

// N5: what a folder is not good for is said, and nothing of it is touched.
func TestFoundN5FoldersThatAreRefused(t *testing.T) {
	dir := keepDir(t)
	my := "id=my-app,redirect=http://localhost:3000/callback"
	first := startSandbox(t, "--platform", my, "--keep", dir)
	refused := func(code int, says string, args ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if got := run(ctx, args, &out, &errs); got != code || !strings.Contains(errs.String(), says) {
			t.Errorf("%v: exit code %d, %s", args, got, errs.String())
		}
	}
	refused(1, "sandbox.in_use: ", "--keep", dir)
	first.stop()
	refused(1, "sandbox.other_settings: ", "--keep", dir, "--vault")
	refused(1, "sandbox.other_settings: ", "--keep", dir, "--listen", "127.0.0.1:1")

	at := strings.TrimPrefix(first.Issuer, "http://")
	busy, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	refused(1, "cannot move", "--keep", dir)
	refused(1, "cannot move", "--keep", dir, "--listen", at)
	busy.Close()

	state := filepath.Join(dir, "world.json")
	kept, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{strings.Replace(string(kept), `"format": 1`, `"format": 2`, 1), "{}", "[", ""} {
		if err := os.WriteFile(state, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(1, "sandbox.other_version: ", "--keep", dir)
		if now, err := os.ReadFile(state); err != nil || string(now) != other {
			t.Error("it was touched", err)
		}
	}
	if err := os.WriteFile(state, kept, 0o600); err != nil {
		t.Fatal(err)
	}
	if again := startSandbox(t, "--keep", dir); again.Clients[0].Secret != first.Clients[0].Secret {
		t.Error("another secret")
	} else {
		again.stop()
	}

	mine := t.TempDir()
	if err := os.WriteFile(filepath.Join(mine, "thesis.tex"), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(1, "sandbox.not_a_sandbox: ", "--keep", mine)
	refused(1, "sandbox.not_a_sandbox: ", "--keep", filepath.Join(mine, "thesis.tex"))
	refused(1, "thesis.tex is no folder", "--keep", filepath.Join(mine, "thesis.tex"))
	if b, err := os.ReadFile(filepath.Join(mine, "thesis.tex")); err != nil || string(b) != "kept" {
		t.Error("it was touched", err)
	}
	// A start that was cut off leaves a folder without world.json, which the next one makes anew.
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	if anew := startSandbox(t, "--keep", dir, "--platform", my); anew.Clients[0].Secret == first.Clients[0].Secret {
		t.Error("not made anew")
	} else {
		anew.stop()
	}

	for _, uri := range []string{"http://my-app.example/back", "http://localhost.example/back", "http://*/back", "http://localhost:3000/#a", "my-app:/back", "localhost:3000/callback"} {
		refused(2, "redirect="+uri+" cannot be a redirect URI", "--platform", "id=my-app,redirect="+uri)
	}
	refused(2, "redirect= cannot be a redirect URI", "--platform", "id=a,redirect=http://localhost:3000/,redirect=")
	refused(2, "town-square is a demo platform", "--platform", "id=town-square,redirect=http://localhost:3000/")
	refused(2, "id=a is given twice", "--platform", "id=a,redirect=http://localhost:3000/", "--platform", "id=a,redirect=http://localhost:3001/")
	refused(2, "--platform needs redirect=", "--platform", "id=my-app")
	refused(2, "id is of small letters", "--platform", "id=My App,redirect=http://localhost:3000/")
	refused(2, "native is true or false", "--platform", "id=a,redirect=http://localhost:3000/,native=yes")
	refused(2, "username is true or false", "--platform", "id=a,redirect=http://localhost:3000/,username=yes")
	refused(2, "email is true or false", "--platform", "id=a,redirect=http://localhost:3000/,email=a@b.example")
	refused(2, "id_token_alg is RS256 or EdDSA", "--platform", "id=a,redirect=http://localhost:3000/,id_token_alg=ES256")
	refused(2, "--once plays the story", "--platform", "id=a,redirect=http://localhost:3000/", "--once")
}

// sandboxEnv makes the test binary the program itself.
const sandboxEnv = "PENNAME_TEST_SANDBOX"

// spawn starts the program as a process of its own, with its own folder for what is
// temporary, and returns when it is ready.
func spawn(t *testing.T, tmp string, args ...string) (*exec.Cmd, ready) {
	t.Helper()
	cmd := exec.Command(os.Args[0], append(args, "--json")...)
	cmd.Env = append(os.Environ(), sandboxEnv+"=1", "TMPDIR="+tmp)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() }) //nolint:errcheck // it has ended
	var r ready
	if err := json.NewDecoder(out).Decode(&r); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, out) //nolint:errcheck // ends with it
	return cmd, r
}

// N5: a world whose process was killed goes on at once: its database recovers, and its folder
// is not taken for one that is in use.
func TestFoundN5AKilledWorldGoesOn(t *testing.T) {
	client, dir := startOwnClient(t), keepDir(t)
	cmd, before := spawn(t, filepath.Dir(dir), "--platform", "id=my-app,redirect="+client.redirect, "--keep", dir)
	jo := sandbox.People()[0].Name
	name := client.signIn(t, running{ready: before}, jo)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait() //nolint:errcheck // it was killed
	after := startSandbox(t, "--keep", dir)
	if again := client.signIn(t, after, jo); again != name || after.Issuer != before.Issuer {
		t.Errorf("%s was %s, at %s", again, name, after.Issuer)
	}
}

// N5: whatever ends the sandbox, no child and no folder stays: a signal that it can catch at
// once, SIGKILL by the next start.
func TestFoundN5NothingStaysBehind(t *testing.T) {
	tmp := filepath.Dir(keepDir(t))
	start := func(vault bool) (*exec.Cmd, []int) {
		t.Helper()
		cmd, _ := spawn(t, tmp, "--platform", "id=a,redirect=http://localhost:3000/", "--vault="+strconv.FormatBool(vault))
		return cmd, descendants(t, cmd.Process.Pid)
	}
	left := func() []string {
		found, err := filepath.Glob(filepath.Join(tmp, "penname-*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGKILL} {
		cmd, children := start(s == syscall.SIGTERM || s == syscall.SIGKILL)
		if len(children) < 6 { // PostgreSQL with its processes and its reaper, and Vault
			t.Errorf("%s: only %d processes were found", s, len(children))
		}
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		err := cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); s != syscall.SIGKILL && (err != nil || code != 0) {
			t.Errorf("%s: exit code %d", s, code)
		}
		for _, pid := range children {
			awaitEnd(t, s, pid)
		}
		if s != syscall.SIGKILL {
			if found := left(); len(found) > 0 {
				t.Errorf("%s: %v are left", s, found)
			}
		}
	}
	if len(left()) == 0 {
		t.Error("SIGKILL left nothing: the next check checks nothing")
	}
	cmd, _ := start(true)
	if found := left(); len(found) != 3 {
		t.Errorf("beside those of the one that runs, others are left: %v", found)
	}
	if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait()); err != nil {
		t.Error(err)
	}
}

// descendants are the processes below one.
func descendants(t *testing.T, of int) (all []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	children := map[int][]int{}
	for _, name := range stats {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		after := raw[bytes.LastIndexByte(raw, ')')+1:]
		parent, perr := strconv.Atoi(strings.Fields(string(after))[1])
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err := errors.Join(perr, err); err != nil {
			t.Fatal(err)
		}
		children[parent] = append(children[parent], pid)
	}
	all = slices.Clone(children[of])
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// awaitEnd waits until a process has ended, which is not ours to reap.
func awaitEnd(t *testing.T, s syscall.Signal, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); err != nil || n == 0 {
		t.Errorf("%s: the process %d is left: %v", s, pid, err)
	}
}
