package requester_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penname/penname/escrow/requester"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/opening/openingtest"
)

// A court signs what an opening proves with its certificate, and the lists in the folder say
// that it was not revoked: without them nobody signed.
func TestCourtFileSignedWithACertificate(t *testing.T) {
	now := openingtest.Now
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	self := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	root := certificate(t, self, self, key, key)
	seal, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	leaf := certificate(t, &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		Subject: pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: []int{2, 5, 4, 97}, Value: "GOVGB-COURT"}}}}, root, seal, key)
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.AddDate(0, 0, 7)}, root, key)
	must(t, err)
	c := openingtest.New(t, func(b *policy.Bundle) {
		b.CertificateAuthorities = []policy.CertificateAuthority{{Certificate: base64.StdEncoding.EncodeToString(root.Raw)}}
		a := b.Authority("court")
		a.OrganisationIdentifier, a.CertificateKeys = "GOVGB-COURT", []string{policy.KeyDigest(leaf)}
	}).File(1, 1, nil)
	c.Decide(c.Answer("alba", 0))
	c.Decide(c.Answer("bruno", 0))
	c.Authorise(0)
	dir, f := courtFile(t, c, c.Deliver(c.Release(c.Package(0), 0)), nil)
	by, err := document.CertifiedKey(seal, []*x509.Certificate{leaf}, func() time.Time { return now })
	must(t, err)
	if err := f.Certify(&by, now); !opening.ErrSigner.Is(err) {
		t.Fatal("nobody knows whether it is revoked:", err)
	}
	must(t, f.SaveRevocation([]string{base64.StdEncoding.EncodeToString(list)}))
	must(t, f.Certify(&by, now))
	if found := requester.OpenCourtFile(dir).Check(c.Bundle); !found.Holds {
		t.Fatal(found)
	}
	must(t, os.Remove(filepath.Join(dir, opening.FileRevocation)))
	if found := f.Check(c.Bundle); found.Holds || !opening.ErrForged.Is(found.Refused()) {
		t.Fatal(found)
	}
}

func certificate(t *testing.T, template, by *x509.Certificate, key, byKey *ecdsa.PrivateKey) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, template, by, key.Public(), byKey)
	must(t, err)
	c, err := x509.ParseCertificate(der)
	must(t, err)
	return c
}
