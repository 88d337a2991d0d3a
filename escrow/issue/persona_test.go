package issue_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/sandbox"
	"github.com/penname/penname/verifier/token"
)

// named is a person with so many pen names at town-square.
func named(t *testing.T, s *issue.Issuer, n int) (issue.Person, []issue.PenName) {
	t.Helper()
	p, _, err := s.Enrol(t.Context(), zoe())
	for persona := range n {
		if err == nil {
			_, _, err = s.Pseudonym(t.Context(), p, "town-square", persona)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	names, err := s.PenNames(t.Context(), p, []string{"school-forum", "town-square"})
	if err != nil || len(names) != n {
		t.Fatal(names, err)
	}
	return p, names
}

// Whatever is done with all pen names of a person is done with each: they are found, signed
// out, and lead to the new record of whoever comes back, the retired ones too. Neither a ban
// nor a cool-down is left by being deleted and coming back.
func TestAllPersonasAreFound(t *testing.T) {
	s := newIssuer(t)
	p, names := named(t, s, 5)
	for i, n := range names {
		if n.Persona != i || n.Platform != "town-square" || slices.Index(issue.Pseudonyms(names), n.Pseudonym) != i {
			t.Errorf("%d: %+v", i, n)
		}
	}
	var ended []token.Pseudonym
	end := func(_ context.Context, names ...token.Pseudonym) error {
		ended = append(ended, names...)
		return nil
	}
	if err := s.Retire(t.Context(), names[3], end); err != nil || !slices.Equal(ended, issue.Pseudonyms(names[3:4])) {
		t.Errorf("%v, %v", ended, err)
	}
	if err := s.Ban(t.Context(), "town-square", names[2].Pseudonym, true); err != nil {
		t.Fatal(err)
	}
	ended = nil
	if _, err := s.Erase(t.Context(), p, nil, []string{"town-square"}, end); err != nil || !slices.Equal(ended[:5], issue.Pseudonyms(names)) {
		t.Errorf("%v, %v", ended, err)
	}
	back, _, err := s.Return(t.Context(), zoe(), []string{"town-square"})
	if err != nil || back.ID != p.ID || back.Label == p.Label {
		t.Fatal(back, err)
	}
	for _, n := range names {
		rows, err := s.Store.Assigned(t.Context(), []token.Pseudonym{n.Pseudonym})
		if err != nil || len(rows) != 2 {
			t.Errorf("%d: %d rows, %v", n.Persona, len(rows), err)
		}
	}
	again, err := s.PenNames(t.Context(), back, []string{"town-square"})
	if err == nil {
		err = s.Notes(t.Context(), back, again)
	}
	if err != nil || !slices.Equal(issue.Pseudonyms(again), issue.Pseudonyms(names)) || again[3].Retired.IsZero() || !again[2].Banned || s.Room(again, 5) {
		t.Errorf("%+v, %v", again, err)
	}
}

// A retired pen name is not in use from then on, for whoever asks last, and the day stays the
// first one. Its place is taken until the cool-down is over, and while a ban is reported.
func TestRetiredTakesAPlaceUntilItIsFree(t *testing.T) {
	s := newIssuer(t)
	now := time.Now()
	s.Now = func() time.Time { return now }
	p, _ := named(t, s, 2)
	noted := func() []issue.PenName {
		t.Helper()
		names, err := s.PenNames(t.Context(), p, []string{"town-square"})
		if err == nil {
			err = s.Notes(t.Context(), p, names)
		}
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	retire := func(n issue.PenName) {
		t.Helper()
		if err := s.Retire(t.Context(), n, func(context.Context, ...token.Pseudonym) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	before := noted()
	retire(before[1])
	now = now.AddDate(0, 0, 10)
	retire(before[1]) // by a page that was open
	if err := s.Confirm(t.Context(), issue.Person{}, issue.Session{}, before[1].Pseudonym, "town-square"); !errors.Is(err, issue.ErrPersonaUnknown) {
		t.Error(err)
	}
	if err := s.Confirm(t.Context(), issue.Person{}, issue.Session{}, before[0].Pseudonym, "town-square"); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		days   int
		banned bool
		room   bool
	}{{0, false, false}, {issue.CoolDown - 11, false, false}, {issue.CoolDown - 10, false, true}, {issue.CoolDown, true, false}, {10 * issue.CoolDown, true, false}, {10 * issue.CoolDown, false, true}} {
		begin := now
		now = now.AddDate(0, 0, c.days)
		if err := s.Ban(t.Context(), "town-square", before[1].Pseudonym, c.banned); err != nil {
			t.Fatal(err)
		}
		if names := noted(); s.Room(names, 2) != c.room || s.Room(names, 1) || !s.Room(names, 3) {
			t.Errorf("after %d days, banned %v: room %v", c.days, c.banned, s.Room(names, 2))
		}
		now = begin
	}
}

// What a person calls a pen name opens for that pen name of that person alone: a box that is
// moved to another one, or altered, opens for nobody.
func TestAliasOpensForItsPenNameAlone(t *testing.T) {
	s := newIssuer(t)
	p, names := named(t, s, 2)
	if err := s.Call(t.Context(), p, names[0], "at work"); err != nil {
		t.Fatal(err)
	}
	if err := s.Call(t.Context(), p, names[1], strings.Repeat("x", issue.MaxAlias+1)); err == nil {
		t.Error("a name that is too long was stored")
	}
	if err := s.Notes(t.Context(), p, names); err != nil || names[0].Alias != "at work" || names[1].Alias != "" {
		t.Fatalf("%+v, %v", names, err)
	}
	noted, err := s.Store.Noted(t.Context(), names[0].Pseudonym)
	if err != nil {
		t.Fatal(err)
	}
	box := noted[0][issue.NoteAlias]
	stranger := p
	stranger.ID[0] ^= 1
	if err := s.Notes(t.Context(), stranger, slices.Clone(names[:1])); err == nil {
		t.Error("it opens for somebody else")
	}
	for what, moved := range map[string][]byte{"moved": box, "cut": box[:len(box)-1], "altered": append(slices.Clone(box[:len(box)-1]), box[len(box)-1]^1), "empty": {}} {
		if err := s.Store.Note(t.Context(), issue.Note{Name: names[1].Pseudonym, Kind: issue.NoteAlias, Text: moved, Day: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if err := s.Notes(t.Context(), p, slices.Clone(names)); err == nil {
			t.Errorf("a box that is %s opens", what)
		}
	}
}

// N02: a pen name follows from a key that never leaves the key service, and not from what
// is known of a person: with another key the same person has another one.
func TestN02WhoKnowsThePersonCannotGuessThePenName(t *testing.T) {
	s := newIssuer(t)
	p, names := named(t, s, 1)
	other, _, _ := sandbox.NewKeyring(sandbox.NewSecret())
	guesses := *s
	guesses.Keys = other
	guess, _, err := guesses.Pseudonym(t.Context(), p, "town-square", 0)
	if err != nil || guess == names[0].Pseudonym {
		t.Error(guess, err)
	}
}
