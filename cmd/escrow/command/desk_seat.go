package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penname/penname/cmd/shell"
	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/document"
	"github.com/penname/penname/verifier/opening"
)

// seatFunctions are what a desk does beside cases, rules and ceremonies.
func (s *deskSeat) seatFunctions() desk.Seat {
	return desk.Seat{
		Next: s.next, Standing: s.standing, Away: s.awayFrom, Deputise: s.deputised, Receive: s.received, Card: s.card,
		Passphrase: s.passphrase, Ceremonies: s.ceremonies,
	}
}

// standing is `escrow custodian away` without days, and whom the rules name beside the custodian.
func (s *deskSeat) standing(ctx context.Context) (st desk.Standing, err error) {
	err = s.seated(ctx, func(c seat) error {
		if of := c.StandsInFor(c.inForce); of != nil {
			st.For = of.Name + ", " + of.Organisation
		} else {
			for _, a := range c.Alternates(c.inForce) {
				st.Alternates = append(st.Alternates, desk.Alternate{ID: a.ID, Name: a.Name, Organisation: a.Organisation})
			}
		}
		mine, err := c.absences(ctx)
		for _, a := range mine {
			st.Absences = append(st.Absences, strings.TrimSpace(a.String()))
		}
		return err
	})
	return st, err
}

// awayFrom is `escrow custodian away`.
func (s *deskSeat) awayFrom(ctx context.Context, from, until time.Time, confirm func(shown string) error) (said string, err error) {
	err = s.seated(ctx, func(c seat) error {
		_, said, err = c.away(ctx, s.Now, from, until, atDesk(confirm))
		return err
	})
	return said, err
}

// deputised is `escrow custodian deputise`.
func (s *deskSeat) deputised(ctx context.Context, alternate string, confirm func(shown string) error) (file []byte, err error) {
	err = s.seated(ctx, func(c seat) error {
		file, err = c.deputise(alternate, confirm)
		return err
	})
	return file, err
}

// received is `escrow custodian receive`.
func (s *deskSeat) received(ctx context.Context, file, bundle []byte, confirm func(shown string) error) (said string, err error) {
	var first *policy.Bundle
	if len(bundle) > 0 {
		if first, err = policy.ParseBundle(bundle); err != nil {
			return "", err
		}
	}
	err = s.with(func(c *custodian.Custodian) error {
		of, err := s.receive(ctx, c, file, first, confirm)
		said = document.Printable(fmt.Sprintf("kept: the share of %s, checked against the custodians' public key. Remove the file.", of))
		return err
	})
	return said, err
}

// resealedAgain is `escrow custodian reseal`.
func (s *deskSeat) resealedAgain(ctx context.Context, c seat, id string, confirm func(shown string) error) (said string, err error) {
	done, err := c.reseal(ctx, s.Now, id, confirm, func(string, ...any) {})
	if said = resealed(done); errors.Is(err, errSomeUnread) {
		return said + shell.ProblemOf(err).Error(), nil // the others were sent
	}
	return said, err
}

// card is `escrow custodian card`.
func (s *deskSeat) card() (card []byte, err error) {
	err = s.with(func(c *custodian.Custodian) error {
		card, err = cardOf(c)
		return err
	})
	return card, err
}

// passphrase is `escrow custodian passphrase`, by somebody who types the new one twice.
func (s *deskSeat) passphrase(ctx context.Context, old, fresh, again []byte) error {
	return s.with(func(*custodian.Custodian) error {
		types := func(what ...[]byte) custodian.Passphrase {
			return func(context.Context, string, bool) (next []byte, err error) {
				next, what = bytes.Clone(what[0]), what[1:]
				return next, nil
			}
		}
		at, typist := custodian.Home{Dir: s.dir, Passphrase: types(old)}, &program{Env: Env{Passphrase: types(fresh, again)}}
		return at.ChangePassphrase(ctx, typist.passphraseFrom(""), custodian.DefaultWorkFactor)
	})
}

// ceremonies are those in which the folder takes part.
func (s *deskSeat) ceremonies() (all []desk.Ceremony, err error) {
	err = s.with(func(c *custodian.Custodian) error {
		all, err = ceremoniesOf(c)
		return err
	})
	return all, err
}

func ceremoniesOf(c *custodian.Custodian) (all []desk.Ceremony, err error) {
	in, err := c.Ceremonies()
	for _, one := range in {
		plan, err := policy.ParseCeremonyPlan(one.Plan)
		if err != nil {
			return nil, err
		}
		x := desk.Ceremony{Hash: one.Status.Plan, Plan: one.Plan, Complete: one.Status.State == "complete", Says: document.Printable(describe(plan))}
		if !x.Complete {
			x.Says += one.Status.String()
		}
		all = append(all, x)
	}
	return all, err
}

// standsStill is how long a witness may be behind the log before somebody looks.
const standsStill = 30 * time.Minute

// behind is how many entries a witness has not cosigned for longer than it should take, of a log
// that has so many.
func behind(w desk.Witness, size int64, now time.Time) int64 {
	if !w.Running || size <= w.Size || now.Sub(w.At) < standsStill {
		return 0
	}
	return size - w.Size
}

