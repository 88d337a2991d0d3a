package command

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
)

func custodianRefuse(h *home) *cobra.Command {
	var reason, text string
	var sure bool
	c := leaf("refuse CASE", "Decline a case that you reviewed, with a reason that goes into the public log",
		"escrow custodian refuse CASE --reason disproportionate", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if !slices.Contains(policy.DeclineReasons, reason) {
				return custodian.ErrReason // before anybody types a passphrase
			}
			if err := h.canConfirm(sure); err != nil {
				return err
			}
			return h.answer(ctx, args[0], opening.Decline, reason, text, nil, func(c seat, r *custodian.Review) (string, error) {
				if err := custodian.CheckReason(reason); err != nil {
					return "", err
				}
				shown := fmt.Sprintf("\nThis is signed and sent for case %s:\n  all its targets, %d: decline, %s (%s)\n", r.Case, len(r.Targets), reason, reasonWords[reason])
				if err := h.confirm(ctx, sure, r.Summary()+document.Printable(shown)+lastWords(text)); err != nil {
					return "", err
				}
				return c.Decline(r, reason, h.Now())
			})
		})
	addYes(c, &sure)
	addText(c, &text)
	c.Flags().StringVar(&reason, "reason", "", "one of: "+strings.Join(custodian.Reasons(), ", "))
	c.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(custodian.Reasons(), cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // it exists
	return c
}
