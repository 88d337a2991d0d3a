package token

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// notApplicable are the rows of table T that have no place in this package.
var notApplicable = map[string]string{
	"T21": "PSS signatures are never verified: T04 shows that PS256 is refused before any key is looked at",
	"T52": "allotting status indices is the issuer's: a unique constraint in escrow/postgres",
	"T54": "inclusion proofs are verifier/proof's",
}

// TestEveryRowOfTableTIsHere fails when a row is dropped, and prints those that
// do not apply with the reason.
func TestEveryRowOfTableTIsHere(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no test sources", err)
	}
	var sources []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, b...)
	}
	check := func(letter string, last int, elsewhere map[string]string) {
		for n := 1; n <= last; n++ {
			id := fmt.Sprintf("%s%02d", letter, n)
			tested := regexp.MustCompile(`(func Test|")` + id + `[A-Z ]`).Match(sources)
			switch reason := elsewhere[id]; {
			case reason != "" && tested:
				t.Errorf("%s is tested and listed as not applicable", id)
			case reason != "":
				t.Logf("%s does not apply: %s", id, reason)
			case !tested:
				t.Errorf("%s has no test", id)
			}
		}
	}
	check("T", 56, notApplicable)
	check("P", 32, proofsNotApplicable)
}

// tokenRow is a row of table T, or one of its forms, that a token shows.
type tokenRow struct {
	name string // begins with the id
	raw  string
	want *refusal.Error // nil: must pass
}

func runRows(t *testing.T, rows []tokenRow) {
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if row.want == nil {
				expectPass(t, newVerifier(t), row.raw)
				return
			}
			expect(t, newVerifier(t), row.raw, row.want)
		})
	}
}

func TestGoodTokensPass(t *testing.T) {
	claims := with(goodClaims(), object{"penname_commitment": b64(bytes.Repeat([]byte{7}, 32)), "cnf": object{"jkt": b64(make([]byte, 32))}})
	for name, raw := range map[string]string{
		"EdDSA":             forged(edKey("issuer"), edHeader(), claims),
		"ES256":             forged(ecKey("issuer"), ecHeader(), claims),
		"no typ":            forged(edKey("issuer"), with(edHeader(), object{"typ": nil}), claims),
		"typ jwt":           forged(edKey("issuer"), with(edHeader(), object{"typ": "jwt"}), claims),
		"typ long":          forged(edKey("issuer"), with(edHeader(), object{"typ": "application/jwt"}), claims),
		"extra header":      forged(edKey("issuer"), with(edHeader(), object{"x5t": "AAAA", "x-note": []int{1}}), claims),
		"extra claims":      forged(edKey("issuer"), edHeader(), with(claims, object{"auth_time": 1, "more": object{"deep": []any{nil, true, "é\U0001F600"}}})),
		"aud array of one":  forged(edKey("issuer"), edHeader(), with(claims, object{"aud": []string{platform}})),
		"azp is us":         forged(edKey("issuer"), edHeader(), with(claims, object{"azp": platform})),
		"surrogate pair":    compact(edKey("issuer"), marshal(edHeader()), strings.Replace(marshal(claims), `"nonce":"n-0S6"`, `"nonce":"\ud83d\ude00"`, 1)),
		"escaped backslash": compact(edKey("issuer"), marshal(edHeader()), strings.Replace(marshal(claims), `"nonce":"n-0S6"`, `"nonce":"\\ud83d"`, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			got := expectPass(t, newVerifier(t), raw)
			if got.Issuer != issuer || got.Subject != pen(1) || got.Audience != platform || got.ID != "token-1" || got.ACR != "urn:penname:proofed" ||
				!got.IssuedAt.Equal(noon) || !got.Expiry.Equal(noon.Add(5*time.Minute)) || got.JKT != b64(make([]byte, 32)) ||
				got.Commitment != [32]byte(bytes.Repeat([]byte{7}, 32)) || got.Raw != raw || got.StatusURI != "" || got.Nonce == "" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestT01AlgNone(t *testing.T) {
	header := b64([]byte(marshal(with(edHeader(), object{"alg": "none"}))))
	payload := b64([]byte(marshal(goodClaims())))
	runRows(t, []tokenRow{
		{"T01 empty signature", header + "." + payload + ".", ErrAlgNotAllowed},
		{"T01 some signature", header + "." + payload + "." + b64(make([]byte, 64)), ErrAlgNotAllowed},
	})
}

func TestT02AlgSpellings(t *testing.T) {
	for _, alg := range []any{"None", "nOnE", "NONE", "none ", "", " EdDSA", "eddsa", "es256", "ES384", "Ed25519", []string{"EdDSA"}, 1, true, object{}, nil} {
		t.Run(fmt.Sprintf("T02 %v", alg), func(t *testing.T) {
			expect(t, newVerifier(t), forged(edKey("issuer"), with(edHeader(), object{"alg": alg}), goodClaims()), ErrAlgNotAllowed)
		})
	}
	null := compact(edKey("issuer"), `{"alg":null,"kid":"ed"}`, marshal(goodClaims()))
	expect(t, newVerifier(t), null, ErrAlgNotAllowed)
}

// TestT03HS256WithOurPublicKey: a verifier that lets the header choose takes the
// public key, which everybody has, for an HMAC secret.
func TestT03HS256WithOurPublicKey(t *testing.T) {
	public := edKey("issuer").Public().(ed25519.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string][]byte{
		"raw": public,
		"DER": der,
		"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"JWK": []byte(marshal(edJWK(edKey("issuer"), "ed"))),
	} {
		t.Run("T03 "+name, func(t *testing.T) {
			input := b64([]byte(marshal(with(edHeader(), object{"alg": "HS256"})))) + "." + b64([]byte(marshal(goodClaims())))
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(input))
			expect(t, newVerifier(t), input+"."+b64(mac.Sum(nil)), ErrAlgNotAllowed)
		})
	}
}

// rsaKeys are one RSA key, as the issuer's for ID tokens.
var rsaKeys = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func rsaJWK(alg string) object {
	return object{"kty": "RSA", "n": b64(rsaKeys().N.Bytes()), "e": "AQAB", "alg": alg, "kid": "rsa", "use": "sig"}
}

// rsaSigned signs with any RSA algorithm; mutate changes the PKCS #1 block before it is signed.
func rsaSigned(t *testing.T, header object, alg string, mutate func(block []byte)) string {
	t.Helper()
	key := rsaKeys()
	input := b64([]byte(marshal(with(header, object{"alg": alg, "kid": "rsa"})))) + "." + b64([]byte(marshal(goodClaims())))
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[2:]]
	h := hash.New()
	h.Write([]byte(input))
	digest := h.Sum(nil)
	var sig []byte
	var err error
	switch {
	case alg[:2] == "PS":
		sig, err = rsa.SignPSS(rand.Reader, key, hash, digest, nil)
	default:
		sig, err = rsa.SignPKCS1v15(rand.Reader, key, hash, digest)
	}
	if err != nil {
		t.Fatal(err)
	}
	if mutate != nil { // RFC 8017, 9.2: the block is the signature raised to the public exponent
		block := new(big.Int).Exp(new(big.Int).SetBytes(sig), big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, key.Size()))
		mutate(block)
		sig = new(big.Int).Exp(new(big.Int).SetBytes(block), key.D, key.N).FillBytes(make([]byte, key.Size()))
	}
	return input + "." + b64(sig)
}

// TestT04RSAKeyUnderAnotherAlgorithm: a key for PS512, and one for RS256, under every
// RSA algorithm. Only RS256 with a key for it verifies, and only an ID token.
func TestT04RSAKeyUnderAnotherAlgorithm(t *testing.T) {
	for _, keyAlg := range []string{"PS512", "RS256"} {
		v := newVerifier(t)
		v.Keys = StaticKeys(mustKeys(t, rsaJWK(keyAlg), edJWK(edKey("issuer"), "ed")))
		for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
			raw := rsaSigned(t, object{}, alg, nil)
			switch {
			case alg != "RS256":
				expect(t, v, raw, ErrAlgNotAllowed)
			case keyAlg != alg:
				expect(t, v, raw, ErrAlgKeyMismatch)
			default:
				expectPass(t, v, raw)
			}
		}
		expect(t, v, forged(edKey("issuer"), with(edHeader(), object{"kid": "rsa"}), goodClaims()), ErrAlgKeyMismatch)
		expectPass(t, v, forged(edKey("issuer"), edHeader(), goodClaims()))
		v.Typ = TypAccess
		expect(t, v, rsaSigned(t, object{"typ": TypAccess}, "RS256", nil), ErrAlgNotAllowed)
	}
}

