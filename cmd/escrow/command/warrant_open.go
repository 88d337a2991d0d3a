package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/requester"
)

func warrantOpen(p *program) *cobra.Command {
	var key, bundle string
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
			d, err := r.Package(ctx, args[0])
			if err != nil {
				return err
			}
			o, err := requester.Open(args[0], d, b, private)
			if err != nil {
				return err
			}
			return p.print(o, o.String())
		})
	c.Flags().StringVar(&key, "key", "", "file with the requester's secret delivery key (mode 0600)")
	c.Flags().StringVar(&bundle, "bundle", "", "bundle of rules in force, whose log and custodians are trusted")
	return c
}
