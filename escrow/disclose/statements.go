package disclose

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// The refusals of what custodians say beside a decision, and of who reads it.
var (
	ErrRecused = refusal.New(refusal.Conflict, "custodian.recused",
		"this custodian has recused themselves in this case and does not decide it: an alternate of theirs does, if the rules name one")
	ErrStandIn = refusal.New(refusal.Denied, "custodian.not_standing_in",
		"an alternate decides only where their custodian has recused themselves in this case or is away at this time, and names what they signed: nothing was stored; review the case again")
	ErrRequired = refusal.New(refusal.NotYet, "warrant.required_not_met",
		"as many custodians approved as it takes, and the rules require somebody among them who is not: nothing is released yet")
	ErrSaid = refusal.New(refusal.Conflict, "statement.said",
		"this custodian has said that in this case already, in other words, and what was said stands: nothing was stored")
	ErrManyQuestions = refusal.New(refusal.Conflict, "statement.too_many",
		"a custodian asks at most 5 questions in a case, and announces at most 5 absences that are not over: nothing was stored; wait for an answer, or decide")
	ErrAbsence = refusal.New(refusal.Invalid, "statement.absence_over",
		"the absence is over, began before it was announced, or begins more than a year from now: nothing was stored; name days to come")
	ErrNoQuestion = refusal.New(refusal.NotFound, "warrant.no_question",
		"no custodian has asked a question with that digest in the case of this warrant, or it is answered: escrow warrant status CASE --key shows the questions with their digests")
	ErrNotYourCase = refusal.New(refusal.Denied, "warrant.not_your_case",
		"only the authority that issued the warrant of this case, or one over it, reads what custodians say in it: ask with its key")
)

// maxSaid is how many questions one custodian asks in a case, and how many absences they have
// announced that are not over.
const maxSaid = 5

// Statement is what a custodian signed beside a decision.
type Statement struct {
	Digest      [32]byte // SHA-256 of Signed
	Signed      string   // the JWS, opening.VerifyStatement
	Kind        string   // opening.Question …
	Custodian   string
	Case        string    // id; "" of an absence
	From, Until time.Time // of an absence
	KeepDays    int       // of all others: how long they are kept behind the end of the case
	Answer      string    // of a question: the JWS of the ruling that answers it; "": none does yet
	AnsweredOn  string    // the day on which that was recorded, YYYY-MM-DD

	Revocation *[]string // what was filed with that ruling
}

// Recusal is a custodian's who does not judge a case.
type Recusal struct {
	Custodian string
	Statement string // hex SHA-256 of what they signed
}

// recusal is a custodian's in this case; nil: there is none.
func (c *Case) recusal(custodian string) *Recusal {
	i := slices.IndexFunc(c.Recusals, func(r Recusal) bool { return r.Custodian == custodian })
	if i < 0 {
		return nil
	}
	return &c.Recusals[i]
}

// mayStandIn is why the custodian, or the alternate who signed for them, does not decide this
// case now, or nil. away are the absences that are not over.
func (c *Case) mayStandIn(a *opening.Approval, away []Statement, now time.Time) error {
	recused := c.recusal(a.Custodian)
	switch {
	case a.Alternate == "" && recused != nil:
		return ErrRecused
	case a.Alternate == "", recused != nil && recused.Statement == a.Instead:
		return nil
	}
	if !slices.ContainsFunc(away, func(s Statement) bool {
		return s.Custodian == a.Custodian && hex.EncodeToString(s.Digest[:]) == a.Instead && !now.Before(s.From) && now.Before(s.Until)
	}) {
		return ErrStandIn
	}
	return nil
}

// Say stores what a custodian in force, or an alternate of theirs, says in a case: a question
// to its court, the reasons of a decision in words, or that they do not judge it.
func (r *Registrar) Say(ctx context.Context, id, signed string) error {
	b, err := r.Rules.InForce(ctx)
	if err != nil {
		return err
	}
	s, err := opening.VerifyStatement(signed, b)
	if err != nil {
		return err
	}
	if s.Case != id || s.At.After(r.Now().Add(time.Hour)) {
		return ErrWrongCase
	}
	about, err := r.Cases.Summary(ctx, id)
	if err != nil {
		return err
	}
	since, err := r.Rules.Since(ctx, about.Bundle)
	if err != nil {
		return err
	}
	said := Statement{Digest: policy.Hash(signed), Signed: signed, Kind: s.Kind, Custodian: s.Custodian, Case: id, KeepDays: max(1, since[0].AppealDays)}
	return r.Cases.Say(ctx, said, func(c Case, before []Statement) error { return c.maySay(s, before, r.Now()) })
}

