// Package oidcprovider runs npm's oidc-provider, an OpenID provider that nobody of
// this project wrote, for tests. Its people are alice, bert and carol, her namesake; its clients are penname
// (RS256) and one for each algorithm, such as penname-ES256: see server.mjs.
package oidcprovider

import (
	"bufio"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Secret is that of every client.
const Secret = "a secret: with % and + in it"

//go:embed server.mjs package.json package-lock.json
var files embed.FS

// Start starts a provider whose clients come back to redirectURI, and returns its
// address on loopback. That is its issuer too, unless another one is given: then a
// proxy with that name stands before it. It ends with the test. Without its tools a
// test is skipped, except in CI.
func Start(t testing.TB, redirectURI, issuer string) (address string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		unavailable(t, "install Node.js to run the test against oidc-provider: ", err)
	}
	if exec.Command(node, "-e", "process.exit(typeof URL.parse === 'function' ? 0 : 1)").Run() != nil {
		unavailable(t, "this Node.js is too old for oidc-provider, which asks for version 22: make setup installs one")
	}
	server := filepath.Join(t.TempDir(), "server.mjs")
	if err := copyOut("server.mjs", server); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, server, Install(t), redirectURI, issuer)
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
	t.Cleanup(func() {
		stdin.Close()               // it ends with its standard input
		io.Copy(io.Discard, stdout) //nolint:errcheck // what it still says is for nobody
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("oidc-provider: %v\n%s", err, &stderr)
		}
	})
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "http://127.0.0.1:") {
			return lines.Text()
		}
	}
	t.Fatal("oidc-provider did not start")
	return ""
}

// Install returns a node_modules directory with what package-lock.json pins,
// installed once into the user's cache.
func Install(t testing.TB) string {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		unavailable(t, "install npm to run the test against oidc-provider: ", err)
	}
	lock, err := files.ReadFile("package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		unavailable(t, err)
	}
	sum := sha256.Sum256(lock)
	dir := filepath.Join(cache, "penname", "oidc-provider-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(dir); err == nil {
		return filepath.Join(dir, "node_modules")
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), "installing-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	for _, name := range []string{"package.json", "package-lock.json"} {
		if err := copyOut(name, filepath.Join(fresh, name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = fresh
	if out, err := cmd.CombinedOutput(); err != nil {
		unavailable(t, "npm ci: ", err, "\n", string(out))
	}
	// Another test run may have been quicker: then its copy is as good.
	if err := os.Rename(fresh, dir); err != nil {
		if _, err := os.Stat(dir); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "node_modules")
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
