package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Why a plan, a message or a transcript of a key ceremony is refused. Whether
// what the messages say is right is for escrow/seal/threshold.
var (
	ErrCeremonyPlan       = refusal.New(refusal.Invalid, "ceremony.bad_plan", "The plan is not canonical JSON of the published form, or seats somebody twice; make it with `escrowd ceremony plan`.")
	ErrCeremonyMessage    = refusal.New(refusal.Invalid, "ceremony.bad_message", "The message is truncated, malformed or of another kind; nothing was changed, send it as `escrow custodian ceremony` made it.")
	ErrCeremonyOther      = refusal.New(refusal.Invalid, "ceremony.other_plan", "The message belongs to another ceremony; messages are never replayed from one to another.")
	ErrCeremonySender     = refusal.New(refusal.Unauthenticated, "ceremony.not_a_participant", "The message is not signed by a participant who speaks in this round of the plan.")
	ErrCeremonyTranscript = refusal.New(refusal.Invalid, "ceremony.bad_transcript", "The transcript is malformed, incomplete or not in canonical order; fetch it again.")
)

// CeremonyPlan is what the participants of a key ceremony agree on before any
// of them says anything: a key generation, or a resharing of a key that exists.
// Its address is the SHA-256 of its bytes, which every message names. Build one
// as a literal, [CeremonyPlan.Marshal] it, and read it with
// [ParseCeremonyPlan]. Nothing in it is secret.
type CeremonyPlan struct {
	Version   int    `json:"version"`   // 1
	Nonce     string `json:"nonce"`     // 32 random bytes, hex: no message of another ceremony fits
	Threshold int    `json:"threshold"` // of the new set
	Receivers []Seat `json:"receivers"` // the new set, with the indices 1 to n
	Previous  string `json:"previous"`  // resharing: the threshold key as it is; empty: make a new one
	Dealers   []Seat `json:"dealers"`   // resharing: as many of the old set as its threshold, by rising index

	raw  []byte
	hash string
	keys map[string]*document.Key
}

// Seat is one participant, with their index in the old set (dealers) or the new
// one (receivers). It is what `escrow custodian init` prints, index 0.
type Seat struct {
	ID           string          `json:"id"`
	Name         string          `json:"name"`
	Organisation string          `json:"organisation"`
	Index        int             `json:"index"`
	Key          json.RawMessage `json:"key"`      // public JWK that signs messages, and later approvals
	Ceremony     string          `json:"ceremony"` // threshold.Participant: the keys of this one ceremony

	// Custodian.Recipient; none in a card that was made before exhibits were.
	Recipient string `json:"recipient,omitempty"`
}

// The rounds of a ceremony. In the first, every participant signs the plan, so
// that nobody sends a secret before all have agreed on who is there. The others
// are those of threshold.Ceremony.
const (
	RoundAgree  = "agree"
	RoundCommit = "commit"
	RoundDeal   = "deal"
	RoundAnswer = "answer"
)

// CeremonyRounds are the rounds in their order. A round is open when everybody
// has spoken in the one before.
func CeremonyRounds() []string { return []string{RoundAgree, RoundCommit, RoundDeal, RoundAnswer} }

// CeremonyMessage is what one participant says in one round: JWS typ
// "penname-ceremony+jwt". Shares in the body are encrypted to their receivers.
type CeremonyMessage struct {
	Body   []byte `json:"body"`   // of threshold.Ceremony; empty in the first round
	Plan   string `json:"plan"`   // hex hash of the plan
	Round  string `json:"round"`  // one of CeremonyRounds
	Sender string `json:"sender"` // id in the plan
}

// CeremonyTranscript is the plan and all that was said, by round and seat. Its
// SHA-256 is in the public log and in the bundle whose key it made.
type CeremonyTranscript struct {
	Messages []string        `json:"messages"`
	Plan     json.RawMessage `json:"plan"`
}

const (
	maxPlan       = 256 << 10
	maxSeats      = 64
	maxTranscript = 8 << 20
)

// ParseCeremonyPlan reads and checks a plan: its form and its seats, not the
// keys of threshold in it. It keeps a copy of b.
func ParseCeremonyPlan(b []byte) (*CeremonyPlan, error) {
	if len(b) > maxPlan {
		return nil, ErrCeremonyPlan
	}
	p, err := parse[CeremonyPlan](b)
	if err == nil {
		err = p.compile()
	}
	if err != nil {
		return nil, ErrCeremonyPlan.Because(err)
	}
	sum := sha256.Sum256(b)
	p.raw, p.hash = bytes.Clone(b), hex.EncodeToString(sum[:])
	return p, nil
}

// Marshal returns the canonical bytes of a plan that would be accepted.
func (p *CeremonyPlan) Marshal() ([]byte, error) {
	if p.raw != nil {
		return bytes.Clone(p.raw), nil
	}
	b, err := marshal(*p)
	if err != nil {
		return nil, ErrCeremonyPlan.Because(errors.New("cannot be encoded"))
	}
	_, err = ParseCeremonyPlan(b)
	return b, err
}

// Hash returns the hex SHA-256 of the bytes that were parsed.
func (p *CeremonyPlan) Hash() string { return p.hash }

func (p *CeremonyPlan) normalise() { p.Receivers, p.Dealers = some(p.Receivers), some(p.Dealers) }