// maySay is why a custodian does not say that in the case now, or nil.
func (c *Case) maySay(s *opening.Statement, before []Statement, now time.Time) error {
	_, closed := c.State.May(Decline)
	stands, decided := c.latest()[s.Custodian]
	same := 0
	for _, b := range before {
		if b.Kind == s.Kind && b.Custodian == s.Custodian {
			same++
		}
	}
	switch {
	case s.Warrant != hex.EncodeToString(c.WarrantHash[:]):
		return ErrWrongCase
	case !policy.KindOf(c.Kind).Decided:
		return ErrNothingToOpen
	case closed != nil && s.Kind != opening.Reasons:
		return closed
	case !now.Before(c.Expires):
		return policy.ErrExpired
	case s.Kind == opening.Question && same >= maxSaid:
		return ErrManyQuestions
	case s.Kind != opening.Question && same > 0:
		return ErrSaid
	case s.Kind == opening.Recusal && decided:
		return stands.stands("a recusal comes too late")
	}
	return nil
}

// Announce stores that a custodian in force is away for a time.
func (r *Registrar) Announce(ctx context.Context, signed string) error {
	b, err := r.Rules.InForce(ctx)
	if err != nil {
		return err
	}
	s, err := opening.VerifyStatement(signed, b)
	if err != nil {
		return err
	}
	now := r.Now()
	switch {
	case s.Kind != opening.Absence:
		return ErrWrongCase
	case !now.Before(s.Until), s.From.Before(now.UTC().Truncate(24*time.Hour).AddDate(0, 0, -1)), s.From.After(now.AddDate(1, 0, 0)):
		return ErrAbsence
	}
	return r.Cases.Announce(ctx, Statement{Digest: policy.Hash(signed), Signed: signed, Kind: s.Kind, Custodian: s.Custodian, From: s.From, Until: s.Until}, now, maxSaid)
}

