package document

// Fault is what can be wrong with any signed document, or with a key, whatever
// kind it is of. A [Format] turns it into the refusal of its kind; where there is
// no format it is an error by itself.
type Fault int

// The faults. Malformed is also what a [Format] says where it names nothing else.
const (
	Malformed       Fault = iota
	TooLarge              // over the format's limit
	TooComplex            // a header over 2 KiB, or JSON nested over 16 levels
	Unsigned              // not three parts, or no signature in the third
	AlgNotAllowed         // an algorithm that the format does not list, or none
	UnsupportedCrit       // crit or b64
	UntrustedKey          // the header brings or points to a key, or has none where it must
	WrongType             // another kind of document
	BadSignature          // not by this key over these bytes
	UnknownKey            // no key with this kid
	AmbiguousKey          // no kid, and several keys could be meant
	KeyUse                // the key is not for verifying signatures
	AlgKeyMismatch        // alg is not the key's
	BadKeySet             // not a strict JWK Set, a symmetric key in it, or a kid that occurs twice
	BadKey                // not a valid public key
	WeakKey               // too short, or a point of small order
	BadCertified          // the header brings certificates, and not as JAdES baseline B does
	CannotSign            // not a private key of an algorithm of the format
)

var faultTexts = [...]string{
	"malformed", "too large", "header too large or JSON nested too deeply", "not signed", "algorithm not allowed",
	"unsupported extension", "untrusted key", "another kind of document", "bad signature", "unknown key",
	"ambiguous key", "the key is not for signatures", "algorithm and key do not match", "bad key set", "bad key", "weak key", "not JAdES baseline B", "the key cannot sign",
}

// Error says what is wrong, never with what.
func (f Fault) Error() string { return faultTexts[f] }
