package proof

import (
	"bytes"
	"context"
	"errors"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// RangeWidth is how many entries a range has: as many as a tile.
const RangeWidth = torchwood.TileWidth

// Proven is an entry with what proves it.
type Proven struct {
	Leaf  []byte // as the log has it
	Proof []byte // c2sp.org/tlog-proof@v1, for [Log.VerifyProof]; of [Range.Entry] its beginning
}

// Ranges proves the entries of a tree in two steps: from an entry to the root of its range, and
// from there to the root of the tree. Ranges have [RangeWidth] entries, the last one perhaps
// fewer; the first step of an entry in a full range is the same for ever, and the second is that
// of all entries of its range. It keeps 64 bytes a range. A copy stays as it is while the original
// grows.
type Ranges struct {
	tree   tlog.Tree
	signed []byte
	count  int64       // full ranges
	full   []tlog.Hash // stored hashes (tlog) of the tree whose leaves are the roots of full ranges
	last   []tlog.Hash // of the entries behind them
	all    []tlog.Hash // full, and the range that is not
}

// stored reads hashes by their places, those of [tlog.StoredHashIndex].
func stored(hashes []tlog.Hash) tlog.HashReader {
	return tlog.HashReaderFunc(func(places []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(places))
		for i, at := range places {
			if at < 0 || at >= int64(len(hashes)) {
				return nil, errors.New("there is no such hash")
			}
			found[i] = hashes[at]
		}
		return found, nil
	})
}

// grown are the stored hashes of a tree of n leaves and one more.
func grown(hashes []tlog.Hash, n int64, leaf tlog.Hash) ([]tlog.Hash, error) {
	more, err := tlog.StoredHashesForRecordHash(n, leaf, stored(hashes))
	return append(hashes, more...), err
}

// treeOf are the stored hashes of a tree with these leaves, and its root.
func treeOf(leaves []tlog.Hash) (all []tlog.Hash, root tlog.Hash, err error) {
	all = make([]tlog.Hash, 0, 2*len(leaves))
	for i, h := range leaves {
		if all, err = grown(all, int64(i), h); err != nil {
			return nil, root, err
		}
	}
	root, err = tlog.TreeHash(int64(len(leaves)), stored(all))
	return all, root, err
}

// Add takes the next entry of the log, which the caller has verified.
func (r *Ranges) Add(leaf []byte) error {
	r.last = append(r.last, tlog.RecordHash(leaf))
	if len(r.last) < RangeWidth {
		return nil
	}
	_, root, err := treeOf(r.last)
	if err == nil {
		r.full, err = grown(r.full, r.count, root)
	}
	r.last, r.count = nil, r.count+1
	return err
}

// Under proves from now on under a checkpoint, which the caller has opened (signed, as it was
// served). It is [ErrTile] if that is not one of the entries that were added.
func (r *Ranges) Under(tree tlog.Tree, signed []byte) error {
	all, ranges := r.full[:len(r.full):len(r.full)], r.count
	if len(r.last) > 0 {
		_, root, err := treeOf(r.last)
		if err == nil {
			all, err = grown(all, r.count, root)
		}
		if err != nil {
			return ErrTile.Because(err)
		}
		ranges++
	}
	root, err := tlog.TreeHash(ranges, stored(all))
	if err == nil && (r.count*RangeWidth+int64(len(r.last)) != tree.N || root != tree.Hash) {
		err = errors.New("the entries have another root")
	}
	if err != nil {
		return ErrTile.Because(err)
	}
	r.tree, r.signed, r.all = tree, signed, all
	return nil
}

// Full is how many ranges are full.
func (r *Ranges) Full() int64 { return r.count }

// Root is that of a range.
func (r *Ranges) Root(number int64) tlog.Hash { return r.all[tlog.StoredHashIndex(0, number)] }

// Count is how many ranges there are under the checkpoint.
func (r *Ranges) Count() int64 { return (r.tree.N + RangeWidth - 1) / RangeWidth }