// TestT20PaddingOfRSASignatures changes the block of RFC 8017, 9.2, byte by byte: a
// verifier that reads the padding leniently lets signatures be made without the key.
func TestT20PaddingOfRSASignatures(t *testing.T) {
	v := newVerifier(t)
	v.Keys = StaticKeys(mustKeys(t, rsaJWK("RS256")))
	expectPass(t, v, rsaSigned(t, object{}, "RS256", func([]byte) {}))
	size := rsaKeys().Size()
	info := size - 32 - 19 // DigestInfo of SHA-256
	for name, mutate := range map[string]func(block []byte){
		"block type 2":        func(b []byte) { b[1] = 2 },
		"block type 0":        func(b []byte) { b[1] = 0 },
		"a padding byte":      func(b []byte) { b[10] = 0xfe },
		"short padding":       func(b []byte) { b[10] = 0 },
		"no separator":        func(b []byte) { b[info-1] = 0xff },
		"another hash":        func(b []byte) { b[info+14]++ },
		"another tag":         func(b []byte) { b[info]++ },
		"NULL is left out":    func(b []byte) { b[info+15] = 4 },
		"a byte of the hash":  func(b []byte) { b[size-1]++ },
		"garbage at the end":  func(b []byte) { copy(b[11:], b[info-1:]); b[size-1] = 7 },
		"hash moved to front": func(b []byte) { copy(b[3:], b[info:]) },
	} {
		t.Run("T20 "+name, func(t *testing.T) { expect(t, v, rsaSigned(t, object{}, "RS256", mutate), ErrBadSignature) })
	}
	raw := rsaSigned(t, object{}, "RS256", nil)
	head := raw[:strings.LastIndexByte(raw, '.')+1]
	for name, sig := range map[string][]byte{"empty but there": {0}, "a zero more": append(make([]byte, 1), make([]byte, size)...), "n": rsaKeys().N.Bytes(), "one": {1}} {
		t.Run("T20 "+name, func(t *testing.T) { expect(t, v, head+b64(sig), ErrBadSignature) })
	}
}

// TestT05KeysFromTheHeader: the attacker's key verifies the token; nothing
// may look at it, and no address in the header may be visited.
func TestT05KeysFromTheHeader(t *testing.T) {
	var visits atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		visits.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.Write(jwks(edJWK(edKey("attacker"), "ed")))
	}))
	defer server.Close()
	attacker := edKey("attacker")
	for name, extra := range map[string]object{
		"T05 jwk":            {"jwk": edJWK(attacker, "ed")},
		"T05 jwk null":       {"jwk": stdNull{}},
		"T05 the issuer's":   {"jwk": edJWK(edKey("issuer"), "ed")},
		"T06 jku":            {"jku": server.URL},
		"T06 x5u":            {"x5u": server.URL},
		"T06 jku loopback":   {"jku": "http://169.254.169.254/"},
		"T07 x5c":            {"x5c": []string{"MIIB"}},
		"T07 x5c empty":      {"x5c": []string{}},
		"T07 x5c and a true": {"x5c": true},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, newVerifier(t), forged(attacker, with(edHeader(), extra), goodClaims()), ErrUntrustedKey)
			expect(t, newVerifier(t), forged(edKey("issuer"), with(edHeader(), extra), goodClaims()), ErrUntrustedKey)
		})
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("the attacker's server was visited %d times", n)
	}
}

// stdNull is a JSON null that with does not take for a deletion.
type stdNull struct{}

func (stdNull) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

func TestT08Kids(t *testing.T) {
	for _, kid := range []string{"../x", "/etc/passwd", "ed' OR '1'='1", "https://evil.example/jwks", "ed\x00", "\x00", "ED", "ed ", ""} {
		t.Run(fmt.Sprintf("T08 %q", kid), func(t *testing.T) {
			expect(t, newVerifier(t), forged(edKey("issuer"), with(edHeader(), object{"kid": kid}), goodClaims()), ErrUnknownKid)
		})
	}
	runRows(t, []tokenRow{
		// the header's limit comes first
		{"T08 10 kB", forged(edKey("issuer"), with(edHeader(), object{"kid": strings.Repeat("x", 10_000)}), goodClaims()), ErrTooLarge},
		{"T08 2 kB", forged(edKey("issuer"), with(edHeader(), object{"kid": strings.Repeat("x", 1900)}), goodClaims()), ErrUnknownKid},
		{"T08 a number", forged(edKey("issuer"), with(edHeader(), object{"kid": 7}), goodClaims()), ErrMalformed},
	})
}

func TestT09NoKid(t *testing.T) {
	raw := forged(edKey("issuer"), with(edHeader(), object{"kid": nil}), goodClaims())
	v := newVerifier(t)
	v.Keys = StaticKeys(mustKeys(t, edJWK(edKey("issuer"), "a"), edJWK(edKey("other"), "b")))
	t.Run("T09 two candidates", func(t *testing.T) { expect(t, v, raw, ErrAmbiguousKey) })
	t.Run("T09 no candidate", func(t *testing.T) {
		v := newVerifier(t)
		v.Keys = StaticKeys(mustKeys(t, ecJWK(ecKey("issuer"), "ec")))
		expect(t, v, raw, ErrAlgKeyMismatch)
	})
	t.Run("T09 one candidate passes", func(t *testing.T) { expectPass(t, newVerifier(t), raw) })
	t.Run("T09 one key without kid passes", func(t *testing.T) { // R31
		v := newVerifier(t)
		v.Keys = StaticKeys(mustKeys(t, with(edJWK(edKey("issuer"), ""), object{"kid": nil})))
		expectPass(t, v, raw)
		expect(t, v, forged(edKey("issuer"), edHeader(), goodClaims()), ErrUnknownKid)
	})
}

// rocaJWK has the form of the keys of CVE-2017-15361: modulo the product of the small
// primes it is a power of 65537.
func rocaJWK() object {
	product := big.NewInt(1)
	for p := int64(2); p <= 167; p++ {
		if big.NewInt(p).ProbablyPrime(0) {
			product.Mul(product, big.NewInt(p))
		}
	}
	n := new(big.Int).Lsh(product, 2048-uint(product.BitLen()))
	n.Add(n, new(big.Int).Exp(big.NewInt(65537), big.NewInt(12345), product))
	return object{"kty": "RSA", "n": b64(n.Bytes()), "e": "AQAB", "kid": "rsa"}
}

