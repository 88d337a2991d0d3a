package command

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

// table is one view of a key ceremony: the plan and what was said, checked. A
// participant has one, and so has everybody who verifies a transcript.
//
// It adds two things to threshold.Ceremony: a first round in which all
// participants sign the plan, and the signature of each message with the key by
// which the bundle will know its sender. So a fault is proved by a message that
// its culprit, a named organisation, has signed.
type table struct {
	plan *policy.CeremonyPlan
	c    *threshold.Ceremony
	said map[[2]string]string               // JWS by round and sender
	read map[string]*policy.CeremonyMessage // JWS whose signature holds

	fault    error // ends the ceremony
	culprits []policy.Seat
	evidence string // the JWS that proves the fault, if it is none of said
}

func newTable(plan *policy.CeremonyPlan) (*table, error) {
	p := threshold.Plan{Threshold: plan.Threshold}
	nonce, err := hex.DecodeString(plan.Nonce)
	if err != nil {
		return nil, policy.ErrCeremonyPlan.Because(err)
	}
	p.Nonce = [32]byte(nonce)
	for _, s := range plan.Receivers {
		var r threshold.Participant
		if err := r.UnmarshalText([]byte(s.Ceremony)); err != nil {
			return nil, err
		}
		p.Receivers = append(p.Receivers, r)
	}
	if plan.Previous != "" {
		if p.Previous, err = threshold.ParsePublicKey(plan.Previous); err != nil {
			return nil, err
		}
	}
	for _, s := range plan.Dealers {
		d := threshold.Dealer{Index: s.Index}
		if err := d.UnmarshalText([]byte(s.Ceremony)); err != nil {
			return nil, err
		}
		p.Dealers = append(p.Dealers, d)
	}
	c, err := threshold.NewCeremony(p)
	if err != nil {
		return nil, err
	}
	return &table{plan: plan, c: c, said: make(map[[2]string]string), read: make(map[string]*policy.CeremonyMessage)}, nil
}

// open checks a message's signature, once.
func (t *table) open(raw string) (*policy.CeremonyMessage, error) {
	if m := t.read[raw]; m != nil {
		return m, nil
	}
	m, err := t.plan.VerifyMessage(raw)
	if err == nil {
		t.read[raw] = m
	}
	return m, err
}

// waiting is the round that is open and who is still to speak in it; nothing
// when all was said.
func (t *table) waiting() (round string, missing []policy.Seat) {
	return t.plan.Missing(func(round, sender string) bool { return t.said[[2]string{round, sender}] != "" })
}

// add takes one message. The same again changes nothing, one that is too early
// is threshold.ErrOrder, and after a fault nothing is taken.
func (t *table) add(raw string) error {
	m, err := t.open(raw)
	if err != nil {
		return err
	}
	if t.fault != nil {
		return t.failure()
	}
	key := [2]string{m.Round, m.Sender}
	if have := t.said[key]; have != "" {
		// What was said counts, not the signature: an ES256 signature can be
		// varied by anyone who sees it.
		if old, err := t.open(have); err == nil && bytes.Equal(old.Body, m.Body) {
			return nil
		}
		return t.blame(raw, threshold.ErrEquivocation, m.Sender)
	}
	if round, _ := t.waiting(); m.Round != round {
		return threshold.ErrOrder
	}
	if m.Round == policy.RoundAgree {
		t.said[key] = raw
		return nil
	}
	return t.take(raw, m)
}

