package command

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

func openingCheck(p *program) *cobra.Command {
	var f trustFlags
	c := leaf("check FOLDER", "Check an opening and its certificate from the folder alone, years later, without asking anybody",
		"escrow opening check court-file --bundle bundle.json", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			var trusted []*policy.Bundle
			if len(f.bundles) > 0 {
				var err error
				if trusted, err = f.load(p); err != nil {
					return err
				}
			}
			found, err := checkFile(ctx, requester.OpenCourtFile(args[0]), trusted...)
			if err != nil {
				return err
			}
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

// checkFile checks a court file, until it is told to stop: there can be much to read.
func checkFile(ctx context.Context, f *requester.CourtFile, trusted ...*policy.Bundle) (*opening.CourtCheck, error) {
	found := make(chan *opening.CourtCheck, 1)
	go func() { found <- f.Check(trusted...) }()
	select {
	case c := <-found:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
