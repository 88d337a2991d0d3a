package disclosetest

import (
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// statement is one that nobody signed: a store does not ask.
func statement(kind, custodian, caseID, text string) disclose.Statement {
	s := disclose.Statement{Digest: policy.Hash(text), Signed: text, Kind: kind, Custodian: custodian, Case: caseID, KeepDays: 30}
	if kind == opening.Absence {
		s.KeepDays, s.From, s.Until = 0, Day, Day.AddDate(0, 0, 7)
	}
	return s
}

func mayAll(disclose.Case, []disclose.Statement) error { return nil }

// said: what custodians say is stored once, in order, with the court's answer, and dropped
// when the time to appeal is over.
func said(t *testing.T, s Store) {
	ctx := t.Context()
	c, leaf := Order(t, policy.Production, 1)
	c = file(t, s, c, leaf)
	if err := s.Say(ctx, statement(opening.Question, "bar", "nocase", "?"), mayAll); !errors.Is(err, disclose.ErrNoCase) {
		t.Errorf("in no case: %v", err)
	}
	first, second, recused := statement(opening.Question, "bar", c.ID, "first"), statement(opening.Question, "press", c.ID, "second"), statement(opening.Recusal, "bar", c.ID, "recused")
	for n, x := range []disclose.Statement{first, second, recused, first} {
		err := s.Say(ctx, x, func(at disclose.Case, before []disclose.Statement) error {
			if at.ID != c.ID || len(before) != n || n == 3 {
				t.Errorf("%d: asked with %d before", n, len(before))
			}
			return nil
		})
		if err != nil {
			t.Fatal(n, err)
		}
	}
	if err := s.Say(ctx, statement(opening.Reasons, "bar", c.ID, "no"), func(disclose.Case, []disclose.Statement) error { return disclose.ErrSaid }); !errors.Is(err, disclose.ErrSaid) {
		t.Errorf("what may not be said: %v", err)
	}
	if all := must[[]disclose.Statement](t)(s.Said(ctx, c.ID)); len(all) != 3 || all[0] != first || all[1] != second || all[2] != recused {
		t.Errorf("%+v", all)
	}
	read := must[disclose.Case](t)(s.Case(ctx, c.ID))
	want := disclose.Recusal{Custodian: "bar", Statement: hex.EncodeToString(recused.Digest[:])}
	if !slices.Equal(read.Recusals, []disclose.Recusal{want}) {
		t.Errorf("recused: %+v", read.Recusals)
	}
	other, leaf := Order(t, policy.Production, 1)
	other = file(t, s, other, leaf, Votes("bar", 0))
	stands := must[map[string]disclose.Stand](t)(s.Stands(ctx, []string{c.ID, other.ID, "nocase"}, "bar"))
	if len(stands) != 2 || stands[c.ID] != (disclose.Stand{Recused: true}) || stands[other.ID] != (disclose.Stand{Bundle: other.Bundle, Approved: true}) {
		t.Errorf("where bar stands: %+v", stands)
	}
	answers := func(digest [32]byte) (disclose.Case, error) {
		w, leaf := About(t, policy.Ruling, c, c.Authority)
		w.Warrant.Ruling = &policy.RulingOn{Digest: hex.EncodeToString(digest[:]), Outcome: policy.Answered}
		return s.File(ctx, w, leaf)
	}
	asked := func(questions int) {
		t.Helper()
		got := must[map[string]disclose.Asked](t)(s.Asked(ctx, []string{c.ID, other.ID, "nocase"}))
		if want := map[string]disclose.Asked{c.ID: {Questions: questions}}; !maps.Equal(got, want) {
			t.Errorf("asked: %v, not %v", got, want)
		}
	}
	asked(2)
	ruling := must[disclose.Case](t)(answers(second.Digest))
	asked(1)
	size := must[int64](t)(s.Size(ctx))
	for name, digest := range map[string][32]byte{"answered twice": second.Digest, "of no question": recused.Digest, "of nothing": {1}} {
		if _, err := answers(digest); !errors.Is(err, disclose.ErrNoQuestion) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := must[int64](t)(s.Size(ctx)); n != size {
		t.Error("a ruling on nothing is in the log")
	}
	if all := must[[]disclose.Statement](t)(s.Said(ctx, c.ID)); all[1].Answer != ruling.Submission.Warrant || all[1].AnsweredOn == "" || all[1].Revocation == nil || all[0].Answer != "" || len(must[disclose.Case](t)(s.Case(ctx, c.ID)).Targets) != 1 {
		t.Errorf("the answer: %+v", all)
	}
	saidIsDropped(t, s, c)
}

// saidIsDropped: nothing goes while the case is open, or while somebody can appeal.
func saidIsDropped(t *testing.T, s Store, c disclose.Case) {
	ctx := t.Context()
	late := c.Expires.AddDate(1, 0, 0)
	drop := func(at time.Time) int {
		must[int](t)(s.DropExhibits(ctx, at))
		return len(must[[]disclose.Statement](t)(s.Said(ctx, c.ID)))
	}
	if n := drop(late); n != 3 {
		t.Errorf("%d are left of a case that is open", n)
	}
	must[disclose.Case](t)(s.Apply(ctx, c.ID, Expire))
	if n := drop(c.Expires.AddDate(0, 0, 1)); n != 3 {
		t.Errorf("%d are left while somebody can appeal", n)
	}
	if n := drop(late); n != 0 {
		t.Errorf("%d are left after the time to appeal", n)
	}
}

// absences: announced once, in order, until they are over.
func absences(t *testing.T, s Store) {
	ctx := t.Context()
	away := func(custodian, text string, days int) disclose.Statement {
		x := statement(opening.Absence, custodian, "", text)
		x.From, x.Until = Day.AddDate(0, 0, days), Day.AddDate(0, 0, days+7)
		return x
	}
	later, sooner := away("bar", "later", 10), away("bar", "sooner", 0)
	for _, x := range []disclose.Statement{later, sooner, later} {
		if err := s.Announce(ctx, x, Day, 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Announce(ctx, away("bar", "more", 30), Day, 2); !errors.Is(err, disclose.ErrManyQuestions) {
		t.Errorf("a third one: %v", err)
	}
	if err := s.Announce(ctx, away("press", "another", 3), Day, 2); err != nil {
		t.Error(err)
	}
	texts := func(at time.Time) string {
		var all []string
		for _, x := range must[[]disclose.Statement](t)(s.Absences(ctx, at)) {
			all = append(all, x.Signed)
		}
		return strings.Join(all, " ")
	}
	for days, want := range map[int]string{0: "sooner another later", 7: "another later", 17: ""} {
		if have := texts(Day.AddDate(0, 0, days)); have != want {
			t.Errorf("after %d days: %s", days, have)
		}
	}
	if err := s.Announce(ctx, away("bar", "much later", 40), Day.AddDate(0, 0, 8), 2); err != nil {
		t.Errorf("after one is over: %v", err)
	}
}

// Say implements [disclose.Cases].
func (m *Memory) Say(_ context.Context, s disclose.Statement, may func(disclose.Case, []disclose.Statement) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.find(withID(s.Case))
	if !ok {
		return disclose.ErrNoCase
	}
	before := m.saidIn(s.Case)
	if slices.ContainsFunc(before, func(b disclose.Statement) bool { return b.Digest == s.Digest }) {
		return nil
	}
	if err := may(*c, before); err != nil {
		return err
	}
	m.statements = append(m.statements, s)
	if s.Kind == opening.Recusal {
		c.Recusals = append(slices.Clip(c.Recusals), disclose.Recusal{Custodian: s.Custodian, Statement: hex.EncodeToString(s.Digest[:])})
	}
	return nil
}

// saidIn is what was said in a case; the mutex is held.
func (m *Memory) saidIn(id string) (said []disclose.Statement) {
	for _, s := range m.statements {
		if s.Case == id && s.Kind != opening.Absence {
			said = append(said, s)
		}
	}
	return said
}

// Said implements [disclose.Cases].
func (m *Memory) Said(_ context.Context, id string) ([]disclose.Statement, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saidIn(id), nil
}

// Stands implements [disclose.Cases].
func (m *Memory) Stands(_ context.Context, ids []string, custodian string) (map[string]disclose.Stand, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	stands := make(map[string]disclose.Stand)
	for _, id := range ids {
		if c, ok := m.find(withID(id)); ok && c.Stand(custodian) != (disclose.Stand{}) {
			stands[id] = c.Stand(custodian)
		}
	}
	return stands, nil
}

// Asked implements [disclose.Cases].
func (m *Memory) Asked(_ context.Context, ids []string) (map[string]disclose.Asked, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := make(map[string]disclose.Asked)
	for _, id := range ids {
		var n disclose.Asked
		for _, s := range m.saidIn(id) {
			if s.Kind == opening.Question && s.Answer == "" {
				n.Questions++
			}
		}
		if c, ok := m.find(withID(id)); ok {
			if n.First = c.First.Days > 0; c.First.Leaf != 0 {
				n.From = c.ApproveFrom
			}
			for _, o := range c.Objections {
				if o.Outcome == "" {
					n.Objections++
				}
			}
		}
		if n != (disclose.Asked{}) {
			asked[id] = n
		}
	}
	return asked, nil
}

// Announce implements [disclose.Cases].
func (m *Memory) Announce(_ context.Context, s disclose.Statement, now time.Time, most int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	open := 0
	for _, b := range m.statements {
		if b.Digest == s.Digest {
			return nil
		}
		if b.Kind == opening.Absence && b.Custodian == s.Custodian && b.Until.After(now) {
			open++
		}
	}
	if open >= most {
		return disclose.ErrManyQuestions
	}
	m.statements = append(m.statements, s)
	return nil
}

// Absences implements [disclose.Cases].
func (m *Memory) Absences(_ context.Context, now time.Time) (away []disclose.Statement, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.statements {
		if s.Kind == opening.Absence && s.Until.After(now) {
			away = append(away, s)
		}
	}
	slices.SortStableFunc(away, func(a, b disclose.Statement) int { return a.From.Compare(b.From) })
	return away, nil
}

// question is the place of a question of a case that nobody answered; the mutex is held.
func (m *Memory) question(id, digest string) int {
	return slices.IndexFunc(m.statements, func(s disclose.Statement) bool {
		return s.Case == id && s.Kind == opening.Question && s.Answer == "" && hex.EncodeToString(s.Digest[:]) == digest
	})
}

// dropSaid drops what was said in a case whose time to appeal is over; the mutex is held.
func (m *Memory) dropSaid(c *disclose.Case, now time.Time) {
	m.statements = slices.DeleteFunc(m.statements, func(s disclose.Statement) bool {
		kept := *c
		kept.KeepDays = s.KeepDays
		return s.Case == c.ID && !slices.Contains([]disclose.State{disclose.Recorded, disclose.Authorised, disclose.Released}, c.State) && !now.Before(m.until(&kept))
	})
}
