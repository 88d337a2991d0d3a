package command

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/seal/ceremony"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/rules"
)

// endorsement is the command that stands in two groups: where custodians look for what they
// do, and where rules are tried and compared.
func endorsement(h *home, example string) *cobra.Command {
	var transcriptFile string
	var sure bool
	c := leaf("endorse BUNDLE", "Endorse a bundle of rules, for the place after those in force",
		example, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if err := h.canConfirm(sure); err != nil {
				return err
			}
			c, err := h.open(ctx)
			if err != nil {
				return err
			}
			raw, err := h.readFile(args[0])
			if err != nil {
				return err
			}
			var transcript []byte // nil: the one in the folder
			if transcriptFile != "" {
				transcript, err = h.readFile(transcriptFile)
				if errors.Is(err, fs.ErrNotExist) {
					return custodian.ErrNoTranscript
				}
				if err != nil {
					return err
				}
			}
			inForce, err := h.known(ctx, c)
			if err != nil {
				return err
			}
			if err := h.show(raw, inForce); err != nil {
				return err
			}
			if err := h.confirm(ctx, sure, ""); err != nil {
				return err
			}
			signed, err := c.Endorse(raw, transcript, inForce, h.Now())
			if err != nil {
				return err
			}
			return h.print(map[string]string{"endorsement": signed, "bundle": ceremony.Hash(raw)}, signed)
		})
	c.Long = "Shows on the standard error what is in a bundle of rules and what it changes in those in force, asks at a terminal\n" +
		"whether you endorse it, and prints the endorsement: read before you give it to anybody. The bundle is the one that the public log shows to be in force, or\n" +
		"follows it; until it is in force itself, you go on under the older one. Who has not seen\n" +
		"any rules in force yet, at the founding or as a new custodian, begins with this bundle."
	c.Flags().StringVar(&transcriptFile, "transcript", "", "transcript of the ceremony that the bundle names; default is the one in the folder")
	addYes(c, &sure)
	return c
}

// show says on the standard error what is to be endorsed, and what changes from the bundle in
// force, which is nil if it is not known.
func (h *home) show(raw []byte, inForce *policy.Bundle) error {
	b, err := policy.ParseBundle(raw)
	if err != nil {
		return err
	}
	said := "You endorse this. Give the endorsement to nobody if it is not what you stand behind.\n" +
		"escrow bundle show prints the rules word for word.\n\n" + strings.Join(b.Lines(), "\n") + "\n"
	switch {
	case inForce == nil && b.Number > 1:
		said += "\nWhat it changes is not known: you have seen no rules in force in the public log yet. It follows the bundle " + b.Predecessor +
			":\nuntil you have compared the two, or escrow custodian endorse shows it here with the registrar in reach, give the endorsement to nobody.\n"
	case inForce != nil && inForce.Hash() != b.Hash():
		said += "\nWhat it changes in the rules in force:\n\n" + strings.Join(b.Changes(inForce), "\n") + "\n"
	}
	_, err = io.WriteString(h.Stderr, said)
	return err
}

// known is the bundle in force; nil for who has not seen one in the public log yet:
// before the first is installed there is no log to ask.
func (h *home) known(ctx context.Context, c *custodian.Custodian) (*policy.Bundle, error) {
	if c.Bundle == "" {
		return nil, nil
	}
	_, inForce, err := h.inForce(ctx, c)
	if e := refusal.Of(err); !c.Followed && e != nil && (e.Code == rules.ErrUnknown.Code || e.Code == rules.ErrNotInLog.Code) {
		return nil, nil
	}
	return inForce, err
}
