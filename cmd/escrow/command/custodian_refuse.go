package command

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/policy"
)

func custodianRefuse(h *home) *cobra.Command {
	var reason string
	c := leaf("refuse CASE", "Decline a case, with a reason that goes into the public log",
		"escrow custodian refuse CASE --reason disproportionate", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if !slices.Contains(policy.DeclineReasons, reason) {
				return custodian.ErrReason // before anybody types a passphrase
			}
			c, client, f, since, err := h.fetch(ctx, args[0])
			if err != nil {
				return err
			}
			r, err := c.Unreviewed(f, since)
			if err != nil {
				return err
			}
			signed, err := c.Decline(r, reason, h.Now())
			if err != nil {
				return err
			}
			return h.decide(ctx, c, client, r, signed)
		})
	c.Flags().StringVar(&reason, "reason", "", "one of: "+strings.Join(policy.DeclineReasons, ", "))
	c.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(policy.DeclineReasons, cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // it exists
	return c
}
