package postgres

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/issue"
)

// claimsPlace is the row of a person's claims. It is of one record: whoever was deleted and
// comes back has none.
func (k rowKey) claimsPlace(p issue.Person) []byte {
	return k.handle("claims", p.ID[:], []byte(p.Label))
}

// Claims implements [issue.Store]. At a glance: TakeClaims compares.
func (s *Issuing) Claims(ctx context.Context, p issue.Person) (sealed []byte, err error) {
	err = s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		err := c.QueryRow(ctx, `SELECT sealed FROM claims WHERE place = $1`, s.rows.claimsPlace(p)).Scan(&sealed)
		if errors.Is(err, pgx.ErrNoRows) {
			sealed, err = nil, nil
		}
		return err
	})
	return sealed, err
}

// errNotTaken undoes what is noted of claims that were not taken.
var errNotTaken = errors.New("other claims are stored")

// TakeClaims implements [issue.Store]. What counts is last: many people share those rows.
func (s *Issuing) TakeClaims(ctx context.Context, p issue.Person, t issue.Taken) (bool, error) {
	err := s.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		if t.Noting.Kind != "" {
			if err := s.noteChange(ctx, tx, p, t.Noting); err != nil {
				return err
			}
		}
		var done bool
		err := tx.QueryRow(ctx, `SELECT take_claims($1, $2, $3, $4, $5, $6, $7)`,
			s.rows.claimsPlace(p), t.Was, t.Now, t.Until.UTC(), t.Up, t.Down, p.Label).Scan(&done)
		if err == nil && !done {
			return errNotTaken
		}
		return refused(ctx, err)
	})
	if errors.Is(err, errNotTaken) {
		return false, nil
	}
	return err == nil, err
}

// Sharing implements [issue.Store]. At a glance: one person more or less after a failover
// tells nothing.
func (s *Issuing) Sharing(ctx context.Context, combination []byte) (n int64, err error) {
	err = s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT coalesce(max(n), 0) FROM claim_counts WHERE id = $1`, combination).Scan(&n)
	})
	return n, err
}

// ToldClaims implements [issue.Store]. At a glance: what is not there is stored before it
// is told again.
func (s *Issuing) ToldClaims(ctx context.Context, places [][]byte) (values [][]byte, err error) {
	err = s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		values = make([][]byte, len(places))
		rows, err := c.Query(ctx, `SELECT asked.n - 1, t.value FROM unnest($1::bytea[]) WITH ORDINALITY asked (place, n) JOIN claims_told t USING (place)`, places)
		if err != nil {
			return err
		}
		var at int
		var value []byte
		_, err = pgx.ForEachRow(rows, []any{&at, &value}, func() error {
			values[at] = bytes.Clone(value)
			return nil
		})
		return err
	})
	return values, err
}

// TellClaims implements [issue.Store].
func (s *Issuing) TellClaims(ctx context.Context, told []issue.ToldClaim, day time.Time) error {
	var places, values [][]byte
	for _, one := range told {
		places, values = append(places, one.Place), append(values, one.Value)
	}
	return s.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.exec(ctx, `INSERT INTO claims_told (place, value, day) SELECT place, value, $3 FROM unnest($1::bytea[], $2::bytea[]) told (place, value) ON CONFLICT DO NOTHING`,
			places, values, day.UTC())
		return err
	})
}
