package container

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/dockerignore"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// stages are those of the Dockerfile, as Docker's own builder reads them.
func stages(t *testing.T) []instructions.Stage {
	t.Helper()
	f, err := os.Open("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parsed, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed.Warnings) > 0 {
		t.Error(parsed.Warnings)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, description, url, message string, _ []parser.Range) {
		t.Errorf("%s: %s", rule, message)
	}})
	all, _, err := instructions.Parse(parsed.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDockerfile: what Docker's own parser and linter make of the file. The image is what
// one COPY brings, runs as a number that is nobody, and names its program itself.
func TestDockerfile(t *testing.T) {
	all := stages(t)
	last := all[len(all)-1]
	if len(all) != 2 || last.BaseName != "scratch" {
		t.Fatalf("%d stages, the last from %s", len(all), last.BaseName)
	}
	copies, user := 0, ""
	for _, c := range last.Commands {
		switch c := c.(type) {
		case *instructions.CopyCommand:
			copies++
			if c.From != "build" || !slices.Equal(c.SourcePaths, []string{"/out/"}) || c.DestPath != "/" {
				t.Error(c)
			}
		case *instructions.UserCommand:
			user = c.User
		case *instructions.EntrypointCommand:
			if c.PrependShell || !slices.Equal(c.CmdLine, []string{"/usr/bin/escrowd"}) {
				t.Error(c)
			}
		case *instructions.CmdCommand:
			if c.PrependShell || c.CmdLine[0] != "serve" {
				t.Error(c)
			}
		case *instructions.EnvCommand:
		default:
			t.Errorf("in the image: %s", c.Name())
		}
	}
	uid, _, _ := strings.Cut(user, ":")
	if n, err := strconv.Atoi(uid); err != nil || n < 1000 || copies != 1 {
		t.Errorf("user %q, %d copies", user, copies)
	}
	f, err := os.Open("Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	left, err := dockerignore.ReadAll(f)
	if err != nil || slices.Contains(left, ".git") {
		t.Error("the commit is not stamped: ", left, err)
	}
}

// TestImage makes what the image would hold by the lines of the Dockerfile's first stage, in
// a folder, and runs the program in it as its only content. No Docker made or ran it.
func TestImage(t *testing.T) {
	root := t.TempDir()
	ran := 0
	for _, c := range stages(t)[0].Commands {
		run, ok := c.(*instructions.RunCommand)
		if !ok {
			continue
		}
		ran++
		cmd := exec.CommandContext(t.Context(), "sh", "-ec", strings.ReplaceAll(strings.Join(run.CmdLine, " "), "/out/", root+"/"))
		cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatal(run, err, string(out))
		}
	}
	size, files := int64(0), 0
	err := filepath.Walk(root, func(name string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			size, files = size+info.Size(), files+1
		}
		return err
	})
	if err != nil || ran != 3 || files != 2 {
		t.Errorf("%d lines, %d files, %v", ran, files, err)
	}
	t.Logf("figure: the image: %.1f MB, %d files", float64(size)/1e6, files)
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("only root changes the root")
		}
		t.Skip("only root changes the root")
	}
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	in := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "chroot", append([]string{"--userspec=65532:65532", root, "/usr/bin/escrowd"}, args...)...)
		cmd.Env = []string{"GOTRACEBACK=crash"}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := in("serve", "--example-config"); err != nil || !strings.Contains(out, "[disclose]") {
		t.Error(err, out)
	}
	if out, err := in("serve", "--config", "/etc/penname/escrowd.toml"); err == nil || !strings.Contains(out, "config.no_file") {
		t.Error(err, out)
	}
}

// TestCompose: what Compose itself makes of the file on each machine. Each process has the
// rights of its side alone, and nothing starts without an image that is named.
func TestCompose(t *testing.T) {
	load := func(profile string, env ...string) (*types.Project, error) {
		o, err := cli.NewProjectOptions([]string{"compose.yaml"}, cli.WithEnv(env), cli.WithProfiles([]string{profile}))
		if err != nil {
			t.Fatal(err)
		}
		return o.LoadProject(t.Context())
	}
	env := []string{"PENNAME_IMAGE=registry.example/penname@sha256:" + strings.Repeat("a", 64), "ISSUING=101:201", "DISCLOSING=102:202", "KEEPING=103:203"}
	seen := 0
	for profile, users := range map[string]map[string]string{"one": {"issuing": "101:201"}, "two": {"disclosing": "102:202", "keeping": "103:203"}} {
		p, err := load(profile, env...)
		if err != nil {
			t.Fatal(err)
		}
		for name, s := range p.Services {
			seen++
			side, n, _ := strings.Cut(name, "-")
			config := "/etc/penname/" + side + "-" + n + ".toml"
			if s.User != users[side] || !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Privileged {
				t.Errorf("%s may too much: %+v", name, s)
			}
			if s.Ulimits["core"].Single != 0 || s.Restart != "unless-stopped" {
				t.Errorf("%s: %+v", name, s)
			}
			if !slices.Equal(s.Command, []string{"serve", "--config", config}) || !slices.Equal(s.HealthCheck.Test, []string{"CMD", "/usr/bin/escrowd", "status", "--config", config}) {
				t.Errorf("%s: %v, %v", name, s.Command, s.HealthCheck.Test)
			}
			for _, v := range s.Volumes {
				if v.Target != "/etc/penname" && v.Target != "/var/lib/penname/"+side || v.Source != v.Target || v.ReadOnly != (v.Target == "/etc/penname") || bool(v.Bind.CreateHostPath) {
					t.Errorf("%s: %+v", name, v)
				}
			}
		}
	}
	if seen != 6 {
		t.Errorf("%d processes", seen)
	}
	if _, err := load("one", env[1:]...); err == nil || !strings.Contains(err.Error(), "the image, by its digest") {
		t.Errorf("it starts without an image: %v", err)
	}
	p, err := load("two", env[:1]...)
	if err != nil || p.Services["keeping-1"].User != "65532:65532" {
		t.Errorf("it starts as somebody that nobody named: %v", err)
	}
}
