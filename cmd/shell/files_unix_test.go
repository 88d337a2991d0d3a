//go:build unix

package shell

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/penname/penname/escrow/secretfile"
)

// S2: what has a person or a secret in it is its owner's alone, whatever the
// umask, and also where a file that others could read was there before.
func TestFoundS2PrivateFilesAreTheOwnersAlone(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := t.TempDir()
	readable := filepath.Join(dir, "was readable")
	if err := os.WriteFile(readable, []byte("a longer text than the new one"), 0o644); err != nil { //nolint:gosec // that is the point
		t.Fatal(err)
	}
	before := filepath.Join(dir, "before")
	if err := os.Link(readable, before); err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(string, []byte) error{
		"new": WritePrivate, "was readable": WritePrivate, "secret": secretfile.Create,
	} {
		file := filepath.Join(dir, name)
		if err := write(file, []byte("Jo")); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != "Jo" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if b, err := os.ReadFile(before); err != nil || string(b) != "a longer text than the new one" {
		t.Errorf("it was written into the old file, which can end cut off: %q, %v", b, err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) != 0 {
		t.Error(left, err)
	}
	if err := WritePrivate("/dev/null", nil); err != nil {
		t.Error("a device is no file to change:", err)
	}
}
