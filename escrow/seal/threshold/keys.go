package threshold

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"

	"github.com/cloudflare/circl/group"
)

// PublicKey is what the sealing side, every custodian and every requester
// hold: h, the verification keys h_1 … h_n, the threshold and the epoch. It is
// immutable; its zero value is refused everywhere.
type PublicKey struct {
	t     int
	epoch uint32
	h     group.Element
	hs    []group.Element // hs[i-1] is h_i
	set   [16]byte        // names t, n, epoch, h and every h_i
	base  *fixedBase      // of h
}

// newPublicKey checks that all parts are one t-of-n sharing.
func newPublicKey(t int, epoch uint32, h group.Element, hs []group.Element) (PublicKey, error) {
	pk := PublicKey{t: t, epoch: epoch, h: h, hs: hs}
	if err := checkThreshold(t, len(hs)); err != nil {
		return PublicKey{}, err
	}
	if epoch == 0 || h.IsIdentity() {
		return PublicKey{}, ErrPublicKey
	}
	if slices.ContainsFunc(hs, group.Element.IsIdentity) {
		return PublicKey{}, ErrPublicKey
	}
	// A dealer, or a forger of keys, who deals shares of different secrets is
	// found here (ATTACKS C09, C23): h, h_1 … h_n are F(0) … F(n) in the exponent,
	// so if F has degree t-1 at most, its t-th differences vanish.
	diff := append([]group.Element{h}, hs...)
	for k := range t {
		// And not less: a 2-of-3 key that says 3-of-3 would open with two.
		if k == t-1 && diff[0].IsIdentity() {
			return PublicKey{}, ErrPublicKey
		}
		for i := range diff[1:] {
			diff[i] = sub(diff[i+1], diff[i])
		}
		diff = diff[:len(diff)-1]
	}
	for _, d := range diff {
		if !d.IsIdentity() {
			return PublicKey{}, ErrPublicKey
		}
	}
	d := digest("set", pk.encode())
	copy(pk.set[:], d[:])
	pk.base = &fixedBase{of: h}
	return pk, nil
}

// Threshold is t, the number of custodians that open together.
func (pk PublicKey) Threshold() int { return pk.t }

// N is the number of custodians; their indices are 1 to N.
func (pk PublicKey) N() int { return len(pk.hs) }

// Epoch counts the key's resharings from 1.
func (pk PublicKey) Epoch() int { return int(pk.epoch) }

// Same reports whether both keys have the same h, so that what was sealed to
// one opens under the other. It is true across a resharing.
func (pk PublicKey) Same(other PublicKey) bool {
	return pk.h != nil && other.h != nil && pk.h.IsEqual(other.h)
}

// String names the key without printing it.
func (pk PublicKey) String() string {
	return fmt.Sprintf("%d-of-%d key, epoch %d, set %x", pk.t, len(pk.hs), pk.epoch, pk.set)
}

func (pk PublicKey) encode() []byte {
	b := header('P', pk.t, len(pk.hs), pk.epoch)
	b = append(b, bytesOf(pk.h)...)
	for _, hi := range pk.hs {
		b = append(b, bytesOf(hi)...)
	}
	return b
}

// MarshalBinary returns 'P', version 1, t, n (a byte each), epoch (4 bytes
// big-endian), h and h_1 … h_n (32 bytes each, RFC 9496).
func (pk PublicKey) MarshalBinary() ([]byte, error) {
	if pk.h == nil {
		return nil, ErrPublicKey
	}
	return pk.encode(), nil
}

// UnmarshalBinary accepts exactly what MarshalBinary returns, and only if the
// parts are one sharing.
func (pk *PublicKey) UnmarshalBinary(b []byte) error {
	r := reader{b: b}
	t, n, epoch := r.header('P')
	h := r.element()
	hs := make([]group.Element, 0, n)
	for range n {
		hs = append(hs, r.element())
	}
	if !r.done() {
		return ErrPublicKey
	}
	k, err := newPublicKey(t, epoch, h, hs)
	if err != nil {
		return err
	}
	*pk = k
	return nil
}

// MarshalText is MarshalBinary in base64url without padding.
func (pk PublicKey) MarshalText() ([]byte, error) {
	b, err := pk.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return base64.RawURLEncoding.AppendEncode(nil, b), nil
}

// ParsePublicKey accepts exactly what MarshalText returns.
func ParsePublicKey(text string) (pk PublicKey, err error) {
	err = pk.UnmarshalBinary(fromText(text))
	return pk, err
}

// fromText decodes base64url without padding, or returns nil, which parses as
// nothing. The decoder skips line breaks: a second encoding of the same bytes.
func fromText(text string) []byte {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != text {
		return nil
	}
	return b
}

// member is one custodian of one set in one epoch: whose a share is.
type member struct {
	t, n  int
	epoch uint32
	set   [16]byte
	index int
}

