package passkey

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/big"
	"slices"

	"crypto/sha256"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
)

// errNotVerified stands for what go-webauthn says, which quotes what was sent.
var errNotVerified = errors.New("passkey: go-webauthn did not verify it")

// Flags of authenticator data (WebAuthn, 6.1).
const (
	flagPresent    = 1 << 0
	flagVerified   = 1 << 2
	flagEligible   = 1 << 3 // it may be backed up
	flagBackedUp   = 1 << 4
	flagAttested   = 1 << 6 // a credential follows
	flagExtensions = 1 << 7
)

// data is authenticator data.
type data struct {
	flags   byte
	counter uint32
	aaguid  []byte
	id, key []byte // of a new credential
}

// readData reads and judges authenticator data: of a new credential, or of one that there is.
//
//	SHA-256 of the id of the party ‖ flags ‖ counter ‖ credential, if new ‖ extensions, if any
func (p *Party) readData(b []byte, made bool) (d data, err error) {
	if len(b) < 37 {
		return d, ErrMalformed
	}
	party := sha256.Sum256([]byte(p.id))
	d.flags, d.counter = b[32], binary.BigEndian.Uint32(b[33:])
	switch {
	case string(b[:32]) != string(party[:]):
		return d, ErrParty
	case d.flags&flagPresent == 0:
		return d, ErrPresence
	case d.flags&flagVerified == 0:
		return d, ErrVerification
	case d.flags&flagBackedUp != 0 && d.flags&flagEligible == 0: // 7.1, step 16, and 7.2, step 18
		return d, ErrBackup
	case (d.flags&flagAttested != 0) != made:
		return d, ErrFlags
	}
	rest := b[37:]
	if made {
		if rest, err = d.readCredential(rest); err != nil {
			return d, err
		}
	}
	if d.flags&flagExtensions != 0 {
		if rest, err = checkExtensions(rest, made); err != nil {
			return d, err
		}
	}
	if len(rest) != 0 {
		return d, ErrLeftover
	}
	return d, nil
}

// readCredential reads a new credential, and returns what follows.
//
//	AAGUID (16) ‖ length of the id (2) ‖ id ‖ COSE_Key
func (d *data) readCredential(b []byte) (rest []byte, err error) {
	if len(b) < 18 {
		return nil, ErrFlags
	}
	n := int(binary.BigEndian.Uint16(b[16:]))
	switch {
	case n > MaxID:
		return nil, ErrIDTooLong
	case n == 0:
		return nil, ErrID
	case len(b) <= 18+n:
		return nil, ErrFlags
	}
	d.aaguid, d.id, b = b[:16], b[18:18+n], b[18+n:]
	var key map[int64]any
	if n, err = webauthncbor.UnmarshalFirst(b, &key); err != nil {
		return nil, ErrCBOR
	}
	d.key = b[:n]
	return b[n:], checkKey(d.key)
}

// checkKey refuses a key that is of no algorithm that is offered, or unsound.
func checkKey(key []byte) error {
	var public webauthncose.PublicKeyData
	if err := webauthncbor.Unmarshal(key, &public); err != nil || len(key) > MaxKey {
		return ErrKey
	}
	if !slices.Contains(algorithms, webauthncose.COSEAlgorithmIdentifier(public.Algorithm)) {
		return ErrAlgorithm
	}
	parsed, err := webauthncose.ParsePublicKey(key)
	if err != nil {
		return ErrKey
	}
	sound := false
	switch k := parsed.(type) {
	case webauthncose.EC2PublicKeyData:
		sound = webauthncose.COSEAlgorithmIdentifier(k.Algorithm) == webauthncose.AlgES256 // the point is on its curve
	case webauthncose.OKPPublicKeyData:
		sound = webauthncose.COSEAlgorithmIdentifier(k.Algorithm) == webauthncose.AlgEdDSA
	case webauthncose.RSAPublicKeyData:
		e, err := webauthncose.ParseRSAPublicKeyDataExponent(&k)
		n := new(big.Int).SetBytes(k.Modulus)
		sound = err == nil && e >= 3 && e&1 == 1 && n.Bit(0) == 1 && n.BitLen() >= 2048 && webauthncose.COSEAlgorithmIdentifier(k.Algorithm) == webauthncose.AlgRS256
	}
	if !sound {
		return ErrKey
	}
	return nil
}

// checkExtensions takes what an authenticator adds unasked, if it is harmless: that it shows a
// passkey to nobody without verifying them, which Chromium asks for by itself (CTAP 2.1, 12.1).
func checkExtensions(b []byte, made bool) (rest []byte, err error) {
	var outputs map[string]any
	n, err := webauthncbor.UnmarshalFirst(b, &outputs)
	switch {
	case len(b) == 0:
		return nil, ErrFlags
	case err != nil:
		return nil, ErrCBOR
	}
	for name, value := range outputs {
		if level, ok := value.(uint64); !made || name != "credProtect" || !ok || level < 1 || level > 3 {
			return nil, ErrExtension
		}
	}
	return b[n:], nil
}

// checkProps judges what the browser adds to a new passkey: that it is discoverable, which was
// asked for, or nothing.
func checkProps(outputs map[string]json.RawMessage) error {
	var props struct {
		Kept *bool `json:"rk"`
	}
	raw, said := outputs["credProps"]
	switch {
	case said && len(outputs) > 1, !said && len(outputs) > 0:
		return ErrExtension
	case said && json.Unmarshal(raw, &props) != nil:
		return ErrExtension
	case props.Kept != nil && !*props.Kept:
		return ErrNotKept
	}
	return nil
}

// readObject reads an attestation object.
func readObject(b []byte) (o protocol.AttestationObject, err error) {
	var members map[string]webauthncbor.RawMessage
	if webauthncbor.Unmarshal(b, &members) != nil || len(members) != 3 || webauthncbor.Unmarshal(b, &o) != nil {
		return o, ErrCBOR
	}
	return o, nil
}

// checkAttestation takes none, and the one that a browser passes on though it was asked for
// none: a signature by the new key itself, of an authenticator that does not say what it is
// (WebAuthn, 5.1.3 step 23 and 8.2). Everything else names the maker of a device.
func checkAttestation(o protocol.AttestationObject, d data) error {
	switch o.Format {
	case "none":
		if len(o.AttStatement) == 0 && len(o.SubStatements) == 0 {
			return nil
		}
	case "packed":
		_, alg := o.AttStatement["alg"]
		_, sig := o.AttStatement["sig"]
		if alg && sig && len(o.AttStatement) == 2 && string(d.aaguid) == string(make([]byte, 16)) {
			return nil // go-webauthn verifies it
		}
	}
	return ErrAttestation
}
