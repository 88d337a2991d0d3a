package policy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/refusal"
	"github.com/penname/penname/verifier/token"
)

// format is one kind of signed document. RFC 8725, 3.11 and 3.12: each kind has
// a typ of its own, so no document passes for another.
type format struct {
	typ string
	max int // bytes of the compact serialization

	tooLarge, unsigned, malformed, badSignature *refusal.Error
}

var (
	warrantFormat     = format{"penname-warrant+jwt", 1 << 20, ErrTooLarge, ErrUnsigned, ErrMalformed, ErrBadSignature}
	approvalFormat    = format{"penname-approval+jwt", 4 << 20, ErrApprovalTooLarge, ErrApprovalUnsigned, ErrApprovalMalformed, ErrApprovalSignature}
	endorsementFormat = format{"penname-endorsement+jwt", 4 << 10, ErrBadEndorsement, ErrBadEndorsement, ErrBadEndorsement, ErrBadEndorsement}
)

var algorithms = []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256}

// kidPattern keeps a key id free of anything that JSON would have to escape.
var kidPattern = regexp.MustCompile(`^[A-Za-z0-9._:=-]{1,128}$`)

type header struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

// envelope is a JWS whose shape is right and whose signature is not checked yet.
type envelope struct {
	format  *format
	raw     string
	kid     string
	payload []byte
}

// open takes raw apart without checking the signature. It accepts one spelling
// of a JWS only, so that nobody can make a second document with the same
// signature: RFC 7515, 3.1 three parts, base64url without padding, and a header
// that is exactly what sign writes. An unknown crit, a jwk, jku or x5c cannot
// occur in such a header (RFC 7515, 4.1.11; RFC 8725, 3.10).
func (f *format) open(raw string) (*envelope, error) {
	if len(raw) > f.max {
		return nil, f.tooLarge
	}
	parts := strings.SplitN(raw, ".", 4)
	if len(parts) != 3 || parts[2] == "" {
		return nil, f.unsigned
	}
	var decoded [3][]byte
	for i, part := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(part)
		// The decoder skips line breaks, even when it is strict.
		if err != nil || base64.RawURLEncoding.EncodedLen(len(b)) != len(part) {
			return nil, f.malformed.Because(errors.New("not base64url"))
		}
		decoded[i] = b
	}
	var h header
	if err := json.Unmarshal(decoded[0], &h); err != nil {
		return nil, f.malformed.Because(errors.New("header is not JSON"))
	}
	if h.Algorithm != string(jose.EdDSA) && h.Algorithm != string(jose.ES256) {
		return nil, f.unsigned
	}
	again, err := canonical(h)
	if err != nil || !bytes.Equal(again, decoded[0]) || h.Type != f.typ || !kidPattern.MatchString(h.KeyID) {
		return nil, f.malformed.Because(errors.New("header is not exactly alg, kid, typ"))
	}
	return &envelope{format: f, raw: raw, kid: h.KeyID, payload: decoded[1]}, nil
}

// verify checks the signature over the very bytes that open decoded.
func (e *envelope) verify(key jose.JSONWebKey) error {
	jws, err := jose.ParseSignedCompact(e.raw, algorithms)
	if err != nil {
		return e.format.malformed.Because(err)
	}
	payload, err := jws.Verify(key.Key)
	if err != nil || !bytes.Equal(payload, e.payload) {
		return e.format.badSignature
	}
	return nil
}

// sign makes the compact serialization of payload.
func (f *format) sign(key jose.JSONWebKey, payload []byte) (string, error) {
	alg, ok := algorithmOf(key.Public())
	if !ok || key.IsPublic() || !kidPattern.MatchString(key.KeyID) {
		return "", ErrKey
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType(jose.ContentType(f.typ)))
	if err != nil {
		return "", ErrKey.Because(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", ErrKey.Because(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		return "", ErrKey.Because(err)
	}
	if len(raw) > f.max {
		return "", f.tooLarge
	}
	return raw, nil
}

// algorithmOf returns the one algorithm that a public key may be used with.
func algorithmOf(public jose.JSONWebKey) (jose.SignatureAlgorithm, bool) {
	switch k := public.Key.(type) {
	case ed25519.PublicKey:
		return jose.EdDSA, len(k) == ed25519.PublicKeySize
	case *ecdsa.PublicKey:
		return jose.ES256, k.Curve == elliptic.P256()
	}
	return "", false
}

// parseKey reads one public JWK of the kinds that may sign documents. The key
// set parser refuses what is private, off its curve or weak.
func parseKey(jwk []byte) (jose.JSONWebKey, error) {
	var key jose.JSONWebKey
	if _, err := token.ParseKeySet(slices.Concat([]byte(`{"keys":[`), jwk, []byte(`]}`))); err != nil {
		return key, err
	}
	if err := json.Unmarshal(jwk, &key); err != nil {
		return key, errors.New("not a JWK")
	}
	alg, ok := algorithmOf(key)
	switch {
	case !ok:
		return key, errors.New("not a public Ed25519 or P-256 key")
	case !kidPattern.MatchString(key.KeyID):
		return key, errors.New("no usable kid")
	case key.Algorithm != "" && key.Algorithm != string(alg):
		return key, errors.New("alg is for another kind of key")
	case key.Use != "" && key.Use != "sig":
		return key, errors.New("use is not sig")
	}
	return key, nil
}

// canonical encodes v as RFC 8785 does: members sorted, no white space, no
// needless escapes. Every number in our formats is an integer, and member names
// are ASCII. U+2028 and U+2029, which encoding/json escapes and RFC 8785 does
// not, are refused in every text by displayable.
func canonical(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(tree); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// normaliser is a payload that knows its own normal form: times in UTC and whole
// seconds, lists never null.
type normaliser[T any] interface {
	*T
	normalise()
}

// parse reads canonical JSON. Unknown, duplicate or differently cased members,
// null, other escapes, white space, invalid UTF-8 and trailing bytes all change
// the bytes when they are written again, so one comparison refuses them all.
func parse[T any, P normaliser[T]](b []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(b, v); err != nil {
		return nil, errors.New("not JSON of the published form")
	}
	again, err := marshal[T, P](*v)
	if err != nil || !bytes.Equal(again, b) {
		return nil, errors.New("not canonical")
	}
	P(v).normalise()
	return v, nil
}

func marshal[T any, P normaliser[T]](v T) ([]byte, error) {
	P(&v).normalise()
	return canonical(v)
}
