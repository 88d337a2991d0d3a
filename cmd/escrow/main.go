// Command escrow is for everybody outside the service: courts, custodians,
// auditors and people who check the public log for themselves. It contains no
// line of the server.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/penname/penname/cmd/escrow/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	os.Exit(command.Run(ctx, os.Args[1:], command.System()))
}
