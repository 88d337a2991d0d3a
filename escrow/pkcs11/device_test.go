//go:build pkcs11

package pkcs11

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ThalesGroup/crypto11"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

const module = "/usr/lib/softhsm/libsofthsm2.so"

// TestSignOnADevice signs with keys that SoftHSM keeps, of both kinds, and each refusal says
// what is wrong. It is one test: the module reads its settings once for the process.
func TestSignOnADevice(t *testing.T) {
	if _, err := os.Stat(module); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("softhsm2 is missing: make setup installs it")
		}
		t.Skip("softhsm2 is missing: make setup installs it")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+dir+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	if out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", "court", "--pin", "123456", "--so-pin", "12345678").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	made, err := crypto11.Configure(&crypto11.Config{Path: module, TokenLabel: "court", Pin: "123456"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := made.GenerateECDSAKeyPairWithLabel([]byte{1}, []byte("seal"), elliptic.P256()); err != nil {
		t.Fatal(err)
	}
	if _, err := made.GenerateRSAKeyPairWithLabel([]byte{2}, []byte("old seal"), 2048); err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	for _, object := range []string{"object=seal", "id=%02"} {
		signsOn(t, "pkcs11:token=court;"+object+"?module-path="+module)
	}
	for uri, row := range map[string]struct {
		pin  string
		want *refusal.Error
	}{
		"pkcs11:token=court;object=seal?module-path=" + module:       {"654321", ErrPIN},
		"pkcs11:token=court;object=other?module-path=" + module:      {"123456", ErrNoKey},
		"pkcs11:token=police;object=seal?module-path=" + module:      {"123456", ErrDevice},
		"pkcs11:token=court;object=seal?module-path=/no/such/module": {"123456", ErrDevice},
	} {
		k, err := ParseURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(k, []byte(row.pin)); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

// signsOn signs a document as JAdES with a key on the device, and verifies it.
func signsOn(t *testing.T, uri string) {
	k, err := ParseURI(uri)
	if err != nil {
		t.Fatal(err)
	}
	signer, device, err := Open(k, []byte("123456"))
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Seal"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	key, err := document.CertifiedKey(signer, []*x509.Certificate{c}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	f := &document.Format{Types: []string{"test+jwt"}, MaxBytes: 1 << 20, Algorithms: document.SignatureAlgorithms, Certified: true,
		Refusals: map[document.Fault]*refusal.Error{document.Malformed: ErrURI}}
	raw, err := f.Sign(key, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := f.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := signed.VerifyCertified(); err != nil {
		t.Fatal(err)
	}
}
