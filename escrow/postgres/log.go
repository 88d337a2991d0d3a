package postgres

import (
	"bytes"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/translog"
)

var (
	_ translog.Store = (*Disclosing)(nil)
	_ translog.Tx    = logTx{}
)

// logTx is the log inside a transaction.
type logTx struct{ tx pgx.Tx }

// LockSize implements [translog.Tx]. The lock is a row that nobody changes, so
// it leaves no dead rows; the size is a second statement, because the first
// one's snapshot is older than the lock.
func (t logTx) LockSize(ctx context.Context) (size int64, err error) {
	b := &pgx.Batch{}
	b.Queue(`SELECT one FROM log_lock FOR UPDATE`)
	b.Queue(sizeSQL).QueryRow(func(row pgx.Row) error { return row.Scan(&size) })
	return size, refused(ctx, t.tx.SendBatch(ctx, b).Close())
}

const sizeSQL = `SELECT coalesce(max(index) + 1, 0) FROM log_leaves`

// Leaf implements [translog.Tx].
func (t logTx) Leaf(ctx context.Context, index int64) (leaf []byte, err error) {
	err = t.tx.QueryRow(ctx, `SELECT leaf FROM log_leaves WHERE index = $1`, index).Scan(&leaf)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, translog.ErrNoLeaf
	}
	return leaf, refused(ctx, err)
}

// ReadHashes implements [translog.Tx].
func (t logTx) ReadHashes(ctx context.Context, ids []int64) ([]tlog.Hash, error) {
	hashes, err := readHashes(ctx, t.tx, ids)
	return hashes, refused(ctx, err)
}

// Insert implements [translog.Tx].
func (t logTx) Insert(ctx context.Context, index int64, leaf []byte, ids []int64, hashes []tlog.Hash) error {
	raw := make([][]byte, len(hashes))
	for i := range hashes {
		raw[i] = hashes[i][:]
	}
	b := &pgx.Batch{}
	b.Queue(`INSERT INTO log_leaves (index, leaf) VALUES ($1, $2)`, index, leaf)
	b.Queue(`INSERT INTO log_hashes (id, hash) SELECT * FROM unnest($1::bigint[], $2::bytea[])`, ids, raw)
	return refused(ctx, t.tx.SendBatch(ctx, b).Close())
}

func readHashes(ctx context.Context, q querier, ids []int64) ([]tlog.Hash, error) {
	rows, err := q.Query(ctx, `
		SELECT h.hash FROM unnest($1::bigint[]) WITH ORDINALITY asked (id, place) JOIN log_hashes h USING (id)
		ORDER BY asked.place`, ids)
	if err != nil {
		return nil, err
	}
	hashes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h tlog.Hash, err error) {
		var raw []byte
		err = row.Scan(&raw)
		copy(h[:], raw)
		return h, err
	})
	if err == nil && len(hashes) != len(ids) {
		return nil, translog.ErrStore.Because(errors.New("a hash is missing"))
	}
	return hashes, err
}

// Size implements [translog.Store].
func (d *Disclosing) Size(ctx context.Context) (size int64, err error) {
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error { return c.QueryRow(ctx, sizeSQL).Scan(&size) })
	return size, err
}

// ReadHashes implements [translog.Store].
func (d *Disclosing) ReadHashes(ctx context.Context, ids []int64) (hashes []tlog.Hash, err error) {
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		hashes, err = readHashes(ctx, c, ids)
		return err
	})
	return hashes, err
}

// Leaves implements [translog.Store].
func (d *Disclosing) Leaves(ctx context.Context, from, to int64) (leaves [][]byte, err error) {
	if from < 0 || to < from {
		return nil, translog.ErrNoLeaf
	}
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `SELECT leaf FROM log_leaves WHERE index >= $1 AND index < $2 ORDER BY index`, from, to)
		if err != nil {
			return err
		}
		leaves, err = pgx.CollectRows(rows, pgx.RowTo[[]byte])
		return err
	})
	if err != nil {
		return nil, err
	}
	if int64(len(leaves)) != to-from {
		return nil, translog.ErrNoLeaf
	}
	return leaves, nil
}

// SaveCheckpoint implements [translog.Store]. What it replaces stays in the
// table, as evidence.
func (d *Disclosing) SaveCheckpoint(ctx context.Context, size int64, signed []byte) error {
	head, err := translog.Head(signed)
	if err != nil {
		return err
	}
	err = d.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		if _, err := (logTx{tx}).LockSize(ctx); err != nil {
			return err
		}
		n, _, last, err := lastCheckpoint(ctx, tx)
		if err != nil || bytes.Equal(last, signed) {
			return refused(ctx, err)
		}
		_, err = tx.Exec(ctx, `INSERT INTO log_checkpoints (n, size, root, signed) VALUES ($1, $2, $3, $4)`,
			n+1, size, head.Hash[:], signed)
		return refused(ctx, err)
	})
	switch constraint(err) {
	case "log_checkpoints_rollback":
		return translog.ErrRollback.Because(err)
	case "log_checkpoints_fork":
		return translog.ErrFork.Because(err)
	}
	return err
}

// Checkpoint implements [translog.Store].
func (d *Disclosing) Checkpoint(ctx context.Context) (size int64, signed []byte, err error) {
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		_, size, signed, err = lastCheckpoint(ctx, c)
		return err
	})
	return size, signed, err
}

func lastCheckpoint(ctx context.Context, q querier) (n, size int64, signed []byte, err error) {
	err = q.QueryRow(ctx, `SELECT n, size, signed FROM log_checkpoints ORDER BY n DESC LIMIT 1`).Scan(&n, &size, &signed)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, 0, nil, nil
	}
	return n, size, signed, err
}
