// Package ceremony is a key ceremony as its participants, its operator and every
// later reader of its transcript see it.
//
//	CheckPlan         could this plan be followed?
//	View              what one participant has seen, and what they say next
//	VerifyTranscript  what everybody can see afterwards: the key, or who has not
//	                  spoken yet, or who is at fault
//	Result            the plan and the key of a complete transcript, for a bundle
//
// How the messages travel is not its business: a board that loses, repeats or
// invents messages is trusted for nothing. Secrets come in as arguments and are
// not kept.
package ceremony

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

// View is what one participant has seen of a key ceremony: the plan and what was
// said, checked. A participant has one, and so has everybody who verifies a
// transcript. It is not safe for concurrent use.
//
// It adds two things to threshold.Ceremony: a first round in which all
// participants sign the plan, and the signature of each message with the key by
// which the bundle will know its sender. So a failure is proved by a message that
// its culprit, a named organisation, has signed.
type View struct {
	plan     *policy.CeremonyPlan
	scheme   *threshold.Ceremony
	said     map[place]string                   // JWS
	verified map[string]*policy.CeremonyMessage // JWS whose signature holds

	failure  error // ends the ceremony
	culprits []policy.Seat
	evidence string // the JWS that proves the failure, if it is not in said
}

// place is where a message belongs: one participant says one thing in a round.
type place struct{ round, sender string }

// Failure is why a ceremony has no result: one that it ended with, or what is
// still missing. errors.Is finds its refusal.
type Failure struct {
	Refusal  *refusal.Error
	Text     string        // the refusal's sentence, with the participants that it is about
	Culprits []policy.Seat // whom the transcript proves to be at fault, if anybody
	Evidence string        // file with the transcript that proves it, if it was written to one
}

// Error returns code and sentence.
func (f *Failure) Error() string { return f.Refusal.Code + ": " + f.Text }

// Unwrap returns the refusal.
func (f *Failure) Unwrap() error { return f.Refusal }

// NewView returns the view of a ceremony in which nobody has spoken. It refuses a
// plan that no ceremony could follow, see [CheckPlan].
func NewView(plan *policy.CeremonyPlan) (*View, error) {
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
	return &View{plan: plan, scheme: c, said: make(map[place]string), verified: make(map[string]*policy.CeremonyMessage)}, nil
}

// Plan returns the plan.
func (v *View) Plan() *policy.CeremonyPlan { return v.plan }

// Scheme returns the state of the scheme beneath, to read from: whoever adds to it
// by another way than [View.Add] loses the signatures.
func (v *View) Scheme() *threshold.Ceremony { return v.scheme }

// Message returns what was said by sender in a round, as a JWS, or "".
func (v *View) Message(round, sender string) string { return v.said[place{round, sender}] }

// Verify checks a message's signature, once. See policy.CeremonyPlan.VerifyMessage
// for what it does not check.
func (v *View) Verify(raw string) (*policy.CeremonyMessage, error) {
	if m := v.verified[raw]; m != nil {
		return m, nil
	}
	m, err := v.plan.VerifyMessage(raw)
	if err == nil {
		v.verified[raw] = m
	}
	return m, err
}

// Waiting returns the round that is open and who is still to speak in it; nothing
// when all was said.
func (v *View) Waiting() (round string, missing []policy.Seat) {
	return v.plan.Missing(func(round, sender string) bool { return v.said[place{round, sender}] != "" })
}

// Add takes one message. The same again changes nothing, one that is too early
// is [threshold.ErrOrder], and after a failure nothing is taken. One that proves
// its sender or another to be at fault is a [*Failure], which ends the ceremony.
func (v *View) Add(raw string) error {
	m, err := v.Verify(raw)
	if err != nil {
		return err
	}
	if v.failure != nil {
		return v.Failure()
	}
	key := place{m.Round, m.Sender}
	if have := v.said[key]; have != "" {
		// What was said counts, not the signature: an ES256 signature can be
		// varied by anyone who sees it.
		if old, err := v.Verify(have); err == nil && bytes.Equal(old.Body, m.Body) {
			return nil
		}
		return v.blame(raw, threshold.ErrEquivocation, m.Sender)
	}
	if round, _ := v.Waiting(); m.Round != round {
		return threshold.ErrOrder
	}
	if m.Round == policy.RoundAgree {
		v.said[key] = raw
		return nil
	}
	return v.take(raw, m)
}

