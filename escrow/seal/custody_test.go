package seal_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"maps"
	"slices"
	"testing"
	"testing/cryptotest"

	"github.com/penname/penname/escrow/seal"
	"github.com/penname/penname/escrow/seal/threshold"
)

// Q1. Before: one second half covered all fields for ever, so that a share released
// for "name" opened "address" later, with the key service's half and no custodian.
func TestFoundQ1AShareForTheNameOpensNoAddress(t *testing.T) {
	h := newHouse(t)
	rec := h.seal(t, person)
	released := h.sharesFor(t, rec, 3, "name") // all custodians, for a warrant on the name
	if !slices.Equal(rec.Needed([]string{"name"}), []string{"identity"}) || len(released) != 1 {
		t.Fatal("released for more than the warrant names")
	}
	got, err := seal.Open(rec, h.halves(rec, "name"), h.pk, released)
	if err != nil || string(got["name"]) != "Tom Troll" {
		t.Fatal(err)
	}
	// Later the key service gives everything it has: K1, not only K1f.
	for _, field := range []string{"address", "email"} {
		_, err := seal.Open(rec, h.halves(rec, field), h.pk, released)
		refused(t, err, threshold.ErrTooFewShares)
		// What was released, in the place of what was not, which whoever has the key
		// service and the database can try.
		_, err = seal.Open(rec, h.halves(rec, field), h.pk, map[string][]threshold.Share{"contact": released["identity"]})
		refused(t, err, threshold.ErrOtherRecord)
		moved := rec
		moved.Compartments = maps.Clone(rec.Compartments)
		moved.Compartments[field] = "identity"
		_, err = seal.Open(moved, h.halves(rec, field), h.pk, released)
		refused(t, err, seal.ErrDecrypt)
		moved.SecondHalves = map[string][]byte{"identity": rec.SecondHalves["identity"], "contact": rec.SecondHalves["identity"]}
		_, err = moved.DecryptShare(rec.Label, "contact", h.pk, h.keys[0])
		refused(t, err, seal.ErrMoved)
		if a, errA := rec.Digest(); errA != nil {
			t.Fatal(errA)
		} else if b, err := moved.Digest(); err == nil && a == b {
			t.Fatal("a field in another compartment has the same digest")
		}
	}
	// A field of the same compartment needs no other share: that is what a
	// compartment is, and what the registrar's halves by field are for.
	if got, err := seal.Open(rec, h.halves(rec, "birthdate"), h.pk, released); err != nil || len(got) != 1 {
		t.Fatal(err)
	}
}

// A field that the record does not have opens no compartment.
func TestAbsentFieldNeedsNoShare(t *testing.T) {
	h := newHouse(t)
	rec := h.seal(t, map[string][]byte{"name": person["name"], "address": person["address"]})
	if got := rec.Needed([]string{"email", "name"}); !slices.Equal(got, []string{"identity"}) {
		t.Fatal(got)
	}
	if got := rec.Needed([]string{"phone"}); len(got) != 0 {
		t.Fatal(got)
	}
	name := h.seal(t, map[string][]byte{"name": person["name"]})
	if len(name.SecondHalves) != 1 {
		t.Fatal("a second half that opens nothing")
	}
}

func TestDigestOfCompartments(t *testing.T) {
	h := newHouse(t)
	rec := h.seal(t, person)
	want, err := rec.Digest()
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(*seal.Record)) seal.Record {
		r := rec
		r.SecondHalves, r.Compartments = maps.Clone(rec.SecondHalves), maps.Clone(rec.Compartments)
		f(&r)
		return r
	}
	for name, r := range map[string]seal.Record{
		"another second half": change(func(r *seal.Record) { r.SecondHalves["contact"] = []byte("other") }),
		"field moved":         change(func(r *seal.Record) { r.Compartments["email"] = "identity" }),
		"compartment renamed": change(func(r *seal.Record) {
			r.SecondHalves["reach"] = r.SecondHalves["contact"]
			delete(r.SecondHalves, "contact")
			r.Compartments["email"], r.Compartments["address"] = "reach", "reach"
		}),
		"a person's key": change(func(r *seal.Record) { r.PersonKey = make([]byte, 32) }),
	} {
		if d, err := r.Digest(); err != nil || d == want {
			t.Errorf("%s: the digest does not notice, %v", name, err)
		}
	}
	for name, r := range map[string]seal.Record{
		"version 1":             change(func(r *seal.Record) { r.Version = 0 }),
		"version 3":             change(func(r *seal.Record) { r.Version = 3 }),
		"both versions":         change(func(r *seal.Record) { r.SecondHalf = []byte("C") }),
		"short key":             change(func(r *seal.Record) { r.PersonKey = make([]byte, 31) }),
		"half without a field":  change(func(r *seal.Record) { r.SecondHalves["more"] = []byte("C") }),
		"field without a half":  change(func(r *seal.Record) { r.Compartments["email"] = "more" }),
		"compartment of none":   change(func(r *seal.Record) { r.Compartments["phone"] = "contact" }),
		"field in none":         change(func(r *seal.Record) { delete(r.Compartments, "email") }),
		"bad name":              change(func(r *seal.Record) { r.Compartments["email"], r.SecondHalves["A"] = "A", []byte("C") }),
		"version 1, with a key": {Label: rec.Label, Custody: seal.Custody{PersonKey: make([]byte, 32)}, Fields: rec.Fields},
	} {
		if _, err := r.Digest(); err == nil {
			t.Errorf("%s: it has a digest", name)
		}
	}
}