func (p *CeremonyPlan) compile() error {
	if p.Version != 1 || !hashPattern.MatchString(p.Nonce) || (p.Previous == "") != (len(p.Dealers) == 0) {
		return errors.New("version, nonce, or a previous key without dealers")
	}
	if n := len(p.Receivers); p.Threshold < 2 || p.Threshold > n || n > maxSeats || len(p.Dealers) > maxSeats {
		return errors.New("threshold or number of seats")
	}
	p.keys = make(map[string]*document.Key)
	owners, organisations, seats := make(keyOwners), make(map[string]bool), make(map[string]Seat)
	take := func(s Seat) error {
		if have, ok := seats[s.ID]; ok { // a dealer who stays, in the same chair
			have.Index = s.Index
			if !same(have, s) {
				return errors.New("one id, two participants")
			}
			return nil
		}
		key, err := document.ParseSigner(s.Key)
		if err == nil {
			err = owners.add(key, "")
		}
		// "Threshold = distinct authorities" (ATTACKS, lesson 5).
		if err == nil && s.Recipient != "" {
			_, err = document.ParseRecipient(s.Recipient)
		}
		if err != nil || !word(s.ID) || !named(s.ID, s.Name, s.Organisation) || organisations[document.Fold(s.Organisation)] || len(s.Ceremony) != 86 {
			return errors.New("a seat's id, name, organisation or key")
		}
		organisations[document.Fold(s.Organisation)] = true
		p.keys[s.ID], seats[s.ID] = key, s
		return nil
	}
	ids := make(map[string]bool)
	for i, s := range p.Receivers {
		if err := take(s); err != nil || s.Index != i+1 || ids[s.ID] {
			return errors.Join(errors.New("receivers"), err)
		}
		ids[s.ID] = true
	}
	clear(ids)
	last := 0
	for _, s := range p.Dealers {
		if err := take(s); err != nil || s.Index <= last || ids[s.ID] {
			return errors.Join(errors.New("dealers"), err)
		}
		ids[s.ID], last = true, s.Index
	}
	return nil
}

func same(a, b Seat) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Organisation == b.Organisation && a.Index == b.Index &&
		bytes.Equal(a.Key, b.Key) && a.Ceremony == b.Ceremony && a.Recipient == b.Recipient
}

// Speakers returns who speaks in a round, in the order of the plan.
func (p *CeremonyPlan) Speakers(round string) []Seat {
	dealers := p.Dealers
	if p.Previous == "" {
		dealers = p.Receivers // in a key generation everybody deals
	}
	switch round {
	case RoundAgree:
		all := slices.Clone(p.Receivers)
		for _, d := range p.Dealers {
			if !slices.ContainsFunc(all, func(s Seat) bool { return s.ID == d.ID }) {
				all = append(all, d)
			}
		}
		return all
	case RoundCommit, RoundDeal:
		return dealers
	case RoundAnswer:
		return p.Receivers
	}
	return nil
}

// SignCeremonyMessage returns the compact JWS of m.
func SignCeremonyMessage(key jose.JSONWebKey, m CeremonyMessage) (string, error) {
	payload, err := marshal(m)
	if err != nil {
		return "", ErrCeremonyMessage.Because(errors.New("cannot be encoded"))
	}
	return ceremonyFormat.Sign(key, payload)
}

// VerifyMessage checks that raw is of this plan and signed by a participant who
// speaks in its round. Whether it is their turn, and whether the body holds, is
// not checked.
func (p *CeremonyPlan) VerifyMessage(raw string) (*CeremonyMessage, error) {
	signed, m, err := open[CeremonyMessage](ceremonyFormat, raw)
	if err != nil {
		return nil, err
	}
	if m.Plan != p.hash {
		return nil, ErrCeremonyOther
	}
	key, ok := p.keys[m.Sender]
	if !ok || key.KeyID != signed.KeyID || !slices.ContainsFunc(p.Speakers(m.Round), func(s Seat) bool { return s.ID == m.Sender }) {
		return nil, ErrCeremonySender
	}
	if err := signed.Verify(key.Public); err != nil {
		return nil, err
	}
	if (m.Round == RoundAgree) != (len(m.Body) == 0) {
		return nil, ErrCeremonyMessage
	}
	return m, nil
}

func (m *CeremonyMessage) normalise() { m.Body = some(m.Body) }

// Missing returns the first round in which somebody is still to speak, and who;
// nothing when all was said. said holds the messages by round and sender.
func (p *CeremonyPlan) Missing(said func(round, sender string) bool) (round string, missing []Seat) {
	for _, round := range CeremonyRounds() {
		for _, s := range p.Speakers(round) {
			if !said(round, s.ID) {
				missing = append(missing, s)
			}
		}
		if len(missing) > 0 {
			return round, missing
		}
	}
	return "", nil
}

// Transcript returns the canonical bytes of the plan and what was said, by round
// and seat; message returns "" for what was not. Evidence of a fault comes last.
func (p *CeremonyPlan) Transcript(message func(round, sender string) string, evidence ...string) ([]byte, error) {
	t := CeremonyTranscript{Plan: p.raw}
	for _, round := range CeremonyRounds() {
		for _, s := range p.Speakers(round) {
			if m := message(round, s.ID); m != "" {
				t.Messages = append(t.Messages, m)
			}
		}
	}
	t.Messages = append(t.Messages, evidence...)
	b, err := marshal(t)
	if err != nil {
		return nil, ErrCeremonyTranscript.Because(errors.New("cannot be encoded"))
	}
	return b, nil
}

func (t *CeremonyTranscript) normalise() { t.Messages = some(t.Messages) }

// ParseCeremonyTranscript reads a transcript and its plan. The messages are not
// checked: that takes threshold, and says whose fault it was.
func ParseCeremonyTranscript(b []byte) (*CeremonyPlan, []string, error) {
	if len(b) > maxTranscript {
		return nil, nil, ErrCeremonyTranscript
	}
	t, err := parse[CeremonyTranscript](b)
	if err != nil {
		return nil, nil, ErrCeremonyTranscript.Because(err)
	}
	p, err := ParseCeremonyPlan(t.Plan)
	if err != nil {
		return nil, nil, err
	}
	return p, t.Messages, nil
}
