package postgres

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/mail"
)

// The duties to write to people of whom a court wants something. No column tells one that was
// accepted at once from one that waits, has no address or is refused: rows are looked through,
// and opened. A first try writes its row alone, as everybody's does, whatever comes of it. Who
// is tried again has the rows of their block sealed again with theirs.

// lookedThrough are the rows that are opened once an hour: of the last 30 days, and of the
// older ones those whose turn it is in $1, an hour of the day. At every run it is sinceLooked.
const lookedThrough = `kind IN ('notice', 'notice_first') AND (since > $2::timestamptz - interval '30 days' OR get_byte(id, 0) % 24 = $1)`

const onlyNew = -1 // instead of an hour

// sinceLooked are the rows that came since $1, and $3, which had not ended then.
const sinceLooked = `kind IN ('notice', 'notice_first') AND (since >= $1 OR id = ANY ($3))`

// lateCommits is how long before a look the duties began that it may not have seen.
const lateCommits = 3 * time.Hour

// blockRows is how many duties somebody who is tried again hides among, if there are as many.
const blockRows = 100

// blockSQL is the block of a duty, the smallest of blockRows: those of the same hour and with
// the same first bits of their keyed ids, or of the same hours, 1024 at most. Blocks lie in
// one another and do not depend on which of theirs is tried, so that several tries tell no more
// than one.
const blockSQL = `
	SELECT low, high, shift, part FROM (
	  SELECT w, to_timestamp(n * width) AS low, to_timestamp((n + 1) * width) AS high, shift, part FROM mails m, generate_series(-8, 10) w,
	    LATERAL (SELECT 3600 * 2 ^ greatest(w, 0) AS width, 8 + least(w, 0) AS shift) s, LATERAL (SELECT floor(extract(epoch FROM m.since) / width) AS n, get_byte(m.id, 0) >> shift AS part) p
	  WHERE m.id = $1) b
	WHERE w = 10 OR (SELECT count(*) FROM (SELECT FROM mails WHERE ` + inBlock + ` LIMIT $2) x) = $2
	ORDER BY w LIMIT 1`

const inBlock = `kind IN ('notice', 'notice_first') AND since >= low AND since < high AND get_byte(id, 0) >> shift = part`

func ofACase(k mail.Kind) bool { return k == mail.Notice || k == mail.NoticeFirst }

type courtMail struct {
	hiddenMail
	id      []byte
	kind    mail.Kind
	since   time.Time
	damaged bool
}

// courtQueue is what a process found due and has not taken yet, and until when it leaves
// what it cannot open. And what it knows of those that it looked through: which have not
// ended, and whose address a mail server refused.
type courtQueue struct {
	mu      sync.Mutex
	due     []courtMail
	damaged map[[16]byte]time.Time
	looked  time.Time // last
	open    map[[16]byte]bool
	refused sync.Map // the place of an address to its refusedMark
}

// courtMails opens the duties; what does not open has nothing but its id.
func (s *Issuing) courtMails(ctx context.Context, now time.Time, hour int) (all []courtMail, err error) {
	return s.openMails(ctx, lookedThrough, hour, now.UTC())
}

// look opens what may be due, and remembers of it what [courtQueue] has. An hour's first looks
// through all.
func (s *Issuing) look(ctx context.Context, now time.Time) (all []courtMail, err error) {
	q := &s.courts
	if q.open != nil && now.UTC().Truncate(time.Hour).Equal(q.looked.Truncate(time.Hour)) {
		open := make([][]byte, 0, len(q.open))
		for id := range q.open {
			open = append(open, id[:])
		}
		all, err = s.openMails(ctx, sinceLooked, q.looked.Add(-lateCommits), now.UTC(), open)
	} else {
		all, err = s.courtMails(ctx, now, now.UTC().Hour())
	}
	if err != nil {
		return nil, err
	}
	if q.looked = now.UTC(); q.open == nil {
		q.open = map[[16]byte]bool{}
	}
	for _, one := range all {
		if id := [16]byte(one.id); one.damaged || one.Outcome == "" {
			q.open[id] = true
		} else {
			delete(q.open, id)
		}
		s.refusedAt(one.hiddenMail)
	}
	return all, nil
}

// refusedAt remembers that the address of a duty was refused, if it was.
func (s *Issuing) refusedAt(m hiddenMail) {
	for _, place := range m.Places {
		if m.Refused != nil {
			s.courts.refused.Store([16]byte(place), m.Refused)
		}
	}
}

func (s *Issuing) openMails(ctx context.Context, which string, args ...any) (all []courtMail, err error) {
	err = s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `SELECT id, kind, since, hidden FROM mails WHERE due <= $2 AND `+which+` ORDER BY since, id`, args...)
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
			all, err := s.look(ctx, now)
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
// with its block, so that it does not show whose it was.
func (s *Issuing) sealAgain(ctx context.Context, l mail.Letter, change func(m *hiddenMail, doubt bool) bool) error {
	return s.transact(ctx, func(ctx context.Context, tx pgx.Tx, doubt bool) error {
		sql, args := `SELECT id, hidden FROM mails WHERE id = $1 FOR UPDATE`, []any{l.ID[:]}
		if l.Tries > 1 {
			sql, args = `WITH block AS (`+blockSQL+`) SELECT id, hidden FROM mails, block WHERE `+inBlock+` ORDER BY id FOR UPDATE OF mails`, append(args, blockRows)
		}
		return s.sealRows(ctx, tx, sql, args, func(id []byte, m *hiddenMail) bool {
			return bytes.Equal(id, l.ID[:]) && change(m, doubt)
		})
	})
}

// sealRows seals duties again, if change wants to change any.
func (s *Issuing) sealRows(ctx context.Context, tx pgx.Tx, sql string, args []any, change func([]byte, *hiddenMail) bool) error {
	rows, err := tx.Query(ctx, sql, args...)
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

// refusedMark tells an address that a mail server refused from one that its person confirmed
// since, also if it is the same. Without the row of the address it tells nothing.
func (k rowKey) refusedMark(to mail.Address, nonce []byte) []byte {
	return k.handle("refused address", append([]byte(to.Reveal()), nonce...))[:8]
}
