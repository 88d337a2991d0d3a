package postgres

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/token"
)

// What changed in somebody's account is in rows that look like those of sessions: one for
// each change, which is never written again. No two are seen to be of one person, so that
// whoever has copies of the database, and platforms that tell them when somebody signed out
// everywhere, cannot find one person in both.
//
// They are found by a secret of the person, which is in a row of its own. Without it they are
// nobody's: so a deletion deletes that row alone. To delete all of them would show which of
// them belong together. They go one by one when their day is 400 days old.
//
//	changes  of a label         secret ‖ day ‖ kind, which is enrolled or sealed anew
//	change   of secret, day, n  kind ‖ 0 ‖ detail

// history is what the row of the secret hides.
type history struct {
	secret [32]byte
	since  issue.Change // zero: of somebody who was enrolled before there were these rows
}

func newHistory(since issue.Change) (h history) {
	h.since = since
	rand.Read(h.secret[:]) // never fails (crypto/rand)
	return h
}

func (k rowKey) historyPlace(label string) []byte { return k.handle("changes", []byte(label)) }

func (k rowKey) lockHistory(label string, h history) (at, hidden []byte) {
	at = k.historyPlace(label)
	return at, k.lock(at, slices.Concat(h.secret[:], number(h.since.Day.Unix()), []byte(h.since.Kind)), sessionBlock)
}

func (k rowKey) unlockHistory(at, hidden []byte) (h history, err error) {
	b, err := k.unlock(at, hidden)
	if err != nil || len(b) < 40 {
		return h, ErrDamaged
	}
	h.secret = [32]byte(b)
	if kind := string(b[40:]); kind != "" {
		h.since = issue.Change{Day: time.Unix(int64(binary.BigEndian.Uint64(b[32:])), 0).UTC(), Kind: issue.ChangeKind(kind)}
	}
	return h, nil
}

// changePlace is the row of the n-th change of a day.
func (k rowKey) changePlace(secret [32]byte, day time.Time, n int) []byte {
	return k.handle("change", secret[:], number(day.Unix()), number(int64(n)))
}

// alone lets one transaction at a time change what is under a handle, also where no row is yet.
func alone(ctx context.Context, tx pgx.Tx, handle []byte) error {
	_, err := tx.Exec(ctx, aloneSQL, handle)
	return refused(ctx, err)
}

const aloneSQL = `SELECT pg_advisory_xact_lock(('x' || encode(substr($1::bytea, 1, 8), 'hex'))::bit(64)::bigint)`

// noteChange notes a change in a transaction, once on a day: whoever repeats what they did not
// hear the end of changes nothing.
func (s *Issuing) noteChange(ctx context.Context, tx pgx.Tx, p issue.Person, c issue.Change) error {
	if !storable(c.Detail) || len(c.Detail) > issue.MaxWord {
		return ErrText
	}
	at := s.rows.historyPlace(p.Label)
	var asked bool
	var hidden []byte
	first := &pgx.Batch{}
	first.Queue(aloneSQL, at)
	first.Queue(`SELECT EXISTS (SELECT FROM erasures WHERE label = $2), (SELECT hidden FROM sessions WHERE handle = $1)`, at, p.Label).QueryRow(func(row pgx.Row) error {
		return row.Scan(&asked, &hidden)
	})
	if err := tx.SendBatch(ctx, first).Close(); err != nil || asked {
		return refused(ctx, err)
	}
	then := &pgx.Batch{}
	h := newHistory(issue.Change{})
	if hidden == nil {
		_, hidden = s.rows.lockHistory(p.Label, h)
		then.Queue(`INSERT INTO sessions (handle, hidden, expires) VALUES ($1, $2, $3)`, at, hidden, never)
	} else {
		var err error
		if h, err = s.rows.unlockHistory(at, hidden); err != nil {
			return err
		}
	}
	day := c.Day.UTC().Truncate(24 * time.Hour)
	noted, err := s.changesOf(ctx, tx, h.secret, day)
	n, text, more := len(noted), string(c.Kind)+"\x00"+c.Detail, string(issue.ChangeMore)+"\x00"
	if err != nil || slices.Contains(noted, text) {
		return err
	}
	switch lets := c.Kind.Lets(); {
	case n < issue.ChangesADay-1, lets && n < mostOfADay-1:
	case n == mostOfADay || slices.Contains(noted, more):
		return nil
	default:
		text = more
	}
	place := s.rows.changePlace(h.secret, day, n)
	then.Queue(`INSERT INTO sessions (handle, hidden, expires) VALUES ($1, $2, $3)`, place, s.rows.lock(place, []byte(text), sessionBlock), day.AddDate(0, 0, issue.ChangeDays))
	return refused(ctx, tx.SendBatch(ctx, then).Close())
}

// mostOfADay has room for those that let somebody in beyond all others of the day.
const mostOfADay = 2 * issue.ChangesADay

