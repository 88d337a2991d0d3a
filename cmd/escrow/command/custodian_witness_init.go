package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
)

func custodianWitnessInit(h *home) *cobra.Command {
	var w custodian.WitnessConfig
	c := leaf("init", "Make the folder's witness, and print its verifier key for the bundle",
		"escrow custodian witness init --name alba.witness.example --log-origin penname.example/log --log-vkey 'penname.example/log+…'",
		cobra.NoArgs, func(ctx context.Context, _ []string) error {
			if err := require([2]string{"name", w.Name}, [2]string{"log-origin", w.Origin}, [2]string{"log-vkey", w.VKey}); err != nil {
				return err
			}
			vkey, err := h.at().CreateWitness(ctx, w, h.Now)
			if err != nil {
				return err
			}
			return h.print(map[string]string{"name": w.Name, "vkey": vkey}, vkey)
		})
	c.Flags().StringVar(&w.Name, "name", "", "the witness's name, a host name without a scheme")
	c.Flags().StringVar(&w.Origin, "log-origin", "", "origin of the log to watch")
	c.Flags().StringVar(&w.VKey, "log-vkey", "", "verifier key of that log")
	return c
}
