package document

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	stdjson "encoding/json"
	"errors"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // case-sensitive, unlike encoding/json

	"github.com/penname/penname/verifier/refusal"
)

// maxHeader is the size of a decoded header, in bytes.
const maxHeader = 2 << 10

// Format is one kind of signed document: a JWS in compact serialization (RFC
// 7515, 3.1). RFC 8725, 3.11 and 3.12: each kind has a typ of its own, so that
// no document passes for another.
type Format struct {
	// Types are the values of typ that are accepted, in lower case and without
	// "application/"; "" stands for an absent typ. Sign writes the first.
	Types []string
	// MaxBytes is the size of the compact serialization.
	MaxBytes int
	// Algorithms are those that are verified. RFC 8725, 3.1: "Libraries MUST
	// enable the caller to specify a supported set of algorithms".
	Algorithms []jose.SignatureAlgorithm
	// EmbeddedKey says that the header must bring its key (DPoP) and no kid.
	// Anywhere else such a header is refused.
	EmbeddedKey bool
	// ExactHeader refuses a header that is not, byte for byte, what Sign writes:
	// alg, kid and typ.
	ExactHeader bool
	// ExactPayload refuses a payload that is not, byte for byte, what its writer
	// would write; see Read.
	ExactPayload bool
	// Certified says that a key in a certificate may sign as well, in JAdES baseline B; such
	// a header has no one spelling, but no parameter that is not known.
	Certified bool
	// Refusals give each fault its refusal in this kind; what is not named is
	// refused as Malformed, which must be.
	Refusals map[Fault]*refusal.Error

	last atomic.Pointer[lastHeader] // nothing but what reading the same bytes again would give
}

// SignatureAlgorithms are those of our own documents (RFC 8037; RFC 7518, 3.4).
var SignatureAlgorithms = []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256}

// Ed25519 is what RFC 9864, 2.2, calls [jose.EdDSA] with an Ed25519 key, the only one that
// is taken here. Where a format takes this name, it is read as the older one.
const Ed25519 jose.SignatureAlgorithm = "Ed25519"

// IDTokenAlgorithms are those of ID tokens, which readers that nobody here wrote check:
// RS256 too, since "an OpenID Provider … MUST support signing ID Tokens with the RSA
// SHA-256 algorithm" (OpenID Connect Core, 15.1; RFC 7518, 3.3).
var IDTokenAlgorithms = append(slices.Clip(SignatureAlgorithms), jose.RS256)

// Refuse is the format's refusal of a [Fault]; of any other error, that of
// Malformed.
func (f *Format) Refuse(fault error) *refusal.Error {
	var is Fault
	if errors.As(fault, &is) && f.Refusals[is] != nil {
		return f.Refusals[is]
	}
	return f.Refusals[Malformed]
}

// Signed is a document whose form and header are checked. Its signature is not,
// until [Signed.Verify] says so.
type Signed struct {
	Raw     string // as received
	Payload []byte // the signer's word only after Verify
	header

	format    *Format
	signature []byte
}

// header is what a good header says.
type header struct {
	Algorithm jose.SignatureAlgorithm
	KeyID     string
	HasKeyID  bool
	jwk       json.RawMessage // only where the format embeds a key

	Certificates []*x509.Certificate // of a Certified format, see [Signed.VerifyCertified]: the signer's first
	SignedAt     time.Time           // with them: when the signer says that they signed
}

// lastHeader is the header that was read last: an issuer writes the same one on all its
// documents until its key changes.
type lastHeader struct {
	written string // base64url
	header
}

// parameters lists every parameter of a header that is looked at. Pointers and raw messages tell
// absence from emptiness; types are checked by hand so that each has its fault.
type parameters struct {
	Alg  json.RawMessage `json:"alg"`
	Typ  *string         `json:"typ"`
	Cty  *string         `json:"cty"`
	Kid  *string         `json:"kid"`
	Crit json.RawMessage `json:"crit"`
	B64  json.RawMessage `json:"b64"`
	JWK  json.RawMessage `json:"jwk"`
	JKU  json.RawMessage `json:"jku"`
	X5C  json.RawMessage `json:"x5c"`
	X5U  json.RawMessage `json:"x5u"`
}

// Open takes raw apart and checks its size, form and header, not its signature.
// It returns a refusal of the format.
func (f *Format) Open(raw string) (*Signed, error) {
	d, err := f.open(raw)
	if err != nil {
		return nil, f.Refuse(err)
	}
	return d, nil
}

