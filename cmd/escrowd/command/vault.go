package command

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/vault"
)

func vaultCommand() *cobra.Command {
	var admin vault.Admin
	var tokenFile string
	bootstrap := &cobra.Command{
		Use: "bootstrap", Short: "Prepare Vault: keys, policies and AppRoles; prints what it changed",
		Example: "  escrowd vault bootstrap --address https://vault.example:8200 --token-file /root/vault-token",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := shell.Require(cmd, "address", "token-file"); err != nil {
				return err
			}
			if admin.Token, err = secretfile.ReadText(tokenFile); err != nil {
				return err
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
	bootstrap.Flags().StringVar(&admin.Address, "address", "", "Vault's address, https://…")
	bootstrap.Flags().StringVar(&admin.CAFile, "ca-file", "", "certificate authority of Vault, PEM")
	bootstrap.Flags().StringVar(&tokenFile, "token-file", "", "file (mode 0600) with an administrator's token; no service keeps one")
	c := &cobra.Command{Use: "vault", Short: "Prepare Vault"}
	c.AddCommand(bootstrap)
	return c
}
