package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

var (
	errNotAgreed = refusal.New(refusal.Denied, "custodian.plan_not_agreed",
		"who is in this plan will hold the key together: compare its hash with the other participants by telephone, then run the command again with --agree and the hash")
	errAgreedOther = refusal.New(refusal.Denied, "custodian.agreed_other_plan",
		"the hash that was agreed on is not this plan's: somebody was given another plan, do not go on")
	errNotSeated = refusal.New(refusal.Denied, "custodian.not_seated",
		"the plan does not seat this folder with its own keys: send the operator a new card (escrow custodian card) and plan again")
	errPlanKey = refusal.New(refusal.Denied, "custodian.plan_of_another_key",
		"the plan does not start from the key of the bundle that this folder has endorsed, or seats others in place of its custodians: do not take part")
	errTwin = refusal.New(refusal.Conflict, "custodian.spoke_elsewhere",
		"something else was said in this custodian's name: a copy of the folder is in use, or the keys were stolen; stop, and plan again with new keys")
)

// attendee is a custodian in one ceremony, with all that they have heard.
type attendee struct {
	*program
	who   *Custodian
	t     *table
	state attendance
	name  string // of the state's file
}

// attendance is what outlives a crash: it is written before a message is sent,
// so that nobody ever says two things in one round.
type attendance struct {
	Plan     json.RawMessage `json:"plan"`
	Messages []string        `json:"messages"`
	Done     bool            `json:"done"` // the share is safe, and ceremony.key destroyed
}

// ceremonyOptions are the flags of `escrow custodian ceremony`.
type ceremonyOptions struct {
	agree string
	once  bool
	every time.Duration
}

func (p *program) custodianCeremony(home *string) *cobra.Command {
	var o ceremonyOptions
	c := leaf("ceremony PLAN", "Make the custodians' key together, or move it to another set of custodians, each on their own machine",
		"escrow custodian ceremony plan.json --agree 3f29…", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
			if o.every < time.Second {
				return shell.UsageError("--every is at least 1s")
			}
			raw, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			plan, err := policy.ParseCeremonyPlan(raw)
			if err != nil {
				return err
			}
			c, err := p.openHome(ctx, *home)
			if err != nil {
				return err
			}
			a, err := p.attend(c, plan, raw, o.agree)
			if err != nil {
				return err
			}
			return a.run(ctx, o)
		})
	c.Flags().StringVar(&o.agree, "agree", "", "the plan's hash, as all participants have compared it; needed once")
	c.Flags().BoolVar(&o.once, "once", false, "do what can be done now and stop, instead of waiting for the others")
	c.Flags().DurationVar(&o.every, "every", 5*time.Second, "how often to look for messages")
	c.AddCommand(p.ceremonyVerify())
	return c
}

