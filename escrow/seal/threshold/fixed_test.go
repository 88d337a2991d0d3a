package threshold

import (
	"crypto/rand"
	"testing"

	"github.com/cloudflare/circl/group"
)

// A fixed base gives what circl's own multiplication gives, at the edges of the
// digits too.
func TestFixedBaseIsMultiplication(t *testing.T) {
	order := curve.NewScalar().Neg(integer(1)) // q - 1
	scalars := []group.Scalar{curve.NewScalar(), order, curve.NewScalar().Sub(order, integer(7))}
	sixteen := integer(1)
	for range 63 {
		for _, d := range []int{1, 7, 8, 9, 15} {
			k := curve.NewScalar().Mul(sixteen, integer(d))
			scalars = append(scalars, k, curve.NewScalar().Neg(k))
		}
		sixteen = curve.NewScalar().Mul(sixteen, integer(16))
	}
	for range 200 {
		k, err := randomScalar(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		scalars = append(scalars, k)
	}
	for _, p := range []group.Element{curve.Generator(), gBar, curve.RandomElement(rand.Reader), curve.Identity()} {
		b := fixedBase{of: p}
		for _, k := range scalars {
			if got := b.mul(k); !got.IsEqual(mul(p, k)) {
				t.Fatalf("%v times %v is %v", k, p, got)
			}
		}
	}
}

// Digits are balanced and add up, and the selection has no other values.
func TestFixedBaseDigits(t *testing.T) {
	for range 1000 {
		k, err := randomScalar(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		sum, sixteen := curve.NewScalar(), integer(1)
		for _, d := range digits(k) {
			if d < -8 || d > 8 {
				t.Fatalf("digit %d", d)
			}
			term := curve.NewScalar().Mul(sixteen, integer(max(int(d), -int(d))))
			if d < 0 {
				term.Neg(term)
			}
			sum.Add(sum, term)
			sixteen.Mul(sixteen, integer(16))
		}
		if !sum.IsEqual(k) {
			t.Fatal("the digits are of another scalar")
		}
	}
	for a := range 10 {
		for b := range 10 {
			if got := equal(a, b); (got == 1) != (a == b) || got>>1 != 0 {
				t.Fatalf("equal(%d, %d) = %d", a, b, got)
			}
		}
	}
}

func BenchmarkFixedBase(b *testing.B) {
	base := fixedBase{of: gBar}
	k, err := randomScalar(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	beside(b, 1, 0, func() { base.mul(k) })
}