// TestT10KeySets refuses whole sets.
func TestT10KeySets(t *testing.T) {
	ed, ec := edJWK(edKey("issuer"), "ed"), ecJWK(ecKey("issuer"), "ec")
	oct := func(n int) object { return object{"kty": "oct", "k": b64(make([]byte, n)), "kid": "hmac"} }
	rsaKey := func(bits uint, e int64) object {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		n.SetBit(n, 0, 1)
		return object{"kty": "RSA", "n": b64(n.Bytes()), "e": b64(big.NewInt(e).Bytes()), "kid": "rsa"}
	}
	p384 := object{"kty": "EC", "crv": "P-384", "x": b64(make([]byte, 48)), "y": b64(make([]byte, 48)), "kid": "384"}
	rows := []struct {
		name string
		set  []byte
		want *refusal.Error
	}{
		{"T10 kid twice", jwks(ed, with(ec, object{"kid": "ed"})), ErrBadKeySet},
		{"T10 the same key twice", jwks(ed, ed), ErrBadKeySet},
		{"T10 no kid beside another", jwks(ed, with(ec, object{"kid": nil})), ErrBadKeySet},
		{"T10 no kid first", jwks(with(ed, object{"kid": nil}), ec), ErrBadKeySet},
		{"T10 empty", jwks(), ErrBadKeySet},
		{"T10 no keys", []byte(`{}`), ErrBadKeySet},
		{"T10 keys null", []byte(`{"keys":null}`), ErrBadKeySet},
		{"T10 Keys", []byte(strings.Replace(string(jwks(ed)), `"keys"`, `"Keys"`, 1)), ErrBadKeySet},
		{"T10 array", []byte(`[]`), ErrBadKeySet},
		{"T10 duplicate member", []byte(strings.Replace(string(jwks(ed)), `"kty":"OKP"`, `"kty":"OKP","kty":"OKP"`, 1)), ErrBadKeySet},
		{"T10 trailing bytes", append(jwks(ed), '{'), ErrBadKeySet},
		{"T10 too large", append(jwks(ed), bytes.Repeat([]byte(" "), document.MaxKeySet)...), ErrBadKeySet},
		{"T10 too many", jwks(slices.Repeat([]object{ed}, 64+1)...), ErrBadKeySet},
		{"T11 symmetric among others", jwks(ed, oct(32)), ErrBadKeySet},
		{"T11 symmetric alone", jwks(oct(64)), ErrBadKeySet},
		{"T13 alg of another curve", jwks(with(ec, object{"alg": "EdDSA"})), ErrAlgKeyMismatch},
		{"T13 ES384 on P-256", jwks(with(ec, object{"alg": "ES384"})), ErrAlgKeyMismatch},
		{"T13 ES256 on P-384", jwks(with(p384, object{"alg": "ES256"})), ErrAlgKeyMismatch},
		{"T13 EdDSA on RSA", jwks(with(rsaKey(2048, 65537), object{"alg": "EdDSA"})), ErrAlgKeyMismatch},
		{"T14 RSA 1024", jwks(ed, rsaKey(1024, 65537)), ErrWeakKey},
		{"T14 RSA e=1", jwks(ed, rsaKey(2048, 1)), ErrWeakKey},
		{"T14 RSA e=3", jwks(ed, rsaKey(2048, 3)), ErrWeakKey},
		{"T14 RSA n even", jwks(ed, with(rsaKey(2048, 65537), object{"n": b64(new(big.Int).Lsh(big.NewInt(1), 2047).Bytes())})), ErrWeakKey},
		{"T14 RSA of ROCA", jwks(ed, rocaJWK()), ErrWeakKey},
		{"T14 RSA too long", jwks(ed, rsaKey(8193, 65537)), ErrBadKey},
		{"T14 RSA e too long", jwks(ed, rsaKey(2048, 1<<32+1)), ErrBadKey},
		{"T14 RSA e even", jwks(ed, rsaKey(2048, 65538)), ErrWeakKey},
		{"T15 HMAC empty", jwks(object{"kty": "oct", "k": "", "kid": "hmac"}), ErrWeakKey},
		{"T15 HMAC short", jwks(oct(31)), ErrWeakKey},
		{"T15 HMAC absent", jwks(object{"kty": "oct", "kid": "hmac"}), ErrWeakKey},
		{"T16 off the curve", jwks(with(ec, object{"y": ec["x"]})), ErrBadKey},
		{"T16 infinity", jwks(with(ec, object{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))})), ErrBadKey},
		{"T16 coordinate ≥ p", jwks(with(ec, object{"x": b64(bytes.Repeat([]byte{255}, 32))})), ErrBadKey},
		{"T16 coordinate short", jwks(with(ec, object{"x": b64(make([]byte, 31))})), ErrBadKey},
		{"T16 coordinate long", jwks(with(ec, object{"x": b64(make([]byte, 33))})), ErrBadKey},
		{"T16 no y", jwks(with(ec, object{"y": nil})), ErrBadKey},
		{"T16 Ed25519 short", jwks(with(ed, object{"x": b64(make([]byte, 31))})), ErrBadKey},
		{"T16 Ed25519 padded", jwks(with(ed, object{"x": ed["x"].(string) + "="})), ErrBadKey},
		{"T16 private", jwks(with(ed, object{"d": b64(make([]byte, 32))})), ErrBadKey},
		{"T16 private EC", jwks(with(ec, object{"d": b64(make([]byte, 32))})), ErrBadKey},
		{"T16 no kty", jwks(with(ed, object{"kty": nil})), ErrBadKey},
		{"T16 kid a number", jwks(with(ed, object{"kid": 1})), ErrBadKey},
		{"T53 nbf not a time", jwks(with(ed, object{"nbf": "yesterday"})), ErrBadKey},
		{"T53 exp not a time", jwks(with(ed, object{"exp": -1})), ErrBadKey},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			set, err := ParseKeySet(row.set)
			expectRefusal(t, err, row.want)
			if set != nil {
				t.Error("a set came with the error")
			}
		})
	}
	t.Run("T10 other readers' keys pass", func(t *testing.T) {
		set := mustKeys(t, ed, ec, rsaKey(3072, 65537), p384, object{"kty": "AKP", "alg": "ML-DSA-65", "pub": "AAAA", "kid": "pq"})
		v := newVerifier(t)
		v.Keys = StaticKeys(set)
		expectPass(t, v, forged(edKey("issuer"), edHeader(), goodClaims()))
		for _, kid := range []string{"rsa", "384", "pq"} {
			expect(t, v, forged(edKey("issuer"), with(edHeader(), object{"kid": kid}), goodClaims()), ErrAlgKeyMismatch)
		}
	})
}

func TestT12KeyUse(t *testing.T) {
	for name, change := range map[string]object{
		"T12 use enc":             {"use": "enc"},
		"T12 use unknown":         {"use": "SIG"},
		"T12 use empty":           {"use": ""},
		"T12 key_ops without":     {"use": nil, "key_ops": []string{"encrypt", "wrapKey"}},
		"T12 key_ops sign only":   {"use": nil, "key_ops": []string{"sign"}},
		"T12 key_ops empty":       {"use": nil, "key_ops": []string{}},
		"T12 use sig, ops not so": {"key_ops": []string{"deriveKey"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t)
			v.Keys = StaticKeys(mustKeys(t, with(edJWK(edKey("issuer"), "ed"), change)))
			expect(t, v, forged(edKey("issuer"), edHeader(), goodClaims()), ErrKeyUse)
		})
	}
	t.Run("T12 key_ops verify passes", func(t *testing.T) {
		v := newVerifier(t)
		v.Keys = StaticKeys(mustKeys(t, with(edJWK(edKey("issuer"), "ed"), object{"use": nil, "alg": nil, "key_ops": []string{"verify"}})))
		expectPass(t, v, forged(edKey("issuer"), edHeader(), goodClaims()))
	})
}

func TestT13AlgOfAnotherKey(t *testing.T) {
	runRows(t, []tokenRow{
		{"T13 ES256 with the Ed25519 key", forged(edKey("issuer"), with(edHeader(), object{"alg": "ES256"}), goodClaims()), ErrAlgKeyMismatch},
		{"T13 EdDSA with the P-256 key", forged(ecKey("issuer"), with(ecHeader(), object{"alg": "EdDSA"}), goodClaims()), ErrAlgKeyMismatch},
	})
}

func TestT17ES256SpecialValues(t *testing.T) {
	n := elliptic.P256().Params().N
	plus := func(d int64) *big.Int { return new(big.Int).Add(n, big.NewInt(d)) }
	input := b64([]byte(marshal(ecHeader()))) + "." + b64([]byte(marshal(goodClaims())))
	good := rawSign(ecKey("issuer"), input)
	r, s := new(big.Int).SetBytes(good[:32]), new(big.Int).SetBytes(good[32:])
	top := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	special := []*big.Int{big.NewInt(0), big.NewInt(1), plus(-1), n, plus(1), top}
	try := func(r, s *big.Int) {
		sig := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		expect(t, newVerifier(t), input+"."+b64(sig), ErrBadSignature)
	}
	for _, a := range special {
		for _, b := range special {
			try(a, b)
		}
		try(r, a)
		try(a, s)
	}
	if sum := new(big.Int).Add(s, n); sum.BitLen() <= 256 {
		try(r, sum)
	}
	expectPass(t, newVerifier(t), input+"."+b64(good))
}

