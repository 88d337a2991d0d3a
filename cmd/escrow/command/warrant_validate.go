package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penname/penname/policy"
)

func warrantValidate(p *program) *cobra.Command {
	f := followUp{other: true}
	c := leaf("validate WARRANT", "Sign the warrant of another authority with it: one that needs a judge, or that is given jointly",
		"escrow warrant validate warrant.jws --grounds 'I have read the post.' --key court.jwk --bundle bundle.json --out validated.jws",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			return f.run(p, policy.Validation, args[0], nil)
		})
	c.Long = "Signs a document of your own that names the warrant of another authority: one that the bundle\n" +
		"wants validated, or one that names you in jointly. It is filed with that warrant, which is not\n" +
		"recorded without it:\n\n" +
		"  escrow warrant file warrant.jws --countersigned validated.jws …\n\n" +
		"An emergency is recorded without it. Then it is filed by itself, within the bundle's validation_hours,\n" +
		"or the emergency lapses."
	f.add(c, "it is validated")
	return c
}
