package opening

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// The vector is from RFC 4231's construction: openssl dgst -sha256 -mac HMAC -macopt hexkey:0101…01.
func TestDeletionMAC(t *testing.T) {
	receipt := [32]byte(bytes.Repeat([]byte{1}, 32))
	const want = "b12fc517e1730fd46c03bdd7d65e1e12592670d4c030a9b27aa6c7a5d75ebf4c"
	if got := DeletionMAC(receipt, "Deleted."); hex.EncodeToString(got[:]) != want {
		t.Errorf("%x", got)
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
	if err != nil || !bytes.Equal(got[:], receipt) {
		t.Error(got, err)
	}
	if _, err := (Delivery{Package: []byte("{}")}).Receipt(); !errors.Is(err, ErrNoReceipt) {
		t.Error("an older package:", err)
	}
	if _, err := (Delivery{Rounds: []Round{{Package: []byte("{")}}}).Receipt(); !errors.Is(err, ErrNoReceipt) {
		t.Error("no package:", err)
	}
}
