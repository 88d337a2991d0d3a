package postgres

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/mail"
)

// The duties to write to people of whom a court wants something. No column tells one that was
// accepted at once from one that waits, has no address or is refused: rows are looked through,
// and opened. A first try writes its row alone, as everybody's does, whatever comes of it. Who
// is tried again has all rows of the same time sealed again with theirs.

// lookedThrough are the rows that are opened at every run: of the last 30 days, and of the
// older ones those whose turn it is in $1, an hour of the day.
const lookedThrough = `kind IN ('notice', 'notice_first') AND (since > $2::timestamptz - interval '30 days' OR get_byte(id, 0) % 24 = $1)`

const onlyNew = -1 // instead of an hour

func ofACase(k mail.Kind) bool { return k == mail.Notice || k == mail.NoticeFirst }

type courtMail struct {
	hiddenMail
	id      []byte
	kind    mail.Kind
	since   time.Time
	damaged bool
}

// courtQueue is what a process found due and has not taken yet, and until when it leaves
// what it cannot open.
type courtQueue struct {
	mu      sync.Mutex
	due     []courtMail
	damaged map[[16]byte]time.Time
}

// courtMails opens the duties; what does not open has nothing but its id.
func (s *Issuing) courtMails(ctx context.Context, now time.Time, hour int) (all []courtMail, err error) {
	err = s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `SELECT id, kind, since, hidden FROM mails WHERE due <= $2 AND `+lookedThrough+` ORDER BY since, id`, hour, now.UTC())
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (one courtMail, err error) {
			var hidden []byte
			if err = row.Scan(&one.id, (*string)(&one.kind), &one.since, &hidden); err == nil {
				var wrong error
				one.hiddenMail, wrong = s.rows.unlockMail(one.id, hidden)
				one.damaged = wrong != nil
			}
			return one, err
		})
		return err
	})
	return all, err
}

// takeCourtMail takes the next that is due, of those that it found when it looked last.
func (s *Issuing) takeCourtMail(ctx context.Context, now, until time.Time) (l mail.Letter, m hiddenMail, ok bool, err error) {
	q := &s.courts
	q.mu.Lock()
	defer q.mu.Unlock()
	for looked := false; ; {
		if len(q.due) == 0 {
			if looked {
				return l, m, false, nil
			}
			looked = true
			all, err := s.courtMails(ctx, now, now.UTC().Hour())
			if err != nil {
				return l, m, false, err
			}
			for _, one := range all {
				if one.damaged && !q.damaged[[16]byte(one.id)].After(now) || !one.damaged && one.isDue(now) {
					q.due = append(q.due, one)
				}
			}
			continue
		}
		one := q.due[0]
		q.due = q.due[1:]
		l = mail.Letter{ID: [16]byte(one.id), Kind: one.kind, Damaged: one.damaged, Tries: one.Tries + 1, Held: until.UTC().Truncate(time.Microsecond)}
		if one.damaged {
			if q.damaged == nil {
				q.damaged = map[[16]byte]time.Time{}
			}
			q.damaged[l.ID] = until
			return l, m, true, nil
		}
		err = s.sealAgain(ctx, l, func(have *hiddenMail, doubt bool) bool {
			m = *have
			if ok = doubt && have.Tries == l.Tries && have.Due == l.Held.UnixMicro(); ok {
				return false // it is held since the attempt whose answer was lost
			}
			if ok = have.Tries == one.Tries && have.isDue(now); ok {
				have.Tries, have.Due = l.Tries, l.Held.UnixMicro()
				m = *have
			}
			return ok
		})
		if ok || err != nil {
			return l, m, ok, err
		}
	}
}

func (m *hiddenMail) isDue(now time.Time) bool { return m.Outcome == "" && m.Due <= now.UnixMicro() }

// changeCourtMail does nothing if somebody else took it meanwhile.
func (s *Issuing) changeCourtMail(ctx context.Context, l mail.Letter, change func(*hiddenMail)) error {
	q := &s.courts
	q.mu.Lock()
	if _, damaged := q.damaged[l.ID]; damaged && l.Damaged {
		after := hiddenMail{}
		change(&after)
		q.damaged[l.ID] = time.UnixMicro(after.Due)
		q.mu.Unlock()
		return nil
	}
	q.mu.Unlock()
	return s.sealAgain(ctx, l, func(m *hiddenMail, _ bool) bool {
		held := m.Outcome == "" && m.Due == l.Held.UnixMicro()
		if held {
			change(m)
		}
		return held
	})
}