// changesOf are the changes of one day as they are stored.
func (s *Issuing) changesOf(ctx context.Context, tx pgx.Tx, secret [32]byte, day time.Time) (all []string, err error) {
	var places [][]byte
	for n := range mostOfADay {
		places = append(places, s.rows.changePlace(secret, day, n))
	}
	rows, err := tx.Query(ctx, `SELECT handle, hidden FROM sessions WHERE handle = ANY ($1::bytea[])`, places)
	if err != nil {
		return nil, refused(ctx, err)
	}
	var at, hidden []byte
	_, err = pgx.ForEachRow(rows, []any{&at, &hidden}, func() error {
		text, err := s.rows.unlock(at, hidden)
		all = append(all, string(text))
		return err
	})
	return all, refused(ctx, err)
}

// Change implements [issue.Store].
func (s *Issuing) Change(ctx context.Context, p issue.Person, c issue.Change) error {
	return s.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error { return s.noteChange(ctx, tx, p, c) })
}

// changesAtOnce is how many changes of a day are looked for at a time: nearly no day has more.
const changesAtOnce = 2

// Changes implements [issue.Store]. At a glance: they are shown, and change nothing.
func (s *Issuing) Changes(ctx context.Context, p issue.Person, today time.Time) (all []issue.Change, err error) {
	at := s.rows.historyPlace(p.Label)
	there, err := s.sessionsAt(ctx, [][]byte{at})
	if err != nil || there[0] == nil {
		return nil, err
	}
	h, err := s.rows.unlockHistory(at, there[0])
	if err != nil {
		return nil, err
	}
	if h.since.Kind != "" {
		all = append(all, h.since)
	}
	var days []time.Time
	for ago := issue.ChangeDays - 1; ago >= 0; ago-- {
		days = append(days, today.AddDate(0, 0, -ago))
	}
	err = s.eachNumbered(ctx, changesAtOnce, days, func(day time.Time, n int64) []byte { return s.rows.changePlace(h.secret, day, int(n)) },
		func(day time.Time, at, hidden []byte) error {
			b, err := s.rows.unlock(at, hidden)
			kind, detail, ok := bytes.Cut(b, []byte{0})
			if err != nil || !ok {
				return ErrDamaged
			}
			all = append(all, issue.Change{Day: day, Kind: issue.ChangeKind(kind), Detail: string(detail)})
			return nil
		})
	slices.SortStableFunc(all, func(a, b issue.Change) int { return a.Day.Compare(b.Day) })
	return all, err
}

// The past of a pen name is in rows like those of notes, one for each kind of change: a
// platform knows when it was left, and by that moment finds the row in copies of the database,
// in which then stands nothing of what only the person did. A row has the days, since 1970.
const (
	pastSize = 4
	pastMost = 31 // a row has room for as many; the oldest go first
)

var pastKinds = []issue.ChangeKind{issue.ChangeRenamed, issue.ChangeLeft, issue.ChangeWithdrawn}

const secondsADay = 24 * 60 * 60

func (k rowKey) pastPlace(name token.Pseudonym, kind issue.ChangeKind) []byte {
	return k.notePlace("past "+issue.NoteKind(kind), name)
}

// ChangeName implements [issue.Store].
func (s *Issuing) ChangeName(ctx context.Context, name token.Pseudonym, kind issue.ChangeKind, day time.Time) error {
	if !slices.Contains(pastKinds, kind) {
		return ErrRefused
	}
	at := s.rows.pastPlace(name, kind)
	one := binary.BigEndian.AppendUint32(nil, uint32(day.Unix()/secondsADay))
	return s.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		if err := alone(ctx, tx, at); err != nil {
			return err
		}
		var hidden, text []byte
		err := tx.QueryRow(ctx, `SELECT hidden FROM notes WHERE place = $1`, at).Scan(&hidden)
		if err == nil {
			text, err = s.rows.unlock(at, hidden)
		}
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return refused(ctx, err)
		}
		if bytes.HasSuffix(text, one) {
			return nil
		}
		if text = append(text, one...); len(text) > pastMost*pastSize {
			text = text[pastSize:]
		}
		_, err = tx.Exec(ctx, `
			INSERT INTO notes (place, hidden, day) VALUES ($1, $2, $3)
			ON CONFLICT (place) DO UPDATE SET hidden = excluded.hidden, day = excluded.day`, at, s.rows.lock(at, text, noteBlock), day.UTC())
		return refused(ctx, err)
	})
}

// ChangesOfNames implements [issue.Store].
func (s *Issuing) ChangesOfNames(ctx context.Context, names ...token.Pseudonym) (all [][]issue.Change, err error) {
	var places [][]byte
	for _, name := range names {
		for _, kind := range pastKinds {
			places = append(places, s.rows.pastPlace(name, kind))
		}
	}
	err = s.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		all = make([][]issue.Change, len(names))
		return s.eachNote(ctx, c, places, func(at int, text []byte) error {
			if len(text)%pastSize != 0 {
				return ErrDamaged
			}
			of := &all[at/len(pastKinds)]
			for b := range slices.Chunk(text, pastSize) {
				*of = append(*of, issue.Change{Kind: pastKinds[at%len(pastKinds)], Day: time.Unix(int64(binary.BigEndian.Uint32(b))*secondsADay, 0).UTC()})
			}
			return nil
		})
	})
	for _, of := range all {
		slices.SortStableFunc(of, func(a, b issue.Change) int {
			return cmp.Or(a.Day.Compare(b.Day), cmp.Compare(slices.Index(pastKinds, a.Kind), slices.Index(pastKinds, b.Kind)))
		})
	}
	return all, err
}
