package command

import "github.com/spf13/cobra"

// platform is `escrow platform`: what a platform does on its own machine.
func platform(p *program) *cobra.Command {
	return group("platform", "Sign what a platform has to sign", platformCountersign(p))
}
