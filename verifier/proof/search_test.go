package proof_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/penname/penname/verifier/proof"
)

func TestReceiptIsFoundInThePage(t *testing.T) {
	const (
		label      = "abcdefghijklmnopqrstuvwxya"
		salt       = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
		commitment = "a6a24b5f0d1f9e4a0e8e4c4e3a4c5f1f0f9d3c6b1b8a9c7d6e5f4a3b2c1d0e9f"
	)
	want, err := proof.ParseReceipt([]byte("Label " + label + "\nSalt " + salt + "\n"))
	if err != nil || len(want) != 64 {
		t.Fatal(want, err)
	}
	for _, page := range []string{
		"Commitment\n" + want + "\nLabel\n" + label + "\nSalt\n" + salt,
		"Salt: " + salt + "\r\nLabel: " + label,
		"<dl>\n<dt>Commitment</dt><dd><code>" + want + "</code></dd>\n<dt>Label</dt><dd><code>" + label + "</code></dd>\n<dt>Salt</dt><dd><code>" + salt + "</code></dd>\n</dl>",
	} {
		if got, err := proof.ParseReceipt([]byte(page)); err != nil || got != want {
			t.Errorf("%q: %s %v", page, got, err)
		}
	}
	for page, want := range map[string]error{
		"": proof.ErrReceipt, "Label " + label: proof.ErrReceipt, "Salt " + salt: proof.ErrReceipt,
		"Label " + label + " Salt " + salt[1:]:                           proof.ErrReceipt,
		"Label " + label + " Salt " + salt + "0":                         proof.ErrReceipt,
		"Label " + strings.ToUpper(label) + " Salt " + salt:              proof.ErrReceipt,
		"Commitment " + commitment + " Label " + label + " Salt " + salt: proof.ErrFalseReceipt,
		"Commitment " + want + " Label b" + label[1:] + " Salt " + salt:  proof.ErrFalseReceipt,
	} {
		if _, err := proof.ParseReceipt([]byte(page)); !errors.Is(err, want) {
			t.Errorf("%q: %v", page, err)
		}
	}
}
