package command

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
)

func warrantStatus(p *program) *cobra.Command {
	var key string
	c := leaf("status CASE", "Say where a case and each of its targets stands, and until when what is to be done", "escrow warrant status CASE --server https://penname.example",
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
			if key == "" {
				return p.print(all, all.at(p.Now()))
			}
			said, err := p.statementsFor(ctx, args[0], key)
			if err != nil {
				return err
			}
			var text strings.Builder
			for _, s := range said {
				text.WriteString("\n" + strings.TrimSuffix(s.String(), "\n"))
			}
			return p.print(struct {
				caseStatus
				Said []custodian.Said `json:"said"`
			}{all, said}, all.at(p.Now())+text.String())
		})
	c.Flags().StringVar(&key, "key", "", "file with the court's secret signing key: shows what custodians ask and say to the court as well")
	return c
}
