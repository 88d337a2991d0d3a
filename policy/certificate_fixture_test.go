package policy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
)

// certifier is a certificate authority of the tests.
type certifier struct {
	*x509.Certificate
	key crypto.Signer
}

func p256(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var serial int64

// issue makes a certificate by c, or one that certifies itself if c is nil.
func (c *certifier) issue(t testing.TB, public crypto.PublicKey, template *x509.Certificate, self crypto.Signer) *x509.Certificate {
	serial++
	if template.SerialNumber == nil {
		template.SerialNumber = big.NewInt(serial)
	}
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)
	}
	by, key := template, self
	if c != nil {
		by, key = c.Certificate, c.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, public, key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// authorityUnder makes a certificate authority below c, or a root; changes are to its template.
func (c *certifier) authorityUnder(t testing.TB, name string, changes ...func(*x509.Certificate)) *certifier {
	k := p256(t)
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	for _, change := range changes {
		change(template)
	}
	return &certifier{c.issue(t, k.Public(), template, k), k}
}

const courtsIdentifier = "GOVGB-CROWN-COURT"

// signerFor makes the certificate of somebody who signs documents.
func (c *certifier) signerFor(t testing.TB, public crypto.PublicKey, organisation string, changes ...func(*x509.Certificate)) *x509.Certificate {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Seal", ExtraNames: []pkix.AttributeTypeAndValue{
			{Type: []int{2, 5, 4, 10}, Value: "Crown Court"}, {Type: organizationIdentifier, Value: organisation}}},
		KeyUsage: x509.KeyUsageContentCommitment, BasicConstraintsValid: true,
	}
	for _, change := range changes {
		change(template)
	}
	return c.issue(t, public, template, nil)
}

// list makes a list of revoked certificates; changes are to its template.
func (c *certifier) list(t testing.TB, changes ...func(*x509.RevocationList)) string {
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.AddDate(0, 0, 7)}
	for _, change := range changes {
		change(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, c.Certificate, c.key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := ParseRevocationList(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// revoking lists a certificate as revoked at a time.
func revoking(c *x509.Certificate, at time.Time) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: at})
	}
}

// certifiedWorld is one in which the court has a certificate and nothing else.
type certifiedWorld struct {
	*world
	root, between *certifier
	key           crypto.Signer
	leaf          *x509.Certificate
}

func newCertified(t testing.TB) *certifiedWorld {
	c := &certifiedWorld{key: p256(t)}
	c.root = (*certifier)(nil).authorityUnder(t, "Root of Trust")
	c.between = c.root.authorityUnder(t, "Seals of Courts")
	c.leaf = c.between.signerFor(t, c.key.Public(), courtsIdentifier)
	c.world = fifth(t, c.register(KeyDigest(c.leaf)))
	return c
}

// register puts the root into a draft, and the court's certificates in the place of its keys.
func (c *certifiedWorld) register(keys ...string) func(*Bundle) {
	return func(b *Bundle) {
		b.CertificateAuthorities = []CertificateAuthority{{base64.StdEncoding.EncodeToString(c.root.Raw)}}
		b.Authorities[0].Keys, b.Authorities[0].OrganisationIdentifier, b.Authorities[0].CertificateKeys = nil, courtsIdentifier, keys
	}
}

func signWith(t testing.TB, signer crypto.Signer, at time.Time, w Warrant, chain ...*x509.Certificate) string {
	k, err := document.CertifiedKey(signer, chain, func() time.Time { return at })
	if err != nil {
		t.Fatal(err)
	}
	return signCertified(t, k, w)
}

func signCertified(t testing.TB, k jose.JSONWebKey, w Warrant) string {
	raw, err := SignWarrant(k, w)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// filing is a production by the court's certificate, with the lists that its chain needs.
func (c *certifiedWorld) filing(t testing.TB, changes ...func(*Warrant)) Submission {
	w, evidence := c.production(t)
	for _, change := range changes {
		change(&w)
	}
	return Submission{Warrant: signWith(t, c.key, now.Add(-time.Hour), w, c.leaf, c.between.Certificate), Evidence: evidence,
		Revocation: []string{c.between.list(t), c.root.list(t)}}
}
