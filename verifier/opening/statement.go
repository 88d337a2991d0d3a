package opening

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/refusal"
)

// Why what a custodian says beside a decision is refused.
var (
	ErrStatement = refusal.New(refusal.Invalid, "statement.malformed",
		"What was said is not a signed statement of the published form, or its text is none of 1 to 2,000 characters: make it with `escrow custodian ask`, `recuse` or `away`.")
	ErrStatementText = refusal.New(refusal.Invalid, "statement.bad_text",
		"What was said cannot be taken as it is: nothing was signed, kept or stored. Say it in 1 to 2,000 characters that can be displayed, and nothing hidden among them.")
	ErrStatementSigner = refusal.New(refusal.Unauthenticated, "statement.unknown_signer",
		"The statement is not signed by the custodian in force whom it names: nothing was stored; sign with your own folder.")
)

var statementFormat = &document.Format{
	Types: []string{"penname-statement+jwt"}, MaxBytes: 16 << 10, Algorithms: document.SignatureAlgorithms, ExactHeader: true, ExactPayload: true,
	Refusals: map[document.Fault]*refusal.Error{
		document.Malformed: ErrStatement, document.TooLarge: ErrStatement, document.Unsigned: ErrStatement,
		document.AlgNotAllowed: ErrStatement, document.BadSignature: ErrStatementSigner, document.CannotSign: policy.ErrKey,
	},
}

// What a custodian says beside a decision.
const (
	Question = "question" // to the court, about a case
	Reasons  = "reasons"  // of a decision, to the court, in words
	Recusal  = "recusal"  // that they do not judge a case; no refusal
	Absence  = "absence"  // that they are away for a time
)

// MaxStatement is how long the text of a statement is, in characters, and MaxAbsence how long
// one absence is.
const (
	MaxStatement = 2000
	MaxAbsence   = 184 * 24 * time.Hour
)

// Statement is what a custodian says beside a decision. Only the court of the case and
// custodians are shown its text.
type Statement struct {
	Kind      string    `json:"kind"`                // Question, Reasons, Recusal or Absence
	Custodian string    `json:"custodian"`           // id in the bundle
	Alternate string    `json:"alternate,omitempty"` // id of the alternate of theirs who says it; of a question and reasons alone
	Audience  string    `json:"audience"`            // the registrar's origin
	Case      string    `json:"case,omitempty"`      // of each but an absence
	Warrant   string    `json:"warrant,omitempty"`   // hex SHA-256 of the JWS of its warrant
	Text      string    `json:"text,omitempty"`      // at most MaxStatement characters; of each but an absence
	From      time.Time `json:"from,omitzero"`       // of an absence
	Until     time.Time `json:"until,omitzero"`      // likewise; it is over then
	At        time.Time `json:"at"`
}

// SignStatement returns the compact JWS of s.
func SignStatement(key jose.JSONWebKey, s Statement) (string, error) {
	payload, err := s.marshal()
	if err == nil {
		err = s.wellFormed()
	}
	if errors.Is(err, ErrStatementText) {
		return "", err
	}
	if err != nil {
		return "", ErrStatement.Because(err)
	}
	return statementFormat.Sign(key, payload)
}

// VerifyStatement checks that raw is signed by a custodian of b, or by an alternate of theirs
// where it may be.
func VerifyStatement(raw string, b *policy.Bundle) (*Statement, error) {
	s, signed, err := parseStatement(raw)
	if err != nil {
		return nil, err
	}
	if s.Audience != b.Registrar {
		return nil, ErrStatementSigner.Because(errors.New("it is addressed to another registrar"))
	}
	return s, b.VerifySeat(signed, s.Custodian, s.Alternate, ErrStatementSigner)
}

// ParseStatementUnverified reads a statement without asking who signed it.
func ParseStatementUnverified(raw string) (*Statement, error) {
	s, _, err := parseStatement(raw)
	return s, err
}

// StatementDigest is the hex SHA-256 by which a statement is named.
func StatementDigest(raw string) string {
	sum := sha256.Sum256([]byte(raw))
	return hex.EncodeToString(sum[:])
}

