package witness_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/witness"
	"github.com/penname/penname/verifier/proof"
)

const origin = "log.example/penname"

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return noon }

// world is a log and the names and keys of two witnesses.
type world struct {
	t         testing.TB
	signer    note.Signer
	vkey      string
	keys      []ed25519.PrivateKey
	names     []string
	witnesses []proof.WitnessKey

	size   int64
	hashes []tlog.Hash
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t}
	skey, vkey := logKey(origin, 1)
	w.signer, w.vkey = must(note.NewSigner(skey))(t), vkey
	for i, name := range []string{"witness.example/alder", "witness.example/birch"} {
		key := ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+i)), 32)))
		w.keys, w.names = append(w.keys, key), append(w.names, name)
		w.witnesses = append(w.witnesses, proof.WitnessKey{Name: name, Operator: name, VKey: must(torchwood.NewCosignatureSigner(name, key))(t).Verifier().String()})
	}
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

// logKey is written from C2SP signed-note: the same key in every run.
func logKey(origin string, seed byte) (skey, vkey string) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))
	public := append([]byte{1}, key.Public().(ed25519.PublicKey)...)
	id := sha256.Sum256(append([]byte(origin+"\n"), public...))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("PRIVATE+KEY+%s+%x+%s", origin, id[:4], encode(append([]byte{1}, key.Seed()...))),
		fmt.Sprintf("%s+%x+%s", origin, id[:4], encode(public))
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

func (w *world) add(leaf string) {
	w.t.Helper()
	w.hashes = append(w.hashes, must(tlog.StoredHashes(w.size, []byte(leaf), w.HashReader()))(w.t)...)
	w.size++
}

// grow adds leaves up to size n.
func (w *world) grow(n int64) *world {
	w.t.Helper()
	for w.size < n {
		w.add(fmt.Sprint("leaf ", w.size))
	}
	return w
}

func (w *world) checkpoint(n int64) torchwood.Checkpoint {
	w.t.Helper()
	return torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: n, Hash: must(tlog.TreeHash(n, w.HashReader()))(w.t)}}
}

// sign returns the text signed by the log.
func (w *world) sign(text string) []byte {
	w.t.Helper()
	return must(note.Sign(&note.Note{Text: text}, w.signer))(w.t)
}

// signed returns the checkpoint of size n, signed by the log.
func (w *world) signed(n int64) []byte { return w.sign(w.checkpoint(n).String()) }

// store is a witness.Store in memory with a switch for faults.
type store struct {
	mu         sync.Mutex
	state      []byte
	evidence   []witness.Evidence
	fault      string // "", "fails", "fails but persisted"
	beforeSwap func()
}

var errFault = errors.New("injected fault")

func (s *store) Load(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == "cannot be read" {
		return nil, errFault
	}
	return s.state, nil
}

func (s *store) Swap(_ context.Context, old, new []byte) error {
	if s.beforeSwap != nil {
		s.beforeSwap()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if string(s.state) != string(old) {
		return witness.ErrChanged
	}
	if s.fault == "fails" {
		return errFault
	}
	s.state = new
	if s.fault != "" {
		return errFault
	}
	return nil
}

func (s *store) Keep(_ context.Context, e witness.Evidence) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != "" {
		return errFault
	}
	s.evidence = append(s.evidence, e)
	return nil
}
