package seal

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/penname/penname/verifier/token"
)

var issued = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// A token is found by its issue, however long before it the person signed in, and
// on a machine whose clock was a day ahead; a salt of longer ago is not.
func TestSaltIsFoundAgain(t *testing.T) {
	var seed [32]byte
	rand.Read(seed[:])
	for back := -1; back <= longestSignIn; back++ {
		want := Salt(seed, issued.Add(-time.Duration(back)*day), uint8(back))
		if !slices.Contains(slices.Collect(Salts(seed, issued)), want) {
			t.Errorf("a sign-in %d days before is not found", back)
		}
	}
	for _, back := range []int{-2, longestSignIn + 1} {
		if slices.Contains(slices.Collect(Salts(seed, issued)), Salt(seed, issued.Add(-time.Duration(back)*day), 0)) {
			t.Errorf("a sign-in %d days before is found", back)
		}
	}
	for salt := range Salts(seed, issued) {
		if salt != seed {
			t.Error("tokens of before there was a salt for each sign-in come first")
		}
		break
	}
}

// BenchmarkSalts is what a target costs at worst: a token renewed for a month.
func BenchmarkSalts(b *testing.B) {
	var seed [32]byte
	for b.Loop() {
		for salt := range Salts(seed, issued) {
			if token.Commit("pen1qqqsyqcyq5rqwzqfpg9scrgwpusvvflz", "aaaaaaaaaaaaaaaaaaaaaaaaaa.0000000000000000000000000000000000000000000000000000000000000000", salt) == seed {
				b.Fatal("found")
			}
		}
	}
}
