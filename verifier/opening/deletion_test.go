package opening

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// The vector was made with OpenSSL: openssl dgst -sha256 -mac HMAC -macopt hexkey:0101…01.
func TestDeletionMAC(t *testing.T) {
	receipt := bytes.Repeat([]byte{1}, 32)
	const want = "d5c06f519b4c1204502fc1a343148938432bab0075cabcd755b5b7b13983e48b"
	if got := hex.EncodeToString(DeletionMAC(receipt, "abc", "Deleted.")); got != want {
		t.Error(got)
	}
	for _, other := range [][]byte{DeletionMAC(bytes.Repeat([]byte{2}, 32), "abc", "Deleted."), DeletionMAC(receipt, "abd", "Deleted."), DeletionMAC(receipt, "abc", "Kept.")} {
		if hex.EncodeToString(other) == want {
			t.Error("another receipt, case or statement has the same proof")
		}
	}
}

func TestDeletionStatements(t *testing.T) {
	for text, want := range map[string]error{
		"Deleted on 1 December.\nAlso the backup.": nil,
		"": ErrDeletion, " \n": ErrDeletion, "a\x1b[2J": ErrDeletion, "\xff": ErrDeletion, "\u202eabc": ErrDeletion,
		strings.Repeat("a", maxDeletion): nil, strings.Repeat("a", maxDeletion+1): ErrDeletion,
	} {
		if err := CheckDeletion(text); !errors.Is(err, want) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func TestReceiptOfADelivery(t *testing.T) {
	receipt := bytes.Repeat([]byte{1}, 32)
	packed, err := json.Marshal(Package{Receipt: receipt})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Delivery{Rounds: []Round{{Package: packed}}}.Receipt()
	if err != nil || !bytes.Equal(got, receipt) {
		t.Error(got, err)
	}
	if _, err := (Delivery{Package: []byte("{}")}).Receipt(); !errors.Is(err, ErrNoReceipt) {
		t.Error("an older package:", err)
	}
	if _, err := (Delivery{Rounds: []Round{{Package: []byte("{")}}}).Receipt(); !errors.Is(err, ErrNoReceipt) {
		t.Error("no package:", err)
	}
}
