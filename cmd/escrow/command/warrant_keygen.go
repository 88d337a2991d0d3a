package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/requester"
)

func warrantKeygen(p *program) *cobra.Command {
	return leaf("keygen FILE", "Make the delivery key that a package is encrypted to", "escrow warrant keygen requester.key",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			public, err := requester.CreateKey(args[0])
			if err != nil {
				return err
			}
			return p.print(map[string]string{"delivery_key": public}, public)
		})
}
