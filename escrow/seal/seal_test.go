package seal_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"testing"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
)

func TestSealOpenDeliver(t *testing.T) {
	pk, keys, err := threshold.Deal(rand.Reader, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	var k1 []byte
	rec, err := seal.Seal(t.Context(), seal.NewLabel(), map[string][]byte{"name": []byte("Tom Troll"), "email": []byte("t@example.org")}, pk,
		func(_ context.Context, _ string, k []byte) (string, error) { k1 = append(k1, k...); return hex.EncodeToString(k), nil })
	if err != nil {
		t.Fatal(err)
	}
	var shares []threshold.Share
	for _, ks := range keys[1:] {
		s, err := seal.DecryptShare(rec.Label, rec.SecondHalf, pk, ks)
		if err != nil {
			t.Fatal(err)
		}
		shares = append(shares, s)
	}
	got, err := seal.Open(rec.Named([]string{"name"}), seal.FirstHalves(k1, rec.Label, []string{"name"}), pk, shares)
	if err != nil || len(got) != 1 || string(got["name"]) != "Tom Troll" {
		t.Fatalf("%q, %v", got, err)
	}
	d, err := seal.GenerateDeliveryKey()
	if err != nil {
		t.Fatal(err)
	}
	ct, err := seal.SealTo(d.Public(), []byte("info"), []byte("share"))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := d.Open([]byte("info"), ct); err != nil || string(p) != "share" {
		t.Fatalf("%q, %v", p, err)
	}
}
