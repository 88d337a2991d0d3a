package command

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/verifier/opening"
)

func warrantOpen(p *program) *cobra.Command {
	var key, bundle, save string
	c := leaf("open CASE", "Fetch the package of a case, check every proof and open it with the requester's key",
		"escrow warrant open CASE --key requester.key --bundle bundle.json --server https://penname.example",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if err := require([2]string{"key", key}, [2]string{"bundle", bundle}); err != nil {
				return err
			}
			private, err := requester.ReadKey(key)
			if err != nil {
				return err
			}
			b, err := p.readBundle(bundle)
			if err != nil {
				return err
			}
			r, err := p.registrar()
			if err != nil {
				return err
			}
			sealed, err := r.Package(ctx, args[0])
			if err != nil {
				return err
			}
			d, err := requester.Unseal(args[0], sealed, private)
			if err != nil {
				return err
			}
			if save != "" {
				if err := saveDelivery(save, d); err != nil {
					return err
				}
			}
			o, err := requester.Open(args[0], d, b, private)
			if err != nil {
				return err
			}
			return p.print(o, o.String())
		})
	c.Flags().StringVar(&key, "key", "", "file with the requester's secret delivery key (mode 0600)")
	c.Flags().StringVar(&save, "save", "", "file to save the delivery to, mode 0600: with the bundle an appeal court checks it without asking anybody")
	c.Flags().StringVar(&bundle, "bundle", "", "bundle of rules in force, whose log and custodians are trusted")
	return c
}

// saveDelivery writes a delivery as verifier/opening reads it. It names a pen name
// and whoever asked, so only its owner reads it.
func saveDelivery(file string, d opening.Delivery) error {
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return secretfile.Create(file, append(b, '\n'))
}
