package command

import (
	"context"

	"github.com/spf13/cobra"
)

func custodianApprove(h *home) *cobra.Command {
	return leaf("approve CASE", "Check a case as review does, then release a share for each target, encrypted to the requester",
		"escrow custodian approve CASE", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			c, client, f, since, err := h.fetch(ctx, args[0])
			if err != nil {
				return err
			}
			r, err := c.Review(f, since, h.Now())
			if err != nil {
				return err
			}
			signed, err := c.Approve(r, h.Now())
			if err != nil {
				return err
			}
			return h.decide(ctx, c, client, r, signed)
		})
}
