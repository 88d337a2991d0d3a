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
	_ translog.Store = Log{}
	_ translog.Tx    = (*logTx)(nil)
)

// Log implements [translog.Store].
type Log struct{ db *db }

// logTx is the log inside a transaction. Once it holds the lock nobody else
// appends, so it remembers the size and what it wrote and read.
type logTx struct {
	tx      pgx.Tx
	locked  bool
	size    int64
	leaves  map[int64][]byte
	hashes  map[int64]tlog.Hash
	pending *pgx.Batch // set: Insert stores nothing, and leaves it to this
}

func newLogTx(tx pgx.Tx) *logTx {
	return &logTx{tx: tx, leaves: make(map[int64][]byte), hashes: make(map[int64]tlog.Hash)}
}

// LockSize implements [translog.Tx].
func (t *logTx) LockSize(ctx context.Context) (int64, error) {
	if t.locked {
		return t.size, nil
	}
	b := &pgx.Batch{}
	t.lock(b)
	if err := t.tx.SendBatch(ctx, b).Close(); err != nil {
		return 0, refused(ctx, err)
	}
	return t.size, nil
}

// lock has b take the lock. It is a row that nobody changes, so it leaves no dead rows; the
// size is a second statement, because the first one's snapshot is older than the lock. With
// the size come the last leaf and the hashes of translog.Edge: all that any append needs.
// Their ids are computed as tlog.StoredHashIndex does.
func (t *logTx) lock(b *pgx.Batch) {
	b.Queue(`SELECT one FROM log_lock FOR UPDATE`)
	b.Queue(`
		SELECT l.index + 1, l.leaf, ARRAY(
		  SELECT (SELECT hash FROM log_hashes WHERE id = 2 * n - bit_count(n::bit(64)) + level) -- one by one, whatever the server knows of the table
		  FROM generate_series(62, 0, -1) level, LATERAL (SELECT ((l.index + 1 >> level) << level) - 1) last (n)
		  WHERE (l.index + 1 >> level) & 1 = 1 ORDER BY level DESC)
		FROM log_leaves l ORDER BY l.index DESC LIMIT 1`).QueryRow(func(row pgx.Row) error {
		var last []byte
		var edge [][]byte
		err := row.Scan(&t.size, &last, &edge)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		t.locked, t.leaves[t.size-1] = true, last
		for i, id := range translog.Edge(t.size) {
			if len(edge[i]) == tlog.HashSize { // else it is missing, which reading it finds
				t.hashes[id] = tlog.Hash(edge[i])
			}
		}
		return nil
	})
}

const sizeSQL = `SELECT coalesce(max(index) + 1, 0) FROM log_leaves`

// Leaf implements [translog.Tx].
func (t *logTx) Leaf(ctx context.Context, index int64) ([]byte, error) {
	if leaf := t.leaves[index]; leaf != nil {
		return leaf, nil
	}
	var leaf []byte
	err := t.tx.QueryRow(ctx, `SELECT leaf FROM log_leaves WHERE index = $1`, index).Scan(&leaf)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, translog.ErrNoLeaf
	}
	if err != nil {
		return nil, refused(ctx, err)
	}
	t.leaves[index] = leaf
	return leaf, nil
}

// ReadHashes implements [translog.Tx].
func (t *logTx) ReadHashes(ctx context.Context, ids []int64) ([]tlog.Hash, error) {
	var unknown []int64
	for _, id := range ids {
		if _, ok := t.hashes[id]; !ok {
			unknown = append(unknown, id)
		}
	}
	if len(unknown) > 0 {
		read, err := readHashes(ctx, t.tx, unknown)
		if err != nil {
			return nil, refused(ctx, err)
		}
		for i, id := range unknown {
			t.hashes[id] = read[i]
		}
	}
	hashes := make([]tlog.Hash, len(ids))
	for i, id := range ids {
		hashes[i] = t.hashes[id]
	}
	return hashes, nil
}

// Insert implements [translog.Tx].
func (t *logTx) Insert(ctx context.Context, index int64, leaves [][]byte, hashes []tlog.Hash) error {
	if index < 0 {
		return translog.ErrStore.Because(errors.New("index"))
	}
	b := t.pending
	if b == nil {
		b = &pgx.Batch{}
	}
	first, stored := tlog.StoredHashIndex(0, index), make([][]byte, len(hashes))
	for i := range hashes {
		stored[i] = hashes[i][:]
	}
	b.Queue(`INSERT INTO log_leaves (index, leaf) SELECT $1::bigint + place - 1, leaf FROM unnest($2::bytea[]) WITH ORDINALITY l (leaf, place)`, index, leaves)
	b.Queue(`INSERT INTO log_hashes (id, hash) SELECT $1::bigint + place - 1, hash FROM unnest($2::bytea[]) WITH ORDINALITY h (hash, place)`, first, stored)
	if t.pending == nil {
		if err := t.tx.SendBatch(ctx, b).Close(); err != nil {
			return refused(ctx, err)
		}
	}
	for i, leaf := range leaves {
		t.leaves[index+int64(i)] = bytes.Clone(leaf)
	}
	for i, h := range hashes {
		t.hashes[first+int64(i)] = h
	}
	t.size = index + int64(len(leaves))
	return nil
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

// Size implements [translog.Store]. Size and Checkpoint are confirmed, so that nobody
// cosigns or is shown what a failover would take back; leaves and hashes are asked
// for below one of them, and need no standby of their own.
func (s Log) Size(ctx context.Context) (size int64, err error) {
	err = s.db.read(atOnce(ctx), func(ctx context.Context, c *pgxpool.Conn) error { return c.QueryRow(ctx, sizeSQL).Scan(&size) })
	return size, err
}

// ReadHashes implements [translog.Store].
func (s Log) ReadHashes(ctx context.Context, ids []int64) (hashes []tlog.Hash, err error) {
	err = s.db.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		hashes, err = readHashes(ctx, c, ids)
		return err
	})
	return hashes, err
}

// Leaves implements [translog.Store].
func (s Log) Leaves(ctx context.Context, from, to int64) (leaves [][]byte, err error) {
	if from < 0 || to < from {
		return nil, translog.ErrNoLeaf
	}
	err = s.db.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
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
func (s Log) SaveCheckpoint(ctx context.Context, size int64, signed []byte) error {
	head, err := translog.Head(signed)
	if err != nil {
		return err
	}
	err = s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		b := &pgx.Batch{}
		b.Queue(`SELECT one FROM log_lock FOR UPDATE`)
		b.Queue(`
			INSERT INTO log_checkpoints (n, size, root, signed)
			SELECT coalesce(last.n, 0) + 1, $1, $2, $3
			FROM (SELECT) one LEFT JOIN (SELECT n, signed FROM log_checkpoints ORDER BY n DESC LIMIT 1) last ON true
			WHERE last.signed IS DISTINCT FROM $3`, size, head.Hash[:], signed)
		return refused(ctx, tx.SendBatch(ctx, b).Close())
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
func (s Log) Checkpoint(ctx context.Context) (size int64, signed []byte, err error) {
	err = s.db.read(atOnce(ctx), func(ctx context.Context, c *pgxpool.Conn) (err error) {
		size, signed, err = lastCheckpoint(ctx, c)
		return err
	})
	return size, signed, err
}

func lastCheckpoint(ctx context.Context, q querier) (size int64, signed []byte, err error) {
	err = q.QueryRow(ctx, `SELECT size, signed FROM log_checkpoints ORDER BY n DESC LIMIT 1`).Scan(&size, &signed)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil, nil
	}
	return size, signed, err
}
