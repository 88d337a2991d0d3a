package token

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const receiptRecord = "abcdefghijklmnopqrstuvwxya.00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func receiptKey(t *testing.T, kid string, until time.Time) (jose.JSONWebKey, *KeySet) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(jose.JSONWebKey{Key: public, KeyID: kid, Use: "sig", Algorithm: "EdDSA"})
	if err != nil {
		t.Fatal(err)
	}
	jwks := fmt.Sprintf(`{"keys":[%s,"exp":%d}]}`, strings.TrimSuffix(string(b), "}"), until.Unix())
	keys, err := ParseKeySet([]byte(jwks))
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: private, KeyID: kid}, keys
}

func TestReceiptIsOfOneIssuerKeyAndDay(t *testing.T) {
	day := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	key, keys := receiptKey(t, "k", day.AddDate(0, 0, 1))
	stranger, _ := receiptKey(t, "k", day.AddDate(0, 0, 1))
	unnamed, _ := receiptKey(t, "other", day.AddDate(0, 0, 1))
	const issuer = "https://penname.example"
	sign := func(r Receipt, by jose.JSONWebKey) string {
		raw, err := r.Sign(by)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	good := Receipt{issuer, receiptRecord, day}
	raw := sign(good, key)
	if got, err := VerifyReceipt(raw, issuer, keys); err != nil || got != good {
		t.Errorf("%v %v", got, err)
	}
	spelled, err := receiptFormat.Sign(key, []byte(`{"iss":"`+issuer+`", "record":"`+receiptRecord+`","day":"2026-11-30"}`))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(raw, ".")
	_, signature, _ := strings.Cut(rest, ".")
	other := sign(Receipt{issuer, strings.Replace(receiptRecord, "00", "11", 1), day}, key)
	_, rest, _ = strings.Cut(other, ".")
	payload, _, _ := strings.Cut(rest, ".")
	for what, c := range map[string]struct {
		raw  string
		want error
	}{
		"empty":                  {"", ErrReceiptMalformed},
		"another kind":           {mustSign(t, statusFormat.Sign, key), ErrReceiptMalformed},
		"another spelling":       {spelled, ErrReceiptMalformed},
		"a record that is none":  {sign(Receipt{issuer, "jo", day}, key), ErrReceiptMalformed},
		"another payload":        {head + "." + payload + "." + signature, ErrReceiptSignature},
		"a stranger's signature": {sign(good, stranger), ErrReceiptSignature},
		"an unknown key":         {sign(good, unnamed), ErrReceiptKey},
		"a day after the key":    {sign(Receipt{issuer, receiptRecord, day.AddDate(0, 0, 1)}, key), ErrReceiptKey},
		"another service":        {sign(Receipt{"https://other.example", receiptRecord, day}, key), ErrReceiptIssuer},
	} {
		if _, err := VerifyReceipt(c.raw, issuer, keys); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
}

func mustSign(t *testing.T, sign func(jose.JSONWebKey, []byte) (string, error), key jose.JSONWebKey) string {
	t.Helper()
	raw, err := sign(key, []byte(`{"iss":"https://penname.example","record":"`+receiptRecord+`","day":"2026-11-30"}`))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
