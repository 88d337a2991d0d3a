// Command escrow is for everybody outside the service: courts, custodians,
// auditors and people who check the public log for themselves. It contains no
// line of the server.
package main

import (
	"os"

	"github.com/penname/penname/cmd/escrow/command"
)

func main() { os.Exit(command.Run(command.Ended(), os.Args[1:], command.System())) }
