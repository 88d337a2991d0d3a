package translog

import (
	"context"
	"errors"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/verifier/proof"
)

// Reconciliation is what [Reconcile] did.
type Reconciliation struct {
	Before int64 // leaves that the store had
	Size   int64 // of the mirror, and of the store if it was smaller
}

// restoreBatch is how many leaves are one transaction.
const restoreBatch = torchwood.TileWidth

// Reconcile brings a store that is older than what was published, because it
// was restored from a backup, back to the published log: it appends the missing
// leaves from a mirror in the folder dir, byte for byte. It can be interrupted
// at any point and run again. Nothing may append to the store meanwhile.
//
// The mirror proves itself: its checkpoint is cosigned by the quorum of log,
// every leaf is verified against it, and what the store has must be its
// beginning. restore appends the leaves from that index on in one transaction;
// called again with leaves that are there already, it does nothing. has reports
// whether the operator has the bundle with that hex SHA-256: if rules came into
// force in what is missing, the newest must be had, so that no older ones are.
//
// It is [ErrFork] if the store has leaves that the mirror does not, [ErrRules] if
// the newest rules are missing, [proof.ErrNewer] for a leaf that this program cannot
// read, and otherwise as [proof.Log.OpenCheckpoint] and
// [proof.Log.Audit] refuse, or as restore does.
func Reconcile(ctx context.Context, log *proof.Log, dir string, store Store, has func(bundle string) bool,
	restore func(ctx context.Context, from int64, leaves [][]byte) error, progress func(done, size int64)) (r Reconciliation, err error) {
	tiles, err := proof.Directory(dir)
	if err != nil {
		return r, err
	}
	signed, err := tiles.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return r, proof.ErrFetch.Because(err)
	}
	c, err := log.OpenCheckpoint(signed)
	if err != nil {
		return r, err
	}
	r.Size = c.N
	if r.Before, err = store.Size(ctx); err != nil {
		return r, ErrStore.Because(err)
	}
	if err := begins(ctx, tiles, c.Tree, store, r.Before); err != nil || r.Before >= c.N {
		return r, err
	}
	// All of it before any of it: a mirror that is damaged at its end changes nothing.
	rules, err := readMissing(ctx, tiles, c.Tree, r.Before, nil)
	if err != nil {
		return r, err
	}
	if rules != "" && !has(rules) {
		return r, ErrRules
	}
	at := r.Before
	_, err = readMissing(ctx, tiles, c.Tree, at, func(leaves [][]byte) error {
		if err := restore(ctx, at, leaves); err != nil {
			return err
		}
		if at += int64(len(leaves)); progress != nil {
			progress(at, c.N)
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	return r, store.SaveCheckpoint(ctx, c.N, signed)
}

// begins checks that of store and mirror one is the beginning of the other.
func begins(ctx context.Context, tiles torchwood.TileReader, tree tlog.Tree, store Store, size int64) error {
	n := min(size, tree.N)
	have, err := tlog.TreeHash(n, (&Publisher{store: store}).reader(ctx))
	if err != nil {
		return ErrStore.Because(err)
	}
	published := tree.Hash
	if n < tree.N {
		if published, err = tlog.TreeHash(n, torchwood.TileHashReaderWithContext(ctx, tree, tiles)); err != nil {
			return proof.ErrTile.Because(err)
		}
	}
	if have != published {
		return ErrFork
	}
	return nil
}

// readMissing verifies the leaves from an index on, gives them to batch, which
// may be nil, and returns the newest bundle among them.
func readMissing(ctx context.Context, tiles torchwood.TileReader, tree tlog.Tree, from int64, batch func([][]byte) error) (bundle string, err error) {
	client, err := torchwood.NewClient(tiles)
	if err != nil {
		return "", proof.ErrFetch.Because(err)
	}
	var leaves [][]byte
	next := from
	for index, raw := range client.AllEntries(ctx, tree, from) {
		leaf, err := proof.ParseLeaf(raw)
		if err != nil {
			return "", proof.ErrNewer.Because(&proof.IndexError{Index: index, Cause: err}) // it hashes to the checkpoint
		}
		if leaf.Kind == proof.KindBundle {
			bundle = leaf.Bundle
		}
		next = index + 1
		if batch == nil {
			continue
		}
		if leaves = append(leaves, raw); len(leaves) == restoreBatch || next == tree.N {
			if err := batch(leaves); err != nil {
				return "", err
			}
			leaves = nil
		}
	}
	if next == tree.N && client.Err() == nil {
		return bundle, nil
	}
	if ctx.Err() != nil {
		return "", proof.ErrFetch.Because(ctx.Err())
	}
	return "", proof.ErrTile.Because(&proof.IndexError{Index: next, Cause: errors.Join(client.Err())})
}
