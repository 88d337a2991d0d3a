package command

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/registrar"
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

// seat unlocks the folder of a custodian who is sure which rules they endorsed,
// with the client for their registrar.
func (h *home) seat(ctx context.Context) (*custodian.Custodian, *registrar.Client, error) {
	c, err := h.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	if _, err := c.Rules(); err != nil {
		return nil, nil, err
	}
	r, err := h.registrar()
	return c, r, err
}

// answer gives a custodian's answer in a case: the one that the folder has signed
// already, or what sign makes of the case as it was reviewed. It prints the case as
// it stands then.
func (h *home) answer(ctx context.Context, id, decision, reason string, sign func(*custodian.Custodian, *custodian.Review) (string, error)) error {
	c, client, err := h.seat(ctx)
	if err != nil {
		return err
	}
	signed, err := c.Decision(id, decision, reason)
	if err != nil {
		return err
	}
	about := ""
	if signed == "" {
		f, err := client.CaseFile(ctx, c.Key(), id)
		if err != nil {
			return err
		}
		r, err := c.Reviewed(id, f, h.Now())
		if err != nil {
			return err
		}
		if signed, err = sign(c, r); err != nil {
			return err
		}
		about = r.String()
	}
	st, err := client.Decide(ctx, c.Key(), signed)
	if err != nil {
		return err
	}
	return h.print(st, about+st.String())
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
