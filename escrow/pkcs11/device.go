//go:build pkcs11

package pkcs11

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
)

var pins = []pkcs11.Error{pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_ARGUMENTS_BAD}

// Open logs in to a device and finds the key. The device is given back by Close, after which
// the signer signs nothing more.
func Open(k Key, pin []byte) (crypto.Signer, io.Closer, error) {
	device, err := crypto11.Configure(&crypto11.Config{Path: k.Module, TokenLabel: k.Token, TokenSerial: k.Serial, Pin: string(pin)})
	if err != nil {
		var said pkcs11.Error
		if errors.As(err, &said) && slices.Contains(pins, said) {
			return nil, nil, ErrPIN.Because(err)
		}
		return nil, nil, ErrDevice.Because(err)
	}
	var label []byte
	if k.Object != "" {
		label = []byte(k.Object)
	}
	pairs, err := device.FindKeyPairs(k.ID, label)
	if err != nil || len(pairs) != 1 {
		return nil, nil, ErrNoKey.Because(errors.Join(err, fmt.Errorf("%d key pairs", len(pairs)), device.Close()))
	}
	return pairs[0], device, nil
}
