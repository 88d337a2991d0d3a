package command

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Ended is a context that ends with the first signal that ends the program: Ctrl-C, SIGTERM,
// SIGQUIT, which would print where keys lie, and that of a terminal that is closed, unless the
// program was started not to mind it (nohup). It can clean up then; a second signal ends it at
// once. A closed terminal often sends two, of which the second does nothing.
func Ended() context.Context {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), all...)
	context.AfterFunc(ctx, func() {
		signal.Ignore(syscall.SIGHUP)
		stop()
	})
	return ctx
}