func TestT18ES256Encodings(t *testing.T) {
	input := b64([]byte(marshal(ecHeader()))) + "." + b64([]byte(marshal(goodClaims())))
	good := rawSign(ecKey("issuer"), input)
	for name, sig := range map[string][]byte{
		"T18 trailing zero":   append(bytes.Clone(good), 0),
		"T18 leading zero":    append([]byte{0}, good...),
		"T18 trailing zeros":  append(bytes.Clone(good), make([]byte, 64)...),
		"T18 33-byte halves":  slices.Concat([]byte{0}, good[:32], []byte{0}, good[32:]),
		"T18 one byte short":  good[:63],
		"T18 one byte":        good[:1],
		"T18 DER":             asDER(good),
		"T18 halves swapped":  slices.Concat(good[32:], good[:32]),
		"T18 signature twice": slices.Concat(good, good),
	} {
		t.Run(name, func(t *testing.T) { expect(t, newVerifier(t), input+"."+b64(sig), ErrBadSignature) })
	}
}

func TestT19Ed25519InvalidSignatures(t *testing.T) {
	key := edKey("issuer")
	input := b64([]byte(marshal(edHeader()))) + "." + b64([]byte(marshal(goodClaims())))
	good := ed25519.Sign(key, []byte(input))
	order, _ := new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
	addOrder := func(sig []byte) []byte { // S+L is the same number to a careless verifier (RFC 8032, 5.1.7)
		s := slices.Clone(sig[32:])
		slices.Reverse(s)
		sum := new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
		slices.Reverse(sum)
		return slices.Concat(sig[:32], sum)
	}
	digest := sha512.Sum512([]byte(input))
	prehashed, err := key.Sign(nil, digest[:], crypto.SHA512)
	if err != nil {
		t.Fatal(err)
	}
	context25519, err := key.Sign(nil, []byte(input), &ed25519.Options{Context: "JWT"})
	if err != nil {
		t.Fatal(err)
	}
	vectors := map[string][]byte{
		"S+L":             addOrder(good),
		"zeros":           make([]byte, 64),
		"ones":            bytes.Repeat([]byte{255}, 64),
		"short":           good[:63],
		"long":            append(bytes.Clone(good), 0),
		"halves swapped":  slices.Concat(good[32:], good[:32]),
		"identity R, S=0": slices.Concat([]byte{1}, make([]byte, 63)),
		"S=0":             slices.Concat(good[:32], make([]byte, 32)),
		"other message":   ed25519.Sign(key, []byte(input+" ")),
		"other key":       ed25519.Sign(edKey("other"), []byte(input)),
		"Ed25519ph":       prehashed,
		"Ed25519ctx":      context25519,
	}
	for bit := range 512 {
		sig := bytes.Clone(good)
		sig[bit/8] ^= 1 << (bit % 8)
		vectors[fmt.Sprintf("bit %d", bit)] = sig
	}
	for name, sig := range vectors {
		t.Run("T19 "+name, func(t *testing.T) { expect(t, newVerifier(t), input+"."+b64(sig), ErrBadSignature) })
	}
	expectPass(t, newVerifier(t), input+"."+b64(good))
}

func TestT22Base64(t *testing.T) {
	good := forged(edKey("issuer"), edHeader(), goodClaims())
	h, p, s := segments(good)
	// a payload and header whose last character has unused bits
	pad := func(header, claims object, segment int) (string, string, string) {
		for n := 0; ; n++ {
			h, p, s := segments(forged(edKey("issuer"), with(header, object{"x": strings.Repeat("x", n)}), with(claims, object{"x": strings.Repeat("x", n)})))
			if len([]string{h, p, s}[segment])%4 == 3 {
				return h, p, s
			}
		}
	}
	next := func(s string) string { // the same bytes with an unused bit set
		const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		last := strings.IndexByte(digits, s[len(s)-1])
		return s[:len(s)-1] + string(digits[last|1])
	}
	h0, p0, s0 := pad(edHeader(), goodClaims(), 0)
	h1, p1, s1 := pad(edHeader(), goodClaims(), 1)
	rows := []tokenRow{
		{"T22 unused bits of header", next(h0) + "." + p0 + "." + s0, ErrMalformed},
		{"T22 unused bits of payload", h1 + "." + next(p1) + "." + s1, ErrMalformed},
		{"T22 unused bits of signature", h + "." + p + "." + next(s), ErrMalformed},
		{"T22 standard alphabet", h + "." + p + "." + "+/" + s[2:], ErrMalformed},
	}
	for i, name := range []string{"header", "payload", "signature"} {
		for what, insert := range map[string]string{"padding": "=", "two paddings": "==", "space": " ", "newline": "\n", "carriage return": "\r\n", "NUL": "\x00", "tab": "\t", "percent": "%3D"} {
			parts := []string{h, p, s}
			parts[i] += insert
			rows = append(rows, tokenRow{"T22 " + what + " after " + name, strings.Join(parts, "."), ErrMalformed})
			parts = []string{h, p, s}
			parts[i] = parts[i][:4] + insert + parts[i][4:]
			rows = append(rows, tokenRow{"T22 " + what + " in " + name, strings.Join(parts, "."), ErrMalformed})
		}
	}
	runRows(t, rows)
}

func TestT23Segments(t *testing.T) {
	h, p, s := segments(forged(edKey("issuer"), edHeader(), goodClaims()))
	runRows(t, []tokenRow{
		{"T23 empty", "", ErrMalformed},
		{"T23 one", h, ErrMalformed},
		{"T23 two", h + "." + p, ErrMalformed},
		{"T23 four", h + "." + p + "." + s + "." + s, ErrMalformed},
		{"T23 five", strings.Join([]string{h, p, s, h, p}, "."), ErrMalformed},
		{"T23 trailing dot", h + "." + p + "." + s + ".", ErrMalformed},
		{"T23 leading dot", "." + h + "." + p + "." + s, ErrMalformed},
		{"T23 no header", "." + p + "." + s, ErrMalformed},
		{"T23 no payload", h + ".." + s, ErrMalformed},
		{"T23 no signature", h + "." + p + ".", ErrMalformed},
		{"T23 dots", "..", ErrMalformed},
		{"T23 header not JSON", compact(edKey("issuer"), "alg", marshal(goodClaims())), ErrMalformed},
		{"T23 header empty object", compact(edKey("issuer"), "{}", marshal(goodClaims())), ErrAlgNotAllowed},
		{"T23 payload not JSON", compact(edKey("issuer"), marshal(edHeader()), "claims"), ErrMalformed},
		{"T23 payload array", compact(edKey("issuer"), marshal(edHeader()), "[]"), ErrMalformed},
		{"T23 payload null", compact(edKey("issuer"), marshal(edHeader()), "null"), ErrMalformed},
		{"T23 payload empty object", compact(edKey("issuer"), marshal(edHeader()), "{}"), ErrBadIssuer},
		{"T23 trailing comma", compact(edKey("issuer"), marshal(edHeader()), `{"iss":"x",}`), ErrMalformed},
		{"T23 missing comma", compact(edKey("issuer"), marshal(edHeader()), `{"iss":"x" "sub":"y"}`), ErrMalformed},
		{"T23 two objects", compact(edKey("issuer"), marshal(edHeader()), marshal(goodClaims())+"{}"), ErrMalformed},
		{"T23 comment", compact(edKey("issuer"), marshal(edHeader()), "/**/"+marshal(goodClaims())), ErrMalformed},
		{"T23 NaN", compact(edKey("issuer"), marshal(edHeader()), `{"exp":NaN}`), ErrMalformed},
		{"T23 unclosed", compact(edKey("issuer"), marshal(edHeader()), `{"iss":"x"`), ErrMalformed},
	})
}

func TestT24JSONSerialization(t *testing.T) {
	h, p, s := segments(forged(edKey("issuer"), edHeader(), goodClaims()))
	runRows(t, []tokenRow{
		{"T24 flattened", marshal(object{"protected": h, "payload": p, "signature": s}), ErrMalformed},
		{"T24 general", marshal(object{"payload": p, "signatures": []object{{"protected": h, "signature": s}}}), ErrMalformed},
		{"T24 with dots", `{"a":"b.c.d"}`, ErrMalformed},
	})
}

