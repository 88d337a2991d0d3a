package custodian

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/penname/penname/escrow/seal/threshold"
	"github.com/penname/penname/escrow/secretfile"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/refusal"
)

// Why a share is not handed over or taken, and why an alternate does not answer.
var (
	ErrNoAlternate = refusal.New(refusal.NotFound, "custodian.no_alternate",
		"the rules in force name no alternate of yours with that id: nothing was written; have the custodians endorse rules that do")
	ErrHandedOver = refusal.New(refusal.Invalid, "custodian.bad_handover",
		"the file does not hold the share of the custodian for whom this folder steps in, by the rules in force: no share was kept; have them make it anew with escrow custodian deputise, under these rules")
	ErrNoPrincipal = refusal.New(refusal.Denied, "custodian.no_principal",
		"the rules in force do not name this folder as the alternate of any custodian, so it takes nobody's share: no share was kept; whoever steps in for a custodian gives their card to the operator, and takes the share once rules that name them are in force")
	ErrNotYourSeat = refusal.New(refusal.Denied, "custodian.not_your_seat",
		"a recusal is for the custodian of the seat, and you step in for them: nothing was signed; if you have an interest in the case, tell them, and do not answer it")
	ErrAwayDays = refusal.New(refusal.Invalid, "custodian.away_days",
		"an absence is from a day until a later one, on which you are back, by at most 184 days: nothing was signed; choose other days")
	ErrAwayBefore = refusal.New(refusal.Invalid, "custodian.away_before",
		"nobody is away before they said so: nothing was signed; the first day is today or a day to come, by UTC")
	ErrNotStandingIn = refusal.New(refusal.Denied, "custodian.principal_decides",
		"you step in for a custodian who has neither recused themselves in this case nor announced that they are away: nothing was signed, for they decide it")
)

// Said is what a custodian said beside a decision, for who reads it.
type Said struct {
	Kind   string    `json:"kind"` // opening.Question …
	By     string    `json:"by"`   // id of the custodian, and of the alternate who said it
	Text   string    `json:"text,omitempty"`
	Digest string    `json:"digest"` // by which it is answered
	At     time.Time `json:"at"`
	From   time.Time `json:"from,omitzero"` // of an absence
	Until  time.Time `json:"until,omitzero"`
	Answer string    `json:"answer,omitempty"` // of the court, to a question
}

// Statements verifies what the registrar shows of what custodians said in a case, and of their
// absences: each is signed by a custodian of one of the bundles, about this very warrant, and a
// question is answered by its court. What is not is left out: nobody is blamed for what a
// registrar may have made up.
func Statements(id, warrant string, said []opening.Said, absences []string, since ...*policy.Bundle) (all []Said) {
	w, err := policy.ParseUnverified(warrant)
	if err != nil {
		w = &policy.Warrant{}
	}
	return statements(id, fmt.Sprintf("%x", policy.Hash(warrant)), []string{w.Authority}, said, absences, since)
}

// StatementsTo is [Statements] to an authority that asks by the case alone: its own, or that of
// one that it is over. Which warrant a question is about, the question itself says.
func StatementsTo(authority *policy.Authority, id string, said []opening.Said, absences []string, since ...*policy.Bundle) []Said {
	return statements(id, "", append([]string{authority.ID}, authority.Over...), said, absences, since)
}

// statements are those about that warrant, any if it has no hash here, which one of those
// authorities issued.
func statements(id, warrant string, issued []string, said []opening.Said, absences []string, since []*policy.Bundle) (all []Said) {
	for _, a := range absences {
		said = append(said, opening.Said{Signed: a})
	}
	for _, x := range said {
		for _, b := range since {
			s, err := opening.VerifyStatement(x.Signed, b)
			if err != nil || s.Kind != opening.Absence && (s.Case != id || warrant != "" && s.Warrant != warrant) {
				continue
			}
			one := Said{Kind: s.Kind, By: s.Custodian + after(", by ", s.Alternate), Text: s.Text, Digest: opening.StatementDigest(x.Signed), At: s.At, From: s.From, Until: s.Until}
			if s.Kind == opening.Question {
				for _, authority := range issued {
					if ruling := x.Answered(&policy.Warrant{Authority: authority}, since...); ruling != nil && ruling.Earlier == s.Warrant {
						one.Answer = ruling.Grounds
					}
				}
			}
			all = append(all, one)
			break
		}
	}
	return all
}

