package command

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
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

// observed is a log that is served as a registrar serves it, and can be told to lie.
type observed struct {
	t       testing.TB
	signer  note.Signer
	keys    map[string]ed25519.PrivateKey // of the witnesses, by name
	names   []string
	bundle  *policy.Bundle
	file    string // of the bundle
	endorse []string
	server  *httptest.Server
	down    bool // the server answers nothing

	mu     sync.Mutex
	now    time.Time
	served *history // what the server shows
	asked  []string // paths
	left   int      // requests that are answered still; -1: all
}

// history is one log: its leaves, and when it was cosigned. Two of one observed are a fork.
type history struct {
	o        *observed
	leaves   [][]byte
	hashes   []tlog.Hash
	cosigned time.Time
}

func newObserved(t testing.TB) *observed {
	t.Helper()
	o := &observed{t: t, left: -1, keys: map[string]ed25519.PrivateKey{}, now: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)}
	raw, err := os.ReadFile("../../../verifier/opening/testdata/bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	draft := new(policy.Bundle)
	if err := json.Unmarshal(raw, draft); err != nil {
		t.Fatal(err)
	}
	skey, vkey, err := note.GenerateKey(nil, draft.Log.Origin)
	if err != nil {
		t.Fatal(err)
	}
	if o.signer, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	draft.Log.VKey, draft.Ceremony = vkey, ""
	for i, w := range draft.Log.Witnesses {
		o.keys[w.Name] = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, 32))
		s, err := torchwood.NewCosignatureSigner(w.Name, o.keys[w.Name])
		if err != nil {
			t.Fatal(err)
		}
		draft.Log.Witnesses[i].VKey = s.Verifier().String()
		o.names = append(o.names, w.Name)
	}
	var keys []jose.JSONWebKey
	for i := range draft.Custodians {
		key, err := document.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		public, err := key.Public().MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		draft.Custodians[i].Key, keys = public, append(keys, key)
	}
	exhibittest.Name(draft)
	o.server = httptest.NewServer(o)
	t.Cleanup(o.server.Close)
	draft.Registrar = o.server.URL
	draft.Succeed(nil)
	if raw, err = draft.Marshal(); err != nil {
		t.Fatal(err)
	}
	if o.bundle, err = policy.ParseBundle(raw); err != nil {
		t.Fatal(err)
	}
	for i, c := range o.bundle.Custodians[:2] {
		signed, err := policy.SignEndorsement(keys[i], c.ID, o.bundle.Hash(), o.now)
		if err != nil {
			t.Fatal(err)
		}
		o.endorse = append(o.endorse, signed)
	}
	o.file = filepath.Join(t.TempDir(), "bundle.json")
	if err := os.WriteFile(o.file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	o.served = &history{o: o, cosigned: o.now}
	o.served.add(proof.BundleLeaf(o.now, o.bundle.Hash()))
	return o
}

// ReadHashes implements tlog.HashReader.
func (h *history) ReadHashes(ids []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(ids))
	for i, id := range ids {
		hashes[i] = h.hashes[id]
	}
	return hashes, nil
}

// add appends leaves, cosigned at the time of the observed, and returns the index of the last.
func (h *history) add(leaves ...proof.Leaf) int64 {
	h.o.t.Helper()
	for _, l := range leaves {
		b, err := l.Marshal()
		if err != nil {
			h.o.t.Fatal(err, l)
		}
		h.bytes(b)
	}
	return int64(len(h.leaves)) - 1
}

func (h *history) bytes(b []byte) {
	h.o.t.Helper()
	hashes, err := tlog.StoredHashes(int64(len(h.leaves)), b, h)
	if err != nil {
		h.o.t.Fatal(err)
	}
	h.leaves, h.hashes, h.cosigned = append(h.leaves, b), append(h.hashes, hashes...), h.o.now
}

// opened adds a production of one pen name, from the warrant to the release, and returns its
// index.
func (h *history) opened(secrecyEnds time.Time) int64 {
	h.o.t.Helper()
	return h.released(h.recorded(proof.Production, secrecyEnds))
}

func caseSalt(index int64) [32]byte { return [32]byte{byte(index), 1} }

// recorded adds a warrant about one pen name.
func (h *history) recorded(kind string, secrecyEnds time.Time) int64 {
	h.o.t.Helper()
	return h.add(proof.RecordedLeaf(h.o.now, proof.Facets{Jurisdiction: "GB", OffenceClass: "threats-to-life", WarrantKind: kind, Bundle: h.o.bundle.Hash(),
		Quorum: h.o.bundle.Threshold, Salt: caseSalt(int64(len(h.leaves))), Warrant: "a.b.c", SecrecyEnds: secrecyEnds,
		Targets: []proof.Target{{Pseudonym: "pen1a", Platform: "town-square"}}}))
}

