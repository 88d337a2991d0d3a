package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/verifier/proof"
)

// Lost is a leaf whose row a restored backup did not have.
type Lost struct {
	Leaf      int64          `json:"leaf"`
	Kind      proof.Kind     `json:"kind"`
	Day       string         `json:"day"`
	CaseLeaf  *int64         `json:"case_leaf,omitempty"` // of the case's recorded leaf, for a step of a case
	Case      string         `json:"case,omitempty"`      // id, if the backup had the case
	CaseState disclose.State `json:"state,omitempty"`     // of that case now
}

// BundlesByHash returns the bundle with that hex SHA-256 and what is known of its
// endorsements; nil: it is not had.
type BundlesByHash func(hash string) (bundle []byte, endorsements []string)

// Restore appends published leaves, from index from on, of which a restored
// backup does not have the rows, and what follows from each, in one transaction.
// It is for [translog.Reconcile], which has verified them. Leaves that are there
// already are left alone; other ones in their place are [translog.ErrFork].
//
//   - Rules come into force again if bundles has them.
//   - A notice is served again, and a case expires again, if the backup has it.
//   - A case that the backup has, and that moved on, becomes [disclose.Lost].
//   - A request to be deleted that was carried out is cleared, so that the keeping
//     side carries it out again.
//   - Everything else is recorded as lost.
func (d *Disclosing) Restore(ctx context.Context, from int64, leaves [][]byte, bundles BundlesByHash) error {
	return d.transact(atLength(ctx), func(ctx context.Context, tx pgx.Tx, _ bool) error {
		log := newLogTx(tx)
		size, err := log.LockSize(ctx)
		if err != nil {
			return err
		}
		there := make(map[int64][]byte)
		for i, raw := range leaves {
			there[from+int64(i)] = raw
		}
		if size != from {
			if same, err := holds(ctx, log, there); err != nil || same {
				return err
			}
			return translog.ErrFork.Because(errors.New("somebody else appends"))
		}
		for _, raw := range leaves {
			leaf, err := proof.ParseLeaf(raw)
			if err != nil {
				return err
			}
			index, err := translog.Sequence(ctx, log, leaf) // canonical: the same bytes
			if err != nil {
				return err
			}
			if err := restoreRow(ctx, tx, index, leaf, bundles); err != nil {
				return refused(ctx, err)
			}
		}
		return nil
	})
}

// restoreRow does what a leaf says as far as it can be known.
func restoreRow(ctx context.Context, tx pgx.Tx, index int64, leaf proof.Leaf, bundles BundlesByHash) error {
	if leaf.Kind == proof.KindBundle {
		if raw, endorsements := bundles(leaf.Bundle); raw != nil {
			_, err := tx.Exec(ctx, `INSERT INTO bundles (leaf, bundle, endorsements) VALUES ($1, $2, $3)`, index, raw, append([]string{}, endorsements...))
			return err
		}
	}
	var c *disclose.Case
	if leaf.Case != nil {
		have, err := readCases(ctx, tx, `WHERE c.recorded_leaf = $1 FOR UPDATE OF c`, *leaf.Case)
		if err != nil {
			return err
		}
		if len(have) == 1 {
			c = &have[0]
		}
	}
	var change disclose.Change
	whole := false // as if there were no case
	if c != nil {
		change, whole = c.Restore(leaf, index)
	}
	if !whole {
		if _, err := tx.Exec(ctx, `INSERT INTO lost_leaves (leaf) VALUES ($1)`, index); err != nil {
			return err
		}
	}
	switch {
	case leaf.Kind == proof.KindErased:
		return clearAgain(ctx, tx, index, leaf)
	case c == nil:
		return nil
	}
	after, err := c.After(change, index)
	if err != nil {
		return err
	}
	return storeCase(ctx, tx, *c, after, change)
}

// clearAgain finds the request that a leaf says was carried out. Its commitment
// opens for one record only. Without the request, which the backup may be older
// than, nobody knows the record; its key was destroyed after it was erased.
func clearAgain(ctx context.Context, tx pgx.Tx, index int64, leaf proof.Leaf) error {
	rows, err := tx.Query(ctx, `SELECT label, salt FROM erasures WHERE leaf IS NULL`)
	if err != nil {
		return err
	}
	var label, erased string
	var salt []byte
	_, err = pgx.ForEachRow(rows, []any{&label, &salt}, func() error {
		if fits(proof.ErasedLeaf(undated, [32]byte(salt), label), leaf) {
			erased = label
		}
		return nil
	})
	if err != nil || erased == "" {
		return err
	}
	// The log says that no case held it.
	_, err = tx.Exec(ctx, `UPDATE erasures SET cleared = $2 WHERE label = $1`, erased, index)
	return err
}

// lostErasure returns the leaf that says that the request was carried out before
// the database was restored; -1 if there is none.
func lostErasure(ctx context.Context, tx pgx.Tx, commitment string) (int64, error) {
	index := int64(-1)
	err := tx.QueryRow(ctx, `
		SELECT l.leaf FROM lost_leaves l JOIN log_leaves g ON g.index = l.leaf
		WHERE convert_from(g.leaf, 'UTF8')::json ->> 'kind' = 'erased' AND convert_from(g.leaf, 'UTF8')::json ->> 'commitment' = $1`,
		commitment).Scan(&index)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return index, err
}

// Lost returns what [Disclosing.Restore] recorded as lost, in the order of the
// log. Neither [Disclosing.Check] nor an audit fails because of it.
func (d *Disclosing) Lost(ctx context.Context) (lost []Lost, err error) {
	err = d.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `
			SELECT l.leaf, g.leaf, coalesce(c.id, ''), coalesce(c.state, '')
			FROM lost_leaves l JOIN log_leaves g ON g.index = l.leaf
			LEFT JOIN cases c ON c.recorded_leaf = (convert_from(g.leaf, 'UTF8')::json ->> 'case')::bigint
			ORDER BY l.leaf`)
		if err != nil {
			return err
		}
		lost, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (l Lost, err error) {
			var raw []byte
			if err = row.Scan(&l.Leaf, &raw, &l.Case, (*string)(&l.CaseState)); err != nil {
				return l, err
			}
			leaf, err := proof.ParseLeaf(raw)
			l.Kind, l.Day, l.CaseLeaf = leaf.Kind, leaf.Day, leaf.Case
			return l, err
		})
		return err
	})
	return lost, err
}