// String is for a person at a terminal.
func (s Said) String() string {
	day := s.At.UTC().Format(time.DateOnly)
	switch s.Kind {
	case opening.Absence:
		return document.Printable(fmt.Sprintf("%s is away from %s until %s\n", s.By, s.From.UTC().Format(time.DateOnly), s.Until.UTC().Format(time.DateOnly)))
	case opening.Recusal:
		return document.Printable(fmt.Sprintf("%s does not judge this case, said on %s:\n", s.By, day)) + Quoted(document.Visible(s.Text))
	case opening.Reasons:
		return document.Printable(fmt.Sprintf("%s gives reasons to the court, on %s:\n", s.By, day)) + Quoted(document.Visible(s.Text))
	}
	text := document.Printable(fmt.Sprintf("%s asks the court, on %s (question %s):\n", s.By, day, s.Digest)) + Quoted(document.Visible(s.Text))
	if s.Answer == "" {
		return text + "  the court has not answered yet\n"
	}
	return text + "  the court answers:\n" + Quoted(document.Visible(s.Answer))
}

// seat is whose seat the folder's key has under a bundle: a custodian's, and as which
// alternate of theirs, "" as none.
func (c *Custodian) seat(b *policy.Bundle) (custodian, alternate string) {
	print, err := c.key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", ""
	}
	return b.SeatOfKey(base64.RawURLEncoding.EncodeToString(print))
}

// standsIn is what lets an alternate answer in a case at a time: the recusal or
// of the absence that their custodian signed; [ErrNotStandingIn] without one.
func (r *Review) standsIn(custodian string, at time.Time) (*Said, error) {
	for i, s := range r.Said {
		if s.By == custodian && (s.Kind == opening.Recusal || s.Kind == opening.Absence && !at.Before(s.From) && at.Before(s.Until)) {
			return &r.Said[i], nil
		}
	}
	return nil, ErrNotStandingIn
}

// State signs what the custodian says in a case beside a decision: a question to the court, the
// reasons of a decision in words, or a recusal. The public log must hold the case; whether it
// can be approved is not asked.
func (c *Custodian) State(id string, f opening.CaseFile, since []*policy.Bundle, kind, text string, at time.Time) (signed string, err error) {
	r, err := c.check(id, f, since, at)
	if err != nil {
		return "", err
	}
	custodian, alternate := c.seat(r.inForce())
	switch {
	case custodian == "":
		return "", ErrNotInForce
	case alternate != "" && kind == opening.Recusal:
		return "", ErrNotYourSeat
	}
	return opening.SignStatement(c.key, opening.Statement{Kind: kind, Custodian: custodian, Alternate: alternate, Audience: r.inForce().Registrar,
		Case: id, Warrant: r.shown.Warrant, Text: strings.TrimSpace(text), At: at})
}

// CheckAway says whether a custodian can announce at a time that they are away between two days:
// [ErrAwayDays], [ErrAwayBefore].
func CheckAway(from, until, at time.Time) error {
	switch {
	case !from.Before(until) || until.Sub(from) > opening.MaxAbsence:
		return ErrAwayDays
	case from.Before(at.UTC().Truncate(24 * time.Hour)):
		return ErrAwayBefore
	}
	return nil
}

// Away signs that the custodian is away between two times.
func (c *Custodian) Away(inForce *policy.Bundle, from, until, at time.Time) (signed string, err error) {
	custodian, alternate := c.seat(inForce)
	if custodian == "" || alternate != "" {
		return "", ErrNotInForce
	}
	return opening.SignStatement(c.key, opening.Statement{Kind: opening.Absence, Custodian: custodian, Audience: inForce.Registrar, From: from, Until: until, At: at})
}

