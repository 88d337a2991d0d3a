package threshold

import (
	"sync"

	"github.com/cloudflare/circl/group"
)

// fixedBase multiplies one element that is known beforehand. It costs a third
// of a multiplication of any element, which is most of what sealing costs.
//
// The table holds j·16^i·P for j = 1…8 and i = 0…63: 80 KiB, made at the first
// use. Time and memory access do not depend on the scalar.
type fixedBase struct {
	of    group.Element
	once  sync.Once
	table [64][8]group.Element
}

func (b *fixedBase) fill() {
	p := b.of.Copy()
	for i := range b.table {
		row := &b.table[i]
		row[0] = p
		for j := 1; j < len(row); j++ {
			row[j] = curve.NewElement().Add(row[j-1], p)
		}
		p = curve.NewElement().Dbl(row[7])
	}
}

// mul returns k·P.
func (b *fixedBase) mul(k group.Scalar) group.Element {
	b.once.Do(b.fill)
	sum, pick, minus := curve.Identity(), curve.NewElement(), curve.NewElement()
	zero := curve.Identity()
	for i, d := range digits(k) {
		negative := int(uint8(d) >> 7)
		size := (int(d) ^ -negative) + negative // |d|, 0 to 8
		pick.Set(zero)
		for j := range b.table[i] {
			pick.CMov(equal(size, j+1), b.table[i][j])
		}
		pick.CMov(negative, minus.Neg(pick))
		sum.Add(sum, pick)
	}
	return sum
}

// digits returns k = Σ d_i·16^i with -8 ≤ d_i < 8. A scalar is below 2^253, so
// nothing is carried out of the last digit.
func digits(k group.Scalar) (d [64]int8) {
	for i, b := range bytesOf(k) { // little-endian (RFC 9496, 4.4)
		d[2*i], d[2*i+1] = int8(b&15), int8(b>>4)
	}
	carry := int8(0)
	for i := range d[:63] {
		d[i] += carry
		carry = (d[i] + 8) >> 4
		d[i] -= carry << 4
	}
	d[63] += carry
	return d
}

// equal is 1 if a = b and 0 if not, for 0 ≤ a, b < 2^31, without a branch.
func equal(a, b int) int { return int(uint32(a^b)-1) >> 31 & 1 }
