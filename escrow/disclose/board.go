package disclose

import (
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/proof"
	"github.com/penname/penname/verifier/refusal"
)

// The refusals of the message board. Stores return them too.
var (
	ErrNoCeremony = refusal.New(refusal.NotFound, "ceremony.none",
		"no ceremony with that plan is open here: the operator opens it with `escrowd ceremony open`")
	ErrCeremonyOrder = refusal.New(refusal.NotYet, "ceremony.out_of_order",
		"somebody has not spoken yet in an earlier round: nothing was stored, send it again when they have")
	ErrCeremonySaid = refusal.New(refusal.Conflict, "ceremony.already_said",
		"the participant has spoken in this round already: nothing was stored, because nobody may say two things in one round")
	ErrCeremonyClosed = refusal.New(refusal.Conflict, "ceremony.closed",
		"the transcript of this ceremony is in the public log: plan another one")
	ErrCeremonyNotLogged = refusal.New(refusal.NotYet, "bundle.ceremony_not_logged",
		"the bundle names a key ceremony whose transcript is not in the public log: publish it first")
)

// Ceremony is a custodians' key ceremony as the board holds it. The board is
// trusted for nothing: it keeps and hands out what participants have signed, and
// a participant who is shown something else than the others finds it out.
type Ceremony struct {
	Plan       []byte // policy.CeremonyPlan, as it was opened
	Said       []Said // in the order in which it came
	Transcript []byte // policy.CeremonyTranscript; nil while the ceremony is open
	Leaf       int64  // of the transcript's hash, once there is one
}

// Said is one message.
type Said struct {
	Round, Sender string
	Signed        string // policy.SignCeremonyMessage
}

// Ceremonies is where ceremonies are kept, append-only.
type Ceremonies interface {
	// Open stores a plan; again, it changes nothing.
	Open(ctx context.Context, plan []byte) error
	// Ceremony returns the one whose plan has that hex SHA-256, or ErrNoCeremony.
	Ceremony(ctx context.Context, plan string) (Ceremony, error)
	// Apply locks the ceremony, lets change append to Said or set Transcript, and
	// stores that; a transcript together with its leaf, in one transaction. If
	// change fails nothing is stored and its error returned.
	Apply(ctx context.Context, plan string, change func(*Ceremony) (*proof.Leaf, error)) (Ceremony, error)
	// Logged reports whether the transcript with that hex SHA-256 has a leaf.
	Logged(ctx context.Context, transcript string) (bool, error)
}

// Board is the custodians' message board. It works before there is a bundle: the
// first ceremony makes the key that the first bundle names.
type Board struct {
	Ceremonies Ceremonies
	Now        func() time.Time
}

// Open lets the participants of a plan use the board, and returns the
// plan's hash. The operator decides: a board for everybody would be a dump.
func (b *Board) Open(ctx context.Context, plan []byte) (string, error) {
	p, err := policy.ParseCeremonyPlan(plan)
	if err != nil {
		return "", err
	}
	return p.Hash(), b.Ceremonies.Open(ctx, plan)
}

// Ceremony returns what was said in the one whose plan has that hex SHA-256, or
// ErrNoCeremony.
func (b *Board) Ceremony(ctx context.Context, plan string) (Ceremony, error) {
	return b.Ceremonies.Ceremony(ctx, plan)
}

// Say stores a participant's message, once for each round and in the order of
// rounds. So a board holds at most four messages of 16 KiB from each. With the
// last one the transcript is complete, and its hash goes into the public log.
func (b *Board) Say(ctx context.Context, plan, signed string) (Ceremony, error) {
	now, err := b.Ceremonies.Ceremony(ctx, plan)
	if err != nil {
		return Ceremony{}, err
	}
	p, err := policy.ParseCeremonyPlan(now.Plan)
	if err != nil {
		return Ceremony{}, err
	}
	m, err := p.VerifyMessage(signed)
	if err != nil {
		return Ceremony{}, err
	}
	return b.Ceremonies.Apply(ctx, plan, func(c *Ceremony) (*proof.Leaf, error) {
		switch round, missing := p.Missing(c.said); {
		case c.Transcript != nil:
			return nil, ErrCeremonyClosed
		case c.said(m.Round, m.Sender):
			return nil, ErrCeremonySaid
		case m.Round != round || !slices.ContainsFunc(missing, func(s policy.Seat) bool { return s.ID == m.Sender }):
			return nil, ErrCeremonyOrder
		}
		c.Said = append(c.Said, Said{m.Round, m.Sender, signed})
		if round, _ := p.Missing(c.said); round != "" {
			return nil, nil
		}
		return c.close(p, b.Now())
	})
}

// Publish closes a ceremony that will not go on, because somebody
// cheated or stays away, and puts what was said into the public log, so that
// everybody can see whose fault it was. A complete one is in the log already.
func (b *Board) Publish(ctx context.Context, plan string) (Ceremony, error) {
	return b.Ceremonies.Apply(ctx, plan, func(c *Ceremony) (*proof.Leaf, error) {
		if c.Transcript != nil {
			return nil, nil
		}
		p, err := policy.ParseCeremonyPlan(c.Plan)
		if err != nil {
			return nil, err
		}
		return c.close(p, b.Now())
	})
}

func (c *Ceremony) said(round, sender string) bool { return c.message(round, sender) != "" }

func (c *Ceremony) message(round, sender string) string {
	for _, s := range c.Said {
		if s.Round == round && s.Sender == sender {
			return s.Signed
		}
	}
	return ""
}

func (c *Ceremony) close(p *policy.CeremonyPlan, now time.Time) (leaf *proof.Leaf, err error) {
	if c.Transcript, err = p.Transcript(c.message); err != nil {
		return nil, err
	}
	l := proof.CeremonyLeaf(now, sha256.Sum256(c.Transcript))
	return &l, nil
}
