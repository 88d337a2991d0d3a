package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/escrow/vault"
)

func vaultCommand() *cobra.Command {
	c := &cobra.Command{Use: "vault", Short: "Prepare Vault, and take snapshots of it"}
	c.AddCommand(vaultBootstrap(), vaultSecretID(), vaultSnapshot())
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
		Use: "bootstrap", Short: "Prepare Vault: keys, policies and AppRoles; prints what it changed, and what the configuration needs",
		Long: "Prepare Vault: keys, policies and AppRoles; prints what it changed, and the sections of the configuration,\n" +
			"ready to paste. Run again, it changes nothing and prints the same sections.\n\n" +
			"A side that is bound to addresses logs in from nowhere else, and gets a renewer, an AppRole that mints\n" +
			"the next secret id before one ends. The addresses stay until others are named; any takes them back.",
		Example: "  escrowd vault bootstrap --address https://vault.example:8200 --token-file /root/vault-token --issuing-from 192.0.2.1/32 --disclosing-from 192.0.2.2/32 --keeping-from 192.0.2.3/32",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := shell.Require(cmd, "address", "token-file"); err != nil {
				return err
			}
			admin.BoundCIDRs = make(map[vault.Side][]string)
			for side, given := range from {
				if name := shortName(side) + "-from"; cmd.Flags().Changed(name) {
					if admin.BoundCIDRs[side], err = vault.ParseAddresses(*given); err != nil {
						return shell.UsageError("--%s: %w", name, err)
					}
				}
			}
			if admin.Token, err = secretfile.ReadText(tokenFile); err != nil {
				return err
			}
			changes, err := vault.Bootstrap(cmd.Context(), admin)
			text := "# " + strings.Join(changes, "\n# ")
			if err != nil { // what was done is said even if the rest failed
				if len(changes) > 0 {
					err = errors.Join(err, say(cmd, map[string][]string{"changes": changes}, "%s", text))
				}
				return err
			}
			if len(changes) == 0 {
				text = "# nothing to change"
			}
			ids, err := vault.RoleIDs(cmd.Context(), admin)
			if err != nil {
				return err
			}
			if admin.CAFile != "" { // a service does not start in this folder
				if admin.CAFile, err = filepath.Abs(admin.CAFile); err != nil {
					return err
				}
			}
			sections := vaultSections(admin, tokenFile, ids)
			for _, s := range sections {
				text += "\n\n" + s.String()
			}
			return say(cmd, map[string]any{"changes": append([]string{}, changes...), "sections": sections}, "%s", text)
		},
	}
	adminFlags(c, &admin, &tokenFile, "an administrator's token; no service keeps one")
	for side, cidrs := range from {
		name := shortName(side)
		c.Flags().StringSliceVar(cidrs, name+"-from", nil, "addresses (CIDR) from which the "+name+" side calls Vault, or any, without a renewer; default: as before, any at first")
	}
	return c
}

// vaultSection is what the configuration says of Vault for one side.
type vaultSection struct {
	Section             string `json:"section"`
	Address             string `json:"address"`
	CAFile              string `json:"ca_file,omitempty"`
	RoleID              string `json:"role_id"`
	SecretIDFile        string `json:"secret_id_file"`
	RenewerRoleID       string `json:"renewer_role_id,omitempty"`
	RenewerSecretIDFile string `json:"renewer_secret_id_file,omitempty"`
	TokenFile           string `json:"token_file"` // the administrator's, to make secret ids with; no setting
}

// sidesOfVault are the sides in the order of the configuration, each with its section.
var sidesOfVault = []struct {
	side    vault.Side
	section string
}{{vault.SideIssuing, "issue.vault"}, {vault.SideDisclosing, "disclose.vault"}, {vault.SideKeeping, "keep.vault"}}

// shortName is how the command line names a role of Vault: issuing, issuing-renewer.
func shortName(role vault.Side) string { return strings.TrimPrefix(string(role), "penname-") }

// secretIDFile is where the unit lets the service replace a secret id: in the side's folder.
func secretIDFile(role vault.Side) string {
	return "/var/lib/penname/" + strings.TrimSuffix(shortName(role), "-renewer") + "/" + shortName(role) + ".secret-id"
}

func vaultSections(a vault.Admin, tokenFile string, ids map[vault.Side]string) []vaultSection {
	var all []vaultSection
	for _, s := range sidesOfVault {
		v := vaultSection{Section: s.section, Address: a.Address, CAFile: a.CAFile, RoleID: ids[s.side], SecretIDFile: secretIDFile(s.side), TokenFile: tokenFile}
		if id, ok := ids[s.side.Renewer()]; ok {
			v.RenewerRoleID, v.RenewerSecretIDFile = id, secretIDFile(s.side.Renewer())
		}
		all = append(all, v)
	}
	return all
}

