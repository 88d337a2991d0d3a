package translog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/escrow/translog/translogtest"
	"github.com/penname/penname/verifier/proof"
)

// mirrored publishes and makes a mirror.
func (w *world) mirrored() string {
	w.t.Helper()
	dir := w.t.TempDir()
	must(w.publisher.Publish(w.t.Context()))(w.t)
	must(w.log.Mirror(w.t.Context(), translog.Tiles(w.mem), dir, nil))(w.t)
	return dir
}

// backup is the log as it was at a size.
func (w *world) backup(size int64) *translogtest.Memory {
	w.t.Helper()
	m := new(translogtest.Memory)
	restore(m)(w.t.Context(), 0, must(w.mem.Leaves(w.t.Context(), 0, size))(w.t))
	return m
}

// restore appends leaves as they are, all or none.
func restore(m *translogtest.Memory) func(context.Context, int64, [][]byte) error {
	return func(ctx context.Context, from int64, leaves [][]byte) error {
		return m.Update(ctx, func(tx translog.Tx) error {
			for i, raw := range leaves {
				leaf, err := proof.ParseLeaf(raw)
				if err != nil {
					return err
				}
				if index, err := translog.Sequence(ctx, tx, leaf); err != nil || index != from+int64(i) {
					return fmt.Errorf("leaf went to %d: %w", index, err)
				}
			}
			return nil
		})
	}
}

func (w *world) reconcile(dir string, m *translogtest.Memory) (translog.Reconciliation, error) {
	return translog.Reconcile(w.t.Context(), w.log, dir, m, func(string) bool { return true }, restore(m), nil)
}

// F21: a backup of any age becomes the published log again, and the witnesses, who
// refused it before, cosign it.
func TestReconcile(t *testing.T) {
	for _, c := range []struct{ backup, size int }{{0, 1}, {1, 2}, {255, 257}, {256, 300}, {0, 700}, {3, 700}, {700, 700}} {
		w := newWorld(t)
		w.append(0, c.size)
		dir := w.mirrored()
		m := w.backup(int64(c.backup))
		if c.backup < c.size {
			if _, err := w.open(m).Publish(t.Context()); err == nil || w.alarmed(translog.ErrRollback) != 3 {
				t.Fatalf("%+v: the witnesses cosign a smaller log: %v", c, err)
			}
		}
		r, err := w.reconcile(dir, m)
		if err != nil || r.Before != int64(c.backup) || r.Size != int64(c.size) {
			t.Fatalf("%+v: %+v, %v, %v", c, r, err, errors.Unwrap(err))
		}
		want := must(w.mem.Leaves(t.Context(), 0, int64(c.size)))(t)
		if have := must(m.Leaves(t.Context(), 0, int64(c.size)))(t); !slices.EqualFunc(have, want, bytes.Equal) {
			t.Fatalf("%+v: the leaves are others", c)
		}
		translogtest.Append(t, m.Update, c.size, c.size+2)
		if got, err := w.open(m).Publish(t.Context()); err != nil || got.N != int64(c.size)+2 {
			t.Fatalf("%+v: %d, %v", c, got.N, err)
		}
	}
}

// What is not the published log, or not the same log, changes nothing.
func TestReconcileRefuses(t *testing.T) {
	w := newWorld(t)
	w.append(0, 400)
	dir := w.mirrored()
	w.append(400, 500)
	if _, err := w.publisher.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}

	stranger := newWorld(t)
	stranger.append(0, 450)
	fork, long := w.backup(300), w.backup(300)
	for n := range 160 {
		for m, limit := range map[*translogtest.Memory]int{fork: 5, long: 160} {
			err := m.Update(t.Context(), func(tx translog.Tx) error {
				if n >= limit {
					return nil
				}
				_, err := translog.Sequence(t.Context(), tx, translogtest.Leaf(1000+n))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	ahead := w.backup(450)
	if r, err := w.reconcile(dir, ahead); err != nil || r.Before != 450 || r.Size != 400 {
		t.Errorf("a mirror that is older than the database: %+v, %v", r, err)
	}

	damaged := func(name string, at int) string {
		t.Helper()
		dir := w.mirrored()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		b[(at+len(b))%len(b)] ^= 1
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for name, c := range map[string]struct {
		dir   string
		store *translogtest.Memory
		has   bool
		want  error
	}{
		"fork":                           {dir, fork, true, translog.ErrFork},
		"fork longer than the mirror":    {dir, long, true, translog.ErrFork},
		"another log":                    {stranger.mirrored(), w.backup(300), true, proof.ErrLog},
		"no mirror":                      {t.TempDir(), w.backup(300), true, proof.ErrFetch},
		"no folder":                      {filepath.Join(dir, "nothing"), w.backup(300), true, proof.ErrMirror},
		"rules missing":                  {dir, w.backup(300), false, translog.ErrRules},
		"bit of the last leaf":           {damaged("tile/entries/001.p/244", -1), w.backup(300), true, proof.ErrTile},
		"bit of an older hash":           {damaged("tile/0/001.p/244", 5), w.backup(300), true, proof.ErrTile},
		"bit of the checkpoint's root":   {damaged("checkpoint", len(origin)+10), w.backup(300), true, proof.ErrSignature},
		"bit of a leaf beyond one batch": {damaged("tile/entries/001.p/244", -1), w.backup(10), true, proof.ErrTile},
	} {
		before := must(c.store.Size(t.Context()))(t)
		_, err := translog.Reconcile(t.Context(), w.log, c.dir, c.store, func(string) bool { return c.has }, restore(c.store), nil)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if after := must(c.store.Size(t.Context()))(t); after != before {
			t.Errorf("%s: %d leaves were appended", name, after-before)
		}
	}
}

// Killed between any two batches, or with an answer lost, it goes on where it
// was; until it is through the witnesses refuse.
func TestReconcileResumes(t *testing.T) {
	w := newWorld(t)
	w.append(0, 1500)
	dir := w.mirrored()
	for _, persisted := range []bool{false, true} {
		m, kills := w.backup(100), 0
		for {
			batches := 0
			_, err := translog.Reconcile(t.Context(), w.log, dir, m, func(string) bool { return true }, func(ctx context.Context, from int64, leaves [][]byte) error {
				if batches++; batches == 2 {
					if persisted {
						if err := restore(m)(ctx, from, leaves); err != nil {
							t.Fatal(err)
						}
					}
					return errFault
				}
				return restore(m)(ctx, from, leaves)
			}, nil)
			if err == nil {
				break
			}
			if !errors.Is(err, errFault) {
				t.Fatal(err)
			}
			kills++
			if size := must(m.Size(t.Context()))(t); size < 1500 {
				if _, err := w.open(m).Publish(t.Context()); err == nil {
					t.Fatalf("published with %d leaves", size)
				}
			}
		}
		if kills < 2 {
			t.Errorf("killed %d times only", kills)
		}
		if c, err := w.open(m).Publish(t.Context()); err != nil || c.N != 1500 {
			t.Errorf("%d, %v", c.N, err)
		}
	}
}
