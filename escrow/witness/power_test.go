//go:build linux

package witness_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/penname/penname/escrow/sandbox/robustness"
	"github.com/penname/penname/escrow/witness"
)

// TestF02F03CutAtEveryWrite: the machine of a witness ends at each call that writes or syncs
// its state, and what was not synced is lost: all of it, or pages by chance. What the witness
// promised is there when it is back, and there is never anything else but that or the step
// that was being taken.
func TestF02F03CutAtEveryWrite(t *testing.T) {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	cuts := 0
	for calls := 0; ; calls++ {
		whole := false
		for _, chance := range []*rand.Rand{nil, rand.New(rand.NewPCG(uint64(calls), 2))} { //nolint:gosec // to be repeated
			folder, dir := t.TempDir(), t.TempDir()
			if err := witness.InitFiles(filepath.Join(folder, "w")); err != nil {
				t.Fatal(err)
			}
			disk, err := robustness.Mount(folder, dir)
			if err != nil {
				t.Fatal(err)
			}
			disk.CutAfter(calls)
			promised, tried := promise(t, filepath.Join(dir, "w"))
			whole = !disk.IsCut()
			if _, _, err := disk.Lose(chance); err != nil {
				t.Fatal(err)
			}
			w, err := witness.OpenFiles(filepath.Join(folder, "w"))
			if err != nil {
				t.Fatalf("cut after %d calls: it does not start again: %v: %v", calls, err, errors.Unwrap(err))
			}
			got, err := w.Load(t.Context())
			if err != nil || string(got) != promised && string(got) != tried {
				t.Errorf("cut after %d calls: it promised %q, and has %q: %v", calls, promised, got, err)
			}
			w.Close()
			cuts++
		}
		if whole {
			break
		}
	}
	if cuts < 20 {
		t.Errorf("only %d cuts", cuts)
	}
	t.Logf("%d cuts", cuts)
}

// promise takes two steps, and returns the last that was confirmed and the last that was tried.
func promise(t *testing.T, dir string) (promised, tried string) {
	w, err := witness.OpenFiles(dir)
	if err != nil {
		return "", ""
	}
	defer w.Close()
	var old []byte
	for _, next := range []string{"the first checkpoint", "the second checkpoint"} {
		tried = next
		if w.Swap(t.Context(), old, []byte(next)) != nil {
			return promised, tried
		}
		promised, old = next, []byte(next)
	}
	return promised, tried
}
