package command

import (
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/secretfile"
)

func migrateCommand() *cobra.Command {
	var dsn string
	c := &cobra.Command{
		Use: "migrate", Short: "Bring the database to this version's schema and grants",
		Example: "  escrowd migrate --database-file /root/owner.dsn",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := shell.Require(cmd, "database-file"); err != nil {
				return err
			}
			admin, err := secretfile.ReadText(dsn)
			if err != nil {
				return err
			}
			if err := postgres.Migrate(cmd.Context(), admin); err != nil {
				return err
			}
			return say(cmd, map[string]bool{"up_to_date": true}, "the schema is up to date")
		},
	}
	databaseFlag(c, &dsn, "the database's owner")
	return c
}
