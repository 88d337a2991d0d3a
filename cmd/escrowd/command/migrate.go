package command

import (
	"fmt"
	"strings"

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
			var m postgres.Migration
			if err := m.Run(cmd.Context(), admin); err != nil {
				return err
			}
			return say(cmd, struct {
				UpToDate bool `json:"up_to_date"`
				postgres.Migration
			}{true, m}, "%s", done(m))
		},
	}
	databaseFlag(c, &dsn, "the database's owner")
	return c
}

// done is what a migration did, in words.
func done(m postgres.Migration) string {
	text := fmt.Sprintf("the schema is up to date: version %d, as before", m.To)
	switch {
	case m.From == 0:
		text = fmt.Sprintf("the schema is up to date: made, version %d", m.To)
	case m.From < m.To:
		text = fmt.Sprintf("the schema is up to date: from version %d to %d", m.From, m.To)
	}
	if len(m.Roles) > 0 {
		text += "\nmade the roles " + strings.Join(m.Roles, ", ") + ", which have no password yet: give each one its own"
	}
	return text
}
