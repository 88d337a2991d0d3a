package command

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

func custodianReview(h *home) *cobra.Command {
	return leaf("review CASE", "Check a case: rules, signatures, evidence, the public log and the sealed records",
		"escrow custodian review CASE", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			c, err := h.seat(ctx)
			if err != nil {
				return err
			}
			f, since, err := c.fetch(ctx, args[0])
			if err != nil {
				return err
			}
			r, failed := c.Review(args[0], f, since, h.Now())
			if r == nil {
				return failed
			}
			return errors.Join(h.print(r, r.String()), failed)
		})
}