// sealAgain stores what change makes of a duty, if it wants to: at a first try alone, and else
// with all that are looked through with it, so that it does not show whose it was.
func (s *Issuing) sealAgain(ctx context.Context, l mail.Letter, change func(m *hiddenMail, doubt bool) bool) error {
	return s.transact(ctx, func(ctx context.Context, tx pgx.Tx, doubt bool) error {
		which, args := `id = $1`, []any{l.ID[:]}
		if l.Tries > 1 {
			which, args = lookedThrough, []any{int(l.ID[0]) % 24, l.Held}
		}
		return s.sealRows(ctx, tx, which, args, func(id []byte, m *hiddenMail) bool {
			return bytes.Equal(id, l.ID[:]) && change(m, doubt)
		})
	})
}

// sealRows seals duties again, if change wants to change any.
func (s *Issuing) sealRows(ctx context.Context, tx pgx.Tx, which string, args []any, change func([]byte, *hiddenMail) bool) error {
	rows, err := tx.Query(ctx, `SELECT id, hidden FROM mails WHERE `+which+` ORDER BY id FOR UPDATE`, args...)
	if err != nil {
		return refused(ctx, err)
	}
	var ids, sealed [][]byte
	var id, hidden []byte
	changed := false
	_, err = pgx.ForEachRow(rows, []any{&id, &hidden}, func() error {
		m, err := s.rows.unlockMail(id, hidden)
		if err != nil {
			return nil //nolint:nilerr // it is damaged, and stays
		}
		changed = change(id, &m) || changed
		again, err := s.rows.lockMail(id, m)
		ids, sealed = append(ids, bytes.Clone(id)), append(sealed, again)
		return err
	})
	if err == nil && changed {
		_, err = tx.Exec(ctx, `UPDATE mails SET hidden = n.hidden FROM unnest($1::bytea[], $2::bytea[]) n (id, hidden) WHERE mails.id = n.id`, ids, sealed)
	}
	return refused(ctx, err)
}

// refusedMark tells an address that a mail server refused from one that its person has since.
func (k rowKey) refusedMark(to mail.Address) []byte {
	return k.handle("refused address", []byte(to.Reveal()))[:8]
}

// pageOfAddresses is how many addresses are sealed in one transaction: whoever changes theirs
// waits for one of these.
const pageOfAddresses = 100

// NoteRefused has the addresses that a mail server refused say so. If there is any, every
// address is sealed again, in transactions that no duty has a part in: which, does not show.
func (s *Issuing) NoteRefused(ctx context.Context, now time.Time) error {
	all, err := s.courtMails(ctx, now, now.UTC().Hour())
	if err != nil {
		return err
	}
	marks := make(map[string][]byte)
	for _, one := range all {
		for _, place := range one.Places {
			if one.Refused != nil {
				marks[string(place)] = one.Refused
			}
		}
	}
	if len(marks) == 0 {
		return nil
	}
	for from := []byte{}; from != nil; {
		began := time.Now()
		if from, err = s.sealAddresses(ctx, from, marks); err != nil {
			return err
		}
		if from != nil && !rest(ctx, time.Since(began)) {
			return ErrUnavailable.Because(&serverError{cause: ctx.Err()})
		}
	}
	return s.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		return s.sealRows(ctx, tx, lookedThrough, []any{now.UTC().Hour(), now.UTC()}, func(_ []byte, m *hiddenMail) bool {
			noted := m.Refused != nil
			m.Refused = nil
			return noted
		})
	})
}

// sealAddresses seals a page of addresses again, and returns the last place; nil: there is none.
func (s *Issuing) sealAddresses(ctx context.Context, from []byte, marks map[string][]byte) (last []byte, err error) {
	err = s.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		last = nil
		rows, err := tx.Query(ctx, `SELECT place, hidden FROM addresses WHERE place > $1 ORDER BY place LIMIT $2 FOR UPDATE`, from, pageOfAddresses)
		if err != nil {
			return refused(ctx, err)
		}
		var places, sealed [][]byte
		var place, hidden []byte
		_, err = pgx.ForEachRow(rows, []any{&place, &hidden}, func() error {
			last = bytes.Clone(place)
			var c issue.Contact
			if c, err = s.rows.unlockContact(place, hidden); err != nil {
				return nil //nolint:nilerr // it is damaged, and stays
			}
			if mark := marks[string(place)]; mark != nil && bytes.Equal(mark, s.rows.refusedMark(c.Confirmed)) {
				c.Refused = true
			}
			again, err := s.rows.lockContact(place, c)
			places, sealed = append(places, last), append(sealed, again)
			return err
		})
		if err == nil {
			_, err = tx.Exec(ctx, `UPDATE addresses SET hidden = n.hidden FROM unnest($1::bytea[], $2::bytea[]) n (place, hidden) WHERE addresses.place = n.place`, places, sealed)
		}
		return refused(ctx, err)
	})
	return last, err
}
