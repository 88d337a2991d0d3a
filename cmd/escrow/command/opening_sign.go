package command

import (
	"context"
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

func openingSign(p *program) *cobra.Command {
	var by signer
	var bundle string
	var revocation []string
	c := leaf("sign FOLDER", "Sign the certificate in the folder of an opening as the court that ordered it, once it is checked",
		"escrow opening sign court-file --key court.jwk --bundle bundle.json", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if err := by.needed("key"); err != nil {
				return err
			}
			if err := require([2]string{"bundle", bundle}); err != nil {
				return err
			}
			lists, err := p.revocationLists(revocation)
			if err != nil {
				return err
			}
			k, done, err := by.open(ctx, p)
			if err != nil {
				return err
			}
			defer done()
			b, err := p.readBundle(bundle)
			if err != nil {
				return err
			}
			found, err := p.certify(ctx, args[0], k, b, lists, func(string) error { return nil })
			if found != nil && found.Refused() != nil {
				fmt.Fprint(p.Stderr, found.String())
			}
			if err != nil {
				return err
			}
			return p.print(map[string]string{"folder": args[0], "certificate": "certificate.jws"}, "signed: certificate.jws in "+args[0])
		})
	c.Long = "Checks the folder as escrow opening check does, and signs what it proves. The certificate, the page, the\n" +
		"table and the sheets are made anew. Where the police opens and the court signs, the court does this."
	by.add(c, "key", "the court's secret signing key")
	addRevocation(c, &revocation)
	c.Flags().StringVar(&bundle, "bundle", "", "bundle of rules that you trust: one in the folder, or the one after them")
	return c
}

// certify checks the court file in a folder by the rules b, and signs its certificate once
// confirm agrees to what was found.
func (p *program) certify(ctx context.Context, folder string, k jose.JSONWebKey, b *policy.Bundle, lists []string, confirm func(found string) error) (*opening.CourtCheck, error) {
	file := requester.OpenCourtFile(folder)
	found, err := checkFile(ctx, file, b)
	if err != nil {
		return nil, err
	}
	if err := found.Refused(); err != nil {
		return found, err
	}
	if err := confirm(found.String()); err != nil {
		return found, err
	}
	if err := file.SaveRevocation(lists); err != nil {
		return found, err
	}
	return found, file.Certify(&k, p.Now(), b)
}
