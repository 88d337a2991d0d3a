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
// receipt, and about that case: HMAC-SHA-256, keyed with the receipt, of
// "penname/deletion/v1", a zero byte, the case's id, a zero byte and the statement.
func DeletionMAC(receipt []byte, caseID, statement string) []byte {
	mac := hmac.New(sha256.New, receipt)
	mac.Write([]byte("penname/deletion/v1\x00" + caseID + "\x00" + statement))
	return mac.Sum(nil)
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
func (d Delivery) Receipt() ([]byte, error) {
	for _, round := range d.rounds() {
		var p Package
		if json.Unmarshal(round.Package, &p) == nil && len(p.Receipt) == 32 {
			return p.Receipt, nil
		}
	}
	return nil, ErrNoReceipt
}
