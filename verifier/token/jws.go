package token

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	stdjson "encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json" // case-sensitive, unlike encoding/json
)

const (
	maxToken  = 8 << 10 // bytes, a whole compact token
	maxHeader = 2 << 10 // bytes, decoded
	maxDepth  = 16      // nested JSON objects and arrays
)

// algorithms is everything that is ever verified. RFC 8725, section 3.1:
// "Libraries MUST enable the caller to specify a supported set of algorithms".
// Here the set is not the caller's choice.
var algorithms = []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256}

// jws is a compact JWS whose form and header have been checked. Its signature
// has not.
type jws struct {
	raw     string
	alg     jose.SignatureAlgorithm
	typ     string // lower case, without "application/"
	kid     string
	hasKid  bool
	jwk     json.RawMessage // only where the slot allows an embedded key
	payload []byte          // untrusted until verify
}

// header lists every parameter that is looked at. Pointers and raw messages tell
// absence from emptiness; types are checked by hand so that each has its fault.
type header struct {
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

// parse checks size, form and header of a compact JWS. typs are the types that
// the slot accepts, in lower case; "" stands for an absent typ. embedded says
// whether the header must bring its key (DPoP) or must not (everything else).
func parse(raw string, limit int, a area, embedded bool, typs ...string) (*jws, error) {
	if len(raw) > limit {
		return nil, a[tooLarge]
	}
	parts := strings.SplitN(raw, ".", 4)
	if len(parts) != 3 {
		return nil, a[malformed]
	}
	if base64.RawURLEncoding.DecodedLen(len(parts[0])) > maxHeader {
		return nil, a[tooLarge]
	}
	head, err := decodeBase64(parts[0])
	if err != nil {
		return nil, a[malformed]
	}
	if err := checkJSON(head); err != nil {
		return nil, a.json(err)
	}
	var h header
	if json.Unmarshal(head, &h) != nil {
		return nil, a[malformed]
	}
	j := &jws{raw: raw, jwk: h.JWK}
	// RFC 7515, 4.1.11: "If any of the listed extension Header Parameters are not
	// understood and supported by the recipient, then the JWS is invalid." None is.
	if h.Crit != nil || h.B64 != nil {
		return nil, a[unsupportedCrit]
	}
	var alg string
	if json.Unmarshal(h.Alg, &alg) != nil || !slices.Contains(algorithms, jose.SignatureAlgorithm(alg)) {
		return nil, a[algNotAllowed]
	}
	j.alg = jose.SignatureAlgorithm(alg)
	// RFC 8725, 3.10: "blindly following a 'jku' or 'x5u' header … could result in
	// server-side request forgery". Nothing that a header says about keys is followed.
	if h.JKU != nil || h.X5C != nil || h.X5U != nil || h.JWK != nil && !embedded {
		return nil, a[untrustedKey]
	}
	// RFC 8725, 3.11: explicit typing. RFC 7515, 4.1.9: "application/" may be left
	// out, and media types are compared without regard to case.
	if h.Typ != nil {
		j.typ = strings.TrimPrefix(strings.ToLower(*h.Typ), "application/")
	}
	if !slices.Contains(typs, j.typ) || h.Typ != nil && *h.Typ == "" {
		return nil, a[wrongTyp]
	}
	if h.Cty != nil { // RFC 7519, 5.2: set for nested JWTs only, which are not accepted
		return nil, a[malformed]
	}
	if h.Kid != nil {
		j.kid, j.hasKid = *h.Kid, true
	}
	if j.payload, err = decodeBase64(parts[1]); err != nil {
		return nil, a[malformed]
	}
	// A signature of the wrong length is a bad signature, not a malformed token.
	if _, err = decodeBase64(parts[2]); err != nil {
		return nil, a[malformed]
	}
	return j, nil
}

// verify checks the signature with a key that was already chosen for j.alg and
// checks that the payload is strict JSON.
func (j *jws) verify(key any, a area) error {
	parsed, err := jose.ParseSignedCompact(j.raw, algorithms)
	if err != nil {
		return a[badSignature]
	}
	payload, err := parsed.Verify(key)
	if err != nil || !bytes.Equal(payload, j.payload) {
		return a[badSignature]
	}
	if err := checkJSON(j.payload); err != nil {
		return a.json(err)
	}
	return nil
}

// sign makes a compact JWS with a typ and the key's kid.
func sign(key jose.JSONWebKey, typ string, embed bool, payload []byte) (string, error) {
	var alg jose.SignatureAlgorithm
	switch k := key.Key.(type) {
	case ed25519.PrivateKey:
		alg = jose.EdDSA
	case *ecdsa.PrivateKey:
		if k.Curve == elliptic.P256() {
			alg = jose.ES256
		}
	case jose.OpaqueSigner:
		for _, candidate := range k.Algs() {
			if slices.Contains(algorithms, candidate) {
				alg = candidate
			}
		}
	}
	if alg == "" {
		return "", ErrCannotSign
	}
	var signingKey any = key
	if embed {
		signingKey = key.Key // without kid, use and certificates: only what RFC 7638 hashes
	}
	opts := (&jose.SignerOptions{EmbedJWK: embed}).WithType(jose.ContentType(typ))
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: signingKey}, opts)
	if err != nil {
		return "", ErrCannotSign
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", ErrCannotSign.Because(err)
	}
	return signed.CompactSerialize()
}

