package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/issue"
)

// sessionBlock is what rows of sessions are padded to: that of a word, an end and a
// generation look the same.
const sessionBlock = 96

// kept is how long rows of one day's sessions are kept, from that midnight on: a
// session that began in its last second ends within the next day.
const kept = 48 * time.Hour

// number is an integer as part of a handle.
func number(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

// sessionPlace is the row of the n-th session that a person began on a day.
func (k rowKey) sessionPlace(p issue.Person, day time.Time, n int64) []byte {
	return k.handle("session", p.ID[:], number(day.Unix()), number(n))
}

// generationPlace is the row that ends the n-th generation of a person's sessions.
func (k rowKey) generationPlace(p issue.Person, n int64) []byte {
	return k.handle("generation", p.ID[:], number(n))
}

func (k rowKey) endPlace(id [16]byte) []byte { return k.handle("ended", id[:]) }

// unlockSession opens the row of a session that began on that day.
func (k rowKey) unlockSession(handle, hidden []byte, day time.Time) (issue.Session, error) {
	b, err := k.unlock(handle, hidden)
	if err != nil || len(b) < 24 {
		return issue.Session{}, ErrDamaged
	}
	return issue.Session{ID: [16]byte(b), Generation: int64(binary.BigEndian.Uint64(b[16:])), Word: string(b[24:]), Day: day}, nil
}

// note stores a row that says something by being there. It is nothing new if it is
// there already.
func (s *Issuing) note(ctx context.Context, handle []byte, expires time.Time) error {
	return s.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.exec(ctx, `INSERT INTO sessions (handle, hidden, expires) VALUES ($1, $2, $3::timestamptz) ON CONFLICT DO NOTHING`,
			handle, s.rows.lock(handle, nil, sessionBlock), expires)
		return err
	})
}

// sessionsAt returns what the rows with these handles hide, by their place among
// the handles. At a glance: what is there refuses or is shown, and what is not there
// needs no standby.
func (s *Issuing) sessionsAt(ctx context.Context, handles [][]byte) (hidden map[int][]byte, err error) {
	err = s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		hidden, err = sessionsIn(ctx, c.Query, handles)
		return err
	})
	return hidden, err
}

// sessionsIn is sessionsAt by a connection, or in a transaction.
func sessionsIn(ctx context.Context, query querying, handles [][]byte) (hidden map[int][]byte, err error) {
	rows, err := query(ctx, `SELECT asked.place - 1, s.hidden FROM unnest($1::bytea[]) WITH ORDINALITY asked (handle, place) JOIN sessions s USING (handle)`, handles)
	if err != nil {
		return nil, err
	}
	hidden = make(map[int][]byte)
	var at int
	var b []byte
	_, err = pgx.ForEachRow(rows, []any{&at, &b}, func() error {
		hidden[at] = bytes.Clone(b)
		return nil
	})
	return hidden, err
}

// generation is the one that p's sessions belong to now: the first without an end.
func (s *Issuing) generation(ctx context.Context, p issue.Person, at func(context.Context, [][]byte) (map[int][]byte, error)) (int64, error) {
	for first := int64(0); ; first += rowsAtOnce {
		var handles [][]byte
		for n := first; n < first+rowsAtOnce; n++ {
			handles = append(handles, s.rows.generationPlace(p, n))
		}
		ended, err := at(ctx, handles)
		if err != nil || len(ended) < len(handles) {
			return first + int64(len(ended)), err
		}
	}
}

// BeginSession implements [issue.Store]. If all sessions end meanwhile, so does this
// one: its generation was read before.
func (s *Issuing) BeginSession(ctx context.Context, p issue.Person, began issue.Session) (issue.Session, error) {
	if !storable(began.Word) || len(began.Word) > issue.MaxWord {
		return issue.Session{}, ErrText
	}
	var err error
	if began.Generation, err = s.generation(ctx, p, s.sessionsAt); err != nil {
		return issue.Session{}, err
	}
	text := slices.Concat(began.ID[:], number(began.Generation), []byte(began.Word))
	return began, s.numbered(ctx, func(n int64) []byte { return s.rows.sessionPlace(p, began.Day, n) }, text, began.Day)
}