// take gives a body to the threshold scheme, and says who is at fault if it does
// not hold.
func (t *table) take(raw string, m *policy.CeremonyMessage) error {
	speakers := t.plan.Speakers(m.Round)
	seat := speakers[slices.IndexFunc(speakers, func(s policy.Seat) bool { return s.ID == m.Sender })]
	round, index, err := threshold.Envelope(m.Body)
	if err != nil || round != m.Round || index != seat.Index {
		// Their signature is around what is none of their messages.
		return t.blame(raw, threshold.ErrMessage, m.Sender)
	}
	err = t.c.Add(m.Body)
	var blamed *threshold.BlameError
	e := refusal.Of(err)
	switch {
	case err == nil:
		t.said[[2]string{m.Round, m.Sender}] = raw
		return nil
	case errors.As(err, &blamed):
		return t.blame(raw, e, t.ids(blamed)...)
	case errors.Is(err, threshold.ErrMessage):
		return t.blame(raw, e, m.Sender)
	case errors.Is(err, threshold.ErrForked):
		// Somebody told us and them two things, and we cannot see who: comparing
		// the two transcripts can (escrow custodian ceremony verify A B).
		return &registrar.Problem{Code: threshold.ErrForked.Code, Title: threshold.ErrForked.Mend + " It is " + m.Sender + "."}
	}
	t.fault = err
	return err
}

func (t *table) ids(b *threshold.BlameError) (out []string) {
	seats := t.plan.Receivers
	if b.Role == threshold.RoleDealer {
		seats = t.plan.Speakers(policy.RoundDeal)
	}
	for _, s := range seats {
		if slices.Contains(b.Indices, s.Index) {
			out = append(out, s.ID)
		}
	}
	return out
}

func (t *table) blame(raw string, why *refusal.Error, ids ...string) error {
	for _, s := range t.plan.Speakers(policy.RoundAgree) {
		if slices.Contains(ids, s.ID) {
			t.culprits = append(t.culprits, s)
		}
	}
	t.fault, t.evidence = why, raw
	return t.failure()
}

// failure is the fault with its culprits by name.
func (t *table) failure() error {
	e := refusal.Of(t.fault)
	if e == nil || len(t.culprits) == 0 {
		return t.fault
	}
	out := &registrar.Problem{Code: e.Code, Title: e.Mend + " At fault: "}
	var names []string
	for _, s := range t.culprits {
		out.Culprits = append(out.Culprits, s.ID)
		names = append(names, fmt.Sprintf("%s (%s)", s.ID, s.Organisation))
	}
	out.Title += strings.Join(names, ", ") + ". The transcript proves it."
	return out
}

// addAll takes messages in any order, and leaves those that are too early.
func (t *table) addAll(messages []string) error {
	for progress := true; progress; {
		progress = false
		for _, raw := range messages {
			before := len(t.said)
			if err := t.add(raw); err != nil && !errors.Is(err, threshold.ErrOrder) {
				return err
			}
			progress = progress || len(t.said) > before
		}
	}
	return nil
}

// speak makes, adds and returns the message that a participant owes now, or "".
// old is a dealer's present share. Before everybody has signed the plan nobody
// sends anything that depends on a secret.
func (t *table) speak(id string, sign jose.JSONWebKey, key threshold.CeremonyKey, old *threshold.KeyShare) (string, error) {
	if t.fault != nil {
		return "", nil
	}
	round, missing := t.waiting()
	if !slices.ContainsFunc(missing, func(s policy.Seat) bool { return s.ID == id }) {
		return "", nil
	}
	m := policy.CeremonyMessage{Plan: t.plan.Hash(), Round: round, Sender: id}
	if round != policy.RoundAgree {
		var err error
		if m.Body, err = t.c.Next(key, old); err != nil {
			return "", err
		}
		if m.Body == nil {
			return "", nil
		}
	}
	raw, err := policy.SignCeremonyMessage(sign, m)
	if err != nil {
		return "", err
	}
	// Our own complaint ends the ceremony, with us as its witness.
	var blamed *threshold.BlameError
	if _, err := t.c.Result(); !errors.Is(err, threshold.ErrWaiting) && errors.As(err, &blamed) {
		t.blame(raw, refusal.Of(err), t.ids(blamed)...) //nolint:errcheck // it is in t.fault
		return raw, nil
	}
	t.said[[2]string{round, id}] = raw
	return raw, nil
}

