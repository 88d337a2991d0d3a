package command

import (
	"context"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
)

func custodianEndorse(h *home) *cobra.Command {
	var transcriptFile string
	c := leaf("endorse BUNDLE", "Endorse a bundle of rules, and from now on accept cases under it only",
		"escrow custodian endorse bundle.json", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
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
			signed, err := c.Endorse(raw, transcript, h.Now())
			if err != nil {
				return err
			}
			return h.print(map[string]string{"endorsement": signed, "bundle": c.Bundle}, signed)
		})
	c.Flags().StringVar(&transcriptFile, "transcript", "", "transcript of the ceremony that the bundle names; default is the one in the folder")
	return c
}