func TestT25Crit(t *testing.T) {
	var rows []tokenRow
	for name, extra := range map[string]object{
		"T25 unknown":       {"crit": []string{"x-new"}, "x-new": 1},
		"T25 absent member": {"crit": []string{"x-new"}},
		"T25 empty":         {"crit": []string{}},
		"T25 a string":      {"crit": "exp"},
		"T25 null":          {"crit": stdNull{}},
		"T25 registered":    {"crit": []string{"alg"}},
		"T26 b64 false":     {"b64": false, "crit": []string{"b64"}},
		"T26 b64 true":      {"b64": true, "crit": []string{"b64"}},
		"T26 b64 uncritted": {"b64": false},
	} {
		rows = append(rows, tokenRow{name, forged(edKey("issuer"), with(edHeader(), extra), goodClaims()), ErrUnsupportedCrit})
	}
	h, _, s := segments(forged(edKey("issuer"), edHeader(), goodClaims()))
	rows = append(rows, tokenRow{"T26 detached", h + ".." + s, ErrMalformed})
	runRows(t, rows)
}

// TestT27Encrypted: nothing here decrypts or decompresses, so every JWE is
// malformed by its five segments, before any of its parameters is obeyed.
func TestT27Encrypted(t *testing.T) {
	var bomb bytes.Buffer
	w, _ := flate.NewWriter(&bomb, flate.BestCompression)
	w.Write(make([]byte, 4<<20))
	w.Close()
	jwe := func(header object, parts ...string) string {
		return b64([]byte(marshal(header))) + "." + strings.Join(parts, ".")
	}
	key, iv, tag := b64(make([]byte, 32)), b64(make([]byte, 12)), b64(make([]byte, 16))
	rows := []tokenRow{
		{"T27 zip bomb", jwe(object{"alg": "dir", "enc": "A128GCM", "zip": "DEF"}, "", iv, b64(bomb.Bytes()), tag), ErrMalformed},
		{"T27 large zip bomb", jwe(object{"alg": "dir", "enc": "A128GCM", "zip": "DEF"}, "", iv, b64(make([]byte, 9<<10)), tag), ErrTooLarge},
		{"T28 p2c", jwe(object{"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2147483647, "p2s": iv}, key, iv, key, tag), ErrMalformed},
		{"T28 p2c in a JWS", forged(edKey("issuer"), object{"alg": "PBES2-HS256+A128KW", "p2c": 2147483647}, goodClaims()), ErrAlgNotAllowed},
		{"T29 RSA1_5", jwe(object{"alg": "RSA1_5", "enc": "A128GCM"}, key, iv, key, tag), ErrMalformed},
		{"T29 RSA1_5 in a JWS", forged(edKey("issuer"), object{"alg": "RSA1_5", "kid": "ed"}, goodClaims()), ErrAlgNotAllowed},
		{"T31 empty JWE", "....", ErrMalformed},
		{"T31 epk null", jwe(object{"alg": "ECDH-ES", "enc": "A128GCM", "epk": stdNull{}}, "", iv, key, tag), ErrMalformed},
		{"T31 epk of nothing", jwe(object{"alg": "ECDH-ES+A128KW", "enc": "A128GCM", "epk": object{}}, key, iv, key, tag), ErrMalformed},
		{"T31 wrapped key empty", jwe(object{"alg": "A128KW", "enc": "A128GCM"}, "", iv, key, tag), ErrMalformed},
		{"T31 recipients", `{"recipients":[{}],"ciphertext":""}`, ErrMalformed},
	}
	for _, n := range []int{1, 4, 8} {
		rows = append(rows, tokenRow{fmt.Sprintf("T30 tag of %d bytes", n), jwe(object{"alg": "dir", "enc": "A128GCM"}, "", iv, key, b64(make([]byte, n))), ErrMalformed})
	}
	runRows(t, rows)
}

// TestT32GiantInput also measures: what is refused for its size costs no memory.
func TestT32GiantInput(t *testing.T) {
	h, p, s := segments(forged(edKey("issuer"), edHeader(), goodClaims()))
	for name, raw := range map[string]string{
		"T32 dots":         strings.Repeat(".", 1_000_000),
		"T32 giant header": strings.Repeat("A", 50_000_000) + "." + p + "." + s,
		"T32 giant kid":    forged(edKey("issuer"), with(edHeader(), object{"kid": strings.Repeat("k", 1_000_000)}), goodClaims()),
		"T32 signature":    h + "." + p + "." + strings.Repeat("A", 1_000_000),
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t)
			expect(t, v, raw, ErrTooLarge)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range 100 {
				v.Verify(context.Background(), raw)
			}
			runtime.ReadMemStats(&after)
			if spent := (after.TotalAlloc - before.TotalAlloc) / 100; spent > 1024 {
				t.Errorf("refusing %d bytes allocates %d bytes", len(raw), spent)
			}
		})
	}
	t.Run("T32 dots within the limit", func(t *testing.T) { expect(t, newVerifier(t), strings.Repeat(".", maxToken), ErrMalformed) })
}

func TestT33Limits(t *testing.T) {
	fill := func(to int) string { // a token of exactly that many bytes, or one or two less
		base := len(forged(edKey("issuer"), edHeader(), with(goodClaims(), object{"x": ""})))
		return forged(edKey("issuer"), edHeader(), with(goodClaims(), object{"x": strings.Repeat("x", (to-base)*3/4)}))
	}
	header := func(to int) string {
		base := len(marshal(with(edHeader(), object{"x": ""})))
		return forged(edKey("issuer"), with(edHeader(), object{"x": strings.Repeat("x", to-base)}), goodClaims())
	}
	deep := func(levels int, open, close string) string { // levels includes the payload itself
		nested := strings.Repeat(open, levels-1) + "1" + strings.Repeat(close, levels-1)
		return compact(edKey("issuer"), marshal(edHeader()), strings.TrimSuffix(marshal(goodClaims()), "}")+`,"x":`+nested+"}")
	}
	const maxHeader, maxDepth = 2 << 10, 16
	runRows(t, []tokenRow{
		{"T33 8 KiB passes", fill(maxToken), nil},
		{"T33 over 8 KiB", fill(maxToken + 8), ErrTooLarge},
		{"T33 header of 2 KiB passes", header(maxHeader), nil},
		{"T33 header over 2 KiB", header(maxHeader + 1), ErrTooLarge},
		{"T33 16 levels pass", deep(maxDepth, "[", "]"), nil},
		{"T33 17 arrays", deep(maxDepth+1, "[", "]"), ErrTooLarge},
		{"T33 17 objects", deep(maxDepth+1, `{"a":`, "}"), ErrTooLarge},
		{"T33 2000 arrays", deep(2000, "[", "]"), ErrTooLarge},
		{"T33 deep header", compact(edKey("issuer"), `{"alg":"EdDSA","kid":"ed","x":`+strings.Repeat("[", 17)+strings.Repeat("]", 17)+"}", marshal(goodClaims())), ErrTooLarge},
	})
	if n := len(fill(maxToken)); n < maxToken-2 || n > maxToken {
		t.Errorf("the token at the limit has %d bytes", n)
	}
}

func TestT34DuplicateMembers(t *testing.T) {
	duplicate := func(o object, member string) string { return strings.TrimSuffix(marshal(o), "}") + "," + member + "}" }
	var rows []tokenRow
	for name, member := range map[string]string{
		"T34 sub":         `"sub":"` + string(pen(2)) + `"`,
		"T34 sub escaped": `"s\u0075b":"` + string(pen(2)) + `"`,
		"T34 cnf":         `"cnf":{"jkt":"a"},"cnf":{"jkt":"b"}`,
		"T34 within cnf":  `"cnf":{"jkt":"a","jkt":"b"}`,
		"T34 aud":         `"aud":"school-forum"`,
		"T34 unknown":     `"x":1,"x":1`,
		"T34 in an array": `"x":[{"y":1,"y":1}]`,
	} {
		rows = append(rows, tokenRow{name, compact(edKey("issuer"), marshal(edHeader()), duplicate(goodClaims(), member)), ErrMalformed})
	}
	for name, member := range map[string]string{"T34 alg": `"alg":"none"`, "T34 same alg": `"alg":"EdDSA"`, "T34 kid": `"kid":"ec"`, "T34 typ": `"typ":"at+jwt"`} {
		rows = append(rows, tokenRow{name, compact(edKey("issuer"), duplicate(edHeader(), member), marshal(goodClaims())), ErrMalformed})
	}
	runRows(t, rows)
}

