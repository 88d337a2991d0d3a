package translogtest

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/verifier/proof"
)

// Update runs f in one transaction, which commits if f returns nil.
type Update = func(ctx context.Context, f func(translog.Tx) error) error

// Open returns a new, empty log for one test.
type Open = func(t *testing.T) (translog.Store, Update)

// TestStore is the conformance suite of [translog.Store] and [translog.Tx].
func TestStore(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, translog.Store, Update){
		"EmptyLog":                       testEmpty,
		"AppendedLeavesAreRead":          testAppend,
		"TwoLeavesInOneTransaction":      testTwoInOne,
		"ManyLeavesAtOnce":               testMany,
		"RolledBackLeafLeavesNoTrace":    testRollback,
		"UncommittedLeafIsInvisible":     testIsolation,
		"ConcurrentAppendsAreDense":      testConcurrent,
		"InsertRefusesTakenIndexAndGap":  testInsert,
		"CheckpointOnlyGrows":            testCheckpoint,
		"CheckpointRaceKeepsTheLargest":  testCheckpointRace,
		"CancelledContextChangesNothing": testCancelled,
	} {
		t.Run(name, func(t *testing.T) {
			store, update := open(t)
			test(t, store, update)
		})
	}
}

// Leaf returns the n'th of an endless sequence of valid leaves.
func Leaf(n int) proof.Leaf {
	return proof.BundleLeaf(time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), fmt.Sprintf("%064x", n))
}