// numbered stores a row of a day at the first of some places that is free.
func (s *Issuing) numbered(ctx context.Context, place func(n int64) []byte, text []byte, day time.Time) error {
	for n := int64(0); ; n++ {
		at, mine := place(n), false
		hidden := s.rows.lock(at, text, sessionBlock)
		err := s.settle(ctx, func(ctx context.Context, _ bool) error {
			stored, err := s.exec(ctx, `INSERT INTO sessions (handle, hidden, expires) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, at, hidden, day.Add(kept))
			if mine = stored == 1; err != nil || mine {
				return err
			}
			there, err := s.sessionsAt(ctx, [][]byte{at}) // another row of that day, or this one
			mine = err == nil && bytes.Equal(there[0], hidden)
			return err
		})
		if err != nil || mine {
			return err
		}
	}
}

// eachNumbered calls do with each row that numbered stored on some days, in their order. It
// looks for atOnce of a day, and for more where there are as many.
func (s *Issuing) eachNumbered(ctx context.Context, atOnce int64, days []time.Time, place func(day time.Time, n int64) []byte, do func(day time.Time, at, hidden []byte) error) error {
	for first := int64(0); len(days) > 0; first += atOnce {
		var handles [][]byte
		for _, day := range days {
			for n := first; n < first+atOnce; n++ {
				handles = append(handles, place(day, n))
			}
		}
		found, err := s.sessionsAt(ctx, handles)
		if err != nil {
			return err
		}
		var more []time.Time // days
		for at, handle := range handles {
			hidden, ok := found[at]
			if !ok {
				continue
			}
			day := days[int64(at)/atOnce]
			if err := do(day, handle, hidden); err != nil {
				return err
			}
			if int64(at)%atOnce == atOnce-1 {
				more = append(more, day)
			}
		}
		days = more
	}
	return nil
}

// withdrawnPlace is the row of the n-th time on a day that a person withdrew what they
// agreed to on a platform.
func (k rowKey) withdrawnPlace(p issue.Person, platform string, day time.Time, n int64) []byte {
	return k.handle("withdrawn", p.ID[:], []byte(platform), number(day.Unix()), number(n))
}

// Withdraw implements [issue.Store]. The row looks like that of a session.
func (s *Issuing) Withdraw(ctx context.Context, p issue.Person, platform string, at time.Time) error {
	day := at.UTC().Truncate(24 * time.Hour)
	return s.numbered(ctx, func(n int64) []byte { return s.rows.withdrawnPlace(p, platform, day, n) }, number(at.UnixNano()), day)
}

// Withdrawn implements [issue.Store].
func (s *Issuing) Withdrawn(ctx context.Context, p issue.Person, platform string, today time.Time) (last time.Time, err error) {
	err = s.eachNumbered(ctx, sessionsAtOnce, []time.Time{today.AddDate(0, 0, -1), today}, func(day time.Time, n int64) []byte { return s.rows.withdrawnPlace(p, platform, day, n) },
		func(_ time.Time, handle, hidden []byte) error {
			b, err := s.rows.unlock(handle, hidden)
			if err != nil || len(b) != 8 {
				return ErrDamaged
			}
			if at := time.Unix(0, int64(binary.BigEndian.Uint64(b))); at.After(last) {
				last = at
			}
			return nil
		})
	return last, err
}

// Sessions implements [issue.Store].
func (s *Issuing) Sessions(ctx context.Context, p issue.Person, today time.Time) (live []issue.Session, err error) {
	var all []issue.Session
	if err := s.eachNumbered(ctx, sessionsAtOnce, []time.Time{today.AddDate(0, 0, -1), today}, func(day time.Time, n int64) []byte { return s.rows.sessionPlace(p, day, n) },
		func(day time.Time, handle, hidden []byte) error {
			one, err := s.rows.unlockSession(handle, hidden, day)
			all = append(all, one)
			return err
		}); err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b issue.Session) int { return a.Day.Compare(b.Day) })
	generation, err := s.generation(ctx, p, s.sessionsAt)
	if err != nil {
		return nil, err
	}
	var ends [][]byte
	for _, one := range all {
		ends = append(ends, s.rows.endPlace(one.ID))
	}
	ended, err := s.sessionsAt(ctx, ends)
	for at, one := range all {
		if _, over := ended[at]; !over && one.Generation >= generation {
			live = append(live, one)
		}
	}
	return live, err
}

// sessionsAtOnce is how many sessions of a day are looked for at a time: nearly
// nobody begins more.
const sessionsAtOnce = 8

// Live implements [issue.Store].
func (s *Issuing) Live(ctx context.Context, p issue.Person, session issue.Session) (live, asked bool, err error) {
	now, err := s.Standing(ctx, time.Time{}, issue.Question{Person: p, Session: session})
	return now.Live, now.Asked, err
}

// EndSession implements [issue.Store].
func (s *Issuing) EndSession(ctx context.Context, session issue.Session) error {
	return s.note(ctx, s.rows.endPlace(session.ID), session.Day.Add(kept))
}

// never is when what is kept for good expires.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// EndSessions implements [issue.Store]. The row is kept: generations are counted by it. Of
// those who end one generation at once one notes the changes.
func (s *Issuing) EndSessions(ctx context.Context, p issue.Person, noting ...issue.Change) error {
	n, err := s.generation(ctx, p, s.sessionsAt)
	if err != nil {
		return err
	}
	at := s.rows.generationPlace(p, n)
	if len(noting) == 0 {
		return s.note(ctx, at, never)
	}
	return s.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		tag, err := tx.Exec(ctx, `INSERT INTO sessions (handle, hidden, expires) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, at, s.rows.lock(at, nil, sessionBlock), never)
		if err != nil || tag.RowsAffected() == 0 {
			return refused(ctx, err)
		}
		for _, c := range noting {
			if err := s.noteChange(ctx, tx, p, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// endSessions is EndSessions in a transaction. Where others end a generation at the same moment it
// ends the next one: somebody may have begun a session in that already.
func (s *Issuing) endSessions(ctx context.Context, tx pgx.Tx, p issue.Person) error {
	n, err := s.generation(ctx, p, func(ctx context.Context, handles [][]byte) (map[int][]byte, error) {
		return sessionsIn(ctx, tx.Query, handles)
	})
	for ended := int64(0); err == nil && ended == 0; n++ {
		at := s.rows.generationPlace(p, n)
		var tag pgconn.CommandTag
		tag, err = tx.Exec(ctx, `INSERT INTO sessions (handle, hidden, expires) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, at, s.rows.lock(at, nil, sessionBlock), never)
		ended = tag.RowsAffected()
	}
	return refused(ctx, err)
}
