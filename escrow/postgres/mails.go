package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/mail"
)

// mailBlock is what rows of the outbox are padded to: all look the same.
const mailBlock = 256

// mailRecords is how many records of a person a duty can name: more than anybody has.
const mailRecords = 6

// hiddenMail is what a row of the outbox hides: where the address is, and what became of it.
type hiddenMail struct {
	Places  [][]byte     `json:"p,omitempty"` // of the address, one for each record of the person
	Outcome mail.Outcome `json:"o,omitempty"`
}

// addressPlace is the row of the address of a record's person.
func (k rowKey) addressPlace(label string) []byte { return k.handle("address", []byte(label))[:16] }

func (k rowKey) mailID(kind mail.Kind, about ...[]byte) []byte {
	return k.handle("mail", append([][]byte{[]byte(kind)}, about...)...)[:16]
}

func (k rowKey) lockMail(id []byte, m hiddenMail) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, ErrText.Because(err)
	}
	if len(text) > mailBlock-4 {
		return nil, ErrTooLarge
	}
	return k.lock(id, text, mailBlock), nil
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
	if bytes.Equal(key.name, newRowKey([32]byte{}).name) {
		return nil // nobody ever signed in: there is no pen name, and nobody behind one
	}
	b := &pgx.Batch{}
	for _, d := range duties {
		m := hiddenMail{}
		for _, label := range d.Labels[max(0, len(d.Labels)-mailRecords):] {
			m.Places = append(m.Places, key.addressPlace(label))
		}
		id := key.mailID(mail.Kind(d.Letter), []byte(c.ID), binary.BigEndian.AppendUint32(nil, uint32(d.Target))) //nolint:gosec // a place in a warrant
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
		rows, err := c.Query(ctx, `SELECT id, target, hidden, done FROM mails WHERE case_id = $1 AND kind = $2`, id, string(kind))
		if err != nil {
			return err
		}
		var row, hidden []byte
		var target int
		var done *time.Time
		_, err = pgx.ForEachRow(rows, []any{&row, &target, &hidden, &done}, func() error {
			one := disclose.Mailed{Outcome: disclose.MailWaiting}
			if done != nil {
				m, err := key.unlockMail(row, hidden)
				if err != nil {
					return err
				}
				one = disclose.Mailed{Outcome: outcomesOfMail[m.Outcome], At: done.UTC()}
			}
			mailed[target] = one
			return nil
		})
		return err
	})
	return mailed, err
}
