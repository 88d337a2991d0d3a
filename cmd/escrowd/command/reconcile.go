package command

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/postgres"
	"github.com/penname/penname/escrow/service"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/rules"
)

func logReconcile() *cobra.Command {
	var dsn, from string
	var bundles []string
	c := &cobra.Command{
		Use: "reconcile", Short: "Bring a database that was restored to an older backup back to the public log, from a mirror of it",
		Long: "Append what the public log has and a restored database lacks, from a mirror that `escrow log mirror` keeps.\n\n" +
			"Stop the service first. Cases that moved on after the backup are closed, and what cannot be known any more\n" +
			"is recorded as lost and named. It can be interrupted, and run again.",
		Example: "  escrowd log reconcile --from /srv/mirror --bundle bundle.json --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := shell.Require(cmd, "from", "bundle", "database-file"); err != nil {
				return err
			}
			store, err := service.OpenDisclosingStore(cmd.Context(), dsn)
			if err != nil {
				return err
			}
			defer store.Close()
			r, err := reconcile(cmd.Context(), store, from, bundles, shell.Progress(cmd))
			if err != nil {
				return err
			}
			if err := store.Check(cmd.Context()); err != nil {
				return err
			}
			lost, err := store.Lost(cmd.Context())
			if err != nil {
				return err
			}
			text := fmt.Sprintf("the database had %d leaves and has %d now, as the witnesses cosigned them\n", r.Before, r.Size)
			if r.Before >= r.Size {
				text = fmt.Sprintf("the database has every leaf of the mirror, %d of %d: nothing to append\n", r.Size, r.Before)
			}
			return say(cmd, map[string]any{"before": r.Before, "size": r.Size, "lost": lostJSON(lost)}, "%s", text+lostText(lost))
		},
	}
	databaseFlag(c, &dsn, "role penname_disclosing")
	c.Flags().StringVar(&from, "from", "", "folder with a mirror of the log, no older than what the witnesses have seen")
	c.Flags().StringArrayVar(&bundles, "bundle", nil, "bundle of rules, the newest first; can be given again for older ones")
	return c
}

func reconcile(ctx context.Context, store *postgres.Disclosing, from string, bundles []string, progress io.Writer) (r translog.Reconciliation, err error) {
	have := make(map[string][]byte)
	var newest *policy.Bundle
	for _, name := range bundles {
		raw, err := shell.ReadFile(name)
		if err != nil {
			return r, err
		}
		b, err := policy.ParseBundle(raw)
		if err != nil {
			return r, err
		}
		if have[b.Hash()] = raw; newest == nil {
			newest = b
		}
	}
	log, err := newest.TrustedLog()
	if err != nil {
		return r, err
	}
	// A mirror keeps bundles with their endorsements, which those given do not have.
	kept := rules.FromMirror(from, func(_ context.Context, hash string) ([]byte, []string, error) { return have[hash], nil, nil })
	byHash := func(hash string) ([]byte, []string) {
		b, err := rules.NewBundles(kept).Get(ctx, hash)
		if err != nil {
			return nil, nil
		}
		_, endorsements, _ := kept(ctx, hash) // whoever follows the log checks them
		raw, _ := b.Marshal()                 // as it was parsed
		return raw, endorsements
	}
	return translog.Reconcile(ctx, log, from, store.Log, func(bundle string) bool { raw, _ := byHash(bundle); return raw != nil },
		func(ctx context.Context, at int64, leaves [][]byte) error {
			return store.Restore(ctx, at, leaves, byHash)
		},
		func(done, size int64) { fmt.Fprintf(progress, "%d of %d leaves\n", done, size) })
}

// lostText names every leaf that has no row any more, and what follows.
func lostText(lost []postgres.Lost) string {
	if len(lost) == 0 {
		return "every row has its leaf, and every leaf its row"
	}
	text := fmt.Sprintf("every row has its leaf, and every leaf its row, but for %d that a restored backup did not have:\n", len(lost))
	for _, l := range lost {
		text += fmt.Sprintf("  leaf %d  %s  %-10s %s\n", l.Leaf, l.Day, l.Kind, consequence(l))
	}
	return text
}

// lostJSON is what lostText says, for programs.
func lostJSON(lost []postgres.Lost) []map[string]any {
	all := []map[string]any{}
	for _, l := range lost {
		all = append(all, map[string]any{"leaf": l.Leaf, "day": l.Day, "kind": l.Kind, "case": l.Case, "consequence": consequence(l)})
	}
	return all
}

// consequence says what is to be done about a leaf whose row is lost.
func consequence(l postgres.Lost) string {
	switch {
	case l.CaseState == disclose.Lost:
		return fmt.Sprintf("case %s is closed: the court must file a new warrant", l.Case)
	case l.Case != "":
		return fmt.Sprintf("case %s is %s and stays so", l.Case, l.CaseState)
	case l.CaseLeaf != nil:
		return fmt.Sprintf("of the case that leaf %d recorded, which is lost", *l.CaseLeaf)
	case l.Kind == "recorded":
		return "this case is lost: tell the court, which must file a new warrant, and the persons concerned if it was opened"
	case l.Kind == "erased":
		return "carried out again where the wish is known; otherwise the key it needs was destroyed with the erasure"
	case l.Kind == "bundle":
		return "rules that newer ones have replaced"
	case l.Kind == "ceremony":
		return "the custodians have the transcript, and can publish it again"
	}
	return "nothing follows from it"
}
