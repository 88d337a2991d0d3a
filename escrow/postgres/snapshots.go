package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/keep"
)

// NextSnapshot returns what a snapshot of the key service has at least that is taken from
// now on.
func (k *Keeping) NextSnapshot(ctx context.Context, now time.Time) (s keep.Snapshot, err error) {
	s.Day = now.UTC().Truncate(24 * time.Hour)
	err = k.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT (SELECT coalesce(max(number), 0) FROM key_groups), (SELECT coalesce(max(step), 0) FROM rotations)`).Scan(&s.Group, &s.Step)
	})
	return s, err
}

// AddSnapshot stores that a snapshot of the key service was taken. It can be repeated.
func (k *Keeping) AddSnapshot(ctx context.Context, s keep.Snapshot) error {
	return k.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		_, err := tx.Exec(ctx, `INSERT INTO snapshots (day, key_group, step) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, s.Day, s.Group, s.Step)
		return refused(ctx, err)
	})
}

// NewestSnapshot returns the snapshot that has most, and of those the latest, and the first
// day of what it lacks: a rotation, or a group that people come into from that day on. There may be none of either. At a glance: it
// serves only to warn.
func (k *Keeping) NewestSnapshot(ctx context.Context) (s keep.Snapshot, missing time.Time, err error) {
	var lacks *time.Time
	err = k.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			SELECT s.day, s.key_group, s.step, least(
			  (SELECT min(day) FROM rotations WHERE step > s.step AND state <> 'moving'),
			  (SELECT min(opened) FROM key_groups WHERE number > s.key_group))
			FROM snapshots s ORDER BY s.step DESC, s.key_group DESC, s.day DESC LIMIT 1`).Scan(&s.Day, &s.Group, &s.Step, &lacks)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return keep.Snapshot{}, missing, nil
	}
	if lacks != nil {
		missing = *lacks
	}
	return s, missing, err
}
