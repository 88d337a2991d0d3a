package command

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/policy"
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
				return c.decline(r, reason, text, h.Now(), func(shown string) error { return h.confirm(ctx, sure, r.Summary()+shown) })
			})
		})
	addYes(c, &sure)
	addText(c, &text)
	c.Flags().StringVar(&reason, "reason", "", "one of: "+strings.Join(custodian.Reasons(), ", "))
	c.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(custodian.Reasons(), cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // it exists
	return c
}

// decline signs the refusal of a case, once confirm agrees to what is shown of it.
func (s seat) decline(r *custodian.Review, reason, text string, now time.Time, confirm func(shown string) error) (signed string, err error) {
	if err := custodian.CheckReason(reason); err != nil {
		return "", err
	}
	if err := confirm(declined(r, reason) + lastWords(text)); err != nil {
		return "", err
	}
	return s.Decline(r, reason, now)
}
