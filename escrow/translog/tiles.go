package translog

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// tiles reads the published part of the log straight from the store, in the
// C2SP tlog-tiles layout. Leaves behind the cosigned checkpoint do not exist for
// it.
type tiles struct {
	store Store
	// published is a size that was published: whatever is below it stays so.
	published func() int64
	saw       func(size int64) // a later one; may be nil
}

// checkpoint is the newest.
func (t tiles) checkpoint(ctx context.Context) (size int64, signed []byte, err error) {
	size, signed, err = t.store.Checkpoint(ctx)
	if err != nil {
		return 0, nil, ErrStore.Because(err)
	}
	if t.saw != nil {
		t.saw(size)
	}
	return size, signed, nil
}

func (t tiles) ReadEndpoint(ctx context.Context, path string) ([]byte, error) {
	if path != "checkpoint" {
		return nil, ErrNoLeaf
	}
	_, signed, err := t.checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if signed == nil {
		return nil, ErrNotYet
	}
	return signed, nil
}

func (t tiles) ReadTiles(ctx context.Context, wanted []tlog.Tile) ([][]byte, error) {
	size := t.published()
	data := make([][]byte, len(wanted))
	for i, tile := range wanted {
		var err error
		if !within(tile, size) {
			if size, _, err = t.checkpoint(ctx); err != nil {
				return nil, err
			}
			if !within(tile, size) {
				return nil, ErrNoLeaf
			}
		}
		if data[i], err = t.readTile(ctx, tile); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// within reports whether a log of size leaves has the tile: a hash at its level stands for 256^L
// leaves, and all the leaves under its last hash are there.
func within(tile tlog.Tile, size int64) bool {
	level := max(tile.L, 0) * torchwood.TileHeight
	return tile.H == torchwood.TileHeight && level <= 56 && tile.N < 1<<40 && tile.N*torchwood.TileWidth+int64(tile.W) <= size>>level
}

func (t tiles) readTile(ctx context.Context, tile tlog.Tile) ([]byte, error) {
	level := max(tile.L, 0) * torchwood.TileHeight
	from := tile.N * torchwood.TileWidth
	if tile.L == -1 {
		return t.readEntries(ctx, from, from+int64(tile.W))
	}
	ids := make([]int64, tile.W)
	for i := range ids {
		ids[i] = tlog.StoredHashIndex(level, from+int64(i))
	}
	hashes, err := t.store.ReadHashes(ctx, ids)
	if err != nil || len(hashes) != len(ids) {
		return nil, ErrStore.Because(err)
	}
	data := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		data = append(data, h[:]...)
	}
	return data, nil
}

func (t tiles) readEntries(ctx context.Context, from, to int64) ([]byte, error) {
	leaves, err := t.store.Leaves(ctx, from, to)
	if err != nil || int64(len(leaves)) != to-from {
		return nil, ErrStore.Because(err)
	}
	var data []byte
	for _, leaf := range leaves {
		if data, err = torchwood.AppendTileEntry(data, leaf); err != nil {
			return nil, ErrStore.Because(err)
		}
	}
	return data, nil
}

// SaveTiles does nothing: the store has them.
func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// Tiles returns a reader of what is published in a store, as [Publisher.Handler]
// serves it. It remembers how much was published, so that a tile which it then has is one reading
// of the store.
func Tiles(store Store) torchwood.TileReader {
	var newest atomic.Int64
	return tiles{store: store, published: newest.Load, saw: newest.Store}
}

// Handler serves the log as C2SP tlog-tiles: GET /checkpoint, /tile/<L>/<N>
// and /tile/entries/<N>, without authentication, to pages of any origin, too. Tiles never change
// and may be cached for ever.
func (p *Publisher) Handler() http.Handler {
	mux := http.NewServeMux()
	read := tiles{store: p.store, published: func() int64 {
		if newest := p.newest.Load(); newest != nil {
			return newest.N
		}
		return 0
	}}
	mux.HandleFunc("GET /checkpoint", func(w http.ResponseWriter, r *http.Request) {
		b, err := read.ReadEndpoint(r.Context(), "checkpoint")
		serve(w, b, err, "text/plain; charset=utf-8", "no-cache")
	})
	mux.HandleFunc("GET /tile/", func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/")
		tile, err := torchwood.ParseTilePath(path)
		if err != nil || torchwood.TilePath(tile) != path { // it also parses tile/data/…
			http.NotFound(w, r)
			return
		}
		data, err := read.ReadTiles(r.Context(), []tlog.Tile{tile})
		if err != nil {
			serve(w, nil, err, "", "")
			return
		}
		serve(w, data[0], nil, "application/octet-stream", "public, max-age=31536000, immutable")
	})
	return mux
}

func serve(w http.ResponseWriter, b []byte, err error, contentType, caching string) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	switch {
	case errors.Is(err, ErrNoLeaf), errors.Is(err, ErrNotYet):
		http.Error(w, "not in the published log", http.StatusNotFound)
	case err != nil:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "log.unavailable: the public log gives no answer at the moment: try again in a minute", http.StatusServiceUnavailable)
	default:
		h := w.Header()
		h.Set("Content-Type", contentType)
		h.Set("Cache-Control", caching)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Length", strconv.Itoa(len(b)))
		_, _ = w.Write(b) // a client that went away
	}
}
