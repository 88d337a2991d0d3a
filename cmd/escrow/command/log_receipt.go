package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penname/penname/verifier/proof"
)

func logReceipt(p *program) *cobra.Command {
	var f auditFlags
	c := leaf("receipt FILE", "Check with the receipt of a deletion that it was carried out, on your own machine",
		"escrow log receipt receipt.txt --bundle bundle.json", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			page, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			commitment, err := proof.ParseReceipt(page)
			if err != nil {
				return err
			}
			report, err := audit(ctx, p, f)
			if err != nil {
				return err
			}
			source, err := tiles(p, f.mirror)
			if err != nil {
				return err
			}
			at, day, err := proof.FindErasure(ctx, source, report.Checkpoint.Tree, commitment)
			if errors.Is(err, proof.ErrNotErased) {
				return proof.ErrNotErased.Because(&proof.SeenError{Shown: report.Seen()})
			}
			if err != nil {
				return err
			}
			return p.print(map[string]any{"entry": at, "day": day, "commitment": commitment},
				fmt.Sprintf("the record was erased on %s: log entry %d says so, cosigned by a quorum of witnesses", day, at))
		})
	c.Long = "Checks with the receipt of a deletion that it was carried out.\n\n" +
		"FILE is the page that showed the receipt, saved, or its line of proof, copied;\n" +
		"- is standard input. The whole log is audited; the receipt does not leave\n" +
		"this machine."
	f.add(c)
	return c
}
