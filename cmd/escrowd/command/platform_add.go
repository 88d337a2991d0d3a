package command

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

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

// given names the flags that were given; "" is none.
func (f *secretFlags) given() string {
	switch {
	case f.sha256 != "" && f.out != "":
		return "--secret-sha256 and --secret-out"
	case f.sha256 != "":
		return "--secret-sha256"
	case f.out != "":
		return "--secret-out"
	}
	return ""
}

// contradictions refuses flags of a secret that cannot be meant for a platform that has
// one, or has none.
func (f *secretFlags) contradictions(secret bool) error {
	switch given := f.given(); {
	case given != "" && !secret:
		return shell.UsageError("%s is for a platform with a secret: --kind web, or api, without --jwks and --jwks-uri", given)
	case f.sha256 != "" && f.out != "":
		return shell.UsageError("%s: say one, a secret of which only the SHA-256 is given cannot be written", given)
	}
	return nil
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
	if errors.Is(err, secretfile.ErrExists) {
		left := *secretfile.ErrExists
		left.Mend = "the file of --secret-out exists, and nothing is overwritten: a command that was ended can have left it; if escrowd platform show says that nothing was registered by it, no platform and no further secret, remove the file and run the command again; if something was, the file has the secret"
		err = left.Because(errors.Unwrap(err))
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
		Long: "Registers a platform: one entry in the public log, and people can sign in to it within a minute. What is left out\n" +
			"and needed is asked for at a terminal.\n\n" +
			"  --kind web      a server that keeps a secret; it is made and shown once\n" +
			"  --kind keys     a server that signs its requests: --jwks or --jwks-uri\n" +
			"  --kind spa      scripts in the browser, which keep no secret; refresh tokens only with DPoP\n" +
			"  --kind native   an app on people's devices, which keeps none either (RFC 8252)\n" +
			"  --kind api      an API at its --origin, which signs nobody in and has no redirect URI: it asks about the access\n" +
			"                  tokens that it is sent (RFC 7662), with a secret or with keys\n\n" +
			"Platforms of one sector know people by the same pen names: a site, its app and its API. A sector is one\n" +
			"registrable domain, like town.example or town.co.uk, in which all their addresses lie (--sector), or the host of\n" +
			"an address that lists all redirect URIs (--sector-uri); it is for ever. Who joins one is countersigned by a platform that is in it:\n" +
			"--record-out, escrow platform countersign, and the same command with --countersigned.\n\n" +
			"A platform that was renamed or sold, with other addresses, is a new one that --succeeds it, and is countersigned by\n" +
			"it in the same way. People are asked at their next sign-in whether it may know them by the pen names that they had.",
		Example: "  escrowd platform add town-square --name 'Town Square' --redirect-uri https://town.example/callback --key town-square.pub --database-file /etc/penname/disclosing.dsn\n" +
			"  escrowd platform add town-api --name 'Town API' --kind api --jwks api.jwks --sector town.example --origin https://api.town.example --countersigned town-square.jws --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.sector != "" && f.sectorURI != "" {
				return shell.UsageError("--sector and --sector-uri: say one, the second has its host as the sector")
			}
			if f.succeeds != "" && f.sector+f.sectorURI != "" {
				return shell.UsageError("--succeeds: who takes over from a platform has its sector, so say neither --sector nor --sector-uri")
			}
			if err := f.askFor(cmd); err != nil {
				return err
			}
			if err := cmp.Or(f.contradictions(), s.contradictions(f.secret())); err != nil {
				return err
			}
			return at.open(cmd, func(ctx context.Context, r *registry) error {
				var hash openid.SecretHash
				var made string
				if f.secret() {
					hash, made = s.secret()
				}
				d, err := f.first(ctx, cmd, args[0], hash, r)
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
				return say(cmd, done, "%s%s", done.said("is registered"), secret.said())
			})
		},
	}
	f.flags(c)
	c.Flags().StringVar(&f.kind, "kind", "", "web, keys, spa, native or api; web, or keys where there is --jwks or --jwks-uri")
	complete(c, "kind", kinds...)
	complete(c, "id-token-alg", "EdDSA", "ES256", "RS256")
	s.flags(c)
	rec.flags(c)
	c.Flags().StringVar(&f.sector, "sector", "", "domain whose platforms know people by the same pen names, town.example")
	c.Flags().StringVar(&f.succeeds, "succeeds", "", "id of the platform that it takes over from, which countersigns; without --personas it allows as many pen names")
	c.Flags().StringVar(&f.sectorURI, "sector-uri", "", "https address of a JSON list that has all redirect URIs (sector_identifier_uri): its host is the sector")
	return c
}

// first is the draft of a platform's first record.
func (f *platformFlags) first(ctx context.Context, cmd *cobra.Command, id string, secret openid.SecretHash, r *registry) (draft, error) {
	d := draft{record: policy.PlatformRecord{Version: 1, ID: id, Number: 1, Name: f.name, Sector: f.sector, SectorURI: f.sectorURI}}
	f.begin(&d.client, secret)
	if f.succeeds != "" {
		before, err := r.next(ctx, f.succeeds)
		if err != nil {
			return d, err
		}
		d.record.Succeeds, d.record.Sector, d.record.Personas = f.succeeds, before.record.SectorID(), before.record.Personas
	}
	if err := f.apply(cmd, &d.record, &d.client); err != nil {
		return d, err
	}
	if err := d.checkSector(ctx, r.sandbox); err != nil {
		return d, err
	}
	return d, r.checkSettings(d) // before a secret is handed out
}

// begin makes a client one of the kind that is said. One with a secret has this one.
func (f *platformFlags) begin(p *openid.Platform, secret openid.SecretHash) {
	if f.secret() {
		p.SecretHashes = []openid.SecretHash{secret}
	}
	p.Browser, p.Native = f.kind == "spa", f.kind == "native"
}

// complete offers values of a flag to a shell.
func complete(c *cobra.Command, flag string, values ...string) {
	if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag does not exist
	}
}

// checkSector sees that all addresses of a platform are in its sector. With an address
// that lists them, the sector is its host. Who takes over from another platform has its
// sector because that one countersigned it, wherever its addresses are.
func (d *draft) checkSector(ctx context.Context, sandbox bool) (err error) {
	p := d.client
	p.Origins, p.Localhost = d.record.Origins, sandbox
	switch {
	case d.record.Succeeds != "":
		err = p.CheckMoved()
	case d.record.SectorURI != "":
		d.record.Sector, err = openid.SectorOf(ctx, identity.NewHTTP(identity.Guard{AllowLoopback: sandbox}), d.record.SectorURI, p)
	case d.record.Sector != "":
		err = p.CheckSector(d.record.Sector)
	}
	return err
}

// secret reports whether the platform is to have a secret.
func (f *platformFlags) secret() bool {
	return f.kind == "web" || f.jwks == "" && f.jwksURI == "" && (f.kind == "" || f.kind == "api")
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
	switch keys := f.jwks != "" || f.jwksURI != ""; {
	case f.kind == "keys" && !keys:
		return shell.UsageError("--kind keys needs --jwks or --jwks-uri: the keys by which it signs its requests")
	case keys && f.kind != "" && f.kind != "keys" && f.kind != "api":
		return shell.UsageError("--jwks and --jwks-uri are for --kind keys and --kind api, not for %s", f.kind)
	case f.kind == "api" && len(f.redirects) > 0:
		return shell.UsageError("--redirect-uri is not for --kind api, which signs nobody in")
	case f.kind == "api":
		return shell.Require(cmd, "name", "origin")
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
