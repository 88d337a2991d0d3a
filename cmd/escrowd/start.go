package main

import (
	"context"
	"errors"
	"sync"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/translog"
)

// agree publishes once before the service serves. If no quorum cosigns because
// witnesses have seen a larger log, or another one, the database is an older
// backup or a forgery: the start is refused, and nothing acknowledged is denied.
// Witnesses that are merely down refuse nothing: without them nothing opens.
func (s *service) agree(ctx context.Context) error {
	var mu sync.Mutex
	var alarm error
	tell := s.publisher.OnWitness
	s.publisher.OnWitness = func(witness string, err error) {
		if errors.Is(err, translog.ErrRollback) || errors.Is(err, translog.ErrFork) {
			mu.Lock()
			defer mu.Unlock()
			alarm = err
		}
		tell(witness, err)
	}
	defer func() { s.publisher.OnWitness = tell }()
	_, err := s.publisher.Publish(ctx)
	switch {
	case errors.Is(err, translog.ErrRollback) || errors.Is(err, translog.ErrFork):
		return err
	case err != nil:
		return alarm // nil if they are down
	}
	return nil
}

// What the sides ask of the key service, beside their work: which versions of
// the record key there are.
type (
	issuingKeys interface {
		issue.Keys
		keep.Versions
	}
	disclosingKeys interface {
		disclose.Keys
		keep.Versions
	}
)

// current refuses to start with a key service that was taken back behind what
// the database saw, as a restored snapshot is.
func (w *wiring) current(ctx context.Context) error {
	var err error
	if i := w.issuing; i != nil {
		err = keep.Current(ctx, i.keys, i.store)
	}
	if d := w.disclosing; d != nil && err == nil {
		err = keep.Current(ctx, d.keys, d.store)
	}
	if k := w.keeping; k != nil && err == nil {
		err = keep.Current(ctx, k.keys, k.store)
	}
	return err
}

// guarded hands out no first half that a key service opened which was taken
// back while the service ran. It asks afterwards: what was asked before could
// be taken back in between.
type guarded struct {
	disclosingKeys
	past keep.Past
}

// UnwrapHalves implements disclose.Keys.
func (g guarded) UnwrapHalves(ctx context.Context, wrapped []disclose.Wrapped) ([][]byte, error) {
	halves, err := g.disclosingKeys.UnwrapHalves(ctx, wrapped)
	older := keep.Current(ctx, g.disclosingKeys, g.past)
	if older == nil || err != nil && !errors.Is(older, keep.ErrRollback) {
		return halves, err
	}
	for _, half := range halves {
		clear(half)
	}
	return nil, older
}

func logCommand() *cobra.Command {
	var dsn, audit string
	check := &cobra.Command{
		Use: "check", Short: "Compare every case, decision, bundle and erasure in the database with its leaf in the public log",
		Long: "Compare every case, decision, bundle and erasure in the database with its leaf in the public log.\n" +
			"With --vault-audit also what Vault wrote down itself: no first half was opened that no authorised case\n" +
			"accounts for.",
		Example: "  escrowd log check --database-file /etc/penname/disclosing.dsn\n" +
			"  escrowd log check --database-file /etc/penname/disclosing.dsn --vault-audit /var/log/vault/audit.log",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := shell.Require(cmd, "database-file"); err != nil {
				return err
			}
			store, err := openDisclosing(cmd.Context(), dsn)
			if err != nil {
				return err
			}
			defer store.Close()
			if err := store.Check(cmd.Context()); err != nil {
				return err
			}
			lost, err := store.Lost(cmd.Context())
			if err != nil {
				return err
			}
			if audit == "" {
				return say(cmd, map[string]any{"lost": jsonOf(lost)}, "%s", lostText(lost))
			}
			opened, err := checkVaultAudit(cmd.Context(), store, audit)
			if err != nil {
				return err
			}
			return say(cmd, map[string]any{"lost": jsonOf(lost), "opened": opened}, "Vault opened %d first halves, and the log authorised each of them\n%s", opened, lostText(lost))
		},
	}
	check.Flags().StringVar(&audit, "vault-audit", "", "the file of one audit device of Vault, whole")
	databaseFlag(check, &dsn, "role penname_disclosing")
	c := &cobra.Command{Use: "log", Short: "Check the public log against the database, and bring an old backup back to it"}
	c.AddCommand(check, reconcileCommand(), logKeygen())
	return c
}
