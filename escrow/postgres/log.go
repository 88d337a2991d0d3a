package postgres

import (
	"bytes"
	"context"
	"errors"
	"math/bits"

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
	waits   bool // Insert stores nothing, and leaves it to queue
	pending logRows
}

// logRows are the rows of several leaves, in columns.
type logRows struct {
	indices, ids   []int64
	leaves, hashes [][]byte
}

func newLogTx(tx pgx.Tx) *logTx {
	return &logTx{tx: tx, leaves: make(map[int64][]byte), hashes: make(map[int64]tlog.Hash)}
}

// readAhead has b read the hashes of the complete trees that make up the log: all that any
// append needs.
func (t *logTx) readAhead(b *pgx.Batch) {
	var ids []int64
	for level := range bits.Len64(uint64(t.size)) {
		if t.size>>level&1 == 1 {
			ids = append(ids, tlog.StoredHashIndex(level, t.size>>level-1))
		}
	}
	b.Queue(`SELECT id, hash FROM log_hashes WHERE id = ANY ($1::bigint[])`, ids).Query(func(rows pgx.Rows) error {
		var id int64
		var raw []byte
		_, err := pgx.ForEachRow(rows, []any{&id, &raw}, func() error { t.hashes[id] = tlog.Hash(raw); return nil })
		return err
	})
}

// LockSize implements [translog.Tx]. The lock is a row that nobody changes, so
// it leaves no dead rows; the size is a second statement, because the first
// one's snapshot is older than the lock.
func (t *logTx) LockSize(ctx context.Context) (int64, error) {
	if t.locked {
		return t.size, nil
	}
	var last []byte
	b := &pgx.Batch{}
	b.Queue(`SELECT one FROM log_lock FOR UPDATE`)
	b.Queue(`SELECT index + 1, leaf FROM log_leaves ORDER BY index DESC LIMIT 1`).QueryRow(func(row pgx.Row) error {
		if err := row.Scan(&t.size, &last); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		return nil
	})
	if err := t.tx.SendBatch(ctx, b).Close(); err != nil {
		return 0, refused(ctx, err)
	}
	t.locked, t.leaves[t.size-1] = true, last
	return t.size, nil
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
func (t *logTx) Insert(ctx context.Context, index int64, leaf []byte, ids []int64, hashes []tlog.Hash) error {
	if len(ids) != len(hashes) {
		return translog.ErrStore.Because(errors.New("as many ids as hashes"))
	}
	leaf = bytes.Clone(leaf)
	p := &t.pending
	p.indices, p.leaves, p.ids = append(p.indices, index), append(p.leaves, leaf), append(p.ids, ids...)
	for i := range hashes {
		p.hashes = append(p.hashes, hashes[i][:])
	}
	if !t.waits {
		b := &pgx.Batch{}
		t.queue(b)
		if err := t.tx.SendBatch(ctx, b).Close(); err != nil {
			return refused(ctx, err)
		}
	}
	t.size, t.leaves[index] = index+1, leaf
	for i, id := range ids {
		t.hashes[id] = hashes[i]
	}
	return nil
}

// queue has b store what Insert took.
func (t *logTx) queue(b *pgx.Batch) {
	p := t.pending
	t.pending = logRows{}
	b.Queue(`INSERT INTO log_leaves (index, leaf) SELECT * FROM unnest($1::bigint[], $2::bytea[])`, p.indices, p.leaves)
	b.Queue(`INSERT INTO log_hashes (id, hash) SELECT * FROM unnest($1::bigint[], $2::bytea[])`, p.ids, p.hashes)
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
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error { return c.QueryRow(ctx, sizeSQL).Scan(&size) })
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
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
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