func parseStatement(raw string) (*Statement, *document.Signed, error) {
	signed, err := statementFormat.Open(raw)
	if err != nil {
		return nil, nil, err
	}
	s := new(Statement)
	if err := statementFormat.Read(signed.Payload, s, s.marshal); err != nil {
		return nil, nil, err
	}
	if err := s.wellFormed(); err != nil {
		return nil, nil, ErrStatement.Because(err)
	}
	return s, signed, nil
}

func (s *Statement) marshal() ([]byte, error) {
	second := func(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
	s.From, s.Until, s.At = second(s.From), second(s.Until), second(s.At)
	return document.Canonical(*s)
}

func (s *Statement) wellFormed() error {
	away := s.Kind == Absence
	switch {
	case s.Kind != Question && s.Kind != Reasons && s.Kind != Recusal && !away:
		return errors.New("kind is question, reasons, recusal or absence")
	case !custodianPattern.MatchString(s.Custodian), s.Alternate != "" && !custodianPattern.MatchString(s.Alternate):
		return errors.New("bad custodian")
	case s.Alternate != "" && s.Kind != Question && s.Kind != Reasons:
		return errors.New("a recusal and an absence are the custodian's own")
	case s.At.Year() < 2000, s.At.Year() > 9999, !document.Displayable(s.Audience, 200):
		return errors.New("bad time or audience")
	case away && (s.Case != "" || s.Warrant != "" || s.Text != ""):
		return errors.New("an absence is about no case, and gives no reason")
	case away && (s.From.IsZero() || !s.From.Before(s.Until) || s.Until.Sub(s.From) > MaxAbsence):
		return errors.New("an absence begins before it ends, and lasts at most 184 days")
	case away:
		return nil
	case !casePattern.MatchString(s.Case), !hashPattern.MatchString(s.Warrant), !s.From.IsZero(), !s.Until.IsZero():
		return errors.New("bad case or warrant")
	}
	return CheckText(s.Text)
}

// CheckText is [ErrStatementText] for what cannot be the text of a statement, with the reason in
// its cause: its length, or the character and its place.
func CheckText(text string) error {
	n := utf8.RuneCountInString(text)
	switch {
	case document.Blank(text):
		return ErrStatementText.Because(errors.New("it is empty"))
	case n > MaxStatement:
		return ErrStatementText.Because(fmt.Errorf("it has %d characters", n))
	}
	if err := policy.Undisplayable("the text", text, MaxStatement); err != nil {
		return ErrStatementText.Because(err)
	}
	return nil
}

// Covers reports whether an absence is in force at a time.
func (s *Statement) Covers(at time.Time) bool {
	return s.Kind == Absence && !at.Before(s.From) && at.Before(s.Until)
}

// Said is a statement in a case as the registrar shows it, with the court's answer to a
// question: the JWS of its ruling, "" while there is none. Where a certificate signed the answer
// it is judged on the day on which it was recorded, by the lists that were filed with it.
type Said struct {
	Signed     string   `json:"signed"`
	Answer     string   `json:"answer,omitempty"`
	AnsweredOn string   `json:"answered_on,omitempty"` // YYYY-MM-DD (UTC), by the registrar's word
	Revocation []string `json:"revocation,omitempty"`
}

// Answered returns what the court answered to a question, with the ruling that says it; nil if
// the answer is no ruling about this very question by the authority that issued the warrant or
// by one over it, under one of the bundles.
func (s Said) Answered(warrant *policy.Warrant, since ...*policy.Bundle) *policy.Warrant {
	r := verifyRuling(s.Answer, s.AnsweredOn, s.Revocation, warrant, since)
	if r == nil || r.Ruling.Outcome != policy.Answered || r.Ruling.Digest != StatementDigest(s.Signed) {
		return nil
	}
	return r
}

// verifyRuling returns a ruling that was recorded on a day, if it may be one about the warrant
// under one of the bundles; else nil.
func verifyRuling(raw, on string, revocation []string, warrant *policy.Warrant, since []*policy.Bundle) *policy.Warrant {
	day, _ := time.Parse(time.DateOnly, on) // of none, no certificate counts
	seen := policy.Seen{Span: policy.Span{First: day, Last: day.AddDate(0, 0, 1).Add(-1)}, Revocation: revocation}
	for _, b := range since {
		if r, err := b.VerifyRuling(raw, warrant, seen); err == nil {
			return r
		}
	}
	return nil
}
