package sandbox_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/penname/penname/escrow/sandbox"
)

func TestVaultStartsAgainOnItsDirectory(t *testing.T) {
	if _, err := sandbox.VaultBinary(t.Context(), io.Discard); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := filepath.Join(t.TempDir(), "vault")
	var token string
	for range 2 {
		v, err := sandbox.StartVault(t.Context(), dir, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" && v.RootToken != token {
			t.Error("the second start made another Vault")
		}
		token = v.RootToken
		if info, err := os.Stat(v.Audit); err != nil || info.Size() == 0 || info.Mode().Perm() != 0o600 {
			t.Errorf("audit file: %v, %v", info, err)
		}
		if err := v.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVaultLeavesNothingOfATemporaryDirectory(t *testing.T) {
	v, err := sandbox.StartVault(t.Context(), "", io.Discard)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err := v.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(v.Audit)); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}

func TestVaultStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := sandbox.StartVault(ctx, "", io.Discard); err == nil {
		v.Stop()
		t.Error("started with a context that had ended")
	}
}
