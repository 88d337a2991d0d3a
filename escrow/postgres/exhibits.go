package postgres

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/exhibit"
)

// insertExhibits makes the rows that are to be filled.
func insertExhibits(ctx context.Context, tx pgx.Tx, c disclose.Case) error {
	digests, lengths := make([][]byte, len(c.Exhibits)), make([]int64, len(c.Exhibits))
	for i, x := range c.Exhibits {
		digests[i], lengths[i] = x.Digest[:], x.Length
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO exhibits (case_id, digest, length, keep_days)
		SELECT $1, x.digest, x.length, $4 FROM unnest($2::bytea[], $3::bigint[]) x (digest, length)`, c.ID, digests, lengths, c.KeepDays)
	return refused(ctx, err)
}

// PutExhibit implements [disclose.Cases].
func (s Cases) PutExhibit(ctx context.Context, id string, digest [32]byte, sealed []byte) error {
	return s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		var length int
		var stored []byte
		err := tx.QueryRow(ctx, `SELECT length, sealed FROM exhibits WHERE case_id = $1 AND digest = $2 FOR UPDATE`, id, digest[:]).Scan(&length, &stored)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return disclose.ErrExhibitUndeclared
		case err != nil:
			return refused(ctx, err)
		case len(sealed) != length:
			return disclose.ErrExhibitLength
		case stored != nil && !bytes.Equal(stored, sealed):
			return disclose.ErrExhibitStored
		case stored != nil:
			return nil
		}
		_, err = tx.Exec(ctx, `UPDATE exhibits SET sealed = $3 WHERE case_id = $1 AND digest = $2 AND sealed IS NULL`, id, digest[:], sealed)
		return refused(ctx, err)
	})
}

// Exhibit implements [disclose.Cases].
func (s Cases) Exhibit(ctx context.Context, id string, digest [32]byte) (sealed []byte, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT sealed FROM exhibits WHERE case_id = $1 AND digest = $2 AND sealed IS NOT NULL`, id, digest[:]).Scan(&sealed)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = disclose.ErrNoExhibit
	}
	return sealed, err
}

// PutExhibits implements [disclose.Cases].
func (s Cases) PutExhibits(ctx context.Context, id string, sealed map[[32]byte][]byte) error {
	var digests, contents [][]byte
	for digest, b := range sealed {
		digests, contents = append(digests, digest[:]), append(contents, b)
	}
	return s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		// In one order, so that two who file the same do not wait for each other.
		rows, err := tx.Query(ctx, `SELECT digest, length FROM exhibits WHERE case_id = $1 AND digest = ANY($2) ORDER BY digest FOR UPDATE`, id, digests)
		if err != nil {
			return refused(ctx, err)
		}
		declared := 0
		var digest []byte
		var length int
		_, err = pgx.ForEachRow(rows, []any{&digest, &length}, func() error {
			if declared++; len(sealed[[32]byte(digest)]) != length {
				return disclose.ErrExhibitLength
			}
			return nil
		})
		switch {
		case err != nil:
			return refused(ctx, err)
		case declared < len(sealed):
			return disclose.ErrExhibitUndeclared
		}
		_, err = tx.Exec(ctx, `
			UPDATE exhibits e SET sealed = x.sealed FROM unnest($2::bytea[], $3::bytea[]) x (digest, sealed)
			WHERE e.case_id = $1 AND e.digest = x.digest AND e.sealed IS NULL`, id, digests, contents)
		return refused(ctx, err)
	})
}

// ShortExhibits implements [disclose.Cases].
func (s Cases) ShortExhibits(ctx context.Context, id string, digests [][32]byte) (found map[[32]byte][]byte, err error) {
	of := make([][]byte, len(digests))
	for i := range digests {
		of[i] = digests[i][:]
	}
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		found = make(map[[32]byte][]byte, len(digests))
		rows, err := c.Query(ctx, `SELECT digest, sealed FROM exhibits WHERE case_id = $1 AND digest = ANY($2) AND length <= $3 AND sealed IS NOT NULL`, id, of, exhibit.MaxShort)
		if err != nil {
			return err
		}
		var digest, sealed []byte
		_, err = pgx.ForEachRow(rows, []any{&digest, &sealed}, func() error {
			found[[32]byte(digest)] = bytes.Clone(sealed)
			return nil
		})
		return err
	})
	return found, err
}

