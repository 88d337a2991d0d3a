package secretfile_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/youmark/pkcs8"

	"github.com/penname/penname/escrow/secretfile"
)

func ok[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestKeyOfACertificate(t *testing.T) {
	ec, rsaKey := ok(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), ok(rsa.GenerateKey(rand.Reader, 2048))
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	encrypted := block("ENCRYPTED PRIVATE KEY", ok(pkcs8.MarshalPrivateKey(ec, []byte("a passphrase"), nil)))
	says := func(pass string) func() ([]byte, error) { return func() ([]byte, error) { return []byte(pass), nil } }
	for name, row := range map[string]struct {
		file       []byte
		passphrase func() ([]byte, error)
		want       crypto.Signer
		refused    error
	}{
		"PKCS 8":                   {block("PRIVATE KEY", ok(x509.MarshalPKCS8PrivateKey(ec))), nil, ec, nil},
		"PKCS 8, RSA":              {block("PRIVATE KEY", ok(x509.MarshalPKCS8PrivateKey(rsaKey))), nil, rsaKey, nil},
		"PKCS 1":                   {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)), nil, rsaKey, nil},
		"openssl's, with a curve":  {slices.Concat(block("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}), block("EC PRIVATE KEY", ok(x509.MarshalECPrivateKey(ec)))), nil, ec, nil},
		"a JWK":                    {ok(json.Marshal(jose.JSONWebKey{Key: ec, KeyID: "court"})), nil, ec, nil},
		"encrypted":                {encrypted, says("a passphrase\n"), ec, nil},
		"encrypted, another":       {encrypted, says("another"), nil, secretfile.ErrKeyPassphrase},
		"encrypted, nobody to ask": {encrypted, nil, nil, secretfile.ErrKeyPassphrase},
		"a public key":             {block("PUBLIC KEY", ok(x509.MarshalPKIXPublicKey(ec.Public()))), nil, nil, secretfile.ErrNotCertified},
		"a key that is none":       {block("PRIVATE KEY", []byte{1, 2, 3}), nil, nil, secretfile.ErrNotCertified},
		"empty":                    {nil, nil, nil, secretfile.ErrNotCertified},
	} {
		file := filepath.Join(t.TempDir(), "key.pem")
		if err := os.WriteFile(file, row.file, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := secretfile.ReadCertifiedKey(file, row.passphrase)
		if !errors.Is(err, row.refused) {
			t.Errorf("%s: %v", name, err)
		}
		if row.want != nil && (err != nil || !row.want.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(got.Public())) {
			t.Errorf("%s: another key, %v", name, err)
		}
	}
}

func TestCertificates(t *testing.T) {
	k := ok(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der := ok(x509.CreateCertificate(rand.Reader, template, template, k.Public(), k))
	one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, row := range map[string]struct {
		file []byte
		want int // 0: it is refused
	}{
		"PEM": {one, 1}, "a chain": {slices.Concat(one, []byte("CN=Root\n"), one), 2}, "DER": {der, 1}, "six": {slices.Repeat(one, 6), 0}, "none": {nil, 0},
		"a key": {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0}, "damaged": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der[1:]}), 0},
	} {
		file := filepath.Join(t.TempDir(), "chain.pem")
		if err := os.WriteFile(file, row.file, 0o644); err != nil {
			t.Fatal(err)
		}
		chain, err := secretfile.ReadCertificates(file)
		if len(chain) != row.want || row.want == 0 && !errors.Is(err, secretfile.ErrNotCertificates) {
			t.Errorf("%s: %d, %v", name, len(chain), err)
		}
	}
}
