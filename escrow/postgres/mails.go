package postgres

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/mail"
)

// mailBlock is what rows of the outbox are padded to: all look the same.
const mailBlock = 384

// mailRecords is how many records of a person a duty can name: more than anybody has.
const mailRecords = 6

// hiddenMail is what a row of the outbox hides: where the address is, and of a duty of a case
// what becomes of it.
type hiddenMail struct {
	Places   [][]byte     `json:"p,omitempty"` // of the address, one for each record of the person
	To       string       `json:"t,omitempty"` // where it is not stored any more
	Language string       `json:"l,omitempty"` // likewise
	Kind     mail.Kind    `json:"k,omitempty"` // where the row must not say it: it says changed
	Tries    int          `json:"n,omitempty"`
	Due      int64        `json:"d,omitempty"` // when it is tried again, in microseconds of Unix
	Outcome  mail.Outcome `json:"o,omitempty"`
	Ended    int64        `json:"e,omitempty"` // to the minute, in seconds of Unix
	Refused  []byte       `json:"r,omitempty"` // which address (refusedMark)
}

// addressPlace is the row of the address of a record's person.
func (k rowKey) addressPlace(label string) []byte { return k.handle("address", []byte(label))[:16] }

func (k rowKey) mailID(kind mail.Kind, about ...[]byte) []byte {
	return k.handle("mail", append([][]byte{[]byte(kind)}, about...)...)[:16]
}

func (k rowKey) lockMail(id []byte, m hiddenMail) ([]byte, error) {
	return k.lockJSON(id, m, mailBlock)
}

// lockJSON is lock for what must not be longer than one block.
func (k rowKey) lockJSON(handle []byte, v any, block int) ([]byte, error) {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false) // an address has room for what it may be
	if err := e.Encode(v); err != nil {
		return nil, ErrText.Because(err)
	}
	if text.Len() > block-4 {
		return nil, ErrTooLarge
	}
	return k.lock(handle, text.Bytes(), block), nil
}

func (k rowKey) unlockMail(id, hidden []byte) (m hiddenMail, err error) {
	text, err := k.unlock(id, hidden)
	if err == nil && json.Unmarshal(text, &m) != nil {
		err = ErrDamaged
	}
	return m, err
}

// pledge puts the duties of a change into the outbox.
func pledge(ctx context.Context, tx pgx.Tx, key rowKey, c disclose.Case, duties []disclose.Duty) error {
	if key.none {
		return nil // nobody ever signed in: there is no pen name, and nobody behind one
	}
	b := &pgx.Batch{}
	for _, d := range duties {
		m := hiddenMail{}
		for _, label := range d.Labels[max(0, len(d.Labels)-mailRecords):] {
			m.Places = append(m.Places, key.addressPlace(label))
		}
		id := key.mailID(mail.Kind(d.Letter), []byte(c.ID), binary.BigEndian.AppendUint32(nil, uint32(d.Target)))
		hidden, err := key.lockMail(id, m)
		if err != nil {
			return err
		}
		since := d.Since.UTC().Truncate(time.Hour)
		b.Queue(`INSERT INTO mails (id, kind, case_id, target, hidden, day, since, due) VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT DO NOTHING`,
			id, string(d.Letter), c.ID, d.Target, hidden, since.Truncate(24*time.Hour), since)
	}
	return refused(ctx, tx.SendBatch(ctx, b).Close())
}

// outcomesOfMail are the outcomes as the disclosing side knows them.
var outcomesOfMail = map[mail.Outcome]disclose.MailOutcome{
	mail.Accepted: disclose.MailAccepted, mail.NoAddress: disclose.MailNoAddress, mail.Refused: disclose.MailRefused,
}

// Mailed implements [disclose.Cases].
func (s Cases) Mailed(ctx context.Context, id string, kind disclose.Letter) (mailed map[int]disclose.Mailed, err error) {
	key, err := s.rows.get(ctx, s.db)
	if err != nil {
		return nil, err
	}
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		mailed = make(map[int]disclose.Mailed)
		rows, err := c.Query(ctx, `SELECT id, target, hidden FROM mails WHERE case_id = $1 AND kind = $2`, id, string(kind))
		if err != nil {
			return err
		}
		var row, hidden []byte
		var target int
		_, err = pgx.ForEachRow(rows, []any{&row, &target, &hidden}, func() error {
			mailed[target] = disclose.Mailed{Outcome: disclose.MailWaiting}
			if m, err := key.unlockMail(row, hidden); err == nil && m.Outcome != "" { // a damaged one waits
				mailed[target] = disclose.Mailed{Outcome: outcomesOfMail[m.Outcome], At: time.Unix(m.Ended, 0).UTC()}
			}
			return nil
		})
		return err
	})
	return mailed, err
}

// takeSQL holds the first duty back until $2 and returns it: $1 is now, and what is of this side follows.
func takeSQL(of string) string {
	return `UPDATE mails SET due = $2, tries = tries + 1 WHERE id = (
		  SELECT id FROM mails WHERE done IS NULL AND due <= $1 AND ` + of + ` ORDER BY due, id LIMIT 1 FOR UPDATE SKIP LOCKED) AND due <= $1
		RETURNING id, kind, `
}

const (
	aboutThemselves = `kind <> 'notice' AND kind <> 'notice_first' AND kind <> 'reminder'`
	toParties       = `kind <> 'notice' AND kind <> 'notice_first' AND kind = 'reminder'`
)