// attend sits down at the table, for the first time or again.
func (p *program) attend(c *Custodian, plan *policy.CeremonyPlan, raw []byte, agree string) (*attendee, error) {
	t, err := newTable(plan)
	if err != nil {
		return nil, err
	}
	a := &attendee{program: p, who: c, t: t, name: "ceremony-" + plan.Hash()[:16] + ".state", state: attendance{Plan: raw}}
	b, err := c.read(a.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := a.sit(agree); err != nil {
			return nil, err
		}
		return a, a.keep()
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(b, &a.state); err != nil || string(a.state.Plan) != string(raw) {
		return nil, errSecret
	}
	if err := t.addAll(a.state.Messages); err != nil && t.fault == nil {
		return nil, err
	}
	return a, nil
}

// sit is what a custodian checks before they take part.
func (a *attendee) sit(agree string) error {
	plan, c := a.t.plan, a.who
	public, err := c.key.Public().MarshalJSON()
	if err != nil {
		return err
	}
	all := plan.Speakers(policy.RoundAgree)
	me := slices.IndexFunc(all, func(s policy.Seat) bool { return s.ID == c.ID })
	if me < 0 || !sameJSON(all[me].Key, public) {
		return errNotSeated
	}
	switch ours, err := a.holdsKey(); {
	case err != nil:
		return err
	case !ours:
		return errNotSeated
	}
	before, err := a.before(c)
	if err != nil {
		return err
	}
	if before != nil {
		// We guard a key already. A plan from nowhere would leave all that is
		// sealed closed, one from another key would give ours to strangers.
		if plan.Previous != before.ThresholdKey {
			return errPlanKey
		}
		for _, s := range plan.Dealers {
			if b := before.Custodian(s.ID); b == nil || b.Index != s.Index || !sameJSON(b.Key, s.Key) {
				return errPlanKey
			}
		}
	}
	switch agree {
	case plan.Hash():
		return nil
	case "":
		if !a.json {
			fmt.Fprint(a.Stderr, document.Printable(describe(plan)))
		}
		return errNotAgreed
	}
	return errAgreedOther
}

// holdsKey reports whether ceremony.key is that of our seat in this plan.
func (a *attendee) holdsKey() (bool, error) {
	key, err := a.who.ceremonyKey()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	text, err := key.Public().MarshalText()
	return slices.ContainsFunc(a.t.plan.Speakers(policy.RoundAgree), func(s policy.Seat) bool {
		return s.ID == a.who.ID && s.Ceremony == string(text)
	}), err
}

// sameJSON compares two public keys whatever the order of their members.
func sameJSON(a, b []byte) bool {
	var x, y map[string]any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && fmt.Sprint(x) == fmt.Sprint(y)
}

// describe is what one reads before agreeing.
func describe(plan *policy.CeremonyPlan) string {
	s := fmt.Sprintf("plan %s\n", plan.Hash())
	if plan.Previous == "" {
		s += fmt.Sprintf("a new key, of which %d of %d custodians open together:\n", plan.Threshold, len(plan.Receivers))
	} else {
		s += fmt.Sprintf("the key moves to %d of %d custodians:\n", plan.Threshold, len(plan.Receivers))
	}
	for _, r := range plan.Receivers {
		s += fmt.Sprintf("  %d  %s, %s, %s\n", r.Index, r.ID, r.Name, r.Organisation)
	}
	if plan.Previous != "" {
		s += "from " + strings.Join(idsOf(plan.Dealers), ", ") + "\n"
	}
	return s
}

// keep writes the state, encrypted, in one step.
func (a *attendee) keep() error {
	b, err := json.Marshal(a.state)
	if err != nil {
		return err
	}
	return a.who.replace(a.name, b)
}

// remember writes everything that was heard and said.
func (a *attendee) remember() error {
	transcript, err := a.t.transcript()
	if err != nil {
		return err
	}
	_, messages, err := policy.ParseCeremonyTranscript(transcript)
	if err != nil || len(messages) == len(a.state.Messages) {
		return err
	}
	a.state.Messages = messages
	return a.keep()
}

// run takes turns until the key is made, somebody is at fault, or ctx ends.
func (a *attendee) run(ctx context.Context, o ceremonyOptions) error {
	for shown := ""; ; {
		if !a.state.Done {
			err := a.turn(ctx)
			if errors.Is(err, registrar.ErrUnreachable) && !o.once { // it may be back the next time
				a.progress("%s\n", shell.ProblemOf(err).Error())
			} else if err != nil {
				return err
			}
		}
		if a.t.fault != nil {
			return a.failed()
		}
		if round, _ := a.t.waiting(); round == "" {
			return a.finish()
		}
		if o.once {
			return a.print(a.status(), a.rounds())
		}
		if now := a.rounds(); now != shown {
			shown = now
			a.progress("%s", now)
		}
		timer := time.NewTimer(o.every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// turn hears what the others said and says all that can be said now.
func (a *attendee) turn(ctx context.Context) error {
	for {
		if err := a.exchange(ctx); err != nil {
			return err
		}
		key, old, err := a.secrets()
		if err != nil {
			return err
		}
		raw, err := a.t.speak(a.who.ID, a.who.key, key, old)
		if err != nil || raw == "" {
			return err
		}
		if err := a.remember(); err != nil { // before it is sent
			return err
		}
	}
}

// exchange fetches the board, which is trusted for nothing, and posts what of
// ours is not on it.
func (a *attendee) exchange(ctx context.Context) error {
	path := "/v1/ceremonies/" + a.t.plan.Hash() + "/messages"
	var board struct {
		Messages []string `json:"messages"`
	}
	if err := a.call(ctx, "GET", path, nil, nil, &board); err != nil {
		return err
	}
	if err := a.hear(board.Messages); err != nil {
		return err
	}
	for _, mine := range a.t.own(a.who.ID) {
		if a.holds(board.Messages, mine) {
			continue
		}
		if err := a.call(ctx, "POST", path, nil, map[string]string{"message": mine}, &board); err != nil {
			var said *registrar.Problem
			if errors.As(err, &said) && said.Code == "ceremony.closed" && a.t.fault != nil {
				return nil // it is over for all
			}
			return err
		}
		if err := a.hear(board.Messages); err != nil {
			return err
		}
	}
	return nil
}

func (a *attendee) hear(messages []string) error {
	for _, raw := range messages {
		m, err := a.t.open(raw)
		if err != nil {
			return err
		}
		if m.Sender == a.who.ID && !a.holds(a.t.own(a.who.ID), raw) {
			return errTwin
		}
	}
	// What was heard is kept also when something did not fit: it is what another
	// participant's transcript is compared with.
	err := a.t.addAll(messages)
	if kept := a.remember(); kept != nil {
		return kept
	}
	if a.t.fault != nil {
		return nil // see run
	}
	return err
}

// holds reports whether the list has a message that says the same.
func (a *attendee) holds(list []string, raw string) bool {
	want, err := a.t.open(raw)
	return err == nil && slices.ContainsFunc(list, func(other string) bool {
		m, err := a.t.open(other)
		return err == nil && m.Round == want.Round && m.Sender == want.Sender && string(m.Body) == string(want.Body)
	})
}

// secrets are the key of this ceremony and, for a dealer, the share to move.
func (a *attendee) secrets() (threshold.CeremonyKey, *threshold.KeyShare, error) {
	key, err := a.who.ceremonyKey()
	if err != nil || !slices.ContainsFunc(a.t.plan.Dealers, func(s policy.Seat) bool { return s.ID == a.who.ID }) {
		return key, nil, err
	}
	previous, err := threshold.ParsePublicKey(a.t.plan.Previous)
	if err != nil {
		return key, nil, err
	}
	old, err := a.who.share(previous)
	return key, &old, err
}

// finish makes the share safe, and only then destroys the key that could make
// it again. It can be repeated from any point.
func (a *attendee) finish() error {
	pk, err := a.t.result()
	if err != nil {
		return err
	}
	transcript, err := a.t.transcript()
	if err != nil {
		return err
	}
	if !a.state.Done {
		if err := a.who.put(transcriptFile(hashOf(transcript)), transcript); err != nil {
			return err
		}
		key, err := a.who.ceremonyKey()
		if err != nil {
			return err
		}
		if slices.ContainsFunc(a.t.plan.Receivers, func(s policy.Seat) bool { return s.ID == a.who.ID }) {
			share, err := a.t.c.KeyShare(key)
			if err != nil {
				return err
			}
			if err := a.who.adopt(share); err != nil {
				return err
			}
		}
		a.state.Done = true
		if err := a.keep(); err != nil {
			return err
		}
	}
	switch ours, err := a.holdsKey(); { // and not already one for the next ceremony
	case err != nil:
		return err
	case ours:
		if err := a.who.disk.Remove(a.who.path(ceremonyFile)); err != nil {
			return err
		}
	}
	text, err := pk.MarshalText()
	if err != nil {
		return err
	}
	s := a.status()
	s.State, s.ThresholdKey, s.Transcript, s.File = "complete", string(text), hashOf(transcript), a.who.path(transcriptFile(hashOf(transcript)))
	return a.print(s, fmt.Sprintf("the key is made: %s\nthreshold key: %s\ntranscript: %s\n            %s\nNext: endorse the bundle that names this transcript.",
		pk, s.ThresholdKey, s.Transcript, s.File))
}

// failed keeps the evidence and says whose fault it was.
func (a *attendee) failed() error {
	transcript, err := a.t.transcript()
	if err != nil {
		return err
	}
	name := transcriptFile(hashOf(transcript))
	if err := a.who.put(name, transcript); err != nil {
		return err
	}
	said := shell.ProblemOf(a.t.failure())
	said.Evidence = a.who.path(name)
	return said
}

// ceremonyStatus is what --json prints.
type ceremonyStatus struct {
	Plan         string   `json:"plan"`
	State        string   `json:"state"` // waiting, complete
	Round        string   `json:"round,omitempty"`
	WaitingFor   []string `json:"waiting_for,omitempty"`
	ThresholdKey string   `json:"threshold_key,omitempty"`
	Transcript   string   `json:"transcript,omitempty"` // hex SHA-256
	File         string   `json:"file,omitempty"`
}

func (a *attendee) status() ceremonyStatus {
	round, missing := a.t.waiting()
	return ceremonyStatus{Plan: a.t.plan.Hash(), State: "waiting", Round: round, WaitingFor: idsOf(missing)}
}

// rounds is one line a round, and who we wait for.
func (a *attendee) rounds() string {
	var s strings.Builder
	for _, round := range policy.CeremonyRounds() {
		fmt.Fprintf(&s, "%-7s", round)
		for _, seat := range a.t.plan.Speakers(round) {
			mark := "…"
			if a.t.said[[2]string{round, seat.ID}] != "" {
				mark = "✓"
			}
			fmt.Fprintf(&s, " %s %s", seat.ID, mark)
		}
		s.WriteByte('\n')
	}
	round, missing := a.t.waiting()
	fmt.Fprintf(&s, "waiting for %s (%s)\n", strings.Join(idsOf(missing), ", "), round)
	return s.String()
}

func (p *program) ceremonyVerify() *cobra.Command {
	return leaf("verify TRANSCRIPT…", "Check a ceremony's transcript: the key that it made, or whose fault it was; of several, who told them different things",
		"escrow custodian ceremony verify transcript.json", cobra.MinimumNArgs(1), func(_ context.Context, args []string) error {
			var all [][]byte
			for _, name := range args {
				raw, err := p.readFile(name)
				if err != nil {
					return err
				}
				all = append(all, raw)
			}
			t, err := verifyTranscript(all[0], all[1:]...)
			if err != nil {
				return err
			}
			pk, err := t.result()
			if err != nil {
				return err
			}
			text, err := pk.MarshalText()
			if err != nil {
				return err
			}
			s := ceremonyStatus{Plan: t.plan.Hash(), State: "complete", ThresholdKey: string(text), Transcript: hashOf(all[0])}
			return p.print(s, fmt.Sprintf("%severy message is signed and every proof holds: %s\nthreshold key: %s\ntranscript: %s",
				describe(t.plan), pk, s.ThresholdKey, s.Transcript))
		})
}
