package command

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/escrow/vault"
)

func vaultCommand() *cobra.Command {
	c := &cobra.Command{Use: "vault", Short: "Prepare Vault, and take snapshots of it"}
	c.AddCommand(vaultBootstrap(), vaultSnapshot())
	return c
}

// adminFlags are those by which a person calls Vault.
func adminFlags(c *cobra.Command, a *vault.Admin, tokenFile *string, token string) {
	c.Flags().StringVar(&a.Address, "address", "", "Vault's address, https://…")
	c.Flags().StringVar(&a.CAFile, "ca-file", "", "certificate authority of Vault, PEM")
	c.Flags().StringVar(tokenFile, "token-file", "", "file (mode 0600) with "+token)
}

func vaultBootstrap() *cobra.Command {
	var admin vault.Admin
	var tokenFile string
	from := map[vault.Side]*[]string{vault.SideIssuing: {}, vault.SideDisclosing: {}, vault.SideKeeping: {}}
	c := &cobra.Command{
		Use: "bootstrap", Short: "Prepare Vault: keys, policies and AppRoles; prints what it changed",
		Long: "Prepare Vault: keys, policies and AppRoles; prints what it changed.\n\n" +
			"A side that is bound to addresses logs in from nowhere else, and gets a renewer, an AppRole that mints\n" +
			"the next secret id before one ends. Name the same addresses each time.",
		Example: "  escrowd vault bootstrap --address https://vault.example:8200 --token-file /root/vault-token --issuing-from 192.0.2.1/32 --disclosing-from 192.0.2.2/32 --keeping-from 192.0.2.3/32",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := shell.Require(cmd, "address", "token-file"); err != nil {
				return err
			}
			if admin.Token, err = secretfile.ReadText(tokenFile); err != nil {
				return err
			}
			admin.BoundCIDRs = make(map[vault.Side][]string)
			for side, cidrs := range from {
				admin.BoundCIDRs[side] = *cidrs
			}
			changes, err := vault.Bootstrap(cmd.Context(), admin)
			text := strings.Join(changes, "\n")
			if err == nil && len(changes) == 0 {
				text = "nothing to change"
			}
			if len(text) > 0 { // what was done is said even if the rest failed
				err = errors.Join(err, say(cmd, map[string][]string{"changes": append([]string{}, changes...)}, "%s", text))
			}
			return err
		},
	}
	adminFlags(c, &admin, &tokenFile, "an administrator's token; no service keeps one")
	for side, cidrs := range from {
		name := strings.TrimPrefix(string(side), "penname-")
		c.Flags().StringSliceVar(cidrs, name+"-from", nil, "addresses (CIDR) from which the "+name+" side calls Vault; default: any, and no renewer")
	}
	return c
}

func vaultSnapshot() *cobra.Command {
	var admin vault.Admin
	var tokenFile, dsn string
	c := &cobra.Command{
		Use: "snapshot FILE", Short: "Take a snapshot of Vault, check that it is whole, and let the service know", Args: cobra.ExactArgs(1),
		Long: "Take a snapshot of Vault's Raft storage, check that it is whole, and let the service know, which warns while\n" +
			"it knows of none of the last week and since the last rotation. Without one, the loss of Vault is the loss of\n" +
			"every pen name and every record. Keep the file apart from backups of the database, and no longer than a restore\n" +
			"needs: vault operator raft snapshot restore, with the unseal keys of this Vault.",
		Example: "  escrowd vault snapshot /srv/vault/today.snap --address https://vault.example:8200 --token-file /etc/penname/snapshot-token --database-file /etc/penname/keeping.dsn",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := shell.Require(cmd, "address", "token-file", "database-file"); err != nil {
				return err
			}
			if admin.Token, err = secretfile.ReadText(tokenFile); err != nil {
				return err
			}
			s, err := service.TakeSnapshot(cmd.Context(), admin, args[0], dsn)
			if err != nil {
				return err
			}
			return say(cmd, map[string]any{"version": s.Version}, "taken and checked, with version %d of the record key", s.Version)
		},
	}
	adminFlags(c, &admin, &tokenFile, "a token that may read sys/storage/raft/snapshot and penname-transit/keys/penname-record, and nothing else")
	databaseFlag(c, &dsn, "role penname_keeping")
	return c
}
