package command

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

var errDraft = refusal.New(refusal.Invalid, "bundle.bad_draft",
	"the draft of a bundle is not JSON with the members of one: correct what is named here; the bundle.json of a sandbox (escrow-sandbox) shows a whole one")

func bundleCommand() *cobra.Command {
	c := &cobra.Command{Use: "bundle", Short: "Write new rules, and put endorsed ones in force"}
	c.AddCommand(bundleWrite(), bundleInstall())
	return c
}

// readDraft reads a bundle as a person edits it, in any order and spacing. What
// it leaves out of rules, offence classes and fields is filled in with those
// that this version comes with.
func readDraft(name string) (*policy.Bundle, error) {
	raw, err := shell.ReadFile(name)
	if err != nil {
		return nil, err
	}
	b := &policy.Bundle{}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(b); err != nil {
		return nil, errDraft.Because(err)
	}
	if d.More() {
		return nil, errDraft.Because(errors.New("something follows the bundle"))
	}
	if len(b.Policies) == 0 {
		b.Policies = policy.DefaultRules()
	}
	if len(b.OffenceClasses) == 0 {
		b.OffenceClasses = policy.DefaultOffenceClasses()
	}
	if len(b.Fields) == 0 {
		b.Fields = policy.DefaultFields()
	}
	return b, nil
}

// succeed gives a draft its place: after the bundle in that file, or as the first of
// its log if there is no file. A draft that names its predecessor stays there.
func succeed(b *policy.Bundle, after string) error {
	if after == "" {
		if b.Version != policy.CurrentVersion || b.Predecessor == "" {
			b.Succeed(nil)
		}
		return nil
	}
	raw, err := shell.ReadFile(after)
	if err != nil {
		return err
	}
	previous, err := policy.ParseBundle(raw)
	if err == nil {
		b.Succeed(previous)
	}
	return err
}

func afterFlag(c *cobra.Command, after *string) {
	c.Flags().StringVar(after, "after", "", "the bundle in force, which the new one follows; without it, the first of a log")
}

// writeBundle writes the one form of a bundle that custodians can endorse.
func writeBundle(cmd *cobra.Command, b *policy.Bundle, out string) error {
	raw, err := b.Marshal()
	if err != nil {
		return err
	}
	if err := shell.WriteFile(out, raw); err != nil {
		return err
	}
	sum := sha256.Sum256(raw)
	hash := hex.EncodeToString(sum[:])
	return say(cmd, map[string]string{"bundle": hash, "file": out}, "bundle %s\nwritten: now the custodians in force endorse %s", hash, out)
}

func bundleWrite() *cobra.Command {
	var after, out string
	c := &cobra.Command{
		Use: "write DRAFT", Short: "Check a draft of new rules and write it in the form that custodians endorse", Args: cobra.ExactArgs(1),
		Long: "Checks a draft of new rules and writes it in the one form that has a hash.\n\n" +
			"The draft is a copy of the bundle in force with what shall change. --after names that\n" +
			"bundle: the new one gets the next number and its hash, and can come into force after\n" +
			"it and nowhere else. The first bundle, and one for other custodians, come from a\n" +
			"ceremony: escrowd ceremony bundle.",
		Example: "  escrowd bundle write draft.json --after bundle.json --out next.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readDraft(args[0])
			if err != nil {
				return err
			}
			if err := succeed(b, after); err != nil {
				return err
			}
			return writeBundle(cmd, b, out)
		},
	}
	afterFlag(c, &after)
	c.Flags().StringVar(&out, "out", "next.json", "file to write")
	return c
}

func bundleInstall() *cobra.Command {
	var dsn string
	c := &cobra.Command{
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
			store, err := service.OpenDisclosingStore(cmd.Context(), dsn)
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
			return say(cmd, map[string]string{"bundle": hash}, "the rules %s are in force and in the public log: a running escrowd serve takes them within a minute; name this file in its configuration, for the next start", hash)
		},
	}
	databaseFlag(c, &dsn, "role penname_disclosing")
	return c
}
