package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/issue"
	"github.com/penname/penname/verifier/proof"
)

// outcomes are what the states of a review mean to the issuing side.
var outcomes = map[disclose.ReviewState]issue.Review{
	disclose.ReviewWaiting:   {Outcome: proof.Accepted},
	disclose.ReviewAccepted:  {Outcome: proof.Accepted, InForce: true},
	disclose.ReviewObjected:  {Outcome: proof.Objected},
	disclose.ReviewSeparated: {Outcome: proof.Separated, InForce: true},
}

func (s *Issuing) reviews(ctx context.Context, where string, args ...any) (reviews []issue.Review, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `SELECT id, whose, CASE WHEN state = 'waiting' AND objected THEN 'objected' ELSE state END, due FROM reviews WHERE `+where, args...)
		if err != nil {
			return err
		}
		reviews, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (issue.Review, error) {
			var id string
			var whose []byte
			var state disclose.ReviewState
			var due *time.Time
			err := row.Scan(&id, &whose, (*string)(&state), &due)
			r := outcomes[state]
			r.Reference, r.Whose = id, whose
			if due != nil {
				r.From = *due
			}
			return r, err
		})
		return err
	})
	return reviews, err
}

// Review implements [issue.Store].
func (s *Issuing) Review(ctx context.Context, mark []byte) (issue.Review, error) {
	found, err := s.reviews(ctx, `mark = $1`, mark)
	if err != nil || len(found) == 0 {
		return issue.Review{}, err
	}
	return found[0], nil
}

// Acceptances implements [issue.Store].
func (s *Issuing) Acceptances(ctx context.Context, whose []byte) ([]issue.Review, error) {
	return s.reviews(ctx, `whose = $1 AND state = 'waiting' AND NOT objected ORDER BY id`, whose)
}

// Alike implements [issue.Store].
func (s *Issuing) Alike(ctx context.Context, fingerprint, likeness []byte) (known []issue.Known, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `SELECT id, account, marks FROM alike($1, $2) ORDER BY id`, fingerprint, likeness)
		if err != nil {
			return err
		}
		known, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (k issue.Known, err error) {
			var id []byte
			err = row.Scan(&id, &k.SameAccount, &k.Marks)
			copy(k.ID[:], id)
			return k, err
		})
		return err
	})
	return known, err
}

// Hold implements [issue.Store].
func (s *Issuing) Hold(ctx context.Context, h issue.Hold) (issue.Review, error) {
	err := s.settle(ctx, func(ctx context.Context, _ bool) error {
		_, err := s.exec(ctx, `
			INSERT INTO reviews (id, mark, whose, account, several, name, year, birthdate, provider, day)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
			h.Reference, h.Mark, h.Whose, h.SameAccount, h.Several, h.Name, h.Year, h.Birthdate, h.Provider, h.Day.UTC())
		return err
	})
	if err != nil {
		return issue.Review{}, err
	}
	return s.Review(ctx, h.Mark)
}

// Object implements [issue.Store].
func (s *Issuing) Object(ctx context.Context, whose []byte, reference string) error {
	return s.settle(ctx, func(ctx context.Context, doubt bool) error {
		n, err := s.exec(ctx, `UPDATE reviews SET objected = true WHERE id = $1 AND whose = $2 AND state = 'waiting' AND NOT objected`, reference, whose)
		if err == nil && n == 0 && !doubt {
			err = issue.ErrTooLate
		}
		return err
	})
}

// Admit implements [issue.Store].
func (s *Issuing) Admit(ctx context.Context, a issue.Admission) (done bool, err error) {
	err = s.transact(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		e := a.Enrolment
		var outcome *string
		err := tx.QueryRow(ctx, `SELECT admit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`, a.Mark, e.Fingerprint, e.Likeness, e.Birth, e.Marks,
			a.Known[:], a.Nobody, e.Person.ID[:], e.Person.Label, e.Person.Digest[:], e.Day.UTC()).Scan(&outcome)
		done = err == nil && outcome != nil
		if !done || disclose.ReviewState(*outcome) != disclose.ReviewSeparated {
			return refused(ctx, err)
		}
		second, err := e.Record.Pack(e.Person.Label)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO records (label, first_half, second_half, sealed, day) VALUES ($1, $2, $3, $4, $5)`,
			e.Person.Label, e.Record.FirstHalf, second, PackFields(e.Record.Fields), e.Day.UTC())
		if err != nil {
			return refused(ctx, err)
		}
		place, history := s.rows.lockHistory(e.Person.Label, newHistory(issue.Change{Day: e.Day, Kind: issue.ChangeEnrolled}))
		_, err = tx.Exec(ctx, `INSERT INTO sessions (handle, hidden, expires) VALUES ($1, $2, $3)`, place, history, never)
		return refused(ctx, err)
	})
	if name := constraint(err); name == "records_key_version" || name == "records_key_group" {
		err = issue.ErrOlderKey.Because(err)
	}
	return done && err == nil, err
}
