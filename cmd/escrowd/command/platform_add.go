package command

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/identity"
	"github.com/penname/penname/verifier/refusal"
)

var errTwoSecrets = refusal.New(refusal.Conflict, "platform.two_secrets",
	"the platform has two secrets that count already: once it uses the newer one, forget the older one with escrowd platform rotate-secret --forget-old")

// secretFlags say where a client secret comes from, and where it goes.
type secretFlags struct{ sha256, out string }

func (f *secretFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.sha256, "secret-sha256", "", "SHA-256 of a random secret that the platform made itself, 64 hex digits; without it one is made, and shown once")
	c.Flags().StringVar(&f.out, "secret-out", "", "write the secret that is made to this new file (mode 0600) instead of showing it")
}

// secret returns a hash, and the secret if it was made here.
func (f *secretFlags) secret() (hash openid.SecretHash, made string) {
	if f.sha256 != "" {
		return openid.SecretHash{SHA256: strings.ToLower(f.sha256)}, ""
	}
	made = rand.Text()
	return openid.HashSecret(made), made
}

// hand gives a secret that was made to who asked. It is called before the secret counts:
// one that counts and that nobody has helps nobody.
func (f *secretFlags) hand(hash openid.SecretHash, made string) (h handed, err error) {
	h.SHA256 = hash.SHA256
	switch {
	case made == "":
	case f.out == "":
		h.Secret = made
	default:
		h.File, err = f.out, secretfile.Create(f.out, []byte(made+"\n"))
	}
	return h, err
}

// takeBack forgets a secret that will not count, because of err. It stays in its file if
// that is in doubt: the record may have been stored.
func (h handed) takeBack(err error) error {
	if e := refusal.Of(err); h.File != "" && e != nil && e.Kind != refusal.Unavailable {
		err = errors.Join(err, os.Remove(h.File))
	}
	return err
}

// said is the line about a secret.
func (h handed) said() string {
	switch {
	case h.Secret != "":
		return "\nclient secret, shown once: " + h.Secret
	case h.File != "":
		return "\nclient secret written: " + h.File
	}
	return ""
}

func platformAdd(at *registryFlags) *cobra.Command {
	var f platformFlags
	var s secretFlags
	var rec recordFlags
	c := &cobra.Command{
		Use: "add ID", Short: "Register a platform: one entry in the public log", Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions,
		Long: "Registers a platform: one entry in the public log, and people can sign in to it within seconds. What is left out\n" +
			"and needed is asked for at a terminal.\n\n" +
			"  --kind web      a server that keeps a secret; it is made and shown once\n" +
			"  --kind keys     a server that signs its requests: --jwks or --jwks-uri\n" +
			"  --kind spa      scripts in the browser, which keep no secret; refresh tokens only with DPoP\n" +
			"  --kind native   an app on people's devices, which keeps none either (RFC 8252)\n\n" +
			"Platforms of one sector know people by the same pen names: a site, its app and its API. A sector is a domain\n" +
			"in which all their addresses lie (--sector), or the host of an address that lists all redirect URIs\n" +
			"(--sector-uri); it is for ever. Who joins one is countersigned by a platform that is in it: --record-out,\n" +
			"escrow platform countersign, and the same command with --countersigned.",
		Example: "  escrowd platform add town-square --name 'Town Square' --redirect-uri https://town.example/callback --key town-square.pub --database-file /etc/penname/disclosing.dsn\n" +
			"  escrowd platform add town-api --name 'Town API' --kind keys --jwks api.jwks --sector town.example --redirect-uri https://api.town.example/none --origin https://api.town.example --countersigned town-square.jws --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.sector != "" && f.sectorURI != "" {
				return shell.UsageError("--sector and --sector-uri: say one, the second has its host as the sector")
			}
			if err := f.askFor(cmd); err != nil {
				return err
			}
			return at.open(cmd, func(ctx context.Context, r *registry) error {
				var hash openid.SecretHash
				var made string
				if f.kindSaid() == "web" {
					hash, made = s.secret()
				}
				d, err := f.first(ctx, cmd, args[0], hash, r.sandbox)
				if err != nil {
					return err
				}
				if made != "" && rec.out != "" {
					return shell.UsageError("--record-out with a secret needs --secret-sha256: the same command has to make the same record again")
				}
				secret, err := s.hand(hash, made)
				if err != nil {
					return err
				}
				done, err := r.put(ctx, d, rec)
				if err != nil {
					return secret.takeBack(err)
				}
				done.handed = secret
				if d.record.Keys != nil && r.bundle.Registry.WaitingDays > 0 {
					done.Counts = r.counts(time.Now().UTC().Format(time.DateOnly))
				}
				return say(cmd, done, "%s%s", done.said("is registered"), secret.said())
			})
		},
	}
	f.flags(c)
	c.Flags().StringVar(&f.kind, "kind", "", "web, keys, spa or native; web, or keys where there is --jwks or --jwks-uri")
	complete(c, "kind", kinds...)
	complete(c, "id-token-alg", "EdDSA", "ES256", "RS256")
	s.flags(c)
	rec.flags(c)
	c.Flags().StringVar(&f.sector, "sector", "", "domain whose platforms know people by the same pen names, town.example")
	c.Flags().StringVar(&f.sectorURI, "sector-uri", "", "https address of a JSON list that has all redirect URIs (sector_identifier_uri): its host is the sector")
	return c
}

