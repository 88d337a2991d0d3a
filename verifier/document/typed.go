package document

import (
	"bytes"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"
)

var utf8Mark = []byte("\ufeff")

// Decoded returns what a person's editor saved, without a byte order mark (RFC 8259,
// 8.1: "implementations that parse JSON texts MAY ignore the presence of a byte order
// mark"), and as UTF-8 where the mark says that it is UTF-16, as PowerShell writes
// it. All else stays byte for byte: what is signed or hashed is not changed.
func Decoded(b []byte) []byte {
	if !bytes.HasPrefix(b, utf8Mark) && !bytes.HasPrefix(b, []byte{0xff, 0xfe}) && !bytes.HasPrefix(b, []byte{0xfe, 0xff}) {
		return b
	}
	text, _, err := transform.Bytes(unicode.BOMOverride(transform.Nop), b)
	if err != nil {
		return b
	}
	return text
}

// Typed is [Decoded] without the space around it, and with each accent in its one
// spelling (NFC). It is for what a person wrote and nobody signed yet: a draft, a key
// in a file, an address.
func Typed(b []byte) []byte { return norm.NFC.Bytes(bytes.TrimSpace(Decoded(b))) }

// Passphrase returns a passphrase in the one form of RFC 8265, 4.2 (OpaqueString),
// however the keyboard, the editor or the system spelled it: without the line break
// at its end. It fails where that has no such form: it is empty, or has a control
// character in it.
func Passphrase(typed []byte) ([]byte, error) {
	line := bytes.TrimSuffix(bytes.TrimSuffix(Decoded(typed), []byte("\n")), []byte("\r"))
	return precis.OpaqueString.Bytes(line)
}

// Line is the number of the line in which a byte is, from 1.
func Line(b []byte, at int64) int {
	return 1 + bytes.Count(b[:max(0, min(at, int64(len(b))))], []byte("\n"))
}
