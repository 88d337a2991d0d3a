package command

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/vault"
)

func logCommand() *cobra.Command {
	c := &cobra.Command{Use: "log", Short: "Check the public log against the database, and bring an old backup back to it"}
	c.AddCommand(logCheck(), logReconcile(), logKeygen())
	return c
}

func logCheck() *cobra.Command {
	var dsn, since string
	var files []string
	c := &cobra.Command{
		Use: "check", Short: "Compare every case, decision, bundle and erasure in the database with its leaf in the public log",
		Long: "Compare every case, decision, bundle and erasure in the database with its leaf in the public log.\n" +
			"With --vault-audit compare Vault's own audit files as well, the one that is being written and the rotated\n" +
			"ones, packed or not: they must be whole, show no more opened halves than the authorised cases account for,\n" +
			"and no more secret ids than renewals need.",
		Example: "  escrowd log check --database-file /etc/penname/disclosing.dsn\n" +
			"  escrowd log check --database-file /etc/penname/disclosing.dsn --vault-audit '/var/log/vault/audit.log*'\n" +
			"  escrowd log check --database-file /etc/penname/disclosing.dsn --vault-audit '/var/log/vault/audit.log*' --since 2026-11-01",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := shell.Require(cmd, "database-file"); err != nil {
				return err
			}
			var from time.Time
			if since != "" {
				var err error
				if from, err = time.Parse(time.DateOnly, since); err != nil || len(files) == 0 {
					return shell.UsageError("--since is a day like 2026-11-01, and goes with --vault-audit")
				}
			}
			store, err := service.OpenDisclosingStore(cmd.Context(), dsn)
			if err != nil {
				return err
			}
			defer store.Close()
			if err := store.Check(cmd.Context()); err != nil {
				return err
			}
			lost, err := store.Lost(cmd.Context())
			if err != nil {
				return err
			}
			if len(files) == 0 {
				return say(cmd, map[string]any{"lost": lostJSON(lost)}, "%s", lostText(lost))
			}
			return checkAudit(cmd, store, files, from, lost)
		},
	}
	c.Flags().StringArrayVar(&files, "vault-audit", nil, "a file of one audit device of Vault, or a pattern in quotes; can be given again, in any order")
	c.Flags().StringVar(&since, "since", "", "first day (UTC) that counts, if older audit files are gone: 2026-11-01")
	databaseFlag(c, &dsn, "role penname_disclosing")
	return c
}

// checkAudit compares Vault's audit files with the log, and says what was found.
func checkAudit(cmd *cobra.Command, store *postgres.Disclosing, files []string, since time.Time, lost []postgres.Lost) error {
	progress := shell.Progress(cmd)
	audit, err := vault.ReadAudit(cmd.Context(), files, since, func(read, size int64) {
		fmt.Fprintf(progress, "%d of %d MB read\n", read>>20, size>>20)
	})
	if err != nil {
		return err
	}
	err = service.CheckVaultAudit(cmd.Context(), store, audit, since)
	if gap := audit.Whole(time.Now()); gap != nil && !errors.Is(err, service.ErrUnlogged) {
		err = gap
	}
	if err != nil {
		return err
	}
	renewed, byHand, err := service.CheckSecretIDs(audit)
	if err != nil {
		return err
	}
	opened, span := len(audit.Opened), fmt.Sprintf("%s to %s", audit.From.UTC().Format(time.RFC3339), audit.To.UTC().Format(time.RFC3339))
	return say(cmd, map[string]any{"lost": lostJSON(lost), "opened": opened, "secret_ids": map[string]int{"renewed": renewed, "by_hand": byHand},
		"audit": map[string]any{"files": audit.Files, "entries": audit.Entries, "from": audit.From, "to": audit.To}},
		"Vault opened %d first halves, and the log authorised each of them\nit minted %d secret ids for renewals, in their rhythm, and %d by hand\nits record is whole, from %s: %d entries in %d files\n%s",
		opened, renewed, byHand, span, audit.Entries, audit.Files, lostText(lost))
}

func logKeygen() *cobra.Command {
	var origin string
	c := &cobra.Command{
		Use: "keygen FILE", Short: "Make the key that signs the public log, and print its verifier key for the bundle", Args: cobra.ExactArgs(1),
		Example: "  escrowd log keygen /etc/penname/log.key --origin penname.example/log",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := shell.Require(cmd, "origin"); err != nil {
				return err
			}
			secret, vkey, err := translog.NewKey(origin)
			if err != nil {
				return err
			}
			if err := secretfile.Create(args[0], []byte(secret+"\n")); err != nil {
				return err
			}
			return say(cmd, map[string]string{"origin": origin, "vkey": vkey}, "%s", vkey)
		},
	}
	c.Flags().StringVar(&origin, "origin", "", "name of the log, which it keeps for ever: its address without the scheme")
	return c
}
