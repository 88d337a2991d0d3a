package threshold

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/cloudflare/circl/group"

	"github.com/penname/penname/escrow/escrowtest/fuzzing"
	"github.com/penname/penname/verifier/refusal"
)

// The vectors are published: changing them breaks every key and record that
// exists. -update is for adding, and the difference is for reading.
var update = flag.Bool("update", false, "write testdata/tdh2.json")

const vectorFile = "testdata/tdh2.json"

type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }
func (h *hexBytes) UnmarshalText(b []byte) (err error) {
	*h, err = hex.AppendDecode(nil, b)
	return err
}

type vectors struct {
	About           []string         `json:"about"`
	SecondGenerator hexBytes         `json:"second_generator"`
	Challenge       hashVector       `json:"challenge"`
	Digest          hashVector       `json:"digest"`
	Keys            []keyVector      `json:"keys"`
	Refused         []refusedVector  `json:"refused"`
	Ceremonies      []ceremonyVector `json:"ceremonies"`
}

type hashVector struct {
	Name  string     `json:"name"`
	Parts []hexBytes `json:"parts"`
	Out   hexBytes   `json:"out"`
}

type keyVector struct {
	Polynomial  []hexBytes         `json:"polynomial"` // F, constant term first
	PublicKey   hexBytes           `json:"public_key"`
	KeyShares   []hexBytes         `json:"key_shares"`
	Ciphertexts []ciphertextVector `json:"ciphertexts"`
}

type ciphertextVector struct {
	Message    hexBytes   `json:"message"`
	Label      string     `json:"label"`
	R          hexBytes   `json:"r"`
	S          hexBytes   `json:"s"`
	Pad        hexBytes   `json:"h1"`
	Ciphertext hexBytes   `json:"ciphertext"`
	Digest     hexBytes   `json:"digest"`
	Nonces     []hexBytes `json:"s_i"`
	Shares     []hexBytes `json:"shares"`
	Opens      [][]int    `json:"opens"` // sets of indices that open it
}

type refusedVector struct {
	Why        string   `json:"why"`
	Code       string   `json:"code"`
	Kind       string   `json:"kind"`                 // public_key, key_share, ciphertext, share: what Bytes is
	PublicKey  hexBytes `json:"public_key,omitempty"` // to check against, if it parses
	Ciphertext hexBytes `json:"ciphertext,omitempty"`
	Bytes      hexBytes `json:"bytes"`
}

type ceremonyVector struct {
	Kind       string     `json:"kind"`
	Seeds      []hexBytes `json:"seeds"` // of the dealers, then of receivers who do not deal
	OldShares  []hexBytes `json:"old_key_shares,omitempty"`
	Transcript hexBytes   `json:"transcript"`
	PublicKey  hexBytes   `json:"public_key"`
	KeyShares  []hexBytes `json:"key_shares"`
}

// stream is SHA-256(seed ‖ 64-bit counter), one block after another.
type stream struct {
	seed string
	n    uint64
	buf  []byte
}

func (s *stream) Read(p []byte) (int, error) {
	for len(s.buf) < len(p) {
		h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(s.seed), s.n))
		s.buf, s.n = append(s.buf, h[:]...), s.n+1
	}
	n := copy(p, s.buf)
	s.buf = s.buf[n:]
	return n, nil
}

