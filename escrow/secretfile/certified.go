package secretfile

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"

	"github.com/youmark/pkcs8"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

var (
	// ErrNotCertified is the refusal of a file that does not hold the key of a certificate.
	ErrNotCertified = refusal.New(refusal.Invalid, "file.not_a_key_of_a_certificate",
		"the file does not hold the secret key of a certificate: it is PEM with one PRIVATE KEY or ENCRYPTED PRIVATE KEY (PKCS #8, openssl pkcs8 -topk8), RSA or EC, or a JWK")
	// ErrKeyPassphrase is the refusal of a passphrase that does not open a key.
	ErrKeyPassphrase = refusal.New(refusal.Unauthenticated, "file.key_passphrase",
		"the passphrase does not open the key, or the key is encrypted in a way that is not read here: openssl pkcs8 -topk8 -v2 aes-256-cbc makes one that is")
	// ErrNotCertificates is the refusal of a file that does not hold certificates.
	ErrNotCertificates = refusal.New(refusal.Invalid, "file.not_certificates",
		"the file does not hold certificates in PEM, at most 5, the signer's own first and after each that of who certified it")
)

// ReadCertifiedKey reads the secret key that a certificate is about: PEM, or a JWK.
// passphrase is asked for that of an encrypted one, and may be nil.
func ReadCertifiedKey(name string, passphrase func() ([]byte, error)) (crypto.Signer, error) {
	b, err := Read(name)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	block := privateBlock(b)
	if block == nil {
		k, err := ParseKey(b)
		signer, ok := k.Key.(crypto.Signer)
		if err != nil || !ok {
			return nil, ErrNotCertified.Because(errors.New(name))
		}
		return signer, nil
	}
	defer clear(block.Bytes)
	var key any
	switch block.Type {
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "ENCRYPTED PRIVATE KEY":
		if passphrase == nil {
			return nil, ErrKeyPassphrase
		}
		pass, failed := passphrase()
		if failed != nil {
			return nil, failed
		}
		defer clear(pass)
		if key, err = pkcs8.ParsePKCS8PrivateKey(block.Bytes, bytes.TrimRight(pass, "\r\n")); err != nil {
			return nil, ErrKeyPassphrase.Because(errors.New(name))
		}
	default:
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	signer, ok := key.(crypto.Signer)
	if err != nil || !ok {
		return nil, ErrNotCertified.Because(errors.New(name))
	}
	return signer, nil
}

// privateBlock is the first block of PEM that is a key; openssl writes the parameters of a
// curve before it.
func privateBlock(b []byte) *pem.Block {
	for {
		block, rest := pem.Decode(b)
		if block == nil || bytes.HasSuffix([]byte(block.Type), []byte("PRIVATE KEY")) {
			return block
		}
		b = rest
	}
}

// ReadCertificates reads a chain of certificates in PEM, or one in DER.
func ReadCertificates(name string) ([]*x509.Certificate, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, ErrUnreadable.Because(err)
	}
	if one, err := x509.ParseCertificate(b); err == nil {
		return []*x509.Certificate{one}, nil
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != "CERTIFICATE" {
			return nil, ErrNotCertificates.Because(errors.New(name))
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 || len(chain) > document.MaxCertificates {
		return nil, ErrNotCertificates.Because(errors.New(name))
	}
	return chain, nil
}
