package document

import (
	"crypto/ed25519"
	"encoding/base64"
	"math/big"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// TestT19SmallOrderKeys: with the identity as public key the signature (identity,
// 0) verifies every message, in crypto/ed25519 too, so such keys are refused. The
// list of them is derived here from the curve's equation.
func TestT19SmallOrderKeys(t *testing.T) {
	identity := make([]byte, 32)
	identity[0] = 1
	if !ed25519.Verify(identity, []byte("anything"), slices.Concat(identity, make([]byte, 32))) {
		t.Error("crypto/ed25519 refuses the identity by itself now; the list is not needed")
	}
	derived := torsionY()
	for _, y := range derived {
		if !slices.Contains(smallOrderY[:], y) {
			t.Errorf("%x is missing from the list", y)
		}
	}
	if len(derived) != len(smallOrderY) {
		t.Errorf("the list has %d entries, derived are %d", len(smallOrderY), len(derived))
	}
	for _, y := range derived {
		for _, sign := range []byte{0, 0x80} {
			y[31] = y[31]&0x7f | sign
			_, err := ParseKeySet([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"` + base64.RawURLEncoding.EncodeToString(y[:]) + `"}]}`))
			if err != WeakKey {
				t.Errorf("%x: %v", y, err)
			}
		}
	}
}

// torsionY computes every encoding (sign bit clear) of the y coordinates of the
// points of order 1, 2, 4 and 8 on edwards25519 (RFC 7748, 4.1).
func torsionY() (ys [][32]byte) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	one := big.NewInt(1)
	mul := func(a, b *big.Int) *big.Int { return new(big.Int).Mod(new(big.Int).Mul(a, b), p) }
	div := func(a, b *big.Int) *big.Int { return mul(a, new(big.Int).ModInverse(b, p)) }
	mod := func(a *big.Int) *big.Int { return new(big.Int).Mod(a, p) }
	d := div(big.NewInt(-121665), big.NewInt(121666))
	type point struct{ x, y *big.Int }
	add := func(a, b point) point {
		k := mul(mul(d, mul(a.x, b.x)), mul(a.y, b.y))
		return point{
			div(mod(new(big.Int).Add(mul(a.x, b.y), mul(a.y, b.x))), mod(new(big.Int).Add(one, k))),
			div(mod(new(big.Int).Add(mul(a.y, b.y), mul(a.x, b.x))), mod(new(big.Int).Sub(one, k))),
		}
	}
	order, _ := new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
	neutral := point{new(big.Int), one}
	for y := int64(2); len(ys) == 0; y++ {
		yy := mul(big.NewInt(y), big.NewInt(y))
		x := new(big.Int).ModSqrt(div(mod(new(big.Int).Sub(yy, one)), mod(new(big.Int).Add(mul(d, yy), one))), p)
		if x == nil {
			continue
		}
		t := neutral // order · (x, y), of order 8 at most
		for i := order.BitLen() - 1; i >= 0; i-- {
			if t = add(t, t); order.Bit(i) == 1 {
				t = add(t, point{x, big.NewInt(y)})
			}
		}
		if four := add(add(t, t), add(t, t)); four.y.Cmp(one) == 0 {
			continue // order 4 at most: try another
		}
		for q, i := t, 0; i < 8; q, i = add(q, t), i+1 {
			for _, alias := range []*big.Int{q.y, new(big.Int).Add(q.y, p)} {
				if alias.BitLen() <= 255 && !slices.Contains(ys, littleEndian(alias)) {
					ys = append(ys, littleEndian(alias))
				}
			}
		}
	}
	return ys
}

// RFC 9864 calls EdDSA with Ed25519 by that name. It is no name for another key.
func TestEd25519AsNameOfEdDSA(t *testing.T) {
	const ed = `{"kty":"OKP","crv":"Ed25519","alg":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	if k, err := ParseKey([]byte(ed)); err != nil || k.Algorithm != jose.EdDSA {
		t.Errorf("%+v %v", k, err)
	}
	const p256 = `{"kty":"EC","crv":"P-256","alg":"Ed25519","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	if _, err := ParseKey([]byte(p256)); err != AlgKeyMismatch {
		t.Error(err)
	}
}
