package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/keep"
)

// AddSnapshot stores that a snapshot of the key service was taken. It can be repeated.
func (k *Keeping) AddSnapshot(ctx context.Context, s keep.Snapshot) error {
	return k.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		_, err := tx.Exec(ctx, `INSERT INTO snapshots (day, version) VALUES ($1, $2) ON CONFLICT DO NOTHING`, s.Day, s.Version)
		return refused(ctx, err)
	})
}

// NewestSnapshot returns the snapshot of the newest version, and of those the latest;
// the zero one if there is none. At a glance: it serves only to warn.
func (k *Keeping) NewestSnapshot(ctx context.Context) (s keep.Snapshot, err error) {
	err = k.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT day, version FROM snapshots ORDER BY version DESC, day DESC LIMIT 1`).Scan(&s.Day, &s.Version)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return keep.Snapshot{}, nil
	}
	return s, err
}
