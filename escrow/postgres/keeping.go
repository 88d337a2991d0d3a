package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/keep"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/verifier/proof"
)

var (
	_ keep.Rotations = (*Keeping)(nil)
	_ keep.Erasures  = (*Keeping)(nil)
)

// Keeping is the database as the keeping side may use it. It is safe for
// concurrent use.
type Keeping struct{ db }

// OpenKeeping is [OpenIssuing] for penname_keeping.
func OpenKeeping(ctx context.Context, dsn string, o Options) (*Keeping, error) {
	d, err := open(ctx, dsn, "penname_keeping", o)
	if err != nil {
		return nil, err
	}
	return &Keeping{d}, nil
}

// Begin implements [keep.Rotations]. What holds the rotation is a lock of the
// session, which ends with the connection. A process that lost it and goes on
// does no harm: every step can be taken twice.
func (k *Keeping) Begin(ctx context.Context, group, version int) (r keep.Rotation, release func(), err error) {
	lock := rotationLock + int64(group)<<32
	held, err := k.acquire(ctx)
	if err != nil {
		return r, nil, err
	}
	release = func() {
		end, cancel := k.detached(ctx)
		defer cancel()
		if _, err := held.Exec(end, `SELECT pg_advisory_unlock($1)`, lock); err != nil {
			held.Conn().Close(end) // the lock goes with the session
		}
		held.Release()
	}
	var alone bool
	if err := held.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, lock).Scan(&alone); err != nil {
		held.Conn().Close(context.WithoutCancel(ctx))
		held.Release()
		return r, nil, refused(ctx, err)
	}
	if !alone {
		held.Release()
		return r, nil, keep.ErrRunning
	}
	err = k.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		r, err = rotation(ctx, tx, group)
		if !errors.Is(err, pgx.ErrNoRows) {
			return refused(ctx, err)
		}
		r = keep.Rotation{Group: group, Version: version, State: keep.Moving}
		_, err = tx.Exec(ctx, `INSERT INTO rotations (key_group, version, state, day) VALUES ($1, $2, $3, $4)`, group, version, string(r.State), time.Now().UTC().Truncate(24*time.Hour))
		return refused(ctx, err)
	})
	if err != nil {
		release()
		return keep.Rotation{}, nil, err
	}
	return r, release, nil
}

// rotationLock is arbitrary. A group is added in the upper half.
const rotationLock int64 = 7165016318

// rotation is the one of a group that is under way, or pgx.ErrNoRows.
func rotation(ctx context.Context, q querier, group int) (r keep.Rotation, err error) {
	r.Group = group
	err = scanRotation(&r, q.QueryRow(ctx, `SELECT version, state, position, records FROM rotations WHERE key_group = $1 AND state <> 'done'`, group))
	return r, err
}

func scanRotation(r *keep.Rotation, row pgx.Row) error {
	return row.Scan(&r.Version, (*string)(&r.State), &r.Position, &r.Records)
}

// Under implements [keep.Rotations].
func (k *Keeping) Under(ctx context.Context) ([]int, error) {
	return k.groups(ctx, `SELECT key_group FROM rotations WHERE state <> 'done' ORDER BY key_group`)
}

// Groups implements [keep.Rotations].
func (k *Keeping) Groups(ctx context.Context, after, n int) ([]int, error) {
	return k.groups(ctx, `SELECT number FROM key_groups WHERE number > $1 ORDER BY number LIMIT $2`, after, n)
}

// groups reads numbers of groups.
func (d *db) groups(ctx context.Context, query string, args ...any) (groups []int, err error) {
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		groups, err = pgx.CollectRows(rows, pgx.RowTo[int])
		return err
	})
	return groups, err
}