// take gives a body to the threshold scheme, and says who is at fault if it does
// not hold.
func (v *View) take(raw string, m *policy.CeremonyMessage) error {
	speakers := v.plan.Speakers(m.Round)
	seat := speakers[slices.IndexFunc(speakers, func(s policy.Seat) bool { return s.ID == m.Sender })]
	round, index, err := threshold.Envelope(m.Body)
	if err != nil || round != m.Round || index != seat.Index {
		// They signed something that is not a message of theirs.
		return v.blame(raw, threshold.ErrMessage, m.Sender)
	}
	err = v.scheme.Add(m.Body)
	var blamed *threshold.BlameError
	e := refusal.Of(err)
	switch {
	case err == nil:
		v.said[place{m.Round, m.Sender}] = raw
		return nil
	case errors.As(err, &blamed):
		return v.blame(raw, e, v.ids(blamed)...)
	case errors.Is(err, threshold.ErrMessage):
		return v.blame(raw, e, m.Sender)
	case errors.Is(err, threshold.ErrForked):
		// Somebody told us and them two things, and we cannot see who: comparing
		// the two transcripts can (escrow custodian ceremony verify A B).
		return &Failure{Refusal: threshold.ErrForked, Text: threshold.ErrForked.Mend + " It is " + m.Sender + "."}
	}
	v.failure = err
	return err
}

func (v *View) ids(b *threshold.BlameError) (out []string) {
	seats := v.plan.Receivers
	if b.Role == threshold.RoleDealer {
		seats = v.plan.Speakers(policy.RoundDeal)
	}
	for _, s := range seats {
		if slices.Contains(b.Indices, s.Index) {
			out = append(out, s.ID)
		}
	}
	return out
}

func (v *View) blame(raw string, why *refusal.Error, ids ...string) error {
	for _, s := range v.plan.Speakers(policy.RoundAgree) {
		if slices.Contains(ids, s.ID) {
			v.culprits = append(v.culprits, s)
		}
	}
	v.failure, v.evidence = why, raw
	return v.Failure()
}

// Failure returns what ended the ceremony, or nil. With a culprit it is a
// [*Failure].
func (v *View) Failure() error {
	e := refusal.Of(v.failure)
	if e == nil || len(v.culprits) == 0 {
		return v.failure
	}
	var names []string
	for _, s := range v.culprits {
		names = append(names, fmt.Sprintf("%s (%s)", s.ID, s.Organisation))
	}
	return &Failure{Refusal: e, Culprits: v.culprits, Text: e.Mend + " At fault: " + strings.Join(names, ", ") + ". The transcript proves it."}
}

// AddAll adds messages that come in any order, and leaves out those that are too
// early.
func (v *View) AddAll(messages []string) error {
	for progress := true; progress; {
		progress = false
		for _, raw := range messages {
			before := len(v.said)
			if err := v.Add(raw); err != nil && !errors.Is(err, threshold.ErrOrder) {
				return err
			}
			progress = progress || len(v.said) > before
		}
	}
	return nil
}

