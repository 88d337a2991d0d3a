// Release makes what is published of a version: packages for Debian, the digests of the
// programs in them, what they are made of (CycloneDX), the chart, and a signed list of checksums.
//
//	release [-key FILE] [-arch amd64,arm64] [-out FOLDER] [-trial] VERSION
//
// The same commit with the same Go gives the same bytes, in any folder and at any time. With
// -trial it takes this folder as it is, whatever its tag, for packages that are not published.
package main

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/CycloneDX/cyclonedx-gomod/pkg/generate/bin"
	"github.com/rs/zerolog"
)

func main() {
	var r release
	flag.StringVar(&r.key, "key", "", "file with the SSH key (Ed25519) that signs the checksums; without it they are not signed")
	flag.StringVar(&r.out, "out", "dist", "folder for what is made; it must not be there")
	architectures := flag.String("arch", "amd64,arm64", "processors, as Go calls them")
	flag.BoolVar(&r.trial, "trial", false, "of this folder as it is, to try it")
	flag.Parse()
	r.version, r.architectures = flag.Arg(0), strings.Split(*architectures, ",")
	if err := r.make(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// toolchain is the Go of a release, of this tool as of the programs: what packs is Go's too.
const toolchain = "go1.26.8"

// namespace is what a signature of ours is for: ssh-keygen(1), -n.
const namespace = "penname-release"

// release is one that is being made.
type release struct {
	version       string // v1.4.0, the tag of the commit
	architectures []string
	key, out      string
	trial         bool

	at     time.Time // of the commit, which is the time of everything in a package
	bin    string    // folder for programs
	issued []program
}

// program is one for one processor.
type program struct{ name, arch, path, digest string }

func (r *release) make(ctx context.Context) (err error) {
	if flag.NArg() > 1 || !strings.HasPrefix(r.version, "v") {
		return errors.New("say which version, as the tag says it: make release VERSION=v1.4.0")
	}
	if err := r.ready(ctx); err != nil {
		return err
	}
	syscall.Umask(0o022) // whatever the builder's is
	if err := os.Mkdir(r.out, 0o755); err != nil {
		return fmt.Errorf("%w: move it away, a release is made from nothing", err)
	}
	defer func() {
		if err != nil { // half a release is none
			err = errors.Join(err, os.RemoveAll(r.out))
		}
	}()
	seconds, err := said(ctx, "git", "log", "-1", "--format=%ct")
	if err != nil {
		return err
	}
	epoch, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return err
	}
	r.at = time.Unix(epoch, 0).UTC()
	work, err := os.MkdirTemp("", "penname-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	r.bin = filepath.Join(work, "bin")
	for _, arch := range r.architectures {
		if err := r.build(ctx, arch); err != nil {
			return err
		}
	}
	if err := r.packages(ctx, work); err != nil {
		return err
	}
	if err := r.chart(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.out, "programs.toml"), []byte(r.programs()), 0o644); err != nil {
		return err
	}
	return r.sums(ctx)
}

// ready refuses at once what would show after the work: another commit, and a key that is none.
func (r *release) ready(ctx context.Context) error {
	if r.key != "" {
		if _, err := said(ctx, "ssh-keygen", "-l", "-f", r.key); err != nil {
			return fmt.Errorf("KEY is no SSH key: %w", err)
		}
	}
	if r.trial {
		return nil
	}
	if goes := runtime.Version(); goes != toolchain {
		return fmt.Errorf("this tool was built by %s, and a release is made by %s: make release fetches it", goes, toolchain)
	}
	if err := os.Setenv("GOTOOLCHAIN", toolchain); err != nil { // for all that is called
		return err
	}
	tags, err := said(ctx, "git", "tag", "--points-at", "HEAD")
	if err != nil {
		return err
	}
	beside, err := said(ctx, "git", "status", "--porcelain")
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(tags), r.version) || beside != "" {
		return fmt.Errorf("this checkout is not %s: a release is made of the tagged commit and nothing beside it (git tag; git status): tags %q, beside them %q", r.version, tags, beside)
	}
	return nil
}

// said is what a command says, without the end of its line.
func said(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%s: %w: %s", name, err, exit.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}

// build makes both programs for one processor as `make build` does, so that whoever builds
// the tag has the same bytes, and says what they are made of.
func (r *release) build(ctx context.Context, arch string) error {
	folder := filepath.Join(r.bin, arch)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", fmt.Sprintf("-buildvcs=%v", !r.trial), "-ldflags=-s", "-o", folder+"/", "./cmd/escrow", "./cmd/escrowd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	for _, name := range []string{"escrow", "escrowd"} {
		p := program{name: name, arch: arch, path: filepath.Join(folder, name)}
		info, err := buildinfo.ReadFile(p.path)
		if err != nil {
			return err
		}
		if info.Main.Version != r.version && !r.trial {
			return fmt.Errorf("this checkout is %s and not %s: a release is made of the tagged commit and nothing beside it (git status; git tag %s)", info.Main.Version, r.version, r.version)
		}
		b, err := os.ReadFile(p.path)
		if err != nil {
			return err
		}
		p.digest = fmt.Sprintf("%x", sha256.Sum256(b))
		if err := r.materials(p); err != nil {
			return err
		}
		r.issued = append(r.issued, p)
	}
	return nil
}

// plain is the version without its v.
func (r *release) plain() string { return strings.TrimPrefix(r.version, "v") }

// materials writes what a program is made of, as CycloneDX 1.6 in JSON.
func (r *release) materials(p program) error {
	g, err := bin.NewGenerator(p.path, bin.WithIncludeStdlib(true), bin.WithLogger(zerolog.Nop()))
	if err != nil {
		return err
	}
	bom, err := g.Generate()
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(r.out, fmt.Sprintf("%s_%s_linux_%s.cdx.json", p.name, r.plain(), p.arch)))
	if err != nil {
		return err
	}
	return errors.Join(cdx.NewBOMEncoder(f, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6), f.Close())
}

// programs are the digests of all programs, as a draft of a bundle takes them.
func (r *release) programs() string {
	var b strings.Builder
	b.WriteString("# The programs of this release, for the draft of a bundle: escrowd bundle draft.\n")
	for _, p := range r.issued {
		fmt.Fprintf(&b, "\n[[programs]]\nname     = %q\nversion  = %q\nplatform = %q\ndigest   = %q\n", p.name, r.version, "linux/"+p.arch, p.digest)
	}
	return b.String()
}

// sums writes the SHA-256 of every file as sha256sum(1) does, and has them signed.
func (r *release) sums(ctx context.Context) error {
	names, err := filepath.Glob(filepath.Join(r.out, "*"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		f.Close()
		fmt.Fprintf(&b, "%x  %s\n", h.Sum(nil), filepath.Base(name))
	}
	list := filepath.Join(r.out, "SHA256SUMS")
	if err := os.WriteFile(list, []byte(b.String()), 0o644); err != nil {
		return err
	}
	if r.key == "" {
		fmt.Fprintln(os.Stderr, "release: nobody signed SHA256SUMS: KEY names the file with the SSH key")
		return nil
	}
	cmd := exec.CommandContext(ctx, "ssh-keygen", "-q", "-Y", "sign", "-f", r.key, "-n", namespace, list)
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr // it asks for the key's passphrase
	return cmd.Run()
}
