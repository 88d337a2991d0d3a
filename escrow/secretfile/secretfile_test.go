package secretfile_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penname/penname/escrow/secretfile"
)

func TestOnlyTheOwnerMayReadIt(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(name, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]error{
		0o600: nil, 0o400: nil, 0o700: nil,
		0o640: secretfile.ErrMode, 0o604: secretfile.ErrMode, 0o620: secretfile.ErrMode, 0o602: secretfile.ErrMode, 0o666: secretfile.ErrMode,
	} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		switch b, err := secretfile.Read(name); {
		case !errors.Is(err, want):
			t.Errorf("%o: %v", mode, err)
		case err == nil && string(b) != "secret\n":
			t.Errorf("%o: %q", mode, b)
		case err != nil && len(b) > 0:
			t.Errorf("%o: refused, and read all the same", mode)
		}
	}
}

func TestWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", dir, filepath.Join(dir, "missing"), "/dev/null", big} {
		b, err := secretfile.Read(name)
		if !errors.Is(err, secretfile.ErrUnreadable) || len(b) > 0 {
			t.Errorf("%q: %v", name, err)
		}
		if cause := errors.Unwrap(err); cause == nil || !strings.Contains(cause.Error(), name) {
			t.Errorf("%q: the cause does not name the file: %v", name, cause)
		}
	}
}

// A passphrase can come from a password manager, as --passphrase-file <(pass …).
func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("secret"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("/dev/fd/%d", r.Fd())
	if b, err := secretfile.Read(name); err != nil || string(b) != "secret" {
		t.Fatal(string(b), err)
	}
}

// A file that is no signing key says what it looks like, and nothing of what is in it.
func TestWhatAFileIsThatIsNoKey(t *testing.T) {
	for text, want := range map[string]string{
		"": "it is empty", "{": "not JSON", `{"a":1}`: "JSON, but no JWK",
		"-----BEGIN CERTIFICATE-----\r\nMIIB":        "it looks like a certificate (PEM)",
		"-----BEGIN PUBLIC KEY-----\n":               "a public key in PEM",
		"-----BEGIN OPENSSH PRIVATE KEY-----\n":      "a key of SSH",
		"\xef\xbb\xbf-----BEGIN EC PRIVATE KEY-----": "a key in PEM",
		"ssh-ed25519 AAAA":                           "a public key of SSH",
		"PRIVATE+KEY+penname.example/log+":           "the key of a public log or of a witness",
		"pendsk1.AAAA":                               "a delivery key (escrow warrant keygen)",
		"pendk1.AAAA":                                "the public half of a delivery key",
		"eyJhbGciOiJFZERTQSJ9.e30.c2ln":              "a signed document",
		`{"keys":[{"kty":"OKP"}]}`:                   "a set of keys",
		`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`: "a public key, where the secret one is needed",
	} {
		name := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := secretfile.ReadKey(name)
		if cause := errors.Unwrap(err); !errors.Is(err, secretfile.ErrNotAKey) || cause == nil || !strings.Contains(cause.Error(), want) || len(text) > 9 && strings.Contains(cause.Error(), text[len(text)-9:]) {
			t.Errorf("%q: %v %v", text, err, cause)
		}
	}
}

// A public key that others can read is told to be one: no mode makes it what is needed.
func TestFoundPublicKeyIsNoQuestionOfMode(t *testing.T) {
	public := `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`
	for text, want := range map[string]error{public + "}": secretfile.ErrNotAKey, public + `,"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`: secretfile.ErrMode, "x": secretfile.ErrMode} {
		name := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil { //nolint:gosec // that is the point
			t.Fatal(err)
		}
		if _, err := secretfile.ReadKey(name); !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
