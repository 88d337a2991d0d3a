package threshold

import (
	"crypto/rand"
	"errors"
	"slices"
	"testing"


	"github.com/penname/penname/verifier/refusal"
)

var (
	message = [32]byte{1, 2, 3}
	label   = []byte("aaaaaaaaaaaaaaaaaaaaaaaaaa")
)

// fixture is a dealt key, a ciphertext and every custodian's share of it.
type fixture struct {
	pk     PublicKey
	keys   []KeyShare
	ct     Ciphertext
	shares []Share
}

func newFixture(t interface{ Fatal(...any) }, k, n int) fixture {
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	var f fixture
	var err error
	f.pk, f.keys, err = Deal(rand.Reader, k, n)
	must(err)
	f.ct, err = f.pk.Encrypt(rand.Reader, message, label)
	must(err)
	f.shares = release(t, f.pk, f.keys, f.ct)
	return f
}

func release(t interface{ Fatal(...any) }, pk PublicKey, keys []KeyShare, ct Ciphertext) []Share {
	var out []Share
	for _, ks := range keys {
		s, err := ks.Decrypt(rand.Reader, pk, ct)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// wantRefusal checks the code and, if any are given, exactly the culprits.
func wantRefusal(t interface{ Fatalf(string, ...any) }, err error, want *refusal.Error, culprits ...int) {
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %s", err, want.Code)
	}
	if len(culprits) == 0 {
		return
	}
	var b *BlameError
	if !errors.As(err, &b) || !slices.Equal(b.Indices, culprits) {
		t.Fatalf("%s blames %v, want %v", want.Code, errors.Unwrap(err), culprits)
	}
}

func remarshal(t *testing.T, s Share, change func(b []byte) []byte) (Share, error) {
	t.Helper()
	b, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var out Share
	return out, out.UnmarshalBinary(change(b))
}

func TestAnyTwoOfThreeOpen(t *testing.T) {
	f := newFixture(t, 2, 3)
	for _, pair := range [][]int{{0, 1}, {1, 0}, {0, 2}, {2, 1}, {0, 1, 2}} {
		var set []Share
		for _, i := range pair {
			set = append(set, f.shares[i])
		}
		if m, err := f.pk.Combine(f.ct, set); err != nil || m != message {
			t.Fatalf("shares %v: %x, %v", pair, m, err)
		}
	}
}
