package threshold

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/cloudflare/circl/group"

	"github.com/penname/penname/verifier/refusal"
)

// MaxLabel bounds a label's length in bytes.
const MaxLabel = 1 << 10

// Ciphertext is the paper's (c, L, u, ū, e, f): a message of 32 bytes, its
// public label, and a proof that whoever made it knew what they encrypted.
type Ciphertext struct {
	label   []byte
	c       [32]byte
	u, uBar group.Element
	e, f    group.Scalar
}

// Label is the public label. A custodian must compare it with the record that
// the warrant names before [KeyShare.Decrypt].
func (ct Ciphertext) Label() []byte { return slices.Clone(ct.label) }

// Share is a decryption share, the paper's (i, u_i, e_i, f_i), with the set,
// threshold, epoch and ciphertext that it is good for. It can be published only
// to those who may read the message: t of them are the message (ATTACKS C24). So
// it prints and logs as "[redacted]".
type Share struct {
	redacted
	member
	record [16]byte // names the ciphertext, label included
	ui     group.Element
	ei, fi group.Scalar
}

// Encrypt encrypts m to the custodians under a label.
func (pk PublicKey) Encrypt(rand io.Reader, m [32]byte, label []byte) (Ciphertext, error) {
	if pk.h == nil {
		return Ciphertext{}, ErrPublicKey
	}
	if len(label) > MaxLabel {
		return Ciphertext{}, ErrCiphertext
	}
	// All that the challenge takes is hashed in, so that a source which repeats
	// itself gives neither r away nor two messages one pad.
	r, err := randomScalar(rand, []byte("r"), bytesOf(pk.h), m[:], label)
	if err != nil {
		return Ciphertext{}, err
	}
	s, err := randomScalar(rand, []byte("s"), bytesOf(pk.h), m[:], label)
	if err != nil {
		return Ciphertext{}, err
	}
	return pk.encrypt(m, label, r, s), nil
}

func (pk PublicKey) encrypt(m [32]byte, label []byte, r, s group.Scalar) Ciphertext {
	// TDH2: r, s random in Z_q; c = H1(h^r) ⊕ m, u = g^r, w = g^s, ū = ḡ^r, w̄ = ḡ^s
	ct := Ciphertext{label: slices.Clone(label), u: mulGen(r), uBar: gBarBase.mul(r)}
	pad := h1(pk.base.mul(r))
	subtle.XORBytes(ct.c[:], pad[:], m[:])
	// TDH2: e = H2(c, L, u, w, ū, w̄), f = s + re
	ct.e = pk.h2(ct, mulGen(s), gBarBase.mul(s))
	ct.f = curve.NewScalar().Mul(r, ct.e)
	ct.f.Add(ct.f, s)
	return ct
}

func h1(shared group.Element) [32]byte { return digest("H1", bytesOf(shared)) }

func (pk PublicKey) h2(ct Ciphertext, w, wBar group.Element) group.Scalar {
	return challenge("H2", bytesOf(pk.h), ct.c[:], ct.label, bytesOf(ct.u), bytesOf(w), bytesOf(ct.uBar), bytesOf(wBar))
}

// VerifyCiphertext checks the proof of knowledge. A changed byte, a moved
// label or a ciphertext for another key fails here, before any secret is used.
func (pk PublicKey) VerifyCiphertext(ct Ciphertext) error {
	if pk.h == nil {
		return ErrPublicKey
	}
	if ct.u == nil {
		return ErrCiphertext
	}
	// TDH2: e = H2(c, L, u, w, ū, w̄), where w = g^f / u^e, w̄ = ḡ^f / ū^e
	w := sub(mulGen(ct.f), mul(ct.u, ct.e))
	wBar := sub(gBarBase.mul(ct.f), mul(ct.uBar, ct.e))
	if !pk.h2(ct, w, wBar).IsEqual(ct.e) {
		return ErrCiphertext
	}
	return nil
}

// Decrypt makes the custodian's share of ct. It refuses a ciphertext whose proof
// fails, for which the paper's server outputs (i, "?"), and a key share that is
// not pk's.
func (ks KeyShare) Decrypt(rand io.Reader, pk PublicKey, ct Ciphertext) (Share, error) {
	if err := ks.Check(pk); err != nil {
		return Share{}, err
	}
	if err := pk.VerifyCiphertext(ct); err != nil {
		return Share{}, err
	}
	record := ct.digest()
	// TDH2: s_i random in Z_q. The key share and the ciphertext are hashed in, so
	// a repeated seed cannot give x_i away.
	si, err := randomScalar(rand, []byte("share"), bytesOf(ks.x), record[:])
	if err != nil {
		return Share{}, err
	}
	return ks.decrypt(pk, ct, si), nil
}

func (ks KeyShare) decrypt(pk PublicKey, ct Ciphertext, si group.Scalar) Share {
	s := Share{member: ks.member}
	d := ct.digest()
	copy(s.record[:], d[:])
	// TDH2: u_i = u^{x_i}, û_i = u^{s_i}, ĥ_i = g^{s_i}, e_i = H4(u_i, û_i, ĥ_i), f_i = s_i + x_i e_i
	s.ui = mul(ct.u, ks.x)
	s.ei = pk.h4(s, d, ct, mul(ct.u, si), mulGen(si))
	s.fi = curve.NewScalar().Mul(ks.x, s.ei)
	s.fi.Add(s.fi, si)
	return s
}

