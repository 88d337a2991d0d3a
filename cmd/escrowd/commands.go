package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/vault"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/identity"
)

func serveCommand() *cobra.Command {
	var file string
	var check bool
	c := &cobra.Command{
		Use: "serve", Short: "Run the service from its configuration file",
		Example: "  escrowd serve --config /etc/penname/escrowd.toml\n  escrowd serve --config /etc/penname/escrowd.toml --check",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := readConfig(file)
			if err != nil {
				return err
			}
			certificate, err := c.certificate()
			if err != nil {
				return err
			}
			if c.Issue != nil && !check {
				if err := overwriteFreed(); err != nil {
					return err
				}
			}
			s, err := c.open(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer s.Close()
			if check {
				return say(cmd, map[string]bool{"holds": true}, "the configuration holds: certificate, bundle, and what else of database, Vault and identity provider this process needs answer as they must")
			}
			ln, err := net.Listen("tcp", c.Listen)
			if err != nil {
				return errListen.Because(err)
			}
			s.log.Info("serving", slog.String("origin", c.Origin), slog.String("address", ln.Addr().String()))
			return s.Run(cmd.Context(), ln, certificate)
		},
	}
	c.Flags().StringVar(&file, "config", "/etc/penname/escrowd.toml", "the configuration file")
	c.Flags().BoolVar(&check, "check", false, "check everything that a start checks, and stop; spends a wrapped secret id")
	return c
}

// open makes the service that the configuration describes. Every doubt refuses.
func (c *config) open(ctx context.Context, logs io.Writer) (_ *service, err error) {
	w := wiring{log: slog.New(slog.NewJSONHandler(logs, nil)), now: time.Now, origin: c.Origin}
	raw, err := shell.ReadFile(c.Bundle)
	if err != nil {
		return nil, err
	}
	if w.bundle, err = policy.ParseBundle(raw); err != nil {
		return nil, err
	}
	if w.bundle.Registrar != c.Origin || c.Issue != nil && w.bundle.Issuer != c.Origin {
		return nil, errConfigBundle
	}
	s := &service{wiring: w}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if c.Issue != nil {
		if s.issuing, err = c.Issue.open(ctx, c.Origin, w.bundle); err != nil {
			return nil, err
		}
	}
	if c.Disclose != nil {
		if s.disclosing, err = c.Disclose.open(ctx, w.bundle); err != nil {
			return nil, err
		}
	}
	if c.Keep != nil {
		if s.keeping, err = c.Keep.open(ctx); err != nil {
			return nil, err
		}
	}
	return newService(ctx, s.wiring)
}

func (c *issueConfig) open(ctx context.Context, origin string, b *policy.Bundle) (_ *issuingSide, err error) {
	i := &issuingSide{}
	if i.cookieKey, err = readCookieKey(c.CookieKey); err != nil {
		return nil, err
	}
	if i.tokenKeys, err = readTokenKeys(c.TokenKeys, b); err != nil {
		return nil, err
	}
	if i.platforms, err = c.platforms(b); err != nil {
		return nil, err
	}
	secret := ""
	if c.IdentityProvider.ClientSecret != "" {
		if secret, err = readSecret(c.IdentityProvider.ClientSecret); err != nil {
			return nil, err
		}
	}
	i.relyingParty, err = identity.NewRelyingParty(ctx, identity.Provider{
		Issuer: c.IdentityProvider.Issuer, ClientID: c.IdentityProvider.ClientID, ClientSecret: secret,
		RedirectURL: origin + "/enrol/callback", Scopes: c.IdentityProvider.Scopes, ACRValues: c.IdentityProvider.ACRValues,
	}, time.Now)
	if err != nil {
		return nil, err
	}
	if i.keys, err = vault.OpenIssuing(ctx, c.Vault.config()); err != nil {
		return nil, err
	}
	dsn, err := readSecret(c.Database)
	if err != nil {
		return nil, err
	}
	i.store, err = postgres.OpenIssuing(ctx, dsn, postgres.Options{})
	return i, err
}

func (c *discloseConfig) open(ctx context.Context, b *policy.Bundle) (_ *disclosingSide, err error) {
	d := &disclosingSide{}
	skey, err := readSecret(c.LogKey)
	if err != nil {
		return nil, err
	}
	if d.signer, err = translog.NewSigner(skey); err != nil {
		return nil, errConfigSecret // the cause could quote the key
	}
	if d.keys, err = vault.OpenDisclosing(ctx, c.Vault.config()); err != nil {
		return nil, err
	}
	if d.store, err = openDisclosing(ctx, c.Database); err != nil {
		return nil, err
	}
	// The rules cannot change in the dark: what runs is what was endorsed and logged.
	rules := disclose.Rules{Bundles: d.store.Bundles}
	inForce, err := rules.Current(ctx)
	if err == nil && inForce.Hash() != b.Hash() {
		err = errConfigRules.Because(errors.New("in force is " + inForce.Hash()))
	}
	if err != nil {
		d.store.Close()
		return nil, err
	}
	return d, nil
}

// openDisclosing opens the database at the address in a secret file.
func openDisclosing(ctx context.Context, dsnFile string) (*postgres.Disclosing, error) {
	dsn, err := readSecret(dsnFile)
	if err != nil {
		return nil, err
	}
	return postgres.OpenDisclosing(ctx, dsn, postgres.Options{})
}

func (v vaultConfig) config() vault.Config {
	return vault.Config{Address: v.Address, CAFile: v.CAFile, RoleID: v.RoleID, SecretIDFile: v.SecretIDFile}
}

