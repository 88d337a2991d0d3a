package custodian

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/escrow/seal/ceremony"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/refusal"
)

// Why a custodian takes no part in a ceremony, or no further part.
var (
	ErrNotAgreed = refusal.New(refusal.Denied, "custodian.plan_not_agreed",
		"the participants of this plan will hold the key together: nothing was agreed to or kept; compare its hash with the other participants by telephone, then run the command again with --agree and the hash")
	ErrAgreedOther = refusal.New(refusal.Denied, "custodian.agreed_other_plan",
		"the hash that was agreed on is not this plan's: nothing was agreed to, kept or sent; compare the hash again letter by letter, and if it stays so, compare the plans before anybody goes on")
	ErrNotSeated = refusal.New(refusal.Denied, "custodian.not_seated",
		"the plan does not seat this folder with its own keys: send the operator a new card (escrow custodian card) and plan again")
	ErrPlanKey = refusal.New(refusal.Denied, "custodian.plan_of_another_key",
		"the plan does not start from the key of the rules in force, as this folder read them in the public log, or seats others in place of its custodians: if newer rules were installed just now, run the command again in a minute, else do not take part")
	ErrSpokeElsewhere = refusal.New(refusal.Conflict, "custodian.spoke_elsewhere",
		"something else was said with this custodian's key than this folder remembers: it was restored from an older copy, another copy is in use, or the key was stolen; stop, and plan again with new keys")
)

// Participation is a custodian in one ceremony, with all that they have heard.
// What it knows outlives a crash: it is written before a message is sent, so that
// nobody ever says two things in one round.
type Participation struct {
	custodian *Custodian
	view      *ceremony.View
	state     participationState
	stateFile string
}

// participationState is what is kept, encrypted.
type participationState struct {
	Plan     json.RawMessage `json:"plan"`
	Messages []string        `json:"messages"`
	Done     bool            `json:"done"` // the share is safe, and ceremony.key destroyed
}

