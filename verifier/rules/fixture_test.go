package rules

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/torchwood"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/exhibit/exhibittest"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/proof"
)

const origin = "log.example/penname"

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

const maxAge = 10 * time.Minute

// world is a log with its witnesses and custodians, and a server that can be
// told to lie. Its first bundle trusts the witnesses a and b, both of them.
type world struct {
	t          testing.TB
	signer     note.Signer
	vkey       string
	custodians []jose.JSONWebKey
	witnesses  map[string]ed25519.PrivateKey
	cosigners  []string  // who cosigns what is served
	cosignedAt time.Time // when

	leaves [][]byte
	hashes []tlog.Hash

	bundles      map[string][]byte
	endorsements map[string][]string
	fetched      []string
	entries      int // tiles of leaves that were read
}

func newWorld(t testing.TB) *world {
	t.Helper()
	skey, vkey, err := note.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 64)), origin)
	check(t, err)
	w := &world{t: t, vkey: vkey, witnesses: map[string]ed25519.PrivateKey{}, cosigners: []string{"a", "b"}, cosignedAt: noon,
		bundles: map[string][]byte{}, endorsements: map[string][]string{}}
	w.signer, err = note.NewSigner(skey)
	check(t, err)
	for range 3 {
		k, err := document.NewKey()
		check(t, err)
		w.custodians = append(w.custodians, k)
	}
	for i, name := range []string{"a", "b", "c", "d"} {
		w.witnesses[name] = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, 32))
	}
	return w
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
}

// bundle makes the bundle that comes after another, or the first, endorsed by
// the first two custodians. It is served, and not in the log.
func (w *world) bundle(after *policy.Bundle, change func(*policy.Bundle)) *policy.Bundle {
	w.t.Helper()
	raw, err := os.ReadFile("../opening/testdata/bundle.json")
	check(w.t, err)
	draft := new(policy.Bundle)
	check(w.t, json.Unmarshal(raw, draft))
	for i := range draft.Custodians {
		public, err := w.custodians[i].Public().MarshalJSON()
		check(w.t, err)
		draft.Custodians[i].ID, draft.Custodians[i].Key = fmt.Sprint("custodian-", i+1), public
	}
	draft.Log = policy.Log{Origin: origin, VKey: w.vkey, Quorum: 2}
	w.watch(draft, "a", "b")
	draft.Ceremony = ""
	exhibittest.Name(draft)
	draft.Succeed(after)
	if change != nil {
		change(draft)
	}
	if raw, err = draft.Marshal(); err != nil {
		w.t.Fatal(err, errors.Unwrap(err))
	}
	b, err := policy.ParseBundle(raw)
	check(w.t, err)
	w.bundles[b.Hash()] = raw
	w.endorsements[b.Hash()] = []string{w.endorse(b, 0), w.endorse(b, 1)}
	return b
}

// watch lets a bundle trust those witnesses.
func (w *world) watch(b *policy.Bundle, names ...string) {
	b.Log.Witnesses = nil
	for _, name := range names {
		b.Log.Witnesses = append(b.Log.Witnesses, policy.Witness{Name: name, Operator: "Operator " + name, VKey: w.witness(name).String()})
	}
}

func (w *world) endorse(b *policy.Bundle, custodian int) string {
	w.t.Helper()
	signed, err := policy.SignEndorsement(w.custodians[custodian], fmt.Sprint("custodian-", custodian+1), b.Hash(), noon)
	check(w.t, err)
	return signed
}

// log appends the leaves of bundles.
func (w *world) log(bundles ...*policy.Bundle) {
	w.t.Helper()
	for _, b := range bundles {
		w.leaf(proof.BundleLeaf(noon, b.Hash()))
	}
}

// others appends n leaves that are no bundles.
func (w *world) others(n int) {
	w.t.Helper()
	for i := range n {
		w.leaf(proof.ErasedLeaf(noon, [32]byte{1}, fmt.Sprint("label", len(w.leaves), i)))
	}
}

func (w *world) leaf(l proof.Leaf) {
	w.t.Helper()
	b, err := l.Marshal()
	check(w.t, err)
	hs, err := tlog.StoredHashes(int64(len(w.leaves)), b, w)
	check(w.t, err)
	w.leaves, w.hashes = append(w.leaves, b), append(w.hashes, hs...)
}

