package command

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/openid"
	"github.com/penname/penname/policy"
)

func platformEdit(at *registryFlags) *cobra.Command {
	var f platformFlags
	var rec recordFlags
	var stolen []string
	var secret string
	c := &cobra.Command{
		Use: "edit ID", Short: "Change what is registered of a platform", Args: cobra.ExactArgs(1), ValidArgsFunction: at.complete,
		Long: "Changes what is registered of a platform. What is not said stays; a list that is given replaces the one before,\n" +
			"and '' is none. Id, sector and kind stay for ever.\n\n" +
			"Evidence under a new key waits again, unless a key of before countersigns the record: give the command with\n" +
			"--record-out, have that file countersigned with escrow platform countersign, and give it with --countersigned.\n" +
			"A key that is reported stolen with --stolen stays so; its evidence counts if the log knew it before.\n\n" +
			"If somebody changed the settings in the database (platform.other_settings), say all of them again, with --kind and\n" +
			"the --secret-sha256 of the secret that the platform uses.",
		Example: "  escrowd platform edit town-square --redirect-uri https://town.example/callback --redirect-uri https://town.example/cb --database-file /etc/penname/disclosing.dsn\n" +
			"  escrowd platform edit town-square --key both.jwks --countersigned town-square.jws --database-file /etc/penname/disclosing.dsn\n" +
			"  escrowd platform edit town-square --stolen 7f3a --key new.jwks --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(f.checkKind(), f.contradictions()); err != nil {
				return err
			}
			return at.open(cmd, func(ctx context.Context, r *registry) error {
				d, err := r.next(ctx, args[0])
				if err != nil {
					return err
				}
				switch {
				case d.before == nil:
					f.begin(&d.client, openid.SecretHash{SHA256: strings.ToLower(secret)})
				case f.kind != "" || secret != "":
					return errSettings.Because(errors.New("--kind and --secret-sha256: its settings are not lost, and a kind stays for ever; for another secret there is escrowd platform rotate-secret"))
				}
				if err := f.change(ctx, cmd, &d, r.sandbox); err != nil {
					return err
				}
				if err := r.report(ctx, &d.record, stolen); err != nil {
					return err
				}
				done, err := r.put(ctx, d, rec)
				if err != nil {
					return err
				}
				return say(cmd, done, "%s", done.said("is changed"))
			})
		},
	}
	f.flags(c)
	complete(c, "id-token-alg", "EdDSA", "ES256", "RS256")
	c.Flags().StringVar(&f.kind, "kind", "", "if the settings are lost: web, keys, spa, native or api")
	complete(c, "kind", kinds...)
	c.Flags().StringVar(&secret, "secret-sha256", "", "if the settings are lost: SHA-256 of the secret that the platform uses, 64 hex digits")
	rec.flags(c)
	c.Flags().StringArrayVar(&stolen, "stolen", nil, "kid of an evidence key that somebody stole; repeatable")
	return c
}

// report takes the kids of stolen keys into a record.
func (r *registry) report(ctx context.Context, record *policy.PlatformRecord, stolen []string) error {
	if len(stolen) == 0 {
		return nil
	}
	all, err := r.Of(ctx, record.ID)
	if err != nil {
		return err
	}
	var kids []string
	note := func(jwks json.RawMessage) error {
		var set struct {
			Keys []struct{ Kid string }
		}
		err := json.Unmarshal(jwks, &set)
		for _, k := range set.Keys {
			kids = append(kids, k.Kid)
		}
		return err
	}
	for _, l := range all {
		had, err := policy.ParsePlatform(l.Signed)
		if err == nil {
			err = note(had.Keys)
		}
		if err != nil {
			return err
		}
	}
	if listed := r.bundle.Platform(record.ID); listed != nil {
		if err := note(listed.Keys); err != nil {
			return err
		}
	}
	slices.Sort(kids)
	for _, kid := range stolen {
		if !slices.Contains(kids, kid) {
			return errSettings.Because(fmt.Errorf("--stolen %q: no record of %s has a key of this kid; it has %s", kid, record.ID, cmp.Or(strings.Join(slices.Compact(kids), ", "), "none")))
		}
		if !slices.Contains(record.Stolen, kid) {
			record.Stolen = append(record.Stolen, kid)
		}
	}
	return nil
}

// change takes what was said of a platform that is registered, whose addresses stay in
// its sector (OpenID Connect Core, 8.1).
func (f *platformFlags) change(ctx context.Context, cmd *cobra.Command, d *draft, sandbox bool) error {
	if err := f.apply(cmd, &d.record, &d.client); err != nil {
		return err
	}
	if cmd.Flags().Changed("redirect-uri") || cmd.Flags().Changed("origin") {
		return d.checkSector(ctx, sandbox)
	}
	return nil
}

