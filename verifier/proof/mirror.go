package proof

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// MirrorReport says what a run of [Log.Mirror] did.
type MirrorReport struct {
	Size   int64  `json:"size"`   // leaves in the mirror, all verified
	Root   string `json:"root"`   // of the tree, base64
	Before int64  `json:"before"` // leaves that were in the mirror before
	Mended int64  `json:"mended"` // tiles that were there and wrong, and were fetched again
}

// Directory returns a reader of a mirror, or of any log in the C2SP tlog-tiles
// layout, that is a folder on disk. It does NOT verify anything: that is for
// [Log.Audit] and whoever else reads with a checkpoint.
func Directory(dir string) (torchwood.TileReader, error) {
	root, err := os.OpenRoot(dir) // no path and no symbolic link leads out of it
	if err != nil {
		return nil, ErrMirror.Because(err)
	}
	return torchwood.NewTileFS(root.FS())
}

// Mirror makes the folder dir a static copy of the log that source serves, in
// the C2SP tlog-tiles layout with the cosigned checkpoint, or brings the copy
// that is there up to date. Any web server can serve it, and [Directory] reads
// it. progress, which may be nil, is told how many leaves are verified.
//
// Every leaf and every hash is verified against the checkpoint, those on disk
// too: a tile that has changed there is fetched again. The checkpoint is written
// last, each file in one step, so that a copy which is interrupted stays a
// mirror of what it was.
//
// The refusals are those of [Log.OpenCheckpoint] for source, [ErrOlder],
// [ErrRollback] and [ErrSplitView] if it does not contain what was mirrored before,
// with a [SeenError] as their cause, [ErrTile] with an [IndexError], [ErrFetch], and
// [ErrMirror] for dir. None changes the mirror; the checkpoint that [ErrRollback] or
// [ErrSplitView] is about is kept beside it, as evidence, or the [SeenError] says why not.
func (l *Log) Mirror(ctx context.Context, source torchwood.TileReader, dir string, progress func(done, size int64)) (MirrorReport, error) {
	return l.mirror(ctx, &mirror{source: source}, dir, progress)
}

// Export is [Log.Mirror] for a folder that strangers read while it grows, as from a cache that
// still has an older checkpoint: a partial tile stays until its full tile is there. C2SP
// tlog-tiles: "Logs MUST serve partial tiles corresponding to tree sizes for which a checkpoint
// was produced, but MAY delete any partial tile once the corresponding full tile is […]
// available". beside writes what the entries of a tree name, which are in the folder by then: the
// checkpoint of that tree comes last, and not at all if it fails.
func (l *Log) Export(ctx context.Context, source torchwood.TileReader, dir string, beside func(c torchwood.Checkpoint) error, progress func(done, size int64)) (MirrorReport, error) {
	return l.mirror(ctx, &mirror{source: source, partial: true, beside: beside}, dir, progress)
}

func (l *Log) mirror(ctx context.Context, m *mirror, dir string, progress func(done, size int64)) (MirrorReport, error) {
	var r MirrorReport
	source := m.source
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return r, ErrMirror.Because(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return r, ErrMirror.Because(err)
	}
	defer root.Close()
	signed, err := source.ReadEndpoint(ctx, "checkpoint")
	if err != nil {
		return r, ErrFetch.Because(err)
	}
	c, err := l.OpenCheckpoint(signed)
	if err != nil {
		return r, err
	}
	kept, err := root.ReadFile("checkpoint")
	if err == nil {
		before, err := l.openKept(kept)
		if err != nil {
			return r, ErrMirror.Because(err) // of another log, or damaged
		}
		if err := l.followsMirror(ctx, source, root, kept, signed); err != nil {
			return r, keepRefused(root, c, signed, kept, err)
		}
		r.Before = before.N
	} else if !errors.Is(err, fs.ErrNotExist) {
		return r, ErrMirror.Because(err)
	}
	m.root, m.tree, m.saved = root, c.Tree, make(map[tlog.Tile]bool)
	for from := int64(0); from < c.N; from += mirrorGroup {
		to := min(from+mirrorGroup, c.N)
		if err := m.copy(ctx, from, to); err != nil {
			return r, err
		}
		if progress != nil {
			progress(to, c.N)
		}
	}
	if m.beside != nil {
		if err := m.beside(c); err != nil {
			return r, err
		}
	}
	if !bytes.Equal(kept, signed) {
		if err := m.write("checkpoint", signed); err != nil {
			return r, err
		}
	}
	r.Size, r.Root, r.Mended = c.N, c.Hash.String(), m.mended
	return r, m.sweep()
}

