package command

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

// What a program is not.
var (
	errOtherProgram = refusal.New(refusal.Denied, "program.other",
		"this program is none of the releases that the custodians endorsed for this platform: do not answer a case with it; get the release again and compare")
	errProgramUnnamed = refusal.New(refusal.NotFound, "program.not_named",
		"the bundle names no release of this program for this platform, so nothing can be compared: ask the custodians to endorse rules that do")
)

// running is the program that runs.
type running struct {
	Version  string `json:"version"`
	Platform string `json:"platform"` // linux/amd64
	Digest   string `json:"digest"`   // SHA-256 of its file, hex
	Release  string `json:"release,omitempty"`
}

// itself measures the program that runs.
func itself() (r running, err error) {
	r = running{Version: shell.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	name, err := os.Executable()
	if err != nil {
		return r, secretfile.ErrUnreadable.Because(err)
	}
	f, err := os.Open(name)
	if err != nil {
		return r, secretfile.ErrUnreadable.Because(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return r, secretfile.ErrUnreadable.Because(err)
	}
	r.Digest = fmt.Sprintf("%x", h.Sum(nil))
	return r, nil
}

// released says which release of a program this is by a bundle.
func (r running) released(b *policy.Bundle, name string) (string, error) {
	named := b.ProgramsOf(name, r.Platform)
	if len(named) == 0 {
		return "", errProgramUnnamed
	}
	i := slices.IndexFunc(named, func(p policy.Program) bool { return p.Digest == r.Digest })
	if i < 0 {
		return "", errOtherProgram
	}
	return named[i].Version, nil
}

func version(p *program) *cobra.Command {
	var verify bool
	var bundle string
	c := leaf("version", "Say which version this is, and whether it is a release that the custodians endorsed",
		"escrow version --verify --bundle bundle.json", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			r, err := itself()
			if err != nil {
				return err
			}
			if !verify {
				return p.print(r, fmt.Sprintf("%s for %s, sha256 %s", r.Version, r.Platform, r.Digest))
			}
			b, err := p.namedRules(ctx, bundle)
			if err != nil {
				return err
			}
			if r.Release, err = r.released(b, "escrow"); err != nil {
				return err
			}
			return p.print(r, fmt.Sprintf("this program is the release %s for %s that bundle %s names: sha256 %s", r.Release, r.Platform, b.Hash(), r.Digest))
		})
	c.Long = "With --verify it compares the SHA-256 of the file that runs with those that a bundle of rules names for\n" +
		"escrow on this platform. A program that somebody changed can say anything here: compare from another\n" +
		"machine as well, with sha256sum, where it matters."
	c.Flags().BoolVar(&verify, "verify", false, "compare with the releases that the bundle names")
	c.Flags().StringVar(&bundle, "bundle", "", "file with the bundle that names them (default: the one that the registrar serves, unchecked)")
	return c
}

// namedRules are those of a file, or else those that the registrar serves.
func (p *program) namedRules(ctx context.Context, file string) (*policy.Bundle, error) {
	if file != "" {
		return p.readBundle(file)
	}
	r, err := p.registrar()
	if err != nil {
		return nil, err
	}
	served, err := r.Bundle(ctx)
	if err != nil {
		return nil, err
	}
	return policy.ParseBundle(served.Bundle)
}
