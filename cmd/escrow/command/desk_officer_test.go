package command

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/youmark/pkcs8"

	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
)

// TestKeyOfAnOfficersDesk: what has to be typed is asked for on the page and nowhere else, a wrong
// passphrase opens nothing, and a lock drops the key.
func TestKeyOfAnOfficersDesk(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, b *pem.Block) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := pkcs8.MarshalPrivateKey(k, []byte("right"), nil)
	if err != nil {
		t.Fatal(err)
	}
	open, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	chain := file("chain.pem", &pem.Block{Type: "CERTIFICATE", Bytes: der})
	pin := file("pin.txt", &pem.Block{Type: "NOTHING"})
	device := "pkcs11:token=court;object=seal?module-path=/no/such/module"
	for name, c := range map[string]struct {
		by           signer
		secret, says string
	}{
		"encrypted":               {signer{key: file("sealed.pem", &pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: sealed}), certificate: chain}, "Passphrase of the key", "sealed.pem"},
		"not encrypted":           {signer{key: file("open.pem", &pem.Block{Type: "PRIVATE KEY", Bytes: open}), certificate: chain}, "", "whoever can read the file can sign"},
		"a device":                {signer{device: device, certificate: chain}, "PIN of the device", "court"},
		"a device, PIN in a file": {signer{device: device, certificate: chain, passphrase: pin}, "", "court"},
	} {
		s := newOfficerSeat(&program{Env: Env{Now: time.Now}})
		s.by = c.by
		secret, says, err := s.secret(t.Context())
		if err != nil || secret != c.secret || !strings.Contains(fmt.Sprintf(says.English, says.Args...), c.says) {
			t.Errorf("%s: %q, %+v, %v", name, secret, says, err)
		}
		if name != "encrypted" {
			continue
		}
		sign := func() error { return s.signing(func(jose.JSONWebKey) error { return nil }) }
		for _, wrong := range []string{"wrong", ""} {
			if err := s.unlock(t.Context(), []byte(wrong)); !errors.Is(err, secretfile.ErrKeyPassphrase) || sign() != desk.ErrLocked { //nolint:errorlint // it is that very one
				t.Errorf("%q: %v", wrong, err)
			}
		}
		if err := s.unlock(t.Context(), []byte("right")); err != nil || sign() != nil {
			t.Error(err, sign())
		}
		if s.lock(); !errors.Is(sign(), desk.ErrLocked) || s.key != nil {
			t.Error("the key stays")
		}
		if err := s.unlock(t.Context(), []byte("right")); err != nil {
			t.Error(err)
		}
		if err := s.unlock(t.Context(), []byte("wrong")); err == nil || !errors.Is(sign(), desk.ErrLocked) {
			t.Error("a wrong passphrase leaves it open")
		}
	}
	none := newOfficerSeat(&program{Env: Env{Now: time.Now}})
	if err := none.unlock(context.Background(), nil); err != nil || !errors.Is(none.signing(nil), errNoKey) {
		t.Error("a desk without a key signs: ", err)
	}
}

// TestNoOpeningAmongEvidence: names are kept beside no stranger's files, wherever a name leads; a
// folder that only begins like one with evidence is another.
func TestNoOpeningAmongEvidence(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ev", "ev/case118", "cases", "evening"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "ev", "case118"), filepath.Join(dir, "cases", "there")); err != nil {
		t.Fatal(err)
	}
	s := newOfficerSeat(&program{Env: Env{Now: time.Now}})
	s.cases, s.evidence = filepath.Join(dir, "cases"), []string{filepath.Join(dir, "ev")}
	for typed, inside := range map[string]bool{
		"../ev/x": true, "../ev": true, "there": true, "there/new/x": true, filepath.Join(dir, "ev", "case118", "a", "b"): true, "../cases/../ev/case118/x": true,
		"case118": false, "../evening/x": false, "../evx": false, dir: false, "opening-x": false,
	} {
		if s.amongEvidence(s.inCases(typed)) != inside {
			t.Errorf("%s: %t", typed, !inside)
		}
	}
}

// TestWordsOfADesk: a refusal that a desk shows names no command where the desk does the same.
func TestWordsOfADesk(t *testing.T) {
	for _, err := range []error{policy.ErrInquiry, registrar.ErrUnreachable} {
		if p := deskProblem(err); p.Title == "" || strings.Contains(p.Title, "escrow ") || strings.Contains(p.Title, "--") {
			t.Errorf("%s: %s", p.Code, p.Title)
		}
	}
	s := newOfficerSeat(&program{})
	for sealed, never := range map[string]string{"the words are sealed: the requester opens them with --key": "--", "the words were dropped": "sealed"} {
		if o := s.atDesk(objection{unread: sealed}); strings.Contains(o.Words, never) || strings.Contains(o.Says, never) || strings.Contains(o.Words, "--objection") {
			t.Errorf("%q", o.Words)
		}
	}
}
