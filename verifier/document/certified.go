package document

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"math/big"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// A document of a format with Certified may be signed by a key in a certificate instead, as
// JAdES baseline B in compact serialization has it (ETSI TS 119 182-1, V1.2.1, 6.3): the
// protected header brings the certificates (x5c), the digest of the first (x5t#S256) and
// when the signer says that they signed (iat; before July 2025 sigT). Nothing of that is
// believed here: whose certificate it is, and whether it counts, is for who knows the rules.

// CertifiedAlgorithms are those of signatures by a key in a certificate (RFC 7518, 3.3 to
// 3.5): what courts' cards and devices have, and none with SHA-1.
var CertifiedAlgorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.PS256, jose.RS256}

// Limits of a header that brings certificates.
const (
	maxCertifiedHeader = 32 << 10 // bytes, decoded
	MaxCertificates    = 5
)

// certified lists every parameter of such a header; another is refused, since what a
// signature policy, a commitment or a detached payload would say is checked by nobody here.
type certified struct {
	Alg  string          `json:"alg"`
	Typ  string          `json:"typ"`
	Cty  *string         `json:"cty"`
	Kid  *string         `json:"kid"` // TS 119 182-1, 5.1.4: a hint, which x5t#S256 makes idle
	Crit []string        `json:"crit"`
	Iat  json.RawMessage `json:"iat"`
	SigT *string         `json:"sigT"`
	X5C  []string        `json:"x5c"`
	X5T  string          `json:"x5t#S256"`
}

var certifiedNames = []string{"alg", "typ", "cty", "kid", "crit", "iat", "sigT", "x5c", "x5t#S256"}

// readCertified reads a header, strict JSON already, that brings certificates.
func (d *Signed) readCertified(head []byte) error {
	var names map[string]json.RawMessage
	var h certified
	if json.Unmarshal(head, &names) != nil || names["jwk"] != nil || names["jku"] != nil || names["x5u"] != nil {
		return BadCertified // a second key, of which nobody could say which one counts
	}
	for name := range names {
		if !slices.Contains(certifiedNames, name) {
			return BadCertified
		}
	}
	if json.Unmarshal(head, &h) != nil {
		return BadCertified
	}
	// RFC 7515, 4.1.11. JAdES before V1.2.1 listed its own parameters there (5.1.9).
	if names["crit"] != nil && (h.SigT == nil || !slices.Equal(h.Crit, []string{"sigT"})) {
		return BadCertified
	}
	d.Algorithm = jose.SignatureAlgorithm(h.Alg)
	if !slices.Contains(CertifiedAlgorithms, d.Algorithm) {
		return AlgNotAllowed
	}
	if !slices.Contains(d.format.Types, mediaType(h.Typ)) {
		return WrongType
	}
	if h.Cty != nil && mediaType(*h.Cty) != "json" { // TS 119 182-1, 5.1.3: of the payload
		return BadCertified
	}
	if err := d.readSignedAt(h); err != nil {
		return err
	}
	return d.readChain(h)
}

// readSignedAt: exactly one of iat (TS 119 182-1, 5.1.11: whole seconds) and sigT (5.2.1).
func (d *Signed) readSignedAt(h certified) error {
	var ok bool
	switch {
	case (h.Iat == nil) == (h.SigT == nil):
		return BadCertified
	case h.SigT != nil:
		at, err := time.Parse("2006-01-02T15:04:05Z", *h.SigT)
		d.SignedAt, ok = at, err == nil
	default:
		d.SignedAt, ok = NumericDate(h.Iat)
		ok = ok && !bytes.ContainsAny(h.Iat, ".eE")
	}
	if !ok {
		return BadCertified
	}
	return nil
}

// readChain reads the certificates. RFC 7515, 4.1.6: base64, not base64url, and the first
// has the key that signed; 4.1.8: x5t#S256 is the digest of that one.
func (d *Signed) readChain(h certified) error {
	if len(h.X5C) == 0 {
		return BadCertified
	}
	if len(h.X5C) > MaxCertificates {
		return BadCertified
	}
	d.Certificates = make([]*x509.Certificate, len(h.X5C))
	for i, text := range h.X5C {
		der, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || base64.StdEncoding.EncodeToString(der) != text {
			return BadCertified
		}
		if d.Certificates[i], err = x509.ParseCertificate(der); err != nil {
			return BadCertified
		}
	}
	digest := sha256.Sum256(d.Certificates[0].Raw)
	if h.X5T != base64.RawURLEncoding.EncodeToString(digest[:]) {
		return BadCertified
	}
	return nil
}

// VerifyCertified checks the signature with the key in the first certificate that the header
// brought, over the very bytes that were received. Without certificates it is refused.
func (d *Signed) VerifyCertified() error {
	if len(d.Certificates) == 0 {
		return d.format.Refuse(UntrustedKey)
	}
	public := d.Certificates[0].PublicKey
	if !slices.Contains(certifies(public), d.Algorithm) || !verifyCertified(public, d.Algorithm, d.input(), d.signature) {
		return d.format.Refuse(BadSignature)
	}
	return nil
}

