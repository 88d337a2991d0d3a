package command

import "github.com/spf13/cobra"

// warrant is `escrow warrant`: what a court and a requester do.
func warrant(p *program) *cobra.Command {
	return group("warrant", "Sign, file, follow and open warrants",
		warrantKeygen(p), warrantSign(p), warrantWithdraw(p), warrantFile(p), warrantStatus(p), warrantOpen(p), warrantDeleted(p))
}
