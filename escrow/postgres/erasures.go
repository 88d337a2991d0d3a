package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/policy"
)

// Erasures implements [disclose.Erasures].
type Erasures struct{ db *db }

var _ disclose.Erasures = Erasures{}

// Pending implements [disclose.Erasures].
func (s Erasures) Pending(ctx context.Context, after string, n int) (labels []string, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			SELECT label FROM erasures WHERE leaf IS NULL AND label > $1
			  AND (cleared IS NULL OR cleared < (SELECT coalesce(max(recorded_leaf), -1) FROM cases))
			ORDER BY label NULLS FIRST LIMIT $2`, after, n)
		if err != nil {
			return err
		}
		labels, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return labels, err
}

// Newest implements [disclose.Erasures].
func (s Erasures) Newest(ctx context.Context) (newest int64, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT coalesce(max(recorded_leaf), -1) FROM cases`).Scan(&newest)
	})
	return newest, err
}

// holding are the states that a partial index (cases_holding) covers.
const holding = `(` + recorded + `, ` + authorised + `, ` + lostState + `, ` + released + `)`

// Holding implements [disclose.Erasures].
func (s Erasures) Holding(ctx context.Context, now time.Time, after int64, n int) (cases []disclose.Case, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		cases, err = readCases(ctx, c, `WHERE c.state IN `+holding+` AND c.recorded_leaf > $2
			AND (c.expires > $1 AND c.kind IN `+holdingKinds+` OR c.state = `+released+` OR c.state = `+authorised+` AND c.released > 0)
			ORDER BY c.recorded_leaf LIMIT $3`, now.UTC(), after, n)
		return err
	})
	return cases, err
}

// holdingKinds are all but those that are about an earlier warrant, which holds.
var holdingKinds = kindsSQL(func(k policy.Kind) bool { return !k.Earlier })

// Clear implements [disclose.Erasures].
func (s Erasures) Clear(ctx context.Context, labels []string, newest int64) error {
	return s.db.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.db.exec(ctx, `UPDATE erasures SET cleared = $2 WHERE label = ANY ($1::text[]) AND leaf IS NULL AND (cleared IS NULL OR cleared < $2)`, labels, newest)
		return err
	})
}
