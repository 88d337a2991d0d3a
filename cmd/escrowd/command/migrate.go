package command

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/service"
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

func schemaCommand() *cobra.Command {
	var file string
	var schema int64
	c := &cobra.Command{
		Use: "schema", Short: "Say whether a program may run on the database as it is",
		Long: "Says whether a program may run on the database that a configuration names, as it is: this program, or\n" +
			"one that is about to take its place, which was made for the schema that --for names. Packages ask it\n" +
			"before they change anything. Exit code 1 if it may not, or the database does not say.",
		Example: "  escrowd schema --config /etc/penname/issuing-1.toml\n  escrowd schema --config /etc/penname/issuing-1.toml --for 31",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if schema == 0 {
				if schema, err = postgres.SchemaVersion(); err != nil {
					return err
				}
			}
			err = service.MayRun(cmd.Context(), file, schema)
			migrate := errors.Is(err, postgres.ErrSchemaOlder)
			if err != nil && !migrate {
				return err
			}
			text := fmt.Sprintf("programs of schema %d may run on it", schema)
			if migrate {
				text += ", once it is migrated: escrowd migrate, with that program"
			}
			return say(cmd, map[string]any{"schema": schema, "migrate_first": migrate}, "%s", text)
		},
	}
	c.Flags().StringVar(&file, "config", "/etc/penname/escrowd.toml", "the configuration file of the service")
	c.Flags().Int64Var(&schema, "for", 0, "schema that the program was made for, a number (default: this program's)")
	return c
}

// planned is a plan in words.
func planned(p postgres.Plan) string {
	if len(p.Steps) == 0 {
		return fmt.Sprintf("nothing to do: the schema is version %d", p.From) + newer(p.From)
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

// newer is what is to be said of a schema that a later program made.
func newer(schema int64) string {
	if mine, err := postgres.SchemaVersion(); err == nil && schema > mine {
		return fmt.Sprintf(", of a later program; this one, of schema %d, may run on it as it is", mine)
	}
	return ""
}

// done is what a migration did, in words.
func done(m postgres.Migration) string {
	text := fmt.Sprintf("the schema is up to date: version %d, as before", m.To) + newer(m.To)
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