func (pk PublicKey) h4(s Share, record [32]byte, ct Ciphertext, uHat, hHat group.Element) group.Scalar {
	return challenge("H4", pk.set[:], bytesOf(pk.h), []byte{byte(s.index)}, bytesOf(pk.hs[s.index-1]),
		record[:], ct.label, bytesOf(ct.u), bytesOf(s.ui), bytesOf(uHat), bytesOf(hHat))
}

// VerifyShare checks the ciphertext and that s is its share by the custodian
// whose index it carries. The refusal's cause names them.
func (pk PublicKey) VerifyShare(ct Ciphertext, s Share) error {
	if err := pk.VerifyCiphertext(ct); err != nil {
		return err
	}
	return pk.verifyShare(ct, ct.digest(), s)
}

func (pk PublicKey) verifyShare(ct Ciphertext, record [32]byte, s Share) error {
	if s.ui == nil {
		return ErrShare
	}
	if err := pk.owns(s.member); err != nil {
		return err
	}
	if !bytes.Equal(s.record[:], record[:16]) {
		return blame(ErrOtherRecord, s.index)
	}
	// TDH2: e_i = H4(u_i, û_i, ĥ_i), where û_i = u^{f_i} / u_i^{e_i}, ĥ_i = g^{f_i} / h_i^{e_i}
	uHat := sub(mul(ct.u, s.fi), mul(s.ui, s.ei))
	hHat := sub(mulGen(s.fi), mul(pk.hs[s.index-1], s.ei))
	if !pk.h4(s, record, ct, uHat, hHat).IsEqual(s.ei) {
		return blame(ErrShareProof, s.index)
	}
	return nil
}

// Combine opens ct with the shares of t or more different custodians. One bad
// share among them refuses all and the cause names every culprit; the caller may
// go on without them. A wrong message is never returned.
func (pk PublicKey) Combine(ct Ciphertext, shares []Share) ([32]byte, error) {
	if err := pk.VerifyCiphertext(ct); err != nil {
		return [32]byte{}, err
	}
	record := ct.digest()
	var first *refusal.Error
	var culprits, xs []int
	var ps []group.Element
	for _, s := range shares {
		err := pk.verifyShare(ct, record, s)
		if err == nil && slices.Contains(xs, s.index) {
			err = blame(ErrDuplicate, s.index)
		}
		if err != nil {
			if first == nil {
				first = refusal.Of(err)
			}
			if b := (*BlameError)(nil); errors.As(err, &b) {
				culprits = append(culprits, b.Indices...)
			}
			continue
		}
		xs, ps = append(xs, s.index), append(ps, s.ui)
	}
	if first != nil {
		return [32]byte{}, blame(first, culprits...)
	}
	if len(xs) < pk.t {
		return [32]byte{}, ErrTooFewShares
	}
	// TDH2: m = H1(Π u_i^{λ_i}) ⊕ c
	m := h1(interpolate(xs[:pk.t], ps[:pk.t]))
	subtle.XORBytes(m[:], m[:], ct.c[:])
	return m, nil
}

// digest names the ciphertext with its label.
func (ct Ciphertext) digest() [32]byte { return digest("ciphertext", ct.encode()) }

func (ct Ciphertext) encode() []byte {
	return slices.Concat(CiphertextPrefix(ct.label), ct.c[:], bytesOf(ct.u), bytesOf(ct.uBar), bytesOf(ct.e), bytesOf(ct.f))
}

// CiphertextPrefix is what a marshalled ciphertext with that label begins with:
// who has the label elsewhere need not store it.
func CiphertextPrefix(label []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{'C', version}, uint16(len(label))), label...)
}

// MarshalBinary returns 'C', version 1, the label's length (2 bytes big-endian),
// the label, c, u, ū, e, f (32 bytes each): 164 bytes and the label.
func (ct Ciphertext) MarshalBinary() ([]byte, error) {
	if ct.u == nil {
		return nil, ErrCiphertext
	}
	return ct.encode(), nil
}

// UnmarshalBinary accepts exactly what MarshalBinary returns. It does not check
// the proof, which needs the public key: see [PublicKey.VerifyCiphertext].
func (ct *Ciphertext) UnmarshalBinary(b []byte) error {
	r := reader{b: b}
	h := r.take(4)
	n := int(binary.BigEndian.Uint16(h[2:]))
	if h[0] != 'C' || h[1] != version || n > MaxLabel {
		return ErrCiphertext
	}
	k := Ciphertext{label: slices.Clone(r.take(n))}
	r.fill(k.c[:])
	k.u, k.uBar = r.element(), r.element()
	k.e, k.f = r.scalar(), r.scalar()
	if !r.done() {
		return ErrCiphertext
	}
	*ct = k
	return nil
}

// MarshalBinary returns 'S', version 1, t, n, epoch (4), set (16), index (1),
// record (16), u_i, e_i, f_i (32 each): 137 bytes.
func (s Share) MarshalBinary() ([]byte, error) {
	if s.ui == nil {
		return nil, ErrShare
	}
	return slices.Concat(s.encode('S'), s.record[:], bytesOf(s.ui), bytesOf(s.ei), bytesOf(s.fi)), nil
}

// UnmarshalBinary accepts exactly what MarshalBinary returns. It does not check
// the proof, which needs key and ciphertext: see [PublicKey.VerifyShare].
func (s *Share) UnmarshalBinary(b []byte) error {
	r := reader{b: b}
	k := Share{member: r.member('S')}
	r.fill(k.record[:])
	k.ui = r.element()
	k.ei, k.fi = r.scalar(), r.scalar()
	if !r.done() {
		return ErrShare
	}
	if k.index < 1 || k.index > k.n {
		return ErrIndex // x = 0 (ATTACKS C01) does not even parse
	}
	*s = k
	return nil
}