// Append appends the leaves [from, to) of [Leaf], one transaction each.
func Append(t testing.TB, update Update, from, to int) {
	t.Helper()
	for n := from; n < to; n++ {
		ctx := t.Context()
		if err := update(ctx, func(tx translog.Tx) error {
			index, err := translog.Sequence(ctx, tx, Leaf(n))
			if err == nil && index != int64(n) {
				err = fmt.Errorf("index %d for leaf %d", index, n)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// CheckLog fails the test unless leaves and hashes of the store are one
// correct tree, and returns it.
func CheckLog(t testing.TB, store translog.Store) tlog.Tree {
	t.Helper()
	ctx := t.Context()
	size, err := store.Size(ctx)
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := store.Leaves(ctx, 0, size)
	if err != nil || int64(len(leaves)) != size {
		t.Fatalf("%d leaves of %d: %v", len(leaves), size, err)
	}
	var hashes []tlog.Hash
	for n, leaf := range leaves {
		h, err := tlog.StoredHashes(int64(n), leaf, tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) {
			var hs []tlog.Hash
			for _, id := range ids {
				hs = append(hs, hashes[id])
			}
			return hs, nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, h...)
	}
	ids := make([]int64, len(hashes))
	for i := range ids {
		ids[i] = int64(len(ids) - 1 - i) // descending: the order of the answer is that of the question
	}
	stored := []tlog.Hash{}
	if len(ids) > 0 {
		if stored, err = store.ReadHashes(ctx, ids); err != nil {
			t.Fatal(err)
		}
	}
	for i, id := range ids {
		if stored[i] != hashes[id] {
			t.Fatalf("hash %d differs from the leaves", id)
		}
	}
	root, err := tlog.TreeHash(size, tlog.HashReaderFunc(func(ids []int64) ([]tlog.Hash, error) { return store.ReadHashes(ctx, ids) }))
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Tree{N: size, Hash: root}
}

func testEmpty(t *testing.T, s translog.Store, _ Update) {
	ctx := t.Context()
	if n, err := s.Size(ctx); n != 0 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	if n, signed, err := s.Checkpoint(ctx); n != 0 || signed != nil || err != nil {
		t.Errorf("checkpoint %d, %q, %v", n, signed, err)
	}
	if l, err := s.Leaves(ctx, 0, 0); len(l) != 0 || err != nil {
		t.Errorf("leaves %d, %v", len(l), err)
	}
	if _, err := s.Leaves(ctx, 0, 1); !errors.Is(err, translog.ErrNoLeaf) {
		t.Errorf("leaf 0 of an empty log: %v", err)
	}
	if _, err := s.ReadHashes(ctx, []int64{0}); err == nil {
		t.Error("hash 0 of an empty log was read")
	}
}

func testAppend(t *testing.T, s translog.Store, u Update) {
	const n = 300 // more than one tile
	Append(t, u, 0, n)
	if tree := CheckLog(t, s); tree.N != n {
		t.Fatalf("size %d", tree.N)
	}
	leaves, err := s.Leaves(t.Context(), 255, 258)
	if err != nil || len(leaves) != 3 {
		t.Fatalf("%d leaves, %v", len(leaves), err)
	}
	for i, l := range leaves {
		if want, _ := Leaf(255 + i).Marshal(); !bytes.Equal(l, want) {
			t.Errorf("leaf %d is not byte for byte what was appended", 255+i)
		}
	}
	for _, r := range [][2]int64{{-1, 1}, {n, n + 1}, {n - 1, n + 1}, {5, 4}} {
		if _, err := s.Leaves(t.Context(), r[0], r[1]); !errors.Is(err, translog.ErrNoLeaf) {
			t.Errorf("leaves %v: %v", r, err)
		}
	}
	if hs, err := s.ReadHashes(t.Context(), []int64{7, 0, 7}); err != nil || len(hs) != 3 || hs[0] != hs[2] {
		t.Errorf("repeated ids: %v", err)
	}
	if _, err := s.ReadHashes(t.Context(), []int64{0, 1 << 40}); err == nil {
		t.Error("a missing hash was left out silently")
	}
}

func testTwoInOne(t *testing.T, s translog.Store, u Update) {
	ctx := t.Context()
	if err := u(ctx, func(tx translog.Tx) error {
		for n := range 5 {
			if i, err := translog.Sequence(ctx, tx, Leaf(n)); err != nil || i != int64(n) {
				return fmt.Errorf("leaf %d got index %d: %w", n, i, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if tree := CheckLog(t, s); tree.N != 5 {
		t.Fatalf("size %d", tree.N)
	}
}

// Those that do not fit are left out, and the others are as if each came alone.
func testMany(t *testing.T, s translog.Store, u Update) {
	ctx, size := t.Context(), int64(0)
	for n, group := range []int{1, 2, 1, 5, 300, 3} {
		var entries []translog.Entry
		for i := range group {
			e, err := translog.Prepare(Leaf(int(size) + i))
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, e)
		}
		late, err := translog.Prepare(proof.BundleLeaf(time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC), fmt.Sprintf("%064x", n)))
		if err != nil {
			t.Fatal(err)
		}
		refused := -1
		if size > 0 { // in an empty log every day is the first
			refused = group / 2
			entries = slices.Insert(entries, refused, late)
		}
		var placed []translog.Placed
		if err := u(ctx, func(tx translog.Tx) (err error) {
			placed, err = translog.SequenceAll(ctx, tx, entries)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		next := size
		for i, p := range placed {
			if i == refused {
				if !errors.Is(p.Err, translog.ErrOrder) {
					t.Errorf("the day before: index %d, %v", p.Index, p.Err)
				}
				continue
			}
			if p.Err != nil || p.Index != next {
				t.Errorf("index %d, want %d: %v", p.Index, next, p.Err)
			}
			next++
		}
		size += int64(group)
		if tree := CheckLog(t, s); tree.N != size {
			t.Fatalf("%d leaves, want %d", tree.N, size)
		}
	}
}

func testRollback(t *testing.T, s translog.Store, u Update) {
	ctx, stop := t.Context(), errors.New("the state change failed")
	Append(t, u, 0, 6)
	before := CheckLog(t, s)
	if err := u(ctx, func(tx translog.Tx) error {
		for n := 6; n < 9; n++ {
			if _, err := translog.Sequence(ctx, tx, Leaf(n)); err != nil {
				return err
			}
		}
		return stop
	}); !errors.Is(err, stop) {
		t.Fatalf("update returned %v", err)
	}
	if after := CheckLog(t, s); after != before {
		t.Fatal("the rolled back leaves left a trace")
	}
	Append(t, u, 6, 9) // gets the same indexes
}

func testIsolation(t *testing.T, s translog.Store, u Update) {
	ctx := t.Context()
	Append(t, u, 0, 3)
	if err := u(ctx, func(tx translog.Tx) error {
		if _, err := translog.Sequence(ctx, tx, Leaf(3)); err != nil {
			return err
		}
		if b, err := tx.Leaf(ctx, 3); err != nil || len(b) == 0 {
			return fmt.Errorf("own leaf is not read back: %w", err)
		}
		if _, err := tx.Leaf(ctx, 4); !errors.Is(err, translog.ErrNoLeaf) {
			return fmt.Errorf("leaf 4: %w", err)
		}
		if n, err := s.Size(ctx); err != nil || n != 3 {
			return fmt.Errorf("an uncommitted leaf counts: size %d, %w", n, err)
		}
		if _, err := s.Leaves(ctx, 3, 4); !errors.Is(err, translog.ErrNoLeaf) {
			return fmt.Errorf("an uncommitted leaf is read: %w", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func testConcurrent(t *testing.T, s translog.Store, u Update) {
	const workers, each = 8, 10
	ctx := t.Context()
	var wg sync.WaitGroup
	indexes := make([][]int64, workers)
	for w := range workers {
		wg.Go(func() {
			for n := range each {
				var index int64
				if err := u(ctx, func(tx translog.Tx) (err error) {
					index, err = translog.Sequence(ctx, tx, Leaf(w*each+n))
					return err
				}); err != nil {
					t.Error(err)
					return
				}
				indexes[w] = append(indexes[w], index)
			}
		})
	}
	wg.Wait()
	all := slices.Concat(indexes...)
	slices.Sort(all)
	for i, index := range all {
		if index != int64(i) {
			t.Fatalf("index %d was given out twice or skipped", i)
		}
	}
	if tree := CheckLog(t, s); tree.N != workers*each {
		t.Fatalf("size %d", tree.N)
	}
}

func testInsert(t *testing.T, s translog.Store, u Update) {
	ctx := t.Context()
	Append(t, u, 0, 3)
	before := CheckLog(t, s)
	leaf, _ := Leaf(9).Marshal()
	for _, index := range []int64{-1, 0, 2, 4} {
		if err := u(ctx, func(tx translog.Tx) error {
			if _, err := tx.LockSize(ctx); err != nil {
				return err
			}
			return tx.Insert(ctx, index, [][]byte{leaf}, []tlog.Hash{tlog.RecordHash(leaf)})
		}); err == nil {
			t.Errorf("inserted at %d into a log of size 3", index)
		}
	}
	if after := CheckLog(t, s); after != before {
		t.Error("a refused insert changed the log")
	}
}

// checkpoint is unsigned: a Store does not check signatures.
func checkpoint(size int64, root byte, signature string) []byte {
	c := torchwood.Checkpoint{Origin: "log.example/conformance", Tree: tlog.Tree{N: size, Hash: tlog.Hash{root}}}
	return []byte(c.String() + "\n— log.example/conformance " + hex.EncodeToString([]byte(signature)) + "\n")
}

func testCheckpoint(t *testing.T, s translog.Store, u Update) {
	ctx := t.Context()
	Append(t, u, 0, 9)
	for _, step := range []struct {
		what string
		size int64
		root byte
		sigs string
		want error
	}{
		{"first", 4, 4, "one", nil},
		{"same again", 4, 4, "one", nil},
		{"fresher signatures", 4, 4, "two", nil},
		{"larger", 7, 7, "three", nil},
		{"smaller", 4, 4, "two", translog.ErrRollback},
		{"two roots at one size", 7, 8, "four", translog.ErrFork},
		{"larger again", 9, 9, "five", nil},
	} {
		size, signed, err := s.Checkpoint(ctx)
		if err != nil {
			t.Fatal(err)
		}
		want := checkpoint(step.size, step.root, step.sigs)
		if err := s.SaveCheckpoint(ctx, step.size, want); !errors.Is(err, step.want) {
			t.Fatalf("%s: %v", step.what, err)
		}
		if step.want != nil {
			step.size, want = size, signed
		}
		if size, signed, err = s.Checkpoint(ctx); err != nil || size != step.size || !bytes.Equal(signed, want) {
			t.Fatalf("%s: saved size %d, %v", step.what, size, err)
		}
	}
}

func testCheckpointRace(t *testing.T, s translog.Store, u Update) {
	ctx := t.Context()
	Append(t, u, 0, 20)
	var wg sync.WaitGroup
	for size := int64(1); size <= 20; size++ {
		wg.Go(func() {
			err := s.SaveCheckpoint(ctx, size, checkpoint(size, byte(size), "race"))
			if err != nil && !errors.Is(err, translog.ErrRollback) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if size, signed, err := s.Checkpoint(ctx); size != 20 || err != nil || !bytes.Equal(signed, checkpoint(20, 20, "race")) {
		t.Fatalf("saved size %d, %v", size, err)
	}
}

func testCancelled(t *testing.T, s translog.Store, u Update) {
	Append(t, u, 0, 2)
	ctx, cancel := context.WithCancel(t.Context())
	err := u(ctx, func(tx translog.Tx) error {
		_, err := translog.Sequence(ctx, tx, Leaf(2))
		cancel()
		return err
	})
	if err == nil {
		t.Error("committed under a cancelled context")
	}
	if tree := CheckLog(t, s); tree.N != 2 {
		t.Fatalf("size %d", tree.N)
	}
}