// released adds two custodians' decisions, what they come to, and the release.
func (h *history) released(index int64) int64 {
	h.o.t.Helper()
	recorded, err := proof.ParseLeaf(h.leaves[index])
	if err != nil {
		h.o.t.Fatal(err)
	}
	when := proof.WarrantKindOf(recorded.WarrantKind).When(h.o.now)
	var all []proof.Opened
	for _, c := range h.o.bundle.Custodians[:2] {
		d := proof.Decision{Custodian: c.ID, Votes: proof.AllMarks(1), Signed: fmt.Appendf(nil, "%s %d", c.ID, index)}
		all = append(all, d.Open(caseSalt(index), h.add(proof.DecisionLeaf(h.o.now, index, caseSalt(index), d))))
	}
	h.add(proof.DecidedLeaf(h.o.now, index, proof.AllMarks(1), all).On(when), proof.ReleasedLeaf(h.o.now, index, caseSalt(index), proof.AllMarks(1)).On(when))
	return index
}

// fork is another history with the same first leaves.
func (h *history) fork(leaves int) *history {
	f := &history{o: h.o, cosigned: h.cosigned}
	for _, b := range h.leaves[:leaves] {
		f.bytes(b)
	}
	return f
}

// checkpoint is that of the first leaves, cosigned by the first two witnesses.
func (h *history) checkpoint(size int) []byte {
	h.o.t.Helper()
	root, err := tlog.TreeHash(int64(size), h)
	if err != nil {
		h.o.t.Fatal(err)
	}
	text := torchwood.Checkpoint{Origin: h.o.bundle.Log.Origin, Tree: tlog.Tree{N: int64(size), Hash: root}}.String()
	signed, err := note.Sign(&note.Note{Text: text}, h.o.signer)
	if err != nil {
		h.o.t.Fatal(err)
	}
	for _, name := range h.o.names[:2] {
		signed = append(signed, h.cosignature(name, text)...)
	}
	return signed
}

// cosignature is a line as C2SP tlog-cosignature has it, written from there.
func (h *history) cosignature(name, text string) string {
	s, err := torchwood.NewCosignatureSigner(name, h.o.keys[name])
	if err != nil {
		h.o.t.Fatal(err)
	}
	at := uint64(h.cosigned.Unix())
	b := binary.BigEndian.AppendUint32(nil, s.KeyHash())
	b = binary.BigEndian.AppendUint64(b, at)
	b = append(b, ed25519.Sign(h.o.keys[name], fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text))...)
	return fmt.Sprintf("— %s %s\n", name, base64.StdEncoding.EncodeToString(b))
}

// tile is one as C2SP tlog-tiles has it, or nil.
func (h *history) tile(path string) []byte {
	t, err := torchwood.ParseTilePath(path)
	n := int64(len(h.leaves))
	if err != nil || t.N*torchwood.TileWidth+int64(t.W) > n>>(8*max(t.L, 0)) {
		return nil
	}
	if t.L < 0 {
		var data []byte
		for _, leaf := range h.leaves[t.N*torchwood.TileWidth:][:t.W] {
			if data, err = torchwood.AppendTileEntry(data, leaf); err != nil {
				h.o.t.Fatal(err)
			}
		}
		return data
	}
	data, err := tlog.ReadTileData(t, h)
	if err != nil {
		return nil
	}
	return data
}

// ServeHTTP is the registrar, as far as whoever watches the log asks it.
func (o *observed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, r.URL.Path)
	var b []byte
	if o.left > 0 {
		o.left--
	}
	switch path := r.URL.Path; {
	case o.down || o.left == 0:
	case path == "/log/checkpoint":
		b = o.served.checkpoint(len(o.served.leaves))
	case strings.HasPrefix(path, "/log/"):
		b = o.served.tile(strings.TrimPrefix(path, "/log/"))
	case path == "/v1/bundles/"+o.bundle.Hash():
		b, _ = o.bundle.Marshal() //nolint:errcheck // it was parsed
	case path == "/v1/bundles/"+o.bundle.Hash()+"/endorsements":
		b, _ = json.Marshal(map[string]any{"endorsements": o.endorse}) //nolint:errcheck // texts
	}
	if b == nil {
		http.NotFound(w, r)
		return
	}
	w.Write(b) //nolint:errcheck // a client that went away
}

// after lets so many requests be answered, less one, and -1 all.
func (o *observed) after(requests int) { o.left = requests }

// at sets the time, as the program sees it.
func (o *observed) at(t time.Time) { o.now = t }

// run runs the program at that time, with the bundle.
func (o *observed) run(args ...string) result {
	o.t.Helper()
	var out, errs bytes.Buffer
	code := Run(o.t.Context(), append(args, "--bundle", o.file), Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, HTTP: &http.Client{},
		Now: func() time.Time { return o.now }})
	return result{out.String(), errs.String(), code}
}
