package proof_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/verifier/proof"
)

const origin = "log.example/penname"

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// world is a log with three witnesses of three operators and a quorum of two.
type world struct {
	t          testing.TB
	signer     note.Signer
	skey, vkey string
	keys       []ed25519.PrivateKey
	names      []string
	witnesses  []proof.WitnessKey
	log        *proof.Log

	leaves [][]byte
	hashes []tlog.Hash
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t}
	w.skey, w.vkey = logKey(t, origin, 1)
	w.signer = must(note.NewSigner(w.skey))(t)
	for i, name := range []string{"witness.example/alder", "witness.example/birch", "witness.example/cedar"} {
		key := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+i)), 32)))
		w.keys, w.names = append(w.keys, key), append(w.names, name)
		w.witnesses = append(w.witnesses, proof.WitnessKey{Name: name, Operator: fmt.Sprintf("Operator %d", i), VKey: witnessVKey(t, name, key)})
	}
	w.log = must(proof.NewLog(origin, w.vkey, w.witnesses, 2))(t)
	return w
}

// must returns a function that fails the test on an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func logKey(t testing.TB, origin string, seed byte) (skey, vkey string) {
	t.Helper()
	// C2SP signed-note, from the specification: the same key in every run.
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))
	public := append([]byte{1}, key.Public().(ed25519.PublicKey)...)
	id := sha256.Sum256(append([]byte(origin+"\n"), public...))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", origin, id[:4], encode(append([]byte{1}, key.Seed()...))),
		fmt.Sprintf("%s+%x+%s", origin, id[:4], encode(public))
}

func witnessVKey(t testing.TB, name string, key ed25519.PrivateKey) string {
	t.Helper()
	return must(torchwood.NewCosignatureSigner(name, key))(t).Verifier().String()
}

func (w *world) HashReader() tlog.HashReader {
	return tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) {
		hs := make([]tlog.Hash, len(ids))
		for i, id := range ids {
			hs[i] = w.hashes[id]
		}
		return hs, nil
	})
}

func (w *world) addBytes(leaves ...[]byte) {
	w.t.Helper()
	for _, b := range leaves {
		hs := must(tlog.StoredHashes(int64(len(w.leaves)), b, w.HashReader()))(w.t)
		w.leaves, w.hashes = append(w.leaves, b), append(w.hashes, hs...)
	}
}

func (w *world) add(leaves ...proof.Leaf) int64 {
	w.t.Helper()
	for _, l := range leaves {
		w.addBytes(must(l.Marshal())(w.t))
	}
	return int64(len(w.leaves)) - 1
}

// grow adds bundle leaves up to size n.
func (w *world) grow(n int) *world {
	w.t.Helper()
	for i := len(w.leaves); i < n; i++ {
		w.add(bundleLeaf(i))
	}
	return w
}

func bundleLeaf(i int) proof.Leaf {
	return proof.Leaf{Version: 1, Kind: proof.KindBundle, Day: "2026-11-20", Bundle: fmt.Sprintf("%064x", i)}
}

func (w *world) checkpoint(n int64) torchwood.Checkpoint {
	w.t.Helper()
	return torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: n, Hash: must(tlog.TreeHash(n, w.HashReader()))(w.t)}}
}

// sign returns the text signed by the log only.
func (w *world) sign(text string) []byte {
	w.t.Helper()
	return must(note.Sign(&note.Note{Text: text}, w.signer))(w.t)
}

// cosignature is written from C2SP tlog-cosignature, independent of the code
// under test, and can lie about everything.
func cosignature(t testing.TB, name string, key ed25519.PrivateKey, at uint64, text string) string {
	t.Helper()
	s := must(torchwood.NewCosignatureSigner(name, key))(t)
	b := binary.BigEndian.AppendUint32(nil, s.KeyHash())
	b = binary.BigEndian.AppendUint64(b, at)
	b = append(b, ed25519.Sign(key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text))...)
	return fmt.Sprintf("— %s %s\n", name, base64.StdEncoding.EncodeToString(b))
}

// cosigned returns the checkpoint of size n with the cosignatures of those
// witnesses at noon.
func (w *world) cosigned(n int64, by ...int) []byte {
	w.t.Helper()
	return w.cosignedAt(n, noon, by...)
}

// cosignedAt is cosigned at another time.
func (w *world) cosignedAt(n int64, at time.Time, by ...int) []byte {
	w.t.Helper()
	text := w.checkpoint(n).String()
	signed := w.sign(text)
	for _, i := range by {
		signed = append(signed, cosignature(w.t, w.names[i], w.keys[i], uint64(at.Unix()), text)...)
	}
	return signed
}

// proof returns the tlog-proof of a leaf under the tree of size n.
func (w *world) proof(index, n int64) []byte {
	w.t.Helper()
	return torchwood.FormatProof(index, must(tlog.ProveRecord(n, index, w.HashReader()))(w.t), w.cosigned(n, 0, 1))
}

// files lays the log out as C2SP tlog-tiles.
func (w *world) files() fstest.MapFS {
	w.t.Helper()
	return w.filesAt(int64(len(w.leaves)))
}

// filesAt is what was published when there were n leaves.
func (w *world) filesAt(n int64) fstest.MapFS {
	w.t.Helper()
	fs := fstest.MapFS{"checkpoint": {Data: w.cosigned(n, 0, 1)}}
	for level := 0; n>>(8*level) > 0; level++ {
		for from := int64(0); from < n>>(8*level); from += 256 {
			tile := tlog.Tile{H: 8, L: level, N: from / 256, W: int(min(256, n>>(8*level)-from))}
			fs[torchwood.TilePath(tile)] = &fstest.MapFile{Data: must(tlog.ReadTileData(tile, w.HashReader()))(w.t)}
			if level > 0 {
				continue
			}
			var entries []byte
			for _, leaf := range w.leaves[from : from+int64(tile.W)] {
				entries = must(torchwood.AppendTileEntry(entries, leaf))(w.t)
			}
			tile.L = -1
			fs[torchwood.TilePath(tile)] = &fstest.MapFile{Data: entries}
		}
	}
	return fs
}

func (w *world) tiles(fs fstest.MapFS) torchwood.TileReader {
	w.t.Helper()
	return must(torchwood.NewTileFS(fs))(w.t)
}

func flip(b []byte, bit int) []byte {
	b = bytes.Clone(b)
	b[bit/8] ^= 1 << (bit % 8)
	return b
}
