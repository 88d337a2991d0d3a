package sandbox

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestAFolderIsTakenForAsLongAsTheProcessLives: whoever forgets the folder keeps it.
func TestAFolderIsTakenForAsLongAsTheProcessLives(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	d, err := TemporaryDir("penname-forgotten-")
	if err != nil {
		t.Fatal(err)
	}
	path := d.Path
	d = nil
	for range 3 {
		runtime.GC() // finalizers of what nobody refers to
	}
	other, err := TemporaryDir("penname-forgotten-")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(path, lockName)); err != nil {
		t.Error("a folder in use was removed:", err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}