// Join takes part in the ceremony of a plan, for the first time or again. The
// first time, agreed is the plan's hash as all participants have compared it by
// telephone: without one it is [ErrNotAgreed], and with another [ErrAgreedOther].
func (c *Custodian) Join(plan *policy.CeremonyPlan, agreed string) (*Participation, error) {
	view, err := ceremony.NewView(plan)
	if err != nil {
		return nil, err
	}
	raw, err := plan.Marshal()
	if err != nil {
		return nil, err
	}
	p := &Participation{custodian: c, view: view, stateFile: "ceremony-" + plan.Hash()[:16] + ".state", state: participationState{Plan: raw}}
	b, err := c.folder.read(p.stateFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := p.checkPlan(agreed); err != nil {
			return nil, err
		}
		return p, p.save()
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(b, &p.state); err != nil || string(p.state.Plan) != string(raw) {
		return nil, ErrSecret
	}
	if err := view.AddAll(p.state.Messages); err != nil && view.Failure() == nil {
		return nil, err
	}
	return p, nil
}

// checkPlan is what a custodian checks before they take part.
func (p *Participation) checkPlan(agreed string) error {
	plan, c := p.view.Plan(), p.custodian
	public, err := c.key.Public().MarshalJSON()
	if err != nil {
		return err
	}
	all := plan.Speakers(policy.RoundAgree)
	me := slices.IndexFunc(all, func(s policy.Seat) bool { return s.ID == c.ID })
	if me < 0 || !sameJSON(all[me].Key, public) {
		return ErrNotSeated
	}
	switch ours, err := p.holdsKey(); {
	case err != nil:
		return err
	case !ours:
		return ErrNotSeated
	}
	before, err := c.rules()
	if err != nil {
		return err
	}
	if before != nil {
		// We guard a key already. A plan from nowhere would leave all that is
		// sealed closed, one from another key would give ours to strangers.
		if plan.Previous != before.ThresholdKey {
			return ErrPlanKey
		}
		for _, s := range plan.Dealers {
			if b := before.Custodian(s.ID); b == nil || b.Index != s.Index || !sameJSON(b.Key, s.Key) {
				return ErrPlanKey
			}
		}
	}
	switch agreed {
	case plan.Hash():
		return nil
	case "":
		return ErrNotAgreed
	}
	return ErrAgreedOther
}

// holdsKey reports whether ceremony.key is that of our seat in this plan.
func (p *Participation) holdsKey() (bool, error) {
	key, err := p.custodian.folder.ceremonyKey()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	text, err := key.Public().MarshalText()
	return slices.ContainsFunc(p.view.Plan().Speakers(policy.RoundAgree), func(s policy.Seat) bool {
		return s.ID == p.custodian.ID && s.Ceremony == string(text)
	}), err
}

// sameJSON compares two public keys whatever the order of their members.
func sameJSON(a, b []byte) bool {
	var x, y map[string]any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && fmt.Sprint(x) == fmt.Sprint(y)
}

// save writes the state, encrypted, in one step.
func (p *Participation) save() error {
	b, err := json.Marshal(p.state)
	if err != nil {
		return err
	}
	return p.custodian.folder.replace(p.stateFile, b)
}

// remember writes everything that was heard and said.
func (p *Participation) remember() error {
	transcript, err := p.view.Transcript()
	if err != nil {
		return err
	}
	_, messages, err := policy.ParseCeremonyTranscript(transcript)
	if err != nil || len(messages) == len(p.state.Messages) {
		return err
	}
	p.state.Messages = messages
	return p.save()
}

// Board puts a signed message on the board of the ceremony, unless it is empty, and
// returns all messages that are there. The board is trusted for nothing. An error
// of the kind [refusal.Unavailable] means: it may be back later.
type Board func(ctx context.Context, message string) (messages []string, err error)

// Run takes turns until the key is made, somebody is at fault, or ctx ends. every
// is how often it looks for messages; at zero it does what can be done now and
// returns. progress is told whom we wait for when that changes, and why the
// registrar could not be reached, which does not stop it.
//
// When the key is made, the share is safe and only then the key that could make
// it again destroyed. When somebody is at fault it is a [*ceremony.Failure] that
// names them and the file with the proof.
func (p *Participation) Run(ctx context.Context, board Board, every time.Duration, progress func(CeremonyStatus, error)) (CeremonyStatus, error) {
	for shown := ""; ; {
		if !p.state.Done {
			err := p.takeTurns(ctx, board)
			if unavailable(err) && every > 0 { // it may be back the next time
				progress(CeremonyStatus{}, err)
			} else if err != nil {
				return CeremonyStatus{}, err
			}
		}
		if p.view.Failure() != nil {
			return CeremonyStatus{}, p.keepProof()
		}
		s := p.status()
		switch {
		case s.Round == "":
			return p.finish()
		case every == 0:
			return s, nil
		case s.rounds != shown:
			shown = s.rounds
			progress(s, nil)
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return s, ctx.Err()
		case <-timer.C:
		}
	}
}

// takeTurns reads what the others said and says all that can be said now.
func (p *Participation) takeTurns(ctx context.Context, board Board) error {
	for {
		if err := p.exchange(ctx, board); err != nil {
			return err
		}
		key, old, err := p.secrets()
		if err != nil {
			return err
		}
		raw, err := p.view.Next(p.custodian.ID, p.custodian.key, key, old)
		if err != nil || raw == "" {
			return err
		}
		if err := p.remember(); err != nil { // before it is sent
			return err
		}
	}
}

func unavailable(err error) bool {
	e := refusal.Of(err)
	return e != nil && e.Kind == refusal.Unavailable
}

// exchange reads the board and posts what of ours is not on it.
func (p *Participation) exchange(ctx context.Context, board Board) error {
	messages, err := board(ctx, "")
	if err != nil {
		return err
	}
	if err := p.take(messages); err != nil {
		return err
	}
	for _, mine := range p.view.SaidBy(p.custodian.ID) {
		if p.view.Contains(messages, mine) {
			continue
		}
		messages, err = board(ctx, mine)
		switch {
		case err != nil && p.view.Failure() != nil && !unavailable(err) && ctx.Err() == nil:
			return nil // the board is closed: it is over for all
		case err != nil:
			return err
		}
		if err := p.take(messages); err != nil {
			return err
		}
	}
	return nil
}

// take adds messages to our view.
func (p *Participation) take(messages []string) error {
	for _, raw := range messages {
		m, err := p.view.Verify(raw)
		if err != nil {
			return err
		}
		if id := p.custodian.ID; m.Sender == id && !p.view.Contains(p.view.SaidBy(id), raw) {
			return ErrSpokeElsewhere
		}
	}
	// What was heard is kept also when something did not fit: it is what another
	// participant's transcript is compared with.
	err := p.view.AddAll(messages)
	if kept := p.remember(); kept != nil {
		return kept
	}
	if p.view.Failure() != nil {
		return nil // see Run
	}
	return err
}

// secrets are the key of this ceremony and, for a dealer, the share to move.
func (p *Participation) secrets() (threshold.CeremonyKey, *threshold.KeyShare, error) {
	key, err := p.custodian.folder.ceremonyKey()
	if err != nil || !seats(p.view.Plan().Dealers, p.custodian.ID) {
		return key, nil, err
	}
	previous, err := threshold.ParsePublicKey(p.view.Plan().Previous)
	if err != nil {
		return key, nil, err
	}
	old, err := p.custodian.folder.share(previous)
	return key, &old, err
}

func seats(all []policy.Seat, id string) bool {
	return slices.ContainsFunc(all, func(s policy.Seat) bool { return s.ID == id })
}

// finish makes the share safe, and only then destroys the key that could make
// it again. It can be repeated from any point.
func (p *Participation) finish() (CeremonyStatus, error) {
	var s CeremonyStatus
	pk, err := p.view.Result()
	if err != nil {
		return s, err
	}
	transcript, err := p.view.Transcript()
	if err != nil {
		return s, err
	}
	if !p.state.Done {
		if err := p.adopt(transcript); err != nil {
			return s, err
		}
	}
	folder := p.custodian.folder
	switch ours, err := p.holdsKey(); { // and not already one for the next ceremony
	case err != nil:
		return s, err
	case ours:
		if err := folder.disk.Remove(folder.path(ceremonyFile)); err != nil {
			return s, err
		}
	}
	text, err := pk.MarshalText()
	if err != nil {
		return s, err
	}
	s = p.status()
	s.State, s.ThresholdKey, s.Transcript, s.File = "complete", string(text), ceremony.Hash(transcript), folder.path(transcriptFile(ceremony.Hash(transcript)))
	s.key = pk.String()
	return s, nil
}

// adopt keeps the transcript and, if we are to have one, the new share.
func (p *Participation) adopt(transcript []byte) error {
	folder := p.custodian.folder
	if err := folder.put(transcriptFile(ceremony.Hash(transcript)), transcript); err != nil {
		return err
	}
	key, err := folder.ceremonyKey()
	if err != nil {
		return err
	}
	if seats(p.view.Plan().Receivers, p.custodian.ID) {
		share, err := p.view.Scheme().KeyShare(key)
		if err != nil {
			return err
		}
		if err := folder.adopt(share); err != nil {
			return err
		}
	}
	p.state.Done = true
	return p.save()
}

// keepProof writes the transcript of a ceremony that failed and returns why it
// did, with the file.
func (p *Participation) keepProof() error {
	transcript, err := p.view.Transcript()
	if err != nil {
		return err
	}
	name := transcriptFile(ceremony.Hash(transcript))
	if err := p.custodian.folder.put(name, transcript); err != nil {
		return err
	}
	var failure *ceremony.Failure
	if err := p.view.Failure(); !errors.As(err, &failure) {
		e := refusal.Of(err)
		if e == nil {
			return err
		}
		failure = &ceremony.Failure{Refusal: e, Text: e.Mend}
	}
	failure.Evidence = p.custodian.folder.path(name)
	return failure
}

// CeremonyStatus is how far a ceremony is.
type CeremonyStatus struct {
	Plan         string   `json:"plan"`  // hash, hex
	State        string   `json:"state"` // waiting, complete
	Round        string   `json:"round,omitempty"`
	WaitingFor   []string `json:"waiting_for,omitempty"` // ids
	ThresholdKey string   `json:"threshold_key,omitempty"`
	Transcript   string   `json:"transcript,omitempty"` // hex SHA-256
	File         string   `json:"file,omitempty"`       // of the transcript

	rounds string // one line a round
	key    string // for a person
}

// String is for a person at a terminal.
func (s CeremonyStatus) String() string {
	if s.State != "complete" {
		return s.rounds
	}
	return fmt.Sprintf("the key is made: %s\nthreshold key: %s\ntranscript: %s\n            %s\nNext: endorse the bundle that names this transcript.",
		s.key, s.ThresholdKey, s.Transcript, s.File)
}

// status is how far we are, with one line a round and who we wait for.
func (p *Participation) status() CeremonyStatus {
	round, missing := p.view.Waiting()
	var rounds strings.Builder
	for _, round := range policy.CeremonyRounds() {
		fmt.Fprintf(&rounds, "%-7s", round)
		for _, seat := range p.view.Plan().Speakers(round) {
			mark := "…"
			if p.view.Message(round, seat.ID) != "" {
				mark = "✓"
			}
			fmt.Fprintf(&rounds, " %s %s", seat.ID, mark)
		}
		rounds.WriteByte('\n')
	}
	fmt.Fprintf(&rounds, "waiting for %s (%s)\n", strings.Join(ceremony.IDs(missing), ", "), round)
	return CeremonyStatus{Plan: p.view.Plan().Hash(), State: "waiting", Round: round, WaitingFor: ceremony.IDs(missing), rounds: rounds.String()}
}

// transcriptFile is where a transcript lies in a folder, by its hash.
func transcriptFile(hash string) string { return "transcript-" + hash[:16] + ".json" }