func TestPackedCustody(t *testing.T) {
	versions(t, func(t *testing.T, h *house) {
		rec := h.seal(t, person)
		if h.compartments != nil {
			rec.PersonKey = bytes.Repeat([]byte{7}, 32)
		}
		want, err := rec.Digest()
		if err != nil {
			t.Fatal(err)
		}
		packed, err := rec.Pack(rec.Label)
		if err != nil {
			t.Fatal(err)
		}
		again := rec
		var whole bool
		if again.Custody, whole = seal.UnpackCustody(rec.Label, packed); !whole {
			t.Fatal("not whole")
		}
		if d, err := again.Digest(); err != nil || d != want {
			t.Fatal("another record came back", err)
		}
		// A changed byte never passes for what was sealed, and never panics.
		for i := range packed {
			for _, b := range [][]byte{packed[:i], slices.Concat(packed[:i], []byte{packed[i] ^ 1}, packed[i+1:])} {
				if again.Custody, whole = seal.UnpackCustody(rec.Label, b); whole {
					if d, err := again.Digest(); err == nil && d == want {
						t.Fatalf("byte %d is not covered", i)
					}
				}
			}
		}
		if _, err := rec.Pack(seal.NewLabel()); h.compartments != nil && err == nil {
			t.Fatal("packed beside another label")
		}
	})
}

// A source of randomness that repeats itself: the same K1, K2c and nonces for two
// records. Their labels are in every derivation, so that no key and no pad comes
// twice; a repeated label has no second row (primary key of records). What it cannot
// be guarded against is somebody who can predict the source: they have both halves.
func TestRepeatedRandomness(t *testing.T) {
	h := newHouse(t)
	one, two := seal.NewLabel(), seal.NewLabel()
	var recs []seal.Record
	for _, label := range []string{one, two} {
		t.Run(label, func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, 1)
			rec, err := seal.Seal(t.Context(), label, person, seal.Custodians{Key: h.pk, Compartments: h.compartments}, h.wrap)
			if err != nil {
				t.Fatal(err)
			}
			recs = append(recs, rec)
		})
	}
	a, b := recs[0], recs[1]
	if !bytes.Equal(h.k1[one], h.k1[two]) {
		t.Fatal("the randomness did not repeat: this test shows nothing")
	}
	for c := range a.SecondHalves {
		x := a.SecondHalves[c][len(threshold.CiphertextPrefix([]byte(one+"."+c))):]
		y := b.SecondHalves[c][len(threshold.CiphertextPrefix([]byte(two+"."+c))):]
		if bytes.Equal(x[:32], y[:32]) || bytes.Equal(x[32:64], y[32:64]) {
			t.Fatal("the same pad or the same r twice")
		}
	}
	var seen [][]byte
	for _, r := range recs {
		for f, sealed := range r.Fields {
			if slices.ContainsFunc(seen, func(s []byte) bool { return bytes.Equal(s, sealed[:32]) }) {
				t.Fatalf("%s is under a key that was used before", f)
			}
			seen = append(seen, sealed[:32])
		}
	}
	// Whoever opened the first record lawfully has its K1f and K2c: the second stays shut.
	_, err := seal.Open(b, h.halves(a, names(person)...), h.pk, h.shares(t, b, 2))
	refused(t, err, seal.ErrDecrypt)
	_, err = seal.Open(b, h.halves(b, "name"), h.pk, h.shares(t, a, 2))
	refused(t, err, threshold.ErrOtherRecord)
}

// gcmKey is a field's key and commitment, from the package comment.
func gcmKey(t *testing.T, half, k2 []byte, label, compartment, field string) (key, c, aad []byte) {
	frame := func(parts ...string) (b []byte) {
		for _, p := range parts {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
		}
		return b
	}
	second, err := hkdf.Key(sha256.New, k2, nil, string(frame("penname/second-half/v2", label, compartment, field)), 32)
	if err != nil {
		t.Fatal(err)
	}
	aad = frame("penname/seal/v2", label, field)
	out, err := hkdf.Key(sha256.New, slices.Concat(half, second), nil, string(aad), 64)
	if err != nil {
		t.Fatal(err)
	}
	return out[:32], out[32:], aad
}

