package token

import (
	"bytes"
	"compress/zlib"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/rand"
	"reflect"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// tagged is an item of CBOR with a tag.
type tagged struct {
	tag  uint64
	item any
}

// decodeCBOR reads an item in its own way (RFC 8949, appendix A), and returns the rest.
func decodeCBOR(t *testing.T, b []byte) (any, []byte) {
	t.Helper()
	major, n := b[0]>>5, uint64(b[0]&31)
	b = b[1:]
	if size := map[uint64]int{24: 1, 25: 2, 26: 4, 27: 8}[n]; size > 0 {
		n = binary.BigEndian.Uint64(append(make([]byte, 8-size), b[:size]...))
		b = b[size:]
	}
	switch major {
	case 0:
		return int64(n), b
	case 1:
		return -1 - int64(n), b
	case 2:
		return b[:n:n], b[n:]
	case 3:
		return string(b[:n]), b[n:]
	case 4:
		items := []any{}
		for range n {
			var item any
			item, b = decodeCBOR(t, b)
			items = append(items, item)
		}
		return items, b
	case 5:
		items := map[any]any{}
		for range n {
			var name, item any
			name, b = decodeCBOR(t, b)
			item, b = decodeCBOR(t, b)
			items[name] = item
		}
		return items, b
	}
	item, rest := decodeCBOR(t, b)
	return tagged{n, item}, rest
}

func whole(t *testing.T, b []byte) any {
	t.Helper()
	item, rest := decodeCBOR(t, b)
	if len(rest) > 0 {
		t.Fatalf("%d bytes behind it", len(rest))
	}
	return item
}

// TestStatusListCWT reads the CBOR form with a decoder of its own: draft-ietf-oauth-status-list,
// 5.2, and RFC 9052, 4.2 and 4.4.
func TestStatusListCWT(t *testing.T) {
	list := StatusList{URI: issuer + "/status/0", IssuedAt: noon, Expiry: noon.Add(time.Hour), TTL: time.Minute, Bits: []byte{0xb9, 0xa3}}
	ed, ec := edKey("issuer"), ecKey("issuer")
	for alg, key := range map[int64]any{-8: ed, -7: ec} {
		signed, err := SignStatusListCWT(jose.JSONWebKey{Key: key, KeyID: "k1"}, list)
		if err != nil {
			t.Fatal(err)
		}
		cose, ok := whole(t, []byte(signed)).(tagged)
		parts, isArray := cose.item.([]any)
		if !ok || cose.tag != 18 || !isArray || len(parts) != 4 || len(parts[1].(map[any]any)) != 0 {
			t.Fatalf("no COSE_Sign1: %v", cose)
		}
		protected, payload, signature := parts[0].([]byte), parts[2].([]byte), parts[3].([]byte)
		if got, want := whole(t, protected), (map[any]any{int64(1): alg, int64(4): []byte("k1"), int64(16): "application/statuslist+cwt"}); !reflect.DeepEqual(got, want) {
			t.Errorf("header %v, want %v", got, want)
		}
		claims := whole(t, payload).(map[any]any)
		r, err := zlib.NewReader(bytes.NewReader(claims[int64(65533)].(map[any]any)["lst"].([]byte)))
		if err != nil {
			t.Fatal(err)
		}
		bits, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(bits, list.Bits) {
			t.Errorf("bits %x %v", bits, err)
		}
		delete(claims[int64(65533)].(map[any]any), "lst")
		if want := (map[any]any{int64(2): list.URI, int64(6): noon.Unix(), int64(4): noon.Unix() + 3600, int64(65534): int64(60),
			int64(65533): map[any]any{"bits": int64(1)}}); !reflect.DeepEqual(claims, want) {
			t.Errorf("claims %v, want %v", claims, want)
		}
		// The Sig_structure, whose parts are all shorter than 256 bytes here.
		input := append([]byte{0x84, 0x6a}, "Signature1"...)
		input = append(append(input, 0x58, byte(len(protected))), protected...)
		input = append(append(input, 0x40, 0x58, byte(len(payload))), payload...)
		digest := sha256.Sum256(input)
		if alg == -8 && !ed25519.Verify(ed.Public().(ed25519.PublicKey), input, signature) ||
			alg == -7 && !ecdsa.VerifyASN1(&ec.PublicKey, digest[:], asDER(signature)) {
			t.Error("the signature does not verify")
		}
	}
	for name, refused := range map[string]struct {
		key  any
		list StatusList
	}{"RSA": {rsaKeys(), list}, "public key": {ed.Public(), list}, "no expiry": {ed, StatusList{URI: list.URI, IssuedAt: noon, Bits: list.Bits}}} {
		if signed, err := SignStatusListCWT(jose.JSONWebKey{Key: refused.key, KeyID: "k1"}, refused.list); err == nil || signed != "" {
			t.Errorf("%s: %q %v", name, signed, err)
		}
	}
}

// BenchmarkStatusList signs a list of a million tokens of which one in a hundred is
// withdrawn, and reports its size in the draft's KB of 1,024 bytes, beside the 13.7 KB that
// draft-ietf-oauth-status-list, "Size comparison", gives for the bits alone by zlib.
func BenchmarkStatusList(b *testing.B) {
	const size = 1_000_000
	list := StatusList{URI: issuer + "/status/0", IssuedAt: noon, Expiry: noon.Add(time.Hour), TTL: time.Minute, Bits: make([]byte, size/8)}
	for _, index := range rand.New(rand.NewSource(1)).Perm(size)[:size/100] {
		list.Withdraw(index)
	}
	for name, sign := range map[string]func(jose.JSONWebKey, StatusList) (string, error){"JWT": SignStatusList, "CWT": SignStatusListCWT} {
		b.Run(name, func(b *testing.B) {
			var signed string
			for b.Loop() {
				var err error
				if signed, err = sign(jose.JSONWebKey{Key: edKey("issuer"), KeyID: "ed"}, list); err != nil {
					b.Fatal(err)
				}
			}
			kb := float64(len(signed)) / 1024
			b.ReportMetric(kb, "KB")
			b.ReportMetric(kb/13.7, "ratio")
			if name == "CWT" {
				b.ReportMetric(14/13.7, "aim-max")
			}
		})
	}
}