// Index is the custodian's number, 1 to n.
func (m member) Index() int { return m.index }

// Epoch is the epoch of the custodians' public key.
func (m member) Epoch() int { return int(m.epoch) }

func (m member) encode(kind byte) []byte {
	return slices.Concat(header(kind, m.t, m.n, m.epoch), m.set[:], []byte{byte(m.index)})
}

// redacted is embedded in what is secret, which prints and logs as "[redacted]".
type redacted struct{}

// String hides the secret.
func (redacted) String() string { return "[redacted]" }

// Format hides the secret from every verb.
func (redacted) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[redacted]") }

// LogValue hides the secret.
func (redacted) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// KeyShare is x_i, what one custodian keeps secret, with the set, threshold and
// epoch that it belongs to. It prints and logs as "[redacted]"; only
// MarshalBinary shows it.
type KeyShare struct {
	redacted
	member
	x group.Scalar
}

func (pk PublicKey) keyShare(i int, x group.Scalar) KeyShare {
	return KeyShare{member: member{pk.t, len(pk.hs), pk.epoch, pk.set, i}, x: x}
}

// Check refuses a share that is not pk's: of another epoch, another set, or
// not the x_i of h_i, which is a custodian's proof that the dealer cheated.
func (ks KeyShare) Check(pk PublicKey) error {
	if ks.x == nil {
		return ErrKeyShare
	}
	if err := pk.owns(ks.member); err != nil {
		return err
	}
	if !mulGen(ks.x).IsEqual(pk.hs[ks.index-1]) {
		return blame(ErrKeyShare, ks.index)
	}
	return nil
}

// owns refuses whatever says that it is of another set, epoch or threshold.
func (pk PublicKey) owns(m member) error {
	switch {
	case pk.h == nil:
		return ErrPublicKey
	case m.index < 1 || m.index > len(pk.hs):
		// "x = 0": interpolation at the secret's own place would return
		// whatever the attacker puts there (ATTACKS C01).
		return blame(ErrIndex, m.index)
	case m.epoch != pk.epoch:
		return blame(ErrEpoch, m.index)
	case m.t != pk.t || m.n != len(pk.hs) || m.set != pk.set:
		return blame(ErrForeign, m.index)
	}
	return nil
}

// MarshalBinary returns the secret: 'K', version 1, t, n, epoch (4), set (16),
// index (1), x_i (32, little-endian, RFC 9496).
func (ks KeyShare) MarshalBinary() ([]byte, error) {
	if ks.x == nil {
		return nil, ErrKeyShare
	}
	return append(ks.encode('K'), bytesOf(ks.x)...), nil
}

// UnmarshalBinary accepts exactly what MarshalBinary returns. It does not check
// x_i, which needs the public key: see [KeyShare.Check].
func (ks *KeyShare) UnmarshalBinary(b []byte) error {
	r := reader{b: b}
	k := KeyShare{member: r.member('K'), x: r.scalar()}
	if !r.done() || k.index < 1 || k.index > k.n {
		return ErrKeyShare
	}
	*ks = k
	return nil
}

const version = 1

func header(kind byte, t, n int, epoch uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind, version, byte(t), byte(n)}, epoch)
}

// reader takes fixed-width parts from b and remembers the first failure; the
// caller asks done once at the end. It never returns a nil element or scalar.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return make([]byte, n)
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) fill(dst []byte) { copy(dst, r.take(len(dst))) }
func (r *reader) byte() byte      { return r.take(1)[0] }

func (r *reader) header(kind byte) (t, n int, epoch uint32) {
	h := r.take(8)
	r.bad = r.bad || h[0] != kind || h[1] != version
	if r.bad {
		return 0, 0, 0
	}
	return int(h[2]), int(h[3]), binary.BigEndian.Uint32(h[4:])
}

// member does not check the set: see [PublicKey.owns].
func (r *reader) member(kind byte) (m member) {
	m.t, m.n, m.epoch = r.header(kind)
	r.fill(m.set[:])
	m.index = int(r.byte())
	return m
}

// element refuses the identity, and circl any encoding but the canonical one (RFC
// 9496, 4.3.1).
func (r *reader) element() group.Element {
	p, e := r.take(elementSize), curve.NewElement()
	if r.bad || e.UnmarshalBinary(p) != nil || e.IsIdentity() {
		r.bad = true
		return curve.Generator()
	}
	return e
}

// scalar refuses what is not below q.
func (r *reader) scalar() group.Scalar {
	p, s := r.take(scalarSize), curve.NewScalar()
	if r.bad || s.UnmarshalBinary(p) != nil {
		r.bad = true
		return curve.NewScalar()
	}
	return s
}

// done reports whether everything was read and nothing was wrong.
func (r *reader) done() bool { return !r.bad && len(r.b) == 0 }
