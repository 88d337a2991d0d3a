package command

import (
	"context"

	"github.com/spf13/cobra"
)

func custodianReview(h *home) *cobra.Command {
	return leaf("review CASE", "Check a case: rules, signatures, evidence, the public log and the sealed records",
		"escrow custodian review CASE", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			c, _, f, since, err := h.fetch(ctx, args[0])
			if err != nil {
				return err
			}
			r, err := c.Review(f, since, h.Now())
			if err != nil {
				return err
			}
			return h.print(r, r.String())
		})
}