// followsMirror is follows, for what a mirror's source shows. An older tree can be
// of another history: that the mirror's own tiles tell, unless they are damaged.
func (l *Log) followsMirror(ctx context.Context, source torchwood.TileReader, root *os.Root, kept, signed []byte) error {
	err := l.follows(ctx, source, kept, signed)
	if !errors.Is(err, ErrOlder) {
		return err
	}
	own, oerr := torchwood.NewTileFS(root.FS())
	if oerr != nil {
		return err
	}
	var seen, reversed *SeenError
	if split := l.follows(ctx, own, signed, kept); errors.Is(split, ErrSplitView) && errors.As(split, &reversed) && errors.As(err, &seen) {
		seen.Divergence = reversed.Divergence
		return ErrSplitView.Because(seen)
	}
	return err
}

// keepRefused writes a checkpoint that is evidence against the log into the
// mirror's folder, under the hash of its tree, for the log could deny tomorrow what
// it signed today, and says where, or why not; beside it, as .known, the mirror's own
// checkpoint of that moment, which it contradicts. It returns the refusal, and does nothing about
// others.
func keepRefused(root *os.Root, c torchwood.Checkpoint, signed, known []byte, refused error) error {
	var seen *SeenError
	if !errors.Is(refused, ErrRollback) && !errors.Is(refused, ErrSplitView) || !errors.As(refused, &seen) {
		return refused
	}
	sum := sha256.Sum256([]byte(c.String()))
	name := "refused-" + hex.EncodeToString(sum[:8])
	seen.Keep(name, signed, (&mirror{root: root}).write)
	if err := ReplaceFile(root, name+".known", known); err != nil {
		seen.Kept, seen.Unkept = "", errors.Join(seen.Unkept, err)
	}
	if seen.Unkept == nil {
		seen.Kept = path.Join(root.Name(), seen.Kept)
	}
	return refused
}

// Exchange compares a checkpoint that another observer kept with the mirror in dir, which
// [Log.Mirror] made: the log signed both, and so the larger contains the smaller. It returns
// nil if so. It is [ErrSplitView] if not, and keeps the evidence in dir, which the [SeenError]
// that is its cause names; [ErrOlder] if the other tree is larger than the mirror's: bring the
// mirror up to date, and compare again. Cosignatures on the other one do not matter. The
// other refusals are those of [OpenUncosigned], [ErrTile] and [ErrMirror].
func (l *Log) Exchange(ctx context.Context, dir string, other []byte) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return ErrMirror.Because(err)
	}
	defer root.Close()
	kept, err := root.ReadFile("checkpoint")
	if err != nil {
		return ErrMirror.Because(err)
	}
	theirs, _, err := l.open(other, false)
	if err != nil {
		return err
	}
	ours, err := l.openKept(kept)
	if err != nil {
		return ErrMirror.Because(err)
	}
	if theirs.N > ours.N {
		return ErrOlder.Because(&SeenError{Shown: ours.seen(), Known: &Seen{Size: theirs.N}})
	}
	own, err := torchwood.NewTileFS(root.FS())
	if err != nil {
		return ErrMirror.Because(err)
	}
	return keepRefused(root, theirs, other, kept, l.follows(ctx, own, other, kept))
}

// mirrorGroup is how many leaves are fetched and verified together.
const mirrorGroup = 16 * torchwood.TileWidth

// mirror is a run. As a [torchwood.TileReader] it reads from the folder what is
// there and the rest from the source, and keeps the hash tiles that were
// verified.
type mirror struct {
	root    *os.Root
	source  torchwood.TileReader
	tree    tlog.Tree
	partial bool // tiles stay until they are full
	beside  func(c torchwood.Checkpoint) error
	afresh  bool // nothing from the folder
	saved   map[tlog.Tile]bool
	mended  int64
	err     error // of writing
}

func (m *mirror) ReadEndpoint(ctx context.Context, path string) ([]byte, error) {
	return m.source.ReadEndpoint(ctx, path)
}

