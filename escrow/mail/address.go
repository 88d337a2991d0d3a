package mail

import (
	"fmt"
	"log/slog"
	"net/mail"
	"strings"

	"github.com/penname/penname/verifier/refusal"
)

// ErrAddress is returned for what is no address.
var ErrAddress = refusal.New(refusal.Invalid, "mail.bad_address",
	"this is not an e-mail address: it has one @ with a name before it and a domain after it, such as jo@example.org, in ASCII and without spaces")

// Address is a mailbox, name@domain. It is personal: nothing prints it but Reveal.
type Address string

// Longest is how long an address may be (RFC 5321, 4.5.3.1.3, without the brackets).
const Longest = 254

// ParseAddress reads an address as a person types it. Only what nearly everybody has is one:
// no comment, no quotes, no address of a machine by number, a domain with a dot. So none holds
// anything that ends a line of SMTP or of a header.
func ParseAddress(text string) (Address, error) {
	text = strings.TrimSpace(text)
	name, domain, ok := strings.Cut(text, "@")
	if !ok || len(text) > Longest || len(name) > 64 || !atoms(name, "!#$%&'*+-/=?^_`{|}~") || !atoms(domain, "-") || !strings.Contains(domain, ".") {
		return "", ErrAddress
	}
	for label := range strings.SplitSeq(domain, ".") {
		if len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", ErrAddress
		}
	}
	if parsed, err := mail.ParseAddress(text); err != nil || parsed.Address != text {
		return "", ErrAddress
	}
	return Address(name + "@" + strings.ToLower(domain)), nil
}

// atoms reports whether text is atoms with dots between them, of letters, digits and these.
func atoms(text, others string) bool {
	for atom := range strings.SplitSeq(text, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && (r > 127 || !strings.ContainsRune(others, r))
		}) {
			return false
		}
	}
	return true
}

// Reveal is the address itself.
func (a Address) Reveal() string { return string(a) }

const redacted = "[address]"

// String implements fmt.Stringer.
func (Address) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Address) GoString() string { return redacted }

// Format implements fmt.Formatter.
func (Address) Format(f fmt.State, _ rune) { f.Write([]byte(redacted)) } //nolint:errcheck // as fmt itself

// LogValue implements slog.LogValuer.
func (Address) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler.
func (Address) MarshalText() ([]byte, error) { return []byte(redacted), nil }
