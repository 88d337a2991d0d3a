package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

// secretOf is a secret of a custodian who gives everything away: their folder
// and their passphrase.
func secretOf(t testing.TB, home, name string) []byte {
	t.Helper()
	pass, err := os.ReadFile(passphraseFile(home))
	if err != nil {
		t.Fatal(err)
	}
	by, err := age.NewScryptIdentity(string(pass))
	if err != nil {
		t.Fatal(err)
	}
	id, err := age.ParseX25519Identity(string(opened(t, filepath.Join(home, "identity.age"), by)))
	if err != nil {
		t.Fatal(err)
	}
	return opened(t, filepath.Join(home, name), id)
}

func opened(t testing.TB, name string, id age.Identity) []byte {
	t.Helper()
	sealed, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := age.Decrypt(bytes.NewReader(sealed), id)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCustodiansSecretsAtRest: whoever copies a custodian's folder has no key.
// Every file in it is searched for each of the secrets, as they are and in the
// encodings that they have.
func TestCustodiansSecretsAtRest(t *testing.T) {
	tb := startForTest(t)
	for _, c := range custodians {
		home := tb.path("custodians", c.ID)
		var secrets [][]byte
		for _, name := range []string{"signing.jwk", "share.key", "witness.key"} {
			raw := secretOf(t, home, name)
			if len(raw) < 32 {
				t.Fatalf("%s: %d bytes", name, len(raw))
			}
			secrets = append(secrets, raw)
			if name == "share.key" {
				secrets = append(secrets, raw[25:]) // x_i alone, see threshold.KeyShare
			}
			if _, d, ok := strings.Cut(string(raw), `"d":"`); ok {
				secrets = append(secrets, []byte(d[:43]))
			}
		}
		entries, err := filepath.Glob(filepath.Join(home, "*"))
		if err != nil || len(entries) < 8 {
			t.Fatal("too few files to search", entries, err)
		}
		for _, name := range entries {
			info, err := os.Stat(name)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: mode %v", name, info.Mode())
			}
			if info.IsDir() {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range secrets {
				if bytes.Contains(b, s) {
					t.Errorf("%s holds a secret in clear", filepath.Base(name))
				}
			}
		}
	}
}
