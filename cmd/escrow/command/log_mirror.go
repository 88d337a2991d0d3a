package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penname/penname/verifier/rules"
)

func logMirror(p *program) *cobra.Command {
	var f trustFlags
	c := leaf("mirror DIR", "Keep a verified copy of the public log that outlives its operator, and bring it up to date",
		"escrow log mirror /srv/mirror --bundle bundle.json --server https://penname.example", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			bundles, err := f.load(p)
			if err != nil {
				return err
			}
			log, err := p.logOf(ctx, bundles[0], "", maxAge)
			if err != nil {
				return err
			}
			source, err := tiles(p, "")
			if err != nil {
				return err
			}
			unlock, err := lockMirror(args[0])
			if err != nil {
				return err
			}
			defer unlock()
			r, err := log.Mirror(ctx, source, args[0], p.leaves)
			if err != nil {
				return err
			}
			if err := rules.Mirror(ctx, args[0], log, p.fetchRules(), p.fetchRecords()); err != nil {
				return err
			}
			text := fmt.Sprintf("%d leaves verified, %d of them new\nroot %s", r.Size, r.Size-r.Before, r.Root)
			if r.Mended > 0 {
				text += fmt.Sprintf("\n%d files were wrong on this disk and were fetched again", r.Mended)
			}
			return p.print(r, text)
		})
	f.add(c)
	return c
}
