package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/secretfile"
)

func migrateCommand() *cobra.Command {
	var dsn string
	var plan bool
	var m postgres.Migration
	c := &cobra.Command{
		Use: "migrate", Short: "Bring the database to this version's schema and grants",
		Long: "Brings the database to this version's schema and grants, while the services go on.\n\n" +
			"What changes a table that they use waits 50 ms for its lock, and tries again after a pause. " +
			"What makes an index or moves rows holds nobody up, and takes its time. " +
			"It may be ended at any moment, and goes on when it is run again.",
		Example: "  escrowd migrate --database-file /root/owner.dsn --plan\n  escrowd migrate --database-file /root/owner.dsn",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := shell.Require(cmd, "database-file"); err != nil {
				return err
			}
			if m.Wait < time.Second { // 0 would be ten minutes, and a part of a millisecond for ever
				return shell.UsageError("--wait has to be a second at least, as in --wait 1m")
			}
			admin, err := secretfile.ReadText(dsn)
			if err != nil {
				return err
			}
			if plan {
				p, err := m.Plan(cmd.Context(), admin)
				if err != nil {
					return err
				}
				return say(cmd, p, "%s", planned(p))
			}
			m.Say = func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), line) }
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
	c.Flags().BoolVar(&plan, "plan", false, "say what would be done, which programs may go on and what is locked, and do nothing")
	c.Flags().DurationVar(&m.Wait, "wait", 10*time.Minute, "how long to try for the lock of one step")
	return c
}

// planned is a plan in words.
func planned(p postgres.Plan) string {
	if len(p.Steps) == 0 {
		return fmt.Sprintf("nothing to do: the schema is version %d", p.From)
	}
	text := fmt.Sprintf("from version %d to %d:", p.From, p.To)
	if p.From == 0 {
		return text + " the schema is made, and nobody uses it"
	}
	for _, s := range p.Steps {
		text += fmt.Sprintf("\n  %s: waits for a lock for %s at most, again and again", s.Name, s.Lock)
	}
	if p.Since > p.From {
		return text + fmt.Sprintf("\nstop programs of a schema before %d first: they may not run on the new one (/metrics of each says its schema: penname_build_info)", p.Since)
	}
	return text + fmt.Sprintf("\nprograms of schema %d and later may go on: migrate, then restart one process after the other", p.Since)
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
