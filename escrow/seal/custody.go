package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"slices"

	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/verifier/refusal"
)

// ErrCompartment refuses to seal a field that the rules have no place for.
var ErrCompartment = refusal.New(refusal.Invalid, "seal.no_compartment", "A field is in no compartment of the rules, or in two; a bundle names each field in exactly one.")

const (
	secondInfo   = "penname/second-half/v2"
	current      = 2  // version of records with compartments; those of version 1 say none
	personKey    = 32 // bytes of a commitment to a person's key
	sealedSecond = 160
)

// sealInfo is the HKDF info and the associated data of a field, by version.
var sealInfo = map[int]string{0: "penname/seal/v1", current: "penname/seal/v2"}

// Custodians are those whom the second halves of a record are encrypted to.
type Custodians struct {
	Key threshold.PublicKey

	// Fields by compartment, each in exactly one. Without any, the record is one of
	// version 1, which is one compartment of everything.
	Compartments map[string][]string
}

// Custody is the custodians' part of a record: its second halves, and which of
// them opens which field. [Record.Digest] covers all of it.
type Custody struct {
	Version      int               `json:"version,omitempty"`       // 2; absent in a record of version 1
	SecondHalf   []byte            `json:"second_half,omitempty"`   // version 1: threshold.Ciphertext of K2
	SecondHalves map[string][]byte `json:"second_halves,omitempty"` // threshold.Ciphertext of K2c, by compartment
	Compartments map[string]string `json:"compartments,omitempty"`  // of each field of the record, by its name

	// The place of a commitment to a key that only the person has, 32 bytes. Empty:
	// nothing uses it yet, and a digest that covers it need not change again.
	PersonKey []byte `json:"person_key,omitempty"`
}

// custody makes fresh second halves for the fields, and returns them in clear as
// well, by compartment.
func (c Custodians) custody(label string, fields []string) (Custody, map[string][]byte, error) {
	if len(c.Compartments) == 0 {
		k2, second, err := c.half(label, "")
		return Custody{SecondHalf: second}, map[string][]byte{"": k2}, err
	}
	out := Custody{Version: current, SecondHalves: make(map[string][]byte), Compartments: make(map[string]string)}
	k2s := make(map[string][]byte)
	for _, id := range slices.Sorted(maps.Keys(c.Compartments)) {
		for _, field := range c.Compartments[id] {
			if _, twice := out.Compartments[field]; twice || !fieldRE.MatchString(id) {
				return Custody{}, nil, ErrCompartment
			}
			if !slices.Contains(fields, field) {
				continue
			}
			if out.Compartments[field] = id; k2s[id] != nil {
				continue
			}
			var err error
			if k2s[id], out.SecondHalves[id], err = c.half(label, id); err != nil {
				return Custody{}, nil, err
			}
		}
	}
	if len(out.Compartments) != len(fields) {
		return Custody{}, nil, ErrCompartment
	}
	return out, k2s, nil
}

func (c Custodians) half(label, compartment string) (k2, second []byte, err error) {
	var k [keySize]byte
	defer clear(k[:])
	rand.Read(k[:]) // crypto/rand.Read never returns an error
	ct, err := c.Key.Encrypt(rand.Reader, k, halfLabel(label, compartment))
	if err != nil {
		return nil, nil, err
	}
	second, err = ct.MarshalBinary()
	return bytes.Clone(k[:]), second, err
}

// halfLabel is the TDH2 label of a second half. A dot is in no record label and in
// no name of a compartment.
func halfLabel(label, compartment string) []byte {
	if compartment == "" {
		return []byte(label)
	}
	return []byte(label + "." + compartment)
}

// Needed returns the compartments whose second halves open the fields, in order:
// those that custodians release shares for, and no other. A field that the record
// does not have needs none. The one compartment of a record of version 1 is "".
func (c Custody) Needed(fields []string) []string {
	if c.Version == 0 {
		return []string{""}
	}
	needed := []string{}
	for _, field := range fields {
		if id, ok := c.Compartments[field]; ok && !slices.Contains(needed, id) {
			needed = append(needed, id)
		}
	}
	slices.Sort(needed)
	return needed
}

// DecryptShare is the custodian's step: it refuses a second half that was sealed
// for another record than label or another compartment, then makes the share.
func (c Custody) DecryptShare(label, compartment string, pk threshold.PublicKey, ks threshold.KeyShare) (threshold.Share, error) {
	ct, err := c.parse(label, compartment)
	if err != nil {
		return threshold.Share{}, err
	}
	return ks.Decrypt(rand.Reader, pk, ct)
}

