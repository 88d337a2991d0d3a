package clients

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/sandbox"
)

// tools is a folder with the apps of testdata, and what they stand on.
type tools struct {
	dir      string // apps, node_modules, bin
	chromium string // the browser's program
}

// environ is the apps' environment: the programs that were built for them are found.
func (s tools) environ() []string {
	return append(os.Environ(), "PATH="+filepath.Join(s.dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// Where a client comes from.
type source int

const (
	fromNPM source = iota
	fromGo
	fromDebian
)

// version is that of a package.
type version struct {
	from source
	name string
}

func npm(name string) version    { return version{fromNPM, name} }
func module(name string) version { return version{fromGo, name} }
func debian(name string) version { return version{fromDebian, name} }

func node(app string) []string      { return []string{"node", app + ".mjs"} }
func goProgram(app string) []string { return []string{"./bin/" + app} }

func (v version) of(t *testing.T, tools tools) string {
	t.Helper()
	var out []byte
	var err error
	switch v.from {
	case fromNPM:
		var pkg struct{ Version string }
		if out, err = os.ReadFile(filepath.Join(tools.dir, "node_modules", v.name, "package.json")); err == nil {
			err = json.Unmarshal(out, &pkg)
		}
		out = []byte(pkg.Version)
	case fromGo:
		cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Version}}", v.name)
		cmd.Dir = filepath.Join("testdata", "go")
		out, err = cmd.Output()
	case fromDebian:
		out, err = exec.CommandContext(t.Context(), "dpkg-query", "--show", "--showformat=${Version}", v.name).Output()
	}
	if err != nil {
		t.Fatal(v.name, ": ", err)
	}
	return strings.TrimSpace(string(out))
}

// install brings the apps and what they stand on into one folder.
func install(t *testing.T, clients []client) tools {
	t.Helper()
	s := tools{dir: t.TempDir()}
	for _, from := range []string{"npm", "go", "debian"} {
		if err := os.CopyFS(s.dir, os.DirFS(filepath.Join("testdata", from))); err != nil {
			t.Fatal(err)
		}
	}
	modules, err := sandbox.NodeModules(t.Context(), os.DirFS(filepath.Join("testdata", "npm")))
	if err != nil {
		unavailable(t, err)
	}
	if err := os.Symlink(modules, filepath.Join(s.dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	var packages []string
	for _, c := range clients {
		if c.browser {
			packages = append(packages, "./chromium")
			s.chromium = find(t, "chromium-headless-shell", "chromium", "google-chrome")
		}
		switch {
		case c.version.from == fromGo && c.command[0] == "./oauth2-proxy.sh":
			packages = append(packages, c.version.name)
		case c.version.from == fromGo:
			packages = append(packages, "./"+filepath.Base(c.command[0]))
		}
	}
	if len(packages) == 0 {
		return s
	}
	build := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"build", "-o", filepath.Join(s.dir, "bin") + "/"}, packages)...)
	build.Dir = filepath.Join("testdata", "go")
	if out, err := build.CombinedOutput(); err != nil {
		unavailable(t, err, ": ", string(out))
	}
	return s
}

func find(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("none is installed: ", names)
	return ""
}

// unavailable skips a test whose tools are missing, except in CI, where a skip
// would hide that nothing was tested.
func unavailable(t *testing.T, reason ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" || *all {
		t.Fatal(reason...)
	}
	t.Skip(reason...)
}
