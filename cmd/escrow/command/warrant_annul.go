package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penname/penname/policy"
)

func warrantAnnul(p *program) *cobra.Command {
	f := followUp{other: true}
	c := leaf("annul WARRANT", "Sign that the warrant of a court below is annulled, wholly or for some pen names; file that like any warrant",
		"escrow warrant annul warrant.jws --grounds 'The post is no threat.' --key appeal.jwk --bundle bundle.json --out annulled.jws",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			return f.run(p, policy.Annulment, args[0], nil)
		})
	c.Long = "Signs that the warrant of a court below is annulled. The bundle says over whom a court is, and\n" +
		"whose the key is. What is not released stays sealed. What was released cannot be taken back:\n" +
		"its use is forbidden, escrow warrant open refuses it, and the requester states that it is\n" +
		"deleted with escrow warrant deleted."
	f.add(c, "it is annulled")
	f.some(c)
	return c
}
