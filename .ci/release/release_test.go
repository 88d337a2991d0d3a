package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"

	escrow "github.com/penname/penname/cmd/escrow/command"
	escrowd "github.com/penname/penname/cmd/escrowd/command"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/policy"
)

// need fails in CI, and skips elsewhere, where a program is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil && os.Getenv("CI") == "true" {
			t.Fatal(err)
		} else if err != nil {
			t.Skip(err)
		}
	}
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	out, err := try(t, dir, nil, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func try(t *testing.T, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@a.example", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@a.example",
		"GIT_AUTHOR_DATE=2026-01-02T03:04:05Z", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// tagged is a checkout of this tree as it is, with what is not committed yet, as version
// v1.4.0.
func tagged(t *testing.T, folder string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), folder)
	root := strings.TrimSpace(run(t, "", "git", "rev-parse", "--show-toplevel"))
	for name := range strings.SplitSeq(strings.TrimSpace(run(t, root, "git", "ls-files", "-co", "--exclude-standard")), "\n") {
		b, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, and not committed yet
		}
		info, statErr := os.Stat(filepath.Join(root, name))
		if err := errors.Join(err, statErr, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	run(t, dir, "git", "init", "-q")
	run(t, dir, "git", "add", "-A")
	run(t, dir, "git", "commit", "-qm", "everything")
	run(t, dir, "git", "tag", "v1.4.0")
	return dir
}

// digests are those of all files in a folder.
func digests(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, b := range contents(t, dir) {
		all[name] = fmt.Sprintf("%x", sha256.Sum256(b))
	}
	return all
}

func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			all[strings.TrimPrefix(name, dir+"/")], err = os.ReadFile(name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestRelease makes the same release twice, in two folders and by two builders, and looks at
// what is in it, and at the packages of the other processor.
//
// CI=true has the second compile everything anew, and `make build` and the lines of the
// Dockerfile beside it.
func TestRelease(t *testing.T) {
	need(t, "git", "go", "lintian", "dpkg-deb", "ssh-keygen", "sha256sum")
	tool := filepath.Join(t.TempDir(), "release")
	if out, err := try(t, "", []string{"GOTOOLCHAIN=" + toolchain}, "go", "build", "-o", tool, "."); err != nil && os.Getenv("CI") != "true" {
		t.Skip(toolchain, " is not here: ", out)
	} else if err != nil {
		t.Fatal(err, out)
	}
	key := filepath.Join(t.TempDir(), "key")
	run(t, "", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "release@penname.example", "-f", key)
	one, two := tagged(t, "here"), tagged(t, "and/there")

	run(t, one, tool, "-arch", runtime.GOARCH, "-key", key, "v1.4.0")
	var fresh []string
	if os.Getenv("CI") == "true" {
		fresh = []string{"GOCACHE=" + t.TempDir()}
	}
	workspace := filepath.Join(t.TempDir(), "go.work")
	if err := os.WriteFile(workspace, []byte("go 1.26.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := append(fresh, "GOWORK="+workspace, "GOFIPS140=latest", "GOAMD64=v3", "TZ=Asia/Tokyo", "LC_ALL=C", "SOURCE_DATE_EPOCH=1")
	if out, err := try(t, two, other, "sh", "-c", `umask 077; exec "$0" "$@"`, tool, "-arch", runtime.GOARCH, "-key", key, "v1.4.0"); err != nil {
		t.Fatal(err, out)
	}
	first, second := digests(t, filepath.Join(one, "dist")), digests(t, filepath.Join(two, "dist"))
	if len(first) != 8 {
		t.Errorf("%d files: %v", len(first), first)
	}
	for name, digest := range first {
		if second[name] != digest {
			t.Errorf("%s is another one in another folder, by another builder", name)
		}
	}
	if fresh != nil {
		t.Run("image", func(t *testing.T) { inImage(t, two, fresh, programs(t, one)) })
		if out, err := try(t, two, append(fresh, "GOFLAGS=-mod=readonly"), "make", "build"); err != nil {
			t.Fatal(err, out)
		}
		for _, p := range programs(t, one) {
			if built := digests(t, filepath.Join(two, "bin"))[p.Name]; built != p.Digest {
				t.Errorf("make build makes another %s: %s", p.Name, built)
			}
		}
	}

	t.Run("signed", func(t *testing.T) { signed(t, filepath.Join(one, "dist"), key) })
	t.Run("both processors", func(t *testing.T) { both(t, tool, one) })
	t.Run("chart", func(t *testing.T) { inChart(t, one) })
	for _, p := range programs(t, one) {
		t.Run(p.Name, func(t *testing.T) { inPackage(t, one, p) })
	}
	t.Run("refused", func(t *testing.T) { refused(t, tool, one) })
}

// signed: the tools of a Debian without anything of ours verify what was published.
func signed(t *testing.T, dist, key string) {
	run(t, dist, "sha256sum", "--check", "--strict", "SHA256SUMS")
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	allowed := filepath.Join(t.TempDir(), "allowed")
	if err := os.WriteFile(allowed, append([]byte("release@penname.example "), public...), 0o600); err != nil {
		t.Fatal(err)
	}
	verify := func(list []byte) error {
		cmd := exec.CommandContext(t.Context(), "ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "release@penname.example", "-n", namespace, "-s", filepath.Join(dist, "SHA256SUMS.sig"))
		cmd.Stdin = bytes.NewReader(list)
		return cmd.Run()
	}
	list, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(list); err != nil {
		t.Error(err)
	}
	if verify(append(list, '\n')) == nil {
		t.Error("a changed list is signed")
	}
}

// both: what Debian's own tools say of the packages of both processors. Those of the other one
// are run by nobody here.
func both(t *testing.T, tool, dir string) {
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	run(t, dir, tool, "-out", "dist/other", "-arch", other, "v1.4.0")
	var debs []string
	for _, arch := range []string{runtime.GOARCH, "other/" + other} {
		folder, arch := filepath.Split(arch)
		for _, name := range []string{"penname-escrowd", "penname-tools"} {
			deb := filepath.Join(dir, "dist", folder, name+"_1.4.0-1_"+arch+".deb")
			debs = append(debs, deb)
			about := run(t, "", "dpkg-deb", "-I", deb)
			for _, line := range []string{"Package: " + name, "Version: 1.4.0-1", "Architecture: " + arch} {
				if !strings.Contains(about, "\n "+line+"\n") {
					t.Errorf("%s without %q: %s", deb, line, about)
				}
			}
			root := t.TempDir()
			run(t, "", "dpkg-deb", "-x", deb, root)
			info, err := buildinfo.ReadFile(filepath.Join(root, "usr/bin", map[string]string{"penname-escrowd": "escrowd", "penname-tools": "escrow"}[name]))
			if err != nil || info.GoVersion != toolchain || !slices.Contains(info.Settings, debug.BuildSetting{Key: "GOARCH", Value: arch}) {
				t.Errorf("%s: %v, %v", deb, info, err)
			}
		}
	}
	t.Log(run(t, "", "lintian", append([]string{"--fail-on", "error,warning"}, debs...)...))
}

// inImage: the lines of the Dockerfile's first stage make the program of the release, and
// refuse another one.
func inImage(t *testing.T, dir string, env []string, released []policy.Program) {
	b, err := os.ReadFile(filepath.Join(dir, "deploy/container/Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	set := regexp.MustCompile(`(?m)^ENV (CGO_ENABLED=.*)$`).FindSubmatch(b)
	root, lines := t.TempDir(), regexp.MustCompile(`(?m)^RUN (.*)$`).FindAllSubmatch(b, -1)
	if len(set) != 2 || len(lines) != 3 {
		t.Fatal(string(b))
	}
	digest := released[slices.IndexFunc(released, func(p policy.Program) bool { return p.Name == "escrowd" })].Digest
	env = append(append(env, strings.Fields(string(set[1]))...), "ESCROWD="+digest)
	for _, line := range lines {
		if out, err := try(t, dir, env, "sh", "-ec", strings.ReplaceAll(string(line[1]), "/out/", root+"/")); err != nil {
			t.Fatal(string(line[1]), err, out)
		}
	}
	check := strings.ReplaceAll(string(lines[1][1]), "/out/", root+"/")
	if out, err := try(t, dir, []string{"ESCROWD=" + strings.Repeat("0", 64)}, "sh", "-ec", check); err == nil {
		t.Error("another program goes into the image: ", out)
	}
}

// inChart: what is packed is the chart of this tree, but for its version.
func inChart(t *testing.T, dir string) {
	root := t.TempDir()
	run(t, root, "tar", "-xzf", filepath.Join(dir, "dist/penname-1.4.0.tgz"))
	have, want := contents(t, filepath.Join(root, "penname")), contents(t, filepath.Join(dir, "deploy/helm/penname"))
	if len(want) < 5 {
		t.Fatal(len(want))
	}
	about := string(have["Chart.yaml"])
	for _, line := range []string{"name: penname", "version: 1.4.0", "appVersion: v1.4.0"} {
		if !strings.Contains("\n"+about, "\n"+line+"\n") {
			t.Errorf("without %q: %s", line, about)
		}
	}
	have["Chart.yaml"] = []byte(strings.Replace(about, "version: 1.4.0\nappVersion: v1.4.0\n", "version: 0.1.0\n", 1))
	if !maps.EqualFunc(have, want, bytes.Equal) {
		t.Errorf("%q, not %q", have, want)
	}
}

// TestToolchain: whoever makes it anew is told which Go it takes, each time the same.
func TestToolchain(t *testing.T) {
	for name, pattern := range map[string]string{
		"Makefile": `GOTOOLCHAIN := go([0-9.]+)`, "deploy/container/Dockerfile": `golang:([0-9.]+)-`, "deploy/README.md": `(?:golang:|GOTOOLCHAIN=go)([0-9.]+)`,
	} {
		b, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile(pattern).FindAllSubmatch(b, -1)
		if len(named) == 0 {
			t.Errorf("%s names no Go", name)
		}
		for _, version := range named {
			if "go"+string(version[1]) != toolchain {
				t.Errorf("%s: %s", name, version[0])
			}
		}
	}
}

// TestKeyAtHome: a shell that leaves KEY=~/… as it is, as most do, finds the key all the same.
func TestKeyAtHome(t *testing.T) {
	home := filepath.Join(t.TempDir(), "of the builder")
	for key, want := range map[string]string{"~/.ssh/key": `-key "` + home + `/.ssh/key"`, "/keys/a~b/c": `-key "/keys/a~b/c"`} {
		if out, err := try(t, "../..", []string{"HOME=" + home}, "make", "-n", "release", "VERSION=v1.4.0", "KEY="+key); err != nil || !strings.Contains(out, want) {
			t.Errorf("%v, without %q: %s", err, want, out)
		}
	}
}

// programs are those of a release, as a draft of a bundle takes them.
func programs(t *testing.T, dir string) []policy.Program {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "dist/programs.toml"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var named struct{ Programs []policy.Program }
	if err := toml.NewDecoder(f).DisallowUnknownFields().Decode(&named); err != nil {
		t.Fatal(err)
	}
	if len(named.Programs) != 2 {
		t.Fatal(named)
	}
	return named.Programs
}

// inPackage: the package of a program has what the release says, a page of the manual and
// completions for each command, and nothing of the machine that made it, of the sandbox's
// people or of a secret key.
func inPackage(t *testing.T, dir string, p policy.Program) {
	of := map[string]string{"escrow": "penname-tools", "escrowd": "penname-escrowd"}[p.Name]
	deb := filepath.Join(dir, fmt.Sprintf("dist/%s_1.4.0-1_%s.deb", of, runtime.GOARCH))
	root := t.TempDir()
	run(t, "", "dpkg-deb", "--extract", deb, root)
	program := filepath.Join(root, "usr/bin", p.Name)
	if p.Version != "v1.4.0" || p.Platform != "linux/"+runtime.GOARCH || p.Digest != digests(t, filepath.Dir(program))[p.Name] {
		t.Errorf("%+v", p)
	}
	if said := run(t, "", program, "--version"); !strings.Contains(said, "v1.4.0") {
		t.Error(said)
	}
	materials(t, filepath.Join(dir, fmt.Sprintf("dist/%s_1.4.0_linux_%s.cdx.json", p.Name, runtime.GOARCH)), program)

	all, section := contents(t, root), "1"
	commands := escrow.Commands()
	if p.Name == "escrowd" {
		commands, section = escrowd.Commands(), "8"
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		page := fmt.Sprintf("usr/share/man/man%s/%s.%s.gz", section, strings.ReplaceAll(c.CommandPath(), " ", "-"), section)
		if c.IsAvailableCommand() && c.Name() != "help" && all[page] == nil {
			t.Errorf("there is no %s", page)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(commands)
	if page := plain(t, all["usr/share/man/man"+section+"/"+p.Name+"."+section+".gz"]); !strings.Contains(page, `\fB--version\fP`) && !strings.Contains(page, `\-\-version`) {
		t.Errorf("the manual has no --version: %s", page)
	}
	if changes := plain(t, all["usr/share/doc/"+of+"/changelog.gz"]); strings.Contains(changes, "Unreleased") || !strings.Contains(changes, "\n## v1.4.0, 2026-01-02\n") {
		t.Errorf("the changelog begins with %.60q", changes)
	}
	run(t, root, "bash", "-n", "usr/share/bash-completion/completions/"+p.Name)
	for name, line := range map[string]string{
		"usr/share/bash-completion/completions/" + p.Name: "complete -o default -F __start_" + p.Name + " " + p.Name,
		"usr/share/zsh/vendor-completions/_" + p.Name:     "#compdef " + p.Name, "usr/share/fish/vendor_completions.d/" + p.Name + ".fish": "complete -c " + p.Name + " -e",
	} {
		if b := all[name]; !regexp.MustCompile(`(?m)^\s*`+regexp.QuoteMeta(line)+`$`).Match(b) || strings.HasPrefix(line, "#compdef") && !bytes.HasPrefix(b, []byte(line)) {
			t.Errorf("%s has no %q: %.300s", name, line, b)
		}
	}
	canaries(t, dir, all)
	info, err := os.Stat(deb)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("figure: %s: %.1f MB, and %.1f MB installed, of which %s %.1f MB", of, float64(info.Size())/1e6, float64(total(all))/1e6, p.Name, float64(len(all["usr/bin/"+p.Name]))/1e6)
}

// plain is what was packed by gzip.
func plain(t *testing.T, packed []byte) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestChangesOfARelease: the newest of the changelog are the release's, under its version and day.
func TestChangesOfARelease(t *testing.T) {
	r := &release{version: "v1.4.0", at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for log, want := range map[string]string{
		"# Changelog\n\n## Unreleased\n\n- A.\n\n## v1.3.0, 2025-01-01\n": "# Changelog\n\n## v1.4.0, 2026-01-02\n\n- A.\n\n## v1.3.0, 2025-01-01\n",
		"# Changelog\n\n## v1.4.0, 2026-01-01\n":                          "# Changelog\n\n## v1.4.0, 2026-01-01\n",
		"# Changelog\n\n## v1.4.0\n":                                      "# Changelog\n\n## v1.4.0\n",
		"# Changelog\n\n## v1.4.0-rc.1\n":                                 "",
		"# Changelog\n\n## v1.4.0\n\n## Unreleased\n":                     "",
		"# Changelog\n\n## v1.3.0\n":                                      "",
	} {
		if got, err := r.changes([]byte(log)); string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", log, got, err)
		}
	}
}

func total(files map[string][]byte) (sum int) {
	for _, b := range files {
		sum += len(b)
	}
	return sum
}

var secret = regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/]{40}|AGE-SECRET-KEY-(PQ-)?1[0-9A-Z]{50}|"d": ?"[A-Za-z0-9_-]{40}|PRIVATE\+KEY\+[a-z.]+\+[0-9a-f]{8}\+`)

func canaries(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	cache := strings.TrimSpace(run(t, "", "go", "env", "GOMODCACHE"))
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	words := []string{dir, filepath.Dir(filepath.Dir(dir)), cache, filepath.Join(home, "go"), filepath.Join(home, ".cache")}
	for _, who := range sandbox.People() {
		street, _, _ := strings.Cut(who.Address, "\n")
		words = append(words, who.Name, who.Email, street)
	}
	if host, err := os.Hostname(); err == nil && len(host) > 8 {
		words = append(words, host)
	}
	words = slices.DeleteFunc(words, func(w string) bool { return w == "" })
	for name, b := range files {
		for _, w := range words {
			if bytes.Contains(b, []byte(w)) {
				t.Errorf("%s has %q", name, w)
			}
		}
		if found := secret.Find(b); found != nil {
			t.Errorf("%s has a secret key: %.40s", name, found)
		}
	}
	if !secret.MatchString(`{"kty":"OKP","d":"` + strings.Repeat("x", 43) + `"}`) {
		t.Error("a secret key is not found")
	}
}

// materials: the CycloneDX document names every module of the program, at its version, and
// itself by the digest of its file.
func materials(t *testing.T, name, program string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(f, cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	there := map[string]string{}
	for _, c := range *bom.Components {
		there[c.Name] = c.Version
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range info.Deps {
		if there[m.Path] != m.Version {
			t.Errorf("%s is %q, not %s", m.Path, there[m.Path], m.Version)
		}
	}
	if there["std"] != info.GoVersion || bom.Metadata.Component.Version != "v1.4.0" || len(there) != len(info.Deps)+1 {
		t.Errorf("Go %q, version %q, %d modules", there["std"], bom.Metadata.Component.Version, len(there))
	}
	said, err := json.Marshal(bom.Metadata.Properties)
	if digest := digests(t, filepath.Dir(program))[filepath.Base(program)]; err != nil || !strings.Contains(string(said), digest) {
		t.Errorf("%v: not of %s: %s", err, digest, said)
	}
}

// refused: nothing is made of a checkout that is not the tagged commit, over a release that
// is there, or without a version.
func refused(t *testing.T, tool, dir string) {
	refuses := func(why string, args ...string) {
		t.Helper()
		if out, err := try(t, dir, nil, tool, args...); err == nil || !strings.Contains(out, why) {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
	refuses("make release VERSION=v1.4.0")
	refuses("move it away", "v1.4.0")
	refuses("this checkout is not v1.5.0", "-out", "next", "-arch", runtime.GOARCH, "v1.5.0")
	refuses("KEY is no SSH key", "-out", "unsigned", "-key", "go.mod", "v1.4.0")
	refuses("KEY is no SSH key", "-out", "unsigned", "-key", "nowhere", "v1.4.0")
	refuses("parts", "-out", "half", "-arch", "parts", "v1.4.0")
	if err := os.WriteFile(filepath.Join(dir, "LICENSE"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses("LICENSE", "-out", "dirty", "-arch", runtime.GOARCH, "v1.4.0")
	for _, out := range []string{"next", "unsigned", "half", "dirty"} {
		if _, err := os.Stat(filepath.Join(dir, out)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", out, err)
		}
	}
}
