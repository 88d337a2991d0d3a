package postgres

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/mail"
)

// Reminders are the part of the outbox that reminds parties of the bundle.
type Reminders struct {
	db   *db
	rows *sharedRows
}

// Outbox is for a [mail.Sender].
func (s Reminders) Outbox() mail.Outbox {
	return mail.Outbox{Take: s.take, Postpone: s.db.postpone, Done: s.done, Waiting: func(ctx context.Context, now time.Time) (mail.Waiting, error) {
		return s.db.waiting(ctx, `SELECT count(*) FILTER (WHERE since < date_trunc('hour', $1::timestamptz)), min(since) FILTER (WHERE since < date_trunc('hour', $1::timestamptz)), count(*) FILTER (WHERE refused AND day > $1::date - 60) FROM mails WHERE `+toParties, now.UTC())
	}}
}

func (s Reminders) take(ctx context.Context, now, until time.Time) (mail.Letter, bool, error) {
	var party string
	var tries int
	l, ok, err := s.db.take(ctx, takeSQL(toParties)+`party, tries`, now, until, &party, &tries)
	l.Party, l.Tries = party, tries
	return l, ok, err
}

func (s Reminders) done(ctx context.Context, l mail.Letter, o mail.Outcome, now time.Time) error {
	return s.db.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.db.exec(ctx, `UPDATE mails SET since = NULL, due = NULL, tries = 0, done = $3, refused = $4 WHERE id = $1 AND due = $2`,
			l.ID[:], l.Held, now.UTC(), o == mail.Refused)
		return err
	})
}

// Put puts a reminder into the outbox: see [disclose.Reminders]. What is older than 60 days
// goes: it says nothing that the cases do not.
func (s Reminders) Put(ctx context.Context, p disclose.Party, leaf int64, now time.Time) error {
	key, err := s.rows.get(ctx, s.db)
	if err != nil {
		return err
	}
	since := now.UTC().Truncate(time.Hour)
	id := key.mailID(mail.Reminder, []byte(p.String()), binary.BigEndian.AppendUint64(nil, uint64(leaf)), []byte(since.Format(time.RFC3339)))
	hidden, err := key.lockMail(id, hiddenMail{})
	if err != nil {
		return err
	}
	return s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		if _, err := tx.Exec(ctx, `DELETE FROM mails WHERE party = $1 AND done IS NOT NULL AND day < $2::date - 60`, p.String(), now.UTC()); err != nil {
			return refused(ctx, err)
		}
		_, err := tx.Exec(ctx, `INSERT INTO mails (id, kind, party, leaf, hidden, day, since, due) VALUES ($1, 'reminder', $2, $3, $4, $5, $6, $6) ON CONFLICT DO NOTHING`,
			id, p.String(), leaf, hidden, since.Truncate(24*time.Hour), since)
		return refused(ctx, err)
	})
}

// waitsSQL is what waits for a party with the id $1 at $2: the newest leaf, since when the
// last of it waits, and the first time limit to come.
var waitsSQL = map[disclose.Role]string{
	disclose.RoleCustodian: `SELECT max(c.recorded_leaf), max(c.approve_from), min(least(c.expires, CASE WHEN c.answer_by > $2 THEN c.answer_by END))
	  FROM cases c WHERE c.waiting > 0 AND c.state IN (` + recorded + `, ` + authorised + `, ` + released + `) AND c.kind IN ` + decidedKinds + `
	  AND c.expires > $2 AND c.approve_from <= $2 AND ` + toldBefore(`$2`) + ` AND NOT EXISTS (SELECT FROM approvals a WHERE a.case_id = c.id AND a.custodian = $1)
	  AND NOT EXISTS (SELECT FROM statements s WHERE s.case_id = c.id AND s.custodian = $1 AND s.kind = 'recusal')`,
	disclose.RoleAuthority: `SELECT max(leaf), NULL::timestamptz, min(due) FROM (
	  SELECT c.recorded_leaf AS leaf, c.validate_by AS due FROM cases c WHERE c.authority = $1 AND c.day > $2::date - 400 AND c.validate_by > $2 AND ` + mayLapse + ` UNION ALL
	  SELECT o.leaf, c.expires FROM objections o JOIN cases c ON c.id = o.case_id
	  WHERE c.authority = $1 AND o.suspends AND o.outcome IS NULL AND o.leaf IS NOT NULL AND c.state = ` + recorded + ` AND c.expires > $2) w`,
	disclose.RoleAsked: `SELECT max(s.n), NULL::timestamptz, min(CASE WHEN c.answer_by > $2 THEN c.answer_by END)
	  FROM cases c JOIN statements s ON s.case_id = c.id WHERE c.authority = $1 AND c.day > $2::date - 400 AND c.state IN (` + recorded + `, ` + authorised + `, ` + released + `)
	  AND c.waiting > 0 AND s.kind = 'question' AND s.answer IS NULL`,
	disclose.RoleRequester: `SELECT max(greatest(c.released_leaf, (SELECT max(r.released_leaf) FROM case_rounds r WHERE r.case_id = c.id))), NULL::timestamptz, NULL::timestamptz
	  FROM cases c WHERE c.requester = $1 AND c.day > $2::date - 400 AND c.released > 0 AND c.state IN (` + authorised + `, ` + released + `, ` + noticed + `)`,
}

// Waits says what waits for a party: see [disclose.Reminders]. At a glance: what is put into
// the outbox by it is put there again, or once too often, if the database fails over.
func (s Reminders) Waits(ctx context.Context, p disclose.Party, now time.Time) (w disclose.Waits, r disclose.Reminded, err error) {
	err = s.db.glance(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		w, r = disclose.Waits{}, disclose.Reminded{}
		var newest *int64
		var begun, due, at *time.Time
		if err := c.QueryRow(ctx, waitsSQL[p.Role], p.ID, now.UTC()).Scan(&newest, &begun, &due); err != nil || newest == nil {
			return err
		}
		w.Newest, w.Begun, w.Due = *newest, utc(begun), utc(due)
		err := c.QueryRow(ctx, `
			SELECT coalesce(max(leaf), 0), max(coalesce(done, since)), coalesce(bool_or(done IS NULL), false), count(*) FILTER (WHERE coalesce(done, since) > $2)
			FROM mails WHERE party = $1`, p.String(), now.UTC().AddDate(0, 0, -1)).Scan(&r.Leaf, &at, &r.Waiting, &r.Day)
		r.At = utc(at)
		return err
	})
	return w, r, err
}

func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
