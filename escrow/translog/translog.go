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
	"math/bits"

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
//   - Insert adds leaves from index on, which is the size that LockSize gave or
//     the next after an earlier Insert, and their hashes, of which the first has
//     the id StoredHashIndex(0, index) and each the next after the one before; an
//     index that is taken or leaves a gap is an error. Nothing is ever updated or
//     deleted.
type Tx interface {
	LockSize(ctx context.Context) (int64, error)
	Leaf(ctx context.Context, index int64) ([]byte, error)
	ReadHashes(ctx context.Context, ids []int64) ([]tlog.Hash, error)
	Insert(ctx context.Context, index int64, leaves [][]byte, hashes []tlog.Hash) error
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
	e, err := Prepare(leaf)
	if err != nil {
		return 0, err
	}
	placed, err := SequenceAll(ctx, tx, []Entry{e})
	if err != nil {
		return 0, err
	}
	return placed[0].Index, placed[0].Err
}

// Entry is a leaf with its bytes and hash: what is made of it before a transaction begins.
type Entry struct {
	leaf  proof.Leaf
	bytes []byte
	hash  tlog.Hash
}

// Prepare is [proof.ErrLeaf] for a leaf that the linter refuses.
func Prepare(leaf proof.Leaf) (Entry, error) {
	b, err := leaf.Marshal()
	if err != nil {
		return Entry{}, err
	}
	return Entry{leaf, b, tlog.RecordHash(b)}, nil
}

// Placed is what became of an [Entry]: its index, or the [ErrOrder] for which it was left out.
type Placed struct {
	Index int64
	Err   error
}

// SequenceAll is [Sequence] of many leaves, by one Insert. One that does not fit behind those
// before it changes nothing for the others; on an error of SequenceAll itself the caller must
// roll back.
func SequenceAll(ctx context.Context, tx Tx, entries []Entry) ([]Placed, error) {
	first, err := tx.LockSize(ctx)
	if err != nil {
		return nil, ErrStore.Because(err)
	}
	s := sequence{tx: tx, first: first}
	if first > 0 {
		previous, err := s.read(ctx, first-1)
		if err != nil {
			return nil, err
		}
		s.day = previous.Day
	}
	placed := make([]Placed, len(entries))
	for i, e := range entries {
		switch err := s.fits(ctx, e.leaf); {
		case errors.Is(err, ErrOrder):
			placed[i].Err = err
			continue
		case err != nil:
			return nil, err
		}
		placed[i].Index = first + int64(len(s.leaves))
		s.day, s.leaves = e.leaf.Day, append(s.leaves, e.bytes)
	}
	if len(s.leaves) == 0 {
		return placed, nil
	}
	edge, err := edgeOf(ctx, tx, first)
	if err != nil {
		return nil, ErrStore.Because(err)
	}
	var hashes []tlog.Hash
	for i, e := range entries {
		if placed[i].Err != nil {
			continue
		}
		h := e.hash
		hashes = append(hashes, h)
		for n := placed[i].Index; n&1 == 1; n >>= 1 { // it completes a subtree (RFC 6962, 2.1)
			h = tlog.NodeHash(edge[len(edge)-1], h)
			edge, hashes = edge[:len(edge)-1], append(hashes, h)
		}
		edge = append(edge, h)
	}
	if err := tx.Insert(ctx, first, s.leaves, hashes); err != nil {
		return nil, ErrStore.Because(err)
	}
	return placed, nil
}

// edgeOf returns the hashes of the complete subtrees that make up a tree of that size, the
// largest first: all that an append needs.
func edgeOf(ctx context.Context, tx Tx, size int64) ([]tlog.Hash, error) {
	if size == 0 {
		return nil, nil
	}
	return tx.ReadHashes(ctx, Edge(size))
}

// Edge returns the ids of those hashes.
func Edge(size int64) (ids []int64) {
	for level := bits.Len64(uint64(size)) - 1; level >= 0; level-- {
		if size>>level&1 == 1 {
			ids = append(ids, tlog.StoredHashIndex(level, size>>level-1))
		}
	}
	return ids
}

// sequence is a log that grows by the leaves of one transaction.
type sequence struct {
	tx     Tx
	first  int64
	day    string // of the last leaf
	leaves [][]byte
}

// fits compares a leaf with the one before it and with that of its case. Sunlight calls
// a clock that went back fatal; here the append is refused and the caller's
// state change with it.
func (s *sequence) fits(ctx context.Context, leaf proof.Leaf) error {
	if leaf.Day < s.day {
		return ErrOrder.Because(errors.New("day goes back"))
	}
	if leaf.Case == nil {
		return nil
	}
	if *leaf.Case >= s.first+int64(len(s.leaves)) {
		return ErrOrder.Because(errors.New("case is not in the log"))
	}
	opened, err := s.read(ctx, *leaf.Case)
	if err != nil {
		return err
	}
	if opened.Kind != proof.KindRecorded {
		return ErrOrder.Because(errors.New("case is not a recorded warrant"))
	}
	return nil
}

func (s *sequence) read(ctx context.Context, index int64) (proof.Leaf, error) {
	if index >= s.first {
		return proof.ParseLeaf(s.leaves[index-s.first])
	}
	b, err := s.tx.Leaf(ctx, index)
	if err != nil {
		return proof.Leaf{}, ErrStore.Because(err)
	}
	return proof.ParseLeaf(b)
}