// Older implements [keep.Rotations].
func (k *Keeping) Older(ctx context.Context, r keep.Rotation, oldest, n int) (halves []keep.Half, err error) {
	err = k.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			SELECT label, first_half FROM records r
			WHERE label > $1 AND erased IS NULL AND key_group = $5
			  AND NOT starts_with(first_half, $6) -- Vault's under r's version: each pass but one finds only those
			  AND key_version(first_half) <@ int4range(least($4::int, $2), $2::int)
			  AND NOT EXISTS (SELECT FROM erasures e WHERE e.label = r.label AND e.leaf IS NOT NULL) -- see Again
			ORDER BY label LIMIT $3`,
			r.Position, r.Version, n, oldest, r.Group, keep.InGroup(r.Group, fmt.Sprintf("vault:v%d:", r.Version)))
		if err != nil {
			return err
		}
		halves, err = pgx.CollectRows(rows, pgx.RowToStructByPos[keep.Half])
		return err
	})
	return halves, err
}

// Below returns how many records of a group are under a version below that one: see
// [keep.Openable]. Erased ones are under none.
func (k *Keeping) Below(ctx context.Context, group, version int) (n int64, err error) {
	err = k.glance(atLength(ctx), func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT count(*) FROM records WHERE erased IS NULL AND key_group = $1 AND key_version(first_half) < $2`, group, version).Scan(&n)
	})
	return n, err
}

