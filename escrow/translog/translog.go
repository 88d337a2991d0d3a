// Package translog sequences and publishes the public log.
//
// A leaf is appended by [Sequence] inside the database transaction of the
// state change that it records, so that neither exists without the other. The
// [Publisher] signs the tree, has it cosigned by the witnesses and keeps only
// checkpoints that carry the quorum; what depends on a leaf waits in
// [Publisher.Await].
//
// Trusted for: nothing that an outsider cannot check. Whoever controls this
// package can stop the log, or fork it with the help of dishonest witnesses
// (package proof says how many); verifier/proof finds both.
package translog

import (
	"bytes"
	"context"
	"errors"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// The refusals of this package.
var (
	ErrConfig   = refusal.New(refusal.Invalid, "log.config", "The log's configuration does not fit together: signing key, origin, witnesses and the saved checkpoint must agree with the bundle.")
	ErrOrder    = refusal.New(refusal.Conflict, "log.order", "The leaf does not fit behind the ones before it: its day must not go back and its case must be a recorded warrant.")
	ErrStore    = refusal.New(refusal.Unavailable, "log.store", "The log's storage is unavailable or in doubt: nothing was published; try again.")
	ErrRollback = refusal.New(refusal.Conflict, "log.rollback", "The log's storage holds less than what was published, or than a witness says that it cosigned: never publish from it; restore a newer backup, or run escrowd log reconcile with a mirror.")
	ErrFork     = refusal.New(refusal.Conflict, "log.fork", "The log's storage disagrees with what was published, or a witness says that it does: stop, and compare it with a mirror; never publish from it.")
	ErrQuorum   = refusal.New(refusal.Unavailable, "log.quorum_not_met", "Too few witnesses have cosigned: nothing was published and nothing may be disclosed; try again.")
	ErrForgot   = refusal.New(refusal.Conflict, "log.witness_forgot", "A witness names a smaller size than it did before: if its state was lost, its operator must find out how.")
	ErrWitness  = refusal.New(refusal.Unavailable, "log.witness", "A witness would not cosign: see that it answers at its address in the bundle, and have its operator give it the log's origin and key.")
	ErrRules    = refusal.New(refusal.Conflict, "log.rules_missing", "The newest rules in the mirror are not among the bundles given: give the file with --bundle, so that no older rules come back into force.")
	ErrNoLeaf   = refusal.New(refusal.NotFound, "log.no_leaf", "The log has no leaf at this index.")
	ErrNotYet   = refusal.New(refusal.NotYet, "log.not_published", "The leaf is not yet under a cosigned checkpoint: wait for the next one.")
)

// Tx is the log inside one transaction of the caller. Whatever it wrote
// exists if and only if that transaction commits.
//
// Requirements on an implementation (package translogtest checks them):
//
//   - LockSize returns the number of leaves and holds a lock until the
//     transaction ends, so that two transactions never see the same size.
//   - Leaf returns the leaf at index, or an error that is [ErrNoLeaf].
//   - ReadHashes returns the hash of each id in the order of ids, which need
//     not be sorted; a missing id is an error.
//   - Insert adds the leaf at index, which is the size that LockSize gave or
//     the next after an earlier Insert, and its hashes; an index that is taken
//     or leaves a gap is an error. Nothing is ever updated or deleted.
type Tx interface {
	LockSize(ctx context.Context) (int64, error)
	Leaf(ctx context.Context, index int64) ([]byte, error)
	ReadHashes(ctx context.Context, ids []int64) ([]tlog.Hash, error)
	Insert(ctx context.Context, index int64, leaf []byte, ids []int64, hashes []tlog.Hash) error
}

// Store is the committed log and its newest checkpoint. It is safe for
// concurrent use, also by several processes.
//
//   - Size is the number of committed leaves; it never shrinks.
//   - ReadHashes is as in [Tx].
//   - Leaves returns the leaves [from, to); a range that is not wholly in the
//     log is an error that is [ErrNoLeaf].
//   - SaveCheckpoint durably replaces the checkpoint in one atomic step: a
//     smaller size than the saved one is [ErrRollback], another root at the
//     same size is [ErrFork], and both change nothing. The same size and root
//     with other signatures replaces the bytes. [Head] reads the root.
//   - Checkpoint returns what was saved, byte for byte, or 0, nil, nil.
type Store interface {
	Size(ctx context.Context) (int64, error)
	ReadHashes(ctx context.Context, ids []int64) ([]tlog.Hash, error)
	Leaves(ctx context.Context, from, to int64) ([][]byte, error)
	SaveCheckpoint(ctx context.Context, size int64, signed []byte) error
	Checkpoint(ctx context.Context) (size int64, signed []byte, err error)
}

// Head returns size and root of a signed checkpoint. It does NOT check any
// signature: it serves an implementation of [Store].
func Head(signed []byte) (tlog.Tree, error) {
	c, err := torchwood.ParseCheckpoint(string(signed[:bytes.LastIndex(signed, []byte("\n\n"))+1]))
	if err != nil {
		return tlog.Tree{}, proof.ErrMalformed.Because(err)
	}
	return c.Tree, nil
}

// Sequence appends leaf to the log in the caller's transaction and returns
// its index, counted from 0. The leaf is durable when the transaction
// commits, and public when [Publisher.Await] returns nil for the index.
//
// It is [proof.ErrLeaf] for a leaf that the linter refuses, [ErrOrder] for a
// day before that of the leaf before it or a case that is not one, and the
// caller must roll back on any error.
func Sequence(ctx context.Context, tx Tx, leaf proof.Leaf) (int64, error) {
	b, err := leaf.Marshal()
	if err != nil {
		return 0, err
	}
	size, err := tx.LockSize(ctx)
	if err != nil {
		return 0, ErrStore.Because(err)
	}
	if err := checkOrder(ctx, tx, size, leaf); err != nil {
		return 0, err
	}
	hashes, err := tlog.StoredHashes(size, b, tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) {
		if len(ids) == 0 { // every second leaf completes no subtree
			return nil, nil
		}
		return tx.ReadHashes(ctx, ids)
	}))
	if err != nil {
		return 0, ErrStore.Because(err)
	}
	ids := make([]int64, len(hashes))
	for i := range ids {
		ids[i] = tlog.StoredHashIndex(0, size) + int64(i)
	}
	if err := tx.Insert(ctx, size, b, ids, hashes); err != nil {
		return 0, ErrStore.Because(err)
	}
	return size, nil
}

// checkOrder reads the previous leaf and the leaf of the case. Sunlight calls
// a clock that went back fatal; here the append is refused and the caller's
// state change with it.
func checkOrder(ctx context.Context, tx Tx, size int64, leaf proof.Leaf) error {
	read := func(index int64) (proof.Leaf, error) {
		b, err := tx.Leaf(ctx, index)
		if err != nil {
			return proof.Leaf{}, ErrStore.Because(err)
		}
		return proof.ParseLeaf(b)
	}
	if size > 0 {
		previous, err := read(size - 1)
		if err != nil {
			return err
		}
		if leaf.Day < previous.Day {
			return ErrOrder.Because(errors.New("day goes back"))
		}
	}
	if leaf.Case == nil {
		return nil
	}
	if *leaf.Case >= size {
		return ErrOrder.Because(errors.New("case is not in the log"))
	}
	opened, err := read(*leaf.Case)
	if err != nil {
		return err
	}
	if opened.Kind != proof.KindRecorded {
		return ErrOrder.Because(errors.New("case is not a recorded warrant"))
	}
	return nil
}
