package policy

import (
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// The kinds of signed document. Each has one spelling only, so that nobody can
// make a second document with the same signature.
var (
	warrantFormat     = certified(format("penname-warrant+jwt", 1<<20, ErrTooLarge, ErrUnsigned, ErrMalformed, ErrBadSignature))
	endorsementFormat = format("penname-endorsement+jwt", 4<<10, ErrBadEndorsement, ErrBadEndorsement, ErrBadEndorsement, ErrBadEndorsement)
	reviewFormat      = format("penname-review+jwt", 4<<10, ErrReview, ErrReview, ErrReview, ErrUnknownReviewer)
	inquiryFormat     = certified(format("penname-inquiry+jwt", 3<<20, ErrInquiry, ErrInquiry, ErrInquiry, ErrBadSignature))
	ceremonyFormat    = format("penname-ceremony+jwt", 16<<10, ErrCeremonyMessage, ErrCeremonyMessage, ErrCeremonyMessage, ErrCeremonySender)

	platformFormat         = format("penname-platform+jwt", maxPlatform, ErrPlatformTooLarge, ErrPlatform, ErrPlatform, ErrPlatformSignature)
	countersignatureFormat = format("penname-platform-countersignature+jwt", maxPlatform, ErrPlatformTooLarge, ErrCountersignature, ErrCountersignature, ErrCountersignature)
)

const maxPlatform = 256 << 10

func format(typ string, maxBytes int, tooLarge, unsigned, malformed, badSignature *refusal.Error) *document.Format {
	return &document.Format{
		Types: []string{typ}, MaxBytes: maxBytes, Algorithms: document.SignatureAlgorithms, ExactHeader: true, ExactPayload: true,
		Refusals: map[document.Fault]*refusal.Error{
			document.Malformed: malformed, document.TooLarge: tooLarge, document.Unsigned: unsigned, document.AlgNotAllowed: unsigned,
			document.BadSignature: badSignature, document.CannotSign: ErrKey,
		},
	}
}

// certified lets authorities sign a format with certificates as well.
func certified(f *document.Format) *document.Format {
	f.Certified, f.Refusals[document.BadCertified] = true, ErrCertificateHeader
	return f
}

// normaliser is a payload that knows its own normal form: times in UTC and whole
// seconds, lists never null.
type normaliser[T any] interface {
	*T
	normalise()
}

// open takes a signed document apart and reads its payload. The signature is not
// checked: who must have signed is in the payload.
func open[T any, P normaliser[T]](f *document.Format, raw string) (*document.Signed, *T, error) {
	d, err := f.Open(raw)
	if err != nil {
		return nil, nil, err
	}
	v := new(T)
	if err := f.Read(d.Payload, v, func() ([]byte, error) { return marshal[T, P](*v) }); err != nil {
		return nil, nil, err
	}
	P(v).normalise()
	return d, v, nil
}

// parse reads a document that is not signed and has one spelling only.
func parse[T any, P normaliser[T]](b []byte) (*T, error) {
	v := new(T)
	if err := document.ReadExactly(b, v, func() ([]byte, error) { return marshal[T, P](*v) }); err != nil {
		return nil, err
	}
	P(v).normalise()
	return v, nil
}

func marshal[T any, P normaliser[T]](v T) ([]byte, error) {
	P(&v).normalise()
	return document.Canonical(v)
}
