package token

import (
	"context"
	"regexp"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Why a receipt is not believed.
var (
	ErrReceiptMalformed = refusal.New(refusal.Invalid, "receipt.malformed",
		"this is no receipt of an enrolment: give the file that your own page saved, or the long line of the printed sheet, whole")
	ErrReceiptSignature = refusal.New(refusal.Denied, "receipt.bad_signature",
		"the signature of the receipt does not hold: it was changed, or a line of it is missing; copy it again")
	ErrReceiptKey = refusal.New(refusal.Denied, "receipt.unknown_key",
		"the receipt is signed with a key that the rules do not name: fetch the rules of the day of the receipt")
	ErrReceiptIssuer = refusal.New(refusal.Denied, "receipt.other_issuer",
		"the receipt is of another service than the rules are for: fetch the rules of that service")
)

var receiptFormat = &document.Format{Types: []string{"penname-receipt+jwt"}, MaxBytes: 4 << 10, Algorithms: document.SignatureAlgorithms, ExactPayload: true, Refusals: refusals{
	document.Malformed: ErrReceiptMalformed, document.UnknownKey: ErrReceiptKey, document.AmbiguousKey: ErrReceiptKey, document.KeyUse: ErrReceiptKey,
	document.UntrustedKey: ErrReceiptKey, document.AlgKeyMismatch: ErrReceiptSignature, document.BadSignature: ErrReceiptSignature, document.CannotSign: ErrCannotSign,
}}

// Receipt is what an issuer signs for a person: on that day this sealed record was theirs. It
// says no name and no pen name. Who holds it, and a copy of the database, finds whose it is.
type Receipt struct {
	Issuer string
	Record string    // label and digest of the sealed record, as seal.Reference has them
	Day    time.Time // UTC midnight
}

type receiptClaims struct {
	Issuer string `json:"iss"`
	Record string `json:"record"`
	Day    string `json:"day"` // YYYY-MM-DD
}

var recordReference = regexp.MustCompile(`^[a-z2-7]{25}[aeimquy4]\.[0-9a-f]{64}$`)

func (r Receipt) marshal() ([]byte, error) {
	return json.Marshal(receiptClaims{r.Issuer, r.Record, r.Day.UTC().Format(time.DateOnly)})
}

// Sign returns the receipt as a compact JWS of type penname-receipt+jwt.
func (r Receipt) Sign(key jose.JSONWebKey) (string, error) {
	payload, err := r.marshal()
	if err != nil {
		return "", err
	}
	return receiptFormat.Sign(key, payload)
}

// VerifyReceipt returns what a receipt says if that issuer signed it, with one of keys that
// was in force on its day. It fails with one of the ErrReceipt refusals.
func VerifyReceipt(raw, issuer string, keys *KeySet) (r Receipt, err error) {
	d, err := receiptFormat.Open(raw)
	if err != nil {
		return r, err
	}
	var c receiptClaims
	if err := document.ReadExactly(d.Payload, &c, func() ([]byte, error) { return json.Marshal(c) }); err != nil {
		return r, ErrReceiptMalformed.Because(err)
	}
	r.Issuer, r.Record = c.Issuer, c.Record
	if r.Day, err = time.Parse(time.DateOnly, c.Day); err != nil || !recordReference.MatchString(c.Record) {
		return r, ErrReceiptMalformed
	}
	if r.Issuer != issuer {
		return r, ErrReceiptIssuer
	}
	k, err := keys.static().verify(context.Background(), receiptFormat, d)
	if err == nil && !k.InForce(r.Day) && !k.InForce(r.Day.AddDate(0, 0, 1)) {
		err = ErrReceiptKey
	}
	return r, err
}
