package escrowtest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/penname/penname/escrow/seal/threshold"
)

// CheatingDealer is a participant of a key ceremony whose program was changed:
// it commits to, and later sends, a share that does not fit its commitments
// (ATTACKS C23). It is written from the formats that package threshold
// publishes, as a cheater would have to.
type CheatingDealer struct {
	Commit []byte // the message of the first round
	deal   []byte // the body of the second, without the hash of what was heard
	head   []byte // its header
	sign   ed25519.PrivateKey
}

const (
	messageHead   = 3 + 32 + 1 // 'M', version, kind; ceremony; sender
	messageDomain = "penname/tdh2/v1/"
)

// NewCheatingDealer takes a ceremony in which every other dealer has committed,
// and spoils the share of one receiver. t is the plan's threshold.
func NewCheatingDealer(key threshold.CeremonyKey, c *threshold.Ceremony, victim, t int) (*CheatingDealer, error) {
	honest, err := c.Next(key, nil)
	if err != nil {
		return nil, err
	}
	deal, err := c.Next(key, nil)
	if err != nil {
		return nil, err
	}
	if honest == nil || deal == nil {
		return nil, errors.New("the others have not committed yet")
	}
	raw, err := key.MarshalBinary()
	if err != nil {
		return nil, err
	}
	seed := messageDigest("ceremony/signing-key", raw[2:])
	d := &CheatingDealer{sign: ed25519.NewKeyFromSeed(seed[:]), head: deal[:messageHead]}
	d.deal = append(d.deal, deal[messageHead+32:len(deal)-ed25519.SignatureSize]...)
	d.deal[t*32+32+128+(victim-1)*32] ^= 1 // A_k, E, two proofs, then the encrypted shares
	id, sender := deal[3:35], deal[35:36]
	commitment := messageDigest("ceremony/commitment", id, sender, d.deal)
	d.Commit = d.message(honest[:messageHead], commitment[:])
	return d, nil
}

// Deal is the message of the second round. deal is any other dealer's: both have
// heard the same.
func (d *CheatingDealer) Deal(deal []byte) []byte {
	return d.message(d.head, deal[messageHead:messageHead+32], d.deal)
}

func (d *CheatingDealer) message(head []byte, body ...[]byte) []byte {
	m := append([]byte(nil), head...)
	for _, b := range body {
		m = append(m, b...)
	}
	return append(m, ed25519.Sign(d.sign, append([]byte(messageDomain+"ceremony/message"), m...))...)
}

func messageDigest(name string, parts ...[]byte) [32]byte {
	b := []byte(messageDomain + name)
	for _, p := range parts {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(p))), p...)
	}
	return sha256.Sum256(b)
}

// OtherCommitment is a second message of the first round in place of commit: it
// is well formed and signed, and commits to nothing.
func OtherCommitment(key threshold.CeremonyKey, commit []byte) []byte {
	raw, err := key.MarshalBinary()
	if err != nil {
		return nil
	}
	seed := messageDigest("ceremony/signing-key", raw[2:])
	d := &CheatingDealer{sign: ed25519.NewKeyFromSeed(seed[:])}
	return d.message(commit[:messageHead], make([]byte, 32))
}