func (m *mirror) ReadTiles(ctx context.Context, tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	var wanted []tlog.Tile
	var places []int
	for i, t := range tiles {
		if !m.afresh {
			if b, err := m.root.ReadFile(torchwood.TilePath(t)); err == nil {
				data[i] = b
				continue
			}
		}
		wanted, places = append(wanted, t), append(places, i)
	}
	if len(wanted) == 0 {
		return data, nil
	}
	fetched, err := m.source.ReadTiles(ctx, wanted)
	for i, b := range fetched {
		data[places[i]] = b
	}
	return data, err
}

// SaveTiles is called with what was verified.
func (m *mirror) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, t := range tiles {
		if m.saved[t] || m.err != nil {
			continue
		}
		name := torchwood.TilePath(t)
		have, err := m.root.ReadFile(name)
		if err == nil && bytes.Equal(have, data[i]) {
			m.saved[t] = true
			continue
		}
		if err == nil {
			m.mended++
		}
		if m.err = m.write(name, data[i]); m.err == nil {
			m.saved[t] = true
		}
	}
}

// copy verifies the leaves [from, to), which are whole tiles but for the last,
// and sees to it that they are in the folder with all hashes above them.
func (m *mirror) copy(ctx context.Context, from, to int64) error {
	err := m.verify(ctx, from, to)
	if err != nil && m.err == nil {
		// What is on disk may be what is wrong: once more without it.
		m.afresh = true
		err = m.verify(ctx, from, to)
		m.afresh = false
	}
	switch {
	case m.err != nil:
		return m.err
	case ctx.Err() != nil:
		return ErrFetch.Because(ctx.Err())
	case err != nil:
		return locate(ctx, m.source, m.tree, from, err)
	}
	return nil
}

func (m *mirror) verify(ctx context.Context, from, to int64) error {
	var entries []tlog.Tile
	var ids []int64
	for n := from; n < to; n++ {
		if n%torchwood.TileWidth == 0 {
			entries = append(entries, tlog.Tile{H: torchwood.TileHeight, L: -1, N: n / torchwood.TileWidth, W: int(min(torchwood.TileWidth, to-n))})
		}
		ids = append(ids, tlog.StoredHashIndex(0, n))
	}
	data, err := m.ReadTiles(ctx, entries)
	if err != nil {
		return err
	}
	hashes, err := torchwood.TileHashReaderWithContext(ctx, m.tree, m).ReadHashes(ids)
	if err != nil {
		return err
	}
	for i, t := range entries {
		var tile []byte
		for _, h := range hashes[i*torchwood.TileWidth:][:t.W] {
			tile = append(tile, h[:]...)
		}
		if _, different := firstDifference(tile, data[i], t.W); different {
			return errors.New("an entry has another hash")
		}
	}
	m.SaveTiles(entries, data)
	return m.err
}

func (m *mirror) write(name string, data []byte) error { return ReplaceFile(m.root, name, data) }

// ReplaceFile replaces a file of a mirror, by its path with slashes, in one step: it is whole or as it
// was, also after a power cut. It fails with [ErrMirror].
func ReplaceFile(root *os.Root, name string, data []byte) error {
	if dir := path.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return ErrMirror.Because(err)
		}
	}
	temporary := name + unfinished + rand.Text()
	f, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return ErrMirror.Because(err)
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		root.Remove(temporary) //nolint:errcheck // a leftover is harmless
		return ErrMirror.Because(err)
	}
	return nil
}

const unfinished = ".unfinished-"

// outgrown reports whether a file is a partial tile that nobody needs any more.
func (m *mirror) outgrown(name string) bool {
	tile, err := torchwood.ParseTilePath(name)
	if err != nil || tile.W == torchwood.TileWidth || m.saved[tile] {
		return false
	}
	return !m.partial || (tile.N+1)*torchwood.TileWidth <= m.tree.N>>(torchwood.TileHeight*max(tile.L, 0))
}

// sweep removes what no tree of this size has: partial tiles that have grown,
// and what an interrupted run left.
func (m *mirror) sweep() error {
	var old []string
	err := fs.WalkDir(m.root.FS(), "tile", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if strings.Contains(name, unfinished) || m.outgrown(name) {
			old = append(old, name)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil // an empty log
	}
	for _, name := range old {
		err = errors.Join(err, m.root.Remove(name))
		m.root.Remove(path.Dir(name)) //nolint:errcheck // only if it is empty
	}
	if err != nil {
		return ErrMirror.Because(err)
	}
	return nil
}
