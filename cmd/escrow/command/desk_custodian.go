package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/penname/penname/escrow/custodian"
	"github.com/penname/penname/escrow/desk"
	"github.com/penname/penname/escrow/registrar"
	"github.com/penname/penname/policy"
	"github.com/penname/penname/verifier/opening"
)

// deskSeat does for a desk what the commands of `escrow custodian` do, one thing at a time: a
// folder is not for two.
type deskSeat struct {
	*home

	work   sync.Mutex        // one thing at a time is done with the folder
	agreed map[string]string // by case, the words that its answer was signed with since the desk was started

	mu       sync.Mutex           // never held while somebody else is waited for
	unlocked *custodian.Custodian // nil: the desk is locked

	reading sync.Mutex // of cases, which pages read while something is done
	cases   map[string]*openCase
}

// openCase is a case that was reviewed since the desk was unlocked.
type openCase struct {
	desk.Case
	exhibits exhibitFolder
	answered desk.Answered // as it stood last
}

// custodian is what a desk can do.
func (s *deskSeat) custodian(who custodian.Identity) *desk.Custodian {
	return &desk.Custodian{
		Who: who, Unlock: s.unlock, Lock: s.lock, Queue: s.queue, Review: s.review, Case: s.open, Answered: s.answered, Exhibit: s.exhibit,
		Do: s.do, Endorse: s.endorsed, Ceremony: s.ceremony, Witness: s.witness, Reasons: reasonWords, Approves: approves, Seat: s.seatFunctions(),
	}
}

// unlock opens the folder with a passphrase that was typed into the desk.
func (s *deskSeat) unlock(ctx context.Context, passphrase []byte) error {
	at := custodian.Home{Dir: s.dir, Passphrase: func(context.Context, string, bool) ([]byte, error) {
		return append([]byte(nil), passphrase...), nil
	}}
	c, err := at.Open(ctx)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.unlocked = c
	}
	return err
}

// lock forgets the keys, the cases and what was published of them, at once: it waits for nothing
// that runs, which ends by its context.
func (s *deskSeat) lock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlocked = nil
	s.reading.Lock()
	defer s.reading.Unlock()
	for _, c := range s.cases {
		forget(c.exhibits.of)
	}
	s.cases = nil
}

// with does something with the folder.
func (s *deskSeat) with(do func(c *custodian.Custodian) error) error {
	s.work.Lock()
	defer s.work.Unlock()
	return s.unlockedWith(do)
}

// unlockedWith is with, for who holds the work of the seat.
func (s *deskSeat) unlockedWith(do func(c *custodian.Custodian) error) error {
	s.mu.Lock()
	c := s.unlocked
	s.mu.Unlock()
	if c == nil {
		return desk.ErrLocked
	}
	return do(c)
}

// seated does something for a custodian who has read which rules are in force.
func (s *deskSeat) seated(ctx context.Context, do func(c seat) error) error {
	return s.with(func(c *custodian.Custodian) error {
		at, err := s.seatOf(ctx, c)
		if err != nil {
			return err
		}
		return do(at)
	})
}

// queue is `escrow custodian list`.
func (s *deskSeat) queue(ctx context.Context, from string, every bool) (q desk.Queue, err error) {
	err = s.with(func(c *custodian.Custodian) error {
		r, err := s.registrar()
		if err != nil {
			return err
		}
		page, err := waitingFor(ctx, r, c, from, every)
		if err != nil {
			return err
		}
		q.Others, q.Next = page.Others, page.Next
		for _, w := range page.Cases {
			q.Cases = append(q.Cases, desk.Waiting{
				Case: w.Case, Kind: w.Kind, Due: w.deskDue(s.Now()), Decided: desk.Decided(w.CaseStatus), Did: w.deskDid(), Says: w.deskSays(), Authority: w.Authority,
				Emergency: w.Kind == policy.Emergency, Past: !w.Due.After(s.Now()), PenNames: w.PenNames,
			})
		}
		return nil
	})
	return q, err
}

