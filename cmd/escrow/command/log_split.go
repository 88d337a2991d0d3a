package command

import (
	"context"
	"encoding/json"
	"fmt"

	"filippo.io/torchwood"
	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// splitFinding is what --json prints of two checkpoints that show no split view.
type splitFinding struct {
	SplitView bool      `json:"split_view"`
	Sizes     [2]int64  `json:"sizes"`
	Roots     [2]string `json:"roots"`
}

var errSplitUnknown = refusal.New(refusal.Conflict, "log.split_unknown",
	"of two checkpoints of different sizes these files alone do not show whether the log signed two histories: give --divergence FILE, the file that the monitor, mirror or audit kept beside the refused checkpoint (refused-X.divergence). "+
		"Where nothing was refused, escrow log audit --since with the smaller checkpoint checks whether the log still contains it")

func logSplit(p *program) *cobra.Command {
	var bundle, divergence string
	c := leaf("split A B", "Compare two checkpoints that two observers kept: has the log signed two histories, or gone back?",
		"escrow log split alba.checkpoint bruno.checkpoint --bundle bundle.json", cobra.ExactArgs(2),
		func(_ context.Context, args []string) error {
			if err := require([2]string{"bundle", bundle}); err != nil {
				return err
			}
			b, err := p.readBundle(bundle)
			if err != nil {
				return err
			}
			log, err := b.TrustedLog()
			if err != nil {
				return err
			}
			var signed [2][]byte
			var f splitFinding
			var trees [2]torchwood.Checkpoint
			for i, name := range args {
				if signed[i], err = p.readFile(name); err != nil {
					return err
				}
				if trees[i], err = proof.OpenUncosigned(b.Log.Origin, b.Log.VKey, signed[i]); err != nil {
					return err
				}
				f.Sizes[i], f.Roots[i] = trees[i].N, trees[i].Hash.String()
			}
			convicted, acquitted := false, false
			if divergence != "" {
				raw, err := p.readFile(divergence)
				if err != nil {
					return err
				}
				var d proof.Divergence
				if err := json.Unmarshal(raw, &d); err != nil {
					return proof.ErrBadProof
				}
				convicted = d.Verify(b.Log.Origin, b.Log.VKey, signed[0], signed[1]) == nil
				// Its path leads to the larger tree from the smaller, where that one is honest.
				acquitted = proof.Consistency(trees[0], trees[1], d.Path) == nil || proof.Consistency(trees[1], trees[0], d.Path) == nil
			}
			switch {
			case convicted:
				return &registrar.Problem{Code: proof.ErrSplitView.Code,
					Title: fmt.Sprintf("%s (the tree of %d leaves does not contain that of %d)", proof.ErrSplitView.Mend, max(f.Sizes[0], f.Sizes[1]), min(f.Sizes[0], f.Sizes[1]))}
			case proof.VerifySplitView(b.Log.Origin, b.Log.VKey, signed[0], signed[1]) == nil:
				return &registrar.Problem{Code: proof.ErrSplitView.Code,
					Title: fmt.Sprintf("%s (two trees of %d leaves: root %s and root %s)", proof.ErrSplitView.Mend, f.Sizes[0], f.Roots[0], f.Roots[1])}
			case f.Sizes[0] == f.Sizes[1]:
				return p.print(f, fmt.Sprintf("no split view: both are the tree of %d leaves with root %s", f.Sizes[0], f.Roots[0]))
			case log.VerifyRollback(signed[0], signed[1]) == nil:
				return &registrar.Problem{Code: proof.ErrRollback.Code,
					Title: fmt.Sprintf("%s (the tree of %d leaves was cosigned after that of %d)", proof.ErrRollback.Mend, min(f.Sizes[0], f.Sizes[1]), max(f.Sizes[0], f.Sizes[1]))}
			}
			if acquitted {
				return p.print(f, fmt.Sprintf("no split view: by %s the tree of %d leaves contains that of %d", divergence, max(f.Sizes[0], f.Sizes[1]), min(f.Sizes[0], f.Sizes[1])))
			}
			cause := fmt.Errorf("one tree has %d leaves, the other %d", f.Sizes[0], f.Sizes[1])
			if divergence != "" {
				cause = fmt.Errorf("%w, and %s is not about these two", cause, divergence)
			}
			return errSplitUnknown.Because(cause)
		})
	c.Long = "Compares two checkpoints of the public log that two observers kept.\n\n" +
		"Two of one size with different roots, both signed by the log, prove that it showed\n" +
		"two histories: the exit code is 1, and the files are the proof. Of two sizes that\n" +
		"takes the divergence which an audit, a mirror or a monitor kept: --divergence FILE.\n" +
		"Without it nobody can know, and the command says so (log.split_unknown), with the exit\n" +
		"code 1. Cosignatures of witnesses do not matter; the log alone answers for what it signs.\n\n" +
		"A log that went back is proof.rollback: a quorum of the bundle's witnesses cosigned the\n" +
		"smaller tree after one had cosigned the larger, by more than clocks may differ. The log\n" +
		"and those witnesses answer for that, whether or not the larger contains the smaller. Give\n" +
		"the bundle that was in force then: witnesses of others do not count."
	c.Example += "\n  escrow log split refused-X refused-X.known --divergence refused-X.divergence --bundle bundle.json"
	c.Flags().StringVar(&divergence, "divergence", "", "file that an audit or a mirror kept beside a checkpoint: two of different sizes are compared by it")
	c.Flags().StringVar(&bundle, "bundle", "", "bundle of rules that names the log and its key")
	return c
}