// Inquire returns what custodians said in a case to the court that issued its warrant, or one
// over it, and the absences that are not over.
func (r *Registrar) Inquire(ctx context.Context, id, signed string) (said []opening.Said, away []string, err error) {
	b, err := r.Rules.InForce(ctx)
	if err != nil {
		return nil, nil, err
	}
	q, err := b.VerifyInquiry(signed, r.Now())
	if err != nil {
		return nil, nil, err
	}
	about, err := r.Cases.Summary(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if q.Case != id || q.Authority != about.Authority && !slices.Contains(b.Authority(q.Authority).Over, about.Authority) {
		return nil, nil, ErrNotYourCase
	}
	return r.said(ctx, id)
}

// said is what is shown of a case of what custodians said, and which absences are not over.
func (r *Registrar) said(ctx context.Context, id string) (said []opening.Said, away []string, err error) {
	all, err := r.Cases.Said(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range all {
		shown := opening.Said{Signed: s.Signed, Answer: s.Answer, AnsweredOn: s.AnsweredOn}
		if s.Revocation != nil {
			shown.Revocation = *s.Revocation
		}
		said = append(said, shown)
	}
	away, err = r.Absences(ctx)
	return said, away, err
}

// Absences are those of custodians that are not over, as they were signed.
func (r *Registrar) Absences(ctx context.Context) (signed []string, err error) {
	away, err := r.Cases.Absences(ctx, r.Now())
	for _, s := range away {
		signed = append(signed, s.Signed)
	}
	return signed, err
}

// required is what must be among those who approve the case.
func (c *Case) required(b *policy.Bundle) []policy.Required {
	if c.Warrant == nil || !policy.KindOf(c.Kind).Decided {
		return nil
	}
	return b.RequiredFor(c.Warrant.OffenceClass, c.Warrant.OffenceID)
}

// seat is the custodian that decided, as the rules had them then; one without a role if those
// are not among since.
func seat(since []*policy.Bundle, a Approval) policy.Custodian {
	for _, b := range since {
		if c := b.Custodian(a.Custodian); b.Hash() == a.Bundle && c != nil {
			return *c
		}
	}
	return policy.Custodian{ID: a.Custodian}
}

// supported is why nothing of these targets is opened though they are authorised, or nil: the
// decisions that are stored come to the quorum under one key, with whom the rules require.
func (c *Case) supported(which []int, since []*policy.Bundle) error {
	required := c.required(since[0])
	for _, i := range which {
		why := error(ErrQuorumNotMet)
		for _, b := range since {
			var seats []policy.Custodian
			for _, a := range c.latest() {
				if a.agrees(i) && sameKey(since, a.Bundle, b) {
					seats = append(seats, seat(since, a))
				}
			}
			met := len(policy.Unmet(required, seats)) == 0
			if len(seats) >= c.Quorum && met {
				why = nil
				break
			}
			if len(seats) >= c.Quorum {
				why = ErrRequired
			}
		}
		if why != nil {
			return why
		}
	}
	return nil
}

// What a case in the list is to who asks for the list.
const (
	Yours    = "yours"    // it waits for them
	Answered = "answered" // they decided it, or who shares their seat did
	Apart    = "recused"  // they recused themselves
	Standby  = "standby"  // they are an alternate, and their custodian is there
	Halted   = "stopped"  // by newer rules

	Suspended = "objected" // no court has answered an objection yet
	Early     = "early"    // the persons have not had their days yet
)

// Stand is where a custodian stands in a case.
type Stand struct {
	Recused  bool
	Bundle   string // hash of that under which they decided last; "": they have not
	Approved bool   // they agreed to some target then
	Objected bool   // an objection keeps the case from going on

	First bool      // the persons are told first
	From  time.Time // and had their days then; zero: they were not told yet
}

// Stand is where a custodian stands in the case.
func (c *Case) Stand(custodian string) Stand {
	a := c.latest()[custodian]
	is := Stand{Recused: c.recusal(custodian) != nil, Bundle: a.Bundle, Approved: a.Approved, Objected: c.UnderObjection(), First: c.First.Days != 0}
	if c.First.Leaf != 0 {
		is.From = c.ApproveFrom
	}
	return is
}

// waitsFor is what a case in the list is to a custodian, or to an alternate of theirs. since
// are the bundles from that of the case to the one in force.
func (s Summary) waitsFor(is Stand, alternate, away bool, since []*policy.Bundle, now time.Time) string {
	switch {
	case policy.Stopped(since[1:], s.Leaf, s.Authority, nil) != nil:
		return Halted
	case is.Bundle != "" && (!is.Approved || sameKey(since, is.Bundle, since[len(since)-1])):
		return Answered
	case is.Objected:
		return Suspended
	case is.First && is.From.IsZero(), now.Before(s.ApproveFrom):
		return Early
	case is.Recused && !alternate:
		return Apart
	case alternate && !is.Recused && !away:
		return Standby
	}
	return Yours
}

// WaitingFor is [Registrar.Waiting] for a custodian, or for an alternate of theirs, with what
// each case is to them.
func (r *Registrar) WaitingFor(ctx context.Context, custodian, alternate string, from Cursor) (page []Summary, yours []string, next Cursor, err error) {
	if page, next, err = r.Waiting(ctx, from); err != nil {
		return nil, nil, next, err
	}
	now := r.Now()
	absences, err := r.Cases.Absences(ctx, now)
	if err != nil {
		return nil, nil, next, err
	}
	away := slices.ContainsFunc(absences, func(s Statement) bool { return s.Custodian == custodian && !now.Before(s.From) })
	ids := make([]string, len(page))
	for i, s := range page {
		ids[i] = s.ID
	}
	stands, err := r.Cases.Stands(ctx, ids, custodian)
	if err != nil {
		return nil, nil, next, err
	}
	rules := make(map[string][]*policy.Bundle)
	for i, s := range page {
		if from := stands[s.ID].From; from.After(s.ApproveFrom) {
			s.ApproveFrom, page[i].ApproveFrom = from, from
		}
		since, known := rules[s.Bundle]
		if !known {
			if since, err = r.Rules.Since(ctx, s.Bundle); err != nil {
				return nil, nil, next, err
			}
			rules[s.Bundle] = since
		}
		yours = append(yours, s.waitsFor(stands[s.ID], alternate != "", away, since, now))
	}
	return page, yours, next, nil
}

// Next is what a custodian goes by of a case that waits: [Summary.Due] without the end of secrecy.
func (s Summary) Next() opening.Deadline {
	first := opening.Deadline{What: opening.DeadlineAnswer, At: s.answerBy().UTC()}
	if !s.ValidateBy.IsZero() && !s.Validated && s.ValidateBy.Before(first.At) {
		first = opening.Deadline{What: opening.DeadlineValidation, At: s.ValidateBy}
	}
	if s.Expires.Before(first.At) {
		first = opening.Deadline{What: opening.DeadlineExpiry, At: s.Expires}
	}
	return first
}
