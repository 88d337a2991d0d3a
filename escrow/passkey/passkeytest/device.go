// Package passkeytest is an authenticator with its browser, for tests: one that does what it
// is told, also what no honest one does.
package passkeytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
)

// Flags of authenticator data.
const (
	Present    = 1 << 0
	Verified   = 1 << 2
	Eligible   = 1 << 3
	BackedUp   = 1 << 4
	Attested   = 1 << 6
	Extensions = 1 << 7
)

// Device holds one passkey. Its zero value is not usable: see [New].
type Device struct {
	Origin   string
	ID, User []byte
	COSE     []byte // the public key
	Key      crypto.Signer
	Counter  uint32 // of the next answer; it counts if Counts
	Counts   bool
	Flags    byte

	// What becomes of an answer, if they are set.
	Client func(map[string]any)
	Data   func([]byte) []byte // before it is signed
	Object func(map[string]any)
	Answer func(map[string]any)
	JSON   func([]byte) []byte // of the client data
}

// New is a device for an origin with a key of an algorithm: -7, -8 or -257 (COSE).
func New(origin string, alg int) *Device {
	d := &Device{Origin: origin, ID: make([]byte, 32), Flags: Present | Verified | Eligible | BackedUp}
	rand.Read(d.ID)
	switch alg {
	case -7:
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		point, _ := key.PublicKey.Bytes()
		d.Key, d.COSE = key, CBOR(map[int]any{1: 2, 3: alg, -1: 1, -2: point[1:33], -3: point[33:]})
	case -8:
		public, key, _ := ed25519.GenerateKey(rand.Reader)
		d.Key, d.COSE = key, CBOR(map[int]any{1: 1, 3: alg, -1: 6, -2: []byte(public)})
	default:
		key, _ := rsa.GenerateKey(rand.Reader, 2048)
		d.Key, d.COSE = key, CBOR(map[int]any{1: 3, 3: alg, -1: key.N.Bytes(), -2: []byte{1, 0, 1}})
	}
	return d
}

// CBOR encodes as CTAP2 has it.
func CBOR(v any) []byte {
	b, err := webauthncbor.Marshal(v)
	if err != nil {
		panic(err) // a test wrote what has no encoding
	}
	return b
}

// B64 encodes as WebAuthn's JSON has it.
func B64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (d *Device) client(kind, challenge string) []byte {
	said := map[string]any{"type": kind, "challenge": challenge, "origin": d.Origin, "crossOrigin": false}
	if d.Client != nil {
		d.Client(said)
	}
	b, _ := json.Marshal(said)
	if d.JSON != nil {
		b = d.JSON(b)
	}
	return b
}

func (d *Device) data(party string, made bool) []byte {
	hash := sha256.Sum256([]byte(party))
	flags := d.Flags
	if made {
		flags |= Attested
	}
	b := binary.BigEndian.AppendUint32(append(hash[:], flags), d.Counter)
	if d.Counts {
		d.Counter++
	}
	if made {
		b = append(b, make([]byte, 16)...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(d.ID)))
		b = append(append(b, d.ID...), d.COSE...)
	}
	if d.Data != nil {
		b = d.Data(b)
	}
	return b
}

// Sign signs as the authenticator does.
func (d *Device) Sign(data, client []byte) []byte {
	hash := sha256.Sum256(client)
	text := slices.Concat(data, hash[:])
	sum, of := sha256.Sum256(text), crypto.SHA256
	digest := sum[:]
	if _, ed := d.Key.(ed25519.PrivateKey); ed {
		digest, of = text, crypto.Hash(0)
	}
	sig, err := d.Key.Sign(rand.Reader, digest, of)
	if err != nil {
		panic(err) // cannot be: the key is sound
	}
	return sig
}

func (d *Device) answer(response, extensions map[string]any) string {
	answer := map[string]any{"id": B64(d.ID), "rawId": B64(d.ID), "type": "public-key", "response": response, "clientExtensionResults": extensions}
	if d.Answer != nil {
		d.Answer(answer)
	}
	b, _ := json.Marshal(answer)
	return string(b)
}

// Create answers the options of a ceremony that adds a passkey.
func (d *Device) Create(options []byte) string {
	var o struct {
		Challenge string
		RP, User  struct{ ID string }
	}
	if err := json.Unmarshal(options, &o); err != nil {
		panic(err)
	}
	d.User, _ = base64.RawURLEncoding.DecodeString(o.User.ID)
	client := d.client("webauthn.create", o.Challenge)
	object := map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": d.data(o.RP.ID, true)}
	if d.Object != nil {
		object["client"] = client
		d.Object(object)
		delete(object, "client")
	}
	return d.answer(map[string]any{"clientDataJSON": B64(client), "attestationObject": B64(CBOR(object))}, map[string]any{"credProps": map[string]bool{"rk": true}})
}

// Get answers the options of a ceremony that asks for a passkey.
func (d *Device) Get(options []byte) string {
	var o struct{ Challenge, RPID string }
	if err := json.Unmarshal(options, &o); err != nil {
		panic(err)
	}
	client, data := d.client("webauthn.get", o.Challenge), d.data(o.RPID, false)
	return d.answer(map[string]any{"clientDataJSON": B64(client), "authenticatorData": B64(data), "signature": B64(d.Sign(data, client)), "userHandle": B64(d.User)}, map[string]any{})
}
