package document

import (
	"crypto/ecdh"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func TestDeliveryKeyHasOneSpelling(t *testing.T) {
	private, err := DeliveryKEM().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	b := private.PublicKey().Bytes()
	good := DeliveryKeyPrefix + base64.RawURLEncoding.EncodeToString(b)
	if key, err := ParseDeliveryKey(good); err != nil || string(key.Bytes()) != string(b) {
		t.Fatal(err)
	}
	// L18: an X25519 point of small order agrees on the same secret with everybody.
	weak := append(b[:len(b)-32:len(b)-32], make([]byte, 32)...)
	one := append(b[:len(b)-32:len(b)-32], 1)
	one = append(one, make([]byte, 31)...)
	for name, bad := range map[string]string{
		"empty": "", "prefix alone": DeliveryKeyPrefix, "no prefix": good[len(DeliveryKeyPrefix):], "cut off": good[:len(good)-4], "longer": good + "AAAA",
		"padded": good + "=", "line feed": good + "\n", "capital prefix": strings.ToUpper(DeliveryKeyPrefix) + good[len(DeliveryKeyPrefix):],
		"a point of order 4": DeliveryKeyPrefix + base64.RawURLEncoding.EncodeToString(weak),
		"a point of order 1": DeliveryKeyPrefix + base64.RawURLEncoding.EncodeToString(one),
	} {
		if _, err := ParseDeliveryKey(bad); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// A key is checked as whoever encrypts to it does: wherever in it a number is too large.
func TestDeliveryKeyModulus(t *testing.T) {
	private, err := DeliveryKEM().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for at := range 768 {
		for _, number := range []int{0, 3328, 3329, 4095} {
			b := private.PublicKey().Bytes()
			i := at / 2 * 3 // two numbers in three bytes
			if at%2 == 0 {
				b[i], b[i+1] = byte(number), b[i+1]&0xf0|byte(number>>8)
			} else {
				b[i+1], b[i+2] = b[i+1]&0xf|byte(number<<4), byte(number>>4)
			}
			_, want := DeliveryKEM().NewPublicKey(b)
			if got := CheckDeliveryKey(DeliveryKeyPrefix + base64.RawURLEncoding.EncodeToString(b)); (got == nil) != (want == nil) || (got == nil) != (number < 3329) {
				t.Fatalf("number %d is %d: %v, want %v", at, number, got, want)
			}
		}
	}
}

// TestL18SmallOrderPoints derives the list of points with which everybody agrees on the same
// secret: those of edwards25519 by the map of RFC 7748, 4.1, and the one that is on the twist
// alone. ECDH refuses each, with or without the highest bit.
func TestL18SmallOrderPoints(t *testing.T) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	one := big.NewInt(1)
	derived := map[[32]byte]bool{}
	add := func(u *big.Int) {
		for ; u.BitLen() <= 255; u = new(big.Int).Add(u, p) { // RFC 7748, 5: those from p on are accepted too
			derived[littleEndian(u)] = true
		}
	}
	add(new(big.Int).Sub(p, one)) // u³ + 486662u² + u is no square there
	for _, encoded := range torsionY() {
		y := new(big.Int).Mod(bigEndian(encoded), p)
		if y.Cmp(one) != 0 { // the point at infinity has no u
			below := new(big.Int).ModInverse(new(big.Int).Sub(one, y), p)
			add(below.Mod(below.Mul(below, new(big.Int).Add(one, y)), p)) // u = (1+y)/(1-y)
		}
	}
	scalar, err := ecdh.X25519().NewPrivateKey(slices.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	for u := range derived {
		for _, high := range []byte{0, 0x80} {
			u[31] = u[31]&0x7f | high
			point, err := ecdh.X25519().NewPublicKey(u[:])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := scalar.ECDH(point); err == nil || !smallOrderPoint(u) {
				t.Errorf("%x: %v, listed: %v", u, err, smallOrderPoint(u))
			}
		}
	}
	if len(derived) != len(smallOrderU) {
		t.Errorf("the list has %d entries, derived are %d", len(smallOrderU), len(derived))
	}
}

func littleEndian(n *big.Int) (b [32]byte) {
	n.FillBytes(b[:])
	slices.Reverse(b[:])
	return b
}

func bigEndian(b [32]byte) *big.Int {
	slices.Reverse(b[:])
	return new(big.Int).SetBytes(b[:])
}