// Outbox is the part of the outbox that writes to people: see [mail.Outbox].
func (s *Issuing) Outbox() mail.Outbox {
	return mail.Outbox{Take: s.takeMail, Postpone: s.postponeMail, Done: s.mailed, Waiting: s.waitingMails}
}

// waitingMails counts those of cases as long as they are looked through at every run.
func (s *Issuing) waitingMails(ctx context.Context, now time.Time) (mail.Waiting, error) {
	w, err := s.waiting(ctx, `SELECT count(*), min(since), 0 FROM mails WHERE done IS NULL AND since < date_trunc('hour', $1::timestamptz) AND `+aboutThemselves, now.UTC())
	if err != nil {
		return w, err
	}
	all, err := s.courtMails(ctx, now, onlyNew)
	hour := now.UTC().Truncate(time.Hour)
	for _, one := range all {
		if one.Outcome == "" && one.since.Before(hour) {
			if w.Mails++; w.Oldest.IsZero() || one.since.Before(w.Oldest) {
				w.Oldest = one.since.UTC()
			}
		}
	}
	return w, err
}

// take takes a duty. Two attempts may hold two back, if the answer to the first was lost:
// that one is due again later.
func (d *db) take(ctx context.Context, sql string, now, until time.Time, rest ...any) (l mail.Letter, ok bool, err error) {
	err = d.settle(ctx, func(ctx context.Context, _ bool) error {
		return d.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
			var id []byte
			l = mail.Letter{Held: until.UTC().Truncate(time.Microsecond)}
			err := tx.QueryRow(ctx, sql, now.UTC(), l.Held).Scan(append([]any{&id, (*string)(&l.Kind)}, rest...)...)
			ok = err == nil
			copy(l.ID[:], id)
			if errors.Is(err, pgx.ErrNoRows) {
				err = nil
			}
			return refused(ctx, err)
		})
	})
	return l, ok, err
}

func (d *db) postpone(ctx context.Context, l mail.Letter, until time.Time) error {
	return d.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := d.exec(ctx, `UPDATE mails SET due = $3 WHERE id = $1 AND due = $2`, l.ID[:], l.Held, until.UTC())
		return err
	})
}

func (d *db) waiting(ctx context.Context, sql string, args ...any) (w mail.Waiting, err error) {
	err = d.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		var oldest *time.Time
		err := c.QueryRow(ctx, sql, args...).Scan(&w.Mails, &oldest, &w.Refused)
		if oldest != nil {
			w.Oldest = oldest.UTC()
		}
		return err
	})
	return w, err
}

func (s *Issuing) takeMail(ctx context.Context, now, until time.Time) (mail.Letter, bool, error) {
	var hidden []byte
	var m hiddenMail
	l, ok, err := s.take(ctx, takeSQL(aboutThemselves)+`hidden, tries`, now, until, &hidden, &m.Tries)
	if err == nil && ok {
		l.Tries = m.Tries
		if m, err = s.rows.unlockMail(l.ID[:], hidden); err != nil {
			l.Damaged = true
			return l, true, nil
		}
	} else if err == nil {
		l, m, ok, err = s.takeCourtMail(ctx, now, until)
	}
	if err != nil || !ok || l.Damaged {
		return l, ok && err == nil, err
	}
	l.To, l.Language, l.Kind = mail.Address(m.To), m.Language, cmp.Or(m.Kind, l.Kind)
	for _, place := range m.Places {
		c, mark, err := s.contactAt(ctx, place)
		if errors.Is(err, ErrDamaged) {
			l.Damaged = true
			return l, true, nil
		}
		if err != nil {
			return l, false, err // it is due again when it is held no more
		}
		if l.To, l.Language, l.Code, l.Mark = c.Confirmed, c.Language, c.Code, mark; l.Kind == mail.Confirm {
			l.To = c.Pending
		}
		if l.To != "" {
			break
		}
	}
	return l, true, nil
}

func (s *Issuing) postponeMail(ctx context.Context, l mail.Letter, until time.Time) error {
	if !ofACase(l.Kind) {
		return s.postpone(ctx, l, until)
	}
	return s.changeCourtMail(ctx, l, func(m *hiddenMail) { m.Due = until.UnixMicro() })
}

// mailed ends a duty to a person. What they do about their address leaves no row; that the
// server refused them for good they see on their page: of another process, within the hour.
func (s *Issuing) mailed(ctx context.Context, l mail.Letter, o mail.Outcome, now time.Time) error {
	if !ofACase(l.Kind) {
		return s.settle(ctx, func(ctx context.Context, _ bool) error {
			_, err := s.exec(ctx, `DELETE FROM mails WHERE id = $1 AND due = $2`, l.ID[:], l.Held)
			return err
		})
	}
	return s.changeCourtMail(ctx, l, func(m *hiddenMail) {
		m.Outcome, m.Ended, m.Due = o, endOf(now).Unix(), 0
		if o == mail.Refused {
			m.Refused = l.Mark
			s.refusedAt(*m)
		}
	})
}

// endOf is the end of the minute: an hour that begins with it is no shorter than promised.
func endOf(now time.Time) time.Time { return now.UTC().Truncate(time.Minute).Add(time.Minute) }

// randomID is of a mail that is about nothing but itself.
func randomID() []byte {
	id := make([]byte, 16)
	rand.Read(id) // never fails (crypto/rand)
	return id
}