// next is what waits for a custodian beside cases. What the folder knows comes with an error, too.
func (s *deskSeat) next(ctx context.Context) (all []desk.Next, err error) {
	err = s.with(func(c *custodian.Custodian) error {
		w, err := witnessOf(c)
		if err != nil && !errors.Is(err, custodian.ErrWitness) {
			return err
		}
		there := err == nil
		ceremonies, err := nextOfCeremonies(c)
		if err != nil {
			return err
		}
		at, unread := s.seatOf(ctx, c)
		if unread == nil {
			w.Behind = behind(w, at.history.Size(), s.Now())
		}
		if there {
			all = nextOfWitness(w)
		}
		switch {
		case errors.Is(unread, custodian.ErrNoRules):
			all = append(all, ceremonies...)
			if len(ceremonies) == 0 {
				all = append(all, desk.Next{Text: desk.Say("This folder has seen no rules yet: give your card to the operator, and endorse the rules that they give you."), To: "/seat"})
			}
			return nil
		case unread != nil:
			all = append(all, ceremonies...)
			return unread
		}
		lacks, err := nextOfFolder(at)
		all = append(append(all, lacks...), ceremonies...)
		if err != nil {
			return err
		}
		mine, err := at.absences(ctx)
		all = append(all, nextOfAbsences(at, mine, s.Now())...)
		return err
	})
	return all, err
}

func nextOfWitness(w desk.Witness) (all []desk.Next) {
	switch {
	case len(w.Evidence) > 0:
		all = append(all, desk.Next{Text: desk.Say("The public log showed your witness two histories: approve nothing, and tell the other custodians."), To: "/witness", Urgent: true})
	case !w.Running:
		all = append(all, desk.Next{Text: desk.Say("Your witness does not run: the log lacks your signature."), To: "/witness", Urgent: true})
	case w.Behind > 0:
		all = append(all, desk.Next{Text: desk.Say("Your witness stands still: it has not cosigned the last %d entries of the log.", w.Behind), To: "/witness", Urgent: true})
	}
	return all
}

// nextOfFolder is what the folder lacks for the rules in force.
func nextOfFolder(c seat) (all []desk.Next, err error) {
	lacks, err := c.Lacks(c.inForce)
	for _, what := range lacks {
		switch {
		case errors.Is(what, custodian.ErrNotInForce):
			all = append(all, desk.Next{Text: desk.Say("The rules in force do not name you: you answer no case.")})
		case errors.Is(what, custodian.ErrNoExhibitKey):
			all = append(all, desk.Next{Text: desk.Say("Your folder has no key for what was published: make a card, and give it to the operator for the next rules."), To: "/seat"})
		case c.StandsInFor(c.inForce) != nil:
			all = append(all, desk.Next{Text: desk.Say("You step in for %s, and your folder has no share of the key in force: ask them to hand it over, and take it.", c.StandsInFor(c.inForce).ID), To: "/seat"})
		default:
			all = append(all, desk.Next{Text: desk.Say("Your folder has no share of the key in force, so you can approve nothing: restore it from its backup, or tell the operator that the key has to be moved."), Urgent: true})
		}
	}
	return all, err
}

func nextOfCeremonies(c *custodian.Custodian) (all []desk.Next, err error) {
	in, err := c.Ceremonies()
	for _, one := range in {
		short := fmt.Sprintf("%.16s…", one.Status.Plan)
		n := desk.Next{To: "/ceremony", Text: desk.Say("The ceremony of plan %s waits for %s.", short, strings.Join(one.Status.WaitingFor, ", "))}
		switch {
		case one.Status.State == "complete":
			n = desk.Next{To: "/rules", Text: desk.Say("The key of plan %s is made, and the rules in force do not have it: endorse those that do, when the operator gives them to you.", short)}
		case one.Status.Round == "":
			n.Text = desk.Say("In the ceremony of plan %s all was said: go on, and your share is made.", short)
		case slices.Contains(one.Status.WaitingFor, c.ID):
			n.Text = desk.Say("The ceremony of plan %s waits for you.", short)
		}
		all = append(all, n)
	}
	return all, err
}

// nextOfAbsences says what a custodian announced, and when it is over.
func nextOfAbsences(c seat, mine []custodian.Said, now time.Time) (all []desk.Next) {
	for _, a := range mine {
		until := a.Until.UTC().Format(time.DateOnly)
		switch {
		case a.Kind != opening.Absence || !now.Before(a.Until):
		case c.StandsInFor(c.inForce) != nil:
			if !now.Before(a.From) {
				all = append(all, desk.Next{To: "/seat", Text: desk.Say("%s, for whom you step in, is away until %s%s: what waits for them waits for you.", a.By, until, deskLeft(a.Until.Sub(now)))})
			}
		case now.Before(a.From):
			all = append(all, desk.Next{To: "/seat", Text: desk.Say("You are away from %s until %s, as you announced.", a.From.UTC().Format(time.DateOnly), until)})
		case a.Until.Sub(now) < 72*time.Hour:
			all = append(all, desk.Next{To: "/seat", Text: desk.Say("Your absence is over on %s%s: if you stay away longer, announce it.", until, deskLeft(a.Until.Sub(now)))})
		default:
			all = append(all, desk.Next{To: "/seat", Text: desk.Say("You are away until %s, as you announced%s: %s", until, deskLeft(a.Until.Sub(now)), deskStandIns(c))})
		}
	}
	return all
}
