package postgres

import (
	"bytes"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// Bundles implements [disclose.Bundles].
type Bundles struct{ db *db }

var _ disclose.Bundles = Bundles{}

// Install implements [disclose.Bundles].
func (s Bundles) Install(ctx context.Context, bundle []byte, endorsements []string, leaf proof.Leaf, after string) error {
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
		if inForce != nil && bytes.Equal(inForce, bundle) {
			return nil
		}
		// Under the log's lock: of two that follow one bundle, the first wins.
		hash, err := inForceHash(ctx, tx)
		if err != nil {
			return err
		}
		var before bool
		err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM bundles WHERE bundle = $1)`, bundle).Scan(&before)
		switch {
		case err != nil:
			return refused(ctx, err)
		case before, hash != after:
			return policy.ErrNotNext
		}
		index, err := translog.Sequence(ctx, log, leaf)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO bundles (leaf, bundle, endorsements) VALUES ($1, $2, $3)`, index, bundle, endorsements)
		return refused(ctx, err)
	})
}

// History implements [disclose.Bundles]. It only glances: what is in force counts
// only as the public log says, and is compared again by whoever appends under it.
func (s Bundles) History(ctx context.Context) (hashes []string, err error) {
	err = s.db.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, bundlesSQL+`ORDER BY b.leaf`)
		if err != nil {
			return err
		}
		hashes, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return hashes, err
}

// bundlesSQL reads hashes from the leaves of bundles: bundles are large.
const bundlesSQL = `SELECT convert_from(g.leaf, 'UTF8')::json ->> 'bundle' FROM bundles b JOIN log_leaves g ON g.index = b.leaf `

// Bundle implements [disclose.Bundles].
func (s Bundles) Bundle(ctx context.Context, hash string) (bundle []byte, endorsements []string, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			SELECT b.bundle, b.endorsements FROM bundles b JOIN log_leaves g ON g.index = b.leaf
			WHERE convert_from(g.leaf, 'UTF8')::json ->> 'bundle' = $1 ORDER BY b.leaf LIMIT 1`, hash).Scan(&bundle, &endorsements)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = disclose.ErrUnknownBundle
	}
	return bundle, endorsements, err
}

// inForceHash is the hash of the bundle in force; empty if there is none.
func inForceHash(ctx context.Context, q querier) (hash string, err error) {
	err = q.QueryRow(ctx, bundlesSQL+`ORDER BY b.leaf DESC LIMIT 1`).Scan(&hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return hash, refused(ctx, err)
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
