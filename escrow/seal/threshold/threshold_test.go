package threshold

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cloudflare/circl/group"
	"pgregory.net/rapid"

	"github.com/penname/penname/verifier/refusal"
)

var (
	message = [32]byte{1, 2, 3}
	label   = []byte("aaaaaaaaaaaaaaaaaaaaaaaaaa")
)

// TestMain runs 25 cases of each property unless -rapid.checks asks otherwise: a
// chain of resharings is some thousand multiplications.
func TestMain(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if !asked {
		flag.Set("rapid.checks", "25")
	}
	os.Exit(m.Run())
}

// tester is testing.TB or *rapid.T.
type tester interface {
	Fatal(...any)
	Fatalf(string, ...any)
}

// trustedDeal is the trusted dealer of the paper's key generation. It makes the first
// epoch (1) of a t-of-n key and forgets the secret. A key for use comes from a
// [Ceremony], where no dealer exists.
func trustedDeal(rand io.Reader, t, n int) (PublicKey, []KeyShare, error) {
	if err := checkThreshold(t, n); err != nil {
		return PublicKey{}, nil, err
	}
	// F, of degree t-1 (the paper's k-1), with random coefficients; x = F(0)
	f := make(polynomial, t)
	for k := range f {
		var err error
		if f[k], err = randomScalar(rand); err != nil {
			return PublicKey{}, nil, err
		}
	}
	xs := make([]group.Scalar, n)
	hs := make([]group.Element, n)
	for i := range n {
		xs[i] = f.at(i + 1) // never F(0): indices start at 1
		hs[i] = mulGen(xs[i])
	}
	pk, err := newPublicKey(t, 1, mulGen(f[0]), hs)
	if err != nil {
		return PublicKey{}, nil, err
	}
	shares := make([]KeyShare, n)
	for i := range shares {
		shares[i] = pk.keyShare(i+1, xs[i])
	}
	return pk, shares, nil
}

// fixture is a dealt key, a ciphertext and every custodian's share of it.
type fixture struct {
	pk     PublicKey
	keys   []KeyShare
	ct     Ciphertext
	shares []Share
}

func newFixture(t tester, k, n int) fixture {
	pk, keys, err := trustedDeal(rand.Reader, k, n)
	if err != nil {
		t.Fatal(err)
	}
	ct := encrypt(t, pk, label)
	return fixture{pk, keys, ct, release(t, pk, keys, ct)}
}

func encrypt(t tester, pk PublicKey, label []byte) Ciphertext {
	ct, err := pk.Encrypt(rand.Reader, message, label)
	if err != nil {
		t.Fatal(err)
	}
	return ct
}