// PutCopy implements [disclose.Cases].
func (s Cases) PutCopy(ctx context.Context, id string, digest, recipient [32]byte, copied []byte) error {
	return s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		var length int
		var open bool
		err := tx.QueryRow(ctx, `
			SELECT e.length, c.state IN (`+recorded+`, `+authorised+`) FROM exhibits e JOIN cases c ON c.id = e.case_id
			WHERE e.case_id = $1 AND e.digest = $2 FOR UPDATE OF e`, id, digest[:]).Scan(&length, &open)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return disclose.ErrExhibitUndeclared
		case err != nil:
			return refused(ctx, err)
		case !open:
			return disclose.ErrCaseClosed
		case len(copied) > length+exhibit.MaxSignature:
			return disclose.ErrExhibitLength
		}
		var same bool
		err = tx.QueryRow(ctx, `
			WITH made AS (INSERT INTO copies (case_id, digest, recipient, copied) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING copied)
			SELECT copied = $4 FROM made UNION ALL SELECT copied = $4 FROM copies WHERE case_id = $1 AND digest = $2 AND recipient = $3`,
			id, digest[:], recipient[:], copied).Scan(&same)
		if err == nil && !same {
			return disclose.ErrExhibitStored
		}
		return refused(ctx, err)
	})
}

// Copy implements [disclose.Cases].
func (s Cases) Copy(ctx context.Context, id string, digest, recipient [32]byte) (copied []byte, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT copied FROM copies WHERE case_id = $1 AND digest = $2 AND recipient = $3`, id, digest[:], recipient[:]).Scan(&copied)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = disclose.ErrNoExhibit
	}
	return copied, err
}

// Exhibits implements [disclose.Cases].
func (s Cases) Exhibits(ctx context.Context, id string) (found disclose.StoredExhibits, err error) {
	var until *time.Time
	var missing [][]byte
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `
			SELECT count(e.sealed), array_agg(e.digest ORDER BY e.digest) FILTER (WHERE e.digest IS NOT NULL AND e.sealed IS NULL),
			  kept_until(c.id, max(e.keep_days))
			FROM cases c LEFT JOIN exhibits e ON e.case_id = c.id WHERE c.id = $1 GROUP BY c.id`, id).Scan(&found.Stored, &missing, &until)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		err = disclose.ErrNoCase
	}
	for _, digest := range missing {
		found.Missing = append(found.Missing, [32]byte(digest))
	}
	if until != nil {
		found.Until = until.UTC()
	}
	return found, err
}

// DropExhibits implements [disclose.Cases].
func (s Cases) DropExhibits(ctx context.Context, now time.Time) (cases int, err error) {
	err = s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		err := tx.QueryRow(ctx, `
			WITH gone AS (
			  DELETE FROM exhibits e USING cases c
			  WHERE c.id = e.case_id AND c.state NOT IN (`+recorded+`, `+authorised+`, `+released+`)
			    AND kept_until(c.id, e.keep_days) <= ($1::timestamptz AT TIME ZONE 'UTC')::date
			  RETURNING e.case_id),
			said AS (
			  UPDATE objections o SET sealed = NULL FROM cases c
			  WHERE c.id = o.case_id AND o.sealed IS NOT NULL AND c.state NOT IN (`+recorded+`, `+authorised+`, `+released+`)
			    AND greatest(kept_until(c.id, o.keep_days), o.day + o.keep_days) <= ($1::timestamptz AT TIME ZONE 'UTC')::date
			  RETURNING o.case_id)
			SELECT count(*) FROM (SELECT case_id FROM gone UNION SELECT case_id FROM said) g`, now.UTC()).Scan(&cases)
		if err != nil {
			return refused(ctx, err)
		}
		_, err = tx.Exec(ctx, `
			DELETE FROM statements s USING cases c
			WHERE c.id = s.case_id AND c.state NOT IN (`+recorded+`, `+authorised+`, `+released+`)
			  AND kept_until(c.id, s.keep_days) <= ($1::timestamptz AT TIME ZONE 'UTC')::date`, now.UTC())
		return refused(ctx, err)
	})
	return cases, err
}
