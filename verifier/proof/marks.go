package proof

import (
	"encoding/hex"
	"errors"
	"math/bits"
	"slices"
)

// Marks are a set of the targets of a case, as positions in the sorted
// target_commitments of its recorded leaf: target i is bit i%8 of byte i/8. For n
// targets there are (n+7)/8 bytes and no bit beyond n. In JSON they are lower-case
// hex. So a leaf tells how many targets it is about, and nobody which they are.
type Marks []byte

// NewMarks returns an empty set for n targets.
func NewMarks(n int) Marks { return make(Marks, (n+7)/8) }

// AllMarks returns the set of all n targets.
func AllMarks(n int) Marks {
	m := NewMarks(n)
	for i := range n {
		m.Set(i)
	}
	return m
}

// Set marks target i, which must be below the n of [NewMarks].
func (m Marks) Set(i int) { m[i/8] |= 1 << (i % 8) }

// Has reports whether target i is marked. One that does not exist is not.
func (m Marks) Has(i int) bool { return i >= 0 && i/8 < len(m) && m[i/8]>>(i%8)&1 == 1 }

// Count returns how many targets are marked.
func (m Marks) Count() (n int) {
	for _, b := range m {
		n += bits.OnesCount8(b)
	}
	return n
}

// Or returns the targets that are in m or in other, sets of the same case.
func (m Marks) Or(other Marks) Marks {
	return m.with(other, func(a, b byte) byte { return a | b })
}

// And returns the targets that are in both.
func (m Marks) And(other Marks) Marks {
	return m.with(other, func(a, b byte) byte { return a & b })
}

// Without returns the targets of m that are not in other.
func (m Marks) Without(other Marks) Marks {
	return m.with(other, func(a, b byte) byte { return a &^ b })
}

func (m Marks) with(other Marks, op func(a, b byte) byte) Marks {
	all := make(Marks, max(len(m), len(other)))
	copy(all, m)
	for i := range all {
		b := byte(0)
		if i < len(other) {
			b = other[i]
		}
		all[i] = op(all[i], b)
	}
	return all
}

// Of reports whether m is a set of n targets in its one form.
func (m Marks) Of(n int) bool {
	return n > 0 && len(m) == (n+7)/8 && (n%8 == 0 || m[len(m)-1]>>(n%8) == 0)
}

// MarshalText writes lower-case hex.
func (m Marks) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, m), nil }

// UnmarshalText reads hex. That it is lower case is for who compares with the
// canonical bytes.
func (m *Marks) UnmarshalText(text []byte) (err error) {
	if *m, err = hex.AppendDecode(nil, text); err != nil {
		return errors.New("marks are not hex") // the decoder's text quotes the input
	}
	return nil
}

// MarksOf returns the set of those targets in a recorded leaf, whose commitments
// the salt of the case opens, and whether all of them are there.
func MarksOf(recorded Leaf, salt [32]byte, targets ...Target) (m Marks, all bool) {
	m, all = NewMarks(len(recorded.TargetCommitments)), true
	for _, i := range Positions(recorded, salt, targets) {
		if i < 0 {
			all = false
			continue
		}
		m.Set(i)
	}
	return m, all
}

// Positions returns, for each of those targets, where it stands in a recorded leaf,
// or -1.
func Positions(recorded Leaf, salt [32]byte, targets []Target) []int {
	at := make([]int, len(targets))
	for n, t := range targets {
		i, found := slices.BinarySearch(recorded.TargetCommitments, t.commit(salt))
		if !found {
			i = -1
		}
		at[n] = i
	}
	return at
}