// Close closes the connections to the database.
func (s *service) Close() {
	if s.issuing != nil && s.issuing.store != nil {
		s.issuing.store.Close()
	}
	if s.disclosing != nil && s.disclosing.store != nil {
		s.disclosing.store.Close()
	}
	if s.keeping != nil && s.keeping.store != nil {
		s.keeping.store.Close()
	}
}

func migrateCommand() *cobra.Command {
	var dsn string
	c := &cobra.Command{
		Use: "migrate", Short: "Bring the database to this version's schema and grants",
		Example: "  escrowd migrate --database-file /root/owner.dsn",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := shell.Require(cmd, "database-file"); err != nil {
				return err
			}
			admin, err := readSecret(dsn)
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

func bundleCommand() *cobra.Command {
	var dsn string
	install := &cobra.Command{
		Use: "install BUNDLE ENDORSEMENTS", Short: "Put endorsed rules in force, with a leaf in the public log", Args: cobra.ExactArgs(2),
		Example: "  escrowd bundle install bundle.json endorsements.txt --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := shell.Require(cmd, "database-file"); err != nil {
				return err
			}
			bundle, err := shell.ReadFile(args[0])
			if err != nil {
				return err
			}
			endorsements, err := shell.ReadFile(args[1])
			if err != nil {
				return err
			}
			store, err := openDisclosing(cmd.Context(), dsn)
			if err != nil {
				return err
			}
			defer store.Close()
			rules := disclose.Rules{Bundles: store.Bundles, Ceremonies: store.Ceremonies, Now: time.Now}
			if err := rules.Install(cmd.Context(), bundle, strings.Fields(string(endorsements))); err != nil {
				return err
			}
			sum := sha256.Sum256(bundle)
			hash := hex.EncodeToString(sum[:])
			return say(cmd, map[string]string{"bundle": hash}, "the rules %s are in force and in the public log: restart escrowd serve with the same file", hash)
		},
	}
	databaseFlag(install, &dsn, "role penname_disclosing")
	c := &cobra.Command{Use: "bundle", Short: "Write new rules, and put endorsed ones in force"}
	c.AddCommand(bundleWrite(), install)
	return c
}

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
			if admin.Token, err = readSecret(tokenFile); err != nil {
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
	build := &cobra.Command{
		Use: "build", Short: "Build the Vault of the sandbox and the tests, if it is missing; prints where it is",
		Example: "  escrowd vault build",
		RunE: func(cmd *cobra.Command, _ []string) error {
			binary, err := sandbox.VaultBinary(cmd.Context(), progress(cmd))
			if err != nil {
				return err
			}
			return say(cmd, map[string]string{"binary": binary}, "%s", binary)
		},
	}
	c := &cobra.Command{Use: "vault", Short: "Prepare Vault"}
	c.AddCommand(bootstrap, build)
	return c
}

func devCommand() *cobra.Command {
	var o devOptions
	var once bool
	var logFile string
	c := &cobra.Command{
		Use: "dev", Short: "Start a complete sandbox on loopback and play the story against it",
		Example: "  escrowd dev\n  escrowd dev --once\n  escrowd dev --vault",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.logOutput, o.progress = io.Discard, cmd.ErrOrStderr()
			if logFile != "" {
				f, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
				if err != nil {
					return err
				}
				defer f.Close()
				o.logOutput = f
			}
			return runSandbox(cmd.Context(), o, once, cmd.OutOrStdout())
		},
	}
	c.Flags().StringVar(&o.listen, "listen", "127.0.0.1:0", "loopback address of the service")
	c.Flags().BoolVar(&o.vault, "vault", false, "use a real Vault instead of the local keyring (built once if missing)")
	c.Flags().BoolVar(&once, "once", false, "exit after the story: 0 only if every step held")
	c.Flags().StringVar(&logFile, "log", "", "file to append the service's log to")
	return c
}

func runSandbox(ctx context.Context, o devOptions, once bool, out io.Writer) (err error) {
	start := time.Now()
	o.behind = storyTime
	t, err := startTestbed(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := t.Close(); err == nil {
			err = cerr
		}
	}()
	fmt.Fprintf(out, "Penname sandbox: PostgreSQL, an identity provider, two platforms, three custodians (started in %.1f s)\nKey service: %s\n\n",
		time.Since(start).Seconds(), t.keyName)
	s := newStory(t, out)
	if err := s.play(ctx); err != nil {
		return err
	}
	if once {
		fmt.Fprintf(out, "\nEvery step held (%.1f s in all).\n", time.Since(start).Seconds())
		return nil
	}
	if err := s.file(ctx); err != nil { // another warrant, for who tries next
		return err
	}
	chidi := t.path("custodians", "chidi")
	fmt.Fprintf(out, `
Every step held. The sandbox stays up; stop it with Ctrl-C.
  Penname            %s
  Town Square        %s
  School Forum       %s
  identity provider  %s
Three things to try next:
  1. open %s in a browser and sign in as one of the test people
  2. audit the public log yourself:
     go run ./cmd/escrow log audit --bundle %s --server %s
  3. be the custodian Chidi: a second warrant waits. Check it, then approve or refuse it:
     go run ./cmd/escrow custodian review %s --home %s --passphrase-file %s
`, t.origin, t.town.origin, t.school.origin, t.identity, t.town.origin, t.path("bundle.json"), t.origin, s.caseID, chidi, passphraseFile(chidi))
	<-ctx.Done()
	return nil
}