func TestT35MembersInAnotherCase(t *testing.T) {
	rename := func(o object, from, to string) string {
		return strings.Replace(marshal(o), `"`+from+`":`, `"`+to+`":`, 1)
	}
	payload := func(from, to string) string {
		return compact(edKey("issuer"), marshal(edHeader()), rename(goodClaims(), from, to))
	}
	runRows(t, []tokenRow{
		{"T35 Sub", payload("sub", "Sub"), ErrBadSubject},
		{"T35 long s", payload("sub", "ſub"), ErrBadSubject},
		{"T35 long s in iss", payload("iss", "iſſ"), ErrBadIssuer},
		{"T35 EXP", payload("exp", "EXP"), ErrMissingExp},
		{"T35 Aud", payload("aud", "Aud"), ErrBadAudience},
		{"T35 JTI", payload("jti", "JTI"), ErrMissingClaim},
		{"T35 ALG", compact(edKey("issuer"), rename(edHeader(), "alg", "ALG"), marshal(goodClaims())), ErrAlgNotAllowed},
		{"T35 Kelvin sign in kid", compact(edKey("issuer"), rename(edHeader(), "kid", "\u212aid"), marshal(goodClaims())), nil}, // an absent kid and one candidate
		{"T35 CRIT is no crit", forged(edKey("issuer"), with(edHeader(), object{"CRIT": []string{"x"}}), goodClaims()), nil},
	})
}

func TestT36Encodings(t *testing.T) {
	insert := func(s string) string {
		return compact(edKey("issuer"), marshal(edHeader()), strings.Replace(marshal(goodClaims()), `"token-1"`, `"`+s+`"`, 1))
	}
	utf16 := func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			b.Write([]byte{0, c})
		}
		return b.String()
	}
	rows := []tokenRow{
		{"T36 invalid byte", insert("a\xff"), ErrMalformed},
		{"T36 overlong slash", insert("\xc0\xaf"), ErrMalformed},
		{"T36 encoded surrogate", insert("\xed\xa0\x80"), ErrMalformed},
		{"T36 truncated rune", insert("\xe2\x82"), ErrMalformed},
		{"T36 lone high surrogate", insert(`\ud83d`), ErrMalformed},
		{"T36 lone low surrogate", insert(`\ude00`), ErrMalformed},
		{"T36 surrogates swapped", insert(`\ude00\ud83d`), ErrMalformed},
		{"T36 two high surrogates", insert(`\ud83d\ud83d`), ErrMalformed},
		{"T36 high surrogate and text", insert(`\ud83dxxxxxx`), ErrMalformed},
		{"T36 upper-case escape", insert(`\uD83D`), ErrMalformed},
		{"T36 lone surrogate in a name", compact(edKey("issuer"), marshal(edHeader()), strings.Replace(marshal(goodClaims()), `"jti"`, `"\ud800":1,"jti"`, 1)), ErrMalformed},
		{"T36 UTF-16", compact(edKey("issuer"), marshal(edHeader()), utf16(marshal(goodClaims()))), ErrMalformed},
		{"T36 byte order mark", compact(edKey("issuer"), marshal(edHeader()), "\ufeff"+marshal(goodClaims())), ErrMalformed},
		{"T36 invalid byte in the header", compact(edKey("issuer"), "{\"alg\":\"EdDSA\",\"kid\":\"ed\xff\"}", marshal(goodClaims())), ErrMalformed},
		{"T36 UTF-16 header", compact(edKey("issuer"), utf16(marshal(edHeader())), marshal(goodClaims())), ErrMalformed},
		{"T36 raw control character", insert("a\x01b"), ErrMalformed},
		{"T36 a pair passes", insert(`\uD83D\uDE00`), nil},
	}
	runRows(t, rows)
}

func TestT37ExpAbsent(t *testing.T) {
	runRows(t, []tokenRow{
		{"T37 absent", forged(edKey("issuer"), edHeader(), with(goodClaims(), object{"exp": nil})), ErrMissingExp},
		{"T37 null", forged(edKey("issuer"), edHeader(), with(goodClaims(), object{"exp": stdNull{}})), ErrBadExp},
	})
}

// rawClaim puts JSON text where a claim was.
type rawClaim string

func (r rawClaim) MarshalJSON() ([]byte, error) { return []byte(r), nil }

func TestT38Times(t *testing.T) {
	claim := func(changes object) string { return forged(edKey("issuer"), edHeader(), with(goodClaims(), changes)) }
	at := func(d time.Duration) int64 { return noon.Add(d).Unix() }
	runRows(t, []tokenRow{
		{"T38 iat absent", claim(object{"iat": nil}), ErrBadIat},
		{"T38 iat null", claim(object{"iat": stdNull{}}), ErrBadIat},
		{"T38 iat a string", claim(object{"iat": "1700000000"}), ErrBadIat},
		{"T38 iat in the future", claim(object{"iat": at(time.Second)}), ErrBadIat},
		{"T38 iat too old", claim(object{"iat": at(-DefaultMaxAge - time.Second)}), ErrBadIat},
		{"T38 iat just young enough", claim(object{"iat": at(-DefaultMaxAge)}), nil},
		{"T38 iat negative", claim(object{"iat": -1}), ErrBadIat},
		{"T39 exp a string", claim(object{"exp": "1900000000"}), ErrBadExp},
		{"T39 exp 1e308", claim(object{"exp": rawClaim("1e308")}), ErrBadExp},
		{"T39 exp 1e309", claim(object{"exp": rawClaim("1e309")}), ErrBadExp},
		{"T39 exp negative", claim(object{"exp": -1900000000}), ErrBadExp},
		{"T39 exp minus zero", claim(object{"exp": rawClaim("-0")}), ErrBadExp},
		{"T39 exp 2^63", claim(object{"exp": rawClaim("9223372036854775808")}), ErrBadExp},
		{"T39 exp 2^63-1", claim(object{"exp": rawClaim("9223372036854775807")}), ErrBadExp},
		{"T39 exp milliseconds", claim(object{"exp": at(time.Minute) * 1000}), ErrBadExp},
		{"T39 exp true", claim(object{"exp": true}), ErrBadExp},
		{"T39 exp array", claim(object{"exp": []int64{at(time.Minute)}}), ErrBadExp},
		{"T39 exp zero", claim(object{"exp": 0}), ErrExpired},
		{"T39 exp float passes", claim(object{"exp": rawClaim("1.9e9")}), nil},
		{"T39 exp fraction passes", claim(object{"exp": rawClaim(fmt.Sprintf("%d.75", at(time.Minute)))}), nil},
		{"T39 exp now", claim(object{"exp": at(0)}), ErrExpired},
		{"T39 exp past", claim(object{"exp": at(-time.Second)}), ErrExpired},
		{"T39 exp in a second passes", claim(object{"exp": at(time.Second)}), nil},
		{"T40 nbf in the future", claim(object{"nbf": at(time.Second)}), ErrNotYetValid},
		{"T40 nbf a string", claim(object{"nbf": "1"}), ErrNotYetValid},
		{"T40 nbf now passes", claim(object{"nbf": at(0)}), nil},
	})
	t.Run("T40 leeway", func(t *testing.T) {
		v := newVerifier(t)
		v.Leeway = time.Minute
		expectPass(t, v, claim(object{"nbf": at(time.Minute), "iat": at(time.Minute)}))
		expectPass(t, v, claim(object{"exp": at(-59 * time.Second), "iat": at(-time.Hour)}))
		expect(t, v, claim(object{"nbf": at(61 * time.Second)}), ErrNotYetValid)
		expect(t, v, claim(object{"iat": at(61 * time.Second)}), ErrBadIat)
		expect(t, v, claim(object{"exp": at(-time.Minute)}), ErrExpired)
	})
	t.Run("T39 exp before iat", func(t *testing.T) {
		v := newVerifier(t)
		v.Leeway = time.Hour
		expect(t, v, claim(object{"iat": at(time.Minute), "exp": at(0)}), ErrBadExp)
	})
}

