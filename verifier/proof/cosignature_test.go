package proof_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"

	"github.com/penname/penname/verifier/proof"
)

// quantumSafe is a witness with a key of ML-DSA-44, which signs whatever it is told.
type quantumSafe struct {
	t      *testing.T
	name   string
	public []byte
	secret *mldsa44.PrivateKey
}

func newQuantumSafe(t *testing.T, name string, seed byte) *quantumSafe {
	t.Helper()
	public, secret := mldsa44.NewKeyFromSeed(&[mldsa44.SeedSize]byte{seed})
	return &quantumSafe{t, name, must(public.MarshalBinary())(t), secret}
}

// id is "SHA-256(<name> || "\n" || 0x06 || 1312-byte ML-DSA-44 cosigner public key)[:4]", or that
// of another type.
func (q *quantumSafe) id(kind byte) []byte {
	sum := sha256.Sum256(slices.Concat([]byte(q.name), []byte{'\n', kind}, q.public))
	return sum[:4]
}

func (q *quantumSafe) vkey() string {
	return fmt.Sprintf("%s+%08x+%s", q.name, binary.BigEndian.Uint32(q.id(6)), base64.StdEncoding.EncodeToString(append([]byte{6}, q.public...)))
}

// said is what a cosigned_message says.
type said struct {
	cosigner, origin string
	time, start, end uint64
	root             [32]byte
}

// line is a signature line over it, written from the structures of the specification.
func (q *quantumSafe) line(s said) string {
	q.t.Helper()
	m := []byte("subtree/v1\n\x00")
	m = append(append(m, byte(len(s.cosigner))), s.cosigner...)
	m = binary.BigEndian.AppendUint64(m, s.time)
	m = append(append(m, byte(len(s.origin))), s.origin...)
	m = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(m, s.start), s.end)
	sig := make([]byte, mldsa44.SignatureSize)
	if err := mldsa44.SignTo(q.secret, append(m, s.root[:]...), nil, false, sig); err != nil {
		q.t.Fatal(err)
	}
	return q.raw(q.id(6), append(binary.BigEndian.AppendUint64(nil, s.time), sig...))
}

func (q *quantumSafe) raw(id, sig []byte) string {
	return "— " + q.name + " " + base64.StdEncoding.EncodeToString(append(slices.Clone(id), sig...)) + "\n"
}