// String is the section as the configuration has it.
func (v vaultSection) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[%s]\n", v.Section)
	line := func(name, value string) {
		if value == "" {
			return
		}
		fmt.Fprintf(&b, "%-22s = %q", name, value)
		if strings.HasSuffix(name, "secret_id_file") {
			side := strings.TrimSuffix(filepath.Base(value), ".secret-id")
			fmt.Fprintf(&b, " # on each machine one of its own: escrowd vault secret-id --side %s --out %s --address %s", side, value, v.Address)
			if v.CAFile != "" {
				b.WriteString(" --ca-file " + v.CAFile)
			}
			b.WriteString(" --token-file " + v.TokenFile)
		}
		b.WriteByte('\n')
	}
	line("address", v.Address)
	line("ca_file", v.CAFile)
	line("role_id", v.RoleID)
	line("secret_id_file", v.SecretIDFile)
	line("renewer_role_id", v.RenewerRoleID)
	line("renewer_secret_id_file", v.RenewerSecretIDFile)
	return strings.TrimSuffix(b.String(), "\n")
}

func vaultSecretID() *cobra.Command {
	var admin vault.Admin
	var tokenFile, name, out string
	var wrap time.Duration
	var names []string
	for _, s := range sidesOfVault {
		names = append(names, shortName(s.side), shortName(s.side.Renewer()))
	}
	c := &cobra.Command{
		Use: "secret-id", Short: "Make what one side, or its renewer, logs in to Vault with on one machine",
		Long: "Make what one side, or its renewer, logs in to Vault with on one machine: the file that secret_id_file or\n" +
			"renewer_secret_id_file names. Make one for each machine. A renewer there mints the next ones.\n\n" +
			"With --wrap the file holds a token that gives the secret id once, within that time, so that a copy which was\n" +
			"taken on the way is noticed at the first start: use it when the file is made on another machine.",
		Example: "  escrowd vault secret-id --side issuing --out /var/lib/penname/issuing/issuing.secret-id --address https://vault.example:8200 --token-file /root/vault-token\n" +
			"  escrowd vault secret-id --side issuing-renewer --wrap 10m --out issuing-renewer.secret-id --address https://vault.example:8200 --token-file /root/vault-token",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if err := shell.Require(cmd, "side", "out", "address", "token-file"); err != nil {
				return err
			}
			if !slices.Contains(names, name) {
				return shell.UsageError("--side is one of %s", strings.Join(names, ", "))
			}
			if wrap < 0 || wrap%time.Second != 0 {
				return shell.UsageError("--wrap is a whole number of seconds or more, such as 10m")
			}
			if _, err := os.Lstat(out); err == nil { // before a secret id is made that nobody keeps
				return secretfile.ErrExists.Because(errors.New(out))
			}
			if admin.Token, err = secretfile.ReadText(tokenFile); err != nil {
				return err
			}
			made, err := vault.NewCredentials(cmd.Context(), admin, vault.Side("penname-"+name), wrap)
			if err != nil {
				return err
			}
			if err := secretfile.Create(out, []byte(made.Secret+"\n")); err != nil {
				return err
			}
			text := "written: " + out + ", for role_id " + made.RoleID
			if wrap > 0 {
				text += "; wrapped: the service must start within " + wrap.String()
			}
			return say(cmd, map[string]any{"file": out, "role_id": made.RoleID, "wrapped": wrap > 0}, "%s", text)
		},
	}
	adminFlags(c, &admin, &tokenFile, "an administrator's token; no service keeps one")
	c.Flags().StringVar(&name, "side", "", "whose: "+strings.Join(names, ", "))
	c.Flags().StringVar(&out, "out", "", "file to make, mode 0600; nothing is overwritten. The service's user must own it")
	c.Flags().DurationVar(&wrap, "wrap", 0, "wrap it for this long; default: the secret id itself")
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
			return say(cmd, map[string]any{"group": s.Group, "step": s.Step}, "taken and checked, with the keys of %d groups and what rotations made up to step %d", s.Group, s.Step)
		},
	}
	adminFlags(c, &admin, &tokenFile, "a token that may read sys/storage/raft/snapshot and penname-transit/keys/penname-record, and nothing else")
	databaseFlag(c, &dsn, "role penname_keeping")
	return c
}