// Next makes, adds and returns the message that a participant owes now, or "".
// sign signs it, key is their key for this ceremony, old is a dealer's present
// share. Before everybody has signed the plan nobody
// sends anything that depends on a secret.
func (v *View) Next(id string, sign jose.JSONWebKey, key threshold.CeremonyKey, old *threshold.KeyShare) (string, error) {
	if v.failure != nil {
		return "", nil
	}
	round, missing := v.Waiting()
	if !slices.ContainsFunc(missing, func(s policy.Seat) bool { return s.ID == id }) {
		return "", nil
	}
	m := policy.CeremonyMessage{Plan: v.plan.Hash(), Round: round, Sender: id}
	if round != policy.RoundAgree {
		var err error
		if m.Body, err = v.scheme.Next(key, old); err != nil {
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
	if _, err := v.scheme.Result(); !errors.Is(err, threshold.ErrWaiting) && errors.As(err, &blamed) {
		v.blame(raw, refusal.Of(err), v.ids(blamed)...) //nolint:errcheck // it is in v.failure
		return raw, nil
	}
	v.said[place{round, id}] = raw
	return raw, nil
}

// SaidBy returns what a participant has said, by round.
func (v *View) SaidBy(id string) (out []string) {
	for _, round := range policy.CeremonyRounds() {
		if m := v.said[place{round, id}]; m != "" {
			out = append(out, m)
		}
	}
	if m, err := v.Verify(v.evidence); err == nil && m.Sender == id && v.said[place{m.Round, id}] == "" {
		out = append(out, v.evidence)
	}
	return out
}

// Contains reports whether the list has a message that says the same as raw in the
// same place, whatever its signature: an ES256 signature can be varied by anyone
// who sees it.
func (v *View) Contains(list []string, raw string) bool {
	want, err := v.Verify(raw)
	return err == nil && slices.ContainsFunc(list, func(other string) bool {
		m, err := v.Verify(other)
		return err == nil && m.Round == want.Round && m.Sender == want.Sender && bytes.Equal(m.Body, want.Body)
	})
}

// Transcript returns what everybody may see: the plan, what was said, and the
// message that proves a failure.
func (v *View) Transcript() ([]byte, error) {
	var evidence []string
	if v.evidence != "" {
		evidence = append(evidence, v.evidence)
	}
	return v.plan.Transcript(func(round, sender string) string { return v.said[place{round, sender}] }, evidence...)
}

// Result returns the public key when all was said. Before, it is a [*Failure] with
// [threshold.ErrWaiting] that names whom we wait for; after a failure, that one.
func (v *View) Result() (threshold.PublicKey, error) {
	if v.failure != nil {
		return threshold.PublicKey{}, v.Failure()
	}
	if round, missing := v.Waiting(); round != "" {
		return threshold.PublicKey{}, &Failure{Refusal: threshold.ErrWaiting,
			Text: fmt.Sprintf("Some participants have not spoken yet: %s (%s).", strings.Join(IDs(missing), ", "), round)}
	}
	return v.scheme.Result()
}

// IDs returns the ids of participants.
func IDs(seats []policy.Seat) (out []string) {
	for _, s := range seats {
		out = append(out, s.ID)
	}
	return out
}

// VerifyTranscript checks every message of a transcript again. What it shows is in
// [View.Result]: the key, who was waited for, or whose fault it was. The
// transcripts of other participants of the same ceremony can show who told two
// things to two of them.
func VerifyTranscript(raw []byte, others ...[]byte) (*View, error) {
	plan, messages, err := policy.ParseCeremonyTranscript(raw)
	if err != nil {
		return nil, err
	}
	v, err := NewView(plan)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if err := v.Add(m); err != nil && v.failure == nil {
			if errors.Is(err, threshold.ErrOrder) {
				return nil, policy.ErrCeremonyTranscript.Because(err)
			}
			return nil, err
		}
	}
	if again, err := v.Transcript(); v.failure == nil && (err != nil || !bytes.Equal(again, raw)) {
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
		if err := v.compare(messages); err != nil && v.failure == nil {
			return nil, err
		}
	}
	return v, nil
}

// compare looks for a participant who said something else to somebody else.
func (v *View) compare(messages []string) error {
	for _, raw := range messages {
		m, err := v.Verify(raw)
		if err != nil {
			return err
		}
		have := v.said[place{m.Round, m.Sender}]
		if have == "" || v.failure != nil {
			continue
		}
		if err := v.Add(raw); err != nil {
			return err
		}
	}
	return nil
}

// Hash is the address of a transcript in the log and in a bundle: its SHA-256 in
// hex.
func Hash(transcript []byte) string {
	sum := sha256.Sum256(transcript)
	return hex.EncodeToString(sum[:])
}

// Result verifies a complete transcript and returns its plan and the threshold
// key that it made, for a bundle.
func Result(transcript []byte) (plan *policy.CeremonyPlan, thresholdKey string, err error) {
	v, err := VerifyTranscript(transcript)
	if err != nil {
		return nil, "", err
	}
	pk, err := v.Result()
	if err != nil {
		return nil, "", err
	}
	text, err := pk.MarshalText()
	return v.plan, string(text), err
}

// CheckPlan refuses a plan that no ceremony could follow: a participant's keys
// or the previous key malformed, or not as many dealers as that key's threshold.
func CheckPlan(plan *policy.CeremonyPlan) error {
	_, err := NewView(plan)
	return err
}
