package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/seal/ceremony"
)

func custodianCeremonyVerify(p *program) *cobra.Command {
	return leaf("verify TRANSCRIPT…", "Check a ceremony's transcript: the key that it made, or who is at fault; given several, who said different things in them",
		"escrow custodian ceremony verify transcript.json", cobra.MinimumNArgs(1), func(_ context.Context, args []string) error {
			var all [][]byte
			for _, name := range args {
				raw, err := p.readFile(name)
				if err != nil {
					return err
				}
				all = append(all, raw)
			}
			v, err := ceremony.VerifyTranscript(all[0], all[1:]...)
			if err != nil {
				return err
			}
			pk, err := v.Result()
			if err != nil {
				return err
			}
			text, err := pk.MarshalText()
			if err != nil {
				return err
			}
			s := custodian.CeremonyStatus{Plan: v.Plan().Hash(), State: "complete", ThresholdKey: string(text), Transcript: ceremony.Hash(all[0])}
			return p.print(s, fmt.Sprintf("%severy message is signed and every proof holds: %s\nthreshold key: %s\ntranscript: %s",
				describe(v.Plan()), pk, s.ThresholdKey, s.Transcript))
		})
}
