// Package oidcprovider runs npm's oidc-provider, an OpenID provider that nobody of
// this project wrote, for tests. Its people are alice, bert and carol, her namesake; its clients are penname
// (RS256) and one for each algorithm, such as penname-ES256: see server.mjs.
package oidcprovider

import (
	"bufio"
	"embed"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/sandbox"
)

// Secret is that of every client.
const Secret = "a secret: with % and + in it"

//go:embed server.mjs peer.mjs package.json package-lock.json
var files embed.FS

// Start starts a provider whose clients come back to redirectURI, and returns its
// address on loopback. That is its issuer too, unless another one is given: then a
// proxy with that name stands before it. It ends with the test. Without its tools a
// test is skipped, except in CI.
func Start(t testing.TB, redirectURI, issuer string) (address string) {
	t.Helper()
	return run(t, "server.mjs", redirectURI, issuer)
}

// Peer is Start of a provider to measure Penname beside: see peer.mjs. Its clients are one and two.
func Peer(t testing.TB, redirectURI string) (issuer string) {
	t.Helper()
	return run(t, "peer.mjs", redirectURI)
}

// run runs one of files and returns the address that it says.
func run(t testing.TB, file string, args ...string) (address string) {
	t.Helper()
	modules := Install(t)
	server := filepath.Join(t.TempDir(), file)
	if err := copyOut(file, server); err != nil {
		t.Fatal(err)
	}
	for range 3 { // Node.js has been seen to hang at its start, before it ran a line of ours
		if address = start(t, append([]string{server, modules}, args...)...); address != "" {
			return address
		}
	}
	t.Fatal("oidc-provider did not start")
	return ""
}

// startTime is how long a provider may take to say its address: it takes a second.
const startTime = time.Minute

// start starts a provider and returns its address; empty if it says none in time.
func start(t testing.TB, args ...string) string {
	t.Helper()
	cmd := exec.Command("node", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	hangs := time.AfterFunc(startTime, func() { cmd.Process.Kill() }) //nolint:errcheck // it may have ended
	t.Cleanup(func() {
		stdin.Close()               // it ends with its standard input
		io.Copy(io.Discard, stdout) //nolint:errcheck // what it still says is for nobody
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("oidc-provider: %v\n%s", err, &stderr)
		}
	})
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "http://127.0.0.1:") && hangs.Stop() {
			return lines.Text()
		}
	}
	return ""
}

// Install returns a node_modules directory with what package-lock.json pins,
// installed once into the user's cache.
func Install(t testing.TB) string {
	t.Helper()
	modules, err := sandbox.NodeModules(t.Context(), files)
	if err != nil {
		unavailable(t, err)
	}
	return modules
}

func copyOut(name, to string) error {
	b, err := files.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// unavailable skips a test whose tools are missing, except in CI, where a skip
// would hide that nothing was tested.
func unavailable(t testing.TB, reason ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason...)
	}
	t.Skip(reason...)
}
