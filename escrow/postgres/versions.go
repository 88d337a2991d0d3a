package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/keep"
)

var (
	_ keep.Past = (*Issuing)(nil)
	_ keep.Past = (*Disclosing)(nil)
	_ keep.Past = (*Keeping)(nil)
)

// UsedVersions implements [keep.Past]. The rotations say it, which move forward only
// and are never deleted: "done" is written after the older versions were
// destroyed, and a record is counted as moved after its version was made. At a
// glance: it serves only to refuse a key service that is older.
func (d *db) UsedVersions(ctx context.Context, groups ...int) ([]keep.Used, error) {
	return d.usedVersions(ctx, `false`, groups)
}

// UsedVersions implements [keep.Past]. Before a rotation it counts, too, a record that
// came in under the version that the rotation made and has not moved to yet. It is asked for
// one: of EXISTS a plan makes a table of everybody.
func (k *Keeping) UsedVersions(ctx context.Context, groups ...int) ([]keep.Used, error) {
	return k.usedVersions(ctx, `(SELECT true FROM records WHERE erased IS NULL AND key_group = number AND key_version(first_half) = version LIMIT 1)`, groups)
}

// Of two processes that rotate, the one may finish what it destroyed before the other did:
// so it is not only the last rotation that is asked for.
func (d *db) usedVersions(ctx context.Context, inUse string, groups []int) (used []keep.Used, err error) {
	const claims = `(state <> 'moving' OR records > 0)`
	err = d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			WITH asked AS (
			  SELECT 0 AS number
			  UNION SELECT number FROM key_groups WHERE number = ANY ($1::int[])
			  UNION (SELECT number FROM key_groups ORDER BY number DESC LIMIT 1)
			  UNION SELECT key_group FROM rotations WHERE state <> 'done' AND `+claims+`
			  UNION (SELECT key_group FROM rotations WHERE state = 'done' ORDER BY step DESC LIMIT 4))
			SELECT number, coalesce(max(version) FILTER (WHERE state = 'done'), 1),
			       coalesce(max(version) FILTER (WHERE `+claims+` OR `+inUse+`), 1)
			FROM asked LEFT JOIN rotations ON key_group = number GROUP BY number ORDER BY number`, groups)
		if err != nil {
			return err
		}
		used, err = pgx.CollectRows(rows, pgx.RowToStructByPos[keep.Used])
		return err
	})
	return used, err
}

// OpenGroups returns the groups into which people come who enrol on that day (UTC).
func (s *Issuing) OpenGroups(ctx context.Context, day time.Time) ([]int, error) {
	return s.groups(ctx, `SELECT number FROM key_groups WHERE opened <= $1 AND (closed IS NULL OR closed > $1)`, day.UTC().Truncate(24*time.Hour))
}
