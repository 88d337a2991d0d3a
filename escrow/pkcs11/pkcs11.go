// Package pkcs11 signs with a key that never leaves its device: a smart card, a token or a
// hardware security module. The key is named by a PKCS #11 URI (RFC 7512):
//
//	pkcs11:token=court;object=seal?module-path=/usr/lib/softhsm/libsofthsm2.so
//
// It needs cgo, and so its own build: go build -tags pkcs11 ./cmd/escrow. Without the tag
// [Open] says so.
package pkcs11

import (
	"errors"
	"net/url"
	"strings"

	"github.com/penname/penname/verifier/refusal"
)

var (
	// ErrURI is the refusal of what names no key on a device.
	ErrURI = refusal.New(refusal.Invalid, "device.uri",
		"the device's key is named as RFC 7512 has it: pkcs11:token=LABEL;object=LABEL?module-path=FILE, with serial in the place of token or id in that of object, and the PIN in a file (pin-source=file:FILE) or typed, never in the address itself")
	// ErrPIN is the refusal of a device that does not open.
	ErrPIN = refusal.New(refusal.Unauthenticated, "device.pin",
		"the device does not open with this PIN: nothing was signed; after some wrong ones it locks itself, so ask who gave it to you before you try again")
	// ErrDevice is the refusal of a device, or of its module, that does not work.
	ErrDevice = refusal.New(refusal.Unavailable, "device.unavailable",
		"the device or its module does not answer, or has no such token: nothing was signed; put the card in, and look whether module-path names the library of its maker and token its label")
	// ErrNoKey is the refusal of a device without the key.
	ErrNoKey = refusal.New(refusal.NotFound, "device.no_key",
		"the device has no such key pair, or several: nothing was signed; name it by object (its label) or by id, both if it takes both")
	// ErrNotBuilt is the refusal of a program that was built without this package.
	ErrNotBuilt = refusal.New(refusal.Invalid, "device.not_built",
		"this program was built without PKCS #11: build one that has it with go build -tags pkcs11 ./cmd/escrow, which needs a C compiler")
)

// Key names a key on a device.
type Key struct {
	Module        string // path of the library
	Token, Serial string // the label of the token, or its serial number
	Object        string // label of the key pair; "": ID says which
	ID            []byte // of the key pair; nil: Object says which
	PINFile       string // with the PIN; "": it is asked for
}

// ParseURI reads a PKCS #11 URI (RFC 7512, 2.3). Attributes that are not used here are
// refused: they would narrow what is meant.
func ParseURI(uri string) (Key, error) {
	var k Key
	rest, ok := strings.CutPrefix(uri, "pkcs11:")
	path, query, _ := strings.Cut(rest, "?")
	if !ok {
		return k, ErrURI
	}
	err := errors.Join(attributes(path, ";", func(name, value string) bool {
		switch name {
		case "token":
			k.Token = value
		case "serial":
			k.Serial = value
		case "object":
			k.Object = value
		case "id":
			k.ID = []byte(value)
		case "type":
			return value == "private"
		default:
			return false
		}
		return true
	}), attributes(query, "&", func(name, value string) bool {
		switch name {
		case "module-path":
			k.Module = value
		case "pin-source":
			file, is := strings.CutPrefix(value, "file:")
			k.PINFile = strings.TrimPrefix(file, "//")
			return is && file != ""
		default: // pin-value would stand in the list of processes
			return false
		}
		return true
	}))
	if err != nil || k.Module == "" || (k.Token == "") == (k.Serial == "") || k.Object == "" && len(k.ID) == 0 {
		return Key{}, ErrURI
	}
	return k, nil
}

// attributes hands out each one once, decoded.
func attributes(text, separator string, take func(name, value string) bool) error {
	seen := make(map[string]bool)
	for pair := range strings.SplitSeq(text, separator) {
		if pair == "" {
			continue
		}
		name, value, is := strings.Cut(pair, "=")
		value, err := url.PathUnescape(value)
		if err != nil || !is || seen[name] || !take(name, value) {
			return ErrURI
		}
		seen[name] = true
	}
	return nil
}
