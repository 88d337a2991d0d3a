package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/policy"
)

func warrantExtend(p *program) *cobra.Command {
	var f followUp
	var days int
	c := leaf("extend WARRANT", "Sign that a preservation of your own lasts longer; file that like any warrant, while it lasts",
		"escrow warrant extend keep.jws --days 30 --grounds 'The order is being written.' --key court.jwk --bundle bundle.json --out longer.jws",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			if days < 1 {
				return shell.UsageError("--days is needed: by how many days it lasts longer")
			}
			return f.run(p, policy.Extension, args[0], longer(days))
		})
	f.add(c, "it has to last longer")
	c.Flags().IntVar(&days, "days", 0, "by how many days it lasts longer, at most the bundle's extension_days")
	return c
}

// longer lets a hold last days longer.
func longer(days int) func(w *policy.Warrant) {
	return func(w *policy.Warrant) { w.Expiry = w.Expiry.AddDate(0, 0, days) }
}