// OpenGroups implements [keep.Rotations].
func (k *Keeping) OpenGroups(ctx context.Context, day time.Time) (open []keep.Group, last int, first bool, err error) {
	err = k.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			SELECT number, opened, closed IS NOT NULL, (SELECT count(*) FROM records WHERE erased IS NULL AND key_group = number)
			FROM key_groups WHERE closed IS NULL OR closed > $1 ORDER BY number`, day)
		if err != nil {
			return err
		}
		if open, err = pgx.CollectRows(rows, pgx.RowToStructByPos[keep.Group]); err != nil {
			return err
		}
		return c.QueryRow(ctx, `
			SELECT coalesce(max(number), 0), count(*) = 0 AND NOT EXISTS (SELECT FROM records) FROM key_groups`).Scan(&last, &first)
	})
	return open, last, first, err
}

// AddGroups implements [keep.Rotations]. Two processes that decide the same add them once.
func (k *Keeping) AddGroups(ctx context.Context, first, last int, from time.Time) error {
	return k.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, rotationLock+1)
		if err == nil {
			_, err = tx.Exec(ctx, `INSERT INTO key_groups (number, opened) SELECT n, $3 FROM generate_series($1::int, $2) n
				WHERE n > (SELECT coalesce(max(number), 0) FROM key_groups)`, first, last, from)
		}
		return refused(ctx, err)
	})
}

// CloseGroups implements [keep.Rotations].
func (k *Keeping) CloseGroups(ctx context.Context, groups []int, from time.Time) error {
	if len(groups) == 0 {
		return nil
	}
	return k.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := k.exec(ctx, `UPDATE key_groups SET closed = $2 WHERE number = ANY ($1::int[]) AND closed IS NULL`, groups, from)
		return err
	})
}

// Move implements [keep.Rotations]. A half that was erased, or moved by another
// process, is not the one that was rewrapped any more, and stays.
func (k *Keeping) Move(ctx context.Context, r keep.Rotation, from []keep.Half, to []string) (keep.Rotation, error) {
	if len(from) == 0 || len(from) != len(to) {
		return r, ErrRefused
	}
	labels, old := make([]string, len(from)), make([]string, len(from))
	for i, h := range from {
		labels[i], old[i] = h.Label, h.Wrapped
	}
	last := labels[len(labels)-1]
	err := k.transact(ctx, func(ctx context.Context, tx pgx.Tx, doubt bool) error {
		if doubt {
			if now, err := rotation(ctx, tx, r.Group); err == nil && now.Position >= last {
				r = now // it was committed, or another process did it
				return nil
			}
		}
		return refused(ctx, scanRotation(&r, tx.QueryRow(ctx, `
			WITH moved AS (
			  UPDATE records r SET first_half = m.new FROM unnest($4::text[], $5::text[], $6::text[]) m (label, old, new)
			  WHERE r.label = m.label AND r.first_half = m.old AND r.erased IS NULL RETURNING 1)
			UPDATE rotations SET position = $2, records = records + (SELECT count(*) FROM moved)
			WHERE version = $1 AND key_group = $3 AND state <> 'done' RETURNING version, state, position, records`,
			r.Version, last, r.Group, labels, old, to)))
	})
	return r, err
}

// Shut implements [keep.Rotations].
func (k *Keeping) Shut(ctx context.Context, r keep.Rotation) (keep.Rotation, error) {
	err := k.transact(atLength(ctx), func(ctx context.Context, tx pgx.Tx, _ bool) error {
		if _, err := tx.Exec(ctx, `SELECT close_rotation($1, $2)`, r.Version, r.Group); err != nil {
			return refused(ctx, err)
		}
		var err error
		r, err = rotation(ctx, tx, r.Group)
		return refused(ctx, err)
	})
	return r, err
}

// Finish implements [keep.Rotations].
func (k *Keeping) Finish(ctx context.Context, r keep.Rotation, oldest int) (keep.Rotation, error) {
	left, err := k.Older(ctx, keep.Rotation{Group: r.Group, Version: r.Version}, oldest, 1)
	if err != nil {
		return r, err
	}
	if len(left) > 0 {
		return r, keep.ErrLeftBehind
	}
	err = k.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := k.exec(ctx, `UPDATE rotations SET state = 'done' WHERE version = $1 AND key_group = $2 AND state = 'closed'`, r.Version, r.Group)
		return err
	})
	if err == nil {
		r.State = keep.Done
	}
	return r, err
}

// Cleared implements [keep.Erasures].
func (k *Keeping) Cleared(ctx context.Context, after string, n int) (cleared []keep.Erasure, err error) {
	err = k.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `SELECT label, salt FROM erasures WHERE leaf IS NULL AND cleared IS NOT NULL AND label > $1 ORDER BY label NULLS FIRST LIMIT $2`, after, n)
		if err != nil {
			return err
		}
		cleared, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e keep.Erasure, err error) {
			var salt []byte
			err = row.Scan(&e.Label, &salt)
			copy(e.Salt[:], salt)
			return e, err
		})
		return err
	})
	return cleared, err
}

// Erase implements [keep.Erasures]. The log's lock is also that of a case which
// is being recorded: it is either counted by the trigger on records, or comes
// after the erasure and is refused because of it.
func (k *Keeping) Erase(ctx context.Context, e keep.Erasure, leaf proof.Leaf) (erased bool, err error) {
	err = k.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		log := newLogTx(tx)
		if _, err := log.LockSize(ctx); err != nil {
			return err
		}
		var done bool
		err := tx.QueryRow(ctx, `SELECT leaf IS NOT NULL FROM erasures WHERE label = $1`, e.Label).Scan(&done)
		if err != nil || done {
			erased = done
			return refused(ctx, err)
		}
		index, err := lostErasure(ctx, tx, leaf.Commitment)
		if err != nil {
			return refused(ctx, err)
		}
		if index < 0 { // not carried out before, in what a restored backup lacked
			if index, err = translog.Sequence(ctx, log, leaf); err != nil {
				return err
			}
		}
		b := &pgx.Batch{}
		// Every copy of the half that was ever made is under this version of its group's key
		// or an older one. The rotation under way counts, too: it may have rewrapped the half
		// just now.
		b.Queue(`
			UPDATE erasures e SET leaf = $2, key_group = r.key_group, version = greatest(key_version(r.first_half),
			  (SELECT max(version) FROM rotations o WHERE o.key_group = r.key_group))
			FROM records r WHERE e.label = $1 AND r.label = $1`, e.Label, index)
		b.Queue(`UPDATE records SET first_half = '', second_half = '', sealed = '', erased = $2 WHERE label = $1 AND erased IS NULL`,
			e.Label, leaf.Day)
		erased = true
		return refused(ctx, tx.SendBatch(ctx, b).Close())
	})
	if constraint(err) == "records_held" {
		return false, nil
	}
	return erased && err == nil, err
}

// Again implements [keep.Erasures].
func (k *Keeping) Again(ctx context.Context, after string, n int) (last string, err error) {
	err = k.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		var looked int
		err := tx.QueryRow(ctx, `
			WITH looked AS (SELECT label, day FROM erasures WHERE leaf IS NOT NULL AND label > $1 ORDER BY label LIMIT $2),
			again AS (UPDATE records r SET first_half = '', second_half = '', sealed = '', erased = e.day FROM looked e WHERE e.label = r.label AND r.erased IS NULL)
			SELECT coalesce(max(label), ''), count(*) FROM looked`, after, n).Scan(&last, &looked)
		if looked < n {
			last = ""
		}
		return refused(ctx, err)
	})
	return last, err
}

// Waiting implements [keep.Erasures]. The triggers on erasures and rotations say it.
func (k *Keeping) Waiting(ctx context.Context, after, n int) ([]int, error) {
	return k.groups(ctx, `SELECT key_group FROM groups_waiting WHERE key_group > $1 ORDER BY key_group LIMIT $2`, after, n)
}