// Alternates are those whom the bundle names for the folder's seat.
func (c *Custodian) Alternates(b *policy.Bundle) []policy.Alternate {
	id, _ := c.seat(b)
	if id == "" {
		return nil
	}
	return b.Custodian(id).Alternates
}

// Absences are those that the custodian of the folder's seat announced, of what the registrar shows.
func (c *Custodian) Absences(shown []string, inForce *policy.Bundle) []Said {
	id, _ := c.seat(inForce)
	return slices.DeleteFunc(Statements("", "", nil, shown, inForce), func(s Said) bool { return s.By != id })
}

// handover is a share on its way to an alternate.
type handover struct {
	Custodian string `json:"custodian"`
	Alternate string `json:"alternate"`
	Share     []byte `json:"share"`
}

// Deputise encrypts the custodian's share of the key in force to an alternate of theirs, whom
// those rules name. What it returns is for that alternate alone; everybody else sees nothing in
// it.
func (c *Custodian) Deputise(inForce *policy.Bundle, alternate string) (sealed []byte, err error) {
	id, as := c.seat(inForce)
	if id == "" || as != "" {
		return nil, ErrNotInForce
	}
	a := inForce.Custodian(id).Alternate(alternate)
	if a == nil {
		return nil, ErrNoAlternate
	}
	pk, err := threshold.ParsePublicKey(inForce.ThresholdKey)
	if err != nil {
		return nil, err
	}
	ks, err := c.folder.share(pk)
	if err != nil {
		return nil, err
	}
	raw, err := ks.MarshalBinary()
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	clearText, err := json.Marshal(handover{id, a.ID, raw})
	if err != nil {
		return nil, err
	}
	defer clear(clearText)
	to, err := age.ParseHybridRecipient(a.Recipient)
	if err != nil {
		return nil, ErrNoAlternate.Because(err)
	}
	return encrypt(to, clearText)
}

// Receive takes the share that a custodian handed over to this folder, and keeps it: it is
// theirs, and right, by the public verification shares of the key in force.
func (c *Custodian) Receive(inForce *policy.Bundle, sealed []byte) error {
	id, alternate := c.seat(inForce)
	if alternate == "" {
		return ErrNoPrincipal
	}
	identity, err := c.exhibitIdentity()
	if err != nil {
		return err
	}
	by, err := age.ParseHybridIdentity(identity)
	if err != nil {
		return ErrSecret
	}
	text, err := decrypt(sealed, by)
	if err != nil {
		return ErrHandedOver // the cause says nothing more
	}
	defer clear(text)
	var h handover
	if json.Unmarshal(text, &h) != nil || h.Custodian != id || h.Alternate != alternate {
		return ErrHandedOver.Because(errors.New("it is for somebody else"))
	}
	defer clear(h.Share)
	pk, err := threshold.ParsePublicKey(inForce.ThresholdKey)
	if err != nil {
		return err
	}
	var ks threshold.KeyShare
	if err := ks.UnmarshalBinary(h.Share); err != nil {
		return ErrHandedOver
	}
	if ks.Index() != inForce.Custodian(id).Index || ks.Check(pk) != nil {
		return ErrHandedOver.Because(errors.New("it is not the share of this custodian under the key in force"))
	}
	if err := c.folder.adopt(ks); err != nil && !errors.Is(err, secretfile.ErrExists) {
		return err
	}
	return nil
}

// required says for whom the rules ask among those who approve the case, and whether they are
// among those whose decisions are told by now.
func (r *Review) required(d policy.Decision) {
	var seats []policy.Custodian
	for _, raw := range r.file.Approvals {
		a, err := opening.VerifyApproval(raw, r.since...)
		if err != nil || a.Case != r.Case {
			continue
		}
		i := slices.IndexFunc(r.since, func(b *policy.Bundle) bool { return b.Hash() == a.Signers() })
		if seat := r.since[i].Custodian(a.Custodian); seat != nil {
			seats = append(seats, *seat)
		}
	}
	for _, want := range d.Required {
		so := "not yet, as far as decisions are told"
		if want.MetBy(seats) {
			so = "so it is"
		}
		r.Notices = append(r.Notices, fmt.Sprintf("%s must be among those who approve: %s", want, so))
	}
}
