package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/secretfile"
)

func openingSign(p *program) *cobra.Command {
	var key, bundle string
	c := leaf("sign FOLDER", "Sign the certificate in the folder of an opening as the court that ordered it, once it is checked",
		"escrow opening sign court-file --key court.jwk --bundle bundle.json", cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			if err := require([2]string{"key", key}, [2]string{"bundle", bundle}); err != nil {
				return err
			}
			k, err := secretfile.ReadKey(key)
			if err != nil {
				return err
			}
			b, err := p.readBundle(bundle)
			if err != nil {
				return err
			}
			file := requester.OpenCourtFile(args[0])
			found := file.Check(b)
			if err := found.Refused(); err != nil {
				fmt.Fprint(p.Stderr, found.String())
				return err
			}
			if err := file.Certify(&k, p.Now(), b); err != nil {
				return err
			}
			return p.print(map[string]string{"folder": args[0], "certificate": "certificate.jws"}, "signed: certificate.jws in "+args[0])
		})
	c.Long = "Checks the folder as escrow opening check does, and signs what it proves. The certificate, the page, the\n" +
		"table and the sheets are made anew. Where the police opens and the court signs, the court does this."
	c.Flags().StringVar(&key, "key", "", "file with the court's secret signing key (JWK, mode 0600)")
	c.Flags().StringVar(&bundle, "bundle", "", "bundle of rules that you trust: one in the folder, or the one after them")
	return c
}
