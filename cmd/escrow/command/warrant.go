package command

import "github.com/spf13/cobra"

// warrant is `escrow warrant`: what a court and a requester do.
func warrant(p *program) *cobra.Command {
	return group("warrant", "Sign, file, follow and open warrants",
		warrantKeygen(p), warrantNew(p), warrantCheck(p), warrantSign(p), warrantValidate(p), warrantFile(p), warrantList(p), warrantStatus(p), warrantOpen(p),
		warrantExtend(p), warrantSecrecy(p), warrantRedeliver(p), warrantWithdraw(p), warrantAnnul(p), warrantAnswer(p), warrantRule(p), warrantObjections(p), warrantDeleted(p))
}
