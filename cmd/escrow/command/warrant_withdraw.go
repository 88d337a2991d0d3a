package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penname/penname/policy"
)

func warrantWithdraw(p *program) *cobra.Command {
	var f followUp
	c := leaf("withdraw WARRANT", "Sign that a warrant of your own is withdrawn, wholly or for some pen names; file that like any warrant, before they are released",
		"escrow warrant withdraw warrant.jws --grounds 'The complaint was withdrawn.' --key court.jwk --bundle bundle.json --out stop.jws",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			return f.run(p, policy.Withdrawal, args[0], nil)
		})
	f.add(c, "it is withdrawn")
	f.some(c)
	return c
}
