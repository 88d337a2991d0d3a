package command

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/rules"
)

// home is how the commands of `escrow custodian` find and open a folder.
type home struct {
	*program
	dir            string
	passphraseFile string
}

// custodians is `escrow custodian`: what a custodian does on their own machine.
func custodians(p *program) *cobra.Command {
	h := &home{program: p}
	c := group("custodian", "Check cases on your own machine and release shares",
		custodianList(h), custodianReview(h), custodianApprove(h), custodianRefuse(h),
		custodianEndorse(h), custodianWitness(h),
		custodianInit(h), custodianPassphrase(h), custodianCard(h), custodianCeremony(h))
	config, _ := os.UserConfigDir()
	c.PersistentFlags().StringVar(&h.dir, "home", filepath.Join(config, "escrow"), "the custodian's folder")
	c.MarkPersistentFlagDirname("home") //nolint:errcheck // it exists
	c.PersistentFlags().StringVar(&h.passphraseFile, "passphrase-file", "", "file (mode 0600) with the folder's passphrase; else it is asked for")
	return c
}

// at is the folder's place.
func (h *home) at() custodian.Home {
	return custodian.Home{Dir: h.dir, Passphrase: h.passphraseFrom(h.passphraseFile)}
}

// open unlocks the folder. What it says about the registrar is the default of
// --server.
func (h *home) open(ctx context.Context) (*custodian.Custodian, error) {
	c, err := h.at().Open(ctx)
	if err == nil && h.server == "" {
		h.server = c.Server
	}
	return c, err
}

// inForce asks the public log which rules are in force, beginning with those in the
// folder.
func (h *home) inForce(ctx context.Context, c *custodian.Custodian) (*rules.History, *policy.Bundle, error) {
	if _, err := h.registrar(); err != nil {
		return nil, nil, err
	}
	source, err := tiles(h.program, "")
	if err != nil {
		return nil, nil, err
	}
	return c.Follow(ctx, source, h.fetchBundle, h.Now(), maxAge)
}

// fetch unlocks the folder, asks the public log which rules are in force, and the
// registrar for a case. since are the bundles from that of the case on.
func (h *home) fetch(ctx context.Context, id string) (c *custodian.Custodian, r *registrar.Client, f opening.CaseFile, since []*policy.Bundle, err error) {
	if c, err = h.open(ctx); err != nil {
		return nil, nil, f, nil, err
	}
	if r, err = h.registrar(); err != nil {
		return nil, nil, f, nil, err
	}
	history, _, err := h.inForce(ctx, c)
	if err != nil {
		return nil, nil, f, nil, err
	}
	if f, err = r.CaseFile(ctx, c.Key(), id); err != nil {
		return nil, nil, f, nil, err
	}
	since, err = history.Since(ctx, f.Bundle)
	if errors.Is(err, rules.ErrNotInLog) {
		err = custodian.ErrOtherBundle
	}
	return c, r, f, since, err
}

// decide sends a signed decision, and prints the case as it stands then.
func (h *home) decide(ctx context.Context, c *custodian.Custodian, r *registrar.Client, about *custodian.Review, signed string) error {
	st, err := r.Decide(ctx, c.Key(), about.Case, signed)
	if err != nil {
		return err
	}
	return h.print(st, about.String()+st.String())
}

func checkWorkFactor(n int) error {
	if n < 1 || n > custodian.MaxWorkFactor {
		return shell.UsageError("--work-factor is between 1 and %d", custodian.MaxWorkFactor)
	}
	return nil
}

func addWorkFactor(c *cobra.Command, n *int) {
	c.Flags().IntVar(n, "work-factor", custodian.DefaultWorkFactor, "scrypt's cost, as a power of two; 18 takes about a second")
}