// ReadHashes implements tlog.HashReader.
func (w *world) ReadHashes(ids []int64) ([]tlog.Hash, error) {
	hs := make([]tlog.Hash, len(ids))
	for i, id := range ids {
		hs[i] = w.hashes[id]
	}
	return hs, nil
}

// ReadEndpoint implements torchwood.TileReader: the log as it is now.
func (w *world) ReadEndpoint(ctx context.Context, path string) ([]byte, error) {
	return w.served().ReadEndpoint(ctx, path)
}

// ReadTiles implements torchwood.TileReader.
func (w *world) ReadTiles(ctx context.Context, tiles []tlog.Tile) ([][]byte, error) {
	for _, tile := range tiles {
		if tile.L < 0 {
			w.entries++
		}
	}
	return w.served().ReadTiles(ctx, tiles)
}

// SaveTiles implements torchwood.TileReader.
func (w *world) SaveTiles([]tlog.Tile, [][]byte) {}

func (w *world) served() torchwood.TileReader {
	w.t.Helper()
	n := int64(len(w.leaves))
	root, err := tlog.TreeHash(n, w)
	check(w.t, err)
	text := torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: n, Hash: root}}.String()
	signed, err := note.Sign(&note.Note{Text: text}, w.signer)
	check(w.t, err)
	for _, name := range w.cosigners {
		signed = append(signed, w.cosignature(name, text)...)
	}
	files := fstest.MapFS{"checkpoint": {Data: signed}}
	for level := 0; n>>(8*level) > 0; level++ {
		for from := int64(0); from < n>>(8*level); from += 256 {
			tile := tlog.Tile{H: 8, L: level, N: from / 256, W: int(min(256, n>>(8*level)-from))}
			data, err := tlog.ReadTileData(tile, w)
			check(w.t, err)
			files[torchwood.TilePath(tile)] = &fstest.MapFile{Data: data}
			if level > 0 {
				continue
			}
			var entries []byte
			for _, leaf := range w.leaves[from : from+int64(tile.W)] {
				entries, err = torchwood.AppendTileEntry(entries, leaf)
				check(w.t, err)
			}
			tile.L = -1
			files[torchwood.TilePath(tile)] = &fstest.MapFile{Data: entries}
		}
	}
	reader, err := torchwood.NewTileFS(files)
	check(w.t, err)
	return reader
}

func (w *world) witness(name string) *torchwood.CosignatureVerifier {
	w.t.Helper()
	s, err := torchwood.NewCosignatureSigner("witness.example/"+name, w.witnesses[name])
	check(w.t, err)
	return s.Verifier()
}

// cosignature is a line as C2SP tlog-cosignature has it, of w.cosignedAt.
func (w *world) cosignature(name, text string) string {
	at := uint64(w.cosignedAt.Unix())
	b := binary.BigEndian.AppendUint32(nil, w.witness(name).KeyHash())
	b = binary.BigEndian.AppendUint64(b, at)
	b = append(b, ed25519.Sign(w.witnesses[name], fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text))...)
	return fmt.Sprintf("— witness.example/%s %s\n", name, base64.StdEncoding.EncodeToString(b))
}

// fetch serves bundles by hash.
func (w *world) fetch(_ context.Context, hash string) ([]byte, []string, error) {
	w.fetched = append(w.fetched, hash)
	raw, ok := w.bundles[hash]
	if !ok {
		return nil, nil, errors.New("not found")
	}
	return raw, w.endorsements[hash], nil
}

// fork is a second log with the same keys and bundles, and the same first leaves.
func (w *world) fork(leaves int) *world {
	f := *w
	f.leaves, f.hashes, f.bundles = nil, nil, maps.Clone(w.bundles)
	for _, b := range w.leaves[:leaves] {
		hs, err := tlog.StoredHashes(int64(len(f.leaves)), b, &f)
		check(w.t, err)
		f.leaves, f.hashes = append(f.leaves, b), append(f.hashes, hs...)
	}
	return &f
}

func (w *world) history(trusted *policy.Bundle) *History {
	w.t.Helper()
	h, err := New(trusted, w, w.fetch)
	check(w.t, err)
	return h
}

func newWorldSigner(t testing.TB) note.Signer {
	t.Helper()
	skey, _, err := note.GenerateKey(rand.Reader, origin)
	check(t, err)
	s, err := note.NewSigner(skey)
	check(t, err)
	return s
}
