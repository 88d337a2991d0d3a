// Command escrowd is the Penname service, and what its operator does beside it.
// It contains no line of the sandbox: that is escrow-sandbox.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/penname/penname/cmd/escrowd/command"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	os.Exit(command.Run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
