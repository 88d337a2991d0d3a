package command

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/policy"
)

func warrantFile(p *program) *cobra.Command {
	var evidence []string
	c := leaf("file WARRANT", "File a signed warrant with the registrar",
		"escrow warrant file warrant.jws --evidence threats.jws --server https://penname.example",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			b, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			s := policy.Submission{Warrant: strings.TrimSpace(string(b))}
			for _, name := range evidence {
				e, err := p.readFile(name)
				if err != nil {
					return err
				}
				s.Evidence = append(s.Evidence, strings.Fields(string(e))...)
			}
			r, err := p.registrar()
			if err != nil {
				return err
			}
			st, err := r.FileWarrant(ctx, s)
			if err != nil {
				return err
			}
			return p.print(st, st.String())
		})
	c.Flags().StringArrayVar(&evidence, "evidence", nil, "file with evidence bundles, one a line; can be given again")
	return c
}