func (f *Format) open(raw string) (*Signed, error) {
	if len(raw) > f.MaxBytes {
		return nil, TooLarge
	}
	head, rest, _ := strings.Cut(raw, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(signature, ".") {
		return nil, Unsigned
	}
	d := &Signed{Raw: raw, format: f}
	if last := f.last.Load(); last != nil && last.written == head {
		d.header = last.header
	} else if err := d.readHeader(head); err != nil {
		return nil, err
	}
	if signature == "" {
		return nil, Unsigned
	}
	var err error
	if d.Payload, err = DecodeBase64(payload); err != nil {
		return nil, err
	}
	// A signature of the wrong length is a bad signature, not a malformed document.
	if d.signature, err = DecodeBase64(signature); err != nil {
		return nil, err
	}
	return d, nil
}

// readHeader reads a header that is not, byte for byte, the last one that was good.
func (d *Signed) readHeader(written string) error {
	size := base64.RawURLEncoding.DecodedLen(len(written))
	if size > maxCertifiedHeader || size > maxHeader && !d.format.Certified {
		return TooComplex
	}
	head, err := DecodeBase64(written)
	if err != nil {
		return err
	}
	if err := CheckJSON(head); err != nil {
		return err
	}
	var h parameters
	if json.Unmarshal(head, &h) != nil {
		return Malformed
	}
	if h.X5C != nil && d.format.Certified {
		return d.readCertified(head)
	}
	if size > maxHeader {
		return TooComplex
	}
	// RFC 7515, 4.1.11: "If any of the listed extension Header Parameters are not
	// understood and supported by the recipient, then the JWS is invalid." None is.
	if h.Crit != nil || h.B64 != nil {
		return UnsupportedCrit
	}
	var alg string
	if json.Unmarshal(h.Alg, &alg) != nil || !slices.Contains(d.format.Algorithms, jose.SignatureAlgorithm(alg)) {
		return AlgNotAllowed
	}
	d.Algorithm = older(alg)
	// RFC 8725, 3.10: "blindly following a 'jku' or 'x5u' header … could result in
	// server-side request forgery". Nothing that a header says about keys is followed.
	if h.JKU != nil || h.X5C != nil || h.X5U != nil || h.JWK != nil && !d.format.EmbeddedKey {
		return UntrustedKey
	}
	// RFC 8725, 3.11: explicit typing.
	typ := ""
	if h.Typ != nil {
		typ = mediaType(*h.Typ)
	}
	if !slices.Contains(d.format.Types, typ) || h.Typ != nil && *h.Typ == "" {
		return WrongType
	}
	if h.Cty != nil { // RFC 7519, 5.2: set for nested JWTs only, which are not accepted
		return Malformed
	}
	if h.Kid != nil {
		d.KeyID, d.HasKeyID = *h.Kid, true
	}
	if d.format.ExactHeader && !(keyID.MatchString(d.KeyID) && string(head) == d.format.exactHeader(d.Algorithm, d.KeyID)) {
		return Malformed
	}
	d.jwk = h.JWK
	if !d.format.EmbeddedKey { // with the key in it, every client has a header of its own
		d.format.last.Store(&lastHeader{strings.Clone(written), d.header})
	}
	return nil
}

// mediaType is a typ or cty as it is compared. RFC 7515, 4.1.9: "application/" may be left
// out, and media types are compared without regard to case.
func mediaType(s string) string { return strings.TrimPrefix(strings.ToLower(s), "application/") }

// older is the name by which this package knows an algorithm.
func older(alg string) jose.SignatureAlgorithm {
	if alg == string(Ed25519) {
		return jose.EdDSA
	}
	return jose.SignatureAlgorithm(alg)
}

// keyID keeps a kid free of anything that JSON would have to escape.
var keyID = regexp.MustCompile(`^[A-Za-z0-9._:=-]{1,128}$`)

// exactHeader is the one header of an ExactHeader format.
func (f *Format) exactHeader(alg jose.SignatureAlgorithm, kid string) string {
	return `{"alg":"` + string(alg) + `","kid":"` + kid + `","typ":"` + f.Types[0] + `"}`
}

// Verify checks the signature over the very bytes that were received. public is
// an ed25519.PublicKey, a *ecdsa.PublicKey or a *rsa.PublicKey.
func (d *Signed) Verify(public any) error {
	if len(d.Certificates) > 0 || algorithmOf(public) != d.Algorithm || !verify(public, d.input(), d.signature) {
		return d.format.Refuse(BadSignature)
	}
	return nil
}

// input is what was signed (RFC 7515, 5.2, step 8).
func (d *Signed) input() []byte { return []byte(d.Raw[:strings.LastIndexByte(d.Raw, '.')]) }

func verify(public any, input, signature []byte) bool {
	switch k := public.(type) {
	case ed25519.PublicKey: // RFC 8037, 3.1
		return ed25519.Verify(k, input, signature)
	case *ecdsa.PublicKey: // RFC 7518, 3.4: r and s, 32 bytes each
		if len(signature) != 64 {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		digest := sha256.Sum256(input)
		return ecdsa.Verify(k, digest[:], r, s)
	case *rsa.PublicKey: // RFC 7518, 3.3: RSASSA-PKCS1-v1_5 (RFC 8017, 8.2.2)
		digest := sha256.Sum256(input)
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], signature) == nil
	}
	return false
}

