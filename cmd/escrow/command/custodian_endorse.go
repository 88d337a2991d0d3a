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
			signed, err := h.endorse(ctx, c, raw, transcript, func(shown string) error {
				if _, err := io.WriteString(h.Stderr, shown); err != nil {
					return err
				}
				return h.confirm(ctx, sure, "")
			})
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

// endorse signs a bundle of rules, once confirm agrees to what is shown of it. transcript is
// that of its ceremony; nil: the one in the folder.
func (h *home) endorse(ctx context.Context, c *custodian.Custodian, raw, transcript []byte, confirm func(shown string) error) (signed string, err error) {
	inForce, err := h.known(ctx, c)
	if err != nil {
		return "", err
	}
	shown, err := endorsed(raw, inForce)
	if err != nil {
		return "", err
	}
	if err := confirm(shown); err != nil {
		return "", err
	}
	return c.Endorse(raw, transcript, inForce, h.Now())
}

// wordForWord says where the rules are to be read.
const wordForWord = "escrow bundle show prints the rules word for word.\n"

// endorsed says what is to be endorsed, and what changes from the bundle in force, which is nil
// if it is not known.
func endorsed(raw []byte, inForce *policy.Bundle) (string, error) {
	b, err := policy.ParseBundle(raw)
	if err != nil {
		return "", err
	}
	said := "You endorse this. Give the endorsement to nobody if it is not what you stand behind.\n" + wordForWord + "\n" + strings.Join(b.Lines(), "\n") + "\n"
	switch {
	case inForce == nil && b.Number > 1:
		said += "\nWhat it changes is not known: you have seen no rules in force in the public log yet. It follows the bundle " + b.Predecessor +
			":\nuntil you have compared the two, or escrow custodian endorse shows it here with the registrar in reach, give the endorsement to nobody.\n"
	case inForce != nil && inForce.Hash() == b.Hash():
		said += "\nThese rules are in force already, as the public log shows: nothing changes by endorsing them again.\n"
	case inForce != nil:
		said += "\nWhat it changes in the rules in force:\n\n" + strings.Join(b.Changes(inForce), "\n") + "\n"
	}
	return said, nil
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