// Rest ends the proof of each entry of a range, which [Range.Entry] begins: the hashes from the
// range to the root, an empty line, and the checkpoint.
func (r *Ranges) Rest(number int64) ([]byte, error) {
	path, err := tlog.ProveRecord(r.Count(), number, stored(r.all))
	if err != nil {
		return nil, ErrFetch.Because(err)
	}
	whole := torchwood.FormatProof(0, path, r.signed)
	for range 2 { // what it is, and the index
		_, whole, _ = bytes.Cut(whole, []byte("\n"))
	}
	return whole, nil
}

// Range is the entries of a range, as they were verified.
type Range struct {
	From, To int64 // [From, To)
	leaves   [][]byte
	hashes   []tlog.Hash // stored
}

// Read reads the entries of a range, in one reading of one tile. What cannot be read or does not
// verify is [ErrFetch] or [ErrTile], as is a range that the tree does not have.
func (r *Ranges) Read(ctx context.Context, tiles torchwood.TileReader, number int64) (*Range, error) {
	if number < 0 || number >= r.Count() {
		return nil, ErrFetch.Because(errors.New("the tree has no such entries"))
	}
	of := &Range{From: number * RangeWidth, To: min((number+1)*RangeWidth, r.tree.N)}
	if err := of.read(ctx, tiles, number, r.Root(number)); err != nil {
		return nil, locate(ctx, tiles, r.tree, of.From, err)
	}
	return of, nil
}

func (of *Range) read(ctx context.Context, tiles torchwood.TileReader, number int64, want tlog.Hash) error {
	width := int(of.To - of.From)
	data, err := tiles.ReadTiles(ctx, []tlog.Tile{{H: torchwood.TileHeight, L: -1, N: number, W: width}})
	if err != nil {
		return err
	}
	rest, hashes := data[0], make([]tlog.Hash, 0, width)
	for range width {
		var leaf []byte
		if leaf, rest, err = torchwood.ReadTileEntry(rest); err != nil {
			return err
		}
		of.leaves, hashes = append(of.leaves, leaf), append(hashes, tlog.RecordHash(leaf))
	}
	var root tlog.Hash
	if of.hashes, root, err = treeOf(hashes); err == nil && (root != want || len(rest) > 0) {
		err = errors.New("the entries of a tile are others")
	}
	return err
}

// Entry is one of them, with the beginning of its proof: all of it before what [Ranges.Rest]
// gives.
func (of *Range) Entry(index int64) (Proven, error) {
	path, err := tlog.ProveRecord(of.To-of.From, index-of.From, stored(of.hashes))
	if err != nil {
		return Proven{}, ErrFetch.Because(err)
	}
	return Proven{of.leaves[index-of.From], bytes.TrimSuffix(torchwood.FormatProof(index, path, nil), []byte("\n"))}, nil
}

// Cosigned is what a checkpoint shows of a witness.
type Cosigned struct {
	WitnessKey
	At time.Time // zero: it did not cosign
}

// Cosigners says which witnesses of the policy have cosigned a checkpoint, and when by their own
// clocks. The refusals are those of [Log.OpenCheckpoint].
func (l *Log) Cosigners(signed []byte) ([]Cosigned, error) {
	_, n, err := l.openCosigned(signed)
	if err != nil {
		return nil, err
	}
	all := make([]Cosigned, len(l.Witnesses))
	for i, v := range l.witnesses {
		all[i].WitnessKey = l.Witnesses[i]
		for _, s := range n.Sigs {
			if t, err := torchwood.CosignatureTimestamp(s); s.Name == v.Name() && s.Hash == v.KeyHash() && err == nil && t > 0 {
				all[i].At = time.Unix(t, 0).UTC()
			}
		}
	}
	return all, nil
}

// QuorumAt is when a quorum had cosigned a checkpoint, by the witnesses' clocks, whatever time it
// is now: [Log.CosignedAt] of a reader without a clock. The refusals are its.
func (l *Log) QuorumAt(signed []byte) (time.Time, error) {
	return l.CosignedAt(signed, time.Unix(1<<40, 0))
}