// review is `escrow custodian review`.
func (s *deskSeat) review(ctx context.Context, id string) error {
	return s.seated(ctx, func(c seat) error {
		f, since, err := c.fetch(ctx, id)
		if err != nil {
			return err
		}
		to := exhibitFolder{of: s.deskExhibits(c.exhibitsOf(id))}
		r, failed := c.ReviewAndRead(id, f, since, s.Now(), func(r *custodian.Review) error { return c.save(ctx, r, &to) })
		if r == nil {
			forget(to.of)
			return failed
		}
		answered, err := answeredIn(c.Custodian, id)
		if err != nil {
			forget(to.of)
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.unlocked != c.Custodian { // it was locked meanwhile
			forget(to.of)
			return desk.ErrLocked
		}
		s.reading.Lock()
		defer s.reading.Unlock()
		if s.cases == nil {
			s.cases = make(map[string]*openCase)
		}
		_, not := c.MayAnswer(r, s.Now())
		s.cases[id] = &openCase{desk.Case{Review: r, Failed: failed, Recused: errors.Is(not, custodian.ErrYouRecused)}, to, answered}
		return nil
	})
}

// open is a case that was reviewed.
func (s *deskSeat) open(id string) *desk.Case {
	s.reading.Lock()
	defer s.reading.Unlock()
	if c := s.cases[id]; c != nil {
		return &c.Case
	}
	return nil
}

// exhibit reads a piece of what was published of such a case. file is a name of its review.
func (s *deskSeat) exhibit(id, file string) ([]byte, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	c := s.cases[id]
	if c == nil || c.exhibits.dir == "" {
		return nil, desk.ErrUnread
	}
	b, err := os.ReadFile(filepath.Join(c.exhibits.dir, filepath.Base(file)))
	if err != nil {
		return nil, desk.ErrUnread.Because(err)
	}
	return b, nil
}

// forgetCase closes a case that was answered.
func (s *deskSeat) forgetCase(id string) {
	s.reading.Lock()
	defer s.reading.Unlock()
	delete(s.cases, id)
}

// do is `escrow custodian approve`, refuse, ask, recuse and reseal.
func (s *deskSeat) do(ctx context.Context, a desk.Deed, confirm func(shown string) error) (said string, err error) {
	text, err := words(a.Text)
	if err != nil {
		return "", err
	}
	err = s.seated(ctx, func(c seat) error {
		decision, reason := opening.Approve, ""
		sign := func(c seat, r *custodian.Review) (string, error) {
			return c.approve(r, a.Answers, text, s.Now(), confirm)
		}
		switch a.Kind {
		case desk.Ask:
			digest, _, err := c.tell(ctx, s.Now, a.Case, opening.Question, text, confirm)
			if err == nil {
				said = "asked: question " + digest + "\nThe court reads it where it looks at its case. Its answer stands below the question, once you check the case again."
				s.saidSince(ctx, c, a.Case)
			}
			return err
		case desk.Recuse:
			_, said, err = c.tell(ctx, s.Now, a.Case, opening.Recusal, text, atDesk(confirm))
			said = deskWords.Replace(said)
			if err == nil {
				s.saidSince(ctx, c, a.Case)
			}
			return err
		case desk.Again:
			said, err = s.sentAgain(ctx, c, a.Case, confirm)
			return err
		case desk.Reseal:
			said, err = s.resealedAgain(ctx, c, a.Case, confirm)
			return err
		case desk.Refuse:
			decision, reason = opening.Decline, a.Reason
			sign = func(c seat, r *custodian.Review) (string, error) { return c.decline(r, reason, text, s.Now(), confirm) }
		}
		switch last, _, older, err := c.LastAnswer(a.Case); {
		case err != nil:
			return err
		case last != nil && !older: // on another page, meanwhile: it is sent again with its own words
			return custodian.ErrYouAnswered
		}
		st, _, done, err := c.answer(ctx, s.Now, a.Case, decision, reason, text, a.Answers, func(c seat, r *custodian.Review) (string, error) {
			signed, err := sign(c, r)
			if err == nil {
				s.signedWith(c, a.Case, text)
			}
			return signed, err
		})
		if err != nil {
			return s.takenBack(a.Case, err)
		}
		said = done + st.String()
		s.forgetCase(a.Case)
		return nil
	})
	return said, err
}

// takenBack is err of an answer, and closes a case that is over. Nothing was signed where nothing is
// unsent: the registrar did not show the case any more.
func (s *deskSeat) takenBack(id string, err error) error {
	var p *registrar.Problem
	if errors.As(err, &errUnsent{}) || !errors.As(err, &p) || !slices.Contains([]string{"warrant.withdrawn", "warrant.annulled", "warrant.lapsed"}, p.Code) {
		return err
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	if c := s.cases[id]; c != nil {
		forget(c.exhibits.of)
		delete(s.cases, id)
	}
	return desk.ErrTakenBack
}

// saidSince shows in an open case what was said in it since it was reviewed. What cannot be read
// now is read when it is checked again.
func (s *deskSeat) saidSince(ctx context.Context, c seat, id string) {
	f, since, err := c.fetch(ctx, id)
	if err != nil {
		return
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	if open := s.cases[id]; open != nil {
		now, r := *open, *open.Review // pages read the one that was
		r.Said = custodian.Statements(id, f.Submission.Warrant, f.Said, f.Absences, since...)
		_, not := c.MayAnswer(&r, s.Now())
		now.Review, now.Recused = &r, errors.Is(not, custodian.ErrYouRecused)
		s.cases[id] = &now
	}
}

// signedWith notes that the folder has signed an answer in a case, with which words. The work of
// the seat is held.
func (s *deskSeat) signedWith(c seat, id, text string) {
	if s.agreed == nil {
		s.agreed = make(map[string]string)
	}
	s.agreed[id] = text
	answered, err := answeredIn(c.Custodian, id)
	if err != nil {
		s.forgetCase(id) // nobody reads there that it was not answered
		return
	}
	answered.Words = text
	s.noteAnswered(id, answered)
}

// noteAnswered has an open case say what the folder has signed in it.
func (s *deskSeat) noteAnswered(id string, answered desk.Answered) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if open := s.cases[id]; open != nil {
		now := *open // pages read the one that was
		now.answered = answered
		s.cases[id] = &now
	}
}

// answered is what the folder signed last in a case. An open case says it also while something
// else is done with the folder.
func (s *deskSeat) answered(id string) (a desk.Answered, err error) {
	if !s.work.TryLock() {
		s.reading.Lock()
		open := s.cases[id]
		s.reading.Unlock()
		if open != nil {
			return open.answered, nil
		}
		s.work.Lock()
	}
	defer s.work.Unlock()
	err = s.unlockedWith(func(c *custodian.Custodian) error {
		if a, err = answeredIn(c, id); err == nil {
			a.Words = s.agreed[id]
			s.noteAnswered(id, a)
		}
		return err
	})
	return a, err
}

func answeredIn(c *custodian.Custodian, id string) (a desk.Answered, err error) {
	last, signed, older, err := c.LastAnswer(id)
	if err != nil || last == nil {
		return a, err
	}
	a = desk.Answered{Kind: desk.Approve, At: last.At, Older: older}
	if last.Decision == opening.Decline {
		a.Kind = desk.Refuse
	}
	if a.Signed, err = custodian.Says(signed); a.Signed == "" && err == nil {
		a.Signed = strings.TrimSuffix("all its pen names: "+last.Decision+", "+last.Reason, ", ")
	}
	return a, err
}

// wordsUnknown is shown before an answer is sent whose words the desk does not know.
const wordsUnknown = "\nIt is sent without words of yours: those that you may have agreed to when you signed it were in the memory of a desk that has ended. Words of yours that the court has already stand.\n"

// sentAgain sends what the folder signed in a case once more, with the words that were agreed to
// with it. Where they are not known, confirm agrees first to sending it without any.
func (s *deskSeat) sentAgain(ctx context.Context, c seat, id string, confirm func(shown string) error) (said string, err error) {
	last, signed, _, err := c.LastAnswer(id)
	switch {
	case err != nil:
		return "", err
	case last == nil:
		return "", desk.ErrNothingWaits
	}
	text, known := s.agreed[id]
	if !known {
		about, err := answeredIn(c.Custodian, id)
		if err != nil {
			return "", err
		}
		if err := confirm("The answer that you signed in case " + id + " is sent once more:\n" + about.Signed + wordsUnknown); err != nil {
			return "", err
		}
	}
	st, said, err := c.send(ctx, s.Now, id, signed, text)
	if err != nil {
		return "", errUnsent{err}
	}
	s.forgetCase(id)
	forget(c.exhibitsOf(id))
	return said + "where the case stands now:\n" + st.String(), nil
}

// deskWords are the words of a desk in place of those of the commands.
var deskWords = strings.NewReplacer(" (escrow custodian deputise)", " at your seat")

// atDesk has a desk confirm what a command shows, in its own words.
func atDesk(confirm func(shown string) error) func(string) error {
	return func(shown string) error { return confirm(deskWords.Replace(shown)) }
}

// endorsed is `escrow custodian endorse`.
func (s *deskSeat) endorsed(ctx context.Context, bundle, transcript []byte, confirm func(shown string) error) (endorsement string, err error) {
	err = s.with(func(c *custodian.Custodian) error {
		endorsement, err = s.endorse(ctx, c, bundle, transcript, func(shown string) error {
			b, err := policy.ParseBundle(bundle)
			if err != nil {
				return err
			}
			return confirm(strings.Replace(shown, wordForWord, "The rules are below, word for word.\n", 1) + rulesOf(b) + "\n")
		})
		return err
	})
	return endorsement, err
}

// ceremony is `escrow custodian ceremony --once`.
func (s *deskSeat) ceremony(ctx context.Context, file []byte, agreed string) (said, plan string, err error) {
	err = s.with(func(c *custodian.Custodian) error {
		status, err := s.takePart(ctx, c, file, agreed, 0, func(shown string) { plan = shown },
			func(format string, args ...any) { said = fmt.Sprintf(format, args...) })
		if err == nil {
			said = status.String()
		}
		return err
	})
	return said, plan, err
}

// witness is what the folder's witness does, and whether the log that it was shown goes on.
func (s *deskSeat) witness(ctx context.Context) (w desk.Witness, err error) {
	err = s.with(func(c *custodian.Custodian) error {
		if w, err = witnessOf(c); err != nil {
			return err
		}
		at, err := s.seatOf(ctx, c)
		if errors.Is(err, custodian.ErrNoRules) {
			return nil // there is no log to hold it against
		}
		if err == nil {
			w.Behind = behind(w, at.history.Size(), s.Now())
		}
		return err
	})
	return w, err
}

func witnessOf(c *custodian.Custodian) (desk.Witness, error) {
	about, state, err := c.Witness()
	return desk.Witness{Name: about.Name, Origin: about.Origin, Size: state.Size, At: state.At, Running: state.Running, Evidence: state.Evidence}, err
}
