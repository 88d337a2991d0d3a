package command

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/seal/ceremony"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

func custodianCeremony(h *home) *cobra.Command {
	var agreed string
	var once bool
	var every time.Duration
	c := leaf("ceremony PLAN", "Make the custodians' key together, or move it to another set of custodians, each on their own machine",
		"escrow custodian ceremony plan.json --agree 3f29…", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if every < time.Second {
				return shell.UsageError("--every is at least 1s")
			}
			raw, err := h.readFile(args[0])
			if err != nil {
				return err
			}
			c, err := h.open(ctx)
			if err != nil {
				return err
			}
			if once {
				every = 0
			}
			s, err := h.takePart(ctx, c, raw, agreed, every, func(plan string) {
				if !h.json {
					fmt.Fprint(h.Stderr, plan)
				}
			}, h.progress)
			if err != nil {
				return err
			}
			return h.print(s, s.String())
		})
	c.Flags().StringVar(&agreed, "agree", "", "the plan's hash, as all participants have compared it; needed once")
	c.Flags().BoolVar(&once, "once", false, "do what can be done now and stop, instead of waiting for the others")
	c.Flags().DurationVar(&every, "every", 5*time.Second, "how often to look for messages")
	c.AddCommand(custodianCeremonyVerify(h.program))
	return c
}

// takePart takes part in the ceremony of a plan: see custodian.Join for agreed and
// custodian.Participation.Run for every. unagreed is given what one reads before agreeing, where that is missing.
func (h *home) takePart(ctx context.Context, c *custodian.Custodian, raw []byte, agreed string, every time.Duration, unagreed func(plan string), progress func(format string, args ...any)) (s custodian.CeremonyStatus, err error) {
	plan, err := policy.ParseCeremonyPlan(raw)
	if err != nil {
		return s, err
	}
	// A plan starts from the key in force, and the folder may have seen older rules.
	if _, err := h.known(ctx, c); err != nil {
		return s, err
	}
	participation, err := c.Join(plan, agreed)
	if errors.Is(err, custodian.ErrNotAgreed) || errors.Is(err, custodian.ErrAgreedOther) {
		unagreed(document.Printable(describe(plan)))
	}
	if err != nil {
		return s, err
	}
	r, err := h.registrar()
	if err != nil {
		return s, err
	}
	return participation.Run(ctx, r.Board(plan.Hash()), every, func(s custodian.CeremonyStatus, err error) {
		if err != nil {
			progress("%s\n", shell.ProblemOf(err).Error())
			return
		}
		progress("%s", s)
	})
}

// describe is what one reads before agreeing.
func describe(plan *policy.CeremonyPlan) string {
	s := fmt.Sprintf("plan %s\n", plan.Hash())
	if plan.Previous == "" {
		s += fmt.Sprintf("a new key, of which %d of %d custodians open together:\n", plan.Threshold, len(plan.Receivers))
	} else {
		s += fmt.Sprintf("the key moves to %d of %d custodians:\n", plan.Threshold, len(plan.Receivers))
	}
	for _, r := range plan.Receivers {
		s += fmt.Sprintf("  %d  %s, %s, %s\n", r.Index, r.ID, r.Name, r.Organisation)
	}
	if plan.Previous != "" {
		s += "from " + strings.Join(ceremony.IDs(plan.Dealers), ", ") + "\n"
	}
	return s
}
