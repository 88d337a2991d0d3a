package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/escrow/mail"
)

// contactBlock is what rows of addresses are padded to: all look the same.
const contactBlock = 1024

// hiddenContact is what a row of an address hides: [issue.Contact], whose addresses print
// themselves to nobody.
type hiddenContact struct {
	Confirmed string    `json:"c,omitempty"`
	Refused   bool      `json:"r,omitempty"`
	Language  string    `json:"l,omitempty"`
	Pending   string    `json:"p,omitempty"`
	Code      string    `json:"k,omitempty"`
	Until     time.Time `json:"u,omitzero"`
	Wrong     int       `json:"w,omitempty"`
	Day       time.Time `json:"d,omitzero"`
	Sent      int       `json:"s,omitempty"`
	Nonce     []byte    `json:"x,omitempty"` // of this confirmation of the address
}

func (k rowKey) lockContact(place []byte, c issue.Contact, nonce []byte) ([]byte, error) {
	return k.lockJSON(place, hiddenContact{c.Confirmed.Reveal(), c.Refused, c.Language, c.Pending.Reveal(), c.Code, c.Until, c.Wrong, c.Day, c.Sent, nonce}, contactBlock)
}

// unlockContact returns what a row hides, and the mark that a duty has whose mail to this
// address was refused. That it was refused is in no row of an address: to write it there would
// show whose it is.
func (s *Issuing) unlockContact(place, hidden []byte) (c issue.Contact, mark, nonce []byte, err error) {
	text, err := s.rows.unlock(place, hidden)
	var h hiddenContact
	if err != nil || json.Unmarshal(text, &h) != nil {
		return c, nil, nil, ErrDamaged
	}
	c = issue.Contact{Confirmed: mail.Address(h.Confirmed), Refused: h.Refused, Language: h.Language, Pending: mail.Address(h.Pending), Code: h.Code,
		Until: h.Until, Wrong: h.Wrong, Day: h.Day, Sent: h.Sent}
	mark = s.rows.refusedMark(c.Confirmed, h.Nonce)
	if was, ok := s.courts.refused.Load([16]byte(place)); ok && c.Confirmed != "" && bytes.Equal(was.([]byte), mark) {
		c.Refused = true
	}
	return c, mark, h.Nonce, nil
}

// Contact implements [issue.Store].
func (s *Issuing) Contact(ctx context.Context, p issue.Person) (issue.Contact, error) {
	c, _, err := s.contactAt(ctx, s.rows.addressPlace(p.Label))
	return c, err
}

// contactAt returns what a row hides, and its mark; the zero Contact if there is none.
func (s *Issuing) contactAt(ctx context.Context, place []byte) (c issue.Contact, mark []byte, err error) {
	var hidden []byte
	err = s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, `SELECT hidden FROM addresses WHERE place = $1`, place).Scan(&hidden)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return issue.Contact{}, nil, nil
	}
	if err != nil {
		return issue.Contact{}, nil, err
	}
	c, mark, _, err = s.unlockContact(place, hidden)
	return c, mark, err
}

// SetContact implements [issue.Store]. Whoever asks to be deleted does so before their address
// is taken away, so that the lock puts one of the two after both.
func (s *Issuing) SetContact(ctx context.Context, p issue.Person, was, now issue.Contact, at time.Time, told ...issue.Told) (done bool, err error) {
	place := s.rows.addressPlace(p.Label)
	err = s.transact(ctx, func(ctx context.Context, tx pgx.Tx, doubt bool) error {
		var asked bool
		var there, hidden, nonce []byte
		have := issue.Contact{}
		// At one place one after the other, also where no row is yet.
		if err := alone(ctx, tx, place); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM erasures WHERE label = $2), (SELECT hidden FROM addresses WHERE place = $1)`, place, p.Label).Scan(&asked, &there)
		if err != nil {
			return refused(ctx, err)
		}
		if there != nil {
			if have, _, nonce, err = s.unlockContact(place, there); err != nil {
				return err
			}
		}
		none := now == issue.Contact{}
		switch done = false; {
		case doubt && have == now: // by the attempt whose answer was lost
			done = true
			return nil
		case have != was, asked && !none:
			return nil
		case none:
			_, err = tx.Exec(ctx, `DELETE FROM addresses WHERE place = $1`, place)
		default:
			if now.Pending == "" { // it is confirmed now
				nonce = randomID()[:8]
			}
			if hidden, err = s.rows.lockContact(place, now, nonce); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, `INSERT INTO addresses (place, hidden, day) VALUES ($1, $2, $3) ON CONFLICT (place) DO UPDATE SET hidden = excluded.hidden, day = excluded.day`, place, hidden, at.UTC())
		}
		if err != nil {
			return refused(ctx, err)
		}
		if kind := now.ChangeOf(was); kind != "" && !asked {
			if err := s.noteChange(ctx, tx, p, issue.Change{Day: at.UTC().Truncate(24 * time.Hour), Kind: kind}); err != nil {
				return err
			}
		}
		b, err := s.rows.mailsAbout(place, at, was.Language, told)
		if err != nil {
			return err
		}
		done = true
		return refused(ctx, tx.SendBatch(ctx, b).Close())
	})
	return done && err == nil, err
}

// mailsAbout are the mails that a change of the address at a place causes, to somebody who was
// written to in a language.
func (k rowKey) mailsAbout(place []byte, at time.Time, language string, told []issue.Told) (*pgx.Batch, error) {
	b, since := &pgx.Batch{}, at.UTC().Truncate(time.Hour)
	for _, t := range told {
		id := randomID()
		m, kind := hiddenMail{To: t.To.Reveal()}, t.Kind
		if kind == mail.Recovery || kind == mail.Keys {
			m.Kind, kind = kind, mail.Changed
		}
		if t.To == "" {
			m.Places = [][]byte{place}
		} else {
			m.Language = language
		}
		hidden, err := k.lockMail(id, m)
		if err != nil {
			return nil, err
		}
		b.Queue(`INSERT INTO mails (id, kind, hidden, day, since, due) VALUES ($1, $2, $3, $4, $5, $5)`, id, string(kind), hidden, since.Truncate(24*time.Hour), since)
	}
	return b, nil
}