func TestT41Audiences(t *testing.T) {
	var rows []tokenRow
	for name, aud := range map[string]any{
		"T41 absent":          nil,
		"T41 null":            stdNull{},
		"T41 empty array":     []string{},
		"T41 empty string":    "",
		"T41 other":           "evil",
		"T41 object":          object{platform: platform},
		"T41 number":          7,
		"T41 extra audience":  []string{platform, "evil"},
		"T41 twice":           []string{platform, platform},
		"T41 nested array":    []any{[]string{platform}},
		"T41 case":            "Town-Square",
		"T41 space":           platform + " ",
		"T44 platform B":      "school-forum",
		"T44 A among several": []string{"school-forum", platform},
	} {
		rows = append(rows, tokenRow{name, forged(edKey("issuer"), edHeader(), with(goodClaims(), object{"aud": aud})), ErrBadAudience})
	}
	rows = append(rows, tokenRow{"T41 azp is another", forged(edKey("issuer"), edHeader(), with(goodClaims(), object{"azp": "evil"})), ErrBadAudience})
	runRows(t, rows)
}

func TestT42Issuers(t *testing.T) {
	for _, iss := range []any{nil, "", "https://evil.example", issuer + "/", "https://Penname.example", "HTTPS://penname.example", issuer + ":443", "http://penname.example", issuer + "?", issuer + "\x00"} {
		t.Run(fmt.Sprintf("T42 %q", iss), func(t *testing.T) {
			expect(t, newVerifier(t), forged(edKey("issuer"), edHeader(), with(goodClaims(), object{"iss": iss})), ErrBadIssuer)
		})
	}
}

// TestT43CrossJWT puts every type of JWT that exists around here, signed with the
// right key and holding the right claims, into every slot.
func TestT43CrossJWT(t *testing.T) {
	key := edKey("issuer")
	typs := []any{"JWT", nil, "at+jwt", "dpop+jwt", "logout+jwt", "statuslist+jwt", "penname-evidence+jwt", "penname-approval+jwt", "penname-warrant+jwt",
		"penname-endorsement+jwt", "secevent+jwt", "oauth-authz-req+jwt", "kb+jwt", "", "JOSE", "application/application/jwt"}
	id, access := newVerifier(t), newVerifier(t)
	access.Typ = TypAccess
	header := func(typ any) object { return with(edHeader(), object{"typ": typ}) }
	proofHeader := func(typ any) object {
		return with(object{"alg": "EdDSA", "jwk": object{"kty": "OKP", "crv": "Ed25519", "x": b64(key.Public().(ed25519.PublicKey))}}, object{"typ": typ})
	}
	list := statusPayload(t, StatusList{URI: "https://penname.example/status/1", IssuedAt: noon, Expiry: noon.Add(time.Hour), Bits: make([]byte, 8)})
	bundle := evidencePayload(t, forged(key, edHeader(), goodClaims()))
	slots := []struct {
		name    string
		accepts []any
		open    func(typ any) error
		want    *refusal.Error
	}{
		{"ID token", []any{"JWT", nil}, func(typ any) error {
			_, err := id.Verify(t.Context(), forged(key, header(typ), goodClaims()))
			return err
		}, ErrWrongTyp},
		{"access token", []any{"at+jwt"}, func(typ any) error {
			_, err := access.Verify(t.Context(), forged(key, header(typ), goodClaims()))
			return err
		}, ErrWrongTyp},
		{"proof", []any{"dpop+jwt"}, func(typ any) error {
			payload := object{"jti": "1", "htm": "GET", "htu": "https://api.example/", "iat": noon.Unix()}
			_, err := VerifyDPoP(forged(key, proofHeader(typ), payload), DPoPWant{Method: "GET", URL: "https://api.example/", Now: noon})
			return err
		}, ErrProofTyp},
		{"status list", []any{"statuslist+jwt"}, func(typ any) error {
			_, err := VerifyStatusList(t.Context(), compact(key, marshal(header(typ)), list), "https://penname.example/status/1", issuerKeys(t), noon)
			return err
		}, ErrStatusUnknown},
		{"evidence", []any{"penname-evidence+jwt"}, func(typ any) error {
			_, _, err := VerifyEvidence(compact(key, marshal(header(typ)), bundle), onFile(issuerKeys(t), issuerKeys(t)))
			return err
		}, ErrEvidenceTyp},
		{"token in evidence", []any{"JWT", nil, "at+jwt"}, func(typ any) error {
			raw := compact(key, marshal(header("penname-evidence+jwt")), evidencePayload(t, forged(key, header(typ), goodClaims())))
			_, _, err := VerifyEvidence(raw, onFile(issuerKeys(t), issuerKeys(t)))
			return err
		}, ErrEvidenceToken},
	}
	for _, slot := range slots {
		for _, typ := range typs {
			t.Run(fmt.Sprintf("T43 %v as %s", typ, slot.name), func(t *testing.T) {
				err := slot.open(typ)
				if slices.Contains(slot.accepts, typ) {
					if err != nil {
						t.Errorf("refused: %v", err)
					}
					return
				}
				expectRefusal(t, err, slot.want)
			})
		}
	}
	t.Run("T43 logout token without its typ", func(t *testing.T) {
		claims := with(goodClaims(), object{"events": object{"http://schemas.openid.net/event/backchannel-logout": object{}}})
		expect(t, id, forged(key, edHeader(), claims), ErrWrongTyp)
	})
}

func TestT45Subjects(t *testing.T) {
	good := string(pen(1))
	for name, sub := range map[string]any{
		"T45 absent":       nil,
		"T45 empty":        "",
		"T45 an account":   "jo@example.org",
		"T45 a UUID":       "0b0e7a5e-9f0a-4f6e-8d5a-7b8a2f3c4d5e",
		"T45 upper case":   strings.ToUpper(good),
		"T45 bad checksum": good[:len(good)-1] + "q",
		"T45 space":        good + " ",
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, newVerifier(t), forged(edKey("issuer"), edHeader(), with(goodClaims(), object{"sub": sub})), ErrBadSubject)
		})
	}
}

func TestT46SingleUse(t *testing.T) {
	v := newVerifier(t)
	v.SingleUse = NewMemoryReplayGuard(10, v.Now)
	first := forged(edKey("issuer"), edHeader(), goodClaims())
	expectPass(t, v, first)
	expect(t, v, first, ErrReplayed)
	// the same jti signed again is the same token
	expect(t, v, forged(ecKey("issuer"), ecHeader(), goodClaims()), ErrReplayed)
	expectPass(t, v, forged(edKey("issuer"), edHeader(), with(goodClaims(), object{"jti": "token-2"})))
	// a refused token is not used up
	late := with(goodClaims(), object{"jti": "token-3"})
	expect(t, v, forged(edKey("other"), edHeader(), late), ErrBadSignature)
	expectPass(t, v, forged(edKey("issuer"), edHeader(), late))
}

// TestT46ThiefCannotUseItUp: a thief who lacks the token's key must not spend
// it; before, the token was used up before the proof was looked at.
func TestT46ThiefCannotUseItUp(t *testing.T) {
	v := apiVerifier(t)
	v.SingleUse = NewMemoryReplayGuard(10, v.Now)
	guard := v.Middleware
	access := boundToken(t)
	theirs, err := SignDPoP(privateJWK(edKey("thief"), ""), http.MethodPost, apiURL, access, "", noon)
	if err != nil {
		t.Fatal(err)
	}
	for want, r := range map[string]*http.Request{
		ErrBoundTokenAsBearer.Code: apiRequest("Bearer " + access),
		ErrProofMissing.Code:       apiRequest("DPoP " + access),
		ErrProofOtherKey.Code:      apiRequest("DPoP "+access, theirs),
	} {
		if code, _ := serve(t, guard, r); code != want {
			t.Errorf("got %s, want %s", code, want)
		}
	}
	for _, want := range []string{"", ErrReplayed.Code} {
		proof, err := SignDPoP(privateJWK(edKey("holder"), ""), http.MethodPost, apiURL, access, "", noon)
		if err != nil {
			t.Fatal(err)
		}
		if code, _ := serve(t, guard, apiRequest("DPoP "+access, proof)); code != want {
			t.Errorf("its owner: %q, want %q", code, want)
		}
	}
}