// VerifyShare is the requester's check of one custodian's share for a compartment
// of the record; the refusal's cause names the culprit.
func (c Custody) VerifyShare(label, compartment string, pk threshold.PublicKey, s threshold.Share) error {
	ct, err := c.parse(label, compartment)
	if err != nil {
		return err
	}
	return pk.VerifyShare(ct, s)
}

func (c Custody) parse(label, compartment string) (threshold.Ciphertext, error) {
	var ct threshold.Ciphertext
	if !labelRE.MatchString(label) {
		return ct, ErrLabel
	}
	second, ok := c.SecondHalves[compartment]
	if c.Version == 0 {
		second, ok = c.SecondHalf, compartment == ""
	}
	if !ok {
		return ct, ErrRecord
	}
	if err := ct.UnmarshalBinary(second); err != nil {
		return ct, err
	}
	if !bytes.Equal(ct.Label(), halfLabel(label, compartment)) {
		return ct, ErrMoved
	}
	return ct, nil
}

// fieldHalf returns K2f, to be cleared, and the info of the field's key.
func (c Custody) fieldHalf(k2s map[string][]byte, label, field string) (half []byte, info string, err error) {
	info, known := sealInfo[c.Version]
	id := c.Compartments[field]
	k2, ok := k2s[id]
	switch {
	case !known || !ok:
		return nil, "", ErrRecord
	case c.Version == 0:
		return bytes.Clone(k2), info, nil
	}
	half, err = hkdf.Key(sha256.New, k2, nil, string(frame(secondInfo, label, id, field)), keySize)
	return half, info, err
}

// check refuses parts of two versions, and compartments that are not exactly those
// of the fields of the record.
func (c Custody) check(fields map[string][]byte) error {
	if c.Version == 0 {
		if len(c.SecondHalves) > 0 || len(c.Compartments) > 0 || len(c.PersonKey) > 0 {
			return ErrRecord
		}
		return nil
	}
	if c.Version != current || len(c.SecondHalf) > 0 || len(c.Compartments) != len(fields) || len(c.PersonKey) != 0 && len(c.PersonKey) != personKey {
		return ErrRecord
	}
	used := make(map[string]bool)
	for field, id := range c.Compartments {
		if fields[field] == nil || c.SecondHalves[id] == nil || !fieldRE.MatchString(id) {
			return ErrRecord
		}
		used[id] = true
	}
	if len(used) != len(c.SecondHalves) {
		return ErrRecord
	}
	return nil
}

// Pack joins it into the one value that is stored beside label. Version 1 is its
// second half. After it:
//
//	2, length of PersonKey, PersonKey, then for each compartment in order:
//	length of its id, id, second half without threshold.CiphertextPrefix (160 bytes),
//	number of its fields, for each in order: length of its name, name
//
// The version and each length and number are one byte. It is [ErrRecord] if the
// second halves are not of that label.
func (c Custody) Pack(label string) ([]byte, error) {
	if c.Version == 0 {
		return c.SecondHalf, nil
	}
	text := func(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }
	b := text([]byte{current}, string(c.PersonKey))
	for _, id := range slices.Sorted(maps.Keys(c.SecondHalves)) {
		second, ok := bytes.CutPrefix(c.SecondHalves[id], threshold.CiphertextPrefix(halfLabel(label, id)))
		if !ok || len(second) != sealedSecond {
			return nil, ErrRecord
		}
		b = append(text(b, id), second...)
		var fields []string
		for field, in := range c.Compartments {
			if in == id {
				fields = append(fields, field)
			}
		}
		slices.Sort(fields)
		b = append(b, byte(len(fields)))
		for _, field := range fields {
			b = text(b, field)
		}
	}
	return b, nil
}

// UnpackCustody is the inverse of [Custody.Pack]. It reports whether b is whole;
// whether its parts fit together, [Record.Digest] says.
func UnpackCustody(label string, b []byte) (Custody, bool) {
	if len(b) == 0 || b[0] != current { // a threshold.Ciphertext begins with 'C'
		return Custody{SecondHalf: b}, true
	}
	r := packed{b: b[1:]}
	c := Custody{Version: current, SecondHalves: make(map[string][]byte), Compartments: make(map[string]string)}
	c.PersonKey = r.text()
	for len(r.b) > 0 {
		id := string(r.text())
		c.SecondHalves[id] = append(threshold.CiphertextPrefix(halfLabel(label, id)), r.take(sealedSecond)...)
		for range r.number() {
			c.Compartments[string(r.text())] = id
		}
	}
	return c, !r.short
}

// packed takes parts from what Pack made, and remembers that one was missing.
type packed struct {
	b     []byte
	short bool
}

func (r *packed) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.short = nil, true
		return nil
	}
	part := r.b[:n:n]
	r.b = r.b[n:]
	return part
}

func (r *packed) number() int {
	if b := r.take(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (r *packed) text() []byte { return r.take(r.number()) }