// What C2SP tlog-cosignature and signed-note demand about ML-DSA-44, and about types that nobody
// here knows, by their own sentences.
func TestC2SPQuantumSafeCosignatures(t *testing.T) {
	w := newWorld(t).grow(6)
	q := newQuantumSafe(t, "witness.example/dogwood", 1)
	witnesses := append(slices.Clone(w.witnesses), proof.WitnessKey{Name: q.name, Operator: "Operator 3", VKey: q.vkey()})
	log := must(proof.NewLog(origin, w.vkey, witnesses, 2))(t)
	c := w.checkpoint(6)
	text := c.String()
	at := uint64(noon.Unix())
	one := string(w.sign(text)) + cosignature(t, w.names[0], w.keys[0], at, text) // and one lacks
	good := said{q.name, origin, at, 0, 6, c.Hash}
	but := func(change func(*said)) string { s := good; change(&s); return q.line(s) }
	as := func(s string, from, to string) string { // other bytes than were signed
		raw := must(base64.StdEncoding.DecodeString(strings.Fields(s)[2]))(t)
		return q.raw(raw[:4], []byte(strings.Replace(string(raw[4:]), from, to, 1)))
	}
	zero, noonBytes := string(make([]byte, 8)), string(binary.BigEndian.AppendUint64(nil, at))
	if opened, err := log.OpenCheckpoint([]byte(one + q.line(good))); err != nil || opened.N != 6 {
		t.Fatalf("the good one: %v", err)
	}
	if at, err := log.QuorumAt([]byte(one + q.line(good))); err != nil || !at.Equal(noon) {
		t.Errorf("at %v, %v", at, err)
	}
	for must, lines := range map[string]string{
		"the signed message MUST have the cosigner's name":                             but(func(s *said) { s.cosigner = "witness.example/elder" }),
		"the signed message MUST have the log's origin":                                but(func(s *said) { s.origin = "log.example/other" }),
		"if signing a checkpoint, start MUST be zero":                                  but(func(s *said) { s.start, s.time = 4, 0 }),
		"the timestamp of a subtree that is no checkpoint, moved behind its signature": as(but(func(s *said) { s.start, s.time = 4, 0 }), zero, noonBytes),
		"if signing a checkpoint, end is the size of the tree":                         but(func(s *said) { s.end = 5 }),
		"hash is the root hash":                                                        but(func(s *said) { s.root[0] ^= 1 }),
		"the two timestamps are one":                                                   as(q.line(good), noonBytes, string(binary.BigEndian.AppendUint64(nil, at+1))),
		"the timestamp MUST NOT exceed 2^63 - 1":                                       but(func(s *said) { s.time = 1 << 63 }),
		"MUST be a timestamped_signature structure: too long":                          strings.Replace(q.line(good), "\n", "AAAA\n", 1),
		"MUST be a timestamped_signature structure: too short":                         q.raw(q.id(6), make([]byte, 8+64)),
		"another key's":      q.raw(q.id(6), must(base64.StdEncoding.DecodeString(strings.Fields(newQuantumSafe(t, q.name, 2).line(good))[2]))(t)[4:]),
		"no time, no quorum": but(func(s *said) { s.time = 0 }),
	} {
		if c, err := log.OpenCheckpoint([]byte(one + lines)); err == nil {
			t.Errorf("%s: %+v", must, c)
		}
	}
	// "Clients … ignore any signature lines that don't match the name and key ID."
	strange := q.raw(q.id(4), make([]byte, 72)) + q.raw(q.id(5), make([]byte, 99)) + q.raw(q.id(0xfa), []byte("anything")) + q.raw(q.id(0xff), make([]byte, 3000)) +
		newQuantumSafe(t, q.name, 2).line(good) + newQuantumSafe(t, "witness.example/elder", 1).line(good) +
		"— " + w.names[1] + " " + base64.StdEncoding.EncodeToString(append(q.id(0x42), make([]byte, 2428)...)) + "\n"
	if _, err := log.OpenCheckpoint([]byte(one + strange + q.line(good))); err != nil {
		t.Errorf("beside what nobody knows: %v", err)
	}
	if _, err := w.log.OpenCheckpoint([]byte(one + strange + cosignature(t, w.names[1], w.keys[1], at, text) + q.line(good))); err != nil {
		t.Errorf("beside cosignatures that the rules do not name: %v", err)
	}
	for name, of := range map[string]*proof.Log{"ML-DSA is not named": w.log, "ML-DSA is named": log} {
		if _, err := of.OpenCheckpoint([]byte(one + strange)); !errors.Is(err, proof.ErrQuorum) {
			t.Errorf("%s: what nobody knows counts: %v", name, err)
		}
	}
	if _, err := w.log.OpenCheckpoint([]byte(one + q.line(good))); !errors.Is(err, proof.ErrQuorum) {
		t.Errorf("one whom the rules do not name counts: %v", err)
	}
	extended := text + "more\n"
	if _, err := log.OpenCheckpoint([]byte(string(w.sign(extended)) + cosignature(t, w.names[0], w.keys[0], at, extended) + q.line(good))); err == nil {
		t.Error("extension lines, which it does not sign")
	}
}

// A key that is none, or has another id or name, is no witness's.
func TestQuantumSafeKeys(t *testing.T) {
	q := newQuantumSafe(t, "witness.example/dogwood", 1)
	v := must(proof.NewCosignatureVerifier(q.vkey()))(t)
	if v.Name() != q.name || v.KeyHash() != binary.BigEndian.Uint32(q.id(6)) {
		t.Errorf("%s %x", v.Name(), v.KeyHash())
	}
	key := base64.StdEncoding.EncodeToString(append([]byte{6}, q.public...))
	for _, wrong := range []string{"", "+", "a+b", "a+b+c", q.name + "+00000000+" + key, "other+" + strings.SplitN(q.vkey(), "+", 2)[1], strings.Replace(q.vkey(), "+", "+0", 1),
		newQuantumSafe(t, "a b", 1).vkey(), newQuantumSafe(t, "", 1).vkey(), newQuantumSafe(t, strings.Repeat("a", 256), 1).vkey(),
		(&quantumSafe{name: q.name, public: q.public[:1311]}).vkey(), (&quantumSafe{name: q.name, public: append(slices.Clone(q.public), 0)}).vkey(),
		strings.Replace(q.vkey(), "+"+key, "+"+base64.StdEncoding.EncodeToString(append([]byte{7}, q.public...)), 1)} {
		if v, err := proof.NewCosignatureVerifier(wrong); err == nil {
			t.Errorf("%.80s is taken: %v", wrong, v.Name())
		}
	}
	w := newWorld(t)
	twice := append(slices.Clone(w.witnesses), proof.WitnessKey{Name: "a", Operator: "Operator 3", VKey: q.vkey()}, proof.WitnessKey{Name: "b", Operator: "Operator 4", VKey: newQuantumSafe(t, "witness.example/elder", 1).vkey()})
	if _, err := proof.NewLog(origin, w.vkey, twice, 2); !errors.Is(err, proof.ErrPolicy) {
		t.Errorf("one key under two names: %v", err)
	}
}
