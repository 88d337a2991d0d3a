package command

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What an authority signs with is said in one way, and each mistake is named.
func TestSignerFlags(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0), Subject: pkix.Name{CommonName: "Seal",
		ExtraNames: []pkix.AttributeTypeAndValue{{Type: []int{2, 5, 4, 97}, Value: "GOVGB-COUNTY"}}}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	key := write("court.pem", 0o600, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	chain := write("chain.pem", 0o644, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	draft := write("draft.json", 0o600, []byte(`{"kind": "production", "authority": "county-court", "jurisdiction": "GB", "bundle": "`+strings.Repeat("0", 64)+`"}`))
	pin := write("pin.txt", 0o600, []byte("123456\n"))
	device := "pkcs11:token=court;object=seal?module-path=/no/such/module"
	for name, row := range map[string]struct {
		args []string
		code int
		says string
	}{
		"a certificate":            {[]string{"--key", key, "--certificate", chain}, 0, `"warrant": "ey`},
		"PEM without certificate":  {[]string{"--key", key}, 1, "file.not_a_key"},
		"nothing":                  {nil, 2, "--key is needed"},
		"two keys":                 {[]string{"--key", key, "--pkcs11", device, "--certificate", chain}, 2, "two keys"},
		"a device without":         {[]string{"--pkcs11", device}, 2, "--certificate is needed"},
		"a device that is not one": {[]string{"--pkcs11", "court", "--certificate", chain}, 1, "device.uri"},
		"a PIN in the open":        {[]string{"--pkcs11", device + "&pin-value=123456", "--certificate", chain}, 1, "device.uri"},
		"no such device":           {[]string{"--pkcs11", device, "--certificate", chain, "--passphrase-file", pin}, 1, "device."}, // not_built, or unavailable
		"another's certificate":    {[]string{"--key", write("other.pem", 0o600, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: otherKey(t)})), "--certificate", chain}, 1, "file.not_a_key_of_a_certificate"},
	} {
		var out, errs bytes.Buffer
		code := Run(t.Context(), append([]string{"warrant", "sign", draft, "--json"}, row.args...), Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Now: time.Now})
		if said := out.String() + errs.String(); code != row.code || !strings.Contains(said, row.says) || strings.Contains(said, "123456") {
			t.Errorf("%s: %d %s", name, code, said)
		}
	}
	var out bytes.Buffer
	if code := Run(t.Context(), []string{"key", "certificate", chain}, Env{Stdout: &out, Stderr: &out, Now: time.Now}); code != 0 || !strings.Contains(out.String(), "organisation_identifier: GOVGB-COUNTY\ncertificate_keys: ") {
		t.Error(out.String())
	}
}

func otherKey(t *testing.T) []byte {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
