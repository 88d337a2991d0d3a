package command

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/policy"
)

func openingCheck(p *program) *cobra.Command {
	var f trustFlags
	c := leaf("check FOLDER", "Check an opening and its certificate from the folder alone, years later, without asking anybody",
		"escrow opening check court-file --bundle bundle.json", cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			var trusted []*policy.Bundle
			if len(f.bundles) > 0 {
				var err error
				if trusted, err = f.load(p); err != nil {
					return err
				}
			}
			found := requester.OpenCourtFile(args[0]).Check(trusted...)
			return errors.Join(p.print(found, found.String()), found.Refused())
		})
	c.Long = "Checks the folder that escrow warrant open --out made: the signature of the certificate; that page, table\n" +
		"and sheets say what the certificate says; that the certificate says what the package proves; the warrant,\n" +
		"the rules, the custodians' decisions and shares; the proofs of the public log under checkpoints that\n" +
		"witnesses cosigned; and that each record is the one that its token commits to. It needs no network and no\n" +
		"secret key, and says what cannot be known.\n\n" +
		"With --bundle the rules in the folder have to lead to those that you trust: one of them, or later ones, the\n" +
		"newest first with all in between. Without it the answer rests on the rules in the folder, and says so."
	f.add(c)
	c.Flags().Lookup("bundle").Usage = "bundle of rules that you trust, of the day of the case or later; can be given again for those in between, the newest first"
	return c
}
