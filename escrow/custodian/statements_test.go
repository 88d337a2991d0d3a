package custodian

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
	"github.com/penname/penname/verifier/opening/openingtest"
)

// standIn is the folder of Aldo, who is Alba's alternate in the bundle.
func standIn(t *testing.T) (*circle, *openingtest.World, *Custodian) {
	t.Helper()
	home := Home{Dir: filepath.Join(t.TempDir(), "aldo"), Passphrase: typed(passphrase), disk: plainDisk{}}
	aldo, err := home.Create(t.Context(), Identity{ID: "aldo", Name: "Aldo Moretti", Organisation: "Stand-ins"}, 1)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	card, err := aldo.Card()
	if err != nil {
		t.Fatal(err)
	}
	v, w := seated(t, func(draft *policy.Bundle) {
		draft.Custodians[0].Alternates = []policy.Alternate{{ID: card.ID, Name: card.Name, Organisation: card.Organisation, Key: card.Key, Recipient: card.Recipient}}
	})
	return v, w, aldo
}

// A share goes to the alternate alone, who takes it only if it is the custodian's: the public
// verification shares of the key in force say so.
func TestAShareIsHandedOverToTheAlternateAlone(t *testing.T) {
	v, w, aldo := standIn(t)
	alba, bruno := v.open("alba"), v.open("bruno")
	sealed, err := alba.Deputise(w.Bundle, "aldo")
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	for name, x := range map[string]struct{ have, want error }{
		"to nobody":            {second(alba.Deputise(w.Bundle, "nobody")), ErrNoAlternate},
		"to another's":         {second(bruno.Deputise(w.Bundle, "aldo")), ErrNoAlternate},
		"by the alternate":     {second(aldo.Deputise(w.Bundle, "aldo")), ErrNotInForce},
		"taken by a custodian": {bruno.Receive(w.Bundle, sealed), ErrNoPrincipal},
		"cut":                  {aldo.Receive(w.Bundle, sealed[:len(sealed)-1]), ErrHandedOver},
	} {
		if !errors.Is(x.have, x.want) {
			t.Errorf("%s: %v", name, x.have)
		}
	}
	// Bruno's share under Alba's name is not hers.
	ks, err := v.share("bruno", w.Bundle)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ks.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(handover{"alba", "aldo", raw})
	if err != nil {
		t.Fatal(err)
	}
	to, err := age.ParseHybridRecipient(w.Bundle.Custodians[0].Alternates[0].Recipient)
	if err != nil {
		t.Fatal(err)
	}
	framed, err := encrypt(to, text)
	if err != nil {
		t.Fatal(err)
	}
	if err := aldo.Receive(w.Bundle, framed); !errors.Is(err, ErrHandedOver) {
		t.Errorf("another custodian's share: %v", err)
	}
	for range 2 {
		if err := aldo.Receive(w.Bundle, sealed); err != nil {
			t.Fatal(err, errors.Unwrap(err))
		}
	}
	pk := v.key(w.Bundle)
	if mine, err := aldo.folder.share(pk); err != nil || mine.Index() != w.Bundle.Custodians[0].Index {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }

// An alternate signs for the custodian, names what that one signed, and signs nothing without
// it. What a registrar makes up is no statement.
func TestAnAlternateNamesWhyTheyAnswer(t *testing.T) {
	v, w, aldo := standIn(t)
	alba, bruno := v.open("alba"), v.open("bruno")
	sealed, err := alba.Deputise(w.Bundle, "aldo")
	if err == nil {
		err = aldo.Receive(w.Bundle, sealed)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, at := w.File(1, 1, nil), openingtest.Now
	f := c.CaseFile()
	forged, err := opening.SignStatement(bruno.Key(), opening.Statement{Kind: opening.Absence, Custodian: "alba", Audience: w.Bundle.Registrar, From: at.Add(-time.Hour), Until: at.Add(time.Hour), At: at})
	if err != nil {
		t.Fatal(err)
	}
	past, err := alba.Away(w.Bundle, at.AddDate(0, 0, -9), at.AddDate(0, 0, -2), at)
	if err != nil {
		t.Fatal(err)
	}
	other, err := alba.State(f.Case, f, v.since, opening.Recusal, "of another case", at)
	if err != nil {
		t.Fatal(err)
	}
	f.Absences, f.Said = []string{forged, past}, []opening.Said{{Signed: strings.Replace(other, ".", ".x", 1)}}
	if _, err := alba.Away(w.Bundle, at, at.Add(opening.MaxAbsence+time.Second), at); !errors.Is(err, opening.ErrStatement) {
		t.Errorf("away for ever: %v", err)
	}
	if _, err := aldo.Away(w.Bundle, at, at.Add(time.Hour), at); !errors.Is(err, ErrNotInForce) {
		t.Errorf("an alternate's absence: %v", err)
	}
	decides := func() (string, error) {
		r, err := aldo.Review(f.Case, f, v.since, at)
		if err != nil {
			t.Fatal(err)
		}
		return aldo.Decline(r, "incomplete", at)
	}
	if _, err := decides(); !errors.Is(err, ErrNotStandingIn) {
		t.Errorf("signed though Alba is there: %v", err)
	}
	away, err := alba.Away(w.Bundle, at.Add(-time.Hour), at.Add(time.Hour), at)
	if err != nil {
		t.Fatal(err)
	}
	f.Absences = append(f.Absences, away)
	signed, err := decides()
	if err != nil {
		t.Fatal(err)
	}
	a, err := opening.VerifyApproval(signed, w.Bundle)
	if err != nil || a.Custodian != "alba" || a.Alternate != "aldo" || a.Instead != opening.StatementDigest(away) {
		t.Errorf("%+v, %v", a, err)
	}
	shown := Statements(f.Case, f.Submission.Warrant, f.Said, f.Absences, w.Bundle)
	if len(shown) != 2 || slices.ContainsFunc(shown, func(s Said) bool { return s.Kind != opening.Absence || s.By != "alba" }) {
		t.Errorf("%+v", shown)
	}
}

// rules is a ruling of the court on something said in a case, signed with a key of somebody.
func rules(t *testing.T, w *openingtest.World, f opening.CaseFile, key, digest, outcome, grounds string) string {
	t.Helper()
	d, err := policy.FollowUp(policy.Ruling, f.Submission.Warrant, &w.Bundle.Authorities[0], grounds)
	if err != nil {
		t.Fatal(err)
	}
	d.Ruling = &policy.RulingOn{Digest: digest, Outcome: outcome}
	d.Complete(w.Bundle, [16]byte{1}, openingtest.Now)
	signed, err := policy.SignWarrant(w.Key(key), *d)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	return signed
}

// A question is bound to its case, and only its own court's answer to it is shown.
func TestAnAnswerIsTheCourtsToThatQuestion(t *testing.T) {
	v, w := seated(t, nil)
	c, at := w.File(1, 1, nil), openingtest.Now
	f := c.CaseFile()
	asked, err := v.open("alba").State(f.Case, f, v.since, opening.Question, "Which post is meant?", at)
	if err != nil {
		t.Fatal(err, errors.Unwrap(err))
	}
	answer := func(key, digest, outcome string) string {
		return rules(t, w, f, key, digest, outcome, "The first one.")
	}
	court, digest := w.Bundle.Authorities[0], opening.StatementDigest(asked)
	for name, x := range map[string]struct{ answer, want string }{
		"no answer":           {"", ""},
		"the court's":         {answer("court", digest, policy.Answered), "The first one."},
		"to another question": {answer("court", strings.Repeat("a", 64), policy.Answered), ""},
		"to an objection":     {answer("court", digest, policy.Dismissed), ""},
		"signed by another":   {answer("alba", digest, policy.Answered), ""},
	} {
		shown := Statements(f.Case, f.Submission.Warrant, []opening.Said{{Signed: asked, Answer: x.answer}}, nil, w.Bundle)
		if len(shown) != 1 || shown[0].Answer != x.want || shown[0].Text != "Which post is meant?" {
			t.Errorf("%s: %+v", name, shown)
		}
		over := policy.Authority{ID: "superior", Over: []string{court.ID}}
		for _, asks := range []policy.Authority{court, over} { // who know the case alone
			if shown := StatementsTo(&asks, f.Case, []opening.Said{{Signed: asked, Answer: x.answer}}, nil, w.Bundle); len(shown) != 1 || shown[0].Answer != x.want {
				t.Errorf("%s, to %s: %+v", name, asks.ID, shown)
			}
		}
		if shown := StatementsTo(&policy.Authority{ID: "another"}, f.Case, []opening.Said{{Signed: asked, Answer: x.answer}}, nil, w.Bundle); shown[0].Answer != "" {
			t.Errorf("%s, to another court: %+v", name, shown)
		}
	}
	if shown := Statements("other", "", []opening.Said{{Signed: asked}}, nil, w.Bundle); len(shown) != 0 {
		t.Error("shown in another case")
	}
}

// Who recused themselves signs no answer, though the folder could: not after a review, and not
// in words that the registrar has to refuse. A recusal is no reason to decline.
func TestARecusedCustodianSignsNothing(t *testing.T) {
	v, w := seated(t, nil)
	c, at := w.File(1, 1, nil), openingtest.Now
	f := c.CaseFile()
	alba, r := v.reads("alba", c, f)
	if _, err := alba.Decline(r, "recused", at); !errors.Is(err, ErrUseRecuse) {
		t.Errorf("declined as recused: %v", err)
	}
	said, err := alba.State(f.Case, f, v.since, opening.Recusal, "I know the complainant.", at)
	if err != nil {
		t.Fatal(err)
	}
	f.Said = []opening.Said{{Signed: said}}
	alba, r = v.reads("alba", c, f)
	if _, err := alba.Decline(r, "incomplete", at); !errors.Is(err, ErrYouRecused) {
		t.Errorf("declined: %v", err)
	}
	if _, err := alba.Approve(r, yes, at); !errors.Is(err, ErrYouRecused) {
		t.Errorf("approved: %v", err)
	}
	if signed, err := alba.signedIn(f.Case); err != nil || len(signed) != 0 {
		t.Errorf("kept: %v, %v", signed, err)
	}
	if !strings.Contains(r.String(), "! you recused yourself in this case") {
		t.Error(r)
	}
}

// What cannot be said is refused with its place or its length, before anything is signed.
func TestWhatCannotBeSaidIsNamed(t *testing.T) {
	v, w := seated(t, nil)
	f := w.File(1, 1, nil).CaseFile()
	for text, want := range map[string]string{
		" ":                       "it is empty",
		"x\u202Ey":                "the text, character 2, is U+202E",
		"one\ttwo":                "the text, character 4, is U+0009",
		strings.Repeat("é", 2001): "it has 2001 characters",
	} {
		_, err := v.open("alba").State(f.Case, f, v.since, opening.Reasons, text, openingtest.Now)
		if !errors.Is(err, opening.ErrStatementText) || !strings.Contains(errors.Unwrap(err).Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