func verifyCertified(public any, alg jose.SignatureAlgorithm, input, signature []byte) bool {
	hash := hashOf(alg)
	digest := hash.New()
	digest.Write(input)
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		n := k.Params().BitSize / 8
		return len(signature) == 2*n && ecdsa.Verify(k, digest.Sum(nil), new(big.Int).SetBytes(signature[:n]), new(big.Int).SetBytes(signature[n:]))
	case *rsa.PublicKey:
		if alg == jose.PS256 { // RFC 7518, 3.5: the salt is as long as the digest
			return rsa.VerifyPSS(k, hash, digest.Sum(nil), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(k, hash, digest.Sum(nil), signature) == nil
	}
	return false
}

func hashOf(alg jose.SignatureAlgorithm) crypto.Hash {
	if alg == jose.ES384 {
		return crypto.SHA384
	}
	return crypto.SHA256
}

// certifies are the algorithms that a key in a certificate may be used with, the first of
// them to sign with; none of a key that is weak or of another kind.
func certifies(public any) []jose.SignatureAlgorithm {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []jose.SignatureAlgorithm{jose.ES256}
		case elliptic.P384():
			return []jose.SignatureAlgorithm{jose.ES384}
		}
	case *rsa.PublicKey:
		if checkRSA(k.N, big.NewInt(int64(k.E))) == nil {
			return []jose.SignatureAlgorithm{jose.PS256, jose.RS256}
		}
	}
	return nil
}

// CertifiedKey is a key to sign with that a certificate is about: chain has it first, then
// what certified it, and so on. The signer can be a device. It signs as JAdES baseline B
// where a [Format] is Certified, with PS256 if it is an RSA key, and with no other format's
// key in its header. now is when a signature says that it was made. The error is a [Fault].
func CertifiedKey(signer crypto.Signer, chain []*x509.Certificate, now func() time.Time) (jose.JSONWebKey, error) {
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case len(chain) == 0 || len(chain) > MaxCertificates || !ok || !public.Equal(chain[0].PublicKey):
		return jose.JSONWebKey{}, AlgKeyMismatch
	case len(certifies(signer.Public())) == 0:
		return jose.JSONWebKey{}, WeakKey
	}
	return jose.JSONWebKey{Key: certifiedSigner{signer, now}, Certificates: chain}, nil
}

// certifiedSigner is a [jose.OpaqueSigner]: it knows what a JWK cannot say.
type certifiedSigner struct {
	crypto.Signer
	now func() time.Time
}

// Public implements [jose.OpaqueSigner].
func (s certifiedSigner) Public() *jose.JSONWebKey { return &jose.JSONWebKey{Key: s.Signer.Public()} }

// Algs implements [jose.OpaqueSigner].
func (s certifiedSigner) Algs() []jose.SignatureAlgorithm { return certifies(s.Signer.Public()) }

// SignPayload implements [jose.OpaqueSigner].
func (s certifiedSigner) SignPayload(payload []byte, alg jose.SignatureAlgorithm) ([]byte, error) {
	hash := hashOf(alg)
	digest := hash.New()
	digest.Write(payload)
	switch alg {
	case jose.PS256:
		return s.Sign(rand.Reader, digest.Sum(nil), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash})
	case jose.RS256:
		return s.Sign(rand.Reader, digest.Sum(nil), hash)
	case jose.ES256, jose.ES384:
		der, err := s.Sign(rand.Reader, digest.Sum(nil), hash)
		if err != nil {
			return nil, err
		}
		var rs struct{ R, S *big.Int }
		if rest, err := asn1.Unmarshal(der, &rs); err != nil || len(rest) > 0 {
			return nil, errors.New("the device did not give an ECDSA signature")
		}
		n := s.Signer.Public().(*ecdsa.PublicKey).Params().BitSize / 8
		if rs.R.Sign() <= 0 || rs.S.Sign() <= 0 || rs.R.BitLen() > 8*n || rs.S.BitLen() > 8*n {
			return nil, errors.New("the device did not give an ECDSA signature of its curve")
		}
		return slices.Concat(rs.R.FillBytes(make([]byte, n)), rs.S.FillBytes(make([]byte, n))), nil
	}
	return nil, jose.ErrUnsupportedAlgorithm
}

// certifiedOptions are what a header says beside alg and typ, by whom it is signed.
func certifiedOptions(key jose.JSONWebKey, signer certifiedSigner, opts *jose.SignerOptions) *jose.SignerOptions {
	x5c := make([]string, len(key.Certificates))
	for i, c := range key.Certificates {
		x5c[i] = base64.StdEncoding.EncodeToString(c.Raw)
	}
	digest := sha256.Sum256(key.Certificates[0].Raw)
	return opts.WithHeader("x5c", x5c).WithHeader("x5t#S256", base64.RawURLEncoding.EncodeToString(digest[:])).WithHeader("iat", signer.now().Unix())
}
