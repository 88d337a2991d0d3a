// Package command is the escrowd program as a value, so that the sandbox and the
// walkthroughs run the very code that operators run.
//
//	escrowd serve     runs the service from one strict configuration file
//	escrowd status    says how a running service is
//	escrowd migrate   brings the database to this version's schema
//	escrowd schema    says whether a program may run on the database
//	escrowd bundle    writes new rules, and puts endorsed ones in force
//	escrowd vault     prepares Vault
//	escrowd log       makes the key of the public log, and checks the database against it
//	escrowd keys      rotates the record key
//	escrowd review    decides about enrolments that are held
//	escrowd platform  registers platforms
//	escrowd ceremony  hosts the custodians' key ceremonies
package command

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
)

// Run runs the program with args, without the program's name, and returns its
// exit code: see [shell.Execute].
func Run(ctx context.Context, args []string, out, errs io.Writer) int {
	root := newRoot()
	root.SetOut(out)
	root.SetErr(errs)
	return shell.Execute(ctx, root, args)
}

// Commands are all of the program, for its manual pages and completions.
func Commands() *cobra.Command {
	root := newRoot()
	shell.Prepare(root)
	return root
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "escrowd", Short: "Pseudonyms that are unlinkable, and open only under a logged warrant",
		Long: "escrowd is the Penname service, and what its operator does beside it.\n\n" +
			"Exit codes: 0 done; 1 refused or failed, with a code and how to mend it; 2 wrong\n" +
			"usage; 130 interrupted.",
		Example: "  escrowd serve --config /etc/penname/escrowd.toml",
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.AddCommand(serveCommand(), statusCommand(), migrateCommand(), schemaCommand(), bundleCommand(), vaultCommand(), logCommand(), keysCommand(), reviewCommand(), ceremonyCommand(), platformCommand())
	return root
}

// say prints v under --json, else the text.
func say(cmd *cobra.Command, v any, format string, args ...any) error {
	return shell.Print(cmd.OutOrStdout(), shell.AsJSON(cmd), v, fmt.Sprintf(format, args...))
}

// databaseFlag is the flag that names the file with a DSN.
func databaseFlag(c *cobra.Command, dsn *string, role string) {
	c.PersistentFlags().StringVar(dsn, "database-file", "", "file (mode 0600) with the DSN of "+role)
}
