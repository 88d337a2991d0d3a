package command

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"filippo.io/torchwood"
	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/verifier/proof"
)

// shownEntry is what --json prints of one entry.
type shownEntry struct {
	listedEntry
	Facts    []proof.Fact `json:"facts"`
	Raw      string       `json:"raw"`   // as the log has it; of an entry that cannot be read, as a string of Go
	Proof    string       `json:"proof"` // c2sp.org/tlog-proof@v1, which was checked
	Size     int64        `json:"size"`  // of the tree
	Root     string       `json:"root"`
	Cosigned time.Time    `json:"cosigned"`
}

func logShow(p *program) *cobra.Command {
	var read readFlags
	var save string
	c := leaf("show N", "Show one entry of the public log in words, as it stands there, and check its proof",
		"escrow log show 42 --bundle bundle.json", cobra.ExactArgs(1),
		func(ctx context.Context, args []string) error {
			index, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || index < 0 {
				return shell.UsageError("N is the number of an entry, 0 or more: escrow log list shows them")
			}
			o, err := read.open(ctx, p)
			if err != nil {
				return err
			}
			raw, path, err := proof.ReadEntry(ctx, o.tiles, o.Tree, index)
			if err != nil {
				return err
			}
			e := o.shown(index, raw, string(torchwood.FormatProof(index, path, o.signed)))
			// What a stranger is handed is checked as a stranger would.
			if _, _, err := o.VerifyProof(raw, []byte(e.Proof)); err != nil {
				return err
			}
			if save != "" {
				if err := shell.WriteFile(save, []byte(e.Proof)); err != nil {
					return err
				}
			}
			return p.print(e, e.text(o, len(path)))
		})
	c.Long = "Shows one entry of the public log: in words, what else it says, and as it stands\n" +
		"there. Its inclusion proof leads to the newest checkpoint, which a quorum of witnesses\n" +
		"cosigned; it is checked, and --save-proof keeps it as c2sp.org/tlog-proof@v1, which\n" +
		"others can check without the log."
	read.add(c)
	c.Flags().StringVar(&save, "save-proof", "", "file to save the proof to, for example 42.tlog-proof")
	return c
}

func (o *openLog) shown(index int64, raw []byte, proven string) shownEntry {
	e := shownEntry{listedEntry: listed(index, nil), Raw: strconv.QuoteToASCII(string(raw)), Facts: []proof.Fact{},
		Proof: proven, Size: o.N, Root: o.Hash.String(), Cosigned: o.cosigned.UTC()}
	if l, err := proof.ParseLeaf(raw); err == nil {
		e.listedEntry, e.Raw, e.Facts = listed(index, &l), string(raw), append(e.Facts, l.Facts()...)
	}
	return e
}

func (e shownEntry) text(o *openLog, steps int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "entry %d", e.Entry)
	if e.Leaf != nil {
		fmt.Fprintf(&b, ", %s, %s", e.Day, e.Kind)
	}
	fmt.Fprintf(&b, "\n%s\n", e.Words)
	for _, f := range e.Facts {
		fmt.Fprintf(&b, "  %s: %s\n", f.Name, f.Text)
	}
	fmt.Fprintf(&b, "as it stands in the log\n  %s\n", e.Raw)
	fmt.Fprintf(&b, "proof\n  checked: %d hashes lead from it to the root %s\n  of the log of %v\n", steps, e.Root, o)
	switch {
	case e.Leaf == nil:
	case e.Leaf.Case != nil:
		fmt.Fprintf(&b, "Next: escrow log list --case %d shows its case.\n", *e.Leaf.Case)
	case e.Kind == proof.KindRecorded:
		fmt.Fprintf(&b, "Next: escrow log list --case %d shows what became of it.\n", e.Entry)
	}
	return b.String()
}
