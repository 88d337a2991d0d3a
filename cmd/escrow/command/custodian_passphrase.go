package command

import (
	"context"

	"github.com/spf13/cobra"
)

func custodianPassphrase(h *home) *cobra.Command {
	var file string
	var workFactor int
	c := leaf("passphrase", "Change the passphrase of a custodian's folder", "escrow custodian passphrase --home alba", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if err := checkWorkFactor(workFactor); err != nil {
				return err
			}
			if err := h.at().ChangePassphrase(ctx, h.passphraseFrom(file), workFactor); err != nil {
				return err
			}
			return h.print(map[string]string{"home": h.dir}, "the folder opens with the new passphrase, and with no other")
		})
	c.Long = "Changes the passphrase of a custodian's folder, in one step: a crash leaves the old\n" +
		"one or the new one. The keys stay the same, so a copy of the folder that was made\n" +
		"before still opens with the old passphrase: destroy copies. If somebody may have\n" +
		"both, a new passphrase is not enough: make a new folder, and let a ceremony move\n" +
		"the share to it."
	c.Flags().StringVar(&file, "new-passphrase-file", "", "file (mode 0600) with the new passphrase; else it is asked for, twice")
	addWorkFactor(c, &workFactor)
	return c
}