// own returns what a participant has said, by round.
func (t *table) own(id string) (out []string) {
	for _, round := range policy.CeremonyRounds() {
		if m := t.said[[2]string{round, id}]; m != "" {
			out = append(out, m)
		}
	}
	if m, err := t.open(t.evidence); err == nil && m.Sender == id && t.said[[2]string{m.Round, id}] == "" {
		out = append(out, t.evidence)
	}
	return out
}

// transcript is for everybody: the plan, what was said, and the evidence.
func (t *table) transcript() ([]byte, error) {
	var evidence []string
	if t.evidence != "" {
		evidence = append(evidence, t.evidence)
	}
	return t.plan.Transcript(func(round, sender string) string { return t.said[[2]string{round, sender}] }, evidence...)
}

// result is the public key when all was said. Before, it is
// custodian.ceremony_waiting with those we wait for; after a fault, that fault.
func (t *table) result() (threshold.PublicKey, error) {
	if t.fault != nil {
		return threshold.PublicKey{}, t.failure()
	}
	if round, missing := t.waiting(); round != "" {
		return threshold.PublicKey{}, &registrar.Problem{Code: threshold.ErrWaiting.Code,
			Title: fmt.Sprintf("Participants are still to be heard: %s (%s).", strings.Join(idsOf(missing), ", "), round)}
	}
	return t.c.Result()
}

func idsOf(seats []policy.Seat) (out []string) {
	for _, s := range seats {
		out = append(out, s.ID)
	}
	return out
}

// verifyTranscript checks every message of a transcript again. What it shows is
// in result: the key, who was waited for, or whose fault it was.
func verifyTranscript(raw []byte, others ...[]byte) (*table, error) {
	plan, messages, err := policy.ParseCeremonyTranscript(raw)
	if err != nil {
		return nil, err
	}
	t, err := newTable(plan)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if err := t.add(m); err != nil && t.fault == nil {
			if errors.Is(err, threshold.ErrOrder) {
				return nil, policy.ErrCeremonyTranscript.Because(err)
			}
			return nil, err
		}
	}
	if again, err := t.transcript(); t.fault == nil && (err != nil || !bytes.Equal(again, raw)) {
		return nil, policy.ErrCeremonyTranscript
	}
	// What another participant was told can show who told two things.
	for _, other := range others {
		p, messages, err := policy.ParseCeremonyTranscript(other)
		if err != nil {
			return nil, err
		}
		if p.Hash() != plan.Hash() {
			return nil, policy.ErrCeremonyOther
		}
		if err := t.compare(messages); err != nil && t.fault == nil {
			return nil, err
		}
	}
	return t, nil
}

// compare looks for a participant who said something else to somebody else.
func (t *table) compare(messages []string) error {
	for _, raw := range messages {
		m, err := t.open(raw)
		if err != nil {
			return err
		}
		have := t.said[[2]string{m.Round, m.Sender}]
		if have == "" || t.fault != nil {
			continue
		}
		if err := t.add(raw); err != nil {
			return err
		}
	}
	return nil
}

// transcriptFile is where a transcript lies in a folder, by its hash.
func transcriptFile(hash string) string { return "transcript-" + hash[:16] + ".json" }

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// CeremonyResult verifies a complete transcript and returns its plan and the
// threshold key that it made, for a bundle.
func CeremonyResult(transcript []byte) (plan *policy.CeremonyPlan, thresholdKey string, err error) {
	t, err := verifyTranscript(transcript)
	if err != nil {
		return nil, "", err
	}
	pk, err := t.result()
	if err != nil {
		return nil, "", err
	}
	text, err := pk.MarshalText()
	return t.plan, string(text), err
}

// CheckPlan refuses a plan that no ceremony could follow: a participant's keys
// or the previous key malformed, or not as many dealers as that key's threshold.
func CheckPlan(plan *policy.CeremonyPlan) error {
	_, err := newTable(plan)
	return err
}
