package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

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

// noticed is what the log says of one pen name.
type noticed struct {
	PenName  string `json:"pen_name,omitempty"`
	Platform string `json:"platform,omitempty"`

	Opened   []int64 `json:"opened_at"`
	Named    []int64 `json:"named_at"`
	Annulled []int64 `json:"annulled_at"`
	Lapsed   []int64 `json:"lapsed_at"`
}

// noticesOf is what the log says of several.
type noticesOf struct {
	Names    []noticed `json:"pen_names,omitempty"`
	Secret   int64     `json:"still_secret"` // a case that is not released has opened nothing: its secrecy is not counted
	Cosigned time.Time `json:"cosigned"`

	seen proof.Seen
}

// findNotices audits the log, and looks in it for pen names, on every platform that is known: a
// wrong id would hide a notice. They do not leave this machine.
func (p *program) findNotices(ctx context.Context, f auditFlags, names []noticed) (n noticesOf, err error) {
	for i := range names {
		copied, err := token.CopiedPseudonym(names[i].PenName)
		if err != nil {
			return n, errPenName
		}
		names[i].PenName = copied.String()
	}
	known, err := f.load(p)
	if err != nil {
		return n, err
	}
	f.registered = make(map[string]bool)
	report, err := audit(ctx, p, f)
	if err != nil {
		return n, err
	}
	source, err := tiles(p, f.mirror)
	if err != nil {
		return n, err
	}
	for _, b := range known {
		for _, platform := range b.Platforms {
			f.registered[platform.ID] = true
		}
	}
	platforms := slices.Collect(maps.Keys(f.registered))
	for i, name := range names {
		if name.Platform != "" && !f.registered[name.Platform] {
			return n, errPlatform
		}
		found, err := proof.FindNotices(ctx, source, report.Checkpoint.Tree, name.PenName, platforms...)
		if err != nil {
			return n, err
		}
		names[i].Opened, names[i].Named, names[i].Annulled, names[i].Lapsed = found.Opened, found.Named, found.Annulled, found.Lapsed
	}
	// An old mirror knows nothing of what came since.
	return noticesOf{names, report.Statistics.Unnoticed, report.Cosigned.UTC(), report.Seen()}, nil
}

// text says it of one of the names.
func (n noticesOf) text(of noticed) string {
	waiting := fmt.Sprintf("released cases that are still secret: %d", n.Secret)
	text := []string{"no served notice concerns this pen name; " + waiting}
	switch {
	case len(of.Opened) > 0:
		text[0] = fmt.Sprintf("this pen name was opened: the warrant is at log entry %v; %s", of.Opened, waiting)
	case len(of.Named) > 0:
		text[0] = "this pen name was not opened; " + waiting
	}
	if len(of.Named) > 0 {
		text = append(text, fmt.Sprintf("named and not opened: the warrant is at log entry %v", of.Named))
	}
	if len(of.Annulled) > 0 {
		text = append(text, fmt.Sprintf("annulled by a court, so that its use is forbidden: the warrant at log entry %v", of.Annulled))
	}
	if len(of.Lapsed) > 0 {
		text = append(text, fmt.Sprintf("lapsed, because nobody validated the emergency, so that its use is forbidden: the warrant at log entry %v", of.Lapsed))
	}
	return strings.Join(text, "\n")
}

func logNotices(p *program) *cobra.Command {
	var f auditFlags
	var name, platform string
	c := leaf("notices", "Check that no served notice concerns a pen name of yours, on your own machine",
		"escrow log notices --pen-name pen1… --platform town-square --bundle bundle.json", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			if err := require([2]string{"pen-name", name}, [2]string{"platform", platform}); err != nil {
				return err
			}
			n, err := p.findNotices(ctx, f, []noticed{{PenName: name, Platform: platform}})
			if err != nil {
				return err
			}
			of := n.Names[0]
			return p.print(map[string]any{"opened_at": of.Opened, "named_at": of.Named, "annulled_at": of.Annulled, "lapsed_at": of.Lapsed, "still_secret": n.Secret, "cosigned": n.Cosigned},
				fmt.Sprintf("%s\nin the log of %v", n.text(of), n.seen))
		})
	f.add(c)
	c.Flags().StringVar(&name, "pen-name", "", "your pen name; it does not leave this machine")
	c.Flags().StringVar(&platform, "platform", "", "the platform's id, as your page of pen names shows it")
	return c
}
