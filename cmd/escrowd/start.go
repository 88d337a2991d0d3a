package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/penname/penname/escrow/postgres"
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

func logCommand() *cobra.Command {
	var dsn string
	check := &cobra.Command{
		Use: "check", Short: "Compare every case, decision, bundle and erasure in the database with its leaf in the public log", Args: cobra.NoArgs,
		Example: "  escrowd log check --database-file /etc/penname/disclosing.dsn",
		RunE: func(cmd *cobra.Command, _ []string) error {
			disclosing, err := readSecret(dsn)
			if err != nil {
				return err
			}
			store, err := postgres.OpenDisclosing(cmd.Context(), disclosing, postgres.Options{})
			if err != nil {
				return err
			}
			defer store.Close()
			if err := store.Check(cmd.Context()); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "every row has its leaf, and every leaf its row")
			return nil
		},
	}
	check.Flags().StringVar(&dsn, "database-file", "", "file (mode 0600) with the DSN of role penname_disclosing")
	c := &cobra.Command{Use: "log", Short: "Check the public log against the database"}
	c.AddCommand(check)
	return c
}
