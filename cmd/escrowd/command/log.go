package command

import (
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/escrow/translog"
)

func logCommand() *cobra.Command {
	c := &cobra.Command{Use: "log", Short: "Check the public log against the database, and bring an old backup back to it"}
	c.AddCommand(logCheck(), logReconcile(), logKeygen())
	return c
}

func logCheck() *cobra.Command {
	var dsn, audit string
	c := &cobra.Command{
		Use: "check", Short: "Compare every case, decision, bundle and erasure in the database with its leaf in the public log",
		Long: "Compare every case, decision, bundle and erasure in the database with its leaf in the public log.\n" +
			"With --vault-audit compare Vault's own audit file as well: it must show no more opened halves than the\n" +
			"authorised cases account for, and no more secret ids than renewals need.",
		Example: "  escrowd log check --database-file /etc/penname/disclosing.dsn\n" +
			"  escrowd log check --database-file /etc/penname/disclosing.dsn --vault-audit /var/log/vault/audit.log",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := shell.Require(cmd, "database-file"); err != nil {
				return err
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
			if audit == "" {
				return say(cmd, map[string]any{"lost": lostJSON(lost)}, "%s", lostText(lost))
			}
			opened, err := service.CheckVaultAudit(cmd.Context(), store, audit)
			if err != nil {
				return err
			}
			renewed, byHand, err := service.CheckSecretIDs(audit)
			if err != nil {
				return err
			}
			return say(cmd, map[string]any{"lost": lostJSON(lost), "opened": opened, "secret_ids": map[string]int{"renewed": renewed, "by_hand": byHand}},
				"Vault opened %d first halves, and the log authorised each of them\nit minted %d secret ids for renewals, in their rhythm, and %d by hand\n%s", opened, renewed, byHand, lostText(lost))
		},
	}
	c.Flags().StringVar(&audit, "vault-audit", "", "the file of one audit device of Vault, whole")
	databaseFlag(c, &dsn, "role penname_disclosing")
	return c
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
