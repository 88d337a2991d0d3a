package command

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/registrar"
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
			countersigned, err := policy.CountersignPlatform(key, signed)
			if err != nil {
				return err
			}
			said := "You countersign this. Give the countersignature to nobody if it is not what you stand behind.\n\n" + strings.Join(r.Lines(), "\n") + "\n"
			if p.server == "" {
				said += "\nNot checked: that your key is one whose countersignature this record needs, and what it changes. Name the registrar with --server.\n"
			} else {
				registered, err := p.registered(ctx, b)
				if err != nil {
					return err
				}
				changes, err := changesOf(r, registered)
				if err != nil {
					return err
				}
				if err := b.CheckCountersignature(countersigned, signed, registered, p.Now()); err != nil {
					return err
				}
				said += changes
			}
			if _, err := io.WriteString(p.Stderr, document.Printable(said)); err != nil {
				return err
			}
			return p.print(map[string]string{"countersignature": countersigned, "record": r.Digest()}, countersigned)
		})
	c.Long = "Countersigns a record that the operator sent, and shows on the standard error what it says: read that before you\n" +
		"give the countersignature to anybody. With an older evidence key of the same platform it says that the new keys\n" +
		"are the platform's, so that they need not wait; with one of a platform that has the sector already, that the\n" +
		"other may see the same pen names. --bundle is the rules in force, whose registry key must have signed the record.\n" +
		"The origins are where people are led to after a sign-in, those of an app's own addresses left out. With --server\n" +
		"it also shows what the record changes in the one that is registered, and refuses a key whose countersignature\n" +
		"the record does not need; without it, it says that this was not checked."
	c.Flags().StringVar(&keyFile, "key", "", "secret evidence key (JWK, mode 0600)")
	c.Flags().StringVar(&bundleFile, "bundle", "", "bundle of rules that you trust")
	return c
}

// registered is the registry of the server, as b believes it.
func (p *program) registered(ctx context.Context, b *policy.Bundle) (*policy.Platforms, error) {
	var all []policy.LoggedPlatform
	for after, more := int64(-1), true; more; {
		page, rest, err := p.fetchPlatforms(ctx, after)
		if err != nil {
			return nil, err
		}
		if all, more = append(all, page...), rest; more {
			if len(page) == 0 || page[len(page)-1].Leaf <= after {
				return nil, registrar.ErrOtherAnswer
			}
			after = page[len(page)-1].Leaf
		}
	}
	return policy.NewPlatforms(all, b)
}

// changesOf is what a record changes in the one before it, in words.
func changesOf(r *policy.PlatformRecord, registered *policy.Platforms) (string, error) {
	if r.Number == 1 {
		return "", nil
	}
	before, _ := registered.Newest(r.ID)
	if before == nil || before.Digest() != r.Previous {
		return "", policy.ErrPlatformNotNext
	}
	return "\nWhat it changes in the record that is registered:\n\n" + strings.Join(r.Changes(before), "\n") + "\n", nil
}
