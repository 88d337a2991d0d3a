package command

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

func custodianRefuse(h *home) *cobra.Command {
	var reason string
	c := leaf("refuse CASE", "Decline a case that you reviewed, with a reason that goes into the public log",
		"escrow custodian refuse CASE --reason disproportionate", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if !slices.Contains(policy.DeclineReasons, reason) {
				return custodian.ErrReason // before anybody types a passphrase
			}
			return h.answer(ctx, args[0], opening.Decline, reason, func(c seat, r *custodian.Review) (string, error) {
				return c.Decline(r, reason, h.Now())
			})
		})
	c.Flags().StringVar(&reason, "reason", "", "one of: "+strings.Join(policy.DeclineReasons, ", "))
	c.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(policy.DeclineReasons, cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // it exists
	return c
}
