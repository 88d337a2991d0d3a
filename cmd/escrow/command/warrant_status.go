package command

import (
	"context"

	"github.com/spf13/cobra"
)

func warrantStatus(p *program) *cobra.Command {
	return leaf("status CASE", "Say where a case and each of its targets stands, and until when what is to be done", "escrow warrant status CASE --server https://penname.example",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			r, err := p.registrar()
			if err != nil {
				return err
			}
			st, err := r.Status(ctx, args[0])
			if err != nil {
				return err
			}
			all, err := withExhibits(ctx, r, st)
			if err != nil {
				return err
			}
			return p.print(all, all.at(p.Now()))
		})
}
