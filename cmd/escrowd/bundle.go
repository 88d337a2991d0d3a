package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

var errDraft = refusal.New(refusal.Invalid, "bundle.bad_draft",
	"the draft of a bundle is not JSON with the members of one: correct what is named here; a sandbox's bundle.json (escrowd dev) shows a whole one")

// readDraft reads a bundle as a person edits it, in any order and spacing. What
// it leaves out of rules, offence classes and fields is filled in with those
// that this version comes with.
func readDraft(name string) (*policy.Bundle, error) {
	raw, err := shell.ReadFile(name)
	if err != nil {
		return nil, err
	}
	b := &policy.Bundle{Version: 1}
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
	var out string
	c := &cobra.Command{
		Use: "write DRAFT", Short: "Check a draft of new rules and write it in the form that custodians endorse", Args: cobra.ExactArgs(1),
		Long: "Checks a draft of new rules and writes it in the one form that has a hash.\n\n" +
			"The draft is a copy of the bundle in force with what shall change. The first bundle,\n" +
			"and one for other custodians, come from a ceremony: escrowd ceremony bundle.",
		Example: "  escrowd bundle write draft.json --out next.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readDraft(args[0])
			if err != nil {
				return err
			}
			return writeBundle(cmd, b, out)
		},
	}
	c.Flags().StringVar(&out, "out", "next.json", "file to write")
	return c
}

func logKeygen() *cobra.Command {
	var origin string
	c := &cobra.Command{
		Use: "keygen FILE", Short: "Make the key that signs the public log, and print its verifier key for the bundle", Args: cobra.ExactArgs(1),
		Example: "  escrowd log keygen /etc/penname/log.key --origin penname.example/log",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := shell.Require(cmd, "origin"); err != nil {
				return err
			}
			secret, vkey, err := translog.NewKey(origin)
			if err != nil {
				return err
			}
			if err := secretfile.Create(args[0], []byte(secret+"\n")); err != nil {
				return err
			}
			return say(cmd, map[string]string{"origin": origin, "vkey": vkey}, "%s", vkey)
		},
	}
	c.Flags().StringVar(&origin, "origin", "", "name of the log, which it keeps for ever: its address without the scheme")
	return c
}
