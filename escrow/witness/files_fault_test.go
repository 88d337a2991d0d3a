package witness

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// F04: a sync that failed says nothing about the disk, and the next one that
// succeeds neither. The store is dead until it is opened again.
func TestF04FailedSyncStopsTheWitness(t *testing.T) {
	eio := errors.New("input/output error")
	for name, failAt := range map[string]int{"F04 of the file": 1, "F04 of the directory": 2} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "witness")
			if err := InitFiles(dir); err != nil {
				t.Fatal(err)
			}
			w, err := OpenFiles(dir)
			if err != nil {
				t.Fatal(err)
			}
			syncs := 0
			w.sync = func(f *os.File) error {
				if syncs++; syncs == failAt {
					return eio
				}
				return f.Sync()
			}
			ctx := t.Context()
			if err := w.Swap(ctx, nil, []byte("a")); !errors.Is(err, eio) {
				t.Fatal(err)
			}
			if _, err := w.Load(ctx); !errors.Is(err, eio) {
				t.Error("read what may not be on disk:", err)
			}
			if err := w.Swap(ctx, []byte("a"), []byte("b")); !errors.Is(err, eio) {
				t.Error("built on what may not be on disk:", err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if w, err = OpenFiles(dir); err != nil {
				t.Fatal("does not start again:", err)
			}
			// The old or the new state, nothing else.
			if b, err := w.Load(ctx); err != nil || b != nil && string(b) != "a" {
				t.Errorf("%q, %v", b, err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