func platformRotateSecret(at *registryFlags) *cobra.Command {
	var s secretFlags
	var forget bool
	var until string
	c := &cobra.Command{
		Use: "rotate-secret ID", Short: "Give a platform a new secret, beside the one that it uses", Args: cobra.ExactArgs(1), ValidArgsFunction: at.complete,
		Long: "Gives a platform a new secret, beside the one that it uses. Both count until the older one is forgotten, with\n" +
			"--forget-old, or until the day that --old-until names.",
		Example: "  escrowd platform rotate-secret town-square --old-until 2026-12-31 --database-file /etc/penname/disclosing.dsn\n" +
			"  escrowd platform rotate-secret town-square --forget-old --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, args []string) error {
			var end time.Time
			if until != "" {
				var err error
				if end, err = time.Parse(time.DateOnly, until); err != nil || forget {
					return shell.UsageError("--old-until is a day like 2026-12-31, and is not for --forget-old")
				}
				if !end.After(time.Now()) {
					return shell.UsageError("--old-until is a day that is still to come, in UTC: to end the older secret now, give --forget-old once the new one is in use")
				}
			}
			if given := s.given(); forget && given != "" {
				return shell.UsageError("%s is not for --forget-old, which makes no secret", given)
			}
			if err := s.contradictions(true); err != nil {
				return err
			}
			return at.open(cmd, func(ctx context.Context, r *registry) error {
				d, err := r.next(ctx, args[0])
				if err != nil {
					return err
				}
				if len(d.client.SecretHashes) == 0 {
					return errSettings.Because(errors.New("it has no secret: its kind is " + kindOf(d.client)))
				}
				secret, what := handed{}, "has a new secret; the one before counts too"
				if forget {
					d.client.SecretHashes, what = d.client.SecretHashes[:1], "has its newest secret alone"
				} else if secret, err = s.rotate(&d.client, end, time.Now()); err != nil {
					return err
				}
				done, err := r.put(ctx, d, recordFlags{})
				if err != nil {
					return secret.takeBack(err)
				}
				done.handed = secret
				return say(cmd, done, "%s%s", done.said(what), secret.said())
			})
		},
	}
	s.flags(c)
	c.Flags().BoolVar(&forget, "forget-old", false, "make no new secret: forget the older one")
	c.Flags().StringVar(&until, "old-until", "", "day (UTC) from which on the older one does not count any more")
	return c
}

// rotate puts a new secret before the one that is in use, which counts until end if that
// is a day.
func (f *secretFlags) rotate(p *openid.Platform, end, now time.Time) (handed, error) {
	used := slices.DeleteFunc(slices.Clone(p.SecretHashes), func(h openid.SecretHash) bool { return !h.Until.IsZero() && !now.Before(h.Until) })
	if slices.ContainsFunc(used, func(h openid.SecretHash) bool { return h.SHA256 == strings.ToLower(f.sha256) }) {
		return handed{}, shell.UsageError("--secret-sha256 is of a secret that counts already: make a new one")
	}
	if len(used) > 1 {
		return handed{}, errTwoSecrets
	}
	for i := range used {
		used[i].Until = end
	}
	hash, made := f.secret()
	p.SecretHashes = append([]openid.SecretHash{hash}, used...)
	return f.hand(hash, made)
}

func platformRetire(at *registryFlags) *cobra.Command {
	var sure bool
	c := &cobra.Command{
		Use: "retire ID", Short: "End a platform: nobody signs in there any more, for ever", Args: cobra.ExactArgs(1), ValidArgsFunction: at.complete,
		Long: "Ends a platform, for ever: nobody signs in there, and no sign-in there is renewed. People keep seeing the pen\n" +
			"names that they had there, and evidence of before stays what it was.",
		Example: "  escrowd platform retire town-square --yes --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := confirm(cmd, sure, args[0]); err != nil {
				return err
			}
			return at.open(cmd, func(ctx context.Context, r *registry) error {
				d, err := r.next(ctx, args[0])
				if err != nil {
					return err
				}
				d.record.Retired = true
				done, err := r.put(ctx, d, recordFlags{})
				if err != nil {
					return err
				}
				return say(cmd, done, "%s", done.said("has retired"))
			})
		},
	}
	c.Flags().BoolVar(&sure, "yes", false, "say that it is meant")
	return c
}

// confirm asks a person whether a platform is to end, unless they said so.
func confirm(cmd *cobra.Command, sure bool, id string) error {
	if sure {
		return nil
	}
	if shell.Terminal(cmd.ErrOrStderr()) && !shell.AsJSON(cmd) {
		fmt.Fprintf(cmd.ErrOrStderr(), "Who has retired does not come back. To end %s for ever, type its id: ", id)
		if lines := bufio.NewScanner(cmd.InOrStdin()); lines.Scan() && strings.TrimSpace(lines.Text()) == id {
			return nil
		}
	}
	return shell.UsageError("--yes is needed: who has retired does not come back")
}
