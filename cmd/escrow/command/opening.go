package command

import "github.com/spf13/cobra"

// openings is `escrow opening`: what a court of appeal does with the folder of an opening.
func openings(p *program) *cobra.Command {
	return group("opening", "Check and sign the folder that an opening was saved in", openingCheck(p), openingSign(p))
}