func release(t tester, pk PublicKey, keys []KeyShare, ct Ciphertext) []Share {
	var out []Share
	for _, ks := range keys {
		s, err := ks.Decrypt(rand.Reader, pk, ct)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// refused checks the code and, if any are given, that exactly these are blamed.
func refused(t tester, err error, want *refusal.Error, culprits ...int) {
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %s", err, want.Code)
	}
	if len(culprits) == 0 {
		return
	}
	var b *BlameError
	if !errors.As(err, &b) || !slices.Equal(b.Indices, culprits) {
		t.Fatalf("%s: %v, want blame for %v", want.Code, errors.Unwrap(err), culprits)
	}
}

// opens fails unless the set opens the fixture's message.
func opens(t tester, pk PublicKey, ct Ciphertext, set []Share) {
	if m, err := pk.Combine(ct, set); err != nil || m != message {
		t.Fatalf("opened %v, %v", m == message, err)
	}
}

func marshal(t tester, v interface{ MarshalBinary() ([]byte, error) }) []byte {
	b, err := v.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestC01ShareAtZero(t *testing.T) {
	f := newFixture(t, 2, 3)
	b := marshal(t, f.shares[0])
	for _, b[24] = range []byte{0, 4} {
		var s Share
		refused(t, s.UnmarshalBinary(b), ErrIndex)
	}
	// In memory too: at x = 0 a plain interpolation returns the attacker's bytes.
	forged := f.shares[0]
	forged.index = 0
	_, err := f.pk.Combine(f.ct, []Share{forged, f.shares[1]})
	refused(t, err, ErrIndex, 0)
	forged.index = 4
	_, err = f.pk.Combine(f.ct, []Share{forged, f.shares[1]})
	refused(t, err, ErrIndex, 4)
	k := marshal(t, f.keys[0])
	for _, k[24] = range []byte{0, 4} {
		var ks KeyShare
		refused(t, ks.UnmarshalBinary(k), ErrKeyShare)
	}
}

func TestC02TooFewShares(t *testing.T) {
	f := newFixture(t, 3, 5)
	for n := range 3 {
		_, err := f.pk.Combine(f.ct, f.shares[:n])
		refused(t, err, ErrTooFewShares)
	}
	opens(t, f.pk, f.ct, f.shares[:3])
}

func TestC03SharesOfTwoSets(t *testing.T) {
	f, g := newFixture(t, 2, 3), newFixture(t, 2, 3)
	_, err := f.pk.Combine(f.ct, []Share{f.shares[0], g.shares[1]})
	refused(t, err, ErrForeign, 2)
	_, err = g.keys[1].Decrypt(rand.Reader, f.pk, f.ct)
	refused(t, err, ErrForeign, 2)
	// A share that lies about its set is caught by its proof.
	lie := g.shares[1]
	lie.set, lie.record = f.pk.set, f.shares[0].record
	_, err = f.pk.Combine(f.ct, []Share{f.shares[0], lie})
	refused(t, err, ErrShareProof, 2)
	// So is one that lies about the threshold.
	lie = f.shares[1]
	lie.t = 3
	_, err = f.pk.Combine(f.ct, []Share{f.shares[0], lie})
	refused(t, err, ErrForeign, 2)
}

func TestC04BitFlippedShare(t *testing.T) {
	f := newFixture(t, 2, 3)
	b := marshal(t, f.shares[0])
	for bit := range len(b) * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		var s Share
		if err := s.UnmarshalBinary(b); err == nil {
			if _, err := f.pk.Combine(f.ct, []Share{s, f.shares[1]}); err == nil {
				t.Fatalf("bit %d: accepted", bit)
			}
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func TestC05OneCustodianTwice(t *testing.T) {
	f := newFixture(t, 2, 3)
	_, err := f.pk.Combine(f.ct, []Share{f.shares[0], f.shares[0]})
	refused(t, err, ErrDuplicate, 1)
	// Two different valid shares of one custodian are still one custodian.
	again := release(t, f.pk, f.keys[:1], f.ct)[0]
	_, err = f.pk.Combine(f.ct, []Share{f.shares[0], again, f.shares[2]})
	refused(t, err, ErrDuplicate, 1)
}

func TestC06TruncatedOrEmptyShare(t *testing.T) {
	f := newFixture(t, 2, 3)
	b := marshal(t, f.shares[0])
	for n := range b {
		var s Share
		refused(t, s.UnmarshalBinary(b[:n]), ErrShare)
	}
	var s Share
	refused(t, s.UnmarshalBinary(append(b, 0)), ErrShare)
	_, err := f.pk.Combine(f.ct, []Share{{}, f.shares[1]})
	refused(t, err, ErrShare)
}

func TestC07OldEpochAfterReshare(t *testing.T) {
	f := newFixture(t, 2, 3)
	pk2, keys2 := reshare(t, f.pk, f.keys[:2], 2, 3)
	new2 := release(t, pk2, keys2, f.ct) // what was sealed before still opens
	opens(t, pk2, f.ct, new2[1:])
	_, err := pk2.Combine(f.ct, []Share{f.shares[0], new2[1]})
	refused(t, err, ErrEpoch, 1)
	_, err = f.keys[0].Decrypt(rand.Reader, pk2, f.ct)
	refused(t, err, ErrEpoch, 1)
	// A relabelled old key share does not fit either.
	lie := f.keys[0]
	lie.epoch, lie.set = pk2.epoch, pk2.set
	_, err = lie.Decrypt(rand.Reader, pk2, f.ct)
	refused(t, err, ErrKeyShare, 1)
	// Nor does a relabelled old share, made with a program that does not check.
	forged := lie.decrypt(pk2, f.ct, integer(7))
	_, err = pk2.Combine(f.ct, []Share{forged, new2[1]})
	refused(t, err, ErrShareProof, 1)
}

func TestC08ShareForAnotherRecord(t *testing.T) {
	f := newFixture(t, 2, 3)
	other := encrypt(t, f.pk, []byte("another record"))
	s := release(t, f.pk, f.keys, other)
	_, err := f.pk.Combine(f.ct, []Share{f.shares[0], s[1]})
	refused(t, err, ErrOtherRecord, 2)
	s[1].record = f.shares[0].record
	_, err = f.pk.Combine(f.ct, []Share{f.shares[0], s[1]})
	refused(t, err, ErrShareProof, 2)
	// The same record encrypted again is another ciphertext.
	again := encrypt(t, f.pk, label)
	_, err = f.pk.Combine(again, f.shares)
	refused(t, err, ErrOtherRecord, 1, 2, 3)
}

// A public key whose h_i do not lie on one polynomial never parses, whoever
// dealt it: C09 for the verification keys, C23 for a dealer.
func TestC09C23DealerDealsInconsistentShares(t *testing.T) {
	f := newFixture(t, 3, 5)
	for i := range f.pk.hs {
		bad := f.pk
		bad.hs = slices.Clone(f.pk.hs)
		bad.hs[i] = mulGen(integer(42))
		var pk PublicKey
		refused(t, pk.UnmarshalBinary(bad.encode()), ErrPublicKey)
	}
	bad := f.pk
	bad.h = mulGen(integer(42))
	var pk PublicKey
	refused(t, pk.UnmarshalBinary(bad.encode()), ErrPublicKey)
	// h = 1: everybody opens. h_1 = 1: everybody is custodian 1.
	for _, p := range []polynomial{{integer(0), integer(5)}, {integer(5), curve.NewScalar().Neg(integer(5))}} {
		_, err := newPublicKey(2, 1, mulGen(p[0]), []group.Element{mulGen(p.at(1)), mulGen(p.at(2))})
		refused(t, err, ErrPublicKey)
	}
	// A custodian who got another x_i than the public h_i says so at once.
	ks := f.keys[1]
	ks.x = integer(42)
	refused(t, ks.Check(f.pk), ErrKeyShare, 2)
}

// The combiner checks every proof, so a wrong message needs a false proof; here
// the prover lies as well as it can without x_i.
func TestC16CombinerNeverReturnsAWrongMessage(t *testing.T) {
	f := newFixture(t, 2, 3)
	liar := f.keys[1]
	liar.x = curve.NewScalar().Add(liar.x, integer(1))
	_, err := f.pk.Combine(f.ct, []Share{f.shares[0], liar.decrypt(f.pk, f.ct, integer(9))})
	refused(t, err, ErrShareProof, 2)
	// A right u_i under a proof for another custodian's index.
	stolen := f.shares[0]
	stolen.index = 2
	_, err = f.pk.Combine(f.ct, []Share{f.shares[0], stolen})
	refused(t, err, ErrShareProof, 2)
	// A different u_i under a right proof.
	swapped := f.shares[1]
	swapped.ui = f.shares[2].ui
	_, err = f.pk.Combine(f.ct, []Share{f.shares[0], swapped})
	refused(t, err, ErrShareProof, 2)
}

func TestC17BadThresholds(t *testing.T) {
	for _, c := range []struct{ t, n int }{{0, 3}, {1, 3}, {4, 3}, {-1, 3}, {2, 1}, {2, 0}, {2, -2}, {2, MaxCustodians + 1}} {
		_, _, err := trustedDeal(rand.Reader, c.t, c.n)
		refused(t, err, ErrThreshold)
		_, err = NewCeremony(Plan{Threshold: c.t, Receivers: make([]Participant, max(c.n, 0))})
		refused(t, err, ErrThreshold)
	}
	f := newFixture(t, 2, 3)
	b := marshal(t, f.pk)
	for _, k := range []byte{0, 1, 3, 4, 255} {
		b[2] = k
		var pk PublicKey
		if err := pk.UnmarshalBinary(b); err == nil {
			t.Fatalf("a 2-of-3 key parses as %d-of-3", k)
		}
	}
}

// C21: arithmetic on secrets is circl's ristretto255 and nothing else.
func TestC21ConstantTimeLibraryOnly(t *testing.T) {
	allowed := []string{"bytes", "crypto/ed25519", "crypto/sha256", "crypto/subtle", "encoding/base64", "encoding/binary", "errors", "fmt", "io", "log/slog", "math/bits", "slices", "sync",
		"github.com/cloudflare/circl/group", "github.com/penname/penname/verifier/refusal"}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no sources", err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			if !slices.Contains(allowed, strings.Trim(i.Path.Value, `"`)) {
				t.Errorf("%s imports %s", name, i.Path.Value)
			}
		}
	}
	if curve != group.Ristretto255 {
		t.Error("not ristretto255") // circl's NIST curves are not constant-time
	}
}

func TestC24SecretsDoNotPrint(t *testing.T) {
	f := newFixture(t, 2, 3)
	key, err := GenerateCeremonyKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	for _, v := range []any{f.keys[0], &f.keys[0], f.shares[0], &f.shares[0], key, &key, f.keys, f.shares, struct{ K KeyShare }{f.keys[0]}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&log, verb+"\n", v)
		}
		logger.Info("secret", "v", v)
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		log.Write(j)
	}
	// fmt does not ask the methods of unexported fields. (vet refuses %s here.)
	for _, v := range []any{struct{ k KeyShare }{f.keys[0]}, struct{ s Share }{f.shares[0]}, struct{ k CeremonyKey }{key}} {
		fmt.Fprintf(&log, "%v %+v %#v %d %x\n", v, v, v, v, v)
	}
	for name, secret := range map[string][]byte{"x_1": bytesOf(f.keys[0].x), "u_1": bytesOf(f.shares[0].ui), "seed": key.seed[:]} {
		for _, enc := range []string{"%x", "%X", "%d", "%q"} {
			if s := fmt.Sprintf(enc, secret[:8]); strings.Contains(log.String(), strings.Trim(s, "[]\"")) {
				t.Errorf("%s is printed", name)
			}
		}
	}
}

func TestI13LabelAndKeyAreBound(t *testing.T) {
	f, g := newFixture(t, 2, 3), newFixture(t, 2, 3)
	moved := f.ct
	moved.label = []byte("aaaaaaaaaaaaaaaaaaaaaaaaab")
	refused(t, f.pk.VerifyCiphertext(moved), ErrCiphertext)
	_, err := f.keys[0].Decrypt(rand.Reader, f.pk, moved)
	refused(t, err, ErrCiphertext)
	_, err = f.pk.Combine(moved, f.shares)
	refused(t, err, ErrCiphertext)
	// Nor does the share of a custodian whose program does not check.
	refused(t, f.pk.VerifyShare(moved, f.keys[0].decrypt(f.pk, moved, integer(7))), ErrCiphertext)
	refused(t, g.pk.VerifyCiphertext(f.ct), ErrCiphertext)
	b := marshal(t, f.ct)
	for bit := range len(b) * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		var ct Ciphertext
		if ct.UnmarshalBinary(b) == nil && f.pk.VerifyCiphertext(ct) == nil {
			t.Fatalf("bit %d: accepted", bit)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func TestI22EveryCulpritIsNamed(t *testing.T) {
	f := newFixture(t, 2, 5)
	set := slices.Clone(f.shares)
	set[1].fi, set[3].ei = integer(1), integer(2)
	_, err := f.pk.Combine(f.ct, set)
	refused(t, err, ErrShareProof, 2, 4)
	opens(t, f.pk, f.ct, []Share{set[0], set[2], set[4]}) // go on without them
	refused(t, f.pk.VerifyShare(f.ct, set[3]), ErrShareProof, 4)
	if err := f.pk.VerifyShare(f.ct, set[4]); err != nil {
		t.Fatal(err)
	}
}

// stuck is a source of randomness that always says the same.
type stuck struct{}

func (stuck) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// From the randomness alone, r = s here, and f = s + re gives r to everybody who
// reads the ciphertext; and two messages have the same pad.
func TestStuckRandomnessDoesNotOpenCiphertexts(t *testing.T) {
	f := newFixture(t, 2, 3)
	sealed := func(pk PublicKey, m byte, label string) Ciphertext {
		ct, err := pk.Encrypt(stuck{}, [32]byte{m}, []byte(label))
		if err != nil {
			t.Fatal(err)
		}
		if r := curve.NewScalar().Mul(ct.f, curve.NewScalar().Inv(curve.NewScalar().Add(integer(1), ct.e))); mulGen(r).IsEqual(ct.u) {
			t.Fatal("the ciphertext gives r away")
		}
		return ct
	}
	one := sealed(f.pk, 1, "a")
	for _, other := range []Ciphertext{sealed(f.pk, 2, "a"), sealed(f.pk, 1, "b"), sealed(newFixture(t, 2, 3).pk, 1, "a")} {
		if one.u.IsEqual(other.u) {
			t.Fatal("two ciphertexts with one r")
		}
	}
}

// Whoever knows the randomness would know s_i, and so x_i; and who sees one s_i in two
// shares has x_i without it.
func TestStuckRandomnessDoesNotGiveAKeyShareAway(t *testing.T) {
	f := newFixture(t, 2, 3)
	var seen []group.Element
	for _, ct := range []Ciphertext{f.ct, encrypt(t, f.pk, label)} {
		for i, ks := range f.keys {
			s, err := ks.Decrypt(stuck{}, f.pk, ct)
			if err != nil {
				t.Fatal(err)
			}
			hHat := sub(mulGen(s.fi), mul(f.pk.hs[i], s.ei)) // g^{s_i}
			if slices.ContainsFunc(seen, hHat.IsEqual) {
				t.Fatal("one s_i in two shares")
			}
			seen = append(seen, hHat)
		}
	}
}

func TestZeroValuesAreRefused(t *testing.T) {
	f := newFixture(t, 2, 3)
	var pk PublicKey
	_, err := pk.Encrypt(rand.Reader, message, label)
	refused(t, err, ErrPublicKey)
	refused(t, pk.VerifyCiphertext(f.ct), ErrPublicKey)
	_, err = pk.MarshalText()
	refused(t, err, ErrPublicKey)
	refused(t, f.keys[0].Check(pk), ErrPublicKey)
	refused(t, KeyShare{}.Check(f.pk), ErrKeyShare)
	refused(t, f.pk.VerifyCiphertext(Ciphertext{}), ErrCiphertext)
	if pk.Same(pk) || pk.String() == "" {
		t.Fatal("the zero key equals a key")
	}
	_, err = f.pk.Encrypt(rand.Reader, message, make([]byte, MaxLabel+1))
	refused(t, err, ErrCiphertext)
	var long Ciphertext
	refused(t, long.UnmarshalBinary(marshal(t, f.pk.encrypt(message, make([]byte, MaxLabel+1), integer(3), integer(4)))), ErrCiphertext)
	_, _, err = trustedDeal(strings.NewReader("short"), 2, 3)
	refused(t, err, ErrRandom)
	_, err = f.pk.Encrypt(strings.NewReader("short"), message, label)
	refused(t, err, ErrRandom)
	_, err = f.keys[0].Decrypt(strings.NewReader("short"), f.pk, f.ct)
	refused(t, err, ErrRandom)
	_, err = GenerateCeremonyKey(strings.NewReader("short"))
	refused(t, err, ErrRandom)
}

// RFC 9496, A.2, has such encodings: not reduced, negative, not on the curve. And
// the identity, and for scalars (4.4) q and above.
func TestNonCanonicalEncodings(t *testing.T) {
	f := newFixture(t, 2, 3)
	var identity, minusOne, high, q [32]byte
	for i := range minusOne {
		minusOne[i], high[i] = 0xff, 0xff
	}
	minusOne[0], minusOne[31] = 0xed, 0x7f // the field prime itself: 0, not reduced
	copy(q[:], []byte{0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14})
	q[31] = 0x10
	one := [32]byte{1} // 1 is negative: not an encoding
	bad := [][32]byte{identity, high, one}
	for ; minusOne[0] != 0; minusOne[0]++ { // up to 2^255-1
		bad = append(bad, minusOne)
	}
	for _, hi := range f.pk.hs {
		top := [32]byte(bytesOf(hi))
		top[31] |= 0x80
		bad = append(bad, top)
	}
	for _, e := range bad {
		b := marshal(t, f.pk)
		copy(b[8:], e[:])
		var pk PublicKey
		refused(t, pk.UnmarshalBinary(b), ErrPublicKey)
		c := marshal(t, f.ct)
		copy(c[len(c)-128:], e[:])
		var ct Ciphertext
		refused(t, ct.UnmarshalBinary(c), ErrCiphertext)
		s := marshal(t, f.shares[0])
		copy(s[len(s)-96:], e[:])
		var share Share
		refused(t, share.UnmarshalBinary(s), ErrShare)
	}
	for _, e := range [][32]byte{q, high} {
		s := marshal(t, f.shares[0])
		copy(s[len(s)-32:], e[:])
		var share Share
		refused(t, share.UnmarshalBinary(s), ErrShare)
		k := marshal(t, f.keys[0])
		copy(k[len(k)-32:], e[:])
		var ks KeyShare
		refused(t, ks.UnmarshalBinary(k), ErrKeyShare)
	}
	text, err := f.pk.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if pk, err := ParsePublicKey(string(text)); err != nil || pk.set != f.pk.set {
		t.Fatal(err)
	}
	for _, second := range []string{string(text) + "\n", string(text[:8]) + "\r\n" + string(text[8:]), string(text) + "=", string(text) + "A"} {
		_, err := ParsePublicKey(second)
		refused(t, err, ErrPublicKey)
	}
}

func TestAnyTOfNOpensAndNoFewer(t *testing.T) {
	for n := 2; n <= 15; n++ {
		for k := 2; k <= n; k++ {
			f := newFixture(t, k, n)
			order := slices.Clone(f.shares)
			mrand.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
			opens(t, f.pk, f.ct, order[:k])
			opens(t, f.pk, f.ct, order)
			_, err := f.pk.Combine(f.ct, order[:k-1])
			refused(t, err, ErrTooFewShares)
			// Without the check of numbers: t-1 shares interpolate to something else.
			xs, ps := []int{}, []group.Element{}
			for _, s := range order[:k-1] {
				xs, ps = append(xs, s.index), append(ps, s.ui)
			}
			m := h1(interpolate(xs, ps))
			for i := range m {
				m[i] ^= f.ct.c[i]
			}
			if m == message {
				t.Fatal("t-1 shares open")
			}
		}
	}
}

func TestMixedSetNamesTheBadShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 15).Draw(t, "n")
		k := rapid.IntRange(2, n).Draw(t, "t")
		f, g := newFixture(t, k, n), newFixture(t, k, n)
		bad := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 1, n, rapid.ID).Draw(t, "bad")
		set := slices.Clone(f.shares)
		for _, i := range bad {
			set[i] = g.shares[i]
			if rapid.Bool().Draw(t, "lies") {
				set[i].set, set[i].record = f.pk.set, f.shares[i].record
			}
		}
		_, err := f.pk.Combine(f.ct, set)
		var b *BlameError
		if !errors.As(err, &b) {
			t.Fatalf("%v", err)
		}
		for i := range bad {
			bad[i]++
		}
		slices.Sort(bad)
		if !slices.Equal(b.Indices, bad) {
			t.Fatalf("blamed %v, bad %v", b.Indices, bad)
		}
	})
}