// VerifyEmbedded checks the signature with the key that the header brought, and
// returns that key. It refuses a key that [ParseKey] does.
func (d *Signed) VerifyEmbedded() (*Key, error) {
	if d.jwk == nil {
		return nil, d.format.Refuse(UntrustedKey)
	}
	key, err := ParseKey(d.jwk)
	if err == nil && (key.Algorithm != d.Algorithm || !key.signs) {
		err = AlgKeyMismatch
	}
	if err != nil {
		return nil, d.format.Refuse(UntrustedKey).Because(err)
	}
	if err := d.Verify(key.Public); err != nil {
		return nil, err
	}
	return key, nil
}

// Read decodes a payload of the format into v. It refuses what [CheckJSON] does,
// and with ExactPayload everything that write, called after it, would write in
// another way: unknown, repeated and reordered members, null, other escapes, white
// space, invalid UTF-8 and trailing bytes. Unknown members pass otherwise.
//
// It returns a refusal of the format.
func (f *Format) Read(payload []byte, v any, write func() ([]byte, error)) error {
	if f.ExactPayload {
		if err := ReadExactly(payload, v, write); err != nil {
			return f.Refuse(Malformed).Because(err)
		}
		return nil
	}
	if err := CheckJSON(payload); err != nil {
		return f.Refuse(err)
	}
	if json.Unmarshal(payload, v) != nil {
		return f.Refuse(Malformed)
	}
	return nil
}

// ReadExactly decodes b into v and refuses it unless write, called after it, gives
// the same bytes: so a name in other letters, or one that is there twice, is found too.
func ReadExactly(b []byte, v any, write func() ([]byte, error)) error {
	if stdjson.Unmarshal(b, v) != nil {
		return errors.New("not JSON of the published form")
	}
	if again, err := write(); err != nil || !bytes.Equal(again, b) {
		return errors.New("not canonical")
	}
	return nil
}

// ReadUnverified decodes the payload of a compact JWS and checks nothing else:
// not its kind, nor who signed it. It is for what was verified before.
func ReadUnverified(raw string, v any) bool {
	parts := strings.SplitN(raw, ".", 4)
	if len(parts) != 3 {
		return false
	}
	payload, err := DecodeBase64(parts[1])
	return err == nil && json.Unmarshal(payload, v) == nil
}

// Sign makes the compact serialization of payload with a private key, or a
// [jose.OpaqueSigner] in its place. It refuses what Open would.
func (f *Format) Sign(key jose.JSONWebKey, payload []byte) (string, error) {
	alg, algorithms := algorithmOf(key.Key), f.Algorithms
	by, isCertified := key.Key.(certifiedSigner)
	if isCertified && f.Certified {
		algorithms = CertifiedAlgorithms
	}
	if opaque, ok := key.Key.(jose.OpaqueSigner); ok {
		if i := slices.IndexFunc(opaque.Algs(), func(a jose.SignatureAlgorithm) bool { return slices.Contains(algorithms, a) }); i >= 0 {
			alg = opaque.Algs()[i]
		}
	}
	if !slices.Contains(algorithms, alg) || key.IsPublic() || f.ExactHeader && !keyID.MatchString(key.KeyID) && !(isCertified && f.Certified) {
		return "", f.Refuse(CannotSign)
	}
	var signingKey any = key
	if f.EmbeddedKey || isCertified {
		signingKey = key.Key // without kid, use and certificates: only what RFC 7638 hashes
	}
	opts := (&jose.SignerOptions{EmbedJWK: f.EmbeddedKey}).WithType(jose.ContentType(f.Types[0]))
	if isCertified && f.Certified {
		opts = certifiedOptions(key, by, opts)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: signingKey}, opts)
	if err != nil {
		return "", f.Refuse(CannotSign).Because(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", f.Refuse(CannotSign).Because(err)
	}
	raw, err := signed.CompactSerialize()
	if err != nil {
		return "", f.Refuse(CannotSign).Because(err)
	}
	if len(raw) > f.MaxBytes {
		return "", f.Refuse(TooLarge)
	}
	return raw, nil
}

// algorithmOf is the one algorithm that a key may be used with, or "".
func algorithmOf(key any) jose.SignatureAlgorithm {
	switch k := key.(type) {
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return jose.EdDSA
		}
	case ed25519.PrivateKey:
		if len(k) == ed25519.PrivateKeySize {
			return jose.EdDSA
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return jose.ES256
		}
	case *ecdsa.PrivateKey:
		return algorithmOf(&k.PublicKey)
	case *rsa.PublicKey:
		return jose.RS256
	case *rsa.PrivateKey:
		return jose.RS256
	}
	return ""
}