// AES-GCM is not key-committing: here is one ciphertext that opens under two keys.
// The only parts of a field's key that no digest names are the first halves, which
// come from the key service. So whoever seals, together with the key service and
// the registrar, could hand one requester one half and another requester another,
// and one record would be two identities. C refuses: the field opens under the
// key that it was attached with, and under no other.
func TestCiphertextUnderTwoKeys(t *testing.T) {
	h := newHouse(t)
	rec := h.seal(t, person)
	k2, err := h.pk.Combine(ciphertext(t, rec, "identity"), h.shares(t, rec, 2)["identity"])
	if err != nil {
		t.Fatal(err)
	}
	k1 := [][]byte{h.k1[rec.Label], bytes.Repeat([]byte{9}, 32)}
	var keys, commitments, halves [][]byte
	var aad []byte
	for _, k := range k1 {
		half := seal.FirstHalves(k, rec.Label, []string{"name"})["name"]
		key, c, a := gcmKey(t, half, k2[:], rec.Label, "identity", "name")
		keys, commitments, halves, aad = append(keys, key), append(commitments, c), append(halves, half), a
	}
	crafted := underBoth(t, keys[0], keys[1], aad)
	for _, key := range keys {
		b, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		gcm, err := cipher.NewGCM(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := gcm.Open(nil, crafted[:12], crafted[12:], aad); err != nil {
			t.Fatal("not a ciphertext under two keys: this test shows nothing", err)
		}
	}
	for attached := range keys {
		r := rec
		r.Fields = map[string][]byte{"name": slices.Concat(commitments[attached], crafted)}
		_, err := seal.Open(r, map[string][]byte{"name": halves[1-attached]}, h.pk, h.shares(t, rec, 2))
		refused(t, err, seal.ErrDecrypt)
	}
}

func ciphertext(t *testing.T, rec seal.Record, compartment string) (ct threshold.Ciphertext) {
	if err := ct.UnmarshalBinary(rec.SecondHalves[compartment]); err != nil {
		t.Fatal(err)
	}
	return ct
}

// underBoth returns nonce ‖ two blocks ‖ tag that AES-GCM (SP 800-38D) accepts under
// both keys: the second block is what makes the two tags equal.
func underBoth(t *testing.T, k1, k2, aad []byte) []byte {
	nonce, first := make([]byte, 12), bytes.Repeat([]byte{5}, 16)
	side := func(key []byte) (h, rest [16]byte) {
		b, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		b.Encrypt(h[:], make([]byte, 16))
		counter := append(bytes.Clone(nonce), 0, 0, 0, 1)
		b.Encrypt(rest[:], counter)
		lengths := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(len(aad))*8), 32*8)
		padded := append(bytes.Clone(aad), make([]byte, (16-len(aad)%16)%16)...)
		var y [16]byte
		for block := range slices.Chunk(slices.Concat(padded, first, make([]byte, 16), lengths), 16) {
			subtle.XORBytes(y[:], y[:], block)
			y = times(y, h)
		}
		subtle.XORBytes(rest[:], rest[:], y[:])
		return h, rest // the tag, but for the second block times h²
	}
	h1, rest1 := side(k1)
	h2, rest2 := side(k2)
	var difference, squares [16]byte
	subtle.XORBytes(difference[:], rest1[:], rest2[:])
	s1, s2 := times(h1, h1), times(h2, h2)
	subtle.XORBytes(squares[:], s1[:], s2[:])
	second := times(difference, inverse(squares))
	tag := times(second, s1)
	subtle.XORBytes(tag[:], tag[:], rest1[:])
	return slices.Concat(nonce, first, second[:], tag[:])
}

// times multiplies in GF(2¹²⁸) as GCM has it (SP 800-38D, 6.3).
func times(x, y [16]byte) (z [16]byte) {
	v := y
	for i := range 128 {
		if x[i/8]>>(7-i%8)&1 == 1 {
			subtle.XORBytes(z[:], z[:], v[:])
		}
		carry := v[15] & 1
		for j := 15; j > 0; j-- {
			v[j] = v[j]>>1 | v[j-1]<<7
		}
		v[0] >>= 1
		if carry == 1 {
			v[0] ^= 0xe1
		}
	}
	return z
}

// inverse is x^(2¹²⁸−2).
func inverse(x [16]byte) [16]byte {
	r := [16]byte{0x80}
	for range 127 {
		x = times(x, x)
		r = times(r, x)
	}
	return r
}
