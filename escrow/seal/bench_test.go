package seal_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
)

// beside measures op and its primitives in turn, in the same run. It compares
// medians, which a busy machine does not move.
func beside(b *testing.B, op, primitives func()) {
	var ours, theirs []time.Duration
	for b.Loop() {
		start := time.Now()
		op()
		mid := time.Now()
		primitives()
		ours, theirs = append(ours, mid.Sub(start)), append(theirs, time.Since(mid))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	mine, base := ours[len(ours)/2], theirs[len(theirs)/2]
	b.ReportMetric(float64(mine.Nanoseconds()), "ns/op")
	b.ReportMetric(1/mine.Seconds(), "ops/s")
	b.ReportMetric(float64(mine)/float64(base), "ratio")
	b.ReportMetric(1.3, "aim-max")
}

// field is what one field costs at least: three HKDF, one AES-256-GCM key and
// message of 64 bytes.
func field(b *testing.B, sealed []byte) []byte {
	half, err := hkdf.Key(sha256.New, make([]byte, 32), nil, "first half", 32)
	if err != nil {
		b.Fatal(err)
	}
	second, err := hkdf.Key(sha256.New, make([]byte, 32), nil, "second half", 32)
	if err != nil {
		b.Fatal(err)
	}
	key, err := hkdf.Key(sha256.New, append(half, second...), nil, "field", 64)
	if err != nil {
		b.Fatal(err)
	}
	block, err := aes.NewCipher(key[:32])
	if err != nil {
		b.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		b.Fatal(err)
	}
	if sealed == nil {
		return aead.Seal(nil, nil, make([]byte, 64), nil)
	}
	if _, err := aead.Open(nil, nil, sealed, nil); err != nil {
		b.Fatal(err)
	}
	return nil
}

func BenchmarkSeal(b *testing.B) {
	h := newHouse(b)
	label := seal.NewLabel()
	wrap := func(context.Context, string, []byte) (string, error) { return "wrapped", nil }
	beside(b, func() {
		if _, err := seal.Seal(b.Context(), label, person, seal.Custodians{Key: h.pk, Compartments: compartments}, wrap); err != nil {
			b.Fatal(err)
		}
	}, func() {
		for range compartments {
			if _, err := h.pk.Encrypt(rand.Reader, [32]byte{}, []byte(label)); err != nil {
				b.Fatal(err)
			}
		}
		for range person {
			field(b, nil)
		}
	})
}

// BenchmarkSealedBytes is the size of a person with four fields as it is stored in
// two compartments, beside that in one and 200 bytes more.
func BenchmarkSealedBytes(b *testing.B) {
	h := newHouse(b)
	var n int
	for b.Loop() {
		n = sizeOf(b, h.seal(b, person))
	}
	b.ReportMetric(float64(n), "bytes/person")
	b.ReportMetric(float64(n)/(866+200), "ratio")
	b.ReportMetric(1, "aim-max")
}

// BenchmarkOpen is the requester's side: both share proofs and the combination for
// each of two compartments, and four fields.
func BenchmarkOpen(b *testing.B) {
	h := newHouse(b)
	rec := h.seal(b, person)
	shares, k1 := h.shares(b, rec, 2), h.k1[rec.Label]
	cts := make(map[string]threshold.Ciphertext)
	for c, second := range rec.SecondHalves {
		var ct threshold.Ciphertext
		if err := ct.UnmarshalBinary(second); err != nil {
			b.Fatal(err)
		}
		cts[c] = ct
	}
	sealed := field(b, nil)
	beside(b, func() {
		if _, err := seal.Open(rec, seal.FirstHalves(k1, rec.Label, names(person)), h.pk, shares); err != nil {
			b.Fatal(err)
		}
	}, func() {
		for c, ct := range cts {
			if _, err := h.pk.Combine(ct, shares[c]); err != nil {
				b.Fatal(err)
			}
		}
		for range person {
			field(b, sealed)
		}
	})
}

func BenchmarkSealTo(b *testing.B) {
	d := newDelivery(b)
	public := d.Public()
	for b.Loop() {
		if _, err := seal.SealTo(public, nil, make([]byte, 137)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenDelivery(b *testing.B) {
	d := newDelivery(b)
	ct, err := seal.SealTo(d.Public(), nil, make([]byte, 137))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := d.Open(nil, ct); err != nil {
			b.Fatal(err)
		}
	}
}
