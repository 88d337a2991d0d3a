package proof_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/verifier/proof"
)

// counting is a source that can fail after a number of tiles.
type counting struct {
	torchwood.TileReader
	tiles, limit int
}

var errCut = errors.New("the line was cut")

func (c *counting) ReadTiles(ctx context.Context, tiles []tlog.Tile) ([][]byte, error) {
	if c.tiles += len(tiles); c.limit > 0 && c.tiles > c.limit {
		return nil, errCut
	}
	return c.TileReader.ReadTiles(ctx, tiles)
}

// onDisk are the files of a mirror.
func onDisk(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		all[rel] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func served(files fstest.MapFS) map[string]string {
	all := map[string]string{}
	for name, f := range files {
		all[name] = string(f.Data)
	}
	return all
}

func mirrored(t *testing.T, w *world, source torchwood.TileReader, dir string) proof.MirrorReport {
	t.Helper()
	r, err := w.log.Mirror(t.Context(), source, dir, nil)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return r
}

// A mirror is, file for file, what the log serves, at every size that it grew
// through, and only what is new is fetched.
func TestMirrorGrows(t *testing.T) {
	w, dir := newWorld(t), filepath.Join(t.TempDir(), "mirror")
	before := int64(0)
	for _, size := range []int{0, 1, 255, 256, 257, 600, 5000, 5000, 66000} {
		w.grow(size)
		files := w.files()
		source := &counting{TileReader: w.tiles(files)}
		var last int64
		r, err := w.log.Mirror(t.Context(), source, dir, func(done, of int64) {
			if done <= last || of != int64(size) {
				t.Errorf("progress %d of %d after %d", done, of, last)
			}
			last = done
		})
		if err != nil || r.Size != int64(size) || r.Before != before || r.Mended != 0 || last != int64(size) {
			t.Fatalf("%+v at %d, progress %d: %v", r, size, last, err)
		}
		if !maps.Equal(onDisk(t, dir), served(files)) {
			t.Fatalf("the files at size %d are not what the log serves", size)
		}
		// A tile of hashes and one of leaves for each that is new, and the edge.
		if most := 2*(size-int(before))/256 + 40; source.tiles > most {
			t.Errorf("%d tiles fetched from %d to %d", source.tiles, before, size)
		}
		before = int64(size)
		tiles, err := proof.Directory(dir)
		if err != nil {
			t.Fatal(err)
		}
		o := proof.AuditOptions{At: noon, Rules: func(string) (proof.Rules, bool) { return proof.Rules{Threshold: 1}, true }}
		if report, err := w.log.Audit(t.Context(), tiles, o); err != nil || report.Leaves != int64(size) {
			t.Fatalf("the audit of the mirror read %d leaves: %v", report.Leaves, err)
		}
	}
}

// Whatever bit of a mirror flips, the next run puts it right; without a source
// that is right, it says where.
func TestMirrorMendsAFlippedBit(t *testing.T) {
	w, dir := newWorld(t).grow(600), t.TempDir()
	files := w.files()
	mirrored(t, w, w.tiles(files), dir)
	for name, whole := range onDisk(t, dir) {
		if name == "checkpoint" {
			continue
		}
		for _, at := range []int{0, len(whole) / 2, len(whole) - 1} {
			flipped := []byte(whole)
			flipped[at] ^= 1
			if err := os.WriteFile(filepath.Join(dir, name), flipped, 0o600); err != nil {
				t.Fatal(err)
			}
			if r := mirrored(t, w, w.tiles(files), dir); r.Mended != 1 || !maps.Equal(onDisk(t, dir), served(files)) {
				t.Fatalf("%s, byte %d: %+v", name, at, r)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(whole[:len(whole)/2]), 0o600); err != nil {
			t.Fatal(err)
		}
		mirrored(t, w, w.tiles(files), dir)
	}

	entries := slices.Sorted(maps.Keys(files))[1:]
	for _, name := range entries {
		if !strings.Contains(name, "entries/001") {
			continue
		}
		bad := w.files()
		bad[name].Data[len(bad[name].Data)-1] ^= 1
		_, err := w.log.Mirror(t.Context(), w.tiles(bad), t.TempDir(), nil)
		var at *proof.IndexError
		if !errors.Is(err, proof.ErrTile) || !errors.As(err, &at) || at.Index != 511 {
			t.Errorf("a source with a flipped leaf: %v, %+v", err, at)
		}
	}
}

// What is refused leaves the mirror as it was.
func TestMirrorRefuses(t *testing.T) {
	w, dir := newWorld(t).grow(600), t.TempDir()
	mirrored(t, w, w.tiles(w.files()), dir)
	kept := onDisk(t, dir)

	other := newWorld(t)
	other.add(bundleLeaf(7))
	other.grow(700)
	smaller, unsigned, stranger := newWorld(t).grow(599), w.files(), newWorld(t).grow(700).files()
	unsigned["checkpoint"].Data = w.cosigned(600, 0)
	skey, _ := logKey(t, "other.example/log", 2)
	text := strings.Replace(newWorld(t).grow(700).checkpoint(700).String(), origin, "other.example/log", 1)
	stranger["checkpoint"].Data = must(note.Sign(&note.Note{Text: text}, must(note.NewSigner(skey))(t)))(t)
	larger := newWorld(t).grow(900)
	again, reversed := smaller.files(), newWorld(t)
	again["checkpoint"].Data = smaller.cosignedAt(599, noon.Add(11*time.Minute), 0, 1)
	reversed.add(bundleLeaf(7))
	reversed.grow(500)
	evidence := 0
	for name, c := range map[string]struct {
		source torchwood.TileReader
		want   error
	}{
		"older":                   {w.tiles(smaller.files()), proof.ErrOlder},
		"shrank":                  {w.tiles(again), proof.ErrRollback},
		"shrank, another history": {w.tiles(reversed.files()), proof.ErrSplitView},
		"forked":                  {w.tiles(other.files()), proof.ErrSplitView},
		"no quorum":               {w.tiles(unsigned), proof.ErrQuorum},
		"another log":             {w.tiles(stranger), proof.ErrLog},
		"no log":                  {w.tiles(fstest.MapFS{}), proof.ErrFetch},
		"cut":                     {&counting{TileReader: w.tiles(larger.files()), limit: 3}, proof.ErrFetch},
	} {
		if _, err := w.log.Mirror(t.Context(), c.source, dir, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if now := onDisk(t, dir); now["checkpoint"] != kept["checkpoint"] {
			t.Errorf("%s: the mirror is another", name)
		}
		tiles, _ := proof.Directory(dir)
		o := proof.AuditOptions{At: noon, Rules: func(string) (proof.Rules, bool) { return proof.Rules{Threshold: 1}, true }}
		if _, err := w.log.Audit(t.Context(), tiles, o); err != nil {
			t.Errorf("%s: the mirror is damaged: %v", name, err)
		}
		// I23: what the log signed and the mirror contradicts is kept, once, with what contradicts it.
		if errors.Is(c.want, proof.ErrRollback) || errors.Is(c.want, proof.ErrSplitView) {
			if evidence += 2; !slices.Contains(slices.Collect(maps.Values(onDisk(t, dir))), string(must(c.source.ReadEndpoint(t.Context(), "checkpoint"))(t))) {
				t.Errorf("I23 %s: the checkpoint is not kept", name)
			}
			_, _ = w.log.Mirror(t.Context(), c.source, dir, nil)
		}
		if errors.Is(c.want, proof.ErrSplitView) { // of two sizes: its divergence is evidence too
			evidence++
		}
	}
	if n := len(onDisk(t, dir)) - len(kept); n != evidence {
		t.Errorf("%d files besides the mirror, for %d pieces of evidence", n, evidence)
	}

	// A folder that is the mirror of another log, and a file.
	if err := os.WriteFile(filepath.Join(dir, "checkpoint"), stranger["checkpoint"].Data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{dir, filepath.Join(dir, "checkpoint")} {
		if _, err := w.log.Mirror(t.Context(), w.tiles(w.files()), folder, nil); !errors.Is(err, proof.ErrMirror) {
			t.Errorf("%v", err)
		}
	}
	if _, err := proof.Directory(filepath.Join(dir, "nothing")); !errors.Is(err, proof.ErrMirror) {
		t.Error(err)
	}
}

// I23: evidence that cannot be written is not said to be kept, whichever of its files fails, but that
// it is not there and why; the next run writes it.
func TestEvidenceThatCannotBeWritten(t *testing.T) {
	w, dir := newWorld(t).grow(300), t.TempDir()
	mirrored(t, w, w.tiles(w.files()), dir)
	fork := newWorld(t)
	fork.add(bundleLeaf(999))
	fork.grow(350)
	sum := sha256.Sum256([]byte(fork.checkpoint(350).String()))
	refused := filepath.Join(dir, fmt.Sprintf("refused-%x", sum[:8]))
	for _, file := range []string{refused, refused + ".known", refused + ".divergence"} {
		if err := errors.Join(os.RemoveAll(file), os.MkdirAll(filepath.Join(file, "something in the way"), 0o700)); err != nil {
			t.Fatal(err)
		}
		_, err := w.log.Mirror(t.Context(), w.tiles(fork.files()), dir, nil)
		var seen *proof.SeenError
		if !errors.Is(err, proof.ErrSplitView) || !errors.As(err, &seen) || seen.Kept != "" || seen.Unkept == nil ||
			!strings.Contains(seen.Error(), "; evidence could not be written: ") || !strings.Contains(seen.Error(), filepath.Base(file)+": ") {
			t.Errorf("%s: %v, %+v", filepath.Base(file), err, seen)
		}
		if err := os.RemoveAll(file); err != nil {
			t.Fatal(err)
		}
	}
	_, err := w.log.Mirror(t.Context(), w.tiles(fork.files()), dir, nil)
	var seen *proof.SeenError
	if !errors.Is(err, proof.ErrSplitView) || !errors.As(err, &seen) || seen.Kept != refused || strings.Contains(seen.Error(), "could not") {
		t.Errorf("%v, %+v", err, seen)
	}
}

// A run that is cut anywhere is continued by the next one, and what it left
// lying about is gone afterwards.
func TestMirrorResumes(t *testing.T) {
	w := newWorld(t).grow(300)
	older := w.files()
	w.grow(9000)
	files := w.files()
	for limit := 1; ; limit += 7 {
		dir := t.TempDir()
		mirrored(t, w, w.tiles(older), dir)
		source := &counting{TileReader: w.tiles(files), limit: limit}
		_, err := w.log.Mirror(t.Context(), source, dir, nil)
		if err == nil {
			break
		}
		stray := filepath.Join(dir, "tile", "0", "000.unfinished-X")
		if err := os.WriteFile(stray, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := onDisk(t, dir)["checkpoint"]; got != string(older["checkpoint"].Data) {
			t.Fatal("the checkpoint came before the tiles")
		}
		if r := mirrored(t, w, w.tiles(files), dir); r.Before != 300 || !maps.Equal(onDisk(t, dir), served(files)) {
			t.Fatalf("cut after %d tiles: %+v", limit, r)
		}
	}
}

// lagging reads a folder as a cache shows it: an earlier checkpoint, and the tiles of now.
type lagging struct {
	torchwood.TileReader
	checkpoint []byte
}

func (l lagging) ReadEndpoint(context.Context, string) ([]byte, error) { return l.checkpoint, nil }

// C2SP tlog-tiles: "Logs MUST serve partial tiles corresponding to tree sizes for which a
// checkpoint was produced, but MAY delete any partial tile once the corresponding full tile is
// […] available." Whoever still has an earlier checkpoint reads the export to the end; where its
// partial tile is full meanwhile, the full one is what they fall back to.
func TestExportServesEveryCheckpointThatItShowed(t *testing.T) {
	w, dir := newWorld(t), filepath.Join(t.TempDir(), "export")
	o := proof.AuditOptions{At: noon, Rules: func(string) (proof.Rules, bool) { return proof.Rules{Threshold: 1}, true }}
	shown := map[int][]byte{}
	for _, size := range []int{1, 7, 200, 255} {
		w.grow(size)
		if _, err := w.log.Export(t.Context(), w.tiles(w.files()), dir, nil, nil); err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
		shown[size] = []byte(onDisk(t, dir)["checkpoint"])
		for size, checkpoint := range shown {
			tiles, err := proof.Directory(dir)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := w.log.Audit(t.Context(), lagging{tiles, checkpoint}, o); err != nil || r.Leaves != int64(size) {
				t.Errorf("the tree of %d: %v, %v", size, err, errors.Unwrap(err))
			}
		}
	}
	w.grow(600)
	if _, err := w.log.Export(t.Context(), w.tiles(w.files()), dir, nil, nil); err != nil {
		t.Fatal(err)
	}
	files := onDisk(t, dir)
	for name, data := range served(w.files()) {
		if files[name] != data {
			t.Errorf("%s is not what the log serves", name)
		}
		delete(files, name)
	}
	for name := range files {
		if strings.HasPrefix(name, "tile/0/000") || strings.HasPrefix(name, "tile/entries/000") {
			t.Errorf("%s is there, and the full tile too", name)
		}
	}
}
