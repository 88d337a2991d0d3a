package opening

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"unicode/utf8"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Why a statement of deletion is refused.
var (
	ErrDeletion = refusal.New(refusal.Invalid, "deletion.statement",
		"the statement should say in 1 to 4,000 characters, which can be displayed, what was deleted: nothing was stored, write it again")
	ErrNoReceipt = refusal.New(refusal.Invalid, "deletion.no_receipt",
		"this package is from before requesters could state that they deleted it: nothing was stored, tell the court in writing")
)

const maxDeletion = 4000 // characters

// DeletionMAC proves that a statement of deletion is by whoever opened the package with that
// receipt, which no other case has: HMAC-SHA-256 of the statement, keyed with the receipt.
func DeletionMAC(receipt [32]byte, statement string) (mac [32]byte) {
	h := hmac.New(sha256.New, receipt[:])
	h.Write([]byte(statement))
	return [32]byte(h.Sum(nil))
}

// CheckDeletion is [ErrDeletion] for what cannot be a statement of deletion.
func CheckDeletion(statement string) error {
	if document.Blank(statement) || !utf8.ValidString(statement) || !document.Displayable(statement, maxDeletion) {
		return ErrDeletion
	}
	return nil
}

// Receipt returns what a statement of deletion about a delivery is made with, or
// [ErrNoReceipt].
func (d Delivery) Receipt() (receipt [32]byte, err error) {
	if d.Barred != nil && len(d.Barred.Receipt) == 32 {
		return [32]byte(d.Barred.Receipt), nil
	}
	for _, round := range d.rounds() {
		var p Package
		if json.Unmarshal(round.Package, &p) == nil && len(p.Receipt) == 32 {
			return [32]byte(p.Receipt), nil
		}
	}
	return receipt, ErrNoReceipt
}
