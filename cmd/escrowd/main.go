// Command escrowd is the Penname service.
//
//	escrowd serve    runs it from one strict configuration file
//	escrowd migrate  brings the database to this version's schema
//	escrowd bundle   puts endorsed rules in force
//	escrowd vault    prepares Vault
//	escrowd log      checks the public log against the database
//	escrowd keys     rotates the record key
//	escrowd ceremony hosts the custodians' key ceremonies
//	escrowd dev      is a complete sandbox in one process, on loopback only
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/penname/penname/verifier/refusal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetContext(ctx)
	os.Exit(exitCode(root, root.Execute()))
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "escrowd", Short: "Pseudonyms that are unlinkable, and open only under a logged warrant",
		Example:       "  escrowd dev\n  escrowd serve --config /etc/penname/escrowd.toml",
		SilenceErrors: true, SilenceUsage: true,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(serveCommand(), migrateCommand(), bundleCommand(), vaultCommand(), logCommand(), keysCommand(), ceremonyCommand(), devCommand())
	return root
}

// usageError makes the exit code 2.
type usageError struct{ error }

// exitCode prints one line that says how to mend it. Causes are for the
// operator, who is who runs this program: they are printed too.
func exitCode(root *cobra.Command, err error) int {
	if err == nil || errors.Is(err, context.Canceled) {
		return 0
	}
	line := err.Error()
	if e := refusal.Of(err); e != nil && e.Unwrap() != nil {
		line += " (" + e.Unwrap().Error() + ")"
	}
	fmt.Fprintln(root.ErrOrStderr(), "escrowd: "+line)
	var usage usageError
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") {
		return 2
	}
	return 1
}
