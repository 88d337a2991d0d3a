package command

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
)

func warrantWithdraw(p *program) *cobra.Command {
	var f signFlags
	var grounds string
	c := leaf("withdraw WARRANT", "Sign that a warrant of your own is withdrawn; file that like any warrant, before the earlier one is released",
		"escrow warrant withdraw warrant.jws --grounds 'The complaint was withdrawn.' --key court.jwk --bundle bundle.json --out stop.jws",
		cobra.ExactArgs(1), func(_ context.Context, args []string) error {
			if err := require([2]string{"key", f.key}, [2]string{"grounds", grounds}); err != nil {
				return err
			}
			k, err := secretfile.ReadKey(f.key)
			if err != nil {
				return err
			}
			b, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			w, err := policy.NewWithdrawal(strings.TrimSpace(string(b)), grounds)
			if err != nil {
				return err
			}
			return sign(p, k, f, w)
		})
	f.add(c)
	c.Flags().StringVar(&grounds, "grounds", "", "why it is withdrawn")
	return c
}