func drawScalar(t *testing.T, r io.Reader) group.Scalar {
	s, err := randomScalar(r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func makeVectors(t *testing.T) vectors {
	r := &stream{seed: "penname/tdh2/v1/vectors"}
	parts := []hexBytes{[]byte("one"), {}, []byte("three")}
	d := digest("example", parts[0], parts[1], parts[2])
	v := vectors{
		About: []string{
			"TDH2 (Shoup, Gennaro, J. Cryptology 2002) on ristretto255 (RFC 9496) as in Penname's escrow/seal/threshold.",
			"Every byte string is hex. frame(parts): each part with its length, 4 bytes big-endian, in front.",
			"challenge(name, parts) = hash_to_field(frame(parts)) of RFC 9497 4.1, ristretto255-SHA512: expand_message_xmd(SHA-512, 64 bytes), little-endian, mod q; DST = 'penname/tdh2/v1/' + name.",
			"digest(name, parts) = SHA-256('penname/tdh2/v1/' + name + frame(parts)).",
			"second generator = hash_to_ristretto255('', DST 'penname/tdh2/v1/second-generator'), RFC 9380 appendix B.",
			"set = first 16 bytes of digest('set', public key); record = first 16 bytes of digest('ciphertext', ciphertext).",
			"H1(p) = digest('H1', p). H2 = challenge('H2', h, c, label, u, w, u_bar, w_bar). H4 = challenge('H4', set, h, index (1 byte), h_i, digest of the ciphertext, label, u, u_i, u_hat, h_hat).",
			"The layouts are in the doc comments of MarshalBinary. Scalars are little-endian, other numbers big-endian.",
		},
		SecondGenerator: bytesOf(gBar),
		Challenge:       hashVector{"example", parts, bytesOf(challenge("example", parts[0], parts[1], parts[2]))},
		Digest:          hashVector{"example", parts, d[:]},
	}
	for _, c := range []struct{ t, n int }{{2, 3}, {3, 5}, {8, 15}} {
		v.Keys = append(v.Keys, makeKeyVector(t, r, c.t, c.n))
	}
	v.Refused = makeRefused(t, v.Keys[0], v.Keys[1])
	v.Ceremonies = makeCeremonies(t, r)
	return v
}

func makeKeyVector(t *testing.T, r io.Reader, k, n int) keyVector {
	var v keyVector
	f, hs := make(polynomial, k), make([]group.Element, n)
	for i := range f {
		f[i] = drawScalar(t, r)
		v.Polynomial = append(v.Polynomial, bytesOf(f[i]))
	}
	for i := range hs {
		hs[i] = mulGen(f.at(i + 1))
	}
	pk, err := newPublicKey(k, 1, mulGen(f[0]), hs)
	if err != nil {
		t.Fatal(err)
	}
	v.PublicKey = marshal(t, pk)
	for i := range n {
		v.KeyShares = append(v.KeyShares, marshal(t, pk.keyShare(i+1, f.at(i+1))))
	}
	for _, label := range []string{"aaaaaaaaaaaaaaaaaaaaaaaaaa", "", "a label with a zero \x00"} {
		var m [32]byte
		r.Read(m[:])
		rr, s := drawScalar(t, r), drawScalar(t, r)
		ct := pk.encrypt(m, []byte(label), rr, s)
		d, pad := ct.digest(), h1(mul(pk.h, rr))
		c := ciphertextVector{Message: m[:], Label: label, R: bytesOf(rr), S: bytesOf(s), Pad: pad[:], Ciphertext: marshal(t, ct), Digest: d[:]}
		for i := range n {
			si := drawScalar(t, r)
			c.Nonces = append(c.Nonces, bytesOf(si))
			c.Shares = append(c.Shares, marshal(t, pk.keyShare(i+1, f.at(i+1)).decrypt(pk, ct, si)))
		}
		var low, high []int
		for i := range k {
			low, high = append(low, i+1), append(high, n-i)
		}
		c.Opens = [][]int{low, high}
		v.Ciphertexts = append(v.Ciphertexts, c)
	}
	return v
}

func makeRefused(t *testing.T, a, b keyVector) []refusedVector {
	ct, other := a.Ciphertexts[0], a.Ciphertexts[1]
	edit := func(in []byte, at int, with ...byte) []byte {
		out := bytes.Clone(in)
		copy(out[at:], with)
		return out
	}
	flip := func(in []byte, at int) []byte { return edit(in, at, in[at]^1) }
	share := func(why string, code *refusal.Error, s []byte) refusedVector {
		return refusedVector{why, code.Code, "share", a.PublicKey, ct.Ciphertext, s}
	}
	s, zero := ct.Shares[0], make([]byte, 32)
	q := bytesOf(curve.NewScalar().Sub(integer(0), integer(1)))
	q[0]++ // q itself, not reduced
	return []refusedVector{
		share("x = 0", ErrIndex, edit(s, 24, 0)),
		share("index above n", ErrIndex, edit(s, 24, 4)),
		share("another custodian's index", ErrShareProof, edit(s, 24, 2)),
		share("another epoch", ErrEpoch, edit(s, 7, 2)),
		share("another set", ErrForeign, flip(s, 8)),
		share("another threshold", ErrForeign, edit(s, 2, 3)),
		share("another record named", ErrOtherRecord, flip(s, 25)),
		share("a share of another record", ErrOtherRecord, other.Shares[0]),
		share("another record's share, renamed", ErrShareProof, edit(other.Shares[0], 25, s[25:41]...)),
		share("a share of another key", ErrForeign, b.Ciphertexts[0].Shares[0]),
		share("u_i of another custodian", ErrShareProof, edit(s, 41, ct.Shares[1][41:73]...)),
		share("u_i the identity", ErrShare, edit(s, 41, zero...)),
		share("e_i changed", ErrShareProof, flip(s, 73)),
		share("f_i changed", ErrShareProof, flip(s, 105)),
		share("f_i not reduced", ErrShare, edit(s, 105, q...)),
		share("truncated", ErrShare, s[:136]),
		share("one byte too many", ErrShare, append(bytes.Clone(s), 0)),
		share("another version", ErrShare, edit(s, 1, 2)),
		{"label changed", ErrCiphertext.Code, "ciphertext", a.PublicKey, nil, flip(ct.Ciphertext, 4)},
		{"c changed", ErrCiphertext.Code, "ciphertext", a.PublicKey, nil, flip(ct.Ciphertext, 30)},
		{"another key", ErrCiphertext.Code, "ciphertext", b.PublicKey, nil, ct.Ciphertext},
		{"u the identity", ErrCiphertext.Code, "ciphertext", a.PublicKey, nil, edit(ct.Ciphertext, 62, zero...)},
		{"t = 1", ErrThreshold.Code, "public_key", nil, nil, edit(a.PublicKey, 2, 1)},
		{"t greater than n", ErrThreshold.Code, "public_key", nil, nil, edit(a.PublicKey, 2, 4)},
		{"t higher than the polynomial's", ErrPublicKey.Code, "public_key", nil, nil, edit(a.PublicKey, 2, 3)},
		{"epoch 0", ErrPublicKey.Code, "public_key", nil, nil, edit(a.PublicKey, 7, 0)},
		{"h not the shares'", ErrPublicKey.Code, "public_key", nil, nil, edit(a.PublicKey, 8, b.PublicKey[8:40]...)},
		{"h_2 not the shares'", ErrPublicKey.Code, "public_key", nil, nil, edit(a.PublicKey, 72, b.PublicKey[8:40]...)},
		{"x_1 not h_1's", ErrKeyShare.Code, "key_share", a.PublicKey, nil, edit(a.KeyShares[0], 25, a.KeyShares[1][25:]...)},
		{"x_1 zero", ErrKeyShare.Code, "key_share", a.PublicKey, nil, edit(a.KeyShares[0], 25, zero...)},
		{"another set's", ErrForeign.Code, "key_share", b.PublicKey, nil, a.KeyShares[0]},
	}
}

func makeCeremonies(t *testing.T, r io.Reader) []ceremonyVector {
	var out []ceremonyVector
	var nonce [32]byte
	r.Read(nonce[:])
	record := func(kind string, p Plan, parties []*party) (PublicKey, []KeyShare) {
		for _, q := range parties {
			var err error
			if q.c, err = NewCeremony(p); err != nil {
				t.Fatal(err)
			}
		}
		pk, keys := finish(t, parties)
		v := ceremonyVector{Kind: kind, Transcript: transcript(parties[0].c), PublicKey: marshal(t, pk)}
		for _, q := range parties {
			v.Seeds = append(v.Seeds, q.key.seed[:])
			if q.old != nil {
				v.OldShares = append(v.OldShares, marshal(t, *q.old))
			}
		}
		for _, ks := range keys {
			v.KeyShares = append(v.KeyShares, marshal(t, ks))
		}
		out = append(out, v)
		return pk, keys
	}
	draw := func(n int) (parties []*party, seats []Participant) {
		for range n {
			key, err := GenerateCeremonyKey(r)
			if err != nil {
				t.Fatal(err)
			}
			parties, seats = append(parties, &party{key: key}), append(seats, key.Public())
		}
		return parties, seats
	}
	parties, seats := draw(3)
	pk, keys := record("generation", Plan{Nonce: nonce, Threshold: 2, Receivers: seats}, parties)
	parties, seats = draw(2 + 4)
	parties[0].old, parties[1].old = &keys[0], &keys[2]
	record("resharing", Plan{Nonce: nonce, Threshold: 3, Receivers: seats[2:], Previous: pk, Dealers: []Dealer{{1, seats[0]}, {3, seats[1]}}}, parties)
	return out
}

// transcript is 'T', version 1, then the plan and the messages by round and
// sender, each with its length in front.
func transcript(c *Ceremony) []byte {
	return append([]byte{'T', version}, frame(append([][]byte{c.plan.encode()}, said(c)...)...)...)
}

func TestVectors(t *testing.T) {
	v := makeVectors(t)
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(vectorFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("the published vectors are not reproduced")
	}
	// And read back from the file, through the public methods only.
	v = vectors{}
	if err := json.Unmarshal(want, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Keys) != 3 || len(v.Refused) < 30 || len(v.Ceremonies) != 2 {
		t.Fatal("vectors are missing")
	}
	for _, k := range v.Keys {
		checkKeyVector(t, k)
	}
	for _, r := range v.Refused {
		t.Run(r.Why, func(t *testing.T) { checkRefused(t, r) })
	}
	previous, err := checkCeremony(t, v.Ceremonies[0], PublicKey{}).Result()
	if err != nil {
		t.Fatal(err)
	}
	checkCeremony(t, v.Ceremonies[1], previous)
}

func checkKeyVector(t *testing.T, k keyVector) {
	var pk PublicKey
	if err := pk.UnmarshalBinary(k.PublicKey); err != nil {
		t.Fatal(err)
	}
	for _, c := range k.Ciphertexts {
		var ct Ciphertext
		if err := ct.UnmarshalBinary(c.Ciphertext); err != nil || string(ct.Label()) != c.Label {
			t.Fatal(err)
		}
		for _, set := range c.Opens {
			shares := make([]Share, len(set))
			for j, i := range set {
				if err := shares[j].UnmarshalBinary(c.Shares[i-1]); err != nil {
					t.Fatal(err)
				}
			}
			if m, err := pk.Combine(ct, shares); err != nil || !bytes.Equal(m[:], c.Message) {
				t.Fatalf("%x, %v", m, err)
			}
		}
		for i, b := range k.KeyShares { // a fresh share opens too
			var ks KeyShare
			if err := ks.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
			s, err := ks.Decrypt(&stream{seed: "fresh"}, pk, ct)
			if err != nil || s.Index() != i+1 {
				t.Fatal(err)
			}
			if err := pk.VerifyShare(ct, s); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func checkRefused(t *testing.T, r refusedVector) {
	var pk PublicKey
	var ct Ciphertext
	if r.PublicKey != nil {
		if err := pk.UnmarshalBinary(r.PublicKey); err != nil {
			t.Fatal(err)
		}
	}
	if r.Ciphertext != nil {
		if err := ct.UnmarshalBinary(r.Ciphertext); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	switch r.Kind {
	case "public_key":
		err = pk.UnmarshalBinary(r.Bytes)
	case "key_share":
		var ks KeyShare
		if err = ks.UnmarshalBinary(r.Bytes); err == nil {
			err = ks.Check(pk)
		}
	case "ciphertext":
		if err = ct.UnmarshalBinary(r.Bytes); err == nil {
			err = pk.VerifyCiphertext(ct)
		}
	case "share":
		var s Share
		if err = s.UnmarshalBinary(r.Bytes); err == nil {
			err = pk.VerifyShare(ct, s)
		}
	}
	if e := refusal.Of(err); e == nil || e.Code != r.Code {
		t.Fatalf("got %v, want %s", err, r.Code)
	}
}

// checkCeremony makes the plan of the seeds and replays the transcript.
func checkCeremony(t tester, v ceremonyVector, previous PublicKey) *Ceremony {
	var parts [][]byte
	for b := v.Transcript[2:]; len(b) > 0; {
		n := 4 + binary.BigEndian.Uint32(b)
		parts, b = append(parts, b[4:n]), b[n:]
	}
	p := Plan{Nonce: [32]byte(parts[0][2:]), Threshold: int(v.PublicKey[2]), Previous: previous}
	var keys []CeremonyKey
	for i, seed := range v.Seeds {
		key := CeremonyKey{seed: (*[32]byte)(seed)}
		if i < len(v.OldShares) {
			p.Dealers = append(p.Dealers, Dealer{int(v.OldShares[i][24]), key.Public()})
			continue
		}
		keys, p.Receivers = append(keys, key), append(p.Receivers, key.Public())
	}
	c := replay(t, p, parts[1:])
	pk, err := c.Result()
	if err != nil || !bytes.Equal(marshal(t, pk), v.PublicKey) || !bytes.Equal(transcript(c), v.Transcript) {
		t.Fatal(err)
	}
	for i, key := range keys {
		ks, err := c.KeyShare(key)
		if err != nil || !bytes.Equal(marshal(t, ks), v.KeyShares[i]) {
			t.Fatal(err)
		}
	}
	return c
}

// An implementation that shares no line with ours, in another language, opens
// and proves the vectors from the paper's equations.
func TestVectorsIndependently(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 on PATH: testdata/check_tdh2.py was not run")
	}
	if out, err := exec.Command(python, "testdata/check_tdh2.py", vectorFile).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	} else if !slices.Contains([]string{"ok\n"}, string(out)) {
		t.Fatalf("%s", out)
	}
}

func readVectors(t tester) (v vectors) {
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// fuzzSeeds adds everything of the vectors that kind names.
func fuzzSeeds(f *testing.F, pick func(vectors) []hexBytes) {
	seeds := pick(readVectors(f))
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
}

// canonical is the property: what parses marshals to the same bytes.
func canonical[T any, P interface {
	*T
	UnmarshalBinary([]byte) error
	MarshalBinary() ([]byte, error)
}](f *testing.F, pick func(vectors) []hexBytes) {
	fuzzSeeds(f, pick)
	fuzzing.Run(f, func(t *testing.T, b []byte) {
		v := P(new(T))
		if err := v.UnmarshalBinary(b); err != nil {
			if refusal.Of(err) == nil {
				t.Fatalf("not a refusal: %v", err)
			}
			return
		}
		if again := marshal(t, v); !bytes.Equal(again, b) {
			t.Fatalf("%x parses and marshals to %x", b, again)
		}
	})
}

func FuzzPublicKey(f *testing.F) {
	canonical[PublicKey](f, func(v vectors) []hexBytes { return []hexBytes{v.Keys[0].PublicKey, v.Keys[1].PublicKey} })
}

func FuzzKeyShare(f *testing.F) {
	canonical[KeyShare](f, func(v vectors) []hexBytes { return v.Keys[0].KeyShares })
}

func FuzzCiphertext(f *testing.F) {
	canonical[Ciphertext](f, func(v vectors) []hexBytes {
		return []hexBytes{v.Keys[0].Ciphertexts[0].Ciphertext, v.Keys[0].Ciphertexts[1].Ciphertext}
	})
}

func FuzzShare(f *testing.F) {
	canonical[Share](f, func(v vectors) []hexBytes { return v.Keys[0].Ciphertexts[0].Shares })
}

func FuzzParticipant(f *testing.F) {
	for _, k := range []CeremonyKey{{seed: &[32]byte{}}, {seed: &[32]byte{1}}} {
		text, err := k.Public().MarshalText()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	fuzzing.Run(f, func(t *testing.T, text []byte) {
		var p Participant
		if p.UnmarshalText(text) != nil {
			return
		}
		if again, err := p.MarshalText(); err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%q parses and marshals to %q", text, again)
		}
	})
}

// Whatever a participant signs, and whenever: nobody but themself is blamed for
// it, and an honest ceremony is not ended by what is only too early.
func FuzzSignedMessage(f *testing.F) {
	v := readVectors(f)
	whole := checkCeremony(f, v.Ceremonies[0], PublicKey{})
	all := said(whole)
	var before [4]*Ceremony // a ceremony before each of its rounds, and after the last
	for r := range before {
		before[r] = replay(f, whole.plan, all[:3*r])
	}
	for i, m := range all {
		f.Add(uint8(i/3), m[2], m[36:len(m)-ed25519.SignatureSize])
	}
	f.Add(uint8(2), uint8(kindComplaint), append(bytes.Clone(all[6][36:68]), make([]byte, 1+32+64)...))
	key := CeremonyKey{seed: (*[32]byte)(v.Ceremonies[0].Seeds[0])}
	fuzzing.Run(f, func(t *testing.T, state, k uint8, body []byte) {
		from := before[state%4]
		c := *from
		c.deals = maps.Clone(from.deals)
		for r := range c.said {
			c.said[r] = maps.Clone(from.said[r])
		}
		err := c.Add(c.sign(key, kind(k), 1, body))
		var blamed *BlameError
		switch {
		case errors.As(err, &blamed):
			if !slices.Equal(blamed.Indices, []int{1}) {
				t.Fatalf("%v", err)
			}
		case err != nil && (refusal.Of(err) == nil || c.fault != nil):
			t.Fatalf("%v", err)
		}
	})
}
