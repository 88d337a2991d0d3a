package postgres

import (
	"bytes"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/verifier/proof"
)

// Bundles implements [disclose.Bundles].
type Bundles struct{ db *db }

var _ disclose.Bundles = Bundles{}

// Install implements [disclose.Bundles].
func (s Bundles) Install(ctx context.Context, bundle []byte, endorsements []string, leaf proof.Leaf) error {
	if len(bundle) > maxBundle {
		return ErrTooLarge
	}
	if endorsements == nil {
		endorsements = []string{}
	}
	return s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		log := newLogTx(tx)
		if _, err := log.LockSize(ctx); err != nil {
			return err
		}
		inForce, _, err := currentBundle(ctx, tx)
		if err != nil && !errors.Is(err, disclose.ErrNoBundle) {
			return refused(ctx, err)
		}
		if bytes.Equal(inForce, bundle) {
			return nil
		}
		index, err := translog.Sequence(ctx, log, leaf)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO bundles (leaf, bundle, endorsements) VALUES ($1, $2, $3)`, index, bundle, endorsements)
		return refused(ctx, err)
	})
}

// Current implements [disclose.Bundles].
func (s Bundles) Current(ctx context.Context) (bundle []byte, endorsements []string, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		bundle, endorsements, err = currentBundle(ctx, c)
		return err
	})
	return bundle, endorsements, err
}

func currentBundle(ctx context.Context, q querier) (bundle []byte, endorsements []string, err error) {
	err = q.QueryRow(ctx, `SELECT bundle, endorsements FROM bundles ORDER BY leaf DESC LIMIT 1`).Scan(&bundle, &endorsements)
	if errors.Is(err, pgx.ErrNoRows) {
		err = disclose.ErrNoBundle
	}
	return bundle, endorsements, err
}
