package postgres

import (
	"context"

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
func (d *db) UsedVersions(ctx context.Context) (oldest, newest int, err error) {
	return d.usedVersions(ctx, `false`)
}

// UsedVersions implements [keep.Past]. Before a rotation it counts, too, a record that
// came in under the version that the rotation made and has not moved to yet.
func (k *Keeping) UsedVersions(ctx context.Context) (oldest, newest int, err error) {
	return k.usedVersions(ctx, `EXISTS (SELECT FROM records WHERE key_version(first_half) = version)`)
}

func (d *db) usedVersions(ctx context.Context, inUse string) (oldest, newest int, err error) {
	err = d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			SELECT coalesce(max(version) FILTER (WHERE state = 'done'), 1),
			       coalesce(max(version) FILTER (WHERE state <> 'moving' OR records > 0 OR `+inUse+`), 1) FROM rotations`).Scan(&oldest, &newest)
	})
	return oldest, newest, err
}
