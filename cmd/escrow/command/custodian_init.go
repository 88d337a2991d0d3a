package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
)

func custodianInit(h *home) *cobra.Command {
	var who custodian.Identity
	var workFactor int
	c := leaf("init", "Make a custodian's folder, its keys encrypted with a passphrase, and print the public parts for a plan and a bundle",
		"escrow custodian init --id alba --name 'Alba Ferrand' --organisation 'Bar Association' --home alba --server https://penname.example > alba.json",
		cobra.NoArgs, func(ctx context.Context, _ []string) error {
			if err := require([2]string{"id", who.ID}, [2]string{"name", who.Name}, [2]string{"organisation", who.Organisation}); err != nil {
				return err
			}
			if err := checkWorkFactor(workFactor); err != nil {
				return err
			}
			who.Server = h.server
			c, err := h.at().Create(ctx, who, workFactor)
			if err != nil {
				return err
			}
			return printCard(h, c)
		})
	c.Flags().StringVar(&who.ID, "id", "", "short name in the bundle and the public log, for example alba")
	c.Flags().StringVar(&who.Name, "name", "", "name of the person or body")
	c.Flags().StringVar(&who.Organisation, "organisation", "", "organisation that answers for it; no two custodians are of one")
	addWorkFactor(c, &workFactor)
	return c
}