// json maps an error of checkJSON.
func (a area) json(err error) error {
	if errors.Is(err, errTooDeep) {
		return a[tooLarge]
	}
	return a[malformed]
}

var (
	errNotStrict = errors.New("not strict JSON")
	errTooDeep   = errors.New("JSON nested too deeply")
	errBase64    = errors.New("not strict base64url")
)

var base64url = base64.RawURLEncoding.Strict()

// decodeBase64 decodes strictly: no padding, no line breaks (which encoding/base64
// skips silently), unused bits zero, not empty. RFC 7515, section 2, "Base64url".
func decodeBase64(s string) ([]byte, error) {
	if s == "" || strings.ContainsAny(s, "\r\n") {
		return nil, errBase64
	}
	return base64url.DecodeString(s)
}

// checkJSON checks that b is one JSON object in UTF-8 (RFC 8725, section 3.7),
// without duplicate members (RFC 7515, section 4), lone surrogates or more than
// maxDepth levels.
func checkJSON(b []byte) error {
	if !utf8.Valid(b) || !stdjson.Valid(b) || loneSurrogate(b) || bytes.TrimLeft(b, " \t\r\n")[0] != '{' {
		return errNotStrict
	}
	// From here on b is a JSON object, so that only brackets, commas and strings matter.
	var open []map[string]bool // names so far of each open object, nil for an array
	name := false              // the next string is a member's name
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{':
			open, name = append(open, map[string]bool{}), true
		case '[':
			open, name = append(open, nil), false
		case '}', ']':
			open, name = open[:len(open)-1], false
		case ',':
			name = open[len(open)-1] != nil
		case '"':
			end := stringEnd(b, i)
			if name {
				s, names := unquote(b[i:end]), open[len(open)-1]
				if names[s] {
					return errNotStrict
				}
				names[s], name = true, false
			}
			i = end - 1
		}
		if len(open) > maxDepth {
			return errTooDeep
		}
	}
	return nil
}

// stringEnd is the index after the string that begins at b[i].
func stringEnd(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// unquote decodes a string of valid JSON: "sub" and "s\u0075b" are one name.
func unquote(quoted []byte) (s string) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	_ = json.Unmarshal(quoted, &s) // cannot fail
	return s
}

// loneSurrogate reports whether an escape sequence in b is half a UTF-16 pair,
// which Go's decoders would replace silently.
func loneSurrogate(b []byte) bool {
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		i++
		switch u, ok := escape(b, i); {
		case !ok || u < 0xd800 || u > 0xdfff:
			continue
		case u >= 0xdc00:
			return true
		}
		if low, ok := escape(b, i+6); !ok || b[i+5] != '\\' || low < 0xdc00 || low > 0xdfff {
			return true
		}
		i += 10
	}
	return false
}

// escape reads uXXXX at b[i:].
func escape(b []byte, i int) (u uint32, ok bool) {
	if i+5 > len(b) || b[i] != 'u' {
		return 0, false
	}
	for _, c := range b[i+1 : i+5] {
		switch {
		case '0' <= c && c <= '9':
			u = u<<4 | uint32(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			u = u<<4 | uint32(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return u, true
}

// lastSecond is the end of the year 9999.
const lastSecond = 253402300799

// numericDate reads a NumericDate (RFC 7519, section 2): a JSON number of
// seconds, perhaps with a fraction, which is cut off. Nothing before 1970 or
// after the year 9999 is a time here.
func numericDate(raw json.RawMessage) (time.Time, bool) {
	var seconds float64
	if len(raw) == 0 || raw[0] < '0' || raw[0] > '9' || json.Unmarshal(raw, &seconds) != nil || seconds > lastSecond {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0).UTC(), true
}
