package threshold

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"io"

	"github.com/cloudflare/circl/group"
)

// CeremonyKey is a participant's secret for one ceremony: a seed from which
// their signing key, encryption key and every secret of their messages follow.
// So a participant who crashes and starts again from what they had heard says
// the same thing again, never another. Make one for each ceremony and destroy it
// when the [KeyShare] is safe. It prints and logs as "[redacted]".
type CeremonyKey struct {
	redacted
	seed *[32]byte // a pointer: in an unexported field of another type, fmt would print an array
}

// GenerateCeremonyKey reads 32 bytes.
func GenerateCeremonyKey(rand io.Reader) (CeremonyKey, error) {
	k := CeremonyKey{seed: new([32]byte)}
	if _, err := io.ReadFull(rand, k.seed[:]); err != nil {
		return CeremonyKey{}, ErrRandom.Because(err)
	}
	return k, nil
}

// MarshalBinary returns the secret: 'Y', version 1, 32 bytes.
func (k CeremonyKey) MarshalBinary() ([]byte, error) {
	if k.seed == nil {
		return nil, ErrNotParticipant
	}
	return append([]byte{'Y', version}, k.seed[:]...), nil
}

// UnmarshalBinary accepts exactly what MarshalBinary returns.
func (k *CeremonyKey) UnmarshalBinary(b []byte) error {
	if len(b) != 34 || b[0] != 'Y' || b[1] != version {
		return ErrNotParticipant
	}
	seed := [32]byte(b[2:])
	k.seed = &seed
	return nil
}

// secret derives a scalar for one purpose.
func (k CeremonyKey) secret(purpose string, parts ...[]byte) group.Scalar {
	return challenge("ceremony/secret/"+purpose, append([][]byte{k.seed[:]}, parts...)...)
}

func (k CeremonyKey) signer() ed25519.PrivateKey {
	seed := digest("ceremony/signing-key", k.seed[:])
	return ed25519.NewKeyFromSeed(seed[:])
}

// Public is what the others need to know.
func (k CeremonyKey) Public() Participant {
	if k.seed == nil {
		return Participant{}
	}
	return Participant{sign: k.signer().Public().(ed25519.PublicKey), enc: mulGen(k.secret("encryption-key"))}
}

// Participant is the public half of a [CeremonyKey]: an Ed25519 key that signs
// messages and an element D_i to which shares are encrypted.
type Participant struct {
	sign ed25519.PublicKey
	enc  group.Element
}

func (p Participant) encode() []byte { return append(bytes.Clone(p.sign), bytesOf(p.enc)...) }

func (r *reader) participant() Participant {
	return Participant{sign: bytes.Clone(r.take(ed25519.PublicKeySize)), enc: r.element()}
}

// MarshalText returns both keys, 64 bytes, in base64url.
func (p Participant) MarshalText() ([]byte, error) {
	if p.enc == nil {
		return nil, ErrNotParticipant
	}
	return base64.RawURLEncoding.AppendEncode(nil, p.encode()), nil
}

// UnmarshalText accepts exactly what MarshalText returns.
func (p *Participant) UnmarshalText(text []byte) error {
	r := reader{b: fromText(string(text))}
	q := r.participant()
	if !r.done() {
		return ErrNotParticipant
	}
	*p = q
	return nil
}

// Dealer is a custodian of the old set who takes part in a resharing.
type Dealer struct {
	Index int // in the old set
	Participant
}

// Plan is what all participants agree on before a ceremony. Nobody may send a
// message before every participant has endorsed the plan's ID with the key by
// which the bundle knows them: that is what binds a Participant to a custodian,
// and it is not checked here.
type Plan struct {
	Nonce     [32]byte      // fresh, so that no message of another ceremony fits
	Threshold int           // of the new set
	Receivers []Participant // the new set; Receivers[i-1] becomes custodian i

	// For a resharing: the key as it is, and exactly Previous.Threshold() of
	// its custodians. If one of them fails, plan again with another.
	Previous PublicKey
	Dealers  []Dealer
}

func (p Plan) resharing() bool { return p.Previous.h != nil }

func (p Plan) epoch() uint32 { return p.Previous.epoch + 1 }

// seats are those of a role, by rising index. In a key generation everybody deals.
func (p Plan) seats(role Role) []Dealer {
	if role == RoleDealer && p.resharing() {
		return p.Dealers
	}
	out := make([]Dealer, len(p.Receivers))
	for i, r := range p.Receivers {
		out[i] = Dealer{i + 1, r}
	}
	return out
}

func (p Plan) check() error {
	if err := checkThreshold(p.Threshold, len(p.Receivers)); err != nil {
		return err
	}
	seen := map[string]bool{} // one custodian in two seats (ATTACKS C05)
	for _, r := range p.Receivers {
		if r.enc == nil || seen[string(r.sign)] || seen[string(bytesOf(r.enc))] {
			return ErrPlan
		}
		seen[string(r.sign)], seen[string(bytesOf(r.enc))] = true, true
	}
	if p.resharing() && (len(p.Dealers) != p.Previous.t || p.Previous.epoch+1 == 0) {
		return ErrPlan
	}
	clear(seen) // a dealer may be a receiver too
	last := 0   // and N is 0 in a key generation: there are no dealers
	for _, d := range p.Dealers {
		if d.enc == nil || seen[string(d.sign)] || d.Index <= last || d.Index > p.Previous.N() {
			return ErrPlan
		}
		seen[string(d.sign)], last = true, d.Index
	}
	return nil
}

// ID names the plan, with everything in it.
func (p Plan) ID() ([32]byte, error) {
	if err := p.check(); err != nil {
		return [32]byte{}, err
	}
	return digest("ceremony/plan", p.encode()), nil
}

// encode returns 'N', version 1, nonce (32), threshold and number of receivers (a
// byte each), the receivers (64 each), the previous key's length (2 bytes
// big-endian, 0 for a key generation) and the key, the number of dealers (1), and
// each dealer's index (1) and keys (64).
func (p Plan) encode() []byte {
	b := append([]byte{'N', version}, p.Nonce[:]...)
	b = append(b, byte(p.Threshold), byte(len(p.Receivers)))
	for _, r := range p.Receivers {
		b = append(b, r.encode()...)
	}
	var prev []byte
	if p.resharing() {
		prev = p.Previous.encode()
	}
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(prev))), prev...)
	b = append(b, byte(len(p.Dealers)))
	for _, d := range p.Dealers {
		b = append(append(b, byte(d.Index)), d.encode()...)
	}
	return b
}
