package policy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
)

// A certificate authority says which organisation a key is of, and gives it no power: that
// the bundle does, which names the organisation's identifier and the digest of the key. Both
// have to fit, under a registered certificate authority, at the time of the leaf, and a
// revocation list that says so has to be there.

// CertificateAuthority is one whose certificates count: a root, or one below it.
type CertificateAuthority struct {
	Certificate string `json:"certificate"` // PEM, or base64 of the DER
}

// What may revoke certificates in a submission.
const (
	MaxRevocationLists = 8
	MaxRevocationList  = 1 << 20 // bytes of DER
)

// The oldest that a revocation list may be, whatever it promises: a month's promise would let
// a stolen key sign for as long.
const maxRevocationAge = 10 * day

// Span is when something was recorded, as exactly as its leaf says it: to the second, or the
// whole day. At intake both are now.
type Span struct{ First, Last time.Time }

// Seen is when a document was recorded, and the lists of revoked certificates that were filed
// with it.
type Seen struct {
	Span
	Revocation []string // base64 of DER
}

// ParseCertificate reads PEM or base64 of DER, of one certificate and nothing else.
func ParseCertificate(text string) (*x509.Certificate, error) {
	der, err := onePEM(text, "CERTIFICATE")
	if err != nil {
		return nil, ErrBundleCertificate.Because(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, ErrBundleCertificate.Because(errors.New("not a certificate (X.509)"))
	}
	return c, nil
}

// ParseRevocationList reads PEM or base64 of DER, or DER itself, and returns base64 of the
// DER, as a [Submission] has it.
func ParseRevocationList(b []byte) (string, error) {
	der, err := onePEM(string(b), "X509 CRL")
	if err != nil {
		der = b
	}
	text := base64.StdEncoding.EncodeToString(der)
	_, err = parseRevocation([]string{text})
	return text, err
}

func onePEM(text, kind string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if block, rest := pem.Decode([]byte(text)); block != nil {
		if block.Type != kind || len(bytes.TrimSpace(rest)) > 0 || len(block.Headers) > 0 {
			return nil, fmt.Errorf("not one %s in PEM", kind)
		}
		return block.Bytes, nil
	}
	der, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(der) == 0 {
		return nil, errors.New("neither PEM nor base64")
	}
	return der, nil
}

// Fingerprint is the SHA-256 of a certificate, hex, as other programs show it.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// KeyDigest is the SHA-256 of the SubjectPublicKeyInfo in a certificate, hex: what
// certificate_keys lists. It stays when a certificate is renewed for the same key.
func KeyDigest(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

var organizationIdentifier = asn1.ObjectIdentifier{2, 5, 4, 97}

// OrganisationIdentifier is that of the subject (ETSI EN 319 412-1, 5.1.4: "NTRDE-HRB 12345"),
// "" if it has none or several.
func OrganisationIdentifier(c *x509.Certificate) string {
	found := ""
	for _, n := range c.Subject.Names {
		if text, ok := n.Value.(string); ok && n.Type.Equal(organizationIdentifier) {
			if found != "" {
				return ""
			}
			found = text
		}
	}
	return found
}

// compileCertificates prepares the certificate authorities of the bundle.
func (b *Bundle) compileCertificates() error {
	if len(b.CertificateAuthorities) > 64 {
		return ErrBundleCertificate
	}
	for _, ca := range b.CertificateAuthorities {
		c, err := ParseCertificate(ca.Certificate)
		if err != nil {
			return err
		}
		if !c.IsCA || !c.BasicConstraintsValid || !strong(c) || slices.ContainsFunc(b.anchors, func(a *x509.Certificate) bool { return bytes.Equal(a.Raw, c.Raw) }) {
			return ErrBundleCertificate.Because(errors.New("it is no certificate authority's, or weak, or listed twice"))
		}
		b.anchors = append(b.anchors, c)
	}
	return nil
}

// compileCertified checks what a bundle says of an authority's certificates.
func (b *Bundle) compileCertified(a *Authority, owners keyOwners) error {
	if len(a.CertificateKeys) == 0 && a.OrganisationIdentifier == "" {
		return nil
	}
	if len(a.CertificateKeys) == 0 || document.Blank(a.OrganisationIdentifier) || !document.Displayable(a.OrganisationIdentifier, 200) || len(b.anchors) == 0 {
		return ErrBundleCertificate.Because(errors.New("organisation_identifier, certificate_keys and certificate_authorities need each other"))
	}
	for _, digest := range a.CertificateKeys {
		if !hashPattern.MatchString(digest) {
			return ErrBundleCertificate.Because(errors.New("certificate_keys are 64 hex digits each, the SHA-256 of a SubjectPublicKeyInfo"))
		}
		if _, taken := owners[spki(digest)]; taken {
			return ErrBundleSharedKey
		}
		owners[spki(digest)] = ""
	}
	return nil
}

// spki is how [keyOwners] knows a key by the digest of its SubjectPublicKeyInfo.
func spki(digest string) string { return "spki " + digest }

// infoOf is the same of a key that is no certificate's. One that is for other readers has its
// thumbprint alone.
func infoOf(key *document.Key, thumbprint string) string {
	der, err := x509.MarshalPKIXPublicKey(key.Public)
	if err != nil {
		return thumbprint
	}
	return spki(fmt.Sprintf("%x", sha256.Sum256(der)))
}

// VerifyAuthority returns the authority with this id if it signed a document: with a key of
// its own that was valid at issued, which is the signer's word, or with a certificate that
// counts when the document was seen, by the lists that were filed with it. Where nobody says
// when that was, it is issued, and no certificate is known not to be revoked. It is the one
// place where that is decided. The refusals are of warrants, and of the format for a bad
// signature.
func (b *Bundle) VerifyAuthority(signed *document.Signed, id string, issued time.Time, seen ...Seen) (*Authority, error) {
	a, err := b.registered(signed, id)
	if err != nil {
		return nil, err
	}
	if len(signed.Certificates) == 0 {
		if !a.keys[signed.KeyID].signs(issued) {
			return nil, ErrSignerKey
		}
		return a.Authority, nil
	}
	when := Seen{Span: Span{issued, issued}}
	if len(seen) > 0 {
		when = seen[0]
	}
	// What a signer says of the time binds nobody, and has to fit what they say beside it.
	if signed.SignedAt.After(when.Last.Add(clockSkew)) || signed.SignedAt.Before(issued.Add(-day)) {
		return nil, ErrSigningTime
	}
	if err := b.judgeChain(signed.Certificates, when); err != nil {
		return nil, err
	}
	return a.Authority, nil
}

// registered checks that a document is signed with a key that is registered for the
// authority, and says nothing of when.
func (b *Bundle) registered(signed *document.Signed, id string) (signers, error) {
	a, ok := b.authorities[id]
	if !ok {
		return a, ErrUnknownAuthority
	}
	if len(signed.Certificates) == 0 {
		key, ok := a.keys[signed.KeyID]
		if !ok {
			return a, ErrSignerKey
		}
		return a, signed.Verify(key.Public)
	}
	if !a.certified(signed.Certificates[0]) {
		return a, ErrCertificateKey
	}
	return a, signed.VerifyCertified()
}

// certified reports whether a certificate is of the authority's organisation, and of a key
// that the bundle registers for it.
func (a *Authority) certified(c *x509.Certificate) bool {
	return a.OrganisationIdentifier != "" && OrganisationIdentifier(c) == a.OrganisationIdentifier && slices.Contains(a.CertificateKeys, KeyDigest(c))
}

// holds reports whether a secret key is one of the authority's, valid for what is issued at one
// time and signed at another. Of a certificate all is asked but whether it is revoked.
func (b *Bundle) holds(a signers, key jose.JSONWebKey, issued, at time.Time) error {
	if len(key.Certificates) > 0 {
		if !a.certified(key.Certificates[0]) {
			return ErrCertificateKey
		}
		_, err := b.path(key.Certificates, Span{at, at})
		return err
	}
	if named, ok := a.keys[key.KeyID]; !ok || !named.isPublicOf(key) || !named.signs(issued) {
		return ErrSignerKey
	}
	return nil
}

// judgeChain: the certificates lead to a registered authority, and none is revoked.
func (b *Bundle) judgeChain(chain []*x509.Certificate, seen Seen) error {
	path, err := b.path(chain, seen.Span)
	if err != nil {
		return err
	}
	lists, err := parseRevocation(seen.Revocation)
	if err != nil {
		return err
	}
	for i, c := range path[:len(path)-1] {
		if err := revoked(c, path[i+1], lists, seen.Span); err != nil {
			return err
		}
	}
	return nil
}

// path is the one way from a signer's certificate to a registered authority: in the order of
// the chain (RFC 7515, 4.1.6: "each subsequent certificate being the one used to certify the
// previous one"), whose last is registered or is certified by who is.
func (b *Bundle) path(chain []*x509.Certificate, recorded Span) ([]*x509.Certificate, error) {
	path := chain
	switch i := slices.IndexFunc(chain, b.anchored); {
	case i == 0:
		return nil, ErrCertificate.Because(errors.New("an authority's own certificate signs no document"))
	case i > 0:
		path = chain[:i+1]
	default:
		last := chain[len(chain)-1]
		j := slices.IndexFunc(b.anchors, func(a *x509.Certificate) bool { return certifiedBy(last, a) })
		if j < 0 {
			return nil, ErrCertificate.Because(errors.New("none of the registered certificate authorities certified it, or a certificate between is missing"))
		}
		path = append(slices.Clone(chain), b.anchors[j])
	}
	first, last := recorded.First, recorded.Last
	for i, c := range path {
		if !strong(c) {
			return nil, ErrCertificate.Because(errors.New("a key or a signature is too weak, or of a kind that is not taken"))
		}
		if i > 0 && !certifiedBy(path[i-1], c) {
			return nil, ErrCertificate.Because(errors.New("each certificate is followed by that of who certified it"))
		}
		first, last = latest(first, c.NotBefore), earliest(last, c.NotAfter)
	}
	if last.Before(first) {
		return nil, ErrCertificateTime
	}
	if err := signsDocuments(path[0]); err != nil {
		return nil, err
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(path[len(path)-1])
	for _, c := range path[1 : len(path)-1] {
		between.AddCert(c)
	}
	// RFC 5280, 6: also basic constraints, path lengths, names and critical extensions.
	if _, err := path[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: first, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return nil, ErrCertificate.Because(errors.New("its chain breaks a rule of RFC 5280, 6"))
	}
	return path, nil
}

func (b *Bundle) anchored(c *x509.Certificate) bool {
	return slices.ContainsFunc(b.anchors, func(a *x509.Certificate) bool { return bytes.Equal(a.Raw, c.Raw) })
}

func certifiedBy(c, by *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, by.RawSubject) && c.CheckSignatureFrom(by) == nil
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// signatureAlgorithms are those by which certificates and revocation lists are signed: none
// with SHA-1.
var signatureAlgorithms = []x509.SignatureAlgorithm{
	x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
	x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
}

// strong reports whether a certificate's key and signature are of those taken. An authority
// may have P-521 beside what [document.CertifiedAlgorithms] are made with.
func strong(c *x509.Certificate) bool {
	if !slices.Contains(signatureAlgorithms, c.SignatureAlgorithm) {
		return false
	}
	switch k := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || c.IsCA && k.Curve == elliptic.P521()
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048 && k.N.BitLen() <= 8192 && k.E >= 65537
	}
	return false
}

// Purposes that are no extended key usage of crypto/x509: RFC 9336 and Microsoft's.
var documentSigning = []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 36}, {1, 3, 6, 1, 4, 1, 311, 10, 3, 12}}

// signsDocuments: RFC 5280, 4.2.1.3 and 4.2.1.12. A certificate for servers alone is none.
func signsDocuments(c *x509.Certificate) error {
	purposes := []x509.ExtKeyUsage{x509.ExtKeyUsageAny, x509.ExtKeyUsageEmailProtection, x509.ExtKeyUsageClientAuth}
	switch {
	case c.IsCA, c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0:
		return ErrCertificate.Because(errors.New("it is not for signatures (key usage digitalSignature or nonRepudiation)"))
	case len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0,
		slices.ContainsFunc(c.ExtKeyUsage, func(u x509.ExtKeyUsage) bool { return slices.Contains(purposes, u) }),
		slices.ContainsFunc(c.UnknownExtKeyUsage, func(u asn1.ObjectIdentifier) bool { return slices.ContainsFunc(documentSigning, u.Equal) }):
		return nil
	}
	return ErrCertificate.Because(errors.New("its extended key usage is not for documents"))
}
