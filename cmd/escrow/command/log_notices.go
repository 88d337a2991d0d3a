package command

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

var (
	errPenName = refusal.New(refusal.Invalid, "log.bad_pen_name",
		"the pen name is not whole: copy it again, it begins with pen1 and its last six characters are a checksum")
	errPlatform = refusal.New(refusal.Invalid, "log.unknown_platform",
		"neither a bundle that was named nor the registry in the log knows a platform of that id, so the log could never show a notice: copy the id from your page of pen names")
)

func logNotices(p *program) *cobra.Command {
	var f auditFlags
	var name, platform string
	c := leaf("notices", "Check that no served notice concerns a pen name of yours, on your own machine",
		"escrow log notices --pen-name pen1… --platform town-square --bundle bundle.json", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if err := require([2]string{"pen-name", name}, [2]string{"platform", platform}); err != nil {
				return err
			}
			copied, err := token.CopiedPseudonym(name)
			if err != nil {
				return errPenName
			}
			name = copied.String()
			known, err := f.load(p)
			if err != nil {
				return err
			}
			f.registered = make(map[string]bool)
			report, err := audit(ctx, p, f)
			if err != nil {
				return err
			}
			if !f.registered[platform] && !slices.ContainsFunc(known, func(b *policy.Bundle) bool { return b.Platform(platform) != nil }) {
				return errPlatform
			}
			source, err := tiles(p, f.mirror)
			if err != nil {
				return err
			}
			found, err := proof.FindNotices(ctx, source, report.Checkpoint.Tree, name, platform)
			if err != nil {
				return err
			}
			secret := report.Statistics.Unnoticed
			// A case that is not released has opened nothing: its secrecy is not counted.
			waiting := fmt.Sprintf("released cases that are still secret: %d", secret)
			text := "no served notice concerns this pen name; " + waiting
			switch {
			case len(found.Opened) > 0:
				text = fmt.Sprintf("this pen name was opened: the warrant is at log entry %v; %s", found.Opened, waiting)
			case len(found.Named) > 0:
				text = "this pen name was not opened; " + waiting
			}
			if len(found.Named) > 0 {
				text += fmt.Sprintf("\nnamed and not opened: the warrant is at log entry %v", found.Named)
			}
			if len(found.Annulled) > 0 {
				text += fmt.Sprintf("\nannulled by a court, so that its use is forbidden: the warrant at log entry %v", found.Annulled)
			}
			if len(found.Lapsed) > 0 {
				text += fmt.Sprintf("\nlapsed, because nobody validated the emergency, so that its use is forbidden: the warrant at log entry %v", found.Lapsed)
			}
			// An old mirror knows nothing of what came since.
			return p.print(map[string]any{"opened_at": found.Opened, "named_at": found.Named, "annulled_at": found.Annulled, "lapsed_at": found.Lapsed, "still_secret": secret, "cosigned": report.Cosigned.UTC()},
				fmt.Sprintf("%s\nin the log of %v", text, report.Seen()))
		})
	f.add(c)
	c.Flags().StringVar(&name, "pen-name", "", "your pen name; it does not leave this machine")
	c.Flags().StringVar(&platform, "platform", "", "the platform's id, as your page of pen names shows it")
	return c
}
