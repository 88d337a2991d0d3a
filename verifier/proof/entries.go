package proof

import (
	"context"
	"errors"
	"maps"
	"sync"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// entry is one leaf as it was parsed.
type entry struct {
	Leaf
	raw   []byte
	err   error // of ParseLeaf
	newer bool  // of a later version or kind, if that is not nil
}

func parseEntry(b []byte) entry {
	l, err := ParseLeaf(b)
	return entry{l, b, err, err != nil && newer(b)}
}

// Entry is one entry of a log, whatever its bytes are.
type Entry struct {
	Raw   []byte // as the log has it
	Leaf  Leaf   // the zero one if Err is not nil
	Err   error  // of [ParseLeaf]
	Newer bool   // with Err: it says that it is of a later version or kind
}

// EachRaw is [EachEntry] with the bytes of each entry.
func EachRaw(ctx context.Context, tiles torchwood.TileReader, tree tlog.Tree, from int64, each func(index int64, e Entry) error) error {
	return eachEntry(ctx, tiles, tree, from, func(index int64, e entry) error {
		return each(index, Entry{e.raw, e.Leaf, e.err, e.newer})
	})
}

// group is what was verified of so many leaves, in their order, up to the first that is
// wrong.
type group struct {
	entries []entry
	err     error
}

// groupsAhead are fetched, verified and parsed while another is replayed. With those bounds,
// a log whose every leaf is as large as can be takes a gigabyte; leaves as they are, 10 MB.
const groupsAhead = 3

// eachEntry hands the leaves of a tree to each, in order, from an index on, until one returns
// an error. Every one is verified against the tree, which the caller has authenticated. What
// cannot be read or does not verify is [ErrFetch] or [ErrTile].
func eachEntry(ctx context.Context, tiles torchwood.TileReader, tree tlog.Tree, from int64, each func(index int64, e entry) error) error {
	if from > tree.N {
		return ErrFetch.Because(errors.New("the tree ends before that index"))
	}
	inner, stop := context.WithCancel(ctx)
	r := &groupReader{ctx: inner, tree: tree, tiles: Keep(tiles)}
	groups := make(chan chan group, groupsAhead-1)
	go r.send(from, groups)
	defer func() {
		stop()
		for one := range groups {
			<-one
		}
	}()
	next := from - from%torchwood.TileWidth
	for one := range groups {
		g := <-one
		for _, e := range g.entries {
			if next >= from {
				if err := each(next, e); err != nil {
					return err
				}
			}
			next++
		}
		if ctx.Err() != nil {
			break
		}
		if g.err != nil {
			return locate(ctx, tiles, tree, max(next, from), g.err)
		}
	}
	if ctx.Err() != nil {
		return ErrFetch.Because(ctx.Err())
	}
	return nil
}

// groupReader reads groups of leaves.
type groupReader struct {
	ctx   context.Context
	tree  tlog.Tree
	tiles torchwood.TileReader
}

// send sends a place for each group, in their order, before it is read.
func (r *groupReader) send(from int64, to chan<- chan group) {
	defer close(to)
	for begin := from - from%torchwood.TileWidth; begin < r.tree.N; begin += mirrorGroup {
		one := make(chan group, 1)
		select {
		case to <- one:
		case <-r.ctx.Done():
			return
		}
		go func() {
			var g group
			next := begin
			g.err = r.read(begin, min(begin+mirrorGroup, r.tree.N), func(b []byte) {
				var e entry // of those before, which nobody asked for, it stays empty
				if next >= from {
					e = parseEntry(b)
				}
				g.entries, next = append(g.entries, e), next+1
			})
			one <- g
		}()
	}
}

// read hands over the leaves [from, to) that are verified, in their order.
func (r *groupReader) read(from, to int64, verified func(leaf []byte)) error {
	var entries []tlog.Tile
	ids := make([]int64, 0, to-from)
	for n := from; n < to; n++ {
		if n%torchwood.TileWidth == 0 {
			entries = append(entries, tlog.Tile{H: torchwood.TileHeight, L: -1, N: n / torchwood.TileWidth, W: int(min(torchwood.TileWidth, to-n))})
		}
		ids = append(ids, tlog.StoredHashIndex(0, n))
	}
	data, err := r.tiles.ReadTiles(r.ctx, entries)
	if err != nil {
		return err
	}
	hashes, err := torchwood.TileHashReaderWithContext(r.ctx, r.tree, r.tiles).ReadHashes(ids)
	if err != nil {
		return err
	}
	for i, t := range entries {
		rest := data[i]
		for range t.W {
			var leaf []byte
			if leaf, rest, err = torchwood.ReadTileEntry(rest); err != nil {
				return err
			}
			if tlog.RecordHash(leaf) != hashes[0] {
				return errors.New("an entry has another hash")
			}
			verified(leaf)
			hashes = hashes[1:]
		}
		if len(rest) > 0 {
			return errors.New("more than its entries")
		}
	}
	r.tiles.SaveTiles(entries, data)
	return nil
}

// Keep returns a reader that keeps those verified tiles which who reads on needs again: above
// the lowest, and at the edge of the tree.
func Keep(tiles torchwood.TileReader) torchwood.TileReader {
	return &upperTiles{TileReader: tiles, kept: make(map[tlog.Tile][]byte)}
}

// upperTiles is what [Keep] returns.
type upperTiles struct {
	torchwood.TileReader
	mu   sync.Mutex
	kept map[tlog.Tile][]byte
}

// keptTiles bounds them. A group needs one of each level, and those at the edge of the tree.
const keptTiles = 64

// ReadTiles implements [torchwood.TileReader].
func (u *upperTiles) ReadTiles(ctx context.Context, tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	var wanted []tlog.Tile
	var places []int
	u.mu.Lock()
	for i, t := range tiles {
		if data[i] = u.kept[t]; data[i] == nil {
			wanted, places = append(wanted, t), append(places, i)
		}
	}
	u.mu.Unlock()
	if len(wanted) == 0 {
		return data, nil
	}
	fetched, err := u.TileReader.ReadTiles(ctx, wanted)
	if err != nil {
		return nil, err
	}
	for i, b := range fetched {
		data[places[i]] = b
	}
	return data, nil
}

// SaveTiles implements [torchwood.TileReader].
func (u *upperTiles) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, t := range tiles {
		if t.L > 0 || t.L == 0 && t.W < torchwood.TileWidth {
			u.kept[t] = data[i]
		}
	}
	if len(u.kept) > keptTiles {
		maps.DeleteFunc(u.kept, func(t tlog.Tile, _ []byte) bool { return t.L == 1 })
	}
}