// TestT47EveryLength: go-oidc's ancestors accepted a token cut to 80 characters.
func TestT47EveryLength(t *testing.T) {
	v := newVerifier(t)
	for _, raw := range []string{forged(edKey("issuer"), edHeader(), goodClaims()), forged(ecKey("issuer"), ecHeader(), goodClaims())} {
		for n := range len(raw) {
			// within the signature the rest can be good base64url: a signature of the wrong length
			expect(t, v, raw[:n], ErrMalformed, ErrBadSignature)
			expect(t, v, raw[n+1:], ErrMalformed, ErrBadSignature)
		}
		for n := 1; n <= 256; n++ {
			expect(t, v, raw+strings.Repeat("A", n), ErrMalformed, ErrBadSignature)
			expect(t, v, strings.Repeat("A", n)+raw, ErrMalformed)
		}
	}
}

// TestT48ErrorBesideAValue: what comes with an error is not used. That Verify
// returns no token beside an error is checked for every row by expect.
func TestT48ErrorBesideAValue(t *testing.T) {
	good := forged(edKey("issuer"), edHeader(), goodClaims())
	failed := errors.New("failed")
	t.Run("T48 keys", func(t *testing.T) {
		v := newVerifier(t)
		v.Keys = func(context.Context) (*KeySet, error) { return issuerKeys(t), failed }
		expect(t, v, good, ErrKeysUnavailable)
		v.Keys = func(context.Context) (*KeySet, error) { return nil, nil }
		expect(t, v, good, ErrKeysUnavailable)
	})
	t.Run("T48 status", func(t *testing.T) {
		v := newVerifier(t)
		v.Status = statusFunc(func(string, int) (bool, error) { return false, failed })
		expect(t, v, forged(edKey("issuer"), edHeader(), withStatus(0)), ErrStatusUnknown)
	})
	t.Run("T48 replay", func(t *testing.T) {
		v := newVerifier(t)
		v.SingleUse = guardFunc(func() (bool, error) { return true, failed })
		expect(t, v, good, ErrReplayUnavailable)
	})
}

type statusFunc func(uri string, index int) (bool, error)

func (f statusFunc) Withdrawn(_ context.Context, uri string, index int) (bool, error) {
	return f(uri, index)
}

type guardFunc func() (bool, error)

func (f guardFunc) Use(context.Context, [32]byte, time.Time) (bool, error) { return f() }

func withStatus(index any) object {
	return with(goodClaims(), object{"status": object{"status_list": object{"idx": index, "uri": "https://penname.example/status/1"}}})
}

// TestT49StoreErrorIsNotAnAnswer: the catalogue's row is a revocation; the same
// mistake here would be to call an unreachable store "not used" or "used".
func TestT49StoreErrorIsNotAnAnswer(t *testing.T) {
	v := newVerifier(t)
	v.SingleUse = guardFunc(func() (bool, error) { return false, errors.New("connection refused") })
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+forged(edKey("issuer"), edHeader(), goodClaims()))
	v.Middleware(http.NotFoundHandler()).ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), ErrReplayUnavailable.Code) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestT50Withdrawn(t *testing.T) {
	v := newVerifier(t)
	v.Status = statusFunc(func(uri string, index int) (bool, error) {
		return index == 7, nil
	})
	expect(t, v, forged(edKey("issuer"), edHeader(), withStatus(7)), ErrInactive)
	got := expectPass(t, v, forged(edKey("issuer"), edHeader(), withStatus(8)))
	if got.StatusIndex != 8 || got.StatusURI != "https://penname.example/status/1" {
		t.Errorf("got %+v", got)
	}
}

func TestT53KeyTimes(t *testing.T) {
	raw := forged(edKey("issuer"), edHeader(), goodClaims())
	for name, row := range map[string]struct {
		bounds object
		want   *refusal.Error
	}{
		"T53 retired":         {object{"exp": noon.Add(-time.Hour).Unix()}, ErrKeyNotValidAt},
		"T53 retired just so": {object{"exp": noon.Unix()}, ErrKeyNotValidAt},
		"T53 not yet active":  {object{"nbf": noon.Add(time.Second).Unix()}, ErrKeyNotValidAt},
		"T53 in force":        {object{"nbf": noon.Unix(), "exp": noon.Add(time.Second).Unix()}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t)
			v.Keys = StaticKeys(mustKeys(t, with(edJWK(edKey("issuer"), "ed"), row.bounds)))
			if row.want == nil {
				expectPass(t, v, raw)
				return
			}
			expect(t, v, raw, row.want)
		})
	}
}

func TestT55Nested(t *testing.T) {
	inner := forged(edKey("issuer"), edHeader(), goodClaims())
	runRows(t, []tokenRow{
		{"T55 a token as payload", compact(edKey("issuer"), marshal(with(edHeader(), object{"cty": "JWT"})), inner), ErrMalformed},
		{"T55 without cty", compact(edKey("issuer"), marshal(edHeader()), inner), ErrMalformed},
		{"T55 quoted", compact(edKey("issuer"), marshal(edHeader()), `"`+inner+`"`), ErrMalformed},
		{"T55 cty on plain claims", forged(edKey("issuer"), with(edHeader(), object{"cty": "JWT"}), goodClaims()), ErrMalformed},
	})
}

func TestT56WhiteSpace(t *testing.T) {
	good := forged(edKey("issuer"), edHeader(), goodClaims())
	var rows []tokenRow
	for name, raw := range map[string]string{
		"T56 space before": " " + good, "T56 space after": good + " ", "T56 newline after": good + "\n", "T56 CRLF after": good + "\r\n",
		"T56 newline in the header": good[:9] + "\n" + good[9:], "T56 newline before a dot": strings.Replace(good, ".", "\n.", 1),
		"T56 newline after a dot": strings.Replace(good, ".", ".\n", 1), "T56 no-break space": good + "\u00a0", "T56 NUL": good + "\x00", "T56 quoted": `"` + good + `"`,
	} {
		rows = append(rows, tokenRow{name, raw, ErrMalformed})
	}
	runRows(t, rows)
	v := newVerifier(t)
	for name, headers := range map[string][]string{
		"T56 two headers":           {"Bearer " + good, "Bearer " + good},
		"T56 two different headers": {"Bearer " + good, "Basic eDp5"},
		"T56 two spaces":            {"Bearer  " + good},
		"T56 two tokens":            {"Bearer " + good + " " + good},
		"T56 comma":                 {"Bearer " + good + ", Bearer " + good},
		"T56 no token":              {"Bearer"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header["Authorization"] = headers
			w := httptest.NewRecorder()
			v.Middleware(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("let through") })).ServeHTTP(w, r)
			if w.Code != 401 || !strings.Contains(w.Body.String(), `"invalid_token.malformed"`) {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
		})
	}
}

func TestRequiredClaims(t *testing.T) {
	for name, change := range map[string]object{
		"no jti":              {"jti": nil},
		"empty jti":           {"jti": ""},
		"no acr":              {"acr": nil},
		"empty acr":           {"acr": ""},
		"no commitment":       {"penname_commitment": nil},
		"short commitment":    {"penname_commitment": b64(make([]byte, 31))},
		"long commitment":     {"penname_commitment": b64(make([]byte, 33))},
		"hex commitment":      {"penname_commitment": hex.EncodeToString(make([]byte, 32))},
		"padded commitment":   {"penname_commitment": b64(make([]byte, 32)) + "="},
		"commitment in array": {"penname_commitment": []string{b64(make([]byte, 32))}},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, newVerifier(t), forged(edKey("issuer"), edHeader(), with(goodClaims(), change)), ErrMissingClaim, ErrMalformed)
		})
	}
	for name, cnf := range map[string]any{
		"other confirmation": object{"x5t#S256": b64(make([]byte, 32))},
		"empty confirmation": object{},
		"short thumbprint":   object{"jkt": "AAAA"},
		"a string":           "jkt",
	} {
		t.Run("cnf "+name, func(t *testing.T) {
			expect(t, newVerifier(t), forged(edKey("issuer"), edHeader(), with(goodClaims(), object{"cnf": cnf})), ErrMalformed)
		})
	}
}

func TestMisconfigured(t *testing.T) {
	good := forged(edKey("issuer"), edHeader(), goodClaims())
	for name, change := range map[string]func(*Verifier){
		"no issuer":   func(v *Verifier) { v.Issuer = "" },
		"no audience": func(v *Verifier) { v.Audience = "" },
		"no keys":     func(v *Verifier) { v.Keys = nil },
		"other typ":   func(v *Verifier) { v.Typ = "dpop+jwt" },
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t)
			change(v)
			expect(t, v, good, ErrMisconfigured)
		})
	}
}