// first is the draft of a platform's first record.
func (f *platformFlags) first(ctx context.Context, cmd *cobra.Command, id string, secret openid.SecretHash, sandbox bool) (draft, error) {
	d := draft{record: policy.PlatformRecord{Version: 1, ID: id, Number: 1, Name: f.name, Sector: f.sector, SectorURI: f.sectorURI}}
	f.begin(&d.client, secret)
	if err := f.apply(cmd, &d.record, &d.client); err != nil {
		return d, err
	}
	if err := d.checkSector(ctx, sandbox); err != nil {
		return d, err
	}
	return d, checkSettings(d.record, d.client, sandbox) // before a secret is handed out
}

// begin makes a client one of the kind that is said. One with a secret has this one.
func (f *platformFlags) begin(p *openid.Platform, secret openid.SecretHash) {
	switch f.kindSaid() {
	case "web":
		p.SecretHashes = []openid.SecretHash{secret}
	case "spa":
		p.Browser = true
	case "native":
		p.Native = true
	}
}

// complete offers values of a flag to a shell.
func complete(c *cobra.Command, flag string, values ...string) {
	if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag does not exist
	}
}

// checkSector sees that all addresses of a platform are in its sector. With an address
// that lists them, the sector is its host.
func (d *draft) checkSector(ctx context.Context, sandbox bool) (err error) {
	p := d.client
	p.Origins, p.Localhost = d.record.Origins, sandbox
	switch {
	case d.record.SectorURI != "":
		d.record.Sector, err = openid.SectorOf(ctx, identity.NewHTTP(identity.Guard{AllowLoopback: sandbox}), d.record.SectorURI, p)
	case d.record.Sector != "" && !sandbox: // there all addresses are of one machine
		err = p.CheckSector(d.record.Sector)
	}
	return err
}

// kindSaid is the kind, as far as it follows from the rest.
func (f *platformFlags) kindSaid() string {
	switch {
	case f.kind != "":
		return f.kind
	case f.jwks != "" || f.jwksURI != "":
		return "keys"
	}
	return "web"
}

func (f *platformFlags) checkKind() error {
	if f.kind != "" && !slices.Contains(kinds, f.kind) {
		return shell.UsageError("--kind is one of %s", strings.Join(kinds, ", "))
	}
	return nil
}

// askFor asks a person for what is needed and was left out.
func (f *platformFlags) askFor(cmd *cobra.Command) error {
	if err := f.checkKind(); err != nil {
		return err
	}
	if !shell.Terminal(cmd.ErrOrStderr()) || shell.AsJSON(cmd) {
		return shell.Require(cmd, "name", "redirect-uri")
	}
	lines := bufio.NewScanner(cmd.InOrStdin())
	ask := func(flag, question string) error {
		if cmd.Flags().Changed(flag) {
			return nil
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: ", question)
		if !lines.Scan() {
			return errors.Join(lines.Err(), shell.Require(cmd, flag))
		}
		return cmd.Flags().Set(flag, strings.TrimSpace(lines.Text()))
	}
	if err := ask("name", "Name that people and custodians read"); err != nil {
		return err
	}
	return ask("redirect-uri", "Redirect URI, exactly")
}
