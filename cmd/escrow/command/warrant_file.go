package command

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

var errEvidenceLine = refusal.New(refusal.Invalid, "evidence.not_a_bundle",
	"this line is not one evidence bundle, a compact JWS as the platform gave it: nothing was sent, name the platform's own file")

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
				for n, line := range strings.Split(string(e), "\n") {
					if line = strings.TrimSpace(line); line == "" {
						continue
					}
					if strings.Count(line, ".") != 2 || strings.ContainsAny(line, " \t") {
						return shell.InFile(name, n+1, errEvidenceLine)
					}
					s.Evidence = append(s.Evidence, line)
				}
			}
			r, err := p.registrar()
			if err != nil {
				return err
			}
			st, err := r.FileWarrant(ctx, s)
			if err != nil {
				return err
			}
			text := st.String()
			if w, err := policy.ParseUnverified(s.Warrant); err == nil && w.Kind == policy.Withdrawal {
				text = "the withdrawal is a case of its own, and opens nothing; escrow warrant status tells of the case that it ends\n" + text
			}
			return p.print(st, text)
		})
	c.Flags().StringArrayVar(&evidence, "evidence", nil, "file with evidence bundles, one a line; can be given again")
	return c
}
