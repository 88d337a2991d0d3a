package threshold

import (
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"
)

// beside measures op and, in turn, the group operations that it cannot do
// without: mults by any element and base by the generator. It compares medians,
// which a busy machine does not move.
func beside(b *testing.B, mults, base int, op func()) {
	p, k := gBar, challenge("bench")
	q := curve.NewElement()
	var ours, theirs []time.Duration
	for b.Loop() {
		start := time.Now()
		op()
		mid := time.Now()
		for range mults {
			q.Mul(p, k)
		}
		for range base {
			q.MulGen(k)
		}
		ours, theirs = append(ours, mid.Sub(start)), append(theirs, time.Since(mid))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	mine := ours[len(ours)/2]
	b.ReportMetric(float64(mine.Nanoseconds()), "ns/op")
	b.ReportMetric(float64(mine)/float64(theirs[len(theirs)/2]), "ratio")
	b.ReportMetric(1.3, "aim-max")
}

func BenchmarkEncrypt(b *testing.B) {
	f := newFixture(b, 2, 3)
	beside(b, 3, 2, func() {
		if _, err := f.pk.Encrypt(rand.Reader, message, label); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkVerifyCiphertext(b *testing.B) {
	f := newFixture(b, 2, 3)
	beside(b, 3, 1, func() {
		if err := f.pk.VerifyCiphertext(f.ct); err != nil {
			b.Fatal(err)
		}
	})
}

// The share itself (2, 1), the ciphertext's proof (3, 1), the key share's fit (0, 1).
func BenchmarkDecrypt(b *testing.B) {
	f := newFixture(b, 2, 3)
	beside(b, 5, 3, func() {
		if _, err := f.keys[0].Decrypt(rand.Reader, f.pk, f.ct); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkShareProof(b *testing.B) {
	f := newFixture(b, 2, 3)
	d := f.ct.digest()
	beside(b, 3, 1, func() {
		if err := f.pk.verifyShare(f.ct, d, f.shares[0]); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkCombine(b *testing.B) {
	for _, c := range []struct{ t, n int }{{2, 3}, {8, 15}} {
		b.Run(fmt.Sprintf("%d-of-%d", c.t, c.n), func(b *testing.B) {
			f := newFixture(b, c.t, c.n)
			beside(b, 3+4*c.t, 1+c.t, func() {
				if _, err := f.pk.Combine(f.ct, f.shares[:c.t]); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// Resharing does not touch a record, so it takes as long for ten as for a
// million. This is what all participants compute together, sent nowhere.
func BenchmarkReshare(b *testing.B) {
	for _, c := range []struct{ t, n int }{{2, 3}, {8, 15}} {
		b.Run(fmt.Sprintf("%d-of-%d", c.t, c.n), func(b *testing.B) {
			f := newFixture(b, c.t, c.n)
			for b.Loop() {
				reshare(b, f.pk, f.keys[:c.t], c.t, c.n)
			}
		})
	}
}

func BenchmarkParsePublicKey(b *testing.B) {
	for _, c := range []struct{ t, n int }{{2, 3}, {8, 15}, {32, 64}} {
		b.Run(fmt.Sprintf("%d-of-%d", c.t, c.n), func(b *testing.B) {
			pk, _, err := trustedDeal(rand.Reader, c.t, c.n)
			if err != nil {
				b.Fatal(err)
			}
			enc := marshal(b, pk)
			for b.Loop() {
				if err := pk.UnmarshalBinary(enc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
