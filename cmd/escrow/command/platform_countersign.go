package command

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
)

func platformCountersign(p *program) *cobra.Command {
	var keyFile, bundleFile string
	c := leaf("countersign RECORD", "Countersign a record of a platform with an evidence key, as its owner or as who shares its sector",
		"escrow platform countersign record.jws --key evidence.jwk --bundle bundle.json --server https://penname.example",
		cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if err := require([2]string{"key", keyFile}, [2]string{"bundle", bundleFile}); err != nil {
				return err
			}
			raw, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			b, err := p.readBundle(bundleFile)
			if err != nil {
				return err
			}
			signed := string(document.Typed(raw))
			r, err := b.VerifyPlatform(signed, p.Now())
			if err != nil {
				return err
			}
			key, err := secretfile.ReadKey(keyFile)
			if err != nil {
				return err
			}
			if err := p.showPlatform(ctx, r); err != nil {
				return err
			}
			countersigned, err := policy.CountersignPlatform(key, signed)
			if err != nil {
				return err
			}
			return p.print(map[string]string{"countersignature": countersigned, "record": r.Digest()}, countersigned)
		})
	c.Long = "Countersigns a record that the operator sent, and shows on the standard error what it says: read that before you\n" +
		"give the countersignature to anybody. With an older evidence key of the same platform it says that the new keys\n" +
		"are the platform's, so that they need not wait; with one of a platform that has the sector already, that the\n" +
		"other may see the same pen names. --bundle is the rules in force, whose registry key must have signed the record.\n" +
		"With --server it also shows what the record changes in the one that is registered."
	c.Flags().StringVar(&keyFile, "key", "", "secret evidence key (JWK, mode 0600)")
	c.Flags().StringVar(&bundleFile, "bundle", "", "bundle of rules that you trust")
	return c
}

// showPlatform says on the standard error what was countersigned and, if a server is
// named, what it changes in the record that is registered there.
func (p *program) showPlatform(ctx context.Context, r *policy.PlatformRecord) error {
	said := "You countersign this. Give the countersignature to nobody if it is not what you stand behind.\n\n" + strings.Join(r.Lines(), "\n") + "\n"
	if p.server != "" && r.Number > 1 {
		client, err := p.registrar()
		if err != nil {
			return err
		}
		registered, err := client.Platform(ctx, r.ID)
		if err != nil {
			return err
		}
		before, err := policy.ParsePlatform(registered[len(registered)-1].Signed)
		if err != nil {
			return err
		}
		if before.Digest() != r.Previous {
			return policy.ErrPlatformNotNext
		}
		said += "\nWhat it changes in the record that is registered:\n\n" + strings.Join(r.Changes(before), "\n") + "\n"
	}
	_, err := io.WriteString(p.Stderr, document.Printable(said))
	return err
}
