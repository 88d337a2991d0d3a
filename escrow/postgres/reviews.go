package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penname/penname/escrow/disclose"
	"github.com/penname/penname/escrow/translog"
	"github.com/penname/penname/verifier/proof"
)

// Reviews is the store of [disclose.Reviews].
type Reviews struct{ db *db }

// reviewSQL reads whole reviews in one statement, and so from one snapshot; of those
// that were accepted also who signed that.
const reviewSQL = `
	SELECT r.id, r.state, r.day, r.account, r.several, r.name, r.year, r.birthdate, r.provider, r.due, r.objected, o.salt, o.signed,
	  array(SELECT reviewer FROM review_entries e WHERE e.review = r.id ORDER BY reviewer),
	  array(SELECT outcome  FROM review_entries e WHERE e.review = r.id ORDER BY reviewer),
	  array(SELECT signed   FROM review_entries e WHERE e.review = r.id ORDER BY reviewer)
	FROM reviews r LEFT JOIN review_outcomes o ON o.review = r.id AND o.outcome = 'accept' `

func scanReview(row pgx.CollectableRow) (r disclose.Review, err error) {
	var salt []byte
	var reviewers, outcomes, signed []string
	var due *time.Time
	err = row.Scan(&r.ID, (*string)(&r.State), &r.Day, &r.SameAccount, &r.Several, &r.Name, &r.Year, &r.Birthdate, &r.Provider, &due, &r.Objected,
		&salt, &r.Accepted.Signed, &reviewers, &outcomes, &signed)
	copy(r.Accepted.Salt[:], salt)
	if due != nil {
		r.Due = *due
	}
	for i := range reviewers {
		r.Decisions = append(r.Decisions, disclose.ReviewEntry{Reviewer: reviewers[i], Outcome: outcomes[i], Signed: signed[i]})
	}
	return r, err
}

func readReviews(ctx context.Context, q querier, where string, args ...any) ([]disclose.Review, error) {
	rows, err := q.Query(ctx, reviewSQL+where, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanReview)
}

// List is [disclose.Reviews].List.
func (s Reviews) List(ctx context.Context, states []disclose.ReviewState, n int) (reviews []disclose.Review, err error) {
	err = s.db.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		reviews, err = readReviews(ctx, c, `WHERE r.state = ANY ($1::text[]) ORDER BY r.day, r.id LIMIT $2`, states, n)
		return err
	})
	return reviews, err
}

// Apply is [disclose.Reviews].Apply. The log's lock comes first, as everywhere.
func (s Reviews) Apply(ctx context.Context, reference string, change func(disclose.Review) (disclose.ReviewChange, error), leaf func(disclose.ReviewChange) proof.Leaf) (r disclose.Review, err error) {
	var wanted *disclose.ReviewChange // what an attempt whose answer was lost had to say
	err = s.db.transact(ctx, func(ctx context.Context, tx pgx.Tx, doubt bool) error {
		log := newLogTx(tx)
		if _, err := log.LockSize(ctx); err != nil {
			return err
		}
		if r, err = oneReview(ctx, tx, reference); err != nil {
			return refused(ctx, err)
		}
		if doubt && wanted != nil && happened(r, *wanted) {
			return nil
		}
		c, err := change(r)
		if err != nil {
			return err
		}
		wanted = &c
		if err := s.store(ctx, tx, log, r, c, leaf); err != nil {
			return err
		}
		r, err = oneReview(ctx, tx, reference)
		return refused(ctx, err)
	})
	return r, err
}

// happened reports whether a review is as a change would have it.
func happened(r disclose.Review, c disclose.ReviewChange) bool {
	if c.State != "" {
		return r.State == c.State
	}
	return c.Entry != nil && slices.Contains(r.Decisions, *c.Entry)
}

func oneReview(ctx context.Context, tx pgx.Tx, reference string) (disclose.Review, error) {
	if _, err := tx.Exec(ctx, `SELECT 1 FROM reviews WHERE id = $1 FOR UPDATE`, reference); err != nil {
		return disclose.Review{}, err
	}
	have, err := readReviews(ctx, tx, `WHERE r.id = $1`, reference)
	if err == nil && len(have) != 1 {
		err = disclose.ErrNoReview
	}
	if err != nil {
		return disclose.Review{}, err
	}
	return have[0], nil
}

func (s Reviews) store(ctx context.Context, tx pgx.Tx, log *logTx, r disclose.Review, c disclose.ReviewChange, leaf func(disclose.ReviewChange) proof.Leaf) error {
	if e := c.Entry; e != nil {
		_, err := tx.Exec(ctx, `
			INSERT INTO review_entries (review, reviewer, outcome, signed) VALUES ($1, $2, $3, $4)
			ON CONFLICT (review, reviewer) DO UPDATE SET outcome = excluded.outcome, signed = excluded.signed`, r.ID, e.Reviewer, e.Outcome, e.Signed)
		if err != nil {
			return refused(ctx, err)
		}
	}
	if c.Outcome != "" {
		index, err := translog.Sequence(ctx, log, leaf(c))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO review_outcomes (review, outcome, salt, signed, leaf) VALUES ($1, $2, $3, $4, $5)`, r.ID, c.Outcome, c.Salt[:], c.Signed, index)
		if err != nil {
			return refused(ctx, err)
		}
	}
	if c.State == "" {
		return nil
	}
	var due *time.Time // as it is
	if !c.Due.IsZero() {
		due = &c.Due
	}
	_, err := tx.Exec(ctx, `UPDATE reviews SET state = $2, due = coalesce($3, due) WHERE id = $1`, r.ID, string(c.State), due)
	return refused(ctx, err)
}
