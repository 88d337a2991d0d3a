//go:build linux

package robustness_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/penname/penname/escrow/sandbox/robustness"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mount shows folder as a disk at dir until the test ends, or its power does.
func mount(t *testing.T, folder, dir string) *robustness.Disk {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	d, err := robustness.Mount(folder, dir)
	must(t, err)
	t.Cleanup(func() { d.Lose(nil) }) //nolint:errcheck // most did already
	return d
}

// put writes a whole file, and syncs it if asked.
func put(t *testing.T, name string, b []byte, sync bool) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	must(t, err)
	_, err = f.Write(b)
	must(t, err)
	if sync {
		must(t, f.Sync())
	}
	must(t, f.Close())
}

// TestF03DiskLosesWhatWasNotSynced: the disk of the other tests does what it says. A test
// that stands on one that loses nothing would show nothing.
func TestF03DiskLosesWhatWasNotSynced(t *testing.T) {
	folder, dir := t.TempDir(), t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	long := bytes.Repeat([]byte("0123456789abcdef"), 1000) // four pages
	for _, name := range []string{"synced", "overwritten", "cut", "removed", "renamed", "replaced"} {
		must(t, os.WriteFile(filepath.Join(folder, name), long, 0o600))
	}
	d := mount(t, folder, dir)

	put(t, in("synced"), []byte("new"), true)
	put(t, in("new and synced"), []byte("new"), true)
	f, err := os.OpenFile(in("overwritten"), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("XXXX"), 5000)
	must(t, err)
	must(t, f.Sync())
	_, err = f.WriteAt([]byte("YYYYYYYYYY"), 8190) // over the edge of a page
	must(t, err)
	must(t, f.Close())
	must(t, os.Truncate(in("cut"), 100))
	put(t, in("new"), []byte("new"), false)
	must(t, os.Mkdir(in("folder"), 0o700))
	put(t, in("folder/file"), []byte("new"), false)
	must(t, os.Remove(in("removed")))
	must(t, os.Rename(in("renamed"), in("renamed to")))
	put(t, in("aside"), []byte("new"), false)
	must(t, os.Rename(in("aside"), in("replaced")))
	if b, err := os.ReadFile(in("replaced")); err != nil || string(b) != "new" {
		t.Errorf("while it has power: %q, %v", b, err)
	}
	d.Cut()
	if err := os.WriteFile(in("late"), []byte("late"), 0o600); !errors.Is(err, syscall.EIO) {
		t.Errorf("without power: %v", err)
	}
	pages, changes, err := d.Lose(nil)
	if err != nil || pages == 0 || changes < 7 {
		t.Errorf("lost %d pages, %d changes: %v", pages, changes, err)
	}

	want := map[string][]byte{"synced": []byte("new"), "new and synced": []byte("new"), "cut": long, "removed": long, "renamed": long, "replaced": long}
	want["overwritten"] = bytes.Clone(long)
	copy(want["overwritten"][5000:], "XXXX")
	entries, err := os.ReadDir(folder)
	must(t, err)
	for _, e := range entries {
		got, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if w, ok := want[e.Name()]; !ok || err != nil || !bytes.Equal(got, w) {
			t.Errorf("%s: %d bytes %.20q, %v", e.Name(), len(got), got, err)
		}
		delete(want, e.Name())
	}
	if len(want) > 0 {
		t.Errorf("gone: %v", want)
	}
}

// TestF04DiskFailsOneSync: a sync that fails loses what it was to write, and the next one
// says nothing of it, as it is with Linux.
func TestF04DiskFailsOneSync(t *testing.T) {
	folder, dir := t.TempDir(), t.TempDir()
	name := filepath.Join(dir, "file")
	must(t, os.WriteFile(filepath.Join(folder, "file"), []byte("old, on the disk"), 0o600))
	d := mount(t, folder, dir)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("new"), 0)
	must(t, err)
	d.FailSync("another")
	must(t, f.Sync())
	_, err = f.WriteAt([]byte("NEW"), 0)
	must(t, err)
	d.FailSync("file")
	if err := f.Sync(); !errors.Is(err, syscall.EIO) || d.Failed() != 1 {
		t.Errorf("%v, %d failed", err, d.Failed())
	}
	must(t, f.Sync()) // in vain
	must(t, f.Close())
	if _, _, err := d.Lose(nil); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(folder, "file")); err != nil || string(got) != "new, on the disk" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestF05DiskWithoutSpace: nothing can be written until there is some again.
func TestF05DiskWithoutSpace(t *testing.T) {
	folder, dir := t.TempDir(), t.TempDir()
	d := mount(t, folder, dir)
	d.Fill(true)
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	d.Fill(false)
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600))
}

// TestF03DiskLosesByChance: each page that was not synced is the old or the new one, never
// another, and what was synced stays.
func TestF03DiskLosesByChance(t *testing.T) {
	old, mixed := bytes.Repeat([]byte("o"), 64<<10), 0
	for seed := range uint64(4) {
		folder, dir := t.TempDir(), t.TempDir()
		must(t, os.WriteFile(filepath.Join(folder, "file"), old, 0o600))
		d := mount(t, folder, dir)
		put(t, filepath.Join(dir, "synced"), []byte("new"), true)
		f, err := os.OpenFile(filepath.Join(dir, "file"), os.O_RDWR, 0)
		must(t, err)
		_, err = f.Write(bytes.Repeat([]byte("n"), len(old)))
		must(t, err)
		must(t, f.Close())
		if _, _, err := d.Lose(rand.New(rand.NewPCG(seed, 0))); err != nil { //nolint:gosec // to be repeated
			t.Error(err)
		}
		got, err := os.ReadFile(filepath.Join(folder, "file"))
		must(t, err)
		for p := 0; p < len(got); p += 4096 {
			if s := string(got[p : p+4096]); s != strings.Repeat("o", 4096) && s != strings.Repeat("n", 4096) {
				t.Errorf("seed %d: page %d is neither", seed, p/4096)
			}
		}
		if bytes.ContainsRune(got, 'o') && bytes.ContainsRune(got, 'n') {
			mixed++
		}
		if _, err := os.Stat(filepath.Join(folder, "synced")); err != nil || len(got) != len(old) {
			t.Errorf("seed %d: %v, %d bytes", seed, err, len(got))
		}
	}
	if mixed == 0 {
		t.Error("nothing was ever torn")
	}
}
