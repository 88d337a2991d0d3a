package command

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/verifier/opening"
)

func custodianApprove(h *home) *cobra.Command {
	return leaf("approve CASE", "Release a share for each target of a case that you reviewed, encrypted to the requester",
		"escrow custodian approve CASE", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			return h.answer(ctx, args[0], opening.Approve, "", func(c *custodian.Custodian, r *custodian.Review) (string, error) {
				return c.Approve(r, h.Now())
			})
		})
}
