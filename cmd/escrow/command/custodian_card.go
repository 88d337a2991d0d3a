package command

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
)

func custodianCard(h *home) *cobra.Command {
	return leaf("card", "Print the public parts for a plan and a bundle, with a fresh key for the next ceremony",
		"escrow custodian card > alba.json", cobra.NoArgs, func(ctx context.Context, _ []string) error {
			c, err := h.open(ctx)
			if err != nil {
				return err
			}
			return printCard(h, c)
		})
}

// printCard prints a policy.Seat as JSON, always: it goes into a file.
func printCard(h *home, c *custodian.Custodian) error {
	b, err := cardOf(c)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(h.Stdout, string(b))
	return err
}

// cardOf is the card of a folder, as it goes into a file.
func cardOf(c *custodian.Custodian) ([]byte, error) {
	card, err := c.Card()
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(card, "", "  ")
}
