package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
)

// Platforms is the registry as the disclosing side may use it: the stores of
// [disclose.Registry].
type Platforms struct{ db *db }

// Registry is the registry that keeps its records here. Who only reads needs no rules and
// no clock.
func (s Platforms) Registry(rules *disclose.Rules, now func() time.Time) disclose.Registry {
	return disclose.Registry{Rules: rules, Now: now, Append: s.Append, Of: s.Of, After: s.After}
}

// Append is [disclose.Registry].Append.
func (s Platforms) Append(ctx context.Context, e disclose.PlatformEntry, leaf proof.Leaf, after int64) (logged policy.LoggedPlatform, err error) {
	logged = policy.LoggedPlatform{Signed: e.Signed, Countersigned: append([]string{}, e.Countersigned...)}
	if e.Client == nil {
		e.Client = []byte{}
	}
	err = s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		log := newLogTx(tx)
		if _, err := log.LockSize(ctx); err != nil {
			return err
		}
		var newest int64
		var have []policy.LoggedPlatform
		err := tx.QueryRow(ctx, `SELECT coalesce(max(leaf), -1) FROM platform_records`).Scan(&newest)
		if err == nil {
			have, err = readPlatforms(ctx, tx, `WHERE id = $1 AND number = $2`, e.Record.ID, e.Record.Number)
		}
		switch {
		case err != nil:
			return refused(ctx, err)
		case len(have) == 1 && have[0].Signed == e.Signed:
			logged = have[0] // its answer was lost
			return nil
		case newest != after:
			return disclose.ErrRegistryMoved
		}
		if logged.Leaf, logged.Day, err = lostPlatform(ctx, tx, leaf); err != nil {
			return refused(ctx, err)
		}
		if logged.Leaf < 0 {
			if logged.Leaf, err = translog.Sequence(ctx, log, leaf); err != nil {
				return err
			}
			logged.Day = leaf.Day
		}
		day, err := time.Parse(time.DateOnly, logged.Day)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO platform_records (id, number, signed, countersigned, client, leaf, day) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			e.Record.ID, e.Record.Number, logged.Signed, logged.Countersigned, e.Client, logged.Leaf, day)
		return refused(ctx, err)
	})
	return logged, err
}

// lostPlatform returns the leaf of a record whose row a restored backup did not have;
// -1 if there is none.
func lostPlatform(ctx context.Context, tx pgx.Tx, leaf proof.Leaf) (index int64, day string, err error) {
	err = tx.QueryRow(ctx, `
		SELECT l.leaf, convert_from(g.leaf, 'UTF8')::json ->> 'day' FROM lost_leaves l JOIN log_leaves g ON g.index = l.leaf
		WHERE convert_from(g.leaf, 'UTF8')::json ->> 'kind' = 'platform' AND convert_from(g.leaf, 'UTF8')::json ->> 'package' = $1`,
		leaf.Package).Scan(&index, &day)
	if errors.Is(err, pgx.ErrNoRows) {
		return -1, "", nil
	}
	return index, day, err
}

// Of is [disclose.Registry].Of.
func (s Platforms) Of(ctx context.Context, ids ...string) (all []policy.LoggedPlatform, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		if len(ids) == 0 {
			all, err = readPlatforms(ctx, c, ``)
		} else {
			all, err = readPlatforms(ctx, c, `WHERE id = ANY($1)`, ids)
		}
		return err
	})
	return all, err
}

// After is [disclose.Registry].After.
func (s Platforms) After(ctx context.Context, leaf int64, id string, records, bytes int) (page []policy.LoggedPlatform, more bool, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		page, err = readPlatforms(ctx, c, `WHERE leaf IN (
			SELECT leaf FROM (
				SELECT leaf, row_number() OVER behind AS nth, sum(octet_length(signed) + octet_length(array_to_string(countersigned, ''))) OVER behind AS bytes
				FROM (SELECT leaf, signed, countersigned FROM platform_records WHERE leaf > $1 AND ($2 = '' OR id = $2) ORDER BY leaf LIMIT $3) AS most
				WINDOW behind AS (ORDER BY leaf)) AS measured
			WHERE nth = 1 OR bytes <= $4)`, leaf, id, records, bytes)
		if err != nil || len(page) == 0 {
			return err
		}
		return c.QueryRow(ctx, `SELECT EXISTS (SELECT FROM platform_records WHERE leaf > $1 AND ($2 = '' OR id = $2))`, page[len(page)-1].Leaf, id).Scan(&more)
	})
	return page, more, err
}

// readPlatforms reads records in the order of their leaves.
func readPlatforms(ctx context.Context, q querier, where string, args ...any) ([]policy.LoggedPlatform, error) {
	rows, err := q.Query(ctx, `SELECT signed, countersigned, leaf, day FROM platform_records `+where+` ORDER BY leaf`, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p policy.LoggedPlatform, err error) {
		var day time.Time
		err = row.Scan(&p.Signed, &p.Countersigned, &p.Leaf, &day)
		p.Day = proof.Day(day)
		return p, err
	})
}

// Registered is a record of a platform with the settings of its client.
type Registered struct {
	policy.LoggedPlatform
	Client []byte // its SHA-256 is in the record
}

// Platforms returns all records of platforms behind a leaf, in the order of their leaves.
// -1 is the beginning. Whoever asks again with the last leaf that they were told gets what
// changed since, and mostly nothing, from an index.
//
// Not checked: who signed a record and whether it may come after those before it
// ([policy.Platforms.Add]), and that the leaf is in the public log.
func (d *Issuing) Platforms(ctx context.Context, after int64) ([]Registered, error) {
	return d.registered(ctx, `p.leaf > $1`, after)
}

// Newest returns the newest record of each platform, for the operator's commands.
func (s Platforms) Newest(ctx context.Context) ([]Registered, error) {
	return s.db.registered(ctx, `NOT EXISTS (SELECT FROM platform_records n WHERE n.id = p.id AND n.number > p.number)`)
}

func (d *db) registered(ctx context.Context, where string, args ...any) (all []Registered, err error) {
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `SELECT p.signed, p.countersigned, p.client, p.leaf, p.day FROM platform_records p WHERE `+where+` ORDER BY p.leaf`, args...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Registered, err error) {
			var day time.Time
			err = row.Scan(&r.Signed, &r.Countersigned, &r.Client, &r.Leaf, &day)
			r.Day = proof.Day(day)
			return r, err
		})
		return err
	})
	return all, err
}
